"""One NumPy float64 step for each cell, written from its paper and not from our code.

`REFERENCES[name](p, state, x, dt, **options)` gives (state, y); `p` holds the cell's arrays.
"""

import numpy as np


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def relu(z):
    return np.maximum(z, 0.0)


def elman(p, h, x, dt, activation=np.tanh):
    h = activation(p.weight_ih @ x + p.weight_hh @ h + p.bias)
    return h, h


def leaky_elman(p, h, x, dt, leak=0.5):
    alpha = 1.0 - (1.0 - leak) ** dt
    h = (1.0 - alpha) * h + alpha * np.tanh(p.weight_ih @ x + p.weight_hh @ h + p.bias)
    return h, h


def wilson_cowan(p, h, x, dt, leak=0.5):
    alpha = 1.0 - (1.0 - leak) ** dt
    h = (1.0 - alpha) * h + alpha * (np.tanh(p.weight_hh @ h + p.bias) + p.weight_ih @ x)
    return h, h


def indrnn(p, h, x, dt, bound=1.0):
    u = np.clip(p.weight_hh, -bound, bound)
    h = relu(p.weight_ih @ x + u * h + p.bias)
    return h, h


def lstm(p, state, x, dt):
    h, c = state
    size = len(h)
    rows = {gate: slice(k * size, (k + 1) * size) for k, gate in enumerate("ifgo")}

    def pre(gate):
        r = rows[gate]
        return p.weight_ih[r] @ x + p.weight_hh[r] @ h + p.bias[r]

    i, f, o = (sigmoid(pre(gate)) for gate in "ifo")
    c = f * c + i * np.tanh(pre("g"))
    h = o * np.tanh(c)
    return (h, c), h


def gru(p, h, x, dt, reset_after=True):
    size = len(h)
    w_r, w_z, w_n = (p.weight_ih[k * size : (k + 1) * size] for k in range(3))
    u_r, u_z, u_n = (p.weight_hh[k * size : (k + 1) * size] for k in range(3))
    b_r, b_z, b_n = (p.bias[k * size : (k + 1) * size] for k in range(3))
    r = sigmoid(w_r @ x + u_r @ h + b_r)
    z = sigmoid(w_z @ x + u_z @ h + b_z)
    if reset_after:
        n = np.tanh(w_n @ x + b_n + r * (u_n @ h + p.bias_n))
    else:
        n = np.tanh(w_n @ x + b_n + u_n @ (r * h))
    h = (1.0 - z) * n + z * h
    return h, h


def mgu(p, h, x, dt):
    size = len(h)
    f = sigmoid(p.weight_ih[:size] @ x + p.weight_hh[:size] @ h + p.bias[:size])
    new = np.tanh(p.weight_ih[size:] @ x + p.weight_hh[size:] @ (f * h) + p.bias[size:])
    h = (1.0 - f) * h + f * new
    return h, h


def _g(z):
    return np.where(z >= 0, z + 0.5, sigmoid(z))


def mingru(p, h, x, dt, g=_g):
    size = len(h)
    z = sigmoid(p.weight_ih[:size] @ x + p.bias[:size])
    h = (1.0 - z) * h + z * g(p.weight_ih[size:] @ x + p.bias[size:])
    return h, h


def minlstm(p, h, x, dt):
    size = len(h)
    pre = p.weight_ih @ x + p.bias
    f, i = sigmoid(pre[:size]), sigmoid(pre[size : 2 * size])
    h = f / (f + i) * h + i / (f + i) * _g(pre[2 * size :])
    return h, h


def lru(p, h, x, dt):
    eigenvalues = np.exp(-np.exp(p.nu_log) + 1j * np.exp(p.theta_log))
    B, C = p.B[0] + 1j * p.B[1], p.C[0] + 1j * p.C[1]
    h = eigenvalues * h + np.exp(p.gamma_log) * (B @ x)
    return h, (C @ h).real + p.D @ x


REFERENCES = {
    "elman": elman,
    "leaky_elman": leaky_elman,
    "wilson_cowan": wilson_cowan,
    "indrnn": indrnn,
    "lstm": lstm,
    "gru": gru,
    "mgu": mgu,
    "mingru": mingru,
    "minlstm": minlstm,
    "lru": lru,
}
