"""The gradient as text for people: a NumPy module that stands alone, and the pass as pseudocode.

The module is printed from the same Program that the generated function runs, elementwise steps joined
again and the equation behind each line written above it. The pseudocode is printed from the equations
of the forward and backward pass for a general layer.
"""

from __future__ import annotations

import inspect
import keyword
import linecache
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from symbackprop.compile import kernels
from symbackprop.compile.lower import AdjointLike, families_of, lower, lower_forward
from symbackprop.compile.program import (
    SAMPLE,
    Constant,
    Contract,
    Input,
    Instruction,
    Map,
    Operand,
    Program,
    ProgramError,
    Reduce,
    View,
    axes,
    fuse,
)
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Constraint, affine, satisfiable
from symbackprop.network import System
from symbackprop.symbols import (
    Add,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Family,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Where,
    Winner,
    WrittenOut,
    walk,
)

HELPERS = {
    "sigmoid": '''def sigmoid(z):
    """1/(1 + exp(-z)); exp is not given more than it can bear."""
    return 1 / (1 + np.exp(np.minimum(-z, 700 if z.dtype == np.float64 else 80)))
''',
    "softplus": '''def softplus(z):
    """ln(1 + exp(z)), without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
''',
}
ADD, MUL, NEG, POWER, ATOM = range(1, 6)


