r"""What stands in a row: its quantities with their indices, the products that a factor may be missing from, its sums."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from symbackprop.indices import affine
from symbackprop.read.expression import KnownDrafter
from symbackprop.read.lexer import Source
from symbackprop.read.scan import affine_letters, bound_letters
from symbackprop.read.syntax import (
    Application,
    BigOperator,
    Chain,
    Differential,
    Fraction,
    Group,
    Indicator,
    Nabla,
    Negative,
    Node,
    Number,
    Place,
    Product,
    Scripted,
    Sum,
    Symbol,
    children,
    items,
)
from symbackprop.symbols import Family

MAX_SPOTS = 40
"""Products of a side that are looked at."""


@dataclass(frozen=True)
class Piece:
    """One index of a quantity.

    Args:
        start, end: Where it stands in the row.
        kind: `node`, `recursion` or `sample`, as its axis is.
    """

    start: int
    end: int
    text: str
    kind: str
    letters: frozenset[str] = frozenset()
    place: int = 0
    """Which index of the family it is."""


@dataclass(frozen=True)
class Quantity:
    """A quantity of the network where it stands.

    Args:
        family: Its name; for a letter that stands for a gradient, that of the quantity it is taken by.
        gradient: Whether its letter stands for a gradient.
        wanted: How many indices its family has below.
        role: `above` or `below` the line of a derivative, or empty.
    """

    node: Node
    text: str
    key: str
    family: str
    gradient: bool
    lower: tuple[Piece, ...]
    upper: tuple[Piece, ...]
    wanted: int
    bound: tuple[str, ...]
    role: str
    powers: tuple[Node, ...] = ()

    @property
    def start(self) -> int:
        return self.node.place.start

    @property
    def open(self) -> int:
        """How many axes of it are left open, as those of an array."""
        return max(0, self.wanted - len(self.lower))

    def written(self, changes: dict[Piece, str]) -> str:
        """Its text with other indices."""
        spans = [
            (p.start - self.start, p.end - self.start, changes[p]) for p in {*self.lower, *self.upper} if p in changes
        ]
        return with_indices(self.text, spans)


def with_indices(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """A text with other indices: one that grew longer gets braces, and commas to its neighbours.

    >>> with_indices("c_{tnj}", [(3, 4, "t-1")]), with_indices("a_j", [(2, 3, "j+1")])
    ('c_{t-1,nj}', 'a_{j+1}')
    """
    out, at = [], 0
    for a, b, new in sorted(spans):
        before, after = text[:a].rstrip()[-1:], text[b : b + 1]
        if before in ("_", "^") and len(new) > 1:
            new = f"{{{new}}}"
        elif re.search(r"[+-]", new):
            new = ("," if before.isalnum() else "") + new + ("," if after.isalnum() or after == "\\" else "")
        elif re.search(r"\\[A-Za-z]+$", new) and after.isalpha():
            new += " "
        out += [text[at:a], new]
        at = b
    return "".join((*out, text[at:]))


@dataclass(frozen=True)
class Spot:
    """A product, or a single factor that could be one; a sum where it is a whole side.

    Args:
        depth: 0 for a whole side or a term of it.
        whole: It is the whole side.
    """

    node: Node
    bound: tuple[str, ...]
    depth: int
    whole: bool = False

    def units(self, survey: Survey) -> list[tuple[int, int]]:
        """Its factors as ranges of the tree's: a function and its argument are one."""
        if not isinstance(self.node, Product):
            return [(0, 1)]
        out, n = [], 0
        factors = self.node.factors
        while n < len(factors):
            both = n + 1 < len(factors) and not self.node.operators[n] and survey.applies(factors[n], factors[n + 1])
            out.append((n, n + 1 + both))
            n += 1 + both
        return out


@dataclass(frozen=True)
class Applied:
    """A function before its argument."""

    function: Node
    argument: Node
    whole: Node
    primes: int


