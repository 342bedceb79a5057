"""Networks with numbers in them, chosen so that a slip shows: widths equal and distinct, deep enough, nothing small."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from symbackprop.codecheck.evaluate import Setting
from symbackprop.compile import instantiate, is_layered
from symbackprop.compile.extents import ends, length, span
from symbackprop.compile.lower import positions
from symbackprop.compile.starts import bases
from symbackprop.errors import ModelError
from symbackprop.functions import Function, call
from symbackprop.indices import Axis
from symbackprop.network import System, with_functions
from symbackprop.symbols import Call, Family, Num, Ref, Sum, expr, walk

if TYPE_CHECKING:
    from symbackprop.codecheck.run import Plan

Array: TypeAlias = Any
Params: TypeAlias = dict[str, Any]

DISTINCT, EQUAL = (5, 3, 4, 6), (4, 4, 4, 4)
"""Widths of a network that leaves them open: three layers, so that one is neither first nor last."""
SIZES = (3, 4, 2, 5, 7, 6, 8, 9)
"""Sizes of a model that leaves them open, in the order in which it names them."""
BATCHES = (3, 2, 1, 5)
STEPS = 3
"""The last time of a recurrence that leaves it open."""


@dataclass(frozen=True)
class Leaf:
    """One array of the result: grads["w"][0] is Leaf("w", 0, (1,))."""

    family: str
    place: int | None = None
    at: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return f"grads[{self.family!r}]" + ("" if self.place is None else f"[{self.place}]")


@dataclass(frozen=True, eq=False)
class Case:
    """One set of arrays.

    Args:
        words: The sizes, as a report calls them.
        kind: `own`, `equal` or `distinct`.
        system: With numbers for its layers and widths.
        arrays: Of a layered network params, x and y; of any other model arrays by name.
        upstream: Gradients from outside, by output.
        numbers: Sizes, last times and strides.
        batch: The number of samples in front; None where the model has no such axis.
    """

    words: str
    kind: str
    system: System
    arrays: Mapping[str, Any]
    upstream: Mapping[str, Array]
    numbers: Mapping[str, int]
    batch: int | None = None
    functions: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def setting(self) -> Setting:
        return Setting(self.system, self.numbers, dict(self._data()), self.batch)

    def _data(self) -> Iterator[tuple[tuple[str, tuple[int, ...]], Array]]:
        for family in self.system.families.values():
            if family.name in self.arrays.get("params", {}):
                found = self.arrays["params"][family.name]
                places = positions(self.system, family)
                for at, a in zip(places, found if places != [()] else [found], strict=True):
                    yield (family.name, at), a
            elif family.name in self.arrays:
                yield from _parts(family, np.asarray(self.arrays[family.name]), self.numbers)
        for output, bar in self.system.upstream.items():
            yield from _parts(self.system.families[bar], self.upstream[output], self.numbers)
        if self.batch is None:
            for base in bases(self.system, self.numbers):
                if base.name in self.arrays:
                    yield from _first(self.system.families[base.family], base, self.arrays[base.name])


def _parts(family: Family, a: Array, numbers: Mapping[str, int]) -> Iterator[tuple[tuple[str, tuple[int, ...]], Array]]:
    """An array cut along its recursion axes."""
    spans = [span(family, n, numbers) if x.kind == "recursion" else None for n, x in enumerate(family.axes)]
    if not any(s is not None for s in spans):
        yield (family.name, ()), a
        return
    for place in np.ndindex(*(len(s) for s in spans if s is not None)):
        numbers_ = iter(place)
        index = tuple(slice(None) if s is None else next(numbers_) for s in spans)
        starts = [s for s in spans if s is not None]
        yield (family.name, tuple(s[n] for s, n in zip(starts, place, strict=True))), a[index]


def _first(family: Family, base: Any, a: Array) -> Iterator[tuple[tuple[str, tuple[int, ...]], Array]]:
    recursion = [n for n, x in enumerate(family.axes) if x.kind == "recursion"]
    if recursion != [base.axis]:
        return
    for k, number in enumerate(base.numbers):
        whole = np.ndim(a) == len(family.axes)
        yield (family.name, (number,)), np.take(a, k, base.axis) if whole else a


# ---------------------------------------------------------------- functions for generic ones


def stand_in(name: str, layer: int) -> Function:
    """A definite smooth function, another one in each layer: tanh(c z) + d z."""
    c, d = Num(Fraction(8 + layer, 9)), Num(Fraction(2 * layer + 1, 12))

    def slope(z: Any, a: Any) -> Any:
        return c * (1 - call("tanh", c * z) ** expr(2)) + d

    return Function(f"{name}_{layer}", name, name, slope=slope, value=lambda z: call("tanh", c * z) + d * z)


def as_python(layer: int) -> tuple[Any, Any]:
    """The same as functions of arrays, with the derivative."""
    c, d = (8 + layer) / 9, (2 * layer + 1) / 12
    return lambda z: np.tanh(c * z) + d * z, lambda z: c * (1 - np.tanh(c * z) ** 2) + d


def generic_functions(system: System) -> dict[str, bool]:
    """The generic functions of a model, and whether each layer has its own."""
    return {
        p.function: p.at is not None
        for e in system.equations
        for _, p in walk(e.rhs)
        if isinstance(p, Call) and system.function(p.function) is None and p.function not in system.tables
    }


def made_definite(system: System, depth: int) -> tuple[System, dict[str, Any]]:
    """The model with a definite function for each generic one, and these as Python functions by name."""
    generic = generic_functions(system)
    if not generic:
        return system, {}
    chosen: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for n, (name, layered) in enumerate(generic.items()):
        if layered:
            chosen[name] = [stand_in(name, layer) for layer in range(1, depth + 1)]
            pairs = [as_python(layer) for layer in range(1, depth + 1)]
            given[name], given[f"{name}_prime"] = [p[0] for p in pairs], [p[1] for p in pairs]
        else:
            chosen[name] = stand_in(name, n + 2)
            given[name], given[f"{name}_prime"] = as_python(n + 2)
    return with_functions(system, chosen), given


# ---------------------------------------------------------------- sizes


def kinds_of(system: System) -> list[str]:
    """Which sizes the cases have: a model's own, where it has all of them as numbers."""
    if is_layered(system):
        return ["own"] if system.numeric or all(w is not None for w in system.widths) else ["equal", "distinct"]
    return ["distinct", "equal"] if open_names(system) - set(system.integers) else ["own"]


