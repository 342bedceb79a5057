"""How an expression is laid out: brackets, signs, order of factors, hidden indices.

`Printer` decides what is written in which order; a subclass decides how each piece looks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from symbackprop.indices import Affine, Axis, affine
from symbackprop.network import Equation
from symbackprop.render.scripts import Scripts, latex_name
from symbackprop.rules.graph import held
from symbackprop.rules.sums import LAST
from symbackprop.symbols import (
    ONE,
    ZERO,
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
    Role,
    Size,
    Sum,
    Summand,
    Value,
    Vec,
    Where,
    Winner,
    WrittenOut,
    names,
    substitute,
    walk,
    with_index,
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


SIGNS = {Sum: "sum", Prod: "prod", Max: "max"}


@dataclass(frozen=True)
class Printer(Scripts):
    """Expressions in a notation; a subclass is a format."""

    # ------------------------------------------------------------ pieces, for a subclass

    @abstractmethod
    def number(self, value: Fraction) -> str: ...
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
    def big(self, sign: str, index: str, under: Sequence[str], over: str, body: str, needed: bool = False) -> str:
        """A sum, product or maximum; what stands under its sign is `needed` where it says more than the whole range."""

    @abstractmethod
    def largest_at(self, at: str, index: str, under: Sequence[str], body: str) -> str: ...
    @abstractmethod
    def bracketed(self, condition: str) -> str: ...
    @abstractmethod
    def indicator(self, condition: str) -> str: ...
    @abstractmethod
    def power(self, base: str, exponent: str) -> str: ...
    @abstractmethod
    def apply(self, name: str, argument: str) -> str: ...
    @abstractmethod
    def where(self, condition: str, then: str, other: str) -> str: ...
    @abstractmethod
    def dots(self) -> str: ...
    @abstractmethod
    def array(self, index: str, low: str, high: str, body: str) -> str: ...
    @abstractmethod
    def holding(self, body: str, held: str) -> str: ...
    @abstractmethod
    def alone(self, body: str) -> str:
        """A derivative through one equation only, where what that holds has no short name."""

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
        return self.knowing(e).write(e, 0)

    def write(self, e: Expr, around: int, last: bool = True) -> str:
        """`e` inside something that binds with strength `around`; `last` says that nothing follows it."""
        text, strength = self.layout(e)
        open_ended = self.runs_on(e) or (isinstance(e, Mul) and e.factors and self.runs_on(self.ordered(e)[-1][0]))
        if strength < around or (open_ended and not last):
            return self.bracket(text)
        return text

    def runs_on(self, e: Expr) -> bool:
        """Whether it reaches as far to the right as it can, so that what follows needs it in brackets."""
        if isinstance(e, Sum | Max | Prod):
            if e.axis.kind == "node" and self.system.size(e.axis) == 1:
                return self.runs_on(e.body)
            found = gathered(e)
            return found is None or self.runs_on(found[1])
        if isinstance(e, Guarded):
            return self.runs_on(e.body)
        return isinstance(e, D) and isinstance(e.body, Sum | Max | Prod | D)

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
                return self.param(name), ATOM
            case Size(axis):
                return self.size(axis), ATOM
            case Ref():
                return self.ref(e), ATOM
            case Add(terms):
                return self.sum_of(terms), ADD
            case Mul():
                return self.product(e)
            case Div(top, bottom) if self.signed(top):
                # The sign stands before the fraction.
                return self.minus() + self.write(Div(negated(top), bottom), MUL), MUL
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
            case Sum(_, axis, body) | Max(_, axis, body) | Prod(_, axis, body) if (
                axis.kind == "node" and self.system.size(axis) == 1
            ):
                # One node: its index is left out everywhere, and so is the sum over it.
                return self.layout(body)
            case Sum() | Max() | Prod():
                return self.binder(e)
            case Winner(of, i):
                return self.winner(of, i), ATOM
            case Guarded(body, guard):
                if not guard or self.is_padded(e):
                    return self.layout(body)
                if body == ONE:
                    return self.indicator(self.constraints(guard)), ATOM
                return self.times([(self.bracketed(self.constraints(guard)), False), (self.write(body, MUL), False)]), MUL  # fmt: skip
            case Position(i):
                number = self.counted(i, 0)
                return self.affine(number), ATOM if number.name or (not number.terms and number.const >= 0) else ADD
            case WrittenOut():
                return self.written_out(e), ADD
            case Vec(index, axis, body):
                if isinstance(body, Ref) and body.indices and body.indices[-1] == affine(index):
                    return self.ref(Ref(body.family, body.indices[:-1])), ATOM
                low, high = self.limits(axis)
                return self.array(self.glyph(index), low, high, self.within(e).write(body, 0)), ATOM
            case Partial(top, bottom, direct):
                return self.partial(top, bottom, direct)
            case D(body, variable):
                tight = POW if isinstance(body, WrittenOut | Mul) or self.signed(body) else MUL
                by = self.ref(variable)
                by = self.bracket(by) if variable.family in self.system.gradients else by
                return self.operator(by, self.write(body, tight)), MUL
            case Delta(left, right, axis):
                inner = self.positions([(left, axis), (right, axis)])
                return self.indexed(self.letter(r"\delta"), inner, ""), ATOM
            case Where(Compare() as c, then, other) if (then, other) == (ONE, ZERO) and is_place(c):
                return self.indicator(self.comparison(c)), ATOM
            case Where(condition, then, other):
                return self.where(
                    self.write(condition, 0), self.write(then, 0), self.write(other, 0)
                ), ATOM if not self.linear else ADD
            case Compare():
                return self.comparison(e), 0
            case Summand(of, index, _):
                return self.indexed(self.ref(of), self.position(index), ""), ATOM
            case Depends(quantity, on):
                return self.apply(self.write(quantity, 0), self.write(on, 0)), ATOM
            case Assign(target, value):
                return f"{self.ref(target)} {self.arrow()} {self.write(value, 0)}", 0
        raise TypeError(f"no way to print {type(e).__name__}")

    linear = False

    def param(self, name: str) -> str:
        """A scalar, or the letter of an index in a text."""
        return self.data[name] if name in self.data else self.glyph(name)

    # ------------------------------------------------------------ heads over an index

    def binder(self, e: Sum | Max | Prod) -> tuple[str, int]:
        found = gathered(e)
        if found is not None:
            datum, rest = found
            return replace(self, data={**self.data, e.index: self.ref(datum)}).layout(rest)
        inner = self.within(e)
        sample = e.axis.kind == "sample" and e.index == "i"
        index = self.letter(self.notation.sample) if sample else self.glyph(e.index)
        under, over, needed = self.under(e, index)
        body = inner.write(e.body, MUL)
        return self.big(SIGNS[type(e)], index, under, over, body, needed), MUL

    def under(self, e: Sum | Max | Prod, index: str) -> tuple[list[str], str, bool]:
        """What stands under a sign and over it, and whether the range is more than the axis."""
        low, high, rest, moved = self.extent(e)
        conditions = self.within(e).conditions(rest)
        if isinstance(e, Max) and low:
            # A maximum has no upper limit: its range stands below as one condition.
            first = f"{low} {self.compare('<=')} {index} "
            below = high.removesuffix("-1")
            first += f"{self.compare('<')} {below}" if below != high else f"{self.compare('<=')} {high}"
            return [first, *conditions], "", moved or bool(rest)
        if rest and not (low or moved):
            known = any(c.split(" ")[0] == index or f" {index} " in c for c in conditions)
            return [*([] if known else [index]), *conditions], "", True
        return [f"{index}={low}" if low else index, *conditions], high, moved or bool(rest)

    def winner(self, of: Max, at: Affine) -> str:
        if of.index in at.names | names(of):
            of = with_index(of, of.index + "'")
        index = self.glyph(of.index)
        under = [index, *self.within(of).conditions(of.guard)]
        return self.largest_at(self.position(at, of.axis), index, under, self.within(of).write(of.body, MUL))

    def comparison(self, c: Compare) -> str:
        """A condition; places are compared in the notation's own counting, and so is data whose values are places."""
        op = self.compare(c.op)
        axis = next((a for p in (c.left, c.right) if (a := self.places_of(p)) is not None), None)
        if not is_place(c):
            return f"{self.write(c.left, 0)} {op} {self.write(c.right, 0)}"

        def side(p: Expr) -> str:
            if isinstance(p, Position):
                return self.position(p.at, axis)
            if isinstance(p, Num) and p.value.denominator == 1:
                return self.position(affine(p.value.numerator), axis)
            return self.write(p, 0)

        return f"{side(c.left)} {op} {side(c.right)}"

    def places_of(self, p: Expr) -> Axis | None:
        """The axis on which the value of an expression is a place."""
        if isinstance(p, Ref):
            return self.system.family(p.family).over
        if isinstance(p, Position):
            found = (self.axes.get(n) or self.usual(n) for n in sorted(p.at.names))
            return next((a for a in found if a is not None), None)
        return None

    def sum_of(self, terms: tuple[Expr, ...]) -> str:
        place = next((t for t in terms if isinstance(t, Position)), None)
        number = next((t for t in terms if isinstance(t, Num) and t.value.denominator == 1), None)
        if place is not None and number is not None:
            # The place of k, counted from 0, and 1 is the k of a notation that counts from 1.
            joined = Position(place.at + number.value.numerator)
            terms = tuple(joined if t is place else t for t in terms if t is not number)
            if len(terms) == 1:
                return self.write(joined, 0)
        out = ""
        for n, t in enumerate(terms):
            tight = ADD if isinstance(t, WrittenOut) else MUL
            text = self.write(t, tight, last=n == len(terms) - 1 or self.ends_in_sum(t))
            minus = self.minus()
            if isinstance(t, Num) and t.value < 0:
                text = self.number(t.value)  # w - 1, not w + (-1)
            if n == 0:
                out = text
            elif text.startswith(minus):
                out += f" {minus} {text[len(minus) :].lstrip()}"
            else:
                out += f" + {text}"
        return out

    def ends_in_sum(self, e: Expr) -> bool:
        """Whether a sum sign at its end reaches no further than the next plus."""
        return isinstance(self.ordered(e)[-1][0] if isinstance(e, Mul) and e.factors else e, Sum | Max | Prod)

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
            case Div(top):
                return self.signed(top)
        return False

    def call(self, e: Call) -> tuple[str, int]:
        f = self.system.function(e.function)
        argument = ", ".join(self.write(a, 0) for a in e.arguments)
        if e.function == "abs" and e.order == 0:
            return self.absolute(argument), ATOM
        if e.function == "sqrt" and e.order == 0:
            return self.root(argument), ATOM
        name = self.notation.names.get(e.function, "")
        tall = any(isinstance(p, Sum | Max | Prod) for _, p in walk(e.arguments[0]))
        if e.function == "exp" and e.order == 0 and not (self.linear or tall or name):
            return self.power("e", argument), POW
        if f is None and e.function == "C" and any(isinstance(a, Vec) for a in e.arguments):
            # A generic cost has the letter of the cost that it defines.
            name = self.family_latex(self.system.cost).partition("_")[0]
        elif f is None:
            name = name or self.notation.letters.get(e.function) or latex_name(e.function)
        letter = self.letter(name) if name else self.function_name(f.latex, f.text)  # type: ignore[union-attr]
        layer = self.layer([e.at]) if e.at is not None else ""
        return self.apply(self.indexed(letter, "", layer, e.order), argument), ATOM

    @abstractmethod
    def function_name(self, latex: str, text: str) -> str: ...

    def written_out(self, e: WrittenOut) -> str:
        out = ""
        lower = self.ends(e.sum)[0]
        for i in e.shown:
            if lower is not None and i is not None and i.value is not None:
                if i.value:
                    continue
                i = lower  # the first term is that at which the guard lets the sum begin
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
        axis = e.sum.axis
        upper = self.ends(e.sum)[1]
        if upper is not None:
            return self.write(e.term(upper), MUL, last=False)
        if axis.at is None:
            return self.write(e.term(affine(axis.label) - 1), MUL, last=False)
        size = self.letter("n") if self.notation.width == "none" else self.size(axis)
        return self.write(e.term(affine(size) - 1 + self.first(axis)), MUL, last=False)

    def partial(self, top: Ref, bottom: Expr, direct: bool) -> tuple[str, int]:
        if (
            isinstance(bottom, Ref)
            and top.family == self.system.cost
            and bottom.family in self.notation.gradients
            and not direct
        ):
            return self.ref(bottom, self.letter(self.notation.gradients[bottom.family])), ATOM
        below = self.write(bottom, 0)
        if isinstance(bottom, Ref) and bottom.family in self.system.gradients:
            below = self.bracket(below)
        if top.family in self.system.gradients:
            return self.operator(below, self.ref(top)), MUL
        text = self.derivative(self.ref(top), below)
        if direct and isinstance(bottom, Ref) and self.is_held(top, bottom):
            held = self.held_quantities(top, bottom)
            return (self.holding(text, held) if held else self.alone(text)), ATOM
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

    def is_held(self, top: Ref, bottom: Ref) -> bool:
        key = (top, bottom)
        if key not in self.memo:
            self.memo[key] = held(self.system, top, bottom)
        return self.memo[key]


