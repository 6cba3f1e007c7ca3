"""Matrix states: the normal form of a step, its chunks, and cells of one's own that use them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import assert_close, float64
from jaxtyping import Array

import rnn_zoo as rz
from rnn_zoo._engine import matrix_chunks
from rnn_zoo._engine.chunks import Way
from rnn_zoo._engine.triangular import unit_inverse
from rnn_zoo.base import AbstractMatrixCell
from rnn_zoo.linear import Parts


HEADS, KEY, VALUE, INPUTS = 2, 4, 6, 3
SIZES = {"key": HEADS * KEY, "value": HEADS * VALUE, "one": HEADS}
PIECES = ("key",) * 5 + ("value", "key", "one", "one")


class Own(AbstractMatrixCell):
    """Every structure that a step may have, by its name."""

    weight: Array
    kind: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True, default=INPUTS)
    output_size: int = eqx.field(static=True, default=HEADS * VALUE)

    def init_state(self):
        dtype = self.weight.dtype
        complex_dtype = jnp.result_type(dtype, jnp.complex64)
        return jnp.zeros((HEADS, KEY, VALUE), complex_dtype if self.kind == "turn" else dtype)

    def parts(self, c, x):
        features = jnp.split(self.weight @ x, np.cumsum([SIZES[name] for name in PIECES])[:-1])
        q, k, a, e, g, v, d, s, t = (f.reshape(HEADS, -1) for f in features)
        k, a, d = (f / jnp.sqrt(jnp.sum(f**2, -1, keepdims=True) + 1e-6) for f in (k, a, d))
        log_decay = -jax.nn.softplus(g)
        scalar, beta = -jax.nn.softplus(s), 2 * jax.nn.sigmoid(t)
        keys, decays = jnp.stack([k, d]), jnp.stack([scalar, 0 * scalar])
        written = jnp.stack([beta, 2 - beta]) * keys
        angle = jnp.broadcast_to(jnp.arange(1.0, KEY + 1, dtype=x.dtype), (HEADS, KEY))
        return {
            "sum": Parts(q, k, v),
            "head": Parts(q, k, v, scalar),
            "channel": Parts(q, k, v, log_decay),
            "negative": Parts(q, k, v, scalar, negative=t > 0),
            "turn": Parts(q + 1j * a, k + 1j * e, v, scalar, angle=angle),
            "delta": Parts(q, beta * k, v, a=k),
            "gated delta": Parts(q, beta * k, v, scalar, a=jnp.exp(scalar) * k),
            "channel delta": Parts(q, beta * k, v, log_decay, a=jnp.exp(log_decay) * k),
            "low rank": Parts(q, k, v, log_decay, a=-a, b=a * beta / 2),
            "product": Parts(q, written, jnp.stack([v, v[::-1]]), decays, a=jnp.exp(decays) * keys),
        }[self.kind]

    def output(self, c, read, x):
        return read.ravel()


KINDS = ("sum", "head", "channel", "negative", "turn", "delta", "gated delta", "channel delta")
KINDS += ("low rank", "product")


def own(kind):
    rows = sum(SIZES[name] for name in PIECES)
    return Own(jr.normal(jr.key(0), (rows, INPUTS)) / INPUTS**0.5, kind)


def given(cell, time):
    keys = jr.split(jr.key(time), 4)
    xs = jr.normal(keys[0], (time, INPUTS))
    state = jr.normal(keys[1], (HEADS, KEY, VALUE)).astype(cell.init_state().dtype)
    flags = {"mask": jr.bernoulli(keys[2], 0.7, (time,))}
    return xs, state, flags | {"reset": jr.bernoulli(keys[3], 0.1, (time,))}


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_equal_the_steps(kind):
    """Over several chunks and a part of one, with gaps and resets, from the end."""
    with float64():
        cell = own(kind)
        xs, state, flags = given(cell, 150)
        run = {"reverse": True, **flags}
        expected = rz.scan.trajectory(cell, xs, state, method="sequential", **run)
        assert_close(rz.scan.trajectory(cell, xs, state, method="parallel", **run), expected, 1e-11)
        last = expected[0][0], expected[1]
        assert_close(rz.scan.unroll(cell, xs, state, method="parallel", **run), last, 1e-11)
        dense = rz.scan.unroll(cell, xs, state, method="parallel", engine="scan", **run)
        assert_close(dense, last, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [2, 63, 64, 65])
def test_chunks_without_gaps(kind, time):
    with float64():
        cell = own(kind)
        xs, state, _ = given(cell, time)
        expected = rz.scan.unroll(cell, xs, state, method="sequential")
        assert_close(rz.scan.unroll(cell, xs, state, method="parallel"), expected, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_chunks(kind):
    with float64():
        cell = own(kind)
        xs, state, flags = given(cell, 70)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)

        def loss(params, method):
            cell, xs, state = eqx.combine(params, rest)
            final, ys = rz.scan.unroll(cell, xs, state, method=method, **flags)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(abs(final)))

        one, other = (jax.grad(loss)(params, method) for method in ("sequential", "parallel"))
        assert_close(one, other, 1e-10)


@pytest.mark.parametrize("kind", ["head", "gated delta", "low rank"])
def test_what_is_not_finite_ends_at_a_reset(kind):
    cell = own(kind)
    xs, state, _ = given(cell, 40)
    xs, reset = xs.at[20].set(jnp.nan), jnp.arange(40) == 30
    for begin in (state, jnp.full_like(state, jnp.nan)):
        (final, ys), (last, outputs) = [
            rz.scan.unroll(cell, xs, begin, reset=reset, method=method)
            for method in ("sequential", "parallel")
        ]
        np.testing.assert_array_equal(np.isnan(ys), np.isnan(outputs))
        assert np.isfinite(last).all()
        assert_close((ys[30:], final), (outputs[30:], last), 1e-5)


def test_repeated_keys_in_float32():
    """Where powers of the triangular system would be 1e8 and more, what they add up to is not."""
    keys = jr.split(jr.key(0), 3)
    k = jax.nn.silu(jr.normal(keys[0], (64, 1, 8))).at[10:40].set(1.0)
    k = k / jnp.linalg.norm(k, axis=-1, keepdims=True)
    q, v = (jr.normal(key, (64, 1, 8)) for key in keys[1:])
    start = jnp.zeros((1, 8, 8))
    _, read = matrix_chunks.run(Parts(q, 1.9 * k, v, a=k), start, Way(64), initial=start)
    state, reads = np.zeros((8, 8)), []
    for q1, k1, v1 in zip(*(np.asarray(x, np.float64)[:, 0] for x in (q, k, v))):
        state = state + np.outer(1.9 * k1, v1 - k1 @ state)
        reads.append(state.T @ q1)
    assert np.abs(np.asarray(read)[:, 0] - reads).max() < 1e-5 * np.abs(reads).max()


def test_no_step_sees_a_later_one():
    cell = own("channel delta")
    xs, state, _ = given(cell, 40)
    other = xs.at[25].add(1.0)
    one, two = (rz.scan.unroll(cell, x, state, method="parallel")[1] for x in (xs, other))
    np.testing.assert_array_equal(one[:25], two[:25])
    assert (one[25:] != two[25:]).any(1).all()


@pytest.mark.parametrize("size", [1, 2, 8, 16, 64])
def test_unit_inverse(size):
    with float64():
        strict = jnp.tril(jr.normal(jr.key(size), (2, size, size)), -1) / 4
        product = (jnp.eye(size) - strict) @ unit_inverse(strict)
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(size), product.shape), atol=1e-9)


class Wrong(AbstractMatrixCell):
    """The decays of three channels, where there are four."""

    inner: Own
    input_size: int = eqx.field(static=True, default=INPUTS)
    output_size: int = eqx.field(static=True, default=HEADS * VALUE)

    def init_state(self):
        return self.inner.init_state()

    def parts(self, c, x):
        return self.inner.parts(c, x)._replace(log_decay=jnp.zeros((HEADS, 3)))

    def output(self, c, read, x):
        return read.ravel()


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_parts_that_do_not_fit_are_named(method):
    cell = Wrong(own("delta"))
    message = r"log_decay of shape \(2, 4\) or \(2, 1\), got \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        rz.scan.unroll(cell, jnp.ones((5, INPUTS)), method=method)


def test_wrappers_and_held_cells_run_in_chunks():
    cell = own("gated delta")
    xs, _, _ = given(cell, 40)
    for wrapped in (rz.LearnedInitialState(cell), rz.LayerNormed(cell)):
        one, two = (rz.scan.unroll(wrapped, xs, method=m) for m in ("sequential", "parallel"))
        assert_close(one, two, 1e-5)
    stream = rz.Stream(rz.Recurrent(cell))
    _, y = stream.step(stream.init_state(), xs[0])
    assert_close(y, rz.Recurrent(cell)(xs)[0], 1e-5)
