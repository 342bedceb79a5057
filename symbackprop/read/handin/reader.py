"""Reads a hand-in: finds its formulas, reads their rows, and says which of them are claims."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from symbackprop.errors import ReadError
from symbackprop.read.handin.bare import paragraphs
from symbackprop.read.handin.find import FORBIDDEN, Finder, Found
from symbackprop.read.handin.notebook import looks_like_notebook, markdown_cells
from symbackprop.read.handin.pieces import Piece, Section, check_characters, whole_text
from symbackprop.read.handin.records import Claim, HandIn, Kind
from symbackprop.read.handin.renaming import EQUALS, Renaming, group_end, pattern, renaming, substitute
from symbackprop.read.handin.renaming import latex_of as symbol
from symbackprop.read.latex import read_row
from symbackprop.read.lexer import Source, Token, lex
from symbackprop.read.macros import Expander
from symbackprop.read.rows import RawRow, Region, role, rows
from symbackprop.read.syntax import (
    Chain,
    Dots,
    Group,
    Node,
    Product,
    Row,
    Script,
    Scripted,
    Symbol,
    Text,
    Unread,
    children,
)
from symbackprop.read.vocabulary import CASES, DISPLAYS, MATRICES

MAX_FORMULA = 64 * 1024
"""Characters of a formula."""

MAX_MATHEMATICS = 256 * 1024
"""Characters of all formulas of a hand-in."""

MAX_SYMBOLS = 100_000
"""Symbols in all formulas, what macros stand for included."""

MAX_CLAIMS = 2_000

MAX_PARAGRAPHS = 5_000

MAX_LATEX = 2_000
"""Characters of a claim that are shown."""

SIGNS = frozenset({"=", ":=", "=:", "equiv"})
"""Relations that make a row a claim."""

SIGNS_OF_EQUALITY = EQUALS | {"=:"}


def read_handin(data: bytes | str, name: str = "", lets: Sequence[Renaming] = ()) -> HandIn:
    r"""The claims of a hand-in: one formula, a derivation, or a document in LaTeX, in Markdown or as a notebook.

    Never raises: what cannot be read is a claim whose row is Unread.

    Args:
        data: The bytes of a file, or its text.
        name: Its name, for the sake of the ending; what the text looks like decides where that says nothing.
        lets: Symbols that the author calls by another name; they are read as what they stand for.

    >>> [c.latex for c in read_handin("C_0 = f(a) \\\\ = f(g(z))").claims]
    ['C_0 = f(a)', '= f(g(z))']
    """
    kind: Kind = "formula"
    try:
        whole = whole_text(data)
        kind = kind_of(whole.text, name)
        reader = Reader()
        reader.read(whole, kind)
    except ReadError as e:
        claim = Claim(1, Unread(e, Source("").place(0, 0)), Source(""), "", e.line or 1, e.column or 1, False, 1, False, place_of(e))  # fmt: skip
        return HandIn((claim,), (), (), kind)
    counted = indices(reader.claims)
    names = tuple(r for r in reader.lets if r.new not in counted)
    handin = HandIn(tuple(reader.claims), names, tuple(reader.summary()), kind)
    return renamed(handin, lets)


def indices(claims: Sequence[Claim]) -> set[str]:
    """The letters that stand in scripts: where j = k is a condition on an index, no other name for it."""
    out: set[str] = set()
    for claim in claims:
        tokens = claim.raw.tokens if claim.raw else ()
        depth = 0
        for before, t in pairwise(tokens):
            opens = before.text in ("_", "^") and before.kind == "sign"
            depth += (t.text == "{" and (opens or depth > 0)) - (t.text == "}" and depth > 0)
            if (depth or opens) and t.kind == "letter":
                out.add(t.text)
    return out


def place_of(error: ReadError) -> str:
    return f"line {error.line or 1}, column {error.column or 1}"


# ---------------------------------------------------------------- what kind of text

LATEX = re.compile(r"\\documentclass\b|\\begin\{document\}|\\usepackage\b|\\(?:sub)*section\b|\\maketitle\b")
MARKDOWN = re.compile(r"^(?:#{1,6} |[ \t]*(?:```|~~~))|\$`|\*\*\w|^[-*] .*\$|<!--", re.MULTILINE)
MARKED = re.compile(r"\$|\\\[|\\\(|\\begin[ \t]*\{[ \t]*(?:" + "|".join(sorted(DISPLAYS)) + r")\*?[ \t]*\}")
ESCAPED = re.compile(r"\\[\\$%&#_{}]")

ENDINGS: dict[str, Kind] = {
    **dict.fromkeys(("md", "markdown", "mdown", "mkd", "rmd", "qmd", "html", "htm"), "markdown"),
    **dict.fromkeys(("tex", "latex", "ltx"), "latex"),
    "ipynb": "notebook",
}


def kind_of(text: str, name: str = "") -> Kind:
    """What a text is, by the ending of its name or else by how it looks.

    >>> kind_of("z = wx + b"), kind_of("# Notes\\nHere $z = wx$."), kind_of("so \\\\[ z = wx \\\\]")
    ('formula', 'markdown', 'latex')
    """
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    kind = ENDINGS.get(ending)
    if kind in ("notebook", "markdown"):
        return kind
    if kind is None and looks_like_notebook(text):
        return "notebook"
    if LATEX.search(text):
        return "latex"
    if not MARKED.search(ESCAPED.sub("", text)):
        return "markdown" if kind is None and MARKDOWN.search(text) and "\n```" in "\n" + text else "formula"
    return "markdown" if kind is None and MARKDOWN.search(text) else "latex"


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class Line:
    """A row as it was found, and what surrounds it.

    Args:
        first: It is the first row of its formula.
        before: The words between its formula and the one before.
    """

    raw: RawRow
    piece: Piece
    first: bool
    before: str


class TooMuch(Exception):
    """A budget is spent; the rest of the hand-in is not read."""

    def __init__(self, piece: Piece, why: str) -> None:
        super().__init__(why)
        self.error = piece.error(f"too large: {why}; the rest is not read", piece.place(0, 0))


@dataclass
class Reader:
    """What has been read of a hand-in so far."""

    claims: list[Claim] = field(default_factory=list)
    lets: list[Renaming] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)
    expander: Expander = field(default_factory=lambda: Expander(Source("")))
    group: int = 0
    characters: int = 0
    symbols: int = 0
    marked: bool = False
    loose: bool = False
    shown: tuple[str, str] = ("", "")
    """The symbol that the last formula consisted of, and the words before it."""

    def read(self, whole: Source, kind: Kind) -> None:
        try:
            if kind == "notebook":
                cells, others = markdown_cells(whole)
                self.note(others, "cell that is no text passed over", "cells that are no text passed over")
                for section in cells:
                    self.section(section, markdown=True)
                return
            section = Section(whole.text, whole, range(len(whole.text) + 1))
            if kind == "formula":
                self.bare(section)
            else:
                self.section(section, kind == "markdown")
        except TooMuch as e:
            row = Unread(e.error, Source("").place(0, 0))
            self.group += 1
            at = e.error.line, e.error.column
            self.claims.append(Claim(len(self.claims) + 1, row, Source(""), "", *at, False, self.group, False, place_of(e.error)))  # fmt: skip

    def summary(self) -> Iterator[str]:
        """What was passed over."""
        yield from self.notes
        for (one, many), count in self.passed.items():
            yield f"{count} {one if count == 1 else many}"

    def note(self, count: int, one: str, many: str) -> None:
        if count:
            self.notes.append(f"{count} {one if count == 1 else many}")

    def section(self, section: Section, markdown: bool) -> None:
        finder = Finder(section.text, markdown).run()
        self.notes += [f"cell {section.cell}: {n}" if section.cell else n for n in finder.notes]
        for found in finder.out:
            if found.what == "fault":
                self.fault(section, found)
            elif found.what == "definition":
                self.define(section, found)
            else:
                cut = section.unquoted if markdown else section.piece
                self.formula(cut(found.start, found.end), section, found.environment, found.before)

    def bare(self, section: Section) -> None:
        for n, piece in enumerate(paragraphs(section, self.notes)):
            if n >= MAX_PARAGRAPHS:
                raise TooMuch(piece, f"more than {MAX_PARAGRAPHS} paragraphs")
            self.formula(piece, section, "bare", "")

    def define(self, section: Section, found: Found) -> None:
        """Learn a macro that is defined outside of mathematics."""
        piece = section.piece(found.start, found.end)
        try:
            self.spend(piece)
            self.tokens(piece)
        except ReadError as e:
            self.unread(e, piece, section)

    def tokens(self, piece: Piece) -> list[Token]:
        """The tokens of a formula with macros expanded, an end token last."""
        self.expander.source = piece
        return self.expander.document(lex(piece)[0])

    def spend(self, piece: Piece) -> None:
        """Count the characters of a formula before any work is done on it.

        Raises:
            ReadError: The formula is too large.
            TooMuch: So are all formulas together.
        """
        size = len(piece.text)
        if size > MAX_FORMULA:
            message = f"too large: a formula of {size} characters, at most {MAX_FORMULA} are read"
            raise piece.error(message, piece.place(0, 0))
        self.characters += size
        if self.characters > MAX_MATHEMATICS:
            raise TooMuch(piece, f"more than {MAX_MATHEMATICS} characters of formulas")

    # ------------------------------------------------------------ rows

    def formula(self, piece: Piece, section: Section, environment: str, before: str) -> None:
        """Read every row of a formula; where it hangs together badly, what can be read of it line by line."""
        try:
            self.spend(piece)
            found = list(self.raw_rows(piece, environment))
        except ReadError as e:
            self.unread(e, piece, section)
            return
        if any(isinstance(r, ReadError) for r in found) and len(parts := divided(piece, environment)) > 1:
            lines: list[tuple[RawRow | ReadError, Piece]] = []
            for part in parts:
                try:
                    lines += [(r, part) for r in self.raw_rows(part, environment)]
                except ReadError as e:
                    lines.append((e, part))
        else:
            lines = [(r, piece) for r in found]
        self.rows(lines, section, environment, before)

    def raw_rows(self, piece: Piece, environment: str) -> Iterator[RawRow | ReadError]:
        check_characters(piece)
        tokens = self.tokens(piece)
        self.symbols += len(tokens)
        if self.symbols > MAX_SYMBOLS:
            raise TooMuch(piece, f"more than {MAX_SYMBOLS} symbols in formulas")
        for r in rows(Region(environment, tokens[:-1]), piece):
            yield r if isinstance(r, RawRow) else r[0]

    def rows(
        self, lines: Sequence[tuple[RawRow | ReadError, Piece]], section: Section, environment: str, before: str
    ) -> None:
        self.marked = self.marked and bool(lines)
        for n, (raw, piece) in enumerate(merged(lines)):
            if isinstance(raw, ReadError):
                self.unread(raw, piece, section)
            else:
                self.row(Line(raw, piece, n == 0, before), section, environment)

    def row(self, line: Line, section: Section, environment: str) -> None:
        raw, piece = line.raw, line.piece
        row = forbidden(raw, piece) or read_row(raw, piece)
        self.exchanged(line)
        goes_on = self.marked and environment in INLINE and AND.fullmatch(line.before) is not None
        self.marked = line.first and (goes_on or MARK.search(line.before) is not None)
        why = passed_over(row, raw, environment)
        if why:
            self.passed[why] += 1
            self.loose = self.loose or environment not in INLINE
            return
        continued = row.continued if isinstance(row, Row) else role(raw.tokens[0]) == "relation"
        if continued and self.loose and self.claims:
            row = Unread(piece.error("this line goes on from one that is no equation", raw.tokens[0]), row.place)
        self.loose = False
        definition = isinstance(row, Row) and is_definition(row, self.marked)
        self.add(row, piece, section, raw, continued, definition)
        self.renamings(line, definition)

    def add(
        self,
        row: Row | Unread,
        piece: Piece,
        section: Section,
        raw: RawRow | None,
        continued: bool = False,
        definition: bool = False,
    ) -> None:
        if len(self.claims) == MAX_CLAIMS:
            raise TooMuch(piece, f"more than {MAX_CLAIMS} claims")
        start, end = (raw.tokens[0].start, raw.tokens[-1].end) if raw else (row.place.start, row.place.end)
        place = piece.place(start, end)
        self.group += not (continued and self.claims)
        self.claims.append(
            Claim(
                len(self.claims) + 1,
                row,
                piece,
                shown(piece.written(start, end)),
                place.line,
                place.column,
                continued,
                self.group,
                definition,
                section.where(piece, start),
                raw,
            )
        )

    def unread(self, error: ReadError, piece: Piece, section: Section) -> None:
        size = len(piece.text)
        start = size - len(piece.text.lstrip())
        place = piece.place(min(start, size), max(start, len(piece.text.rstrip())))
        self.add(Unread(error, place), piece, section, None, CONTINUES.match(piece.text) is not None)

    def fault(self, section: Section, found: Found) -> None:
        """Something that hides mathematics, shown with the line on which it stands."""
        end = section.text.find("\n", found.start, found.start + 200)
        piece = section.piece(found.start, end if end >= 0 else min(found.start + 200, len(section.text)))
        error = piece.error(found.message, piece.place(0, 1))
        self.add(Unread(error, piece.place(0, len(piece.text.rstrip()))), piece, section, None)

    # ------------------------------------------------------------ names

    def renamings(self, line: Line, definition: bool) -> None:
        """Keep what a marked row calls by another name, and what a marked part of any row does."""
        tokens = [t for t in line.raw.tokens if t.kind != "end"]
        for n, part in enumerate(clauses(tokens)):
            words, body = split_words(part)
            if not body or not (MARK.search(words) or (n == 0 and definition)):
                continue
            found = sides(body)
            if found is None:
                continue
            left, right = found
            if names := renaming(left, right):
                self.let(names, line, body[0].start, body[-1].end)

    def exchanged(self, line: Line) -> None:
        """Keep what prose says of two symbols: write $E$ for $C_0$, denote $C_0$ by $E$, let $E$ denote $C_0$."""
        tokens = [t for t in line.raw.tokens if t.kind != "end"]
        alone = pattern(tokens) is not None and line.first
        if alone and self.shown[0]:
            for opening, between, swapped in EXCHANGES:
                if opening.search(self.shown[1]) and between.fullmatch(line.before):
                    source = Source(self.shown[0])
                    earlier = [t for t in lex(source)[0] if t.kind != "end"]
                    pair = (tokens, earlier) if swapped else (earlier, tokens)
                    if names := renaming(*pair):
                        self.let(names, line, tokens[0].start, tokens[-1].end)
        found = pattern(tokens) if alone else None
        self.shown = (symbol(found), line.before) if found else ("", "")

    def let(self, names: tuple[str, str], line: Line, start: int, end: int) -> None:
        at = line.piece.place(start, end).line
        said = shown(line.piece.written(start, end))
        self.lets.append(Renaming(*names, at, said))


MARK = re.compile(
    r"(?<![A-Za-z])(?:let|where|define|denote|write)(?:\s+(?:us|now|also|again|we|by|the|as|write|define|denote|let))*[\s:,*_~$]*\Z",
    re.IGNORECASE,
)
"""Words right before a formula that make it a definition."""

EXCHANGES = (
    (re.compile(r"\bwrite\s*\Z", re.IGNORECASE), re.compile(r"\s*for\s*", re.IGNORECASE), False),
    (re.compile(r"\bdenote\s*\Z", re.IGNORECASE), re.compile(r"\s*by\s*", re.IGNORECASE), True),
    (
        re.compile(r"\blet\s*\Z", re.IGNORECASE),
        re.compile(r"\s*(?:denote|be|stand for|mean)\s*", re.IGNORECASE),
        False,
    ),
)
"""Words before one symbol and between it and another, and whether the new name comes last."""

AND = re.compile(r"\s*(?:,|and|, and)\s*")
"""Words between a definition and the next."""

INLINE = ("$", r"\(")

CONTINUES = re.compile(r"\s*(?:&\s*)?=")


def divided(piece: Piece, environment: str) -> list[Piece]:
    r"""The lines of a formula, cut at line ends in bare text, else at \\."""
    ends = [m.start() for m in re.finditer(r"\n" if environment == "bare" else r"\\\\", piece.text)]
    size = 1 if environment == "bare" else 2
    out: list[Piece] = []
    start = 0
    for end in (*ends, len(piece.text)):
        if piece.text[start:end].strip():
            out.append(piece.part(start, end))
        start = end + size
    return out


def merged(lines: Sequence[tuple[RawRow | ReadError, Piece]]) -> Iterator[tuple[RawRow | ReadError, Piece]]:
    """The rows, where one that says nothing alone is put together with the one that goes on from it: \\frac{..}{..} \\\\ &= .."""
    waiting: tuple[RawRow, Piece] | None = None
    for raw, piece in lines:
        if waiting is not None:
            before, same = waiting
            waiting = None
            if isinstance(raw, RawRow) and same is piece and role(raw.tokens[0]) == "relation":
                raw = replace(raw, tokens=(*before.tokens[:-1], *raw.tokens), label=before.label or raw.label)
            else:
                yield before, same
        if isinstance(raw, RawRow) and not has_equals(raw.tokens):
            waiting = raw, piece
        else:
            yield raw, piece
    if waiting is not None:
        yield waiting


def has_equals(tokens: Sequence[Token]) -> bool:
    return next(equals(tokens), None) is not None


def equals(tokens: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
    r"""The equals signs outside of scripts, arguments and brackets: where each begins and ends, and what it is.

    What an \overset and its like put a note on is one of them.
    """
    depth, n = 0, 0
    while n < len(tokens):
        t, start = tokens[n], n
        r = role(t)
        depth += (r in ("open", "left brace", "begin")) - (r in ("close", "right brace", "finish"))
        n += 1
        if r == "stack" and n + 1 < len(tokens):
            body = group_end(tokens, n)
            n = group_end(tokens, body) if body < len(tokens) else body
            t = next((x for x in tokens[body:n] if x.text in SIGNS_OF_EQUALITY), t)
        if depth <= 0 and t.text in SIGNS_OF_EQUALITY and t.kind in ("sign", "command"):
            yield start, n, t.text


def sides(tokens: Sequence[Token]) -> tuple[list[Token], list[Token]] | None:
    """The new name and what it stands for, in a part of a row with one equals sign."""
    found = list(equals(tokens))
    if len(found) != 1:
        return None
    start, end, sign = found[0]
    left, right = list(tokens[:start]), list(tokens[end:])
    return (right, left) if sign == "=:" else (left, right)


def forbidden(raw: RawRow, piece: Piece) -> Unread | None:
    for t in raw.tokens:
        if t.kind == "command" and t.text in FORBIDDEN:
            error = piece.error(f"{t.text} is not followed: {FORBIDDEN[t.text]}", t)
            return Unread(error, piece.place(raw.tokens[0].start, raw.tokens[-1].end))
    return None


WITHOUT = "formula without an equals sign", "formulas without an equals sign"
UNKNOWN = (
    "formula without an equals sign that is not understood",
    "formulas without an equals sign that are not understood",
)
RANGE = "range of an index", "ranges of an index"


def passed_over(row: Row | Unread, raw: RawRow, environment: str) -> tuple[str, str] | None:
    """Why a row is no claim, for one and for several; None where it is one."""
    if isinstance(row, Unread):
        names = {t.text for t in raw.tokens}
        if environment == "bare" or has_equals(raw.tokens) or names & FORBIDDEN.keys():
            return None
        return UNKNOWN
    if is_range(row):
        return RANGE
    inner = [c for c in row.conditions if isinstance(c, Chain) and not row.relations]
    if any(r.sign in SIGNS for r in (*row.relations, *(r for c in inner for r in c.relations))):
        return None
    return WITHOUT


def is_range(row: Row) -> bool:
    """The row says which numbers an index runs through, as in l = 1, \\dots, L."""
    parts: list[Node] = [r.right for r in row.relations]
    dots = any(isinstance(n, Dots) for c in (*parts, *row.conditions) for n in (c, *children(c)))
    if not dots:
        return False
    alone = isinstance(row.left, Symbol) and len(row.relations) == 1
    return alone or (row.left is not None and not row.relations)


def is_definition(row: Row, marked: bool) -> bool:
    """The row gives a name to something: by its sign, or by words before it."""
    if not row.relations:
        return False
    first = row.relations[0]
    if first.sign == "=:":
        return is_symbol(first.right)
    by_sign = first.sign in (":=", "equiv") or (first.note is not None and is_note_of_definition(first.note))
    by_words = marked or any(MARK.search(t.text) for t in row.intro)
    return row.left is not None and (by_sign or (first.sign == "=" and by_words)) and is_symbol(row.left)


def is_note_of_definition(note: Script) -> bool:
    words = "".join(n.text if isinstance(n, Text) else getattr(n, "name", "") for i in note.items for n in leaves(i))
    return words.strip().lower() in ("def", "def.", "definition", "triangle", "delta", "bydefinition")


def leaves(node: Node) -> Iterator[Node]:
    below = children(node)
    if not below:
        yield node
    for n in below:
        yield from leaves(n)


def is_symbol(node: Node) -> bool:
    r"""A symbol with its scripts, or one applied to an argument: E, \delta_j^{(l)}, \sigma(z)."""
    if isinstance(node, Product) and len(node.factors) == 2 and isinstance(node.factors[1], Group):
        node = node.factors[0]
    base = node.base if isinstance(node, Scripted) else node
    return isinstance(base, Symbol)


def clauses(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The parts of a row that words, gaps and commas outside of brackets divide."""
    part: list[Token] = []
    depth = 0
    for t in tokens:
        r = role(t)
        depth += (r in ("open", "left brace", "begin")) - (r in ("close", "right brace", "finish"))
        if depth == 0 and part and (t.text in (r"\quad", ",", ";") or (r == "text" and not all_words(part))):
            yield part
            part = []
        if t.text not in (r"\quad", ",", ";") or depth:
            part.append(t)
    if part:
        yield part


