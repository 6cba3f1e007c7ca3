"""Steps as users write them: `(parameters, state, x) -> (state, y)` with all that jax offers.

`STEPS` holds them by name. The state is `h` (3,), x (2,), the parameters are those of
`parameters()`, where nothing else is said.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy as jsp
import numpy as np
from cases import draw
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import io_callback


H, I, T = 3, 2, 3


class UserStep(NamedTuple):
    step: Callable
    state: Callable[[], Any]
    inputs: Callable[[Any], Any] | None  # of all steps, from xs (T, I)
    smooth: bool  # has derivatives
    forward: bool  # in forward mode too
    quick: bool  # in the default run, as one of its kind
    meshes: bool  # runs on several devices (with callbacks XLA on a CPU waits for itself)
    known: bool | None  # whether the loop takes it apart; None: as the version of jax has it


STEPS: dict[str, UserStep] = {}


def parameters():
    shapes = {"W": (H, I), "U": (H, H), "b": (H,)}
    return {name: draw(i, shape) for i, (name, shape) in enumerate(shapes.items())}


def start():
    return draw(7, (H,))


def step(
    state=start,
    inputs=None,
    *,
    smooth=True,
    forward=True,
    quick=False,
    meshes=True,
    known=False,
    needs=(),
) -> Callable:
    def register(function):
        if all(importlib.util.find_spec(name) for name in needs):
            made = UserStep(function, state, inputs, smooth, forward, quick, meshes, known)
            STEPS[function.__name__.strip("_")] = made
        return function

    return register


def into(p, x):
    return p["W"] @ x


# --- branches and loops ---------------------------------------------------------------------------


@step(quick=True)
def cond(p, h, x):
    h = lax.cond(h.sum() > 0, lambda h: jnp.tanh(p["U"] @ h), lambda h: 0.5 * h, h) + into(p, x)
    return h, h


@step(quick=True)
def cond_without_results(p, h, x):
    lax.cond(x[0] > 0, lambda: (), lambda: ())
    h = jnp.tanh(p["U"] @ h + into(p, x))
    return h, h


@step()
def cond_on_a_constant(p, h, x):
    h = lax.cond(p["b"][0] > 0, jnp.tanh, jnp.sin, p["U"] @ h + into(p, x))
    return h, h


@step(quick=True)
def switch(p, h, x):
    branches = [jnp.tanh, jnp.sin, lambda h: p["U"] @ h]
    h = lax.switch(jnp.int32(abs(x[0]) * 10) % 3, branches, h) + into(p, x)
    return h, h


@step(meshes=False, quick=True)  # XLA partitions this loop wrongly on two devices, in a plain scan
def while_loop(p, h, x):
    n = lax.while_loop(lambda n: n < 3 * x[0] ** 2, lambda n: n + 1, 0.0)
    h = jnp.tanh(lax.stop_gradient(n) + p["U"] @ h)
    return h, h


@step(quick=True)
def fori(p, h, x):
    h = lax.fori_loop(0, 3, lambda _, h: jnp.tanh(p["U"] @ h + into(p, x)), h)
    return h, h


@step()
def scan_inside(p, h, x):
    def inner(h, u):
        return jnp.tanh(u * h + into(p, x)), h.sum()

    h, sums = lax.scan(inner, h, p["U"])
    return h, sums


@step()
def map_inside(p, h, x):
    h = jnp.tanh(lax.map(lambda u: u @ h, p["U"]) + into(p, x))
    return h, h


@step(known=True)
def associative_scan_inside(p, h, x):
    return jnp.tanh(lax.associative_scan(jnp.multiply, 1 + 0.1 * h) + into(p, x)), h


# --- derivatives that somebody wrote --------------------------------------------------------------


@jax.custom_jvp
def _soft(v):
    return jnp.tanh(v)


_soft.defjvp(lambda at, moved: (_soft(*at), moved[0] / (1 + at[0] ** 2)))


@step(quick=True, known=True)
def custom_jvp(p, h, x):
    h = _soft(p["U"] @ h + into(p, x))
    return h, h


@jax.custom_jvp
def _branching(v):
    return jnp.tanh(v)


@_branching.defjvp
def _branching_push(at, moved):
    slope = lax.cond(at[0].sum() > 0, lambda: 1.0, lambda: 0.5)
    return _branching(*at), slope * moved[0]


@step(quick=True, known=True)
def custom_jvp_with_a_branch(p, h, x):
    h = _branching(p["U"] @ h + into(p, x))
    return h, h


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _scaled(v, scale):
    return scale * jnp.sin(v)


@_scaled.defjvp
def _scaled_push(scale, at, moved):
    return _scaled(*at, scale), scale * moved[0]


@step(known=True)
def custom_jvp_with_a_static_argument(p, h, x):
    h = _scaled(p["U"] @ h + into(p, x), 0.7)
    return h, h


@eqx.filter_custom_jvp
def _filtered(v, fixed):
    return jnp.tanh(v) * fixed


@_filtered.def_jvp
def _filtered_push(at, moved):
    if moved[1] is not None:
        raise ValueError("nobody asked for this derivative")
    return _filtered(*at), moved[0] * at[1]


@step(quick=True)
def filter_custom_jvp(p, h, x):
    h = _filtered(p["U"] @ h + into(p, x), lax.stop_gradient(p["b"]))
    return h, h


@jax.custom_vjp
def _spike(v):
    return (v > 0).astype(v.dtype)


_spike.defvjp(lambda v: (_spike(v), v), lambda v, g: (g / (1 + abs(v)) ** 2,))


@step(forward=False, quick=True)
def custom_vjp(p, h, x):
    s = _spike(h - 1)
    h = 0.9 * h * (1 - s) + into(p, x)
    return h, s


@step(forward=False)
def custom_vjp_between_products(p, h, x):
    h = 0.5 * h + p["U"] @ _spike(p["U"] @ h) + into(p, x)
    return h, _spike(h)


@eqx.filter_custom_vjp
def _both(vs):
    return jnp.tanh(vs[0] * vs[1])


@_both.def_fwd
def _both_forward(perturbed, vs):
    return _both(vs), None


@_both.def_bwd
def _both_back(residuals, g, perturbed, vs):
    return 0.5 * g * vs[1], 0.5 * g * vs[0]


@step(forward=False, quick=True)
def filter_custom_vjp(p, h, x):
    h = _both((p["U"] @ h, into(p, x)))
    return h, h


@jax.custom_gradient
def _reversed(v):
    return v, lambda g: (-g,)


@step(forward=False)
def custom_gradient(p, h, x):
    h = jnp.tanh(_reversed(p["U"] @ h) + into(p, x))
    return h, h


@jax.custom_batching.custom_vmap
def _own_vmap(v):
    return jnp.tanh(v)


@_own_vmap.def_vmap
def _own_vmap_rule(size, batched, v):
    return jnp.tanh(v), batched[0]


@step(smooth=False)
def custom_vmap(p, h, x):
    h = _own_vmap(p["U"] @ h + into(p, x))
    return h, h


@step()
def custom_root(p, h, x):
    def newton(f, y):
        return lax.fori_loop(
            0, 8, lambda _, y: y - f(y) / jax.vmap(jax.grad(lambda v: v**3 + v))(y), y
        )

    f = lambda y: y**3 + y - (p["U"] @ h + into(p, x))  # noqa: E731
    h = lax.custom_root(f, jnp.zeros(H), newton, lambda g, y: y / g(jnp.ones_like(y)))
    return h, h


@step()
def custom_linear_solve(p, h, x):
    solve = lambda matvec, b: b / matvec(jnp.ones_like(b))  # noqa: E731
    h = lax.custom_linear_solve(
        lambda v: (2 + p["b"] ** 2) * v, jnp.tanh(p["U"] @ h + into(p, x)), solve, solve
    )
    return h, h


@step(known=True)
def grad_inside(p, h, x):
    energy = lambda h: jnp.sum(jnp.tanh(p["U"] @ h) ** 2) + h @ into(p, x)  # noqa: E731
    h = h - 0.1 * jax.grad(energy)(h)
    return h, h


@step(known=True)
def jacobian_inside(p, h, x):
    h = jax.jacfwd(lambda h: jnp.tanh(p["U"] @ h))(h) @ h + into(p, x)
    return h, h


# --- randomness -----------------------------------------------------------------------------------


@step(lambda: (start(), jr.key(0)), known=True)
def key_in_the_state(p, state, x):
    h, key = state
    key, own = jr.split(key)
    h = jnp.tanh(p["U"] @ h + into(p, x) + jr.normal(own, (H,)))
    return (h, key), h


@step(lambda: (start(), jr.PRNGKey(0)), known=True)
def old_key_in_the_state(p, state, x):
    h, key = state
    key, own = jr.split(key)
    return (jnp.tanh(p["U"] @ h + into(p, x)) * jr.bernoulli(own, 0.5, (H,)), key), h


@step(lambda: (start(), jnp.zeros((), int)), known=True)
def drawn_by_count(p, state, x):
    h, n = state
    h = jnp.tanh(p["U"] @ h + into(p, x) + jr.uniform(jr.fold_in(jr.key(1), n), (H,)))
    return (h, n + 1), h


@step(lambda: (start(), jr.key(0)))
def gamma(p, state, x):
    h, key = state
    return (jnp.tanh(h * jr.gamma(key, 2.0) + into(p, x)), jr.fold_in(key, 1)), h


@step(lambda: (start(), jr.key(0)), known=None)
def permutation(p, state, x):
    h, key = state
    return (jnp.tanh(jr.permutation(key, p["U"] @ h) + into(p, x)), jr.fold_in(key, 1)), h


@step(lambda: (start(), jr.key(0)), known=True)
def categorical(p, state, x):
    h, key = state
    return (jnp.tanh(h[jr.categorical(key, h)] + into(p, x)), jr.fold_in(key, 1)), h


# --- what calls back ------------------------------------------------------------------------------


@step(meshes=False)
def pure_callback(p, h, x):
    out = jax.ShapeDtypeStruct(h.shape, h.dtype)
    twice = jax.pure_callback(
        lambda a: 2 * np.asarray(a), out, lax.stop_gradient(h), vmap_method="expand_dims"
    )
    return jnp.tanh(twice + p["U"] @ h + into(p, x)), h


@step(meshes=False, quick=True)
def debug_callback(p, h, x):
    jax.debug.callback(lambda _: None, x)
    h = jnp.tanh(p["U"] @ h + into(p, x))
    return h, h


@step(meshes=False)
def debug_print(p, h, x):
    jax.debug.print("{}", x[0])
    h = jnp.tanh(p["U"] @ h + into(p, x))
    return h, h


@step(smooth=False, meshes=False)
def io(p, h, x):
    h = h + io_callback(lambda a: np.asarray(a), jax.ShapeDtypeStruct(x.shape, x.dtype), x).sum()
    return h, h


@step(smooth=False, meshes=False)
def ordered_io(p, h, x):
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    h = h + io_callback(lambda a: np.asarray(a), out, x, ordered=True).sum()
    return h, h


@step(meshes=False)
def error_if(p, h, x):
    h = eqx.error_if(jnp.tanh(p["U"] @ h + into(p, x)), jnp.any(h > 1e3), "too large")
    return h, h


# --- linear algebra -------------------------------------------------------------------------------


def _regular(p, h):
    return jnp.eye(H) + 0.1 * p["U"] @ p["U"].T + 0.1 * jnp.outer(h, h)


@step(quick=True)
def solve(p, h, x):
    h = jnp.tanh(jnp.linalg.solve(_regular(p, h), h) + into(p, x))
    return h, h


@step()
def inverse(p, h, x):
    return jnp.tanh(jnp.linalg.inv(_regular(p, h)) @ h + into(p, x)), h


@step()
def cholesky(p, h, x):
    return jnp.tanh(jnp.linalg.cholesky(_regular(p, h)) @ h + into(p, x)), h


@step()
def triangular(p, h, x):
    lower = jnp.tril(_regular(p, h))
    return jnp.tanh(jsp.linalg.solve_triangular(lower, h, lower=True) + into(p, x)), h


@step()
def eigh(p, h, x):
    return jnp.tanh(jnp.linalg.eigh(_regular(p, h))[0] + into(p, x)), h


@step()
def qr(p, h, x):
    return jnp.tanh(jnp.linalg.qr(_regular(p, h))[1] @ h + into(p, x)), h


@step()
def log_determinant(p, h, x):
    return jnp.tanh(jnp.linalg.slogdet(_regular(p, h))[1] + into(p, x)), h


@step()
def expm(p, h, x):
    h = jnp.tanh(jsp.linalg.expm(jnp.outer(h, p["b"])) @ h + into(p, x))
    return h, h


@step(known=True)
def matrix_power(p, h, x):
    return jnp.tanh(jnp.linalg.matrix_power(p["U"], 3) @ h / jnp.linalg.norm(h) + into(p, x)), h


# --- layouts --------------------------------------------------------------------------------------


@step(quick=True, known=True)
def scatter(p, h, x):
    h = jnp.tanh(p["U"] @ h.at[0].add(x[0]).at[1].set(x[1]) + into(p, x))
    return h, h


@step()
def scatter_with_a_product(p, h, x):
    return jnp.tanh(h.at[1].multiply(x[0]).at[2].max(x[1])), h


@step(quick=True, known=True)
def gather(p, h, x):
    h = jnp.tanh(p["U"][jnp.argmax(h)] + h[jnp.array([2, 0, 1])] + into(p, x))
    return h, h


@step(lambda: (start(), jnp.zeros((), int)), known=True)
def dynamic_slices(p, state, x):
    h, n = state
    row = lax.dynamic_slice(p["U"], (n, 0), (1, H))[0]
    h = lax.dynamic_update_slice(jnp.tanh(row * h + into(p, x)), x[:1], (n,))
    return (h, (n + 1) % 2), h


@step(lambda: jnp.zeros((4, I)), quick=True, known=True)
def window(p, last, x):
    last = jnp.concatenate([last[1:], x[None]])
    return last, p["W"] @ last.mean(0)


@step(quick=True, known=True)
def sort(p, h, x):
    h = jnp.tanh(p["U"] @ jnp.sort(h) + into(p, x))
    return h, h[jnp.argsort(h)]


@step()
def top_k(p, h, x):
    values, where = lax.top_k(h, 2)
    return jnp.tanh(p["U"] @ h * values.sum() + where[0] + into(p, x)), values


@step(known=True)
def segment_sum(p, h, x):
    h = jax.ops.segment_sum(p["U"] @ h, jnp.array([0, 0, 2]), H) + into(p, x)
    return jnp.tanh(h), h


@step(known=True)
def laid_out(p, h, x):
    h = jnp.roll(jnp.flip(jnp.pad(h, (1, 1))), 1)[1:-1] + jnp.tile(x, 2)[:H]
    return jnp.tanh(p["U"] @ h), jnp.repeat(h, 2).reshape(2, 3).T


@step(known=True)
def one_hot(p, h, x):
    return jnp.tanh(p["U"] @ jax.nn.one_hot(jnp.argmax(h), H) + 0.5 * h + into(p, x)), h


@step()
def searched(p, h, x):
    where = jnp.searchsorted(jnp.sort(p["b"]), h)
    return jnp.tanh(p["U"] @ h + where + into(p, x)), where


# --- numbers --------------------------------------------------------------------------------------


@step(known=True)
def cumulative(p, h, x):
    h = jnp.cumsum(h) + jnp.cumprod(1 + 0.1 * h) + lax.cummax(p["U"] @ h) + lax.cumlogsumexp(h)
    return jnp.tanh(h + into(p, x)), h


@step(known=True)
def reductions(p, h, x):
    h = jnp.max(h) + jnp.min(h) * jnp.prod(h) + jnp.var(h) + jnp.any(h > 0) + p["U"] @ h
    return jnp.tanh(h + into(p, x)), jnp.argmin(h)


@step(known=True)
def fft(p, h, x):
    h = jnp.fft.fft(p["U"] @ h).real + jnp.fft.irfft(jnp.fft.rfft(h), H)
    return jnp.tanh(h + into(p, x)), h


@step(known=True)
def convolution(p, h, x):
    return jnp.tanh(jnp.convolve(p["U"] @ h, p["b"], mode="same") + into(p, x)), h


@step(lambda: draw(5, (2, H)), known=True)
def einsum(p, h, x):
    h = jnp.einsum("ij,kj,l->ki", p["U"], h, x) + jnp.einsum("ai,bi->ab", h, h).sum()
    return jnp.tanh(h + into(p, x)), h


@step(known=True)
def special(p, h, x):
    h = (
        jsp.special.erf(h)
        + jsp.special.gammaln(2 + h**2)
        + jsp.special.expit(h)
        + jnp.arctan2(h, 1)
    )
    return jnp.tanh(p["U"] @ h + jsp.special.erfinv(0.5 * jnp.tanh(h)) + into(p, x)), h


@step()
def bessel(p, h, x):
    return jnp.tanh(jsp.special.i0e(p["U"] @ h) + into(p, x)), h


@step(known=True)
def activations(p, h, x):
    h = jax.nn.silu(h) + jax.nn.gelu(p["U"] @ h) + jax.nn.softplus(h) + jax.nn.relu(h)
    return jax.nn.softmax(h + jax.nn.logsumexp(h) + into(p, x)), jax.nn.elu(h)


@step(known=True)
def powers(p, h, x):
    h = jnp.sqrt(1 + h**2) + (1 + h**2) ** p["b"] + jnp.cbrt(2 + jnp.sin(h)) + jnp.log1p(h**2)
    return jnp.tanh(p["U"] @ h + into(p, x)), jnp.sinh(h) / jnp.cosh(h)


@step(known=True)
def rounded(p, h, x):
    h = jnp.clip(jnp.round(h, 2) + jnp.floor(h) + h % 0.5 + jnp.sign(h) + p["U"] @ h, -2, 2)
    return jnp.tanh(h + into(p, x)), jnp.isfinite(h)


@step(known=True)
def straight_through(p, h, x):
    z = p["U"] @ h + into(p, x)
    h = z + lax.stop_gradient(jnp.sign(z) - z)
    return h, h


@step(known=True)
def maxima(p, h, x):
    return jnp.where(h > 0, jnp.maximum(p["U"] @ h, h), jnp.minimum(h, 0.1) * into(p, x)), h


# --- states ---------------------------------------------------------------------------------------


class _Inner(NamedTuple):
    c: Any
    n: Any


@step(
    lambda: {"h": start(), "rest": (_Inner(start(), jnp.zeros((), int)), None)},
    quick=True,
    known=True,
)
def nested_state(p, state, x):
    (inner, _) = state["rest"]
    h = jnp.tanh(p["U"] @ state["h"] + into(p, x) + inner.n)
    return {"h": h, "rest": (_Inner(0.9 * inner.c + h, inner.n + 1), None)}, (h, inner.c)


@step(lambda: (jnp.zeros((), int), jnp.zeros(H, bool)), smooth=False, known=True)
def integers_and_flags(p, state, x):
    n, seen = state
    seen = seen ^ (into(p, x) > 0) | (n > 2)
    return (n + seen.sum(), seen), (n, ~seen)


@step(lambda: jnp.zeros(2, jnp.uint8), smooth=False, known=True)
def bytes_that_wrap(p, n, x):
    n = (n << 3) + (n >> 1) + jnp.array([200, 7], jnp.uint8)
    return n, n


@step(lambda: start() + 0.1j, quick=True, known=True)
def complex_state(p, z, x):
    z = jnp.exp(1j * p["b"]) * z * 0.9 + (p["W"] * 1j) @ x + p["U"].astype(complex) @ z
    return z / (1 + abs(z)), z.real


@step(lambda: jnp.zeros(()), known=True)
def scalar_state(p, h, x):
    h = jnp.tanh(p["b"][0] * h + p["b"] @ into(p, x))
    return h, h


@step(lambda: draw(6, (2, 2)), known=True)
def matrix_state(p, h, x):
    h = jnp.tanh(p["W"][:2] @ h + jnp.outer(x, x))
    return h, h @ x


@step(lambda: start().astype(jnp.bfloat16), known=True)
def half_state(p, h, x):
    h = jnp.tanh(p["U"].astype(h.dtype) @ h + into(p, x).astype(h.dtype))
    return h, h.astype(jnp.float32)


@step(lambda: (start(), start().astype(jnp.float32)), quick=True, known=True)
def mixed_dtypes(p, state, x):
    h, low = state
    h = jnp.tanh(p["U"] @ h + low + into(p, x))
    return (h, (0.5 * low + p["b"].astype(low.dtype) + h.astype(low.dtype))), low


@step(lambda: (), known=True)
def no_state(p, state, x):
    return (), jnp.tanh(into(p, x))


@step(lambda: (start(), draw(8, (H,))), known=True)
def a_state_that_stays(p, state, x):
    h, base = state
    h = jnp.tanh(p["U"] @ h + base + into(p, x))
    return (h, base), h


@step(lambda: (start(), start()), known=True)
def states_that_swap(p, state, x):
    return (state[1], jnp.tanh(p["U"] @ state[0] + into(p, x))), state[0]


# --- inputs and outputs ---------------------------------------------------------------------------


@step(inputs=lambda xs: None, quick=True, known=True)
def no_inputs(p, h, x):
    h = jnp.tanh(p["U"] @ h + p["b"])
    return h, h


@step(inputs=lambda xs: {"x": xs, "on": xs[:, 0] > 0, "n": jnp.arange(T)}, known=True)
def many_inputs(p, h, at):
    h = jnp.where(at["on"], jnp.tanh(p["U"] @ h + into(p, at["x"]) + at["n"]), h)
    return h, at["n"]


@step(known=True)
def constants_only(p, h, x):
    return h, (p["b"], 2.0, jnp.arange(3), p["U"] @ p["b"])


@step(known=True)
def no_outputs(p, h, x):
    return jnp.tanh(p["U"] @ h + into(p, x)), None


@step(known=True)
def outputs_of_before(p, h, x):
    return jnp.tanh(p["U"] @ h + into(p, x)), (h, x, 3 * h)


_TABLE = np.linspace(0, 1, H)


@step(known=True)
def numpy_constants(p, h, x):
    h = jnp.tanh((np.eye(H) + 0.1) @ h + _TABLE * into(p, x) + np.float64(0.5))
    return h, h


# --- transformations inside -----------------------------------------------------------------------


@step(quick=True, known=True)
def jit_inside(p, h, x):
    inner = jax.jit(lambda h: jnp.tanh(p["U"] @ h + jnp.arange(3.0)))
    h = jax.jit(lambda h: inner(h) + 1)(h) + into(p, x)
    return h, h


@step(known=True)
def vmap_inside(p, h, x):
    h = jax.vmap(lambda u, h: jnp.tanh(u * h).sum(), (0, None))(p["U"], h) + into(p, x)
    return h, h


@step(known=None)
def vmap_with_a_name(p, h, x):
    h = jax.vmap(lambda h: jnp.tanh(h - lax.pmean(h, "units")), axis_name="units")(p["U"] @ h)
    return h + into(p, x), h


@step(quick=True, known=True)
def checkpoint(p, h, x):
    h = jax.checkpoint(lambda h: jnp.tanh(p["U"] @ jnp.sin(p["U"] @ h)))(h) + into(p, x)
    return h, h


@step()
def checkpoint_of_names(p, h, x):
    policy = jax.checkpoint_policies.save_only_these_names("kept")
    inner = lambda h: jnp.tanh(checkpoint_name(p["U"] @ h, "kept"))  # noqa: E731
    return jax.checkpoint(inner, policy=policy)(h) + into(p, x), h


@step(known=True)
def named_scope(p, h, x):
    with jax.named_scope("gates"):
        h = jnp.tanh(p["U"] @ h + into(p, x))
    return h, h


@step(quick=True, known=True)
def stop_gradient(p, h, x):
    h = jnp.tanh(p["U"] @ lax.stop_gradient(h) + 0.5 * h + into(p, x))
    return h, h


@step()
def optimization_barrier(p, h, x):
    h = lax.optimization_barrier(jnp.tanh(p["U"] @ h + into(p, x)))
    return h, h


@step(known=True)
def reduced_precision(p, h, x):
    h = jnp.tanh(lax.reduce_precision(p["U"] @ h, 8, 20) + into(p, x))
    return h, h


@step(known=True)
def matmul_precision(p, h, x):
    with jax.default_matmul_precision("highest"):
        h = jnp.tanh(p["U"] @ h + into(p, x))
    return h, h


# --- other libraries ------------------------------------------------------------------------------

_GRU = eqx.nn.GRUCell(I, H, key=jr.key(0))
_NORM = eqx.nn.LayerNorm(H)


@step(known=True)
def equinox_cell(p, h, x):
    h = _NORM(_GRU(x.astype(jnp.float32), h.astype(jnp.float32))).astype(h.dtype) + into(p, x)
    return h, h


@step(needs=["lineax"])
def lineax(p, h, x):
    import lineax as lx

    solution = lx.linear_solve(lx.MatrixLinearOperator(_regular(p, h)), h, throw=False)
    h = jnp.tanh(solution.value + into(p, x))
    return h, h


@step(needs=["diffrax"], meshes=False)
def diffrax(p, h, x):
    import diffrax as dx

    term = dx.ODETerm(lambda t, y, args: jnp.tanh(p["U"] @ y + into(p, x)))
    solution = dx.diffeqsolve(term, dx.Euler(), 0.0, 1.0, 0.5, h, throw=False)
    return solution.ys[-1], h
