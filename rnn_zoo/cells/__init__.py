"""Cells: one sample, one time step. One family per file."""

from .gated import (
    GRUCell as GRUCell,
    LSTMCell as LSTMCell,
    LSTMState as LSTMState,
    MGUCell as MGUCell,
    MinGRUCell as MinGRUCell,
    MinLSTMCell as MinLSTMCell,
)
from .vanilla import (
    ElmanCell as ElmanCell,
    IndRNNCell as IndRNNCell,
    LeakyElmanCell as LeakyElmanCell,
    WilsonCowanCell as WilsonCowanCell,
)
from .wrappers import (
    Frozen as Frozen,
    LearnedInitialState as LearnedInitialState,
    Zoneout as Zoneout,
)
