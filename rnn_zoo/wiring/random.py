"""A random part of all synapses."""

import numpy as np

from .base import NeuronMap, check_count, check_seed, check_sparsity


class RandomMap(NeuronMap):
    """A share 1 - `sparsity` of all synapses, drawn without regard to layers.

    Each is excitatory with probability 2/3. With the seed, the adjacencies of `Random` in
    ncps 1.0, sensory ones too (there the default is sparsity 0).
    """

    sparsity: float
    seed: int

    def __init__(
        self,
        input_size: int,
        units: int,
        output_size: int | None = None,
        *,
        sparsity: float = 0.5,
        seed: int = 1111,
    ):
        """`output_size` motor neurons, all by default; `sparsity` in [0, 1). ValueError for
        an impossible size or share."""
        check_count("input_size", input_size, 1)
        check_count("units", units, 1)
        check_sparsity(sparsity)
        rng = np.random.default_rng(check_seed(seed))
        adjacency = _draw(rng, units, units, sparsity, repeats=1)
        # ncps draws the polarity of a sensory synapse twice and keeps the second.
        sensory = _draw(rng, input_size, units, sparsity, repeats=2)
        self.seal(
            adjacency,
            sensory,
            units if output_size is None else output_size,
            config=dict(
                input_size=int(input_size),
                units=int(units),
                output_size=None if output_size is None else int(output_size),
                sparsity=float(sparsity),
                seed=int(seed),
            ),
        )


def _draw(rng: np.random.Generator, rows: int, columns: int, sparsity: float, repeats: int):
    count = int(np.round(rows * columns * (1 - sparsity)))
    chosen = rng.choice(rows * columns, size=count, replace=False)
    adjacency = np.zeros(rows * columns, np.int8)
    adjacency[chosen] = rng.choice([-1, 1, 1], size=(count, repeats))[:, -1]
    return adjacency.reshape(rows, columns)
