"""CfC and LTC equal those of ncps in PyTorch: outputs, final states, gradients; loading.

The golden values need no PyTorch; where it is installed with ncps, `from_ncps` also reads
modules that are made on the spot.
"""

import json
import types
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import float64

import rnn_zoo as rz
from rnn_zoo.interop import from_ncps


GOLDEN = np.load(Path(__file__).parent / "golden" / "ncps.npz")
NAMES = [name for name in GOLDEN.files if "/" not in name and name != "version"]

LTC_OPTIONS = (
    "_ode_unfolds",
    "_input_mapping",
    "_output_mapping",
    "_implicit_param_constraints",
    "_epsilon",
)


def values(name):
    """What the module is, and its arrays."""
    about = json.loads(str(GOLDEN[f"{name}/about"]))
    found, start = {}, 0
    for key, shape in about["shapes"].items():
        stop = start + int(np.prod(shape))
        found[key] = GOLDEN[name][start:stop].reshape(shape)
        start = stop
    return about, found


def theirs(name, **fields):
    """An object of a class of ncps."""
    return type(name, (types.SimpleNamespace,), {"__module__": "ncps"})(**fields)


def stand_in(about, arrays, **changes):
    """An object with the names that `from_ncps` reads off a module of ncps."""
    fields = {"use_mixed": about["mixed"], "training": False, "__module__": "ncps", **changes}
    fields["state_dict"] = lambda self: arrays
    if "options" in about:
        cell = theirs("LTCCell", **dict(zip(LTC_OPTIONS, about["options"])))
        cell._wiring = types.SimpleNamespace(
            adjacency_matrix=about["adjacency"],
            sensory_adjacency_matrix=about["sensory_adjacency"],
            output_dim=about["outputs"],
        )
        return type("LTC", (), {"rnn_cell": cell, **fields})()
    blocks = [type(part, (), {})() for part in about.get("backbone", [])]
    for k in (k for k in arrays if k.startswith("rnn_cell.backbone") and k.endswith("weight")):
        blocks[int(k.split(".")[2])].weight = arrays[k]
    cell = theirs("CfCCell", mode=about["mode"], backbone=blocks or None)
    if "layers" in about:
        layers = about["layers"]
        cell._layers = [types.SimpleNamespace(mode=about["mode"]) for _ in layers]
        cell._wiring = types.SimpleNamespace(
            num_layers=len(layers),
            get_neurons_of_layer=layers.__getitem__,
            adjacency_matrix=about["adjacency"],
            sensory_adjacency_matrix=about["sensory_adjacency"],
        )
    return type("CfC", (), {"rnn_cell": cell, **fields})()


def load(name, prefix="p/", scale=1.0):
    about, found = values(name)
    arrays = {k[len(prefix) :]: scale * v for k, v in found.items() if k.startswith(prefix)}
    return from_ncps(stand_in(about, arrays))


def start(layer, found):
    """Our state from their h and c."""
    h = jnp.asarray(found["h"])
    h = rz.wrappers.MixedMemoryState(h, jnp.asarray(found["c"])) if "c" in found else h
    return (h, *layer.init_state()[1:])


@pytest.mark.parametrize("name", NAMES)
def test_equals_ncps(name):
    _, found = values(name)
    with float64():
        layer = load(name)
        state, ys = layer.scan(found["xs"], start(layer, found), dt=found["dt"])
        np.testing.assert_allclose(ys, found["ys"], rtol=1e-10, atol=1e-10)
        for ours, key in zip(jax.tree.leaves(state), ("h'", "c'")):
            np.testing.assert_allclose(ours, found[key], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "name", [*NAMES[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[2:])]
)
def test_gradients_equal_those_of_ncps(name, monkeypatch):
    _, found = values(name)
    with float64():
        layer = load(name)
        params, rest = eqx.partition(layer, eqx.is_inexact_array)
        given = (params, found["xs"], start(layer, found), found["dt"])

        @jax.grad
        def gradient(given):
            params, xs, state, dt = given
            return jnp.sum(jnp.sin(eqx.combine(params, rest)(xs, state, dt=dt)))

        grads, xs, state, dt = gradient(given)
        np.testing.assert_allclose(xs, found["grad/xs"], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(dt, found["grad/dt"], rtol=1e-10, atol=1e-10)
        for ours, key in zip(jax.tree.leaves(state), "hc"):
            np.testing.assert_allclose(ours, found[f"grad/{key}"], rtol=1e-10, atol=1e-10)
        # Loading is a permutation and a constant, so it takes gradients to gradients, of any sign.
        monkeypatch.setattr("rnn_zoo.interop.ncps._check_ranges", lambda *_: None)
        theirs, constant = load(name, "grad/p/"), load(name, "grad/p/", 0.0)
        for one, two, zero in zip(*map(arrays, (grads, theirs, constant))):
            np.testing.assert_allclose(one, two - zero, rtol=1e-10, atol=1e-10)


def arrays(tree):
    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))


