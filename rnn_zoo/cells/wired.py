"""Closed-form continuous-time networks whose neurons are wired by a map."""

__all__ = ["WiredCfCCell"]

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_sizes
from .._common.dtypes import state_dtype
from ..base import AbstractCell, replace
from ..registry import register
from ..wiring.base import NeuronMap
from ..wiring.ncp import AutoNCPMap
from .liquid import CfCCell


SMALLEST = 4


@register(
    "wired_cfc",
    family="liquid",
    paper="Hasani et al. 2022, arXiv:2106.13898",
    equation="h'_l = cfc_l(h_l, h'_(l-1)), f1 and f2 masked by the map, y = h'_motor",
    full="""
        for each layer, with h' of the layer before for x
        u = [x, h]
        f_1 = (M * W_1) u + c_1
        f_2 = (M * W_2) u + c_2
        tau = kappa dt
        s = sig((W_a u + c_a) tau + W_b u + c_b)
        f = (M * W) u + c
        h' = (1 - s) * tanh(f_1) + s * tanh(f_2)           if mode = default
        h' = tanh(f_1) + s * tanh(f_2)                     if mode = no_gate
        h' = A - A * exp(-tau (abs(w_tau) + abs(f))) * f   if mode = pure
        y = motor(h')
        where W_1, W_2, W_a, W_b = heads.weight; c_1, c_2, c_a, c_b = heads.bias
              W = heads.weight; c = heads.bias; M = synapses(wiring)
              kappa = time_scale_factor; h = state
    """,
)
class WiredCfCCell(AbstractCell):
    r"""A neural circuit policy of closed-form cells (Hasani et al. 2022, arXiv:2106.13898).

    $$h'_1 = \mathrm{CfC}_1(h_1, x, dt), \qquad h'_l = \mathrm{CfC}_l(h_l, h'_{l-1}, dt),
    \qquad y = h'_{\mathrm{motor}}$$

    One `CfCCell` without backbone for each layer of the map (an NCP: inter, command, motor),
    run one after the other within the step. $f_1$ and $f_2$ of a neuron read the neurons that
    the map joins it to; the heads a and b of its time gate read the whole layer, and signs
    of synapses are not used: so ncps has it in PyTorch. Inside a layer every neuron reads
    every other; with `fully_recurrent=False` the synapses of the map decide that too. Synapses
    that skip a layer or go back to an earlier one are left out.

    State: h, (units,), zero at the start, in the order in which the layers are run.
    `hidden_size` counts all neurons; the output is that of the motor neurons, `output_size`
    of them. Timed; dt = 0 does not hold the state, as in `CfCCell`. Weights of synapses that
    do not exist are zero from the start, have no gradient and are masked where they are
    used, so they stay zero under weight decay too. For small networks that can be read.
    """

    layers: tuple[CfCCell, ...]
    wiring: NeuronMap = eqx.field(static=True)
    fully_recurrent: bool = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int | NeuronMap,
        *,
        mode: str = "default",
        fully_recurrent: bool = True,
        time_scale_factor: float = 1.0,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`hidden_size`: a map, or n for `AutoNCPMap(input_size, n, max(1, n // 4))`, n >= 4.

        The rest as in `CfCCell`. ValueError for a smaller n, or a map that does not fit.
        """
        check_sizes(input_size=input_size)
        self.wiring = as_map(input_size, hidden_size)
        self.fully_recurrent = fully_recurrent
        self.input_size, self.output_size = input_size, self.wiring.output_size
        sizes = [len(layer) for layer in self.wiring.layers]
        options: dict[str, Any] = dict(mode=mode, time_scale_factor=time_scale_factor, dtype=dtype)
        cells = [
            CfCCell(before, size, backbone_layers=0, key=k, **options)
            for before, size, k in zip([input_size, *sizes], sizes, jr.split(key, len(sizes)))
        ]
        self.layers = _masked(cells, self.wiring, fully_recurrent)

    def init_state(self) -> Float[Array, " {self.wiring.units}"]:
        return jnp.zeros(self.wiring.units, state_dtype(self.layers[0].heads.weight))

    def constants(self) -> tuple[CfCCell, ...]:
        """The layers, with zeros where the map has no synapse."""
        return _masked(self.layers, self.wiring, self.fully_recurrent)

    def equation(
        self,
        c: tuple[CfCCell, ...],
        state: Float[Array, " {self.wiring.units}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " {self.wiring.units}"], Float[Array, " {self.output_size}"]]:
        ends = np.cumsum([cell.output_size for cell in c])[:-1]
        after = []
        for cell, h in zip(c, jnp.split(state, ends)):
            h, x = cell.advance(cell.constants(), h, x, dt)
            after.append(h)
        return jnp.concatenate(after), x[_motor_places(self.wiring)]


def as_map(input_size: int, hidden_size: Any) -> NeuronMap:
    """A map as it is, a number of neurons as the NCP of that size."""
    if isinstance(hidden_size, NeuronMap):
        return _check_map(hidden_size, input_size)
    check_sizes(hidden_size=hidden_size)
    if hidden_size < SMALLEST:
        raise ValueError(
            f"expected hidden_size of at least {SMALLEST}, got {hidden_size}: it counts all "
            "neurons, two inter, a command and a motor neuron at least"
        )
    return AutoNCPMap(input_size, int(hidden_size), max(1, int(hidden_size) // 4))


def check_inputs(wiring: NeuronMap, input_size: int) -> NeuronMap:
    """The map, or a ValueError if it is made for another number of inputs."""
    if wiring.input_size != input_size:
        raise ValueError(
            f"the map is drawn for {wiring.input_size} inputs and the cell reads {input_size}: "
            "draw it again with that input_size"
        )
    return wiring


def _check_map(wiring: NeuronMap, input_size: int) -> NeuronMap:
    check_inputs(wiring, input_size)
    neurons = sorted(n for layer in wiring.layers for n in layer)
    if neurons != list(range(wiring.units)):
        raise ValueError(
            f"expected layers that hold each of the {wiring.units} neurons once, got "
            f"{wiring.layers}"
        )
    if not set(range(wiring.output_size)) <= set(wiring.layers[-1]):
        raise ValueError(
            f"expected the {wiring.output_size} motor neurons in the last layer, which gives the "
            f"output; it holds {wiring.layers[-1]}"
        )
    return wiring


def _motor_places(wiring: NeuronMap) -> np.ndarray:
    """Where the motor neurons stand in the last layer."""
    return np.array([wiring.layers[-1].index(neuron) for neuron in range(wiring.output_size)])


def synapses(wiring: NeuronMap, layer: int, fully_recurrent: bool) -> np.ndarray:
    """Which features [x, h] each neuron of a layer reads: (neurons, features) bool."""
    own = list(wiring.layers[layer])
    if layer == 0:
        incoming = wiring.sensory_adjacency[:, own]
    else:
        incoming = wiring.adjacency[np.ix_(wiring.layers[layer - 1], own)]
    inside = wiring.adjacency[np.ix_(own, own)]
    inside = np.ones_like(inside) if fully_recurrent else inside
    return np.concatenate([incoming, inside]).T != 0


def _masked(cells: Any, wiring: NeuronMap, fully_recurrent: bool) -> tuple[CfCCell, ...]:
    """The cells with the weights of f_1 and f_2 at zero where there is no synapse."""
    return tuple(
        _mask_heads(cell, synapses(wiring, i, fully_recurrent)) for i, cell in enumerate(cells)
    )


def _mask_heads(cell: CfCCell, present: np.ndarray) -> CfCCell:
    weight = cell.heads.weight
    blocks = weight.shape[0] // len(present)
    dense = [np.ones_like(present)] * (blocks - 2)  # a and b; pure has f_1 alone
    mask = np.concatenate([present] * min(blocks, 2) + dense)
    heads = replace(cell.heads, weight=jnp.where(mask, weight, 0.0))
    return replace(cell, heads=heads)
