"""Program: what a gradient is computed by, before any backend has seen it.

Single assignment, typed axes, few operations. An axis is typed by the name of its dimension ("n_2", or
"m" for the samples); within one instruction each axis carries a one-letter label, as in `einsum`.
`verify` refuses a program that is not well formed, and `interpret` runs any program slowly and plainly:
backends are compared with it. Nothing is ever differentiated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

from symbackprop.compile import kernels
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Guard
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
    """An array that the caller gives: the quantities of `key`, axes typed by `dims`; integers where they are positions."""

    name: str
    dims: tuple[str, ...]
    key: Key
    kind: Literal["parameter", "input", "target", "given"] = "parameter"
    integer: bool = False

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Constant:
    """`value` where every constraint of `guard` on the positions (named by `labels`) holds, `outside` elsewhere."""

    name: str
    labels: str
    dims: tuple[str, ...]
    value: Fraction = Fraction(1)
    guard: Guard = ()
    outside: float = 0.0

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
    """The sum, the maximum or the product over the labels that are not in `labels`."""

    name: str
    kind: Literal["sum", "max", "prod"]
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


@dataclass(frozen=True, slots=True)
class Iota:
    """The positions 0, 1, ... of an axis, as integers."""

    name: str
    dim: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Window:
    """Affine view: the operand at positions that depend on the labels of the result, 0 where a position is outside.

    Args:
        operand: The value that is looked at.
        index: For each of its axes a position, in letters of `labels` and counters of the loops around.
        labels, dims: The axes of the result.
    """

    name: str
    operand: str
    index: tuple[Affine, ...]
    labels: str
    dims: tuple[str, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.operand, LETTERS[: len(self.index)]),)


@dataclass(frozen=True, slots=True)
class Fold:
    """The transpose of a Window: every entry of the operand is added at a position that depends on its labels.

    Args:
        index: For each axis of the result a position, in letters of the operand's labels; outside, the entry is dropped.
    """

    name: str
    operand: Operand
    index: tuple[Affine, ...]
    dims: tuple[str, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Gather:
    """The table at positions along its axis `label` that an array of integers gives."""

    name: str
    table: Operand
    positions: Operand
    label: str
    labels: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.table, self.positions)


@dataclass(frozen=True, slots=True)
class Scatter:
    """The transpose of a Gather: entries are added where an array of integers says, along a new axis `label`.

    The labels of `positions` are summed where they are not in `labels`.
    """

    name: str
    operand: Operand
    positions: Operand
    label: str
    labels: str
    dim: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.operand, self.positions)


@dataclass(frozen=True, slots=True)
class Winner:
    """1 at the first position along `label` where the operand is largest, 0 elsewhere."""

    name: str
    operand: Operand
    label: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Stack:
    """An array in which values lie side by side along the axes of layers and times, 0 where there is none.

    Args:
        pieces: Each with the place of its first entry on every axis.
    """

    name: str
    pieces: tuple[tuple[str, tuple[int, ...]], ...]
    dims: tuple[str, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Stored:
    """What a loop leaves: `value` of each turn in row `row` along `axis` of the stack `base`, which is then `name`."""

    name: str
    base: str
    value: str
    axis: int
    row: Affine


@dataclass(frozen=True, slots=True)
class Scan:
    """A loop: the body for each number of the counter in turn, its results stored.

    The body sees what was computed before, and of each stack the rows stored so far, under the stack's new name.
    """

    name: str
    counter: str
    first: int
    last: int
    step: int
    body: tuple[Instruction, ...]
    stored: tuple[Stored, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()

    @property
    def numbers(self) -> range:
        return range(self.first, self.last + self.step, self.step)


Instruction: TypeAlias = "Input | Constant | Contract | Map | Reduce | View | Iota | Window | Fold | Gather | Scatter | Winner | Stack | Scan"


def read_by(i: Instruction) -> frozenset[str]:
    """The names of all values that an instruction reads, a loop those of its body too."""
    if isinstance(i, Stack):
        return frozenset(n for n, _ in i.pieces)
    if isinstance(i, Scan):
        own = {b.name for b in i.body} | {s.name for s in i.stored}
        read = frozenset().union(*map(read_by, i.body)) | {s.value for s in i.stored}
        return (read - own) | {s.base for s in i.stored}
    return frozenset(o.name for o in i.operands)


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
    _define(program.instructions, out, program.sizes, frozenset())
    for o in program.outputs:
        if o.value not in out:
            raise ProgramError(f"output {o.value} is never computed")
    return out


verify = axes


def all_axes(program: Program) -> dict[str, tuple[str, ...]]:
    """The dimensions of every value, those that only a loop's body sees among them."""
    out: dict[str, tuple[str, ...]] = {}
    _define(program.instructions, out, program.sizes, frozenset(), keep=True)
    return out


