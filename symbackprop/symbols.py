"""Families of symbols and the heads of expressions.

The heads keep order and grouping, know their bound indices and never evaluate by themselves;
`symbackprop.sympy_bridge` turns them into ordinary SymPy and back. A path is the tuple of child
numbers that leads from an expression to one of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from symbackprop.indices import Affine, AffineLike, Axis, Constraint, Guard, affine, at_least, fresh

Role: TypeAlias = Literal["upstream", "slope", "incoming"]
Kind: TypeAlias = Literal["parameter", "input", "target", "derived", "cost"]


class Expr:
    """Base of all expressions: immutable, compared by structure, combined with + - * / ** as on paper."""

    __slots__ = ()

    @property
    def parts(self) -> tuple[Expr, ...]:
        return ()

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return self

    def __add__(self, other: ExprLike) -> Expr:
        return Add((*_terms(self), *_terms(expr(other))))

    def __radd__(self, other: ExprLike) -> Expr:
        return expr(other) + self

    def __neg__(self) -> Expr:
        return Num(-self.value) if isinstance(self, Num) else Mul((Num(Fraction(-1)), self))

    def __sub__(self, other: ExprLike) -> Expr:
        return self + -expr(other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return expr(other) + -self

    def __mul__(self, other: ExprLike) -> Expr:
        return Mul((*_factors(self), *_factors(expr(other))))

    def __rmul__(self, other: ExprLike) -> Expr:
        return expr(other) * self

    def __truediv__(self, other: ExprLike) -> Expr:
        return Div(self, expr(other))

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return Div(expr(other), self)

    def __pow__(self, other: ExprLike) -> Expr:
        return Pow(self, expr(other))


ExprLike: TypeAlias = "Expr | int | Fraction | float"


def expr(x: ExprLike) -> Expr:
    """An Expr from a number or itself; a float stands for the shortest decimal that reads back as it."""
    if isinstance(x, Expr):
        return x
    return Num(Fraction(str(x)) if isinstance(x, float) else Fraction(x))


@dataclass(frozen=True, slots=True)
class Num(Expr):
    value: Fraction


@dataclass(frozen=True, slots=True)
class Param(Expr):
    """A scalar that is no quantity of the network: the learning rate, a constant, the argument of a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Size(Expr):
    """The number of positions of an axis, as a scalar."""

    axis: Axis


@dataclass(frozen=True, slots=True)
class Ref(Expr):
    """One quantity of a family: w_jk^(l) is Ref("w", (l, j, k))."""

    family: str
    indices: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Add(Expr):
    terms: tuple[Expr, ...]

    @property
    def parts(self) -> tuple[Expr, ...]:
        return self.terms

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Add(parts)


@dataclass(frozen=True, slots=True)
class Mul(Expr):
    """A product in its written order. A product along a chain rule carries the role of each factor."""

    factors: tuple[Expr, ...]
    roles: tuple[Role, ...] = ()

    def __post_init__(self) -> None:
        assert not self.roles or len(self.roles) == len(self.factors)

    @property
    def parts(self) -> tuple[Expr, ...]:
        return self.factors

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Mul(parts, self.roles)


@dataclass(frozen=True, slots=True)
class Div(Expr):
    top: Expr
    bottom: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.top, self.bottom)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Div(*parts)


