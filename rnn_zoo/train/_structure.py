"""What a tree is made of, as JSON: classes by name, fields that are no arrays by value.

Arrays stand as shape and dtype, and their numbers elsewhere. Only classes of this library and of
Equinox are named, cells that `register` knows, and functions of some modules that compute and do
nothing else: a file from anywhere may be opened, and its model called.
"""

import dataclasses
import functools
import importlib
import json
import types
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._common.activations import Function
from ..registry import cell_info, list_cells
from ..wiring.base import NeuronMap


PACKAGES = ("rnn_zoo", "equinox", "jax")
OF_JAX = ("jax.numpy", "jax.nn", "jax.lax")
COMPUTING = ("rnn_zoo._common.activations", "rnn_zoo.cells.", "rnn_zoo.reservoir.", "rnn_zoo.init")
"""Where functions are found. No file is written by any of them."""


class UnnamedError(TypeError):
    """A part that a file cannot name; the message says where it is and what."""


def structure_of(tree: Any) -> Any:
    """The tree as JSON. UnnamedError where a part has no name that a reader would know."""
    spec = _encoded(tree, "")
    made = built(spec)
    try:
        same = jax.tree.structure(made) == jax.tree.structure(tree)
    except Exception:  # of values that cannot be compared
        same = False
    if not same:
        raise UnnamedError("its parts that are no arrays do not come back equal")
    return json.loads(json.dumps(spec))


def built(spec: Any) -> Any:
    """The tree, with `jax.ShapeDtypeStruct`s in the place of arrays; any keys and zeros of NumPy.

    ValueError for a name that this release does not have, or that no file may have.
    """
    if not isinstance(spec, dict):
        return spec
    ((kind, given),) = spec.items()
    return _BUILDERS[kind](given)


# --- writing ------------------------------------------------------------------------------------


def _encoded(value: Any, place: str) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        parts = [_encoded(part, f"{place}[{i}]") for i, part in enumerate(value)]
        return {type(value).__name__: parts}
    if type(value) is dict:
        return {
            "dict": [[_key(k, place), _encoded(v, f"{place}[{k!r}]")] for k, v in value.items()]
        }
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value, place)
    for of_kind in (_plain, _function, _object):
        spec = of_kind(value, place)
        if spec is not None:
            return spec
    return _refuse(value, place)


def _key(key: Any, place: str) -> Any:
    return key if isinstance(key, str | int) else _refuse(key, place)


def _array(value: Any, place: str) -> dict:
    if isinstance(value, np.generic):  # a static number, as NumPy spells it
        return {"number": [value.item(), value.dtype.name]}
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"key": [list(value.shape), str(jax.random.key_impl(value))]}
    if not isinstance(value, jax.Array | np.ndarray):
        _refuse(value, place)
    kind = "numpy" if isinstance(value, np.ndarray) else "array"
    return {kind: [list(value.shape), np.dtype(value.dtype).name]}


def _plain(value: Any, place: str) -> dict | None:
    if type(value) is complex:
        return {"complex": [value.real, value.imag]}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, NeuronMap) and _is_known(type(value).__module__):
        return {"wiring": value.to_json()}
    return None


def _function(value: Any, place: str) -> dict | None:
    """A function of a package that everybody has, with what was given to it."""
    if isinstance(value, Function) and value.name is not None:
        arguments, keywords = value.given
        given = [_encoded(arguments, place), _encoded(tuple(keywords), place)]
        known = _function_of(*value.name) is value.function
        return {"portable": [*value.name, *given]} if known else None
    name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
    if not callable(value) or not name:
        return None
    for module in (*OF_JAX, value.__module__ or ""):
        if _function_of(module, name) is value:
            return {"name": [module, name]}
    return None