def all_words(tokens: Sequence[Token]) -> bool:
    return all(role(t) == "text" for t in tokens)


def split_words(tokens: Sequence[Token]) -> tuple[str, list[Token]]:
    """The words that a part begins with, and the rest."""
    n = next((k for k, t in enumerate(tokens) if role(t) != "text"), len(tokens))
    return " ".join(t.text for t in tokens[:n]), list(tokens[n:])


# ---------------------------------------------------------------- as the author wrote it

INVISIBLE = re.compile(r"\\label\s*\{[^{}]*\}|(?<!\\)%[^\n]*\n?")
COLUMNS = re.compile(r"\\begin\s*\{([A-Za-z]+)\*?\}|\\end\s*\{([A-Za-z]+)\*?\}|\\\\|\\.|&", re.DOTALL)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(written: str) -> str:
    r"""A row on one line, without the & and \\ that are not those of a matrix."""
    plain = INVISIBLE.sub(" ", written[: 2 * MAX_LATEX])
    tables, out, at = 0, list[str](), 0
    for m in COLUMNS.finditer(plain):
        named = m[1] or m[2]
        if named in MATRICES or named in CASES:
            tables += 1 if m[1] else -1
        elif m[0] in ("&", r"\\") and tables <= 0:
            out += [plain[at : m.start()], " "]
            at = m.end()
    out.append(plain[at:])
    line = UNPRINTABLE.sub("\ufffd", " ".join("".join(out).split()))
    return line if len(line) <= MAX_LATEX else line[:MAX_LATEX] + " ..."


# ---------------------------------------------------------------- renaming


def renamed(handin: HandIn, renamings: Sequence[Renaming]) -> HandIn:
    """The hand-in with symbols read as what they stand for; what says so itself is left as it is."""
    if not renamings:
        return handin
    saying = {(r.line, r.said) for r in renamings if r.line}
    claims = tuple(
        c if c.definition and (c.line, c.latex) in saying else renamed_claim(c, renamings) for c in handin.claims
    )
    return replace(handin, claims=claims)


def renamed_claim(claim: Claim, renamings: Sequence[Renaming]) -> Claim:
    """A claim with symbols read as what they stand for; its places and its LaTeX stay those of the author."""
    if claim.raw is None or isinstance(claim.row, Unread):
        return claim
    try:
        tokens = substitute(claim.raw.tokens, renamings)
    except ReadError as e:
        return replace(claim, row=Unread(e, claim.row.place))
    if tokens == claim.raw.tokens:
        return claim
    raw = replace(claim.raw, tokens=tokens)
    return replace(claim, row=read_row(raw, claim.source), raw=raw)
