"""Errors that only the values of a running program show."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import equinox as eqx


# Values are known when a program runs; to complain, it calls back into Python.
_CALLS_BACK = ContextVar("calls_back", default=True)


@contextlib.contextmanager
def without_runtime_errors() -> Iterator[None]:
    """What is traced inside never calls back, so it can leave this process."""
    token = _CALLS_BACK.set(False)
    try:
        yield
    finally:
        _CALLS_BACK.reset(token)


def runtime_error_if(value: Any, wrong: Any, message: str) -> Any:
    """`value`, with a runtime error where `wrong` holds."""
    return eqx.error_if(value, wrong, message) if _CALLS_BACK.get() else value
