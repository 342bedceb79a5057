"""Matrix expressions: arrays of the model's quantities, and what is built from them. They never evaluate.

Every expression has two sides, its rows and its columns, each an axis of the model or None for a single row or column: a
scalar has neither, a column vector has rows alone. An expression whose sides do not fit cannot be built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from symbackprop.indices import Affine, Axis, Guard, affine
from symbackprop.symbols import ONE, Div, Expr, Mul, Num, Partial, Ref, guard_names, names, substitute

Side: TypeAlias = Axis | None
Shape: TypeAlias = tuple[Side, Side]

ROW, COLUMN = "#r", "#c"
"""The letters that stand for the row and the column in the quantity of an array."""


def fits(condition: bool, message: str) -> None:
    """Refuse a matrix expression whose parts do not fit.

    Raises:
        ValueError: The condition does not hold.
    """
    if not condition:
        raise ValueError(message)


class Matrix:
    """Base of all matrix expressions: immutable, compared by structure."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        raise NotImplementedError

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return ()

    def flipped(self) -> Matrix:
        """The transpose, with the sign of transposition moved down to the arrays: (AB)^T is B^T A^T."""
        return self


@dataclass(frozen=True, slots=True)
class Array(Matrix):
    """All quantities of a family at one layer or time, or the gradient by them.

    Args:
        quantity: The entry at row `#r` and column `#c`: w_{#r #c}^(l), or dC/dz_{#r}^(l).
        rows, columns: Its axes; None for a single row or column.
        sampled: The side that counts the samples, where the quantity belongs to one sample of a batch.
    """

    quantity: Ref | Partial
    rows: Side
    columns: Side
    sampled: Literal["", "rows", "columns"] = ""

    def __post_init__(self) -> None:
        inside = names(self.quantity)
        node_rows = self.rows is not None and self.sampled != "rows"
        node_columns = self.columns is not None and self.sampled != "columns"
        fits((ROW in inside) == node_rows, f"rows of {self.quantity} do not fit its indices")
        fits((COLUMN in inside) == node_columns, f"columns of {self.quantity} do not fit its indices")

    @property
    def shape(self) -> Shape:
        return self.rows, self.columns

    @property
    def ref(self) -> Ref:
        """The quantity, or the one by which the cost is differentiated."""
        if isinstance(self.quantity, Ref):
            return self.quantity
        assert isinstance(self.quantity.bottom, Ref)
        return self.quantity.bottom

    def flipped(self) -> Matrix:
        return self if self.shape == (None, None) else Transpose(self)


@dataclass(frozen=True, slots=True)
class Number(Matrix):
    """A scalar in which no quantity occurs: 2, 1/m, the root of a size."""

    value: Expr

    @property
    def shape(self) -> Shape:
        return None, None


@dataclass(frozen=True, slots=True)
class Ones(Matrix):
    """The array whose entries are all 1."""

    rows: Side
    columns: Side

    @property
    def shape(self) -> Shape:
        return self.rows, self.columns

    def flipped(self) -> Matrix:
        return Ones(self.columns, self.rows)


@dataclass(frozen=True, slots=True)
class Identity(Matrix):
    axis: Axis

    @property
    def shape(self) -> Shape:
        return self.axis, self.axis


@dataclass(frozen=True, slots=True)
class Transpose(Matrix):
    of: Matrix

    @property
    def shape(self) -> Shape:
        rows, columns = self.of.shape
        return columns, rows

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)

    def flipped(self) -> Matrix:
        return self.of


@dataclass(frozen=True, slots=True)
class MatMul(Matrix):
    """The product of matrices, in order; a column times a row is the outer product."""

    factors: tuple[Matrix, ...]

    def __post_init__(self) -> None:
        for left, right in zip(self.factors, self.factors[1:], strict=False):
            fits(left.shape[1] == right.shape[0], f"a product of {left.shape} and {right.shape}")

    @property
    def shape(self) -> Shape:
        return self.factors[0].shape[0], self.factors[-1].shape[1]

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return self.factors

    def flipped(self) -> Matrix:
        return MatMul(tuple(f.flipped() for f in reversed(self.factors)))


@dataclass(frozen=True, slots=True)
class Hadamard(Matrix):
    """The product entry by entry."""

    factors: tuple[Matrix, ...]

    def __post_init__(self) -> None:
        fits(len({f.shape for f in self.factors}) == 1, "a product entry by entry of different shapes")

    @property
    def shape(self) -> Shape:
        return self.factors[0].shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return self.factors

    def flipped(self) -> Matrix:
        return plainer(self, Hadamard(tuple(f.flipped() for f in self.factors)))


