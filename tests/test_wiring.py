"""Neuron maps: ncps' adjacencies bit for bit, values that never change, clear errors."""

import copy
import importlib.util
import json
import pickle
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import rnn_zoo as rz


GOLDEN = Path(__file__).parent / "golden"
ARRAYS = np.load(GOLDEN / "wirings.npz")
CASES = json.loads(str(ARRAYS["cases"]))
NAMES = {
    "output_dim": "output_size",
    "sparsity_level": "sparsity",
    "erev_init_seed": "seed",
    "random_seed": "seed",
}
KINDS = {
    "FullyConnected": rz.wiring.FullyConnectedMap,
    "Random": rz.wiring.RandomMap,
    "NCP": rz.wiring.NCPMap,
    "AutoNCP": rz.wiring.AutoNCPMap,
}
FANS = ("sensory_fanout", "inter_fanout", "recurrent_command_synapses", "motor_fanin")
FIGURE = {
    "sensory_fanout": 4,
    "inter_fanout": 5,
    "recurrent_command_synapses": 6,
    "motor_fanin": 4,
}


def build(kind, input_size, arguments):
    """Our map for the arguments of an ncps wiring."""
    arguments = {NAMES.get(name, name): value for name, value in arguments.items()}
    arguments |= dict(zip(FANS, arguments.pop("fans", ())))
    if kind == "Random":
        arguments = {"sparsity": 0.0} | arguments
    return KINDS[kind](input_size, **arguments)


EVERY = [build(*case) for case in CASES]


@pytest.mark.parametrize("i", range(len(CASES)))
def test_adjacency_is_that_of_ncps(i):
    np.testing.assert_array_equal(EVERY[i].adjacency, ARRAYS[f"{i}/adjacency"])
    np.testing.assert_array_equal(EVERY[i].sensory_adjacency, ARRAYS[f"{i}/sensory"])


