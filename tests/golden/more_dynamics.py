"""Cells of time, memory and population dynamics for make_more.py."""

import types

import numpy as np
import torch
from authors import (
    TENSORFLOW,
    THEANO,
    TORCH,
    Broadcast,
    H,
    I,
    draw,
    inputs,
    method,
    one_state,
    result,
    shaken,
    take,
    times,
)
from torch import nn
from torch.autograd import Variable
from torch.nn.parameter import Parameter
from torchdiffeq import odeint


def gru_d():
    """A port after the paper. It wants from outside what was seen last, and when.

    Its state decays in a matrix of (inputs, inputs), put right here.
    """
    around = {"Variable": Variable, "Parameter": Parameter, **TORCH}
    parts = take("GRU-D/GRUD.py", "FilterLinear", "GRUD", **around)
    net = parts.GRUD(I, H, H, np.zeros((1, 1, I)))
    net.gamma_h_l = nn.Linear(I, H)
    net = shaken(net)
    net.zeros = torch.zeros(1)
    x, dt, mean, h = inputs(), times(), draw(I), draw(H)
    m = (torch.rand(len(x), I) < 0.6).double()
    start = [h, mean, torch.zeros(I)]
    last, age, ys = mean, torch.zeros(I), []
    for u, seen, step in zip(x, m, dt):
        delta = step + age
        h = net.step(u[None], last[None], mean[None], h[None], seen[None], delta[None])[0]
        last, age = torch.where(seen > 0, u, last), (1.0 - seen) * delta
        ys.append(h)
    linear = net.rl, net.zl, net.hl
    p = {"weight_ih": torch.cat([part.weight[:, :I] for part in linear])}
    p["weight_hh"] = torch.cat([part.weight[:, I : I + H] for part in linear])
    p["weight_mask"] = torch.cat([part.weight[:, I + H :] for part in linear])
    p["bias"] = torch.cat([part.bias for part in linear])
    p |= {"decay_x": torch.diag(net.gamma_x_l.weight), "bias_decay_x": net.gamma_x_l.bias}
    p |= {"decay_h": net.gamma_h_l.weight, "bias_decay_h": net.gamma_h_l.bias, "mean": mean}
    x = torch.where(m > 0, x, torch.nan)
    return result(x, p, start, [h, last, age], ys, dt)


def t_lstm():
    path, own = "T-LSTM/TLSTM.py", types.SimpleNamespace(input_dim=I, hidden_dim=H)
    unit = method(path, "TLSTM", "TLSTM_Unit", tf=TENSORFLOW)
    elapsed = method(path, "TLSTM", "map_elapse_time", tf=TENSORFLOW)
    own.map_elapse_time = lambda t: elapsed(own, t)
    gates = "i", "f", "c", "og"
    for gate in gates:
        for name, value in {"W": draw(I, H), "U": draw(H, H), "b": draw(H)}.items():
            setattr(own, name + gate, value)
    own.W_decomp, own.b_decomp = draw(H, H), draw(H)
    x, dt, start = inputs(), times(), draw(2, 1, H)
    state, ys = start, []
    for u, step in zip(x, dt):
        state = unit(own, state, torch.cat([step[None], u])[None])
        ys.append(state[0])
    p = {"weight_ih": torch.cat([getattr(own, f"W{gate}").T for gate in gates])}
    p["weight_hh"] = torch.cat([getattr(own, f"U{gate}").T for gate in gates])
    p["bias"] = torch.cat([getattr(own, f"b{gate}") for gate in gates])
    p |= {"weight_short": own.W_decomp.T, "bias_short": own.b_decomp}
    return result(x, p, start[:, 0], state[:, 0], ys, dt)


