"""Errors that only the values of a running program show."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import get_abstract_mesh

from .._engine.mesh import in_mesh, vary
from .._engine.unstable import varying


# Values are known when a program runs; to complain, it calls back into Python.
_CALLS_BACK = ContextVar("calls_back", default=True)


@contextlib.contextmanager
def without_runtime_errors() -> Iterator[None]:
    """What is traced inside never calls back, so it can leave this process."""
    token = _CALLS_BACK.set(False)
    try:
        yield
    finally:
        _CALLS_BACK.reset(token)


def runtime_error_if(value: Any, wrong: Any, message: str) -> Any:
    """`value`, an array or a tree of them, with a runtime error where `wrong` holds."""
    if not _CALLS_BACK.get():
        return value
    types = [jax.typeof(leaf) for leaf in jax.tree.leaves(value)]
    axes = frozenset().union(*map(varying, [jax.typeof(wrong), *types]))
    if not axes and get_abstract_mesh().empty and not in_mesh(types):
        return eqx.error_if(value, wrong, message)
    # What goes through a call back is on one device, so no more than a flag does. In
    # `jax.shard_map` it is the same on all devices, as one of them finds it.
    if axes:
        wrong = lax.pmax(vary(jnp.asarray(wrong).astype(jnp.int32), axes), tuple(sorted(axes))) > 0
    never = eqx.error_if(jnp.array(False), wrong, message)
    return jax.tree.map(lambda leaf: jnp.where(never, jnp.zeros_like(leaf), leaf), value)
