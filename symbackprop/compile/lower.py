"""From equations to a Program, for concrete layers.

The equations of the forward pass and of the backward pass are walked term by term: a sum of products
becomes a contraction, anything else elementwise maps and reductions. Nothing here knows a dense layer.
Lowering starts at the wanted outputs, so what nobody needs never appears, and equal values are found by
their construction (`Builder`), so what two places share is computed once.

The algebra is exact but not always safe in floating point; `Builder` recognises the forms that have a
stable equal, softmax and its logarithm among them, when it is about to build them.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol, TypeAlias

from symbackprop.compile.builder import Builder, Term, Value, guarded_exp
from symbackprop.compile.program import (
    SAMPLE,
    Contract,
    Input,
    Instruction,
    Key,
    Map,
    Operand,
    Output,
    Program,
    Reduce,
    View,
)
from symbackprop.errors import ModelError, UnknownFamilyError, nearest
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, equals
from symbackprop.network import SAMPLES, Equation, System
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Family,
    Mul,
    Num,
    Param,
    Partial,
    Pow,
    Ref,
    Size,
    Sum,
    Where,
    WrittenOut,
    families,
    substitute,
)


class AdjointLike(Protocol):
    """One equation of the backward pass (`symbackprop.derive.Adjoint`)."""

    @property
    def subject(self) -> Partial: ...
    @property
    def value(self) -> Expr: ...
    @property
    def guard(self) -> Guard: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """An adjoint whose symbolic depth has become a number."""

    subject: Partial
    value: Expr
    guard: Guard


# ---------------------------------------------------------------- symbolic depth and widths


def instantiate(system: System, widths: Sequence[int | None]) -> System:
    """The system with a number for its last layer, and numbers for its widths.

    Args:
        widths: n_0, ..., n_L.
    """
    n = len(widths) - 1
    if system.layers.value is not None:
        return replace(system, widths=tuple(widths), spec="")
    mapping = {name: affine(n) for name in system.layers.names}

    def axis(a: Axis) -> Axis:
        moved = a.substitute(mapping)
        last = None if a.last is None else a.last.substitute(mapping)
        return replace(moved, first=a.first.substitute(mapping), last=last)

    def guard(g: Guard) -> Guard:
        return tuple(c.substitute(mapping) for c in g)

    families = {
        f.name: replace(f, axes=tuple(map(axis, f.axes)), guard=guard(f.guard)) for f in system.families.values()
    }
    equations = tuple(
        Equation(
            Ref(e.lhs.family, tuple(i.substitute(mapping) for i in e.lhs.indices)),
            substitute(e.rhs, mapping),
            guard(e.guard),
        )
        for e in system.equations
    )
    return replace(
        system, families=families, equations=equations, layers=affine(n), widths=tuple(widths), facts=(), spec=""
    )


def instantiate_adjoints(system: System, adjoints: Iterable[AdjointLike], last: int) -> tuple[Plain, ...]:
    """The backward pass with a number for the last layer."""
    mapping = {name: affine(last) for name in system.layers.names}
    out = []
    for a in adjoints:
        subject = substitute(a.subject, mapping)
        assert isinstance(subject, Partial)
        guard = tuple(c.substitute(mapping) for c in a.guard)
        out.append(Plain(subject, substitute(a.value, mapping), guard))
    return tuple(out)


def positions(system: System, family: Family) -> list[tuple[int, ...]]:
    """The numbers on the recursion axes at which the family has quantities, in order; [()] without such an axis."""
    out: list[tuple[int, ...]] = [()]
    letters = [n for n, a in zip(family.indices, family.axes, strict=True) if a.kind == "recursion"]
    for axis in (a for a in family.axes if a.kind == "recursion"):
        first, last = axis.first.value, (axis.last if axis.last is not None else system.layers).value
        if first is None or last is None:
            raise ModelError(f"{family.name} has a range that is not a number: {axis.first}..{axis.last}")
        out = [(*p, n) for p in out for n in range(first, last + 1)]
    known = set(letters)
    checks = [c for c in family.guard if c.expr.names <= known]
    return [p for p in out if all(c.holds(dict(zip(letters, p, strict=True))) for c in checks)]


def dimension(axis: Axis, env: Mapping[str, int]) -> str:
    """The name of the dimension of a node axis: n_2, or its bare letter where the layer does not matter."""
    if axis.kind == "sample":
        return SAMPLE
    if axis.at is None:
        return axis.label if axis.label != SAMPLE else SAMPLE + "_"
    return f"{axis.label}_{axis.at.evaluate(env)}"


def _layer_env(family: Family, position: tuple[int, ...]) -> dict[str, int]:
    letters = (n for n, a in zip(family.indices, family.axes, strict=True) if a.kind == "recursion")
    return dict(zip(letters, position, strict=True))


# ---------------------------------------------------------------- walking the equations

PRIMITIVES = frozenset(
    ["exp", "log", "sqrt", "abs", "sign", "erf", "sin", "cos", "tanh", "sigmoid", "softplus", "minimum", "maximum"]
)
Env: TypeAlias = "dict[str, int | str]"  # an index: a number, or a label


@dataclass(frozen=True, slots=True)
class Case:
    """One equation for one layer.

    Args:
        layers: The numbers that the letters of layers and times stand for.
        nodes: The letters on the left, one for each node axis.
        guard: What is left to decide: for which nodes it holds.
        shown: The right side as it was derived, for one sample.
    """

    rhs: Expr
    layers: Mapping[str, int]
    nodes: tuple[str, ...]
    guard: Guard
    shown: Expr


RESERVED = frozenset(
    [
        "absolute",
        "add",
        "bind",
        "cond",
        "const",
        "copyto",
        "cos",
        "divide",
        "dot",
        "dtype",
        "einsum",
        "empty",
        "equal",
        "erf",
        "exp",
        "expm1",
        "fill",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "log",
        "log1p",
        "m",
        "matmul",
        "maximum",
        "minimum",
        "multiply",
        "negative",
        "not_equal",
        "np",
        "ones",
        "plan",
        "power",
        "reciprocal",
        "run",
        "sign",
        "sin",
        "sqrt",
        "square",
        "subtract",
        "tanh",
        "vdot",
        "sigmoid",
        "softplus",
        "params",
        "grads",
        "cost",
        "main",
        "forward",
        "gradient",
        "value_and_grad",
        "initialise",
        "params",
        "x_",
        "y_",
        "rng",
        "size",
        "samples",
        "result",
        "seed",
    ]
)


class Lowerer:
    """Lowers quantities of one concrete system on demand.

    Args:
        batched: Whether inputs and targets have a leading axis of samples; gradients are then those of the mean.
        given: Derived families that the caller has the values of.
        annotate: Whether to note which expression each named value came from.
    """

    def __init__(
        self,
        system: System,
        adjoints: Sequence[AdjointLike],
        *,
        batched: bool,
        given: Iterable[str] = (),
        annotate: bool = False,
    ) -> None:
        self.system, self.batched, self.given, self.annotate = system, batched, frozenset(given), annotate
        self.build = Builder()
        self.done: dict[tuple[Key, bool], Term] = {}
        self.taken: set[str] = set(RESERVED)
        self.rename: dict[str, str] = {}
        self.meaning: dict[str, tuple[Key, bool]] = {}
        self.notes: dict[str, tuple[Expr, Expr]] = {}
        self.sizes: dict[str, int] = {}
        self.known_types: dict[Key, tuple[str, ...]] = {}
        self.references: dict[int, tuple[Expr, list[tuple[Ref, bool]], list[Sum]]] = {}
        self.layer_places = {
            f.name: tuple(n for n, a in enumerate(f.axes) if a.kind == "recursion") for f in system.families.values()
        }
        # Equations with their right sides as derived: in a batch, the backward pass starts with a factor 1/m.
        self.equations: dict[str, list[tuple[Equation, Expr]]] = {}
        for e in system.equations:
            self.equations.setdefault(e.lhs.family, []).append((e, e.rhs))
        self.adjoints: dict[str, list[tuple[Equation, Expr]]] = {}
        for a in adjoints:
            if isinstance(a.subject.bottom, Ref) and a.subject.top.family == system.cost:
                found = Equation(a.subject.bottom, seed(a.value) if batched else a.value, a.guard)
                self.adjoints.setdefault(a.subject.bottom.family, []).append((found, a.value))

    # ---------------------------------------------------------------- names and inputs

    def name(self, key: Key, adjoint: bool) -> str:
        """A name in generated code: letters of the family and its numbers, never text from outside."""
        family = key[0] if key[0].isascii() and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key[0]) else "v"
        base = ("d" if adjoint else "") + family + "_".join(map(str, key[1]))
        while base in self.taken or keyword.iskeyword(base) or re.fullmatch(r"[tcu]\d+", base):
            base += "_"
        self.taken.add(base)
        return base

    def declare(self, key: Key) -> None:
        """An array that the caller gives."""
        family = self.system.family(key[0])
        types = self.types(key)
        derived = family.kind in ("derived", "cost")
        if self.batched and (derived or family.kind in ("input", "target")):
            types = (SAMPLE, *types)
        name = self.name(key, False)
        self.build.dims[name] = types
        self.build.instructions.append(Input(name, types, key, "given" if derived else family.kind))  # type: ignore[arg-type]
        self.done[key, False] = Value(name, _pattern(types))
        self.meaning[name] = (key, False)

    def types(self, key: Key) -> tuple[str, ...]:
        """The dimensions of a quantity's node axes."""
        found = self.known_types.get(key)
        if found is None:
            family = self.system.family(key[0])
            env: Env = dict(_layer_env(family, key[1]))
            found = tuple(self.dimension(a, env) for a in family.axes if a.kind != "recursion")
            self.known_types[key] = found
        return found

    # ---------------------------------------------------------------- quantities

    def need(self, key: Key, adjoint: bool) -> Term:
        """The value of a quantity, or of the gradient by it; what it depends on first. No recursion: nets are deep."""
        stack: list[tuple[Key, bool]] = [(key, adjoint)]
        found: dict[tuple[Key, bool], list[Case]] = {}
        while stack:
            item = stack[-1]
            if item in self.done:
                stack.pop()
            elif item in found:
                self.done[item] = self.define(*item, found[item])
                stack.pop()
            else:
                found[item] = self.cases(*item)
                waiting = [d for c in found[item] for d in self.uses(c.rhs, dict(c.layers))]
                if item[1]:
                    waiting.insert(0, (item[0], False))
                missing = [d for d in dict.fromkeys(waiting) if d not in self.done]
                if any(d in found for d in missing):
                    raise ModelError(f"{_text(*item)} depends on itself")
                stack += reversed(missing)
        return self.done[key, adjoint]

    def cases(self, key: Key, adjoint: bool) -> list[Case]:
        """The equations that define a quantity, its layer put in; more than one where they share its nodes."""
        family = self.system.family(key[0])
        out: list[Case] = []
        for e, shown in (self.adjoints if adjoint else self.equations).get(key[0], []):
            layers = _layer_env(family, key[1])
            numbers = iter(key[1])
            nodes: list[str] = []
            guard: list[Constraint] = []
            fits = True
            for index, axis, letter in zip(e.lhs.indices, family.axes, family.indices, strict=True):
                if axis.kind != "recursion":
                    nodes.append(index.name or letter)
                    guard += [] if index.name else [equals(letter, index)]
                    continue
                n = next(numbers)
                if index.name is not None:
                    layers[index.name] = n
                elif index.value != n:
                    fits = False
            if not fits:
                continue
            decided = [c for c in e.guard if all(n in layers for n, _ in c.expr.terms)]
            if all(c.holds(layers) for c in decided):
                mapping = {n: affine(v) for n, v in layers.items()}
                open_ = tuple(c.substitute(mapping) for c in (*guard, *(c for c in e.guard if c not in decided)))
                out.append(Case(e.rhs, layers, tuple(nodes), open_, shown))
                if not open_:
                    break
        return out

    def uses(self, e: Expr, env: Env) -> list[tuple[Key, bool]]:
        """The quantities that an expression takes the value of, or the gradient by."""
        found = self.references.get(id(e))
        if found is None:
            refs: list[tuple[Ref, bool]] = []
            sums: list[Sum] = []

            def go(x: Expr) -> None:
                match x:
                    case Ref():
                        refs.append((x, False))
                    case Partial(_, Ref() as bottom):
                        refs.append((bottom, True))
                    case Sum(_, axis) if axis.kind == "recursion":
                        sums.append(x)
                    case _:
                        for p in x.parts:
                            go(p)

            go(e)
            found = self.references[id(e)] = (e, refs, sums)  # holding `e`, whose id is the key
        _, refs, sums = found
        out = [(self.key(r, env), adjoint) for r, adjoint in refs]
        for s in sums:
            for n in self.layers_of(s, env):
                out += self.uses(s.body, {**env, s.index: n})
        return out

    def key(self, ref: Ref, env: Mapping[str, int | str]) -> Key:
        # Only letters of layers and times stand on those axes, and in `env` they are numbers.
        return ref.family, tuple([ref.indices[n].evaluate(env) for n in self.layer_places[ref.family]])  # type: ignore[arg-type]

    def layers_of(self, s: Sum, env: Mapping[str, int | str]) -> list[int]:
        """The numbers that a summed layer or time takes."""
        numbers = {n: v for n, v in env.items() if isinstance(v, int)}
        last = s.axis.last if s.axis.last is not None else self.system.layers
        span = range(s.axis.first.evaluate(numbers), last.evaluate(numbers) + 1)
        return [n for n in span if all(c.holds({**numbers, s.index: n}) for c in s.guard)]

    def define(self, key: Key, adjoint: bool, cases: list[Case]) -> Term:
        if not cases:
            if adjoint:
                return ZERO  # the cost does not depend on it
            raise ModelError(f"{_text(key, adjoint)} has no value: no equation defines it, and it is not given")
        own = tuple([self.build.label(d) for d in self.types(key)])
        terms: list[Term] = []
        for c in cases:
            env: Env = {**c.layers, **dict(zip(c.nodes, own, strict=True))}
            summed = frozenset({SAMPLE}) if adjoint and self.batched and not self.sampled(key) else frozenset[str]()
            value = self.total(summed, c.rhs, env) if summed else self.lower(c.rhs, env)
            terms.append(self.build.mul([self.where_holds(c.guard, env), value]) if c.guard else value)
        term = terms[0] if len(terms) == 1 else self.build.add(terms)
        if not isinstance(term, Value):
            return term
        if term.name not in self.meaning and term.name not in self.rename:
            name = self.name(key, adjoint)
            self.rename[term.name] = name
            self.meaning[name] = (key, adjoint)
            if self.annotate:
                self.notes[name] = self.noted(key, adjoint, cases[0])
        back = {label: f"${i}" for i, label in enumerate(own)}
        return Value(term.name, tuple(back.get(c, c) for c in term.labels))

    def noted(self, key: Key, adjoint: bool, case: Case) -> tuple[Expr, Expr]:
        """The equation behind a value, for a reader."""
        numbers, nodes = iter(key[1]), iter(case.nodes)
        layers = self.layer_places[key[0]]
        count = len(self.system.families[key[0]].axes)
        subject: Expr = Ref(key[0], tuple(affine(next(numbers) if n in layers else next(nodes)) for n in range(count)))
        assert isinstance(subject, Ref)
        if adjoint:
            return Partial(Ref(self.system.cost, ()), subject), substitute(
                case.shown, {n: affine(v) for n, v in case.layers.items()}
            )
        return subject, substitute(case.shown, {n: affine(v) for n, v in case.layers.items()})

    def sampled(self, key: Key) -> bool:
        v = self.done[key, False]
        return isinstance(v, Value) and SAMPLE in v.labels

    # ---------------------------------------------------------------- expressions

    def lower(self, e: Expr, env: Env) -> Term:
        """The value of an expression, its free indices being numbers or labels."""
        b = self.build
        match e:
            case Num():
                return e
            case Param("pi"):
                return e
            case Param(name):
                raise ModelError(f"{name} has no value, so no code can be generated for it")
            case Size(axis):
                return Param("#" + self.dimension(axis, env))
            case Ref():
                return self.load((self.key(e, env), False), e, env)
            case Partial(top, Ref() as bottom, False) if top.family == self.system.cost:
                return self.load((self.key(bottom, env), True), bottom, env)
            case Add(terms):
                return b.add([self.lower(t, env) for t in terms])
            case Mul():
                return b.mul([self.lower(f, env) for f in factors(e)])
            case Div(top, bottom):
                return b.div(self.lower(top, env), self.lower(bottom, env))
            case Pow(base, exponent):
                return b.pow(self.lower(base, env), self.lower(exponent, env))
            case Where(Compare(op, left, right) as c, then, other):
                return b.where(
                    op,
                    self.lower(left, env),
                    self.lower(right, env),
                    self.lower(guarded_exp(then, c, holds=True), env),
                    self.lower(guarded_exp(other, c, holds=False), env),
                )
            case Delta(left, right):
                return self.where_holds((equals(left, right),), env)
            case Sum() | WrittenOut():
                return self.total(frozenset(), e, env)
            case Call():
                return self.call(e, env)
        raise ModelError(f"no code can be generated for {type(e).__name__} {e}")

    def call(self, e: Call, env: Env) -> Term:
        name = e.function
        if name in self.system.tables and e.at is not None:
            layer = e.at.evaluate({n: v for n, v in env.items() if isinstance(v, int)})
            name = self.system.tables[name][layer]
        own = name in self.system.functions
        if e.order == 0 and name in PRIMITIVES and not own:
            return self.build.call(name, [self.lower(a, env) for a in e.arguments])
        f = self.system.function(name)
        if f is None:
            raise ModelError(
                f'{name} is generic, so it has no values; give an activation such as activation="sigmoid"'
                if name == "g"
                else f'{name} is generic, so it has no values; give a cost such as loss="sum_squares"'
                if name == "C"
                else f"{name} is generic, so it has no values; give its definition"
            )
        (z,) = e.arguments
        if e.order == 1:
            return self.lower(f.slope(z, Call(name, (z,))), env)
        if e.order == 0 and f.value is not None:
            return self.lower(f.value(z), env)
        raise ModelError(f"no code can be generated for {name} with {e.order} primes")

    def dimension(self, axis: Axis, env: Env) -> str:
        dim = dimension(axis, env)  # type: ignore[arg-type]
        if dim not in self.sizes and axis.kind == "node":
            numbers = {n: affine(v) for n, v in env.items() if isinstance(v, int)}
            size = self.system.size(axis.substitute(numbers))
            if size is not None:
                self.sizes[dim] = size
        return dim

    def load(self, item: tuple[Key, bool], ref: Ref, env: Env) -> Term:
        """The occurrence of a quantity at the indices of `ref`."""
        stored = self.done[item]
        if not isinstance(stored, Value):
            return stored
        layers = self.layer_places[ref.family]
        nodes = [i for n, i in enumerate(ref.indices) if n not in layers]
        given: list[str | int] = []
        for c in stored.labels:
            given.append(self.place(nodes[int(c[1:])], env) if c.startswith("$") else c)
        return self.build.view(stored.name, given)

    def place(self, index: Affine, env: Env) -> str | int:
        """The label or the number that an index stands for."""
        if not index.terms:
            return index.const
        name = index.name
        if name is not None and name in env:
            return env[name]
        bound = [env.get(n) for n in index.names]
        if all(isinstance(v, int) for v in bound):
            return index.evaluate({n: v for n in index.names if isinstance(v := env[n], int)})
        raise ModelError(f"index {index} on a node axis: only a letter or a number can be compiled so far")

    def where_holds(self, guard: Guard, env: Env) -> Term:
        """1 where every constraint holds, 0 elsewhere."""
        moved: list[Constraint] = []
        for c in guard:
            c = c.substitute({n: affine(v) for n, v in env.items()})
            if c.expr.terms:
                moved.append(c)
            elif not c.holds({}):
                return ZERO
        return self.build.mask(tuple(moved), Fraction(1), (n for c in moved for n in c.expr.names)) if moved else ONE

    # ---------------------------------------------------------------- sums

    def total(self, summed: frozenset[str], e: Expr, env: Env, guard: Guard = ()) -> Term:
        """The sum of an expression over labels: contractions for products, a map and a reduction for anything else."""
        match e:
            case WrittenOut(s):
                return self.total(summed, s, env, guard)
            case Sum(index, axis, body) if axis.kind == "recursion":
                each = [self.total(summed, body, {**env, index: n}, guard) for n in self.layers_of(e, env)]
                return self.build.add(each)
            case Sum(index, axis, body):
                label = self.build.label(self.dimension(axis, env))
                # A guard speaks of this index by its letter, which an inner sum may use again: labels are unique.
                inner: Env = {**env, index: label}
                own = tuple(c.substitute({n: affine(v) for n, v in inner.items()}) for c in e.guard)
                return self.total(summed | {label}, body, inner, (*guard, *own))
            case Add(terms) if self.splits(terms, env):
                return self.build.add([self.total(summed, t, env, guard) for t in terms])
        return self.product(summed, list(factors(e)), env, guard)

    def splits(self, terms: tuple[Expr, ...], env: Env) -> bool:
        """Whether a sum of terms is summed term by term: some term is itself a sum, a delta, or of mixed axes."""
        for t in terms:
            fs = list(factors(t))
            if any(isinstance(f, Sum | WrittenOut | Delta) or has_delta(f) for f in fs):
                return True
            lowered = [self.lower(f, env) for f in fs]
            if len({frozenset(v.labels) for v in lowered if isinstance(v, Value)}) > 1:
                return True
        return False

    def product(self, summed: frozenset[str], fs: list[Expr], env: Env, guard: Guard) -> Term:
        """The sum of a product over labels."""
        for i, f in enumerate(fs):
            rest = fs[:i] + fs[i + 1 :]
            if isinstance(f, Add) and summed and has_delta(f):
                return self.build.add([self.product(summed, [*rest, *factors(t)], env, guard) for t in f.terms])
            if isinstance(f, Delta):
                left, right = self.place(f.left, env), self.place(f.right, env)
                if left == right:
                    return self.product(summed, rest, env, guard)
                for gone, kept in ((left, right), (right, left)):
                    if isinstance(gone, str) and gone in summed and self.whole(gone, kept):
                        moved: Env = {n: kept if v == gone else v for n, v in env.items()}
                        held = tuple(c.substitute({gone: affine(kept)}) for c in guard)
                        return self.product(summed - {gone}, rest, moved, held)
        sums = [f for f in fs if isinstance(f, Sum | WrittenOut)]
        if len(sums) == 1 and summed:
            others = [self.lower(f, env) for f in fs if f is not sums[0]]
            if not any(isinstance(o, Value) for o in others):
                return self.build.mul([*others, self.total(summed, sums[0], env, guard)])
        lowered = [self.lower(f, env) for f in fs]
        if guard:
            lowered.append(self.where_holds(guard, {}))
        numbers: list[Term] = [t for t in lowered if not isinstance(t, Value)]
        values = [t for t in lowered if isinstance(t, Value)]
        if any(t == ZERO for t in numbers):
            return ZERO
        outer = [v for v in values if not summed & set(v.labels)]
        inner = [v for v in values if summed & set(v.labels)]
        covered = {c for v in inner for c in v.labels}
        numbers += [Param("#" + self.build.label_dims[c]) for c in sorted(summed - covered)]
        groups: dict[frozenset[str], list[Value]] = {}
        for v in inner:
            groups.setdefault(frozenset(v.labels), []).append(v)
        joined = [g[0] if len(g) == 1 else self.build.mul(g) for g in groups.values()]
        operands = [v for v in joined if isinstance(v, Value)]
        result: list[Term] = []
        if len(operands) == 1:
            result = [self.build.reduce("sum", operands[0], summed)]
        elif operands:
            result = [self.build.contract(operands, summed)]
        return self.build.mul([*numbers, *outer, *result])

    def whole(self, gone: str, kept: str | int) -> bool:
        """Whether a sum over `gone` surely meets `kept`: they run over the same positions, or it is one of them."""
        dim = self.build.label_dims[gone]
        if isinstance(kept, int):
            size = self.sizes.get(dim)
            return size is None or 0 <= kept < size
        other = self.build.label_dims[kept]
        return dim == other or (self.sizes.get(dim) is not None and self.sizes.get(dim) == self.sizes.get(other))

    # ---------------------------------------------------------------- the end

    def full(self, key: Key, adjoint: bool) -> str:
        """The name of a value with all the axes of its quantity, in order."""
        stored = self.need(key, adjoint)
        own = tuple([self.build.label(d) for d in self.types(key)])
        want = own
        if self.batched and self.sampled(key):
            want = (SAMPLE, *own)
        labels = (
            tuple(own[int(c[1:])] if c.startswith("$") else c for c in stored.labels)
            if isinstance(stored, Value)
            else ()
        )
        v: Term = Value(stored.name, labels) if isinstance(stored, Value) else stored
        if set(labels) != set(want) or not isinstance(v, Value):
            if not isinstance(v, Value):
                number = v.value if isinstance(v, Num) else Fraction(1)
                ones = self.build.mask((), number, want)
                v = ones if isinstance(v, Num) else self.build.mul([v, ones])
            else:
                v = self.build.mul([self.build.mask((), Fraction(1), want), v])
        assert isinstance(v, Value)
        return self.build.view(v.name, v.labels, want).name

    def cost(self) -> str:
        """The cost, its mean over the samples if there are several."""
        key: Key = (self.system.cost, ())
        found = self.cases(key, False)
        if not found:
            raise ModelError(f"no equation defines the cost {self.system.cost}")
        case = found[0]
        for item in self.uses(case.rhs, {}):
            self.need(*item)
        if self.batched:
            rhs: Expr = Mul((Div(ONE, Size(SAMPLES)), case.rhs))
            v = self.total(frozenset({SAMPLE}), rhs, {})
        else:
            v = self.lower(case.rhs, {})
        if not isinstance(v, Value):
            v = self.build.mul([v, self.build.mask((), Fraction(1), ())])
        assert isinstance(v, Value)
        if v.name not in self.rename and v.name not in self.meaning:
            name = self.rename[v.name] = self.name(("mean_cost" if self.batched else "cost_of_sample", ()), False)
            self.notes[name] = Ref(self.system.cost, ()), case.rhs
        return v.name

    def program(self, outputs: Sequence[Output]) -> Program:
        """What was built, as far as the outputs need it, under its readable names."""
        live = {o.value for o in outputs}
        kept: list[Instruction] = []
        for i in reversed(self.build.instructions):
            if i.name in live or isinstance(i, Input):
                live |= {o.name for o in i.operands}
                kept.append(_renamed(i, self.rename))
        own = tuple(replace(o, value=self.rename.get(o.value, o.value)) for o in outputs)
        return Program(tuple(reversed(kept)), own, self.sizes, self.meaning, self.notes)


