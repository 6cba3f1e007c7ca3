"""A neuron map as a picture."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ._axes import matplotlib_module, new_axes


# The colours of ncps, and one of their own for command neurons.
NEURONS = {
    "sensory": "tab:olive",
    "inter": "tab:blue",
    "command": "tab:cyan",
    "motor": "tab:orange",
}
SYNAPSES = {"excitatory": "tab:green", "inhibitory": "tab:red"}
Node = tuple[str, int]


def draw_wiring(neuron_map: Any, ax: Any = None) -> Any:
    """The neurons of a `NeuronMap` and the synapses between them.

    Layered maps run from left to right, inputs first; the neurons of a map of one layer
    stand on a ring, motor neurons to the right. Arrows excite, bars inhibit; past 400
    synapses only lines are drawn. Returns the matplotlib axes.
    """
    ax = new_axes(figsize=(8, 5.5)) if ax is None else ax
    places = _layered(neuron_map) if len(neuron_map.layers) > 1 else _ring(neuron_map)
    synapses = _synapses(neuron_map)
    for source, target, polarity in synapses:
        ax.add_patch(_synapse(places, source, target, polarity, len(synapses)))
    size = 220 if len(places) <= 60 else 60
    for (kind, number), (x, y) in places.items():
        name = "sensory" if kind == "sensory" else neuron_map.neuron_type(number)
        ax.scatter(x, y, size, color=NEURONS[name], edgecolors="white", linewidths=0.8, zorder=3)
        if size > 100:
            style = {"ha": "center", "va": "center", "color": "white", "fontsize": 7, "zorder": 4}
            ax.text(x, y, str(number), **style)
    ax.set_axis_off()
    ax.margins(0.06)
    _legend(ax, neuron_map)
    return ax


def _synapses(neuron_map: Any) -> list[tuple[Node, Node, int]]:
    arrays = (("sensory", neuron_map.sensory_adjacency), ("neuron", neuron_map.adjacency))
    return [
        ((kind, int(source)), ("neuron", int(target)), int(array[source, target]))
        for kind, array in arrays
        for source, target in np.argwhere(array)
    ]


def _layered(neuron_map: Any) -> dict[Node, tuple[float, float]]:
    """One column for the inputs and one for each layer, ordered so that few lines cross."""
    columns = [[("sensory", i) for i in range(neuron_map.input_size)]]
    columns += [[("neuron", n) for n in layer] for layer in neuron_map.layers]
    places = {}
    for x, column in enumerate(columns):
        places |= _column(x, column)
    links: dict[Node, list[Node]] = {node: [] for node in places}
    for source, target, _ in _synapses(neuron_map):
        if places[source][0] != places[target][0]:
            links[source].append(target)
            links[target].append(source)
    for _ in range(8):
        for x, column in enumerate(columns):
            # Each neuron at the mean height of those it is linked with.
            heights = {n: np.mean([places[m][1] for m in links[n]] or [0.5]) for n in column}
            places |= _column(x, sorted(column, key=heights.__getitem__))
    return places


def _column(x: int, nodes: list[Node]) -> dict[Node, tuple[float, float]]:
    return {node: (float(x), (k + 0.5) / len(nodes)) for k, node in enumerate(nodes)}


def _ring(neuron_map: Any) -> dict[Node, tuple[float, float]]:
    places = _column(0, [("sensory", i) for i in range(neuron_map.input_size)])
    turn = 2 * math.pi / neuron_map.units
    start = -turn * (neuron_map.output_size - 1) / 2  # the motor neurons around angle 0
    for n in range(neuron_map.units):
        angle = start + turn * n
        places["neuron", n] = (1.1 + 0.7 * math.cos(angle), 0.5 + 0.5 * math.sin(angle))
    return places


def _synapse(places: dict, source: Node, target: Node, polarity: int, count: int) -> Any:
    """One line, bent where it stays in its column or returns, with an end that tells its sign."""
    (x, y), (x_end, y_end) = places[source], places[target]
    ends = {1: "-|>,head_length=5,head_width=2.2", -1: "-[,widthB=2.6,lengthB=0.1"}
    bend, shrink = 0.25 if x == x_end else 0.06, (6, 8)
    if source == target:  # a bow over the neuron, its feet hidden behind it
        x, x_end, bend, shrink = x - 0.02, x_end + 0.02, -2.6, (0, 0)
    return matplotlib_module("patches").FancyArrowPatch(
        (x, y),
        (x_end, y_end),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle=ends[polarity] if count <= 400 else "-",
        mutation_scale=1,
        shrinkA=shrink[0],
        shrinkB=shrink[1],
        color=SYNAPSES["excitatory" if polarity > 0 else "inhibitory"],
        linewidth=0.9 if count <= 400 else 0.5,
        alpha=min(0.75, 20 / math.sqrt(count) / 2 ** (count > 400)),
        zorder=1,
    )


def _legend(ax: Any, neuron_map: Any) -> None:
    types: Iterable[str] = {neuron_map.neuron_type(n) for n in range(neuron_map.units)}
    line = matplotlib_module("lines").Line2D
    handles = [
        line([], [], marker="o", ls="", ms=9, mec="white", color=color, label=f"{name} neurons")
        for name, color in NEURONS.items()
        if name == "sensory" or name in types
    ]
    handles += [line([], [], color=color, label=name) for name, color in SYNAPSES.items()]
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.02)}
    ax.legend(handles=handles, ncol=3, frameon=False, fontsize=8, **place)
