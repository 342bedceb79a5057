"""A model as it was understood: its equations, the table of its symbols, what is assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from symbackprop.indices import Axis, Constraint, Guard, affine
from symbackprop.network import Equation, System
from symbackprop.notation import Notation
from symbackprop.read.provenance import Entry
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
    is_padded,
    join,
    unpadded,
    where,
    worded,
)
from symbackprop.symbols import (
    Binder,
    Call,
    Compare,
    Expr,
    Family,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Ref,
    Size,
    walk,
)


def overview(system: System, notation: Notation, label: str, provenance: Sequence[Entry] = ()) -> Document:
    """A model as it was understood: equations, symbols, sizes, what is assumed, notation.

    Args:
        label: What it is called where it has no title of its own.
        provenance: For a model that was read, what was understood of each family and from which line of the file.
    """
    lines = {e.name: e for e in provenance}
    bare = shown_without_padding(system, notation)
    blocks: list[Block] = [Prose((notation.source,))] if notation.source else []
    blocks += [Heading(("Equations",)), Rows(tuple(equation_rows(bare, notation, lines)))]
    functions = function_rows(system)
    if functions:
        blocks += [Heading(("Functions",)), Rows(functions)]
    blocks += [Heading(("Symbols",)), understood(system, notation, lines)]
    sizes = size_table(system, notation)
    if sizes.rows:
        blocks += [Heading(("Sizes",)), sizes]
    blocks += [*assumptions(system, notation), Heading(("Notation",)), conventions(system, notation)]
    return Document((notation.title or label,), tuple(blocks), system, notation)


def shown_without_padding(system: System, notation: Notation) -> System:
    """The model as its author wrote it: without brackets around what is 0 outside its range."""
    equations = tuple(replace(e, rhs=unpadded(e.rhs, system, notation)) for e in system.equations)
    return replace(system, equations=equations, spec="")


def equation_rows(system: System, notation: Notation, lines: Mapping[str, Entry]) -> Iterator[Row]:
    """The equations, each with its line in the file, the range of its indices, and conditions beyond that."""
    for n, e in enumerate(system.equations):
        entry = entry_of(e.lhs.family, system, lines)
        first = next(d for d in system.equations if d.lhs.family == e.lhs.family)
        note: list[Pieces] = [(entry.place,)] if entry is not None and first is e else []
        ranges = runs(e, system, notation)
        if ranges:
            note.append(ranges)
        said = {c for i, a in zip(e.lhs.indices, system.axes(e.lhs), strict=True) for c in a.holds(i)}
        said |= set(layers_of(e, system))
        guard = tuple(c for c in e.guard if c not in said)
        yield Row(e.lhs, e.rhs, join(note), n + 1, guard)


def layers_of(e: Equation, system: System) -> Guard:
    """The range of the layers and times of an equation, where it is no single one."""
    axes = zip(e.lhs.indices, system.axes(e.lhs), strict=True)
    mine = {i.name for i, a in axes if a.kind == "recursion" and i.name is not None}
    found = tuple(c for c in where(system, e) if c.expr.names & mine and c.expr.names <= mine | system.constants)
    return () if any(c.equal for c in found) else found


def runs(e: Equation, system: System, notation: Notation) -> Pieces:
    """Over which numbers the indices on a left side run: i, j = 1..N."""
    found: dict[tuple[Piece, ...], list[str]] = {}
    guard = layers_of(e, system)
    fixed = {c.expr.terms[0][0]: affine(-c.expr.const) for c in e.guard if c.equal and len(c.expr.terms) == 1}
    for i, axis in zip(e.lhs.indices, system.axes(e.lhs), strict=True):
        if i.name is None:
            continue
        if axis.kind == "recursion":
            span = ends_of(i.name, guard)
        else:
            span = span_of(axis.substitute(fixed), system, notation)
        if span:
            found.setdefault(span, []).append(i.name)
    return join([(*join([(Param(n),) for n in letters]), " = ", *span) for span, letters in found.items()])


def ends_of(letter: str, guard: Guard) -> Pieces:
    """The first and the last value that a range gives a layer or time."""
    low = [affine(letter) - c.expr for c in guard if dict(c.expr.terms).get(letter) == 1]
    high = [c.expr + letter for c in guard if dict(c.expr.terms).get(letter) == -1]
    return (Position(low[0]), "..", Position(high[0])) if low and high else ()


def span_of(axis: Axis, system: System, notation: Notation) -> Pieces:
    """The first and the last number of a position, as the notation counts."""
    if axis.kind == "sample":
        return ("1..", Size(axis))
    first, size = notation.first_of(axis.label), system.size(axis)
    if size is not None:
        return (f"{first}..{size + first - 1}",)
    last: Expr = Size(axis)
    if first != 1:
        last = last + (first - 1 if first > 1 else Mul((Num(Fraction(-1)), Num(Fraction(1 - first)))))
    return (f"{first}..", last)


def function_rows(system: System) -> tuple[Row, ...]:
    """The functions that have a formula; a reader is told what an author's own sigma is."""
    used = {p.function for e in system.equations for _, p in walk(e.rhs) if isinstance(p, Call)}
    used |= {n for f in used for n in system.tables.get(f, {}).values()}
    out: list[Row] = []
    for name in sorted(used - PLAIN):
        f = system.function(name)
        if f is not None and f.value is not None:
            u = Param("u")
            out.append(Row(Call(name, (u,)), f.value(u)))
    return tuple(out)


