"""The indivisible parts of a normal form, and the polynomials in them.

A polynomial maps monomials to coefficients; a monomial is a set of pairs (atom, exponent). An exponent is a fraction,
negative for what stands below a line. Polynomials inside atoms (an argument, a condition) are frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

from symbackprop.indices import Affine, Axis, Constraint
from symbackprop.symbols import Ref

Mono: TypeAlias = "frozenset[tuple[Atom, Fraction]]"
Poly: TypeAlias = "dict[Mono, Fraction]"
Frozen: TypeAlias = "frozenset[tuple[Mono, Fraction]]"


class Atom:
    """One indivisible factor.

    Its `kind` says what `data` are: `ref` a quantity; `partial` (top, bottom, direct); `param` a name; `size` an axis;
    `pos` a name, the place of that index; `fn` (name, order, layer, argument); `test` ("<" or "=", what is compared
    with 0); `cond` a constraint on indices; `block` (binders, monomial), a sum of a product that does not come apart;
    `on` (index, axis), 1 where it is a place of the axis; `group` a polynomial that is a base; `over` (head, name, axis, conditions, body, place), a maximum, a winner, a
    product or an array; `num` a number under a root.
    """

    __slots__ = ("__dict__", "data", "kind")

    def __init__(self, kind: str, data: Any) -> None:
        self.kind, self.data = kind, data

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Atom)
            and self.hashed == other.hashed
            and self.kind == other.kind
            and self.data == other.data
        )

    def __hash__(self) -> int:
        return self.hashed

    @cached_property
    def hashed(self) -> int:
        return hash((self.kind, self.data))

    @cached_property
    def key(self) -> str:
        """A text by which atoms are put in one order, the same in every run."""
        match self.kind:
            case "fn":
                name, order, at, argument = self.data
                return f"fn {name}{order}{at}({poly_key(argument)})"
            case "test":
                return f"test {self.data[0]} {poly_key(self.data[1])}"
            case "block":
                binders, mono = self.data
                return f"block {[(n, axis_key(a)) for n, a in binders]} {mono_key(mono)}"
            case "group":
                return f"group {poly_key(self.data)}"
            case "over":
                head, name, axis, conditions, body, place = self.data
                return f"over {head} {name} {axis_key(axis)} {mono_key(conditions)} {poly_key(body)} {place}"
            case "ref":
                return f"ref {ref_key(self.data)}"
            case "partial":
                top, bottom, direct = self.data
                return f"partial {ref_key(top)} {ref_key(bottom)} {direct}"
            case "size":
                return f"size {axis_key(self.data)}"
            case "on":
                return f"on {self.data[0]} {axis_key(self.data[1])}"
            case "cond":
                return f"cond {self.data.expr} {'=' if self.data.equal else '>='} 0"
        return f"{self.kind} {self.data}"

    @cached_property
    def names(self) -> frozenset[str]:
        """The free index names."""
        match self.kind:
            case "ref":
                return ref_names(self.data)
            case "partial":
                return ref_names(self.data[0]) | ref_names(self.data[1])
            case "size":
                return self.data.at.names if self.data.at is not None else frozenset()
            case "pos":
                return frozenset(self.data.split("*"))
            case "cond":
                return frozenset(self.data.expr.names)
            case "on":
                index, axis = self.data
                return frozenset(index.names | (axis.at.names if axis.at is not None else frozenset()))
            case "fn":
                _, _, at, argument = self.data
                return poly_names(argument) | (at.names if at is not None else frozenset())
            case "test":
                return poly_names(self.data[1])
            case "group":
                return poly_names(self.data)
            case "block":
                binders, mono = self.data
                inside = mono_names(mono).union(*(a.at.names for _, a in binders if a.at is not None))
                return inside - {n for n, _ in binders}
            case "over":
                _, name, axis, conditions, body, place = self.data
                inside = (poly_names(body) | mono_names(conditions)) - {name}
                inside |= axis.at.names if axis.at is not None else frozenset()
                return inside | (place.names if place is not None else frozenset())
        return frozenset()

    @cached_property
    def height(self) -> int:
        """How deep binders nest inside it."""
        match self.kind:
            case "fn":
                return poly_height(self.data[3])
            case "test":
                return poly_height(self.data[1])
            case "group":
                return poly_height(self.data)
            case "block":
                return 1 + mono_height(self.data[1])
            case "over":
                return 1 + max(poly_height(self.data[4]), mono_height(self.data[3]))
        return 0

    def __repr__(self) -> str:
        return self.key


ONE: Mono = frozenset()
UNIT = Fraction(1)


def ref_names(r: Ref) -> frozenset[str]:
    return frozenset().union(*(i.names for i in r.indices))


def ref_key(r: Ref) -> str:
    return f"{r.family}[{','.join(map(str, r.indices))}]"


def axis_key(a: Axis) -> str:
    return f"{a.kind}:{a.label}@{a.at}"


def mono_names(m: Mono) -> frozenset[str]:
    return frozenset().union(*(a.names for a, _ in m))


def poly_names(p: Poly | Frozen) -> frozenset[str]:
    return frozenset().union(*(mono_names(m) for m, _ in items(p)))


def mono_height(m: Mono) -> int:
    return max((a.height for a, _ in m), default=0)


def poly_height(p: Poly | Frozen) -> int:
    return max((mono_height(m) for m, _ in items(p)), default=0)


def mono_key(m: Mono) -> str:
    return "*".join(sorted(f"{a.key}^{e}" for a, e in m))


def poly_key(p: Poly | Frozen) -> str:
    return "+".join(sorted(f"{c}{mono_key(m)}" for m, c in items(p)))


def items(p: Poly | Frozen) -> Iterable[tuple[Mono, Fraction]]:
    return p.items() if isinstance(p, dict) else p


def frozen(p: Poly) -> Frozen:
    return frozenset(p.items())


def constant(x: Fraction | int) -> Poly:
    return {ONE: Fraction(x)} if x else {}


def single(a: Atom, exponent: Fraction | int = 1) -> Poly:
    return {frozenset({(a, Fraction(exponent))}): UNIT}


def add(*polys: Poly) -> Poly:
    out: Poly = {}
    for p in polys:
        for m, c in p.items():
            total = out.get(m, 0) + c
            if total:
                out[m] = total
            else:
                out.pop(m, None)
    return out


def scaled(p: Poly, k: Fraction | int) -> Poly:
    return {m: c * k for m, c in p.items()} if k else {}


def condition(c: Constraint) -> Atom:
    """The bracket of a constraint; an equation without its sign."""
    if c.equal and str(-c.expr) < str(c.expr):
        c = Constraint(-c.expr, True)
    return Atom("cond", c)


# ---------------------------------------------------------------- walking and renaming


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


def renamed(m: Mono, mapping: Mapping[str, Affine]) -> Mono:
    return frozenset((renamed_atom(a, mapping), e) for a, e in m)


def renamed_atom(a: Atom, mapping: Mapping[str, Affine]) -> Atom:
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
            return Atom("fn", (name, order, at and at.substitute(mapping), renamed_frozen(argument, mapping)))
        case "test":
            return Atom("test", (a.data[0], renamed_frozen(a.data[1], mapping)))
        case "group":
            return Atom("group", renamed_frozen(a.data, mapping))
        case "block":
            binders, mono = a.data
            return Atom("block", (tuple((n, x.substitute(mapping)) for n, x in binders), renamed(mono, mapping)))
        case "over":
            head, name, axis, conditions, body, place = a.data
            return Atom(
                "over",
                (
                    head,
                    name,
                    axis.substitute(mapping),
                    renamed(conditions, mapping),
                    renamed_frozen(body, mapping),
                    place and place.substitute(mapping),
                ),
            )
    return a


def renamed_frozen(p: Frozen, mapping: Mapping[str, Affine]) -> Frozen:
    return frozenset((renamed(m, mapping), c) for m, c in p)


def moved_ref(r: Ref, mapping: Mapping[str, Affine]) -> Ref:
    return Ref(r.family, tuple(i.substitute(mapping) for i in r.indices))


def affine_of(name: str) -> Affine:
    return Affine(((name, 1),))
