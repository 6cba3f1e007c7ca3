"""What people come for, as they write it who have read the documentation alone.

Each `do_...` is the code of a user, at most fifteen lines; the tests look at what comes out.
"""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import rnn_zoo as rz


KEY = jr.key(0)
ADAM = optax.adam(1e-2)


# --- a torch LSTM with packed batches -------------------------------------------------------------


def do_port_from_torch(module, xs, lengths):
    layer = rz.interop.from_torch(module)
    mask = rz.lengths_to_mask(lengths, xs.shape[1])
    return rz.batch(layer)(xs, mask=mask)


def test_a_torch_lstm_with_packed_batches():
    torch = pytest.importorskip("torch", exc_type=ImportError)
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    module = torch.nn.LSTM(3, 8, num_layers=2, bidirectional=True, batch_first=True)
    xs, lengths = torch.randn(3, 12, 3), torch.tensor([5, 12, 1])
    packed = pack(xs, lengths, batch_first=True, enforce_sorted=False)
    theirs, _ = unpack(module(packed)[0], batch_first=True)
    ours = do_port_from_torch(module, xs.numpy(), lengths.numpy())
    np.testing.assert_allclose(ours, theirs.detach(), atol=1e-5)


# --- a table with gaps, to a CfC ------------------------------------------------------------------


def do_learn_from_a_table(path):
    table = rz.data.read_csv(path)
    columns = {"label": "ill", "sequence": "patient", "time": "hour", "unit": 2.0}
    data = rz.data.from_table(table, ["pulse", "oxygen"], **columns)
    train, test = rz.data.standardise(data[:14], data[14:])
    cell = rz.Imputed(rz.cells.CfCCell(6, 8, key=KEY))
    model = rz.SequenceModel(rz.Recurrent(cell), 2, key=KEY)
    options = {"loss": rz.train.cross_entropy, "optimizer": ADAM, "steps": 40, "batch_size": 14}
    model = rz.train.fit(model, train, **options, key=KEY).model
    return rz.train.evaluate(model, test, loss=rz.train.cross_entropy)["accuracy"]


def test_a_table_with_gaps_to_a_cfc(tmp_path):
    draw = np.random.default_rng(0)
    rows = ["patient,hour,pulse,oxygen,ill"]
    for patient in range(20):
        for hour in np.sort(draw.uniform(0, 24, size=draw.integers(4, 8))):
            oxygen = "" if draw.random() < 0.3 else f"{95 + draw.normal():.1f}"
            pulse = 70 + 20 * (patient % 2) + draw.normal()
            rows.append(f"{patient},{hour:.2f},{pulse:.1f},{oxygen},{patient % 2}")
    (tmp_path / "ward.csv").write_text("\n".join(rows))
    assert do_learn_from_a_table(tmp_path / "ward.csv") == 1


# --- a reservoir: search, then closed loop --------------------------------------------------------


def do_forecast_with_a_reservoir(path, steps):
    series = rz.data.read_csv(path)["flow"]
    past, valid = (rz.data.windows(part, None) for part in (series[:600], series[600:]))

    def fitted(spectral_radius, leak, ridge):
        options = {"spectral_radius": spectral_radius, "leak": leak, "bias_scaling": 0.5}
        cell = rz.cells.EchoStateCell(1, 100, **options, key=KEY)
        return rz.EchoStateNetwork(cell, 1).fit_readout(past.x, past.y, ridge=ridge, washout=50)

    def score(**settings):
        return rz.metrics.nrmse(fitted(**settings)(valid.x[0]), valid.y[0])

    found = rz.train.grid(score, spectral_radius=[0.5, 0.9], leak=[0.5, 1.0], ridge=[1e-4, 1e-2])
    return rz.Autoregressive(fitted(**found.best()))(series[:, None], steps)


def test_a_reservoir_on_a_table_and_in_closed_loop(tmp_path):
    time = np.arange(850)
    flow = np.sin(time / 5) + 0.5 * np.sin(time / 11)
    (tmp_path / "river.csv").write_text("flow\n" + "\n".join(map(str, flow[:800])))
    forecast = do_forecast_with_a_reservoir(tmp_path / "river.csv", 30)
    assert rz.metrics.nrmse(forecast, flow[800:830, None]) < 0.3


# --- data on disk, two devices --------------------------------------------------------------------


def do_train_s5_over_devices(folder):
    x, y = (np.load(folder / name, mmap_mode="r") for name in ("x.npy", "y.npy"))
    data = rz.data.Batch(x, y)
    model = rz.make_model("s5", 3, 2, hidden_size=8, num_layers=2, key=KEY)
    options = {"loss": rz.train.cross_entropy, "optimizer": ADAM, "steps": 30, "key": KEY}
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    model = rz.train.fit(model, data, **options, mesh=mesh).model
    return rz.train.evaluate(model, data, loss=rz.train.cross_entropy, mesh=mesh)["accuracy"]


