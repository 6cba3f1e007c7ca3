"""Models as programs that run without this library."""

from typing import Any

import jax
from jax import export

from ._programs import Asked, program_of


def to_stablehlo(
    model: Any,
    *,
    like: Any = None,
    step: bool = False,
    mask: bool = False,
    dt: bool = False,
    length: int | None = None,
    platforms: tuple[str, ...] | None = None,
) -> export.Exported:
    """A model with its weights as StableHLO, for any batch size and any length, or one step of it.

        exported = rz.interop.to_stablehlo(model)
        Path("model.stablehlo").write_bytes(exported.serialize())

        # elsewhere, with jax and nothing else
        ys = jax.export.deserialize(Path("model.stablehlo").read_bytes()).call(xs)

    **Arguments:**

    - `model`: a cell, a layer or a model, or any Equinox module that is called with one sequence,
      `model(xs)`. It is exported in inference mode, its linear cells step by step, since the
      parallel form needs to know its length.
    - `like`: an example of xs, (time, features), for a module that does not say its `input_size`;
      the features and the dtype count. With `step` one of x, (features,).
    - `step`: one step instead, see below.
    - `mask`, `dt`: whether the program takes a mask (batch, time) bool and time steps (batch,
      time) behind xs.
    - `length`: the one length that the program is to take, for a module whose operations need to
      know it.
    - `platforms`: such as `("cpu", "cuda")`; by default the one in use.

    The program takes xs of shape (batch, time, input_size) in the model's dtype, or integer tokens
    (batch, time) where the model reads those, and gives what `rz.batch(model)` gives. It raises
    nothing at run time: an embedding takes a token that it does not have for the nearest one.

    With `step` the program is `(state, x) -> (state, y)`, with `dt` `(state, x, dt) -> (state, y)`,
    of one sample, x (input_size,) or a token (), dt a scalar: what `rz.Stream(model).step` gives,
    with constants computed now. The state is a dict of arrays, which `exported_state(model)` gives
    for the first step: keep it in a file of NumPy beside the program. A complex part of the state
    is two real ones.

        np.savez("state.npz", **rz.interop.exported_state(model))
        exported = rz.interop.to_stablehlo(model, step=True)

        # elsewhere
        state = dict(np.load("state.npz"))
        state, y = step.call(state, x)

    Writing and reading files needs flatbuffers, the extra `export`. TypeError for what is no
    model, for a module without `like`, for `dt` of a model without time, and with `step` for what
    cannot step; ValueError for `mask` with `step`.
    """
    program = program_of(model, Asked(like, step, mask, dt, length))
    return export.export(jax.jit(program.run), platforms=platforms)(*program.shapes)
