"""Cells as systems that run alone, and are drawn to data while they learn (teacher forcing)."""

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_sizes
from .._common.vectors import state_vector, with_vector
from ..base import AbstractCell, State, check_cell
from ..init import glorot
from ..scan import unroll


class AbstractForced(AbstractCell):
    r"""A system $z' = F(z)$ with an observation $\hat y = G(z)$, as a cell that reads data.

    Its input is (observed + 1,): what was observed at this time, and a share $\alpha$ from 0 to 1.
    Before the step the state is drawn to the data by that share of the difference, 0 being the
    free run; the output is the forecast of the next observation. An entry that is NaN was not
    observed, and nothing is drawn to it.

    Since it is a cell, evaluators and all of `rz.dynamics` take it: zeros, (time, observed + 1), as
    inputs are the free run. `rz.train.TeacherForcing` trains it.
    """

    cell: eqx.AbstractVar[Any]
    output_size: eqx.AbstractVar[int]

    @property
    def input_size(self) -> int:
        return self.output_size + 1

    @property
    def timed(self) -> bool:
        return self.cell.timed

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    if not TYPE_CHECKING:

        @abc.abstractmethod
        def constants(self) -> Any:
            """What every step of a sequence uses and none changes."""

    @abc.abstractmethod
    def observe(self, c: Any, state: State) -> Array:
        """What is observed of a state, (output_size,)."""

    @abc.abstractmethod
    def move(self, c: Any, state: State, by: Array) -> State:
        """A state whose observation is the one of `state` plus `by`."""

    @abc.abstractmethod
    def run_on(self, c: Any, state: State, dt: ArrayLike | None = None, key: Any = None) -> State:
        """F: the state one step later, without data."""

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """The state is drawn to the data, then moves on; the output is what it forecasts."""
        data, share = x[:-1], x[-1]
        gap = jnp.where(jnp.isnan(data), 0, data - self.observe(c, state))
        state = self.run_on(c, self.move(c, state, share * gap), dt, key)
        return state, self.observe(c, state)

    def forecast(
        self,
        xs: ArrayLike,
        steps: int,
        state: Any = None,
        *,
        share: ArrayLike = 1.0,
        key: Any = None,
    ) -> Float[Array, "steps observed"]:
        """What follows xs, (steps, output_size): the state is drawn to xs, and then to nothing.

        - `state`: at the first of xs, by default `init_state()`.
        - `share`: of the way to each of xs, the first excepted, which is forced entirely. Where xs
          has noise, the share of the training averages over it, and 1 keeps that of the last.
        - `key`: of a random cell.

        ValueError for xs that is not (time, output_size) with at least one step.
        """
        check_sizes(steps=steps)
        xs = check_observed(self, xs, 1)
        shares = jnp.full(len(xs), share, xs.dtype).at[0].set(1)
        alone = jnp.zeros((steps - 1, self.input_size), xs.dtype)
        _, ys = unroll(self, jnp.concatenate([with_shares(xs, shares), alone]), state, key=key)
        return ys[len(xs) - 1 :]


