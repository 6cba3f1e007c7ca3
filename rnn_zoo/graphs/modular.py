"""Networks of cells that send messages to each other."""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray
from numpy.typing import NDArray

from .._common.checks import check_sizes
from .._common.dtypes import state_dtype, working_dtype, working_float
from ..base import AbstractCell
from ..init import glorot
from ..wiring.base import NeuronMap
from .messages import AbstractMessages, check_is_cell, make_messages


class ModularState(NamedTuple):
    """The states of the cells (a tuple; of equal cells one state with an axis of modules in
    front), and what each module said."""

    cells: Any
    said: Float[Array, "modules message"]


class Speaker(eqx.Module):
    """A module: a cell, and the matrix E that makes a message of its output."""

    cell: Any
    weight: Float[Array, "message output"]

    def init_state(self) -> tuple[Any, Float[Array, " message"]]:
        """The state of the cell, and nothing said."""
        return self.cell.init_state(), jnp.zeros(self.weight.shape[0], state_dtype(self.weight))

    def constants(self) -> Any:
        """Those of the cell."""
        return self.cell.constants()

    def step(self, c: Any, state: Any, x: Array, time: tuple) -> tuple[Any, Array, Array]:
        """The state and output of the cell, and what the module says; `time` is (dt, key)."""
        state, y = self.cell.advance(c, state, x, *time)
        return state, y, (self.weight @ y).astype(state_dtype(self.weight))


class AbstractModules(eqx.Module):
    """The modules of a network, and how they are stepped."""

    @abc.abstractmethod
    def kinds(self) -> tuple[AbstractCell, ...]:
        """One cell of each kind, for its flags."""

    @abc.abstractmethod
    def pick(self, index: int) -> Speaker:
        """One module."""

    @abc.abstractmethod
    def init_state(self) -> ModularState:
        """The state before the first step."""

    @abc.abstractmethod
    def constants(self) -> Any:
        """Those of each module."""

    @abc.abstractmethod
    def step(
        self, c: Any, states: Any, inputs: Float[Array, "modules input"], time: tuple
    ) -> tuple[ModularState, Any]:
        """The step of each module, a row of `inputs` each; the state and all outputs.

        `time` is (dt, keys).
        """

    @abc.abstractmethod
    def join(self, ys: Any, chosen: tuple[int, ...]) -> Float[Array, " output"]:
        """The outputs of the chosen modules, one after the other."""


class LoopedModules(AbstractModules):
    """Modules of any kind, one after the other."""

    parts: tuple[Speaker, ...]

    def kinds(self) -> tuple[AbstractCell, ...]:
        return tuple(part.cell for part in self.parts)

    def pick(self, index: int) -> Speaker:
        return self.parts[index]

    def init_state(self) -> ModularState:
        states, said = zip(*(part.init_state() for part in self.parts))
        return ModularState(states, jnp.stack(said))

    def constants(self) -> tuple:
        return tuple(part.constants() for part in self.parts)

    def step(
        self, c: Any, states: Any, inputs: Float[Array, "modules input"], time: tuple
    ) -> tuple[ModularState, Any]:
        dt, keys = time
        keys = [None] * len(self.parts) if keys is None else keys
        rows = zip(self.parts, c, states, inputs, keys)
        states, ys, said = zip(*(part.step(own, s, x, (dt, k)) for part, own, s, x, k in rows))
        return ModularState(states, jnp.stack(said)), ys

    def join(self, ys: Any, chosen: tuple[int, ...]) -> Float[Array, " output"]:
        return jnp.concatenate([ys[i] for i in chosen])


class StackedModules(AbstractModules):
    """Modules that differ in their arrays only, as one with an axis of modules in front."""

    part: Speaker

    def kinds(self) -> tuple[AbstractCell, ...]:
        return (self.part.cell,)

    def pick(self, index: int) -> Speaker:
        return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, self.part)

    def init_state(self) -> ModularState:
        return ModularState(*eqx.filter_vmap(Speaker.init_state)(self.part))

    def constants(self) -> Any:
        return eqx.filter_vmap(Speaker.constants)(self.part)

    def step(
        self, c: Any, states: Any, inputs: Float[Array, "modules input"], time: tuple
    ) -> tuple[ModularState, Any]:
        dt, keys = time

        def one(part, own, state, x, key):
            return part.step(own, state, x, (dt, key))

        states, ys, said = eqx.filter_vmap(one)(self.part, c, states, inputs, keys)
        return ModularState(states, said), ys

    def join(self, ys: Any, chosen: tuple[int, ...]) -> Float[Array, " output"]:
        return ys[jnp.array(chosen)].ravel()


