"""Which symbols of one model are which of another: by the structure of their equations, never by their letters.

Two models correspond where renaming families, generic functions, sizes and index letters turns the equations of one into
those of the other, in any order, with terms, factors and nested sums in any order, and the indices of a family in any order.
The search pairs what looks alike when names are forgotten (`Colours`), and goes back where a pairing does not work out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeAlias

from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Axis, Constraint, Guard
from symbackprop.network import Equation, System
from symbackprop.symbols import (
    Add,
    Binder,
    Call,
    Compare,
    Div,
    Expr,
    Family,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    guard_of,
    walk,
)

MAX_STEPS = 200_000
"""Pairings tried before the search gives up; the models of the library need some hundreds."""

SAME_FUNCTION = {"ln": "log"}


@dataclass(frozen=True)
class Correspondence:
    """What is what in two models.

    Args:
        a, b: The models.
        families: The family of b for each of a.
        places: For a family of a, the place in b's order of indices of each of its own.
        functions: Generic functions.
        sizes: Sizes, last layers and other whole numbers.
        letters: Index letters.
        complete: Whether every equation of one is one of the other; else families were paired by what they are for.
    """

    a: System
    b: System
    families: Mapping[str, str]
    places: Mapping[str, tuple[int, ...]]
    functions: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    letters: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True


def correspondence(a: System, b: System) -> Correspondence:
    """What of one model is what of another: by all their equations, else by the roles of their families.

    Raises:
        ModelError: They have too little in common.
    """
    return isomorphism(a, b) or by_roles(a, b)


def isomorphism(a: System, b: System) -> Correspondence | None:
    """The correspondence under which the equations are the same; None where there is none.

    Whether a letter without an equation is data or a parameter, and whether two sizes are the same number, may differ
    where no stricter pairing exists: an author leaves both unsaid.
    """
    if len(a.equations) != len(b.equations):
        return None
    for strict in (True, False):
        found = Search(a, b, strict).run()
        if found is not None:
            return found
    return None


# ---------------------------------------------------------------- formulas whose writing is forgotten


@dataclass(frozen=True)
class Product:
    """Factors above and below a line, and a number before them."""

    number: Fraction
    above: tuple[Expr, ...]
    below: tuple[Expr, ...]


def product_of(e: Expr) -> Product:
    """A formula as one product."""
    match e:
        case Num(v):
            return Product(v, (), ())
        case Mul(factors):
            found = [product_of(f) for f in factors]
            number = Fraction(1)
            for p in found:
                number *= p.number
            return Product(number, tuple(f for p in found for f in p.above), tuple(f for p in found for f in p.below))
        case Div(top, bottom):
            x, y = product_of(top), product_of(bottom)
            if y.number:
                return Product(x.number / y.number, (*x.above, *y.below), (*x.below, *y.above))
        case Sum(_, _, body):
            p = product_of(body)
            if p.number != 1:
                return Product(p.number, (replace(e, body=without_number(p)),), ())
    return Product(Fraction(1), (e,), ())


def bare(e: Expr) -> Expr:
    """The one factor of a product that has no other: y for -(-y)."""
    p = product_of(e)
    return p.above[0] if p.number == 1 and len(p.above) == 1 and not p.below else e


def without_number(p: Product) -> Expr:
    """The factors of a product alone."""
    factors = (*p.above, *(Div(Num(Fraction(1)), f) for f in p.below))
    return factors[0] if len(factors) == 1 else Mul(factors)


def terms_of(e: Expr) -> tuple[Expr, ...]:
    """The terms of a formula, those of sums inside sums among them; a factor -1 before a sum goes to each."""
    e = bare(e)
    if isinstance(e, Add):
        return tuple(t for x in e.terms for t in terms_of(x))
    p = product_of(e)
    if len(p.above) == 1 and isinstance(p.above[0], Add) and not p.below and p.number == -1:
        return tuple(t for x in p.above[0].terms for t in terms_of(-x))
    return (e,)


def binders_of(e: Sum | Max | Prod) -> tuple[tuple[Sum | Max | Prod, ...], Expr]:
    """Sums directly inside each other, and what stands behind the last."""
    out: list[Sum | Max | Prod] = [e]
    while type(out[-1].body) is type(e):
        inner = out[-1].body
        assert isinstance(inner, Sum | Max | Prod)
        out.append(inner)
    return tuple(out), out[-1].body


def is_square(e: Expr) -> bool:
    return isinstance(e, Pow) and isinstance(e.exponent, Num) and e.exponent.value == 2


def function_name(name: str) -> str:
    return SAME_FUNCTION.get(name, name)


# ---------------------------------------------------------------- what looks alike


@dataclass
class Colours:
    """A text for each family, equation and formula that is the same for two that differ in names alone.

    Families that stand in unlike equations get unlike texts, and so do equations with unlike families, a few times
    over: then few pairings are left to try.
    """

    system: System
    strict: bool
    families: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.families = {n: self.start(f) for n, f in self.system.families.items()}
        for _ in range(4):
            seen: dict[str, list[str]] = {n: [] for n in self.families}
            for e in self.system.equations:
                mine = self.equation(e)
                seen[e.lhs.family].append("=" + mine)
                for _, p in walk(e.rhs):
                    if isinstance(p, Ref):
                        seen[p.family].append(mine)
            self.families = {n: short(c, *sorted(seen[n])) for n, c in self.families.items()}

    def start(self, f: Family) -> str:
        kind = f.kind if self.strict or f.kind in ("derived", "cost") else "given"
        return short(kind, *sorted(a.kind for a in f.axes), str(f.over is not None))

    def equation(self, e: Equation) -> str:
        return short(self.of(e.lhs), self.of(e.rhs), str(len(e.guard)))

    def index(self, i: Affine) -> str:
        """An index with its names forgotten."""
        return repr((sorted((k, n.count("*")) for n, k in i.terms), i.const))

    def of(self, e: Expr) -> str:
        e = bare(e)
        p = product_of(e)
        if p.above != (e,):
            above, below = sorted(map(self.of, p.above)), sorted(map(self.of, p.below))
            return short("product", str(p.number), *above, "/", *below)
        match e:
            case Ref(family, indices):
                return short("ref", self.families[family], *sorted(map(self.index, indices)))
            case Add():
                return short("sum", *sorted(map(self.of, terms_of(e))))
            case Pow(base) if is_square(e):
                return short("square", *sorted((self.of(base), self.of(negated(base)))))
            case Sum() | Max() | Prod():
                binders, body = binders_of(e)
                each = sorted(f"{b.axis.kind}{len(b.guard)}" for b in binders)
                return short(type(e).__name__, *each, self.of(body))
            case Call(function, arguments, order, at):
                known = function_name(function) if self.system.function(function) is not None else "?"
                return short("call", known, str(order), str(at is not None), *map(self.of, arguments))
            case Position(i):
                return short("position", self.index(i))
            case Compare(op, left, right):
                return short("compare", op, self.of(left), self.of(right))
        return short(type(e).__name__, *map(self.of, e.parts))


def short(*parts: str) -> str:
    return f"{hash(parts):x}"


def negated(e: Expr) -> Expr:
    return Add(tuple(-t for t in terms_of(e)))


# ---------------------------------------------------------------- the search

Known: TypeAlias = Mapping[tuple[str, str], object]
"""What has been paired: ("family", x) is the name in b of the family x of a, ("family'", y) the way back."""


def left_behind(inside: Known, outside: Known) -> Known:
    """What is known behind a sum or an equation: its letters mean nothing there, but how one was called is kept."""
    out = {k: v for k, v in inside.items() if k[0] not in ("letter", "letter'")}
    for (kind, name), other in inside.items():
        if kind == "letter":
            out.setdefault(("index", name), other)
    return out | {k: v for k, v in outside.items() if k[0] in ("letter", "letter'")}


class GaveUp(Exception):
    """The search has tried too much."""


@dataclass
class Search:
    """Pairs the equations of two models, and goes back where it does not work out."""

    a: System
    b: System
    strict: bool
    steps: int = 0

    def __post_init__(self) -> None:
        self.mine, self.theirs = Colours(self.a, self.strict), Colours(self.b, self.strict)

    def run(self) -> Correspondence | None:
        left = [(self.mine.equation(e), e) for e in self.a.equations]
        right = [(self.theirs.equation(e), e) for e in self.b.equations]
        if Counter(c for c, _ in left) != Counter(c for c, _ in right):
            return None
        rare = Counter(c for c, _ in left)
        left.sort(key=lambda pair: rare[pair[0]])
        try:
            known = next(self.equations(left, right, {}), None)
        except GaveUp:
            return None
        return self.result(known) if known is not None else None

    def result(self, known: Known) -> Correspondence:
        found: dict[str, dict[str, str]] = {"family": {}, "function": {}, "size": {}, "index": {}}
        places: dict[str, tuple[int, ...]] = {}
        for (kind, name), other in known.items():
            if kind == "places":
                places[name] = other  # type: ignore[assignment]
            elif kind in found:
                found[kind][name] = str(other)
        return Correspondence(self.a, self.b, found["family"], places, found["function"], found["size"], found["index"])

    # ------------------------------------------------------------ equations

    def equations(
        self, left: Sequence[tuple[str, Equation]], right: Sequence[tuple[str, Equation]], known: Known
    ) -> Iterator[Known]:
        if not left:
            yield known
            return
        (colour, e), *rest = left
        for n, (other, f) in enumerate(right):
            if other != colour:
                continue
            for found in self.equation(e, f, known):
                yield from self.equations(rest, [*right[:n], *right[n + 1 :]], found)

    def equation(self, e: Equation, f: Equation, known: Known) -> Iterator[Known]:
        """Both equations paired; index letters mean something within one equation alone, and one pairing of each is kept."""
        for first in self.ref(e.lhs, f.lhs, known):
            for second in self.expression(e.rhs, f.rhs, first):
                for third in self.guards(e.guard, f.guard, second):
                    yield left_behind(third, {})

    # ------------------------------------------------------------ formulas

    def expression(self, x: Expr, y: Expr, known: Known) -> Iterator[Known]:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise GaveUp
        if self.mine.of(x) != self.theirs.of(y):
            return
        x, y = bare(x), bare(y)
        p, q = product_of(x), product_of(y)
        if p.above != (x,):
            for found in self.unordered(p.above, q.above, known):
                yield from self.unordered(p.below, q.below, found)
            return
        match x, y:
            case Ref(), Ref():
                yield from self.ref(x, y, known)
            case Add(), Add():
                yield from self.unordered(terms_of(x), terms_of(y), known)
            case Pow(), Pow() if is_square(x):
                yield from self.expression(x.base, y.base, known)
                yield from self.expression(negated(x.base), y.base, known)
            case Sum() | Max() | Prod(), Sum() | Max() | Prod():
                yield from self.binders(x, y, known)
            case Vec(), Vec():
                for found in self.bound([x], [y], known):
                    for inside in self.expression(x.body, y.body, found):
                        yield left_behind(inside, known)
            case Call(), Call():
                yield from self.call(x, y, known)
            case Size(), Size():
                yield from self.axis(x.axis, y.axis, known)
            case Position(), Position():
                yield from self.index(x.at, y.at, known)
            case Param(), Param():
                yield from self.bind("size", x.name, y.name, known)
            case Guarded(), Guarded():
                for found in self.expression(x.body, y.body, known):
                    yield from self.guards(x.guard, y.guard, found)
            case _:
                yield from self.ordered(x.parts, y.parts, known)

    def ordered(self, xs: Sequence[Expr], ys: Sequence[Expr], known: Known) -> Iterator[Known]:
        if not xs:
            yield known
            return
        for found in self.expression(xs[0], ys[0], known):
            yield from self.ordered(xs[1:], ys[1:], found)

    def unordered(self, xs: Sequence[Expr], ys: Sequence[Expr], known: Known) -> Iterator[Known]:
        if len(xs) != len(ys):
            return
        if not xs:
            yield known
            return
        for n, y in enumerate(ys):
            for found in self.expression(xs[0], y, known):
                yield from self.unordered(xs[1:], [*ys[:n], *ys[n + 1 :]], found)

    def call(self, x: Call, y: Call, known: Known) -> Iterator[Known]:
        starts: Iterator[Known] = iter([known])
        if self.a.function(x.function) is None:
            starts = self.bind("function", x.function, y.function, known)
        for start in starts:
            located = iter([start]) if x.at is None or y.at is None else self.index(x.at, y.at, start)
            for found in located:
                yield from self.ordered(x.arguments, y.arguments, found)

    def binders(self, x: Sum | Max | Prod, y: Sum | Max | Prod, known: Known) -> Iterator[Known]:
        (mine, body), (theirs, other) = binders_of(x), binders_of(y)
        for found in self.bound(mine, theirs, known):
            for inside in self.expression(body, other, found):
                mine_said = tuple(c for b in mine for c in b.guard)
                for said in self.guards(mine_said, tuple(c for b in theirs for c in b.guard), inside):
                    yield left_behind(said, known)

    def bound(self, mine: Sequence[Binder], theirs: Sequence[Binder], known: Known) -> Iterator[Known]:
        """Bound letters paired; what they meant outside is forgotten."""
        if not mine:
            yield known
            return
        x, *rest = mine
        for n, y in enumerate(theirs):
            if len(guard_of(x)) != len(guard_of(y)):
                continue
            old = known.get(("letter", x.index)), known.get(("letter'", y.index))
            dropped = {("letter", x.index), ("letter'", y.index), ("letter", str(old[1])), ("letter'", str(old[0]))}
            outside = {k: v for k, v in known.items() if k not in dropped}
            for found in self.axis(x.axis, y.axis, outside):
                for named in self.bind("letter", x.index, y.index, found):
                    yield from self.bound(rest, [*theirs[:n], *theirs[n + 1 :]], named)

    # ------------------------------------------------------------ quantities, indices, axes

    def ref(self, r: Ref, s: Ref, known: Known) -> Iterator[Known]:
        if self.mine.families[r.family] != self.theirs.families[s.family]:
            return
        for found in self.bind("family", r.family, s.family, known):
            yield from self.indices(r, s, (), found)

    def indices(self, r: Ref, s: Ref, done: tuple[int, ...], known: Known) -> Iterator[Known]:
        """The indices of a quantity paired, in the order in which b has them where that is known."""
        n = len(done)
        if n == len(r.indices):
            yield {**known, ("places", r.family): done}
            return
        fixed = known.get(("places", r.family))
        free = [m for m in range(len(s.indices)) if m not in done]
        candidates = [fixed[n]] if isinstance(fixed, tuple) else sorted(free, key=lambda m: m != n)
        mine, theirs = self.a.axes(r), self.b.axes(s)
        for m in candidates:
            for on in self.axis(mine[n], theirs[m], known):
                for found in self.index(r.indices[n], s.indices[m], on):
                    yield from self.indices(r, s, (*done, m), found)

    def index(self, i: Affine, j: Affine, known: Known) -> Iterator[Known]:
        if i.const == j.const and len(i.terms) == len(j.terms):
            yield from self.linear(i.terms, j.terms, known)

    def linear(self, xs: Sequence[tuple[str, int]], ys: Sequence[tuple[str, int]], known: Known) -> Iterator[Known]:
        if not xs:
            yield known
            return
        (name, k), *rest = xs
        for n, (other, c) in enumerate(ys):
            if c == k:
                for found in self.names(name.split("*"), other.split("*"), known):
                    yield from self.linear(rest, [*ys[:n], *ys[n + 1 :]], found)

    def names(self, xs: Sequence[str], ys: Sequence[str], known: Known) -> Iterator[Known]:
        """The names of one product in an index, such as the stride s and the index i of si."""
        if len(xs) != len(ys):
            return
        if not xs:
            yield known
            return
        for n, y in enumerate(ys):
            if (xs[0] in self.a.constants) == (y in self.b.constants):
                kind = "size" if xs[0] in self.a.constants else "letter"
                for found in self.bind(kind, xs[0], y, known):
                    yield from self.names(xs[1:], [*ys[:n], *ys[n + 1 :]], found)

    def axis(self, x: Axis, y: Axis, known: Known) -> Iterator[Known]:
        if x.kind != y.kind or (x.at is None) != (y.at is None):
            return
        if x.kind == "recursion":
            for found in self.index(x.first, y.first, known):
                ends = x.last is not None and y.last is not None
                yield from self.index(x.last, y.last, found) if ends else iter([found])  # type: ignore[arg-type]
            return
        for found in self.bind("size", x.label, y.label, known):
            if x.at is not None and y.at is not None:
                yield from self.index(x.at, y.at, found)
            else:
                yield found

    def guards(self, xs: Guard, ys: Guard, known: Known) -> Iterator[Known]:
        if len(xs) != len(ys):
            return
        if not xs:
            yield known
            return
        x: Constraint = xs[0]
        for n, y in enumerate(ys):
            if x.equal == y.equal:
                for found in self.index(x.expr, y.expr, known):
                    yield from self.guards(xs[1:], ys[:n] + ys[n + 1 :], found)

    def bind(self, kind: str, x: str, y: str, known: Known) -> Iterator[Known]:
        """Two names paired, if neither is paired with another; sizes may coincide where that is not strict."""
        forth, back = known.get((kind, x)), known.get((kind + "'", y))
        if forth == y or (kind == "size" and not self.strict and (forth is not None or back is not None)):
            yield known
        elif forth is None and back is None:
            yield {**known, (kind, x): y, (kind + "'", y): x}


# ---------------------------------------------------------------- by what families are for

ROLES = ("cost", "target", "input", "weight", "bias", "preactivation", "activation")


def by_roles(a: System, b: System) -> Correspondence:
    """Families paired by what they are for, as far as each model has one for a role, with the same axes.

    Raises:
        ModelError: Fewer than a weight and what it goes into can be paired.
    """
    mine, theirs = roles(a), roles(b)
    families: dict[str, str] = {}
    places: dict[str, tuple[int, ...]] = {}
    for role in ROLES:
        x, y = mine.get(role), theirs.get(role)
        if x is not None and y is not None and kinds(a, x) == kinds(b, y):
            families[x], places[x] = y, tuple(range(len(a.families[x].axes)))
    if not {mine.get("weight"), mine.get("activation")} <= families.keys():
        common = ", ".join(f"{x} with {y}" for x, y in families.items())
        paired = f"only {common} can be paired" if common else "none can be paired"
        raise ModelError(
            "these models do not correspond: no renaming makes their equations the same, and by what their symbols are for "
            f"{paired}; the notation of a model with the same equations would fit"
        )
    sizes: dict[str, str] = {}
    letters: dict[str, str] = {}
    for x, y in families.items():
        for s, t in zip(a.families[x].axes, b.families[y].axes, strict=True):
            if s.kind == "node":
                sizes.setdefault(s.label, t.label)
            elif s.last is not None and t.last is not None and s.last.name and t.last.name:
                sizes.setdefault(s.last.name, t.last.name)
        for i, j in zip(a.families[x].indices, b.families[y].indices, strict=True):
            letters.setdefault(i, j)
    functions = dict(zip(generic(a), generic(b), strict=False)) if len(generic(a)) == len(generic(b)) == 1 else {}
    return Correspondence(a, b, families, places, functions, sizes, letters, complete=False)


def kinds(system: System, family: str) -> list[str]:
    return [axis.kind for axis in system.families[family].axes]


def generic(system: System) -> list[str]:
    """The functions of a model of which nothing is known."""
    calls = [p for e in system.equations for _, p in walk(e.rhs) if isinstance(p, Call)]
    elementwise = [p.function for p in calls if not any(isinstance(x, Vec) for x in p.arguments)]
    return list(dict.fromkeys(f for f in elementwise if system.function(f) is None))


def roles(system: System) -> dict[str, str]:
    """The one family for each role; none where there are several, or no one.

    A weight has two axes of nodes and a bias one; a preactivation is the sum with a weight in it, and an activation what
    is computed from that alone.
    """
    found: dict[str, set[str]] = {r: set() for r in ROLES}
    for f in system.families.values():
        nodes = sum(axis.kind == "node" for axis in f.axes)
        if f.kind in ("target", "input"):
            found[f.kind].add(f.name)
        elif f.kind == "parameter" and nodes in (1, 2):
            found["weight" if nodes == 2 else "bias"].add(f.name)
    if system.cost:
        found["cost"].add(system.cost)
    for e in system.equations:
        used = {p.family for _, p in walk(e.rhs) if isinstance(p, Ref)}
        if used & found["weight"] and e.lhs.family != system.cost:
            found["preactivation"].add(e.lhs.family)
    for e in system.equations:
        used = {p.family for _, p in walk(e.rhs) if isinstance(p, Ref)}
        if used and used <= found["preactivation"] and e.lhs.family not in found["preactivation"] | {system.cost}:
            found["activation"].add(e.lhs.family)
    return {r: next(iter(names)) for r, names in found.items() if len(names) == 1}
