"""A plain recurrent network on the synapses of a neuron map."""

__all__ = ["WiredElmanCell"]

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.activations import portable
from .._common.dtypes import working_float, zero_state
from .._common.terms import plus
from ..base import AbstractCell, StateMatrix
from ..init import glorot
from ..wiring.base import NeuronMap
from ..wiring.ncp import AutoNCPMap


class WiredMatrices(NamedTuple):
    """The weights of a `WiredElmanCell`, with zeros where its map has no synapse."""

    W_ih: Float[Array, "units input"]
    W_hh: StateMatrix


class WiredElmanCell(AbstractCell):
    r"""Elman network with the sparsity of a neuron map (the map: Lechner et al. 2020,
    doi:10.1038/s42256-020-00237-3; a plain unit in the place of its liquid neuron).

    $$h' = \phi\big((M_{in} \odot W_{ih}) x + (M \odot W_{hh}) h + b\big)$$

    with M true where the map has a synapse; its signs are where the weights start: their
    moduli are Glorot-uniform. y is h' of the motor neurons. State: h, (units,), zero at the
    start. Weights without a synapse are zero and stay zero under any optimiser.
    """

    weight_ih: Float[Array, "units input"]
    weight_hh: Float[Array, "units units"]
    bias: Float[Array, " units"] | None
    activation: Callable[[Array], Array] = eqx.field(static=True, converter=portable)
    wiring: NeuronMap = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        wiring: Any,
        activation: Callable[[Array], Array] = jnp.tanh,
        *,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """The map gives all sizes; TypeError for what is no map."""
        if not isinstance(wiring, NeuronMap):
            raise TypeError(
                f"expected a neuron map such as rz.wiring.NCPMap(...), got {type(wiring).__name__}"
            )
        dtype = working_float(dtype)
        key_ih, key_hh = jr.split(key)
        units, inputs = wiring.units, wiring.input_size
        self.weight_ih = _signed(wiring.sensory_adjacency, glorot(key_ih, (units, inputs), dtype))
        self.weight_hh = _signed(wiring.adjacency, glorot(key_hh, (units, units), dtype))
        self.bias = jnp.zeros(units, dtype) if use_bias else None
        self.activation = activation
        self.wiring = wiring
        self.input_size, self.output_size = inputs, wiring.output_size

    def init_state(self) -> Float[Array, " units"]:
        return zero_state(self.wiring.units, self.weight_hh)

    def constants(self) -> WiredMatrices:
        W_hh = _masked(self.wiring.adjacency, self.weight_hh)
        return WiredMatrices(
            _masked(self.wiring.sensory_adjacency, self.weight_ih), StateMatrix(W_hh)
        )

    def equation(
        self, c: WiredMatrices, state: Float[Array, " units"], x: Float[Array, " {self.input_size}"]
    ) -> tuple[Float[Array, " units"], Float[Array, " {self.output_size}"]]:
        z = c.W_ih @ x + c.W_hh @ state
        h = self.activation(plus(z, self.bias))
        return h, h[: self.output_size]


def _masked(adjacency: Any, weight: Array) -> Array:
    mask = adjacency.T != 0
    return jnp.where(mask, weight, 0.0)


def _signed(adjacency: Any, weight: Array) -> Array:
    return jnp.asarray(adjacency.T, weight.dtype) * jnp.abs(weight)


def plain_auto_ncp(
    input_size: int,
    units: int,
    output_size: int,
    activation: Callable[[Array], Array] = jnp.tanh,
    *,
    sparsity: float = 0.5,
    seed: int = 22222,
    key: PRNGKeyArray,
    **options: Any,
) -> WiredElmanCell:
    """What `AutoNCP` at the root was in release 0.2: a `WiredElmanCell` on an `AutoNCPMap`."""
    wiring = AutoNCPMap(input_size, units, output_size, sparsity=sparsity, seed=seed)
    return WiredElmanCell(wiring, activation, key=key, **options)
