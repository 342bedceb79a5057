r"""From the tokens of a document to those of each row of mathematics in it: where formulas begin, end and go on.

Environments and dollars mark mathematics, and the prose between them is skipped; a text without any is mathematics as a
whole. A row ends at \\, in bare text also at a blank line, or at the end of a line that says all it has to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from symbackprop.errors import ReadError
from symbackprop.read.lexer import Source, Token, quoted
from symbackprop.read.macros import Cursor
from symbackprop.read.vocabulary import (
    ALIGNMENTS,
    BARS,
    CASES,
    CONNECTIVES,
    DISPLAYS,
    GAPS,
    INVISIBLE,
    MATRICES,
    ONE_ROW,
    ROLES,
    SIZES,
    SPACING,
    SWITCHES,
    TRANSPARENT,
    Role,
)

MAX_ROW = 20_000
"""Tokens in a row."""

MAX_ROWS = 20_000
"""Rows in a text."""

Fault = tuple[ReadError, Token]
"""What could not be read, and where it begins."""


@dataclass(frozen=True)
class RawRow:
    """The tokens of a row: spacing, labels and column ends gone, an end token last."""

    tokens: tuple[Token, ...]
    environment: str
    label: str
    tag: str


def role(token: Token) -> Role:
    """The part a token plays."""
    match token.kind:
        case "letter":
            return "symbol"
        case "command" | "sign":
            return ROLES.get(token.text, "none")
        case "text":
            return "symbol" if is_name(token.text) else "text"
        case "number" | "begin" | "finish" | "end":
            return token.kind
    return "none"


def is_name(words: str) -> bool:
    r"""Words in \text that are a name: \text{net}_j, but neither \text{if} nor \text{for each}."""
    return bool(NAME.match(words)) and words.lower() not in CONNECTIVES


NAME = re.compile(r"[A-Za-z](?:(?:[A-Za-z0-9.-]|\\?_)*[A-Za-z0-9])?\Z")


# ---------------------------------------------------------------- where mathematics is


@dataclass(frozen=True)
class Region:
    """A stretch of mathematics: the name of its environment, and the tokens inside."""

    environment: str
    tokens: Sequence[Token]


PAIRS = {"$": "$", r"\[": r"\]", r"\(": r"\)"}
MATHEMATICS = frozenset({"symbol", "fraction", "root", "partial", "nabla", "big", "left", "elementwise", "relation"})
"""Roles of commands that no prose has: outside mathematics they mean that its marks were forgotten."""


def regions(tokens: Sequence[Token], source: Source) -> Iterator[Region | Fault]:
    """The mathematics of a document, in order, and what hides some of it."""
    if not any((opens(t) and t.text not in ALIGNMENTS) or (t.kind, t.text) == ("begin", "document") for t in tokens):
        yield Region("bare", tokens[:-1])
        return
    index, line_end = 0, -1
    while tokens[index].kind != "end":
        t = tokens[index]
        if opens(t):
            double = t.text == "$" and tokens[index + 1].text == "$" and not tokens[index + 1].spaced
            try:
                close = closing(tokens, index, double, source)
            except ReadError as e:
                yield e, t
                return
            yield Region("$$" if double else t.text, tokens[index + 1 + double : close])
            index = close + double
        elif t.start > line_end and is_mathematics(t, source):
            line_end = source.text.find("\n", t.start) % (len(source.text) + 1)
            yield source.error(r"this is mathematics outside of mathematics; put it between \[ and \]", t), t
        elif t.kind == "text" and ("$" in t.text or r"\(" in t.text):
            yield source.error(r"mathematics inside of \text outside of mathematics is not read", t), t
        index += 1


def opens(token: Token) -> bool:
    if token.kind == "begin":
        return token.text in DISPLAYS or token.text in ALIGNMENTS
    return token.kind in ("sign", "command") and token.text in PAIRS


def is_mathematics(token: Token, source: Source) -> bool:
    """A token of prose is a command of mathematics, or an equals sign on a line with scripts or columns."""
    if token.kind == "command":
        return role(token) in MATHEMATICS
    if token.text not in ("=", ":="):
        return False
    near = source.text[max(0, token.start - 200) : token.end + 200]
    before, after = near[: min(token.start, 200)], near[min(token.start, 200) :]
    line = before.rpartition("\n")[2] + after.partition("\n")[0]
    return "_{" in line or "^" in line or "&=" in line


def closing(tokens: Sequence[Token], index: int, double: bool, source: Source) -> int:
    """The index of the token that closes the mathematics opened at `index`, the first of two dollars if `double`.

    Raises:
        ReadError: Nothing closes it, or an environment in it is closed by the name of another.
    """
    opener = tokens[index]
    close = PAIRS.get(opener.text, "") if opener.kind != "begin" else ""
    open_environments = [opener] if opener.kind == "begin" else []
    for n in range(index + 1 + double, len(tokens)):
        t = tokens[n]
        if t.kind == "begin":
            if t.text in DISPLAYS and t.text not in MATRICES:
                raise source.error(f"{quoted(opener)} is not closed before {quoted(t)} on {at(source, t)}", opener)
            open_environments.append(t)
        elif t.kind == "finish":
            if not open_environments:
                raise source.error(f"{quoted(t)} closes nothing", t)
            if open_environments[-1].text != t.text:
                raise source.error(f"{quoted(open_environments[-1])} is closed by {quoted(t)} on {at(source, t)}", open_environments[-1])  # fmt: skip
            open_environments.pop()
            if not open_environments and not close:
                return n
        elif not open_environments and t.text == close and t.kind in ("sign", "command"):
            if double and tokens[n + 1].text != "$":
                raise source.error("'$$' is closed by '$'", t)
            return n
        elif t.kind == "par" and close == "$":
            break
    raise source.error(f"nothing closes this {quoted(opener)}", opener)


def at(source: Source, token: Token) -> str:
    return str(source.place(token.start, token.end))


# ---------------------------------------------------------------- rows

Cut = Literal["start", "row", "line", "paragraph"]
"""What divides a row from the one before: nothing, \\\\, the end of a line of bare text, a blank line there."""


@dataclass
class Draft:
    """A row in the making: its tokens without spacing, and what decides whether the next goes on with it.

    Args:
        depth: How many brackets are open at its end.
        relates: A relation stands outside of all brackets.
    """

    cut: Cut
    tokens: list[Token]
    label: str = ""
    tag: str = ""
    depth: int = field(init=False, default=0)
    relates: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        for t in self.tokens:
            r = role(t)
            self.depth += (r in ("open", "left brace", "begin")) - (r in ("close", "right brace", "finish"))
            self.relates = self.relates or (r == "relation" and self.depth == 0)

    @property
    def first(self) -> Role:
        return next((role(t) for t in self.tokens if t.text not in GAPS), "end")

    @property
    def last(self) -> Role:
        return next((role(t) for t in reversed(self.tokens) if t.text not in GAPS), "end")

    def extend(self, other: Draft) -> None:
        """Go on with another, whose first column ends say nothing any more."""
        start = next((n for n, t in enumerate(other.tokens) if t.text not in GAPS), 0)
        self.tokens += other.tokens[start:]
        self.label, self.tag = self.label or other.label, self.tag or other.tag
        self.depth, self.relates = self.depth + other.depth, self.relates or other.relates


def rows(region: Region, source: Source, depth: int = 0) -> Iterator[RawRow | Fault]:
    """The rows of a region in order; of a row that holds nothing but an alignment, the rows of that."""
    try:
        tokens = without_options(region, source)
        drafts = [stripped(cut, part, source) for cut, part in parts(tokens, source, region.environment == "bare")]
    except ReadError as e:
        yield e, region.tokens[0]
        return
    for draft in joined(drafts, region.environment in ONE_ROW):
        inner = sole_alignment(draft.tokens)
        if inner is not None and depth < 10:
            yield from labelled(rows(inner, source, depth + 1), draft)
        elif len(draft.tokens) > MAX_ROW:
            yield source.error(f"a row of more than {MAX_ROW} symbols", draft.tokens[0]), draft.tokens[0]
        elif formula := without_gaps(draft.tokens):
            end = formula[-1].end
            yield RawRow((*formula, Token("end", "", end, end)), region.environment, draft.label, draft.tag)


def labelled(inner: Iterable[RawRow | Fault], outer: Draft) -> Iterator[RawRow | Fault]:
    """Rows of which the first takes the label and tag that stand outside of their alignment."""
    for n, row in enumerate(inner):
        if n == 0 and isinstance(row, RawRow):
            row = replace(row, label=row.label or outer.label, tag=row.tag or outer.tag)
        yield row


def parts(tokens: Sequence[Token], source: Source, bare: bool) -> list[tuple[Cut, list[Token]]]:
    r"""Tokens cut at every \\ and, in bare text, at blank lines and at line ends; never within braces."""
    out: list[tuple[Cut, list[Token]]] = [("start", [])]
    open_: list[Token] = []
    end = tokens[0].start if tokens else 0
    for t in tokens:
        r = role(t)
        if r in ("left brace", "begin"):
            open_.append(t)
        elif r in ("right brace", "finish"):
            check_close(t, open_, source)
        if bare and t.kind == "par":
            if open_:
                raise source.error(f"nothing closes this {quoted(open_[-1])} before {at(source, t)}", open_[-1])
            out.append(("paragraph", []))
        elif r == "row" and not open_:
            out.append(("row", []))
        elif t.kind != "par":
            if bare and not open_ and "\n" in source.text[end : t.start] and out[-1][1]:
                out.append(("line", []))
            out[-1][1].append(t)
            if len(out[-1][1]) > MAX_ROW:
                raise source.error(f"a row of more than {MAX_ROW} symbols", out[-1][1][0])
            if len(out) > MAX_ROWS:
                raise source.error(f"more than {MAX_ROWS} rows", t)
        end = t.end
    if open_:
        raise source.error(f"nothing closes this {quoted(open_[-1])}", open_[-1])
    return out


def check_close(token: Token, open_: list[Token], source: Source) -> None:
    """Take what a closing token closes off the stack."""
    opener = open_.pop() if open_ else None
    if opener is None:
        raise source.error(f"{quoted(token)} closes nothing that is open", token)
    if (opener.kind == "begin") != (token.kind == "finish") or (token.kind == "finish" and opener.text != token.text):
        raise source.error(f"{quoted(opener)} is closed by {quoted(token)} on {at(source, token)}", opener)


def joined(drafts: Sequence[Draft], one_row: bool) -> list[Draft]:
    r"""Rows put together where one goes on in the next: after or before an operator, within brackets.

    `&= b` is a row of its own, `&+ b` is not: it says nothing without the row before.
    """
    out: list[Draft] = []
    for n, draft in enumerate(drafts):
        if out and draft.cut != "paragraph" and (one_row or goes_on(out[-1], drafts[n : n + 20])):
            out[-1].extend(draft)
        else:
            out.append(draft)
    return out


OPERATORS = ("product", "elementwise")


def goes_on(row: Draft, following: Sequence[Draft]) -> bool:
    """The first of the drafts that follow belongs to the row."""
    more = following[0]
    if not row.tokens or row.last in ("relation", "sign", *OPERATORS) or more.first in OPERATORS:
        return True
    if more.first == "sign":
        return not more.relates or any(t.text == "+" for t in more.tokens[:2])
    if row.depth > 0 and closes_later(row.depth, following):
        return True
    if more.cut != "line":
        return False
    if more.first in ("relation", "end"):
        return not row.relates
    return not more.relates and (row.relates or more.first == "text")


def closes_later(depth: int, following: Sequence[Draft]) -> bool:
    """Brackets left open are closed before another relation or paragraph begins."""
    for more in following:
        if more.cut == "paragraph" or more.first == "relation":
            return False
        depth += more.depth
        if depth <= 0:
            return depth == 0
    return False


def without_options(region: Region, source: Source) -> list[Token]:
    """The tokens of an environment without its arguments: the number of columns, the vertical place."""
    tokens = list(region.tokens)
    cursor = Cursor([*tokens, Token("end", "", 0, 0)], source)
    if region.environment in ("aligned", "gathered", "multlined", "alignedat") and not cursor.next.spaced:
        if cursor.skip("["):
            cursor.group("]")
    if region.environment in ("alignat", "alignedat", "IEEEeqnarray") and cursor.skip("{"):
        cursor.group()
    return tokens[cursor.index :]


def sole_alignment(tokens: Sequence[Token]) -> Region | None:
    r"""The alignment that a row consists of, a large brace around it and a full stop after it apart."""
    end = len(tokens)
    while end and tokens[end - 1].text in (",", ".", ";", *GAPS) and (end < 2 or tokens[end - 2].text != r"\right"):
        end -= 1
    start = next((n for n, t in enumerate(tokens) if t.text not in GAPS), end)
    if [t.text for t in tokens[start : start + 2]] == [r"\left", r"\{"]:
        if [t.text for t in tokens[end - 2 : end]] == [r"\right", "."]:
            start, end = start + 2, end - 2
    if start >= end or tokens[start].kind != "begin" or tokens[start].text not in ALIGNMENTS:
        return None
    depth = 0
    for n in range(start, end):
        depth += (tokens[n].kind == "begin") - (tokens[n].kind == "finish")
        if depth == 0:
            return Region(tokens[start].text, tokens[start + 1 : n]) if n == end - 1 else None
    return None


# ---------------------------------------------------------------- what prints nothing


def stripped(cut: Cut, tokens: Sequence[Token], source: Source) -> Draft:
    r"""A row without spacing, colours, sizes of brackets and labels; {\bf w} in the form \mathbf{w}."""
    cursor = Cursor([*tokens, Token("end", "", 0, 0)], source)
    out: list[Token] = []
    braces: list[bool] = []
    names = {r"\label": "", r"\tag": ""}
    spaced = False
    while cursor.next.kind != "end":
        t = cursor.take()
        name = t.text if t.kind in ("command", "sign") else ""
        if name in SPACING:
            spaced = True
            continue
        if name in INVISIBLE:
            cursor.skip("*")
            argument = cursor.argument("an argument in braces", t)
            if name in names:
                names[name] = source.text[argument[0].start : argument[-1].end] if argument else ""
            spaced = True
            continue
        if name in TRANSPARENT:
            if name == r"\textcolor":
                cursor.argument("a colour and a formula", t)
            if cursor.skip("{"):
                braces.append(False)
            continue
        if name in SIZES:
            t = sized(t, cursor, source)
        elif name == "{" and cursor.next.text in SWITCHES:
            font = cursor.take()
            out.append(replace(font, text=SWITCHES[font.text]))
            braces.append(True)
        elif name == "{":
            braces.append(True)
        elif name == "}" and braces and not braces.pop():
            continue
        out.append(replace(t, spaced=True) if spaced and not t.spaced else t)
        spaced = False
        if name == "}":
            unwrap_sign(out)
    return Draft(cut, out, names[r"\label"], names[r"\tag"])


def sized(size: Token, cursor: Cursor, source: Source) -> Token:
    r"""The delimiter that a size such as \bigl belongs to; of a bar, the one of the side that the size says."""
    t = cursor.take()
    side = SIZES[size.text]
    if t.text in BARS and side:
        double = BARS[t.text] == r"\|"
        return replace(t, text={"l": r"\lVert" if double else r"\lvert", "r": r"\rVert" if double else r"\rvert"}.get(side, r"\mid"), kind="command")  # fmt: skip
    if role(t) not in ("open", "close", "bar", "product", "separator", "relation"):
        raise source.error(f"{size.text} stands before a bracket; found {quoted(t)}", size)
    return t


def unwrap_sign(out: list[Token]) -> None:
    """Take off the braces of a lone sign, {=} or {+}, that only change its spacing; a script keeps them."""
    if len(out) < 3 or out[-3].text != "{" or role(out[-2]) not in ("relation", "sign", *OPERATORS):
        return
    if len(out) == 3 or out[-4].text not in ("_", "^"):
        out[-3:] = [out[-2]]


STARTS = frozenset(
    {
        *("symbol", "number", "open", "bar", "big", "function", "operatorname", "font", "accent", "fraction", "root"),
        *("dots", "partial", "nabla", "brace", "arg", "begin", "left", "left brace"),
    }
)
"""Roles that begin a factor."""

ENDS = frozenset({"symbol", "number", "close", "bar", "dots", "finish", "right brace", "script"})
"""Roles that end one."""


def without_gaps(tokens: Sequence[Token]) -> list[Token]:
    r"""Tokens in which a gap stands only between two complete formulas, as \quad; no punctuation at the end; `:=` whole.

    The columns of a matrix keep their &.
    """
    out: list[Token] = []
    tables: list[str] = []
    gap: Token | None = None
    for t in tokens:
        if t.kind == "begin":
            tables.append(t.text)
        elif t.kind == "finish" and tables:
            tables.pop()
        if t.text in GAPS and not (t.text == "&" and tables and (tables[-1] in MATRICES or tables[-1] in CASES)):
            gap = gap or t
            continue
        if (gap or t.kind == "text") and ends_sentence(out):
            out.pop()
        if gap and out and role(out[-1]) in ENDS and role(t) in STARTS:
            out.append(replace(gap, kind="command", text=r"\quad"))
        gap = None
        if t.text == "=" and out and out[-1].text == ":":
            out[-1] = replace(out[-1], text=":=", end=t.end)
        else:
            out.append(t)
    while out and (ends_sentence(out) or (out[-1].text in (",", ";") and out[-1].kind == "sign")):
        out.pop()
    return out


def ends_sentence(out: Sequence[Token]) -> bool:
    r"""The last token is a full stop, and not the invisible bracket of \right."""
    return bool(out) and out[-1].text == "." and (len(out) < 2 or out[-2].text not in (r"\right", r"\left"))
