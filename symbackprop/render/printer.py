"""How an expression is laid out: brackets, signs, order of factors, hidden indices.

`Printer` decides what is written in which order; a subclass decides how each piece looks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from symbackprop.indices import Affine, Axis, Constraint, Guard, affine
from symbackprop.network import Equation, System
from symbackprop.notation import Notation
from symbackprop.rules.graph import held
from symbackprop.rules.sums import LAST
from symbackprop.symbols import (
    Add,
    Assign,
    Call,
    Compare,
    D,
    Delta,
    Depends,
    Div,
    Dots,
    Expr,
    Mul,
    Num,
    Param,
    Partial,
    Pow,
    Ref,
    Role,
    Size,
    Sum,
    Summand,
    Value,
    Vec,
    Where,
    WrittenOut,
    substitute,
    walk,
)

ADD, MUL, POW, ATOM = 1, 2, 3, 4


def short_decimal(value: Fraction) -> str:
    """A constant such as 0.044715 as its author wrote it; fractions of small numbers stay fractions."""
    if value.denominator <= 100:
        return ""
    rest = value.denominator
    for p in (2, 5):
        while rest % p == 0:
            rest //= p
    return format(float(value), ".12g") if rest == 1 else ""


def short(x: float) -> str:
    """Four significant digits, as a person would write them down."""
    return f"{x:.4g}"


@dataclass(frozen=True)
class Printer(ABC):
    system: System
    notation: Notation
    roles: bool = False
    """Whether factors along a chain rule are marked with their role."""

    # ------------------------------------------------------------ pieces, for a subclass

    @abstractmethod
    def number(self, value: Fraction) -> str: ...
    @abstractmethod
    def letter(self, latex: str) -> str: ...
    @abstractmethod
    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0) -> str: ...
    @abstractmethod
    def fraction(self, top: str, bottom: str) -> str: ...
    @abstractmethod
    def derivative(self, top: str, bottom: str) -> str: ...
    @abstractmethod
    def operator(self, bottom: str, body: str) -> str: ...
    @abstractmethod
    def bracket(self, inner: str) -> str: ...
    @abstractmethod
    def times(self, factors: list[tuple[str, bool]]) -> str: ...
    @abstractmethod
    def dotted(self, factors: list[str]) -> str: ...
    @abstractmethod
    def minus(self) -> str: ...
    @abstractmethod
    def sigma(self, index: str, low: str, high: str, body: str) -> str: ...
    @abstractmethod
    def power(self, base: str, exponent: str) -> str: ...
    @abstractmethod
    def apply(self, name: str, argument: str) -> str: ...
    @abstractmethod
    def where(self, condition: str, then: str, other: str) -> str: ...
    @abstractmethod
    def compare(self, op: str) -> str: ...
    @abstractmethod
    def dots(self) -> str: ...
    @abstractmethod
    def array(self, index: str, low: str, high: str, body: str) -> str: ...
    @abstractmethod
    def holding(self, body: str, held: str) -> str: ...
    @abstractmethod
    def mark(self, body: str, role: Role) -> str: ...
    @abstractmethod
    def arrow(self) -> str: ...
    @abstractmethod
    def absolute(self, body: str) -> str: ...
    @abstractmethod
    def root(self, body: str) -> str: ...

    # ------------------------------------------------------------ structure

    def __call__(self, e: Expr) -> str:
        return self.write(e, 0)

    def write(self, e: Expr, around: int, last: bool = True) -> str:
        """`e` inside something that binds with strength `around`; `last` says that nothing follows it."""
        text, strength = self.layout(e)
        open_ended = self.runs_on(e) or (isinstance(e, Mul) and e.factors and self.runs_on(self.ordered(e)[-1][0]))
        if strength < around or (open_ended and not last):
            return self.bracket(text)
        return text

    def runs_on(self, e: Expr) -> bool:
        """Whether it reaches as far to the right as it can, so that what follows needs it in brackets."""
        if isinstance(e, Sum) and e.axis.kind == "node" and self.system.size(e.axis) == 1:
            return self.runs_on(e.body)
        return isinstance(e, Sum) or (isinstance(e, D) and isinstance(e.body, Sum | D))

    def layout(self, e: Expr) -> tuple[str, int]:
        match e:
            case Num(v):
                return self.number(v), (ATOM if v.denominator == 1 and v >= 0 else MUL if v >= 0 else ADD)
            case Value(x):
                text = short(x)
                return text.replace("-", self.minus()), ATOM if x >= 0 else ADD
            case Dots():
                return self.dots(), ADD
            case Param(name):
                return self.letter("\\" + name if name in ("eta", "pi") else name), ATOM
            case Size(axis):
                return self.size(axis), ATOM
            case Ref():
                return self.ref(e), ATOM
            case Add(terms):
                return self.sum_of(terms), ADD
            case Mul():
                return self.product(e)
            case Div(top, bottom):
                if self.linear:
                    return self.fraction(self.write(top, MUL, last=False), self.write(bottom, POW)), MUL
                return self.fraction(self.write(top, 0), self.write(bottom, 0)), MUL
            case Pow(base, exponent):
                return self.power(
                    self.write(base, ATOM if not isinstance(base, Call) else ATOM + 1), self.write(exponent, 0)
                ), POW
            case Call():
                return self.call(e)
            case Sum(index, axis, body) if axis.kind == "node" and self.system.size(axis) == 1:
                # One node: its index is left out everywhere, and so is the sum over it.
                return self.layout(body)
            case Sum(index, axis, body):
                low, high = self.limits(axis, e.guard, index)
                letter = self.notation.sample if axis.kind == "sample" and index == "i" else index
                return self.sigma(self.letter(letter), low, high, self.write(body, MUL)), MUL
            case WrittenOut():
                return self.written_out(e), ADD
            case Vec(index, axis, body):
                if isinstance(body, Ref) and body.indices and body.indices[-1] == affine(index):
                    return self.ref(Ref(body.family, body.indices[:-1])), ATOM
                low, high = self.limits(axis)
                return self.array(self.letter(index), low, high, self.write(body, 0)), ATOM
            case Partial(top, bottom, direct):
                return self.partial(top, bottom, direct)
            case D(body, variable):
                tight = POW if isinstance(body, WrittenOut | Mul) or self.signed(body) else MUL
                return self.operator(self.ref(variable), self.write(body, tight)), MUL
            case Delta(left, right, axis):
                inner = self.positions((left, right))
                return self.indexed(self.letter(r"\delta"), inner, ""), ATOM
            case Where(condition, then, other):
                return self.where(
                    self.write(condition, 0), self.write(then, 0), self.write(other, 0)
                ), ATOM if not self.linear else ADD
            case Compare(op, left, right):
                return f"{self.write(left, 0)} {self.compare(op)} {self.write(right, 0)}", 0
            case Summand(of, index, _):
                return self.indexed(self.ref(of), self.position(index), ""), ATOM
            case Depends(quantity, on):
                return self.apply(self.write(quantity, 0), self.write(on, 0)), ATOM
            case Assign(target, value):
                return f"{self.ref(target)} {self.arrow()} {self.write(value, 0)}", 0
        raise TypeError(f"no way to print {type(e).__name__}")

    linear = False

    def ref(self, r: Ref) -> str:
        """A quantity with its layer and nodes; an index on an axis of one node is left out, as lessons do."""
        family = self.system.family(r.family)
        layers: list[Affine] = []
        nodes: list[Affine] = []
        if r.family == (self.system.mean or ("", ""))[1]:
            return self.sample_cost(r)
        for n, i in enumerate(r.indices):
            axis = family.axes[n]
            if axis.kind == "recursion":
                layers.append(i)
            elif len(r.indices) != len(family.axes) or self.system.size(self.system.axes(r)[n]) != 1:
                nodes.append(i)
        letter = self.letter(self.notation.letters.get(r.family, r.family))
        return self.indexed(letter, self.positions(tuple(nodes)), self.layer(layers))

    def sample_cost(self, r: Ref) -> str:
        letter = self.notation.letters.get(r.family, r.family).split("_")[0]
        (i,) = r.indices
        name = self.notation.sample if i.name == "i" else str(i)
        return self.indexed(self.letter(letter), self.letter(name), "")

    def layer(self, layers: list[Affine]) -> str:
        inner = ",".join(self.affine(i) for i in layers)
        return f"({inner})" if inner and self.notation.brackets else inner

    def positions(self, indices: tuple[Affine, ...]) -> str:
        """Node indices side by side, with commas where two numbers of several digits would run together."""
        texts = [self.position(i) for i in indices]
        return ("," if any(len(t) > 1 for t in texts) and len(texts) > 1 else "").join(texts)

    def position(self, i: Affine) -> str:
        return self.affine(i + self.notation.first if i.value is not None else i)

    def affine(self, a: Affine) -> str:
        return str(a)

    def size(self, axis: Axis) -> str:
        """The number of positions of an axis."""
        if axis.kind == "sample":
            return self.letter(self.notation.samples)
        known = self.system.size(axis)
        if known is not None:
            return str(known)
        if axis.at is None:
            return self.letter(axis.label)
        if self.notation.width == "n" and set(self.system.widths) == {None}:
            return self.letter("n")
        return self.indexed(self.letter("n"), self.affine(axis.at), "")

    def limits(self, axis: Axis, guard: Guard = (), index: str = "") -> tuple[str, str]:
        if axis.kind == "recursion":
            low = next((c.expr * -1 + affine(index) for c in guard if dict(c.expr.terms).get(index) == 1), axis.first)
            uppers = (c.expr + affine(index) for c in guard if dict(c.expr.terms).get(index) == -1)
            return self.affine(low), self.affine(next(uppers, axis.last or affine("L")))
        if self.notation.width == "none" and self.system.size(axis) is None:
            return "", ""
        first = self.notation.first
        known = self.system.size(axis)
        if known is not None:
            return str(first), str(known - 1 + first)
        high = self.size(axis)
        return str(first), high if first else self.less_one(high)

    def less_one(self, size: str) -> str:
        return f"{size}-1"

    def sum_of(self, terms: tuple[Expr, ...]) -> str:
        out = ""
        for n, t in enumerate(terms):
            tight = ADD if isinstance(t, WrittenOut) else MUL
            text = self.write(t, tight, last=n == len(terms) - 1 or isinstance(t, Sum))
            minus = self.minus()
            if n == 0:
                out = text
            elif text.startswith(minus):
                out += f" {minus} {text[len(minus) :].lstrip()}"
            else:
                out += f" + {text}"
        return out

    def ordered(self, e: Mul) -> list[tuple[Expr, Role | None]]:
        """The factors in the notation's order where they stand along a chain rule."""
        if not e.roles:
            return [(f, None) for f in e.factors]
        rank = {r: n for n, r in enumerate(self.notation.order)}
        pairs = list(zip(e.factors, e.roles, strict=True))
        if self.notation.order[0] == "incoming" and self.notation.order[-1] == "upstream":
            return [(f, r) for f, r in reversed(pairs)]
        return [(f, r) for f, r in sorted(pairs, key=lambda p: rank[p[1]])]

    def product(self, e: Mul) -> tuple[str, int]:
        factors = self.ordered(e)
        first = factors[0][0]
        if isinstance(first, Num) and first.value == -1 and len(factors) > 1:
            rest = Mul(e.factors[1:]) if len(e.factors) > 2 else e.factors[1]
            return self.minus() + self.write(rest, MUL), MUL
        out: list[tuple[str, bool]] = []
        for n, (f, role) in enumerate(factors):
            last = n == len(factors) - 1
            text = self.write(
                f, POW if isinstance(f, Add | WrittenOut) or ((n or role) and self.signed(f)) else MUL, last=last
            )
            if isinstance(f, Num) and n == 0 and not role:
                text = self.number(f.value)  # a minus sign in front of a product needs no brackets
            if isinstance(f, Div) and self.linear and len(factors) > 1:
                text = self.bracket(self.write(f, 0))
            tight = isinstance(f, Num) and n == 0 and f.value.denominator == 1
            out.append((self.mark(text, role) if role and self.roles else text, tight))
        if any(isinstance(f, Value) for f, _ in factors):
            return self.dotted([text for text, _ in out]), MUL
        return self.times(out), MUL

    def signed(self, e: Expr) -> bool:
        """Whether it begins with a minus sign, so that it needs brackets behind another factor."""
        match e:
            case Num(v) | Value(v):
                return v < 0
            case Mul():
                return self.signed(self.ordered(e)[0][0])
        return False

    def call(self, e: Call) -> tuple[str, int]:
        f = self.system.function(e.function)
        argument = self.write(e.arguments[0], 0)
        if e.function == "abs" and e.order == 0:
            return self.absolute(argument), ATOM
        if e.function == "sqrt" and e.order == 0:
            return self.root(argument), ATOM
        if e.function == "exp" and e.order == 0 and not self.linear:
            return self.power("e", argument), POW
        name = self.notation.letters.get(e.function, e.function) if f is None else ""
        if f is None and any(isinstance(a, Vec) for a in e.arguments):
            # A generic cost has the letter of the cost that it defines.
            name = self.notation.letters.get(self.system.cost, self.system.cost).partition("_")[0]
        letter = self.letter(name) if name else self.function_name(f.latex, f.text)  # type: ignore[union-attr]
        layer = self.layer([e.at]) if e.at is not None else ""
        return self.apply(self.indexed(letter, "", layer, e.order), argument), ATOM

    @abstractmethod
    def function_name(self, latex: str, text: str) -> str: ...

    def written_out(self, e: WrittenOut) -> str:
        out = ""
        for i in e.shown:
            if i is None:
                piece = self.dots()
            elif i == LAST:
                piece = self.at_last(e)
            else:
                piece = self.write(e.term(i), MUL, last=False)
            minus = self.minus()
            if not out:
                out = piece
            elif piece.startswith(minus):
                out += f" {minus} {piece[len(minus) :].lstrip()}"
            else:
                out += f" + {piece}"
        return out

    def at_last(self, e: WrittenOut) -> str:
        size = self.letter("n") if self.notation.width == "none" else self.size(e.sum.axis)
        last = affine(size) - (0 if self.notation.first else 1)
        return self.write(e.term(last), MUL, last=False)

    def partial(self, top: Ref, bottom: Expr, direct: bool) -> tuple[str, int]:
        if (
            isinstance(bottom, Ref)
            and top.family == self.system.cost
            and bottom.family in self.notation.gradients
            and not direct
        ):
            named = self.notation.gradients[bottom.family]
            plain = self.ref(bottom)
            own = self.letter(self.notation.letters.get(bottom.family, bottom.family))
            return self.letter(named) + plain[len(own) :], ATOM
        text = self.derivative(self.ref(top), self.write(bottom, 0))
        if direct and isinstance(bottom, Ref) and self.is_held(top, bottom):
            return self.holding(text, self.held_quantities(top, bottom)), ATOM
        return text, ATOM if not self.linear else MUL + 1

    def held_quantities(self, top: Ref, bottom: Ref) -> str:
        """What stays fixed while `bottom` varies in the one equation of `top`."""
        equation = self.system.defining(top, ())
        found = next((e for e in self.system.equations if e.lhs.family == top.family), None)
        if equation is None and found is not None:
            # Which equation it is may depend on assumptions; its other quantities are named all the same.
            mapping = {i.name: a for i, a in zip(found.lhs.indices, top.indices, strict=True) if i.name is not None}
            equation = Equation(top, substitute(found.rhs, mapping))
        if equation is None:
            return ""
        others = [
            p
            for _, p in walk(equation.rhs)
            if isinstance(p, Ref) and p != bottom and self.system.families[p.family].kind == "derived"
        ]
        return ", ".join(dict.fromkeys(map(self.ref, others)))

    @cached_property
    def _held(self) -> dict[tuple[Ref, Ref], bool]:
        return {}

    def is_held(self, top: Ref, bottom: Ref) -> bool:
        key = (top, bottom)
        if key not in self._held:
            self._held[key] = held(self.system, top, bottom)
        return self._held[key]

    def constraint(self, c: Constraint) -> str:
        """A condition on layers as a person writes it: l = L, l < L."""
        positive = [(n, k) for n, k in c.expr.terms if k > 0]
        negative = [(n, -k) for n, k in c.expr.terms if k < 0]
        left, right = Affine(tuple(positive)), Affine(tuple(negative))
        const = c.expr.const
        if c.equal:
            a, b = (right, left + const) if negative else (left, affine(-const))
            if a.names <= self.system.constants and b.names - self.system.constants:
                a, b = b, a
            return f"{self.affine(a)} = {self.affine(b)}"
        if not negative:
            return f"{self.affine(left)} {self.compare('>=')} {self.affine(affine(-const))}"
        if const < 0:
            return f"{self.affine(right)} {self.compare('<')} {self.affine(left + (const + 1))}"
        return f"{self.affine(right)} {self.compare('<=')} {self.affine(left + const)}"
