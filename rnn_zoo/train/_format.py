"""The files of this package: one line of JSON, then the arrays. Written whole or not at all."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PyTree

from .._common.files import write_whole
from .._common.numbers import in_64_bits


Leaves = list[list]


def describe(tree: PyTree) -> Leaves:
    """[path, shape, dtype] of everything in a tree that is saved."""
    leaves = jax.tree_util.tree_leaves_with_path(_plain(tree))
    saved = [(path, leaf) for path, leaf in leaves if _is_saved(leaf)]
    return [[jax.tree_util.keystr(path), *_kind(leaf)] for path, leaf in saved]


def _is_saved(leaf: Any) -> bool:
    return eqx.is_array_like(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _kind(leaf: Any) -> tuple[list[int], str]:
    if hasattr(leaf, "dtype"):
        return list(leaf.shape), np.dtype(leaf.dtype).name
    return [], f"Python {type(leaf).__name__}"


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: PyTree) -> PyTree:
    """Typed keys as the integers they hold."""
    return jax.tree.map(lambda leaf: jr.key_data(leaf) if _is_key(leaf) else leaf, tree)


def arrays(tree: PyTree) -> list[Any]:
    """What is saved of a tree, in the order of `describe`; Python's numbers as arrays."""
    leaves = [leaf for leaf in jax.tree.leaves(_plain(tree)) if _is_saved(leaf)]
    return [leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for leaf in leaves]


def with_arrays(like: PyTree, found: list[np.ndarray]) -> PyTree:
    """`like` with what `arrays` gave of another tree of the same structure."""
    rest = iter(found)

    def put(leaf):
        if not _is_saved(leaf):
            return leaf
        value = next(rest)
        if _is_key(leaf):
            return jr.wrap_key_data(jnp.asarray(value), impl=jr.key_impl(leaf))
        if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
            return in_64_bits(value)
        return value if hasattr(leaf, "dtype") else type(leaf)(value.item())

    return jax.tree.map(put, like)


def pack(tree: PyTree) -> bytes:
    """The arrays and Python numbers of a tree."""
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, _plain(tree))
    return buffer.getvalue()


def unpack(path: Path, payload: bytes, leaves: Leaves, like: PyTree) -> PyTree:
    """The tree that was packed, in the structure of `like`. ValueError where they differ."""
    compare(path, leaves, describe(like))
    # Arrays in float64 stay so, whatever the program runs in: sums of a ridge are.
    with jax.enable_x64(True):
        tree = eqx.tree_deserialise_leaves(io.BytesIO(payload), _plain(like))

    def wrap(leaf, given):
        return jr.wrap_key_data(leaf, impl=jr.key_impl(given)) if _is_key(given) else leaf

    return jax.tree.map(wrap, tree, like)


def loose(payload: bytes, leaves: Leaves) -> list[np.ndarray]:
    """The arrays that were packed, in the order of `describe`, with no tree around them."""
    # Not NumPy's arrays, which Equinox does not read bfloat16 into.
    like = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype) if isinstance(a, np.ndarray) else a,
        [empty(shape, dtype) for _, shape, dtype in leaves],
    )
    with jax.enable_x64(True):
        return [np.asarray(a) for a in eqx.tree_deserialise_leaves(io.BytesIO(payload), like)]


def empty(shape: list[int], dtype: str) -> Any:
    """What a row of `describe` stands for: an array of NumPy, or a number of Python."""
    numbers = {"Python bool": False, "Python int": 0, "Python float": 0.0, "Python complex": 0j}
    return numbers[dtype] if dtype in numbers else np.empty(shape, jnp.dtype(dtype))


def compare(path: Path, saved: Leaves, expected: Leaves, what: str = "another model") -> None:
    """ValueError at the first leaf in which they differ; `what` is what the file then holds."""
    for one, other in zip(saved, expected):
        if one != other:
            wide = {one[2], other[2]} == {"float32", "float64"}
            mend = " (x64 was enabled for one of them only)" if wide else ""
            raise ValueError(
                f"{path} holds {what} than expected: it has {_show(one)} where {_show(other)} "
                f"should be{mend}"
            )
    if len(saved) != len(expected):
        longer = max(saved, expected, key=len)
        extra = longer[min(len(saved), len(expected))]
        given = "the model" if "model" in what else "this run"
        where = "the file" if longer is saved else given
        raise ValueError(f"{path} holds {what} than expected: only {where} has {_show(extra)}")


def _show(leaf: list) -> str:
    return f"{leaf[0]} of shape {tuple(leaf[1])} and dtype {leaf[2]}"


def write(path: Path, header: dict, payload: bytes) -> None:
    """Write header and payload with what `read` checks them by."""
    header = {**header, "bytes": len(payload)}
    header["sha256"] = _digest(header, payload)
    write_whole(path, json.dumps(header).encode() + b"\n" + payload)


def _digest(header: dict, payload: bytes) -> str:
    rest = {name: value for name, value in header.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode() + payload).hexdigest()


def read(path: Path, format: str, version: int) -> tuple[dict, bytes]:
    """Header and payload of a file that is whole and of this format. ValueError otherwise."""
    content = path.read_bytes()
    line, _, payload = content.partition(b"\n")
    header = _header(line)
    if header.get("format") != format:
        raise ValueError(f"{path} is not a {format} file")
    if header["version"] > version:
        raise ValueError(
            f"{path} has format version {header['version']} and this release reads up to "
            f"{version}: update rnn-zoo"
        )
    if len(payload) != header["bytes"]:
        raise ValueError(
            f"{path} is truncated or has been added to: expected {header['bytes']} bytes of "
            f"arrays, got {len(payload)}"
        )
    if _digest(header, payload) != header["sha256"]:
        raise ValueError(f"{path} is damaged: its checksum does not match its content")
    return header, payload


def kind_of(path: Path) -> str | None:
    """The format that a file says it has."""
    with open(path, "rb") as file:
        return _header(file.readline()).get("format")


def _header(line: bytes) -> dict:
    try:
        header = json.loads(line)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}
