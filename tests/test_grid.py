"""Every combination of settings in one program."""

import jax.numpy as jnp
import numpy as np
import pytest

from rnn_zoo.train import grid


A, B, C = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0]), np.array([0.1, 0.2, 0.3, 0.4])
EXPECTED = A[:, None, None] * B[:, None] - C


@pytest.mark.parametrize("in_turn", [(), ("b",), ("c", "a"), ("a", "b", "c")])
def test_scores_stand_where_their_settings_do(in_turn):
    found = grid(lambda a, b, c: a * b - c, in_turn=in_turn, a=A, b=B, c=C)
    np.testing.assert_allclose(found.scores, EXPECTED, rtol=1e-6)
    best = found.best()
    assert best == {"a": 1.0, "b": 10.0, "c": 0.4}


def test_what_does_not_depend_on_an_axis_is_not_repeated():
    shapes = []

    def score(a, c):
        shapes.append((jnp.shape(a), jnp.shape(c)))
        return a * c

    found = grid(score, a=A, c=C)
    assert shapes == [((), ())]
    assert found.scores.shape == (3, 4)


def test_nan_is_never_the_best():
    found = grid(lambda a: jnp.where(a < 1.5, jnp.nan, a), a=A)
    assert found.best() == {"a": 2.0}
    with pytest.raises(ValueError, match="NaN"):
        grid(lambda a: a * jnp.nan, a=A).best()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid(lambda a: a, a=1.0), "values of a as a vector"),
        (lambda: grid(lambda a: a, a=np.ones(0)), "values of a as a vector"),
        (lambda: grid(lambda a: a, a=A, in_turn=("b",)), "'b'"),
        (lambda: grid(lambda: 1.0), "at least one axis"),
        (lambda: grid(lambda a: jnp.ones(2), a=A), "scalar"),
    ],
)
def test_bad_grids_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
