"""Rules for Sigma and Kronecker's delta."""

from __future__ import annotations

from fractions import Fraction

from symbackprop.indices import Affine, Guard, affine, fresh, implies, satisfiable
from symbackprop.network import System
from symbackprop.rules.algebra import flat, joined, product
from symbackprop.rules.base import Context, rule
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Binder,
    Compare,
    D,
    Delta,
    Div,
    Expr,
    Guarded,
    Mul,
    Num,
    Partial,
    Position,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    WrittenOut,
    at,
    bound,
    guard_names,
    names,
    rename_bound,
    replace_at,
    same,
    substitute,
    walk,
    with_index,
)


def points(system: System, s: Sum, wanted: tuple[Affine, ...]) -> tuple[Affine | None, ...]:
    """Which terms of a sum to write: all of a short one, else the first, those wanted, the next and the last."""
    size = system.size(s.axis)
    numbers = [w.value for w in wanted if w.value is not None]
    if size is not None and size <= 4:
        return tuple(affine(i) for i in range(size))
    out: list[Affine | None] = []
    start = [0, 1] if not any(w.name is not None for w in wanted) else [0]
    for n in sorted({*start, *numbers}):
        if out and out[-1] is not None and out[-1].value != n - 1:
            out.append(None)
        out.append(affine(n))
    for w in wanted:
        if w.value is None:
            out += [None, w]
    if size is None:
        out += [None, LAST]
    elif out[-1] is None or out[-1].value != size - 1:
        out += [None, affine(size - 1)] if out[-1] is None or out[-1].value != size - 2 else [affine(size - 1)]
    return tuple(out)


LAST = affine("#last")
"""Stands for the last position of the axis whose size is a symbol; printers write n-1 or n."""


@rule(
    "the sum written out",
    statement=r"\sum_{j=0}^{n-1} f_j = f_0 + f_1 + \cdots + f_{n-1}",
    source="definition of the sum sign",
)
def write_out(e: Expr, context: Context) -> Expr | None:
    """Shows the terms that the variable of differentiation picks out; the value is the sum's.

    Under an operator the sum may stand beside other terms or behind a factor.
    """
    if isinstance(e, Sum):
        return WrittenOut(e, points(context.system, e, ()))
    if not isinstance(e, D):
        return None
    for path, s in walk(e.body):
        within = all(isinstance(at(e.body, path[:n]), Add | Mul) for n in range(len(path)))
        if not within or not isinstance(s, Sum) or s.axis.kind != "node" or context.system.size(s.axis) == 1:
            continue
        wanted: list[Affine] = []
        for _, r in walk(s.body):
            if isinstance(r, Ref) and r.family == e.variable.family:
                for i, u in zip(r.indices, e.variable.indices, strict=True):
                    if i == affine(s.index) and u not in wanted:
                        wanted.append(u)
        if wanted:
            return D(
                replace_at(e.body, path, WrittenOut(s, points(context.system, s, tuple(wanted)))), e.variable, e.total
            )
    return None


@rule(
    "delta picks one term",
    passing="only one term depends on it",
    statement=r"\sum_k \delta_{kq}\, f_k = f_q",
    source="definition of the Kronecker delta",
)
def collapse_delta(e: Expr, context: Context) -> Expr | None:
    """Keep the one surviving term of a sum over a delta.

    The delta is solved for the summed index. Where the value may lie outside the range of the sum, the term stands
    behind a bracket that says where it exists: otherwise it would claim a term that the sum does not have. On the
    axes whose size depends on the layer no such condition can be stated, so there the delta must be of that very axis.
    """
    if not isinstance(e, Sum):
        return None
    layer = e.axis.at.names if e.axis.at is not None else frozenset[str]()
    for _, f in walk(e.body):
        if isinstance(f, Delta) and f.axis.kind == "recursion" and layer & (f.left.names | f.right.names):
            return None  # which nodes there are is not known before the layer is
    for _, f in walk(e.body):
        if not isinstance(f, Delta) or e.index not in f.left.names | f.right.names:
            continue
        q = solved_for(f.left - f.right, e.index)
        stated = e.axis.kind == "recursion" or (e.axis.kind == "node" and e.axis.at is None)
        if q is None or not (stated or (f.axis == e.axis and affine(e.index) in (f.left, f.right))):
            continue
        rest = without(e.body, f)
        if rest is None:
            continue
        same = f.axis == e.axis and affine(e.index) in (f.left, f.right) and q.name is not None
        range_ = () if same and e.axis.kind != "recursion" else e.axis.holds(q)
        guard = [c.substitute({e.index: q}) for c in e.guard] + list(range_)
        return guarded(substitute(rest, {e.index: q}), tuple(guard), context)
    return None