@dataclass
class Survey:
    """One side of a row."""

    source: Source
    drafter: KnownDrafter
    quantities: list[Quantity] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    operators: list[tuple[BigOperator, tuple[str, ...]]] = field(default_factory=list)
    functions: list[Applied] = field(default_factory=list)
    powers: list[Scripted] = field(default_factory=list)
    conditions: list[Indicator] = field(default_factory=list)
    containers: list[Node] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    fractions: list[Fraction] = field(default_factory=list)

    def text(self, node: Node) -> str:
        return self.source.text[node.place.start : node.place.end]

    def applies(self, f: Node, argument: Node) -> bool:
        """Whether brackets behind a symbol are its argument."""
        base = argument.base if isinstance(argument, Scripted) else argument
        return isinstance(base, Group) and isinstance(f, Symbol | Scripted) and self.drafter.is_function(f)

    # ------------------------------------------------------------ walking

    def side(self, node: Node) -> Survey:
        """Look at a side."""
        self.term(node, (), 0, "", whole=True)
        return self

    def term(self, node: Node, bound: tuple[str, ...], depth: int, role: str, whole: bool = False) -> None:
        """A node that is a product by itself, or a sum of such."""
        match node:
            case Sum(terms=terms):
                self.sums.append(node)
                if whole and not role:
                    self.spots.append(Spot(node, bound, depth, whole))
                for t in terms:
                    self.term(t.body, bound, depth, role)
            case Negative(body=body):
                self.term(body, bound, depth, role, whole)
            case _:
                if not role and len(self.spots) < MAX_SPOTS:
                    self.spots.append(Spot(node, bound, depth, whole))
                self.visit(node, bound, depth, role)

    def visit(self, node: Node, bound: tuple[str, ...], depth: int, role: str) -> None:
        match node:
            case Symbol():
                self.quantity(node, bound, role)
            case Number():
                self.numbers.append(node)
            case Scripted(base=Symbol()):
                self.quantity(node, bound, role)
                for item in node.sub.pieces if node.sub is not None else ():
                    if isinstance(item, Scripted):
                        self.visit(item, bound, depth + 1, role)
                if isinstance(node.base, Symbol) and node.base.name in ("e", "exp"):
                    for item in items(node.sup):
                        self.term(item, bound, depth + 1, role)
            case Scripted(base=base):
                self.powers.append(node)
                self.visit(base, bound, depth, role)
            case Product():
                self.factors(node, bound, depth, role)
            case Group(body=body):
                self.containers.append(node)
                self.term(body, bound, depth + 1, role)
            case BigOperator(sub=sub, body=body):
                inner = (*bound, *bound_letters(sub, body, frozenset(bound)))
                self.operators.append((node, bound))
                for item in items(sub):
                    for c in children(item) if isinstance(item, Chain) else ():
                        if isinstance(c, Scripted):
                            self.visit(c, bound, depth, role)
                self.term(body, inner, depth, role)
            case Fraction(over=over, under=under) if node.derivative:
                self.containers.append(node)
                self.visit(over, bound, depth, "above")
                self.visit(under, bound, depth, "below")
            case Fraction(over=over, under=under):
                self.fractions.append(node)
                self.term(over, bound, depth, role)
                self.term(under, bound, depth + 1, role)
            case Differential(of=of):
                if of is not None:
                    self.visit(of, bound, depth, role)
            case Nabla(by=by):
                for item in items(by):
                    self.visit(item, bound, depth, "below")
            case Application(function=f, argument=argument):
                self.functions.append(Applied(f, argument, node, f.primes if isinstance(f, Scripted) else 0))
                self.visit(argument, bound, depth + 1, role)
            case Indicator(condition=condition):
                self.conditions.append(node)
                self.visit(condition, bound, depth + 1, role)
            case Sum() | Negative():
                self.term(node, bound, depth + 1, role)
            case _:
                for c in children(node):
                    self.visit(c, bound, depth + 1, role)

    def factors(self, node: Product, bound: tuple[str, ...], depth: int, role: str) -> None:
        elementwise = any(op in (r"\odot", r"\circ") for op in node.operators)
        self.containers.append(node)
        taken: set[int] = set()
        for n, f in enumerate(node.factors):
            after = node.factors[n + 1] if n + 1 < len(node.factors) and not node.operators[n] else None
            if after is not None and self.applies(f, after):
                whole = node if len(node.factors) == 2 else Product((f, after), ("",), spanning(self.source, f, after))
                self.functions.append(Applied(f, after, whole, f.primes if isinstance(f, Scripted) else 0))
                taken.add(n)
            if n not in taken:
                if elementwise and not role:
                    self.term(f, bound, depth + 1, role)
                else:
                    self.visit(f, bound, depth, role)

    def quantity(self, node: Symbol | Scripted, bound: tuple[str, ...], role: str) -> None:
        lexicon = self.drafter.lexicon
        s = self.drafter.sighting(node, {})
        gradient = s.key not in lexicon.looks and s.key in lexicon.gradients
        if gradient:
            look = lexicon.look(lexicon.gradients[s.key])
            reading = lexicon.reading(replace(s, key=look.key))
        elif s.key in lexicon.looks:
            reading = lexicon.reading(s)
        else:
            return
        if reading.name not in self.drafter.system.families:
            return
        family = self.drafter.system.family(reading.name)
        look = lexicon.look(reading.name)
        lower = list(self.pieces(reading.lower, family, look.lower))
        upper = list(self.pieces(reading.upper, family, look.upper))
        self.quantities.append(
            Quantity(
                node,
                self.text(node),
                s.key,
                family.name,
                gradient,
                tuple(lower),
                tuple(upper),
                len(look.lower),
                bound,
                role,
                reading.powers,
            )
        )

    def pieces(self, nodes: tuple[Node, ...], family: Family, places: tuple[int, ...]) -> Iterator[Piece]:
        kinds = [family.axes[n].kind for n in places]
        if len(nodes) < len(places) and any(isinstance(n, Number) and len(n.text) > 1 for n in nodes):
            parts = [
                (n.place.start + i, n.place.start + i + 1, c, frozenset[str]())
                for n in nodes
                for i, c in (enumerate(n.text) if isinstance(n, Number) else [(0, self.text(n))])
            ]
        else:
            parts = [(n.place.start, n.place.end, self.text(n), affine_letters(n)) for n in nodes]
        for (start, end, text, letters), kind, n in zip(parts, kinds, places, strict=False):
            yield Piece(start, end, text, kind, letters, n)


