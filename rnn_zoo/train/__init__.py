"""Losses, the training loop, and models in files."""

from .evaluate import evaluate as evaluate
from .loop import FitResult as FitResult, NonFiniteLossError as NonFiniteLossError, fit as fit
from .losses import PredictionLoss as PredictionLoss, cross_entropy as cross_entropy, mse as mse
from .save import load as load, save as save
from .step import trainable as trainable
