"""The matrix form of both passes as a document: each line with its shapes, and what has no matrix form with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from symbackprop.matrix import MatrixForm, Row
from symbackprop.matrix.check import MatrixCheck
from symbackprop.matrix.heads import bare
from symbackprop.matrix.tree import Matrix
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.render.document import Block, Closing, Display, Document, Heading, Pieces, Prose
from symbackprop.render.matrix import MatrixPrinter, latex, text

LONGEST = 60
"""Symbols of a matrix form that a reader still takes in; a longer one says less than its index form."""

PASSES = (("forward", "The forward pass"), ("backward", "The backward pass"))


def matrix_document(
    rows: Sequence[Row], system: System, notation: Notation, layout: str, checks: Sequence[MatrixCheck]
) -> Document:
    """All rows, pass by pass, and what was checked."""
    page, terminal = latex(system, notation), text(system, notation)
    blocks: list[Block] = []
    for kind, heading in PASSES:
        shown = [r for r in rows if r.kind == kind and not page.says_nothing(r.form)]
        if shown:
            blocks.append(Heading((heading,)))
            blocks += [b for r in shown for b in row_blocks(r, page, terminal)]
    if checks:
        blocks.append(closing(checks))
    return Document((f"Matrix form, {layout} layout",), tuple(blocks), system, notation)


def row_blocks(row: Row, page: MatrixPrinter, terminal: MatrixPrinter) -> Iterable[Block]:
    form = row.form
    where = page.condition(form)
    condition = rf" \qquad ({where})" if where else ""
    there = terminal.condition(form)
    spoken: Pieces = (terminal(form) + (f"   ({there})" if there else ""),)
    if not isinstance(form, MatrixForm):
        yield Display(page(form) + condition, spoken)
        yield Prose((f"No matrix form: {form.reason}.".replace("..", "."),))
        return
    size = symbols(form.right)
    if size > LONGEST:
        indexed = tuple(f"{p.printer(bare(form.subject))} = {p.printer(bare(form.value))}" for p in (page, terminal))
        yield Display(indexed[0] + condition, (indexed[1] + (f"   ({there})" if there else ""),))
        yield Prose((f"In matrix form this takes {size} symbols, more than {LONGEST}: the index form is shorter.",))
        return
    yield Display(page.shaped(form) + condition, spoken)
    lines = ["  " + terminal.shaped(form)]
    set_ = [rf"${a}$ is {why}" for a, why in turned(page, form)]
    lines += [f"  {a} is {why}" for a, why in turned(terminal, form)]
    yield Display(rf"\text{{{'; '.join(set_)}.}}" if set_ else "", (lines[0],))
    yield from (Display("", (line,)) for line in lines[1:])


def symbols(e: Matrix) -> int:
    """How many arrays, numbers and operations a matrix form has."""
    return 1 + sum(map(symbols, e.parts))


def turned(printer: MatrixPrinter, form: MatrixForm) -> list[tuple[str, str]]:
    """Each transposed array with the reason."""
    return [(array, why) for array, _, why in printer.notes(form) if "transposed" in why]


def closing(checks: Sequence[MatrixCheck]) -> Closing:
    refused = [c for c in checks if c.verdict == "refuted"]
    if refused:
        return Closing(f"Refuted: {refused[0].message}", False)
    entries = sum(c.entries for c in checks)
    open_ = sum(c.verdict != "proved" for c in checks)
    left = f"; {open_} could not be evaluated" if open_ else ""
    return Closing(
        f"Checked: every step applied again, and {entries} entries of {len(checks)} matrix lines equal to their "
        f"index form on sample networks{left}.",
        not open_,
    )