def spanning(source: Source, first: Node, last: Node) -> Place:
    return source.place(first.place.start, last.place.end)


def axis_of(family: Family, place: int, layers: dict[int, str]) -> str:
    """The axis of an index in words: equal for indices that count the same nodes.

    Args:
        layers: The text of the layer or time at each place of the family.
    """
    axis = family.axes[place]
    if axis.at is None:
        return axis.label
    stem = next((n for n, x in enumerate(family.indices) if axis.at.names == {x}), None)
    if stem is None or stem not in layers:
        return f"{axis.label} {axis.at}"
    by = (axis.at - affine(family.indices[stem])).value
    moved = shifted(layers[stem], by) if by is not None else None
    return f"{axis.label} {moved if moved is not None else layers[stem]}"


def axes_of(family: Family, lower: dict[int, str], upper: dict[int, str]) -> list[tuple[str, str]]:
    """The letters that a quantity has below, each with its axis."""
    layers = {n: t for n, t in {**lower, **upper}.items() if family.axes[n].kind == "recursion"}
    return [
        (t, axis_of(family, n, layers)) for n, t in lower.items() if family.axes[n].kind == "node" and not t.isdigit()
    ]


SHIFTED = re.compile(r"\s*(?P<stem>\\?[A-Za-z]+'*)?\s*(?P<shift>[+-]?\s*\d+)?\s*")


def shifted(text: str, by: int) -> str | None:
    """An index moved by a number: l for l-1 moved by 1.

    >>> shifted("l-1", 1), shifted("L", -1), shifted("2", 1), shifted("si+k", 1)
    ('l', 'L-1', '3', None)
    """
    m = SHIFTED.fullmatch(text)
    if m is None or not text.strip():
        return None
    number = int((m["shift"] or "0").replace(" ", "")) + by
    if m["stem"] is None:
        return str(number) if number >= 0 else None
    return m["stem"] + (f"{number:+d}" if number else "")


__all__ = ["Applied", "Piece", "Quantity", "Spot", "Survey", "axes_of", "axis_of", "shifted", "with_indices"]