def test_s5_on_data_from_disk_over_devices(tmp_path):
    x = np.asarray(jr.normal(KEY, (128, 10, 3)))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", (x[:, -1, 0] > 0).astype(np.int32))
    assert jax.device_count() > 1
    assert do_train_s5_over_devices(tmp_path) > 0.9


# --- excitation and inhibition: a decision, and where it rests ------------------------------------


def do_decide(trials):
    model = rz.make_model("ei_rnn", 2, 2, hidden_size=12, leak=0.2, key=KEY)
    adamw = optax.adamw(1e-2, weight_decay=2.0)  # rates that nothing bounds want small weights
    options = {"loss": rz.train.cross_entropy, "optimizer": adamw, "steps": 100, "key": KEY}
    model = rz.train.fit(model, trials, **options).model
    cell = model.layer.layers[0].cell
    return model, rz.dynamics.fixed_points(cell, jnp.zeros(2), jr.normal(KEY, (8, 12)))


def test_a_decision_and_its_fixed_point():
    side = jr.choice(KEY, jnp.array([-0.5, 0.5]), (96, 1, 1))
    evidence = side + 0.3 * jr.normal(KEY, (96, 15, 1))
    both = jax.nn.relu(jnp.concatenate([evidence, -evidence], axis=-1))
    trials = rz.data.Batch(both, (side[:, 0, 0] > 0).astype(int))
    model, points = do_decide(trials)
    scores = rz.train.evaluate(model, trials, loss=rz.train.cross_entropy)
    assert scores["accuracy"] > 0.9
    assert (points.speeds < 1e-5).any()
    assert (points.unstable > 0).any(), "a saddle between the two sides"


# --- a policy with done-flags ---------------------------------------------------------------------


def do_learn_a_policy(cues, observations, done):
    begins = jnp.roll(done, 1)
    resets = jnp.broadcast_to(begins, observations.shape[:2])

    def reinforce(policy, batch, *, key):
        logits = rz.batch(policy)(batch.x, reset=batch.reset)[:, done]
        chosen = jr.categorical(key, logits)
        reward = (chosen == batch.y).astype(float)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), chosen[..., None], -1)[..., 0]
        return -((reward - reward.mean()) * log_p).mean(), {"reward": reward.mean()}

    policy = rz.make_model("gru", 2, 2, hidden_size=8, pool=None, key=KEY)
    options = {"loss": reinforce, "optimizer": ADAM, "steps": 150, "eval_every": 50, "key": KEY}
    return rz.train.fit(policy, rz.data.Batch(observations, cues, reset=resets), **options)


def test_a_policy_with_done_flags():
    done = jnp.arange(9) % 3 == 2
    cues = jr.bernoulli(KEY, shape=(128, 3)).astype(int)
    shown = jnp.roll(done, 1)[:, None] * jax.nn.one_hot(cues.repeat(3, axis=1), 2)
    result = do_learn_a_policy(cues, shown, done)
    assert result.history[-1]["train_reward"] > 0.9


# --- killed, and gone on --------------------------------------------------------------------------


def do_train_in_a_folder(folder, model, data, callback=None):
    kept = rz.train.Checkpoints(folder, every=5, resume=True)
    options = {"loss": rz.train.cross_entropy, "optimizer": ADAM, "steps": 20, "eval_every": 5}
    return rz.train.fit(model, data, **options, key=KEY, checkpoints=kept, callback=callback).model


def test_a_run_that_was_killed_goes_on(tmp_path):
    def kill(step, row):
        if step == 15:
            raise SystemExit("killed")

    data = rz.data.Batch(jr.normal(KEY, (64, 6, 3)), jnp.arange(64) % 2)
    model = rz.make_model("gru", 3, 2, hidden_size=4, dropout=0.1, key=KEY)
    with pytest.raises(SystemExit):
        do_train_in_a_folder(tmp_path / "killed", model, data, kill)
    again = do_train_in_a_folder(tmp_path / "killed", model, data)
    whole = do_train_in_a_folder(tmp_path / "whole", model, data)
    assert eqx.tree_equal(again, whole)


# --- an ensemble and its spread -------------------------------------------------------------------


def do_ask_several(data, test):
    def make(key):
        return rz.make_model("gru", 1, 1, hidden_size=8, key=key)

    models = eqx.filter_vmap(make)(jr.split(KEY, 4))
    options = {"loss": rz.train.mse, "optimizer": ADAM, "steps": 40, "key": KEY}
    found = rz.train.fit_population(models, data, **options)
    return rz.train.ensemble(found.model, test)