PLAIN = frozenset({"exp", "log", "ln", "sqrt", "abs", "tanh", "sin", "cos"})
"""Functions that need no words."""


def entry_of(name: str, system: System, lines: Mapping[str, Entry]) -> Entry | None:
    """What the file says of a family; in the lessons' network the inputs and the cost have names of their own."""
    if system.mean is None:
        return lines.get(name)
    if name in system.mean:
        return None
    if name == "x":
        return lines.get("a_0")
    return next((e for e in lines.values() if e.role == "cost"), None) if name == system.cost else lines.get(name)


def understood(system: System, notation: Notation, lines: Mapping[str, Entry]) -> Table:
    """The families: what each is, over what its indices run, whether that was inferred or declared, and where."""
    rows: list[tuple[Pieces, ...]] = []
    for f in system.families.values():
        entry = entry_of(f.name, system, lines)
        words = what_it_is(system, f, notation)
        said = [entry.place, entry.why.partition(":")[0].partition(" on ")[0]] if entry is not None else ["", ""]
        if entry is not None and entry.name != f.name and f.kind == "input":
            said = ["", "added"]
            words = (*words, " (added: the input that layer 0 takes)")
        rows.append(((f.pattern,), words, axes_of(system, f, notation), *((t,) for t in said)))
    functions = {p.function: p for e in system.equations for _, p in walk(e.rhs) if isinstance(p, Call)}
    for name, call in functions.items():
        if system.function(name) is None:
            table = system.tables.get(name)
            told = "; ".join(f"layer {n}: {v}" for n, v in sorted((table or {}).items())) or "any function"
            inferred = "inferred" if lines else ""
            rows.append(((Call(name, call.arguments, 0, call.at),), (told,), ("",), ("",), (inferred,)))
    used = [any(r[n] != ("",) for r in rows) for n in range(5)]
    header = ("symbol", "what it is", "indices", "given in", "how")
    kept = [n for n, some in enumerate(used) if some]
    return Table(tuple(header[n] for n in kept), tuple(tuple(r[n] for n in kept) for r in rows))


def in_words(system: System, f: Family, notation: Notation | None) -> Pieces:
    """The meaning of a family; a sample has the notation's letter."""
    pieces = worded(f.meaning)
    if notation is None or system.mean is None or f.name != system.mean[1]:
        return pieces
    return tuple(Param(notation.sample) if p == Param("i") else p for p in pieces)


def what_it_is(system: System, f: Family, notation: Notation | None = None) -> Pieces:
    """A family in its author's words, else its role."""
    role = {"parameter": "parameter", "input": "data", "target": "target", "cost": "cost", "derived": "computed"}[
        f.kind
    ]
    bases = [e for e in system.equations if e.rhs == f.pattern and f.kind == "input" and e.lhs.family != f.name]
    if f.meaning:
        return (*in_words(system, f, notation), f" ({role})" if f.kind == "parameter" else "")
    if system.mean is None and bases and any(c.equal for c in bases[0].guard):
        return ("data: where ", system.family(bases[0].lhs.family).pattern, " begins")
    if f.over is not None:
        return (f"{role}: a position on the axis of size ", Size(f.over))
    numbers = [str(n + 1) for n, e in enumerate(system.equations) if e.lhs.family == f.name]
    return (f"{role} by {' and '.join(f'({n})' for n in numbers)}" if numbers else role,)


