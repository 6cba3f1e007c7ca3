"""Whether an object of another library does what its class does there.

A converter carries arrays and options. What a subclass, a hook or a function of one's own does
beside them it cannot carry, and says so.
"""

import inspect
from collections.abc import Iterable
from typing import Any


# What may be written anew without a change of what an object computes.
_HARMLESS = {
    *("reset_parameters", "extra_repr", "init_weights"),
    *("get_config", "from_config", "build_from_config", "get_build_config"),
    *("compute_output_shape", "compute_output_spec", "compute_mask"),
}
# What runs an object; a special name that is not among them only makes, shows or copies it.
_RUNS = ("forward", "call", "__call__", "__getattr__", "__getattribute__", "__torch_function__")


def class_of(value: Any, names: Iterable[str], libraries: Iterable[str]) -> type | None:
    """The first class of `value` that has one of these names and that one of these packages
    defines; None where there is none."""
    for cls in type(value).__mro__:
        if cls.__name__ in names and _root(cls) in libraries:
            return cls
    return None


def check_plain(value: Any, own: type, mend: str) -> None:
    """A TypeError where `value`, of the class `own` or one that extends it, has code of its own."""
    theirs = type(value).__mro__[: type(value).__mro__.index(own)]
    replaced = {
        name
        for cls in theirs
        for name, member in vars(cls).items()
        if hasattr(own, name) and _runs(name) and _is_code(member)
    }
    replaced |= {name for name in _RUNS if name in getattr(value, "__dict__", {})}
    if replaced:
        raise TypeError(
            f"expected {own.__name__} as its library has it, got {type(value).__name__} with its "
            f"own {', '.join(sorted(replaced))}, whose code is not read: {mend}"
        )


def _runs(name: str) -> bool:
    special = name.startswith("__") and name.endswith("__")
    return name in _RUNS if special else name not in _HARMLESS


def _is_code(member: Any) -> bool:
    return inspect.isroutine(member) or isinstance(member, property | staticmethod | classmethod)


def is_function_of(function: Any, names: Iterable[str], libraries: Iterable[str]) -> bool:
    """Whether this is the function of one of these names that one of these packages has."""
    known = _root(function) in libraries or inspect.isbuiltin(function)
    return getattr(function, "__name__", "") in names and known


def name_of(function: Any) -> str:
    """A function for a message: its name, and where it comes from."""
    name = getattr(function, "__name__", str(function))
    module = getattr(function, "__module__", None)
    return f"{name} of {module}" if module else name


def _root(member: Any) -> str:
    return str(getattr(member, "__module__", "")).partition(".")[0]


def check_hooks(module: Any, libraries: Iterable[str]) -> None:
    """A TypeError for a module of torch of which a part is not of these packages, or that runs
    hooks or a function of its own in its forward pass."""
    for name, part in module.named_modules() if hasattr(module, "named_modules") else ():
        where = name or "the module"
        if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
            raise TypeError(
                f"expected a module without forward hooks, got some on {where}, whose code is not "
                "read: remove them by the handles that registered them"
            )
        if name and _root(type(part)) not in libraries:
            raise TypeError(
                f"expected parts of {' and '.join(libraries)}, got {type(part).__name__} at "
                f"{where}, whose code is not read"
            )
