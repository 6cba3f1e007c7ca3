"""Ridge regression by its normal equations, in float64 whatever the program runs in."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from ..init import check_traced
from ._double import doubled, in_double


class NormalEquations(eqx.Module):
    r"""What linear regression needs to know of its samples, in float64.

    $$n, \quad \sum_i r_i, \quad \sum_i y_i, \quad \sum_i r_i r_i^\top, \quad \sum_i r_i y_i^\top$$

    Equations of two sets of samples add up with `+`, so sequences of different length,
    chunks of a long one and several machines are all sums. The squares of float32 features
    lose the small singular values that a reservoir lives on; in float64 penalties down to
    1e-12 of the largest eigenvalue still solve.
    """

    count: Float[Array, ""]
    features: Float[Array, " features"]
    targets: Float[Array, " outputs"]
    squares: Float[Array, "features features"]
    products: Float[Array, "features outputs"]

    @staticmethod
    def of(
        features: ArrayLike, targets: ArrayLike, mask: ArrayLike | None = None
    ) -> "NormalEquations":
        """From (samples, features), (samples, outputs) and which samples count, (samples,).

        ValueError for shapes that do not fit, TypeError for a mask that is not bool.
        """
        features, targets = jnp.asarray(features), jnp.asarray(targets)
        mask = None if mask is None else jnp.asarray(mask)
        _check_samples(features, targets, mask)
        return _of(features, targets, mask)

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        """Those of both sets of samples."""
        return _sum(self, other)

    def solve(self, penalty: ArrayLike, *, dtype: Any = None) -> eqx.nn.Linear:
        r"""The readout $y = W r + b$ that minimises $\sum |W r + b - y|^2 + \lambda |W|^2$.

        The bias is not penalised. By Cholesky's factorisation; where float64 cannot tell the
        squares from singular ones, 2e-14 of the sum of their diagonal adds to the penalty.
        Returned in `dtype`, by default JAX's float. ValueError for a penalty not above 0.
        """
        return linear(*_solve(self, _checked(penalty, 0), _float(dtype)))

    def path(self, penalties: ArrayLike, *, dtype: Any = None) -> eqx.nn.Linear:
        """The readouts of many penalties (k,) from one factorisation, along a leading axis.

        The eigenvalues of the squares serve all penalties; each costs two products more. Use
        one with `jax.tree.map(lambda a: a[i], readouts)`, all with `eqx.filter_vmap`.
        """
        return linear(*_path(self, _checked(penalties, 1), _float(dtype)))

    def principal(self, *, dtype: Any = None) -> tuple[Array, Array]:
        """The mean features, and their principal components as columns, the largest first."""
        return _principal(self, _float(dtype))

    def centred(self) -> tuple[Array, Array, Array]:
        """Mean features; squares and products about the means."""
        count = jnp.maximum(self.count, 1.0)
        centre, mean = self.features / count, self.targets / count
        squares = self.squares - count * jnp.outer(centre, centre)
        return centre, squares, self.products - count * jnp.outer(centre, mean)

    def readout(self, weight: Array, centre: Array, dtype: Any) -> tuple[Array, Array]:
        """`weight`, and the bias for which the mean features give the mean targets."""
        bias = self.targets / jnp.maximum(self.count, 1.0) - weight @ centre
        return weight.astype(dtype), bias.astype(dtype)


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
    equations: NormalEquations | None, features: Array, targets: Array, mask: Any
) -> NormalEquations:
    """`equations` and those of more samples. For callers inside `in_double`."""
    r, y = doubled((features, targets.astype(jnp.result_type(targets, jnp.float32))))
    if mask is not None:
        keep = jnp.asarray(mask)[:, None]
        r, y = jnp.where(keep, r, 0.0), jnp.where(keep, y, 0.0)
    count = jnp.asarray(r.shape[0] if mask is None else jnp.sum(mask), jnp.float64)
    new = NormalEquations(count, r.sum(axis=0), y.sum(axis=0), r.T @ r, r.T @ y)
    return new if equations is None else jax.tree.map(jnp.add, equations, new)


def linear(weight: Array, bias: Array) -> eqx.nn.Linear:
    """An `eqx.nn.Linear` of these arrays, which may have leading axes."""
    made = eqx.filter_eval_shape(
        eqx.nn.Linear, weight.shape[-1], weight.shape[-2], key=jax.random.key(0)
    )
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), made, (weight, bias))


# --- in float64 -----------------------------------------------------------------------------------


@eqx.filter_jit
def _of(features: Array, targets: Array, mask: Array | None) -> NormalEquations:
    return in_double(lambda *samples: accumulate(None, *samples))(features, targets, mask)


@eqx.filter_jit
def _sum(one: NormalEquations, two: NormalEquations) -> NormalEquations:
    return in_double(lambda *pair: jax.tree.map(jnp.add, *pair))(one, two)


@eqx.filter_jit
def _solve(equations: NormalEquations, penalty: Array, dtype: Any) -> tuple[Array, Array]:
    def solve(equations: NormalEquations, penalty: Array):
        centre, squares, products = equations.centred()
        eye = jnp.eye(squares.shape[0], dtype=squares.dtype)

        def weight(penalty: Array) -> Array:
            factor = jsl.cho_factor(squares + penalty * eye, lower=True)
            return jsl.cho_solve(factor, products).T

        penalty = doubled(penalty)
        # Rounding makes small eigenvalues negative, by up to some tens of these.
        least = 100 * jnp.finfo(squares.dtype).eps * jnp.trace(squares)
        first = weight(penalty)
        solved = jnp.all(jnp.isfinite(first))
        final = lax.cond(solved, lambda: first, lambda: weight(penalty + least))
        return equations.readout(final, centre, dtype)

    return in_double(solve)(equations, penalty)


@eqx.filter_jit
def _path(equations: NormalEquations, penalties: Array, dtype: Any) -> tuple[Array, Array]:
    def path(equations: NormalEquations, penalties: Array):
        centre, squares, products = equations.centred()
        values, vectors = jnp.linalg.eigh(squares)
        shrink = 1 / (jnp.maximum(values, 0.0) + doubled(penalties)[:, None])
        weights = jnp.einsum("fe,ke,eo->kof", vectors, shrink, vectors.T @ products)
        return equations.readout(weights, centre, dtype)

    return in_double(path)(equations, penalties)


@eqx.filter_jit
def _principal(equations: NormalEquations, dtype: Any) -> tuple[Array, Array]:
    def principal(equations: NormalEquations):
        centre, squares, _ = equations.centred()
        _, vectors = jnp.linalg.eigh(squares)
        return centre.astype(dtype), vectors[:, ::-1].astype(dtype)

    return in_double(principal)(equations)


# --- checks ---------------------------------------------------------------------------------------


def _float(dtype: Any) -> Any:
    return jnp.dtype(jnp.result_type(float) if dtype is None else dtype)


def _checked(penalty: ArrayLike, rank: int) -> Array:
    penalty = jnp.asarray(penalty)
    if penalty.ndim != rank:
        wanted = "shape (k,), one per readout" if rank else "a scalar"
        raise ValueError(f"expected the penalty as {wanted}, got shape {penalty.shape}")
    return check_traced(penalty, jnp.all(penalty > 0), "a ridge penalty above 0")


def _check_samples(features: Any, targets: Any, mask: Array | None) -> None:
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(
            "expected features (samples, features) and targets (samples, outputs), got "
            f"{features.shape} and {targets.shape}: flatten batch and time into samples"
        )
    if mask is None:
        return
    if mask.dtype != bool:
        raise TypeError(f"expected mask of dtype bool, got {mask.dtype}")
    if mask.shape != features.shape[:1]:
        raise ValueError(f"expected mask of shape {features.shape[:1]}, got {mask.shape}")
