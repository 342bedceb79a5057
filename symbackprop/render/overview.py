"""A model as it was understood: its equations, the table of its symbols, what is assumed."""

from __future__ import annotations

from symbackprop.indices import Axis, Constraint, affine
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.render.document import (
    Block,
    Document,
    Follows,
    Heading,
    Piece,
    Pieces,
    Prose,
    Range,
    Row,
    Rows,
    Table,
    join,
    meaning,
    where,
    worded,
)
from symbackprop.symbols import Call, Family, Param, Partial, Ref, Size, walk


def overview(system: System, notation: Notation, label: str) -> Document:
    """A model as it was understood: equations, symbols, notation."""
    rows = tuple(Row(e.lhs, e.rhs, meaning(system, e), n + 1, where(system, e)) for n, e in enumerate(system.equations))
    source = f" ({notation.source})" if notation.source else ""
    style = (
        f"Notation {notation.name}{source}: {'nodes' if system.mean else 'indices'} are numbered from {notation.first}; "
        f"factors along a chain rule stand in the order {', '.join(notation.order)}"
        + (
            f"; {', '.join(f'the gradient by {f} is written {g}' for f, g in notation.gradients.items())}"
            if notation.gradients
            else ""
        )
        + "."
    )
    blocks: list[Block] = [
        Heading(("Equations",)),
        Rows(rows),
        Heading(("Symbols",)),
        symbol_table(system, None, notation),
        Prose((style,)),
    ]
    blocks += assumptions(system, notation)
    return Document((label,), tuple(blocks), system, notation)


def assumptions(system: System, notation: Notation) -> list[Block]:
    """What is taken as given besides the equations: facts, sizes, whole numbers, padding."""
    out: list[Block] = [Prose(("Declared of the data: ", f.lhs, " = ", f.rhs, ".")) for f in system.facts]
    from_elsewhere = sorted(
        {
            a.label: notation.first_of(a.label) for f in system.families.values() for a in f.axes if a.kind == "node"
        }.items()
    )
    for label, first in from_elsewhere:
        if first != notation.first:
            out.append(
                Prose(("Positions on the axis of size ", Size(Axis("node", label)), f" are numbered from {first}."))
            )
    if system.rules:
        listed = join([(Follows(n, r),) for n, r in system.rules.items()])
        out.append(Prose((*listed, ".")))
    if system.integers:
        names_ = join([(Param(n),) for n in system.integers])
        out.append(Prose((*names_, " is a whole number." if len(system.integers) == 1 else " are whole numbers.")))
    for f in (system.families[n] for n in sorted(notation.zero) if n in system.families):
        out.append(Prose((f.pattern, " is 0 where an index is outside its range.")))
    for f in (f for f in system.families.values() if f.over is not None):
        assert f.over is not None
        low = notation.first_of(f.over.label)
        last: Pieces = (f"{low} to ", Size(f.over)) if low == 1 else (f"{low} to ", Size(f.over) + (low - 1))
        out.append(Prose(("The values of ", f.pattern, " are positions: whole numbers from ", *last, ".")))
    return out


KINDS = {
    "parameter": "parameter",
    "input": "input",
    "target": "target",
    "derived": "defined by an equation",
    "cost": "cost",
}


def symbol_table(system: System, only: frozenset[str] | None = None, notation: Notation | None = None) -> Table:
    """The notation table: symbol, meaning, shape of its array, range of its layer, role, and where that is said."""
    rows: list[tuple[Pieces, ...]] = []
    used = [f for f in system.families.values() if only is None or f.name in only]
    for f in used:
        output = next((o for o, bar in system.upstream.items() if bar == f.name), None)
        said = worded(f.meaning) or stands_for(system, f)
        if output is not None:
            said = ("gradient that arrives at ", system.family(output).pattern, " from outside")
        rows.append(((f.pattern,), said, shape(system, f), index_ranges(f), (KINDS[f.kind],), origin(system, f)))
        if system.mean is not None and f.kind == "parameter" and sum(a.kind == "node" for a in f.axes) > 1:
            # The array over the last index alone: the weight vector w_j^(l).
            vector = Ref(f.name, f.pattern.indices[:-1])
            name: Pieces = ("vector of the ", f.pattern, " over ", Param(f.indices[-1]))
            rows.append(((vector,), name, (Size(f.axes[-1]),), index_ranges(f), (KINDS[f.kind],), ("notation",)))
    for f in used:
        if notation is not None and f.name in notation.gradients:
            gradient = Partial(Ref(system.cost, ()), f.pattern)
            what: Pieces = ("error: gradient of the cost by ", f.pattern)
            rows.append(((gradient,), what, shape(system, f), index_ranges(f), ("gradient",), ("notation",)))
    functions = {p.function: p for e in system.equations for _, p in walk(e.rhs) if isinstance(p, Call)}
    for function, p in functions.items():
        own = system.function(function)
        if own is not None and own.value is None:
            continue
        meaning_: Pieces = ("generic function",) if own is None else (f"function {own.name}",)
        table = system.tables.get(function)
        if table:
            meaning_ = ("; ".join(f"layer {n}: {v}" for n, v in sorted(table.items())),)
        where = "the activation and the cost" if table or own is not None else "nothing but its name"
        rows.append(((Call(function, p.arguments, 0, p.at),), meaning_, ("",), ("",), ("function",), (where,)))
    return Table(("symbol", "meaning", "shape", "range", "role", "given by"), tuple(rows))


def stands_for(system: System, f: Family) -> Pieces:
    """What a family is where nobody said it in words."""
    numbers = [str(n + 1) for n, e in enumerate(system.equations) if e.lhs.family == f.name]
    if numbers:
        return ("defined by " + " and ".join(f"({n})" for n in numbers),)
    if f.over is not None:
        return ("data: positions on the axis of size ", Size(f.over))
    return ("parameter",) if f.kind == "parameter" else ("data",)


def shape(system: System, f: Family) -> Pieces:
    """The sizes of a family's axes of nodes and samples."""
    out: list[Piece] = []
    for a in f.axes:
        if a.kind != "recursion":
            out += [" × " if out else "", Size(a)]
    return tuple(out) or ("number",)


def origin(system: System, f: Family) -> Pieces:
    """Where the network says what a family is."""
    of = system.cost if system.mean and f.name == system.mean[1] else f.name
    numbers = [n + 1 for n, e in enumerate(system.equations) if e.lhs.family == of]
    if numbers:
        return (f"equation {' and '.join(map(str, numbers))}",)
    return ("no equation: a parameter",) if f.kind == "parameter" else ("data",)


def index_ranges(f: Family) -> Pieces:
    """The ranges of a family's indices."""
    guard: list[Constraint] = []
    for letter, a in zip(f.indices, f.axes, strict=True):
        said = any(c.expr.names & {letter} for c in f.guard)
        if (a.kind == "node" and a.at is None) or (a.kind == "recursion" and a.last is not None and not said):
            guard += a.holds(affine(letter))
    guard += f.guard
    return (Range(tuple(guard)),) if guard else ("",)
