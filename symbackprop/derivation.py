"""What a derivation is: sections of steps, each step one application of one rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from symbackprop.errors import UnknownNameError, nearest
from symbackprop.indices import Guard
from symbackprop.network import System
from symbackprop.rules import RULES, Context
from symbackprop.symbols import Expr, Partial, at, names, replace_at, scope


class Detail(IntEnum):
    """How far the tree is unfolded: the smallest detail at which a step or section shows."""

    BRIEF = 0
    LECTURE = 1
    FULL = 2

    @classmethod
    def named(cls, name: str) -> Detail:
        try:
            return cls[str(name).upper()]
        except KeyError:
            names = [d.name.lower() for d in cls]
            raise UnknownNameError(f"no detail is called {name!r}{nearest(str(name), names)}") from None


@dataclass(frozen=True)
class Step:
    """One application of one rule: `before` with the part at `path` replaced is `after`.

    Args:
        rule: The rule's name.
        level: The smallest detail at which the step has a line of its own.
        uses: The subjects of the sections whose results it substitutes.
        note: What else a reader should see beside it, such as a renamed index.
    """

    rule: str
    before: Expr
    after: Expr
    path: tuple[int, ...] = ()
    level: Detail = Detail.FULL
    uses: tuple[Expr, ...] = ()
    note: str = ""

    def again(self, context: Context) -> bool:
        """Whether the rule, applied anew, gives `after`."""
        inner = context.assuming(scope(self.before, self.path))
        part = RULES[self.rule].apply(at(self.before, self.path), inner)
        return part is not None and replace_at(self.before, self.path, part) == self.after


SectionKind = Literal["definition", "goal", "factor", "upstream", "result", "sum", "update"]


@dataclass(frozen=True)
class Section:
    """`subject` = the `after` of each step in turn, for all free indices in the range `assume`.

    Args:
        kind: What the section is for in the derivation.
        subject: The left side of all its lines.
        steps: In order; the first starts from the subject.
        assume: The range of its free indices.
        case: What singles this section out among its siblings (l = L, l < L), for its heading.
        level: The smallest detail at which it shows.
    """

    kind: SectionKind
    subject: Expr
    steps: tuple[Step, ...]
    assume: Guard = ()
    case: Guard = ()
    known: Mapping[Expr, Expr] = field(default_factory=dict)
    level: Detail = Detail.LECTURE
    recursion: bool = False
    given: frozenset[str] = frozenset()

    @property
    def result(self) -> Expr:
        return self.steps[-1].after if self.steps else self.subject


@dataclass(frozen=True)
class Record:
    """A whole derivation.

    Args:
        system: The network it is about.
        goal: What was asked for.
        sections: In reading order.
        result: The answer, its cases in `cases` where the layer is general.
        named: Families v whose gradient dC/dv keeps its name.
        induction: The recursion over layers that closes the derivation: (base, step) as indices into sections.
    """

    system: System
    goal: Expr
    sections: tuple[Section, ...]
    result: Expr
    named: frozenset[str]
    cases: tuple[tuple[Guard, Expr], ...] = ()
    induction: tuple[int, int] | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(s for sec in self.sections for s in sec.steps)

    @property
    def known(self) -> dict[Expr, Expr]:
        """Every result on the way, by its subject."""
        return {s.subject: s.result for s in self.sections if isinstance(s.subject, Partial) and s.steps}

    def contexts(self) -> Iterator[tuple[Section, Step, Context]]:
        """Each step with the context in which its rule was applied."""
        for sec in self.sections:
            context = Context(self.system, sec.assume, sec.known, names(sec.subject), sec.given)
            for s in sec.steps:
                yield sec, s, context
