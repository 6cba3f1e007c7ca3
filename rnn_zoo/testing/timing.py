"""Laws of a physical time: what a `dt` means."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..scan import unroll
from .comparing import assert_close, same, within
from .law import law, require
from .subject import TIME, Subject, draw, float64, inputs, keyed, methods, random_state


DEFAULT = "give dt behind x, with the default 1.0, def step(self, state, x, dt=1.0), and use it"


@eqx.filter_jit
def over(cell: Any, state: Any, x: Any, dt: Any, keywords: dict[str, Any]) -> tuple[Any, ...]:
    """Steps without a time, over 1, and over dt by place and by name: one program for all times."""
    one, other = cell.step(state, x, **keywords), cell.step(state, x, 1.0, **keywords)
    return one, other, cell.step(state, x, dt, **keywords), cell.step(state, x, dt=dt, **keywords)


@law("time", "timed", mend=DEFAULT)
def dt_defaults_to_one_nominal_step(subject: Subject) -> None:
    """Without a dt it is 1.0, by place and by name it is one thing, and it changes the outputs."""
    cell = subject.cell()
    state, x = random_state(cell, 1), draw(2, (cell.input_size,))
    one, two, half, named = over(cell, state, x, np.float32(0.5), keyed(cell))
    require(same(one, two), f"a step without dt is not the step over 1.0: y {one[1]} and {two[1]}")
    require(same(half, named), "dt by name is not dt by place")
    require(not _near(one, half), "neither state nor output depends on dt")
    whole = over(cell, state, x, np.float32(1.0), keyed(cell))[2]
    np.testing.assert_allclose(one[1], whole[1], rtol=1e-5, atol=1e-6)


def _near(one: Any, two: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two))
    return all(np.allclose(a, b) for a, b in pairs)


@law("time", "timed", mend=DEFAULT)
def scalar_dt_equals_a_constant_dt(subject: Subject) -> None:
    """One dt for all steps is that dt for each, and 1.0 is none."""
    cell = subject.cell()
    xs, state, keywords = inputs(cell)
    keywords.pop("dt")
    for method in methods(cell):
        scalar = unroll(cell, xs, state, dt=0.7, method=method, **keywords)
        array = unroll(cell, xs, state, dt=jnp.full(TIME, 0.7), method=method, **keywords)
        assert_close(scalar, array, 1e-6)
        one = unroll(cell, xs, state, dt=1.0, method=method, **keywords)
        assert_close(one, unroll(cell, xs, state, method=method, **keywords), 1e-6)


@law(
    "time",
    "timed",
    "holds",
    mend="let what moves the state be a multiple of dt, or one minus a decay over dt: over no time "
    "nothing moves; where an observation makes the state jump, say holds=False",
)
def dt_zero_holds_the_state(subject: Subject) -> Any:
    """A step over no time leaves the state as it is. Unless it is said, a finding and no law."""
    cell = subject.cell()
    state, x = random_state(cell, 1), draw(2, (cell.input_size,))
    held, _ = over(cell, state, x, np.float32(0.0), keyed(cell))[2]
    if subject.holds is None:
        return f"a step over dt = 0 {'holds' if same(held, state) else 'changes'} the state"
    assert_close(held, state, 0)
    return None


@law(
    "time",
    "timed",
    "halves",
    "steady",
    mend="integrate exactly over dt with the input held, so that h(a + b) is h(b) after h(a): a "
    "decay is exp(-dt / tau), not 1 - dt / tau; where the scheme is an approximation, say "
    "halves=False",
)
def two_halves_are_one_whole(subject: Subject) -> Any:
    """Two steps over parts of a time are one over all. Unless it is said, a finding."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        state, x = random_state(cell, 1), draw(2, (cell.input_size,))
        passed = [np.float64(share) for share in (0.3, 0.9, 1.2)]
        first = over(cell, state, x, passed[0], {})[2][0]
        twice = over(cell, first, x, passed[1], {})[2][0]
        whole = over(cell, state, x, passed[2], {})[2][0]
        try:
            assert_close(twice, whole, within(cell, 1e-9))
        except AssertionError as error:
            if subject.halves is None:
                return f"steps over 0.3 and 0.9 are not one over 1.2: {error}"
            raise
    return None if subject.halves else "steps over 0.3 and 0.9 are one over 1.2"
