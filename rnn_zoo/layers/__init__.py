"""Cells turned into sequence models."""

from .base import AbstractLayer as AbstractLayer
from .batch import batch as batch
from .block import (
    GLU as GLU,
    MLP as MLP,
    Block as Block,
    HalfGLU1 as HalfGLU1,
    HalfGLU2 as HalfGLU2,
)
from .branches import Cascade as Cascade, Parallel as Parallel
from .deep import (
    GRU as GRU,
    LRU as LRU,
    LSTM as LSTM,
    LTC as LTC,
    RNN as RNN,
    S5 as S5,
    CfC as CfC,
    Mamba as Mamba,
    deep as deep,
)
from .dropout import Dropout as Dropout, SequenceDropout as SequenceDropout
from .griffin import GriffinBlock as GriffinBlock
from .mamba import MambaBlock as MambaBlock
from .norms import FrozenBatchNorm as FrozenBatchNorm
from .pointwise import (
    Elementwise as Elementwise,
    GatedMLP as GatedMLP,
    Pointwise as Pointwise,
)
from .recurrent import (
    Backward as Backward,
    Bidirectional as Bidirectional,
    Recurrent as Recurrent,
)
from .stacked import Stacked as Stacked
