"""A Program over whole arrays as NumPy: matrix products where they fit, views, loops, and buffers out of one block.

As for layered networks (`numpy_backend`), each instruction becomes calls that write one register each. What is
more: a product of two arrays is laid out as a (batched) matrix product, at the cost of the fewest copies
(`products`); a window over a padded array is a view; loops are printed as loops; and all buffers are parts of
one block of memory, placed so that those alive at different times share it (`memory`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product as combinations
from typing import Any

import numpy as np

from symbackprop.compile.layouts import Layout, Seen, ways_to_multiply
from symbackprop.compile.numpy_backend import Arg, Emitter, Register, Step
from symbackprop.compile.placed import (
    Placed,
    Row,
    c_strides,
    clip,
    fold_order,
    fold_slices,
    offsets_of,
    reach,
    size_of,
    slice_text,
    trimmed,
    within,
)
from symbackprop.compile.program import (
    LETTERS,
    Constant,
    Contract,
    Fold,
    Gather,
    Input,
    Instruction,
    Iota,
    Map,
    Operand,
    ProgramError,
    Reduce,
    Scan,
    Scatter,
    Stack,
    Stored,
    View,
    Window,
    Winner,
    read_by,
)
from symbackprop.indices import Affine, affine
from symbackprop.symbols import Expr


@dataclass
class ArrayEmitter(Emitter):
    """Steps so far. Sizes are known, so layouts are decided here."""

    sizes: dict[str, int] = field(default_factory=dict)
    copies: dict[str, list[Placed]] = field(default_factory=dict)  # of values, made for a product
    depth: int = 0  # of loops around
    bases: dict[str, str] = field(default_factory=dict)  # of a stack that loops have written to: its first name
    rows: dict[str, tuple[int, set[int]]] = field(default_factory=dict)  # of a stack: which rows loops write
    fixed: dict[str, Affine] = field(default_factory=dict)  # counters of loops that turn once
    wishes: dict[str, str] = field(default_factory=dict)  # letters of axes in the order in which a value should lie
    tables: dict[str, Any] = field(default_factory=dict)  # constants that are no arrays of numbers: slices, positions

    # ---------------------------------------------------------------- arguments

    def shape(self, dims: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.sizes[d] for d in dims)

    def placed(self, register: Register) -> Placed:
        shape = self.shape(register.dims)
        return Placed(register, "", "", shape, c_strides(shape))

    def value(self, name: str) -> Placed:
        found = self.values[name]
        assert isinstance(found, Placed)
        return found

    def write(
        self,
        form: str,
        dims: tuple[str, ...],
        args: Sequence[Arg],
        *,
        share: Sequence[int] = (),
        boolean: bool = False,
        out: Register | None = None,
    ) -> Placed:
        register = super().write(form, dims, args, share=share, boolean=boolean, out=out).register
        assert register is not None
        return self.placed(register)

    def turned(self, a: Placed, order: Sequence[int]) -> Placed:
        return a if list(order) == list(range(len(order))) else a.turned(order)

    def operand(self, o: Operand, target: str) -> Arg:
        a = self.value(o.name)
        present = "".join(c for c in target if c in o.labels)
        a = self.turned(a, [o.labels.index(c) for c in present])
        lead = next((n for n, c in enumerate(target) if c in present), len(target))
        tail = target[lead:]
        if present and tail != present:
            index = ", ".join(":" if c in present else "None" for c in tail)
            steps = iter(a.strides)
            sizes = iter(a.shape)
            a = replace(
                a,
                view=a.view + f"[{index}]",
                shape=tuple(next(sizes) if c in present else 1 for c in tail),
                strides=tuple(next(steps) if c in present else 0 for c in tail),
            )
        return a

    def outer(self, factors: Sequence[Expr], i: Map) -> None:
        return None

    def copy(self, a: Placed, dims: tuple[str, ...], out: Register | None = None) -> Placed:
        """The same in an array of its own, axes in order."""
        return self.write("copyto({out}, {0})", dims, (a,), out=out)

    # ---------------------------------------------------------------- instructions

    def run(self) -> None:
        self.count(self.program.instructions)
        for n, out in enumerate(self.program.outputs):
            self.uses[out.value] = self.uses.get(out.value, 0) + 1
            if out.role != "cost" and out.value not in self.pinned and self.dims[out.value]:
                self.pinned[out.value] = Register(self.dims[out.value], fixed=f"out{n}", written=False)
        self.sequence(self.program.instructions)

    def count(self, instructions: Sequence[Instruction]) -> None:
        for i in instructions:
            self.instructions[i.name] = i
            for n in read_by(i):
                self.uses[n] = self.uses.get(n, 0) + 1
            if isinstance(i, Scan):
                self.count(i.body)
                for s in i.stored:
                    self.note_rows(i, s)
            if isinstance(i, Fold):
                self.wishes[i.operand.name] = self.wish(i)

    def note_rows(self, i: Scan, s: Stored) -> None:
        """Remember which rows of a stack loops will write."""
        first = self.bases.setdefault(s.name, self.bases.get(s.base, s.base))
        if s.row.names <= {i.counter}:
            rows = self.rows.setdefault(first, (s.axis, set()))[1]
            rows |= {s.row.evaluate({i.counter: n}) for n in i.numbers}

    def wish(self, i: Fold) -> str:
        """How the operand of a fold should lie: what is passed on, then the offsets, then what moves with them."""
        dims = dict(zip(i.operand.labels, self.shape(self.dims[i.operand.name]), strict=True))
        counted = offsets_of(i, dims)
        moved = [c for e in i.index if len(e.terms) > 1 for c, _ in e.terms if c not in counted]
        passed = [c for c in i.operand.labels if c not in counted and c not in moved]
        order = [*passed, *counted, *moved]
        return "".join(LETTERS[i.operand.labels.index(c)] for c in order)

    def sequence(self, instructions: Sequence[Instruction]) -> None:
        for i in instructions:
            if i.name in self.program.meaning:
                self.note = i.name
            if isinstance(i, Scan):
                self.scan(i)
                continue
            out = self.pinned.get(i.name)
            found = self.instruction(i)
            if out is not None and found.register is not out and not isinstance(i, Input | Constant | Iota):
                found = self.copy(self.value_of(found), out.dims, out)
            self.values[i.name] = found
            self.note = ""

    def value_of(self, a: Arg) -> Placed:
        assert isinstance(a, Placed)
        return a

    def instruction(self, i: Instruction) -> Arg:
        dims, out = self.dims[i.name], self.pinned.get(i.name)
        match i:
            case Input(name):
                return self.placed(Register(dims, fixed=name, written=False))
            case Constant(name):
                self.masks[name] = i
                shape = self.shape(dims)
                return Placed(None, "", f"mask_{name}", shape, c_strides(shape))
            case Iota(name, dim):
                self.tables[f"places_{name}"] = np.arange(self.sizes[dim])
                return Placed(None, "", f"places_{name}", (self.sizes[dim],), (1,))
            case Map():
                return self.map(i, dims, out)
            case Contract():
                return self.product(i, dims, out)
            case Reduce():
                return self.reduction(i, dims, out)
            case View():
                return self.turned(self.value(i.operand.name), [i.operand.labels.index(c) for c in i.labels])
            case Window():
                return self.window(i, dims)
            case Fold():
                return self.fold(i, dims, out)
            case Gather():
                return self.gather(i, dims)
            case Scatter():
                return self.scatter(i, dims, out)
            case Winner():
                return self.winner(i, dims)
            case Stack():
                return self.stack(i, dims, out)
        raise ProgramError(f"the NumPy backend has no {type(i).__name__}")

    def map(self, i: Map, dims: tuple[str, ...], out: Register | None) -> Arg:
        """A scalar formula, its axes in the order in which its largest operand lies in memory."""
        labels = i.labels
        if out is None and i.name in self.wishes:
            labels = "".join(i.labels[LETTERS.index(c)] for c in self.wishes[i.name])
        elif out is None:
            for o in i.operands:
                a = self.value(o.name)
                if set(o.labels) == set(labels) and a.register is not None:
                    order = sorted(range(len(labels)), key=lambda n, a=a: -a.strides[n])  # type: ignore[misc]
                    labels = "".join(o.labels[n] for n in order)
                    break
        own = replace(i, labels=labels)
        types = tuple(dims[i.labels.index(c)] for c in labels)
        found = self.value_of(self.formula(own.formula, own, types, out))
        return self.turned(found, [labels.index(c) for c in i.labels]) if len(found.shape) == len(labels) else found

    def const(self, e: Expr | str) -> Arg:
        found = super().const(e)
        return Placed(None, "", found.name)

    # ---------------------------------------------------------------- products

    def product(self, i: Contract, dims: tuple[str, ...], out: Register | None) -> Arg:
        sizes = {c: n for o in i.operands for c, n in zip(o.labels, self.value(o.name).shape, strict=True)}
        order = i.labels
        if out is None and i.name in self.wishes:
            order = "".join(i.labels[LETTERS.index(c)] for c in self.wishes[i.name])
        fixed = out is not None or order != i.labels
        # An operand may be looked at where it lies, or where an earlier product copied it to.
        ways = [
            (w, (a, b))
            for a in self.seen_in(i.operands[0])
            for b in self.seen_in(i.operands[1])
            for w in ways_to_multiply(
                Seen(i.operands[0].labels, a.strides), Seen(i.operands[1].labels, b.strides), order, sizes, fixed
            )
        ]
        if not ways:
            return self.einsum(i, dims, out)
        layout, pair = min(ways, key=lambda w: w[0].cost)
        return self.matmul(i, layout, pair, sizes, out)

    def seen_in(self, o: Operand) -> list[Placed]:
        return [self.value(o.name), *self.copies.get(o.name, ())]

    def einsum(self, i: Contract, dims: tuple[str, ...], out: Register | None) -> Arg:
        spec = ",".join(o.labels for o in i.operands) + "->" + i.labels
        args = [self.value(o.name) for o in i.operands]
        given = ", ".join(f"{{{n}}}" for n in range(len(args)))
        flat = i.labels == "" and all(a.strides == c_strides(a.shape) for a in args)
        if flat and i.operands[0].labels == i.operands[-1].labels:
            return self.write("{out} = vdot({0}, {1})", dims, args, out=out)
        if not dims:
            return self.write(f"{{out}} = einsum('{spec}', {given})[()]", dims, args, out=out)
        if (rows := self.dots_of_rows(i)) is not None:
            return self.write("vecdot({0}, {1}, out={out})", dims, rows, out=out)
        return self.write(f"einsum('{spec}', {given}, out={{out}})", dims, args, out=out)

    def dots_of_rows(self, i: Contract) -> tuple[Placed, ...] | None:
        """The operands with what is summed as their last axis, where it lies side by side in both."""
        inner = "".join(c for c in i.operands[0].labels if c not in i.labels)
        found = []
        for o in i.operands:
            a = self.value(o.name)
            sizes = dict(zip(o.labels, a.shape, strict=True))
            if set(o.labels) != set(i.labels + inner):
                return None
            seen = Seen(o.labels, a.strides)
            if not seen.joins(inner, sizes) or seen.last(inner, sizes) != 1:
                return None
            a = self.turned(a, [o.labels.index(c) for c in i.labels + inner])
            if len(inner) > 1:
                shape = (*a.shape[: len(i.labels)], size_of(inner, sizes))
                a = replace(a, view=a.view + f".reshape({', '.join(map(str, shape))})", shape=shape, strides=())
            found.append(a)
        return tuple(found)

    def matmul(
        self, i: Contract, w: Layout, pair: tuple[Placed, Placed], sizes: Mapping[str, int], out: Register | None
    ) -> Arg:
        """A product of matrices (in batches), by the layout that was found best."""
        first, second = w.swapped, 1 - w.swapped
        left = self.matrix(i.operands[first], pair[first], w.batch, w.rows, w.inner, sizes)
        right = self.matrix(i.operands[second], pair[second], w.batch, w.inner, w.columns, sizes)
        order = w.batch + w.rows + w.columns
        by_label = {c: d for o in i.operands for c, d in zip(o.labels, self.dims[o.name], strict=True)}
        types = tuple(by_label[c] for c in order)
        direct = out is not None and order == i.labels
        register = out if direct and out is not None else Register(types)
        batch = [sizes[c] for c in w.batch]
        m, n = (size_of(g, sizes) for g in (w.rows, w.columns))
        shape = (*batch, m, n)
        target = self.placed(register)
        if target.shape != shape:
            target = replace(target, view=f".reshape({', '.join(map(str, shape))})", shape=shape)
        name = "dot" if not w.batch else "matmul"
        self.steps.append(Step(f"{name}({{0}}, {{1}}, {{2}})", register, (left, right, target), (), self.note))
        self.note = ""
        return self.turned(self.placed(register), [order.index(c) for c in i.labels])

    def matrix(self, o: Operand, a: Placed, batch: str, rows: str, columns: str, sizes: Mapping[str, int]) -> Placed:
        """An operand as matrices: axes of the batch (size 1 where it has none), rows, columns; copied where it must be."""
        own = "".join(c for c in batch if c in o.labels)
        order = own + rows + columns
        a = self.turned(a, [o.labels.index(c) for c in order])
        seen = Seen(order, a.strides)
        if not (seen.joins(rows, sizes) and seen.joins(columns, sizes) and seen.is_matrix(rows, columns, sizes)):
            by_label = dict(zip(o.labels, self.dims[o.name], strict=True))
            a = self.copy(a, tuple(by_label[c] for c in order))
            if not self.depth:
                back = self.turned(a, [order.index(c) for c in o.labels])
                self.copies.setdefault(o.name, []).append(back)
        # Missing axes on the left need no 1: they are broadcast.
        lead = next((n for n, c in enumerate(batch) if c in own), len(batch))
        shape = (*(sizes[c] if c in own else 1 for c in batch[lead:]), size_of(rows, sizes), size_of(columns, sizes))
        if a.shape != shape:
            a = replace(a, view=a.view + f".reshape({', '.join(map(str, shape))})", shape=shape, strides=())
        return a

    def reduction(self, i: Reduce, dims: tuple[str, ...], out: Register | None) -> Arg:
        labels, a = i.operand.labels, self.value(i.operand.name)
        sizes = dict(zip(labels, a.shape, strict=True))
        gone = "".join(c for c in labels if c not in i.labels)
        if i.kind == "sum" and dims and (found := self.sum_by_ones(i, a, gone, sizes, dims, out)) is not None:
            return found
        f = {"sum": "add", "max": "maximum", "prod": "multiply"}[i.kind]
        if dims and self.is_short(a, gone, labels, sizes):
            order = [*(labels.index(c) for c in gone), *(labels.index(c) for c in i.labels)]
            seen = self.turned(a, order)
            return self.write(f"taken_together({f}, {{0}}, {len(gone)}, {{out}})", dims, (seen,), out=out)
        kept = "".join(c for c in labels if c in i.labels)
        axis = "None" if len(gone) == len(labels) else str(tuple(labels.index(c) for c in gone))
        if not dims:
            return self.write(f"{{out}} = {f}.reduce({{0}}, {axis})", dims, (a,), out=out)
        if kept != i.labels:
            types = tuple(dims[i.labels.index(c)] for c in kept)
            found_ = self.write(f"{f}.reduce({{0}}, {axis}, None, {{out}})", types, (a,))
            return self.turned(found_, [kept.index(c) for c in i.labels])
        return self.write(f"{f}.reduce({{0}}, {axis}, None, {{out}})", dims, (a,), out=out)

    def is_short(self, a: Placed, gone: str, labels: str, sizes: Mapping[str, int]) -> bool:
        """Whether few entries are reduced to each of many, and lie next to each other: then whole slices are combined."""
        few = size_of(gone, sizes)
        beside = any(a.strides[labels.index(c)] == 1 for c in gone)
        return beside and few <= 32 and size_of(labels, sizes) >= 64 * few

    def sum_by_ones(
        self, i: Reduce, a: Placed, gone: str, sizes: Mapping[str, int], dims: tuple[str, ...], out: Register | None
    ) -> Arg | None:
        """A sum as a product with a vector of ones, which BLAS does several times as fast as add.reduce.

        The axes that vanish must be the last in memory, or the first; where there are both, the last go first.
        """
        labels = i.operand.labels
        order = "".join(sorted(labels, key=lambda c: -a.strides[labels.index(c)]))
        order = "".join(c for c in order if sizes[c] > 1) + "".join(c for c in order if sizes[c] == 1)
        inner = order.rstrip("".join(c for c in order if sizes[c] == 1))
        if not inner or not Seen(labels, a.strides).joins(inner, sizes) or a.strides[labels.index(inner[-1])] != 1:
            return None
        kept = "".join(c for c in inner if c not in gone)
        if kept != "".join(c for c in i.labels if sizes[c] > 1):
            return None
        tail = inner[len(inner.rstrip(gone)) :]
        head = inner[: len(inner) - len(inner.lstrip(gone))] if tail != inner else ""
        if set(head + tail + kept) != set(inner) or not head + tail:
            return None
        flat = self.turned(a, [labels.index(c) for c in order])
        m = size_of(kept, sizes)
        if tail:
            n = size_of(tail, sizes)
            rows = size_of(head, sizes) * m
            target = self.vector(rows, None if head else out, () if head else dims)
            self.times_ones(flat, (rows, n), target, n, last=True)
            flat = target
        if head:
            n = size_of(head, sizes)
            target = self.vector(m, out, dims)
            self.times_ones(flat, (n, m), target, n, last=False)
        assert target.register is not None
        return self.placed(target.register)

    def vector(self, n: int, out: Register | None, dims: tuple[str, ...]) -> Placed:
        """A register of the given dimensions (none: one of its own) seen as a vector of n."""
        register = out if out is not None else Register(dims or (self.sized(n),))
        a = self.placed(register)
        return a if a.shape == (n,) else replace(a, view=f".reshape({n})", shape=(n,), strides=(1,))

    def times_ones(self, a: Placed, shape: tuple[int, int], target: Placed, n: int, *, last: bool) -> None:
        self.tables.setdefault(f"ones_{n}", n)
        ones = Placed(None, "", f"ones_{n}", (n,), (1,))
        if a.shape != shape:
            a = replace(a, view=a.view + f".reshape({shape[0]}, {shape[1]})", shape=shape, strides=())
        pair = (a, ones) if last else (ones, a)
        self.steps.append(Step("dot({0}, {1}, {2})", target.register, (*pair, target), (), self.note))
        self.note = ""

    # ---------------------------------------------------------------- affine views

    def window(self, i: Window, dims: tuple[str, ...]) -> Arg:
        a = self.value(i.operand)
        i = replace(i, index=tuple(e.substitute(self.fixed) for e in i.index))
        sizes = dict(zip(i.labels, self.shape(dims), strict=True))
        many = [n for n, e in enumerate(i.index) if len([c for c, _ in e.terms if c in sizes]) > 1]
        used = [c for e in i.index for c, _ in e.terms if c in sizes]
        if many or len(set(used)) != len(used):
            return self.strided(i, a, sizes)
        inside = [clip(e, sizes, n) for e, n in zip(i.index, a.shape, strict=True)]
        if all(c is None for c in inside):
            return self.sliced(i.index, a, i.labels, sizes)
        # Beyond the ends it is 0: only what is inside is copied.
        target = self.write("{out}.fill(0)", dims, ())
        self.copy_inside(i.index, a, i.labels, sizes, target)
        return target

    def copy_inside(
        self, index: Sequence[Affine], a: Placed, labels: str, sizes: Mapping[str, int], target: Placed
    ) -> None:
        """Copy to the positions of `target` whose index is inside of `a`."""
        ranges = {c: (0, n) for c, n in sizes.items()}
        for e, n in zip(index, a.shape, strict=True):
            for c, k in e.terms:
                if c in sizes:
                    ranges[c] = within(k, e.const, n, sizes[c])
        low = {c: Affine(((c, 1),), r[0]) for c, r in ranges.items()}
        moved = [e.substitute(low) for e in index]
        fewer = {c: r[1] - r[0] for c, r in ranges.items()}
        if any(n <= 0 for n in fewer.values()):
            return
        source = self.sliced(moved, a, labels, fewer)
        text = ", ".join(":" if ranges[c] == (0, sizes[c]) else f"{ranges[c][0]}:{ranges[c][1]}" for c in labels)
        to = replace(target, view=f"[{text}]")
        self.steps.append(Step("copyto({1}, {0})", target.register, (source, to)))

    def sliced(self, index: Sequence[Affine], a: Placed, labels: str, sizes: Mapping[str, int]) -> Placed:
        """A view by numbers, counters and slices, its axes in the order of `labels`."""
        texts: list[str] = []
        kept: list[str] = []
        shape: list[int] = []
        strides: list[int] = []
        start = a.start
        for e, n, step in zip(index, a.shape, a.strides, strict=True):
            own = [(c, k) for c, k in e.terms if c in sizes]
            if not own:
                texts.append(str(e) if e.terms else str(e.const))
                start = None if e.terms or start is None else start + e.const * step
                continue
            ((c, k),) = own
            count = sizes[c]
            texts.append(slice_text(e, k, count, n))
            kept.append(c)
            shape.append(count)
            strides.append(step * k)
            start = None if len(e.terms) > 1 or start is None else start + e.const * step
        view = "" if all(t == ":" for t in texts) else f"[{', '.join(trimmed(texts))}]"
        if view and not kept:
            view = view[:-1] + ", ...]"
        seen = replace(a, view=a.view + view, shape=tuple(shape), strides=tuple(strides), start=start)
        return self.turned(seen, [kept.index(c) for c in labels])

    def strided(self, i: Window, a: Placed, sizes: Mapping[str, int]) -> Arg:
        """A view in which several labels move along one axis: windows, diagonals; padded with 0 first where they leave it."""
        low, high = [0] * len(a.shape), [0] * len(a.shape)
        for n, e in enumerate(i.index):
            least, most = reach(e, sizes)
            low[n], high[n] = max(0, -least), max(0, most + 1 - a.shape[n])
        counted = any(c not in sizes for e in i.index for c, _ in e.terms)
        if any(low) or any(high) or a.start is None or counted or not isinstance(a.register, Register):
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(a.shape)]
            wide = [p + n + q for p, n, q in zip(low, a.shape, high, strict=True)]
            types = tuple(self.sized(n) for n in wide)
            target = self.write("{out}.fill(0)", types, ())
            shifted = [Affine(((c, 1),), -p) for c, p in zip(letters, low, strict=True)]
            self.copy_inside(shifted, a, letters, dict(zip(letters, wide, strict=True)), target)
            a = target
        start = a.start or 0
        strides = dict.fromkeys(i.labels, 0)
        for e, p, step in zip(i.index, low, a.strides, strict=True):
            start += (e.const + p) * step
            for c, k in e.terms:
                strides[c] += k * step
        shape = tuple(sizes[c] for c in i.labels)
        steps = tuple(strides[c] for c in i.labels)
        view = f" windows {start} {shape} {steps}"
        return Placed(a.register, view, a.name, shape, steps, None)

    def sized(self, n: int) -> str:
        self.sizes[str(n)] = n
        return str(n)

    def fold(self, i: Fold, dims: tuple[str, ...], out: Register | None) -> Arg:
        """Add strided slices, one for each offset of the smaller labels (col2im)."""
        a = self.value(i.operand.name)
        sizes = dict(zip(i.operand.labels, a.shape, strict=True))
        counted = offsets_of(i, sizes)
        whole = self.shape(dims)
        pairs = [
            pair
            for at in combinations(*(range(sizes[c]) for c in counted))
            if (pair := fold_slices(i, dict(zip(counted, at, strict=True)), sizes, whole)) is not None
        ]
        kept = fold_order(i, counted)
        name = f"folds{len(self.tables) + 1}"
        self.tables[name] = tuple(pairs)
        a = self.turned(a, [i.operand.labels.index(c) for c in (*counted, *kept)])
        return self.write(f"folded({{0}}, {name}, {{out}})", dims, (a,), out=out)

    # ---------------------------------------------------------------- positions from data

    def gather(self, i: Gather, dims: tuple[str, ...]) -> Arg:
        table, positions = self.value(i.table.name), self.value(i.positions.name)
        shared = [c for c in i.table.labels if c in i.positions.labels]
        rest = [c for c in i.table.labels if c not in shared and c != i.label]
        own = [c for c in i.positions.labels if c not in shared]
        order = [*shared, *own, *rest]
        by_label = dict(zip(i.labels, dims, strict=True))
        types = tuple(by_label[c] for c in order)
        table = self.turned(table, [i.table.labels.index(c) for c in (*shared, i.label, *rest)])
        positions = self.turned(positions, [i.positions.labels.index(c) for c in (*shared, *own)])
        if not shared:
            found = self.write("take({0}, {1}, 0, {out}, 'clip')", types, (table, positions))
        else:
            n = len(shared) + len(own)
            grids = tuple(
                np.arange(self.sizes[by_label[c]]).reshape([-1 if k == m else 1 for m in range(n)])
                for k, c in enumerate(shared)
            )
            name = f"grid{len(self.tables) + 1}"
            self.tables[name] = grids
            found = self.write(f"copyto({{out}}, {{0}}[(*{name}, {{1}})])", types, (table, positions))
        return self.turned(found, [order.index(c) for c in i.labels])

    def scatter(self, i: Scatter, dims: tuple[str, ...], out: Register | None) -> Arg:
        """Rows added where positions are equal; an axis that positions and result share offsets the position."""
        a, positions = self.value(i.operand.name), self.value(i.positions.name)
        sizes = {c: n for o in i.operands for c, n in zip(o.labels, self.value(o.name).shape, strict=True)}
        kept = [c for c in i.positions.labels if c in i.labels]
        gone = [c for c in i.positions.labels if c not in i.labels]
        rest = [c for c in i.operand.labels if c not in i.positions.labels]
        by_label = dict(zip(i.labels, dims, strict=True))
        types = {c: d for o in i.operands for c, d in zip(o.labels, self.dims[o.name], strict=True)}
        order = [*kept, i.label, *rest]
        rows = [*kept, *gone]
        if set(rows) - set(i.operand.labels):
            raise ProgramError(f"scatter {i.name} adds what does not depend on {rows}")
        a = self.turned(a, [i.operand.labels.index(c) for c in (*rows, *rest)])
        if a.strides != c_strides(a.shape):
            a = self.copy(a, tuple(types[c] for c in (*rows, *rest)))
        positions = self.turned(positions, [i.positions.labels.index(c) for c in rows])
        count = self.sizes[i.dim]
        offsets = f"offsets{len(self.tables) + 1}"
        grid = np.arange(size_of("".join(kept), sizes)).reshape([sizes[c] for c in kept] + [1] * len(gone))
        self.tables[offsets] = grid * count
        direct = out is not None and order == list(i.labels)
        found = self.write(
            f"scattered({{0}}, {{1}}, {offsets}, {size_of(''.join(rows), sizes)}, {{out}})",
            tuple(by_label[c] for c in order),
            (a, positions),
            out=out if direct else None,
        )
        return self.turned(found, [order.index(c) for c in i.labels])

    def winner(self, i: Winner, dims: tuple[str, ...]) -> Arg:
        """The axis of the maximum comes first in memory, so that work goes along the others, which are longer."""
        axis = i.operand.labels.index(i.label)
        order = [axis, *(n for n in range(len(dims)) if n != axis)]
        seen = self.turned(self.value(i.operand.name), order)
        found = self.write("winners({0}, 0, {out})", tuple(dims[n] for n in order), (seen,))
        return self.turned(found, [order.index(n) for n in range(len(dims))])

    # ---------------------------------------------------------------- loops

    def stack(self, i: Stack, dims: tuple[str, ...], out: Register | None) -> Arg:
        form = "pass" if self.is_written(i, dims) else "{out}.fill(0)"
        target = self.write(form, dims, (), out=out)
        for name, place_ in i.pieces:
            piece = self.value(name)
            text = ", ".join(
                ":" if n == whole else f"{p}:{p + n}"
                for p, n, whole in zip(place_, piece.shape, target.shape, strict=True)
            )
            to = replace(target, view=f"[{text}]")
            self.steps.append(Step("copyto({1}, {0})", target.register, (piece, to)))
        return target

    def is_written(self, i: Stack, dims: tuple[str, ...]) -> bool:
        """Whether pieces and loops write every entry."""
        shape = self.shape(dims)
        if i.name not in self.rows:
            axes = [n for n in range(len(dims)) if any(self.value(p).shape[n] != shape[n] for p, _ in i.pieces)]
            if len(axes) != 1:
                return False
            axis, rows = axes[0], set[int]()
        else:
            axis, rows = self.rows[i.name][0], set(self.rows[i.name][1])
        for name, place_ in i.pieces:
            piece = self.value(name).shape
            if all(a == b for n, (a, b) in enumerate(zip(piece, shape, strict=True)) if n != axis):
                rows |= set(range(place_[axis], place_[axis] + piece[axis]))
        return rows == set(range(shape[axis]))

    def scan(self, i: Scan) -> None:
        for s in i.stored:
            self.values[s.name] = self.values[s.base]
        once = len(i.numbers) == 1
        if once:  # then its counter is a number, and views are the same at each call
            self.fixed[i.counter] = affine(i.first)
        else:
            numbers = f"{i.first}, {i.last + i.step}{', -1' if i.step < 0 else ''}"
            self.steps.append(Step(f"for {i.counter} in range({numbers}):", None, ()))
        inside = {b.name for b in i.body if not isinstance(b, Constant | Iota)}
        for s in i.stored:
            if s.value in inside and s.value not in self.pinned and self.dims[s.value]:
                self.pinned[s.value] = self.row(s)
        self.depth += not once
        self.sequence(i.body)
        self.depth -= not once
        for s in i.stored:
            row = self.pinned.get(s.value)
            whole = self.value(s.name).register
            if not isinstance(row, Row) or row.parent is not whole:
                own = self.row(s)
                self.copy(self.value(s.value), own.dims, own)
        if not once:
            self.steps.append(Step("end", None, ()))

    def row(self, s: Stored) -> Row:
        whole = self.value(s.name)
        assert whole.register is not None and not whole.view
        dims = whole.register.dims
        index = "[" + ":, " * s.axis + f"{s.row.substitute(self.fixed)}, ...]"
        return Row(dims[: s.axis] + dims[s.axis + 1 :], written=False, parent=whole.register, index=index)
