"""Jacobians, Hessians and their products as functions of arrays, composed of derived gradients.

A row of a Jacobian is the gradient of one entry, a column the gradient of J v by what comes from outside; both are
gradients of a model that was derived (`further`). Nothing is differentiated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from symbackprop.compile.extents import size_name, solve, span
from symbackprop.compile.gradient import GradientFunction
from symbackprop.compile.lower import AdjointLike, families_of
from symbackprop.compile.model import ModelGradient
from symbackprop.compile.program import Array
from symbackprop.errors import ModelError, ShapeError
from symbackprop.indices import Affine, Axis
from symbackprop.network import System
from symbackprop.symbols import Ref, families

Named = Mapping[str, Any]


def needed(system: System, wrt: Sequence[str]) -> System:
    """The model without what its cost does not depend on, so that nobody has to give arrays for that.

    A gradient from outside that is differentiated by is a quantity like any other here.
    """
    keep, todo = {system.cost, *wrt}, [system.cost, *wrt]
    while todo:
        name = todo.pop()
        for e in system.equations:
            if e.lhs.family == name:
                new = families(e.rhs) - keep
                keep |= new
                todo += new
    return replace(
        system,
        families={n: f for n, f in system.families.items() if n in keep},
        equations=tuple(e for e in system.equations if e.lhs.family in keep),
        facts=tuple(f for f in system.facts if families(f.lhs) <= keep),
        upstream={n: b for n, b in system.upstream.items() if n in keep and b in keep and b not in wrt},
        gradients={n: of for n, of in system.gradients.items() if n in keep and set(of) <= keep},
        mean=None,
        spec="",
    )


class NamedGradient:
    """The gradient of a model's cost by some families, all arrays by name, whatever the kind of the model.

    Args:
        system: Without what its cost does not need (`needed`).
        layered: Whether the arrays are those of a layered network: lists of arrays, samples in front. Then the
            gradient is that of the mean over the samples.
    """

    def __init__(
        self,
        system: System,
        adjoints: Sequence[AdjointLike],
        wrt: Sequence[str],
        sizes: Mapping[str, int] | None = None,
        *,
        layered: bool,
    ) -> None:
        self.system, self.wrt, self.layered = system, tuple(wrt), layered
        self.sizes = {**system.sizes, **(sizes or {})}
        self.layered_function = GradientFunction(system, adjoints, self.wrt) if layered else None
        self.function = None if layered else ModelGradient(system, adjoints, self.wrt, (), self.sizes)

    def __call__(self, arrays: Named) -> dict[str, Any]:
        if self.layered_function is not None:
            return self.layered_function.by_name(arrays)
        assert self.function is not None
        return self.function({n: a for n, a in arrays.items() if self.takes(n)})

    def takes(self, name: str) -> bool:
        """Whether an array is one of this model: a family of it, an integer, or first entries such as h_0."""
        s = self.system
        return name in s.families or name in s.constants or name.rstrip("_").rpartition("_")[0] in s.families

    @property
    def source(self) -> str:
        return str((self.layered_function or self.function).source)  # type: ignore[union-attr]


def by_name(system: System, layered: bool, params: Named | None, data: Sequence[Any], more: Named) -> dict[str, Any]:
    """All arrays of a call by family: those of `f(params, x, y)` too."""
    if params is not None and not isinstance(params, Mapping):
        raise ShapeError(f"the arrays are a {type(params).__name__}, expected a dict of arrays by name")
    named = {**(params or {}), **more}
    names = [f.name for kind in ("input", "target") for f in families_of(system, [kind])] if layered else []
    names = [n for n in names if n not in system.upstream.values()]
    if len(data) > len(names):
        raise ShapeError(f"{len(data)} arrays after the parameters, expected at most {len(names)}: {', '.join(names)}")
    return named | {n: a for n, a in zip(names, data, strict=False) if a is not None}


@dataclass(frozen=True)
class Block:
    """The entries of one quantity: of its family's arrays those with the indices that it fixes.

    Args:
        ref: Such as w_jk^(2); a letter is a whole axis.
    """

    ref: Ref
    system: System

    @property
    def free(self) -> tuple[int, ...]:
        """The axes that are not fixed."""
        return tuple(n for n, i in enumerate(self.ref.indices) if i.names - self.system.constants)

    def count(self, numbers: Mapping[str, int]) -> int:
        return prod(self.shape(numbers))

    def shape(self, numbers: Mapping[str, int]) -> tuple[int, ...]:
        axes = self.system.axes(self.ref)
        return tuple(self.size(n, axes[n], numbers) for n in self.free)

    def size(self, place: int, axis: Axis, numbers: Mapping[str, int]) -> int:
        family = self.system.families[self.ref.family]
        if axis.kind == "recursion":
            if self.ragged:
                raise ModelError(f"{family.name} differs in shape from layer to layer; name the layer by its number")
            return len(span(family, place, numbers))
        if axis.at is not None:
            layer = axis.at.substitute({n: Affine((), v) for n, v in numbers.items()}).value
            width = self.system.widths[layer] if layer is not None and layer < len(self.system.widths) else None
            if width is None:
                raise ModelError(
                    f"the widths must be numbers for this, as in dense([3, 4, 2]); that of {axis.at} is not"
                )
            return width
        return size_name(axis).evaluate(numbers)

    @property
    def ragged(self) -> bool:
        return any(a.at is not None for a in self.system.families[self.ref.family].axes)

    def of(self, gradient: Any, numbers: Mapping[str, int], lead: int = 0) -> Array:
        """These entries of an array of the family, or of a list with one for each layer, behind `lead` other axes."""
        family = self.system.families[self.ref.family]
        places: list[Any] = [slice(None)] * lead
        for n, (axis, i) in enumerate(zip(family.axes, self.ref.indices, strict=True)):
            if n in self.free:
                if isinstance(gradient, list):
                    if axis.kind == "recursion":
                        raise ModelError(f"{family.name} differs in shape from layer to layer; name the layer")
                places.append(slice(None))
                continue
            at = i.evaluate(numbers)
            if axis.kind == "recursion":
                r = span(family, n, numbers)
                if isinstance(gradient, list):
                    # Lists begin where there is something to differentiate by: a_0 is the input.
                    gradient = gradient[at - (r.stop - len(gradient))]
                    continue
                at -= r.stop - gradient.shape[len(places)]
            places.append(at)
        found: Array = np.asarray(gradient)[tuple(places)]
        return found


def units(shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Every place in an array of that shape, and the array that is 1 there and 0 elsewhere."""
    for place in product(*map(range, shape)):
        e = np.zeros(tuple(shape))
        e[place] = 1.0
        yield place, e


