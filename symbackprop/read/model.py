r"""Model files: LaTeX that a person would write anyway, as a network and a notation.

The file is read in steps, each of which looks at the file as a whole: declarations; which letters are indices (`scan`);
formulas (`draft`); which indices share an axis, and which axes count layers (`axes`); positions, guards and base cases
(`settle`). Nothing is evaluated, and what has two readings is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import index

from symbackprop.errors import ModelError, ModelReadError, ReadError, nearest
from symbackprop.indices import Affine, Axis, Guard, affine
from symbackprop.network import Equation, Fact, System
from symbackprop.notation import Notation
from symbackprop.read.arrays import Array, renamed
from symbackprop.read.axes import Axes, Drafted
from symbackprop.read.declare import Declarations, Range, read_declarations
from symbackprop.read.draft import Definition, Drafter
from symbackprop.read.latex import parse_document, parse_line
from symbackprop.read.lessons import lessons_network
from symbackprop.read.lexer import Source
from symbackprop.read.names import latex_letter, letter_of, spelled
from symbackprop.read.notate import model_notation
from symbackprop.read.provenance import Entry, entries
from symbackprop.read.rewrite import label_letters, rewritten, with_words, without_label
from symbackprop.read.scan import (
    Letters,
    Sighting,
    affine_letters,
    bound_letters,
    is_quantity,
    primed,
    raised_brackets,
    sightings,
    size_letters,
    size_words,
    word_below,
)
from symbackprop.read.scopes import Env, Scope, Scopes
from symbackprop.read.settle import Settler
from symbackprop.read.syntax import (
    Application,
    BigOperator,
    Chain,
    Dots,
    Group,
    Listing,
    Node,
    Number,
    Place,
    Product,
    Row,
    Scripted,
    Symbol,
    Text,
    children,
)
from symbackprop.symbols import Binder, Expr, Kind, Num, Param, Ref, canonical, names, substitute, transform, walk

CONNECTIVES = frozenset({"for", "where", "if", "with", "and", "all", "each", "every", "when", "on", "forall", "any"})


MAX_LAYERS = 10_000


@dataclass(frozen=True)
class Model:
    """A model file read.

    Args:
        system: The network; it has no glyphs in it.
        notation: How each of its families is written.
        provenance: For each family what was understood and from where.
    """

    system: System
    notation: Notation
    provenance: tuple[Entry, ...]


def read_model(text: str | bytes, *, sizes: Mapping[str, int] | None = None) -> Model:
    """The network and the notation of a model file.

    Args:
        sizes: Numbers for sizes and last layers by name: {"K": 3, "T": 4, "n_0": 784}.

    Raises:
        ModelReadError: What is not understood or has two readings, with line and column.
    """
    try:
        return File(text).model(size_numbers(sizes))
    except ModelReadError:
        raise
    except ReadError as e:
        raise ModelReadError(e.what, e.text, e.column, e.line) from None


def size_numbers(sizes: object) -> dict[str, int]:
    """Numbers for sizes, checked as far as no model is needed for it.

    Raises:
        ModelError: They are no mapping from names to whole numbers that are not negative.
    """
    if sizes is None:
        return {}
    if not isinstance(sizes, Mapping):
        raise ModelError(f'sizes are given by name, as in {{"N": 3}}, found {type(sizes).__name__}')
    out: dict[str, int] = {}
    for name, value in sizes.items():
        if not isinstance(name, str):
            raise ModelError(f"{name!r} is no name of a size; expected text such as 'N'")
        try:
            number = -1 if isinstance(value, bool) else index(value)
        except TypeError:
            number = -1
        if number < 0:
            raise ModelError(f"the size {name} is {value!r}; expected a whole number, at least 1")
        out[name] = number
    return out


class Statement(ABC):
    """What someone states of a model, in a file or in Python, on its way to a network.

    Args:
        guards: The conditions of each equation, as written, by its number.
        free: The scopes that are free on the left of each equation.
    """

    source: Source
    declared: Declarations
    guards: dict[int, Guard]
    free: dict[int, list[Scope]]

    @abstractmethod
    def drafter(self) -> Drafter:
        """What is known of the letters before any formula is read."""

    @abstractmethod
    def define_functions(self, d: Drafter) -> None:
        """Functions that are stated beside the equations."""

    @abstractmethod
    def draft(self, d: Drafter) -> list[Drafted]:
        """The equations, numbered from 0."""

    @abstractmethod
    def facts(self, d: Drafter) -> list[tuple[Drafted, Expr, str, Place]]:
        """Declared equations of data, drafted as equations of nothing and numbered from -1 down; their right sides and texts."""

    def fail(self, message: str, place: Place) -> ReadError:
        return self.source.error(message, place)

    def axes(self, d: Drafter, drafts: list[Drafted], facts: list[Drafted]) -> Axes:
        return Axes(self.source, self.declared, d.scopes, d.signatures, [*drafts, *facts], d.places)

    def model(self, given: dict[str, int]) -> Model:
        sizes = {**self.declared.numbers, **given}
        d = self.drafter()
        self.define_functions(d)
        drafts = self.draft(d)
        known = set(d.signatures)
        facts = self.facts(d)
        if strange := d.signatures.keys() - known:
            raise self.fail(f"{min(strange)} stands in no equation of this file", facts[0][3])
        for name, place in self.named_in_declarations():
            if name not in d.signatures and name not in d.definitions:
                raise self.fail(f"{name} stands in no equation of this file", place)
        axes = self.axes(d, drafts, [f for f, *_ in facts])
        constants = frozenset(
            {c.label for c in axes.classes.values() if not c.layered}
            | set(d.scopes.constants)
            | {n for c in axes.classes.values() if c.high is not None for n in c.high.names}
        )
        settler = Settler(axes, self.guards, self.free, constants, frozenset(self.declared.zero))
        settler.name_indices()
        settler.letters = {n: v for n, v in settler.letters.items() if not n.startswith("fact:")}
        settler.settled = [settler.settle(e) for e in drafts]
        kinds = self.kinds(d, drafts)
        meanings = {n: m for n, (m, _) in self.declared.meanings.items()}
        where = {n: s.place for n, s in d.signatures.items()}
        bases = settler.build(kinds, meanings, where)
        settler.check()
        settler.settled += bases
        held = [
            Fact(settler.expression(f.rhs, self.fact_letters(d, f, settler), frozenset(), f), rhs, text)
            for f, rhs, text, _ in facts
        ]
        system = self.system(d, axes, settler, held, sizes)
        self.check_sizes(given, system, axes, settler)
        widths = self.numbers(system, sizes)
        found = lessons_network(system, widths, sizes.get("n"))
        notation = model_notation(self.declared, d, axes, settler, system, found[1] if found else None)
        provenance = entries(self.declared, d, axes, settler, system)
        if found:
            system = found[0]
        elif widths is not None and system.widths:
            system = with_depth(system, widths)
        return Model(system, notation, provenance)

    def fact_letters(self, d: Drafter, f: Drafted, settler: Settler) -> dict[str, Affine]:
        out: dict[str, Affine] = {}
        for s in d.scopes.all.values():
            if s.equation == f.number and s.free:
                out |= settler.meant(s, affine(s.letter))
        return out

    def named_in_declarations(self) -> list[tuple[str, Place]]:
        out = [(n, p) for n, (_, p) in self.declared.kinds.items()]
        out += [(n, p) for n, (_, p) in self.declared.labels.items()]
        out += [(n, p) for n, (_, p) in self.declared.shapes.items()]
        out += list(self.declared.zero.items())
        return out

    def kinds(self, d: Drafter, drafts: list[Drafted]) -> dict[str, Kind]:
        out: dict[str, Kind] = {}
        for name in d.signatures:
            declared = self.declared.kinds.get(name)
            if name in d.equated:
                if declared is not None:
                    raise self.fail(
                        f"{name} has an equation, so it cannot be declared as data or a parameter", declared[1]
                    )
                out[name] = "derived"
            elif declared is not None:
                out[name] = declared[0]  # type: ignore[assignment]
            elif name in self.declared.labels or name == "x" or (name == "X" and name in d.letters.arrays):
                out[name] = "input"
            elif d.letters.siblings(name) & d.equated:
                out[name] = "input"  # the z_i of a model that computes z_j
            elif name == "y" or (name == "Y" and name in d.letters.arrays):
                out[name] = "target"
            else:
                out[name] = "parameter"
        cost = self.cost(d, drafts)
        if cost:
            out[cost] = "cost"
        return out

    def cost(self, d: Drafter, drafts: list[Drafted]) -> str:
        """The scalar that nothing else uses; empty where there is none."""
        used = {r.family for e in drafts for _, r in walk(e.rhs) if isinstance(r, Ref) and r.family != e.lhs.family}
        scalars = [e for e in drafts if not e.lhs.indices and e.lhs.family not in used]
        if self.declared.cost is not None:
            name, place = self.declared.cost
            if not any(e.lhs.family == name and not e.lhs.indices for e in drafts):
                raise self.fail(f"{name} is no number that an equation of this file defines", place)
            return name
        if len(scalars) > 1:
            names = ", ".join(e.lhs.family for e in scalars)
            raise self.fail(
                f"several numbers that nothing uses: {names}; say which is the cost, as in '%| cost {scalars[0].lhs.family}'",
                scalars[1].place,
            )
        return scalars[0].lhs.family if scalars else ""

    def system(self, d: Drafter, axes: Axes, settler: Settler, facts: list[Fact], sizes: dict[str, int]) -> System:
        clocks = [c for c in axes.classes.values() if c.recursion and axes.is_clock(c)]
        if len(clocks) > 1:
            raise self.fail(
                "the widths of two axes of layers differ from layer to layer; one is read", axes.drafts[0].place
            )
        layers = axes.ends_used(clocks[0])[1] if clocks else affine(0)
        widths: tuple[int | None, ...] = ()
        if clocks:
            if (layers.value or 0) > MAX_LAYERS:
                raise ModelError(
                    f"{layers} layers; a network of up to {MAX_LAYERS:,} can be built, or L left as a letter"
                )
            widths = (None,) if layers.value is None else (None,) * (layers.value + 1)
        known = {c.label: c.number for c in axes.classes.values() if c.number is not None}
        cost = next((n for n, k in settler.families.items() if k.kind == "cost"), "")
        self.check_names(axes, settler, layers)
        try:
            return System(
                settler.families,
                tuple(s.equation for s in settler.settled),
                cost,
                layers,
                widths,
                facts=tuple(facts),
                sizes={**known, **{n: v for n, v in sizes.items() if "_" not in n or n in settler.constants}},
                rules=self.declared.rules,
                integers=self.declared.integers,
            )
        except ModelError as e:
            place = next((s.place for s in settler.settled if f" {s.equation.lhs.family}:" in str(e)), None)
            raise self.fail(str(e), place or settler.settled[0].place) from None

    def check_sizes(self, given: dict[str, int], system: System, axes: Axes, settler: Settler) -> None:
        """Every number that is given is for a size, a last layer or a whole number of this model.

        Raises:
            ModelError: A name that is none of these, or 0 for a size.
        """
        if not given:
            return
        known = {n for n in settler.constants | system.constants if "@" not in n}
        stems = {c.label for c in axes.classes.values() if c.layered}
        last = system.layers.substitute({n: affine(v) for n, v in given.items()}).value
        widths = [f"{x}_{k}" for x in sorted(stems) for k in range((1 if last is None else last) + 1)]
        for name, number in given.items():
            stem, _, k = name.rpartition("_")
            layer = stem in stems and k.isdigit() and (last is None or int(k) <= last)
            if name not in known and not layer and name not in stems:
                names = [*sorted(known), *widths] if widths else sorted(known)
                more = ", ..." if widths and last is None else ""
                listed = f"; known: {', '.join(names)}{more}" if names else "; it has none"
                raise ModelError(f"{name} is no size of this model{nearest_or(name, names, listed)}")
            if number < 1 and name not in self.declared.integers:
                raise ModelError(f"the size {name} is {number}; expected a whole number, at least 1")

    def check_names(self, axes: Axes, settler: Settler, layers: Affine) -> None:
        """Every letter in an equation is an index of its own, or the size or the end of an axis."""
        known = set(layers.names) | set(self.declared.integers)
        known |= set().union(*(r.names for r in self.declared.rules.values()))
        for c in axes.classes.values():
            if c.recursion:
                known |= set().union(*(e.names for e in axes.ends_used(c)))
            elif not c.layered:
                known.add(c.label)
        for s in settler.settled:
            loose = sorted(names(s.equation.rhs) - names(s.equation.lhs) - known)
            if loose:
                advice = self.advice(axes, s.place, set(loose))
                if advice:
                    raise self.fail(*advice)
                raise self.fail(
                    f"{', '.join(loose)} in this equation: no index here, and neither the size nor the end of an axis",
                    s.place,
                )

    def advice(self, axes: Axes, place: Place, loose: set[str]) -> tuple[str, Place] | None:
        """What would fit where the limits of a sum say only what part of an axis it runs over."""
        equation = next((d.number for d in axes.drafts if d.place == place), None)
        for s in axes.scopes.all.values():
            ends = (s.low.names if s.low else frozenset()) | (s.high.names if s.high else frozenset())
            if s.equation != equation or not ends & loose:
                continue
            uses = [r for d, r, _, e in axes.uses() if d.number == equation and s.id in e.names]
            family = next((r.family for r in uses if len(r.indices) == 1), "x")
            last = min(ends & loose)
            return (
                f"the sum from {s.low if s.low else '...'} to {s.high if s.high else '...'} over {s.letter} may run over a "
                f"part of its axis, and nothing says how long that is; '%| {s.letter} = 1..{last}' would fit, and "
                f"'%| shape {family}: {s.letter}' where {family} is that long",
                s.place,
            )
        return None

    def numbers(self, system: System, sizes: dict[str, int]) -> list[int | None] | None:
        """n_0, ..., n_L where numbers are given."""
        last = next((a.last for f in system.families.values() for a in f.axes if a.last is not None), affine(0))
        layers = sizes.get(last.name) if last.name is not None else last.value
        if not layers:
            return None
        label = next((a.label for f in system.families.values() for a in f.axes if a.at is not None), "n")
        return [sizes.get(f"{label}_{k}") for k in range(layers + 1)]


def with_depth(system: System, widths: Sequence[int | None]) -> System:
    """The system with a number for its last layer, and numbers for its widths."""
    last = affine(len(widths) - 1)
    mapping = dict.fromkeys(system.layers.names, last)

    def axis(a: Axis) -> Axis:
        end = None if a.last is None else a.last.substitute(mapping)
        return replace(a.substitute(mapping), first=a.first.substitute(mapping), last=end)

    def guard(g: Guard) -> Guard:
        return tuple(c.substitute(mapping) for c in g)

    def bound(e: Expr) -> Expr:
        return replace(e, axis=axis(e.axis)) if isinstance(e, Binder) else e

    own = {n: replace(f, axes=tuple(map(axis, f.axes)), guard=guard(f.guard)) for n, f in system.families.items()}
    equations = tuple(
        Equation(e.lhs, transform(substitute(e.rhs, mapping), bound), guard(e.guard)) for e in system.equations
    )
    return replace(system, families=own, equations=equations, layers=last, widths=tuple(widths), spec="")


@dataclass
class Equated:
    """A row that defines a family: its left side, the right sides that are said to be equal, its conditions."""

    left: Symbol | Scripted
    rights: tuple[Node, ...]
    conditions: tuple[Node, ...]
    place: Place


@dataclass
class File(Statement):
    """One model file on its way to a network."""

    text: str | bytes
    equations: list[Equated] = field(default_factory=list)
    functions: list[tuple[Symbol, Node, Node, Place]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    guards: dict[int, Guard] = field(default_factory=dict)
    free: dict[int, list[Scope]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        document = parse_document(self.text)
        self.source = Source(document.text)
        self.declared: Declarations = read_declarations(document.declarations, self.source)
        if not document.rows:
            raise self.source.error(
                "no equation in this file; expected such as z_j = \\sum_k w_{jk} x_k", Place(1, 1, 0, 0)
            )
        rows = [rewritten(row, with_words) for row in document.rows]
        applied: set[str] = set()
        for row in rows:
            applied |= {a for r in row.relations for a in applied_names(r.right)}
        for row in rows:
            self.row(self.without_arguments(row, applied))
        self.declare_spoken_ranges()
        self.set_labels_apart()

    def set_labels_apart(self) -> None:
        """Take letters that are labels only, the n of E_n, off the symbols that carry them."""
        rights = [r for e in self.equations for r in e.rights]
        bound = frozenset(self.declared.ranges).union(*map(all_bound, rights))
        for _, letter in list(label_letters([e.left for e in self.equations], rights, bound)):
            carriers: set[str] = set()
            strip = partial(without_label, letter=letter, carriers=carriers)
            self.equations = [
                replace(e, left=rewritten(e.left, strip), rights=rewritten(e.rights, strip)) for e in self.equations
            ]
            self.labels |= dict.fromkeys(sorted(carriers), letter)
        self.declared.rename({f"{name}_{letter}": name for name, letter in self.labels.items()})

    def named_by_letters(self) -> bool:
        """Whether letters name layers: one symbol has two equations, without conditions, for different letters."""
        found: dict[tuple[str, int], set[tuple[str | None, ...]]] = {}
        for e in self.equations:
            if isinstance(e.left, Scripted) and e.left.sub is not None and e.left.sup is None and not e.conditions:
                letters = tuple(letter_of(p) for p in e.left.sub.pieces)
                if None not in letters:
                    found.setdefault((spelled(e.left.base), len(letters)), set()).add(letters)  # type: ignore[arg-type]
        return any(len(x) > 1 for x in found.values())

    # ------------------------------------------------------------ rows

    def row(self, row: Row) -> None:
        base = row.left.base if isinstance(row.left, Scripted) else row.left
        if isinstance(base, Symbol) and base.name == "1":
            raise self.fail("1 on the left of an equation; expected one quantity with its indices", base.place)
        if row.left is None:
            if not self.equations:
                raise self.fail("this line goes on from a line before it, and there is none", row.place)
            last = self.equations[-1]
            more = tuple(r.right for r in row.relations)
            self.equations[-1] = replace(
                last, rights=(*last.rights, *more), conditions=(*last.conditions, *row.conditions)
            )
            return
        bad = next((r for r in row.relations if r.sign not in ("=", ":=", "equiv")), None)
        if not row.relations or bad is not None:
            place = bad.place if bad is not None else row.place
            found = f"{bad.sign!r}" if bad is not None else "an expression alone"
            raise self.fail(f"{found}; a model is made of equations, a quantity on the left of each", place)
        definition = self.definition(row.left)
        if definition is not None:
            name, argument = definition
            if len(row.relations) != 1:
                raise self.fail("a function has one formula", row.place)
            self.functions.append((name, argument, row.relations[0].right, row.place))
            return
        if not isinstance(row.left, Symbol) and not (
            isinstance(row.left, Scripted) and isinstance(row.left.base, Symbol)
        ):
            text = self.source.text[row.left.place.start : row.left.place.end]
            raise self.fail(
                f"{text!r} on the left of an equation; expected one quantity with its indices", row.left.place
            )
        self.equations.append(Equated(row.left, tuple(r.right for r in row.relations), row.conditions, row.place))

    def without_arguments(self, row: Row, applied: set[str]) -> Row:
        r"""The row J = ... for J(\theta) = ..., whose brackets say on which symbols J depends.

        It is a function where the file applies the symbol to brackets elsewhere.
        """
        left = row.left
        if isinstance(left, Product) and len(left.factors) == 2 and left.juxtaposed:
            name, brackets = left.factors
        else:
            return row
        if not is_quantity(name) or not isinstance(brackets, Group) or brackets.kind not in ("round", "square"):
            return row
        base = name if isinstance(name, Symbol) else name.base  # type: ignore[union-attr]
        if spelled(base) in applied:  # type: ignore[arg-type]
            return row
        inside = brackets.body.items if isinstance(brackets.body, Listing) else (brackets.body,)
        if not all(map(is_quantity, inside)):
            return row
        letters = {x for r in row.relations for x in (*size_letters(r.right, frozenset()), *all_bound(r.right))}
        letters |= self.left_letters(name)  # type: ignore[arg-type]
        for i in inside:
            letter = letter_of(i)
            if letter is not None and letter in letters:
                raise self.fail(
                    f"{letter} in the brackets of {spelled(base)} is an index here, or a size; "  # type: ignore[arg-type]
                    f"an index stands below, as in {spelled(base)}_{letter}",  # type: ignore[arg-type]
                    i.place,
                )
        return replace(row, left=name)

    def definition(self, left: Node) -> tuple[Symbol, Node] | None:
        r"""The name and the argument of \sigma(u) = ...; None for an equation."""
        function: Node | None = None
        if isinstance(left, Product) and len(left.factors) == 2 and left.juxtaposed:
            function, brackets = left.factors
        elif isinstance(left, Application):
            function, brackets = left.function, left.argument
        if isinstance(function, Scripted) and function.sub is None and isinstance(function.base, Symbol):
            function = function.base
        if function is None or not isinstance(function, Symbol) or not isinstance(brackets, Group):
            return None
        if letter_of(brackets.body) is None:
            raise self.fail("a function is defined for one letter, as in g(u) = ...", brackets.place)
        return function, brackets.body

    def declare_spoken_ranges(self) -> None:
        """Ranges said in words behind an equation: for l = 1, ..., L."""
        for e in self.equations:
            kept: list[Node] = []
            parts = list(e.conditions)
            while parts:
                c = parts.pop(0)
                letter = letter_of(c.first) if isinstance(c, Chain) and c.first is not None else None
                rest = [n for n, p in enumerate(parts) if isinstance(p, Dots)]
                if (
                    letter is not None
                    and rest
                    and rest[0] <= 2
                    and len(parts) > rest[0] + 1
                    and isinstance(c, Chain)
                    and c.relations[0].sign in ("=", "in")
                ):
                    low, high = c.relations[0].right, parts[rest[0] + 1]
                    scopes = Scopes(self.source, set(affine_letters(low) | affine_letters(high)))
                    self.declared.ranges.setdefault(
                        letter, Range(scopes.affine(low, {}), scopes.affine(high, {}), c.place)
                    )
                    parts = parts[rest[0] + 2 :]
                else:
                    kept.append(c)
            e.conditions = tuple(kept)

    # ------------------------------------------------------------ letters

    def look(self) -> Letters:
        """What the letters of the file are; looked at again while left sides turn out to carry indices above."""
        constants = set(self.declared.integers) | self.declared.rules.keys()
        for r in self.declared.ranges.values():
            constants |= r.high.names | r.low.names
        for q in self.declared.rules.values():
            constants |= q.names
        words = {w for e in self.equations for right in e.rights for w in size_words(right)}
        words |= {c for c in constants if len(c.rpartition("_")[2]) > 1 and "_" in c}
        constants -= self.declared.ranges.keys()
        free: list[frozenset[str]] = [self.left_letters(e.left) for e in self.equations]
        while True:
            found: list[Sighting] = []
            for e, mine in zip(self.equations, free, strict=True):
                found += sightings(e.left, mine, left=True)
                for right in e.rights:
                    found += sightings(right, mine | self.declared.labels.keys())
            for name, argument, body, place in self.functions:
                own = letter_of(argument)
                found.append(Sighting(spelled(name), False, None, None, frozenset(), True, True, place))
                found += [s for s in sightings(body, frozenset()) if s.key != own]
            found = [s for s in found if not (s.sub is not None and self.words_of(s) & words)]
            letters = Letters(
                self.declared, self.source, found, frozenset(constants), self.named_by_letters(), labels=self.labels
            )
            again = [
                mine
                | frozenset(
                    x for n in letters.reading(self.left_sighting(e.left, mine)).upper for x in affine_letters(n)
                )
                - constants
                for e, mine in zip(self.equations, free, strict=True)
            ]
            if again == free:
                return letters
            free = again

    def words_of(self, s: Sighting) -> set[str]:
        """What a symbol is called as a size with a word below."""
        parts = s.sub.items if s.sub is not None else ()
        word = word_below(parts[0]) if len(parts) == 1 else None
        return set() if word is None else {f"{s.key}_{word}"}

    def left_letters(self, left: Symbol | Scripted) -> frozenset[str]:
        if isinstance(left, Symbol) or left.sub is None:
            return frozenset()
        return frozenset().union(*map(affine_letters, left.sub.pieces))

    def left_sighting(self, left: Symbol | Scripted, letters: frozenset[str]) -> Sighting:
        base = left if isinstance(left, Symbol) else left.base
        assert isinstance(base, Symbol)
        bold = base.font == "bold"
        if isinstance(left, Symbol):
            return Sighting(spelled(base), bold, None, None, letters, False, True, left.place)
        return Sighting(
            primed(base, left.primes), bold, left.sub, left.sup, letters, False, True, left.place, left.primes
        )

    # ------------------------------------------------------------ formulas

    def drafter(self) -> Drafter:
        letters = self.look()
        index_letters: set[str] = set(self.declared.ranges)
        ends: set[str] = set()
        for e in self.equations:
            mine = self.left_letters(e.left)
            for right in e.rights:
                index_letters |= set(all_bound(right))
                ends |= set(size_letters(right, mine))
            index_letters |= mine
        for _, _, body, _ in self.functions:
            ends |= set(size_letters(body, frozenset()))
        for r in self.declared.ranges.values():
            ends |= r.high.names | r.low.names
        ends |= self.declared.rules.keys() | set().union(*(q.names for q in self.declared.rules.values()))
        stems = frozenset(x[:-1] for x in ends if x.endswith("_"))
        plain = {x for x in ends if not x.endswith("_")} - self.declared.ranges.keys()
        constants = set(letters.constants) | plain | set(self.declared.integers)
        equated = frozenset(
            letters.reading(self.left_sighting(e.left, self.left_letters(e.left))).name for e in self.equations
        )
        both = equated & plain
        if both:
            name = sorted(both)[0]
            e = next(e for e in self.equations if letters.reading(self.left_sighting(e.left, frozenset())).name == name)
            raise self.fail(
                f"{name} is the end of a sum elsewhere, and a quantity here; give one of them another letter", e.place
            )
        return Drafter(
            self.source,
            self.declared,
            letters,
            Scopes(self.source, constants, clocks=letters.above, data=frozenset(self.declared.labels)),
            equated,
            frozenset(index_letters),
            frozenset(plain | self.declared.rules.keys()) - set(self.declared.integers),
            stems | ({self.declared.width} if self.declared.width else set()),
        )

    def define_functions(self, d: Drafter) -> None:
        for name, argument, body, place in self.functions:
            key, own = spelled(name), letter_of(argument)
            assert own is not None
            if key in d.definitions:
                raise self.fail(f"the function {name.name} is defined twice", place)
            if (indexed := next(with_indices(body, own), None)) is not None:
                raise self.fail(
                    f"{name.name} is a function of one number {own} here, and {own} has an index in its formula; leave "
                    f"the brackets behind {name.name} out, here and where it is used, if it is a quantity",
                    indexed.place,
                )
            d.parameter, d.defining = own, ""
            value = d.value(body, {})
            d.parameter = ""
            if value.open:
                raise self.fail(f"a function of one number is {value.shape} here", body.place)
            entry = table_entry(value.expr, own)
            d.definitions[key] = Definition(own, value.expr, entry)
            if entry:
                d.names[entry] = latex_letter(name)

    def draft(self, d: Drafter) -> list[Drafted]:
        out: list[Drafted] = []
        for n, e in enumerate(self.equations):
            d.scopes.equation = n
            d.taken = set()
            env: Env = {}
            lhs, opened = self.left(d, e.left, env)
            d.taken |= {d.scopes.all[x].letter for x in opened}
            self.free[n] = [s for s in d.scopes.all.values() if s.equation == n and s.free]
            self.guards[n] = self.conditions(d, e.conditions, env)
            d.whole = not opened.open and not lhs.indices if isinstance(opened, Array) else not opened
            d.defining = lhs.family.partition("_")[0] if not lhs.indices else ""
            values: list[Expr] = []
            for right in e.rights:
                v = d.value(right, dict(env))
                if len(v.open) != len(opened) and not (isinstance(v.expr, Num) and not v.open):
                    if (found := next(self.without_index(d, right), None)) is not None:
                        name, node = found
                        count = d.letters.arity[name]
                        raise self.fail(
                            f"{name} stands without {'its index' if count == 1 else f'its {count} indices'} in "
                            f"{self.source.text[right.place.start : right.place.end]}, where letters side by side are "
                            f"factors; {name} has {'one index' if count == 1 else f'{count} indices'} elsewhere",
                            node.place,
                        )
                    left = Array(lhs, tuple(opened))
                    raise self.fail(f"the left side is {left.shape}, the right side {v.shape}", right.place)
                if v.row and len(v.open) == 1:
                    raise self.fail(
                        "the left side is a column, the right side a row; a transpose would fit", right.place
                    )
                values.append(renamed(v, tuple(opened), d.scopes, right.place) if v.open else v.expr)
            if len(values) > 1 and any(canonical_draft(v) != canonical_draft(values[0]) for v in values[1:]):
                raise self.fail(
                    f"several right sides for {lhs.family}, which are not the same formula; keep the one that defines it",
                    e.rights[1].place,
                )
            out.append(Drafted(lhs, values[0], n, e.place))
        return out

    def without_index(self, d: Drafter, node: Node) -> Iterator[tuple[str, Symbol]]:
        """Symbols not in bold that stand bare, and with indices elsewhere."""
        if isinstance(node, Symbol) and not node.font and d.letters.arity.get(spelled(node)):
            if spelled(node) not in self.declared.shapes:
                yield spelled(node), node
        for child in children(node):
            if not (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
                yield from self.without_index(d, child)

    def left(self, d: Drafter, node: Symbol | Scripted, env: Env) -> tuple[Ref, tuple[str, ...]]:
        """The left side of an equation: its letters become free, and what it leaves out is open."""
        letters = self.left_letters(node)
        s = self.left_sighting(node, letters)
        reading = d.letters.reading(s)
        if reading.powers or reading.transposed:
            raise self.fail("a power or a transpose on the left of an equation; expected a quantity", node.place)
        for p in (*reading.upper, *reading.lower):
            for letter in sorted(affine_letters(p)):
                if letter in d.scopes.constants:
                    continue
                if letter in env:
                    raise self.fail(f"the index {letter} stands twice on the left", p.place)
                env[letter] = d.scopes.new(letter, p.place, free=True).id
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        v = d.family(base, s, reading, env)
        if not isinstance(v.expr, Ref):
            raise self.fail("a label in the place of an index on the left of an equation", node.place)
        for x in v.open:
            d.scopes.all[x].free = True
        return v.expr, v.open

    def conditions(self, d: Drafter, nodes: tuple[Node, ...], env: Env) -> Guard:
        out: Guard = ()
        for c in nodes:
            if isinstance(c, Group) and c.kind in ("round", "square"):
                out += self.conditions(d, (c.body,), env)
            elif isinstance(c, Listing):
                out += self.conditions(d, c.items, env)
            elif isinstance(c, Chain):
                if any(r.sign not in ("=", "<", "<=", ">", ">=") for r in c.relations):
                    raise self.fail(
                        "this condition is not understood; expected such as j \\le i or 1 \\le l < L", c.place
                    )
                out += d.scopes.chain(c, env)
            elif isinstance(c, Text):
                words = c.text.replace("\\", " ").replace(",", " ").split()
                if not all(w.lower() in CONNECTIVES for w in words):
                    raise self.fail(f"the words {c.text.strip()!r} are not understood behind an equation", c.place)
            elif letter_of(c) is None or letter_of(c) not in env:
                text = self.source.text[c.place.start : c.place.end]
                raise self.fail(
                    f"{text!r} behind an equation is not understood; expected a condition on its indices", c.place
                )
        return out

    # ------------------------------------------------------------ facts

    def facts(self, d: Drafter) -> list[tuple[Drafted, Expr, str, Place]]:
        """Declared equations of data, drafted as equations of nothing."""
        out: list[tuple[Drafted, Expr, str, Place]] = []
        for text, place in self.declared.facts:
            try:
                row = parse_line(text)
            except ReadError as e:
                raise self.fail(f"this fact is not understood: {e.what}", place) from None
            right = row.relations[0].right if len(row.relations) == 1 else None
            if row.left is None or not isinstance(right, Number) or not isinstance(row.left, BigOperator):
                raise self.fail("expected a fact such as \\sum_j y_j = 1", place)
            n = -1 - len(out)
            d.scopes.equation, d.taken, d.scopes.lenient = n, set(), True
            d.scopes.unbound = {}
            try:
                value = d.value(row.left, {})
            except ReadError as e:
                raise self.fail(f"this fact is not understood: {e.what}", place) from None
            d.scopes.lenient = False
            out.append((Drafted(Ref(f"fact:{n}", ()), value.expr, n, place), d.value(right, {}).expr, text, place))
        return out


def with_indices(node: Node, name: str) -> Iterator[Node]:
    """Where a symbol has something below."""
    if isinstance(node, Scripted) and isinstance(node.base, Symbol) and node.sub is not None:
        if spelled(node.base) == name:
            yield node
    for child in children(node):
        yield from with_indices(child, name)


def applied_names(node: Node) -> Iterator[str]:
    """The symbols without a subscript that stand directly before brackets somewhere in a formula."""
    if isinstance(node, Product):
        for f, after, op in zip(node.factors, node.factors[1:], node.operators, strict=False):
            base = f.base if isinstance(f, Scripted) and f.sub is None else f
            if isinstance(base, Symbol) and not op and (isinstance(after, Group) or raised_brackets(after)):
                yield spelled(base)
    if isinstance(node, Application):
        base = node.function.base if isinstance(node.function, Scripted) else node.function
        if isinstance(base, Symbol):
            yield spelled(base)
    for child in children(node):
        yield from applied_names(child)


def nearest_or(name: str, names: Sequence[str], listed: str) -> str:
    hint = nearest(name, names)
    return f"{hint}{listed}" if "did you mean" in hint else listed


def all_bound(node: Node) -> list[str]:
    """Every letter that a sum in a formula binds."""
    out = list(bound_letters(node.sub, node.body)) if isinstance(node, BigOperator) else []
    for c in children(node):
        out += all_bound(c)
    return out


def canonical_draft(e: Expr) -> Expr:
    return canonical(e)


def table_entry(value: Expr, argument: str) -> str:
    """The entry of the tables with this very formula; empty where there is none."""
    from symbackprop import functions as F

    for f in F.FUNCTIONS.values():
        if f.value is not None and f.value(Param(argument)) == value:
            return f.name
    return ""


__all__ = ["Entry", "Model", "read_model"]
