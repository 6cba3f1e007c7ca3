"""Golden values of the cells with a matrix state, from the authors' own PyTorch and JAX forms.

    pip install torch numpy einops jax equinox
    git clone https://github.com/fla-org/flash-linear-attention  # bc3b101
    git clone https://github.com/state-spaces/mamba  # e9594ce
    git clone https://github.com/NX-AI/xlstm  # 032a6fb
    git clone https://github.com/open-lm-engine/lm-engine  # 36bad91
    git clone https://github.com/IBM/expressive-sparse-state-space-model  # 8682e78
    python tests/golden/make_matrix.py FOLDER_OF_THE_FIVE

writes tests/golden/matrix.npz. The naive forms compute in float32; here they do in float64.

Of each cell: `x`, the rows that its input map would give (of slstm and pd_ssm its inputs),
`p/FIELD` its parameters, `start` and `end`, the states, and `y`, the outputs. Activations, gates
and norms are computed here as the authors' layers do, so that their functions get what ours do.
"""

import importlib.util
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


# The casts of the naive forms, which are all of these.
torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)

T, H, K, V, RANK, GROUPS, PRODUCTS = 12, 4, 4, 3, 2, 2, 3
INPUTS, UNITS, STATES, MATRICES = 5, 6, 7, 3


FLA = "flash-linear-attention/fla/ops/"
XLSTM = "xlstm/xlstm/blocks/"


def load(path: str, name: str = "golden", **stubs: types.ModuleType):
    """One file as a module of that name, without its package; `stubs`: what it would import."""
    for stub, module in stubs.items():
        sys.modules[stub.replace("__", ".")] = module
    spec = importlib.util.spec_from_file_location(name, Path(sys.argv[1]) / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape)


