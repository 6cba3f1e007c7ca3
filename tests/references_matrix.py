"""One NumPy float64 step for each cell whose state is a matrix, written from its paper.

As in references.py: `MATRIX_REFERENCES[name](p, state, x, dt, **options)` gives (state, y). States
are (heads, key width, value width), and the sizes are read off them. Each text follows the paper's
own equation, head by head, and not the normal form that the cells share.
"""

import numpy as np
from scipy.special import expit as sigmoid


def softplus(z):
    return np.logaddexp(0.0, z)


def log_sigmoid(z):
    return -np.logaddexp(0.0, -z)


def silu(z):
    return z * sigmoid(z)


def unit(z):
    """Each row with length 1, but for the small number that keeps a zero row finite."""
    return z / np.sqrt((z**2).sum(-1, keepdims=True) + 1e-6)


def features(p, x):
    """What the cell's map makes of the input; without a map the input is the features."""
    weight, bias = getattr(p, "weight_ih", None), getattr(p, "bias", None)
    z = x if weight is None else weight @ x
    return z if bias is None else z + bias


def rows_of(p, x, *shapes):
    """The features, cut into parts of these shapes."""
    z = features(p, x)
    sizes = [int(np.prod(shape)) for shape in shapes]
    assert z.shape == (sum(sizes),)
    parts = np.split(z, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def activated(p, *parts):
    """SiLU behind the cell's own map; without one it has been applied by what stands before."""
    return [silu(z) for z in parts] if getattr(p, "weight_ih", None) is not None else parts


def linear_attention(p, state, x, dt, normalised=True, eps=1e-6):
    """Eqs. 18-20: s_i and z_i are sums over the past, phi(z) = elu(z) + 1."""
    H, K, columns = state.shape
    V = len(features(p, x)) // H - 2 * K
    q, k, v = rows_of(p, x, (H, K), (H, K), (H, V))

    def phi(z):
        return np.where(z > 0, z + 1.0, np.exp(np.minimum(z, 0.0)))

    s, y = state[:, :, :V].copy(), np.empty((H, V))
    z = state[:, :, V].copy() if columns > V else np.zeros((H, K))
    for h in range(H):
        s[h] += np.outer(phi(k[h]), v[h])
        z[h] += phi(k[h])
        y[h] = phi(q[h]) @ s[h]
        if normalised:
            y[h] /= phi(q[h]) @ z[h] + eps
    new = np.concatenate([s, z[:, :, None]], axis=2) if columns > V else s
    return new, y.ravel()


def retnet(p, state, x, dt, rotary=False):
    """Real pairs that turn: the state by -theta a step, which the paper's q and k do by n theta."""
    H, pairs, V = state.shape
    K = 2 * pairs
    q, k, v = rows_of(p, x, (H, K), (H, K), (H, V))
    i = np.arange(pairs)
    theta = 10000.0 ** -(2 * i / K if rotary else i / max(1, pairs - 1))
    turn = np.zeros((K, K))
    for i, angle in enumerate(theta):
        own = slice(2 * i, 2 * i + 2)
        turn[own, own] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    S, y = np.empty((H, K, V)), np.empty((H, V))
    S[:, 0::2], S[:, 1::2] = state.real, state.imag
    for h in range(H):
        S[h] = (1.0 - 2.0 ** (-5.0 - h)) * turn @ S[h] + np.outer(k[h], v[h])
        y[h] = q[h] @ S[h] / np.sqrt(K)
    return S[:, 0::2] + 1j * S[:, 1::2], y.ravel()


def gla(p, state, x, dt, normalizer=16.0):
    H, K, V = state.shape
    rank = p.weight_gate.shape[1]
    q, k, v, r = rows_of(p, x, (H, K), (H, K), (H, V), (rank,))
    alpha = sigmoid(p.weight_gate @ r + p.bias_gate).reshape(H, K) ** (1.0 / normalizer)
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        S[h] = np.diag(alpha[h]) @ state[h] + np.outer(k[h], v[h])
        y[h] = S[h].T @ (q[h] / np.sqrt(K))
    return S, y.ravel()


def hgrn2(p, state, x, dt, lower_bound=0.0):
    """The forget gate and its complement as the key, over a time: f^dt, 1 - f^dt."""
    H, K, V = state.shape
    q, f, i = rows_of(p, x, (H, K), (H, K), (H, V))
    f = (lower_bound + (1.0 - lower_bound) * sigmoid(f)) ** dt
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        S[h] = np.diag(f[h]) @ state[h] + np.outer(1.0 - f[h], i[h])
        y[h] = S[h].T @ silu(q[h])
    return S, y.ravel()


def mamba2(p, state, x, dt, zoh=False, negative=False, groups=1):
    """h' = exp(Delta A) h + Delta x B^T in the paper's layout, h of (V, K), a scalar A a head."""
    H, K, V = state.shape
    u, B, C, delta = rows_of(p, x, (H, V), (groups, K), (groups, K), (H,))
    delta = (1.0 if negative else dt) * softplus(delta + p.bias_dt)
    S, y = np.empty_like(state), np.empty((H, V))
    for head in range(H):
        group = head // (H // groups)
        A = -np.exp(p.A_log[head])
        decay = np.exp(delta[head] * A)
        take = np.expm1(delta[head] * A) / A if zoh else delta[head]
        h = (2.0 * decay - 1.0 if negative else decay) * state[head].T
        h = h + take * np.outer(u[head], B[group])
        S[head], y[head] = h.T, h @ C[group] + p.D[head] * u[head]
    return S, y.ravel()


def corrected(S, k, v, beta):
    """The delta rule: what the key reads moves by beta of the way to the value."""
    return S + beta * np.outer(k, v - S.T @ k)


def writing(beta, dt, negative):
    """beta of sigmoid's logit over a time: 1 - (1 - beta)^dt; in (0, 2) there is no time."""
    return 2.0 * sigmoid(beta) if negative else 1.0 - (1.0 - sigmoid(beta)) ** dt


def deltanet(p, state, x, dt, negative=False):
    H, K, V = state.shape
    q, k, v, beta = rows_of(p, x, (H, K), (H, K), (H, V), (H,))
    q, k, v = activated(p, q, k, v)
    q, k, beta = unit(q), unit(k), writing(beta, dt, negative)
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        S[h] = corrected(state[h], k[h], v[h], beta[h])
        y[h] = S[h].T @ q[h] / np.sqrt(K)
    return S, y.ravel()


def gated_deltanet(p, state, x, dt, negative=False):
    H, K, V = state.shape
    q, k, v, beta, a = rows_of(p, x, (H, K), (H, K), (H, V), (H,), (H,))
    q, k, v = activated(p, q, k, v)
    q, k, beta = unit(q), unit(k), writing(beta, dt, negative)
    alpha = np.exp(-np.exp(p.A_log) * softplus(a + p.bias_dt)) ** (1.0 if negative else dt)
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        S[h] = corrected(alpha[h] * state[h], k[h], v[h], beta[h])
        y[h] = S[h].T @ q[h] / np.sqrt(K)
    return S, y.ravel()


def kda(p, state, x, dt, negative=False):
    """S' = (I - beta k k^T) Diag(alpha) S + beta k v^T, as the paper has it."""
    H, K, V = state.shape
    rank = p.weight_gate.shape[1]
    q, k, v, beta, r = rows_of(p, x, (H, K), (H, K), (H, V), (H,), (rank,))
    q, k, v = activated(p, q, k, v)
    q, k, beta = unit(q), unit(k), writing(beta, dt, negative)
    rate = softplus(p.weight_gate @ r + p.bias_dt).reshape(H, K)
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        alpha = np.exp(-np.exp(p.A_log[h]) * rate[h]) ** (1.0 if negative else dt)
        erase = np.eye(K) - beta[h] * np.outer(k[h], k[h])
        S[h] = erase @ np.diag(alpha) @ state[h] + beta[h] * np.outer(k[h], v[h])
        y[h] = S[h].T @ q[h] / np.sqrt(K)
    return S, y.ravel()


def delta_product(p, state, x, dt, products=2, negative=True):
    """The gate once, then so many delta steps, each with a key, value and beta of its own."""
    H, K, V = state.shape
    gated = getattr(p, "A_log", None) is not None
    gate = [(H,)] if gated else []
    shapes = (H, K), (products, H, K), (products, H, V), (products, H), *gate
    q, k, v, beta, *a = rows_of(p, x, *shapes)
    q, k, v = activated(p, q, k, v)
    q, k, beta = unit(q), unit(k), writing(beta, 1.0, negative)
    alpha = np.exp(-np.exp(p.A_log) * softplus(a[0] + p.bias_dt)) if gated else np.ones(H)
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        S[h] = alpha[h] * state[h]
        for j in range(products):
            S[h] = corrected(S[h], k[j, h], v[j, h], beta[j, h])
        y[h] = S[h].T @ q[h] / np.sqrt(K)
    return S, y.ravel()


def rwkv7(p, state, x, dt):
    """wkv' = wkv (diag(w) - kappa^T (a * kappa)) + v^T k~ with row vectors; wkv is (V, K)."""
    H, K, V = state.shape
    ranks = p.weight_w.shape[1], p.weight_a.shape[1]
    r, k, v, w_1, a_1 = rows_of(p, x, (H, K), (H, K), (H, V), (ranks[0],), (ranks[1],))
    d = p.bias_w + p.weight_w @ np.tanh(w_1)
    w = np.exp(-np.exp(-0.5) * sigmoid(d)).reshape(H, K)
    a = sigmoid(p.bias_a + p.weight_a @ a_1).reshape(H, K)
    kappa = unit(k * p.k_k.reshape(H, K))
    replaced = k * (1.0 + (a - 1.0) * p.k_a.reshape(H, K))
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        G = np.diag(w[h]) - np.outer(kappa[h], a[h] * kappa[h])
        wkv = state[h].T @ G + np.outer(v[h], replaced[h])
        S[h], y[h] = wkv.T, wkv @ r[h]
    return S, y.ravel()


def _mlstm_parts(p, x, H, K, V):
    q, k, v, i, f = rows_of(p, x, (H, K), (H, K), (H, V), (H,), (H,))
    if getattr(p, "bias_gates", None) is not None:
        i, f = i + p.bias_gates[:H], f + p.bias_gates[H:]
    return q / np.sqrt(K), k, v, i, f


def mlstm(p, state, x, dt):
    """Eqs. 19-27 with the stabiliser of eq. 15: C and n are scaled by exp(-m)."""
    C, n, m = (part.copy() for part in state)
    H, K, V = C.shape
    q, k, v, i, f = _mlstm_parts(p, x, H, K, V)
    y = np.empty((H, V))
    for h in range(H):
        before, m[h] = m[h], max(log_sigmoid(f[h]) + m[h], i[h])
        F, I = np.exp(log_sigmoid(f[h]) + before - m[h]), np.exp(i[h] - m[h])
        C[h] = F * C[h] + I * np.outer(k[h], v[h])
        n[h] = F * n[h] + I * k[h]
        y[h] = C[h].T @ q[h] / max(abs(n[h] @ q[h]), np.exp(min(-m[h], 80.0)))
    return (C, n, m), y.ravel()


def mlstm_unstabilised(p, state, x, dt):
    """The same cell with the gates as they are, exp(i) and sigmoid(f); state (C, n) unscaled."""
    C, n = (part.copy() for part in state)
    H, K, V = C.shape
    q, k, v, i, f = _mlstm_parts(p, x, H, K, V)
    y = np.empty((H, V))
    for h in range(H):
        C[h] = sigmoid(f[h]) * C[h] + np.exp(i[h]) * np.outer(k[h], v[h])
        n[h] = sigmoid(f[h]) * n[h] + np.exp(i[h]) * k[h]
        y[h] = C[h].T @ q[h] / max(abs(n[h] @ q[h]), 1.0)
    return (C, n), y.ravel()


def slstm(p, state, x, dt):
    """Gates i, f, z, o; a unit's output feeds back inside its head only."""
    y, c, n, m = state
    gates, H, d, _ = p.weight_hh.shape
    full = np.zeros((gates, H * d, H * d))
    for gate in range(gates):
        for h in range(H):
            own = slice(h * d, (h + 1) * d)
            full[gate, own, own] = p.weight_hh[gate, h]
    parts = rows_of(p, x, *[(H * d,)] * gates)
    i, f, z, o = (part + R @ y for part, R in zip(parts, full))
    before, m = m, np.maximum(log_sigmoid(f) + m, i)
    I, F = np.exp(i - m), np.exp(log_sigmoid(f) + before - m)
    c, n = F * c + I * np.tanh(z), F * n + I
    y = sigmoid(o) * c / n
    return (y, c, n, m), y


def m2rnn(p, state, x, dt):
    """Z = tanh(S W + k v^T), S' = f S + (1 - f) Z, with the leak over a time f^dt."""
    H, K, V = state.shape
    q, k, v, f = rows_of(p, x, (H, K), (H, K), (H, V), (H,))
    f = np.exp(-np.exp(p.A_log) * softplus(f + p.bias_dt)) ** dt
    S, y = np.empty_like(state), np.empty((H, V))
    for h in range(H):
        Z = np.tanh(state[h] @ p.weight_hh[h] + np.outer(k[h], v[h]))
        S[h] = f[h] * state[h] + (1.0 - f[h]) * Z
        y[h] = q[h] @ S[h] + p.D[h] * v[h]
    return S, y.ravel()


def pd_ssm(p, h, x, dt):
    """h' = P(x) D(x) h + B x with dense matrices; a column of P has its 1 where M(x) is largest."""
    s = np.exp(p.S @ x - (p.S @ x).max())
    M = np.tensordot(s / s.sum(), p.M, axes=1)
    P = np.zeros_like(M)
    for column in range(len(h)):
        P[np.argmax(M[:, column]), column] = 1.0
    magnitude = sigmoid(p.weight_mag @ x + p.bias_mag)
    phase = 2.0 * np.pi * sigmoid(p.weight_phase @ x + p.bias_phase)
    D = np.diag(magnitude * (np.cos(phase) + 1j * np.sin(phase)))
    B, C = p.B[0] + 1j * p.B[1], p.C[0] + 1j * p.C[1]
    h = P @ D @ h + B @ x
    return h, (C @ h).real + p.D @ x


MATRIX_REFERENCES = {
    "linear_attention": linear_attention,
    "retnet": retnet,
    "gla": gla,
    "hgrn2": hgrn2,
    "mamba2": mamba2,
    "deltanet": deltanet,
    "gated_deltanet": gated_deltanet,
    "kda": kda,
    "delta_product": delta_product,
    "rwkv7": rwkv7,
    "mlstm": mlstm,
    "slstm": slstm,
    "m2rnn": m2rnn,
    "pd_ssm": pd_ssm,
}
