"""A zoo of recurrent networks in JAX and Equinox.

Every cell is one step behind one contract (`rnn_zoo.base`); `Recurrent(cell)` turns it
into a layer, `make_model(name, ...)` into a model, `batch(model)` maps it over samples.
"""

import importlib.metadata

import equinox as eqx

from . import (
    data as data,
    dynamics as dynamics,
    interop as interop,
    layers as layers,
    metrics as metrics,
    readout as readout,
    scan as scan,
    train as train,
    viz as viz,
    wiring as wiring,
)
from ._activations import LeCunTanh as LeCunTanh, lecun_tanh as lecun_tanh
from ._affine import AffineMap as AffineMap, Block2x2 as Block2x2, Diagonal as Diagonal
from .base import AbstractCell as AbstractCell, AbstractLinearCell as AbstractLinearCell
from .cells import (
    NCP as NCP,
    AntisymmetricCell as AntisymmetricCell,
    AutoNCP as AutoNCP,
    CfCCell as CfCCell,
    ClockworkCell as ClockworkCell,
    ClockworkState as ClockworkState,
    CoRNNCell as CoRNNCell,
    EchoStateCell as EchoStateCell,
    ElmanCell as ElmanCell,
    ExpRNNCell as ExpRNNCell,
    Frozen as Frozen,
    GatedAntisymmetricCell as GatedAntisymmetricCell,
    GRUCell as GRUCell,
    HCoRNNCell as HCoRNNCell,
    IndRNNCell as IndRNNCell,
    LayerNormed as LayerNormed,
    LeakyElmanCell as LeakyElmanCell,
    LearnedInitialState as LearnedInitialState,
    LEMCell as LEMCell,
    LinearIndRNNCell as LinearIndRNNCell,
    LipschitzCell as LipschitzCell,
    LSTMCell as LSTMCell,
    LSTMPCell as LSTMPCell,
    LSTMState as LSTMState,
    LTCCell as LTCCell,
    MessagePassing as MessagePassing,
    MessagePassingState as MessagePassingState,
    MGUCell as MGUCell,
    MinGRUCell as MinGRUCell,
    MinLSTMCell as MinLSTMCell,
    MixedMemory as MixedMemory,
    MixedMemoryState as MixedMemoryState,
    Modular as Modular,
    ModularState as ModularState,
    NCPCell as NCPCell,
    OscillatorState as OscillatorState,
    Residual as Residual,
    StrideAwareCfC as StrideAwareCfC,
    StrideAwareWiredCfCCell as StrideAwareWiredCfCCell,
    Strided as Strided,
    StridedState as StridedState,
    UnICORNNCell as UnICORNNCell,
    UnitaryCell as UnitaryCell,
    VariationalDropout as VariationalDropout,
    VariationalDropoutState as VariationalDropoutState,
    WilsonCowanCell as WilsonCowanCell,
    WiredCfCCell as WiredCfCCell,
    Zoneout as Zoneout,
    as_reservoir as as_reservoir,
    random_oscillators as random_oscillators,
)
from .interop import adopt as adopt
from .layers import (
    GRU as GRU,
    LRU as LRU,
    LSTM as LSTM,
    LTC as LTC,
    RNN as RNN,
    S5 as S5,
    AbstractLayer as AbstractLayer,
    Backward as Backward,
    Bidirectional as Bidirectional,
    Block as Block,
    Cascade as Cascade,
    CfC as CfC,
    FrozenBatchNorm as FrozenBatchNorm,
    GriffinBlock as GriffinBlock,
    Mamba as Mamba,
    MambaBlock as MambaBlock,
    Parallel as Parallel,
    Pointwise as Pointwise,
    Recurrent as Recurrent,
    Stacked as Stacked,
    batch as batch,
)
from .models import (
    Autoregressive as Autoregressive,
    EchoStateNetwork as EchoStateNetwork,
    ModelSpace as ModelSpace,
    Sample as Sample,
    SequenceModel as SequenceModel,
    half_squares as half_squares,
    make_model as make_model,
)
from .registry import (
    CellInfo as CellInfo,
    cell_info as cell_info,
    list_cells as list_cells,
    make_cell as make_cell,
)
from .scan import elapsed as elapsed, lengths_to_mask as lengths_to_mask
from .ssm import (
    LinOSSCell as LinOSSCell,
    LRUCell as LRUCell,
    MambaCell as MambaCell,
    RGLRUCell as RGLRUCell,
    S4DCell as S4DCell,
    S5Cell as S5Cell,
    ShortConv as ShortConv,
)
from .streaming import Stream as Stream
from .summary import summary as summary
from .wiring import (
    AutoNCPMap as AutoNCPMap,
    FullyConnectedMap as FullyConnectedMap,
    NCPMap as NCPMap,
    NeuronMap as NeuronMap,
    RandomMap as RandomMap,
    auto_ncp as auto_ncp,
)


Dense = eqx.nn.Linear
Sequential = eqx.nn.Sequential

try:
    __version__ = importlib.metadata.version("rnn-zoo")
except importlib.metadata.PackageNotFoundError:
    # A checkout on the path that was never installed.
    __version__ = "0+unknown"
