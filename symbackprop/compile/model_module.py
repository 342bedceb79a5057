"""The gradient of any model as a NumPy module that stands alone and checks itself.

Printed from the same Program that the generated function runs, before buffers: one line for each value that has a
name or is used more than once, with its equation above. Windows, additions at places and the like are small functions
at the head of the module; those that it does not use are left out.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from symbackprop.compile import kernels
from symbackprop.compile.arrays import lower_model
from symbackprop.compile.extents import solve
from symbackprop.compile.lower import AdjointLike
from symbackprop.compile.module import ATOM, HELPERS, Printer
from symbackprop.compile.program import (
    Constant,
    Fold,
    Gather,
    Input,
    Instruction,
    Iota,
    Program,
    Reduce,
    Scan,
    Scatter,
    Stack,
    Window,
    Winner,
    all_axes,
    read_by,
)
from symbackprop.errors import ModelError
from symbackprop.indices import Affine
from symbackprop.network import System
from symbackprop.symbols import Expr, Ref, families

TOOLS = {
    "window": '''def window(a, shape, places):
    """The array of that shape whose entry at i, j, ... is a[places(i, j, ...)], 0 where that is outside of a."""
    at = np.broadcast_arrays(*places(*np.indices(shape)), np.empty(shape))[:-1]
    inside = np.all([(p >= 0) & (p < n) for p, n in zip(at, a.shape)], axis=0)
    return np.where(inside, a[tuple(np.clip(p, 0, n - 1) for p, n in zip(at, a.shape))], 0.0)
''',
    "added": '''def added(a, shape, places):
    """An array of that shape to which every entry a[i, j, ...] is added at places(i, j, ...)."""
    out = np.zeros(shape)
    at = np.broadcast_arrays(*places(*np.indices(a.shape)), a)[:-1]
    inside = np.all([(p >= 0) & (p < n) for p, n in zip(at, shape)], axis=0)
    np.add.at(out, tuple(p[inside] for p in at), a[inside])
    return out
''',
    "chosen": '''def chosen(positions, n):
    """1 at the position that each entry names, 0 at the others, along a last axis of n."""
    return (np.arange(n) == positions[..., None]).astype(float)
''',
    "first_largest": '''def first_largest(a, axis):
    """1 at the first place along the axis where a is largest, 0 elsewhere."""
    places = np.arange(a.shape[axis]).reshape([-1 if n == axis else 1 for n in range(a.ndim)])
    return (places == np.expand_dims(np.argmax(a, axis), axis)).astype(float)
''',
    "stacked": '''def stacked(shape, *pieces):
    """An array of that shape with the pieces in their places, 0 elsewhere."""
    out = np.zeros(shape)
    for piece, place in pieces:
        out[tuple(slice(p, p + n) for p, n in zip(place, piece.shape))] = piece
    return out
''',
}


@dataclass
class ArrayPrinter(Printer):
    """A program over whole arrays as lines of plain NumPy."""

    counters: dict[str, range] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)

    def inline(self, name: str) -> bool:
        return name in self.instructions and super().inline(name)

    def reduce(self, i: Reduce, keep: str) -> tuple[str, int]:
        kept = "".join(c for c in i.operand.labels if c in i.labels)
        found = super().reduce(i, keep)
        return found if kept == i.labels or keep else (f'np.einsum("{kept}->{i.labels}", {found[0]})', ATOM)

    def lines(self, text: Callable[[Expr], str]) -> Iterator[str]:
        yield from self.block(self.program.instructions, text)

    def block(self, instructions: Iterable[Instruction], text: Callable[[Expr], str]) -> Iterator[str]:
        for i in instructions:
            if isinstance(i, Input):
                continue
            if isinstance(i, Scan):
                yield from self.loop(i, text)
                continue
            if self.inline(i.name):
                continue
            note = self.program.notes.get(i.name)
            if note is not None:
                yield f"# {text(note[0])} = {text(note[1])}"
            self.names[i.name] = self.spell(i.name)
            yield f"{self.names[i.name]} = {self.value(i)[0]}"

    def spell(self, name: str) -> str:
        """A name in the module: those of values in between are numbered in order."""
        if name in self.program.meaning:
            return name
        return self.spelled.setdefault(name, f"t{len(self.spelled) + 1}")

    def loop(self, i: Scan, text: Callable[[Expr], str]) -> Iterator[str]:
        for s in i.stored:
            base = self.named(s.base)[0]
            self.names[s.name] = self.names.get(s.base, base)
            if s.base not in self.names:
                self.names[s.name] = self.spell(s.name)
                yield f"{self.names[s.name]} = {base}"
        for s in i.stored:
            note = self.program.notes.get(s.value)
            if note is not None:
                yield f"# {self.names[s.name]} holds {text(note[0])}"
        self.counters[i.counter] = i.numbers
        down = ", -1" if i.step < 0 else ""
        yield f"for {i.counter} in range({i.first}, {i.last + i.step}{down}):"
        yield from (f"    {line}" for line in self.block(i.body, text))
        for s in i.stored:
            value = self.named(s.value)[0]
            yield f"    {self.names[s.name]}[{':, ' * s.axis}{place(s.row)}] = {value}"

    def value(self, i: Instruction) -> tuple[str, int]:
        match i:
            case Iota(_, dim):
                return f"np.arange({self.size(dim)})", ATOM
            case Window():
                return self.seen(i), ATOM
            case Fold(_, operand, index, dims):
                self.helpers.add("added")
                places = f"lambda {', '.join(operand.labels)}: ({', '.join(map(place, index))},)"
                return f"added({self.named(operand.name)[0]}, {self.shape(dims)}, {places})", ATOM
            case Gather(_, table, positions, label, labels):
                self.helpers.add("chosen")
                count = self.size(self.dims[table.name][table.labels.index(label)])
                picked = f"chosen({self.named(positions.name)[0]}, {count})"
                spec = f"{table.labels},{positions.labels}{label}->{labels}"
                return f'np.einsum("{spec}", {self.named(table.name)[0]}, {picked})', ATOM
            case Scatter(_, operand, positions, label, labels, dim):
                self.helpers.add("chosen")
                picked = f"chosen({self.named(positions.name)[0]}, {self.size(dim)})"
                spec = f"{operand.labels},{positions.labels}{label}->{labels}"
                return f'np.einsum("{spec}", {self.named(operand.name)[0]}, {picked})', ATOM
            case Winner(_, operand, label):
                self.helpers.add("first_largest")
                return f"first_largest({self.named(operand.name)[0]}, {operand.labels.index(label)})", ATOM
            case Stack(_, pieces, dims):
                if not pieces:
                    return f"np.zeros({self.shape(dims)})", ATOM
                self.helpers.add("stacked")
                given = ", ".join(f"({self.named(n)[0]}, {at})" for n, at in pieces)
                return f"stacked({self.shape(dims)}, {given})", ATOM
        return super().value(i)

    def constant(self, i: Constant) -> str:
        if not i.guard or not i.outside:
            return super().constant(i)
        inside = super().constant(Constant(i.name, i.labels, i.dims, i.value - i.value + 1, i.guard))
        return f"np.where({inside} == 1, {float(i.value)}, {pretty(i.outside)})"

    def shape(self, dims: Sequence[str]) -> str:
        return "(" + ", ".join(map(self.size, dims)) + ("," if len(dims) == 1 else "") + ")"

    def seen(self, i: Window) -> str:
        """A slice where that is all, else a window at places."""
        operand = self.named(i.operand)[0]
        shape = [int(self.size(d)) for d in self.dims[i.operand]]
        sizes = {c: int(self.size(d)) for c, d in zip(i.labels, i.dims, strict=True)}
        parts: list[str] = []
        order = ""
        for e, n in zip(i.index, shape, strict=True):
            low, high = self.ends(e, sizes)
            letters = [c for c in e.names if c in sizes]
            k = dict(e.terms).get(letters[0], 0) if letters else 0
            fixed = all(m in sizes for m in e.names)
            if low < 0 or high >= n or len(letters) > 1 or (letters and not (fixed and k >= 1)):
                return self.at_places(i, operand)
            order += "".join(letters)
            whole = letters and k == 1 and (low, high) == (0, n - 1)
            step = f":{k}" if k > 1 else ""
            parts.append(":" if whole else f"{low}:{high + 1}{step}" if letters else place(e))
        if order != i.labels:
            return self.at_places(i, operand)
        while parts and parts[-1] == ":":
            parts.pop()
        return f"{operand}[{', '.join(parts)}]" if parts else operand

    def at_places(self, i: Window, operand: str) -> str:
        self.helpers.add("window")
        places = ", ".join(map(place, i.index))
        return f"window({operand}, {self.shape(i.dims)}, lambda {', '.join(i.labels)}: ({places},))"

    def ends(self, e: Affine, sizes: Mapping[str, int]) -> tuple[int, int]:
        low = high = e.const
        for n, k in e.terms:
            r = range(sizes[n]) if n in sizes else self.counters[n]
            a, b = k * min(r), k * max(r)
            low, high = low + min(a, b), high + max(a, b)
        return low, high


def place(e: Affine) -> str:
    """An affine expression in Python."""
    out = ""
    for n, k in e.terms:
        text = n if abs(k) == 1 else f"{abs(k)} * {n}"
        out += (" - " if out else "-") + text if k < 0 else (" + " if out else "") + text
    if e.const or not out:
        out += f" {'-' if e.const < 0 else '+'} {abs(e.const)}" if out else str(e.const)
    return out


def pretty(v: float) -> str:
    return "-np.inf" if v == float("-inf") else repr(v)


def printer_of(program: Program) -> ArrayPrinter:
    """The printer; a value that a loop or a stack reads keeps a line of its own."""
    uses: Counter[str] = Counter()
    instructions: dict[str, Instruction] = {}

    def count(block: Iterable[Instruction]) -> None:
        for i in block:
            instructions[i.name] = i
            if isinstance(i, Scan):
                count(i.body)
                inside = {b.name for b in i.body}
                outer = frozenset().union(*map(read_by, i.body)) - inside
                uses.update(dict.fromkeys(outer | {s.base for s in i.stored}, 2))
                uses.update(s.value for s in i.stored)
            elif isinstance(i, Stack):
                uses.update({n: 2 for n, _ in i.pieces})
            elif isinstance(i, Window):
                uses[i.operand] += 1
            else:
                uses.update(o.name for o in i.operands)

    count(program.instructions)
    uses.update({o.value: 2 for o in program.outputs})
    return ArrayPrinter(program, all_axes(program), uses, instructions)


def unknown_sizes(system: System) -> tuple[dict[str, int], list[str]]:
    """The numbers that the model's own sizes and rules give, and the letters that are left open."""
    known = solve(system, {}, {})
    labels = {a.label for f in system.families.values() for a in f.axes if a.kind != "recursion"}
    letters = {n for label in labels for n in label.split("*") if not n.isdigit()} | set(system.constants)
    return known, sorted(letters - known.keys())


