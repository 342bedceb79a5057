"""The one door between our expressions and SymPy.

Outwards, `to_sympy` gives the ordinary evaluated SymPy expression, its quantities first-class indexed
symbols that print as on paper. Inwards, `from_sympy` takes a scalar expression in, and `goal_ref` one
indexed symbol. No text ever becomes SymPy by parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from math import erf, exp, log1p, prod
from typing import Any, Literal, TypeAlias

import sympy
from sympy.core.symbol import Str
from sympy.logic.boolalg import BooleanAtom
from sympy.printing.precedence import PRECEDENCE

from symbackprop import functions as F
from symbackprop.errors import FunctionError, GoalError, ModelError, ShapeError, nearest
from symbackprop.indices import Affine, Axis, Guard, affine
from symbackprop.network import System
from symbackprop.symbols import (
    ONE,
    Add,
    Assign,
    Call,
    Compare,
    D,
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
    Vec,
    Where,
    Winner,
    WrittenOut,
    expr,
    names,
    rename_bound,
    substitute,
    transform,
    walk,
)

Sym: TypeAlias = Any  # SymPy has no type stubs: one name for everything that is SymPy's

NODE_LIMIT = 2000
QUANTITY_DEPTH = 60
WORK_LIMIT = 50_000

# ---------------------------------------------------------------- first-class symbols


class FamilyBase(sympy.IndexedBase):  # type: ignore[misc]
    """A family of symbols: an `IndexedBase` that knows how many of its first indices count layers or times.

    >>> from sympy import latex, symbols
    >>> l, j, k = symbols("l j k", integer=True)
    >>> w = FamilyBase("w", 1)
    >>> latex(w[l, j, k]), str(w[l, j, k])
    ('w_{jk}^{(l)}', 'w[l, j, k]')
    >>> w[l, j, k].diff(w[l, j, 1])
    KroneckerDelta(1, k)
    """

    def __new__(cls, label: Sym, recursion: Sym = 0) -> FamilyBase:
        symbol = label if isinstance(label, sympy.Symbol) else sympy.Symbol(str(label), real=True)
        made: FamilyBase = _indexed_base(cls, symbol, sympy.Integer(recursion))
        return made

    def __getitem__(self, indices: Sym, **_: Sym) -> FamilyIndexed:
        return FamilyIndexed(self, *(indices if isinstance(indices, tuple | list | sympy.Tuple) else (indices,)))

    @property
    def recursion(self) -> int:
        """How many of the first indices are written above, in brackets."""
        return int(self.args[1])

    def typeset(self, show: Callable[[Sym], str], indices: Sequence[Sym]) -> str:
        above, below = indices[: self.recursion], indices[self.recursion :]
        head, _, tail = str(self.label).partition("_")
        # C_i[i] is C_i: the letter in the name stands for the index.
        own_letter = len(tail) == 1 and tail.isalpha() and len(indices) == 1
        letter = show(sympy.Symbol(head) if own_letter else self.label)
        low = [show(i) for i in below]
        if low:
            letter = f"{{{letter}}}" if "_" in letter else letter
            letter += "_{" + ("" if all(len(s) == 1 for s in low) else ", ").join(low) + "}"
        return letter + (f"^{{({', '.join(show(i) for i in above)})}}" if above else "")


class FamilyIndexed(sympy.Indexed):  # type: ignore[misc]
    """One quantity of a family, as `Indexed` as any other, printed with its layer above and its nodes below."""

    @property
    def precedence(self) -> int:
        """Brackets where a power follows: a second superscript cannot be set."""
        plain = isinstance(self.base, FamilyBase) and not self.base.recursion
        return int(PRECEDENCE["Atom"] if plain else PRECEDENCE["Pow"] - 5)

    def _latex(self, printer: Sym) -> str:
        return str(self.base.typeset(printer._print, self.indices))


class PartialBase(sympy.IndexedBase):  # type: ignore[misc]
    """Stands for a partial derivative that is a quantity of its own: SymPy would read dC/dz as 0.

    Its indices are those of the quantity above, then those of the quantity below.
    """

    def __new__(cls, label: Sym, top: Sym, tops: Sym, bottom: Sym, direct: Sym) -> PartialBase:
        made: PartialBase = _indexed_base(cls, label, top, sympy.Integer(tops), bottom, sympy.Integer(direct))
        return made

    def __getitem__(self, indices: Sym, **_: Sym) -> FamilyIndexed:
        return FamilyIndexed(self, *(indices if isinstance(indices, tuple | list | sympy.Tuple) else (indices,)))

    def typeset(self, show: Callable[[Sym], str], indices: Sequence[Sym]) -> str:
        _, top, tops, bottom, _ = self.args

        def side(base: Sym, mine: Sequence[Sym]) -> str:
            return str(base.typeset(show, mine)) if isinstance(base, FamilyBase) else show(base)

        above, below = side(top, indices[: int(tops)]), side(bottom, indices[int(tops) :])
        return rf"\frac{{\partial {above}}}{{\partial {below}}}"


def _indexed_base(cls: type, label: Sym, *rest: Sym) -> Sym:
    """An IndexedBase whose arguments, and so whose equality, hash and pickle, include `rest`."""
    obj = sympy.Expr.__new__(cls, label, *rest)
    obj._shape, obj._offset, obj._strides, obj._name = None, sympy.S.Zero, None, str(label)
    sympy.IndexedBase._set_assumptions(obj, label._merge({}))
    return obj


class Applied(sympy.Expr):  # type: ignore[misc]
    """A named function applied to its arguments and left so: g^(l)(z), its derivative g'^(l)(z).

    Its arguments are name, number of primes, layers (a Tuple of none or one), then the function's own.
    Differentiation adds a prime, or uses the slope that a built-in function is entered with.

    >>> z, l = sympy.symbols("z l")
    >>> g = Applied("g", 0, (l,), z**2)
    >>> g, g.diff(z), sympy.latex(g.diff(z))
    (g^(l)(z**2), 2*z*g'^(l)(z**2), "2 z g'^{(l)}\\\\left(z^{2}\\\\right)")
    """

    is_commutative = True
    is_real = True

    def __new__(cls, name: Sym, order: Sym, layer: Sym, *arguments: Sym) -> Applied:
        of = sympy.Tuple(*layer)
        made: Applied = sympy.Expr.__new__(cls, Str(str(name)), sympy.Integer(order), of, *arguments)
        return made

    @property
    def name(self) -> str:
        return str(self.args[0])

    @property
    def order(self) -> int:
        return int(self.args[1])

    @property
    def arguments(self) -> tuple[Sym, ...]:
        return tuple(self.args[3:])

    def slope(self) -> Sym:
        """The derivative by the one argument."""
        known = F.FUNCTIONS.get(self.name)
        if known is None or self.order:
            return Applied(self.name, self.order + 1, self.args[2], *self.arguments)
        z = Param("z")
        return _Outward(params={"z": self.arguments[0]}, opaque=True)(known.slope(z, Call(self.name, (z,))))

    def _eval_derivative(self, s: Sym) -> Sym:
        if len(self.arguments) != 1 or isinstance(self.arguments[0], sympy.Lambda):
            return sympy.Derivative(self, s, evaluate=False)
        inner = self.arguments[0].diff(s)
        return sympy.S.Zero if inner.is_zero else inner * self.slope()

    def _latex(self, printer: Sym) -> str:
        known = F.FUNCTIONS.get(self.name)
        head = known.latex if known and known.latex else printer._print(sympy.Symbol(self.name))
        above = "".join(f"^{{({printer._print(i)})}}" for i in self.args[2])
        inner = ", ".join(printer._print(a) for a in self.arguments)
        return rf"{head}{chr(39) * self.order}{above}\left({inner}\right)"

    def _sympystr(self, printer: Sym) -> str:
        above = "".join(f"^({printer._print(i)})" for i in self.args[2])
        inner = ", ".join(printer._print(a) for a in self.arguments)
        return f"{self.name}{chr(39) * self.order}{above}({inner})"

    _sympyrepr = _sympystr


def family_symbols(system: System) -> dict[str, Any]:
    """The symbols of a network as SymPy objects, by name: index them, layers first.

    Returns:
        A `FamilyBase` for each indexed family, a real Symbol for each that has no index.
    """
    return {name: _base(name, len(f.axes), f) for name, f in system.families.items()}


def _base(name: str, count: int, family: Family | None) -> Sym:
    """The SymPy object of a family; where the family is not known, two indices or more begin with a layer."""
    if not count:
        return sympy.Symbol(name, real=True)
    return FamilyBase(name, sum(a.kind == "recursion" for a in family.axes) if family else int(count > 1))


def _index(name: str) -> Sym:
    return sympy.Symbol(name, integer=True)


def _affine_out(a: Affine) -> Sym:
    return sympy.Add(*(c * _index(n) for n, c in a.terms), a.const)


# ---------------------------------------------------------------- outwards

_ELEMENTARY: dict[str, Callable[..., Sym]] = {
    "exp": sympy.exp,
    "log": sympy.log,
    "sqrt": sympy.sqrt,
    "abs": sympy.Abs,
    "sign": sympy.sign,
    "erf": sympy.erf,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tanh": sympy.tanh,
}
_RELATION: dict[str, Callable[..., Sym]] = {
    "<": sympy.Lt,
    "<=": sympy.Le,
    ">": sympy.Gt,
    ">=": sympy.Ge,
    "==": sympy.Eq,
    "!=": sympy.Ne,
}


def to_sympy(e: Expr, system: System | None = None) -> Any:
    """The ordinary, evaluated SymPy expression.

    A quantity becomes an Indexed of its family's `FamilyBase`, layers first; a Sigma a Sum from 0 to
    size - 1; a named function its formula, a generic one an `Applied`; a partial derivative an indexed
    symbol that stands for it. An array becomes a Lambda of its index, an update the pair (target, value).

    Args:
        system: Knows numeric sizes, the reader's own functions, and which indices are layers. Without
            it, the first of two or more indices is taken to be one.

    Raises:
        ModelError: The expression holds a derivative that is still to be taken.

    >>> from symbackprop.indices import Axis
    >>> to_sympy(Sum("k", Axis("node", "n", affine("l") - 1), Ref("w", (affine("l"), affine("j"), affine("k")))))
    Sum(w[l, j, k], (k, 0, n[l - 1] - 1))
    """
    return _Outward(system)(e)


@dataclass(frozen=True)
class _Outward:
    """One translation to SymPy.

    Args:
        params: What stands for a Param.
        opaque: Keep named functions as `Applied`, so that a slope is found in their terms.
        conditions: What stands for a condition, so that SymPy does not rewrite it.
    """

    system: System | None = None
    params: Mapping[str, Sym] = field(default_factory=dict)
    opaque: bool = False
    conditions: Mapping[Expr, Sym] = field(default_factory=dict)

    def __call__(self, e: Expr) -> Sym:
        return self.go(e, names(e))

    def go(self, e: Expr, taken: frozenset[str]) -> Sym:
        match e:
            case Num(value):
                return sympy.Rational(value.numerator, value.denominator)
            case Param(name):
                if name in self.params:
                    return self.params[name]
                return sympy.pi if name == "pi" else sympy.Symbol(name, real=True)
            case Size(axis):
                return self.size(axis)
            case Ref():
                return self.ref(e)
            case Add(terms):
                return sympy.Add(*(self.go(t, taken) for t in terms))
            case Mul(factors):
                return sympy.Mul(*(self.go(f, taken) for f in factors))
            case Div(top, bottom):
                return self.go(top, taken) / self.go(bottom, taken)
            case Pow(base, exponent):
                return self.go(base, taken) ** self.go(exponent, taken)
            case Call():
                return self.call(e, taken)
            case Sum() | Prod():
                return self.sum(e, taken)
            case Max():
                return self.largest(e, taken)
            case Winner(of, i):
                at = self.go(substitute(of.body, {of.index: i}), taken)
                return sympy.Piecewise((sympy.S.One, sympy.Eq(at, self.largest(of, taken))), (sympy.S.Zero, True))
            case Guarded(body, guard):
                return self.guarded(self.go(body, taken), guard)
            case Position(i):
                return _affine_out(i)
            case WrittenOut(total):
                return self.go(total, taken)
            case Vec(index, _, body):
                return sympy.Lambda(_index(index), self.go(body, taken | {index}))
            case Partial():
                return self.partial(e, taken)
            case Delta(left, right):
                return sympy.KroneckerDelta(_affine_out(left), _affine_out(right))
            case Compare(op, left, right):
                known = self.conditions.get(e)
                return _RELATION[op](self.go(left, taken), self.go(right, taken)) if known is None else known
            case Where(condition, then, other):
                return sympy.Piecewise((self.go(then, taken), self.go(condition, taken)), (self.go(other, taken), True))
            case Assign(target, value):
                return sympy.Tuple(self.ref(target), self.go(value, taken))
            case D():
                raise ModelError("a derivative that is still to be taken has no SymPy form; take the step's result")
            case _:
                raise ModelError(f"{type(e).__name__} has no SymPy form")

    def ref(self, r: Ref) -> Sym:
        base = self.base(r)
        return base[tuple(_affine_out(i) for i in r.indices)] if r.indices else base

    def base(self, r: Ref) -> Sym:
        family = self.system.families.get(r.family) if self.system else None
        return _base(r.family, len(r.indices), family)

    def size(self, axis: Axis) -> Sym:
        known = self.system.size(axis) if self.system else None
        if known is not None:
            return sympy.Integer(known)
        if axis.kind == "recursion" and axis.last is not None:
            return _affine_out(axis.last - axis.first + 1)
        label = sympy.Symbol(axis.label, integer=True, positive=True)
        return label if axis.at is None else FamilyBase(label, 0)[_affine_out(axis.at)]

    def guarded(self, body: Sym, guard: Guard) -> Sym:
        if not guard:
            return body
        return sympy.Piecewise((body, sympy.And(*map(_constraints(guard), range(len(guard))))), (0, True))

    def sum(self, s: Sum | Prod, taken: frozenset[str]) -> Sym:
        s = rename_bound(s, taken)
        body = self.go(s.body, taken | {s.index})
        low = _affine_out(s.axis.first) if s.axis.kind == "recursion" else sympy.S.Zero
        limits = (_index(s.index), low, low + self.size(s.axis) - 1)
        if isinstance(s, Sum):
            return sympy.Sum(self.guarded(body, s.guard), limits)
        return sympy.Product(1 + self.guarded(body - 1, s.guard) if s.guard else body, limits)

    def largest(self, m: Max, taken: frozenset[str]) -> Sym:
        """SymPy has no maximum over an index: the function `maximum` of the array stands for it."""
        m = rename_bound(m, taken)
        body = self.go(m.body, taken | {m.index})
        return Applied("maximum", 0, (), sympy.Lambda(_index(m.index), self.guarded(body, m.guard)))

    def partial(self, p: Partial, taken: frozenset[str]) -> Sym:
        if isinstance(p.bottom, Vec):
            inner = Partial(p.top, p.bottom.body, p.direct)
            return sympy.Lambda(_index(p.bottom.index), self.go(inner, taken | {p.bottom.index}))
        if not isinstance(p.bottom, Ref):
            raise ModelError("a derivative by something that is no quantity of the network has no SymPy form")
        label = sympy.Symbol(f"d{p.top.family}/d{p.bottom.family}", real=True)
        indices = (*p.top.indices, *p.bottom.indices)
        if not indices:
            return label
        base = PartialBase(label, self.base(p.top), len(p.top.indices), self.base(p.bottom), int(p.direct))
        return base[tuple(_affine_out(i) for i in indices)]

    def call(self, c: Call, taken: frozenset[str]) -> Sym:
        function = _function(c, self.system)
        arguments = tuple(self.go(a, taken) for a in c.arguments)
        name = function.name if function else c.function
        keep = self.opaque and (name in ("abs", "sign") or name not in _ELEMENTARY)
        if function is None or len(arguments) != 1 or keep:
            return Applied(name, c.order, (_affine_out(c.at),) if c.at and not function else (), *arguments)
        if not c.order:
            return self.value(function, arguments[0])
        # g' and beyond: the slope of the table on a symbol of its own, which a captured name cannot meet.
        z, point = Param("z"), sympy.Dummy("z", real=True)
        slope = _Outward(self.system, {"z": point})(function.slope(z, Call(name, (z,))))
        for _ in range(c.order - 1):
            slope = slope.diff(point).replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
        return slope.xreplace({point: arguments[0]})

    def value(self, function: F.Function, argument: Sym) -> Sym:
        if function.name in _ELEMENTARY or function.value is None:
            return _ELEMENTARY[function.name](argument)
        return _Outward(self.system, {"z": argument})(function.value(Param("z")))


def _constraints(guard: Guard) -> Callable[[int], Sym]:
    def one(i: int) -> Sym:
        left = _affine_out(guard[i].expr)
        return sympy.Eq(left, 0) if guard[i].equal else sympy.Ge(left, 0)

    return one


def _function(c: Call, system: System | None) -> F.Function | None:
    """The definition behind a call; None for a generic function."""
    if system is None:
        return F.FUNCTIONS.get(c.function)
    if c.at is not None and c.at.value is not None and c.function in system.tables:
        return system.function(system.tables[c.function].get(c.at.value, c.function))
    return system.function(c.function)


# ---------------------------------------------------------------- inwards

_CALLS: dict[Sym, str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.Abs: "abs",
    sympy.sign: "sign",
    sympy.erf: "erf",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tanh: "tanh",
}
_OPERATORS: dict[Sym, Any] = {
    sympy.StrictLessThan: "<",
    sympy.LessThan: "<=",
    sympy.StrictGreaterThan: ">",
    sympy.GreaterThan: ">=",
    sympy.Equality: "==",
    sympy.Unequality: "!=",
}


def from_sympy(expression: Any, symbols: Mapping[Any, Expr]) -> Expr:
    """Our expression of a scalar SymPy expression.

    Args:
        symbols: What each free symbol stands for; a Boolean symbol stands for a condition.

    Raises:
        FunctionError: A head, a symbol or a number that has no real scalar meaning here, or too many of them.

    >>> x = sympy.Symbol("x")
    >>> from_sympy(1 / (1 + sympy.exp(-x)), {x: Param("z")})
    Call(function='sigmoid', arguments=(Param(name='z'),), order=0, at=None)
    """
    for n, _ in enumerate(sympy.preorder_traversal(expression)):
        if n >= NODE_LIMIT:
            raise FunctionError(f"the expression has more than {NODE_LIMIT} parts; write a shorter one")
    return stable_forms(inward(expression, symbols.get, ", ".join(map(str, symbols))))


def inward(e: Sym, leaf: Callable[[Sym], Expr | None], known: str = "") -> Expr:
    """Our expression of a SymPy expression whose heads are those of arithmetic, functions of one number and cases.

    Args:
        leaf: What any other part stands for, conditions included; None where it has nothing to say.
        known: What to expect in the place of a symbol that it does not know.
    """

    def go(x: Sym) -> Expr:
        return inward(x, leaf, known)

    if (found := leaf(e)) is not None:
        return found
    if e.is_Rational:
        return Num(Fraction(int(e.p), int(e.q)))
    if e.is_Float:
        if not e.is_finite:
            raise FunctionError(f"found the number {e}, expected a finite one")
        return Num(Fraction(str(e)))
    if e is sympy.pi:
        return F.PI
    if e is sympy.E:
        return F.call("exp", ONE)
    if e.is_Add:
        terms = [go(t) for t in sorted(e.as_ordered_terms(), key=lambda t: bool(t.could_extract_minus_sign()))]
        return reduce(lambda a, b: a + b, terms)
    if e.is_Mul:
        return _product(e, go)
    if isinstance(e, sympy.exp):
        return F.call("exp", go(e.exp))
    if e.is_Pow:
        return _power(e.base, e.exp, go)
    if isinstance(e, Applied) and len(e.arguments) == 1:
        return Call(e.name, (go(e.arguments[0]),), e.order)
    if isinstance(e, sympy.Max | sympy.Min):
        pick = maximum if isinstance(e, sympy.Max) else minimum
        return reduce(pick, [go(a) for a in sympy.ordered(e.args)])
    if isinstance(e, sympy.Piecewise):
        return _piecewise(e, go, leaf)
    if e.func in _CALLS and len(e.args) == 1:
        return F.call(_CALLS[e.func], go(e.args[0]))
    if isinstance(e, sympy.sinh | sympy.cosh):
        u = go(e.args[0])
        up, down = F.call("exp", u), F.call("exp", negated(u))
        return Div(up - down if isinstance(e, sympy.sinh) else up + down, expr(2))
    if isinstance(e, sympy.tan):
        return Div(F.call("sin", go(e.args[0])), F.call("cos", go(e.args[0])))
    raise FunctionError(_unfit(e, known))


def _unfit(e: Sym, symbols: str) -> str:
    """Why a part of a SymPy expression cannot be taken in."""
    if e.is_Symbol or isinstance(e, sympy.Indexed):
        return f"found the symbol {e}, expected only {symbols or 'numbers'}"
    if e.is_number:
        return f"found {e}, expected real finite numbers"
    if isinstance(e, sympy.Heaviside | sympy.DiracDelta):
        return f"found {type(e).__name__}, which leaves the value at 0 open; write a Piecewise"
    known = ", ".join(sorted(set(_CALLS.values())))
    return f"found {type(e).__name__}, expected + - * / **, Piecewise, Max, Min or one of {known}"


def _product(e: Sym, go: Callable[[Sym], Expr]) -> Expr:
    """A product as on paper: one sign in front, negative powers below one line."""
    top: list[Expr] = []
    bottom: list[Expr] = []
    number = Fraction(1)
    for f in e.as_ordered_factors():
        if f.is_Rational:
            number *= Fraction(int(f.p), int(f.q))
        elif f.is_Pow and not isinstance(f, sympy.exp) and f.exp.is_Rational and f.exp.is_negative:
            bottom.append(_power(f.base, -f.exp, go))
        else:
            top.append(go(f))
    if abs(number.numerator) != 1:
        top.insert(0, Num(Fraction(abs(number.numerator))))
    if number.denominator != 1:
        bottom.insert(0, Num(Fraction(number.denominator)))
    above = F.product(*top) if top else ONE
    out = Div(above, F.product(*bottom)) if bottom else above
    return out if number > 0 else Num(Fraction(-1)) * out


def _power(base: Sym, exponent: Sym, go: Callable[[Sym], Expr]) -> Expr:
    if exponent.is_Rational and exponent.is_negative:
        return Div(ONE, _power(base, -exponent, go))
    if exponent == 1:
        return go(base)
    if exponent == sympy.S.Half:
        return F.call("sqrt", go(base))
    return Pow(go(base), go(exponent))


def _piecewise(e: Sym, go: Callable[[Sym], Expr], leaf: Callable[[Sym], Expr | None]) -> Expr:
    *cases, (value, last) = [(p.expr, p.cond) for p in e.args]
    if last != sympy.true and not _exhaustive([c for _, c in [*cases, (value, last)]]):
        raise FunctionError("found a Piecewise that leaves some arguments out; give it a last case (value, True)")
    out = go(value)
    for v, c in reversed(cases):
        out = _select(c, go(v), out, go, leaf)
    return out


def _exhaustive(conditions: list[Sym]) -> bool:
    union = sympy.Or(*conditions)
    if union == sympy.true:
        return True
    try:
        return bool(union.as_set() == sympy.S.Reals)
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return False


def _select(
    condition: Sym, then: Expr, other: Expr, go: Callable[[Sym], Expr], leaf: Callable[[Sym], Expr | None]
) -> Expr:
    """`then` where the condition holds, `other` elsewhere."""

    def select(c: Sym, a: Expr, b: Expr) -> Expr:
        return _select(c, a, b, go, leaf)

    if isinstance(condition, BooleanAtom):
        return then if condition == sympy.true else other
    if isinstance(condition, sympy.And):
        return reduce(lambda out, c: select(c, out, other), condition.args, then)
    if isinstance(condition, sympy.Or):
        return reduce(lambda out, c: select(c, then, out), condition.args, other)
    if isinstance(condition, sympy.Not):
        return select(condition.args[0], other, then)
    if (test := leaf(condition)) is not None:
        return Where(test, then, other)
    if condition.func in _OPERATORS:
        return Where(Compare(_OPERATORS[condition.func], go(condition.lhs), go(condition.rhs)), then, other)
    return Where(go(condition), then, other)


def negated(u: Expr) -> Expr:
    """-u, without a double minus."""
    match u:
        case Num(value):
            return Num(-value)
        case Mul((Num(value), *rest)) if value == -1:
            return F.product(*rest)
        case _:
            return -u


def maximum(p: Expr, q: Expr) -> Expr:
    """max(p, q); at a tie a constant counts, so that the slope of max(0, z) at 0 is that of ReLU, else the first.

    >>> maximum(expr(0), Param("z")) == maximum(Param("z"), expr(0))
    True
    """
    return _extreme(">", p, q)


def minimum(p: Expr, q: Expr) -> Expr:
    """min(p, q), with the same convention at a tie."""
    return _extreme("<", p, q)


def _extreme(op: Literal["<", ">"], p: Expr, q: Expr) -> Expr:
    if isinstance(p, Num) and isinstance(q, Num):
        return p if (p.value > q.value) == (op == ">") else q
    # Cases go outwards, while they are few, so that a condition is a plain comparison.
    if isinstance(p, Where) and sum(1 for _ in walk(p)) < 50:
        return Where(p.condition, _extreme(op, p.then, q), _extreme(op, p.other, q))
    if isinstance(q, Where) and sum(1 for _ in walk(q)) < 50:
        return Where(q.condition, _extreme(op, p, q.then), _extreme(op, p, q.other))
    if constant(p):
        return Where(Compare(op, q, p), q, p)
    either: Literal["<=", ">="] = "<=" if op == "<" else ">="
    return Where(Compare(op if constant(q) else either, p, q), p, q)


def constant(e: Expr) -> bool:
    """Whether an expression is made of numbers and pi alone."""
    return all(isinstance(p, Num) or p == F.PI or p.parts for _, p in walk(e))


def stable_forms(e: Expr) -> Expr:
    """Logistic forms by their name, which every backend evaluates without overflow.

    1/(1 + exp(-u)) is sigmoid(u), ln(1 + exp(u)) is softplus(u), and the quotient of exponentials is tanh(u).

    >>> stable_forms(Div(Param("z"), 1 + F.call("exp", -Param("z")))) == Param("z") * F.call("sigmoid", Param("z"))
    True
    """
    return transform(e, _stable)


def _stable(e: Expr) -> Expr:
    match e:
        case Div(top, bottom) if (u := _one_plus_exp(bottom)) is not None:
            if top == F.call("exp", u):
                return F.call("sigmoid", u)
            curve = F.call("sigmoid", negated(u))
            return curve if top == ONE else top * curve
        case Pow(base, Num(value)) if value == -1 and (u := _one_plus_exp(base)) is not None:
            return F.call("sigmoid", negated(u))
        case Call("log", (inner,), 0) if (u := _one_plus_exp(inner)) is not None:
            return F.call("softplus", u)
        case Div(Add((Call("exp", (u,)), minus)), Add((Call("exp", (v,)), down))):
            if u == v and down == F.call("exp", negated(u)) and minus == -down:
                return F.call("tanh", u)
    return e


def _one_plus_exp(e: Expr) -> Expr | None:
    """u where e is 1 + exp(u)."""
    match e:
        case Add((Num(one), Call("exp", (u,), 0))) | Add((Call("exp", (u,), 0), Num(one))) if one == 1:
            return u
    return None


def goal_ref(indexed: Any, system: System) -> Ref:
    """The quantity that a SymPy Indexed or Symbol names: its base is the family, its indices in the family's order.

    Raises:
        UnknownFamilyError: The network has no such family.
        GoalError: Another number of indices, or an index that is not whole and linear in letters.

    >>> from symbackprop.network import dense_system
    >>> w, l = sympy.IndexedBase("w"), sympy.Symbol("l")
    >>> goal_ref(w[l - 1, 2, sympy.Symbol("k")], dense_system()).indices[0] == affine("l") - 1
    True
    """
    if not isinstance(indexed, sympy.Indexed | sympy.Symbol):
        raise GoalError(f"found {indexed} ({type(indexed).__name__}), expected an Indexed such as w[l, j, k]")
    label, indices = (indexed.base.label, indexed.indices) if isinstance(indexed, sympy.Indexed) else (indexed, ())
    family = system.family(str(label))
    if len(indices) != len(family.axes):
        wanted = f"{family.name}[{', '.join(family.indices)}]" if family.indices else family.name
        raise GoalError(f"found {indexed} with {len(indices)} indices, expected {wanted}")
    return Ref(family.name, tuple(_affine_in(i, indexed) for i in indices))


def _affine_in(i: Sym, whole: Sym) -> Affine:
    """An index expression; each part a whole multiple of one letter, or a whole number."""
    out = affine(0)
    for term in sympy.Add.make_args(i):
        factor, letter = term.as_coeff_Mul()
        if letter == 1 and factor.is_Integer:
            out = out + int(factor)
        elif letter.is_Symbol and factor.is_Integer and str(letter).isidentifier():
            out = out + affine(str(letter)) * int(factor)
        else:
            raise GoalError(f"found the index {i} in {whole}, expected a whole number or a letter, as in l-1")
    return out


# ---------------------------------------------------------------- slopes

SIMPLIFY_LIMIT = 60
DEGREE_LIMIT = 100


def slope_of(body: Expr, variable: str) -> Expr:
    """The derivative of a scalar expression by one Param, by SymPy's `diff`, case by case.

    Conditions are held still, so that the slope at a boundary is that of the case which holds there:
    no Heaviside, no DiracDelta. Named functions keep their name.

    >>> slope_of(F.call("tanh", Param("z")), "z") == ONE - Pow(F.call("tanh", Param("z")), expr(2))
    True
    """
    found = dict.fromkeys(p for _, p in walk(body) if isinstance(p, Compare))
    conditions: dict[Expr, Sym] = {c: sympy.Symbol(f"case{n}") for n, c in enumerate(found)}
    x = sympy.Symbol(variable, real=True)
    derivative = _Outward(params={variable: x}, opaque=True, conditions=conditions)(body).diff(x)
    if derivative.has(sympy.Derivative, sympy.Subs, sympy.Heaviside, sympy.DiracDelta):
        raise FunctionError("its derivative has no formula in terms of elementary functions")
    back: dict[Sym, Expr] = {x: Param(variable)} | {s: c for c, s in conditions.items()}
    return from_sympy(_shorter(derivative), back)


def _shorter(d: Sym) -> Sym:
    """The shortest of a few harmless forms; a large expression stays as it is."""
    size = d.count_ops()
    if size > SIMPLIFY_LIMIT:
        return d
    forms = [d, sympy.factor_terms(d)]
    # The product of all exponents bounds the degree after multiplying out. Exponentials stay as they are:
    # cancelling would trade exp(-z) for exp(z), and with it where the quotient overflows.
    degree = prod(max(abs(p.exp), 1) for p in d.atoms(sympy.Pow) if p.exp.is_Rational)
    if degree <= DEGREE_LIMIT and not d.has(sympy.Piecewise, sympy.exp):
        absolute = d.replace(
            lambda p: p.is_Mul and any(_is_sign(f, p) for f in p.args),
            lambda p: next(
                p / (f * f.arguments[0]) * Applied("abs", 0, (), f.arguments[0]) for f in p.args if _is_sign(f, p)
            ),
        )
        forms += [absolute, sympy.factor(absolute)] if absolute != d else []
        forms += [sympy.factor_terms(sympy.cancel(d)), sympy.factor(d)]
    return min(forms, key=lambda f: f.count_ops())


def _is_sign(f: Sym, product: Sym) -> bool:
    """Whether f is sgn(u) in a product that holds u too: u sgn(u) is |u|."""
    return isinstance(f, Applied) and f.name == "sign" and f.arguments[0] in product.args


# ---------------------------------------------------------------- a scalar formula as a function

Resolve: TypeAlias = Callable[[Partial], "Expr | None"]
MODULES = ("numpy", "scipy", "math", "mpmath", "sympy")


def _sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z)) if z >= 0 else exp(z) / (1 + exp(z))


def _softplus(z: float) -> float:
    return max(z, 0.0) + log1p(exp(-abs(z)))


_SCALAR: dict[str, Callable[[float], float]] = {"sigmoid": _sigmoid, "softplus": _softplus, "erf": erf}
_LOGISTIC: dict[str, Sym] = {n: sympy.Function(n, real=True) for n in ("sigmoid", "softplus")}


@dataclass(frozen=True)
class ScalarFormula:
    """One number of a network as a function of its parameters and one sample.

    Args:
        expression: The whole formula in the network's symbols.
        arguments: The symbols it depends on, in the order in which `function` takes them.
        refs: The same as quantities of the network.
        function: What SymPy's `lambdify` made of it.
    """

    expression: Any
    arguments: tuple[Any, ...]
    refs: tuple[Ref, ...]
    function: Callable[..., Any]
    system: System

    def __call__(self, params: Mapping[str, Any], x: Any, y: Any = None) -> Any:
        """The value at `params` = {"w": [w_1, ...], ...}, one input x of shape (n_0,) and its target y.

        Raises:
            ShapeError: An array that is missing, or of the wrong shape.
        """
        data = {"parameter": params, "input": x, "target": y}
        values = [_entry(r, self.system, data[self.system.family(r.family).kind]) for r in self.refs]
        result = self.function(*values)
        return result[()] if hasattr(result, "ndim") else result


def _entry(r: Ref, system: System, data: Any) -> Any:
    """One number out of the arrays that the caller gave."""
    import numpy as np

    family = system.family(r.family)
    label, indices = family.name, [int(i.const) for i in r.indices]
    if family.kind == "parameter":
        if not isinstance(data, Mapping) or label not in data:
            known = ", ".join(map(repr, system.parameters))
            raise ShapeError(f"params has no entry {label!r}, expected a dictionary with {known}")
        data = data[label]
        if family.axes and family.axes[0].kind == "recursion":
            position = indices[0] - _first_layer(family, system)
            if len(data) <= position:
                raise ShapeError(f"params[{label!r}] has {len(data)} entries, expected at least {position + 1}")
            data, label = data[position], f"params[{label!r}][{position}]"
    if data is None:
        raise ShapeError(f"{label} is missing, and the formula depends on it")
    axes = [(a, i) for a, i in zip(system.axes(r), indices, strict=True) if a.kind != "recursion"]
    expected = tuple(system.size(a) for a, _ in axes)
    array = np.asarray(data)
    if array.shape != expected:
        raise ShapeError(f"{label} has shape {array.shape}, expected {expected}{_hint(array.shape, expected)}")
    value = array[tuple(i for _, i in axes)]
    return value.item() if hasattr(value, "item") else value


def _hint(found: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    if found[::-1] == expected:
        return "; its transpose fits"
    return " for one sample" if found[1:] == expected else ""


def _first_layer(family: Family, system: System) -> int:
    """The lowest layer at which a family exists."""
    letter = family.indices[0]
    mine = [c for c in family.guard if c.expr.names <= {letter}]
    return next((n for n in range((system.layers.value or 0) + 1) if all(c.holds({letter: n}) for c in mine)), 0)


def lambdify_result(
    e: Expr,
    system: System,
    known: Mapping[Expr, Expr] | None = None,
    modules: str = "numpy",
    *,
    resolve: Resolve | None = None,
) -> ScalarFormula:
    """SymPy's `lambdify` on one entry of a result, written out in parameters, inputs and targets.

    Args:
        e: An expression without free indices, such as dC_0/dw_12^(2).
        known: Values of derivatives that may remain in it; their layers must be those asked for.
        modules: One of `MODULES`.
        resolve: Gives the value of any other derivative that remains.

    Raises:
        ModelError: Free indices, symbolic sizes, a generic function, a derivative nobody resolves, or more than
            `NODE_LIMIT` operations.

    >>> from symbackprop.network import dense_system
    >>> f = lambdify_result(Ref("z", (affine(1), affine(0))), dense_system([2, 1]))
    >>> f.expression
    w[1, 0, 0]*x[0] + w[1, 0, 1]*x[1]
    >>> f({"w": [[[3.0, 4.0]]]}, [1.0, 10.0])
    43.0
    """
    if modules not in MODULES:
        raise ModelError(f"found modules={modules!r}{nearest(str(modules), MODULES)}")
    if not system.numeric:
        raise ModelError("lambdify needs numeric sizes, found symbolic ones; give sizes such as [2, 3, 1]")
    if loose := names(e):
        letters = ", ".join(sorted(loose))
        raise ModelError(f"lambdify needs one entry, found the free index {letters}; put a number there")
    counting = _Expansion(system, dict(known or {}), resolve, dry=True)
    expansion = replace(counting, dry=False, leaves={}, memo={}, work=0)
    try:
        counting.value(e, 0)
        formula, _ = expansion.value(e, 0)
        elementary = formula
        for f in F.ACTIVATIONS:
            if f.name in _LOGISTIC:
                z = sympy.Dummy("z", real=True)
                body = _Outward(params={"z": z})(f.value(Param("z"))) if f.value else z
                elementary = elementary.replace(_LOGISTIC[f.name], sympy.Lambda(z, body))
        refs = tuple(sorted(expansion.leaves, key=lambda r: (r.family, [i.const for i in r.indices])))
        arguments = tuple(expansion.leaves[r] for r in refs)
        plain = {a: sympy.Symbol(f"v{n}", real=True) for n, a in enumerate(arguments)}
        if modules == "numpy" and formula.has(sympy.Piecewise):
            modules = "math"  # a case is chosen for one number, which numpy.select does not take
        scalar = modules in ("numpy", "scipy", "math")
        made = sympy.lambdify(
            list(plain.values()),
            (formula if scalar else elementary).xreplace(plain),
            modules=[_SCALAR, modules] if scalar else modules,
        )
    except RecursionError:
        raise ModelError("the formula is nested too deeply for one expression; use net.gradient() instead") from None
    return ScalarFormula(elementary, arguments, refs, made, system)


@dataclass
class _Expansion:
    """A concrete entry written out; each quantity once, its size counted before it is built.

    Args:
        dry: Count alone: SymPy's automatic evaluation is what takes the time.
        leaves: The data met so far, with their symbols.
        resolved: What the derivatives met so far are.
    """

    system: System
    known: Mapping[Expr, Expr]
    resolve: Resolve | None
    dry: bool = False
    resolved: dict[Partial, Expr] = field(default_factory=dict)
    leaves: dict[Ref, Sym] = field(default_factory=dict)
    memo: dict[Expr, tuple[Sym, int]] = field(default_factory=dict)
    work: int = 0

    def value(self, e: Expr, depth: int) -> tuple[Sym, int]:
        """The SymPy expression and the number of its parts, shared ones counted as often as they occur."""
        self.work += 1
        if self.work > WORK_LIMIT or depth > QUANTITY_DEPTH:
            raise self.too_long()
        match e:
            case Num(number):
                return sympy.Rational(number.numerator, number.denominator), 1
            case Param("pi"):
                return sympy.pi, 1
            case Param(name):
                raise ModelError(f"the formula holds {name}, which is no number; lambdify dC/dw instead")
            case Size(axis):
                return sympy.Integer(self.size(axis)), 1
            case Delta(left, right):
                return sympy.Integer(int(left == right)), 1
            case Ref():
                return self.ref(e, depth)
            case Partial():
                return self.partial(e, depth)
            case WrittenOut(total):
                return self.value(total, depth)
            case Sum(index, axis, body, guard):
                numbers = [n for n in range(self.size(axis)) if all(c.holds({index: n}) for c in guard)]
                return self.build(sympy.Add, [substitute(body, {index: affine(n)}) for n in numbers], depth)
            case Add(terms):
                return self.build(sympy.Add, terms, depth)
            case Mul(factors):
                return self.build(sympy.Mul, factors, depth)
            case Div(top, bottom):
                return self.build(lambda a, b: a / b, (top, bottom), depth)
            case Pow(base, exponent):
                return self.build(lambda a, b: a**b, (base, exponent), depth)
            case Compare(op, left, right):
                return self.build(_RELATION[op], (left, right), depth)
            case Where():
                return self.build(lambda c, t, o: sympy.Piecewise((t, c), (o, True)), e.parts, depth)
            case Call():
                return self.call(e, depth)
            case _:
                raise ModelError("lambdify needs one number, found an array or an operation; ask for one entry")

    def build(self, head: Callable[..., Sym], parts: Sequence[Expr], depth: int) -> tuple[Sym, int]:
        done: list[Sym] = []
        count = 1
        for p in parts:
            s, n = self.value(p, depth)
            count += n
            if count > NODE_LIMIT:
                raise self.too_long()
            done.append(s)
        return (sympy.S.Zero if self.dry else head(*done)), count

    def ref(self, r: Ref, depth: int) -> tuple[Sym, int]:
        if r in self.leaves:
            return self.leaves[r], 1
        if r in self.memo:
            return self.memo[r]
        if self.system.family(r.family).kind in ("parameter", "input", "target"):
            self.leaves[r] = _Outward(self.system)(r)
            return self.leaves[r], 1
        equation = self.system.defining(r)
        if equation is None:
            raise ModelError(f"{_Outward(self.system)(r)} has no defining equation in this network")
        self.memo[r] = self.value(equation.rhs, depth + 1)
        return self.memo[r]

    def partial(self, p: Partial, depth: int) -> tuple[Sym, int]:
        if p not in self.memo:
            value = self.resolved.get(p) or _known(p, self.known, self.system)
            if value is None and self.resolve is not None:
                value = self.resolve(p)
            if value is None or value == p:
                raise ModelError(f"nothing says what {_Outward(self.system)(p)} is; use net.gradient() instead")
            self.resolved[p] = value
            self.memo[p] = self.value(value, depth + 1)
        return self.memo[p]

    def call(self, c: Call, depth: int) -> tuple[Sym, int]:
        function = _function(c, self.system)
        if function is None or len(c.arguments) != 1:
            raise ModelError(f"the function {c.function} is generic; give the network an activation and a cost")
        z = c.arguments[0]
        if c.order == 1:
            return self.value(function.slope(z, Call(function.name, (z,))), depth)
        if c.order:
            raise ModelError(f"the formula holds derivative {c.order} of {function.name}; at most 1 is known")
        head = _LOGISTIC.get(function.name) or _ELEMENTARY.get(function.name)
        if head is None and function.value is not None:
            return self.value(function.value(z), depth)
        return self.build(head or Applied, (z,), depth)

    def size(self, axis: Axis) -> int:
        n = self.system.size(axis)
        if n is None:
            raise ModelError(f"the formula sums over {axis.label}, whose size is no number here; ask for one sample")
        if n > NODE_LIMIT:
            raise self.too_long()
        return n

    @staticmethod
    def too_long() -> ModelError:
        return ModelError(f"the formula has more than {NODE_LIMIT} operations; use net.gradient() instead")


def _known(p: Partial, known: Mapping[Expr, Expr], system: System) -> Expr | None:
    """What a table of results says of a concrete derivative.

    A letter in the table stands for any node. It does not stand for any layer: the table does not say
    for which layers its entry holds.
    """
    if p in known:
        return known[p]
    for subject, value in known.items():
        if not (isinstance(subject, Partial) and isinstance(subject.bottom, Ref) and isinstance(p.bottom, Ref)):
            continue
        if (subject.top.family, subject.bottom.family, subject.direct) != (p.top.family, p.bottom.family, p.direct):
            continue
        mapping: dict[str, Affine] = {}
        fits = True
        for r, given in ((p.top, subject.top), (p.bottom, subject.bottom)):
            for axis, want, have in zip(system.axes(r), r.indices, given.indices, strict=True):
                if axis.kind != "recursion" and have.name and mapping.get(have.name, want) == want:
                    mapping[have.name] = want
                elif have != want:
                    fits = False
        if fits:
            return substitute(value, mapping)
    return None
