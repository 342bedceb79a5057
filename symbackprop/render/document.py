"""What a rendering of a derivation says, before any format: headings, numbered rows, tables, code.

One tree, more or less unfolded: a detail decides which steps get a row; the rules of the steps that
a row passes over are named beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from symbackprop.derivation import Detail, Record, Section, Step
from symbackprop.indices import Guard, equals, implies
from symbackprop.network import Equation, SizeRule, System
from symbackprop.notation import Notation
from symbackprop.read.paper import beginning, beginnings
from symbackprop.render.printer import gathered
from symbackprop.rules import RULES
from symbackprop.rules.graph import held, match_partial
from symbackprop.rules.sums import points
from symbackprop.symbols import (
    Assign,
    Call,
    Compare,
    Expr,
    Guarded,
    Param,
    Partial,
    Ref,
    Sum,
    Vec,
    WrittenOut,
    families,
    names,
    walk,
)
from symbackprop.verdict import Check


@dataclass(frozen=True)
class Range:
    """A condition on layers inside a text: l = L, 1 <= l < L."""

    guard: Guard


@dataclass(frozen=True)
class Follows:
    """A size that follows from others, inside a text: I = (M + 2p - K)/s + 1."""

    name: str
    rule: SizeRule


Piece: TypeAlias = "str | Expr | Range | Follows"
Pieces: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True)
class Row:
    """One line of mathematics: left = right, or = right where it continues the row before.

    Args:
        why: What is written beside it.
        condition: Where it holds, if not everywhere.
        boxed: Whether it is the answer.
        values: The same with numbers in, where there are any, and the value; None for the former where it says no more.
    """

    left: Expr | None
    right: Expr
    why: Pieces = ()
    number: int | None = None
    condition: Guard = ()
    boxed: bool = False
    values: tuple[Expr | None, Expr] | None = None


@dataclass(frozen=True)
class Rows:
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Heading:
    pieces: Pieces


@dataclass(frozen=True)
class Prose:
    pieces: Pieces


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[Pieces, ...], ...]


@dataclass(frozen=True)
class Code:
    text: str
    language: str = "python"


@dataclass(frozen=True)
class Display:
    """LaTeX that another tool made (latexify), with what it says in pieces for where LaTeX cannot be shown."""

    latex: str
    text: Pieces


@dataclass(frozen=True)
class Algorithm:
    """Pseudocode as LaTeX, and the code it was made from."""

    latex: str
    code: str


@dataclass(frozen=True)
class Closing:
    text: str
    good: bool


Block: TypeAlias = Rows | Heading | Prose | Table | Code | Display | Algorithm | Closing


@dataclass(frozen=True)
class Document:
    title: Pieces
    blocks: tuple[Block, ...]
    system: System
    notation: Notation
    goal: Expr | None = None


@dataclass
class Writer:
    """Rows in the making: numbers them and remembers what each says."""

    detail: Detail
    blocks: list[Block] = field(default_factory=list)
    numbers: dict[Expr, int] = field(default_factory=dict)
    equations: list[tuple[Equation, int]] = field(default_factory=list)
    count: int = 0

    def number(self, subject: Expr | None = None) -> int:
        self.count += 1
        if subject is not None:
            self.numbers[subject] = self.count
        return self.count

    def heading(self, *pieces: Piece) -> None:
        if self.detail > Detail.BRIEF:
            self.blocks.append(Heading(pieces))


def build(record: Record, notation: Notation, detail: Detail, check: Check | None = None) -> Document:
    """The document of one derivation."""
    w = Writer(detail)
    definitions(w, record, notation)
    wanted = leant_on(record) if detail == Detail.BRIEF else frozenset()
    for n, section in enumerate(record.sections):
        write_section(w, record, section, n, wanted)
    at_the_beginning(w, record)
    induction(w, record)
    if detail == Detail.FULL:
        sums_appendix(w, record.system, used_equations(record))
    if check is not None:
        w.blocks.append(Closing(check.line(), bool(check)))
    return Document(("Derivation of ", record.goal), tuple(w.blocks), record.system, notation, record.goal)


def build_backward(
    record: Record, notation: Notation, detail: Detail, check: Check | None, loop: str, loop_latex: str
) -> Document:
    """The document of a whole backward pass: its equations, their derivations, the loop."""
    from symbackprop.derive import backward_equations

    w = Writer(detail)
    definitions(w, record, notation)
    equations = [Row(a, b, (), w.number(a), case) for a, b, case in backward_equations(record)]
    w.blocks.append(Heading(("The backward pass",)))
    w.blocks.append(Rows(tuple(equations)))
    if detail > Detail.BRIEF:
        for n, section in enumerate(record.sections):
            write_section(w, record, section, n)
        induction(w, record)
    if loop:
        w.blocks.append(Heading(("As a loop",)))
        w.blocks.append(Algorithm(loop_latex, loop) if loop_latex else Code(loop))
    if check is not None:
        w.blocks.append(Closing(check.line(), bool(check)))
    return Document(("The backward pass",), tuple(w.blocks), record.system, notation)


def join(parts: Sequence[Pieces]) -> Pieces:
    """Parts with commas between them."""
    out: list[Piece] = []
    for n, p in enumerate(parts):
        out += [*([", "] if n else []), *p]
    return tuple(out)


def where(system: System, e: Equation) -> Guard:
    """The range of an equation that a row shows: its guard, or that of its layers and times."""
    if e.guard or system.mean is not None:
        return e.guard
    axes = zip(e.lhs.indices, system.axes(e.lhs), strict=True)
    return tuple(
        c for i, a in axes if a.kind == "recursion" and a.last is not None and i.value is None for c in a.holds(i)
    )


def used_equations(record: Record) -> list[Equation]:
    """The equations that the derivation rests on, in the order in which the network states them."""
    seen: set[str] = set()
    for e in (e for s in record.steps for e in (s.before, s.after)):
        seen |= families(e)
    data = {n for n, f in record.system.families.items() if f.kind in ("input",)}
    mean = record.system.mean
    if record.system.upstream:
        seen.add(record.system.cost)
    base = [e for e in record.system.equations if isinstance(e.rhs, Ref) and e.rhs.family in data]
    wanted = [e for e in record.system.equations if e.lhs.family in seen and e not in base]
    return [e for e in wanted if mean is None or e.lhs.family != mean[0] or mean[1] in seen]


def definitions(w: Writer, record: Record, notation: Notation) -> None:
    rows = []
    padded: set[str] = set()
    for e in used_equations(record):
        number = w.number(e.lhs)
        w.equations.append((e, number))
        written = unpadded(e.rhs, record.system, notation)
        padded |= families(e.rhs) & notation.zero if written != e.rhs else set()
        rows.append(Row(e.lhs, written, meaning(record.system, e), number, where(record.system, e)))
    if rows:
        w.heading("The network" if record.system.mean else "The model")
        w.blocks.append(Rows(tuple(rows)))
    for name in sorted(padded):
        w.blocks.append(Prose(is_padded(record.system, name)))
    if record.system.upstream:
        w.blocks.append(Prose(from_outside(record.system)))
    if any(s.rule == "declared fact" for s in record.steps):
        for f in record.system.facts:
            w.blocks.append(Prose(("Declared of the data: ", Compare("==", f.lhs, f.rhs), ".")))
    own_functions(w, record)


def unpadded(e: Expr, system: System, notation: Notation) -> Expr:
    """A formula without what the padding of a family says already: that the places it is taken at are on its axes."""
    parts = tuple(unpadded(p, system, notation) for p in e.parts)
    e = e.rebuild(parts) if parts != e.parts else e
    if not isinstance(e, Sum | Guarded) or not e.guard:
        return e
    padded = [p for _, p in walk(e.body) if isinstance(p, Ref) and p.family in notation.zero]
    said = {c for p in padded for a, i in zip(system.axes(p), p.indices, strict=True) for c in a.holds(i)}
    rest = tuple(c for c in e.guard if c not in said)
    return e.body if isinstance(e, Guarded) and not rest else replace(e, guard=rest)


def is_padded(system: System, family: str) -> Pieces:
    return (system.family(family).pattern, " is 0 where an index is outside its range.")


def from_outside(system: System) -> Pieces:
    """What the cost of a model without one stands for."""
    cost = Ref(system.cost, ())
    given = join(
        [
            (Partial(cost, f.pattern), " = ", Ref(bar, f.pattern.indices))
            for f, bar in ((system.family(n), bar) for n, bar in system.upstream.items())
        ]
    )
    many = len(system.upstream) > 1
    return (
        cost,
        f" stands for any cost that is computed from the output{'s' if many else ''}: what matters of it is ",
        *given,
        f", the gradient{'s' if many else ''} that arrive{'' if many else 's'} from outside.",
    )


def own_functions(w: Writer, record: Record) -> None:
    """The definitions of the functions in play: an author's own as written, the named ones by formula."""
    used = {p.function for e in used_equations(record) for _, p in walk(e.rhs) if isinstance(p, Call)}
    tabled = {n for f in used for n in record.system.tables.get(f, {}).values()}
    for function in sorted(used & record.system.tables.keys()):
        table = record.system.tables[function]
        listed: list[Piece] = []
        for layer, name in sorted(table.items()):
            own = record.system.function(name)
            listed += ["; " if listed else "", Range((equals("l", layer),)), ": ", own.text if own else name]
        w.blocks.append(Prose(("The activation in layer ", *listed, ".")))
    for name in sorted(used | tabled):
        f = record.system.function(name)
        if f is None or f.value is None:
            continue
        z = Param("z")
        formula: Pieces = (Call(name, (z,)), " = ", f.value(z))
        if f.source:
            w.blocks.append(Display(f.source, formula))
        else:
            w.blocks.append(Rows((Row(Call(name, (z,)), f.value(z), ("the function",)),)))
        if f.kink:
            w.blocks.append(Prose((f.kink + ".",)))


