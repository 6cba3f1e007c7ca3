"""Neural circuit policies: sensory -> inter -> command -> motor, sparse and recurrent."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .base import NeuronMap, check_count, check_seed, check_sparsity


class Circuit(NamedTuple):
    """The neurons of each layer and the synapses of each, from which an NCP is drawn."""

    inter: int
    command: int
    motor: int
    sensory_fanout: int
    inter_fanout: int
    recurrent_command_synapses: int
    motor_fanin: int


class NCPMap(NeuronMap):
    """A neural circuit policy (Lechner et al. 2020), the wiring of the nematode C. elegans.

    Every input feeds `sensory_fanout` inter neurons, every inter neuron `inter_fanout`
    command neurons, every motor neuron reads `motor_fanin` command neurons, and
    `recurrent_command_synapses` pairs of command neurons are drawn, some of them twice. A
    neuron that nobody reached, or that reaches nobody, is connected afterwards. Half of the
    synapses excite. Neurons: motor first, then command, then inter. With the seed, the
    adjacencies of `NCP` in ncps 1.0, sensory ones too.
    """

    inter: int
    command: int
    motor: int
    sensory_fanout: int
    inter_fanout: int
    recurrent_command_synapses: int
    motor_fanin: int
    seed: int

    def __init__(
        self,
        input_size: int,
        inter: int,
        command: int,
        motor: int,
        *,
        sensory_fanout: int,
        inter_fanout: int,
        recurrent_command_synapses: int,
        motor_fanin: int,
        seed: int = 22222,
    ):
        """Sizes of the input and of the three layers, and how they are joined. ValueError
        where a size is below 1 or a fan is larger than the layer that it reaches."""
        fans = (sensory_fanout, inter_fanout, recurrent_command_synapses, motor_fanin)
        circuit = _check_circuit(Circuit(inter, command, motor, *fans))
        adjacency, sensory = _draw(check_count("input_size", input_size, 1), circuit, seed)
        self.seal(
            adjacency,
            sensory,
            motor,
            _layers(circuit),
            config=dict(
                input_size=int(input_size),
                **circuit._asdict(),
                seed=int(seed),
            ),
        )


class AutoNCPMap(NeuronMap):
    """An `NCPMap` of so many neurons: layers and fans follow from `sparsity`.

    Of the neurons that are not motor neurons 40 % are command neurons; fans are the share
    1 - `sparsity` of the layer that they reach. With the seed, the adjacencies of `AutoNCP`
    in ncps 1.0, sensory ones too (there sparsity ends at 0.1).
    """

    sparsity: float
    seed: int

    def __init__(
        self,
        input_size: int,
        units: int,
        output_size: int,
        *,
        sparsity: float = 0.5,
        seed: int = 22222,
    ):
        """`units` neurons, `output_size` of them motor neurons. ValueError unless `units` is
        at least output_size + 3 and sparsity in [0, 1]."""
        check_count("input_size", input_size, 1)
        circuit = _auto_circuit(units, output_size, check_sparsity(sparsity, one=True))
        adjacency, sensory = _draw(input_size, circuit, seed)
        self.seal(
            adjacency,
            sensory,
            output_size,
            _layers(circuit),
            config=dict(
                input_size=int(input_size),
                units=int(units),
                output_size=int(output_size),
                sparsity=float(sparsity),
                seed=int(seed),
            ),
        )


def _check_circuit(circuit: Circuit) -> Circuit:
    inter, command, motor, sensory_fanout, inter_fanout, recurrent, motor_fanin = circuit
    return Circuit(
        check_count("inter", inter, 1),
        check_count("command", command, 1),
        check_count("motor", motor, 1),
        check_count("sensory_fanout", sensory_fanout, 1, inter, "inter"),
        check_count("inter_fanout", inter_fanout, 1, command, "command"),
        check_count("recurrent_command_synapses", recurrent, 0),
        check_count("motor_fanin", motor_fanin, 1, command, "command"),
    )


def _auto_circuit(units: int, motor: int, sparsity: float) -> Circuit:
    check_count("output_size", motor, 1)
    if check_count("units", units, 1) < motor + 3:
        raise ValueError(
            f"expected units of at least output_size + 3 = {motor + 3}, got {units}: an NCP needs "
            "a command and two inter neurons beside its motor neurons"
        )
    density = 1.0 - sparsity
    command = max(int(0.4 * (units - motor)), 1)
    inter = units - motor - command
    to_command = max(int(command * density), 1)
    recurrent = max(int(command * density * 2), 1)
    return Circuit(
        inter, command, motor, max(int(inter * density), 1), to_command, recurrent, to_command
    )


def _layers(circuit: Circuit) -> tuple[range, range, range]:
    """The inter, command and motor neurons."""
    motor, command = circuit.motor, circuit.motor + circuit.command
    return range(command, command + circuit.inter), range(motor, command), range(motor)


def _draw(input_size: int, circuit: Circuit, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The two adjacencies. The order of the draws is that of ncps, so that seeds agree."""
    rng = np.random.RandomState(check_seed(seed))
    inter, command, motor = _layers(circuit)
    units = len(inter) + len(command) + len(motor)
    adjacency = np.zeros((units, units), np.int8)
    sensory = np.zeros((input_size, units), np.int8)
    inputs = range(input_size)
    fan = max(1, input_size * circuit.sensory_fanout // len(inter))
    _connect(rng, sensory, inputs, inter, circuit.sensory_fanout, fan)
    # Bounded by the command neurons, as in ncps, though it counts inter neurons.
    fan = max(1, min(len(inter) * circuit.inter_fanout // len(command), len(command)))
    _connect(rng, adjacency, inter, command, circuit.inter_fanout, fan)
    for _ in range(circuit.recurrent_command_synapses):
        source, target = rng.choice(command), rng.choice(command)
        adjacency[source, target] = rng.choice([-1, 1])
    fan = max(1, len(motor) * circuit.motor_fanin // len(command))
    # Drawn from the motor neurons' side: the transposed matrix, targets as sources.
    _connect(rng, adjacency.T, motor, command, circuit.motor_fanin, fan)
    return adjacency, sensory


def _connect(
    rng: np.random.RandomState,
    polarity: np.ndarray,
    sources: Sequence[int],
    targets: Sequence[int],
    fan: int,
    repair_fan: int,
) -> None:
    """Each source to `fan` targets, then each target left out to `repair_fan` sources."""
    reached = set()
    for source in sources:
        for target in rng.choice(targets, size=fan, replace=False):
            polarity[source, target] = rng.choice([-1, 1])
            reached.add(int(target))
    for target in targets:
        if target not in reached:
            for source in rng.choice(sources, size=repair_fan, replace=False):
                polarity[source, target] = rng.choice([-1, 1])
