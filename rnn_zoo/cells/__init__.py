"""Cells: one sample, one time step. A family has a file, whose `__all__` names what stands here."""

from .._common.activations import LeCunTanh as LeCunTanh, lecun_tanh as lecun_tanh
from .._common.moved import listing as _listing, moved as _moved
from .._common.old_names import CELLS as _OLD
from . import discretise as discretise
from .gated import *  # the lists of the family begin with them


# isort: split
from .antisymmetric import (
    AntisymmetricCell as AntisymmetricCell,
    GatedAntisymmetricCell as GatedAntisymmetricCell,
)
from .bistable import *
from .clockwork import ClockworkCell as ClockworkCell, ClockworkState as ClockworkState
from .convolutional import *
from .delayed import *
from .delta import *
from .delta_product import *
from .echo_state import *
from .ei_rates import EIRNNCell as EIRNNCell
from .fast import *
from .forgetting import *
from .gla import *
from .highway import *
from .indy import *
from .input_candidates import *
from .light import *
from .linear_attention import *
from .linoss import LinOSSCell as LinOSSCell
from .lipschitz import LipschitzCell as LipschitzCell
from .liquid import *
from .lmu import *
from .low_rank import LowRankRNNCell as LowRankRNNCell
from .lru import LRUCell as LRUCell
from .ltc import *
from .m2rnn import *
from .mamba import MambaCell as MambaCell
from .mamba2 import *
from .min_gated import *
from .missing import *
from .mlstm import *
from .multiplicative import *
from .ode import *
from .oscillatory import *
from .pd_ssm import *
from .plrnn import *
from .projected import LSTMPCell as LSTMPCell
from .qrnn import *
from .refined import *
from .rglru import RGLRUCell as RGLRUCell
from .rtu import *
from .rwkv7 import RWKV7Cell as RWKV7Cell
from .s4d import S4DCell as S4DCell
from .s5 import S5Cell as S5Cell
from .short_conv import ShortConv as ShortConv
from .slstm import *
from .sru import *
from .timed_lstm import *
from .token_shift import TokenShift as TokenShift
from .unitary import ExpRNNCell as ExpRNNCell, UnitaryCell as UnitaryCell
from .update_gates import *
from .vanilla import *
from .wilson_cowan import WilsonCowanCell as WilsonCowanCell
from .wired import *
from .wired_elman import *


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__, "discretise")
