"""A second call of anything compiles nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from cases import draw
from jax import monitoring

import rnn_zoo as rz


I, H = 3, 4
KEY = jax.random.key(0)
QUICK = ("elman", "lstm", "lru", "mamba", "esn", "unitary", "ltc")
_compiled = []


def _listen(event: str, duration: float, **_) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(duration)


monitoring.register_event_duration_secs_listener(_listen)


def compiled_by(call) -> int:
    before = len(_compiled)
    jax.block_until_ready(eqx.filter(call(), eqx.is_array))
    return len(_compiled) - before


def gradient(layer, xs):
    return eqx.filter_grad(lambda m: jnp.mean(abs(eqx.filter_vmap(m)(xs))))(layer)


CELLS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in rz.list_cells()
]


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    layer, xs = rz.Recurrent(rz.make_cell(name, I, H, key=KEY)), draw(0, (2, 7, I), jnp.float32)
    assert compiled_by(lambda: eqx.filter_vmap(layer)(xs))
    for call in (
        lambda: layer(xs[0]),
        lambda: layer.step(layer.init_state(), xs[0, 0]),
        lambda: eqx.filter_vmap(layer)(xs),
        lambda: gradient(layer, xs),
    ):
        call()
        assert compiled_by(call) == 0


def generate():
    model = rz.make_model("gru", I, I, hidden_size=H, pool=None, key=KEY)
    return lambda: rz.Autoregressive(model)(draw(0, (5, I), jnp.float32), 4)


def bidirectional():
    layer = rz.LSTM(I, H, num_layers=2, bidirectional=True, key=KEY)
    return lambda: layer(draw(0, (5, I), jnp.float32), mask=jnp.arange(5) < 4)


def segments():
    layer = rz.Recurrent(rz.make_cell("gru", I, H, key=KEY), remat="sqrt")
    return lambda: gradient(layer, draw(0, (2, 9, I), jnp.float32))


def irregular():
    layer = rz.Recurrent(rz.make_cell("cfc", I, H, key=KEY))
    return lambda: layer(draw(0, (5, I), jnp.float32), dt=jnp.full(5, 0.5))


def streams():
    stream = rz.Stream(rz.make_cell("lstm", I, H, key=KEY))

    def call():
        state, _ = stream.step(stream.init_state(), draw(0, (I,), jnp.float32))
        return stream.scan(draw(0, (5, I), jnp.float32), state)

    return call


def fits():
    network = rz.EchoStateNetwork(rz.cells.EchoStateCell(I, 8, key=KEY), 2)
    xs, ys = draw(0, (9, I), jnp.float32), draw(1, (9, 2), jnp.float32)
    return lambda: network.fit_readout(xs, ys, ridge=1e-3)


@pytest.mark.parametrize("make", [generate, bidirectional, segments, irregular, streams, fits])
def test_features(make):
    call = make()
    assert compiled_by(call)
    assert compiled_by(call) == 0
