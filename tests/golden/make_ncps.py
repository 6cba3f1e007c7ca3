"""Golden values from ncps (its PyTorch form) for CfC and LTC: weights, inputs, outputs, gradients.

    pip install torch ncps numpy && python tests/golden/make_ncps.py

writes tests/golden/ncps.npz: for each module its arrays, one sequence with irregular times,
the outputs and the final state, and the gradients of sum(sin(y)).
"""

import json
from pathlib import Path

import numpy as np
import torch
from ncps.torch import LTC, CfC
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random


I, H, T = 3, 5, 6
SMALL = {"backbone_units": 4}
EXPLICIT = {"implicit_param_constraints": False, "input_mapping": "linear", "ode_unfolds": 3}
MODULES = {
    "default": lambda: CfC(I, H, **SMALL),
    "pure": lambda: CfC(I, H, mode="pure", **SMALL),
    "no_gate": lambda: CfC(I, H, mode="no_gate", activation="gelu", **SMALL),
    "no_backbone": lambda: CfC(I, H, backbone_layers=0, proj_size=2),
    "deep": lambda: CfC(I, H, backbone_layers=3, backbone_dropout=0.5, activation="silu", **SMALL),
    "mixed": lambda: CfC(I, H, mixed_memory=True, proj_size=2, activation="tanh", **SMALL),
    "auto_ncp": lambda: CfC(I, AutoNCP(8, 2)),
    "ncp_pure": lambda: CfC(I, NCP(4, 3, 2, 2, 2, 2, 2), mode="pure"),
    "random_no_gate": lambda: CfC(I, Random(6, sparsity_level=0.5), mode="no_gate"),
    "full_mixed": lambda: CfC(I, FullyConnected(6, 2), mixed_memory=True),
    "ltc": lambda: LTC(I, H),
    "ltc_explicit": lambda: LTC(I, Random(6, sparsity_level=0.5), **EXPLICIT),
    "ltc_no_maps": lambda: LTC(I, FullyConnected(6, 2), input_mapping=None, output_mapping=None),
    "ltc_ncp": lambda: LTC(I, NCP(4, 3, 2, 2, 2, 2, 2), output_mapping="linear"),
    "ltc_auto_ncp_mixed": lambda: LTC(I, AutoNCP(8, 2), mixed_memory=True),
}
LTC_OPTIONS = (
    "_ode_unfolds",
    "_input_mapping",
    "_output_mapping",
    "_implicit_param_constraints",
    "_epsilon",
)


def describe(module):
    """What `from_ncps` asks of a module beside its arrays."""
    cell = module.rnn_cell
    if isinstance(module, LTC):
        return {
            "adjacency": cell._wiring.adjacency_matrix.tolist(),
            "sensory_adjacency": cell._wiring.sensory_adjacency_matrix.tolist(),
            "outputs": cell._wiring.output_dim,
            "options": [getattr(cell, name) for name in LTC_OPTIONS],
            "mixed": module.use_mixed,
        }
    if hasattr(cell, "_wiring"):
        wiring = cell._wiring
        return {
            "mode": cell._layers[0].mode,
            "adjacency": wiring.adjacency_matrix.tolist(),
            "sensory_adjacency": wiring.sensory_adjacency_matrix.tolist(),
            "layers": [wiring.get_neurons_of_layer(i) for i in range(wiring.num_layers)],
            "mixed": module.use_mixed,
        }
    parts = [] if cell.backbone is None else [type(part).__name__ for part in cell.backbone]
    return {"mode": cell.mode, "backbone": parts, "mixed": module.use_mixed}


def run(module):
    """Every array that the comparison needs, by name."""
    state = (module.state_size,)
    xs, dt = torch.randn(T, I), torch.rand(T) * 2
    hx = (torch.randn(state), torch.randn(state)) if module.use_mixed else torch.randn(state)
    leaves = {"xs": xs, "dt": dt, **dict(zip("hc", hx if module.use_mixed else (hx,)))}
    for leaf in leaves.values():
        leaf.requires_grad_()
    ys, final = module(xs, hx, timespans=dt)
    torch.sin(ys).sum().backward()
    parameters = {f"p/{k}": v for k, v in module.state_dict(keep_vars=True).items()}
    gradients = {
        f"grad/{k}": torch.zeros_like(v) if v.grad is None else v.grad
        for k, v in (leaves | parameters).items()
    }
    finals = final if module.use_mixed else (final,)
    values = leaves | parameters | gradients | {"ys": ys, **dict(zip(("h'", "c'"), finals))}
    return {k: v.detach().numpy() for k, v in values.items()}


def main():
    torch.set_default_dtype(torch.float64)
    arrays = {"version": np.array(torch.__version__)}
    for seed, (name, make) in enumerate(MODULES.items()):
        torch.manual_seed(seed)
        module = make().double().eval()
        values = run(module)
        about = describe(module) | {"shapes": {k: v.shape for k, v in values.items()}}
        # One vector and its shapes: hundreds of small arrays would be mostly file headers.
        arrays[f"{name}/about"] = np.array(json.dumps(about))
        arrays[name] = np.concatenate([v.ravel() for v in values.values()])
    np.savez_compressed(Path(__file__).with_name("ncps.npz"), **arrays)


if __name__ == "__main__":
    main()
