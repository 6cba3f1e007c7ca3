"""Data sets and batches. Start with `load`, `list_datasets` and `batches`."""

from .batches import (
    Batch as Batch,
    batches as batches,
    pad_sequences as pad_sequences,
    windows as windows,
)
from .dataset import Baseline as Baseline, Dataset as Dataset, DatasetInfo as DatasetInfo
from .dynamics import (
    lorenz as lorenz,
    lorenz_series as lorenz_series,
    mackey_glass as mackey_glass,
    mackey_glass_series as mackey_glass_series,
    multiple_sinusoids as multiple_sinusoids,
    multiple_sinusoids_series as multiple_sinusoids_series,
    narma10 as narma10,
    narma10_series as narma10_series,
)
from .files import (
    co2_weekly as co2_weekly,
    digits as digits,
    japanese_vowels as japanese_vowels,
    santafe_laser as santafe_laser,
    sunspots_yearly as sunspots_yearly,
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
)
from .registry import list_datasets as list_datasets, load as load
