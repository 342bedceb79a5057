"""The shapes in a matrix form, and why each array stands as it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from symbackprop.matrix.convert import MatrixForm
from symbackprop.matrix.tree import (
    Array,
    Diag,
    DiagonalOf,
    Identity,
    MatMul,
    Matrix,
    NormSquared,
    Ones,
    Shape,
    Transpose,
)


@dataclass(frozen=True)
class ShapeNote:
    """One array of an equation, its own shape, and why it is transposed, or there at all.

    Args:
        array: The array, without a sign of transposition.
        shape: Its rows and columns as it is stored.
        transposed: Whether it stands transposed.
        why: One phrase; empty for an array that stands as it is stored.
    """

    array: Matrix
    shape: Shape
    transposed: bool = False
    why: str = ""


def shape_notes(form: MatrixForm) -> tuple[ShapeNote, ...]:
    """Every array of a form once, in the order in which it is read; scalars have no shape to speak of."""
    notes = [ShapeNote(form.left, form.left.shape), *_notes(form.right, False, False)]
    return tuple(n for n in dict.fromkeys(notes) if n.shape != (None, None))


def _notes(m: Matrix, rows_summed: bool, columns_summed: bool) -> Iterator[ShapeNote]:
    """The notes on a part, of which a product sums over the rows, over the columns, or over both."""
    match m:
        case Array() | Identity():
            yield ShapeNote(m, m.shape)
        case Ones(rows, columns):
            yield ShapeNote(
                m, m.shape, why=_ones(rows is not None and rows_summed, columns is not None and columns_summed)
            )
        case Transpose(of):
            yield ShapeNote(of, of.shape, True, _transposed(of, columns_summed, rows_summed))
            if not isinstance(of, Array):
                yield from _notes(of, columns_summed, rows_summed)
        case MatMul(factors):
            last = len(factors) - 1
            for n, f in enumerate(factors):
                left = rows_summed if n == 0 else factors[n - 1].shape[1] is not None
                right = columns_summed if n == last else f.shape[1] is not None
                yield from _notes(f, left, right)
        case Diag() | DiagonalOf() | NormSquared():
            for p in m.parts:
                yield from _notes(p, False, False)
        case _:
            for p in m.parts:
                yield from _notes(p, rows_summed, columns_summed)


def _ones(rows: bool, columns: bool) -> str:
    return "adds up what it stands beside" if rows or columns else "repeats what it stands beside"


def _transposed(of: Matrix, first: bool, second: bool) -> str:
    """Why an array is transposed, of whose own indices the first, the second or both are summed."""
    if None in of.shape:
        lies = "a row" if of.shape[1] is None else "a column"
        counted = "columns" if of.shape[1] is None else "rows"
        return f"{lies}, since " + (
            "the sum runs over its index" if first or second else f"its index counts the {counted} of the result"
        )
    if first and not second:
        return "transposed since the sum runs over its first index"
    if second and not first:
        return "transposed since the sum runs over its second index"
    return (
        "transposed so that its first index meets the second of its neighbour"
        if first
        else "transposed since its first index counts the columns of the result"
    )
