"""A model as a model file: its equations as LaTeX, and `%|` lines for what LaTeX cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from symbackprop.indices import Axis, Constraint, affine
from symbackprop.network import Equation, System
from symbackprop.notation import Notation
from symbackprop.render.latex import Latex
from symbackprop.render.printer import gathered
from symbackprop.symbols import (
    Binder,
    Call,
    Family,
    Max,
    Param,
    Prod,
    Ref,
    Sum,
    substitute,
    walk,
)

ORDER = ("upstream", "slope", "incoming")


def model_text(system: System, notation: Notation) -> str:
    r"""The text of a model file that reads back as this model in this notation.

    A gradient from outside is no part of a model, and sizes that are numbers are declared, so that letters stand in
    the equations.

    >>> from symbackprop.network import dense_system
    >>> from symbackprop.notation import DEEPLIZARD
    >>> print(model_text(dense_system(), DEEPLIZARD))
    %| source deeplizard, Backpropagation explained, parts 1 to 5
    %| l = 1..L
    %| width n
    C_0 &= \sum_{j=0}^{n-1} \left(a_j^{(L)} - y_j\right)^2 \\
    z_j^{(l)} &= \sum_{k=0}^{n-1} w_{jk}^{(l)}\, a_k^{(l-1)} \\
    a_j^{(l)} &= g^{(l)}\left(z_j^{(l)}\right)
    <BLANKLINE>
    """
    return ModelWriter(system, notation).text()


class ModelWriter:
    """The declarations and equations of one model."""

    def __init__(self, system: System, notation: Notation) -> None:
        self.given, self.notation = system, notation
        bars = set(system.upstream.values())
        equations = system.equations
        cost = system.cost
        if bars:
            equations = tuple(e for e in equations if e.lhs.family != cost)
            bars.add(cost)
            cost = ""
        mean = system.mean or ("", "")
        equations = tuple(e for e in equations if e.lhs.family != mean[0])
        kept = {n: f for n, f in system.families.items() if n not in bars}
        self.system = replace(system, families=kept, equations=equations, cost=cost, upstream={}, sizes={}, spec="")
        self.printer = Latex(self.system, notation)
        self.layered = mean[0] != ""
        self.families = [f for n, f in self.system.families.items() if n not in mean]

    def text(self) -> str:
        rows = [
            *(r for e in self.system.equations if not self.understood(e) for r in [self.row(e)]),
            *self.definitions(),
        ]
        return "".join(f"%| {d}\n" for d in self.declarations()) + " \\\\\n".join(rows) + "\n"

    # ------------------------------------------------------------ equations

    def understood(self, e: Equation) -> bool:
        """Whether a reader supplies an equation: the inputs of the lessons' network."""
        return self.layered and isinstance(e.rhs, Ref) and e.rhs.family == "x"

    def row(self, e: Equation) -> str:
        fixed = {
            n: c.expr * -k + affine(n)
            for c in e.guard
            if c.equal
            for n, k in c.expr.terms
            if self.solves(c, n, k, e.lhs)
        }
        lhs, rhs = substitute(e.lhs, fixed), substitute(e.rhs, fixed)
        guard = tuple(c for c in (c.substitute(fixed) for c in e.guard) if c.expr.names - self.system.constants)
        loose = tuple(c for c in guard if c not in self.ranges)
        if any(c in self.ranges for c in guard) and loose and all(c.expr.names <= self.letters for c in guard):
            loose = guard  # a range narrower at one end is written with both
        condition = rf" \qquad ({self.printer.constraints(loose)})" if loose else ""
        return f"{self.printer(lhs)} &= {self.printer(rhs)}{condition}"

    def solves(self, c: Constraint, name: str, k: int, lhs: Ref) -> bool:
        others = c.expr.names - {name}
        return abs(k) == 1 and others <= self.system.constants and any(i.name == name for i in lhs.indices)

    def definitions(self) -> Iterator[str]:
        """The functions that are written with a Greek letter: a reader takes such a letter for any function."""
        used = {p.function for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Call)}
        for name in sorted(used):
            f = self.system.function(name)
            known = f is not None and f.latex.startswith((r"\operatorname", r"\tanh", r"\exp", r"\ln", r"\sqrt"))
            if f is None or f.value is None or known:
                continue
            u = Param("u")
            yield f"{self.printer(Call(name, (u,)))} &= {self.printer(f.value(u))}"

    # ------------------------------------------------------------ declarations

    def declarations(self) -> Iterator[str]:
        n, s = self.notation, self.system
        if n.title:
            yield f"title {n.title}"
        if n.source:
            yield f"source {n.source}"
        yield from self.range_lines()
        if n.width == "n" and any(a.at is not None for f in self.families for a in f.axes):
            yield "width n"
        yield from self.roles()
        for f in self.families:
            if f.over is not None:
                yield f"index {self.letter(f)}: {self.letter_of(f.over)}"
        if s.integers:
            yield "integer " + ", ".join(map(self.printer.glyph, s.integers))
        for name, rule in s.rules.items():
            top, bottom = self.printer.affine(rule.top), self.printer.affine(rule.bottom)
            quotient = top if bottom == "1" else f"({top})/{bottom}"
            yield f"size {self.printer.glyph(name)} = {quotient}{f' {rule.plus:+d}' if rule.plus else ''}".replace(" +", " + ")  # fmt: skip
        for name, size in sorted(self.given.sizes.items()):
            yield f"size {self.printer.glyph(name)} = {size}"
        for name in sorted(n.zero & s.families.keys()):
            yield f"zero {self.letter(s.families[name])}"
        for f in self.families:
            if self.needs_shape(f):
                yield f"shape {self.letter(f)}: {' '.join(map(self.printer.glyph, f.indices))}"
        for fact in s.facts:
            yield f"fact {self.printer(fact.lhs)} = {self.printer(fact.rhs)}"
        scalars = [o for o in s.outputs if not s.families[o].axes]
        if s.cost and not self.layered and (len(scalars) > 1 or s.cost not in scalars):
            yield f"cost {self.letter(s.families[s.cost])}"
        if not self.layered:
            for f in self.families:
                if f.meaning:
                    yield f"meaning {self.letter(f)}: {f.meaning}"
        for name, letter in n.gradients.items():
            yield f"gradient {self.printer.family_letter(name)}: {letter}"
        if n.order != ORDER:
            yield "order " + " ".join(n.order)
        if n.sample != "i":
            yield f"sample {n.sample}"

    def letter(self, f: Family) -> str:
        """A family as a declaration names it: its letter, with what stands above besides indices."""
        return self.printer.ref(Ref(f.name, ()))

    def letter_of(self, axis: Axis) -> str:
        """An index letter that runs over an axis."""
        found = [n for f in self.families for n, a in zip(f.indices, f.axes, strict=True) if a == axis]
        found += [
            p.index for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Binder) and p.axis == axis
        ]
        return self.printer.glyph(found[0]) if found else axis.label

    def roles(self) -> Iterator[str]:
        """What a letter is, where it is not what a reader takes it for: x is data, y the target, all others parameters."""
        usual = {"x": "input", "y": "target"}
        defined = {e.lhs.family for e in self.system.equations}
        for kind, word in (("input", "data"), ("target", "target"), ("parameter", "parameter")):
            odd = [
                self.letter(f)
                for n, f in ((f.name, f) for f in self.families)
                if f.kind == kind and n not in defined and usual.get(n, "parameter") != kind
            ]
            if odd:
                yield f"{word} {', '.join(odd)}"

    # ------------------------------------------------------------ ranges

    @property
    def written(self) -> list[Sum | Max | Prod]:
        """The sums that stand in the text; a gather is none."""
        out: list[Sum | Max | Prod] = []
        for e in self.system.equations:
            for _, p in walk(e.rhs):
                if isinstance(p, Sum | Max | Prod) and gathered(p) is None:
                    out.append(p)
        return out

    def range_lines(self) -> Iterator[str]:
        """Letters whose range no sum states."""
        p = self.printer
        stated = {s.axis for s in self.written if p.extent(s)[0] and not p.extent(s)[2] and not p.extent(s)[3]}
        lines: dict[tuple[str, str], list[str]] = {}
        for letter, axis in self.left.items():
            if axis.kind == "recursion":
                low = min((c for g in self.starts(letter) for c in g), default=axis.first.const)
                last = axis.last if axis.last is not None else affine("L")
                lines.setdefault((str(low), p.affine(last)), []).append(letter)
            elif axis.at is None and axis not in stated and p.bounded(axis) and axis.label not in self.own_sizes:
                lines.setdefault(p.limits(axis), []).append(letter)
        for (start, end), found in lines.items():
            yield f"{', '.join(map(p.glyph, found))} = {start}..{end}"

    def starts(self, letter: str) -> Iterator[list[int]]:
        """The lowest values that the equations give a layer or time on their left side."""
        for e in self.system.equations:
            if any(c.equal for c in e.guard):
                continue
            if any(i.name == letter for i in e.lhs.indices):
                yield [(affine(letter) - c.expr).const for c in e.guard if c.expr.names == {letter} and (affine(letter) - c.expr).value is not None]  # fmt: skip

    @property
    def own_sizes(self) -> set[str]:
        """Sizes that a reader names itself, after the letter: n_i for i."""
        return {a.label for n, a in self.left.items() if a.kind == "node" and a.label == f"n_{n}"}

    @property
    def left(self) -> dict[str, Axis]:
        """The axis of each letter on a left side, or of a family that no equation indexes by itself."""
        out: dict[str, Axis] = {}
        for e in self.system.equations:
            out |= {i.name: a for i, a in zip(e.lhs.indices, self.system.axes(e.lhs), strict=True) if i.name}
        for f in self.families:
            if self.needs_shape(f):
                for n, a in zip(f.indices, f.axes, strict=True):
                    out.setdefault(n, a)
        return out

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(n for n, a in self.left.items() if a.kind == "recursion") | self.system.constants

    @property
    def ranges(self) -> frozenset[Constraint]:
        """What the declared ranges say of layers and times."""
        out: list[Constraint] = []
        for letter, axis in self.left.items():
            if axis.kind == "recursion":
                low = min((c for g in self.starts(letter) for c in g), default=axis.first.const)
                last = axis.last if axis.last is not None else affine("L")
                out += [Constraint(affine(letter) - low), Constraint(last - letter)]
        return frozenset(out)

    def needs_shape(self, f: Family) -> bool:
        """Whether the equations never index an axis of a family by a letter of that axis alone."""
        if any(e.lhs.family == f.name for e in self.system.equations):
            return False
        seen: set[int] = set()
        for e in self.system.equations:
            axes = {i.name: a for i, a in zip(e.lhs.indices, self.system.axes(e.lhs), strict=True) if i.name}
            axes |= {s.index: s.axis for _, s in walk(e.rhs) if isinstance(s, Binder)}
            picked = {s.index for _, s in walk(e.rhs) if isinstance(s, Sum) and gathered(s) is not None}
            for _, p in walk(e.rhs):
                if isinstance(p, Ref) and p.family == f.name:
                    seen |= {at for at, i in enumerate(p.indices) if i.name in axes and i.name not in picked}
                    seen |= {at for at, a in enumerate(f.axes) if a.kind == "recursion"}
        return len(seen) < len(f.axes)
