"""Activations that neither JAX nor Equinox has, and functions as static fields that travel."""

import functools
import importlib
import types
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def lecun_tanh(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """1.7159 tanh(0.666 x): LeCun et al. 1998, "Efficient BackProp".

    The factor inside is 0.666, as in the networks that use it, and not two thirds.
    """
    return 1.7159 * jnp.tanh(0.666 * x)


class LeCunTanh(eqx.Module):
    """`lecun_tanh` as a module, for `eqx.nn.Sequential` and the like."""

    def __call__(self, x: Float[ArrayLike, "..."], *, key: object = None) -> Float[Array, "..."]:
        """lecun_tanh(x); `key` is there for Equinox's containers and not used."""
        return lecun_tanh(x)


class Function:
    """A function that is equal to its copies, and to the function itself.

    Static fields are compared by `==`. A jitted function such as `jnp.tanh` is compared by
    identity, has no pickle, and `copy.deepcopy` makes another one of it; this stands for it
    by its name. A `functools.partial` is compared by its parts. What has no name that can be
    imported is kept itself: it can be copied, pickle refuses it.
    """

    def __init__(self, function: Any, name: tuple[str, str] | None, given: tuple = ((), ())):
        self.function, self.name, self.given = function, name, given

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        positional, named = self.given
        return self.function(*positional, *arguments, **{**dict(named), **keywords})

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))

    def __repr__(self) -> str:
        given = [*map(repr, self.given[0]), *(f"{name}={value!r}" for name, value in self.given[1])]
        name = self.__name__ if self.name is None else ".".join(self.name)
        return f"{name}({', '.join(given)}, ...)" if given else name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Function):
            other = Function(other, None)
        return self.function == other.function and self.given == other.given

    def __hash__(self) -> int:
        # Equal to a bare function, so of the same hash.
        return hash((self.function, self.given) if any(self.given) else self.function)

    def __copy__(self) -> "Function":
        return self

    def __deepcopy__(self, memo: dict) -> "Function":
        return self

    def __reduce__(self) -> tuple:
        if self.name is None:
            return Function, (self.function, None, self.given)
        return _named, (*self.name, self.given)


# Where functions are found by everybody, whatever file they were written in.
_PUBLIC = ("jax.numpy", "jax.nn", "jax.lax")


def portable(function: Any) -> Any:
    """`function` for a static field, so that a copy of the module is an equal module.

        activation: Callable = eqx.field(static=True, converter=portable)

    Plain functions, classes and modules are equal to their copies already and stay.
    """
    if isinstance(function, functools.partial):
        part = portable(function.func)
        given = (function.args, tuple(sorted(function.keywords.items())))
        try:
            hash(given)
        except TypeError:  # arrays among its arguments: nothing can be compared
            return function
        inner = part if isinstance(part, Function) else Function(part, _name_of(part))
        positional, named = inner.given
        named = tuple(sorted({**dict(named), **dict(given[1])}.items()))
        return Function(inner.function, inner.name, ((*positional, *given[0]), named))
    plain = Function | type | types.FunctionType | eqx.Module
    if not callable(function) or isinstance(function, plain):
        return function
    name = _name_of(function)
    compared = type(function).__eq__ is not object.__eq__
    return function if name is None and compared else Function(function, name)


def _name_of(function: Any) -> tuple[str, str] | None:
    """Module and name under which a function is found again, or None."""
    name = getattr(function, "__qualname__", getattr(function, "__name__", None))
    if name is None:
        return None
    for module in (*_PUBLIC, getattr(function, "__module__", None)):
        try:
            if module and _found(module, name) is function:
                return module, name
        except (ImportError, AttributeError):
            continue
    return None


def _found(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _named(module: str, name: str, given: tuple) -> Function:
    return Function(_found(module, name), (module, name), given)
