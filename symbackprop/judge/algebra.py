"""Expressions as normal forms; functions written with exp and ln."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from functools import lru_cache

from symbackprop.functions import Function
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine
from symbackprop.judge.atoms import (
    ONE,
    UNIT,
    Atom,
    Mono,
    Poly,
    add,
    condition,
    constant,
    frozen,
    mono_height,
    poly_height,
    poly_names,
    renamed,
    renamed_frozen,
    scaled,
    single,
)
from symbackprop.judge.ends import Ends
from symbackprop.judge.ring import Beyond, places_of, positive
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


class Algebra(Ends):
    """Arithmetic on normal forms over one network, from expressions on."""

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
                renamed(conditions, final),
                renamed_frozen(frozen(inner), final),
                place,
            ),
        )

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

    # ------------------------------------------------------------ functions

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
            inner = renamed_frozen(frozen(body), {index: affine(bound)})
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
            loose = [(a, e) for a, e in m if not positive(a)]
            # One factor of any sign is positive where the product is, if its power is odd; of two nothing is known.
            apart = not loose or (len(loose) == 1 and loose[0][0].kind == "group" and abs(loose[0][1]) == 1)
            if c > 0 and apart and (m or c != 1):
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

    # ------------------------------------------------------------ derivatives, which calculus adds
    @abstractmethod
    def derivative(self, p: Poly, u: Ref, total: bool) -> Poly:
        """The derivative of a normal form."""


@lru_cache(maxsize=64)
def closed(f: Function) -> bool:
    """Whether the slope of a function is a polynomial in its own value: a(1 - a) of the logistic function."""
    slope = f.slope(Param("#z"), Param("#a"))
    heads = {type(p) for _, p in walk(slope)}
    return heads <= {Add, Mul, Num, Param, Pow} and Param("#z") not in {p for _, p in walk(slope)}
