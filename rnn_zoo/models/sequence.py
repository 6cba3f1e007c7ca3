"""A recurrent stack with an optional encoder, a pooling and a linear head."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._common.activations import portable
from .._common.checks import Steps, beside, check_inputs, check_sizes, check_tokens
from .._common.dropout import Dropout, make_dropout
from .._common.dtypes import half_as, working_dtype
from .._common.hints import option_hint
from .._common.keys import spread_keys
from .._common.numbers import exactly
from .._common.runtime import runtime_error_if
from .._engine import across_devices
from .._engine.mesh import looked_up
from .._engine.rows import by_rows
from .._evaluators import Chunks, check_method, options_inside
from ..base import State, restart
from ..layers.base import AbstractLayer, Directions, hide, mixed, require_step
from ..layers.deep import deep
from ..layers.pooling import check_pool, pool_over_time, pooled_size
from ..layers.published import published
from ..layers.sequence_dropout import drop_steps
from ..layers.stacked import as_layer
from ..wiring.base import NeuronMap
from .choosing import choose
from .missing_inputs import check_encoder


class SequenceModel(AbstractLayer):
    """A model of sequences: encoder -> layer -> pool -> dropout -> linear head.

    `pool` says what the head reads. With "last" it is each direction's output at the last valid
    step that this direction processes: the last step of the forward one, the first step of the
    backward one; features that mix both directions are read at both ends. With "mean" it is the
    mean over the valid steps. With None the head gives an output for every step, zero where
    masked. A sequence without a valid step pools to zeros. `model(xs)` gives (output_size,), or
    (time, output_size) with `pool=None`; `model.scan(xs, state)` gives the final state as
    well. With `pool=None` a model also streams: `state, y = model.step(state, x)`.

    `encoder` is an `eqx.nn.Linear`, or an `eqx.nn.Embedding` that reads integer tokens, xs of
    shape (time,); with None the layer reads the inputs themselves. A layer that takes NaN for a
    missing value (`rz.cells.GRUDCell`, `rz.Imputed`) has to read them itself: with an encoder it is
    a ValueError.
    """

    encoder: Any
    layer: Any
    dropout: Dropout | None
    head: eqx.nn.Linear
    pool: str | None = eqx.field(static=True)
    mesh_axis: str | None = eqx.field(static=True)
    method: str | Chunks = eqx.field(static=True)
    recipe: tuple[tuple[str, Any], ...] | None = eqx.field(static=True)
    """The arguments of `make_model`, kept so that a saved file can name its model."""

    def __init__(
        self,
        layer: Any,
        output_size: int,
        *,
        encoder: Any = None,
        pool: str | None = "last",
        dropout: float = 0.0,
        dtype: Any = None,
        mesh_axis: str | None = None,
        method: str | Chunks = "auto",
        recipe: tuple[tuple[str, Any], ...] | None = None,
        key: PRNGKeyArray,
    ):
        """The model of a layer or cell with so many outputs; `dropout` and `key` are the head's.

        `mesh_axis`: the axis of a mesh that the time of one sequence is spread over, as in
        `rz.scan.over_devices`, for the whole model. `method`: "auto", or how cells that are not
        linear run: "chunks" or a `rz.scan.Chunks`, as in `rz.scan.in_chunks`.
        """
        check_sizes(output_size=output_size)
        layer = as_layer(layer)
        given = None if encoder is None else _encoder_sizes(encoder)[1]
        if given not in (None, layer.input_size):
            raise ValueError(
                f"the encoder gives {given} features and the layer reads {layer.input_size}"
            )
        check_encoder(encoder, layer)
        self.encoder = encoder
        self.layer = layer
        self.dropout = make_dropout(dropout)
        read = layer.directions() if pool == "last" else ((0, layer.output_size, False),)
        self.head = eqx.nn.Linear(pooled_size(read), output_size, dtype=dtype, key=key)
        self.pool = check_pool(pool)
        self.mesh_axis = mesh_axis
        self.method = check_method(method)
        self.recipe = recipe

    @property
    def input_size(self) -> int:
        return self.layer.input_size if self.encoder is None else _encoder_sizes(self.encoder)[0]

    @property
    def output_size(self) -> int:
        return int(self.head.out_features)

    @property
    def timed(self) -> bool:
        return self.layer.timed

    @property
    def stochastic(self) -> bool:
        return self.dropout is not None or self.layer.stochastic

    @property
    def reads_tokens(self) -> bool:
        return isinstance(self.encoder, eqx.nn.Embedding)

    def directions(self, before: Directions = ()) -> Directions:
        return mixed(self.layer.directions(), self.output_size)

    def init_state(self) -> State:
        return self.layer.init_state()

    def step(
        self,
        state: State,
        x: ArrayLike,
        dt: ArrayLike | None = None,
        *,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[State, Array]:
        """One step of a model without pooling; where `reset` is True it starts from
        `init_state()`. TypeError with a pool, or a backward layer."""
        if self.pool is not None:
            raise TypeError(
                f'pool="{self.pool}" needs the whole sequence: build the model with pool=None '
                "to step through it"
            )
        require_step(self.layer)
        x = exactly("x", x)
        shape = () if self.reads_tokens else (self.input_size,)
        if x.shape != shape:
            raise ValueError(f"expected x of shape {shape}, one step of one sample, got {x.shape}")
        steps = beside(self, self._check(x[None]), dt, None, None, None)
        keys = [None, None] if key is None else jr.split(key)
        tokens = self._known(steps.x) if self.reads_tokens else steps.x
        state = restart(self, state, reset)
        c, x_in = self.layer.constants(), self._encode(tokens)[0]
        state, y = self.layer.advance(c, state, x_in, dt, keys[0])
        y = self.head(y if self.dropout is None else self.dropout(y, key=keys[1]))
        return state, half_as(x, y)

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
        """The final state, and what the head gives: one output, or one per step with no pool."""
        with across_devices.over(self.mesh_axis), options_inside(self.method):
            steps = beside(self, self._check(xs), dt, mask, reset, key)
            if self.reads_tokens:  # here, where the mesh lets a program call back
                steps = steps._replace(x=self._known(hide(steps.mask, steps.x)))
            if not across_devices.outside(steps.length):
                return self._run(state, steps)[:2]
            (state, pooled), ys = across_devices.in_parts(_part, (self, state), steps)
            return state, ys if self.pool is None else pooled

    def observe(
        self,
        xs: ArrayLike,
        state: Any = None,
        *,
        dt: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        key: Any = None,
    ) -> tuple[Array, Float[Array, "time width"]]:
        """What the model says, and what its layer gave at every step: the rates of a network of
        rates. Arguments as in `scan`, on one device; with a cell for the layer they are its y."""
        with options_inside(self.method):
            steps = beside(self, self._check(xs), dt, mask, reset, key)
            if self.reads_tokens:
                steps = steps._replace(x=self._known(hide(steps.mask, steps.x)))
            return self._run(state, steps)[1:]

    def _run(self, state: Any, steps: Steps) -> tuple[State, Array, Array]:
        """The final state, what the head gives, and what the layer gave."""
        keys = spread_keys(steps.key, 2)
        state, hidden = self.layer.scan(
            self._encode(hide(steps.mask, steps.x)),
            state,
            dt=steps.dt,
            mask=steps.mask,
            reset=steps.reset,
            key=keys[0] if self.layer.stochastic else None,
        )
        if self.pool is None:
            ys = hidden if self.dropout is None else drop_steps(self.dropout, hidden, keys[1])
            return (
                state,
                hide(steps.mask, half_as(steps.x, jax.vmap(by_rows(self.head))(ys))),
                hidden,
            )
        pooled = pool_over_time(self.pool, self.layer.directions(), hidden, steps)
        if self.dropout is not None and steps.length:
            axis, key = across_devices.inside(), None
            if keys[1] is not None:
                key = keys[1][0] if axis is None else across_devices.first_key(keys[1], axis)
            pooled = self.dropout(pooled, key=key)
        return state, half_as(steps.x, self.head(pooled)), hidden

    def _check(self, xs: ArrayLike) -> Array:
        return check_tokens(xs) if self.reads_tokens else check_inputs(xs, self.input_size)

    def _known(self, tokens: Array) -> Array:
        """The tokens, with a runtime error for one that the embedding does not know."""
        outside = jnp.any((tokens < 0) | (tokens >= self.input_size))
        return runtime_error_if(tokens, outside, f"tokens must lie in [0, {self.input_size})")

    def _encode(self, xs: Array) -> Array:
        if isinstance(self.encoder, eqx.nn.Embedding):
            return looked_up(self.encoder.weight, xs)
        xs = xs.astype(working_dtype(self, xs))
        return xs if self.encoder is None else jax.vmap(by_rows(self.encoder))(xs)


def _part(whole: tuple, steps: Steps) -> tuple[Any, Any]:
    """A model on one device's steps: what is the same on all devices, and what has their time."""
    model, state = whole
    state, ys, _ = model._run(state, steps)
    return ((state, None), ys) if model.pool is None else ((state, ys), None)


