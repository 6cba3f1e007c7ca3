#!/usr/bin/env bash
# jax: `pallas_call` with parameters of Mosaic GPU ends in a bare AssertionError since 0.11.
#
# Versions: jax and jaxlib 0.12.0.1, numpy 2.3.5; 0.11.2 does the same, 0.10.2 lowers the call.
# Behaviour: a `pallas.pallas_call` with `compiler_params=mosaic_gpu.CompilerParams()` is lowered
# for CUDA in 0.10.2. Later it fails in an assertion without words; `mosaic_gpu.kernel` is what is
# lowered. Lowering for export shows it without a device.
# Why it surprises: the parameter is still taken, and nothing says what has to be used instead.
# Output seen:
#   jax 0.12.0.1: AssertionError, []
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# These releases need Python 3.12.
for python in "${PYTHON:-python3}" python3.13 python3.12; do
    "$python" -c "import sys; sys.exit(sys.version_info < (3, 12))" 2> /dev/null && break
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.3.5
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'END'
import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jax.experimental.pallas import mosaic_gpu


def kernel(x, y):
    y[...] = x[...] + 1


def run(x):
    call = pallas.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        compiler_params=mosaic_gpu.CompilerParams(),
    )
    return call(x)


unchecked = [jax.export.DisabledSafetyCheck.custom_call("mosaic_gpu_v2")]
export = jax.export.export(jax.jit(run), platforms=["cuda"], disabled_checks=unchecked)
try:
    export(jax.ShapeDtypeStruct((128,), jnp.float32))
    said = "lowered"
except AssertionError as error:
    said = f"AssertionError, {str(error).splitlines()[:1]}"
print(f"jax {jax.__version__}: {said}")
assert said.startswith("AssertionError")
END