def write_model_module(
    system: System, adjoints: Sequence[AdjointLike], text: Callable[[Expr], str], title: str = ""
) -> str:
    """A NumPy module with a model's cost and gradient, which checks itself when run.

    Args:
        system: All its sizes are numbers.
        adjoints: Its backward pass.
        text: Writes an expression on one line.

    Raises:
        ModelError: Which sizes are missing, or what cannot be compiled.
    """
    known, open_ = unknown_sizes(system)
    if open_:
        given = " ".join(f"--size {n}=..." for n in open_)
        raise ModelError(f"a module needs every size as a number; {', '.join(open_)} missing: give {given}")
    by = {a.subject.bottom.family for a in adjoints if isinstance(a.subject.bottom, Ref)}
    wrt = [n for n in system.parameters if n in by]
    wrt = wrt or [n for n, f in system.families.items() if f.kind == "input" and n in by]
    if not wrt:
        raise ModelError("the model has nothing to differentiate by")
    program = lower_model(system, adjoints, known, wrt, values=(system.cost,))
    arrays = {i.key[0] for i in program.inputs}
    if not arrays.issuperset(wrt):  # the cost depends on some only by a condition, such as a mask of 0 and 1
        wrt = [n for n in wrt if n in arrays]
        program = lower_model(system, adjoints, known, wrt, values=(system.cost,))
    p = printer_of(program)
    body = list(p.lines(text))
    arguments = [i.name for i in program.inputs]
    spelled = {i.name: safe(i.name) for i in program.inputs}
    cost = next(p.named(o.value)[0] for o in program.outputs if o.role == "cost")
    grads = [(o.key[0], p.named(o.value)[0]) for o in program.outputs if o.role == "gradient"]
    names = ", ".join(spelled[a] for a in arguments)
    out = [f'"""{title or "A model and its gradient."}', "", *(f"    {line}" for line in equations(system, text)), ""]
    out += ["Arrays, whose positions count from 0:", ""]
    out += [f"    {spelled[i.name]}: {shape_text(i, program)}" for i in program.inputs]
    if system.upstream:
        pairs = ", ".join(f"{bar} with {n}" for n, bar in system.upstream.items())
        out += ["", f"The model has no cost of its own: {system.cost} is the inner product of {pairs}."]
    out += ["A name that Python keeps for itself has an underscore behind it.", '"""', ""]
    out += ["import sys", "", "import numpy as np", ""]
    for name in ("sigmoid", "softplus"):
        if name in p.helpers:
            out += ["", *HELPERS[name].splitlines(), ""]
    if "erf" in p.helpers:
        out += ["", *erf_source(), ""]
    for name, source in TOOLS.items():
        if name in p.helpers:
            out += ["", *source.splitlines(), ""]
    out += ["", f"def value_and_grad({names}):", f'    """{system.cost}, and its gradient by {", ".join(wrt)}."""']
    out += [f"    {line}" for line in body]
    called = {i.key[0]: spelled[i.name] for i in program.inputs}
    returned = ", ".join(f'"{called[n]}": {v}' for n, v in grads)
    out += [f"    return {cost}, {{{returned}}}", "", ""]
    out += [f"def gradient({names}):", f'    """The gradient of {system.cost} by {", ".join(wrt)}."""']
    out += [f"    return value_and_grad({names})[1]", "", ""]
    out += check(system, program, spelled)
    return "\n".join(out) + "\n"


