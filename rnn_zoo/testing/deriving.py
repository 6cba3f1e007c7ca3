"""Laws of gradients: finite, alive, equal to finite differences."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..scan import unroll
from .comparing import direction, finite, gradients, within
from .law import law, require
from .subject import TIME, Subject, float64, inputs, methods, only


SMOOTH = (
    "differentiate with JAX alone: what goes through NumPy, jax.lax.stop_gradient, a rounding or a "
    "comparison has no gradient; a jax.custom_vjp has to give the derivative of its function"
)
ZERO = (
    "look for what has no derivative at 0: sqrt, norms, abs(x) ** p, divisions; write "
    "x / jnp.sqrt(jnp.sum(x * x) + 1e-12), or take the safe branch's input by jnp.where first"
)


def summed(params: Any, rest: Any, keywords: Any, method: str = "auto") -> Any:
    """A number that all outputs and complex states reach, each with a weight of its own."""
    cell, xs, state = eqx.combine(params, rest)
    final, ys = unroll(cell, xs, state, method=method, **keywords)
    weights = jnp.linspace(0.5, 1.5, ys.size).reshape(ys.shape)
    return jnp.sum(weights * jnp.sin(ys)) + sum(
        jnp.sum(abs(leaf)) for leaf in jax.tree.leaves(final) if jnp.iscomplexobj(leaf)
    )


@law("gradients", "straight", mend=SMOOTH)
def reverse_forward_and_finite_differences_agree(subject: Subject) -> None:
    """Of parameters, inputs and the state, with dt, masks and resets."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        xs, state, keywords = inputs(cell)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)
        tangent = direction(params, 5)

        def f(params: Any) -> Any:
            return summed(params, rest, keywords)

        @jax.jit
        def both_modes(params: Any, tangent: Any) -> Any:
            return jax.jvp(f, (params,), (tangent,))[1], jax.grad(f)(params)

        forward, grads = both_modes(params, tangent)
        pairs = zip(jax.tree.leaves(grads), jax.tree.leaves(tangent))
        reverse = sum(np.sum((np.asarray(g) * t).real) for g, t in pairs)
        near = within(cell, 1e-9)
        require(
            np.isclose(forward, reverse, rtol=near),
            f"forward mode gives {forward}, reverse mode {reverse}",
        )
        f = jax.jit(f)
        step = 1e-6 if near < 1e-6 else 1e-3
        ahead, behind = (
            f(jax.tree.map(lambda p, t, s=s: np.asarray(p) + s * step * t, params, tangent))
            for s in (1, -1)
        )
        margin = {"rtol": 1e-5, "atol": 1e-7} if step == 1e-6 else {"rtol": 0.02, "atol": 0.02}
        measured = (ahead - behind) / (2 * step)
        require(
            np.isclose(forward, measured, margin["rtol"], margin["atol"]),
            f"the derivative is {forward}, finite differences give {measured}",
        )


@law("gradients", "linear", mend=SMOOTH)
def forward_mode_of_the_parallel_form(subject: Subject) -> None:
    """The derivative along one direction is the same by every method."""
    with float64() as dtype:
        cell = subject.cell(dtype)
        xs, state, keywords = inputs(cell)
        params, rest = eqx.partition((cell, xs, state), eqx.is_inexact_array)
        tangent = direction(params, 5)

        @jax.jit
        def derivatives(params: Any, tangent: Any) -> Any:
            return [
                jax.jvp(lambda p, m=m: summed(p, rest, keywords, m), (params,), (tangent,))[1]
                for m in methods(cell)
            ]

        tangents = np.asarray(derivatives(params, tangent))
        near = np.isclose(tangents, tangents[0], rtol=within(cell, 1e-10))
        require(near.all(), f"the derivatives of {methods(cell)} are {tangents}")


@law("gradients", "steady", mend=SMOOTH)
def hessians_work(subject: Subject) -> None:
    """Second derivatives are finite, forward mode over reverse mode."""
    cell = subject.cell()
    xs = inputs(cell)[0][:2]
    hessian = jax.jit(jax.hessian(lambda xs: jnp.sum(jnp.sin(unroll(cell, xs)[1]))))(xs)
    require(finite(hessian), "a second derivative is not finite")


@law(
    "gradients",
    mend="use every parameter, outside of NumPy, stop_gradient and comparisons; keep what must not "
    "train in an rz.Fixed; name fields that are used only now and then in idle=(...)",
)
def every_parameter_has_a_finite_live_gradient(subject: Subject) -> None:
    """Of the outputs of the first steps; what pads them is silence, over which no time passes."""
    cell = subject.cell()
    xs, _, keywords = inputs(cell)
    if getattr(cell, "takes_missing", False):  # what fills a gap in has a gradient where one is
        xs = xs.at[2:5, 0].set(jnp.nan).at[7, 1:].set(jnp.nan)
    rest, given = subject.silence, only(keywords, "dt")
    own = {k: v if k == "key" else np.pad(v, (0, rest)) for k, v in given.items()}
    xs, sines = np.pad(xs, ((0, rest), (0, 0))), np.pad(np.ones(TIME, np.float32), (0, rest))
    grads = gradients(cell, xs, sines=sines, **own)[1]
    broken, dead = [], []
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        name, at = getattr(path[-1], "name", ""), _named(path)
        if not np.isfinite(leaf).all():
            broken.append(at)
        elif name not in subject.idle and leaf.size and not np.asarray(leaf).any():
            dead.append(at)
    require(not broken, f"the gradient of {', '.join(broken)} is not finite")
    require(not dead, f"the gradient of {', '.join(dead)} is zero")


@law("gradients", mend=ZERO)
def gradients_are_finite_at_zero(subject: Subject) -> None:
    """For inputs of zero, the first state, and a dt of zero: where padding and silence begin."""
    cell = subject.plain()
    keywords = {"key": jr.key(1)} if cell.stochastic else {}
    if cell.timed:
        keywords["dt"] = jnp.zeros(TIME)

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(trained: Any) -> Any:
        cell, xs, dt = trained
        time = {} if dt is None else {"dt": dt}
        return jnp.sum(unroll(cell, xs, **{**keywords, **time})[1])

    grads = gradient((cell, jnp.zeros((TIME, cell.input_size)), keywords.get("dt")))
    names = [
        _named(path).replace("[1]", "xs").replace("[2]", "dt")
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
        if not np.isfinite(leaf).all()
    ]
    require(not names, f"at inputs of zero the gradient of {', '.join(names)} is not finite")


def _named(path: Any) -> str:
    """A parameter by the name of its field, without what a law put around the cell."""
    return jax.tree_util.keystr(path).removeprefix("[0]").removeprefix(".").removeprefix("cell.")
