"""Gated cells: LSTM, GRU, MGU."""

__all__ = ["GRUCell", "LSTMCell", "LSTMState", "MGUCell"]

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._common.dtypes import zero_state
from .._common.terms import plus
from ..base import StateMatrix
from ..declared import (
    AbstractDeclaredCell,
    Given,
    computed,
    derived,
    drawn,
    drawn_from,
    filled,
    option,
    said,
)
from ..init import fan_in_uniform, glorot, orthogonal
from ..registry import register


class LSTMState(NamedTuple):
    """State of an LSTM: hidden h and cell c, (hidden,) each; in an LSTMP c is (cell,)."""

    h: Float[Array, " hidden"]
    c: Float[Array, " cell"]


def forgetting(place: int, blocks: int) -> Callable[[Given, Any], Array]:
    """The start of a bias: zeros, and `forget_bias` in one of its blocks."""

    def start(given: Given, shape: tuple[int, ...]) -> Array:
        size = shape[0] // blocks
        block = slice(place * size, (place + 1) * size)
        return jnp.zeros(shape, given.dtype).at[block].set(given.forget_bias)

    return start


def has_peepholes(given: Given) -> bool:
    return given.peepholes


def peeps(weight: Any, gates: int = 3) -> list[Any]:
    """p of i, f and o; None each where there are no peepholes."""
    return [None] * gates if weight is None else jnp.split(weight, gates)


def peeped(z: Array, p: Any, memory: Array) -> Array:
    """z + p * c, or z where there is no peephole."""
    return z if p is None else z + p * memory


def _in_blocks(make: Callable) -> Callable:
    """An initialiser of as many blocks as the cell has."""

    def start(given: Given, shape: tuple[int, ...], key: Any) -> Array:
        return make(key, shape, given.dtype, blocks=given.blocks)

    return start


def _forgetting(given: Given, shape: tuple[int, ...]) -> Array:
    """As `forgetting`; where f is 1 - i, i starts at the negative number."""
    start = forgetting(0 if given.coupled else 1, given.blocks)(given, shape)
    return -start if given.coupled else start


def _has_bias_n(given: Given) -> bool:
    return given.use_bias and given.reset_after


