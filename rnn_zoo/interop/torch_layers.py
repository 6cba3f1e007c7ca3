"""RNN, LSTM and GRU of PyTorch and the layers of this library, both ways."""

import importlib
import re
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np

from ..cells.gated import GRUCell, LSTMCell
from ..cells.projected import LSTMPCell
from ..cells.vanilla import ElmanCell
from ..layers.recurrent import Bidirectional, Recurrent
from ..layers.stacked import Stacked
from ._from_gates import RELU, TANH, added, elman, gru, lstm, to_numpy
from ._plain_objects import check_hooks, check_plain, class_of


LAYERS, CELLS = ("RNN", "LSTM", "GRU"), ("RNNCell", "LSTMCell", "GRUCell")
NONLINEARITIES = {"tanh": TANH, "relu": RELU}
_PARTS = ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")
_NAME = re.compile(rf"({'|'.join(_PARTS)})(_l\d+(_reverse)?)?")
_FIRST = re.compile(r"(.*?)weight_ih(_l0)?")
_KINDS = {ElmanCell: "RNN", LSTMCell: "LSTM", LSTMPCell: "LSTM", GRUCell: "GRU"}
_Arrays = dict[str, np.ndarray]


def from_torch(
    module: Any,
    *,
    prefix: str = "",
    nonlinearity: str | None = None,
    dropout: float | None = None,
) -> Any:
    """A layer with the weights of a `torch.nn` RNN, LSTM or GRU, or a cell with those of a cell.

    **Arguments:**

    - `module`: the module, with any number of layers, directions and `proj_size`; or its
      `state_dict()`, a mapping of names to tensors or arrays, such as
      `safetensors.numpy.load_file` gives, which needs no torch.
    - `prefix`, `nonlinearity`, `dropout`: of a state dict, which does not know them: what its
      names begin with ("encoder.lstm."), "tanh" (the default) or "relu", and the rate between
      layers. A module tells them itself.

    **Returns:** for RNN, LSTM and GRU a `rz.Stacked` of `rz.Recurrent` or `rz.Bidirectional`, as
    `rz.LSTM` makes it; `rz.batch(layer)` is `batch_first=True`. With `proj_size` its cells are
    `rz.cells.LSTMPCell`. For RNNCell, LSTMCell and GRUCell the cell. The two biases become one. A
    module in evaluation becomes a layer in inference. The dtype is kept, but float64
    is float32 without x64.

    **Raises:** TypeError for another module, and for one that has code of its own: a subclass with
    its own `forward`, forward hooks; ValueError for names or shapes that do not fit, such as those
    of weight_norm, spectral_norm or pruning.
    """
    if isinstance(module, Mapping):
        rate = 0.0 if dropout is None else dropout
        return _read(module, prefix, nonlinearity or "tanh", rate, None)
    own = class_of(module, LAYERS + CELLS, ("torch",))
    if own is None or not hasattr(module, "state_dict"):
        raise TypeError(
            f"expected one of {', '.join(LAYERS + CELLS)} of torch.nn or a state dict, got "
            f"{type(module).__name__}: of a larger model give the part, from_torch(model.lstm)"
        )
    if prefix or nonlinearity is not None or dropout is not None:
        raise TypeError(
            "prefix, nonlinearity and dropout describe a state dict; a module tells them itself: "
            "leave them out"
        )
    check_plain(
        module,
        own,
        "its arrays alone are read by from_torch(module.state_dict()), where the rest is known",
    )
    arrays = module.state_dict()
    _check_names(arrays)
    check_hooks(module, ("torch",))
    # Torch takes a rate for one layer, warns, and never drops.
    rate = module.dropout if getattr(module, "num_layers", 1) > 1 else 0.0
    return _read(arrays, "", getattr(module, "nonlinearity", "tanh"), rate, module.training)


def _read(
    tensors: Mapping[str, Any], prefix: str, nonlinearity: str, dropout: float, training: Any
) -> Any:
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")
    arrays = _named(tensors, prefix)
    if "weight_ih" in arrays:
        made = _cell(arrays, "", nonlinearity)
    else:
        ends = ("", "_reverse") if "weight_ih_l0_reverse" in arrays else ("",)
        layers = []
        while f"weight_ih_l{len(layers)}" in arrays:
            cells = [_cell(arrays, f"_l{len(layers)}{end}", nonlinearity) for end in ends]
            layers.append(Bidirectional(*cells) if len(cells) == 2 else Recurrent(*cells))
        made = Stacked(layers, dropout=dropout)
    if arrays:
        raise ValueError(
            f"the state dict has {', '.join(prefix + name for name in arrays)}, which belong to "
            "no layer that is whole: expected weight_ih and weight_hh of every layer and direction"
        )
    return made if training is None else eqx.nn.inference_mode(made, not training)


