"""Training data that come batch by batch: iterables, mapped files, array-likes; their faults."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from cases import assert_close
from test_fit_loop import population
from test_train import ADAM, KEY, model_for, same, sign_task, train

from rnn_zoo.data import Batch, batches
from rnn_zoo.train import (
    Checkpoints,
    DataSourceError,
    NonFiniteLossError,
    cross_entropy,
    evaluate,
    fit_population,
    member,
    mse,
)


def parts(data=None, size=16):
    data = sign_task() if data is None else data
    return [data[start : start + size] for start in range(0, len(data), size)]


def run(source, **options):
    options = {"steps": 8, "batch_size": None, **options}
    return train(model_for(), source, **options)


class Again:
    """A re-iterable without a length, as a DataLoader of a stream."""

    def __init__(self, batches):
        self.batches, self.passes = batches, 0

    def __iter__(self):
        self.passes += 1
        return iter(self.batches)


class Loader(Again):
    def __init__(self, batches, length=None):
        self.batches, self.passes = batches, 0
        self.length = len(batches) if length is None else length

    def __len__(self):
        return self.length


class Telling:
    """An iterator that can say where it is, as Grain's."""

    def __init__(self, batches, kind):
        self.batches, self.place, self.kind = batches, 0, kind

    def __iter__(self):
        return self

    def __next__(self):
        if self.place == len(self.batches):
            raise StopIteration
        self.place += 1
        return self.batches[self.place - 1]

    def get_state(self):
        state = {"next": self.place}
        return self.kind(str(self.place).encode()) if self.kind is bytes else self.kind(state)

    def set_state(self, state):
        self.place = int(state) if self.kind is bytes else dict(state)["next"]


class TellingLoader(Loader):
    kind = dict

    def __iter__(self):
        return Telling(self.batches, self.kind)


# Iterables


def test_all_iterables_give_the_same_run():
    expected = run(parts())
    again, loader = Again(parts()), Loader(parts())
    for source in (tuple(parts()), (p for p in parts() * 2), iter(parts() * 2), again, loader):
        assert same(run(source).model, expected.model)
    assert (again.passes, loader.passes) == (2, 2)
    assert [row["step"] for row in run(loader).history] == [4, 8]
    assert [row["epoch"] for row in expected.history] == [1, 2]
    assert [list(row)[:2] for row in run(again).history] == [["step", "seconds"]]


def test_a_torch_data_loader():
    torch = pytest.importorskip("torch")
    data = sign_task()
    samples = [(np.array(data.x[i]), data.y[i]) for i in range(len(data))]

    def together(samples):
        x, y = zip(*samples)
        return Batch(np.stack(x), np.stack(y))

    loader = torch.utils.data.DataLoader(samples, batch_size=16, collate_fn=together)
    assert same(run(loader, steps=None, epochs=2).model, run(parts()).model)
    with pytest.raises(TypeError, match="gives a list came: make each a Batch.*collate_fn"):
        run(torch.utils.data.DataLoader(samples, batch_size=16))


def test_batches_of_any_size_and_kind():
    data = sign_task()
    uneven = [data[:16], data[16:21], jax.tree.map(jax.numpy.asarray, data[21:37])]
    assert run(uneven, steps=None, epochs=2).step == 6


def test_epochs_are_passes_of_the_length_that_was_said():
    assert run(Loader(parts()), steps=None, epochs=3).step == 12
    with pytest.raises(ValueError, match="epochs=2 need a train that says how many"):
        run(Again(parts()), steps=None, epochs=2)
    with pytest.raises(DataSourceError, match="length of 5, and a pass ended after 4") as short:
        run(Loader(parts(), 5), steps=None, epochs=2)
    assert short.value.result.step == 4
    with pytest.raises(DataSourceError, match="at step 4: .*length of 3, and gave more"):
        run(Loader(parts(), 3), steps=None, epochs=2)


def test_a_generator_that_ends():
    with pytest.raises(DataSourceError, match="step 5.*ended after 4 batches and cannot") as raised:
        run(part for part in parts())
    assert raised.value.result.step == 4
    assert same(raised.value.result.model, run(parts(), steps=4).model)


def test_a_source_that_fails_after_some_batches(tmp_path):
    def failing():
        yield from parts()[:3]
        raise OSError("the disk is gone")

    with pytest.raises(DataSourceError, match="at step 4: OSError: the disk is gone") as raised:
        run(failing())
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.result.step == 3
    assert same(raised.value.result.model, run(parts(), steps=3).model)


