"""One sequence over devices: the same as on one, and what passes between them stays small.

Here are two devices. `test_eight_devices` runs this file again with eight.
"""

import csv
import itertools
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import ALL, LINEAR, H, I, assert_close, build, draw, float64, of_kinds, random_state
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnn_zoo as rz
from rnn_zoo._engine import across_devices
from rnn_zoo._engine.window import Window, pushed
from rnn_zoo.linear import Block2x2, Diagonal


sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.speed.devices import traffic


HERE = jax.device_count()
T = 24
MASK = np.random.default_rng(0).random(T) < 0.7
RESET = np.random.default_rng(1).random(T) < 0.15
# What the second of two devices is handed matters to its first step, either way round.
MASK[[T // 2 - 1, T // 2]], RESET[[T // 2 - 1, T // 2]] = True, False
COUNTS = [n for n in (2, 3, 4, 8) if n <= HERE]
# One complex diagonal for all steps, a real one for each, and a window.
QUICK = {"lru", "mingru", "short_conv"}
CASES = [case for case in ALL if case.linear or case.id in ("short_conv", "delay_line")]


def make_mesh(devices, kind=AxisType.Auto):
    axes = {"axis_types": (kind,), "devices": jax.devices()[:devices]}
    return jax.make_mesh((devices,), ("time",), **axes)


def results(run, cell, given):
    """Values and gradients of a run, `(cell, given) -> arrays`."""
    params, rest = eqx.partition((cell, given), eqx.is_inexact_array)

    def value(params):
        found = run(*eqx.combine(params, rest))
        leaves = [a for a in jax.tree.leaves(found) if eqx.is_inexact_array(a)]
        return sum(jnp.sum(jnp.sin(a.real) + jnp.cos(a.imag)) for a in leaves), found

    return jax.jit(jax.value_and_grad(value, has_aux=True))(params)


def same(run, cell, given, mesh, tolerance=1e-11):
    """`run(cell, given, mesh_axis=...)` on a mesh and on one device."""
    expected = results(partial(run, mesh_axis=None), cell, given)
    with jax.set_mesh(mesh):
        found = results(partial(run, mesh_axis="time"), cell, given)
    assert_close(jax.device_get(found), jax.device_get(expected), tolerance)


def sequence(cell, *, flags):
    given = {"xs": draw(0, (T, cell.input_size)), "state": random_state(cell, 1)}
    if flags:
        given |= {"mask": MASK, "reset": RESET}
        if cell.timed:
            given["dt"] = jnp.asarray(0.5 + np.random.default_rng(2).random(T))
    return given


def unrolled(cell, given, **options):
    return rz.scan.unroll(cell, **given, **options)


# --- cells ----------------------------------------------------------------------------------------


def _runs():
    """(case, flags, reverse): every cell with all flags, in all ways one of each kind."""
    kinds = {case.id for case in of_kinds(CASES)}
    for case in CASES:
        for flags, reverse in itertools.product((True, False), (False, True)):
            if flags or case.id in kinds:
                quick = case.id in QUICK and flags and not reverse
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(
                    case, flags, reverse, id=f"{case.id}-{flags}-{reverse}", marks=marks
                )


@pytest.mark.parametrize("devices", COUNTS)
@pytest.mark.parametrize(("case", "flags", "reverse"), list(_runs()))
def test_over_devices_equals_one_device(case, flags, reverse, devices):
    with float64() as dtype:
        cell = build(case, dtype)
        given = sequence(cell, flags=flags)
        same(partial(unrolled, reverse=reverse), cell, given, make_mesh(devices))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"method": "parallel"}, {"engine": "scan"}], ids=str)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in of_kinds(LINEAR)])
def test_every_algorithm_over_devices(case, options):
    with float64() as dtype:
        cell = build(case, dtype)
        for reverse in (False, True):
            run = partial(unrolled, reverse=reverse, **options)
            same(run, cell, sequence(cell, flags=True), make_mesh(HERE))


@pytest.mark.parametrize("kind", [pytest.param(AxisType.Explicit, id="explicit")])
@pytest.mark.parametrize("name", ["s4d"])
def test_all_states_on_an_explicit_mesh(name, kind):
    with float64() as dtype:
        cell = rz.make_cell(name, I, H, key=jr.key(0), dtype=dtype)
        run = lambda cell, given, **options: rz.scan.trajectory(cell, **given, **options)  # noqa: E731
        same(run, cell, sequence(cell, flags=True), make_mesh(HERE, kind))