def _named(tensors: Mapping[str, Any], prefix: str) -> _Arrays:
    """The arrays of one module, by their names in it."""
    arrays = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    _check_names(arrays)
    if not {"weight_ih", "weight_ih_l0"} & set(arrays) or not all(map(_NAME.fullmatch, arrays)):
        found = {match[1] for name in tensors if (match := _FIRST.fullmatch(name))} - {prefix}
        raise ValueError(
            "expected the arrays of one RNN, LSTM or GRU of torch, weight_ih_l0 and its like, got "
            f"{', '.join(arrays) or f'no name that begins with {prefix!r}'}"
            + (f": give prefix={' or '.join(map(repr, sorted(found)))}" if found else "")
        )
    return {name: to_numpy(tensor) for name, tensor in arrays.items()}


# Names of weights that torch computes from others, what must be there besides, what undoes it.
_FORMS = (
    (r"parametrizations\.(\w+)\..*", None, "parametrize.remove_parametrizations"),
    (r"(\w+)_orig", "{}_mask", "prune.remove"),
    (r"(\w+)_orig", "{}_u", "remove_spectral_norm"),
    (r"(\w+)_g", "{}_v", "remove_weight_norm"),
)


def _check_names(arrays: Mapping[str, Any]) -> None:
    """A ValueError with its mend for weights that stand there in another form."""
    for name in arrays:
        for form, other, undo in _FORMS:
            match = re.fullmatch(form, name)
            if match and (other is None or other.format(match[1]) in arrays):
                raise ValueError(
                    f"expected plain weights, got {name}, from which torch computes {match[1]}: "
                    f"torch.nn.utils.{undo}(module, {match[1]!r}) puts it in their place"
                )


def _cell(arrays: _Arrays, end: str, nonlinearity: str) -> Any:
    """The cell of one layer in one direction, whose arrays are taken out of `arrays`."""
    weight_ih, weight_hh, weight_hr, bias_ih, bias_hh = (
        arrays.pop(name + end, None) for name in _PARTS
    )
    if weight_ih is None or weight_hh is None or (bias_ih is None) != (bias_hh is None):
        raise ValueError(
            f"expected weight_ih{end} and weight_hh{end}, and both of bias_ih{end} and "
            f"bias_hh{end} or neither: the state dict is not whole"
        )
    units = (weight_hh if weight_hr is None else weight_hr).shape[-1]
    gates = weight_hh.shape[0] / units
    bias = added(bias_ih, bias_hh)
    if gates == 4:
        return lstm(weight_ih, weight_hh, bias, weight_hr)
    if gates == 3 and weight_hr is None:
        return gru(weight_ih, weight_hh, bias_ih, bias_hh)
    if gates == 1 and weight_hr is None:
        return elman(weight_ih, weight_hh, bias, NONLINEARITIES[nonlinearity])
    raise ValueError(
        f"expected weight_hh{end} of 1, 3 or 4 blocks (RNN, GRU, LSTM) of {units} rows, got "
        f"shape {weight_hh.shape}"
    )


def to_torch(layer: Any, *, batch_first: bool = False) -> Any:
    """A `torch.nn` RNN, LSTM or GRU with the weights of a layer, or a cell with those of a cell.

    **Arguments:**

    - `layer`: Elman (tanh or relu), LSTM, LSTMP or GRU layers, `rz.Stacked` of `rz.Recurrent` or
      of `rz.Bidirectional`, or one of the last two; all of one kind and one size. Or such a cell,
      but for LSTMP, which torch has as a layer only.
    - `batch_first`: torch's option. Without a batch axis both give and take (time, features).

    **Returns:** the module, on the CPU, in the layer's dtype. Its `bias_hh` is zero where torch
    adds two biases. The dropout of a stack is the module's; a stack in inference is in
    evaluation. `from_torch` gives a stack back with the same arrays, bit for bit.

    **Raises:** ImportError without torch; TypeError for what has no such module; ValueError for
    sizes or options that a module of torch cannot have.
    """
    torch = _torch()
    if type(layer) in _KINDS:
        return _cell_to_torch(torch, layer)
    rows = [_directions(part) for part in (layer.layers if isinstance(layer, Stacked) else [layer])]
    _check_alike(rows)
    first = rows[0][0]
    dropout = layer.dropout if isinstance(layer, Stacked) else None
    module = _empty(
        torch,
        _KINDS[type(first)],
        [cell for row in rows for cell in row],
        num_layers=len(rows),
        bidirectional=len(rows[0]) == 2,
        dropout=0.0 if dropout is None else dropout.rate,
        batch_first=batch_first,
        **({"proj_size": first.output_size} if isinstance(first, LSTMPCell) else {}),
    )
    arrays = {}
    for k, row in enumerate(rows):
        for cell, end in zip(row, ("", "_reverse")):
            arrays |= _arrays(cell, module.bias, f"_l{k}{end}")
    return _loaded(torch, module, arrays).train(dropout is None or not dropout.inference)


