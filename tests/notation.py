"""What the signs and functions in the texts of equations mean, in NumPy."""

import math

import numpy as np
import scipy.linalg


def entrywise(operation, a, b):
    """Of arrays of one shape, or of an array and a number."""
    if a is None or b is None:  # a parameter that the cell does without
        return b if a is None else a
    shapes = {np.shape(a), np.shape(b)} - {()}
    assert len(shapes) < 2, f"expected arrays of one shape, got {shapes}"
    return operation(a, b)


def product(a, b):
    """a b: of a number and anything, or of a matrix and what has rows for its columns."""
    if a is None or b is None:
        return b if a is None else a
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    assert np.ndim(a) == 2, f"expected a matrix or a number in front, got {np.shape(a)}"
    return a @ b


def unit(v):
    """A vector, or each row, of length 1, or of 0 where it is 0."""
    return v / np.sqrt(
        np.sum(np.square(v), -1, keepdims=True) + 1e-6 if np.ndim(v) else v * v + 1e-6
    )


def blocks(value, count):
    """Equal blocks of the rows of an array, the entries of a tuple."""
    if value is None or isinstance(value, tuple):
        return [None] * count if value is None else value
    return np.split(value, count)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def join(value):
    """Complex numbers of two halves, the real one first."""
    real, imaginary = np.split(value, 2) if np.ndim(value) == 1 else value
    return real + 1j * imaginary


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
    """Linear maps with their biases, an activation after each."""
    for part in parts:
        u = activation(np.asarray(part.weight) @ u + np.asarray(part.bias))
    return u


def diagonals(a, b, c, d):
    return np.block([[np.diag(a), np.diag(b)], [np.diag(c), np.diag(d)]])


def steps(count, matrix, force, start):
    """The force beside the state as one component more, which stays; then a power."""
    rows = np.column_stack([matrix, force])
    whole = np.vstack([rows, np.eye(len(rows) + 1)[-1]])
    after = scipy.linalg.fractional_matrix_power(whole, count) @ np.append(start, 1.0)
    return after[:-1].real


def split(rows, count):
    return (None, None) if rows is None else (rows[: int(count)], rows[int(count) :])


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


def legendre(order):
    """A and B of a delay of one unit of time, entry by entry."""
    sizes = range(int(order))
    sign = [[-1 if i < j else (-1) ** (i - j + 1) for j in sizes] for i in sizes]
    rows = np.array([2 * i + 1.0 for i in sizes])
    return rows[:, None] * np.array(sign), rows * np.array([(-1) ** i for i in sizes])


def of_head(heads, head, array):
    """What belongs to one head of what is laid out head by head: a number where it is only one."""
    if array is None:
        return None
    own = array.reshape(heads, array.shape[0] // heads, *array.shape[1:])[head]
    return own[0] if len(own) == 1 else own


def pieces(features, sizes, heads, head):
    """Those of one head, of blocks of so many features a head; and what is behind them, whole.

    A size (n, m) stands for n blocks of m features a head, a row for each.
    """
    counts = [heads * int(np.prod(size)) for size in sizes]
    *found, rest = np.split(features, np.cumsum(counts).astype(int))
    for i, size in enumerate(sizes):
        rows = found[i].reshape(size[0] if isinstance(size, tuple) else 1, -1)
        own = [of_head(heads, head, row) for row in rows]
        found[i] = np.reshape(own, size) if isinstance(size, tuple) else own[0]
    return (*found, rest)


def standard(v):
    """With mean 0 and variance 1, but for the 1e-5 below the root."""
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5)


def corrected(S, ks, vs, betas):
    """The delta rule with each key, value and beta, in order."""
    for k, v, beta in zip(ks, vs, np.ravel(betas), strict=True):
        S = S + beta * np.outer(k, v - S.T @ k)
    return S


