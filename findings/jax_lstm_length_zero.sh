#!/usr/bin/env bash
# jax: the reference LSTM gives a sequence of length 0 the final state of its padding.
#
# Versions: jax and jaxlib 0.10.2, numpy 2.3.5; jax 0.12.0.1 does the same.
# Behaviour: `jax.experimental.rnn.lstm_ref` with `seq_lengths` of 0 gives outputs of zero, and as
# the final h and c those after all steps of the padded array, instead of the initial ones.
# Why it surprises: an empty sequence in a batch is ordinary (a user without events, a masked
# sample), its outputs are right, and the state that goes on to the next layer is made of padding.
# Output seen:
#   outputs of length 0: [0.0, 0.0, 0.0, 0.0]
#   final h of length 0: 0.9805
#   final h of length 4: 0.9805
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'END'
import jax.numpy as jnp
from jax.experimental import rnn

steps, size = 4, 1
x = jnp.ones((2, steps, size))
h = c = jnp.zeros((1, 2, size))
weights = jnp.ones(rnn.get_num_params_in_lstm(size, size, 1, False))
arrays = rnn.unpack_lstm_weights(weights, size, size, 1, False)
lengths = jnp.array([0, steps], jnp.int32)
y, h_n, _ = rnn.lstm_ref(x, h, c, *arrays, lengths, size, size, 1, 0.0, False)
print("outputs of length 0:", [round(float(v), 4) for v in y[0, :, 0]])
print("final h of length 0:", round(float(h_n[0, 0, 0]), 4))
print("final h of length 4:", round(float(h_n[0, 1, 0]), 4))
assert not y[0].any()
assert h_n[0, 0, 0] == h_n[0, 1, 0] != 0
END
