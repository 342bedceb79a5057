"""A tokenizer for mathematics that keeps the place of every token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from symbackprop.errors import ReadError

Kind = Literal["command", "letter", "number", "sign", "end"]

MAX_LENGTH = 64 * 1024
MAX_TOKENS = 20_000

TOKEN = re.compile(r"\\(?P<command>[A-Za-z]+|[,;:!. %&{}|\\])|(?P<letter>[^\W\d_])|(?P<number>\d+)|(?P<sign>[_^{}()\[\]',+\-*/=&.<>|:])|(?P<space>\s+)")  # fmt: skip

SPACING = frozenset({",", ";", ":", "!", " ", ".", "quad", "qquad", "left", "right", "bigl", "bigr", "big", "Big", "displaystyle", "limits", "dfrac"} - {"dfrac"})  # fmt: skip

UNICODE = {
    **dict(zip("₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₊₋₌₍₎", "0123456789aehijklmnoprstuvx+-=()", strict=True)),
    "‚": ",",
}
SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ˡᴸᵗᵀ", "0123456789+-=()lLtT", strict=True))
GREEK = {"δ": "delta", "σ": "sigma", "η": "eta", "∂": "partial", "φ": "phi"}

CONTROL = {"\f": r"\f", "\b": r"\b", "\a": r"\a", "\v": r"\v", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0"}


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    column: int
    """1-based, in the text as given."""


def plain_scripts(text: str) -> tuple[str, list[int]]:
    """Unicode scripts and Greek letters in plain LaTeX, so that what the terminal shows can be pasted back.

    Returns:
        The text, and for each of its characters the place it has in `text`, for error messages.
    """
    out: list[str] = []
    origin: list[int] = []

    def write(piece: str, place: int) -> None:
        out.append(piece)
        origin.extend([place] * len(piece))

    n = 0
    while n < len(text):
        if text.startswith("C̄", n):
            write(r"\overline{C}", n)
            n += 2
            continue
        c = text[n]
        table, sign = (UNICODE, "_") if c in UNICODE else (SUPER, "^") if c in SUPER else ({}, "")
        if table:
            write(sign + "{", n)
            while n < len(text) and text[n] in table:
                write(table[text[n]], n)
                n += 1
            write("}", n - 1)
            continue
        write(f"\\{GREEK[c]} " if c in GREEK else {"′": "'", "−": "-"}.get(c, c), n)
        n += 1
    return "".join(out), [*origin, len(text)]


def tokenize(text: str) -> list[Token]:
    """The tokens of one line of mathematics, spacing dropped, an end token last.

    >>> [t.text for t in tokenize(r"w_{jk}^{(l)}")]
    ['w', '_', '{', 'j', 'k', '}', '^', '{', '(', 'l', ')', '}', '']

    Raises:
        ReadError: A character that mathematics does not use, a control character, or too much text.
    """
    if len(text) > MAX_LENGTH:
        raise ReadError(f"too long: {len(text)} characters, at most {MAX_LENGTH} are read")
    for n, c in enumerate(text):
        if (ord(c) < 32 and c not in "\n") or c == "\x7f" or (c == "\n" and n and n < len(text) - 1):
            name = CONTROL.get(c, f"\\x{ord(c):02x}")
            raise ReadError(
                f'a control character ({name}) in the formula; in Python write it as a raw string, r"..."', text, n + 1
            )
    out: list[Token] = []
    place = 0
    while place < len(text):
        m = TOKEN.match(text, place)
        if m is None:
            raise ReadError(f"{text[place]!r} has no meaning here", text, place + 1)
        kind = m.lastgroup
        value = m[kind] if kind else ""
        if kind == "command" and value in ("\\", "&", "%", "{", "}", "|"):
            raise ReadError(f"\\{value} has no meaning here", text, place + 1)
        if kind != "space" and not (kind == "command" and value in SPACING):
            out.append(Token(kind, value, place + 1))  # type: ignore[arg-type]
            if len(out) > MAX_TOKENS:
                raise ReadError(f"more than {MAX_TOKENS} symbols", text, place + 1)
        place = m.end()
    out.append(Token("end", "", len(text) + 1))
    return out
