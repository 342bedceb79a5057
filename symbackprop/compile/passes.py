"""Passes over whole programs: leaving out what nothing needs, and other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from symbackprop.compile.program import (
    Contract,
    Fold,
    Gather,
    Instruction,
    Map,
    Reduce,
    Scan,
    Scatter,
    Stack,
    View,
    Window,
    Winner,
    read_by,
)


def pruned(instructions: Sequence[Instruction], live: set[str]) -> list[Instruction]:
    """The instructions that something live needs; `live` grows by what they read."""
    kept: list[Instruction] = []
    for i in reversed(instructions):
        if isinstance(i, Scan):
            smaller = _pruned_scan(i, live)
            if smaller is not None:
                kept.append(smaller)
                live |= read_by(smaller)
        elif i.name in live:
            live |= read_by(i)
            kept.append(i)
    return kept[::-1]


def _pruned_scan(i: Scan, live: set[str]) -> Scan | None:
    """A loop without the results that neither it nor anything after it reads."""
    stored = [s for s in i.stored if s.name in live]
    while True:
        inside = {s.value for s in stored}
        body = pruned(i.body, inside)
        more = [s for s in i.stored if s.name in inside and s not in stored]
        if not more:
            break
        stored += more
    return replace(i, body=tuple(body), stored=tuple(stored)) if stored else None


def renamed(i: Instruction, to: Mapping[str, str]) -> Instruction:
    """An instruction with other names for values."""

    def own(n: str) -> str:
        return to.get(n, n)

    changes: dict[str, object] = {"name": own(i.name)}
    match i:
        case Scan():
            changes["body"] = tuple(renamed(b, to) for b in i.body)
            changes["stored"] = tuple(
                replace(s, name=own(s.name), base=own(s.base), value=own(s.value)) for s in i.stored
            )
        case Stack():
            changes["pieces"] = tuple((own(n), place) for n, place in i.pieces)
        case Window():
            changes["operand"] = own(i.operand)
        case Contract() | Map():
            changes["operands"] = tuple(replace(o, name=own(o.name)) for o in i.operands)
        case Gather():
            changes["table"] = replace(i.table, name=own(i.table.name))
            changes["positions"] = replace(i.positions, name=own(i.positions.name))
        case Scatter():
            changes["operand"] = replace(i.operand, name=own(i.operand.name))
            changes["positions"] = replace(i.positions, name=own(i.positions.name))
        case Reduce() | View() | Fold() | Winner():
            changes["operand"] = replace(i.operand, name=own(i.operand.name))
    return replace(i, **changes)  # type: ignore[arg-type]