def meaning(system: System, e: Equation) -> Pieces:
    family = system.families.get(e.lhs.family)
    return worded(family.meaning) if family else ()


def worded(meaning: str) -> Pieces:
    """A meaning with its letters, which stand in braces, as mathematics."""
    parts = re.split(r"\{([^}]*)\}", meaning)
    return tuple(Param(p) if n % 2 else p for n, p in enumerate(parts) if p)


def shown(section: Section, detail: Detail) -> list[tuple[Step, list[Step]]]:
    """The steps that get a row, each with those it passes over."""
    out: list[tuple[Step, list[Step]]] = []
    hidden: list[Step] = []
    for s in section.steps:
        if out and not hidden and RULES[s.rule].trivial:
            # Tidying is part of the row before it.
            out[-1] = (replace(out[-1][0], after=s.after), [*out[-1][1]])
        elif s.level <= detail:
            out.append((s, hidden))
            hidden = []
        else:
            hidden.append(s)
    if hidden and out:
        last, before = out[-1]
        out[-1] = (replace(last, after=hidden[-1].after), [*before, *hidden])
    return out


def reason(w: Writer, record: Record, section: Section, step: Step, hidden: list[Step]) -> Pieces:
    """The rules behind a row, with the numbers of the rows they use."""
    names: list[str] = []
    for s in (*hidden, step):
        label = s.rule if s is step and not hidden and not RULES[s.rule].trivial else RULES[s.rule].label
        if s.rule in ("definition", "differentiate the definition"):
            label = s.rule
        if label and label not in names and s.rule != "substitute":
            names.append(label)
    if (
        len(names) > 1
        and RULES["delta picks one term"].passing in names
        and names[-1] != RULES["delta picks one term"].passing
    ):
        names = [n for n in names if n != RULES["delta picks one term"].passing]
    uses = [u for s in (*hidden, step) for u in s.uses]
    if not names and not uses:
        # A line has a reason, if only the one that it would pass over elsewhere.
        names = [s.rule for s in (*hidden, step) if not RULES[s.rule].trivial and s.rule != "substitute"][:1]
    found = [cited(w, record.system, u) for u in uses]
    numbers = sorted({n for n in found if n is not None})
    pieces: list[Piece] = []
    if "definition" in names or "differentiate the definition" in names:
        top = section.subject.top if isinstance(section.subject, Partial) else None
        names = [n for n in names if n not in ("definition", "differentiate the definition")]
        pieces += ["definition of ", top] if top is not None else ["definition"]
        equation = _definition_number(w, record, top, section.assume) if top is not None else None
        if equation:
            pieces.append(f", ({equation})")
        if step.note:
            pieces += ["; ", *worded(step.note)]
    if names:
        pieces.append(("; " if pieces else "") + ", ".join(names))
    if numbers or any(s.rule == "substitute" for s in (*hidden, step)):
        listed = "substitute " + ", ".join(f"({n})" for n in numbers) if numbers else "each factor differentiated"
        if numbers and None in found:
            listed += ", the other factors differentiated"
        pieces.insert(0, listed.strip() + ("; " if pieces else ""))
    return tuple(pieces)