@pytest.mark.parametrize("i", range(len(CASES)))
def test_equals_the_installed_ncps(i):
    """Where ncps is installed: more seeds, its layers, its counts, its graph."""
    pytest.importorskip("ncps")
    spec = importlib.util.spec_from_file_location("make", GOLDEN / "make_wirings.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    kind, inputs, arguments = CASES[i]
    name = {"FullyConnected": "erev_init_seed", "Random": "random_seed"}.get(kind, "seed")
    for seed in range(5):
        case = (kind, inputs, arguments | {name: seed})
        theirs, ours = make.wire(*case), build(*case)
        np.testing.assert_array_equal(ours.adjacency, theirs.adjacency_matrix)
        np.testing.assert_array_equal(ours.sensory_adjacency, theirs.sensory_adjacency_matrix)
    assert ours.output_size == theirs.output_dim
    assert ours.synapse_count == theirs.synapse_count
    assert ours.sensory_synapse_count == theirs.sensory_synapse_count
    layers = [theirs.get_neurons_of_layer(k) for k in range(theirs.num_layers)]
    assert ours.layers == tuple(map(tuple, layers))
    for neuron in range(ours.units):
        assert ours.neuron_type(neuron) == theirs.get_type_of_neuron(neuron)
    if importlib.util.find_spec("networkx"):
        one, two = ours.to_networkx(), theirs.get_graph()
        assert dict(one.nodes.items()) == dict(two.nodes.items())
        assert dict(one.edges.items()) == dict(two.edges.items())


@pytest.mark.parametrize("map", EVERY, ids=str)
def test_a_map_is_a_value(map):
    again = type(map)(**map.config)
    assert again is not map
    assert again == map
    assert hash(again) == hash(map)
    others = [other for other in EVERY if other == map]
    assert others == [map]
    for array in (map.adjacency, map.sensory_adjacency):
        assert array.dtype == np.int8
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    for name in ("units", "adjacency", "seed"):
        with pytest.raises(AttributeError, match="never changes"):
            setattr(map, name, 3)
        with pytest.raises(AttributeError, match="never changes"):
            delattr(map, name)


@pytest.mark.parametrize("map", EVERY, ids=str)
def test_sizes_and_counts(map):
    assert map.adjacency.shape == (map.units, map.units)
    assert map.sensory_adjacency.shape == (map.input_size, map.units)
    assert map.synapse_count == abs(map.adjacency.astype(int)).sum()
    assert map.sensory_synapse_count == abs(map.sensory_adjacency.astype(int)).sum()
    assert type(map.synapse_count) is type(map.units) is type(map.output_size) is int
    assert sorted(n for layer in map.layers for n in layer) == list(range(map.units))
    types = [map.neuron_type(n) for n in range(map.units)]
    assert types[: map.output_size] == ["motor"] * map.output_size
    assert "motor" not in types[map.output_size :]


@pytest.mark.parametrize("map", EVERY, ids=str)
@pytest.mark.parametrize("way", ["json", "pickle", "deepcopy"])
def test_stored_and_read_again(map, way):
    if way == "json":
        read = rz.wiring.NeuronMap.from_json(map.to_json())
    else:
        read = pickle.loads(pickle.dumps(map)) if way == "pickle" else copy.deepcopy(map)
    assert type(read) is type(map)
    assert read == map
    assert hash(read) == hash(map)
    assert read.config == map.config
    assert vars(read).keys() >= {"adjacency", *map.config}
    for name in ("adjacency", "sensory_adjacency"):
        one, two = getattr(read, name), getattr(map, name)
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype
        assert not one.flags.writeable


def test_a_read_map_keeps_its_arrays_where_the_seed_would_draw_others():
    map = rz.wiring.AutoNCPMap(3, 8, 2)
    content = json.loads(map.to_json())
    content["adjacency"][0][0] = 1
    read = rz.wiring.NeuronMap.from_json(json.dumps(content))
    assert read.adjacency[0, 0] == 1
    assert map.adjacency[0, 0] == 0
    assert read != map


def test_layers_of_an_ncp():
    map = rz.wiring.NCPMap(16, 12, 9, 4, **FIGURE)
    inter, command, motor = map.layers
    assert (len(inter), len(command), len(motor)) == (12, 9, 4)
    assert motor == (0, 1, 2, 3)
    assert {map.neuron_type(n) for n in command} == {"command"}
    assert {map.neuron_type(n) for n in inter} == {"inter"}
    present = map.adjacency != 0
    # Signals go from layer to layer; only command neurons feed their own.
    for source, target in [(inter, inter), (inter, motor), (motor, inter), (motor, motor)]:
        assert not present[np.ix_(source, target)].any()
    assert not present[np.ix_(motor, command)].any()
    assert (present[np.ix_(inter, command)].sum(axis=1) >= 5).all()
    assert (present[np.ix_(command, motor)].sum(axis=0) >= 4).all()
    assert 1 <= present[np.ix_(command, command)].sum() <= 6
    assert not (map.sensory_adjacency[:, : len(motor) + len(command)]).any()


@pytest.mark.parametrize("seed", range(20))
def test_no_neuron_of_an_ncp_is_left_out(seed):
    map = rz.wiring.AutoNCPMap(2, 20, 3, sparsity=0.9, seed=seed)
    inter, command, motor = map.layers
    present = map.adjacency != 0
    assert (map.sensory_adjacency[:, inter] != 0).any(axis=0).all()
    assert present[np.ix_(inter, command)].any(axis=0).all()
    assert present[np.ix_(command, motor)].any(axis=1).all()
    assert present[np.ix_(command, motor)].any(axis=0).all()


def test_auto_ncp_map_is_the_ncp_map_of_its_formulas():
    for (units, motor), (inter, command, *fans) in {
        (28, 4): (15, 9, 7, 4, 9, 4),
        (16, 1): (9, 6, 4, 3, 6, 3),
    }.items():
        auto = rz.wiring.AutoNCPMap(5, units, motor, seed=3)
        ncp = rz.wiring.NCPMap(5, inter, command, motor, **dict(zip(FANS, fans)), seed=3)
        assert auto == rz.wiring.AutoNCPMap(5, units, motor, seed=3)
        assert auto != ncp, "another class"
        assert auto.layers == ncp.layers
        np.testing.assert_array_equal(auto.adjacency, ncp.adjacency)
        np.testing.assert_array_equal(auto.sensory_adjacency, ncp.sensory_adjacency)


def test_sparsity_zero_and_one_are_there():
    assert rz.wiring.RandomMap(3, 5, sparsity=0.0).synapse_count == 25
    full, least = (rz.wiring.AutoNCPMap(3, 12, 2, sparsity=s) for s in (0.0, 1.0))
    inter, command, motor = full.layers
    assert full.sensory_synapse_count == 3 * len(inter)
    assert least.synapse_count < full.synapse_count


def test_a_map_stands_in_a_static_field():
    class Holder(eqx.Module):
        weight: jax.Array
        map: rz.wiring.NeuronMap = eqx.field(static=True)

    traces = []

    @jax.jit
    def f(holder):
        traces.append(holder.map)
        return holder.weight * holder.map.units

    for _ in range(2):
        f(Holder(jax.numpy.ones(2), rz.wiring.AutoNCPMap(3, 8, 2)))
    assert len(traces) == 1
    f(Holder(jax.numpy.ones(2), rz.wiring.AutoNCPMap(3, 8, 2, seed=1)))
    assert len(traces) == 2


def test_a_map_of_your_own():
    class Ring(rz.wiring.NeuronMap):
        def __init__(self, input_size, units):
            adjacency = np.roll(np.eye(units, dtype=int), 1, axis=1)
            self.seal(
                adjacency,
                np.ones((input_size, units)),
                units,
                config={"input_size": input_size, "units": units},
            )

    map = Ring(2, 5)
    assert map == Ring(2, 5) != Ring(2, 4)
    assert map.synapse_count == 5
    assert map.layers == ((0, 1, 2, 3, 4),)
    assert type(rz.wiring.NeuronMap.from_json(map.to_json())) is Ring


def test_the_graph():
    pytest.importorskip("networkx")
    map = rz.wiring.AutoNCPMap(3, 8, 2)
    graph = map.to_networkx()
    assert graph.number_of_nodes() == 3 + 8
    assert graph.number_of_edges() == map.synapse_count + map.sensory_synapse_count
    source, target = np.argwhere(map.adjacency < 0)[0]
    assert graph.edges[f"neuron_{source}", f"neuron_{target}"] == {"polarity": "inhibitory"}
    assert graph.nodes["neuron_0"] == {"neuron_type": "motor"}
    assert graph.nodes["sensory_2"] == {"neuron_type": "sensory"}


def test_a_missing_networkx_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=r"pip install .*\[wiring\]"):
        rz.wiring.AutoNCPMap(3, 8, 2).to_networkx()


