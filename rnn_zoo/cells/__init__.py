"""Cells: one sample, one time step. One family per file."""

from .antisymmetric import (
    AntisymmetricCell as AntisymmetricCell,
    GatedAntisymmetricCell as GatedAntisymmetricCell,
)
from .clockwork import ClockworkCell as ClockworkCell, ClockworkState as ClockworkState
from .dropout import (
    VariationalDropout as VariationalDropout,
    VariationalDropoutState as VariationalDropoutState,
)
from .gated import (
    GRUCell as GRUCell,
    LSTMCell as LSTMCell,
    LSTMState as LSTMState,
    MGUCell as MGUCell,
    MinGRUCell as MinGRUCell,
    MinLSTMCell as MinLSTMCell,
)
from .lipschitz import LipschitzCell as LipschitzCell
from .liquid import CfCCell as CfCCell
from .ltc import LTCCell as LTCCell
from .messages import (
    MessagePassing as MessagePassing,
    MessagePassingState as MessagePassingState,
)
from .mixed_memory import MixedMemory as MixedMemory, MixedMemoryState as MixedMemoryState
from .modular import Modular as Modular, ModularState as ModularState
from .ncp import NCP as NCP, AutoNCP as AutoNCP, NCPCell as NCPCell
from .oscillatory import (
    CoRNNCell as CoRNNCell,
    HCoRNNCell as HCoRNNCell,
    LEMCell as LEMCell,
    OscillatorState as OscillatorState,
    UnICORNNCell as UnICORNNCell,
)
from .projected import LSTMPCell as LSTMPCell
from .reservoir import (
    EchoStateCell as EchoStateCell,
    as_reservoir as as_reservoir,
    random_oscillators as random_oscillators,
)
from .strided import (
    StrideAwareCfC as StrideAwareCfC,
    StrideAwareWiredCfCCell as StrideAwareWiredCfCCell,
    Strided as Strided,
    StridedState as StridedState,
)
from .unitary import ExpRNNCell as ExpRNNCell, UnitaryCell as UnitaryCell
from .vanilla import (
    ElmanCell as ElmanCell,
    IndRNNCell as IndRNNCell,
    LeakyElmanCell as LeakyElmanCell,
    LinearIndRNNCell as LinearIndRNNCell,
)
from .wilson_cowan import WilsonCowanCell as WilsonCowanCell
from .wired import WiredCfCCell as WiredCfCCell
from .wrappers import (
    Frozen as Frozen,
    LayerNormed as LayerNormed,
    LearnedInitialState as LearnedInitialState,
    Residual as Residual,
    Zoneout as Zoneout,
)