@register(
    "lstm",
    family="gated",
    paper="Hochreiter & Schmidhuber 1997",
    equation="c' = f * c + i * g, h' = o * tanh(c')",
    covers={
        "peephole LSTM": {"peepholes": True},
        "CIFG": {"coupled": True},
        "LSTM with coupled gates": {"coupled": True},
    },
    full="""
        i = sig(W_i x + U_i h + p_i * c + b_i)    if peepholes
        i = sig(W_i x + U_i h + b_i)              otherwise
        f = 1 - i                                 if coupled
        f = sig(W_f x + U_f h + p_f * c + b_f)    if peepholes
        f = sig(W_f x + U_f h + b_f)              otherwise
        g = tanh(W_g x + U_g h + b_g)
        o = sig(W_o x + U_o h + p_o * c' + b_o)   if peepholes
        o = sig(W_o x + U_o h + b_o)              otherwise
        c' = f * c + i * g
        h' = o * tanh(c')
        y = h'
        where W_i, W_g, W_o = weight_ih        if coupled
              W_i, W_f, W_g, W_o = weight_ih   otherwise
              U_i, U_g, U_o = weight_hh        if coupled
              U_i, U_f, U_g, U_o = weight_hh   otherwise
              b_i, b_g, b_o = bias             if coupled
              b_i, b_f, b_g, b_o = bias        otherwise
              p_i, p_o = weight_peep           if coupled
              p_i, p_f, p_o = weight_peep      otherwise
              peepholes = given(weight_peep); h, c = state
    """,
)
class LSTMCell(AbstractDeclaredCell, init=False):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers 2000).

    $$i, f, o = \sigma(W_{ih} x + W_{hh} h + b)_{i,f,o}, \qquad
    g = \tanh(W_{ih} x + W_{hh} h + b)_g$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh c', \qquad y = h'$$

    State: `LSTMState(h, c)`, zero at the start. The four blocks of the weights are in the
    order i, f, g, o (PyTorch, Keras, Equinox). `forget_bias` (1 by default) is where the
    bias of f starts. $W_{ih}$ is Glorot-uniform and $W_{hh}$ orthogonal, block by block.
    The safe first choice for memories up to some hundred steps.

    With `peepholes` (Gers et al. 2002) the gates see the memory: $p_i \odot c$ and $p_f \odot c$
    are added inside of i and f, and $p_o \odot c'$, of the new memory, inside of o. `weight_peep`
    has the three vectors in this order, from U(±1/sqrt(hidden)). For counting and timing, and for
    networks that were trained so.

    With `coupled` (CIFG; Greff et al. 2017, arXiv:1503.04069) $f = 1 - i$: what is written takes
    the place of what is forgotten, with a quarter of the parameters less. The blocks are i, g, o
    then, without f, the peepholes those of i and o, and the bias of i starts at -`forget_bias`.
    """

    weight_ih: Float[Array, "blocks*hidden input"] = drawn_from(_in_blocks(glorot))
    weight_hh: Float[Array, "blocks*hidden hidden"] = drawn_from(_in_blocks(orthogonal))
    bias: Float[Array, " blocks*hidden"] | None = computed(_forgetting)
    weight_peep: Float[Array, " gates*hidden"] | None = drawn(
        fan_in_uniform, fan_in="hidden", when=has_peepholes
    )
    forget_bias: ClassVar[float] = option(1.0)
    peepholes: ClassVar[bool] = option(False)
    coupled: bool = option(False, said("whether f is 1 - i"))
    blocks: ClassVar[int] = derived(lambda given: 3 if given.coupled else 4)
    gates: ClassVar[int] = derived(lambda given: given.blocks - 1)

    def init_state(self) -> LSTMState:
        zeros = zero_state(self.output_size, self.weight_hh)
        return LSTMState(zeros, zeros)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self, c: StateMatrix, state: LSTMState, x: Float[Array, " {self.input_size}"]
    ) -> tuple[LSTMState, Float[Array, " {self.output_size}"]]:
        z = self.weight_ih @ x + c @ state.h
        blocks = 3 if self.coupled else 4
        i, *f, g, o = jnp.split(plus(z, self.bias), blocks)
        p_i, *p_f, p_o = peeps(self.weight_peep, blocks - 1)
        i = peeped(i, p_i, state.c)
        f = -i if self.coupled else peeped(f[0], p_f[0], state.c)
        memory = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        o = peeped(o, p_o, memory)
        h = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return LSTMState(h, memory), h


@register(
    "gru",
    family="gated",
    paper="Cho et al. 2014, arXiv:1406.1078",
    equation="h' = (1 - z) * n + z * h, n = tanh(W x + r * (U h))",
    covers={
        "cuDNN GRU": {"reset_after": True},
        "GRU v1": {"reset_after": True},
        "GRU v3": {"reset_after": False},
    },
    full="""
        r = sig(W_r x + U_r h + b_r)
        z = sig(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))   if reset_after
        n = tanh(W_n x + b_n + U_n (r * h))         otherwise
        h' = (1 - z) * n + z * h
        y = h'
        where W_r, W_z, W_n = weight_ih
              U_r, U_z, U_n = weight_hh
              b_r, b_z, b_n = bias
              c_n = bias_n; h = state
    """,
)
class GRUCell(AbstractDeclaredCell, init=False):
    r"""Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

    $$r, z = \sigma(W_{ih} x + W_{hh} h + b)_{r,z}, \qquad h' = (1 - z) \odot n + z \odot h,
    \qquad y = h'$$
    $$n = \tanh\big((W_{ih} x + b)_n + r \odot (U_n h + b_n)\big) \quad\text{(reset\_after)}$$
    $$n = \tanh\big((W_{ih} x + b)_n + U_n (r \odot h)\big) \quad\text{(the paper)}$$

    State: h, (hidden,), zero at the start. Blocks in the order r, z, n; $U_n$ is the last
    block of $W_{hh}$, $b_n$ is `bias_n`. `reset_after=True`, the default, is the form of
    cuDNN, PyTorch, Keras, Flax and Equinox; False is the paper's. z keeps the old state, as
    in the paper (Haiku and brainstate call that share 1 - z). Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "3*hidden input"] = drawn(glorot, blocks=3)
    weight_hh: Float[Array, "3*hidden hidden"] = drawn(orthogonal, blocks=3)
    bias: Float[Array, " 3*hidden"] | None = filled(0.0)
    bias_n: Float[Array, " hidden"] | None = filled(0.0, when=_has_bias_n)
    reset_after: bool = option(True)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = plus(self.weight_ih @ x, self.bias)
        if self.reset_after:
            from_h = c @ state
            r, z = jnp.split(jax.nn.sigmoid((from_x + from_h)[: -self.output_size]), 2)
            u = from_h[-self.output_size :]
            reset = r * plus(u, self.bias_n)
        else:
            gates = c[: -self.output_size] @ state
            r, z = jnp.split(jax.nn.sigmoid(from_x[: -self.output_size] + gates), 2)
            reset = c[-self.output_size :] @ (r * state)
        n = jnp.tanh(from_x[-self.output_size :] + reset)
        h = (1 - z) * n + z * state
        return h, h


