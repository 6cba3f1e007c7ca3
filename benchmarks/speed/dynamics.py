"""Lyapunov exponents and fixed points of networks, beside what others have.

A plain loop, and FixedPointFinder.

"spectrum": all 128 exponents of an LSTM with 64 units over 10,000 steps of noise. "plain" is a
`lax.scan` of `jax.jacfwd` of the step, a product and a QR decomposition; "every" is
`rz.dynamics.lyapunov_spectrum` with so many steps between two decompositions. The exponents have to
agree.

"points": the fixed points of a GRU with 128 units that holds three bits, trained here, from 1024
states of its run with noise. "ours" is `rz.dynamics.fixed_points`; "torch" the joint search of
FixedPointFinder by Adam, with its own settings and `tol_q` that of the same speed, on the same
weights: its checkout, https://github.com/mattgolub/fixed-point-finder, has to be on PYTHONPATH.

Seconds are those of the processor, of one thread, and `of_rival` is the share of the rival's. So
that one thread it is, run XLA_FLAGS="--xla_cpu_multi_thread_eigen=false" OMP_NUM_THREADS=1
taskset -c 0 python -m benchmarks dynamics.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax import lax

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions


UNITS, STEPS, EVERY = 64, 10_000, (1, 2)
SIZE, STARTS, TOL = 128, 1024, 1e-5
PARTS = ("spectrum", "points")
TABLE = Table("dynamics", ("part", "jax"), ("who", "cpu_seconds", "of_rival", "found"))


def spent(run, rounds):
    """The least processor seconds of so many calls, and what the last gave."""
    taken: list[float] = []
    found: Any = None
    for _ in range(rounds):
        began = time.process_time()
        found = jax.block_until_ready(run())
        taken.append(time.process_time() - began)
    return min(taken), found


# --- exponents ----------------------------------------------------------------------------------


@jax.jit
def plain_spectrum(cell, xs):
    """What one writes without a library: the Jacobian of every step, times the frame, and QR."""
    start = cell.init_state()
    first = rz.dynamics.state_vector(start)

    def as_state(vector):
        return type(start)(*jnp.split(vector, 2))

    def step(vector, x):
        return rz.dynamics.state_vector(cell.step(as_state(vector), x)[0])

    def body(carry, x):
        vector, frame = carry
        jacobian = jax.jacfwd(step)(vector, x)
        frame, r = jnp.linalg.qr(jacobian @ frame)
        return (step(vector, x), frame), jnp.log(jnp.abs(jnp.diagonal(r)))

    _, growth = lax.scan(body, (first, jnp.eye(len(first))), xs)
    return jnp.sort(growth.mean(axis=0))[::-1]


def spectrum(steps, rounds):
    cell = rz.cells.LSTMCell(3, UNITS, key=jr.key(0))
    xs = jr.normal(jr.key(1), (steps, 3))
    runs = {"plain": lambda: plain_spectrum(cell, xs)}
    for every in EVERY:
        runs[f"every {every}"] = lambda every=every: rz.dynamics.lyapunov_spectrum(
            cell, xs, every=every
        )
    for run in runs.values():
        jax.block_until_ready(run())
    seconds, found = {}, {}
    for _ in range(rounds):
        for name, run in runs.items():
            taken, found[name] = spent(run, 1)
            seconds[name] = min(taken, seconds.get(name, np.inf))
    for name, exponents in found.items():
        off = float(np.max(np.abs(exponents - found["plain"])))
        share = f"{seconds[name] / seconds['plain']:.3f}"
        about = f"from {exponents[0]:.4f} to {exponents[-1]:.4f}, off by {off:.1g} at most"
        TABLE.add(("spectrum", versions()["jax"]), name, f"{seconds[name]:.2f}", share, about)


# --- fixed points -------------------------------------------------------------------------------


def holder():
    """A network that holds three bits."""
    data = rz.data.n_bit_flip_flop(key=jr.key(1), length=60, n_train=2000)
    model = rz.make_model("gru", 3, 3, hidden_size=SIZE, pool=None, key=jr.key(0))
    result = rz.train.fit(
        model,
        data.train,
        loss=rz.train.mse,
        optimizer=optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(5e-3, 500))
        ),
        key=jr.key(0),
        steps=500,
        batch_size=64,
    )
    print("trained, loss", result.history[-1]["train_loss"], flush=True)
    return result.model.layer.layers[0].cell, data.test.x.reshape(-1, 3)[:2000]


def torch_points(cell, starts):
    """A search of FixedPointFinder as a function of nothing, that gives its states and speeds."""
    finder = call.need(
        "FixedPointFinderTorch", "put the checkout of FixedPointFinder on PYTHONPATH"
    )
    torch = call.need("torch", "pip install torch")
    torch.set_num_threads(1)
    gru = rz.interop.to_torch(rz.Recurrent(cell), batch_first=True)
    search = finder.FixedPointFinderTorch(
        gru,
        tol_q=TOL**2 / 2,  # its q is half the squared speed
        do_rerun_q_outliers=False,
        do_compute_jacobians=False,
        do_decompose_jacobians=False,
        verbose=False,
    )

    def run():
        nothing = np.zeros((1, 3), np.float32)
        _, found = search.find_fixed_points(np.array(starts), nothing)
        return found.xstar, np.sqrt(2 * found.qstar)

    return run


def points(rounds):
    cell, xs = holder()
    starts = rz.dynamics.sample_states(cell, xs, STARTS, noise=0.5, key=jr.key(2))

    def ours():
        return rz.dynamics.fixed_points(cell, jnp.zeros(3), starts, tol=TOL)

    ours()
    seconds, found = spent(ours, rounds)
    arrived = int(np.sum(found.owners >= 0))
    about = f"{found.stable.sum()} stable of {len(found)}, {arrived} of {STARTS} starts arrived"
    print("ours", f"{seconds:.2f}", about, flush=True)
    rival, (_, speeds) = spent(torch_points(cell, starts), 1)
    told = f"{int(np.sum(speeds <= TOL))} of {STARTS} starts arrived"
    key = ("points", versions()["jax"])
    TABLE.add(key, "ours", f"{seconds:.2f}", f"{seconds / rival:.3f}", about)
    TABLE.add(key, "torch", f"{rival:.2f}", "1.000", told)


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "part", PARTS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the spectrum")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args(arguments)
    if "spectrum" in options.part:
        spectrum(options.steps, options.rounds)
    if "points" in options.part:
        points(options.rounds)
    TABLE.write()
