"""The order of a textbook for what SymPy has sorted by its own: a formula is printed as it stands in a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from symbackprop.functions import product
from symbackprop.symbols import ONE, Add, Binder, Div, Expr, Mul, Num, Ref, names, transform, walk

NUMBER, CONSTANT, PARAMETER, QUANTITY, OTHER, SUM = range(6)


@dataclass(frozen=True)
class Order:
    """The order of factors and terms in one equation.

    Args:
        lhs: Its left side, whose indices order what is of one kind.
        parameter: Whether a family is a parameter: a weight stands before what it weighs.
    """

    lhs: Ref
    parameter: Callable[[str], bool]

    def __call__(self, e: Expr) -> Expr:
        return transform(e, self.sort)

    def sort(self, e: Expr) -> Expr:
        match e:
            case Mul(factors):
                flat = [g for f in factors for g in (f.factors if isinstance(f, Mul) else (f,))]
                return Mul(tuple(sorted(flat, key=self.factor)))
            case Add(terms):
                return Add(tuple(sorted(terms, key=self.term)))
            case Div(top, bottom) if self.kind(bottom) <= CONSTANT:
                *before, last = top.factors if isinstance(top, Mul) else (top,)
                if isinstance(last, Binder) and all(self.kind(f) <= CONSTANT for f in before):
                    return Mul((Div(product(*before) if before else ONE, bottom), last))
        return e

    def kind(self, e: Expr) -> int:
        if isinstance(e, Num):
            return NUMBER
        parts = [p for _, p in walk(e)]
        if any(isinstance(p, Binder) for p in parts):
            return SUM
        if not any(isinstance(p, Ref) and p.indices for p in parts):
            return CONSTANT
        if isinstance(e, Ref):
            return PARAMETER if self.parameter(e.family) else QUANTITY
        return OTHER

    def factor(self, e: Expr) -> tuple[int, int]:
        letters = {i.name: n for n, i in enumerate(self.lhs.indices)}
        return self.kind(e), min((n for letter, n in letters.items() if letter in names(e)), default=len(letters))

    def term(self, e: Expr) -> tuple[bool, int]:
        """Sums first, then what is added to them, a bias last, and a penalty behind the cost it belongs to."""
        minus = isinstance(e, Mul) and isinstance(e.factors[0], Num) and e.factors[0].value < 0
        weighted = isinstance(e, Mul) and any(isinstance(f, Ref) and not f.indices for f in e.factors)
        order = (NUMBER, SUM, QUANTITY, OTHER, CONSTANT, PARAMETER)
        return minus, len(order) if weighted else order.index(self.kind(e))
