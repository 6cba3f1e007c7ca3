"""One NumPy float64 step for each cell, written from its paper and not from our code.

`REFERENCES[name](p, state, x, dt, **options)` gives (state, y); `p` holds the cell's arrays.
"""

import math

import numpy as np
from references_dynamics import DYNAMICS_REFERENCES
from references_matrix import MATRIX_REFERENCES
from references_more import MORE_REFERENCES
from scipy.linalg import fractional_matrix_power


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


def wilson_cowan(p, h, x, dt, leak=0.5, excitatory=3, r=0.0, a=(1.3, 2.0), theta=(4.0, 3.7)):
    """tau dE/dt = -E + (1 - r E) S(W_EE E - W_EI I + P x), likewise for I."""
    e, i = slice(None, excitatory), slice(excitatory, None)
    W = np.log(1.0 + np.exp(p.raw_weight_hh))
    drive = p.weight_ih @ x + p.bias
    alpha = 1.0 - (1.0 - leak) ** dt

    def population(own, a, theta):
        v = W[own, e] @ h[e] - W[own, i] @ h[i] + drive[own]
        S = sigmoid(a * (v - theta)) - sigmoid(-a * theta)
        return h[own] + alpha * (-h[own] + (1.0 - r * h[own]) * S)

    h = np.concatenate([population(e, a[0], theta[0]), population(i, a[1], theta[1])])
    return h, h


def indrnn(p, h, x, dt, bound=1.0):
    u = np.clip(p.weight_hh, -bound, bound)
    h = relu(p.weight_ih @ x + u * h + p.bias)
    return h, h


def lstm(p, state, x, dt, coupled=False):
    h, c = state
    size = len(h)
    gates = "igo" if coupled else "ifgo"
    rows = {gate: slice(k * size, (k + 1) * size) for k, gate in enumerate(gates)}

    def pre(gate):
        r = rows[gate]
        return p.weight_ih[r] @ x + p.weight_hh[r] @ h + p.bias[r]

    peep = getattr(p, "weight_peep", np.zeros(3 * size))
    peep_i, peep_o = peep[:size], peep[-size:]
    i = sigmoid(pre("i") + peep_i * c)
    # Greff et al. 2017: CIFG sets f = 1 - i, peephole of i included.
    f = 1 - i if coupled else sigmoid(pre("f") + peep[size : 2 * size] * c)
    c = f * c + i * np.tanh(pre("g"))
    # Gers et al. 2002: the output gate looks at the cell as it is now.
    h = sigmoid(pre("o") + peep_o * c) * np.tanh(c)
    return (h, c), h


def lstmp(p, state, x, dt):
    r, c = state
    size = len(c)

    peep = np.split(getattr(p, "weight_peep", np.zeros(3 * size)), 3)

    def gate(k, squash, seen=0.0):
        rows = slice(k * size, (k + 1) * size)
        return squash(p.weight_ih[rows] @ x + p.weight_hh[rows] @ r + p.bias[rows] + seen)

    i, f = gate(0, sigmoid, peep[0] * c), gate(1, sigmoid, peep[1] * c)
    c = f * c + i * gate(2, np.tanh)
    m = gate(3, sigmoid, peep[2] * c) * np.tanh(c)
    r = p.weight_hr @ m
    return (r, c), r


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


def turned(a, negative):
    """An eigenvalue in (0, 1), or spread over (-1, 1)."""
    return 2.0 * a - 1.0 if negative else a


def mingru(p, h, x, dt, g=_g, negative=False):
    size = len(h)
    z = sigmoid(p.weight_ih[:size] @ x + p.bias[:size])
    h = turned(1.0 - z, negative) * h + z * g(p.weight_ih[size:] @ x + p.bias[size:])
    return h, h


def minlstm(p, h, x, dt, negative=False):
    size = len(h)
    pre = p.weight_ih @ x + p.bias
    f, i = sigmoid(pre[:size]), sigmoid(pre[size : 2 * size])
    h = turned(f / (f + i), negative) * h + i / (f + i) * _g(pre[2 * size :])
    return h, h


def lru(p, h, x, dt):
    eigenvalues = np.exp(-np.exp(p.nu_log) + 1j * np.exp(p.theta_log))
    B, C = p.B[0] + 1j * p.B[1], p.C[0] + 1j * p.C[1]
    h = eigenvalues * h + np.exp(p.gamma_log) * (B @ x)
    return h, (C @ h).real + p.D @ x


