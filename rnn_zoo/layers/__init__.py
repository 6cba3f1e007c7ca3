"""Cells turned into sequence models."""

from .base import AbstractLayer as AbstractLayer
from .batch import batch as batch
from .block import GLU as GLU, MLP as MLP, Block as Block
from .deep import GRU as GRU, LRU as LRU, LSTM as LSTM, RNN as RNN, CfC as CfC, deep as deep
from .dropout import Dropout as Dropout
from .pointwise import Pointwise as Pointwise
from .recurrent import (
    Backward as Backward,
    Bidirectional as Bidirectional,
    Recurrent as Recurrent,
)
from .stacked import Stacked as Stacked
