"""The cells that the laws run over, and what the laws share."""

import contextlib
import dataclasses
import types
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import references as refs

import rnn_zoo as rz
from rnn_zoo._fixed import Fixed
from rnn_zoo.base import advance


I, H, T = 3, 5, 9
MASK = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1], bool)
RESET = np.array([0, 0, 0, 1, 1, 0, 0, 1, 0], bool)


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell under the laws: how to build it, and its reference's options if it has one."""

    id: str
    build: Callable[..., Any]
    name: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def _registered(id: str, name: str, reference: dict[str, Any] | None = None, **options) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        return rz.make_cell(name, input_size, hidden_size, key=key, dtype=dtype, **options)

    return Case(id, build, name, reference or {})


def _wrapped(id: str, wrap: Callable[[Any], Any], name: str) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        return wrap(rz.make_cell(name, input_size, hidden_size, key=key, dtype=dtype))

    return Case(id, build)


def _stacked(id: str, *names: str, dropout: float = 0.0) -> Case:
    def build(key, dtype=None, input_size=I, hidden_size=H):
        sizes = [input_size] + [hidden_size] * len(names)
        cells = [
            rz.make_cell(n, s, hidden_size, key=key, dtype=dtype) for n, s in zip(names, sizes)
        ]
        return rz.Stacked(cells, dropout=dropout)

    return Case(id, build)


def _block(key, dtype=None, input_size=I, hidden_size=H):
    keys = jr.split(key, 2)
    cell = rz.make_cell("lru", input_size, hidden_size, key=keys[0], dtype=dtype)
    return rz.Block(cell, dropout=0.2, dtype=dtype, key=keys[1])


def _adopted(key, dtype=None, input_size=I, hidden_size=H):
    cell = eqx.nn.LSTMCell(input_size, hidden_size, dtype=dtype, key=key)
    return rz.adopt(cell)


DEFAULTS = [_registered(name, name) for name in rz.list_cells()]
MODES = [
    _registered("elman-relu", "elman", {"activation": refs.relu}, activation=jax.nn.relu),
    _registered("leaky_elman-leak1", "leaky_elman", {"leak": 1.0}, leak=1.0),
    _registered("wilson_cowan-leak.1", "wilson_cowan", {"leak": 0.1}, leak=0.1),
    _registered("indrnn-bound.5", "indrnn", {"bound": 0.5}, recurrent_range=(-0.5, 0.5)),
    _registered("gru-reset_before", "gru", {"reset_after": False}, reset_after=False),
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
    _registered("exprnn-cayley", "exprnn", {"cayley": True}, parametrisation="cayley"),
    _registered("cornn-imex", "cornn", {"imex": True, "delta": 0.5}, scheme="imex", delta=0.5),
    _registered("lem-delta.3", "lem", {"delta": 0.3}, delta=0.3),
    _registered("unicornn-alpha5", "unicornn", {"alpha": 5.0}, alpha=5.0),
    _registered("mingru-plain", "mingru", {"g": lambda z: z}, activation=lambda z: z),
]
WRAPPED = [
    _wrapped("frozen-gru", rz.Frozen, "gru"),
    _wrapped("frozen-lru", rz.Frozen, "lru"),
    _wrapped("learned-lstm", rz.LearnedInitialState, "lstm"),
    _wrapped("learned-lru", rz.LearnedInitialState, "lru"),
    _wrapped("learned-leaky", rz.LearnedInitialState, "leaky_elman"),
    _wrapped("zoneout-lstm", lambda c: rz.Zoneout(c, (0.3, 0.6)), "lstm"),
    _wrapped("zoneout-lru", lambda c: rz.Zoneout(c, 0.4), "lru"),
    _wrapped("zoneout-leaky", lambda c: rz.Zoneout(c, 0.4), "leaky_elman"),
    _wrapped("recurrent-leaky", rz.Recurrent, "leaky_elman"),
    _stacked("stacked", "lstm", "leaky_elman", "lru", dropout=0.3),
    Case("block-lru", _block),
    Case("adopted-eqx-lstm", _adopted),
]
ALL = DEFAULTS + WRAPPED
LINEAR = [case for case in ALL if case.build(jr.key(0)).linear]
EVERYTHING = DEFAULTS + MODES + WRAPPED


