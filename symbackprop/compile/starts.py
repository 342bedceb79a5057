"""The first entries of a recurrence: what a time series or a stack of layers begins with, given by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symbackprop.compile.extents import span
from symbackprop.compile.order import make_case
from symbackprop.network import System, is_copy
from symbackprop.symbols import Family


@dataclass(frozen=True, slots=True)
class Base:
    """The first entries of a derived family, where no equation gives them: h_0, an array of its own.

    Args:
        axis: The axis of the family on which they come first.
        numbers: Theirs on that axis.
    """

    name: str
    family: str
    axis: int
    numbers: range


def first_entries(system: System, family: Family, numbers: Mapping[str, int]) -> tuple[int, range] | None:
    """The axis on which a derived family begins with entries that no equation computes, and their numbers."""
    own = [e for e in system.equations if e.lhs.family == family.name and not is_copy(e, system)]
    cases = [make_case(family, e.lhs, e.rhs, e.guard, numbers) for e in own]
    for n, axis in enumerate(family.axes):
        starts = [r.start for c in cases if c is not None and (r := c.box[n]) is not None]
        if axis.kind == "recursion" and starts and family.kind == "derived":
            whole = span(family, n, numbers)
            if min(starts) > whole.start:
                return n, range(whole.start, min(starts))
    return None


def bases(system: System, numbers: Mapping[str, int]) -> list[Base]:
    """The families of which the first entries are given by the caller: no equation speaks of them."""
    out: list[Base] = []
    for f in system.families.values():
        first = first_entries(system, f, numbers)
        if first is None or any(e.lhs.family == f.name and is_copy(e, system) for e in system.equations):
            continue
        name = f"{f.name}_{first[1].start}"
        out.append(Base(name if name not in system.families else f"{name}_", f.name, *first))
    return out
