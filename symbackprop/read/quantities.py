r"""Symbols in a formula: quantities with their indices, sizes, constants, the places of indices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

from symbackprop import functions as F
from symbackprop.errors import ReadError
from symbackprop.indices import Affine, Axis, affine
from symbackprop.read.arrays import OPEN, Array, mapped, transposed
from symbackprop.read.declare import Declarations
from symbackprop.read.lexer import Source
from symbackprop.read.names import latex_letter, letter_of, spelled
from symbackprop.read.scan import Letters, Reading, Sighting, is_affine, primed, word_below
from symbackprop.read.scopes import Env, Scopes
from symbackprop.read.syntax import (
    Node,
    Number,
    Place,
    Script,
    Scripted,
    Symbol,
)
from symbackprop.read.vocabulary import GREEK
from symbackprop.symbols import (
    ONE,
    ZERO,
    Compare,
    Expr,
    Mul,
    Param,
    Position,
    Ref,
    Size,
    Sum,
    Where,
)


@dataclass
class Signature:
    """How a family is written, from where it first stands.

    Args:
        upper, lower: How many indices stand above and below.
        opened: How many of those below were left out at the first place, as in matrix notation.
    """

    name: str
    letter: str
    upper: int
    lower: int
    sup_unit: str
    brackets: str
    commas: bool
    upper_first: bool
    place: Place
    ordered: bool = False
    """It has been seen with indices above and below, so that their order is known."""


@dataclass(frozen=True)
class Definition:
    """A function that the file defines: its argument and its formula."""

    argument: str
    body: Expr
    entry: str = ""
    """The entry of the tables that it equals."""


@dataclass
class Quantities(ABC):
    """Formulas to expressions.

    Args:
        equated: Families that stand on a left side.
        sizes: Letters that end sums: they are numbers when they stand alone.
        stems: Letters of sizes that carry a layer below.
        whole: In an equation of a scalar, a function that nobody defines takes a vector as a whole.
    """

    source: Source
    declared: Declarations
    letters: Letters
    scopes: Scopes
    equated: frozenset[str] = frozenset()
    index_letters: frozenset[str] = frozenset()
    sizes: frozenset[str] = frozenset()
    stems: frozenset[str] = frozenset()
    definitions: dict[str, Definition] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    places: dict[tuple[int, Ref], Place] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    generic: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    defining: str = ""
    parameter: str = ""
    taken: set[str] = field(default_factory=set)

    def fail(self, message: str, place: Place) -> ReadError:
        return self.source.error(message, place)

    def text(self, node: Node) -> str:
        return self.source.text[node.place.start : node.place.end]

    def scalar(self, node: Node, env: Env, what: str) -> Expr:
        a = self.value(node, env)
        if a.open:
            raise self.fail(f"{self.text(node)!r} is {a.shape}; {what} is a number", node.place)
        return a.expr

    @abstractmethod
    def value(self, node: Node, env: Env) -> Array:
        """What a formula is: an expression with its open indices."""

    @abstractmethod
    def with_powers(self, v: Array, powers: tuple[Node, ...], env: Env, place: Place) -> Array:
        """What stands above something, besides indices: exponents and transposes."""

    def sighting(self, node: Symbol | Scripted, env: Env, applied: bool = False) -> Sighting:
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        letters = frozenset(env)
        if isinstance(node, Symbol):
            return Sighting(spelled(base), base.font == "bold", None, None, letters, applied, False, node.place)
        key = spelled(base) if applied else primed(base, node.primes)
        return Sighting(key, base.font == "bold", node.sub, node.sup, letters, applied, False, node.place, node.primes)

    def symbol(self, node: Symbol | Scripted, env: Env) -> Array:
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        if base.font == "operator":
            raise self.fail(f"the function {base.name} stands without an argument", node.place)
        if base.name == "1" and base.font in ("bold", "blackboard"):
            return self.ones(node, env)
        s = self.sighting(node, env)
        if (
            s.key == "e"
            and s.sub is None
            and s.sup is not None
            and not s.primes
            and "e" not in self.equated | self.declared.kinds.keys()
        ):
            exponent = self.e_exponent(s.sup, env)
            return mapped(exponent, lambda e: F.call("exp", e))
        if (size := self.size_with_word(node)) is not None:
            v = Array(Size(Axis("node", size)))
            return self.with_powers(v, s.sup.pieces, env, node.place) if s.sup is not None else v
        reading = self.letters.reading(s)
        if not reading.lower and not reading.upper and not reading.sub_unit and not reading.sup_unit:
            named = self.bare(s, node, env)
            if named is not None:
                return self.with_powers(Array(named), reading.powers, env, node.place)
        if s.sub is not None and s.key in self.stems and s.key not in self.equated:
            at = self.scopes.affine(replace(node, sup=None) if isinstance(node, Scripted) else node, env, "a size")
            assert at.name is not None
            stem, layer = self.scopes.widths.get(at.name, (at.name, None))
            return self.with_powers(Array(Size(Axis("node", stem, layer))), reading.powers, env, node.place)
        v = self.family(base, s, reading, env)
        if reading.transposed:
            v = transposed(v, self.scopes, node.place)
        return self.with_powers(v, reading.powers, env, node.place)

    def size_with_word(self, node: Node) -> str | None:
        r"""The name of a size with a word below, such as C_{in}, where the file has it."""
        if not isinstance(node, Scripted) or node.sub is None or len(node.sub.items) != 1 or node.primes:
            return None
        stem, word = letter_of(node.base), word_below(node.sub.items[0])
        name = f"{stem}_{word}"
        return name if stem and word and name in self.scopes.constants and name not in self.equated else None

    def ones(self, node: Symbol | Scripted, env: Env) -> Array:
        r"""The vector of ones, \mathbf{1}; its length is that of what it stands with."""
        if isinstance(node, Scripted) and (node.sub is not None or node.primes):
            raise self.fail(
                "a vector of ones with something below is not read; leave that out, its length is that of what it is "
                "added to or multiplied by",
                node.place,
            )
        scope = self.scopes.new(self.free_letter("j", env), node.place)
        v = Array(ONE, (scope.id,))
        return self.with_powers(v, node.sup.pieces, env, node.place) if isinstance(node, Scripted) and node.sup else v

    def e_exponent(self, sup: Script, env: Env) -> Array:
        if len(sup.items) != 1:
            raise self.fail("this exponent is not understood", sup.place)
        return self.value(sup.items[0], env)

    def bare(self, s: Sighting, node: Node, env: Env) -> Expr | None:
        """A symbol without scripts that is no family: a letter's place, a size, a constant, a function's argument."""
        if s.key == self.parameter:
            return Param(s.key)
        known = self.equated | self.declared.kinds.keys() | self.declared.labels.keys()
        if s.key in env:
            if s.key in known:
                raise self.fail(
                    f"{s.key} is an index here and a quantity elsewhere; give one of them another letter", s.place
                )
            return Position(affine(env[s.key]))
        if s.key in known or s.bold:
            return None
        if s.key in self.declared.integers:
            return Position(affine(s.key))
        if s.key in self.sizes:
            if s.key == self.declared.width:
                raise self.fail(
                    f"{s.key} stands for the width of every layer; write {s.key}_l for that of layer l", s.place
                )
            return Size(Axis("node", s.key))
        if s.key == "pi":
            return F.PI
        if s.key in self.index_letters and s.key not in self.letters.arity:
            raise self.fail(
                f"{s.key} is an index elsewhere, and nothing binds it here; give one of them another letter", s.place
            )
        if s.key in ("infty", "emptyset", "varnothing"):
            raise self.fail(f"{self.text(node)!r} is not understood here", s.place)
        return None

    def family(self, base: Symbol, s: Sighting, reading: Reading, env: Env) -> Array:
        """A quantity, with an open index for each that is left out."""
        lower = list(reading.lower)
        wanted = self.wanted(base, s, reading)
        if len(lower) < wanted:
            lower = [d for p in lower for d in digits(p)]
        if len(lower) > wanted and wanted and reading.name in self.letters.arity:
            raise self.fail(
                f"{self.text_of(s)} has {len(lower)} indices below, elsewhere {reading.name} has {wanted}", s.place
            )
        indices: list[Affine] = []
        gathered: list[tuple[str, Expr]] = []
        for p in (*reading.upper, *lower):
            datum = self.datum(p, env)
            if datum is not None:
                name, value = datum
                letter, place = self.declared.labels[name]
                scope = self.scopes.new(self.free_letter(letter, env), p.place)
                self.scopes.join(scope.id, f"letter:{letter}", place)
                gathered.append((scope.id, value))
                indices.append(affine(scope.id))
            else:
                indices.append(self.scopes.affine(p, env))
        opened: list[str] = []
        shape = self.declared.shapes.get(reading.name)
        for n in range(len(lower), wanted):
            letter = shape[0][n] if shape and n < len(shape[0]) else "jkiprsuv"[min(n - len(lower), 7)]
            scope = self.scopes.new(self.free_letter(letter, env), s.place, free=False)
            opened.append(scope.id)
            indices.append(affine(scope.id))
        ref = Ref(reading.name, tuple(indices))
        self.sign(base, s, reading, len(reading.upper), len(lower) + len(opened))
        self.places.setdefault((self.scopes.equation, ref), s.place)
        out: Expr = ref
        for scope_id, value in reversed(gathered):
            chosen = Where(Compare("==", value, Position(affine("@" + scope_id))), ONE, ZERO)
            out = Sum(scope_id, OPEN, Mul((chosen, out)))
        return Array(out, tuple(opened))

    def free_letter(self, letter: str, env: Env) -> str:
        while letter in env or letter in self.taken or letter in self.scopes.constants:
            letter += "'"
        self.taken.add(letter)
        return letter

    def text_of(self, s: Sighting) -> str:
        return self.source.text[s.place.start : s.place.end]

    def wanted(self, base: Symbol, s: Sighting, reading: Reading) -> int:
        """How many indices a family has below."""
        if reading.name in self.letters.arity:
            return self.letters.arity[reading.name]
        if reading.name in self.signatures and s.bold:
            return self.signatures[reading.name].lower
        if s.bold:
            return len(reading.lower) + (2 if base.name[:1].isupper() else 1)
        return len(reading.lower)

    def sign(self, base: Symbol, s: Sighting, reading: Reading, upper: int, lower: int) -> None:
        known = self.signatures.get(reading.name)
        if known is None:
            letter = latex_letter(base) + "'" * (s.primes if not s.applied else 0)
            if reading.sub_unit:
                word = s.sub is not None and any(isinstance(p, Symbol) and len(p.name) > 1 for p in s.sub.pieces)
                unit = words(reading.sub_unit) if word else reading.sub_unit
                letter += f"_{unit}" if len(unit) == 1 else f"_{{{unit}}}"
            elif label := self.letters.labels.get(spelled(base)):
                letter += f"_{label}" if len(label) == 1 else rf"_{{\{label}}}"
            first = bool(s.sub and s.sup and s.sup.place.start < s.sub.place.start)
            unit = reading.sup_unit
            if unit and reading.brackets == "()" and not reading.upper:
                unit = f"({latex_unit(unit)})"
            elif unit:
                unit = latex_unit(unit)
            commas = bool(s.sub and "," in s.sub.separators and all(letter_of(p) for p in s.sub.pieces))
            brackets = reading.brackets if reading.upper else "()"
            self.signatures[reading.name] = Signature(
                reading.name, letter, upper, lower, unit, brackets, commas, first, s.place, bool(s.sub and s.sup)
            )
        elif (known.upper, known.lower) != (upper, lower):
            raise self.fail(
                f"{self.text_of(s)} has {upper} {'index' if upper == 1 else 'indices'} above and {lower} below, on "
                f"line {known.place.line} {reading.name} has {known.upper} above and {known.lower} below",
                s.place,
            )
        elif s.sub is not None and s.sup is not None and not known.ordered:
            known.ordered, known.upper_first = True, s.sup.place.start < s.sub.place.start

    def datum(self, node: Node, env: Env) -> tuple[str, Expr] | None:
        """A label in the place of an index: the x_t of W_{x_t c}."""
        if is_affine(node) and letter_of(node) is None:
            return None
        if isinstance(node, Symbol) or (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
            if letter_of(node) in env:
                return None
            s = self.sighting(node, env)
            reading = self.letters.reading(s)
            if reading.name in self.declared.labels:
                return reading.name, self.scalar(node, env, "a place on an axis")
            if isinstance(node, Scripted) and node.sub is not None and len(node.sub.items) == 1:
                if self.scopes.named_size(letter_of(node.base), node.sub.items[0], env, known=True):
                    return None
            if isinstance(node, Scripted) and node.sub is not None and s.key not in self.stems:
                raise self.fail(
                    f"{self.text(node)!r} in the place of an index; declare on which axis its values are places, "
                    f"as in '%| index {reading.name}: k'",
                    node.place,
                )
        return None


def digits(node: Node) -> list[Node]:
    """The digits of a number one by one, each an index of its own."""
    if isinstance(node, Number) and node.text.isdigit():
        p = node.place
        return [
            Number(c, replace(p, column=p.column + n, start=p.start + n, end=p.start + n + 1))
            for n, c in enumerate(node.text)
        ]
    return [node]


def words(unit: str) -> str:
    return unit if not unit.isalpha() or len(unit) == 1 else rf"\mathrm{{{unit}}}"


def latex_unit(unit: str) -> str:
    parts = ["\\" + u if u in GREEK else words(u) for u in unit.split(",")]
    return ",".join(parts)
