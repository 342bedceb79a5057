"""Arrays as the emitter sees them: a register through a view, with the steps between its entries; and slices as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from symbackprop.compile.numpy_backend import Arg, Register
from symbackprop.compile.program import Fold
from symbackprop.indices import Affine


@dataclass(frozen=True, slots=True)
class Placed(Arg):
    """A register seen through a view, with the sizes and the steps (in entries) of its axes.

    Args:
        start: The place of its first entry in the register; None where a counter tells.
        head, order: The view without the turning of axes at its end, and that turning.
    """

    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    start: int | None = 0
    head: str = ""
    order: tuple[int, ...] = ()

    def turned(self, order: Sequence[int]) -> Placed:
        """The axes in another order."""
        before, head = tuple(range(len(order))), self.view
        if self.order and self.view == self.head + turning(self.order):
            before, head = self.order, self.head
        whole = tuple(before[n] for n in order)
        return replace(
            self,
            view=head + turning(whole),
            shape=tuple(self.shape[n] for n in order),
            strides=tuple(self.strides[n] for n in order),
            head=head,
            order=whole,
        )


@dataclass(eq=False, slots=True)
class Row(Register):
    """A part of another register: what is written there is stored."""

    parent: Register | None = None
    index: str = ""


def turning(order: tuple[int, ...]) -> str:
    if order == tuple(range(len(order))):
        return ""
    return ".T" if order == (1, 0) else f".transpose({', '.join(map(str, order))})"


def c_strides(shape: Sequence[int]) -> tuple[int, ...]:
    out: list[int] = []
    step = 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def size_of(labels: str, sizes: Mapping[str, int]) -> int:
    out = 1
    for c in labels:
        out *= sizes[c]
    return out


def reach(e: Affine, sizes: Mapping[str, int]) -> tuple[int, int]:
    """The least and the largest value of an index; counters are left out."""
    ends = [k * (sizes[c] - 1) for c, k in e.terms if c in sizes]
    return e.const + sum(min(x, 0) for x in ends), e.const + sum(max(x, 0) for x in ends)


def clip(e: Affine, sizes: Mapping[str, int], n: int) -> bool | None:
    """None where an index never leaves an axis of n positions; what a counter adds is taken to be right."""
    if any(c not in sizes for c, _ in e.terms):
        return None
    low, high = reach(e, sizes)
    return None if low >= 0 and high < n else True


def within(k: int, const: int, n: int, count: int) -> tuple[int, int]:
    """The positions p of 0..count-1 for which 0 <= k p + const < n, as a half-open range."""
    inside = [p for p in range(count) if 0 <= k * p + const < n]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def slice_text(e: Affine, k: int, count: int, n: int) -> str:
    rest = Affine(tuple(t for t in e.terms if len(t[0]) > 1), e.const)
    if not rest.terms:
        first, last = rest.const, rest.const + k * (count - 1)
        if k > 0:
            step = "" if k == 1 else f":{k}"
            return ":" if (first, last, k) == (0, n - 1, 1) else f"{first}:{last + 1}{step}"
        return f"{first}:{last - 1 if last > 0 else ''}:{k}"
    return f"{rest}:{rest + k * (count - 1) + 1}" + ("" if k == 1 else f":{k}")


def trimmed(texts: list[str]) -> list[str]:
    while len(texts) > 1 and texts[-1] == ":":
        texts = texts[:-1]
    return texts


def offsets_of(i: Fold, sizes: Mapping[str, int]) -> list[str]:
    """The labels that are counted out one by one: of those that move along one axis all but the longest."""
    counted: list[str] = []
    for e in i.index:
        own = sorted((c for c, _ in e.terms if c not in counted), key=lambda c: sizes[c])
        counted += own[:-1]
    return counted


def fold_order(i: Fold, counted: Sequence[str]) -> list[str]:
    """The labels that stay slices, by the axis of the result that they move along."""
    return [
        next(c for c, _ in e.terms if c not in counted) for e in i.index if any(c not in counted for c, _ in e.terms)
    ]


def fold_slices(
    i: Fold, at: Mapping[str, int], sizes: Mapping[str, int], whole: Sequence[int]
) -> tuple[tuple[int | slice, ...], tuple[int | slice, ...]] | None:
    """Where in the result, and where in the operand, the entries with these offsets lie; None where nowhere."""
    to: list[int | slice] = []
    source: list[int | slice] = list(at.values())
    for e, n in zip(i.index, whole, strict=True):
        moved = e.substitute({c: Affine((), v) for c, v in at.items()})
        if not moved.terms:
            if not 0 <= moved.const < n:
                return None
            to.append(moved.const)
            continue
        ((c, k),) = moved.terms
        low, high = within(k, moved.const, n, sizes[c])
        if high <= low:
            return None
        first, last = moved.const + k * low, moved.const + k * (high - 1)
        to.append(slice(first, last + 1, k) if k > 0 else slice(first, last - 1 if last > 0 else None, k))
        source.append(slice(low, high))
    return tuple(to), tuple(source)
