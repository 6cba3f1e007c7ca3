"""Cells whose state lies in space: convolutions in the place of matrices.

The contract stays that of all cells: x and y are vectors. A spatial cell has an `input_shape` and
an `output_shape`, (channels, *grid), with up to three axes of space; x is an array of the first
laid flat, row by row, and y one of the second, so that `input_size` and `output_size` are their
products. The state is kept in its own shape. So evaluators, masks, resets, layers, models and
streams take these cells as they take any other; `rz.layers.Framewise` is for who has frames. They
have no name in the registry, since an input size does not say what grid it is.
"""

__all__ = ["AbstractSpatialCell", "ConvGRUCell", "ConvLSTMCell"]

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from .._common.dtypes import state_dtype, working_float
from ..base import AbstractCell
from ..init import fan_in_uniform, uniform
from .gated import LSTMState
from .modes import wide


class AbstractSpatialCell(AbstractCell):
    """A cell that reads and gives arrays in space, laid flat; see the head of this file."""

    input_shape: eqx.AbstractVar[tuple[int, ...]]
    """(channels, *grid) of what x is made of."""
    output_shape: eqx.AbstractVar[tuple[int, ...]]
    """(channels, *grid) of what y is made of."""

    @property
    def input_size(self) -> int:
        return math.prod(self.input_shape)

    @property
    def output_size(self) -> int:
        return math.prod(self.output_shape)


class Kernels(NamedTuple):
    """What the `constants` of both cells give: their weights in the dtype of the state."""

    ih: Array
    hh: Array
    bias: Array | None
    """With axes of length 1 for the grid."""


class ConvLSTMCell(AbstractSpatialCell):
    r"""Convolutional LSTM (Shi et al. 2015, arXiv:1506.04214), on one to three axes of space.

    $$i = \sigma(W_i * x + U_i * h + p_i \odot c + b_i), \qquad
    f = \sigma(W_f * x + U_f * h + p_f \odot c + b_f)$$
    $$g = \tanh(W_g * x + U_g * h + b_g), \qquad c' = f \odot c + i \odot g$$
    $$o = \sigma(W_o * x + U_o * h + p_o \odot c' + b_o), \qquad h' = o \odot \tanh c', \qquad
    y = h'$$

    Here $*$ is a convolution (a cross-correlation, as in every library) with zeros around, which
    keeps the grid. x is an array of `input_shape`, (channels in, *grid), laid flat row by row; y
    one of `output_shape`, (channels, *grid). State: `LSTMState(h, c)`, each (channels, *grid), zero
    at the start. `weight_ih` is (4 channels, channels in, *kernel), `weight_hh` (4 channels,
    channels, *kernel), `bias` (4 channels), blocks in the order i, f, g, o. With `peepholes`, as in
    the paper, `weight_peep` is (3 channels, *grid), blocks p_i, p_f, p_o; by default there are
    none, as in Keras and Flax, and any grid of this many axes could take the weights. b_f starts
    at `forget_bias`, the kernels Glorot-uniform by block, peepholes on ±1 / sqrt(size of c).

    The zeros around act like a border that the state can feel: its influence reaches k // 2 places
    further inwards with each step. For videos, radar, waves on a grid.
    """

    weight_ih: Float[Array, "gates inputs *kernel"]
    weight_hh: Float[Array, "gates channels *kernel"]
    bias: Float[Array, " gates"] | None
    weight_peep: Float[Array, "peepholes *grid"] | None
    input_shape: tuple[int, ...] = eqx.field(static=True)
    output_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: int,
        *,
        kernel_size: int | Sequence[int] = 3,
        peepholes: bool = False,
        forget_bias: float = 1.0,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `input_shape`: (channels in, *grid) with one to three axes of space.
        - `channels`: of the state and of y.
        - `kernel_size`: odd; one number, or one for each axis of space.
        - `peepholes`: whether the gates see c.
        - `forget_bias`: where b_f starts.
        - `use_bias`: whether there is a b.
        - `dtype`: of the parameters, by default JAX's default float.
        - `key`: draws them.

        ValueError for any other value.
        """
        shape, kernel = _checked(input_shape, channels, kernel_size)
        dtype = working_float(dtype)
        keys = jr.split(key, 3)
        self.input_shape, self.output_shape = shape, (channels, *shape[1:])
        self.weight_ih = _glorot(keys[0], (channels, shape[0], *kernel), dtype, blocks=4)
        self.weight_hh = _glorot(keys[1], (channels, channels, *kernel), dtype, blocks=4)
        self.bias = None
        if use_bias:
            start = jnp.zeros(4 * channels, dtype)
            self.bias = start.at[channels : 2 * channels].set(forget_bias)
        self.weight_peep = None
        if peepholes:
            size, peep = self.output_size, (3 * channels, *shape[1:])
            self.weight_peep = fan_in_uniform(keys[2], peep, dtype, fan_in=size)

    def init_state(self) -> LSTMState:
        zeros = jnp.zeros(self.output_shape, state_dtype(self.weight_hh))
        return LSTMState(zeros, zeros)

    def constants(self) -> Kernels:
        return _kernels(self.weight_ih, self.weight_hh, self.bias)

    def equation(
        self, c: Kernels, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        h, memory = state
        z = _convolved(c.ih, x.reshape(self.input_shape), c.bias) + _convolved(c.hh, h)
        i, f, g, o = jnp.split(z, 4)
        p_i, p_f, p_o = (0.0, 0.0, 0.0)
        if self.weight_peep is not None:
            p_i, p_f, p_o = jnp.split(self.weight_peep, 3)
        i, f = jax.nn.sigmoid(i + p_i * memory), jax.nn.sigmoid(f + p_f * memory)
        memory = f * memory + i * jnp.tanh(g)
        h = jax.nn.sigmoid(o + p_o * memory) * jnp.tanh(memory)
        return LSTMState(h, memory), h.reshape(-1)


class ConvGRUCell(AbstractSpatialCell):
    r"""Convolutional GRU (Ballas et al. 2016, arXiv:1511.06432), on one to three axes of space.

    $$r, z = \sigma(W_{r,z} * x + U_{r,z} * h + b_{r,z}), \qquad
    n = \tanh(W_n * x + U_n * (r \odot h) + b_n)$$
    $$h' = (1 - z) \odot h + z \odot n, \qquad y = h'$$

    $*$ as in a `ConvLSTMCell`, which says how x, y and the grid are laid out. State: h, (channels,
    *grid), zero at the start. `weight_ih` is (3 channels, channels in, *kernel), `weight_hh`
    (3 channels, channels, *kernel), `bias` (3 channels), blocks in the order r, z, n. r acts before
    the convolution, and z is the share that is new, both as in the paper (in a `GRUCell` z is
    the share that is kept). The kernels start Glorot-uniform by block, the bias at 0.
    """

    weight_ih: Float[Array, "gates inputs *kernel"]
    weight_hh: Float[Array, "gates channels *kernel"]
    bias: Float[Array, " gates"] | None
    input_shape: tuple[int, ...] = eqx.field(static=True)
    output_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: int,
        *,
        kernel_size: int | Sequence[int] = 3,
        use_bias: bool = True,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `input_shape`: (channels in, *grid) with one to three axes of space.
        - `channels`: of the state and of y.
        - `kernel_size`: odd; one number, or one for each axis of space.
        - `use_bias`: whether there is a b.
        - `dtype`: of the parameters, by default JAX's default float.
        - `key`: draws them.

        ValueError for any other value.
        """
        shape, kernel = _checked(input_shape, channels, kernel_size)
        dtype = working_float(dtype)
        keys = jr.split(key, 2)
        self.input_shape, self.output_shape = shape, (channels, *shape[1:])
        self.weight_ih = _glorot(keys[0], (channels, shape[0], *kernel), dtype, blocks=3)
        self.weight_hh = _glorot(keys[1], (channels, channels, *kernel), dtype, blocks=3)
        self.bias = jnp.zeros(3 * channels, dtype) if use_bias else None

    def init_state(self) -> Float[Array, "channels *grid"]:
        return jnp.zeros(self.output_shape, state_dtype(self.weight_hh))

    def constants(self) -> Kernels:
        return _kernels(self.weight_ih, self.weight_hh, self.bias)

    def equation(
        self,
        c: Kernels,
        state: Float[Array, "channels *grid"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, "channels *grid"], Float[Array, " {self.output_size}"]]:
        gates = 2 * self.output_shape[0]
        from_x = _convolved(c.ih, x.reshape(self.input_shape), c.bias)
        r, z = jnp.split(jax.nn.sigmoid(from_x[:gates] + _convolved(c.hh[:gates], state)), 2)
        n = jnp.tanh(from_x[gates:] + _convolved(c.hh[gates:], r * state))
        h = (1 - z) * state + z * n
        return h, h.reshape(-1)


