"""Equations rewritten so that what several of them need has a name, and is computed once.

Within whole arrays equal values are found when they are built. Across loops they are not: there, what the
backward pass of a gate multiplies into every use of its gradient would be computed in the loop for one use, and after
it for another. A name makes it one quantity, stored as the loop goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from symbackprop.indices import Affine, Guard, affine
from symbackprop.symbols import (
    ONE,
    Add,
    Binder,
    Call,
    Div,
    Expr,
    Family,
    Mul,
    Num,
    Param,
    Partial,
    Pow,
    Ref,
    Size,
    names,
    substitute,
    transform,
    walk,
)

COSTLY = frozenset(["exp", "log", "tanh", "sigmoid", "softplus", "erf", "sqrt", "sin", "cos"])


@dataclass(frozen=True, slots=True)
class Definition:
    """One equation: of a family, or of the gradient by it; `shown` is that equation for a reader, as it was derived."""

    family: str
    gradient: bool
    lhs: Ref
    rhs: Expr
    guard: Guard
    shown: tuple[Expr, Expr] | None = None


def factors(e: Expr) -> Iterable[Expr]:
    """The factors of a product, nested ones included; a quotient by a number counts as a product."""
    if isinstance(e, Mul):
        for f in e.factors:
            yield from factors(f)
    elif isinstance(e, Div) and is_number(e.bottom) and e.top != ONE:
        yield from factors(e.top)
        yield Div(ONE, e.bottom)
    else:
        yield e


def is_number(e: Expr) -> bool:
    match e:
        case Num() | Size() | Param():
            return True
        case Add() | Mul() | Div() | Pow() | Call():
            return all(map(is_number, e.parts))
    return False


def product_of(fs: Sequence[Expr]) -> Expr:
    return ONE if not fs else fs[0] if len(fs) == 1 else Mul(tuple(fs))


def factored(e: Expr) -> Expr:
    """Sums with what all their terms have in common before them: w - w g^2 is w (1 - g^2)."""

    def take_out(x: Expr) -> Expr:
        if not isinstance(x, Add) or len(x.terms) < 2:
            return x
        parts = [list(factors(t)) for t in x.terms]
        common: list[Expr] = []
        for f in list(parts[0]):
            if not is_number(f) and all(f in p for p in parts):
                common.append(f)
                for p in parts:
                    p.remove(f)
        return Mul((*common, Add(tuple(map(product_of, parts))))) if common else x

    return transform(e, take_out)


def shared(
    definitions: Sequence[Definition], families: Mapping[str, Family]
) -> tuple[list[Definition], dict[str, Family]]:
    """The definitions with names for what occurs in several places, and the families together with those names."""
    work = [replace(d, rhs=factored(d.rhs)) for d in definitions]
    out = dict(families)
    for find in (costly_calls, slopes):
        counts: Counter[tuple[str, Expr]] = Counter()
        for d in work:
            counts.update(f.key for f in find(d, out))
        for (family, body), count in counts.items():
            if count > 1:
                work = _named(work, out, family, body, find is slopes)
    return work, out


@dataclass(frozen=True, slots=True)
class Found:
    """Something worth a name: a family whose indices it has, and itself in that family's own letters."""

    family: str
    body: Expr

    @property
    def key(self) -> tuple[str, Expr]:
        return self.family, self.body


def costly_calls(d: Definition, families: Mapping[str, Family]) -> Iterator[Found]:
    """Functions of one quantity."""
    for _, p in walk(d.rhs):
        if isinstance(p, Call) and p.function in COSTLY and p.order == 0 and isinstance(p.arguments[0], Ref):
            ref = p.arguments[0]
            own = _own(p, ref.indices, families[ref.family])
            if own is not None and d.rhs != p:
                yield Found(ref.family, own)


def slopes(d: Definition, families: Mapping[str, Family]) -> Iterator[Found]:
    """A gradient with the factors that have no other index than it has."""
    if not d.gradient:
        return
    for path, p in walk(d.rhs):
        if not isinstance(p, Mul) or _inside_product(d.rhs, path):
            continue
        fs = list(factors(p))
        gradients = [f for f in fs if isinstance(f, Partial)]
        if len(gradients) != 1 or not isinstance(gradients[0].bottom, Ref):
            continue
        bottom = gradients[0].bottom
        own_names = frozenset().union(*(i.names for i in bottom.indices))
        part = [
            f
            for f in fs
            if f is gradients[0] or (not is_number(f) and names(f) <= own_names and not _has_gradient_or_sum(f))
        ]
        own = _own(product_of(part), bottom.indices, families[bottom.family]) if len(part) > 1 else None
        if own is not None:
            yield Found(bottom.family, own)


