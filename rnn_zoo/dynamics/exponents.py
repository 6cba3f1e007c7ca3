"""How fast neighbours part: Lyapunov exponents along a trajectory."""

import operator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from .._common.checks import Steps, check_sizes
from .._common.vectors import state_vector
from ..base import AbstractCell, State
from ..wrappers.held import hold
from .maps import checked, push


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """What `lyapunov` found: `exponents`, largest first, and `errors`, of one standard deviation.

    The errors are those of a mean over blocks of the run, so they hold where a block is longer
    than the memory of the motion.
    """

    exponents: np.ndarray
    errors: np.ndarray

    @property
    def dimension(self) -> float:
        """The dimension of Kaplan and Yorke, `kaplan_yorke` of the exponents."""
        return kaplan_yorke(self.exponents)

    def __repr__(self) -> str:
        shown = [f"{e:.4g} +- {s:.1g}" for e, s in zip(self.exponents[:4], self.errors)]
        more = ", ..." if len(self.exponents) > 4 else ""
        return f"LyapunovSpectrum({', '.join(shown)}{more}; dimension {self.dimension:.3g})"


def lyapunov_spectrum(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    count: int | None = None,
    washout: int = 0,
    every: int = 1,
    key: Any = None,
) -> Array:
    r"""The `count` largest Lyapunov exponents along a trajectory, largest first.

    $$J_t Q_{t-1} = Q_t R_t, \qquad
    \lambda_i = \frac{1}{\sum_t \Delta t_t} \sum_t \log |(R_t)_{ii}|$$

    The QR method of Benettin et al. (1980, doi:10.1007/BF02128236): an orthonormal frame
    follows the derivative of the flow and is made orthonormal again after every step. A
    positive exponent is chaos; all negative: the state forgets where it began, at
    least as fast as exp(lambda_1 t).

    **Arguments:** those of `scan.unroll` (for an autonomous system zeros as `xs`), and

    - `count`: how many exponents, all n by default; fewer never form the Jacobian.
    - `washout`: steps at the start that are run and not averaged, in which the state comes
      to the attractor and the frame, random at first, to its directions.

    - `every`: steps between two QR decompositions, which take most of the time of large states.
      A frame pushed through k steps is told apart within the precision of the dtype only where
      exp(k (lambda_1 - lambda_i)) is: for the upper exponents, or moderate spectra.

    The unit is that of `dt`: exponents are per elapsed time for a timed cell, per step
    for the others. The error falls like 1 / time for regular motion and 1 / sqrt(time)
    for chaos: double the length to see it. A direction that one step shrinks, against the
    largest, beyond the precision of the dtype has an exponent of rounding only: very
    negative, or -inf. `jax.enable_x64(True)` around the making and the running of the cell
    gives float64.

    **Raises:** as `scan.unroll`; ValueError for a `count` not in [1, n] or a `washout`
    that leaves no step. A `dt` whose sum is not positive is a runtime error.
    """
    growth, time = _grown(cell, xs, state, dt, key, (count, washout, every))
    return jnp.sort(growth.sum(axis=0) / time)[::-1]


def lyapunov(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    count: int | None = None,
    washout: int = 0,
    every: int = 1,
    blocks: int = 10,
    key: Any = None,
) -> LyapunovSpectrum:
    """`lyapunov_spectrum` with its errors, from the means of `blocks` parts of the run.

    Arguments and errors as there, but on the host, so not under jit; ValueError for fewer than two
    blocks or more blocks than decompositions.
    """
    growth, elapsed = _grown(cell, xs, state, dt, key, (count, washout, every))
    time = float(np.asarray(elapsed))
    check_sizes(blocks=blocks)
    growth = np.asarray(growth, np.float64)
    if not 2 <= blocks <= len(growth):
        raise ValueError(
            f"expected blocks in [2, {len(growth)}], the decompositions of this run, got {blocks}"
        )
    parts = np.array_split(growth, blocks)
    rates = np.stack([part.mean(axis=0) for part in parts]) * len(growth) / time
    exponents = growth.sum(axis=0) / time
    order = np.argsort(-exponents, kind="stable")
    errors = rates.std(axis=0, ddof=1) / np.sqrt(blocks)
    return LyapunovSpectrum(exponents[order], errors[order])