def _renamed(i: Instruction, to: Mapping[str, str]) -> Instruction:
    name = to.get(i.name, i.name)

    def own(o: Operand) -> Operand:
        return Operand(to[o.name], o.labels) if o.name in to else o

    match i:
        case Contract(_, operands, labels):
            return Contract(name, tuple([own(o) for o in operands]), labels)
        case Map(_, formula, operands, labels):
            return Map(name, formula, tuple([own(o) for o in operands]), labels)
        case Reduce(_, kind, operand, labels):
            return Reduce(name, kind, own(operand), labels)
        case View(_, operand, fixed, labels):
            return View(name, own(operand), fixed, labels)
    return replace(i, name=name) if name != i.name else i


def _pattern(types: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of a stored value: $0, $1, ... for its node axes."""
    sampled = types[:1] == (SAMPLE,)
    return (*((SAMPLE,) if sampled else ()), *(f"${i}" for i in range(len(types) - sampled)))


def _text(key: Key, adjoint: bool) -> str:
    layer = f"^({','.join(map(str, key[1]))})" if key[1] else ""
    return ("the gradient by " if adjoint else "") + key[0] + layer


def factors(e: Expr) -> Iterable[Expr]:
    """The factors of a product, nested ones included; a quotient by a number counts as a product."""
    if isinstance(e, Mul):
        for f in e.factors:
            yield from factors(f)
    elif isinstance(e, Div) and isinstance(e.bottom, Num | Size) and e.top != ONE:
        yield from factors(e.top)
        yield Div(ONE, e.bottom)
    else:
        yield e


def has_delta(e: Expr) -> bool:
    return isinstance(e, Delta) or (isinstance(e, Add | Mul) and any(map(has_delta, e.parts)))


def has_gradient(e: Expr) -> bool:
    return isinstance(e, Partial) or any(map(has_gradient, e.parts))


def seed(e: Expr) -> Expr:
    """The equation of the backward pass for the mean over samples: 1/m at those terms that start it.

    Every term is linear in the one gradient that it contains, if any; a term without one starts the pass.
    """
    if isinstance(e, Partial):
        return e
    if not has_gradient(e):
        return Mul((_MEAN, *factors(e)))
    match e:
        case Add(terms):
            return Add(tuple(map(seed, terms)))
        case Mul(fs):
            return Mul(tuple(seed(f) if has_gradient(f) else f for f in fs))
        case Div(top, bottom):
            return Div(seed(top), bottom)
        case Sum(index, axis, body):
            return Sum(index, axis, seed(body), e.guard)
        case WrittenOut(s):
            return seed(s)
        case Where(condition, then, other):
            return Where(condition, seed(then), seed(other))
    raise ModelError(f"the gradient in {e} is not linear")


_MEAN = Div(ONE, Size(SAMPLES))


# ---------------------------------------------------------------- entry points


def families_of(system: System, kinds: Iterable[str]) -> list[Family]:
    kinds = frozenset(kinds)
    return [f for f in system.families.values() if f.kind in kinds and not any(a.kind == "sample" for a in f.axes)]


def declare_all(low: Lowerer, *, targets: bool) -> None:
    kinds = ("parameter", "input", "target") if targets else ("parameter", "input")
    for kind in kinds:  # in the order in which the caller's arrays come
        for f in families_of(low.system, [kind]):
            for p in positions(low.system, f):
                low.declare((f.name, p))
    for name in low.given:
        f = low.system.family(name)
        if f.kind != "derived":
            raise UnknownFamilyError(f"given={name!r}: {name} is a {f.kind}, only derived quantities can be given")
        for p in positions(low.system, f):
            low.declare((f.name, p))


def lower(
    system: System,
    adjoints: Sequence[AdjointLike],
    wrt: Sequence[str],
    *,
    batched: bool,
    value: bool = False,
    given: Iterable[str] = (),
    annotate: bool = False,
) -> Program:
    """The gradient of the cost by the families `wrt`, as a Program.

    Args:
        system: Its last layer is a number.
        adjoints: The backward pass of the same system.
        batched: Inputs and targets carry a leading axis of samples, and the gradient is that of the mean cost.
        value: Whether the cost itself is wanted too.
        given: Derived families whose values the caller has.

    Raises:
        ModelError: A function without a definition, or an equation in a form that cannot be lowered.
        UnknownFamilyError: `wrt` or `given` names no family.
    """
    low = Lowerer(system, adjoints, batched=batched, given=given, annotate=annotate)
    declare_all(low, targets=True)
    wanted = [(f, p) for f in wrt for p in positions(system, system.family(f))]
    outputs: list[Output] = []
    if value:
        # Whatever the cost needs of the forward pass is there before the backward pass begins.
        outputs.append(Output((system.cost, ()), low.cost(), "cost"))
    # Last layers first, so that what the backward pass leaves behind is used at once.
    for f, p in sorted(wanted, key=lambda w: w[1], reverse=True):
        outputs.append(Output((f, p), low.full((f, p), True), "gradient"))
    return low.program(outputs)


def lower_forward(system: System, *, batched: bool, annotate: bool = False) -> Program:
    """Every derived quantity but the cost, as a Program."""
    low = Lowerer(system, (), batched=batched, annotate=annotate)
    declare_all(low, targets=False)
    outputs = [
        Output((f.name, p), low.full((f.name, p), False), "value")
        for f in families_of(system, ("derived",))
        for p in positions(system, f)
    ]
    return low.program(outputs)


def check_families(system: System, wanted: Iterable[str], what: str) -> None:
    for name in wanted:
        if name not in system.families:
            raise UnknownFamilyError(f"{what}: {name!r} is no family of this network{nearest(name, system.families)}")


def sampled_families(system: System) -> frozenset[str]:
    """The families whose quantities differ from sample to sample: inputs, targets and what depends on them."""
    out = {f.name for f in families_of(system, ("input", "target"))}
    uses = [(e.lhs.family, families(e.rhs)) for e in system.equations]
    while more := {lhs for lhs, rhs in uses if rhs & out} - out:
        out |= more
    return frozenset(out)
