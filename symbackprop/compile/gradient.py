"""The gradient as a function of arrays: checks, buffers for each thread, and the calls into generated code."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from symbackprop.compile.lower import (
    AdjointLike,
    check_families,
    families_of,
    instantiate,
    instantiate_adjoints,
    lower,
    lower_forward,
    positions,
    sampled_families,
)
from symbackprop.compile.model import ModelForward, ModelGradient, is_layered, model_gradient
from symbackprop.compile.numpy_backend import Emitted, emit
from symbackprop.compile.program import SAMPLE, Array, Input
from symbackprop.errors import DTypeError, ModelError, ShapeError, UnknownNameError, nearest
from symbackprop.network import System
from symbackprop.symbols import Expr, families

Params = Mapping[str, Any]
BACKENDS = ("numpy",)

EAGER_LAYERS = 64
"""Up to this depth the code is generated when the function is made, so that what cannot be compiled is refused then."""
DTYPES = {"f": np.dtype(np.float32), "d": np.dtype(np.float64)}


# ---------------------------------------------------------------- reading what the caller gives


def _list_of(system: System, params: Params, name: str, count: int, layered: bool) -> list[Any]:
    """The arrays of one family of parameters."""
    if not isinstance(params, Mapping):
        raise ShapeError(f"params is {_what(params)}, expected a dict with the keys {_keys(system)}")
    if name not in params:
        raise ShapeError(f"params has no {name!r}, expected the keys {_keys(system)}{nearest(name, map(str, params))}")
    given = params[name]
    if not layered:
        return [given]
    if isinstance(given, np.ndarray) and given.dtype != object:
        raise ShapeError(
            f"params[{name!r}] is one array of shape {given.shape}, expected a list of {count} arrays, one for each layer"
        )
    if not isinstance(given, Sequence) and not isinstance(given, np.ndarray):
        raise ShapeError(f"params[{name!r}] is {_what(given)}, expected a list of {count} arrays, one for each layer")
    if count >= 0 and len(given) != count:
        raise ShapeError(f"params[{name!r}] has {len(given)} arrays, expected {count}, one for each layer")
    return list(given)


def _keys(system: System) -> str:
    return ", ".join(repr(f.name) for f in families_of(system, ["parameter"]))


def _what(x: object) -> str:
    return f"a {type(x).__name__}"


def check_array(a: object, label: str, dtype: np.dtype[Any] | None, first: str) -> np.dtype[Any]:
    """The dtype of an array, if it is one that gradients are computed in.

    Raises:
        DTypeError: No array, not of a floating dtype, or another one than `dtype`.
    """
    if not isinstance(a, np.ndarray):
        raise DTypeError(f"{label} is {_what(a)}, expected a NumPy array of float32 or float64")
    if a.dtype not in DTYPES.values():
        raise DTypeError(
            f"{label} has dtype {a.dtype}, expected float32 or float64"
            + ("; convert it with .astype(float)" if a.dtype.kind in "iub" else "")
        )
    if dtype is not None and a.dtype != dtype:
        raise DTypeError(f"{label} has dtype {a.dtype}, but {first} has {dtype}; convert one of them with .astype")
    found: np.dtype[Any] = a.dtype
    return found


def check_shape(a: Array, expected: tuple[int | None, ...], names: tuple[str, ...], label: str) -> None:
    """Raise a ShapeError unless the shape is the expected one (None: any)."""
    shape = a.shape
    if len(shape) == len(expected) and all(e is None or e == s for e, s in zip(expected, shape, strict=True)):
        return
    turned = shape[::-1]
    fits = len(shape) == 2 and len(expected) == 2 and all(e in (None, s) for e, s in zip(expected, turned, strict=True))
    sizes = ", ".join(n if e is None else str(e) for n, e in zip(names, expected, strict=True))
    comma = "," if len(names) == 1 else ""
    raise ShapeError(
        f"{label} has shape {shape}, expected ({', '.join(names)}{comma}) = ({sizes}{comma})"
        + ("; its transpose fits" if fits else "")
    )


# ---------------------------------------------------------------- one network of known depth


get_shape, get_dtype, get_base = attrgetter("shape"), attrgetter("dtype"), attrgetter("base")
get_carray = attrgetter("flags.carray")


@dataclass(frozen=True)
class Plan:
    """Generated code with its buffers, for one thread, one batch size and one dtype.

    Args:
        types, dtypes, shapes: Of the arrays that it is for: those it reads, then those it writes.
        inputs: How many of them it reads.
        rows: For each of those, whether its only row is taken: a batch of one is run as one sample.
        places: For each result its family and its place in the family's list (-1 where there is no list).
        inner: The shapes of the results as the code sees them.
        lifted: Whether some of these differ from what the caller sees.
    """

    types: list[type]
    dtypes: list[np.dtype[Any]]
    shapes: list[tuple[int, ...]]
    inputs: int
    rows: tuple[bool, ...] | None
    places: tuple[tuple[str, int], ...]
    inner: tuple[tuple[int, ...], ...]
    code: Emitted
    own: tuple[Any, ...]
    lifted: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.dtypes[0]

    @property
    def results(self) -> list[tuple[int, ...]]:
        """The shapes of the results as the caller sees them."""
        return self.shapes[self.inputs :]

    def fits(self, arrays: list[Any], writes: list[Any]) -> bool:
        """Whether the arrays are just what it is for, and those that it writes are apart from all others.

        A quick look that may say no where a closer one says yes; it costs a few microseconds.
        """
        every = [*arrays, *writes]
        n = len(every)
        if list(map(type, every)) != self.types[:n] or list(map(get_shape, every)) != self.shapes[:n]:
            return False
        if list(map(get_dtype, every)) != self.dtypes[:n]:
            return False
        if not writes:
            return n == self.inputs
        if (
            n != len(self.shapes)
            or not all(map(get_carray, writes))
            or any(b is not None for b in map(get_base, writes))
        ):
            return False
        # What owns its memory overlaps another array only by being it, or the base of it.
        bases = [b for b in map(get_base, arrays) if b is not None]
        if bases and any(type(b) is not np.ndarray for b in bases):
            return False
        ids = set(map(id, writes))
        return len(ids) == len(writes) and ids.isdisjoint(map(id, arrays)) and ids.isdisjoint(map(id, bases))

    def arguments(self, arrays: Sequence[Array], results: Sequence[Array]) -> tuple[Any, ...]:
        """Everything that the code takes."""
        if self.rows is not None:
            arrays = [a[0] if row else a for a, row in zip(arrays, self.rows)]  # noqa: B905 - hot, lengths agree
            if self.lifted:
                results = [r.reshape(s) for r, s in zip(results, self.inner, strict=True)]
        given = (*arrays, *results)
        return (*given, *self.code.arrays_seen_as(*given), *self.own)


@dataclass(slots=True)
class Seen:
    """The parameters and results of the last call with `out=`, found to be in order, so that the next need not look again.

    Args:
        arrays: Those arrays. They are held so that no other array can get the number by which one is known.
        ids: Those numbers.
        writes: The numbers of the results among them.
        shape: Of the target; that of the input is where this is found.
    """

    plan: Plan
    arrays: list[Array]
    ids: list[int]
    writes: frozenset[int]
    shape: tuple[int, ...]

    def free(self, x: Any, y: Any) -> bool:
        """Whether input and target are of the right kind and apart from the results."""
        dtype, writes = self.plan.dtypes[0], self.writes
        if x.__class__ is not np.ndarray or y.__class__ is not np.ndarray or y.shape != self.shape:
            return False
        if x.dtype is not dtype or y.dtype is not dtype or id(x) in writes or id(y) in writes:
            return False
        for base in (x.base, y.base):
            if base is not None and (base.__class__ is not np.ndarray or id(base) in writes):
                return False
        return True


class Compiled:
    """The programs of one network, each generated when it is first needed."""

    def __init__(self, system: System, build: Callable[[bool, bool], Emitted]) -> None:
        self.system, self.build = system, build
        self.emitted: dict[tuple[bool, bool], Emitted] = {}
        self.lock = threading.Lock()
        self.sampled = sampled_families(system)

    def code(self, batched: bool, value: bool) -> Emitted:
        with self.lock:
            if (batched, value) not in self.emitted:
                self.emitted[batched, value] = self.build(batched, value)
            return self.emitted[batched, value]

    def plan(self, arrays: Sequence[Array], value: bool) -> Plan:
        """Code for arrays like these, with new buffers.

        Raises:
            ShapeError, DTypeError: The arrays are not those of this network.
        """
        with self.lock:
            some = next(iter(self.emitted.values()), None)
        some = some or self.code(arrays[-1].ndim == 2 if isinstance(arrays[-1], np.ndarray) else False, value)
        batched, sizes = check(some, arrays)
        single = batched and sizes[SAMPLE] == 1
        code = self.code(batched and not single, value)
        keys = [k for k, _ in code.outputs]
        inner = tuple(tuple(sizes[d] for d in dims) for _, dims in code.outputs)
        order = {k: n for n, k in enumerate(sorted(keys))}
        first = {k[0]: n for k, n in reversed(order.items())}
        dtype = arrays[0].dtype
        shapes = [(1, *s) if single and k[0] in self.sampled else s for k, s in zip(keys, inner, strict=True)]
        shapes = [*(a.shape for a in arrays), *shapes]
        return Plan(
            [np.ndarray] * len(shapes),
            [dtype] * len(shapes),
            shapes,
            len(arrays),
            tuple(i.kind != "parameter" and i.key[0] in self.sampled for i in code.inputs) if single else None,
            tuple((k[0], order[k] - first[k[0]] if k[1] else -1) for k in keys),
            inner,
            code,
            code.own(sizes, dtype),
            list(inner) != shapes[len(arrays) :],
        )


def check(code: Emitted, arrays: Sequence[object]) -> tuple[bool, dict[str, int]]:
    """Whether the arrays are a batch, and the size of every dimension.

    Raises:
        ShapeError, DTypeError: Which array is not as expected, and what would fit.
    """
    dtype: np.dtype[Any] | None = None
    batched: bool | None = None
    first, sizes, count = "", dict(code.program.sizes), dict[str, int]()
    for i, a in zip(code.inputs, arrays, strict=True):
        place = count.get(i.key[0], 0)
        count[i.key[0]] = place + 1
        label = _label(i, place)
        dtype, first = check_array(a, label, dtype, first), first or label
        assert isinstance(a, np.ndarray)
        names = tuple(d for d in i.dims if d != SAMPLE)
        expected = tuple(sizes.get(d) for d in names)
        if i.kind != "parameter":
            if batched is None and a.ndim not in (len(names), len(names) + 1):
                known = ", ".join(n if e is None else str(e) for n, e in zip(names, expected, strict=True))
                comma = "," if len(names) == 1 else ""
                raise ShapeError(
                    f"{label} has shape {a.shape}, expected ({known}{comma}) for one sample or (m, {known}) for m samples"
                )
            batched = a.ndim > len(names) if batched is None else batched
            if batched:
                names, expected = (SAMPLE, *names), (sizes.get(SAMPLE), *expected)
                if a.ndim and a.shape[0] == 0:
                    raise ShapeError(f"{label} has shape {a.shape}: the batch is empty, expected at least one sample")
        check_shape(a, expected, names, label)
        for d, n in zip(names, a.shape, strict=True):
            sizes.setdefault(d, n)
    return bool(batched), sizes


def _label(i: Input, place: int) -> str:
    """How a message calls an array: params["w"][1] (w^(2))."""
    family, layers = i.key
    if i.kind in ("input", "target"):
        return family
    whole = f'{"params" if i.kind == "parameter" else "given"}["{family}"]'
    return f"{whole}[{place}] ({family}^({', '.join(map(str, layers))}))" if layers else whole


# ---------------------------------------------------------------- the function


class Caller:
    """What a gradient and a forward pass have in common: from the caller's arrays to a plan and back."""

    def __init__(self, system: System, wrt: tuple[str, ...], given: tuple[str, ...], *, targets: bool) -> None:
        self.system, self.wrt, self.given = system, wrt, given
        self._networks: dict[int, Compiled] = {}
        self._lock = threading.Lock()
        self._local = threading.local()
        self._layered = {f.name: any(a.kind == "recursion" for a in f.axes) for f in system.families.values()}
        self._parameters = tuple(f.name for f in families_of(system, ["parameter"]))
        self._places = tuple((name, self._layered[name]) for name in self._parameters)
        self._data = tuple(
            f.name for kind in ("input", "target") if kind == "input" or targets for f in families_of(system, [kind])
        )

    def _build(self, system: System, batched: bool, value: bool) -> Emitted:
        raise NotImplementedError

    def _network(self, params: Params) -> Compiled:
        """The network of the depth that the parameters have."""
        last = self.system.layers.value
        last = depth_from(self.system, params, self._layered) if last is None else last
        with self._lock:
            if last not in self._networks:
                own = self.system
                system = own if own.layers.value is not None else instantiate(own, _widths(own, last))
                self._networks[last] = Compiled(system, lambda b, v: self._build(system, b, v))
            return self._networks[last]

    def _gather(self, params: Params, data: Sequence[object], given: Mapping[str, Any] | None) -> list[Any]:
        """All arrays in the order of the generated code, nothing checked."""
        arrays: list[Any] = []
        for name in self._parameters:
            if self._layered[name]:
                arrays.extend(params[name])  # never +=, which an array would take for an addition
            else:
                arrays.append(params[name])
        arrays.extend(data)
        for name in self.given:
            arrays.extend(given[name] if self._layered[name] else [given[name]])  # type: ignore[index]
        return arrays

    def _examined(self, params: Params, data: Sequence[object], given: Mapping[str, Any] | None) -> Compiled:
        """The network, once the structure of the arguments is as it should be."""
        if not isinstance(params, Mapping):
            raise ShapeError(f"params is {_what(params)}, expected a dict with the keys {_keys(self.system)}")
        network = self._network(params)
        for name in self._parameters:
            count = len(positions(network.system, network.system.families[name]))
            _list_of(network.system, params, name, count, self._layered[name])
        unknown = next((k for k in params if k not in self._parameters), None)
        if unknown is not None:
            raise ShapeError(f"params has {unknown!r}, which is no parameter; expected the keys {_keys(self.system)}")
        for name, value in zip(self._data, data, strict=True):
            if value is None:
                raise ShapeError(f"{name} is missing, expected an array of float32 or float64")
        for name in self.given:
            if given is None or name not in given:
                raise ShapeError(f"given has no {name!r}, expected the values of {', '.join(self.given)}")
        return network

    def _prepare(
        self, params: Params, data: Sequence[object], given: Mapping[str, Any] | None, value: bool
    ) -> tuple[list[Any], Plan]:
        """The arrays in order and a new plan for them.

        Raises:
            ShapeError, DTypeError: What is wrong with the arguments.
        """
        network = self._examined(params, data, given)
        arrays = self._gather(params, data, given)
        plan = network.plan(arrays, value)
        return [np.asarray(a) for a in arrays], plan

    def _plans(self) -> dict[Any, Plan]:
        """This thread's plans, by whether they have the cost and by the shape of the first datum."""
        try:
            found: dict[Any, Plan] = self._local.plans
        except AttributeError:
            found = self._local.plans = {}
        return found

    def _planned(
        self, params: Params, data: Sequence[object], given: Mapping[str, Any] | None, value: bool
    ) -> tuple[list[Any], Plan]:
        """The arrays in order and this thread's plan for them."""
        plans = self._plans()
        place = (value, getattr(data[0], "shape", None)) if data else (value, None)
        plan = plans.get(place)
        if plan is not None:
            try:
                arrays = self._gather(params, data, given)
                if len(params) == len(self._places) and plan.fits(arrays, []):
                    return arrays, plan
            except (KeyError, TypeError, IndexError, AttributeError):
                pass
        arrays, plan = self._prepare(params, data, given, value)
        if len(plans) >= 16:
            plans.clear()
        plans[place] = plan
        return arrays, plan

    def _assemble(self, results: Sequence[Array], places: Sequence[tuple[str, int]]) -> dict[str, Any]:
        """The results by family."""
        out: dict[str, Any] = {
            f: [None] * sum(g == f for g, _ in places) if self._layered[f] else None for f in self.wrt
        }
        for r, (f, n) in zip(results, places, strict=True):
            if n < 0:
                out[f] = r
            else:
                out[f][n] = r
        return out


