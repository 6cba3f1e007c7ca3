"""Rows of `test_mutants.py`: mistakes in the cells with the delta rule."""

STEP = "test_matrix_references.py -k 'with_heads and {}'"
DELTANET = STEP.format("deltanet and not gated")
GATED = STEP.format("gated_deltanet")
KDA = STEP.format("kda")
PRODUCT = STEP.format("delta_product")
RWKV = STEP.format("rwkv7")
UNMAPPED = "test_matrix_references.py -k 'without_an_input_map and {}'"
OWN = "test_delta.py -k {}"

DELTA, PRODUCTS, RWKV7 = "cells/delta.py", "cells/delta_product.py", "cells/rwkv7.py"
ROWS = {
    "deltanet beta in the other range": (DELTA, "return 2 * jax.nn.sigmoid(z) if negative", "return jax.nn.sigmoid(z) if negative", DELTANET),
    "deltanet beta times the gap": (DELTA, "-jnp.expm1(-jnp.asarray(dt) * jax.nn.softplus(z))", "jnp.asarray(dt) * jax.nn.sigmoid(z)", DELTANET),
    "deltanet key as long as it is": (DELTA, "q.shape[-1] ** -0.5, unit(k)", "q.shape[-1] ** -0.5, k", DELTANET),
    "deltanet query as long as it is": (DELTA, "q, k = unit(q) *", "q, k = q *", DELTANET),
    "deltanet without its scale": (DELTA, "unit(q) * q.shape[-1] ** -0.5", "unit(q)", DELTANET),
    "deltanet q and k swapped": (DELTA, "q, k, v, z = cut(", "k, q, v, z = cut(", DELTANET),
    "deltanet erases all and writes a share": (DELTA, "log_decay, a=a)", "log_decay, a=a, b=-k)", DELTANET),
    "deltanet adds what it should erase": (DELTA, "log_decay, a=a)", "log_decay, a=-a)", DELTANET),
    "deltanet without silu": (DELTA, "if cell.weight_ih is None else map(jax.nn.silu, parts)", "if True else map(jax.nn.silu, parts)", DELTANET),
    "silu of features twice": (DELTA, "parts if cell.weight_ih is None else map(jax.nn.silu, parts)", "map(jax.nn.silu, parts)", UNMAPPED.format("deltanet")),
    "deltanet with beta in (0, 2) takes dt": (DELTA, "        return not self.negative_eigenvalues\n\n    def init_state(self) -> Float[Array, \"heads key value\"]:\n        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)\n\n    def parts(\n        self, c: None", "        return True\n\n    def init_state(self) -> Float[Array, \"heads key value\"]:\n        return zero_matrices(self, self.num_heads, self.key_size, self.value_size)\n\n    def parts(\n        self, c: None", OWN.format("take_no_time")),
    "gated deltanet reads before it decays": (DELTA, "else jnp.exp(log_decay) * k", "else k + 0 * log_decay", GATED),
    "gated deltanet decays the same over any gap": (DELTA, "-jnp.asarray(dt) * c * jax", "-c * jax", GATED),
    "gated deltanet without the step's bias": (DELTA, "jax.nn.softplus(a + self.bias_dt)", "jax.nn.softplus(a)", GATED),
    "gated deltanet A of its logarithm": (DELTA, "jnp.asarray(dt) * c * jax", "jnp.asarray(dt) * jnp.log(c) * jax", GATED),
    "gated deltanet beta and decay swapped": (DELTA, "q, k, v, z, a = cut(", "q, k, v, a, z = cut(", GATED),
    "gated deltanet by the sigmoid": (DELTA, "jax.nn.softplus(a + self.bias_dt)", "jax.nn.sigmoid(a + self.bias_dt)", GATED),
    "gated deltanet never decays": (DELTA, "self.negative_eigenvalues, dt), log_decay[:, None])", "self.negative_eigenvalues, dt))", GATED),
    "kda decays by head": (DELTA, "-jnp.asarray(dt) * c[:, None] * fading", "-jnp.asarray(dt) * c[:, None] * fading[:, :1]", KDA),
    "kda without A": (DELTA, "c[:, None] * fading", "fading", KDA),
    "kda decays the same over any gap": (DELTA, "-jnp.asarray(dt) * c[:, None]", "-c[:, None]", KDA),
    "kda with an activation inside": (DELTA, "self.weight_gate @ r + self.bias_dt", "self.weight_gate @ jnp.tanh(r) + self.bias_dt", KDA),
    "kda without the step's bias": (DELTA, "self.weight_gate @ r + self.bias_dt", "self.weight_gate @ r", KDA),
    "kda channels of other heads": (DELTA, ".reshape(key)\n", ".reshape(key[::-1]).T\n", KDA),
    "kda reads before it decays": (DELTA, "else jnp.exp(log_decay) * k", "else k + 0 * log_decay", KDA),
    "delta product decays at each step": (PRODUCTS, "jnp.zeros((n - 1, *single), first.dtype)", "jnp.broadcast_to(first, (n - 1, *single))", PRODUCT),
    "delta product decays at its last step": (PRODUCTS, "[first[None], rest]", "[rest, first[None]]", PRODUCT),
    "delta product from its last step": (PRODUCTS, "        if c is None:\n            return", "        k, v, beta = k[::-1], v[::-1], beta[::-1]\n        if c is None:\n            return", PRODUCT),
    "delta product head by head first": (PRODUCTS, "        q, k, v = activated(self, q, k, v)\n", "        k = jnp.moveaxis(k.reshape(key[0], n, key[1]), 0, 1)\n        q, k, v = activated(self, q, k, v)\n", PRODUCT),
    "delta product with one beta": (PRODUCTS, "beta = written(z, self", "beta = written(jnp.broadcast_to(z[:1], z.shape), self", PRODUCT),
    "delta product of positive eigenvalues": (PRODUCTS, "beta = written(z, self.negative_eigenvalues)", "beta = written(z, False)", PRODUCT),
    "delta product without the step's bias": (PRODUCTS, "jax.nn.softplus(plus(a[0], self.bias_dt))", "jax.nn.softplus(a[0])", PRODUCT),
    "rwkv7 reads after its decay": (RWKV7, "a=-kappa, b=a * kappa", "a=-kappa * jnp.exp(log_decay.reshape(key)), b=a * kappa", RWKV),
    "rwkv7 adds what it should erase": (RWKV7, "a=-kappa, b=a * kappa", "a=kappa, b=a * kappa", RWKV),
    "rwkv7 learns at its rate where it reads": (RWKV7, "a=-kappa, b=a * kappa", "a=-a * kappa, b=kappa", RWKV),
    "rwkv7 erases what it read as it is": (RWKV7, "kappa = unit(raw * self.k_k.reshape(key))", "kappa = raw * self.k_k.reshape(key)", RWKV),
    "rwkv7 decay by one exponential more": (RWKV7, "-_FASTEST * jax.nn.sigmoid(", "-_FASTEST * jnp.exp(", RWKV),
    "rwkv7 decay without tanh": (RWKV7, "self.weight_w @ jnp.tanh(f_w)", "self.weight_w @ f_w", RWKV),
    "rwkv7 rate with tanh": (RWKV7, "self.weight_a @ f_a", "self.weight_a @ jnp.tanh(f_a)", RWKV),
    "rwkv7 writes with the plain key": (RWKV7, "k = raw * (1 + self.k_a.reshape(key) * (a - 1))", "k = raw", RWKV),
    "rwkv7 writes where the rate is small": (RWKV7, "self.k_a.reshape(key) * (a - 1)", "self.k_a.reshape(key) * (1 - a)", RWKV),
    "rwkv7 low ranks swapped": (RWKV7, "r, raw, v, f_w, f_a = cut", "r, raw, v, f_a, f_w = cut", RWKV),
    "rwkv7 starts to write as loud as it reads": (RWKV7, "[0.5, 0.05, 0.5, 0.0]", "[0.5, 0.5, 0.5, 0.0]", OWN.format("rwkv7_starts")),
    "rwkv7 forgets fast everywhere": (RWKV7, "-5.5 + 6 * _along(given)", "0.5 + 0 * _along(given)", OWN.format("rwkv7_starts")),
}  # fmt: skip
