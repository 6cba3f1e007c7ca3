"""Timing: several functions in turn, so that a noisy machine treats them alike."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def medians(functions: Mapping[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """Median seconds of each function; every round calls each once, after one call to compile."""
    for function in functions.values():
        jax.block_until_ready(function())
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def machine() -> str:
    """What the figures were measured with."""
    python = platform.python_version()
    return f"jax {jax.__version__}, Python {python}, {os.cpu_count()} cores, {jax.devices()[0]}"
