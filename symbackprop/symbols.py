"""Families of symbols and the heads of expressions.

The heads keep order and grouping, know their bound indices and never evaluate by themselves;
`symbackprop.sympy_bridge` turns them into ordinary SymPy and back. A path is the tuple of child
numbers that leads from an expression to one of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, TypeAlias, TypeVar

from symbackprop.indices import Affine, AffineLike, Axis, Guard, affine, fresh

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
class Max(Expr):
    """The largest value of `body` over one bound index, restricted by a guard on it."""

    index: str
    axis: Axis
    body: Expr
    guard: Guard = ()

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Max(self.index, self.axis, parts[0], self.guard)


@dataclass(frozen=True, slots=True)
class Prod(Expr):
    """The product of the values of `body` over one bound index, restricted by a guard on it."""

    index: str
    axis: Axis
    body: Expr
    guard: Guard = ()

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Prod(self.index, self.axis, parts[0], self.guard)


@dataclass(frozen=True, slots=True)
class Winner(Expr):
    """1 where `at` is the first position at which the maximum is attained, 0 elsewhere."""

    of: Max
    at: Affine

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.of,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        m = parts[0]
        assert isinstance(m, Max)
        return Winner(m, self.at)


@dataclass(frozen=True, slots=True)
class Guarded(Expr):
    """Iverson's bracket before a factor: `body` where every constraint holds, 0 elsewhere."""

    body: Expr
    guard: Guard

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.body,)

    def rebuild(self, parts: tuple[Expr, ...]) -> Expr:
        return Guarded(parts[0], self.guard)


@dataclass(frozen=True, slots=True)
class Position(Expr):
    """The place of an index on its axis, counted from 0 on a node axis, as a scalar to compute or compare with."""

    at: Affine


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


Binder: TypeAlias = Sum | Max | Prod | Vec
"""The heads that bind an index in their body."""

B = TypeVar("B", bound="Sum | Max | Prod | Vec")

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
        guard: Where its quantities exist.
        over: For integer data, the axis on which its values are positions (tokens, class labels).
    """

    name: str
    indices: tuple[str, ...]
    axes: tuple[Axis, ...]
    kind: Kind
    meaning: str = ""
    guard: Guard = field(default=())
    over: Axis | None = None

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
    """What the sums and guards around a part say of their indices."""
    out: Guard = ()
    for n in path:
        out += said(e)
        e = e.parts[n]
    return out


def said(e: Expr) -> Guard:
    """What a head says of the indices inside it."""
    if isinstance(e, Sum | Max | Prod):
        return (*e.axis.holds(affine(e.index)), *e.guard)
    return e.guard if isinstance(e, Guarded) else ()


def walk_scoped(
    e: Expr, path: tuple[int, ...] = (), guard: Guard = ()
) -> Iterator[tuple[tuple[int, ...], Expr, Guard]]:
    """As `walk`, each part with its scope."""
    yield path, e, guard
    inner = guard + said(e)
    for i, p in enumerate(e.parts):
        yield from walk_scoped(p, (*path, i), inner)


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
        case Position(i):
            return i.names
        case Sum() | Max() | Prod() | Vec():
            inner = (names(e.body) | guard_names(guard_of(e))) - {e.index}
            return inner | e.axis.at.names if e.axis.at else inner
        case Guarded(body, guard):
            return names(body) | guard_names(guard)
        case Winner(of, i):
            return names(of) | i.names
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


def guard_names(guard: Guard) -> frozenset[str]:
    return frozenset(n for c in guard for n in c.expr.names)


def guard_of(e: Binder) -> Guard:
    return () if isinstance(e, Vec) else e.guard


def bound(e: Expr) -> frozenset[str]:
    """Every name that some Sigma, maximum, product or array in `e` binds."""
    return frozenset(p.index for _, p in walk(e) if isinstance(p, Binder))


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
        case Position(i):
            return Position(i.substitute(mapping))
        case Guarded(body, guard):
            return Guarded(substitute(body, mapping), tuple(c.substitute(mapping) for c in guard))
        case Winner(of, i):
            largest = substitute(of, mapping)
            assert isinstance(largest, Max)
            return Winner(largest, i.substitute(mapping))
        case Sum() | Max() | Prod() | Vec():
            inside = names(e.body) | guard_names(guard_of(e))
            inner = {n: a for n, a in mapping.items() if n != e.index and n in inside}
            incoming = frozenset().union(*(a.names for a in inner.values()))
            if e.index in incoming:
                e = with_index(e, fresh(e.index, incoming | inside | bound(e.body) | mapping.keys()))
            out = replace(e, axis=e.axis.substitute(mapping), body=substitute(e.body, inner))
            if not isinstance(out, Vec) and out.guard:
                out = replace(out, guard=tuple(c.substitute(inner) for c in out.guard))
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


def with_index(e: B, new: str) -> B:
    """The same over another letter, which must not occur in it."""
    mapping = {e.index: affine(new)}
    out = replace(e, index=new, body=substitute(e.body, mapping))
    if not isinstance(out, Vec) and out.guard:
        out = replace(out, guard=tuple(c.substitute(mapping) for c in out.guard))
    return out


def rename_bound(e: B, taken: frozenset[str], avoid: frozenset[str] = frozenset()) -> B:
    """The same over a letter that is not taken; a new one is not in `avoid` either."""
    if e.index not in taken:
        return e
    return with_index(e, fresh(e.index, taken | avoid | names(e.body) | guard_names(guard_of(e)) | bound(e.body)))


def canonical(e: Expr) -> Expr:
    """Bound names replaced by numbers in order of depth: two expressions that differ only in them become equal."""

    def go(x: Expr, depth: int) -> Expr:
        if isinstance(x, Binder):
            x = with_index(x, f"#{depth}")
            return replace(x, body=go(x.body, depth + 1))
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