@dataclass
class Printer:
    """A fused program as lines of plain NumPy."""

    program: Program
    dims: Mapping[str, tuple[str, ...]]
    uses: Mapping[str, int]
    instructions: Mapping[str, Instruction]
    helpers: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def inline(self, name: str) -> bool:
        i = self.instructions[name]
        return self.uses.get(name, 0) == 1 and name not in self.program.meaning and not isinstance(i, Input)

    def lines(self, text: Callable[[Expr], str]) -> Iterator[str]:
        for i in self.program.instructions:
            if isinstance(i, Input) or self.inline(i.name):
                continue
            note = self.program.notes.get(i.name)
            if note is not None:
                yield f"# {text(note[0])} = {text(note[1])}"
            self.names[i.name] = i.name if i.name in self.program.notes else f"t{len(self.names) + 1}"
            yield f"{self.names[i.name]} = {self.value(i)[0]}"

    def named(self, name: str) -> tuple[str, int]:
        """A value where it is used: its name, or the expression that it is."""
        return self.value(self.instructions[name]) if self.inline(name) else (self.names.get(name, name), ATOM)

    def value(self, i: Instruction) -> tuple[str, int]:
        match i:
            case Map():
                return self.formula(i.formula, i)
            case Contract():
                return self.contract(i)
            case Reduce():
                return self.reduce(i, "")
            case View():
                base = _wrap(self.named(i.operand.name), ATOM)
                kept = "".join(c for c, f in zip(i.operand.labels, i.fixed, strict=True) if f is None)
                if any(f is not None for f in i.fixed):
                    base += "[" + ", ".join(":" if f is None else str(f) for f in i.fixed) + "]"
                return (base, ATOM) if kept == i.labels else (f'np.einsum("{kept}->{i.labels}", {base})', ATOM)
            case Constant():
                return self.constant(i), ATOM
        raise ProgramError(f"{type(i).__name__} cannot be printed")

    def constant(self, i: Constant) -> str:
        shape = ", ".join(self.size(d) for d in i.dims) + ("," if len(i.dims) == 1 else "")
        number = self.number(Num(i.value))[0]
        if not i.guard:
            return f"np.full(({shape}), {number})" if i.dims else number
        grid = f"np.indices(({shape}))"
        tests = []
        for c in i.guard:
            terms = [f"{k} * {grid}[{i.labels.index(n)}]" for n, k in c.expr.terms]
            tests.append(f"({' + '.join([*terms, str(c.expr.const)])} {'==' if c.equal else '>='} 0)")
        return f"np.where({' & '.join(tests)}, {number}, 0.0)"

    def size(self, dim: str) -> str:
        if dim == SAMPLE:
            return "len(x)"
        known = self.program.sizes.get(dim)
        if known is not None:
            return str(known)
        for i in self.program.inputs:
            if dim in i.dims:
                return f"{i.name}.shape[{i.dims.index(dim)}]"
        raise ProgramError(f"no array tells the size of {dim}")

    def operand(self, o: Operand, labels: str) -> tuple[str, int]:
        """A value ready to broadcast against the axes `labels`."""
        present = "".join(c for c in labels if c in o.labels)
        lead = next((n for n, c in enumerate(labels) if c in present), len(labels))
        tail = labels[lead:]
        i = self.instructions.get(o.name)  # none of what a loop leaves
        if present != o.labels:
            got: tuple[str, int] = (f'np.einsum("{o.labels}->{present}", {self.named(o.name)[0]})', ATOM)
        elif tail != present and isinstance(i, Reduce) and self.inline(o.name) and present + tail[-1] == tail:
            if len(i.operand.labels) == len(tail) and i.operand.labels[-1] not in i.labels:
                return self.reduce(i, ", keepdims=True")
            got = self.named(o.name)
        else:
            got = self.named(o.name)
        if present and tail != present:
            return _wrap(got, ATOM) + "[" + ", ".join(":" if c in present else "None" for c in tail) + "]", ATOM
        return got

    def contract(self, i: Contract) -> tuple[str, int]:
        if len(i.operands) == 2:
            a, b = i.operands
            shared = set(a.labels) & set(b.labels)
            free = [c for c in a.labels + b.labels if c not in shared]
            if len(shared) == 1 and not shared & set(i.labels) and set(free) == set(i.labels) and len(free) == 2:
                (c,) = shared
                if i.labels[0] in b.labels:
                    a, b = b, a
                left, right = _wrap(self.named(a.name), ATOM), _wrap(self.named(b.name), ATOM)
                left += "" if a.labels[-1] == c else ".T"
                right += "" if b.labels[0] == c else ".T"
                return f"{left} @ {right}", MUL
        spec = ",".join(o.labels for o in i.operands) + "->" + i.labels
        return f'np.einsum("{spec}", {", ".join(self.named(o.name)[0] for o in i.operands)})', ATOM

    def reduce(self, i: Reduce, keep: str) -> tuple[str, int]:
        gone = [n for n, c in enumerate(i.operand.labels) if c not in i.labels]
        inner = self.named(i.operand.name)[0]
        axis = "" if not i.labels else f", axis={gone[0] if len(gone) == 1 else tuple(gone)}"
        return f"np.{i.kind}({inner}{axis}{keep})", ATOM

    # ---------------------------------------------------------------- scalar formulas

    def formula(self, e: Expr, i: Map) -> tuple[str, int]:
        def go(x: Expr) -> tuple[str, int]:
            return self.formula(x, i)

        match e:
            case Param(name) if name.isdigit():
                return self.operand(i.operands[int(name)], i.labels)
            case Num() | Param():
                return self.number(e)
            case Add(terms):
                out = ""
                for t in sorted(terms, key=_negative):
                    minus = _negative(t)
                    part = _wrap(go(_without_sign(t)), MUL if minus else ADD)
                    out += (" - " if out else "-") + part if minus else (" + " if out else "") + part
                return out, ADD
            case Mul():
                factors = _flat(e)
                numbers, rest = [f for f in factors if _is_number(f)], [f for f in factors if not _is_number(f)]
                if _negative(Mul((*numbers, *rest))):
                    return "-" + _wrap(go(_without_sign(Mul((*numbers, *rest)))), MUL), NEG
                if not numbers and len(rest) == 1:
                    return go(rest[0])
                texts = [_wrap(go(f), POWER) for f in rest]
                number = self.number(Mul(tuple(numbers))) if numbers else ("", ATOM)
                lead = [_wrap(number, MUL)] if numbers and number[0] != "1" else []
                return " * ".join([*lead, *texts]), MUL if len(lead + texts) > 1 else POWER
            case Div(top, bottom):
                return f"{_wrap(go(top), MUL)} / {_wrap(go(bottom), POWER)}", MUL
            case Pow(base, exponent):
                return f"{_wrap(go(base), ATOM)} ** {_wrap(go(exponent), ATOM)}", POWER
            case Call(name, arguments):
                if name in kernels.FUNCTIONS and name in ("sigmoid", "softplus", "erf"):
                    self.helpers.add(name)
                    return f"{name}({', '.join(go(a)[0] for a in arguments)})", ATOM
                return f"np.{name}({', '.join(go(a)[0] for a in arguments)})", ATOM
            case Where(Compare(op, left, right), then, other):
                condition = f"{_wrap(go(left), ADD)} {op} {_wrap(go(right), ADD)}"
                return f"np.where({condition}, {go(then)[0]}, {go(other)[0]})", ATOM
        raise ProgramError(f"{e} cannot be printed")

    def number(self, e: Expr) -> tuple[str, int]:
        """A number in Python: no NumPy scalar, so that float32 stays float32."""
        match e:
            case Num(v):
                if v.denominator == 1:
                    return str(v.numerator), ATOM if v >= 0 else NEG
                if Fraction(repr(float(v))) == v:
                    return repr(float(v)), ATOM if v >= 0 else NEG
                return f"{v.numerator} / {v.denominator}", MUL
            case Param("pi"):
                return "np.pi", ATOM
            case Param(name):
                return self.size(name[1:]), ATOM
            case Mul(factors):
                top = [f for f in factors if not (isinstance(f, Div) and f.top == Num(Fraction(1)))]
                bottom = [f.bottom for f in factors if isinstance(f, Div) and f.top == Num(Fraction(1))]
                texts = [_wrap(self.number(f), POWER) for f in top if f != Num(Fraction(1))] or ["1"]
                out = " * ".join(texts) + "".join(" / " + _wrap(self.number(b), POWER) for b in bottom)
                return out, MUL if len(texts) + len(bottom) > 1 else POWER
            case Div(top_, bottom_):
                return f"{_wrap(self.number(top_), MUL)} / {_wrap(self.number(bottom_), POWER)}", MUL
            case Call("sqrt", (v,)):
                return f"{_wrap(self.number(v), ATOM)} ** 0.5", POWER
            case Pow(base, exponent):
                return f"{_wrap(self.number(base), ATOM)} ** {_wrap(self.number(exponent), ATOM)}", POWER
            case Add(terms):
                return " + ".join(_wrap(self.number(t), MUL) for t in terms), ADD
            case Call(name, arguments):
                return f"float(np.{name}({', '.join(self.number(a)[0] for a in arguments)}))", ATOM
        raise ProgramError(f"{e} is no number")