def of_group(features, groups, heads, head):
    """Those of the group of this head."""
    return np.split(features, groups)[head // (heads // groups)]


def flow(method, substeps, rate, v, time):
    """The solution of dv/dt = rate(v) by explicit Runge-Kutta steps, each from its tableau."""
    tableaus = {
        "euler": ([[]], [1]),
        "midpoint": ([[], [1 / 2]], [0, 1]),
        "rk4": ([[], [1 / 2], [0, 1 / 2], [0, 0, 1]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    }
    rows, weights = tableaus[method]
    for _ in range(substeps):
        slopes = []
        for row in rows:
            inner = sum(a * slope for a, slope in zip(row, slopes))
            slopes.append(rate(v + time / substeps * inner))
        v = v + time / substeps * sum(b * slope for b, slope in zip(weights, slopes))
    return v


FUNCTIONS = {
    "sig": sigmoid,
    "tanh": np.tanh,
    "exp": np.exp,
    "softplus": lambda z: np.logaddexp(0, z),
    "relu": lambda z: np.maximum(z, 0),
    "silu": lambda z: z * sigmoid(z),
    "identity": lambda z: z,
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "lecun_tanh": lambda z: 1.7159 * np.tanh(0.666 * z),
    "positive": lambda z: np.where(z >= 0, z + 0.5, sigmoid(z)),
    "log": np.log,
    "sqrt": np.sqrt,
    "cos": np.cos,
    "abs": np.abs,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "clip": np.clip,
    "lcm": np.lcm.reduce,
    "re": np.real,
    "im": np.imag,
    "conj": np.conj,
    "complex": join,
    "parts": tuple,
    "seen": lambda x: (~np.isnan(x)).astype(float),
    "known": lambda x: np.where(np.isnan(x), 0.0, x),
    "given": lambda field: field is not None,
    "sum": lambda array: array.sum(-1),
    "norm": np.linalg.norm,
    "unit": unit,
    "standard": standard,
    "number": lambda v: v[0],
    "row": lambda matrix, n: matrix[int(n)],
    "shifted": lambda matrix, v: np.concatenate([matrix[1:], v[None]]),
    "mixed": lambda matrices, shares: np.tensordot(shares, matrices, 1),
    "hardmax": lambda matrix: np.eye(len(matrix))[:, matrix.argmax(0)],
    "diag": np.diag,
    "outer": np.outer,
    "legendre": legendre,
    "vec": np.ravel,
    "expm": scipy.linalg.expm,
    "radius": lambda matrix: abs(np.linalg.eigvals(matrix)).max(),
    "fourier": lambda matrix: np.fft.fft(matrix, axis=0, norm="ortho"),
    "permute": lambda matrix, order: matrix[order],
    "reads": lambda periods: (periods[:, None] <= periods).astype(float),
    "block_diagonal": lambda blocks: scipy.linalg.block_diag(*blocks),
    "columns": lambda matrix: matrix.shape[1],
    "split": split,
    "each": lambda count, size: (int(count), int(size)),
    "corrected": corrected,
    "diagonals": diagonals,
    "steps": steps,
    "spaced": lambda start, end, count: np.linspace(start, end, int(count)),
    "pairs": lambda numbers: numbers[0::2] + 1j * numbers[1::2],
    "upper": upper,
    "wires": wires,
    "layers": layers,
}


def of_cell(cell, size, layer):
    """The functions that need the cell, its sizes, or the layer that is being run."""
    return {
        "by_unit": lambda periods: by_unit(periods, size),
        "signs": lambda count: np.where(np.arange(size) < size - count, 1.0, -1.0),
        "first": lambda v: v if layer == 0 else np.zeros_like(v),
        "this": lambda field: None if field is None else field[layer],
        "by_channel": lambda v: v.reshape(size, -1),
        "rows": lambda v: np.tile(v, (cell.wiring.units, 1)),
        "head": lambda field: of_head(cell.num_heads, layer, field),
        "pieces": lambda f, *sizes: pieces(f, sizes, cell.num_heads, layer),
        "shared": lambda f, groups: of_group(f, groups, cell.num_heads, layer),
        "flow": lambda rate, v, time: flow(cell.method, cell.substeps, rate, v, time),
        "motor": lambda v: motor(cell.wiring, v),
        "synapses": lambda wiring: synapses(wiring, layer, cell.fully_recurrent),
    }
