"""Cells that read their last inputs: one pass over a sequence is the loop over its steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo.testing.subject import strict


CELLS = {
    "short_conv": lambda: rz.cells.ShortConv(3, kernel_size=4, key=jr.key(0)),
    "token_shift": lambda: rz.cells.TokenShift(3, count=2),
}
MASK = np.array([[0, 1, 1, 0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0], [0] * 9], bool)
RESET = np.array([0, 1, 0, 0, 1, 0, 0, 1, 0], bool)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("flags", ["plain", "mask", "reset", "mask and reset"])
def test_one_pass_is_the_loop(name, flags):
    """Outputs, final states and gradients, of a batch in which samples have gaps of their own."""
    cell, reverse = CELLS[name](), "reset" in flags
    xs = np.asarray(jr.normal(jr.key(1), (3, 9, 3)))
    state = jr.normal(jr.key(2), (3, *cell.init_state().shape))
    given = {"mask": jnp.array(MASK)} if "mask" in flags else {}
    xs = np.where(MASK[..., None], xs, np.nan) if given else xs

    def run(cell, xs, state, method):
        def scan(xs, state, mask=None):
            reset = RESET if "reset" in flags else None
            flags_ = {"mask": mask, "reset": reset, "reverse": reverse}
            return rz.scan.unroll(cell, xs, state, method=method, **flags_)

        return jax.vmap(scan)(xs, state, *given.values())

    @eqx.filter_jit
    def of(method):
        def loss(parts):
            final, ys = run(*parts, method)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(final)), (final, ys)

        return eqx.filter_value_and_grad(loss, has_aux=True)((cell, jnp.asarray(xs), state))

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        of("auto"),
        of("sequential"),
    )


@pytest.mark.parametrize("name", CELLS)
def test_a_pass_promotes_nothing_in_silence(name):
    cell, xs, reset = CELLS[name](), jnp.ones((9, 3)), jnp.asarray(RESET)
    with strict():
        for given in ({}, {"mask": MASK[0]}, {"reset": reset}, {"mask": MASK[0], "reset": reset}):
            jax.eval_shape(lambda xs, given=given: rz.scan.unroll(cell, xs, **given), xs)


def test_forward_mode_and_second_derivatives():
    cell, xs = CELLS["short_conv"](), jr.normal(jr.key(1), (9, 3))

    def loss(xs, method):
        return jnp.sum(jnp.sin(rz.scan.unroll(cell, xs, mask=MASK[0], method=method)[1]))

    def product(method):
        gradient = jax.grad(lambda xs: loss(xs, method))
        return jax.jit(lambda xs: jax.jvp(gradient, (xs,), (jnp.cos(xs),)))(xs)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        product("auto"),
        product("sequential"),
    )


@pytest.mark.parametrize("mask", [None, MASK[0]])
def test_no_loop_is_left(mask):
    cell, xs = CELLS["short_conv"](), jnp.ones((9, 3))
    program = str(jax.make_jaxpr(lambda xs: rz.scan.unroll(cell, xs, mask=mask)[1])(xs))
    assert "recurrent_loop" not in program
    assert "scan[" not in program
