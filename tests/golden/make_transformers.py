"""Golden values of tiny recurrent language models of transformers with random weights.

    pip install torch transformers==5.24.0 numpy
    python tests/golden/make_transformers.py

writes tests/golden/transformers.npz: for each model its config, random arrays by their names there,
tokens, what the layers give for them and the logits. transformers computes norms and states in
single precision.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers


SIZE, TOKENS, T = 8, 11, 9
SHARED = {"vocab_size": TOKENS, "hidden_size": SIZE, "num_hidden_layers": 2}
STATES = {"state_size": 3, "use_cache": False, "layer_norm_epsilon": 0.01}
MODELS = {
    "mamba": ("Mamba", {"time_step_rank": 2, "conv_kernel": 3, "use_bias": True}),
    "mamba2": ("Mamba2", {"head_dim": 4, "num_heads": 4, "n_groups": 2, "chunk_size": 4}),
    "recurrent_gemma": (
        "RecurrentGemma",
        {"lru_width": 12, "num_attention_heads": 3, "intermediate_size": 20, "use_cache": False}
        | {"block_types": ["recurrent"], "rms_norm_eps": 0.01, "logits_soft_cap": 1e9},
    ),
    "xlstm": (
        "xLSTM",
        {"num_heads": 2, "num_blocks": 2, "ffn_round_up_to_multiple_of": 1, "norm_eps": 0.01}
        | {"gate_soft_cap": 3.0, "output_logit_soft_cap": 1e9, "use_cache": False}
        | {"autocast_kernel_dtype": "float32", "eps": 0.0},
    ),
}


def make(kind: str):
    """A model with every parameter at random."""
    name, options = MODELS[kind]
    options = SHARED | options | (STATES if "mamba" in kind else {})
    config = getattr(transformers, f"{name}Config")(**options)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return model, options


def main() -> None:
    found = {"version": np.array(transformers.__version__)}
    for seed, kind in enumerate(MODELS):
        torch.manual_seed(seed)
        model, options = make(kind)
        tokens = torch.randint(TOKENS, (1, T))
        with torch.no_grad():
            logits = model(tokens).logits[0]
            hidden = model.base_model(tokens).last_hidden_state[0]
        arrays = {f"p/{k}": v for k, v in model.state_dict().items()}
        parts = arrays | {"x": tokens[0], "y": logits, "hidden": hidden}
        shapes = {k: [*v.shape] for k, v in parts.items()}
        about = {"config": {"model_type": kind, **options}, "shapes": shapes}
        found[f"{kind}/about"] = np.array(json.dumps(about))
        found[kind] = np.concatenate([v.numpy().reshape(-1) for v in parts.values()])
    np.savez_compressed(Path(__file__).with_name("transformers.npz"), **found)


if __name__ == "__main__":
    main()
