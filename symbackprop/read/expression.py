r"""Formulas about a network: what `render` prints, and what people write, as expressions of that network.

    read_expression(r"\sum_k w_{jk}^{(l)} a_k^{(l-1)}", system, notation)

Beyond the equations of a model these have derivatives, Kronecker deltas, brackets that say where something holds, places
of the largest, arrays. A letter that nothing binds stands for any place on its axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from symbackprop.errors import ReadError, ReadIndexError, ReadShapeError
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, at_least
from symbackprop.network import SAMPLES, System
from symbackprop.notation import Notation
from symbackprop.read.arrays import OPEN, Array, add, alike, elementwise, is_constant, mapped, multiply, sizes
from symbackprop.read.declare import Declarations
from symbackprop.read.dots import is_instance, summand
from symbackprop.read.draft import Drafter, digits
from symbackprop.read.known import Lexicon, lexicon_of, undefined
from symbackprop.read.known_axes import KnownAxes, KnownSettler
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.read.names import letter_of, spelled
from symbackprop.read.ranges import Said
from symbackprop.read.rewrite import relettered
from symbackprop.read.scan import (
    Reading,
    Sighting,
    bound_letters,
    index_parts,
    is_quantity,
    own_letters,
    sightings,
    size_letters,
)
from symbackprop.read.scopes import Env, Scopes
from symbackprop.read.syntax import (
    Application,
    BigOperator,
    Chain,
    Dots,
    Evaluated,
    Fraction,
    Group,
    Listing,
    Nabla,
    Node,
    Number,
    Place,
    Product,
    Row,
    Scripted,
    Symbol,
    children,
    differentials,
)
from symbackprop.read.syntax import (
    Sum as Terms,
)
from symbackprop.symbols import (
    ONE,
    ZERO,
    Assign,
    Binder,
    Call,
    Compare,
    D,
    Delta,
    Expr,
    Guarded,
    Max,
    Mul,
    Param,
    Partial,
    Position,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    Winner,
    expr,
    names,
    substitute,
    walk,
)

LAST = "L"
"""The letter of the last layer, of a network that has a number of layers."""


@dataclass(frozen=True)
class ReadLine:
    """A line of a text about a network, read.

    Args:
        sides: What is said to be equal, in order; of a continued line its right sides alone. Arrays are `Vec`s.
            What the line says of values, `z_j > 0`, is part of each: `Where(z_j > 0, side, 0)`.
        guard: What the line says of the range of its indices, n the one width of all layers, m the number of samples.
        free: The index letters that nothing in the line binds, each with its axis.
        places: Where each side stands.
        apart: Index expressions that are not 0: j-i for a line that holds for j other than i.
        shapes: The shape of each side.
        remarks: Words beside the line that do not restrict it.
    """

    sides: tuple[Expr, ...]
    guard: Guard
    free: Mapping[str, Axis]
    places: tuple[Place, ...]
    apart: tuple[Affine, ...] = ()
    shapes: tuple[Shape, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """No axis for a number, one for a column, or a row where it lies, two for a matrix."""

    axes: tuple[Axis, ...] = ()
    row: bool = False
    text: str = ""


def read_claim(row: Row, source: Source, system: System, notation: Notation) -> ReadLine:
    r"""What a line of a text says of a network, and where.

    Args:
        row: From `parse_document` of the text of `source`.

    Raises:
        ReadShapeError: Arrays in it do not fit; the message has both shapes.
        ReadIndexError: A quantity has other indices than written.
        ReadError: It is not understood, or is no equation.
    """
    return Reader(source, system, notation).claim(row)


def read_expression(text: str, system: System, notation: Notation) -> Expr:
    """The expression of a network that a formula stands for.

    Args:
        text: One expression, or an update `w <- ...`.

    Raises:
        ReadError: It is not understood, with line and column.
    """
    sides = read_line(text, system, notation)
    if len(sides) != 1:
        raise ReadError(f"expected one expression, found {len(sides)} that are said to be equal", text, 1)
    return sides[0]


def read_line(text: str, system: System, notation: Notation) -> tuple[Expr, ...]:
    """The sides of a line `a = b = c`, in order; those of a continued line are its right sides alone."""
    document = parse_document(text)
    source = Source(document.text)
    if len(document.rows) != 1:
        place = document.rows[1].place if document.rows else source.place(0, 0)
        raise source.error("expected one formula", place)
    return Reader(source, system, notation).line(document.rows[0])


def reader(text: str, system: System, notation: Notation) -> tuple[Reader, Row]:
    document = parse_document(text)
    source = Source(document.text)
    if len(document.rows) != 1:
        place = document.rows[1].place if document.rows else source.place(0, 0)
        raise source.error("expected one formula", place)
    return Reader(source, system, notation), document.rows[0]


@dataclass
class Reader:
    """One formula on its way to an expression."""

    source: Source
    system: System
    notation: Notation

    def __post_init__(self) -> None:
        lexicon = lexicon_of(self.system, self.notation)
        declared = Declarations(integers=self.system.integers)
        for name, f in self.system.families.items():
            if f.over is not None:
                letter = next(
                    (
                        x
                        for g in self.system.families.values()
                        for x, a in zip(g.indices, g.axes, strict=True)
                        if a == f.over
                    ),
                    "k",
                )
                declared.labels[name] = (letter, Place(1, 1, 0, 0))
                declared.kinds[name] = ("input", Place(1, 1, 0, 0))
        ends = {a.label for f in self.system.families.values() for a in f.axes if a.kind == "node" and a.at is None}
        ends |= {
            p.axis.label
            for e in self.system.equations
            for _, p in walk(e.rhs)
            if isinstance(p, Binder | Size) and p.axis.kind == "node"
        }
        stems = {a.label for f in self.system.families.values() for a in f.axes if a.at is not None}
        clocks = frozenset(
            x
            for f in self.system.families.values()
            for x, a in zip(f.indices, f.axes, strict=True)
            if a.kind == "recursion"
        )
        width = self.notation.width == "n"
        self.scopes = Scopes(
            self.source,
            set(self.system.constants),
            clocks=clocks,
            lenient=True,
            stems=frozenset(stems),
            one_width=min(stems, default="") if width else "",
            numbers=self.system.size,
        )
        if self.notation.width in ("n", "none"):
            self.scopes.constants |= stems
        if self.system.mean is not None:
            self.scopes.constants.add(self.notation.samples)
        self.depth: dict[str, Affine] = {}
        if self.system.layers.value and LAST not in lexicon.looks and LAST not in self.scopes.constants:
            self.depth = {LAST: self.system.layers}
            self.scopes.constants.add(LAST)
        self.drafter = KnownDrafter(
            self.source,
            declared,
            lexicon,  # type: ignore[arg-type]
            self.scopes,
            sizes=frozenset(ends | self.system.constants) - set(self.system.integers) - stems,
            stems=frozenset(stems),
            system=self.system,
            notation=self.notation,
            depth=self.depth,
        )

    def line(self, row: Row) -> tuple[Expr, ...]:
        arrays = self.arrays(row, ("=", ":=", "equiv", "approx"))
        self.said(row)  # what a line says of its range does not change what its sides are
        return tuple(self.settled(arrays)[0])

    def claim(self, row: Row) -> ReadLine:
        """The line with its range; see `ReadLine`."""
        arrays = self.arrays(row, ("=", ":=", "equiv"))
        self.same_shapes(arrays, row)
        said = self.said(row)
        if said.where and row.continued:
            raise self.source.error(
                "a condition on quantities behind a line that goes on from another is not read; put it behind the first",
                row.conditions[0].place,
            )
        for condition in said.where:
            arrays = [mapped(a, lambda e, c=condition: Where(c, e, ZERO)) for a in arrays]  # type: ignore[misc]
        sides, letters, axes = self.settled(arrays, uniform=True)
        used = frozenset().union(*map(names, sides))
        for letter, condition in self.drafter.lexicon.left_out.items():
            if letter in used:
                sides = [entrywise(e, lambda x, c=condition: Where(c, x, ZERO)) for e in sides]  # type: ignore[misc]
        free = {
            s.letter: axes.found[s.id].substitute({**letters, **self.depth})
            for s in self.scopes.all.values()
            if s.free and s.id in axes.found
        }
        return ReadLine(
            tuple(sides),
            tuple(c.substitute(self.depth) for c in self.guard(said.guard, letters, axes)),
            MappingProxyType({x: a for x, a in free.items() if "#" not in str(a.at)}),
            tuple(n.place for n in nodes_of(row)),
            tuple(a.substitute({**letters, **self.depth}) for a in said.apart),
            tuple(self.shape(a, letters) for a in arrays),
            tuple(said.remarks),
        )

    def arrays(self, row: Row, signs: tuple[str, ...]) -> list[Array]:
        """The sides of a line, on no axes yet."""
        env: Env = {}
        nodes = self.in_layer_letters(nodes_of(row))
        self.drafter.lone = frozenset(id(n) for n in nodes if isinstance(n, Symbol))
        if row.relations and row.relations[0].sign in ("<-", "->") and row.left is not None:
            target, value = (self.drafter.value(n, env) for n in nodes[:2])
            if not isinstance(target.expr, Ref):
                raise self.source.error("an update changes a quantity", row.left.place)
            return [Array(Assign(target.expr, value.expr))]
        self.drafter.counts = self.counts(nodes)
        self.drafter.averages = self.averages(nodes)
        self.drafter.argument = self.argument(nodes)
        self.scopes.constants |= self.drafter.counts.keys()
        for r in row.relations:
            if r.sign not in signs:
                raise self.source.error(NO_EQUATION.get(r.sign, f"the relation {r.sign!r} is not read here"), r.place)
        return [self.drafter.value(n, env) for n in nodes]

    def in_layer_letters(self, nodes: list[Node]) -> list[Node]:
        """Where letters name layers, other letters replaced by that of the one layer that they can count."""
        lexicon = self.drafter.lexicon
        if not lexicon.layers_named:
            return nodes
        found = [s for n in nodes for s in sightings(n, frozenset()) if s.sub is not None]
        written = {x for s in found for x in own_letters(index_parts(s.sub)) or ()}  # type: ignore[arg-type]
        for letter in sorted(written - lexicon.layers_named):
            meant = lexicon.stands_for(letter, found)
            if meant is not None:
                nodes = [relettered(n, letter, meant) for n in nodes]
        return nodes

    def argument(self, nodes: list[Node]) -> str:
        r"""The one letter of a line about functions alone: the z of \sigma'(z) = \sigma(z)(1 - \sigma(z))."""
        found = [s for n in nodes for s in sightings(n, frozenset())]
        functions = {s.key for s in found if self.drafter.lexicon.functions.get(s.key)}
        others = {(s.key, s.sub is None and s.sup is None and not s.primes) for s in found if s.key not in functions}
        plain = len(others) == 1 and all(bare for _, bare in others)
        applied = any(isinstance(n, Application) for node in nodes for n in every(node)) or bool(functions)
        return min(others)[0] if plain and applied and len(nodes) > 1 else ""

    def averages(self, nodes: list[Node]) -> bool:
        """Whether a line speaks of the cost over samples: there n is their number, elsewhere a width."""
        if self.system.mean is None:
            return False
        looks = self.drafter.lexicon.looks
        keys = {k for k, found in looks.items() if any(x.name in self.system.mean for x in found)}
        own = {k for k, found in looks.items() if all(x.name == self.system.cost for x in found)}
        named = [spelled(x) for n in nodes for x in every(n) if isinstance(x, Symbol)]
        stems = {a.label for f in self.system.families.values() for a in f.axes if a.at is not None}
        return self.notation.samples not in stems or any(k in keys - own for k in named)

    def counts(self, nodes: list[Node]) -> dict[str, Axis]:
        """Letters that in this line are the number of samples, or the length of another axis that has its own letter.

        Before a sum over samples n is their number, though it is a width elsewhere.
        """
        lengths: dict[str, set[Axis]] = {}
        for f in self.system.families.values():
            for x, a in zip(f.indices, f.axes, strict=True):
                lengths.setdefault(x, set()).add(a)
        out: dict[str, Axis] = {}
        known = self.system.constants | self.drafter.lexicon.looks.keys() | lengths.keys()
        for big in (b for n in nodes for b in every(n) if isinstance(b, BigOperator)):
            for letter in size_letters(replace(big, body=Number("1", big.place)), frozenset()):
                axes = set().union(*(lengths.get(x, set()) for x in bound_letters(big.sub)))
                if letter in known or len(axes) != 1 or letter.endswith("_"):
                    continue
                (axis,) = axes
                if axis.kind == "node" and axis.at is None:
                    out[letter] = axis
        return out

    def same_shapes(self, arrays: list[Array], row: Row) -> None:
        """Refuse sides of unlike shapes; a plain number may stand for each entry of an array."""
        for n, a in enumerate(arrays[1:], 1):
            first = arrays[0]
            plain = any(not x.open and is_constant(x.expr) for x in (first, a))
            if not alike(first, a, self.scopes) and not plain:
                raise self.source.misfit(
                    f"{sizes(first, self.scopes)} is said to equal {sizes(a, self.scopes)}; both sides need one shape",
                    nodes_of(row)[n].place,
                )

    def said(self, row: Row) -> Said:
        """What stands behind the line."""
        known = self.scopes.unbound.keys() | self.scopes.constants | self.scopes.stems
        quantities = self.drafter.lexicon.looks.keys() | self.drafter.lexicon.gradients.keys()
        said = Said(self.scopes, lambda letter: letter in known or letter not in quantities, self.values)
        said.read(row.conditions)
        return said

    def values(self, chain: Chain) -> list[Expr] | None:
        """A condition on quantities, as far as points can be drawn at which it holds; None where it is none."""
        sides = (chain.first, chain.relations[0].right)
        if any(s is None or not self.speaks_of_values(s) for s in sides):
            return None
        labelled = any(s is not None and self.drafter.label(s, {}) is not None for s in sides)
        if chain.relations[0].sign in ("=", "!=") and not labelled:
            return None
        return self.drafter.conditions(chain, {})

    def speaks_of_values(self, node: Node) -> bool:
        """Whether every symbol in a side of a condition is one of the network, a number or an index."""
        looks, known = self.drafter.lexicon.looks, self.scopes.unbound.keys()
        return all(s.key in looks or s.key in known for s in sightings(node, frozenset()))

    def guard(self, said: list[Constraint], letters: Mapping[str, Affine], axes: KnownAxes) -> Guard:
        """Conditions in positions; those that only say that an index is on its axis are left out."""
        out: list[Constraint] = []
        for c in said:
            mine = [n for n in c.expr.names if n in self.scopes.all]
            widths = c.expr.names - self.scopes.all.keys() - self.system.constants
            if not widths:
                out.append(c.substitute(letters))
                continue
            axis = axes.axis(mine[0]) if len(mine) == 1 else OPEN
            end = affine(min(widths)) - affine(mine[0]) if mine else affine(0)
            beyond = (c.expr - end).value
            name = min(widths).partition("@")[0]
            first = self.notation.first_of(axis.label) if axis.kind == "node" else 0
            if axis.label != name or beyond is None or c.equal or beyond < first - 1:
                raise self.source.error(
                    f"a range that ends at {name} and not at the end of its axis is not understood",
                    self.scopes.all[mine[0]].place if mine else self.source.place(0, 0),
                )
        return tuple(dict.fromkeys(out))

    def shape(self, a: Array, letters: Mapping[str, Affine]) -> Shape:
        axes = [self.scopes.lengths.get(x, OPEN).substitute(letters) for x in a.open]
        return Shape(tuple(axes), a.row, sizes(a, self.scopes))

    def settled(self, drafts: list[Array], uniform: bool = False) -> tuple[list[Expr], dict[str, Affine], KnownAxes]:
        """Sides on their axes, and what each free letter's scope is in them.

        Args:
            uniform: The array of the derivatives by the entries of an array is a `Vec` like any other.
        """
        axes = KnownAxes(
            self.system, self.notation, self.scopes, self.drafter.declared, [a.expr for a in drafts], self.source
        )
        settler = KnownSettler(
            axes,  # type: ignore[arg-type]
            {},
            {},
            self.system.constants,
            self.notation.zero,
            system=self.system,
            counts=self.drafter.counts,
            depth=self.depth,
        )
        free = [s for s in self.scopes.all.values() if s.free]
        used = frozenset().union(*(names(a.expr) for a in drafts))
        letters: dict[str, Affine] = {}
        for s in free:
            if s.id not in used and "@" + s.id not in used and not axes.knows(s.id):
                letters[s.id] = affine(s.letter)  # in a condition only
                continue
            sample = axes.axis(s.id).kind == "sample" and s.letter == self.notation.sample
            letters |= settler.meant(s, affine("i" if sample else s.letter))
        taken = frozenset(s.letter for s in free)
        out = []
        for a in drafts:
            e = a.expr
            for index in reversed(a.open):
                if isinstance(e, Partial) and not uniform:
                    e = replace(e, bottom=Vec(index, OPEN, e.bottom))
                else:
                    e = Vec(index, OPEN, e)
            out.append(substitute(settler.padded(settler.expression(e, letters, taken, None)), self.depth))
        return out, letters, axes


