"""What a caller may give, checked, and how errors name it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.logic.boolalg import BooleanAtom

from symbackprop.errors import ModelError, ModelReadError, ReadError
from symbackprop.read.lexer import Source, Span
from symbackprop.read.syntax import Place
from symbackprop.sympy_bridge import NODE_LIMIT

Sym: TypeAlias = Any  # SymPy has no type stubs: one name for everything that is SymPy's
Named: TypeAlias = Any
"""A family, a size or an index letter, or its name."""


@dataclass(frozen=True)
class Lines(Source):
    """What is stated, a line for each equation and each declaration: an error names them as the author of Python code does.

    Args:
        count: How many of the lines are equations.
    """

    count: int = 0

    def error(self, message: str, span: Span) -> ReadError:
        line = self.place(span.start, span.end).line
        text = self.line(line)
        head = f"equation {line}, {text}" if line <= self.count else text
        return ModelReadError(f"{head}: {self.reworded(message)}", text)

    def line(self, number: int) -> str:
        text = self.text.split("\n")[number - 1]
        return text if len(text) <= 100 else f"{text[:97]}..."

    def reworded(self, message: str) -> str:
        message = re.sub(r"(?<=on )line (\d+)", lambda m: self.named(int(m[1])), message)
        message = re.sub(r"'%\| (\S+) = (\S+?)\.\.(\S+)'", r"ranges={\1: (\2, \3)}", message)
        message = re.sub(r"'%\| cost (\S+)'", r"cost=\1", message)
        return message.replace("on equation", "in equation").replace("of this file", "of this model")

    def named(self, number: int) -> str:
        return f"equation {number}" if number <= self.count else self.line(number)


@dataclass(frozen=True)
class Row:
    """One equation: its sides, the conditions behind it, its line."""

    left: Sym
    right: Sym
    conditions: tuple[Sym, ...]
    place: Place


@dataclass(frozen=True)
class Given:
    """What `read_equations` was called with."""

    equations: Iterable[Any]
    ranges: Mapping[Named, tuple[Any, Any]]
    sizes: Mapping[Named, Any]
    data: Any
    target: Any
    parameters: Any
    places: Mapping[Named, Named]
    shapes: Mapping[Named, Sequence[Named]]
    integers: Any
    zero: Any
    width: Named
    facts: Iterable[Any]
    cost: Named
    meanings: Mapping[Named, str]
    title: str
    source: str

    def roles(self) -> Iterator[tuple[str, str, str]]:
        """Argument, kind and name of each family whose role is declared."""
        given = (("data", "input", self.data), ("target", "target", self.target), ("parameters", "parameter", self.parameters))  # fmt: skip
        return ((word, kind, n) for word, kind, named in given for n in names_of(named))


@dataclass
class Page:
    """Equations and declarations line by line, as errors show them.

    Args:
        where: The line of each declaration, by the argument and the name that it is about.
    """

    rows: list[Row]
    facts: list[Row]
    where: dict[tuple[str, str], Place]
    source: Lines


def page(given: Given) -> Page:
    """What is given, written down.

    Raises:
        ModelError: What is no equation, no quantity on a left side, no range.
    """
    equations = [sides(e, n) for n, e in enumerate(listed(given.equations, "equations"), 1)]
    facts = [sides(e, n, "fact") for n, e in enumerate(listed(given.facts, "facts"), 1)]
    if not equations:
        raise ModelError("no equation is given; expected such as Eq(z[j], Sum(w[j, k]*x[k], (k, 1, K)))")
    said: dict[tuple[str, str], str] = {}
    said |= {("ranges", name_of(n)): f"ranges of {name_of(n)}: {a}..{b}" for n, (a, b) in pairs(given.ranges)}
    said |= {(word, n): f"{word}: {n}" for word, _, n in given.roles()}
    said |= {("zero", n): f"zero: {n}" for n in names_of(given.zero)}
    said |= {
        ("places", name_of(n)): f"places: {name_of(n)} on the axis of {name_of(k)}" for n, k in given.places.items()
    }
    said |= {("shapes", name_of(n)): f"shapes: {name_of(n)}" for n in given.shapes}
    said |= {("sizes", name_of(n)): f"sizes: {name_of(n)} = {value}" for n, value in given.sizes.items()}
    said |= {("facts", str(n)): f"fact {left} = {right}" for n, (left, right, _) in enumerate(facts)}
    if given.cost is not None:
        said["cost", name_of(given.cost)] = f"cost: {name_of(given.cost)}"
    lines = [*(f"{left} = {right}" for left, right, _ in equations), *said.values()]
    source = Lines("\n".join(t.replace("\n", " ") for t in lines), len(equations))
    ends = (*source.lines[1:], len(source.text) + 1)
    places = [Place(n, 1, a, b - 1) for n, (a, b) in enumerate(zip(source.lines, ends, strict=True), 1)]
    where = dict(zip(said, places[len(equations) :], strict=True))
    return Page(
        [Row(*e, place) for e, place in zip(equations, places, strict=False)],
        [Row(*f, where["facts", str(n)]) for n, f in enumerate(facts)],
        where,
        source,
    )


def listed(given: Any, what: str) -> list[Any]:
    if isinstance(given, str | sympy.Basic) or not isinstance(given, Iterable):
        raise ModelError(f"{what} is {type(given).__name__}, expected a list of Eq(...)")
    return list(given)


def sides(e: Any, number: int, word: str = "equation") -> tuple[Sym, Sym, tuple[Sym, ...]]:
    """Left side, right side and conditions of one entry of a list."""
    first, *conditions = e if isinstance(e, tuple | list) and e else (e,)
    if isinstance(first, BooleanAtom | bool):
        raise ModelError(f"{word} {number} is {first}: SymPy has decided it, since it does not depend on any quantity")
    if not isinstance(first, sympy.Eq):
        found = f"{first} ({type(first).__name__})" if isinstance(first, sympy.Basic) else type(first).__name__
        raise ModelError(f"{word} {number}: found {found}, expected Eq(left side, right side)")
    for n, _ in enumerate(sympy.preorder_traversal(first)):
        if n >= NODE_LIMIT:
            raise ModelError(
                f"{word} {number} has more than {NODE_LIMIT} parts; name parts of it by equations of their own"
            )
    if word == "equation" and not is_quantity(first.lhs):
        raise ModelError(
            f"equation {number}, {first.lhs} = {first.rhs}: found {first.lhs} on the left, expected a quantity such as z[j]"
        )
    return first.lhs, first.rhs, tuple(conditions)


def pairs(ranges: Mapping[Named, Any]) -> Iterator[tuple[Named, tuple[Any, Any]]]:
    for n, ends in ranges.items():
        if not isinstance(ends, tuple | list) or len(ends) != 2:
            raise ModelError(f"ranges of {n} is {ends!r}, expected its first and last number, as in {{l: (1, L)}}")
        yield n, (ends[0], ends[1])


def is_quantity(e: Sym) -> bool:
    """Whether it is a family, indexed or not, or a symbol that may stand for a number."""
    if isinstance(e, sympy.Indexed):
        return not is_width(e)
    return isinstance(e, sympy.IndexedBase) or (isinstance(e, sympy.Symbol) and not e.is_integer)


def is_width(e: Sym) -> bool:
    """Whether it is a size at a layer, n[l - 1]."""
    return isinstance(e, sympy.Indexed) and len(e.indices) == 1 and bool(e.base.label.is_integer)


def label_of(e: Sym) -> str:
    """The name of the family of a quantity."""
    base = e.base if isinstance(e, sympy.Indexed) else e
    return str(base.label if isinstance(base, sympy.IndexedBase) else base)


def indices_of(e: Sym) -> tuple[Sym, ...]:
    return tuple(e.indices) if isinstance(e, sympy.Indexed) else ()


def name_of(x: Any) -> str:
    if isinstance(x, str):
        return x
    if isinstance(x, sympy.IndexedBase | sympy.Symbol):
        return label_of(x)
    raise ModelError(f"found {x!r} ({type(x).__name__}), expected a family, a letter or its name")


def names_of(x: Any) -> list[str]:
    """The names of one thing or of several."""
    several = isinstance(x, Iterable) and not isinstance(x, str | sympy.Basic)
    return [name_of(n) for n in x] if several else [name_of(x)]


def letters_of(e: Sym) -> frozenset[str]:
    """The letters of an index expression; those of a label in its place are no letters of its own."""
    if e.is_Symbol:
        return frozenset({str(e)})
    if isinstance(e, sympy.Indexed | sympy.IndexedBase):
        return frozenset()
    return frozenset().union(*map(letters_of, e.args))


@dataclass(frozen=True)
class Limit:
    """What the limits of a sum name: its letter, the sizes that end it, the letters of sizes that have a layer."""

    letter: str
    ends: frozenset[str]
    widths: frozenset[str]


def limits_of(e: Sym, bound: frozenset[str]) -> Iterator[Limit]:
    if isinstance(e, ExprWithLimits):
        for letter, *ends in reversed(e.limits):
            found = frozenset().union(*map(letters_of, ends)) - bound
            stems = {str(w.base.label) for end in ends for w in end.atoms(sympy.Indexed)}
            bound |= {str(letter)}
            yield Limit(str(letter), found, frozenset(stems))
        yield from limits_of(e.function, bound)
        return
    for a in e.args:
        yield from limits_of(a, bound)
