"""State-space cells from the plain arrays of their authors' code."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ..cells.lru import LRUCell
from ..cells.rglru import RGLRUCell
from ..cells.s5 import S5Cell
from ..layers.recurrent import Bidirectional
from ._from_gates import filled
from ._named import Named


def s5_from_arrays(
    arrays: Any = None,
    /,
    *,
    prefix: str = "",
    conj_sym: bool = True,
    clip_eigs: bool = False,
    discretisation: str = "zoh",
    dtype: Any = None,
    **named: Any,
) -> S5Cell | Bidirectional:
    """An `S5Cell` from the parameters of `S5SSM` in the authors' code (lindermanlab/S5).

    | there | shape | here |
    |---|---|---|
    | `Lambda_re`, `Lambda_im` | (P,) | the same |
    | `B` | (P, H, 2), last axis (real, imaginary) | `B`, (2, P, H) |
    | `C` | (H, P, 2) | `C`, (2, H, P) |
    | `D` | (H,) | `D`, the diagonal of (H, H) |
    | `log_step` | (P, 1) or (P,) | `log_step`, (P,) |

    A mapping, in which `prefix` names the part, or keywords. A bidirectional layer, with `C1` and
    `C2` or a `C` of (H, 2 P, 2), becomes a `rz.Bidirectional(..., merge="sum")` of two cells, D in
    the first: the outputs are equal, but what both directions share there are two parameters
    here. `conj_sym`, `clip_eigs` and `discretisation` are those it was trained with. ValueError
    where names or shapes do not fit.
    """
    given = _given(arrays, named, prefix, dtype)
    made = read_s5(given, conj_sym, clip_eigs, discretisation)
    given.finish()
    return made


def read_s5(
    given: Named, conj_sym: bool, clip_eigs: bool, discretisation: str, part: str = ""
) -> S5Cell | Bidirectional:
    """The cells of arrays that are below `part`."""
    Lambda_re = given.take(part + "Lambda_re", None)
    modes = Lambda_re.shape[0]
    B = given.take(part + "B", modes, None, 2)
    size = B.shape[1]
    both = part + "C1" in given or part + "C2" in given
    if both:
        readouts = [given.take(part + name, size, modes, 2) for name in ("C1", "C2")]
    else:
        C = given.take(part + "C", size, None, 2)
        both = C.shape[1] == 2 * modes
        readouts = jnp.split(C, 2, axis=1) if both else [C]
    log_step = given.take(part + "log_step").reshape(-1)
    shared = {
        "Lambda_re": Lambda_re,
        "Lambda_im": given.take(part + "Lambda_im"),
        "B": jnp.moveaxis(B, -1, 0),
        "log_step": log_step,
    }
    D = jnp.diag(given.take(part + "D", size))

    def cell(C: Any, D: Any) -> S5Cell:
        made = S5Cell(
            size,
            size,
            state_size=modes * (2 if conj_sym else 1),
            conj_sym=conj_sym,
            clip_eigs=clip_eigs,
            discretisation=discretisation,
            dtype=given.dtype,
            key=jr.key(0),
        )
        return filled(made, **shared, C=jnp.moveaxis(C, -1, 0), D=D)

    if not both:
        return cell(readouts[0], D)
    one, two = readouts
    return Bidirectional(cell(one, D), cell(two, jnp.zeros_like(D)), merge="sum")


def lru_from_arrays(
    arrays: Any = None,
    /,
    *,
    prefix: str = "",
    dtype: Any = None,
    **named: Any,
) -> LRUCell:
    """An `LRUCell` from the parameters of `LRU` in minimal-LRU (NicolasZucchet/minimal-LRU).

    `nu_log`, `theta_log`, `gamma_log` (N,) are the same; `B_re`, `B_im` (N, H) are stacked to
    `B` (2, N, H), `C_re`, `C_im` (H, N) to `C` (2, H, N), `D` (H,) becomes a diagonal matrix.
    A mapping, in which `prefix` names the part, or keywords. ValueError where names or shapes do
    not fit.
    """
    given = _given(arrays, named, prefix, dtype)
    made = read_lru(given)
    given.finish()
    return made


def read_lru(given: Named, part: str = "") -> LRUCell:
    """The cell of arrays that are below `part`."""
    B_re = given.take(part + "B_re", None, None)
    modes, size = B_re.shape
    cell = LRUCell(size, size, state_size=modes, dtype=given.dtype, key=jr.key(0))
    logs = {name: given.take(part + name) for name in ("nu_log", "theta_log", "gamma_log")}
    C = [given.take(part + name, size, modes) for name in ("C_re", "C_im")]
    return filled(
        cell,
        **logs,
        B=jnp.stack([B_re, given.take(part + "B_im", modes, size)]),
        C=jnp.stack(C),
        D=jnp.diag(given.take(part + "D", size)),
    )


def rglru_from_arrays(arrays: Any, *, prefix: str = "", dtype: Any = None) -> RGLRUCell:
    """An `RGLRUCell` without an input map, and without the root at the first step of a document,
    from the parameters of `RGLRU` in recurrentgemma (google-deepmind/recurrentgemma), of its JAX
    or its PyTorch form.

    | there | shape | here |
    |---|---|---|
    | `a_param` | (units,) | `Lambda` |
    | `a_imag_param`, complex ones only | (units,) | `theta`, divided by 8 |
    | `a_gate.w`, `input_gate.w` | (heads, width, rows) | `weight_gates`, transposed blocks |
    | `a_gate.b`, `input_gate.b` | (heads, rows) | `bias_gates` |

    ValueError where names or shapes do not fit.
    """
    given = Named(arrays, prefix, dtype)
    made = read_rglru(given)
    given.finish()
    return made


def read_rglru(given: Named, part: str = "") -> RGLRUCell:
    """The cell of arrays that are below `part`."""
    Lambda = given.take(part + "a_param", None)
    turning = part + "a_imag_param" in given
    weights = [given.take(f"{part}{name}.w", None, None, None) for name in ("a_gate", "input_gate")]
    blocks, _, rows = weights[0].shape
    biases = [given.take(f"{part}{name}.b", blocks, rows) for name in ("a_gate", "input_gate")]
    theta = given.take(part + "a_imag_param") / 8 if turning else None
    return rglru_cell(Lambda, weights, biases, theta)


def rglru_cell(Lambda: Any, weights: list[Any], biases: list[Any], theta: Any = None) -> RGLRUCell:
    """The cell of the gates of decay and of input, blocks as (heads, width, rows)."""
    blocks, width, _ = weights[0].shape
    cell = eqx.filter_eval_shape(
        lambda: RGLRUCell(
            blocks * width,
            blocks * width,
            blocks=blocks,
            complex_eigenvalues=theta is not None,
            input_map=False,
            root_at_start=False,
            dtype=Lambda.dtype,
            key=jr.key(0),
        )
    )
    return filled(
        cell,
        Lambda=Lambda,
        weight_gates=jnp.stack(weights).swapaxes(-1, -2),
        bias_gates=jnp.stack(biases).reshape(2, -1),
        **({} if theta is None else {"theta": theta}),
    )


def _given(arrays: Any, named: dict[str, Any], prefix: str, dtype: Any):
    if arrays is not None and named:
        raise TypeError(
            f"expected a mapping or keywords, got both: what is {', '.join(named)} beside it?"
        )
    return Named(named if arrays is None else arrays, prefix, dtype)
