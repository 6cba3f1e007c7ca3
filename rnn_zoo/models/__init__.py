"""Whole models: a stack of layers with what comes before and after. They stand at the top."""

from .._common.moved import listing as _listing, moved as _moved
from .._common.old_names import MODELS as _OLD
from .autoregressive import Sample as Sample
from .forced import (
    EncodedStart as EncodedStart,
    FedBackState as FedBackState,
    FreeStarts as FreeStarts,
    InputForced as InputForced,
    StateForced as StateForced,
)


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__)