def _object(value: Any, place: str) -> dict | None:
    """A module, another dataclass, or a NamedTuple."""
    cls = type(value)
    named = _class_name(cls)
    if named is None:
        return None
    names = getattr(cls, "_fields", None)
    if isinstance(value, tuple) and names is not None:
        parts = [_encoded(part, f"{place}.{name}") for name, part in zip(names, value)]
        return {"items": [named, parts]}
    if not dataclasses.is_dataclass(value):
        return None
    own = getattr(value, "__dict__", None)  # what is left to the default of its class stays so
    fields = {
        name: _encoded(getattr(value, name), f"{place}.{name}")
        for name in (field.name for field in dataclasses.fields(value))
        if own is None or name in own
    }
    return {"fields": [named, fields]}


def _class_name(cls: type) -> list[str] | None:
    module, name = cls.__module__, cls.__qualname__
    if _class_of(module, name) is cls:
        return [module, name]
    registered = [n for n in list_cells() if cell_info(n).cls is cls]
    return ["", registered[0]] if registered else None


def _refuse(value: Any, place: str) -> NoReturn:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(value, types.FunctionType | type):
        name = f"{value.__module__}.{value.__qualname__}"
    where = place.lstrip(".")
    raise UnnamedError(f"{where} is {name}" if where else f"it is {name}")


def _is_known(module: str) -> bool:
    return module.split(".")[0] in PACKAGES


# --- names --------------------------------------------------------------------------------------


def _function_of(module: str, name: str) -> Any:
    """A function that only computes; None for every other name."""
    if module in OF_JAX and "." not in name:
        home = "jax"
    elif module.startswith(COMPUTING):
        home = module
    else:
        return None
    # What a module has imported from elsewhere is not its own.
    found = _looked_up(module, name)
    own = callable(found) and (getattr(found, "__module__", None) or "").startswith(home)
    return found if own else None


def _class_of(module: str, name: str) -> Any:
    """A class of a tree; None for every other name."""
    found = _looked_up(module, name) if _is_known(module) else None
    if not isinstance(found, type) or found.__module__ != module:
        return None
    return found if dataclasses.is_dataclass(found) or hasattr(found, "_fields") else None


def _looked_up(module: str, name: str) -> Any:
    """What stands under a name; None where nothing does."""
    try:
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


# --- reading ------------------------------------------------------------------------------------


def _there(find: Any, name: list[str]) -> Any:
    found = find(*name)
    if found is None:
        raise ValueError(f"{'.'.join(name)} is not one of the names that a file may have")
    return found


def _class(name: list[str]) -> type:
    if not name[0]:
        return cell_info(name[1]).cls  # type: ignore
    return _there(_class_of, name)


def _with_fields(given: list) -> Any:
    cls, fields = _class(given[0]), given[1]
    unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
    missing = {
        field.name
        for field in dataclasses.fields(cls)
        if field.name not in fields and not hasattr(cls, field.name)
    }
    if unknown or missing:
        raise ValueError(f"{cls.__name__} has other fields here: {sorted(unknown | missing)}")
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, built(value))
    return made


def _portable(given: list) -> Function:
    module, name, arguments, keywords = given
    function = _there(_function_of, [module, name])
    return Function(function, (module, name), (built(arguments), built(keywords)))


def _keys(given: list) -> Any:
    shape, impl = given
    return jax.random.split(jax.random.key(0, impl=impl), tuple(shape))


_BUILDERS: dict[str, Any] = {
    "list": lambda given: list(map(built, given)),
    "tuple": lambda given: tuple(map(built, given)),
    "dict": lambda given: {key: built(value) for key, value in given},
    "complex": lambda given: complex(*given),
    "number": lambda given: np.dtype(given[1]).type(given[0]),
    "dtype": jnp.dtype,
    "wiring": NeuronMap.from_json,
    "portable": _portable,
    "name": lambda given: _there(_function_of, given),
    "items": lambda given: _class(given[0])(*map(built, given[1])),
    "fields": _with_fields,
    "key": _keys,
    "array": lambda given: jax.ShapeDtypeStruct(tuple(given[0]), jnp.dtype(given[1])),
    "numpy": lambda given: np.zeros(tuple(given[0]), jnp.dtype(given[1])),
}
