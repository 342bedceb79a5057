r"""Drafted equations onto their axes: positions counted from 0, letters without scopes, guards, base cases.

What an author counts from 1 is moved to 0 here and nowhere else: a letter stands for its position, so that x_{i+k-1}
becomes position i + k; layers and times keep their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from symbackprop.errors import ReadError
from symbackprop.indices import (
    Affine,
    Axis,
    Constraint,
    Guard,
    affine,
    at_least,
    between,
    equals,
    fresh,
    implies,
    satisfiable,
)
from symbackprop.network import Equation
from symbackprop.read.axes import Axes, Drafted, position
from symbackprop.read.scopes import Scope
from symbackprop.read.syntax import Place
from symbackprop.symbols import (
    Binder,
    Call,
    D,
    Expr,
    Family,
    Guarded,
    Kind,
    Max,
    Mul,
    Position,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    walk,
)

MAX_BASES = 20
"""How many places before the first may be left to base cases."""


@dataclass(frozen=True)
class Settled:
    """An equation on its axes, and where it stands."""

    equation: Equation
    place: Place
    number: int


@dataclass
class Settler:
    """Turns drafts into equations and families.

    Args:
        guards: The conditions of each equation, as written, by its number.
        free: The scopes that are free on the left of each equation.
    """

    axes: Axes
    guards: Mapping[int, Guard]
    free: Mapping[int, list[Scope]]
    constants: frozenset[str]
    zero: frozenset[str] = frozenset()
    letters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    settled: list[Settled] = field(default_factory=list)
    used: dict[str, list[tuple[Affine, Affine]]] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    moments: dict[str, int] = field(default_factory=dict)
    """For each base case the place of the index, in its family as written, that it fixes."""
    left: set[str] = field(default_factory=set)

    def fail(self, message: str, place: Place) -> ReadError:
        return self.axes.fail(message, place)

    # ------------------------------------------------------------ letters of families

    def name_indices(self) -> None:
        """The letters of each family's indices: those of its left side, or of its first use."""
        scopes = self.axes.scopes.all
        for d, r in ((e, ref) for e in self.axes.drafts for ref in e.refs):
            if r.family in self.letters and r is not d.lhs:
                continue
            if r.family in self.letters and r is d.lhs and r.family in self.left:
                continue
            names: list[str] = []
            for n in self.axes.order(r.family):
                e = r.indices[n]
                c = self.axes.of(position(r.family, n))
                letter = scopes[e.name].letter if e.name in scopes else c.letter
                if c.recursion:
                    letter = c.letter
                stem = letter.rstrip("'") or letter
                options = (letter,) if r is d.lhs else (stem, letter)
                best = next((o for o in options if o not in names and o not in self.constants), None)
                names.append(best or fresh(stem, {*names, *self.constants}))
            self.letters[r.family] = tuple(names)
            if r is d.lhs:
                self.left.add(r.family)

    # ------------------------------------------------------------ index expressions

    def real(self, e: Affine, letters: Mapping[str, Affine]) -> Affine:
        """An index expression in positions, first numbers apart: letters replaced, the rest as written."""
        return e.substitute(letters)

    def first(self, member: str) -> int:
        return self.axes.of(member).first or 0

    def meant(self, scope: Scope, letter: Affine) -> dict[str, Affine]:
        """What a scope stands for in an index expression, and its bare position."""
        return {scope.id: letter + self.first(scope.id), "@" + scope.id: letter}

    # ------------------------------------------------------------ equations

    def settle(self, d: Drafted) -> Settled:
        family = d.lhs.family
        order = self.axes.order(family)
        formal = self.letters[family]
        letters: dict[str, Affine] = {}
        guard: list[Constraint] = []
        standing: dict[str, Affine] = {}
        ranges: list[Constraint] = []
        for letter, n in zip(formal, order, strict=True):
            e = d.lhs.indices[n]
            member = position(family, n)
            c = self.axes.of(member)
            first = 0 if c.recursion else self.first(member)
            scope = next((self.axes.scopes.all[m] for m in e.names if m in self.axes.scopes.all), None)
            if scope is None:
                guard.append(equals(letter, e - first))
                if e.name is not None:
                    standing[e.name] = affine(letter)
                continue
            shift = e - scope.id
            if shift.value is None:
                raise self.fail(f"the left side counts by {e}; expected letters, or a letter plus a number", d.place)
            # The letter on the left is the whole index: z^{(l+1)} = ... defines z^{(l)} by what stands at l - 1.
            own = affine(letter) - shift
            letters |= self.meant(scope, own)
            if c.recursion:
                low = scope.low if scope.low is not None else c.low
                high = scope.high if scope.high is not None else c.high
                assert low is not None and high is not None
                ranges += between(low + shift, letter, high + shift)
        letters |= {n: a for n, a in standing.items() if n not in letters}
        for c_ in self.guards.get(d.number, ()):
            guard.append(c_.substitute(letters))
        kept = [c for c in ranges if not implies(tuple(guard), c) or c in guard]
        whole = (*kept, *guard) if not _about(guard, ranges) else (*guard, *(c for c in kept if c not in guard))
        lhs = Ref(family, tuple(affine(x) for x in formal))
        rhs = self.expression(d.rhs, letters, frozenset(formal), d)
        return Settled(Equation(lhs, self.padded(rhs), tuple(dict.fromkeys(whole))), d.place, d.number)

    def expression(self, e: Expr, letters: Mapping[str, Affine], taken: frozenset[str], d: Drafted) -> Expr:
        """A formula on its axes."""
        match e:
            case Ref(family, indices):
                out = []
                for n in self.axes.order(family):
                    member = position(family, n)
                    first = 0 if self.axes.of(member).recursion else self.first(member)
                    out.append(self.real(indices[n], letters) - first)
                return Ref(family, tuple(out))
            case Position(i):
                firsts = {
                    n: affine(self.first_over(n.removeprefix("first:"))) for n in i.names if n.startswith("first:")
                }
                return Position(self.real(i, {**letters, **firsts}))
            case Size(axis):
                return self.size(axis, letters)
            case Call(function, arguments, order, at):
                moved = tuple(self.expression(a, letters, taken, d) for a in arguments)
                return Call(function, moved, order, at.substitute(letters) if at is not None else None)
            case Sum() | Max() | Prod() | Vec():
                return self.binder(e, letters, taken, d)
            case _:
                return e.rebuild(tuple(self.expression(p, letters, taken, d) for p in e.parts)) if e.parts else e

    def first_over(self, family: str) -> int:
        return self.first(f"letter:{self.axes.declared.labels[family][0]}")

    def size(self, axis: Axis, letters: Mapping[str, Affine]) -> Expr:
        ends = {c.label for c in self.axes.classes.values() if c.recursion}
        nodes = {c.label for c in self.axes.classes.values() if not c.recursion}
        if axis.at is not None and f"{axis.label}_{axis.at}" in nodes:
            return Size(Axis("node", f"{axis.label}_{axis.at}"))
        if axis.at is not None:
            return Size(Axis("node", axis.label, self.real(axis.at, letters)))
        if axis.label in nodes or axis.label in self.axes.declared.rules:
            return Size(axis)
        if axis.label in ends or axis.label in self.axes.declared.integers:
            return Position(affine(axis.label))
        return Size(axis)

    def binder(self, e: Binder, letters: Mapping[str, Affine], taken: frozenset[str], d: Drafted) -> Expr:
        scope = self.axes.scopes.all[e.index]
        letter = fresh(scope.letter, taken | self.constants) if scope.letter in taken | self.constants else scope.letter
        own = affine(letter)
        inner = {**letters, **self.meant(scope, own)}
        c = self.axes.of(scope.id)
        outer = {**letters}
        axis = self.axes.axis(scope.id)
        if axis.at is not None:
            axis = replace(axis, at=self.real(axis.at, outer))
        guard: list[Constraint] = []
        low, high = scope.low, scope.high
        first = 0 if c.recursion else self.first(scope.id)
        if c.recursion:
            ends = [x for x in (low, high) if x is not None]
            if low is None and high is None:
                axis = replace(axis, first=c.low or affine(0))
            elif low is not None and high is not None and all(x.names <= self.constants for x in ends):
                axis = replace(axis, first=low, last=high)
            else:
                # The guard says the range; the axis must not cut it short: s - 1 is a time for s up to T + 1.
                last = axis.last
                if high is not None and last is not None:
                    last = high if high.names <= self.constants else last + max(high.const, 0)
                start = low if low is not None and low.names <= self.constants else (c.low or affine(0))
                axis = replace(axis, first=start, last=last)
                if low is not None and not low.names <= self.constants:
                    guard.append(at_least(own, self.real(low, outer)))
                if high is not None:
                    guard.append(at_least(self.real(high, outer), own))
        else:
            full = low is not None and high is not None and self.covers(scope, low, high)
            if low is not None and not full and low != affine(first):
                guard.append(at_least(own + first, self.real(low, outer)))
            if high is not None and not full and not self.ends_axis(scope, high, first):
                guard.append(at_least(self.real(high, outer), own + first))
        old = () if isinstance(e, Vec) else e.guard
        guard += [x.substitute(inner) for x in old]
        body = self.expression(e.body, inner, taken | {letter}, d)
        if isinstance(e, Vec):
            return Vec(letter, axis, body)
        return type(e)(letter, axis, body, tuple(dict.fromkeys(guard)))

    def ends_axis(self, scope: Scope, high: Affine, first: int) -> bool:
        """Whether an upper limit is the end of the axis."""
        c = self.axes.of(scope.id)
        if c.layered or c.recursion:
            return False
        return high == (affine(c.label) if c.number is None else affine(c.number)) + (first - 1)

    def covers(self, scope: Scope, low: Affine, high: Affine) -> bool:
        """Whether limits are those of the axis."""
        count = high - low + 1
        if low.value is None or count.names & self.axes.scopes.all.keys():
            return False
        c = self.axes.of(scope.id)
        if count.name is not None and "@" in count.name:
            return True
        return count.name == c.label or (count.value is not None and count.value == c.number)

    # ------------------------------------------------------------ padding

    def padded(self, e: Expr) -> Expr:
        """Where a family that is 0 outside its range has a computed index, the sum over it is kept inside."""
        if not self.zero:
            return e
        return self.pad(e, ())[0]

    def pad(self, e: Expr, around: tuple[str, ...]) -> tuple[Expr, list[Constraint]]:
        """The expression, and what sums around it have yet to be told."""
        if isinstance(e, Ref):
            if e.family not in self.zero:
                return e, []
            wanted: list[Constraint] = []
            for n, i in zip(self.axes.order(e.family), e.indices, strict=True):
                if i.name is None:
                    wanted += self.axes.axis(position(e.family, n)).holds(i)
            here = tuple(c for c in wanted if not c.expr.names & set(around))
            return (Guarded(e, here) if here else e), [c for c in wanted if c not in here]
        if isinstance(e, Sum | Max | Prod):
            body, wanted = self.pad(e.body, (*around, e.index))
            mine = tuple(c for c in wanted if e.index in c.expr.names)
            rest = [c for c in wanted if c not in mine]
            if isinstance(e, Sum):
                return Sum(e.index, e.axis, body, tuple(dict.fromkeys((*e.guard, *mine)))), rest
            return replace(e, body=Guarded(body, mine) if mine else body), rest
        wanted, parts = [], []
        for p in e.parts:
            inner, more = self.pad(p, around)
            if more and not isinstance(e, Mul | D):
                # Only a factor, differentiated or not, may hand its conditions to the sum around its product.
                inner, more = Guarded(inner, tuple(more)), []
            parts.append(inner)
            wanted += more
        return (e.rebuild(tuple(parts)) if parts else e), wanted

    # ------------------------------------------------------------ where quantities exist

    def recursion_letters(self, family: str) -> list[str]:
        return [
            letter
            for letter, n in zip(self.letters[family], self.axes.order(family), strict=True)
            if self.axes.recursive_position(family, n)
        ]

    def collect_ranges(self) -> None:
        """For each family with layers or times, every stretch of them at which it is defined or used."""
        for s in self.settled:
            bounds = {x: ends(x, s.equation.guard) for x in self.recursion_letters(s.equation.lhs.family)}
            known = {x: b for x, b in bounds.items() if b is not None}
            for r, inner in refs_with_bounds(s.equation.rhs, known):
                self.note(r, inner, s)

    def note(self, r: Ref, known: Mapping[str, tuple[Affine, Affine]], s: Settled) -> None:
        for n, (place, i) in enumerate(zip(self.axes.order(r.family), r.indices, strict=True)):
            if not self.axes.recursive_position(r.family, place):
                continue
            low, high = i, i
            for x, (lo, hi) in known.items():
                c = dict(i.terms).get(x)
                if c is not None:
                    low = low.substitute({x: lo if c > 0 else hi})
                    high = high.substitute({x: hi if c > 0 else lo})
            self.used.setdefault(f"{r.family}:{n}", []).append((low, high))

    def stretch(self, family: str, n: int, own: list[tuple[Affine, Affine]], place: Place) -> tuple[Affine, Affine]:
        spans = own + self.used.get(f"{family}:{n}", [])
        low = least([a for a, _ in spans])
        high = greatest([b for _, b in spans])
        if low is None or high is None:
            raise self.fail(f"the ends of {family} cannot be compared; declare the ranges of its indices", place)
        return low, high

    def build(
        self, kinds: Mapping[str, Kind], meanings: Mapping[str, str], place: Mapping[str, Place]
    ) -> list[Settled]:
        """Families, and the equations of base cases that the file leaves out."""
        self.collect_ranges()
        bases: list[Settled] = []
        for family, letters in self.letters.items():
            order = self.axes.order(family)
            recursion = [x for x in letters if x in self.recursion_letters(family)]
            mine = [s for s in self.settled if s.equation.lhs.family == family]
            guard: list[Constraint] = []
            for n, x in enumerate(recursion):
                own = [b for s in mine if (b := ends(x, s.equation.guard)) is not None]
                low, high = self.stretch(family, n, own, place[family])
                if mine:
                    start, stop = least([a for a, _ in own]), greatest([b for _, b in own])
                    if start is None or stop is None:
                        raise self.fail(f"where {family} is defined is not understood", mine[0].place)
                    missing = (start - low).value
                    if missing is not None and missing > MAX_BASES:
                        raise self.fail(f"{family} is used from {low} on, and defined from {start} on", mine[0].place)
                    beyond = (high - stop).value
                    if missing is None or beyond is None or beyond > 0:
                        raise self.fail(
                            f"{family} is used at {high}, and defined up to {stop}; an equation for {high} is missing",
                            mine[0].place,
                        )
                    for k in range(missing):
                        bases.append(self.base(family, x, low + k, place[family]))
                guard += between(low, x, high)
            axes = []
            clock = {x: affine(x) for x in recursion}
            for n in order:
                member = position(family, n)
                c = self.axes.of(member)
                layer = next(
                    (
                        clock[y]
                        for y, m in zip(letters, order, strict=True)
                        if c.layered and self.axes.find(position(family, m)) == c.clock
                    ),
                    None,
                )
                axes.append(self.axes.axis(member, layer))
            if mine:
                common = [
                    c
                    for c in mine[0].equation.guard
                    if c not in guard and not c.expr.names <= set(recursion) | self.constants
                ]
                guard += [c for c in common if all(c in s.equation.guard for s in mine)]
            over = None
            if family in self.axes.declared.labels:
                letter, where = self.axes.declared.labels[family]
                if f"letter:{letter}" not in self.axes.parent:
                    raise self.fail(
                        f"nothing in this file is at the place {family}, so what {letter} counts is not known", where
                    )
                over = self.axes.axis(f"letter:{letter}")
            self.families[family] = Family(
                family, letters, tuple(axes), kinds[family], meanings.get(family, ""), tuple(guard), over
            )
        for s in bases:
            base = s.equation.rhs
            assert isinstance(base, Ref)
            f = self.families[s.equation.lhs.family]
            at = dict(equal_to(s.equation.guard[0]))
            kept = [n for n, x in enumerate(f.indices) if x not in at]
            axes_ = tuple(f.axes[n].substitute(at) for n in kept)
            guard_ = tuple(c for c in f.guard if not c.expr.names & at.keys())
            self.families[base.family] = Family(
                base.family, tuple(f.indices[n] for n in kept), axes_, "input", meanings.get(base.family, ""), guard_
            )
        return bases

    def base(self, family: str, letter: str, at: Affine, place: Place) -> Settled:
        name = f"{family}_{at}".replace("-", "m").replace("+", "p")
        if name in self.letters:
            raise self.fail(
                f"{family} at {at} has no equation, and {name} is another quantity; write an equation for it", place
            )
        if name in self.bases:
            raise self.fail(
                f"{family} begins at {at} in two of its indices; an equation for each of the two sides would fit", place
            )
        self.bases[name] = family
        self.moments[name] = self.axes.order(family)[self.letters[family].index(letter)]
        letters = self.letters[family]
        lhs = Ref(family, tuple(map(affine, letters)))
        rhs = Ref(name, tuple(affine(x) for x in letters if x != letter))
        return Settled(Equation(lhs, rhs, (equals(letter, at),)), place, -1)

    # ------------------------------------------------------------ checks

    def check(self) -> None:
        """Nothing is defined twice, and nothing rests on itself."""
        for n, s in enumerate(self.settled):
            for t in self.settled[:n]:
                if s.equation.lhs.family == t.equation.lhs.family and satisfiable(
                    (*s.equation.guard, *t.equation.guard)
                ):
                    raise self.fail(
                        f"{s.equation.lhs.family} is defined twice, first on line {t.place.line}; "
                        "a condition on each that keeps them apart would fit",
                        s.place,
                    )
        at_once: dict[str, dict[str, Settled]] = {}
        for s in self.settled:
            mine = s.equation.lhs
            for _, p in walk(s.equation.rhs):
                if isinstance(p, Ref) and not self.moves(p, mine):
                    at_once.setdefault(mine.family, {}).setdefault(p.family, s)
        cycle = find_cycle({f: set(g) for f, g in at_once.items()})
        if cycle:
            s = at_once[cycle[0]][cycle[1 % len(cycle)]]
            chain = " -> ".join((*cycle, cycle[0]))
            raise self.fail(
                f"{cycle[0]} rests on itself: {chain}; a quantity of an earlier layer or time would fit", s.place
            )

    def moves(self, r: Ref, lhs: Ref) -> bool:
        """Whether a quantity stands at another layer or time than the one it is used for."""
        own = {
            self.axes.find(position(lhs.family, n)): i
            for n, i in zip(self.axes.order(lhs.family), lhs.indices, strict=True)
            if self.axes.recursive_position(lhs.family, n)
        }
        for n, i in zip(self.axes.order(r.family), r.indices, strict=True):
            clock = self.axes.find(position(r.family, n))
            if self.axes.recursive_position(r.family, n) and clock in own and i != own[clock]:
                return True
        return False