@contextmanager
def without_collection() -> Iterator[None]:
    """Hold the garbage collector while many small records are built that all stay: it would go over them time and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class GradientFunction(Caller):
    """`f(params, x, y)`: the gradient of the cost, averaged over the samples.

    Args to a call:
        params: `{"w": [w_1, ..., w_L], ...}`, w_l of shape (n_l, n_(l-1)), float32 or float64 throughout.
        x, y: One sample, (n_0,) and (n_L,), or m of them with a leading axis m.
        out: Arrays to write into, in the structure of the result; they must not overlap the inputs.
        given: The values of those families that the function was compiled with as given, by name.

    The result has the structure, shapes and dtype of what the function differentiates by. Numbers that are
    not finite go through as NumPy has them: data is not searched for NaN. Any number of threads may call
    one function; each has its own buffers.
    """

    def __init__(
        self,
        system: System,
        adjoints: Sequence[AdjointLike],
        wrt: tuple[str, ...],
        given: tuple[str, ...] = (),
        describe: Callable[[Expr], str] | None = None,
    ) -> None:
        super().__init__(system, wrt, given, targets=True)
        self.adjoints, self.describe = tuple(adjoints), describe
        self._wanted = tuple((f, self._layered[f]) for f in wrt)
        self._quick = len(self._data) == 2 and not given
        self._source: tuple[System, str] | None = None
        if describe is not None:
            self.__doc__ = "\n".join(
                [
                    type(self).__doc__ or "",
                    *(f"    Assumes of the data that {f.text or describe(f.lhs)}." for f in system.facts),
                    *(f"    {describe(a.subject)} = {describe(a.value)}" for a in adjoints),
                ]
            )
        if system.layers.value is not None and system.layers.value <= EAGER_LAYERS:
            self._network({}).code(True, False)  # a function that cannot be compiled is refused here

    def _build(self, system: System, batched: bool, value: bool) -> Emitted:
        with without_collection():
            return self._generate(system, batched, value)

    def _generate(self, system: System, batched: bool, value: bool, noted: bool = False) -> Emitted:
        """The code; `noted` writes the formula of each line beside it, which only a reader waits for."""
        adjoints: Sequence[AdjointLike] = self.adjoints
        if self.system.layers.value is None:
            assert system.layers.value is not None
            adjoints = instantiate_adjoints(self.system, adjoints, system.layers.value)
        noted = noted and self.describe is not None
        program = lower(system, adjoints, self.wrt, batched=batched, value=value, given=self.given, annotate=noted)
        return emit(program, _comment(program.notes, self.describe))

    # The data is x and y; a model without one of them is called without it.
    def _data_of(self, x: object, y: object) -> tuple[object, ...]:
        return (x, y) if len(self._data) == 2 else (x if x is not None else y,) if self._data else ()

    def __call__(
        self,
        params: Params,
        x: Array | None = None,
        y: Array | None = None,
        *,
        out: Any = None,
        given: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        grads: dict[str, Any] = self._run(params, (x, y), out, given, False)[1]
        return grads

    def value_and_grad(
        self,
        params: Params,
        x: Array | None = None,
        y: Array | None = None,
        *,
        out: Any = None,
        given: Mapping[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """The cost, averaged over the samples, and the gradient."""
        return self._run(params, (x, y), out, given, True)

    def by_name(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The gradient, with parameters and any number of data arrays by the names of their families."""
        absent = [n for n in self._data if n not in arrays]
        if absent:
            raise ShapeError(f"{absent[0]} is missing: give an array for each of {', '.join(self._data)}")
        data = [arrays[n] for n in self._data]
        params = {n: arrays[n] for n in self._parameters if n in arrays}
        ordered, plan = self._planned(params, data, None, False)
        results, _, grads = self._targets(None, ordered, plan)
        plan.code.run(*plan.arguments(ordered, results))
        return grads

    def bind(
        self,
        params: Params,
        x: Array | None = None,
        y: Array | None = None,
        *,
        out: Any = None,
        given: Mapping[str, Any] | None = None,
        value: bool = False,
    ) -> Callable[[], Any]:
        """A function of nothing that reads what the arrays hold now and returns the gradient.

        The result is the same arrays each time. With `value`, it returns (cost, gradient). One thread at a time
        may use what one call of `bind` returned.
        """
        arrays, plan = self._prepare(params, self._data_of(x, y), given, value)
        results, copies, grads = self._targets(out, arrays, plan)
        run = partial(plan.code.run, *plan.arguments(arrays, results))

        def bound() -> Any:
            run()
            return grads

        def complete() -> Any:
            cost = run()
            for to, source in copies:
                np.copyto(to, source)
            return (cost, grads) if value else grads

        return complete if copies or value else bound

    def _run(self, params: Params, data: tuple[object, object], out: Any, given: Any, value: bool) -> tuple[Any, Any]:
        quick = self._quick and out is not None
        if quick:
            try:  # the parameters and results of the last such call: only the data needs a look
                x, y = data
                seen = self._local.seen[value, x.shape]  # type: ignore[attr-defined]
                static = self._static(params, out)
                if list(map(id, static)) == seen.ids and seen.free(x, y):
                    plan, n = seen.plan, seen.plan.inputs - 2
                    return plan.code.run(*plan.arguments([*static[:n], x, y], static[n:])), out
            except (KeyError, TypeError, IndexError, AttributeError):
                pass
        arrays, plan = self._planned(params, self._data_of(*data), given, value)
        results, copies, grads = self._targets(out, arrays, plan)
        cost = plan.code.run(*plan.arguments(arrays, results))
        for to, source in copies:
            np.copyto(to, source)
        if quick and not copies and len(params) == len(self._places) and all(r.base is None for r in results):
            static = self._static(params, out)
            if list(map(id, static)) != list(map(id, [*arrays[:-2], *results])):
                return cost, grads  # more arrays in a list than there are results
            if not hasattr(self._local, "seen") or len(self._local.seen) >= 16:
                self._local.seen = {}
            ids, writes = list(map(id, static)), frozenset(map(id, results))
            self._local.seen[value, arrays[-2].shape] = Seen(plan, static, ids, writes, arrays[-1].shape)
        return cost, grads

    def _static(self, params: Params, out: Any) -> list[Any]:
        """The parameters, then the results: what stays the same from one step of a training to the next."""
        arrays: list[Any] = []
        for name, layered in self._places:
            if layered:
                arrays.extend(params[name])
            else:
                arrays.append(params[name])
        for name, layered in self._wanted:
            if layered:
                arrays.extend(out[name])
            else:
                arrays.append(out[name])
        return arrays

    def _targets(
        self, out: Any, arrays: Sequence[Array], plan: Plan
    ) -> tuple[list[Array], list[tuple[Array, Array]], dict[str, Any]]:
        """What the code writes into, what is copied from there at the end, and what the caller gets."""
        if out is None:
            fresh = [np.empty(s, plan.dtype) for s in plan.results]
            return fresh, [], self._assemble(fresh, plan.places)
        try:
            targets = [out[f] if n < 0 else out[f][n] for f, n in plan.places]
        except (KeyError, IndexError, TypeError):
            expected = ", ".join(map(repr, self.wrt))
            raise ShapeError(f"out lacks some array of the result: keys {expected}, an array for each layer") from None
        results: list[Array] = []
        copies: list[tuple[Array, Array]] = []
        taken = {id(a) for a in arrays} | {id(a.base) for a in arrays}
        taken.discard(id(None))
        dtype = plan.dtype
        for n, t in enumerate(targets):
            shape = plan.results[n]
            if t.__class__ is not np.ndarray or t.shape != shape or t.dtype is not dtype:
                check_array(t, _place(plan, n), dtype, "the result")
                check_shape(t, shape, tuple(map(str, shape)), _place(plan, n))
            if not t.flags.writeable:
                raise ShapeError(f"{_place(plan, n)} is read-only, so the result cannot be written into it")
            # An array that owns its data overlaps another only by being it, or its base.
            if id(t) in taken or (
                t.base is not None and any(np.may_share_memory(t, a) for a in [*arrays, *targets[:n]])
            ):
                raise ShapeError(f"{_place(plan, n)} overlaps another array of this call, so it cannot be written into")
            taken.add(id(t))
            if not t.flags.c_contiguous:
                own = np.empty(shape, dtype)
                copies.append((t, own))
                t = own
            results.append(t)
        return results, copies, out

    @property
    def source(self) -> str:
        """The generated NumPy source for a batch; of a symbolic network, that of the depth called last."""
        if self.system.layers.value is not None:
            system = self.system
        else:
            with self._lock:
                networks = list(self._networks.values())
            if not networks:
                return "# The depth is symbolic: the code is generated at the first call.\n"
            system = networks[-1].system
        if self._source is None or self._source[0] is not system:
            with without_collection():
                self._source = (system, self._generate(system, True, False, noted=True).source)
        return self._source[1]

    def __repr__(self) -> str:
        return f"<gradient of {self.system.cost} by {', '.join(self.wrt)}; .source shows its code>"


