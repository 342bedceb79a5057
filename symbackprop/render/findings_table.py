"""Many checks as a table: for a terminal, in Markdown, and as CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from symbackprop.render.findings import SIGNS, VERDICT_WORDS, cause_words, printable
from symbackprop.render.findings_markdown import words as escaped
from symbackprop.render.findings_text import COLOURS, Page, cells

if TYPE_CHECKING:
    from symbackprop.report import Report

COLUMNS = (
    "file",
    "verdict",
    "answered",
    "claims",
    "proved",
    "refuted",
    "undecided",
    "not_understood",
    "first_wrong_claim",
    "first_wrong_place",
    "cause",
    "convention",
    "seconds",
    "message",
)
"""Of the CSV."""


@dataclass(frozen=True)
class Line:
    """A check as one line of a table: what is left of a report when thousands have to be remembered."""

    file: str
    verdict: str
    answered: bool | None
    claims: int
    proved: int
    refuted: int
    undecided: int
    not_understood: int
    first: int | None
    place: str
    cause: str
    convention: str
    seconds: float
    message: str

    @classmethod
    def of(cls, r: Report) -> Line:
        counts, wrong = r.counts(), r.first_wrong
        return cls(
            r.file,
            "unreadable" if r.error else r.verdict,
            r.answered,
            len(r.claims),
            counts["proved"],
            counts["refuted"],
            counts["undecided"],
            counts["not_understood"],
            wrong.claim if wrong is not None else None,
            wrong.place if wrong is not None else "",
            wrong.causes[0] if wrong is not None and wrong.causes else "",
            (wrong.convention or "") if wrong is not None else "",
            r.seconds,
            r.error or why(r),
        )

    @property
    def words(self) -> str:
        return VERDICT_WORDS.get(self.verdict, self.verdict)

    @property
    def first_wrong(self) -> str:
        """Where the first slip is and what it is; for what was not checked, why."""
        if self.first is None:
            return self.message
        place = f", {self.place}" if self.place else ""
        return f"claim {self.first}{place}" + (
            f": {cause_words(self.cause)}" if self.cause not in ("", "other") else ""
        )

    @property
    def answer(self) -> str:
        return {True: "yes", False: "no", None: ""}[self.answered]


def why(r: Report) -> str:
    """Why a hand-in is neither proved nor refuted: what is said of its first claim that is neither, or that it has none."""
    if not r.claims:
        return "; ".join(r.notes) or "nothing claimed"
    first = next((f for f in r.claims if f.verdict in ("not_understood", "undecided")), None)
    return first.message if first is not None and r.first_wrong_claim is None else ""


HEADER = ("file", "verdict", "claims", "proved", "refuted", "first wrong", "answered", "seconds")


def cells_of(line: Line) -> tuple[str, ...]:
    return (
        line.file,
        line.words,
        str(line.claims),
        str(line.proved),
        str(line.refuted),
        line.first_wrong,
        line.answer,
        f"{line.seconds:.2f}",
    )


NUMBERS = (2, 3, 4, 7)
"""Columns of numbers, which stand to the right."""

CUT = ((0, 30), (5, 16), (0, 16))
"""Columns that are cut where the table is too wide, in this order, and down to which width."""


# ---------------------------------------------------------------- terminal


def table(lines: Sequence[Line], *, ascii_only: bool = False, columns: int = 100, colour: bool = False) -> str:
    """The table for a terminal, and a closing line with the counts."""
    page = Page(ascii_only, columns, colour)
    folder = common_folder([line.file for line in lines])
    rows = [[page.plain(c) for c in cells_of(line)] for line in lines]
    for row in rows:
        row[0] = row[0].removeprefix(page.plain(folder))
    kept = [n for n in range(len(HEADER)) if HEADER[n] != "answered" or any(r[n] for r in rows)]
    head = list(HEADER)
    widths = [max(width(r[n]) for r in [head, *rows]) for n in range(len(HEADER))]
    over = sum(widths[n] + 2 for n in kept) - 2 - page.columns
    for n, least in CUT:
        less = min(max(over, 0), max(widths[n] - least, 0))
        widths[n], over = widths[n] - less, over - less
    out = [laid(head, widths, kept, page)]
    for line, row in zip(lines, rows, strict=True):
        shown = laid(row, widths, kept, page)
        out.append(page.paint(shown, COLOURS.get(line.verdict, "31")) if line.verdict != "proved" else shown)
    return "\n".join([*out, "", *page.wrapped(totals(lines, folder), "", "  ")]) + "\n"


def common_folder(files: Sequence[str]) -> str:
    """The folder that all files are in, with its slash; empty where there is none."""
    shared = os.path.commonprefix(list(files)) if len(files) > 1 else ""  # noqa: RUF071 - cut at a slash below
    return shared[: shared.rfind(os.sep) + 1]


def laid(row: Sequence[str], widths: Sequence[int], kept: Sequence[int], page: Page) -> str:
    parts = []
    for n in kept:
        text = shortened(row[n], widths[n], "..." if page.ascii_only else "…", middle=n == 0)
        gap = " " * (widths[n] - width(text))
        parts.append(gap + text if n in NUMBERS else text + gap)
    return "  ".join(parts).rstrip()


def width(text: str) -> int:
    return sum(map(cells, text))


def shortened(text: str, room: int, dots: str, middle: bool) -> str:
    """A text that fits, cut at its end or in its middle: names of files differ at both ends."""
    if width(text) <= room:
        return text
    left, right = text, text if middle else ""
    half = max(room - len(dots), 0)
    while width(left) > (half - half // 2 if middle else half):
        left = left[:-1]
    while width(right) > half // 2:
        right = right[1:]
    return left + dots + right


def totals(lines: Sequence[Line], folder: str = "") -> str:
    """How many files have each verdict."""
    verdicts = (*VERDICT_WORDS, "unreadable")
    each = ((VERDICT_WORDS.get(v, v), sum(line.verdict == v for line in lines)) for v in verdicts)
    counts = ", ".join(f"{n} {word}" for word, n in each if n)
    place = f" in {folder.rstrip(os.sep) or folder}" if folder else ""
    return f"{len(lines)} file{'s' if len(lines) != 1 else ''}{place}{': ' if counts else ''}{counts}"


# ---------------------------------------------------------------- Markdown


def markdown_table(lines: Sequence[Line]) -> str:
    """The table in Markdown."""
    out = ["| " + " | ".join(HEADER) + " |", "|---|---|--:|--:|--:|---|---|--:|"]
    for line in lines:
        first, verdict, *rest = (escaped(c) for c in cells_of(line))
        out.append("| " + " | ".join([first, f"{SIGNS.get(line.verdict, '!')} {verdict}", *rest]) + " |")
    return "\n".join([*out, "", totals(lines)]) + "\n"


# ---------------------------------------------------------------- CSV


def csv_text(lines: Sequence[Line]) -> str:
    """The table as CSV, one line for each file."""
    import csv
    import io

    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow([harmless(c) for c in record(line)])
    return out.getvalue()


def record(line: Line) -> Iterator[str]:
    yield from (line.file, line.verdict, line.answer)
    yield from map(str, (line.claims, line.proved, line.refuted, line.undecided, line.not_understood))
    yield from ("" if line.first is None else str(line.first), line.place, line.cause, line.convention)
    yield from (f"{line.seconds:.3f}", line.message)


def harmless(cell: str) -> str:
    r"""A cell that a spreadsheet shows and does not compute: an apostrophe before what would begin a formula.

    >>> harmless('=HYPERLINK("http://x")'), harmless("hw.tex")
    ('\'=HYPERLINK("http://x")', 'hw.tex')
    """
    shown = printable(cell)
    begins = shown.lstrip()[:1]
    return f"'{shown}" if (begins in set("=+-@|%") and begins) or shown.startswith("\\x") else shown


__all__ = ["Line", "csv_text", "markdown_table", "table"]
