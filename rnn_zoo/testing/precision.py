"""Laws of dtypes: what a cell computes in, and what it keeps."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..scan import unroll
from .comparing import advanced, finite, step
from .law import law, require
from .subject import TIME, Subject, float64, inputs, keyed, random_state


SINGLE = (jnp.float32, jnp.complex64)
STATE = (
    "let init_state() have the dtype of the parameters, but never one below float32: "
    "jnp.zeros(size, jnp.promote_types(self.weight.dtype, jnp.float32)); x and dt come to the "
    "equation in that dtype"
)


def _kept(state: Any, kinds: tuple[Any, ...]) -> None:
    for leaf in jax.tree.leaves(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            expected = " or ".join(jnp.dtype(kind).name for kind in kinds)
            require(leaf.dtype in kinds, f"expected a state of {expected}, got {leaf.dtype}")


@law("dtypes", mend=STATE)
def working_dtype(subject: Subject) -> None:
    """Inputs of 16 bits give outputs of 16 bits and keep the state; integers are numbers, too."""
    cell = subject.cell()
    state = random_state(cell, 0)
    x = jnp.linspace(-1.0, 1.0, cell.input_size)
    for given, expected in (
        (x.astype(jnp.bfloat16), jnp.bfloat16),
        (x.astype(jnp.float16), jnp.float16),
        (jnp.arange(cell.input_size), jnp.float32),
    ):
        after, y = advanced(cell, state, given, **keyed(cell))
        name = jnp.dtype(expected).name
        require(y.dtype == expected, f"expected {name} for {given.dtype} inputs, got {y.dtype}")
        for leaf, old in zip(jax.tree.leaves(after), jax.tree.leaves(state)):
            require(leaf.dtype == old.dtype, f"{given.dtype} inputs made a state of {leaf.dtype}")
    xs = jr.normal(jr.key(1), (TIME, cell.input_size), jnp.bfloat16)
    final, ys = unroll(cell, xs, **keyed(cell))
    require(ys.dtype == jnp.bfloat16, f"expected outputs of bfloat16, got {ys.dtype}")
    _kept(final, SINGLE)
    full = unroll(cell, xs.astype(jnp.float32), **keyed(cell))[1]
    np.testing.assert_allclose(ys.astype(jnp.float32), full, rtol=0.02, atol=0.02)


@law("dtypes", mend=STATE)
def float32_cell_stays_float32_under_x64(subject: Subject) -> None:
    """`jax_enable_x64` and inputs of float64 change nothing."""
    cell = subject.cell()
    with jax.enable_x64(True):
        xs = jr.normal(jr.key(1), (TIME, cell.input_size), jnp.float64)
        time = {"dt": jnp.ones(TIME, jnp.float64)} if cell.timed else {}
        final, ys = unroll(cell, xs, **time, **keyed(cell))
        require(ys.dtype == jnp.float32, f"expected outputs of float32, got {ys.dtype}")
        _kept(final, SINGLE)


@law("dtypes", mend=STATE)
def float64_cell_is_float64(subject: Subject) -> None:
    """Parameters of float64 give states and outputs of float64."""
    with float64() as dtype:
        cell = subject.plain(dtype)
        parameters = jax.tree.leaves(eqx.filter(cell, eqx.is_inexact_array))
        found = {p.dtype.name for p in parameters}
        require(found <= {"float64"}, f"made with dtype=float64, it has parameters of {found}")
        xs = jr.normal(jr.key(1), (TIME, cell.input_size))
        final, ys = unroll(cell, xs, **keyed(cell))
        require(ys.dtype == jnp.float64, f"expected outputs of float64, got {ys.dtype}")
        _kept(final, (jnp.float64, jnp.complex128))


@law("dtypes", mend=STATE)
def cells_are_built_in_bfloat16(subject: Subject) -> None:
    """Parameters of bfloat16, finite, and a state that is not below float32."""
    cell = subject.plain(jnp.bfloat16)
    parameters = eqx.filter(cell, eqx.is_inexact_array)
    for leaf in jax.tree.leaves(parameters):
        require(leaf.dtype == jnp.bfloat16, f"made in bfloat16, it has parameters of {leaf.dtype}")
    require(finite(jax.tree.map(lambda p: p.astype(jnp.float32), parameters)), "not all are finite")
    final, ys = unroll(cell, jnp.ones((3, cell.input_size)), **keyed(cell))
    require(finite(ys), "its outputs are not finite")
    _kept(final, SINGLE)


@law("dtypes", "steady", mend=STATE)
def bfloat16_parameters_keep_a_float32_carry(subject: Subject) -> None:
    """Parameters of 16 bits, as mixed precision has them, lower the precision of no state."""
    cell = subject.cell()
    half = jax.tree.map(
        lambda p: jnp.asarray(np.asarray(p), jnp.bfloat16) if eqx.is_inexact_array(p) else p, cell
    )
    state, _ = step(half, half.init_state(), jnp.ones(cell.input_size))
    _kept(state, SINGLE)


@law(
    "reference",
    "reference",
    mend="find which of the two is the paper: print the parts of a step of both, from one state",
)
def steps_equal_the_reference(subject: Subject) -> None:
    """The outputs of a sequence are those of the NumPy reference, in float64."""
    assert subject.reference is not None
    with float64() as dtype:
        cell = subject.cell(dtype)
        xs, _, keywords = inputs(cell)
        given = {k: v for k, v in keywords.items() if k == "dt"}
        ys = np.asarray(unroll(cell, xs, **given, **keyed(cell))[1], np.float64)
        expected = np.asarray(
            subject.reference(cell, np.asarray(xs), **{k: np.asarray(v) for k, v in given.items()})
        )
        shape = f"expected a reference of shape {ys.shape}, (time, output_size)"
        require(expected.shape == ys.shape, f"{shape}, got {expected.shape}")
        require(
            expected.dtype == np.float64, f"expected a reference in float64, got {expected.dtype}"
        )
        off = np.abs(ys - expected).max(axis=1)
        first = int(np.argmax(off > 1e-9))
        require(
            (off <= 1e-9).all(),
            f"the outputs differ from the reference by up to {off.max():.2e}, first at step "
            f"{first}: got {ys[first]}, expected {expected[first]}",
        )
