"""Sums in normal form: split into parts that share no index, deltas contracted, names of summed indices forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import permutations

from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, implies
from symbackprop.judge.atoms import (
    UNIT,
    Atom,
    Mono,
    Poly,
    add,
    affine_of,
    condition,
    constant,
    mono_height,
    mono_names,
    renamed,
    renamed_atom,
    scaled,
    shifts,
    single,
)
from symbackprop.judge.ring import MAX_ORDERS, MAX_UNROLLED, Beyond, Ring, places_of
from symbackprop.judge.scope import same_size
from symbackprop.symbols import Ref, Sum, substitute


class Sums(Ring):
    """Arithmetic with sums over indices."""

    def sum_over(self, name: str, axis: Axis, guard: Iterable[Constraint], p: Poly) -> Poly:
        """The sum of a polynomial over an index; `name` occurs nowhere else."""
        own: list[Atom] = []
        if axis.kind != "recursion" and self.system.size(axis) == 1:
            return self.times(self.moved(p, {name: affine(0)}), self.moved(self.guarded(guard), {name: affine(0)}))
        if axis.kind == "recursion":
            own = [condition(c) for c in places_of(axis, affine(name))]
        guard = tuple(guard)
        ends = self.numeric_range(name, axis, guard)
        if ends is not None:
            terms = (
                self.moved(self.times(p, self.guarded(guard)), {name: affine(i)}) for i in range(ends[0], ends[1] + 1)
            )
            return add(*terms)
        said = self.guarded(guard)
        out: Poly = {}
        for m, c in self.times(p, said).items():
            out = add(out, scaled(self.summed(m, name, axis, own), c))
        return out

    def numeric_range(self, name: str, axis: Axis, guard: Guard) -> tuple[int, int] | None:
        """The first and last place of a sum whose ends are numbers and near each other."""
        conds = [*guard, *places_of(axis, affine(name))]
        lows = [-c.expr.const for c in conds if not c.equal and dict(c.expr.terms) == {name: 1}]
        highs = [c.expr.const for c in conds if not c.equal and dict(c.expr.terms) == {name: -1}]
        size = self.size_of(axis) if axis.kind != "recursion" else None
        if axis.kind != "recursion":
            lows.append(0)
        said = bool(highs)
        if size is not None:
            highs.append(size - 1)
        if not lows or not highs or not (said or self.unroll) or min(highs) - max(lows) >= MAX_UNROLLED:
            return None
        return max(lows), min(highs)

    def summed(self, m: Mono, name: str, axis: Axis, own: list[Atom]) -> Poly:
        self.step()
        for a, _ in m:
            if a.kind == "cond" and a.data.equal and name in a.data.expr.names:
                k = dict(a.data.expr.terms).get(name, 0)
                if abs(k) == 1:
                    value = (a.data.expr - Affine(((name, k),))) * -k
                    rest = frozenset(x for x in m if x[0] != a)
                    moved = self.moved({rest: UNIT}, {name: value})
                    return self.times(moved, self.on_axis(value, axis))
        inside, binders = self.spliced(m, {name: axis})
        inside += [(a, UNIT) for a in own]
        return self.parts(inside, binders)

    def on_axis(self, value: Affine, axis: Axis) -> Poly:
        """1 where a value is a place of an axis."""
        if axis.kind == "recursion":
            return self.guarded(places_of(axis, value))
        mine = self.axis(axis)
        if any(a == mine or same_size(self.system, a, mine) for a in self.axes.get(value.name or "", ())):
            return constant(1)
        if mine.at is None and mine.kind == "node" and not self.equal:
            return self.guarded(axis.holds(value))
        if value.value is not None and value.value >= 0:
            return constant(1)
        return single(Atom("on", (value, mine)))

    def spliced(self, m: Mono, binders: dict[str, Axis]) -> tuple[list[tuple[Atom, Fraction]], dict[str, Axis]]:
        """The factors under a sum, with the sums among them that share its indices opened."""
        out: list[tuple[Atom, Fraction]] = []
        binders = dict(binders)
        todo = list(m)
        while todo:
            a, e = todo.pop()
            whole = e.denominator == 1 and 0 < e <= 4
            if a.kind != "block" or not whole or not a.names & binders.keys():
                out.append((a, e))
                continue
            for _ in range(int(e)):
                own, inner = self.opened(a)
                binders |= own
                todo += list(inner)
        return out, binders

    def opened(self, block: Atom) -> tuple[dict[str, Axis], Mono]:
        """The indices and factors of a sum, under new names."""
        binders, inner = block.data
        names = {n: self.new(a) for n, a in binders}
        mapping = {n: affine(x) for n, x in names.items()}
        own = {names[n]: a.substitute(mapping) for n, a in binders}
        for n, a in own.items():
            self.axes[n] = (self.axis(a),)
            self.ranges[n] = places_of(a, affine(n))
        moved = self.moved({inner: UNIT}, mapping)
        if len(moved) != 1:
            raise Beyond("a sum that changes as its index is renamed")
        ((mono, c),) = moved.items()
        if c != 1:
            raise Beyond("a sum that changes as its index is renamed")
        for n in own:
            self.inside[n] = tuple(a.data for a, _ in mono if a.kind == "cond" and n in a.data.expr.names)
        return own, mono

    def parts(self, factors: list[tuple[Atom, Fraction]], binders: dict[str, Axis]) -> Poly:
        """A product under sums as the product of the sums that share no index."""
        powers: dict[Atom, Fraction] = {}
        for a, e in factors:
            powers[a] = powers.get(a, Fraction(0)) + e
        whole = self.monomial(powers)
        out: Poly = {}
        for m, c in whole.items():
            out = add(out, scaled(self.split(m, binders), c))
        return out

    def split(self, m: Mono, binders: dict[str, Axis]) -> Poly:
        conds = [a.data for a, _ in m if a.kind == "cond"]
        for n in binders:
            if (at := self.only(n, conds)) is not None:
                d = affine(n) - at
                ends = {condition(Constraint(d)), condition(Constraint(-d))}
                m = frozenset((*(x for x in m if x[0] not in ends), (condition(Constraint(d, True)), UNIT)))
                break
        # A delta that appeared on the way picks its term.
        for a, _ in m:
            if a.kind == "cond" and a.data.equal:
                for n, k in a.data.expr.terms:
                    if n in binders and abs(k) == 1:
                        value = (a.data.expr - Affine(((n, k),))) * -k
                        rest = frozenset(x for x in m if x[0] != a)
                        others = {x: b for x, b in binders.items() if x != n}
                        moved = self.times(self.moved({rest: UNIT}, {n: value}), self.on_axis(value, binders[n]))
                        out: Poly = {}
                        for k2, c in moved.items():
                            inside, more = self.spliced(k2, others)
                            out = add(out, scaled(self.parts(inside, more), c))
                        return out
        outside = [(a, e) for a, e in m if not a.names & binders.keys()]
        left = [(a, e) for a, e in m if a.names & binders.keys()]
        result: Poly = {frozenset(outside): UNIT}
        todo = dict(binders)
        while todo:
            group = {next(iter(todo))}
            mine: list[tuple[Atom, Fraction]] = []
            while True:
                found = [x for x in left if x[0].names & group]
                grown = group.union(*(x[0].names & todo.keys() for x in found))
                grown |= {n for n, a in todo.items() if a.at is not None and a.at.names & grown}
                grown |= {x for n in grown for x in (todo[n].at.names if todo[n].at is not None else ()) if x in todo}  # type: ignore[union-attr]
                mine += found
                left = [x for x in left if x not in found]
                if grown == group:
                    break
                group = grown
            result = self.times(result, self.block({n: todo.pop(n) for n in sorted(group)}, dict(mine)))
        return result

    def only(self, name: str, conds: Iterable[Constraint]) -> Affine | None:
        """The only value of an index that lies between two equal ends."""
        lows = [c.expr for c in conds]
        for x in lows:
            k = dict(x.terms).get(name, 0)
            if abs(k) == 1 and -x in lows:
                return (x - Affine(((name, k),))) * -k
        return None

    # ------------------------------------------------------------ one sum

    def block(self, binders: dict[str, Axis], powers: dict[Atom, Fraction]) -> Poly:
        """One sum that does not come apart, in its normal form."""
        powers = self.fewest(powers, binders)
        for n, axis in binders.items():
            mine = [(a, e) for a, e in powers.items() if n in a.names]
            if len(mine) == 1 and mine[0][1] == 1 and (known := self.fact(n, axis, mine[0][0])) is not None:
                others = {x: b for x, b in binders.items() if x != n}
                out: Poly = {}
                for m, c in self.times(known, {frozenset(x for x in powers.items() if x != mine[0]): UNIT}).items():
                    factors, more = self.spliced(m, others)
                    out = add(out, scaled(self.parts(factors, more), c))
                return out
        if len(binders) == 1 and not powers:
            ((_, axis),) = binders.items()
            if axis.kind != "recursion":
                return self.size(axis)
        for n in binders:
            own = [a for a in powers if n in a.names]
            if len(own) == 1 and own[0].kind == "test" and self.names_place(own[0], n, binders[n]):
                # A datum is one of the places of its axis.
                rest = [(a, e) for a, e in powers.items() if a != own[0]]
                return self.parts(rest, {x: b for x, b in binders.items() if x != n})
        moves = self.shifts(powers, binders)
        if moves:
            # The old range of the index says nothing of the new one; its own range is among the brackets.
            self.ranges.update(dict.fromkeys(moves, ()))
            out = {}
            for m, c in self.moved({frozenset(powers.items()): UNIT}, moves).items():
                out = add(out, scaled(self.parts(list(m), binders), c))
            return out
        mono: Mono = frozenset(powers.items())
        height = 1 + mono_height(mono)
        best: tuple[str, Atom] | None = None
        for order in self.orders(binders, mono):
            self.step()
            mapping = {n: affine(f"#{height}.{i}") for i, n in enumerate(order)}
            named = renamed(mono, mapping)
            named_axes = tuple(
                (f"#{height}.{i}", self.axis(binders[n]).substitute(mapping)) for i, n in enumerate(order)
            )
            atom = Atom("block", (named_axes, named))
            if best is None or atom.key < best[0]:
                best = (atom.key, atom)
        assert best is not None
        return single(best[1])

    def shifts(self, powers: Mapping[Atom, Fraction], binders: Mapping[str, Axis]) -> dict[str, Affine]:
        """How times are counted so that the earliest quantity under a sum stands at the index itself."""
        recursion = [n for n, axis in binders.items() if axis.kind == "recursion"]
        return {n: affine(n) - k for n in recursion if (k := self.offset(n, powers))}

    def offset(self, name: str, powers: Mapping[Atom, Fraction]) -> int:
        """The least number that is added to a time where it is the index of a quantity."""
        found: set[int] = set()
        for a in powers:
            if a.kind != "cond":
                found |= set(shifts(a, name))
        return min(found, default=0)

    def fewest(self, powers: dict[Atom, Fraction], binders: Mapping[str, Axis]) -> dict[Atom, Fraction]:
        """Without the brackets that follow from the others."""
        conds = sorted((a for a in powers if a.kind == "cond"), key=lambda a: a.key)
        out = dict(powers)
        for a in conds:
            rest = tuple(b.data for b in out if b.kind == "cond" and b != a)
            nodes: Guard = ()
            for n in a.data.expr.names:
                if n in binders and binders[n].kind != "recursion":
                    nodes += binders[n].holds(affine(n))
            if implies((*self.assume, *rest, *nodes, *self.free_ranges(a, binders)), a.data):
                del out[a]
        return out

    def free_ranges(self, a: Atom, binders: Mapping[str, Axis]) -> Guard:
        return tuple(c for n in a.names if n not in binders for c in self.ranges.get(n, ()))

    def orders(self, binders: Mapping[str, Axis], mono: Mono) -> Iterator[tuple[str, ...]]:
        """The orders of summed indices worth comparing: those alike in all that is said of each alone."""
        if len(binders) == 1:
            yield tuple(binders)
            return
        marks: dict[str, str] = {}
        for n, axis in binders.items():
            mapping = {x: affine("@") if x == n else affine("?") for x in binders}
            seen = sorted(f"{renamed_atom(a, mapping).key}^{e}" for a, e in mono if n in a.names)
            marks[n] = f"{self.axis(axis).kind}{axis.label}{'' if axis.at is None else axis.at}{seen}"
        groups: dict[str, list[str]] = {}
        for n in binders:
            groups.setdefault(marks[n], []).append(n)
        ordered = [groups[k] for k in sorted(groups)]
        count = 1
        for g in ordered:
            for k in range(2, len(g) + 1):
                count *= k
        if count > MAX_ORDERS:
            raise Beyond("too many summed indices that are alike")

        def go(rest: list[list[str]]) -> Iterator[tuple[str, ...]]:
            if not rest:
                yield ()
                return
            for first in permutations(rest[0]):
                for tail in go(rest[1:]):
                    yield (*first, *tail)

        yield from go(ordered)

    # ------------------------------------------------------------ other values for indices

    def moved(self, p: Poly, mapping: Mapping[str, Affine]) -> Poly:
        """Other values for index names, simplified anew."""
        out: Poly = {}
        for m, c in p.items():
            if mono_names(m).isdisjoint(mapping):
                out = add(out, {m: c})
                continue
            self.step()
            still = {a: e for a, e in m if a.names.isdisjoint(mapping)}
            others = [self.raised(self.moved_atom(a, mapping), e) for a, e in m if a not in still]
            out = add(out, scaled(self.times(self.monomial(still), *others), c))
        return out

    def moved_atom(self, a: Atom, mapping: Mapping[str, Affine]) -> Poly:
        match a.kind:
            case "cond":
                return self.bracket(a.data.substitute(mapping))
            case "on":
                return self.on_axis(a.data[0].substitute(mapping), a.data[1].substitute(mapping))
            case "pos":
                return self.position(affine_of(a.data).substitute(mapping))
            case "size":
                return self.size(a.data.substitute(mapping))
            case "fn":
                name, order, at, argument = a.data
                return self.applied(name, order, at and at.substitute(mapping), self.moved(dict(argument), mapping))
            case "test":
                return self.test(a.data[0], self.moved(dict(a.data[1]), mapping))
            case "group":
                return self.moved(dict(a.data), mapping)
            case "block":
                own, inner = self.opened(a)
                mono = self.moved({inner: UNIT}, mapping)
                out: Poly = {}
                for m, c in mono.items():
                    axes = {n: x.substitute(mapping) for n, x in own.items()}
                    inside, binders = self.spliced(m, axes)
                    out = add(out, scaled(self.parts(inside, binders), c))
                return out
            case "over" if a.data[0] == "prod":
                _, name, axis, conditions, body, _ = a.data
                new = self.new(axis)
                both = {**mapping, name: affine(new)}
                conds = [c.data.substitute(both) for c, _ in conditions]
                return self.product_over(new, axis.substitute(mapping), conds, self.moved(dict(body), both))
        return single(renamed_atom(a, mapping))

    # ------------------------------------------------------------ entries picked by data

    def picks(self, a: Atom) -> Atom | None:
        """For the sum sum_k [y = k] f_k, its condition without the index: y."""
        if a.kind != "block" or len(a.data[0]) != 1:
            return None
        ((name, axis),) = a.data[0]
        for t, _ in a.data[1]:
            if t.kind == "test" and self.names_place(t, name, axis):
                return renamed_atom(t, {name: affine("@")})
        return None

    def names_place(self, test: Atom, name: str, axis: Axis) -> bool:
        """Whether a test says that a datum, one of the places of this very axis, is the place of an index."""
        if test.data[0] != "=" or len(test.data[1]) != 2:
            return False
        datum = place = Fraction(0)
        for m, c in test.data[1]:
            for a, e in m if len(m) == 1 else ():
                if a.kind == "pos" and a.data == name and e == 1:
                    place = c
                elif self.whole(a) and e == 1:
                    over = self.system.family(a.data.family).over
                    datum = c if over is not None and self.axis(over) == self.axis(axis) else Fraction(0)
        return bool(datum) and datum == -place

    def picked(self, found: list[tuple[Atom, Fraction]]) -> Poly:
        """A product of entries picked by one datum: the entry of the product."""
        powers: dict[Atom, Fraction] = {}
        common: str | None = None
        axis: Axis | None = None
        for a, e in found:
            own, inner = self.opened(a)
            ((name, axis),) = own.items()
            if common is None:
                common = name
            m = renamed(inner, {name: affine(common)})
            for x, k in m:
                powers[x] = UNIT if x.kind in ("test", "cond") else powers.get(x, Fraction(0)) + k * e
        assert common is not None and axis is not None
        return self.parts([(a, e) for a, e in powers.items() if e], {common: axis})

    # ------------------------------------------------------------ facts and sizes

    def fact(self, name: str, axis: Axis, a: Atom) -> Poly | None:
        """What is declared of a sum of data over one index: sum_j y_j = 1."""
        if a.kind != "ref":
            return None
        for f in self.system.facts:
            s = f.lhs
            if not isinstance(s, Sum) or not isinstance(s.body, Ref) or s.body.family != a.data.family or s.guard:
                continue
            found = matched(s.body, a.data, self.system.constants)
            if found is None or found.pop(s.index, None) != affine(name) or self.axis(s.axis) != self.axis(axis):
                continue
            if not any(name in i.names for i in found.values()):
                self.facts_used.add(f.text)
                return self.of(substitute(f.rhs, found))
        return None

    def size(self, axis: Axis) -> Poly:
        number = self.system.size(axis)
        return constant(number) if number is not None else single(Atom("size", self.axis(axis)))

    def position(self, i: Affine) -> Poly:
        out = constant(i.const)
        for n, k in i.terms:
            out = add(out, scaled(single(Atom("pos", n)), k))
        return out


def matched(pattern: Ref, r: Ref, constants: frozenset[str]) -> dict[str, Affine] | None:
    """What the letters of a pattern stand for in a quantity; None where it is another."""
    out: dict[str, Affine] = {}
    for i, j in zip(pattern.indices, r.indices, strict=True):
        if i.name is None or i.name in constants:
            if i != j:
                return None
        elif out.setdefault(i.name, j) != j:
            return None
    return out
