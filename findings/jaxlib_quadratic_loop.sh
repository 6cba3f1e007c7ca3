#!/usr/bin/env bash
# jaxlib 0.11.1 on a CPU: a loop over time takes time that grows with the square of its length.
#
# Versions: jax and jaxlib 0.11.1, and 0.11.2 beside it, numpy 2.3.5; Python 3.12, Linux x86-64.
# Behaviour: `lax.scan` that returns rows of 4 numbers takes 12 to 16 times as long for 4 times the
# steps with 0.11.1, as if every step copied all rows. With 0.11.2 (and 0.11.0) it is linear.
# Why it surprises: nothing in the program changes, and a loop over time is linear by its meaning;
# a patch release makes 40 000 steps more than a thousand times slower, and the next one mends it.
# Output seen:
#   0.11.1: 10000 steps 0.2048 s, 40000 steps 2.3707 s
#   0.11.2: 10000 steps 0.0000 s, 40000 steps 0.0001 s
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"

cat > "$folder/loop.py" <<'END'
import time

import jax
import jax.numpy as jnp


def step(h, x):
    h = 0.5 * h + x
    return h, h


def seconds(steps):
    xs = jnp.ones((steps, 4))
    run = jax.jit(lambda xs: jax.lax.scan(step, jnp.zeros(4), xs)[1]).lower(xs).compile()
    run(xs).block_until_ready()
    found = []
    for _ in range(5):
        began = time.perf_counter()
        run(xs).block_until_ready()
        found.append(time.perf_counter() - began)
    return min(found)


print(jax.__version__, seconds(10_000), seconds(40_000))
END

for version in 0.11.1 0.11.2; do
    "$folder/venv/bin/pip" install -q "jax==$version" "jaxlib==$version" numpy==2.3.5
    JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/loop.py" >> "$folder/times"
done
awk '{ printf "%s: 10000 steps %.4f s, 40000 steps %.4f s\n", $1, $2, $3 }' "$folder/times"
# Quadratic there, and a hundred times slower than the version after it.
awk 'NR == 1 { short = $2; long = $3 } NR == 2 { next_one = $3 }
     END { exit !(long > 6 * short && long > 100 * next_one) }' "$folder/times"
