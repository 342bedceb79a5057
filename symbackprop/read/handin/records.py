"""What is read in a hand-in: its claims, in reading order, and what was passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from symbackprop.read.handin.renaming import Renaming
from symbackprop.read.lexer import Source
from symbackprop.read.rows import RawRow
from symbackprop.read.syntax import Row, Unread

Kind: TypeAlias = Literal["latex", "markdown", "notebook", "formula"]


@dataclass(frozen=True)
class Claim:
    r"""One row of mathematics that says something is equal.

    Args:
        number: From 1, in reading order.
        row: Unread where it is not understood.
        source: The text that offsets in the row refer to; the lines and columns of its places are those of the file.
        latex: The row as the author wrote it, without & and \\.
        line, column: In the file, from 1.
        continued: It begins with a relation and goes on from the claim before.
        group: From 1; a claim and those that go on from it have the same.
        definition: It gives a name: marked by := or its like, or by a word such as let. Whether it may is for others.
        where: Its place in words; in a notebook the cell and the line in it.
        raw: Its tokens, from which it can be read anew with symbols renamed.
    """

    number: int
    row: Row | Unread
    source: Source = field(repr=False, compare=False)
    latex: str
    line: int
    column: int
    continued: bool
    group: int
    definition: bool
    where: str
    raw: RawRow | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class HandIn:
    """A hand-in read.

    Args:
        lets: The other names for symbols that the author gives, in reading order, and none that were asked for.
        notes: What was passed over, and how often.
        kind: What the text was taken for.
    """

    claims: tuple[Claim, ...]
    lets: tuple[Renaming, ...]
    notes: tuple[str, ...]
    kind: Kind
