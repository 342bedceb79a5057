r"""The `%|` lines of a model file: what LaTeX cannot say.

Each line has a keyword of its own, or is a range such as `l = 1..L`; one that cannot be read is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from symbackprop.errors import ReadError, nearest
from symbackprop.indices import Affine, affine
from symbackprop.network import SizeRule
from symbackprop.read.lexer import Source
from symbackprop.read.names import plain_name
from symbackprop.read.syntax import Declaration, Place
from symbackprop.symbols import Role


@dataclass(frozen=True)
class Range:
    """The numbers that an index letter runs over, as written."""

    low: Affine
    high: Affine
    place: Place


@dataclass
class Declarations:
    """What the `%|` lines of a file say; families by name, index expressions in the author's numbers."""

    ranges: dict[str, Range] = field(default_factory=dict)
    width: str = ""
    kinds: dict[str, tuple[str, Place]] = field(default_factory=dict)
    labels: dict[str, tuple[str, Place]] = field(default_factory=dict)
    integers: tuple[str, ...] = ()
    rules: dict[str, SizeRule] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    zero: dict[str, Place] = field(default_factory=dict)
    shapes: dict[str, tuple[tuple[str, ...], Place]] = field(default_factory=dict)
    facts: list[tuple[str, Place]] = field(default_factory=list)
    cost: tuple[str, Place] | None = None
    meanings: dict[str, tuple[str, Place]] = field(default_factory=dict)
    order: tuple[Role, ...] = ()
    gradients: dict[str, str] = field(default_factory=dict)
    sample: str = ""
    title: str = ""
    source: str = ""
    greek: dict[str, str] = field(default_factory=dict)
    """LaTeX of index letters that are not their own name."""

    def rename(self, names: Mapping[str, str]) -> None:
        """Symbols by other names."""
        tables: tuple[dict[str, Any], ...] = (
            self.kinds,
            self.labels,
            self.zero,
            self.shapes,
            self.meanings,
            self.gradients,
        )
        for said in tables:
            for old in said.keys() & names.keys():
                said[names[old]] = said.pop(old)
        if self.cost is not None:
            self.cost = (names.get(self.cost[0], self.cost[0]), self.cost[1])


ROLES: dict[str, Role] = {"incoming": "incoming", "slope": "slope", "upstream": "upstream"}


def read_declarations(lines: tuple[Declaration, ...], source: Source) -> Declarations:
    """What the lines say together.

    Raises:
        ReadError: A line cannot be read, or contradicts another.
    """
    out = Declarations()
    for line in lines:
        Line(line, source, out).read()
    return out