@pytest.mark.parametrize("name", ["lru", pytest.param("mamba", marks=pytest.mark.slow)])
def test_float32_and_a_nan_before_a_reset(name):
    cell = rz.make_cell(name, I, H, key=jr.key(0))
    xs = draw(0, (T, I), jnp.float32)
    reset = jnp.arange(T) == T - 3
    for engine in rz.scan.ENGINES:
        run = partial(rz.scan.unroll, cell, mesh_axis="time", engine=engine)
        with jax.set_mesh(make_mesh(HERE)):
            ys = run(xs)[1]
            broken = run(xs.at[1].set(jnp.nan), reset=reset)[1]
        assert_close(ys, rz.scan.unroll(cell, xs)[1], 1e-6)
        assert np.isnan(broken[1 : T - 3]).any(1).all()
        assert_close(broken[T - 3 :], rz.scan.unroll(cell, xs[T - 3 :])[1], 1e-6)


@pytest.mark.slow
def test_a_batch_forward_mode_and_second_derivatives():
    with float64() as dtype:
        cell = rz.make_cell("rglru", I, 4, key=jr.key(0), dtype=dtype)
        xs, moved = draw(0, (3, T, I)), draw(1, (3, T, I))

        def loss(xs, mesh_axis):
            run = lambda xs: rz.scan.unroll(cell, xs, mesh_axis=mesh_axis)[1]  # noqa: E731
            return jnp.sum(jax.vmap(run)(xs) ** 2)

        def second(xs, mesh_axis):
            gradient = jax.grad(partial(loss, mesh_axis=mesh_axis))
            over = jax.grad(lambda xs: jnp.vdot(gradient(xs), moved))
            return jax.jvp(gradient, (xs,), (moved,)), over(xs)

        expected = jax.jit(partial(second, mesh_axis=None))(xs)
        with jax.set_mesh(make_mesh(HERE)):
            found = jax.jit(partial(second, mesh_axis="time"))(xs)
        assert_close(jax.device_get(found), jax.device_get(expected), 1e-10)


@pytest.mark.parametrize("check", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_inside_a_shard_map_of_the_user(check):
    """Each device sees its steps; the final state is the same on all."""
    with float64() as dtype:
        cell = rz.make_cell("s5", I, H, key=jr.key(0), dtype=dtype)
        xs, reset = draw(0, (T, I)), jnp.asarray(RESET)
        whole, time = PartitionSpec(), PartitionSpec("time")
        run = jax.shard_map(
            lambda cell, xs, reset: rz.scan.unroll(cell, xs, reset=reset, mesh_axis="time"),
            mesh=make_mesh(HERE),
            in_specs=(whole, time, time),
            out_specs=(whole, time),
            check_vma=check,
        )
        found = jax.jit(run)(cell, xs, reset)
        assert_close(found, rz.scan.unroll(cell, xs, reset=reset), 1e-11)


# --- layers and models ----------------------------------------------------------------------------

MODELS = {
    "last step": ("lru", {}),
    "mamba both ways": ("mamba", {"bidirectional": True, "pool": "mean"}),
    "dropout": ("s5", {"bidirectional": True, "num_layers": 2, "dropout": 0.3}),
    "every step": ("rglru", {"pool": None, "dropout": 0.2}),
    "tokens": ("mingru", {"embedding_size": 4}),
}


def modelled(model, given, mesh_axis):
    model = rz.base.replace(model, mesh_axis=mesh_axis)
    keywords = {"key": jr.key(3)} if model.stochastic else {}
    return model.scan(**given, **keywords)


@pytest.mark.parametrize("flags", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if i else ()) for i, n in enumerate(MODELS)]
)
def test_models_over_devices(name, flags):
    cell, options = MODELS[name]
    with float64() as dtype:
        options = {"hidden_size": 4, "dtype": dtype, "key": jr.key(0), **options}
        model = rz.make_model(cell, I, 2, **options)
        given = {"xs": np.arange(T) % I if model.reads_tokens else draw(0, (T, I))}
        if flags:
            given |= {"mask": MASK, "reset": RESET}
        for kind in (AxisType.Auto, AxisType.Explicit)[: 1 if HERE == 2 else 2]:
            same(modelled, model, given, make_mesh(HERE, kind))