def axes_of(system: System, f: Family, notation: Notation) -> Pieces:
    """The indices of a family with their first numbers and sizes."""
    parts: list[Pieces] = []
    for letter, axis in zip(f.indices, f.axes, strict=True):
        if axis.kind == "recursion":
            guard = tuple(c for c in f.guard if c.expr.names & {letter}) or axis.holds(affine(letter))
            span = ends_of(letter, guard)
        else:
            span = span_of(axis, system, notation) if system.size(axis) != 1 else ()
        if span:
            sample = system.mean is not None and f.name == system.mean[1]
            parts.append((Param(notation.sample if sample else letter), " = ", *span))
    return join(parts) or ("a number",)


def size_table(system: System, notation: Notation) -> Table:
    """Every size with the letters that run over it and what is known of it."""
    letters: dict[str, list[str]] = {}
    axes = [(n, a) for f in system.families.values() for n, a in zip(f.indices, f.axes, strict=True)]
    axes += [(p.index, p.axis) for e in system.equations for _, p in walk(e.rhs) if isinstance(p, Binder)]
    layered: dict[str, Axis] = {}
    for letter, axis in axes:
        last = axis.last.name if axis.kind == "recursion" and axis.last is not None else None
        label = axis.label if axis.kind == "node" else last
        if label is not None and not (axis.kind == "node" and system.size(axis) == 1):
            seen = letters.setdefault(label, [])
            seen += [letter.rstrip("'")] if letter.rstrip("'") not in seen else []
            if axis.at is not None:
                layered.setdefault(label, replace(axis, at=affine("l")))
    rows: list[tuple[Pieces, ...]] = []
    for label, over in letters.items():
        symbol: Expr = Size(layered[label]) if label in layered else Param(label)
        known: Pieces = ("any whole number from 1",)
        if label in system.rules:
            known = (Follows(label, system.rules[label]),)
        elif label in system.sizes:
            known = (str(system.sizes[label]),)
        elif label in layered:
            known = (widths_known(system),)
        rows.append(((symbol,), join([(Param(n),) for n in over]), known))
    divisors = frozenset(n for rule in system.rules.values() for n in rule.bottom.names)
    for name in system.integers:
        value = system.sizes.get(name)
        any_ = "any whole number from 1" if name in divisors else "any whole number"
        rows.append(((Param(name),), ("",), (any_ if value is None else str(value),)))
    return Table(("size", "indices", "known of it"), tuple(rows))


def widths_known(system: System) -> str:
    """The widths of the layers, as far as they are numbers."""
    widths = ["any" if w is None else str(w) for w in system.widths]
    if {*widths} == {"any"}:
        return "any, one for each layer"
    return (
        f"{widths[0]} in every layer" if len(widths) == 1 else f"{', '.join(widths)} in layers 0 to {len(widths) - 1}"
    )


def conventions(system: System, notation: Notation) -> Prose:
    """What belongs to the notation alone: where counting begins, the order of factors, the letters of gradients."""
    counted = "Nodes" if system.mean else "Indices"
    pieces: list[Piece] = [
        f"{counted} are numbered from {notation.first}; factors along a chain rule stand in the order "
        f"{', '.join(notation.order)}"
    ]
    for name, _ in notation.gradients.items():
        if name in system.families and system.cost:
            pattern = system.family(name).pattern
            pieces += ["; the gradient by ", pattern, " is written ", Partial(Ref(system.cost, ()), pattern)]
    return Prose((*pieces, "."))


def assumptions(system: System, notation: Notation) -> list[Block]:
    """What is taken as given besides the equations: facts, padding, data whose values are positions."""
    out: list[Block] = [Prose(("Declared of the data: ", Compare("==", f.lhs, f.rhs), ".")) for f in system.facts]
    out += [Prose(is_padded(system, n)) for n in sorted(notation.zero) if n in system.families]
    for f in system.families.values():
        if f.over is not None:
            out.append(
                Prose(("The values of ", f.pattern, " are positions: ", *span_of(f.over, system, notation), "."))
            )
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
        said = in_words(system, f, notation) or stands_for(system, f)
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
