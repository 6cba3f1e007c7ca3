"""Gated cells and their kin for make_more.py."""

import math
import sys
import types
import warnings
from collections import deque

import numpy as np
import torch
import torchrecurrent as tr
from authors import (
    FOLDER,
    SCOPES,
    TENSORFLOW,
    TORCH,
    H,
    I,
    T,
    draw,
    inputs,
    joined,
    method,
    one_state,
    result,
    shaken,
    take,
    two_states,
)
from torch import nn
from torch.autograd import Variable


# torchrecurrent: two biases, which are one here.


def tr_cell(kind):
    cell = shaken(getattr(tr, kind)(I, H))
    return cell, cell.bias_ih + cell.bias_hh if cell.bias_ih.shape == cell.bias_hh.shape else None


def janet():
    cell, bias = tr_cell("JANETCell")
    # It trains beta, and has a second state that equals h.
    cell.beta.fill_(1.0)
    x, h = inputs(), draw(H)
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": bias}
    return result(x, p, *one_state(lambda u, c: cell(u, (c, c))[0], x, h))


def ugrnn():
    cell, bias = tr_cell("UGRNNCell")
    x = inputs()
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": bias}
    p = {name: joined(value, [1, 0]) for name, value in p.items()}
    return result(x, p, *one_state(cell, x, draw(H)))


def minimal_rnn():
    cell, _ = tr_cell("MinimalRNNCell")
    x = inputs()
    p = {"weight_ih": cell.weight_ih, "bias_ih": cell.bias_ih, "bias": cell.bias_hh}
    p["weight_hh"] = torch.cat([cell.weight_hh, cell.weight_mm])
    return result(x, p, *one_state(cell, x, draw(H)))


def ligru():
    cell, bias = tr_cell("LiGRUCell")
    x = inputs()
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": bias}
    return result(x, p, *one_state(cell, x, draw(H)))


def star():
    cell, _ = tr_cell("STARCell")
    x = inputs()
    bias_z, bias_k = cell.bias_ih.chunk(2)
    p = {"weight_ih": joined(cell.weight_ih, [1, 0]), "weight_hh": cell.weight_hh}
    p["bias"] = torch.cat([bias_k + cell.bias_hh, bias_z])
    return result(x, p, *one_state(cell, x, draw(H)))


def cfn():
    cell, _ = tr_cell("CFNCell")
    x = inputs()
    cell.bias_ih[2 * H :] = 0.0
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh}
    p["bias"] = cell.bias_ih[: 2 * H] + cell.bias_hh
    return result(x, p, *one_state(cell, x, draw(H)))


def atr():
    cell, _ = tr_cell("ATRCell")
    x = inputs()
    cell.bias_hh.zero_()
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": cell.bias_ih}
    return result(x, p, *one_state(cell, x, draw(H)))


def ran():
    cell, bias = tr_cell("RANCell")
    x = inputs()
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": bias}
    return result(x, p, *two_states(cell, x, draw(H), draw(H)))


def multiplicative_lstm():
    cell, _ = tr_cell("MultiplicativeLSTMCell")
    x = inputs()
    cell.bias_ih[:H] = 0.0
    cell.bias_hh.zero_()
    p = {"weight_mx": cell.weight_ih[:H], "weight_mh": cell.weight_hh}
    p |= {"weight_ih": cell.weight_ih[H:], "weight_hh": cell.weight_mh}
    p["bias"] = cell.bias_ih[H:] + cell.bias_mh
    return result(x, p, *two_states(cell, x, draw(H), draw(H)))


def lstm():
    """With peepholes."""
    cell, bias = tr_cell("PeepholeLSTMCell")
    x = inputs()
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": bias}
    p["weight_peep"] = cell.weight_ph
    return result(x, p, *two_states(cell, x, draw(H), draw(H)))


def tau_gru():
    """Their layer cannot start from a past, so the cell runs with one kept here."""
    cell, bias = tr_cell("tauGRUCell")
    x, h, past = inputs(), draw(H), draw(3, H)
    p = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias": bias}
    states, ys = deque(past), []
    new = h
    for u in x:
        before, new = new, cell(u, new, states.popleft())
        states.append(before)
        ys.append(new)
    return result(x, p, [h, past], [new, torch.stack(list(states))], ys)


# The authors' own code, or a port of it that follows the paper.


def _brc(owner, shape):
    call = method("BRC/cells/cells.py", owner, "call", tf=TENSORFLOW)
    own = types.SimpleNamespace()
    for gate in "rzh":
        setattr(own, f"kernel{gate}", draw(I, H))
    for gate in "rz":
        setattr(own, f"memory{gate}", draw(*shape))
        setattr(own, f"b{gate}", draw(H))
    x = inputs()
    p = {"weight_ih": torch.cat([own.kernelr.T, own.kernelz.T, own.kernelh.T])}
    p |= {"weight_hh": torch.cat([own.memoryr.T, own.memoryz.T])}
    p |= {"bias": torch.cat([own.br, own.bz])}
    return result(x, p, *one_state(lambda u, h: call(own, u, [h])[0], x, draw(H)))


