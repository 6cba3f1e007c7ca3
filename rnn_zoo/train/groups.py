"""Parameters of state spaces train with a learning rate of their own and without decay."""

from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import optax
from jaxtyping import PyTree

from ..base import replace
from ..layers.norms import FrozenBatchNorm


_NORMS = (eqx.nn.LayerNorm, eqx.nn.RMSNorm, FrozenBatchNorm)


def ssm_labels(model: PyTree) -> PyTree:
    """ "ssm" or "regular" for each leaf of a model or of its gradients, for
    `optax.multi_transform`.

    "ssm" are those fields that a cell names in its class attribute `ssm_parameters`
    (eigenvalues, steps and what the authors treat alike), and the norms of blocks. A cell of your
    own needs that attribute and nothing else.
    """

    def label(node):
        if isinstance(node, _NORMS):
            return _all(node, "ssm")
        if not _declares(node):
            return "regular"
        labelled = _all(node, "regular")
        own = {name: _all(getattr(node, name), "ssm") for name in node.ssm_parameters}
        return replace(labelled, **own)

    return jax.tree.map(label, model, is_leaf=lambda n: isinstance(n, _NORMS) or _declares(n))


def ssm_optimizer(
    learning_rate: Any,
    *,
    ssm_learning_rate: Any = 1e-3,
    weight_decay: float = 0.01,
) -> optax.GradientTransformation:
    """AdamW, with plain Adam at `ssm_learning_rate` for what `ssm_labels` calls "ssm".

    It is the recipe of S4, S5 and LRU, for `rz.train.fit(..., optimizer=...)`. The learning rates
    are numbers or optax schedules.
    """
    groups: dict[Hashable, optax.GradientTransformation] = {
        "ssm": optax.adam(ssm_learning_rate),
        "regular": optax.adamw(learning_rate, weight_decay=weight_decay),
    }
    return optax.multi_transform(groups, ssm_labels)


def _all(tree: PyTree, label: str) -> PyTree:
    return jax.tree.map(lambda _: label, tree)


def _declares(node: Any) -> bool:
    return isinstance(node, eqx.Module) and hasattr(type(node), "ssm_parameters")
