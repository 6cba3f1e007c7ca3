"""Models in files, without pickle."""

import functools
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._common.checks import check_choice
from ..base import replace
from ..models.sequence import SequenceModel, make_model
from ..reservoir.network import EchoStateNetwork
from ..reservoir.readouts import as_fitted
from . import _format, checkpoint
from ._structure import UnnamedError, built, structure_of
from .orbax_folder import header_and_arrays, last_step


FORMAT, VERSION = "rnn_zoo.model", 1
Recipe = tuple[tuple[str, Any], ...]


def save(path: str | os.PathLike, model: Any, *, recipe: bool = True) -> None:
    """Write a model, or any tree of arrays, to a file.

    The file says how the model is built, so that `load(path)` needs nothing else: a model from
    `make_model` with the arguments of that, and any other tree of modules of this library and of
    Equinox, of registered cells, of tuples, lists and dicts by what it is made of. Where a part has
    no name that a reader knows (a class of your own, a function defined in a script), a UserWarning
    says so now: `load` will need a model like this one. `recipe=False` writes the arrays alone,
    and says nothing.

    The file is written beside its place and then moved there, so an interrupted `save` leaves the
    old file whole.
    """
    described = _recipe_of(model) if recipe else None
    structure, unnamed = None, None
    if recipe and described is None:
        try:
            structure = structure_of(model)
        except UnnamedError as error:
            unnamed = error
    header = {
        "format": FORMAT,
        "version": VERSION,
        "recipe": described,
        "structure": structure,
        "leaves": _format.describe(model),
    }
    _format.write(Path(path), header, _format.pack(model))
    if unnamed is not None:
        warnings.warn(
            f"{path} does not say how its model is built: {unnamed}, and a file names classes of "
            "rnn_zoo and Equinox, functions of JAX, and registered cells. To open it, build a "
            "model like this one and give it, load(path, like=model); recipe=False says nothing "
            "here",
            stacklevel=2,
        )


def load(
    path: str | os.PathLike, like: Any = None, *, which: Literal["last", "best"] = "last"
) -> Any:
    """The model in a file that `save` wrote, or in a checkpoint of `fit`.

    `like` is a model of the same structure, whose arrays are replaced and which gives everything
    that is not an array; it may come from `eqx.filter_eval_shape`, and an `EchoStateNetwork` in it
    may be without its readout. Without `like` the model is built as the file says.

    `path` may also be a checkpoint: its file, the directory that `Checkpoints` names, or one
    of the folders in there that `keep` writes (of several the last is opened). `which` then says
    which model: the one after the last step, or the best one on the validation part.

    Raises ValueError for a file of another kind, a newer, truncated or damaged one, one that does
    not say how its model is built when `like` is None, one that does not fit `like`, with the
    first array that differs, and `which="best"` where no loss was measured; FileNotFoundError for a
    directory without a checkpoint; ImportError for folders without Orbax.
    """
    check_choice("which", which, ("last", "best"))
    path = Path(path)
    if path.is_dir():
        return _of_folder(path, like, which)
    if _format.kind_of(path) == checkpoint.FORMAT:
        header, payload = _format.read(path, checkpoint.FORMAT, checkpoint.VERSION)
        arrays = _format.loose(payload, header["leaves"])
        return _of_run(path, header, arrays, like, which)
    header, payload = _format.read(path, FORMAT, VERSION)
    if which == "best":
        raise ValueError(f'{path} holds one model: which="best" belongs to checkpoints')
    return _filled(path, header, _format.loose(payload, header["leaves"]), like)


def _of_folder(path: Path, like: Any, which: str) -> Any:
    file = path / checkpoint.NAME
    if file.exists():
        return load(file, like, which=which)  # type: ignore
    step = last_step(path)
    if step is None:
        raise FileNotFoundError(
            f"{path} has no checkpoint: expected {checkpoint.NAME} in it, or folders named by steps"
        )
    header, arrays = header_and_arrays(step)
    return _of_run(step, header, arrays, like, which)


def _of_run(path: Path, header: dict, arrays: list[np.ndarray], like: Any, which: str) -> Any:
    """The model of a checkpoint, one part of what is in there."""
    if which == "best" and not math.isfinite(header["best_loss"]):
        raise ValueError(
            f"{path} has no best model, since no loss of a validation part was measured: give "
            'which="last"'
        )
    prefix = f"['{'model' if which == 'last' else 'best'}']"
    both = [pair for pair in zip(header["leaves"], arrays) if pair[0][0].startswith(prefix)]
    own = {
        "recipe": None,
        "structure": header.get("structure"),
        "leaves": [[name.removeprefix(prefix), *kind] for (name, *kind), _ in both],
    }
    return _filled(path, own, [array for _, array in both], like)


def _filled(path: Path, header: dict, arrays: list[np.ndarray], like: Any) -> Any:
    """The model with these arrays."""
    like = _built_as_told(path, header) if like is None else _with_readouts(like, header["leaves"])
    _format.compare(path, header["leaves"], _format.describe(like))
    return _format.with_arrays(like, arrays)


def _built_as_told(path: Path, header: dict) -> Any:
    mend = "build one like it and give it, load(path, like=model)"
    if header["recipe"] is not None:
        return _build(_decode(header["recipe"]))
    if header.get("structure") is None:
        raise ValueError(f"{path} does not say how its model is built: {mend}")
    try:
        return built(header["structure"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} names what is not here ({error}): import the module that registers it, or "
            f"{mend}"
        ) from error


def _with_readouts(like: Any, leaves: _format.Leaves) -> Any:
    """`like` with readouts in the networks that have none and have one in the file."""
    shapes = {name: (tuple(shape), dtype) for name, shape, dtype in leaves}

    def fitted(path, node):
        if not isinstance(node, EchoStateNetwork):
            return node
        place = jax.tree_util.keystr(path)
        own = {n.removeprefix(place): s for n, s in shapes.items() if n.startswith(place)}
        return as_fitted(node, own)

    def is_network(node):
        return isinstance(node, EchoStateNetwork)

    return jax.tree_util.tree_map_with_path(fitted, like, is_leaf=is_network)


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
