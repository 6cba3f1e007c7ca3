"""Cells that speak with each other; `rz.Modular` and `rz.MessagePassing` stand at the top."""

from .._common.moved import listing as _listing
from .messages import MessagePassingState as MessagePassingState
from .modular import ModularState as ModularState


__dir__ = _listing(__name__)
