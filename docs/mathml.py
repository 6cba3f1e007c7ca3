"""LaTeX formulas, as the docstrings write them, to MathML, which browsers draw by themselves.

It knows the commands that the docstrings use. Another one is a ValueError: give it a row here.
"""

import re
from html import escape


TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\s+|.", re.S)

LETTERS = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ϵ",
    "varepsilon": "ε",
    "zeta": "ζ",
    "eta": "η",
    "theta": "θ",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "xi": "ξ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "phi": "ϕ",
    "varphi": "φ",
    "omega": "ω",
    "partial": "∂",
    "ell": "ℓ",
}
CAPITALS = {
    "Gamma": "Γ",
    "Delta": "Δ",
    "Theta": "Θ",
    "Lambda": "Λ",
    "Pi": "Π",
    "Sigma": "Σ",
    "Phi": "Φ",
    "Omega": "Ω",
}
OPERATORS = {
    "odot": "⊙",
    "cdot": "⋅",
    "times": "×",
    "pm": "±",
    "mp": "∓",
    "to": "→",
    "leftarrow": "←",
    "mapsto": "↦",
    "in": "∈",
    "le": "≤",
    "ge": "≥",
    "ne": "≠",
    "sim": "∼",
    "approx": "≈",
    "ast": "∗",
    "top": "⊤",
    "dots": "…",
    "ldots": "…",
    "cdots": "⋯",
    "bmod": "mod",
}
FUNCTIONS = ("tanh", "sinh", "sin", "cos", "exp", "log")
LIMITS = {"sum": "∑", "prod": "∏", "min": "min", "max": "max"}
ACCENTS = {"hat": "^", "tilde": "~", "bar": "¯", "dot": "˙", "ddot": "¨"}
SPACES = {",": "0.17em", " ": "0.25em", ";": "0.28em", "quad": "1em", "qquad": "2em"}
FENCES = {"(": "(", ")": ")", "[": "[", "]": "]", "|": "|", "\\|": "‖", "\\{": "{", "\\}": "}"} | {
    "\\langle": "⟨",
    "\\rangle": "⟩",
}
OPERANDS = ("</mi>", "</mn>", "</msub>", "</msup>", "</msubsup>")
AFTER = (*OPERANDS, ")</mo>", "]</mo>", "|</mo>", "</mrow>", "</mfrac>", "</msqrt>", "</mover>")
SIGNS = {"-": "−", "*": "∗"}


def display(latex: str) -> str:
    """A displayed formula: what \\qquad separates may break into lines of its own."""
    parts = "".join(f'<math display="block">{_row(part)}</math>' for part in _pieces(latex))
    return f'<div class="formula">{parts}</div>'


def inline(latex: str) -> str:
    """A formula in a line of text."""
    return f"<math>{_row(_tokens(latex))}</math>"


def _tokens(latex: str) -> list[str]:
    return TOKEN.findall(latex.strip())


def _pieces(latex: str) -> list[list[str]]:
    pieces, depth = [[]], 0
    for token in _tokens(latex):
        depth += token in ("{", "\\begin")
        depth -= token in ("}", "\\end")
        last = next((t for t in reversed(pieces[-1]) if not t.isspace()), "")
        if depth == 0 and (token == "\\qquad" or (token == "\\quad" and last == ",")):
            pieces.append([])
        else:
            pieces[-1].append(token)
    return [piece for piece in pieces if "".join(piece).strip()]


def _row(tokens: list[str]) -> str:
    reader = _Reader(tokens)
    row = reader.row()
    if reader.tokens:
        raise ValueError(f"unexpected {reader.tokens[-1]!r} in {''.join(tokens)!r}")
    return row


