"""The part of `unstable.py` that belongs to accelerators: cuDNN's LSTM, and kernels by Pallas.

Both are experiments of JAX by their names, and slow to import, so they are imported where they are
used: a program on another device has no need of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax


# --- cuDNN ----------------------------------------------------------------------------------------

# `jax.experimental.rnn` has the LSTM of cuDNN, and one in JAX's own operations beside it. The
# functions below stand there, as they are called here, since 0.4.31.


def has_cudnn() -> bool:
    """Whether the jaxlib that is installed has cuDNN's LSTM. Its module has this function since
    0.4.9, where the libraries for CUDA are beside it."""
    from jax.experimental import rnn

    return hasattr(getattr(rnn, "gpu_rnn", None), "compute_rnn_workspace_reserve_space_sizes")


def cudnn_lstm(operands: Sequence, sizes: tuple[int, int, int, bool], tf32: bool) -> tuple:
    """(outputs, h, c, what the way back needs) of (xs, h, c, weights, lengths).

    `sizes` is (input_size, hidden_size, layers, both directions). Precision HIGH lets cuDNN take
    TF32, HIGHEST does not.
    """
    from jax.experimental import rnn

    xs, h, c, weights, lengths = operands
    inputs, hidden, layers, both = sizes
    results, kept = rnn.lstm_fwd(
        xs, h, c, weights, lengths, inputs, hidden, layers, 0.0, both, _precision(tf32)
    )
    return *results, kept[-1]


def cudnn_lstm_back(
    cotangents: tuple, kept: tuple, sizes: tuple[int, int, int, bool], tf32: bool
) -> tuple:
    """The cotangents of xs, h, c and weights; `kept` are the operands, the outputs and what
    `cudnn_lstm` gave for this."""
    from jax.experimental import rnn

    inputs, hidden, layers, both = sizes
    precision = _precision(tf32)
    return rnn.lstm_bwd(inputs, hidden, layers, 0.0, both, precision, kept, cotangents)[:4]


def cudnn_reference(operands: Sequence, sizes: tuple[int, int, int, bool]) -> tuple:
    """(outputs, h, c) as JAX's own operations compute what `cudnn_lstm` is to give."""
    from jax.experimental import rnn

    xs, h, c, weights, lengths = operands
    inputs, hidden, layers, both = sizes
    arrays = rnn.unpack_lstm_weights(weights, inputs, hidden, layers, both)
    return rnn.lstm_ref(xs, h, c, *arrays, lengths, inputs, hidden, layers, 0.0, both)


def default_precision() -> str:
    """What `jax.default_matmul_precision` says here, in lower case; an attribute of JAX's settings
    since 0.2.13."""
    settings: Any = jax.config
    return str(settings.jax_default_matmul_precision).lower()


def _precision(tf32: bool) -> lax.Precision:
    return lax.Precision.HIGH if tf32 else lax.Precision.HIGHEST


# --- kernels --------------------------------------------------------------------------------------

# What stands here is there since 0.10. Mosaic GPU lowered a `pallas_call` too until 0.11, and since
# then a `mosaic_gpu.kernel` alone, which JAX cannot interpret before 0.11. So both are here.


class Blocks(NamedTuple):
    """How arrays are cut for a kernel: `shape` of one block, and `place(sample, block, chunk)`, its
    number along each axis. The first axis is that of samples, which a block has one of."""

    shape: tuple[int, ...]
    place: Callable


def call_kernel(
    chunk: Callable,
    grid: tuple[int, int, int],
    arrays: Sequence[tuple[Any, Blocks]],
    results: Sequence[tuple[Any, Blocks]],
    carry: Sequence,
) -> list:
    """The results of a kernel, which goes through the last axis of the grid in order.

    `chunk(refs, carry) -> carry` works on the blocks of the arrays and of the results, without the
    axis of samples, and is handed zeros of the types `carry` first. Results are given by their
    types. Where no device takes such kernels, JAX interprets them.
    """
    run = _on_device if has_kernels() else _interpreted
    return list(run(chunk, grid, arrays, results, carry))


def _interpreted(chunk: Callable, grid: tuple, arrays: Any, results: Any, carry: Any) -> Any:
    from jax.experimental import pallas
    from jax.experimental.pallas import mosaic_gpu

    def spec(blocks: Blocks) -> Any:
        return pallas.BlockSpec((None, *blocks.shape), blocks.place)

    def kernel(*refs: Any) -> None:
        refs, kept = refs[: -len(carry)], refs[-len(carry) :]
        first = pallas.program_id(2) == 0
        start = [lax.select(first, jax.numpy.zeros_like(ref[...]), ref[...]) for ref in kept]
        for ref, value in zip(kept, chunk(list(refs), start)):
            ref[...] = value

    call = pallas.pallas_call(
        kernel,
        out_shape=[kind for kind, _ in results],
        grid=grid,
        in_specs=[spec(blocks) for _, blocks in arrays],
        out_specs=[spec(blocks) for _, blocks in results],
        scratch_shapes=[mosaic_gpu.SMEM(kind.shape, kind.dtype) for kind in carry],
        interpret=True,
    )
    return call(*(array for array, _ in arrays))


def _on_device(chunk: Callable, grid: tuple, arrays: Any, results: Any, carry: Any) -> Any:
    from jax.experimental.pallas import mosaic_gpu

    names = ("sample", "block")

    def kernel(*refs: Any) -> None:
        refs, kept = refs[: -len(carry)], refs[-len(carry) :]
        # By way of memory, zeros lie in registers as what is loaded from there does.
        for ref in kept:
            ref[...] = jax.numpy.zeros_like(ref)
        here = [lax.axis_index(name) for name in names]

        def spec(blocks: Blocks) -> Any:
            return mosaic_gpu.BlockSpec(blocks.shape, lambda k: blocks.place(*here, k)[1:])

        def of_sample(ref: Any, blocks: Blocks) -> Any:
            return ref.at[blocks.place(*here, 0)[0]]

        every = [blocks for _, blocks in (*arrays, *results)]
        through = mosaic_gpu.emit_pipeline(
            lambda _, *given: tuple(chunk(list(given[:-1]), list(given[-1]))),
            grid=grid[2:],
            in_specs=[spec(blocks) for _, blocks in arrays],
            out_specs=[spec(blocks) for _, blocks in results],
            max_concurrent_steps=2,
            init_carry=tuple(ref[...] for ref in kept),
        )
        through(*(of_sample(ref, blocks) for ref, blocks in zip(refs, every)))

    run = mosaic_gpu.kernel(
        kernel,
        out_type=[kind for kind, _ in results],
        scratch_types=[mosaic_gpu.SMEM(kind.shape, kind.dtype) for kind in carry],
        grid=grid[:2],
        grid_names=names,
    )
    return run(*(array for array, _ in arrays))


def has_kernels() -> bool:
    """Whether the first device takes kernels of Mosaic GPU: NVIDIA's from compute capability 9.0
    on. Such devices say theirs in this attribute, as "9.0", since 0.4.14."""
    device = jax.devices()[0]
    version = str(getattr(device, "compute_capability", "0")).partition(".")[0]
    return device.platform == "gpu" and version.isdecimal() and int(version) >= 9