@dataclass(frozen=True, slots=True)
class Pow(Expr):
    base: Expr
    exponent: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.base, self.exponent)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Pow(*parts)


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A named function applied to arguments; `order` counts primes, `at` is the layer of a family of functions."""

    function: str
    arguments: tuple[Expr, ...]
    order: int = 0
    at: Affine | None = None

    @property
    def parts(self) -> tuple[Expr, ...]:
        return self.arguments

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Call(self.function, parts, self.order, self.at)


@dataclass(frozen=True, slots=True)
class Sum(Expr):
    """Sigma over one bound index, restricted by a guard on it."""

    index: str
    axis: Axis
    body: Expr
    guard: Guard = ()

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Sum(self.index, self.axis, parts[0], self.guard)


@dataclass(frozen=True, slots=True)
class WrittenOut(Expr):
    """A sum with some of its terms written, the others under dots; its value is the sum's.

    Args:
        shown: The positions of the written terms in order; None stands for dots.
    """

    sum: Sum
    shown: tuple[Affine | None, ...]

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.sum,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        s = parts[0]
        return WrittenOut(s, self.shown) if isinstance(s, Sum) else s

    def term(self, at: Affine) -> Expr:
        return substitute(self.sum.body, {self.sum.index: at})


@dataclass(frozen=True, slots=True)
class Vec(Expr):
    """The array of the values of `body` over one bound index."""

    index: str
    axis: Axis
    body: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Vec(self.index, self.axis, parts[0])


@dataclass(frozen=True, slots=True)
class Partial(Expr):
    """The derivative of one quantity by another, as a quantity: the total effect through the equations downstream.

    With `direct`, the effect through the one equation that defines `top`, everything else in it held.
    """

    top: Ref
    bottom: Expr
    direct: bool = False

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.bottom,) if isinstance(self.bottom, Vec) else ()

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Partial(self.top, parts[0], self.direct) if parts else self


@dataclass(frozen=True, slots=True)
class D(Expr):
    """The operator d/d(variable), waiting to be applied to `body` with all other quantities held.

    With `total`, a quantity in `body` counts with its own derivative by the variable.
    """

    body: Expr
    variable: Ref
    total: bool = False

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return D(parts[0], self.variable, self.total)


@dataclass(frozen=True, slots=True)
class Delta(Expr):
    """Kronecker's delta of two index expressions on one axis."""

    left: Affine
    right: Affine
    axis: Axis


@dataclass(frozen=True, slots=True)
class Compare(Expr):
    """A condition; only ever the first part of a Where."""

    op: Literal["<", "<=", ">", ">=", "==", "!="]
    left: Expr
    right: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.left, self.right)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Compare(self.op, *parts)


@dataclass(frozen=True, slots=True)
class Where(Expr):
    condition: Expr
    then: Expr
    other: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.condition, self.then, self.other)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Where(*parts)


@dataclass(frozen=True, slots=True)
class Assign(Expr):
    """An update `target <- value`; only ever the whole of a line."""

    target: Ref
    value: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.value,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Assign(self.target, parts[0])


@dataclass(frozen=True, slots=True)
class Summand(Expr):
    """One summand of a sum that has a name: C_{0_j} of C_0. Its value is that of `body`."""

    of: Ref
    index: Affine
    body: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Summand(self.of, self.index, parts[0])


@dataclass(frozen=True, slots=True)
class Depends(Expr):
    """A quantity with what it depends on behind it in brackets: a(z(w)). Its value is that of `quantity`."""

    quantity: Expr
    on: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.quantity, self.on)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Depends(*parts)


@dataclass(frozen=True, slots=True)
class Value(Expr):
    """A measured number in the place of a quantity."""

    number: float


@dataclass(frozen=True, slots=True)
class Dots(Expr):
    """Terms left out of a sum of numbers."""


ZERO, ONE = Num(Fraction(0)), Num(Fraction(1))