@register(
    "mgu",
    family="gated",
    paper="Zhou et al. 2016, arXiv:1603.09420",
    equation="h' = (1 - f) * h + f * tanh(W x + U (f * h))",
    full="""
        f = sig(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g (f * h) + b_g)
        h' = (1 - f) * h + f * g
        y = h'
        where W_f, W_g = weight_ih
              U_f, U_g = weight_hh
              b_f, b_g = bias
              h = state
    """,
)
class MGUCell(AbstractDeclaredCell, init=False):
    r"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420): a GRU with one gate.

    $$f = \sigma(W_f x + U_f h + b_f), \qquad \hat h = \tanh(W_h x + U_h (f \odot h) + b_h),
    \qquad h' = (1 - f) \odot h + f \odot \hat h, \qquad y = h'$$

    State: h, (hidden,), zero at the start. Blocks in the order f, h. Two thirds of a GRU's
    parameters. Against its name, f is the share that is replaced: b_f starts at `forget_bias`,
    and the default 1 replaces 0.73 of the state at every step. For long memories start below 0:
    -3 replaces a twentieth. Weights as in `LSTMCell`.
    """

    weight_ih: Float[Array, "2*hidden input"] = drawn(glorot, blocks=2)
    weight_hh: Float[Array, "2*hidden hidden"] = drawn(orthogonal, blocks=2)
    bias: Float[Array, " 2*hidden"] | None = computed(forgetting(0, blocks=2))
    forget_bias: ClassVar[float] = option(1.0)

    def constants(self) -> StateMatrix:
        return StateMatrix(self.weight_hh)

    def equation(
        self,
        c: StateMatrix,
        state: Float[Array, " {self.output_size}"],
        x: Float[Array, " {self.input_size}"],
    ) -> tuple[Float[Array, " {self.output_size}"], Float[Array, " {self.output_size}"]]:
        from_x = self.weight_ih @ x
        from_x_f, from_x_h = jnp.split(plus(from_x, self.bias), 2)
        weight_f, weight_h = (
            c[: self.output_size],
            c[self.output_size :],
        )
        f = jax.nn.sigmoid(from_x_f + weight_f @ state)
        candidate = jnp.tanh(from_x_h + weight_h @ (f * state))
        h = (1 - f) * state + f * candidate
        return h, h