def _check_alike(rows: list[list[Any]]) -> None:
    """Whether these cells are those of one module."""
    cells = [cell for row in rows for cell in row]
    if len({(type(cell), _nonlinearity(cell), len(row)) for row in rows for cell in row}) > 1:
        raise ValueError(
            "expected layers of one kind in the same directions, as a module of torch has them, "
            f"got {_list(cells)}: convert them one by one"
        )
    sizes = [(cell.output_size, _units(cell)) for cell in cells]
    if len(set(sizes)) > 1:
        raise ValueError(
            "expected layers of one size, as a module of torch has them, got "
            f"{', '.join(str(size[0]) for size in sizes)}: convert them one by one"
        )
    if isinstance(cells[0], LSTMPCell) and sizes[0][0] >= sizes[0][1]:
        raise ValueError(
            f"expected fewer outputs than cells in an LSTMP, got {sizes[0][0]} and {sizes[0][1]}: "
            "torch projects to a smaller size only"
        )


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise ImportError("to_torch makes a module of torch: pip install torch") from error


def _cell_to_torch(torch: Any, cell: Any) -> Any:
    if isinstance(cell, LSTMPCell):
        raise TypeError(
            "expected a cell that torch has, got LSTMPCell: torch projects in layers only, give "
            "rz.Recurrent(cell)"
        )
    module = _empty(torch, _KINDS[type(cell)] + "Cell", [cell])
    return _loaded(torch, module, _arrays(cell, module.bias, ""))


def _empty(torch: Any, name: str, cells: list[Any], **options: Any) -> Any:
    """A module for these cells, its parameters not set."""
    nonlinearity = _nonlinearity(cells[0])
    made = getattr(torch.nn, name)(
        cells[0].input_size,
        _units(cells[0]),
        bias=any(cell.bias is not None for cell in cells),
        dtype=getattr(torch, cells[0].weight_ih.dtype.name),
        # Elsewhere torch would draw a random start, and move its generator.
        device="meta",
        **(options if nonlinearity is None else options | {"nonlinearity": nonlinearity}),
    )
    return made.to_empty(device="cpu")


def _loaded(torch: Any, module: Any, arrays: _Arrays) -> Any:
    module.load_state_dict({name: _tensor(torch, array) for name, array in arrays.items()})
    return module


def _tensor(torch: Any, array: Any) -> Any:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array, np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))


def _directions(part: Any) -> list[Any]:
    """The cells of one layer: forward, or forward and backward."""
    found = [part.forward.cell, part.backward.cell] if isinstance(part, Bidirectional) else []
    found = [part.cell] if isinstance(part, Recurrent) else found
    if isinstance(part, Bidirectional) and part.merge != "concat":
        raise ValueError(
            "expected a Bidirectional whose outputs stand side by side, as torch's, got "
            f"merge={part.merge!r}: convert its cells one by one and add what they give"
        )
    if not found or not all(type(cell) in _KINDS for cell in found):
        raise TypeError(
            "expected layers of ElmanCell, LSTMCell, LSTMPCell or GRUCell, in rz.Recurrent or "
            f"rz.Bidirectional, got {_list(found or [part])}: torch has no module for it"
        )
    return found


def _list(parts: list[Any]) -> str:
    return ", ".join(type(part).__name__ for part in parts)


def _units(cell: Any) -> int:
    return cell.cell_size if isinstance(cell, LSTMPCell) else cell.output_size


def _nonlinearity(cell: Any) -> str | None:
    """That of an Elman cell. ValueError for a cell whose options torch has not."""
    if isinstance(cell, GRUCell) and not cell.reset_after:
        raise ValueError(
            "expected a GRU that resets after the recurrent product, as torch's, got "
            "reset_after=False: there is no module of torch for it"
        )
    if getattr(cell, "weight_peep", None) is not None:
        raise ValueError(
            "expected an LSTM without peepholes, as torch's, got peepholes=True: there is no "
            "module of torch for it"
        )
    if getattr(cell, "coupled", False):
        raise ValueError(
            "expected an LSTM with a forget gate, as torch's, got coupled=True: there is no module "
            "of torch for it"
        )
    if not isinstance(cell, ElmanCell):
        return None
    for name, function in NONLINEARITIES.items():
        if cell.activation == function:
            return name
    raise ValueError(
        "expected an Elman cell with jnp.tanh or jax.nn.relu, as torch's, got "
        f"activation={cell.activation}: there is no module of torch for it"
    )


def _arrays(cell: Any, use_bias: bool, end: str) -> _Arrays:
    """Torch's arrays of one cell, by name."""
    arrays = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh}
    if isinstance(cell, LSTMPCell):
        arrays["weight_hr"] = cell.weight_hr
    if use_bias:
        rows, dtype = cell.weight_ih.shape[0], cell.weight_ih.dtype
        arrays["bias_ih"] = np.zeros(rows, dtype) if cell.bias is None else cell.bias
        arrays["bias_hh"] = np.zeros(rows, dtype)
        if isinstance(cell, GRUCell) and cell.bias_n is not None:
            arrays["bias_hh"][-cell.output_size :] = cell.bias_n
    return {name + end: np.asarray(array) for name, array in arrays.items()}