@dataclass(frozen=True, slots=True)
class AddM(Matrix):
    terms: tuple[Matrix, ...]

    def __post_init__(self) -> None:
        fits(len({t.shape for t in self.terms}) == 1, "a sum of different shapes")

    @property
    def shape(self) -> Shape:
        return self.terms[0].shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return self.terms

    def flipped(self) -> Matrix:
        return plainer(self, AddM(tuple(t.flipped() for t in self.terms)))


@dataclass(frozen=True, slots=True)
class ScalarMul(Matrix):
    """A scalar times an array."""

    scalar: Matrix
    of: Matrix

    def __post_init__(self) -> None:
        fits(self.scalar.shape == (None, None), "a scalar factor that is no scalar")

    @property
    def shape(self) -> Shape:
        return self.of.shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return self.scalar, self.of

    def flipped(self) -> Matrix:
        return ScalarMul(self.scalar, self.of.flipped())


@dataclass(frozen=True, slots=True)
class Apply(Matrix):
    """A function of one number applied to every entry; `order` counts primes, `at` is the layer it belongs to."""

    function: str
    of: Matrix
    order: int = 0
    at: Affine | None = None

    @property
    def shape(self) -> Shape:
        return self.of.shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)

    def flipped(self) -> Matrix:
        return Apply(self.function, self.of.flipped(), self.order, self.at)


@dataclass(frozen=True, slots=True)
class Whole(Matrix):
    """A generic scalar function of a whole column or row: the cost C(a) of any outputs."""

    function: str
    of: Array

    @property
    def shape(self) -> Shape:
        return None, None

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)


@dataclass(frozen=True, slots=True)
class PowM(Matrix):
    """The power of every entry."""

    of: Matrix
    exponent: Expr

    @property
    def shape(self) -> Shape:
        return self.of.shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)

    def flipped(self) -> Matrix:
        return PowM(self.of.flipped(), self.exponent)


@dataclass(frozen=True, slots=True)
class DivM(Matrix):
    """The quotient entry by entry."""

    top: Matrix
    bottom: Matrix

    def __post_init__(self) -> None:
        fits(self.top.shape == self.bottom.shape, "a quotient entry by entry of different shapes")

    @property
    def shape(self) -> Shape:
        return self.top.shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return self.top, self.bottom

    def flipped(self) -> Matrix:
        return plainer(self, DivM(self.top.flipped(), self.bottom.flipped()))


@dataclass(frozen=True, slots=True)
class Diag(Matrix):
    """The square matrix with a vector on its diagonal."""

    of: Matrix

    def __post_init__(self) -> None:
        fits(self.of.shape.count(None) == 1, "a diagonal that is no vector")

    @property
    def shape(self) -> Shape:
        axis = self.of.shape[0] or self.of.shape[1]
        return axis, axis

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)


@dataclass(frozen=True, slots=True)
class DiagonalOf(Matrix):
    """The diagonal of a square matrix, as a column, or as a row."""

    of: Matrix
    as_row: bool = False

    def __post_init__(self) -> None:
        fits(self.of.shape[0] == self.of.shape[1] != None, "the diagonal of what is not square")  # noqa: E711

    @property
    def shape(self) -> Shape:
        axis = self.of.shape[0]
        return (None, axis) if self.as_row else (axis, None)

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)

    def flipped(self) -> Matrix:
        return DiagonalOf(self.of, not self.as_row)


@dataclass(frozen=True, slots=True)
class NormSquared(Matrix):
    """The sum of the squares of all entries."""

    of: Matrix

    @property
    def shape(self) -> Shape:
        return None, None

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)


@dataclass(frozen=True, slots=True)
class Choose(Matrix):
    """Entry by entry, `then` where `left op right`, else `other`; a number counts for every entry."""

    op: str
    left: Matrix
    right: Matrix
    then: Matrix
    other: Matrix

    def __post_init__(self) -> None:
        fits(len(self._shapes) == 1, "a choice among different shapes")

    @property
    def _shapes(self) -> frozenset[Shape]:
        return frozenset(p.shape for p in self.parts if not isinstance(p, Number))

    @property
    def shape(self) -> Shape:
        (shape,) = self._shapes
        return shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return self.left, self.right, self.then, self.other

    def flipped(self) -> Matrix:
        left, right, then, other = (p.flipped() for p in self.parts)
        return plainer(self, Choose(self.op, left, right, then, other))


