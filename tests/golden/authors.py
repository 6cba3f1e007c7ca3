"""What makes golden values from single functions of the authors' files, without their packages."""

import __future__

import ast
import contextlib
import json
import math
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


# Their casts to single precision.
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
warnings.simplefilter("ignore")

T, I, H = 12, 3, 5
TORCH = {"torch": torch, "nn": nn, "F": F, "math": math, "np": np}

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


def source(path: str) -> list[str]:
    """The file, or the cells of a notebook that Python can read."""
    text = (FOLDER / path).read_text()
    if not path.endswith(".ipynb"):
        return [text.replace("\t", "    ")]
    cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells]


def parsed(text: str) -> ast.Module:
    with contextlib.suppress(SyntaxError):
        return ast.parse(text)
    return ast.Module([], [])


def run(node: ast.AST, path: str, seen: dict) -> None:
    """Define what the node defines, without a look at its annotations."""
    flags = __future__.annotations.compiler_flag
    exec(compile(ast.Module([node], []), path, "exec", flags=flags), seen)


def take(path: str, *names: str, **around) -> types.SimpleNamespace:
    """The functions and classes of these names, also nested ones; `around`: what they see."""
    nodes = [node for text in source(path) for node in ast.walk(parsed(text))]
    seen = dict(around)
    for name in names:
        node = next(n for n in nodes if getattr(n, "name", None) == name)
        run(node, path, seen)
    return types.SimpleNamespace(**{name: seen[name] for name in names})


def method(path: str, owner: str, name: str, **around):
    """One method of a class whose other parts need what is not installed."""
    nodes = [node for text in source(path) for node in ast.walk(parsed(text))]
    body = next(n for n in nodes if isinstance(n, ast.ClassDef) and n.name == owner).body
    node = next(n for n in body if getattr(n, "name", None) == name)
    seen = dict(around)
    run(node, path, seen)
    return seen[name]


class Scopes:
    """`tf.variable_scope`, which remembers where it is."""

    here = ""

    @contextlib.contextmanager
    def __call__(self, name):
        self.here, before = name, self.here
        yield
        self.here = before


SCOPES = Scopes()

# The few functions of TensorFlow 1 that the cells use. T-LSTM writes 2.7183 for e.
TENSORFLOW = types.SimpleNamespace(
    nn=types.SimpleNamespace(sigmoid=torch.sigmoid, tanh=torch.tanh),
    sigmoid=torch.sigmoid,
    tanh=torch.tanh,
    matmul=torch.matmul,
    multiply=torch.multiply,
    log=torch.log,
    ones=lambda shape, dtype: torch.ones(shape),
    div=lambda one, other, name: one / other,
    constant=lambda value, dtype: torch.tensor(math.e if value == 2.7183 else float(value)),
    float32=None,
    shape=lambda value: value.shape,
    stack=torch.stack,
    unstack=torch.unbind,
    slice=lambda value, begin, size: value[tuple(slice(b, b + s) for b, s in zip(begin, size))],
    variable_scope=SCOPES,
)


class Broadcast:
    """A Theano vector of times, for `dimshuffle([0, "x"])`."""

    def __init__(self, value):
        self.value = value

    def dimshuffle(self, axes):
        return self.value[:, None]


THEANO = types.SimpleNamespace(
    mod=torch.remainder,
    le=lambda one, other: (one <= other).double(),
    gt=lambda one, other: (one > other).double(),
    switch=lambda mask, one, other: torch.where(mask > 0, one, other),
)


def draw(*shape, scale=0.6):
    return scale * torch.randn(shape)


def inputs():
    return draw(T, I, scale=1.0)


def times():
    return 0.2 + 2.0 * torch.rand(T)


def joined(tensor, order):
    """Blocks of rows in another order."""
    blocks = tensor.chunk(len(order))
    return torch.cat([blocks[k] for k in order])


def result(x, p, start, end, ys, dt=None):
    """`start` and `end`: the parts of the state, in our order."""
    found = {"x": x, "y": torch.stack([y.reshape(-1) for y in ys])}
    found |= {f"p/{name}": value for name, value in p.items()}
    for side, parts in {"start": start, "end": end}.items():
        for k, part in enumerate(parts):
            found[f"{side}/{k}"] = part
    return found | ({} if dt is None else {"dt": dt})


def shaken(module):
    for p in module.parameters():
        p.copy_(draw(*p.shape))
    return module


def one_state(step, x, h):
    """Run a cell with one state, which is its output."""
    ys, new = [], h[None]
    for u in x:
        new = step(u[None], new)
        ys.append(new[0])
    return [h], [new[0]], ys


def two_states(step, x, h, c):
    """Run `step(x, (h, c))`, which gives the new pair."""
    ys, pair = [], (h[None], c[None])
    for u in x:
        pair = step(u[None], pair)
        ys.append(pair[0][0])
    return [h, c], [pair[0][0], pair[1][0]], ys
