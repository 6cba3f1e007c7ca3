"""Timing: several functions in turn, so that a noisy machine treats them alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


PAUSE = 0.02


def medians(functions: Mapping[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """Median seconds of each function; every round calls each once, after one call to compile.

    The order turns from round to round. Before each there is a pause, since threads of a library
    that ran before may still spin, and a call that is not timed, since its own may sleep by then.
    """
    for function in functions.values():
        jax.block_until_ready(function())
    seconds = sampled(functions, rounds)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def sampled(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    budget: float = float("inf"),
    twice: bool = True,
) -> dict[str, list[float]]:
    """The seconds of each call in `medians`, of functions that ran before.

    The round in which `budget` seconds are over is the last; `twice=False` leaves out the calls
    that are not timed.
    """
    ends = time.monotonic() + budget
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(rounds):
        for i in range(len(names)):
            name = names[(i + turn) % len(names)]
            function = functions[name]
            time.sleep(PAUSE)
            if twice:
                jax.block_until_ready(function())
            began = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - began)
        if time.monotonic() >= ends:
            break
    return seconds
