"""Every cell learns to remember its first input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import rnn_zoo as rz


TIME = 10


# Cells that are made for stacks, or whose default step is meant for hundreds of steps.
OPTIONS = {
    "esn": {"topology": "ring", "leak": 1.0, "input_scaling": 0.3, "spectral_radius": 1.0},
    "indrnn": {"num_layers": 3},
    "lipschitz": {"epsilon": 0.5},
    "cornn": {"delta": 0.3},
    "hcornn": {"delta": 0.3},
    "atr": {"num_layers": 2},
    # Each unit open for half of the time, as often as a step: most learn only where they are open.
    "phased_lstm": {"periods": (20.0, 100.0), "open_ratio": 0.5, "leak": 0.1},
    "shallow_plrnn": {"clipped": False},
    "pd_ssm": {"num_layers": 2},  # in blocks, as linear ones
    # In the blocks of their papers, which are no linear maps alone.
    **dict.fromkeys(("mlstm", "m2rnn", "rwkv7", "delta_product"), {"num_layers": 1}),
    "unicornn": {"delta": 0.5, "num_layers": 2},
}
# A liquid neuron with 32 synapses forgets within 0.05 of its unit of time.
ELAPSED = {"ltc": {"dt": 0.02}}
# One that halves its state at each step, as it starts.
TIMES = {"pd_ssm": 4}
# The other tests compile quickly what runs once; here one program runs hundreds of times.
OPTIMISED = {"xla_backend_optimization_level": 3}
# Training ends early where a cell was right in so many batches one after the other.
ENOUGH = 20


def accuracy_after_training(name, steps=400):
    """A bit, then noise: the sign of the first input, read off the last step."""
    # One layer of a linear cell would be a linear map into a linear head.
    options = {"num_layers": 1 + rz.cell_info(name).linear, **OPTIONS.get(name, {})}
    model = rz.make_model(name, 1, 2, hidden_size=32, key=jr.key(0), **options)
    elapsed = ELAPSED.get(name, {})
    params, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adam(3e-3)
    opt_state = optimizer.init(params)

    def sample(key):
        xs = jr.normal(key, (64, TIMES.get(name, TIME), 1))
        return xs.at[:, 0].set(jnp.sign(xs[:, 0])), (xs[:, 0, 0] > 0).astype(int)

    def step(params, opt_state, key):
        xs, labels = sample(key)

        def loss(params):
            logits = rz.batch(eqx.combine(params, static))(xs, **elapsed)
            right = (logits.argmax(-1) == labels).mean()
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), right

        grads, right = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, right

    step = jax.jit(step, compiler_options=OPTIMISED)
    seen = []
    for key in jr.split(jr.key(1), steps):
        params, opt_state, right = step(params, opt_state, key)
        seen.append(float(right))
        # What it has learned, new samples say below.
        if len(seen) >= ENOUGH and np.mean(seen[-ENOUGH:]) > 0.985:
            break
    model = eqx.combine(params, static)
    xs, labels = jax.vmap(sample)(jr.split(jr.key(2), 8))
    guesses = jax.vmap(lambda xs: rz.batch(model)(xs, **elapsed))(xs).argmax(-1)
    return float((guesses == labels).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", rz.list_cells())
def test_remembers_the_first_input(name):
    assert accuracy_after_training(name) > 0.95
