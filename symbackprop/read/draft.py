r"""From a syntax tree to an expression whose indices stand in scopes, not yet on axes.

What a symbol is, is decided here: a quantity with its indices, a function before its brackets, a size, a constant, the
place of an index. Index expressions stay in the author's own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from symbackprop import functions as F
from symbackprop.indices import Affine
from symbackprop.read.arrays import OPEN, Array, add, elementwise, mapped, multiply, squares, transposed
from symbackprop.read.conditions import Conditions
from symbackprop.read.quantities import Definition, Signature, digits
from symbackprop.read.scan import raised_brackets
from symbackprop.read.scopes import Env
from symbackprop.read.syntax import (
    Accented,
    Application,
    BigOperator,
    Brace,
    Cases,
    Chain,
    Differential,
    Dots,
    Evaluated,
    Group,
    Indicator,
    Listing,
    Matrix,
    Nabla,
    Negative,
    Node,
    Number,
    Place,
    Product,
    Root,
    Scripted,
    Symbol,
    Text,
)
from symbackprop.read.syntax import (
    Fraction as Quotient,
)
from symbackprop.read.syntax import (
    Sum as Terms,
)
from symbackprop.symbols import (
    ONE,
    Div,
    Expr,
    Num,
    Pow,
    Sum,
    substitute,
)

MAX_EXPONENT = 100


@dataclass
class Drafter(Conditions):
    """Formulas to expressions: sums, products, quotients, powers and brackets."""

    def value(self, node: Node, env: Env) -> Array:
        match node:
            case Number(text=text):
                return Array(Num(Fraction(text)))
            case Symbol() | Scripted(base=Symbol()):
                return self.symbol(node, env)
            case Scripted():
                return self.raised(node, env)
            case Group():
                return self.group(node, env)
            case Terms():
                return self.terms(node, env)
            case Negative(body=body):
                return mapped(self.value(body, env), lambda e: -e)
            case Product():
                return self.product(node, env)
            case Quotient():
                return self.quotient(node, env)
            case Root(body=body, order=order):
                inner = self.value(body, env)
                if order is None:
                    return mapped(inner, lambda e: F.call("sqrt", e))
                degree = self.scalar(order, env, "the degree of a root")
                return mapped(
                    inner, lambda e: Pow(e, Div(ONE, degree) if not isinstance(degree, Num) else Num(1 / degree.value))
                )
            case BigOperator():
                return self.big(node, env)
            case Application():
                return self.application(node, env)
            case Indicator(condition=condition):
                return Array(self.indicator(condition, env))
            case Cases():
                return self.cases(node, env)
            case Brace(body=body):
                return self.value(body, env)
            case Chain():
                raise self.fail("a relation inside of a formula is not understood", node.place)
            case Differential(mark="d"):
                return self.value(node.as_product(), env)
            case Differential() | Nabla():
                raise self.fail("a derivative; the equations of a model are read without derivatives", node.place)
            case Dots():
                raise self.fail(r"what the dots leave out is not known; write the sum with \sum", node.place)
            case Text(text=text):
                raise self.fail(f"the words {text.strip()!r} inside of a formula are not understood", node.place)
            case Matrix():
                raise self.fail("a matrix written out is not read; write its entries with indices", node.place)
            case Accented():
                raise self.fail(f"{self.text(node)!r}: a line over a whole formula is not understood", node.place)
            case Evaluated():
                raise self.fail("a formula at a point is not read", node.place)
            case Listing():
                raise self.fail("several things in brackets, where one is expected", node.place)
        raise self.fail(f"{self.text(node)!r} is not understood here", node.place)

    def terms(self, node: Terms, env: Env) -> Array:
        out: Array | None = None
        for t in node.terms:
            if t.sign not in "+-":
                raise self.fail(f"{t.sign} leaves two readings; write + or -", node.place)
            v = self.value(t.body, env)
            if t.sign == "-":
                v = mapped(v, lambda e: -e)
            out = v if out is None else add(out, v, self.scopes, t.body.place)
        assert out is not None
        return out

    def group(self, node: Group, env: Env) -> Array:
        match node.kind:
            case "bar":
                return mapped(self.value(node.body, env), lambda e: F.call("abs", e))
            case "norm":
                return Array(F.call("sqrt", squares(self.value(node.body, env))))
            case "square" if isinstance(node.body, Chain):
                return Array(self.indicator(node.body, env))
            case "round" | "square" | "curly" | "brace" | "angle" if not isinstance(node.body, Chain | Listing):
                return self.value(node.body, env)
        raise self.fail(f"{self.text(node)!r}: these brackets are not understood here", node.place)

    def product(self, node: Product, env: Env) -> Array:
        factors, operators = list(node.factors), list(node.operators)
        if operators and operators[0] in (r"\odot", r"\circ", r"\ast", r"\star"):
            out = self.value(factors[0], env)
            for f in factors[1:]:
                out = elementwise(out, self.value(f, env), self.scopes, node.place)
            return out
        product: Array | None = None
        divided = False
        n = 0
        while n < len(factors):
            f = factors[n]
            follows = factors[n + 1] if n + 1 < len(factors) and not operators[n] else None
            op = operators[n - 1] if n else ""
            if isinstance(follows, Group) and follows.kind in ("round", "square") and self.is_function(f):
                v = self.applied(f, follows, env)
                n += 1
            elif follows is not None and (inner := raised_brackets(follows)) is not None and self.is_function(f):
                assert isinstance(follows, Scripted) and follows.sup is not None
                v = self.with_powers(self.applied(f, inner, env), follows.sup.pieces, env, follows.place)
                n += 1
            else:
                if follows is not None:
                    self.as_factor(f, follows, env)
                v = self.value(f, env)
            if product is None:
                product = v
            elif op == "/":
                product = self.divided(product, v, f.place)
                divided = True
            elif op in ("", r"\cdot", r"\times", "*"):
                if divided and op == "":
                    self.check_divisor(factors[n - 1], f)
                divided = False
                product = multiply(product, v, self.scopes, f.place)
            else:
                raise self.fail(f"the product sign {op} is not understood here", node.place)
            n += 1
        assert product is not None
        return product

    def check_divisor(self, divisor: Node, after: Node) -> None:
        """Refuse 1/2N, which may be (1/2)N or 1/(2N); a sum, or brackets behind a number, are a factor of their own."""
        apart = isinstance(after, BigOperator | Quotient | Differential | Application)
        if not apart and not (isinstance(divisor, Number) and is_bracketed(after)):
            raise self.fail(
                f"{self.text(after)!r} behind a / may belong to what it divides by or be a factor of its own; "
                f"\\frac{{...}}{{...}} or brackets would say",
                after.place,
            )

    def divided(self, top: Array, bottom: Array, place: Place) -> Array:
        if bottom.open:
            raise self.fail(f"a division by {bottom.shape}; what is divided by is a number", place)
        if isinstance(top.expr, Num) and isinstance(bottom.expr, Num):
            if not bottom.expr.value:
                raise self.fail("a division by zero", place)
            return Array(Num(top.expr.value / bottom.expr.value))
        return mapped(top, lambda e: Div(e, bottom.expr))

    def quotient(self, node: Quotient, env: Env) -> Array:
        if node.derivative and not self.as_letters(node):
            raise self.fail("a derivative; the equations of a model are read without derivatives", node.place)
        over, under = self.value(node.over, env), self.value(node.under, env)
        return self.divided(over, under, node.under.place)

    def as_letters(self, node: Quotient) -> bool:
        """Whether the d above and below is a quantity of the file."""
        known = "d" in self.equated | self.declared.kinds.keys() | self.sizes
        return known and all(isinstance(d, Differential) and d.mark == "d" for d in (node.over, node.under))

    def raised(self, node: Scripted, env: Env) -> Array:
        """Brackets, or a function's value, with something above or below."""
        base = node.base
        if node.primes:
            raise self.fail("a prime behind brackets is not understood", node.place)
        if isinstance(base, Group) and base.kind == "norm":
            return Array(self.norm(base, node, env))
        if isinstance(base, Product | Application) and node.sub is not None:
            return self.entry(base, node, env)
        if node.sub is not None:
            return self.entry(base, node, env)
        v = self.value(base, env)
        assert node.sup is not None
        return self.with_powers(v, node.sup.pieces, env, node.place)

    def entry(self, base: Node, node: Scripted, env: Env) -> Array:
        """Brackets with indices below: softmax(z)_j, (Wx)_j."""
        v = self.value(base, env)
        assert node.sub is not None
        parts = node.sub.pieces
        if len(parts) != len(v.open):
            raise self.fail(
                f"{self.text(base)!r} is {v.shape}, found {len(parts)} {'index' if len(parts) == 1 else 'indices'} below it",
                node.sub.place,
            )
        mapping: dict[str, Affine] = {}
        for old, p in zip(v.open, parts, strict=True):
            at = self.scopes.affine(p, env)
            if at.name in self.scopes.all:
                assert at.name is not None
                self.scopes.join(at.name, old, p.place)
            mapping[old] = at
        out = Array(substitute(v.expr, mapping))
        return self.with_powers(out, node.sup.pieces, env, node.place) if node.sup else out

    def norm(self, base: Group, node: Scripted, env: Env) -> Expr:
        inner = self.value(base.body, env)
        which = "".join(self.text(p) for p in node.sub.pieces) if node.sub else "2"
        power = [p.text if isinstance(p, Number) else "" for p in node.sup.pieces] if node.sup else []
        if which in ("2", "F", "{2}", "{F}"):
            if power == ["2"]:
                return squares(inner)
            root: Expr = F.call("sqrt", squares(inner))
        elif which == "1":
            root = F.call("abs", inner.expr)
            for index in reversed(inner.open):
                root = Sum(index, OPEN, root)
        else:
            raise self.fail(f"the norm with {which!r} below is not known; expected 1, 2 or F", node.place)
        return self.with_powers(Array(root), node.sup.pieces, env, node.place).expr if node.sup else root

    def with_powers(self, v: Array, powers: tuple[Node, ...], env: Env, place: Place) -> Array:
        for p in powers:
            if isinstance(p, Symbol) and p.name in ("T", "top", "intercal") and (v.open or p.name != "T"):
                v = transposed(v, self.scopes, place)
                continue
            exponent = self.scalar(p, env, "an exponent")
            if isinstance(exponent, Num) and abs(exponent.value) > MAX_EXPONENT:
                raise self.fail(f"an exponent above {MAX_EXPONENT}", p.place)
            if v.open:
                raise self.fail(f"a power of {v.shape} is not read; write it with indices", place)
            v = mapped(v, lambda e, x=exponent: Pow(e, x))  # type: ignore[misc]
        return v


def is_bracketed(node: Node) -> bool:
    """Brackets, with a power or without."""
    return isinstance(node.base if isinstance(node, Scripted) else node, Group)


__all__ = ["Definition", "Drafter", "Signature", "digits"]
