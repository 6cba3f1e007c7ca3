"""Models as safetensors files, which other libraries read."""

import importlib
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._common.extras import missing
from .._common.files import write_whole
from .._common.numbers import in_64_bits


def save_safetensors(model: Any, path: str | os.PathLike) -> None:
    """Write the arrays of a model, or of any tree, to a safetensors file.

    Each array stands under the names of its parts, "layers.0.forward.cell.weight_ih", in its
    shape and dtype, bfloat16 and complex64 included; a `Fixed` array as the integers that spell
    it. What is
    not an array (sizes, functions, inference flags) is not in the file: it comes from the model
    that `load_safetensors` is given. The file is written whole or not at all.

    **Raises:** ImportError without safetensors; TypeError for complex128 and keys, which such a
    file does not hold; ValueError for two arrays of one name.
    """
    write = _part("numpy").save
    content: dict[str, np.ndarray] = {}
    for name, array in _arrays(model).items():
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            raise TypeError(
                f"expected arrays of numbers, got keys at {name}: keep jax.random.key_data of them"
            )
        if array.dtype == np.complex128:
            raise TypeError(
                f"expected real arrays or complex64, got {_show(array)} at {name}: keep its real "
                "and its imaginary part, jnp.stack([a.real, a.imag])"
            )
        content[name] = np.asarray(array, order="C")
    write_whole(Path(path), write(content))


def load_safetensors(model: Any, path: str | os.PathLike) -> Any:
    """`model` with its arrays replaced by those of a safetensors file, by name.

    `model` may come from `eqx.filter_eval_shape`. The arrays of a torch module are read by
    `from_torch(safetensors.numpy.load_file(path))` instead.

    **Raises:** ImportError without safetensors; ValueError for a file that is not whole, and
    for one whose names, shapes or dtypes are not those of the model, with all that differ.
    """
    library = _part()
    try:
        parts = library.deserialize(Path(path).read_bytes())
    except library.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    found = {
        name: np.frombuffer(part["data"], _dtype(part["dtype"])).reshape(part["shape"])
        for name, part in sorted(parts)
    }
    expected = _arrays(model)
    _compare(path, found, expected)
    leaves, structure = jax.tree.flatten(model)
    names = iter(expected)
    new = [_alike(found[next(names)], leaf) if _is_array(leaf) else leaf for leaf in leaves]
    return jax.tree.unflatten(structure, new)


def _part(name: str = "") -> Any:
    """The package, or a module of it."""
    try:
        return importlib.import_module(f"safetensors.{name}".rstrip("."))
    except ImportError as error:
        raise missing("safetensors files need safetensors", "safetensors", error) from error


def _dtype(name: str) -> Any:
    """The dtype of a name in a file, "BF16" or "U32"; their own reader lacks bfloat16."""
    kind = name.rstrip("0123456789")
    known = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "C": "complex", "BOOL": "bool"}
    if kind not in known:
        raise ValueError(f"expected arrays of the kinds {', '.join(known)}, got {name}")
    return jnp.dtype(known[kind] + name.removeprefix(kind))


def _alike(array: np.ndarray, leaf: Any) -> Any:
    """In NumPy where the model keeps NumPy, which has float64 without x64."""
    return array if isinstance(leaf, np.ndarray) else in_64_bits(array)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def _arrays(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by the names of its parts, in the order of its leaves."""
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in named:
            raise ValueError(f"expected one array of each name, got two at {name}: rename a key")
        if _is_array(leaf):
            named[name] = leaf
    return named


def _compare(path: Any, found: dict[str, Any], expected: dict[str, Any]) -> None:
    wrong = [f"no {name}" for name in expected if name not in found]
    wrong += [f"{name}, which the model has not" for name in found if name not in expected]
    wide = False
    for name in (name for name in expected if name in found):
        one, two = _show(found[name]), _show(expected[name])
        if one != two:
            wrong.append(f"{name} as {one} where {two} should be")
            dtypes = {str(a.dtype) for a in (found[name], expected[name])}
            wide |= dtypes == {"float32", "float64"}
    if wrong:
        mend = " (x64 was enabled for one of them only)" if wide else ""
        raise ValueError(
            f"{path} holds another model than expected: it has {'; '.join(wrong)}{mend}"
        )


def _show(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"
