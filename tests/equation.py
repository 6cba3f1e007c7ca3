"""Computes a step from the text of its equation and the fields of the cell, in NumPy float64.

`rnn_zoo/_common/notation.py` says how texts are read, `notation.py` what signs and functions mean.
Only what the state after the step and the output need is computed.
"""

import re
from functools import partial

import equinox as eqx
import jax
import numpy as np
from notation import FUNCTIONS, blocks, entrywise, of_cell, of_head, product

from rnn_zoo._common.fixed import Fixed


TOKEN = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?|[A-Za-z][\w.]*'?\(?|[-+*/^()\[\],]")
LINE = re.compile(r"(?:where )?(?P<names>[^=]+) = (?P<right>.+?)(?:  +(?P<case>if .+|otherwise))?$")
MISSING = object()


def lines(text):
    """(heading, [(names, right side, case, stands below `where`?)]) of a text."""
    heading, *rows = text.splitlines()
    if " = " in heading:
        heading, rows = "", [heading, *rows]
    found, below = [], False
    for row in rows:
        below = below or row.startswith("where ")
        for part in row.strip().split("; "):
            line = LINE.match(part)
            assert line, f"expected symbol = expression, got {part!r}"
            names = tuple(line["names"].split(", "))
            found.append((names, line["right"], line["case"] or "", below))
    return heading, found


def step(text, cell, state, x, dt, used=None):
    """All numbers of the state after the step, one behind the other, and the output.

    `used`, a set, gets the lines that were computed.
    """
    heading, rows = lines(text)
    used = set() if used is None else used
    if heading.startswith("for each layer"):
        after, ends = [], np.cumsum([layer.output_size for layer in cell.layers])
        for k, (layer, h) in enumerate(zip(cell.layers, np.split(state, ends))):
            scope = Scope(rows, (layer, cell), h, x, dt, k, used)
            x = scope.after()
            after.append(x)
        return np.concatenate(after), scope.output()
    if heading == "for each head":
        scopes = []
        for h in range(cell.num_heads):
            own = jax.tree.map(partial(of_head, cell.num_heads, h), state)
            scopes.append(Scope(rows, (cell,), own, x, dt, h, used))
        after = zip(*(scope.states() for scope in scopes))
        after = [np.ravel(np.stack(leaf)) for leaf in after]
        return np.concatenate(after), np.concatenate([np.ravel(s.output()) for s in scopes])
    times = getattr(cell, heading.split()[0]) if heading else 1
    for k in range(times):
        scope = Scope(rows, (cell,), state, x, dt, k, used)
        state = scope.after()
    return state, scope.output()


