"""Polynomials in atoms: products, powers, quotients, brackets.

Two expressions with one normal form are equal for all sizes and all data. Products are multiplied out, quotients brought
to partial fractions as far as one divisor goes. Every operation counts its steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache

from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, implies, satisfiable
from symbackprop.judge.atoms import (
    ONE,
    UNIT,
    Atom,
    Frozen,
    Mono,
    Poly,
    add,
    atoms,
    condition,
    constant,
    frozen,
    items,
    mono_key,
    scaled,
    single,
)
from symbackprop.network import System
from symbackprop.symbols import Call, Expr, Max, Param, Where, walk

MAX_STEPS = 9_000
"""Products of monomials in one proof."""

ALL_STEPS = 24_000
"""Steps of all attempts at one claim together."""

MAX_TERMS = 4_000
MAX_BITS = 20_000
"""Of a number in a normal form."""

MAX_POWER = 12
MAX_UNROLLED = 12
"""Terms of a sum that is written out."""

MAX_PRIME = 1000
MAX_ORDERS = 720
"""Orders of summed indices that are compared for one sum."""


BARE = "~"
"""Behind the label of a layer or time axis whose range is said by brackets, not by the axis."""


class Beyond(Exception):
    """A formula that the normal form does not reach, or too large for it; the message says which."""


class Purse:
    """The steps that are left for all attempts at one claim."""

    def __init__(self, left: int = ALL_STEPS) -> None:
        self.left = left


class Ring(ABC):
    """Arithmetic on normal forms over one network.

    Args:
        assume: What holds of the free indices.
        equal: Whether all layers have one width.
        generic: Whether no real quantity lies exactly on a boundary between two cases.
        written: Whether activations are written out with exp; else one whose slope is a polynomial in its own value,
            such as the logistic function, is left as it is.
        unroll: Whether sums over axes of a few places are written out.
    """

    def __init__(
        self,
        system: System,
        assume: Guard = (),
        *,
        equal: bool = False,
        generic: bool = False,
        written: bool = False,
        unroll: bool = False,
        purse: Purse | None = None,
    ) -> None:
        self.system, self.equal, self.generic, self.written = system, equal, generic, written
        self.unroll = unroll
        self.purse = purse or Purse()
        self.assume: Guard = (*system.standing, *assume)
        self.ranges: dict[str, Guard] = {}
        self.inside: dict[str, Guard] = {}
        """What the brackets under an opened sum say of its index; for a choice between equations, never to drop them."""
        self.axes: dict[str, tuple[Axis, ...]] = {}
        self.steps, self.limit = 0, MAX_STEPS
        self.fresh = 0
        self.facts_used: set[str] = set()
        self.seen: dict[Expr, Poly] = {}

    # ------------------------------------------------------------ what sums and functions give

    @abstractmethod
    def moved(self, p: Poly, mapping: Mapping[str, Affine]) -> Poly:
        """Other values for index names, simplified anew."""

    @abstractmethod
    def picks(self, a: Atom) -> Atom | None:
        """For the sum sum_k [y = k] f_k, its condition without the index: y."""

    @abstractmethod
    def picked(self, found: list[tuple[Atom, Fraction]]) -> Poly:
        """A product of entries picked by one datum."""

    @abstractmethod
    def applied(self, name: str, order: int, at: Affine | None, argument: Poly) -> Poly:
        """An elementary or generic function of a normal form."""

    @abstractmethod
    def product_over(self, name: str, axis: Axis, guard: Iterable[Constraint], p: Poly) -> Poly:
        """The product over an index."""

    @abstractmethod
    def of(self, e: Expr) -> Poly:
        """The normal form of an expression."""

    # ------------------------------------------------------------ bookkeeping

    def step(self, n: int = 1) -> None:
        self.steps += n
        self.purse.left -= n
        if self.steps > self.limit or self.purse.left < 0:
            raise Beyond("too large to prove")

    def new(self, axis: Axis) -> str:
        """A name for a summed index that nothing else has."""
        self.fresh += 1
        name = f"~{self.fresh}"
        self.register(name, axis)
        return name

    def register(self, name: str, axis: Axis) -> None:
        self.axes[name] = (self.axis(axis),)
        self.ranges[name] = places_of(axis, affine(name))

    def axis(self, a: Axis) -> Axis:
        """An axis as sums are compared by it."""
        if a.kind == "recursion":
            return a if a.label.endswith(BARE) else Axis("recursion", a.label + BARE)
        if a.at is not None and self.equal:
            return Axis(a.kind, a.label)
        return a

    def size_of(self, axis: Axis) -> int | None:
        """The number of places of an axis, as the model or the claim states it."""
        size = self.system.size(axis)
        if size is None and axis.kind == "node":
            for c in self.assume:
                if c.equal and len(c.expr.terms) == 1 and c.expr.terms[0] in ((axis.label, 1), (axis.label, -1)):
                    return -c.expr.const * c.expr.terms[0][1]
        return size

    def known(self, c: Constraint, more: Guard = ()) -> Guard:
        names, out = set(c.expr.names), list(more)
        for m in more:
            names |= m.expr.names
        for n in sorted(names):
            out += self.ranges.get(n, ())
        return (*self.assume, *out)

    # ------------------------------------------------------------ products

    def times(self, *polys: Poly) -> Poly:
        out: Poly = {ONE: UNIT}
        for p in polys:
            if not p or not out:
                return {}
            if len(p) == 1 and ONE in p:
                out = scaled(out, p[ONE])
                continue
            total: Poly = {}
            for m, c in out.items():
                for n, d in p.items():
                    self.step()
                    for k, e in self.joined(m, n).items():
                        value = total.get(k, 0) + c * d * e
                        if value:
                            total[k] = value
                        else:
                            total.pop(k, None)
            out = total
            if len(out) > MAX_TERMS:
                raise Beyond("too many terms to prove")
        return out

    def joined(self, m: Mono, n: Mono) -> Poly:
        """The product of two monomials."""
        if not m or not n:
            return {m or n: UNIT}
        powers = dict(m)
        for a, e in n:
            powers[a] = powers.get(a, Fraction(0)) + e
        return self.monomial(powers)

    def monomial(self, powers: Mapping[Atom, Fraction]) -> Poly:
        """A product of powers of atoms: brackets once, groups multiplied out, picked entries together."""
        kept: dict[Atom, Fraction] = {}
        unfolded: list[Poly] = []
        picks: dict[Atom, list[tuple[Atom, Fraction]]] = {}
        for a, e in powers.items():
            if not e:
                continue
            if a.kind in ("cond", "test", "on"):
                kept[a] = UNIT
            elif a.kind == "group" and e >= 1:
                whole = e.numerator // e.denominator
                unfolded += [dict(a.data)] * whole
                if e - whole:
                    kept[a] = e - whole
            elif a.kind == "num":
                whole = e.numerator // e.denominator
                if abs(whole) * a.data.numerator.bit_length() > MAX_BITS:
                    raise Beyond("a number too large to compute with")
                unfolded.append(constant(a.data**whole))
                if e - whole:
                    kept[a] = e - whole
            elif (test := self.picks(a)) is not None and e.denominator == 1:
                picks.setdefault(test, []).append((a, e))
                kept[a] = e
            else:
                kept[a] = e
        for found in picks.values():
            if len(found) > 1 or found[0][1] != 1:
                for a, _ in found:
                    del kept[a]
                unfolded.append(self.picked(found))
        if self.impossible(kept):
            return {}
        for g in kept:
            if g.kind == "group" and kept[g] < 0 and (divided := self.divided(g, kept)) is not None:
                return self.times(divided, *unfolded)
        out: Poly = {frozenset(kept.items()): UNIT}
        return self.times(out, *unfolded) if unfolded else out

    def impossible(self, kept: Mapping[Atom, Fraction]) -> bool:
        """Whether two brackets of a product exclude each other."""
        tests = {a.data for a in kept if a.kind == "test"}
        if any(op == "<" and ("=", d) in tests for op, d in tests):
            return True
        conds = [a.data for a in kept if a.kind == "cond"]
        if len(conds) < 2:
            return False
        return not satisfiable(self.known(conds[0], tuple(conds)))

    def divided(self, group: Atom, kept: Mapping[Atom, Fraction]) -> Poly | None:
        """A product with the leading term of a divisor above the line, written with one divisor less: z/(z+1) = 1 - 1/(z+1)."""
        lead, c = self.leading(group.data)
        if not lead or not all(e > 0 and kept.get(a, 0) >= e for a, e in lead):
            return None
        self.step()
        rest = dict(kept)
        for a, e in lead:
            rest[a] = rest[a] - e
            if not rest[a]:
                del rest[a]
        tail = {m: k for m, k in group.data if m != lead}
        less = dict(rest)
        less[group] += 1
        if not less[group]:
            del less[group]
        first = self.monomial(less)
        second = self.times(self.monomial(rest), tail)
        return scaled(add(first, scaled(second, -1)), 1 / c)

    def leading(self, p: Poly | Frozen) -> tuple[Mono, Fraction]:
        return max(items(p), key=lambda t: (sum(e for _, e in t[0]), mono_key(t[0])))

    # ------------------------------------------------------------ powers and quotients

    def power(self, p: Poly, exponent: Fraction) -> Poly:
        if exponent == 1:
            return p
        bits = max((max(c.numerator.bit_length(), c.denominator.bit_length()) for c in p.values()), default=0)
        if abs(exponent) * bits > MAX_BITS:
            raise Beyond("a number too large to compute with")
        if exponent.denominator == 1 and 0 <= exponent <= MAX_POWER:
            return self.times(*[p] * int(exponent))
        if exponent.denominator == 1 and exponent > MAX_POWER and len(p) > 1:
            raise Beyond("a large power of a sum")
        if not p:
            raise Beyond("a power of zero")
        if exponent < 0 and exponent.denominator == 1:
            return self.power(self.inverse(p), -exponent)
        return self.root(p, exponent)

    def raised(self, p: Poly, e: Fraction) -> Poly:
        if len(p) == 1 and e.denominator == 1:
            ((m, c),) = p.items()
            if c == 1:
                return self.monomial({a: x * e for a, x in m})
        return self.power(p, e)

    def root(self, p: Poly, exponent: Fraction) -> Poly:
        """A fractional power: a positive number leaves it, and so do positive factors; one factor stays what it is."""
        if len(p) == 1:
            ((m, c),) = p.items()
            alone = len(m) == 1 and all(e == 1 for _, e in m)
            if c > 0 and (alone or all(positive(a) or e.denominator != 1 for a, e in m)):
                powers = {Atom("num", Fraction(q)): k * exponent for q, k in prime_powers(c)}
                return self.times(self.monomial(powers), self.monomial({a: e * exponent for a, e in m}))
        group, number = self.group(p)
        if number == constant(1):
            return single(group, exponent)
        return self.times(self.root(number, exponent), single(group, exponent))

    def group(self, p: Poly) -> tuple[Atom, Poly]:
        """A polynomial as a base, and the positive number before it."""
        _, c = self.leading(p)
        return Atom("group", frozen(scaled(p, 1 / abs(c)))), constant(abs(c))

    def inverse(self, p: Poly) -> Poly:
        """1/p: a monomial turned around; a sum brought over one divisor, what its terms share taken out."""
        if not p:
            raise Beyond("a division by zero")
        above, below = self.cleared(p)
        if not above:
            raise Beyond("a division by zero")
        if len(above) == 1:
            ((m, c),) = above.items()
            return self.times(below, scaled(self.monomial({a: -e for a, e in m}), 1 / c))
        shared = dict(next(iter(above)))
        for m in above:
            have = dict(m)
            shared = {a: min(e, have[a]) for a, e in shared.items() if a in have}
        if shared:
            above = self.times(above, self.monomial({a: -e for a, e in shared.items()}))
        _, c = self.leading(above)
        group = Atom("group", frozen(scaled(above, 1 / c)))
        out = {frozenset({(group, Fraction(-1))}): 1 / c}
        return self.times(below, self.monomial({a: -e for a, e in shared.items()}), out)

    def cleared(self, p: Poly) -> tuple[Poly, Poly]:
        """(above, below) with p = above / below and no negative power in `above`."""
        most: dict[Atom, Fraction] = {}
        for m in p:
            for a, e in m:
                if e < 0:
                    most[a] = min(most.get(a, Fraction(0)), e)
        if not most:
            return p, {ONE: UNIT}
        total: Poly = {}
        for m, c in p.items():
            powers = dict(m)
            groups: list[Poly] = []
            for a, e in most.items():
                rest = powers.pop(a, Fraction(0)) - e
                if a.kind == "group":
                    whole = rest.numerator // rest.denominator
                    groups += [dict(a.data)] * whole
                    rest -= whole
                if rest:
                    powers[a] = rest
            total = add(total, scaled(self.times(self.monomial(powers), *groups), c))
        below: Poly = {frozenset((a, -e) for a, e in most.items()): UNIT}
        grouped = [dict(a.data) for a, e in most.items() if a.kind == "group" for _ in range(int(-e))]
        plain = frozenset((a, -e) for a, e in most.items() if a.kind != "group")
        if all(a.kind != "group" or e.denominator == 1 for a, e in most.items()):
            below = self.times({plain: UNIT}, *grouped)
        return total, below

    def is_zero(self, p: Poly) -> bool:
        """Whether a normal form is 0 wherever it has a value."""
        if not p:
            return True
        p = {m: c for m, c in self.substituted(p).items() if not vanishes(m)}
        if not p:
            return True
        above, _ = self.cleared(p)
        return not self.substituted(above)

    def substituted(self, p: Poly) -> Poly:
        """Terms that hold where two free indices are equal, with one letter for both."""
        out: Poly = {}
        for m, c in p.items():
            term = {m: c}
            for a, _ in m:
                if a.kind == "cond" and a.data.equal:
                    letters = sorted((n for n, k in a.data.expr.terms if abs(k) == 1 and "*" not in n), reverse=True)
                    letters = [n for n in letters if n not in self.system.constants] or letters
                    if letters:
                        name = letters[0]
                        k = dict(a.data.expr.terms)[name]
                        value = (a.data.expr - Affine(((name, k),))) * -k
                        rest = frozenset(x for x in m if x[0] != a)
                        moved = self.moved({rest: c}, {name: value})
                        term = self.times(moved, single(a))
                        break
            out = add(out, term)
        return out

    # ------------------------------------------------------------ brackets

    def bracket(self, c: Constraint) -> Poly:
        """1 where a constraint on indices holds, 0 elsewhere."""
        if not c.expr.terms:
            return constant(int(c.expr.const == 0 if c.equal else c.expr.const >= 0))
        self.step()
        known = self.known(c)
        if implies(known, c):
            return constant(1)
        if not satisfiable((*known, c)):
            return {}
        return single(condition(c))

    def guarded(self, guard: Iterable[Constraint]) -> Poly:
        return self.times(*(self.bracket(c) for c in guard))

    def test(self, op: str, p: Poly) -> Poly:
        """1 where p < 0, or p = 0; of two forms that exclude each other one is written with the other."""
        places = whole_affine(p)
        if places is not None:
            return self.bracket(Constraint(places, True) if op == "=" else Constraint(-places - 1))
        inner = next((a for m in p for a, _ in m if a.kind == "test"), None)
        if inner is not None:
            yes, no = (self.without(p, inner, k) for k in (1, 0))
            here = single(inner)
            return add(
                self.times(here, self.test(op, yes)), self.times(add(constant(1), scaled(here, -1)), self.test(op, no))
            )
        p, _ = self.cleared(p) if all(positive(a) for m in p for a, e in m if e < 0) else (p, p)
        if not p or (len(p) == 1 and ONE in p):
            value = p.get(ONE, Fraction(0))
            return constant(int(value < 0 if op == "<" else value == 0))
        if op == "=" and self.generic and not all(a.kind == "pos" or self.whole(a) for m in p for a, _ in m):
            if any(x.kind == "ref" and x.data.family in flat(self.system) for x in atoms(p)):
                raise Beyond("a quantity that is 0, or the same, on more than a boundary")
            return {}
        if len(p) == 1:
            ((m, c),) = p.items()
            p = {frozenset((a, e) for a, e in m if not positive(a)) or m: c}
        if all(c > 0 and all(positive(a) for a, _ in m) for m, c in p.items()):
            return {}
        _, c = self.leading(p)
        d = scaled(p, 1 / abs(c))
        if op == "=":
            return single(Atom("test", ("=", frozen(d if c > 0 else scaled(d, -1)))))
        if c > 0:
            return single(Atom("test", ("<", frozen(d))))
        d = scaled(d, -1)
        return add(constant(1), scaled(add(single(Atom("test", ("<", frozen(d)))), self.test("=", d)), -1))

    def whole(self, a: Atom) -> bool:
        return a.kind == "ref" and self.system.family(a.data.family).over is not None

    def without(self, p: Poly, atom: Atom, value: int) -> Poly:
        """A polynomial with 0 or 1 for a bracket."""
        out: Poly = {}
        for m, c in p.items():
            if any(a == atom for a, _ in m):
                if value:
                    out = add(out, {frozenset(x for x in m if x[0] != atom): c})
            else:
                out = add(out, {m: c})
        return out


def vanishes(m: Mono) -> bool:
    """Whether a product is y [y = 0], which is 0; its derivative by y is not, so this is asked at the end alone."""
    powers = dict(m)
    for a in powers:
        if a.kind == "test" and a.data[0] == "=" and len(a.data[1]) == 1:
            ((inner, c),) = a.data[1]
            if c == 1 and len(inner) == 1:
                ((x, e),) = inner
                if e == 1 and powers.get(x, Fraction(0)) > 0:
                    return True
    return False


@lru_cache(maxsize=64)
def flat(system: System) -> frozenset[str]:
    """The families whose equations have cases or kinks: ReLU(z) is exactly 0 for half of all z."""

    def kinked(e: Expr) -> bool:
        for _, p in walk(e):
            if isinstance(p, Where | Max) or (isinstance(p, Call) and p.function in ("abs", "sign")):
                return True
            if isinstance(p, Call):
                for name in (p.function, *system.tables.get(p.function, {}).values()):
                    own = system.function(name)
                    if own is not None and own.value is not None and kinked(own.value(Param("#z"))):
                        return True
        return False

    return frozenset(e.lhs.family for e in system.equations if kinked(e.rhs))


def whole_affine(p: Poly) -> Affine | None:
    """A polynomial in the places of indices alone, of degree one, as an index expression."""
    out = Affine(())
    for m, c in p.items():
        if c.denominator != 1 or len(m) > 1 or any(a.kind != "pos" or e != 1 for a, e in m):
            return None
        names = [a.data for a, _ in m]
        out = out + (Affine(((names[0], int(c)),)) if names else int(c))
    return out if out.terms else None


def places_of(axis: Axis, i: Affine) -> Guard:
    """What an axis itself says of an index on it."""
    return () if axis.label.endswith(BARE) else axis.holds(i)


def positive(a: Atom) -> bool:
    """Whether an atom is positive for all data."""
    match a.kind:
        case "size" | "num":
            return True
        case "param":
            return bool(a.data == "pi")
        case "fn":
            return bool(a.data[0] == "exp" and a.data[1] == 0)
        case "group":
            return all(c > 0 and all(positive(x) for x, _ in m) for m, c in a.data)
        case "block":
            factors = [x for x, _ in a.data[1]]
            return bool(factors) and all(positive(x) for x in factors)
    return False


def prime_powers(c: Fraction) -> Iterator[tuple[int, int]]:
    """The prime factors of a positive number with their powers; a large one is left whole."""
    for rest, sign in ((c.numerator, 1), (c.denominator, -1)):
        for q in range(2, MAX_PRIME):
            count = 0
            while rest % q == 0:
                rest, count = rest // q, count + 1
            if count:
                yield q, sign * count
            if q * q > rest:
                break
        if rest > 1:
            yield rest, sign
