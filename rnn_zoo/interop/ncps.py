"""Trained networks of ncps in PyTorch as layers of this library. Nothing of either is imported."""

import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from .._common.activations import lecun_tanh
from ..base import AbstractCell, replace
from ..cells.liquid import CfCCell
from ..cells.ltc import LEAST_CAPACITY, LTCCell
from ..cells.wired import WiredCfCCell
from ..layers.pointwise import Pointwise
from ..layers.recurrent import Recurrent
from ..layers.stacked import Stacked
from ..wiring.base import NeuronMap
from ..wrappers.mixed_memory import MixedMemory
from ._plain_objects import check_hooks, check_plain, class_of


class GivenMap(NeuronMap):
    """A neuron map from arrays that are there already, such as those of another library."""

    def __init__(self, adjacency: Any, sensory_adjacency: Any, output_size: int, layers: Any):
        """As in `NeuronMap.seal`."""
        config = dict(
            adjacency=np.asarray(adjacency).tolist(),
            sensory_adjacency=np.asarray(sensory_adjacency).tolist(),
            output_size=int(output_size),
            layers=[list(map(int, layer)) for layer in layers],
        )
        self.seal(adjacency, sensory_adjacency, output_size, layers, config=config)


def from_ncps(module: Any) -> Stacked:
    """A layer with the weights of a `CfC` or `LTC` of `ncps.torch`, wired or not, all options.

    The layer gives what the module gives for one sequence, at every step: `layer(xs,
    dt=timespans)`; `rz.batch(layer)` takes batches. A module in evaluation becomes a layer
    in inference. A wired module with one layer gives all its neurons, as ncps does. Its
    dropout leaves out the first layer of a backbone, that of `CfCCell` does not: in training
    the two differ. TypeError for another module, and for one with code of its own (a subclass
    with its own `forward`, forward hooks); ValueError for activations and parametrisations that
    have no form here, and for an LTC with explicit constraints whose parameters do not keep them.
    """
    own = class_of(module, _CELLS, ("ncps",))
    if own is None or not hasattr(module, "rnn_cell"):
        raise TypeError(
            f"expected a {' or '.join(_CELLS)} of ncps.torch, got {type(module).__name__}: "
            "its cells alone are not read, wrap them in one of these"
        )
    name = own.__name__
    check_plain(module, own, _MEND)
    inner = class_of(module.rnn_cell, ("CfCCell", "WiredCfCCell", "LTCCell"), ("ncps",))
    if inner is None:
        raise TypeError(
            f"expected a cell of ncps.torch in a {name}, got {type(module.rnn_cell).__name__}: "
            f"{_MEND}"
        )
    check_plain(module.rnn_cell, inner, _MEND)
    _check_names(module.state_dict())
    check_hooks(module, ("torch", "ncps"))
    arrays = {k: _numpy(v) for k, v in module.state_dict().items()}
    cell = _CELLS[name](module, _below(arrays, "rnn_cell"))
    if module.use_mixed:
        cell = _mixed(cell, _below(arrays, "lstm"))
    parts: list[Any] = [Recurrent(cell)]
    if "fc.weight" in arrays:
        fc = _linear(arrays, "fc")
        parts.append(Pointwise(fc, *np.shape(fc.weight)[::-1]))
    return eqx.nn.inference_mode(Stacked(parts), not module.training)


_MEND = "rz.adopt(step) takes a function of your own"
# Of weights that torch computes from others.
_COMPUTED = re.compile(r".*(parametrizations\..*|_(orig|mask|g|u))")
# Apart from the masks of the wiring.
_MASKS = re.compile(r".*sparsity_mask")


def _check_names(names: Any) -> None:
    for name in names:
        if _COMPUTED.fullmatch(name) and not _MASKS.fullmatch(name):
            raise ValueError(
                f"expected plain weights, got {name}, from which torch computes others: undo it by "
                "torch.nn.utils.parametrize.remove_parametrizations, remove_weight_norm, "
                "remove_spectral_norm or prune.remove"
            )


def _cfc(module: Any, arrays: dict[str, Array]) -> AbstractCell:
    return (_wired if hasattr(module.rnn_cell, "_wiring") else _dense)(module.rnn_cell, arrays)


def _ltc(module: Any, arrays: dict[str, Array]) -> LTCCell:
    theirs = module.rnn_cell
    wiring = theirs._wiring
    adjacency, sensory = map(np.asarray, (wiring.adjacency_matrix, wiring.sensory_adjacency_matrix))
    given = GivenMap(adjacency, sensory, wiring.output_dim, [range(len(adjacency))])
    cell = LTCCell(
        len(sensory),
        given,
        ode_unfolds=theirs._ode_unfolds,
        input_mapping=theirs._input_mapping,
        output_mapping=theirs._output_mapping,
        constraint="implicit" if theirs._implicit_param_constraints else "explicit",
        epsilon=theirs._epsilon,
        key=jr.key(0),
    )
    if not theirs._implicit_param_constraints:
        _check_ranges(arrays, adjacency, sensory)
    names = {"weight": "w", "mu": "mu", "sigma": "sigma", "polarity": "erev"}
    recurrent = {k: arrays[n][np.nonzero(adjacency)] for k, n in names.items()}
    inputs = {k: arrays[f"sensory_{n}"][np.nonzero(sensory)] for k, n in names.items()}
    maps = {
        f"{side}_{kind}": arrays.get(f"{side}_{kind[0]}")
        for side in ("input", "output")
        for kind in ("weight", "bias")
    }
    return replace(
        cell,
        recurrent=replace(cell.recurrent, **recurrent),
        sensory=replace(cell.sensory, **inputs),
        g_leak=arrays["gleak"],
        v_leak=arrays["vleak"],
        c_m=arrays["cm"],
        **maps,
    )


