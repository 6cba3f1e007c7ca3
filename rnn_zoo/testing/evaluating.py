"""Laws of the evaluators: every way to run a cell gives what a Python loop over `step` gives."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax

from ..layers.base import AbstractLayer
from ..layers.batching import batch
from ..layers.recurrent import Recurrent
from ..scan import Chunks, trajectory, unroll
from .comparing import assert_close, loop, within
from .law import law, require
from .subject import RESET, TIME, Subject, float64, inputs, methods, only, random_state


PURE = (
    "let the step depend on the cell, the state, x, dt and key alone, and give arrays of one shape "
    "and dtype: an evaluator traces it once and runs it in another order than Python does"
)
LINEAR = (
    "let `transition` give the A and b of h' = A h + b for this x and dt, neither of them a "
    "function of the state, and `readout` the output of the state after the step; a cell whose A "
    "or b needs the state is an rz.AbstractCell"
)


@law("evaluators", mend=PURE)
def unroll_and_trajectory_equal_the_loop(subject: Subject) -> None:
    """With dt, masks, resets, a state, forwards and backwards, by every method."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        xs, state, everything = inputs(cell)
        plain = only(everything)
        final, _, ys = loop(cell, xs, **plain)
        seen = everything["mask"]
        broken = np.where(seen[:, None], xs, np.nan)  # what is masked is no part of it
        if "dt" in everything:
            everything["dt"] = jnp.asarray(np.where(seen, everything["dt"], np.nan))
        last, states, ys_reversed = loop(cell, broken, state, reverse=True, **everything)
        near = within(cell, 1e-11)
        for method in methods(cell):
            assert_close(unroll(cell, xs, method=method, **plain), (final, ys), near)
            run = {"reverse": True, "method": method, **everything}
            assert_close(trajectory(cell, broken, state, **run), (states, ys_reversed), near)
            assert_close(jax.tree.map(lambda s: np.asarray(s)[0], states), last, 0)


@law("evaluators", mend=PURE)
def lax_scan_takes_the_step(subject: Subject) -> None:
    """`jax.lax.scan(cell.step, state, xs)` gives what `unroll` gives."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    each = only(keywords, "dt")
    if "key" in each:
        each["key"] = jr.split(each["key"], TIME)

    @eqx.filter_jit
    def scanned(cell: Any, state: Any) -> Any:
        return lax.scan(lambda s, at: cell.step(s, at[0], **at[1]), state, (xs, each))

    assert_close(scanned(cell, state), unroll(cell, xs, state, **each), 1e-5)


@law("evaluators", "linear", mend=LINEAR)
def parallel_gradient_equals_sequential(subject: Subject) -> None:
    """The gradients of all parameters, inputs and the state, by every method."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        xs, state, keywords = inputs(cell)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)

        @jax.grad
        def gradient(params: Any, method: str) -> Any:
            cell, xs, state = eqx.combine(params, rest)
            final, ys = unroll(cell, xs, state, method=method, **keywords)
            return jnp.sum(jnp.sin(ys)) + sum(
                jnp.sum(jnp.cos(abs(f))) for f in jax.tree.leaves(final)
            )

        gradients = jax.jit(lambda params: [gradient(params, method) for method in methods(cell)])
        one, *others = gradients(params)
        for other in others:
            assert_close(other, one, within(cell, 1e-10))


@law("evaluators", "linear", mend=LINEAR)
def parallel_at_small_lengths(subject: Subject, lengths: tuple[int, ...] = (1, 2, 4, 7)) -> None:
    """The parallel form at the lengths where an off-by-one shows."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        for time in lengths:
            xs, state, keywords = inputs(cell, time)
            final, _, ys = loop(cell, xs, state, **keywords)
            found = unroll(cell, xs, state, method="parallel", **keywords)
            assert_close(found, (final, ys), within(cell, 1e-11))


@law("evaluators", mend=PURE)
def length_one(subject: Subject) -> None:
    """A sequence of one step is a step."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell, 1)
    final, _, ys = loop(cell, xs, state, **keywords)
    assert_close(unroll(cell, xs, state, **keywords), (final, ys), 1e-6)


