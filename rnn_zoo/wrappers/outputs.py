"""Cells whose outputs are changed on their way out: a skip connection, a norm."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.dtypes import working_float
from ..base import AbstractCell, State
from ..init import glorot
from .base import AbstractOutputWrapper


class Residual(AbstractOutputWrapper):
    r"""A cell with a skip connection, $y_t = x_t + \mathrm{cell}(x)_t$.

    The state is that of the cell. Linear, timed and stochastic as the cell inside. For deep
    stacks; `rz.Block` adds the norm and the gate that go with it there.
    """

    cell: Any

    def __init__(self, cell: AbstractCell):
        """A cell whose outputs have the size of its inputs (ValueError otherwise)."""
        _check_same_sizes(cell)
        self.cell = cell

    def init_state(self) -> State:
        return self.cell.init_state()

    def emit(self, x: Array, y: Array) -> Array:
        return x + y


class Highway(AbstractOutputWrapper):
    r"""A cell with a gated skip connection (highway; Srivastava et al. 2015, arXiv:1505.00387;
    around an LSTM, Zhang et al. 2016, arXiv:1510.08983, without the gate's peepholes).

    $$y_t = g \odot \mathrm{cell}(x)_t + (1 - g) \odot x_t, \qquad g = \sigma(W x_t + b)$$

    The state is that of the cell. W starts Glorot-uniform and b at `transform_bias`, so that a deep
    stack passes most of its input on at first. Linear, timed and stochastic as the cell inside.
    `Residual` is the form without a gate; highways within a step are the cell `rhn`.
    """

    cell: Any
    weight: Float[Array, "features features"]
    bias: Float[Array, " features"]

    def __init__(
        self,
        cell: AbstractCell,
        *,
        transform_bias: float = -2.0,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """A cell whose outputs have the size of its inputs (ValueError otherwise).

        `dtype`: of W and b, by default JAX's default float; `key` draws W.
        """
        _check_same_sizes(cell)
        size, dtype = cell.output_size, working_float(dtype)
        self.cell = cell
        self.weight = glorot(key, (size, size), dtype)
        self.bias = jnp.full(size, transform_bias, dtype)

    def init_state(self) -> State:
        return self.cell.init_state()

    def emit(self, x: Array, y: Array) -> Array:
        gate = jax.nn.sigmoid(self.weight @ x + self.bias)
        return gate * y + (1 - gate) * x


class LayerNormed(AbstractOutputWrapper):
    r"""A cell with normalised outputs (Ba et al. 2016, arXiv:1607.06450).

    $$y = g \odot \frac{o - \mathrm{mean}(o)}{\sqrt{\mathrm{var}(o) + 10^{-5}}} + b$$

    with o the output of the cell and g, b learned, 1 and 0 at the start. Only what leaves the
    cell is normalised: the state goes on as it is, so a held state (dt = 0, an idle clock)
    stays held, and linear cells stay linear. Linear, timed and stochastic as the cell inside.
    """

    cell: Any
    norm: eqx.nn.LayerNorm

    def __init__(self, cell: AbstractCell, *, dtype: Any = None):
        """`dtype`: of g and b, by default JAX's default float."""
        self.cell = cell
        self.norm = eqx.nn.LayerNorm(cell.output_size, dtype=dtype)

    def init_state(self) -> State:
        return self.cell.init_state()

    def emit(self, x: Array, y: Array) -> Array:
        return self.norm(y)


def _check_same_sizes(cell: AbstractCell) -> None:
    if cell.input_size != cell.output_size:
        raise ValueError(
            f"expected a cell with outputs of the size of its inputs, since they are added, "
            f"got input_size={cell.input_size} and output_size={cell.output_size}: put a "
            "linear layer in front, as rz.make_model does"
        )