def _encoder_sizes(encoder: Any) -> tuple[int, int]:
    if isinstance(encoder, eqx.nn.Embedding):
        return encoder.num_embeddings, encoder.embedding_size
    if isinstance(encoder, eqx.nn.Linear):
        return int(encoder.in_features), int(encoder.out_features)
    raise TypeError(
        f"expected encoder to be an eqx.nn.Linear or eqx.nn.Embedding, got {type(encoder).__name__}"
    )


def make_model(
    name: str | Callable[..., Any] | NeuronMap,
    input_size: int,
    output_size: int,
    *,
    hidden_size: int | NeuronMap = 64,
    num_layers: int = 1,
    pool: str | None = "last",
    bidirectional: bool = False,
    dropout: float = 0.0,
    embedding_size: int | None = None,
    mesh_axis: str | None = None,
    method: str | Chunks = "auto",
    key: PRNGKeyArray,
    **options: Any,
) -> SequenceModel:
    """A `SequenceModel` of a cell; `options` are those of the cell.

    `name` is the name of a registered cell; or a class, or a function that makes a cell, called as
    `name(input_size, hidden_size, key=key, **options)`; or a neuron map (`rz.wiring`), for a
    `WiredCfCCell` on it. A neuron map in the place of `hidden_size` is for the cells that take one,
    "ltc", "cfc" and "wired_cfc". A model of a cell that is not registered is read from a file by
    `rz.train.load(path, like=model)`.

    Non-linear cells are stacked plainly, and linear ones become residual blocks behind a linear
    map (`rz.layers.deep`). Cells whose paper has a block of its own give the network of that paper
    and take the options of both: "mamba", `rz.Mamba`, and "mamba2" a `MambaBlock` or `Mamba2Block`,
    with convolution and gate, in every layer; "gla", "retnet", "deltanet", "gated_deltanet", "kda",
    "delta_product", "hgrn2" and "m2rnn" a `HeadsBlock` and behind it a perceptron; "mlstm" an
    `MLSTMBlock`; "slstm" an `SLSTMBlock` and behind it a perceptron; "rwkv7" an `RWKV7TimeMix` and
    an `RWKV7ChannelMix`. A model of the cell alone is `SequenceModel(deep(MambaCell, ...), ...)`.
    `dropout` acts between layers (inside the blocks) and before the head. With `embedding_size` the
    model reads tokens, integers (time,) from 0 to `input_size` - 1, through an `eqx.nn.Embedding`
    of so many features, drawn from a standard normal. With `mesh_axis` the time of one sequence is
    spread over that axis of the mesh in use (`rz.scan.over_devices`): for linear cells;
    `method="chunks"`, or a `rz.scan.Chunks`, runs other cells in chunks side by side. A file keeps
    neither. ValueError for an unknown name or a size below 1, TypeError for an unknown option and
    for what makes no cell.
    """
    chosen = choose(name, hidden_size)
    info, allowed = chosen.info, chosen.options()
    for option in options:
        if allowed is not None and option not in allowed:
            known = ("hidden_size", "num_layers", "pool", "bidirectional", "dropout")
            known += ("embedding_size", "mesh_axis", "method", "key")
            hint = option_hint(option, known + allowed)
            raise TypeError(f"make_model({chosen.shown}) has no option {option!r}{hint}")
    recipe = {
        "name": info.name,
        "input_size": input_size,
        "output_size": output_size,
        "hidden_size": chosen.size,
        "num_layers": num_layers,
        "pool": pool,
        "bidirectional": bidirectional,
        "dropout": dropout,
        "embedding_size": embedding_size,
        **options,
    }
    key_layer, key_head = jr.split(key)
    encoder, dtype = None, options.get("dtype")
    if embedding_size is not None:
        check_sizes(input_size=input_size, embedding_size=embedding_size)
        key_tokens = jr.fold_in(key, 0)
        encoder = eqx.nn.Embedding(input_size, embedding_size, dtype=dtype, key=key_tokens)

    plainly = functools.partial(deep, chosen.make)
    layer = (published(info.name, info.block) if info.block else plainly)(
        input_size if embedding_size is None else embedding_size,
        chosen.units,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout if info.linear or info.block or num_layers > 1 else 0.0,
        key=key_layer,
        **options,
    )
    return SequenceModel(
        layer,
        output_size,
        encoder=encoder,
        pool=pool,
        dropout=dropout,
        dtype=dtype,
        mesh_axis=mesh_axis,
        method=method,
        recipe=tuple((o, portable(value)) for o, value in recipe.items()) if info.name else None,
        key=key_head,
    )
