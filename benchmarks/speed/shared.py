"""What several comparisons with other libraries share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz

from .. import call
from ..timing import medians


def rnn_jax(part):
    """A module of RNN-JAX."""
    module = call.need(f"rnn_jax.{part}", "pip install --no-deps rnn-jax einops")
    # RNN-JAX switches this on for the whole process; neither side should pay for it.
    jax.config.update("jax_debug_nans", False)
    return module


def train_step(loss, model, xs):
    """A gradient descent update by the loss of (model, xs), as a function of nothing."""

    @eqx.filter_jit
    def step(model, xs):
        value, grads = eqx.filter_value_and_grad(loss)(model, xs)
        return eqx.apply_updates(model, jax.tree.map(lambda g: -1e-3 * g, grads)), value

    return lambda: eqx.filter(step(model, xs), eqx.is_array)


def cells_and_inputs(module, table, cells, shapes, arguments):
    """For each cell and shape that is asked for: their names, the cell, its inputs, the rounds.

    A shape is (batch, time, input, hidden), or (batch, time, width) for both sizes.
    """
    parser = call.parser(module, table)
    call.add_names(parser, "cell", cells)
    call.add_names(parser, "--shape", shapes)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    for name in options.cell:
        for shape in options.shape:
            batch, time, inputs, *hidden = shapes[shape]
            cell = rz.make_cell(name, inputs, *(hidden or [inputs]), key=jr.key(0))
            xs = jr.normal(jr.key(1), (batch, time, inputs))
            yield name, shape, cell, xs, options.rounds


def compared(functions, rounds, what):
    """Median seconds of each, after their results were found equal up to what single precision
    sums."""
    first, *others = [jax.tree.leaves(f()) for f in functions.values()]
    for other in others:
        for a, b in zip(first, other, strict=True):
            if not np.allclose(a, b, rtol=1e-2, atol=1e-3 * float(jnp.abs(a).max())):
                raise SystemExit(f"{what}: the results differ")
    return medians(functions, rounds)