@pytest.mark.slow
def test_layers_that_are_no_model():
    """The context reaches all parts, and `unroll` takes a layer that steps."""
    with float64() as dtype:
        keys = jr.split(jr.key(0), 3)
        cells = [rz.make_cell("lru", I, I, key=k, dtype=dtype) for k in keys]
        both = rz.Bidirectional(*cells[:2])
        griffin = rz.layers.GriffinBlock(I, key=keys[2], dtype=dtype)
        stack = rz.Stacked([griffin, rz.Block(rz.Recurrent(cells[2]), key=keys[0], dtype=dtype)])
        given = {"xs": draw(0, (T, I)), "mask": MASK, "reset": RESET}

        def scanned(layer, given, mesh_axis):
            with across_devices.over(mesh_axis):
                return layer.scan(**given)

        for layer in (both, stack):
            same(scanned, layer, given, make_mesh(HERE))
        for reverse in (False, True):
            same(partial(unrolled, reverse=reverse), stack, given, make_mesh(HERE))


@pytest.mark.slow
@pytest.mark.skipif(HERE < 4, reason="needs four devices")
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_batch_and_time_over_one_mesh(kind):
    with float64() as dtype:
        options = {"hidden_size": 4, "dtype": dtype, "key": jr.key(0)}
        model = rz.make_model("mamba", I, 2, **options)
        xs, mask = draw(0, (4, T, I)), np.stack([MASK, ~MASK] * 2)
        axes = {"axis_types": (kind,) * 2, "devices": jax.devices()[:4]}
        mesh = jax.make_mesh((2, 2), ("data", "time"), **axes)
        place = NamedSharding(mesh, PartitionSpec("data", "time"))

        def batched(model, given, mesh_axis):
            model = rz.base.replace(model, mesh_axis=mesh_axis)
            return rz.batch(model)(given["xs"], mask=given["mask"])

        expected = results(partial(batched, mesh_axis=None), model, {"xs": xs, "mask": mask})
        given = jax.device_put({"xs": xs, "mask": mask}, place)
        with jax.set_mesh(mesh):
            found = results(partial(batched, mesh_axis="time"), model, given)
        assert_close(jax.device_get(found), jax.device_get(expected), 1e-11)


@pytest.mark.slow
def test_one_key_in_a_shard_map_draws_what_one_device_draws():
    model = rz.make_model("lru", I, 2, hidden_size=4, pool=None, dropout=0.5, key=jr.key(0))
    xs, time = draw(0, (T, I), jnp.float32), PartitionSpec("time")
    spread = rz.base.replace(model, mesh_axis="time")
    run = jax.shard_map(
        lambda xs: spread(xs, key=jr.key(1)), mesh=make_mesh(HERE), in_specs=time, out_specs=time
    )
    assert_close(jax.jit(run)(xs), model(xs, key=jr.key(1)), 1e-6)


