"""Calls someone's function: hands over arrays of the kind it takes, and finds the gradients in what it returns."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from symbackprop.codecheck.cases import Case, Leaf
from symbackprop.errors import FunctionError, UnknownNameError

Array: TypeAlias = Any
Arrays: TypeAlias = dict[Leaf, Array]


class Unusable(Exception):
    """A result without the structure that was expected; the message says what was found."""


def adapter(array: Any) -> Callable[[Array], Any]:
    """What turns a NumPy array into an array of the function's own kind.

    Raises:
        UnknownNameError: `array` is no such kind.
        FunctionError: The library is not installed.
    """
    if array is None or array == "numpy":
        return lambda a: a
    if callable(array):
        return array  # type: ignore[no-any-return]
    if array not in ("torch", "jax"):
        raise UnknownNameError(f"array={array!r}, expected 'numpy', 'torch', 'jax' or a function of a NumPy array")
    try:
        if array == "torch":
            import torch  # type: ignore[import-not-found, unused-ignore]

            return lambda a: torch.as_tensor(a)
        import jax.numpy  # type: ignore[import-not-found, unused-ignore]

        return lambda a: jax.numpy.asarray(a)
    except ImportError:
        raise FunctionError(f"array={array!r} needs {array}, which is not installed") from None


def as_numpy(x: Any) -> Array:
    """A result as a NumPy array: a NumPy array itself, a tensor, whatever has __array__, a number."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach"):
        x = x.detach()
    if hasattr(x, "cpu"):
        x = x.cpu()
    if str(getattr(x, "dtype", "")).endswith("bfloat16") and hasattr(x, "float"):
        x = x.float()
    return np.asarray(x.numpy() if hasattr(x, "numpy") and not hasattr(x, "__array__") else x)


def is_array(x: Any) -> bool:
    return hasattr(x, "__array__") or hasattr(x, "shape") or isinstance(x, int | float | complex)


def mapped(x: Any, f: Callable[[Any], Any]) -> Any:
    """A structure of dicts and lists with each array replaced."""
    if isinstance(x, Mapping):
        return {k: mapped(v, f) for k, v in x.items()}
    return [mapped(v, f) for v in x] if isinstance(x, list | tuple) else f(x)


def flat(x: Any, name: str = "") -> list[tuple[str, Any]]:
    """Every array of a structure with its place: params['w'][1]."""
    if isinstance(x, Mapping):
        return [p for k, v in x.items() for p in flat(v, f"{name}[{k!r}]" if name else str(k))]
    if isinstance(x, list | tuple):
        return [p for k, v in enumerate(x) for p in flat(v, f"{name}[{k}]")]
    return [(name, x)]


@dataclass(frozen=True)
class Manner:
    """How a function is called.

    Args:
        single: With one sample at a time instead of a batch.
        bare: With the gradient from outside as an array instead of a dict by output.
        takes: The names of its keyword parameters; None where it takes any.
    """

    single: bool = False
    bare: bool = False
    takes: frozenset[str] | None = None