def _place(plan: Plan, n: int) -> str:
    family, place = plan.places[n]
    return f'out["{family}"]' + (f"[{place}]" if place >= 0 else "")


def _comment(
    notes: Mapping[str, tuple[Expr, Expr]], describe: Callable[[Expr], str] | None
) -> Callable[[str], str] | None:
    if describe is None:
        return None
    return lambda name: " = ".join(map(describe, notes[name])) if name in notes else name


# ---------------------------------------------------------------- entry points


def _widths(system: System, last: int) -> tuple[int | None, ...]:
    """Widths for each layer of a system that has one for all."""
    return (system.widths[0],) * (last + 1) if len(system.widths) == 1 else system.widths


def depth_from(system: System, params: Params, layered: Mapping[str, bool]) -> int:
    """The number of the last layer, read off the lists of parameters."""
    lists = {f.name: params.get(f.name) for f in families_of(system, ["parameter"]) if layered[f.name]}
    if not lists:
        raise ModelError("the number of layers is symbolic and no parameter tells it; give the sizes")
    name = next(iter(lists))
    arrays = _list_of(system, params, name, -1, True)
    for last in range(max(len(arrays) - 1, 0), len(arrays) + 2):
        concrete = instantiate(system, _widths(system, last))
        if len(arrays) and len(positions(concrete, concrete.families[name])) == len(arrays):
            return last
    raise ShapeError(f"params[{name!r}] has {len(arrays)} arrays, expected one for each layer, at least one")