def _about(guard: list[Constraint], ranges: list[Constraint]) -> bool:
    """Whether explicit conditions speak of the letters that the ranges speak of."""
    letters = {n for c in ranges for n in c.expr.names}
    return any(c.expr.names & letters for c in guard)


def ends(x: str, guard: Guard) -> tuple[Affine, Affine] | None:
    """The first and last value of a letter under a guard."""
    lows, highs = [], []
    for c in guard:
        k = dict(c.expr.terms).get(x)
        if k == 1:
            other = affine(x) - c.expr
            lows.append(other)
            if c.equal:
                highs.append(other)
        elif k == -1:
            other = c.expr + x
            highs.append(other)
            if c.equal:
                lows.append(other)
    low, high = greatest(lows), least(highs)
    return None if low is None or high is None else (low, high)


def equal_to(c: Constraint) -> tuple[tuple[str, Affine], ...]:
    """The letter that a constraint fixes, and at what: the l = 0 of a base case."""
    name = min(c.expr.names)
    return ((name, affine(name) - c.expr),)


def least(values: list[Affine]) -> Affine | None:
    """The smallest, where letters stand for numbers above all those in play."""
    return _extreme(values, -1)


def greatest(values: list[Affine]) -> Affine | None:
    return _extreme(values, 1)


