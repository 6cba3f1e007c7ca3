"""Golden adjacencies from ncps for the neuron maps: kinds, sizes, seeds.

    pip install ncps numpy && python tests/golden/make_wirings.py

writes tests/golden/wirings.npz.
"""

import json
from pathlib import Path

import numpy as np


# kind, input size, arguments of ncps' class. Small, odd, uneven, with and without repairs.
CASES = [
    ("FullyConnected", 3, {"units": 5}),
    ("FullyConnected", 4, {"units": 7, "output_dim": 2, "self_connections": False}),
    ("FullyConnected", 1, {"units": 1, "erev_init_seed": 7}),
    ("Random", 3, {"units": 6, "sparsity_level": 0.5}),
    ("Random", 5, {"units": 9, "output_dim": 3, "sparsity_level": 0.75, "random_seed": 3}),
    ("Random", 2, {"units": 4, "sparsity_level": 0.0}),
    ("Random", 16, {"units": 33, "sparsity_level": 0.9, "random_seed": 4}),
    ("NCP", 16, {"inter": 10, "command": 8, "motor": 4, "fans": (4, 5, 6, 4)}),
    ("NCP", 2, {"inter": 7, "command": 5, "motor": 2, "fans": (1, 1, 9, 1)}),
    ("NCP", 1, {"inter": 2, "command": 6, "motor": 9, "fans": (1, 1, 0, 2), "seed": 5}),
    ("NCP", 3, {"inter": 1, "command": 1, "motor": 1, "fans": (1, 1, 1, 1), "seed": 0}),
    ("AutoNCP", 16, {"units": 28, "output_size": 4}),
    ("AutoNCP", 3, {"units": 8, "output_size": 2, "sparsity_level": 0.9, "seed": 1}),
    ("AutoNCP", 1, {"units": 4, "output_size": 1, "sparsity_level": 0.1, "seed": 2}),
    ("AutoNCP", 12, {"units": 64, "output_size": 8, "sparsity_level": 0.3, "seed": 3}),
]


def wire(kind, input_size, arguments):
    """The wiring of ncps, built."""
    from ncps import wirings

    if kind == "NCP":
        names = ("inter", "command", "motor")
        rest = {"seed": arguments["seed"]} if "seed" in arguments else {}
        wiring = wirings.NCP(*(arguments[n] for n in names), *arguments["fans"], **rest)
    else:
        wiring = getattr(wirings, kind)(**arguments)
    wiring.build(input_size)
    return wiring


def main():
    arrays = {"cases": np.array(json.dumps(CASES))}
    for i, case in enumerate(CASES):
        wiring = wire(*case)
        arrays[f"{i}/adjacency"] = wiring.adjacency_matrix.astype(np.int8)
        arrays[f"{i}/sensory"] = wiring.sensory_adjacency_matrix.astype(np.int8)
    np.savez_compressed(Path(__file__).with_name("wirings.npz"), **arrays)


if __name__ == "__main__":
    main()
