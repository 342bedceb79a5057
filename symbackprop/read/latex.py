r"""The surface reader of LaTeX: text in, a tree with places out, nothing evaluated and nothing known about networks.

>>> from symbackprop.read.syntax import show
>>> show(parse_line(r"z_j^{(l)} = \sum_k w_{jk}^{(l)} a_k^{(l-1)}"))
'(= z_[j]^[(round l)] (sum_[k] (* w_[j k]^[(round l)] a_[k]^[(round (+ l -1))])))'

What is read is in `vocabulary`, what comes out in `syntax`. What is not understood is a ReadError with line and column;
nothing is dropped but prose outside of mathematics, comments, spacing and colour.
"""

from __future__ import annotations

from collections.abc import Iterator

from symbackprop.errors import ReadError
from symbackprop.read.formula import Parser
from symbackprop.read.lexer import Source, Token, decode, lex
from symbackprop.read.macros import expand
from symbackprop.read.rows import MAX_ROWS, RawRow, regions, rows
from symbackprop.read.syntax import Declaration, Document, Node, Row, Unread


def parse_document(text: str | bytes, *, strict: bool = True) -> Document:
    r"""Every row of mathematics in a text, and its `%|` lines.

    Args:
        text: LaTeX: a whole document, environments among prose, or bare formulas, one a line, or divided by \\.
        strict: Raise the first error; else rows that are not understood are `Unread` among the others.

    Raises:
        ReadError: See `strict`; and always for what is no text, too large, or hides where its rows begin.
    """
    source = decode(text)
    tokens, declarations = lex(source)
    entries = tuple(read_rows(expand(tokens, source), source))
    if strict:
        for e in entries:
            if isinstance(e, Unread):
                raise e.error
    return Document(source.text, tuple(declarations), entries)


def read_rows(tokens: list[Token], source: Source) -> Iterator[Row | Unread]:
    count = 0
    for region in regions(tokens, source):
        for raw in (region,) if isinstance(region, tuple) else rows(region, source):
            count += 1
            if count > MAX_ROWS:
                raise ReadError(f"more than {MAX_ROWS} rows")
            yield unread(*raw, source) if isinstance(raw, tuple) else read_row(raw, source)


def read_row(raw: RawRow, source: Source) -> Row | Unread:
    try:
        return Parser(list(raw.tokens), source).row(raw)
    except ReadError as e:
        place = source.place(raw.tokens[0].start, raw.tokens[-1].end)
        return Unread(e, place)


def unread(error: ReadError, token: Token, source: Source) -> Unread:
    return Unread(error, source.place(token.start, token.end))


def parse_line(text: str | bytes) -> Row:
    """The only row of a text.

    Raises:
        ReadError: It is not understood, or has no row or several.
    """
    document = parse_document(text)
    found = document.rows
    if len(found) != 1:
        source = Source(document.text)
        what = "nothing to read; expected a formula" if not found else "a second row; expected one"
        raise source.error(what, found[1].place if found else source.place(0, 0))
    return found[0]


def parse_expression(text: str | bytes) -> Node:
    """The only expression of a text: no relation, no condition.

    Raises:
        ReadError: It is not understood, or is more than an expression.
    """
    row = parse_line(text)
    if row.left is None or row.relations or row.intro or row.conditions:
        more = row.relations[0].place if row.relations else row.place
        source = decode(text)
        raise source.error(f"expected an expression, found {source.text[more.start : more.start + 20]!r}", more)
    return row.left


__all__ = ["Declaration", "Document", "Row", "Unread", "parse_document", "parse_expression", "parse_line"]