def cited(w: Writer, system: System, u: Expr) -> int | None:
    """The row whose result was substituted for `u`; its letters may have been others."""
    if u in w.numbers:
        return w.numbers[u]
    if isinstance(u, Partial) and u.direct and isinstance(u.bottom, Ref) and held(system, u.top, u.bottom):
        return None  # by its own equation alone, which is not the total effect
    plain = _plain(u)
    if plain in w.numbers:
        return w.numbers[plain]
    if isinstance(plain, Partial):
        for subject, number in reversed(list(w.numbers.items())):
            if (
                isinstance(subject, Partial)
                and not subject.direct
                and match_partial(subject, plain, system) is not None
            ):
                return number
    return None


def _plain(u: Expr) -> Expr:
    return Partial(u.top, u.bottom) if isinstance(u, Partial) else u


def _definition_number(w: Writer, record: Record, top: Ref, assume: Guard) -> int | None:
    """The row of the equation that defines `top` in the range at hand."""
    for e, number in w.equations:
        if (
            e.lhs.family == top.family
            and replace(record.system, equations=(e,), spec="").defining(top, assume) is not None
        ):
            return number
    return None


def leant_on(record: Record) -> frozenset[int]:
    """The sections that a brief rendering needs besides: of each gradient that a result names, its own result."""
    last: dict[tuple[Expr, Guard], int] = {}
    for n, s in enumerate(record.sections):
        if s.kind in ("goal", "upstream", "result") and isinstance(s.subject, Partial) and s.steps:
            last[s.subject, s.case] = n
    waiting = [n for n in last.values() if record.sections[n].level == Detail.BRIEF or _closes(record, n)]
    out: set[int] = set()
    while waiting:
        for _, p in walk(record.sections[waiting.pop()].result):
            if isinstance(p, Partial) and not p.direct:
                new = {n for (subject, _), n in last.items() if may_be(subject, p, record.system)} - out
                waiting += sorted(new)
                out |= new
    return frozenset(out)


