"""Rows and tables: what stands beside and below formulas."""

from __future__ import annotations

from collections.abc import Sequence

from symbackprop.read.arithmetic import Arithmetic
from symbackprop.read.lexer import Token, quoted
from symbackprop.read.reader import Context, similar
from symbackprop.read.rows import RawRow, role
from symbackprop.read.syntax import Blank, Case, Cases, Listing, Matrix, Node, Row, Text
from symbackprop.read.vocabulary import ALIGNMENTS, CASES, MATRICES


class Tables(Arithmetic):
    """Reads the words around formulas, and the environments that hold several."""

    def row(self, raw: RawRow) -> Row:
        start = self.next
        intro: list[Text] = []
        while self.role in ("text", "words") or (intro and self.role in ("separator", "gap")):
            t = self.take()
            if role(t) in ("text", "words"):
                intro.append(Text(t.text, self.place(t)))
        left = None if self.role == "end" or self.at_relation() else self.sum()
        relations = self.relations()
        conditions = self.remarks()
        if self.role != "end":
            raise self.unexpected("the end of the row")
        return Row(tuple(intro), left, relations, conditions, raw.label, raw.tag, raw.environment, self.place(start))

    def remarks(self, stop: str = "") -> tuple[Node, ...]:
        """What follows a formula: words, and relations and expressions between separators."""
        out: list[Node] = []
        while True:
            t = self.next
            if t.text == stop:
                return tuple(out)
            match self.role:
                case "text" | "words":
                    out.append(Text(self.take().text, self.place(t)))
                case "separator" | "gap":
                    self.take()
                case "end" | "row" | "finish":
                    return tuple(out)
                case _:
                    out.append(self.chain(headless=True))

    def environment(self, begin: Token) -> Node:
        name = begin.text
        if name in CASES:
            with self.within(Context()):
                rows = self.case_rows(begin)
            return Cases(rows, self.place(begin))
        if name in MATRICES:
            if name == "array":
                self.columns(begin)
            with self.within(Context()):
                table = self.matrix_rows(begin)
            return Matrix(name, table, self.place(begin))
        if name in ALIGNMENTS:
            raise self.fail(f"{quoted(begin)} within a formula is not read; write its rows as rows of the text", begin)
        raise self.fail(f"unknown environment {name}{similar(name, [*MATRICES, *CASES])}", begin)

    def columns(self, begin: Token) -> None:
        """Take the columns of an array, {ll}."""
        if self.next.text == "[":
            while self.role != "end" and self.take().text != "]":
                pass
        opener = self.take()
        if opener.text != "{":
            raise self.fail(r"\begin{array} takes its columns in braces, such as {ll}", begin)
        while self.take().text != "}":
            if self.role == "end":
                raise self.fail("no '}' closes this '{'", opener)

    def case_rows(self, begin: Token) -> tuple[Case, ...]:
        rows: list[Case] = []
        while self.role != "finish":
            value = self.sum()
            rows.append(Case(value, self.remarks()))
            if not self.row_ends(begin):
                break
        self.finish(begin)
        if not rows:
            raise self.fail(f"{quoted(begin)} is empty", begin)
        return tuple(rows)

    def matrix_rows(self, begin: Token) -> tuple[tuple[Node, ...], ...]:
        rows: list[tuple[Node, ...]] = []
        while self.role != "finish":
            cells = [self.cell()]
            while self.next.text == "&":
                self.take()
                cells.append(self.cell())
            rows.append(tuple(cells))
            if not self.row_ends(begin):
                break
        self.finish(begin)
        if not rows:
            raise self.fail(f"{quoted(begin)} is empty", begin)
        return tuple(rows)

    def cell(self) -> Node:
        start = self.next
        parts = self.remarks(stop="&")
        if not parts:
            return Blank(self.source.place(start.start, start.start))
        return parts[0] if len(parts) == 1 else Listing(parts, ("",) * (len(parts) - 1), self.place(start))

    def row_ends(self, begin: Token) -> bool:
        """Take the end of a row of a table; False where the table ends without one."""
        if self.role == "row":
            self.take()
            return True
        if self.role != "finish":
            raise self.unexpected(rf"'\\' or \end{{{begin.text}}}")
        return False

    def finish(self, begin: Token) -> None:
        if self.next.kind != "finish" or self.next.text != begin.text:
            raise self.unclosed(begin, rf"\end{{{begin.text}}}")
        self.take()


def flat(cells: Sequence[Node]) -> tuple[Node, ...]:
    """What the cells hold, each part by itself."""
    return tuple(n for cell in cells for n in (cell.items if isinstance(cell, Listing) else (cell,)))
