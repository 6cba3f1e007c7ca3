"""What a data set is: three batches and a card that says where they come from."""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx

from .batches import Batch


Task = Literal["classification", "regression", "forecasting"]

GENERATED = "generated; no licence needed"

NO_TARGET = -1
"""The label of a step that has none: losses and metrics leave it out."""


@dataclass(frozen=True)
class Baseline:
    """A figure to hold a model against.

    - `name`: what was trained, or the rule that was applied.
    - `metric`: "accuracy", "mse", "nmse" (mse over the variance of the targets) or
      "cross_entropy" (nats).
    - `value`: the figure on the test part.
    - `source`: who published it, or how it was measured.
    """

    name: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True)
class DatasetInfo:
    """The card of a data set.

    - `input_size`: features of a step, or the number of tokens; `output_size`: classes, or features
      of a target.
    - `source`, `citation`, `licence`: where the data come from and how they may be used.
    - `splits`: what the train, valid and test parts are.
    - `baselines`: figures to compare with.
    - `mean`, `std`: what standardised inputs were standardised with, one number a feature; empty
      when they were not. In forecasting the targets share them, so `y * std + mean` is in the
      units of the source.
    """

    name: str
    task: Task
    input_size: int
    output_size: int
    description: str
    source: str
    citation: str
    licence: str
    splits: str
    baselines: tuple[Baseline, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Dataset(eqx.Module):
    """The train, validation and test parts, and the card. `valid` is None where there is none."""

    train: Batch
    valid: Batch | None
    test: Batch
    info: DatasetInfo = eqx.field(static=True)