def _extreme(values: list[Affine], way: int) -> Affine | None:
    best: Affine | None = None
    for v in values:
        if best is None:
            best = v
            continue
        difference = v - best
        if difference.value is None:
            # A last layer or time lies beyond every number that is written out.
            if best.value is None and v.value is not None:
                difference = affine(-1)
            elif best.value is not None and v.value is None:
                difference = affine(1)
            else:
                return None
        if (difference.value or 0) * way > 0:
            best = v
    return best


def refs_with_bounds(
    e: Expr, known: Mapping[str, tuple[Affine, Affine]]
) -> Iterator[tuple[Ref, Mapping[str, tuple[Affine, Affine]]]]:
    """The quantities in an expression with the ranges of the layers and times around them."""
    if isinstance(e, Ref):
        yield e, known
    if isinstance(e, Binder) and e.axis.kind == "recursion" and e.axis.last is not None:
        low, high = e.axis.first, e.axis.last
        for c in () if isinstance(e, Vec) else e.guard:
            k = dict(c.expr.terms).get(e.index)
            other = (affine(e.index) - c.expr) if k == 1 else (c.expr + e.index)
            for x, (lo, hi) in known.items():
                other = other.substitute({x: lo if k == 1 else hi})
            if k == 1:
                low = greatest([low, other]) or low
            elif k == -1:
                high = least([high, other]) or high
        known = {**known, e.index: (low, high)}
    for p in e.parts:
        yield from refs_with_bounds(p, known)


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """The families of a cycle in order; none where there is none."""
    done: set[str] = set()

    def go(f: str, path: list[str]) -> list[str]:
        if f in path:
            return path[path.index(f) :]
        if f in done:
            return []
        for g in sorted(graph.get(f, ())):
            found = go(g, [*path, f])
            if found:
                return found
        done.add(f)
        return []

    for f in graph:
        found = go(f, [])
        if found:
            return found
    return []
