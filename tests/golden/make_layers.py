"""Golden values from PyTorch, Keras and Flax for recurrent layers, over a padded batch.

    pip install torch keras flax numpy && KERAS_BACKEND=jax python tests/golden/make_layers.py

writes tests/golden/layers.npz: for each module what it is, and its arrays, its outputs and, of
torch, its final states, in float64, end to end. All read the same inputs, three sequences of 6, 4
and 1 steps.
Keras runs in single precision, which parts of it (tanh) take whatever they are told.
"""

import json
from pathlib import Path

import jax
import keras
import numpy as np
import torch
from flax import linen
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


jax.config.update("jax_enable_x64", True)

I, H, LENGTHS = 3, 4, (6, 4, 1)
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(3, 6, I))
DEEP = {"num_layers": 2, "bidirectional": True}
TORCH = {
    "rnn": (torch.nn.RNN, DEEP),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu", "num_layers": 2}),
    "rnn_no_bias": (torch.nn.RNN, {"bias": False, **DEEP}),
    "lstm": (torch.nn.LSTM, {"dropout": 0.5, **DEEP}),
    "lstm_no_bias": (torch.nn.LSTM, {"bias": False}),
    "lstm_proj": (torch.nn.LSTM, {"proj_size": 2, **DEEP}),
    "lstm_proj_no_bias": (torch.nn.LSTM, {"proj_size": 3, "bias": False}),
    "gru": (torch.nn.GRU, DEEP),
    "gru_no_bias": (torch.nn.GRU, {"bias": False, **DEEP}),
}
CELLS = {
    "rnn_cell": (torch.nn.RNNCell, {"nonlinearity": "relu"}),
    "lstm_cell": (torch.nn.LSTMCell, {}),
    "gru_cell": (torch.nn.GRUCell, {}),
}
KERAS = {
    "simple": (keras.layers.SimpleRNN, {}),
    "simple_relu": (keras.layers.SimpleRNN, {"activation": "relu", "use_bias": False}),
    "lstm": (keras.layers.LSTM, {}),
    "gru": (keras.layers.GRU, {}),
    "gru_no_bias": (keras.layers.GRU, {"use_bias": False}),
    "gru_before": (keras.layers.GRU, {"reset_after": False}),
    "gru_before_no_bias": (keras.layers.GRU, {"reset_after": False, "use_bias": False}),
}
FLAX = {
    "simple": linen.SimpleCell,
    "lstm": linen.LSTMCell,
    "optimized": linen.OptimizedLSTMCell,
    "gru": linen.GRUCell,
}


def tell(module):
    """What `from_torch` asks of a module beside its arrays."""
    names = ("num_layers", "nonlinearity", "dropout", "training")
    about = {k: getattr(module, k) for k in names if hasattr(module, k)}
    return {"name": type(module).__name__, **about}


def torch_layer(make, options):
    module = make(I, H, batch_first=True, **options).double().eval()
    packed = pack_padded_sequence(torch.tensor(XS), LENGTHS, batch_first=True)
    ys, state = module(packed)
    states = state if isinstance(state, tuple) else (state,)
    found = {"about": tell(module), "ys": pad_packed_sequence(ys, batch_first=True)[0]}
    found |= {f"state{i}": part for i, part in enumerate(states)}
    return found | {f"p/{k}": v for k, v in module.state_dict().items()}


def torch_cell(make, options):
    module = make(I, H, **options).double().eval()
    state = module(torch.tensor(XS[:, 0]))
    ys = state[0] if isinstance(state, tuple) else state
    return {"about": tell(module), "ys": ys} | {f"p/{k}": v for k, v in module.state_dict().items()}


def keras_layer(make, options, both):
    layer = make(H, return_sequences=True, **options)
    layer = keras.layers.Bidirectional(layer) if both else layer
    layer.build(XS.shape)
    layer.set_weights([w + 0.3 * RNG.normal(size=w.shape) for w in layer.get_weights()])
    mask = np.arange(6) < np.array(LENGTHS)[:, None]
    # A layer of Keras repeats its last output where it is masked.
    ys = keras.ops.convert_to_numpy(layer(XS, mask=mask)) * mask[..., None]
    return {"ys": ys} | {f"p/{i}": w for i, w in enumerate(layer.get_weights())}


def flax_layer(make, both):
    rnn = linen.RNN(make(H, param_dtype=float))
    if both:
        rnn = linen.Bidirectional(rnn, linen.RNN(make(H, param_dtype=float)))
    params = rnn.init(jax.random.key(0), XS)["params"]
    params = jax.tree.map(lambda p: p + 0.3 * RNG.normal(size=p.shape), params)
    ys = rnn.apply({"params": params}, XS, seq_lengths=np.array(LENGTHS))
    ys = np.asarray(ys) * (np.arange(6) < np.array(LENGTHS)[:, None])[..., None]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return {"ys": ys} | {f"p/{k}": v for k, (_, v) in zip(names, leaves)}


def main():
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    made = {f"torch/{k}": torch_layer(*v) for k, v in TORCH.items()}
    made |= {f"torch/{k}": torch_cell(*v) for k, v in CELLS.items()}
    for both, end in ((False, ""), (True, "_both")):
        made |= {f"keras/{k}{end}": keras_layer(*v, both) for k, v in KERAS.items()}
        made |= {f"flax/{k}{end}": flax_layer(v, both) for k, v in FLAX.items()}
    arrays = {"xs": XS, "lengths": np.array(LENGTHS)}
    for name, found in made.items():
        about = found.pop("about", {})
        found = {k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in found.items()}
        found = {k: np.asarray(v) for k, v in found.items()}
        about["shapes"] = {k: v.shape for k, v in found.items()}
        arrays[f"{name}/about"] = np.array(json.dumps(about))
        arrays[name] = np.concatenate([v.reshape(-1) for v in found.values()])
    np.savez_compressed(Path(__file__).with_name("layers.npz"), **arrays)


main()