def widths_of(system: System, params: Params, x: Array | None = None) -> tuple[int | None, ...]:
    """n_0, ..., n_L, as the arrays have them; None where no array tells.

    Raises:
        ShapeError: The parameters do not have the structure of the system.
    """
    layered = {f.name: any(a.kind == "recursion" for a in f.axes) for f in system.families.values()}
    last = system.layers.value
    last = depth_from(system, params, layered) if last is None else last
    concrete = instantiate(system, _widths(system, last)) if system.layers.value is None else system
    out: list[int | None] = list(concrete.widths) if len(concrete.widths) == last + 1 else [None] * (last + 1)
    for f in families_of(concrete, ["parameter", "input"]):
        places = positions(concrete, f)
        if f.kind == "input":
            arrays = [x] if x is not None else []
        else:
            arrays = _list_of(concrete, params, f.name, len(places), layered[f.name])
        for position, a in zip(places, arrays, strict=False):
            numbers = iter(position)
            env = {n: next(numbers) for n, axis in zip(f.indices, f.axes, strict=True) if axis.kind == "recursion"}
            nodes = [axis for axis in f.axes if axis.kind == "node"]
            for axis, n in zip(nodes[::-1], np.shape(a)[::-1], strict=False):
                layer = axis.at.evaluate(env) if axis.at is not None else None
                if layer is not None and 0 <= layer <= last and out[layer] is None:
                    out[layer] = n
    return tuple(out)