def kaplan_yorke(exponents: Any) -> float:
    r"""The dimension of an attractor from its Lyapunov exponents.

    $$D = k + \frac{\lambda_1 + \dots + \lambda_k}{|\lambda_{k+1}|}$$

    with the largest k for which the sum is not negative: 0 where all are negative, n where the sum
    of all is not. Kaplan and Yorke (1979, doi:10.1007/BFb0064319). ValueError for exponents that
    are not a row of finite numbers or minus infinity.
    """
    values = np.asarray(exponents, np.float64)
    if values.ndim != 1 or not values.size or np.isnan(values).any() or (values == np.inf).any():
        raise ValueError(f"expected a row of exponents without NaN and infinity, got {values}")
    values = np.sort(values)[::-1]
    sums = np.cumsum(values)
    k = int(np.sum(sums >= 0))
    if k == len(values):
        return float(k)
    return k + (float(sums[k - 1]) / abs(float(values[k])) if k else 0.0)


def _grown(
    cell: Any, xs: Any, state: Any, dt: Any, key: Any, sizes: tuple[int | None, int, int]
) -> tuple[Float[Array, "steps count"], ArrayLike]:
    """What the frame grew by, in logarithms, after the washout, and the time in which it did."""
    count, washout, every = sizes
    steps, state = checked(cell, xs, state, dt, key)
    size = state_vector(state).shape[0]
    count = size if count is None else operator.index(count)
    washout = operator.index(washout)
    if not 1 <= count <= size:
        raise ValueError(f"expected count in [1, {size}], the size of the state, got {count}")
    if not 0 <= washout < steps.length:
        raise ValueError(
            f"expected washout in [0, {steps.length}), less than the steps of xs, got {washout}"
        )
    check_sizes(every=every)
    settled = (np.arange(steps.length) + 1 - washout) % every == 0
    settled[[-1, washout - 1]] = True
    growth = _follow(cell, state, steps, jnp.asarray(settled), count)
    counted = np.flatnonzero(settled)
    return growth[counted[counted >= washout]], _elapsed(steps, washout)


@eqx.filter_jit
def _follow(
    cell: AbstractCell, state: State, steps: Steps, settled: Array, count: int
) -> Float[Array, "steps count"]:
    cell = hold(cell)

    def body(carry, now: tuple[Steps, Array]):
        state, frame = carry
        at, settle = now
        after, pushed = push(cell, state, frame, at)
        frame, growth = lax.cond(settle, _orthonormal, _kept, pushed)
        return (after, frame), growth

    vector = state_vector(state)
    # Axes as the frame would never leave the subspaces of a cell with independent units.
    frame = jnp.linalg.qr(jr.normal(jr.key(0), (vector.shape[0], count), vector.dtype))[0]
    return lax.scan(body, (state, frame), (steps, settled))[1]


def _orthonormal(frame: Float[Array, "n k"]) -> tuple[Float[Array, "n k"], Float[Array, " k"]]:
    frame, r = jnp.linalg.qr(frame)
    return frame, jnp.log(jnp.abs(jnp.diagonal(r)))


def _kept(frame: Float[Array, "n k"]) -> tuple[Float[Array, "n k"], Float[Array, " k"]]:
    return frame, jnp.zeros(frame.shape[1], frame.dtype)


def _elapsed(steps: Steps, washout: int) -> ArrayLike:
    if steps.dt is None:
        return steps.length - washout
    time = steps.dt[washout:].sum()
    return eqx.error_if(time, ~(time > 0), "exponents per time need a dt with a positive sum")
