#!/usr/bin/env bash
# rnn-jax: the recurrent map of the unitary RNN is neither unitary nor linear.
#
# Versions: rnn-jax 0.0.2 (its file of cells alone, so without torch), jax and jaxlib 0.11.2,
# equinox 0.13.8, numpy 2.3.5; Python 3.12 or 3.13.
# Behaviour: W = D3 R2 F^-1 D2 P R1 F D1 of `UnitaryEvolutionRNNCell` sends the zero state to one of
# norm 4.67 and another state of norm 2.70 to norm 5.04. Its reflection reads
# 1 - 2 v (v . h) / |v|, where a reflection is h - 2 v (v* . h) / |v|^2.
# Why it surprises: that |W h| = |h| is what this cell is for (Arjovsky, Shah, Bengio 2016,
# arXiv:1511.06464), and the docstring of the call says "with W a unitary matrix".
# Output seen:
#   |h| 2.70, |W h| 5.04, |W 0| 4.67
#   with reflections as in the paper: |W h| 2.70, |W 0| 0.00
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.11.2 jaxlib==0.11.2 equinox==0.13.8 numpy==2.3.5
"$folder/venv/bin/pip" install -q --no-deps rnn-jax==0.0.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'END'
import jax
import jax.numpy as jnp
import numpy as np
from rnn_jax.cells.unitary import UnitaryEvolutionRNNCell

cell = UnitaryEvolutionRNNCell(2, 8, key=jax.random.key(0))
h = np.asarray(jax.random.normal(jax.random.key(1), (8,))) + 0j


def reflect(v, h):
    return h - 2 * v * np.vdot(v, h) / np.vdot(v, v)


def paper(h):
    d1, d2, d3 = (np.exp(1j * np.asarray(d)) for d in (cell.diag1, cell.diag2, cell.diag3))
    h = reflect(np.asarray(cell.v1), np.fft.fft(d1 * h))[np.asarray(cell.perm)]
    return d3 * reflect(np.asarray(cell.v2), np.fft.ifft(d2 * h))


states = h, cell._hh_layer(h), cell._hh_layer(0 * h)
norm, moved, of_zero = (float(jnp.linalg.norm(state)) for state in states)
right, zero = np.linalg.norm(paper(h)), np.linalg.norm(paper(0 * h))
print(f"|h| {norm:.2f}, |W h| {moved:.2f}, |W 0| {of_zero:.2f}")
print(f"with reflections as in the paper: |W h| {right:.2f}, |W 0| {zero:.2f}")
assert abs(moved - norm) > 1 and of_zero > 1 and abs(right - norm) < 1e-4 and zero == 0
END
