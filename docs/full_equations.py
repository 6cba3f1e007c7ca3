"""The full equations of cells, plain text, to LaTeX in HTML: a row for each line, fields as code.

What the text means is said in `rnn_zoo/_common/notation.py`.
"""

import re
from html import escape


TOKEN = re.compile(r"\^-?\w+|\d+(?:\.\d+)?(?:e-?\d+)?|[A-Za-z][\w.]*'?\(?|[-+*/^()\[\],=]")
LINE = re.compile(r"(?P<left>[^=]+) = (?P<right>.+?)(?:  +(?P<case>if .+|otherwise))?$")
GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma "
    "tau phi varphi omega Gamma Delta Theta Lambda Pi Sigma Phi Omega".split()
)
FUNCTIONS = ("tanh", "sinh", "sin", "cos", "exp", "log", "min", "max")
# Calls that are written otherwise than name(...): what stands before and after the argument.
CALLS = {
    "sqrt": (r"\sqrt{", "}"),
    "abs": (r"\lvert ", r"\rvert "),
    "norm": (r"\lVert ", r"\rVert "),
    "sig": (r"\sigma(", ")"),
    "re": (r"\mathrm{Re}(", ")"),
    "im": (r"\mathrm{Im}(", ")"),
}
SIGNS = {"*": r"\odot ", "mod": r"\bmod "}


def html(text: str) -> str:
    """The heading as prose, the equations as a table of formulas, the fields as a list."""
    above, _, below = text.partition("\nwhere ")
    rows, parts = above.splitlines(), []
    if " = " not in rows[0]:
        words = escape(rows.pop(0), quote=False)
        parts.append("<p>" + re.sub(r"\w+_\w+", r"<code>\g<0></code>", words) + ":</p>")
    table = "".join(map(_row, rows))
    parts.append(f'<div class="scroll"><table class="equation">{table}</table></div>')
    fields = [part for row in below.splitlines() for part in row.strip().split("; ")]
    parts.append(f"<p>where {', '.join(map(_field, fields))}.</p>")
    return "\n".join(parts)


def _row(line: str) -> str:
    found = LINE.match(line)
    if not found:
        raise ValueError(f"expected symbol = expression, got {line!r}")
    shown = formula(f"{latex(found['left'])} = {latex(found['right'])}")
    return f"<tr><td>{shown}</td><td>{_case(found['case'] or '')}</td></tr>"


def _case(case: str) -> str:
    condition = case.removeprefix("if ")
    if " mod " in condition:
        return f"if {formula(latex(condition))}"
    return f"if <code>{escape(condition)}</code>" if condition != case else case


def _field(part: str) -> str:
    names, _, value = part.partition(" = ")
    symbols = ", ".join(formula(latex(name)) for name in names.split(", "))
    return f"{symbols} = <code>{escape(value)}</code>"


def formula(text: str) -> str:
    """LaTeX where the site looks for it."""
    return f'<span class="arithmatex">\\({escape(text, quote=False)}\\)</span>'


def latex(text: str) -> str:
    """An expression as LaTeX."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != text.replace(" ", ""):
        raise ValueError(f"cannot read {text!r}")
    written, ends, before = [], [], ""
    for token in tokens:
        operand = re.match(r"[\w(\[]", token) and token != "mod"
        if operand and re.search(r"[\w')\]]$", before) and before != "mod":
            written.append(r"\,")
        written.append(_sign(token, ends))
        before = token
    return "".join(written)


def _sign(token: str, ends: list[str]) -> str:
    if token.endswith("("):
        name = token[:-1]
        start, end = CALLS.get(name, (f"{symbol(name)}(" if name else "(", ")"))
        ends.append(end)
        return start
    if token == ")":
        return ends.pop()
    if token[0] == "^" and len(token) > 1:
        return r"^\top " if token == "^T" else f"^{{{latex(token[1:])}}}"
    if "e-" in token and token[0].isdigit():
        digits, _, power = token.partition("e")
        return (f"{digits} \\times " if digits != "1" else "") + f"10^{{{power}}}"
    return SIGNS.get(token) or (symbol(token) if token[0].isalpha() else token)


def symbol(name: str) -> str:
    """A name: one letter or a Greek one, with what follows `_` below it; else upright."""
    prime = "'" if name.endswith("'") else ""
    base, _, index = name.removesuffix("'").partition("_")
    if name == "dt":
        return "{dt}"
    if name in FUNCTIONS:
        return f"\\{name}"
    if len(base) > 1 and base not in GREEK:
        return r"\mathrm{" + name.removesuffix("'").replace("_", r"\_") + "}" + prime
    below = f"_{{{_letters(index)}}}" if index else ""
    return f"{_letters(base)}{below}{prime}"


def _letters(text: str) -> str:
    if text in GREEK:
        return f"\\{text} "
    plain = text.isupper() or len(text) == 1 or text.isdigit()
    return text if plain else r"\mathrm{" + text + "}"
