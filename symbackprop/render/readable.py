"""A line of LaTeX as a person would type it on one line of a terminal, for reading only: nothing is understood here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from symbackprop.render.findings import alone, settable
from symbackprop.render.text import ACCENTS, ALPHABETS, SUBSCRIPT, SUPERSCRIPT, plain

SIGNS = {
    r"\partial": "∂", r"\nabla": "∇", r"\sum": "Σ", r"\prod": "Π", r"\infty": "∞", r"\top": "ᵀ", r"\intercal": "ᵀ", r"\prime": "′",
    r"\lVert": "‖", r"\rVert": "‖", r"\Vert": "‖", r"\|": "‖", r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\{": "{", r"\}": "}",
    r"\ldots": "…", r"\cdots": "⋯", r"\dots": "…", r"\lfloor": "⌊", r"\rfloor": "⌋", r"\lbrace": "{", r"\rbrace": "}", r"\mid": "|",
    r"\langle": "⟨", r"\rangle": "⟩", r"\ell": "ℓ",
}  # fmt: skip
"""Commands that stand for a sign."""

BETWEEN = {
    "=": "=", "+": "+", "-": "−", "<": "<", ">": ">", r"\cdot": "·", r"\times": "×", r"\odot": "⊙", r"\circ": "∘", r"\otimes": "⊗",
    r"\le": "≤", r"\leq": "≤", r"\ge": "≥", r"\geq": "≥", r"\ne": "≠", r"\neq": "≠", r"\approx": "≈", r"\equiv": "≡", r"\to": "→",
    r"\leftarrow": "←", r"\gets": "←", r"\in": "∈", r"\coloneqq": ":=", r"\sim": "∼", r"\propto": "∝", r"\pm": "±", r"\ast": "∗",
}  # fmt: skip
"""Signs that stand between two things, with a space on each side."""

GREEK = frozenset(
    re.findall(
        r"\w+",
        "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi varphi "
        "chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega",
    )
)
WORDS = frozenset(
    {"exp", "log", "ln", "max", "min", "tanh", "sin", "cos", "tan", "det", "arg", "sup", "argmax", "argmin"}
)
STYLES = frozenset({"operatorname", "mathrm", "text", "mathit", "mathsf", "mathtt", "textrm", "mathbb", "mathscr", "bm", "mathbin", "mathrel"})  # fmt: skip
NOTHING = frozenset({r"\left", r"\right", r"\middle", r"\bigl", r"\bigr", r"\big", r"\Big", r"\Bigl", r"\Bigr", r"\bigg", r"\!", r"\displaystyle", r"\textstyle", r"\limits", r"\nolimits", "&"})  # fmt: skip
SPACES = frozenset({r"\,", r"\;", r"\:", r"\ ", r"\quad", r"\qquad", "~"})

TOKEN = re.compile(r"\\[a-zA-Z]+\*?|\\.|\d+(?:\.\d+)?|\S", re.DOTALL)

DEPTH = 30
LENGTH = 2000


class NotReadable(Exception):
    """Something that has no form on one line."""


def readable(latex: str) -> str | None:
    r"""A line of LaTeX in Unicode, or None where something in it has no such form.

    >>> readable(r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = 2 \left( a_j^{(L)} - y_j \right) a_k^{(L-1)}")
    '∂C₀/∂wⱼₖ⁽ᴸ⁾ = 2(aⱼ⁽ᴸ⁾ − yⱼ) aₖ⁽ᴸ⁻¹⁾'
    """
    latex = alone(latex)
    inner = re.fullmatch(r"\\begin\{aligned\}(.*)\\end\{aligned\}", latex, re.DOTALL)
    latex = inner[1] if inner else latex
    if len(latex) > LENGTH or not settable(latex) or "%" in latex or "\\\\" in latex:
        return None
    reader = Reader(TOKEN.findall(latex))
    try:
        text = reader.until("", 0)
    except NotReadable:
        return None
    return text if text and not reader.tokens[reader.at :] else None


@dataclass
class Reader:
    """A walk over the tokens of a line."""

    tokens: list[str]
    at: int = 0

    def until(self, stop: str, depth: int) -> str:
        """All up to a token, which is not taken."""
        if depth > DEPTH:
            raise NotReadable
        out = ""
        kept = ""
        while self.at < len(self.tokens) and self.tokens[self.at] != stop:
            before = self.at
            text, kind = self.atom(depth)
            if not text:
                continue
            out = joined(out, text, kind, kept, self.tokens[before])
            kept = "operator" if text.startswith("∂/∂") else kind
        return out

    def atom(self, depth: int) -> tuple[str, str]:
        """The next thing with its scripts, and its kind."""
        t = self.take()
        if t in NOTHING or t in SPACES:
            if t in (r"\left", r"\right") and self.peek() == ".":
                self.take()
            return "", ""
        if t == ":" and self.peek() == "=":
            self.take()
            return ":=", "between"
        if t in BETWEEN:
            return BETWEEN[t], "between"
        if t in (r"\frac", r"\tfrac", r"\dfrac"):
            top, bottom = (self.group(depth) for _ in range(2))
            return f"{bracketed(top)}/{bracketed(bottom, bottom=True)}", "fraction"
        if t == r"\sqrt":
            return f"√({self.group(depth)})", "item"
        if t in ("}", "$", "#", "_", "^") or t in (r"\begin", r"\end"):
            raise NotReadable
        if t == "{":
            self.at -= 1
            return self.scripted(self.group(depth), depth), "item"
        return self.scripted(self.symbol(t, depth), depth), "sum" if t in (r"\sum", r"\prod") else "item"

    def symbol(self, t: str, depth: int) -> str:
        """A letter, number or sign, without its scripts."""
        if depth > DEPTH:
            raise NotReadable
        if not t.startswith("\\") or t in SIGNS:
            return SIGNS.get(t, "′" if t == "'" else t)
        name = t[1:].rstrip("*")
        if name in GREEK:
            return plain(t)
        if name in WORDS:
            return name
        if name in ACCENTS or name in ALPHABETS:
            inner = self.group(depth + 1)
            return plain(rf"\{name}{{{inner}}}") if re.fullmatch(r"\w", inner) else inner
        if name in STYLES:
            return self.group(depth + 1).replace(" ", "")
        raise NotReadable

    def scripted(self, body: str, depth: int) -> str:
        """A thing with the scripts that follow it: lower ones first, as they are read."""
        lower = upper = ""
        primes = ""
        while self.peek() in ("_", "^", "'"):
            sign = self.take()
            if sign == "'":
                primes += "′"
            elif sign == "_":
                lower += self.group(depth)
            else:
                upper += self.group(depth)
        while upper.startswith("′"):
            primes, upper = primes + "′", upper[1:]
        return body + primes + script(lower, SUBSCRIPT, "_") + script(upper, SUPERSCRIPT, "^")

    def group(self, depth: int) -> str:
        """What stands in braces, or one token."""
        if self.peek() != "{":
            if not self.peek() or self.peek() in ("}", "_", "^", "&"):
                raise NotReadable
            return self.symbol(self.take(), depth)
        self.take()
        inner = self.until("}", depth + 1)
        if self.take() != "}":
            raise NotReadable
        return inner

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else ""


def joined(out: str, text: str, kind: str, before: str, token: str) -> str:
    """Two things beside each other, with the space that keeps them apart.

    Args:
        kind, before: Of the second thing and of the first: between, fraction, operator, sum, item.
        token: What the second begins with.
    """
    last = out[-1:]
    if kind == "between":
        alone_before = not out or last in "([{|" or out.endswith(("= ", "+ ", "− "))
        return out + (text if alone_before and text in "−+" else f"{' ' if out and last != ' ' else ''}{text} ")
    if not out or last in " ([{⌊⟨∂∇|‖" or text[0] in ")]},;.⌋⟩′ᵀ|‖":
        return out + text + (" " if token == "," else "")
    if last != "−" and before not in ("sum", "operator") and "fraction" in (kind, before):
        return f"{out} · {text}"
    if (
        (text[0] in "([⌊⟨" and before != "sum")
        or last == "−"
        or (last.isdigit() and not text[0].isdigit() and last.isascii())
    ):
        return out + text
    return f"{out} {text}"


def bracketed(part: str, bottom: bool = False) -> str:
    """A part of a fraction on one line."""
    several = " " in part or "/" in part or (bottom and "(" in part and not part.startswith("∂"))
    return f"({part})" if several else part


def script(part: str, table: dict[str, str], sign: str) -> str:
    """A script in small letters where all of it has some."""
    tight = part.replace(" ", "")
    if not tight:
        return ""
    if all(c in table or c in "ᵀ′" for c in tight):
        return "".join(table.get(c, c) for c in tight)
    return sign + (tight if len(tight) == 1 else f"{{{tight}}}")


__all__ = ["readable"]