def _wrap(given: tuple[str, int], least: int) -> str:
    """The text in brackets unless it binds at least so tightly."""
    return given[0] if given[1] >= least else f"({given[0]})"


def _flat(e: Mul) -> tuple[Expr, ...]:
    """The factors, those of products among them included."""
    return tuple(g for f in e.factors for g in (_flat(f) if isinstance(f, Mul) else (f,)))


def _is_number(e: Expr) -> bool:
    if isinstance(e, Param):
        return not e.name.isdigit()
    return isinstance(e, Num) or bool(e.parts and all(map(_is_number, e.parts)))


def _negative(e: Expr) -> bool:
    first = e.factors[0] if isinstance(e, Mul) else e
    return isinstance(first, Num) and first.value < 0


def _without_sign(e: Expr) -> Expr:
    if not _negative(e):
        return e
    if isinstance(e, Num):
        return Num(-e.value)
    assert isinstance(e, Mul) and isinstance(e.factors[0], Num)
    c = -e.factors[0].value
    rest = e.factors[1:] if c == 1 else (Num(c), *e.factors[1:])
    return rest[0] if len(rest) == 1 else Mul(rest)


def printer(program: Program) -> Printer:
    joined = fuse(program, frozenset(program.meaning) | frozenset(program.notes))
    uses: dict[str, int] = {}
    for i in joined.instructions:
        for o in i.operands:
            uses[o.name] = uses.get(o.name, 0) + 1
    for out in joined.outputs:
        uses[out.value] = uses.get(out.value, 0) + 2
    return Printer(joined, axes(joined), uses, {i.name: i for i in joined.instructions})


# ---------------------------------------------------------------- the module


def write_module(system: System, adjoints: Sequence[AdjointLike], text: Callable[[Expr], str], title: str = "") -> str:
    """A NumPy module with the network's forward pass and gradient, which checks itself when run.

    Args:
        system: Depth and widths are numbers.
        adjoints: Its backward pass.
        text: Writes an expression on one line; it stands as a comment above the code that computes it.
        title: The first line of the module's docstring.

    Raises:
        ModelError: Depth or widths are symbolic, or the network cannot be compiled.
    """
    if system.layers.value is None:
        raise ModelError("a module needs sizes; give them as in sizes=[784, 30, 10]")
    parameters = [f.name for f in families_of(system, ["parameter"])]
    full = printer(lower(system, adjoints, parameters, batched=True, value=True, annotate=True))
    ahead = printer(lower_forward(system, batched=True, annotate=True))
    inputs = full.program.inputs
    unknown = {d for i in inputs for d in i.dims if d != SAMPLE and d not in full.program.sizes}
    if unknown:
        raise ModelError(f"a module needs every size as a number, but {', '.join(sorted(unknown))} is symbolic")
    data = [i for i in inputs if i.kind in ("input", "target")]
    body, forward_body = list(full.lines(text)), list(ahead.lines(text))
    cost = next(full.names.get(o.value, o.value) for o in full.program.outputs if o.role == "cost")
    helpers = full.helpers | ahead.helpers
    out: list[str] = [f'"""{title or "A network and its gradient."}']
    out += ["", f"`params` is {_structure(system, inputs)}.", "Data is a batch, one sample in each row."]
    out += [
        "The formulas are those of one sample; the cost is the mean over the samples, so the backward pass",
        "starts with a factor 1/m.",
    ]
    out += ['"""', "", "import sys", "", "import numpy as np", ""]
    for name in ("sigmoid", "softplus"):
        if name in helpers:
            out += ["", *HELPERS[name].splitlines(), ""]
    if "erf" in helpers:
        source = inspect.getsource(kernels.erf)
        source = re.sub(r": Any(?: = None)?|out=None, | -> Any", lambda m: " = None" if "None" in m[0] else "", source)
        source = source.replace("out = None", "out=None").replace(
            "; benchmarks and tests compare them with other erfs", ""
        )
        out += ["", *source.splitlines(), ""]
    names = ", ".join(i.name for i in data)
    x = ", ".join(i.name for i in data if i.kind == "input")
    out += ["", f"def forward(params, {x}):", f'    """Every quantity of the forward pass, by name, for inputs {x}."""']
    out += _indented([*_unpack(system, ahead.program), *forward_body])
    out += ["    return {" + ", ".join(_collected(system, ahead)) + "}", "", ""]
    out += [
        f"def value_and_grad(params, {names}):",
        '    """The mean cost, and its gradient in the structure of `params`."""',
    ]
    out += _indented([*_unpack(system, full.program), *body])
    out += [f"    return {cost}, {{" + ", ".join(_collected(system, full)) + "}", "", ""]
    out += [f"def gradient(params, {names}):", '    """The gradient of the mean cost, in the structure of `params`."""']
    out += [f"    return value_and_grad(params, {names})[1]", "", ""]
    out += _initialise(system, full.program, parameters)
    out += _main(data, full.program)
    return "\n".join(out) + "\n"