class StateForced(AbstractForced):
    r"""A cell without inputs, some of whose state is observed and drawn to the data.

    $$\tilde z_t = z_t + \alpha B^+ (y_t - G(z_t)), \qquad z_{t+1} = F(\tilde z_t), \qquad
    G(z) = B z + b$$

    z is `state_vector` of the cell's state, F its step with inputs of zero. Without a readout G
    are the first `observed` numbers of z, which are then moved $\alpha$ of the way to the data, as
    Hess et al. (2023, arXiv:2306.04406) do; with $\alpha = 1$ at some times and 0 at the others it
    is the sparse forcing of Mikhaeil et al. (2022, arXiv:2110.07238). With `readout`, B (observed,
    n) and b are learned, and $B^+ = B^\top (B B^\top)^{-1}$ moves z by the least that makes the
    observation right. State, timed and stochastic as the cell.
    """

    cell: Any
    weight: Float[Array, "observed state"] | None
    bias: Float[Array, " observed"] | None
    output_size: int = eqx.field(static=True)

    def __init__(
        self, cell: Any, observed: int, *, readout: bool = False, key: PRNGKeyArray | None = None
    ):
        """`key` draws B, Glorot-uniform, and is needed with `readout` only.

        ValueError for more observed numbers than the state has, TypeError for what is no cell.
        """
        check_cell(cell)
        check_sizes(observed=observed)
        vector = jax.eval_shape(lambda: state_vector(cell.init_state()))
        if observed > vector.size:
            raise ValueError(
                f"expected observed of at most {vector.size}, the numbers in the state of "
                f"{type(cell).__name__}, got {observed}: give the cell more units"
            )
        self.cell, self.output_size = cell, observed
        self.weight = self.bias = None
        if readout:
            if key is None:
                raise ValueError("expected a key, which draws the readout, got None")
            self.weight = glorot(key, (observed, vector.size), vector.dtype)
            self.bias = jnp.zeros(observed, vector.dtype)

    def init_state(self) -> State:
        return self.cell.init_state()

    def constants(self) -> tuple[Any, Array | None]:
        """Those of the cell, and the pseudo-inverse of the readout."""
        if self.weight is None:
            return self.cell.constants(), None
        gram = self.weight @ self.weight.T
        return self.cell.constants(), jnp.linalg.solve(gram, self.weight).T

    def observe(self, c: Any, state: State) -> Array:
        vector = state_vector(state)
        if self.weight is None or self.bias is None:
            return vector[: self.output_size]
        return self.weight @ vector + self.bias

    def move(self, c: Any, state: State, by: Array) -> State:
        vector, inverse = state_vector(state), c[1]
        moved = vector.at[: self.output_size].add(by) if inverse is None else vector + inverse @ by
        return with_vector(state, moved)

    def run_on(self, c: Any, state: State, dt: ArrayLike | None = None, key: Any = None) -> State:
        quiet = jnp.zeros(self.cell.input_size, state_vector(state).dtype)
        return self.cell.advance(c[0], state, quiet, dt, key)[0]


class FedBackState(NamedTuple):
    """The state of the cell inside, and the forecast that it reads next, (observed,)."""

    inner: Any
    seen: Array


class InputForced(AbstractForced):
    r"""A cell that reads its own forecasts, which are drawn to the data.

    $$\tilde y_t = \hat y_t + \alpha (y_t - \hat y_t), \qquad
    h_t, o_t = \mathrm{cell}(h_{t-1}, \tilde y_t), \qquad
    \hat y_{t+1} = \tilde y_t + R(o_t)$$

    State: the one of the cell, and the last forecast, which is what is observed. With $\alpha = 1$
    it is the usual training on the next sample, with 0 the closed loop in which it forecasts. R is
    a readout, linear by default; `skip=False` leaves out the first term of the last equation, so
    that R says the next sample and not the difference to it. Timed and stochastic as the cell,
    which may be a layer that steps.
    """

    cell: Any
    readout: Any
    skip: bool = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        cell: Any,
        readout: Any = None,
        *,
        skip: bool = True,
        key: PRNGKeyArray | None = None,
    ):
        """A cell whose input size is the number of observed values.

        - `readout`: a function or module from the outputs of one step, (output_size,), to the
          observed numbers. By default an `eqx.nn.Linear`, for which `key` is needed; it starts at
          a tenth of its usual size, near the forecast that nothing changes.

        ValueError where the readout gives another number than the cell reads; TypeError for what is
        no cell.
        """
        check_cell(cell)
        size = cell.input_size
        if readout is None:
            if key is None:
                raise ValueError("expected a key, which draws the readout, or a readout, got None")
            readout = eqx.nn.Linear(cell.output_size, size, key=key)
            readout = jax.tree.map(lambda a: a / 10, readout)
        said = eqx.filter_eval_shape(readout, jnp.zeros(cell.output_size))
        if said.shape != (size,):
            raise ValueError(
                f"expected a readout that gives ({size},), what the cell reads, got {said.shape}"
            )
        self.cell, self.readout, self.skip, self.output_size = cell, readout, skip, size

    def init_state(self) -> FedBackState:
        inner = self.cell.init_state()
        dtype = jax.eval_shape(state_vector, inner).dtype
        return FedBackState(inner, jnp.zeros(self.output_size, dtype))

    def constants(self) -> Any:
        """Those of the cell."""
        return self.cell.constants()

    def observe(self, c: Any, state: FedBackState) -> Array:
        return state.seen

    def move(self, c: Any, state: FedBackState, by: Array) -> FedBackState:
        return state._replace(seen=state.seen + by.astype(state.seen.dtype))

    def run_on(
        self, c: Any, state: FedBackState, dt: ArrayLike | None = None, key: Any = None
    ) -> FedBackState:
        inner, y = self.cell.advance(c, state.inner, state.seen, dt, key)
        said = self.readout(y).astype(state.seen.dtype)
        return FedBackState(inner, state.seen + said if self.skip else said)


