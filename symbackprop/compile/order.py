"""In which order quantities are computed, and which of them need a loop.

An item is a family, or the gradient by it. Items that need each other form a component: if they do so from
one time (or layer) to the next, they are computed in a loop over the times, everything else as whole arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from symbackprop.compile.extents import span
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Constraint, Guard, affine, equals
from symbackprop.symbols import Expr, Family, Partial, Ref, substitute, walk

Item: TypeAlias = "tuple[str, bool]"  # a family, and whether the gradient by it is meant


@dataclass(frozen=True, slots=True)
class Case:
    """One equation for an item, over a box of times and layers.

    Args:
        letters: The name that each axis of the family has in `rhs`.
        box: For each axis its numbers there; None for a node axis.
        guard: What is left to decide, position by position.
        shown: The equation as it was derived, for a reader.
    """

    rhs: Expr
    letters: tuple[str, ...]
    box: tuple[range | None, ...]
    guard: Guard
    shown: tuple[Expr, Expr] | None = None

    def shift(self, position: int, index: Affine) -> int | None:
        """How far an index on the right is from the one on the left, on one axis of the left; None where it varies."""
        here, only = affine(self.letters[position]), self.box[position]
        if only is not None and len(only) == 1:
            here = affine(only.start)
            index = index.substitute({self.letters[position]: here})
        return (index - here).value


@dataclass(frozen=True, slots=True)
class Use:
    """An occurrence of an item in a case, with its indices."""

    item: Item
    indices: tuple[Affine, ...]


def uses(e: Expr) -> Iterator[Use]:
    for _, p in walk(e):
        match p:
            case Ref(family, indices):
                yield Use((family, False), indices)
            case Partial(_, Ref(family, indices)):
                yield Use((family, True), indices)


def make_case(family: Family, lhs: Ref, rhs: Expr, guard: Guard, numbers: Mapping[str, int]) -> Case | None:
    """An equation over the box in which it holds; None where it never does."""
    letters: list[str] = []
    box: list[range | None] = []
    own = list(guard)
    for position, index in enumerate(lhs.indices):
        letter = index.name if index.name is not None and index.name not in numbers else family.indices[position]
        if index.name != letter:
            own.append(equals(letter, index))
        letters.append(letter)
        box.append(span(family, position, numbers) if family.axes[position].kind == "recursion" else None)
    known = {n: affine(v) for n, v in numbers.items() if n not in letters}
    left: list[Constraint] = []
    for c in (c.substitute(known) for c in own):
        names = c.expr.names & set(letters)
        position = letters.index(next(iter(names))) if len(names) == 1 else -1
        r = box[position] if position >= 0 else None
        if not c.expr.names:
            if not c.holds({}):
                return None
        elif r is not None:
            kept = [n for n in r if c.holds({letters[position]: n})]
            if kept and kept != list(range(kept[0], kept[-1] + 1)):
                raise ModelError(f"{family.name}: the {letters[position]} for which an equation holds have gaps")
            box[position] = range(kept[0], kept[-1] + 1) if kept else range(0)
        else:
            left.append(c)
    if any(r is not None and not r for r in box):
        return None
    return Case(substitute(rhs, known), tuple(letters), tuple(box), tuple(left))


def apart(cases: Sequence[Case], axes: Sequence[int]) -> list[Case]:
    """The same over boxes that are equal or have nothing in common: those that overlap are cut at each other's ends."""

    def meet(a: Case, b: Case) -> bool:
        pairs = [(a.box[n], b.box[n]) for n in axes]
        return all(r is None or s is None or max(r.start, s.start) < min(r.stop, s.stop) for r, s in pairs)

    out = list(cases)
    for n in axes:
        cut: list[Case] = []
        for c in out:
            mine = c.box[n]
            others = [r for d in out if d.box != c.box and meet(c, d) and (r := d.box[n]) is not None]
            if mine is None or not others:
                cut.append(c)
                continue
            ends = {e for r in (mine, *others) for e in (r.start, r.stop) if mine.start <= e <= mine.stop}
            for a, b in pairwise(sorted(ends)):
                cut.append(replace(c, box=(*c.box[:n], range(a, b), *c.box[n + 1 :])))
        out = cut
    return out