def linear_indrnn(p, h, x, dt, bound=1.0):
    h = np.clip(p.weight_hh, -bound, bound) * h + p.weight_ih @ x + p.bias
    return h, h


def hold(eigenvalue, time):
    """Transition and input factor of h' = lambda h + u over a time, for a constant u."""
    decay = np.exp(eigenvalue * time)
    # (exp(z) - 1) as 2 exp(z / 2) sinh(z / 2), which keeps its digits near 0.
    z = eigenvalue * time
    return decay, 2 * np.exp(z / 2) * np.sinh(z / 2) / eigenvalue


def tustin(eigenvalue, time):
    below = 2.0 - eigenvalue * time
    return (2.0 + eigenvalue * time) / below, 2.0 * time / below


def s4d(p, state, x, dt, discretise=hold):
    u = p.weight_ih @ x + p.bias
    channels, modes = p.frequency.shape
    state, y = state.copy(), p.D * u
    for c in range(channels):
        for n in range(modes):
            eigenvalue = -np.exp(p.log_decay[c, n]) + 1j * p.frequency[c, n]
            keep, take = discretise(eigenvalue, dt * np.exp(p.log_step[c]))
            k = c * modes + n
            state[k] = keep * state[k] + take * u[c]
            # The mode and its conjugate.
            mode = (p.C[0, c, n] + 1j * p.C[1, c, n]) * state[k]
            y[c] += (mode + mode.conjugate()).real
    return state, y


def s5(p, h, x, dt, discretise=hold, conj_sym=True):
    eigenvalues = np.minimum(p.Lambda_re, -1e-4) + 1j * p.Lambda_im
    B, C = p.B[0] + 1j * p.B[1], p.C[0] + 1j * p.C[1]
    keep, take = discretise(eigenvalues, dt * np.exp(p.log_step))
    h = np.diag(keep) @ h + np.diag(take) @ B @ x
    out = C @ h
    return h, (out + out.conj() if conj_sym else out).real + p.D @ x


def softplus(z):
    return np.logaddexp(0.0, z)


def rglru(p, h, x, dt, negative=False, turning=False, start=False):
    u = p.weight_ih @ x + p.bias
    blocks, rows, width = p.weight_gates.shape[1:]
    gates = []
    for weight, bias in zip(p.weight_gates, p.bias_gates):
        full = np.zeros((blocks * rows, len(u)))
        for k in range(blocks):
            full[k * rows : (k + 1) * rows, k * width : (k + 1) * width] = weight[k]
        gates.append(sigmoid(full @ u + bias))
    r, i = gates
    if turning:
        half, decay = len(u) // 2, 1.0 / (1.0 + np.exp(p.Lambda))
        a = (decay * np.exp(1j * p.theta)) ** (8.0 * r)
        h = a * h + np.sqrt(1.0 - abs(a) ** 2) * i * (u[:half] + 1j * u[half:])
        return h, np.concatenate([h.real, h.imag])
    a = turned(np.exp(-8.0 * softplus(p.Lambda) * r), negative)
    if start:
        # The second row says how much of a first step this is: there the root is 1.
        h, first = h
        h = a * h + ((1.0 - first) * np.sqrt(1.0 - a**2) + first) * i * u
        return np.stack([h, 0.0 * h]), h
    h = a * h + np.sqrt(1.0 - a**2) * i * u
    return h, h


def mamba(p, state, x, dt, zoh=False, negative=False, turning=False):
    u = p.weight_ih @ x + p.bias
    size, rank = p.A_log.shape[1], p.weight_dt.shape[1]
    low, read = p.weight_x[:rank] @ u, p.weight_x[rank:] @ u
    if turning:
        B, C = (
            read[:size] + 1j * read[size : 2 * size],
            read[2 * size : 3 * size] + 1j * read[-size:],
        )
    else:
        B, C = read[:size], read[size:]
    delta = (1.0 if negative else dt) * softplus(p.weight_dt @ low + p.bias_dt)
    h, y = state.reshape(-1, size).copy(), p.D * u
    for c in range(len(u)):
        A = -np.exp(p.A_log[c]) + (1j * p.A_imag[c] if turning else 0.0)
        take = np.expm1(delta[c] * A) / A if zoh else delta[c]
        h[c] = turned(np.exp(delta[c] * A), negative) * h[c] + take * B * u[c]
        # With complex modes, each and its conjugate.
        y[c] += (C @ h[c] + np.conj(C @ h[c])).real if turning else C @ h[c]
    return h.ravel(), y