def takes(function: Any) -> frozenset[str] | None:
    """The names of the parameters that a function can be given by keyword; None: any."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    return frozenset(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


@dataclass(frozen=True)
class Called:
    """What came of one call.

    Args:
        result: What was returned; None where the function raised.
        error: The exception, in words.
        given: The arguments, by name.
        changed: The names of inputs that were changed in place.
        after: The inputs after the call, as NumPy arrays, by name.
    """

    result: Any
    error: str
    given: Mapping[str, Any]
    changed: tuple[str, ...]
    after: Mapping[str, Array]


def arguments(
    case: Case, manner: Manner, layered: bool, dtype: Any, to: Callable[[Array], Any], sample: int = 0
) -> dict[str, Any]:
    """Fresh copies of the arguments of one call, by name."""

    def fresh(a: Array) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        floating = a.dtype.kind == "f"
        return to(np.array(a, dtype if floating else a.dtype, order="C"))

    if not layered:
        out: dict[str, Any] = {n: mapped(a, fresh) for n, a in case.arrays.items()}
        if case.upstream:
            up = {n: fresh(a) for n, a in case.upstream.items() if np.any(a)}
            out["upstream"] = next(iter(up.values())) if manner.bare else up
        extra = {n: v for n, v in case.numbers.items() if n in case.system.integers}
        out |= {n: v for n, v in extra.items() if manner.takes is not None and n in manner.takes}
        if manner.takes is not None:  # a scalar that it does not take is a constant of its own
            out = {n: v for n, v in out.items() if n in manner.takes or not isinstance(v, float)}
    else:
        data = {n: a[sample] if manner.single else a for n, a in case.arrays.items() if n != "params"}
        out = {"params": mapped(case.arrays["params"], fresh), **{n: fresh(a) for n, a in data.items()}}
    out |= {n: f for n, f in case.functions.items() if manner.takes is not None and n in manner.takes}
    return out


def invoke(function: Callable[..., Any], given: dict[str, Any], layered: bool, generic: Sequence[str]) -> Called:
    """One call; nothing that the function raises goes through.

    What it raises may be anything: only what ends the process or an interruption from the keyboard goes on.
    """
    before = [(n, copy.deepcopy(as_numpy(a))) for n, a in flat(given) if is_array(a)]
    positional = [v for n, v in given.items() if n not in generic] if layered else []
    named = {n: v for n, v in given.items() if not layered or n in generic}
    error, result = "", None
    try:
        result = function(*positional, **named)
    except Exception as e:
        error = f"{type(e).__name__}: {str(e).strip() or 'no message'}".replace("\n", " ")[:300]
    after = {n: as_numpy(a) for n, a in flat(given) if is_array(a)}
    changed = tuple(
        n
        for n, a in before
        if a.shape != after[n].shape or not np.array_equal(a, after[n], equal_nan=a.dtype.kind == "f")
    )
    return Called(result, error, given, changed, after)


def sizes_of(given: Mapping[str, Any]) -> str:
    """The shapes of the arguments, for a message."""
    found = [f"{n} {np.shape(as_numpy(a))}" for n, a in flat(given) if is_array(a) and not isinstance(a, float | int)]
    return ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")


# ---------------------------------------------------------------- what it returns


def collect(result: Any, leaves: Sequence[Leaf], ranks: Mapping[Leaf, int]) -> Arrays:
    """The gradients in a result.

    Accepted are a dict by family as `net.gradient()` returns it, the same as nested or flat lists or tuples, a dict
    with other usual names (dw, grad_w, w1), one array where there is one, and a pair (cost, gradients) of these.

    Raises:
        Unusable: None of these fits.
    """
    for candidate in alternatives(result):
        found = as_dict(candidate, leaves) if isinstance(candidate, Mapping) else as_list(candidate, leaves, ranks)
        if found is not None:
            return {leaf: converted(leaf, a) for leaf, a in found.items()}
    raise Unusable(f"it returned {what(result)}, expected {wanted(leaves)}")


def alternatives(result: Any) -> list[Any]:
    """The result, or what stands second in a pair with a cost or the outputs in front."""
    if hasattr(result, "_asdict"):
        result = result._asdict()
    pair = isinstance(result, tuple | list) and len(result) == 2
    if pair and (
        isinstance(result[1], Mapping)
        or (is_array(result[0]) and np.size(as_numpy(result[0])) == 1 and not is_array(result[1]))
    ):
        return [result[1], result]
    return [result, result[1]] if pair else [result]


def converted(leaf: Leaf, a: Any) -> Array:
    try:
        out = as_numpy(a)
    except Exception as e:
        raise Unusable(f"{leaf.name} is {what(a)}, which is no array ({type(e).__name__})") from None
    if out.dtype.kind not in "fiubc":
        raise Unusable(f"{leaf.name} is {what(a)} of dtype {out.dtype}, expected numbers")
    return out


def usual(name: str) -> str:
    """A name without what people put before or behind it."""
    out = str(name).strip().lower().removesuffix("_grad").removeprefix("grad_").removeprefix("nabla_")
    return out.removeprefix("d_") if out.startswith("d_") else out


def keyed(d: Mapping[Any, Any], family: str) -> Any:
    """What a dict holds for a family: by its name, else by a usual variant of it."""
    if family in d:
        return d[family]
    fits = [k for k in d if usual(k) in (family.lower(), "d" + family.lower())]
    return d[fits[0]] if len(fits) == 1 else None


def as_dict(d: Mapping[Any, Any], leaves: Sequence[Leaf]) -> dict[Leaf, Any] | None:
    out: dict[Leaf, Any] = {}
    for leaf in leaves:
        whole = keyed(d, leaf.family)
        if leaf.place is None:
            out[leaf] = whole
            continue
        if isinstance(whole, Mapping):
            whole = list(whole.values())
        same = [x for x in leaves if x.family == leaf.family]
        if whole is not None:
            if is_array(whole) and len(same) == 1 and np.ndim(as_numpy(whole)) and leaf.place == 0:
                out[leaf] = whole
                continue
            if len(whole) != len(same):
                raise Unusable(f"grads[{leaf.family!r}] has {len(whole)} entries, expected {len(same)}")
            out[leaf] = whole[leaf.place]
            continue
        number = leaf.at[0] if leaf.at else leaf.place + 1
        named = [keyed(d, leaf.family + s) for s in (f"{number}", f"_{number}", f"^{number}", f"^({number})")]
        out[leaf] = next((a for a in named if a is not None), None)
    if any(a is None for a in out.values()):
        absent = next(leaf for leaf, a in out.items() if a is None)
        raise Unusable(f"it returned {what(d)}, in which {absent.name} is missing; expected {wanted(leaves)}")
    return out


def as_list(x: Any, leaves: Sequence[Leaf], ranks: Mapping[Leaf, int]) -> dict[Leaf, Any] | None:
    if is_array(x):
        if len(leaves) == 1:
            return {leaves[0]: x}
        if not isinstance(x, np.ndarray) or x.dtype != object:
            return None
    if not isinstance(x, list | tuple | np.ndarray):
        return None
    entries = list(x)
    families = list(dict.fromkeys(leaf.family for leaf in leaves))
    lists = {f: [leaf for leaf in leaves if leaf.family == f] for f in families}
    if len(entries) == len(families) and len(leaves) > len(families) and not any(is_array(e) for e in entries):
        if all(len(e) == len(lists[f]) for f, e in zip(families, entries, strict=True)):
            nested = {
                leaf: a for f, e in zip(families, entries, strict=True) for leaf, a in zip(lists[f], e, strict=True)
            }
            if fits(nested, ranks):
                return nested
    by_layer = [
        leaf for layer in range(max(map(len, lists.values()))) for f in families for leaf in lists[f][layer : layer + 1]
    ]
    unrolled = [a for e in entries for a in ([e] if is_array(e) else list(e) if isinstance(e, list | tuple) else [e])]
    if len(unrolled) != len(leaves) or not all(is_array(a) for a in unrolled):
        return None
    orders = [dict(zip(order, unrolled, strict=True)) for order in (leaves, by_layer)]
    return next((o for o in orders if fits(o, ranks)), orders[0])


def fits(found: Mapping[Leaf, Any], ranks: Mapping[Leaf, int]) -> bool:
    return all(is_array(a) and np.ndim(as_numpy(a)) == ranks[leaf] for leaf, a in found.items())


def wanted(leaves: Sequence[Leaf]) -> str:
    """The structure that is expected, in words."""
    families = list(dict.fromkeys(leaf.family for leaf in leaves))
    lists = {f: sum(leaf.family == f and leaf.place is not None for leaf in leaves) for f in families}
    inside = ", ".join(f"{f!r}: " + (f"{lists[f]} arrays in a list" if lists[f] else "array") for f in families[:6])
    return "a dict {" + inside + (", ..." if len(families) > 6 else "") + "}, or the same arrays in a list or tuple"


def what(x: Any) -> str:
    """What was found, in a few words."""
    if x is None:
        return "None"
    if isinstance(x, Mapping):
        keys = ", ".join(repr(k) for k in list(x)[:6])
        return f"a dict with the keys {keys}" if x else "an empty dict"
    if isinstance(x, list | tuple):
        return f"a {type(x).__name__} of {len(x)}"
    if is_array(x) and not isinstance(x, int | float):
        return f"one {type(x).__name__} of shape {tuple(np.shape(as_numpy(x)))}"
    return f"a {type(x).__name__}"
