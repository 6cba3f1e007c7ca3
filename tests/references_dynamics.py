"""One NumPy float64 step for cells of continuous time, memory and population dynamics.

As in references.py: `DYNAMICS_REFERENCES[name](p, state, x, dt, **options)` gives (state, y).
"""

import numpy as np
from scipy.linalg import expm
from scipy.special import expit as sigmoid


def relu(z):
    return np.maximum(z, 0.0)


def gates(array, count):
    """The parts of a field, one a gate, in the order of its rows."""
    return np.split(np.asarray(array), count)


# Missing values and uneven time.


def gru_d(p, state, x, dt):
    """Che et al. 2018, eqs. 10-16: NaN is a value not seen, and decay is of inputs and state."""
    h, last, age = state
    m = 1.0 - np.isnan(x)
    delta = age + dt
    gamma_x = np.exp(-np.maximum(0.0, p.decay_x * delta + p.bias_decay_x))
    gamma_h = np.exp(-np.maximum(0.0, p.decay_h @ delta + p.bias_decay_h))
    seen = np.where(m > 0.0, x, 0.0)
    filled = m * seen + (1.0 - m) * (gamma_x * last + (1.0 - gamma_x) * p.mean)
    h = gamma_h * h
    W_r, W_z, W = gates(p.weight_ih, 3)
    U_r, U_z, U = gates(p.weight_hh, 3)
    V_r, V_z, V = gates(p.weight_mask, 3)
    b_r, b_z, b = gates(p.bias, 3)
    z = sigmoid(W_z @ filled + U_z @ h + V_z @ m + b_z)
    r = sigmoid(W_r @ filled + U_r @ h + V_r @ m + b_r)
    candidate = np.tanh(W @ filled + U @ (r * h) + V @ m + b)
    h = (1.0 - z) * h + z * candidate
    return (h, m * seen + (1.0 - m) * last, (1.0 - m) * delta), h


def t_lstm(p, state, x, dt, decay="log"):
    """Baytas et al. 2017: the short-term part of the memory is discounted by the elapsed time."""
    h, c = state
    short = np.tanh(p.weight_short @ c + p.bias_short)
    g = 1.0 / np.log(np.e + dt) if decay == "log" else 1.0 / max(dt, 1.0)
    long = c - short
    adjusted = long + short * g
    W_i, W_f, W_c, W_o = gates(p.weight_ih, 4)
    U_i, U_f, U_c, U_o = gates(p.weight_hh, 4)
    b_i, b_f, b_c, b_o = gates(p.bias, 4)
    f = sigmoid(W_f @ x + U_f @ h + b_f)
    i = sigmoid(W_i @ x + U_i @ h + b_i)
    o = sigmoid(W_o @ x + U_o @ h + b_o)
    c = f * adjusted + i * np.tanh(W_c @ x + U_c @ h + b_c)
    h = o * np.tanh(c)
    return (h, c), h


def openness(phase, ratio, leak):
    """Neil et al. 2016, eq. 6: up in the first half of the open part, down in the second."""
    if phase < ratio / 2.0:
        return 2.0 * phase / ratio
    if phase < ratio:
        return 2.0 - 2.0 * phase / ratio
    return leak * phase


def phased_lstm(p, state, x, dt, leak=1e-3):
    """Neil et al. 2016, eqs. 1-10: a unit's own clock lets it change in a part of its period."""
    h, c, phase = state
    phase = np.mod(phase + dt / np.exp(p.log_period), 1.0)
    k = np.array([openness(*unit, leak) for unit in zip(phase, np.clip(p.ratio, 1e-3, 1.0))])
    W_i, W_f, W_c, W_o = gates(p.weight_ih, 4)
    U_i, U_f, U_c, U_o = gates(p.weight_hh, 4)
    b_i, b_f, b_c, b_o = gates(p.bias, 4)
    w_i, w_f, w_o = gates(getattr(p, "weight_peep", np.zeros(3 * len(h))), 3)
    i = sigmoid(W_i @ x + U_i @ h + w_i * c + b_i)
    f = sigmoid(W_f @ x + U_f @ h + w_f * c + b_f)
    proposed = f * c + i * np.tanh(W_c @ x + U_c @ h + b_c)
    o = sigmoid(W_o @ x + U_o @ h + w_o * proposed + b_o)
    h = k * (o * np.tanh(proposed)) + (1.0 - k) * h
    c = k * proposed + (1.0 - k) * c
    return (h, c, phase), h


def solved(f, h, time, method, substeps):
    """dh/dt = f(h) over a time by an explicit method, in so many equal steps."""
    step = time / substeps
    for _ in range(substeps):
        first = f(h)
        if method == "euler":
            h = h + step * first
        elif method == "midpoint":
            h = h + step * f(h + step / 2.0 * first)
        else:
            second = f(h + step / 2.0 * first)
            third = f(h + step / 2.0 * second)
            fourth = f(h + step * third)
            h = h + step / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
    return h


def ode_rnn(p, h, x, dt, method="rk4", substeps=1):
    """Rubanova et al. 2019, algorithm 1: first the flow up to the observation, then the GRU."""

    def f(h):
        return p.weight_2 @ np.tanh(p.weight_1 @ h + p.bias_1) + p.bias_2

    h = solved(f, h, dt, method, substeps)
    W_r, W_z, W_n = gates(p.weight_ih, 3)
    U_r, U_z, U_n = gates(p.weight_hh, 3)
    b_r, b_z, b_n = gates(p.bias, 3)
    r = sigmoid(W_r @ x + U_r @ h + b_r)
    z = sigmoid(W_z @ x + U_z @ h + b_z)
    n = np.tanh(W_n @ x + b_n + r * (U_n @ h + p.bias_n))
    h = (1.0 - z) * n + z * h
    return h, h


