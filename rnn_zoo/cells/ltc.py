"""Liquid time-constant networks: neurons with conductances, wired by a neuron map."""

__all__ = ["LTCCell"]

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.checks import check_choice, check_positive, check_sizes
from .._common.dtypes import state_dtype, working_float, zero_state
from .._common.ranges import held
from .._engine.samples_last import samples_last
from ..base import AbstractCell
from ..init import uniform
from ..registry import register
from ..wiring.base import NeuronMap
from ..wiring.dense import FullyConnectedMap
from .wired import check_inputs


MAPPINGS = ("affine", "linear", None)
CONSTRAINTS = ("implicit", "explicit")
INITIALISATIONS = ("effective", "ncps", "original")
LEAST_CAPACITY = 1e-5


class Synapses(eqx.Module):
    r"""Parameters of the synapses that a wiring has, one entry each, in the order of its rows."""

    weight: Float[Array, " synapses"]
    mu: Float[Array, " synapses"]
    sigma: Float[Array, " synapses"]
    polarity: Float[Array, " synapses"]

    def __init__(
        self, adjacency: np.ndarray, least: float, constrain: Any, dtype: Any, key: PRNGKeyArray
    ):
        signs = adjacency[np.nonzero(adjacency)]
        key_w, key_mu, key_sigma = jr.split(key, 3)
        shape = signs.shape
        self.weight = constrain(uniform(key_w, shape, dtype, low=least, high=1.0))
        self.mu = uniform(key_mu, shape, dtype, low=0.3, high=0.8)
        self.sigma = uniform(key_sigma, shape, dtype, low=3.0, high=8.0)
        self.polarity = jnp.asarray(signs, dtype)


class SynapseTable(NamedTuple):
    """Synapses laid out by target (`_layout`), one column for each neuron that has any."""

    weight: Float[Array, "fan_in columns"]
    weight_polarity: Float[Array, "fan_in columns"]
    slope: Float[Array, "fan_in columns"]
    """sigma."""
    shift: Float[Array, "fan_in columns"]
    """Minus sigma mu."""

    def currents(self, layout: "Layout", v: Array) -> tuple[Array, Array]:
        """Sums over the synapses of each neuron: of S E, and of S. More axes behind are samples."""
        read = v[:, None] if layout.source is None else v[layout.source]
        opening = _opening(self.slope * read + self.shift)
        return layout.spread(self.weight_polarity * opening), layout.spread(self.weight * opening)


class LTCConstants(NamedTuple):
    """What `LTCCell.constants` computes: conductances in their range, synapses by target."""

    g_leak: Float[Array, " units"]
    leak: Float[Array, " units"]
    c_m: Float[Array, " units"]
    recurrent: SynapseTable
    sensory: SynapseTable


