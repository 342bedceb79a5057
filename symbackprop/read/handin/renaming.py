r"""Symbols called by another name: what `E=C_0` says, and the tokens of a row with its symbols renamed.

>>> read_let(r"\sigma = g")
Renaming(new='\\sigma', old='g', line=0, said='\\sigma = g')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from symbackprop.errors import ReadError
from symbackprop.read.lexer import Source, Token, lex
from symbackprop.read.rows import role
from symbackprop.read.vocabulary import FRACTIONS

MAX_LET = 1_000
"""Characters of a renaming."""

FITS = "; expected a symbol on each side, such as E=C_0 or \\sigma=g"

EQUALS = frozenset({"=", ":=", r"\equiv", r"\coloneqq", r"\coloneq", r"\triangleq", r"\eqdef"})
PRIMES = frozenset({"'", r"\prime"})

Flat = tuple[str, ...]


@dataclass(frozen=True)
class Renaming:
    """The author's name for something of the model.

    Args:
        new: What the author writes, as LaTeX.
        old: What it stands for.
        line: Of the file, where a hand-in says so itself; else 0.
        said: The words that say so.
    """

    new: str
    old: str
    line: int = 0
    said: str = ""

    def __str__(self) -> str:
        return f"{self.new} for {self.old}"


@dataclass(frozen=True)
class Pattern:
    """A symbol with its scripts.

    Args:
        atom: The tokens of the symbol alone.
        scripts: The signs `_` and `^`, each with its tokens without braces.
    """

    atom: tuple[Token, ...]
    scripts: dict[str, tuple[Token, ...]] = field(default_factory=dict)

    @property
    def flat(self) -> Flat:
        return texts(self.atom)

    @property
    def flat_scripts(self) -> dict[str, Flat]:
        return {sign: texts(t) for sign, t in self.scripts.items()}


def read_let(text: str) -> Renaming:
    r"""What a text such as `E=C_0` or `\sigma = g` calls by another name.

    >>> str(read_let(r"E := C_0"))
    'E for C_{0}'

    Raises:
        ReadError: It is no equation of two symbols.
    """
    if len(text) > MAX_LET:
        raise ReadError(f"a renaming of {len(text)} characters, at most {MAX_LET} are read")
    source = Source(text)
    tokens = [t for t in lex(source)[0] if t.kind not in ("end", "par") and t.text != "$"]
    at = [n for n, t in enumerate(tokens) if t.text in EQUALS and t.kind in ("sign", "command")]
    if len(at) != 1:
        raise ReadError(f"{text!r} is no renaming: {'no' if not at else 'more than one'} equals sign{FITS}")
    found = renaming(tokens[: at[0]], tokens[at[0] + 1 :])
    if found is None:
        bad = next((s for s in (tokens[: at[0]], tokens[at[0] + 1 :]) if pattern(s) is None), tokens)
        span = source.text[bad[0].start : bad[-1].end] if bad else ""
        raise ReadError(f"{span!r} is no symbol of the kind that can be renamed{FITS}" if span else f"nothing stands on one side of {text!r}{FITS}")  # fmt: skip
    return Renaming(*found, said=text.strip())


def renaming(new: Sequence[Token], old: Sequence[Token]) -> tuple[str, str] | None:
    """The names that an equation of two symbols exchanges; scripts and arguments that both share are left out.

    None where a side is more than a symbol, or its indices are letters that the other side lacks.
    """
    new, old = without_shared_argument(tuple(new), tuple(old))
    a, b = pattern(new), pattern(old)
    if a is None or b is None or (a.flat, a.flat_scripts) == (b.flat, b.flat_scripts):
        return None
    if a.scripts and a.flat_scripts == b.flat_scripts and has_letters(a):
        a, b = Pattern(a.atom), Pattern(b.atom)
    elif has_letters(a) or has_letters(b):
        return None
    return latex_of(a), latex_of(b)


def without_shared_argument(new: tuple[Token, ...], old: tuple[Token, ...]) -> tuple[tuple[Token, ...], ...]:
    """Both sides without the brackets that both end with, as in \\sigma(z) = g(z)."""
    for side in (new, old):
        if not side or side[-1].text != ")":
            return new, old
    a, b = (next((n for n, t in enumerate(s) if t.text in ("(", r"\left")), 0) for s in (new, old))
    return (new[:a], old[:b]) if a and b and texts(new[a:]) == texts(old[b:]) else (new, old)


def has_letters(p: Pattern) -> bool:
    return any(t.kind == "letter" for script in p.scripts.values() for t in script)


def texts(tokens: Sequence[Token]) -> Flat:
    return tuple(t.text for t in tokens)


def latex_of(p: Pattern) -> str:
    r"""The symbol in plain form: C_{0}, \mathcal{L}, \hat{y}."""
    out = spelled(p.atom)
    for sign in ("_", "^"):
        if sign in p.scripts:
            out += f"{sign}{{{spelled(p.scripts[sign])}}}"
    return out


def spelled(tokens: Sequence[Token]) -> str:
    parts = [rf"\text{{{t.text}}}" if t.kind == "text" else t.text for t in tokens]
    out = ""
    for n, part in enumerate(parts):
        space = n > 0 and parts[n - 1][1:].isalpha() and parts[n - 1][0] == "\\" and part[:1].isalpha()
        out += " " * space + part
    return out


# ---------------------------------------------------------------- patterns


def pattern(tokens: Sequence[Token]) -> Pattern | None:
    """The one symbol that the tokens are; None for anything else."""
    tokens = list(tokens)
    end = atom_end(tokens, 0)
    if end == 0:
        return None
    scripts: dict[str, tuple[Token, ...]] = {}
    at = end
    while at < len(tokens):
        sign, after, inner = script(tokens, at)
        if sign not in ("_", "^") or sign in scripts:
            return None
        scripts[sign] = inner
        at = after
    return Pattern(plain_atom(tokens[:end]), scripts)


def plain_atom(tokens: Sequence[Token]) -> tuple[Token, ...]:
    r"""An atom in which a font or an accent has braces around its letter: \hat y is \hat{y}."""
    if len(tokens) == 2 and role(tokens[0]) in ("font", "accent"):
        first = tokens[0]
        return (first, replace(first, kind="sign", text="{"), tokens[1], replace(first, kind="sign", text="}"))
    return tuple(tokens)


def atom_end(tokens: Sequence[Token], at: int) -> int:
    r"""Where the symbol that begins at an index ends, its scripts apart; the index itself where none begins.

    A font, an accent and the name of an operator belong to their symbol: the E of \mathrm{Error} and of \hat E is no E.
    """
    if at >= len(tokens):
        return at
    part = role(tokens[at])
    if part == "symbol":
        return at + 1
    if part not in ("font", "accent", "operatorname") or at + 1 >= len(tokens):
        return at
    at += 1
    if tokens[at].text == "*" and part == "operatorname" and at + 1 < len(tokens):
        at += 1
    return group_end(tokens, at)


def group_end(tokens: Sequence[Token], at: int) -> int:
    """Where a group in braces ends, or the one token that stands for it."""
    if tokens[at].text != "{" or tokens[at].kind != "sign":
        return at + 1
    depth = 0
    for n in range(at, len(tokens)):
        if tokens[n].kind == "sign":
            depth += {"{": 1, "}": -1}.get(tokens[n].text, 0)
        if depth == 0:
            return n + 1
    return len(tokens)


def script(tokens: Sequence[Token], at: int) -> tuple[str, int, tuple[Token, ...]]:
    """The script that begins at an index: its sign, where it ends, what it holds; an empty sign where none begins."""
    sign = tokens[at].text if at < len(tokens) and role(tokens[at]) == "script" else ""
    if sign in PRIMES:
        return "'", at + 1, ()
    if not sign or at + 1 >= len(tokens):
        return "", at, ()
    end = group_end(tokens, at + 1)
    inner = tuple(tokens[at + 1 : end])
    braced = len(inner) > 1 and inner[0].text == "{" and inner[-1].text == "}"
    return sign, end, inner[1:-1] if braced else inner


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    found = pattern([t for t in lex(Source(text))[0] if t.kind != "end"])
    if found is None:
        raise ReadError(f"{text!r} is no symbol{FITS}")
    return found


# ---------------------------------------------------------------- rows


def substitute(tokens: Sequence[Token], renamings: Sequence[Renaming]) -> tuple[Token, ...]:
    """The tokens of a row with symbols renamed, all at once, at the places where the author's names stand.

    A symbol whose own scripts leave no room for those of the other name is another symbol, and stays: with E for C_0
    that is E_n, but not E^2.
    """
    pairs = [(compiled(r.new), compiled(r.old)) for r in renamings]
    out: list[Token] = []
    at = 0
    while at < len(tokens):
        end = atom_end(tokens, at)
        if end == at:
            out.append(tokens[at])
            at += 1
            continue
        atom = texts(plain_atom(tokens[at:end]))
        for new, old in pairs:
            if new.flat == atom == ("d",) and (end >= len(tokens) or role(tokens[end]) != "script"):
                continue  # the d of a differential
            if new.flat == atom and (after := taken(tokens, end, new, old)) is not None:
                put = written(old, tokens[at], tokens[end - 1])
                out.extend(braced(put) if len(put) > 1 and needs_braces(out) else put)
                for first, last in after[1] if new.scripts else ():
                    out.extend(tokens[first:last])
                at = after[0] if new.scripts else end  # scripts that are not part of the name are looked at in turn
                break
        else:
            out.extend(tokens[at:end])
            at = end
    return tuple(out)


def taken(tokens: Sequence[Token], at: int, new: Pattern, old: Pattern) -> tuple[int, list[tuple[int, int]]] | None:
    """Where the scripts after a symbol end, and those of them that are not part of its name; None if it is another."""
    wanted = new.flat_scripts
    kept: list[tuple[int, int]] = []
    while at < len(tokens):
        sign, after, inner = script(tokens, at)
        if not sign:
            break
        if sign in wanted and wanted[sign] == texts(inner):
            del wanted[sign]
        elif sign in old.scripts:
            return None
        elif sign == "'" or sign not in old.scripts:
            kept.append((at, after))
        at = after
    return None if wanted else (at, kept)


def written(p: Pattern, first: Token, last: Token) -> list[Token]:
    """The tokens of a symbol, all at the place of another."""
    out = list(p.atom)
    for sign in ("_", "^"):
        if sign in p.scripts:
            mark = Token("sign", sign, 0, 0)
            out += [mark, replace(mark, text="{"), *p.scripts[sign], replace(mark, text="}")]
    placed = [replace(t, start=first.start, end=max(first.start, last.end), spaced=False) for t in out]
    placed[0] = replace(placed[0], spaced=first.spaced)
    return placed


def braced(tokens: list[Token]) -> list[Token]:
    brace = replace(tokens[0], kind="sign", text="{")
    return [brace, *tokens, replace(brace, text="}")]


def needs_braces(before: Sequence[Token]) -> bool:
    """What comes next is an argument that stands without braces: x_E, \\frac E n, \\frac n E."""
    if not before:
        return False
    takes = (*FRACTIONS, r"\sqrt")
    if before[-1].text in ("_", "^", *takes):
        return True
    return len(before) > 1 and before[-2].text in FRACTIONS and before[-1].text != "{"
