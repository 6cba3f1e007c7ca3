"""Trained networks of 16 units that hold three bits: the weights of four cells.

    PYTHONPATH=. JAX_PLATFORMS=cpu python tests/golden/make_flip_flops.py

writes tests/golden/flip_flops.npz: of each cell the numbers of its network in one row, in the
order of its leaves. A plain training, without noise or regularisers, is enough for eight stable
points; `tests/test_flip_flops.py` looks for them. It takes about a minute of one core.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz


FILE = Path(__file__).with_name("flip_flops.npz")
# What the networks are made with, and the steps of their training.
CELLS = {
    "gru": ({}, 1000),
    "lstm": ({}, 1000),
    "elman": ({}, 1500),
    "cfc": ({"backbone_units": 32}, 1500),
}


def untrained(name: str) -> rz.SequenceModel:
    """A network that gives three numbers at every step."""
    options = CELLS[name][0]
    return rz.make_model(name, 3, 3, hidden_size=16, pool=None, key=jr.key(0), **options)


def trained(name: str) -> rz.SequenceModel:
    """The network of the file."""
    params, static = eqx.partition(untrained(name), eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(params)
    with np.load(FILE) as file:
        row = file[name]
    cuts = np.cumsum([leaf.size for leaf in leaves])
    parts = [
        part.reshape(leaf.shape)
        for part, leaf in zip(np.split(row, cuts[:-1]), leaves, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, parts), static)


def train(name: str) -> rz.SequenceModel:
    data = rz.data.n_bit_flip_flop(key=jr.key(1), length=60, n_train=2000)
    steps = CELLS[name][1]
    rate = optax.cosine_decay_schedule(1e-2, steps)
    result = rz.train.fit(
        untrained(name),
        data.train,
        data.valid,
        loss=rz.train.mse,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        key=jr.key(0),
        steps=steps,
        batch_size=64,
        eval_every=steps,
    )
    print(name, result.history[-1], flush=True)
    return result.model


def main() -> None:
    rows = {}
    for name in CELLS:
        leaves = jax.tree.leaves(eqx.filter(train(name), eqx.is_inexact_array))
        rows[name] = np.concatenate([np.ravel(leaf) for leaf in leaves])
    np.savez_compressed(FILE, **rows)


if __name__ == "__main__":
    main()
