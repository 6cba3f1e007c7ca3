"""A reservoir with a linear readout that is fitted in closed form."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.activations import portable
from .._common.checks import Steps, check_sizes, check_steps
from .._common.dtypes import half_as, working_dtype
from .._common.numbers import exactly
from ..base import State, replace, restart
from ..layers.base import AbstractLayer, Directions, hide, mixed, require_step
from ..layers.pooling import check_pool, pool_over_time
from ..layers.stacked import as_layer
from . import readouts as _readouts
from .model_space import ModelSpace
from .online import AbstractOnlineRule, RecursiveLeastSquares
from .ridge import NormalEquations


Sequences = ArrayLike | Sequence[Any]
POOLS = ("last", "mean", "model_space", None)


class EchoStateNetwork(AbstractLayer):
    r"""A fixed layer and a linear readout: $y = W_{out}\, \phi([h, x]) + b$.

    `layer` is any cell or layer, an `EchoStateCell` first of all; a `Cascade` of several is a deep
    reservoir, and a `Parallel` is one with several side by side. The readout sees the outputs of
    the layer, with `include_input` the inputs too, and both through `features` $\phi$ where a
    function is given (`half_squares` is one).

    `pool` says what the readout reads. With None there is an output for each step, and the network
    streams: `step(state, x)`. With "last" or "mean" there is one output for a sequence, from its
    valid steps. With "model_space", or a `ModelSpace`, the readout reads the linear model that
    predicts the next state of the sequence.

    `fit_readout` returns a network with the readout, an `eqx.nn.Linear`; without one a call is
    a RuntimeError. The layer itself is not touched: an `EchoStateCell` and what `as_reservoir`
    gives do not train under any optimiser, other cells do if you let them.

    Jaeger (2001), "The echo state approach"; Lukosevicius (2012), "A practical guide to
    applying echo state networks".
    """

    layer: Any
    readout: eqx.nn.Linear | None
    space: ModelSpace | None
    pool: str | None = eqx.field(static=True)
    features: Callable[[Array], Array] | None = eqx.field(static=True, converter=portable)
    include_input: bool = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        layer: Any,
        output_size: int,
        *,
        pool: Any = None,
        include_input: bool = False,
        features: Callable[[Array], Array] | None = None,
    ):
        """ValueError for another pool, or a size below 1; TypeError for what is no layer."""
        check_sizes(output_size=output_size)
        self.layer = as_layer(layer)
        self.readout = None
        self.space = pool if isinstance(pool, ModelSpace) else None
        name = "model_space" if isinstance(pool, ModelSpace) else check_pool(pool, POOLS)
        if pool == "model_space":
            self.space = ModelSpace()
        self.pool, self.features, self.include_input = name, features, include_input
        self.output_size = output_size

    @property
    def input_size(self) -> int:
        return self.layer.input_size

    @property
    def timed(self) -> bool:
        return self.layer.timed

    @property
    def stochastic(self) -> bool:
        return self.layer.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(self.layer.directions(before), self.output_size)

    def init_state(self) -> State:
        return self.layer.init_state()

    def with_readout(self, readout: eqx.nn.Linear) -> "EchoStateNetwork":
        """The network with this readout."""
        return replace(self, readout=readout)

    def step(
        self,
        state: State,
        x: Array,
        dt: ArrayLike | None = None,
        *,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """One step of a network without pooling, from `init_state()` where `reset` is True;
        TypeError with a pool."""
        if self.pool is not None:
            raise TypeError(f'pool="{self.pool}" needs the whole sequence and cannot step')
        state = restart(self, state, reset)
        state, r = self.step_features(state, x, dt, key=key)
        return state, half_as(x, self._readout()(r))

    def step_features(
        self, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step: the state after it, and what the readout sees."""
        require_step(self.layer)
        steps = check_steps(self, exactly("x", x)[None], dt, None, None, None)
        x = steps.x[0].astype(working_dtype(self, steps.x))
        state, h = self.layer.advance(self.layer.constants(), state, x, dt, key)
        return state, self._seen(h, x)

    def scan(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The final state, and what the readout gives: per step, or one vector with a pool."""
        readout = self._readout()
        steps = check_steps(self, xs, dt, mask, reset, key)
        state, rs = self.scan_features(steps, state)
        if self.pool is None:
            return state, hide(steps.mask, half_as(steps.x, jax.vmap(readout)(rs)))
        return state, half_as(steps.x, readout(self.pooled(rs, steps)))

    def scan_features(self, steps: Steps, state: Any) -> tuple[State, Array]:
        """The final state, and what the readout sees, (time, features); zero where masked."""
        xs = hide(steps.mask, steps.x.astype(working_dtype(self, steps.x)))
        state, hs = self.layer.scan(
            xs, state, dt=steps.dt, mask=steps.mask, reset=steps.reset, key=steps.key
        )
        return state, hide(steps.mask, jax.vmap(self._seen)(hs, xs))

    def pooled(self, rs: Float[Array, "time features"], steps: Steps) -> Float[Array, " pooled"]:
        """One vector from what the readout would see at each step."""
        if self.space is not None:
            return self.space(rs, steps.mask)
        assert self.pool is not None
        return pool_over_time(self.pool, self._ends(rs.shape[-1]), rs, steps)

    def fit_readout(
        self,
        xs: Sequences,
        ys: Sequences,
        *,
        ridge: ArrayLike = 1e-6,
        washout: int = 0,
        dt: Sequences | None = None,
        mask: Sequences | None = None,
        reset: Sequences | None = None,
        key: Any = None,
    ) -> "EchoStateNetwork":
        r"""The network with the readout of least $\sum |y - \hat y|^2 + \lambda |W_{out}|^2$.

        - `xs`: (batch, time, input_size), or (time, input_size) for one sequence, or a list of
          (time, input_size) that differ in length, and lists in the other arguments.
        - `ys`: targets (batch, time, output_size), or (time, output_size); with a pool one per
          sequence, (batch, output_size), or integer labels (batch,), fitted as 0 and 1. NaN: this
          target was not observed, and its step is left out for this output alone.
        - `ridge` $\lambda$ > 0 belongs to the sum over all samples; the bias is not penalised.
        - `washout`: so many valid steps at each start, and after each reset, have no target.
        - `dt`, `mask`, `reset`: (batch, time), or (time,) for one sequence; `dt` may be a scalar.
          Sequences of different length may also come padded, with a mask.

        The equations are solved in float64 by Cholesky's factorisation, whatever the program runs
        in. They are summed up in chunks of time, so the states of a sequence are never held at
        once. Fitting works under `jit` and `vmap`: a grid of settings is one `vmap` over building,
        fitting and scoring. For many penalties take `normal_equations(...).path(penalties)`.

        ValueError or TypeError for shapes or dtypes that do not fit, and, where values are known,
        for xs and dt that are not finite at a valid step, infinite targets, no step to learn from
        and a readout that is not finite. Where they are traced, no step to learn from and a step
        with some of its targets missing are runtime errors, and the rest shows as NaN.
        """
        network = self
        if self.space is not None:
            network = replace(self, space=_readouts.fit_space(self, xs, dt, mask, reset, key))
        equations = network.normal_equations(
            xs, ys, washout=washout, dt=dt, mask=mask, reset=reset, key=key
        )
        if self.pool is None:
            _readouts.check_some(equations, xs, washout)
        dtype = working_dtype(self, jnp.zeros(()))
        return network.with_readout(equations.solve(ridge, dtype=dtype))

    def normal_equations(
        self,
        xs: Sequences,
        ys: Sequences,
        *,
        washout: int = 0,
        dt: Sequences | None = None,
        mask: Sequences | None = None,
        reset: Sequences | None = None,
        key: Any = None,
    ) -> NormalEquations:
        """The equations of the readout over these sequences; those of more add up with `+`.

        The arguments are those of `fit_readout`. `equations.solve(ridge)` and
        `equations.path(ridges)` give readouts for `with_readout`. ValueError for a model space that
        has no basis yet.
        """
        return _readouts.normal_equations(self, xs, ys, washout, dt, mask, reset, key)

    def fit_online(
        self,
        xs: ArrayLike,
        ys: ArrayLike,
        *,
        rule: AbstractOnlineRule | None = None,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple["EchoStateNetwork", Float[Array, "time outputs"]]:
        """The network after one sequence that it learned from step by step, and what it said.

        The inputs xs are (time, input_size), the targets ys (time, output_size); `rule` is
        `RecursiveLeastSquares()` by default. Each output is given before its target is seen.
        Learning begins with the readout that the network has, or with zeros. A masked step
        teaches nothing, and a target that is NaN teaches its own output nothing. ValueError for
        xs that are not finite at a valid step.
        """
        rule = RecursiveLeastSquares() if rule is None else rule
        steps = check_steps(self, xs, dt, mask, reset, key)
        return _readouts.fit_online(self, rule, steps, ys, feedback=False)

    def fit_force(
        self,
        ys: ArrayLike,
        xs: ArrayLike | None = None,
        *,
        rule: AbstractOnlineRule | None = None,
        dt: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple["EchoStateNetwork", Float[Array, "time outputs"]]:
        """FORCE learning (Sussillo & Abbott 2009): it learns while it reads its own outputs.

        It is `fit_online` with the network's last output (zeros at first) as its first
        `output_size` inputs. `xs`, (time, input_size - output_size), are the inputs behind those;
        they are None where there are none. `rz.Autoregressive` runs the result on.
        """
        rule = RecursiveLeastSquares() if rule is None else rule
        steps = _readouts.with_own_output(self, ys, xs, dt, key)
        return _readouts.fit_online(self, rule, steps, ys, feedback=True)

    def _readout(self) -> eqx.nn.Linear:
        if self.readout is None:
            raise RuntimeError(
                "this network has no readout yet: network = network.fit_readout(xs, ys)"
            )
        return self.readout

    def _seen(self, h: Array, x: Array) -> Array:
        r = jnp.concatenate([h, x]) if self.include_input else h
        return r if self.features is None else self.features(r)

    def _ends(self, size: int) -> Directions:
        """Features of a plain layer end where its outputs end; mixed ones at both ends."""
        ends = self.layer.directions()
        if self.features is None and not self.include_input:
            return ends
        return mixed(ends, size)


def half_squares(r: Float[Array, " size"]) -> Float[Array, " size"]:
    """Square every second entry: such features break the symmetry of an odd reservoir.

    Lu et al. (2017) and Pathak et al. (2018) use them for chaotic flows such as Lorenz's.
    """
    return jnp.where(jnp.arange(r.shape[0]) % 2 == 0, r * r, r)
