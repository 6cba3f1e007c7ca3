"""Reservoirs: recurrent networks whose weights are drawn once and never trained."""

__all__ = ["EchoStateCell"]

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from .._common.checks import check_choice, check_positive, check_sizes, check_traced
from .._common.dtypes import working_float, zero_state
from .._common.fixed import Fixed
from ..base import AbstractCell
from ..init import orthogonal, uniform
from ..registry import register


RADII = ("matrix", "leaky")
SMALLEST_LOG = -1e4
"""log(1 - leak) where the leak is 1: e^(dt * this) is 0 for any step, with a finite slope."""


class EchoStateConstants(NamedTuple):
    """What `EchoStateCell.constants` computes: W_hh as gain * weight_hh + shift * I, log(1 - leak).

    Scalars rather than a scaled matrix: cells of a grid of settings share the matrix, so a
    `vmap` over them is one matrix product.
    """

    gain: Float[Array, ""]
    shift: Float[Array, ""]
    log_kept: Float[Array, ""]


class Noise(eqx.Module):
    """Adds normal noise of a standard deviation, and none in inference."""

    scale: float = eqx.field(static=True)
    inference: bool

    def __init__(self, scale: float, *, inference: bool = False):
        self.scale, self.inference = float(scale), inference

    def __call__(self, z: Float[Array, "..."], *, key: Any = None) -> Float[Array, "..."]:
        """RuntimeError without a key in training."""
        if self.inference:
            return z
        if key is None:
            raise RuntimeError(
                "a reservoir with noise draws at random and needs key=...; for inference use "
                "eqx.nn.inference_mode(model)"
            )
        return z + self.scale * jr.normal(key, z.shape, z.dtype)


