"""Readouts fitted over sequences: in chunks of time, or step by step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from .._common.checks import Steps, beside, check_inputs, check_steps
from .._common.dtypes import working_dtype
from .._common.fixed import Fixed
from .._common.keys import key_rank
from .._common.numbers import exactly
from .._engine.backends import tuned
from .._engine.unstable import Tracer
from ..base import replace
from ..linear import select
from ..wrappers.held import hold
from ._double import everywhere, in_double, outside
from ._samples import check_finite, check_targets
from .online import AbstractOnlineRule, ObservedOnly
from .ridge import NormalEquations, accumulate


def normal_equations(network: Any, xs, ys, washout, dt, mask, reset, key) -> NormalEquations:
    """`EchoStateNetwork.normal_equations`."""
    if not isinstance(washout, int) or washout < 0:
        raise ValueError(f"expected washout to be an integer of at least 0, got {washout!r}")
    xs, ys, dt, mask, reset = together(network, xs, ys, dt, mask, reset)
    steps, batched = _batch(network, xs, dt, mask, reset, key)
    if network.pool is None:
        targets = _step_targets(network, ys, steps, batched)
        targets, per_target = check_targets(targets, steps.mask, ("sequence", "step", "output"))
        return _over_time(network, steps, targets, washout, per_target)
    if washout:
        raise ValueError("washout belongs to targets per step: with a pool leave it out")
    targets = _sequence_targets(network, ys, steps, batched)
    with_space = network.space is None or network.space.basis is not None
    if not with_space:
        raise ValueError("the model space has no basis yet: call fit_readout instead")
    # A sequence without a step has nothing to say.
    some = None if steps.mask is None else jnp.any(steps.mask, axis=1)
    return NormalEquations.of(_pool_all(network, steps), targets, some)


def fit_space(network: Any, xs, dt, mask, reset, key) -> Any:
    """The network's model space with the principal components of its states."""
    xs, _, dt, mask, reset = together(network, xs, None, dt, mask, reset)
    steps, _ = _batch(network, xs, dt, mask, reset, key)
    nothing = jnp.zeros((*steps.x.shape[:2], 0), working_dtype(network, steps.x))
    return network.space.fit(_over_time(network, steps, nothing, 0, False))


def check_some(equations: NormalEquations, xs: Any, washout: int) -> None:
    """ValueError where no step was left to learn from; nothing for what is traced."""
    if isinstance(equations.count, Tracer) or np.asarray(equations.count).any():
        return
    length = max(map(len, xs)) if isinstance(xs, list | tuple) else jnp.shape(xs)[-2]
    raise ValueError(
        f"expected at least one step to learn from, got none: of {length} steps a washout of "
        f"{washout}, the mask and missing targets (NaN) leave nothing"
    )


