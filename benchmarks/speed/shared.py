"""What several comparisons with other libraries share."""

import equinox as eqx
import jax

from .. import call


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