def split(x: torch.Tensor, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """(T, rows) into a batch of one, (1, T, *shape) each."""
    parts = x.split([math.prod(shape) for shape in shapes], dim=-1)
    return [part.reshape(1, len(x), *shape) for part, shape in zip(parts, shapes)]


def rows(*shapes: tuple[int, ...]) -> torch.Tensor:
    return draw(T, sum(math.prod(shape) for shape in shapes))


def heads_first(*parts: torch.Tensor) -> list[torch.Tensor]:
    return [part.transpose(1, 2) for part in parts]


def unit(z: torch.Tensor) -> torch.Tensor:
    return z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def log_decay(p: dict[str, torch.Tensor], a: torch.Tensor) -> torch.Tensor:
    return -p["A_log"].exp() * F.softplus(a + p["bias_dt"])


def gate_parameters() -> dict[str, torch.Tensor]:
    return {"A_log": draw(H, scale=0.5), "bias_dt": draw(H, scale=0.5) - 2.0}


def result(x, p, start, end, y) -> dict[str, torch.Tensor]:
    return {"x": x, "start": start, "end": end, "y": y.reshape(T, -1)} | {
        f"p/{name}": value for name, value in p.items()
    }


def linear_attention():
    """eps stands beside q k scaled by K^-1/2 there, so beside q k it is 1e-10 K^1/2."""
    shapes = (H, K), (H, K), (H, V)
    x, S, z = rows(*shapes), draw(1, H, K, V), draw(1, 1, H, K).exp()
    q, k, v = split(x, *shapes)
    q, k = F.elu(q) + 1.0, F.elu(k) + 1.0
    module = load(f"{FLA}linear_attn/naive.py")
    y, (end, z_end) = module.naive_recurrent_linear_attn(
        q, k, v, initial_state=(S, z), output_final_state=True, normalize=True
    )
    start = torch.cat([S, z[0][..., None]], -1)[0]
    return result(x, {}, start, torch.cat([end, z_end[0][..., None]], -1)[0], y)


def retnet():
    """naive_retention knows no rotation: q and k come turned by n theta, from a zero state."""
    shapes = (H, K), (H, K), (H, V)
    x = rows(*shapes)
    q, k, v = split(x, *shapes)
    theta = 10000.0 ** -torch.linspace(0.0, 1.0, K // 2)
    angle = torch.outer(torch.arange(T).double(), theta)[None, :, None]

    def turned(z):
        z = torch.view_as_complex(z.reshape(1, T, H, K // 2, 2).contiguous())
        return torch.view_as_real(z * torch.exp(1j * angle)).reshape(1, T, H, K)

    y = load(f"{FLA}retention/naive.py").naive_retention(*heads_first(turned(q), turned(k), v))
    start = torch.zeros(H, K // 2, V, dtype=torch.complex128)
    return result(x, {}, start, torch.zeros(0), y.transpose(1, 2))


def gla():
    shapes = (H, K), (H, K), (H, V), (RANK,)
    p = {"weight_gate": draw(H * K, RANK), "bias_gate": draw(H * K)}
    x, start = rows(*shapes), draw(1, H, K, V)
    q, k, v, r = split(x, *shapes)
    gate = F.logsigmoid(r @ p["weight_gate"].T + p["bias_gate"]) / 16.0
    module = load(f"{FLA}gla/naive.py")
    y, end = module.naive_recurrent_gla(q, k, v, gate.reshape(1, T, H, K), start, True)
    return result(x, p, start[0], end[0], y)


def hgrn2():
    """The paper has no scale, so what naive_recurrent_gla puts on q is taken off before."""
    shapes = (H, K), (H, K), (H, V)
    x, start = rows(*shapes), draw(1, H, K, V)
    q, f, v = split(x, *shapes)
    lower = torch.tensor(0.25)
    g = torch.logaddexp(lower.log(), torch.log1p(-lower) + F.logsigmoid(f))
    module = load(f"{FLA}gla/naive.py")
    y, end = module.naive_recurrent_gla(F.silu(q) * K**0.5, 1 - g.exp(), v, g, start, True)
    return result(x, {}, start[0], end[0], y)


def mamba2():
    """States are (V, K) there. D u is added as the module of the authors does."""
    shapes = (H, V), (GROUPS, K), (GROUPS, K), (H,)
    p = gate_parameters() | {"D": draw(H)}
    x, start = rows(*shapes), draw(1, 1, H, V, K)
    u, B, C, delta = split(x, *shapes)
    delta = F.softplus(delta + p["bias_dt"])
    B, C = (z.repeat_interleave(H // GROUPS, dim=2) for z in (B, C))
    kernel = types.ModuleType("ssd_combined")
    kernel.mamba_chunk_scan_combined = None
    stubs = {"mamba_ssm__ops__triton__ssd_combined": kernel}
    module = load("mamba/mamba_ssm/modules/ssd_minimal.py", **stubs)
    A = -p["A_log"].exp()
    y, end = module.ssd_minimal_discrete(u * delta[..., None], A * delta, B, C, 4, start)
    y = y + p["D"][:, None] * u
    return result(x, p, start[0, 0].mT, end[0].mT, y)


def deltanet():
    shapes = (H, K), (H, K), (H, V), (H,)
    x, start = rows(*shapes), draw(1, H, K, V)
    q, k, v, beta = heads_first(*split(x, *shapes))
    module = load(f"{FLA}delta_rule/naive.py")
    y, end = module.delta_rule_recurrence(unit(q), unit(k), v, beta.sigmoid(), start)
    return result(x, {}, start[0], end[0], y.transpose(1, 2))


def gated_deltanet():
    """With beta in (0, 2)."""
    shapes = (H, K), (H, K), (H, V), (H,), (H,)
    p, x, start = gate_parameters(), rows(*shapes), draw(1, H, K, V)
    q, k, v, beta, a = split(x, *shapes)
    module = load(f"{FLA}gated_delta_rule/naive.py")
    y, end = module.naive_recurrent_gated_delta_rule(
        unit(q),
        unit(k),
        v,
        beta=2.0 * beta.sigmoid(),
        g=log_decay(p, a),
        initial_state=start,
        output_final_state=True,
    )
    return result(x, p, start[0], end[0], y)


def kda():
    shapes = (H, K), (H, K), (H, V), (H,), (RANK,)
    x, start = rows(*shapes), draw(1, H, K, V)
    p = {"A_log": draw(H, scale=0.5), "bias_dt": draw(H * K, scale=0.5) - 2.0}
    p["weight_gate"] = draw(H * K, RANK)
    q, k, v, beta, r = split(x, *shapes)
    rate = F.softplus(r @ p["weight_gate"].T + p["bias_dt"]).reshape(1, T, H, K)
    g = -p["A_log"].exp()[:, None] * rate
    module = load(f"{FLA}kda/naive.py")
    y, end = module.naive_recurrent_kda(
        unit(q), unit(k), v, g, beta.sigmoid(), initial_state=start, output_final_state=True
    )
    return result(x, p, start[0], end[0], y)


def delta_product():
    """The naive form leaves its scale out, so q comes scaled. (n h d) goes to (T n) h d."""
    n = PRODUCTS
    shapes = (H, K), (n, H, K), (n, H, V), (n, H), (H,)
    p, x, start = gate_parameters(), rows(*shapes), draw(1, H, K, V)
    q, k, v, beta, a = split(x, *shapes)
    k, v, beta = k.flatten(1, 2), v.flatten(1, 2), beta.flatten(1, 2)
    module = load(f"{FLA}gated_delta_product/naive.py")
    y, end = module.naive_recurrent_gated_delta_product(
        unit(q) * K**-0.5,
        unit(k),
        v,
        log_decay(p, a),
        2.0 * beta.sigmoid(),
        scale=None,
        cu_seqlens=None,
        initial_state=start,
        num_householder=n,
    )
    return result(x, p, start[0], end[0], y)


def rwkv7():
    """The general diagonal plus low rank form; the paper has no scale."""
    shapes = (H, K), (H, K), (H, V), (RANK,), (RANK,)
    p = {"weight_w": draw(H * K, RANK), "weight_a": draw(H * K, RANK)}
    p |= {name: draw(H * K) for name in ("bias_w", "bias_a", "k_k", "k_a")}
    x, start = rows(*shapes), draw(1, H, K, V)
    r, k, v, w_1, a_1 = split(x, *shapes)
    w = p["bias_w"] + w_1.tanh() @ p["weight_w"].T
    a = (p["bias_a"] + a_1 @ p["weight_a"].T).sigmoid().reshape(1, T, H, K)
    g = (-math.exp(-0.5) * w.sigmoid()).reshape(1, T, H, K)
    kappa = unit(k * p["k_k"].reshape(H, K))
    k = k * (1.0 + (a - 1.0) * p["k_a"].reshape(H, K))
    parts = heads_first(r * K**0.5, k, v, -kappa, kappa * a, g)
    module = load(f"{FLA}generalized_delta_rule/dplr/naive.py")
    y, end = module.dplr_recurrence(*parts, initial_state=start)
    return result(x, p, start[0], end[0], y.transpose(1, 2))


def mlstm():
    """From the empty state with m = 0; `end` is C and n in one, without their scale exp(-m).

    The authors scale k by K^-1/2 and we do q, so their C and n come times K^1/2.
    """
    shapes = (H, K), (H, K), (H, V), (H,), (H,)
    x = 2.0 * rows(*shapes)
    q, k, v, i, f = split(x, *shapes)
    module = load(f"{XLSTM}mlstm/backends.py")
    C, n, m = torch.zeros(1, H, K, V), torch.zeros(1, H, K, 1), torch.zeros(1, H, 1, 1)
    ys = []
    for t in range(T):
        vectors = (z[:, t, :, None].clone() for z in (q, k, v))
        gates = (z[:, t, :, None, None] for z in (i, f))
        y, (C, n, m) = module.recurrent_step_stabilized_simple(C, n, m, *vectors, *gates, eps=0.0)
        ys.append(y)
    end = torch.cat([C, n], -1)[0] * m[0].exp() * K**0.5
    return result(x, {}, torch.zeros(0), end, torch.stack(ys))


def slstm():
    """R is (heads, gates d, d) there; start and end are (y, c, n, m)."""
    folder = f"{XLSTM}slstm/src/vanilla/"
    for part in ("slstm", "lstm"):
        load(f"{folder}{part}.py", f"vanilla.{part}")
    module = load(f"{folder}__init__.py", "vanilla")
    d = UNITS // 2
    p = {"weight_ih": draw(4 * UNITS, INPUTS), "weight_hh": draw(4, 2, d, d)}
    p["bias"] = draw(4 * UNITS)
    x, start = draw(T, INPUTS), draw(4, 1, UNITS)
    start[2] = start[2].exp()
    R = p["weight_hh"].transpose(0, 1).reshape(2, 4 * d, d)
    rule = module.slstm_pointwise_function_registry["slstm"]
    states, end, _ = module.slstm_forward(
        (x @ p["weight_ih"].T)[:, None], start, R, p["bias"], rule
    )
    return result(x, p, start[:, 0], end[:, 0], states[0, 1:])


def m2rnn():
    """`clip_gradients` clips only cotangents, so forward it is nothing."""
    shapes = (H, K), (H, K), (H, V), (H,)
    p = gate_parameters() | {"weight_hh": draw(H, V, V, scale=0.5), "D": draw(H, V)}
    x, start = rows(*shapes), draw(1, H, K, V, scale=0.5)
    q, k, v, f = split(x, *shapes)
    utils, activations = types.ModuleType("utils"), types.ModuleType("activations")
    utils.divide_if_divisible = lambda one, other: one // other
    activations.clip_gradients, activations.tanh = lambda z, bound: z, torch.tanh
    module = load(
        "lm-engine/lm_engine/modeling_utils/sequence_mixer_blocks/m2rnn/op.py",
        "lm.nets.blocks.m2rnn.op",
        lm__utils=utils,
        lm__nets__activations=activations,
    )
    y, end = module.m2rnn_torch(q, k, v, log_decay(p, f).exp(), p["weight_hh"], start, None)
    return result(x, p, start[0], end[0], y + p["D"] * v)


def pd_ssm():
    """The authors' D is a vector, ours a matrix; their state is not given out."""
    import jax

    jax.config.update("jax_enable_x64", True)
    module = load("expressive-sparse-state-space-model/time_series_JAX/models/PDSSM.py")
    layer = module.PDSSMLayer(STATES, UNITS, MATRICES, key=jax.random.key(0))
    x = draw(T, UNITS)
    y = torch.tensor(np.asarray(layer(jax.numpy.asarray(x.numpy()))))

    def pair(name):
        return np.stack([getattr(layer, f"{name}_re"), getattr(layer, f"{name}_im")])

    p = {"B": pair("B"), "C": pair("C"), "D": np.diag(layer.D)}
    p |= {"M": layer.P_dict, "S": layer.P_selector}
    p |= {"weight_mag": layer.W1_mag, "bias_mag": layer.b1_mag}
    p |= {"weight_phase": layer.W1_pha, "bias_phase": layer.b1_pha}
    p = {name: torch.tensor(np.asarray(value)) for name, value in p.items()}
    return result(x, p, torch.zeros(STATES, dtype=torch.complex128), torch.zeros(0), y)


CELLS = (
    linear_attention,
    retnet,
    gla,
    hgrn2,
    mamba2,
    deltanet,
    gated_deltanet,
    kda,
    delta_product,
    rwkv7,
    mlstm,
    slstm,
    m2rnn,
    pd_ssm,
)


def main() -> None:
    arrays = {}
    for seed, cell in enumerate(CELLS):
        torch.manual_seed(seed)
        for name, value in cell().items():
            arrays[f"{cell.__name__}/{name}"] = value.numpy()
    np.savez(Path(__file__).with_name("matrix.npz"), **arrays)


main()