def linoss(p, state, x, dt, scheme="imex"):
    """The real power of a step of each oscillator, the force beside it as a third component."""
    step, force, new = sigmoid(p.step_logit), p.B @ x, np.empty_like(state)
    A, G = relu(p.A), relu(p.G) if scheme == "damped" else 0.0 * p.A
    if scheme != "im":
        # tr M = 2 r cos(angle), for angles from 0 to 63 / 64 pi.
        r = 1.0 / np.sqrt(1.0 + step * G)
        low, high = 1.0 + r**2 - 2.0 * r * np.cos(np.pi * np.array([[0.0], [63 / 64]]))
        A = np.clip(A, low / (step * r) ** 2, high / (step * r) ** 2)
    for k in range(len(A)):
        d = step[k]
        if scheme == "im":
            left, right = [[1.0, d * A[k]], [-d, 1.0]], np.eye(2)
        else:
            left, right = [[1.0 + d * G[k], 0.0], [-d, 1.0]], [[1.0, -d * A[k]], [0.0, 1.0]]
        system = np.eye(3)
        system[:2] = np.linalg.solve(left, np.column_stack([right, [d * force[k], 0.0]]))
        moved = fractional_matrix_power(system, dt) @ [*state[:, k], 1.0]
        new[:, k] = moved[:2].real
    return new, p.C @ new[1] + p.D @ x


def strict_upper(entries, size):
    """A strictly upper triangular matrix, filled row by row."""
    T, k = np.zeros((size, size)), 0
    for row in range(size):
        for column in range(row + 1, size):
            T[row, column] = entries[k]
            k += 1
    return T


def antisymmetric(p, h, x, dt, epsilon=0.1, gamma=1.0):
    A = strict_upper(p.weight_hh, len(h))
    M = A - A.T - gamma * np.eye(len(h))
    h = h + dt * epsilon * np.tanh(M @ h + p.weight_ih @ x + p.bias)
    return h, h


def gated_antisymmetric(p, h, x, dt, epsilon=0.1, gamma=1.0):
    size = len(h)
    A = strict_upper(p.weight_hh, size)
    M = A - A.T - gamma * np.eye(size)
    z = sigmoid(M @ h + p.weight_ih[:size] @ x + p.bias[:size])
    h = h + dt * epsilon * z * np.tanh(M @ h + p.weight_ih[size:] @ x + p.bias[size:])
    return h, h


def clockwork(p, state, x, dt, blocks=((1, 2), (2, 1), (4, 1), (8, 1))):
    """`blocks`: (period, number of units), fast ones first."""
    h, t = state
    h, t = h.copy(), int(t)
    old, start = h.copy(), 0
    for period, size in blocks:
        own = slice(start, start + size)
        if t % period == 0:
            # From this block to the slowest one.
            u = p.weight_ih[own] @ x + p.weight_hh[own, start:] @ old[start:] + p.bias[own]
            h[own] = np.tanh(u)
        start += size
    return (h, (t + 1) % math.lcm(*(period for period, _ in blocks))), h


def lipschitz(p, h, x, dt, beta=(0.8, 0.8), gamma=(0.01, 0.01), epsilon=0.01, rk2=False):
    def matrix(M, b, g):
        return (1 - b) * (M + M.T) + b * (M - M.T) - g * np.eye(len(h))

    A, W = matrix(p.M_A, beta[0], gamma[0]), matrix(p.M_W, beta[1], gamma[1])

    def f(h):
        return A @ h + np.tanh(W @ h + p.weight_ih @ x + p.bias)

    step = epsilon * dt
    h = h + step * f(h + step / 2 * f(h)) if rk2 else h + step * f(h)
    return h, h


def unitary(p, h, x, dt):
    size = len(h)
    k = np.arange(size)
    F = np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)
    D = [np.diag(np.exp(1j * omega)) for omega in p.omega]
    v = p.v[0] + 1j * p.v[1]
    R = [np.eye(size) - 2 * np.outer(u, u.conj()) / np.vdot(u, u).real for u in v]
    permute = np.eye(size)[p.permutation.astype(int)]
    W = D[2] @ R[1] @ F.conj().T @ D[1] @ permute @ R[0] @ F @ D[0]
    z = W @ h + (p.weight_ih[0] + 1j * p.weight_ih[1]) @ x
    modulus = np.sqrt(abs(z) ** 2 + 1e-10)
    h = relu(modulus + p.bias) * z / modulus
    return h, p.weight_out @ np.concatenate([h.real, h.imag]) + p.bias_out


