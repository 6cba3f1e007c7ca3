"""A training step of each cell that RNN-JAX has as well.

    pip install --no-deps rnn-jax      (Python >= 3.12)

A step is forward and gradient of a loss of the last output, and a gradient descent update,
compiled, at (batch, time, input, hidden) = (32, 256, 16, 128); medians of interleaved runs.
"same" says whether the peer computes the same function: with our weights copied into it, its
outputs agree to 1e-4. Where they do not, the ratio compares unlike work, and says so.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import medians
from .shared import rnn_jax, train_step


B, T, I, H = 32, 256, 16, 128
KEY = jr.key(0)
TABLE = Table("cells", ("jax", "cell"), ("rival", "ms", "of_ours", "same"))


def put(theirs, **arrays):
    """Their cell with these arrays."""
    names = list(arrays)
    return eqx.tree_at(lambda c: [getattr(c, n) for n in names], theirs, list(arrays.values()))


def elman(cell, theirs):
    return put(theirs, w_ih=cell.weight_ih, w_hh=cell.weight_hh, b=cell.bias)


def lstm(cell, theirs):
    arrays = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": cell.bias}
    return put(theirs, lstm=put(theirs.lstm, **arrays))


def antisymmetric(cell, theirs):
    upper = jnp.zeros((H, H)).at[jnp.triu_indices(H, 1)].set(cell.weight_hh)
    if not hasattr(theirs, "w_g"):
        return put(theirs, w_in=cell.weight_ih, w_hh=upper, b=cell.bias)
    gate, new = jnp.split(cell.weight_ih, 2)
    b_gate, b_new = jnp.split(cell.bias, 2)
    return put(theirs, w_g=gate, w_in=new, w_hh=upper, b_g=b_gate, b=b_new)


# RNN-JAX subtracts the diffusion as a number, not as a matrix: equal at 0.
# Ours, theirs (from the module of their cells) with the options that come nearest, and how weights
# are copied where they can be.
PAIRS = {
    "elman": (
        lambda: rz.cells.ElmanCell(I, H, key=KEY),
        lambda peer: peer.ElmanRNNCell(I, H, nonlinearity=jnp.tanh, key=KEY),
        elman,
    ),
    "lstm": (
        lambda: rz.cells.LSTMCell(I, H, key=KEY),
        lambda peer: peer.LongShortTermMemory(I, H, key=KEY),
        lstm,
    ),
    "gru": (
        lambda: rz.cells.GRUCell(I, H, key=KEY),
        lambda peer: peer.GatedRecurrentUnit(I, H, nonlinearity=jnp.tanh, key=KEY),
        None,
    ),
    "indrnn": (
        lambda: rz.cells.IndRNNCell(I, H, key=KEY),
        lambda peer: peer.IndRNNCell(I, H, key=KEY),
        elman,
    ),
    "antisymmetric": (
        lambda: rz.cells.AntisymmetricCell(I, H, epsilon=0.1, gamma=0.0, key=KEY),
        lambda peer: peer.AntiSymmetricRNNCell(I, H, 0.1, 0.0, nonlinearity=jnp.tanh, key=KEY),
        antisymmetric,
    ),
    "gated_antisymmetric": (
        lambda: rz.cells.GatedAntisymmetricCell(I, H, epsilon=0.1, gamma=0.0, key=KEY),
        lambda peer: peer.GatedAntiSymmetricRNNCell(I, H, 0.1, 0.0, nonlinearity=jnp.tanh, key=KEY),
        antisymmetric,
    ),
    "clockwork": (
        lambda: rz.cells.ClockworkCell(I, H, key=KEY),
        lambda peer: peer.ClockWorkRNNCell(I, [H // 4] * 4, [1, 2, 4, 8], jnp.tanh, key=KEY),
        None,
    ),
    "lipschitz": (
        lambda: rz.cells.LipschitzCell(I, H, key=KEY),
        lambda peer: peer.LipschitzRNNCell(I, H, 0.8, 0.01, 0.8, 0.01, 0.01, 0.1, key=KEY),
        None,
    ),
    "unitary": (
        lambda: rz.cells.UnitaryCell(I, H, key=KEY),
        lambda peer: peer.UnitaryEvolutionRNNCell(I, H, key=KEY),
        None,
    ),
    "cornn": (
        lambda: rz.cells.CoRNNCell(I, H, key=KEY),
        lambda peer: peer.CoupledOscillatoryRNNCell(
            I, H, 2.7, 4.7, 0.042, nonlinearity=jnp.tanh, key=KEY
        ),
        None,
    ),
}


def loss(layer, xs):
    return jnp.mean(eqx.filter_vmap(layer)(xs)[:, -1].real ** 2)


def same(ours, theirs, xs):
    return bool(np.allclose(eqx.filter_jit(ours)(xs), eqx.filter_jit(theirs)(xs), atol=1e-4))


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "cell", PAIRS)
    options = parser.parse_args(arguments)
    peer = rnn_jax("cells")
    RNNEncoder = rnn_jax("layers.encoder").RNNEncoder
    xs = jr.normal(jr.key(1), (B, T, I))
    for name in options.cell:
        make_ours, make_theirs, copy = PAIRS[name]
        cell = make_ours()
        ours = rz.Recurrent(cell)
        try:
            their_cell = make_theirs(peer)
            their_cell = their_cell if copy is None else copy(cell, their_cell)
            theirs = RNNEncoder(their_cell)
            equal = copy is not None and same(ours, theirs, xs[0])
            times = medians(
                {"ours": train_step(loss, ours, xs), "rnn-jax": train_step(loss, theirs, xs)}
            )
        except Exception as error:  # what does not run has no time
            print(f"{name:<22}  RNN-JAX fails: {type(error).__name__}", flush=True)
            continue
        for who, seconds in times.items():
            ratio = f"{seconds / times['ours']:.2f}"
            key = versions()["jax"], name
            TABLE.add(key, who, f"{1e3 * seconds:.2f}", ratio, "yes" if equal else "no")
    TABLE.write()
