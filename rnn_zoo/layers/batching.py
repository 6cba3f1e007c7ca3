"""Batches: a layer or model mapped over samples."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import ArrayLike

from .._common.hints import hinted
from .._common.keys import key_rank
from .._common.numbers import exactly
from .._engine.mesh import beside
from .base import AbstractLayer


def batch(function: Callable) -> Callable:
    """`batch(model)(xs, *, state, dt, mask, reset, key)` maps over axis 0 of what is given.

    `function` is a layer, a model, or the `scan` of one. xs: (batch, time, input_size);
    state: a leading batch axis on each array; dt: a scalar for all, (batch,), or
    (batch, time); mask, reset: (batch, time); key: one key, split over the samples, (batch,)
    or (batch, time) keys. Returns what `function` returns with a leading batch axis.
    """

    @hinted("rz.batch(layer)(xs)")
    def batched(
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ):
        xs = exactly("xs", xs)
        if xs.ndim < 2:
            raise ValueError(f"expected a batch, (batch, time, input_size), got {xs.shape}")
        _check_rank(function, xs)
        if key is not None and key_rank(key) == 0:
            key = beside(jr.split(key, xs.shape[0]), xs, 1)
        arguments = {"xs": xs, "state": state, "dt": dt, "mask": mask, "reset": reset, "key": key}
        arguments = {
            name: jax.tree.map(lambda a, name=name: exactly(name, a), argument)
            for name, argument in arguments.items()
        }
        for name, argument in arguments.items():
            _check_batch_size(name, argument, xs.shape[0])
        in_axes = jax.tree.map(lambda a: 0 if a.ndim else None, arguments)
        return eqx.filter_vmap(_call, in_axes=(None, in_axes))(function, arguments)

    return batched


def _call(function: Callable, arguments: dict[str, Any]):
    xs, state = arguments["xs"], arguments["state"]
    keywords = {k: v for k, v in arguments.items() if k not in ("xs", "state") and v is not None}
    return function(xs, state, **keywords)


def _check_rank(function: Callable, xs: Any) -> None:
    layer: Any = getattr(function, "__self__", function)
    if isinstance(layer, AbstractLayer) and not layer.reads_tokens and xs.ndim != 3:
        raise ValueError(
            f"expected a batch, (batch, time, {layer.input_size}), got {xs.shape}: call the layer "
            "itself for one sequence"
        )


def _check_batch_size(name: str, argument: Any, size: int) -> None:
    for leaf in jax.tree.leaves(argument):
        if leaf.ndim and leaf.shape[0] != size:
            raise ValueError(
                f"expected {name} with a leading batch axis of {size}, as xs has, got {leaf.shape}"
            )
