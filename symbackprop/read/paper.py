r"""What is left of an expression once it is on paper: the form in which a line and what was printed can be compared.

A printer drops what a reader does not need to see: the roles of factors along a chain rule (their order is the
notation's), how products are nested, that a derivative is direct where it is the total one anyway, the name of a term of
a sum. `on_paper` drops the same, so that `on_paper(read(print(e))) == on_paper(e)` up to the names of bound indices.
"""

from __future__ import annotations

from fractions import Fraction

from symbackprop.indices import Constraint, Guard, affine, at_least, implies
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.rules.graph import held
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Binder,
    D,
    Depends,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Partial,
    Prod,
    Ref,
    Sum,
    Summand,
    Vec,
    Where,
    WrittenOut,
    canonical,
    transform,
    walk,
)


def on_paper(e: Expr, system: System, notation: Notation) -> Expr:
    """The expression without what printing it leaves out; bound indices numbered."""

    base = beginnings(system)

    def one(x: Expr) -> Expr:
        match x:
            case Ref(family) if family in base:
                return beginning(x, base)
            case Partial(top, bottom, direct) if base.keys() & {top.family, getattr(bottom, "family", "")}:
                below = beginning(bottom, base) if isinstance(bottom, Ref) else bottom
                return one(Partial(beginning(top, base), below, direct))
            case D(body, variable, total) if variable.family in base:
                return D(body, beginning(variable, base), total)
            case WrittenOut(s):
                return s
            case Summand(_, _, body):
                return body
            case Depends(quantity):
                return quantity
            case Mul():
                return product(x, notation)
            case Add(terms):
                flat = [t for term in terms for t in (term.terms if isinstance(term, Add) else (term,))]
                return Add(tuple(flat)) if len(flat) > 1 else flat[0]
            case Div(top, bottom) if isinstance(top, Num) and isinstance(bottom, Num) and bottom.value:
                return Num(top.value / bottom.value)
            case Div(top, bottom) if signed(top):
                # The sign stands before the fraction.
                return product(Mul((Num(Fraction(-1)), Div(unsigned(top), bottom))), notation)
            case Partial(top, Ref() as bottom, True) if not held(system, top, bottom):
                return Partial(top, bottom)
            case Sum(index, axis, Mul((Where() as chosen, D(body, variable, total))), ()) if (
                chosen.then,
                chosen.other,
            ) == (ONE, ZERO):
                # A term picked by a datum is written with the datum in the place of the index.
                return D(Sum(index, axis, Mul((chosen, body))), variable, total)
            case Guarded(body, guard) if guard and (kept := unpadded(guard, body, system, notation)) != guard:
                return Guarded(body, kept) if kept else body
            case Sum() if x.guard and (kept := unpadded(x.guard, x.body, system, notation)) != x.guard:
                return ranged(Sum(x.index, x.axis, x.body, kept), system)
            case Sum() | Max() | Prod() if x.guard or x.axis.kind == "recursion":
                return ranged(x, system)
            case Guarded(body, guard) if not guard:
                return body
        return x

    return canonical(ordered_guards(transform(e, one)))


def beginnings(system: System) -> dict[str, tuple[Ref, Ref]]:
    """Data that a recurrence begins with, and the quantity of layer or time 0 that it is: both may be written alike."""
    out: dict[str, tuple[Ref, Ref]] = {}
    for e in system.equations:
        if isinstance(e.rhs, Ref) and system.families[e.rhs.family].kind == "input" and len(e.guard) == 1:
            (c,) = e.guard
            name = next((n for n in c.expr.names if any(i.name == n for i in e.lhs.indices)), None)
            if c.equal and name is not None and e.rhs.family.startswith(e.lhs.family + "_"):
                at = {name: affine(name) - c.expr}
                out[e.rhs.family] = (e.rhs, Ref(e.lhs.family, tuple(i.substitute(at) for i in e.lhs.indices)))
    return out