@register(
    "ltc",
    family="liquid",
    paper="Hasani et al. 2021, arXiv:2006.04439",
    equation="c v' = g (v0 - v) + sum_j w sig(s (v_j - m)) (E - v) + the same of x",
    full="""
        ode_unfolds times, each with v' of the time before for v
        p = softplus         if constraint = implicit
        p = relu             otherwise
        c = softplus(c_m)    if constraint = implicit
        c = max(c_m, 1e-5)   otherwise
        tau = dt / (n c)
        u = a_x * x + b_x
        S = w * sig(s * (rows(v) - m))
        S_x = w_x * sig(s_x * (rows(u) - m_x))
        f = p(g) * E_0 + sum(S * E) + sum(S_x * E_x)
        k = p(g) + sum(S) + sum(S_x) + epsilon
        v' = (v + tau * f) / (1 + tau * k)
        y = a_y * motor(v') + b_y
        where w = wires(p(recurrent.weight), wiring.adjacency)
              m = wires(recurrent.mu, wiring.adjacency)
              s = wires(recurrent.sigma, wiring.adjacency)
              E = wires(recurrent.polarity, wiring.adjacency)
              w_x = wires(p(sensory.weight), wiring.sensory_adjacency)
              m_x = wires(sensory.mu, wiring.sensory_adjacency)
              s_x = wires(sensory.sigma, wiring.sensory_adjacency)
              E_x = wires(sensory.polarity, wiring.sensory_adjacency)
              a_x = input_weight; b_x = input_bias; a_y = output_weight; b_y = output_bias
              g = g_leak; E_0 = v_leak; n = ode_unfolds; v = state
    """,
)
class LTCCell(AbstractCell):
    r"""Liquid time-constant network (Hasani et al. 2021, arXiv:2006.04439), conductance form.

    With $S_{ji}(u) = w_{ji}\, \sigma(\sigma_{ji} (u_j - \mu_{ji}))$ for each synapse from
    neuron or input j to neuron i, $\tau = dt / (\text{unfolds} \cdot c_m)$, `ode_unfolds` times

    $$v_i \leftarrow \frac{v_i + \tau_i \big(g_i v^{leak}_i + \sum_j S_{ji}(v) E_{ji}
    + \sum_j S_{ji}(x) E_{ji}\big)}{1 + \tau_i \big(g_i + \sum_j S_{ji}(v) + \sum_j S_{ji}(x)
    + \epsilon\big)}$$

    the semi-implicit Euler step of $c_m \dot v = \ldots$; equal to the update of ncps and safe
    at dt = 0, which holds the state. y is v of the motor neurons, which come first. State: v,
    (units,), zero at the start. Timed: `dt` is the time that the unfolds cover together.

    Only the synapses of the wiring exist: parameters, arithmetic and memory grow with their
    number. `polarity` E starts at the sign in the map and is trained, as in ncps. Explicit
    constraints keep w, g_leak >= 0 and c_m >= 1e-5 where they are used; at the edge the
    gradient passes inwards only. Implicit ones use softplus. The published ranges (w and g_leak
    U(0.001, 1), v_leak U(-0.2, 0.2), c_m U(0.4, 0.6), mu U(0.3, 0.8), sigma U(3, 8)) are those
    of the values in use, those of ncps; `initialisation="ncps"` draws the raw parameters from
    them, so that implicit weights start near 1. "original" is the code of the paper: w
    U(0.01, 1), g_leak 1 and c_m 1 / (2 unfolds), which it writes as 0.5 per unfold; its signs of
    synapses are even, those of a map are the map's. The step is recomputed in the gradient, which
    costs a third more arithmetic and saves most of the memory. For small, interpretable networks
    and irregular time; stiff inputs are no danger to it.
    """

    recurrent: Synapses
    sensory: Synapses
    g_leak: Float[Array, " units"]
    v_leak: Float[Array, " units"]
    c_m: Float[Array, " units"]
    input_weight: Float[Array, " input"] | None
    input_bias: Float[Array, " input"] | None
    output_weight: Float[Array, " output"] | None
    output_bias: Float[Array, " output"] | None
    wiring: NeuronMap = eqx.field(static=True)
    ode_unfolds: int = eqx.field(static=True)
    constraint: str = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int | NeuronMap,
        *,
        ode_unfolds: int = 6,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        constraint: str = "implicit",
        initialisation: str = "effective",
        epsilon: float = 1e-8,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`hidden_size`: neurons of a fully connected map, or a map with this input size.

        `ode_unfolds` >= 1; mappings "affine", "linear" or None; `constraint` "implicit" or
        "explicit"; `initialisation` "effective", "ncps" or "original"; ValueError otherwise.
        """
        self.wiring = wiring = _as_map(input_size, hidden_size)
        check_choice("input_mapping", input_mapping, MAPPINGS)
        check_choice("output_mapping", output_mapping, MAPPINGS)
        check_choice("initialisation", initialisation, INITIALISATIONS)
        self.constraint = check_choice("constraint", constraint, CONSTRAINTS)
        check_sizes(ode_unfolds=ode_unfolds)
        self.ode_unfolds = ode_unfolds
        dtype = working_float(dtype)
        inverse = constraint == "implicit" and initialisation != "ncps"
        raw = _under_softplus if inverse else _as_it_is
        least, g_leak, c_m = _ranges(initialisation, ode_unfolds)
        keys, units = jr.split(key, 5), (wiring.units,)
        self.recurrent = Synapses(wiring.adjacency, least, raw, dtype, keys[0])
        self.sensory = Synapses(wiring.sensory_adjacency, least, raw, dtype, keys[1])
        self.g_leak = raw(uniform(keys[2], units, dtype, low=g_leak[0], high=g_leak[1]))
        self.v_leak = uniform(keys[3], units, dtype, low=-0.2, high=0.2)
        self.c_m = raw(uniform(keys[4], units, dtype, low=c_m[0], high=c_m[1]))
        self.input_weight, self.input_bias = _mapping(input_mapping, input_size, dtype)
        self.output_weight, self.output_bias = _mapping(output_mapping, wiring.output_size, dtype)
        self.epsilon = check_positive("epsilon", epsilon, zero=True)
        self.input_size, self.output_size = input_size, wiring.output_size

    def init_state(self) -> Float[Array, " units"]:
        return zero_state(self.wiring.units, self.g_leak)

    def constants(self) -> LTCConstants:
        g_leak = self._in_range(self.g_leak)
        return LTCConstants(
            g_leak,
            g_leak * self.v_leak,
            self._in_range(self.c_m, LEAST_CAPACITY),
            self._table(_layout(self.wiring, False), self.recurrent),
            self._table(_layout(self.wiring, True), self.sensory),
        )

    def equation(
        self,
        c: LTCConstants,
        state: Float[Array, " units"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
    ) -> tuple[Float[Array, " units"], Float[Array, " {self.output_size}"]]:
        u = _mapped(x, self.input_weight, self.input_bias)
        tau = jnp.asarray(dt, state.dtype) / (self.ode_unfolds * c.c_m)
        unfold = Unfold(self.wiring, self.ode_unfolds, self.epsilon)
        # Recomputed in the gradient: the openings of all synapses and unfolds would fill memory.
        again = jax.checkpoint(lambda *arrays: samples_last(unfold, *arrays))
        v = again(state, u, tau, c.g_leak, c.leak, *c.recurrent, *c.sensory)
        return v, _mapped(v[: self.output_size], self.output_weight, self.output_bias)

    def _in_range(self, raw: Array, least: float = 0.0) -> Array:
        raw = raw.astype(state_dtype(raw))
        if self.constraint == "implicit":
            return jax.nn.softplus(raw)
        return held(raw, least, math.inf)

    def _table(self, layout: "Layout", synapses: Synapses) -> SynapseTable:
        def lay(values: Array) -> Array:
            # What fills a row up has weight 0 and is no synapse.
            return jnp.append(values.astype(state_dtype(values)), 0.0)[layout.entry]

        weight = lay(self._in_range(synapses.weight))
        polarity, mu, slope = map(lay, (synapses.polarity, synapses.mu, synapses.sigma))
        return SynapseTable(weight, weight * polarity, slope, -slope * mu)


@jax.custom_jvp
def _opening(z: Array) -> Array:
    """The logistic function by way of tanh, which compiles to fewer instructions."""
    return 0.5 * jnp.tanh(0.5 * z) + 0.5


@_opening.defjvp
def _opening_jvp(primals, tangents):
    # As one operation: of the other form, the way back holds the tanh, which alone runs slowly.
    opening = jax.nn.sigmoid(*primals)
    return opening, opening * (1 - opening) * tangents[0]


@dataclasses.dataclass(frozen=True)
class Unfold:
    """The unfolds of one step, as `samples_last` takes them: more axes behind are samples."""

    wiring: NeuronMap
    ode_unfolds: int
    epsilon: float

    def __call__(
        self, v: Array, u: Array, tau: Array, g_leak: Array, leak: Array, *tables: Array
    ) -> Array:
        samples = jnp.broadcast_shapes(v.shape[1:], u.shape[1:], tau.shape[1:], g_leak.shape[1:])
        # For each sample here, so that the gradient sums over samples once and not in each unfold.
        tables = tuple(jnp.broadcast_to(t, (*t.shape[:2], *samples)) for t in tables)
        recurrent, sensory = SynapseTable(*tables[:4]), SynapseTable(*tables[4:])
        drive_x, conductance_x = sensory.currents(_layout(self.wiring, True), u)
        drive_x, conductance_x = drive_x + leak, conductance_x + g_leak + self.epsilon
        layout = _layout(self.wiring, False)
        for _ in range(self.ode_unfolds):
            drive, conductance = recurrent.currents(layout, v)
            v = (v + tau * (drive + drive_x)) / (1 + tau * (conductance + conductance_x))
        return v


class Layout(NamedTuple):
    """Where the synapses of a map stand in a table with a column for each neuron that has any."""

    source: np.ndarray | None
    """What each entry reads, (fan-in, columns); None: every column reads everything in order."""
    entry: np.ndarray
    """The synapse of each entry, or the number of synapses where there is none."""
    neurons: np.ndarray
    """The neuron of each column."""
    units: int

    def spread(self, values: Array) -> Array:
        """Sums over the columns of a table, for all neurons: zero for one without synapses."""
        sums = values.sum(0)
        first, count = self.neurons[0] if len(self.neurons) else 0, len(self.neurons)
        if np.array_equal(self.neurons, first + np.arange(count)):
            rest = [(0, 0)] * (sums.ndim - 1)
            return jnp.pad(sums, [(first, self.units - count - first), *rest])
        column = np.full(self.units, count)
        column[self.neurons] = np.arange(count)
        return jnp.pad(sums, [(0, 1)] + [(0, 0)] * (sums.ndim - 1))[column]


@functools.cache
def _layout(wiring: NeuronMap, sensory: bool) -> Layout:
    adjacency = wiring.sensory_adjacency if sensory else wiring.adjacency
    sources, targets = np.nonzero(adjacency)
    fan_in = np.bincount(targets, minlength=adjacency.shape[1])
    reached = np.flatnonzero(fan_in)
    shape = (fan_in.max(initial=0), len(reached))
    source, entry = np.zeros(shape, np.int32), np.full(shape, len(sources), np.int32)
    for i, neuron in enumerate(reached):
        synapses = np.flatnonzero(targets == neuron)
        source[: len(synapses), i], entry[: len(synapses), i] = sources[synapses], synapses
    full = len(sources) == adjacency.size
    return Layout(None if full else source, entry, reached, adjacency.shape[1])


# --- the start ------------------------------------------------------------------------------------


def _as_map(input_size: int, hidden_size: Any) -> NeuronMap:
    """A map as it is, a number of neurons as the fully connected map of that size."""
    if isinstance(hidden_size, NeuronMap):
        return check_inputs(hidden_size, input_size)
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    return FullyConnectedMap(input_size, hidden_size)


def _ranges(initialisation: str, unfolds: int) -> tuple[float, tuple, tuple]:
    """The least w, and (low, high) of g_leak and of c_m: values in use, see `LTCCell`."""
    if initialisation == "original":
        return 0.01, (1.0, 1.0), (0.5 / unfolds, 0.5 / unfolds)
    return 0.001, (0.001, 1.0), (0.4, 0.6)


def _under_softplus(value: Array) -> Array:
    """What softplus makes this value of."""
    return jnp.log(jnp.expm1(value))


def _as_it_is(value: Array) -> Array:
    return value


def _mapping(kind: str | None, size: int, dtype: Any) -> tuple[Array | None, Array | None]:
    weight = None if kind is None else jnp.ones(size, dtype)
    return weight, jnp.zeros(size, dtype) if kind == "affine" else None


def _mapped(values: Array, weight: Array | None, bias: Array | None) -> Array:
    values = values if weight is None else values * weight
    return values if bias is None else values + bias
