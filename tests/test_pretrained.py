"""The small trained models that come with the package."""

import sys
from pathlib import Path

import equinox as eqx
import jax
import optax
import pytest

import rnn_zoo as rz
from rnn_zoo.train import pretrained, pretrained_card


ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.quality.pretrained import RECIPES


FOLDER = ROOT / "rnn_zoo" / "_pretrained"


def test_every_recipe_has_a_model_and_all_are_small():
    assert rz.list_pretrained() == tuple(sorted(RECIPES))
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6


@pytest.mark.parametrize("name", rz.list_pretrained())
def test_a_model_is_the_one_of_its_card(name):
    model, card = rz.load_pretrained(name), pretrained_card(name)
    arrays = jax.tree.leaves(eqx.filter(model, eqx.is_array))
    assert card.numbers == sum(a.size for a in arrays)
    assert card.bytes == (FOLDER / f"{name}.rz").stat().st_size
    assert card.command == f"python -m benchmarks pretrained {name}"
    recipe = RECIPES[name]
    for part in ("about", "use", "data", "test", "spread"):
        assert getattr(card, part) == getattr(recipe, part)
    assert set(card.figures) == set(card.spread)
    assert card.seconds <= 240


def test_names_and_files_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="called 'lorentz': did you mean 'lorenz'"):
        rz.load_pretrained("lorentz")
    for path in FOLDER.glob("parity.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    assert rz.list_pretrained() == ("parity",)
    (tmp_path / "parity.rz").write_bytes(b"another file")
    with pytest.raises(ValueError, match="is not the file of its card: install the package anew"):
        rz.load_pretrained("parity")


@pytest.mark.slow
def test_a_loaded_model_is_trained_on():
    vowels = rz.load_pretrained("japanese_vowels")
    assert vowels.dropout.inference is True
    train = rz.data.load("parity", key=jax.random.key(1), n_train=4, n_valid=1, n_test=1).train
    model = rz.load_pretrained("parity")
    again = rz.train.fit(
        eqx.nn.inference_mode(model, False),
        rz.data.ask_last(train),
        loss=rz.train.cross_entropy,
        optimizer=optax.adam(1e-3),
        key=jax.random.key(0),
        steps=1,
        batch_size=4,
    )
    assert again.history[-1]["train_loss"] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", rz.list_pretrained())
def test_a_model_reaches_the_figures_of_its_card(name):
    card = pretrained_card(name)
    found = RECIPES[name].figures(rz.load_pretrained(name))
    assert set(found) == set(card.figures)
    for what, value in found.items():
        assert value == pytest.approx(card.figures[what], abs=card.spread[what]), what
