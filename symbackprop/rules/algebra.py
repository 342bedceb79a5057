"""Rules of ordinary algebra: tidying, cancelling, collecting, and giving a quantity its name back."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from symbackprop.indices import Affine, affine, implies
from symbackprop.rules.base import Context, rule
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Call,
    Delta,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Pow,
    Prod,
    Ref,
    Role,
    Size,
    Sum,
    Where,
    names,
    substitute,
    transform,
    walk,
)

ALGEBRA = "arithmetic of real numbers"


@rule(
    "arithmetic",
    statement=r"1 \cdot f = f,\quad 0 \cdot f = 0,\quad f + 0 = f",
    source=ALGEBRA,
    trivial=True,
    everywhere=True,
)
def arithmetic(e: Expr, context: Context) -> Expr | None:
    """Ones, zeros and nested brackets go; numbers standing together are multiplied. Order and grouping stay."""
    out = transform(e, _tidy)
    return out if out != e else None


def _tidy(e: Expr) -> Expr:
    match e:
        case Mul(factors, roles):
            return _tidy_product(factors, roles)
        case Add():
            return _tidy_sum(e)
        case Div(top, bottom):
            if top == ZERO or bottom == ONE:
                return top
            if isinstance(top, Num) and isinstance(bottom, Num) and bottom.value:
                return Num(top.value / bottom.value)
            if isinstance(top, Div) and isinstance(bottom, Div) and top.bottom == bottom.bottom:
                return Div(top.top, bottom.top)
            if isinstance(top, Div) and not isinstance(bottom, Num | Size):
                return Div(top.top, _tidy_product((top.bottom, bottom), ()))
            if isinstance(bottom, Mul) and not bottom.roles and (powers := _powers(bottom.factors)) is not None:
                return _tidy(Div(top, powers))
            if isinstance(top, Mul) and not top.roles and isinstance(bottom, Num) and bottom.value:
                number = top.factors[0]
                if isinstance(number, Num):
                    return _tidy_product((Num(number.value / bottom.value), *top.factors[1:]), ())
            if isinstance(top, Mul) and not top.roles:
                lead = [f for f in top.factors if isinstance(f, Delta) or f == Num(Fraction(-1))]
                rest = [f for f in top.factors if f not in lead]
                if lead and rest:
                    return Mul((*lead, Div(joined(rest), bottom)))
        case Pow(base, exponent):
            if exponent == ONE or (base == ONE):
                return base
            if exponent == ZERO:
                return ONE
        case Sum(_, _, body) | Guarded(body):
            if body == ZERO:
                return ZERO
        case Prod(_, _, body):
            if body == ONE:
                return ONE
        case Where(_, then, other):
            if then == other:
                return then
        case Delta(left, right):
            if left == right:
                return ONE
            if (left - right).value is not None:
                return ZERO
    return e


def _tidy_product(factors: tuple[Expr, ...], roles: tuple[Role, ...]) -> Expr:
    if ZERO in factors:
        return ZERO
    if roles:
        flat: list[tuple[Expr, Role]] = []
        for f, r in zip(factors, roles, strict=True):
            if isinstance(f, Mul) and f.roles:
                flat += zip(f.factors, f.roles, strict=True)
            elif f != ONE:
                flat.append((f, r))
        if not flat:
            return ONE
        if len(flat) == 1:
            return flat[0][0]
        return Mul(tuple(f for f, _ in flat), tuple(r for _, r in flat))
    number, rest = Fraction(1), []
    for f in factors:
        for g in f.factors if isinstance(f, Mul) and not f.roles else (f,):
            if isinstance(g, Num):
                number *= g.value
            else:
                rest.append(g)
    if not rest or number == 0:
        return Num(number)
    inverses = [f for f in rest if _inverse(f)]
    others = [f for f in rest if not _inverse(f) and not isinstance(f, Delta)]
    if inverses and (others or len(inverses) > 1):
        bottom = joined(f.bottom for f in inverses if isinstance(f, Div))
        rest = [f for f in rest if isinstance(f, Delta)] + [Div(joined(others), bottom)]
    lead = next(
        (n for n, f in enumerate(rest) if isinstance(f, Div) and f.top == ONE and isinstance(f.bottom, Size)), None
    )
    if number not in (1, -1) and lead is not None and number.denominator == 1:
        share = rest.pop(lead)
        assert isinstance(share, Div)
        rest.insert(0, Div(Num(number), share.bottom))
    elif number != 1:
        rest.insert(0, Num(number))
    return rest[0] if len(rest) == 1 else Mul(tuple(rest))


def _powers(factors: tuple[Expr, ...]) -> Expr | None:
    """A product in which a quantity stands twice, with its power instead; None where none does."""
    counts: dict[Expr, int] = {}
    for f in factors:
        base, n = f, 1
        if (
            isinstance(f, Pow)
            and isinstance(f.exponent, Num)
            and f.exponent.value.denominator == 1
            and f.exponent.value > 0
        ):
            base, n = f.base, int(f.exponent.value)
        counts[base] = counts.get(base, 0) + n
    if len(counts) == len(factors):
        return None
    new = tuple(f if n == 1 else Pow(f, Num(Fraction(n))) for f, n in counts.items())
    return new[0] if len(new) == 1 else Mul(new)


def product(factors: tuple[Expr, ...]) -> Expr:
    """The product with its numbers gathered in front."""
    return _tidy_product(factors, ())


def _inverse(e: Expr) -> bool:
    """1/g for a quantity g; 1/n before a sum stays where it is, as a mean is written."""
    return isinstance(e, Div) and e.top == ONE and not isinstance(e.bottom, Size | Num)


def _tidy_sum(e: Add) -> Expr:
    number, rest = Fraction(0), []
    numbers = 0
    for t in e.terms:
        for s in t.terms if isinstance(t, Add) else (t,):
            if isinstance(s, Num):
                number, numbers = number + s.value, numbers + 1
            if not isinstance(s, Num) or (numbers == 1 and s.value):
                rest.append(s)
    if numbers > 1:
        rest = [t for t in rest if not isinstance(t, Num)]
        if number:
            rest.append(Num(number))
    if not rest:
        return ZERO
    return rest[0] if len(rest) == 1 else Add(tuple(rest))


@rule("square of a root", statement=r"\sqrt f\,\sqrt f = f", source=ALGEBRA)
def square_of_root(e: Expr, context: Context) -> Expr | None:
    """Where f < 0 the left side has no value; the result continues it."""
    if not isinstance(e, Mul) or e.roles:
        return None
    for n, f in enumerate(e.factors):
        if isinstance(f, Call) and f.function == "sqrt" and f.order == 0 and f in e.factors[n + 1 :]:
            rest = list(e.factors[n + 1 :])
            rest.remove(f)
            return _tidy_product((*e.factors[:n], f.arguments[0], *rest), ())
    return None


# ---------------------------------------------------------------- cancelling


def split(e: Expr) -> tuple[list[Expr], list[Expr]]:
    """Factors of the numerator and of the denominator of a product."""
    match e:
        case Mul(factors):
            top: list[Expr] = []
            bottom: list[Expr] = []
            for f in factors:
                t, b = split(f)
                top += t
                bottom += b
            return top, bottom
        case Div(t, b):
            (n1, d1), (n2, d2) = split(t), split(b)
            return n1 + d2, d1 + n2
        case _:
            return [e], []


def joined(factors: Iterable[Expr]) -> Expr:
    fs = tuple(factors)
    return ONE if not fs else fs[0] if len(fs) == 1 else Mul(fs)


def merge(a: Expr, b: Expr) -> Expr | None:
    """a*b with common factors cancelled and no denominator left of those that could cancel; None if nothing does."""
    for one, other in ((a, b), (b, a)):
        negated = isinstance(one, Mul) and _negated(one)
        sign: tuple[Expr, ...] = one.factors[:1] if isinstance(one, Mul) and negated else ()
        inner = one.factors[1] if isinstance(one, Mul) and negated else one
        if isinstance(inner, Add):
            terms = [merge(t, other) if split(t)[1] else joined((t, other)) for t in inner.terms]
            if any(split(t)[1] for t in inner.terms) and all(t is not None for t in terms):
                return _tidy(joined((*sign, transform(Add(tuple(t for t in terms if t is not None)), _tidy))))
    top, bottom = split(joined((a, b)))
    left = []
    hit = False
    for d in bottom:
        if d in top:
            top.remove(d)
            hit = True
        else:
            left.append(d)
    if not hit:
        return None
    return transform(joined(top) if not left else Div(joined(top), joined(left)), _tidy)


def _negated(e: Expr) -> bool:
    return isinstance(e, Mul) and len(e.factors) == 2 and e.factors[0] == Num(Fraction(-1))


@rule("cancel", statement=r"\frac{f}{g}\,g = f", source=ALGEBRA)
def cancel(e: Expr, context: Context) -> Expr | None:
    """Common factors of numerator and denominator go, under a sum too where every term loses its denominator.

    Where g = 0 the left side has no value; the result continues it.
    """
    if isinstance(e, Div):
        return _reduced(e)
    if not isinstance(e, Mul):
        return None
    fs = e.factors
    for i in range(len(fs)):
        for j in range(i + 1, len(fs)):
            m = merge(fs[i], fs[j])
            if m is not None:
                new = (*fs[:i], m, *fs[i + 1 : j], *fs[j + 1 :])
                if len(new) == 1:
                    return m
                return Mul(new, tuple(r for k, r in enumerate(e.roles) if k != j))
    return _over_a_sum(e)


def _reduced(e: Div) -> Expr | None:
    """A quotient without the factors that stand above and below."""
    top, bottom = split(e)
    common = [d for d in bottom if d in top and not isinstance(d, Num)]
    if not common:
        return None
    for d in common:
        if d in top and d in bottom:
            top.remove(d)
            bottom.remove(d)
    return _tidy(Div(_tidy(joined(top)), _tidy(joined(bottom)))) if bottom else _tidy(joined(top))


def _over_a_sum(e: Mul) -> Expr | None:
    """Factors that together are denominators of every term of a sum beside them: (f/p - g/q) p q = f q - g p."""
    fs = flat(e)
    for i, f in enumerate(fs):
        if not isinstance(f, Add):
            continue
        below = [d for t in f.terms for d in split(t)[1]]
        beside = [g for k, g in enumerate(fs) if k != i and g in below]
        if not beside or not all(split(t)[1] and set(split(t)[1]) <= set(beside) for t in f.terms):
            continue
        merged = merge(f, joined(beside))
        if merged is not None:
            return joined((*(g for k, g in enumerate(fs) if k != i and g not in beside), merged))
    return None


def flat(e: Expr) -> tuple[Expr, ...]:
    """The factors of a product, those of products in it included."""
    return tuple(f for g in e.factors for f in flat(g)) if isinstance(e, Mul) else (e,)


# ---------------------------------------------------------------- polynomials

Monomial = tuple[tuple[Expr, int], ...]


def polynomial(e: Expr, limit: int = 200) -> dict[Monomial, Fraction] | None:
    """`e` as a sum of monomials in whatever is no sum, product or whole power; None past `limit` terms."""
    match e:
        case Num(v):
            return {(): v} if v else {}
        case Add(terms):
            out: dict[Monomial, Fraction] = {}
            for t in terms:
                p = polynomial(t, limit)
                if p is None:
                    return None
                for m, c in p.items():
                    out[m] = out.get(m, Fraction(0)) + c
            return {m: c for m, c in out.items() if c}
        case Mul(factors):
            acc: dict[Monomial, Fraction] = {(): Fraction(1)}
            for f in factors:
                p = polynomial(f, limit)
                if p is None or len(p) * len(acc) > limit:
                    return None
                new: dict[Monomial, Fraction] = {}
                for m1, c1 in acc.items():
                    for m2, c2 in p.items():
                        m = _times(m1, m2)
                        new[m] = new.get(m, Fraction(0)) + c1 * c2
                acc = {m: c for m, c in new.items() if c}
            return acc
        case Pow(base, Num(n)) if n.denominator == 1 and 0 <= n <= 8:
            return polynomial(Mul((base,) * int(n)) if n != 1 else base, limit) if n else {(): Fraction(1)}
        case _:
            return {((e, 1),): Fraction(1)}


def _times(a: Monomial, b: Monomial) -> Monomial:
    powers = dict(a)
    for x, n in b:
        powers[x] = powers.get(x, 0) + n
    return tuple(sorted(powers.items(), key=lambda t: repr(t[0])))


def count(e: Expr) -> int:
    return sum(1 for _ in walk(e))


@rule("multiply out and collect", statement=r"-y(1-a) + (1-y)a = a - y", source=ALGEBRA)
def collect_terms(e: Expr, context: Context) -> Expr | None:
    """The sum of monomials, positive ones first; only where that is shorter than what stands there."""
    if not isinstance(e, Add | Mul) or (isinstance(e, Mul) and e.roles):
        return None
    if not any(isinstance(p, Add) for _, p in walk(e)):
        return None
    p = polynomial(e)
    if p is None:
        return None
    terms: list[Expr] = []
    for m, c in sorted(p.items(), key=lambda t: t[1] < 0):
        fs: list[Expr] = [x if n == 1 else Pow(x, Num(Fraction(n))) for x, n in m]
        if c != 1 or not fs:
            fs.insert(0, Num(c))
        terms.append(joined(fs))
    out = ZERO if not terms else terms[0] if len(terms) == 1 else Add(tuple(terms))
    return out if count(out) < count(e) else None


@rule("reorder", statement=r"-f + g = g - f", source=ALGEBRA, trivial=True)
def reorder(e: Expr, context: Context) -> Expr | None:
    """A sum that begins with a minus sign begins with its first positive term instead."""
    if isinstance(e, Add) and _sign(e.terms[0]) < 0:
        positive = [t for t in e.terms if _sign(t) > 0]
        if positive:
            return Add((*positive, *(t for t in e.terms if _sign(t) < 0)))
    return None


def _sign(e: Expr) -> int:
    lead = e.factors[0] if isinstance(e, Mul) else e.top if isinstance(e, Div) else e
    if isinstance(lead, Mul):
        lead = lead.factors[0]
    return -1 if isinstance(lead, Num) and lead.value < 0 else 1


@rule("common factor", statement=r"fg + fh = f\,(g + h)", source=ALGEBRA)
def common_factor(e: Expr, context: Context) -> Expr | None:
    """One factor that every term of a sum has."""
    if not isinstance(e, Add):
        return None

    def factors(t: Expr) -> tuple[Expr, ...]:
        return t.factors if isinstance(t, Mul) and not t.roles else (t,)

    for f in sorted(factors(e.terms[0]), key=lambda f: isinstance(f, Delta)):
        if isinstance(f, Num | Delta) or not all(f in factors(t) for t in e.terms):
            continue
        rest = []
        for t in e.terms:
            fs = list(factors(t))
            fs.remove(f)
            rest.append(_tidy(joined(fs)))
        return Mul((f, Add(tuple(rest))))
    return None


@rule("minus signs", statement=r"(-f)(-g) = fg", source=ALGEBRA, trivial=True)
def minus_signs(e: Expr, context: Context) -> Expr | None:
    """A minus sign before a bracket is taken into it where that leaves fewer signs."""
    if isinstance(e, Mul) and not e.roles and len(e.factors) == 2 and isinstance(e.factors[1], Div):
        quotient = e.factors[1]
        if not isinstance(quotient.top, Add) or not isinstance(quotient.top.terms[0], Where | Delta):
            return None  # x - mu stays what it is elsewhere; an indicator is what is taken away
        top = minus_signs(Mul((e.factors[0], quotient.top)), context)
        return None if top is None else Div(top, quotient.bottom)
    if isinstance(e, Mul) and not e.roles and e.factors[0] == Num(Fraction(-1)):
        adds = [
            n
            for n, f in enumerate(e.factors)
            if isinstance(f, Add) and sum(_sign(t) < 0 for t in f.terms) * 2 >= len(f.terms)
        ]
        if adds:
            n = adds[0]
            inner = e.factors[n]
            assert isinstance(inner, Add)
            flipped = _tidy(Add(tuple(_tidy(-t) for t in inner.terms)))
            again = reorder(flipped, context)
            return joined((*e.factors[1:n], again or flipped, *e.factors[n + 1 :]))
    return None


# ---------------------------------------------------------------- names


def match(pattern: Expr, e: Expr, formals: frozenset[str], found: dict[str, Affine], pairs: dict[str, str]) -> bool:
    """Whether `e` is `pattern` for some values of its formal indices, which are entered in `found`."""

    def index(p: Affine, q: Affine) -> bool:
        if p.name in pairs:
            return q.name == pairs[p.name]
        unknown = [n for n, _ in p.terms if n in formals]
        if not unknown:
            return p == q
        p = p.substitute(found)
        unknown = [n for n, c in p.terms if n in formals and n not in found and c == 1]
        if len(unknown) != 1:
            return p == q
        value = q - (p - affine(unknown[0]))
        if value.names & set(pairs.values()):
            return False
        found[unknown[0]] = value
        return True

    if type(pattern) is not type(e):
        return False
    match pattern, e:
        case Num(a), Num(b):
            return a == b
        case Ref(f, i), Ref(g, j):
            return f == g and len(i) == len(j) and all(index(p, q) for p, q in zip(i, j, strict=True))
        case (
            (Sum(n, x, body), Sum(m, y, other))
            | (Max(n, x, body), Max(m, y, other))
            | (Prod(n, x, body), Prod(m, y, other))
        ):
            assert isinstance(pattern, Sum | Max | Prod) and isinstance(e, Sum | Max | Prod)
            if (x.label, x.kind, x.first, x.last) != (y.label, y.kind, y.first, y.last):
                return False
            if x.at is not None and y.at is not None and not index(x.at, y.at):
                return False
            inner = {**pairs, n: m}
            return (
                len(pattern.guard) == len(e.guard)
                and match(body, other, formals, found, inner)
                and all(
                    p.equal == q.equal
                    and p.expr.substitute({**found, **{i: affine(j) for i, j in inner.items()}}) == q.expr
                    for p, q in zip(pattern.guard, e.guard, strict=True)
                )
            )
        case Call(f, xs, o, at1), Call(g, ys, r, at2):
            if f != g or o != r or len(xs) != len(ys) or (at1 is None) != (at2 is None):
                return False
            if at1 is not None and at2 is not None and not index(at1, at2):
                return False
            return all(match(p, q, formals, found, pairs) for p, q in zip(xs, ys, strict=True))
        case (Mul(), Mul()) if len(pattern.factors) == len(e.factors) == 2 and pairs:
            # The order of two factors under a sum is nobody's choice.
            for qs in (e.factors, e.factors[::-1]):
                trial = dict(found)
                if all(match(p, q, formals, trial, pairs) for p, q in zip(pattern.factors, qs, strict=True)):
                    found.update(trial)
                    return True
            return False
        case ((Mul() | Add() | Div() | Pow() | Where()), _):
            return len(pattern.parts) == len(e.parts) and all(
                match(p, q, formals, found, pairs) for p, q in zip(pattern.parts, e.parts, strict=True)
            )
        case _:
            return pattern == e


@rule("recognise a quantity", statement=r"g(z_j) = a_j", source="the network's own equations")
def recognise(e: Expr, context: Context) -> Expr | None:
    """The right side of a defining equation is replaced by the name on its left.

    Only for functions and quotients: a sum that happens to equal some z_j is no news to a reader, unless he said
    that he has it.
    """
    if not isinstance(e, Call | Div) and not (context.given and isinstance(e, Sum)):
        return None
    for q in context.system.equations:
        if not isinstance(q.rhs, Call | Div) and q.lhs.family not in context.given:
            continue
        formals = names(q.lhs)
        found: dict[str, Affine] = {}
        pattern, table = q.rhs, None
        if (
            isinstance(pattern, Call)
            and isinstance(e, Call)
            and pattern.function != e.function
            and pattern.at is not None
        ):
            # g^(2)(z) is written by its own name once the layer is known.
            table, layer = context.system.tables.get(pattern.function), pattern.at
            pattern = Call(e.function, pattern.arguments, pattern.order)
            if table is None or not match(pattern, e, frozenset(formals), found, {}):
                continue
            value = layer.substitute(found).value
            if value is None or table.get(value) != e.function:
                continue
            found = {}
        if match(pattern, e, frozenset(formals), found, {}) and formals - context.system.constants <= found.keys():
            named = substitute(q.lhs, found)
            assert isinstance(named, Ref)
            # The same formula may stand for more nodes than the quantity has.
            exists = (*(c.substitute(found) for c in q.guard), *context.system.range_of(named))
            if all(implies(context.constraints, c) for c in exists):
                return named
    return None
