"""Cells with a matrix state equal their references, with several heads and K other than V."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from cases import arrays, draw, float64, noisy, step
from references_matrix import MATRIX_REFERENCES

import rnn_zoo as rz


INPUTS, HIDDEN = 5, 12
HEADS = {"num_heads": 4, "key_size": 2}
NEGATIVE = {"negative_eigenvalues": True}, {"negative": True}


@dataclasses.dataclass(frozen=True)
class Way:
    """A cell with options for `make_cell`, and the same for its reference."""

    name: str
    options: dict = dataclasses.field(default_factory=dict)
    reference: dict = dataclasses.field(default_factory=dict)
    heads: dict = dataclasses.field(default_factory=lambda: HEADS)

    @property
    def id(self):
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])


WAYS = [
    Way("linear_attention"),
    Way("linear_attention", {"eps": 0.1}, {"eps": 0.1}),
    Way("linear_attention", {"normalised": False}, {"normalised": False}),
    Way("linear_attention", {"use_bias": False}),
    Way("retnet", {"key_size": 6}),
    Way("retnet"),  # one pair of k
    Way("gla", {"rank": 3}),
    Way("gla", {"gate_logit_normalizer": 4.0}, {"normalizer": 4.0}),
    Way("hgrn2"),
    Way("hgrn2", {"lower_bound": 0.4}, {"lower_bound": 0.4}),
    Way("mamba2"),
    Way("mamba2", {"num_groups": 2}, {"groups": 2}),
    Way("mamba2", {"discretisation": "zoh"}, {"zoh": True}),
    Way("mamba2", *NEGATIVE),
    *(Way(name) for name in ("deltanet", "gated_deltanet", "kda")),
    *(Way(name, *NEGATIVE) for name in ("deltanet", "gated_deltanet", "kda")),
    Way("kda", {"rank": 2}),
    Way("delta_product"),
    Way("delta_product", {"num_products": 3}, {"products": 3}),
    Way("delta_product", {"gated": False}),
    Way("delta_product", {"negative_eigenvalues": False}, {"negative": False}),
    Way("rwkv7"),
    Way("rwkv7", {"rank": 3}),
    Way("mlstm"),
    Way("slstm", heads={"num_heads": 4}),
    Way("m2rnn"),
    Way("pd_ssm", {"state_size": 7}, heads={}),
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.id)
MAPPED = [way for way in WAYS if way.heads is HEADS and way.options.get("use_bias", True)]


def build(way, dtype, inputs=INPUTS, **options):
    options = way.heads | way.options | options
    cell = rz.make_cell(way.name, inputs, HIDDEN, dtype=dtype, key=jr.key(0), **options)
    return noisy(cell, 1)


def random_state(cell, name):
    """Numbers all over a state like the first one; what a cell divides by is positive."""
    rng = np.random.default_rng(2)
    leaves, tree = jax.tree.flatten(cell.init_state())
    state = [rng.normal(size=leaf.shape) for leaf in leaves]
    if name == "linear_attention":
        state[0] = abs(state[0])
    if name == "slstm":
        state[2] = abs(state[2])
    state = [
        value + 1j * rng.normal(size=value.shape) if jnp.iscomplexobj(leaf) else value
        for value, leaf in zip(state, leaves)
    ]
    return jax.tree.unflatten(tree, [jnp.asarray(v, leaf.dtype) for v, leaf in zip(state, leaves)])


def compare(way, cell, states):
    """Some steps from each of the states, on the clock where the cell has one."""
    xs = np.asarray(draw(3, (5, cell.input_size)))
    times = [1.0, 0.25, 1.7, 0.0, 1.0] if cell.timed else [1.0] * 5
    for state in states:
        expected = jax.tree.map(np.asarray, state)
        for x, dt in zip(xs, times):
            time = (np.asarray(dt),) if cell.timed else ()
            state, y = step(cell, state, x, *time)
            expected, expected_y = MATRIX_REFERENCES[way.name](
                arrays(cell), expected, x, dt, **way.reference
            )
            np.testing.assert_allclose(y, expected_y, rtol=1e-11, atol=1e-11)
            for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@ways
def test_step_equals_the_paper_with_heads(way):
    with float64() as dtype:
        cell = build(way, dtype)
        compare(way, cell, [cell.init_state(), random_state(cell, way.name)])


@pytest.mark.parametrize("way", MAPPED, ids=lambda way: way.id)
def test_step_equals_the_paper_without_an_input_map(way):
    with float64() as dtype:
        rows = len(build(way, dtype).weight_ih)
        cell = build(way, dtype, inputs=rows, input_map=False)
        assert cell.weight_ih is None
        assert cell.input_size == rows
        compare(way, cell, [random_state(cell, way.name)])


def test_every_way_has_a_reference():
    assert {way.name for way in WAYS} == set(MATRIX_REFERENCES)