def dtype_of(named: Named) -> np.dtype[Any]:
    """The dtype of the caller's arrays."""
    flat = (a for v in named.values() for a in (v if isinstance(v, list | tuple) else [v]))
    return next((a.dtype for a in flat if isinstance(a, np.ndarray) and a.dtype.kind == "f"), np.dtype(float))


@dataclass(frozen=True)
class Rows:
    """A Jacobian by its rows: the gradient of one entry of a quantity after another, or the same with the roles changed.

    Args:
        gradient: Of the inner product of the quantity `above` with the family `bar`, by the family of `below`.
        turned: Whether the caller's matrix is the transpose (of a Hessian, which is symmetric).
    """

    gradient: NamedGradient
    above: Block
    below: Block
    bar: str
    turned: bool = False

    def __call__(self, named: Named, numbers: Mapping[str, int], samples: int | None, mean: bool) -> Array:
        """The array.

        Args:
            samples: Of a batch, whose data has an axis in front.
            mean: Whether the mean over them is wanted, or else an axis for them in front.
        """
        shape, dtype = self.above.shape(numbers), dtype_of(named)
        lead = () if samples is None or mean else (samples,)
        rows: list[Array] = []
        for _, e in units(shape):
            bar = e.astype(dtype) if samples is None else np.broadcast_to(e.astype(dtype), (samples, *shape)).copy()
            found = self.gradient({**named, self.bar: bar})[self.below.ref.family]
            row = self.below.of(found, numbers, len(lead))
            rows.append(row * len(bar) if lead else row)  # the gradient is that of the mean
        whole = np.stack(rows, axis=len(lead))
        whole = whole.reshape(*lead, *shape, *whole.shape[1 + len(lead) :])
        if not self.turned:
            return whole
        n = len(lead)
        order = [*range(n), *range(n + len(shape), whole.ndim), *range(n, n + len(shape))]
        return np.ascontiguousarray(whole.transpose(order))


@dataclass(frozen=True)
class Columns:
    """A Jacobian by its columns: the gradient of J v by what comes from outside, for one unit direction after another.

    Args:
        gradient: Of the inner product of dC/d(below) with the family `direction`, by the family `bar`.
    """

    gradient: NamedGradient
    above: Block
    below: Block
    bar: str
    direction: str

    def __call__(self, named: Named, numbers: Mapping[str, int], samples: int | None, mean: bool) -> Array:
        """The array; there are no batches here."""
        below, above, dtype = self.below.shape(numbers), self.above.shape(numbers), dtype_of(named)
        family = self.below.system.families[self.below.ref.family]
        whole = Block(family.pattern, self.below.system).shape(numbers)
        # The inner product is linear in what comes from outside, so its gradient by that does not depend on it.
        zeros = np.zeros(above, dtype)
        columns: list[Array] = []
        for _, e in units(below):
            direction = np.zeros(whole, dtype)
            self.below.of(direction, numbers)[...] = e
            columns.append(self.gradient({**named, self.bar: zeros, self.direction: direction})[self.bar])
        array = np.stack(columns, axis=-1)
        return array.reshape(*above, *below)


def numbers_of(system: System, named: Named, sizes: Mapping[str, int], layered: bool) -> dict[str, int]:
    """A number for every size of the model; of a layered network those of its widths are looked up where they stand."""
    if layered:
        last = system.layers.value
        if last is None:
            raise ModelError("the depth must be a number for this, as in dense([3, 4, 2])")
        return dict(sizes)
    given = {n: int(a) for n, a in named.items() if n in system.constants}
    shapes = {n: np.shape(a) for n, a in named.items() if n in system.families}
    return solve(system, shapes, {**sizes, **given})


def samples_of(system: System, named: Named, layered: bool) -> int | None:
    """How many samples a batch for a layered network has; None where there is one sample."""
    if not layered:
        return None
    for f in families_of(system, ["input", "target"]):
        a = named.get(f.name)
        if isinstance(a, np.ndarray) and a.ndim == len(f.axes) + 1:
            return len(a)
    return None


def one_sample(system: System, named: Named, n: int) -> dict[str, Any]:
    """The arrays of one sample of a batch."""
    data = {f.name for f in families_of(system, ["input", "target"])}
    return {k: a[n] if k in data else a for k, a in named.items()}


def zeros(block: Block, numbers: Mapping[str, int], named: Named, samples: int | None) -> Array:
    shape = block.shape(numbers)
    return np.zeros(shape if samples is None else (samples, *shape), dtype_of(named))


def stacked(arrays: Iterable[Array]) -> Array:
    """Arrays of one shape, an axis for them in front."""
    return np.stack(list(arrays))


def contiguous(a: Array) -> Array:
    return np.ascontiguousarray(a)