def entrywise(e: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """A function of the entries of an array."""
    return replace(e, body=entrywise(e.body, f)) if isinstance(e, Vec) else f(e)


def every(node: Node) -> Iterator[Node]:
    """Every node of a tree."""
    yield node
    for child in children(node):
        yield from every(child)


NO_EQUATION = {
    "approx": "an approximation is no equation; a claim has =",
    "sim": "an approximation is no equation; a claim has =",
    "propto": "a proportionality leaves its factor open; a claim has =",
    **dict.fromkeys(("<", "<=", ">", ">=", "<<", ">>"), "an inequality is not judged; a claim has ="),
    "!=": "that two things differ is not judged; a claim has =",
}


def nodes_of(row: Row) -> list[Node]:
    """The sides of a line in order."""
    return [*([row.left] if row.left is not None else []), *(r.right for r in row.relations)]


HADAMARD = (r"\odot", r"\circ", r"\ast", r"\star")

MAX_POWER = 8
"""The largest power of a matrix that is multiplied out."""


# ---------------------------------------------------------------- symbols


@dataclass
class KnownDrafter(Drafter):
    """Formulas over the families of a network."""

    system: System = None  # type: ignore[assignment]
    notation: Notation = None  # type: ignore[assignment]
    counts: Mapping[str, Axis] = field(default_factory=dict)
    """Letters that are the length of an axis in one line."""
    argument: str = ""
    """The letter that functions are applied to in a line about functions alone."""
    depth: Mapping[str, Affine] = field(default_factory=dict)
    """The letter of the last layer, where the network has a number of layers."""
    averages: bool = True
    """Whether the letter of the number of samples is that, and no width."""
    lone: frozenset[int] = frozenset()
    """Symbols that are a whole side of a line, or stand above the line of a derivative: C is the cost, not a size."""

    @property
    def lexicon(self) -> Lexicon:
        return self.letters  # type: ignore[return-value]

    def value(self, node: Node, env: Env) -> Array:
        match node:
            case Evaluated():
                return self.held(node, env)
            case Scripted(base=Group()) if (inner := self.unwrapped(node)) is not node:
                return self.value(inner, env)
            case Scripted(base=Symbol(), primes=n) if n and self.is_function(node):
                return self.at_its_argument(node, env)
            case Group(kind="open", body=body):
                return self.value(body, env)
        return super().value(node, env)

    def held(self, node: Evaluated, env: Env) -> Array:
        r"""A derivative through one equation alone, all else in it held: \left. ... \right|_{\hat y}."""
        body = node.body.body if isinstance(node.body, Group) else node.body
        pointed = any(isinstance(i, Chain) for i in node.at.items)
        if not isinstance(body, Fraction) or not body.derivative or pointed:
            raise self.fail("a formula at a point is not read; write the point in the place of its letters", node.place)
        return mapped(self.value(body, env), lambda e: replace(e, direct=True) if isinstance(e, Partial) else e)

    def terms(self, node: Terms, env: Env) -> Array:
        """A sum; one written out with dots is the sum over the index in which its terms differ."""
        dots = [n for n, t in enumerate(node.terms) if isinstance(t.body, Dots)]
        if not dots:
            return super().terms(node, env)
        first, last = dots[0] - 1, dots[-1] + 1
        if first < 0 or last >= len(node.terms):
            raise self.fail(
                "terms on both sides of these dots would say what they leave out", node.terms[dots[0]].body.place
            )
        a, b = (self.scalar(replace(node, terms=(node.terms[n],)), env, "a term") for n in (first, last))
        scope = self.scopes.new("p", node.place)
        found = summand(a, b, scope.id)
        if found is None:
            raise self.fail(
                "what the dots leave out is not known: the terms around them differ in more than one index", node.place
            )
        body, end = found
        # Up to another index rather than to the end of the axis.
        short = (at_least(end, scope.id),) if end.names & self.scopes.all.keys() else ()
        while first and is_instance(
            self.scalar(replace(node, terms=(node.terms[first - 1],)), env, "a term"), body, scope.id
        ):
            first -= 1
        parts = [self.value(replace(node, terms=(t,)), env) for t in node.terms[:first]]
        parts += [Array(Sum(scope.id, OPEN, body, short))]
        parts += [self.value(replace(node, terms=(t,)), env) for t in node.terms[last + 1 :]]
        out = parts[0]
        for p in parts[1:]:
            out = add(out, p, self.scopes, node.place)
        return out

    # ------------------------------------------------------------ derivatives

    def quotient(self, node: Fraction, env: Env) -> Array:
        if not node.derivative:
            return super().quotient(node, env)
        over, under = differentials(node.over), differentials(node.under)
        if len(over) != 1 or len(under) != 1 or over[0].order is not None or under[0].order is not None:
            raise self.fail("a derivative of higher order, or by several quantities, is not read", node.place)
        (top,), (bottom,) = over, under
        if bottom.of is None:
            raise self.fail("a derivative by nothing", bottom.place)
        if top.of is None:
            raise self.fail("nothing stands behind this derivative to differentiate", node.place)
        below = self.value(bottom.of, env)
        above = self.above(top.of, env)
        if above.open:
            raise self.fail(
                f"{self.text(top.of)!r} above the line is {above.shape}; expected one quantity with its indices",
                top.of.place,
            )
        if isinstance(above.expr, Call) and isinstance(below.expr, Param) and above.expr.arguments == (below.expr,):
            return Array(replace(above.expr, order=above.expr.order + 1))
        if not isinstance(above.expr, Ref):
            if not isinstance(below.expr, Ref):
                raise self.fail(
                    f"{self.text(bottom.of)!r} below the line; expected a quantity of the network", bottom.of.place
                )
            formula, variable = above.expr, below.expr
            return replace(below, expr=D(formula, variable))
        return self.by(above.expr, below, bottom.of)

    def above(self, node: Node, env: Env) -> Array:
        """What is differentiated; the brackets of J(W, b), which say on what it depends, say nothing more."""
        if isinstance(node, Product) and len(node.factors) == 2 and self.depends(*node.factors):
            node = node.factors[0]
        self.lone |= {id(node)}
        return self.value(node, env)

    def depends(self, name: Node, brackets: Node) -> bool:
        """Whether brackets behind a quantity list other quantities."""
        if not is_quantity(name) or not isinstance(brackets, Group) or brackets.kind not in ("round", "square"):
            return False
        if self.sighting(name, {}).key not in self.lexicon.looks:  # type: ignore[arg-type]
            return False
        inside = brackets.body.items if isinstance(brackets.body, Listing) else (brackets.body,)
        return all(map(is_quantity, inside))

    def nabla(self, node: Nabla, body: Node, env: Env) -> Array:
        r"""\nabla_W C: the array of the derivatives by the entries of an array."""
        items = node.by.items if node.by is not None else ()
        if len(items) != 1 or node.order is not None:
            raise self.fail(
                f"{self.text(node)!r} is not understood; expected the array below that it is taken by", node.place
            )
        above = self.above(body, env)
        if not isinstance(above.expr, Ref) or above.open:
            raise self.fail(
                f"{self.text(body)!r} behind {self.text(node)!r}; expected one number of the network", body.place
            )
        below = self.value(items[0], env)
        if isinstance(below.expr, Ref):
            by = self.at_end(below.expr, items[0], above.expr.family)
            self.measure(by, below.open)
            below = replace(below, expr=by)
        return self.by(above.expr, below, items[0])

    def by(self, above: Ref, below: Array, node: Node) -> Array:
        """The derivative by a quantity; by one at a label, the w_{y_i} of class y_i, that of the label's place."""
        if isinstance(below.expr, Ref):
            return self.partial(above, below)
        match below.expr:
            case Sum(index, axis, Mul((Where() as chosen, Ref() as entry))):
                one = self.partial(above, replace(below, expr=entry))
                return mapped(one, lambda e: Sum(index, axis, Mul((chosen, e))))
        raise self.fail(f"a derivative by {self.text(node)!r}; expected a quantity of the network", node.place)

    def measure(self, ref: Ref, opened: tuple[str, ...]) -> None:
        """Remember how long the open indices of an array are."""
        axes = zip(ref.indices, self.system.axes(ref), strict=True)
        self.scopes.lengths |= {i.name: a for i, a in axes if i.name in opened}

    def at_end(self, below: Ref, node: Node, cost: str) -> Ref:
        r"""A quantity without its layer is that on which the cost depends at once: \nabla_a C is by a^L."""
        if not is_quantity(node) or self.lexicon.reading(self.sighting(node, {})).upper:  # type: ignore[arg-type]
            return below
        look = self.lexicon.look(below.family)
        uses = [
            p
            for e in self.system.equations
            if e.lhs.family == cost
            for _, p in walk(e.rhs)
            if isinstance(p, Ref) and p.family == below.family
        ]
        layers = {tuple(p.indices[n] for n in look.upper) for p in uses}
        if len(layers) != 1:
            return below
        found = dict(zip(look.upper, layers.pop(), strict=True))
        return Ref(below.family, tuple(found.get(n, i) for n, i in enumerate(below.indices)))

    def partial(self, above: Ref, below: Array) -> Array:
        assert isinstance(below.expr, Ref)
        for name, (cost, owner) in self.system.gradients.items():
            if cost == above.family and owner == below.expr.family:
                return replace(below, expr=Ref(name, below.expr.indices))
        return replace(below, expr=Partial(above, below.expr))

    def product(self, node: Product, env: Env) -> Array:
        factors = [self.unwrapped(f) for f in node.factors]
        node = replace(node, factors=tuple(factors))
        for n, f in enumerate(factors[:-1]):
            if isinstance(f, Fraction) and f.operator:
                stop = n + 2
                if stop < len(factors) and self.depends(factors[n + 1], factors[stop]):
                    del factors[stop]
                    node = replace(
                        node, factors=tuple(factors), operators=node.operators[: stop - 1] + node.operators[stop:]
                    )
                elif stop < len(factors) and isinstance(factors[stop], Group) and self.is_function(factors[n + 1]):
                    stop += 1
                ahead, inner = self.part(node, 0, n, env), self.part(node, n + 1, stop, env)
                assert inner is not None
                out = self.operator(f, inner, env)
                tail = self.part(node, stop, len(factors), env)
                out = out if tail is None else multiply(out, tail, self.scopes, node.place)
            elif isinstance(f, Nabla):
                stop = n + 2
                body = factors[n + 1]
                if stop < len(factors) and not node.operators[n + 1] and self.depends(body, factors[stop]):
                    stop += 1
                ahead, out = self.part(node, 0, n, env), self.nabla(f, body, env)
                tail = self.part(node, stop, len(factors), env)
                out = out if tail is None else multiply(out, tail, self.scopes, node.place)
            elif isinstance(f, Group) and f.kind == "square" and self.is_guard(f.body, env):
                guard = self.guard(f.body, env)
                ahead, inside = self.part(node, 0, n, env), self.part(node, n + 1, len(factors), env)
                assert inside is not None
                out = mapped(inside, lambda e, g=guard: Guarded(e, g))  # type: ignore[misc]
            else:
                continue
            return out if ahead is None else multiply(ahead, out, self.scopes, node.place)
        if node.operators and node.operators[0] in HADAMARD:
            return self.elementwise(node, env)
        return super().product(node, env)

    def elementwise(self, node: Product, env: Env) -> Array:
        r"""An elementwise product, which binds weaker than a product without a sign.

        Where that gives no shape, and \cdot stands between arrays, everything is taken from the right:
        W^T \cdot f' \circ \delta is W^T (f' \circ \delta).
        """
        try:
            return super().product(node, env)
        except ReadShapeError:
            parts = [(f, op) for f, op in zip(node.factors, ("", *node.operators), strict=True)]
            flat = [q for f, op in parts for q in spread(f, op)]
            if not any(op == r"\cdot" for _, op in flat):
                raise
            try:
                return self.from_the_right(flat, env, node.place)
            except ReadShapeError:
                pass
            raise

    def from_the_right(self, parts: list[tuple[Node, str]], env: Env, place: Place) -> Array:
        values = [self.value(f, env) for f, _ in parts]
        out = values[-1]
        for v, (_, op) in zip(reversed(values[:-1]), reversed(parts[1:]), strict=True):
            out = elementwise(v, out, self.scopes, place) if op in HADAMARD else multiply(v, out, self.scopes, place)
        return out

    def unwrapped(self, node: Node) -> Node:
        r"""A function's name without the brackets before its prime: f'^L for (f^L)'."""
        if not isinstance(node, Scripted) or not node.primes or node.sub is not None or node.sup is not None:
            return node
        inner = node.base.body if isinstance(node.base, Group) and node.base.kind == "round" else None
        if isinstance(inner, Symbol):
            inner = Scripted(inner, None, None, 0, inner.place)
        if not isinstance(inner, Scripted) or not isinstance(inner.base, Symbol) or not self.is_function(inner):
            return node
        return replace(inner, primes=inner.primes + node.primes, place=node.place)

    def part(self, node: Product, start: int, stop: int, env: Env) -> Array | None:
        """What some neighbouring factors of a product are together."""
        factors = node.factors[start:stop]
        if not factors:
            return None
        if len(factors) == 1:
            return self.value(factors[0], env)
        return self.product(replace(node, factors=factors, operators=node.operators[start : stop - 1]), env)

    def operator(self, f: Fraction, body: Array, env: Env) -> Array:
        under = differentials(f.under)
        if len(under) != 1:
            raise self.fail("a derivative by several quantities is not read", f.place)
        (bottom,) = under
        if bottom.of is None:
            raise self.fail("a derivative by nothing", f.place)
        inner = bottom.of.body if isinstance(bottom.of, Group) else bottom.of
        variable = self.value(inner, env)
        if not isinstance(variable.expr, Ref) or variable.open:
            raise self.fail("a derivative is by one quantity of the network", f.place)
        by = variable.expr
        return mapped(body, lambda e: D(e, by))

    # ------------------------------------------------------------ conditions

    def is_guard(self, body: Node, env: Env) -> bool:
        parts = body.items if isinstance(body, Listing) else (body,)
        for p in parts:
            if not isinstance(p, Chain):
                return False
            sides = [p.first, *(r.right for r in p.relations)]
            if any(s is None or self.label(s, env) is not None or isinstance(s, BigOperator) for s in sides):
                return False
            if any(s is not None and self.speaks_of_quantity(s) for s in sides):
                return False
            if any(r.sign not in ("=", "<", "<=", ">", ">=") for r in p.relations):
                return False
            try:
                self.scopes.chain(p, env)
            except ReadError:
                return False
        return True

    def speaks_of_quantity(self, node: Node) -> bool:
        """Whether a quantity of the network stands in a formula: a condition on it is none on indices."""
        base = node.base if isinstance(node, Scripted) else node
        if isinstance(base, Symbol):
            name = spelled(base)
            known = name in self.lexicon.looks or name in self.lexicon.functions or name in self.lexicon.gradients
            if known and name not in self.sizes and name not in self.scopes.constants:
                return True
        return any(self.speaks_of_quantity(n) for n in children(node))

    def guard(self, body: Node, env: Env) -> Guard:
        parts = body.items if isinstance(body, Listing) else (body,)
        return tuple(c for p in parts if isinstance(p, Chain) for c in self.scopes.chain(p, env))

    def is_index(self, node: Node, env: Env) -> bool:
        letter = letter_of(node)
        if letter is not None and letter not in env and letter not in self.lexicon.looks and letter not in self.sizes:
            self.scopes.anywhere(letter, node.place)
            return True
        return super().is_index(node, env)

    def indicator(self, condition: Node, env: Env) -> Expr:
        if isinstance(condition, Chain) and len(condition.relations) == 1:
            right = condition.relations[0].right
            if isinstance(right, BigOperator) and right.name == "argmax" and condition.first is not None:
                at = self.scopes.affine(condition.first, env)
                inner, bound = self.scopes.limits(right.sub, right.sup, env, "max", right.place)
                (s,) = bound
                if at.name in self.scopes.all:
                    assert at.name is not None
                    self.scopes.join(s.id, at.name, right.place)
                largest = Max(s.id, OPEN, self.scalar(right.body, inner, "what is compared"), tuple(s.guard))
                return Winner(largest, at)
        if self.is_guard(condition, env):
            return Guarded(ONE, self.guard(condition, env))
        return super().indicator(condition, env)

    # ------------------------------------------------------------ symbols

    def sighting(self, node: Symbol | Scripted, env: Env, applied: bool = False) -> Sighting:
        s = super().sighting(node, env, applied)
        other = self.lexicon.aliases.get(s.key)
        return s if other is None or applied or s.key in env else replace(s, key=other)

    def symbol(self, node: Symbol | Scripted, env: Env) -> Array:
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        s = self.sighting(node, env)
        if self.is_kronecker(s):
            assert s.sub is not None
            parts = [d for p in s.sub.pieces for d in digits(p)]
            if len(parts) == 2:
                left, right = (self.scopes.affine(p, env) for p in parts)
                if left.name in self.scopes.all and right.name in self.scopes.all:
                    assert left.name is not None and right.name is not None
                    self.scopes.join(left.name, right.name, node.place)
                return Array(Delta(left, right, OPEN))
        family = self.lexicon.gradients.get(s.key)
        if family is not None and s.key not in self.lexicon.looks:
            look = self.lexicon.look(family)
            own = replace(s, key=look.key)
            v = self.family(base, own, self.lexicon.reading(own), env)
            assert isinstance(v.expr, Ref)
            return self.partial(Ref(self.system.cost, ()), v)
        return super().symbol(node, env)

    def is_kronecker(self, s: Sighting) -> bool:
        """Whether delta is Kronecker's: something stands below, nothing above, and it names no quantity."""
        if s.key != "delta" or s.sub is None or s.sup is not None or "delta" in self.lexicon.looks:
            return False
        family = self.lexicon.gradients.get("delta")
        found = None if family is None else self.lexicon.chosen(replace(s, key=self.lexicon.look(family).key))
        return found is None or not found[0].sub_unit

    def bare(self, s: Sighting, node: Node, env: Env) -> Expr | None:
        if s.key in (self.parameter, self.argument):
            return Param(s.key)
        both = s.key in self.sizes and any(x.name == self.system.cost for x in self.lexicon.looks.get(s.key, ()))
        if s.key in self.lexicon.looks and not (both and id(node) not in self.lone):
            return None
        if s.key in self.counts:
            return Size(self.counts[s.key])
        if self.system.mean is not None and s.key == self.notation.samples and self.averages:
            return Size(SAMPLES)
        if s.key in self.stems and (over := averaged(self.system)) is not None:
            return Size(over)
        stated = {w for w in self.system.widths if w is not None}
        if s.key in self.stems and len(stated) > 1:
            widths = ", ".join(map(str, self.system.widths))
            raise self.fail(f"{s.key} is no one width of this network, whose layers have {widths} nodes", s.place)
        if s.key in self.stems and self.notation.width == "n":
            return Size(Axis("node", s.key, affine(0)))  # the one width of all layers
        if s.key in self.depth:
            return expr(self.depth[s.key].const)
        if s.key in self.declared.integers:
            return Position(affine(s.key))
        if s.key in self.sizes:
            return Size(Axis("node", s.key))
        if s.key == "pi":
            return Param("pi")
        if s.key == "eta":
            return Param("eta")
        if s.key in env:
            return Position(affine(env[s.key]))
        if s.key in self.scopes.clocks and s.sub is None and s.sup is None:
            return Position(self.scopes.name(s.key, node, env))  # the t of w^{T-t}
        raise self.fail(undefined(s, self.lexicon, self.text(node)), s.place)

    def family(self, base: Symbol, s: Sighting, reading: Reading, env: Env) -> Array:
        """A quantity of the network, its indices in the network's order."""
        if reading.name not in self.system.families:
            raise self.fail(undefined(s, self.lexicon, self.text_of(s)), s.place)
        f = self.system.family(reading.name)
        look = self.lexicon.look(reading.name)
        lower = list(reading.lower)
        if (wrong := self.lexicon.misnamed(s, lower)) is not None:
            message, known = wrong
            raise self.source.raised(ReadIndexError if known else ReadError, message, s.place)
        if len(lower) < len(look.lower):
            lower = [d for p in lower for d in digits(p)]
        if len(lower) > len(look.lower):
            raise self.fail(
                f"{self.text_of(s)} has {len(lower)} {'index' if len(lower) == 1 else 'indices'} below; "
                f"{reading.name} has {len(look.lower)}",
                s.place,
            )
        # The index of the only node of an axis is left out.
        firsts = [0 if a.kind == "recursion" else self.notation.first_of(a.label) for a in f.axes]
        indices: list[Affine] = [affine(n) for n in firsts]
        for place, p in zip(look.upper, reading.upper, strict=False):
            indices[place] = self.scopes.affine(p, env, "a layer")
        if len(reading.upper) < len(look.upper):
            missing = look.upper[len(reading.upper) :]
            for place in missing:
                letter = f.indices[place]
                indices[place] = self.scopes.name(letter, base, env)
        gathered: list[tuple[str, Expr]] = []
        for place, p in zip(look.lower, lower, strict=False):
            datum = self.datum(p, env)
            if datum is not None:
                letter, _ = self.declared.labels[datum[0]]
                scope = self.scopes.new(self.free_letter(letter, env), p.place)
                gathered.append((scope.id, datum[1]))
                indices[place] = affine(scope.id)
            else:
                indices[place] = self.scopes.affine(p, env)
        opened: list[str] = []
        for place in look.lower[len(lower) :]:
            scope = self.scopes.new(self.free_letter(f.indices[place], env), s.place)
            opened.append(scope.id)
            indices[place] = affine(scope.id)
        ref = Ref(f.name, tuple(indices))
        if opened:
            self.measure(ref, tuple(opened))
        out: Expr = ref
        for scope_id, value in reversed(gathered):
            out = gather(scope_id, value, out)
        return Array(out, tuple(opened))

    # ------------------------------------------------------------ functions

    def is_function(self, node: Node) -> bool:
        base = node.base if isinstance(node, Scripted) else node
        if not isinstance(base, Symbol) or (isinstance(node, Scripted) and node.sub is not None):
            return False
        s = self.sighting(node, {}, applied=True)  # type: ignore[arg-type]
        if s.key in self.lexicon.looks and s.key not in self.lexicon.functions:
            cost = any(x.name == self.system.cost for x in self.lexicon.looks[s.key])
            return cost and self.lexicon.function(s, base) is not None
        return self.lexicon.function(s, base) is not None

    def applied(self, node: Node, brackets: Group, env: Env) -> Array:
        assert isinstance(node, Symbol | Scripted)
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        s = self.sighting(node, env, applied=True)
        name = self.lexicon.function(s, base)
        assert name is not None
        at: Affine | None = None
        powers: tuple[Node, ...] = ()
        if s.sup is not None:
            parts = s.sup.pieces
            inner = parts[0].body if isinstance(parts[0], Group) else parts[0]
            if self.lexicon.layered.get(name):
                at, powers = self.scopes.affine(inner, env, "a layer"), parts[1:]
            elif self.is_layer(parts[0], inner, env):
                powers = parts[1:]  # one function for all layers, said with the layer
            else:
                powers = parts
        arguments = self.arguments(brackets, env)
        if len(arguments) != 1:
            raise self.fail(f"{base.name} is applied to {len(arguments)} things; expected one", node.place)
        ((argument, _),) = arguments
        if at is None and self.lexicon.layered.get(name) and isinstance(argument.expr, Ref):
            # g' without its layer is that of the layer of its argument.
            f = self.system.family(argument.expr.family)
            at = next((i for i, a in zip(argument.expr.indices, f.axes, strict=True) if a.kind == "recursion"), None)
        if self.lexicon.is_diagonal(s):
            slopes = mapped(argument, lambda e: Call(name, (e,), s.primes, at))
            return self.with_powers(self.diagonal(slopes, node.place), powers, env, node.place)
        if name == "softmax":
            return self.with_powers(self.known(name, arguments, s.primes, node.place), powers, env, node.place)
        whole = any(
            isinstance(p, Call) and p.function == name and isinstance(p.arguments[0], Vec)
            for e in self.system.equations
            for _, p in walk(e.rhs)
        )
        if whole and len(argument.open) == 1:
            out = Array(Call(name, (Vec(argument.open[0], OPEN, argument.expr),), s.primes, at))
        else:
            out = mapped(argument, lambda e: Call(name, (e,), s.primes, at))
        return self.with_powers(out, powers, env, node.place)

    def diagonal(self, column: Array, place: Place) -> Array:
        """The diagonal matrix of a column."""
        if len(column.open) != 1:
            raise self.fail(f"the diagonal matrix of {column.shape}; expected that of a column", place)
        (index,) = column.open
        other = self.scopes.new(self.scopes.all[index].letter + "'", place)
        self.scopes.join(index, other.id, place)
        self.scopes.agree(other.id, index)
        return Array(Mul((Delta(affine(index), affine(other.id), OPEN), column.expr)), (index, other.id))

    def at_its_argument(self, node: Scripted, env: Env) -> Array:
        """The slopes f'^l without an argument: at the quantity that the model applies f^l to."""
        s = self.sighting(node, env, applied=True)
        assert isinstance(node.base, Symbol)
        name = self.lexicon.function(s, node.base)
        calls = {p for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Call) and p.function == name}
        inner = {p.arguments[0] for p in calls if len(p.arguments) == 1}
        (argument, *others) = inner or {ZERO}
        clocks = [] if not isinstance(argument, Ref) else self.system.axes(argument)
        layer = next((n for n, a in enumerate(clocks) if a.kind == "recursion"), None)
        if not isinstance(argument, Ref) or others or (layer is not None and s.sup is None):
            raise self.fail(f"{self.text(node)!r} has no argument; expected one in brackets", node.place)
        at = self.scopes.affine(s.sup.pieces[0], env, "a layer") if s.sup is not None and layer is not None else None
        indices, opened = list(argument.indices), []
        for n, axis in enumerate(clocks):
            if axis.kind == "recursion" and at is not None:
                indices[n] = at
            else:
                scope = self.scopes.new(self.free_letter(str(argument.indices[n]), env), node.place)
                indices[n] = affine(scope.id)
                opened.append(scope.id)
        ref = Ref(argument.family, tuple(indices))
        self.measure(ref, tuple(opened))
        layered = at if self.lexicon.layered.get(name or "") else None
        return Array(Call(name or "", (ref,), s.primes, layered), tuple(opened))

    def with_powers(self, v: Array, powers: tuple[Node, ...], env: Env, place: Place) -> Array:
        """As for any formula; a matrix may have a small whole power."""
        out = v
        for p in powers:
            if len(out.open) != 2 or not isinstance(p, Number) or not p.text.isdigit():
                out = super().with_powers(out, (p,), env, place)
                continue
            if not 1 <= int(p.text) <= MAX_POWER:
                raise self.fail(f"a matrix to the power {p.text}; powers from 1 to {MAX_POWER} are read", p.place)
            base = out
            for _ in range(int(p.text) - 1):
                out = multiply(out, self.afresh(base, p.place), self.scopes, place)
        return out

    def afresh(self, a: Array, place: Place) -> Array:
        """The same array with open indices of its own."""
        new = tuple(self.scopes.new(self.scopes.all[x].letter, place).id for x in a.open)
        for old, own in zip(a.open, new, strict=True):
            self.scopes.join(old, own, place)
            self.scopes.agree(old, own)
        return replace(a, expr=substitute(a.expr, dict(zip(a.open, map(affine, new), strict=True))), open=new)

    def arguments(self, node: Node, env: Env) -> list[tuple[Array, Place]]:
        """What a function is applied to; of several, targets that the model left out are left out again."""
        inner = node.body if isinstance(node, Group) else node
        if isinstance(inner, Listing) and isinstance(node, Group):
            kept = tuple(i for i in inner.items if not self.is_left_out(i))
            if kept and len(kept) < len(inner.items):
                node = replace(node, body=kept[0] if len(kept) == 1 else replace(inner, items=kept))
        return super().arguments(node, env)

    def is_left_out(self, node: Node) -> bool:
        """Whether something is a target of which the network knows nothing, as no derivative depends on it."""
        if not is_quantity(node):
            return False
        key = self.sighting(node, {}).key  # type: ignore[arg-type]
        return key in ("y", "Y", "t") and key not in self.lexicon.looks

    def is_layer(self, script: Node, inner: Node, env: Env) -> bool:
        """Whether what stands above a function is a layer: brackets around one, or its letter."""
        if not any(a.kind == "recursion" for f in self.system.families.values() for a in f.axes):
            return False
        if isinstance(script, Group) and script.kind in ("round", "square") and isinstance(inner, Number):
            return True
        letters = {letter_of(n) for n in every(inner)} - {None}
        ends = {n for a in (self.system.layers,) for n in a.names} | self.depth.keys()
        return bool(letters) and letters <= self.scopes.clocks | ends

    def application(self, node: Application, env: Env) -> Array:
        f = node.function
        base = f if isinstance(f, Symbol) else f.base if isinstance(f, Scripted) else None
        if isinstance(f, Symbol) and f.name == "diag":
            return self.diagonal(self.value(node.argument, env), node.place)
        if isinstance(base, Symbol) and isinstance(node.argument, Group) and self.lexicon.functions.get(base.name):
            return self.applied(f, node.argument, env)
        return super().application(node, env)

    def entry(self, base: Node, node: Scripted, env: Env) -> Array:
        """An array of entries, (a_j)_{j=1,...,n}, or an entry of brackets."""
        parts = node.sub.items if node.sub is not None else ()
        first = parts[0] if parts else None
        letter = None
        if isinstance(first, Chain) and any(isinstance(p, Dots) for p in parts):
            letter = letter_of(first.first) if first.first is not None else None
        elif len(parts) == 1 and first is not None and isinstance(base, Group):
            letter = letter_of(first)
        if letter is None:
            return super().entry(base, node, env)
        s = self.scopes.new(letter, node.place)
        body = self.value(base, {**env, letter: s.id})
        return Array(body.expr, (s.id, *body.open))