def _define(
    instructions: Iterable[Instruction],
    out: dict[str, tuple[str, ...]],
    sizes: Mapping[str, int],
    counters: frozenset[str],
    keep: bool = False,
) -> None:
    for i in instructions:
        if i.name in out:
            raise ProgramError(f"value {i.name} is defined twice")
        if isinstance(i, Scan):
            _define_scan(i, out, sizes, counters, keep)
        else:
            out[i.name] = _dims(i, out, sizes, counters)


def _define_scan(
    i: Scan, out: dict[str, tuple[str, ...]], sizes: Mapping[str, int], counters: frozenset[str], keep: bool
) -> None:
    if i.step not in (1, -1) or not i.numbers:
        raise ProgramError(f"loop {i.name} runs from {i.first} to {i.last} in steps of {i.step}")
    if i.counter in counters or i.counter in LETTERS:
        raise ProgramError(f"loop {i.name} counts with {i.counter}, which is taken")
    for s in i.stored:
        if s.base not in out or s.name in out:
            raise ProgramError(f"loop {i.name} stores in {s.name} on top of {s.base}")
        out[s.name] = out[s.base]
    inner = counters | {i.counter}
    _define(i.body, out, sizes, inner, keep)
    for s in i.stored:
        dims = out[s.name]
        if s.value not in out or out[s.value] != dims[: s.axis] + dims[s.axis + 1 :] or not s.row.names <= inner:
            raise ProgramError(f"loop {i.name} stores {s.value} in {s.name} of axes {dims}")
    for b in i.body if not keep else ():
        del out[b.name]
    out[i.name] = ()


def _dims(
    i: Instruction, known: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int], counters: frozenset[str]
) -> tuple[str, ...]:
    if isinstance(i, Input):
        return i.dims
    if isinstance(i, Iota):
        return (i.dim,)
    assert not isinstance(i, Scan)
    if isinstance(i, Stack):
        for n, place in i.pieces:
            if n not in known or len(known[n]) != len(i.dims) or len(place) != len(i.dims):
                raise ProgramError(f"stack {i.name} of axes {i.dims} has the piece {n}")
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
        for label, dim in zip(o.labels, dims, strict=True) if not isinstance(i, Window) else ():
            other = by_label.setdefault(label, dim)
            if other != dim and (sizes.get(other) is None or sizes.get(other) != sizes.get(dim)):
                raise ProgramError(f"{i.name}: label {label!r} runs over both {other} and {dim}")
    if isinstance(i, Window):
        used = frozenset().union(*(a.names for a in i.index))
        if len(set(i.labels)) != len(i.labels) or len(i.labels) != len(i.dims):
            raise ProgramError(f"window {i.name} has labels {i.labels!r} for {len(i.dims)} axes")
        if not used <= counters | set(i.labels):
            raise ProgramError(f"window {i.name} depends on {sorted(used - counters - set(i.labels))}")
        return i.dims
    if isinstance(i, Fold):
        used = frozenset().union(*(a.names for a in i.index))
        if used != set(i.operand.labels) or len(i.index) != len(i.dims):
            raise ProgramError(f"fold {i.name} of {i.operand.labels!r} uses {sorted(used)}")
        return i.dims
    if isinstance(i, Winner):
        if i.label not in i.operand.labels:
            raise ProgramError(f"winner {i.name} along {i.label!r} of {i.operand.labels!r}")
        return tuple(by_label[c] for c in i.operand.labels)
    if isinstance(i, Gather):
        if set(i.labels) != set(by_label) - {i.label} or i.label not in i.table.labels:
            raise ProgramError(f"gather {i.name} along {i.label!r} gives {i.labels!r}")
        return tuple(by_label[c] for c in i.labels)
    if isinstance(i, Scatter):
        if i.label in by_label or i.label not in i.labels or not set(i.labels) - {i.label} <= by_label.keys():
            raise ProgramError(f"scatter {i.name} along {i.label!r} gives {i.labels!r}")
        return tuple(i.dim if c == i.label else by_label[c] for c in i.labels)
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
    dtype = np.result_type(*(a for a in arrays.values() if a.dtype.kind == "f"))
    values: dict[str, Array] = {}
    _execute(program.instructions, values, _Run(arrays, sizes, dtype, {}))
    return values


@dataclass(frozen=True, slots=True)
class _Run:
    """What the instructions of one run have in common; `counters` are the numbers of the loops around."""

    arrays: Mapping[str, Array]
    sizes: Mapping[str, int]
    dtype: Any
    counters: Mapping[str, int]


def _execute(instructions: Iterable[Instruction], values: dict[str, Array], run: _Run) -> None:
    for i in instructions:
        if isinstance(i, Scan):
            _loop(i, values, run)
        else:
            result = _run(i, values, run)
            values[i.name] = np.asarray(result, result.dtype if result.dtype.kind in "iu" else run.dtype)


def _loop(i: Scan, values: dict[str, Array], run: _Run) -> None:
    for s in i.stored:
        values[s.name] = values[s.base].copy()
    for n in i.numbers:
        here = replace(run, counters={**run.counters, i.counter: n})
        _execute(i.body, values, here)
        for s in i.stored:
            index = (slice(None),) * s.axis + (s.row.evaluate(here.counters),)
            values[s.name][index] = values[s.value]