def _structure(system: System, inputs: Sequence[Input]) -> str:
    shapes: dict[str, list[str]] = {}
    layered = {f.name: any(a.kind == "recursion" for a in f.axes) for f in system.families.values()}
    for i in inputs:
        if i.kind == "parameter":
            shapes.setdefault(i.key[0], []).append("x".join(i.dims) or "scalar")
    parts = [f'"{f}": ' + (f"[{', '.join(v)}]" if layered[f] else v[0]) for f, v in shapes.items()]
    return "{" + ", ".join(parts) + "}"


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def _unpack(system: System, program: Program) -> list[str]:
    groups: dict[str, list[str]] = {}
    for i in program.inputs:
        if i.kind == "parameter":
            groups.setdefault(i.key[0], []).append(i.name)
    out = []
    for f, names in groups.items():
        layered = any(a.kind == "recursion" for a in system.families[f].axes)
        out.append(f"{', '.join(names)}{',' if layered and len(names) == 1 else ''} = params[{f!r}]".replace("'", '"'))
    return out


def _collected(system: System, p: Printer) -> list[str]:
    groups: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for o in p.program.outputs:
        if o.role != "cost":
            groups.setdefault(o.key[0], []).append((o.key[1], p.names.get(o.value, o.value)))
    out = []
    for f, found in groups.items():
        layered = any(a.kind == "recursion" for a in system.families[f].axes)
        out.append(f'"{f}": ' + (f"[{', '.join(n for _, n in sorted(found))}]" if layered else found[0][1]))
    return out


def _initialise(system: System, program: Program, parameters: Sequence[str]) -> list[str]:
    out = ["def initialise(seed):", '    """Random parameters: weights scaled by the number of inputs of a node."""']
    out += ["    rng = np.random.default_rng(seed)", "    return {"]
    for f in parameters:
        made = []
        for i in (i for i in program.inputs if i.key[0] == f):
            shape = tuple(program.sizes[d] for d in i.dims)
            scale = f" / {shape[-1]} ** 0.5" if len(shape) > 1 else " * 0.1"
            made.append(f"rng.standard_normal({shape}){scale}")
        layered = any(a.kind == "recursion" for a in system.families[f].axes)
        out += [f'        "{f}": ['] if layered else []
        out += [f"            {m}," for m in made] if layered else [f'        "{f}": {made[0]},']
        out += ["        ],"] if layered else []
    return [*out, "    }", "", ""]


