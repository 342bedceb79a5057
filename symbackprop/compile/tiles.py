"""Running a program on a part of a batch at a time, so that what is computed in between stays in the cache.

An axis such as the samples, or the heads of attention, that every large value carries and that is only ever summed
on the way to a result can be cut: the program is run on each part, results that carry the axis are written part
by part, and those in which it is summed are added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from symbackprop.compile.program import (
    Constant,
    Contract,
    Fold,
    Gather,
    Input,
    Instruction,
    Iota,
    Map,
    Program,
    Reduce,
    Scan,
    Scatter,
    Stack,
    View,
    Window,
    Winner,
    axes,
)
from symbackprop.symbols import Add, Expr, Mul, Param

Status: TypeAlias = Literal["carries", "apart", "summed"]

CACHE = 1 << 20
"""Bytes that what is computed in between may take."""


@dataclass(frozen=True, slots=True)
class Tile:
    """An axis that is cut: its dimension, its size, and the size of a part."""

    dim: str
    size: int
    part: int


def choose(program: Program, entries: int, itemsize: int = 8) -> tuple[Tile, ...]:
    """The axes to cut so that buffers of so many entries, all together, fit into the cache."""
    dims = axes(program)
    wanted = [d for d in _leading(program, dims) if _cuts(program, d, dims)]
    out: list[Tile] = []
    taken = float(entries * itemsize)
    if taken <= 1.5 * CACHE:
        return ()
    for d in wanted:
        size = program.sizes[d]
        fits = [n for n in range(1, size + 1) if size % n == 0 and taken * n / size <= CACHE]
        # A few large parts gain nothing over parts of one, and single samples need the fewest copies.
        part = 1 if taken / size >= CACHE / 4 else max(fits, default=1)
        trial = [*out, Tile(d, size, part)]
        if not all(_prefix(dims[i.name], trial) for i in program.inputs) or not all(
            _prefix(dims[o.value], trial) for o in program.outputs
        ):
            break
        if part < size:
            out = trial
        taken *= part / size
        if taken <= 4 * CACHE or part > 1:
            break
    return tuple(out)


def _leading(program: Program, dims: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The axes of the largest array that comes in or goes out, in order."""
    names = [i.name for i in program.inputs] + [o.value for o in program.outputs]

    def volume(n: str) -> int:
        out = 1
        for d in dims[n]:
            out *= program.sizes[d]
        return out

    return dims[max(names, key=volume)] if names else ()


def _prefix(dims: Sequence[str], tiles: Sequence[Tile]) -> bool:
    """Whether a part of an array is one stretch of memory: only whole axes come after the one that is cut."""
    cut = {t.dim: t for t in tiles}
    have = [d in cut for d in dims]
    if sorted(have, reverse=True) != have:
        return False
    own = [cut[d] for d in dims if d in cut]
    return all(t.part == 1 for t in own[:-1])


def _cuts(program: Program, dim: str, dims: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the program may be run on parts of an axis."""
    status: dict[str, Status] = {}
    for i in program.instructions:
        found = _status(i, dim, dims, status)
        if found is None or dims[i.name].count(dim) > 1:
            return False
        status[i.name] = found
    return all(status[o.value] != "apart" for o in program.outputs) and not dim.isdigit()


def _status(
    i: Instruction, dim: str, dims: Mapping[str, tuple[str, ...]], status: Mapping[str, Status]
) -> Status | None:
    """What an instruction makes of the axis; None where it does not let it be cut."""
    own: Status = "carries" if dim in dims[i.name] else "apart"
    match i:
        case Input():
            return own
        case Constant(_, labels, types, _, guard):
            named = {c for c, d in zip(labels, types, strict=True) if d == dim}
            return None if any(named & c.expr.names for c in guard) else own
        case Iota() | Scan() | Stack():
            return own if own == "apart" and not isinstance(i, Scan) else None
        case Window(_, operand, index, labels, types):
            plain = _plain(dims[operand], index, dict(zip(labels, types, strict=True)), dim)
            return (status[operand] if own == "apart" else own) if plain else None
        case Fold(_, operand, index, types):
            inner = dict(zip(operand.labels, dims[operand.name], strict=True))
            plain = _plain(types, index, inner, dim)
            return (status[operand.name] if own == "apart" else own) if plain else None
        case Gather(_, table, positions, label):
            before = [status[table.name], status[positions.name]]
            if dims[table.name][table.labels.index(label)] == dim or "summed" in before:
                return None
            return own
        case Scatter(_, operand, positions):
            before = [status[operand.name], status[positions.name]]
            if i.dim == dim or "summed" in before:
                return None
            return "summed" if own == "apart" and "carries" in before else own
        case Winner(_, operand, label):
            along = dims[operand.name][operand.labels.index(label)]
            return None if along == dim or status[operand.name] == "summed" else own
        case View(_, operand):
            return status[operand.name]
        case Reduce(_, kind, operand):
            if status[operand.name] != "carries" or own == "carries":
                return own if kind == "sum" or status[operand.name] != "summed" else None
            return "summed" if kind == "sum" else None
        case Contract(_, operands):
            return _of_product([status[o.name] for o in operands], own)
        case Map():
            return _of_map(i, own, status)
    return None


def _plain(types: Sequence[str], index: Sequence[object], labels: Mapping[str, str], dim: str) -> bool:
    """Whether the axis is passed on as it is."""
    for d, e in zip(types, index, strict=True):
        names: frozenset[str] = getattr(e, "names", frozenset())
        touches = any(labels.get(n) == dim for n in names)
        if (d == dim or touches) and not (d == dim and labels.get(getattr(e, "name", None) or "") == dim):
            return False
    return True


def _of_product(before: Sequence[Status], own: Status) -> Status | None:
    if "summed" in before:
        return "summed" if before.count("summed") == 1 and "carries" not in before else None
    return "summed" if own == "apart" and "carries" in before else own


def _of_map(i: Map, own: Status, status: Mapping[str, Status]) -> Status | None:
    before = [status[o.name] for o in i.operands]
    if "summed" not in before:
        return own
    if "carries" in before:
        return None
    terms = i.formula.terms if isinstance(i.formula, Add) else (i.formula,)
    return "summed" if all(_linear(t, before) for t in terms) else None


def _linear(term: Expr, before: Sequence[Status]) -> bool:
    """Whether a term has exactly one factor in which the axis was summed."""
    factors = term.factors if isinstance(term, Mul) else (term,)
    count = 0
    for f in factors:
        if isinstance(f, Param) and f.name.isdigit():
            count += before[int(f.name)] == "summed"
        elif any(isinstance(p, Param) and p.name.isdigit() for p in f.parts):
            return False
    return count == 1
