"""Microseconds per step of a sample that comes in step by step: batch 1, an LSTM.

"stream" is `rz.Stream(layer).step`, its state donated; "k = 32" the same with 32 steps per call of
`scan`; "jit" `eqx.filter_jit(layer.step)`; "equinox" `jax.jit` of an `eqx.nn.LSTMCell`; "torch" an
`nn.LSTMCell` under `inference_mode` (pip install torch). "empty" is a jitted function of a number,
which is what a call costs. All have the same weights and have to give the same outputs.
Medians of nine runs of 256 steps, in turn.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import medians


SIZES = ((8, 32), (64, 128), (64, 512))
STEPS, CALL = 256, 32
TABLE = Table("streaming", ("jax", "input", "hidden"), ("rival", "us_per_step", "of_stream"))


def stream(cell, xs):
    made = rz.Stream(rz.Recurrent(cell))

    def run():
        state = made.init_state()
        for x in xs:
            state, y = made.step(state, x)
        return y

    return run


def chunks(cell, xs):
    made, parts = rz.Stream(rz.Recurrent(cell)), jnp.stack(xs).reshape(-1, CALL, len(xs[0]))
    parts = list(parts)

    def run():
        state = made.init_state()
        for part in parts:
            state, ys = made.scan(part, state)
        return ys[-1]

    return run


def filter_jit(cell, xs):
    step = eqx.filter_jit(lambda cell, state, x: cell.step(state, x))

    def run():
        state = cell.init_state()
        for x in xs:
            state, y = step(cell, state, x)
        return y

    return run


def equinox(cell, xs):
    peer = eqx.nn.LSTMCell(cell.input_size, cell.output_size, key=jr.key(0))
    where = lambda c: (c.weight_ih, c.weight_hh, c.bias)  # noqa: E731
    peer = eqx.tree_at(where, peer, (cell.weight_ih, cell.weight_hh, cell.bias))
    step = jax.jit(lambda peer, x, state: peer(x, state))

    def run():
        state = (jnp.zeros(cell.output_size), jnp.zeros(cell.output_size))
        for x in xs:
            state = step(peer, x, state)
        return state[0]

    return run


def torch(cell, xs):
    import torch as th

    peer = th.nn.LSTMCell(cell.input_size, cell.output_size)
    tensors = [th.tensor(np.array(a)) for a in (cell.weight_ih, cell.weight_hh, cell.bias)]
    with th.no_grad():
        for parameter, tensor in zip(peer.parameters(), [*tensors, th.zeros(len(tensors[2]))]):
            parameter.copy_(tensor)
    inputs = [th.tensor(np.array(x))[None] for x in xs]

    @th.inference_mode()
    def run():
        state = (th.zeros(1, cell.output_size), th.zeros(1, cell.output_size))
        for x in inputs:
            state = peer(x, state)
        return state[0][0].numpy()

    return run


def empty(cell, xs):
    call = jax.jit(lambda x: x + 1)

    def run():
        x = jnp.zeros(())
        for _ in xs:
            x = call(x)
        return x

    return run


RIVALS = {
    "stream": stream,
    f"k = {CALL}": chunks,
    "jit": filter_jit,
    "equinox": equinox,
    "torch": torch,
    "empty": empty,
}


def main(arguments: list[str]) -> None:
    call.parser(__name__, TABLE).parse_args(arguments)
    for input_size, hidden_size in SIZES:
        cell = rz.make_cell("lstm", input_size, hidden_size, key=jr.key(0))
        xs = list(jr.normal(jr.key(1), (STEPS, input_size)))
        runs = {}
        for name, make in RIVALS.items():
            try:
                runs[name] = make(cell, xs)
            except ImportError:
                print("not installed:", name)
        expected = np.asarray(runs["stream"]())
        for name, run in runs.items():
            if name != "empty":
                np.testing.assert_allclose(np.asarray(run()), expected, atol=1e-5, err_msg=name)
        seconds = medians(runs)
        key = (versions()["jax"], str(input_size), str(hidden_size))
        for name, taken in seconds.items():
            ratio = taken / seconds["stream"]
            TABLE.add(key, name, f"{taken / STEPS * 1e6:.2f}", f"{ratio:.2f}")
    TABLE.write()
