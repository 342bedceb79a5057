"""Numbers in a derivation: each symbol of a line replaced by its value in one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from symbackprop.errors import GoalError, ShapeError
from symbackprop.indices import Affine, affine
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.oracle import CannotEvaluate, Env, Number, Oracle, Sample
from symbackprop.render.document import Document, Row, Rows
from symbackprop.symbols import (
    Add,
    Assign,
    Call,
    D,
    Delta,
    Dots,
    Expr,
    Family,
    Param,
    Partial,
    Ref,
    Size,
    Sum,
    Summand,
    Value,
    Vec,
    WrittenOut,
    names,
    substitute,
    walk,
)

if TYPE_CHECKING:
    from symbackprop.derivation import Record

SHOWN_TERMS = 4


class Floats:
    """Elementary functions on floats, in the place of intervals."""

    def __getattr__(self, name: str) -> Any:
        import math

        return getattr(math, name)


class Instance(Oracle):
    """An oracle whose quantities are the values of one real network."""

    def __init__(
        self,
        system: System,
        arrays: Mapping[str, Any],
        gradients: Mapping[str, Any],
        depth: int,
        widths: tuple[int, ...],
    ) -> None:
        self.arrays, self.gradients = arrays, gradients
        super().__init__(system, Sample(depth, widths, 0, "floats", 1))
        self.intervals = None
        self.floats = Floats()

    def number(self, x: Fraction | int) -> Number:
        return float(x)

    def run(self, family: str, indices: tuple[int, ...], look: Any) -> Number:
        if look == self.look:
            found = pick(self.arrays, family, indices)
            if found is not None:
                return found
        return super().run(family, indices, look)

    def partial(self, top: str, above: tuple[int, ...], bottom: str, below: tuple[int, ...]) -> Number:
        if top == self.system.cost:
            found = pick(self.gradients, bottom, below)
            if found is not None:
                return found
        return super().partial(top, above, bottom, below)

    def elementary(self, name: str, z: Number) -> Number:
        if isinstance(z, float):
            if name in ("abs", "sign"):
                return abs(z) if name == "abs" else float((z > 0) - (z < 0))
            return getattr(self.floats, name)(z)
        return super().elementary(name, z)

    def param(self, name: str) -> Number:
        import math

        if name != "pi":
            raise CannotEvaluate(f"{name} has no value in this network")
        return math.pi

    def datum(self, family: str, indices: tuple[int, ...]) -> Number:
        """Never drawn: a quantity without a value in this network has none."""
        raise CannotEvaluate(f"{family}{list(indices)} has no value in this network")

    def _compare(self, c: Any) -> Any:
        import operator

        ops = {
            "<": operator.lt,
            "<=": operator.le,
            ">": operator.gt,
            ">=": operator.ge,
            "==": operator.eq,
            "!=": operator.ne,
        }
        left, right = self.compile(c.left), self.compile(c.right)

        def plain(x: Number) -> float:
            while not isinstance(x, float):
                x = x.v
            return x

        return lambda env, look: ops[c.op](plain(left(env, look)), plain(right(env, look)))


def pick(arrays: Mapping[str, Any], family: str, indices: tuple[int, ...]) -> float | None:
    """One entry: from a list by layer, or from one array."""
    if family not in arrays:
        return None
    a: Any = arrays[family]
    if isinstance(a, dict):
        a = a.get(indices[0])
        indices = indices[1:]
    return None if a is None else float(a[indices] if indices else a)


@dataclass
class Numeric:
    """A derivation's numbers.

    Args:
        goal: The goal with its free letters replaced by positions.
        oracle: Evaluates expressions with the network's values.
    """

    goal: Partial
    oracle: Instance
    env: Env
    known: dict[Expr, Expr] = field(default_factory=dict)

    def value(self, e: Expr) -> float:
        return float(
            self.oracle.evaluate(
                e, {**self.env, **dict.fromkeys(names(e) - self.oracle.standing.keys() - self.env.keys(), 0)}
            )
        )

    def learn(self, record: Record) -> None:
        self.known.update(record.known)

    def fill(self, document: Document) -> Document:
        """The document with numbers behind each row that has a value."""
        blocks = tuple(Rows(tuple(self.row(r) for r in b.rows)) if isinstance(b, Rows) else b for b in document.blocks)
        return replace(document, blocks=blocks)

    def row(self, r: Row) -> Row:
        """The row with its numbers, where it has a value."""
        if names(r.right) - self.oracle.standing.keys() or any(
            isinstance(p, D | Vec | WrittenOut | Summand | Delta | Assign) or (isinstance(p, Param) and p.name != "pi")
            for _, p in walk(r.right)
        ):
            return r
        try:
            written = self.written(r.right)
            value = Value(self.value(r.right))
        except (CannotEvaluate, KeyError, IndexError, ValueError, OverflowError, ZeroDivisionError):
            return r
        return replace(r, values=(None if isinstance(written, Value) else written, value))

    def written(self, e: Expr) -> Expr:
        """The expression with a number in the place of every quantity, its sums as sums of numbers."""
        match e:
            case Ref() | Partial() | Size() | Call():
                return Value(self.value(e))
            case Sum(index, axis, body):
                n = self.oracle.width(axis, {**self.oracle.standing, **self.env})
                shown = range(n) if n <= SHOWN_TERMS else (0, 1, n - 1)
                terms: list[Expr] = [self.written(substitute(body, {index: affine(i)})) for i in shown]
                if n > SHOWN_TERMS:
                    terms.insert(2, Dots())
                return Add(tuple(terms)) if len(terms) > 1 else terms[0]
        parts = tuple(self.written(p) for p in e.parts)
        return e.rebuild(parts) if parts != e.parts else e


def numeric_instance(
    system: System,
    notation: Notation,
    goal: Partial,
    params: Mapping[str, Any],
    x: Any,
    y: Any,
    indices: Mapping[str, int],
) -> Numeric:
    """The numbers of one sample of a network, and the goal at given positions.

    Raises:
        GoalError: A letter that the goal lacks, a position outside its axis, or more than one sample.
        ShapeError: An array that does not fit.
    """
    import numpy as np

    from symbackprop.compile import GradientFunction, compile_gradient, forward, instantiate, widths_of
    from symbackprop.derive import adjoints

    if system.mean is None or not {"x", "y"} <= system.families.keys():
        raise GoalError(
            "numbers are shown for layered networks of given params, x and y (those of `dense`); "
            "for the values of this model's gradient use net.gradient()"
        )
    x = np.asarray(x, dtype=float)
    for name, array in (("x", x), ("y", np.asarray(y, dtype=float))):
        if not np.all(np.isfinite(array)):
            raise ShapeError(f"{name} has entries that are not finite (NaN or infinity), expected numbers to show")
    if x.ndim != 1:
        raise GoalError(f"numbers are shown for one sample: x has shape {x.shape}, expected (n_0,)")
    widths = tuple(n for n in widths_of(system, params, x) if n is not None)
    given, system = system, system if system.numeric else instantiate(system, widths)
    depth = len(widths) - 1
    forward_values = forward(system, params, x)
    derived = [n for n, f in system.families.items() if f.kind == "derived"]
    gradient = compile_gradient(system, adjoints(system), wrt=[*derived, *system.parameters, "x"])
    assert isinstance(gradient, GradientFunction)
    found = gradient(params, x, np.asarray(y, dtype=float))
    arrays: dict[str, Any] = {"x": x, "y": np.asarray(y, dtype=float)}
    slopes: dict[str, Any] = {"x": found["x"]}
    for n in (*derived, *system.parameters):
        source = forward_values[n] if n in forward_values else params[n]
        arrays[n] = by_layer(system.families[n], source, depth)
        slopes[n] = by_layer(system.families[n], found[n], depth)
    bottom = goal.bottom.body if isinstance(goal.bottom, Vec) else goal.bottom
    assert isinstance(bottom, Ref)
    mapping = positions(given, notation.first, bottom, indices, depth)
    if given.layers.value is None:
        mapping["L"] = affine(depth)
    at = substitute(Partial(goal.top, bottom), mapping)
    assert isinstance(at, Partial) and isinstance(at.bottom, Ref)
    wrong = system.out_of_range(at.bottom, notation.first)
    if wrong is not None:
        raise GoalError(wrong)
    return Numeric(at, Instance(system, arrays, slopes, depth, widths), {})


def whole(letter: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise GoalError(f"{letter}={value!r} is no position, expected a whole number")
    return value


def by_layer(family: Family, values: Any, depth: int) -> Any:
    """The arrays of a layered family by their layer's number; any other array as it is."""
    if not family.axes or family.axes[0].kind != "recursion":
        return values
    first = depth + 1 - len(values)
    return {n + first: a for n, a in enumerate(values)}


def positions(system: System, first: int, bottom: Ref, indices: Mapping[str, int], depth: int) -> dict[str, Affine]:
    """Values of the goal's free letters: those given, in the notation's counting; the first node and the last layer else."""
    free = names(bottom) - system.constants
    strange = set(indices) - free
    if strange:
        raise GoalError(
            f"the goal has no index {', '.join(sorted(strange))}; its free indices are {', '.join(sorted(free)) or 'none'}"
        )
    out: dict[str, Affine] = {}
    for axis, i in zip(system.family(bottom.family).axes, bottom.indices, strict=True):
        for n in i.names & free:
            if axis.kind == "recursion":
                out[n] = affine(whole(n, indices.get(n, depth)))
            else:
                out[n] = affine(whole(n, indices.get(n, first)) - first)
    return out