@law("evaluators", mend=PURE)
def length_zero(subject: Subject) -> None:
    """A sequence of no steps leaves the state as it is."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell, 0)
    final, ys = unroll(cell, xs, state, method=methods(cell)[-1], **keywords)
    require(ys.shape == (0, cell.output_size), f"expected no outputs, got {ys.shape}")
    assert_close(final, state, 0)


@law("evaluators", mend="keep all that a later step needs in the state: " + PURE)
def chunks_equal_the_whole(subject: Subject) -> None:
    """A sequence cut in three, the state carried on, gives what the whole gives."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    if cell.stochastic:
        keywords["key"] = jr.split(keywords["key"], TIME)
    for method in methods(cell):
        whole = unroll(cell, xs, state, method=method, **keywords)
        carried, outputs = state, []
        for chunk in (slice(0, 3), slice(3, 6), slice(6, TIME)):
            part = {k: v[chunk] for k, v in keywords.items()}
            carried, ys = unroll(cell, xs[chunk], carried, method=method, **part)
            outputs.append(np.asarray(ys))
        assert_close((carried, np.concatenate(outputs)), whole, 1e-6)


@law("evaluators", mend=PURE)
def reverse_equals_flip(subject: Subject) -> None:
    """Backwards is forwards over the flipped sequence."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    final, ys = unroll(cell, xs, state, reverse=True, **keywords)
    flipped = {k: v[::-1] if k != "key" else v for k, v in keywords.items()}
    expected, ys_flipped = unroll(cell, xs[::-1], state, **flipped)
    assert_close((final, ys), (expected, np.asarray(ys_flipped)[::-1]), 1e-6)


def inputs_with_gaps(cell: Any, time: int, seed: int = 1) -> tuple[Any, Any, dict[str, Any]]:
    """xs with NaN where it is masked, a state, and all that a run takes."""
    rng = np.random.default_rng(seed)
    mask, reset = rng.random(time) < 0.8, rng.random(time) < 0.1
    xs = np.where(mask[:, None], rng.normal(size=(time, cell.input_size)), np.nan)
    keywords: dict[str, Any] = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}
    if cell.timed:
        keywords["dt"] = jnp.asarray(rng.uniform(0.2, 1.8, time))
    if cell.stochastic:
        keywords["key"] = jr.key(seed)
    return jnp.asarray(xs), random_state(cell, seed + 1), keywords


@eqx.filter_jit
def outcome(parts: Any, method: Any, keywords: Any) -> Any:
    """The states, the outputs, and the gradients of what is made of them."""
    params, rest = eqx.partition(parts, eqx.is_inexact_array)

    def value(params: Any) -> Any:
        cell, xs, state = eqx.combine(params, rest)
        states, ys = trajectory(cell, xs, state, method=method, **keywords)
        real = [leaf for leaf in jax.tree.leaves(states) if eqx.is_inexact_array(leaf)]
        return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(jnp.cos(abs(a))) for a in real), (states, ys)

    gradients, found = jax.grad(value, has_aux=True)(params)
    return found, gradients


@law("evaluators", "not linear", mend=PURE)
def chunks_side_by_side_equal_the_loop(subject: Subject, reverse: bool = False) -> None:
    """`method="chunks"`: states, outputs and gradients of chunks that run at one time."""
    size, time = 5, 22  # three chunks of five steps and seven more steps, which fill none
    with float64() as dtype:
        cell = subject.cell(dtype)
        xs, state, keywords = inputs_with_gaps(cell, time)
        given = cell, xs, state
        keywords["reverse"] = reverse
        one = outcome(given, "sequential", keywords)
        two = outcome(given, Chunks(size), keywords)
        assert_close(two[0], one[0], within(cell, 1e-11))
        assert_close(two[1], one[1], within(cell, 1e-9))


@law("evaluators", "linear", mend=LINEAR)
def nan_before_a_reset_does_not_get_through(subject: Subject) -> None:
    """What stood before a reset is gone, in the parallel form too."""
    cell = subject.cell()
    xs, state, _ = inputs(cell)
    broken = xs.at[1].set(jnp.nan)
    reset = jnp.asarray(RESET)
    for method in methods(cell):
        final, ys = unroll(cell, broken, state, reset=reset, method=method)
        clean, ys_clean = unroll(cell, xs, state, reset=reset, method=method)
        assert_close((final, ys[3:]), (clean, ys_clean[3:]), 1e-6)
        require(np.isnan(ys[1]).any(), "NaN in an input does not reach the output of its step")


# --- transformations ------------------------------------------------------------------------------


@law("transformations", mend="write the step for one sample with jax.numpy alone: " + PURE)
def vmap_equals_the_loop_over_samples(subject: Subject) -> None:
    """A batch gives what its samples give, one after the other."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        samples = [inputs(cell, seed=seed) for seed in (1, 2, 3)]
        xs, states, keywords = jax.tree.map(lambda *leaves: jnp.stack(leaves), *samples)
        layer = Recurrent(cell)
        finals, ys = batch(layer.scan)(xs, states, **keywords)
        for i, (x, state, own) in enumerate(samples):
            one = unroll(cell, x, state, **own)
            ours = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], (finals, ys))
            assert_close(ours, one, within(cell, 1e-11))