def components(items: Iterable[Item], needs: Callable[[Item], Iterable[Item]]) -> list[list[Item]]:
    """Items that need each other, grouped; each group after those that it needs (Tarjan 1972)."""
    number: dict[Item, int] = {}
    low: dict[Item, int] = {}
    stack: list[Item] = []
    out: list[list[Item]] = []

    def visit(v: Item) -> None:
        number[v] = low[v] = len(number)
        stack.append(v)
        for w in needs(v):
            if w not in number:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], number[w])
        if low[v] == number[v]:
            group = stack[stack.index(v) :]
            del stack[stack.index(v) :]
            out.append(group)

    for v in items:
        if v not in number:
            visit(v)
    return out


@dataclass(frozen=True, slots=True)
class Sweep:
    """The loop that computes a component.

    Args:
        axis: Which axis of each member is the loop's.
        step: 1 or -1.
        segments: Runs of numbers on that axis, in order of the loop, in each of which the same cases hold.
    """

    axis: Mapping[Item, int]
    step: int
    segments: tuple[range, ...]


def sweep(
    members: Sequence[Item],
    families: Mapping[str, Family],
    cases: Mapping[Item, Sequence[Case]],
    fixed: Mapping[Item, frozenset[int]],
    around: Sequence[Mapping[Item, int]],
    numbers: Mapping[str, int],
) -> Sweep:
    """Find the axis along which the members need only what comes before, or only what comes after.

    Args:
        fixed: The axes of each member that loops around have fixed.
        around: For each of those loops the axis that it fixes; what is of another turn of one does not count.

    Raises:
        ModelError: There is no such axis: some quantity depends on itself.
    """
    inside = set(members)
    labels = [
        a.label
        for n, a in enumerate(families[members[0][0]].axes)
        if a.kind == "recursion" and n not in fixed.get(members[0], frozenset())
    ]
    for label in labels:
        axis = {m: _axis_of(families[m[0]], label, fixed.get(m, frozenset())) for m in members}
        if any(n < 0 for n in axis.values()):
            continue
        shifts: set[int | None] = set()
        for m in members:
            for c in cases[m]:
                for u in uses(c.rhs):
                    if u.item in inside and same_turn(c, m, u, around):
                        shifts.add(c.shift(axis[m], u.indices[axis[u.item]]))
        known = [s for s in shifts if s is not None]
        if len(known) != len(shifts) or not any(known) or min(known) * max(known) < 0:
            continue
        step = 1 if min(known) < 0 else -1
        return Sweep(axis, step, _segments(members, families, cases, axis, step, numbers))
    raise ModelError(f"{members[0][0]} depends on itself")


def same_turn(c: Case, m: Item, u: Use, loops: Sequence[Mapping[Item, int]]) -> bool:
    """Whether what a case of `m` uses is of the same turn of all these loops."""
    return all(c.shift(axis[m], u.indices[axis[u.item]]) == 0 for axis in loops if u.item in axis and m in axis)


def _axis_of(family: Family, label: str, fixed: frozenset[int]) -> int:
    found = (n for n, a in enumerate(family.axes) if a.kind == "recursion" and a.label == label and n not in fixed)
    return next(found, -1)


def _segments(
    members: Sequence[Item],
    families: Mapping[str, Family],
    cases: Mapping[Item, Sequence[Case]],
    axis: Mapping[Item, int],
    step: int,
    numbers: Mapping[str, int],
) -> tuple[range, ...]:
    """Cut where a case begins or ends, and where a shifted index would leave the range of its family."""
    cuts: set[int] = set()
    for m in members:
        for c in cases[m]:
            r = c.box[axis[m]]
            assert r is not None
            cuts |= {r.start, r.stop}
            for u in uses(c.rhs):
                if u.item in axis:
                    whole = span(families[u.item[0]], axis[u.item], numbers)
                    shift = c.shift(axis[m], u.indices[axis[u.item]]) or 0
                    cuts |= {n for n in (whole.start - shift, whole.stop - shift) if n in r}
    runs = [range(a, b) for a, b in pairwise(sorted(cuts))]
    used = [r for r in runs if any(r.start in (c.box[axis[m]] or ()) for m in members for c in cases[m])]
    return tuple(used if step > 0 else reversed(used))
