"""Whole models: a stack of layers with what comes before and after."""

from .autoregressive import Autoregressive as Autoregressive, Sample as Sample
from .echo_state import EchoStateNetwork as EchoStateNetwork, half_squares as half_squares
from .model_space import ModelSpace as ModelSpace
from .sequence import SequenceModel as SequenceModel, make_model as make_model
