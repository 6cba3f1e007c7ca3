"""A cell over time, in one or in both directions."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from .._common.checks import Steps, check_choice, check_parts, check_steps
from .._common.dtypes import half_as, working_dtype
from .._common.keys import spread_keys
from .._engine import across_devices
from ..base import AbstractCell, State, check_cell
from ..scan import Chunks, resolve_method, unroll
from ..wrappers.base import AbstractTransparentWrapper
from .base import AbstractLayer, Directions, timed_only
from .one_call import run_by_cudnn


class Recurrent(AbstractTransparentWrapper, AbstractLayer):
    """A cell run over a sequence; a layer and a cell."""

    cell: Any
    method: str | Chunks = eqx.field(static=True)
    remat: int | str | None = eqx.field(static=True)
    mesh_axis: str | None = eqx.field(static=True)

    def __init__(
        self,
        cell: Any,
        *,
        method: str | Chunks = "auto",
        remat: int | str | None = None,
        mesh_axis: str | None = None,
    ):
        """Any cell, or a layer that steps. `method`, `remat` and `mesh_axis` as in
        `rz.scan.unroll`.

        TypeError for what is not a cell, ValueError for a method that the cell lacks.
        """
        self.cell = _checked(cell, method, remat)
        self.method = method
        self.remat = remat
        self.mesh_axis = mesh_axis

    def directions(self, before: Directions = ()) -> Directions:
        return ((0, self.output_size, False),)

    def init_state(self) -> State:
        return self.cell.init_state()

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
        """`rz.scan.unroll` of the cell."""
        return unroll(
            self.cell,
            xs,
            state,
            dt=dt,
            mask=mask,
            reset=reset,
            key=key,
            method=self.method,
            remat=self.remat,
            mesh_axis=self.mesh_axis,
        )


class Backward(AbstractLayer):
    """A cell run over a sequence from its end; outputs stay in input order.

    A layer only: what it says of the first step it knows last, so there is no `step`.
    """

    cell: Any
    method: str | Chunks = eqx.field(static=True)
    remat: int | str | None = eqx.field(static=True)
    mesh_axis: str | None = eqx.field(static=True)

    def __init__(
        self,
        cell: Any,
        *,
        method: str | Chunks = "auto",
        remat: int | str | None = None,
        mesh_axis: str | None = None,
    ):
        """As `Recurrent`."""
        self.cell = _checked(cell, method, remat)
        self.method = method
        self.remat = remat
        self.mesh_axis = mesh_axis

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def timed(self) -> bool:
        return self.cell.timed

    @property
    def stochastic(self) -> bool:
        return self.cell.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        return ((0, self.output_size, True),)

    def init_state(self) -> State:
        return self.cell.init_state()

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
        """`rz.scan.unroll(cell, ..., reverse=True)`."""
        return unroll(
            self.cell,
            xs,
            state,
            dt=dt,
            mask=mask,
            reset=reset,
            reverse=True,
            key=key,
            method=self.method,
            remat=self.remat,
            mesh_axis=self.mesh_axis,
        )


def _checked(cell: Any, method: str | Chunks, remat: int | str | None) -> AbstractCell:
    check_cell(cell)
    resolve_method(cell, method, 1, remat)
    return cell


MERGES = ("concat", "sum")


class Bidirectional(AbstractLayer):
    """Two cells over a sequence, one from each end; their outputs side by side, forward first,
    or with `merge="sum"` added.

    A layer only: its state is the pair (forward, backward), of which the second belongs to
    the start of the sequence, so chunks do not give what the whole gives, and there is no
    `step`. `reset` marks the first step of each document in input order; the backward cell
    starts anew at each document's last step.
    """

    forward: Recurrent
    backward: Backward
    merge: str = eqx.field(static=True)

    def __init__(self, forward: Any, backward: Any, *, merge: str = "concat"):
        """Two cells (or layers that step) of one input size, and with `merge="sum"` of one output
        size; `merge` is "concat" or "sum". ValueError otherwise."""
        check_cell(forward)
        check_cell(backward)
        if forward.input_size != backward.input_size:
            raise ValueError(
                "expected two cells of one input_size, got "
                f"{forward.input_size} and {backward.input_size}"
            )
        self.merge = check_choice("merge", merge, MERGES)
        sizes = forward.output_size, backward.output_size
        if merge == "sum" and len(set(sizes)) > 1:
            raise ValueError(
                f'expected two cells of one output_size for merge="sum", got {sizes[0]} and '
                f'{sizes[1]}: merge="concat" takes any two'
            )
        self.forward = Recurrent(forward)
        self.backward = Backward(backward)

    @property
    def input_size(self) -> int:
        return self.forward.input_size

    @property
    def output_size(self) -> int:
        size = self.forward.output_size
        return size if self.merge == "sum" else size + self.backward.output_size

    @property
    def timed(self) -> bool:
        return self.forward.timed or self.backward.timed

    @property
    def stochastic(self) -> bool:
        return self.forward.stochastic or self.backward.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        split = self.forward.output_size
        if self.merge == "sum":
            return ((0, split, False), (0, split, True))
        return ((0, split, False), (split, self.output_size, True))

    def init_state(self) -> State:
        return (self.forward.init_state(), self.backward.init_state())

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
        """The pair of final states, and (time, output_size) outputs."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        before = check_parts(state, 2, "Bidirectional")
        if across_devices.outside(steps.length):
            return across_devices.in_parts(_both, (self, before), steps)
        return self._both(before, steps)

    def _both(self, before: tuple, steps: Steps) -> tuple[State, Array]:
        keys = spread_keys(steps.key, 2)
        if self.merge == "concat":
            found = run_by_cudnn([(self.forward, self.backward)], before, steps)
            if found is not None:
                return tuple(found[0]), found[1]
        ended = steps.reset
        if ended is not None:
            ended = _ends(ended)
        # Rounded once, at the end.
        xs = steps.x.astype(working_dtype(self, steps.x))
        after, outputs = [], []
        for i, (part, flags) in enumerate([(self.forward, steps.reset), (self.backward, ended)]):
            final, ys = part.scan(
                xs,
                before[i],
                dt=timed_only(part, steps.dt),
                mask=steps.mask,
                reset=flags,
                key=keys[i],
            )
            after.append(final)
            outputs.append(ys)
        both = outputs[0] + outputs[1] if self.merge == "sum" else jnp.concatenate(outputs, axis=-1)
        return tuple(after), half_as(steps.x, both)


def _both(whole: tuple, steps: Steps) -> tuple[State, Array]:
    layer, before = whole
    return layer._both(before, steps)


def _ends(reset: Array) -> Array:
    """The last step of each document: it ends where the next begins.

    A state that is given belongs to the last one of all.
    """
    after = jnp.zeros((1,), bool)
    axis = across_devices.inside()
    if axis is not None:
        after = across_devices.handed_on(reset[:1], axis, reverse=True)
    return jnp.concatenate([reset[1:], after])[: len(reset)]
