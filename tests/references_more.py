"""One NumPy float64 step for each of the further cells, written from its paper, gate by gate.

As in references.py: `MORE_REFERENCES[name](p, state, x, dt, **options)` gives (state, y). `p` holds
the cell's arrays by their names; a field of several gates has their rows one after another.
"""

import numpy as np
from scipy.special import expit as sigmoid


def relu(z):
    return np.maximum(z, 0.0)


def gates(array, count):
    """The parts of a field, one a gate, in the order of its rows."""
    return np.split(np.asarray(array), count)


# Gated cells with one state, each an average of the past and of a candidate.


def janet(p, h, x, dt, beta=1.0):
    """van der Westhuizen & Lasenby 2018: the cell and the output are the same."""
    W_f, W_c = gates(p.weight_ih, 2)
    U_f, U_c = gates(p.weight_hh, 2)
    b_f, b_c = gates(p.bias, 2)
    s = U_f @ h + W_f @ x + b_f
    candidate = np.tanh(U_c @ h + W_c @ x + b_c)
    c = sigmoid(s) * h + (1.0 - sigmoid(s - beta)) * candidate
    return c, c


def ugrnn(p, h, x, dt, activation=np.tanh):
    """Collins et al. 2016, with b_fg inside the bias."""
    W_g, W_c = gates(p.weight_ih, 2)
    U_g, U_c = gates(p.weight_hh, 2)
    b_g, b_c = gates(p.bias, 2)
    c = activation(U_c @ h + W_c @ x + b_c)
    g = sigmoid(U_g @ h + W_g @ x + b_g)
    h = g * h + (1.0 - g) * c
    return h, h


def minimal_rnn(p, h, x, dt):
    """Chen 2017: u = sigma(U_h h + U_z z + b_u)."""
    U_h, U_z = gates(p.weight_hh, 2)
    z = np.tanh(p.weight_ih @ x + p.bias_ih)
    u = sigmoid(U_h @ h + U_z @ z + p.bias)
    h = u * h + (1.0 - u) * z
    return h, h


def fastrnn(p, h, x, dt, activation=np.tanh):
    """Kusupati et al. 2018: h' = alpha h~ + beta h, both numbers sigmoids of what is trained."""
    alpha, beta = sigmoid(p.alpha[0]), sigmoid(p.beta[0])
    candidate = activation(p.weight_ih @ x + p.weight_hh @ h + p.bias)
    h = alpha * candidate + beta * h
    return h, h


def fastgrnn(p, h, x, dt, activation=np.tanh):
    """Kusupati et al. 2018: the gate and the candidate share W and U, which may be W_1 W_2^T."""
    W, U = p.weight_ih, p.weight_hh
    if hasattr(p, "weight_ih_right"):
        W = W @ p.weight_ih_right
    if hasattr(p, "weight_hh_right"):
        U = U @ p.weight_hh_right
    b_z, b_h = gates(p.bias, 2)
    zeta, nu = sigmoid(p.zeta[0]), sigmoid(p.nu[0])
    z = sigmoid(W @ x + U @ h + b_z)
    candidate = activation(W @ x + U @ h + b_h)
    h = (zeta * (1.0 - z) + nu) * candidate + z * h
    return h, h


def ligru(p, h, x, dt, activation=relu, eps=1e-5):
    """Ravanelli et al. 2018; the batch norms of W_z x and W_h x as layer norms, or left out."""
    from_x = []
    for gate, W in enumerate(gates(p.weight_ih, 2)):
        z = W @ x
        if hasattr(p, "norm_weight"):
            z = (z - z.mean()) / np.sqrt(z.var() + eps)
            z = z * gates(p.norm_weight, 2)[gate] + gates(p.norm_bias, 2)[gate]
        elif hasattr(p, "bias"):
            z = z + gates(p.bias, 2)[gate]
        from_x.append(z)
    U_z, U_h = gates(p.weight_hh, 2)
    z = sigmoid(from_x[0] + U_z @ h)
    candidate = activation(from_x[1] + U_h @ h)
    h = z * h + (1.0 - z) * candidate
    return h, h


def brc(p, h, x, dt):
    """Vecoven et al. 2021: from its past a unit sees itself alone."""
    U_a, U_c, U = gates(p.weight_ih, 3)
    w_a, w_c = gates(p.weight_hh, 2)
    b_a, b_c = gates(p.bias, 2)
    a = 1.0 + np.tanh(U_a @ x + w_a * h + b_a)
    c = sigmoid(U_c @ x + w_c * h + b_c)
    h = c * h + (1.0 - c) * np.tanh(U @ x + a * h)
    return h, h


