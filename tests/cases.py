"""The cells that the laws run over, and what the laws share."""

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import references as refs

import rnn_zoo as rz
from rnn_zoo._common.dtypes import working_dtype
from rnn_zoo._common.fixed import Fixed

# What the laws of the package share is what the tests share: one text.
from rnn_zoo.testing.comparing import (
    SEGMENT as SEGMENT,
    assert_close as assert_close,
    gradients as gradients,
    loop as loop,
    same as same,
    step as step,
)
from rnn_zoo.testing.subject import (
    HIDDEN as H,
    INPUTS as I,
    MASK as MASK,
    RESET as RESET,
    TIME as T,
    Subject,
    draw as draw,
    float64 as float64,
    inputs as inputs,
    methods as methods,
    noisy as noisy,
    only as only,
    random_state as random_state,
    strict as strict,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell under the laws: how to build it, and its reference's options if it has one."""

    id: str
    build: Callable[..., Any]
    name: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    # What the cell says of itself; declared, since building all cells takes long.
    linear: bool = False
    timed: bool = False
    stochastic: bool = False
    # The output size that belongs to a hidden size, where it is another number.
    outputs: Callable[[int], int] = lambda hidden: hidden


# The fewest units, and the outputs of so many, of cells that differ from their kind.
SMALLEST = {"wired_cfc": 4}
OUTPUTS = {"wired_cfc": lambda hidden: max(1, hidden // 4)}


def _registered(id: str, name: str, reference: dict[str, Any] | None = None, **options) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        return rz.make_cell(name, input_size, hidden_size, key=key, dtype=dtype, **options)

    info = rz.cell_info(name)
    sizes = {"outputs": OUTPUTS[name]} if name in OUTPUTS else {}
    timed = info.timed and "negative_eigenvalues" not in options
    return Case(id, build, name, reference or {}, linear=info.linear, timed=timed, **sizes)


def _wrapped(id: str, wrap: Callable[[Any], Any], name: str, **flags) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        return wrap(rz.make_cell(name, input_size, hidden_size, key=key, dtype=dtype))

    info = rz.cell_info(name)
    return Case(id, build, **{"linear": info.linear, "timed": info.timed, **flags})


def _residual(id: str, name: str) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        return rz.Residual(rz.make_cell(name, input_size, input_size, key=key, dtype=dtype))

    info = rz.cell_info(name)
    return Case(id, build, linear=info.linear, timed=info.timed)


def _normed(id: str, name: str) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        cell = rz.make_cell(name, input_size, hidden_size, key=key, dtype=dtype)
        return rz.LayerNormed(cell, dtype=dtype)

    info = rz.cell_info(name)
    return Case(id, build, linear=info.linear, timed=info.timed)


def _dropped(id: str, name: str, **rates) -> Case:
    return _wrapped(
        id, lambda c: rz.VariationalDropout(c, **rates), name, stochastic=True, linear=False
    )


def _nested(id: str, wrap: Callable[[Any], Any], name: str, **flags) -> Case:
    """A wrapper in a wrapper, around a cell whose outputs have the size of its inputs."""

    def build(key, dtype=None, input_size=I, hidden_size=H):
        return wrap(rz.make_cell(name, input_size, input_size, key=key, dtype=dtype))

    info = rz.cell_info(name)
    given = {"linear": info.linear, "timed": info.timed, **flags}
    return Case(id, build, **given, outputs=lambda hidden: I)


def _normed_like(cell):
    return rz.LayerNormed(cell, dtype=working_dtype(cell, jnp.zeros(1)))


def _stacked(id: str, *names: str, dropout: float = 0.0) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        sizes = [input_size] + [hidden_size] * len(names)
        made = [(n, s, hidden_size) for n, s in zip(names, sizes)]
        return rz.Stacked([rz.make_cell(*m, key=key, dtype=dtype) for m in made], dropout=dropout)

    timed = any(rz.cell_info(n).timed for n in names)
    return Case(id, build, timed=timed, stochastic=dropout > 0)


def _complex_rglru(key, dtype=None, input_size=I, hidden_size=H):
    even, blocks = hidden_size + hidden_size % 2, 3 if hidden_size == H else 1
    options = {"blocks": blocks, "complex_eigenvalues": True, "dtype": dtype}
    return rz.cells.RGLRUCell(input_size, even, key=key, **options)


def _heads(id: str, name: str, **options) -> Case:
    """Two heads, each with the sizes of the default's one."""

    def build(key, dtype=None, input_size=I, hidden_size=H):
        more = {"key": key, "dtype": dtype, **options}
        return rz.make_cell(name, input_size, 2 * hidden_size, num_heads=2, **more)

    info = rz.cell_info(name)
    flags = {"linear": info.linear, "timed": info.timed}
    return Case(id, build, name, **flags, outputs=lambda hidden: 2 * hidden)


def _square(name: str) -> Callable[..., Any]:
    """Outputs of the size of the inputs."""

    def build(key, dtype=None, input_size=I, hidden_size=H):
        return rz.make_cell(name, input_size, input_size, key=key, dtype=dtype)

    return build


def _full_sru(key, dtype=None, input_size=I, hidden_size=H):
    return rz.cells.SRUCell(input_size, hidden_size, recurrent=True, dtype=dtype, key=key)


def _taps(key, dtype=None, input_size=I, hidden_size=H):
    return rz.cells.TappedDelayLine(input_size, taps=3, dtype=dtype)


def _delay_line(key, dtype=None, input_size=I, hidden_size=H):
    line = rz.cells.TappedDelayLine(input_size, taps=3, dtype=dtype)
    cell = rz.make_cell("qrnn", 3 * input_size, hidden_size, key=key, dtype=dtype)
    return rz.Stacked([line, cell])


def _spatial(make: Callable[..., Any], *axes: int, **options: Any) -> Callable[..., Any]:
    """One channel on a grid of `input_size` places, or one for each on a grid of these axes."""

    def build(key, dtype=None, input_size=I, hidden_size=H):
        shape = (input_size, *axes) if axes else (1, input_size)
        return make(shape, hidden_size, dtype=dtype, key=key, **options)

    return build


def _parallel(key, dtype=None, input_size=I, hidden_size=H):
    names = (("leaky_elman", hidden_size - 2), ("lru", 2)) if hidden_size > 2 else (("gru", 1),) * 2
    return rz.layers.Parallel(
        [rz.make_cell(n, input_size, h, key=key, dtype=dtype) for n, h in names]
    )


def _cascade(key, dtype=None, input_size=I, hidden_size=H):
    first = rz.make_cell("gru", input_size, hidden_size, key=key, dtype=dtype)
    second = rz.make_cell("esn", hidden_size, 2, key=key, dtype=dtype)
    return rz.layers.Cascade([first, rz.Zoneout(second, 0.3)])


def _block(key, dtype=None, input_size=I, hidden_size=H):
    keys = jr.split(key, 2)
    cell = rz.make_cell("lru", input_size, hidden_size, key=keys[0], dtype=dtype)
    return rz.Block(cell, dropout=0.2, dtype=dtype, key=keys[1])


def _short_conv(key, dtype=None, input_size=I, hidden_size=H):
    return rz.cells.ShortConv(input_size, kernel_size=3, dtype=dtype, key=key)


def _token_shift(key, dtype=None, input_size=I, hidden_size=H):
    cell = rz.cells.TokenShift(input_size, count=2, dtype=dtype)
    return noisy(cell, 1)


def _adopted(key, dtype=None, input_size=I, hidden_size=H):
    cell = eqx.nn.LSTMCell(input_size, hidden_size, dtype=dtype, key=key)
    return rz.adopt(cell)


def _feeding(cell):
    """The memory in front of a cell that reads as many features as its state has entries."""
    width = sum(leaf.size for leaf in jax.tree.leaves(cell.init_state()))
    inner = rz.make_cell("cornn", width, cell.output_size, dtype=cell.bias.dtype, key=jr.key(1))
    return rz.MixedMemory(inner, "input", input_size=cell.input_size, key=jr.key(2))


def _fast_slow(key, dtype=None, input_size=I, hidden_size=H):
    keys, narrow = jr.split(key, 3), 2
    reads = (input_size, narrow)
    fast = [rz.cells.GRUCell(n, hidden_size, dtype=dtype, key=k) for n, k in zip(reads, keys)]
    slow = rz.cells.LeakyElmanCell(hidden_size, narrow, dtype=dtype, key=keys[2])
    return rz.wrappers.FastSlow(fast, slow)


def _stride_bank(key, dtype=None, input_size=I, hidden_size=H):
    return rz.wrappers.StrideAwareCfC(
        input_size, hidden_size, strides=(1, 3), backbone_units=7, dtype=dtype, key=key
    )


def _wired_bank(key, dtype=None, input_size=I, hidden_size=H):
    wiring = rz.wiring.FullyConnectedMap(input_size, hidden_size, 1)
    return rz.wrappers.StrideAwareWiredCfCCell(
        input_size, wiring, strides=(1, 2), dtype=dtype, key=key
    )


def _dropping_cfc(key, dtype=None, input_size=I, hidden_size=H):
    options = {"backbone_units": 7, "backbone_dropout": 0.3}
    return rz.cells.CfCCell(input_size, hidden_size, dtype=dtype, key=key, **options)


def _modular(id: str, *names: str, **options) -> Case:
    """Cells in a ring, each hearing the one before with a weight of its own."""

    def build(key, dtype=None, input_size=I, hidden_size=H):
        keys = jr.split(key, len(names) + 1)
        cells = [
            rz.make_cell(name, input_size + 2, hidden_size, key=k, dtype=dtype)
            for name, k in zip(names, keys)
        ]
        wiring = np.roll(np.diag([0.7, -1.2, 0.9][: len(names)]), 1, axis=1)
        return rz.Modular(cells, wiring, message_size=2, dtype=dtype, key=keys[-1], **options)

    chosen = len(options.get("outputs", names))
    timed = any(rz.cell_info(name).timed for name in names)
    return Case(id, build, timed=timed, outputs=lambda hidden: chosen * hidden)


def _message_passing(key, dtype=None, input_size=I, hidden_size=H):
    """One feature at each node, in a triangle of edges and one of the opposite direction."""
    key_cell, key_self = jr.split(key)
    cell = rz.cells.LSTMCell(3, hidden_size, key=key_cell, dtype=dtype)
    features = np.array([[0.5, -1.0], [1.5, 0.3], [-0.7, 0.2], [0.1, 0.8]])
    edges = {"senders": np.array([0, 1, 2, 1]), "receivers": np.array([1, 2, 0, 0])}
    return rz.MessagePassing(
        cell,
        **edges,
        num_nodes=input_size,
        message_size=2,
        edge_features=features,
        dtype=dtype,
        key=key_self,
    )


RANDOM = rz.wiring.RandomMap(I, H)


NCP = rz.wiring.AutoNCPMap(I, 8, 2)


def _wired_ltc(key, dtype=None, input_size=I, hidden_size=H):
    return rz.cells.LTCCell(input_size, NCP, key=key, dtype=dtype)


def _ncp(key, dtype=None, input_size=I, hidden_size=H):
    return rz.cells.WiredElmanCell(
        rz.wiring.AutoNCPMap(input_size, hidden_size + 3, 2), dtype=dtype, key=key
    )


def _random_wired(key, dtype=None):
    options = {"fully_recurrent": False, "time_scale_factor": 2.0}
    return rz.cells.WiredCfCCell(I, RANDOM, dtype=dtype, key=key, **options)


def _same(z):
    return z


DEFAULTS = [_registered(name, name) for name in rz.list_cells()]
MODES = [
    _registered("elman-relu", "elman", {"activation": refs.relu}, activation=jax.nn.relu),
    _registered("leaky_elman-leak1", "leaky_elman", {"leak": 1.0}, leak=1.0),
    _registered(
        "esn-leaky",
        "esn",
        {"radius_of": "leaky"},
        radius_of="leaky",
        bias_scaling=0.3,
        input_scaling=0.4,
    ),
    _registered(
        "wilson_cowan-1972",
        "wilson_cowan",
        {"leak": 0.1, "excitatory": 4, "r": 1.0, "a": (1.0, 3.0), "theta": (2.0, 1.0)},
        leak=0.1,
        excitatory=4,
        refractory=1.0,
        gain=(1.0, 3.0),
        threshold=(2.0, 1.0),
    ),
    _registered("shallow_plrnn-plain", "shallow_plrnn", {"clipped": False}, clipped=False),
    _registered("alrnn-1", "alrnn", {"rectified": 1}, rectified_units=1),
    _registered(
        "ei_rnn-self",
        "ei_rnn",
        {"leak": 0.5, "self_connections": True},
        excitatory=0.5,
        leak=0.5,
        self_connections=True,
    ),
    _registered("lowrank_rnn-3", "lowrank_rnn", {"leak": 0.6}, rank=3, leak=0.6),
    _registered("indrnn-bound.1", "indrnn", {"bound": 0.1}, recurrent_range=(-0.1, 0.1)),
    _registered("lstm-peepholes", "lstm", peepholes=True),
    _registered("lstm-coupled", "lstm", {"coupled": True}, coupled=True),
    _registered("lstm-coupled-peepholes", "lstm", {"coupled": True}, coupled=True, peepholes=True),
    _registered("lstmp-narrow", "lstmp", cell_size=3),
    _registered("lstmp-peepholes", "lstmp", peepholes=True),
    _registered("gru-reset_before", "gru", {"reset_after": False}, reset_after=False),
    _registered("fastgrnn-low_rank", "fastgrnn", rank_ih=2, rank_hh=3),
    _registered("ligru-layer", "ligru", norm="layer"),
    _registered("tau_gru-delay1", "tau_gru", delay=1),
    _registered("t_lstm-inverse", "t_lstm", {"decay": "inverse"}, decay="inverse"),
    _registered(
        "phased_lstm-plain",
        "phased_lstm",
        {"leak": 0.1},
        leak=0.1,
        peepholes=False,
        periods=(0.5, 4.0),
        open_ratio=0.2,
    ),
    _registered("gru_d-mean", "gru_d", input_mean=0.7),
    _registered(
        "ode_rnn-midpoint",
        "ode_rnn",
        {"method": "midpoint", "substeps": 2},
        method="midpoint",
        substeps=2,
        width=4,
    ),
    _registered(
        "gru_ode-euler", "gru_ode", {"method": "euler", "substeps": 3}, method="euler", substeps=3
    ),
    _registered("gru_ode-minimal", "gru_ode", minimal=True),
    _registered("antisymmetric-eps.5", "antisymmetric", {"epsilon": 0.5}, epsilon=0.5),
    _registered("gated_antisymmetric-gamma.2", "gated_antisymmetric", {"gamma": 0.2}, gamma=0.2),
    _registered("clockwork-1-3", "clockwork", {"blocks": ((1, 3), (3, 2))}, periods=(3, 1)),
    _registered("lipschitz-rk2", "lipschitz", {"rk2": True}, method="rk2"),
    _registered(
        "lipschitz-pairs",
        "lipschitz",
        {"beta": (0.6, 1.0), "gamma": (0.3, 0.2), "epsilon": 0.4},
        beta=(0.6, 1.0),
        gamma=(0.3, 0.2),
        epsilon=0.4,
    ),
    _registered("exprnn-cayley", "exprnn", {"signs": (1, 1, 1, -1, -1)}, parametrisation="cayley"),
    _registered(
        "exprnn-cayley-one",
        "exprnn",
        {"signs": (1, 1, 1, 1, -1)},
        parametrisation="cayley",
        negative_ones=1,
    ),
    _registered("cornn-imex", "cornn", {"imex": True, "delta": 0.5}, scheme="imex", delta=0.5),
    _registered("lem-delta.3", "lem", {"delta": 0.3}, delta=0.3),
    _registered("unicornn-alpha5", "unicornn", {"alpha": 5.0}, alpha=5.0),
    _registered("cfc-pure", "cfc", {"mode": "pure"}, mode="pure"),
    _registered("cfc-no_gate", "cfc", {"mode": "no_gate"}, mode="no_gate"),
    _registered("cfc-no_backbone", "cfc", backbone_layers=0),
    _registered(
        "cfc-two_layers",
        "cfc",
        {"activation": refs.relu, "scale": 0.3},
        backbone_layers=2,
        backbone_units=6,
        activation=jax.nn.relu,
        time_scale_factor=0.3,
    ),
    _registered(
        "ltc-explicit",
        "ltc",
        {"implicit": False, "unfolds": 2},
        constraint="explicit",
        ode_unfolds=2,
        input_mapping="linear",
        output_mapping=None,
    ),
    Case(
        "ltc-ncp",
        _wired_ltc,
        "ltc",
        {"adjacency": NCP.adjacency, "sensory": NCP.sensory_adjacency, "outputs": 2},
        timed=True,
        outputs=lambda hidden: 2,
    ),
    _registered("wired_cfc-pure", "wired_cfc", {"mode": "pure"}, mode="pure"),
    _registered(
        "wired_cfc-own_synapses",
        "wired_cfc",
        {"inside": (np.zeros((3, 3)), np.ones((1, 1)), np.zeros((1, 1))), "mode": "no_gate"},
        mode="no_gate",
        fully_recurrent=False,
    ),
    Case(
        "wired_cfc-random_map",
        _random_wired,
        "wired_cfc",
        {"layers": (RANDOM.sensory_adjacency,), "inside": (RANDOM.adjacency,), "scale": 2.0},
        timed=True,
    ),
    _registered(
        "linear_indrnn-bound.5", "linear_indrnn", {"bound": 0.5}, recurrent_range=(0.0, 0.5)
    ),
    _registered(
        "s4d-bilinear", "s4d", {"discretise": refs.tustin}, discretisation="bilinear", state_size=4
    ),
    _registered("s5-bilinear", "s5", {"discretise": refs.tustin}, discretisation="bilinear"),
    _registered("s5-blocks", "s5", blocks=2, state_size=12),
    _registered("s5-no-conj", "s5", {"conj_sym": False}, conj_sym=False, blocks=2),
    _registered("mamba-zoh", "mamba", {"zoh": True}, discretisation="zoh", state_size=3, rank=2),
    _registered("linoss-im", "linoss", {"scheme": "im"}, scheme="im"),
    _registered("linoss-damped", "linoss", {"scheme": "damped"}, scheme="damped", state_size=7),
    _registered("rglru-blocks", "rglru", blocks=H),
    _registered("rglru-start", "rglru", {"start": True}, root_at_start=False),
    *(
        _registered(f"{name}-negative", name, {"negative": True}, negative_eigenvalues=True)
        for name in ("mingru", "minlstm", "rglru", "mamba")
    ),
    Case(
        "rglru-complex",
        _complex_rglru,
        "rglru",
        {"turning": True},
        linear=True,
        outputs=lambda hidden: hidden + hidden % 2,
    ),
    _registered("mamba-complex", "mamba", {"turning": True}, complex_eigenvalues=True),
    _heads("slstm-heads", "slstm"),
    _heads("m2rnn-heads", "m2rnn", key_size=3),
    _heads("mlstm-heads", "mlstm", key_size=3, use_bias=False),
    _registered(
        "linear_attention-sum",
        "linear_attention",
        {"normalised": False},
        normalised=False,
        num_heads=H,
        key_size=2,
    ),
    _registered("retnet-heads", "retnet", num_heads=H, key_size=4),
    _registered("retnet-rotary", "retnet", {"rotary": True}, rotary=True),
    _registered(
        "gla-heads",
        "gla",
        {"normalizer": 2.0},
        gate_logit_normalizer=2.0,
        num_heads=H,
        key_size=2,
        rank=3,
    ),
    _registered(
        "hgrn2-bound.3", "hgrn2", {"lower_bound": 0.3}, lower_bound=0.3, num_heads=H, key_size=2
    ),
    _registered(
        "mamba2-zoh",
        "mamba2",
        {"zoh": True, "groups": H},
        discretisation="zoh",
        num_heads=H,
        num_groups=H,
        key_size=3,
    ),
    _registered(
        "mamba2-negative",
        "mamba2",
        {"negative": True},
        negative_eigenvalues=True,
        num_heads=H,
        key_size=3,
    ),
    _registered("mingru-plain", "mingru", {"g": lambda z: z}, activation=_same),
    *(
        _registered(
            f"{name}-negative",
            name,
            {"negative": True},
            negative_eigenvalues=True,
            num_heads=H,
            key_size=3,
        )
        for name in ("deltanet", "gated_deltanet", "kda")
    ),
    _registered(
        "delta_product-ungated",
        "delta_product",
        {"products": 3, "negative": False},
        gated=False,
        num_products=3,
        negative_eigenvalues=False,
        key_size=3,
    ),
    Case("sru-recurrent", _full_sru, "sru"),
    Case("sru-square", _square("sru"), "sru", linear=True, outputs=lambda hidden: I),
    _registered("qrnn-f", "qrnn", {"pooling": "f"}, pooling="f"),
    _registered("qrnn-ifo", "qrnn", {"pooling": "ifo"}, pooling="ifo"),
    _registered("lmu-channels", "lmu", {"theta": 7.0}, memory_size=3, order=4, theta=7.0),
    _registered(
        "lmu_linear-encoded",
        "lmu_linear",
        {"encoder_activation": np.tanh, "activation": _same, "theta": 300.0},
        memory_size=2,
        order=3,
        theta=300.0,
        encoder_activation=jnp.tanh,
        activation=jax.nn.identity,
    ),
    _registered("rwkv7-heads", "rwkv7", num_heads=H, key_size=2, rank=2),
]


def _imputed(id: str, fill: str, name: str, **options) -> Case:
    """A cell that reads features, which of them are seen, and their ages."""
    each = 1 + options.get("mask", True) + options.get("age", True)

    def build(key, dtype=None, input_size=I, hidden_size=H):
        cell = rz.make_cell(name, each * input_size, hidden_size, key=key, dtype=dtype)
        return rz.Imputed(cell, fill, mean=0.3, **options)

    timed = options.get("age", True) or fill == "decay" or rz.cell_info(name).timed
    return Case(id, build, timed=timed)


def _masked(*paths):
    """Every third weight is missing."""

    def third(shape):
        return np.arange(np.prod(shape)).reshape(shape) % 3 > 0

    return lambda cell: rz.wrappers.Masked(cell, dict.fromkeys(paths, third))


WRAPPED = [
    _imputed("imputed-gru", "forward", "gru"),
    _imputed("imputed_decay-leaky", "decay", "leaky_elman", age=False),
    _imputed("imputed_mean-lru", "mean", "lru", mask=False, age=False),
    _wrapped("masked-lstm", _masked("weight_hh", "weight_ih"), "lstm"),
    _wrapped("masked-lru", _masked("B", "C"), "lru"),
    _wrapped("frozen-gru", rz.Frozen, "gru"),
    _wrapped("frozen-lru", rz.Frozen, "lru"),
    _wrapped("learned-lstm", rz.LearnedInitialState, "lstm"),
    _wrapped("learned-lru", rz.LearnedInitialState, "lru"),
    _wrapped("learned-leaky", rz.LearnedInitialState, "leaky_elman"),
    _wrapped("frozen-hcornn", rz.Frozen, "hcornn"),
    _wrapped("learned-clockwork", rz.LearnedInitialState, "clockwork"),
    _wrapped("zoneout-lstm", lambda c: rz.Zoneout(c, (0.3, 0.6)), "lstm", stochastic=True),
    _wrapped("zoneout-lru", lambda c: rz.Zoneout(c, 0.4), "lru", stochastic=True, linear=False),
    _wrapped("zoneout-leaky", lambda c: rz.Zoneout(c, 0.4), "leaky_elman", stochastic=True),
    _wrapped("zoneout-clockwork", lambda c: rz.Zoneout(c, 0.4), "clockwork", stochastic=True),
    _wrapped("frozen-clockwork", rz.Frozen, "clockwork"),
    _residual("residual-lru", "lru"),
    _residual("residual-gru", "gru"),
    _residual("residual-lem", "lem"),
    _residual("residual-unitary", "unitary"),
    _residual("residual-clockwork", "clockwork"),
    _normed("normed-lru", "lru"),
    _normed("normed-lstm", "lstm"),
    _normed("normed-cornn", "cornn"),
    _normed("normed-clockwork", "clockwork"),
    _dropped("dropped-lstm", "lstm", input_rate=0.2, state_rate=0.4),
    _dropped("dropped-leaky", "leaky_elman", state_rate=0.4),
    _dropped("dropped-cornn", "cornn", input_rate=0.2, state_rate=0.4),
    _dropped("dropped-clockwork", "clockwork", state_rate=0.4),
    _dropped("dropped-exprnn", "exprnn", state_rate=0.4),
    _dropped("dropped-lru", "lru", input_rate=0.4),
    _nested("residual-normed-lru", lambda c: rz.Residual(_normed_like(c)), "lru"),
    _nested(
        "zoneout-residual-lem", lambda c: rz.Zoneout(rz.Residual(c), 0.3), "lem", stochastic=True
    ),
    _nested(
        "normed-zoneout-residual-gru",
        lambda c: _normed_like(rz.Zoneout(rz.Residual(c), 0.3)),
        "gru",
        stochastic=True,
    ),
    _wrapped(
        "strided-learned-leaky",
        lambda c: rz.Strided(rz.LearnedInitialState(c), 2),
        "leaky_elman",
    ),
    _wrapped(
        "mixed-zoneout-lipschitz",
        lambda c: rz.MixedMemory(rz.Zoneout(c, 0.3), key=jr.key(1)),
        "lipschitz",
        stochastic=True,
    ),
    _wrapped("frozen-learned-lru", lambda c: rz.Frozen(rz.LearnedInitialState(c)), "lru"),
    _wrapped(
        "learned-dropped-lstm",
        lambda c: rz.LearnedInitialState(rz.VariationalDropout(c, state_rate=0.4)),
        "lstm",
        stochastic=True,
    ),
    _wrapped(
        "strided-zoneout-dropped-gru",
        lambda c: rz.Strided(rz.Zoneout(rz.VariationalDropout(c, state_rate=0.4), 0.3), 2),
        "gru",
        stochastic=True,
    ),
    _wrapped("recurrent-leaky", rz.Recurrent, "leaky_elman"),
    _stacked("stacked", "lstm", "leaky_elman", "lru", dropout=0.3),
    _wrapped("mixed-lipschitz", lambda c: rz.MixedMemory(c, key=jr.key(1)), "lipschitz"),
    _wrapped("mixed_input-cornn", _feeding, "cornn"),
    _wrapped("strided-gru", lambda c: rz.Strided(c, 2), "gru"),
    _wrapped("strided-leaky", lambda c: rz.Strided(c, 2, 0.5), "leaky_elman"),
    _wrapped("strided-lru", lambda c: rz.Strided(c, 2), "lru", linear=False),
    _wrapped("strided-clockwork", lambda c: rz.Strided(c, 2), "clockwork"),
    Case("fast_slow", _fast_slow, timed=True),
    _nested(
        "highway-lru",
        lambda c: rz.wrappers.Highway(
            c, dtype=working_dtype(c, jnp.zeros(1)), transform_bias=0.5, key=jr.key(1)
        ),
        "lru",
    ),
    Case("stride_aware_cfc", _stride_bank, timed=True),
    Case("stride_aware_wired", _wired_bank, timed=True, outputs=lambda hidden: 2),
    Case("dropping-cfc", _dropping_cfc, timed=True, stochastic=True),
    Case("block-lru", _block, stochastic=True),
    Case("adopted-eqx-lstm", _adopted),
    Case("ncp", _ncp, outputs=lambda hidden: 2),
    Case("short_conv", _short_conv),
    Case("delay_line", _taps, outputs=lambda hidden: 3 * I),
    Case("delayed-qrnn", _delay_line),
    Case(
        "conv_lstm",
        _spatial(rz.cells.ConvLSTMCell, peepholes=True),
        outputs=lambda hidden: I * hidden,
    ),
    Case("conv_gru", _spatial(rz.cells.ConvGRUCell, 1, 1), outputs=lambda hidden: hidden),
    Case("token_shift", _token_shift, outputs=lambda hidden: 2 * I),
    Case("parallel", _parallel, timed=True, outputs=lambda hidden: max(hidden, 2)),
    Case("cascade", _cascade, timed=True, stochastic=True, outputs=lambda hidden: hidden + 2),
    _modular("modular-leaky", *["leaky_elman"] * 3, messages="sparse", reads=[0], outputs=[2, 1]),
    _modular("modular-mixed", "lstm", "leaky_elman"),
    _modular("modular-learned", *["gru"] * 3, messages="learned"),
    Case("message_passing-lstm", _message_passing, outputs=lambda hidden: I * hidden),
]
ALL = DEFAULTS + WRAPPED
LINEAR = [case for case in ALL if case.linear]
EVERYTHING = DEFAULTS + MODES + WRAPPED


# One cell of each kind in each wrapper, and its modes; the default run takes a part.
SLOW = {
    "imputed_decay-leaky",
    "imputed_mean-lru",
    "masked-lstm",
    "masked-lru",
    "frozen-gru",
    "frozen-hcornn",
    "learned-lstm",
    "learned-leaky",
    "learned-clockwork",
    "zoneout-lru",
    "zoneout-leaky",
    "zoneout-clockwork",
    "frozen-clockwork",
    "residual-gru",
    "residual-lem",
    "residual-unitary",
    "residual-clockwork",
    "learned-lru",
    "residual-normed-lru",
    "zoneout-residual-lem",
    "strided-learned-leaky",
    "frozen-learned-lru",
    "learned-dropped-lstm",
    "strided-zoneout-dropped-gru",
    "highway-lru",
    "normed-lru",
    "normed-lstm",
    "normed-cornn",
    "normed-clockwork",
    "dropped-leaky",
    "dropped-cornn",
    "dropped-clockwork",
    "dropped-exprnn",
    "dropped-lru",
    "recurrent-leaky",
    "adopted-eqx-lstm",
    "ncp",
    "mixed_input-cornn",
    "strided-gru",
    "strided-lru",
    "strided-clockwork",
    "stride_aware_cfc",
    "stride_aware_wired",
    "dropping-cfc",
    "short_conv",
    "delay_line",
    "delayed-qrnn",
    "sru-square",
    "qrnn-ifo",
    "lstm-coupled",
    "lmu-channels",
    "lmu_linear-encoded",
    "token_shift",
    "parallel",
    "cascade",
    "message_passing-lstm",
    "modular-mixed",
    "modular-learned",
    "t_lstm-inverse",
    "gru_d-mean",
    "ode_rnn-midpoint",
    "gru_ode-euler",
    "s4d-bilinear",
    "s5-blocks",
    "s5-no-conj",
    "mamba-zoh",
    "linoss-im",
    "rglru-blocks",
    "minlstm-negative",
    "linear_indrnn-bound.5",
    "deltanet-negative",
    "gated_deltanet-negative",
    "kda-negative",
    "delta_product-ungated",
    "rwkv7-heads",
    "slstm-heads",
    "m2rnn-heads",
    "mlstm-heads",
    "linear_attention-sum",
    "retnet-heads",
    "retnet-rotary",
    "gla-heads",
    "hgrn2-bound.3",
    "mamba2-zoh",
    "mamba2-negative",
}


# One cell of each kind, for laws that say more of the evaluators and layers than of the cell.
KINDS = {"elman", "leaky_elman", "lstm", "clockwork", "unitary", "mingru", "lru", "cfc"}
# One of each form of A, for what the engine does with it: constant and varying, of complex and of
# real numbers, in blocks, with a permutation, and of matrix states.
FORMS = {"mingru", "lru", "linoss", "mamba", "pd_ssm", "kda"}


def of_kinds(cases):
    """One cell of each kind and form, and all wrappers: for laws of the evaluators and layers.

    Of the other cells one law says all of it, `test_unroll_and_trajectory_equal_the_loop`: what the
    loop in Python makes of masks, resets, gaps in time and directions, these laws then imply.
    """
    return [case for case in cases if case not in DEFAULTS or case.id in KINDS | FORMS]


def ids(cases, *, kinds=False, only=None):
    """Keyword arguments for a parametrisation over cases.

    Those of `only`, or with `kinds` one of each kind, stand for all cells: the others are slow.
    """
    kept = KINDS if kinds else only
    others = set() if kept is None else {case.id for case in DEFAULTS} - kept

    def marks(case):
        slow = case.id in SLOW | others
        return [pytest.mark.slow] if slow else []

    values = [pytest.param(case, marks=marks(case), id=case.id) for case in cases]
    return {"argnames": "case", "argvalues": values}


# Cells whose derivative is not that of their step; tests of their own say what it is.
STRAIGHT_THROUGH = {"pd_ssm"}
# No unit of a phased LSTM opens within so few steps; test_timed_cells.py has one that does.
IDLE = {"phased_lstm": ("ratio",)}
# Closed forms ask for the solution at a time; they do not move a state by a time. The others jump:
# what they do at an observation takes no time, so they do it after no time, too.
CLOSED_FORMS = {"cfc", "wired_cfc"}
JUMPS = {"gru_d", "lmu", "ode_rnn", "phased_lstm", "t_lstm"}


@functools.cache
def subject(case):
    """What the laws of `rz.testing` are asked of: a cell of this case, the same for all tests."""
    return Subject(
        lambda key, dtype: case.build(key, dtype),
        name=case.id,
        idle=IDLE.get(case.name, ()),
        straight=case.name not in STRAIGHT_THROUGH,
        holds=case.name not in CLOSED_FORMS | JUMPS,
        silence=SEGMENT - T if case in DEFAULTS else 0,
    )


def plain(case, dtype=None, seed=0):
    """A cell of this case as it is built, the same object for all tests."""
    return subject(case).plain(dtype, seed)


def build(case, dtype=None, seed=0):
    """A cell of this case with noise on its parameters, the same object for all tests."""
    return subject(case).cell(dtype, seed)


def arrays(cell):
    """The cell's arrays in float64, by the names of its fields; parts as namespaces, lists."""
    fields = {f.name: _spell(getattr(cell, f.name)) for f in dataclasses.fields(cell)}
    return types.SimpleNamespace(**{k: v for k, v in fields.items() if v is not None})


def _spell(value):
    if isinstance(value, Fixed):
        return np.asarray(value.value, np.float64)
    if eqx.is_array(value):
        return np.asarray(value, np.float64)
    if isinstance(value, eqx.Module):
        return arrays(value)
    return [_spell(v) for v in value] if isinstance(value, tuple) else None
