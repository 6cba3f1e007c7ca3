"""Cells from the arrays of their gates: what the readers of other libraries share."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._common.checks import show
from ..base import AbstractCell, replace
from ..cells.gated import GRUCell, LSTMCell
from ..cells.projected import LSTMPCell
from ..cells.vanilla import ElmanCell


TANH, RELU = jnp.tanh, jax.nn.relu


def to_numpy(array: Any) -> np.ndarray:
    """An array of any library. A 16-bit brain float of torch, which has no NumPy form, too."""
    if not hasattr(array, "detach"):
        return np.asarray(array)
    array = array.detach().cpu()
    if str(array.dtype) == "torch.bfloat16":
        return array.float().numpy().astype(jnp.bfloat16)
    return array.numpy()


def filled(cell: Any, **arrays: Any) -> Any:
    """`cell` with these arrays, or a ValueError that names the one that does not fit."""
    for name, array in arrays.items():
        expected = getattr(cell, name)
        if array.shape != expected.shape:
            raise ValueError(f"expected {name} as {show(expected)} here, got {show(array)}")
    return replace(cell, **arrays)


def added(bias_ih: Any, bias_hh: Any) -> Any:
    """The sum of two biases, which are both None or of one shape."""
    if bias_ih is None:
        return None
    if bias_ih.shape != bias_hh.shape:
        raise ValueError(
            f"expected two biases of one shape, got {bias_ih.shape} and {bias_hh.shape}"
        )
    return bias_ih + bias_hh


def elman(weight_ih: Any, weight_hh: Any, bias: Any, activation: Callable = TANH) -> ElmanCell:
    """An `ElmanCell` of these arrays; `bias` may be None, here and below."""
    return _made(
        ElmanCell,
        {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias},
        activation=activation,
    )


def lstm(weight_ih: Any, weight_hh: Any, bias: Any, weight_hr: Any = None) -> LSTMCell | LSTMPCell:
    """Blocks in the order i, f, g, o; an `LSTMPCell` where there is a projection."""
    arrays = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    if weight_hr is None:
        return _made(LSTMCell, arrays)
    return _made(LSTMPCell, arrays | {"weight_hr": weight_hr}, cell_size=weight_hr.shape[-1])


def gru(
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any = None,
    *,
    reset_after: bool = True,
) -> GRUCell:
    """Blocks in the order r, z, n; `bias_hh` of the recurrent product, None for zeros."""
    arrays = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias_ih}
    if bias_ih is not None and reset_after:
        bias_hh = np.zeros_like(bias_ih) if bias_hh is None else bias_hh
        r_z, n = np.split(bias_hh, [2 * (len(bias_hh) // 3)])
        # What the candidate gets from the state stands inside the reset gate, hence apart.
        arrays["bias"] = added(bias_ih, np.concatenate([r_z, np.zeros_like(n)]))
        arrays["bias_n"] = n
    return _made(GRUCell, arrays, reset_after=reset_after)


def _made(cls: Callable[..., AbstractCell], arrays: dict[str, Any], **options: Any) -> Any:
    """A cell of the sizes and the dtype that the weights have."""
    weight_ih, weight_hh = arrays["weight_ih"], arrays["weight_hh"]
    for name, weight in [("weight_ih", weight_ih), ("weight_hh", weight_hh)]:
        if weight.ndim != 2:
            raise ValueError(f"expected {name} as a matrix, got shape {weight.shape}")
        if not jnp.issubdtype(weight.dtype, jnp.floating):
            raise ValueError(f"expected {name} of floating-point numbers, got {weight.dtype}")
    given = {k: jnp.asarray(v) for k, v in arrays.items() if v is not None}
    options |= {"use_bias": arrays["bias"] is not None, "dtype": given["weight_ih"].dtype}

    def make():
        return cls(weight_ih.shape[1], weight_hh.shape[1], key=jr.key(0), **options)

    # Only the structure: no random numbers are drawn for arrays that are there.
    return filled(eqx.filter_eval_shape(make), **given)
