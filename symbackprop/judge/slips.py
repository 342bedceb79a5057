r"""The slip of a refuted line, found by repairing it: which correction makes it true on every sample network.

The corrections that a teacher would try come from `corrections`, the likeliest first. Each is tried at one point of one
network; what holds there is read again from its text and compared at every point, so that a repair is never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

from symbackprop.errors import ReadError, ReadIndexError, ReadShapeError, SymbackpropError
from symbackprop.judge.corrections import Corrections
from symbackprop.judge.edits import Candidate, marks, row_with, text_with
from symbackprop.judge.relation import total
from symbackprop.judge.sampling import Samples, places
from symbackprop.judge.scope import Equality, ShapeMismatch, equality, misplaced
from symbackprop.judge.survey import Piece, Quantity, Survey, axes_of
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.oracle import CannotEvaluate, Number, Oracle, OutOfRange
from symbackprop.read.expression import Reader, nodes_of
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.read.syntax import Node, Relation, Row, Sum
from symbackprop.report import Fix
from symbackprop.symbols import Expr, Vec, names

BUDGET = 400
"""Corrections that are tried for one line."""

MOST_PAIRS = 250
"""Pairs that are tried."""

MARGIN = 0.35
"""How much unlikelier than the first repair another may be."""

FURTHER = 20
"""Corrections that are tried after the first that repairs the line."""

PAIRS = 30
"""Corrections that are also tried two at a time, where no single one repairs the line."""

LARGE = 500
"""Quantities of a sample network above which a repair is compared at fewer points."""

WORK = 100_000
"""Quantities that are differentiated, one by one, before the search ends."""

MAX_TEXT = 4_000
"""Characters of a line that is repaired."""


@dataclass
class Repairer:
    """One refuted line and the ways to repair it.

    Args:
        relation: The number of the refuted sign of equality, from 0.
        before: The expression of the line before, for a continued line.
    """

    text: str
    relation: int
    system: System
    notation: Notation
    samples: Samples
    before: Expr | None = None
    budget: int = BUDGET
    row: Row = field(init=False)
    source: Source = field(init=False)
    tried: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self.done = self.work()
        document = parse_document(self.text)
        if len(document.rows) != 1:
            raise ReadError("expected one formula")
        (self.row,) = document.rows
        self.source = Source(document.text)
        self.text = document.text
        self.nodes = nodes_of(self.row)
        self.at = self.relation + (self.row.left is not None)
        if not 0 <= self.at < len(self.nodes) or (self.at == 0 and self.before is None):
            raise ReadError(f"there is no sign of equality number {self.relation + 1} in this line")
        self.base = self.both(self.row)
        self.apart = self.base is not None and self.at == 1 and self.one(self.row, 0) == self.base[0]
        self.apart = self.apart and self.base is not None and self.one(self.row, 1) == self.base[1]
        self.points = self.values()

    # ------------------------------------------------------------ reading

    def reader(self) -> Reader:
        return Reader(self.source, self.system, self.notation)

    def both(self, row: Row) -> tuple[Expr, Expr] | None:
        """Both sides of the refuted equality; None where they are not understood."""
        nodes = nodes_of(row)
        left = nodes[self.at - 1] if self.at else None
        sides = self.read(row, left, nodes[self.at])
        if sides is None:
            return None
        if left is not None:
            return sides[0], sides[1]
        assert self.before is not None
        return total(self.before), sides[0]

    def read(self, row: Row, left: Node | None, right: Node) -> tuple[Expr, ...] | None:
        relation = Relation("=", right, row.relations[self.relation].place)
        try:
            sides = self.reader().line(replace(row, left=left, relations=(relation,), conditions=()))
            return tuple(map(total, sides))
        except (SymbackpropError, RecursionError):
            return None

    def one(self, row: Row, side: int) -> Expr | None:
        """A side read without the other."""
        sides = self.read(row, None, nodes_of(row)[side])
        return sides[0] if sides is not None else None

    def pair(self, row: Row) -> tuple[Expr, Expr] | None:
        """Both sides; where each says by itself what it is, only the one that is new is read."""
        if not self.apart or self.base is None:
            return self.both(row)
        if row.left is self.row.left:
            new = self.one(row, 1)
            return (self.base[0], new) if new is not None else None
        new = self.one(row, 0)
        return (new, self.base[1]) if new is not None else None

    # ------------------------------------------------------------ comparing

    def values(self) -> list[tuple[Oracle, dict[str, int], Number, Number]]:
        """Both sides as they are, at a few points of the first networks."""
        self.equal: Equality | None = None
        if self.base is None:
            return []
        try:
            self.equal = equality(self.system, *self.base)
            oracles = self.samples.oracles(self.equal)[:2]
        except (ShapeMismatch, SymbackpropError):
            return []
        out = []
        for oracle in oracles:
            for env in places(self.system, oracle.sample, self.equal, 2):
                try:
                    a, b = oracle.evaluate(self.equal.left, env), oracle.evaluate(self.equal.right, env)
                except (CannotEvaluate, OutOfRange, KeyError):
                    continue
                out.append((oracle, env, a, b))
        return out

    @property
    def proportional(self) -> bool | None:
        """Whether one side is a fixed multiple of the other, as far as the points tell."""
        if len(self.points) < 2:
            return None
        oracle, _, a, b = self.points[0]
        for other, _, c, d in self.points[1:]:
            if other is not oracle:
                continue
            if not oracle.agree(a * d, b * c):
                return False
        return True

    def holds_somewhere(self, sides: tuple[Expr, Expr]) -> bool:
        """Whether both sides agree at one point of one network."""
        left, right = sides
        if self.points and not isinstance(left, Vec) and not isinstance(right, Vec) and self.base is not None:
            oracle, env, value, _ = self.points[0]
            known = env.keys() | oracle.standing.keys()
            if (left == self.base[0] or names(left) <= known) and names(right) <= known:
                try:
                    a = value if left == self.base[0] else oracle.evaluate(left, env)
                    if left != self.base[0] and oracle.agree(a, oracle.number(0)):
                        return False  # zero on both sides says nothing
                    return oracle.agree(a, oracle.evaluate(right, env))
                except (CannotEvaluate, OutOfRange, KeyError, RecursionError):
                    return False
        try:
            compared = self.samples.compare(equality(self.system, left, right), 1, 1)
        except (ShapeMismatch, SymbackpropError, KeyError, RecursionError):
            return False
        return compared.difference is None and compared.points > 0

    def holds(self, text: str) -> bool:
        """Whether a repaired line is true at every point of every sample."""
        try:
            document = parse_document(text)
            if len(document.rows) != 1:
                return False
            line = Reader(Source(document.text), self.system, self.notation).claim(document.rows[0])
            right = total(line.sides[self.at])
            before = line.sides[self.at - 1] if self.at else self.before
            assert before is not None
            left = total(before)
            if any(misplaced(self.system, side) for side in (left, right)):
                return False
            claim = equality(self.system, left, right, line.guard, line.apart)
            if claim.free_right - claim.free_left:
                return False  # what one side leaves open, the other cannot be equal to
            large = any(len(o.order) > LARGE for o in self.samples.oracles(claim)[:1])
            compared = self.samples.compare(claim, 2, 1) if large else self.samples.compare(claim)
        except (ShapeMismatch, SymbackpropError, KeyError, RecursionError):
            return False
        return compared.difference is None and compared.points > 1 and not compared.outside

    # ------------------------------------------------------------ corrections

    def surveys(self) -> tuple[Survey, Survey | None]:
        right = Survey(self.source, self.reader().drafter).side(self.nodes[self.at])
        left = Survey(self.source, self.reader().drafter).side(self.nodes[self.at - 1]) if self.at else None
        return right, left

    @cached_property
    def sides(self) -> tuple[Corrections, ...]:
        """The corrections of the right side, and of the left side where it belongs to this equality alone."""
        right, left = self.surveys()
        both = [s for s in (left, right) if s is not None]
        pieces = [p for s in both for q in s.quantities for p in q.lower]
        given = free_letters(left, self.system) if left is not None else frozenset[str]()
        if self.before is not None and self.at == 0:
            given = names(self.before) - self.system.constants
            pieces += [Piece(0, 0, x, "node", frozenset({x})) for x in sorted(given)]
        own = Corrections(
            text=self.text,
            node=self.nodes[self.at],
            reader=self.reader(),
            system=self.system,
            notation=self.notation,
            given=given,
            row_letters=tuple(pieces),
            layers=tuple(dict.fromkeys(p.text for s in both for q in s.quantities for p in q.upper)),
            axes=dict(self.equal.axes) if self.equal is not None else {},
            terms=self.earlier_terms(),
            proportional=self.proportional,
            votes=tuple(v for s in both for q in s.quantities for v in self.votes(q)),
        )
        if self.at != 1 or left is None:
            return (own,)
        free = free_letters(right, self.system)
        return own, replace(own, node=self.nodes[0], reader=self.reader(), given=free, left=True, extra=0.3)

    def votes(self, q: Quantity) -> list[tuple[int, str, str]]:
        lower, upper = {p.place: p.text for p in q.lower}, {p.place: p.text for p in q.upper}
        return [(q.start, x, axis) for x, axis in axes_of(self.system.families[q.family], lower, upper)]

    def corrections(self, likely: bool = True) -> list[Candidate]:
        """Corrections of either side, the likeliest first."""
        return sorted((c for side in self.sides for c in side.all(likely)), key=lambda c: c.cost)

    def earlier_terms(self) -> tuple[str, ...]:
        """The terms of the side before, as one of them may have been dropped on the way."""
        if not self.at:
            return ()
        node = self.nodes[self.at - 1]
        return (
            tuple(self.source.text[t.body.place.start : t.body.place.end] for t in node.terms)
            if isinstance(node, Sum)
            else ()
        )

    # ------------------------------------------------------------ search

    def fixes(self, limit: int) -> tuple[Fix, ...]:
        """The repairs, likeliest first, one for each cause."""
        likely = self.corrections()
        found = self.search(likely, limit)
        if not found:
            found = self.search(self.corrections(likely=False), limit)
        if not found:
            found = self.search(self.pairs(likely)[:MOST_PAIRS], 1)
        return tuple(found)

    def search(self, candidates: Sequence[Candidate], limit: int) -> list[Fix]:
        found: list[Fix] = []
        best = 0.0
        budget = self.budget
        for c in candidates:
            if budget <= 0 or self.work() > WORK or (found and c.cost > best + MARGIN) or len(found) >= limit:
                break
            if any(f.cause == c.cause for f in found):
                continue
            budget -= 1
            fix = self.tried_with(c)
            if fix is not None:
                if not found:
                    best, budget = c.cost, min(budget, FURTHER)
                found.append(fix)
        return found

    def work(self) -> int:
        """How much the oracles have had to do for this line."""
        done = sum(len(o.partials) * len(o.order) for kept in self.samples.kept.values() for o in kept)
        return done - self.done

    def tried_with(self, c: Candidate) -> Fix | None:
        """The repair that a correction makes; None where the line stays wrong."""
        self.tried += 1
        row = row_with(self.row, c.swaps)
        if row is None:
            return None
        sides = self.pair(row)
        if sides is None or sides[0] == sides[1] or not self.holds_somewhere(sides):
            return None
        text = text_with(self.text, c.swaps)
        if not self.holds(text):
            return None
        wrong, right = marks(self.text, c.swaps)
        return Fix(c.cause, text, c.what, wrong, right)

    def pairs(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Two corrections of one kind at once: a slip made twice."""
        few = [c for c in candidates if len(c.swaps) == 1][: 4 * PAIRS]
        out = []
        for a, b in combinations(few, 2):
            if a.cause == b.cause and a.cause in TWICE and a.disjoint(b):
                out.append(a.with_other(b, a.cost + b.cost))
        return sorted(out, key=lambda c: c.cost)