def gru_ode(p, h, x, dt, method="rk4", substeps=1):
    """De Brouwer et al. 2019: dh/dt = (1 - z) (g - h); the minimal form has z where r is."""
    count = len(p.weight_ih) // len(h)
    W, U, b = (gates(array, count) for array in (p.weight_ih, p.weight_hh, p.bias))

    def f(h):
        z = sigmoid(W[-2] @ x + U[-2] @ h + b[-2])
        r = sigmoid(W[0] @ x + U[0] @ h + b[0]) if count == 3 else z
        g = np.tanh(W[-1] @ x + U[-1] @ (r * h) + b[-1])
        return (1.0 - z) * (g - h)

    h = solved(f, h, dt, method, substeps)
    return h, h


# Legendre memory.


def legendre(order, theta, time):
    """Voelker et al. 2019, eqs. 1-2, in discrete time with the input held."""
    A, B = np.empty((order, order)), np.empty((order, 1))
    for i in range(order):
        B[i, 0] = (2 * i + 1) * (-1.0) ** i / theta
        for j in range(order):
            A[i, j] = (2 * i + 1) * (-1.0 if i < j else (-1.0) ** (i - j + 1)) / theta
    # Zero-order hold: a constant input beside the memory, as one component more.
    held = np.zeros((order + 1, order + 1))
    held[:order, :order], held[:order, order:] = A, B
    after = expm(time * held)
    return after[:order, :order], after[:order, order]


def remembered(m, u, theta, time):
    """Every channel of the memory after a time, with its own input."""
    A, B = legendre(m.shape[1], theta, time)
    return np.stack([A @ channel + B * value for channel, value in zip(m, u)])


def lmu(p, state, x, dt, theta=100.0):
    """Voelker et al. 2019, eqs. 6-8: the memory reads what was, the state the new memory."""
    m, h = state
    u = p.encoder_x @ x + p.encoder_h @ h + p.encoder_m @ m.reshape(-1)
    m = remembered(m, u, theta, dt)
    h = np.tanh(p.weight_ih @ x + p.weight_hh @ h + p.weight_mh @ m.reshape(-1))
    return (m, h), h


def lmu_linear(p, m, x, dt, theta=100.0, activation=relu, encoder_activation=lambda z: z):
    """Chilkuri & Eliasmith 2021, eqs. 18-20: without a way back from the output."""
    u = encoder_activation(p.encoder @ x + p.bias_encoder)
    m = remembered(m, u, theta, dt)
    return m, activation(p.weight_mh @ m.reshape(-1) + p.weight_ih @ x + p.bias)


# Maps of piecewise linear parts, and populations of neurons.


def plrnn(p, z, x, dt):
    """Durstewitz 2017: A is a diagonal, held to [-1, 1], and W has none."""
    A = np.diag(np.clip(p.diagonal, -1.0, 1.0))
    W = p.weight_hh - np.diag(np.diag(p.weight_hh))
    z = A @ z + W @ relu(z) + p.bias + p.weight_ih @ x
    return z, z


def shallow_plrnn(p, z, x, dt, clipped=True):
    """Hess et al. 2023, eqs. 3 and 5."""
    A = np.diag(np.clip(p.diagonal, -1.0, 1.0))
    hidden = relu(p.weight_2 @ z + p.bias_2)
    if clipped:
        hidden = hidden - relu(p.weight_2 @ z)
    z = A @ z + p.weight_1 @ hidden + p.bias + p.weight_ih @ x
    return z, z


def alrnn(p, z, x, dt, rectified=None):
    """Brenner et al. 2024: the last P units are rectified."""
    count = max(1, len(z) // 2) if rectified is None else rectified
    phi = z.copy()
    for unit in range(len(z) - count, len(z)):
        phi[unit] = max(0.0, z[unit])
    z = np.diag(p.diagonal) @ z + p.weight_hh @ phi + p.bias + p.weight_ih @ x
    return z, z


def ei_rnn(p, v, x, dt, leak=0.2, self_connections=False):
    """Song et al. 2016, eqs. 3-7: W_ij = |M_ij| s_j, the sign that of the sending unit."""
    alpha = 1.0 - (1.0 - leak) ** dt
    W = abs(p.weight_hh) @ np.diag(p.signs)
    if not self_connections:
        W = W - np.diag(np.diag(W))
    v = (1.0 - alpha) * v + alpha * (W @ relu(v) + p.weight_ih @ x + p.bias)
    return v, relu(v)


def lowrank_rnn(p, h, x, dt, leak=0.2, activation=np.tanh):
    """Mastrogiuseppe & Ostojic 2018: J = m n^T / N."""
    alpha = 1.0 - (1.0 - leak) ** dt
    J = p.weight_m @ p.weight_n.T / len(h)
    h = (1.0 - alpha) * h + alpha * (J @ activation(h + p.bias) + p.weight_ih @ x)
    return h, activation(h)


DYNAMICS_REFERENCES = {
    "gru_d": gru_d,
    "t_lstm": t_lstm,
    "phased_lstm": phased_lstm,
    "ode_rnn": ode_rnn,
    "gru_ode": gru_ode,
    "lmu": lmu,
    "lmu_linear": lmu_linear,
    "plrnn": plrnn,
    "shallow_plrnn": shallow_plrnn,
    "alrnn": alrnn,
    "ei_rnn": ei_rnn,
    "lowrank_rnn": lowrank_rnn,
}
