"""Cells whose outputs are changed on their way out: a skip connection, a norm."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from ..base import AbstractCell, State
from .base import AbstractOutputWrapper


class Residual(AbstractOutputWrapper):
    r"""A cell with a skip connection, $y_t = x_t + \mathrm{cell}(x)_t$.

    The state is that of the cell. Linear, timed and stochastic as the cell inside. For deep
    stacks; `rz.Block` adds the norm and the gate that go with it there.
    """

    cell: Any

    def __init__(self, cell: AbstractCell):
        """A cell whose outputs have the size of its inputs (ValueError otherwise)."""
        if cell.input_size != cell.output_size:
            raise ValueError(
                f"expected a cell with outputs of the size of its inputs, since they are added, "
                f"got input_size={cell.input_size} and output_size={cell.output_size}: put a "
                "linear layer in front, as rz.make_model does"
            )
        self.cell = cell

    def init_state(self) -> State:
        return self.cell.init_state()

    def emit(self, x: Array, y: Array) -> Array:
        return x + y


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
