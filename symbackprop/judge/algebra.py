"""Normal forms of claims: sums of products of named quantities, under sums with symbolic sizes.

Two expressions with one normal form are equal for all sizes and all data. Products are multiplied out, sums split
into parts that share no index, deltas contracted, names of summed indices forgotten, functions written with exp and ln,
quotients brought to partial fractions as far as one divisor goes. Every operation counts its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import permutations

from symbackprop.functions import Function
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, implies, satisfiable
from symbackprop.judge.atoms import (
    ONE,
    UNIT,
    Atom,
    Frozen,
    Mono,
    Poly,
    add,
    condition,
    constant,
    frozen,
    items,
    mono_height,
    mono_key,
    mono_names,
    poly_height,
    poly_names,
    scaled,
    single,
)
from symbackprop.network import System
from symbackprop.symbols import (
    Add,
    Call,
    Compare,
    D,
    Delta,
    Depends,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Summand,
    Vec,
    Where,
    Winner,
    WrittenOut,
    substitute,
    walk,
)

MAX_STEPS = 8_000
"""Products of monomials in one proof."""

MAX_TERMS = 4_000
MAX_POWER = 12
MAX_PRIME = 1000
MAX_ORDERS = 720
"""Orders of summed indices that are compared for one sum."""


BARE = "~"
"""Behind the label of a layer or time axis whose range is said by brackets, not by the axis."""


class Beyond(Exception):
    """A formula that the normal form does not reach, or too large for it; the message says which."""


class Algebra:
    """Arithmetic on normal forms over one network.

    Args:
        assume: What holds of the free indices.
        equal: Whether all layers have one width.
        generic: Whether no real quantity lies exactly on a boundary between two cases.
        written: Whether activations are written out with exp; else one whose slope is a polynomial in its own value,
            such as the logistic function, is left as it is.
    """

    def __init__(
        self, system: System, assume: Guard = (), *, equal: bool = False, generic: bool = False, written: bool = False
    ) -> None:
        self.system, self.equal, self.generic, self.written = system, equal, generic, written
        self.assume: Guard = (*system.standing, *assume)
        self.ranges: dict[str, Guard] = {}
        self.inside: dict[str, Guard] = {}
        """What the brackets under an opened sum say of its index; for a choice between equations, never to drop them."""
        self.axes: dict[str, tuple[Axis, ...]] = {}
        self.steps, self.limit = 0, MAX_STEPS
        self.fresh = 0
        self.facts_used: set[str] = set()
        self.seen: dict[Expr, Poly] = {}

    # ------------------------------------------------------------ bookkeeping

    def step(self, n: int = 1) -> None:
        self.steps += n
        if self.steps > self.limit:
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

    def power(self, p: Poly, exponent: Fraction) -> Poly:
        if exponent == 1:
            return p
        if exponent.denominator == 1 and 0 <= exponent <= MAX_POWER:
            return self.times(*[p] * int(exponent))
        if exponent.denominator == 1 and exponent > MAX_POWER and len(p) > 1:
            raise Beyond("a large power of a sum")
        if not p:
            raise Beyond("a power of zero")
        if exponent < 0 and exponent.denominator == 1:
            return self.power(self.inverse(p), -exponent)
        return self.root(p, exponent)

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
        p = self.substituted(p)
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

    def compared(self, e: Compare) -> Poly:
        d = add(self.of(e.left), scaled(self.of(e.right), -1))
        match e.op:
            case "<":
                return self.test("<", d)
            case ">":
                return self.test("<", scaled(d, -1))
            case "==":
                return self.test("=", d)
            case "!=":
                return add(constant(1), scaled(self.test("=", d), -1))
            case ">=":
                return add(constant(1), scaled(self.test("<", d), -1))
        return add(constant(1), scaled(self.test("<", scaled(d, -1)), -1))

    # ------------------------------------------------------------ sums

    def sum_over(self, name: str, axis: Axis, guard: Iterable[Constraint], p: Poly) -> Poly:
        """The sum of a polynomial over an index; `name` occurs nowhere else."""
        own: list[Atom] = []
        if axis.kind != "recursion" and self.system.size(axis) == 1:
            return self.times(self.moved(p, {name: affine(0)}), self.moved(self.guarded(guard), {name: affine(0)}))
        if axis.kind == "recursion":
            own = [condition(c) for c in places_of(axis, affine(name))]
        said = self.guarded(guard)
        out: Poly = {}
        for m, c in self.times(p, said).items():
            out = add(out, scaled(self.summed(m, name, axis, own), c))
        return out

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
        if any(a == mine or self.same_size(a, mine) for a in self.axes.get(value.name or "", ())):
            return constant(1)
        if mine.at is None and mine.kind == "node" and not self.equal:
            return self.guarded(axis.holds(value))
        if value.value is not None and value.value >= 0:
            return constant(1)
        return single(Atom("on", (value, mine)))

    def same_size(self, a: Axis, b: Axis) -> bool:
        size = self.system.size(a)
        return size is not None and size == self.system.size(b)

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

    def block(self, binders: dict[str, Axis], powers: dict[Atom, Fraction]) -> Poly:
        """One sum that does not come apart, in its normal form."""
        powers = self.fewest(powers, binders)
        fact = self.fact(binders, powers)
        if fact is not None:
            return fact
        if len(binders) == 1 and not powers:
            ((_, axis),) = binders.items()
            if axis.kind != "recursion":
                return self.size(axis)
        for n in binders:
            mine = [a for a in powers if n in a.names]
            if len(mine) == 1 and mine[0].kind == "test" and self.names_place(mine[0], n, binders[n]):
                # A datum is one of the places of its axis.
                rest = [(a, e) for a, e in powers.items() if a != mine[0]]
                return self.parts(rest, {x: b for x, b in binders.items() if x != n})
        moves = self.shifts(powers, binders)
        if moves:
            # The old range of the index says nothing of the new one; its own range is among the brackets.
            self.ranges.update(dict.fromkeys(moves, ()))
            out: Poly = {}
            for m, c in self.moved({frozenset(powers.items()): UNIT}, moves).items():
                out = add(out, scaled(self.parts(list(m), binders), c))
            return out
        mono: Mono = frozenset(powers.items())
        height = 1 + mono_height(mono)
        best: tuple[str, Atom] | None = None
        for order in self.orders(binders, mono):
            self.step()
            mapping = {n: affine(f"#{height}.{i}") for i, n in enumerate(order)}
            named = self.renamed(mono, mapping)
            own = tuple((f"#{height}.{i}", self.axis(binders[n]).substitute(mapping)) for i, n in enumerate(order))
            atom = Atom("block", (own, named))
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
            seen = sorted(f"{self.renamed_atom(a, mapping).key}^{e}" for a, e in mono if n in a.names)
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

    def renamed(self, m: Mono, mapping: Mapping[str, Affine]) -> Mono:
        return frozenset((self.renamed_atom(a, mapping), e) for a, e in m)

    def renamed_atom(self, a: Atom, mapping: Mapping[str, Affine]) -> Atom:
        """An atom under other names, without any simplification."""
        if a.names.isdisjoint(mapping):
            return a
        match a.kind:
            case "ref":
                return Atom("ref", moved_ref(a.data, mapping))
            case "partial":
                top, bottom, direct = a.data
                return Atom("partial", (moved_ref(top, mapping), moved_ref(bottom, mapping), direct))
            case "size":
                return Atom("size", a.data.substitute(mapping))
            case "pos":
                value = affine_of(a.data).substitute(mapping)
                return Atom("pos", value.terms[0][0]) if len(value.terms) == 1 and not value.const else a
            case "cond":
                return condition(a.data.substitute(mapping))
            case "on":
                return Atom("on", (a.data[0].substitute(mapping), a.data[1].substitute(mapping)))
            case "fn":
                name, order, at, argument = a.data
                return Atom("fn", (name, order, at and at.substitute(mapping), self.renamed_frozen(argument, mapping)))
            case "test":
                return Atom("test", (a.data[0], self.renamed_frozen(a.data[1], mapping)))
            case "group":
                return Atom("group", self.renamed_frozen(a.data, mapping))
            case "block":
                binders, mono = a.data
                return Atom(
                    "block", (tuple((n, x.substitute(mapping)) for n, x in binders), self.renamed(mono, mapping))
                )
            case "over":
                head, name, axis, conditions, body, place = a.data
                return Atom(
                    "over",
                    (
                        head,
                        name,
                        axis.substitute(mapping),
                        self.renamed(conditions, mapping),
                        self.renamed_frozen(body, mapping),
                        place and place.substitute(mapping),
                    ),
                )
        return a

    def renamed_frozen(self, p: Frozen, mapping: Mapping[str, Affine]) -> Frozen:
        return frozenset((self.renamed(m, mapping), c) for m, c in p)

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

    def raised(self, p: Poly, e: Fraction) -> Poly:
        if len(p) == 1 and e.denominator == 1:
            ((m, c),) = p.items()
            if c == 1:
                return self.monomial({a: x * e for a, x in m})
        return self.power(p, e)

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
        return single(self.renamed_atom(a, mapping))

    # ------------------------------------------------------------ entries picked by data

    def picks(self, a: Atom) -> Atom | None:
        """For the sum sum_k [y = k] f_k, its condition without the index: y."""
        if a.kind != "block" or len(a.data[0]) != 1:
            return None
        ((name, axis),) = a.data[0]
        for t, _ in a.data[1]:
            if t.kind == "test" and self.names_place(t, name, axis):
                return self.renamed_atom(t, {name: affine("@")})
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
            m = self.renamed(inner, {name: affine(common)})
            for x, k in m:
                powers[x] = UNIT if x.kind in ("test", "cond") else powers.get(x, Fraction(0)) + k * e
        assert common is not None and axis is not None
        return self.parts([(a, e) for a, e in powers.items() if e], {common: axis})

    # ------------------------------------------------------------ facts and sizes

    def fact(self, binders: Mapping[str, Axis], powers: Mapping[Atom, Fraction]) -> Poly | None:
        """What is declared of a sum of data: sum_j y_j = 1."""
        if len(binders) != 1 or len(powers) != 1 or not self.system.facts:
            return None
        ((a, e),) = powers.items()
        ((name, axis),) = binders.items()
        if a.kind != "ref" or e != 1:
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

    # ------------------------------------------------------------ functions

    def applied(self, name: str, order: int, at: Affine | None, argument: Poly) -> Poly:
        """An elementary or generic function of a normal form."""
        if order == 0:
            match name:
                case "exp":
                    return self.exponential(argument)
                case "log":
                    return self.logarithm(argument)
                case "sqrt":
                    return self.power(argument, Fraction(1, 2))
                case "sign":
                    below, at_zero = self.test("<", argument), self.test("=", argument)
                    return add(constant(1), scaled(below, -2), scaled(at_zero, -1))
                case "abs":
                    return self.times(argument, self.applied("sign", 0, None, argument))
        return single(Atom("fn", (name, order, at, frozen(argument))))

    def exponential(self, p: Poly) -> Poly:
        powers: dict[Atom, Fraction] = {}
        others: list[Poly] = []
        for m, c in p.items():
            if len(m) == 1:
                ((a, e),) = m
                if a.kind == "fn" and a.data[:2] == ("log", 0) and e == 1:
                    others.append(self.power(dict(a.data[3]), c))
                    continue
            powers[Atom("fn", ("exp", 0, None, frozenset({(m, UNIT)})))] = c
        return self.times(self.monomial(powers), *others)

    def logarithm(self, p: Poly) -> Poly:
        if len(p) == 1:
            ((m, c),) = p.items()
            if c > 0 and all(positive(a) or a.kind == "group" for a, _ in m) and (m or c != 1):
                out: Poly = {} if c == 1 else single(Atom("fn", ("log", 0, None, frozen(constant(c)))))
                for a, e in m:
                    if a.kind == "fn" and a.data[:2] == ("exp", 0):
                        out = add(out, scaled(dict(a.data[3]), e))
                    else:
                        inner = dict(a.data) if a.kind == "group" else single(a)
                        out = add(out, scaled(single(Atom("fn", ("log", 0, None, frozen(inner)))), e))
                return out
            if c == 1 and not m:
                return {}
            if c == 1 and (entry := self.logarithm_of_entry(m)) is not None:
                return entry
        return single(Atom("fn", ("log", 0, None, frozen(p))))

    def logarithm_of_entry(self, m: Mono) -> Poly | None:
        """The logarithm of the entry that a datum picks: the entry of the logarithms."""
        if len(m) != 1:
            return None
        ((a, e),) = m
        if e != 1 or self.picks(a) is None:
            return None
        own, inside = self.opened(a)
        tests = frozenset(x for x in inside if x[0].kind in ("test", "cond"))
        out: Poly = {}
        for k, c in self.times(self.logarithm({inside - tests: UNIT}), {tests: UNIT}).items():
            factors, binders = self.spliced(k, own)
            out = add(out, scaled(self.parts(factors, binders), c))
        return out

    def call(self, e: Call) -> Poly:
        name, at = e.function, e.at
        table = self.system.tables.get(name)
        if table is not None and at is not None and at.value is not None and at.value in table:
            listed = table[at.value]
            if self.system.function(listed) is not None:
                name, at = listed, None
        own = self.system.function(name)
        if len(e.arguments) != 1:
            raise Beyond(f"{name} of several arguments")
        (z,) = e.arguments
        if isinstance(z, Vec):
            index = self.new(z.axis)
            body = self.of(substitute(z.body, {z.index: affine(index)}))
            height = 1 + poly_height(body)
            bound = f"#{height}.0"
            inner = self.renamed_frozen(frozen(body), {index: affine(bound)})
            array = Atom("over", ("array", bound, self.axis(z.axis), ONE, inner, None))
            return single(Atom("fn", (name, e.order, at, frozen(single(array)))))
        if own is None:
            return self.applied(name, e.order, at, self.of(z))
        if own.value is None:
            if e.order == 1:
                return self.of(own.slope(z, Call(name, (z,))))
            return self.applied(name, e.order, None, self.of(z))
        if not self.written and closed(own) and e.order <= 1:
            value = single(Atom("fn", (name, 0, None, frozen(self.of(z)))))
            return value if e.order == 0 else self.slope_in(own, value)
        if e.order == 0:
            return self.of(own.value(z))
        if e.order == 1:
            return self.of(own.slope(z, own.value(z)))
        raise Beyond(f"a derivative of {name} of order {e.order}")

    def slope_in(self, own: Function, value: Poly) -> Poly:
        """The slope of a closed function, given its value."""
        p = self.of(own.slope(Param("#z"), Param("#a")))
        return self.rewritten(p, lambda x: value if x.kind == "param" and x.data == "#a" else None)

    # ------------------------------------------------------------ expressions

    def of(self, e: Expr) -> Poly:
        """The normal form of an expression; its free indices keep their names."""
        if e not in self.seen:
            self.step()
            self.seen[e] = self._of(e)
        return self.seen[e]

    def _of(self, e: Expr) -> Poly:
        match e:
            case Num(value):
                return constant(value)
            case Param(name):
                return single(Atom("param", name))
            case Ref():
                return single(Atom("ref", self.lone(e)))
            case Size(axis):
                return self.size(axis)
            case Position(i):
                return self.position(i)
            case Add(terms):
                return add(*map(self.of, terms))
            case Mul(factors):
                return self.times(*map(self.of, factors))
            case Div(top, bottom):
                factors = bottom.factors if isinstance(bottom, Mul) else (bottom,)
                return self.times(self.of(top), *(self.inverse_of(f) for f in factors))
            case Pow(base, Num(value)):
                if value < 0 and value.denominator == 1:
                    return self.power(self.inverse_of(base), -value)
                return self.power(self.of(base), value)
            case Pow(base, exponent):
                p, x = self.of(base), self.of(exponent)
                if not poly_names(x) and set(x) <= {ONE}:
                    return self.power(p, x.get(ONE, Fraction(0)))
                # b^x = exp(x ln b) for the positive bases that such a power has.
                return self.exponential(self.times(x, self.logarithm(p)))
            case Sum(index, axis, body, guard):
                name = self.new(axis)
                mapping = {index: affine(name)}
                for c in guard:
                    moved = c.substitute(mapping)
                    self.ranges[name] = (*self.ranges[name], moved)
                inner = self.of(substitute(body, mapping))
                self.ranges[name] = places_of(axis, affine(name))
                return self.sum_over(name, axis, [c.substitute(mapping) for c in guard], inner)
            case Max(index, axis, body, guard):
                return single(self.over("max", index, axis, body, guard, None))
            case Prod(index, axis, body, guard):
                name = self.new(axis)
                inner = self.of(substitute(body, {index: affine(name)}))
                said = [c.substitute({index: affine(name)}) for c in (*places_of(axis, affine(index)), *guard)]
                return self.product_over(name, axis, said, inner)
            case Winner(m, at):
                return single(self.over("winner", m.index, m.axis, m.body, m.guard, at))
            case Guarded(body, guard):
                return self.times(self.guarded(guard), self.of(body))
            case Delta(left, right):
                return self.bracket(Constraint(left - right, True))
            case Where(Compare() as c, then, other):
                yes = self.compared(c)
                no = add(constant(1), scaled(yes, -1))
                return add(self.times(yes, self.of(then)), self.times(no, self.of(other)))
            case Call():
                return self.call(e)
            case Partial(top, Ref() as bottom, direct):
                return single(Atom("partial", (self.lone(top), self.lone(bottom), direct)))
            case D(body, variable, total):
                return self.derivative(self.of(body), variable, total)
            case WrittenOut(s):
                return self.of(s)
            case Summand(_, _, body):
                return self.of(body)
            case Depends(quantity):
                return self.of(quantity)
        raise Beyond(f"{type(e).__name__} has no normal form here")

    def lone(self, r: Ref) -> Ref:
        """A quantity with the only place of every axis that has one."""
        if self.system.widths and all(w != 1 for w in self.system.widths) and 1 not in self.system.sizes.values():
            return r
        places = (
            affine(0) if a.kind != "recursion" and i.name is not None and self.system.size(a) == 1 else i
            for a, i in zip(self.system.axes(r), r.indices, strict=True)
        )
        return Ref(r.family, tuple(places))

    def inverse_of(self, e: Expr) -> Poly:
        """1/e, factor by factor, so that what is written as a product stays one."""
        match e:
            case Mul(factors):
                return self.times(*map(self.inverse_of, factors))
            case Pow(base, Num(value)) if value.denominator == 1 and value > 0:
                return self.power(self.inverse_of(base), value)
        return self.inverse(self.of(e))

    def over(self, head: str, index: str, axis: Axis, body: Expr, guard: Guard, place: Affine | None) -> Atom:
        name = self.new(axis)
        mapping = {index: affine(name)}
        inner = self.of(substitute(body, mapping))
        conditions: Mono = frozenset((condition(c.substitute(mapping)), UNIT) for c in guard)
        if axis.kind == "recursion":
            conditions |= {(condition(c), UNIT) for c in places_of(axis, affine(name))}
        bound = f"#{1 + max(poly_height(inner), mono_height(conditions))}.0"
        final = {name: affine(bound)}
        return Atom(
            "over",
            (
                head,
                bound,
                self.axis(axis),
                self.renamed(conditions, final),
                self.renamed_frozen(frozen(inner), final),
                place,
            ),
        )

    # ------------------------------------------------------------ products over an index, ends of ranges

    def product_over(self, name: str, axis: Axis, guard: Iterable[Constraint], p: Poly) -> Poly:
        """The product over an index, as the product of those of its factors; 1 where the range is empty."""
        conds = [c for c in dict.fromkeys(guard) if not implies(self.known(c), c) or name in c.expr.names]
        if conds and not satisfiable(self.known(conds[0], tuple(conds))):
            return constant(1)
        at = self.only(name, conds)
        if at is not None and all(implies(self.assume, c.substitute({name: at})) for c in conds):
            return self.moved(p, {name: at})
        kept = self.fewest({condition(c): UNIT for c in conds}, {name: axis})
        if len(p) != 1:
            return single(self.product_of(name, axis, kept, p))
        ((m, c),) = p.items()
        out: Poly = {ONE: UNIT} if c == 1 else single(self.product_of(name, axis, kept, constant(c)))
        for a, e in m:
            out = self.times(out, single(self.product_of(name, axis, kept, single(a)), e))
        return out

    def product_of(self, name: str, axis: Axis, kept: Mapping[Atom, Fraction], p: Poly) -> Atom:
        mono: Mono = frozenset(kept.items())
        bound = f"#{1 + max(poly_height(p), mono_height(mono))}.0"
        final = {name: affine(bound)}
        inner = self.renamed_frozen(frozen(p), final)
        return Atom("over", ("prod", bound, self.axis(axis), self.renamed(mono, final), inner, None))

    def only(self, name: str, conds: Iterable[Constraint]) -> Affine | None:
        """The only value of an index that lies between two equal ends."""
        lows = [c.expr for c in conds]
        for x in lows:
            k = dict(x.terms).get(name, 0)
            if abs(k) == 1 and -x in lows:
                return (x - Affine(((name, k),))) * -k
        return None

    def ends(self, a: Atom, letter: str, sign: int) -> list[tuple[str, int]]:
        """The summed indices of an atom that begin (sign 1) or end (-1) at a letter and a number, with that number."""
        match a.kind:
            case "block":
                binders = [n for n, x in a.data[0] if x.kind == "recursion"]
                conds = [c.data for c, _ in a.data[1] if c.kind == "cond"]
            case "over" if a.data[0] == "prod":
                binders, conds = [a.data[1]], [c.data for c, _ in a.data[3]]
            case _:
                return []
        out = []
        for n in binders:
            for c in conds:
                terms = dict(c.expr.terms)
                if not c.equal and terms == {n: sign, letter: -sign}:
                    out.append((n, -sign * c.expr.const))
        return out

    def aligned(self, p: Poly, letter: str, sign: int) -> Poly:
        """With the first (or last) terms of sums and products taken out until all begin (or end) at one place."""
        for _ in range(8):
            found = [k for a in atoms(p) for _, k in self.ends(a, letter, sign)]
            if not found or len(set(found)) == 1:
                return p
            goal = max(found) if sign > 0 else min(found)
            p = self.rewritten(p, lambda a, g=goal: self.one_out(a, letter, sign, g))  # type: ignore[misc]
        return p

    def one_out(self, a: Atom, letter: str, sign: int, goal: int) -> Poly | None:
        found = [(n, k) for n, k in self.ends(a, letter, sign) if (goal - k) * sign > 0]
        if not found:
            return None
        bound, k = found[0]
        value = affine(letter) + k
        if a.kind == "block":
            own, inside = self.opened(a)
            names = dict(zip((n for n, _ in a.data[0]), own, strict=True))
            name = names[bound]
            first = self.moved({inside: UNIT}, {name: value})
            end = condition(Constraint((affine(name) - value) * sign))
            later = condition(Constraint((affine(name) - value) * sign - 1))
            rest = frozenset((later if x == end else x, e) for x, e in inside)
            out: Poly = {}
            others = {n: x for n, x in own.items() if n != name}
            for m, c in first.items():
                factors, binders = self.spliced(m, others)
                out = add(out, scaled(self.parts(factors, binders), c))
            factors, binders = self.spliced(rest, own)
            return add(out, self.parts(factors, binders))
        _, name, axis, conditions, body, _ = a.data
        conds = [c.data for c, _ in conditions]
        if not all(implies(self.assume, c.substitute({name: value})) for c in conds):
            return None
        new = self.new(axis)
        mapping = {name: affine(new)}
        moved = [c.substitute(mapping) for c in conds if c.expr != (affine(name) - value) * sign]
        moved.append(Constraint((affine(new) - value) * sign - 1))
        others_of = self.product_over(new, axis, moved, self.moved(dict(body), mapping))
        return self.times(self.moved(dict(body), {name: value}), others_of)

    # ------------------------------------------------------------ derivatives

    def derivative(self, p: Poly, u: Ref, total: bool) -> Poly:
        """dp/du; with `total`, quantities count with their own derivative by u, else all but u are held."""
        out: Poly = {}
        for m, c in p.items():
            for a, e in m:
                inner = self.slope(a, u, total)
                if inner:
                    self.step()
                    rest = dict(m)
                    rest[a] = e - 1
                    out = add(out, scaled(self.times(self.monomial(rest), inner), c * e))
        return out

    def slope(self, a: Atom, u: Ref, total: bool) -> Poly:
        match a.kind:
            case "ref":
                r: Ref = a.data
                if total and self.system.family(r.family).kind in ("derived", "cost"):
                    return single(Atom("partial", (r, u, False)))
                if r.family != u.family:
                    return {}
                return self.guarded(Constraint(i - j, True) for i, j in zip(r.indices, u.indices, strict=True))
            case "fn":
                name, order, at, argument = a.data
                array = whole_array(argument)
                if array is not None:
                    return self.by_entries(f"{name}{order}{at}", array, u, total)
                inner = self.derivative(dict(argument), u, total)
                if not inner:
                    return {}
                return self.times(self.outer(name, order, at, dict(argument)), inner)
            case "group":
                return self.derivative(dict(a.data), u, total)
            case "block":
                own, inside = self.opened(a)
                result: Poly = {}
                for m, c in self.derivative({inside: UNIT}, u, total).items():
                    factors, binders = self.spliced(m, own)
                    result = add(result, scaled(self.parts(factors, binders), c))
                return result
            case "over":
                head, bound, axis, conditions, body, _ = a.data
                if head == "winner":
                    return {}
                if head != "max":
                    inner = self.derivative(dict(body), u, total)
                    if not inner:
                        return {}
                    raise Beyond("a derivative of a product over an index")
                name = self.new(axis)
                mapping = {bound: affine(name)}
                inner = self.derivative(self.moved(dict(body), mapping), u, total)
                winner = single(Atom("over", ("winner", bound, axis, conditions, body, affine(name))))
                guard = [c.data for c, _ in self.renamed(conditions, mapping)]
                return self.sum_over(name, axis, guard, self.times(winner, inner))
            case "partial":
                raise Beyond("a second derivative")
        return {}

    def by_entries(self, function: str, array: Atom, u: Ref, total: bool) -> Poly:
        """The derivative of a function of a whole array: over its entries, the slope there times that of the entry."""
        _, bound, axis, conditions, body, _ = array.data
        name = self.new(axis)
        inner = self.derivative(self.moved(dict(body), {bound: affine(name)}), u, total)
        slope = Atom("over", (f"slope of {function}", bound, axis, conditions, body, affine(name)))
        return self.sum_over(name, axis, (), self.times(single(slope), inner)) if inner else {}

    def outer(self, name: str, order: int, at: Affine | None, z: Poly) -> Poly:
        """The derivative of a function by its argument."""
        here = self.applied(name, order, at, z)
        own = self.system.function(name)
        if order == 0 and own is not None:
            if own.value is not None:
                return self.slope_in(own, here)
            match name:
                case "exp":
                    return here
                case "log":
                    return self.inverse(z)
                case "sin":
                    return self.applied("cos", 0, None, z)
                case "cos":
                    return scaled(self.applied("sin", 0, None, z), -1)
                case "erf":
                    square = self.exponential(scaled(self.power(z, Fraction(2)), -1))
                    return self.times(constant(2), single(Atom("param", "pi"), Fraction(-1, 2)), square)
            raise Beyond(f"the derivative of {name}")
        return self.applied(name, order + 1, at, z)

    def rewritten(self, p: Poly, rule: Callable[[Atom], Poly | None]) -> Poly:
        """Atoms replaced wherever they stand, also under sums and in arguments."""
        out: Poly = {}
        for m, c in p.items():
            factors: list[Poly] = []
            changed = False
            kept: dict[Atom, Fraction] = {}
            for a, e in m:
                new = self.rewritten_atom(a, rule)
                if new is None:
                    kept[a] = e
                else:
                    changed = True
                    factors.append(self.raised(new, e))
            if not changed:
                out = add(out, {m: c})
            else:
                self.step()
                out = add(out, scaled(self.times(self.monomial(kept), *factors), c))
        return out

    def rewritten_atom(self, a: Atom, rule: Callable[[Atom], Poly | None]) -> Poly | None:
        new = rule(a)
        if new is not None:
            return new
        match a.kind:
            case "block":
                own, inner = self.opened(a)
                p = self.rewritten({inner: UNIT}, rule)
                if p == {inner: UNIT}:
                    return None
                out: Poly = {}
                for m, c in p.items():
                    inside, binders = self.spliced(m, own)
                    out = add(out, scaled(self.parts(inside, binders), c))
                return out
            case "fn":
                name, order, at, argument = a.data
                inner_p = self.rewritten(dict(argument), rule)
                return None if inner_p == dict(argument) else self.applied(name, order, at, inner_p)
            case "test":
                inner_p = self.rewritten(dict(a.data[1]), rule)
                return None if inner_p == dict(a.data[1]) else self.test(a.data[0], inner_p)
            case "group":
                inner_p = self.rewritten(dict(a.data), rule)
                return None if inner_p == dict(a.data) else inner_p
            case "over":
                head, bound, axis, conditions, body, place = a.data
                inner_p = self.rewritten(dict(body), rule)
                if inner_p == dict(body):
                    return None
                if head == "prod":
                    index = self.new(axis)
                    final = {bound: affine(index)}
                    conds = [c.data.substitute(final) for c, _ in conditions]
                    return self.product_over(index, axis, conds, self.moved(inner_p, final))
                name = f"#{1 + max(poly_height(inner_p), mono_height(conditions))}.0"
                final = {bound: affine(name)}
                return single(
                    Atom(
                        "over",
                        (
                            head,
                            name,
                            axis,
                            self.renamed(conditions, final),
                            self.renamed_frozen(frozen(inner_p), final),
                            place,
                        ),
                    )
                )
        return None


def atoms(p: Poly | Frozen) -> Iterator[Atom]:
    """Every atom of a polynomial, those inside atoms included."""
    for m, _ in items(p):
        yield from mono_atoms(m)


def mono_atoms(m: Mono) -> Iterator[Atom]:
    for a, _ in m:
        yield a
        match a.kind:
            case "fn":
                yield from atoms(a.data[3])
            case "test":
                yield from atoms(a.data[1])
            case "group":
                yield from atoms(a.data)
            case "block":
                yield from mono_atoms(a.data[1])
            case "over":
                yield from mono_atoms(a.data[3])
                yield from atoms(a.data[4])


def shifts(a: Atom, name: str) -> Iterator[int]:
    """The numbers added to an index wherever it stands in a quantity."""
    for x in mono_atoms(frozenset({(a, UNIT)})):
        refs = [x.data] if x.kind == "ref" else list(x.data[:2]) if x.kind == "partial" else []
        for r in refs:
            for i in r.indices:
                if dict(i.terms).get(name) == 1 and len(i.terms) == 1:
                    yield i.const


def moved_ref(r: Ref, mapping: Mapping[str, Affine]) -> Ref:
    return Ref(r.family, tuple(i.substitute(mapping) for i in r.indices))


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


def affine_of(name: str) -> Affine:
    return Affine(((name, 1),))


def places_of(axis: Axis, i: Affine) -> Guard:
    """What an axis itself says of an index on it."""
    return () if axis.label.endswith(BARE) else axis.holds(i)


@lru_cache(maxsize=64)
def closed(f: Function) -> bool:
    """Whether the slope of a function is a polynomial in its own value: a(1 - a) of the logistic function."""
    slope = f.slope(Param("#z"), Param("#a"))
    heads = {type(p) for _, p in walk(slope)}
    return heads <= {Add, Mul, Num, Param, Pow} and Param("#z") not in {p for _, p in walk(slope)}


def whole_array(argument: Frozen) -> Atom | None:
    """The array that a function is applied to as a whole."""
    for m, _ in argument:
        for a, _ in m:
            if a.kind == "over" and a.data[0] == "array":
                return a
    return None


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


__all__ = ["Algebra", "Beyond", "atoms"]