@dataclass(frozen=True, slots=True)
class Family:
    """A family of indexed symbols with typed axes.

    Args:
        name: Its letter. A `Ref` carries this name.
        indices: The letters of its indices, recursion axes first: ("l", "j", "k") for w.
        axes: One for each index. A width that depends on the layer refers to the layer's letter.
        kind: What it is to the network.
        meaning: One phrase for the notation table.
    """

    name: str
    indices: tuple[str, ...]
    axes: tuple[Axis, ...]
    kind: Kind
    meaning: str = ""
    guard: Guard = field(default=())

    def __post_init__(self) -> None:
        if len(self.indices) != len(self.axes) or len(set(self.indices)) != len(self.indices):
            raise ValueError(f"family {self.name}: one distinct letter for each axis is needed")

    def __getitem__(self, indices: AffineLike | tuple[AffineLike, ...]) -> Ref:
        given = indices if isinstance(indices, tuple) else (indices,)
        if len(given) != len(self.axes):
            raise IndexError(f"{self.name} has {len(self.axes)} indices {self.indices}, found {len(given)}")
        return Ref(self.name, tuple(affine(i) for i in given))

    @property
    def pattern(self) -> Ref:
        """The family's own formal indices as a Ref."""
        return self[self.indices] if self.indices else Ref(self.name, ())

    def axis(self, position: int, indices: tuple[Affine, ...]) -> Axis:
        """The axis of one index, the layer in it replaced by that of `indices`."""
        return self.axes[position].substitute(dict(zip(self.indices, indices, strict=True)))


def _terms(e: Expr) -> tuple[Expr, ...]:
    return e.terms if isinstance(e, Add) else (e,)


def _factors(e: Expr) -> tuple[Expr, ...]:
    return e.factors if isinstance(e, Mul) and not e.roles else (e,)


# ---------------------------------------------------------------- walking


def at(e: Expr, path: tuple[int, ...]) -> Expr:
    for i in path:
        e = e.parts[i]
    return e


def replace_at(e: Expr, path: tuple[int, ...], new: Expr) -> Expr:
    if not path:
        return new
    parts = list(e.parts)
    parts[path[0]] = replace_at(parts[path[0]], path[1:], new)
    return e.rebuild(tuple(parts))


def walk(e: Expr, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Expr]]:
    """Every part with its path, outermost first, left to right."""
    yield path, e
    for i, p in enumerate(e.parts):
        yield from walk(p, (*path, i))


def scope(e: Expr, path: tuple[int, ...]) -> Guard:
    """What the sums over layers or times around a part say of their indices."""
    out: list[Constraint] = []
    for n in range(len(path)):
        s = at(e, path[:n])
        if isinstance(s, Sum) and s.axis.kind == "recursion":
            out += [at_least(s.index, s.axis.first), *s.guard]
            if s.axis.last is not None:
                out.append(at_least(s.axis.last, s.index))
    return tuple(out)


