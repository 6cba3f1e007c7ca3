"""A cell over a sequence, by chunks that run side by side, and its derivative."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, PartitionSpec, auto_axes, get_abstract_mesh
from jaxtyping import Array

from .._common.checks import Steps
from .._common.runtime import runtime_error_if
from .._engine import across_devices as across
from .._engine.unstable import Tracer
from .common import How
from .levels import find
from .line import Line
from .newton import corrections, jacobians
from .options import Chunks, Report, one_chunk
from .problem import Pass, Problem, cut
from .sequential import sequential


def choose_chunks(cell: Any, linear: bool, length: Any, options: Chunks) -> Any:
    """The options, or "sequential" where a sequence has one chunk; ValueError for other cells.

    Over devices there is a chunk for each at least.
    """
    if linear:
        raise ValueError(
            f"{type(cell).__name__} has a form that is parallel over time for any weights: use "
            'method="parallel"; method="chunks" is for cells that are not linear'
        )
    if not isinstance(length, int):
        return "sequential"  # a length that an exported program leaves open
    spread = across.chosen() is not None and length > 0
    return options if spread or length > options.steps(length) else "sequential"


def side_by_side(cell: Any, state: Any, steps: Steps, how: How) -> tuple[tuple, Report]:
    """(final state, states, outputs) as the loop gives them, and what it took.

    In a `jax.shard_map` over `how.mesh_axis` of this device's steps; the final state is that of the
    last device alone, the report the same on all.
    """
    size, chunks = _division(steps.length, how)
    if chunks == 1:
        return sequential(cell, state, steps, _inner(how, how.reverse)), one_chunk(steps.length)
    found, report = _placed_by_the_compiler((cell, state, steps), how)
    return found, report._replace(size=size, chunks=chunks)


def _placed_by_the_compiler(given: tuple[Any, Any, Steps], how: How) -> Any:
    """`_side_by_side`, of which each array lies on an explicit mesh where the compiler puts it.

    Loops of loops cannot say by their types where a batch lies, as such a mesh asks of them.
    """
    mesh = get_abstract_mesh()
    types = dict(zip(mesh.axis_names, mesh.axis_types))
    explicit = tuple(axis for axis, kind in types.items() if kind is AxisType.Explicit)
    if not explicit:
        return _side_by_side(*given, how)
    arrays, rest = eqx.partition(given, eqx.is_array)

    def run(arrays: tuple) -> tuple[tuple, Report]:
        cell, state, steps = eqx.combine(arrays, rest)
        found, report = _side_by_side(cell, state, steps, how)
        return found, jax.tree.map(jnp.asarray, report)

    return auto_axes(run, axes=explicit, out_sharding=PartitionSpec())(arrays)


def _division(length: int, how: How) -> tuple[int, int]:
    """The steps of a chunk, and the number of chunks; the length is this device's."""
    assert isinstance(how.algorithm, Chunks)
    devices = Line(how.mesh_axis).devices
    size = min(how.algorithm.steps(length * devices), length)
    return size, -(-length // size) * devices


def _inner(how: How, reverse: bool) -> How:
    return how._replace(reverse=reverse, algorithm="sequential", mesh_axis=None)


@eqx.filter_jit
def _side_by_side(cell: Any, state: Any, steps: Steps, how: How) -> tuple[tuple, Report]:
    assert isinstance(how.algorithm, Chunks)
    if how.reverse:
        scalar = steps.dt is not None and steps.dt.ndim == 0
        turned = jax.tree.map(lambda a: a[::-1], steps._replace(dt=None) if scalar else steps)
        steps = turned._replace(dt=steps.dt) if scalar else turned
    length, (size, _) = steps.length, _division(steps.length, how)
    line = Line(how.mesh_axis, how.reverse)
    inner = _inner(how, False)
    if how.algorithm.at_once is not None:
        # The loop of this package computes what inputs add before it runs, for all steps at once.
        inner = inner._replace(plain=True)
    hows = inner, inner._replace(keep_states=True)
    run, trace = (functools.partial(_loop, how=how) for how in hows)
    problem = cut(cell, state, steps, size, (run, trace), line)
    found, report = _found(problem, how.algorithm)

    def joined(leaf: Array) -> Array:
        leaf = leaf.reshape(-1, *leaf.shape[2:])[:length]
        return leaf[::-1] if how.reverse else leaf

    states, ys = jax.tree.map(joined, (found.states, found.ys))
    return (found.final, states, ys), line.of(0, lax.stop_gradient(report))


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
    return runtime_error_if(found, failed, message)


@eqx.filter_custom_jvp
def _found(problem: Problem, options: Chunks) -> tuple[Pass, Report]:
    """What each device has of it."""
    if options.at_once is not None:
        # The search keeps no more than starts and ends, and what is in between comes by itself.
        found, report = find(problem.lean(), options)
        starts = problem.line.own(found.starts)
        return problem.here(starts, options.at_once), report._replace(passes=report.passes + 1)
    found, report = find(problem, options)
    own = problem.line.own
    return found._replace(starts=own(found.starts), ends=own(found.ends)), report


@_found.def_jvp
def _found_jvp(primals, tangents):
    r"""By the implicit function theorem: at the true starts s,

    $$ds_{i+1} = J_i ds_i + \partial f_i,$$

    with J_i the Jacobian of chunk i and the last term what its end owes to parameters and inputs.
    """
    (problem, options), (moved, _) = primals, tangents
    found, report = _found(problem, options)
    starts, line = found.starts, problem.line

    def from_starts(problem: Problem, starts: Array) -> Pass:
        return problem.here(starts, options.at_once)

    still = jnp.zeros_like(starts)
    first = _tangent(lambda p: p.first, problem, moved)
    _, own = eqx.filter_jvp(from_starts, (problem, starts), (moved, still))
    offsets = line.handed_on(own.ends, first)
    if options.gradient == "exact":
        offsets = corrections(jacobians(problem, starts, options.at_once), offsets, line)
    _, tangent = eqx.filter_jvp(from_starts, (problem, starts), (moved, offsets))
    return (found, report), (tangent._replace(starts=offsets), _none(report))


def _tangent(function: Callable, problem: Problem, moved: Problem) -> Array:
    value, tangent = eqx.filter_jvp(function, (problem,), (moved,))
    return jnp.zeros_like(value) if tangent is None else tangent


def _none(report: Report) -> Any:
    return jax.tree.map(lambda x: jnp.zeros_like(x) if eqx.is_inexact_array(x) else None, report)
