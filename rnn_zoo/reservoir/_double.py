"""float64 inside a float32 program."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, PyTree


def in_double(function: Callable) -> Callable:
    """`function`, of trees of arrays, traced with 64 bits. Call it inside of a jit.

    A `vmap` of a jitted function rewrites what was traced, and would do so with the setting
    from outside, so its rule traces the function again. Without 64 bits everywhere there is
    no derivative: it would be formed outside too, and cut down. Trying is a RuntimeError.
    """

    def call(*arguments: PyTree) -> PyTree:
        if everywhere():
            return function(*arguments)
        return _traced_in_double(function)(*map(_no_gradient, arguments))

    return call


def outside(function: Callable, wide: bool) -> Callable:
    """Inside `in_double`: a function of another room, traced with the setting from outside."""

    def call(*arguments: PyTree) -> PyTree:
        with jax.enable_x64(wide):
            return function(*arguments)

    return call


def everywhere() -> bool:
    """Whether the whole program has 64 bits."""
    return bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]


def doubled(tree: PyTree) -> PyTree:
    """`tree` with its floating-point arrays in float64; inside `in_double`."""

    def convert(leaf: Array) -> Array:
        return leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(convert, tree)


def _traced_in_double(function: Callable) -> Callable:
    def call(*arguments: PyTree) -> PyTree:
        with jax.enable_x64(True):
            return function(*arguments)

    def batched(size: int, in_batched: Any, *arguments: PyTree) -> tuple[PyTree, PyTree]:
        in_axes = jax.tree.map(lambda mapped: 0 if mapped else None, tuple(in_batched))
        mapped = jax.vmap(function, in_axes=in_axes, axis_size=size)
        results = _traced_in_double(mapped)(*arguments)
        return results, jax.tree.map(lambda _: True, results)

    call = custom_vmap(call)
    call.def_vmap(batched)
    return call


def _no_gradient(tree: PyTree) -> PyTree:
    return eqxi.nondifferentiable(
        tree,
        msg="a fit in float64 has no derivative in a float32 program: run all of it inside "
        "`with jax.enable_x64(True):`, or stop the gradient before the fit",
    )