def phased_lstm():
    """Their clock runs at t + s, the paper's at t - s."""
    path = "public_plstm/plstm.py"
    period, shift, ratio = 2.0 + 6.0 * torch.rand(H), draw(H), 0.3 + 0.5 * torch.rand(H)
    W, U, b, peep = draw(I, 4 * H), draw(H, 4 * H), draw(4 * H), draw(3, H)
    own = types.SimpleNamespace(precompute_input=False, grad_clipping=0, peepholes=True)
    own.W_cell_to_ingate, own.W_cell_to_forgetgate, own.W_cell_to_outgate = peep
    own.nonlinearity_ingate = own.nonlinearity_forgetgate = torch.sigmoid
    own.nonlinearity_outgate, own.nonlinearity_cell, own.nonlinearity = (
        torch.sigmoid,
        torch.tanh,
        torch.tanh,
    )
    around = {"self": own, "T": types.SimpleNamespace(dot=torch.matmul, **vars(THEANO))}
    around |= {"W_in_stacked": W, "W_hid_stacked": U, "b_stacked": b, "off_slope": 1e-3}
    around |= {"slice_w": lambda z, n: z[:, n * H : (n + 1) * H].clone()}
    around |= {"shift_broadcast": -shift[None], "period_broadcast": period[None]}
    around |= {"on_mid_broadcast": 0.5 * (ratio * period)[None]}
    around |= {"on_end_broadcast": (ratio * period)[None]}
    masked = take(path, "step", "calc_time_gate", "step_masked", **around).step_masked
    x, dt, h, c = inputs(), times(), draw(H), draw(H)
    ys, hid, cell, now = [], h[None], c[None], torch.zeros(1)
    for u, step in zip(x, dt):
        now = now + step
        cell, hid = masked(u[None], Broadcast(now), torch.ones(1, 1), cell, hid)
        ys.append(hid)
    p = {"weight_ih": W.T, "weight_hh": U.T, "bias": b, "weight_peep": peep.reshape(-1)}
    p |= {"log_period": period.log(), "shift": shift, "ratio": ratio}
    start = [h, c, torch.remainder(-shift / period, 1.0)]
    end = [hid[0], cell[0], torch.remainder((now - shift) / period, 1.0)]
    return result(x, p, start, end, ys, dt)


def flowed(f, h, time, method, substeps):
    """From time 0 on, in so many equal steps."""
    span = torch.stack([torch.zeros(()), time])
    size = {"step_size": float(time) / substeps}
    return odeint(lambda t, h: f(h), h, span, method=method, options=size)[-1]


def ode_rnn():
    """A solver of its own package, with midpoints in two steps, and PyTorch's GRU."""
    f = shaken(nn.Sequential(nn.Linear(H, 7), nn.Tanh(), nn.Linear(7, H)))
    cell = shaken(nn.GRUCell(I, H))
    x, dt, start = inputs(), times(), draw(H)
    h, ys = start[None], []
    for u, step in zip(x, dt):
        h = cell(u[None], flowed(f, h, step, "midpoint", 2))
        ys.append(h)
    p = {"weight_1": f[0].weight, "bias_1": f[0].bias}
    p |= {"weight_2": f[2].weight, "bias_2": f[2].bias}
    p |= {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh}
    shared = cell.bias_hh.clone()
    shared[2 * H :] = 0.0
    p |= {"bias": cell.bias_ih + shared, "bias_n": cell.bias_hh[2 * H :]}
    return result(x, p, [start], [h[0]], ys, dt)


def _gru_ode(cell, p, method):
    x, dt, start = inputs(), times(), draw(H)
    h, ys = start[None], []
    for u, step in zip(x, dt):
        h = flowed(lambda h, u=u: cell(u[None], h), h, step, method, 3)
        ys.append(h)
    return result(x, p, [start], [h[0]], ys, dt)


def gru_ode():
    parts = take("gru_ode_bayes/gru_ode_bayes/models.py", "FullGRUODECell", **TORCH)
    cell = shaken(parts.FullGRUODECell(I, H))
    p = {"weight_ih": cell.lin_x.weight, "bias": cell.lin_x.bias}
    p["weight_hh"] = torch.cat([cell.lin_hr.weight, cell.lin_hz.weight, cell.lin_hh.weight])
    return _gru_ode(cell, p, "midpoint")


def gru_ode_minimal():
    parts = take("gru_ode_bayes/gru_ode_bayes/models.py", "GRUODECell", **TORCH)
    cell = shaken(parts.GRUODECell(I, H))
    p = {"weight_ih": torch.cat([cell.lin_xz.weight, cell.lin_xn.weight])}
    p["weight_hh"] = torch.cat([cell.lin_hz.weight, cell.lin_hn.weight])
    p["bias"] = torch.cat([cell.lin_xz.bias, cell.lin_xn.bias])
    return _gru_ode(cell, p, "euler")


LMU = "pytorch-lmu/src/lmu.py"


def lmu_parts():
    from scipy.signal import cont2discrete

    around = {"cont2discrete": cont2discrete, "init": nn.init, "fft": torch.fft, **TORCH}
    return take(LMU, "leCunUniform", "LMUCell", "LMUFFT", **around)


