r"""A sum written out with dots: w_0 a_0 + w_1 a_1 + \cdots + w_{n-1} a_{n-1} is the sum of w_k a_k.

Two of its terms that differ in one index only, everywhere by the same amount, say what the summand is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from symbackprop.indices import Affine, Guard, affine
from symbackprop.symbols import (
    Binder,
    Call,
    Compare,
    D,
    Delta,
    Expr,
    Guarded,
    Partial,
    Position,
    Ref,
    Vec,
    Winner,
    substitute,
)


@dataclass
class Template:
    """What two terms have in common, with a hole where one index differs.

    Args:
        hole: The name that stands in the place of the index.
        low, high: The index in the first and in the second term; None before a difference is found.
    """

    hole: str
    low: Affine | None = None
    high: Affine | None = None
    bound: dict[str, str] = field(default_factory=dict)
    """Names bound in the second term, and those of the first that they are."""

    def index(self, a: Affine, b: Affine) -> Affine | None:
        b = b.substitute({n: affine(m) for n, m in self.bound.items()})
        if a == b:
            return a
        if self.low is None or self.high is None:
            self.low, self.high = a, b
        shift = a - self.low
        return affine(self.hole) + shift if shift == b - self.high else None

    def indices(self, a: tuple[Affine, ...], b: tuple[Affine, ...]) -> tuple[Affine, ...] | None:
        found = [self.index(x, y) for x, y in zip(a, b, strict=True)] if len(a) == len(b) else [None]
        return None if None in found else tuple(x for x in found if x is not None)

    def ref(self, a: Ref, b: Ref) -> Ref | None:
        found = self.indices(a.indices, b.indices) if a.family == b.family else None
        return None if found is None else Ref(a.family, found)

    def guard(self, a: Guard, b: Guard) -> Guard | None:
        if len(a) != len(b) or any(c.equal != d.equal for c, d in zip(a, b, strict=True)):
            return None
        out = []
        for c, d in zip(a, b, strict=True):
            # A constraint may differ by a multiple of the index: only one that is the same in both terms is read.
            if c.expr != d.expr.substitute({n: affine(m) for n, m in self.bound.items()}):
                return None
            out.append(c)
        return tuple(out)

    def common(self, a: Expr, b: Expr) -> Expr | None:
        """The two terms as one with the hole; None where they differ in more than an index."""
        if type(a) is not type(b):
            return None
        match a, b:
            case Ref(), Ref():
                return self.ref(a, b)
            case Position(i), Position(k):
                at = self.index(i, k)
                return None if at is None else Position(at)
            case Delta(left, right, axis), Delta(other, last, _):
                pair = self.indices((left, right), (other, last))
                return None if pair is None else Delta(pair[0], pair[1], axis)
            case Partial(top, bottom, direct), Partial(over, under, _):
                above, below = self.ref(top, over), self.common(bottom, under)
                return None if above is None or below is None else Partial(above, below, direct)
            case D(body, variable, total), D(inner, by, _):
                content, one = self.common(body, inner), self.ref(variable, by)
                return None if content is None or one is None else D(content, one, total)
            case Call(function, arguments, order, at), Call(name, given, count, layer):
                if (function, order, at is None, len(arguments)) != (name, count, layer is None, len(given)):
                    return None
                where = self.index(at, layer) if at is not None and layer is not None else None
                parts = self.parts(arguments, given)
                return (
                    None if parts is None or (at is not None and where is None) else Call(function, parts, order, where)
                )
            case Compare(op), Compare(sign) if op != sign:
                return None
            case (Guarded(), Guarded()) | (Winner(), Winner()):
                return a if a == b else None
        if isinstance(a, Binder) and isinstance(b, Binder):
            self.bound |= {b.index: a.index, "@" + b.index: "@" + a.index}
            shared_body = self.common(a.body, b.body)
            if shared_body is None:
                return None
            if not isinstance(a, Vec) and not isinstance(b, Vec) and self.guard(a.guard, b.guard) is None:
                return None
            return a.rebuild((shared_body,))
        if not a.parts:
            return a if a == b else None
        shared = self.parts(a.parts, b.parts)
        return None if shared is None else a.rebuild(shared)

    def parts(self, a: tuple[Expr, ...], b: tuple[Expr, ...]) -> tuple[Expr, ...] | None:
        found = [self.common(x, y) for x, y in zip(a, b, strict=True)] if len(a) == len(b) else [None]
        return None if None in found else tuple(x for x in found if x is not None)


def summand(first: Expr, last: Expr, hole: str) -> tuple[Expr, Affine] | None:
    """The term at `hole` of which two terms are instances, and the index of the second; None where they are not."""
    t = Template(hole)
    out = t.common(first, last)
    if out is None or t.low is None or t.high is None:
        return None
    # A place compared with a label counts from 0, an index as the author counts: the hole is the latter.
    firsts = Affine(tuple((n, c) for n, c in t.low.terms if n.startswith("first:")))
    return substitute(out, {hole: affine(hole) + firsts}), t.high - firsts


def is_instance(term: Expr, body: Expr, hole: str) -> bool:
    """Whether a term is a summand at some index."""
    return summand(term, body, f"{hole}'") is not None
