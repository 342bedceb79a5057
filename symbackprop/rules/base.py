"""What a rule is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

from symbackprop.indices import Guard
from symbackprop.network import System
from symbackprop.symbols import Expr


@cache
def letters_of(system: System) -> frozenset[str]:
    """The names of sizes, strides and families."""
    return system.constants | system.families.keys()


@dataclass(frozen=True)
class Context:
    """What a rule may look at besides the expression.

    Args:
        system: The network.
        assume: Constraints on the free indices: the range of the goal and the case in hand.
        known: Results of earlier sections, by what they are results for.
        taken: Index names that stand on the left of the line, so that no sum may bind them.
        given: Families that the reader has the values of, so that a sum which is one of them gets its name.
    """

    system: System
    assume: Guard = ()
    known: Mapping[Expr, Expr] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()

    @property
    def constraints(self) -> Guard:
        return (*self.system.standing, *self.assume)

    @property
    def letters(self) -> frozenset[str]:
        """Letters that mean something else in this network, so that a new index had better have another."""
        return letters_of(self.system)

    def assuming(self, guard: Guard) -> Context:
        return replace(self, assume=(*self.assume, *guard))

    def knowing(self, known: Mapping[Expr, Expr]) -> Context:
        return replace(self, known={**self.known, **known})


class Apply(Protocol):
    def __call__(self, e: Expr, context: Context, /) -> Expr | None: ...


@dataclass(frozen=True)
class Rule:
    """A named equality.

    Args:
        name: As it stands in the column beside a step.
        statement: The equality in LaTeX.
        source: Where it is proved or defined.
        apply: The right side for a left side it fits; None where it does not apply. It never raises for that.
        trivial: Whether a reader takes it for granted, so that a line which hides it does not name it.
        passing: How a line that passes over it names it; None: by its name, empty: not at all.
        everywhere: Whether it treats all parts of an expression at once, so that the whole is enough to offer it.
    """

    name: str
    statement: str
    source: str
    apply: Apply
    trivial: bool = False
    passing: str | None = None
    everywhere: bool = False

    @property
    def label(self) -> str:
        """Its name in a line that passes over it."""
        return "" if self.trivial else self.name if self.passing is None else self.passing

    @property
    def why(self) -> str:
        """Side conditions and their reasons: the docstring of the function that applies the rule."""
        return (self.apply.__doc__ or "").strip()


RULES: dict[str, Rule] = {}


def rule(
    name: str,
    *,
    statement: str,
    source: str,
    trivial: bool = False,
    passing: str | None = None,
    everywhere: bool = False,
) -> Callable[[Apply], Apply]:
    """Enter a function among the rules; the function stays callable as it is."""

    def enter(f: Apply) -> Apply:
        if name in RULES:
            raise ValueError(f"two rules are called {name!r}")
        RULES[name] = Rule(name, statement, source, f, trivial, passing, everywhere)
        return f

    return enter