def _has_gradient_or_sum(e: Expr) -> bool:
    return any(isinstance(p, Partial | Binder) for _, p in walk(e))


def _inside_product(e: Expr, path: tuple[int, ...]) -> bool:
    """Whether the part is a factor of a larger product."""
    for n in path[:-1]:
        e = e.parts[n]
    return bool(path) and isinstance(e, Mul)


def _own(e: Expr, indices: tuple[Affine, ...], family: Family) -> Expr | None:
    """An expression in a family's own letters instead of the indices that it has; None where they cannot be told back."""
    back: dict[str, Affine] = {}
    for letter, i in zip(family.indices, indices, strict=True):
        if len(i.terms) != 1 or i.terms[0][1] != 1 or "*" in i.terms[0][0] or i.terms[0][0] in back:
            return None
        back[i.terms[0][0]] = affine(letter) - i.const
    return substitute(e, back) if names(e) <= back.keys() else None


def _named(
    work: Sequence[Definition], families: dict[str, Family], family: str, body: Expr, gradient: bool
) -> list[Definition]:
    """A new family for `body`, put in its place everywhere."""
    base = families[family]
    new = _free_name(f"{family}_in" if gradient else f"{_function(body)}_{family}", families)
    families[new] = replace(base, name=new, kind="derived", meaning="")
    out = [replace(d, rhs=transform(d.rhs, lambda x: _replaced(x, base, body, new))) for d in work]
    return [
        *out,
        Definition(new, False, Ref(new, base.pattern.indices), body, where_computed(work, base, body, families)),
    ]


def where_computed(work: Sequence[Definition], family: Family, body: Expr, families: Mapping[str, Family]) -> Guard:
    """Where a name for what is made of a family has a value: where any equation gives the family, and all of `body` exists.

    That is what all cases of the family say. A case that were left out would be read as zeros.
    """
    guards = [d.guard for d in work if d.family == family.name and not d.gradient]
    common = [c for c in guards[0] if all(c in g for g in guards)] if guards else []
    exists = [c for _, p in walk(body) for c in _range_of(p, families)]
    return tuple(dict.fromkeys((*(common or family.guard), *exists)))


def _range_of(p: Expr, families: Mapping[str, Family]) -> Guard:
    """For which layers and times a quantity exists, or the gradient by it."""
    ref = p.bottom if isinstance(p, Partial) else p
    if not isinstance(ref, Ref):
        return ()
    family = families[ref.family]
    back = dict(zip(family.indices, ref.indices, strict=True))
    along = {n for n, a in zip(family.indices, family.axes, strict=True) if a.kind == "recursion"}
    own = (c.substitute(back) for c in family.guard if c.expr.names & along)
    return (
        *own,
        *(c for n, a in zip(family.indices, family.axes, strict=True) if n in along for c in a.holds(back[n])),
    )


def _replaced(x: Expr, base: Family, body: Expr, new: str) -> Expr:
    """A product with the new quantity in the place of those of its factors that it is the name of."""
    if not isinstance(x, Mul | Call):
        return x
    rest = list(factors(x))
    for indices in dict.fromkeys(_occurrences(rest, base.name)):
        mapping = dict(zip(base.indices, indices, strict=True))
        part = [substitute(f, mapping) for f in factors(body)]
        left = list(rest)
        for f in part:
            if f not in left:
                break
            left.remove(f)
        else:
            return product_of([Ref(new, indices), *left])
    return x


def _occurrences(fs: Iterable[Expr], family: str) -> Iterator[tuple[Affine, ...]]:
    """The indices of a family's quantities, and of the gradients by them, among factors and arguments of functions."""
    for f in fs:
        match f:
            case Ref(name, indices) | Partial(_, Ref(name, indices)) | Call(_, (Ref(name, indices),)) if name == family:
                yield indices


def _function(e: Expr) -> str:
    return e.function if isinstance(e, Call) else "v"


def _free_name(name: str, families: Mapping[str, Family]) -> str:
    while name in families:
        name += "_"
    return name
