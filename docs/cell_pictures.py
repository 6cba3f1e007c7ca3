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


INPUT = 2
# Units: the first number with which the state is small enough for Jacobians.
UNITS, LARGE = (16, 8, 4), 300
WARM, LAGS = 20, 60


def draw(name: str, folder: Path) -> None:
    """Draws what `cell_pages` shows of a cell into PNG files."""
    units = next((n for n in UNITS if _state_size(name, n) <= LARGE), UNITS[-1])
    drawn = dict(figures(*measure(name, units, jax.random.key(0))))
    for kind, figure in sorted(drawn.items()):  # the small one last: with it all are there
        figure.savefig(folder / f"{name}_{kind}.png", dpi=150)


def _state_size(name: str, units: int) -> int:
    def state() -> Any:
        return rz.make_cell(name, INPUT, units, key=jax.random.key(0)).init_state()

    leaves = jax.tree.leaves(eqx.filter_eval_shape(state))
    return sum(leaf.size * (1 + (leaf.dtype.kind == "c")) for leaf in leaves)


@eqx.filter_jit  # one program: nearly all of the time is compiling
def measure(name: str, units: int, key: Any) -> tuple[Any, Any, Any]:
    """What a pulse does by lag, gradients by lag, and of a linear cell the Jacobian of a step.

    The pulse is a one at the first input, and the response what the outputs do with it that they
    would not do without.
    """
    cell = rz.make_cell(name, INPUT, units, key=key)
    quiet = jnp.zeros((WARM + LAGS, INPUT))
    both = jnp.stack([quiet.at[WARM, 0].set(1.0), quiet])
    pulse, rest = jax.vmap(lambda xs: rz.scan.unroll(cell, xs)[1])(both)
    xs = jax.random.normal(jax.random.key(1), (LAGS, INPUT))
    norms = rz.dynamics.gradient_norms(cell, xs)
    jacobian = rz.dynamics.jacobians(cell, xs[:1])[0] if cell.linear else None
    return (pulse - rest)[WARM:], norms, jacobian


def figures(response: Any, norms: Any, jacobian: Any) -> Iterator[tuple[str, Figure]]:
    figure, ax = _axes()
    rz.viz.kernels(response, ax)
    ax.get_legend().remove()
    yield "pulse", figure
    yield "small", _small(np.asarray(response))
    figure, ax = _axes()
    rz.viz.gradient_lag(norms, ax)
    yield "gradient", figure
    if jacobian is not None:
        figure, ax = _axes()
        rz.viz.eigenvalues(rz.dynamics.spectrum(jacobian), ax)
        ax.get_legend().remove()
        yield "eigenvalues", figure


def _axes() -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.4, 2.9))
    ax = figure.subplots()
    figure.subplots_adjust(0.21, 0.17, 0.97, 0.97)
    return figure, ax


def _small(response: np.ndarray) -> Figure:
    """The same without axes, as large as a stamp."""
    figure = Figure(figsize=(1.8, 0.9))
    ax = figure.add_axes((0, 0.04, 1, 0.92))
    ax.plot(response, lw=1, alpha=0.7)
    ax.margins(x=0)
    ax.axis("off")
    return figure