def open_names(system: System) -> set[str]:
    return set(system.constants) - set(system.sizes)


def widths_for(system: System, kind: str) -> tuple[int, ...]:
    last = system.layers.value
    pattern = EQUAL if kind == "equal" else DISTINCT
    if last is None:
        return pattern if system.widths[0] is None else (system.widths[0],) * 4
    return tuple(
        w if w is not None else pattern[n % 4] + n // 4 * (kind != "equal") for n, w in enumerate(system.widths)
    )


def numbers_for(system: System, kind: str, fixed: Mapping[str, int]) -> dict[str, int]:
    """Sizes for the names that a model leaves open; what follows from others by a rule is computed.

    Of several orders of the sizes the first is taken with which no size that follows is below 1.
    """
    orders = [SIZES[n:] + SIZES[:n] for n in range(len(SIZES))]
    orders += [o[::-1] for o in orders]
    for order in orders:
        found = _numbers(system, (4,) * len(order) if kind == "equal" else order, fixed)
        if all(found.get(n, 0) >= 1 for n in system.rules):
            return found
    return _numbers(system, (6,) * len(SIZES), fixed)


def _numbers(system: System, order: Sequence[int], fixed: Mapping[str, int]) -> dict[str, int]:
    out = {**system.sizes, **fixed}
    last = {n for f in system.families.values() for a in f.axes if a.kind == "recursion" for n in _ends_of(f, a)}
    # The same in each session: families first to last, axes left to right.
    named = [a.label for f in system.families.values() for a in f.axes if a.kind == "node" and not a.label.isdigit()]
    named += sorted(system.constants)
    sizes = iter(order)
    for n in dict.fromkeys(named):
        if n not in system.constants or n in out or n in system.rules:
            continue
        out[n] = 1 if n in system.integers else STEPS if n in last else next(sizes, 4)
    for _ in system.rules:
        for n, rule in system.rules.items():
            if n not in out and rule.names <= out.keys() and rule.bottom.evaluate(out) > 0:
                out[n] = rule.evaluate(out)
    return out


def _ends_of(family: Family, axis: Axis) -> frozenset[str]:
    found = [e for n, a in enumerate(family.axes) if a is axis for bounds in ends(family, n) for e in bounds]
    return frozenset().union(*(e.names for e in found))


# ---------------------------------------------------------------- numbers