TWICE = ("wrong_index", "wrong_layer", "transposed_weight", "free_index_mismatch", "sign", "factor", "missing_activation_derivative", "wrong_variable")  # fmt: skip


def free_letters(survey: Survey, system: System) -> frozenset[str]:
    """The letters below the quantities of a side that no sum binds."""
    return (
        frozenset(x for q in survey.quantities for p in q.lower for x in p.letters if x not in q.bound)
        - system.constants
    )


def repairs(
    text: str,
    relation: int,
    system: System,
    notation: Notation,
    *,
    samples: Samples,
    before: Expr | None = None,
    limit: int = 3,
    budget: int = BUDGET,
) -> tuple[Fix, ...]:
    """The corrections that make a refuted line true, the likeliest first.

    Args:
        text: One row as its author wrote it.
        relation: The number of the refuted sign of equality in it, from 0.
        before: The expression of the line before, where the row continues it; only the row is changed.
        limit: At most so many, each with another cause.
        budget: Corrections that are tried.

    Returns:
        Every one true at all points of the samples; none where no likely correction repairs the line.
    """
    if len(text) > MAX_TEXT:
        return ()
    try:
        return Repairer(text, relation, system, notation, samples, before, budget).fixes(limit)
    except (SymbackpropError, RecursionError):
        return ()


