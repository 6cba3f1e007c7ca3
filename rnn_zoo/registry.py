"""Every cell, by name: what drives the tests, the tables of the pages, the command line.

A cell stands here by `@register` above its class, and nowhere else. The cells of this library do
so when their files are read, which is when somebody first asks for a cell by name.
"""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from ._common.checks import one_like
from ._common.hints import option_hint
from .base import AbstractCell


# The order of the lists; families that nobody put here stand behind.
FAMILIES = (
    "vanilla",
    "gated",
    "antisymmetric",
    "clockwork",
    "lipschitz",
    "unitary",
    "oscillatory",
    "liquid",
    "state-space",
    "matrix",
    "reservoir",
)
_CELLS: dict[str, "CellInfo"] = {}
_SIZES = ("input_size", "hidden_size", "key")
_Make = TypeVar("_Make", bound=Callable[..., AbstractCell])


@dataclasses.dataclass(frozen=True)
class CellInfo:
    """What the registry knows of a cell; the flags are those of the default-built cell."""

    name: str
    cls: Callable[..., AbstractCell]
    family: str
    paper: str
    """Authors, year, and arXiv number where there is one."""
    equation: str
    """In plain text, one line, with what is usual left out."""
    full_equation: str = ""
    """The whole step in plain text: every term by symbol, and which field is which symbol."""
    block: str = ""
    """The class that `make_model` builds around the cell where its paper has a block of its own;
    "" where a model has the cell itself."""
    covers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    """Published names of what the cell is with some options, and these options."""

    @property
    def linear(self) -> bool:
        return self._flag("linear")

    @property
    def timed(self) -> bool:
        return self._flag("timed")

    @property
    def stochastic(self) -> bool:
        return self._flag("stochastic")

    @property
    def complex_state(self) -> bool:
        leaves = jax.tree.leaves(_state(self.cls))
        return any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves)

    def _flag(self, name: str) -> bool:
        flag = getattr(self.cls, name, None)
        return flag if isinstance(flag, bool) else bool(getattr(_built(self.cls), name))


@functools.cache
def _built(make: Callable) -> Any:
    """The default-built cell, its arrays as shapes alone."""
    return eqx.filter_eval_shape(lambda key: make(2, 8, key=key), jr.key(0))


@functools.cache
def _state(make: Callable) -> Any:
    """Its state, as shapes alone: `init_state` may read dtypes off arrays, so they are traced."""
    return eqx.filter_eval_shape(lambda key: make(2, 8, key=key).init_state(), jr.key(0))


@overload
def register(
    name: str,
    cell: None = None,
    *,
    paper: str = "",
    equation: str = "",
    family: str = "own",
    full: str = "",
    block: str = "",
    covers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[_Make], _Make]: ...


@overload
def register(
    name: str,
    cell: _Make,
    *,
    paper: str = "",
    equation: str = "",
    family: str = "own",
    full: str = "",
    block: str = "",
    covers: Mapping[str, Mapping[str, Any]] | None = None,
) -> _Make: ...