def solved_for(e: Affine, index: str) -> Affine | None:
    """The value of an index at which an index expression is 0, where that is an index expression again."""
    terms = dict(e.terms)
    k = terms.get(index, 0)
    rest = e - Affine(((index, k),)) if k else e
    return rest * -k if abs(k) == 1 and index not in rest.names else None


def guarded(e: Expr, guard: Guard, context: Context) -> Expr:
    """`e` behind a bracket with those constraints that do not hold anyway; 0 where they cannot hold."""
    open_ = tuple(dict.fromkeys(c for c in guard if not implies(context.constraints, c)))
    if not open_:
        return e
    return Guarded(e, open_) if satisfiable((*context.constraints, *open_)) else ZERO


@rule(
    "condition before the product",
    trivial=True,
    statement=r"g\,[P]\,f = [P]\,g f",
    source="definition of Iverson's bracket",
)
def bracket_out(e: Expr, context: Context) -> Expr | None:
    """A condition on one factor is one on the product; on all terms of a sum, one on the sum."""
    if isinstance(e, Mul):
        for n, f in enumerate(e.factors):
            if isinstance(f, Guarded):
                return Guarded(Mul((*e.factors[:n], f.body, *e.factors[n + 1 :]), e.roles), f.guard)
    if isinstance(e, Div) and isinstance(e.top, Guarded):
        return Guarded(Div(e.top.body, e.bottom), e.top.guard)
    if isinstance(e, Guarded) and isinstance(e.body, Guarded):
        return Guarded(e.body.body, tuple(dict.fromkeys((*e.guard, *e.body.guard))))
    if isinstance(e, Add) and all(isinstance(t, Guarded) and t.guard == e.terms[0].guard for t in e.terms):  # type: ignore[attr-defined]
        first = e.terms[0]
        assert isinstance(first, Guarded)
        return Guarded(Add(tuple(t.body for t in e.terms if isinstance(t, Guarded))), first.guard)
    return None


@rule(
    "condition under the sum",
    passing="",
    statement=r"\sum_k [P(k)]\, f_k = \sum_{k:\,P(k)} f_k",
    source="definition of Iverson's bracket",
)
def bracket_in(e: Expr, context: Context) -> Expr | None:
    """What a condition says of the summed index narrows the sum; the rest of it stands before the sum."""
    if not isinstance(e, Sum) or not isinstance(e.body, Guarded):
        return None
    mine = tuple(c for c in e.body.guard if e.index in c.expr.names)
    rest = tuple(c for c in e.body.guard if e.index not in c.expr.names)
    out = Sum(e.index, e.axis, e.body.body, tuple(dict.fromkeys((*e.guard, *mine))))
    return Guarded(out, rest) if rest else out


@rule(
    "condition that holds",
    trivial=True,
    statement=r"P \;\Rightarrow\; [P]\,f = f",
    source="definition of Iverson's bracket",
)
def settled(e: Expr, context: Context) -> Expr | None:
    """Conditions that the ranges of the indices imply go; one that contradicts them makes the term 0."""
    if isinstance(e, Guarded):
        out = guarded(e.body, e.guard, context)
        return out if out != e else None
    if isinstance(e, Sum) and e.guard:
        inside = context.assuming(e.axis.holds(affine(e.index)))
        open_ = tuple(c for n, c in enumerate(e.guard) if not implies((*inside.constraints, *e.guard[:n]), c))
        if not satisfiable((*inside.constraints, *open_)):
            return ZERO
        return Sum(e.index, e.axis, e.body, open_) if open_ != e.guard else None
    return None


