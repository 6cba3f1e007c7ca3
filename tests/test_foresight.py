"""What chunks will take, said beforehand, for networks whose memory is known."""

import jax
import jax.numpy as jnp
import pytest
from cases import draw, float64
from test_chunks import Adding, Beside, Chaotic, FlipFlop, Toggle, pulses, signs

import rnn_zoo as rz
from rnn_zoo.dynamics import parallel_plan
from rnn_zoo.scan import Chunks, chunk_report


def test_it_is_what_happens():
    with float64() as dtype:
        forgets = rz.make_cell("gru", 3, 4, key=jax.random.key(0), dtype=dtype)
        known = {
            "forgets": (forgets, draw(0, (40 * 64, 3)), 0),
            "one of two": (Toggle(jnp.array(3.0)), jnp.asarray(signs(40 * 64, 0.3)), 1),
        }
        for cell, xs, level in known.values():
            plan, options = parallel_plan(cell, xs, chunks=Chunks(64)), Chunks(64)
            report = chunk_report(cell, xs, method=options)
            assert plan.level == report.level == level
            assert abs(plan.passes - int(report.passes)) <= 1
            assert plan.steps_in_a_row == 64 * plan.passes
            assert plan.exponent < 0


def test_branches_are_counted():
    with float64():
        plan = parallel_plan(FlipFlop(jnp.array(3.0)), pulses(64 * 32, 0.002), chunks=Chunks(32))
        assert plan.branches_after[256] == 8
        assert plan.forgetting_steps is None
        assert "keeps one of 8 things" in plan.verdict


def test_what_is_small_counts_beside_what_is_large():
    """A bit beside a number of a million, and a sum."""
    state, xs = (jnp.full(1, 1e6), jnp.full(1, 0.5)), jnp.zeros((512, 1))
    plan = parallel_plan(Beside(jnp.array(2e-3), False), xs, state, chunks=Chunks(16))
    assert (plan.level, plan.forgetting_steps) == (1, None)
    plan = parallel_plan(Beside(jnp.array(2e-3), True), jnp.ones((512, 1)), chunks=Chunks(16))
    assert plan.level == 3  # as test_chunks.py sees it


def test_what_happens_late_is_foreseen():
    """Bits that are turned over from the middle on; before there is nothing to remember."""
    with float64():
        late = jnp.concatenate([jnp.ones((64 * 32, 1)), jnp.asarray(signs(64 * 32, 0.3))])
        assert parallel_plan(Toggle(jnp.array(3.0)), late, chunks=Chunks(32)).level == 1


@pytest.mark.slow
def test_units_that_do_not_mix_are_solved_by_steps():
    cell = rz.make_cell("unicornn", 2, 3, delta=0.2, key=jax.random.key(0))
    plan = parallel_plan(cell, jnp.ones((1024, 2)))
    assert (plan.level, plan.forgetting_steps) == (3, None)
    assert plan.verdict.startswith("its units do not mix")


def test_chaos_is_left_to_the_loop():
    with float64():
        plan = parallel_plan(Chaotic(jnp.array(4.0)), jnp.ones((1024, 1)))
        assert plan.level == 4
        assert plan.branches_after[64] > 8
        assert plan.verdict.endswith('use method="sequential"')


def test_a_sum_is_left_to_newton():
    """It forgets nothing, and no branches merge; but it is as good as linear."""
    with float64():
        cell, xs = Adding(jnp.array(0.002)), jnp.ones((512, 1))
        plan, report = parallel_plan(cell, xs), chunk_report(cell, xs)
        assert (plan.level, plan.passes) == (report.level, report.passes) == (3, plan.passes)
        assert plan.branches_after[64] > 8


def test_errors():
    xs = jnp.ones((64, 3))
    with pytest.raises(ValueError, match='use method="parallel"'):
        parallel_plan(rz.make_cell("lru", 3, 4, key=jax.random.key(0)), xs)
    dropped = rz.Zoneout(rz.make_cell("gru", 3, 4, key=jax.random.key(0)), 0.1)
    with pytest.raises(TypeError, match="is random"):
        parallel_plan(dropped, xs)
