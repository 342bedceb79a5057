"""Two heads that index expressions have on their way to a matrix form: an entry of an array, and a quantity in a sample."""

from __future__ import annotations

from dataclasses import dataclass

from symbackprop.indices import affine
from symbackprop.matrix.tree import Matrix, fits
from symbackprop.symbols import (
    Add,
    Call,
    Div,
    Expr,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Ref,
    Size,
    transform,
    walk,
)


@dataclass(frozen=True, slots=True)
class Entry(Expr):
    """The number at a row and a column of an array; an index is empty where the array has a single row or column."""

    matrix: Matrix
    row: str
    column: str

    def __post_init__(self) -> None:
        rows, columns = self.matrix.shape
        fits((rows is None) == (not self.row), "a row index that does not fit its array")
        fits((columns is None) == (not self.column), "a column index that does not fit its array")

    @property
    def parts(self) -> tuple[Expr, ...]:
        # The indices, so that whoever asks an expression for its names finds them.
        return tuple(Position(affine(i)) for i in (self.row, self.column) if i)

    @property
    def place(self) -> tuple[str, str]:
        return self.row, self.column

    @property
    def indices(self) -> frozenset[str]:
        return frozenset(i for i in self.place if i)

    def flipped(self) -> Entry:
        """The same number as an entry of the transpose."""
        return Entry(self.matrix.flipped(), self.column, self.row)


@dataclass(frozen=True, slots=True)
class InSample(Expr):
    """The value of a quantity in one sample of the batch."""

    quantity: Ref | Partial
    sample: str

    @property
    def parts(self) -> tuple[Expr, ...]:
        # Not the quantity: by itself it would be one of no particular sample.
        return (Position(affine(self.sample)),)


def constant(e: Expr) -> bool:
    """Whether no quantity and no index occurs in it: a number, a size, a function of them."""
    return all(isinstance(p, Num | Size | Param | Add | Mul | Div | Pow | Call) for _, p in walk(e))


def ready(e: Expr) -> bool:
    """Whether it is an entry of an array, or a scalar without quantities."""
    return isinstance(e, Entry) or constant(e)


def indices_of(e: Expr) -> frozenset[str]:
    """The row and column indices of something ready."""
    return e.indices if isinstance(e, Entry) else frozenset()


def bare(e: Expr) -> Expr:
    """An expression without the samples of a batch, as it reads for one sample."""
    return transform(e, lambda p: p.quantity if isinstance(p, InSample) else p)
