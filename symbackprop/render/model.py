"""A model as a model file: its equations as LaTeX, and `%|` lines for what LaTeX cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from symbackprop.indices import Axis, Constraint, Guard, affine, at_least, between, equals
from symbackprop.network import Equation, System
from symbackprop.notation import Notation
from symbackprop.read.lessons import one_function_each
from symbackprop.render.document import unpadded
from symbackprop.render.latex import Latex
from symbackprop.render.printer import ATOM, gathered
from symbackprop.symbols import (
    Binder,
    Call,
    Expr,
    Family,
    Max,
    Param,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    families,
    substitute,
    transform,
    walk,
)

ORDER = ("upstream", "slope", "incoming")


def model_text(system: System, notation: Notation) -> str:
    r"""The text of a model file that reads back as this model in this notation.

    A gradient from outside is no part of a model. Sizes that are numbers are declared, so that letters stand in the
    equations. What a reader supplies is left out: base cases such as h_0, padding, the inputs of the lessons' network.

    >>> from symbackprop.network import dense_system
    >>> from symbackprop.notation import DEEPLIZARD
    >>> print(model_text(dense_system(), DEEPLIZARD))
    %| source deeplizard, Backpropagation explained, parts 1 to 5
    %| l = 1..L
    %| width n
    C_0 &= \sum_{j=0}^{n-1} \left(a_j^{(L)} - y_j\right)^2 \\
    z_j^{(l)} &= \sum_{k=0}^{n-1} w_{jk}^{(l)} a_k^{(l-1)} \\
    a_j^{(l)} &= g^{(l)}\left(z_j^{(l)}\right)
    <BLANKLINE>
    """
    return ModelWriter(system, notation).text()


class Plain(Latex):
    """LaTeX as a person types it: no thin spaces, and brackets that grow only around what is tall."""

    def times(self, factors: list[tuple[str, bool]]) -> str:
        return super().times(factors).replace(r"\, ", " ")

    def bracket(self, inner: str) -> str:
        return super().bracket(inner) if TALL.search(inner) else f"({inner})"

    def apply(self, name: str, argument: str) -> str:
        return name + self.bracket(argument)

    def power(self, base: str, exponent: str) -> str:
        if base.startswith("(") and base.endswith(")"):
            base = Latex.bracket(self, base[1:-1])
        return super().power(base, exponent)

    def layout(self, e: Expr) -> tuple[str, int]:
        match e:
            case Size(axis) if axis.at is not None and self.system.size(axis) is None:
                return self.indexed(self.glyph(axis.label), self.affine(axis.at), ""), ATOM  # n alone is every width
            case Vec(index, _, Ref() as r) if r.indices[-1].name == index:
                return self.ref(Ref(r.family, r.indices[:-1])), ATOM
        return super().layout(e)


TALL = re.compile(r"[\^]|\\(?:frac|sum|prod|max|sqrt|left|hat|tilde|bar)")


def of_any_depth(system: System) -> System:
    """The lessons' network of a number of layers with L for that number, which a declaration then gives."""
    last, top = system.layers, affine("L")

    def axis(a: Axis) -> Axis:
        return replace(a, at=top if a.at == last else a.at, last=top if a.last == last else a.last)

    apart = any(e.guard == (equals("l", last),) for e in system.equations)

    def guard(g: Guard, hidden: bool = False) -> Guard:
        if g == (equals("l", last),):
            return (equals("l", top),)
        if hidden:
            return between(1, "l", top - 1)
        return tuple(at_least(top, "l") if c == at_least(last, "l") else c for c in g)

    def part(e: Expr) -> Expr:
        match e:
            case Ref(family, indices):
                layered = [a.kind == "recursion" for a in system.family(family).axes]
                return Ref(family, tuple(top if r and i == last else i for i, r in zip(indices, layered, strict=True)))
            case Sum() | Vec():
                return replace(e, axis=axis(e.axis))
            case Size(a):
                return Size(axis(a))
        return e

    kept = {n: replace(f, axes=tuple(map(axis, f.axes)), guard=guard(f.guard)) for n, f in system.families.items()}
    rows = tuple(
        Equation(
            e.lhs,
            transform(e.rhs, part),
            guard(e.guard, apart and e.lhs.family == "a" and e.guard not in ((equals("l", last),), (equals("l", 0),))),
        )
        for e in system.equations
    )
    facts = tuple(replace(f, lhs=transform(f.lhs, part)) for f in system.facts)
    return replace(system, families=kept, equations=rows, layers=top, widths=(None,), facts=facts, spec="")


