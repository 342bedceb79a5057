"""Matrix forms in a notation: lower-case vectors, capital matrices, shapes under the arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from symbackprop.indices import Affine, Axis
from symbackprop.matrix.convert import Form, MatrixForm
from symbackprop.matrix.explain import shape_notes
from symbackprop.matrix.heads import bare
from symbackprop.matrix.tree import (
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
    Shape,
    Side,
    Transpose,
    Whole,
)
from symbackprop.network import System
from symbackprop.notation import Notation, Written
from symbackprop.render.latex import Latex
from symbackprop.render.printer import ATOM, Printer
from symbackprop.render.scripts import latex_name
from symbackprop.render.text import SUPERSCRIPT, Ascii, Text
from symbackprop.symbols import ONE, Div, Expr, Mul, Num, Ref, Sum

ADD, ENTRY, MUL, TIGHT, TOP = 1, 2, 3, 4, 5
"""How strongly a text holds together: sums, products entry by entry, products, signs behind a letter, letters."""


@dataclass(frozen=True)
class Signs:
    """The signs between arrays in a format."""

    transpose: str
    entrywise: str
    over: str
    ones: str
    identity: str
    diagonal: str
    by: str


LATEX = Signs(r"^\top", r" \odot ", r" \oslash ", r"\mathbf{1}", "I", r"\operatorname{diag}", r" \times ")
UNICODE = Signs("ᵀ", " ⊙ ", " ⊘ ", "𝟏", "I", "diag", "×")
PLAIN = Signs("^T", " (.) ", " (/) ", "ones", "I", "diag", " x ")

CAPITALS = frozenset(("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"))
ACCENT = re.compile(r"(\\(?:hat|tilde|bar|overline|dot|ddot|check|breve|vec)\s*)(?:\{(.*)\}|(\\?\w+))$")


def capital(letter: str) -> str:
    r"""The letter of a matrix: W for w, \hat{X} for \hat{x}, \Delta for \delta, a bold one where there is no capital.

    >>> capital("w"), capital(r"\hat{x}"), capital(r"\delta"), capital(r"\mu")
    ('W', '\\hat{X}', '\\Delta', '\\boldsymbol{\\mu}')
    """
    accent = ACCENT.match(letter)
    if accent:
        return f"{accent[1].rstrip()}{{{capital(accent[2] or accent[3])}}}"
    greek = re.fullmatch(r"\\([a-z]+)", letter)
    if greek:
        name = greek[1].removeprefix("var").capitalize()
        return "\\" + name if name in CAPITALS else rf"\boldsymbol{{{letter}}}"
    return letter[:1].upper() + letter[1:] if re.fullmatch(r"[a-z](_\w+|_\{.*\}|')*", letter) else letter


def bold(letter: str) -> str:
    """The same letter in bold, where the plain one is another family's."""
    return rf"\mathbf{{{letter}}}" if re.fullmatch(r"[A-Za-z]", letter) else rf"\boldsymbol{{{letter}}}"


