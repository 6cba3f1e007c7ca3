"""Layers side by side: `Parallel` and `Cascade`, which the laws of tests/cases.py know too."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import draw

import rnn_zoo as rz


KEY = jr.key(0)


def cells(*sizes):
    return [rz.cells.GRUCell(i, o, key=k) for i, o, k in zip(sizes, sizes[1:], jr.split(KEY, 9))]


def test_parallel_layers_read_the_same_input():
    one, two = rz.cells.GRUCell(3, 4, key=KEY), rz.cells.LRUCell(3, 2, key=KEY)
    xs = draw(0, (10, 3))
    expected = np.concatenate([rz.Recurrent(one)(xs), rz.Recurrent(two)(xs)], axis=1)
    np.testing.assert_allclose(rz.layers.Parallel([one, two])(xs), expected, atol=1e-6)


def test_a_cascade_shows_all_of_its_layers():
    parts = cells(3, 4, 2, 5)
    xs = draw(0, (10, 3))
    outputs, ys = [], xs
    for cell in parts:
        ys = rz.Recurrent(cell)(ys)
        outputs.append(ys)
    cascade = rz.layers.Cascade(parts)
    np.testing.assert_allclose(cascade(xs), np.concatenate(outputs, axis=1), atol=1e-6)
    np.testing.assert_allclose(cascade(xs)[:, -5:], rz.Stacked(parts)(xs), atol=1e-6)


def test_backward_parts_scan_and_do_not_step():
    both = rz.layers.Parallel(
        [rz.cells.GRUCell(3, 4, key=KEY), rz.layers.Backward(rz.cells.GRUCell(3, 2, key=KEY))]
    )
    assert both.directions() == ((0, 4, False), (4, 6, True))
    assert both(draw(0, (10, 3))).shape == (10, 6)
    with pytest.raises(TypeError, match="Backward"):
        both.step(both.init_state(), jnp.zeros(3))
    mixed = rz.layers.Cascade(
        [rz.Bidirectional(*cells(3, 2)[:1] * 2), rz.cells.GRUCell(4, 3, key=KEY)]
    )
    assert mixed.directions() == ((0, 2, False), (2, 4, True), (4, 7, False))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rz.layers.Parallel([]), "at least one layer"),
        (lambda: rz.layers.Parallel([*cells(3, 4), *cells(2, 4)]), r"input sizes \[3, 2\]"),
        (lambda: rz.layers.Cascade([]), "at least one layer"),
        (lambda: rz.layers.Cascade([*cells(3, 4), *cells(2, 4)]), "layer 0 gives 4"),
    ],
)
def test_sizes_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
