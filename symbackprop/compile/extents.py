"""How many positions each axis has: read off the arrays, given by name, or following from others by a rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from symbackprop.errors import ModelError, ShapeError
from symbackprop.indices import Affine, Axis, affine
from symbackprop.network import System
from symbackprop.symbols import Family


def ends(family: Family, position: int) -> tuple[list[Affine], list[Affine]]:
    """The lower and the upper bounds of the numbers on a recursion axis: those of the axis, and of the family's guard."""
    axis, letter = family.axes[position], family.indices[position]
    low, high = [axis.first], [] if axis.last is None else [axis.last]
    for c in family.guard:
        k = dict(c.expr.terms).get(letter, 0)
        rest = c.expr - affine(letter) * k
        if abs(k) != 1 or rest.names & set(family.indices):
            continue
        if k == 1 or c.equal:
            low.append(-rest if k == 1 else rest)
        if k == -1 or c.equal:
            high.append(rest if k == -1 else -rest)
    return low, high


def span(family: Family, position: int, numbers: Mapping[str, int]) -> range:
    """The numbers on a recursion axis for which the family has quantities."""
    low, high = ends(family, position)
    if not high:
        raise ModelError(f"{family.name}: the last {family.indices[position]} is not known")
    return range(max(e.evaluate(numbers) for e in low), min(e.evaluate(numbers) for e in high) + 1)


def length(family: Family, position: int) -> Affine | None:
    """The number of positions on an axis in terms of names, or None where several bounds compete."""
    axis = family.axes[position]
    if axis.kind != "recursion":
        return size_name(axis)
    low, high = ends(family, position)
    if not high:
        return None
    # A bound of the family is at least as narrow as one of its axis.
    return high[-1] - low[-1] + 1


def size_name(axis: Axis) -> Affine:
    if axis.at is not None:
        raise ModelError(f"the size of axis {axis.label} depends on {axis.at}, so its arrays differ in shape")
    return affine(int(axis.label)) if axis.label.isdigit() else affine(axis.label)


def expected(family: Family) -> tuple[str, ...]:
    """The shape of a family's array in words: (T, N, J)."""
    return tuple(str(length(family, n) or "?") for n in range(len(family.axes)))


def solve(system: System, shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, int]) -> dict[str, int]:
    """A number for every name that the model's indices speak of.

    Args:
        shapes: Of the arrays that are there, by family.
        given: Sizes, last times and integers that the caller tells.

    Raises:
        ShapeError: An array has another number of axes, or a size that disagrees with the others.
        ModelError: Some number cannot be known.
    """
    known = {**system.sizes, **given}
    source = dict.fromkeys(given, "as given") | {n: "as the model says" for n in system.sizes if n not in given}
    for name, shape in shapes.items():
        if len(shape) != len(system.family(name).axes):
            raise ShapeError(_disagrees(system, name, shape, known))
    while True:
        found: dict[str, int] = {}
        for name, n in _found(system, shapes, known, source):
            found.setdefault(name, n)
        if not found:
            break
        known |= found
    for name, shape in shapes.items():
        family = system.family(name)
        for position, n in enumerate(shape):
            size = length(family, position)
            if size is not None and size.names <= known.keys() and size.evaluate(known) != n:
                raise ShapeError(_disagrees(system, name, shape, known, source))
    for name, rule in system.rules.items():
        if rule.names <= known.keys() and known.get(name) != rule.evaluate(known):
            raise ShapeError(
                f"the size {name} is {known[name]} ({source.get(name, 'as the arrays have it')}), "
                f"but the model makes it {rule.evaluate(known)}"
            )
    return known


def missing(system: System, known: Mapping[str, int], needed: frozenset[str]) -> None:
    """Refuse numbers that are needed and that nothing tells.

    Raises:
        ModelError: Which, and what would fit.
    """
    absent = sorted(needed - known.keys())
    if absent:
        names = ", ".join(absent)
        example = ", ".join(f"{n!r}: 2" for n in absent)
        raise ModelError(f"no array tells {names}; give {'it' if len(absent) == 1 else 'them'} as sizes={{{example}}}")


def _found(
    system: System, shapes: Mapping[str, tuple[int, ...]], known: Mapping[str, int], source: dict[str, str]
) -> Iterator[tuple[str, int]]:
    """What one more look at the arrays and the rules tells."""
    for name, shape in shapes.items():
        family = system.family(name)
        for position, n in enumerate(shape):
            size = length(family, position)
            open_ = [] if size is None else [(m, k) for m, k in size.terms if not set(m.split("*")) <= known.keys()]
            if size is not None and len(open_) == 1 and abs(open_[0][1]) == 1 and "*" not in open_[0][0]:
                unknown, k = open_[0]
                source.setdefault(unknown, f"as {name} has it")
                yield unknown, (n - (size - affine(unknown) * k).evaluate(known)) * k
    for name, rule in system.rules.items():
        if name not in known and rule.names <= known.keys():
            if rule.bottom.evaluate(known) < 1:
                raise ModelError(f"the size {name} is divided by {rule.bottom} = {rule.bottom.evaluate(known)}")
            source.setdefault(name, "as the model makes it")
            yield name, rule.evaluate(known)


def _disagrees(
    system: System,
    name: str,
    shape: tuple[int, ...],
    known: Mapping[str, int],
    source: Mapping[str, str] | None = None,
) -> str:
    """An array's shape beside the expected one, and what would fit."""
    family = system.family(name)
    names = expected(family)
    sizes: list[int | None] = []
    others: list[int | None] = []  # without those that only this array tells
    for n in range(len(family.axes)):
        size = length(family, n)
        own = size is not None and any((source or {}).get(m) == f"as {name} has it" for m in size.names)
        sizes.append(size.evaluate(known) if size is not None and size.names <= known.keys() else None)
        others.append(None if own else sizes[-1])
    comma = "," if len(names) == 1 else ""
    numbers = ", ".join(str(s) if s is not None else n for n, s in zip(names, sizes, strict=True))
    message = f"{name} has shape {shape}, expected ({', '.join(names)}{comma}) = ({numbers}{comma})"
    if len(shape) == len(sizes) and all(s in (None, n) for s, n in zip(others, shape[::-1], strict=True)):
        return message + "; its transpose fits"
    if source and len(shape) == len(sizes):
        wrong = [n for n, s, have in zip(names, sizes, shape, strict=True) if s is not None and s != have]
        message += "".join(f"; {n} {source[n]}" for n in wrong if n in source)
    return message