def _main(data: Sequence[Input], program: Program) -> list[str]:
    names = ", ".join(i.name for i in data)
    lines = [
        "def main():",
        '    """Compare the gradient with central differences at random places; exit with 1 where they differ."""',
        "    rng = np.random.default_rng(1)",
        "    params = initialise(0)",
    ]
    for i in data:
        width = ", ".join(str(program.sizes[d]) for d in i.dims if d != SAMPLE)
        if i.kind == "input":
            lines.append(f"    {i.name} = rng.standard_normal((5, {width}))")
        else:
            lines += [
                f"    {i.name} = rng.random((5, {width}))",
                f"    {i.name} /= {i.name}.sum(axis=1, keepdims=True)",
            ]
    return [
        *lines,
        f"    grads = gradient(params, {names})",
        "    worst = 0.0",
        "    for name, value in params.items():",
        "        pairs = zip(value, grads[name]) if isinstance(value, list) else [(value, grads[name])]",
        "        for array, grad in pairs:",
        "            places = rng.choice(array.size, min(array.size, 40), replace=False)",
        "            differences = np.empty(len(places))",
        "            for n, place in enumerate(np.unravel_index(p, array.shape) for p in places):",
        "                here, h = array[place], 1e-5",
        "                array[place] = here + h",
        f"                above = value_and_grad(params, {names})[0]",
        "                array[place] = here - h",
        f"                below = value_and_grad(params, {names})[0]",
        "                array[place] = here",
        "                differences[n] = (above - below) / (2 * h)",
        "            exact = grad.ravel()[places]",
        "            error = np.linalg.norm(exact - differences) / max(np.linalg.norm(differences), 1e-4)",
        "            worst = max(worst, error) if error == error else np.inf",
        '    print(f"largest relative error against central differences: {worst:.1e}")',
        "    return 0 if worst < 1e-5 else 1",
        "",
        "",
        'if __name__ == "__main__":',
        "    sys.exit(main())",
    ]


# ---------------------------------------------------------------- pseudocode


def pseudocode(system: System, adjoints: Sequence[AdjointLike]) -> str:
    """The forward and the backward pass of a general layer as a small Python function of indices and loops.

    It is printed from the equations and adjoints; names follow the families, `dz` is the gradient by z. What Python
    has no name for gets an underscore: j' is j_, lambda is lambda_. Nodes count from 0, as the arrays do.

    Returns:
        The empty string for a model that no such loop shows: layers or times of several kinds, or several at once.
    """
    if _loop(system) is None:
        return ""
    forward = [Line(e.lhs, e.rhs, e.guard, False) for e in system.equations if _plain(system, e.lhs)]
    wanted = _needed(system, adjoints)
    backward = [Line(a.subject.bottom, a.value, a.guard, True) for a in wanted if isinstance(a.subject.bottom, Ref)]
    arguments = [_named(f.name) for f in families_of(system, ("parameter", "input", "target"))]
    out = [f"def backward({', '.join(arguments)}):"]
    try:
        out += _indented(_block(system, forward, down=False))
        out += _indented(_block(system, backward, down=True))
    except Unwritten:
        return ""
    results = ", ".join(_quantity(name, True) for name in _results(system, adjoints))
    return "\n".join([*out, f"    return {results}"]) + "\n"


def _results(system: System, adjoints: Sequence[AdjointLike]) -> list[str]:
    """What the pass is for: gradients by the parameters, or by the data of a model without any."""
    found = [f.name for f in families_of(system, ["parameter"])]
    if found:
        return found
    by = {a.subject.bottom.family for a in adjoints if isinstance(a.subject.bottom, Ref)}
    return [f.name for f in families_of(system, ["input"]) if f.name in by]


class Unwritten(ModelError):
    """What has no form in a small Python function."""


def _named(name: str) -> str:
    """A name that Python takes."""
    plain = re.sub(r"\W", "_", name.replace("\\", ""))
    return plain + "_" if keyword.iskeyword(plain) or not plain.isidentifier() else plain


def _loop(system: System) -> tuple[str, Affine | None] | None:
    """The letter and the last number of the one loop over layers or times; None where there are several."""
    found = set()
    for f in system.families.values():
        mine = [(n, a.last) for n, a in zip(f.indices, f.axes, strict=True) if a.kind == "recursion"]
        if len(mine) > 1:
            return None
        found |= set(mine)
    if len(found) > 1:
        return None
    return next(iter(found)) if found else ("l", None)


@dataclass(frozen=True)
class Line:
    """One equation as an assignment."""

    subject: Ref
    value: Expr
    guard: tuple[Constraint, ...]
    adjoint: bool


def _plain(system: System, lhs: Ref) -> bool:
    return system.families[lhs.family].kind == "derived"


def _layer(system: System, ref: Ref) -> Affine | None:
    family = system.families[ref.family]
    return next((i for i, a in zip(ref.indices, family.axes, strict=True) if a.kind == "recursion"), None)


def _needed(system: System, adjoints: Sequence[AdjointLike]) -> list[AdjointLike]:
    """The adjoints that the results rest on, each case only if some user of it can meet it."""
    results = _results(system, adjoints)
    found = [a for a in adjoints if isinstance(a.subject.bottom, Ref) and a.subject.bottom.family in results]
    for user in found:
        for _, p in walk(user.value):
            if not isinstance(p, Partial) or not isinstance(p.bottom, Ref):
                continue
            for a in adjoints:
                if a in found or not isinstance(a.subject.bottom, Ref) or a.subject.bottom.family != p.bottom.family:
                    continue
                at = _layer(system, p.bottom)
                letters = [n for n, x in _letters(system.families[p.bottom.family]) if x]
                moved = [c.substitute({letters[0]: at}) if at is not None and letters else c for c in a.guard]
                if satisfiable((*system.standing, *user.guard, *moved)):
                    found.append(a)
    return [a for a in adjoints if a in found]


