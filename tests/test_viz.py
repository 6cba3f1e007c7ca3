"""Pictures show the numbers they are given, with labels; what they count is counted anew here."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot
import numpy as np
import pytest

import rnn_zoo as rz
from rnn_zoo import dynamics, metrics, viz


matplotlib.use("agg")
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def close():
    yield
    matplotlib.pyplot.close("all")


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# What is computed


@pytest.mark.parametrize("name", ["lru", "s5", "s4d", "linoss", "linear_indrnn"])
def test_kernel_is_what_the_cell_convolves_with(name):
    cell = rz.make_cell(name, 2, 3, key=KEY)
    kernel = np.asarray(dynamics.impulse_response(cell, 9), np.float64)
    assert kernel.shape == (9, cell.output_size, 2)
    xs = np.asarray(jax.random.normal(jax.random.key(1), (9, 2)), np.float64)
    answers = rz.Recurrent(cell)(xs) - rz.Recurrent(cell)(0 * xs)
    for t in range(9):
        expected = sum(kernel[k] @ xs[t - k] for k in range(t + 1))
        np.testing.assert_allclose(answers[t], expected, atol=1e-5)


def test_kernels_need_a_linear_cell():
    with pytest.raises(TypeError, match="expected a linear cell, got LSTMCell"):
        dynamics.impulse_response(rz.cells.LSTMCell(2, 3, key=KEY), 5)
    with pytest.raises(ValueError, match="lags"):
        dynamics.impulse_response(rz.cells.LRUCell(2, 3, key=KEY), 0)


def test_time_constants_are_those_of_decay():
    taus = dynamics.time_constants([0.5, 0.9j, -0.9, 1.0, 1.1, 0.0], dt=0.1)
    for modulus, tau in ((0.5, taus[0]), (0.9, taus[1]), (0.9, taus[2])):
        assert modulus ** (tau / 0.1) == pytest.approx(1 / np.e)
    assert taus[3:].tolist() == [np.inf, np.inf, 0.0]
    with pytest.raises(ValueError, match="expected dt above 0"):
        dynamics.time_constants([0.5], dt=0.0)


def test_accuracy_counts_bins_without_their_upper_edge():
    lengths = np.array([1, 4, 5, 9, 10, 30])
    right = [True, False, True, True, True, False]
    shares, counts = metrics.accuracy_by_length(right, lengths, [1, 5, 10, 20, 30])
    np.testing.assert_array_equal(shares, [0.5, 1.0, 1.0, np.nan])
    assert counts.tolist() == [2, 2, 1, 0]
    for bad in ([1], [5, 5], [[1, 2]]):
        with pytest.raises(ValueError, match="edges that ascend"):
            metrics.accuracy_by_length(right, lengths, bad)
    with pytest.raises(ValueError, match=r"shape \(samples,\)"):
        metrics.accuracy_by_length([right], lengths, [1, 2])


# What is drawn


def test_components_hold_the_variance():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(50, 4)) @ np.diag([5.0, 2.0, 0.5, 0.1])
    ax = viz.states_pca(states)
    plane = np.stack(ax.lines[0].get_data(), axis=1)
    values, vectors = np.linalg.eigh(np.cov(states.T))
    expected = (states - states.mean(0)) @ vectors[:, [-1, -2]]
    signs = np.sign((plane * expected).sum(0))
    np.testing.assert_allclose(plane, expected * signs, atol=1e-9)
    shares = values[::-1][:2] / values.sum()
    assert ax.get_xlabel() == f"component 1 ({shares[0]:.0%} of the variance)"
    assert ax.get_ylabel() == f"component 2 ({shares[1]:.0%} of the variance)"
    np.testing.assert_array_equal(ax.collections[0].get_array(), np.arange(50))


def test_components_of_several_sequences():
    states = np.random.default_rng(1).normal(size=(5, 7, 3))
    ax = viz.states_pca(states + 1j * states, labels=[0, 1, 1, 0, 2])
    starts = next(line for line in ax.lines if line.get_gid() == "first")
    curves = [line for line in ax.lines if line is not starts]
    assert len(curves) == 5
    assert len({line.get_color() for line in curves}) == 3
    assert texts(ax) == ["label 0", "label 1", "label 2"]
    firsts = {tuple(np.round([x[0], y[0]], 6)) for x, y in (c.get_data() for c in curves)}
    assert firsts == {tuple(p) for p in np.round(np.stack(starts.get_data(), 1), 6)}
    assert viz.states_pca(states, ax) is ax
    for bad, message in (
        (states[..., :1], "at least two units"),
        (states[0, 0], "expected states of shape"),
        (np.ones((4, 3)), "states that vary"),
    ):
        with pytest.raises(ValueError, match=message):
            viz.states_pca(bad)
    with pytest.raises(ValueError, match=r"labels of shape \(5,\)"):
        viz.states_pca(states, labels=[1, 2])


def test_points_lie_in_the_plane_of_the_states():
    states = np.random.default_rng(1).normal(size=(50, 3)) * [3, 2, 0.1]
    ax = viz.states_pca(states, points=states[[4, 9]])
    cross = next(line for line in ax.lines if line.get_gid() == "points")
    plane = np.stack(ax.lines[0].get_data(), axis=1)
    np.testing.assert_allclose(np.stack(cross.get_data(), axis=1), plane[[4, 9]], atol=1e-9)
    alone = viz.states_pca(states)
    np.testing.assert_array_equal(np.stack(alone.lines[0].get_data(), axis=1), plane)
    with pytest.raises(ValueError, match=r"points of shape \(points, 3\), .* got \(3,\)"):
        viz.states_pca(states, points=states[0])


def test_kernels_are_drawn_one_by_one():
    response = np.random.default_rng(0).normal(size=(6, 2, 3))
    ax = viz.kernels(response, step=0.5, unit="s")
    drawn = ax.lines[1:-1]
    assert len(drawn) == 6
    for line, curve in zip(drawn, response.reshape(6, 6).T):
        np.testing.assert_allclose(line.get_data(), (0.5 * np.arange(6), curve))
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), np.sqrt((response**2).mean(axis=(1, 2))))
    assert ax.get_xlabel() == "lag in s"
    assert texts(ax) == ["root mean square of 6"]
    assert len(viz.kernels(response[:, 0, :1], ax).lines) == 8 + 2
    later = viz.kernels(response, start=2).lines[1]
    np.testing.assert_allclose(later.get_data(), (np.arange(2, 6), response[2:, 0, 0]))
    with pytest.raises(ValueError, match="expected start from 0 to 5, got 6"):
        viz.kernels(response, start=6)
    with pytest.raises(ValueError, match="expected a response of shape"):
        viz.kernels(response[0, 0])


def test_time_constants_are_sorted():
    ax = viz.time_constants([3.0, np.inf, 0.0, 7.0], unit="s", label="lru")
    np.testing.assert_array_equal(ax.lines[0].get_data(), ([2, 3], [7.0, 3.0]))
    assert texts(ax) == ["lru: 1 infinite, 1 zero"]
    assert ax.get_ylabel() == "time constant in s"
    assert viz.time_constants([1.0], ax) is ax
    for bad in ([], [-1.0], [np.nan]):
        with pytest.raises(ValueError, match="expected time constants of at least 0"):
            viz.time_constants(bad)


def test_predictions_lie_over_targets():
    target, said = np.arange(5.0), np.arange(5.0)[:, None] + 0.5
    ax = viz.prediction(said, target, step=0.1, unit="s", start=0.2, spread=np.full(5, 2.0))
    by_name = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(by_name["target"].get_data(), (0.1 * np.arange(5), target))
    np.testing.assert_allclose(by_name["prediction"].get_ydata(), said[:, 0])
    assert by_name["on its own"].get_xdata()[0] == 0.2
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (-1.5, 6.5)
    assert ax.get_xlabel() == "time in s"
    with pytest.raises(ValueError, match="of one shape"):
        viz.prediction(said[1:], target)
    with pytest.raises(ValueError, match="draw one feature"):
        viz.prediction(np.ones((5, 2)), target)
    with pytest.raises(ValueError, match="expected spread of shape"):
        viz.prediction(said, target, spread=np.ones(4))


def test_confusions_are_counted():
    labels, predicted = jnp.array([0, 0, 0, 1, 2, 2]), jnp.array([0, 0, 1, 1, 0, 2])
    ax = viz.confusion_matrix(predicted, labels, names=["a", "b", "long name"])
    shares = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [0, 1, 0], [0.5, 0, 0.5]])
    cells = {text.get_position()[::-1]: text.get_text() for text in ax.texts}
    assert cells == {(0, 0): "2", (0, 1): "1", (1, 1): "1", (2, 0): "1", (2, 2): "1"}
    assert ax.get_title() == "accuracy 0.667"
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "long name"]
    for bad, message in (
        ((predicted[:3], labels), r"shape \(samples,\)"),
        ((predicted - 1, labels), "classes from 0 on"),
    ):
        with pytest.raises(ValueError, match=message):
            viz.confusion_matrix(*bad)
    with pytest.raises(ValueError, match="expected 3 names, got 2"):
        viz.confusion_matrix(predicted, labels, names=["a", "b"])


def test_accuracy_over_length():
    lengths, right = np.arange(1, 41), np.arange(1, 41) <= 20
    ax = viz.accuracy_by_length(
        right, lengths, [1, 11, 21, 31, 41], label="gru", trained=20.0, chance=0.5
    )
    np.testing.assert_allclose(ax.lines[0].get_data(), ([6, 16, 26, 36], [1, 1, 0, 0]))
    assert texts(ax) == ["gru", "chance", "not trained on"]
    before = len(ax.lines)
    again = viz.accuracy_by_length(right, lengths, [1, 41], ax, label="lru", chance=0.5)
    assert again is ax
    assert len(ax.lines) == before + 1, "one line of chance"


def test_points_and_flows_are_drawn_where_they_are():
    pytest.importorskip("optimistix")
    cell = rz.adopt(lambda h, x: jnp.tanh(2 * h) + x, input_size=1, init_state=jnp.zeros(2))
    starts = jax.random.uniform(jax.random.key(0), (150, 2), minval=-1.3, maxval=1.3)
    points = rz.dynamics.fixed_points(cell, jnp.zeros(1), starts)
    ax = viz.fixed_points(points)
    drawn = {line.get_label(): line.get_xydata() for line in ax.lines}
    counts = {name: len(places) for name, places in drawn.items() if "stable" in name}
    assert counts == {"stable": 4, "1 unstable": 4, "2 unstable": 1}
    assert len(viz.fixed_points(points, np.asarray(starts)).lines) > len(ax.lines)
    ax = viz.phase_portrait(cell, jnp.zeros(1), points)
    stable, other = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(np.abs(stable), 0.9575, atol=1e-3)
    assert len(other) == 5
    with pytest.raises(ValueError, match="directions"):
        viz.phase_portrait(cell, jnp.zeros(1), directions=np.eye(3))
    with pytest.raises(ValueError, match="expected states"):
        viz.fixed_points(points, np.zeros((4, 3)))


def test_a_bifurcation_shows_each_output_above_its_parameter():
    outputs = np.arange(6.0).reshape(2, 3, 1)
    (line,) = viz.bifurcation([1.0, 2.0], outputs).lines
    np.testing.assert_array_equal(line.get_xydata()[:, 0], [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(line.get_xydata()[:, 1], np.arange(6))
    with pytest.raises(ValueError, match="expected values"):
        viz.bifurcation([1.0], outputs)
