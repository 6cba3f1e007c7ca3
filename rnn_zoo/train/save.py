"""Models in files, without pickle."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..base import replace
from ..models.sequence import SequenceModel, make_model
from . import _format


FORMAT, VERSION = "rnn_zoo.model", 1
Recipe = tuple[tuple[str, Any], ...]


def save(path: str | os.PathLike, model: Any) -> None:
    """Write a model, or any tree of arrays, to a file.

    A model from `make_model` is written with its recipe, so that `load(path)` needs nothing
    else. Any other model, and one that was changed since it was made, is loaded with `like`.
    The file is written beside its place and then moved there, so an interrupted `save` leaves
    the old file whole.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "recipe": _recipe_of(model),
        "leaves": _format.describe(model),
    }
    _format.write(Path(path), header, _format.pack(model))


def load(path: str | os.PathLike, like: Any = None) -> Any:
    """The model in a file that `save` wrote.

    `like` is a model of the same structure, whose arrays are replaced and which gives everything
    that is not an array; it may come from `eqx.filter_eval_shape`. Without it the model is
    built from the recipe in the file.

    Raises ValueError for a file of another kind, a newer, truncated or damaged one, one
    without a recipe when `like` is None, and one that does not fit `like`, with the first
    array that differs.
    """
    path = Path(path)
    header, payload = _format.read(path, FORMAT, VERSION)
    if like is None:
        if header["recipe"] is None:
            raise ValueError(
                f"{path} does not say how its model is built, because it is not as make_model "
                "makes it: build one like it and give it, load(path, like=model)"
            )
        like = _build(_decode(header["recipe"]))
    return _format.unpack(path, payload, header["leaves"], like)


def _build(recipe: Recipe) -> Any:
    """The model of a recipe, without memory for its arrays."""
    make = functools.partial(make_model, **dict(recipe))
    return eqx.filter_eval_shape(lambda key: make(key=key), jax.random.key(0))


def _recipe_of(model: Any) -> dict | None:
    """The recipe as JSON, where it makes this very structure; else None."""
    if not isinstance(model, SequenceModel) or model.recipe is None:
        return None
    try:
        recipe = {name: _encode(value) for name, value in model.recipe}
        json.dumps(recipe)
    except TypeError:
        return None
    made = _build(_decode(recipe))
    return recipe if _structure(made) == _structure(model) else None


def _structure(model: SequenceModel) -> tuple:
    # Dtypes come back in another spelling, so the recipes themselves are not compared.
    return jax.tree.structure(
        replace(model, recipe=None, mesh_axis=None, method="auto")
    ), _format.describe(model)


def _encode(value: Any) -> Any:
    """Dtypes in a form that JSON holds."""
    if isinstance(value, np.dtype) or (isinstance(value, type) and hasattr(value, "dtype")):
        return {"dtype": jnp.dtype(value).name}
    return value


def _decode(recipe: dict) -> Recipe:
    return tuple((name, _decoded(value)) for name, value in recipe.items())


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return jnp.dtype(value["dtype"])
    return tuple(map(_decoded, value)) if isinstance(value, list) else value
