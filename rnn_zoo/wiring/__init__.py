"""Neuron maps: which neuron feeds which, and with what sign."""

from .._common.moved import listing as _listing, moved as _moved
from .._common.old_names import WIRING as _OLD
from .base import NeuronMap as NeuronMap
from .dense import FullyConnectedMap as FullyConnectedMap
from .ncp import AutoNCPMap as AutoNCPMap, NCPMap as NCPMap
from .random import RandomMap as RandomMap


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__)