def test_loaded_networks_know_their_mode_and_train():
    about, found = values("deep")
    weights = {k[2:]: v for k, v in found.items() if k.startswith("p/")}
    theirs = stand_in(about, weights, training=True)
    theirs.rnn_cell.backbone[-1].p = 0.5
    layer = from_ncps(theirs)
    assert layer.stochastic
    with pytest.raises(RuntimeError, match="needs key"):
        layer(found["xs"])
    theirs.training = False
    assert from_ncps(theirs)(found["xs"]).shape == (6, 5)


def test_other_modules_are_named():
    with pytest.raises(TypeError, match="expected a CfC.* of ncps.torch, got Linear"):
        from_ncps(eqx.nn.Linear(2, 2, key=jax.random.key(0)))
    about, found = values("deep")
    about["backbone"][1] = "Softplus"
    weights = {k[2:]: v for k, v in found.items() if k.startswith("p/")}
    with pytest.raises(ValueError, match="one of the activations .* got Softplus"):
        from_ncps(stand_in(about, weights))


def test_an_explicit_ltc_outside_its_ranges_is_named():
    about, found = values("ltc_explicit")
    weights = {k[2:]: np.array(v) for k, v in found.items() if k.startswith("p/")}
    used = tuple(np.argwhere(about["adjacency"])[0])
    for name, at, value in (
        ("w", used, -0.1),
        ("gleak", 0, -0.1),
        ("cm", 0, 0.0),
        ("sensory_w", tuple(np.argwhere(about["sensory_adjacency"])[0]), -1e-3),
    ):
        key = next(k for k in weights if k.endswith(f".{name}"))
        below = {k: v.copy() for k, v in weights.items()}
        below[key][at] = value
        with pytest.raises(ValueError, match=f"got less in {name}: .*apply_weight_constraints"):
            from_ncps(stand_in(about, below))
    # Where there is no synapse the numbers are not used.
    free = tuple(np.argwhere(np.equal(about["adjacency"], 0))[0])
    key = next(k for k in weights if k.endswith(".w"))
    weights[key][free] = -1.0
    assert eqx.tree_equal(from_ncps(stand_in(about, weights)), load("ltc_explicit"))


def test_code_of_ones_own_is_named():
    about, found = values("deep")
    weights = {k[2:]: v for k, v in found.items() if k.startswith("p/")}
    module = stand_in(about, weights)
    for one in (module, module.rnn_cell):
        type(one).forward = lambda self, x: x
    inner = type("Mine", (type(module.rnn_cell),), {"forward": lambda self, x: 2 * x})
    with pytest.raises(TypeError, match="expected CfCCell .*got Mine with its own forward"):
        from_ncps(stand_in(about, weights, rnn_cell=inner(**vars(module.rnn_cell))))
    outer = type("Mine", (type(module),), {"forward": lambda self, x: 2 * x})
    with pytest.raises(TypeError, match="expected CfC .*got Mine with its own forward"):
        from_ncps(outer())
    with pytest.raises(TypeError, match="a cell of ncps.torch in a CfC, got SimpleNamespace"):
        from_ncps(stand_in(about, weights, rnn_cell=types.SimpleNamespace()))
    normed = weights | {"rnn_cell.ff1.parametrizations.weight.original0": np.ones(2)}
    with pytest.raises(ValueError, match="got rnn_cell.ff1.parametrizations.*undo it by"):
        from_ncps(stand_in(about, normed))
    about["backbone"][-2] = "Tanh" if about["backbone"][-2] != "Tanh" else "ReLU"
    with pytest.raises(ValueError, match="a backbone with one activation"):
        from_ncps(stand_in(about, weights))


def test_reads_modules_of_ncps_itself():
    torch, ncps = pytest.importorskip("torch"), pytest.importorskip("ncps")
    from ncps.torch import LTC, CfC  # noqa: PLC0415

    xs, dt = torch.randn(7, 3), torch.rand(7)
    wiring = ncps.wirings.AutoNCP(8, 2)
    for module in (
        CfC(3, 5, backbone_layers=2, activation="relu"),
        CfC(3, wiring, mode="no_gate", mixed_memory=True, proj_size=4),
        # A wiring of its own: ncps draws more synapses when a wiring is built again.
        LTC(3, ncps.wirings.AutoNCP(8, 2), mixed_memory=True),
    ):
        expected = module.eval()(xs, timespans=dt)[0].detach().numpy()
        np.testing.assert_allclose(
            from_ncps(module)(xs.numpy(), dt=dt.numpy()), expected, atol=1e-5
        )
    handle = module.rnn_cell.register_forward_hook(lambda module, given, got: got)
    with pytest.raises(TypeError, match="forward hooks, got some on rnn_cell"):
        from_ncps(module)
    handle.remove()
    module = LTC(3, 5, implicit_param_constraints=False)
    with torch.no_grad():
        module.rnn_cell._params["gleak"][:] = -0.1
    with pytest.raises(ValueError, match="got less in gleak"):
        from_ncps(module)
    module.rnn_cell.apply_weight_constraints()
    expected = module.eval()(xs, timespans=dt)[0].detach().numpy()
    np.testing.assert_allclose(from_ncps(module)(xs.numpy(), dt=dt.numpy()), expected, atol=1e-5)
