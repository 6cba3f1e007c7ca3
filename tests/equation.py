"""Computes a step from the text of its equation and the fields of the cell, in NumPy float64.

`rnn_zoo/cells/equations.py` says how the texts are read. Nothing is broadcast but numbers, and
only what the state after the step and the output need is computed.
"""

import math
import re

import equinox as eqx
import jax
import numpy as np
import scipy.linalg

from rnn_zoo._fixed import Fixed


TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?(?:e-?\d+)?|[A-Za-z][\w.]*'?\(?|[-+*/^()\[\],])")
LINE = re.compile(r"(?:where )?(?P<names>[^=]+) = (?P<right>.+?)(?:  +(?P<case>if .+|otherwise))?$")


def lines(text):
    """(heading, [(names, right side, case, below where?)]) of a text."""
    head, *rest = text.splitlines()
    rest, heading = (rest, head) if " = " not in head else ([head, *rest], "")
    found, below = [], False
    for row in rest:
        below = below or row.startswith("where ")
        for part in row.strip().split("; "):
            line = LINE.match(part)
            assert line, f"no equation: {part!r}"
            found.append((line["names"].split(", "), line["right"], line["case"] or "", below))
    return heading, found


def step(text, cell, state, x, dt):
    """All numbers of the state after, one behind the other, and the output."""
    heading, _ = lines(text)
    if heading.startswith("for each layer"):
        after, start = [], 0
        for k, layer in enumerate(cell.layers):
            h = state[start : start + layer.output_size]
            scope = Scope(text, (layer, cell), h, x, dt, k)
            x = scope.after()
            after, start = [*after, x], start + len(h)
        return np.concatenate(after), scope.output()
    times = int(getattr(cell, heading.split(" times")[0])) if heading else 1
    for _ in range(times):
        scope = Scope(text, (cell,), state, x, dt)
        state = scope.after() if heading else state
    return scope.after(), scope.output()


def product(a, b):
    """Of a number and anything, or of a matrix and what has as many rows as it has columns."""
    if a is None or b is None:
        return b if a is None else a
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    assert np.ndim(a) == 2, f"{np.shape(a)} beside {np.shape(b)}: only a matrix or a number stands so"
    return a @ b


def entrywise(operation):
    """An operation of two arrays of one shape, or of an array and a number."""

    def apply(a, b):
        if a is None or b is None:
            return b if a is None else a
        shapes = {np.shape(a), np.shape(b)} - {()}
        assert len(shapes) < 2, f"two shapes, {shapes}"
        return operation(a, b)

    return apply


ADD, SUBTRACT, TIMES, OVER, MOD = map(
    entrywise, (np.add, np.subtract, np.multiply, np.divide, np.mod)
)


class Reader:
    """Computes one expression of a scope from its tokens; `fields`: names mean fields first."""

    def __init__(self, text, scope, fields):
        self.tokens, self.scope, self.fields = TOKEN.findall(text)[::-1], scope, fields
        assert "".join(self.tokens[::-1]) == text.replace(" ", ""), f"cannot read {text!r}"

    def all(self):
        value = self.sum()
        assert not self.tokens, f"unexpected {self.tokens[-1]!r}"
        return value

    def take(self, *wanted):
        return self.tokens.pop() if self.tokens and self.tokens[-1] in wanted else ""

    def sum(self):
        value = self.term()
        while sign := self.take("+", "-"):
            value = (ADD if sign == "+" else SUBTRACT)(value, self.term())
        return value

    def term(self):
        value = self.side_by_side()
        while sign := self.take("*", "/", "mod"):
            if sign == "*":
                value = TIMES(value, self.side_by_side())
            else:  # one factor: a / b c would be read in two ways
                value = (OVER if sign == "/" else MOD)(value, self.power())
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
        sign = -1 if self.take("-") else 1
        exponent = sign * self.atom()
        if np.ndim(value) == 2 and exponent == -1:
            return np.linalg.inv(value)
        return value**exponent

    def atom(self):
        token = self.tokens.pop()
        if token[0].isdigit():
            return float(token)
        if token == "(":
            (value,) = self.until(")")
            return value
        if token == "[":
            return np.concatenate(self.until("]"))
        if token.endswith("("):
            return self.scope.function(token[:-1])(*self.until(")"))
        return self.scope.value(token, self.fields)

    def until(self, end):
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        assert self.take(end), f"expected {end!r}, got {self.tokens[-1:]}"
        return values


