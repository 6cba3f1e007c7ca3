"""Cells: one sample, one time step. One family per file."""

from .._common.activations import LeCunTanh as LeCunTanh, lecun_tanh as lecun_tanh
from .._common.moved import listing as _listing, moved as _moved
from .._common.old_names import CELLS as _OLD
from . import discretise as discretise
from .antisymmetric import (
    AntisymmetricCell as AntisymmetricCell,
    GatedAntisymmetricCell as GatedAntisymmetricCell,
)
from .clockwork import ClockworkCell as ClockworkCell, ClockworkState as ClockworkState
from .echo_state import EchoStateCell as EchoStateCell
from .gated import (
    GRUCell as GRUCell,
    LSTMCell as LSTMCell,
    LSTMState as LSTMState,
    MGUCell as MGUCell,
    MinGRUCell as MinGRUCell,
    MinLSTMCell as MinLSTMCell,
)
from .linoss import LinOSSCell as LinOSSCell
from .lipschitz import LipschitzCell as LipschitzCell
from .liquid import CfCCell as CfCCell
from .lru import LRUCell as LRUCell
from .ltc import LTCCell as LTCCell
from .mamba import MambaCell as MambaCell
from .oscillatory import (
    CoRNNCell as CoRNNCell,
    HCoRNNCell as HCoRNNCell,
    LEMCell as LEMCell,
    OscillatorState as OscillatorState,
    UnICORNNCell as UnICORNNCell,
)
from .projected import LSTMPCell as LSTMPCell
from .rglru import RGLRUCell as RGLRUCell
from .s4d import S4DCell as S4DCell
from .s5 import S5Cell as S5Cell
from .short_conv import ShortConv as ShortConv
from .unitary import ExpRNNCell as ExpRNNCell, UnitaryCell as UnitaryCell
from .vanilla import (
    ElmanCell as ElmanCell,
    IndRNNCell as IndRNNCell,
    LeakyElmanCell as LeakyElmanCell,
    LinearIndRNNCell as LinearIndRNNCell,
)
from .wilson_cowan import WilsonCowanCell as WilsonCowanCell
from .wired import WiredCfCCell as WiredCfCCell
from .wired_elman import WiredElmanCell as WiredElmanCell


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__, "discretise")