def without(e: Expr, delta: Delta) -> Expr | None:
    """The cofactor of a delta: what it multiplies in `e`, where every term has it once; None elsewhere."""
    match e:
        case Delta():
            return ONE if e == delta else None
        case Num(v) if v == 0:
            return ZERO
        case Mul(factors, roles):
            for n, f in enumerate(factors):
                rest = without(f, delta) if f != ZERO else None
                if rest is None:
                    continue
                kept = [g for g in ((*factors[:n], rest, *factors[n + 1 :])) if g != ONE]
                if not kept:
                    return ONE
                if len(kept) == 1:
                    return kept[0]
                return Mul(tuple(kept), roles if roles and len(kept) == len(roles) else ())
            return None
        case Add(terms):
            parts = [without(t, delta) for t in terms]
            return Add(tuple(p for p in parts if p is not None)) if all(p is not None for p in parts) else None
        case Div(top, bottom):
            rest = without(top, delta)
            return None if rest is None else Div(rest, bottom)
        case Guarded(body, guard):
            rest = without(body, delta)
            return None if rest is None else Guarded(rest, guard)
        case Sum(index, axis, body) if index not in delta.left.names | delta.right.names:
            rest = without(body, delta)
            return None if rest is None else Sum(index, axis, rest, e.guard)
        case Where(condition, then, other):
            first, second = without(then, delta), without(other, delta)
            return None if first is None or second is None else Where(condition, first, second)
    return None


@rule(
    "equal indices",
    statement=r"\delta_{jj} = 1",
    source="definition of the Kronecker delta",
    trivial=True,
)
def equal_delta(e: Expr, context: Context) -> Expr | None:
    """Two numbers or a letter with itself: decided. Two letters: not, since either may take any value."""
    if isinstance(e, Delta):
        if e.left == e.right:
            return ONE
        if (e.left - e.right).value is not None:
            return ZERO
    return None


@rule("one term", statement=r"\sum_{j=0}^{0} f_j = f_0", source="definition of the sum sign", trivial=True)
def one_term(e: Expr, context: Context) -> Expr | None:
    """A sum over a layer of one node; what the node is called is left out by the printers."""
    if isinstance(e, Sum) and e.axis.kind == "node" and context.system.size(e.axis) == 1:
        return substitute(e.body, {e.index: affine(0)})
    return None


@rule(
    "split the sum",
    passing="",
    statement=r"\sum_j (f_j + g_j) = \sum_j f_j + \sum_j g_j",
    source="linearity of finite sums",
)
def split_sum(e: Expr, context: Context) -> Expr | None:
    """Only where a term has a delta to collapse: otherwise one sum reads better than two."""
    if isinstance(e, Sum) and isinstance(e.body, Add) and any(_has_delta(t, e.index) for t in e.body.terms):
        return Add(tuple(Sum(e.index, e.axis, t, e.guard) for t in e.body.terms))
    return None


def _has_delta(e: Expr, index: str) -> bool:
    return any(isinstance(p, Delta) and index in p.left.names | p.right.names for _, p in walk(e))


@rule("multiply out", statement=r"f\,(g + h) = fg + fh", source="distributive law")
def multiply_out(e: Expr, context: Context) -> Expr | None:
    """Only where a bracket hides a delta of the summed index."""
    if not isinstance(e, Sum) or not isinstance(e.body, Mul):
        return None
    rest = flat(e.body)
    for n, f in enumerate(rest):
        if isinstance(f, Add) and any(_has_delta(t, e.index) for t in f.terms):
            terms = [product((*rest[:n], t, *rest[n + 1 :])) for t in f.terms]
            return Sum(e.index, e.axis, Add(tuple(terms)), e.guard)
    return None


