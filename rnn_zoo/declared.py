"""Cells whose constructor is what their class declares: options, and how parameters start.

    class ElmanCell(AbstractDeclaredCell, init=False):
        weight_ih: Float[Array, "hidden input"] = drawn(glorot)
        weight_hh: Float[Array, "hidden hidden"] = drawn(orthogonal)
        bias: Float[Array, " hidden"] | None = filled(0.0)
        activation: Callable = option(jnp.tanh, converter=portable)

gives `ElmanCell(input_size, hidden_size, *, activation=jnp.tanh, use_bias=True, dtype=None, key)`.
The shape of a parameter is said once, in its annotation, and the initialiser gets it. What the
declarations of a cell have to know of each other stands in `Given`.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args, get_origin

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import AbstractArray, Array, PRNGKeyArray

from ._common.checks import check_choice, check_positive, check_sizes
from ._common.dtypes import working_float, zero_state
from ._common.hints import option_hint
from .base import AbstractCell


SIZES = ("input_size", "hidden_size")


class Given:
    """What a constructor was given: the sizes, the options, `dtype`, the whole `key`, and the
    parameters so far."""

    input_size: int
    hidden_size: int
    dtype: Any
    key: Any

    def __init__(self, **values: Any):
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"nothing called {name!r} is declared before it is used")

    def shape(self, dims: str) -> tuple[int, ...]:
        """The shape that stands in an annotation: "4*hidden input" and the like.

        A name is that of a size without its `_size`, or of an option.
        """
        return tuple(math.prod(map(self._factor, axis.split("*"))) for axis in dims.split())

    def _factor(self, name: str) -> int:
        if name.isdigit():
            return int(name)
        return getattr(self, f"{name}_size" if f"{name}_size" in self.__dict__ else name)


class Option(NamedTuple):
    """An option of a constructor, or with `asked` False a number made of those before it."""

    default: Any
    check: Callable[[str, Any, Given], Any] | None
    asked: bool = True


class Start(NamedTuple):
    """How a parameter starts: `make(given, shape, key)`; `place`, which key; `when`, or None."""

    make: Callable[[Given, Any, Any], Any]
    keyed: bool
    place: int | None = None
    when: Callable[[Given], Any] | None = None


# --- what a class body says -----------------------------------------------------------------------


def option(
    default: Any,
    check: Callable[[str, Any, Given], Any] | None = None,
    *,
    converter: Callable | None = None,
) -> Any:
    """A keyword argument. `check(name, value, given)` gives what is kept, or raises.

    A field keeps it, static; a `ClassVar` is asked for and not kept: it acts at the start only.
    """
    keywords = {} if converter is None else {"converter": converter}
    return eqx.field(static=True, metadata={"declared": Option(default, check)}, **keywords)


def derived(function: Callable[[Given], Any]) -> Any:
    """A number or a setting made of the sizes and options; kept as `option` says."""
    made = Option(None, lambda name, value, given: function(given), asked=False)
    return eqx.field(static=True, metadata={"declared": made})


def drawn(
    make: Callable[..., Array],
    *,
    fan_in: str | None = None,
    key: int | None = None,
    when: Callable[[Given], Any] | None = None,
    **settings: Any,
) -> Any:
    """A parameter from an initialiser `make(key, shape, dtype, **settings)`.

    `fan_in`: axes, as in an annotation, whose sum the initialiser takes for its fan-in.
    Each drawn parameter has a key of its own, in the order of the class, or number `key`.
    """

    def start(given: Given, shape: tuple[int, ...], key: Any) -> Array:
        more = {} if fan_in is None else {"fan_in": sum(given.shape(fan_in))}
        return make(key, shape, given.dtype, **settings, **more)

    return _parameter(Start(start, True, key, when))


def drawn_from(
    function: Callable[[Given, Any, Any], Any],
    *,
    key: int | None = None,
    when: Callable[[Given], Any] | None = None,
) -> Any:
    """A parameter from `function(given, shape, key)`; the shape is None for what is no array.

    What is annotated as a `ClassVar` is not kept: parameters below are made of this one draw.
    """
    return _parameter(Start(function, True, key, when))


def filled(value: float, *, when: Callable[[Given], Any] | None = None) -> Any:
    """A parameter with one number everywhere."""
    return computed(lambda given, shape: jnp.full(shape, value, given.dtype), when=when)


def computed(
    function: Callable[[Given, Any], Any], *, when: Callable[[Given], Any] | None = None
) -> Any:
    """A parameter from `function(given, shape)`, without a draw."""
    return _parameter(Start(lambda given, shape, key: function(given, shape), False, None, when))


def _parameter(start: Start) -> Any:
    return eqx.field(metadata={"declared": start})


def positive(name: str, value: Any, given: Given) -> float:
    """above 0"""
    return check_positive(name, value)


def non_negative(name: str, value: Any, given: Given) -> float:
    """at least 0"""
    return check_positive(name, value, zero=True)


def said(words: str) -> Callable[[str, Any, Given], Any]:
    """No check: `words` are what the documentation says of the option."""

    def check(name: str, value: Any, given: Given) -> Any:
        return value

    check.__doc__ = words
    return check


def at_least_one(name: str, value: Any, given: Given) -> int:
    """an integer of at least 1"""
    check_sizes(**{name: value})
    return value


def like_hidden(name: str, value: Any, given: Given) -> int:
    """an integer of at least 1, by default `hidden_size`"""
    return at_least_one(name, given.hidden_size if value is None else value, given)


def one_of(*known: str) -> Callable[[str, Any, Given], str]:
    """A check for one of several words."""

    def check(name: str, value: Any, given: Given) -> str:
        return check_choice(name, value, known)

    check.__doc__ = "one of " + ", ".join(map(repr, known))
    return check


# --- what becomes of it ---------------------------------------------------------------------------


class AbstractDeclaredCell(AbstractCell):
    """A cell whose constructor its class body declares; see the head of this file.

    Its state is one vector, (hidden,), zero at the start, unless the class gives `init_state`.

    `init=False` behind it tells a type checker that the fields are no arguments.
    """

    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    if TYPE_CHECKING:

        def __init__(
            self, input_size: int, hidden_size: int, *, key: PRNGKeyArray, **options: Any
        ): ...

        def init_state(self) -> Any: ...

    else:

        def __init_subclass__(cls, init: bool = False, **keywords: Any) -> None:
            super(AbstractDeclaredCell, cls).__init_subclass__(**keywords)  # noqa: UP008
            declared = _declarations(cls)
            if declared and getattr(cls.init_state, "__isabstractmethod__", False):
                cls.init_state = _zeros
            if declared:
                cls.__init__ = _constructor(declared, inspect.get_annotations(cls))


def _zeros(self: AbstractCell) -> Array:
    """h, (hidden,), zeros in the dtype of a carry beside the parameters."""
    real = (p for p in jax.tree.leaves(self) if jnp.issubdtype(p.dtype, jnp.floating))
    return zero_state(self.output_size, next(real))


def _declarations(cls: type) -> dict[str, Option | Start]:
    """What the body of a class declares, by name. What is not kept leaves the class."""
    found = {}
    for name, annotation in inspect.get_annotations(cls).items():
        metadata = getattr(vars(cls).get(name), "metadata", None)
        if isinstance(metadata, Mapping) and "declared" in metadata:
            found[name] = metadata["declared"]
            if _not_kept(annotation):
                delattr(cls, name)
    return found


def _constructor(declared: dict[str, Any], annotations: dict[str, Any]) -> Callable:
    options = {name: d for name, d in declared.items() if isinstance(d, Option)}
    starts = {name: d for name, d in declared.items() if isinstance(d, Start)}
    kept = {name for name in declared if not _not_kept(annotations[name])}
    # A parameter that may be None, and does not say when, is a bias.
    starts = {name: _optional(start, annotations[name]) for name, start in starts.items()}
    if any(start.when is _use_bias for start in starts.values()):
        options["use_bias"] = Option(True, None)
    signature = _signature(options, annotations)
    places = _places(starts)

    def __init__(self: Any, *arguments: Any, **keywords: Any) -> None:
        bound = _bind(signature, type(self), arguments, keywords)
        given = Given(**{name: bound[name] for name in SIZES})
        check_sizes(**vars(given))
        for name, one in options.items():
            value = bound.get(name)
            value = value if one.check is None else one.check(name, value, given)
            setattr(given, name, value)
        given.dtype = working_float(bound["dtype"])
        self.input_size, self.output_size = given.input_size, given.hidden_size
        for name in options:
            if name in kept:
                setattr(self, name, getattr(given, name))
        given.key = bound["key"]
        keys = jr.split(given.key, max(places.values()) + 1) if places else ()
        for name, start in starts.items():
            value = None
            if start.when is None or start.when(given):
                shape = _shape(annotations[name], given)
                value = start.make(given, shape, keys[places[name]] if start.keyed else None)
            setattr(given, name, value)
            if name in kept:
                setattr(self, name, value)

    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[_SELF, *signature.parameters.values()]
    )
    __init__.__doc__ = _document(options)
    return __init__


_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _use_bias(given: Given) -> bool:
    return given.use_bias


def _not_kept(annotation: Any) -> bool:
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _optional(start: Start, annotation: Any) -> Start:
    bare = start.when is None and type(None) in get_args(annotation)
    return start._replace(when=_use_bias) if bare else start


def _places(starts: dict[str, Start]) -> dict[str, int]:
    """Which key each drawn parameter takes."""
    keyed = {name: start.place for name, start in starts.items() if start.keyed}
    free = iter(range(len(keyed)))
    return {name: next(free) if place is None else place for name, place in keyed.items()}


def _signature(options: dict[str, Option], annotations: dict[str, Any]) -> inspect.Signature:
    def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, kind, default=default, annotation=annotation)

    def annotated(name: str) -> Any:
        annotation = annotations.get(name, bool)
        inner = get_args(annotation)[:1] if _not_kept(annotation) else (annotation,)
        return inner[0] if inner else Any

    sizes = [inspect.Parameter(n, _SELF.kind, annotation=int) for n in SIZES]
    asked = [keyword(n, annotated(n), o.default) for n, o in options.items() if o.asked]
    rest = [
        keyword("dtype", Any, None),
        keyword("key", PRNGKeyArray, inspect.Parameter.empty),
    ]
    return inspect.Signature([*sizes, *asked, *rest])


def _bind(signature: inspect.Signature, cls: type, arguments: tuple, keywords: dict) -> dict:
    for name in keywords:
        if name not in signature.parameters:
            hint = option_hint(name, signature.parameters)
            raise TypeError(f"{cls.__name__} has no option {name!r}{hint}")
    try:
        bound = signature.bind(*arguments, **keywords)
    except TypeError as error:
        names = ", ".join(map(str, _bare(signature).parameters.values()))
        raise TypeError(f"{cls.__name__}({names}): {error}") from None
    bound.apply_defaults()
    return bound.arguments


def _bare(signature: inspect.Signature) -> inspect.Signature:
    """Without annotations."""
    parameters = signature.parameters.values()
    return signature.replace(
        parameters=[p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    )


def _shape(annotation: Any, given: Given) -> tuple[int, ...] | None:
    """The shape of an array that an annotation names, None for what is no array."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, AbstractArray):
            return given.shape(part.dim_str)
    return None


def _document(options: dict[str, Option]) -> str:
    lines = ["**Arguments:**", "", "- `input_size`, `hidden_size`: of x and of y."]
    for name, one in options.items():
        if one.asked:
            rule = inspect.getdoc(one.check) if one.check is not None else None
            rule = rule and rule.replace("\n", "\n  ")
            lines.append(f"- `{name}`: {rule}." if rule else f"- `{name}`.")
    lines += [
        "- `dtype`: of the parameters, by default JAX's default float.",
        "- `key`: draws them.",
    ]
    return "\n".join([*lines, "", "ValueError for any other value."])