def may_be(subject: Expr, p: Partial, system: System) -> bool:
    """Whether a gradient in a formula may be one that a section is about: no two layers that are known differ."""
    if not isinstance(subject, Partial) or not isinstance(subject.bottom, Ref) or not isinstance(p.bottom, Ref):
        return False
    if (subject.top.family, subject.bottom.family) != (p.top.family, p.bottom.family) or subject.direct:
        return False
    axes = system.family(p.bottom.family).axes
    layers = (
        (i, j) for a, i, j in zip(axes, subject.bottom.indices, p.bottom.indices, strict=True) if a.kind == "recursion"
    )
    return not any(i != j and i.names | j.names <= system.constants for i, j in layers)


def begins_with(record: Record) -> Partial | None:
    """Where the goal is by the data that a recurrence begins with: the gradient that it is, at time 0, if that is derived."""
    goal = record.goal
    base = beginnings(record.system)
    if not isinstance(goal, Partial) or not isinstance(goal.bottom, Ref) or goal.bottom.family not in base:
        return None
    first = Partial(goal.top, beginning(goal.bottom, base))
    derived = any(s.kind == "upstream" and may_be(s.subject, first, record.system) for s in record.sections)
    return first if derived and record.result == first else None


def says_nothing(record: Record, section: Section) -> bool:
    """Whether a section is about the data that a recurrence begins with, which is written as the quantity at time 0."""
    s = section.subject
    if begins_with(record) is None or not isinstance(s, Partial) or not isinstance(record.goal, Partial):
        return False
    return s.bottom == record.goal.bottom


