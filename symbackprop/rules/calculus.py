"""Rules for the operator d/du: each takes one step through the head it stands before."""

from __future__ import annotations

from symbackprop.functions import FUNCTIONS
from symbackprop.indices import affine, at_least, contradicts, equals, fresh, implies
from symbackprop.rules.base import Context, rule
from symbackprop.rules.graph import reaches
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Call,
    Compare,
    D,
    Delta,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Partial,
    Pow,
    Prod,
    Ref,
    Sum,
    Where,
    Winner,
    WrittenOut,
    bound,
    names,
    rename_bound,
    with_index,
)


def depends(e: Expr, d: D, context: Context) -> bool:
    """Whether `e` may change with the variable: directly, or for a total derivative through the equations.

    Conditions and the winner of a maximum jump; between their jumps they are constant.
    """
    u = d.variable
    match e:
        case Ref():
            if e.family == u.family and not apart_in_recursion(e, u, context):
                return True
            if d.total and e.family != u.family and reaches(context.system, u.family, e.family):
                return True
            mean = context.system.mean
            return bool(
                d.total and mean and e.family == mean[1] and reaches(context.system, u.family, context.system.cost)
            )
        case Winner() | Compare():
            return False
        case Sum() | Max() | Prod():
            return depends(e.body, d, context.assuming((*e.axis.holds(affine(e.index)), *e.guard)))
        case Guarded(body, guard):
            return depends(body, d, context.assuming(guard))
    return any(depends(p, d, context) for p in e.parts)


def apart_in_recursion(a: Ref, b: Ref, context: Context) -> bool:
    """Whether two quantities of one family lie in layers that cannot be the same."""
    axes = context.system.family(a.family).axes
    pairs = [(i, j) for x, i, j in zip(axes, a.indices, b.indices, strict=True) if x.kind == "recursion"]
    return any(contradicts(context.constraints, equals(i, j)) for i, j in pairs)


CALCULUS = "differential calculus of one variable"


@rule("constant", statement=r"\frac{\partial c}{\partial u} = 0", source=CALCULUS, trivial=True)
def constant(e: Expr, context: Context) -> Expr | None:
    """What contains no quantity of u's family in a layer that could be u's does not depend on u."""
    return ZERO if isinstance(e, D) and not depends(e.body, e, context) else None


@rule(
    "Kronecker delta",
    passing="",
    statement=r"\frac{\partial u_i}{\partial u_j} = \delta_{ij}",
    source="the entries of an array vary independently",
)
def own_variable(e: Expr, context: Context) -> Expr | None:
    """A Kronecker delta for each pair of node indices that are not written alike.

    Deltas exist only where the layers are equal: a_j^(l) and a_k^(l-1) count nodes of different layers.
    """
    if not isinstance(e, D) or not isinstance(e.body, Ref) or e.body.family != e.variable.family:
        return None
    deltas: list[Expr] = []
    for axis, i, j in zip(context.system.axes(e.body), e.body.indices, e.variable.indices, strict=True):
        if i == j or (context.system.size(axis) == 1 and None in (i.name, j.name)):
            continue
        if axis.kind == "recursion" and implies(context.constraints, equals(i, j)):
            continue
        if i.value is not None and j.value is not None:
            return ZERO
        else:
            deltas.append(Delta(i, j, axis))
    return ONE if not deltas else deltas[0] if len(deltas) == 1 else Mul(tuple(deltas))


@rule(
    "chain rule for a quantity",
    statement=r"\frac{\mathrm d v}{\mathrm d u} = \frac{\partial v}{\partial u}",
    source="definition of the total derivative",
    trivial=True,
)
def total_quantity(e: Expr, context: Context) -> Expr | None:
    """Under a total derivative, another quantity stands with its own derivative by u."""
    if isinstance(e, D) and e.total and isinstance(e.body, Ref) and e.body.family != e.variable.family:
        return Partial(e.body, e.variable)
    return None


@rule("sum rule", passing="", statement=r"(f+g)' = f' + g'", source=CALCULUS)
def sum_rule(e: Expr, context: Context) -> Expr | None:
    """Every term under an operator of its own; those without u vanish by another rule."""
    if isinstance(e, D) and isinstance(e.body, Add):
        return Add(tuple(D(t, e.variable, e.total) for t in e.body.terms))
    return None


@rule(
    "differentiate term by term",
    passing="",
    statement=r"\frac{\partial}{\partial u}\sum_j f_j = \sum_j \frac{\partial f_j}{\partial u}",
    source=CALCULUS,
)
def term_by_term(e: Expr, context: Context) -> Expr | None:
    """The summed index is renamed first if u carries the same letter."""
    if not isinstance(e, D):
        return None
    s = e.body.sum if isinstance(e.body, WrittenOut) else e.body
    if not isinstance(s, Sum):
        return None
    s = rename_bound(s, names(e.variable), context.letters)
    return Sum(s.index, s.axis, D(s.body, e.variable, e.total), s.guard)


