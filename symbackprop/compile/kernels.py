"""Elementary functions on arrays, finite and without overflow at any finite argument, dtype kept.

The reference interpreter calls them; generated modules carry the source of those they need, so each
uses NumPy and nothing else of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def sigmoid(z: Any) -> Any:
    """1/(1 + exp(-z)); exp never sees more than the dtype can hold."""
    z = np.asarray(z)
    return 1 / (1 + np.exp(np.minimum(-z, z.dtype.type(np.log(np.finfo(z.dtype).max) - 1))))


def softplus(z: Any) -> Any:
    """ln(1 + exp(z)) as max(z, 0) + ln(1 + exp(-|z|))."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def erf(x: Any, out: Any = None) -> Any:
    """The error function, to about 2e-16 in float64.

    Up to |x| = 1 it is x S(2x^2 - 1); beyond, 1 - exp(-x^2) B(s) / (|x| + 1/2) with s in [-1, 1] linear in
    (|x| - 15/4) / (|x| + 15/4), up to |x| = 6, from where erf rounds to 1. S and B are the Chebyshev
    interpolants at 16 and 22 nodes, computed with mpmath at 50 digits, cut after 12 and 18 terms (the next
    is below 1e-17) and written as polynomials; benchmarks and tests compare them with other erfs.
    """
    x = np.asarray(x)
    u = np.minimum(np.abs(x), 6)
    small, large = (
        2 * np.minimum(u, 1) ** 2 - 1,
        (2 * (u - 3.75) / (u + 3.75) + 0.3481781376518219) / 0.8097165991902834,
    )
    s, b = np.full_like(u, -3.80659122412214e-13), np.full_like(u, 6.091856895511612e-14)
    for c in (
        *(9.21125018742823e-12, -2.035231956483527e-10, 4.115751500265885e-09, -7.51156925108609e-08),
        *(1.2233827638093572e-06, -1.75371694412802e-05, 0.00021751715603563488, -0.0022854855611440855),
        *(0.019852496688984218, -0.1405360890227171, 0.9654687386698673),
    ):
        s *= small
        s += c
    for c in (
        *(1.7998573738102272e-13, -3.1974948227575864e-12, -4.812223896350638e-12, 1.657854970389099e-10),
        *(-2.4618818696430403e-10, -7.797649971070507e-09, 5.378599557094896e-08, 1.0503240610381524e-07),
        *(-4.268134968984337e-06, 3.8842414936283383e-05, -0.0002250868800336835, 0.0009502818120960525),
        *(-0.0029785545873166116, 0.006410885886765223, -0.005323151425357032, -0.026563944276308215),
        0.6307425349611061,
    ):
        b *= large
        b += c
    beyond = np.copysign(1 - np.exp(-u * u) * b / (u + 0.5), x)
    result = np.where(u <= 1, x * s, beyond)
    if out is None:
        return result
    out[...] = result
    return out


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "erf": erf,
    "sigmoid": sigmoid,
    "softplus": softplus,
}


# ---------------------------------------------------------------- whole arrays


def windows(a: Any, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """A view of an array without gaps, by the place of its first entry and steps in entries."""
    flat = a.reshape(-1)
    return np.lib.stride_tricks.as_strided(flat[start:], shape, [s * a.itemsize for s in strides])


def folded(a: Any, pairs: Sequence[tuple[Any, Any]], out: Any) -> None:
    """The parts of `a` added up, each at its place in `out`."""
    out.fill(0)
    for to, source in pairs:
        part = out[to]
        np.add(part, a[source], part)


def taken_together(f: Any, a: Any, axes: int, out: Any) -> None:
    """A reduction over the first axes, which are short, slice by slice."""
    first, *others = np.ndindex(a.shape[:axes])
    np.copyto(out, a[first])
    for n in others:
        f(out, a[n], out=out)


def winners(a: Any, axis: int, out: Any) -> None:
    """1 at the first largest entry along an axis, 0 elsewhere."""
    count = a.shape[axis]
    if count > 32:
        out.fill(0)
        np.put_along_axis(out, np.expand_dims(np.argmax(a, axis), axis), 1, axis)
        return
    a, out = np.moveaxis(a, axis, 0), np.moveaxis(out, axis, 0)
    best, place = np.array(a[0]), np.zeros(a.shape[1:], np.int8)
    for k in range(1, count):
        np.copyto(place, k, where=a[k] > best)
        np.maximum(best, a[k], out=best)
    for k in range(count):
        out[k] = place == k


def scattered(a: Any, positions: Any, offsets: Any, count: int, out: Any) -> None:
    """The rows of `a` added up where positions are equal; `offsets` tell blocks of `out` apart.

    Before NumPy 2, whose np.add.at is slow, rows are sorted by position and each run is summed at once.
    """
    out.fill(0)
    if not a.size:
        return
    rows = a.reshape(count, -1)
    place = (positions + offsets).reshape(-1)
    flat = out.reshape(-1, rows.shape[1])
    if rows.shape[1] == 1:
        flat[:, 0] = np.bincount(place, rows[:, 0], len(flat))
        return
    if _FAST_ADD_AT:
        np.add.at(flat, place, rows)
        return
    order = np.argsort(place, kind="stable")
    place = place[order]
    starts = np.flatnonzero(np.concatenate(([True], place[1:] != place[:-1])))
    flat[place[starts]] = np.add.reduceat(rows[order], starts, axis=0)


_FAST_ADD_AT = int(np.__version__.partition(".")[0]) >= 2


def _vecdot(a: Any, b: Any, out: Any) -> Any:
    """For NumPy before 2.0, which has no vecdot."""
    return np.einsum("...i,...i->...", a, b, out=out)


ARRAY_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "windows": windows,
    "folded": folded,
    "taken_together": taken_together,
    "winners": winners,
    "scattered": scattered,
    "vecdot": getattr(np, "vecdot", _vecdot),
}
