"""Messages along the edges of a graph: three kinds for modules, and one cell at every node."""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray
from numpy.typing import NDArray

from .._common.checks import check_choice, check_sizes
from .._common.dtypes import working_dtype, working_float
from .._common.fixed import Fixed
from .._engine.unstable import Tracer
from ..base import AbstractCell, replace
from ..init import glorot


class AbstractMessages(eqx.Module):
    """How modules hear each other: m_i = sum_j a[j, i] said_j, a weight for each edge."""

    size: eqx.AbstractVar[int]
    """The number of modules."""

    @abc.abstractmethod
    def gather(self, said: Float[Array, "modules message"]) -> Float[Array, "modules message"]:
        """What each module hears of what all said."""

    def matrix(self) -> Float[Array, "modules modules"]:
        """The weights a as they stand, [source, target]; 0 where there is no edge."""
        return self.gather(jnp.eye(self.size)).T


class DenseMessages(AbstractMessages):
    r"""Constant weights as a matrix, $m = a^\top \mathrm{said}$; best for many edges.

    0 times NaN is NaN: a module that breaks is heard by all, edge or not.
    """

    weight: Fixed
    size: int = eqx.field(static=True)

    def __init__(self, wiring: NDArray[np.floating], dtype: Any):
        self.weight = _constant(wiring, dtype)
        self.size = len(wiring)

    def gather(self, said: Float[Array, "modules message"]) -> Float[Array, "modules message"]:
        return self.weight.value.T @ said


class SparseMessages(AbstractMessages):
    r"""Constant weights by edge, $m_i = \sum_{e: j \to i} w_e\, \mathrm{said}_j$."""

    weight: Fixed
    senders: Int[Array, " edges"]
    receivers: Int[Array, " edges"]
    size: int = eqx.field(static=True)

    def __init__(self, wiring: NDArray[np.floating], dtype: Any):
        self.senders, self.receivers, weight = _edges(wiring)
        self.weight = _constant(weight, dtype)
        self.size = len(wiring)

    def gather(self, said: Float[Array, "modules message"]) -> Float[Array, "modules message"]:
        return _along_edges(self.weight.value, self.senders, self.receivers, said)


class LearnedMessages(AbstractMessages):
    r"""A trained weight for each edge there is, $m_i = \sum_{e: j \to i} w_e\, \mathrm{said}_j$.

    The weights start at the given ones. What is no edge has no weight, so nothing can train it.
    """

    weight: Float[Array, " edges"]
    senders: Int[Array, " edges"]
    receivers: Int[Array, " edges"]
    size: int = eqx.field(static=True)

    def __init__(self, wiring: NDArray[np.floating], dtype: Any):
        self.senders, self.receivers, weight = _edges(wiring)
        self.weight = jnp.asarray(weight, dtype)
        self.size = len(wiring)

    def gather(self, said: Float[Array, "modules message"]) -> Float[Array, "modules message"]:
        return _along_edges(self.weight, self.senders, self.receivers, said)


MESSAGES = {"dense": DenseMessages, "sparse": SparseMessages, "learned": LearnedMessages}


def check_is_cell(cell: Any, role: str) -> None:
    """A TypeError for what is no cell."""
    if not isinstance(cell, AbstractCell):
        raise TypeError(
            f"expected a cell as {role}, got {type(cell).__name__}: rz.adopt makes a cell of a "
            "function f(h, x) or of another library's cell"
        )


def make_messages(kind: str, wiring: NDArray[np.floating], dtype: Any) -> AbstractMessages:
    """Messages of a kind over weights [source, target]. ValueError for an unknown kind."""
    return MESSAGES[check_choice("messages", kind, MESSAGES)](wiring, dtype)


def _constant(values: ArrayLike, dtype: Any) -> Fixed:
    # What is no parameter gains nothing from 16 bits.
    return Fixed(jnp.asarray(values, jnp.promote_types(dtype, jnp.float32)))


def _along_edges(weight: Array, senders: Array, receivers: Array, said: Array) -> Array:
    return jax.ops.segment_sum(weight[:, None] * said[senders], receivers, len(said))


def _edges(wiring: NDArray[np.floating]) -> tuple[Array, Array, NDArray[np.floating]]:
    senders, receivers = np.nonzero(wiring)
    weight = wiring[senders, receivers]
    return jnp.asarray(senders, jnp.int32), jnp.asarray(receivers, jnp.int32), weight


class MessagePassingState(NamedTuple):
    """The states of the nodes and their last outputs, a row each."""

    nodes: Any
    y: Float[Array, "nodes output"]


