"""A training step of each cell that torchrecurrent has as well.

    pip install torch torchrecurrent==0.2.5

A step is forward and gradient of a loss of the last output, and a gradient descent update, at
(batch, time, input, hidden) = (32, 256, 16, 128), ours compiled, theirs in torch with two threads;
medians of interleaved runs, at most nine, and no
new ones after ten seconds. The figure that counts is the time of ours over theirs. The cells have
the same gates and products; where the equations differ (torchrecurrent's FastGRNN has a tanh for a
gate, its LEM reads an old state), the work is the same.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..tables import Table, versions
from ..timing import sampled
from .shared import train_step


B, T, I, H = 32, 256, 16, 128
KEY = jr.key(0)
TABLE = Table("torch_cells", ("jax", "cell"), ("rival", "ms", "of_theirs"))
# Ours, with options, and their class.
PAIRS = {
    "antisymmetric": ({}, "AntisymmetricRNN"),
    "gated_antisymmetric": ({}, "GatedAntisymmetricRNN"),
    "indrnn": ({}, "IndRNN"),
    "mgu": ({}, "MGU"),
    "lem": ({}, "LEM"),
    "cornn": ({}, "coRNN"),
    "unicornn": ({}, "UnICORNN"),
    "lstm": ({"peepholes": True}, "PeepholeLSTM"),
    "janet": ({}, "JANET"),
    "ugrnn": ({}, "UGRNN"),
    "minimal_rnn": ({}, "MinimalRNN"),
    "fastrnn": ({}, "FastRNN"),
    "fastgrnn": ({}, "FastGRNN"),
    "ligru": ({}, "LiGRU"),
    "brc": ({}, "BR"),
    "nbrc": ({}, "NBR"),
    "ran": ({}, "RAN"),
    "star": ({}, "STAR"),
    "cfn": ({}, "CFN"),
    "atr": ({}, "ATR"),
    "multiplicative_lstm": ({}, "MultiplicativeLSTM"),
    "tau_gru": ({}, "tauGRU"),
}


def loss(layer, xs):
    return jnp.mean(eqx.filter_vmap(layer)(xs)[:, -1] ** 2)


def their_step(torch, layer, xs):
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        ys, _ = layer(xs)
        (ys[:, -1] ** 2).mean().backward()
        optimizer.step()

    return step


def main(arguments: list[str]) -> None:
    parser = call.parser(__name__, TABLE)
    call.add_names(parser, "cell", PAIRS)
    options = parser.parse_args(arguments)
    try:
        import torch
        import torchrecurrent
    except ImportError as error:
        raise SystemExit(
            "needs torch and torchrecurrent: pip install torch torchrecurrent"
        ) from error
    torch.set_num_threads(2)
    xs = jr.normal(jr.key(1), (B, T, I))
    their_xs = torch.from_numpy(np.array(xs))
    for name in options.cell:
        given, theirs = PAIRS[name]
        ours = rz.Recurrent(rz.make_cell(name, I, H, key=KEY, **given))
        layer = getattr(torchrecurrent, theirs)(I, H, batch_first=True)
        steps = {
            "ours": train_step(loss, ours, xs),
            "torchrecurrent": their_step(torch, layer, their_xs),
        }
        for step in steps.values():
            step()
        seconds = sampled(steps, rounds=9, budget=10, twice=False)
        times = {who: float(np.median(values)) for who, values in seconds.items()}
        for who, seconds in times.items():
            ratio = f"{seconds / times['torchrecurrent']:.2f}"
            TABLE.add((versions()["jax"], name), who, f"{1e3 * seconds:.1f}", ratio)
    TABLE.write()
