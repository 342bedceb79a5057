"""Index hygiene: affine index expressions, typed axes, guards and fresh names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Affine:
    """An integer expression c + sum of coefficient * name, in one normal form.

    A stride before an index is a product of two names: such a term carries them joined by a star. It is linear in
    each, and a condition on it is judged as if the product were a name of its own.

    >>> affine("l") - 1 + 1 == affine("l")
    True
    >>> str(affine("l") + 1)
    'l+1'
    >>> (affine("s") * affine("i") + affine("k")).substitute({"i": affine("j") + 1}) == affine("k") + (
    ...     affine("j") * affine("s") + affine("s")
    ... )
    True
    """

    terms: tuple[tuple[str, int], ...]
    const: int = 0

    def __add__(self, other: AffineLike) -> Affine:
        b = affine(other)
        total = dict(self.terms)
        for name, c in b.terms:
            total[name] = total.get(name, 0) + c
        return Affine(tuple(sorted((n, c) for n, c in total.items() if c)), self.const + b.const)

    def __mul__(self, k: int | Affine) -> Affine:
        if isinstance(k, Affine):
            out = self * k.const
            for n, c in k.terms:
                crossed = ((("*".join(sorted((*m.split("*"), n))), d * c)) for m, d in self.terms)
                out = out + Affine(tuple(sorted(crossed))) + Affine(((n, self.const * c),) if self.const else ())
            return out
        return Affine(tuple((n, c * k) for n, c in self.terms) if k else (), self.const * k)

    __rmul__ = __mul__

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: AffineLike) -> Affine:
        return self + affine(other) * -1

    def __rsub__(self, other: AffineLike) -> Affine:
        return affine(other) - self

    @property
    def names(self) -> frozenset[str]:
        return frozenset(f for n, _ in self.terms for f in n.split("*"))

    @property
    def value(self) -> int | None:
        """The number it is, or None while a name remains."""
        return None if self.terms else self.const

    @property
    def name(self) -> str | None:
        """The name it is, if it is a name alone."""
        if self.const or len(self.terms) != 1 or self.terms[0][1] != 1 or "*" in self.terms[0][0]:
            return None
        return self.terms[0][0]

    def substitute(self, mapping: Mapping[str, Affine]) -> Affine:
        if self.names.isdisjoint(mapping):
            return self
        out = Affine((), self.const)
        for n, c in self.terms:
            first, *others = (mapping.get(f, Affine(((f, 1),))) for f in n.split("*"))
            for other in others:
                first = first * other
            out = out + first * c
        return out

    def evaluate(self, values: Mapping[str, int]) -> int:
        out = self.const
        for n, c in self.terms:
            out += c * (prod(values[f] for f in n.split("*")) if "*" in n else values[n])
        return out

    def __str__(self) -> str:
        out = ""
        # Names before numbers, positive coefficients first: L-1, l+1, never 1+l.
        for n, c in sorted(self.terms, key=lambda t: (t[1] < 0, t[0])):
            sign = "-" if c < 0 else "+" if out else ""
            out += sign + ("" if abs(c) == 1 else str(abs(c))) + n.replace("*", "")
        if self.const or not out:
            out += f"{self.const:+d}" if out else str(self.const)
        return out


AffineLike: TypeAlias = "int | str | Affine"


def affine(x: AffineLike) -> Affine:
    """An Affine from a number, a name or itself."""
    if isinstance(x, Affine):
        return x
    return Affine((), x) if isinstance(x, int) else Affine(((x, 1),))


@dataclass(frozen=True, slots=True)
class Axis:
    """What an index runs over.

    Args:
        kind: `node` (units of a layer), `sample`, or `recursion` (layer or time: ordered, can be shifted).
        label: The letter of its size: two axes are one where label and `at` agree.
        at: For a width that depends on the layer, that layer (n_l has label "n", at l); None: the size is `label`.
        first, last: The range of a recursion axis. Node and sample axes count positions from 0;
            the number printed for the first node belongs to the notation.
    """

    kind: Literal["node", "sample", "recursion"]
    label: str
    at: Affine | None = None
    first: Affine = Affine((), 0)
    last: Affine | None = None

    def substitute(self, mapping: Mapping[str, Affine]) -> Axis:
        if self.at is None or not self.at.names & mapping.keys():
            return self
        return Axis(self.kind, self.label, self.at.substitute(mapping), self.first, self.last)

    def holds(self, i: Affine) -> Guard:
        """The constraints under which `i` is on the axis, as far as its ends are index expressions."""
        return _on_axis(self, i)

    def _holds(self, i: Affine) -> Guard:
        if self.kind == "recursion":
            return (at_least(i, self.first), *((at_least(self.last, i),) if self.last is not None else ()))
        if self.kind == "node" and self.at is None:
            return (at_least(i, 0), at_least(affine(self.label) - 1, i))
        return ()


@lru_cache(maxsize=8192)
def _on_axis(axis: Axis, i: Affine) -> Guard:
    return axis._holds(i)


@dataclass(frozen=True, slots=True)
class Constraint:
    """`expr >= 0`, or `expr == 0` where `equal`."""

    expr: Affine
    equal: bool = False

    def substitute(self, mapping: Mapping[str, Affine]) -> Constraint:
        return Constraint(self.expr.substitute(mapping), self.equal)

    def holds(self, values: Mapping[str, int]) -> bool:
        v = self.expr.evaluate(values)
        return v == 0 if self.equal else v >= 0

    def negations(self) -> tuple[Constraint, ...]:
        """The cells of the complement: one for an inequality, two for an equation."""
        below, above = Constraint(-self.expr - 1), Constraint(self.expr - 1)
        return (below, above) if self.equal else (below,)


Guard: TypeAlias = tuple[Constraint, ...]


def at_least(a: AffineLike, b: AffineLike) -> Constraint:
    return Constraint(affine(a) - affine(b))


def equals(a: AffineLike, b: AffineLike) -> Constraint:
    return Constraint(affine(a) - affine(b), equal=True)


def between(low: AffineLike, x: AffineLike, high: AffineLike) -> Guard:
    return (at_least(x, low), at_least(high, x))


def satisfiable(guard: Iterable[Constraint]) -> bool:
    """Whether integers exist that satisfy every constraint (Fourier-Motzkin elimination with integer tightening).

    Exact for the difference constraints that layers and times give rise to. Where tightening is not
    enough to see a contradiction it errs on the side of True, which costs a case, never a wrong one.

    >>> satisfiable([at_least("L", "l"), at_least("l", affine("L") + 1)])
    False
    """
    return _satisfiable(frozenset(guard))


@lru_cache(maxsize=8192)
def _satisfiable(guard: frozenset[Constraint]) -> bool:
    rows: set[Affine] = set()
    equations: list[Affine] = []
    for c in guard:
        if c.equal:
            equations.append(c.expr)
        else:
            rows.add(c.expr)
    while equations:
        e = equations.pop()
        unit = next(((n, k) for n, k in e.terms if abs(k) == 1), None)
        if unit is None:
            if not e.terms:
                if e.const:
                    return False
                continue
            if e.const % gcd(*(k for _, k in e.terms)):
                return False
            rows |= {e, -e}
            continue
        name, k = unit
        solved = {name: (e - Affine(((name, k),))) * -k}
        equations = [q.substitute(solved) for q in equations]
        rows = {r.substitute(solved) for r in rows}
    while rows:
        tight: set[Affine] = set()
        for r in rows:
            if not r.terms:
                if r.const < 0:
                    return False
                continue
            g = gcd(*(k for _, k in r.terms))
            tight.add(Affine(tuple((n, k // g) for n, k in r.terms), r.const // g))
        if not tight:
            return True
        name = min({n for r in tight for n, _ in r.terms})
        lower, upper, rows = [], [], set()
        for r in tight:
            k = next((k for n, k in r.terms if n == name), 0)
            if k > 0:
                lower.append((k, r))
            elif k < 0:
                upper.append((-k, r))
            else:
                rows.add(r)
        rows |= {lo * b + up * a for a, lo in lower for b, up in upper}
    return True


def implies(guard: Iterable[Constraint], goal: Constraint) -> bool:
    known = tuple(guard)
    return goal in known or not any(satisfiable((*known, n)) for n in goal.negations())


def contradicts(guard: Iterable[Constraint], goal: Constraint) -> bool:
    return not satisfiable((*guard, goal))


def fresh(preferred: str, taken: Iterable[str]) -> str:
    """A name like `preferred` that is not taken: the letter itself, then p, r, s, ... then with primes.

    >>> fresh("k", {"j"}), fresh("k", {"j", "k"}), fresh("k", {"k", "p"}), fresh("k", "kmprstuv")
    ('k', 'p', 'r', "k'")
    """
    used = set(taken)
    return next(n for n in letters(preferred) if n not in used)


def letters(preferred: str) -> Iterator[str]:
    yield preferred
    yield from "prstuvm"  # letters that also exist as Unicode subscripts
    primed = preferred
    while True:
        primed += "'"
        yield primed