@law(
    "transformations",
    mend="keep sizes, functions and flags in static fields that are equal where they mean the same "
    "(no new lambda in each cell), and arrays in no static field",
)
def jit_equals_a_bare_call_and_the_second_call_does_not_trace(subject: Subject) -> None:
    """Compiled once for all inputs of one shape."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    traces = []

    @eqx.filter_jit
    def run(cell: Any, xs: Any, state: Any, keywords: Any) -> Any:
        traces.append(1)
        return unroll(cell, xs, state, **keywords)

    one = run(cell, xs, state, keywords)
    run(cell, xs + 1, state, keywords)
    require(len(traces) == 1, f"the second call was traced again: {len(traces)} times")
    assert_close(one, unroll(cell, xs, state, **keywords), 1e-6)


@law(
    "transformations",
    "steady",
    mend="keep what is no array in fields with eqx.field(static=True)",
)
def plain_jit_takes_a_layer_as_argument(subject: Subject) -> None:
    """All leaves of a layer are arrays, so `jax.jit` takes it without a filter."""
    layer = Recurrent(subject.cell())
    xs = inputs(layer)[0]
    assert_close(jax.jit(lambda layer, xs: layer(xs))(layer, xs), layer(xs), 1e-6)


@law(
    "transformations",
    "keyed",
    "steady",
    mend="let the constructor read no number of an array: shapes are known while it is traced, "
    "values are not",
)
def ensembles_are_one_vmap(subject: Subject) -> None:
    """Cells made by `eqx.filter_vmap` of the constructor run side by side."""
    keys = jr.split(jr.key(0), 3)
    cells = eqx.filter_vmap(lambda key: subject.mend(subject.make(key, None)))(keys)
    one = subject.mend(subject.make(keys[1], None))
    xs = jr.normal(jr.key(1), (TIME, one.input_size))
    ys = eqx.filter_vmap(lambda cell: unroll(cell, xs)[1])(cells)
    assert_close(ys[1], unroll(one, xs)[1], 1e-5)
    if jax.tree.leaves(eqx.filter(one, eqx.is_inexact_array)):
        require(not np.allclose(ys[0], ys[1]), "two keys gave cells with the same outputs")


@law(
    "transformations",
    "stochastic",
    mend="draw from the keyword `key` of the step alone, one draw a step, and draw nothing where "
    "eqx.nn.inference_mode says so (a field `inference` that is a bool)",
)
def draws_are_the_same_for_every_evaluator(subject: Subject) -> Any:
    """One key or one for each step, other keys draw otherwise, and inference draws nothing."""
    cell = subject.cell()
    xs, _, keywords = inputs(cell)
    key = keywords["key"]
    one_key = unroll(cell, xs, key=key)[1]
    per_step = unroll(cell, xs, key=jr.split(key, TIME))[1]
    assert_close(one_key, per_step, 0)
    # Masks of three inputs agree by chance now and then: one key that differs is enough.
    others = [unroll(cell, xs, key=other)[1] for other in jr.split(jr.key(99), 4)]
    require(not all(np.allclose(one_key, other) for other in others), "all keys draw the same")
    if isinstance(cell, AbstractLayer):
        assert_close(one_key, cell(xs, key=key), 1e-6)
    quiet = eqx.nn.inference_mode(cell)
    if not any(leaf is True for leaf in jax.tree.leaves(quiet)):
        return "eqx.nn.inference_mode changes nothing: it draws in inference, too"
    assert_close(unroll(quiet, xs)[1], unroll(quiet, xs, key=key)[1], 0)
    try:
        unroll(cell, xs)
    except RuntimeError as error:
        require("key" in str(error), f"expected an error that asks for a key, got: {error}")
        return None
    raise AssertionError("expected a RuntimeError for a run without a key, got outputs")


@law("devices", mend=PURE)
def a_batch_over_devices_equals_one_device(subject: Subject) -> Any:
    """Samples spread over all devices; where there is one, the law says nothing."""
    devices = jax.devices()
    if len(devices) == 1:
        return "there is one device: XLA_FLAGS=--xla_force_host_platform_device_count=2 makes two"
    cell = subject.cell()
    samples = [inputs(cell, seed=seed) for seed in range(len(devices))]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[one[:2] for one in samples])
    keywords = only(samples[0][2], "dt")

    @jax.jit
    @jax.vmap
    def run(xs: Any, state: Any) -> Any:
        return unroll(cell, xs, state, **keywords)

    mesh = jax.sharding.Mesh(np.array(devices), ("batch",))
    over = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    expected = jax.device_get(run(*stacked))
    assert_close(jax.device_get(run(*jax.device_put(stacked, over))), expected, 1e-6)
    return None