class EncodedStart(eqx.Module):
    r"""A forced cell whose first state is read off the first observations.

    $$z_k = E(y_1, \dots, y_k)$$

    E is a perceptron with one hidden layer from the `steps` k first observations to
    `state_vector`, trained with the cell. The first forecast is that of $y_{k+1}$. Brenner et al.
    (2022, arXiv:2207.02542) learn such a map, linear, of one observation.
    """

    model: AbstractForced
    encoder: eqx.nn.MLP
    steps: int = eqx.field(static=True)

    def __init__(self, model: Any, steps: int = 1, *, width: int = 32, key: PRNGKeyArray):
        """`width`: the units of the hidden layer; 0 for a linear map."""
        if not isinstance(model, AbstractForced):
            raise TypeError(
                f"expected model as a StateForced or an InputForced, got {type(model).__name__}"
            )
        check_sizes(steps=steps)
        vector = jax.eval_shape(lambda: state_vector(model.init_state()))
        sizes = (steps * model.output_size, vector.size, width, 1 if width else 0)
        self.model, self.steps = model, steps
        self.encoder = eqx.nn.MLP(*sizes, activation=jnp.tanh, dtype=vector.dtype, key=key)

    def start(self, xs: Float[ArrayLike, "time observed"]) -> State:
        """The state at the last of the first `steps` of xs."""
        vector = self.encoder(jnp.ravel(jnp.asarray(xs)[: self.steps]))
        return with_vector(self.model.init_state(), vector)

    def forecast(
        self, xs: ArrayLike, steps: int, *, share: ArrayLike = 1.0, key: Any = None
    ) -> Float[Array, "steps observed"]:
        """What follows xs, as `forecast` of the cell says it from the state that the first give."""
        xs = check_observed(self.model, xs, self.steps)
        start, rest = self.start(xs), xs[self.steps - 1 :]
        return self.model.forecast(rest, steps, start, share=share, key=key)


class FreeStarts(eqx.Module):
    """A forced cell, and a state of its own for the start of each segment of a series: what
    `rz.train.MultipleShooting` trains together. `rz.train.segments` makes it with its batch."""

    model: AbstractForced
    starts: Float[Array, "segments state"]

    def start(self, number: Array) -> State:
        """The state at the start of a segment."""
        return with_vector(self.model.init_state(), self.starts[number])


def with_shares(
    xs: Float[Array, "time observed"], share: float | Float[Array, " time"]
) -> Float[Array, "time forced"]:
    """Observations with the shares by which a forced cell is drawn to them: its inputs."""
    shares = jnp.broadcast_to(jnp.asarray(share, xs.dtype), (len(xs),))
    return jnp.concatenate([xs, shares[:, None]], axis=1)


def check_observed(model: AbstractForced, xs: Any, least: int) -> Array:
    """xs as an array, (time, observed) with at least so many steps."""
    xs = jnp.asarray(xs)
    if xs.ndim != 2 or xs.shape[1] != model.output_size or len(xs) < least:
        raise ValueError(
            f"expected xs of shape (time, {model.output_size}) with at least {least} steps, the "
            f"observations, got {xs.shape}"
        )
    return xs
