#!/usr/bin/env bash
# optax with jax: gradient descent on a complex parameter runs away along the imaginary axis.
#
# Versions: optax 0.2.8, jax and jaxlib 0.10.2, numpy 2.3.5; Python 3.11 to 3.13.
# Behaviour: the distance |z - (1 + i)|^2 is descended from 0 by `optax.sgd(0.1)` with the gradient
# of `jax.grad`, 50 steps: the real part finds 1, the imaginary part -9099. `optax.adam` leaves too.
# With the conjugate of the gradient, or on the two real parts, both go to 1 + i.
# Why it surprises: each library does as it says. `jax.grad` of a real function gives df/dx - i df/dy
# and optax subtracts what it is given; together, as every tutorial joins them, they climb. Wrapping
# in `optax.contrib.split_real_and_imaginary`, made for complex parameters, does not mend it.
# Output seen:
#   sgd: 0.99999-9099.4j
#   split: 0.99999-9099.4j
#   adam: 1.0138-5.5482j
#   conjugate: 0.99999+0.99999j
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q optax==0.2.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'END'
import jax
import jax.numpy as jnp
import optax
from optax.contrib import split_real_and_imaginary

TARGET = 1 + 1j


def descend(optimizer, of_gradient):
    z = jnp.complex64(0)
    state = optimizer.init(z)
    for _ in range(50):
        gradient = jax.grad(lambda z: jnp.abs(z - TARGET) ** 2)(z)
        change, state = optimizer.update(of_gradient(gradient), state, z)
        z = optax.apply_updates(z, change)
    return complex(z)


plain = descend(optax.sgd(0.1), lambda g: g)
split = descend(split_real_and_imaginary(optax.sgd(0.1)), lambda g: g)
adam = descend(optax.adam(0.1), lambda g: g)
conjugate = descend(optax.sgd(0.1), jnp.conj)
for name, z in (("sgd", plain), ("split", split), ("adam", adam), ("conjugate", conjugate)):
    print(f"{name}: {z:.5g}")
assert plain.imag < -1000 and split.imag < -1000 and adam.imag < -1
assert abs(plain.real - 1) < 1e-3 and abs(conjugate - TARGET) < 1e-3
END
