"""SimpleCell, LSTM and GRU of Flax, linen and nnx, as cells and layers of this library."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..layers.recurrent import Bidirectional, Recurrent
from ..layers.stacked import Stacked
from ._from_gates import RELU, TANH, elman, gru, lstm, to_numpy
from ._plain_objects import check_plain, class_of, is_function_of, name_of


ACTIVATIONS = {"tanh": TANH, "relu": RELU}
LIBRARIES = ("flax", "jax", "numpy")
CELLS = ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell")
_MEND = "rz.adopt(cell) runs any cell of flax as it is"
# What the readers ask of a tree: the parts of layers, of cells, of linear maps.
_PARTS = (
    ("cell", "forward_rnn", "backward_rnn", "dense_i", "dense_h", "i", "h", "kernel", "bias")
    + ("ii", "if", "if_", "ig", "io", "hi", "hf", "hg", "ho")
    + ("ir", "iz", "in", "hr", "hz", "hn")
)


def from_flax(params: Any, *, activation: Callable = TANH) -> Any:
    """A cell or a layer with the parameters of a recurrent cell or layer of Flax.

    **Arguments:**

    - `params`: of `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` or `SimpleCell`, alone, in an `RNN`
      or in a `Bidirectional`: what `init` of a linen module gives, with or without its
      "params", or an nnx module or its state. A list of these is a stack. Of linen the
      parameters alone are read: the functions are taken to be Flax's own, the outputs of a
      `Bidirectional` side by side, an `RNN` to run forward.
    - `activation`: of a SimpleCell given as parameters.

    **Returns:** for a cell the cell, for an `RNN` a `rz.Recurrent`, for a `Bidirectional` a
    `rz.Bidirectional`, for a list a `rz.Stacked`; `rz.batch(layer)` takes batches. Flax keeps
    an LSTM's carry as (c, h), here it is `LSTMState(h, c)`. The dtype is kept, but float64
    is float32 without x64.

    **Raises:** TypeError for an nnx module with code of its own, such as a subclass with its own
    `__call__`; ValueError for the names of another cell, shapes that do not fit, or an nnx module
    with functions, a `carry_init` or a dtype that have no form here.
    """
    if isinstance(params, Sequence):
        return Stacked([from_flax(part, activation=activation) for part in params])
    parts = _parts(params)
    if "params" in parts:
        return from_flax(parts["params"], activation=activation)
    if parts and not isinstance(params, Mapping):
        _check_module(params, (*CELLS, "RNN", "Bidirectional"))
    if "forward_rnn" in parts and "backward_rnn" in parts:
        cells = [_direction(parts[f"{side}_rnn"]) for side in ("forward", "backward")]
        merge = _merge(params)
        return Bidirectional(*(from_flax(c, activation=activation) for c in cells), merge=merge)
    if "cell" in parts:
        if getattr(params, "reverse", False) is True:
            raise ValueError(
                "expected an RNN that runs forward, got reverse=True: take "
                "rz.layers.Backward(from_flax(rnn.cell)), whose outputs are in input order"
            )
        return Recurrent(from_flax(parts["cell"], activation=activation))
    if not isinstance(params, Mapping) and parts:
        _check_options(params)
        activation = _activation(params)
    return _cell(parts, activation)


def _check_module(module: Any, names: Sequence[str]) -> None:
    own = class_of(module, names, ("flax",))
    if own is None:
        raise TypeError(
            f"expected one of {', '.join(names)} of flax.nnx, or parameters, got "
            f"{type(module).__name__}: {_MEND}"
        )
    check_plain(module, own, _MEND)


def _check_options(cell: Any) -> None:
    """What an nnx cell does beside its equation."""
    dtype, own = getattr(cell, "dtype", None), getattr(cell, "param_dtype", None)
    if dtype is not None and np.dtype(dtype) != np.dtype(own):
        raise ValueError(
            f"expected a cell that computes in the dtype of its parameters, got dtype={dtype} and "
            f"param_dtype={own}: set cell.dtype = None"
        )
    carry = getattr(cell, "carry_init", None)
    if carry is not None and not is_function_of(carry, ("zeros",), LIBRARIES):
        raise ValueError(
            f"expected a carry that starts at zero, got carry_init={name_of(carry)}: set "
            "cell.carry_init = jax.nn.initializers.zeros and give the state to layer.scan, or "
            "learn it, rz.LearnedInitialState(cell)"
        )
    promote = getattr(cell, "promote_dtype", None)
    if promote is not None and not is_function_of(promote, ("promote_dtype",), ("flax",)):
        raise ValueError(f"expected promote_dtype of flax, got {name_of(promote)}: {_MEND}")


def _direction(rnn: Any) -> Any:
    """The cell that a Bidirectional runs in one direction, whatever order its RNN has of its own,
    which it does not ask."""
    if not isinstance(rnn, Mapping):
        _check_module(rnn, ("RNN",))
    return _parts(rnn).get("cell", rnn)


def _merge(module: Any) -> str:
    merge = getattr(module, "merge_fn", None)
    if merge is None or is_function_of(merge, ("_concatenate",), ("flax",)):
        return "concat"
    if is_function_of(merge, ("add",), (*LIBRARIES, "operator", "_operator")):
        return "sum"
    raise ValueError(
        f"expected a Bidirectional that concatenates or adds, got merge_fn={name_of(merge)}: "
        "rz.Bidirectional has these two, read forward_rnn and backward_rnn one by one"
    )


def _parts(node: Any) -> dict[str, Any]:
    """The parts of a mapping or a module that the readers ask for, without Python's `if_`."""
    if isinstance(node, Mapping):
        return {str(name).rstrip("_"): part for name, part in node.items()}
    found = {name.rstrip("_"): getattr(node, name, None) for name in _PARTS}
    return {name: part for name, part in found.items() if part is not None}


