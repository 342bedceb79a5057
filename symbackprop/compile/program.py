"""Program: what a gradient is computed by, before any backend has seen it.

Single assignment, typed axes, few operations. An axis is typed by the name of its dimension ("n_2", or
"m" for the samples); within one instruction each axis carries a one-letter label, as in `einsum`.
`verify` refuses a program that is not well formed, and `interpret` runs any program slowly and plainly:
backends are compared with it. Nothing is ever differentiated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

from symbackprop.compile import kernels
from symbackprop.errors import ModelError
from symbackprop.indices import Guard
from symbackprop.symbols import Add, Call, Compare, Div, Expr, Mul, Num, Param, Pow, Where

SAMPLE = "m"  # the dimension of the samples
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Key: TypeAlias = "tuple[str, tuple[int, ...]]"  # a family and the numbers on its recursion axes


class ProgramError(ModelError):
    """A program that is not well formed; met only where a pass is wrong."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A value with a label on each of its axes."""

    name: str
    labels: str


@dataclass(frozen=True, slots=True)
class Input:
    """An array that the caller gives: the quantities of `key`, axes typed by `dims`."""

    name: str
    dims: tuple[str, ...]
    key: Key
    kind: Literal["parameter", "input", "target", "given"] = "parameter"

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Constant:
    """`value` where every constraint of `guard` on the positions (named by `labels`) holds, 0 elsewhere."""

    name: str
    labels: str
    dims: tuple[str, ...]
    value: Fraction = Fraction(1)
    guard: Guard = ()

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Contract:
    """The product of the operands, summed over every label that is not in `labels`."""

    name: str
    operands: tuple[Operand, ...]
    labels: str


@dataclass(frozen=True, slots=True)
class Map:
    """A scalar formula at every position; `Param("0")` is the first operand, `Param("#n_2")` the size of a dimension."""

    name: str
    formula: Expr
    operands: tuple[Operand, ...]
    labels: str


@dataclass(frozen=True, slots=True)
class Reduce:
    """The sum or the maximum over the labels that are not in `labels`."""

    name: str
    kind: Literal["sum", "max"]
    operand: Operand
    labels: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class View:
    """The same data under other axes: reordered, a position fixed (a number in `fixed`), or a diagonal (a label twice).

    Args:
        fixed: For each axis of the operand a position, or None where its label stays.
    """

    name: str
    operand: Operand
    fixed: tuple[int | None, ...]
    labels: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.operand,)


Instruction: TypeAlias = "Input | Constant | Contract | Map | Reduce | View"


@dataclass(frozen=True, slots=True)
class Output:
    """A value that the caller gets: the gradient by the quantities of `key`, or those quantities themselves."""

    key: Key
    value: str
    role: Literal["gradient", "value", "cost"]


@dataclass(frozen=True)
class Program:
    """Instructions in an order in which each uses only earlier values.

    Args:
        sizes: The dimensions whose size is known; the others are read from the arrays.
        meaning: For a value that is a quantity of the model or a gradient: which.
        notes: For such a value, the equation that it was lowered from.
    """

    instructions: tuple[Instruction, ...]
    outputs: tuple[Output, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    meaning: Mapping[str, tuple[Key, bool]] = field(default_factory=dict)
    notes: Mapping[str, tuple[Expr, Expr]] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(i for i in self.instructions if isinstance(i, Input))


# ---------------------------------------------------------------- checking

SCALAR_CALLS = frozenset(
    [
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "abs",
        "sign",
        "erf",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "softplus",
        "minimum",
        "maximum",
    ]
)


def parts(formula: Expr) -> Iterator[Expr]:
    yield formula
    for p in formula.parts:
        yield from parts(p)


def axes(program: Program) -> dict[str, tuple[str, ...]]:
    """The dimensions of every value.

    Raises:
        ProgramError: Names that are undefined or defined twice, axes that do not fit, an unknown operation.
    """
    out: dict[str, tuple[str, ...]] = {}
    for i in program.instructions:
        if i.name in out:
            raise ProgramError(f"value {i.name} is defined twice")
        out[i.name] = _dims(i, out, program.sizes)
    for o in program.outputs:
        if o.value not in out:
            raise ProgramError(f"output {o.value} is never computed")
    return out


verify = axes


def _dims(i: Instruction, known: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int]) -> tuple[str, ...]:
    if isinstance(i, Input):
        return i.dims
    if isinstance(i, Constant):
        if len(i.labels) != len(i.dims):
            raise ProgramError(f"constant {i.name} has labels {i.labels!r} for {len(i.dims)} axes")
        return i.dims
    by_label: dict[str, str] = {}
    for o in i.operands:
        if o.name not in known:
            raise ProgramError(f"{i.name} uses {o.name}, which is not defined before it")
        dims = known[o.name]
        if len(dims) != len(o.labels):
            raise ProgramError(f"{i.name} gives {o.name} the labels {o.labels!r}, but it has {len(dims)} axes")
        if len(set(o.labels)) != len(o.labels) and not isinstance(i, View):
            raise ProgramError(f"{i.name} repeats a label on {o.name}: {o.labels!r}")
        for label, dim in zip(o.labels, dims, strict=True):
            other = by_label.setdefault(label, dim)
            if other != dim and (sizes.get(other) is None or sizes.get(other) != sizes.get(dim)):
                raise ProgramError(f"{i.name}: label {label!r} runs over both {other} and {dim}")
    if len(set(i.labels)) != len(i.labels) or not set(i.labels) <= by_label.keys():
        raise ProgramError(f"{i.name} has axes {i.labels!r}, its operands have {''.join(by_label)!r}")
    if isinstance(i, Map):
        if set(by_label) != set(i.labels):
            raise ProgramError(f"map {i.name} drops an axis: {''.join(by_label)!r} to {i.labels!r}")
        for p in parts(i.formula):
            _check_scalar(p, i)
    elif isinstance(i, View):
        if len(i.fixed) != len(i.operand.labels):
            raise ProgramError(f"view {i.name} fixes {len(i.fixed)} axes of {len(i.operand.labels)}")
        kept = {c for c, f in zip(i.operand.labels, i.fixed, strict=True) if f is None}
        if kept != set(i.labels):
            raise ProgramError(f"view {i.name} keeps {sorted(kept)} but is labelled {i.labels!r}")
    return tuple(by_label[c] for c in i.labels)


