"""The kernel of diagonal recurrences, interpreted on a CPU, against the loop; and whether it can be
lowered for a GPU, which needs none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_zoo._engine import backends, diagonal_kernel, unstable_devices
from rnn_zoo._engine.chunks import Way
from rnn_zoo._engine.recurrence import solve
from rnn_zoo.linear import Diagonal, SharedDense


STEPS, WIDTH = 4, 8


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    sizes = backends.SIZES["cpu"]
    monkeypatch.setitem(sizes, "kernel_steps", backends.Size(STEPS, "here"))
    monkeypatch.setitem(sizes, "kernel_channels", backends.Size(WIDTH, "here"))


def drawn(time, channels, dtype, varying=True):
    rng = np.random.default_rng(time)

    def draw(*shape):
        x = rng.normal(size=shape)
        return (x + 1j * rng.normal(size=shape) if dtype == "complex64" else x).astype(dtype)

    a = 0.6 * draw(*((time,) if varying else ()), channels)
    return a, draw(time, channels), rng.random(time) < 0.7, rng.random(time) < 0.2


def states(algorithm, a, b, mask, barrier, reverse):
    way = Way(len(b), reverse)
    a, b, mask, barrier = (None if x is None else jnp.asarray(x) for x in (a, b, mask, barrier))
    return solve(Diagonal(a), b, way, mask=mask, barrier=barrier, algorithm=algorithm)


def derivatives(algorithm, a, b, mask, barrier, reverse):
    """States, gradients, and second derivatives."""

    def size(a, b):
        h = states(algorithm, a, b, mask, barrier, reverse)
        return jnp.sum(jnp.abs(h) ** 2) + jnp.sum(h.real * jnp.arange(h.size).reshape(h.shape))

    gradient = jax.grad(size, (0, 1))
    return states(algorithm, a, b, mask, barrier, reverse), gradient(a, b)


def same(found, expected, tolerance=2e-5):
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.abs(y).max())


# Of steps: less than a chunk, whole chunks, one more; of channels: one block, more, one more.
SIZES = [(3, 5), (8, 8), (13, 9)]


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize(("time", "channels"), SIZES)
def test_states_equal_the_loop(time, channels, dtype):
    for varying in (True, False):
        reverse = varying == (dtype == "float32")
        at = drawn(time, channels, dtype, varying)
        found = jax.jit(states, static_argnums=(0, 5))("kernel", *at, reverse)
        same(found, states("loop", *at, reverse))


@pytest.mark.parametrize(("dtype", "reverse"), [("float32", False), ("complex64", True)])
def test_derivatives_equal_those_of_the_loop(dtype, reverse):
    at = drawn(13, 9, dtype)
    run = jax.jit(derivatives, static_argnums=(0, 5))
    same(run("kernel", *at, reverse), run("loop", *at, reverse))


def test_samples_share_what_is_one_for_all():
    """`vmap` of each argument alone, and of two of them twice."""
    a, b, mask, barrier = drawn(5, 3, "float32")

    def many(x, number=2):
        return np.stack([x * (i + 1) if x.dtype != bool else np.roll(x, i) for i in range(number)])

    for mapped in (["a"], ["b"], ["mask"], ["a", "b"]):
        axes = [0 if name in mapped else None for name in ("a", "b", "mask", "barrier")]
        at = [many(x) if axis == 0 else x for x, axis in zip((a, b, mask, barrier), axes)]

        def run(algorithm, axes=axes, at=at):
            return jax.vmap(lambda *of: states(algorithm, *of, False), axes)(*at)

        same(run("kernel"), run("loop"))
    nested = lambda algorithm: jax.vmap(  # noqa: E731
        lambda a: jax.vmap(lambda b: states(algorithm, a, b, mask, None, False))(many(b, 3))
    )(many(a))
    same(nested("kernel"), nested("loop"))


def test_nothing_comes_past_a_reset():
    """Not even what is not a number; a step that is masked holds the state."""
    a, b = np.full((7, 2), 0.5, np.float32), np.ones((7, 2), np.float32)
    b[1], a[2] = np.nan, np.nan
    barrier = np.arange(7) == 3
    found = states("kernel", a, b, np.ones(7, bool), barrier, False)
    assert np.isnan(found[1:3]).all()
    np.testing.assert_allclose(found[3:], [[1, 1], [1.5, 1.5], [1.75] * 2, [1.875] * 2])
    b[1], a[2] = 0, np.nan
    held = states("kernel", a, b, np.arange(7) != 2, None, False)
    np.testing.assert_allclose(held[:4, 0], [1, 0.5, 1.5, 1.75])


def test_another_kind_of_matrix_takes_the_associative_form():
    a, b = 0.5 * jnp.eye(3), jnp.ones((5, 2, 3))
    both = [
        solve(SharedDense(a), b, Way(5), mask=None, barrier=None, algorithm=name)
        for name in ("kernel", "associative")
    ]
    np.testing.assert_array_equal(*both)


def test_auto_takes_it_only_where_it_can_run(monkeypatch):
    rows = (backends.Choice(0, "loop", "a"), backends.Choice(100, "kernel", "b"))
    monkeypatch.setitem(backends.AUTO, "cpu", rows)
    assert backends.choose("cpu", 200) == "loop"
    monkeypatch.setattr(backends, "has_kernels", lambda: True)
    assert [backends.choose("cpu", n) for n in (99, 200)] == ["loop", "kernel"]


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_it_can_be_lowered_for_a_gpu(dtype, monkeypatch):
    """With the sizes of the table, which have to fit the memory beside a multiprocessor."""
    monkeypatch.undo()
    for module in (unstable_devices, diagonal_kernel):
        monkeypatch.setattr(module, "has_kernels", lambda: True)
    x = jax.ShapeDtypeStruct((2, 300, 130), dtype)
    flag = jax.ShapeDtypeStruct((2, 300), bool)

    def run(a, b, mask):
        flags = {"mask": mask, "barrier": ~mask}
        return diagonal_kernel.diagonal(a, b, flags, reverse=True, late=True)

    names = ("mosaic_gpu", "mosaic_gpu_v2")
    unchecked = [jax.export.DisabledSafetyCheck.custom_call(name) for name in names]
    export = jax.export.export(jax.jit(run), platforms=["cuda"], disabled_checks=unchecked)
    assert "mosaic_gpu" in export(x, x, flag).mlir_module()


def test_a_device_has_to_be_new_enough(monkeypatch):
    class Device:
        def __init__(self, platform, capability):
            self.platform, self.compute_capability = platform, capability

    assert not unstable_devices.has_kernels()
    for platform, capability, expected in [
        ("gpu", "9.0", True),
        ("gpu", "10.0", True),
        ("gpu", "8.9", False),
        ("gpu", "gfx90a", False),
        ("tpu", "9.0", False),
    ]:
        device = Device(platform, capability)
        monkeypatch.setattr(jax, "devices", lambda *_, device=device: [device])
        assert unstable_devices.has_kernels() == expected
