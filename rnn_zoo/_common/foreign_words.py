"""Words of other libraries, and what they are here: the ends of messages about unknown names.

Nothing is imported here: the package reads it before all else.
"""

# Options that are here under another name, of torch, Keras, flax, ncps, reservoirpy and others.
RENAMED = {
    **dict.fromkeys(
        ("units", "n_units", "num_units", "hidden_dim", "hidden_features", "hidden", "n_hidden"),
        "hidden_size",
    ),
    **dict.fromkeys(("features", "d_model", "nhid", "neurons", "reservoir_size"), "hidden_size"),
    **dict.fromkeys(("input_dim", "in_features", "in_size", "n_inputs", "d_input"), "input_size"),
    **dict.fromkeys(
        ("output_dim", "out_features", "out_size", "n_outputs", "d_output", "num_classes"),
        "output_size",
    ),
    **dict.fromkeys(("n_layers", "layers", "depth"), "num_layers"),
    **dict.fromkeys(("dropout_rate", "dropout_p"), "dropout"),
    **dict.fromkeys(("bias", "with_bias"), "use_bias"),
    **dict.fromkeys(("nonlinearity", "activation_fn", "act", "phi"), "activation"),
    **dict.fromkeys(("param_dtype", "dtypes", "policy"), "dtype"),
    **dict.fromkeys(("rng", "rngs", "seed", "random_state"), "key"),
    **dict.fromkeys(("d_state", "ssm_size", "state_dim", "N"), "state_size"),
    **dict.fromkeys(("n_heads", "heads", "nhead"), "num_heads"),
    "vocab_size": "embedding_size",
    "sr": "spectral_radius",
    **dict.fromkeys(("leaky_rate", "leak_rate", "leaking_rate", "alpha"), "leak"),
    **dict.fromkeys(("input_scale", "in_scaling"), "input_scaling"),
    **dict.fromkeys(("bias_scale", "bias_scaling_factor"), "bias_scaling"),
    **dict.fromkeys(("rc_connectivity", "sparsity", "density"), "connectivity"),
    **dict.fromkeys(("noise_rc", "noise_level"), "noise"),
    **dict.fromkeys(("timespans", "elapsed_time", "delta_t", "time_delta"), "dt"),
    **dict.fromkeys(("hx", "initial_state", "h0", "initial_carry"), "state"),
    **dict.fromkeys(("seq_lengths", "lengths", "sequence_length"), "mask"),
}

