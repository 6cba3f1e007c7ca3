"""Laws of what a cell says of itself: sizes, states, parameters, and that a step is pure."""

import copy
import dataclasses
import io
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._common.checks import show
from ..base import AbstractCell, replace
from ..wrappers.held import hold
from .comparing import assert_close, finite, same, step
from .law import law, require
from .subject import Subject, draw, keyed, random_state


def abstract_step(cell: Any) -> tuple[Any, Any, Any]:
    """The state before, the state after and the output of a step, as shapes and dtypes."""
    before = jax.eval_shape(cell.init_state)
    x = jax.ShapeDtypeStruct((cell.input_size,), jnp.float32)
    after, y = jax.eval_shape(lambda s, x: cell.step(s, x, **keyed(cell)), before, x)
    return before, after, y


@law(
    "promises",
    basic=True,
    mend="let output_size be the number of entries that y has, and give y as one vector",
)
def output_size_is_true(subject: Subject) -> None:
    """y is (output_size,), in float32 for inputs and parameters in float32."""
    cell = subject.cell()
    y = abstract_step(cell)[2]
    expected = f"an output of shape ({cell.output_size},), as output_size says"
    require(getattr(y, "shape", None) == (cell.output_size,), f"expected {expected}, got {show(y)}")
    require(y.dtype == jnp.float32, f"expected an output of float32, got {y.dtype}")


@law(
    "promises",
    basic=True,
    mend="let init_state() give arrays in the shapes and dtypes that a step gives, "
    "jnp.zeros(size, dtype) rather than numbers, and let the step cast what it changes: "
    "new.astype(old.dtype)",
)
def a_step_gives_a_state_like_the_one_before(subject: Subject) -> None:
    """The structure, the shapes and the dtypes of `init_state()` stay what they are."""
    cell = subject.cell()
    for leaf in jax.tree.leaves(cell.init_state()):
        require(eqx.is_array(leaf), f"expected init_state() to give arrays, got {leaf!r} in it")
    before, after, _ = abstract_step(cell)
    message = f"expected a state like init_state(), {show(before)}, got {show(after)}"
    require(jax.tree.structure(after) == jax.tree.structure(before), message)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before)):
        require((new.shape, new.dtype) == (old.shape, old.dtype), message)
        for leaf, where in ((new, "after a step"), (old, "of init_state()")):
            weak = f"the state {where} has a weak type, that of a Python number, in {show(leaf)}"
            require(not leaf.weak_type, weak)


@law(
    "promises",
    basic=True,
    mend="keep tuples in static fields in the place of lists and dictionaries, and arrays in "
    "fields that are not static, in an rz.Fixed where they must not train",
)
def static_fields_have_a_hash(subject: Subject) -> None:
    """A program is found again by the static fields, so they are values that do not change."""
    cell = subject.plain()
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name, None)
        if not field.metadata.get("static", False):
            continue
        try:
            hash(value)
        except TypeError:
            raise AssertionError(
                f"expected a static field with a hash, got {field.name} = {value!r}"
            ) from None
    hash(jax.tree.structure(cell))


