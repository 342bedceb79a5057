"""What a rule between entries of arrays is, and what such rules share: plans, factors, nests of sums.

A rule that joins several entries first says how it wants them to lie (its plan): where one lies the other way round, "entry of
the transpose" turns it, as a step of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from symbackprop.indices import Axis, Guard
from symbackprop.matrix.frame import Frame
from symbackprop.matrix.heads import Entry, indices_of, ready
from symbackprop.matrix.tree import (
    Matrix,
    Number,
    scalar_and_rest,
)
from symbackprop.symbols import (
    Expr,
    Mul,
    Sum,
)

Application: TypeAlias = Callable[[Expr, Frame], Expr | None]
Place: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """What a rule that joins entries is about to do.

    Args:
        parts: The factors, terms or arguments among which the entries stand.
        wants: How the entries that are joined must lie: (row index, column index) by place among `parts`.
        rebuild: The expression with other parts.
        join: The result, once every entry lies as it must.
    """

    parts: tuple[Expr, ...]
    wants: dict[int, Place]
    rebuild: Callable[[tuple[Expr, ...]], Expr]
    join: Callable[[], Expr]

    @property
    def askew(self) -> int | None:
        """The first entry that lies the other way round."""
        return next((n for n, want in self.wants.items() if entry(self.parts[n]).place != want), None)


Planner: TypeAlias = Callable[[Expr, Frame], Plan | None]


@dataclass(frozen=True)
class MatrixRule:
    """A named equality.

    Args:
        name: As it stands beside a step.
        statement: The equality in LaTeX.
        source: Where it is proved or defined.
        apply: The right side for a left side it fits; None where it does not apply.
        plan: For a rule that joins entries: how they must lie.
        last: Whether it is for the whole right side alone, once no other rule applies.
    """

    name: str
    statement: str
    source: str
    apply: Application
    plan: Planner | None = None
    last: bool = False


MATRIX_RULES: dict[str, MatrixRule] = {}
"""In the order in which they are tried."""


def matrix_rule(name: str, *, statement: str, source: str, last: bool = False) -> Callable[[Application], Application]:
    """Enter a function among the rules."""

    def enter(f: Application) -> Application:
        MATRIX_RULES[name] = MatrixRule(name, statement, source, f, last=last)
        return f

    return enter


def joining_rule(name: str, *, statement: str, source: str) -> Callable[[Planner], Planner]:
    """Enter a plan as a rule that applies once all its entries lie as it wants."""

    def enter(planner: Planner) -> Planner:
        def apply(e: Expr, frame: Frame) -> Expr | None:
            plan = planner(e, frame)
            return plan.join() if plan is not None and plan.askew is None else None

        MATRIX_RULES[name] = MatrixRule(name, statement, source, apply, planner)
        return planner

    return enter


# ---------------------------------------------------------------- help with entries, factors and sums


def entry(e: Expr) -> Entry:
    assert isinstance(e, Entry)
    return e


def lying(e: Entry, place: Place) -> Matrix:
    """The array of an entry, with its rows and columns counted by the given indices."""
    return e.matrix if e.place == place else e.flipped().matrix


def without_scalars(entries: Sequence[Entry]) -> tuple[list[Expr], list[Entry]]:
    """Entries of arrays without the scalars before them, and those scalars."""
    scalars: list[Expr] = []
    plain: list[Entry] = []
    for e in entries:
        front, rest = scalar_and_rest(e.matrix)
        scalars += [unwrapped(s) for s in front]
        plain.append(Entry(rest, e.row, e.column))
    return scalars, plain


def unwrapped(m: Matrix) -> Expr:
    """A scalar as an expression."""
    return m.value if isinstance(m, Number) else Entry(m, "", "")


def wrapped(e: Expr) -> Matrix:
    """Something ready and without indices as a scalar."""
    return e.matrix if isinstance(e, Entry) else Number(e)


def product(factors: Sequence[Expr]) -> Expr:
    return factors[0] if len(factors) == 1 else Mul(tuple(factors))


def replaced(factors: Sequence[Expr], places: Sequence[int], new: Sequence[Expr]) -> tuple[Expr, ...]:
    """The factors with those at `places` gone and the new ones where the first of them stood."""
    first = min(places)
    kept = [f for n, f in enumerate(factors) if n not in places]
    at = sum(n not in places for n in range(first))
    return (*kept[:at], *new, *kept[at:])


def axis_of(i: str, entries: Sequence[Expr]) -> Axis:
    """The axis of an index, from an array that has it."""
    for e in entries:
        if isinstance(e, Entry) and i in e.indices:
            rows, columns = e.matrix.shape
            axis = rows if e.row == i else columns
            assert axis is not None
            return axis
    raise LookupError(i)


def factors_of(e: Expr) -> tuple[Expr, ...]:
    return e.factors if isinstance(e, Mul) else (e,)


@dataclass(frozen=True)
class Nest:
    """Sums within sums over one product: sums of finitely many terms may change places."""

    sums: tuple[tuple[str, Axis, Guard], ...]
    factors: tuple[Expr, ...]

    def around(self, body: Expr, but: str = "") -> Expr:
        """The same sums around another body, without the one over `but`."""
        for index, axis, guard in reversed(self.sums):
            if index != but:
                body = Sum(index, axis, body, guard)
        return body

    def sides(self, frame: Frame) -> list[str]:
        """The summed indices over whole axes that are sides of arrays, innermost first."""
        return [i for i, axis, guard in reversed(self.sums) if frame.is_side(axis) and not guard]

    def holding(self, i: str) -> list[int]:
        """The places of the factors in which an index occurs."""
        return [n for n, f in enumerate(self.factors) if i in indices_of(f)]


def nest(e: Expr) -> Nest | None:
    """The sums at the head of an expression, where everything under them is ready."""
    sums: list[tuple[str, Axis, Guard]] = []
    while isinstance(e, Sum):
        sums.append((e.index, e.axis, e.guard))
        e = e.body
    factors = factors_of(e)
    return Nest(tuple(sums), factors) if sums and all(map(ready, factors)) else None


def natural(choices: Sequence[tuple[Place, int]]) -> Place:
    """Of ways to lie, the first among those with the fewest transposed arrays."""
    return min(choices, key=lambda c: c[1])[0]