def nbrc(p, h, x, dt):
    """Vecoven et al. 2021: the two gates see all units."""
    U_a, U_c, U = gates(p.weight_ih, 3)
    W_a, W_c = gates(p.weight_hh, 2)
    b_a, b_c = gates(p.bias, 2)
    a = 1.0 + np.tanh(U_a @ x + W_a @ h + b_a)
    c = sigmoid(U_c @ x + W_c @ h + b_c)
    h = c * h + (1.0 - c) * np.tanh(U @ x + a * h)
    return h, h


def star(p, h, x, dt):
    """Turkoglu et al. 2021: the candidate sees x alone, and all of it goes through a tanh."""
    W_k, W_z = gates(p.weight_ih, 2)
    b_k, b_z = gates(p.bias, 2)
    z = np.tanh(W_z @ x + b_z)
    k = sigmoid(W_k @ x + p.weight_hh @ h + b_k)
    h = np.tanh((1.0 - k) * h + k * z)
    return h, h


def cfn(p, h, x, dt):
    """Laurent & von Brecht 2017: h' = theta tanh(h) + eta tanh(W x)."""
    V_theta, V_eta, W = gates(p.weight_ih, 3)
    U_theta, U_eta = gates(p.weight_hh, 2)
    b_theta, b_eta = gates(p.bias, 2)
    theta = sigmoid(U_theta @ h + V_theta @ x + b_theta)
    eta = sigmoid(U_eta @ h + V_eta @ x + b_eta)
    h = theta * np.tanh(h) + eta * np.tanh(W @ x)
    return h, h


def atr(p, h, x, dt):
    """Zhang et al. 2018: twin gates of the sum and of the difference."""
    from_x = p.weight_ih @ x + p.bias
    from_h = p.weight_hh @ h
    i, f = sigmoid(from_x + from_h), sigmoid(from_x - from_h)
    h = i * from_x + f * h
    return h, h


def rhn(p, s, x, dt):
    """Zilly et al. 2017 with c = 1 - t: the input comes in at the first depth alone."""
    W_h, W_t = gates(p.weight_ih, 2)
    for depth in range(len(p.weight_hh)):
        R_h, R_t = gates(p.weight_hh[depth], 2)
        b_h, b_t = gates(p.bias[depth], 2)
        first = 1.0 if depth == 0 else 0.0
        h = np.tanh(first * (W_h @ x) + R_h @ s + b_h)
        t = sigmoid(first * (W_t @ x) + R_t @ s + b_t)
        s = h * t + s * (1.0 - t)
    return s, s


def tau_gru(p, state, x, dt):
    """Erichson et al. 2022: `past` holds the last l states before h, the oldest first."""
    h, past = state
    U_1, U_2, U_3, U_4 = gates(p.weight_ih, 4)
    W_1, W_2, W_3, W_4 = gates(p.weight_hh, 4)
    b_1, b_2, b_3, b_4 = gates(p.bias, 4)
    delayed = past[0]
    u = np.tanh(W_1 @ h + U_1 @ x + b_1)
    z = np.tanh(W_2 @ delayed + U_2 @ x + b_2)
    g = sigmoid(W_3 @ h + U_3 @ x + b_3)
    a = sigmoid(W_4 @ h + U_4 @ x + b_4)
    new = (1.0 - g) * h + g * (u + a * z)
    return (new, np.concatenate([past[1:], h[None]])), new


# Kin of the LSTM, with a state (h, c).


def ur_lstm(p, state, x, dt):
    """Gu et al. 2020: r moves the effective gate g between f^2 and 1 - (1 - f)^2."""
    h, c = state
    W_f, W_r, W_u, W_o = gates(p.weight_ih, 4)
    U_f, U_r, U_u, U_o = gates(p.weight_hh, 4)
    b_f, b_r, b_u, b_o = gates(p.bias, 4)
    f = sigmoid(W_f @ x + U_f @ h + b_f + p.bias_gate)
    r = sigmoid(W_r @ x + U_r @ h + b_r - p.bias_gate)
    u = np.tanh(W_u @ x + U_u @ h + b_u)
    o = sigmoid(W_o @ x + U_o @ h + b_o)
    g = r * (1.0 - (1.0 - f) ** 2) + (1.0 - r) * f**2
    c = g * c + (1.0 - g) * u
    h = o * np.tanh(c)
    return (h, c), h


def indy_lstm(p, state, x, dt):
    """Gonnet & Deselaers 2019: each U is a diagonal."""
    h, c = state
    W_i, W_f, W_g, W_o = gates(p.weight_ih, 4)
    u_i, u_f, u_g, u_o = gates(p.weight_hh, 4)
    b_i, b_f, b_g, b_o = gates(p.bias, 4)
    f = sigmoid(W_f @ x + u_f * h + b_f)
    i = sigmoid(W_i @ x + u_i * h + b_i)
    o = sigmoid(W_o @ x + u_o * h + b_o)
    c = f * c + i * np.tanh(W_g @ x + u_g * h + b_g)
    h = o * np.tanh(c)
    return (h, c), h


