"""SimpleRNN, LSTM and GRU of Keras as layers of this library. Keras itself is not imported."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..layers import Bidirectional, Recurrent, Stacked
from ._cells import RELU, TANH, elman, gru, is_named, lstm, to_numpy


CELLS = {"SimpleRNNCell": 1, "GRUCell": 3, "LSTMCell": 4}
LAYERS = ("SimpleRNN", "GRU", "LSTM", "RNN", "Bidirectional")
ACTIVATIONS = {"tanh": TANH, "relu": RELU, "sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus}


def from_keras(layer: Any, *, reset_after: bool = True) -> Any:
    """A layer with the weights of a recurrent layer of Keras.

    **Arguments:**

    - `layer`: a built `SimpleRNN`, `LSTM`, `GRU`, `RNN` of one of their cells, or
      `Bidirectional` (merge_mode "concat"); one of their cells; or a list of layers, such as
      `model.layers[1:3]`. Or the arrays of one layer, `layer.get_weights()`, in that order,
      which need no Keras: (features, blocks of units) kernel and recurrent kernel, bias if any;
      twice as many are both directions. The blocks of three are a GRU, of four an LSTM.
    - `reset_after`: of a GRU given as arrays without a bias; a bias tells it by its shape.

    **Returns:** a `rz.Recurrent` or `rz.Bidirectional`, for a cell the cell, for a list a
    `rz.Stacked`. A GRU's blocks z, r, h become r, z, n, and both forms of `reset_after` are
    carried. All outputs are given, as with `return_sequences`; `rz.batch(layer)` takes batches. The
    dtype is kept, but float64 is float32 without x64. Dropout is not carried: Keras's is
    `rz.VariationalDropout(cell, input_rate=, state_rate=)`.

    **Raises:** TypeError for another layer; ValueError for one that is not built, another
    activation, a merge or an order of outputs that has no form here, or shapes that do not fit.
    """
    if isinstance(layer, Sequence):
        if layer and all(hasattr(part, "get_weights") for part in layer):
            return Stacked([from_keras(part) for part in layer])
        return _from_arrays([to_numpy(array) for array in layer], reset_after)
    if is_named(layer, CELLS):
        return _from_cell(layer)
    if not is_named(layer, LAYERS) or not hasattr(layer, "get_weights"):
        raise TypeError(
            f"expected one of {', '.join(LAYERS)} of Keras, one of {', '.join(CELLS)}, a list of "
            f"layers or the arrays of one, got {type(layer).__name__}"
        )
    if not is_named(layer, ("Bidirectional",)):
        return Recurrent(_in_order(layer, backwards=False))
    if layer.merge_mode != "concat":
        raise ValueError(
            f"expected merge_mode='concat', got {layer.merge_mode!r}: rz.Bidirectional gives both "
            "directions side by side, read forward_layer and backward_layer one by one"
        )
    return Bidirectional(
        _in_order(layer.forward_layer, backwards=False),
        _in_order(layer.backward_layer, backwards=True),
    )


def _in_order(layer: Any, *, backwards: bool) -> Any:
    """The cell of a layer that reads its input in this order."""
    if bool(layer.go_backwards) != backwards:
        raise ValueError(
            f"expected go_backwards={backwards}, got {layer.go_backwards}: Keras gives the outputs "
            "of such a layer in the order it reads; take rz.layers.Backward(from_keras("
            "layer.cell)), whose outputs are in input order"
        )
    if not is_named(layer.cell, CELLS):
        raise TypeError(
            f"expected a layer of one of {', '.join(CELLS)}, got one of {type(layer.cell).__name__}"
        )
    return _from_cell(layer.cell)


def _from_cell(cell: Any) -> Any:
    arrays = [to_numpy(array) for array in cell.get_weights()]
    if not arrays:
        raise ValueError(f"this {type(cell).__name__} has no weights yet: build its layer first")
    activation = _name(cell.activation)
    gate = _name(getattr(cell, "recurrent_activation", "sigmoid"))
    simple = is_named(cell, ("SimpleRNNCell",))
    if gate != "sigmoid" or activation not in (ACTIVATIONS if simple else ("tanh",)):
        known = f"one of {', '.join(ACTIVATIONS)}" if simple else "tanh, and sigmoid for the gates"
        raise ValueError(
            f"expected the activation {known}, got {activation}"
            + ("" if simple else f" and {gate}")
            + f": {type(cell).__name__} has no other form here"
        )
    return _made(arrays, getattr(cell, "reset_after", True), ACTIVATIONS[activation])


def _name(activation: Any) -> str:
    return getattr(activation, "__name__", str(activation))


def _from_arrays(arrays: list[np.ndarray], reset_after: bool) -> Any:
    if len(arrays) in (2, 3):
        return Recurrent(_made(arrays, reset_after))
    if len(arrays) not in (4, 6):
        raise ValueError(
            "expected the arrays of one layer, kernel, recurrent kernel and bias if any, or twice "
            f"as many for both directions, got {len(arrays)} arrays"
        )
    half = len(arrays) // 2
    one, two = arrays[:half], arrays[half:]
    if [a.shape for a in one] != [a.shape for a in two]:
        raise ValueError(
            f"expected two directions of equal shapes, got {[a.shape for a in one]} and "
            f"{[a.shape for a in two]}: of several layers give the arrays of each in turn"
        )
    return Bidirectional(_made(one, reset_after), _made(two, reset_after))


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
