"""Formulas too wide for a page, broken over lines: how wide LaTeX is when set, and where it may be broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

PAGE = 440.0
"""Points that a formula and its left side have on a page, beside the column of numbers."""

TOKEN = re.compile(r"\\[a-zA-Z]+\*?|\\.|\s+|.", re.DOTALL)
SPACES = {
    r"\left": 2.5,
    r"\right": 2.5,
    r"\,": 1.7,
    r"\;": 2.8,
    r"\:": 2.2,
    r"\!": -1.7,
    r"\quad": 10.0,
    r"\qquad": 20.0,
    r"\ ": 3.3,
}
WIDE = {r"\sum": 14.4, r"\prod": 13.0, r"\max": 18.0, r"\cdots": 12.0, r"\ldots": 12.0, r"\tanh": 22.0, r"\exp": 16.0, r"\log": 14.0}  # fmt: skip
RELATIONS = {r"\le": 13.3, r"\ge": 13.3, r"\ne": 13.3, r"\leftarrow": 15.6, r"\cdot": 7.2, r"\odot": 12.0, r"\times": 12.0}  # fmt: skip
EMPTY = frozenset((r"\displaystyle", r"\mathopen", r"\mathclose", r"\notag", r"\middle"))
STYLES = frozenset((r"\mathbf", r"\mathrm", r"\operatorname", r"\boldsymbol", r"\text", r"\mathcal", r"\boxed", r"\hat", r"\tilde", r"\bar", r"\dot", r"\overline"))  # fmt: skip


@lru_cache(maxsize=4096)
def set_width(latex: str) -> float:
    """About how many points a formula takes when it is set in ten points."""
    return _Measure(TOKEN.findall(latex)).run()


class _Measure:
    """A walk over the tokens of a formula that adds up widths."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    def run(self, scale: float = 1.0, stop: str = "") -> float:
        total = widest = 0.0
        while self.at < len(self.tokens):
            t = self.tokens[self.at]
            if t == stop:
                break
            if t == r"\\":
                widest, total = max(widest, total), 0.0
                self.at += 1
            elif t in ("_", "^"):
                total += self.scripts(scale)
            else:
                total += self.piece(scale)
        return max(widest, total)

    def group(self, scale: float) -> float:
        """The argument of a command or script: what stands in braces, or one token."""
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        if self.at < len(self.tokens) and self.tokens[self.at] == "{":
            self.at += 1
            inner = self.run(scale, "}")
            self.at += 1
            return inner
        return self.piece(scale)

    def scripts(self, scale: float) -> float:
        """Scripts below and above stand over each other."""
        widths = []
        while self.at < len(self.tokens) and self.tokens[self.at] in ("_", "^"):
            self.at += 1
            widths.append(self.group(scale * 0.7))
        return max(widths)

    def piece(self, scale: float) -> float:
        if self.at >= len(self.tokens):
            return 0.0
        t = self.tokens[self.at]
        self.at += 1
        if t in (r"\frac", r"\binom"):
            return max(self.group(scale), self.group(scale)) + 2.4 * scale
        if t == r"\sqrt":
            return self.group(scale) + 10 * scale
        if t in (r"\substack",):
            return self.group(scale)
        if t in WIDE:
            under = self.scripts(scale) if self.at < len(self.tokens) and self.tokens[self.at] in ("_", "^") else 0.0
            return max(WIDE[t] * scale, under) + 1.7 * scale
        if t in (r"\begin", r"\end", r"\tag", r"\textcolor", r"\htmlClass"):
            self.group(0.0)
            return 0.0
        if t == "{":
            self.at -= 1
            return self.group(scale)
        if t in EMPTY or t.isspace():
            return 0.0
        if t in STYLES:
            return self.group(scale) + 0.5
        if t in SPACES:
            return SPACES[t] * scale
        if t in RELATIONS:
            return RELATIONS[t] * scale
        if t in "+-=<>":
            return (12.5 if scale == 1 else 9.0) * scale
        if t in ",;":
            return 3.6 * scale
        return (5.6 if t.isalpha() or t[0] == "\\" else 4.8) * scale


def broken(latex: str, first: float, rest: float) -> list[str]:
    r"""A formula over several lines, each but the first beginning with a sign.

    It is broken at a plus or minus sign that stands in the fewest brackets, or else between factors; brackets that are
    open there are closed by \right. and opened again by \left. on the next line.

    Args:
        first, rest: The room that the first line and the others have.

    >>> broken(r"a_1 + \left(b_1 - c_1\right)", 40, 60)
    ['a_1', '{}+ \\left(b_1 - c_1\\right)']
    """
    out: list[str] = []
    room = first
    while set_width(latex) > room:
        chosen: tuple[int, int, int] | None = None
        for place, depth, kind in places(latex):
            if place > 3 and set_width(_closed(latex[:place], depth)) <= room:
                rank = (-2 * depth - kind, place, depth)
                chosen = rank if chosen is None or rank[0] >= chosen[0] else chosen
        if chosen is None:
            break
        _, place, depth = chosen
        out.append(_closed(latex[:place], depth))
        following = latex[place:].strip()
        if following.startswith(r"\, "):
            following = r"\cdot " + following[3:]
        latex = r"\left." * depth + "{}" + following
        room = rest
    return [*out, latex]


def _closed(latex: str, depth: int) -> str:
    return latex.rstrip() + r"\right." * depth


def places(latex: str) -> Iterator[tuple[int, int, int]]:
    """Where a formula may be broken: the place, in how many brackets, and 1 for a sign or 2 between factors."""
    stack: list[str] = []
    at = 0
    for t in TOKEN.findall(latex):
        brackets = len(stack) if all(s == "(" for s in stack) else None
        if brackets is not None and at:
            if t in "+-" and latex[at - 1] == " " and latex[at + 1 : at + 2] == " ":
                yield at, brackets, 1
            elif t == r"\," and not latex[:at].rstrip().endswith("}^{") and not re.match(r"\\,\s*\\sum", latex[at:]):
                yield at, brackets, 2
        if t == r"\left":
            stack.append("(")
        elif t == r"\begin" or t == "{":
            stack.append("{")
        elif t in (r"\right", "}", r"\end") and stack:
            stack.pop()
        at += len(t)


def text_lines(latex: str, room: float) -> list[str]:
    r"""Words with formulas in dollars, in lines that fit.

    >>> text_lines("definition of $C$, (1); only one term depends on it", 120.0)
    ['definition of $C$, (1); only', 'one term depends on it']
    """
    words = re.findall(r"(?:\$[^$]*\$|[^\s$])+", latex)
    lines: list[str] = []
    for w in words:
        longer = f"{lines[-1]} {w}" if lines else w
        if lines and word_width(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(w)
    return lines


def word_width(text: str) -> float:
    """About how many points words with formulas in dollars take."""
    parts = text.split("$")
    return sum(set_width(p) if n % 2 else 4.1 * len(p) for n, p in enumerate(parts))
