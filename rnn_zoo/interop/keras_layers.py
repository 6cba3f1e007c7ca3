"""SimpleRNN, LSTM and GRU of Keras as layers of this library. Keras itself is not imported."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..layers.recurrent import Bidirectional, Recurrent
from ..layers.stacked import Stacked
from ._from_gates import RELU, TANH, elman, gru, lstm, to_numpy
from ._plain_objects import check_plain, class_of, is_function_of, name_of


CELLS = {"SimpleRNNCell": 1, "GRUCell": 3, "LSTMCell": 4}
STACKS = ("StackedRNNCells",)
LAYERS = ("SimpleRNN", "GRU", "LSTM", "RNN", "Bidirectional")
LIBRARIES = ("keras", "tf_keras", "tensorflow")
ACTIVATIONS = {"tanh": TANH, "relu": RELU, "sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus}


def from_keras(layer: Any, *, reset_after: bool = True, stacked: bool | None = None) -> Any:
    """A layer with the weights of a recurrent layer of Keras.

    **Arguments:**

    - `layer`: a built `SimpleRNN`, `LSTM`, `GRU`, `RNN` of one of their cells or of a list of them,
      or `Bidirectional` (merge_mode "concat" or "sum"); one of their cells; or a list of layers,
      such as `model.layers[1:3]`. Or the arrays of one layer, `layer.get_weights()`, in that order,
      which need no Keras: (features, blocks of units) kernel and recurrent kernel, bias if any;
      twice as many are both directions. The blocks of three are a GRU, of four an LSTM.
    - `reset_after`: of a GRU given as arrays without a bias; a bias tells it by its shape.
    - `stacked`: of arrays: True for those of an `RNN` of several cells, one above the other. Two
      cells that read as many features as they have units look like two directions: there it must
      be said.

    **Returns:** a `rz.Recurrent` or `rz.Bidirectional`, for a cell the cell, for a list a
    `rz.Stacked`. A GRU's blocks z, r, h become r, z, n, and both forms of `reset_after` are
    carried. All outputs are given, as with `return_sequences`, zero where masked, as with
    `zero_output_for_mask`, and `layer.scan` gives the state, as `return_state` does;
    `rz.batch(layer)` takes batches. The dtype is kept, but float64 is float32 without x64. Dropout
    is not carried: Keras's is `rz.VariationalDropout(cell, input_rate=, state_rate=)`.

    **Raises:** TypeError for another layer or cell, and for one with code of its own, such as a
    subclass with its own `call`; ValueError for one that is not built or stateful, another
    activation, a merge or an order of outputs that has no form here, or shapes that do not fit.
    """
    if isinstance(layer, Sequence):
        if layer and all(hasattr(part, "get_weights") for part in layer):
            return Stacked([from_keras(part) for part in _returning_sequences(layer)])
        return _from_arrays([to_numpy(array) for array in layer], reset_after, stacked)
    if class_of(layer, (*CELLS, *STACKS), LIBRARIES):
        return _from_cell(layer)
    own = class_of(layer, LAYERS, LIBRARIES)
    if own is None or not hasattr(layer, "get_weights"):
        raise TypeError(
            f"expected one of {', '.join(LAYERS)} of Keras, one of {', '.join(CELLS)}, a list of "
            f"layers or the arrays of one, got {type(layer).__name__}"
        )
    if own.__name__ != "Bidirectional":
        return Recurrent(_in_order(layer, backwards=False))
    check_plain(layer, own, _MEND)
    if layer.merge_mode not in ("concat", "sum"):
        raise ValueError(
            f"expected merge_mode='concat' or 'sum', got {layer.merge_mode!r}: rz.Bidirectional "
            "has these two, read forward_layer and backward_layer one by one"
        )
    return Bidirectional(
        _in_order(layer.forward_layer, backwards=False),
        _in_order(layer.backward_layer, backwards=True),
        merge=layer.merge_mode,
    )


_MEND = "rz.adopt(step) takes a function of your own, and from_keras(layer.get_weights()) arrays"


def _returning_sequences(layers: Sequence[Any]) -> Sequence[Any]:
    """The layers, where all but the last give what the next can read."""
    for i, layer in enumerate(layers[:-1]):
        if getattr(layer, "return_sequences", True) is False:
            raise ValueError(
                f"expected return_sequences=True of all layers but the last, got False of layer "
                f"{i}: what stands between it and the next has no form here"
            )
    return layers


def _in_order(layer: Any, *, backwards: bool) -> Any:
    """The cell of a layer that reads its input in this order."""
    own = class_of(layer, LAYERS, LIBRARIES)
    if own is None or not hasattr(layer, "cell"):
        raise TypeError(
            f"expected one of {', '.join(LAYERS[:-1])} of Keras in each direction, got "
            f"{type(layer).__name__}"
        )
    if not class_of(layer.cell, (*CELLS, *STACKS), LIBRARIES):
        raise TypeError(
            f"expected a layer of one of {', '.join(CELLS)}, got one of {type(layer.cell).__name__}"
        )
    check_plain(layer, own, _MEND)
    if bool(layer.go_backwards) != backwards:
        raise ValueError(
            f"expected go_backwards={backwards}, got {layer.go_backwards}: Keras gives the outputs "
            "of such a layer in the order it reads; take rz.layers.Backward(from_keras("
            "layer.cell)), whose outputs are in input order"
        )
    if getattr(layer, "stateful", False):
        raise ValueError(
            "expected stateful=False, got True: a layer here keeps no state between calls, "
            "layer.scan(xs, state) gives it and takes it; set layer.stateful = False to read it"
        )
    return _from_cell(layer.cell)


def _from_cell(cell: Any) -> Any:
    own = class_of(cell, (*CELLS, *STACKS), LIBRARIES)
    if own is None:
        raise TypeError(f"expected one of {', '.join(CELLS)}, got {type(cell).__name__}")
    check_plain(cell, own, _MEND)
    if own.__name__ in STACKS:
        return Stacked([_from_cell(part) for part in cell.cells])
    arrays = [to_numpy(array) for array in cell.get_weights()]
    if not arrays:
        raise ValueError(f"this {type(cell).__name__} has no weights yet: build its layer first")
    simple = own.__name__ == "SimpleRNNCell"
    known = tuple(ACTIVATIONS) if simple else ("tanh",)
    libraries = (*LIBRARIES, "jax", "numpy")
    gate = None if simple else cell.recurrent_activation
    if not is_function_of(cell.activation, known, libraries) or not (
        simple or is_function_of(gate, ("sigmoid",), libraries)
    ):
        wanted = f"one of {', '.join(known)}" if simple else "tanh, and sigmoid for the gates"
        raise ValueError(
            f"expected the activation {wanted}, got {name_of(cell.activation)}"
            + ("" if simple else f" and {name_of(gate)}")
            + f": {type(cell).__name__} has no other form here"
        )
    return _made(arrays, getattr(cell, "reset_after", True), ACTIVATIONS[cell.activation.__name__])


def _from_arrays(arrays: list[np.ndarray], reset_after: bool, stacked: bool | None) -> Any:
    if len(arrays) in (2, 3):
        return Recurrent(_made(arrays, reset_after))
    if stacked:
        return Recurrent(Stacked([_made(part, reset_after) for part in _cells_of(arrays)]))
    if len(arrays) not in (4, 6):
        raise ValueError(
            "expected the arrays of one layer, kernel, recurrent kernel and bias if any, or twice "
            f"as many for both directions, got {len(arrays)} arrays: of an RNN of several cells "
            "give stacked=True"
        )
    half = len(arrays) // 2
    one, two = arrays[:half], arrays[half:]
    if [a.shape for a in one] != [a.shape for a in two]:
        raise ValueError(
            f"expected two directions of equal shapes, got {[a.shape for a in one]} and "
            f"{[a.shape for a in two]}: of several layers give the arrays of each in turn, of an "
            "RNN of several cells stacked=True"
        )
    if stacked is None and one[0].ndim == one[1].ndim == 2 and len(one[0]) == len(one[1]):
        raise ValueError(
            f"expected to know what these arrays are, which read as many features ({len(one[0])}) "
            "as they have units: give stacked=False for both directions of one layer, "
            "stacked=True for an RNN of two cells, one above the other"
        )
    return Bidirectional(_made(one, reset_after), _made(two, reset_after))


def _cells_of(arrays: list[np.ndarray]) -> list[list[np.ndarray]]:
    """The arrays of several cells, one above the other, by cell; with biases or without."""
    for count in (3, 2):
        parts = [arrays[i : i + count] for i in range(0, len(arrays), count)]
        chained = all(len(above[0]) == len(below[1]) for below, above in zip(parts, parts[1:]))
        if len(arrays) % count == 0 and chained and all(map(_is_cell, parts)):
            return parts
    raise ValueError(
        "expected the arrays of cells of which each reads the units of the one before, kernel, "
        f"recurrent kernel and bias if any, got shapes {[a.shape for a in arrays]}"
    )


def _is_cell(arrays: list[np.ndarray]) -> bool:
    kernel, recurrent, *bias = arrays
    if kernel.ndim != 2 or recurrent.ndim != 2 or kernel.shape[1] != recurrent.shape[1]:
        return False
    width = recurrent.shape[1]
    return not bias or bias[0].shape in ((width,), (2, width))


def _made(arrays: list[np.ndarray], reset_after: bool, activation: Any = TANH) -> Any:
    """The cell of kernel, recurrent kernel and bias if any."""
    kernel, recurrent, bias = arrays if len(arrays) == 3 else (*arrays, None)
    if kernel.ndim != 2 or recurrent.ndim != 2 or kernel.shape[1] != recurrent.shape[1]:
        raise ValueError(
            "expected a kernel (features, blocks * units) and a recurrent kernel (units, blocks * "
            f"units), got shapes {kernel.shape} and {recurrent.shape}"
        )
    units = len(recurrent)
    blocks = recurrent.shape[1] / units
    if blocks == 4:
        return lstm(kernel.T, recurrent.T, bias)
    if blocks == 1:
        return elman(kernel.T, recurrent.T, bias, activation)
    if blocks != 3:
        raise ValueError(
            "expected 1, 3 or 4 blocks (SimpleRNN, GRU, LSTM) in the recurrent kernel, got "
            f"shape {recurrent.shape}"
        )
    weights = (_r_z_n(kernel, units).T, _r_z_n(recurrent, units).T)
    if bias is None:
        return gru(*weights, None, reset_after=reset_after)
    if bias.ndim == 1:
        return gru(*weights, _r_z_n(bias, units), reset_after=False)
    if len(bias) != 2:
        raise ValueError(
            f"expected the bias of a GRU as ({3 * units},) or (2, {3 * units}), got {bias.shape}"
        )
    return gru(*weights, *_r_z_n(bias, units), reset_after=True)


def _r_z_n(array: np.ndarray, units: int) -> np.ndarray:
    """Keras's order z, r, h of the last axis as r, z, n."""
    z, r, n = np.split(array, [units, 2 * units], axis=-1)
    return np.concatenate([r, z, n], axis=-1)