class ModelWriter:
    """The declarations and equations of one model."""

    def __init__(self, system: System, notation: Notation) -> None:
        self.given = system
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
        equations = tuple(r for e in equations for r in one_function_each(e, system))
        if system.mean and system.layers.value:
            if not system.tables:
                system = replace(system, equations=equations, spec="")
                system = of_any_depth(system)
                equations, kept = system.equations, {n: f for n, f in system.families.items() if n not in bars}
            elif not notation.brackets:
                notation = replace(notation, brackets=True)  # a^2 would be a square
        own = {n: k for n, k in system.sizes.items() if n.startswith("n_")}  # a reader's own names for numbers
        single = {*self.given.widths} == {1}
        widths = (1 if single else None,) * len(system.widths)
        self.system = replace(
            system, families=kept, equations=equations, cost=cost, upstream={}, sizes=own, widths=widths, spec=""
        )
        if notation.width == "none" and any(isinstance(p, Size) for e in equations for _, p in walk(e.rhs)):
            notation = replace(notation, width="n_l")  # a width that stands in a formula is the end of some sum
        if any(isinstance(p, Call) and p.function == "gelu_tanh" for e in equations for _, p in walk(e.rhs)):
            letter = next(n for n in ("phi", "psi", "gamma", "kappa") if n not in kept)
            notation = replace(notation, names={"gelu_tanh": f"\\{letter}", **notation.names})  # GELU says erf
        self.notation = notation
        self.printer = Plain(self.system, notation)
        self.layered = mean[0] != ""
        used = {n for e in self.system.equations for n in {e.lhs.family, *families(e.rhs)}} - self.bases
        self.families = [f for n, f in self.system.families.items() if n in used and n not in mean]

    def text(self) -> str:
        rows = [
            *(r for e in self.system.equations if not self.understood(e) for r in [self.row(e)]),
            *self.definitions(),
        ]
        return "".join(f"%| {d}\n" for d in self.declarations()) + " \\\\\n".join(rows) + "\n"

    # ------------------------------------------------------------ equations

    def understood(self, e: Equation) -> bool:
        """Whether a reader supplies an equation: the inputs of the lessons' network, the h_0 where h begins."""
        if not isinstance(e.rhs, Ref):
            return False
        return e.rhs.family == "x" if self.layered else e.rhs.family in self.bases

    @cached_property
    def bases(self) -> frozenset[str]:
        """The data with which a family begins at a time before its equations: the h_0 of h, for a reader to supply."""
        out: set[str] = set()
        for e in self.system.equations:
            fixed = [c for c in e.guard if c.equal and len(c.expr.names) == 1]
            if len(e.guard) != 1 or not fixed or not isinstance(e.rhs, Ref):
                continue
            (letter,) = fixed[0].expr.names
            name = f"{e.lhs.family}_{affine(letter) - fixed[0].expr}"
            kept = tuple(i for i in e.lhs.indices if i.name != letter)
            if e.rhs == Ref(name, kept) and self.system.family(name).kind == "input":
                out.add(name)
        return frozenset(out)

    def row(self, e: Equation) -> str:
        fixed = {
            n: c.expr * -k + affine(n)
            for c in e.guard
            if c.equal
            for n, k in c.expr.terms
            if self.solves(c, n, k, e.lhs)
        }
        lhs, rhs = substitute(e.lhs, fixed), substitute(unpadded(e.rhs, self.system, self.notation), fixed)
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
            latex = self.notation.names.get(name, f.latex) if f is not None else ""
            known = latex.startswith((r"\operatorname", r"\tanh", r"\exp", r"\ln", r"\sqrt"))
            if f is None or f.value is None or known:
                continue
            u = Param("u")
            yield f"{self.printer(Call(name, (u,)))} &= {self.printer(f.value(u))}"

    # ------------------------------------------------------------ declarations

    def declarations(self) -> Iterator[str]:
        """What LaTeX cannot say, in the order in which a person would say it."""
        if self.notation.title:
            yield f"title {self.notation.title}"
        if self.notation.source:
            yield f"source {self.notation.source}"
        yield from self.range_lines()
        if self.notation.width == "n" and any(a.at is not None for f in self.families for a in f.axes):
            yield "width n"
        yield from self.shapes()
        yield from self.sizes()
        yield from self.roles()
        for fact in self.system.facts:
            yield f"fact {replace(self.printer, notation=self.without_limits)(fact.lhs)} = {self.printer(fact.rhs)}"
        yield from self.words()
        yield from self.look()

    def shapes(self) -> Iterator[str]:
        """The axes that no index of an equation tells."""
        for f in self.families:
            if f.over is not None:
                yield f"index {self.letter(f)}: {self.letter_of(f.over)}"
        for f in self.families:
            if self.needs_shape(f):
                yield f"shape {self.letter(f)}: {' '.join(map(self.printer.glyph, f.indices))}"

    def sizes(self) -> Iterator[str]:
        """Sizes that follow from others or are numbers, letters that are whole numbers, and padding."""
        s, p = self.system, self.printer
        for name, rule in s.rules.items():
            top, bottom = p.affine(rule.top), p.affine(rule.bottom)
            quotient = top if bottom == "1" else f"({top})/{bottom}"
            plus = f" {'-' if rule.plus < 0 else '+'} {abs(rule.plus)}" if rule.plus else ""
            yield re.sub(r"(?<=\w)([+-])(?=\w)", r" \1 ", f"size {p.glyph(name)} = {quotient}{plus}")
        numbers = [f"{p.glyph(n)} = {size}" for n, size in sorted(self.given.sizes.items()) if n not in s.sizes]
        if s.layers != self.given.layers:
            numbers.append(f"{p.affine(s.layers)} = {self.given.layers}")
        if self.given.layers.value is None:
            numbers += [f"{p.glyph('n')} = {w}" for w in self.given.widths if w not in (None, 1)]
        elif {*self.given.widths} != {1}:
            numbers += [f"n_{n} = {w}" for n, w in enumerate(self.given.widths) if w is not None]
        if numbers:
            yield "size " + ", ".join(numbers)
        if s.integers:
            yield "integer " + ", ".join(map(p.glyph, s.integers))
        zero = [self.letter(f) for f in self.families if f.name in self.notation.zero]
        if zero:
            yield "zero " + ", ".join(zero)

    def words(self) -> Iterator[str]:
        """Which number is the cost where several could be, and what families are in words."""
        s = self.system
        scalars = [o for o in s.outputs if not s.families[o].axes]
        if s.cost and not self.layered and (len(scalars) > 1 or s.cost not in scalars):
            yield f"cost {self.letter(s.families[s.cost])}"
        if not self.layered:
            for f in self.families:
                if f.meaning:
                    yield f"meaning {self.letter(f)}: {f.meaning}"

    def look(self) -> Iterator[str]:
        """What belongs to the notation alone."""
        n = self.notation
        for name, letter in n.gradients.items():
            yield f"gradient {self.printer.family_letter(name)}: {letter}"
        if n.order != ORDER:
            yield "order " + " ".join(n.order)
        if n.sample != "i":
            yield f"sample {n.sample}"

    @property
    def without_limits(self) -> Notation:
        """The notation in which the sums of facts are written: their families tell over what they go."""
        return replace(self.notation, width="none")

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
                if f.kind == kind and n not in defined and ("input" if f.over else usual.get(n, "parameter")) != kind
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
            if f.over is not None:
                out.setdefault(self.letter_of(f.over), f.over)
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
            for _, p in walk(e.rhs):
                if isinstance(p, Ref) and p.family == f.name:
                    seen |= {at for at, i in enumerate(p.indices) if i.name in axes}
                    seen |= {at for at, a in enumerate(f.axes) if a.kind == "recursion"}
        return len(seen) < len(f.axes)
