"""Bad input: what it says, in the words that a user reads.

`test_messages_without_the_shape_checker` runs this file again without jaxtyping, so that
the messages are ours and not the checker's.
"""

import functools
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo.scan import unroll


KEY = jr.key(0)
X = jnp.ones((7, 3))


@functools.cache
def gru(**options):
    return rz.cells.GRUCell(3, 4, key=KEY, **options)


@functools.cache
def leaky():
    return rz.cells.LeakyElmanCell(3, 4, key=KEY)


@functools.cache
def layer():
    return rz.Recurrent(gru())


@functools.cache
def both():
    return rz.Bidirectional(gru(), gru())


@functools.cache
def model(**options):
    return rz.make_model("gru", 3, 2, hidden_size=4, key=KEY, **options)


BAD = {
    "a batch": (lambda: layer()(jnp.ones((8, 7, 3))), ValueError, r"\(time, 3\), got \(8, 7, 3\): for a batch use rz.batch"),
    "a batch for a model": (lambda: model()(jnp.ones((8, 7, 3))), ValueError, "rz.batch"),
    "features": (lambda: layer()(jnp.ones((7, 2))), ValueError, r"\(time, 3\), got \(7, 2\)"),
    "one step": (lambda: layer()(jnp.ones(3)), ValueError, r"for one step use step\(state, x\)"),
    "series without features": (lambda: rz.GRU(1, 4, key=KEY)(jnp.ones(7)), ValueError, r"xs\[:, None\]"),
    "mask length": (lambda: layer()(X, mask=jnp.ones(6, bool)), ValueError, r"mask of shape \(7,\)"),
    "mask dtype": (lambda: layer()(X, mask=jnp.ones(7)), TypeError, "mask of dtype bool, got float32.*lengths_to_mask"),
    "reset length": (lambda: layer()(X, reset=jnp.ones((7, 1), bool)), ValueError, r"reset of shape \(7,\)"),
    "reset dtype": (lambda: layer()(X, reset=jnp.ones(7, int)), TypeError, "reset of dtype bool, got int32"),
    "dt for no time": (lambda: layer()(X, dt=0.1), TypeError, r"GRUCell has no physical time.*list_cells\(timed=True\)"),
    "dt for no time, model": (lambda: model()(X, dt=0.1), TypeError, "no physical time"),
    "dt for no time, step": (lambda: gru().step(jnp.zeros(4), X[0], 0.1), TypeError, "GRUCell has no physical time"),
    "dt for no time, stack": (lambda: rz.Stacked([gru()]).step((jnp.zeros(4),), X[0], dt=0.1), TypeError, "no physical time"),
    "dt length": (lambda: unroll(leaky(), X, dt=jnp.ones(6)), ValueError, r"dt as a scalar or of shape \(7,\)"),
    "dt dtype": (lambda: unroll(leaky(), X, dt=jnp.ones(7, bool)), TypeError, "dt of a real dtype"),
    "state shape": (lambda: layer()(X, jnp.zeros(5)), ValueError, r"f32\[4\], got f32\[5\]"),
    "state structure": (lambda: rz.Recurrent(rz.cells.LSTMCell(3, 4, key=KEY))(X, jnp.zeros(4)), ValueError, "like its init_state"),
    "state kind": (lambda: layer()(X, jnp.zeros(4, int)), ValueError, "like its init_state"),
    "state of a stack": (lambda: rz.Stacked([gru()])(X, jnp.zeros(4)), ValueError, "as a tuple of 1, one entry each"),
    "method": (lambda: unroll(gru(), X, method="fast"), ValueError, "method to be one of"),
    "parallel": (lambda: unroll(gru(), X, method="parallel"), ValueError, "not a linear cell"),
    "remat": (lambda: unroll(gru(), X, remat=0), ValueError, "a number of steps >= 1, got 0"),
    "remat as a flag": (lambda: rz.Recurrent(gru(), remat=True), ValueError, "a number of steps >= 1, got True"),
    "remat by name": (lambda: rz.Recurrent(gru(), remat="log"), ValueError, 'remat to be None, "sqrt" or a number'),
    "remat in parallel": (lambda: unroll(rz.make_cell("lru", 3, 4, key=jr.key(0)), X, method="parallel", remat=2), ValueError, "belongs to the sequential loop"),
    "parallel layer": (lambda: rz.Recurrent(gru(), method="parallel"), ValueError, "not a linear cell"),
    "keys": (lambda: unroll(rz.Zoneout(gru(), 0.5), X, key=jr.split(KEY, 3)), ValueError, "one key or 7 keys"),
    "no key": (lambda: unroll(rz.Zoneout(gru(), 0.5), X), RuntimeError, "needs key"),
    "step of a sequence": (lambda: gru().step(jnp.zeros(4), X), ValueError, r"expected x of shape \(3,\).*rz.Recurrent"),
    "step of bidirectional": (lambda: rz.Stacked([both()]).step(rz.Stacked([both()]).init_state(), X[0]), TypeError, "Bidirectional reads a sequence from its end"),
    "step of a bidirectional model": (lambda: model(bidirectional=True, pool=None).step(None, X[0]), TypeError, "Bidirectional"),
    "step of a pooled model": (lambda: model().step(None, X[0]), TypeError, "pool=None"),
    "dt of a step": (lambda: leaky().step(jnp.zeros(4), X[0], jnp.ones(4)), ValueError, "dt as a scalar"),
    "dt of a linear step": (lambda: rz.cells.MinGRUCell(3, 4, key=KEY).step(jnp.zeros(4), X[0], dt=0.5), TypeError, "no physical time"),
    "backwards": (lambda: unroll(leaky(), X, dt=jnp.array([1, 1, -0.5, 1, 1, 1, 1.0])), ValueError, "at least 0, got -0.5 at step 2: sort"),
    "backwards, one dt": (lambda: rz.Recurrent(leaky())(X, dt=-1), ValueError, "at least 0, got -1: sort"),
    "backwards, traced": (lambda: jax.jit(lambda dt: unroll(leaky(), X, dt=dt)[1])(-jnp.ones(7)), RuntimeError, "dt must not be negative"),
    "backwards, a step": (lambda: leaky().step(jnp.zeros(4), X[0], -0.5), ValueError, "at least 0, got -0.5: sort"),
    "state of a step": (lambda: rz.cells.MinGRUCell(3, 4, key=KEY).step(jnp.zeros(1), X[0]), ValueError, r"f32\[4\], got f32\[1\]"),
    "state of bidirectional": (lambda: both()(X, jnp.zeros((2, 4))), ValueError, "as a tuple of 2"),
    "state of a map": (lambda: rz.layers.Pointwise(jnp.tanh, 3, 3)(X, jnp.zeros(3)), ValueError, "like its init_state"),
    "unroll a layer": (lambda: unroll(both(), X), TypeError, "expected a cell, or a layer that steps, got Bidirectional"),
    "unroll a function": (lambda: unroll(jnp.tanh, X), TypeError, "rz.adopt"),
    "complex": (lambda: layer()(X + 1j), TypeError, "real and imaginary part"),
    "no key at all": (lambda: unroll(rz.Zoneout(gru(), 0.5), X, key=0), TypeError, r"jax.random.key\(0\)"),
    "outputs": (lambda: rz.make_model("gru", 3, 0, key=KEY), ValueError, "output_size to be an integer of at least 1"),
    "encoder": (lambda: rz.SequenceModel(layer(), 2, encoder=eqx.nn.MLP(3, 3, 3, 1, key=KEY), key=KEY), TypeError, "eqx.nn.Embedding"),
    "embedding": (lambda: rz.make_model("gru", 3, 2, embedding_size=0, key=KEY), ValueError, "embedding_size to be an integer of at least 1"),
    "token range": (lambda: token_model()(jnp.array([1, 11])), RuntimeError, r"tokens must lie in \[0, 11\)"),
    "one sequence in a batch": (lambda: rz.batch(layer())(X), ValueError, r"\(batch, time, 3\), got \(7, 3\)"),
    "adopt, state changes its dtype": (lambda: rz.adopt(lambda h, x: h + x, input_size=3, init_state=jnp.zeros(3, int)), ValueError, "a state like init_state"),
    "cell name": (lambda: rz.make_cell("gruu", 3, 4, key=KEY), ValueError, "did you mean 'gru'"),
    "cell option": (lambda: rz.make_cell("gru", 3, 4, key=KEY, reset_befor=1), TypeError, "did you mean 'reset_after'"),
    "model option": (lambda: model(hiden_size=3), TypeError, "did you mean 'hidden_size'"),
    "pool": (lambda: model(pool="max"), ValueError, "pool to be one of"),
    "dropout": (lambda: model(dropout=1.5), ValueError, r"dropout in \[0, 1\)"),
    "dropout of one layer": (lambda: rz.GRU(3, 4, dropout=0.5, key=KEY), ValueError, "acts between layers"),
    "layers": (lambda: rz.Stacked([]), ValueError, "at least one layer"),
    "layer sizes": (lambda: rz.Stacked([gru(), gru()]), ValueError, "layer 0 gives 4 features and layer 1 reads 3"),
    "directions": (lambda: rz.Bidirectional(gru(), rz.cells.GRUCell(2, 4, key=KEY)), ValueError, "one input_size"),
    "not a cell": (lambda: rz.Recurrent(jnp.tanh), TypeError, "rz.adopt"),
    "leak": (lambda: rz.cells.LeakyElmanCell(3, 4, leak=0.0, key=KEY), ValueError, r"leak in \(0, 1\]"),
    "range": (lambda: rz.cells.IndRNNCell(3, 4, recurrent_range=(2.0, 1.0), key=KEY), ValueError, "recurrent_range"),
    "ring": (lambda: rz.cells.LRUCell(3, 4, r_min=0.9, r_max=0.5, key=KEY), ValueError, "r_min < r_max"),
    "zoneout rate": (lambda: rz.Zoneout(rz.cells.LSTMCell(3, 4, key=KEY), (0.1, 0.2, 0.3)), ValueError, "a tuple of 2"),
    "mix": (lambda: rz.Block(rz.cells.LRUCell(3, 3, key=KEY), mix="relu", key=KEY), ValueError, "mix to be one of"),
    "mix of another size": (lambda: rz.Block(rz.cells.LRUCell(3, 4, key=KEY), mix="gelu", key=KEY), ValueError, "gives the 3 features that it reads for mix='gelu', got 4"),
    "state of a block with one mask": (lambda: rz.Block(rz.cells.LRUCell(3, 3, key=KEY), dropout=0.5, broadcast_dropout=True, key=KEY)(X, jnp.zeros(3), key=KEY), ValueError, "as a tuple of 2"),
    "complex parameters": (lambda: gru(dtype=jnp.complex64), ValueError, "real dtype"),
    "residual sizes": (lambda: rz.Residual(gru()), ValueError, "input_size=3 and output_size=4: put a linear layer"),
    "dropout of a state rate": (lambda: rz.VariationalDropout(gru(), state_rate=1.0), ValueError, r"state_rate in \[0, 1\), got 1.0"),
    "variational no key": (lambda: unroll(rz.VariationalDropout(gru(), input_rate=0.5), X), RuntimeError, "needs key"),
    "no map": (lambda: rz.cells.WiredElmanCell(10, key=KEY), TypeError, "expected a neuron map"),
    "learned state": (lambda: rz.LearnedInitialState(gru(), jnp.zeros(3)), ValueError, r"f32\[4\], got f32\[3\]"),
    "adopt without sizes": (lambda: rz.adopt(jnp.tanh), ValueError, "input_size and init_state"),
    "adopt, state changes": (lambda: rz.adopt(lambda h, x: x, input_size=3, init_state=jnp.zeros(4)), ValueError, "a state like init_state"),
    "no batch": (lambda: rz.batch(layer())(jnp.ones(3)), ValueError, "expected a batch"),
    "batch sizes": (lambda: rz.batch(layer())(jnp.ones((8, 7, 3)), mask=jnp.ones((4, 7), bool)), ValueError, "leading batch axis of 8"),
    "tokens": (lambda: token_model()(jnp.ones(7)), ValueError, "integer tokens"),
    "token batch": (lambda: token_model()(jnp.ones((2, 7), int)), ValueError, "rz.batch"),
    "dynamics of a function": (lambda: rz.dynamics.jacobians(jnp.tanh, X), TypeError, "rz.adopt"),
    "dynamics of a batch": (lambda: rz.dynamics.gradient_norms(gru(), jnp.ones((8, 7, 3))), ValueError, "for a batch use rz.batch"),
    "dynamics, dt for no time": (lambda: rz.dynamics.jacobians(gru(), X, dt=0.1), TypeError, "no physical time"),
    "dynamics, no key": (lambda: rz.dynamics.jacobians(rz.Zoneout(gru(), 0.5), X), RuntimeError, "needs key"),
    "dynamics of counters": (lambda: rz.dynamics.jacobians(counter(), X), ValueError, r"real or complex arrays, got i32\[2\]"),
    "exponents": (lambda: rz.dynamics.lyapunov_spectrum(gru(), X, count=5), ValueError, r"count in \[1, 4\].*got 5"),
    "washout": (lambda: rz.dynamics.lyapunov_spectrum(gru(), X, washout=7), ValueError, r"washout in \[0, 7\).*got 7"),
    "exponents in no time": (lambda: rz.dynamics.lyapunov_spectrum(leaky(), X, dt=0.0), RuntimeError, "dt with a positive sum"),
    "spectrum": (lambda: rz.dynamics.spectrum(jnp.ones((7, 3, 4))), ValueError, r"square matrices \(\.\.\., n, n\), got shape \(7, 3, 4\)"),
}  # fmt: skip


