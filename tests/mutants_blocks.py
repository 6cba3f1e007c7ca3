"""Rows of `test_mutants.py`: mistakes in the blocks of networks whose heads keep a matrix."""

HAND = "test_heads_blocks.py -k 'by_hand and {}'"
GAPS = "test_heads_blocks.py -k 'gaps and {}'"
BY_NAME = "test_heads_blocks.py -k 'papers_by_name and {}'"
HEADS, MAMBA2 = "layers/heads_block.py", "layers/mamba2_block.py"
XLSTM, AUTHORS = "layers/xlstm_block.py", "test_published_networks.py -k 'their_authors and {}'"
RWKV7, HANDING = "layers/rwkv7_block.py", "layers/handing_block.py"
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
    "a network of heads without its last norm": (PUBLISHED, "key_map), *blocks, last])", "key_map), *blocks, Pointwise(eqx.nn.Identity(), size, size)])", BY_NAME.format("mamba2")),
    "mlstm block convolves its values": (XLSTM, "(self.weight_v, u))", "(self.weight_v, c))", AUTHORS.format("mlstm")),
    "mlstm block gates by features alone": (XLSTM, "self.weight_gates @ qkv, c]", "self.weight_gates @ jnp.concatenate([c, c, u]), c]", AUTHORS.format("mlstm")),
    "mlstm block skips behind its gate": (XLSTM, "o) + self.skip * c) * jax.nn.silu(g)", "o) * jax.nn.silu(g) + self.skip * c)", AUTHORS.format("mlstm")),
    "mlstm block norms all heads together": (XLSTM, "    heads = x.reshape(-1, norm.shape[0])\n    return weight * jax.vmap(norm)(heads).ravel()", "    return weight * (x - x.mean()) / jnp.sqrt(x.var() + norm.eps)", AUTHORS.format("mlstm")),
    "mlstm block without silu behind its convolution": (XLSTM, "Parallel([Stacked([conv, silu])", "Parallel([Stacked([conv])", AUTHORS.format("mlstm")),
    "mlstm's last map as large in every depth": (XLSTM, "std = 2 / (depth * math.sqrt(size))", "std = 2 / math.sqrt(size)", "test_published_networks.py -k xlstm_starts"),
    "slstm block convolves what z and o read": (XLSTM, "(c, c, u, u)", "(c, c, c, c)", AUTHORS.format("slstm")),
    "slstm block convolves z in the place of f": (XLSTM, "(c, c, u, u)", "(c, u, c, u)", AUTHORS.format("slstm")),
    "slstm block mixes its heads": (XLSTM, '"boi,bi->bo"', '"boi,bi->ob"', AUTHORS.format("slstm")),
    "slstm block forgets alike in every depth": (XLSTM, "power = 0.3 + 1.3 * index / max(depth - 1, 1)", "power = 0.3", "test_published_networks.py -k xlstm_starts"),
    "slstm's perceptron of an approximate gelu": ("layers/pointwise.py", "jax.nn.gelu(self.gate(x), approximate=False) * self.value(x)", "jax.nn.gelu(self.gate(x)) * self.value(x)", AUTHORS.format("slstm")),
    "slstm without a perceptron": (PUBLISHED, "mlp=mlp if block is SLSTMBlock else None,", "mlp=None,", AUTHORS.format("slstm")),
    "xlstm with norms that subtract no mean": (PUBLISHED, "return eqx.nn.LayerNorm(size, use_bias=False, dtype=dtype)", "return eqx.nn.RMSNorm(size, use_bias=False, dtype=dtype)", AUTHORS.format("mlstm")),
    "rwkv7 mixes towards the input itself": ("cells/token_shift.py", "(x + self.mix * (state - x))", "(state + self.mix * (x - state))", AUTHORS.format("rwkv7")),
    "token shift that remembers its mixture": ("cells/token_shift.py", "return x[None], (x", "return (x + self.mix[:1] * (state - x)), (x", AUTHORS.format("rwkv7")),
    "rwkv7 mixes k as w": (RWKV7, "r, w, k, v, a, g, *handed", "r, k, w, v, a, g, *handed", AUTHORS.format("rwkv7")),
    "rwkv7 gates by a sigmoid": (RWKV7, "jax.nn.sigmoid(self.down_g @ g), *first", "self.down_g @ g, *first", AUTHORS.format("rwkv7")),
    "rwkv7 shares its first value the other way": (RWKV7, "value = value + share * (handed[0] - value)", "value = handed[0] + share * (value - handed[0])", AUTHORS.format("rwkv7")),
    "rwkv7's bonus of the key before its rate": (RWKV7, "parts.q * parts.k * self.bonus", "parts.q * features[size : 2 * size].reshape(parts.k.shape) * self.bonus", AUTHORS.format("rwkv7")),
    "rwkv7 gates before its bonus": (RWKV7, "        o = o + (weights * parts.v).ravel()\n        y = self.project_out(o * (self.weight_g @ gates))", "        y = self.project_out(o * (self.weight_g @ gates) + (weights * parts.v).ravel())", AUTHORS.format("rwkv7")),
    "rwkv7 with a usual eps": (RWKV7, "eps: float = 64e-5", "eps: float = 1e-5", AUTHORS.format("rwkv7")),
    "rwkv7 mixes features by relu alone": (RWKV7, "jax.nn.relu(self.weight_k @ v) ** 2", "jax.nn.relu(self.weight_k @ v)", AUTHORS.format("rwkv7")),
    "rwkv7 decays alike in every depth": (RWKV7, "1 + (index / max(depth - 1, 1)) ** 0.3", "1", "test_published_networks.py -k rwkv7_starts"),
    "handing block adds to what it hands on": (HANDING, "z[:size], jnp.concatenate([x[size:], z[size:]])", "z[:size], jnp.concatenate([2 * x[size:], z[size:]])", "test_published_networks.py -k 'handed_on'"),
    "handing block norms what it is handed": (HANDING, "[self.norm(x[:size]), x[size:]]", "[self.norm(x[:size]), x[size:] / 2]", AUTHORS.format("rwkv7")),
    "handing block without its norm": (HANDING, "[self.norm(x[:size]), x[size:]]", "[x[:size], x[size:]]", AUTHORS.format("rwkv7")),
    "handing block without its skip": (HANDING, "x[: self._size] + y, v]", "y, v]", AUTHORS.format("rwkv7")),
}  # fmt: skip