def negated(e: Expr) -> Expr:
    """What stands behind the minus sign with which an expression begins."""
    if isinstance(e, Num):
        return Num(-e.value)
    if isinstance(e, Mul) and not e.roles and isinstance(e.factors[0], Num):
        first, *rest = e.factors
        rest = [negated(first), *rest] if first != -ONE else rest
        return Mul(tuple(rest)) if len(rest) > 1 else rest[0]
    return -e


def is_place(c: Compare) -> bool:
    """Whether a condition is about the place of an index."""
    return isinstance(c.left, Position) or isinstance(c.right, Position)


def gathered(e: Sum | Max | Prod) -> tuple[Ref, Expr] | None:
    """The datum and the rest, where a sum picks the one term at which its index is the datum: sum_v [x_t = v] W_vc.

    Only where the index stands alone in the rest, so that W_{x_t c} can be written for it.
    """
    if not isinstance(e, Sum) or e.guard:
        return None
    factors = e.body.factors if isinstance(e.body, Mul) else (e.body,)
    roles = e.body.roles if isinstance(e.body, Mul) else ()
    for n, f in enumerate(factors):
        datum = _picks(f, e.index)
        if datum is None or len(factors) == 1:
            continue
        others = factors[:n] + factors[n + 1 :]
        rest = Mul(others, roles[:n] + roles[n + 1 :]) if len(others) > 1 else others[0]
        return (datum, rest) if e.index in names(rest) and _alone(rest, e.index) else None
    return None


def _picks(f: Expr, index: str) -> Ref | None:
    if not isinstance(f, Where) or (f.then, f.other) != (ONE, ZERO) or not isinstance(f.condition, Compare):
        return None
    sides = (f.condition.left, f.condition.right)
    place = Position(affine(index))
    if f.condition.op != "==" or place not in sides:
        return None
    (datum,) = [s for s in sides if s != place] or (None,)
    return datum if isinstance(datum, Ref) and index not in names(datum) else None


def _alone(e: Expr, index: str) -> bool:
    """Whether an index occurs as an index of quantities alone, by itself."""
    for _, p in walk(e):
        if isinstance(p, Ref):
            if any(index in i.names and i.name != index for i in p.indices):
                return False
        elif index in names(_head(p)):
            return False
    return True


def _head(e: Expr) -> Expr:
    """A head without its parts, for what it says of indices itself."""
    return e.rebuild(tuple(ZERO for _ in e.parts)) if e.parts and not isinstance(e, Winner | WrittenOut) else e