# --- what passes between devices ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lru", {}),
        pytest.param("mamba", {"bidirectional": True}, marks=pytest.mark.slow),
        pytest.param("s5", {"bidirectional": True, "pool": "last"}, marks=pytest.mark.slow),
        pytest.param("mingru", {"embedding_size": 4, "pool": "mean"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_traffic_does_not_grow_with_the_sequence(name, options):
    options = {"hidden_size": 8, "pool": None, "key": jr.key(0), **options}
    model = rz.make_model(name, I, 2, mesh_axis="time", **options)
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    mesh = make_mesh(HERE)
    spread = NamedSharding(mesh, PartitionSpec("time"))
    sent = []
    for steps in (2**10, 2**14):
        shape, dtype = ((steps,), jnp.int32) if model.reads_tokens else ((steps, I), jnp.float32)
        xs = jax.ShapeDtypeStruct(shape, dtype, sharding=spread)
        flags = jax.ShapeDtypeStruct((steps,), bool, sharding=spread)

        def loss(params, xs, mask, reset):
            return jnp.sum(eqx.combine(params, rest)(xs, mask=mask, reset=reset) ** 2)

        with jax.set_mesh(mesh):
            lowered = jax.jit(jax.grad(loss)).lower(params, xs, flags, flags)
        sent.append(traffic(lowered.compile().as_text()))
    assert sent[0] == sent[1]
    rounds = (HERE - 1).bit_length()
    assert 0 < sent[0]["collective-permute"] < rounds * 2**14
    assert set(sent[0]) == {"collective-permute", "all-reduce"}


PROGRAM = """
%inner (p: f32[2]) -> f32[2] {
  ROOT %r = f32[2]{0} all-gather(%p), dimensions={0}
}
%body (p: f32[2]) -> f32[2] {
  ROOT %c = f32[2]{0} call(%p), to_apply=%inner
}
ENTRY %main (p: f32[2]) -> f32[2] {
  %s = (c64[3,2]{1,0}, pred[8]{0}) all-reduce-start(%p), to_apply=%sum
  ROOT %w = f32[2]{0} while(%p), condition=%less, body=LOOP
}
"""


def test_traffic_is_read_off_a_program():
    assert traffic(PROGRAM.replace("LOOP", "%none")) == {"all-gather": 8, "all-reduce": 56}
    with pytest.raises(ValueError, match="outside of loops"):
        traffic(PROGRAM.replace("LOOP", "%body"))


# --- parts ----------------------------------------------------------------------------------------


def test_powers_and_products():
    a = np.array([[0.5, -0.7, 0.0], [1.0, 0.9, -1.0]], np.float32)
    count = jnp.array([[0], [5]])[:, :1]
    found = across_devices.power(jnp.asarray(a[:, None]), Diagonal, count, 7)[:, 0]
    np.testing.assert_allclose(found, [np.ones(3), a[1] ** 5], rtol=1e-6)
    one = draw(0, (1, 2, 2, 3), jnp.float32)
    five = jnp.repeat(one, 5, 0)
    expected = np.stack([np.linalg.matrix_power(one[0, ..., i], 5) for i in range(3)], -1)
    power = across_devices.power(one, Block2x2, jnp.array([5]), 7)
    np.testing.assert_allclose(power[0], expected, rtol=1e-4)
    product = across_devices.product(five, Block2x2, 0)
    np.testing.assert_allclose(product[0], expected, rtol=1e-4)
    steps = draw(1, (5, 2, 2, 3), jnp.float32)
    expected = np.eye(2)[..., None]
    for step in steps:
        expected = np.einsum("ijh,jkh->ikh", step, expected)
    found = across_devices.product(steps, Block2x2, 0)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_windows_compose():
    x = jnp.arange(1.0, 9.0)[:, None]
    mask = jnp.array([1, 0, 1, 1, 0, 1, 1, 1], bool)
    start, initial = -jnp.ones((3, 1)), jnp.full((3, 1), 7.0)
    for reset in (None, jnp.arange(8) == 2, jnp.arange(8) == 5):
        whole = pushed(x, initial, mask, reset).apply(start)
        for cut in (2, 6):
            parts = [
                pushed(x[s], initial, mask[s], None if reset is None else reset[s])
                for s in (slice(0, cut), slice(cut, 8))
            ]
            np.testing.assert_array_equal(parts[1].compose(parts[0]).apply(start), whole)
            np.testing.assert_array_equal(parts[1].apply(parts[0].apply(start)), whole)
    np.testing.assert_array_equal(whole[:, 0], [6, 7, 8])
    assert pushed(x, jnp.zeros((0, 1)), None, None).apply(jnp.zeros((0, 1))).shape == (0, 1)
    nothing = Window(jnp.zeros((3, 1)), jnp.array(0))
    np.testing.assert_array_equal(nothing.apply(start), start)


# --- what is refused ------------------------------------------------------------------------------


def test_what_cannot_run_over_devices_is_refused_in_words():
    lru, gru = (rz.make_cell(name, I, H, key=jr.key(0)) for name in ("lru", "gru"))
    run = partial(rz.scan.unroll, mesh_axis="time")
    xs = jnp.ones((4, I))
    with pytest.raises(ValueError, match=r"axis 'time'.*no mesh.*jax.set_mesh"):
        run(lru, xs)
    with jax.set_mesh(jax.make_mesh((2,), ("data",))):
        with pytest.raises(ValueError, match=r"axis 'time'.*\('data',\)"):
            run(lru, xs)
    with jax.set_mesh(make_mesh(2)):
        with pytest.raises(ValueError, match=r"GRUCell is not a linear cell.*list_cells"):
            run(gru, xs)
        with pytest.raises(ValueError, match="GRUCell is not a linear cell"):
            rz.make_model("gru", I, 2, hidden_size=4, mesh_axis="time", key=jr.key(0))(xs)
        layer = rz.Block(
            rz.make_cell("lru", I, I, key=jr.key(0)),
            dropout=0.5,
            broadcast_dropout=True,
            key=jr.key(0),
        )
        with pytest.raises(ValueError, match="SequenceDropout is not a linear cell"):
            run(layer, xs, key=jr.key(1))
        with pytest.raises(ValueError, match=r"2 devices.*divide, got 5: add 1 .*\[5\], 6\)"):
            run(lru, jnp.ones((5, I)))
        with pytest.raises(ValueError, match=r'method="sequential" goes.*drop mesh_axis'):
            run(lru, xs, method="sequential")
        with pytest.raises(ValueError, match="remat goes"):
            run(lru, xs, remat=2)
        with pytest.raises(ValueError, match="no trajectory over devices"):
            rz.scan.trajectory(layer, xs, mesh_axis="time", key=jr.key(1))
        state, ys = run(lru, xs[:0])
        assert ys.shape == (0, lru.output_size)
        assert_close(state, lru.init_state(), 0)


@pytest.mark.usefixtures("unchecked")
def test_a_mesh_axis_is_one_name():
    lru = rz.make_cell("lru", I, H, key=jr.key(0))
    with jax.set_mesh(make_mesh(2)):
        with pytest.raises(TypeError, match=r"name of one axis.*got \('time',\)"):
            rz.scan.unroll(lru, jnp.ones((4, I)), mesh_axis=("time",))
        with pytest.raises(TypeError, match="got None"):
            with rz.scan.over_devices(None):
                pass


def test_a_file_keeps_no_mesh(tmp_path):
    model = rz.make_model("lru", I, 2, hidden_size=4, mesh_axis="time", key=jr.key(0))
    rz.train.save(tmp_path / "model", model)
    again = rz.train.load(tmp_path / "model")
    assert (model.mesh_axis, again.mesh_axis) == ("time", None)
    assert_close(
        again(jnp.ones((3, I))), rz.base.replace(model, mesh_axis=None)(jnp.ones((3, I))), 0
    )


# --- what the page says ---------------------------------------------------------------------------


FIGURES = "bytes in collectives", "gradients apart"


@pytest.mark.slow
@pytest.mark.skipif(HERE != 2, reason="once is enough")
def test_the_page_and_the_benchmark_run_on_forced_devices(tmp_path):
    pages = Path(__file__).parent.parent / "docs" / "pages"
    text = (pages / "howto" / "long_sequences.md").read_text()
    section = text.split("## One sequence over devices")[1].split("\n## ")[0]
    flags = re.search(r"^    XLA_FLAGS=(\S+) python train.py$", section, re.M)[1]
    code = "import jax, jax.numpy as jnp, rnn_zoo as rz\nkey = jax.random.key(0)\n"
    code += re.search(r"```python\n(.*?)```", section, re.S)[1]
    code += "print(parts.sharding.spec[0], len(parts.addressable_shards))\n"
    (tmp_path / "train.py").write_text(code)
    environment = {**os.environ, "XLA_FLAGS": flags}
    command = [sys.executable, str(tmp_path / "train.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines() == ["True", "time 8"], run.stderr
    options = "time --time 64 128 --devices 4 --width 4 --out".split()
    command = [sys.executable, "-m", "benchmarks", "devices", *options, str(tmp_path / "rows.csv")]
    del environment["XLA_FLAGS"]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    assert run.returncode == 0, run.stderr
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    found = {name: [r["value"] for r in rows if r["figure"] == name] for name in FIGURES}
    traffic, apart = (found[name] for name in FIGURES)
    assert traffic[0] == traffic[1]
    assert all(float(value) < 1e-5 for value in apart)
    assert len(apart) == 2


# --- more devices ---------------------------------------------------------------------------------


def again(*options):
    """This file, in a process with eight devices."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"DEVICES": "8"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    run = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.skipif(HERE != 2, reason="is run by itself")
def test_eight_devices():
    again("-k", "one_device and 8 and (lru or short_conv)")


@pytest.mark.slow
@pytest.mark.skipif(HERE != 2, reason="is run by itself")
def test_more_on_eight_devices():
    """One cell of each kind of map, a window, and the traffic of a model."""
    cells = "lru or linoss or short_conv"
    again("-m", "slow or not slow", "-k", f"(one_device and ({cells})) or (traffic and lru)")