def at_the_beginning(w: Writer, record: Record) -> None:
    """Which line the answer is, where the goal is by the data that a recurrence begins with."""
    first = begins_with(record)
    if first is None or first in w.numbers:
        return
    found = [n for subject, n in w.numbers.items() if may_be(subject, first, record.system)]
    if found and isinstance(first.bottom, Ref):
        axes = record.system.family(first.bottom.family)
        at = tuple(
            equals(n, i)
            for n, i, a in zip(axes.indices, first.bottom.indices, axes.axes, strict=True)
            if a.kind == "recursion"
        )
        w.blocks.append(Prose((first, f" is ({found[-1]}) at ", Range(at), ".")))


def beyond(record: Record, section: Section) -> Guard:
    """What is assumed of the indices of a section's gradient besides that they are in range."""
    if not isinstance(section.subject, Partial) or not isinstance(section.subject.bottom, Ref):
        return ()
    own = section.subject.bottom
    letters = names(own) - record.system.constants
    known = (*record.system.standing, *record.system.range_of(own))
    said = (
        c
        for c in dict.fromkeys(section.assume)
        if c.expr.names & letters and c.expr.names <= names(own) | record.system.constants
    )
    return tuple(c for c in said if not implies(known, c))


def write_section(
    w: Writer, record: Record, section: Section, position: int, wanted: frozenset[int] = frozenset()
) -> None:
    if says_nothing(record, section):
        return
    brief = w.detail == Detail.BRIEF and section.level > Detail.BRIEF
    if brief and position not in wanted and not _closes(record, position):
        return
    rows: list[Row] = []
    steps = shown(section, w.detail)
    if w.detail == Detail.BRIEF and not steps and section.steps:
        steps = [(section.steps[-1], list(section.steps[:-1]))]
    first = True
    last = None
    for step, hidden in steps:
        if last is not None and step.after == last and not first:
            continue
        why = reason(w, record, section, step, hidden)
        left = section.subject if first else None
        if isinstance(section.subject, Assign):
            left = None
        letters = names(section.subject)
        case = section.case or (beyond(record, section) if brief else ())
        case = tuple(c for c in case if first and (not c.equal or c.expr.names <= letters))
        rows.append(Row(left, step.after, why, w.number(), case))
        first, last = False, step.after
    if not rows:
        return
    if answers(record, section):
        rows[-1] = replace(rows[-1], boxed=True)
    if rows[-1].number is not None:
        w.numbers.setdefault(section.subject, rows[-1].number)
        subject = section.subject
        if isinstance(subject, Partial):
            w.numbers[subject] = rows[-1].number
            if not isinstance(subject.bottom, Ref) or not held(record.system, subject.top, subject.bottom):
                # The effect through its own equation is the total one.
                w.numbers[replace(subject, direct=not subject.direct)] = rows[-1].number
    w.heading(*title(record, section))
    w.blocks.append(Rows(tuple(rows)))


def answers(record: Record, section: Section) -> bool:
    """Whether a section ends in what was asked for, or in a case of it."""
    if isinstance(section.subject, Assign):
        return True
    if section.kind == "upstream" and section.subject == begins_with(record):
        return True
    if section.kind not in ("result", "goal") or not isinstance(record.goal, Partial):
        return False
    if section.result == record.result:
        return True
    return section.kind == "result" and any(section.result == value for _, value in record.cases)


