"""Cells of other libraries, adopted in one line, obey the laws. Each test needs its library."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, draw

import rnn_zoo as rz
from rnn_zoo.scan import unroll


I, H, T = 3, 4, 7
KEY = jax.random.key(0)


def linen(name):
    return lambda: rz.adopt(
        getattr(pytest.importorskip("flax.linen"), name)(H), input_size=I, key=KEY
    )


def nnx(name):
    def make():
        peer = pytest.importorskip("flax.nnx")
        return rz.adopt(getattr(peer, name)(I, H, rngs=peer.Rngs(0)))

    return make


def haiku(name):
    def make():
        core = functools.partial(getattr(pytest.importorskip("haiku"), name), H)
        return rz.adopt(core, input_size=I, key=KEY)

    return make


def brainstate(name):
    return lambda: rz.adopt(pytest.importorskip("brainstate").nn.__dict__[name](I, H))


MAKE = {
    **{
        f"linen {n}": linen(n)
        for n in ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell", "MGUCell")
    },
    **{f"nnx {n}": nnx(n) for n in ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell")},
    **{f"haiku {n}": haiku(n) for n in ("VanillaRNN", "LSTM", "GRU")},
    **{
        f"brainstate {n}": brainstate(n)
        for n in ("ValinaRNNCell", "GRUCell", "MGUCell", "LSTMCell", "URLSTMCell")
    },
}


@pytest.fixture(scope="module", params=MAKE)
def cell(request):
    return MAKE[request.param]()


def test_scan_equals_a_loop(cell):
    xs = draw(1, (T, I), jnp.float32)
    state, ys = cell.init_state(), []
    for x in xs:
        state, y = cell.step(state, x)
        ys.append(y)
    assert (cell.input_size, cell.output_size) == (I, H)
    assert_close(unroll(cell, xs), (state, jnp.stack(ys)), 1e-6)


def test_padding_and_batches(cell):
    xs = draw(2, (2, T, I), jnp.float32)
    mask = jnp.arange(T) < jnp.array([[T], [4]])
    ys = rz.batch(rz.Recurrent(cell))(xs, mask=mask)
    for i, n in enumerate((T, 4)):
        assert_close(ys[i, :n], rz.Recurrent(cell)(xs[i, :n]), 1e-6)


def test_it_trains(cell):
    layer, xs = rz.Recurrent(cell), draw(3, (T, I), jnp.float32)
    grads = eqx.filter_grad(lambda layer: jnp.sum(layer(xs) ** 2))(layer)
    leaves = jax.tree.leaves(grads)
    assert leaves
    assert any(float(jnp.abs(g).max()) > 0 for g in leaves)
    assert all(np.isfinite(g).all() for g in leaves)


def test_equals_flax_rnn():
    peer = pytest.importorskip("flax.nnx")
    theirs = peer.GRUCell(I, H, rngs=peer.Rngs(0))
    xs = draw(4, (2, T, I), jnp.float32)
    assert_close(rz.batch(rz.Recurrent(rz.adopt(theirs)))(xs), peer.RNN(theirs)(xs), 1e-6)


def test_what_is_missing_is_named():
    peer = pytest.importorskip("flax.linen")
    with pytest.raises(ValueError, match="expected input_size: GRUCell learns it"):
        rz.adopt(peer.GRUCell(H))
    with pytest.raises(ValueError, match="expected key: the parameters of GRUCell"):
        rz.adopt(peer.GRUCell(H), input_size=I)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_step_does_beside_its_carry_is_named():
    peer = pytest.importorskip("flax.nnx")

    class Dropping(peer.GRUCell):
        def __init__(self):
            peer.GRUCell.__init__(self, I, H, rngs=peer.Rngs(0))
            self.drop = peer.Dropout(0.5, rngs=peer.Rngs(1))

        def __call__(self, carry, x):
            return peer.GRUCell.__call__(self, carry, self.drop(x))

    cell = Dropping()
    with pytest.raises(ValueError, match="got a Dropping that changes variables of its own"):
        rz.adopt(cell)
    cell.eval()
    xs = draw(4, (2, T, I), jnp.float32)
    assert_close(rz.batch(rz.Recurrent(rz.adopt(cell)))(xs), peer.RNN(cell)(xs), 1e-6)
    normal = jax.nn.initializers.normal()
    drawn = peer.GRUCell(I, H, rngs=peer.Rngs(0))
    drawn.carry_init = normal
    with pytest.raises(ValueError, match="not random, got a GRUCell with a random"):
        rz.adopt(drawn)
    linen = pytest.importorskip("flax.linen")
    with pytest.raises(ValueError, match="not random, got a GRUCell with a random"):
        rz.adopt(linen.GRUCell(H, carry_init=normal), input_size=I, key=KEY)
    with pytest.raises(TypeError, match="got RNN, which has no initialize_carry"):
        rz.adopt(peer.RNN(cell))


def test_modules_that_are_not_of_jax_name_their_reader():
    for library, reader in (("torch.nn", "from_torch"), ("keras.src", "from_keras")):
        cell = type("GRUCell", (), {"__module__": library, "__call__": lambda self, h, x: h})()
        with pytest.raises(TypeError, match=f"got GRUCell of .*rz.interop.{reader} carries"):
            rz.adopt(cell, input_size=I, init_state=jnp.zeros(H))