def register(
    name: str,
    cell: Any = None,
    *,
    paper: str = "",
    equation: str = "",
    family: str = "own",
    full: str = "",
    block: str = "",
    covers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Any:
    """The cell has this name for `rz.make_cell`, `rz.make_model`, `rz.list_cells` and all else.

        rz.register("my_cell", MyCell)

        @rz.register("my_cell", paper="mine, 2026", equation="h' = tanh(W x + u * h)")
        class MyCell(rz.AbstractCell): ...

    The class, or a function that makes the cell, is called with (input_size, hidden_size, *, key)
    and must work with these arguments alone; its other keyword arguments are the cell's options.
    Whether the cell is linear, timed or stochastic is read off it. `rz.testing.unregister(name)`
    takes the name back.

    **Arguments:**

    - `name`: lower case, as it is typed.
    - `cell`: the class or function; left out where this decorates it.
    - `paper`: authors, year, and arXiv number where there is one.
    - `equation`: one line of plain text for lists, with what is usual left out.
    - `family`: the heading in lists.
    - `full`: the whole step in plain text, every term by symbol, and after `where` which field is
      which symbol.
    - `block`: the class of `rz.layers` that `rz.make_model` puts around the cell.
    - `covers`: other published names of this cell, or of what it is with some options, each with
      these options: `{"peephole LSTM": {"peepholes": True}}`.

    **Returns:** the class or function, or without it the decorator.

    **Raises:** ValueError for a name that another cell has, or that is no lower-case name;
    TypeError for what cannot be called so.
    """
    if not (isinstance(name, str) and name.isidentifier() and name == name.lower()):
        raise ValueError(f"expected a name in lower case such as 'my_cell', got {name!r}")

    _read_cells()  # the names that are taken
    others = {other: dict(options) for other, options in (covers or {}).items()}

    def add(make: _Make) -> _Make:
        _check_call(name, make)
        before = _CELLS.get(name)
        # A class that is defined again, in a notebook, takes the place of the first.
        if before is not None and _place(before.cls) != _place(make):
            raise ValueError(
                f"expected a name of its own, {name!r} is {_shown(before.cls)}: choose another "
                f"name, or take this one back first, rz.testing.unregister({name!r})"
            )
        text = inspect.cleandoc(full)
        _CELLS[name] = CellInfo(name, make, family, paper, equation, text, block, others)
        return make

    return add if cell is None else add(cell)


def unregister(name: str) -> None:
    """Takes the name of a registered cell back, for tests and notebooks.

    ValueError for an unknown name, and for one of this library's own.
    """
    info = cell_info(name)
    if _place(info.cls)[0].split(".")[0] == __package__:
        raise ValueError(f"expected the name of a cell of your own, {name!r} is the library's")
    del _CELLS[name]


def _place(make: Any) -> tuple[str, str]:
    """Where a class or function is defined; of a partial one, what it is a part of."""
    make = make.func if isinstance(make, functools.partial) else make
    return make.__module__, make.__qualname__


def _shown(make: Any) -> str:
    return _place(make)[1].replace("<locals>.", "")


def _check_call(name: str, make: Any) -> None:
    what = f"that is made by (input_size, hidden_size, key=key), for {name!r}"
    if isinstance(make, AbstractCell) or not callable(make):
        raise TypeError(
            f"expected a class or function {what}, got {make!r}: give the class itself, or "
            "lambda input_size, hidden_size, *, key: ..."
        )
    try:
        inspect.signature(make).bind(1, 1, key=None)
    except TypeError as error:
        raise TypeError(
            f"expected a cell that is made by {_shown(make)}(input_size, hidden_size, key=key) "
            f"for {name!r}, got {_shown(make)}{inspect.signature(make)}: {error}"
        ) from None


def _read_cells() -> None:
    """Read the files of all cells, unless that was done or is under way."""
    importlib.import_module(f"{__package__}.cells")


def info_of(cell: Any) -> CellInfo:
    """The row of a name, of a registered class or function, or one made up for another of these.

    Its name is "" where it is not registered. Errors as for `cell_info` and `register`.
    """
    if isinstance(cell, str):
        return cell_info(cell)
    for info in _in_order():
        if info.cls is cell:
            return info
    _check_call("a cell of a model", cell)
    return CellInfo("", cell, "own", "", "")


def _in_order() -> list[CellInfo]:
    _read_cells()

    def rank(info: CellInfo) -> int:
        known = info.family in FAMILIES
        return FAMILIES.index(info.family) if known else len(FAMILIES)

    return sorted(_CELLS.values(), key=rank)


def list_cells(
    *, linear: bool | None = None, timed: bool | None = None, covers: str = ""
) -> tuple[str, ...]:
    """The names of all cells, or of those that are (not) linear or timed.

    `covers` is a part of a published name, such as "peephole": the cells that are what it says,
    some of them with options, which `rz.cell_info(name).covers` has.
    """
    asked = _letters(covers)
    return tuple(
        info.name
        for info in _in_order()
        if linear in (None, info.linear)
        and timed in (None, info.timed)
        and any(asked in _letters(other) for other in (info.name, *info.covers))
    )


def _letters(name: str) -> str:
    """Without what names are spelled with now and then: cases, signs, spaces."""
    return "".join(filter(str.isalnum, name.lower()))


def _covered(name: str) -> str:
    """The end of an error message: which cell has this name for some of its options."""
    for info in _in_order():
        for other, options in info.covers.items():
            if _letters(other) == _letters(name):
                given = "".join(f", {option}={value!r}" for option, value in options.items())
                return f": the {other} is rz.make_cell({info.name!r}, ...{given}, key=key)"
    return ""


def cell_info(name: str) -> CellInfo:
    """What the registry knows of a cell. ValueError for an unknown name."""
    _read_cells()
    if name not in _CELLS:
        raise ValueError(f"unknown cell {name!r}{_covered(name) or one_like(name, list_cells())}")
    return _CELLS[name]


suggest = one_like  # under the name that it had here


def make_cell(
    name: str, input_size: int, hidden_size: int, *, key: PRNGKeyArray, **options: Any
) -> AbstractCell:
    """A cell by name; `options` are the keyword arguments of its class.

    ValueError for an unknown name, TypeError for an unknown option.
    """
    make = cell_info(name).cls
    allowed = cell_options(name)
    for option in options:
        if option not in allowed:
            hint = option_hint(option, (*allowed, *_SIZES))
            raise TypeError(f"cell {name!r} has no option {option!r}{hint}")
    return make(input_size, hidden_size, key=key, **options)


def cell_options(name: str) -> tuple[str, ...]:
    """The names of the options that `make_cell(name, ...)` takes."""
    return options_of(cell_info(name).cls)


def options_of(make: Callable) -> tuple[str, ...]:
    """The names of the options of what makes a cell."""
    parameters = inspect.signature(make).parameters.values()
    names = (p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
    return tuple(n for n in names if n != "key")
