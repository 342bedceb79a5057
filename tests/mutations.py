"""Slips made at random: in expressions, in lines of LaTeX, and in whole hand-ins. Nothing here knows how slips are found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from symbackprop.api import Network
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine
from symbackprop.judge.relation import total
from symbackprop.judge.sampling import Difference, samples_of
from symbackprop.judge.scope import Equality, ShapeMismatch, equality
from symbackprop.network import System
from symbackprop.symbols import (
    Add,
    Binder,
    Call,
    Compare,
    D,
    Delta,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Where,
    Winner,
    names,
    replace_at,
    substitute,
    walk,
)

OPERATORS = ("<", "<=", ">", ">=", "==", "!=")


@dataclass(frozen=True)
class Relation:
    """Two expressions of a system that are equal, or said to be, for indices within a guard."""

    model: str
    system: System
    left: Expr
    right: Expr
    guard: Guard = ()


def relations(model: str, net: Network) -> Iterator[Relation]:
    """What the backward pass of a model says: each result, and both sides of each step."""
    record = net.backward().record
    for section in record.sections:
        for step in section.steps:
            yield Relation(model, record.system, step.before, step.after, section.assume)
        if section.steps:
            yield Relation(model, record.system, section.subject, section.result, section.assume)


# ---------------------------------------------------------------- is it wrong?


def claim(r: Relation) -> Equality | None:
    """The relation as the judge sees it; None where the two sides are arrays of different shapes."""
    try:
        return equality(r.system, total(r.left), total(r.right), r.guard)
    except ShapeMismatch:
        return None


def difference(system: System, e: Equality, seeds: range, points: int = 8, equal: bool = False) -> Difference | None:
    """A point of the sample networks at which the two sides differ."""
    for seed in seeds:
        found = samples_of(system, equal, seed).compare(e, points).difference
        if found is not None:
            return found
    return None


# ---------------------------------------------------------------- expressions


def mutant(r: Relation, draw: random.Random) -> Relation:
    """The relation with one or two changes at random places of one side or of its guard."""
    for _ in range(draw.choice((1, 1, 1, 2))):
        where = draw.random()
        if where < 0.06:
            r = replace(r, guard=changed_guard(r.guard, draw))
        elif where < 0.12:
            r = settled(r, draw)
        elif where < 0.2:
            r = replace(r, left=changed(r.left, r, draw))
        else:
            r = replace(r, right=changed(r.right, r, draw))
    return r


def settled(r: Relation, draw: random.Random) -> Relation:
    """One free layer or time of one side with a value of its own: l = 1, l = L."""
    free = sorted(names(r.right) - r.system.constants)
    if not free:
        return r
    value = draw.choice([affine(0), affine(1), affine(2), *map(affine, sorted(r.system.constants))])
    return replace(r, right=substitute(r.right, {draw.choice(free): value}))


def changed(e: Expr, r: Relation, draw: random.Random) -> Expr:
    """An expression with one part replaced."""
    parts = list(walk(e))
    for _ in range(20):
        path, part = draw.choice(parts)
        options = list(changes(part, e, r.system))
        if options:
            new = draw.choice(options)
            try:
                return replace_at(e, path, new() if callable(new) else new)
            except (AssertionError, ValueError):
                continue
    return e


def changes(p: Expr, whole: Expr, system: System) -> Iterator[Expr | Callable[[], Expr]]:
    """What may stand in the place of a part."""
    letters = sorted(n for n in names(whole) | {b.index for _, b in walk(whole) if isinstance(b, Binder)})
    match p:
        case Num(value):
            yield from (Num(value + 1), Num(-value), Num(value * 2))
            if value:
                yield Num(1 / value)
        case Ref():
            yield from indexed(p, letters, system)
            yield from (p * p, Num(Fraction(0)), Pow(Pow(p, Num(Fraction(2))), Num(Fraction(1, 2))))
            yield from (Call("abs", (p,)), Where(Compare(">", p, Num(Fraction(0))), p, Num(Fraction(0))))
        case Add(terms):
            for n, t in enumerate(terms):
                rest = (*terms[:n], *terms[n + 1 :])
                yield from (Add(rest) if len(rest) > 1 else rest[0], Add((*rest, -t)), Add((*terms, t)))
        case Mul(factors):
            for n, f in enumerate(factors):
                rest = (*factors[:n], *factors[n + 1 :])
                yield from (Mul(rest) if len(rest) > 1 else rest[0], Mul((*factors, f)), Mul((*rest, 1 / f)))
            yield -p
        case Div(top, bottom):
            yield from (Div(bottom, top), top, Div(top, bottom * bottom), Mul((top, bottom)))
        case Pow(base, exponent):
            yield from (base, Pow(base, exponent + 1), Pow(base, -exponent), Pow(exponent, base), Call("sqrt", (p,)))
        case Call(name, arguments, order, at):
            yield from (replace(p, order=order + 1), replace(p, order=max(0, order - 1)), arguments[0])
            yield from (replace(p, at=x) for x in moved(at, letters, system) if at is not None)
            yield from (replace(p, function=f) for f in ("exp", "log", "tanh", "sqrt", "abs") if f != name)
        case Sum() | Max() | Prod():
            yield from ranged(p, system)
            if isinstance(p, Sum):
                yield from (Max(p.index, p.axis, p.body, p.guard), Prod(p.index, p.axis, p.body, p.guard))
            else:
                yield Sum(p.index, p.axis, p.body, p.guard)
        case Guarded(body, guard):
            yield body
            yield from (Guarded(body, g) for g in guards(guard))
            yield from (Guarded(body, c.negations()) for c in guard)
        case Delta(left, right, _):
            yield Num(Fraction(1))
            yield from (replace(p, left=x) for x in moved(left, letters, system))
            yield from (replace(p, right=x) for x in moved(right, letters, system))
        case Where(condition, then, other):
            yield from (Where(condition, other, then), then, other, Where(condition, then, then * 2))
        case Compare(op, left, right):
            yield from (Compare(o, left, right) for o in OPERATORS if o != op)
            yield from (Compare(op, right, left), Compare(op, left, right + 1), Compare(op, left, right * 2))
        case Winner(of, at):
            yield from (Winner(of, x) for x in moved(at, letters, system))
            yield Num(Fraction(1))
        case Position(at):
            yield from (Position(x) for x in moved(at, letters, system))
        case Size(axis):
            yield from (Size(a) for a in axes_like(axis, system))
        case Partial(top, bottom, direct):
            yield Partial(top, bottom, not direct)
            yield from (replace(p, top=x) for x in indexed(top, letters, system) if isinstance(x, Ref))
            if isinstance(bottom, Ref):
                yield from (replace(p, bottom=x) for x in indexed(bottom, letters, system) if isinstance(x, Ref))
        case D(body, variable, every):
            yield D(body, variable, not every)
            yield from (replace(p, variable=x) for x in indexed(variable, letters, system) if isinstance(x, Ref))


def indexed(r: Ref, letters: list[str], system: System) -> Iterator[Ref]:
    """A quantity with other indices, or another with the same axes."""
    for n, i in enumerate(r.indices):
        for x in moved(i, letters, system):
            yield Ref(r.family, (*r.indices[:n], x, *r.indices[n + 1 :]))
        for m in range(n):
            swapped = list(r.indices)
            swapped[n], swapped[m] = swapped[m], swapped[n]
            yield Ref(r.family, tuple(swapped))
    axes = system.family(r.family).axes
    for name, f in system.families.items():
        if name != r.family and [a.kind for a in f.axes] == [a.kind for a in axes]:
            yield Ref(name, r.indices)


def moved(i: Affine | None, letters: list[str], system: System) -> Iterator[Affine]:
    """Another index in the place of one."""
    if i is None:
        return
    yield from (i + 1, i - 1, affine(0), affine(1), affine(2))
    yield from (affine(n) for n in (*letters, *sorted(system.constants)) if affine(n) != i)


def axes_like(axis: Axis, system: System) -> list[Axis]:
    """Other axes of the same kind; a width of the next layer."""
    out = {a: None for f in system.families.values() for a in f.axes if a.kind == axis.kind and a != axis}
    if axis.at is not None:
        out |= {replace(axis, at=axis.at + k): None for k in (-1, 1)}
    return [a for a in out if a.at is None or axis.at is not None]


def ranged(p: Sum | Max | Prod, system: System) -> Iterator[Expr]:
    """A sum with another range, without its sign, or over another axis."""
    yield from (replace(p, guard=g) for g in guards(p.guard))
    yield p.body
    yield from (replace(p, axis=a) for a in axes_like(p.axis, system))
    i = affine(p.index)
    if p.axis.kind == "recursion":
        yield replace(p, body=substitute(p.body, {p.index: i + 1}))
        yield replace(p, body=substitute(p.body, {p.index: i - 1}))
        yield replace(p, guard=(*p.guard, Constraint(i - p.axis.first - 1)))
        if p.axis.last is not None:
            yield replace(p, guard=(*p.guard, Constraint(p.axis.last - i - 1)))
    others = sorted(names(p.body) - {p.index} - system.constants)
    for n in others:
        yield replace(p, guard=(*p.guard, Constraint(i - affine(n), True)))
        yield replace(p, guard=(*p.guard, Constraint(i - affine(n) - 1)))


def guards(guard: Guard) -> Iterator[Guard]:
    """A guard without one of its constraints, or with one of them weaker, stronger, exact, turned around."""
    for n, c in enumerate(guard):
        rest = (*guard[:n], *guard[n + 1 :])
        yield rest
        yield from ((*rest, Constraint(c.expr + k, c.equal)) for k in (-1, 1))
        yield (*rest, Constraint(c.expr, not c.equal))
        yield (*rest, Constraint(-c.expr, c.equal))


def changed_guard(guard: Guard, draw: random.Random) -> Guard:
    options = list(guards(guard))
    return draw.choice(options) if options else guard
