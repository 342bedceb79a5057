r"""From text to tokens that know their place. Reads every LaTeX text: what has no meaning is found by the parser."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol, TypeVar

from symbackprop.errors import ReadError, ReadShapeError
from symbackprop.read.syntax import Declaration, Place
from symbackprop.read.vocabulary import COMBINING, SUBSCRIPTS, SUPERSCRIPTS, TEXTS, UNICODE, VERBATIM

MAX_BYTES = 1_000_000
MAX_DIGITS = 40

E = TypeVar("E", bound=ReadError)

Kind = Literal["command", "letter", "number", "sign", "begin", "finish", "text", "param", "par", "other", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    r"""One token.

    Args:
        kind: `begin` and `finish` are those of an environment, `text` is a \text with all it holds, `par` a blank line
            or what ends a formula like one, `other` a character without a meaning, `end` the end of the text.
        text: As written, the backslash of a command included; the name of an environment, its star dropped; of a `text`
            its argument.
        start, end: Offsets in the text as given.
        spaced: Something that prints nothing, white space to begin with, stands before it.
    """

    kind: Kind
    text: str
    start: int
    end: int
    spaced: bool = False


def written(token: Token) -> str:
    """A token as it stands in the text."""
    return {"begin": rf"\begin{{{token.text}}}", "finish": rf"\end{{{token.text}}}"}.get(token.kind, token.text)


def quoted(token: Token) -> str:
    """A token in a message."""
    return {"end": "the end", "par": "a blank line"}.get(token.kind, f"'{written(token)}'")


class Span(Protocol):
    """Whatever has a place: a token, or a Place."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


