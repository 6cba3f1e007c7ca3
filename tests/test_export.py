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


def test_what_cannot_be_exported():
    with pytest.raises(TypeError, match="has no physical time and takes no dt"):
        rz.interop.to_stablehlo(rz.LSTM(I, 4, key=KEY), dt=True)
    with pytest.raises(TypeError, match="expected a cell"):
        rz.interop.to_stablehlo(jnp.tanh)


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
