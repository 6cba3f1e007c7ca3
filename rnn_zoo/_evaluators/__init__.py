"""How a cell runs over a sequence: step by step, in parallel over time, or in chunks side by side.

`sequential.py` takes any cell, `parallel.py` those that are linear or give the parts of a step of a
matrix, `windows.py` those that read their last inputs. The other files are for cells that are
neither: **multiple shooting**. The unknowns are the states before the chunks of a sequence. A pass
runs all chunks at once, each from its own guess, by the ordinary loop; a *joint* is the difference
between the end of a chunk and the start of the next. Where all joints are closed, the states are
those of the loop.

What closes them is tried in this order (`levels.py`):

0. a network that forgets within a chunk: each chunk starts where the one before ended;
1. a network that remembers one of a few things: every chunk is run from ends that the network
   reached itself (`coalescence.py`); ends that have become one are a branch, and maps between
   branches compose;
2. branches that no seed has shown become seeds themselves;
3. a network whose memory never merges: Newton's method over the joints (`newton.py`);
4. what does not fit yet runs from chunk to chunk, as the loop does.
"""

from .channels import channels, step_by_step
from .common import How
from .foresight import Plan, plan
from .options import Chunks, Report, check_method, chosen_inside, one_chunk, options_inside
from .parallel import PLAIN, linear, matrix
from .sequential import sequential
from .side_by_side import check_strict, choose_chunks, side_by_side
from .windows import WINDOW, at_once, windows


__all__ = [
    "PLAIN",
    "WINDOW",
    "Chunks",
    "How",
    "Plan",
    "Report",
    "at_once",
    "channels",
    "check_method",
    "check_strict",
    "choose_chunks",
    "chosen_inside",
    "linear",
    "matrix",
    "one_chunk",
    "options_inside",
    "plan",
    "sequential",
    "side_by_side",
    "step_by_step",
    "windows",
]