def guess(
    text: str, relation: int, system: System, notation: Notation, *, before: Expr | None = None
) -> tuple[str, ...]:
    """What the structure of a refuted line alone tells of its slip: what stands free on one side, and the shapes.

    Meant to follow the causes of `repairs`; ("other",) where it tells nothing.
    """
    out: list[str] = []
    if len(text) > MAX_TEXT:
        return ("other",)
    try:
        document = parse_document(text)
        row = document.rows[0]
        source = Source(document.text)
        try:
            Reader(source, system, notation).claim(row)
        except ReadIndexError:
            out.append("wrong_index")
        except ReadShapeError:
            out += ["shape_mismatch", "transposed_weight"]
        nodes = nodes_of(row)
        at = relation + (row.left is not None)
        right = free_letters(Survey(source, Reader(source, system, notation).drafter).side(nodes[at]), system)
        left = given_letters(nodes[at - 1] if at else None, source, system, notation, before)
        if right - left:
            out += ["free_index_mismatch", "wrong_index", "missing_sum"]
        elif left - right:
            out += ["free_index_mismatch", "dropped_term"]
    except (SymbackpropError, IndexError, RecursionError):
        pass
    return tuple(dict.fromkeys(out)) or ("other",)


def given_letters(
    node: Node | None, source: Source, system: System, notation: Notation, before: Expr | None
) -> frozenset[str]:
    if node is None:
        return names(before) - system.constants if before is not None else frozenset()
    return free_letters(Survey(source, Reader(source, system, notation).drafter).side(node), system)


__all__ = ["BUDGET", "guess", "repairs"]
