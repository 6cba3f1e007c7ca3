"""Cells made of a cell; the wrappers themselves stand at the top, `rz.Zoneout` and its kind."""

from .._common.moved import listing as _listing
from .fast_slow import FastSlow as FastSlow, FastSlowState as FastSlowState
from .imputed import ImputedState as ImputedState
from .masked import Masked as Masked, MaskedConstants as MaskedConstants
from .mixed_memory import MixedMemoryState as MixedMemoryState
from .outputs import Highway as Highway
from .strided import (
    StrideAwareCfC as StrideAwareCfC,
    StrideAwareWiredCfCCell as StrideAwareWiredCfCCell,
    StridedState as StridedState,
)
from .variational import VariationalDropoutState as VariationalDropoutState


__dir__ = _listing(__name__)