@rule(
    "derivative of a maximum",
    statement=r"\frac{\partial}{\partial u}\max_k f_k = \sum_k \mathbb{1}\left[k = \arg\max f\right] \frac{\partial f_k}{\partial u}",
    source="the maximum is the value at its first maximiser, which is constant but for ties",
)
def maximum(e: Expr, context: Context) -> Expr | None:
    """Where several positions attain the maximum there is no derivative; that of the first of them is taken."""
    if not isinstance(e, D) or not isinstance(e.body, Max):
        return None
    m = rename_bound(e.body, names(e.variable), context.letters)
    term = Mul((Winner(e.body, affine(m.index)), D(m.body, e.variable, e.total)))
    return Sum(m.index, m.axis, term, m.guard)


@rule(
    "product rule for many factors",
    statement=r"\frac{\partial}{\partial u}\prod_k f_k = \sum_k \frac{\partial f_k}{\partial u} \prod_{m<k} f_m \prod_{m>k} f_m",
    source=CALCULUS,
)
def many_factors(e: Expr, context: Context) -> Expr | None:
    """The product without its k-th factor is that of the factors before and after: nothing is divided."""
    if not isinstance(e, D) or not isinstance(e.body, Prod):
        return None
    m = rename_bound(e.body, names(e.variable), context.letters)
    taken = names(e.body) | names(e.variable) | bound(e.body) | context.system.constants
    k, other = affine(m.index), fresh("m", taken | {m.index})
    rest = with_index(m, other)
    before = Prod(other, m.axis, rest.body, (*rest.guard, at_least(k - 1, other)))
    after = Prod(other, m.axis, rest.body, (*rest.guard, at_least(other, k + 1)))
    return Sum(m.index, m.axis, Mul((D(m.body, e.variable, e.total), before, after)), m.guard)


@rule("guarded term", passing="", statement=r"([P]\, f)' = [P]\, f'", source=CALCULUS)
def guarded_term(e: Expr, context: Context) -> Expr | None:
    """A condition on indices does not change with any quantity."""
    if isinstance(e, D) and isinstance(e.body, Guarded):
        return Guarded(D(e.body.body, e.variable, e.total), e.body.guard)
    return None


@rule("constant factor", passing="", statement=r"(c f)' = c f'", source=CALCULUS)
def constant_factor(e: Expr, context: Context) -> Expr | None:
    """Factors that cannot change with u stand before the operator, a denominator that cannot stays below."""
    if not isinstance(e, D):
        return None
    if isinstance(e.body, Mul):
        fixed = [f for f in e.body.factors if not depends(f, e, context)]
        moving = [f for f in e.body.factors if depends(f, e, context)]
        if fixed and moving:
            inner = moving[0] if len(moving) == 1 else Mul(tuple(moving))
            return Mul((*fixed, D(inner, e.variable, e.total)))
    if isinstance(e.body, Div) and not depends(e.body.bottom, e, context):
        return Div(D(e.body.top, e.variable, e.total), e.body.bottom)
    return None


@rule("product rule", statement=r"(fg)' = f'g + fg'", source=CALCULUS)
def product_rule(e: Expr, context: Context) -> Expr | None:
    """One term for each factor that depends on u; with fewer than two it is no product to the operator."""
    if not isinstance(e, D) or not isinstance(e.body, Mul):
        return None
    f = e.body.factors
    terms = [
        Mul((*f[:i], D(f[i], e.variable, e.total), *f[i + 1 :])) for i in range(len(f)) if depends(f[i], e, context)
    ]
    return Add(tuple(terms)) if len(terms) > 1 else None


@rule("quotient rule", statement=r"\left(\frac fg\right)' = \frac{f'}{g} - \frac fg\,\frac{g'}{g}", source=CALCULUS)
def quotient_rule(e: Expr, context: Context) -> Expr | None:
    """Written with f/g kept whole, so that a quotient that has a name is seen again in the derivative."""
    if not isinstance(e, D) or not isinstance(e.body, Div) or not depends(e.body.bottom, e, context):
        return None
    f, g = e.body.top, e.body.bottom
    slip = Mul((e.body, Div(D(g, e.variable, e.total), g)))
    if not depends(f, e, context):
        return -slip
    return Add((Div(D(f, e.variable, e.total), g), -slip))