def _check_scalar(p: Expr, i: Map) -> None:
    match p:
        case Num() | Add() | Mul() | Div() | Pow() | Where() | Compare():
            return
        case Call(function, _, 0, None) if function in SCALAR_CALLS:
            return
        case Param(name) if name == "pi" or name.startswith("#") or (name.isdigit() and int(name) < len(i.operands)):
            return
    raise ProgramError(f"map {i.name} contains {p}, which is no scalar operation")


# ---------------------------------------------------------------- sizes and scalars


def sizes_of(program: Program, arrays: Mapping[str, Array]) -> dict[str, int]:
    """Every dimension's size, the unknown ones read off the input arrays."""
    out = dict(program.sizes)
    for i in program.inputs:
        for dim, n in zip(i.dims, arrays[i.name].shape, strict=True):
            out.setdefault(dim, n)
    return out


def scalar(e: Expr, sizes: Mapping[str, int]) -> float:
    """The value of an expression of numbers and sizes."""
    match e:
        case Num(value):
            return float(value)
        case Param("pi"):
            return math.pi
        case Param(name) if name.startswith("#"):
            return float(sizes[name[1:]])
        case Add(terms):
            return math.fsum(scalar(t, sizes) for t in terms)
        case Mul(factors):
            return math.prod(scalar(f, sizes) for f in factors)
        case Div(top, bottom):
            return scalar(top, sizes) / scalar(bottom, sizes)
        case Pow(base, exponent):
            return float(scalar(base, sizes) ** scalar(exponent, sizes))
        case Call(function, arguments):
            return float(kernels.FUNCTIONS[function](*(np.float64(scalar(a, sizes)) for a in arguments)))
        case Where(Compare(op, left, right), then, other):
            return scalar(then if COMPARE[op](scalar(left, sizes), scalar(right, sizes)) else other, sizes)
    raise ProgramError(f"{e} is no number")


# ---------------------------------------------------------------- the reference interpreter

COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def interpret(program: Program, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Run a program one instruction at a time, nothing fused or reused: slow, and meant to be evidently right.

    Args:
        arrays: An array for each input, by name; all of one floating dtype.

    Returns:
        Every value of the program, by name.
    """
    axes(program)
    sizes = sizes_of(program, arrays)
    dtype = np.result_type(*arrays.values())
    values: dict[str, Array] = {}
    for i in program.instructions:
        values[i.name] = np.asarray(_run(i, values, arrays, sizes), dtype)
    return values


def _run(i: Instruction, values: Mapping[str, Array], arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
    if isinstance(i, Input):
        return arrays[i.name]
    if isinstance(i, Constant):
        return mask(i, sizes)
    if isinstance(i, Contract):
        spec = ",".join(o.labels for o in i.operands) + "->" + i.labels
        return np.asarray(np.einsum(spec, *(values[o.name] for o in i.operands)))
    if isinstance(i, Map):
        given = [spread(values[o.name], o.labels, i.labels) for o in i.operands]
        return np.asarray(evaluate(i.formula, given, sizes, np.result_type(*given)))
    if isinstance(i, Reduce):
        gone = tuple(n for n, c in enumerate(i.operand.labels) if c not in i.labels)
        reduced = values[i.operand.name].sum(axis=gone) if i.kind == "sum" else values[i.operand.name].max(axis=gone)
        kept = "".join(c for c in i.operand.labels if c in i.labels)
        return np.asarray(np.einsum(f"{kept}->{i.labels}", reduced))
    index = tuple(slice(None) if f is None else f for f in i.fixed)
    kept = "".join(c for c, f in zip(i.operand.labels, i.fixed, strict=True) if f is None)
    return np.asarray(np.einsum(f"{kept}->{i.labels}", values[i.operand.name][index]))


def mask(i: Constant, sizes: Mapping[str, int]) -> Array:
    """The array of a Constant."""
    shape = tuple(sizes[d] for d in i.dims)
    grid = dict(zip(i.labels, np.indices(shape), strict=True)) if shape else {}
    keep: Any = np.ones(shape, bool)
    for c in i.guard:
        v = c.expr.const + sum((k * grid[n] for n, k in c.expr.terms), np.zeros(shape, int))
        keep = keep & ((v == 0) if c.equal else (v >= 0))
    return np.asarray(np.where(keep, float(i.value), 0.0))


def spread(a: Array, labels: str, target: str) -> Array:
    """`a` with its axes in the order of `target`, and an axis of length 1 for each that it lacks."""
    present = "".join(c for c in target if c in labels)
    ordered = np.transpose(a, [labels.index(c) for c in present])
    return ordered[tuple(slice(None) if c in labels else None for c in target)]


def evaluate(e: Expr, given: Sequence[Array], sizes: Mapping[str, int], dtype: Any) -> Any:
    """A scalar formula over broadcast arrays, in their dtype."""

    def go(x: Expr) -> Any:
        match x:
            case Param(name) if name.isdigit():
                return given[int(name)]
            case Num() | Param():
                return dtype.type(scalar(x, sizes))
            case Add(terms):
                out = go(terms[0])
                for t in terms[1:]:
                    out = out + go(t)
                return out
            case Mul(factors):
                out = go(factors[0])
                for f in factors[1:]:
                    out = out * go(f)
                return out
            case Div(top, bottom):
                return go(top) / go(bottom)
            case Pow(base, exponent):
                return go(base) ** go(exponent)
            case Call(function, arguments):
                return kernels.FUNCTIONS[function](*map(go, arguments))
            case Compare(op, left, right):
                return COMPARE[op](go(left), go(right))
            case Where(condition, then, other):
                return np.where(go(condition), go(then), go(other))
        raise ProgramError(f"{x} is no scalar operation")

    return go(e)


# ---------------------------------------------------------------- a pass: join elementwise steps


def fuse(program: Program, keep: frozenset[str] = frozenset()) -> Program:
    """Write every elementwise value that one other elementwise value of the same axes uses into that one.

    Args:
        keep: Values that stay by themselves (those with a name that a reader knows).
    """
    uses: dict[str, int] = {}
    for i in program.instructions:
        for o in i.operands:
            uses[o.name] = uses.get(o.name, 0) + 1
    for out in program.outputs:
        uses[out.value] = uses.get(out.value, 0) + 2
    maps: dict[str, Map] = {}
    result: list[Instruction] = []
    for i in program.instructions:
        if not isinstance(i, Map):
            result.append(i)
            continue
        new = _join(i, {n: m for o in i.operands if (m := maps.get(n := o.name))})
        if uses.get(i.name) == 1 and i.name not in keep:
            maps[i.name] = new
        result.append(new)
    live = {o.value for o in program.outputs}
    kept: list[Instruction] = []
    for i in reversed(result):
        if i.name in live or isinstance(i, Input):
            live |= {o.name for o in i.operands}
            kept.append(i)
    return replace(program, instructions=tuple(reversed(kept)))


def _join(outer: Map, inner: Mapping[str, Map]) -> Map:
    """`outer` with the formulas of `inner` in place of those operands that have all its axes."""
    operands: list[Operand] = []
    formulas: list[Expr] = []
    for o in outer.operands:
        m = inner.get(o.name)
        if m is None or set(o.labels) != set(outer.labels):
            formulas.append(_operand(o, operands))
            continue
        rename = dict(zip(m.labels, o.labels, strict=True))
        moved = [Operand(p.name, "".join(rename[c] for c in p.labels)) for p in m.operands]
        formulas.append(plug(m.formula, [_operand(p, operands) for p in moved]))
    return Map(outer.name, plug(outer.formula, formulas), tuple(operands), outer.labels)


def _operand(o: Operand, operands: list[Operand]) -> Expr:
    if o not in operands:
        operands.append(o)
    return Param(str(operands.index(o)))


def plug(formula: Expr, values: Sequence[Expr]) -> Expr:
    """`formula` with expressions for its operands."""
    if isinstance(formula, Param) and formula.name.isdigit():
        return values[int(formula.name)]
    return formula.rebuild(tuple(plug(p, values) for p in formula.parts)) if formula.parts else formula
