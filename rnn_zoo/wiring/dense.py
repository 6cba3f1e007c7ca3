"""Every neuron feeds every neuron."""

import numpy as np

from .base import NeuronMap, check_count, check_seed


class FullyConnectedMap(NeuronMap):
    """All synapses there can be, each excitatory with probability 2/3.

    With the seed, the polarities of `FullyConnected` in ncps 1.0, sensory ones too.
    """

    self_connections: bool
    seed: int

    def __init__(
        self,
        input_size: int,
        units: int,
        output_size: int | None = None,
        *,
        self_connections: bool = True,
        seed: int = 1111,
    ):
        """`output_size` motor neurons, all by default; `self_connections`: from a neuron to
        itself. ValueError for an impossible size."""
        check_count("input_size", input_size, 1)
        check_count("units", units, 1)
        rng = np.random.default_rng(check_seed(seed))
        present = np.ones((units, units), bool) if self_connections else ~np.eye(units, dtype=bool)
        adjacency = np.zeros((units, units), np.int8)
        adjacency[present] = rng.choice([-1, 1, 1], size=int(present.sum()))
        self.seal(
            adjacency,
            rng.choice([-1, 1, 1], size=(input_size, units)),
            units if output_size is None else output_size,
            config=dict(
                input_size=int(input_size),
                units=int(units),
                output_size=None if output_size is None else int(output_size),
                self_connections=bool(self_connections),
                seed=int(seed),
            ),
        )