@functools.cache
def counter():
    return rz.adopt(lambda t, x: (t + 1, x), input_size=3, init_state=jnp.zeros(2, "int32"))


@functools.cache
def token_model():
    embedding = eqx.nn.Embedding(11, 3, key=KEY)
    return rz.SequenceModel(layer(), 2, encoder=embedding, key=KEY)


@pytest.mark.parametrize("name", BAD)
def test_message(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_good_input_in_other_clothes_is_taken():
    xs = np.ones((7, 3))
    expected = layer()(X)
    np.testing.assert_allclose(layer()(xs), expected)
    np.testing.assert_allclose(layer()(X, np.zeros(4)), expected)
    np.testing.assert_allclose(layer()(X, mask=np.ones(7, bool)), expected)
    assert token_model()(jnp.array([1, 2, 3])).shape == (2,)


def test_old_style_keys():
    cell = rz.Zoneout(gru(), 0.5)
    raw = jax.random.PRNGKey(0)
    one = unroll(cell, X, key=raw)[1]
    np.testing.assert_array_equal(one, unroll(cell, X, key=jr.split(raw, 7))[1])
    assert rz.batch(rz.Recurrent(cell))(jnp.ones((2, 7, 3)), key=raw).shape == (2, 7, 4)


@pytest.mark.slow
@pytest.mark.skipif("JAXTYPING_DISABLE" in os.environ, reason="this is the run without it")
def test_messages_without_the_shape_checker():
    environment = {**os.environ, "JAXTYPING_DISABLE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]
