"""Cells of which some weights are not there."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._common.checks import one_like
from .._common.fixed import Fixed
from ..base import AbstractCell, State, check_cell


class MaskedConstants(NamedTuple):
    """The masked weights of a sequence, and the constants of the cell that has them."""

    weights: tuple[Any, ...]
    cell: Any


class Masked(AbstractCell):
    r"""A cell some of whose weights are zero and stay zero, $W \mapsto m \odot W$.

    For sparse networks, and for networks on the synapses of a connectome. Under any optimiser,
    weight decay and noise included, no masked weight is anything but zero, and its gradient is
    zero. Every weight of any cell can be masked, also one in an `rz.Fixed`. A mask is on what the
    cell stores: of a matrix that a cell computes from its parameters, an orthogonal one or that of
    a state space, it masks those parameters.

    `masked.cell` is the plain cell with zeros in it, for what takes plain cells, such as a layer of
    another library; `masked.dense` holds the numbers that train. Linear, timed and stochastic as
    the cell inside.
    """

    dense: Any
    masks: tuple[Bool[Array, "..."], ...]
    paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, cell: AbstractCell, masks: Mapping[str | Callable, Any]):
        """A mask for each weight that gets one, True where it is kept.

        The key is the path of a weight, as "weight_hh" or "backbone[0].weight", or a function that
        picks it, `lambda cell: cell.weight_hh`. The mask is an array of bools of the weight's very
        shape, or a function that makes one of the shape. Where the blocks of several gates stand
        in one weight, a mask of one block is repeated with `jnp.tile(mask, (3, 1))`.

        **Raises:** TypeError for what is no cell and a mask that is not of bools; ValueError for no
        mask, another shape, and a key that is not of one floating-point array of the cell.
        """
        check_cell(cell)
        if not masks:
            raise ValueError('expected a mask or more, {"weight_hh": mask}, got none')
        found = _weights(cell)
        self.paths = tuple(_path_of(key, cell, found) for key in masks)
        if len(set(self.paths)) < len(self.paths):
            raise ValueError(f"expected one mask for a weight, got keys for {self.paths}")
        self.masks = tuple(
            _checked(path, mask, _shape(found[path]))
            for path, mask in zip(self.paths, masks.values())
        )
        kept = tuple(_hide(found[path], mask) for path, mask in zip(self.paths, self.masks))
        self.dense = _put(cell, self.paths, kept)

    @property
    def cell(self) -> Any:
        """The cell with zeros where a weight is masked."""
        return _put(self.dense, self.paths, self._kept())

    @property
    def input_size(self) -> int:
        return self.dense.input_size

    @property
    def output_size(self) -> int:
        return self.dense.output_size

    @property
    def timed(self) -> bool:
        return self.dense.timed

    @property
    def linear(self) -> bool:
        return self.dense.linear

    @property
    def stochastic(self) -> bool:
        return self.dense.stochastic

    @property
    def has_scaled_matrix(self) -> bool:
        """Whether the cell is an `AbstractScaledMatrixCell`."""
        return getattr(self.dense, "has_scaled_matrix", False)

    def init_state(self) -> State:
        return self.cell.init_state()

    def constants(self) -> MaskedConstants:
        """The masked weights, and what the cell computes of them."""
        return MaskedConstants(self._kept(), self.cell.constants())

    def equation(
        self, c: MaskedConstants, state: State, x: Array, *dt: Any, **key: Any
    ) -> tuple[State, Array]:
        """The cell's, with the masked weights."""
        return self._with(c).equation(c.cell, state, x, *dt, **key)

    def parts(self, c: MaskedConstants, x: Array, *dt: Any) -> Any:
        """Those of a cell whose state is a matrix."""
        return self._with(c).parts(c.cell, x, *dt)

    def output(self, c: MaskedConstants, read: Array, x: Array) -> Array:
        """That of such a cell."""
        return self._with(c).output(c.cell, read, x)

    def transition(self, c: MaskedConstants, x: Array, *dt: Any) -> Any:
        """That of a linear cell."""
        return self._with(c).transition(c.cell, x, *dt)

    def readout(self, c: MaskedConstants, state: State, x: Array) -> Array:
        """That of a linear cell."""
        return self._with(c).readout(c.cell, state, x)

    def _kept(self) -> tuple[Any, ...]:
        found = _weights(self.dense)
        return tuple(_hide(found[path], mask) for path, mask in zip(self.paths, self.masks))

    def _with(self, c: MaskedConstants) -> Any:
        # From the constants: a mask applied at every step would be work for every step.
        return _put(self.dense, self.paths, c.weights)


def _is_fixed(node: Any) -> bool:
    return isinstance(node, Fixed)


def _named(cell: Any) -> tuple[list[tuple[str, Any]], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(cell, is_leaf=_is_fixed)
    return [(jax.tree_util.keystr(path).lstrip("."), leaf) for path, leaf in leaves], structure


def _weights(cell: Any) -> dict[str, Any]:
    """Every array of numbers by its path; one that does not train is a `Fixed`."""
    return {
        path: leaf
        for path, leaf in _named(cell)[0]
        if _is_fixed(leaf) or eqx.is_inexact_array(leaf)
    }


def _put(cell: Any, paths: tuple[str, ...], weights: tuple[Any, ...]) -> Any:
    """The cell with these weights."""
    new = dict(zip(paths, weights))
    leaves, structure = _named(cell)
    return jax.tree.unflatten(structure, [new.get(path, leaf) for path, leaf in leaves])


def _hide(weight: Any, mask: Bool[Array, "..."]) -> Any:
    """A select, since a product with False would keep NaN and the sign of a zero."""
    if _is_fixed(weight):
        value = weight.value
        return Fixed(jnp.where(mask, value, jnp.zeros_like(value)), sealed=weight.sealed)
    return jnp.where(mask, weight, jnp.zeros_like(weight))


def _shape(weight: Any) -> tuple[int, ...]:
    return weight.value.shape if _is_fixed(weight) else weight.shape


def _path_of(key: Any, cell: Any, found: dict[str, Any]) -> str:
    if not callable(key):
        path = str(key).lstrip(".")
        if path not in found:
            raise ValueError(f"{type(cell).__name__} has no weight {key!r}{one_like(path, found)}")
        return path
    picked = key(cell)
    same = [path for path, leaf in found.items() if leaf is picked]
    if len(same) != 1:
        raise ValueError(
            f"expected a function that picks one weight of {type(cell).__name__}, such as "
            f"lambda cell: cell.{next(iter(found), 'weight')}, got one that gives "
            f"{type(picked).__name__}; the weights are: {', '.join(found)}"
        )
    return same[0]


def _checked(path: str, mask: Any, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    made = np.asarray(mask(shape) if callable(mask) else mask)
    if made.dtype != bool:
        raise TypeError(f"expected the mask of {path} of bools, got {made.dtype}: write mask != 0")
    if made.shape != shape:
        rows = shape[0] // max(made.shape[0], 1) if made.ndim and shape else 0
        blocks = rows > 1 and (rows * made.shape[0], *made.shape[1:]) == shape
        ones = ", 1" * (len(shape) - 1) or ","
        mend = f": for {rows} equal blocks write jnp.tile(mask, ({rows}{ones}))" if blocks else ""
        raise ValueError(
            f"expected the mask of {path} of its shape {shape}, got shape {made.shape}{mend}"
        )
    return jnp.asarray(made)
