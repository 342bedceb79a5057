"""How the quantities of a model become arrays: which axes are the sides of an array, and how vectors lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Literal, TypeAlias

from symbackprop.errors import UnknownNameError, nearest
from symbackprop.indices import Axis
from symbackprop.network import System

LayoutName: TypeAlias = Literal["column", "row", "batch", "batch-columns"]


@dataclass(frozen=True)
class Layout:
    """A convention for the shapes of arrays. A gradient has the shape of what it is taken by.

    Args:
        name: How it is asked for.
        meaning: What it says, in one phrase.
        vectors: Whether a vector is a column or a row.
        samples: The side that counts samples where a model of one sample is written for a batch; empty: one sample.
    """

    name: str
    meaning: str
    vectors: Literal["column", "row"] = "column"
    samples: Literal["", "rows", "columns"] = ""


LAYOUTS: dict[str, Layout] = {
    x.name: x
    for x in (
        Layout("column", "one sample, vectors are columns"),
        Layout("row", "one sample, vectors are rows", vectors="row"),
        Layout("batch", "a batch, one row for each sample", samples="rows"),
        Layout("batch-columns", "a batch, one column for each sample", samples="columns"),
    )
}


def find_layout(name: str | Layout) -> Layout:
    """A layout by name.

    >>> find_layout("row").vectors
    'row'

    Raises:
        UnknownNameError: There is none of that name.
    """
    if isinstance(name, Layout):
        return name
    try:
        return LAYOUTS[name]
    except KeyError:
        raise UnknownNameError(f"no matrix layout is called {name!r}{nearest(str(name), LAYOUTS)}") from None


@lru_cache(maxsize=64)
def held_axes(system: System) -> frozenset[str]:
    """The axes that are no side of any array: the fewest, leading ones before others, so that two are left everywhere.

    One choice for the whole model, since one letter stands for one array: with batches b and heads h, every array is
    written for each b and h. Empty where no choice of up to three axes leaves two.
    """
    sides = [[a for a in f.axes if a.kind != "recursion"] for f in system.families.values()]
    places: Mapping[str, list[int]] = {}
    places = {a.label: [n for s in sides for n, b in enumerate(s) if b.label == a.label] for s in sides for a in s}
    for count in range(4):
        fitting = [
            chosen
            for chosen in combinations(places, count)
            if all(sum(a.label not in chosen for a in s) <= 2 for s in sides)
        ]
        if fitting:
            return frozenset(min(fitting, key=lambda c: sum(sum(places[x]) / len(places[x]) for x in c)))
    return frozenset()


@dataclass(frozen=True)
class Frame:
    """What a rewriting may look at besides the expression.

    Args:
        system: The model.
        layout: How arrays lie.
        row, column: The indices of the left side that count its rows and its columns; empty for none.
        rows, columns: Their axes.
        held: Labels of the axes that are no side of an array.
    """

    system: System
    layout: Layout
    row: str = ""
    column: str = ""
    held: frozenset[str] = field(default_factory=frozenset)
    rows: Axis | None = None
    columns: Axis | None = None

    def is_side(self, axis: Axis) -> bool:
        return axis.kind != "recursion" and axis.label not in self.held

    def place(self, indices: frozenset[str], natural: tuple[str, str]) -> tuple[str, str]:
        """Which of up to two indices counts rows and which columns: as on the left side, else as the layout has it."""
        if len(indices) == 1:
            (i,) = indices
            return (i, "") if self.layout.vectors == "column" else ("", i)
        return (self.row, self.column) if indices == {self.row, self.column} else natural