def _letters(family: Family) -> list[tuple[str, bool]]:
    return [(n, a.kind == "recursion") for n, a in zip(family.indices, family.axes, strict=True)]


def _block(system: System, lines: list[Line], *, down: bool) -> list[str]:
    """Lines in order: what has no layer before or after a loop over layers with the rest."""
    layered = [n for n in lines if any(r for _, r in _letters(system.families[n.subject.family]))]
    free = [n for n in lines if n not in layered]
    # A forward equation for one fixed layer (a^(0) = x) comes before the loop.
    first = [n for n in layered if not n.adjoint and _fixed(system, n) is not None and not _varies(n)]
    inside = [n for n in layered if n not in first]
    before = [n for n in free if not any(_mentions(n, m) for m in layered)]
    after = [n for n in free if n not in before]
    out: list[str] = []
    for n in _ordered(system, before, down):
        out += _assignment(system, n, _fixed(system, n))
    for n in first:
        out += _assignment(system, n, _fixed(system, n))
    if inside:
        loop = _loop(system)
        letter, last = loop if loop is not None else ("l", None)
        last = system.layers if last is None else last
        span = f"range({_index(last)}, 0, -1)" if down else f"range(1, {_index(last + 1)})"
        out.append(f"for {_named(letter)} in {span}:")
        groups: dict[str, list[Line]] = {}
        for n in _ordered(system, inside, down):
            groups.setdefault(n.subject.family, []).append(n)
        for cases in groups.values():
            out += _indented(_cases(system, cases))
    for n in _ordered(system, after, down):
        out += _assignment(system, n, None)
    return out


def _fixed(system: System, n: Line) -> Affine | None:
    """The one layer that an equation is for, where its guard or its left side says so."""
    at = _layer(system, n.subject)
    if at is not None and not at.terms:
        return at
    for c in n.guard:
        if c.equal and at is not None and at.name in dict(c.expr.terms):
            k = dict(c.expr.terms)[at.name or ""]
            if abs(k) == 1:
                return (c.expr - Affine(((at.name or "", k),))) * -k
    return None


def _varies(n: Line) -> bool:
    """Whether a right side refers to derived quantities of other layers."""
    return any(isinstance(p, Ref) and len(p.indices) > 1 for _, p in walk(n.value))


def _mentions(user: Line, used: Line) -> bool:
    """Whether one line reads what another writes."""
    for _, p in walk(user.value):
        ref = p.bottom if isinstance(p, Partial) else p
        if isinstance(ref, Ref) and ref.family == used.subject.family and isinstance(p, Partial) == used.adjoint:
            return True
    return False


def _ordered(system: System, lines: list[Line], down: bool) -> list[Line]:
    """Lines so that within one layer each comes after those that it reads."""

    def reads(user: Line, used: Line) -> bool:
        for _, p in walk(user.value):
            ref = p.bottom if isinstance(p, Partial) else p
            if isinstance(ref, Ref) and ref.family == used.subject.family and isinstance(p, Partial) == used.adjoint:
                mine, theirs = _layer(system, user.subject), _layer(system, ref)
                if mine is None or theirs is None or mine == theirs:
                    return True
        return False

    waiting, out = list(lines), list[Line]()
    while waiting:
        # All cases of a family come together, after everything that one of them reads.
        blocked = {
            n.subject.family
            for n in waiting
            if any(m.subject.family != n.subject.family and reads(n, m) for m in waiting)
        }
        ready = [n for n in waiting if n.subject.family not in blocked] or waiting[:1]
        out += ready
        waiting = [n for n in waiting if n not in ready]
    return out


def _cases(system: System, cases: list[Line]) -> list[str]:
    """The assignments of one family inside the loop, by case of the layer."""
    family = system.families[cases[0].subject.family]
    if len(cases) == 1 and cases[0].adjoint:
        # Its range within the loop, which runs over the layers of the parameters.
        inner = [c for c in cases[0].guard if c not in family.guard]
        here = _assignment(system, cases[0], None)
        return [f"if {' and '.join(map(_condition, inner))}:", *_indented(here)] if inner else here
    if len(cases) == 1:
        return _assignment(system, cases[0], None)
    cases = sorted(cases, key=lambda n: _fixed(system, n) is None)
    out: list[str] = []
    for n, line in enumerate(cases):
        own = [c for c in line.guard if c not in family.guard]
        condition = " and ".join(map(_condition, own)) or "True"
        out.append("else:" if n == len(cases) - 1 else f"{'el' if n else ''}if {condition}:")
        out += _indented(_assignment(system, line, None))
    return out


