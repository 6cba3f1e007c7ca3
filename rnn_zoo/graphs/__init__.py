"""Cells that speak with each other; `rz.Modular` and `rz.MessagePassing` stand at the top."""

from .messages import MessagePassingState as MessagePassingState
from .modular import ModularState as ModularState
