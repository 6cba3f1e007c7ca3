"""Whole models: a stack of layers with what comes before and after."""

from .sequence import SequenceModel as SequenceModel, make_model as make_model