# What has no option of its own, or what another object is asked for.
ELSEWHERE = {
    "return_sequences": "a layer gives the outputs of all steps, layer(xs)[-1] is the last; a "
    'model has pool="last", or pool=None for all steps',
    "return_state": "layer.scan(xs) gives the state, too: state, ys = layer.scan(xs)",
    **dict.fromkeys(
        ("batch_first", "time_major"),
        "a layer reads one sequence, (time, features); rz.batch(layer) reads (batch, time, "
        "features)",
    ),
    **dict.fromkeys(
        ("batch_size", "batch_input_shape", "input_shape"),
        "a layer reads one sequence, and rz.batch(layer) any number of them; give input_size alone",
    ),
    "stateful": "the state is an argument and a result: state, ys = layer.scan(xs, state)",
    "unroll": "a layer compiles one step for all times; rz.scan.unroll is that loop",
    "training": "eqx.nn.inference_mode(model) is the model without dropout",
    "deterministic": "eqx.nn.inference_mode(model) is the model without dropout",
    "lr": "the leak rate of a reservoir is leak here; a learning rate belongs to the optimiser, "
    "optax.adam(1e-3)",
    "learning_rate": "it belongs to the optimiser, optax.adam(1e-3)",
    "optimizer": "rz.train.fit takes it",
    "loss": "rz.train.fit takes it",
    "bidirectional": "a cell is one step: rz.Bidirectional(forward, backward) runs two of them, "
    "rz.GRU and its kind and rz.make_model take bidirectional=True",
    "go_backwards": "rz.layers.Backward(cell) runs a cell from the end",
    "reverse": "rz.layers.Backward(cell) runs a cell from the end",
    "num_layers": "a cell is one layer: rz.Stacked puts several in a row, rz.GRU and its kind and "
    "rz.make_model take num_layers",
    "dropout": "of a cell it is a wrapper, rz.VariationalDropout(cell, state_rate=...) or "
    "rz.Zoneout(cell, ...); between layers, rz.Stacked(layers, dropout=...)",
    "recurrent_dropout": "it is a wrapper, rz.VariationalDropout(cell, state_rate=...)",
    "proj_size": "of an LSTM it is rz.cells.LSTMPCell(input_size, hidden_size, cell_size=...)",
    "wiring": "a neuron map stands in the place of hidden_size, rz.CfC(3, "
    "rz.wiring.AutoNCPMap(3, 28, 4), key=key); rz.cells.WiredCfCCell takes it alone",
    "mixed_memory": "of a cell it is a wrapper, rz.MixedMemory(cell, key=key); rz.CfC and rz.LTC "
    "take it",
    "mask_zero": "a mask is an argument of the call, layer(xs, mask=mask)",
    "device": "jax.device_put(model, device) moves a model",
    "name": "a part has no name: it is an attribute, model.layer",
    "feedback": "outputs are fed as further inputs; rz.Autoregressive(network) feeds them back",
    "ridge": "it is an argument of network.fit_readout",
    "output_size": "a cell gives hidden_size numbers: rz.make_model has a head of output_size",
    **dict.fromkeys(
        ("kernel_init", "kernel_initializer", "recurrent_initializer", "bias_initializer"),
        "rz.init has initial values, and eqx.tree_at puts an array into a cell",
    ),
    **dict.fromkeys(
        ("carry_init", "initial_state_learnable", "learn_h0"),
        "init_state() says it; rz.LearnedInitialState(cell) trains it",
    ),
    **dict.fromkeys(
        ("kernel_regularizer", "recurrent_regularizer", "weight_decay"),
        "the optimiser does it, optax.adamw(1e-3, weight_decay=...), or a loss of your own",
    ),
}

# Classes and functions, by the names that they have elsewhere.
NAMES = {
    "AutoNCP": "rz.wiring.AutoNCPMap(input_size, units, output_size)",
    "NCP": "rz.wiring.NCPMap",
    "FullyConnected": "rz.wiring.FullyConnectedMap",
    "Random": "rz.wiring.RandomMap",
    "Wiring": "rz.wiring.NeuronMap",
    **dict.fromkeys(
        ("ESN", "Reservoir", "EchoState"), "rz.EchoStateNetwork, of a rz.cells.EchoStateCell"
    ),
    "Ridge": "rz.reservoir.ridge",
    **dict.fromkeys(("SimpleRNN", "Elman"), "rz.RNN"),
    **dict.fromkeys(("SimpleRNNCell", "SimpleCell", "RNNCell"), "rz.cells.ElmanCell"),
    "OptimizedLSTMCell": "rz.cells.LSTMCell",
    "TimeDistributed": "rz.layers.Pointwise",
    "Linear": "equinox.nn.Linear",
    "Embedding": "equinox.nn.Embedding",
    **dict.fromkeys(
        ("pad_sequence", "pack_sequence", "pack_padded_sequence", "pad_packed_sequence"),
        "rz.data.pad_sequences, and a mask in the place of packing",
    ),
    **dict.fromkeys(("fit", "evaluate", "save", "load", "mse", "cross_entropy"), "in rz.train"),
    **dict.fromkeys(("unroll", "over_devices", "in_chunks"), "in rz.scan"),
    **dict.fromkeys(("Batch", "batches", "windows", "read_csv"), "in rz.data"),
}


def name_hint(name: str) -> str:
    """The end of a message about a name that a module does not have."""
    return f": it is {NAMES[name]}" if name in NAMES else ""
