"""A Program as straight-line NumPy: `out=` buffers, operations in place, matrix products by `dot`.

Three steps: each instruction becomes calls that write one register each (`Emitter`), registers that are
never alive together share a buffer (`allocate`), and what is left is printed (`emit`). The text is

    def run(w1, ..., x, y, dw1, ..., w1_1, ..., u1, ..., c1, ...):

the caller's arrays, views of them, buffers and numbers: all are parameters, because nothing is reached
faster, or compiled faster in a long function, than a local name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from symbackprop.compile import kernels
from symbackprop.compile.program import (
    Array,
    Constant,
    Contract,
    Input,
    Instruction,
    Key,
    Map,
    Operand,
    Program,
    ProgramError,
    Reduce,
    View,
    axes,
    mask,
    scalar,
)
from symbackprop.symbols import ONE, ZERO, Add, Call, Compare, Div, Expr, Mul, Num, Param, Pow, Where

LIMIT = "limit"  # the largest argument that exp is given: consts may hold it beside expressions
LARGE_OUTER = 200_000  # from so many entries `einsum` writes an outer product as fast as `dot`, or up to twice as fast
UFUNCS = {"abs": "absolute"} | {
    n: n for n in ["exp", "expm1", "log", "log1p", "sqrt", "sign", "sin", "cos", "tanh", "minimum", "maximum"]
}
COMPARE = {
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
}
BY_NAME = frozenset({"minimum", "maximum"})  # NumPy wants their out= by name


@dataclass(eq=False, slots=True)
class Register:
    """Something that one call writes, or that is there before.

    Args:
        dims: The dimensions of its axes.
        fixed: The name of the caller's array behind it, if that is what it is.
    """

    dims: tuple[str, ...]
    boolean: bool = False
    fixed: str = ""
    written: bool = True  # whether it is ours to write over once nobody needs it
    buffer: str = ""


@dataclass(frozen=True, slots=True)
class Arg:
    """A register seen through a view (a suffix such as `.T`), or a constant by name."""

    register: Register | None
    view: str = ""
    name: str = ""


@dataclass(eq=False, slots=True)
class Step:
    """One call. `form` has {out} and {0}, {1}, ... for its arguments.

    Args:
        elementwise: Whether `out` may be the buffer of the arguments numbered in `may_share`.
    """

    form: str
    out: Register | None
    args: tuple[Arg, ...]
    may_share: tuple[int, ...] = ()
    note: str = ""


@dataclass
class Emitter:
    """Steps so far; values are arguments."""

    program: Program
    dims: Mapping[str, tuple[str, ...]]
    steps: list[Step] = field(default_factory=list)
    values: dict[str, Arg] = field(default_factory=dict)
    consts: dict[Expr | str, str] = field(default_factory=dict)
    masks: dict[str, Constant] = field(default_factory=dict)
    paths: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = field(default_factory=dict)
    ones: dict[str, str] = field(default_factory=dict)
    pinned: dict[str, Register] = field(default_factory=dict)
    instructions: dict[str, Instruction] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    note: str = ""

    # ---------------------------------------------------------------- arguments

    def const(self, e: Expr | str) -> Arg:
        return Arg(None, "", self.consts.setdefault(e, f"c{len(self.consts) + 1}"))

    def one_row(self, dim: str) -> Arg:
        return Arg(None, "", self.ones.setdefault(dim, f"ones{len(self.ones) + 1}"))

    def operand(self, o: Operand, target: str) -> Arg:
        """A value with its axes in the order of `target`, ready to broadcast against an array of those axes."""
        arg = self.values[o.name]
        present = "".join(c for c in target if c in o.labels)
        view = arg.view
        if present != o.labels:
            order = tuple(o.labels.index(c) for c in present)
            view += ".T" if len(order) == 2 else f".transpose{order}"
        # Missing axes on the left need no view; others do.
        lead = next((n for n, c in enumerate(target) if c in present), len(target))
        tail = target[lead:]
        if present and tail != present:
            view += "[" + ", ".join(":" if c in present else "None" for c in tail) + "]"
        return Arg(arg.register, view, arg.name)

    def write(
        self,
        form: str,
        dims: tuple[str, ...],
        args: Sequence[Arg],
        *,
        share: Sequence[int] = (),
        boolean: bool = False,
        out: Register | None = None,
    ) -> Arg:
        register = out if out is not None else Register(dims, boolean)
        self.steps.append(Step(form, register, tuple(args), tuple(share), self.note))
        self.note = ""
        return Arg(register)

    def ufunc(self, name: str, dims: tuple[str, ...], *args: Arg, out: Register | None = None) -> Arg:
        given = ", ".join(f"{{{i}}}" for i in range(len(args)))
        if not dims:
            return self.write(f"{{out}} = {name}({given})", dims, args, out=out)
        form = f"{name}({given}, out={{out}})" if name in BY_NAME else f"{name}({given}, {{out}})"
        return self.write(form, dims, args, share=range(len(args)), out=out)

    # ---------------------------------------------------------------- instructions

    def run(self) -> None:
        for i in self.program.instructions:
            self.instructions[i.name] = i
            for o in i.operands:
                self.uses[o.name] = self.uses.get(o.name, 0) + 1
        for n, out in enumerate(self.program.outputs):
            self.uses[out.value] = self.uses.get(out.value, 0) + 1
            if out.role != "cost" and out.value not in self.pinned and self.dims[out.value]:
                self.pinned[out.value] = Register(self.dims[out.value], fixed=f"out{n}", written=False)
        skipped = {i.operands[0].name for i in self.program.instructions if self.is_square_sum(i)}
        for i in self.program.instructions:
            if i.name in skipped and self.uses[i.name] == 1:
                continue
            if i.name in self.program.meaning or not i.name.startswith("t"):
                self.note = i.name
            self.values[i.name] = self.instruction(i)
            self.note = ""

    def instruction(self, i: Instruction) -> Arg:
        dims, out = self.dims[i.name], self.pinned.get(i.name)
        match i:
            case Input(name):
                return Arg(Register(dims, fixed=name, written=False))
            case Constant(name):
                self.masks[name] = i
                return Arg(None, "", f"mask_{name}")
            case View():
                return self.view(i)
            case Contract():
                return self.contract(i, dims, out)
            case Reduce():
                return self.reduce(i, dims, out)
            case Map():
                return self.formula(i.formula, i, dims, out)
        raise ProgramError(f"the NumPy backend has no {type(i).__name__}")

    def view(self, i: View) -> Arg:
        arg = self.values[i.operand.name]
        labels, fixed = i.operand.labels, i.fixed
        text = arg.view
        if any(f is not None for f in fixed):
            # With the dots it stays a view where nothing else is left of the axes.
            text += "[" + ", ".join(":" if f is None else str(f) for f in fixed) + ", ...]"
        kept = [c for c, f in zip(labels, fixed, strict=True) if f is None]
        repeated = next((c for c in kept if kept.count(c) > 1), None)
        if repeated is not None:
            a, b = (n for n, c in enumerate(kept) if c == repeated)
            text += f".diagonal(0, {a}, {b})"
            kept = [c for c in kept if c != repeated] + [repeated]
        if "".join(kept) != i.labels:
            order = tuple(kept.index(c) for c in i.labels)
            text += ".T" if len(order) == 2 else f".transpose{order}"
        return Arg(arg.register, text, arg.name)

    def contract(self, i: Contract, dims: tuple[str, ...], out: Register | None) -> Arg:
        if len(i.operands) == 2:
            a, b = i.operands
            shared = set(a.labels) & set(b.labels)
            free = [c for c in a.labels + b.labels if c not in shared]
            if len(shared) <= 1 and not shared & set(i.labels) and set(free) == set(i.labels) and len(free) <= 2:
                if max(len(a.labels), len(b.labels)) <= 2:
                    return self.dot(a, b, "".join(shared), i.labels, dims, out)
        spec = ",".join(o.labels for o in i.operands) + "->" + i.labels
        name = f"path{len(self.paths) + 1}"
        self.paths[name] = spec, tuple(self.dims[o.name] for o in i.operands)
        given = ", ".join(f"{{{n}}}" for n in range(len(i.operands)))
        args = [self.values[o.name] for o in i.operands]
        if not dims:
            return self.write(f"{{out}} = einsum('{spec}', {given}, optimize={name})", dims, args, out=out)
        return self.write(f"einsum('{spec}', {given}, out={{out}}, optimize={name})", dims, args, out=out)

    def dot(self, a: Operand, b: Operand, shared: str, labels: str, dims: tuple[str, ...], out: Register | None) -> Arg:
        """A product of two matrices or vectors, whichever way round the result wants it."""
        if labels and labels[0] in b.labels:
            a, b = b, a
        if len(labels) < 2 and len(a.labels) < len(b.labels):
            a, b = b, a  # matrix times vector reads better than the other way round
        if len(labels) == 2 or len(a.labels) < 2:
            left, right = self._ordered(a, shared, last=True), self._ordered(b, shared, last=False)
        elif a.labels[-1] == shared:
            left, right = self.values[a.name], self.values[b.name]
        else:
            left, right = self.values[b.name], self.values[a.name]
        if not shared:
            left, right = (
                Arg(left.register, left.view + "[:, None]", left.name),
                Arg(right.register, right.view + "[None]", right.name),
            )
        form = "dot({0}, {1}, {out})" if dims else "{out} = dot({0}, {1})"
        return self.write(form, dims, (left, right), out=out)

    def _ordered(self, o: Operand, shared: str, *, last: bool) -> Arg:
        arg = self.values[o.name]
        if len(o.labels) == 2 and (o.labels[1] == shared) != last:
            return Arg(arg.register, arg.view + ".T", arg.name)
        return arg

    def is_square_sum(self, i: Instruction) -> bool:
        """Whether it sums a product of two arrays of the same axes, or a square, over all axes."""
        if not isinstance(i, Reduce) or i.kind != "sum" or i.labels:
            return False
        m = self.instructions.get(i.operand.name)
        if not isinstance(m, Map):
            return False
        square = m.formula == Pow(Param("0"), Num(ONE.value * 2))
        plain = m.formula == Mul((Param("0"), Param("1"))) and len(m.operands) == 2
        return (square or plain) and len({o.labels for o in m.operands}) == 1

    def reduce(self, i: Reduce, dims: tuple[str, ...], out: Register | None) -> Arg:
        labels = i.operand.labels
        gone = [n for n, c in enumerate(labels) if c not in i.labels]
        if self.is_square_sum(i) and self.uses[i.operand.name] == 1:
            m = self.instructions[i.operand.name]
            a, b = m.operands[0], m.operands[-1]
            return self.write("{out} = vdot({0}, {1})", dims, (self.values[a.name], self.values[b.name]), out=out)
        arg = self.values[i.operand.name]
        if "".join(c for c in labels if c in i.labels) != i.labels:
            raise ProgramError(f"reduction {i.name} reorders its axes")
        f = "add" if i.kind == "sum" else "maximum"
        if i.kind == "sum" and len(labels) == 2 and len(gone) == 1:
            ones = self.one_row(self.dims[i.operand.name][gone[0]])
            pair = (ones, arg) if gone == [0] else (arg, ones)
            return self.write("dot({0}, {1}, {out})", dims, pair, out=out)
        axis = "None" if len(gone) == len(labels) else str(gone[0]) if len(gone) == 1 else str(tuple(gone))
        if not dims:
            return self.write(f"{{out}} = {f}.reduce({{0}}, {axis})", dims, (arg,), out=out)
        return self.write(f"{f}.reduce({{0}}, {axis}, None, {{out}})", dims, (arg,), out=out)

    # ---------------------------------------------------------------- elementwise

    def formula(self, e: Expr, i: Map, dims: tuple[str, ...], out: Register | None = None) -> Arg:
        """The steps of a scalar formula; its last step writes `out`."""

        def go(x: Expr) -> Arg:
            return self.formula(x, i, dims)

        match e:
            case Param(name) if name.isdigit():
                return self.operand(i.operands[int(name)], i.labels)
            case Num() | Param():
                return self.const(e)
            case Add(terms):
                return self.sum([self.signed(t, i, dims) for t in terms], dims, out)
            case Mul(factors):
                numbers = tuple(f for f in factors if _number(f))
                others = sorted((f for f in factors if not _number(f)), key=lambda f: self.width(f, i))
                c = _joined(numbers)
                if c == ONE and (vectors := self.outer(others, i)) is not None:
                    rows, columns = (self.program.sizes.get(d, 0) for d in dims)
                    if rows * columns >= LARGE_OUTER:
                        return self.write("einsum('a,b->ab', {0}, {1}, out={out})", dims, vectors, out=out)
                    column, row = vectors
                    column, row = (
                        replace(column, view=column.view + "[:, None]"),
                        replace(row, view=row.view + "[None]"),
                    )
                    return self.write("dot({0}, {1}, {out})", dims, (column, row), out=out)
                args = [go(f) for f in others]
                while len(args) > 1:
                    last = len(args) == 2 and c == ONE
                    if c != ONE and len(args) == 2:
                        args[0], c = self.scale(args[0], c, i, dims, self.width(others[0], i)), ONE
                        continue
                    args[:2] = [self.ufunc("multiply", dims, *args[:2], out=out if last else None)]
                if c == ONE:
                    return args[0]
                if c == Num(-ONE.value):
                    return self.ufunc("negative", dims, args[0], out=out)
                return self.ufunc("multiply", dims, args[0], self.const(c), out=out)
            case Div(top, bottom):
                if top == ONE:
                    return self.ufunc("reciprocal", dims, go(bottom), out=out)
                return self.ufunc("divide", dims, go(top), go(bottom), out=out)
            case Pow(base, exponent):
                return self.power(go(base), exponent, i, dims, out)
            case Call("sigmoid", (z,)):
                return self.sigmoid(go(z), dims, out)
            case Call("softplus", (z,)):
                u = go(z)
                t = self.ufunc("exp", dims, self.ufunc("negative", dims, self.ufunc("absolute", dims, u)))
                t = self.ufunc("log1p", dims, t)
                return self.ufunc("add", dims, t, self.ufunc("maximum", dims, u, self.const(ZERO)), out=out)
            case Call("erf", (z,)):
                if not dims:
                    return self.write("{out} = erf({0})", dims, (go(z),), out=out)
                return self.write("erf({0}, {out})", dims, (go(z),), share=(0,), out=out)
            case Call(name, arguments):
                return self.ufunc(UFUNCS[name], dims, *map(go, arguments), out=out)
            case Where(Compare(op, left, right), then, other):
                return self.where(op, go(left), go(right), go(then), go(other), dims, out)
        raise ProgramError(f"the NumPy backend has no {e}")

    def outer(self, factors: Sequence[Expr], i: Map) -> tuple[Arg, Arg] | None:
        """The two vectors, of rows and of columns, where a product of factors is their outer product."""
        if len(i.labels) != 2 or len(factors) != 2:
            return None
        found: dict[str, Operand] = {}
        for f in factors:
            if not isinstance(f, Param) or len(i.operands[int(f.name)].labels) != 1:
                return None
            found[i.operands[int(f.name)].labels] = i.operands[int(f.name)]
        if set(found) != set(i.labels):
            return None
        rows, columns = (self.values[found[c].name] for c in i.labels)
        return rows, columns

    def width(self, e: Expr, i: Map) -> int:
        """How many axes of the result an expression has: small things are multiplied first."""
        if isinstance(e, Param):
            return len(i.operands[int(e.name)].labels) if e.name.isdigit() else 0
        return max((self.width(p, i) for p in e.parts), default=0)

    def scale(self, a: Arg, c: Expr, i: Map, dims: tuple[str, ...], width: int) -> Arg:
        own = dims
        if width < len(dims) and a.register is not None and not a.view:
            own = a.register.dims
        if c == Num(-ONE.value):
            return self.ufunc("negative", own, a)
        return self.ufunc("multiply", own, a, self.const(c))

    def signed(self, t: Expr, i: Map, dims: tuple[str, ...]) -> tuple[int, Arg]:
        """A term of a sum as a sign and its size."""
        if isinstance(t, Mul) and isinstance(t.factors[0], Num) and t.factors[0].value < 0:
            rest = _product((Num(-t.factors[0].value), *t.factors[1:]))
            return -1, self.formula(rest, i, dims)
        if isinstance(t, Num) and t.value < 0:
            return -1, self.const(Num(-t.value))
        return 1, self.formula(t, i, dims)

    def sum(self, terms: Sequence[tuple[int, Arg]], dims: tuple[str, ...], out: Register | None) -> Arg:
        first = next((n for n, (s, a) in enumerate(terms) if s > 0 and a.register is not None), None)
        if first is None:
            first = next((n for n, (s, _) in enumerate(terms) if s > 0), 0)
        sign, acc = terms[first]
        rest = [t for n, t in enumerate(terms) if n != first]
        if sign < 0:
            acc = self.ufunc("negative", dims, acc)
        for n, (s, a) in enumerate(rest):
            last = n == len(rest) - 1
            acc = self.ufunc("add" if s > 0 else "subtract", dims, acc, a, out=out if last else None)
        return acc

    def power(self, base: Arg, exponent: Expr, i: Map, dims: tuple[str, ...], out: Register | None) -> Arg:
        n = exponent.value if isinstance(exponent, Num) else None
        if n == 2:
            return self.ufunc("square", dims, base, out=out)
        if n == 3:
            return self.ufunc("multiply", dims, self.ufunc("square", dims, base), base, out=out)
        if n == -1:
            return self.ufunc("reciprocal", dims, base, out=out)
        if n is not None and n * 2 == 1:
            return self.ufunc("sqrt", dims, base, out=out)
        return self.ufunc("power", dims, base, self.formula(exponent, i, dims), out=out)

    def sigmoid(self, z: Arg, dims: tuple[str, ...], out: Register | None) -> Arg:
        """1/(1 + exp(-z)), -z cut off where exp would overflow.

        Where z has just become p + b with b of fewer axes, -z is (-b) - p: the sign costs one small step.
        """
        s = self.steps[-1] if self.steps else None
        b = s.args[1].register if s is not None and len(s.args) == 2 else None
        if (
            s is not None
            and s.form == "add({0}, {1}, {out})"
            and s.out is z.register
            and not z.view
            and b is not None
            and not s.args[1].view
            and len(b.dims) < len(dims)
            and self.only_use(z)
        ):
            self.steps.pop()
            self.note = s.note
            minus = self.ufunc("negative", b.dims, s.args[1])
            t = self.ufunc("subtract", dims, minus, s.args[0])
        else:
            t = self.ufunc("negative", dims, z)
        t = self.ufunc("minimum", dims, t, self.const(LIMIT))
        t = self.ufunc("add", dims, self.ufunc("exp", dims, t), self.const(ONE))
        return self.ufunc("reciprocal", dims, t, out=out)

    def only_use(self, z: Arg) -> bool:
        """Whether the value last computed is used once, and is no output."""
        name = next((n for n, a in reversed(self.values.items()) if a.register is z.register), None)
        return name is not None and self.uses[name] == 1 and name not in self.pinned

    def where(
        self, op: str, left: Arg, right: Arg, then: Arg, other: Arg, dims: tuple[str, ...], out: Register | None
    ) -> Arg:
        one, zero = self.consts.get(ONE), self.consts.get(ZERO)
        if not dims:
            return self.write(
                "{out} = {3} if " + "{0} " + op + " {1} else {2}", dims, (left, right, other, then), out=out
            )
        if then.register is None and other.register is None and (then.name, other.name) == (one, zero):
            return self.ufunc(COMPARE[op], dims, left, right, out=out)
        mask_ = self.write(f"{COMPARE[op]}({{0}}, {{1}}, {{out}})", dims, (left, right), boolean=True)
        return self.write("where {out} {0} {1} {2}", dims, (other, then, mask_), share=(0,), out=out)


def _number(e: Expr) -> bool:
    match e:
        case Num():
            return True
        case Param(name):
            return not name.isdigit()
        case _:
            return bool(e.parts) and all(map(_number, e.parts))


def _joined(numbers: tuple[Expr, ...]) -> Expr:
    return ONE if not numbers else numbers[0] if len(numbers) == 1 else Mul(numbers)


def _product(factors: tuple[Expr, ...]) -> Expr:
    kept = tuple(f for f in factors if f != ONE)
    return kept[0] if len(kept) == 1 else Mul(kept) if kept else ONE


# ---------------------------------------------------------------- buffers


def allocate(steps: Sequence[Step]) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Give every register a buffer; two share one where they are never alive together, or where a step works in place."""
    last: dict[int, int] = {}
    for n, s in enumerate(steps):
        for a in s.args:
            if a.register is not None:
                last[id(a.register)] = n
    free: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    buffers: dict[str, tuple[tuple[str, ...], bool]] = {}
    serial = 0
    for n, s in enumerate(steps):
        out = s.out
        dying = {id(a.register): a.register for a in s.args if a.register is not None and last[id(a.register)] == n}
        mine = {k: r for k, r in dying.items() if r.written and r.dims and r is not out}
        if out is not None and out.fixed:
            out.buffer = out.fixed
        elif out is not None and not out.dims:
            serial += 1
            out.buffer = f"t{serial}"
        elif out is not None and not out.buffer:
            for k in s.may_share:
                r = s.args[k].register
                if r is not None and id(r) in mine and r.dims == out.dims and r.boolean == out.boolean:
                    if not s.args[k].view and not any(a.view for a in s.args if a.register is r):
                        out.buffer = r.buffer
                        del mine[id(r)]
                        break
            if not out.buffer:
                pool = free.get((out.dims, out.boolean))
                if pool:
                    out.buffer = pool.pop()
                else:
                    out.buffer = f"u{len(buffers) + 1}"
                    buffers[out.buffer] = (out.dims, out.boolean)
        for r in mine.values():
            free.setdefault((r.dims, r.boolean), []).append(r.buffer)
    return buffers