def ids(cases):
    """Keyword arguments for a parametrisation over cases."""
    return {"argnames": "case", "argvalues": cases, "ids": [case.id for case in cases]}


@contextlib.contextmanager
def float64():
    """Parameters and arithmetic in float64."""
    with jax.enable_x64(True):
        yield jnp.float64


def noisy(cell, key, scale=0.3):
    """The cell with noise on every parameter, so that no zero bias hides a mistake."""
    params, rest = eqx.partition(cell, eqx.is_inexact_array)
    leaves, treedef = jax.tree.flatten(params)
    keys = jr.split(key, max(1, len(leaves)))
    leaves = [p + scale * jr.normal(k, p.shape, p.dtype) for p, k in zip(leaves, keys)]
    return eqx.combine(jax.tree.unflatten(treedef, leaves), rest)


def build(case, dtype=None, seed=0, **sizes):
    """A cell of this case with noise on its parameters."""
    key_cell, key_noise = jr.split(jr.key(seed))
    return noisy(case.build(key_cell, dtype, **sizes), key_noise)


def random_state(cell, key):
    """A state like the initial one, away from zero."""

    def draw(leaf, k):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return leaf + 0.5 * jr.normal(k, leaf.shape, leaf.dtype)

    leaves, treedef = jax.tree.flatten(cell.init_state())
    keys = jr.split(key, max(1, len(leaves)))
    return jax.tree.unflatten(treedef, [draw(leaf, k) for leaf, k in zip(leaves, keys)])


def inputs(cell, time=T, seed=1, dtype=None):
    """xs, and the keywords of a run with everything: state, dt, mask, reset, key."""
    keys = jr.split(jr.key(seed), 4)
    xs = jr.normal(keys[0], (time, cell.input_size), dtype or float)
    keywords = {"mask": jnp.asarray(MASK[:time]), "reset": jnp.asarray(RESET[:time])}
    if cell.timed:
        keywords["dt"] = jr.uniform(keys[1], (time,), xs.dtype, 0.2, 1.8).at[5:6].set(0.0)
    if cell.stochastic:
        keywords["key"] = keys[2]
    return xs, random_state(cell, keys[3]), keywords


def only(keywords, *names):
    """Those keywords, and always the key of a stochastic cell."""
    return {k: v for k, v in keywords.items() if k in (*names, "key")}


_step = eqx.filter_jit(lambda cell, state, x, dt, key: advance(cell, state, x, dt, key=key))


def loop(cell, xs, state=None, *, dt=None, mask=None, reset=None, key=None, reverse=False):
    """The semantics of the evaluators, spelled out in Python: (state, states, ys)."""
    time = len(xs)
    state = cell.init_state() if state is None else state
    order = range(time - 1, -1, -1) if reverse else range(time)
    keys = [None] * time if key is None else list(jr.split(key, time))
    keys = keys[::-1] if reverse and key is not None else keys
    states, ys = [None] * time, [None] * time
    for t in order:
        if reset is not None and reset[t]:
            state = cell.init_state()
        step_dt = dt if dt is None or jnp.ndim(dt) == 0 else dt[t]
        new, y = _step(cell, state, xs[t], step_dt, keys[t])
        if mask is not None and not mask[t]:
            new, y = state, jnp.zeros_like(y)
        state, states[t], ys[t] = new, new, y
    return state, jax.tree.map(lambda *s: jnp.stack(s), *states), jnp.stack(ys)


def assert_close(one, two, tolerance):
    """Two trees: same structure, shapes and dtypes, values to a tolerance."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
        a, b = jnp.asarray(a), jnp.asarray(b)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jnp.inexact):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(a, b)


def arrays(cell):
    """The cell's arrays in float64, by the names of its fields."""
    fields = {f.name: getattr(cell, f.name) for f in dataclasses.fields(cell)}
    fields = {k: v.value if isinstance(v, Fixed) else v for k, v in fields.items()}
    float64s = {k: np.asarray(v, np.float64) for k, v in fields.items() if eqx.is_array(v)}
    return types.SimpleNamespace(**float64s)
