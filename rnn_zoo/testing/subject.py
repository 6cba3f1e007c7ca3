"""A cell under the laws: how it is made, what its author says of it, and what it is run over."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._common.fixed import Fixed
from ..base import AbstractCell, runs_in_chunks
from ..registry import cell_options, make_cell


INPUTS, HIDDEN, TIME = 3, 5, 9
MASK = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1], bool)
RESET = np.array([0, 0, 0, 1, 1, 0, 0, 1, 0], bool)


class Subject:
    """What a law is asked of. `cell()` is one object for all laws, so that they share programs.

    **Arguments:**

    - `make`: `make(key, dtype)` gives the cell, its parameters in that dtype, None for the default.
    - `name`: for reports.
    - `noise`: how far every parameter is moved at random, so that no zero bias hides a mistake.
    - `idle`: the fields whose gradient over a few steps is zero.
    - `straight`: the derivative is that of the step. False where it is another one on purpose.
    - `holds`: over no time the state stays what it is. None: unknown.
    - `halves`: two steps over half a time are one over the whole, with one input. None: unknown.
    - `reference`: `reference(cell, xs, dt=None) -> ys` in NumPy, or None.
    - `keyed`: another key makes another cell.
    - `silence`: how many steps without inputs and without time stand behind those of a gradient.
    """

    def __init__(
        self,
        make: Callable[[Any, Any], Any],
        *,
        name: str = "",
        noise: float = 0.3,
        idle: Any = (),
        straight: bool = True,
        holds: bool | None = None,
        halves: bool | None = None,
        reference: Callable | None = None,
        keyed: bool = True,
        silence: int = 0,
    ):
        self.make, self.name, self.noise = make, name, noise
        self.idle, self.straight = frozenset(idle), straight
        self.holds, self.halves, self.reference = holds, halves, reference
        self.keyed, self.silence = keyed, silence
        self.mend: Callable[[Any], Any] = lambda cell: cell
        self._made: dict[tuple, Any] = {}

    def plain(self, dtype: Any = None, seed: int = 0) -> Any:
        """The cell as it is made."""
        at = ("plain", dtype, seed)
        if at not in self._made:
            self._made[at] = self.make(jr.key(seed), dtype)
        return self.mend(self._made[at])

    def cell(self, dtype: Any = None, seed: int = 0) -> Any:
        """The cell with noise on its parameters."""
        at = ("noisy", dtype, seed)
        if at not in self._made:
            self._made[at] = noisy(self.plain(dtype, seed), seed + 100, self.noise)
        return self._made[at]

    def forget(self) -> None:
        """The cells that were made are made anew."""
        self._made.clear()


def as_maker(make: Any, input_size: int, hidden_size: int) -> tuple[Callable, str, bool]:
    """`make(key, dtype)`, a name, and whether the key counts, of whatever stands for a cell.

    TypeError for what makes no cell of these arguments.
    """
    if isinstance(make, AbstractCell):
        return lambda key, dtype: in_dtype(make, dtype), type(make).__name__, False
    if isinstance(make, str):
        sizes = {"input_size": input_size, "hidden_size": hidden_size}
        takes = cell_options(make)
        return (
            _with_dtype(functools.partial(make_cell, make, **sizes), "dtype" in takes),
            make,
            True,
        )
    name = getattr(make, "__name__", type(make).__name__)
    if callable(make):
        signature = inspect.signature(make)
        for arguments, keyed in (((), True), ((input_size, hidden_size), True), ((), False)):
            keywords = {"key": None} if keyed else {}
            with contextlib.suppress(TypeError):
                signature.bind(*arguments, **keywords)
                called = functools.partial(make, *arguments)
                called = called if keyed else _without_key(called)
                return _with_dtype(called, "dtype" in signature.parameters), name, keyed
    raise TypeError(
        "expected make to be a function that makes a cell, called as make(key=key), as "
        "make(input_size, hidden_size, key=key) or as make(), a made cell, or the name of a "
        f"registered one, got {make!r}: write check_cell(lambda key: MyCell(3, 5, key=key))"
    )


def _without_key(make: Callable) -> Callable:
    return lambda *, key, **options: make(**options)


def _with_dtype(make: Callable, takes: bool) -> Callable[[Any, Any], Any]:
    """A maker that is told a dtype where it takes one; else what it makes is converted."""

    def made(key: Any, dtype: Any) -> Any:
        options = {"dtype": dtype} if takes and dtype is not None else {}
        cell = make(key=key, **options)
        if not isinstance(cell, AbstractCell):
            raise TypeError(
                f"expected make to give an rz.AbstractCell, got {type(cell).__name__}: rz.adopt "
                "makes a cell of a function f(h, x) or of another library's cell"
            )
        return cell if takes else in_dtype(cell, dtype)

    return made


def in_dtype(cell: Any, dtype: Any) -> Any:
    """The cell with all real parameters in a dtype, what is `Fixed` among them; None: as it is."""
    if dtype is None:
        return cell

    def cast(leaf: Any) -> Any:
        if isinstance(leaf, Fixed):
            real = jnp.issubdtype(leaf.dtype, jnp.floating)
            return Fixed(jnp.asarray(leaf.value, dtype), sealed=leaf.sealed) if real else leaf
        real = eqx.is_inexact_array(leaf) and not jnp.iscomplexobj(leaf)
        return jnp.asarray(np.asarray(leaf), dtype) if real else leaf

    return jax.tree.map(cast, cell, is_leaf=lambda leaf: isinstance(leaf, Fixed))


# --- what a cell is run over ----------------------------------------------------------------------


@contextlib.contextmanager
def float64() -> Iterator[Any]:
    """Parameters and arithmetic in float64."""
    with jax.enable_x64(True):
        yield jnp.float64


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """No dtype and no rank is promoted in silence while a program is traced."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def draw(seed: int, shape: Any, dtype: Any = None) -> Any:
    """Normal numbers from NumPy, which compiles nothing."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype or float)


def noisy(cell: Any, seed: int, scale: float = 0.3) -> Any:
    """The cell with noise on every parameter, so that no zero bias hides a mistake."""
    rng = np.random.default_rng(seed)

    def shake(p: Any) -> Any:
        noise = scale * rng.normal(size=p.shape)
        kind = np.complex128 if np.iscomplexobj(p) else np.float64
        return jnp.asarray(np.asarray(p, kind) + noise, p.dtype)

    return jax.tree.map(lambda p: shake(p) if eqx.is_inexact_array(p) else p, cell)


def random_state(cell: Any, seed: int) -> Any:
    """A state like the initial one, away from zero."""
    rng = np.random.default_rng(seed)

    def shift(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        noise = rng.normal(size=leaf.shape)
        if jnp.iscomplexobj(leaf):
            noise = noise + 1j * rng.normal(size=leaf.shape)
        return jnp.asarray(np.asarray(leaf) + 0.5 * noise, leaf.dtype)

    return jax.tree.map(shift, cell.init_state())


def inputs(cell: Any, time: int = TIME, seed: int = 1) -> tuple[Any, Any, dict[str, Any]]:
    """xs, a state, and the keywords of a run with everything: dt, mask, reset, key."""
    rng = np.random.default_rng(seed)
    xs = jnp.asarray(rng.normal(size=(time, cell.input_size)), float)
    keywords: dict[str, Any] = {
        "mask": jnp.asarray(MASK[:time]),
        "reset": jnp.asarray(RESET[:time]),
    }
    if cell.timed:
        dt = rng.uniform(0.2, 1.8, size=time)
        dt[5:6] = 0.0
        keywords["dt"] = jnp.asarray(dt, float)
    if cell.stochastic:
        keywords["key"] = jr.key(seed)
    return xs, random_state(cell, seed + 1), keywords


def only(keywords: dict[str, Any], *names: str) -> dict[str, Any]:
    """Those keywords, and always the key of a stochastic cell."""
    return {k: v for k, v in keywords.items() if k in (*names, "key")}


def keyed(cell: Any) -> dict[str, Any]:
    """The key of one step, for a cell that takes one."""
    return {"key": jr.key(3)} if cell.stochastic else {}


def methods(cell: Any) -> list[str]:
    """The ways in which the evaluators can run a cell."""
    parallel = cell.linear or runs_in_chunks(cell)
    return ["sequential", "parallel", "auto"] if parallel else ["sequential"]