def _condition(c: Constraint) -> str:
    left = Affine(tuple((n, -k) for n, k in c.expr.terms if k < 0))
    right = Affine(tuple((n, k) for n, k in c.expr.terms if k > 0), c.expr.const)
    if c.equal:
        return (
            f"{_index(left)} == {_index(right)}" if left.terms else f"{_index(right - right.const)} == {-right.const}"
        )
    if not left.terms:
        return f"{_index(right - right.const)} >= {-right.const}"
    return f"{_index(left)} < {_index(right + 1)}" if right.const < 0 else f"{_index(left)} <= {_index(right)}"


def _index(a: Affine) -> str:
    """An index in Python: i*s + k, l - 1."""
    out = ""
    for n, k in a.terms:
        text = " * ".join(_named(f) for f in n.split("*"))
        text = text if abs(k) == 1 else f"{abs(k)} * {text}"
        out += (" - " if out else "-") + text if k < 0 else (" + " if out else "") + text
    if a.const or not out:
        out += f" {'-' if a.const < 0 else '+'} {abs(a.const)}" if out else str(a.const)
    return out


def _assignment(system: System, n: Line, at: Affine | None) -> list[str]:
    """One equation in loops over its free nodes."""
    family = system.families[n.subject.family]
    target, out, depth = _quantity(n.subject.family, n.adjoint), list[str](), 0
    mapping: dict[str, Affine] = {}
    for index, axis, letter in zip(n.subject.indices, family.axes, family.indices, strict=True):
        if axis.kind == "recursion":
            here = at if at is not None else affine(letter)
            mapping[letter] = here
            target += f"[{_index(here)}]"
            continue
        name = _named(index.name or letter)
        out.append("    " * depth + f"for {name} in range({_size(axis.substitute(mapping))}):")
        depth += 1
        target += f"[{name}]"
    inner = [c for c in family.guard if len(c.expr.names & {x for x, r in _letters(family) if not r}) > 1]
    if inner:
        back = dict(zip(family.indices, n.subject.indices, strict=True))
        condition = " and ".join(_condition(c.substitute(back)) for c in inner)
        out.append("    " * depth + f"if {condition}:")
        depth += 1
    value = python(n.value if at is None else _at(n.value, mapping))
    return [*out, "    " * depth + f"{target} = {value}"]


def _quantity(family: str, adjoint: bool) -> str:
    return "d" + re.sub(r"\W", "_", family) if adjoint else _named(family)


def _at(e: Expr, mapping: Mapping[str, Affine]) -> Expr:
    from symbackprop.symbols import substitute

    return substitute(e, mapping)


def _size(axis: Any) -> str:
    label = axis.label if axis.label.isdigit() else " * ".join(_named(n) for n in axis.label.split("*"))
    return f"{label}[{_index(axis.at)}]" if axis.at is not None else label


def python(e: Expr) -> str:
    """An expression of indexed quantities in Python."""
    return _python(e)[0]


