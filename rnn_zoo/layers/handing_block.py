"""The residual block of a stack whose first layer hands something on to all others."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike

from .._common.checks import check_steps
from .._common.dropout import Dropout, make_dropout
from .._common.dtypes import half_as, working_dtype
from .._common.keys import spread_keys
from .._engine.rows import by_rows
from ..base import AbstractCell, State
from .base import AbstractLayer, Directions, hide, mixed, require_step
from .norms import make_norm
from .sequence_dropout import drop_steps
from .stacked import as_layer


class HandingBlock(AbstractLayer, AbstractCell):
    r"""A recurrent layer with a skip connection, beside values of the first layer of the stack.

    $$(y, v_1) = \mathrm{layer}(\mathrm{norm}(x)), \qquad x \mapsto (x + \mathrm{dropout}(y), v_1)$$

    for the first block, whose layer gives more features than it reads, and for all others

    $$y = \mathrm{layer}(\mathrm{norm}(x), v_1), \qquad
    (x, v_1) \mapsto (x + \mathrm{dropout}(y), v_1)$$

    norm is a layer norm. RWKV-7 (Peng et al. 2025, arXiv:2503.14456) hands on values so: the layer
    is an `RWKV7TimeMix`. Between such blocks, `Leading` lets $v_1$ pass by a layer. The state is
    the layer's. A layer, and a cell where the layer inside steps.
    """

    norm: Any
    layer: Any
    dropout: Dropout | None

    def __init__(self, layer: Any, *, eps: float = 1e-5, dropout: float = 0.0, dtype: Any = None):
        """A cell or layer that reads or gives one part more than x, whose size is that of y;
        `eps`: what the norm adds to the variance; `dropout` in [0, 1)."""
        self.layer = as_layer(layer)
        read, given = self.layer.input_size, self.layer.output_size
        if read == given:
            raise ValueError(
                f"expected a layer that reads or gives handed features too, got one from {read} "
                f"features to {given}: rz.Block is for it"
            )
        self.norm = make_norm("layer", min(read, given), eps=eps, dtype=dtype)
        self.dropout = make_dropout(dropout)

    @property
    def input_size(self) -> int:
        return self.layer.input_size

    @property
    def output_size(self) -> int:
        return max(self.layer.input_size, self.layer.output_size)

    @property
    def timed(self) -> bool:
        return self.layer.timed

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return self.dropout is not None or self.layer.stochastic

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(before + self.layer.directions(), self.output_size)

    def init_state(self) -> State:
        return self.layer.init_state()

    def constants(self) -> Any:
        """Those of the layer inside. TypeError where it cannot step."""
        require_step(self.layer)
        return self.layer.constants()

    def equation(
        self, c: Any, state: State, x: Array, dt: ArrayLike | None = None, *, key: Any = None
    ) -> tuple[State, Array]:
        """One step of the layer inside, added to x."""
        keys = [None] * 2 if key is None else jr.split(key)
        state, z = self.layer.advance(c, state, self._before(x), dt, keys[0])
        y, v = self._parted(x, z)
        y = y if self.dropout is None else self.dropout(y, key=keys[1])
        return state, self._joined(x, y, v)

    def scan(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """The final state of the layer inside, and the outputs."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        keys = spread_keys(steps.key, 2)
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        options = {"dt": steps.dt, "mask": steps.mask, "reset": steps.reset, "key": keys[0]}
        state, zs = self.layer.scan(jax.vmap(self._before)(xs), state, **options)
        ys, vs = jax.vmap(by_rows(self._parted))(xs, zs)
        ys = ys if self.dropout is None else drop_steps(self.dropout, ys, keys[1])
        ys = jax.vmap(by_rows(self._joined))(xs, ys, vs)
        return state, hide(steps.mask, half_as(steps.x, ys))

    @property
    def _size(self) -> int:
        return min(self.layer.input_size, self.layer.output_size)

    def _before(self, x: Array) -> Array:
        size = self._size
        return jnp.concatenate([self.norm(x[:size]), x[size:]])

    def _parted(self, x: Array, z: Array) -> tuple[Array, Array]:
        """What is added to x, and what is handed on."""
        size = self._size
        return z[:size], jnp.concatenate([x[size:], z[size:]])

    def _joined(self, x: Array, y: Array, v: Array) -> Array:
        return jnp.concatenate([x[: self._size] + y, v])
