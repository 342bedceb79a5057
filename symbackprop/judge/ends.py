"""Products over an index, and the ends of ranges: what an induction compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from symbackprop.indices import Axis, Constraint, affine, implies, satisfiable
from symbackprop.judge.atoms import (
    ONE,
    UNIT,
    Atom,
    Mono,
    Poly,
    add,
    atoms,
    condition,
    constant,
    frozen,
    mono_height,
    poly_height,
    renamed,
    renamed_frozen,
    scaled,
    single,
)
from symbackprop.judge.sums import Sums


class Ends(Sums):
    """Arithmetic with products over indices, and with first and last terms taken out."""

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
        inner = renamed_frozen(frozen(p), final)
        return Atom("over", ("prod", bound, self.axis(axis), renamed(mono, final), inner, None))

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

    # ------------------------------------------------------------ atoms replaced

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
                            renamed(conditions, final),
                            renamed_frozen(frozen(inner_p), final),
                            place,
                        ),
                    )
                )
        return None