def _check_ranges(arrays: dict[str, Array], adjacency: Any, sensory: Any) -> None:
    """Ours holds the explicit constraints where parameters are used, theirs when it is told to."""
    used = {
        "w": arrays["w"][np.nonzero(adjacency)],
        "sensory_w": arrays["sensory_w"][np.nonzero(sensory)],
        "gleak": arrays["gleak"],
        "cm": arrays["cm"] - LEAST_CAPACITY,
    }
    below = [name for name, values in used.items() if np.min(values, initial=0.0) < 0]
    if below:
        raise ValueError(
            "expected w, sensory_w and gleak of at least 0 and cm of at least "
            f"{LEAST_CAPACITY} of an LTC with explicit constraints, got less in "
            f"{', '.join(below)}: module.apply_weight_constraints() gives the module these "
            f"ranges, and a cm of 0 has to be set to {LEAST_CAPACITY}"
        )


_CELLS = {"CfC": _cfc, "LTC": _ltc}


def _dense(theirs: Any, arrays: dict[str, Array]) -> CfCCell:
    hidden, features = arrays["ff1.weight"].shape
    backbone = [] if theirs.backbone is None else list(theirs.backbone)
    _check_backbone(backbone)
    names = [f"backbone.{i}" for i, part in enumerate(backbone) if hasattr(part, "weight")]
    inputs = (arrays[f"{names[0]}.weight"].shape[1] if names else features) - hidden
    cell = CfCCell(
        inputs,
        hidden,
        mode=theirs.mode,
        backbone_units=features,
        backbone_layers=len(names),
        activation=_activation(backbone[1]) if names else lecun_tanh,
        backbone_dropout=max([getattr(part, "p", 0.0) for part in backbone], default=0.0),
        key=jr.key(0),
    )
    return _filled(cell, arrays, tuple(_linear(arrays, name) for name in names))


def _check_backbone(parts: list[Any]) -> None:
    """ValueError where the layers of a backbone have activations of more than one kind."""
    rest = [part for part in parts if type(part).__name__ not in ("Linear", "Dropout")]
    if len({_activation(part) for part in rest}) > 1:
        raise ValueError(
            "expected a backbone with one activation, got "
            f"{', '.join(type(part).__name__ for part in rest)}"
        )


def _filled(cell: CfCCell, arrays: dict[str, Array], backbone: tuple[Any, ...]) -> CfCCell:
    heads = ["ff1"] if cell.mode == "pure" else ["ff1", "ff2", "time_a", "time_b"]
    one = {k: jnp.concatenate([arrays[f"{h}.{k}"] for h in heads]) for k in ("weight", "bias")}
    extra = {k: arrays[k][0] for k in ("A", "w_tau") if k in arrays}
    return replace(cell, heads=replace(cell.heads, **one), backbone=backbone, **extra)


def _wired(theirs: Any, arrays: dict[str, Array]) -> WiredCfCCell:
    wiring = theirs._wiring
    layers = [wiring.get_neurons_of_layer(i) for i in range(wiring.num_layers)]
    given = GivenMap(
        np.asarray(wiring.adjacency_matrix),
        np.asarray(wiring.sensory_adjacency_matrix),
        len(layers[-1]),
        layers,
    )
    cell = WiredCfCCell(given.input_size, given, mode=theirs._layers[0].mode, key=jr.key(0))
    filled = [_filled(c, _below(arrays, f"layer_{i}"), ()) for i, c in enumerate(cell.layers)]
    # ncps keeps random numbers where there is no synapse; ours are zero there.
    masked = replace(cell, layers=tuple(filled)).constants()
    return replace(cell, layers=masked)


def _mixed(cell: AbstractCell, arrays: dict[str, Array]) -> MixedMemory:
    memory = MixedMemory(cell, key=jr.key(0))
    blocks = {
        "weight_ih": jnp.split(arrays["input_map.weight"], 4),
        "weight_hh": jnp.split(arrays["recurrent_map.weight"], 4),
        "bias": jnp.split(arrays["input_map.bias"], 4),
    }
    # Theirs are in the order g, i, f, o, and 1 is added to f at every step.
    fields = {k: [i, f, g, o] for k, (g, i, f, o) in blocks.items()}
    fields["bias"][1] = fields["bias"][1] + 1.0
    lstm = replace(memory.lstm, **{k: jnp.concatenate(parts) for k, parts in fields.items()})
    return replace(memory, lstm=lstm)


def _linear(arrays: dict[str, Array], name: str) -> eqx.nn.Linear:
    weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
    layer = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=jr.key(0))
    return replace(layer, weight=weight, bias=bias)


def _gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


def _activation(module: Any) -> Any:
    known = {
        "LeCun": lecun_tanh,
        "SiLU": jax.nn.silu,
        "ReLU": jax.nn.relu,
        "Tanh": jnp.tanh,
        "GELU": _gelu,
    }
    name = type(module).__name__
    if name not in known:
        raise ValueError(f"expected one of the activations {tuple(known)} of ncps, got {name}")
    if getattr(module, "approximate", "none") != "none":
        raise ValueError(f"expected an exact GELU, got approximate={module.approximate!r}")
    return known[name]


def _numpy(tensor: Any) -> Array:
    return jnp.asarray(tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor)


def _below(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    """The arrays of a part, by their names in it."""
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
