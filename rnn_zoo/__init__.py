"""A zoo of recurrent networks in JAX and Equinox.

Every cell is one step behind one contract (`rnn_zoo.base`); `Recurrent(cell)` turns it
into a layer, `make_model(name, ...)` into a model, `batch(model)` maps it over samples.
Here stands what is typed every day; all else is in its room: `rz.cells.LSTMCell`.
"""

from importlib import metadata as _metadata
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._common.lazy import lazily as _lazily
from ._common.moved import moved as _moved, moved_room as _moved_room
from ._common.old_names import ROOMS as _ROOMS, ROOT as _ROOT


# What checkers of types and editors read. It says the same as the tables below, which are what
# Python reads: a file is imported when one of its names is first asked for.
if _TYPE_CHECKING:
    from . import (
        cells as cells,
        data as data,
        dynamics as dynamics,
        graphs as graphs,
        init as init,
        interop as interop,
        layers as layers,
        linear as linear,
        metrics as metrics,
        models as models,
        reservoir as reservoir,
        rl as rl,
        scan as scan,
        testing as testing,
        train as train,
        viz as viz,
        wiring as wiring,
        wrappers as wrappers,
    )
    from ._common.fixed import Fixed as Fixed
    from ._common.times import elapsed as elapsed, lengths_to_mask as lengths_to_mask
    from .base import AbstractCell as AbstractCell, AbstractLinearCell as AbstractLinearCell
    from .graphs.messages import MessagePassing as MessagePassing
    from .graphs.modular import Modular as Modular
    from .interop.adopting import adopt as adopt
    from .layers.batching import batch as batch
    from .layers.block import Block as Block
    from .layers.deep import (
        GRU as GRU,
        LRU as LRU,
        LSTM as LSTM,
        LTC as LTC,
        RNN as RNN,
        S5 as S5,
        CfC as CfC,
        Mamba as Mamba,
    )
    from .layers.recurrent import Bidirectional as Bidirectional, Recurrent as Recurrent
    from .layers.stacked import Stacked as Stacked
    from .models.autoregressive import Autoregressive as Autoregressive
    from .models.sequence import SequenceModel as SequenceModel, make_model as make_model
    from .registry import (
        CellInfo as CellInfo,
        cell_info as cell_info,
        list_cells as list_cells,
        make_cell as make_cell,
        register as register,
    )
    from .reservoir.network import EchoStateNetwork as EchoStateNetwork
    from .streaming import Stream as Stream
    from .summaries import summary as summary
    from .train.pretrained import (
        list_pretrained as list_pretrained,
        load_pretrained as load_pretrained,
    )
    from .wrappers.frozen import Frozen as Frozen
    from .wrappers.imputed import Imputed as Imputed
    from .wrappers.initial_state import LearnedInitialState as LearnedInitialState
    from .wrappers.mixed_memory import MixedMemory as MixedMemory
    from .wrappers.outputs import LayerNormed as LayerNormed, Residual as Residual
    from .wrappers.strided import Strided as Strided
    from .wrappers.variational import VariationalDropout as VariationalDropout
    from .wrappers.zoneout import Zoneout as Zoneout


_FILES = {
    "_common.fixed": ("Fixed",),
    "_common.times": ("elapsed", "lengths_to_mask"),
    "base": ("AbstractCell", "AbstractLinearCell"),
    "graphs.messages": ("MessagePassing",),
    "graphs.modular": ("Modular",),
    "interop.adopting": ("adopt",),
    "layers.batching": ("batch",),
    "layers.block": ("Block",),
    "layers.deep": ("GRU", "LRU", "LSTM", "LTC", "RNN", "S5", "CfC", "Mamba"),
    "layers.recurrent": ("Bidirectional", "Recurrent"),
    "layers.stacked": ("Stacked",),
    "models.autoregressive": ("Autoregressive",),
    "models.sequence": ("SequenceModel", "make_model"),
    "registry": ("CellInfo", "cell_info", "list_cells", "make_cell", "register"),
    "reservoir.network": ("EchoStateNetwork",),
    "streaming": ("Stream",),
    "summaries": ("summary",),
    "train.pretrained": ("list_pretrained", "load_pretrained"),
    "wrappers.frozen": ("Frozen",),
    "wrappers.imputed": ("Imputed",),
    "wrappers.initial_state": ("LearnedInitialState",),
    "wrappers.mixed_memory": ("MixedMemory",),
    "wrappers.outputs": ("LayerNormed", "Residual"),
    "wrappers.strided": ("Strided",),
    "wrappers.variational": ("VariationalDropout",),
    "wrappers.zoneout": ("Zoneout",),
}
_ROOM_NAMES = (
    "cells",
    "data",
    "dynamics",
    "graphs",
    "init",
    "interop",
    "layers",
    "linear",
    "metrics",
    "models",
    "reservoir",
    "rl",
    "scan",
    "testing",
    "train",
    "viz",
    "wiring",
    "wrappers",
)
_HIDDEN = ("base", "declared", "registry", "streaming", "_engine", "_evaluators")

__getattr__, __dir__, __all__ = _lazily(
    __name__, _FILES, _ROOM_NAMES, _HIDDEN, _moved(__name__, _ROOT, callers=2)
)
for _room, _names in _ROOMS.items():
    _moved_room(f"{__name__}.{_room}", _names)

try:
    __version__ = _metadata.version("rnn-zoo")
except _metadata.PackageNotFoundError:
    # A checkout on the path that was never installed.
    __version__ = "0+unknown"