def test_a_batch_in_the_middle_that_does_not_fit():
    wrong = Batch(sign_task().x[:16], np.full(16, 7, np.int32))
    with pytest.raises(DataSourceError, match="step 3: ValueError: expected labels") as raised:
        run([*parts()[:2], wrong])
    assert raised.value.result.step == 2
    with pytest.raises(ValueError, match="expected labels"):
        run([wrong])


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (lambda: iter([]), {}, ValueError, "gave no batch"),
        (lambda: [], {}, ValueError, "gave no batch"),
        (lambda: 3, {}, TypeError, "iterable of them, got int"),
        (lambda: [np.zeros((4, 5, 1))], {}, TypeError, "rnn_zoo.data.Batch or an iterable"),
        (lambda: iter([(0, 1)]), {}, TypeError, "gives a tuple came"),
        (parts, {"batch_size": 16}, ValueError, "cut already"),
        (parts, {"lengths": (3,)}, ValueError, "cut already"),
        (parts, {"truncate": 2}, TypeError, "truncate needs a target for every step"),
    ],
)
def test_sources_that_do_not_fit(source, options, error, message):
    with pytest.raises(error, match=message):
        run(source(), **options)


def of_population(source, valid=None, **options):
    options = {"loss": cross_entropy, "optimizer": ADAM, "key": KEY, "steps": 6, **options}
    return fit_population(population(), source, valid, **options)


def test_the_members_of_a_population_share_the_batches_of_an_iterable():
    options = {"eval_every": 3}
    together = of_population(parts(), parts(), **options)
    assert [row["epoch"] for row in together.history] == [0.75, 1.5]
    key = jax.random.split(KEY, 2)[1]
    model = member(population(), 1)
    alone = train(model, parts(), parts(), batch_size=None, steps=6, key=key, **options)
    assert_close(member(together.model, 1), alone.model, 1e-6)
    for row, expected in zip(together.history, alone.history):
        assert row["valid_loss"][1] == pytest.approx(expected["valid_loss"], rel=1e-6)
    assert list(of_population(Again(parts())).history[0])[:2] == ["step", "seconds"]


def test_a_source_that_fails_under_a_population():
    with pytest.raises(DataSourceError, match="step 5: .*ended after 4 batches") as raised:
        of_population(part for part in parts())
    assert raised.value.result.step == 4
    assert same(raised.value.result.model, of_population(parts(), steps=4).model)
    with pytest.raises(TypeError, match="rnn_zoo.data.Batch or an iterable of them, got int"):
        of_population(3)
    with pytest.raises(ValueError, match="cut already"):
        of_population(parts(), batch_size=16)


def test_labels_of_files_are_looked_at_under_a_population(tmp_path):
    wrong = Batch(sign_task().x, mapped(tmp_path, "y.npy", np.full(64, 7)))
    with pytest.raises(ValueError, match="expected labels from 0 to 1"):
        of_population(wrong)


def test_a_loss_that_is_not_finite():
    x = np.array(sign_task().x)
    x[20] = np.nan
    with pytest.raises(NonFiniteLossError, match="step 2 .*read batch by batch, were not searched"):
        run(parts(Batch(x, sign_task().y)))


# What is not trained on


def test_batches_are_evaluated_as_one_batch_is():
    x = np.asarray(jax.random.normal(KEY, (20, 6, 1)))
    mask = np.arange(6) < np.arange(20)[:, None] % 6 + 1
    data = Batch(x, np.roll(x, 1, axis=1), mask)
    model = model_for(None, 1)
    expected = evaluate(model, data, loss=mse)["loss"]
    for cut in (parts(data, 7), (part for part in parts(data, 3)), Again(parts(data, 20))):
        assert evaluate(model, cut, loss=mse)["loss"] == pytest.approx(expected, rel=1e-6)
    assert evaluate(model, parts(data, 7), loss=mse) == evaluate(
        model, data, loss=mse, batch_size=7
    )


def test_validation_data_that_come_batch_by_batch():
    data = sign_task()
    options = {"steps": 8, "eval_every": 2, "return_best": True}
    expected = run(parts(), valid=data, **options)
    again = Again(parts(size=64))
    for valid in (parts(size=64), again):
        found = run(parts(), valid=valid, **options)
        assert [row["valid_loss"] for row in found.history] == [
            row["valid_loss"] for row in expected.history
        ]
        assert same(found.model, expected.model)
    assert again.passes == 4


