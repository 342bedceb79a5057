"""The tokens of one row, read one after the other, and what there is to say where they do not fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from symbackprop.errors import ReadError
from symbackprop.read.lexer import Source, Span, Token, quoted
from symbackprop.read.rows import role
from symbackprop.read.syntax import Place
from symbackprop.read.vocabulary import KNOWN, Role

MAX_DEPTH = 40
"""Nesting of anything in anything; the work that later walks the tree recurses as deep."""


@dataclass(frozen=True, slots=True)
class Context:
    r"""What surrounds the tokens being read.

    Args:
        bar: The bar that would close here: `|`, `\|`, or `\rvert` for one that says its side; empty for none.
        bracket: Separators divide, and a bar after a factor is one of them.
        nested: Words are factors, as in a fraction; in a row they end the formula.
        script: In a script, where `d` is a letter like any other.
    """

    bar: str = ""
    bracket: bool = False
    nested: bool = False
    script: bool = False


@dataclass
class TokenReader:
    """A place among the tokens of one row, an end token last, and what surrounds it."""

    tokens: list[Token]
    source: Source
    index: int = 0
    depth: int = 0
    context: Context = field(default_factory=Context)

    @property
    def next(self) -> Token:
        return self.tokens[self.index]

    @property
    def role(self) -> Role:
        return role(self.tokens[self.index])

    def after(self, count: int = 1) -> Token:
        """The token that many after the next one."""
        return self.tokens[min(self.index + count, len(self.tokens) - 1)]

    def take(self) -> Token:
        t = self.tokens[self.index]
        self.index += t.kind != "end"
        return t

    def split(self, first: str) -> None:
        """Take the next token for two, of which the first is `first`."""
        t = self.next
        middle = min(t.start + len(first), t.end)
        self.tokens[self.index : self.index + 1] = [
            replace(t, text=first, end=middle),
            replace(t, text=t.text[len(first) :], start=middle, spaced=False),
        ]

    def digit(self) -> Token:
        """The first digit of the next number: all that a command without braces takes."""
        if len(self.next.text) > 1:
            self.split(self.next.text[0])
        return self.take()

    def place(self, start: Token) -> Place:
        """From a token to the last one taken."""
        end = self.tokens[max(self.index - 1, 0)].end
        return self.source.place(start.start, max(start.end, end))

    @contextmanager
    def within(self, context: Context) -> Iterator[None]:
        """Read in another context; after an error nothing more is read."""
        outer, self.context = self.context, context
        yield
        self.context = outer

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Read one level down: every recursion passes through here, in an atom, a script or a note."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"nested too deeply: more than {MAX_DEPTH} levels are not read")
        yield
        self.depth -= 1

    def fail(self, message: str, span: Span | None = None) -> ReadError:
        return self.source.error(message, span or self.next)

    def unexpected(self, expected: str) -> ReadError:
        """The next token fits nowhere; say why, as far as that is known."""
        t = self.next
        match self.role:
            case "none" if t.kind == "command":
                return self.fail(f"unknown command {t.text}{similar(t.text, KNOWN)}")
            case "none" if t.text[-1:].isdigit():
                return self.fail(f"{quoted(t)} is no number in LaTeX; write 10^{{...}} for a power of ten")
            case "none":
                return self.fail(f"{quoted(t)} has no meaning here; expected {expected}")
            case "close" | "right" | "right brace" | "finish":
                return self.fail(f"{quoted(t)} closes nothing that is open; expected {expected}")
            case "script":
                return self.fail(f"nothing stands before {quoted(t)} that could carry it")
        return self.fail(f"expected {expected}, found {quoted(t)}")

    def unclosed(self, opener: Token, partner: str) -> ReadError:
        """An error at an opening bracket that is not closed by its partner, or at what stops it being reached."""
        t = self.next
        if self.role in ("end", "right brace", "row", "finish"):
            return self.fail(f"no '{partner}' closes this {quoted(opener)}", opener)
        if self.role in ("close", "right"):
            found = f"{quoted(t)} on {self.source.place(t.start, t.end)}"
            return self.fail(f"this {quoted(opener)} is closed by {found}; expected '{partner}'", opener)
        where = self.source.place(opener.start, opener.end)
        return self.unexpected(f"'{partner}' for the {quoted(opener)} of {where}")

    def missing(self) -> ReadError:
        """No factor begins here."""
        before = self.tokens[self.index - 1] if self.index else None
        known = self.role not in ("none", "script")
        if before is not None and known and role(before) in ("sign", "product", "elementwise", "relation"):
            if self.role == "sign":
                return self.fail("two signs in a row; put the second with its term in brackets")
            return self.fail(f"nothing stands between {quoted(before)} and {quoted(self.next)}", before)
        return self.unexpected("a symbol, a number or an opening bracket")


def similar(name: str, known: Iterable[str]) -> str:
    """The hint that names the one known name that another looks like, if there is one."""
    plain = {k.lstrip("\\"): k for k in sorted(known)}
    close = difflib.get_close_matches(name.lstrip("\\"), plain, n=1, cutoff=0.7)
    return f"; did you mean {plain[close[0]]}?" if close else ""
