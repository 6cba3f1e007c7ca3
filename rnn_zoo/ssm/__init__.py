"""Linear state-space cells: one per file."""

from . import discretise as discretise
from .linoss import LinOSSCell as LinOSSCell
from .lru import LRUCell as LRUCell
from .mamba import MambaCell as MambaCell
from .rglru import RGLRUCell as RGLRUCell
from .s4d import S4DCell as S4DCell
from .s5 import S5Cell as S5Cell
from .short_conv import ShortConv as ShortConv