def _closes(record: Record, position: int) -> bool:
    """Whether a section is one of the two that an induction needs."""
    if record.induction is None:
        return False
    for start in record.induction:
        subject = record.sections[start].subject
        if position == [n for n, s in enumerate(record.sections) if s.subject == subject and n >= start][-1]:
            return True
    return False


def title(record: Record, section: Section) -> Pieces:
    assembled = bool(section.steps) and section.steps[0].rule == "substitute"
    case: Pieces = (", ", Range(section.case)) if section.case else ()
    match section.kind:
        case "goal":
            return ("The mean over the samples",) if _is_mean(record, section) else ("The chain rule", *case)
        case "definition":
            return ("What the cost depends on",)
        case "factor":
            return ("The factor ", section.subject)
        case "upstream" if assembled:
            return ("Put together: ", section.subject, *case)
        case "upstream":
            return ("The gradient ", section.subject, *case)
        case "update":
            return ("One step of gradient descent",)
        case _:
            if _one_sample(record, section):
                return ("The result for one sample", *case)
            if isinstance(section.subject, Partial) and isinstance(section.subject.bottom, Vec):
                return ("All components together",)
            return ("The result", *case)


def _one_sample(record: Record, section: Section) -> bool:
    """Whether a result is about the cost of one sample where the goal is about their mean."""
    top = record.goal.top.family if isinstance(record.goal, Partial) else record.system.cost
    return top != record.system.cost and isinstance(section.subject, Partial) and section.subject.top.family != top


def _is_mean(record: Record, section: Section) -> bool:
    mean = record.system.mean
    return bool(mean and isinstance(section.subject, Partial) and section.subject.top.family == mean[0])


def induction(w: Writer, record: Record) -> None:
    """The closing argument: base at L, step from l+1 to l."""
    if record.induction is None:
        return
    base, step = record.induction
    subject = record.sections[step].subject
    first = w.numbers.get(record.sections[base].subject)
    second = w.numbers.get(subject)
    assert isinstance(subject, Partial)
    base_case, step_case = record.sections[base].case, record.sections[step].case
    axis = next((a for a in record.system.family(_bottom(subject)).axes if a.kind == "recursion"), None)
    layers = record.system.mean is not None or axis is None or axis.last == record.system.layers
    # A base that names no last layer is the first one: the induction goes up.
    rising = any(c.equal and not c.expr.names & record.system.constants for c in base_case)
    backwards = "Induction, step by step" if rising else "Induction, backwards from the last step"
    w.heading("Induction over the layers" if layers else backwards)
    every = "every node at" if record.system.mean else "every index at"
    side = ("layer below" if rising else "layer above") if layers else ("step before" if rising else "next step")
    above, way = f"the gradient of the {side}", "first one up" if rising else "last one down"
    each = "in every layer" if layers else "at every step"
    w.blocks.append(
        Prose(
            (
                f"Base: ({first}) gives ",
                record.sections[base].subject,
                f" for {every} ",
                Range(base_case),
                f". Step: where {above} is known, ({second}) gives ",
                subject,
                " for ",
                Range(step_case),
                f". So both together give it {each}, from the {way}, whatever their number.",
            )
        )
    )


def _bottom(p: Partial) -> str:
    ref = p.bottom.body if isinstance(p.bottom, Vec) else p.bottom
    assert isinstance(ref, Ref)
    return ref.family


def sums_appendix(w: Writer, system: System, equations: Sequence[Equation]) -> None:
    """Each sum of the definitions written out, and as the loop that a programmer would write."""
    from symbackprop.render.loops import loop

    rows = []
    code = []
    for e in equations:
        for _, p in walk(e.rhs):
            if isinstance(p, Sum) and p.axis.kind == "node" and not p.guard and gathered(p) is None:
                rows.append(Row(p, WrittenOut(p, points(system, p, ())), ("the sum written out",)))
                code.append(loop(e, system))
                break
    if rows:
        w.heading("The sums, written out and as loops")
        w.blocks.append(Rows(tuple(rows)))
        w.blocks.append(Code("\n".join(code)))
