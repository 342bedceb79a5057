"""The judge of truth: runs the equations forward on sample networks and differentiates in the arithmetic itself.

It never looks at a rule, and shares no code with the engine that derives. Derivatives come from dual
numbers v + d*e with e*e = 0, pushed through the equations from the quantity that is varied to the
quantity above: the total effect through everything downstream, with everything upstream held.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from itertools import product
from typing import Any, TypeAlias

from symbackprop.indices import Affine, Axis, Guard
from symbackprop.network import System
from symbackprop.symbols import (
    Add,
    Assign,
    Call,
    Compare,
    D,
    Delta,
    Depends,
    Div,
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
    Size,
    Sum,
    Summand,
    Vec,
    Where,
    Winner,
    WrittenOut,
    walk,
)

Number: TypeAlias = Any
"""A Fraction, an integer modulo a prime, an interval, or a Dual of one of these."""

Env: TypeAlias = dict[str, int]
Key: TypeAlias = tuple[int, str, tuple[int, ...]]
Look: TypeAlias = Callable[[str, tuple[int, ...]], Number]
Eval: TypeAlias = Callable[[Env, Look], Number]

PRIME = 2**61 - 1

MAX_BITS = 200_000
"""Bits of a power."""

MAX_POWER = 1000
"""The largest power that an index may ask for."""


class CannotEvaluate(Exception):
    """A sample falls on a point where an expression has no value; another sample is drawn."""


class OutOfRange(Exception):
    """A quantity that the network does not have: a layer above L, a node outside its axis."""


class Dual:
    """v + d*e with e*e = 0."""

    __slots__ = ("d", "v")

    def __init__(self, v: Number, d: Number) -> None:
        self.v, self.d = v, d

    def __add__(self, o: Number) -> Dual:
        return Dual(self.v + o.v, self.d + o.d) if isinstance(o, Dual) else Dual(self.v + o, self.d)

    __radd__ = __add__

    def __mul__(self, o: Number) -> Dual:
        if isinstance(o, Dual):
            return Dual(self.v * o.v, self.v * o.d + self.d * o.v)
        return Dual(self.v * o, self.d * o)

    __rmul__ = __mul__

    def __neg__(self) -> Dual:
        return Dual(-self.v, -self.d)


class Mod:
    """An integer modulo the prime 2^61 - 1: exact, and never longer than 61 bits."""

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        self.n = n % PRIME

    @staticmethod
    def of(x: Number) -> Mod:
        if isinstance(x, Mod):
            return x
        return Mod(x.numerator * pow(x.denominator, -1, PRIME))

    def __add__(self, o: Number) -> Mod:
        return Mod(self.n + Mod.of(o).n) if not isinstance(o, Dual) else NotImplemented

    __radd__ = __add__

    def __mul__(self, o: Number) -> Mod:
        return Mod(self.n * Mod.of(o).n) if not isinstance(o, Dual) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Mod:
        return Mod(-self.n)

    def __truediv__(self, o: Number) -> Mod:
        m = Mod.of(o).n
        if m == 0:
            raise CannotEvaluate("division by zero")
        return Mod(self.n * pow(m, -1, PRIME))

    def __eq__(self, o: object) -> bool:
        return self.n == Mod.of(o).n

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.n} (mod 2^61-1)"


class Intervals:
    """Rigorous interval arithmetic: the balls of Arb, through python-flint."""

    DIGITS = 40

    def __init__(self) -> None:
        import flint

        flint.ctx.dps = self.DIGITS
        self.ball = flint.arb
        self.rational = flint.fmpq

    def of(self, x: Fraction) -> Number:
        return self.ball(self.rational(x.numerator, x.denominator))

    @property
    def pi(self) -> Number:
        return self.ball.pi()

    def exp(self, x: Number) -> Number:
        out = x.exp()
        if not out.is_finite():
            raise CannotEvaluate("a number beyond all bounds")
        return out

    def log(self, x: Number) -> Number:
        if not x > 0:
            raise CannotEvaluate("logarithm of a number that is not positive")
        return x.log()

    def sqrt(self, x: Number) -> Number:
        if not x > 0:
            raise CannotEvaluate("square root of a number that is not positive")
        return x.sqrt()

    def sin(self, x: Number) -> Number:
        return x.sin()

    def cos(self, x: Number) -> Number:
        return x.cos()

    def erf(self, x: Number) -> Number:
        return x.erf()


@dataclass(frozen=True)
class Sample:
    """One network with numbers in all its symbols.

    Args:
        layers: The number L.
        widths: n_0, ..., n_L.
        seed: Draws every datum, each from its own name, so that order does not matter.
        arithmetic: `exact rationals`, `integers modulo a prime` or `rigorous intervals`.
        samples: How many samples the mean runs over.
        sizes: Numbers for the sizes, last times and strides that the system names.
    """

    layers: int
    widths: tuple[int, ...]
    seed: int
    arithmetic: str
    samples: int = 3
    sizes: tuple[tuple[str, int], ...] = ()

    def describe(self) -> str:
        parts: list[str] = []
        if self.widths:
            same = len(set(self.widths)) == 1
            parts.append(f"L = {self.layers}" if self.layers else "")
            parts.append(f"every width {self.widths[0]}" if same else f"widths {', '.join(map(str, self.widths))}")
        return ", ".join([*(p for p in parts if p), *(f"{n} = {v}" for n, v in self.sizes)])


class Oracle:
    """Evaluates expressions on one sample of a system."""

    def __init__(self, system: System, sample: Sample) -> None:
        self.system, self.sample = system, sample
        self.ordered = any(isinstance(p, Max) for e in system.equations for _, p in walk(e.rhs))
        self.intervals = Intervals() if sample.arithmetic == "rigorous intervals" else None
        self.values: dict[Key, Number] = {}
        self.inputs: dict[Key, set[Key]] = {}
        self.order: list[Key] = []
        self.stack: list[Key] = []
        self.partials: dict[tuple[int, str, tuple[int, ...], str, tuple[int, ...]], Number] = {}
        self.compiled: dict[Expr, Eval] = {}
        self.polynomials: dict[tuple[str, int | None], list[Fraction]] = {}
        self.params: dict[str, Number] = {}
        self.equations: dict[str, list[tuple[list[tuple[str | None, Affine]], Guard, Eval]]] = {}
        for e in system.equations:
            formals = [(i.name if i.name not in system.constants else None, i) for i in e.lhs.indices]
            self.equations.setdefault(e.lhs.family, []).append((formals, e.guard, self.compile(e.rhs)))
        self.standing: Env = {**dict.fromkeys(system.layers.names, sample.layers), **dict(sample.sizes)}
        self.current = 0
        if sample.layers > 20:
            self.warm()

    # ------------------------------------------------------------ numbers

    def number(self, x: Fraction | int) -> Number:
        x = Fraction(x)
        if self.intervals is not None:
            return self.intervals.of(x)
        return Mod.of(x) if self.sample.arithmetic == "integers modulo a prime" else x

    def draw(self, *name: object) -> random.Random:
        return random.Random(repr((self.sample.seed, *name)))

    def rational(self, r: random.Random) -> Fraction:
        """A small number, not zero; smaller where functions such as exp are in play, seldom twice the same under a maximum."""
        if self.ordered:
            return Fraction(r.choice((-1, 1)) * r.randint(1, 10**6), 10**6)
        if self.intervals is not None:
            return Fraction(r.choice((-3, -2, -1, 1, 2, 3)), r.choice((2, 3, 4)))
        spread = 5
        return Fraction(r.choice([n for n in range(-spread, spread + 1) if n]), r.choice((1, 1, 2, 3)))

    # ------------------------------------------------------------ quantities

    def key(self, family: str, indices: tuple[int, ...]) -> Key:
        """What a quantity is stored under: parameters are the same in all samples."""
        data = self.system.families[family].kind == "parameter"
        return (0 if data else self.current, family, indices)

    def look(self, family: str, indices: tuple[int, ...]) -> Number:
        """The value of one quantity in the current sample of the data; what it was computed from is noted."""
        key = self.key(family, indices)
        if self.stack:
            self.inputs[self.stack[-1]].add(key)
        if key not in self.values:
            self.within(family, indices)
            self.inputs[key] = set()
            self.stack.append(key)
            try:
                self.values[key] = self.run(family, indices, self.look)
            finally:
                self.stack.pop()
            self.order.append(key)
        return self.values[key]

    def within(self, family: str, indices: tuple[int, ...]) -> None:
        """Refuse a node or a sample that is not on its axis: no number is made up for it."""
        f = self.system.families.get(family)
        if f is None:
            return
        env = {**self.standing, **dict(zip(f.indices, indices, strict=True))}
        for axis, i in zip(f.axes, indices, strict=True):
            if axis.kind != "recursion" and not 0 <= i < self.width(axis, env):
                raise OutOfRange(f"there is no {family}{list(indices)}")

    def warm(self) -> None:
        """Compute the network layer by layer, so that no depth is too deep."""
        depth = self.sample.layers
        for layer in range(depth + 1):
            for e in self.system.equations:
                family = self.system.families[e.lhs.family]
                if [a.kind for a in family.axes][:1] != ["recursion"]:
                    continue
                widths = [
                    range(
                        self.width(family.axis(n, (Affine((), layer), *map(_name, family.indices[1:]))), self.standing)
                    )
                    for n in range(1, len(family.axes))
                ]
                for nodes in product(*widths):
                    if self.equation(e.lhs.family, (layer, *nodes)) is not None:
                        self.look(e.lhs.family, (layer, *nodes))

    def run(self, family: str, indices: tuple[int, ...], look: Look) -> Number:
        mean = self.system.mean
        if mean and family == mean[1]:
            return self.in_sample(indices[0], lambda: look(self.system.cost, ()))
        found = self.equation(family, indices)
        return self.datum(family, indices) if found is None else found[1](found[0], look)

    def in_sample(self, i: int, run: Callable[[], Number]) -> Number:
        before, self.current = self.current, i
        try:
            return run()
        finally:
            self.current = before

    def equation(self, family: str, indices: tuple[int, ...]) -> tuple[Env, Eval] | None:
        for formals, guard, rhs in self.equations.get(family, ()):
            env = dict(self.standing)
            fits = True
            for (name, i), value in zip(formals, indices, strict=True):
                if name is None:
                    fits = fits and i.evaluate(env) == value
                else:
                    env[name] = value
            if fits and all(c.holds(env) for c in guard):
                return env, rhs
        return None

    def datum(self, family: str, indices: tuple[int, ...]) -> Number:
        """A parameter, an input or a target: drawn at random, within the declared facts."""
        kind = self.system.family(family).kind
        sample = self.current if kind != "parameter" else 0
        for fact in self.system.facts:
            s = fact.lhs
            if isinstance(s, Sum) and isinstance(s.body, Ref) and s.body.family == family:
                size = self.width(s.axis, self.standing)
                n = next((n for n, e in enumerate(s.body.indices) if e.name == s.index), 0)
                if isinstance(fact.rhs, Num) and indices[n] == size - 1:
                    rest = [self.look(family, (*indices[:n], q, *indices[n + 1 :])) for q in range(size - 1)]
                    return sum((-x for x in rest), self.number(fact.rhs.value))
        r = self.draw(family, indices, sample)
        over = self.system.family(family).over
        if over is not None:
            return self.number(r.randrange(self.width(over, self.standing)))
        if kind == "target" and self.intervals is not None:
            return self.number(Fraction(r.randint(1, 30), 97))
        if kind == "cost" or (kind == "derived" and not self.initial(family, indices)):
            raise OutOfRange(f"there is no {family}{list(indices)}")
        return self.number(self.rational(r))

    def initial(self, family: str, indices: tuple[int, ...]) -> bool:
        """Whether a quantity that no equation gives is one that the model starts from: h_0 of a recurrent network."""
        f = self.system.family(family)
        env = {**self.standing, **dict(zip(f.indices, indices, strict=True))}
        return any(a.kind == "recursion" for a in f.axes) and all(c.holds(env) for c in f.guard)

    def width(self, axis: Axis, env: Mapping[str, int]) -> int:
        if axis.kind == "sample":
            return self.sample.samples
        if axis.kind == "recursion":
            return self.standing[axis.label]
        if axis.at is None:
            return self.standing[axis.label]
        layer = axis.at.evaluate(env)
        if not 0 <= layer < len(self.sample.widths):
            raise OutOfRange(f"there is no layer {layer}")
        return self.sample.widths[layer]

    def partial(self, top: str, above: tuple[int, ...], bottom: str, below: tuple[int, ...]) -> Number:
        """d(top)/d(bottom): a dual number put in place of `bottom`, everything downstream computed anew."""
        place = (self.current, top, above, bottom, below)
        if place not in self.partials:
            goal = self.key(top, above)
            self.look(top, above)
            start = self.key(bottom, below)
            varied: dict[Key, Number] = {start: Dual(self.look(bottom, below), self.number(1))}

            def look(family: str, indices: tuple[int, ...]) -> Number:
                key = self.key(family, indices)
                return varied[key] if key in varied else self.look(family, indices)

            # In the order in which the quantities were computed: whatever was computed from a varied one, anew.
            for key in self.order:
                if key != start and not self.inputs[key].isdisjoint(varied):
                    sample, family, indices = key
                    varied[key] = self.in_sample(sample, partial(self.run, family, indices, look))
                if key == goal:
                    break
            out = varied.get(goal)
            self.partials[place] = out.d if isinstance(out, Dual) else self.number(0)
        return self.partials[place]

    # ------------------------------------------------------------ expressions

    def evaluate(self, e: Expr, env: Env) -> Number:
        return self.compile(e)({**self.standing, **env}, self.look)

    def compile(self, e: Expr) -> Eval:
        if e not in self.compiled:
            self.compiled[e] = self._compile(e)
        return self.compiled[e]

    def _compile(self, e: Expr) -> Eval:
        match e:
            case Num(v):
                number = self.number(v)
                return lambda env, look: number
            case Param(name):
                return lambda env, look: self.param(name)
            case Size(axis):
                return lambda env, look: self.number(self.width(axis, env))
            case Ref(family, indices):
                letters = [i.name for i in indices if i.name is not None]
                if len(letters) == len(indices):
                    return lambda env, look: look(family, tuple([env[n] for n in letters]))
                return lambda env, look: look(family, tuple([i.evaluate(env) for i in indices]))
            case Add(terms):
                ts = [self.compile(t) for t in terms]
                return lambda env, look: _total([t(env, look) for t in ts])
            case Mul(factors):
                fs = [self.compile(f) for f in factors]

                def multiply(env: Env, look: Look) -> Number:
                    out = fs[0](env, look)
                    for f in fs[1:]:
                        out = times(out, f(env, look))
                    return out

                return multiply
            case Div(top, bottom):
                t, b = self.compile(top), self.compile(bottom)
                return lambda env, look: times(t(env, look), self.inverse(b(env, look)))
            case Pow(base, exponent):
                return self._power(base, exponent)
            case Sum(index, axis, body, guard):
                return self._over(index, axis, body, guard, lambda xs: _total(xs or [self.number(0)]))
            case Prod(index, axis, body, guard):
                return self._over(index, axis, body, guard, lambda xs: reduce(times, xs, self.number(1)))
            case Max(index, axis, body, guard):
                return self._over(index, axis, body, guard, lambda xs: xs[self.first_largest(xs)])
            case Winner(m, i):
                return self._winner(m, i)
            case Guarded(body, guard):
                inside = self.compile(body)

                def held(env: Env, look: Look) -> Number:
                    return inside(env, look) if all(c.holds(env) for c in guard) else self.number(0)

                return held
            case Position(i):
                return lambda env, look: self.number(i.evaluate(env))
            case WrittenOut(s):
                return self.compile(s)
            case Summand(_, _, body):
                return self.compile(body)
            case Depends(quantity):
                return self.compile(quantity)
            case Delta(left, right):
                return lambda env, look: self.number(int(left.evaluate(env) == right.evaluate(env)))
            case Call():
                return self._call(e)
            case Where(condition, then, other):
                assert isinstance(condition, Compare)
                test, a, b = self._compare(condition), self.compile(then), self.compile(other)
                return lambda env, look: a(env, look) if test(env, look) else b(env, look)
            case Partial(top, bottom, direct):
                return self._partial(top, bottom, direct)
            case D(body, variable, total):
                return self._derivative(body, variable, total)
            case Assign(_, value):
                return self.compile(value)
            case Vec():
                raise CannotEvaluate("an array has no single value")
        raise TypeError(f"no way to evaluate {type(e).__name__}")

    def places(self, axis: Axis, env: Env) -> range:
        """The values that an index on an axis takes."""
        if axis.kind != "recursion":
            return range(self.width(axis, env))
        last = axis.last.evaluate(env) if axis.last is not None else self.sample.layers
        return range(axis.first.evaluate(env), last + 1)

    def _over(self, index: str, axis: Axis, body: Expr, guard: Guard, join: Callable[[list[Number]], Number]) -> Eval:
        """The values of `body` over an index, joined to one."""
        inner = self.compile(body)

        def run(env: Env, look: Look) -> Number:
            envs = ({**env, index: i} for i in self.places(axis, env))
            return join([inner(v, look) for v in envs if all(c.holds(v) for c in guard)])

        return run

    def first_largest(self, values: list[Number]) -> int:
        """The first place of the largest value; no sample may leave it open."""
        if not values:
            raise CannotEvaluate("a maximum over nothing")
        plain = [_value(x) for x in values]
        if isinstance(plain[0], Mod):
            raise CannotEvaluate("no order modulo a prime")
        best = 0
        for n, x in enumerate(plain):
            if x > plain[best]:
                best = n
            elif n != best and not x < plain[best]:
                raise CannotEvaluate("two values may be the largest")
        return best

    def _winner(self, m: Max, at: Affine) -> Eval:
        inner = self.compile(m.body)

        def run(env: Env, look: Look) -> Number:
            places = [i for i in self.places(m.axis, env) if all(c.holds({**env, m.index: i}) for c in m.guard)]
            best = self.first_largest([inner({**env, m.index: i}, look) for i in places])
            return self.number(int(places[best] == at.evaluate(env)))

        return run

    def _power(self, base: Expr, exponent: Expr) -> Eval:
        b = self.compile(base)
        if isinstance(exponent, Num) and exponent.value.denominator == 1:
            n = int(exponent.value)

            def power(env: Env, look: Look) -> Number:
                x = b(env, look)
                bounded(x, n)
                if n < 0:
                    x = self.inverse(x)
                out = self.number(1)
                for _ in range(abs(n)):
                    out = times(out, x)
                return out

            return power
        count = whole_number(exponent)
        if count is not None:

            def counted(env: Env, look: Look) -> Number:
                n, y = count.evaluate(env), b(env, look)
                bounded(y, n)
                y = self.inverse(y) if n < 0 else y
                return reduce(times, [y] * abs(n), self.number(1))

            return counted
        x = self.compile(exponent)
        return lambda env, look: self.elementary("exp", times(x(env, look), self.elementary("log", b(env, look))))

    def _compare(self, c: Compare) -> Callable[[Env, Look], bool]:
        left, right = self.compile(c.left), self.compile(c.right)
        whole = any(isinstance(x, Position) for x in (c.left, c.right))

        def test(env: Env, look: Look) -> bool:
            d = _value(plus(left(env, look), -right(env, look)))
            if whole and c.op in ("==", "!="):
                return self.is_zero(d) == (c.op == "==")
            if isinstance(d, Mod):
                raise CannotEvaluate("no order modulo a prime")
            # An interval that overlaps 0 decides nothing, unless it is the very point 0.
            exact = self.intervals is None or bool(d == 0)
            below, above = bool(d < 0), bool(d > 0)
            if not below and not above and not (exact and whole):
                raise CannotEvaluate("on the boundary between two cases")
            outcome = {"<": below, "<=": not above, ">": above, ">=": not below, "==": not (below or above)}.get(c.op)
            if outcome is None:
                outcome = below or above
            return bool(outcome)

        return test

    def is_zero(self, x: Number) -> bool:
        """Whether a difference of whole numbers is 0."""
        if isinstance(x, Mod):
            return x.n == 0
        return bool(x == 0)

    def _call(self, e: Call) -> Eval:
        if any(isinstance(a, Vec) for a in e.arguments):
            return self._generic_cost(e)
        (argument,) = (self.compile(a) for a in e.arguments)

        def apply(env: Env, look: Look) -> Number:
            layer = e.at.evaluate(env) if e.at is not None else None
            z = argument(env, look)
            for _ in range(e.order):
                z = Dual(z, self.number(1))
            out = self.function(e.function, layer, z)
            for _ in range(e.order):
                out = out.d if isinstance(out, Dual) else self.number(0)
            return out

        return apply

    def function(self, name: str, layer: int | None, z: Number) -> Number:
        table = self.system.tables.get(name)
        listed = table.get(layer) if table is not None and layer is not None else None
        if listed is not None and self.system.function(listed) is not None:
            name = listed
        own = self.system.function(name)
        if own is None:
            return self.polynomial(name, layer, z)
        if own.value is None:
            return self.elementary(name, z)
        return self.compile(own.value(Ref("#z", ())))(dict(self.standing), lambda family, indices: z)

    def polynomial(self, name: str, layer: int | None, z: Number) -> Number:
        """A generic function: a cubic with random coefficients, its own for each layer."""
        key = (name, layer)
        if key not in self.polynomials:
            r = self.draw("polynomial", name, layer)
            scales = (Fraction(1, 2), Fraction(1, 8), Fraction(1, 16), Fraction(1, 40))
            # Where exp and ln are in play, values stay small and mostly between 0 and 1.
            self.polynomials[key] = [
                self.number(self.rational(r))
                if self.intervals is None
                else self.number(abs(self.rational(r)) * s if n == 0 else self.rational(r) * s)
                for n, s in enumerate(scales)
            ]
        c = self.polynomials[key]
        out = c[3]
        for k in (c[2], c[1], c[0]):
            out = plus(k, times(z, out))
        return out

    def _generic_cost(self, e: Call) -> Eval:
        """A generic function of a whole array: a random quadratic form plus cubes, so that no symmetry helps."""
        (vector,) = e.arguments
        assert isinstance(vector, Vec)
        entry = self.compile(vector.body)

        def apply(env: Env, look: Look) -> Number:
            layer = e.at.evaluate(env) if e.at is not None else None
            n = self.width(vector.axis, env)
            xs = [entry({**env, vector.index: i}, look) for i in range(n)]
            out = self.number(0)
            for i, x in enumerate(xs):
                for k, y in enumerate(xs[: i + 1]):
                    out = plus(out, times(times(x, y), self.number(self.rational(self.draw(e.function, layer, i, k)))))
                out = plus(
                    out, times(times(x, x), times(x, self.number(self.rational(self.draw(e.function, layer, i)))))
                )
            return out

        return apply

    def elementary(self, name: str, z: Number) -> Number:
        """An elementary function, with its derivative on dual numbers."""
        if isinstance(z, Dual):
            v = self.elementary(name, z.v)
            return Dual(v, z.d * self.slope(name, z.v, v))
        if name in ("abs", "sign"):
            if isinstance(z, Mod) or not (z > 0 or z < 0):
                raise CannotEvaluate("on a kink")
            sign = 1 if z > 0 else -1
            return z * sign if name == "abs" else self.number(sign)
        if self.intervals is None:
            raise CannotEvaluate(f"{name} has no rational values")
        return getattr(self.intervals, name)(z)

    def slope(self, name: str, z: Number, v: Number) -> Number:
        match name:
            case "exp":
                return v
            case "log":
                return self.inverse(z)
            case "sqrt":
                return self.inverse(2 * v)
            case "abs":
                return self.elementary("sign", z)
            case "sign":
                return self.number(0)
            case "sin":
                return self.elementary("cos", z)
            case "cos":
                return -self.elementary("sin", z)
            case "erf":
                pi = self.param("pi")
                return 2 * self.inverse(self.elementary("sqrt", pi)) * self.elementary("exp", -(z * z))
        raise CannotEvaluate(f"no derivative of {name} is known here")

    def inverse(self, x: Number) -> Number:
        if isinstance(x, Dual):
            v = self.inverse(x.v)
            return Dual(v, -(v * v) * x.d)
        if self.intervals is not None:
            if not (x > 0 or x < 0):
                raise CannotEvaluate("division by zero")
            return 1 / x
        if x == 0:
            raise CannotEvaluate("division by zero")
        return self.number(1) / x

    def param(self, name: str) -> Number:
        if name not in self.params:
            if name == "pi" and self.intervals is not None:
                self.params[name] = self.intervals.pi
            else:
                self.params[name] = self.number(self.rational(self.draw("param", name)))
        return self.params[name]

    def _partial(self, top: Ref, bottom: Expr, direct: bool) -> Eval:
        if not isinstance(bottom, Ref):
            raise CannotEvaluate("an array has no single value")
        if direct:
            return self._derivative(top, bottom, False, through=True)

        def value(env: Env, look: Look) -> Number:
            above = tuple(i.evaluate(env) for i in top.indices)
            below = tuple(i.evaluate(env) for i in bottom.indices)
            mean = self.system.mean
            if mean and top.family == mean[1]:
                return self.in_sample(above[0], lambda: self.partial(self.system.cost, (), bottom.family, below))
            return self.partial(top.family, above, bottom.family, below)

        return value

    def _derivative(self, body: Expr, variable: Ref, total: bool, through: bool = False) -> Eval:
        """d(body)/d(variable) with all other quantities held; `through` opens the equation of `body` itself."""
        inner = self.compile(body)

        def value(env: Env, look: Look) -> Number:
            below = tuple(i.evaluate(env) for i in variable.indices)

            def varied(family: str, indices: tuple[int, ...]) -> Number:
                if family == variable.family and indices == below:
                    return Dual(self.look(family, indices), self.number(1))
                if total:
                    return Dual(self.look(family, indices), self.total(family, indices, variable.family, below))
                return self.look(family, indices)

            if through:
                assert isinstance(body, Ref)
                indices = tuple(i.evaluate(env) for i in body.indices)
                found = self.equation(body.family, indices)
                out = found[1](found[0], varied) if found is not None else self.number(0)
            else:
                out = inner(env, varied)
            return out.d if isinstance(out, Dual) else self.number(0)

        return value

    def total(self, family: str, indices: tuple[int, ...], bottom: str, below: tuple[int, ...]) -> Number:
        mean = self.system.mean
        if mean and family == mean[1]:
            return self.in_sample(indices[0], lambda: self.partial(self.system.cost, (), bottom, below))
        return self.partial(family, indices, bottom, below)

    # ------------------------------------------------------------ comparing

    def agree(self, a: Number, b: Number) -> bool:
        """Whether two values are equal: exactly, or as intervals that meet and are both narrow."""
        if self.intervals is None:
            return bool(a == b)
        d = a + -b
        if not d.is_finite():
            raise CannotEvaluate("a number beyond all bounds")
        scale = max(1.0, float(abs(a).mid()), float(abs(b).mid()))
        if float(d.rad()) > 1e-15 * scale:
            raise CannotEvaluate("the intervals are too wide")
        return bool(d.contains(0))


def _total(values: list[Number]) -> Number:
    out = values[0]
    for v in values[1:]:
        out = plus(out, v)
    return out


def plus(a: Number, b: Number) -> Number:
    """The sum; a Dual takes the lead, since an interval does not know how to add one."""
    return b + a if isinstance(b, Dual) and not isinstance(a, Dual) else a + b


def times(a: Number, b: Number) -> Number:
    return b * a if isinstance(b, Dual) and not isinstance(a, Dual) else a * b


def _name(letter: str) -> Affine:
    return Affine(((letter, 1),))


def bounded(x: Number, n: int) -> None:
    """Refuse a power whose value would fill pages.

    Raises:
        CannotEvaluate: The exponent, or the number of bits, is beyond its limit.
    """
    v = _value(x)
    bits = v.numerator.bit_length() + v.denominator.bit_length() if isinstance(v, Fraction) else 64
    if abs(n) > MAX_POWER or abs(n) * bits > MAX_BITS:
        raise CannotEvaluate("a large power")


def whole_number(e: Expr) -> Affine | None:
    """An exponent that counts, such as T - t, as an index expression."""
    match e:
        case Position(at):
            return at
        case Num(value) if value.denominator == 1:
            return Affine((), int(value))
        case Add(terms):
            parts = [whole_number(t) for t in terms]
            return reduce(Affine.__add__, (p for p in parts if p is not None)) if None not in parts else None
        case Mul((Num(value), factor)) if value.denominator == 1:
            inner = whole_number(factor)
            return inner * int(value) if inner is not None else None
    return None


def _value(x: Number) -> Number:
    while isinstance(x, Dual):
        x = x.v
    return x


def transcendental(system: System, expressions: Iterable[Expr] = ()) -> bool:
    """Whether evaluating the system needs more than rational arithmetic."""
    stack = [e.rhs for e in system.equations] + list(expressions)
    seen: set[str] = set()
    while stack:
        for _, p in walk(stack.pop()):
            if isinstance(p, Param) and p.name == "pi":
                return True
            if isinstance(p, Pow) and whole_number(p.exponent) is None:
                return True
            if not isinstance(p, Call):
                continue
            for name in (p.function, *system.tables.get(p.function, {}).values()):
                if name in seen:
                    continue
                seen.add(name)
                f = system.function(name)
                if f is None or name in ("abs", "sign"):
                    continue
                if f.value is None:
                    return True
                stack.append(f.value(Param("z")))
    return False