def spread(node: Node, op: str) -> list[tuple[Node, str]]:
    """The factors of a product with the signs before them; a function stays with its argument."""
    if not isinstance(node, Product) or r"\cdot" not in node.operators:
        return [(node, op)]
    groups: list[list[Node]] = [[node.factors[0]]]
    for f, sign in zip(node.factors[1:], node.operators, strict=True):
        if sign == r"\cdot":
            groups.append([f])
        else:
            groups[-1].append(f)
    whole = [g[0] if len(g) == 1 else replace(node, factors=tuple(g), operators=("",) * (len(g) - 1)) for g in groups]
    return [(f, r"\cdot" if n else op) for n, f in enumerate(whole)]


def averaged(system: System) -> Axis | None:
    """The axis over which the cost is a mean."""
    parts = [p for e in system.equations if e.lhs.family == system.cost for _, p in walk(e.rhs)]
    summed = {p.axis for p in parts if isinstance(p, Sum) and p.axis.at is None}
    found = {p.axis for p in parts if isinstance(p, Size)} & summed
    return found.pop() if len(found) == 1 else None


def gather(index: str, datum: Expr, body: Expr) -> Expr:
    """The term of a sum at which its index is the datum."""
    chosen = Where(Compare("==", datum, Position(affine("@" + index))), ONE, ZERO)
    return Sum(index, OPEN, Mul((chosen, body)))


__all__ = ["ReadLine", "Reader", "Shape", "read_claim", "read_expression", "read_line", "reader"]
