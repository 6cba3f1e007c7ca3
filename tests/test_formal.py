"""Formal languages and recall against rules written anew, string by string."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo.data import NO_TARGET, Batch


KEY = jax.random.key(3)
SMALL = {"n_train": 40, "n_valid": 5, "n_test": 30}
LENGTHS = {"lengths": (1, 11), "test_lengths": (13, 20)}


def even_pairs(string):
    text = "".join("ab"[t] for t in string)
    return int(sum(text[i : i + 2] in ("ab", "ba") for i in range(len(text) - 1)) % 2 == 0)


def cycle(string):
    place = 0
    for move in string:
        place = (place + {0: 0, 1: 1, 2: -1}[move]) % 5
    return place


def arithmetic(string):
    # Python's own rules of precedence.
    return eval("".join("01234+-*"[t] for t in string)) % 5


def flip_flop(string):
    return [t for t in string if t < 2][-1]


def dyck(string):
    stack = []
    for token in string:
        if token < 2:
            stack.append(token)
        else:
            assert stack.pop() == token - 2  # well nested
        assert len(stack) <= 8
    return stack[-1] if stack else 2


def group_word(kind):
    elements = list(itertools.permutations(range(int(kind[1]))))
    if kind[0] == "A":
        elements = [e for e in elements if round(np.linalg.det(np.eye(len(e))[list(e)])) == 1]

    def rule(string):
        things = list(range(int(kind[1])))  # thing -> place
        for token in string:
            things = [elements[token][place] for place in things]
        return elements.index(tuple(things))

    return rule


RULES = {
    "even_pairs": (even_pairs, {}),
    "parity": (lambda string: sum(string) % 2, {}),
    "cycle_navigation": (cycle, {}),
    "modular_arithmetic": (arithmetic, {}),
    "flip_flop": (flip_flop, {}),
    "dyck": (dyck, {}),
    "S3": (group_word("S3"), {"group": "S3"}),
    "A5": (group_word("A5"), {"group": "A5"}),
    "Z7": (lambda string: sum(string) % 7, {"group": "Z7"}),
}
ANSWERS = {"reverse_string": lambda s: s[::-1], "duplicate_string": lambda s: s + s}


def load(name, **options):
    sets = rz.data.load(name, key=KEY, **{**SMALL, **options})
    return jax.tree.map(np.asarray, sets)


def language(case, **options):
    name = "permutation_group" if case[1:].isdigit() else case
    return load(name, **RULES[case][1], **LENGTHS, encoding="tokens", **options)


@pytest.mark.parametrize("case", RULES)
def test_last_labels_follow_the_rule(case):
    sets, (rule, _) = language(case, targets="last"), RULES[case]
    for part, (low, high) in ((sets.train, (1, 11)), (sets.test, (13, 20))):
        lengths = part.mask.sum(1)
        assert low <= lengths.min() < lengths.max() <= high
        for tokens, n, label in zip(part.x, lengths, part.y):
            assert label == rule(tokens[:n].tolist())
    assert len(np.unique(sets.train.y)) > 1


@pytest.mark.parametrize("case", RULES)
def test_labels_of_steps_follow_the_rule(case):
    sets, (rule, _) = language(case, targets="steps"), RULES[case]
    part = sets.train
    for tokens, mask, labels in zip(part.x, part.mask, part.y):
        for t, label in enumerate(labels):
            asked = mask[t]
            if case == "modular_arithmetic":
                asked = asked and t % 2 == 0
            if case == "flip_flop":
                asked = asked and tokens[t] == 2
            assert label == (rule(tokens[: t + 1].tolist()) if asked else NO_TARGET)


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_asked_for_behind_the_string(name):
    sets = load(name, **LENGTHS, n_symbols=3, encoding="tokens")
    for tokens, labels, mask in zip(sets.test.x, sets.test.y, sets.test.mask):
        n = int((labels == NO_TARGET)[mask].sum())
        string = tokens[:n].tolist()
        said = ANSWERS[name](string)
        assert 13 <= n <= 20
        assert labels[n : n + len(said)].tolist() == said
        assert set(tokens[n : n + len(said)].tolist()) == {3}
        assert mask.sum() == n + len(said)
        assert (labels[n + len(said) :] == NO_TARGET).all()


def test_recall_of_pairs():
    part = load("mqar", length=32, n_pairs=5, vocabulary=40).train
    asked = []
    for tokens, labels in zip(part.x, part.y):
        pairs = dict(zip(tokens[0:10:2].tolist(), tokens[1:10:2].tolist()))
        assert len(pairs) == len(set(pairs.values())) == 5
        assert all(1 <= k < 20 <= v < 40 for k, v in pairs.items())
        rest = tokens[10:].tolist()
        assert sorted(t for t in rest if t) == sorted(pairs)
        assert labels[:10].tolist() == [NO_TARGET] * 10
        assert labels[10:].tolist() == [pairs[t] if t else NO_TARGET for t in rest]
        asked += [t for t, token in enumerate(rest) if token]
    assert all(t % 2 == 0 for t in asked)


def test_distances_of_recall_follow_the_power_law():
    # With one pair a question's place is one draw: 24 places, weights 1 / (place + 1).
    part = load("mqar", length=50, n_pairs=1, vocabulary=4, power=0.0, n_train=20_000).train
    places = (np.argmax(part.y != NO_TARGET, axis=1) - 2) // 2
    weights = 1 / np.arange(1, 25)
    share = np.bincount(places, minlength=24) / len(places)
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.015)


def test_selective_copy():
    part = load("selective_copy", length=20, n_items=4, n_symbols=3, encoding="tokens").train
    for tokens, labels in zip(part.x, part.y):
        items = [t - 1 for t in tokens[:20].tolist() if t]
        assert len(items) == 4
        assert labels.tolist() == [NO_TARGET] * 20 + items
        assert tokens[20:].tolist() == [4] * 4
    first = (part.x[:, :20] > 0).argmax(1)
    assert len(np.unique(first)) > 3


def test_bits_hold_the_last_pulse():
    part = load("n_bit_flip_flop", n_bits=2, length=30, pulse=0.2).train
    for x, y in zip(part.x, part.y):
        held = x[0].copy()
        assert set(held.tolist()) <= {1.0, -1.0}
        for pulses, target in zip(x, y):
            held = np.where(pulses == 0, held, pulses)
            assert target.tolist() == held.tolist()
    assert abs((part.x[:, 1:] != 0).mean() - 0.2) < 0.03


def test_cards():
    for name in ("parity", "dyck", "reverse_string", "mqar", "selective_copy"):
        sets = load(name, encoding="tokens")
        labels = sets.test.y[sets.test.y != NO_TARGET]
        assert labels.max() < sets.info.output_size
        assert sets.test.x.max() < sets.info.input_size
        chance = {b.name: b.value for b in sets.info.baselines}
        if "the most frequent label" in chance:
            share = np.bincount(labels).max() / labels.size
            assert chance["the most frequent label"] == pytest.approx(share)
        one_hot = load(name, encoding="one_hot")
        assert (one_hot.test.x.argmax(-1) == sets.test.x).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("parity", {"lengths": (0, 4)}, r"expected lengths as \(shortest, longest\), at least 1"),
        ("parity", {"test_lengths": (5, 4)}, "expected test_lengths as"),
        ("parity", {"targets": "each"}, "expected targets 'last' or 'steps', got 'each'"),
        ("parity", {"encoding": "hot"}, "expected encoding 'one_hot' or 'tokens', got 'hot'"),
        ("modular_arithmetic", {"lengths": (2, 2)}, "expected lengths as"),
        ("modular_arithmetic", {"modulus": 1}, "expected modulus of at least 2"),
        ("cycle_navigation", {"size": 1}, "expected size of at least 2"),
        ("flip_flop", {"ignored": 1.0}, r"expected ignored in \[0, 1\)"),
        ("dyck", {"kinds": 0}, "expected kinds and max_depth of at least 1"),
        ("permutation_group", {"group": "D4"}, "expected a group such as 'S3'"),
        ("permutation_group", {"group": "S6"}, "at most 5 things"),
        ("reverse_string", {"n_symbols": 1}, "expected n_symbols of at least 2"),
        ("mqar", {"n_pairs": 17}, "expected even length and vocabulary"),
        ("selective_copy", {"n_items": 300}, "expected 1 <= n_items <= length"),
        ("n_bit_flip_flop", {"pulse": 0.0}, "expected 0 < pulse <= 1"),
    ],
)
def test_options_that_make_no_task(name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, **options)


def logits(labels, classes):
    """Of a model that is sure of these labels."""
    return 20.0 * jax.nn.one_hot(labels, classes)


def test_steps_without_a_target_do_not_count():
    y = jnp.array([[-1, 2, -1, 0], [1, -1, -1, -1]])
    mask = jnp.array([[True, True, True, False], [True, True, True, True]])
    batch = Batch(jnp.zeros((2, 4, 1)), y, mask)
    said = jnp.array([[0, 2, 2, 1], [0, 0, 0, 0]])  # right, wrong
    loss, metrics = rz.train.cross_entropy.function(logits(said, 3), batch)
    log_sum = np.log(2 + np.exp(20.0))
    assert float(metrics["accuracy"]) == 0.5
    assert float(loss) == pytest.approx(((log_sum - 20) + log_sum) / 2, rel=1e-5)
    gradient = jax.jit(jax.grad(lambda p: rz.train.cross_entropy.function(p, batch)[0]))(
        logits(said, 3)
    )
    assert (np.abs(gradient).sum(-1) > 0).tolist() == [[False, True, False, False]] + [
        [True, False, False, False]
    ]


def test_batches_are_weighted_by_their_targets():
    sets = load("mqar", length=16, n_pairs=2, vocabulary=8)
    model = rz.make_model("gru", 8, 8, hidden_size=4, pool=None, key=KEY)
    x = jax.nn.one_hot(sets.test.x, 8)
    y = np.where(np.arange(30)[:, None] % 3 == 0, sets.test.y, NO_TARGET)
    y[0] = sets.test.y[0]
    data = Batch(x, y)
    one = rz.train.evaluate(model, data, loss=rz.train.cross_entropy, batch_size=30)
    many = rz.train.evaluate(model, data, loss=rz.train.cross_entropy, batch_size=7)
    assert one["loss"] == pytest.approx(many["loss"], rel=1e-5)
    assert one["accuracy"] == pytest.approx(many["accuracy"])


def test_tokens_need_an_embedding():
    data = rz.data.load("mqar", key=KEY, n_train=4, n_valid=0, n_test=4).test
    model = rz.make_model("gru", 64, 64, hidden_size=4, pool=None, key=KEY)
    with pytest.raises(ValueError, match=r"embedding_size=.*encoding=.one_hot"):
        rz.train.evaluate(model, data, loss=rz.train.cross_entropy)
    model = rz.make_model("gru", 64, 64, hidden_size=4, pool=None, embedding_size=3, key=KEY)
    assert rz.train.evaluate(model, data, loss=rz.train.cross_entropy)["loss"] > 0


def test_other_negative_labels_are_refused():
    data = Batch(jnp.zeros((1, 2, 1)), jnp.array([[0, -100]]))
    model = rz.make_model("gru", 1, 2, hidden_size=4, pool=None, key=KEY)
    with pytest.raises(ValueError, match="got -100: steps without a label have -1"):
        rz.train.evaluate(model, data, loss=rz.train.cross_entropy)


def test_only_the_last_answer_is_asked():
    strings = rz.data.load("parity", key=KEY, n_train=30, n_valid=0, n_test=1).train
    asked = rz.data.ask_last(strings)
    assert asked.y.shape == strings.x.shape[:2]
    for y, label, mask in zip(*map(np.asarray, (asked.y, strings.y, strings.mask))):
        (place,) = np.flatnonzero(y != rz.data.NO_TARGET)
        assert (place, y[place]) == (mask.sum() - 1, label)
    with pytest.raises(ValueError, match="one label each"):
        rz.data.ask_last(asked)
    with pytest.raises(ValueError, match="one label each"):
        rz.data.ask_last(rz.data.Batch(strings.x, strings.y))
