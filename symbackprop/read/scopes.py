r"""Index letters in their scopes, and index expressions over them in the author's own numbers.

Every letter that a sum binds, and every one that is free on a left side, is a scope of its own with a name such as
`j#3`; what is known of one is gathered here until axes are decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from symbackprop.errors import ReadError
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, at_least, equals
from symbackprop.read.lexer import Source
from symbackprop.read.names import letter_of
from symbackprop.read.scan import chain_letter, index_letters_of, second_letter, word_below
from symbackprop.read.syntax import (
    Chain,
    Group,
    Negative,
    Node,
    Number,
    Place,
    Product,
    Script,
    Scripted,
    Sum,
    Symbol,
    Text,
    pieces,
    show,
)

Env = dict[str, str]
"""Letters to scopes."""


@dataclass
class Scope:
    """One index letter where it is bound.

    Args:
        low, high: Its limits as written; None where there are none.
        free: It is free on a left side, not bound by a sum.
    """

    id: str
    letter: str
    place: Place
    free: bool
    equation: int
    low: Affine | None = None
    high: Affine | None = None
    guard: list[Constraint] = field(default_factory=list)
    unequal: list[Node] = field(default_factory=list)
    moved: bool = False
    """Its limits are part of the axis alone, as a condition says."""


@dataclass
class Scopes:
    """All scopes of a file.

    Args:
        constants: Names that may stand in index expressions besides letters: strides, last layers, sizes.
        widths: Names of sizes with a subscript: n_{l-1} is the letter n at a layer.
    """

    source: Source
    constants: set[str] = field(default_factory=set)
    all: dict[str, Scope] = field(default_factory=dict)
    joined: list[tuple[str, str, Place]] = field(default_factory=list)
    widths: dict[str, tuple[str, Affine]] = field(default_factory=dict)
    equation: int = 0
    clocks: frozenset[str] = frozenset()
    """Letters that count layers or times by declaration, or as they are used above symbols."""
    unbound: dict[str, str] = field(default_factory=dict)
    data: frozenset[str] = frozenset()
    """Letters of data whose values are places on an axis."""
    lenient: bool = False
    """Letters that no sum binds are let in, as positions: for text about a model rather than a model."""
    lengths: dict[str, Axis] = field(default_factory=dict)
    """The axes of the open indices of arrays, where a network is known."""
    stems: frozenset[str] = frozenset()
    """Letters of sizes that carry a layer below, where a network is known."""
    one_width: str = ""
    """The one width of all layers, where a text has one."""
    numbers: Callable[[Axis], int | None] = lambda axis: None
    """The number of positions of an axis, where it is known."""

    def fail(self, message: str, place: Place) -> ReadError:
        return self.source.error(message, place)

    def misfit(self, message: str, place: Place) -> ReadError:
        return self.source.misfit(message, place)

    def join(self, a: str, b: str, place: Place) -> None:
        self.joined.append((a, b, place))

    def agree(self, a: str, b: str) -> bool:
        """Whether two open indices run over axes of one length; one whose axis is not known takes that of the other."""
        one, other = self.lengths.get(a), self.lengths.get(b)
        if one is None or other is None:
            if known := one or other:
                self.lengths[a] = self.lengths[b] = known
            return True
        return self.same_length(one, other)

    def same_length(self, one: Axis, other: Axis) -> bool:
        number = self.numbers(one)
        layered = one.at is not None and other.at is not None and one.label == other.label
        return (
            one == other or (layered and bool(self.one_width)) or (number is not None and number == self.numbers(other))
        )

    def length(self, a: str) -> str:
        """The length of an axis as it is written: n_{l-1}, K; empty where it is not known."""
        axis = self.lengths.get(a)
        return "" if axis is None else self.written_length(axis)

    def written_length(self, axis: Axis) -> str:
        number = self.numbers(axis)
        if number is not None:
            return str(number)
        if axis.at is None or self.one_width:
            return self.one_width or axis.label
        at = str(axis.at.substitute({s.id: affine(s.letter) for s in self.all.values()}))
        return f"{axis.label}_{at}" if len(at) == 1 else f"{axis.label}_{{{at}}}"

    def new(self, letter: str, place: Place, free: bool = False) -> Scope:
        s = Scope(f"{letter}#{len(self.all)}", letter, place, free, self.equation)
        self.all[s.id] = s
        return s

    # ------------------------------------------------------------ index expressions

    def affine(self, node: Node, env: Env, what: str = "an index") -> Affine:
        """An index expression in the author's numbers."""
        letter = letter_of(node)
        if letter is not None:
            return self.name(letter, node, env)
        match node:
            case Number(text=text):
                if not text.isdigit():
                    raise self.fail(
                        f"{text} is no whole number; {what} is made of letters and whole numbers", node.place
                    )
                return affine(int(text))
            case Sum(terms=terms):
                out = affine(0)
                for t in terms:
                    if t.sign not in "+-":
                        raise self.fail(f"{t.sign} in {what} is not understood", node.place)
                    out = out + self.affine(t.body, env, what) * (1 if t.sign == "+" else -1)
                return out
            case Negative(body=body):
                return -self.affine(body, env, what)
            case Group(body=body) if node.kind in ("round", "square", "brace"):
                return self.affine(body, env, what)
            case Product(factors=factors, operators=operators) if all(o in ("", r"\cdot", "*") for o in operators):
                out = self.affine(factors[0], env, what)
                for f in factors[1:]:
                    out = out * self.affine(f, env, what)
                return out
            case Scripted(base=Symbol() as base, sub=Script() as sub, sup=None, primes=0) if len(sub.items) == 1:
                stem = letter_of(base)
                plain = self.named_size(stem, sub.items[0], env)
                if plain is not None:
                    return affine(plain)
                if stem is not None and not isinstance(sub.items[0], Chain):
                    at = self.affine(sub.items[0], env, "a layer")
                    name = f"{stem}@{at}"
                    self.widths[name] = (stem, at)
                    return affine(name)
        text = self.source.text[node.place.start : node.place.end]
        raise self.fail(
            f"{text!r} is not understood as {what}; expected letters and whole numbers, as in l-1", node.place
        )

    def anywhere(self, letter: str, place: Place) -> str:
        """The scope of a letter that nothing binds, one throughout."""
        if letter not in self.unbound:
            self.unbound[letter] = self.new(letter, place, free=True).id
        return self.unbound[letter]

    def named_size(self, stem: str | None, sub: Node, env: Env, known: bool = False) -> str | None:
        """A size with a letter below that is no layer: the n_b of an axis that b counts."""
        letter = letter_of(sub)
        if stem is None:
            return None
        if letter is None:
            word = self.word(sub, env)
            if word is None:
                return None
            self.constants.add(f"{stem}_{word}")
            return f"{stem}_{word}"
        name = f"{stem}_{letter}"
        if name in self.constants:
            return name
        if letter in env:
            return None
        if known or letter in self.constants or letter in self.clocks:
            return None
        self.constants.add(name)
        return name

    def word(self, sub: Node, env: Env) -> str | None:
        r"""The word below a size, be it upright or letters that are not all indices: the in of C_{in}, C_{\mathrm{in}}."""
        word = word_below(sub)
        if word is None or letter_of(sub) is not None or isinstance(sub, Symbol | Text):
            return word
        bound = all(x in env or x in self.constants or x in self.clocks for x in word)
        return word if not bound or any(c.endswith(f"_{word}") for c in self.constants) else None

    def name(self, letter: str, node: Node, env: Env) -> Affine:
        if letter in env:
            return affine(env[letter])
        if letter in self.constants:
            return affine(letter)
        if self.lenient:
            return affine(self.anywhere(letter, node.place))
        raise self.fail(
            f"the index {letter} is neither summed here nor on the left of this equation; "
            f"a sum over {letter}, or {letter} on the left, would fit",
            node.place,
        )

    # ------------------------------------------------------------ limits and conditions

    def limits(
        self, sub: Script | None, sup: Script | None, env: Env, sign: str, place: Place, body: Node | None = None
    ) -> tuple[Env, list[Scope]]:
        """The letters that a sum sign binds, with what its limits say."""
        if sub is None:
            raise self.fail(f"this {sign} names no index; expected one below it, as in \\{sign}_j", place)
        inner, out = dict(env), list[Scope]()
        for item in sub.items:
            if isinstance(item, Chain):
                self.bind(item, inner, out, sign, body)
                continue
            for part in pieces(item):
                letter = letter_of(part)
                if letter is None:
                    text = self.source.text[part.place.start : part.place.end]
                    raise self.fail(f"{text!r} is no index letter", part.place)
                self.introduce(letter, part.place, inner, out)
        if sup is not None:
            if not out or out[-1].low is None or len(sup.items) not in (1, len(out)):
                raise self.fail(f"an upper limit needs a lower one, as in \\{sign}_{{j=1}}^{{n}}", sup.place)
            below = out[-1].low
            for n, s in enumerate(out):
                # i, j = 1 below and N above is the range of both.
                if s.high is not None:
                    raise self.fail(f"the range of {s.letter} is given below and above", sup.place)
                s.low = below if s.low is None else s.low
                s.high = self.affine(sup.items[n if len(sup.items) > 1 else 0], env, "an upper limit")
        if not out:
            raise self.fail(f"this {sign} introduces no index", sub.place)
        for s in out:
            if s.low is not None and s.high is None and sup is None and not s.guard and not s.moved:
                raise self.fail(f"the sum over {s.letter} has a lower limit and no upper one", sub.place)
        return inner, out

    def introduce(self, letter: str, place: Place, env: Env, out: list[Scope]) -> Scope:
        if letter in self.constants:
            raise self.fail(
                f"{letter} is a size or a last layer, and here an index; give one of them another letter", place
            )
        s = self.new(letter, place)
        env[letter] = s.id
        out.append(s)
        return s

    def bind(self, chain: Chain, env: Env, out: list[Scope], sign: str, body: Node | None) -> None:
        letter = chain_letter(chain, [s.letter for s in out])
        if letter is None:
            if not out:
                raise self.fail(
                    "these limits are not understood; expected such as j=1, j \\le i or 0 \\le k < r", chain.place
                )
            out[-1].guard += self.chain(chain, env)
            return
        sides = [chain.first, *(r.right for r in chain.relations)]
        signs = [r.sign for r in chain.relations]
        place = chain.place
        outer = dict(env)
        second = None if self.lenient else second_letter(chain, body, {letter, *env, *self.constants, *self.data})
        s = self.introduce(letter, place, env, out)
        if second is not None:
            self.pair(chain, s, self.introduce(second, place, env, out), outer)
            return
        if len(sides) == 2 and signs == ["="]:
            assert sides[1] is not None
            s.low = self.affine(sides[1], outer, "a lower limit")
        elif len(sides) == 2 and signs[0] in ("<=", "<", ">=", ">"):
            assert sides[1] is not None
            end = self.affine(sides[1], outer, "a limit")
            if signs[0] in ("<=", "<"):
                s.high = end - (signs[0] == "<")
            else:
                s.low = end + (signs[0] == ">")
            s.moved = True
        elif len(sides) == 2 and signs == ["!="]:
            assert sides[1] is not None
            s.unequal.append(sides[1])
        elif len(sides) == 3 and all(x in ("<=", "<") for x in signs):
            assert sides[0] is not None and sides[2] is not None
            inside = frozenset() if body is None else frozenset(index_letters_of(body))
            loose = sorted(inside & {letter_of(sides[0]) or "", letter_of(sides[2]) or ""} - outer.keys())
            if loose:
                raise self.fail(
                    f"{loose[0]} is an index that is not bound here; a sum sign of its own for each index would "
                    "fit, as in \\sum_{i<j} \\sum_{k>j}",
                    place,
                )
            s.low = self.affine(sides[0], outer, "a lower limit") + (signs[0] == "<")
            s.high = self.affine(sides[2], outer, "an upper limit") - (signs[1] == "<")
        else:
            raise self.fail(
                f"this range of {letter} is not understood; expected such as {letter}=1 or 0 \\le {letter} < n", place
            )

    def pair(self, chain: Chain, a: Scope, b: Scope, outer: Env) -> None:
        """Two indices and a condition between them: i < j, i != j, 1 <= i < j <= N."""
        sides = [chain.first, *(r.right for r in chain.relations)]
        between = chain.relations[0 if len(sides) == 2 else 1]
        if len(sides) == 4:
            low, high = chain.relations[0].sign, chain.relations[2].sign
            if not {low, high} <= {"<", "<="} or sides[0] is None or sides[3] is None:
                raise self.fail("this range is not understood; expected such as 1 \\le i < j \\le N", chain.place)
            for s in (a, b):
                s.low = self.affine(sides[0], outer, "a lower limit") + (low == "<")
                s.high = self.affine(sides[3], outer, "an upper limit") - (high == "<")
        first, second = affine(a.id), affine(b.id)
        match between.sign:
            case "<":
                b.guard.append(at_least(second - 1, first))
            case "<=":
                b.guard.append(at_least(second, first))
            case ">":
                b.guard.append(at_least(first - 1, second))
            case ">=":
                b.guard.append(at_least(first, second))
            case "!=" if sides[-2] is not None:
                b.unequal.append(sides[-2] if len(sides) == 2 else sides[1])  # type: ignore[arg-type]
            case sign:
                raise self.fail(
                    f"{sign!r} between two indices is not understood; expected <, \\le or \\ne", between.place
                )

    def chain(self, chain: Chain, env: Env) -> Guard:
        """A condition on indices: 1 <= l < L, j <= i, t = 1."""
        sides = [chain.first, *(r.right for r in chain.relations)]
        out: list[Constraint] = []
        for (a, b), r in zip(pairwise(sides), chain.relations, strict=True):
            if a is None or b is None:
                raise self.fail("a side of this condition is missing", chain.place)
            left, right = self.affine(a, env, "a condition"), self.affine(b, env, "a condition")
            match r.sign:
                case "=":
                    out.append(equals(left, right))
                case "<=":
                    out.append(at_least(right, left))
                case "<":
                    out.append(at_least(right - 1, left))
                case ">=":
                    out.append(at_least(left, right))
                case ">":
                    out.append(at_least(left - 1, right))
                case sign:
                    raise self.fail(
                        f"{sign!r} in a condition on indices is not understood; expected =, <, >, \\le or \\ge", r.place
                    )
        return tuple(out)


def text_of(node: Node, source: Source) -> str:
    return source.text[node.place.start : node.place.end] or show(node)