def _kernels(ih: Array, hh: Array, bias: Array | None) -> Kernels:
    if bias is not None:
        bias = bias.astype(state_dtype(hh)).reshape(-1, *(1,) * (hh.ndim - 2))
    hh, ih = wide(hh, ih)
    return Kernels(ih, hh, bias)


def _convolved(kernel: Array, x: Array, bias: Array | None = None) -> Array:
    """The kernel over x with zeros around, on the same grid, and b."""
    sides = [(k // 2, k // 2) for k in kernel.shape[2:]]
    y = lax.conv_general_dilated(x[None], kernel, (1,) * len(sides), sides)[0]
    return y if bias is None else y + bias


def _glorot(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any, *, blocks: int) -> Array:
    """Glorot-uniform, (blocks * channels out, channels in, *kernel), with the fans of one block."""
    fans = (shape[0] + shape[1]) * math.prod(shape[2:])
    bound = math.sqrt(6 / fans)
    return uniform(key, (blocks * shape[0], *shape[1:]), dtype, low=-bound, high=bound)


def _checked(
    input_shape: Any, channels: Any, kernel_size: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of an input and of a kernel, as tuples."""
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) else (input_shape,)
    if not (2 <= len(shape) <= 4 and all(map(_is_size, shape))):
        raise ValueError(
            "expected input_shape as (channels, *grid) with one to three axes of space, such as "
            f"(1, 28, 28), got {input_shape!r}"
        )
    if not _is_size(channels):
        raise ValueError(f"expected channels to be an integer of at least 1, got {channels!r}")
    axes = len(shape) - 1
    kernel = tuple(kernel_size) if isinstance(kernel_size, Sequence) else (kernel_size,) * axes
    if len(kernel) != axes or not all(_is_size(k) and k % 2 == 1 for k in kernel):
        raise ValueError(
            f"expected kernel_size as an odd number, or one for each of {axes} axes of space, so "
            f"that the state keeps its grid, got {kernel_size!r}"
        )
    return shape, kernel


def _is_size(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