def transform(e: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """`f` applied to every part, innermost first."""
    parts = e.parts
    if parts:
        new = tuple(transform(p, f) for p in parts)
        if new != parts:
            e = e.rebuild(new)
    return f(e)


# ---------------------------------------------------------------- names


def names(e: Expr) -> frozenset[str]:
    """The free index names and parameters of size (l, L, j, ...)."""
    match e:
        case Ref(_, indices):
            return frozenset().union(*(i.names for i in indices))
        case Size(axis):
            return axis.at.names if axis.at else frozenset()
        case Delta(left, right):
            return left.names | right.names
        case Sum(index, axis, body) | Vec(index, axis, body):
            guarded = {n for c in e.guard for n in c.expr.names} if isinstance(e, Sum) else set()
            inner = (names(body) | guarded) - {index}
            return inner | axis.at.names if axis.at else inner
        case WrittenOut(s, shown):
            return names(s).union(*(i.names for i in shown if i is not None))
        case Partial(top, bottom):
            return names(top) | names(bottom)
        case D(body, variable):
            return names(body) | names(variable)
        case Assign(target, value):
            return names(target) | names(value)
        case Call(_, arguments, _, layer):
            return frozenset().union(*map(names, arguments), layer.names if layer else ())
        case _:
            return frozenset().union(*map(names, e.parts)) if e.parts else frozenset()


def bound(e: Expr) -> frozenset[str]:
    """Every name that some Sigma or array in `e` binds."""
    return frozenset(p.index for _, p in walk(e) if isinstance(p, Sum | Vec))


def substitute(e: Expr, mapping: Mapping[str, Affine]) -> Expr:
    """Replace free index names; a bound name that would capture one is renamed first."""
    if not mapping:
        return e

    def ref(r: Ref) -> Ref:
        return Ref(r.family, tuple(i.substitute(mapping) for i in r.indices))

    match e:
        case Num() | Param():
            return e
        case Ref():
            return ref(e)
        case Size(axis):
            return Size(axis.substitute(mapping))
        case Delta(left, right, axis):
            return Delta(left.substitute(mapping), right.substitute(mapping), axis.substitute(mapping))
        case Sum(index, axis, body) | Vec(index, axis, body):
            guard = e.guard if isinstance(e, Sum) else ()
            inside = names(body) | {n for c in guard for n in c.expr.names}
            inner = {n: a for n, a in mapping.items() if n != index and n in inside}
            incoming = frozenset().union(*(a.names for a in inner.values()))
            if index in incoming:
                new = fresh(index, incoming | inside | bound(body) | mapping.keys())
                guard = tuple(c.substitute({index: affine(new)}) for c in guard)
                body, index = substitute(body, {index: affine(new)}), new
            out = replace(e, index=index, axis=axis.substitute(mapping), body=substitute(body, inner))
            if isinstance(out, Sum) and guard:
                out = replace(out, guard=tuple(c.substitute(inner) for c in guard))
            return out
        case WrittenOut(s, shown):
            new_sum = substitute(s, mapping)
            assert isinstance(new_sum, Sum)
            return WrittenOut(new_sum, tuple(i and i.substitute(mapping) for i in shown))
        case Partial(top, bottom, direct):
            return Partial(ref(top), substitute(bottom, mapping), direct)
        case D(body, variable, total):
            return D(substitute(body, mapping), ref(variable), total)
        case Assign(target, value):
            return Assign(ref(target), substitute(value, mapping))
        case Summand(of, index, body):
            return Summand(ref(of), index.substitute(mapping), substitute(body, mapping))
        case Call(function, arguments, order, layer):
            moved = layer.substitute(mapping) if layer else None
            return Call(function, tuple(substitute(a, mapping) for a in arguments), order, moved)
        case _:
            return e.rebuild(tuple(substitute(p, mapping) for p in e.parts))


def rename_bound(e: Sum, taken: frozenset[str]) -> Sum:
    """The same sum over a letter that is not taken."""
    if e.index not in taken:
        return e
    new = fresh(e.index, taken | names(e.body) | bound(e.body))
    return Sum(
        new,
        e.axis,
        substitute(e.body, {e.index: affine(new)}),
        tuple(c.substitute({e.index: affine(new)}) for c in e.guard),
    )


def canonical(e: Expr) -> Expr:
    """Bound names replaced by numbers in order of depth: two expressions that differ only in them become equal."""

    def go(x: Expr, depth: int) -> Expr:
        if isinstance(x, Sum | Vec):
            name = f"#{depth}"
            body = go(substitute(x.body, {x.index: affine(name)}), depth + 1)
            out = replace(x, index=name, body=body)
            if isinstance(out, Sum) and out.guard:
                out = replace(out, guard=tuple(c.substitute({x.index: affine(name)}) for c in out.guard))
            return out
        if isinstance(x, WrittenOut):
            return go(x.sum, depth)
        return x.rebuild(tuple(go(p, depth) for p in x.parts)) if x.parts else x

    return go(e, 0)


def same(a: Expr, b: Expr) -> bool:
    """Equal up to the names of bound indices."""
    return a == b or canonical(a) == canonical(b)


def families(e: Expr) -> frozenset[str]:
    """The names of all families that occur, derivatives included."""
    out: set[str] = set()
    for _, p in walk(e):
        match p:
            case Ref(family):
                out.add(family)
            case Partial(top, bottom):
                out |= {top.family} | families(bottom)
            case D(_, variable):
                out.add(variable.family)
            case Assign(target):
                out.add(target.family)
    return frozenset(out)
