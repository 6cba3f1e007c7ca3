"""Exported programs give what the model gives, for any batch and length, without the library."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import draw
from jax import export

import rnn_zoo as rz
from rnn_zoo.interop._lowering import lowered


I, KEY = 3, jax.random.key(0)
MODELS = {
    "cell": lambda: rz.make_cell("lstm", I, 4, key=KEY),
    "linear": lambda: rz.Recurrent(rz.make_cell("s5", I, 4, key=KEY), method="parallel"),
    "deep": lambda: rz.make_model("lru", I, 2, hidden_size=4, num_layers=2, dropout=0.5, key=KEY),
    "bidirectional": lambda: rz.make_model("gru", I, 2, hidden_size=4, bidirectional=True, key=KEY),
    "mamba": lambda: rz.layers.MambaBlock(I, key=KEY),
    "reservoir": lambda: rz.make_cell("esn", I, 6, key=KEY),
    "liquid": lambda: rz.CfC(I, 4, key=KEY),
}
WITHOUT = """
import sys
from pathlib import Path
import numpy as np
from jax import export
call = export.deserialize(Path(sys.argv[1]).read_bytes()).call
np.save(sys.argv[3], call(np.load(sys.argv[2])))
assert "rnn_zoo" not in sys.modules and "equinox" not in sys.modules
"""
STEP_WITHOUT = """
import sys
from pathlib import Path
import numpy as np
from jax import export
step = export.deserialize(Path("program").read_bytes())
state, ys = dict(np.load("state.npz")), []
for x in np.load("xs.npy"):
    state, y = step.call(state, x)
    ys.append(y)