def _cell(parts: dict[str, Any], activation: Callable) -> Any:
    names = set(parts)
    if names == {side + gate for side in "ih" for gate in "ifgo"}:
        return lstm(*_joined(parts, "i", "ifgo")[:1], *_joined(parts, "h", "ifgo"))
    if names == {side + gate for side in "ih" for gate in "rzn"}:
        from_x, bias = _joined(parts, "i", "rzn")
        from_h, bias_h = _joined(parts, "h", "rzn")
        return gru(from_x, from_h, bias, bias_h)
    if names == {"i", "h"}:
        return _packed(parts["i"], parts["h"], activation)
    if names >= {"dense_i", "dense_h"}:
        return _packed(parts["dense_i"], parts["dense_h"], activation)
    raise ValueError(
        "expected the parameters of an LSTMCell, OptimizedLSTMCell, GRUCell or SimpleCell of Flax, "
        f"alone or in an RNN or Bidirectional, got the names {', '.join(sorted(names)) or 'none'}: "
        "give the part of the tree that is one of them"
    )


def _joined(parts: dict[str, Any], side: str, gates: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The maps of one side, gate after gate; zeros for a bias that only others have."""
    maps = [_linear(parts[side + gate]) for gate in gates]
    weight = np.concatenate([one for one, _ in maps])
    if all(bias is None for _, bias in maps):
        return weight, None
    biases = [np.zeros(len(one), one.dtype) if bias is None else bias for one, bias in maps]
    return weight, np.concatenate(biases)


def _linear(node: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight (out, in) and bias of a linear map."""
    parts = _parts(node)
    if "kernel" not in parts:
        raise ValueError(f"expected kernels in a cell of Flax, got {', '.join(parts) or 'none'}")
    if not isinstance(node, Mapping):
        _check_module(node, ("Linear",))
    bias = parts.get("bias")
    bias = None if bias is None else to_numpy(bias)
    return to_numpy(parts["kernel"]).T, bias


def _packed(node_i: Any, node_h: Any, activation: Callable) -> Any:
    """A cell whose gates are one map of x and one of h, in our orders."""
    (from_x, bias_i), (from_h, bias_h) = _linear(node_i), _linear(node_h)
    blocks = from_h.shape[0] / from_h.shape[-1]
    bias = bias_h if bias_i is None else bias_i
    if blocks == 4:
        return lstm(from_x, from_h, bias)
    if blocks == 3:
        return gru(from_x, from_h, bias, bias_h)
    if blocks == 1:
        return elman(from_x, from_h, bias, activation)
    raise ValueError(
        "expected 1, 3 or 4 blocks (SimpleCell, GRUCell, LSTM) in the map of the state, got shape "
        f"{from_h.shape}: an MGUCell of Flax has no form here, it resets behind the product"
    )


def _activation(cell: Any) -> Callable:
    """That of an nnx cell. ValueError where its functions have no form here."""
    functions = [getattr(cell, f, None) for f in ("activation_fn", "gate_fn")]
    simple = functions[1] is None
    known = tuple(ACTIVATIONS) if simple else ("tanh",)
    gated = simple or is_function_of(functions[1], ("sigmoid",), LIBRARIES)
    if not is_function_of(functions[0], known, LIBRARIES) or not gated:
        names = [name_of(f) for f in functions]
        raise ValueError(
            f"expected activation_fn {' or '.join(known)} and gate_fn sigmoid in a "
            f"{type(cell).__name__}, got {names[0]} and {names[1]}: there is no other form here"
        )
    if getattr(cell, "residual", False) is True:
        raise ValueError(
            "expected a SimpleCell without residual, got one with: add the identity "
            "to its recurrent kernel, which is the same"
        )
    return ACTIVATIONS[str(getattr(functions[0], "__name__", ""))]
