"""Seeds times learning rates as one population; the rate is chosen on the validation part."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import rnn_zoo as rz


def best_rate(make, data, rates, seeds, *, key, **settings):
    """The trained seeds of the rate whose best seed is best, that rate, and the steps done.

    `make(key)` is a model; `settings` go to `rz.train.fit_population`.
    """
    members = seeds * len(rates)
    result = rz.train.fit_population(
        eqx.filter_vmap(make)(jr.split(key, members)),
        data.train,
        data.valid,
        loss=rz.train.cross_entropy,
        settings={"learning_rate": jnp.repeat(jnp.array(rates), seeds)},
        return_best=True,
        key=key,
        **settings,
    )
    losses = np.min([r["valid_loss"] for r in result.history], axis=0).reshape(len(rates), seeds)
    best = int(np.argmin(np.nanmin(losses, axis=1)))
    chosen = [rz.train.member(result.model, best * seeds + i) for i in range(seeds)]
    return chosen, rates[best], result.step


def accuracy(model, dataset):
    return rz.train.evaluate(model, dataset, loss=rz.train.cross_entropy)["accuracy"]