@pytest.mark.parametrize(
    ("valid", "error", "message"),
    [
        (lambda: (part for part in parts()), ValueError, "at each evaluation.*cannot begin again"),
        (lambda: 3, TypeError, "expected valid as a rnn_zoo.data.Batch or an iterable.*got int"),
        (lambda: [1], TypeError, "expected valid as a rnn_zoo.data.Batch or an iterable"),
        (lambda: [], ValueError, "valid gave no batch"),
        (lambda: [Batch(sign_task().x, np.full(64, 7))], ValueError, "expected labels from 0 to 1"),
    ],
)
def test_validation_data_that_do_not_fit(valid, error, message):
    with pytest.raises(error, match=message):
        run(parts(), valid=valid())


def test_data_to_evaluate_that_do_not_fit():
    with pytest.raises(ValueError, match="cut already: leave it out"):
        evaluate(model_for(), parts(), loss=cross_entropy, batch_size=16)
    with pytest.raises(ValueError, match="nothing to evaluate: the data gave no batch"):
        evaluate(model_for(), iter([]), loss=cross_entropy)
    for wrong, name in ((3, "int"), ([1], "list")):
        with pytest.raises(TypeError, match=f"data as a rnn_zoo.data.Batch or an .*got {name}"):
            evaluate(model_for(), wrong, loss=cross_entropy)
    with pytest.raises(TypeError, match="expected data as.*gives a tuple came"):
        evaluate(model_for(), iter([(0, 1)]), loss=cross_entropy)


class FailsLater(Again):
    """The second pass ends in the middle."""

    def __iter__(self):
        self.passes += 1
        yield self.batches[0]
        if self.passes == 2:
            raise OSError("the disk is gone")
        yield from self.batches[1:]


def test_validation_data_that_fail_later():
    message = "valid failed after step 4, at its batch 2: OSError: the disk is gone"
    for start in (run, of_population):
        with pytest.raises(DataSourceError, match=message) as raised:
            start(parts(), valid=FailsLater(parts()), eval_every=2)
        result = raised.value.result
        assert (result.step, [row["step"] for row in result.history]) == (4, [2])
        assert same(result.model, start(parts(), steps=4).model)


# Where a source is


@pytest.mark.parametrize("kind", [dict, bytes, "list"])
def test_resuming_goes_on_where_the_source_was(tmp_path, kind):
    def source():
        if kind == "list":
            return parts()
        loader = TellingLoader(parts())
        loader.kind = kind
        return loader

    def crash(step, row):
        if step == 7:
            raise RuntimeError("the lights went out")

    whole = run(source(), steps=10)
    for stop in (2, 4):  # within a pass and at its end
        folder = tmp_path / str(stop)
        options = {"steps": 10, "eval_every": 7}
        with pytest.raises(RuntimeError, match="lights"):
            run(source(), callback=crash, checkpoints=Checkpoints(folder, stop), **options)
        resumed = run(source(), checkpoints=Checkpoints(folder, 20, resume=True), **options)
        assert same(resumed.model, whole.model)
        assert same(resumed.opt_state, whole.opt_state)


def test_a_source_that_fails_leaves_its_checkpoint_and_its_history(tmp_path):
    class Broken(TellingLoader):
        def __iter__(self):
            return Telling([*parts()[:3], None], dict)

    options = {"steps": 8, "eval_every": 2}
    message = r"at step 4: TypeError.*\(batch 4 of epoch 1; `error.result` has .* after step 3\)"
    with pytest.raises(DataSourceError, match=message) as raised:
        run(Broken(parts()), checkpoints=Checkpoints(tmp_path), **options)
    assert [row["step"] for row in raised.value.result.history] == [2]
    resume = Checkpoints(tmp_path, resume="must")
    resumed = run(TellingLoader(parts()), checkpoints=resume, **options)
    whole = run(TellingLoader(parts()), **options)
    assert same(resumed.model, whole.model)
    assert [row["step"] for row in resumed.history] == [2, 4, 6, 8]


