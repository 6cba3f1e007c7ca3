"""State-space cells from the plain arrays of their authors' code."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..init import working_float
from ..ssm import LRUCell, S5Cell
from ._cells import filled


def s5_from_arrays(
    *,
    Lambda_re: Any,
    Lambda_im: Any,
    B: Any,
    C: Any,
    D: Any,
    log_step: Any,
    conj_sym: bool = True,
    clip_eigs: bool = False,
    discretisation: str = "zoh",
    dtype: Any = None,
) -> S5Cell:
    """An `S5Cell` from the parameters of `S5SSM` in the authors' code.

    | there | shape | here |
    |---|---|---|
    | `Lambda_re`, `Lambda_im` | (P,) | the same |
    | `B` | (P, H, 2), last axis (real, imaginary) | `B`, (2, P, H) |
    | `C` | (H, P, 2) | `C`, (2, H, P) |
    | `D` | (H,) | `D`, the diagonal of (H, H) |
    | `log_step` | (P, 1) or (P,) | `log_step`, (P,) |

    A bidirectional layer has `C1` and `C2`: two calls, one for each cell of a
    `rz.Bidirectional`, and D in one of them only. `conj_sym`, `clip_eigs` and
    `discretisation` are those it was trained with. ValueError where shapes do not fit.
    """
    dtype = working_float(dtype)
    Lambda_re = jnp.asarray(Lambda_re, dtype)
    modes, size = Lambda_re.shape[0], np.shape(B)[1]
    cell = S5Cell(
        size,
        size,
        state_size=modes * (2 if conj_sym else 1),
        conj_sym=conj_sym,
        clip_eigs=clip_eigs,
        discretisation=discretisation,
        dtype=dtype,
        key=jr.key(0),
    )
    return filled(
        cell,
        Lambda_re=Lambda_re,
        Lambda_im=jnp.asarray(Lambda_im, dtype),
        B=jnp.moveaxis(jnp.asarray(B, dtype), -1, 0),
        C=jnp.moveaxis(jnp.asarray(C, dtype), -1, 0),
        D=jnp.diag(jnp.asarray(D, dtype)),
        log_step=jnp.asarray(log_step, dtype).reshape(-1),
    )


def lru_from_arrays(
    *,
    nu_log: Any,
    theta_log: Any,
    gamma_log: Any,
    B_re: Any,
    B_im: Any,
    C_re: Any,
    C_im: Any,
    D: Any,
    dtype: Any = None,
) -> LRUCell:
    """An `LRUCell` from the parameters of minimal-LRU, by their names there.

    `nu_log`, `theta_log`, `gamma_log` (N,) are the same; `B_re`, `B_im` (N, H) are stacked to
    `B` (2, N, H), `C_re`, `C_im` (H, N) to `C` (2, H, N), `D` (H,) becomes a diagonal matrix.
    ValueError where shapes do not fit.
    """
    dtype = working_float(dtype)
    modes, size = np.shape(B_re)
    cell = LRUCell(size, size, state_size=modes, dtype=dtype, key=jr.key(0))
    return filled(
        cell,
        nu_log=jnp.asarray(nu_log, dtype),
        theta_log=jnp.asarray(theta_log, dtype),
        gamma_log=jnp.asarray(gamma_log, dtype),
        B=jnp.stack([jnp.asarray(B_re, dtype), jnp.asarray(B_im, dtype)]),
        C=jnp.stack([jnp.asarray(C_re, dtype), jnp.asarray(C_im, dtype)]),
        D=jnp.diag(jnp.asarray(D, dtype)),
    )
