"""From an equation in index notation to its matrix form, one named equality after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from symbackprop.errors import GoalError
from symbackprop.indices import Guard
from symbackprop.matrix.base import MATRIX_RULES
from symbackprop.matrix.frame import Frame, Layout, find_layout, held_axes
from symbackprop.matrix.heads import Entry, InSample, constant
from symbackprop.matrix.obstacles import leftover, obstacle
from symbackprop.matrix.rules import REPEATED, TRANSPOSE
from symbackprop.matrix.tree import Array, Matrix, Number
from symbackprop.network import System
from symbackprop.symbols import (
    Depends,
    Expr,
    Mul,
    Partial,
    Ref,
    Summand,
    WrittenOut,
    at,
    replace_at,
    transform,
    walk,
)

STEP_LIMIT = 400


@dataclass(frozen=True)
class Rewrite:
    """One application of one rule: `before` with the part at `path` replaced is `after`."""

    rule: str
    before: Expr
    after: Expr
    path: tuple[int, ...]

    def again(self, frame: Frame) -> bool:
        """Whether the rule, applied anew, gives `after`."""
        part = MATRIX_RULES[self.rule].apply(at(self.before, self.path), frame)
        return part is not None and replace_at(self.before, self.path, part) == self.after


@dataclass(frozen=True)
class MatrixForm:
    """An equation between arrays, with the steps that lead to it from the equation between their entries.

    Args:
        subject, value: The equation in index notation.
        left, right: The same between arrays.
        steps: From `value` to the entry of `right`.
        frame: Which indices count rows and columns, and which axes are held.
        guard: Where the equation holds.
    """

    subject: Expr
    value: Expr
    left: Array
    right: Matrix
    steps: tuple[Rewrite, ...]
    frame: Frame
    guard: Guard = ()

    @property
    def held(self) -> tuple[str, ...]:
        """The indices for each of whose values the equation holds, layers and times apart."""
        ref = self.left.ref
        axes = self.frame.system.axes(ref)
        return tuple(str(i) for a, i in zip(axes, ref.indices, strict=True) if a.label in self.frame.held and i.names)


@dataclass(frozen=True)
class NoMatrixForm:
    """An equation that stays in index notation, and why."""

    subject: Expr
    value: Expr
    reason: str
    guard: Guard = ()


Form: TypeAlias = MatrixForm | NoMatrixForm


def plain(e: Expr) -> Expr:
    """An expression without what is there for readers alone: roles of factors, written out sums, dependencies."""

    def bare(p: Expr) -> Expr:
        match p:
            case Mul(factors, roles) if roles:
                return Mul(factors)
            case WrittenOut(s):
                return s
            case Summand(_, _, body) | Depends(body):
                return body
            case _:
                return p

    return transform(e, bare)


def to_matrix(
    subject: Ref | Partial | InSample,
    value: Expr,
    system: System,
    layout: str | Layout = "column",
    guard: Guard = (),
) -> Form:
    """The matrix form of one equation, or why it has none.

    Args:
        subject: A quantity, or the derivative of the cost by one, its indices free.
        value: What it is equal to; its summed indices differ from the free ones.
        layout: `column`, `row`, `batch` or `batch-columns`.
        guard: Where the equation holds.

    Raises:
        UnknownNameError: There is no layout of that name.
    """
    found = find_layout(layout)
    held = held_axes(system)
    frame = Frame(system, found, held=held)
    value = plain(value)
    reason = obstacle(subject, value, guard, frame)
    if reason is not None:
        return NoMatrixForm(subject, value, reason, guard)
    left = MATRIX_RULES["entry of an array"].apply(subject, frame)
    if not isinstance(left, Entry):
        return NoMatrixForm(subject, value, "its left side is no quantity of an array", guard)
    if left.row == left.column != "":
        return NoMatrixForm(subject, value, "its left side is about the diagonal of an array alone", guard)
    assert isinstance(left.matrix, Array)
    frame = Frame(system, found, left.row, left.column, held, *left.matrix.shape)
    steps = rewritten(value, frame)
    end = steps[-1].after if steps else value
    repeated = MATRIX_RULES[REPEATED].apply(end, frame)
    if repeated is not None:
        steps, end = (*steps, Rewrite(REPEATED, end, repeated, ())), repeated
    if constant(end) and left.place == ("", ""):
        return MatrixForm(subject, value, left.matrix, Number(end), steps, frame, guard)
    if not isinstance(end, Entry) or end.place != left.place:
        return NoMatrixForm(subject, value, leftover(end), guard)
    return MatrixForm(subject, value, left.matrix, end.matrix, steps, frame, guard)


def rewritten(value: Expr, frame: Frame) -> tuple[Rewrite, ...]:
    """The steps to one entry of one array, or as far as the rules lead."""
    steps: list[Rewrite] = []
    current = value
    while len(steps) < STEP_LIMIT:
        step = next_step(current, frame)
        if step is None:
            return tuple(steps)
        steps.append(step)
        current = step.after
    raise GoalError(f"the matrix form takes more than {STEP_LIMIT} steps")


def next_step(e: Expr, frame: Frame) -> Rewrite | None:
    """The first rule that applies, outermost part first; an entry that lies askew for it is turned before."""
    for name, rule in MATRIX_RULES.items():
        for path, part in walk(e) if not rule.last else ():
            new = rule.apply(part, frame)
            used = name
            if new is None and rule.plan is not None and rule.plan(part, frame) is not None:
                new, used = MATRIX_RULES[TRANSPOSE].apply(part, frame), TRANSPOSE
            if new is not None:
                return Rewrite(used, e, replace_at(e, path, new), path)
    return None
