"""Linear state-space cells: one per file."""

from .lru import LRUCell as LRUCell