def multiplicative_lstm(p, state, x, dt):
    """Krause et al. 2016: m stands where an LSTM has h."""
    h, c = state
    m = (p.weight_mx @ x) * (p.weight_mh @ h)
    W_i, W_f, W_g, W_o = gates(p.weight_ih, 4)
    U_i, U_f, U_g, U_o = gates(p.weight_hh, 4)
    b_i, b_f, b_g, b_o = gates(p.bias, 4)
    i = sigmoid(W_i @ x + U_i @ m + b_i)
    f = sigmoid(W_f @ x + U_f @ m + b_f)
    o = sigmoid(W_o @ x + U_o @ m + b_o)
    c = f * c + i * np.tanh(W_g @ x + U_g @ m + b_g)
    h = o * np.tanh(c)
    return (h, c), h


def ran(p, state, x, dt, activation=np.tanh):
    """Lee et al. 2017: the content is linear in x, and c is a weighted sum of the inputs."""
    h, c = state
    W_c, W_i, W_f = gates(p.weight_ih, 3)
    U_i, U_f = gates(p.weight_hh, 2)
    b_i, b_f = gates(p.bias, 2)
    i = sigmoid(U_i @ h + W_i @ x + b_i)
    f = sigmoid(U_f @ h + W_f @ x + b_f)
    c = i * (W_c @ x) + f * c
    h = activation(c)
    return (h, c), h


# Cells whose gates see the input alone; pairs that turn.


def sru(p, c, x, dt, recurrent=False, highway_bias=0.0, rescale=True):
    """Lei et al. 2018, eqs. 1-4: both gates see c before the step; alpha scales a plain skip."""
    H = len(c)
    W, W_f, W_r, *skip = gates(p.weight_ih, len(p.weight_ih) // H)
    v_f, v_r = gates(getattr(p, "weight_hh", np.zeros(2 * H)), 2)
    b_f, b_r = gates(p.bias, 2)
    f = sigmoid(W_f @ x + v_f * c + b_f)
    r = sigmoid(W_r @ x + v_r * c + b_r)
    alpha = np.sqrt(1.0 + 2.0 * np.exp(highway_bias)) if rescale else 1.0
    c = f * c + (1.0 - f) * (W @ x)
    h = r * c + (1.0 - r) * (skip[0] @ x if skip else alpha * x)
    return c, h


def qrnn(p, c, x, dt, pooling="fo"):
    """Bradbury et al. 2017, eqs. 3-5, with a window of one step."""
    H = len(c)
    W, b = (gates(array, len(p.weight_ih) // H) for array in (p.weight_ih, p.bias))
    z, f = np.tanh(W[0] @ x + b[0]), sigmoid(W[1] @ x + b[1])
    i = sigmoid(W[3] @ x + b[3]) if pooling == "ifo" else 1.0 - f
    c = f * c + i * z
    return c, c if pooling == "f" else sigmoid(W[2] @ x + b[2]) * c


def rtu(p, state, x, dt, activation=relu, hidden=5):
    """Elelimy et al. 2024: pairs that turn by theta and shrink to r; the first `hidden` outputs."""
    r, theta = np.exp(-np.exp(p.nu_log)), np.exp(p.theta_log)
    c_1, c_2 = state
    gamma = np.sqrt(1.0 - r**2)
    g, phi = r * np.cos(theta), r * np.sin(theta)
    new_1 = g * c_1 - phi * c_2 + gamma * (p.weight_ih[0] @ x)
    new_2 = g * c_2 + phi * c_1 + gamma * (p.weight_ih[1] @ x)
    y = activation(np.concatenate([new_1, new_2]))
    return np.stack([new_1, new_2]), y[:hidden]


MORE_REFERENCES = {
    "janet": janet,
    "ugrnn": ugrnn,
    "minimal_rnn": minimal_rnn,
    "fastrnn": fastrnn,
    "fastgrnn": fastgrnn,
    "ligru": ligru,
    "brc": brc,
    "nbrc": nbrc,
    "star": star,
    "cfn": cfn,
    "atr": atr,
    "rhn": rhn,
    "tau_gru": tau_gru,
    "ur_lstm": ur_lstm,
    "indy_lstm": indy_lstm,
    "multiplicative_lstm": multiplicative_lstm,
    "ran": ran,
    "sru": sru,
    "qrnn": qrnn,
    "rtu": rtu,
}