def _run(i: Instruction, values: Mapping[str, Array], run: _Run) -> Array:
    sizes = run.sizes
    match i:
        case Input():
            return run.arrays[i.name]
        case Constant():
            return mask(i, sizes)
        case Iota():
            return np.arange(sizes[i.dim])
        case Contract():
            spec = ",".join(o.labels for o in i.operands) + "->" + i.labels
            return np.asarray(np.einsum(spec, *(values[o.name] for o in i.operands)))
        case Map():
            given = [spread(values[o.name], o.labels, i.labels) for o in i.operands]
            return np.asarray(evaluate(i.formula, given, sizes, np.dtype(run.dtype)))
        case Reduce():
            gone = tuple(n for n, c in enumerate(i.operand.labels) if c not in i.labels)
            reduced = REDUCE[i.kind](values[i.operand.name], axis=gone)
            kept = "".join(c for c in i.operand.labels if c in i.labels)
            return np.asarray(np.einsum(f"{kept}->{i.labels}", reduced))
        case View():
            index = tuple(slice(None) if f is None else f for f in i.fixed)
            kept = "".join(c for c, f in zip(i.operand.labels, i.fixed, strict=True) if f is None)
            return np.asarray(np.einsum(f"{kept}->{i.labels}", values[i.operand.name][index]))
        case Window():
            return _window(i, values[i.operand], run)
        case Fold():
            return _fold(i, values[i.operand.name], run)
        case Gather():
            n = values[i.table.name].shape[i.table.labels.index(i.label)]
            chosen = np.arange(n) == values[i.positions.name][..., None]
            spec = f"{i.table.labels},{i.positions.labels}{i.label}->{i.labels}"
            return np.asarray(np.einsum(spec, values[i.table.name], chosen.astype(run.dtype)))
        case Scatter():
            chosen = np.arange(sizes[i.dim]) == values[i.positions.name][..., None]
            spec = f"{i.operand.labels},{i.positions.labels}{i.label}->{i.labels}"
            return np.asarray(np.einsum(spec, values[i.operand.name], chosen.astype(run.dtype)))
        case Winner():
            a = values[i.operand.name]
            axis = i.operand.labels.index(i.label)
            first = np.expand_dims(np.argmax(a, axis), axis)
            shape = [-1 if n == axis else 1 for n in range(a.ndim)]
            return np.asarray(np.arange(a.shape[axis]).reshape(shape) == first, float)
        case Stack():
            whole = np.zeros([sizes[d] for d in i.dims])
            for name, place in i.pieces:
                piece = values[name]
                whole[tuple(slice(p, p + n) for p, n in zip(place, piece.shape, strict=True))] = piece
            return whole
    raise ProgramError(f"the reference has no {type(i).__name__}")


REDUCE: Mapping[str, Callable[..., Any]] = {"sum": np.sum, "max": np.max, "prod": np.prod}


def _positions(index: Affine, labels: str, shape: tuple[int, ...], counters: Mapping[str, int]) -> Any:
    """The value of an index at every position of the labels."""
    grid = dict(zip(labels, np.indices(shape, sparse=True), strict=True)) if shape else {}
    fixed = index.substitute({n: Affine((), v) for n, v in counters.items()})
    return sum((k * grid[n] for n, k in fixed.terms), np.full(shape, fixed.const))


def _window(i: Window, a: Array, run: _Run) -> Array:
    shape = tuple(run.sizes[d] for d in i.dims)
    at = [_positions(e, i.labels, shape, run.counters) for e in i.index]
    inside = np.ones(shape, bool)
    for p, n in zip(at, a.shape, strict=True):
        inside &= (p >= 0) & (p < n)
    taken = a[tuple(np.clip(p, 0, n - 1) for p, n in zip(at, a.shape, strict=True))]
    return np.asarray(np.where(inside, taken, np.zeros((), a.dtype)))


def _fold(i: Fold, a: Array, run: _Run) -> Array:
    out = np.zeros([run.sizes[d] for d in i.dims], a.dtype)
    at = [_positions(e, i.operand.labels, a.shape, run.counters) for e in i.index]
    inside = np.ones(a.shape, bool)
    for p, n in zip(at, out.shape, strict=True):
        inside &= (p >= 0) & (p < n)
    np.add.at(out, tuple(p[inside] for p in at), a[inside])
    return out


def mask(i: Constant, sizes: Mapping[str, int]) -> Array:
    """The array of a Constant."""
    shape = tuple(sizes[d] for d in i.dims)
    grid = dict(zip(i.labels, np.indices(shape), strict=True)) if shape else {}
    keep: Any = np.ones(shape, bool)
    for c in i.guard:
        v = c.expr.const + sum((k * grid[n] for n, k in c.expr.terms), np.zeros(shape, int))
        keep = keep & ((v == 0) if c.equal else (v >= 0))
    return np.asarray(np.where(keep, float(i.value), i.outside))


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
            live |= read_by(i)
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