def exprnn(p, h, x, dt, signs=None):
    """`signs`: the diagonal of D, for the Cayley transform of scoRNN."""
    A = strict_upper(p.weight_hh, len(h))
    A = A - A.T
    eye = np.eye(len(h))
    if signs is not None:
        W = np.linalg.inv(eye + A) @ (eye - A) @ np.diag(signs)
    else:
        values, vectors = np.linalg.eigh(-1j * A)  # A = V diag(i values) V*
        W = ((vectors * np.exp(1j * values)) @ vectors.conj().T).real
    u = W @ h + p.weight_ih @ x
    h = np.sign(u) * relu(abs(u) + p.bias)
    return h, h


def cornn(p, state, x, dt, delta=0.042, gamma=2.7, epsilon=4.7, imex=False):
    h, z = state
    d = delta * dt
    drive = np.tanh(p.weight_hh @ h + p.weight_hz @ z + p.weight_ih @ x + p.bias)
    if imex:
        z = (z + d * drive - d * gamma * h) / (1 + d * epsilon)
    else:
        z = z + d * drive - d * gamma * h - d * epsilon * z
    h = h + d * z
    return (h, z), h


def hcornn(p, state, x, dt, delta=0.042):
    h, z = state
    d = delta * dt
    drive = np.tanh(p.weight_hh @ h + p.weight_ih @ x + p.bias)
    z = z + d * (drive - p.stiffness * h - p.damping * z)
    h = h + d * z
    return (h, z), h


def lem(p, state, x, dt, delta=1.0):
    h, z = state
    size = len(h)
    V = [p.weight_ih[k * size : (k + 1) * size] for k in range(4)]
    W = [p.weight_hh[k * size : (k + 1) * size] for k in range(3)]
    b = [p.bias[k * size : (k + 1) * size] for k in range(4)]
    d_1 = dt * delta * sigmoid(W[0] @ h + V[0] @ x + b[0])
    d_2 = dt * delta * sigmoid(W[1] @ h + V[1] @ x + b[1])
    z = (1 - d_1) * z + d_1 * np.tanh(W[2] @ h + V[2] @ x + b[2])
    h = (1 - d_2) * h + d_2 * np.tanh(p.weight_hz @ z + V[3] @ x + b[3])
    return (h, z), h


def unicornn(p, state, x, dt, delta=0.1, alpha=1.0):
    h, z = state
    d = dt * delta * sigmoid(p.c)
    z = z - d * (np.tanh(p.weight_hh * h + p.weight_ih @ x + p.bias) + alpha * h)
    h = h + d * z
    return (h, z), h


def lecun_tanh(z):
    return 1.7159 * np.tanh(0.666 * z)


def cfc(p, h, x, dt, mode="default", activation=lecun_tanh, scale=1.0):
    u = np.concatenate([x, h])
    for layer in p.backbone:
        u = activation(layer.weight @ u + layer.bias)
    return _heads(p, u, len(h), scale * dt, mode, masks=None)


def _heads(p, u, size, time, mode, masks):
    """`masks`: which entries of u each unit reads in f_1 and f_2, (hidden, features)."""
    allowed = np.ones((size, len(u))) if masks is None else masks
    W = [p.heads.weight[k : k + size] for k in range(0, len(p.heads.weight), size)]
    c = [p.heads.bias[k : k + size] for k in range(0, len(p.heads.bias), size)]
    f_1 = (W[0] * allowed) @ u + c[0]
    if mode == "pure":
        h = p.A - p.A * np.exp(-time * (abs(p.w_tau) + abs(f_1))) * f_1
        return h, h
    f_2 = (W[1] * allowed) @ u + c[1]
    a, b = W[2] @ u + c[2], W[3] @ u + c[3]
    s = sigmoid(a * time + b)
    one = 1.0 if mode == "no_gate" else 1.0 - s
    h = one * np.tanh(f_1) + s * np.tanh(f_2)
    return h, h


# AutoNCP(5, 1) of ncps for 3 inputs, written out, a row for each source: inter neurons 2, 3, 4,
# the command neuron 1, the motor neuron 0.
NCP_5 = {
    "sensory": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1]]),
    "inter_to_command": np.array([[1], [1], [1]]),
    "command_to_motor": np.array([[1]]),
}


