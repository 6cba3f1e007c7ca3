"""What a cell does to a small change of its state along a sequence: Jacobians and gradients."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from .._common.checks import Steps, check_positive, check_sizes, check_state, check_steps
from .._common.vectors import state_vector
from .._evaluators import Chunks, Plan, choose_chunks, plan
from ..base import AbstractCell, State, check_cell, runs_in_chunks
from ..scan import unroll
from ..wrappers.held import hold
from .maps import checked, push


def jacobians(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    key: Any = None,
) -> Array:
    r"""The Jacobian of every step along the trajectory that `xs` drives, (time, n, n).

    $$J_t = \frac{\partial h_t}{\partial h_{t-1}}$$

    Arguments and errors as in `scan.unroll`; h is `state_vector(state)`. Integer parts of
    the state are carried on and held constant in the derivative. To follow an autonomous
    system, give zeros as `xs`. Differentiable, for penalties on J.
    """
    steps, state = checked(cell, xs, state, dt, key)
    return _jacobians(cell, state, steps)


def spectrum(jacobian: ArrayLike) -> np.ndarray:
    """The eigenvalues of one Jacobian or of many: (..., n, n) to (..., n) complex.

    Largest modulus first. Computed on the host in float64 (accelerators lack it), so not
    under jit. ValueError for matrices that are not square.
    """
    matrices = np.asarray(jacobian)
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(f"expected square matrices (..., n, n), got shape {matrices.shape}")
    values = np.linalg.eigvals(matrices.astype(np.result_type(matrices, np.float64)))
    values = values.astype(np.complex128)
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=-1, kind="stable"), -1)


def gradient_norms(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    key: Any = None,
) -> Array:
    r"""How much gradient of the last state reaches the state k steps before, (time + 1,).

    $$g_k = \frac{1}{\sqrt n} \Big\| \frac{\partial h_T}{\partial h_{T-k}} \Big\|_F
    = \frac{1}{\sqrt n} \big\| J_T J_{T-1} \cdots J_{T-k+1} \big\|_F, \qquad k = 0, \dots, T$$

    The root mean square, over losses whose gradient at the end is a random unit vector, of
    the gradient's norm at lag k: 1 at lag 0, 1 at every lag where all J are orthogonal.
    Falling like c^k it is the vanishing, rising the exploding gradient (Pascanu et al.
    2013, arXiv:1211.5063). Exact: the Jacobians are held, (time, n, n), and multiplied.

    Arguments and errors as in `scan.unroll`.
    """
    steps, state = checked(cell, xs, state, dt, key)
    return _gradient_norms(cell, state, steps)


def impulse_response(
    cell: AbstractCell, lags: int, *, dt: ArrayLike | None = None
) -> Float[Array, "lags outputs inputs"]:
    r"""The kernel of a linear cell: what a one at an input does to the outputs, lag by lag.

    $$K_k = C \bar A^k \bar B, \quad y_t = \sum_k K_k x_{t-k}$$

    (lags, output_size, input_size), where the readout is linear in the state; what it reads of the
    input itself is in lag 0. With a transition that depends on the input, as in Mamba, it is the
    answer to this one input. TypeError for a cell that is not linear, ValueError below one lag.
    """
    check_cell(cell)
    if not cell.linear:
        raise TypeError(
            f"expected a linear cell, got {type(cell).__name__}, whose answer to an impulse "
            "depends on what came before: look at jacobians or gradient_norms"
        )
    check_sizes(lags=lags)
    quiet = jnp.zeros((lags, cell.input_size))

    def respond(channel: Array) -> Array:
        return unroll(cell, quiet.at[0, channel].set(1), dt=dt)[1]

    answers = jax.vmap(respond)(jnp.arange(cell.input_size)) - unroll(cell, quiet, dt=dt)[1]
    return jnp.moveaxis(answers, 0, -1)


def time_constants(eigenvalues: Any, *, dt: float = 1.0) -> np.ndarray:
    r"""How long modes remember, from eigenvalues of a step of length `dt`, of any shape.

    $$\tau = -\frac{\Delta t}{\log |\lambda|}$$

    the time in which a mode falls to 1/e; infinite for moduli of 1 and more, 0 for a mode that
    forgets at once. ValueError for dt <= 0.
    """
    check_positive("dt", dt)
    sizes = np.abs(np.asarray(eigenvalues)).astype(np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log(sizes)
        return np.where(sizes < 1, -dt / np.where(sizes < 1, logs, -1.0), np.inf)


def parallel_plan(
    cell: Any,
    xs: ArrayLike,
    state: Any = None,
    *,
    dt: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    chunks: Chunks | None = None,
) -> Plan:
    """What `rz.scan.unroll(cell, xs, method="chunks")` will take, from a part of the sequence.

    At 16 places along it 32 states, half of them the network's own, run for 512 steps or fewer: how
    soon they become one, or a few. And 32 chunks from all along it run as if they were the whole
    sequence: which level and how many passes that takes. A forecast: what the inputs do elsewhere
    it does not see, and `rz.scan.chunk_report` says what was. On the host, so not under jit.

    Arguments as in `scan.unroll`, and `chunks`, the options. ValueError for a cell that has a
    parallel form of its own, TypeError for one that draws random numbers.
    """
    check_cell(cell)
    if cell.stochastic:
        raise TypeError(f"{type(cell).__name__} is random: look at what it is without that")
    steps = check_steps(cell, xs, dt, mask, reset, None)
    options = Chunks() if chunks is None else chunks
    choose_chunks(cell, cell.linear or runs_in_chunks(cell), steps.length, options)
    if steps.length == 0:
        raise ValueError("expected xs with at least one step, got none")
    return plan(cell, check_state(cell, state), steps, options)


@eqx.filter_jit
def _jacobians(cell: AbstractCell, state: State, steps: Steps) -> Float[Array, "time n n"]:
    cell = hold(cell)
    size = state_vector(state).shape[0]
    _, found = lax.scan(lambda s, at: push(cell, s, jnp.eye(size), at), state, steps)
    return found


@eqx.filter_jit
def _gradient_norms(cell, state, steps: Steps) -> Float[Array, " lags"]:
    matrices = _jacobians(cell, state, steps)
    size = matrices.shape[-1]

    def body(product, jacobian):
        product = product @ jacobian
        return product, jnp.linalg.norm(product)

    start = jnp.eye(size, dtype=matrices.dtype)
    _, norms = lax.scan(body, start, matrices, reverse=True)
    return jnp.concatenate([jnp.linalg.norm(start)[None], norms[::-1]]) / size**0.5
