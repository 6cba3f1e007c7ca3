"""Ridge regression by its normal equations, in float64 whatever the program runs in."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from .._common.checks import check_traced
from .._common.numbers import in_64_bits
from .._engine.unstable import Tracer
from ._double import doubled, in_double
from ._samples import check_finite, check_penalty, check_samples, check_targets, kept


class NormalEquations(eqx.Module):
    r"""What linear regression needs to know of its samples, in float64.

    $$n, \quad \sum_i r_i, \quad \sum_i y_i, \quad \sum_i r_i r_i^\top, \quad \sum_i r_i y_i^\top$$

    Equations of two sets of samples add up with `+`, so sequences of different length,
    chunks of a long one and several machines are all sums. The squares of float32 features
    lose the small singular values that a reservoir lives on; in float64 the equations can still
    be solved with penalties down to 1e-12 of the largest eigenvalue.

    A NaN in a target is a target that was not observed. Where a sample lacks some of its targets
    and not all, each output has equations of its own over the samples that it was observed in:
    `per_target`, count (outputs,), features (outputs, features), squares (outputs, features,
    features).

    The equations stay in float64 through pickle, `copy`, `rz.train.save` and safetensors; what was
    cut down to float32 on another way is a ValueError in `+`, `solve` and `path`.
    """

    count: Float[Array, "..."]
    features: Float[Array, "... features"]
    targets: Float[Array, "... outputs"]
    squares: Float[Array, "... features features"]
    products: Float[Array, "... features outputs"]
    per_target: bool = eqx.field(static=True, default=False)

    @staticmethod
    def of(
        features: ArrayLike, targets: ArrayLike, mask: ArrayLike | None = None
    ) -> "NormalEquations":
        """The equations of samples: features (samples, features), targets (samples, outputs), and
        a mask (samples,) of those that count.

        NumPy arrays keep their 64 bits. ValueError for shapes that do not fit, for features that
        are not finite and infinite targets in samples that count; TypeError for a mask that is
        not bool. Where targets are traced, a sample that lacks some of its targets is a runtime
        error.
        """
        R, Y = kept("features", features), kept("targets", targets)
        mask = None if mask is None else jnp.asarray(mask)
        check_samples(R, Y, mask)
        check_finite("features", R, mask, ("sample", "feature"))
        Y, per_target = check_targets(Y, mask, ("sample", "output"))
        return _of(R, Y, mask, per_target, True)

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        """The equations of both sets of samples."""
        if not isinstance(other, NormalEquations):
            return NotImplemented
        one, two = wide(self), wide(other)
        if one.per_target != two.per_target:
            one, two = _apart(one), _apart(two)
        return _sum(one, two)

    def __radd__(self, other: Any) -> "NormalEquations":
        """`sum` begins with 0."""
        if isinstance(other, int) and other == 0:
            return self
        return NotImplemented

    def solve(self, penalty: ArrayLike, *, dtype: Any = None) -> eqx.nn.Linear:
        r"""The readout $y = W r + b$ that minimises $\sum |W r + b - y|^2 + \lambda |W|^2$.

        The bias is not penalised. The equations are solved by Cholesky's factorisation; where
        float64 cannot tell the squares from singular ones, 2e-14 of the sum of their diagonal is
        added to the penalty. The readout comes in `dtype`, by default JAX's float. ValueError for
        a penalty that is not above 0, and for equations without a sample or with numbers that are
        not finite. Where the equations are traced, having no sample is a runtime error, and
        numbers that are not finite give a readout that is not finite either.
        """
        return _readout(_solve, self, check_penalty(penalty, 0), _float(dtype))

    def path(self, penalties: ArrayLike, *, dtype: Any = None) -> eqx.nn.Linear:
        """The readouts of many penalties (k,) from one factorisation, along a leading axis.

        The eigenvalues of the squares serve all penalties; each penalty costs two products more.
        Take one readout with `jax.tree.map(lambda a: a[i], readouts)`, or use all of them with
        `eqx.filter_vmap`. The errors are those of `solve`.
        """
        return _readout(_path, self, check_penalty(penalties, 1), _float(dtype))

    def principal(self, *, dtype: Any = None) -> tuple[Array, Array]:
        """The mean features, and their principal components as columns, the largest first.

        ValueError where each target has samples of its own.
        """
        if self.per_target:
            raise ValueError("expected one set of samples, got one for each target")
        return _principal(wide(self), _float(dtype))

    def centred(self) -> tuple[Array, Array, Array]:
        """The mean features, and the squares and products about the means."""
        count = jnp.maximum(self.count, 1.0)
        centre, mean = self.features / count, self.targets / count
        squares = self.squares - count * jnp.outer(centre, centre)
        return centre, squares, self.products - count * jnp.outer(centre, mean)

    def readout(self, weight: Array, centre: Array, dtype: Any) -> tuple[Array, Array]:
        """`weight`, and the bias for which the mean features give the mean targets."""
        bias = self.targets / jnp.maximum(self.count, 1.0) - weight @ centre
        return weight.astype(dtype), bias.astype(dtype)

    def __getstate__(self) -> dict[str, Any]:
        # JAX's arrays come back from pickle with 32 bits.
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {n: np.asarray(v) if isinstance(v, jax.Array) else v for n, v in values.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            given = in_64_bits(value) if isinstance(value, np.ndarray) else value
            object.__setattr__(self, name, given)


def ridge(
    features: ArrayLike,
    targets: ArrayLike,
    penalty: ArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> eqx.nn.Linear:
    """The linear readout of (samples, features) to (samples, outputs) with this penalty.

    `NormalEquations.of(features, targets, mask).solve(penalty)`, in the dtype of `features`.
    """
    dtype = jnp.result_type(features, float)
    return NormalEquations.of(features, targets, mask).solve(penalty, dtype=dtype)


def accumulate(
    equations: NormalEquations | None,
    features: Array,
    targets: Array,
    mask: Any,
    *,
    missing: bool = True,
    per_target: bool = False,
) -> NormalEquations:
    """`equations` and those of more samples together. Callers are inside `in_double`.

    With `missing`, a NaN in a target is one that was not observed, and its sample does not count;
    with `per_target` it does not count for this target alone.
    """
    r, y = doubled((features, targets.astype(jnp.result_type(targets, jnp.float32))))
    samples, outputs = y.shape
    if per_target:
        keep = jnp.ones(samples, bool) if mask is None else jnp.asarray(mask)
        new = _of_each_target(jnp.where(keep[:, None], r, 0.0), y, keep[:, None] & ~jnp.isnan(y))
        return new if equations is None else jax.tree.map(jnp.add, equations, new)
    if missing and outputs:
        seen = ~jnp.any(jnp.isnan(y), axis=1)
        mask = seen if mask is None else jnp.asarray(mask) & seen
    if mask is not None:
        keep = jnp.asarray(mask)[:, None]
        r, y = jnp.where(keep, r, 0.0), jnp.where(keep, y, 0.0)
    count = jnp.asarray(samples if mask is None else jnp.sum(mask), jnp.float64)
    new = NormalEquations(count, r.sum(axis=0), y.sum(axis=0), r.T @ r, r.T @ y)
    return new if equations is None else jax.tree.map(jnp.add, equations, new)


def _of_each_target(r: Array, y: Array, seen: Array) -> NormalEquations:
    weight, y = seen.astype(r.dtype), jnp.where(seen, y, 0.0)
    # One target after the other: all at once would hold a weighted copy of r for each.
    squares = jax.lax.map(lambda w: (r * w[:, None]).T @ r, weight.T)
    products = (weight.T @ r, y.sum(axis=0), squares, r.T @ y)
    return NormalEquations(weight.sum(axis=0), *products, per_target=True)


def linear(weight: Array, bias: Array) -> eqx.nn.Linear:
    """An `eqx.nn.Linear` of these arrays, which may have leading axes."""
    made = eqx.filter_eval_shape(
        eqx.nn.Linear, weight.shape[-1], weight.shape[-2], key=jax.random.key(0)
    )
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), made, (weight, bias))


def wide(equations: NormalEquations) -> NormalEquations:
    """The same equations as arrays of JAX in float64. ValueError where they are not any more."""
    rank = int(equations.per_target)
    if jnp.ndim(equations.count) != rank:
        raise ValueError(
            f"expected the equations of one readout, got a stack of {jnp.shape(equations.count)}: "
            "map over it, jax.vmap(lambda one: one.solve(ridge))(stack), or add its parts with +"
        )
    for leaf in jax.tree.leaves(equations):
        if leaf.dtype != np.float64:
            raise ValueError(
                f"expected normal equations in float64, got {leaf.dtype}: they were cut down on "
                "the way, and a ridge solved from them is not the ridge of the samples. Add them "
                "with + or sum, keep them with pickle, rz.train.save or safetensors, and what "
                "jax.device_get gives in NumPy"
            )

    def convert(leaf: Any) -> Array:
        return leaf if isinstance(leaf, jax.Array) else in_64_bits(leaf)

    return jax.tree.map(convert, equations)


def _apart(equations: NormalEquations) -> NormalEquations:
    """The same equations, written once for each target."""
    if equations.per_target:
        return equations
    outputs = equations.targets.shape[0]

    def repeat(array: Array) -> Array:
        with jax.enable_x64(True):
            return jnp.broadcast_to(array, (outputs, *array.shape))

    shared = (repeat(a) for a in (equations.count, equations.features, equations.squares))
    count, features, squares = shared
    own = (equations.targets, squares, equations.products)
    return NormalEquations(count, features, *own, per_target=True)


def _readout(run: Any, equations: NormalEquations, penalty: Array, dtype: Any) -> eqx.nn.Linear:
    equations = wide(equations)
    traced = isinstance(equations.count, Tracer)
    empty: Any = _empty(equations) if traced else np.asarray(equations.count) == 0
    nothing = "equations of at least one sample for each output, with a target that was observed"
    if traced:
        penalty = check_traced(penalty, ~jnp.any(empty), nothing)
    elif empty.any():
        which = f" for output {empty.argmax()}" if equations.per_target else ""
        raise ValueError(f"expected {nothing}, got none{which}")
    weight, bias = run(equations, penalty, dtype)
    known = not any(isinstance(a, Tracer) for a in (weight, bias))
    if known and not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError(
            "the readout is not finite, since the sums over features and targets are not: the "
            "states of the layer grew too large, or the numbers do not fit"
        )
    return linear(weight, bias)


def _float(dtype: Any) -> Any:
    return jnp.dtype(jnp.result_type(float) if dtype is None else dtype)


# --- in float64 -----------------------------------------------------------------------------------


@eqx.filter_jit
def _of(
    features: Array, targets: Array, mask: Array | None, per_target: bool, missing: bool
) -> NormalEquations:
    kind = {"per_target": per_target, "missing": missing}
    return in_double(lambda *samples: accumulate(None, *samples, **kind))(features, targets, mask)


def complete(features: Array, targets: Array, mask: Array | None) -> NormalEquations:
    """The equations of samples whose targets are all there; a number that is not finite shows in
    the readout."""
    return _of(features, targets, mask, False, False)


@eqx.filter_jit
def _empty(equations: NormalEquations) -> Array:
    return in_double(lambda count: count == 0)(equations.count)


@eqx.filter_jit
def _sum(one: NormalEquations, two: NormalEquations) -> NormalEquations:
    return in_double(lambda *pair: jax.tree.map(jnp.add, *pair))(one, two)


def _targets_apart(run: Callable) -> Callable:
    """`run(equations, penalty) -> (weight, bias)` for each target that has its own equations."""

    def call(equations: NormalEquations, penalty: Array) -> tuple[Array, Array]:
        if not equations.per_target:
            return run(equations, penalty)
        each = NormalEquations(
            equations.count,
            equations.features,
            equations.targets[:, None],
            equations.squares,
            equations.products.T[:, :, None],
        )
        weight, bias = jax.lax.map(lambda one: run(one, penalty), each)
        # (outputs, ..., 1, features) to (..., outputs, features).
        return jnp.moveaxis(weight[..., 0, :], 0, -2), jnp.moveaxis(bias[..., 0], 0, -1)

    return call


@eqx.filter_jit
def _solve(equations: NormalEquations, penalty: Array, dtype: Any) -> tuple[Array, Array]:
    def solve(equations: NormalEquations, penalty: Array):
        centre, squares, products = equations.centred()
        eye = jnp.eye(squares.shape[0], dtype=squares.dtype)

        def weight(penalty: Array) -> Array:
            factor = jsl.cho_factor(squares + penalty * eye, lower=True)
            return jsl.cho_solve(factor, products).T

        penalty = doubled(penalty)
        # Rounding makes small eigenvalues negative, by up to some tens of eps times the trace. A
        # factorisation that fails says so by NaN, and is tried again with a hundred of them more.
        least = 100 * jnp.finfo(squares.dtype).eps * jnp.trace(squares)
        first = weight(penalty)
        solved = jnp.all(jnp.isfinite(first))
        final = lax.cond(solved, lambda: first, lambda: weight(penalty + least))
        return equations.readout(final, centre, dtype)

    return in_double(_targets_apart(solve))(equations, penalty)


@eqx.filter_jit
def _path(equations: NormalEquations, penalties: Array, dtype: Any) -> tuple[Array, Array]:
    def path(equations: NormalEquations, penalties: Array):
        centre, squares, products = equations.centred()
        values, vectors = jnp.linalg.eigh(squares)
        # Rounding makes small eigenvalues negative, which a small penalty would turn into poles.
        shrink = 1 / (jnp.maximum(values, 0.0) + doubled(penalties)[:, None])
        weights = jnp.einsum("fe,ke,eo->kof", vectors, shrink, vectors.T @ products)
        return equations.readout(weights, centre, dtype)

    return in_double(_targets_apart(path))(equations, penalties)


@eqx.filter_jit
def _principal(equations: NormalEquations, dtype: Any) -> tuple[Array, Array]:
    def principal(equations: NormalEquations):
        centre, squares, _ = equations.centred()
        _, vectors = jnp.linalg.eigh(squares)
        return centre.astype(dtype), vectors[:, ::-1].astype(dtype)

    return in_double(principal)(equations)