def safe(name: str) -> str:
    return name + "_" if keyword.iskeyword(name) else name


def equations(system: System, text: Callable[[Expr], str]) -> list[str]:
    return [f"{text(e.lhs)} = {text(e.rhs)}".replace("\\", "\\\\") for e in system.equations]


def shape_text(i: Input, program: Program) -> str:
    shape = ", ".join(str(program.sizes[d]) for d in i.dims) or "a number"
    kind = "integers of shape " if i.integer else "shape " if i.dims else ""
    return f"{kind}({shape}{',' if len(i.dims) == 1 else ''})" if i.dims else shape


def erf_source() -> list[str]:
    source = inspect.getsource(kernels.erf)
    source = re.sub(r": Any(?: = None)?|out=None, | -> Any", lambda m: " = None" if "None" in m[0] else "", source)
    return source.replace("out = None", "out=None").splitlines()


def check(system: System, program: Program, spelled: Mapping[str, str]) -> list[str]:
    """`main`, which compares with central differences at random arrays."""
    out = [
        "def main():",
        '    """Compare the gradient with central differences at random arrays; exit with 1 where they differ."""',
        "    rng = np.random.default_rng(0)",
        "    arrays = {",
    ]
    for i in program.inputs:
        shape = tuple(program.sizes[d] for d in i.dims)
        family = system.families.get(i.key[0])
        if i.integer and family is not None and family.over is not None:
            made = f"rng.integers(0, {program.sizes.get(family.over.label, family.over.label)}, {shape})"
        elif shape and any(i.key[0] in families(f.lhs) for f in system.facts):
            made = f"rng.dirichlet(np.ones({shape[-1]}), {shape[:-1]})"  # their sum is 1
        elif family is not None and family.kind == "target":
            made = f"rng.uniform(0.2, 0.8, {shape})"
        else:
            made = f"rng.uniform(0.2, 0.8, {shape})" if not shape else f"rng.standard_normal({shape})"
        out.append(f'        "{spelled[i.name]}": {made},')
    return [
        *out,
        "    }",
        "    arrays = {name: np.asarray(a) for name, a in arrays.items()}",
        "    worst = 0.0",
        "    for name, grad in gradient(**arrays).items():",
        "        array = arrays[name] = arrays[name].copy()",
        "        places = rng.choice(array.size, min(array.size, 40), replace=False)",
        "        differences = np.empty(len(places))",
        "        for n, place in enumerate(np.unravel_index(p, array.shape) for p in places):",
        "            here, h = array[place], 1e-6",
        "            array[place] = here + h",
        "            above = value_and_grad(**arrays)[0]",
        "            array[place] = here - h",
        "            below = value_and_grad(**arrays)[0]",
        "            array[place] = here",
        "            differences[n] = (above - below) / (2 * h)",
        "        exact = np.asarray(grad).ravel()[places]",
        "        error = np.linalg.norm(exact - differences) / max(np.linalg.norm(differences), 1e-4)",
        "        worst = max(worst, error) if error == error else np.inf",
        '    print(f"largest relative error against central differences: {worst:.1e}")',
        "    return 0 if worst < 1e-5 else 1",
        "",
        "",
        'if __name__ == "__main__":',
        "    sys.exit(main())",
    ]


__all__ = ["unknown_sizes", "write_model_module"]