@rule("pull out of the sum", statement=r"\sum_j c f_j = c \sum_j f_j", source="linearity of finite sums")
def pull_out(e: Expr, context: Context) -> Expr | None:
    """What does not depend on the summed index stands before the sum."""
    if not isinstance(e, Sum):
        return None
    if isinstance(e.body, Mul):
        fixed = [f for f in e.body.factors if e.index not in names(f)]
        moving = [f for f in e.body.factors if e.index in names(f)]
        if fixed and moving:
            return Mul((*fixed, Sum(e.index, e.axis, moving[0] if len(moving) == 1 else Mul(tuple(moving)), e.guard)))
    if isinstance(e.body, Div) and e.index not in names(e.body.bottom):
        return Div(Sum(e.index, e.axis, e.body.top, e.guard), e.body.bottom)
    return None


@rule("take into the sum", statement=r"c \sum_j f_j = \sum_j c f_j", source="linearity of finite sums")
def take_in(e: Expr, context: Context) -> Expr | None:
    """The factors beside a sum go under it, the summed index renamed if one of them has it."""
    if not isinstance(e, Mul):
        return None
    for n, f in enumerate(e.factors):
        if isinstance(f, Sum):
            beside = (*e.factors[:n], *e.factors[n + 1 :])
            f = rename_bound(f, frozenset().union(*map(names, beside)), context.letters)
            return Sum(f.index, f.axis, product((*e.factors[:n], *flat(f.body), *e.factors[n + 1 :])), f.guard)
    return None


@rule(
    "swap the sums",
    statement=r"\sum_i \sum_j f_{ij} = \sum_j \sum_i f_{ij}",
    source="the terms of a finite sum may be added in any order",
)
def swap_sums(e: Expr, context: Context) -> Expr | None:
    """Where the range of neither index depends on the other."""
    if not isinstance(e, Sum) or not isinstance(e.body, Sum):
        return None
    inner = e.body
    if e.index in guard_names(inner.guard) | (inner.axis.at.names if inner.axis.at else frozenset()):
        return None
    if inner.index in guard_names(e.guard) | (e.axis.at.names if e.axis.at else frozenset()):
        return None
    return Sum(inner.index, inner.axis, Sum(e.index, e.axis, inner.body, e.guard), inner.guard)


@rule(
    "deviations from the mean",
    statement=r"\mu = \frac1n \sum_j x_j \;\Rightarrow\; \sum_j (x_j - \mu) = 0",
    source="the network's own equations",
)
def deviations(e: Expr, context: Context) -> Expr | None:
    """Applies where the mean over the same axis is what the network defines as that quantity; factors may stand by."""
    if not isinstance(e, Sum) or e.guard:
        return None
    moving = [f for f in flat(e.body) if e.index in names(f)]
    if len(moving) != 1 or not isinstance(moving[0], Add) or len(moving[0].terms) != 2:
        return None
    for x, other in (moving[0].terms, moving[0].terms[::-1]):
        if not isinstance(other, Mul) or other.factors[0] != Num(Fraction(-1)) or len(other.factors) != 2:
            continue
        mean = other.factors[1]
        equation = context.system.defining(mean, context.assume) if isinstance(mean, Ref) else None
        if equation is None or e.index in names(mean):
            continue
        total = Sum(e.index, e.axis, x)
        if any(same(equation.rhs, form) for form in (Mul((Div(ONE, Size(e.axis)), total)), Div(total, Size(e.axis)))):
            return ZERO
    return None


def picks(e: Expr) -> tuple[Ref, Affine] | None:
    """The datum and the position of an indicator [y = k]."""
    if isinstance(e, Where) and (e.then, e.other) == (ONE, ZERO) and isinstance(e.condition, Compare):
        c = e.condition
        if c.op == "==" and isinstance(c.left, Ref) and isinstance(c.right, Position):
            return c.left, c.right.at
    return None


