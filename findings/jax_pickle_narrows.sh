#!/usr/bin/env bash
# jax: an array of 64 bits that is pickled comes back with 32 bits, and other numbers, in silence.
#
# Versions: jax and jaxlib 0.10.2, numpy 2.3.5; Python 3.11 to 3.13. jax 0.12.0.1 does the same.
# Behaviour: arrays made and pickled under `jax.enable_x64(True)` and read outside of it are float32
# and int32; 3000000000 comes back as -1294967296, 1 + 1e-9 as 1. Warnings are errors in this run,
# and there is none. `jax.device_put` of the very same live array keeps its 64 bits outside.
# Why it surprises: the file holds all 64 bits, and reading it under `enable_x64` gives them; the
# reader's setting changes the data. Sums kept in float64 for their exactness lose it on the way
# through a worker process or a checkpoint, and nothing says so. `np.asarray` before it is safe.
# Output seen:
#   read without: float32 1.0, int32 -1294967296
#   read with: float64 1.000000001, int64 3000000000
#   the live array, put again without: float64
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W error - <<'END'
import pickle

import jax
import jax.numpy as jnp

with jax.enable_x64(True):
    live = jnp.array(1 + 1e-9)
    file = pickle.dumps((live, jnp.array(3_000_000_000)))
    within = pickle.loads(file)
without = pickle.loads(file)
put = jax.device_put(live)
for name, (real, integer) in (("without", without), ("with", within)):
    print(f"read {name}: {real.dtype} {float(real)}, {integer.dtype} {int(integer)}")
print("the live array, put again without:", put.dtype)
assert [(str(x.dtype), float(x)) for x in within] == [("float64", 1 + 1e-9), ("int64", 3e9)]
assert [(str(x.dtype), float(x)) for x in without] == [("float32", 1.0), ("int32", 3e9 - 2**32)]
assert put.dtype == "float64"
END
