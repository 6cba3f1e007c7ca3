"""Linear readouts, fitted in closed form or online."""

from .online import (
    AbstractOnlineRule as AbstractOnlineRule,
    LeastMeanSquares as LeastMeanSquares,
    OnlineReadout as OnlineReadout,
    RecursiveLeastSquares as RecursiveLeastSquares,
)
from .ridge import NormalEquations as NormalEquations, ridge as ridge
