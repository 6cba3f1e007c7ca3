"""Every cell, by name: what drives the tests, the README's table, the command line.

Adding a cell is one class in its family file, one NumPy reference in `tests/references.py`,
one row in `_ROWS`, and its whole equation in `cells/equations.py` or, for a state space,
`cells/state_space_equations.py`.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Callable
from typing import Any

from jaxtyping import PRNGKeyArray

from . import cells
from .base import AbstractCell
from .cells import equations as _of_cells, state_space_equations as _of_ssm


@dataclasses.dataclass(frozen=True)
class CellInfo:
    """What the registry knows of a cell; the flags are those of the default-built cell."""

    name: str
    cls: Callable[..., AbstractCell]
    family: str
    paper: str
    """Authors, year, and arXiv number where there is one."""
    equation: str
    """In plain text, one line, with what is usual left out."""
    linear: bool = False
    timed: bool = False
    stochastic: bool = False
    complex_state: bool = False
    block: str = ""
    """The class that `make_model` builds around the cell where its paper has a block of its own;
    "" where a model has the cell itself."""

    @property
    def full_equation(self) -> str:
        """The whole step in plain text: every term by symbol, and which field is which symbol."""
        return _EQUATIONS[self.name]


_TEXTS = _of_cells.EQUATIONS | _of_ssm.EQUATIONS
_EQUATIONS = {name: inspect.cleandoc(text) for name, text in _TEXTS.items()}

_ROWS = (
    CellInfo(
        "elman",
        cells.ElmanCell,
        "vanilla",
        "Elman 1990",
        "h' = tanh(W x + U h + b)",
    ),
    CellInfo(
        "leaky_elman",
        cells.LeakyElmanCell,
        "vanilla",
        "Jaeger et al. 2007",
        "h' = (1 - a) h + a tanh(W x + U h + b)",
        timed=True,
    ),
    CellInfo(
        "wilson_cowan",
        cells.WilsonCowanCell,
        "vanilla",
        "Wilson & Cowan 1972",
        "h' = (1 - a) h + a S(U h + W x + b), h = [E, I], U > 0 from E, < 0 from I",
        timed=True,
    ),
    CellInfo(
        "indrnn",
        cells.IndRNNCell,
        "vanilla",
        "Li et al. 2018, arXiv:1803.04831",
        "h' = relu(W x + u * h + b), |u| <= u_max",
    ),
    CellInfo(
        "linear_indrnn",
        cells.LinearIndRNNCell,
        "vanilla",
        "Li et al. 2018, arXiv:1803.04831",
        "h' = W x + u * h + b, |u| <= u_max",
        linear=True,
    ),
    CellInfo(
        "lstm",
        cells.LSTMCell,
        "gated",
        "Hochreiter & Schmidhuber 1997",
        "c' = f * c + i * g, h' = o * tanh(c')",
    ),
    CellInfo(
        "lstmp",
        cells.LSTMPCell,
        "gated",
        "Sak et al. 2014, arXiv:1402.1128",
        "c' = f * c + i * g, h' = V (o * tanh(c'))",
    ),
    CellInfo(
        "gru",
        cells.GRUCell,
        "gated",
        "Cho et al. 2014, arXiv:1406.1078",
        "h' = (1 - z) * n + z * h, n = tanh(W x + r * (U h))",
    ),
    CellInfo(
        "mgu",
        cells.MGUCell,
        "gated",
        "Zhou et al. 2016, arXiv:1603.09420",
        "h' = (1 - f) * h + f * tanh(W x + U (f * h))",
    ),
    CellInfo(
        "mingru",
        cells.MinGRUCell,
        "gated",
        "Feng et al. 2024, arXiv:2410.01201",
        "h' = (1 - z(x)) * h + z(x) * g(W x)",
        linear=True,
    ),
    CellInfo(
        "minlstm",
        cells.MinLSTMCell,
        "gated",
        "Feng et al. 2024, arXiv:2410.01201",
        "h' = (f h + i g(W x)) / (f + i), f, i of x",
        linear=True,
    ),
    CellInfo(
        "antisymmetric",
        cells.AntisymmetricCell,
        "antisymmetric",
        "Chang et al. 2019, arXiv:1902.09689",
        "h' = h + e tanh((A - A^T - g I) h + W x + b)",
        timed=True,
    ),
    CellInfo(
        "gated_antisymmetric",
        cells.GatedAntisymmetricCell,
        "antisymmetric",
        "Chang et al. 2019, arXiv:1902.09689",
        "h' = h + e z * tanh(M h + W x + b), z = sig(M h + ...)",
        timed=True,
    ),
    CellInfo(
        "clockwork",
        cells.ClockworkCell,
        "clockwork",
        "Koutnik et al. 2014, arXiv:1402.3511",
        "h'_i = tanh(W x + U h + b)_i if t mod T_i = 0 else h_i",
    ),
    CellInfo(
        "lipschitz",
        cells.LipschitzCell,
        "lipschitz",
        "Erichson et al. 2021, arXiv:2006.12070",
        "h' = h + e (A h + tanh(W h + U x + b))",
        timed=True,
    ),
    CellInfo(
        "unitary",
        cells.UnitaryCell,
        "unitary",
        "Arjovsky et al. 2016, arXiv:1511.06464",
        "h' = modrelu(D R F^-1 D P R F D h + V x)",
        complex_state=True,
    ),
    CellInfo(
        "exprnn",
        cells.ExpRNNCell,
        "unitary",
        "Lezcano & Martinez 2019, arXiv:1901.08428",
        "h' = modrelu(exp(T - T^T) h + V x)",
    ),
    CellInfo(
        "cornn",
        cells.CoRNNCell,
        "oscillatory",
        "Rusch & Mishra 2021, arXiv:2010.00951",
        "z' = z + d (tanh(W h + W2 z + V x + b) - g h - e z), h' = h + d z'",
        timed=True,
    ),
    CellInfo(
        "hcornn",
        cells.HCoRNNCell,
        "oscillatory",
        "Ceni et al. 2024",
        "z' = z + d (tanh(W h + V x + b) - g * h - e * z), h' = h + d z'",
        timed=True,
    ),
    CellInfo(
        "lem",
        cells.LEMCell,
        "oscillatory",
        "Rusch et al. 2022, arXiv:2110.04744",
        "z' = (1 - d1) z + d1 tanh(.h), h' = (1 - d2) h + d2 tanh(.z')",
        timed=True,
    ),
    CellInfo(
        "unicornn",
        cells.UnICORNNCell,
        "oscillatory",
        "Rusch & Mishra 2021, arXiv:2103.05487",
        "z' = z - d s(c) (tanh(w * h + V x + b) + a h), h' = h + d s(c) z'",
        timed=True,
    ),
    CellInfo(
        "ltc",
        cells.LTCCell,
        "liquid",
        "Hasani et al. 2021, arXiv:2006.04439",
        "c v' = g (v0 - v) + sum_j w sig(s (v_j - m)) (E - v) + the same of x",
        timed=True,
    ),
    CellInfo(
        "cfc",
        cells.CfCCell,
        "liquid",
        "Hasani et al. 2022, arXiv:2106.13898",
        "h' = (1 - s) * tanh(f1) + s * tanh(f2), s = sig(a dt + b)",
        timed=True,
    ),
    CellInfo(
        "wired_cfc",
        cells.WiredCfCCell,
        "liquid",
        "Hasani et al. 2022, arXiv:2106.13898",
        "h'_l = cfc_l(h_l, h'_(l-1)), f1 and f2 masked by the map, y = h'_motor",
        timed=True,
    ),
    CellInfo(
        "lru",
        cells.LRUCell,
        "state-space",
        "Orvieto et al. 2023, arXiv:2303.06349",
        "h' = lambda * h + gamma * (B x), y = Re(C h') + D x",
        linear=True,
        complex_state=True,
    ),
    CellInfo(
        "s4d",
        cells.S4DCell,
        "state-space",
        "Gu et al. 2022, arXiv:2206.11893",
        "h' = exp(d lambda) * h + (exp(d lambda) - 1) / lambda * (W x), y = 2 Re(C h') + D W x",
        linear=True,
        timed=True,
        complex_state=True,
    ),
    CellInfo(
        "s5",
        cells.S5Cell,
        "state-space",
        "Smith et al. 2023, arXiv:2208.04933",
        "h' = exp(d lambda) * h + (exp(d lambda) - 1) / lambda * (B x), y = 2 Re(C h') + D x",
        linear=True,
        timed=True,
        complex_state=True,
    ),
    CellInfo(
        "rglru",
        cells.RGLRUCell,
        "state-space",
        "De et al. 2024, arXiv:2402.19427",
        "h' = a * h + sqrt(1 - a^2) * i(u) * u, a = exp(-8 sp(L) r(u)), u = W x",
        linear=True,
    ),
    CellInfo(
        "mamba",
        cells.MambaCell,
        "state-space",
        "Gu & Dao 2023, arXiv:2312.00752",
        "h' = exp(d(u) A) * h + d(u) u B(u), y = C(u) h' + D u, u = W x",
        linear=True,
        timed=True,
        block="MambaBlock",
    ),
    CellInfo(
        "linoss",
        cells.LinOSSCell,
        "state-space",
        "Rusch & Rus 2025, arXiv:2410.03943",
        "z' = z + d (B x - A y), y' = y + d z', out = C y' + D x",
        linear=True,
        timed=True,
    ),
    CellInfo(
        "esn",
        cells.EchoStateCell,
        "reservoir",
        "Jaeger et al. 2007",
        "h' = (1 - a) h + a tanh(W x + U h + b), nothing trained",
        timed=True,
    ),
)
_CELLS = {row.name: row for row in _ROWS}


def list_cells(*, linear: bool | None = None, timed: bool | None = None) -> tuple[str, ...]:
    """The names of all cells, or of those that are (not) linear or timed."""
    return tuple(
        row.name for row in _ROWS if linear in (None, row.linear) and timed in (None, row.timed)
    )


def cell_info(name: str) -> CellInfo:
    """What the registry knows of a cell. ValueError for an unknown name."""
    if name not in _CELLS:
        raise ValueError(f"unknown cell {name!r}{suggest(name, _CELLS)}")
    return _CELLS[name]


def make_cell(
    name: str, input_size: int, hidden_size: int, *, key: PRNGKeyArray, **options: Any
) -> AbstractCell:
    """A cell by name; `options` are the keyword arguments of its class.

    ValueError for an unknown name, TypeError for an unknown option.
    """
    make = cell_info(name).cls
    allowed = cell_options(name)
    for option in options:
        if option not in allowed:
            hint = suggest(option, allowed)
            raise TypeError(f"cell {name!r} has no option {option!r}{hint}")
    return make(input_size, hidden_size, key=key, **options)


def cell_options(name: str) -> tuple[str, ...]:
    """The names of the options that `make_cell(name, ...)` takes."""
    parameters = inspect.signature(cell_info(name).cls).parameters.values()
    names = (p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
    return tuple(n for n in names if n != "key")


def suggest(name: str, known) -> str:
    """The end of an error message about an unknown name."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f": did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known are: {', '.join(known)}" if hint else f"; known are: {', '.join(known)}"