class Draw:
    """Arrays for one case.

    Args:
        positive: Whether everything is positive, for models whose cost has no value elsewhere.
    """

    def __init__(self, system: System, numbers: Mapping[str, int], seed: Sequence[int], positive: bool, hot: bool):
        self.system, self.numbers, self.positive, self.hot = system, numbers, positive, hot
        self.rng = np.random.default_rng(list(seed))
        cost = [e.rhs for e in system.equations if e.lhs.family == system.cost]
        self.bounded = any(isinstance(p, Call) and p.function == "log" for e in cost for _, p in walk(e))

    def family(self, family: Family, shape: tuple[int, ...]) -> Array:
        rng = self.rng
        if family.over is not None:
            top = int(family.over.label) if family.over.label.isdigit() else self.numbers[family.over.label]
            return rng.integers(0, top, shape)
        if not shape:
            return float(rng.uniform(0.3, 0.9))
        fact = self.summing(family)
        if fact is not None:
            return self.on_simplex(shape, fact - len(family.axes))
        if family.kind == "target" and self.bounded:
            return rng.uniform(0.1, 0.9, shape)
        if family.kind == "parameter" and len(shape) == 1:
            a = rng.uniform(0.3, 0.9, shape) * rng.choice([-1.0, 1.0], shape)
        elif family.kind == "parameter":
            a = rng.normal(0, 1.3 / math.sqrt(max(2, shape[-1])), shape)
        else:
            a = rng.normal(0, 1, shape)
        return np.abs(a) + 0.1 if self.positive else a

    def summing(self, family: Family) -> int | None:
        """The axis along which a declared fact makes the entries sum to 1."""
        for fact in self.system.facts:
            s = fact.lhs
            if isinstance(s, Sum) and isinstance(s.body, Ref) and s.body.family == family.name and fact.rhs == expr(1):
                return next((n for n, i in enumerate(s.body.indices) if i.name == s.index), None)
        return None

    def on_simplex(self, shape: tuple[int, ...], axis: int) -> Array:
        n = shape[axis]
        if self.hot:
            hot = np.eye(n)[self.rng.integers(0, n, np.delete(shape, axis))]
            return np.moveaxis(hot, -1, axis)
        a = self.rng.uniform(0.1, 1, shape)
        return a / a.sum(axis, keepdims=True)


def make(plan: Plan, kind: str, number: int, seed: int, positive: bool = False) -> Case:
    """One case: sizes of that kind, numbers drawn with the seed."""
    return (_layered if plan.layered else _by_name)(plan, kind, number, seed, positive)


def _layered(plan: Plan, kind: str, number: int, seed: int, positive: bool) -> Case:
    stated = plan.system
    widths = widths_for(stated, kind)
    definite, functions = made_definite(stated, len(widths) - 1)
    system = replace(instantiate(definite, widths), facts=stated.facts)
    numbers = numbers_for(system, kind, plan.sizes)
    batch = BATCHES[number // len(plan.kinds) % len(BATCHES)]
    draw = Draw(system, numbers, (seed, number), positive, hot=number % 4 == 3)
    arrays: dict[str, Any] = {"params": {}}

    def sizes(family: Family, at: tuple[int, ...]) -> tuple[int, ...]:
        letters = [n for n, a in zip(family.indices, family.axes, strict=True) if a.kind == "recursion"]
        env = {**numbers, **dict(zip(letters, at, strict=True))}
        return tuple(_width(a, env, widths, numbers) for a in family.axes if a.kind == "node")

    # Data in the order of the call: x, then y.
    for family in sorted(system.families.values(), key=lambda f: f.kind == "target"):
        if family.kind == "parameter":
            places = positions(system, family)
            drawn = [draw.family(family, sizes(family, at)) for at in places]
            arrays["params"][family.name] = drawn if places != [()] else drawn[0]
        elif family.kind in ("input", "target"):
            drawn_ = draw.family(family, (batch, *sizes(family, ())))
            arrays[family.name] = drawn_
    shape = f"every width {widths[0]}" if len(set(widths)) == 1 else f"widths {', '.join(map(str, widths))}"
    return Case(f"{shape}, batch of {batch}", kind, system, arrays, {}, numbers, batch, functions)


def _width(axis: Axis, env: Mapping[str, int], widths: Sequence[int], numbers: Mapping[str, int]) -> int:
    if axis.at is not None:
        return widths[axis.at.evaluate(env)]
    return int(axis.label) if axis.label.isdigit() else numbers[axis.label]


def _by_name(plan: Plan, kind: str, number: int, seed: int, positive: bool) -> Case:
    system, functions = made_definite(plan.system, 1)
    numbers = numbers_for(system, kind, plan.sizes)
    draw = Draw(system, numbers, (seed, number), positive, hot=number % 4 == 3)

    def shape(family: Family) -> tuple[int, ...]:
        out = []
        for n in range(len(family.axes)):
            size = length(family, n)
            if size is None:
                raise ModelError(f"the size of axis {n} of {family.name} is not known")
            out.append(size.evaluate(numbers))
        return tuple(out)

    bars = set(system.upstream.values())
    arrays: dict[str, Any] = {}
    for family in system.families.values():
        if family.kind in ("derived", "cost") or family.name in bars:
            continue
        fixed = plan.values.get(family.name)
        arrays[family.name] = draw.family(family, shape(family)) if fixed is None else fixed
    for base in bases(system, numbers):
        whole = shape(system.families[base.family])
        arrays[base.name] = draw.rng.normal(0, 0.7, whole[: base.axis] + whole[base.axis + 1 :])
    upstream = {
        o: np.zeros(shape(system.families[bar]))
        if plan.outputs and o not in plan.outputs
        else draw.rng.normal(0, 1, shape(system.families[bar]))
        for o, bar in system.upstream.items()
    }
    words = ", ".join(f"{n} = {v}" for n, v in sorted(numbers.items()))
    return Case(words or "one case", kind, system, arrays, upstream, numbers, None, functions)
