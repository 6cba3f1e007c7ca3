"""What griffe cannot read off the source: constructors that fields declare, and Markdown."""

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import docstrings
import griffe
import public_names

from rnn_zoo.declared import AbstractDeclaredCell


GIVEN = {
    "input_size": "int",
    "hidden_size": "int",
    "use_bias": "bool",
    "dtype": "Any",
    "key": "PRNGKeyArray",
}
EMPTY = inspect.Parameter.empty
KEYWORD = griffe.ParameterKind.keyword_only
POSITIONAL = griffe.ParameterKind.positional_or_keyword


class PublicNames(griffe.Extension):
    """Gives public classes their constructor, and all docstrings of public objects links."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        for entry in public_names.entries().values():
            path = entry.defined.removeprefix("rnn_zoo.")
            if pkg[path].is_attribute and inspect.isfunction(inspect.unwrap(entry.value)):
                pkg.set_member(path, _made(pkg[path], entry.value))
            found = pkg[path]
            if found.is_class:
                _construct(found, entry.value)
            for each in (found, *found.members.values()):
                if not each.is_alias and each.docstring:
                    each.docstring.value = docstrings.markdown(each.docstring.value, entry.page)


def _construct(cls: Any, value: Any) -> None:
    """Adds the constructor that Equinox makes of the fields."""
    if "__init__" in cls.members or cls.name.startswith("Abstract"):
        return
    parameters, text = [griffe.Parameter("self", kind=POSITIONAL)], None
    if is_declared(value):
        parameters += _declared(cls, value)
        text = griffe.Docstring(inspect.cleandoc(value.__init__.__doc__))
    else:
        parameters += _fields(cls)
    made = griffe.Function("__init__", parameters=griffe.Parameters(*parameters), docstring=text)
    made.lineno, made.endlineno = cls.lineno, cls.endlineno
    cls.set_member("__init__", made)


def _made(attribute: Any, value: Any) -> griffe.Function:
    """A function that another one makes, as it is written there, with its own docstring."""
    code = inspect.unwrap(value).__code__
    tree = ast.parse(Path(code.co_filename).read_text())
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    node = next(node for node in nodes if node.lineno == code.co_firstlineno)
    asked = inspect.signature(value).parameters
    given = [*node.args.args, *node.args.kwonlyargs, *filter(None, [node.args.kwarg])]
    parameters = [
        griffe.Parameter(
            each.arg,
            annotation=_text(each.annotation),
            kind=griffe.ParameterKind(asked[each.arg].kind.description),
            default=None if asked[each.arg].default is EMPTY else repr(asked[each.arg].default),
        )
        for each in given
    ]
    made = griffe.Function(
        attribute.name,
        parameters=griffe.Parameters(*parameters),
        returns=_text(node.returns),
        docstring=griffe.Docstring(inspect.cleandoc(value.__doc__)),
    )
    made.lineno, made.endlineno = attribute.lineno, attribute.endlineno
    return made


def _text(node: ast.expr | None) -> str | None:
    return ast.unparse(node) if node else None


def is_declared(value: Any) -> bool:
    """Whether the fields of this class declare its constructor."""
    derived = inspect.isclass(value) and issubclass(value, AbstractDeclaredCell)
    return derived and "__init__" in vars(value) and value is not AbstractDeclaredCell


def _declared(cls: Any, value: Any) -> list[griffe.Parameter]:
    found = []
    for name, parameter in inspect.signature(value).parameters.items():
        keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        make = functools.partial(griffe.Parameter, name, kind=KEYWORD if keyword else POSITIONAL)
        if name in GIVEN:
            known = parameter.default is not EMPTY
            default = repr(parameter.default) if known else None
            found.append(make(annotation=GIVEN[name], default=default))
        else:
            field = cls.members[name]
            default = str(field.value.arguments[0])
            found.append(make(annotation=_plain(field.annotation), default=default))
    return found


def _fields(cls: Any) -> list[griffe.Parameter]:
    found = []
    for field in cls.attributes.values():
        annotation = field.annotation
        if annotation is None or re.match(r"(typing\.)?ClassVar\b", str(annotation)):
            continue
        default = field.value
        if isinstance(default, griffe.ExprCall):  # eqx.field(static=True, default=...)
            named = {getattr(each, "name", ""): each for each in default.arguments}
            default = named["default"].value if "default" in named else None
        text = None if default is None else str(default)
        found.append(
            griffe.Parameter(field.name, annotation=annotation, kind=POSITIONAL, default=text)
        )
    return found


def _plain(annotation: Any) -> Any:
    """Without the ClassVar of an option that the cell does not keep."""
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "ClassVar":
        return annotation.slice
    return annotation
