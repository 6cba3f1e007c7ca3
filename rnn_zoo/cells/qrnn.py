"""The quasi-recurrent network, and the last inputs that its convolution sees."""

__all__ = ["QRNNCell", "TappedDelayLine"]

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.checks import check_sizes
from .._common.dtypes import working_float
from .._common.terms import plus
from .._engine.window import Window, pushed
from ..base import AbstractCell, AbstractLinearCell
from ..declared import AbstractDeclaredCell, Given, computed, derived, drawn_from, one_of, option
from ..init import glorot
from ..linear import AffineMap, Diagonal
from ..registry import register
from .gated import forgetting


POOLINGS = {"f": 2, "fo": 3, "ifo": 4}


def _weights(given: Given, shape: tuple[int, ...], key: Any) -> Array:
    return glorot(key, shape, given.dtype, blocks=given.blocks)


def _bias(given: Given, shape: tuple[int, ...]) -> Array:
    return forgetting(1, given.blocks)(given, shape)


@register(
    "qrnn",
    family="gated",
    paper="Bradbury et al. 2016, arXiv:1611.01576",
    equation="c' = f * c + (1 - f) * z, y = o * c', z, f, o of x",
    covers={"QRNN with ifo-pooling": {"pooling": "ifo"}},
    full="""
        z = tanh(W_z x + b_z)
        f = sig(W_f x + b_f)
        o = sig(W_o x + b_o)
        i = sig(W_i x + b_i)   if pooling = ifo
        i = 1 - f              otherwise
        c' = f * c + i * z
        y = c'       if pooling = f
        y = o * c'   otherwise
        where W_z, W_f = weight_ih             if pooling = f
              W_z, W_f, W_o = weight_ih        if pooling = fo
              W_z, W_f, W_o, W_i = weight_ih   otherwise
              b_z, b_f = bias                  if pooling = f
              b_z, b_f, b_o = bias             if pooling = fo
              b_z, b_f, b_o, b_i = bias        otherwise
              c = state
    """,
)
class QRNNCell(AbstractDeclaredCell, AbstractLinearCell, init=False):
    r"""Quasi-recurrent network (Bradbury et al. 2016, arXiv:1611.01576).

    $$z = \tanh(W_z x + b_z), \qquad f, o = \sigma(W_{f,o} x + b_{f,o})$$
    $$c' = f \odot c + (1 - f) \odot z, \qquad y = o \odot c'$$

    Linear in c. State: c, (hidden,), zero at the start. `pooling`: "fo" is written above; "f" has
    no o, y = c'; "ifo" has a gate i in the place of 1 - f. Blocks in the order z, f, o, i. f is
    the share that is kept, as in the paper (in the salesforce package it is the share that is
    replaced). b_f starts at `forget_bias`, 1 by default. Weights are Glorot-uniform.

    The paper's convolution over the last k inputs is this cell behind a `TappedDelayLine`; a
    sequence then runs layer by layer, and the recurrence in parallel over time:

        rz.Stacked(
            [
                rz.cells.TappedDelayLine(3, taps=2),
                rz.cells.QRNNCell(2 * 3, 16, key=key),
            ]
        )
    """

    weight_ih: Float[Array, "blocks*hidden input"] = drawn_from(_weights)
    bias: Float[Array, " blocks*hidden"] | None = computed(_bias)
    pooling: str = option("fo", one_of(*POOLINGS))
    forget_bias: ClassVar[float] = option(1.0)
    blocks: ClassVar[int] = derived(lambda given: POOLINGS[given.pooling])

    def transition(self, c: Any, x: Float[Array, " {self.input_size}"]) -> AffineMap:
        # Without the rows of o, which the readout takes, where they are the last.
        blocks = 4 if self.pooling == "ifo" else 2
        rows = slice(blocks * self.output_size)
        bias = None if self.bias is None else self.bias[rows]
        z, f, *gates = jnp.split(plus(self.weight_ih[rows] @ x, bias), blocks)
        kept, write = jax.nn.sigmoid(f), jax.nn.sigmoid(-f)
        if self.pooling == "ifo":
            write = jax.nn.sigmoid(gates[1])
        return AffineMap(Diagonal(kept), write * jnp.tanh(z))

    def readout(
        self,
        c: Any,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> Float[Array, " {self.output_size}"]:
        if self.pooling == "f":
            return state
        rows = slice(2 * self.output_size, 3 * self.output_size)
        bias = None if self.bias is None else self.bias[rows]
        return jax.nn.sigmoid(plus(self.weight_ih[rows] @ x, bias)) * state


class TappedDelayLine(AbstractCell):
    r"""The last k inputs side by side, as a cell.

    $$y_t = [x_t, x_{t-1}, \ldots, x_{t-k+1}]$$

    What stands behind it reads a window of the sequence: a dense layer becomes a causal
    convolution (Waibel et al. 1989), a `QRNNCell` that of its paper, any cell one with a delay
    embedding. State: the k - 1 inputs before, (k - 1, size), oldest first, zero at the start. They
    are the last inputs that were valid, of this document: masked steps are no part of the window,
    resets empty it. There are no parameters. The state is shifted by a step, which no diagonal map
    does: not run as a linear cell.
    """

    input_size: int = eqx.field(static=True)
    output_size: int = eqx.field(static=True)
    taps: int = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    def __init__(self, size: int, *, taps: int = 2, dtype: Any = None):
        """**Arguments:**

        - `size`: the number of features of an input.
        - `taps`: the number k of inputs that an output shows, at least 1.
        - `dtype`: of the state, by default JAX's default float; never below float32.

        **Raises:** ValueError for other numbers; TypeError for a dtype that is no real float.
        """
        check_sizes(size=size, taps=taps)
        self.input_size, self.output_size, self.taps = size, taps * size, taps
        self.dtype = jnp.promote_types(working_float(dtype), jnp.float32).name

    def init_state(self) -> Float[Array, "{self.taps}-1 {self.input_size}"]:
        return jnp.zeros((self.taps - 1, self.input_size), self.dtype)

    def equation(
        self,
        c: None,
        state: Float[Array, "{self.taps}-1 {self.input_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[
        Float[Array, "{self.taps}-1 {self.input_size}"], Float[Array, " {self.output_size}"]
    ]:
        window = jnp.concatenate([state, x[None]])
        return window[1:], window[::-1].reshape(-1)

    def pushed(self, xs: Array, mask: Array | None, reset: Array | None) -> Window:
        """What the steps of a sequence do to the state before them, as large as one state; so that
        a sequence can be spread over devices."""
        return pushed(xs, self.init_state(), mask, reset)
