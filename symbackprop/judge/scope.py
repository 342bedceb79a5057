"""What a line claims: two scalars for all values of its free indices, and the range of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from symbackprop.check import node_axes
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, at_least, fresh, implies
from symbackprop.network import System
from symbackprop.symbols import (
    ZERO,
    Assign,
    Binder,
    Call,
    D,
    Delta,
    Expr,
    Max,
    Partial,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    bound,
    names,
    substitute,
    transform,
    walk,
    walk_scoped,
)


@dataclass(frozen=True)
class Equality:
    """Two scalar sides and where they are said to be equal.

    Args:
        left, right: An array is replaced by its general entry.
        guard: What the line says of its layers and times, and what makes every quantity of it exist.
        axes: The axes on which each free node index stands.
        entries: The letters of the general entry of an array.
        free_left, free_right: The free indices of either side, as written.
        apart: Index expressions that are not 0: j - i for a line that holds for j other than i.
        values: Letters that the line says the value of, put in: l = L.
    """

    left: Expr
    right: Expr
    guard: Guard
    axes: dict[str, tuple[Axis, ...]]
    entries: tuple[str, ...]
    free_left: frozenset[str]
    free_right: frozenset[str]
    apart: tuple[Affine, ...] = ()
    values: Mapping[str, Affine] = field(default_factory=dict)

    def free(self, system: System) -> frozenset[str]:
        """The free indices of either side; the letter of the one width of all layers is none."""
        return (names(self.left) | names(self.right)) - sizes_of(system)


def sizes_of(system: System) -> frozenset[str]:
    """Every letter that is a number rather than an index: sizes, last layers and times, the one width of all layers."""
    return system.constants | width_letters(system)


def width_letters(system: System) -> frozenset[str]:
    """The letters of widths that depend on the layer: alone, one is the width of all layers."""
    return frozenset(a.label for f in system.families.values() for a in f.axes if a.at is not None)


class ShapeMismatch(Exception):
    """The two sides are arrays of different shapes; the message says which."""


def equality(system: System, left: Expr, right: Expr, said: Guard = (), apart: tuple[Affine, ...] = ()) -> Equality:
    """The claim that two sides are equal.

    Raises:
        ShapeMismatch: One is an array that the other is not, or over other axes.
    """
    values = fixed(said, sizes_of(system))
    for name, value in values.items():
        left, right = substitute(left, {name: value}), substitute(right, {name: value})
        said = tuple(c.substitute({name: value}) for c in said)
        apart = tuple(a.substitute({name: value}) for a in apart)
    depth = given_depth(system, said)
    if depth is not None:
        left, right = from_last(system, left, depth), from_last(system, right, depth)
    known = sizes_of(system)
    free_left, free_right = names(left) - known, names(right) - known
    a, b, entries = entrywise(left, right, names(left) | names(right) | system.constants)
    guard = tuple(dict.fromkeys((*said, *existence(system, (a, b)))))
    axes: dict[str, tuple[Axis, ...]] = {}
    for e in (a, b):
        for name, found in node_axes(e, system).items():
            axes[name] = tuple(dict.fromkeys((*axes.get(name, ()), *found)))
    return Equality(a, b, guard, axes, entries, free_left, free_right, apart, values)


def given_depth(system: System, said: Guard) -> int | None:
    """The number of layers that a hand-in gives."""
    for c in said:
        if c.equal and len(c.expr.terms) == 1 and c.expr.names and c.expr.names == system.layers.names:
            return -c.expr.const * c.expr.terms[0][1]
    return None


def from_last(system: System, e: Expr, depth: int) -> Expr:
    """An expression with its numbered layers counted from the last: with L = 2, layer 1 is L - 1."""

    def layer(i: Affine) -> Affine:
        return system.layers + (i.const - depth) if not i.terms else i

    def moved(r: Ref) -> Ref:
        axes = system.family(r.family).axes
        return Ref(
            r.family,
            tuple(
                layer(i) if a.kind == "recursion" and a.last == system.layers else i
                for a, i in zip(axes, r.indices, strict=True)
            ),
        )

    def go(x: Expr) -> Expr:
        match x:
            case Ref():
                return moved(x)
            case Partial(top, Ref() as bottom, direct):
                return Partial(moved(top), moved(bottom), direct)
            case Partial(top, bottom, direct):
                return Partial(moved(top), bottom, direct)
            case D(body, variable, total):
                return D(body, moved(variable), total)
            case Call(function, arguments, order, at) if at is not None:
                return Call(function, arguments, order, layer(at))
            case Sum() | Max() | Prod() | Vec() | Size() if x.axis.at is not None:
                return replace(x, axis=replace(x.axis, at=layer(x.axis.at)))
        return x

    return transform(e, go)


def fixed(guard: Guard, constants: frozenset[str]) -> dict[str, Affine]:
    """The letters that a line says the value of: l = L, with that value."""
    out: dict[str, Affine] = {}
    for c in guard:
        c = c.substitute(out)
        name = next((n for n, k in c.expr.terms if abs(k) == 1 and n not in constants and "*" not in n), None)
        if c.equal and name is not None:
            k = dict(c.expr.terms)[name]
            value = (c.expr - Affine(((name, k),))) * -k
            out = {n: a.substitute({name: value}) for n, a in out.items()} | {name: value}
    return out


def entrywise(left: Expr, right: Expr, taken: Iterable[str]) -> tuple[Expr, Expr, tuple[str, ...]]:
    """Both sides as general entries of the arrays that they are."""
    used = set(taken)
    entries: list[str] = []
    left, right = opened(left), opened(right)
    while isinstance(left, Vec) or isinstance(right, Vec):
        if left == ZERO or right == ZERO:
            # An array of zeros is written 0.
            vec = right if isinstance(right, Vec) else left
            assert isinstance(vec, Vec)
            axis = vec.axis
        elif not (isinstance(left, Vec) and isinstance(right, Vec)):
            kinds = ("an array", "a scalar") if isinstance(left, Vec) else ("a scalar", "an array")
            raise ShapeMismatch(f"the left side is {kinds[0]}, the right side {kinds[1]}")
        else:
            axis = left.axis
            if axis != right.axis:
                raise ShapeMismatch(
                    f"entries over {axis_name(left.axis)} on the left, over {axis_name(right.axis)} on the right"
                )
        own = left.index if isinstance(left, Vec) else right.index  # type: ignore[attr-defined]
        letter = fresh(own.rstrip("'"), used)
        used.add(letter)
        entries.append(letter)
        left, right = opened(entry(left, letter)), opened(entry(right, letter))
    return left, right, tuple(entries)


def opened(e: Expr) -> Expr:
    """A derivative by an array as the array of derivatives."""
    if isinstance(e, Partial) and isinstance(e.bottom, Vec):
        v = e.bottom
        return Vec(v.index, v.axis, Partial(e.top, v.body, e.direct))
    return e


def entry(e: Expr, letter: str) -> Expr:
    return substitute(e.body, {e.index: affine(letter)}) if isinstance(e, Vec) else e


def axis_name(axis: Axis) -> str:
    if axis.at is None:
        return axis.label
    at = str(axis.at)
    return f"{axis.label}_{at}" if len(at) == 1 else f"{axis.label}_{{{at}}}"


def existence(system: System, sides: tuple[Expr, ...]) -> Guard:
    """The range of the free layers and times in which every quantity of the sides exists: l+1 means l < L."""
    out: list[Constraint] = []
    for e in sides:
        inner = bound(e)
        for c, around in conditions(system, e):
            if c.expr.names & inner:
                out += at_ends(system, c, around, inner)
            elif c.expr.terms or not c.holds({}):
                out.append(c)
    return tuple(dict.fromkeys(out))


def at_ends(system: System, c: Constraint, around: Guard, inner: frozenset[str]) -> Guard:
    """What a condition on a summed index says of the free ones, where its sum begins or ends at one of them."""
    # A sum that begins at a free time is not cut short by the ends of its axis.
    bounded = {
        (n, k > 0) for g in around for n, k in g.expr.terms if n in inner and g.expr.names - inner - system.constants
    }
    said = tuple(
        g
        for g in around
        if g.expr.names - inner - system.constants
        or not any((n, k > 0) in bounded for n, k in g.expr.terms if n in inner)
    )
    if implies((*system.standing, *said), c):
        return ()
    for n, k in c.expr.terms:
        if n not in inner:
            continue
        ends = ((g.expr, dict(g.expr.terms).get(n, 0)) for g in around if not g.equal)
        for end, m in ends:
            if m * k > 0 and abs(m) == 1:
                value = (end - Affine(((n, m),))) * -m
                moved = c.substitute({n: value})
                if value.names - system.constants and not moved.expr.names & inner:
                    return (moved,)
    return ()


def conditions(system: System, e: Expr) -> Iterator[tuple[Constraint, Guard]]:
    """What must hold for each quantity to exist, with what is said of the indices around it."""
    for _, p, around in walk_scoped(e):
        for r in quantities(p):
            family = system.family(r.family)
            yield from ((c, around) for c in system.guard_of(r))
            for axis, i in zip(family.axes, r.indices, strict=True):
                if axis.kind == "recursion":
                    yield from ((c, around) for c in axis.holds(i))
        if isinstance(p, Call) and p.at is not None:
            yield from ((c, around) for c in (at_least(p.at, 1), at_least(system.layers, p.at)))
        if isinstance(p, Delta) and p.axis.kind == "recursion":
            yield from ((c, around) for i in (p.left, p.right) for c in p.axis.holds(i))


def quantities(p: Expr) -> Iterator[Ref]:
    """The quantities that a head itself names."""
    match p:
        case Ref():
            yield p
        case Partial(top, bottom):
            yield top
            if isinstance(bottom, Ref):
                yield bottom
        case D(_, variable):
            yield variable
        case Assign(target):
            yield target


def misplaced(system: System, e: Expr) -> str | None:
    """A summed index that counts two axes of unequal size, in words; None where there is none."""
    for _, p in walk(e):
        if not isinstance(p, Binder) or p.axis.kind == "recursion":
            continue
        stands = node_axes(p.body, system).get(p.index, ())
        for axis in stands:
            if axis != p.axis and not same_size(system, axis, p.axis):
                return f"{p.index.split('@')[0]} runs over {axis_name(p.axis)} nodes and stands where {axis_name(axis)} are counted"
    return None


def same_size(system: System, a: Axis, b: Axis) -> bool:
    size = system.size(a)
    return size is not None and size == system.size(b)
