"""Tasks of neuroscience: a subject looks, waits, and answers when it is asked to."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from .._common.checks import check_positive, check_sizes
from ._drawing import draw, drawn_splits
from .batches import Batch, pad_sequences, to_jax
from .dataset import GENERATED, NO_TARGET, Dataset, DatasetInfo


def perceptual_decision(
    *,
    key: Array,
    stimulus: int = 20,
    delay: int = 5,
    response: int = 5,
    coherences: tuple[float, ...] = (0.0, 0.064, 0.128, 0.256, 0.512),
    noise: float = 1.0,
    n_train: int = 2_000,
    n_valid: int = 200,
    n_test: int = 500,
) -> Dataset:
    """Perceptual decision: which of two noisy inputs is the stronger on average?

    `x` is (time, 3): a fixation cue, 1 until the answer is asked for, and two inputs that during
    the `stimulus` steps are 1/2 plus and minus half of a coherence, plus Gaussian noise of standard
    deviation `noise`. After `delay` steps the cue goes off and the answer is due for `response`
    steps. `y` is (time,) int: 0 while the cue is on, then 1 or 2, the stronger input; where the
    coherence drawn is 0 either may be the answer.

    Britten et al. (1992), doi:10.1523/JNEUROSCI.12-12-04745.1992. ValueError for sizes below 1.
    """
    check_sizes(stimulus=stimulus, response=response, delay=delay + 1)
    check_positive("noise", noise, zero=True)

    def sample(rng, n):
        side = rng.integers(0, 2, n)
        strength = rng.choice(coherences, n)
        x = np.zeros((n, stimulus + delay + response, 3), np.float32)
        x[:, :-response, 0] = 1
        shown = x[:, :stimulus, 1:]
        shown += 0.5 + noise * rng.standard_normal(shown.shape)
        shown += np.where(side == 0, 0.5, -0.5)[:, None, None] * strength[:, None, None] * [1, -1]
        return x, _answer(x, response, side + 1)

    sizes = (n_train, n_valid, n_test)
    info = _card(
        "perceptual_decision",
        (3, 3),
        f"Say which of two noisy inputs was the stronger over {stimulus} steps.",
        "Britten et al. 1992, doi:10.1523/JNEUROSCI.12-12-04745.1992",
        sizes,
    )
    return Dataset(*draw(sample, key, sizes), info)


def context_decision(
    *,
    key: Array,
    stimulus: int = 20,
    delay: int = 5,
    response: int = 5,
    coherences: tuple[float, ...] = (0.1, 0.25, 0.5),
    noise: float = 1.0,
    n_train: int = 4_000,
    n_valid: int = 200,
    n_test: int = 500,
) -> Dataset:
    """Context-dependent decision: of two noisy signals, the sign of the one that the cue names.

    `x` is (time, 5): fixation, the two signals, each a coherence of random sign plus Gaussian noise
    of standard deviation `noise` during the `stimulus` steps, and a context cue, one-hot, on until
    the answer is asked for. `y` is (time,) int: 0 during fixation, then 1 or 2 for a positive or a
    negative signal. Who attends to both is right three times in four at best.

    Mante et al. (2013), doi:10.1038/nature12742. ValueError for sizes below 1.
    """
    check_sizes(stimulus=stimulus, response=response, delay=delay + 1)
    check_positive("noise", noise, zero=True)

    def sample(rng, n):
        signs = rng.choice([-1.0, 1.0], (n, 2))
        means = signs * rng.choice(coherences, (n, 2))
        context = rng.integers(0, 2, n)
        x = np.zeros((n, stimulus + delay + response, 5), np.float32)
        x[:, :-response, 0] = 1
        shown = x[:, :stimulus, 1:3]
        shown += means[:, None] + noise * rng.standard_normal(shown.shape)
        x[:, :-response, 3:] = np.eye(2)[context][:, None]
        asked = signs[np.arange(n), context]
        return x, _answer(x, response, np.where(asked > 0, 1, 2))

    sizes = (n_train, n_valid, n_test)
    info = _card(
        "context_decision",
        (5, 3),
        "Say the sign of that of two noisy signals which the context names.",
        "Mante et al. 2013, doi:10.1038/nature12742",
        sizes,
    )
    return Dataset(*draw(sample, key, sizes), info)


def delayed_match(
    *,
    key: Array,
    stimulus: int = 5,
    delay: int = 20,
    response: int = 5,
    n_items: int = 4,
    noise: float = 0.1,
    n_train: int = 2_000,
    n_valid: int = 200,
    n_test: int = 500,
) -> Dataset:
    """Delayed match to sample: is what is shown after the delay what was shown before it?

    `x` is (time, 1 + n_items): fixation, and the item one-hot for `stimulus` steps, then nothing
    for `delay` steps, then the same or another item for `stimulus` steps, all with Gaussian noise
    of standard deviation `noise` on the items. When fixation ends, the answer is due for `response`
    steps: `y` is (time,) int, 0 during fixation, then 1 for a match and 2 for none.

    Miller et al. (1996), doi:10.1523/JNEUROSCI.16-16-05154.1996. ValueError for sizes below 1 and
    fewer than two items.
    """
    check_sizes(stimulus=stimulus, delay=delay, response=response, n_items=n_items - 1)
    check_positive("noise", noise, zero=True)

    def sample(rng, n):
        first = rng.integers(0, n_items, n)
        same = rng.integers(0, 2, n).astype(bool)
        second = np.where(same, first, (first + rng.integers(1, n_items, n)) % n_items)
        x = np.zeros((n, 2 * stimulus + delay + response, 1 + n_items), np.float32)
        x[:, :-response, 0] = 1
        one_hot = np.eye(n_items, dtype=np.float32)
        x[:, :stimulus, 1:] = one_hot[first][:, None]
        x[:, stimulus + delay : -response, 1:] = one_hot[second][:, None]
        x[:, :, 1:] += noise * rng.standard_normal(x[:, :, 1:].shape)
        return x, _answer(x, response, np.where(same, 1, 2))

    sizes = (n_train, n_valid, n_test)
    info = _card(
        "delayed_match",
        (1 + n_items, 3),
        f"Say whether the item after {delay} steps of delay is the one before it.",
        "Miller et al. 1996, doi:10.1523/JNEUROSCI.16-16-05154.1996",
        sizes,
    )
    return Dataset(*draw(sample, key, sizes), info)


def ready_set_go(
    *,
    key: Array,
    shortest: int = 10,
    longest: int = 30,
    gain: float = 1.0,
    n_train: int = 2_000,
    n_valid: int = 200,
    n_test: int = 500,
) -> Dataset:
    """Ready, set, go: measure the time between two pulses, and answer after the same time again.

    `x` is (time, 2): a pulse of one step in the first input (ready), one in the second (set) after
    an interval drawn from `shortest` to `longest` steps. `y` is (time, 1): 0 until set, then a ramp
    that reaches 1 after `gain` times the interval and stays there; the crossing of 1 is the answer.
    The step of ready is drawn, too, from the first `longest`.

    Jazayeri and Shadlen (2010), doi:10.1038/nn.2590. ValueError for a gain of 0 or less and for
    intervals that are not 1 <= shortest <= longest.
    """
    check_sizes(shortest=shortest, longest=longest - shortest + 1)
    check_positive("gain", gain)
    time = 2 * longest + int(np.ceil(gain * longest)) + 5

    def sample(rng, n):
        rows, ready = np.arange(n), rng.integers(0, longest, n)
        interval = rng.integers(shortest, longest + 1, n)
        x = np.zeros((n, time, 2), np.float32)
        x[rows, ready, 0] = x[rows, ready + interval, 1] = 1
        after = np.arange(time) - (ready + interval)[:, None]
        ramp = np.clip(after / (gain * interval[:, None]), 0, 1)
        return x, ramp[..., None].astype(np.float32)

    sizes = (n_train, n_valid, n_test)
    info = DatasetInfo(
        name="ready_set_go",
        task="regression",
        input_size=2,
        output_size=1,
        description=f"Ramp to 1 in {gain:g} times an interval of {shortest} to {longest} steps.",
        source="generated",
        citation="Jazayeri and Shadlen 2010, doi:10.1038/nn.2590",
        licence=GENERATED,
        splits=drawn_splits(sizes),
    )
    return Dataset(*draw(sample, key, sizes), info)


def from_trials(
    make: Callable[[], Any],
    *,
    n_train: int = 1_000,
    n_valid: int = 100,
    n_test: int = 200,
    seed: int = 0,
) -> Dataset:
    """Trials of an environment of neurogym, or one of its form, as a data set.

        from_trials(lambda: neurogym.make("PerceptualDecisionMaking-v0"))

    `make()` gives the environment; its `new_trial()` sets `ob`, the observations (time, inputs),
    and `gt`, the right action of every step (time,), which is what supervised training on neurogym
    reads, too. An environment with a method `seed` gets `seed`, `seed` + 1 and `seed` + 2 for the
    three parts. Trials of unequal length are padded, with a mask; where `gt` is of integers the
    task is classification, with as many classes as the `action_space` has actions (where it says,
    and `gt` names no more), and it is regression otherwise. ValueError where a trial has no `ob`
    and `gt` of the same length: tasks that only reward have no right action.
    """
    check_sizes(n_train=n_train, n_test=n_test)
    sizes = (n_train, n_valid, n_test)
    train, test = _trials(make(), n_train, seed), _trials(make(), n_test, seed + 2)
    valid = _trials(make(), n_valid, seed + 1) if n_valid else None
    classes = np.issubdtype(np.asarray(train.y).dtype, np.integer)
    whole = [np.asarray(part.y) for part in (train, valid, test) if part is not None]
    env = _bare(make())
    name = type(env).__name__
    actions = int(getattr(getattr(env, "action_space", None), "n", 0))
    info = DatasetInfo(
        name=name,
        task="classification" if classes else "regression",
        input_size=train.x.shape[-1],
        output_size=max(actions, *(1 + int(y.max()) for y in whole))
        if classes
        else train.y.shape[-1],
        description=f"Trials of {name}.",
        source="drawn by an environment",
        citation="",
        licence="that of the environment",
        splits=drawn_splits(sizes),
    )
    return Dataset(train, valid, test, info)


def _bare(env: Any) -> Any:
    """The environment without what Gymnasium puts around it."""
    return getattr(env, "unwrapped", env)


def _trials(env: Any, count: int, seed: int) -> Batch:
    env = _bare(env)
    if callable(getattr(env, "seed", None)):
        env.seed(seed)
    xs, ys = [], []
    for _ in range(count):
        env.new_trial()
        x, y = (np.asarray(getattr(env, name, np.zeros(0))) for name in ("ob", "gt"))
        if x.ndim != 2 or len(x) != len(y) or not len(x):
            raise ValueError(
                "expected env.ob (time, inputs) and env.gt (time,) after new_trial(), got shapes "
                f"{x.shape} and {y.shape}: an environment that only rewards has no right action"
            )
        xs.append(x.astype(np.float32))
        ys.append(y.astype(np.int32 if np.issubdtype(y.dtype, np.integer) else np.float32))
    x, mask = pad_sequences(xs)
    y, _ = pad_sequences(ys)
    if jnp.issubdtype(y.dtype, jnp.integer):
        y = jnp.where(mask, y, NO_TARGET)
    else:
        y = y.reshape(*mask.shape, -1)
    return to_jax(Batch(x, y, mask))


def _answer(x: np.ndarray, response: int, choice: np.ndarray) -> np.ndarray:
    """0 until the response, then the choice."""
    y = np.zeros(x.shape[:2], np.int32)
    y[:, -response:] = choice[:, None]
    return y


def _card(
    name: str, sizes: tuple[int, int], description: str, citation: str, splits: tuple
) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        task="classification",
        input_size=sizes[0],
        output_size=sizes[1],
        description=description,
        source="generated",
        citation=citation,
        licence=GENERATED,
        splits=drawn_splits(splits),
    )