@dataclass(frozen=True)
class MatrixPrinter:
    """Matrix forms in the notation and format of a printer.

    Args:
        printer: For letters, layers, sizes and scalars.
        shapes: `under` each array, `alone` in the place of each array, or not at all.
    """

    printer: Printer
    shapes: Literal["", "under", "alone"] = ""

    # ------------------------------------------------------------ equations

    def __call__(self, form: Form) -> str:
        """The equation between arrays; in index notation where it has no matrix form."""
        if not isinstance(form, MatrixForm):
            return f"{self.printer(bare(form.subject))} = {self.printer(bare(form.value))}"
        return f"{self.write(form.left, 0)} = {self.write(form.right, 0)}"

    def shaped(self, form: MatrixForm) -> str:
        """The equation with the shape of every array: under it in LaTeX, in its place on a line of text."""
        return replace(self, shapes="alone" if self.printer.linear else "under")(form)

    def says_nothing(self, form: Form) -> bool:
        """Whether both sides read the same: a model's h_0, the data, and its h_t at t = 0."""
        return isinstance(form, MatrixForm) and self.write(form.left, 0) == self.write(form.right, 0)

    def condition(self, form: Form) -> str:
        """Where the equation holds: its layers, and the indices for each of whose values it does."""
        text = self.printer.constraints(form.guard)
        held = form.held if isinstance(form, MatrixForm) else ()
        if not held:
            return text
        every = ", ".join(map(self.printer.glyph, held))
        every = f"for every {every}" if self.printer.linear else rf"\text{{for every }} {every}"
        return f"{text}, {every}" if text else every

    def notes(self, form: MatrixForm) -> list[tuple[str, str, str]]:
        """Every array with its shape as it is stored, and why it is transposed."""
        plain = replace(self, shapes="")
        return [(plain.write(n.array, 0), self.shape(n.shape), n.why) for n in shape_notes(form)]

    # ------------------------------------------------------------ letters

    @property
    def system(self) -> System:
        return self.printer.system

    @property
    def notation(self) -> Notation:
        return self.printer.notation

    @cached_property
    def signs(self) -> Signs:
        if isinstance(self.printer, Ascii):
            return PLAIN
        return UNICODE if isinstance(self.printer, Text) else LATEX

    @cached_property
    def sizes(self) -> Printer:
        """The printer for shapes, in which every layer has a width of its own, and samples are not counted by n."""
        samples = "m" if self.notation.samples == "n" else self.notation.samples
        return replace(self.printer, notation=replace(self.notation, width="n_l", samples=samples))

    def letter(self, family: str, matrix: bool) -> str:
        """The letter of a family's array; bold where its capital is the letter of another family."""
        own = self.printer.family_latex(family)
        if not matrix:
            return own
        big = capital(own)
        head, mark, below = big.partition("_")
        others = {self.printer.family_latex(f): self.unit(f) for f in self.system.families if f != family}
        clash = big != own and others.get(head) == self.unit(family)
        return bold(head) + mark + below if clash else big

    def unit(self, family: str) -> str:
        """What stands above a family's letter besides indices; it tells W^Q from W^K."""
        look = self.printer.look(family)
        return look.unit if look else ""

    def array(self, a: Array) -> tuple[str, int]:
        matrix = None not in a.shape
        ref = a.ref
        if isinstance(a.quantity, Ref):
            return self.indexed(a, self.letter(ref.family, matrix)), TOP
        gradient = self.notation.gradients.get(ref.family)
        if gradient and a.quantity.top.family == self.system.cost:
            return self.indexed(a, capital(gradient) if matrix else gradient), TOP
        by = self.indexed(a, self.letter(ref.family, matrix))
        return self.printer.derivative(self.printer.ref(a.quantity.top), by), TOP if not self.printer.linear else MUL

    def indexed(self, a: Array, letter: str) -> str:
        """A letter with the indices of an array that are no side of it: layers, times and held indices."""
        ref = a.ref
        axes = self.system.axes(ref)
        kept = [n for n, i in enumerate(ref.indices) if not any(x.startswith("#") for x in i.names)]
        look = self.printer.look(ref.family) or self.usual_look(ref, axes)
        look = replace(look, lower=_among(look.lower, kept), upper=_among(look.upper, kept))
        notation = replace(self.notation, written={**self.notation.written, ref.family: look})
        return replace(self.printer, notation=notation).ref(ref, self.printer.letter(letter))

    def usual_look(self, ref: Ref, axes: tuple[Axis, ...]) -> Written:
        """How a family is written of which the notation says nothing: layers above, the rest below."""
        above = tuple(n for n, a in enumerate(axes) if a.kind == "recursion")
        below = tuple(n for n in range(len(axes)) if n not in above)
        brackets = "()" if self.notation.brackets else ""
        return Written(ref.family, below, above, brackets, upper_first=self.notation.layer_first)

    # ------------------------------------------------------------ shapes

    def shape(self, shape: Shape) -> str:
        return self.signs.by.join(map(self.side, shape))

    def side(self, side: Side) -> str:
        return "1" if side is None else self.sizes.size(side)

    def with_shape(self, m: Matrix, text: str, strength: int) -> tuple[str, int]:
        """A piece with its shape; scalars have none."""
        if not self.shapes or m.shape == (None, None):
            return text, strength
        if self.shapes == "alone":
            return self.printer.bracket(self.shape(m.shape)), TOP
        return rf"\underset{{{self.shape(m.shape)}}}{{{text}}}", TOP

    # ------------------------------------------------------------ structure

    def write(self, m: Matrix, around: int) -> str:
        text, strength = self.layout(m)
        return self.printer.bracket(text) if strength < around else text

    def layout(self, m: Matrix) -> tuple[str, int]:
        match m:
            case Array():
                return self.with_shape(m, *self.array(m))
            case Number(value):
                return self.scalar(value)
            case Ones(rows, _):
                row = rows is None and m.shape != (None, None)
                return self.with_shape(m, self.signs.ones + (self.signs.transpose if row else ""), TIGHT)
            case Identity():
                return self.with_shape(m, self.signs.identity, TOP)
            case Transpose(of):
                return self.transposed(of)
            case MatMul(factors):
                gap = r"\; " if self.shapes == "under" else " "  # or the shapes below would touch
                return gap.join(self.write(f, MUL) for f in factors), MUL
            case Hadamard(factors):
                return self.signs.entrywise.join(self.write(f, MUL) for f in factors), ENTRY
            case AddM(terms):
                return self.sum_of(terms), ADD
            case ScalarMul(scalar, of):
                return self.scaled(scalar, of)
            case DivM(top, bottom):
                return self.quotient(m, top, bottom)
            case _:
                return self.function_like(m)

    def function_like(self, m: Matrix) -> tuple[str, int]:
        plain = replace(self, shapes="")
        match m:
            case Apply():
                return self.with_shape(m, *plain.applied(m))
            case Whole(_, of):
                # A generic cost has the letter of the cost that it defines.
                name = self.printer.family_latex(self.system.cost).partition("_")[0]
                return self.printer.apply(self.printer.letter(name), plain.write(of, 0)), TOP
            case Diag(of):
                return self.with_shape(m, self.printer.apply(self.signs.diagonal, plain.write(of, 0)), TOP)
            case DiagonalOf(of, as_row):
                text = self.printer.apply(self.signs.diagonal, plain.write(of, 0))
                return self.with_shape(m, text + (self.signs.transpose if as_row else ""), TIGHT)
            case PowM(of, exponent):
                return self.power(m, plain.write(of, TOP), exponent)
            case NormSquared(of):
                return self.norm(of, self.write(of, 0)), TIGHT
            case Series():
                return self.series(m), MUL
            case Choose():
                return self.with_shape(m, plain.choice(m), TOP)
        raise TypeError(f"no way to print {type(m).__name__}")

    def transposed(self, of: Matrix) -> tuple[str, int]:
        bare, strength = replace(self, shapes="").layout(of)
        if strength < TOP or bare.startswith(r"\frac"):
            bare = self.printer.bracket(bare)
        elif "^" in bare or bare[-1] in SUPERSCRIPT.values():
            bare = f"({bare})"  # (a^(l))^T, not a^(l)^T
        return self.with_shape(Transpose(of), bare + self.signs.transpose, TIGHT)

    def sum_of(self, terms: Iterable[Matrix]) -> str:
        out = ""
        for t in terms:
            text, minus = self.write(t, ENTRY), self.printer.minus()
            flat = self.layout(t)[0]
            if not out:
                out = flat if flat.startswith(minus) else text
            elif flat.startswith(minus):
                out += f" {minus} {flat[len(minus) :].lstrip()}"
            else:
                out += f" + {text}"
        return out

    def scaled(self, scalar: Matrix, of: Matrix) -> tuple[str, int]:
        inner, strength = self.layout(of)
        if strength < ENTRY:
            inner, strength = self.printer.bracket(inner), MUL
        if not isinstance(scalar, Number):
            return self.printer.times([(self.write(scalar, MUL), False), (inner, False)]), min(strength, MUL)
        sign, value = signed(scalar.value)
        front = "" if value == ONE else self.scalar(value)[0]
        if front and self.printer.linear and isinstance(value, Div):
            front = self.printer.bracket(front)
        whole = isinstance(value, Num) and value.value.denominator == 1
        text = self.printer.times([(front, whole), (inner, False)]) if front else inner
        return (self.printer.minus() + text, ADD) if sign < 0 else (text, min(strength, MUL))

    def scalar(self, value: Expr) -> tuple[str, int]:
        sign, rest = signed(value)
        text, strength = self.sizes.layout(rest)
        if sign < 0:
            return self.printer.minus() + text, ADD
        return text, TOP if strength == ATOM else MUL

    def quotient(self, m: Matrix, top: Matrix, bottom: Matrix) -> tuple[str, int]:
        if m.shape == (None, None) and not self.printer.linear:
            return self.printer.fraction(self.write(top, 0), self.write(bottom, 0)), MUL
        sign = self.signs.over if m.shape != (None, None) else "/"
        return f"{self.write(top, MUL)}{sign}{self.write(bottom, MUL + 1)}", ENTRY

    def power(self, m: Matrix, base: str, exponent: Expr) -> tuple[str, int]:
        times = self.printer(exponent)
        if m.shape == (None, None):
            return self.printer.power(base, times), TIGHT
        if self.printer.linear:
            return self.with_shape(m, f"{base}^{self.signs.entrywise.strip()}{times}", TIGHT)
        base = rf"({base})" if "^" in base and not base.startswith(r"\left(") else base
        return self.with_shape(m, rf"{base}^{{\odot {times}}}", TIGHT)

    def norm(self, of: Matrix, text: str) -> str:
        frobenius = None not in of.shape
        if not self.printer.linear:
            return rf"\left\lVert {text} \right\rVert{'_F' if frobenius else ''}^2"
        bars = "||" if isinstance(self.printer, Ascii) else "‖"
        return self.printer.indexed(f"{bars}{text}{bars}", "", "2") if not frobenius else f"{bars}{text}{bars}_F^2"

    def series(self, s: Series) -> str:
        e = Sum(s.index, s.axis, ONE, s.guard)
        index = self.printer.glyph(s.index)
        under, over, needed = self.printer.under(e, index)
        return self.printer.big("sum", index, under, over, self.write(s.of, MUL), needed)

    def choice(self, c: Choose) -> str:
        condition = f"{self.write(c.left, ADD)} {self.printer.compare(c.op)} {self.write(c.right, ADD)}"
        if (c.then, c.other) == (Number(ONE), Number(Num(ONE.value * 0))):
            return self.printer.indicator(condition)
        return self.printer.where(condition, self.write(c.then, 0), self.write(c.other, 0))

    def applied(self, a: Apply) -> tuple[str, int]:
        """A function behind its name: exp(S), and not e^S, which is another matrix."""
        argument = self.write(a.of, 0)
        if a.order == 0 and a.function == "abs":
            return self.printer.absolute(argument), TOP
        if a.order == 0 and a.function == "sqrt":
            return self.printer.root(argument), TOP
        return self.printer.apply(self.function_name(a.function, a.order, a.at), argument), TOP

    def function_name(self, name: str, order: int, at: Affine | None) -> str:
        f = self.system.function(name)
        known = self.notation.names.get(name, "")
        if f is None:
            known = known or self.notation.letters.get(name) or latex_name(name)
        text = self.printer.letter(known) if known or f is None else self.printer.function_name(f.latex, f.text)
        return self.printer.indexed(text, "", self.printer.layer([at]) if at is not None else "", order)


def _among(places: tuple[int, ...], kept: list[int]) -> tuple[int, ...]:
    return tuple(n for n in places if n in kept)


def signed(value: Expr) -> tuple[int, Expr]:
    """A scalar without its sign."""
    match value:
        case Num(v) if v < 0:
            return -1, Num(-v)
        case Div(top, bottom):
            sign, rest = signed(top)
            return sign, Div(rest, bottom)
        case Mul((Num(v), *rest)) if v < 0:
            factors = (*([Num(-v)] if v != -1 else []), *rest)
            return -1, factors[0] if len(factors) == 1 else Mul(factors)
        case _:
            return 1, value


def latex(system: System, notation: Notation) -> MatrixPrinter:
    """Matrix forms as LaTeX."""
    return MatrixPrinter(Latex(system, notation))


def text(system: System, notation: Notation, *, ascii_only: bool = False) -> MatrixPrinter:
    """Matrix forms on lines of text."""
    return MatrixPrinter((Ascii if ascii_only else Text)(system, notation))