@rule("power rule", statement=r"(f^n)' = n f^{n-1} f'", source=CALCULUS)
def power_rule(e: Expr, context: Context) -> Expr | None:
    """For a constant exponent."""
    if not isinstance(e, D) or not isinstance(e.body, Pow) or depends(e.body.exponent, e, context):
        return None
    f, n = e.body.base, e.body.exponent
    inner = D(f, e.variable, e.total)
    if isinstance(n, Num):
        lowered = f if n.value == 2 else Pow(f, Num(n.value - 1))
        return Mul((n, lowered, inner)) if n.value != 1 else inner
    return Mul((n, Pow(f, n - 1), inner))


@rule(
    "exponential rule",
    statement=r"(f^g)' = f^g \left(g' \ln f + g\,\frac{f'}{f}\right)",
    source=CALCULUS,
)
def exponential_rule(e: Expr, context: Context) -> Expr | None:
    """For an exponent that depends on u; holds where f > 0, as real powers do."""
    if not isinstance(e, D) or not isinstance(e.body, Pow) or not depends(e.body.exponent, e, context):
        return None
    f, g = e.body.base, e.body.exponent
    inner: Expr = Mul((D(g, e.variable, e.total), Call("log", (f,))))
    if depends(f, e, context):
        inner = Add((inner, Mul((g, Div(D(f, e.variable, e.total), f)))))
    return Mul((e.body, inner))


@rule(
    "derivative of a composed function",
    passing="derivative of the function",
    statement=r"(f(g))' = f'(g)\,g'",
    source=CALCULUS,
)
def outer_function(e: Expr, context: Context) -> Expr | None:
    """f' stays a function of its own: g'(z_j) for an activation, whatever it is."""
    if not isinstance(e, D) or not isinstance(e.body, Call) or len(e.body.arguments) != 1:
        return None
    f = e.body
    (z,) = f.arguments
    if not depends(z, e, context):
        return None
    return Mul((Call(f.function, f.arguments, f.order + 1, f.at), D(z, e.variable, e.total)))


@rule(
    "slope of the activation",
    statement=r"g'(z) = \text{the derivative of } g \text{ at } z",
    source="the definition of g",
)
def slope(e: Expr, context: Context) -> Expr | None:
    """Write out f'(z) where f is known; a generic g' stays as it is."""
    if not isinstance(e, Call) or e.order != 1 or len(e.arguments) != 1:
        return None
    f = context.system.function(e.function)
    if f is None or (f.rule and f.name in FUNCTIONS):
        return None
    (z,) = e.arguments
    return f.slope(z, Call(e.function, e.arguments, 0, e.at))


@rule(
    "derivative of an elementary function",
    passing="",
    statement=r"\exp' = \exp,\quad \ln' x = 1/x,\ \ldots",
    source=CALCULUS,
)
def elementary(e: Expr, context: Context) -> Expr | None:
    """The table of `functions.ELEMENTARY`; activations have a rule of their own, since textbooks name them."""
    if not isinstance(e, Call) or e.order != 1 or len(e.arguments) != 1:
        return None
    f = FUNCTIONS.get(e.function)
    if f is None or not f.rule:
        return None
    (z,) = e.arguments
    return f.slope(z, Call(e.function, e.arguments, 0, e.at))


@rule("look up the activation", statement=r"g^{(2)} = \sigma", source="the list of activations")
def look_up(e: Expr, context: Context) -> Expr | None:
    """Which function g^(l) is, once l is a number."""
    if not isinstance(e, Call) or e.at is None or e.at.value is None:
        return None
    name = context.system.tables.get(e.function, {}).get(e.at.value)
    own = context.system.function(name) if name is not None else None
    if name is None or own is None:
        return None
    (z,) = e.arguments
    if own.value is not None and own.value(z) == z:
        # A function that is its argument needs no name.
        return z if e.order == 0 else own.slope(z, z) if e.order == 1 else None
    return Call(name, e.arguments, e.order)


@rule(
    "case by case",
    statement=r"\left(\begin{cases} f \\ g \end{cases}\right)' = \begin{cases} f' \\ g' \end{cases}",
    source=CALCULUS,
)
def cases(e: Expr, context: Context) -> Expr | None:
    """Inside each case; on the boundary the case that is written there counts."""
    if isinstance(e, D) and isinstance(e.body, Where):
        w = e.body
        return Where(w.condition, D(w.then, e.variable, e.total), D(w.other, e.variable, e.total))
    return None


DERIVATIVE_RULES = (
    "constant",
    "Kronecker delta",
    "chain rule for a quantity",
    "sum rule",
    "differentiate term by term",
    "derivative of a maximum",
    "product rule for many factors",
    "guarded term",
    "constant factor",
    "product rule",
    "quotient rule",
    "power rule",
    "exponential rule",
    "case by case",
    "derivative of a composed function",
)