class Modular(AbstractCell):
    r"""A graph of cells that hear each other, itself a cell.

    $$m_i = \sum_j a_{ji}\, s_j, \qquad h_i', y_i = \mathrm{step}_i(h_i, [x, m_i]), \qquad
    s_i' = E_i\, y_i$$

    A module is a cell that reads [x, m], so its own input matrix holds W and M of
    $\sigma(W x + U h + M m)$; it hears what the others said after the step before. The update
    is that of CommNet (Sukhbaatar et al. 2016, arXiv:1605.07736), with weights of their own
    for the modules and a wiring in place of the mean over all. News needs one step for each
    edge on its way.

    State: `ModularState(cells, said)`, said (modules, message_size), zero at the start. The
    outputs of the modules in `outputs`, one after the other, are y; a module that is not in
    `reads` finds zeros in the place of x. Cells that differ in their arrays only are stacked
    and stepped at once, with the results of a loop; others run one after the other. Timed and
    stochastic when any cell is (a cell without time gets none), with draws of its own for each
    module; never linear. E is Glorot-uniform.

    `messages`, which start equal: "dense", a product with the constant matrix a; "sparse",
    constant weights by edge, for few edges; "learned", a trained weight for each edge.
    """

    modules: AbstractModules
    messages: AbstractMessages
    reads: Bool[Array, " modules"]
    outputs: tuple[int, ...] = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    message_size: int = eqx.field(static=True)
    linear: ClassVar[bool] = False

    def __init__(
        self,
        cells: Sequence[Any],
        wiring: Any,
        *,
        message_size: int,
        messages: str = "dense",
        reads: Any = None,
        outputs: Any = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """Cells with input_size of x plus `message_size`; `wiring`: weights a (or bools),
        (modules, modules), [source, target], 0 for no edge, or a `NeuronMap` with a neuron for
        each cell, whose polarities are a. A module may hear itself. `reads`, `outputs`: indices
        of modules, by default all. `dtype`: of E and a, by default that of the cells.

        ValueError for no cells, cells that read other sizes, another wiring, indices that are
        missing, out of range or twice there; TypeError for what is no cell.
        """
        cells = _check_cells(cells, message_size)
        count = len(cells)
        if dtype is None:
            dtype = jnp.result_type(*(working_dtype(cell, 0.0) for cell in cells))
        dtype = working_float(dtype)
        weights = (
            glorot(k, (message_size, cell.output_size), dtype)
            for k, cell in zip(jr.split(key, count), cells)
        )
        self.modules = _put_together([Speaker(*pair) for pair in zip(cells, weights)])
        self.messages = make_messages(messages, _check_wiring(wiring, count), dtype)
        self.reads = jnp.asarray(np.isin(range(count), _check_indices("reads", reads, count)))
        self.outputs = _check_indices("outputs", outputs, count)
        self.input_size = cells[0].input_size - message_size
        self.output_size = sum(cells[i].output_size for i in self.outputs)
        self.message_size = int(message_size)

    @property
    def timed(self) -> bool:
        return any(cell.timed for cell in self.modules.kinds())

    @property
    def stochastic(self) -> bool:
        return any(cell.stochastic for cell in self.modules.kinds())

    def module(self, index: int) -> Any:
        """The cell of this module. IndexError for one that is not there."""
        if not 0 <= index < self.messages.size:
            raise IndexError(f"expected a module from 0 to {self.messages.size - 1}, got {index}")
        return self.modules.pick(index).cell

    def init_state(self) -> ModularState:
        return self.modules.init_state()

    def constants(self) -> Any:
        """Those of the modules."""
        return self.modules.constants()

    def equation(
        self, c: Any, state: ModularState, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[ModularState, Array]:
        """The messages, then the step of every module."""
        m = self.messages.gather(state.said)
        seen = jnp.where(self.reads[:, None], x, jnp.zeros_like(x))
        inputs = jnp.concatenate([seen, m], axis=1)
        keys = None if key is None else jr.split(key, self.messages.size)
        after, ys = self.modules.step(c, state.cells, inputs, (dt, keys))
        return after, self.modules.join(ys, self.outputs)


def _put_together(parts: list[Speaker]) -> AbstractModules:
    first, *others = map(_form, parts)
    if any(form != first for form in others):
        return LoopedModules(tuple(parts))

    def stack(*leaves):
        return jnp.stack(leaves) if hasattr(leaves[0], "shape") else leaves[0]

    return StackedModules(jax.tree.map(stack, *parts))


def _form(part: Speaker) -> tuple[Any, list[Any]]:
    leaves, structure = jax.tree.flatten(part)
    return structure, [(x.shape, x.dtype) if hasattr(x, "shape") else x for x in leaves]


def _check_cells(cells: Any, message_size: int) -> tuple[Any, ...]:
    check_sizes(message_size=message_size)
    cells = tuple(cells)
    if not cells:
        raise ValueError("expected at least one cell, got none")
    for i, cell in enumerate(cells):
        check_is_cell(cell, f"module {i}")
    sizes = [cell.input_size for cell in cells]
    if len(set(sizes)) > 1 or sizes[0] <= message_size:
        raise ValueError(
            "expected cells of one input_size, that of x plus "
            f"message_size={message_size}, since each reads [x, m], got {sizes}: make every cell "
            "with input_size + message_size"
        )
    return cells


def _check_wiring(wiring: Any, count: int) -> NDArray[np.floating]:
    matrix = np.asarray(wiring.adjacency if isinstance(wiring, NeuronMap) else wiring)
    if matrix.shape != (count, count):
        given = f"a map of {wiring.units} neurons" if isinstance(wiring, NeuronMap) else ""
        raise ValueError(
            f"expected wiring of shape ({count}, {count}), [source, target], as many modules as "
            f"cells, got {given or matrix.shape}: give a row and a column to each cell"
        )
    if matrix.dtype.kind not in "biuf" or not np.isfinite(matrix).all():
        raise ValueError(
            f"expected wiring of bools or finite real weights, got {matrix.dtype}"
            + (" with NaN or infinity" if matrix.dtype.kind == "f" else "")
            + ": write 0 where there is no edge"
        )
    return matrix.astype(float)


def _check_indices(name: str, given: Any, count: int) -> tuple[int, ...]:
    if given is None:
        return tuple(range(count))
    indices = np.asarray(given)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or not len(indices):
        mask = indices.dtype.kind == "b"
        raise ValueError(
            f"expected {name} to list at least one module by its index, got {given!r}: "
            + ("of a mask give np.flatnonzero(mask)" if mask else "None stands for all of them")
        )
    chosen = tuple(indices.tolist())
    if not all(0 <= i < count for i in chosen) or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"expected {name} to hold indices from 0 to {count - 1}, none of them twice, got "
            f"{chosen}: count modules from 0 and name each once"
        )
    return chosen