@dataclass
class Line:
    """One declaration, read into the others."""

    line: Declaration
    source: Source
    out: Declarations

    def fail(self, message: str, word: str = "", within: str = "") -> ReadError:
        """An error at a word of the line, in a part of it; at its beginning where none is named."""
        place = self.line.place
        whole = self.source.text[place.start : place.end]
        start = max(whole.find(within, 2), 0) if within else 0
        found = (
            re.compile(rf"(?<![A-Za-z\\]){re.escape(word)}(?![A-Za-z])").search(whole, max(start, 2)) if word else None
        )
        at = found.start() if found else whole.find(word, max(start, 2)) if word else -1
        if at >= 0:
            place = self.source.place(place.start + at, place.start + at + len(word))
        return self.source.error(message, place)

    def read(self) -> None:
        word, _, rest = self.line.text.partition(" ")
        rest = rest.strip()
        if len(self.line.text) > MAX_DECLARATION and word not in ("title", "source", "meaning"):
            raise self.fail(f"a declaration of {len(self.line.text):,} signs; expected at most {MAX_DECLARATION}")
        if word in READERS:
            if not rest:
                raise self.fail(f"nothing follows {word!r}; expected {READERS[word][1]}")
            READERS[word][0](self, rest)
        elif RANGE.match(self.line.text):
            self.range()
        else:
            known = nearest(word, READERS)
            raise self.fail(
                f"this declaration is not understood; expected a range such as 'l = 1..L' or a keyword{known}",
                word,
            )

    # ------------------------------------------------------------ index letters and sizes

    def range(self) -> None:
        m = RANGE.match(self.line.text)
        assert m is not None
        low, high = self.affine(m[2]), self.affine(m[3])
        for letter in self.letters(m[1]):
            if letter in self.out.ranges:
                raise self.fail(f"the range of {letter} is declared twice; first on {self.out.ranges[letter].place}")
            self.out.ranges[letter] = Range(low, high, self.line.place)

    def affine(self, text: str) -> Affine:
        value, bottom, plus = self.quotient(text)
        if bottom != affine(1):
            raise self.fail(f"a division in {text.strip()!r}; a range ends at whole numbers and letters", text.strip())
        return value + plus

    def quotient(self, text: str) -> tuple[Affine, Affine, int]:
        """(top)/bottom + plus, or an expression without a division over 1."""
        m = QUOTIENT.fullmatch(text.strip())
        if m is not None:
            plus = int((m[3] or "0").replace(" ", ""))
            return Expression(m[1], self).whole(), Expression(m[2], self).whole(), plus
        return Expression(text, self).whole(), affine(1), 0

    def sizes(self, text: str) -> None:
        for piece in split(text):
            self.size(piece)

    def size(self, text: str) -> None:
        """A size that follows from others, or is a number; n_0 is the width of layer 0."""
        name, sign, rest = text.partition("=")
        if not sign:
            raise self.fail(f"expected {READERS['size'][1]}")
        name = re.sub(r"\\(?:mathrm|text)(?=\s*\{)|[{}\s]", "", name) if "_" in name else name.strip()
        (letter,) = (name,) if WIDTH.fullmatch(name) else self.letters(name)
        top, bottom, plus = self.quotient(rest)
        if letter in self.out.rules or letter in self.out.numbers:
            raise self.fail(f"the size {letter} is declared twice")
        if letter in top.names | bottom.names:
            raise self.fail(f"the size {letter} is declared by itself")
        if bottom == affine(0):
            raise self.fail(f"the size {letter} divides by zero")
        rule = SizeRule(top, bottom, plus)
        if rule.names:
            self.out.rules[letter] = rule
        elif bottom.const == 0 or rule.evaluate({}) < 0:
            raise self.fail(f"the size {letter} is {rest.strip()}; expected a whole number")
        else:
            self.out.numbers[letter] = rule.evaluate({})

    def letters(self, text: str) -> tuple[str, ...]:
        out = []
        for piece in text.split(","):
            m = LETTER.fullmatch(piece.strip())
            if m is None:
                raise self.fail(f"{piece.strip()!r} is no letter; expected letters such as i, j", piece.strip())
            if m[1].startswith("\\"):
                self.out.greek[m[1][1:]] = m[1]
            out.append(m[1].lstrip("\\"))
        return tuple(out)

    def width(self, text: str) -> None:
        (self.out.width,) = self.letters(text)[:1]

    def integer(self, text: str) -> None:
        self.out.integers = (*self.out.integers, *self.letters(text))

    # ------------------------------------------------------------ families

    def family(self, text: str) -> str:
        name = plain_name(text)
        if name is None:
            raise self.fail(f"{text.strip()!r} is no symbol; expected one such as x, \\lambda or W^{{Q}}", text.strip())
        return name

    def names(self, text: str) -> Iterator[str]:
        for piece in split(text):
            yield self.family(piece)

    def kind(self, text: str) -> None:
        kind = {"data": "input", "target": "target", "parameter": "parameter"}[self.line.text.split(" ")[0]]
        for name in self.names(text):
            if name in self.out.kinds and self.out.kinds[name][0] != kind:
                raise self.fail(f"{name} is declared twice, as two things")
            self.out.kinds[name] = (kind, self.line.place)

    def label(self, text: str) -> None:
        names, sign, letter = text.rpartition(":")
        if not sign:
            raise self.fail(f"expected {READERS['index'][1]}")
        (over,) = self.letters(letter)[:1]
        for name in self.names(names):
            self.out.labels[name] = (over, self.line.place)

    def zeros(self, text: str) -> None:
        for name in self.names(text):
            self.out.zero[name] = self.line.place

    def shape(self, text: str) -> None:
        names, sign, letters = text.rpartition(":")
        if not sign:
            raise self.fail(f"expected {READERS['shape'][1]}")
        axes = self.letters(",".join(letters.replace(",", " ").split())) if letters.strip() else ()
        for name in self.names(names):
            if name in self.out.shapes:
                raise self.fail(f"the shape of {name} is declared twice")
            self.out.shapes[name] = (axes, self.line.place)

    def fact(self, text: str) -> None:
        self.out.facts.append((text, self.line.place))

    def costs(self, text: str) -> None:
        if self.out.cost is not None:
            raise self.fail("a cost is declared twice")
        self.out.cost = (self.family(text), self.line.place)

    def meaning(self, text: str) -> None:
        names, sign, meaning = text.partition(":")
        if not sign:
            raise self.fail(f"expected {READERS['meaning'][1]}")
        for name in self.names(names):
            self.out.meanings[name] = (meaning.strip(), self.line.place)

    # ------------------------------------------------------------ notation

    def factors(self, text: str) -> None:
        words = text.split()
        if sorted(words) != sorted(ROLES):
            raise self.fail(f"expected {READERS['order'][1]}")
        self.out.order = tuple(ROLES[w] for w in words)

    def gradient(self, text: str) -> None:
        name, sign, letter = text.partition(":")
        if not sign or plain_name(letter) is None:
            raise self.fail(f"expected {READERS['gradient'][1]}")
        self.out.gradients[self.family(name)] = letter.strip()

    def samples(self, text: str) -> None:
        (self.out.sample,) = self.letters(text)[:1]

    def titled(self, text: str) -> None:
        self.out.title = text

    def sourced(self, text: str) -> None:
        self.out.source = text


