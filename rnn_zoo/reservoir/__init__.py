"""Reservoirs: cells that nobody trains, the network around them, and readouts fitted to them."""

from .._common.moved import listing as _listing
from .factories import as_reservoir as as_reservoir, random_oscillators as random_oscillators
from .model_space import ModelSpace as ModelSpace
from .network import half_squares as half_squares
from .online import (
    AbstractOnlineRule as AbstractOnlineRule,
    LeastMeanSquares as LeastMeanSquares,
    OnlineReadout as OnlineReadout,
    RecursiveLeastSquares as RecursiveLeastSquares,
)
from .ridge import NormalEquations as NormalEquations, ridge as ridge


__dir__ = _listing(__name__)
