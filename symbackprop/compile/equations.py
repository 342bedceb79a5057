"""The sum of a product in a normal form, and its value.

Factors are values whose axes carry one label each. Strides, shifts, deltas and gathers have become equations
between labels, and an equation is solved for the label whose disappearance leaves the least work: by looking at
a value through a window, or by adding the result up where it belongs, as convolutions and their gradients do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from symbackprop.compile.array_builder import ArrayBuilder
from symbackprop.compile.builder import Term, Value
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Constraint, Guard, affine
from symbackprop.symbols import ONE, ZERO, Num


@dataclass
class Product:
    """The sum of a product over labels, in the making.

    Args:
        summed: Labels that are summed.
        numbers: Factors that are numbers.
        values: Factors with labels on their axes, each label at most once on each.
        equations: Expressions in labels that are 0 in the terms that count.
        picks: Integer data, and the index that is equal to it in the terms that count.
        conditions: What else must hold.
        folds: Axes of the result along which entries are added up, each at its place.
    """

    summed: set[str] = field(default_factory=set)
    numbers: list[Term] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    equations: list[Affine] = field(default_factory=list)
    picks: list[tuple[Value, Affine]] = field(default_factory=list)
    conditions: list[Constraint] = field(default_factory=list)
    folds: dict[str, Affine] = field(default_factory=dict)

    def copy(self) -> Product:
        return Product(
            set(self.summed),
            list(self.numbers),
            list(self.values),
            list(self.equations),
            list(self.picks),
            list(self.conditions),
            dict(self.folds),
        )


@dataclass(frozen=True, slots=True)
class Solver:
    """Turns products into values.

    Args:
        build: Where values are built.
        ends: The least and the largest number that a label or a counter stands for.
    """

    build: ArrayBuilder
    ends: Callable[[str], tuple[int, int]]

    # ---------------------------------------------------------------- what is known of indices

    def open(self, guard: Iterable[Constraint]) -> set[Constraint] | None:
        """The constraints on labels that are not always true; None where one never holds."""
        out: set[Constraint] = set()
        for c in guard:
            low, high = self.reach(c.expr)
            if high < 0 or (c.equal and low > 0):
                return None
            if (c.equal and (low, high) != (0, 0)) or (not c.equal and low < 0):
                out.add(c)
        return out

    def reach(self, e: Affine) -> tuple[int, int]:
        low = high = e.const
        for n, k in e.terms:
            a, b = self.ends(n)
            low, high = low + min(k * a, k * b), high + max(k * a, k * b)
        return low, high

    def factor(self, p: Product, t: Term) -> None:
        if isinstance(t, Value):
            p.values.append(t)
        else:
            p.numbers.append(t)

    def position(self, i: Affine) -> Term:
        """The number of a position, as something to compute with."""
        terms: list[Term] = [Num(Fraction(i.const))]
        for n, k in i.terms:
            if n not in self.build.label_dims:
                raise ModelError("the number of a turn of a loop cannot be computed with yet")
            terms.append(self.build.mul([Num(Fraction(k)), self.build.iota(n)]))
        return self.build.add(terms)

    # ---------------------------------------------------------------- solving a product

    def solved(self, p: Product) -> Term:
        """The value of a product, its equations solved one by one."""
        if ZERO in p.numbers:
            return ZERO
        p.equations += [c.expr for c in p.conditions if c.equal]
        p.conditions = [c for c in p.conditions if not c.equal]
        seen: set[Affine] = set()
        self.introduce(p, seen)
        while p.equations:
            if not self.solve(p):
                return ZERO
            if not p.equations:
                self.introduce(p, seen)
        scattered: list[tuple[Value, str]] = []
        for x, at in p.picks:
            self.chosen(p, x, at, scattered)
        return self.finished(p, scattered)

    def solve(self, p: Product) -> bool:
        """Solve one equation of a product; False where it never holds, so that nothing is left."""
        e = min(p.equations, key=lambda e: len(e.terms))
        p.equations.remove(e)
        low, high = self.reach(e)
        if low > 0 or high < 0:
            return False
        if (low, high) != (0, 0):
            ways = self.ways(p, e)
            if ways:
                self.eliminate(p, *min(ways, key=lambda w: self.work(p, *w)))
            else:
                p.conditions.append(Constraint(e, equal=True))
        return True

    def introduce(self, p: Product, seen: set[Affine]) -> None:
        """Give what two conditions keep between 0 and a number a label: 0 <= u - s i < r says that k = u - s i exists.

        Then the entries that count are listed by k, r of them for each i, instead of looked for among all u and i.

        Args:
            seen: What has had a label already. Where it was the label that went again, its conditions are back, and
                they stay.
        """
        known = frozenset[Constraint]().union(*(self.build.support(v) for v in p.values))
        for c in p.conditions:
            e = c.expr
            labels = [n for n, _ in e.terms if n in self.build.label_dims]
            if c in known or e in seen or len(labels) < 2 or not set(labels) & p.summed:
                continue
            other = next((d for d in p.conditions if not (d.expr + e).terms and d not in known), None)
            if other is None or (other.expr + e).const < 0:
                continue
            seen |= {e, other.expr}
            k = self.build.label(self.build.dim((other.expr + e).const + 1))
            p.conditions = [d for d in p.conditions if d not in (c, other)]
            p.summed.add(k)
            p.equations.append(affine(k) - e)
            return

    def ways(self, p: Product, e: Affine) -> list[tuple[str, Affine]]:
        """The labels that an equation can be solved for, each with what it is then equal to."""
        labels = {n for n, _ in e.terms if n in self.build.label_dims}
        if not labels & p.summed:
            return []  # it compares axes of the result
        return [(n, (e - affine(n) * k) * -k) for n, k in e.terms if abs(k) == 1 and n in labels]

    def work(self, p: Product, label: str, value: Affine) -> tuple[float, float, bool]:
        """What is left to do once a label is gone: multiplications, entries in between, whether it is an axis of the result."""
        b = self.build
        new = {n for n in value.names if n in b.label_dims}
        every = {c for v in p.values for c in v.labels} | p.summed | set(p.folds) | new
        between = 0
        for v in p.values:
            if label in v.labels:
                between += b.volume((set(v.labels) | new) - {label})
        if label not in p.summed:
            axes = {n for e in p.equations for n in e.names if n in b.label_dims} | {label}
            kept = ((axes | {c for v in p.values for c in v.labels}) - p.summed) | new
            between += b.volume(kept - {label})
        return float(b.volume(every - {label})), float(between), label not in p.summed

    def eliminate(self, p: Product, label: str, value: Affine) -> None:
        """Put `value` for a label everywhere."""
        b, to = self.build, {label: value}
        carried = any(label in v.labels for v in p.values)
        p.values = [self.seen_at(v, to) for v in p.values]
        p.equations = [e.substitute(to) for e in p.equations]
        p.conditions = [c.substitute(to) for c in p.conditions]
        p.picks = [(self.seen_at(x, to), at.substitute(to)) for x, at in p.picks]
        p.folds = {u: e.substitute(to) for u, e in p.folds.items()}
        if label in p.summed:
            p.summed.discard(label)
            if not carried:
                p.conditions += [Constraint(value), Constraint(affine(b.size(label) - 1) - value)]
        else:
            p.folds[label] = value

    def seen_at(self, v: Value, to: Mapping[str, Affine]) -> Value:
        if not set(v.labels) & to.keys():
            return v
        return self.build.window(v.name, [affine(c).substitute(to) for c in v.labels])

    def chosen(self, p: Product, x: Value, at: Affine, scattered: list[tuple[Value, str]]) -> None:
        """A choice by integer data: a look-up where the index is summed, else a comparison or an addition at places."""
        label = at.name
        if label is None:
            self.factor(p, self.build.where("==", x, self.position(at), ONE, ZERO))
            return
        if label not in p.summed and not set(x.labels) & p.summed:
            self.factor(p, self.build.where("==", x, self.build.iota(label), ONE, ZERO))
            return
        p.values = [self.build.gather(v, x, label) if label in v.labels else v for v in p.values]
        if label in p.summed:
            p.summed.discard(label)
        else:
            scattered.append((x, label))

    def finished(self, p: Product, scattered: Sequence[tuple[Value, str]]) -> Term:
        """A product without equations: conditions, contraction, and what is added up at places."""
        b = self.build
        open_ = self.open(p.conditions)
        if open_ is None:
            return ZERO
        for v in p.values:
            open_ -= b.support(v)
        self._condition(p, tuple(sorted(open_, key=str)))
        held = {n for e in p.folds.values() for n in e.names if n in b.label_dims}
        held |= {c for x, _ in scattered for c in x.labels}
        last = p.summed & held  # summed where entries are added up, not before
        inner = [v for v in p.values if set(v.labels) & p.summed]
        outer = [v for v in p.values if not set(v.labels) & p.summed]
        covered = {c for v in inner for c in v.labels} | last
        p.numbers += [Num(Fraction(b.size(c))) for c in sorted(p.summed - covered)]
        keep = frozenset(c for v in p.values for c in v.labels if c not in p.summed or c in last) | held
        result: Term = ONE
        if inner:
            inner = self._scaled(p, inner, keep)
            result = b.contracted(inner, keep)
        if p.folds or scattered:
            result = b.mul([*p.numbers, result])
            return b.mul([self._added_up(p, result, scattered, held), *outer])
        return b.mul([*p.numbers, *outer, result])

    def _condition(self, p: Product, guard: Guard) -> None:
        """Put conditions on one of the factors, if one has all their labels, else beside them."""
        if not guard:
            return
        names = {n for c in guard for n in c.expr.names}
        if names - self.build.label_dims.keys():
            raise ModelError("a condition on the turn of a loop and a position cannot be compiled yet")
        for n, v in enumerate(p.values):
            if names <= set(v.labels):
                chosen = self.build.select(guard, v)
                assert isinstance(chosen, Value)
                p.values[n] = chosen
                return
        p.values.append(self.build.mask(guard, Fraction(1), names))

    def _scaled(self, p: Product, inner: list[Value], keep: frozenset[str]) -> list[Value]:
        """The factors with a number put on the smallest, where that is much smaller than the result."""
        b = self.build
        smallest = min(range(len(inner)), key=lambda n: b.volume(inner[n].labels))
        every = frozenset(c for v in inner for c in v.labels)
        if p.numbers and len(inner) > 1 and 2 * b.volume(inner[smallest].labels) <= b.volume(every & keep):
            scaled = b.mul([*p.numbers, inner[smallest]])
            if isinstance(scaled, Value):
                p.numbers.clear()
                return [scaled if n == smallest else v for n, v in enumerate(inner)]
        return inner

    def _added_up(self, p: Product, term: Term, scattered: Sequence[tuple[Value, str]], held: set[str]) -> Term:
        b = self.build
        present = set(term.labels) if isinstance(term, Value) else set()
        if not isinstance(term, Value) or held - present:
            term = b.mul([term, b.mask((), Fraction(1), held - present)])
        assert isinstance(term, Value)
        for x, label in scattered:
            still = {n for e in p.folds.values() for n in e.names}
            still |= {c for y, other in scattered if other != label for c in y.labels}
            gone = frozenset(x.labels) & p.summed - still
            term = b.scatter(term, x, label, gone)
        if p.folds:
            labels = b.sort([*p.folds, *(c for c in term.labels if c not in p.summed)])
            term = b.fold(term, [p.folds.get(c, affine(c)) for c in labels], labels)
        return term