@law(
    "promises",
    mend="keep what is no array in fields with eqx.field(static=True), and complex quantities as "
    "two real arrays, as rz.cells.LRUCell does: optimisers and files know real arrays; NumPy "
    "arrays become JAX's by jnp.asarray",
)
def parameters_are_real_arrays(subject: Subject) -> None:
    """Every leaf of the cell is a JAX array, and none is complex."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(subject.plain()):
        at = jax.tree_util.keystr(path)
        if type(leaf) is bool and at.endswith("inference"):
            continue  # what eqx.nn.inference_mode sets
        require(isinstance(leaf, jax.Array), f"expected JAX arrays alone, got {leaf!r} at {at}")
        real = not jnp.iscomplexobj(leaf)
        require(real, f"expected real parameters, got {jnp.result_type(leaf)} at {at}")


@law(
    "promises",
    basic=True,
    mend="let the step depend on nothing but the cell, the state, x, dt and key, and change none "
    "of them: no counters, no global variables, no NumPy random numbers; what changes along a "
    "sequence belongs into the state",
)
def a_step_is_a_pure_function(subject: Subject) -> None:
    """Called twice it gives the same bits, and the cell and the state are what they were."""
    cell = subject.cell()
    state, x = random_state(cell, 1), draw(2, (cell.input_size,))
    before = copy.deepcopy((jax.tree.map(np.array, (cell, state)), _static(cell)))
    one, two = (cell.step(state, x, **keyed(cell)) for _ in range(2))
    after = jax.tree.map(np.array, (cell, state)), _static(cell)
    require(same(one, two), "two calls of a step with the same arguments gave different results")
    require(same(before[0], after[0]), "a step changed an array of the cell or of the state")
    require(before[1] == after[1], f"a step changed a field: {before[1]} became {after[1]}")


def _static(cell: Any) -> dict[str, Any]:
    """The fields that hold plain values and collections of them, which a step could change."""
    plain = (int, float, str, list, dict, set)
    fields = {f.name: getattr(cell, f.name, None) for f in dataclasses.fields(cell)}
    return {k: v for k, v in fields.items() if isinstance(v, plain) and not _has_arrays(v)}


def _has_arrays(value: Any) -> bool:
    return any(map(eqx.is_array_like, jax.tree.leaves(value))) and not np.isscalar(value)


@law(
    "promises",
    "keyed",
    mend="draw every start from the key that the constructor is given, and from nothing else",
)
def two_keys_give_two_cells_and_one_key_one(subject: Subject) -> Any:
    """Where `make` takes a key. A cell that draws nothing is the same for all keys."""
    one, other = subject.plain(), subject.plain(seed=1)
    again = subject.make(jax.random.key(0), None)
    require(same(subject.mend(again), one), "one key gave two different cells")
    if not jax.tree.leaves(eqx.filter(one, eqx.is_inexact_array)):
        return "it has nothing that trains"
    require(not same(one, other), "two keys gave the same cell")
    return None


@law(
    "promises",
    mend="keep all that the cell knows in its fields: what is computed in __init__ and hidden "
    "elsewhere is in no file",
)
def files_and_copies_hold_the_cell(subject: Subject) -> None:
    """A deep copy and a file read into a cell of another key are the cell, to the bit."""
    cell = subject.cell()
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, cell)
    file.seek(0)
    read = eqx.tree_deserialise_leaves(file, subject.cell(seed=1))
    state, x = random_state(cell, 1), draw(2, (cell.input_size,))
    expected = step(cell, state, x, **keyed(cell))
    for other, what in ((read, "read from a file"), (copy.deepcopy(cell), "copied")):
        require(same(jax.tree.leaves(other), jax.tree.leaves(cell)), f"{what}, it has other arrays")
        require(
            same(step(other, state, x, **keyed(cell)), expected), f"{what}, it gives other steps"
        )


@law(
    "promises",
    mend="let constants() depend on the parameters alone, and compute there what the equation "
    "would compute: it is called once for a whole sequence",
)
def constants_change_nothing_but_the_cost(subject: Subject) -> None:
    """A step with constants computed before gives what a step gives that computes them."""
    cell = subject.cell()
    state, x = random_state(cell, 1), draw(2, (cell.input_size,))
    forms = cell, hold(cell), hold(hold(cell))
    plain, once, twice = (step(form, state, x, **keyed(cell)) for form in forms)
    if not (same(plain, once) and same(plain, twice)):
        # Constants that are computed inside may round otherwise there, but not op by op.
        plain, once, twice = (form.step(state, x, **keyed(cell)) for form in forms)
    assert_close(once, plain, 0)
    assert_close(twice, plain, 0)


@law(
    "promises",
    mend="look for divisions by what can be 0, roots and logarithms of what can be negative, and "
    "products that grow; keep a positive parameter as its logarithm",
)
def outputs_are_finite(subject: Subject) -> None:
    """From the first state, over inputs of usual size."""
    cell = subject.cell()
    state = cell.init_state()
    require(finite(state), f"expected a finite init_state(), got {state}")
    for seed in range(3):
        state, y = step(cell, state, draw(seed, (cell.input_size,)), **keyed(cell))
        require(finite((state, y)), f"expected finite numbers, got y = {y} after {seed + 1} steps")


# --- a cell that keeps its promises, of one that does not -----------------------------------------


class Promised(AbstractCell):
    """A cell whose steps give the states that its `init_state` promises: the others are cast.

    With it a report goes on behind a broken promise, and finds what else is wrong.
    """

    cell: Any
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    timed: bool = eqx.field(static=True)
    stochastic: bool = eqx.field(static=True)
    linear: bool = eqx.field(static=True, default=False)

    def init_state(self) -> Any:
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), self.cell.init_state())

    def constants(self) -> Any:
        """Those of the cell."""
        return self.cell.constants()

    def equation(self, c: Any, state: Any, x: Any, *dt: Any, **key: Any) -> tuple[Any, Any]:
        """That of the cell, its state cast."""
        after, y = self.cell.equation(c, state, x, *dt, **key)
        return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, state), y


def promised(cell: Any) -> Any:
    """The cell with its true output size, its states cast to what `init_state` promises."""
    _, _, y = abstract_step(cell)
    size = y.shape[0]
    if cell.linear:
        own = any(field.name == "output_size" for field in dataclasses.fields(cell))
        return replace(cell, output_size=size) if own else cell
    return Promised(cell, cell.input_size, size, cell.timed, cell.stochastic)
