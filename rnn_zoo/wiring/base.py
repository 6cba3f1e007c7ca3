"""What every neuron map is: sizes, polarities, layers; how it compares and how it is stored."""

import abc
import functools
import importlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._common.extras import missing


class NeuronMap(abc.ABC):
    """Which neuron feeds which, and with what sign: an immutable value.

    A map is built in one call, from its sizes and a seed; two maps built alike are equal and
    hash alike, so a map can stand in a static field. Neurons are numbered from 0, the
    `output_size` motor neurons first. A map of your own computes its arrays in `__init__`
    and ends with `self.seal(...)`.
    """

    input_size: int
    """The number of inputs (sensory neurons)."""
    units: int
    """The number of neurons: inter, command and motor neurons together."""
    output_size: int
    """The number of motor neurons."""
    adjacency: np.ndarray
    """(units, units) int8, [source, target]: 1 excites, -1 inhibits, 0 is no synapse."""
    sensory_adjacency: np.ndarray
    """(input_size, units) int8, from the inputs to the neurons."""
    layers: tuple[tuple[int, ...], ...]
    """The neurons of each layer, in the order in which a signal passes them."""
    config: dict[str, Any]
    """The arguments that build this map."""

    @abc.abstractmethod
    def __init__(self, input_size: int, units: int):
        """Compute the two adjacencies and call `seal`."""

    def seal(
        self,
        adjacency: np.ndarray,
        sensory_adjacency: np.ndarray,
        output_size: int,
        layers: Sequence[Sequence[int]] | None = None,
        *,
        config: dict[str, Any],
    ) -> None:
        """Take the arrays and `config`, the arguments of `__init__`; then nothing changes.

        By default one layer holds all neurons. ValueError for shapes that do not fit and for
        polarities other than -1, 0 and 1.
        """
        inputs, units = np.shape(sensory_adjacency)
        if np.shape(adjacency) != (units, units):
            raise ValueError(
                f"expected adjacency of shape ({units}, {units}), as many neurons as the columns "
                f"of sensory_adjacency, got {np.shape(adjacency)}"
            )
        vars(self).update(
            config,  # under their names; the true sizes stand over them
            input_size=inputs,
            units=units,
            output_size=check_count("output_size", output_size, 1, units, "units"),
            adjacency=_polarities("adjacency", adjacency),
            sensory_adjacency=_polarities("sensory_adjacency", sensory_adjacency),
            layers=tuple(tuple(map(int, layer)) for layer in layers or [range(units)]),
            config=config,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a neuron map never changes: build another one to set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a neuron map never changes: {name} cannot be removed")

    @functools.cached_property
    def _value(self) -> tuple:
        arrays = (self.adjacency.tobytes(), self.sensory_adjacency.tobytes())
        return (self.input_size, self.output_size, *arrays, self.layers, str(self))

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._value)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and self._value == other._value  # type: ignore

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        return f"{type(self).__name__}({arguments})"

    def __reduce__(self) -> tuple:
        # Through the text: a copied array would be writeable.
        return NeuronMap.from_json, (self.to_json(),)

    @property
    def synapse_count(self) -> int:
        """The number of synapses between neurons."""
        return int(np.count_nonzero(self.adjacency))

    @property
    def sensory_synapse_count(self) -> int:
        """The number of synapses from inputs to neurons."""
        return int(np.count_nonzero(self.sensory_adjacency))

    def neuron_type(self, neuron: int) -> str:
        """One of "motor", "command", "inter". ValueError for a neuron that is not there."""
        check_count("neuron", neuron, 0, self.units - 1, "units - 1")
        if neuron < self.output_size:
            return "motor"
        return "command" if len(self.layers) == 3 and neuron in self.layers[1] else "inter"

    def to_networkx(self) -> Any:
        """A `networkx.DiGraph`: nodes "sensory_0", "neuron_0" ..., the names of ncps.

        Nodes have `neuron_type`, edges `polarity` ("excitatory" or "inhibitory"). ImportError
        where networkx is missing.
        """
        graph = _networkx().DiGraph()
        for neuron in range(self.units):
            graph.add_node(f"neuron_{neuron}", neuron_type=self.neuron_type(neuron))
        for source in range(self.input_size):
            graph.add_node(f"sensory_{source}", neuron_type="sensory")
        for kind, array in (("sensory", self.sensory_adjacency), ("neuron", self.adjacency)):
            for source, target in np.argwhere(array):
                polarity = "excitatory" if array[source, target] > 0 else "inhibitory"
                graph.add_edge(f"{kind}_{source}", f"neuron_{target}", polarity=polarity)
        return graph

    def to_json(self) -> str:
        """The map as text: its class, its arguments, its arrays."""
        content = {
            "class": type(self).__name__,
            "config": self.config,
            "output_size": self.output_size,
            "layers": self.layers,
            "adjacency": self.adjacency.tolist(),
            "sensory_adjacency": self.sensory_adjacency.tolist(),
        }
        return json.dumps(content)

    @staticmethod
    def from_json(text: str) -> "NeuronMap":
        """The map that `to_json` wrote, of its own class.

        The arrays are those of the text, not drawn again: another NumPy may draw another
        stream. ValueError for a text that is no map, or of a class that is not defined.
        """
        try:
            content = json.loads(text)
            name, config = content["class"], content["config"]
            wires = [np.array(content[k]) for k in ("adjacency", "sensory_adjacency")]
            output_size, layers = content["output_size"], content["layers"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected the text of a neuron map's to_json(): {error}") from error
        kinds = {kind.__name__: kind for kind in _subclasses(NeuronMap)}
        if name not in kinds:
            raise ValueError(
                f"expected one of the maps {sorted(kinds)}, got {name!r}: import the module that "
                "defines it first"
            )
        loaded = object.__new__(kinds[name])
        loaded.seal(*wires, output_size, layers, config=config)
        return loaded


def check_count(name: str, value: Any, low: int, high: int | None = None, limit: str = "") -> int:
    """An integer from `low` to `high` (named `limit` in the message), or a ValueError."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if integer and low <= value and (high is None or value <= high):
        return int(value)
    if high is None:
        raise ValueError(f"expected {name} to be an integer of at least {low}, got {value!r}")
    bound = f"{limit} = {high}" if limit else str(high)
    raise ValueError(f"expected {name} to be an integer from {low} to {bound}, got {value!r}")


def check_sparsity(value: float, *, one: bool = False) -> float:
    """The share of synapses left out: in [0, 1), or with `one` in [0, 1]."""
    if 0.0 <= value < 1.0 or (one and value == 1.0):
        return float(value)
    interval = "[0, 1]" if one else "[0, 1)"
    raise ValueError(
        f"expected sparsity, the share of synapses left out, in {interval}, got {value}"
    )


def check_seed(seed: int) -> int:
    """A seed that draws the same map every time."""
    return check_count("seed", seed, 0, 2**32 - 1)


def _polarities(name: str, values: Any) -> np.ndarray:
    array = np.array(values, np.int8)
    if not (np.isin(values, (-1, 0, 1))).all():
        raise ValueError(f"expected polarities -1, 0 or 1 in {name}, got {np.unique(values)}")
    array.flags.writeable = False
    return array


def _networkx() -> Any:
    try:
        return importlib.import_module("networkx")
    except ImportError as error:
        raise missing("graphs need networkx", "wiring", error) from error


def _subclasses(cls: type) -> list[type]:
    children = cls.__subclasses__()
    return children + [deep for child in children for deep in _subclasses(child)]