@pytest.mark.parametrize(
    "map", [rz.wiring.AutoNCPMap(3, 9, 2), rz.wiring.FullyConnectedMap(2, 4, 1)], ids=str
)
def test_the_picture_has_every_neuron_and_synapse(map):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    ax = rz.viz.draw_wiring(map)
    colors = [patch.get_edgecolor()[:3] for patch in ax.patches]
    wires = np.concatenate([map.adjacency.ravel(), map.sensory_adjacency.ravel()])
    for color, sign in (("tab:green", 1), ("tab:red", -1)):
        assert colors.count(matplotlib.colors.to_rgb(color)) == (wires == sign).sum()
    drawn = [dots.get_facecolor()[0][:3].tolist() for dots in ax.collections]
    types = ["sensory"] * map.input_size + [map.neuron_type(n) for n in range(map.units)]
    names = dict(zip(("sensory", "inter", "command", "motor"), ("olive", "blue", "cyan", "orange")))
    expected = [list(matplotlib.colors.to_rgb(f"tab:{names[t]}")) for t in types]
    assert sorted(drawn) == sorted(expected)
    assert len({tuple(dots.get_offsets()[0]) for dots in ax.collections}) == len(types)
    assert rz.viz.draw_wiring(map, ax) is ax
    matplotlib.pyplot.close(ax.figure)


