"""A check for a terminal: each claim with its verdict, the place of the slip under it, and what would repair it."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from symbackprop.render.findings import SIGNS, headline, outcome, pieces, placed, printable, sentences, taken
from symbackprop.render.readable import readable

if TYPE_CHECKING:
    from symbackprop.report import Finding, Report

ASCII_SIGNS = {"proved": "[ok]", "refuted": "[wrong]", "definition": ":=", "undecided": "?", "not_understood": "!"}

COLOURS = {"proved": "32", "refuted": "31", "definition": "36", "undecided": "33", "not_understood": "35"}

SPELLED = {"−": "-", "·": "*", "′": "'", "Σ": "sum", "⋯": "...", "…": "...", "≤": "<=", "≥": ">=", "≠": "!=", "∂": "d", "≈": "~", "×": "x", "←": "<-", "→": "->", "“": '"', "”": '"', "’": "'", "–": "-"}  # fmt: skip
"""Signs of our own words in ASCII; what else is not ASCII shows as its escape."""

INDENT = "    "

LONGEST = 8
"""Lines of a formula that are shown whole; of a longer one the beginning and what is marked."""


@dataclass(frozen=True)
class Page:
    """How to write: in ASCII or not, how wide, in colour or not."""

    ascii_only: bool
    columns: int
    colour: bool

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text and code else text

    def plain(self, text: str) -> str:
        if self.ascii_only:
            text = "".join(SPELLED.get(c, c) for c in text)
        return printable(text, self.ascii_only)

    def sign(self, verdict: str) -> str:
        return (ASCII_SIGNS if self.ascii_only else SIGNS)[verdict]

    def read(self, sentence: str) -> str:
        """A sentence with its formulas as a person reads them, where that can be."""
        return "".join(self.formula_in(p) if is_formula else p for is_formula, p in pieces(sentence))

    def formula_in(self, latex: str) -> str:
        return (None if self.ascii_only else readable(latex)) or latex

    def wrapped(self, text: str, first: str = INDENT, rest: str = INDENT) -> list[str]:
        """Words in lines that fit; what is longer than a line is cut, so that it shows."""
        return textwrap.wrap(
            self.plain(text), self.columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
        ) or [first.rstrip()]


def text(report: Report, *, ascii_only: bool = False, columns: int = 100, colour: bool = False) -> str:
    """A check in lines for a terminal.

    Args:
        ascii_only: Nothing but ASCII.
        columns: The width to write for.
        colour: With colours, which say nothing that the words do not.
    """
    page = Page(ascii_only, max(columns, 24), colour)
    blocks = [list(claim(f, page)) for f in report.claims]
    return "\n\n".join("\n".join(b) for b in [*blocks, list(closing(report, page))]) + "\n"


def claim(f: Finding, page: Page) -> Iterator[str]:
    """The lines on one claim."""
    place = f"{f.place}  " if f.place else ""
    head, *more = page.wrapped(f"{f.claim}  {place}{headline(f)}", page.sign(f.verdict) + " ")
    yield page.paint(head, f"1;{COLOURS[f.verdict]}")
    yield from more
    wrong = f.fixes[0].wrong if f.fixes and f.fixes[0].wrong else f.marks
    yield from formula(f.latex, wrong, page, COLOURS["refuted"])
    for sentence in sentences(replace(f, message="") if f.verdict == "proved" else f):
        yield from page.wrapped(page.read(sentence))
    if f.fixes:
        yield page.paint(INDENT + ("Repaired" if f.verdict == "refuted" else "Perhaps meant"), "2") + ":"
        yield from formula(f.fixes[0].latex, f.fixes[0].right, page, COLOURS["proved"])
        for other in f.fixes[1:3]:
            yield from page.wrapped(page.read(f"or: {other.what or other.latex}"))
    elif f.verdict == "refuted" and f.right:
        yield page.paint(INDENT + "The right answer", "2") + ":"
        latex = f.right[-1][1]
        yield from page.wrapped((None if page.ascii_only else readable(latex)) or latex)
    for n, step in enumerate(f.proof, 1):
        yield from page.wrapped(f"{n}. {page.read(step)}", INDENT, INDENT + "   ")


def formula(latex: str, marks: Sequence[object], page: Page, code: str) -> Iterator[str]:
    """A formula in lines that fit: as a person reads it, if that can be, and as it was written, with carets under its marks."""
    reads = None if page.ascii_only else readable(latex)
    if reads is not None and reads != latex.strip():
        yield from (INDENT + reads[a:b].rstrip() for a, b in cut(reads, page.columns - len(INDENT)))
    shown, places = placed(latex, marks, page.ascii_only)
    lines = list(cut(shown, page.columns - len(INDENT)))
    touched = [any(touches(place, line, n == len(lines) - 1) for place in places) for n, line in enumerate(lines)]
    left_out = False
    for n, ((start, end), is_marked) in enumerate(zip(lines, touched, strict=True)):
        if len(lines) > LONGEST and n >= 3 and not (is_marked and sum(touched[:n]) < LONGEST):
            if not left_out:
                yield INDENT + ("..." if page.ascii_only else "…")
            left_out = True
            continue
        left_out = False
        yield page.paint(INDENT + shown[start:end].rstrip(), "2" if reads is not None else "")
        if is_marked:
            yield INDENT + page.paint(carets(shown, places, start, end, n == len(lines) - 1), code)


def touches(place: tuple[int, int], line: tuple[int, int], last: bool) -> bool:
    """Whether a mark shows in a line; one without extent shows where it stands."""
    (a, b), (start, end) = place, line
    return a < end and b > start if a < b else start <= a < end or (last and a == end)


def carets(shown: str, places: Sequence[tuple[int, int]], start: int, end: int, last: bool) -> str:
    """The line under a stretch of a formula."""
    here = [p for p in places if touches(p, (start, end), last)]
    out = ""
    for n in range(start, end + 1):
        inside = any(a <= n < b or a == b == n for a, b in here)
        out += ("^" if inside else " ") * (cells(shown[n]) if n < end else 1)
    return out.rstrip()


def cells(c: str) -> int:
    """Columns that a character takes on a terminal."""
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def cut(shown: str, room: int) -> Iterator[tuple[int, int]]:
    """Stretches of a text that fit, broken at spaces where there are any in the second half of a line."""
    start = 0
    while start < len(shown):
        end, used = start, 0
        while end < len(shown) and used + cells(shown[end]) <= room:
            used += cells(shown[end])
            end += 1
        if end < len(shown):
            space = shown.rfind(" ", start + (end - start) // 2, end)
            end = space + 1 if space > 0 else end
        yield start, max(end, start + 1)
        start = max(end, start + 1)
    if not shown:
        yield 0, 0


def closing(report: Report, page: Page) -> Iterator[str]:
    """The summary: what was taken for what, what was passed over, the counts, the first wrong claim, the goal."""
    if report.taken:
        yield from page.wrapped(f"Taken: {taken(report)}", "", "  ")
    for note in report.notes:
        yield from page.wrapped(note, "", "  ")
    if any(f.counterexample is not None and f.counterexample.inputs for f in report.claims):
        yield from page.wrapped("All numbers behind the values are in the JSON and the HTML report.", "", "  ")
    name = f"{report.file}: " if report.file else ""
    words, *more = page.wrapped(name + ". ".join(outcome(report)), "", "  ")
    yield page.paint(words, f"1;{COLOURS[report.verdict]}")
    yield from more
