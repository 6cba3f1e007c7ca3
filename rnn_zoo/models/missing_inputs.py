"""Which models take NaN in their inputs for a missing value."""

from typing import Any

from ..layers.recurrent import Backward, Bidirectional, Recurrent
from ..layers.stacked import Stacked
from ..wrappers.frozen import Frozen
from ..wrappers.initial_state import LearnedInitialState
from ..wrappers.masked import Masked
from ..wrappers.outputs import LayerNormed
from ..wrappers.strided import Strided
from ..wrappers.zoneout import Zoneout


# What hands x to the cell inside as it is, and to nothing else.
_HANDS_ON = (
    Recurrent,
    Backward,
    Frozen,
    LearnedInitialState,
    LayerNormed,
    Masked,
    Strided,
    Zoneout,
)


def takes_missing(part: Any) -> bool:
    """Whether NaN in the inputs of a cell, a layer or a model is a feature that was not seen.

    It is where the first that reads them is a cell that says `takes_missing`.
    """
    if isinstance(part, Stacked):
        return takes_missing(part.layers[0])
    if isinstance(part, Bidirectional):
        return takes_missing(part.forward) and takes_missing(part.backward)
    if isinstance(part, _HANDS_ON):
        return takes_missing(part.cell)
    if hasattr(part, "encoder"):
        return part.encoder is None and takes_missing(part.layer)
    return getattr(part, "takes_missing", False) is True


def check_encoder(encoder: Any, layer: Any) -> None:
    """A ValueError for a map of features in front of what is given missing ones."""
    if encoder is not None and takes_missing(layer):
        raise ValueError(
            "expected no encoder in front of a layer that reads missing values: it would mix "
            "features, and one NaN would hide all of them. Leave it out, encoder=None"
        )