@eqx.filter_jit
def _over_time(
    network: Any, steps: Steps, targets: Array, washout: int, per_target: bool
) -> NormalEquations:
    """The equations of all sequences: chunk by chunk the layer runs, and what the readout sees
    is added to them."""
    network = hold(network)
    keep = jax.vmap(lambda at: _settled(at, washout))(steps)
    batch, length = keep.shape
    size = max(1, min(length, tuned("rows") // batch)) if _streams(network) else length
    chunks = jax.tree.map(lambda a: _cut(a, size), (steps, targets, keep))
    state = jax.tree.map(lambda a: jnp.repeat(a[None], batch, axis=0), network.init_state())
    # Inside `in_double` the network runs in its own dtypes (`outside`); the sums alone are wide.
    arrays, rest = eqx.partition(network, eqx.is_array)
    first = jax.tree.map(lambda a: a[0], chunks[0])
    features = eqx.filter_eval_shape(_run, network, first, state)[1].shape[-1]
    wide = everywhere()

    def total(arrays, state, chunks):
        run = outside(lambda *at: _run(eqx.combine(arrays, rest), *at), wide)

        def body(carry, chunk):
            state, equations = carry
            at, y, kept = chunk
            state, rs = run(at, state)
            flat = [a.reshape(batch * size, *a.shape[2:]) for a in (rs, y, kept)]
            return (state, accumulate(equations, *flat, per_target=per_target)), None

        carry = (state, _empty(features, targets.shape[-1], per_target))
        return lax.scan(body, carry, chunks)[0][1]

    return in_double(total)(arrays, state, chunks)


def _streams(network: Any) -> bool:
    """Whether chunks of time give what the whole gives: no part reads from the end."""
    try:
        _features(network)
    except TypeError:
        return False
    return True


def _features(network: Any) -> int:
    """How many numbers the readout sees at a step. TypeError for a layer that cannot step."""
    x = jnp.zeros(network.input_size)
    key = jax.random.key(0) if network.stochastic else None
    step = network.step_features
    return eqx.filter_eval_shape(step, network.init_state(), x, key=key)[1].shape[0]


def _run(network: Any, steps: Steps, state: Any) -> tuple[Any, Array]:
    """All sequences of a batch through one chunk of time."""
    if steps.x.shape[0] > 1:
        return jax.vmap(network.scan_features)(steps, state)
    # One sequence runs as a matrix times a vector, not as a thin product of matrices.
    one = jax.tree.map(lambda a: a[0], (steps, state))
    return jax.tree.map(lambda a: a[None], network.scan_features(*one))


@eqx.filter_jit
def _pool_all(network: Any, steps: Steps) -> Float[Array, "batch features"]:
    network = hold(network)

    def pooled(at: Steps) -> Array:
        return network.pooled(network.scan_features(at, None)[1], at)

    return lax.map(pooled, steps, batch_size=min(tuned("sequences"), steps.x.shape[0]))


def _empty(features: int, outputs: int, per_target: bool) -> NormalEquations:
    each = (outputs,) if per_target else ()
    shapes = (each, (*each, features), (outputs,), (*each, features, features), (features, outputs))
    zeros = (jnp.zeros(shape, jnp.float64) for shape in shapes)
    return NormalEquations(*zeros, per_target=per_target)


def _cut(array: Array, size: int) -> Array:
    """(batch, time, ...) to (chunks, batch, size, ...); what is added at the end is zero."""
    batch, length = array.shape[:2]
    chunks = -(-length // size)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = _cut(jax.random.key_data(array), size)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    rest = [(0, 0)] * (array.ndim - 2)
    array = jnp.pad(array, [(0, 0), (0, chunks * size - length), *rest])
    return jnp.moveaxis(array.reshape(batch, chunks, size, *array.shape[2:]), 1, 0)


def _settled(steps: Steps, washout: int) -> Bool[Array, " time"]:
    """Valid steps with more than `washout` valid ones behind them since the last start."""
    valid = jnp.ones(steps.length, bool) if steps.mask is None else steps.mask
    count = jnp.cumsum(valid)
    reset = jnp.zeros(steps.length, bool) if steps.reset is None else steps.reset
    # How many valid steps there were before the last start, which only grows.
    started = lax.cummax(jnp.where(reset, count - valid.astype(count.dtype), 0))
    return valid & (count - started > washout)


# --- what comes in --------------------------------------------------------------------------------


def together(network: Any, xs: Any, ys: Any, dt: Any, mask: Any, reset: Any) -> tuple:
    """A list of sequences, which may differ in length, as padded arrays with a mask."""
    if not isinstance(xs, list | tuple) or not all(jnp.ndim(x) == 2 for x in xs) or not xs:
        return xs, ys, dt, mask, reset
    lengths = [jnp.shape(x)[0] for x in xs]

    def padded(name: str, given: Any, fill: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        parts = [exactly(name, part) for part in given]
        if [part.shape[:1] for part in parts] != [(length,) for length in lengths]:
            raise ValueError(
                f"expected {name} as a list of arrays of {lengths} steps, as long as the "
                f"sequences in xs, got {[part.shape for part in parts]}"
            )
        rest = max(lengths)
        widths = [[(0, rest - len(p))] + [(0, 0)] * (p.ndim - 1) for p in parts]
        return jnp.stack([jnp.pad(p, w, constant_values=fill) for p, w in zip(parts, widths)])

    valid = [jnp.ones(length, bool) for length in lengths] if mask is None else mask
    ys = padded("ys", ys, 0) if network.pool is None else ys
    dt, reset = padded("dt", dt, 1), padded("reset", reset, False)
    return padded("xs", xs, 0), ys, dt, padded("mask", valid, False), reset


def _check_numbers(steps: Steps) -> None:
    check_finite("xs", steps.x, steps.mask, ("sequence", "step", "feature"))
    if steps.dt is not None:
        check_finite("dt", steps.dt, steps.mask, ("sequence", "step"))


def _batch(network: Any, xs, dt, mask, reset, key) -> tuple[Steps, bool]:
    """The inputs of sequences with a leading batch axis each, and whether they came with one."""
    xs = exactly("xs", xs)
    batched = xs.ndim == 3
    if not batched:
        steps = check_steps(network, xs, dt, mask, reset, key)
        dt = None if steps.dt is None else jnp.broadcast_to(steps.dt, (steps.length,))
        steps = jax.tree.map(lambda a: a[None], steps._replace(dt=dt))
        _check_numbers(steps)
        return steps, False
    batch, length = xs.shape[:2]
    if not batch or not length:
        raise ValueError(f"expected at least one sequence of at least one step, got {xs.shape}")
    check_inputs(xs[0], network.input_size)
    if dt is not None and jnp.ndim(dt) < 2:
        dt = jnp.broadcast_to(exactly("dt", dt), (batch, length))
    flags = {"dt": dt, "mask": mask, "reset": reset}
    for name, given in flags.items():
        if given is not None and jnp.shape(given) != (batch, length):
            raise ValueError(
                f"expected {name} of shape ({batch}, {length}), as xs has, got {jnp.shape(given)}"
            )
    if key is not None and key_rank(key) == 0:
        key = jax.random.split(key, batch)
    given = {n: exactly(n, a) for n, a in {**flags, "key": key}.items() if a is not None}

    def one(xs: Array, given: dict) -> Steps:
        kinds = [given.get(name) for name in ("dt", "mask", "reset", "key")]
        return beside(network, xs, *kinds)

    steps = jax.vmap(one)(xs, given)
    _check_numbers(steps)
    return steps, True


def _step_targets(network: Any, ys: Any, steps: Steps, batched: bool) -> Array:
    ys = exactly("ys", ys)
    wanted = (*steps.x.shape[:2], network.output_size)
    if ys.shape != (wanted if batched else wanted[1:]):
        raise ValueError(
            f"expected ys of shape {wanted if batched else wanted[1:]}, one target per step, "
            f"got {ys.shape}: for one target per sequence build the network with a pool"
        )
    return ys if batched else ys[None]


def _sequence_targets(network: Any, ys: Any, steps: Steps, batched: bool) -> Array:
    ys = exactly("ys", ys)
    ys = ys if batched else ys[None]
    batch, outputs = steps.x.shape[0], network.output_size
    if ys.shape == (batch,) and jnp.issubdtype(ys.dtype, jnp.integer):
        outside = jnp.any((ys < 0) | (ys >= outputs))
        ys = eqx.error_if(ys, outside, f"labels must lie in [0, {outputs})")
        return jax.nn.one_hot(ys, outputs)
    if ys.shape != (batch, outputs):
        raise ValueError(
            f"expected ys of shape ({batch}, {outputs}), or integer labels ({batch},), one per "
            f"sequence, got {ys.dtype}{ys.shape}"
        )
    return ys


def with_own_output(network: Any, ys: Any, xs: Any, dt: Any, key: Any) -> Steps:
    """Steps whose first inputs are places for the network's own output."""
    length, outputs = jnp.shape(ys)[0], network.output_size
    others = network.input_size - outputs
    if others < 0:
        raise ValueError(
            f"expected a layer that reads its {outputs} outputs, got input_size "
            f"{network.input_size}"
        )
    xs = jnp.zeros((length, 0)) if xs is None else exactly("xs", xs)
    if xs.shape != (length, others):
        raise ValueError(
            f"expected xs of shape ({length}, {others}), what the layer reads beside its own "
            f"{outputs} outputs, got {xs.shape}"
        )
    return check_steps(
        network, jnp.concatenate([jnp.zeros((length, outputs)), xs], axis=1), dt, None, None, key
    )


# --- step by step ---------------------------------------------------------------------------------


def fit_online(
    network: Any, rule: AbstractOnlineRule, steps: Steps, ys: Any, *, feedback: bool
) -> tuple[Any, Array]:
    """`EchoStateNetwork.fit_online`, or `fit_force` with `feedback`."""
    if network.pool is not None:
        raise TypeError(f'pool="{network.pool}" needs the whole sequence and cannot learn online')
    ys = exactly("ys", ys)
    if ys.shape != (steps.length, network.output_size):
        raise ValueError(
            f"expected ys of shape ({steps.length}, {network.output_size}), got {ys.shape}"
        )
    check_finite("xs", steps.x, steps.mask, ("step", "feature"))
    if steps.dt is not None and steps.dt.ndim:
        check_finite("dt", steps.dt, steps.mask, ("step",))
    ys, per_target = check_targets(ys, steps.mask, ("step", "output"))
    complete = not isinstance(ys, Tracer) and not np.isnan(np.asarray(ys, np.float64)).any()
    rule = rule if complete else ObservedOnly(rule, per_target)
    return _online(network, rule, steps, ys, feedback)


@eqx.filter_jit
def _online(network: Any, rule: Any, steps: Steps, ys: Array, feedback: bool):
    prepared = hold(network)
    dtype = working_dtype(network, steps.x)
    initial = prepared.init_state()
    # A scalar dt has no axis of time to scan over.
    scalar_dt = steps.dt if steps.dt is not None and steps.dt.ndim == 0 else None
    steps = steps._replace(dt=None) if scalar_dt is not None else steps
    start = rule.init(_weights(prepared, dtype))

    def body(carry, at_and_target):
        (state, learned, said), (at, target) = carry, at_and_target
        dt = at.dt if scalar_dt is None else scalar_dt
        if at.reset is not None:
            state = select(at.reset, initial, state)
        x = jnp.concatenate([said, at.x[said.size :]]) if feedback else at.x
        # What stands at a masked step may be anything, NaN too, and must not reach the gradient.
        visible = x if at.mask is None else jnp.where(at.mask, x, 0)
        after, r = prepared.step_features(state, visible, dt, key=at.key)
        y = learned.predict(r)
        taught = rule.update(learned, r, target.astype(dtype))
        moved = (after, taught, y)
        if at.mask is not None:
            moved = select(at.mask, moved, carry)
            y = jnp.where(at.mask, y, 0)
        return moved, y

    said = jnp.zeros(network.output_size, dtype)
    (_, learned, _), outputs = lax.scan(body, (initial, start, said), (steps, ys))
    return network.with_readout(learned.linear()), outputs


def _weights(network: Any, dtype: Any) -> Array:
    """The readout that the network has, or zeros, with the bias as last column."""
    if network.readout is not None:
        return jnp.concatenate([network.readout.weight, network.readout.bias[:, None]], axis=1)
    return jnp.zeros((network.output_size, _features(network) + 1), dtype)


def as_fitted(network: Any, shapes: dict[str, tuple]) -> Any:
    """A network without a readout, or without the basis of its model space, with those of a file:
    `shapes` has (shape, dtype) by the path behind the network."""
    weight = shapes.get(".readout.weight")
    if network.readout is None and weight is not None:
        (outputs, features), dtype = weight

        def make(key):
            bias = ".readout.bias" in shapes
            return eqx.nn.Linear(features, outputs, bias, dtype=jnp.dtype(dtype), key=key)

        network = network.with_readout(eqx.filter_eval_shape(make, jax.random.key(0)))
    space = network.space
    if space is not None and space.basis is None and ".space.basis.bits" in shapes:
        parts = {}
        for name in ("mean", "basis"):
            shape, bits = shapes[f".space.{name}.bits"]
            dtype = bits.replace("uint", "float")
            parts[name] = eqx.filter_eval_shape(Fixed, jax.ShapeDtypeStruct(shape, dtype))
        network = replace(network, space=replace(space, **parts))
    return network
