"""Functions of arrays for any model: the gradient, and the forward pass, with arrays by name."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from symbackprop.compile.array_code import ArrayCode, emit_arrays
from symbackprop.compile.arrays import lower_model
from symbackprop.compile.extents import expected, missing, solve
from symbackprop.compile.lower import AdjointLike
from symbackprop.compile.program import Array, Input, Program
from symbackprop.compile.starts import Base, bases
from symbackprop.errors import DTypeError, ModelError, ShapeError, UnknownFamilyError, nearest
from symbackprop.network import System
from symbackprop.symbols import Expr, families

Arrays: TypeAlias = Mapping[str, Any]
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
PLANS = 8
"""So many combinations of shapes and dtype are kept ready in each thread."""


def is_layered(system: System) -> bool:
    """Whether the model is called as a layered network is: parameters in lists, then x and y, samples in front.

    So are networks whose sizes depend on the layer, and those whose cost C_0 is that of one sample.
    """
    if any(a.at is not None for f in system.families.values() for a in f.axes):
        return True
    kinds = [f.kind for f in system.families.values()]
    return system.cost == "C_0" and kinds.count("input") <= 1 and kinds.count("target") <= 1


@dataclass(frozen=True)
class Plan:
    """Code with its buffers, for one thread, one set of shapes and one dtype."""

    code: ArrayCode
    own: tuple[Any, ...]
    dtype: np.dtype[Any]

    def results(self) -> list[Array]:
        return [np.empty(shape, self.dtype) for _, _, shape in self.code.outputs]

    def arguments(self, arrays: Sequence[Array], results: Sequence[Array]) -> tuple[Any, ...]:
        return self.code.arguments(arrays, results, self.own)


class ModelFunction:
    """What the gradient and the forward pass of a model have in common: from arrays by name to results by name.

    Args:
        wrt: Families (or first entries of recurrences, such as h_0) to differentiate by.
        values: Families whose values are wanted.
        given: Derived families that the caller has the values of.
        sizes: Numbers that no array tells.
    """

    def __init__(
        self,
        system: System,
        adjoints: Sequence[AdjointLike],
        wrt: Sequence[str],
        given: Sequence[str] = (),
        sizes: Mapping[str, int] | None = None,
        describe: Callable[[Expr], str] | None = None,
    ) -> None:
        self.system, self.adjoints = system, tuple(adjoints)
        self.wrt, self.given = tuple(wrt), tuple(given)
        self.sizes, self.describe = dict(sizes or {}), describe
        self._codes: OrderedDict[object, ArrayCode] = OrderedDict()
        self._lock = threading.Lock()
        self._local = threading.local()

    # ---------------------------------------------------------------- arrays by name

    def _named(self, params: Arrays | None, more: Arrays, upstream: Arrays | None) -> dict[str, Any]:
        """All that the caller gave, by family; the gradient that comes from outside under the name of its family."""
        if params is not None and not isinstance(params, Mapping):
            raise ShapeError(f"the arrays are a {type(params).__name__}, expected a dict of arrays by name")
        named = {**(params or {}), **more}
        for name, a in (upstream or {}).items():
            bar = self.system.upstream.get(name)
            if bar is None:
                known = ", ".join(self.system.upstream) or "none, since the model has a cost"
                raise UnknownFamilyError(f"upstream[{name!r}]: {name} is no output of this model; outputs: {known}")
            named[bar] = a
        return named

    def _sorted(
        self, named: Mapping[str, Any]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, int], np.dtype[Any]]:
        """Arrays of families, arrays of first entries, numbers, and the dtype of the computation."""
        arrays: dict[str, Array] = {}
        first: dict[str, Array] = {}
        numbers = dict(self.sizes)
        dtype: np.dtype[Any] | None = None
        origin = ""
        for name, a in named.items():
            family = self.system.families.get(name)
            if family is None and name in self.system.constants:
                numbers[name] = whole_number(name, a)
                continue
            if family is None and not self._is_first(name):
                known = [n for n, f in self.system.families.items() if f.kind not in ("derived", "cost")]
                raise UnknownFamilyError(f"{name!r} is no array of this model{nearest(name, known)}")
            if family is not None and family.kind in ("derived", "cost") and name not in self.given:
                raise UnknownFamilyError(f"{name!r} is computed by the model; to give its values, compile with given=")
            if family is not None and family.over is not None:
                arrays[name] = positions(a, name)
                continue
            if not isinstance(a, np.ndarray) and np.ndim(a) == 0 and isinstance(a, int | float | np.number):
                (arrays if family is not None else first)[name] = np.asarray(a, float)
                continue
            if not isinstance(a, np.ndarray):
                raise DTypeError(f"{name} is a {type(a).__name__}, expected a NumPy array of float32 or float64")
            if a.dtype.kind in "iub" and family is not None and family.kind != "parameter":
                arrays[name] = a.astype(float)  # data such as a mask of 0 and 1; it has no say in the dtype
                continue
            if a.dtype not in DTYPES:
                hint = "; convert it with .astype(float)" if a.dtype.kind in "iub" else ""
                raise DTypeError(f"{name} has dtype {a.dtype}, expected float32 or float64{hint}")
            if dtype is not None and a.dtype != dtype:
                raise DTypeError(
                    f"{name} has dtype {a.dtype}, but {origin} has {dtype}; convert one of them with .astype"
                )
            if dtype is None:
                dtype, origin = a.dtype, name
            (arrays if family is not None else first)[name] = a
        return arrays, first, numbers, dtype or np.dtype(float)

    def _is_first(self, name: str) -> bool:
        return any(name.rstrip("_").rpartition("_")[0] == f for f in self.system.families)

    # ---------------------------------------------------------------- plans

    def _prepare(
        self, params: Arrays | None, more: Arrays, upstream: Arrays | None, values: tuple[str, ...]
    ) -> tuple[list[Array], Plan]:
        """The arrays in the order of the code, and the code."""
        arrays, first, numbers, dtype = self._sorted(self._named(params, more, upstream))
        key = (
            values,
            tuple(sorted((n, a.shape) for n, a in arrays.items())),
            tuple(sorted((n, a.shape) for n, a in first.items())),
            tuple(sorted(numbers.items())),
        )
        code = self._code(key, arrays, first, numbers, values)
        plans: OrderedDict[object, Plan] | None = getattr(self._local, "plans", None)
        if plans is None:
            plans = self._local.plans = OrderedDict()
        plan = plans.get((key, dtype))
        if plan is not None:
            plans.move_to_end((key, dtype))
        else:
            plan = plans[key, dtype] = Plan(code, code.own(dtype), dtype)
            while len(plans) > PLANS:
                plans.popitem(last=False)
        ordered = [self._argument(i, {**first, **arrays}, plan) for i in code.inputs]
        return ordered, plan

    def _argument(self, i: Input, named: Mapping[str, Array], plan: Plan) -> Array:
        """An array as the code takes it: without gaps, of the dtype of the computation."""
        a = named[i.key[0]]
        if not i.integer and a.dtype != plan.dtype:
            a = a.astype(plan.dtype)
        if not a.flags.c_contiguous:
            a = np.ascontiguousarray(a)
        shape = plan.code.shape(i)
        if i.integer and a.size and (over := self.system.family(i.key[0]).over) is not None:
            n = plan.code.size(over.label)
            if int(a.min()) < 0 or int(a.max()) >= n:
                raise ShapeError(
                    f"{i.key[0]} has values from {a.min()} to {a.max()}, expected positions 0 to {n - 1} "
                    f"on the axis {over.label} of size {n}"
                )
        return a if a.shape == shape else a.reshape(shape)

    def _code(
        self,
        key: object,
        arrays: Mapping[str, Array],
        first: Mapping[str, Array],
        numbers: Mapping[str, int],
        values: tuple[str, ...],
    ) -> ArrayCode:
        with self._lock:
            code = self._codes.get(key)
            if code is not None:
                self._codes.move_to_end(key)
            else:
                code = self._codes[key] = self._generate(arrays, first, numbers, values)
                while len(self._codes) > 4 * PLANS:
                    self._codes.popitem(last=False)
            return code

    def _generate(
        self,
        arrays: Mapping[str, Array],
        first: Mapping[str, Array],
        numbers: Mapping[str, int],
        values: tuple[str, ...],
    ) -> ArrayCode:
        empty = next((n for n, a in {**arrays, **first}.items() if 0 in a.shape), None)
        if empty is not None:
            shape = {**arrays, **first}[empty].shape
            raise ShapeError(f"{empty} has shape {shape}: an axis is empty, expected at least one position")
        known = solve(self.system, {n: a.shape for n, a in arrays.items()}, numbers)
        missing(self.system, known, frozenset(self.system.integers))
        bars = self.system.upstream.values()
        # An output without a gradient from outside has none, if another one has.
        zero = [b for b in bars if b not in arrays] if any(b in arrays for b in bars) else []
        program = lower_model(self.system, self.adjoints, known, self.wrt, values=values, given=self.given, absent=zero)
        starts = {b.name: b for b in bases(self.system, known)}
        absent = [i.key[0] for i in program.inputs if i.key[0] not in arrays and i.key[0] not in first]
        if absent:
            raise ShapeError(self._absent(absent[0], starts))
        for i in program.inputs:
            if i.key[0] in first:
                self._check_first(starts[i.key[0]], first[i.key[0]], tuple(program.sizes[d] for d in i.dims))
        unknown = next((n for n in first if n not in starts), None)
        if unknown is not None:
            raise UnknownFamilyError(f"{unknown!r} is no array of this model{nearest(unknown, starts)}")
        return emit_arrays(program, self._comment(program))

    def _comment(self, program: Program) -> Callable[[str], str] | None:
        """How a named value is described in the code: by its equation, where the model's own notation can write it."""
        describe, system = self.describe, self.system
        if describe is None:
            return None
        ours = set(system.upstream.values()) | ({system.cost} if system.upstream else set())
        known = system.families.keys() - ours

        def comment(name: str) -> str:
            equation = program.notes.get(name)
            if equation is None or not families(equation[0]) | families(equation[1]) <= known:
                return name.rstrip("_")
            return " = ".join(map(describe, equation))

        return comment

    def _check_first(self, base: Base, a: Array, whole: tuple[int, ...]) -> None:
        shape = whole[: base.axis] + whole[base.axis + 1 :]
        if a.shape != shape and a.shape != whole:
            names = [n for k, n in enumerate(expected(self.system.family(base.family))) if k != base.axis]
            raise ShapeError(f"{base.name} has shape {a.shape}, expected ({', '.join(names)}) = {shape}")

    def _absent(self, name: str, starts: Mapping[str, Base]) -> str:
        """What to say of an array that is missing."""
        output = next((o for o, bar in self.system.upstream.items() if bar == name), None)
        if output is not None:
            shape = ", ".join(expected(self.system.family(name)))
            return f"the gradient from outside is missing: give upstream={{{output!r}: ...}} of shape ({shape})"
        base = starts.get(name)
        family = self.system.family(name if base is None else base.family)
        names = [n for k, n in enumerate(expected(family)) if base is None or k != base.axis]
        meaning = f", {family.meaning}" if family.meaning and base is None else ""
        return f"{name} is missing{meaning}: give an array of shape ({', '.join(names)})"

    # ---------------------------------------------------------------- results

    def _shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a result as the caller sees it: first entries of a recurrence lack its axis."""
        if name in self.system.families:
            return shape
        family = next(f for n, f in self.system.families.items() if name.rstrip("_").rpartition("_")[0] == n)
        axis = next(n for n, a in enumerate(family.axes) if a.kind == "recursion")
        return shape[:axis] + shape[axis + 1 :] if shape[axis] == 1 else shape

    def _targets(self, out: Arrays | None, plan: Plan, arrays: Sequence[Array]) -> tuple[list[Array], dict[str, Any]]:
        """The arrays that the code writes, and the gradients among them by name."""
        grads: dict[str, Any] = {}
        results: list[Array] = []
        for name, role, shape in plan.code.outputs:
            seen = self._shape(name, shape) if role == "gradient" else shape
            if role != "gradient" or out is None:
                a = np.empty(seen, plan.dtype)
            else:
                a = self._target(name, out, seen, plan.dtype, [*arrays, *results])
            if role == "gradient":
                grads[name] = a
            results.append(a.reshape(shape))
        return results, {n: grads[n] for n in self.wrt} if grads else {}

    def _target(
        self, name: str, out: Arrays, shape: tuple[int, ...], dtype: np.dtype[Any], others: Sequence[Array]
    ) -> Array:
        a = out.get(name) if isinstance(out, Mapping) else None
        if not isinstance(a, np.ndarray):
            raise ShapeError(f"out lacks the array {name!r}, expected the keys {', '.join(map(repr, self.wrt))}")
        if a.shape != shape or a.dtype != dtype:
            raise ShapeError(f"out[{name!r}] has shape {a.shape} and dtype {a.dtype}, expected {shape} and {dtype}")
        if not a.flags.c_contiguous or not a.flags.writeable:
            raise ShapeError(f"out[{name!r}] is read-only or has gaps, so the result cannot be written into it")
        if any(np.may_share_memory(a, o) for o in others):
            raise ShapeError(f"out[{name!r}] overlaps another array of this call, so it cannot be written into")
        return a

    @property
    def source(self) -> str:
        """The generated NumPy source for the shapes of the last call that met new ones."""
        with self._lock:
            code = next(reversed(self._codes.values()), None)
        return "# The code is generated at the first call, when shapes are known.\n" if code is None else code.source


class ModelGradient(ModelFunction):
    """The gradient of a model's cost as a function of arrays by name.

    `f(Q=Q, K=K, V=V, upstream={"O": dO})` or `f({"Q": Q, ...}, upstream=...)` gives a dict of arrays, one for each
    family of `wrt`. Integer data (tokens, labels) are integer arrays of positions from 0; a scalar may be a float;
    strides and other integers of the model may be given beside the arrays.
    """

    def __call__(
        self,
        params: Arrays | None = None,
        /,
        *,
        upstream: Arrays | None = None,
        out: Arrays | None = None,
        **arrays: Any,
    ) -> dict[str, Any]:
        ordered, plan = self._prepare(params, arrays, upstream, ())
        results, grads = self._targets(out, plan, ordered)
        plan.code.run(*plan.arguments(ordered, results))
        return grads

    @property
    def _wanted(self) -> tuple[str, ...]:
        """What `value_and_grad` gives beside the gradient: the cost, or the outputs of a model without one."""
        return tuple(self.system.upstream) or (self.system.cost,)

    def value_and_grad(
        self,
        params: Arrays | None = None,
        /,
        *,
        upstream: Arrays | None = None,
        out: Arrays | None = None,
        **arrays: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """The cost (of a model without one, its outputs by name) and the gradient."""
        ordered, plan = self._prepare(params, arrays, upstream, self._wanted)
        results, grads = self._targets(out, plan, ordered)
        cost = plan.code.run(*plan.arguments(ordered, results))
        return self._values(cost, results, plan), grads

    def _values(self, cost: Any, results: Sequence[Array], plan: Plan) -> Any:
        if not self.system.upstream:
            return cost
        return {n: r for (n, role, _), r in zip(plan.code.outputs, results, strict=True) if role == "value"}

    def bind(
        self,
        params: Arrays | None = None,
        /,
        *,
        upstream: Arrays | None = None,
        out: Arrays | None = None,
        value: bool = False,
        **arrays: Any,
    ) -> Callable[[], Any]:
        """A function of nothing that reads what the arrays hold now and returns the gradient, in the same arrays each time.

        With `value`, it returns what `value_and_grad` does. One thread at a time may use it.

        Raises:
            ShapeError: An array has gaps or another dtype, so that it would have to be copied.
        """
        ordered, plan = self._prepare(params, arrays, upstream, self._wanted if value else ())
        named = self._named(params, arrays, upstream)
        for i, a in zip(plan.code.inputs, ordered, strict=True):
            given = named[i.key[0]]
            if isinstance(given, np.ndarray) and not np.shares_memory(given, a) and a.size:
                raise ShapeError(f"{i.key[0]} has gaps, so it cannot be bound; make it contiguous first")
        results, grads = self._targets(out, plan, ordered)
        run = partial(plan.code.run, *plan.arguments(ordered, results))

        def bound() -> Any:
            cost = run()
            return (self._values(cost, results, plan), grads) if value else grads

        return bound

    def __repr__(self) -> str:
        return f"<gradient of {self.system.cost} by {', '.join(self.wrt)}; .source shows its code>"


class ModelForward(ModelFunction):
    """Every derived quantity of a model from its arrays."""

    def __init__(self, system: System, sizes: Mapping[str, int] | None = None) -> None:
        super().__init__(system, (), (), (), sizes)
        bars = frozenset(system.upstream.values())
        self.names = tuple(
            n for n, f in system.families.items() if f.kind in ("derived", "cost") and not (bars and n == system.cost)
        )

    def __call__(self, params: Arrays | None = None, /, **arrays: Any) -> dict[str, Any]:
        ordered, plan = self._prepare(params, arrays, None, self.names)
        results, _ = self._targets(None, plan, ordered)
        cost = plan.code.run(*plan.arguments(ordered, results))
        found = {n: r for (n, _, _), r in zip(plan.code.outputs, results, strict=True)}
        return {n: found.get(n, cost) for n in self.names}


# ---------------------------------------------------------------- checks


def whole_number(name: str, a: Any) -> int:
    if isinstance(a, bool) or not isinstance(a, int | np.integer):
        raise ShapeError(f"{name} is {a!r}, expected a whole number")
    return int(a)


def positions(a: Any, name: str) -> Array:
    """An array of positions.

    Raises:
        DTypeError: It does not hold integers.
    """
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "iu":
        found = f"has dtype {a.dtype}" if isinstance(a, np.ndarray) else f"is a {type(a).__name__}"
        raise DTypeError(f"{name} {found}, expected an array of integers: its values are positions")
    return a.astype(np.intp, copy=False)


# ---------------------------------------------------------------- entry points


def model_gradient(
    system: System,
    adjoints: Sequence[AdjointLike],
    wrt: str | Iterable[str] | None = None,
    given: str | Iterable[str] = (),
    sizes: Mapping[str, int] | None = None,
    describe: Callable[[Expr], str] | None = None,
) -> ModelGradient:
    """The gradient function of a model with a cost, or with gradients from outside (`network.with_upstream`).

    Raises:
        UnknownFamilyError: `wrt` or `given` names no family of the model.
        ModelError: Nothing to differentiate by, or by what no gradient is taken.
    """
    if wrt is None:
        wanted = system.parameters
        if not wanted:
            data = [n for n, f in system.families.items() if f.kind == "input" and f.over is None]
            raise ModelError(f"the model has no parameters; say what to differentiate by, such as wrt={data[:1]}")
    else:
        wanted = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    known = (given,) if isinstance(given, str) else tuple(given)
    for what, names in (("wrt", wanted), ("given", known)):
        for name in names:
            first = what == "wrt" and any(name.rstrip("_").rpartition("_")[0] == f for f in system.families)
            if name not in system.families and not first:
                raise UnknownFamilyError(
                    f"{what}: {name!r} is no family of this network{nearest(name, system.families)}"
                )
    for name in wanted:
        family = system.families.get(name)
        if name in system.upstream.values():
            raise ModelError(f"wrt={name!r}: it is a gradient from outside, so nothing is differentiated by it")
        if family is not None and family.over is not None:
            raise ModelError(f"wrt={name!r}: its values are positions, so no gradient is taken by it")
    for name in known:
        if system.families[name].kind != "derived":
            raise UnknownFamilyError(
                f"given={name!r}: {name} is a {system.families[name].kind}, not a derived quantity"
            )
    return ModelGradient(system, adjoints, wanted, known, sizes, describe)