def _python(e: Expr) -> tuple[str, int]:
    match e:
        case Num(v):
            text = str(v.numerator) if v.denominator == 1 else f"{v.numerator} / {v.denominator}"
            return text, ATOM if v.denominator == 1 and v >= 0 else MUL
        case Param(name):
            return _named(name), ATOM
        case Size(axis):
            return _size(axis), ATOM
        case Position(i):
            return _index(i), ATOM if i.value is not None or i.name is not None else ADD
        case Ref(family, indices):
            return _quantity(family, False) + "".join(f"[{_index(i)}]" for i in indices), ATOM
        case Partial(_, Ref(family, indices), False):
            return _quantity(family, True) + "".join(f"[{_index(i)}]" for i in indices), ATOM
        case Guarded(body, guard):
            return f"({python(body)} if {' and '.join(map(_condition, guard))} else 0)", ATOM
        case Winner(of, at):
            places = f"range({_span(of)})"
            condition = "".join(f" if {_condition(c)}" for c in of.guard)
            best = f"max(({python(of.body)}, -{_named(of.index)}) for {_named(of.index)} in {places}{condition})"
            return f"(1 if {_index(at)} == -{best}[1] else 0)", ATOM
        case Add(terms):
            out = ""
            for t in terms:
                minus = _negative(t)
                part = _wrap(_python(_without_sign(t)), MUL if minus else ADD)
                out += (" - " if out else "-") + part if minus else (" + " if out else "") + part
            return out, ADD
        case Mul():
            factors = _flat(e)
            if isinstance(factors[0], Num) and factors[0].value == -1 and len(factors) > 1:
                return "-" + _wrap(_python(Mul(factors[1:])), MUL), NEG
            texts = [_wrap(_python(f), POWER) for f in factors]
            return " * ".join(texts), MUL if len(texts) > 1 else POWER
        case Div(top, bottom):
            return f"{_wrap(_python(top), MUL)} / {_wrap(_python(bottom), POWER)}", MUL
        case Pow(base, exponent):
            return f"{_wrap(_python(base), ATOM)}**{_wrap(_python(exponent), ATOM)}", POWER
        case Call(name, arguments, order):
            return f"{name}{'_prime' * order}({', '.join(python(a) for a in arguments)})", ATOM
        case Delta(left, right):
            return f"(1 if {_index(left)} == {_index(right)} else 0)", ATOM
        case Where(Compare(op, left, right), then, other):
            return f"({python(then)} if {python(left)} {op} {python(right)} else {python(other)})", ATOM
        case Sum() | Max() | Prod():
            function = {Sum: "sum", Max: "max", Prod: "prod"}[type(e)]
            rest = " and ".join(_condition(c) for c in _conditions(e))
            span = f"for {_named(e.index)} in range({_span(e)}){f' if {rest}' if rest else ''}"
            return f"{function}({python(e.body)} {span})", ATOM
        case WrittenOut(s):
            return _python(s)
    raise Unwritten(f"{e} cannot be written as pseudocode")


def _lowest(e: Sum | Max | Prod) -> Constraint | None:
    """The constraint that says where a sum over layers or times begins."""
    if e.axis.kind != "recursion":
        return None
    return next((c for c in e.guard if not c.equal and c.expr.terms == ((e.index, 1),)), None)


def _span(e: Sum | Max | Prod) -> str:
    """What a bound index runs over, as `range` takes it."""
    if e.axis.kind != "recursion":
        return _size(e.axis)
    low, last = _lowest(e), e.axis.last if e.axis.last is not None else affine("L")
    return f"{_index(e.axis.first) if low is None else -low.expr.const}, {_index(last + 1)}"


def _conditions(e: Sum | Max | Prod) -> list[Constraint]:
    """What else must hold of a bound index."""
    return [c for c in e.guard if c != _lowest(e)]


def pseudocode_latex(system: System, adjoints: Sequence[AdjointLike], *, notebook: bool = False) -> str:
    """The pseudocode as LaTeX, by latexify-py; where that is not installed, the code itself in a verbatim block.

    Args:
        notebook: An `array` that KaTeX and MathJax accept, instead of `algorithmic`.
    """
    source = pseudocode(system, adjoints)
    if not source:
        return ""
    try:
        from latexify import generate_latex
        from latexify.exceptions import LatexifyError
    except ImportError:
        return "\\begin{verbatim}\n" + source + "\\end{verbatim}\n"
    name = f"<symbackprop pseudocode {abs(hash(source))}>"
    space: dict[str, Any] = {}
    exec(compile(source, name, "exec"), space)  # our own text; latexify reads a function's source by its file
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    style = generate_latex.Style.IPYTHON_ALGORITHMIC if notebook else generate_latex.Style.ALGORITHMIC
    try:
        latex = str(generate_latex.get_latex(space["backward"], style=style, use_math_symbols=True))
    except LatexifyError:  # such as a maximum over an index
        return "" if notebook else "\\begin{verbatim}\n" + source + "\\end{verbatim}\n"
    finally:
        del linecache.cache[name]
    return _readable_ranges(latex)


def _readable_ranges(latex: str) -> str:
    """`l in range(L, 0, -1)` as l = L, L-1, ..., 1, and dz as the letter d before z."""

    def span(m: re.Match[str]) -> str:
        parts = [p.strip() for p in m[2].split(",")]
        if len(parts) == 3:
            return rf"{m[1]} = {parts[0]}, {parts[0]} - 1, \dots, 1"
        low, high = parts if len(parts) == 2 else ("0", parts[0])
        top = high[: -len(" + 1")] if high.endswith(" + 1") else f"{high} - 1"
        return rf"{m[1]} = {low}, \dots, {top}"

    latex = re.sub(r"(\w+) \\in \\mathrm\{range\} \\mathopen\{\}\\left\( (.*?) \\mathclose\{\}\\right\)", span, latex)
    latex = re.sub(r"\\mathrm\{d(\w+)\}", r"\\mathrm{d}\1", latex)
    return latex.replace(r"\mathrm{g\_prime}", "g'")


__all__ = ["pseudocode", "pseudocode_latex", "write_module"]