class MessagePassing(AbstractCell):
    r"""One cell at every node of a graph whose nodes carry sequences.

    $$e_{j \to i} = \tanh(W_s\, y_j + W_r\, y_i + W_e\, \epsilon_{ji} + b), \qquad
    m_i = \sum_{j \to i} e_{j \to i}, \qquad
    h_i', y_i' = \mathrm{step}(h_i, [x_i, m_i])$$

    with y the outputs of the step before, $\epsilon_{ji}$ the features of an edge where it has
    some. The cell is the update of a message passing network (Gilmer et al. 2017,
    arXiv:1704.01212), made once a step, and all nodes share it: renumbering the nodes
    renumbers the outputs and changes nothing else.

    x is the vector of all node features, (num_nodes * node_size,), y that of all outputs,
    (num_nodes * cell.output_size,): reshape (time, nodes, features) to (time, -1) before, and
    ys to (time, nodes, -1) after. State: `MessagePassingState(nodes, y)`, the state of the
    cell with an axis of nodes in front, and y, (nodes, output), zero at the start. `on` moves
    the same parameters to another graph. An edge is read in one direction: give both for an
    undirected graph. Timed and stochastic as the cell, each node with draws of its own; never
    linear. $W_s$, $W_r$ and $W_e$ are Glorot-uniform as one matrix, b is zero.
    """

    cell: Any
    weight_sender: Float[Array, "message output"]
    weight_receiver: Float[Array, "message output"]
    weight_edge: Float[Array, "message edge"] | None
    bias: Float[Array, " message"]
    senders: Int[Array, " edges"]
    receivers: Int[Array, " edges"]
    edge_features: Fixed | None
    num_nodes: int = eqx.field(static=True)
    message_size: int = eqx.field(static=True)
    linear: ClassVar[bool] = False

    def __init__(
        self,
        cell: Any,
        senders: ArrayLike | Sequence[int],
        receivers: ArrayLike | Sequence[int],
        num_nodes: int,
        *,
        message_size: int,
        edge_features: ArrayLike | None = None,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """A cell with input_size node_size + message_size; edge k goes from node `senders[k]`
        to `receivers[k]`. `edge_features` (edges, edge_size) never train. `dtype`: of the
        weights, by default the cell's.

        ValueError for a cell that reads no more than the message, for edges that are not two
        integer vectors of one length, or lead out of the graph, for features of other edges;
        TypeError for what is no cell.
        """
        check_is_cell(cell, "the update of the nodes")
        check_sizes(message_size=message_size)
        if cell.input_size <= message_size:
            raise ValueError(
                f"expected a cell with input_size above message_size={message_size}, since it "
                f"reads [x_i, m_i], got {cell.input_size}: make it with node_size + message_size"
            )
        dtype = working_dtype(cell, 0.0) if dtype is None else working_float(dtype)
        self.cell = cell
        self.senders, self.receivers = _check_edges(senders, receivers, num_nodes)
        features = _check_features(edge_features, len(self.senders))
        size, edge_size = cell.output_size, 0 if features is None else features.shape[1]
        weight = glorot(key, (message_size, 2 * size + edge_size), dtype)
        self.weight_sender, self.weight_receiver, edge = jnp.split(weight, [size, 2 * size], axis=1)
        self.weight_edge = None if features is None else edge
        self.bias = jnp.zeros(message_size, dtype)
        self.edge_features = None if features is None else _constant(features, dtype)
        self.num_nodes, self.message_size = int(num_nodes), int(message_size)

    @property
    def input_size(self) -> int:
        return self.num_nodes * (self.cell.input_size - self.message_size)

    @property
    def output_size(self) -> int:
        return self.num_nodes * self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    def init_state(self) -> MessagePassingState:
        def repeat(leaf):
            return jnp.broadcast_to(leaf, (self.num_nodes, *leaf.shape))

        y = jnp.zeros((self.num_nodes, self.cell.output_size), working_dtype(self.cell, 0.0))
        return MessagePassingState(jax.tree.map(repeat, self.cell.init_state()), y)

    def constants(self) -> tuple[Any, Float[Array, "*edges message"]]:
        """Those of the cell, and W_e epsilon + b for each edge; b without features."""
        term = self.bias
        if self.edge_features is not None and self.weight_edge is not None:
            term = self.edge_features.value @ self.weight_edge.T + self.bias[None]
        return self.cell.constants(), term

    def on(
        self,
        senders: ArrayLike | Sequence[int],
        receivers: ArrayLike | Sequence[int],
        num_nodes: int | None = None,
        edge_features: ArrayLike | None = None,
    ) -> "MessagePassing":
        """The same parameters on another graph, by default of as many nodes.

        ValueError as at the start, and where the edges have features on one graph only, or
        features of another size.
        """
        num_nodes = self.num_nodes if num_nodes is None else num_nodes
        senders, receivers = _check_edges(senders, receivers, num_nodes)
        features = _check_features(edge_features, len(senders))
        known = None if self.weight_edge is None else self.weight_edge.shape[-1]
        if known != (None if features is None else features.shape[1]):
            raise ValueError(
                f"expected edge_features {_shown(len(senders), known)}, as on the graph that the "
                f"weights were made for, got {None if features is None else features.shape}"
            )
        if features is not None and self.edge_features is not None:
            features = _constant(features, self.edge_features.dtype)
        graph = {"senders": senders, "receivers": receivers, "edge_features": features}
        return replace(self, num_nodes=int(num_nodes), **graph)

    def messages(
        self, y: Float[Array, "nodes output"]
    ) -> Float[Array, "{self.num_nodes} {self.message_size}"]:
        """m, what each node hears when the nodes last gave y."""
        return self._messages(self.constants()[1], y)

    def _messages(self, edge: Array, y: Array) -> Array:
        sent = (y @ self.weight_sender.T)[self.senders]
        heard = (y @ self.weight_receiver.T)[self.receivers]
        e = jnp.tanh(sent + heard + jnp.atleast_2d(edge))
        return jax.ops.segment_sum(e, self.receivers, self.num_nodes)

    def equation(
        self,
        c: Any,
        state: MessagePassingState,
        x: Array,
        dt: ArrayLike | None = None,
        *,
        key: Any = None,
    ) -> tuple[MessagePassingState, Array]:
        """The messages, then the step of every node."""
        of_cell, edge = c
        xs = x.reshape(self.num_nodes, -1)
        inputs = jnp.concatenate([xs, self._messages(edge, state.y)], axis=1)
        keys = None if key is None else jr.split(key, self.num_nodes)

        def node(state, x, key):
            return self.cell.advance(of_cell, state, x, dt, key)

        nodes, ys = jax.vmap(node)(state.nodes, inputs, keys)
        return MessagePassingState(nodes, ys), ys.ravel()


def _check_edges(senders: Any, receivers: Any, num_nodes: int) -> tuple[Array, Array]:
    check_sizes(num_nodes=num_nodes)
    shapes = np.shape(senders), np.shape(receivers)
    if len(shapes[0]) != 1 or shapes[0] != shapes[1]:
        raise ValueError(
            "expected senders and receivers of one shape (edges,), the two ends of each edge, "
            f"got {shapes[0]} and {shapes[1]}: of an (edges, 2) array give its columns"
        )
    return _check_end("senders", senders, num_nodes), _check_end("receivers", receivers, num_nodes)


def _check_end(name: str, nodes: Any, num_nodes: int) -> Array:
    nodes = nodes if isinstance(nodes, Tracer) else np.asarray(nodes)
    if nodes.size and not jnp.issubdtype(nodes.dtype, jnp.integer):
        raise ValueError(
            f"expected {name} to hold integers, the indices of nodes, got {nodes.dtype}: cast "
            "them to int, and of a mask give its np.flatnonzero"
        )
    if isinstance(nodes, np.ndarray) and ((nodes < 0) | (nodes >= num_nodes)).any():
        raise ValueError(
            f"expected {name} to hold nodes from 0 to {num_nodes - 1}, for num_nodes={num_nodes}, "
            f"got {nodes.min()} to {nodes.max()}: count nodes from 0, or give more of them"
        )
    return jnp.asarray(nodes, jnp.int32)


def _check_features(features: Any, edges: int) -> Array | None:
    if features is None:
        return None
    features = jnp.asarray(features)
    if features.ndim != 2 or features.shape[0] != edges or not features.shape[1]:
        raise ValueError(
            f"expected edge_features of shape ({edges}, edge_size), a row for each edge, got "
            f"{features.shape}: of one number for each edge write [:, None]"
        )
    if jnp.iscomplexobj(features):
        raise ValueError("expected real edge_features, got complex: give real and imaginary part")
    return features


def _shown(edges: int, edge_size: int | None) -> str:
    return "None" if edge_size is None else f"of shape ({edges}, {edge_size})"
