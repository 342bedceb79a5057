"""Programs over whole arrays as source text, compiled: one function, or one for a part and a loop over the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from symbackprop.compile import kernels
from symbackprop.compile.memory import Block, place
from symbackprop.compile.numpy_arrays import ArrayEmitter
from symbackprop.compile.numpy_backend import USED, Arg, Register, Step, function_text
from symbackprop.compile.placed import Row
from symbackprop.compile.program import Array, Constant, Input, Program, all_axes, mask, scalar
from symbackprop.compile.tiles import Tile, choose
from symbackprop.symbols import Expr


@dataclass(frozen=True)
class ArrayCode:
    """The source of a program over whole arrays, and what a plan needs.

    Args:
        inputs: The arrays that `run` reads; after them it takes those that it writes, one for each of `outputs`.
        outputs: For each, the family, whether it is the gradient by it, and the shape.
    """

    source: str
    program: Program
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    blocks: tuple[Block, ...]
    length: tuple[int, int]
    consts: tuple[Expr | str, ...]
    masks: tuple[Constant, ...]
    tables: tuple[Any, ...]
    ones: tuple[int, ...]
    tiles: tuple[Tile, ...]
    parts: tuple[tuple[int, ...], ...]
    run: Callable[..., Any]
    arrays_seen_as: Callable[..., tuple[Array, ...]]
    buffers_seen_as: Callable[..., tuple[Array, ...]]

    def size(self, dim: str) -> int:
        """The size of a dimension, whole."""
        return next((t.size for t in self.tiles if t.dim == dim), self.program.sizes[dim])

    def shape(self, i: Input) -> tuple[int, ...]:
        return tuple(self.size(d) for d in i.dims)

    def arguments(self, arrays: Sequence[Array], results: Sequence[Array], own: tuple[Any, ...]) -> tuple[Any, ...]:
        """Everything that `run` takes; where it works part by part, it looks at the parts itself."""
        given = (*arrays, *results)
        return (*given, *own) if self.tiles else (*given, *self.arrays_seen_as(*given), *own)

    def own(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """New buffers, and numbers, for this dtype."""
        sizes = self.program.sizes
        with np.errstate(all="ignore"):
            numbers = [
                np.array(np.log(np.finfo(dtype).max) - 1 if isinstance(c, str) else scalar(c, sizes), dtype)
                for c in self.consts
            ]
        floats, flags = np.empty(self.length[0], dtype), np.empty(self.length[1], bool)
        buffers = [(flags if b.boolean else floats)[b.start : b.start + b.length].reshape(b.shape) for b in self.blocks]
        masks = [mask(m, sizes).astype(dtype) for m in self.masks]
        ones = [np.ones(n, dtype) for n in self.ones]
        own = (*buffers, *numbers, *masks, *ones, *self.tables)
        parts = [np.empty(shape, dtype) for shape in self.parts]
        return (*parts, *own, *self.buffers_seen_as(*own))


def emit_arrays(program: Program, describe: Callable[[str], str] | None = None) -> ArrayCode:
    """NumPy source for a program over whole arrays, compiled; part by part where its buffers would not stay in the cache.

    Args:
        describe: The comment for a named value; None: its name.
    """
    code = emit_whole(program, (), describe)
    tiles = choose(program, code.length[0])
    return emit_whole(program, tiles, describe) if tiles else code


def emit_whole(program: Program, tiles: tuple[Tile, ...], describe: Callable[[str], str] | None) -> ArrayCode:
    """The code for a program on parts of the axes that are cut."""
    whole = dict(program.sizes)
    program = replace(program, sizes={**program.sizes, **{t.dim: t.part for t in tiles}})
    sizes = dict(program.sizes)
    dims = all_axes(program)
    e = ArrayEmitter(program, dims, sizes=sizes)
    e.run()
    cost = None
    outputs: list[tuple[str, str, tuple[int, ...]]] = []
    names: list[str] = []
    seen: set[str] = set()
    for n, o in enumerate(program.outputs):
        if o.role == "cost":
            cost = e.values[o.value]
            continue
        outputs.append((o.key[0], o.role, tuple(whole[d] for d in dims[o.value])))
        names.append(f"out{n}")
        register = e.pinned.get(o.value)
        if register is not None and register.fixed == f"out{n}" and e.values[o.value].register is register:
            if o.value not in seen and not e.values[o.value].view:
                seen.add(o.value)
                continue
        own = Register(dims[o.value], fixed=f"out{n}", written=False)
        e.steps.append(Step("copyto({out}, {0})", own, (e.values[o.value],)))
    if cost is not None:
        e.steps.append(Step("return {0}", None, (cost,)))
    blocks, length = place(e.steps, lambda r: tuple(sizes[d] for d in r.dims))
    text = Text(e, [i.name for i in program.inputs], names, [b.name for b in blocks], describe)
    results = [o for o in program.outputs if o.role != "cost"]
    cut = {t.dim for t in tiles}
    summed = [n for n, o in zip(names, results, strict=True) if not cut <= set(dims[o.value])]
    axes_of = [dims[i.name] for i in program.inputs] + [dims[o.value] for o in results]
    source = text.source("tile" if tiles else "run")
    if tiles:
        source += driver(text.inputs, names, summed, axes_of, tiles, cost is not None)
    space: dict[str, Any] = {n: getattr(np, n) for n in USED} | dict(kernels.ARRAY_FUNCTIONS)
    space |= {n: getattr(np, n) for n in ("take", "matmul")} | {"erf": kernels.erf}
    exec(compile(source, "<symbackprop>", "exec"), space)  # our own text: names and numbers only
    ones = {n: v for n, v in e.tables.items() if n.startswith("ones_")}
    return ArrayCode(
        source,
        program,
        program.inputs,
        tuple(outputs),
        tuple(blocks),
        length,
        tuple(e.consts),
        tuple(e.masks.values()),
        tuple(v for n, v in e.tables.items() if n not in ones),
        tuple(ones.values()),
        tiles,
        tuple(tuple(sizes[d] for d in dims[o.value]) for n, o in zip(names, results, strict=True) if n in summed),
        space["run"],
        space["arrays_seen_as"],
        space["buffers_seen_as"],
    )


@dataclass
class Text:
    """The steps of an emitter as source text."""

    emitter: ArrayEmitter
    inputs: list[str]
    names: list[str]
    buffers: list[str]
    describe: Callable[[str], str] | None
    views: dict[tuple[str, str], str] = field(default_factory=dict)
    local: list[dict[tuple[str, str], str]] = field(default_factory=list)
    serial: int = 0

    def source(self, name: str) -> str:
        e = self.emitter
        body = self.body(e.steps)
        ones = [n for n in e.tables if n.startswith("ones_")]
        own = [
            *self.buffers,
            *e.consts.values(),
            *(f"mask_{n}" for n in e.masks),
            *ones,
            *(n for n in e.tables if n not in ones),
        ]
        arrays = [*self.inputs, *self.names]
        caller = frozenset(arrays)
        of_arrays = [(v, seen_text(b, t)) for (b, t), v in self.views.items() if b in caller]
        of_buffers = [(v, seen_text(b, t)) for (b, t), v in self.views.items() if b not in caller]
        parameters = [*arrays, *(v for v, _ in of_arrays), *own, *(v for v, _ in of_buffers)]
        return "".join(
            (
                function_text("arrays_seen_as", arrays, _returned(of_arrays)),
                function_text("buffers_seen_as", own, _returned(of_buffers)),
                function_text(name, parameters, body or ["pass"]),
            )
        )

    def body(self, steps: Sequence[Step]) -> list[str]:
        lines: list[str] = []
        for s in steps:
            pad = "    " * len(self.local)
            if s.form.startswith("for "):
                lines.append(pad + s.form)
                self.local.append({})
                continue
            if s.form == "end":
                self.local.pop()
                continue
            if s.form == "pass":  # a register begins to live
                continue
            before: list[str] = []
            args = [self.show(a, before) for a in s.args]
            target = "" if s.out is None else self.show(Arg(s.out), before)
            if s.form.startswith("where "):
                other, then, where = args
                calls = [] if other == target else [f"copyto({target}, {other})"]
                calls.append(f"copyto({target}, {then}, 'same_kind', {where})")
            else:
                calls = [s.form.format(*args, out=target)]
            if s.note:
                comment = s.note.rstrip("_") if self.describe is None else " ".join(self.describe(s.note).split())
                calls[0] = f"{calls[0]:<44}  # {comment}"
            lines += [pad + line for line in (*before, *calls)]
        return lines

    def fresh(self, start: str) -> str:
        """A name that nothing else has."""
        while True:
            self.serial += 1
            if f"{start}{self.serial}" not in self.inputs:
                return f"{start}{self.serial}"

    def show(self, a: Arg, before: list[str]) -> str:
        base, view = a.name, a.view
        r = a.register
        if isinstance(r, Row):
            assert r.parent is not None
            base, view = r.parent.buffer, r.index + view
        elif r is not None:
            base = r.buffer
            if not r.dims:
                return base
        if not view:
            return base
        if not self.local or not any(f"i{n}" in words(view) for n in range(1, 1000) if f"i{n}" in view):
            if (base, view) not in self.views:
                self.views[base, view] = self.fresh(f"{base}_")
            return self.views[base, view]
        for scope in self.local:
            if (base, view) in scope:
                return scope[base, view]
        name = self.fresh(f"{base}_at")
        self.local[-1][base, view] = name
        before.append(f"{name} = {seen_text(base, view)}")
        return name


def driver(
    inputs: Sequence[str],
    outputs: Sequence[str],
    summed: Sequence[str],
    dims: Sequence[Sequence[str]],
    tiles: Sequence[Tile],
    cost: bool,
) -> str:
    """The loops over parts of the axes that are cut."""
    counters = {t.dim: f"i{n + 1}" for n, t in enumerate(tiles)}
    parts = {t.dim: t.part for t in tiles}

    def part(name: str, own: Sequence[str]) -> str:
        cut = [f"{counters[d]}:{counters[d]}+{parts[d]}" for d in own if d in counters]
        return f"{name}[{', '.join(cut)}]" if cut else name

    seen = {n: part(n, d) for n, d in zip([*inputs, *outputs], dims, strict=True)}
    given = [f"part_{n}" if n in summed else text for n, text in seen.items()]
    body = [f"{n}.fill(0)" for n in summed] + (["cost = 0"] if cost else [])
    pad = ""
    for t in tiles:
        body.append(f"{pad}for {counters[t.dim]} in range(0, {t.size}, {t.part}):")
        pad += "    "
    body.append(f"{pad}given = ({', '.join(given)},)")
    body.append(f"{pad}{'cost += ' if cost else ''}tile(*given, *arrays_seen_as(*given), *own)")
    body += [f"{pad}add({seen[n]}, part_{n}, {seen[n]})" for n in summed]
    body += ["return cost"] if cost else []
    return function_text("run", [*inputs, *outputs, *(f"part_{n}" for n in summed), "*own"], body)


def words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in text).split())


def seen_text(base: str, view: str) -> str:
    """A view as text; windows are a call."""
    _head, found, rest = view.partition(" windows ")
    if not found:
        return base + view
    start, _, more = rest.partition(" ")
    shape, _, tail = more[1:].partition(") (")
    strides, _, after = tail.partition(")")
    return f"windows({base}, {start}, ({shape}), ({strides})){after}"


def _returned(views: Sequence[tuple[str, str]]) -> list[str]:
    return ["return (", *(f"    {text},  # {name}" for name, text in views), ")"] if views else ["return ()"]