np.save("ys.npy", ys)
assert "rnn_zoo" not in sys.modules and "equinox" not in sys.modules
"""


COMPLEX = {
    "split": lambda z: sum(jnp.split(z, 2)),
    "square": jnp.square,
    "quotient": lambda z: z[:2] / z[2:],
    "product": lambda z: z[None, :] @ jnp.conj(z),
    "absolute": lambda z: jnp.exp(z) + jnp.abs(z),
    "where": lambda z: jnp.where(z.real > 2, z, -z)[::-1],
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers_are_pairs_of_real_ones(name):
    def parts(x):
        z = COMPLEX[name](x * (0.3 + 1j))
        return z.real, z.imag

    x = jnp.arange(1.0, 5.0)
    program = jax.make_jaxpr(lowered(parts))(x)
    assert "c64" not in str(program)
    for part, expected in zip(jax.jit(lowered(parts))(x), parts(x)):
        np.testing.assert_allclose(part, expected, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_program_equals_the_model(name):
    model = MODELS[name]()
    program = export.deserialize(rz.interop.to_stablehlo(model, mask=True).serialize())
    layer = eqx.nn.inference_mode(model if hasattr(model, "scan") else rz.Recurrent(model))
    for batch, time in ((1, 5), (3, 40)):
        xs = draw(batch, (batch, time, I), jnp.float32)
        mask = jnp.arange(time) < jnp.arange(3, 3 + batch)[:, None]
        ours = rz.batch(layer)(xs, mask=mask)
        np.testing.assert_allclose(program.call(xs, mask), ours, rtol=1e-5, atol=1e-6)


def test_time_steps_and_tokens():
    layer, xs, dt = MODELS["liquid"](), draw(0, (2, 6, I), jnp.float32), jnp.full((2, 6), 0.3)
    program = rz.interop.to_stablehlo(layer, dt=True)
    np.testing.assert_allclose(program.call(xs, dt), rz.batch(layer)(xs, dt=dt), atol=1e-6)
    embedding = eqx.nn.Embedding(5, I, key=KEY)
    model = rz.SequenceModel(
        rz.cells.GRUCell(I, 4, key=KEY), 5, encoder=embedding, pool=None, key=KEY
    )
    tokens = jnp.array([[0, 4, 2], [1, 1, 3]])
    ours = rz.batch(model)(tokens)
    call = rz.interop.to_stablehlo(model).call
    np.testing.assert_allclose(call(tokens), ours, atol=1e-6)
    assert jnp.array_equal(call(jnp.array([[0, 7, 1]])), call(jnp.array([[0, 4, 1]])))


def test_a_file_runs_without_the_library(tmp_path):
    model, xs = MODELS["bidirectional"](), draw(0, (2, 8, I), np.float32)
    paths = [str(tmp_path / name) for name in ("model.stablehlo", "xs.npy", "ys.npy")]
    (tmp_path / "model.stablehlo").write_bytes(rz.interop.to_stablehlo(model).serialize())
    np.save(paths[1], xs)
    subprocess.run([sys.executable, "-c", WITHOUT, *paths], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(paths[2]), rz.batch(model)(xs), atol=1e-6)


class OwnNetwork(eqx.Module):
    """A module of somebody else: it says nothing of what it reads."""

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear
    drop: eqx.nn.Dropout

    def __init__(self):
        keys = jax.random.split(KEY)
        self.cell = eqx.nn.GRUCell(I, 4, key=keys[0])
        self.head = eqx.nn.Linear(4, 2, key=keys[1])
        self.drop = eqx.nn.Dropout(0.5)

    def __call__(self, xs):
        def body(h, x):
            h = self.cell(x, h)
            return h, self.head(self.drop(h))

        return jax.lax.scan(body, jnp.zeros(4), xs)[1]


class OwnStepping(eqx.Module):
    """The same, step by step, with an integer and a complex number in its state."""

    weight: jax.Array

    def init_state(self):
        return {"count": jnp.int32(0), "z": jnp.ones(2, jnp.complex64)}

    def step(self, state, x):
        z = state["z"] * jnp.exp(1j * self.weight) + x.sum()
        return {"count": state["count"] + 1, "z": z}, z.real * state["count"]


def test_any_module_that_is_called_with_a_sequence(tmp_path):
    model, xs = OwnNetwork(), draw(0, (2, 8, I), np.float32)
    with pytest.raises(TypeError, match="OwnNetwork does not say what it reads: give like="):
        rz.interop.to_stablehlo(model)
    expected = jax.vmap(eqx.nn.inference_mode(model))(xs)
    exported = rz.interop.to_stablehlo(model, like=xs[0])
    np.testing.assert_allclose(exported.call(xs), expected, atol=1e-6)
    np.testing.assert_allclose(exported.call(xs[:1, :3]), expected[:1, :3], atol=1e-6)
    # What has to know its length says so to JAX, and gets one.
    turned = eqx.nn.Lambda(lambda xs: xs.reshape(4, -1))
    fixed = rz.interop.to_stablehlo(turned, like=xs[0], length=8)
    assert fixed.call(xs).shape == (2, 4, 6)


STEPS = {
    "layers": lambda: MODELS["cell"](),
    "complex": lambda: rz.make_model("lru", I, 2, hidden_size=4, pool=None, dropout=0.5, key=KEY),
    "timed": MODELS["liquid"],
    "tokens": lambda: rz.make_model(
        "gru", I, 2, embedding_size=2, hidden_size=4, pool=None, key=KEY
    ),
    "initial state": lambda: rz.LearnedInitialState(rz.cells.GRUCell(I, 4, key=KEY)),
    "reservoir": lambda: rz.make_cell("esn", I, 6, key=KEY),
    "matrix": lambda: rz.make_cell("mlstm", I, 4, key=KEY),
    "own": lambda: OwnStepping(jnp.array([0.3, 0.4])),
}


def of_steps(name):
    """A model, what its steps read, and what the stream says."""
    model, rng = STEPS[name](), np.random.default_rng(0)
    if name == "tokens":
        xs = rng.integers(0, I, 4).astype(np.int32)
    else:
        xs = rng.standard_normal((4, I)).astype(np.float32)
    times = rng.random(4).astype(np.float32) if getattr(model, "timed", False) else None
    stream = rz.Stream(eqx.nn.inference_mode(model))
    state, said = stream.init_state(), []
    inputs = [
        (x,) if times is None else (x, np.asarray(t))
        for x, t in zip(xs, xs if times is None else times)
    ]
    for given in inputs:
        state, y = stream.step(state, *given)
        said.append(np.asarray(y))
    options = {"step": True, "dt": times is not None}
    return model, options | ({"like": xs[0]} if name == "own" else {}), inputs, said


@pytest.mark.parametrize("name", STEPS)
def test_a_step_equals_the_stream(name):
    model, options, inputs, said = of_steps(name)
    program = export.deserialize(rz.interop.to_stablehlo(model, **options).serialize())
    state = rz.interop.exported_state(model)
    kinds = {key: (a.shape, a.dtype) for key, a in state.items()}
    assert not any(np.iscomplexobj(a) for a in state.values())
    for given, expected in zip(inputs, said, strict=True):
        state, y = program.call(state, *given)
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    assert {key: (a.shape, a.dtype) for key, a in state.items()} == kinds


def test_a_step_runs_without_the_library(tmp_path):
    model, options, inputs, said = of_steps("complex")
    (tmp_path / "program").write_bytes(rz.interop.to_stablehlo(model, **options).serialize())
    np.savez(tmp_path / "state.npz", **rz.interop.exported_state(model))
    np.save(tmp_path / "xs.npy", [x for (x,) in inputs])
    subprocess.run([sys.executable, "-c", STEP_WITHOUT], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "ys.npy"), said, atol=1e-6)


def test_names_of_states():
    names = rz.interop.exported_state
    assert list(names(STEPS["complex"]())) == ["state.1.imag", "state.1.real"]
    assert list(names(MODELS["cell"]())) == ["state.c", "state.h"]
    assert list(names(MODELS["reservoir"]())) == ["state"]
    assert list(names(STEPS["own"]())) == ["state.count", "state.z.imag", "state.z.real"]


class Growing(OwnStepping):
    def step(self, state, x):
        return {**state, "z": jnp.concatenate([state["z"], state["z"]])}, x


def test_what_cannot_be_exported():
    with pytest.raises(TypeError, match="has no physical time and takes no dt"):
        rz.interop.to_stablehlo(rz.LSTM(I, 4, key=KEY), dt=True)
    with pytest.raises(TypeError, match="expected a cell"):
        rz.interop.to_stablehlo(jnp.tanh)
    with pytest.raises(TypeError, match="expected a cell"):
        rz.interop.to_stablehlo(OwnNetwork(), step=True)
    with pytest.raises(TypeError, match="has no physical time and takes no dt"):
        rz.interop.to_stablehlo(rz.LSTM(I, 4, key=KEY), step=True, dt=True)
    with pytest.raises(TypeError, match="reads a sequence from its end and cannot step"):
        rz.interop.to_stablehlo(MODELS["bidirectional"]().layer, step=True)
    with pytest.raises(ValueError, match="expected no mask with step=True"):
        rz.interop.to_stablehlo(MODELS["cell"](), step=True, mask=True)
    with pytest.raises(TypeError, match="expected a step of Growing to give a state like its init"):
        rz.interop.to_stablehlo(Growing(jnp.ones(2)), like=jnp.ones(2), step=True)


def check_onnx(model, path, masked):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    rz.interop.to_onnx(model, path, mask=masked)
    session = runtime.InferenceSession(str(path))
    names = [given.name for given in session.get_inputs()]
    layer = eqx.nn.inference_mode(model if hasattr(model, "scan") else rz.Recurrent(model))
    for batch, time in ((1, 5), (3, 9)):
        xs = np.asarray(draw(batch, (batch, time, I), jnp.float32))
        mask = np.arange(time) < np.arange(3, 3 + batch)[:, None] if masked else None
        (ys,) = session.run(None, dict(zip(names, [xs, mask])))
        ours = rz.batch(layer)(xs, mask=mask)
        np.testing.assert_allclose(ys, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_onnx_equals_the_model(name, masked, tmp_path):
    check_onnx(MODELS[name](), tmp_path / "model.onnx", masked)


@pytest.mark.parametrize("name", sorted(set(rz.list_cells()) - {"unitary"}))
def test_onnx_equals_the_cell(name, tmp_path):
    check_onnx(rz.make_cell(name, I, 6, key=KEY), tmp_path / "cell.onnx", masked=False)


def test_onnx_has_no_fourier_transform(tmp_path):
    pytest.importorskip("jax2onnx")
    with pytest.raises(NotImplementedError, match="'fft' of complex numbers has no form"):
        rz.interop.to_onnx(rz.make_cell("unitary", I, 6, key=KEY), tmp_path / "cell.onnx")


@pytest.mark.parametrize("name", STEPS)
def test_onnx_steps_as_the_stream_does(name, tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, options, inputs, said = of_steps(name)
    rz.interop.to_onnx(model, tmp_path / "step.onnx", **options)
    session = runtime.InferenceSession(str(tmp_path / "step.onnx"))
    state = rz.interop.exported_state(model)
    named = [*state, "x", *(["dt"] if options["dt"] else [])]
    assert [given.name for given in session.get_inputs()] == named
    assert [one.name for one in session.get_outputs()] == [*(f"new_{n}" for n in state), "y"]
    for given, expected in zip(inputs, said, strict=True):
        *parts, y = session.run(None, {**state, **dict(zip(("x", "dt"), map(np.asarray, given)))})
        state = dict(zip(state, parts))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_onnx_takes_any_module(tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, xs = OwnNetwork(), draw(0, (2, 8, I), np.float32)
    rz.interop.to_onnx(model, tmp_path / "own.onnx", like=xs[0])
    (ys,) = runtime.InferenceSession(str(tmp_path / "own.onnx")).run(["ys"], {"xs": np.asarray(xs)})
    np.testing.assert_allclose(ys, jax.vmap(eqx.nn.inference_mode(model))(xs), atol=1e-5)
