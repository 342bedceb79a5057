"""One form for formulas that are written in different ways: what equality of networks is decided by.

SymPy sorts factors, distributes numbers and merges powers on contact, and authors write a quotient before or behind a
sum. None of that makes another network. Named here are the equalities that hold for all real values where both sides
are defined; nothing is multiplied out, and no equality that would need a proof is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from math import gcd, lcm
from types import MappingProxyType
from typing import TYPE_CHECKING

from symbackprop import functions as F
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Binder,
    Call,
    Compare,
    Div,
    Expr,
    Family,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    names,
    substitute,
    transform,
    walk,
)

if TYPE_CHECKING:
    from symbackprop.network import Equation, System

HALF, MINUS = Num(Fraction(1, 2)), Num(Fraction(-1))
ODD, EVEN = frozenset({"sin", "tanh", "erf", "sign"}), frozenset({"cos"})
MAX_POWER = 100
"""Numbers are raised to no higher power."""

MAX_FACTOR = 1000
"""Larger factors stay under a root."""

MAX_SWAPPED = 5
"""More sums side by side keep their order."""


def normal(e: Expr) -> Expr:
    """The form that all ways of writing an expression share.

    Sums and products are flat and sorted, numbers collected, equal factors one power; a quotient is a product with an
    inverse, a root a power; a number before a sum is distributed; factors that a Sigma does not bind stand before it, the
    order of Sigmas side by side is one; bound indices are numbered by depth.

    >>> a, y, n = Param("a"), Param("y"), Param("n")
    >>> normal(Div(2 * (a - y), n)) == normal((2 * a - 2 * y) * Pow(n, MINUS))
    True
    >>> normal(a - y) == normal(y - a), normal(Pow(a - y, Num(Fraction(2)))) == normal((y - a) * (y - a))
    (False, True)
    """
    return _normal(e, 0)


def _normal(e: Expr, depth: int) -> Expr:
    """Args: depth: How many indices are bound around it."""
    match e:
        case Add(terms):
            return _sum(_normal(t, depth) for t in terms)
        case Mul(factors):
            return _product(_normal(f, depth) for f in factors)
        case Div(top, bottom):
            return _product((_normal(top, depth), _power(_normal(bottom, depth), MINUS)))
        case Pow(base, exponent):
            return _power(_normal(base, depth), _normal(exponent, depth))
        case Position(i):
            # A place is a sum of places like any other: i - j < 0 is i < j.
            return _sum((*(_scaled(c, (Position(affine_term(n)),)) for n, c in i.terms), Num(Fraction(i.const))))
        case Call():
            return _call(e, depth)
        case Sum() | Max() | Prod():
            return _block(e, depth)
        case Vec(index, axis, body):
            own = f"#{depth}"
            return Vec(own, axis, _normal(substitute(body, {index: affine(own)}), depth + 1))
        case Where(Compare() as condition, then, other):
            return _where(condition, _normal(then, depth), _normal(other, depth), depth)
        case Guarded(body, guard):
            return Guarded(_normal(body, depth), sorted_guard(guard))
        case _:
            return e.rebuild(tuple(_normal(p, depth) for p in e.parts)) if e.parts else e


def affine_term(name: str) -> Affine:
    """A name, or a product of names, as an index expression."""
    return Affine(((name, 1),))


def sorted_guard(guard: Iterable[Constraint]) -> Guard:
    """Constraints in one order, each once, an equation without its sign."""
    signed = (Constraint(min(c.expr, -c.expr, key=repr), True) if c.equal else c for c in guard)
    return tuple(sorted(set(signed), key=repr))


# ---------------------------------------------------------------- a number times sorted factors


def _split(e: Expr) -> tuple[Fraction, tuple[Expr, ...]]:
    """The number before a normal expression, and its factors; a sum gives up what all its terms share."""
    match e:
        case Num(value):
            return value, ()
        case Mul((Num(value), *rest)):
            return value, tuple(rest)
        case Mul(factors):
            return Fraction(1), factors
        case Add(terms):
            numbers = [_split(t)[0] for t in terms]
            shared = Fraction(gcd(*(c.numerator for c in numbers)), lcm(*(c.denominator for c in numbers)))
            shared *= -1 if numbers[0] < 0 else 1
            return shared, (Add(tuple(_scaled(c / shared, _split(t)[1]) for c, t in zip(numbers, terms, strict=True))),)
    return Fraction(1), (e,)


def _scaled(number: Fraction | int, factors: tuple[Expr, ...]) -> Expr:
    """A number times sorted factors."""
    number = Fraction(number)
    if not number or not factors:
        return Num(number)
    if len(factors) == 1 and isinstance(factors[0], Add) and number != 1:
        return Add(tuple(_scaled(number * c, f) for c, f in map(_split, factors[0].terms)))
    if number != 1:
        return Mul((Num(number), *factors))
    return factors[0] if len(factors) == 1 else Mul(factors)


def _sum(terms: Iterable[Expr]) -> Expr:
    total: dict[tuple[Expr, ...], Fraction] = {}
    for t in terms:
        for part in t.terms if isinstance(t, Add) else (t,):
            number, factors = _split(part)
            total[factors] = total.get(factors, Fraction(0)) + number
    kept = sorted(((f, c) for f, c in total.items() if c), key=lambda item: repr(item[0]))
    parts = tuple(_scaled(c, f) for f, c in kept)
    return ZERO if not parts else parts[0] if len(parts) == 1 else Add(parts)


def _product(factors: Iterable[Expr]) -> Expr:
    exponent: Expr = ZERO
    number, powers = Fraction(1), dict[Expr, Expr]()
    for f in factors:
        c, rest = _split(f)
        number *= c
        for base, x in map(_as_power, rest):
            if base is None:
                exponent = _sum((exponent, x))
            else:
                powers[base] = _sum((powers.get(base, ZERO), x))
    out: list[Expr] = [] if exponent == ZERO else [Call("exp", (exponent,))]
    for base, x in powers.items():
        if isinstance(base, Num):
            c, rest = _split(_power(base, x))
            number *= c
            out += rest
        elif x != ZERO:
            out.append(base if x == ONE else Pow(base, x))
    return _scaled(number, tuple(sorted(out, key=repr)))


def _as_power(e: Expr) -> tuple[Expr | None, Expr]:
    """Base and exponent of a factor; no base stands for that of exp."""
    match e:
        case Pow(base, exponent):
            return base, exponent
        case Call("exp", (u,), 0):
            return None, u
    return e, ONE


def _power(base: Expr, exponent: Expr) -> Expr:
    if exponent in (ZERO, ONE):
        return base if exponent == ONE else ONE
    whole = isinstance(exponent, Num) and exponent.value.denominator == 1
    if isinstance(base, Num):
        return _number_power(base.value, exponent)
    number, factors = _split(base)
    if whole:
        return _product((_number_power(number, exponent), *(_raised(f, exponent) for f in factors)))
    # Only what is positive leaves a root by itself.
    inside = [f for f in factors if not _positive(f)]
    outside = [_number_power(abs(number), exponent), *(_raised(f, exponent) for f in factors if _positive(f))]
    left = _product((Num(Fraction(-1 if number < 0 else 1)), *inside))
    if left == ONE:
        return _product(outside)
    match left:
        case Pow(b, Num(x)) if x.denominator > 1:
            return _product((*outside, _raised(left, exponent)))
        case Pow(b, Num(x)) if x.numerator % 2 == 0:
            return _product((*outside, _raised(Pow(_absolute(b), Num(x)), exponent)))
    return _product((*outside, Pow(left, exponent)))


def _raised(factor: Expr, exponent: Expr) -> Expr:
    """A power of a factor, its exponents multiplied."""
    base, x = _as_power(factor)
    x = _product((x, exponent))
    if base is None:
        return Call("exp", (x,)) if x != ZERO else ONE
    return base if x == ONE else Pow(base, x)


def _number_power(value: Fraction, exponent: Expr) -> Expr:
    """A power of a number: its whole part computed, the rest between 0 and 1."""
    if value == 1:
        return ONE
    if isinstance(exponent, Num) and abs(exponent.value) <= MAX_POWER and value:
        whole, rest = divmod(exponent.value, 1)
        if not rest:
            return Num(value ** int(whole))
        if value > 0:
            number, roots = value ** int(whole), list[Expr]()
            for base, count in _primes(value):
                out, left = divmod(count * rest, 1)
                number *= Fraction(base) ** int(out)
                roots += [Pow(Num(Fraction(base)), Num(left))] if left else []
            return _scaled(number, tuple(sorted(roots, key=repr)))
    return Pow(Num(value), exponent)


def _primes(value: Fraction) -> Iterator[tuple[int, int]]:
    """The prime factors of a positive number with their powers, large ones together."""
    for rest, sign in ((value.numerator, 1), (value.denominator, -1)):
        for p in range(2, MAX_FACTOR):
            count = 0
            while rest % p == 0:
                rest, count = rest // p, count + 1
            if count:
                yield p, sign * count
            if p * p > rest:
                break
        if rest > 1:
            yield rest, sign


def _positive(e: Expr) -> bool:
    match e:
        case Num(value):
            return value > 0
        case Pow(base):
            return _positive(base)
        case Call("exp", _, 0):
            return True
    return isinstance(e, Size) or e == F.PI


# ---------------------------------------------------------------- functions and cases


def _call(e: Call, depth: int) -> Expr:
    if e.order == 0 and (formula := _single(e.function)) is not None:
        return _normal(transform(formula, lambda p: e.arguments[0] if p == Param("z") else p), depth)
    arguments = tuple(_normal(a, depth) for a in e.arguments)
    match e.function, e.order:
        case "sqrt", 0:
            return _power(arguments[0], HALF)
        case "exp", 0:
            return ONE if arguments[0] == ZERO else Call("exp", arguments)
        case "abs", 0:
            return _absolute(arguments[0])
        case name, 0 if name in ODD | EVEN:
            number, factors = _split(arguments[0])
            if number < 0:
                turned = Call(name, (_scaled(-number, factors),))
                return _scaled(-1, (turned,)) if name in ODD else turned
    return Call(e.function, arguments, e.order, e.at)


@lru_cache
def _single(name: str) -> Expr | None:
    """The formula of a named function that holds its argument once: the formula of the logistic function is that function."""
    f = F.FUNCTIONS.get(name)
    if f is None or f.value is None:
        return None
    formula = f.value(Param("z"))
    return formula if sum(p == Param("z") for _, p in walk(formula)) == 1 else None


def _absolute(e: Expr) -> Expr:
    number, factors = _split(e)
    out: list[Expr] = [Num(abs(number))]
    for f in factors:
        base, x = _as_power(f)
        if _positive(f) or (isinstance(x, Num) and x.value.denominator == 1 and x.value.numerator % 2 == 0):
            out.append(f)
        else:
            out.append(Call("abs", (f,)) if base is None or x == ONE else _raised(Pow(Call("abs", (base,)), x), ONE))
    return _product(out)


def _where(condition: Compare, then: Expr, other: Expr, depth: int) -> Expr:
    """A case distinction by d < 0 or d = 0, the other four turned around."""
    difference = _sum((_normal(condition.left, depth), _product((MINUS, _normal(condition.right, depth)))))
    number, factors = _split(difference)
    sign = -1 if number < 0 else 1
    if condition.op in ("==", "!="):
        sign = 1
    elif condition.op in (">", "<="):
        sign = -sign
    if condition.op in (">=", "<=", "!="):
        then, other = other, then
    test = Compare(
        "==" if condition.op in ("==", "!=") else "<", _scaled(sign, factors) if factors else difference, ZERO
    )
    return Where(test, then, other)


# ---------------------------------------------------------------- bound indices


def _block(e: Sum | Max | Prod, depth: int) -> Expr:
    """Sums, maxima or products directly inside each other, in one order."""
    binders: list[Sum | Max | Prod] = []
    body: Expr = e
    while isinstance(body, type(e)):
        # Names that nothing else has, so that a letter bound twice stays two letters.
        own = f"#{depth}.{len(binders)}"
        axis, mapping = body.axis, {body.index: affine(own)}
        guard = tuple(c.substitute(mapping) for c in body.guard)
        body = replace(body, index=own, axis=axis, guard=guard, body=substitute(body.body, mapping))
        binders.append(body)
        body = body.body
    own_names = {b.index for b in binders}
    tied = any(b.axis.at is not None and b.axis.at.names & own_names for b in binders)
    if not tied:
        binders.sort(key=lambda b: repr(b.axis))
    axes = [b.axis for b in binders]
    orders = permutations(binders) if not tied and len(binders) <= MAX_SWAPPED else (tuple(binders),)
    # Of letters on one axis, which comes first is decided by what they make of the body.
    return min((_ordered(o, body, depth) for o in orders if [b.axis for b in o] == axes), key=repr)


def _ordered(binders: tuple[Sum | Max | Prod, ...], body: Expr, depth: int) -> Expr:
    """The binders in this order around a body, which is made normal."""
    mapping = {b.index: affine(f"#{depth + n}") for n, b in enumerate(binders)}
    guard = tuple(c.substitute(mapping) for b in binders for c in b.guard)
    inner = _normal(substitute(body, mapping), depth + len(binders))
    outside: list[Expr] = []
    if isinstance(binders[0], Sum):
        number, factors = _split(inner)
        bound = {a.name for a in mapping.values()}
        guard += tuple(c for f in factors if isinstance(f, Guarded) for c in f.guard)
        factors = tuple(f.body if isinstance(f, Guarded) else f for f in factors)
        outside = [Num(number), *(_normal(f, depth) for f in factors if not names(f) & bound)]
        inner = _product(f for f in factors if names(f) & bound)
    for n, b in reversed(list(enumerate(binders))):
        last = n == len(binders) - 1
        inner = replace(b, index=f"#{depth + n}", axis=b.axis.substitute(mapping), body=inner, guard=sorted_guard(guard) if last else ())  # fmt: skip
    return _product((*outside, inner))


# ---------------------------------------------------------------- networks


def meaning(system: System) -> tuple[object, ...]:
    """What two networks share that are equal: families and equations sorted, formulas normal, letters numbered.

    Letters of left sides, of sums and of layers are no part of it, nor is the text of a fact. Sizes are, by name.
    """
    canonical = _Canonical(system)
    return (
        sorted(map(canonical.family, system.families.values()), key=repr),
        sorted(map(canonical.equation, system.equations), key=repr),
        sorted(((canonical(f.lhs), normal(f.rhs)) for f in system.facts), key=repr),
        sorted((n, r.top + r.bottom * r.plus, r.bottom) for n, r in system.rules.items()),
        settings(system),
    )


def settings(system: System) -> tuple[object, ...]:
    """What a network says besides families, equations and facts."""
    own = [(n, f.value(Param("z")) if f.value else None) for n, f in sorted(system.functions.items())]
    tables = sorted((n, sorted(t.items())) for n, t in system.tables.items())
    named = (sorted(system.sizes.items()), sorted(system.upstream.items()), sorted(system.gradients.items()))
    return (system.cost, str(system.layers), system.widths, own, tables, system.mean, named, sorted(system.integers))


class _Canonical:
    """Parts of a network with numbers for letters."""

    def __init__(self, system: System) -> None:
        self.constants = system.constants
        labels = [a.label for _, f in sorted(system.families.items()) for a in f.axes if a.kind == "recursion"]
        letters = [n for n in dict.fromkeys(labels) if n not in system.constants]
        self.labels = {n: f"@{k}" for k, n in enumerate(letters)}
        """An axis of layers is called by a letter, one of times by its last: the letter is no part of the network."""

    def __call__(self, e: Expr, letters: Mapping[str, Affine] = MappingProxyType({})) -> Expr:
        return normal(transform(substitute(e, letters), self.relabelled))

    def relabelled(self, e: Expr) -> Expr:
        return replace(e, axis=self.axis(e.axis)) if isinstance(e, Binder | Size) else e

    def axis(self, a: Axis) -> Axis:
        return replace(a, label=self.labels.get(a.label, a.label)) if a.kind == "recursion" else a

    def letters(self, r: Ref) -> dict[str, Affine]:
        """What stands for the letters of a left side: their places."""
        named = ((i.name, n) for n, i in enumerate(r.indices))
        return {name: affine(f"@{n}") for name, n in named if name is not None and name not in self.constants}

    def family(self, f: Family) -> tuple[object, ...]:
        letters = self.letters(f.pattern)
        axes = [self.axis(a.substitute(letters)) for a in f.axes]
        return f.name, axes, f.kind, f.meaning, _moved(f.guard, letters), f.over and self.axis(f.over)

    def equation(self, e: Equation) -> tuple[object, ...]:
        letters = self.letters(e.lhs)
        fixed = dict(filter(None, (self.solved(c, letters) for c in e.guard if c.equal)))
        return substitute(e.lhs, letters), self(e.rhs, {**letters, **fixed}), _moved(e.guard, letters)

    def solved(self, c: Constraint, letters: Mapping[str, Affine]) -> tuple[str, Affine] | None:
        """The letter that an equation such as l = L fixes, and at what."""
        mine = [(n, k) for n, k in c.expr.terms if n in letters]
        if len(mine) != 1 or abs(mine[0][1]) != 1 or c.expr.names - self.constants - {mine[0][0]}:
            return None
        ((name, k),) = mine
        return name, affine(name) - c.expr * k


def _moved(guard: Guard, letters: Mapping[str, Affine]) -> Guard:
    return sorted_guard(c.substitute(letters) for c in guard)