def gathered(e: Expr) -> tuple[Ref, Expr] | None:
    """The datum y and f_k of a sum over [y = k] f_k, which is f_y."""
    if not isinstance(e, Sum) or e.guard:
        return None
    fs = flat(e.body)
    for n, f in enumerate(fs):
        found = picks(f)
        if found is not None and found[1] == affine(e.index):
            return found[0], joined((*fs[:n], *fs[n + 1 :]))
    return None


@rule(
    "the entry that is picked",
    statement=r"[y = k]\, g(f_y) = [y = k]\, g(f_k)",
    source="definition of Iverson's bracket",
)
def picked_entry(e: Expr, context: Context) -> Expr | None:
    """Behind the indicator that y is k, the entry at y is the entry at k."""
    if not isinstance(e, Div | Mul):
        return None
    for f in flat(e.top) if isinstance(e, Div) else flat(e):
        found = picks(f)
        if found is None:
            continue
        for path, p in walk(e):
            inner = gathered(p)
            if inner is not None and inner[0] == found[0] and isinstance(p, Sum):
                return replace_at(e, path, substitute(inner[1], {p.index: found[1]}))
    return None


@rule(
    "one position is picked",
    statement=r"\sum_k [y = k] = 1",
    source="the values of y are positions on the axis of k",
)
def one_picked(e: Expr, context: Context) -> Expr | None:
    """Applies to the axis over which the model declares the values of y to run."""
    inner = gathered(e)
    if inner is None or inner[1] != ONE or not isinstance(e, Sum):
        return None
    return ONE if context.system.family(inner[0].family).over == e.axis else None


@rule("declared fact", statement=r"\sum_j y_j = 1", source="declared of the data by the model")
def use_fact(e: Expr, context: Context) -> Expr | None:
    """A sum that the model declares the value of."""
    for fact in context.system.facts:
        if same(e, fact.lhs):
            return fact.rhs
    return None


@rule(
    "collect the components",
    statement=r"\frac{\partial C}{\partial w_j} = \left(\frac{\partial C}{\partial w_{jk}}\right)_k",
    source="a gradient by an array has the array's shape",
)
def collect(e: Expr, context: Context) -> Expr | None:
    """The derivative by an array is the array of the derivatives by its entries."""
    if isinstance(e, Partial) and isinstance(e.bottom, Vec) and isinstance(e.bottom.body, Ref):
        return Vec(e.bottom.index, e.bottom.axis, Partial(e.top, e.bottom.body, e.direct))
    return None


@rule("scalar factor of an array", statement=r"(c\,v_k)_k = c\,v", source="definition of a scalar multiple")
def scalar_factor(e: Expr, context: Context) -> Expr | None:
    """What does not depend on the array's index stands before the array."""
    if not isinstance(e, Vec) or not isinstance(e.body, Mul):
        return None
    inside = [f for f in e.body.factors if e.index in names(f)]
    if len(inside) == len(e.body.factors) or len(inside) != 1:
        return None
    array = Vec(e.index, e.axis, inside[0])
    new = tuple(array if f is inside[0] else f for f in e.body.factors)
    return Mul(new, e.body.roles)


@rule(
    "rename the summed index",
    passing="",
    statement=r"\sum_k f_k = \sum_q f_q",
    source="the name of a bound index is free to choose",
)
def rename_summed(e: Expr, context: Context) -> Expr | None:
    """Where a summed index has the letter of a free one, or of a sum around it.

    The line would be right without it, but no reader could tell the two apart.
    """
    free = names(e) | context.taken | context.system.constants
    for path, p in walk(e):
        if not isinstance(p, Binder) or isinstance(p, Vec):
            continue
        outer = frozenset(q.index for n in range(len(path)) if isinstance(q := at(e, path[:n]), Binder))
        if p.index in free | outer:
            return replace_at(e, path, with_index(p, fresh(p.index, free | outer | bound(e) | context.letters)))
    return None