def ncp(*sizes, **changes):
    return rz.wiring.NCPMap(*sizes, **(FIGURE | changes))


BAD = {
    "inputs": (lambda: rz.wiring.FullyConnectedMap(0, 3), "input_size to be an integer of at least 1, got 0"),
    "units": (lambda: rz.wiring.FullyConnectedMap(3, 0), "units to be an integer of at least 1"),
    "bool": (lambda: rz.wiring.RandomMap(3, True), "units to be an integer of at least 1, got True"),
    "outputs": (lambda: rz.wiring.FullyConnectedMap(3, 4, 5), "output_size to be an integer from 1 to units = 4, got 5"),
    "no outputs": (lambda: rz.wiring.RandomMap(3, 4, 0), "output_size to be an integer from 1"),
    "sparsity 1": (lambda: rz.wiring.RandomMap(3, 4, sparsity=1.0), r"sparsity, the share of synapses left out, in \[0, 1\), got 1.0"),
    "sparsity -1": (lambda: rz.wiring.AutoNCPMap(3, 8, 2, sparsity=-1.0), r"in \[0, 1\], got -1.0"),
    "sparsity nan": (lambda: rz.wiring.AutoNCPMap(3, 8, 2, sparsity=float("nan")), "got nan"),
    "seed": (lambda: rz.wiring.AutoNCPMap(3, 8, 2, seed=-1), "seed to be an integer from 0"),
    "ncp inputs": (lambda: ncp(0, 10, 8, 4), "input_size to be an integer of at least 1"),
    "inter": (lambda: ncp(3, 0, 8, 4), "inter to be an integer of at least 1"),
    "command": (lambda: ncp(3, 10, 0, 4), "command to be an integer of at least 1"),
    "motor": (lambda: ncp(3, 10, 8, 0), "motor to be an integer of at least 1"),
    "sensory fanout": (lambda: ncp(3, 10, 8, 4, sensory_fanout=11), "sensory_fanout to be an integer from 1 to inter = 10, got 11"),
    "inter fanout": (lambda: ncp(3, 10, 8, 4, inter_fanout=9), "inter_fanout to be an integer from 1 to command = 8, got 9"),
    "motor fanin": (lambda: ncp(3, 10, 8, 4, motor_fanin=9), "motor_fanin to be an integer from 1 to command = 8, got 9"),
    "recurrent": (lambda: ncp(3, 10, 8, 4, recurrent_command_synapses=-1), "recurrent_command_synapses to be an integer of at least 0"),
    "auto units": (lambda: rz.wiring.AutoNCPMap(3, 4, 2), r"units of at least output_size \+ 3 = 5, got 4"),
    "auto outputs": (lambda: rz.wiring.AutoNCPMap(3, 4, 0), "output_size to be an integer of at least 1"),
    "neuron": (lambda: rz.wiring.AutoNCPMap(3, 8, 2).neuron_type(8), "neuron to be an integer from 0 to units - 1 = 7, got 8"),
    "json": (lambda: rz.wiring.NeuronMap.from_json("{}"), r"text of a neuron map's to_json\(\)"),
    "no json": (lambda: rz.wiring.NeuronMap.from_json("ring"), "text of a neuron map"),
    "json class": (lambda: rz.wiring.NeuronMap.from_json(rz.wiring.AutoNCPMap(3, 8, 2).to_json().replace("AutoNCPMap", "Wheel")), "expected one of the maps .*, got 'Wheel'"),
    "polarities": (lambda: rz.wiring.NeuronMap.from_json(rz.wiring.AutoNCPMap(3, 8, 2).to_json().replace("-1", "-2")), "polarities -1, 0 or 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_message(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
