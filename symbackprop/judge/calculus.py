"""Derivatives of normal forms: product rule, chain rule of functions, deltas for quantities."""

from __future__ import annotations

from fractions import Fraction

from symbackprop.indices import Affine, Constraint, affine
from symbackprop.judge.algebra import Algebra
from symbackprop.judge.atoms import UNIT, Atom, Frozen, Poly, add, constant, renamed, scaled, single
from symbackprop.judge.ring import Beyond
from symbackprop.symbols import Ref


class Calculus(Algebra):
    """Arithmetic on normal forms, with derivatives."""

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
                guard = [c.data for c, _ in renamed(conditions, mapping)]
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


def whole_array(argument: Frozen) -> Atom | None:
    """The array that a function is applied to as a whole."""
    for m, _ in argument:
        for a, _ in m:
            if a.kind == "over" and a.data[0] == "array":
                return a
    return None
