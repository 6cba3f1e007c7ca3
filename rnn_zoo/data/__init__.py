"""Data sets and batches. Start with `load`, `list_datasets` and `batches`."""

from .._common.moved import listing as _listing
from .batches import (
    Batch as Batch,
    batches as batches,
    pad_sequences as pad_sequences,
)
from .catalogue import list_datasets as list_datasets, load as load
from .chaos import (
    double_scroll as double_scroll,
    henon as henon,
    kuramoto_sivashinsky as kuramoto_sivashinsky,
    logistic_map as logistic_map,
    lorenz as lorenz,
    lorenz96 as lorenz96,
    mackey_glass as mackey_glass,
    multi_scroll as multi_scroll,
    rabinovich_fabrikant as rabinovich_fabrikant,
    rossler as rossler,
)
from .dataset import (
    NO_TARGET as NO_TARGET,
    Baseline as Baseline,
    Dataset as Dataset,
    DatasetInfo as DatasetInfo,
)
from .embedding import delay_embedding as delay_embedding
from .formal import (
    ask_last as ask_last,
    cycle_navigation as cycle_navigation,
    duplicate_string as duplicate_string,
    dyck as dyck,
    even_pairs as even_pairs,
    flip_flop as flip_flop,
    modular_arithmetic as modular_arithmetic,
    parity as parity,
    permutation_group as permutation_group,
    reverse_string as reverse_string,
)
from .gaps import (
    drop_values as drop_values,
    mark_missing as mark_missing,
    standardise as standardise,
)
from .irregular import (
    bitstream_xor as bitstream_xor,
    lorenz_irregular as lorenz_irregular,
    lorenz_irregular_series as lorenz_irregular_series,
    spirals as spirals,
)
from .memory import (
    adding as adding,
    copy_memory as copy_memory,
    delayed_recall as delayed_recall,
    mqar as mqar,
    n_bit_flip_flop as n_bit_flip_flop,
    selective_copy as selective_copy,
)
from .recorded import (
    co2_weekly as co2_weekly,
    digits as digits,
    japanese_vowels as japanese_vowels,
    santafe_laser as santafe_laser,
    sunspots_yearly as sunspots_yearly,
)
from .series import (
    double_scroll_series as double_scroll_series,
    henon_series as henon_series,
    kuramoto_sivashinsky_series as kuramoto_sivashinsky_series,
    logistic_map_series as logistic_map_series,
    lorenz96_series as lorenz96_series,
    lorenz_series as lorenz_series,
    mackey_glass_series as mackey_glass_series,
    multi_scroll_series as multi_scroll_series,
    rabinovich_fabrikant_series as rabinovich_fabrikant_series,
    rossler_series as rossler_series,
)
from .systems import (
    multiple_sinusoids as multiple_sinusoids,
    multiple_sinusoids_series as multiple_sinusoids_series,
    narma as narma,
    narma10 as narma10,
    narma10_series as narma10_series,
    narma_series as narma_series,
)
from .tables import from_table as from_table, read_csv as read_csv
from .text import (
    Alphabet as Alphabet,
    shakespeare as shakespeare,
    shakespeare_text as shakespeare_text,
)
from .trials import (
    context_decision as context_decision,
    delayed_match as delayed_match,
    from_trials as from_trials,
    perceptual_decision as perceptual_decision,
    ready_set_go as ready_set_go,
)
from .windowing import windows as windows


__dir__ = _listing(__name__)