def brc():
    return _brc("BRC", (H,))


def nbrc():
    return _brc("NBRC", (H, H))


EDGEML = "EdgeML/pytorch/edgeml_pytorch/graph/rnn.py"
EDGEML_PARTS = "gen_nonlinearity", "RNNCell", "FastGRNNCell", "FastRNNCell"


def fastrnn():
    cell = shaken(take(EDGEML, *EDGEML_PARTS, **TORCH).FastRNNCell(I, H))
    x = inputs()
    p = {"weight_ih": cell.W.T, "weight_hh": cell.U.T, "bias": cell.bias_update[0]}
    p |= {"alpha": cell.alpha[0], "beta": cell.beta[0]}
    return result(x, p, *one_state(cell, x, draw(H)))


def fastgrnn():
    """With both matrices of rank 2."""
    parts = take(EDGEML, *EDGEML_PARTS, **TORCH)
    cell = shaken(parts.FastGRNNCell(I, H, wRank=2, uRank=2))
    x = inputs()
    p = {"weight_ih": cell.W2.T, "weight_ih_right": cell.W1.T}
    p |= {"weight_hh": cell.U2.T, "weight_hh_right": cell.U1.T}
    p |= {"bias": torch.cat([cell.bias_gate[0], cell.bias_update[0]])}
    p |= {"zeta": cell.zeta[0], "nu": cell.nu[0]}
    return result(x, p, *one_state(cell, x, draw(H)))


def ur_lstm():
    parts = take("ur-lstm/ur_lstm/ur_lstm.py", "URLSTMCell", **TORCH)
    cell = shaken(parts.URLSTMCell(I, H))
    x = inputs()
    p = {"weight_ih": cell.igates.weight, "weight_hh": cell.hgates.weight}
    p |= {"bias": cell.igates.bias + cell.hgates.bias, "bias_gate": cell.forget_bias}
    return result(x, p, *two_states(lambda u, s: cell(u, s)[1], x, draw(H), draw(H)))


def indy_lstm():
    """PyTorch's LSTM whose recurrent matrices are diagonal."""
    cell = shaken(nn.LSTMCell(I, H))
    vectors, x = draw(4 * H), inputs()
    cell.weight_hh.copy_(torch.cat([torch.diag(v) for v in vectors.chunk(4)]))
    p = {"weight_ih": cell.weight_ih, "weight_hh": vectors, "bias": cell.bias_ih + cell.bias_hh}
    return result(x, p, *two_states(cell, x, draw(H), draw(H)))


def rhn():
    """A depth of 3, with the noise off. Their matrix of depth 0 has the rows of x first."""
    W, R, b = draw(2 * H, I), draw(3, 2 * H, H), draw(3, 2 * H)

    def linear(args, size, bias, bias_start=None):
        gate, depth = SCOPES.here.split("_")
        rows, depth = slice(0, H) if gate == "h" else slice(H, 2 * H), int(depth)
        M = torch.cat([W[rows], R[depth, rows]], 1) if len(args) == 2 else R[depth, rows]
        return torch.cat(args, 1) @ M.T + b[depth, rows]

    path = "RecurrentHighwayNetworks/rhn.py"
    call = method(path, "RHNCell", "__call__", tf=TENSORFLOW, linear=linear)
    own = types.SimpleNamespace(depth=3, _num_units=H, forget_bias=None)
    x = inputs()
    p = {"weight_ih": W, "weight_hh": R, "bias": b}
    return result(x, p, *one_state(lambda u, s: call(own, u, [s, 1.0, 1.0])[0], x, draw(H)))


def _sru(outputs, v):
    """Their blocks of rows alternate unit by unit."""
    count = 3 if outputs == I else 4
    W, bias, c = draw(count * outputs, I), draw(2 * outputs), draw(outputs)
    path = "sru/sru/ops.py"
    parts = take(path, "elementwise_recurrence_naive", warnings=warnings, **TORCH)
    x = inputs()
    U = (x @ W.T).reshape(T, count, outputs).transpose(1, 2).reshape(T, 1, -1)
    scale = torch.tensor(math.sqrt(1.0 + 2.0 * math.exp(-1.0)))
    with torch.enable_grad():
        ys, end = parts.elementwise_recurrence_naive(
            U, x[:, None], v, bias, c[None], 0, outputs, False, True, scale
        )
    p = {"weight_ih": W, "bias": bias} | ({"weight_hh": v} if v.any() else {})
    return result(x, p, [c], [end.reshape(-1)], ys)


