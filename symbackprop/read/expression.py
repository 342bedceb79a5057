r"""Formulas about a network: what `render` prints, and what people write, as expressions of that network.

    read_expression(r"\sum_k w_{jk}^{(l)} a_k^{(l-1)}", system, notation)

Beyond the equations of a model these have derivatives, Kronecker deltas, brackets that say where something holds, places
of the largest, arrays. A letter that nothing binds stands for any place on its axis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from symbackprop.errors import ReadError
from symbackprop.indices import Affine, Axis, Guard, affine, at_least
from symbackprop.network import SAMPLES, System
from symbackprop.notation import Notation
from symbackprop.read.arrays import OPEN, Array, add, mapped, multiply
from symbackprop.read.declare import Declarations
from symbackprop.read.dots import is_instance, summand
from symbackprop.read.draft import Drafter, digits
from symbackprop.read.known import Lexicon, undefined
from symbackprop.read.known_axes import KnownAxes, KnownSettler
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.read.names import letter_of
from symbackprop.read.scan import Reading, Sighting
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
    Node,
    Place,
    Product,
    Row,
    Scripted,
    Symbol,
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
    walk,
)


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
        lexicon = Lexicon(self.system, self.notation)
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
        self.scopes = Scopes(self.source, set(self.system.constants), clocks=clocks, lenient=True)
        if self.notation.width in ("n", "none"):
            self.scopes.constants |= stems
        if self.system.mean is not None:
            self.scopes.constants.add(self.notation.samples)
        self.drafter = KnownDrafter(
            self.source,
            declared,
            lexicon,  # type: ignore[arg-type]
            self.scopes,
            sizes=frozenset(ends | self.system.constants) - set(self.system.integers) - stems,
            stems=frozenset(stems),
            system=self.system,
            notation=self.notation,
        )

    def line(self, row: Row) -> tuple[Expr, ...]:
        env: Env = {}
        guard = self.conditions(row, env)
        del guard  # what a line says of its range does not change what its sides are
        if row.relations and row.relations[0].sign == "<-" and row.left is not None:
            target, value = self.drafter.value(row.left, env), self.drafter.value(row.relations[0].right, env)
            if not isinstance(target.expr, Ref):
                raise self.source.error("an update changes a quantity", row.left.place)
            whole = self.settled([Array(Assign(target.expr, value.expr))])
            return tuple(whole)
        lone = [n for n in (row.left, *(r.right for r in row.relations)) if isinstance(n, Symbol)]
        self.drafter.lone = frozenset(id(n) for n in lone)
        nodes = [*([row.left] if row.left is not None else []), *(r.right for r in row.relations)]
        for r in row.relations:
            if r.sign not in ("=", ":=", "equiv", "approx"):
                raise self.source.error(f"the relation {r.sign!r} is not read here", r.place)
        return tuple(self.settled([self.drafter.value(n, env) for n in nodes]))

    def conditions(self, row: Row, env: Env) -> Guard:
        out: Guard = ()
        for c in row.conditions:
            inner = c.body if isinstance(c, Group) else c
            for x in inner.items if isinstance(inner, Listing) else (inner,):
                if isinstance(x, Chain):
                    out += self.scopes.chain(x, env)
        return out

    def settled(self, drafts: list[Array]) -> list[Expr]:
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
        )
        free = [s for s in self.scopes.all.values() if s.free]
        letters: dict[str, Affine] = {}
        for s in free:
            sample = axes.axis(s.id).kind == "sample" and s.letter == self.notation.sample
            letters |= settler.meant(s, affine("i" if sample else s.letter))
        taken = frozenset(s.letter for s in free)
        out = []
        for a in drafts:
            e = a.expr
            for index in reversed(a.open):
                e = Vec(index, OPEN, e)
            out.append(settler.padded(settler.expression(e, letters, taken, None)))
        return out


# ---------------------------------------------------------------- symbols


@dataclass
class KnownDrafter(Drafter):
    """Formulas over the families of a network."""

    system: System = None  # type: ignore[assignment]
    notation: Notation = None  # type: ignore[assignment]
    lone: frozenset[int] = frozenset()
    """Symbols that are a whole side of a line, or stand above the line of a derivative: C is the cost, not a size."""

    @property
    def lexicon(self) -> Lexicon:
        return self.letters  # type: ignore[return-value]

    def value(self, node: Node, env: Env) -> Array:
        match node:
            case Evaluated(body=Fraction() as body) if body.derivative:
                return mapped(self.value(body, env), lambda e: replace(e, direct=True) if isinstance(e, Partial) else e)
            case Evaluated(body=Group(body=Fraction() as body)) if body.derivative:
                return mapped(self.value(body, env), lambda e: replace(e, direct=True) if isinstance(e, Partial) else e)
            case Group(kind="open", body=body):
                return self.value(body, env)
        return super().value(node, env)

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
        self.lone |= {id(top.of)}
        above = self.value(top.of, env)
        if not isinstance(above.expr, Ref) or above.open:
            raise self.fail(f"{self.text(top.of)!r} above the line; expected one quantity of the network", top.of.place)
        if not isinstance(below.expr, Ref):
            raise self.fail(
                f"{self.text(bottom.of)!r} below the line; expected a quantity of the network", bottom.of.place
            )
        return self.partial(above.expr, below)

    def partial(self, above: Ref, below: Array) -> Array:
        assert isinstance(below.expr, Ref)
        for name, (cost, owner) in self.system.gradients.items():
            if cost == above.family and owner == below.expr.family:
                return Array(Ref(name, below.expr.indices), below.open)
        inner: Expr = below.expr
        for index in reversed(below.open):
            inner = Vec(index, OPEN, inner)
        return Array(Partial(above, inner))

    def product(self, node: Product, env: Env) -> Array:
        factors = list(node.factors)
        for n, f in enumerate(factors[:-1]):
            if isinstance(f, Fraction) and f.operator:
                stop = n + 2
                if stop < len(factors) and isinstance(factors[stop], Group) and self.is_function(factors[n + 1]):
                    stop += 1
                ahead, body = self.part(node, 0, n, env), self.part(node, n + 1, stop, env)
                assert body is not None
                out = self.operator(f, body, env)
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
        return super().product(node, env)

    def part(self, node: Product, start: int, stop: int, env: Env) -> Array | None:
        """What some neighbouring factors of a product are together."""
        factors = node.factors[start:stop]
        if not factors:
            return None
        if len(factors) == 1:
            return self.value(factors[0], env)
        return self.product(replace(node, factors=factors, operators=node.operators[start : stop - 1]), env)

    def operator(self, f: Fraction, body: Array, env: Env) -> Array:
        (bottom,) = differentials(f.under)
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
            if any(r.sign not in ("=", "<", "<=", ">", ">=") for r in p.relations):
                return False
            try:
                self.scopes.chain(p, env)
            except ReadError:
                return False
        return True

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

    def symbol(self, node: Symbol | Scripted, env: Env) -> Array:
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        s = self.sighting(node, env)
        if s.key == "delta" and s.sub is not None and s.sup is None and "delta" not in self.lexicon.looks:
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

    def bare(self, s: Sighting, node: Node, env: Env) -> Expr | None:
        if s.key == self.parameter:
            return Param(s.key)
        both = s.key in self.sizes and any(x.name == self.system.cost for x in self.lexicon.looks.get(s.key, ()))
        if s.key in self.lexicon.looks and not (both and id(node) not in self.lone):
            return None
        if self.system.mean is not None and s.key == self.notation.samples:
            return Size(SAMPLES)
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
        raise self.fail(undefined(s, self.lexicon, self.text(node)), s.place)

    def family(self, base: Symbol, s: Sighting, reading: Reading, env: Env) -> Array:
        """A quantity of the network, its indices in the network's order."""
        if reading.name not in self.system.families:
            raise self.fail(undefined(s, self.lexicon, self.text_of(s)), s.place)
        f = self.system.family(reading.name)
        look = self.lexicon.look(reading.name)
        lower = list(reading.lower)
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
        out: Expr = Ref(f.name, tuple(indices))
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

    def application(self, node: Application, env: Env) -> Array:
        f = node.function
        base = f if isinstance(f, Symbol) else f.base if isinstance(f, Scripted) else None
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


def gather(index: str, datum: Expr, body: Expr) -> Expr:
    """The term of a sum at which its index is the datum."""
    chosen = Where(Compare("==", datum, Position(affine("@" + index))), ONE, ZERO)
    return Sum(index, OPEN, Mul((chosen, body)))


__all__ = ["Reader", "read_expression", "read_line", "reader"]