@register(
    "esn",
    family="reservoir",
    paper="Jaeger et al. 2007",
    equation="h' = (1 - a) h + a tanh(W x + U h + b), nothing trained",
    covers={"cycle reservoir": {"topology": "ring"}},
    full="""
        alpha = 1 - (1 - leak)^dt
        L = (1 - leak) I + leak U
        V = rho U                                         if radius_of = matrix
        V = (rho / radius(L) * L - (1 - leak) I) / leak   otherwise
        h' = (1 - alpha) h + alpha tanh(s W x + V h + b)
        y = h'
        where W = weight_ih; U = weight_hh; b = bias; s = input_scaling; rho = spectral_radius
              h = state
    """,
)
class EchoStateCell(AbstractCell):
    r"""Leaky echo state network (Jaeger 2001; leaky form Jaeger et al. 2007).

    $$h' = (1 - \alpha_{dt}) h + \alpha_{dt} \tanh(s\, W_{ih} x + W_{hh} h + b + \eta\, \xi),
    \qquad \alpha_{dt} = 1 - (1 - \alpha)^{dt}, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Timed: `dt` in units of the step that `leak`
    $\alpha$ belongs to; dt = 0 holds the state. Nothing in it trains under any optimiser: a
    readout on its outputs is what learns. $W_{ih}$ is drawn from U(-1, 1), s is
    `input_scaling`, b from U(-`bias_scaling`, `bias_scaling`), $\xi$ from N(0, 1) with
    `noise` $\eta$, which takes a key. `spectral_radius` is that of $W_{hh}$
    (`radius_of="matrix"`), or exactly that of $(1 - \alpha) I + \alpha W_{hh}$ ("leaky").
    Topologies: "random", each synapse with probability `connectivity` and from U(-1, 1);
    "ring", one cycle of equal weights; "orthogonal"; "small_world", a lattice of near
    neighbours and random shortcuts (Newman & Watts 1999); "cluster", dense groups with a
    tenth of `connectivity` between them. `spectral_radius`, `leak`, `input_scaling` and
    `bias_scaling` (and `connectivity` of "random") may be traced, so a grid of settings is one
    `vmap` over the constructor. For feedback of outputs, feed them as further inputs.
    """

    weight_ih: Fixed
    weight_hh: Fixed
    bias: Fixed
    eigenvalues: Fixed
    spectral_radius: Fixed
    leak: Fixed
    input_scaling: Fixed
    noise: Noise | None
    radius_of: str = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        spectral_radius: Any = 0.9,
        leak: Any = 0.5,
        input_scaling: Any = 1.0,
        bias_scaling: Any = 0.0,
        connectivity: Any = 0.1,
        topology: str = "random",
        radius_of: str = "matrix",
        noise: float = 0.0,
        inference: bool = False,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """`leak` and `connectivity` in (0, 1], scalings and `noise` at least 0,
        `spectral_radius` above 0; ValueError otherwise."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        connectivity = _share("connectivity", connectivity)
        check_choice("topology", topology, TOPOLOGIES)
        self.radius_of = check_choice("radius_of", radius_of, RADII)
        dtype = working_float(dtype)
        key_hh, key_ih, key_bias = jr.split(key, 3)
        wide = jnp.promote_types(dtype, jnp.float32)
        matrix = TOPOLOGIES[topology](hidden_size, connectivity, key_hh)
        matrix, eigenvalues = _to_radius_one(matrix.astype(wide))
        self.weight_hh = Fixed(matrix.astype(dtype))
        self.weight_ih = Fixed(_symmetric(key_ih, (hidden_size, input_size), dtype))
        bias = _symmetric(key_bias, (hidden_size,), dtype)
        self.bias = Fixed((_scaling("bias_scaling", bias_scaling) * bias).astype(dtype))
        self.eigenvalues = Fixed(jnp.stack([eigenvalues.real, eigenvalues.imag]))
        self.spectral_radius = Fixed(jnp.asarray(_radius(spectral_radius), wide))
        self.leak = Fixed(jnp.asarray(_share("leak", leak), wide))
        self.input_scaling = Fixed(jnp.asarray(_scaling("input_scaling", input_scaling), wide))
        noise = check_positive("noise", noise, zero=True)
        self.noise = Noise(noise, inference=inference) if noise else None
        self.input_size, self.output_size = input_size, hidden_size

    @property
    def stochastic(self) -> bool:
        return self.noise is not None

    def init_state(self) -> Float[Array, " {self.output_size}"]:
        return zero_state(self.output_size, self.weight_hh.value)

    def constants(self) -> EchoStateConstants:
        leak, gain = self.leak.value, self.spectral_radius.value
        shift = jnp.zeros_like(gain)
        if self.radius_of == "leaky":
            # W_hh such that (1 - leak) I + leak W_hh is that of the draw, times a factor.
            real, imaginary = self.eigenvalues.value
            gain = gain / jnp.hypot(1 - leak + leak * real, leak * imaginary).max()
            shift = (1 - leak) * (gain - 1) / leak
        log_kept = jnp.maximum(jnp.log1p(-leak), SMALLEST_LOG)
        return EchoStateConstants(gain, shift, log_kept)

    def equation(
        self,
        c: EchoStateConstants,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
        dt: Float[ArrayLike, ""] = 1.0,
        *,
        key: Any = None,
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        """RuntimeError without a key where there is noise."""
        gain, shift, log_kept = c
        recurrent = gain * (self.weight_hh.value @ state) + shift * state
        z = self.input_scaling.value * (self.weight_ih.value @ x) + recurrent + self.bias.value
        if self.noise is not None:
            z = self.noise(z, key=key)
        alpha = -jnp.expm1(jnp.asarray(dt) * log_kept)
        h = (1 - alpha) * state + alpha * jnp.tanh(z)
        return h, h


# --- topologies: a float32 matrix from its size, a connectivity and a key ------------------------


def _random(size: int, connectivity: Any, key: PRNGKeyArray) -> Array:
    key_mask, key_weights = jr.split(key)
    present = jr.bernoulli(key_mask, connectivity, (size, size))
    return _weighted(present, key_weights)


def _ring(size: int, connectivity: float, key: PRNGKeyArray) -> Array:
    return jnp.roll(jnp.eye(size), 1, axis=0)


def _orthogonal(size: int, connectivity: float, key: PRNGKeyArray) -> Array:
    return orthogonal(key, (size, size), jnp.float32)


def _small_world(size: int, connectivity: float, key: PRNGKeyArray) -> Array:
    """A lattice with `connectivity` of all synapses, and a tenth as many shortcuts."""
    key_mask, key_weights = jr.split(key)
    steps = np.arange(size)
    distance = np.abs(steps[:, None] - steps)
    distance = np.minimum(distance, size - distance)
    near = (distance <= max(1, round(connectivity * size / 2))) & (distance > 0)
    shortcuts = jr.bernoulli(key_mask, 0.1 * connectivity, (size, size))
    return _weighted(jnp.asarray(near) | shortcuts, key_weights)


def _cluster(size: int, connectivity: float, key: PRNGKeyArray) -> Array:
    """About sqrt(size) groups of equal size, all to all inside."""
    key_mask, key_weights = jr.split(key)
    group = np.arange(size) * max(1, round(size**0.5)) // size
    same = group[:, None] == group
    between = jr.bernoulli(key_mask, 0.1 * connectivity, (size, size))
    return _weighted(jnp.asarray(same) | between, key_weights)


def _weighted(present: Bool[Array, "size size"], key: PRNGKeyArray) -> Array:
    return jnp.where(present, _symmetric(key, present.shape, jnp.float32), 0.0)


def _symmetric(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Array:
    """From U(-1, 1)."""
    return uniform(key, shape, dtype, low=-1.0, high=1.0)


TOPOLOGIES = {
    "random": _random,
    "ring": _ring,
    "orthogonal": _orthogonal,
    "small_world": _small_world,
    "cluster": _cluster,
}


def _to_radius_one(matrix: Float[Array, "size size"]) -> tuple[Array, Array]:
    """The matrix over its spectral radius, and the eigenvalues of that.

    A sparse draw without a cycle has the radius 0 and gets one cycle through all units first.
    """
    size = matrix.shape[0]
    empty = jnp.abs(jnp.linalg.eigvals(matrix)).max() < 1e-4
    matrix = jnp.where(empty, matrix + _ring(size, 1.0, jr.key(0)), matrix)
    eigenvalues = jnp.linalg.eigvals(matrix)
    radius = jnp.abs(eigenvalues).max()
    return matrix / radius, eigenvalues / radius.astype(eigenvalues.dtype)


# --- settings that may be traced ------------------------------------------------------------------


def _share(name: str, value: Any) -> Any:
    return check_traced(value, (value > 0) & (value <= 1), f"{name} in (0, 1]")


def _radius(value: Any) -> Any:
    return check_traced(value, value > 0, "spectral_radius above 0")


def _scaling(name: str, value: Any) -> Any:
    return check_traced(value, value >= 0, f"{name} at least 0")