class Scope:
    """The symbols of one step, computed when they are asked for; fields are those of the owners."""

    def __init__(self, rows, owners, state, x, dt, layer, used):
        self.rows, self.owners, self.used, self.known = rows, owners, used, {}
        size = owners[0].output_size
        self.given = {"x": x, "dt": dt, "state": state, "j": 1j, "pi": np.pi, "I": np.eye(size)}
        self.given["h"] = layer
        self.functions = FUNCTIONS | of_cell(owners[-1], size, layer)

    def after(self):
        """The state after the step, all numbers one behind the other."""
        return np.concatenate([np.ravel(part) for part in self.states()])

    def states(self):
        """The parts of the state after the step."""
        rows = [row for row in self.rows if re.search(r"\bstate\b", row[1])]
        names = next(names for names, _, case, _ in rows if self.holds(case).all())
        return [self.value(f"{name}'") for name in names]

    def output(self):
        names = [names for names, _, _, below in self.rows if not below][-1]
        return self.value(names[0])

    def value(self, name, below=False):
        """Of a symbol or a field: below `where` fields come first, above it symbols."""
        if (field := self.field(name)) is not MISSING and below:
            return field
        if name not in self.known and (row := self.definition(name)):
            return self.defined(row)
        if name not in self.known:
            rows = [row for row in self.rows if name in row[0]]
            found = self.chosen(name, rows) if rows else field
            self.known[name] = self.given[name] if found is MISSING else found
        return self.known[name]

    def definition(self, name):
        """The line that says what the function `name` is, such as `F(v) = W v`."""
        return next((row for row in self.rows if row[0][0].startswith(f"{name}(")), None)

    def defined(self, row):
        argument = row[0][0].partition("(")[2].removesuffix(")")
        self.used.add(row)

        def function(value):
            before, self.known = self.known, {**self.known, argument: value}
            found = self.computed(row[1], row[3])
            self.known = before
            return found

        return function

    def function(self, name):
        if row := self.definition(name):
            return self.defined(row)
        symbol = any(name in row[0] for row in self.rows)
        return self.value(name) if symbol else self.functions[name]

    def field(self, path):
        for owner in self.owners:
            for part in path.split("."):
                owner = getattr(owner, part, MISSING)
            if owner is not MISSING:
                return _plain(owner)
        return MISSING

    def chosen(self, name, rows):
        """What that line says whose case holds; where cases hold by entry, entry by entry."""
        value, left = None, np.array(True)
        for row in rows:
            names, right, case, below = row
            holds = left & self.holds(case)
            if holds.any():
                self.used.add(row)
                found = self.computed(right, below)
                found = blocks(found, len(names))[names.index(name)] if len(names) > 1 else found
                value = found if value is None else np.where(holds, found, value)
            left = left & ~holds
        assert not left.any(), f"no line of {name} holds"
        return value

    def holds(self, case):
        if case in ("", "otherwise"):
            return np.array(True)
        left, less, right = case.removeprefix("if ").partition(" < ")
        if less:
            return np.array(self.computed(left, False) < self.computed(right, False))
        left, _, right = case.removeprefix("if ").partition(" = ")
        value = self.computed(left, False)
        if isinstance(value, str):
            return np.array(value == right)
        return np.array(value == self.computed(right, False) if right else bool(value))

    def computed(self, text, below):
        return FUNCTIONS[text] if text in FUNCTIONS else Reader(text, self, below).everything()


class Reader:
    """Computes one expression of a scope, token by token."""

    def __init__(self, text, scope, below):
        self.tokens, self.scope, self.below = TOKEN.findall(text)[::-1], scope, below
        assert "".join(self.tokens[::-1]) == text.replace(" ", ""), f"cannot read {text!r}"

    def everything(self):
        value = self.sum()
        assert not self.tokens, f"expected the end, got {self.tokens[-1]!r}"
        return value

    def take(self, *wanted):
        return self.tokens.pop() if self.tokens and self.tokens[-1] in wanted else ""

    def sum(self):
        value = self.term()
        while sign := self.take("+", "-"):
            value = entrywise(np.add if sign == "+" else np.subtract, value, self.term())
        return value

    def term(self):
        value = self.side_by_side()
        while sign := self.take("*", "/", "mod"):
            # One factor below a stroke: a / b c can be read in two ways.
            factor = self.side_by_side() if sign == "*" else self.power()
            operation = {"*": np.multiply, "/": np.divide, "mod": np.mod}[sign]
            value = entrywise(operation, value, factor)
        return value

    def side_by_side(self):
        if self.take("-"):
            return -self.side_by_side()
        value = self.power()
        while self.tokens and self.tokens[-1] != "mod" and re.match(r"[\w(\[]", self.tokens[-1]):
            value = product(value, self.power())
        return value

    def power(self):
        value = self.atom()
        if not self.take("^"):
            return value
        if self.take("T"):
            return value.T
        exponent = -self.atom() if self.take("-") else self.atom()
        return np.linalg.inv(value) if np.ndim(value) == 2 and exponent == -1 else value**exponent

    def atom(self):
        token = self.tokens.pop()
        if token[0].isdigit():
            return float(token)
        if token == "(":
            return self.until(")")[0]
        if token == "[":
            return np.concatenate([np.atleast_1d(part) for part in self.until("]")])
        if token.endswith("("):
            return self.scope.function(token[:-1])(*self.until(")"))
        return self.scope.value(token, self.below)

    def until(self, end):
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        assert self.take(end), f"expected {end!r}, got {self.tokens[-1:]}"
        return values


def _plain(value):
    """A field in NumPy; a function by its name."""
    value = value.value if isinstance(value, Fixed) else value
    if callable(value) and not isinstance(value, eqx.Module | jax.Array):
        return FUNCTIONS.get(value.__name__, value)
    return np.asarray(value) if isinstance(value, jax.Array) else value
