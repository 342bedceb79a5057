r"""Expressions with open indices: \mathbf W \mathbf x is sum_q W_pq x_q, one index p left open.

Matrix notation is another way of writing indices; this is where it becomes them. The axes of the indices are not known
yet: they are names of scopes, and whoever joins two of them says so to `Joins`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from symbackprop.errors import ReadError
from symbackprop.indices import Axis, affine
from symbackprop.read.syntax import Place
from symbackprop.symbols import ONE, Expr, Num, Param, Position, Pow, Ref, Size, Sum, expr, substitute, walk

OPEN = Axis("node", "?")
"""The axis of an index before it is known."""


@dataclass(frozen=True, slots=True)
class Array:
    """An expression with its open indices in order: none for a scalar, one for a vector, two for a matrix.

    Args:
        row: A vector that lies: the transpose of a column.
    """

    expr: Expr
    open: tuple[str, ...] = ()
    row: bool = False

    @property
    def shape(self) -> str:
        match len(self.open):
            case 0:
                return "a number"
            case 1:
                return "a row" if self.row else "a column"
            case 2:
                return "a matrix"
        return f"an array of {len(self.open)} axes"


class Joins(Protocol):
    """Who is told that two indices run over one axis, and knows their lengths where a network is known."""

    def join(self, a: str, b: str, place: Place) -> None: ...
    def fail(self, message: str, place: Place) -> ReadError: ...
    def misfit(self, message: str, place: Place) -> ReadError: ...
    def agree(self, a: str, b: str) -> bool: ...
    def length(self, a: str) -> str: ...


def sizes(a: Array, joins: Joins) -> str:
    """A shape as rows and columns, n_l x n_{l-1}; in words where a length is not known."""
    lengths = [joins.length(x) for x in a.open]
    if not lengths or len(lengths) > 2 or not all(lengths):
        return a.shape
    if len(lengths) == 1:
        return f"{a.shape} (1 x {lengths[0]})" if a.row else f"{a.shape} ({lengths[0]} x 1)"
    return f"{a.shape} ({' x '.join(lengths)})"


def renamed(a: Array, to: tuple[str, ...], joins: Joins, place: Place) -> Expr:
    """The entry of an array at other indices."""
    mapping = {}
    for old, new in zip(a.open, to, strict=True):
        if old != new:
            joins.join(new, old, place)
            mapping[old] = affine(new)
    return substitute(a.expr, mapping)


def same_shape(a: Array, b: Array, what: str, joins: Joins, place: Place) -> Expr:
    """The entry of `b` at the indices of `a`."""
    if not alike(a, b, joins):
        raise joins.misfit(f"{what} of {sizes(a, joins)} and {sizes(b, joins)}; both sides need one shape", place)
    return renamed(b, a.open, joins, place)


def alike(a: Array, b: Array, joins: Joins) -> bool:
    """Whether two arrays have one shape."""
    if len(a.open) != len(b.open) or (len(a.open) == 1 and a.row != b.row):
        return False
    return all(joins.agree(x, y) for x, y in zip(a.open, b.open, strict=True))


def add(a: Array, b: Array, joins: Joins, place: Place) -> Array:
    """The sum; a plain number beside a vector is added to each entry."""
    if len(a.open) == 1 and not b.open and is_constant(b.expr):
        return replace(a, expr=a.expr + b.expr)
    if len(b.open) == 1 and not a.open and is_constant(a.expr):
        return replace(b, expr=a.expr + b.expr)
    return replace(a, expr=a.expr + same_shape(a, b, "a sum", joins, place))


def elementwise(a: Array, b: Array, joins: Joins, place: Place) -> Array:
    if not a.open or not b.open:
        return multiply(a, b, joins, place)
    return replace(a, expr=times(a, same_shape(a, b, "an elementwise product", joins, place)))


def multiply(a: Array, b: Array, joins: Joins, place: Place) -> Array:
    """The product of scalars, vectors and matrices, as linear algebra has it."""
    if not a.open or not b.open:
        one = a if a.open else b
        return replace(one, expr=times(a, b.expr))
    left, right = len(a.open), len(b.open)
    if left == 1 and right == 1:
        if a.row and not b.row:
            return Array(contracted(a, b, joins, place))
        if not a.row and b.row:
            return Array(times(a, b.expr), (*a.open, *b.open))
        raise joins.misfit(
            f"{sizes(a, joins)} times {sizes(b, joins)} has no shape; {a.shape} times its partner's transpose, or "
            "\\odot, would fit",
            place,
        )
    if left > 2 or right > 2:
        raise joins.fail(f"a product of {a.shape} and {b.shape} is not read; write it with indices", place)
    if left == 1 and not a.row:
        raise joins.misfit(
            f"{sizes(a, joins)} times {sizes(b, joins)} has no shape; the column's transpose would fit", place
        )
    if right == 1 and b.row:
        raise joins.misfit(
            f"{sizes(a, joins)} times {sizes(b, joins)} has no shape; the row's transpose would fit", place
        )
    body = contracted(a, b, joins, place)
    return Array(body, (*a.open[:-1], *b.open[1:]), row=left == 1)


def times(a: Array, b: Expr) -> Expr:
    """The product of entries; those of a vector of ones are left out."""
    return b if a.open and a.expr == ONE else a.expr * b


def contracted(a: Array, b: Array, joins: Joins, place: Place) -> Expr:
    index = a.open[-1]
    if not joins.agree(index, b.open[0]):
        raise joins.misfit(
            f"{sizes(a, joins)} times {sizes(b, joins)} has no shape; {joins.length(index)} columns meet "
            f"{joins.length(b.open[0])} rows",
            place,
        )
    right = renamed(Array(b.expr, (b.open[0],)), (index,), joins, place)
    return Sum(index, OPEN, times(a, right))


def transposed(a: Array, joins: Joins, place: Place) -> Array:
    match len(a.open):
        case 0:
            return a
        case 1:
            return replace(a, row=not a.row)
        case 2:
            return replace(a, open=a.open[::-1])
    raise joins.fail(f"the transpose of {a.shape} is not read; write it with indices", place)


def mapped(a: Array, f: Callable[[Expr], Expr]) -> Array:
    return replace(a, expr=f(a.expr))


def squares(a: Array) -> Expr:
    """The sum of the squares of all entries."""
    body: Expr = Pow(a.expr, expr(2))
    for index in reversed(a.open):
        body = Sum(index, OPEN, body)
    return body


def is_constant(e: Expr) -> bool:
    """Whether no quantity, index or size stands in an expression."""
    return not any(isinstance(p, Ref | Param | Position | Size) for _, p in walk(e))


def is_number(a: Array) -> bool:
    return isinstance(a.expr, Num)
