"""Cells that are given features of which some are missing."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._common.checks import check_choice, check_positive
from .._common.dtypes import working_dtype
from .._common.fixed import Fixed
from ..base import AbstractCell, check_cell
from ..cells.missing import checked_means


FILLS = ("forward", "mean", "decay")


class ImputedState(NamedTuple):
    """The state of the cell inside; of each feature the value that was last seen and the time
    since then, (input,), or None where the wrapper has no use for it."""

    inner: Any
    x_last: Float[Array, " input"] | None
    age: Float[Array, " input"] | None


class Imputed(AbstractCell):
    r"""Any cell for features that are missing at times: NaN in x is a feature not seen.

    With m = 1 where a feature was seen, $\delta$ = age + dt the time since it was seen before this
    step, and $\bar x$ the `mean`, the cell reads

    $$\hat x = m\,x + (1 - m) \begin{cases} x_{last} & \text{fill = "forward"} \\
    \bar x & \text{"mean"} \\
    \gamma\,x_{last} + (1 - \gamma)\,\bar x, \quad \gamma = e^{-\max(0, w \delta + b)}
    & \text{"decay"} \end{cases}$$

    and behind it m with `mask`, and $\delta$ with `age`: [x, m, delta], so that its `input_size` is
    two or three times that of the wrapper. These are the inputs of the baselines "forward", "mean"
    and "simple" and of the input decay of Che et al. 2018 (arXiv:1606.01865), whose cell is
    `rz.cells.GRUDCell`.

    State: `ImputedState(inner, x_last, age)`; at the start x_last is the mean and age 0. It is
    carried like any other state, so that chunks, masked steps and resets are exact: in a masked
    step nothing is seen and no time passes, and after a reset nothing was ever seen. Timed where
    the cell inside is, or where `age` or "decay" count time; dt without any of them is refused.
    Stochastic as the cell inside; never linear, since what was last seen depends on what is
    missing. w and b train, one of each for a feature, from `decay` and 0 on; the mean does not.

    NaN belongs to the inputs of this wrapper alone: nothing may mix features in front of it, and
    infinite values are not taken for missing. $\delta$ goes to the cell as it is: give times in a
    unit in which gaps are near 1.
    """

    cell: Any
    mean: Fixed
    decay: Float[Array, " input"] | None
    bias_decay: Float[Array, " input"] | None
    fill: str = eqx.field(static=True)
    mask: bool = eqx.field(static=True)
    age: bool = eqx.field(static=True)

    def __init__(
        self,
        cell: AbstractCell,
        fill: str = "forward",
        *,
        mask: bool = True,
        age: bool = True,
        mean: Any = 0.0,
        decay: float = 0.1,
    ):
        """`mean`: one number or one for each feature; `decay` above 0: where w starts.

        **Raises:** ValueError for another `fill`, for a cell whose `input_size` is no multiple of
        the 1 to 3 numbers for each feature, for a mean or a decay that does not fit.
        """
        check_cell(cell)
        self.fill = check_choice("fill", fill, FILLS)
        self.mask, self.age = bool(mask), bool(age)
        each = 1 + self.mask + self.age
        if cell.input_size % each:
            raise ValueError(
                f"expected a cell with {each} inputs for each feature, {self._reads()}: an "
                f"input_size that is a multiple of {each}, got {type(cell).__name__} with "
                f"{cell.input_size}"
            )
        size, dtype = cell.input_size // each, working_dtype(cell, 0.0)
        self.cell = cell
        self.mean = Fixed(jnp.asarray(checked_means("mean", mean, size), dtype))
        rate = check_positive("decay", decay)
        decays = fill == "decay"
        self.decay = jnp.full(size, rate, dtype) if decays else None
        self.bias_decay = jnp.zeros(size, dtype) if decays else None

    @property
    def input_size(self) -> int:
        return self.cell.input_size // (1 + self.mask + self.age)

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed or self._counts

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    @property
    def takes_missing(self) -> bool:
        """Whether NaN in x is a missing value."""
        return True

    @property
    def _counts(self) -> bool:
        return self.age or self.fill == "decay"

    def _reads(self) -> str:
        parts = ["x", *["m"] * self.mask, *["delta"] * self.age]
        return f"[{', '.join(parts)}]"

    def init_state(self) -> ImputedState:
        mean = self.mean.value
        last = None if self.fill == "mean" else mean
        return ImputedState(
            self.cell.init_state(), last, jnp.zeros_like(mean) if self._counts else None
        )

    def constants(self) -> Any:
        """Those of the cell."""
        return self.cell.constants()

    def equation(
        self,
        c: Any,
        state: ImputedState,
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
        *,
        key: Any = None,
    ) -> tuple[ImputedState, Array]:
        """The step of the cell, on what is known of x."""
        seen = ~jnp.isnan(x)
        delta = None if state.age is None else state.age + jnp.asarray(dt, state.age.dtype)
        # Chosen before anything is multiplied: 0 times NaN is NaN, in gradients as well.
        known = jnp.where(seen, x, self._guess(state.x_last, delta))
        read = [known, *[seen.astype(x.dtype)] * self.mask, *[delta] * self.age]
        inner, y = self.cell.advance(c, state.inner, jnp.concatenate(read), dt, key)
        last = None if state.x_last is None else jnp.where(seen, x, state.x_last)
        age = None if delta is None else jnp.where(seen, jnp.zeros_like(delta), delta)
        return ImputedState(inner, last, age), y

    def _guess(self, last: Any, delta: Any) -> Array:
        if self.fill == "mean":
            return self.mean.value
        if self.fill == "forward":
            return last
        gamma = jnp.exp(-jax.nn.relu(self.decay * delta + self.bias_decay))
        return gamma * last + (1 - gamma) * self.mean.value
