"""Cells turned into sequence models; those of every day stand at the top, `rz.Recurrent`."""

from .._common.moved import listing as _listing, moved as _moved
from .._common.old_names import LAYERS as _OLD
from .base import AbstractLayer as AbstractLayer
from .block import GLU as GLU, MLP as MLP, HalfGLU1 as HalfGLU1, HalfGLU2 as HalfGLU2
from .branches import Cascade as Cascade, Parallel as Parallel
from .deep import deep as deep
from .framewise import Framewise as Framewise
from .griffin import GriffinBlock as GriffinBlock
from .handing_block import HandingBlock as HandingBlock
from .heads_block import HeadsBlock as HeadsBlock
from .leading import Leading as Leading
from .mamba2_block import Mamba2Block as Mamba2Block
from .mamba_block import MambaBlock as MambaBlock
from .norms import FrozenBatchNorm as FrozenBatchNorm
from .pointwise import (
    Elementwise as Elementwise,
    GatedMLP as GatedMLP,
    GeGLU as GeGLU,
    Pointwise as Pointwise,
    SwiGLU as SwiGLU,
)
from .recurrent import Backward as Backward
from .rwkv7_block import (
    RWKV7ChannelMix as RWKV7ChannelMix,
    RWKV7TimeMix as RWKV7TimeMix,
)
from .sequence_dropout import Dropout as Dropout, SequenceDropout as SequenceDropout
from .xlstm_block import MLSTMBlock as MLSTMBlock, SLSTMBlock as SLSTMBlock
from .xlstm_large_block import MLSTMLargeBlock as MLSTMLargeBlock


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__)
