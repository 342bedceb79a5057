r"""The convention in which a refuted line would hold: the same line read as other authors mean it.

Each convention changes the network or the line as a whole, and explains a line only if that is then true at every point of
every sample network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from symbackprop.errors import ReadError, SymbackpropError
from symbackprop.judge.edits import Swap, row_with
from symbackprop.judge.relation import total
from symbackprop.judge.sampling import Samples, samples_of
from symbackprop.judge.scope import ShapeMismatch, equality, opened
from symbackprop.judge.slips import MAX_TEXT
from symbackprop.judge.survey import Survey
from symbackprop.network import Equation, System
from symbackprop.notation import Notation
from symbackprop.read.expression import Reader, nodes_of
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.read.syntax import Group, Negative, Row
from symbackprop.render.latex import Latex
from symbackprop.symbols import ZERO, Add, Call, Div, Expr, Mul, Num, Partial, Ref, Size, Vec, transform, walk
from symbackprop.symbols import Sum as Sigma

HALF, TWO = Num(Fraction(1, 2)), Num(Fraction(2))

Sides = tuple[Expr, Expr]


@dataclass(frozen=True)
class Line:
    """A refuted equality of a line, with what it takes to read it otherwise."""

    text: str
    row: Row
    at: int
    system: System
    notation: Notation
    sides: Sides
    samples: Samples
    before: Expr | None = None

    def holds(self, sides: Sides, system: System | None = None) -> bool:
        """Whether two sides are equal at every point of the samples of a network."""
        where = self.system if system is None else system
        samples = self.samples if system is None else samples_of(system, self.samples.equal, self.samples.seed)
        try:
            found = samples.compare(equality(where, *sides))
        except (ShapeMismatch, SymbackpropError, KeyError, RecursionError):
            return False
        return found.difference is None and found.points > 1 and not found.outside

    def read(self, row: Row, notation: Notation | None = None) -> Sides | None:
        return sides_of(row, self.at, Source(self.text), self.system, notation or self.notation, self.before)


def sides_of(
    row: Row, at: int, source: Source, system: System, notation: Notation, before: Expr | None
) -> Sides | None:
    """The two sides of an equality, without regard to their shapes."""
    try:
        found = tuple(map(total, Reader(source, system, notation).line(replace(row, conditions=()))))
    except (SymbackpropError, RecursionError):
        return None
    if at:
        return found[at - 1], found[at]
    return (total(before), found[0]) if before is not None else None


# ---------------------------------------------------------------- another network


def costs(line: Line) -> Iterator[tuple[System, str]]:
    """The network with another factor before its cost, and what that is called."""
    e = next((e for e in line.system.equations if e.lhs.family == line.system.cost), None)
    if e is None:
        return
    halved = has_half(e.rhs)
    for factor, words in (
        (TWO, "without the one half in the cost") if halved else (HALF, "with one half in the cost"),
    ):
        yield scaled(line, e, product(factor, e.rhs), words)
    for _, p in walk(e.rhs):
        if isinstance(p, Sigma) and p.axis.kind != "recursion":
            size = Size(p.axis)
            if any(isinstance(q, Size) and q.axis == p.axis for _, q in walk(e.rhs)):
                yield scaled(line, e, product(size, e.rhs), "with the sum in the cost, not the mean")
            else:
                yield scaled(line, e, Div(e.rhs, size), "with the mean in the cost, not the sum")
            break
    if any(isinstance(p, Call) and p.function == "log" for _, p in walk(e.rhs)):
        yield scaled(line, e, Div(e.rhs, Call("log", (TWO,))), "with logarithms to base 2 in the cost")


def scaled(line: Line, e: Equation, rhs: Expr, words: str) -> tuple[System, str]:
    equations = tuple(replace(x, rhs=rhs) if x is e else x for x in line.system.equations)
    system = replace(line.system, equations=equations, spec="")
    printer = Latex(line.system, line.notation)
    return system, f"holds {words}: ${printer(e.lhs)} = {printer(rhs)}$"


def product(factor: Expr, rhs: Expr) -> Expr:
    """A factor before a formula; 2 before one half is nothing."""
    rest = rhs.factors if isinstance(rhs, Mul) else (rhs,)
    if factor == TWO and HALF in rest:
        kept = tuple(f for f in rest if f != HALF)
        return kept[0] if len(kept) == 1 else Mul(kept)
    return Mul((factor, *rest))


def has_half(e: Expr) -> bool:
    return any(p == HALF or (isinstance(p, Div) and p.bottom == TWO) for _, p in walk(e))


def other_cost(line: Line) -> str | None:
    """Another factor before the cost."""
    return next((words for system, words in costs(line) if line.holds(line.sides, system)), None)


# ---------------------------------------------------------------- another meaning of a symbol


def opposite_error(line: Line) -> str | None:
    r"""The letter of the error stands for the negative of the derivative."""
    swaps, letter = [], ""
    source = Source(line.text)
    for node in nodes_of(line.row):
        for q in Survey(source, Reader(source, line.system, line.notation).drafter).side(node).quantities:
            if q.gradient:
                made = Group("(", ")", Negative(q.node, q.node.place), q.node.place)
                swaps.append(Swap(q.node, f"(-{q.text})", made))
                letter = q.text
    row = row_with(line.row, swaps) if swaps else None
    sides = line.read(row) if row is not None else None
    if sides is None or not line.holds(sides):
        return None
    return f"holds if the error has the opposite sign: {letter} is minus the derivative of the cost"


def descent(line: Line) -> str | None:
    """The negative of a derivative: y - a with the minus outside."""
    left, right = opened(line.sides[0]), line.sides[1]
    inner = left
    while isinstance(inner, Vec):
        inner = opened(inner.body)
    if not isinstance(inner, Partial) or inner.top.family != line.system.cost:
        return None
    targets = [n for n, f in line.system.families.items() if f.kind == "target"]
    if not any(reversed_difference(p, targets) for _, p in walk(right)):
        return None
    if not line.holds((left, negated(right))):
        return None
    return "holds for minus the derivative, the direction of descent: target minus output needs a minus sign outside"


def reversed_difference(e: Expr, targets: list[str]) -> bool:
    """Whether a sum has a target with a plus and something else with a minus."""
    terms = e.terms if isinstance(e, Add) else ()
    plus = any(isinstance(t, Ref) and t.family in targets for t in terms)
    minus = any(isinstance(t, Mul) and isinstance(t.factors[0], Num) and t.factors[0].value < 0 for t in terms)
    return plus and minus


def negated(e: Expr) -> Expr:
    return Vec(e.index, e.axis, negated(e.body)) if isinstance(e, Vec) else Mul((Num(Fraction(-1)), e))


def weights(system: System) -> list[str]:
    """The matrices of parameters that lead from nodes to nodes."""
    return [
        n for n, f in system.families.items() if f.kind == "parameter" and sum(a.kind == "node" for a in f.axes) == 2
    ]


def turned_weights(line: Line) -> str | None:
    """The first index of a weight names the node that it leaves."""
    found = weights(line.system)

    def swap(r: Ref) -> Ref:
        if r.family not in found:
            return r
        a, b = (n for n, x in enumerate(line.system.families[r.family].axes) if x.kind == "node")
        i = list(r.indices)
        i[a], i[b] = i[b], i[a]
        return Ref(r.family, tuple(i))

    sides = mapped(line.sides, swap)
    if sides == line.sides or any(isinstance(s, Vec) for s in sides) or not line.holds(sides):
        return None
    name = next(r.family for s in line.sides for r in refs(s) if r.family in found)
    letter = Latex(line.system, line.notation)(line.system.families[name].pattern)
    return f"holds if the first index of a weight such as {letter} names the node that it leaves, the second the node that it enters"


def shifted_weights(line: Line) -> str | None:
    """A weight is named by the layer that it leaves, or enters."""
    layered = [
        n for n, f in line.system.families.items() if f.kind == "parameter" and f.axes and f.axes[0].kind == "recursion"
    ]

    def moved(by: int) -> Callable[[Ref], Ref]:
        def move(r: Ref) -> Ref:
            return Ref(r.family, (r.indices[0] + by, *r.indices[1:])) if r.family in layered else r

        return move

    for by, words in ((1, "leaves"), (-1, "enters")):
        sides = mapped(line.sides, moved(by))
        if sides != line.sides and line.holds(sides):
            return f"holds if a weight has the number of the layer that it {words}"
    return None


def refs(e: Expr) -> Iterator[Ref]:
    for _, p in walk(e):
        if isinstance(p, Ref):
            yield p
        elif isinstance(p, Partial):
            yield p.top
            yield from refs(p.bottom)


def mapped(sides: Sides, change: Callable[[Ref], Ref]) -> Sides:
    """Every quantity of two sides replaced by another."""

    def put(e: Expr) -> Expr:
        match e:
            case Ref():
                return change(e)
            case Partial(top, bottom, direct):
                return Partial(change(top), change(bottom) if isinstance(bottom, Ref) else bottom, direct)
        return e

    return transform(opened(sides[0]), put), transform(opened(sides[1]), put)


def direct_effect(line: Line) -> str | None:
    """A partial derivative with the quantities between held fixed."""

    def put(e: Expr) -> Expr:
        return replace(e, direct=True) if isinstance(e, Partial) else e

    sides = (transform(opened(line.sides[0]), put), line.sides[1])
    if sides[0] == line.sides[0] or not line.holds(sides) or line.holds((sides[0], ZERO)):
        return None
    return "holds if the derivative is the direct effect alone, everything that lies between held fixed"


def numerator_layout(line: Line) -> str | None:
    """The derivative of a number by a matrix has the transposed shape."""
    left, right = opened(line.sides[0]), opened(line.sides[1])
    inner = opened(right.body) if isinstance(right, Vec) else None
    if not isinstance(right, Vec) or not isinstance(inner, Vec):
        return None
    turned = Vec(inner.index, inner.axis, Vec(right.index, right.axis, inner.body))
    if not line.holds((left, turned)):
        return None
    return "holds in numerator layout, where the derivative by a matrix has the shape of its transpose"


def counted_otherwise(line: Line) -> str | None:
    """Nodes counted from 1, or from 0."""
    first = 1 - line.notation.first
    if line.notation.first not in (0, 1):
        return None
    other = replace(line.notation, first=first, firsts={})
    sides = line.read(line.row, other)
    if sides is None or sides == line.sides or not line.holds(sides):
        return None
    return f"holds if nodes are counted from {first}"


CONVENTIONS: tuple[Callable[[Line], str | None], ...] = (
    opposite_error,
    other_cost,
    descent,
    shifted_weights,
    turned_weights,
    numerator_layout,
    direct_effect,
    counted_otherwise,
)


def convention(
    text: str,
    relation: int,
    system: System,
    notation: Notation,
    *,
    samples: Samples,
    before: Expr | None = None,
) -> str | None:
    """The convention in which a refuted line would hold, in a sentence; None where none of those known explains it.

    Args:
        text: One row as its author wrote it.
        relation: The number of the refuted sign of equality in it, from 0.
        before: The expression of the line before, where the row continues it.
    """
    if len(text) > MAX_TEXT:
        return None
    try:
        document = parse_document(text)
        if len(document.rows) != 1:
            raise ReadError("expected one formula")
        row = document.rows[0]
        at = relation + (row.left is not None)
        sides = sides_of(row, at, Source(document.text), system, notation, before)
        if sides is None:
            return None
        line = Line(document.text, row, at, system, notation, sides, samples, before)
        return next((words for c in CONVENTIONS if (words := c(line)) is not None), None)
    except (SymbackpropError, RecursionError, IndexError):
        return None


__all__ = ["CONVENTIONS", "convention"]