def test_what_cannot_say_where_it_is_has_no_checkpoints(tmp_path):
    for source in (Loader(parts()), (part for part in parts())):
        with pytest.raises(ValueError, match=r"train that can say where it is.*get_state"):
            run(source, checkpoints=Checkpoints(tmp_path))
    assert not list(tmp_path.iterdir())
    loader = TellingLoader(parts())
    loader.kind = lambda state: tuple(state.items())
    with pytest.raises(TypeError, match="bytes or what JSON holds, got"):
        run(loader, checkpoints=Checkpoints(tmp_path))


def test_a_checkpoint_of_other_data(tmp_path):
    train(model_for(), sign_task(), steps=2, checkpoints=Checkpoints(tmp_path))
    with pytest.raises(ValueError, match="a run with batch_size=16, not that of the source"):
        run(parts(), checkpoints=Checkpoints(tmp_path, resume=True))


# Arrays that are not in memory


class Rows:
    """Rows of a file as HDF5 gives them: by slices, or by positions that ascend."""

    def __init__(self, array):
        self.array, self.read = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index):
        if not isinstance(index, slice):
            assert (np.diff(index) > 0).all()
        rows = self.array[index]
        self.read = max(self.read, len(rows))
        return rows

    def __array__(self, *_, **__):
        raise AssertionError("read whole")


def mapped(folder, name, array):
    path = folder / name
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def test_fields_that_are_only_indexed(tmp_path):
    data = sign_task()
    expected = train(model_for(), data, data, steps=6)
    rows = Batch(Rows(np.asarray(data.x)), Rows(data.y))
    files = Batch(mapped(tmp_path, "x.npy", data.x), mapped(tmp_path, "y.npy", data.y))
    for lazy in (rows, files):
        result = train(model_for(), lazy, lazy, steps=6)
        assert same(result.model, expected.model)
        assert result.history[-1]["valid_loss"] == expected.history[-1]["valid_loss"]
    assert max(rows.x.read, rows.y.read) == 64  # all 64 are one batch of the evaluation
    train(model_for(), Batch(fresh := Rows(np.asarray(data.x)), data.y), steps=6)
    assert fresh.read == 16
    assert isinstance(files.x, np.memmap)


def test_wide_numbers_of_files_are_looked_at_batch_by_batch(tmp_path):
    data = sign_task()
    labels = mapped(tmp_path, "y.npy", data.y.astype(np.int64))
    wide = Batch(mapped(tmp_path, "x.npy", np.asarray(data.x, np.float64)), labels)
    assert same(train(model_for(), wide, steps=4).model, train(model_for(), data, steps=4).model)
    wrong = Batch(data.x, mapped(tmp_path, "z.npy", np.full(64, 2**40)))
    with pytest.raises(ValueError, match="within the 32 bits of int32"):
        train(model_for(), wrong, steps=4)
    for y in (np.full(64, 7), np.full(64, -1)):
        lazy = Batch(data.x, mapped(tmp_path, "w.npy", y))
        with pytest.raises(ValueError, match="expected labels from 0 to 1"):
            train(model_for(), lazy, steps=4)
        with pytest.raises(ValueError, match="expected labels from 0 to 1"):
            evaluate(model_for(), lazy, loss=cross_entropy)


def test_padding_of_files_is_cut(tmp_path):
    x = np.ones((8, 6, 1), np.float32)
    mask = np.arange(6) < np.arange(1, 9)[:, None].clip(max=6)
    lazy = Batch(x, np.zeros(8, np.int32), mapped(tmp_path, "mask.npy", mask))
    shapes = {b.x.shape for b in batches(lazy, 2, lengths=(2, 6))}
    assert shapes == {(2, 2, 1), (2, 6, 1)}


def test_a_mapped_file_that_is_copied_on_write_keeps_what_was_written(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((8, 5, 1), np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x[:] = 1
    lazy = Batch(x, np.zeros(8, np.int32))
    for _ in range(2):
        assert all((b.x == 1).all() for b in batches(lazy, 2))


def resident():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    return int(re.search(r"RssFile:\s+(\d+)", status.read_text())[1]) * 1024


def test_the_pages_of_a_mapped_file_are_given_back(tmp_path):
    shape = (64, 2**16, 1)  # 16 MiB
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, shape)
    lazy = Batch(x, np.zeros(64, np.int32))
    before, most = resident(), 0
    for _ in batches(lazy, 4, key=KEY):
        most = max(most, resident() - before)
    assert most < 8 * 2**20
