"""Where the text of a formula stands in the file that was handed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from symbackprop.errors import ReadError
from symbackprop.read.lexer import ESCAPES, E, Source, Span
from symbackprop.read.syntax import Place

MAX_BYTES = 1024 * 1024
"""Of a hand-in."""

MAX_SHOWN = 2_000
"""Characters of a line that an error carries along; the excerpt of a longer one is left out."""


@dataclass(frozen=True)
class Piece(Source):
    """A stretch of text from a file: offsets are its own, lines and columns those of the file.

    Args:
        whole: The file.
        origin: Where in the file each character stands, and last where the piece ends.
        offset: Where it begins in its section.
        edited: It differs from what the author wrote.
    """

    whole: Source = field(repr=False)
    origin: Sequence[int] = field(repr=False)
    offset: int = 0
    edited: bool = False

    def place(self, start: int, end: int) -> Place:
        last = len(self.origin) - 1
        p = self.whole.place(self.origin[min(start, last)], self.origin[min(end, last)])
        return Place(p.line, p.column, start, end)

    def raised(self, kind: type[E], message: str, span: Span) -> E:
        place = self.place(span.start, span.end)
        begin = self.whole.lines[place.line - 1]
        end = self.whole.text.find("\n", begin, begin + MAX_SHOWN)
        if end < 0 and len(self.whole.text) - begin <= MAX_SHOWN:
            end = len(self.whole.text)
        line = self.whole.text[begin:end].rstrip("\r") if end >= 0 else ""
        return kind(message, line, place.column, place.line)

    def part(self, start: int, end: int) -> Piece:
        return Piece(self.text[start:end], self.whole, self.origin[start : end + 1], self.offset + start, self.edited)

    def written(self, start: int, end: int) -> str:
        """What the author wrote where a span of the piece stands."""
        return self.whole.text[self.origin[start] : self.origin[end]] if self.edited else self.text[start:end]


@dataclass(frozen=True)
class Section:
    """A text with mathematics in it: a file, or a cell of a notebook.

    Args:
        cell: Its number from 1; 0 for a whole file.
    """

    text: str
    whole: Source = field(repr=False)
    origin: Sequence[int] = field(repr=False)
    cell: int = 0

    def piece(self, start: int, end: int) -> Piece:
        return Piece(self.text[start:end], self.whole, self.origin[start : end + 1], start)

    def unquoted(self, start: int, end: int) -> Piece:
        """A stretch of a quotation in Markdown, without the > that begin its lines."""
        piece = self.piece(start, end)
        _, *lines = piece.text.split("\n")
        if not lines or not all(QUOTED.match(line) for line in lines):
            return piece
        return replace(piece, text=QUOTE.sub(lambda m: " " * len(m[0]), piece.text))

    def changed(self, text: str, at: Sequence[int]) -> Piece:
        """A text made from this one: `at` says where each of its characters stands here, and last where it ends."""
        return Piece(text, self.whole, [self.origin[n] for n in at], at[0], edited=True)

    def where(self, piece: Piece, start: int) -> str:
        """A place in words: the line and column in the file, or the line in the cell."""
        if self.cell:
            return f"cell {self.cell}, line {self.text.count(chr(10), 0, piece.offset + start) + 1}"
        return str(piece.place(start, start))


def whole_text(data: bytes | str) -> Source:
    """The text of a hand-in: UTF-8, or UTF-16 that says so; old line ends made new, half characters marked.

    Raises:
        ReadError: More than MAX_BYTES, or no text.
    """
    if len(data) > MAX_BYTES:
        unit = "bytes" if isinstance(data, bytes) else "characters"
        raise ReadError(f"too large: {len(data)} {unit}, at most {MAX_BYTES} are read", "", 1, 1)
    text = decoded(data) if isinstance(data, bytes) else data
    text = LONE_RETURN.sub("\n", SURROGATE.sub("\ufffd", text.removeprefix("\ufeff")))
    return Source(text)


QUOTED = re.compile(r"[ \t]*>")
QUOTE = re.compile(r"(?m)(?<=\n)[ \t]*>(?:[ \t]*>)*")
LONE_RETURN = re.compile(r"\r(?!\n)")
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")


def decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as e:
            raise ReadError(f"not text in UTF-16: {e.reason} at offset {e.start}", "", 1, 1) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        before = data[data.rfind(b"\n", 0, e.start) + 1 : e.start].decode("utf-8")
        wrong = f"byte {data[e.start]:#04x} at offset {e.start}"
        raise ReadError(
            f"not text in UTF-8: {wrong}; expected a file saved as UTF-8", "", len(before) + 1, line
        ) from None


def check_characters(piece: Piece) -> None:
    """Refuse a control character: mostly a Python string that should have been raw."""
    if found := CONTROL.search(piece.text):
        name = ESCAPES.get(found[0], f"\\x{ord(found[0]):02x}")
        at = Place(1, 1, found.start(), found.end())
        raise piece.error(f'a control character ({name}); if this is Python, write a raw string, r"..."', at)
