"""A cell over a sequence, by chunks that run side by side, and its derivative."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._common.checks import Steps
from .._engine.unstable import Tracer
from .common import How
from .levels import find
from .newton import corrections, jacobians
from .options import Chunks, Report
from .problem import Pass, Problem, cut
from .sequential import sequential


def choose_chunks(cell: Any, linear: bool, length: Any, options: Chunks) -> Any:
    """The options, or "sequential" where a sequence has one chunk; ValueError for other cells."""
    if linear:
        raise ValueError(
            f"{type(cell).__name__} has a form that is parallel over time for any weights: use "
            'method="parallel"; method="chunks" is for cells that are not linear'
        )
    if not isinstance(length, int):
        return "sequential"  # a length that an exported program leaves open
    return options if length > options.steps(length) else "sequential"


def side_by_side(cell: Any, state: Any, steps: Steps, how: How) -> tuple[tuple, Report]:
    """(final state, states, outputs) as the loop gives them, and what it took."""
    assert isinstance(how.algorithm, Chunks)
    size = how.algorithm.steps(steps.length)
    found, report = _side_by_side(cell, state, steps, how)
    return found, report._replace(size=size, chunks=-(-steps.length // size))


@eqx.filter_jit
def _side_by_side(cell: Any, state: Any, steps: Steps, how: How) -> tuple[tuple, Report]:
    assert isinstance(how.algorithm, Chunks)
    if how.reverse:
        scalar = steps.dt is not None and steps.dt.ndim == 0
        turned = jax.tree.map(lambda a: a[::-1], steps._replace(dt=None) if scalar else steps)
        steps = turned._replace(dt=steps.dt) if scalar else turned
    length, size = steps.length, how.algorithm.steps(steps.length)
    inner = how._replace(reverse=False, algorithm="sequential")
    problem = cut(cell, state, steps, size, functools.partial(_loop, how=inner))
    found, report = _found(problem, how.algorithm)

    def joined(leaf: Array) -> Array:
        leaf = leaf.reshape(-1, *leaf.shape[2:])[:length]
        return leaf[::-1] if how.reverse else leaf

    states, ys = jax.tree.map(joined, (found.states, found.ys))
    return (found.final, states, ys), lax.stop_gradient(report)


def _loop(cell: Any, state: Any, steps: Steps, how: How) -> tuple[Any, Any, Array]:
    return sequential(cell, state, steps, how)


def check_strict(cell: Any, report: Report, options: Chunks, found: Any) -> Any:
    """What was found, and with `strict` an error where chunks were left to the end.

    With the numbers where they are known; inside of a jit they are not.
    """
    if not options.strict:
        return found
    name = type(cell).__name__
    mend = 'use method="sequential", chunks of more steps, or float64'
    failed = report.level == 4
    if not isinstance(failed, Tracer):
        if failed.any():
            # A batch is shown by its worst.
            passes, wrong, joint, reruns, branches = (
                f"{np.max(np.asarray(number)):.3g}"
                for number in (
                    report.passes,
                    report.wrong,
                    report.joint,
                    report.reruns,
                    report.branches,
                )
            )
            raise RuntimeError(
                f"{name}: {wrong} of {report.chunks} chunks do not fit after {passes} passes "
                f"(largest joint {joint}, tol {options.closed(report.joint.dtype):g}, {branches} "
                f"branches in chunks of {report.size} steps), and {reruns} would run one after the "
                f"other: {mend}"
            )
        return found
    message = f"{name}: chunks do not fit, as scan.chunk_report says: {mend}"
    return eqx.error_if(found, failed, message)


@eqx.filter_custom_jvp
def _found(problem: Problem, options: Chunks) -> tuple[Pass, Report]:
    return find(problem, options)


@_found.def_jvp
def _found_jvp(primals, tangents):
    r"""By the implicit function theorem: at the true starts s,

    $$ds_{i+1} = J_i ds_i + \partial f_i,$$

    with J_i the Jacobian of chunk i and the last term what its end owes to parameters and inputs.
    """
    (problem, options), (moved, _) = primals, tangents
    found, report = _found(problem, options)
    starts = found.starts

    def from_starts(problem: Problem, starts: Array) -> Pass:
        return problem.all(starts)

    still = jnp.zeros_like(starts)
    first = _tangent(lambda p: p.first, problem, moved)
    _, own = eqx.filter_jvp(from_starts, (problem, starts), (moved, still))
    offsets = jnp.concatenate([first[None], own.ends[:-1]])
    if options.gradient == "exact":
        offsets = corrections(jacobians(problem, starts), offsets)
    _, tangent = eqx.filter_jvp(from_starts, (problem, starts), (moved, offsets))
    return (found, report), (tangent._replace(starts=offsets), _none(report))


def _tangent(function: Callable, problem: Problem, moved: Problem) -> Array:
    value, tangent = eqx.filter_jvp(function, (problem,), (moved,))
    return jnp.zeros_like(value) if tangent is None else tangent


def _none(report: Report) -> Any:
    return jax.tree.map(lambda x: jnp.zeros_like(x) if eqx.is_inexact_array(x) else None, report)