# ---------------------------------------------------------------- text


@dataclass(frozen=True)
class Emitted:
    """The source of a program and what a plan needs to know.

    Args:
        inputs: The arrays that `run` reads; after them it takes those that it writes, `outputs`,
            then views of both (`arrays_seen_as`), and what a plan has: buffers, numbers, and views of buffers.
    """

    source: str
    program: Program
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[Key, tuple[str, ...]], ...]
    buffers: tuple[tuple[tuple[str, ...], bool], ...]
    consts: tuple[Expr | str, ...]
    masks: tuple[Constant, ...]
    ones: tuple[str, ...]
    paths: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    run: Callable[..., Any]
    arrays_seen_as: Callable[..., tuple[Array, ...]]
    buffers_seen_as: Callable[..., tuple[Array, ...]]

    def own(self, sizes: Mapping[str, int], dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """New buffers, and numbers, for these sizes and this dtype."""
        with np.errstate(all="ignore"):
            numbers = [
                np.array(np.log(np.finfo(dtype).max) - 1 if c == LIMIT else scalar(_expr(c), sizes), dtype)
                for c in self.consts
            ]
        buffers = [np.empty([sizes[d] for d in dims], bool if b else dtype) for dims, b in self.buffers]
        masks = [mask(m, sizes).astype(dtype) for m in self.masks]
        ones = [np.ones(sizes[d], dtype) for d in self.ones]
        paths = [
            np.einsum_path(spec, *(np.broadcast_to(dtype.type(0), [sizes[d] for d in ds]) for ds in dims))[0]
            for spec, dims in self.paths
        ]
        own = (*buffers, *numbers, *masks, *ones, *paths)
        return (*own, *self.buffers_seen_as(*own))


def _expr(c: Expr | str) -> Expr:
    assert isinstance(c, Expr)
    return c


def emit(program: Program, describe: Callable[[str], str] | None = None) -> Emitted:
    """NumPy source for a program, compiled.

    Args:
        describe: The comment for a named value; None: its name.
    """
    e = Emitter(program, axes(program))
    e.run()
    copies: list[Step] = []
    outputs: list[tuple[Key, tuple[str, ...]]] = []
    names: list[str] = []
    cost: Arg | None = None
    seen: set[str] = set()
    for n, o in enumerate(program.outputs):
        if o.role == "cost":
            cost = e.values[o.value]
            continue
        outputs.append((o.key, e.dims[o.value]))
        names.append(f"out{n}")
        register = e.pinned.get(o.value)
        if register is not None and register.fixed == f"out{n}" and e.values[o.value].register is register:
            if o.value not in seen and not e.values[o.value].view:
                seen.add(o.value)
                continue
        own = Register(e.dims[o.value], fixed=f"out{n}", written=False)
        copies.append(Step("copyto({out}, {0})", own, (e.values[o.value],)))
    if cost is not None:
        copies.append(Step("return {0}", None, (cost,)))
    steps = [*e.steps, *copies]
    buffers = allocate(steps)
    for s in steps:
        for a in s.args:
            if a.register is not None and a.register.fixed:
                a.register.buffer = a.register.fixed
    given = {i.name for i in program.inputs}
    count = Counter(o.value for o in program.outputs)
    readable = {
        f"out{n}": o.value if o.value in program.meaning and o.value not in given and count[o.value] == 1 else f"out{n}"
        for n, o in enumerate(program.outputs)
    }
    views: dict[tuple[str, str], str] = {}

    def show(a: Arg) -> str:
        base = a.register.buffer if a.register is not None else a.name
        base = readable.get(base, base)
        if not a.view:
            return base
        if a.register is not None and not a.register.dims:
            return base
        return views.setdefault((base, a.view), f"{base}_{len(views) + 1}")

    body: list[str] = []
    for s in steps:
        target = "" if s.out is None else readable.get(s.out.buffer, s.out.buffer)
        args = [show(a) for a in s.args]
        if s.form.startswith("where "):
            other, then, where = args
            lines = [] if other == target else [f"copyto({target}, {other})"]
            lines.append(f"copyto({target}, {then}, 'same_kind', {where})")
        else:
            lines = [s.form.format(*args, out=target)]
        if s.note:
            lines[0] = f"{lines[0]:<44}  # {describe(s.note) if describe is not None else s.note}"
        body += lines
    # Results in the order of their families and layers, whatever the order in which they are computed.
    family_order = {f: n for n, f in enumerate(dict.fromkeys(k[0] for k, _ in outputs))}
    order = sorted(range(len(outputs)), key=lambda n: (family_order[outputs[n][0][0]], outputs[n][0][1]))
    outputs, names = [outputs[n] for n in order], [names[n] for n in order]
    arrays = [*(i.name for i in program.inputs), *(readable[n] for n in names)]
    taken = [*buffers, *e.consts.values(), *(f"mask_{n}" for n in e.masks), *e.ones.values(), *e.paths]
    caller = frozenset(arrays)
    views_of = [(v, b + text) for (b, text), v in views.items() if b in caller]
    own_views = [(v, b + text) for (b, text), v in views.items() if b not in caller]
    source = "".join(
        (
            function_text("arrays_seen_as", arrays, [f"return ({''.join(t + ', ' for _, t in views_of)})"]),
            function_text("buffers_seen_as", taken, [f"return ({''.join(t + ', ' for _, t in own_views)})"]),
            function_text(
                "run", [*arrays, *(v for v, _ in views_of), *taken, *(v for v, _ in own_views)], body or ["pass"]
            ),
        )
    )
    space: dict[str, Any] = {n: getattr(np, n) for n in USED} | {"erf": kernels.erf}
    exec(compile(source, "<symbackprop>", "exec"), space)  # our own text: names and numbers only
    return Emitted(
        source,
        program,
        program.inputs,
        tuple(outputs),
        tuple(buffers.values()),
        tuple(e.consts),
        tuple(e.masks.values()),
        tuple(e.ones),
        tuple(e.paths.values()),
        space["run"],
        space["arrays_seen_as"],
        space["buffers_seen_as"],
    )


def function_text(name: str, parameters: Sequence[str], body: Sequence[str]) -> str:
    signature, line = [f"def {name}("], "   "
    for p in parameters:
        if len(line) + len(p) > 110:
            signature.append(line)
            line = "   "
        line += f" {p},"
    return "\n".join([*signature, line, "):", *("    " + b for b in body)]) + "\n\n\n"


USED = (
    *("dot", "vdot", "einsum", "empty", "copyto", "add", "subtract", "multiply", "divide", "negative", "reciprocal"),
    *("square", "power"),
    *UFUNCS.values(),
    *COMPARE.values(),
)
