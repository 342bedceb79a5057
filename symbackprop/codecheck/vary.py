"""The slips that a backward pass may hold: each is one of its equations with a factor dropped, an index swapped, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from symbackprop import functions as F
from symbackprop.codecheck.evaluate import OPAQUE, CannotEvaluate, Definition, Setting, gradient_key, uses
from symbackprop.derive import adjoints
from symbackprop.indices import Affine, affine
from symbackprop.network import Equation, System
from symbackprop.symbols import (
    ONE,
    Add,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Family,
    Guarded,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Ref,
    Size,
    Sum,
    Where,
    expr,
    replace_at,
    substitute,
    transform,
    walk,
)

Say: TypeAlias = Callable[[Mapping[str, Affine]], str]
NEW = OPAQUE + "new"
"""Marks weights that have been updated already."""
FORWARD = 60
"""A slip in the forward pass ranks so much behind the same in the backward pass."""
INNER = OPAQUE + "z"
"""Marks the argument of an activation that the model does not name."""


@dataclass(frozen=True)
class Variation:
    """Another right side for a definition.

    Args:
        number: Of the definition.
        value: The other right side.
        cause: The code of the slip.
        say: What it is, in words, given numbers for the letters of layers.
        rank: Smaller is likelier.
    """

    number: int
    value: Expr
    cause: str
    say: Say
    rank: int


# ---------------------------------------------------------------- the pass that is varied


def opaque(system: System) -> System:
    """The model with every activation kept as g, so that its derivative is a factor g'(z) of its own, and with a name
    for each argument of one."""
    families, equations = dict(system.families), []

    def hide(e: Expr) -> Expr:
        if isinstance(e, Call) and e.order == 0 and len(e.arguments) == 1:
            own = system.function(e.function)
            if own is not None and own.value is not None:
                return replace(e, function=e.function + OPAQUE)
        return e

    for e in system.equations:
        rhs = transform(e.rhs, hide)
        if isinstance(rhs, Call) and rhs.function.endswith(OPAQUE) and not isinstance(rhs.arguments[0], Ref):
            family = families[e.lhs.family]
            inner = family.name + INNER
            families[inner] = replace(family, name=inner, kind="derived")
            equations.append(Equation(Ref(inner, e.lhs.indices), rhs.arguments[0], e.guard))
            rhs = replace(rhs, arguments=(Ref(inner, e.lhs.indices),))
        equations.append(replace(e, rhs=rhs))
    return replace(system, families=families, equations=tuple(equations), spec="")


def definitions_of(system: System) -> list[Definition]:
    """The forward pass, then the backward pass with nothing written into it that has a name."""
    mean = system.mean or ()
    forward = [
        Definition(e.lhs.family, e.lhs.indices, e.rhs, e.guard) for e in system.equations if e.lhs.family not in mean
    ]
    found = [a for a in adjoints(system) if isinstance(a.subject.bottom, Ref) and a.value != a.subject]
    named = {a.value: a.subject for a in found if not isinstance(a.value, Ref | Partial | Num)}

    def open_up(subject: Partial, value: Expr) -> Expr:
        def put(p: Expr) -> Expr:
            return named[p] if p in named and named[p] != subject else p

        return transform(value, put)

    backward = []
    for a in found:
        bottom = a.subject.bottom
        assert isinstance(bottom, Ref)
        parts = tuple(open_up(a.subject, p) for p in a.value.parts)
        value = a.value.rebuild(parts) if parts else a.value
        backward.append(Definition(gradient_key(bottom.family), bottom.indices, value, a.guard))
    return [*forward, *backward]


# ---------------------------------------------------------------- words


class Words:
    """Expressions as people write them in code reviews: w^(2), g'(z^(1)), dC/dz^(2), no node indices."""

    def __init__(self, system: System, layered: bool) -> None:
        self.system, self.layered = system, layered
        self.cost = "C"

    def __call__(self, e: Expr, at: Mapping[str, Affine] | None = None) -> str:
        return self.of(substitute(e, dict(at)) if at else e)

    def ref(self, family: str, indices: Sequence[Affine]) -> str:
        if family.endswith(INNER):
            return f"the argument of the activation in {self.ref(family.removesuffix(INNER), indices)}"
        f = self.system.families[family.removesuffix(NEW)]
        places = [str(i) for a, i in zip(f.axes, indices, strict=True) if a.kind == "recursion"]
        name = family.removesuffix(NEW)
        bars = {bar: output for output, bar in self.system.upstream.items()}
        if name in bars:
            return f"upstream[{bars[name]!r}]"
        return name + (f"^({', '.join(places)})" if places else "")

    def activation(self, e: Call) -> str:
        name = e.function.removesuffix(OPAQUE)
        return "g" if self.layered and (e.function.endswith(OPAQUE) or name in self.system.tables) else name

    def of(self, e: Expr) -> str:
        match e:
            case Num(v):
                return str(v)
            case Param(name):
                return name
            case Size(axis):
                return f"{axis.label}_{axis.at}" if axis.at is not None else axis.label
            case Ref(family, indices):
                return self.ref(family, indices)
            case Partial(_, Ref(family, indices)):
                return f"d{self.cost}/d{self.ref(family, indices)}"
            case Add(terms):
                out = self.of(terms[0])
                for t in terms[1:]:
                    text = self.of(t)
                    out += f" - {text[1:].lstrip()}" if text.startswith("-") else f" + {text}"
                return out
            case Mul((Num(v), *rest)) if v == -1 and rest:
                return "-" + self.of(rest[0] if len(rest) == 1 else Mul(tuple(rest)))
            case Mul(factors):
                return " ".join(f"({self.of(f)})" if isinstance(f, Add) else self.of(f) for f in factors)
            case Div(top, bottom):
                return f"{self.wrapped(top)}/{self.wrapped(bottom)}"
            case Pow(base, exponent):
                return f"{self.wrapped(base)}^{self.wrapped(exponent)}"
            case Call(_, arguments, order):
                inside = ", ".join(map(self.of, arguments))
                return f"{self.activation(e)}{chr(39) * order}({inside})"
            case Sum(_, _, body):
                return f"Σ {self.of(body)}"
            case Where(Compare(op, left, right), then, other):
                return f"[{self.of(left)} {op} {self.of(right)} ? {self.of(then)} : {self.of(other)}]"
            case Guarded(body):
                return self.of(body)
            case Position(at):
                return str(at)
            case Delta(left, right):
                return f"δ_{left}{right}"
        return type(e).__name__.lower()

    def wrapped(self, e: Expr) -> str:
        text = self.of(e)
        return f"({text})" if isinstance(e, Add | Mul | Div | Sum) else text

    def short(self, e: Expr, at: Mapping[str, Affine] | None = None) -> str:
        text = self(e, at)
        return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------- variations


