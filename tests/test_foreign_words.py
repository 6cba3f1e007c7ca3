"""Words that users of other libraries type: the message says what the word is here."""

import jax
import jax.numpy as jnp
import pytest

import rnn_zoo as rz
from rnn_zoo._common.foreign_words import ELSEWHERE, NAMES, RENAMED


KEY = jax.random.key(0)


def gru(**options):
    return rz.cells.GRUCell(3, 4, key=KEY, **options)


def layer():
    return rz.Recurrent(gru())


WORDS = {
    "return_sequences": (lambda: rz.GRU(3, 4, return_sequences=True, key=KEY), r"layer\(xs\)\[-1\]"),
    "batch_first": (lambda: rz.LSTM(3, 4, batch_first=True, key=KEY), r"rz\.batch\(layer\)"),
    "batch_first of a layer": (lambda: rz.Recurrent(gru(), batch_first=True), r"rz\.batch\(layer\)"),
    "units": (lambda: rz.make_cell("gru", 3, 4, units=4, key=KEY), "it is 'hidden_size' here"),
    "units of a class": (lambda: rz.cells.GRUCell(3, units=4, key=KEY), "it is 'hidden_size' here"),
    "units of a model": (lambda: rz.make_model("gru", 3, 1, units=4, key=KEY), "it is 'hidden_size'"),
    "bidirectional": (lambda: gru(bidirectional=True), r"rz\.Bidirectional"),
    "num_layers": (lambda: rz.make_cell("gru", 3, 4, num_layers=2, key=KEY), r"rz\.Stacked"),
    "dropout": (lambda: gru(dropout=0.5), r"rz\.VariationalDropout"),
    "sr": (lambda: rz.make_cell("esn", 3, 9, sr=0.9, key=KEY), "it is 'spectral_radius' here"),
    "sr of a class": (lambda: rz.cells.EchoStateCell(3, 9, sr=0.9, key=KEY), "'spectral_radius' here"),
    "lr": (lambda: rz.cells.EchoStateCell(3, 9, lr=0.3, key=KEY), "is leak here"),
    "units of a network": (lambda: rz.EchoStateNetwork(layer(), 1, units=9), "elsewhere .* 'hidden_size'"),
    "timespans": (lambda: layer()(jnp.ones((5, 3)), timespans=jnp.ones(5)), r"layer\(xs\) .*it is 'dt' here"),
    "hx of a batch": (lambda: rz.batch(layer())(jnp.ones((2, 5, 3)), hx=None), "it is 'state' here"),
    "a slip": (lambda: rz.Bidirectional(gru(), gru(), merg="sum"), "did you mean 'merge'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_a_word_from_elsewhere_is_explained(name):
    call, message = WORDS[name]
    with pytest.raises(TypeError, match=f"has no option '\\w+': .*{message}|{message}"):
        call()


def test_names_from_elsewhere_are_explained():
    with pytest.raises(AttributeError, match=r"'AutoNCP': it is rz\.wiring\.AutoNCPMap\("):
        rz.wiring.AutoNCP  # noqa: B018
    with pytest.raises(AttributeError, match=r"'ESN': it is rz\.EchoStateNetwork"):
        rz.ESN  # noqa: B018
    assert not hasattr(rz, "nothing_like_it")


def test_no_word_stands_for_itself():
    """A word of the table is none of the library's own in its place, nor explained twice."""
    assert not RENAMED.keys() & ELSEWHERE.keys()
    assert not RENAMED.keys() & set(RENAMED.values())
    assert not NAMES.keys() & set(dir(rz))


def test_a_constructor_says_its_own_arguments():
    """The check for words does not hide the signature, and works for cells of one's own."""

    class Own(rz.AbstractCell):
        input_size: int
        output_size: int
        gain: float

        def __init__(self, size, *, gain=1.0):
            self.input_size = self.output_size = size
            self.gain = gain

        def init_state(self):
            return jnp.zeros(self.output_size)

        def step(self, state, x):
            return state + self.gain * x, state

    assert Own(3, gain=2.0).gain == 2.0
    with pytest.raises(TypeError, match="Own has no option 'leaky_rate': .*Known are|known are"):
        Own(3, leaky_rate=0.1)