@dataclass(frozen=True, slots=True)
class Series(Matrix):
    """The sum of arrays over layers, times, or an axis that is no side of an array."""

    index: str
    axis: Axis
    of: Matrix
    guard: Guard = ()

    @property
    def shape(self) -> Shape:
        return self.of.shape

    @property
    def parts(self) -> tuple[Matrix, ...]:
        return (self.of,)

    def flipped(self) -> Matrix:
        return Series(self.index, self.axis, self.of.flipped(), self.guard)


# ---------------------------------------------------------------- building and reading


def walk_matrix(m: Matrix) -> Iterator[Matrix]:
    """Every part, outermost first, left to right."""
    yield m
    for p in m.parts:
        yield from walk_matrix(p)


def plainer(m: Matrix, moved: Matrix) -> Matrix:
    """Of the transpose of the whole and that of every part, the one with fewer signs of transposition."""
    return moved if transposes(moved) <= transposes(m) + 1 else Transpose(m)


def transposes(m: Matrix) -> int:
    """How many arrays stand transposed."""
    return sum(isinstance(p, Transpose) for p in walk_matrix(m))


def matmul(*factors: Matrix) -> Matrix:
    """The product in one row of factors: products are associative, and an identity leaves no trace."""
    flat: list[Matrix] = []
    for f in factors:
        flat += f.factors if isinstance(f, MatMul) else (f,)
    kept = [f for f in flat if not isinstance(f, Identity)] or flat[:1]
    return kept[0] if len(kept) == 1 else MatMul(tuple(kept))


def hadamard(*factors: Matrix) -> Matrix:
    """The product entry by entry in one row of factors."""
    flat: list[Matrix] = []
    for f in factors:
        flat += f.factors if isinstance(f, Hadamard) else (f,)
    return Hadamard(tuple(flat))


def scalar_and_rest(m: Matrix) -> tuple[list[Matrix], Matrix]:
    """An array without the scalars in front of it."""
    scalars: list[Matrix] = []
    while isinstance(m, ScalarMul):
        scalars.append(m.scalar)
        m = m.of
    return scalars, m


def scaled(scalars: list[Matrix], m: Matrix) -> Matrix:
    """Scalars before an array, those without quantities joined to one fraction."""
    inner, m = scalar_and_rest(m)
    number = fraction([s.value for s in (*scalars, *inner) if isinstance(s, Number)])
    if isinstance(m, Number):
        return Number(fraction([number, m.value]))
    for s in reversed([s for s in (*scalars, *inner) if not isinstance(s, Number)]):
        m = ScalarMul(s, m)
    return m if number == ONE else ScalarMul(Number(number), m)


def fraction(values: list[Expr]) -> Expr:
    """The product of scalars as one fraction, its number reduced: 2 times 1/m is 2/m."""
    number, top, bottom = Num(ONE.value), list[Expr](), list[Expr]()
    stack = [(v, True) for v in reversed(values)]
    while stack:
        v, up = stack.pop()
        match v:
            case Num(x):
                number = Num(number.value * x if up else number.value / x)
            case Mul(factors):
                stack += [(f, up) for f in reversed(factors)]
            case Div(a, b):
                stack += [(b, not up), (a, up)]
            case _:
                (top if up else bottom).append(v)
    upper = number.value.numerator if bottom else number.value
    if bottom and number.value.denominator != 1:
        bottom.insert(0, Num(ONE.value * number.value.denominator))
    if upper != 1 or not top:
        top.insert(0, Num(ONE.value * upper))
    over = top[0] if len(top) == 1 else Mul(tuple(top))
    return Div(over, bottom[0] if len(bottom) == 1 else Mul(tuple(bottom))) if bottom else over


def matrix_names(m: Matrix) -> frozenset[str]:
    """The free names of a matrix expression: its layers, times and held indices, those in its sizes too."""
    sizes = frozenset().union(*(s.at.names for s in m.shape if s is not None and s.at is not None))
    match m:
        case Array(quantity):
            return sizes | (names(quantity) - {ROW, COLUMN})
        case Number(value):
            return names(value)
        case Apply(_, of, _, at):
            return matrix_names(of) | (at.names if at is not None else frozenset())
        case Series(index, _, of, guard):
            return (matrix_names(of) | guard_names(guard)) - {index}
        case _:
            return sizes.union(*map(matrix_names, m.parts))


def entry_of(a: Array, row: str, column: str) -> Expr:
    """The quantity of an array at a row and a column."""
    return substitute(a.quantity, {ROW: affine(row), COLUMN: affine(column)})