class Varier:
    """All variations of the definitions of one model with numbers."""

    def __init__(self, system: System, setting: Setting, definitions: Sequence[Definition], layered: bool) -> None:
        self.system, self.setting, self.definitions = system, setting, definitions
        self.words = Words(system, layered)
        self.layered = layered

    def of(self, number: int) -> Iterator[Variation]:
        d = self.definitions[number]
        backward = d.key.startswith("∂")
        if d.key == self.system.cost:
            return
        seen = {d.value}
        found = [*self.inside(d), *(self.whole(d) if backward else ())]
        for value, cause, say, rank in found:
            if value not in seen:
                seen.add(value)
                yield Variation(
                    number,
                    value,
                    cause,
                    say if backward else self.forward(d, say),
                    rank if backward else rank + FORWARD,
                )

    def forward(self, d: Definition, say: Say) -> Say:
        subject = Ref(d.key, d.indices)
        return lambda at: f"if the forward pass computes {self.words(subject, at)} {say(at)}"

    # ------------------------------------------------------------ a part of an equation

    def inside(self, d: Definition) -> Iterator[tuple[Expr, str, Say, int]]:
        for path, p in walk(d.value):
            for new, cause, say, rank in self.part(p, d):
                yield replace_at(d.value, path, new), cause, say, rank

    def part(self, p: Expr, d: Definition) -> Iterator[tuple[Expr, str, Say, int]]:
        match p:
            case Mul():
                yield from self.of_product(p)
            case Add():
                yield from self.of_sum(p)
            case Call():
                yield from self.of_call(p, d)
            case Ref() | Partial():
                yield from self.of_quantity(p, d)
            case Sum():
                yield from self.of_sigma(p, d)
            case Div(top, bottom):
                yield top, "factor", self.say("without the division by {}", bottom), 22
                yield Div(ONE, bottom), "factor", self.say("without the factor {}", top), 34
                yield (
                    Div(top, Pow(bottom, expr(2))),
                    "factor",
                    self.say("with a division by {} once too often", bottom),
                    35,
                )
            case Pow(base, Num(v)):
                yield base, "factor", self.say("with {} instead of {}", base, p), 22
                for n in (2, 3):
                    if n != v:
                        yield Pow(base, expr(n)), "factor", self.say("with {} instead of {}", Pow(base, expr(n)), p), 36
            case Guarded(body, _):
                yield body, "index_out_of_range", self.say("without the condition on the indices of {}", body), 26

    def say(self, form: str, *parts: Expr) -> Say:
        return lambda at: form.format(*(self.words.short(p, at) for p in parts))

    def of_product(self, p: Mul) -> Iterator[tuple[Expr, str, Say, int]]:
        for n, f in enumerate(p.factors):
            rest = p.factors[:n] + p.factors[n + 1 :]
            new: Expr = rest[0] if len(rest) == 1 else Mul(rest)
            if isinstance(f, Call) and f.order:
                yield new, "missing_activation_derivative", self.slope_words("without {}", f), 10
            elif isinstance(f, Partial):
                yield new, "other", self.say("without the factor {}", f), 50
            elif f == Num(-ONE.value):
                yield new, "sign", self.say("with the wrong sign before {}", new), 15
            elif isinstance(f, Num | Size | Div | Pow):
                yield new, "factor", self.say("without the factor {}", f), 21
            else:
                yield new, "factor", self.say("without the factor {}", f), 32

    def slope_words(self, form: str, f: Call) -> Say:
        name = f.function.removesuffix(OPAQUE)
        shown = f" (the derivative of {name})" if self.words.activation(f) != name else ""
        return lambda at: form.format(self.words.short(f, at) + shown)

    def of_sum(self, p: Add) -> Iterator[tuple[Expr, str, Say, int]]:
        for n, t in enumerate(p.terms):
            rest = p.terms[:n] + p.terms[n + 1 :]
            without: Expr = rest[0] if len(rest) == 1 else Add(rest)
            yield without, "dropped_term", self.say("without the term {}", t), 20

            def put(new: Expr, n: int = n) -> Expr:
                return Add((*p.terms[:n], new, *p.terms[n + 1 :]))

            minus = isinstance(t, Mul) and t.factors[0] == Num(-ONE.value)
            opposite = (
                Mul(t.factors[1:])
                if isinstance(t, Mul) and minus and len(t.factors) > 2
                else t.parts[1]
                if minus
                else -t
            )
            yield put(opposite), "sign", self.say("with the wrong sign before {}", t), 16
            yield put(expr(2) * t), "factor", self.say("with a factor 2 before {}", t), 28
            yield put(F.HALF * t), "factor", self.say("with half of the term {}", t), 28

    def of_call(self, p: Call, d: Definition) -> Iterator[tuple[Expr, str, Say, int]]:
        if p.function == "sqrt":
            yield p.arguments[0], "factor", self.say("with {} instead of {}", p.arguments[0], p), 22
        if not (p.function.endswith(OPAQUE) or p.function in self.system.tables):
            return
        if p.order == 0:
            yield p.arguments[0], "other", self.say("without the activation: {} instead of {}", p.arguments[0], p), 30
            return
        value = replace(p, order=0)
        yield ONE, "missing_activation_derivative", self.slope_words("without {}", p), 11
        yield value, "missing_activation_derivative", self.say("with {} instead of {}", value, p), 12
        shown = self.quantity_of(value)
        yield (
            replace(p, arguments=(value,)),
            "wrong_variable",
            self.say("with {} instead of {}", replace(p, arguments=(shown,)), p),
            13,
        )
        yield from self.slopes(p, value, shown)

    def quantity_of(self, value: Call) -> Expr:
        """The name of g(z), where the model has one: a."""
        z = value.arguments[0]
        if isinstance(z, Ref):
            for e in self.system.equations:
                if isinstance(e.rhs, Call) and e.rhs.function == value.function and isinstance(e.rhs.arguments[0], Ref):
                    inner = e.rhs.arguments[0]
                    if inner.family == z.family:
                        to = {i.name: j for i, j in zip(inner.indices, z.indices, strict=True) if i.name is not None}
                        return substitute(e.lhs, to)
        return value

    def slopes(self, p: Call, value: Call, shown: Expr) -> Iterator[tuple[Expr, str, Say, int]]:
        """The derivative as a formula with a slip of its own: z where a belongs, a factor or a term lost."""
        own = self.system.function(p.function.removesuffix(OPAQUE))
        if own is None or own.value is None:
            return
        z = p.arguments[0]
        right = own.slope(z, shown)
        forms = [(own.slope(z, z), own.slope(z, z))]
        for path, q in walk(right):
            if isinstance(q, Mul | Add | Pow):
                for new, _, _, _ in self.part(q, Definition("", (), q)):
                    forms.append((replace_at(right, path, new), replace_at(right, path, new)))

        def real(e: Expr) -> Expr:
            return transform(e, lambda x: value if x == shown else x)

        for n, (new, words) in enumerate(forms):
            yield (
                real(new),
                "wrong_variable" if n == 0 else "missing_activation_derivative",
                self.say("with {} instead of {} as {}", words, right, p),
                17 if n == 0 else 27,
            )

    def of_quantity(self, p: Ref | Partial, d: Definition) -> Iterator[tuple[Expr, str, Say, int]]:
        ref = p if isinstance(p, Ref) else p.bottom
        if not isinstance(ref, Ref):
            return
        family = self.system.families[ref.family]

        def put(new: Ref) -> Expr:
            return new if isinstance(p, Ref) else replace(p, bottom=new)

        nodes = [n for n, a in enumerate(family.axes) if a.kind != "recursion"]
        for a, i in enumerate(nodes):
            for j in nodes[a + 1 :]:
                swapped = list(ref.indices)
                swapped[i], swapped[j] = swapped[j], swapped[i]
                one = d.key.startswith("∂")
                form = "with {} not transposed" if one and family.kind == "parameter" else "with {} transposed"
                cause = "transposed_weight" if family.kind == "parameter" else "wrong_index"
                yield put(Ref(ref.family, tuple(swapped))), cause, self.say(form, p), 14
        for n, axis in enumerate(family.axes):
            if axis.kind == "recursion":
                for step in (1, -1):
                    moved = (*ref.indices[:n], ref.indices[n] + step, *ref.indices[n + 1 :])
                    new = put(Ref(ref.family, moved))
                    yield new, "wrong_layer", self.say("with {} instead of {}", new, p), 18
        yield from self.other_families(p, ref, family, put)
        if isinstance(p, Ref) and family.kind == "parameter" and d.key.startswith("∂"):
            new_ = Ref(ref.family + NEW, ref.indices)
            yield new_, "other", self.say("with {} as it is after its update", p), 19

    def other_families(
        self, p: Expr, ref: Ref, family: Family, put: Callable[[Ref], Expr]
    ) -> Iterator[tuple[Expr, str, Say, int]]:
        """Another quantity with the same axes in its place."""
        plain = [(a.kind, a.label, a.at is None) for a in family.axes]
        bars = set(self.system.upstream.values())
        for other in self.system.families.values():
            if other.name == family.name or other.kind == "cost" or other.over is not None or family.over is not None:
                continue
            if len(other.axes) == len(family.axes) and self.alike(plain, other):
                new = put(Ref(other.name, ref.indices))
                rank = 23 if self.layered else 41 if other.name in bars or family.name in bars else 38
                yield new, "wrong_variable", self.say("with {} instead of {}", new, p), rank
            elif (
                self.layered
                and len(other.axes) == len(family.axes) - 1
                and other.kind in ("input", "target")
                and isinstance(p, Ref)
            ):
                new = Ref(other.name, ref.indices[1:])
                yield new, "wrong_variable", self.say("with {} instead of {}", new, p), 24

    def alike(self, plain: Sequence[tuple[str, str, bool]], other: Family) -> bool:
        kinds = [(a.kind, a.at is None) for a in other.axes]
        return kinds == [(k, at) for k, _, at in plain]

    def of_sigma(self, p: Sum, d: Definition) -> Iterator[tuple[Expr, str, Say, int]]:
        for i, axis in zip(d.indices, self.system.families[d.key.removeprefix("∂")].axes, strict=True):
            same = axis.kind == p.axis.kind and (axis.label == p.axis.label or axis.kind == "node")
            if same and i.name is not None and i.name != p.index:
                one = substitute(p.body, {p.index: i})
                yield (
                    one,
                    "missing_sum",
                    self.say(f"without the sum over {p.index}: only its term {p.index} = {i} of {{}}", p.body),
                    19,
                )
        if p.axis.kind != "recursion":
            yield (
                Mul((Div(ONE, Size(p.axis)), p)),
                "factor",
                self.say(f"averaged over {p.index} instead of summed: {{}}", p),
                25,
            )
            yield (
                substitute(p.body, {p.index: affine(0)}),
                "missing_sum",
                self.say(f"with the first term of the sum over {p.index} alone: {{}}", p),
                29,
            )
        else:
            last = p.axis.last if p.axis.last is not None else self.system.layers
            for place, name in ((last, "last"), (p.axis.first, "first")):
                yield (
                    substitute(p.body, {p.index: place}),
                    "missing_sum",
                    self.say(f"with the {name} term of the sum over {p.index} alone: {{}}", p),
                    27,
                )
        if p.guard:
            yield replace(p, guard=()), "index_out_of_range", self.say("without the condition on the sum {}", p), 31

    # ------------------------------------------------------------ a whole equation of the backward pass

    def whole(self, d: Definition) -> Iterator[tuple[Expr, str, Say, int]]:
        u = Ref(d.key.removeprefix("∂"), d.indices)
        cost = Ref(self.system.cost, ())
        for e in self.system.equations:
            if u.family not in uses(e.rhs) or e.lhs.family == self.system.cost or len(e.lhs.indices) != len(u.indices):
                continue
            v = Ref(e.lhs.family, u.indices)
            if self.alike(
                [(a.kind, a.label, a.at is None) for a in self.system.families[v.family].axes],
                self.system.families[u.family],
            ):
                say = self.say(
                    "with the derivative of {} by {} missing: {} is taken for {}",
                    v,
                    u,
                    Partial(cost, v),
                    Partial(cost, u),
                )
                yield Partial(cost, v), "missing_activation_derivative", say, 26
            if (
                isinstance(e.rhs, Call)
                and isinstance(e.rhs.arguments[0], Ref)
                and e.rhs.arguments[0].family == u.family
            ):
                slope = replace(e.rhs, order=1, arguments=(u,))
                yield Mul((d.value, slope)), "extra_term", self.slope_words("with {} once too often", slope), 30
        yield from self.added(d, u)
        if not any(k.startswith("∂") for k in uses(d.value)):
            yield from self.costs(d, u)

    def added(self, d: Definition, u: Ref) -> Iterator[tuple[Expr, str, Say, int]]:
        """A derivative of an activation where the formula has none: softmax with cross-entropy, say."""
        if any(isinstance(p, Call) and p.order for _, p in walk(d.value)) or not d.value.parts:
            return
        for e in self.system.equations:
            if e.lhs.family == u.family or u.family not in uses(e.rhs) or len(e.lhs.indices) != len(u.indices):
                continue
            a = Ref(e.lhs.family, u.indices)
            above = Partial(Ref(self.system.cost, ()), a)
            if isinstance(e.rhs, Div) and isinstance(e.rhs.top, Call) and e.rhs.top.function == "exp":
                say = self.say(
                    "with the diagonal of the softmax alone: {} as {}", Mul((above, a, 1 - a)), replace(above, bottom=u)
                )
                yield Mul((above, a, 1 - a)), "missing_sum", say, 19
            yield Mul((d.value, a, 1 - a)), "extra_term", self.say("with a factor {} too many", Mul((a, 1 - a))), 31

    def costs(self, d: Definition, u: Ref) -> Iterator[tuple[Expr, str, Say, int]]:
        """The derivative of another cost."""
        targets = [f for f in self.system.families.values() if f.kind == "target"]
        if len(targets) != 1 or not self.layered or targets[0].name not in uses(d.value):
            return
        y = Ref(targets[0].name, u.indices[-len(targets[0].axes) :])
        outputs = [
            e.lhs.family for e in self.system.equations if u.family in uses(e.rhs) and isinstance(e.rhs, Call | Div)
        ]
        for name in dict.fromkeys([u.family, *outputs]):
            a = Ref(name, u.indices)
            table = (
                ("half_sum_squares", a - y),
                ("binary_cross_entropy", Div(a - y, a * (1 - a))),
                ("softmax_cross_entropy", Mul((Num(-ONE.value), Div(y, a)))),
                ("sum_absolute", Call("sign", (a - y,))),
            )
            for cost, value in table:
                yield (
                    value,
                    "loss_derivative",
                    self.say(
                        f"with the derivative of {cost}, {{}}, as {{}}", value, Partial(Ref(self.system.cost, ()), u)
                    ),
                    37,
                )


__all__ = ["NEW", "CannotEvaluate", "Variation", "Varier", "Words", "definitions_of", "opaque"]