def lmu():
    cell = shaken(lmu_parts().LMUCell(I, H, 6, 9.0))
    x, h, m = inputs(), draw(H), draw(6)
    state, ys = (h[None], m[None]), []
    for u in x:
        state = cell(u[None], state)
        ys.append(state[0])
    p = {"encoder_x": cell.e_x, "encoder_h": cell.e_h, "encoder_m": cell.e_m}
    p |= {"weight_ih": cell.W_x, "weight_hh": cell.W_h, "weight_mh": cell.W_m}
    return result(x, p, [m[None], h], [state[1], state[0][0]], ys)


def lmu_linear():
    """The parallel form by a Fourier transform, from an empty memory; both activations ReLU."""
    x = inputs()
    net = shaken(lmu_parts().LMUFFT(I, H, 6, len(x), 9.0))
    ys, _ = net(x[None])
    W = net.W_h.weight
    p = {"encoder": net.W_u.weight, "bias_encoder": net.W_u.bias}
    p |= {"weight_mh": W[:, :6], "weight_ih": W[:, 6:], "bias": net.W_h.bias}
    return result(x, p, [torch.zeros(1, 6)], [], ys[0])


def plrnn():
    """The authors' step, to which C x is added as their later code does."""
    path = "dendPLRNN/BPTT_TF/bptt/PLRNN_model.py"
    around = {"nn": nn, "tc": torch, "math": TORCH["math"]}
    step = take(path, "Latent_Step", "PLRNN_Step", **around).PLRNN_Step(dz=H)
    A, W, h, C = 2.0 * torch.rand(H) - 1.0, draw(H, H), draw(H), draw(H, I)
    W = W - torch.diag(torch.diag(W))
    x = inputs()
    p = {"diagonal": A, "weight_hh": W, "bias": h, "weight_ih": C}
    return result(x, p, *one_state(lambda u, z: step(z, A, W, h) + u @ C.T, x, draw(H)))


def alrnn():
    """With two rectified units; C x as above. Their step changes its argument."""
    path = "ALRNN-DSR/alrnn_python/AL-RNN_tutorial.ipynb"
    net = shaken(take(path, "AL_RNN", **TORCH).AL_RNN(H, 2, 3))
    C, x = draw(H, I), inputs()
    p = {"diagonal": net.A, "weight_hh": net.W, "bias": net.h, "weight_ih": C}
    return result(x, p, *one_state(lambda u, z: net(z.clone()) + u @ C.T, x, draw(H)))


def ei_rnn():
    """Four excitatory units of five."""
    around = {"init": nn.init, **TORCH}
    parts = take("nn-brain/EI_RNN.ipynb", "EIRecLinear", "EIRNN", **around)
    net = shaken(parts.EIRNN(I, H, dt=20))
    net.h2h.mask = net.h2h.mask.double()
    x, start = inputs(), draw(H)
    state, ys = (start[None], start[None].relu()), []
    for u in x:
        state = net.recurrence(u[None], state)
        ys.append(state[1])
    p = {"weight_hh": net.h2h.weight, "weight_ih": net.input2h.weight}
    p |= {"bias": net.h2h.bias + net.input2h.bias, "signs": torch.tensor([1.0] * 4 + [-1.0])}
    return result(x, p, [start], [state[0][0]], ys)


def lowrank_rnn():
    """Their first step leaves b out, so the values begin after it."""
    around = {"sqrt": TORCH["math"].sqrt, **TORCH}
    path = "lowrank_inference/low_rank_rnns/modules.py"
    net = shaken(take(path, "LowRankRNN", **around).LowRankRNN(I, H, 1, 0.0, 0.2, rank=2))
    net.si.fill_(1.0)
    x = inputs()
    _, states = net(x[None], return_dynamics=True)
    states = states[0]
    p = {"weight_m": net.m, "weight_n": net.n, "bias": net.b, "weight_ih": net.wi.T}
    return result(x[1:], p, [states[1]], [states[-1]], states[2:].tanh())


CELLS = (
    gru_d,
    t_lstm,
    phased_lstm,
    ode_rnn,
    gru_ode,
    gru_ode_minimal,
    lmu,
    lmu_linear,
    plrnn,
    alrnn,
    ei_rnn,
    lowrank_rnn,
)
