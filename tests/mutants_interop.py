"""Rows of `test_mutants.py`: mistakes in what reads the arrays of other people's matrix states."""

TESTS = "test_interop_matrix.py -k '{}'"
FLA = TESTS.format("test_layers_of_fla and not single and {}")
BAD = TESTS.format("bad_arrays_of_fla or every_array_of_fla")
MODELS = TESTS.format("test_models_of_transformers and {}")
LAYERS, HEADS = "interop/fla_layers.py", "interop/_fla_heads.py"
MAMBA2 = "interop/mamba2_arrays.py"
TRANSFORMERS, XLSTM = "interop/transformers_models.py", "interop/xlstm_arrays.py"
LARGE = "layers/xlstm_large_block.py"
INTEROP = {
    "fla's convolutions oldest first": (HEADS, "[:, 0, ::-1]", "[:, 0]", FLA.format("DeltaNet")),
    "fla's pairs stay in halves": (HEADS, 'if layer.cell == "retnet":', "if False:", FLA.format("Retention")),
    "fla's retention with the paper's angles": (LAYERS, '"rotary": True', '"rotary": False', FLA.format("Retention")),
    "fla's shared heads take turns": (HEADS, "return jnp.repeat(by_head, heads // count, 1)", "return jnp.tile(by_head, (1, heads // count) + (1,) * (by_head.ndim - 2))", FLA.format("Gated")),
    "fla's scale before a norm is forgotten": (HEADS, "(sizes.key if scaled else 1)", "1", FLA.format("LinearAttention")),
    "fla's decay and share are swapped": (LAYERS, "rows = [*own.rows, given.take(", "rows = [given.take(", FLA.format("GatedDeltaNet")),
    "fla's steps of one input are taken for heads": (HEADS, "shapes = (sizes.key, 1), (sizes.key, sizes.steps), (sizes.value, sizes.steps)", "shapes = (sizes.key, 1), (sizes.key * sizes.steps, 1), (sizes.value * sizes.steps, 1)", FLA.format("DeltaProduct")),
    "fla's hgrn2 forgets all in a step": (LAYERS, 'float(chosen["lower_bound"])', "0.0", FLA.format("HGRN2")),
    "from_fla takes any value of an option": (LAYERS, "if only and value != default.value:", "if False:", BAD),
    "from_fla leaves arrays out": (LAYERS, "    given.finish()\n    return made", "    return made", BAD),
    "mamba-2 with z first": (MAMBA2, "jnp.concatenate([rows[wide:], rows[:wide]])", "rows", FLA.format("Mamba2")),
    "mamba-2's groups are taken from the default": (TRANSFORMERS, 'config.get("n_groups", 8)', "1", MODELS.format("mamba2")),
    "recurrentgemma's gates are swapped": (TRANSFORMERS, 'for gate in ("recurrent", "input")', 'for gate in ("input", "recurrent")', MODELS.format("gemma")),
    "recurrentgemma's embeddings are not scaled": (TRANSFORMERS, "jnp.asarray(size**0.5, jnp.bfloat16)", "jnp.asarray(1.0)", MODELS.format("gemma")),
    "recurrentgemma's last norm is less 1": (TRANSFORMERS, "norm = 1 + norm", "norm = norm", MODELS.format("gemma")),
    "rwkv7's mixes of a and g are swapped": ("interop/rwkv7_arrays.py", 'for part in "rwkvag"])', 'for part in "rwkvga"])', FLA.format("RWKV7")),
    "rwkv7's norms of heads with another eps": ("interop/rwkv7_arrays.py", "eps=head * norm_eps", "eps=norm_eps", FLA.format("RWKV7")),
    "xlstm large's gates are swapped": (TRANSFORMERS, 'gate_preact.bias", heads) for name in "if"]', 'gate_preact.bias", heads) for name in "fi"]', MODELS.format("xlstm")),
    "xlstm large's gates without a cap": (LARGE, "self.cap * jnp.tanh((x[-size:] + self.bias) / self.cap)", "x[-size:] + self.bias", MODELS.format("xlstm")),
    "xlstm large's gates are biased behind the cap": (LARGE, "jnp.tanh((x[-size:] + self.bias) / self.cap)", "jnp.tanh(x[-size:] / self.cap) + self.bias", MODELS.format("xlstm")),
    "xlstm large gates by silu": (LARGE, ".ravel() * jax.nn.sigmoid(g)", ".ravel() * jax.nn.silu(g)", MODELS.format("xlstm")),
    "xlstm large norms all heads together": (LARGE, "eqx.nn.LayerNorm(size // heads,", "eqx.nn.LayerNorm(size,", MODELS.format("xlstm")),
    "xlstm large's gates start as its keys": (LARGE, "weight = project_in.weight.at[rows - 2 * heads : rows].set(0)", "weight = project_in.weight", TESTS.format("large_starts")),
    "xlstm's gates by their names": (XLSTM, 'in "fizo"]', 'in "ifzo"]', TESTS.format("test_xlstm and slstm")),
    "xlstm's kernels of cuda are transposed": (XLSTM, "transpose(2, 0, 3, 1)", "transpose(2, 0, 1, 3)", TESTS.format("test_xlstm and slstm")),
    "xlstm's norms are not less 1": (XLSTM, 'weight=1 + given.take(f"{name}.weight", size)', 'weight=given.take(f"{name}.weight", size)', TESTS.format("test_xlstm and mlstm")),
    "a step's parts of complex numbers change places": ("interop/_programs.py", 'named[f"{name}.real"], named[f"{name}.imag"]', 'named[f"{name}.imag"], named[f"{name}.real"]', "test_export.py -k 'a_step_equals and complex'"),
    "a step is exported in training": ("interop/_programs.py", "hold)(eqx.nn.inference_mode(model))", "hold)(model)", "test_export.py -k 'a_step_equals and complex'"),
    "a file names what a module imported": ("train/_structure.py", "or found.__module__ != module:", "or False:", "test_save.py -k runs_no_code"),
    "a file names functions that write": ("train/_structure.py", ".startswith(home)", ".startswith('')", "test_save.py -k runs_no_code"),
    "the best model is the last one": ("train/save.py", "'model' if which == 'last' else 'best'", "'model'", "test_save.py -k of_a_checkpoint"),
}  # fmt: skip
