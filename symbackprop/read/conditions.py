r"""Sums, maxima and products over indices, conditions and cases."""

from __future__ import annotations

from dataclasses import dataclass, replace

from symbackprop.indices import affine
from symbackprop.read.applications import Functions
from symbackprop.read.arrays import OPEN, Array
from symbackprop.read.names import letter_of
from symbackprop.read.scan import affine_letters, is_affine
from symbackprop.read.scopes import Env, Scope
from symbackprop.read.syntax import (
    BigOperator,
    Cases,
    Chain,
    Group,
    Listing,
    Negative,
    Node,
    Number,
    Place,
    Product,
    Relation,
    Scripted,
    Symbol,
    Text,
)
from symbackprop.read.syntax import (
    Sum as Terms,
)
from symbackprop.symbols import (
    ONE,
    ZERO,
    Compare,
    Expr,
    Max,
    Num,
    Position,
    Prod,
    Sum,
    Where,
)

OPERATORS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass
class Conditions(Functions):
    """What binds an index, and what holds only somewhere."""

    def big(self, node: BigOperator, env: Env) -> Array:
        if node.name in ("argmax", "argmin"):
            raise self.fail(f"{node.name} is no number that could be differentiated", node.place)
        inner, bound = self.scopes.limits(node.sub, node.sup, env, node.name, node.place, node.body)
        self.taken |= {s.letter for s in bound}
        body = self.value(node.body, inner)
        if body.open and node.name != "sum":
            raise self.fail(f"{node.name} of {body.shape}; expected a number", node.place)
        e = body.expr
        if node.name == "min":
            e = -e
        for s in reversed(bound):
            for other in s.unequal:
                if node.name != "sum":
                    raise self.fail("a condition with \\ne is read below a sum only", node.place)
                e = Where(self.compare("!=", s, other, inner, node.place), e, ZERO)
            guard = tuple(s.guard)
            e = {"sum": Sum, "prod": Prod, "max": Max, "min": Max}[node.name](s.id, OPEN, e, guard)
        return replace(body, expr=-e if node.name == "min" else e)

    def compare(self, op: str, s: Scope, other: Node, env: Env, place: Place) -> Expr:
        datum = self.datum(other, env)
        if datum is not None:
            letter, where = self.declared.labels[datum[0]]
            self.scopes.join(s.id, f"letter:{letter}", where)
            return Compare("!=", datum[1], Position(affine("@" + s.id)))
        return Compare("!=", Position(affine(s.id)), Position(self.scopes.affine(other, env)))

    def indicator(self, condition: Node, env: Env) -> Expr:
        parts = condition.items if isinstance(condition, Listing) else (condition,)
        out: Expr = ONE
        for p in reversed(parts):
            if not isinstance(p, Chain):
                raise self.fail(f"{self.text(p)!r} is no condition", p.place)
            for c in reversed(self.conditions(p, env)):
                out = Where(c, out, ZERO)
        return out

    def conditions(self, chain: Chain, env: Env) -> list[Expr]:
        """The comparisons of a chain: z > 0, y_i = k, 0 < z <= 1."""
        sides = [chain.first, *(r.right for r in chain.relations)]
        out: list[Expr] = []
        for a, b, r in zip(sides, sides[1:], chain.relations, strict=False):
            if a is None or b is None or r.sign not in OPERATORS:
                raise self.fail(f"{self.text(chain)!r} is not understood as a condition", chain.place)
            out.append(self.comparison(a, b, r, env))
        return out

    def comparison(self, a: Node, b: Node, r: Relation, env: Env) -> Expr:
        labels = [self.label(n, env) for n in (a, b)]
        over = next((x for x in labels if x is not None), None)

        def side(node: Node, label: str | None) -> Expr:
            if label is not None:
                return self.scalar(node, env, "a side of a condition")
            index = is_affine(node) and self.is_index(node, env)
            if over is not None and (index or (is_affine(node) and affine_letters(node) <= self.scopes.constants)):
                at = self.scopes.affine(node, env)
                if at.name in self.scopes.all:
                    assert at.name is not None
                    letter, where = self.declared.labels[over]
                    self.scopes.join(at.name, f"letter:{letter}", where)
                    return Position(affine("@" + at.name))
                return Position(at - f"first:{over}")
            if index:
                return Position(self.scopes.affine(node, env))
            return self.scalar(node, env, "a side of a condition")

        left, right = side(a, labels[0]), side(b, labels[1])
        if isinstance(left, Num) and isinstance(right, Position):
            left = Position(affine(int(left.value)))
        if isinstance(right, Num) and isinstance(left, Position):
            right = Position(affine(int(right.value)))
        return Compare(OPERATORS[r.sign], left, right)  # type: ignore[arg-type]

    def is_index(self, node: Node, env: Env) -> bool:
        if isinstance(node, Number):
            return False
        letter = letter_of(node)
        if letter is not None:
            return letter in env
        return any(self.is_index(c, env) for c in pieces_of(node))

    def label(self, node: Node, env: Env) -> str | None:
        if isinstance(node, Symbol) or (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
            if letter_of(node) in env:
                return None
            name = self.letters.reading(self.sighting(node, env)).name
            return name if name in self.declared.labels else None
        return None

    def cases(self, node: Cases, env: Env) -> Array:
        rows: list[tuple[Expr, list[Expr]]] = []
        for row in node.rows:
            conditions: list[Expr] = []
            for c in row.condition:
                if isinstance(c, Chain):
                    conditions += self.conditions(c, env)
                elif not isinstance(c, Text):
                    raise self.fail(f"{self.text(c)!r} is not understood as a condition", c.place)
            rows.append((self.scalar(row.value, env, "a case"), conditions))
        *first, (last, rest) = rows
        if not first or any(not c for _, c in first):
            raise self.fail("every case but the last says when it holds", node.place)
        if rest and not (
            len(first) == 1 and len(rest) == 1 and len(first[0][1]) == 1 and opposite(first[0][1][0], rest[0])
        ):
            raise self.fail("the last case holds where no other does; write 'otherwise' there", node.place)
        out = last
        for value, conditions in reversed(first):
            chosen = value
            for test in reversed(conditions):
                chosen = Where(test, chosen, out)
            out = chosen
        return Array(out)


def pieces_of(node: Node) -> tuple[Node, ...]:
    match node:
        case Terms(terms=terms):
            return tuple(t.body for t in terms)
        case Product(factors=factors):
            return factors
        case Negative(body=body) | Group(body=body):
            return (body,)
    return ()


def opposite(a: Expr, b: Expr) -> bool:
    """Whether one condition holds exactly where the other does not."""
    opposites = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
    mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
    if not isinstance(a, Compare) or not isinstance(b, Compare):
        return False
    if (a.left, a.right) == (b.right, b.left):
        b = Compare(mirrored[b.op], b.right, b.left)  # type: ignore[arg-type]
    # At the boundary both cases may claim the point; the first one has it.
    return (a.left, a.right) == (b.left, b.right) and b.op in (
        opposites[a.op],
        opposites[a.op].rstrip("="),
        opposites[a.op] + "=",
    )
