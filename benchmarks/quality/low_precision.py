"""`fit(..., compute_dtype=jnp.bfloat16)` beside float32: the loss, and the time.

Three tasks with three seeds each, one model and one recipe a task; the seed draws model, order and
data. "loss" is that of the trained model on other data, computed in float32, "ms" the median
processor time of a training step. On a CPU there is nothing to gain: it computes products of
bfloat16 in float32. What a GPU gains has not been measured.
"""

import itertools
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import Kept


TASKS = {
    "n_bit_flip_flop": (
        "gru",
        rz.train.mse,
        {"n_train": 500, "n_valid": 200, "n_test": 200, "length": 40},
    ),
    "mackey_glass": ("lstm", rz.train.mse, {}),
    "japanese_vowels": ("lru", rz.train.cross_entropy, {}),
}
SEEDS, STEPS, BATCH, HIDDEN = range(3), 300, 32, 32
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def row(task: str, seed: int, dtype: str) -> dict[str, str]:
    cell, loss, options = TASKS[task]
    data = rz.data.load(task, key=jr.key(seed), **options)
    size_in, size_out = data.info.input_size, data.info.output_size
    pool = None if data.train.per_step else "mean"
    model = rz.make_model(
        cell, size_in, size_out, hidden_size=HIDDEN, pool=pool, key=jr.key(seed + 100)
    )
    seconds: list[float] = []
    result = rz.train.fit(
        model,
        data.train,
        loss=loss,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3)),
        key=jr.key(seed + 200),
        steps=STEPS,
        batch_size=BATCH,
        eval_every=10,
        callback=lambda *_: seconds.append(time.process_time()) or False,
        compute_dtype=DTYPES[dtype],
    )
    found = rz.train.evaluate(result.model, data.valid or data.test, loss=loss)
    return {
        "task": task,
        "seed": str(seed),
        "dtype": dtype,
        "cell": cell,
        "loss": f"{found['loss']:.5f}",
        "ms": f"{100 * np.median(np.diff(seconds)):.2f}",
        "jax": jax.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "task", TASKS)
    wanted = parser.parse_args(arguments).task
    KEPT.fill([place for place in PLACES if place[0] in wanted], row)


PLACES = list(itertools.product(TASKS, SEEDS, DTYPES))
KEPT = Kept("low_precision", ("task", "seed", "dtype"), PLACES)
