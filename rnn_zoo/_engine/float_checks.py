"""What `jax.experimental.checkify` sees of a primitive of this package: all that it does.

JAX has no public way to say so; where its own one is not as it was, the inside stays unseen.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive


def seen_by_checkify(primitive: Primitive, evaluate: Callable) -> None:
    """`evaluate(*arrays, **params)` is what the primitive does."""
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src import checkify

        def check(*given: Any, **params: Any) -> tuple[Any, Any]:
            # Behind what newer versions add come the error so far, what is enabled, the arrays.
            place = next(i for i, part in enumerate(given) if isinstance(part, set | frozenset))
            context, error, enabled = given[: place - 1], given[place - 1], given[place]
            arrays = given[place + 1 :]
            inside = jax.make_jaxpr(lambda *arrays: evaluate(*arrays, **params))(*arrays)
            error, results = checkify.checkify_jaxpr(*context, inside, enabled, error, *arrays)
            return error, results if primitive.multiple_results else results[0]

        checkify.error_checks[primitive] = check