def find_backend(name: str) -> str:
    """A backend by name; `auto` is the fastest that is there.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name == "auto":
        return BACKENDS[0]
    if name not in BACKENDS:
        raise UnknownNameError(f"no backend is called {name!r}{nearest(str(name), (*BACKENDS, 'auto'))}")
    return name


def compile_gradient(
    system: System,
    adjoints: Sequence[AdjointLike],
    backend: str = "numpy",
    wrt: str | Iterable[str] | None = None,
    of: str | None = None,
    given: Iterable[str] = (),
    describe: Callable[[Expr], str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> GradientFunction | ModelGradient:
    """Compile the gradient of the cost into a function of arrays.

    A layered network, whose sizes depend on the layer, gives `f(params, x, y)`; any other model gives
    `f(**arrays)`, arrays by name.

    Args:
        system: Its depth and widths are numbers, or symbolic: then they are read off the arrays at each call.
            A model without a cost has been given one by `network.with_upstream`.
        adjoints: The backward pass, from `symbackprop.derive.adjoints(system)`.
        wrt: Families to differentiate by, by name; None: all parameters.
        of: The scalar that is differentiated; None: the cost.
        given: Derived families whose values the caller already has and passes as `given=`.
        describe: Writes an expression as text, for the comments in the source and for the docstring.
        sizes: Sizes and other integers that no array tells, by name; for models that are not layered.

    Raises:
        ModelError: A generic function without a definition, or an equation that cannot be lowered.
        UnknownFamilyError: `wrt` or `given` names no family of the system.
        UnknownNameError: No backend of that name.
    """
    find_backend(backend)
    if of is not None and of not in (system.cost, *(system.mean or ())[:1]):
        raise ModelError(f"of={of!r}: only the cost {system.cost} can be differentiated here")
    if not is_layered(system):
        return model_gradient(system, adjoints, wrt, given, sizes, describe)
    if wrt is None:
        wanted = tuple(f.name for f in families_of(system, ["parameter"]))
        if not wanted:
            raise ModelError("the network has no parameters; say what to differentiate by, such as wrt='x'")
    else:
        wanted = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    check_families(system, wanted, "wrt")
    for name in wanted:
        if system.families[name].kind in ("target", "cost"):
            raise ModelError(f"wrt={name!r}: a {system.families[name].kind} is not differentiated by")
    known = (given,) if isinstance(given, str) else tuple(given)
    check_families(system, known, "given")
    for kind in ("input", "target"):
        if len(found := families_of(system, [kind])) > 1:
            raise ModelError(
                f"the network has {len(found)} {kind} families ({', '.join(f.name for f in found)}), expected one"
            )
    return GradientFunction(system, adjoints, wanted, known, describe)


class Forward(Caller):
    """Every derived quantity of a system from its parameters and inputs."""

    def __init__(self, system: System) -> None:
        derived = tuple(f.name for f in families_of(system, ["derived"]))
        super().__init__(system, derived, (), targets=False)

    def _build(self, system: System, batched: bool, value: bool) -> Emitted:
        return emit(lower_forward(system, batched=batched))

    def __call__(self, params: Params, x: Array | None = None) -> dict[str, Any]:
        arrays, plan = self._planned(params, (x,) if self._data else (), None, False)
        results = [np.empty(s, plan.dtype) for s in plan.results]
        plan.code.run(*plan.arguments(arrays, results))
        out = self._assemble(results, plan.places)
        name = output_family(self.system)
        if name is not None:
            out["output"] = out[name][-1] if self._layered[name] else out[name]
        return out


def output_family(system: System) -> str | None:
    """The derived family that the cost is computed from, if it is one."""
    rhs = next((e.rhs for e in system.equations if e.lhs.family == system.cost), None)
    found = sorted(f for f in families(rhs) if system.families[f].kind == "derived") if rhs is not None else []
    return found[0] if len(found) == 1 else None


_forward: OrderedDict[System, Forward | ModelForward] = OrderedDict()
_forward_lock = threading.Lock()


def forward(system: System, params: Params, x: Array | None = None) -> dict[str, Any]:
    """Every z and a of a network by name: `{"z": [z_1, ..., z_L], "a": [a_0, ..., a_L], "output": a_L}`.

    For a model that is not layered: every derived quantity by name, from a dict of arrays by name.

    Raises:
        ShapeError, DTypeError: As for a gradient.
    """
    with _forward_lock:
        function = _forward.get(system)
        if function is None:
            function = _forward[system] = Forward(system) if is_layered(system) else ModelForward(system)
            while len(_forward) > 32:
                _forward.popitem(last=False)
    if isinstance(function, ModelForward):
        return function(params if x is None else {**params, "x": x})
    return function(params, x)
