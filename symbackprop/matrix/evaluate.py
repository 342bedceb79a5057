"""Matrix expressions in numbers: nested lists of exact numbers, by the definition of each operation.

It knows nothing of how a matrix form was found. The numbers of the arrays come from the oracle, which runs the equations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import TypeAlias

from symbackprop.matrix.heads import Entry, InSample
from symbackprop.matrix.tree import (
    COLUMN,
    ROW,
    AddM,
    Apply,
    Array,
    Choose,
    Diag,
    DiagonalOf,
    DivM,
    Hadamard,
    Identity,
    MatMul,
    Matrix,
    NormSquared,
    Number,
    Ones,
    PowM,
    ScalarMul,
    Series,
    Side,
    Transpose,
    Whole,
    matrix_names,
)
from symbackprop.network import System
from symbackprop.oracle import CannotEvaluate, Dual, Env, Eval, Mod, Oracle, Sample, plus, times
from symbackprop.oracle import Number as Scalar
from symbackprop.symbols import Call, Expr, Num, Vec

Rows: TypeAlias = list[list[Scalar]]


class WrongShape(Exception):
    """Two arrays of an expression do not fit each other on a sample."""


class ArrayOracle(Oracle):
    """An oracle that also knows the value of an entry of an array, and of a quantity in a sample of a batch."""

    def __init__(self, system: System, sample: Sample) -> None:
        super().__init__(system, sample)
        self.arrays: dict[tuple[Matrix, tuple[tuple[str, int], ...]], Rows] = {}

    def _compile(self, e: Expr) -> Eval:
        match e:
            case Entry(matrix, row, column):
                return lambda env, look: self.array(matrix, env)[env[row] if row else 0][env[column] if column else 0]
            case InSample(quantity, sample):
                inner = self.compile(quantity)
                return lambda env, look: self.in_sample(env[sample], lambda: inner(env, look))
            case _:
                return super()._compile(e)

    def array(self, m: Matrix, env: Env) -> Rows:
        """The entries of an expression, for values of its layers, times and held indices."""
        known = self.arrays
        key = (m, tuple(sorted((n, v) for n, v in env.items() if n in matrix_names(m))))
        if key not in known:
            known[key] = _array(m, self, {**self.standing, **env})
        return known[key]


def _array(m: Matrix, oracle: ArrayOracle, env: Env) -> Rows:
    inner = [oracle.array(p, env) for p in m.parts] if not isinstance(m, Series | Whole) else []
    match m:
        case Array():
            return _leaf(m, oracle, env)
        case Number(value):
            return [[oracle.evaluate(value, env)]]
        case Ones(rows, columns):
            return [[oracle.number(1)] * _length(columns, oracle, env) for _ in range(_length(rows, oracle, env))]
        case Identity(axis):
            n = range(_length(axis, oracle, env))
            return [[oracle.number(int(i == j)) for j in n] for i in n]
        case Transpose():
            return [list(r) for r in zip(*inner[0], strict=True)]
        case MatMul():
            return reduce(_multiply, inner)
        case Hadamard():
            return reduce(lambda a, b: _each(times, a, b), inner)
        case AddM():
            return reduce(lambda a, b: _each(plus, a, b), inner)
        case ScalarMul():
            return [[times(inner[0][0][0], x) for x in r] for r in inner[1]]
        case DivM():
            return _each(lambda a, b: times(a, oracle.inverse(b)), *inner)
        case Apply(function, _, order, at):
            layer = at.evaluate(env) if at is not None else None
            return [[_applied(oracle, function, layer, order, x) for x in r] for r in inner[0]]
        case PowM(_, exponent):
            return _powers(inner[0], exponent, oracle)
        case Diag():
            v = [x for r in inner[0] for x in r]
            return [[x if i == j else oracle.number(0) for j in range(len(v))] for i, x in enumerate(v)]
        case DiagonalOf(_, as_row):
            d = [r[i] for i, r in enumerate(inner[0])]
            return [d] if as_row else [[x] for x in d]
        case NormSquared():
            return [[reduce(plus, [times(x, x) for r in inner[0] for x in r])]]
        case Choose(op):
            return _chosen(op, inner, oracle)
        case Series(index, axis, of, guard):
            envs = [{**env, index: i} for i in oracle.places(axis, env)]
            terms = [oracle.array(of, v) for v in envs if all(c.holds(v) for c in guard)]
            return reduce(lambda a, b: _each(plus, a, b), terms)
        case Whole(function, of):
            side = of.rows or of.columns
            assert side is not None
            array = Vec(ROW if of.rows is not None else COLUMN, side, of.quantity)
            return [[oracle.evaluate(Call(function, (array,)), env)]]
    raise TypeError(f"no way to evaluate {type(m).__name__}")


def _length(side: Side, oracle: Oracle, env: Env) -> int:
    return 1 if side is None else oracle.width(side, env)


def _leaf(a: Array, oracle: Oracle, env: Env) -> Rows:
    def number(r: int, c: int) -> Scalar:
        here = {**env, ROW: r, COLUMN: c}
        if not a.sampled:
            return oracle.evaluate(a.quantity, here)
        return oracle.in_sample(r if a.sampled == "rows" else c, lambda: oracle.evaluate(a.quantity, here))

    columns = range(_length(a.columns, oracle, env))
    return [[number(r, c) for c in columns] for r in range(_length(a.rows, oracle, env))]


def _multiply(a: Rows, b: Rows) -> Rows:
    if len(a[0]) != len(b):
        raise WrongShape(f"{len(a)} x {len(a[0])} times {len(b)} x {len(b[0])}")
    columns = list(zip(*b, strict=True))
    return [[reduce(plus, map(times, r, c)) for c in columns] for r in a]


def _each(f: Callable[[Scalar, Scalar], Scalar], a: Rows, b: Rows) -> Rows:
    if (len(a), len(a[0])) != (len(b), len(b[0])):
        raise WrongShape(f"{len(a)} x {len(a[0])} with {len(b)} x {len(b[0])}, entry by entry")
    return [[f(x, y) for x, y in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]


def _applied(oracle: Oracle, function: str, layer: int | None, order: int, x: Scalar) -> Scalar:
    """A function or its derivative at a number, the latter by dual numbers."""
    for _ in range(order):
        x = Dual(x, oracle.number(1))
    out = oracle.function(function, layer, x)
    for _ in range(order):
        out = out.d if isinstance(out, Dual) else oracle.number(0)
    return out


def _powers(a: Rows, exponent: Expr, oracle: Oracle) -> Rows:
    if not isinstance(exponent, Num) or exponent.value.denominator != 1:
        raise CannotEvaluate("a power that is no whole number")
    n = int(exponent.value)
    bases = [[x if n >= 0 else oracle.inverse(x) for x in r] for r in a]
    return [[reduce(times, [x] * abs(n), oracle.number(1)) for x in r] for r in bases]


def _chosen(op: str, inner: list[Rows], oracle: Oracle) -> Rows:
    """The choice at every entry; no sample may fall on the boundary."""
    shapes = [(len(m), len(m[0])) for m in inner]
    rows, columns = max(shapes)

    def part(k: int, i: int, j: int) -> Scalar:
        if shapes[k] not in ((rows, columns), (1, 1)):
            raise WrongShape(f"a choice among {rows} x {columns} and {shapes[k][0]} x {shapes[k][1]}")
        return inner[k][i][j] if shapes[k] == (rows, columns) else inner[k][0][0]

    out: Rows = [[None] * columns for _ in range(rows)]
    for i, j in product(range(rows), range(columns)):
        d = plus(part(0, i, j), -part(1, i, j))
        if isinstance(d, Mod) or not (d > 0 or d < 0):
            raise CannotEvaluate("on the boundary between two cases")
        holds = (d > 0) if op in (">", ">=") else (d < 0) if op in ("<", "<=") else op == "!="
        out[i][j] = part(2, i, j) if holds else part(3, i, j)
    return out
