"""What deep state-space models learn, on short and on long sequences.

    pip install mnist1d

Digits: 64 pixels one by one, in order and permuted (`rz.data.load("digits")`). MNIST-1D: 40
steps, 4000 and 1000 samples (Greydanus & Kobak, arXiv:2011.14439), from the package mnist1d.
Copy memory: ten symbols recalled after 1000 steps; the figure is the accuracy over the ten. Beside
LRU and S5, LMUs read the permuted digits, with a window of all 64 steps. Seconds are processor time
of training with compiling; all rows take about 25 minutes.
"""

import itertools
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import rnn_zoo as rz

from .. import call
from ..tables import Kept


KEY = jr.key(0)
# Legendre memories know how long the sequence is.
DELAYS = {
    "lmu": {"theta": 64.0, "order": 32},
    "lmu_linear": {"theta": 64.0, "order": 32, "memory_size": 8},
}
# Long memories need eigenvalues near the unit circle.
LONG = {
    "lru": {"r_min": 0.999, "r_max": 1.0},
    "s5": {},
}


def digits(permuted):
    data = rz.data.load("digits", permute=permuted)
    return data.train, data.test


def mnist1d():
    package = call.need("mnist1d.data", "pip install mnist1d")
    made = package.make_dataset(package.get_dataset_args())
    return tuple(
        rz.data.Batch(np.float32(made[f"x{end}"])[..., None], np.int32(made[f"y{end}"]))
        for end in ("", "_test")
    )


def copy():
    data = rz.data.load("copy_memory", key=KEY, delay=1000, n_train=8000, n_test=500)
    return data.train, data.test


DIGITS = (10, "mean", {"num_layers": 2, "dropout": 0.2}, 3000, 64, 4e-3)
MNIST = (10, "mean", {"num_layers": 3, "dropout": 0.1}, 4000, 64, 4e-3)
COPY = (9, None, {"num_layers": 1, "hidden_size": 64, "state_size": 128}, 2500, 16, 4e-3)

# data, then outputs, pool, options of the model, steps, batch, learning rate
TASKS = {
    "digits": (lambda: digits(False), *DIGITS),
    "permuted_digits": (lambda: digits(True), *DIGITS),
    "mnist1d": (mnist1d, *MNIST),
    "copy_1000": (copy, *COPY),
}


def accuracy(model, test, last):
    """Share of right answers; of the last ten steps where every step has one."""
    run = eqx.filter_jit(rz.batch(eqx.nn.inference_mode(model)))
    right = []
    for start in range(0, len(test.x), 100):
        part = slice(start, start + 100)
        guesses = run(jnp.asarray(test.x[part])).argmax(-1)
        right.append(np.asarray(guesses == test.y[part])[..., last])
    return float(np.concatenate(right).mean())


def row(task, cell):
    make, classes, pool, options, steps, batch_size, rate = TASKS[task]
    train, test = make()
    if task == "copy_1000":
        options = {**options, **LONG[cell]}
    options = {**options, **DELAYS.get(cell, {})}
    model = rz.make_model(
        cell, train.x.shape[-1], classes, pool=pool, key=KEY, **{"hidden_size": 64, **options}
    )
    schedule = optax.cosine_decay_schedule(rate, steps, alpha=0.05)
    began = time.process_time()
    result = rz.train.fit(
        model,
        train,
        loss=rz.train.cross_entropy,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule)),
        key=jr.key(1),
        steps=steps,
        batch_size=batch_size,
        eval_every=steps // 5,
        callback=lambda step, values: print(task, cell, values, flush=True),
    )
    seconds = round(time.process_time() - began)
    parameters = sum(a.size for a in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    last = slice(-10, None) if pool is None else slice(None)
    return {
        "task": task,
        "cell": cell,
        "accuracy": round(accuracy(result.model, test, last), 4),
        "parameters": parameters,
        "steps": steps,
        "seconds": seconds,
        "jax": jax.__version__,
    }


PLACES = [
    *itertools.product(TASKS, ("lru", "s5")),
    *itertools.product(("permuted_digits",), DELAYS),
]
KEPT = Kept("state_spaces", ("task", "cell"), PLACES)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, KEPT)
    call.add_names(parser, "task", TASKS)
    call.add_names(parser, "--cell", dict.fromkeys(cell for _, cell in PLACES))
    options = parser.parse_args(arguments)
    KEPT.fill([p for p in PLACES if p[0] in options.task and p[1] in options.cell], row)