def test_an_ensemble_spreads_where_it_knows_nothing():
    x = jr.uniform(KEY, (128, 4, 1), minval=-1.0)
    data = rz.data.Batch(x, x.mean(axis=1))
    mean, near = do_ask_several(data, data[:16])
    assert jnp.mean((mean - data.y[:16]) ** 2) < 0.02
    _, far = do_ask_several(data, rz.data.Batch(x[:16] * 20, data.y[:16]))
    assert far.mean() > 2 * near.mean()


# --- a cell of flax -------------------------------------------------------------------------------


def do_train_a_cell_of_flax(cell, data):
    adopted = rz.adopt(cell, input_size=3, key=KEY)
    model = rz.SequenceModel(rz.Recurrent(adopted), 2, key=KEY)
    options = {"loss": rz.train.cross_entropy, "optimizer": ADAM, "steps": 60, "key": KEY}
    model = rz.train.fit(model, data, **options).model
    return rz.train.evaluate(model, data, loss=rz.train.cross_entropy)["accuracy"]


def test_a_cell_of_flax_is_adopted():
    linen = pytest.importorskip("flax.linen", exc_type=ImportError)
    x = jr.normal(KEY, (64, 6, 3))
    mask = rz.lengths_to_mask(3 + jnp.arange(64) % 4, 6)
    data = rz.data.Batch(x, (x[:, 2, 0] > 0).astype(int), mask=mask)
    assert do_train_a_cell_of_flax(linen.GRUCell(8), data) > 0.8


# --- a timed complex cell of one's own ------------------------------------------------------------


def do_check_a_cell_of_my_own():
    class Rotor(rz.AbstractCell):
        decay: jax.Array
        speed: jax.Array
        input_size: int = eqx.field(static=True, default=3)
        output_size: int = eqx.field(static=True, default=3)

        def init_state(self):
            return jnp.zeros(3, jnp.result_type(self.decay, jnp.complex64))

        def step(self, state, x, dt=1.0):
            turn = jnp.exp((-jax.nn.softplus(self.decay) + 1j * self.speed) * dt)
            state = turn * state + x
            return state, state.real

    return rz.testing.check_cell(lambda: Rotor(jnp.zeros(3), jnp.arange(3.0)))


@pytest.mark.slow
def test_a_timed_complex_cell_is_checked():
    assert do_check_a_cell_of_my_own().findings


# --- a step, run by onnxruntime -------------------------------------------------------------------


def do_step_by_onnxruntime(model, xs, path):
    import onnxruntime

    rz.interop.to_onnx(model, path, step=True)
    session = onnxruntime.InferenceSession(path)
    state, ys = rz.interop.exported_state(model), []
    for x in xs:
        *parts, y = session.run(None, {**state, "x": x})
        state = dict(zip(state, parts))
        ys.append(y)
    return np.stack(ys)


def test_a_step_is_run_by_onnxruntime(tmp_path):
    for package in ("jax2onnx", "onnxruntime"):
        pytest.importorskip(package, exc_type=ImportError)
    model = rz.make_model("gru", 3, 2, hidden_size=4, pool=None, key=KEY)
    xs = np.asarray(jr.normal(KEY, (6, 3)))
    ys = do_step_by_onnxruntime(model, xs, tmp_path / "step.onnx")
    np.testing.assert_allclose(ys, model(xs), atol=1e-5)


# --- a trained model, tuned -----------------------------------------------------------------------


def do_tune_a_trained_model(data):
    model = eqx.nn.inference_mode(rz.load_pretrained("japanese_vowels"), False)
    options = {"loss": rz.train.cross_entropy, "optimizer": optax.adam(3e-3), "steps": 40}
    return rz.train.fit(model, data, **options, key=KEY).model


def test_a_trained_model_is_tuned():
    data = rz.data.load("japanese_vowels")
    # Other microphones: each channel is heard at half its strength.
    train, test = (rz.base.replace(part, x=part.x * 0.5) for part in (data.train, data.test))
    loss = rz.train.cross_entropy
    before = rz.train.evaluate(rz.load_pretrained("japanese_vowels"), test, loss=loss)
    after = rz.train.evaluate(do_tune_a_trained_model(train), test, loss=loss)
    assert after["accuracy"] > max(before["accuracy"], 0.9)


# --- the code of users ----------------------------------------------------------------------------


TASKS = [value for name, value in globals().items() if name.startswith("do_")]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_at_most_fifteen_lines(task):
    head, *body = (line for line in inspect.getsource(task).splitlines() if line.strip())
    assert len(body) <= 15, f"{len(body)} lines"
