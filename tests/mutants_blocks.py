"""Rows of `test_mutants.py`: mistakes in the blocks of networks whose heads keep a matrix."""

HAND = "test_heads_blocks.py -k 'by_hand and {}'"
GAPS = "test_heads_blocks.py -k 'gaps and {}'"
BY_NAME = "test_heads_blocks.py -k 'papers_by_name and {}'"
HEADS, MAMBA2 = "layers/heads_block.py", "layers/mamba2_block.py"
LEADING, PUBLISHED = "layers/leading.py", "layers/published.py"
BLOCKS = {
    "heads block convolves what the decays are made of": (HEADS, "size = core.num_heads * (2 * core.key_size + core.value_size)\n", "size = core.input_size\n", HAND.format("gated_deltanet")),
    "heads block convolves q and k alone": (HEADS, "(2 * core.key_size + core.value_size)", "(2 * core.key_size)", HAND.format("kda")),
    "heads block without silu behind the convolution": (HEADS, "Stacked([conv, silu])", "conv", HAND.format("deltanet")),
    "heads block gates before its norm": (HEADS, "        v = jax.vmap(self.norm)(heads).ravel()\n        g = g if", "        v = jax.vmap(self.norm)((v * _GATES[self.gate](g)).reshape(heads.shape)).ravel()\n        return v\n        g = g if", HAND.format("gla")),
    "heads block norms all heads together": (HEADS, "v = jax.vmap(self.norm)(heads).ravel()", "v = (heads * jax.lax.rsqrt(jnp.mean(heads**2) + self.norm.eps)).ravel()", HAND.format("retnet")),
    "kda gated by silu": (HEADS, 'gate="sigmoid", low_rank=True', 'gate="silu", low_rank=True', HAND.format("kda")),
    "deltanet's block has a gate": (HEADS, '_Published(gate="none", activated=True)', "_Published(activated=True)", "test_heads_blocks.py -k gates_of"),
    "gla's block convolves": (HEADS, '"gla": _Published(kernel_size=0)', '"gla": _Published()', "test_heads_blocks.py -k sizes_of_the_papers"),
    "retnet's norm has weights": (HEADS, "norm_weight=False, eps", "eps", "test_heads_blocks.py -k sizes_of_the_papers"),
    "retnet's maps start as one": (HEADS, "parts = [keys_size, keys_size, width, gates]", "parts = [2 * keys_size + width + gates]", "test_heads_blocks.py -k retnet_starts"),
    "mamba2 block norms before its gate": (MAMBA2, "groups = (v * jax.nn.silu(g)).reshape(-1, self.norm.shape[0])\n        return self.norm_weight *", "groups = v.reshape(-1, self.norm.shape[0])\n        return jax.nn.silu(g) * self.norm_weight *", HAND.format("mamba2")),
    "mamba2 block norms all groups together": (MAMBA2, "eqx.nn.RMSNorm(wide // num_groups,", "eqx.nn.RMSNorm(wide,", HAND.format("groups")),
    "mamba2 block convolves its steps": (MAMBA2, "mixed = rows - cell.num_heads", "mixed = rows", HAND.format("mamba2")),
    "mamba2 block convolves x alone": (MAMBA2, "mixed = rows - cell.num_heads", "mixed = wide", HAND.format("mamba2")),
    "the first features see padding": (LEADING, '"mask": steps.mask, "reset"', '"mask": None, "reset"', GAPS.format("deltanet")),
    "the first features forget no document": (LEADING, '"reset": steps.reset, "key"', '"reset": None, "key"', HAND.format("kda")),
    "a network of heads without perceptrons": (PUBLISHED, "functools.partial(HeadsBlock, name), mlp=mlp)", "functools.partial(HeadsBlock, name))", BY_NAME.format("gla")),
    "a network of heads without its last norm": (PUBLISHED, "*blocks, norm])", "*blocks, Pointwise(eqx.nn.Identity(), size, size)])", BY_NAME.format("mamba2")),
}  # fmt: skip
