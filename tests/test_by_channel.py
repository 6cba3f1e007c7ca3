"""Linear cells with some modes for each channel: one step at a time, as every other way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz


KEY = jr.key(0)
FORMS = {
    "mamba": {"state_size": 3},
    "complex mamba": {"state_size": 3, "complex_eigenvalues": True},
    "s4d": {"state_size": 6},
}


def _cell(form: str):
    return rz.make_cell(form.split()[-1], 4, 4, **FORMS[form], key=KEY)


def _given(length: int) -> dict:
    return {
        "mask": jr.bernoulli(jr.key(2), 0.7, (length,)),
        "reset": jr.bernoulli(jr.key(3), 0.2, (length,)),
        "dt": jr.uniform(jr.key(4), (length,), minval=0.5, maxval=2.0),
    }


def _results(form: str, length: int, **given) -> tuple:
    """Outputs, last state, and the gradient in all that there is."""
    cell, xs = _cell(form), jr.normal(jr.key(1), (length, 4))
    state = jax.tree.map(lambda h: h + 0.3, cell.init_state())

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def of(at):
        cell, xs, state = at
        final, ys = rz.scan.unroll(cell, xs, state, **given)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.abs(final) ** 2), (final, ys)

    return of((cell, xs, state))


@pytest.mark.parametrize("form", FORMS)
def test_one_step_at_a_time_is_what_all_at_once_is(form):
    # One segment, several, several and a rest.
    for length, given in ((3, {"dt": 0.5}), (12, {}), (17, {"reverse": True, **_given(17)})):
        one = _results(form, length, **given)
        other = _results(form, length, **given, method="sequential")
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_nothing_as_large_as_a_state_is_held_for_every_step():
    cell, xs = rz.make_cell("mamba", 32, 32, key=KEY), jr.normal(KEY, (512, 32))

    @jax.jit
    @jax.grad
    def of(xs):
        return jnp.sum(rz.scan.unroll(cell, xs)[1] ** 2)

    memory = of.lower(xs).compile().memory_analysis().temp_size_in_bytes
    states = 512 * cell.init_state().nbytes
    # Each fourth state, and some arrays of the size of the inputs; all at once took 11 times it.
    assert memory < 1.5 * states


def test_padding_that_is_not_finite_stays_out():
    cell, xs = _cell("s4d"), jr.normal(KEY, (9, 4))
    mask = jnp.arange(9) < 6
    spoilt = jnp.where(mask[:, None], xs, jnp.nan)
    loss = eqx.filter_jit(jax.grad(lambda xs: rz.scan.unroll(cell, xs, mask=mask)[1].sum()))
    np.testing.assert_array_equal(loss(spoilt), loss(jnp.where(mask[:, None], xs, 0)))


def test_forward_mode_and_batches_of_members():
    cell, xs = _cell("mamba"), jr.normal(KEY, (2, 3, 9, 4))

    def of(scale, xs, **given):
        return rz.scan.unroll(cell, scale * xs, **given)[1].sum()

    def each(**given):
        moved = jax.vmap(jax.vmap(lambda xs: jax.jvp(lambda s: of(s, xs, **given), (1.0,), (1.0,))))
        return jax.jit(moved)(xs)

    for a, b in zip(each(), each(method="sequential")):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
