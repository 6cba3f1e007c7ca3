#!/usr/bin/env bash
# jax: an int64 NumPy array wraps round without a word where the same numbers in a list are refused.
#
# Versions: jax and jaxlib 0.10.2, numpy 2.3.5; Python 3.11 to 3.13; 64 bits not enabled. jax
# 0.12.0.1 does the same.
# Behaviour: `jnp.asarray([3_000_000_000])` raises OverflowError; `jnp.asarray` of the NumPy array
# of the same number gives -1294967296, with warnings turned into errors. The argument of a jitted
# function, `jnp.diff` and `.astype(float32)` after it give the wrapped number too.
# Why it surprises: the documentation says that arrays become 32 bits wide, which one reads as less
# precision. Time stamps in milliseconds come as int64 arrays: sixty days become 889032704, while
# the check in the list form makes one believe that what does not fit is an error.
# Output seen:
#   list: OverflowError
#   array: -1294967296
#   jitted: -1294967296
#   diff of [0, 5184000000]: 889032704
#   as float32 afterwards: -1294967296.0
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W error - <<'END'
import jax
import jax.numpy as jnp
import numpy as np

number = 3_000_000_000
array = np.array([number])
assert array.dtype == np.int64
try:
    jnp.asarray([number])
    said = "no error"
except OverflowError as error:
    said = type(error).__name__
print("list:", said)
found = {
    "array": jnp.asarray(array),
    "jitted": jax.jit(lambda x: x)(array),
    "diff of [0, 5184000000]": jnp.diff(np.array([0, 5_184_000_000])),
    "as float32 afterwards": jnp.asarray(array).astype(jnp.float32),
}
for name, value in found.items():
    print(f"{name}: {value[0]}")
assert said == "OverflowError"
wrapped = number - 2**32
assert [int(v[0]) for v in found.values()] == [wrapped, wrapped, 5_184_000_000 - 2**32, wrapped]
END
