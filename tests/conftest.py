"""Settings that must stand before jax is imported. Import nothing of the package here."""

import os


# Compiling is most of what these tests do; unoptimised code compiles twice as fast.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
