r"""The corrections that a teacher would try: every likely slip undone, at every place where it makes sense.

Each has a cost, about the logarithm of how rare the slip is: an index or a factor of 2 costs 1, an unlikely one 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from symbackprop.judge.edits import Candidate
from symbackprop.judge.missing import Missing
from symbackprop.judge.places import Places
from symbackprop.judge.terms import Terms

MOST = 3_000
"""Corrections of one side that are thought of."""


class Corrections(Places, Terms, Missing):
    """All corrections of one side."""

    def all(self, likely: bool) -> list[Candidate]:
        """The likely corrections, or else the others; the likeliest first."""
        found: dict[tuple[tuple[int, int, str], ...], Candidate] = {}
        for c in islice(self.likely() if likely else self.unlikely(), MOST):
            if any(s.text == self.survey.text(s.old) for s in c.swaps):
                continue
            key = tuple(sorted((s.old.place.start, s.old.place.end, s.text) for s in c.swaps))
            if key not in found or found[key].cost > c.cost + self.extra:
                found[key] = replace(c, cost=c.cost + self.extra)
        return sorted(found.values(), key=lambda c: c.cost)

    def likely(self) -> Iterator[Candidate]:
        """One sign, index, layer, factor or slope that differs."""
        yield from self.indices()
        yield from self.transposes()
        yield from self.layer_changes()
        yield from self.variables(near=True)
        if self.left:
            return
        yield from self.signs()
        yield from self.factors()
        yield from self.slopes()
        yield from self.summations()
        yield from self.exponents()
        yield from self.bounds()
        yield from self.too_many()
        yield from self.orders()
        if self.lacking and not self.strays:
            yield from self.missing_factors(self.lacking)

    def unlikely(self) -> Iterator[Candidate]:
        """What has many ways to go wrong: quantities that are missing, or quite others."""
        yield from self.variables(near=False)
        if self.left:
            return
        yield from self.numbers()
        yield from self.missing_factors()
        yield from self.missing_terms()


__all__ = ["Corrections"]
