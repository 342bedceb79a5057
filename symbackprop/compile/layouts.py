"""How to lay out a sum of products of two arrays as a product of matrices, in batches where axes are shared.

The labels of the result are split into a batch, rows and columns; what is summed is the inner axis. Several
splits are right; which is fastest depends on where the arrays' entries lie, so each is given a cost in
nanoseconds, from rates that were measured once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

COPY = 1.0
"""Nanoseconds to copy an entry."""
MULTIPLY = 0.04
"""Nanoseconds for a multiplication and an addition in a large matrix product."""
CALL = 700.0
"""Nanoseconds for one matrix product besides."""
TURNED = 0.2
"""Nanoseconds for each entry of a result whose axes lie in another order than later steps would like."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An array's labels with the steps between entries, in entries."""

    labels: str
    strides: tuple[int, ...]

    def step(self, label: str) -> int:
        return self.strides[self.labels.index(label)]

    def joins(self, group: str, sizes: Mapping[str, int]) -> bool:
        """Whether axes lie one in the other, so that they can be seen as one axis."""
        own = [c for c in group if sizes[c] > 1]
        return all(self.step(a) == self.step(b) * sizes[b] for a, b in pairwise(own))

    def is_matrix(self, rows: str, columns: str, sizes: Mapping[str, int]) -> bool:
        """Whether BLAS takes it as it is: entries of a row, or of a column, lie side by side."""
        r, c = self.last(rows, sizes), self.last(columns, sizes)
        if r is None or c is None:
            return (r or c or 1) == 1
        m, n = self.extent(rows, sizes), self.extent(columns, sizes)
        return (c == 1 and r >= n) or (r == 1 and c >= m)

    def last(self, group: str, sizes: Mapping[str, int]) -> int | None:
        own = [c for c in group if sizes[c] > 1]
        return self.step(own[-1]) if own else None

    def extent(self, group: str, sizes: Mapping[str, int]) -> int:
        out = 1
        for c in group:
            out *= sizes[c]
        return out


@dataclass(frozen=True, slots=True)
class Layout:
    """One way: the operand with the rows comes first (`swapped`: that is the second)."""

    swapped: int
    batch: str
    rows: str
    inner: str
    columns: str
    cost: float


def ways_to_multiply(a: Seen, b: Seen, result: str, sizes: Mapping[str, int], fixed: bool) -> Iterator[Layout]:
    """The ways to compute sum over inner of a * b with axes `result`; none where it is no matrix product.

    Args:
        fixed: Whether the result has to lie in the order of `result`.
    """
    for swapped, (x, y) in enumerate(((a, b), (b, a))):
        both = "".join(c for c in result if c in x.labels and c in y.labels)
        inner = "".join(c for c in x.labels if c in y.labels and c not in result)
        rows = "".join(c for c in result if c in x.labels and c not in y.labels)
        columns = "".join(c for c in result if c in y.labels and c not in x.labels)
        if (
            not inner
            or (not rows and not columns)
            or len(inner) + len(both) + len(rows) + len(columns) != len(set(x.labels) | set(y.labels))
        ):
            return
        for batch in _batches(both, result):
            own_rows = "".join(c for c in rows if c not in batch)
            own_columns = "".join(c for c in columns if c not in batch)
            for order in _orders(inner, x, y):
                yield _costed(swapped, x, y, batch, own_rows, order, own_columns, result, sizes, fixed)


def _batches(both: str, result: str) -> Iterator[str]:
    """The shared axes; and each beginning of the result that has them all: the others are then broadcast."""
    yield both
    for n in range(1, len(result)):
        if set(both) <= set(result[:n]) and result[:n] != both:
            yield result[:n]


def _orders(inner: str, x: Seen, y: Seen) -> Iterator[str]:
    """Orders of the summed axes: as they lie in either array."""
    found = {"".join(sorted(inner, key=lambda c: -s.step(c))) for s in (x, y)}
    yield from sorted(found) if len(inner) > 1 else found


def _costed(
    swapped: int,
    x: Seen,
    y: Seen,
    batch: str,
    rows: str,
    inner: str,
    columns: str,
    result: str,
    sizes: Mapping[str, int],
    fixed: bool,
) -> Layout:
    rows, columns = _by_step(rows, x, result, fixed), _by_step(columns, y, result, fixed)
    count, m, k, n = (x.extent(g, sizes) for g in (batch, rows, inner, columns))
    cost = count * (CALL * (0.4 if batch else 1) + MULTIPLY * m * k * n * (1 + 6 / m + 6 / n + 6 / k))
    for s, first, second in ((x, rows, inner), (y, inner, columns)):
        if not (s.joins(first, sizes) and s.joins(second, sizes) and s.is_matrix(first, second, sizes)):
            cost += COPY * x.extent(s.labels, sizes) + CALL
    if batch + rows + columns != result:
        cost += (2 * COPY if fixed else TURNED) * count * m * n
    return Layout(swapped, batch, rows, inner, columns, cost)


def _by_step(group: str, s: Seen, result: str, fixed: bool) -> str:
    """Axes in the order in which they lie in the operand, unless the result's order is fixed."""
    return group if fixed else "".join(sorted(group, key=lambda c: -s.step(c)))
