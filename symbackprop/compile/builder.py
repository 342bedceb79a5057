"""Building the values of a Program, each once, in forms that are safe in floating point.

Equal constructions give equal values (`Builder.table`), so what two places share is computed once. The
algebra is exact but not always safe; `Builder` recognises the forms that have a stable equal, softmax and
its logarithm among them, when it is about to build them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from symbackprop.compile.program import (
    LETTERS,
    SAMPLE,
    Constant,
    Contract,
    Instruction,
    Map,
    Operand,
    Reduce,
    View,
)
from symbackprop.indices import Guard, affine
from symbackprop.symbols import ONE, ZERO, Add, Call, Compare, Div, Expr, Mul, Num, Param, Pow, Where, transform


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the program with a label (of the place where it is used) on each axis."""

    name: str
    labels: tuple[str, ...]


Term: TypeAlias = "Value | Expr"  # an Expr here is a number: of Num, Param and sizes only


@dataclass(frozen=True, slots=True)
class Node:
    """How a value was built; the labels of `args` are those of the value's own axes."""

    head: str
    args: tuple[Value, ...]
    extra: object = None


class Builder:
    """Instructions so far. Equal constructions give the same value."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.dims: dict[str, tuple[str, ...]] = {}
        self.nodes: dict[str, Node] = {}
        self.table: dict[object, str] = {}
        self.softmaxes: dict[str, tuple[Value, Value, Value]] = {}  # value -> argument, its maximum, the sum
        self.same_sign: dict[str, str] = {}  # value -> another that is positive exactly where it is
        self.rank: dict[str, int] = {SAMPLE: 0}  # the order of labels
        self.label_dims: dict[str, str] = {SAMPLE: SAMPLE}
        self.serial = 0

    # ---------------------------------------------------------------- labels

    def label(self, dim: str) -> str:
        """A new label over a dimension."""
        name = f"{len(self.rank)}"
        self.rank[name] = len(self.rank)
        self.label_dims[name] = dim
        return name

    def sort(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(set(labels), key=self.rank.__getitem__))

    def letters(self, *groups: tuple[str, ...]) -> dict[str, str]:
        """Letters for labels by order of appearance, so that equal constructions look equal."""
        out: dict[str, str] = {}
        for g in groups:
            for c in g:
                out.setdefault(c, LETTERS[len(out)])
        return out

    # ---------------------------------------------------------------- instructions

    def fresh(self) -> str:
        self.serial += 1
        return f"t{self.serial}"

    def emit(self, key: object, instruction: Callable[[str], Instruction], dims: tuple[str, ...], node: Node) -> str:
        name = self.table.get(key)
        if name is None:
            name = self.fresh()
            self.table[key] = name
            self.instructions.append(instruction(name))
            self.dims[name] = dims
            self.nodes[name] = node
        return name

    def map(self, head: str, formula: Expr, args: Sequence[Value], extra: object = None) -> Value:
        labels = self.sort(c for a in args for c in a.labels)
        to = self.letters(labels)
        operands = tuple(Operand(a.name, "".join(to[c] for c in a.labels)) for a in args)
        text = "".join(to[c] for c in labels)
        own = tuple(Value(a.name, tuple(to[c] for c in a.labels)) for a in args)
        name = self.emit(
            ("map", formula, operands, text),
            lambda n: Map(n, formula, operands, text),
            tuple(self.label_dims[c] for c in labels),
            Node(head, own, extra),
        )
        return Value(name, labels)

    def reduce(self, kind: str, arg: Value, gone: frozenset[str]) -> Value:
        labels = tuple(c for c in self.sort(arg.labels) if c not in gone)
        to = self.letters(labels, self.sort(arg.labels))
        operand, text = Operand(arg.name, "".join(to[c] for c in arg.labels)), "".join(to[c] for c in labels)
        name = self.emit(
            (kind, operand, text),
            lambda n: Reduce(n, kind, operand, text),  # type: ignore[arg-type]
            tuple(self.label_dims[c] for c in labels),
            Node(kind, (Value(arg.name, tuple(operand.labels)),), text),
        )
        return Value(name, labels)

    def contract(self, args: Sequence[Value], gone: frozenset[str]) -> Value:
        labels = self.sort(c for a in args for c in a.labels if c not in gone)
        to = self.letters(labels, self.sort(c for a in args for c in a.labels))
        operands = tuple(Operand(a.name, "".join(to[c] for c in a.labels)) for a in args)
        text = "".join(to[c] for c in labels)
        name = self.emit(
            ("contract", operands, text),
            lambda n: Contract(n, operands, text),
            tuple(self.label_dims[c] for c in labels),
            Node("contract", ()),
        )
        return Value(name, labels)

    def view(self, name: str, given: Sequence[str | int], want: tuple[str, ...] | None = None) -> Value:
        """A value with labels or fixed positions on its axes."""
        labels = self.sort(c for c in given if isinstance(c, str)) if want is None else want
        plain = [c for c in given if isinstance(c, str)]
        if want is None and len(plain) == len(given) and len(set(plain)) == len(plain):
            return Value(name, tuple(plain))
        if tuple(plain) == labels and len(plain) == len(given):
            return Value(name, labels)
        to = self.letters(labels)
        letters = [to[c] if isinstance(c, str) else "" for c in given]
        spare = iter(c for c in LETTERS if c not in to.values())
        operand = Operand(name, "".join(c or next(spare) for c in letters))
        fixed = tuple(c if isinstance(c, int) else None for c in given)
        text = "".join(to[c] for c in labels)
        own = self.emit(
            ("view", operand, fixed, text),
            lambda n: View(n, operand, fixed, text),
            tuple(self.label_dims[c] for c in labels),
            Node("view", ()),
        )
        return Value(own, labels)

    def mask(self, guard: Guard, value: Fraction, labels: Iterable[str]) -> Value:
        """1 (or `value`) where the constraints on the labels hold."""
        order = self.sort(labels)
        to = self.letters(order)
        own = tuple(c.substitute({k: affine(v) for k, v in to.items()}) for c in guard)
        text, types = "".join(to.values()), tuple(self.label_dims[c] for c in order)
        name = self.emit(
            ("constant", own, value, types),
            lambda n: Constant(n, text, types, value, own),
            types,
            Node("constant", ()),
        )
        return Value(name, order)

    # ---------------------------------------------------------------- looking at what was built

    def node(self, v: Term) -> Node | None:
        """How a value was built, its arguments labelled as seen from here."""
        if not isinstance(v, Value):
            return None
        n = self.nodes.get(v.name)
        if n is None or n.head in ("contract", "constant", "view", "sum", "max", "prod"):
            return n
        back = dict(zip(LETTERS, v.labels, strict=False))
        return Node(n.head, tuple(Value(a.name, tuple(back[c] for c in a.labels)) for a in n.args), n.extra)

    def call_argument(self, v: Term, function: str) -> Value | None:
        n = self.node(v)
        return n.args[0] if n is not None and n.head == "call " + function else None

    def one_plus(self, v: Term) -> tuple[Value, Fraction] | None:
        """(u, c) where v is 1 + c u."""
        n = self.node(v)
        if n is None or n.head != "add" or len(n.args) != 1:
            return None
        extra: tuple[tuple[Fraction, ...], Expr] = n.extra  # type: ignore[assignment]
        return (n.args[0], extra[0][0]) if extra[1] == ONE else None

    # ---------------------------------------------------------------- elementwise operations

    def add(self, terms: Sequence[Term]) -> Term:
        numbers = [t for t in terms if isinstance(t, Expr) and t != ZERO]
        const: Expr = ZERO if not numbers else numbers[0] if len(numbers) == 1 else Add(tuple(numbers))
        if len(numbers) > 1 and all(isinstance(t, Num) for t in numbers):
            const = Num(sum((t.value for t in numbers if isinstance(t, Num)), Fraction(0)))
        coefficients: dict[Value, Fraction] = {}
        for t in terms:
            if not isinstance(t, Value):
                continue
            n, c = self.node(t), Fraction(1)
            if n is not None and n.head == "mul" and len(n.args) == 1 and isinstance(n.extra, Num):
                t, c = n.args[0], n.extra.value
            coefficients[t] = coefficients.get(t, Fraction(0)) + c
        items = [(v, c) for v, c in coefficients.items() if c]
        if not items:
            return const
        if len(items) == 1 and const == ZERO:
            return items[0][0] if items[0][1] == 1 else self.mul([Num(items[0][1]), items[0][0]])
        if const == Num(Fraction(-1)) and len(items) == 1 and items[0][1] == 1:
            u = self.call_argument(items[0][0], "exp")
            if u is not None:
                return self.call("expm1", [u])
        formula: list[Expr] = [
            Param(str(i)) if c == 1 else Mul((Num(c), Param(str(i)))) for i, (_, c) in enumerate(items)
        ]
        if const != ZERO:
            formula.insert(0, const)
        return self.map("add", Add(tuple(formula)), [v for v, _ in items], (tuple(c for _, c in items), const))

    def mul(self, factors: Sequence[Term]) -> Term:
        c = product([f for f in factors if not isinstance(f, Value)])
        args = [f for f in factors if isinstance(f, Value)]
        if not args or c == ZERO:
            return c
        flat: list[Value] = []
        for a in args:
            n = self.node(a)
            if n is not None and n.head == "mul" and len(n.args) == 1 and isinstance(n.extra, Num):
                c, a = product([c, n.extra]), n.args[0]
            flat.append(a)
        if c == ONE and len(flat) == 1:
            return flat[0]
        cancelled = self.cancelled(flat)
        if cancelled is not None:
            return self.mul([c, cancelled])
        formula: list[Expr] = [Param(str(i)) for i in range(len(flat))]
        whole: Expr = Mul(tuple(formula if c == ONE else [c, *formula])) if len(flat) > 1 or c != ONE else formula[0]
        return self.map("mul", whole, flat, c)

    def div(self, top: Term, bottom: Term) -> Term:
        if not isinstance(bottom, Value):
            inverse: Expr = Num(1 / bottom.value) if isinstance(bottom, Num) and bottom.value else Div(ONE, bottom)
            return Div(top, bottom) if isinstance(top, Expr) else self.mul([inverse, top])
        stable = self.stable_quotient(top, bottom)
        if stable is not None:
            return stable
        if not isinstance(top, Value):
            return self.map("div", Div(top, Param("0")), [bottom], top)
        return self.map("div", Div(Param("0"), Param("1")), [top, bottom])

    def pow(self, base: Term, exponent: Term) -> Term:
        if not isinstance(exponent, Value):
            if exponent == ONE:
                return base
            if not isinstance(base, Value):
                return Pow(base, exponent)
            return self.map("pow", Pow(Param("0"), exponent), [base], exponent)
        if not isinstance(base, Value):
            return self.map("pow", Pow(base, Param("0")), [exponent])
        return self.map("pow", Pow(Param("0"), Param("1")), [base, exponent])

    def call(self, function: str, arguments: Sequence[Term]) -> Term:
        if not any(isinstance(a, Value) for a in arguments):
            return Call(function, tuple(a for a in arguments if isinstance(a, Expr)))
        if function == "log" and (stable := self.stable_log(arguments[0])) is not None:
            return stable
        values = [a for a in arguments if isinstance(a, Value)]
        places = iter(range(len(values)))
        formula = tuple(a if isinstance(a, Expr) else Param(str(next(places))) for a in arguments)
        return self.map("call " + function, Call(function, formula), values)

    def where(self, op: str, left: Term, right: Term, then: Term, other: Term) -> Term:
        if op == ">" and right == ZERO and isinstance(left, Value):
            twin = self.same_sign.get(left.name)
            if twin is not None:
                left = Value(twin, left.labels)
                n = self.node(left)
                if (then, other) == (ONE, ZERO) and n is not None and n.head == "call maximum" and len(n.args) == 1:
                    return self.call("sign", [left])  # it is 0 or positive
        values: list[Value] = []

        def place(t: Term) -> Expr:
            if isinstance(t, Expr):
                return t
            if t not in values:
                values.append(t)
            return Param(str(values.index(t)))

        formula = Where(Compare(op, place(left), place(right)), place(then), place(other))  # type: ignore[arg-type]
        if not values:
            return formula
        if op == ">" and right == ZERO and isinstance(left, Value) and then == left:
            slope = ZERO if other == ZERO else None
            n = self.node(other)
            if n is not None and n.head == "mul" and n.args == (left,) and isinstance(n.extra, Num):
                slope = n.extra
            if slope is not None and 0 <= slope.value < 1:
                # max(u, c u), which also lets a NaN through.
                out = self.call("maximum", [left, ZERO if slope == ZERO else self.mul([slope, left])])
                assert isinstance(out, Value)
                if out.labels == left.labels:
                    self.same_sign[left.name] = out.name
                return out
        return self.map("where", formula, values)

    # ---------------------------------------------------------------- forms with a stable equal

    def cancelled(self, given: Sequence[Value]) -> Term | None:
        """(p/u - q/v) u v as p v - q u: where u or v is 0, the product is finite but its factors are not."""
        if len(given) < 2 or not any(self.is_fractions(v) for v in given):
            return None
        flat: list[Value] = []
        number: Expr = ONE
        for v in given:
            n = self.node(v)
            if n is not None and n.head == "mul" and isinstance(n.extra, Expr):
                flat += n.args
                number = product([number, n.extra])
            else:
                flat.append(v)
        for i, v in enumerate(flat):
            if not self.is_fractions(v):
                continue
            others = flat[:i] + flat[i + 1 :]
            terms: list[Term] = []
            for c, fraction in self.linear(v):
                n = self.node(fraction)
                assert n is not None
                if n.args[-1] not in others:
                    break
                rest = list(others)
                rest.remove(n.args[-1])
                top: Term = n.args[0] if len(n.args) == 2 else n.extra  # type: ignore[assignment]
                terms.append(self.mul([Num(c), top, *rest]))
            else:
                return self.mul([number, self.add(terms)])
        return None

    def linear(self, v: Value) -> list[tuple[Fraction, Value]]:
        """A value as a sum of numbers times values, if it is one without a number of its own."""
        n = self.node(v)
        if n is not None and n.head == "add" and n.extra[1] == ZERO:  # type: ignore[index]
            return list(zip(n.extra[0], n.args, strict=True))  # type: ignore[index]
        if n is not None and n.head == "mul" and len(n.args) == 1 and isinstance(n.extra, Num):
            return [(n.extra.value, n.args[0])]
        return [(Fraction(1), v)]

    def is_fractions(self, v: Value) -> bool:
        """Whether a value is a quotient, or a sum of quotients with numbers before them."""
        return all((n := self.node(t)) is not None and n.head == "div" for _, t in self.linear(v))

    def stable_quotient(self, top: Term, bottom: Value) -> Term | None:
        """sigmoid, tanh and softmax where they are written out with exp."""
        n = self.node(bottom)
        if n is None:
            return None
        u = self.call_argument(top, "exp")
        if n.head == "sum" and u is not None and isinstance(top, Value):
            summed = n.args[0]
            gone = [i for i, c in enumerate(summed.labels) if c not in str(n.extra)]
            kept = [c for i, c in enumerate(top.labels) if i not in gone]
            if summed.name == top.name and tuple(kept) == bottom.labels:
                over = frozenset(top.labels[i] for i in gone)
                highest = self.reduce("max", u, over)
                raised = self.call("exp", [self.add([u, self.neg(highest)])])
                assert isinstance(raised, Value)
                total = self.reduce("sum", raised, over)
                out = self.map("div", Div(Param("0"), Param("1")), [raised, total])
                self._remember(out, u, highest, total)
                return out
        one = self.one_plus(bottom)
        if one is not None and one[1] == 1 and (v := self.call_argument(one[0], "exp")) is not None:
            if top == ONE:
                return self.call("sigmoid", [self.neg(v)])
            if u == v:
                return self.call("sigmoid", [v])
        if n.head == "add" and n.extra == ((1, 1), ZERO):
            m = self.node(top)
            if m is not None and m.head == "add" and m.extra == ((1, -1), ZERO) and m.args == n.args:
                a, b = (self.call_argument(x, "exp") for x in n.args)
                if a is not None and b is not None and self.neg(a) == b:
                    return self.call("tanh", [a])
        return None

    def _remember(self, out: Value, u: Value, highest: Value, total: Value) -> None:
        to = dict(zip(out.labels, LETTERS, strict=False))

        def own(v: Value) -> Value:
            return Value(v.name, tuple(to[c] for c in v.labels))

        self.softmaxes[out.name] = (own(u), own(highest), own(total))

    def stable_log(self, v: Term) -> Term | None:
        """ln of a softmax, of a sigmoid, of 1 minus a sigmoid, and of 1 + exp(u)."""
        if isinstance(v, Value) and v.name in self.softmaxes:
            back = dict(zip(LETTERS, v.labels, strict=False))
            u, highest, total = (Value(p.name, tuple(back[c] for c in p.labels)) for p in self.softmaxes[v.name])
            return self.add([u, self.neg(highest), self.neg(self.call("log", [total]))])
        s = self.call_argument(v, "sigmoid")
        if s is not None:
            return self.neg(self.call("softplus", [self.neg(s)]))
        one = self.one_plus(v)
        if one is not None and one[1] == -1 and (s := self.call_argument(one[0], "sigmoid")) is not None:
            return self.neg(self.call("softplus", [s]))
        if one is not None and one[1] == 1 and (s := self.call_argument(one[0], "exp")) is not None:
            return self.call("softplus", [s])
        return None

    def neg(self, v: Term) -> Term:
        return self.mul([Num(Fraction(-1)), v])


def product(numbers: Sequence[Expr]) -> Expr:
    """The product of numbers, as one Num where it is one."""
    value = Fraction(1)
    rest: list[Expr] = []
    for n in numbers:
        if isinstance(n, Num):
            value *= n.value
        elif isinstance(n, Div) and isinstance(n.top, Num):
            value *= n.top.value
            rest.append(Div(ONE, n.bottom))
        elif isinstance(n, Mul):
            value *= next((f.value for f in n.factors if isinstance(f, Num)), Fraction(1))
            rest += [f for f in n.factors if not isinstance(f, Num)]
        else:
            rest.append(n)
    if value == 0 or not rest:
        return Num(value)
    if value == 1:
        return rest[0] if len(rest) == 1 else Mul(tuple(rest))
    return Mul((Num(value), *rest))


def guarded_exp(branch: Expr, condition: Expr, *, holds: bool) -> Expr:
    """A branch of a Where on u > 0 in which exp is not taken where the branch does not count."""
    if not isinstance(condition, Compare) or condition.op not in (">", ">=") or condition.right != ZERO:
        return branch
    u = condition.left

    def clamp(e: Expr) -> Expr:
        if isinstance(e, Call) and e.function == "exp":
            (v,) = e.arguments
            if not holds and v == u:
                return Call("exp", (Call("minimum", (u, ZERO)),))
            if holds and v == -u:
                return Call("exp", (Call("minimum", (v, ZERO)),))
        return e

    return transform(branch, clamp)
