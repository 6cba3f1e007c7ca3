"""Every data set, by name."""

import difflib
import inspect
from typing import Any

from jax import Array

from . import chaos, formal, irregular, memory, recorded, systems, text, trials
from .dataset import Dataset


_LOADERS = {
    "adding": memory.adding,
    "bitstream_xor": irregular.bitstream_xor,
    "co2_weekly": recorded.co2_weekly,
    "context_decision": trials.context_decision,
    "copy_memory": memory.copy_memory,
    "cycle_navigation": formal.cycle_navigation,
    "delayed_match": trials.delayed_match,
    "delayed_recall": memory.delayed_recall,
    "digits": recorded.digits,
    "double_scroll": chaos.double_scroll,
    "duplicate_string": formal.duplicate_string,
    "dyck": formal.dyck,
    "even_pairs": formal.even_pairs,
    "flip_flop": formal.flip_flop,
    "henon": chaos.henon,
    "japanese_vowels": recorded.japanese_vowels,
    "kuramoto_sivashinsky": chaos.kuramoto_sivashinsky,
    "logistic_map": chaos.logistic_map,
    "lorenz": chaos.lorenz,
    "lorenz96": chaos.lorenz96,
    "lorenz_irregular": irregular.lorenz_irregular,
    "mackey_glass": chaos.mackey_glass,
    "modular_arithmetic": formal.modular_arithmetic,
    "mqar": memory.mqar,
    "multi_scroll": chaos.multi_scroll,
    "multiple_sinusoids": systems.multiple_sinusoids,
    "n_bit_flip_flop": memory.n_bit_flip_flop,
    "narma": systems.narma,
    "narma10": systems.narma10,
    "parity": formal.parity,
    "perceptual_decision": trials.perceptual_decision,
    "permutation_group": formal.permutation_group,
    "rabinovich_fabrikant": chaos.rabinovich_fabrikant,
    "ready_set_go": trials.ready_set_go,
    "reverse_string": formal.reverse_string,
    "rossler": chaos.rossler,
    "santafe_laser": recorded.santafe_laser,
    "selective_copy": memory.selective_copy,
    "shakespeare": text.shakespeare,
    "spirals": irregular.spirals,
    "sunspots_yearly": recorded.sunspots_yearly,
}


def list_datasets() -> tuple[str, ...]:
    """The names that `load` knows, in alphabetical order."""
    return tuple(sorted(_LOADERS))


def load(name: str, *, key: Array | None = None, **options: Any) -> Dataset:
    """The data set `name`, with its train, valid and test parts and its card.

    `options` are those of the function of the same name (`rnn_zoo.data.adding` and its kind), whose
    docstring gives shapes, defaults and splits. `key` is what generated data are drawn from and
    samples are held out with; a data set in which nothing is drawn takes it and does not use it.

    Raises ValueError for an unknown name, and for a generated data set without a key; TypeError for
    an option that the data set does not have.
    """
    if name not in _LOADERS:
        close = difflib.get_close_matches(name, _LOADERS, n=1)
        hint = f": did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown data set {name!r}{hint}; known are {', '.join(list_datasets())}")
    parameters = dict(inspect.signature(_LOADERS[name]).parameters)
    drawn = parameters.pop("key", None)
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise TypeError(
            f"data set {name!r} has no option {', '.join(map(repr, unknown))}; "
            f"its options are {', '.join(parameters)}"
        )
    if drawn is None:
        return _LOADERS[name](**options)
    if drawn.default is inspect.Parameter.empty and key is None:
        raise ValueError(
            f"data set {name!r} is generated and needs a key: load({name!r}, key=jax.random.key(0))"
        )
    return _LOADERS[name](key=key, **options)