def beginning(r: Ref, base: dict[str, tuple[Ref, Ref]]) -> Ref:
    if r.family not in base:
        return r
    data, quantity = base[r.family]
    mapping = {i.name: x for i, x in zip(data.indices, r.indices, strict=True) if i.name is not None}
    return Ref(quantity.family, tuple(i.substitute(mapping) for i in quantity.indices))


def unpadded(guard: Guard, body: Expr, system: System, notation: Notation) -> Guard:
    """What a guard says besides that the index of a family that is 0 elsewhere is on its axis."""
    if not notation.zero:
        return guard
    inside = {
        c
        for _, p in walk(body)
        if isinstance(p, Ref) and p.family in notation.zero
        for axis, i in zip(system.axes(p), p.indices, strict=True)
        for c in axis.holds(i)
    }
    return tuple(c for c in guard if c not in inside)


def product(e: Mul, notation: Notation) -> Expr:
    """Factors in the order printed, side by side, the numbers before them one number."""
    factors = list(e.factors)
    if e.roles:
        rank = {r: n for n, r in enumerate(notation.order)}
        pairs = list(zip(e.factors, e.roles, strict=True))
        if notation.order[0] == "incoming" and notation.order[-1] == "upstream":
            factors = [f for f, _ in reversed(pairs)]
        else:
            factors = [f for f, _ in sorted(pairs, key=lambda p: rank[p[1]])]
    flat = [f for factor in factors for f in (factor.factors if isinstance(factor, Mul) else (factor,))]
    number, rest = Fraction(1), []
    for f in flat:
        if isinstance(f, Num):
            number *= f.value
        else:
            rest.append(f)
    kept = [*([Num(number)] if number != 1 or not rest else []), *rest]
    return kept[0] if len(kept) == 1 else Mul(tuple(kept))


def signed(e: Expr) -> bool:
    return (isinstance(e, Num) and e.value < 0) or (isinstance(e, Mul) and signed(e.factors[0]))


def unsigned(e: Expr) -> Expr:
    if isinstance(e, Num):
        return Num(-e.value)
    assert isinstance(e, Mul)
    rest = e.factors[1:]
    first = unsigned(e.factors[0])
    kept = rest if first == ONE and rest else (first, *rest)
    return kept[0] if len(kept) == 1 else Mul(kept)


def ranged(e: Sum | Max | Prod, system: System) -> Expr:
    """A sum over layers or times with its ends as constraints, none that the axis says anyway."""
    axis = e.axis
    guard: list[Constraint] = list(e.guard)
    if axis.kind == "recursion":
        whole = next(
            (a for f in system.families.values() for a in f.axes if a.kind == "recursion" and a.label == axis.label),
            axis,
        )
        if axis.last is not None:
            guard = [at_least(e.index, axis.first), at_least(axis.last, e.index), *guard]
        axis = whole
    mine = affine(e.index)
    kept = [c for n, c in enumerate(guard) if not implies((*system.standing, *axis.holds(mine), *guard[:n]), c)]
    kept = [
        c
        for n, c in enumerate(kept)
        if not implies((*system.standing, *axis.holds(mine), *kept[:n], *kept[n + 1 :]), c)
    ]
    return type(e)(e.index, axis, e.body, tuple(kept))


def ordered_guards(e: Expr) -> Expr:
    """Constraints in one order."""

    def key(c: Constraint) -> tuple[bool, str]:
        return (c.equal, str(sign(c).expr))

    def sign(c: Constraint) -> Constraint:
        """An equation has two spellings; the one with a positive first letter is taken."""
        if c.equal and c.expr.terms and c.expr.terms[0][1] < 0:
            return Constraint(-c.expr, True)
        return c

    def one(x: Expr) -> Expr:
        if isinstance(x, Guarded):
            return Guarded(x.body, tuple(sorted(map(sign, x.guard), key=key)))
        if isinstance(x, Binder) and not isinstance(x, Vec) and x.guard:
            return type(x)(x.index, x.axis, x.body, tuple(sorted(map(sign, x.guard), key=key)))
        return x

    return transform(e, one)