@dataclass(frozen=True)
class Source:
    """The text as given, for places and errors."""

    text: str
    lines: list[int] = field(init=False, repr=False)
    """The offset at which each line begins."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", [0, *(m.end() for m in re.finditer("\n", self.text))])

    def place(self, start: int, end: int) -> Place:
        line = bisect_right(self.lines, start)
        return Place(line, start - self.lines[line - 1] + 1, start, end)

    def error(self, message: str, span: Span) -> ReadError:
        """An error at the beginning of a span."""
        return self.raised(ReadError, message, span)

    def misfit(self, message: str, span: Span) -> ReadShapeError:
        """An error about shapes at the beginning of a span."""
        return self.raised(ReadShapeError, message, span)

    def raised(self, kind: type[E], message: str, span: Span) -> E:
        place = self.place(span.start, span.end)
        begin = self.lines[place.line - 1]
        end = self.text.find("\n", begin)
        line = self.text[begin : end if end >= 0 else len(self.text)].rstrip("\r")
        return kind(message, line, place.column, place.line)


def decode(text: str | bytes) -> Source:
    """The text of a file, refused before any work where it is too large or no text.

    Raises:
        ReadError: More than MAX_BYTES; bytes that are not UTF-8; a control character.
    """
    if len(text) > MAX_BYTES:
        raise ReadError(f"too large: {len(text)} {'bytes' if isinstance(text, bytes) else 'characters'}, at most {MAX_BYTES} are read")  # fmt: skip
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as e:
            wrong = f"byte {e.object[e.start]:#04x} at offset {e.start}"
            before = e.object[e.object.rfind(b"\n", 0, e.start) + 1 : e.start].decode("utf-8")
            line = e.object.count(b"\n", 0, e.start) + 1
            raise ReadError(f"not text in UTF-8: {wrong}", "", len(before) + 1, line) from None
    source = Source(text.removeprefix("\ufeff"))
    if found := CONTROL.search(source.text):
        at = Place(1, 1, found.start(), found.end())
        name = ESCAPES.get(found[0], f"\\x{ord(found[0]):02x}")
        raise source.error(f'a control character ({name}); if this is Python, write a raw string, r"..."', at)
    return source


CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f\ud800-\udfff]|\r(?!\n)")
ESCAPES = {"\a": r"\a", "\b": r"\b", "\v": r"\v", "\f": r"\f", "\r": r"\r", "\0": r"\0"}

TOKEN = re.compile(
    r"""
    (?P<row>\\\\\*?(?:\[\ *-?[0-9.]+\ *(?:pt|em|ex|mm|cm|in|mu|bp|pc|\\jot|\\baselineskip)\ *\])?)
    | (?P<command>\\(?:[A-Za-z]+|.|\n))
    | (?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?P<power>[eE][-+]?[0-9]+)?)
    | (?P<space>\s+)
    | (?P<comment>%[^\n]*\n?)
    | (?P<param>\#[1-9]?)
    | (?P<sign>:=|=:|\.{2,}|\|\||[-+*/=<>^_{}()\[\]|,;:.'!&~$`"?@])
    | (?P<other>.)
    """,
    re.VERBOSE,
)
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
OPENING_BRACE = re.compile(r"\s*\{")
ENVIRONMENT = re.compile(r"\s*\{\s*([A-Za-z]+)\*?\s*\}")
BLANK = re.compile(r"[ \t]*\Z")


def lex(source: Source) -> tuple[list[Token], list[Declaration]]:
    """The tokens of a text, an end token last, and its `%|` lines; comments and verbatim text are gone.

    Raises:
        ReadError: Something that hides the rest of the text is left open; a `%|` not at the beginning of a line.
    """
    text, out, declarations = source.text, list[Token](), list[Declaration]()
    at, spaced, after_comment = 0, False, False
    while at < len(text):
        if text[at].isalpha() and text[at].isascii() and text[at + 1 : at + 2].isascii():
            out.append(Token("letter", text[at], at, at + 1, spaced))
            at, spaced, after_comment = at + 1, False, False
            continue
        m = TOKEN.match(text, at)
        assert m is not None  # every character is at least `other`
        kind, end = m.lastgroup, m.end()
        if kind == "space":
            if text.count("\n", at, end) >= (1 if after_comment else 2):
                out.append(Token("par", "", at, end))
            at, spaced, after_comment = end, True, False
            continue
        if kind == "comment":
            if text.startswith("%|", at):
                declarations.append(declaration(source, at, end))
                out.append(Token("par", "", at, end))
            at, spaced, after_comment = end, True, True
            continue
        if kind == "command":
            end = command(source, m, spaced, out)
        elif kind == "row":
            out.append(Token("command", r"\\", at, end, spaced))
        elif m["power"]:
            out.append(Token("other", m[0], at, end, spaced))
        elif kind == "other":
            end = character(source, at, spaced, out)
        else:
            if kind == "number" and end - at > MAX_DIGITS:
                raise source.error(f"a number of {end - at} digits, at most {MAX_DIGITS} are read", m_span(m))
            out.append(Token(kind, m[0], at, end, spaced))  # type: ignore[arg-type]
        at, spaced, after_comment = end, False, False
    out.append(Token("end", "", len(text), len(text), spaced))
    return out, declarations


def m_span(m: re.Match[str]) -> Place:
    return Place(1, 1, m.start(), m.end())


def declaration(source: Source, start: int, end: int) -> Declaration:
    line_start = source.text.rfind("\n", 0, start) + 1
    place = source.place(start, end)
    if not BLANK.match(source.text[line_start:start]):
        raise source.error("a declaration, %|, stands at the beginning of its line", place)
    return Declaration(source.text[start + 2 : end].strip(), place)


def command(source: Source, m: re.Match[str], spaced: bool, out: list[Token]) -> int:
    """Add what a command is, and say where it ends: words and verbatim text end at their closing brace or line."""
    text, name, end = source.text, m[0], m.end()
    if name in TEXTS and (brace := OPENING_BRACE.match(text, end)):
        close = closing_brace(source, brace.end() - 1)
        if "intertext" in name:
            out.append(Token("command", r"\\", m.start(), close))
        elif close - 1 > brace.end():
            out.append(Token("text", text[brace.end() : close - 1], m.start(), close, spaced))
        return close
    if name in (r"\begin", r"\end") and (named := ENVIRONMENT.match(text, end)):
        if name == r"\begin" and named[1] in VERBATIM:
            return verbatim(source, m, named, out)
        out.append(Token("begin" if name == r"\begin" else "finish", named[1], m.start(), named.end(), spaced))
        return named.end()
    if name == r"\verb" and end < len(text):
        close = text.find(text[end], end + 1)
        if close < 0:
            raise source.error(r"this \verb is not closed", m_span(m))
        out.append(Token("other", text[m.start() : close + 1], m.start(), close + 1, spaced))
        return close + 1
    out.append(Token("command", name, m.start(), end, spaced))
    return end


def verbatim(source: Source, m: re.Match[str], named: re.Match[str], out: list[Token]) -> int:
    r"""Skip text that is shown as it is, to the end of its \end."""
    close = source.text.find(f"\\end{{{named[1]}", named.end())
    brace = source.text.find("}", close)
    if close < 0 or brace < 0:
        raise source.error(f"no \\end{{{named[1]}}} closes this", m_span(m))
    out.append(Token("par", "", m.start(), brace + 1))
    return brace + 1


def closing_brace(source: Source, start: int) -> int:
    """The offset after the brace that closes the one at `start`."""
    depth = 0
    for m in BRACES.finditer(source.text, start):
        depth += {"{": 1, "}": -1}.get(m[0], 0)
        if depth == 0:
            return m.end()
    raise source.error("no '}' closes this '{'", Place(1, 1, start, start + 1))


# ---------------------------------------------------------------- Unicode


def character(source: Source, at: int, spaced: bool, out: list[Token]) -> int:
    """Add what a character beyond the signs of LaTeX looks like, all of it at the place of the character."""
    text, c = source.text, source.text[at]
    for table, sign in ((SUBSCRIPTS, "_"), (SUPERSCRIPTS, "^")):
        if c in table:
            end = at + 1
            while end < len(text) and text[end] in table:
                end += 1
            written = sign + "{" + "".join(table[x] for x in text[at:end]) + "}"
            out.extend(Token(k, t, at, end) for k, t in plain(written))
            return end
    mark = COMBINING.get(text[at + 1 : at + 2])
    whole = unicodedata.normalize("NFD", c)
    if mark is None and len(whole) == 2 and whole[1] in COMBINING:
        c, mark, end = whole[0], COMBINING[whole[1]], at + 1
    else:
        end = at + (1 if mark is None else 2)
    letter = UNICODE.get(c, c)
    written = letter if mark is None else f"{mark}{{{letter}}}"
    if c not in UNICODE and not c.isalpha() and c not in COMBINING:
        out.append(Token("other", c, at, at + 1, spaced))
        return at + 1
    out.extend(Token(k, t, at, end, spaced) for k, t in plain(written))
    return end


@lru_cache(maxsize=1024)
def plain(written: str) -> tuple[tuple[Kind, str], ...]:
    """Kinds and texts of the tokens of a short piece of LaTeX."""
    return tuple(pairs(written))


def pairs(written: str) -> Iterator[tuple[Kind, str]]:
    for m in TOKEN.finditer(written):
        if m.lastgroup == "other":
            yield ("letter" if m[0].isalpha() else "other"), m[0]
        elif m.lastgroup != "space":
            yield m.lastgroup, m[0]  # type: ignore[misc]
