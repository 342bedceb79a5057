"""What a check says, and on what it rests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["proved", "refuted", "undecided"]


@dataclass(frozen=True)
class StepCheck:
    """One step of a derivation, checked twice: by its rule and by evaluation.

    Args:
        number: Position among the derivation's steps, from 0.
        rule: The rule's name.
        again: Whether the rule, applied anew, gives the step's right side.
        evaluated: At how many points both sides were evaluated.
        left, right: The two sides at the first point where they differ, else empty.
        where: That point, as text.
    """

    number: int
    rule: str
    again: bool
    evaluated: int
    left: str = ""
    right: str = ""
    where: str = ""

    @property
    def verdict(self) -> Outcome:
        if self.left:
            return "refuted"
        return "proved" if self.again and self.evaluated else "undecided"


@dataclass(frozen=True)
class Check:
    """The outcome of checking a derivation.

    Args:
        verdict: `proved`: each rule re-applied and both sides of each step equal on every sample;
            `refuted`: some step's sides differ, or its rule gives something else; `undecided`: no sample could be evaluated.
        steps: One for each step.
        samples: The sample networks: layers, widths and kind of arithmetic, in words.
        seed: What the samples were drawn with.
        arithmetic: `exact rationals`, `integers modulo a prime` or `rigorous intervals`.
        facts: Declared facts that were assumed and hold in every sample.
        reason: Why nothing was decided, where that is so.
    """

    verdict: Outcome
    steps: tuple[StepCheck, ...]
    samples: tuple[str, ...]
    seed: int
    arithmetic: str
    facts: tuple[str, ...] = ()
    reason: str = ""

    def __bool__(self) -> bool:
        return self.verdict == "proved"

    @property
    def points(self) -> int:
        return sum(s.evaluated for s in self.steps)

    def line(self) -> str:
        """The closing line of a rendering."""
        if self.verdict == "refuted":
            bad = next(s for s in self.steps if s.verdict == "refuted" or not s.again)
            shown = (
                f": left {bad.left}, right {bad.right} at {bad.where}"
                if bad.left
                else ": the rule gives another result"
            )
            return f"Check failed at step {bad.number + 1} ({bad.rule}){shown}"
        if self.verdict == "undecided":
            return f"Not checked: {self.reason or 'no sample network could be evaluated'}"
        return (
            f"Checked: {len(self.steps)} steps re-applied by their rules; both sides equal at {self.points} points "
            f"of {len(self.samples)} sample networks ({'; '.join(self.samples)}) in {self.arithmetic}, seed {self.seed}"
            + (f"; assuming {' and '.join(self.facts)}." if self.facts else ".")
        )
