"""Formulas without marks around them, one a line, with a few words between: the list that a student writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from symbackprop.read.handin.pieces import Piece, Section
from symbackprop.read.vocabulary import CONNECTIVES, words

MAX_LINE = 64 * 1024
"""Characters of a paragraph in which words are looked for; larger ones are not read."""

MAX_MARK = 120
"""Characters in which the mark of a list or a heading is looked for."""

WORDS = (CONNECTIVES - {"const", "constant"}) | frozenset(
    words(
        "let define denote write set put so then therefore and hence we get have this which gives again also finally "
        "first second next now thus our using recall that is are"
    )
)
MARKS = frozenset({"let", "where", "define", "denote", "write"})

WORD = r"(?:" + "|".join(sorted(WORDS, key=len, reverse=True)) + r")(?![A-Za-z_^'({\\])"
RUN = re.compile(rf"(?<![A-Za-z\\_^'{{]){WORD}(?:[ \t,]+{WORD})*[ \t]*:?(?=[\s\\]|$)", re.IGNORECASE)
LONG_WORD = re.compile(r"[^\W\d_]{4,}")
APPLIED = re.compile(r"\w\(")
LIST_MARK = re.compile(r"[ \t]*(?:\d{1,3}[.)]|\(\d{1,3}\)|[a-z]\)|[*•▪])[ \t]+(?=\S)")
DASH = re.compile(r"[ \t]*-[ \t]+(?=\S)")
HEADING = re.compile(r"[ \t]*((?:[A-Za-z]{3,}[ \t]+){0,6}[A-Za-z]{3,}[ \t]*\d{0,3}[a-z]?[ \t]*[:.])[ \t]+(?=\S)")
UNFINISHED = re.compile(r"[=+\-*/,&({]\s*\Z")
FILLED = re.compile(r"^[^\S\n]*\S[^\n]*", re.MULTILINE)
WORDS_ONLY = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Edit:
    """A change that lets the formula reader see what a person sees: `put` instead of `text[start:end]`."""

    start: int
    end: int
    put: str


def paragraphs(section: Section, notes: list[str]) -> Iterator[Piece]:
    """The stretches of formulas between blank lines and lines of prose, list marks gone and words marked as such."""
    text = section.text
    lines = [m.span() for m in FILLED.finditer(text)]
    dashes = dashed(text, lines)
    prose, start, end = 0, -1, 0
    edits: list[Edit] = []
    for a, b in lines:
        if start >= 0 and text.count("\n", end, a) > 1:
            yield edited(section, start, end, edits)
            start, edits = -1, []
        if start >= 0 and b - start > MAX_LINE:
            end = b
        elif is_prose(text[a:b], text[max(start, a - 80) : a] if start >= 0 else ""):
            prose += 1
            if start >= 0:
                yield edited(section, start, end, edits)
            start, edits = -1, []
        else:
            start, end = a if start < 0 else start, b
            edits += changes(text[a:b], a, dashes)
    if start >= 0:
        yield edited(section, start, end, edits)
    if prose:
        notes.append(f"{prose} line{'s' * (prose > 1)} of prose")
    if dashes:
        notes.append("the dashes that begin the lines were taken for list marks, not for minus signs")


def is_prose(line: str, before: str) -> bool:
    """A line of words, where no formula waits for its other half."""
    if not LONG_WORD.search(line) or APPLIED.search(line) or "=" in line or "\\" in line:
        return False
    return all(c.isalnum() or c in " \t\r.,;:!?'\"()#*-–—" for c in line) and not UNFINISHED.search(before)


def dashed(text: str, lines: Sequence[tuple[int, int]]) -> bool:
    """Every line that holds an equation begins with a dash and a space, and there are several."""
    count = 0
    for a, b in lines:
        if text.find("=", a, b) >= 0:
            if not DASH.match(text, a, b):
                return False
            count += 1
    return count > 1


def changes(line: str, offset: int, dashes: bool) -> Iterator[Edit]:
    if len(line) > MAX_LINE:
        return
    start = 0
    for mark in (DASH,) * dashes + (LIST_MARK, HEADING):
        m = mark.match(line, start, start + MAX_MARK)
        if m and not (mark is HEADING and MARKS & set(WORDS_ONLY.findall(m[1].lower()))):
            start = m.end()
    if start:
        yield Edit(offset, offset + start, " " * start)
    depth, at = 0, start
    for m in RUN.finditer(line, start):
        depth += line.count("{", at, m.start()) - line.count("}", at, m.start())
        at = m.start()
        if depth == 0 and any(len(w) > 2 for w in WORDS_ONLY.findall(m[0])):
            run = m[0].rstrip(": \t")
            yield Edit(offset + m.start(), offset + m.end(), rf"\text{{{run} }}")


def edited(section: Section, start: int, end: int, edits: Sequence[Edit]) -> Piece:
    if not edits:
        return section.piece(start, end)
    parts: list[str] = []
    at: list[int] = []
    done = start
    for e in edits:
        parts += [section.text[done : e.start], e.put]
        at += [*range(done, e.start), *spread(e)]
        done = e.end
    parts.append(section.text[done:end])
    return section.changed("".join(parts), [*at, *range(done, end + 1)])


def spread(edit: Edit) -> list[int]:
    """A place for each character that was put: one after the other, and the last for those that are too many."""
    return [min(edit.start + n, max(edit.end - 1, edit.start)) for n in range(len(edit.put))]
