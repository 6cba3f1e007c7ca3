#!/usr/bin/env bash
# jax: cuDNN's LSTM may take TF32 where products of float32 were asked for by name.
#
# Versions: jax and jaxlib 0.10.2, numpy 2.3.5; jax 0.12.0.1 does the same.
# Behaviour: under `jax.default_matmul_precision("F32_F32_F32")` the call in `jax.experimental.rnn`
# allows TF32. It refuses it for "highest" and "float32" alone. No device is needed to see this:
# it is what the call is told.
# Why it surprises: matrix products beside it are computed in full there.
# Output seen:
#   highest: TF32 refused
#   tensorfloat32: TF32 allowed
#   F32_F32_F32: TF32 allowed
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'END'
import jax
from jax.experimental import rnn

found = {}
for name in ("highest", "tensorfloat32", "F32_F32_F32"):
    with jax.default_matmul_precision(name):
        found[name] = rnn._lstm_cudnn_allow_tf32(None)
    print(f"{name}: TF32 {'allowed' if found[name] else 'refused'}")
assert found == {"highest": False, "tensorfloat32": True, "F32_F32_F32": True}
END
