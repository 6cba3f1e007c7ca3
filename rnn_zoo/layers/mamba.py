"""The block of Mamba: convolution, selective state space, gate."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._checks import check_steps
from ..base import AbstractCell, State, advance, contract, half_as, replace, working_dtype
from ..init import check_sizes
from ..ssm import MambaCell, ShortConv
from .base import AbstractLayer, Directions, hide, mixed
from .pointwise import Elementwise, Pointwise
from .stacked import Stacked


class MambaBlock(AbstractLayer, AbstractCell):
    r"""Mamba's mixer of time and features (Gu & Dao 2023, arXiv:2312.00752, figure 3).

    $$(u, g) = W_{in} x, \qquad v = \mathrm{SSM}(\mathrm{silu}(\mathrm{conv}(u))), \qquad
    y = W_{out} (v \odot \mathrm{silu}(g))$$

    conv is a `ShortConv`, SSM a `MambaCell` without its input map, both of `expand` times the
    size. State: (the convolution's, (), the state space's). A layer and a cell: it streams,
    and masks and resets reach the convolution too. Timed: dt multiplies the step of the state
    space. It has no norm and no skip: `rz.Block(block, mix="none")` adds them.
    """

    project_in: eqx.nn.Linear
    inner: Stacked
    project_out: eqx.nn.Linear

    def __init__(
        self,
        size: int,
        *,
        expand: int = 2,
        kernel_size: int = 4,
        dtype: Any = None,
        key: PRNGKeyArray,
        **options: Any,
    ):
        """`size` of x and y; `kernel_size` inputs of the convolution; `options` of `MambaCell`."""
        check_sizes(size=size, expand=expand)
        keys = jr.split(key, 4)
        wide = expand * size
        self.project_in = eqx.nn.Linear(size, 2 * wide, use_bias=False, dtype=dtype, key=keys[0])
        conv = ShortConv(wide, kernel_size=kernel_size, dtype=dtype, key=keys[1])
        ssm = MambaCell(wide, wide, input_map=False, dtype=dtype, key=keys[2], **options)
        self.inner = Stacked([conv, Pointwise(Elementwise(jax.nn.silu), wide, wide), ssm])
        self.project_out = eqx.nn.Linear(wide, size, use_bias=False, dtype=dtype, key=keys[3])

    @property
    def input_size(self) -> int:
        return int(self.project_in.in_features)

    @property
    def output_size(self) -> int:
        return self.input_size

    @property
    def timed(self) -> bool:
        return True

    @property
    def linear(self) -> bool:
        return False

    @property
    def stochastic(self) -> bool:
        return False

    def directions(self, before: Directions = ()) -> Directions:
        return mixed((*before, (0, self.output_size, False)), self.output_size)

    def init_state(self) -> State:
        return self.inner.init_state()

    def prepare(self) -> "MambaBlock":
        return replace(self, inner=self.inner.prepare())

    @contract
    def step(self, state: State, x: Array, dt: ArrayLike | None = None) -> tuple[State, Array]:
        """One step of convolution and state space."""
        u, gate = jnp.split(self.project_in(x), 2)
        state, v = advance(self.inner, state, u, dt)
        return state, self.project_out(v * jax.nn.silu(gate))

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
        """The final state and the outputs; the parts run one after the other."""
        steps = check_steps(self, xs, dt, mask, reset, key)
        xs = hide(steps.mask, steps.x).astype(working_dtype(self, steps.x))
        us, gates = jnp.split(jax.vmap(self.project_in)(xs), 2, axis=-1)
        state, vs = self.inner.scan(us, state, dt=steps.dt, mask=steps.mask, reset=steps.reset)
        ys = jax.vmap(self.project_out)(vs * jax.nn.silu(gates))
        return state, half_as(steps.x, hide(steps.mask, ys))