class Scope:
    """The symbols of one step, computed when they are asked for; fields are those of the owners."""

    def __init__(self, text, owners, state, x, dt, layer=0):
        self.lines, self.owners, self.known = lines(text)[1], owners, {}
        size = owners[0].output_size
        self.given = {"x": x, "dt": dt, "state": state, "j": 1j, "I": np.eye(size)}
        self.functions = FUNCTIONS | {
            "by_unit": lambda periods: by_unit(periods, size),
            "by_channel": lambda v: v.reshape(size, -1),
            "rows": lambda v: np.tile(v, (np.size(state), 1)),
            "motor": lambda v: motor(owners[-1].wiring, v),
            "synapses": lambda wiring: synapses(wiring, layer, owners[-1].fully_recurrent),
        }

    def after(self):
        """The state after the step, all numbers one behind the other."""
        (names,) = [names for names, right, _, _ in self.lines if re.search(r"\bstate\b", right)]
        return np.concatenate([np.ravel(self.value(f"{name}'")) for name in names])

    def output(self):
        names = [names for names, _, _, below in self.lines if not below][-1]
        return self.value(names[0])

    def value(self, name, fields=False):
        """Of a symbol, or of a field: below `where` fields come first, above it symbols."""
        field = self.field(name)
        if fields and field is not MISSING:
            return field
        if name not in self.known:
            rows = [row for row in self.lines if name in row[0]]
            found = self.chosen(name, rows) if rows else field
            self.known[name] = self.given[name] if found is MISSING else found
        return self.known[name]

    def function(self, name):
        return self.value(name) if any(name in row[0] for row in self.lines) else self.functions[name]

    def field(self, path):
        for owner in self.owners:
            for part in path.split("."):
                owner = getattr(owner, part, MISSING)
            if owner is not MISSING:
                return plain(owner)
        return MISSING

    def chosen(self, name, rows):
        """What the line says whose case holds, entry by entry where cases do."""
        value, open = None, np.array(True)
        for names, right, case, below in rows:
            holds = open & self.holds(case)
            if holds.any():
                found = self.computed(right, below)
                found = found if len(names) == 1 else blocks(found, len(names))[names.index(name)]
                value = found if holds.all() else np.where(holds, found, found if value is None else value)
            open = open & ~holds
        assert not open.any(), f"no line of {name} holds"
        return value

    def holds(self, case):
        if case in ("", "otherwise"):
            return np.array(True)
        left, _, right = case.removeprefix("if ").partition(" = ")
        value = self.computed(left, False)
        if not right:
            return np.array(bool(value))
        return np.array(value == (right if isinstance(value, str) else self.computed(right, False)))

    def computed(self, text, below):
        if text in FUNCTIONS:
            return FUNCTIONS[text]
        return Reader(text, self, below).all()


MISSING = object()


def plain(value):
    """A field in NumPy; functions by their name."""
    if isinstance(value, Fixed):
        return np.asarray(value.value)
    if isinstance(value, jax.Array):
        return np.asarray(value)
    if callable(value) and not isinstance(value, eqx.Module):
        return FUNCTIONS.get(value.__name__, value)
    return value


def blocks(value, count):
    """Equal blocks of the rows of an array, the entries of a tuple."""
    if value is None or isinstance(value, tuple):
        return [None] * count if value is None else value
    return np.split(value, count)


def join(value):
    real, imaginary = np.split(value, 2) if np.ndim(value) == 1 else value
    return real + 1j * imaginary


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def upper(entries):
    """A strictly upper triangular matrix, row by row."""
    size = round((1 + math.sqrt(1 + 8 * len(entries))) / 2)
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = entries
    return matrix


def wires(values, adjacency):
    """A number for each synapse as a matrix [target, source], 0 where there is none."""
    matrix = np.zeros(adjacency.shape)
    matrix[np.nonzero(adjacency)] = values
    return matrix.T


def layers(parts, activation, u):
    for part in parts:
        u = activation(np.asarray(part.weight) @ u + np.asarray(part.bias))
    return u


def by_unit(periods, size):
    """The period of each unit: equal blocks, the first ones larger by one where need be."""
    share, more = divmod(size, len(periods))
    return np.repeat(periods, [share + (k < more) for k in range(len(periods))])


def motor(wiring, v):
    """The motor neurons of the last layer, or of all neurons, of which they are the first."""
    last = wiring.layers[-1] if len(v) == len(wiring.layers[-1]) else range(len(v))
    return v[[list(last).index(neuron) for neuron in range(wiring.output_size)]]


def synapses(wiring, layer, fully_recurrent):
    """1 where a neuron of a layer (row) reads a feature of [x, h]: those before, its own layer."""
    own = list(wiring.layers[layer])
    before = wiring.adjacency[list(wiring.layers[layer - 1])] if layer else wiring.sensory_adjacency
    inside = np.ones((len(own), len(own))) if fully_recurrent else wiring.adjacency[own][:, own]
    return (np.concatenate([before[:, own], inside]).T != 0).astype(float)


FUNCTIONS = {
    "sig": sigmoid,
    "tanh": np.tanh,
    "exp": np.exp,
    "softplus": lambda z: np.logaddexp(0, z),
    "relu": lambda z: np.maximum(z, 0),
    "lecun_tanh": lambda z: 1.7159 * np.tanh(0.666 * z),
    "positive": lambda z: np.where(z >= 0, z + 0.5, sigmoid(z)),
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "max": entrywise(np.maximum),
    "min": entrywise(np.minimum),
    "clip": np.clip,
    "lcm": np.lcm.reduce,
    "re": np.real,
    "im": np.imag,
    "conj": np.conj,
    "complex": join,
    "given": lambda field: field is not None,
    "sum": lambda matrix: matrix.sum(1),
    "norm": np.linalg.norm,
    "diag": np.diag,
    "outer": np.outer,
    "expm": scipy.linalg.expm,
    "radius": lambda matrix: abs(np.linalg.eigvals(matrix)).max(),
    "fourier": lambda matrix: np.fft.fft(matrix, axis=0, norm="ortho"),
    "permute": lambda matrix, order: matrix[order],
    "reads": lambda periods: (periods[:, None] <= periods).astype(float),
    "parts": tuple,
    "block_diagonal": lambda blocks: scipy.linalg.block_diag(*blocks),
    "columns": lambda matrix: matrix.shape[1],
    "split": lambda matrix, row: (matrix[:row], matrix[row:]),
    "upper": upper,
    "wires": wires,
    "layers": layers,
}