def ltc(p, v, x, dt, adjacency=None, sensory=None, outputs=None, unfolds=6, implicit=True):
    """The fused step in the form of ncps, with dense matrices and c = c_m unfolds / dt."""
    units = len(v)
    adjacency = np.ones((units, units)) if adjacency is None else adjacency
    sensory = np.ones((len(x), units)) if sensory is None else sensory
    outputs = units if outputs is None else outputs

    def positive(value, least=0.0):
        return np.log1p(np.exp(value)) if implicit else np.maximum(value, least)

    def currents(part, mask, source):
        w, mu, sigma, E = np.zeros((4, *mask.shape))
        for full, values in zip((w, mu, sigma, E), vars(part).values()):
            full[np.nonzero(mask)] = values
        w[np.nonzero(mask)] = positive(part.weight)
        S = w * sigmoid(sigma * (source[:, None] - mu))
        return (S * E).sum(0), S.sum(0)

    u = x * getattr(p, "input_weight", 1.0) + getattr(p, "input_bias", 0.0)
    g, c_m = positive(p.g_leak), positive(p.c_m, 1e-5)
    for _ in range(unfolds if dt else 0):
        c = c_m * unfolds / dt
        drive, conductance = currents(p.recurrent, adjacency, v)
        drive_x, conductance_x = currents(p.sensory, sensory, u)
        total = c * v + g * p.v_leak + drive + drive_x
        v = total / (c + g + conductance + conductance_x + 1e-8)
    y = v[:outputs] * getattr(p, "output_weight", 1.0) + getattr(p, "output_bias", 0.0)
    return v, y


def wired_cfc(p, h, x, dt, mode="default", layers=None, inside=None, outputs=None, scale=1.0):
    """`layers`: for each, which features before it feed which neuron, (sources, neurons).

    `inside`: the same within each layer, everything by default.
    """
    layers = tuple(NCP_5.values()) if layers is None else layers
    after, start = [], 0
    for k, incoming in enumerate(layers):
        size = incoming.shape[1]
        own = np.ones((size, size)) if inside is None else inside[k]
        masks = np.concatenate([incoming, own]).T != 0
        u = np.concatenate([x, h[start : start + size]])
        x, _ = _heads(p.layers[k], u, size, scale * dt, mode, masks)
        after.append(x)
        start += size
    return np.concatenate(after), x if outputs is None else x[outputs]


def esn(p, h, x, dt, radius_of="matrix"):
    """Weights as drawn, of spectral radius 1, scaled here as the literature says."""
    W, leak = p.weight_hh, float(p.leak)
    if radius_of == "leaky":
        M = (1 - leak) * np.eye(len(W)) + leak * W
        M = M * p.spectral_radius / abs(np.linalg.eigvals(M)).max()
        W = (M - (1 - leak) * np.eye(len(W))) / leak
    else:
        W = p.spectral_radius * W
    alpha = 1 - (1 - leak) ** dt
    target = np.tanh(p.input_scaling * (p.weight_ih @ x) + W @ h + p.bias)
    h = (1 - alpha) * h + alpha * target
    return h, h


REFERENCES = {
    "elman": elman,
    "esn": esn,
    "leaky_elman": leaky_elman,
    "wilson_cowan": wilson_cowan,
    "indrnn": indrnn,
    "lstm": lstm,
    "lstmp": lstmp,
    "gru": gru,
    "mgu": mgu,
    "mingru": mingru,
    "minlstm": minlstm,
    "lru": lru,
    "linear_indrnn": linear_indrnn,
    "s4d": s4d,
    "s5": s5,
    "rglru": rglru,
    "mamba": mamba,
    "linoss": linoss,
    "antisymmetric": antisymmetric,
    "gated_antisymmetric": gated_antisymmetric,
    "clockwork": clockwork,
    "lipschitz": lipschitz,
    "unitary": unitary,
    "exprnn": exprnn,
    "cornn": cornn,
    "hcornn": hcornn,
    "lem": lem,
    "unicornn": unicornn,
    "cfc": cfc,
    "ltc": ltc,
    "wired_cfc": wired_cfc,
    **MATRIX_REFERENCES,
    **MORE_REFERENCES,
    **DYNAMICS_REFERENCES,
}
