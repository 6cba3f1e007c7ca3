"""Cells around a cell. Each is a cell again: it steps, scans, stacks and saves."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, ArrayLike, PyTree

from .._common.checks import show
from .._common.fixed import fix, unfix
from .._common.numbers import exactly
from .._common.origins import origins
from ..base import AbstractCell, State
from ..linear import AffineMap


class AbstractWrapper(AbstractCell):
    """A cell made from another one, with the sizes and the time of that one."""

    cell: eqx.AbstractVar[Any]

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed

    def constants(self) -> Any:
        """Those of the cell."""
        return self.cell.constants()


class AbstractOutputWrapper(AbstractWrapper):
    """A wrapper that leaves the state as it is: linear, timed, stochastic as the cell inside."""

    @property
    def linear(self) -> bool:
        return self.cell.linear

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    @abc.abstractmethod
    def emit(self, x: Array, y: Array) -> Array:
        """What leaves the wrapper where y leaves the cell."""

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ):
        """The step of the cell, and what the wrapper makes of its output."""
        state, y = self.cell.advance(c, state, x, dt, key)
        return state, self.emit(x, y)

    def transition(self, c: Any, x: Array, *dt: ArrayLike) -> AffineMap:
        """The transition of a linear cell."""
        return self.cell.transition(c, x, *dt)

    def readout(self, c: Any, state: State, x: Array) -> Array:
        """The readout of a linear cell, and what the wrapper makes of it."""
        return self.emit(x, self.cell.readout(c, state, x))


class AbstractTransparentWrapper(AbstractOutputWrapper):
    """A wrapper whose step is the step of the cell."""

    def emit(self, x: Array, y: Array) -> Array:
        return y


class LearnedInitialState(AbstractTransparentWrapper):
    r"""A cell whose initial state $h_0$ is a parameter.

    A reset, a new sequence and a streamed one all start from it. Complex states are kept
    as real pairs, integer parts (a clock) stay as they are. Every floating-point part is a
    parameter, so what only keeps books goes outside: `Strided(LearnedInitialState(cell), 2)`.
    Linear, timed and stochastic as the cell inside.
    """

    cell: Any
    initial: PyTree[Array]

    def __init__(self, cell: AbstractCell, initial: State | None = None):
        """`initial`: where the parameter starts, like `cell.init_state()`, its default."""
        expected = cell.init_state()
        given = expected if initial is None else jax.tree.map(_strong, initial)
        if show(given) != show(expected):
            raise ValueError(
                f"expected initial like the cell's init_state(), {show(expected)}, "
                f"got {show(given)}"
            )
        self.cell = cell
        self.initial = jax.tree.map(_to_pair, given)

    def init_state(self) -> State:
        """The parameter, in the structure of the cell's own state."""
        return jax.tree.map(_from_pair, jax.eval_shape(self.cell.init_state), self.initial)


def _strong(leaf: Any) -> Array:
    return jnp.asarray(exactly("initial", leaf), jnp.result_type(leaf))


def _to_pair(leaf: Array) -> Array:
    return jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf


def _from_pair(like: Any, leaf: Array) -> Array:
    # The carry is never below float32, whatever a cast made of the parameters.
    if jnp.issubdtype(like.dtype, jnp.complexfloating):
        real, imag = leaf.astype(jnp.finfo(like.dtype).dtype)
        return lax.complex(real, imag)
    return leaf.astype(like.dtype)


class Frozen(AbstractTransparentWrapper):
    """A cell that does not train under any optimiser, weight decay included.

    Its floating-point arrays are kept as `Fixed` bits, which `eqx.is_inexact_array` does
    not see. Gradients with respect to inputs and states pass through as ever. Linear,
    timed and stochastic as the cell inside.
    """

    fixed: PyTree

    def __init__(self, cell: AbstractCell):
        """Any cell; its values are kept as they are."""
        self.fixed = fix(cell)

    @property
    def cell(self) -> Any:
        """The cell inside, with its arrays."""
        return unfix(self.fixed)

    def init_state(self) -> State:
        return self.cell.init_state()


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


class Zoneout(AbstractWrapper):
    r"""Zoneout (Krueger et al. 2017, arXiv:1606.01305): units at random keep their old value.

    $$h' = d \odot h + (1 - d) \odot \hat h', \qquad d \sim \mathrm{Bernoulli}(p)$$

    with $\hat h'$ the state that the cell computes. In inference
    (`eqx.nn.inference_mode(model)`) d is replaced by its mean p and no key is needed. `rate`
    p: one float, or one for each array of the state in the order of its fields (the paper's
    LSTM: `(0.05, 0.5)` for h and c). Integer parts of a state (a clock) are never held.
    Where the cell's step gives one of its new state arrays itself as output (Elman, GRU, the
    h of an LSTM), jitted or not, the output is that array after zoneout, as in the paper; an
    output that was computed from the state passes unchanged.
    Never linear: the parallel form of a linear cell has no place for the draw.
    """

    cell: Any
    rate: float | tuple[float, ...] = eqx.field(static=True)
    inference: bool

    def __init__(self, cell: AbstractCell, rate: Any, *, inference: bool = False):
        """`rate` in [0, 1), one or one per state array (ValueError otherwise)."""
        rate = tuple(map(float, rate)) if isinstance(rate, tuple | list) else float(rate)
        parts = len(jax.tree.leaves(jax.eval_shape(cell.init_state)))
        rates = rate if isinstance(rate, tuple) else (rate,) * parts
        if len(rates) != parts or not all(0.0 <= r < 1.0 for r in rates):
            raise ValueError(
                f"expected a rate in [0, 1), or a tuple of {parts}, one for each array of the "
                f"state of {type(cell).__name__}; got {rate}"
            )
        self.cell = cell
        self.rate = rate
        self.inference = inference

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return True

    def init_state(self) -> State:
        return self.cell.init_state()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ):
        """The step of the cell, with units held. RuntimeError without a key in training."""
        if key is None and not self.inference:
            raise RuntimeError(
                "Zoneout draws at random and needs key=...; for inference use "
                "eqx.nn.inference_mode(model)"
            )
        keys = [None, None] if key is None else list(jr.split(key))

        def step(state: State, x: Array) -> tuple[State, Array]:
            return self.cell.advance(c, state, x, dt, keys[0])

        proposed, y = step(state, x)
        before, treedef = jax.tree.flatten(state)
        after = jax.tree.leaves(proposed)
        rates = self.rate if isinstance(self.rate, tuple) else (self.rate,) * len(after)
        draws = [None] * len(after) if keys[1] is None else jr.split(keys[1], len(after))
        kept = [
            _zone_out(old, new, rate, draw, self.inference)
            for old, new, rate, draw in zip(before, after, rates, draws)
        ]
        *parts, last = origins(step, state, x)
        output = kept[parts.index(last)] if last in parts else y
        return jax.tree.unflatten(treedef, kept), output


def _zone_out(old: Array, new: Array, rate: float, key: Any, inference: bool) -> Array:
    if not jnp.issubdtype(new.dtype, jnp.inexact):
        return new
    if inference:
        return rate * old + (1 - rate) * new
    return jnp.where(jr.bernoulli(key, rate, new.shape), old, new)
