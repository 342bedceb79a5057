"""Why an equation has no matrix form, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from symbackprop.indices import Affine, Constraint, Guard
from symbackprop.matrix.frame import Frame
from symbackprop.matrix.heads import Entry, InSample, indices_of, ready
from symbackprop.matrix.rules import sides_of
from symbackprop.symbols import (
    Compare,
    D,
    Delta,
    Expr,
    Guarded,
    Max,
    Partial,
    Position,
    Prod,
    Ref,
    Sum,
    Vec,
    Winner,
    guard_names,
    walk,
)


def obstacle(subject: Expr, value: Expr, guard: Guard, frame: Frame) -> str | None:
    """The first thing in an equation that no array of two sides, and no sum over a whole axis, can express."""
    everything = [p for e in (subject, value) for _, p in walk(e)]
    for test in (_windows, _numbered, _jacobians, _too_many, _heads, _partial_sums):
        for reason in test(everything, frame):
            return reason
    nodes = {i.name for r, _ in _quantities([subject]) for _, _, i in sides_of(r, frame)}
    ranged = [c for c in guard if c.expr.names & nodes]
    return f"it holds for a part of the entries only, where {_says(ranged)}" if ranged else None


def _quantities(parts: Iterable[Expr]) -> Iterator[tuple[Ref, bool]]:
    """Every quantity, and whether it belongs to one sample of a batch."""
    for p in parts:
        sampled = isinstance(p, InSample)
        inner = p.quantity if isinstance(p, InSample) else p
        ref = inner.bottom if isinstance(inner, Partial) else inner
        if isinstance(ref, Ref):
            yield ref, sampled


def _windows(parts: list[Expr], frame: Frame) -> Iterator[str]:
    for ref, _ in _quantities(parts):
        for _, _, i in sides_of(ref, frame):
            if i.name is None and i.value is None:
                yield (
                    f"{ref.family} is read at index {i}, a window that slides along its axis: "
                    "its entries form no product of whole arrays"
                )


def _numbered(parts: list[Expr], frame: Frame) -> Iterator[str]:
    for ref, _ in _quantities(parts):
        if any(i.value is not None or i.name in frame.system.constants for _, _, i in sides_of(ref, frame)):
            yield f"it speaks of single entries of {ref.family} by their number, and a matrix form is about all of them"


def _jacobians(parts: list[Expr], frame: Frame) -> Iterator[str]:
    for p in parts:
        if isinstance(p, Partial) and (p.top.indices or p.direct):
            yield "the derivative of one array by another has the indices of both"
        if isinstance(p, D):
            yield "a derivative in it is not carried out"


def _too_many(parts: list[Expr], frame: Frame) -> Iterator[str]:
    for ref, sampled in _quantities(parts):
        sides = [str(i) for _, _, i in sides_of(ref, frame)] + (["the sample"] if sampled else [])
        if len(sides) > 2:
            yield f"{ref.family} has {len(sides)} indices ({', '.join(sides)}), and a matrix has two"


def _heads(parts: list[Expr], frame: Frame) -> Iterator[str]:
    for p in parts:
        if isinstance(p, Max | Winner):
            yield "a maximum over an index is no sum of products"
        if isinstance(p, Prod):
            yield "a product over an index is no sum of products"
        if isinstance(p, Compare) and any(isinstance(q, Position) for q in (p.left, p.right)):
            yield "it picks entries by their place on an axis"
        if isinstance(p, Delta) and (p.left.name is None or p.right.name is None):
            yield "it picks an entry by its number"
    batch = any(isinstance(p, InSample) for p in parts)
    if batch and any(isinstance(p, Vec) for p in parts):
        yield "a generic function of the outputs of one sample is no operation on the array of all samples"


def _partial_sums(parts: list[Expr], frame: Frame) -> Iterator[str]:
    for p in parts:
        if isinstance(p, Sum) and p.guard and (frame.is_side(p.axis) or _on_sides(p.guard, parts, frame)):
            yield f"the sum over {p.index} runs over a part of its axis only, where {_says(p.guard)}"
        if isinstance(p, Guarded) and _on_sides(p.guard, parts, frame):
            yield f"a term counts only where {_says(p.guard)}"
        elif isinstance(p, Guarded):
            yield f"a term stands in one range of layers only, where {_says(p.guard)}"


def _on_sides(guard: Guard, parts: list[Expr], frame: Frame) -> bool:
    nodes = {i.name for r, _ in _quantities(parts) for _, _, i in sides_of(r, frame)}
    return bool(guard_names(guard) & nodes)


def _says(guard: Iterable[Constraint]) -> str:
    """Conditions with positive terms alone: j <= i."""
    out = []
    for c in guard:
        right = Affine(tuple((n, k) for n, k in c.expr.terms if k > 0), max(c.expr.const, 0))
        out.append(f"{right - c.expr} {'=' if c.equal else '<='} {right}")
    return " and ".join(out)


def leftover(e: Expr) -> str:
    """Why the rules came to an end before one array was left."""
    for _, p in walk(e):
        if isinstance(p, Sum) and ready_under(p):
            holding = [q for _, q in walk(p.body) if isinstance(q, Entry) and p.index in indices_of(q)]
            return (
                f"index {p.index} links {len(holding)} arrays that have other indices too, so it is no product of two"
            )
    together = sorted(frozenset().union(*(indices_of(p) for _, p in walk(e) if isinstance(p, Entry))))
    if len(together) > 2:
        return f"it has {len(together)} free indices ({', '.join(together)}), and a matrix has two"
    return "its factors share their indices in a way that no product of arrays expresses"


def ready_under(s: Sum) -> bool:
    body: Expr = s.body
    while isinstance(body, Sum):
        body = body.body
    return all(map(ready, body.parts)) if not isinstance(body, Entry) else True
