"""Neuron maps: which neuron feeds which, and with what sign."""

from .._common.moved import listing as _listing
from .base import NeuronMap as NeuronMap
from .dense import FullyConnectedMap as FullyConnectedMap
from .ncp import AutoNCPMap as AutoNCPMap, NCPMap as NCPMap, auto_ncp as auto_ncp
from .random import RandomMap as RandomMap


__dir__ = _listing(__name__)