def sru():
    return _sru(I, torch.zeros(2 * I))


def sru_recurrent():
    """And with another number of outputs than inputs."""
    return _sru(H, draw(2 * H))


def _qrnn(window):
    """Their F lets the new value in, so its rows change sign."""
    path = "pytorch-qrnn/torchqrnn/"
    forget = take(f"{path}forget_mult.py", "CPUForgetMult", "ForgetMult", **TORCH).ForgetMult
    layer = take(f"{path}qrnn.py", "QRNNLayer", ForgetMult=forget, Variable=Variable, **TORCH)
    layer = shaken(layer.QRNNLayer(I, H, window=window, use_cuda=False))
    x, c, sign = inputs(), draw(H), torch.ones(3 * H)
    sign[H : 2 * H] = -1.0
    ys, end = layer(x[:, None], c[None])
    p = {"weight_ih": sign[:, None] * layer.linear.weight, "bias": sign * layer.linear.bias}
    return result(x, p, [c], [end.reshape(-1)], ys)


def qrnn():
    return _qrnn(1)


def qrnn_window():
    """With a window of two inputs, the newest first."""
    return _qrnn(2)


def rtu():
    """Six outputs are three pairs. Their 1e-8 beside the root is within the tolerance."""
    import jax

    jax.config.update("jax_enable_x64", True)
    sys.path.append(str(FOLDER / "rtus"))
    from src.nets.rtus.linear_rtus import FwdRealTimeLinearRTUs

    pairs, x, c = 3, inputs(), draw(2, 3)
    nu, theta, W = draw(pairs), draw(pairs), draw(2, pairs, I)
    params = {"r_param": nu[None].numpy(), "theta_param": theta[None].numpy()}
    params |= {f"wx{k + 1}": {"kernel": W[k].T.numpy()} for k in range(2)}
    zero = np.zeros((1, pairs))
    memory = [zero] * 4 + [np.zeros((1, I, pairs))] * 4
    cell, ys, state = FwdRealTimeLinearRTUs(pairs), [], tuple(part[None].numpy() for part in c)
    for u in x:
        (state, _), _ = cell.apply({"params": params}, (state, memory), u[None].numpy())
        ys.append(torch.tensor(np.maximum(np.concatenate(state, 1), 0.0)))
    p = {"nu_log": nu, "theta_log": theta, "weight_ih": W}
    return result(x, p, [c], [torch.tensor(np.concatenate(state))], ys)


CHANNELS, GRID = 4, (5, 6)


def frames():
    return draw(4, 2, *GRID, scale=1.0)


def conv_lstm():
    path = "Convolutional_LSTM_PyTorch/convolution_lstm.py"
    cell = shaken(take(path, "ConvLSTMCell", **TORCH).ConvLSTMCell(2, CHANNELS, 3))
    cell.Wci, cell.Wcf, cell.Wco = peep = draw(3, CHANNELS, *GRID)
    x, h, c = frames(), draw(CHANNELS, *GRID), draw(CHANNELS, *GRID)
    state, ys = (h[None], c[None]), []
    for u in x:
        state = cell(u[None], *state)
        ys.append(state[0])
    p = {"weight_ih": torch.cat([getattr(cell, f"Wx{gate}").weight for gate in "ifco"])}
    p["weight_hh"] = torch.cat([getattr(cell, f"Wh{gate}").weight for gate in "ifco"])
    p["bias"] = torch.cat([getattr(cell, f"Wx{gate}").bias for gate in "ifco"])
    p["weight_peep"] = peep.flatten(0, 1)
    return result(x, p, [h, c], [state[0][0], state[1][0]], ys)


def conv_gru():
    cell = take("ConvGRU-pytorch/convGRU.py", "ConvGRUCell", **TORCH).ConvGRUCell
    cell = shaken(cell(GRID, 2, CHANNELS, (3, 3), True, None))
    x, h = frames(), draw(CHANNELS, *GRID)
    W = torch.cat([cell.conv_gates.weight, cell.conv_can.weight])
    p = {"weight_ih": W[:, :2], "weight_hh": W[:, 2:]}
    p["bias"] = torch.cat([cell.conv_gates.bias, cell.conv_can.bias])
    return result(x, p, *one_state(cell, x, h))


CELLS = (
    janet,
    ugrnn,
    minimal_rnn,
    ligru,
    star,
    cfn,
    atr,
    ran,
    multiplicative_lstm,
    lstm,
    tau_gru,
    brc,
    nbrc,
    fastrnn,
    fastgrnn,
    ur_lstm,
    indy_lstm,
    rhn,
    sru,
    sru_recurrent,
    qrnn,
    qrnn_window,
    rtu,
    conv_lstm,
    conv_gru,
)
