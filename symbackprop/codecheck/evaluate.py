"""Evaluates the equations of a model, and those of its backward pass, on arrays: each node index is an axis.

The backward pass that is evaluated here may be varied: any of its equations can be replaced by another, which is
how a wrong result is traced to a slip. Nothing here is fast, and nothing of it is shared with the compiled gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from symbackprop.indices import Affine, Axis, Constraint, Guard, fresh
from symbackprop.network import System
from symbackprop.symbols import (
    Add,
    Call,
    Compare,
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
    Where,
    Winner,
    WrittenOut,
    names,
    walk,
    with_index,
)

Array: TypeAlias = Any
SAMPLE = "sample"
OPAQUE = "~"
"""Marks an activation whose derivative is kept as g'(z), so that it can be dropped, or taken somewhere else."""
DEEP = 12
MOST = 50_000_000
"""No intermediate array has more entries."""


class CannotEvaluate(Exception):
    """An expression has no value here: sizes do not fit, a layer does not exist, a head is not covered."""


@dataclass(frozen=True, slots=True)
class Along:
    """An index that runs over an axis of an array."""

    size: int


Item: TypeAlias = "tuple[str, tuple[int, ...]]"
"""A key and a position on its recursion axes: all nodes of one quantity."""
Env: TypeAlias = dict[str, "int | Along"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """An array with a name for each axis."""

    array: Array
    labels: tuple[str, ...] = ()

    def sizes(self) -> dict[str, int]:
        return dict(zip(self.labels, np.shape(self.array), strict=True))


@dataclass(frozen=True, slots=True)
class Definition:
    """One equation: `key[indices] = value` where the guard holds; of the backward pass the key is marked by a d."""

    key: str
    indices: tuple[Affine, ...]
    value: Expr
    guard: Guard = ()


def gradient_key(family: str) -> str:
    return f"∂{family}"


def family_of(key: str) -> str:
    return key.removeprefix("∂")


@dataclass(frozen=True)
class Setting:
    """Numbers for everything that a model speaks of.

    Args:
        system: With a number for its last layer.
        numbers: Sizes, last times and strides by name.
        data: Arrays by family and position on its recursion axes; node axes only, the sample axis in front of
            what has one.
        samples: The number m of samples in front of the data of a layered network; None where there is no such axis.
    """

    system: System
    numbers: Mapping[str, int]
    data: Mapping[tuple[str, tuple[int, ...]], Array]
    samples: int | None = None

    def width(self, axis: Axis, env: Env) -> int:
        if axis.kind == "sample":
            return self.samples or 1
        if axis.at is not None:
            at, widths = whole(axis.at, env), self.system.widths
            if not 0 <= at < len(widths) or widths[at] is None:
                raise CannotEvaluate(f"there is no layer {at}")
            return int(widths[at] or 0)
        return int(axis.label) if axis.label.isdigit() else self.numbers[axis.label]


def whole(i: Affine, env: Mapping[str, int | Along]) -> int:
    """An index that is a number."""
    if any(isinstance(env.get(n), Along) or n not in env for n in i.names):
        raise CannotEvaluate(f"{i} is no number here")
    return i.evaluate(env)  # type: ignore[arg-type]


def uses(e: Expr) -> frozenset[str]:
    """The keys of all quantities in an expression."""
    out = set()
    for _, p in walk(e):
        if isinstance(p, Ref):
            out.add(p.family)
        elif isinstance(p, Partial) and isinstance(p.bottom, Ref):
            out.add(gradient_key(p.bottom.family))
    return frozenset(out)


Graph: TypeAlias = Sequence[tuple[str, frozenset[str]]]


def graph_of(definitions: Iterable[Definition]) -> Graph:
    """Each key with those that it is computed from."""
    return [(d.key, uses(d.value)) for d in definitions]


def dependents(graph: Graph, changed: Iterable[str]) -> frozenset[str]:
    """Every key whose value depends on one of the changed ones, those included."""
    out = set(changed)
    while True:
        more = {k for k, used in graph if k not in out and not used.isdisjoint(out)}
        if not more:
            return frozenset(out)
        out |= more


@dataclass(frozen=True, slots=True)
class Change:
    """One definition with another right side, in all layers or in one.

    Args:
        number: Which definition.
        value: The other right side; None: its own one.
        at: The position on the recursion axes where it is changed; None: everywhere.
        scale: A factor.
    """

    number: int
    value: Expr | None = None
    at: tuple[int, ...] | None = None
    scale: float = 1.0


class Pass:
    """The values of all quantities, computed when they are asked for.

    `work` counts the equations that were evaluated, over all passes with one base.

    Args:
        base: A pass without the last changes; what they do not touch is taken from it.
        changes: All changes, the last one of a definition and position counts, scales multiply.
    """

    def __init__(
        self,
        setting: Setting,
        definitions: Sequence[Definition],
        changes: Sequence[Change] = (),
        base: Pass | None = None,
        data: Mapping[tuple[str, tuple[int, ...]], Array] | None = None,
    ) -> None:
        self.setting, self.definitions, self.changes = setting, definitions, tuple(changes)
        self.base, self.system = base, setting.system
        self.data = {**setting.data, **(data or {})}
        self.numbers: dict[str, list[int]] = {} if base is None else base.numbers
        if base is None:
            for number, d in enumerate(definitions):
                self.numbers.setdefault(d.key, []).append(number)
        self.graph: Graph = base.graph if base is not None else graph_of(definitions)
        new = self.changes[len(base.changes) :] if base is not None else self.changes
        self.touched = dependents(self.graph, (definitions[c.number].key for c in new))
        self.memo: dict[tuple[str, tuple[int, ...]], Labelled] = {}
        self.scalars: dict[str, Labelled] = {}
        self.places_of: dict[tuple[int, tuple[int, ...]], Env | None] = {} if base is None else base.places_of
        self.work: list[int] = [0] if base is None else base.work
        self.used: dict[Item, set[Item]] = {}
        self.stack: list[Item] = []
        self.warmed = False
        self.kept: set[tuple[int, tuple[int, ...]]] = set()
        self.busy: set[tuple[str, tuple[int, ...]]] = set()
        self.standing: Env = {**setting.numbers}
        for n in self.system.layers.names:
            self.standing.setdefault(n, len(self.system.widths) - 1)

    # ------------------------------------------------------------ quantities

    def item(self, key: str, at: tuple[int, ...]) -> Labelled:
        """All nodes of one quantity: its axes are called 0, 1, ... by the place of the node index."""
        if self.stack:
            self.used[self.stack[-1]].add((key, at))
        if self.base is not None and key not in self.touched and (key, at) not in self.data:
            return self.base.item(key, at)
        found = self.memo.get((key, at))
        if found is None:
            given = self.data.get((key, at))
            if (key, at) in self.busy:
                raise CannotEvaluate(f"{key} at {at} is computed from itself")
            self.busy.add((key, at))
            self.used[key, at] = set()
            self.stack.append((key, at))
            try:
                found = self._compute(key, at) if given is None else self._data(key, given)
            finally:
                self.busy.discard((key, at))
                self.stack.pop()
            self.memo[key, at] = found
        return found

    def _data(self, key: str, a: Array) -> Labelled:
        nodes = self.nodes(key)
        lead = (SAMPLE,) if np.ndim(a) > len(nodes) else ()
        return Labelled(a, (*lead, *map(str, nodes)))

    def nodes(self, key: str) -> list[int]:
        """The places of the node indices of a quantity."""
        axes = self.system.families[family_of(key).split(OPAQUE + "new")[0]].axes
        return [n for n, axis in enumerate(axes) if axis.kind != "recursion"]

    def _compute(self, key: str, at: tuple[int, ...]) -> Labelled:
        parts = []
        for number in self.numbers.get(key, ()):
            d = self.definitions[number]
            if (number, at) not in self.places_of:
                self.places_of[number, at] = self.matches(d, at)
            env = self.places_of[number, at]
            if env is not None:
                parts.append(self._one(number, d, at, env))
        if not parts:
            raise CannotEvaluate(f"nothing gives {key} at {at}")
        return parts[0] if len(parts) == 1 else self.total(parts)

    def matches(self, d: Definition, at: tuple[int, ...]) -> Env | None:
        """The indices of a definition for one position on the recursion axes, or None where it is not meant."""
        family = self.system.families[family_of(d.key)]
        env, numbers = dict(self.standing), iter(at)
        for letter, axis, i in zip(family.indices, family.axes, d.indices, strict=True):
            if axis.kind != "recursion":
                continue
            n = next(numbers)
            if i.name != letter:
                env[letter] = n  # of a case, whose guard speaks of the family's own letter
            if i.name is not None and i.name not in self.standing:
                env[i.name] = n
            elif whole(i, env) != n:
                return None
        for place, i in enumerate(d.indices):
            if family.axes[place].kind == "recursion":
                continue
            if i.name is None:
                raise CannotEvaluate("an equation for one node alone")
            env[i.name] = Along(self.setting.width(family.axis(place, d.indices), env))
        held = [c for c in d.guard if not self.open(c, env)]
        return env if all(c.holds(env) for c in held) else None  # type: ignore[arg-type]

    @staticmethod
    def open(c: Constraint, env: Env) -> bool:
        return any(isinstance(env.get(n), Along) for n in c.expr.names)

    def _one(self, number: int, d: Definition, at: tuple[int, ...], env: Env) -> Labelled:
        self.work[0] += 1
        value, scale = d.value, 1.0
        for c in self.changes:
            if c.number == number and c.at in (None, at):
                value, scale = (value if c.value is None else c.value), scale * c.scale
        try:
            out = self.masked(self.evaluate(value, env), d.guard, env)
        except CannotEvaluate:
            if value is d.value:
                raise
            # There is no layer below the first: the slip was made where it could be.
            self.kept.add((number, at))
            out = self.masked(self.evaluate(d.value, env), d.guard, env)
        nodes = self.nodes(d.key)
        letters = [str(d.indices[n]) for n in nodes]
        out = self.spread(out, letters, env)
        array = out.array * scale if scale != 1.0 else out.array
        back = dict(zip(letters, map(str, nodes), strict=True))
        return Labelled(array, tuple(back.get(n, n) for n in out.labels))

    def spread(self, x: Labelled, letters: Sequence[str], env: Env) -> Labelled:
        """With an axis for every letter, in order, the samples in front."""
        lead = (SAMPLE,) if SAMPLE in x.labels else ()
        wanted = (*lead, *letters)
        odd = set(x.labels) - set(wanted)
        if odd:
            raise CannotEvaluate(f"{', '.join(sorted(odd))} is left over")
        sizes = x.sizes()
        for n in letters:
            size = env[n].size  # type: ignore[union-attr]
            if sizes.setdefault(n, size) != size:
                raise CannotEvaluate(f"{n} runs over {sizes[n]} and over {size}")
        array = np.broadcast_to(self.aligned(x, wanted), [sizes[n] for n in wanted])
        return Labelled(array, wanted)

    def upstream(self, key: str, at: tuple[int, ...]) -> set[Item]:
        """The gradients that a gradient was computed from, itself included."""
        out: set[Item] = set()
        todo = [(key, at)]
        while todo:
            item = todo.pop()
            if item not in out and item[0].startswith("∂"):
                out.add(item)
                todo += self.used.get(item, ())
        return out

    def warm(self) -> None:
        """Compute a deep network layer by layer, so that no depth is too deep."""
        last = len(self.system.widths) - 1
        forward = {d.key for d in self.definitions if not d.key.startswith("∂")}
        layers = [(k, n) for n in range(last + 1) for k in sorted(forward)]
        layers += [(k, n) for n in range(last, -1, -1) for k in sorted(self.numbers.keys() - forward)]
        self.warmed = True
        for key, n in layers:
            axes = self.system.families[family_of(key)].axes
            if [a.kind for a in axes].count("recursion") == 1:
                with suppress(CannotEvaluate):
                    self.item(key, (n,))

    def leaf(self, key: str, at: tuple[int, ...]) -> Array:
        """The gradient by one array for each sample, the samples in front where there are any."""
        if len(self.system.widths) > DEEP and not self.warmed:
            self.warm()
        x = self.item(key, at)
        if self.setting.samples is not None and SAMPLE not in x.labels:
            return np.broadcast_to(x.array, (self.setting.samples, *np.shape(x.array)))
        return x.array

    # ------------------------------------------------------------ expressions

    def evaluate(self, e: Expr, env: Env) -> Labelled:
        match e:
            case Num(v):
                return Labelled(float(v))
            case Param(name):
                if name == "pi":
                    return Labelled(math.pi)
                raise CannotEvaluate(f"{name} has no value")
            case Size(axis):
                return Labelled(float(self.setting.width(axis, env)))
            case Ref():
                return self.scalars[e.family] if e.family in self.scalars else self.ref(e.family, e.indices, env)
            case Partial(_, bottom):
                if not isinstance(bottom, Ref):
                    raise CannotEvaluate("a gradient by a whole array")
                return self.ref(gradient_key(bottom.family), bottom.indices, env)
            case Add(terms):
                return self.total([self.evaluate(t, env) for t in terms])
            case Mul() | Sum():
                return self.product(e, env)
            case Div(top, bottom):
                t, b = self.evaluate(top, env), self.evaluate(bottom, env)
                return self.joined(np.divide, t, b)
            case Pow(base, Num(v)) if v.denominator == 1:
                b = self.evaluate(base, env)
                return Labelled(np.asarray(b.array) ** (int(v) if v >= 0 else float(v)), b.labels)
            case Pow(base, exponent):
                return self.joined(np.power, self.evaluate(base, env), self.evaluate(exponent, env))
            case Call(_, arguments, _, _) if len(arguments) == 1:
                return self.call(e, self.evaluate(arguments[0], env), env)
            case Max(_, _, _, _) | Prod(_, _, _, _):
                return self.extreme(e, env)
            case Winner(of, at):
                return self.winner(of, at, env)
            case Guarded(body, guard):
                return self.masked(self.evaluate(body, env), guard, env)
            case Position(at):
                return self.position(at, env)
            case WrittenOut(s):
                return self.evaluate(s, env)
            case Summand(_, _, body):
                return self.evaluate(body, env)
            case Depends(quantity):
                return self.evaluate(quantity, env)
            case Delta(left, right):
                return self.joined(lambda a, b: (a == b) * 1.0, self.position(left, env), self.position(right, env))
            case Where(Compare(op, left, right), then, other):
                test = self.joined(compared(op), self.evaluate(left, env), self.evaluate(right, env))
                labels, (c, a, b) = self.together([test, self.evaluate(then, env), self.evaluate(other, env)])
                return Labelled(np.where(c, a, b), labels)
        raise CannotEvaluate(f"no way to evaluate {type(e).__name__}")

    def position(self, i: Affine, env: Env) -> Labelled:
        labels = tuple(sorted(n for n in i.names if isinstance(env.get(n), Along)))
        grids = np.ix_(*(np.arange(env[n].size) for n in labels)) if labels else ()  # type: ignore[union-attr]
        values: dict[str, Any] = {**env, **dict(zip(labels, grids, strict=True))}
        if not labels:
            return Labelled(float(whole(i, env)))
        total = np.full([1] * len(labels), float(i.const))
        for n, c in i.terms:
            total = total + c * math.prod(values[f] for f in n.split("*"))
        return Labelled(total, labels)

    def ref(self, key: str, indices: Sequence[Affine], env: Env) -> Labelled:
        axes = self.system.families[family_of(key).split(OPAQUE + "new")[0]].axes
        at = tuple(whole(i, env) for a, i in zip(axes, indices, strict=True) if a.kind == "recursion")
        x = self.item(key, at)
        nodes = {str(n): i for n, i in enumerate(indices) if axes[n].kind != "recursion"}
        letters = [nodes[n].name if n in nodes else n for n in x.labels]
        plain = all(n is not None and (n == SAMPLE or isinstance(env.get(n), Along)) for n in letters)
        if not plain or len(set(letters)) < len(letters):
            return self.gathered(x, nodes, env)
        for n, size in zip(letters, np.shape(x.array), strict=True):
            if n != SAMPLE and env[str(n)] != Along(size):
                raise CannotEvaluate(f"{n} runs over {env[str(n)]}, the axis has {size}")
        return Labelled(x.array, tuple(map(str, letters)))

    def gathered(self, x: Labelled, nodes: Mapping[str, Affine], env: Env) -> Labelled:
        """Entries at positions that are computed; those outside an axis count as 0."""
        places = [self.position(nodes[n], env) for n in x.labels if n in nodes]
        labels, grids = self.together(places)
        shape = np.shape(x.array)[len(x.labels) - len(places) :]
        inside = np.ones((), bool)
        index = []
        for g, size in zip(grids, shape, strict=True):
            whole_ = np.asarray(g).astype(int)
            inside = inside & (whole_ >= 0) & (whole_ < size)
            index.append(np.clip(whole_, 0, size - 1))
        where: tuple[Any, ...] = (..., *np.broadcast_arrays(*index))
        picked = np.asarray(x.array)[where]
        lead = (SAMPLE,) if SAMPLE in x.labels else ()
        return Labelled(picked * inside, (*lead, *labels))

    def product(self, e: Expr, env: Env) -> Labelled:
        """A product under any number of sums, contracted at once."""
        factors: list[Labelled] = []
        drop: list[str] = []
        todo = [e]
        while todo:
            p = todo.pop()
            if isinstance(p, Mul):
                todo.extend(reversed(p.factors))
            elif isinstance(p, Sum) and p.axis.kind != "recursion" and not (todo and p is not e):
                if p.index in env:
                    taken = names(p.body) | frozenset(env) | {p.index}
                    p = with_index(p, fresh(p.index, taken))
                env = {**env, p.index: Along(self.setting.width(p.axis, env))}
                drop.append(p.index)
                factors += [self.condition(c, env) for c in p.guard]
                todo.append(p.body)
            elif isinstance(p, Sum) and p.axis.kind == "recursion":
                factors.append(self.over(p, env))
            elif isinstance(p, Sum):
                factors.append(self.product(p, env))
            else:
                factors.append(self.evaluate(p, env))
        return self.contracted(factors, drop, env)

    def places(self, e: Sum | Max | Prod, env: Env) -> list[Env]:
        last = e.axis.last if e.axis.last is not None else self.system.layers
        span = range(whole(e.axis.first, env), whole(last, env) + 1)
        envs: list[Env] = [{**env, e.index: i} for i in span]
        return [v for v in envs if all(self.open(c, v) or c.holds(v) for c in e.guard)]  # type: ignore[arg-type]

    def over(self, e: Sum, env: Env) -> Labelled:
        """A sum over layers or times, term by term."""
        envs = self.places(e, env)
        terms = [self.masked(self.evaluate(e.body, v), e.guard, v) for v in envs]
        return self.total(terms) if terms else Labelled(0.0)

    def condition(self, c: Constraint, env: Env) -> Labelled:
        """1 where a constraint holds, 0 elsewhere."""
        p = self.position(c.expr, env)
        return Labelled((np.asarray(p.array) == 0 if c.equal else np.asarray(p.array) >= 0) * 1.0, p.labels)

    def masked(self, x: Labelled, guard: Guard, env: Env) -> Labelled:
        out = x
        for c in guard:
            if c.expr.names <= env.keys() and (self.open(c, env) or not c.holds(env)):  # type: ignore[arg-type]
                test = self.condition(c, env)
                labels, (value, held) = self.together([out, test])
                out = Labelled(np.where(held != 0, value, 0.0), labels)
        return out

    @staticmethod
    def extent(env: Env, n: str) -> int:
        along = env[n]
        return along.size if isinstance(along, Along) else 1

    def contracted(self, factors: Sequence[Labelled], drop: Sequence[str], env: Env) -> Labelled:
        numbers: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for f in factors:
            for n, size in f.sizes().items():
                numbers.setdefault(n, len(numbers))
                if sizes.setdefault(n, size) != size:
                    raise CannotEvaluate(f"{n} runs over {sizes[n]} and over {size}")
        keep = tuple(n for n in numbers if n not in drop)
        alone = [n for n in drop if n not in numbers]
        scale = math.prod([self.extent(env, n) for n in alone])
        if math.prod(sizes.values()) > MOST:
            raise CannotEvaluate("too large")
        operands: list[Any] = []
        for f in factors:
            operands += [np.asarray(f.array), [numbers[n] for n in f.labels]]
        array = np.einsum(*operands, [numbers[n] for n in keep], optimize=len(factors) > 2)
        return Labelled(array * scale if scale != 1 else array, keep)

    def body_along(self, e: Max | Prod, env: Env, fill: float) -> tuple[Array, tuple[str, ...], list[int] | None]:
        """The values of a body, its own index last; positions where that runs over times."""
        if e.axis.kind == "recursion":
            envs = self.places(e, env)
            labels, arrays = self.together([self.evaluate(e.body, v) for v in envs])
            wide = np.broadcast_arrays(*arrays)
            return np.stack(wide, -1), labels, [int(v[e.index]) for v in envs]  # type: ignore[arg-type]
        inner: Env = {**env, e.index: Along(self.setting.width(e.axis, env))}
        x = self.evaluate(e.body, inner)
        for c in e.guard:
            test = self.condition(c, inner)
            labels, (value, held) = self.together([x, test])
            x = Labelled(np.where(held != 0, value, fill), labels)
        rest = tuple(n for n in x.labels if n != e.index)
        array = self.aligned(x, (*rest, e.index))
        return np.broadcast_to(array, (*array.shape[:-1], inner[e.index].size)), rest, None  # type: ignore[union-attr]

    def extreme(self, e: Max | Prod, env: Env) -> Labelled:
        array, labels, _ = self.body_along(e, env, 1.0 if isinstance(e, Prod) else -np.inf)
        if isinstance(e, Prod):
            return Labelled(np.prod(array, -1), labels)
        best = np.argmax(np.real(array), -1)[..., None]
        return Labelled(np.take_along_axis(array, best, -1)[..., 0], labels)

    def winner(self, of: Max, at: Affine, env: Env) -> Labelled:
        array, labels, numbers = self.body_along(of, env, -np.inf)
        best = np.argmax(np.real(array), -1)
        chosen = Labelled(np.asarray(numbers)[best] if numbers is not None else best, labels)
        return self.joined(lambda a, b: (a == b) * 1.0, chosen, self.position(at, env))

    def call(self, e: Call, z: Labelled, env: Env) -> Labelled:
        name = e.function
        table = self.system.tables.get(name)
        if table is not None and e.at is not None:
            name = table.get(whole(e.at, env), name)
        name = name.removesuffix(OPAQUE)
        return Labelled(self.function(name, e.order, np.asarray(z.array)), z.labels)

    def function(self, name: str, order: int, z: Array) -> Array:
        """A function of one number, or its derivative."""
        plain = elementary(name) if name not in self.system.functions else None
        if order == 0 and plain is not None:
            return plain(z)
        own = self.system.function(name)
        if own is None or order > 1:
            raise CannotEvaluate(f"{name} is not known")
        before = self.scalars
        labels = tuple(f"#{n}" for n in range(np.ndim(z)))
        try:
            self.scalars = {"#z": Labelled(z, labels)}
            if order == 1:
                self.scalars["#a"] = Labelled(self.function(name, 0, z), labels)
                value = own.slope(Ref("#z", ()), Ref("#a", ()))
            else:
                assert own.value is not None
                value = own.value(Ref("#z", ()))
            out = self.evaluate(value, dict(self.standing))
            return np.broadcast_to(self.aligned(out, labels), np.shape(z))
        finally:
            self.scalars = before

    # ------------------------------------------------------------ arrays with names

    def aligned(self, x: Labelled, labels: Sequence[str]) -> Array:
        """The array with its axes in this order, those that it lacks of size 1."""
        order = [x.labels.index(n) for n in labels if n in x.labels]
        array = np.transpose(np.asarray(x.array), order)
        return array.reshape([array.shape[order.index(x.labels.index(n))] if n in x.labels else 1 for n in labels])

    def together(self, xs: Sequence[Labelled]) -> tuple[tuple[str, ...], list[Array]]:
        sizes: dict[str, int] = {}
        for x in xs:
            for n, size in x.sizes().items():
                if sizes.setdefault(n, size) != size:
                    raise CannotEvaluate(f"{n} runs over {sizes[n]} and over {size}")
        if math.prod(sizes.values()) > MOST:
            raise CannotEvaluate("too large")
        labels = tuple(sorted(sizes, key=lambda n: n != SAMPLE))
        return labels, [self.aligned(x, labels) for x in xs]

    def joined(self, f: Any, a: Labelled, b: Labelled) -> Labelled:
        labels, (left, right) = self.together([a, b])
        return Labelled(f(left, right), labels)

    def total(self, xs: Sequence[Labelled]) -> Labelled:
        labels, arrays = self.together(xs)
        out = arrays[0]
        for a in arrays[1:]:
            out = out + a
        return Labelled(out, labels)


def compared(op: str) -> Any:
    f = {
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }[op]
    return lambda a, b: f(np.real(a), np.real(b))


def _erf(z: Array) -> Array:
    """The error function; for a complex step, to first order in the imaginary part."""
    x = np.real(z)
    value = np.vectorize(math.erf, otypes=[float])(x)
    if not np.iscomplexobj(z):
        return value
    return value + 2j / math.sqrt(math.pi) * np.exp(-(x**2)) * np.imag(z)


@lru_cache
def elementary(name: str) -> Any:
    return {
        "exp": np.exp,
        "log": lambda z: (
            np.log(z) if np.iscomplexobj(z) or np.all(z > 0) else np.where(z > 0, np.log(np.abs(z)), np.nan)
        ),
        "sqrt": lambda z: np.sqrt(z) if np.iscomplexobj(z) or np.all(z >= 0) else np.sqrt(np.where(z >= 0, z, np.nan)),
        "abs": lambda z: z * np.sign(np.real(z)),
        "sign": lambda z: np.sign(np.real(z)),
        "sin": np.sin,
        "cos": np.cos,
        "erf": _erf,
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "identity": lambda z: z,
    }.get(name)


def changed(setting: Setting, data: Mapping[tuple[str, tuple[int, ...]], Array]) -> Setting:
    return replace(setting, data={**setting.data, **data})
