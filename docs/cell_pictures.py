"""The pictures of the cells' pages, by `rz.viz`: small networks before training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import rnn_zoo as rz


INPUT, HIDDEN = 2, 16
WARM, LAGS = 20, 60


def draw(name: str, folder: Path) -> None:
    """Draws what `cell_pages` shows of a cell into PNG files."""
    cell = eqx.filter_jit(rz.make_cell)(name, INPUT, HIDDEN, key=jax.random.key(0))
    response = pulse_response(cell)
    for kind, figure in figures(cell, response):
        figure.savefig(folder / f"{name}_{kind}.png", dpi=150)


def figures(cell: Any, response: np.ndarray) -> Iterator[tuple[str, Figure]]:
    figure, ax = _axes()
    rz.viz.kernels(response, ax)
    ax.legend().remove()
    yield "pulse", figure
    yield "small", _small(response)
    xs = jax.random.normal(jax.random.key(1), (LAGS, INPUT))
    figure, ax = _axes()
    rz.viz.gradient_lag(rz.dynamics.gradient_norms(cell, xs), ax)
    yield "gradient", figure
    if cell.linear:
        figure, ax = _axes()
        (jacobian,) = np.asarray(rz.dynamics.jacobians(cell, xs[:1]))
        rz.viz.eigenvalues(rz.dynamics.spectrum(jacobian), ax)
        ax.legend().remove()
        yield "eigenvalues", figure


def pulse_response(cell: Any) -> np.ndarray:
    """What the outputs do that they would not do without a one at the first input, by lag."""
    quiet = jnp.zeros((WARM + LAGS, INPUT))

    @eqx.filter_jit
    def run(cell: Any, xs: Any) -> Any:
        return rz.scan.unroll(cell, xs)[1]

    pulse = run(cell, quiet.at[WARM, 0].set(1.0))
    return np.asarray(pulse - run(cell, quiet))[WARM:]


def _axes() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.4, 2.9))
    ax = figure.subplots()
    figure.subplots_adjust(0.17, 0.17, 0.97, 0.97)
    return figure, ax


def _small(response: np.ndarray) -> Figure:
    """The same without axes, as large as a stamp."""
    figure = Figure(figsize=(1.8, 0.9))
    ax = figure.add_axes((0, 0.04, 1, 0.92))
    ax.plot(response, lw=1, alpha=0.7)
    ax.margins(x=0)
    ax.axis("off")
    return figure
