"""What a message about an unknown keyword ends with."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .checks import one_like
from .foreign_words import ELSEWHERE, RENAMED


_Call = TypeVar("_Call", bound=Callable)


def option_hint(word: str, known: Iterable[str]) -> str:
    """The end of a message about an option that is not among the `known`."""
    known = tuple(known)
    target = RENAMED.get(word)
    if target in known:
        return f": it is {target!r} here"
    if word in ELSEWHERE:
        return f": {ELSEWHERE[word]}"
    if target is not None:
        return f": elsewhere in this library it is {target!r}{one_like(word, known)}"
    return one_like(word, known)


def hinted(what: str) -> Callable[[_Call], _Call]:
    """Decorates what takes no other keywords than its own: an unknown one is a TypeError that says
    what the word is here. `what` is who has no such option."""

    def decorate(function: _Call) -> _Call:
        parameters = inspect.signature(function).parameters
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return function
        known = parameters.keys() - {"self"}

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if not keywords.keys() <= known:
                word = next(word for word in keywords if word not in known)
                shown = [name for name in parameters if name != "self"]
                raise TypeError(f"{what} has no option {word!r}{option_hint(word, shown)}")
            return function(*arguments, **keywords)

        call._is_hinted = True  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def hint_constructor(cls: Any) -> None:
    """`hinted` for the constructor that a class writes itself."""
    own = vars(cls).get("__init__")
    if own is not None and not hasattr(own, "_is_hinted"):
        cls.__init__ = hinted(cls.__name__)(own)