MAX_DECLARATION = 400
"""No declaration that says something of the model is longer; patterns are tried on short texts only."""

WIDTH = re.compile(r"[A-Za-z]_(?:\d+|[A-Za-z]+)")
RANGE = re.compile(r"\s*([^=]*?)\s*=\s*(.*?)\s*\.\.\s*(.*?)\s*\Z")
LETTER = re.compile(r"(\\?[A-Za-z]+'*|[A-Za-z]'*)")
QUOTIENT = re.compile(r"\(?((?:[^()/]|\([^()]*\))*?)\)?\s*/\s*([^+\-/()]+?)\s*([+-]\s*\d+)?")

READERS: dict[str, tuple[Callable[[Line, str], None], str]] = {
    "width": (Line.width, "one letter for all widths, such as 'width n'"),
    "data": (Line.kind, r"symbols such as 'data x, \lambda'"),
    "target": (Line.kind, "a symbol such as 'target y'"),
    "parameter": (Line.kind, "a symbol such as 'parameter x'"),
    "index": (Line.label, "data and the index letter of the axis its values are places on, such as 'index y: k'"),
    "integer": (Line.integer, "letters such as 'integer s, p'"),
    "size": (Line.sizes, "a size by others or a number, such as 'size I = (M + 2p - K)/s + 1' or 'size n_0 = 784'"),
    "zero": (Line.zeros, "a symbol that is 0 outside its range, such as 'zero x'"),
    "shape": (Line.shape, "a symbol and the letters of its axes, such as 'shape W: j k'"),
    "fact": (Line.fact, r"an equation of data, such as 'fact \sum_j y_j = 1'"),
    "cost": (Line.costs, "the scalar that is differentiated, such as 'cost J'"),
    "meaning": (Line.meaning, "a symbol and words, such as 'meaning w: weight from node {k} to node {j}'"),
    "order": (Line.factors, "incoming, slope and upstream in some order"),
    "gradient": (Line.gradient, r"a symbol and the letter of the gradient by it, such as 'gradient z: \delta'"),
    "sample": (Line.samples, "the letter of a sample, such as 'sample x'"),
    "title": (Line.titled, "a title"),
    "source": (Line.sourced, "a source"),
}


def split(text: str) -> list[str]:
    """What commas outside braces and brackets divide."""
    out, depth = [""], 0
    for c in text:
        depth += (c in "{(") - (c in "})")
        if c == "," and not depth:
            out.append("")
        else:
            out[-1] += c
    return out


@dataclass
class Expression:
    """A whole-number expression of a declaration: M + 2p - K, s i, 3(n - 1)."""

    text: str
    line: Line
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = re.findall(
            r"\\[A-Za-z]+|[A-Za-z]_\{(?:\\(?:mathrm|text)\s*)?\{?[^{}]*\}?\}|[A-Za-z]_[A-Za-z]+|n_[0-9]|\d+|[A-Za-z]'*|\S",
            self.text,
        )

    def whole(self) -> Affine:
        if not self.tokens:
            raise self.line.fail("a number or letter is missing")
        out = self.sum()
        if self.tokens:
            raise self.line.fail(
                f"{self.tokens[0]!r} in {self.text.strip()!r} is not understood", self.tokens[0], self.text.strip()
            )
        return out

    def sum(self) -> Affine:
        sign = -1 if self.take("-") else 1
        out = self.product() * sign
        while self.tokens and self.tokens[0] in "+-":
            sign = 1 if self.tokens.pop(0) == "+" else -1
            out = out + self.product() * sign
        return out

    def product(self) -> Affine:
        out = self.factor()
        while self.tokens and self.tokens[0] not in "+-)":
            self.take("*")
            out = out * self.factor()
        return out

    def factor(self) -> Affine:
        if not self.tokens:
            raise self.line.fail(f"{self.text.strip()!r} breaks off", self.text.strip())
        t = self.tokens.pop(0)
        if t == "(":
            out = self.sum()
            if not self.take(")"):
                raise self.line.fail(f"a bracket in {self.text.strip()!r} is not closed", self.text.strip())
            return out
        if t.isdigit():
            if len(t) > 9:
                raise self.line.fail(f"{t[:9]}... is too large")
            return affine(int(t))
        if re.fullmatch(r"\\?[A-Za-z]+'*", t):
            return affine(t.lstrip("\\"))
        plain = re.sub(r"\\(?:mathrm|text)|[{}\s]", "", t)
        if re.fullmatch(r"[A-Za-z]_[A-Za-z]+", plain):
            return affine(plain)
        raise self.line.fail(f"{t!r} in {self.text.strip()!r} is not understood", t, self.text.strip())

    def take(self, sign: str) -> bool:
        found = self.tokens[:1] == [sign]
        if found:
            self.tokens.pop(0)
        return found
