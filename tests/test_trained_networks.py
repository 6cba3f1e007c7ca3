"""What chunks side by side take for trained networks, whose weights are kept with benchmarks."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rnn_zoo.scan import Chunks, chunk_report, unroll


sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.quality import networks


LONG = 8192
# Level and passes at most, in chunks of 128 steps.
TAKES = {
    "parity elman": (1, 5),
    "parity gru": (1, 5),
    "parity lstm": (1, 6),
    "even_pairs lstm": (3, 10),
    "cycle_navigation lstm": (2, 9),
    "s3 gru": (2, 9),
    "flip_flop gru": (0, 3),
    "vowels gru": (0, 3),
    "mackey_glass gru": (0, 3),
    "lorenz lstm": (0, 3),
}
QUICK = {"parity elman"}


@pytest.mark.parametrize(
    "place", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in TAKES]
)
def test_passes(place):
    model, (xs, answers) = networks.network(place), networks.long_inputs(place, LONG)
    cell, options = networks.cell_of(model), Chunks(128)
    level, passes = TAKES[place]
    report = chunk_report(cell, xs, method=options)
    assert report.reruns == 0
    assert report.level <= level
    assert report.passes <= passes
    one, two = (unroll(cell, xs, method=method)[1] for method in ("sequential", options))
    np.testing.assert_allclose(one, two, atol=3e-5)
    if answers is not None:
        said = np.asarray(jax.vmap(model.head)(two)).argmax(-1)
        assert (said == answers)[answers >= 0].all()


def test_every_network_has_its_files():
    for place, recipe in networks.RECIPES.items():
        found = [networks.path(place, number) for number in range(recipe.members)]
        assert all(path.exists() for path in found), place
    assert len(list(networks.NETWORKS.iterdir())) == sum(
        recipe.members for recipe in networks.RECIPES.values()
    )
    assert sum(path.stat().st_size for path in networks.NETWORKS.iterdir()) < 1e6
