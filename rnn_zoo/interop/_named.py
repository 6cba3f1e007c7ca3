"""Arrays by the names that other people's code gives them."""

from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from .._common.dtypes import working_float
from ..base import replace
from ._from_gates import to_numpy


class Named:
    """The arrays of one part of a network, each to be read once, all to be read."""

    def __init__(self, arrays: Any, prefix: str = "", dtype: Any = None):
        """`arrays`: nested mappings, or names joined by dots, of which those that begin with
        `prefix` are read; "params" and "batch_stats" of flax are put together."""
        if not isinstance(arrays, Mapping):
            raise TypeError(
                f"expected a mapping of names to arrays, got {type(arrays).__name__}: give "
                "module.state_dict(), the variables of flax or what a file holds"
            )
        if arrays and set(arrays) <= {"params", "batch_stats"}:
            arrays = dict(pair for part in arrays.values() for pair in _flat(part))
        names = dict(_flat(arrays))
        self.prefix, self.dtype = prefix, working_float(dtype)
        self._left = {k.removeprefix(prefix): v for k, v in names.items() if k.startswith(prefix)}
        self._names = tuple(self._left)
        if not self._left:
            raise ValueError(
                f"expected names that begin with {prefix!r}, got {_list(names)}: give the prefix "
                "of one part"
            )

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def has_below(self, name: str) -> bool:
        """Whether there are arrays of the part of this name."""
        return any(left.startswith(name + ".") for left in self._left)

    def take(self, name: str, *shape: int | None) -> Any:
        """The array of a name, of a shape of which None is any size. ValueError otherwise."""
        if name not in self._left:
            raise ValueError(
                f"expected an array {self.prefix + name}, got {_list(self._names, self.prefix)}"
            )
        array = jnp.asarray(to_numpy(self._left.pop(name)), self.dtype)
        if shape and (
            array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape))
        ):
            known = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(f"expected {self.prefix + name} of shape ({known}), got {array.shape}")
        return array

    def linear(self, name: str, input_size: int | None = None) -> eqx.nn.Linear:
        """A linear map: a `weight` (out, in) of torch or a `kernel` (in, out) of flax, and a
        `bias` where there is one."""
        if f"{name}.kernel" in self:
            weight = self.take(f"{name}.kernel", input_size, None).T
        else:
            weight = self.take(f"{name}.weight", None, input_size)
        rows, columns = weight.shape
        bias = self.take(f"{name}.bias", rows) if f"{name}.bias" in self else None
        made = eqx.filter_eval_shape(
            lambda: eqx.nn.Linear(columns, rows, use_bias=bias is not None, key=jr.key(0))
        )
        return replace(made, weight=weight, bias=bias)

    def finish(self) -> None:
        """ValueError for arrays that nothing has read."""
        if self._left:
            raise ValueError(
                f"the arrays have {_list(self._left, self.prefix)} too, which have no place here: "
                "this is another network, or one with options that are not known here"
            )


def _flat(arrays: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in arrays.items():
        name = before + (".".join(map(str, key)) if isinstance(key, tuple) else str(key))
        if isinstance(value, Mapping):
            yield from _flat(value, name + ".")
        else:
            yield name, value


def _list(names: Any, prefix: str = "") -> str:
    shown = [prefix + name for name in list(names)[:12]]
    return ", ".join(shown) + (", ..." if len(names) > 12 else "") if shown else "none"