class _Reader:
    """Reads tokens from the front; `tokens` holds the rest, reversed."""

    def __init__(self, tokens: list[str]):
        self.tokens = tokens[::-1]

    def peek(self) -> str:
        while self.tokens and self.tokens[-1].isspace():
            self.tokens.pop()
        return self.tokens[-1] if self.tokens else ""

    def take(self) -> str:
        if not self.peek():
            raise ValueError("a formula ends where an argument should follow")
        return self.tokens.pop()

    def row(self, *ends: str) -> str:
        parts = []
        while self.peek() and self.peek() not in ends:
            parts.append(self.scripted(parts))
        return "".join(parts)

    def scripted(self, before: list[str]) -> str:
        token = self.take()
        base = self.atom(token)
        if token in ("+", "-", "\\pm") and (not before or not before[-1].endswith(AFTER)):
            base = base.replace("<mo>", '<mo form="prefix">')  # a sign, not a sum
        if token in ("\\big", "\\Big") and self.peek() in ("_", "^"):
            # A script would keep the closing sign from growing: it goes to the group instead.
            start = max((i for i, part in enumerate(before) if "minsize" in part), default=0)
            base = _group("".join(before[start:]) + base)
            del before[start:]
        sub, sup = [], []
        while self.peek() in ("_", "^", "'"):
            mark = self.take()
            if mark == "_":
                sub.append(self.argument())
            elif mark == "^":
                sup.append(self.argument())
            else:  # as a superscript, Chrome would raise a sign twice that fonts draw high
                base = f'<mrow>{base}<mo lspace="0" rspace="0">′</mo></mrow>'
        limits = token.removeprefix("\\") in LIMITS
        text = _with_scripts(base, _single(sub), _single(sup), limits)
        # TeX keeps a named function from its neighbours; MathML does so nowhere.
        if token.removeprefix("\\") in (*FUNCTIONS, "min", "max"):
            if before and before[-1].endswith(
                ("</mi>", "</mn>", "</msub>", "</msup>", "</msubsup>")
            ):
                text = '<mspace width="0.17em"/>' + text
            if self.peek() not in ("(", "\\big", "\\Big"):
                text += '<mspace width="0.17em"/>'
        return text

    def argument(self) -> str:
        token = self.take()
        if token.isdigit() and len(token) > 1:
            self.tokens.append(token[1:])
            token = token[0]
        return self.atom(token)

    def atom(self, token: str) -> str:
        if token == "{":
            inside = self.row("}")
            self.take()
            return _group(inside)
        if token in FENCES:
            return f'<mo stretchy="false" lspace="0" rspace="0">{FENCES[token]}</mo>'
        if token[0] == "\\":
            return self.command(token[1:])
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{token}</mi>"
        if token in "+-*=<>,;:./!":
            return f"<mo>{escape(SIGNS.get(token, token))}</mo>"
        raise ValueError(f"no sign for {token!r}")

    def command(self, name: str) -> str:
        if name in LETTERS:
            return f"<mi>{LETTERS[name]}</mi>"
        if name in CAPITALS:
            return f'<mi mathvariant="normal">{CAPITALS[name]}</mi>'
        if name in OPERATORS:
            return f"<mo>{OPERATORS[name]}</mo>"
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        if name in LIMITS:
            return f'<mo movablelimits="true">{LIMITS[name]}</mo>'
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"/>'
        if name in ACCENTS:
            over = f'<mo stretchy="false">{ACCENTS[name]}</mo>'
            # As accents, dots and bars touch the letter in some fonts; as signs above they do not.
            close = "true" if name in ("hat", "tilde") else "false"
            return f'<mover accent="{close}">{self.argument()}{over}</mover>'
        if name in ("big", "Big"):
            size = "1.3em" if name == "big" else "1.9em"
            return f'<mo minsize="{size}" maxsize="{size}">{FENCES[self.take()]}</mo>'
        if name in ("frac", "tfrac"):
            fraction = f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
            small = f'<mstyle displaystyle="false">{fraction}</mstyle>'
            return small if name == "tfrac" else fraction
        if name == "sqrt":
            return f"<msqrt>{self.argument()}</msqrt>"
        if name in ("mathrm", "text"):
            return _upright(self.words(), name)
        if name == "begin" and self.words() == "cases":
            return self.cases()
        raise ValueError(f"no MathML for \\{name}")

    def words(self) -> str:
        if self.take() != "{":
            raise ValueError("expected { after a command for text")
        text = ""
        while (token := self.tokens.pop()) != "}":
            text += token.removeprefix("\\")
        return text

    def cases(self) -> str:
        rows, cells = [], []
        while True:
            cells.append(f"<mtd>{self.row('&', chr(92) * 2, chr(92) + 'end')}</mtd>")
            end = self.take()
            if end != "&":
                rows.append(f"<mtr>{''.join(cells)}</mtr>")
                cells = []
            if end == "\\end":
                self.words()
                return f'<mrow><mo>{{</mo><mtable class="cases">{"".join(rows)}</mtable></mrow>'


def _upright(text: str, command: str) -> str:
    if command == "text":
        return f"<mtext>{escape(text).replace(' ', chr(160))}</mtext>"
    variant = ' mathvariant="normal"' if len(text) == 1 else ""
    return f"<mi{variant}>{escape(text)}</mi>"


def _group(inside: str) -> str:
    return f"<mrow>{inside}</mrow>" if inside else ""


def _single(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else _group("".join(parts))


def _with_scripts(base: str, sub: str, sup: str, limits: bool) -> str:
    if not sub and not sup:
        return base
    low, high, both = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
    tag = both if sub and sup else low if sub else high
    return f"<{tag}>{base}{sub}{sup}</{tag}>"
