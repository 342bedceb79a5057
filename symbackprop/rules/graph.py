"""Rules that read the graph of equations: the chain rule, definitions, the composition C(a(z(w)))."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, at_least, equals, fresh, implies, satisfiable
from symbackprop.network import AsWritten, Equation, System
from symbackprop.rules.base import Context, letters_of, rule
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Binder,
    Call,
    D,
    Delta,
    Depends,
    Expr,
    Guarded,
    Mul,
    Partial,
    Ref,
    Role,
    Sum,
    Summand,
    Vec,
    at,
    bound,
    families,
    guard_names,
    guard_of,
    names,
    substitute,
    walk,
    with_index,
)


@dataclass(frozen=True)
class Use:
    """One equation whose right side contains a quantity.

    Args:
        equation: The equation with its recursion indices solved and its node indices as far as they are fixed.
        condition: Where this use exists at all, said of layers and times: cases are split on it.
        free: The indices of the left side that stay free.
        where: Where it exists, said of nodes: a bracket before the term.
    """

    equation: Equation
    condition: Guard
    free: tuple[str, ...]
    where: Guard = ()


@lru_cache(maxsize=512)
def reaches(system: System, source: str, target: str) -> bool:
    """Whether a quantity of `source` occurs, directly or not, in the definition of one of `target`."""
    seen, stack = set(), [source]
    while stack:
        f = stack.pop()
        for e in system.equations:
            if f in families(e.rhs) and e.lhs.family not in seen:
                seen.add(e.lhs.family)
                stack.append(e.lhs.family)
        if system.mean and f == system.cost:  # the summand of the mean is the cost of one sample
            stack += [system.mean[1]] * (system.mean[1] not in seen)
            seen.add(system.mean[1])
    return target in seen


def occurrences(e: Expr, family: str) -> Iterator[tuple[Ref, Guard]]:
    """Every quantity of a family in `e`, with what the sums around it say of their layers and times."""
    for path, p in walk(e):
        if isinstance(p, Ref) and p.family == family:
            yield p, recursion_scope(e, path)


def recursion_scope(e: Expr, path: tuple[int, ...]) -> Guard:
    out: list[Constraint] = []
    for n in range(len(path)):
        s = at(e, path[:n])
        if isinstance(s, Binder) and s.axis.kind == "recursion":
            out += [*s.axis.holds(affine(s.index)), *guard_of(s)]
    return tuple(out)


def solve(r: Ref, within: Guard, u: Ref, equation: Equation, system: System) -> tuple[dict[str, Affine], Guard]:
    """Values of the recursion indices, of the equation and summed in it, at which its occurrence `r` can be `u`.

    And what else must hold: the range of a summed layer, and what no index could be solved for.
    """
    inner = bound(equation.rhs)
    free = {i.name for i in equation.lhs.indices if i.name is not None} | inner
    mapping: dict[str, Affine] = {}
    conditions: list[Constraint] = []
    for axis, ri, ui in zip(system.family(r.family).axes, r.indices, u.indices, strict=True):
        if axis.kind != "recursion":
            continue
        ri = ri.substitute(mapping)
        unknown = next((n for n, c in ri.terms if n in free and n not in mapping and abs(c) == 1), None)
        if unknown is None:
            conditions.append(equals(ri, ui))
            continue
        c = dict(ri.terms)[unknown]
        value = (ui - (ri - Affine(((unknown, c),)))) * c
        mapping = {n: a.substitute({unknown: value}) for n, a in mapping.items()} | {unknown: value}
    solved = (c.substitute(mapping) for c in (*conditions, *within))
    conditions = [c for c in solved if not c.expr.names & (inner - mapping.keys())]
    return {n: a for n, a in mapping.items() if n not in inner}, tuple(conditions)


@lru_cache(maxsize=64)
def forward_only(system: System, label: str) -> bool:
    """Whether every equation takes from earlier or equal places on the recursion axes of that name only."""

    def place(r: Ref) -> Affine | None:
        pairs = zip(system.family(r.family).axes, r.indices, strict=True)
        return next((i for a, i in pairs if a.kind == "recursion" and a.label == label), None)

    if any(sum(a.kind == "recursion" and a.label == label for a in f.axes) > 1 for f in system.families.values()):
        return False  # pairs of times: which of the two is later is not asked here
    for e in system.equations:
        here = place(e.lhs)
        for _, p in walk(e.rhs):
            there = place(p) if isinstance(p, Ref) else None
            if here is not None and there is not None and ((here - there).value or 0) < 0:
                return False
            if here is not None and there is not None and (here - there).value is None and here.names:
                return False
    return True


def not_later(system: System, v: Ref, top: Ref) -> Guard:
    """Where `v` can lead on to `top` at all: at no later layer or time, since nothing runs backward."""
    tops = {
        a.label: i for a, i in zip(system.family(top.family).axes, top.indices, strict=True) if a.kind == "recursion"
    }
    return tuple(
        at_least(tops[a.label], i)
        for a, i in zip(system.family(v.family).axes, v.indices, strict=True)
        if a.kind == "recursion" and a.label in tops and forward_only(system, a.label)
    )


def uses(system: System, u: Ref, assume: Guard, top: Ref) -> tuple[Use, ...]:
    """Every equation that contains `u` somewhere in its range and leads on to `top`."""
    return _uses(AsWritten(system), u, assume, top)


@lru_cache(maxsize=1024)
def _uses(written: AsWritten, u: Ref, assume: Guard, top: Ref) -> tuple[Use, ...]:
    system = written.system
    out: list[Use] = []
    for e in system.equations:
        v = e.lhs.family
        if u.family not in families(e.rhs) or not (v == top.family or reaches(system, v, top.family)):
            continue
        taken = names(u) | names(top) | ({n for c in assume for n in c.expr.names} - system.constants)
        e = _apart(e, system.family(v).axes, taken, letters_of(system))
        # Neither do the letters of its sums: one that is a letter of u, or of the left side, would be taken for it.
        e = Equation(e.lhs, apart(e.rhs, taken | names(e.lhs), letters_of(system)), e.guard)
        solutions: dict[tuple[tuple[tuple[str, Affine], ...], Guard], list[Ref]] = {}
        for r, within in occurrences(e.rhs, u.family):
            mapping, conditions = solve(r, within, u, e, system)
            solutions.setdefault((tuple(sorted(mapping.items())), conditions), []).append(r)
        found = [_use(e, dict(items), c, refs, u, system, assume, top) for (items, c), refs in solutions.items()]
        here = [use for use in found if use is not None]
        if len(here) > 1 and not any(use.condition for use in here) and _overlap(here, system, assume):
            # Both would count the quantities that they share: one use for all, in which deltas tell them apart.
            common = set.intersection(*(set(items) for items, _ in solutions))
            every = [r for refs in solutions.values() for r in refs]
            whole = _use(e, dict(common), (), every, u, system, assume, top)
            here = [] if whole is None else [whole]
        out += here
    return tuple(out)


def _use(
    e: Equation,
    mapping: dict[str, Affine],
    conditions: Guard,
    refs: list[Ref],
    u: Ref,
    system: System,
    assume: Guard,
    top: Ref,
) -> Use | None:
    """The use of `u` through those of its occurrences in an equation that its indices solve alike; None for none."""
    known = (*system.standing, *assume)
    solved, guard = _solve_guard((*e.guard, *system.guard_of(e.lhs), *conditions), mapping, e.lhs)
    nodes = _fixed_nodes(refs, u, e, system)
    mapping = mapping | solved | nodes
    lhs = substitute_ref(e.lhs, mapping)
    free: list[str] = []
    for axis, i in zip(system.axes(lhs), lhs.indices, strict=True):
        if i.name is None or i.name not in names(e.lhs) or i.name in mapping or i.name in free:
            continue
        if system.size(axis) == 1:
            mapping[i.name] = affine(0)
        else:
            free.append(i.name)
    guard = tuple(dict.fromkeys(c.substitute(mapping) for c in (*guard, *not_later(system, e.lhs, top))))
    guard = tuple(c for c in guard if not implies(known, c))
    # A node of u may lie past the end of the axis on which it is put: there the equation has no such quantity.
    places = zip(system.axes(lhs), e.lhs.indices, lhs.indices, strict=True)
    ends = [c for a, i, j in places if a.kind == "node" and i.name in {*nodes, *solved} for c in a.holds(j)]
    ends = [c for c in dict.fromkeys(ends) if c not in guard and not implies(known, c)]
    if not satisfiable((*known, *guard, *ends)):
        return None
    inside = tuple(c for c in (*guard, *ends) if c.expr.names & set(free))
    mine = node_names(u, system)
    where = tuple(c for c in guard if c not in inside and c.expr.names & mine)
    condition = tuple(c for c in guard if c not in inside and c not in where)
    where = (*where, *(c for c in ends if c not in inside))
    full = Equation(substitute_ref(e.lhs, mapping), substitute(e.rhs, mapping), inside)
    return Use(full, condition, tuple(free), where)


def _overlap(found: list[Use], system: System, assume: Guard) -> bool:
    """Whether two of the uses may speak of one quantity."""
    for n, a in enumerate(found):
        for b in found[n + 1 :]:
            other = {x: affine(x + "''") for x in b.free}
            pairs = zip(a.equation.lhs.indices, b.equation.lhs.indices, strict=True)
            equal = tuple(equals(i, j.substitute(other)) for i, j in pairs)
            theirs = tuple(c.substitute(other) for c in (*b.equation.guard, *b.where))
            if satisfiable((*system.standing, *assume, *a.equation.guard, *a.where, *theirs, *equal)):
                return True
    return False


def node_names(u: Ref, system: System) -> frozenset[str]:
    """The letters that count nodes in a quantity."""
    pairs = zip(system.family(u.family).axes, u.indices, strict=True)
    return frozenset().union(*(i.names for a, i in pairs if a.kind != "recursion")) - system.constants


def _solve_guard(guard: Guard, mapping: dict[str, Affine], lhs: Ref) -> tuple[dict[str, Affine], Guard]:
    """Formal indices that an equation in the guard fixes (l = 0), and what of the guard remains."""
    formals = names(lhs) - mapping.keys()
    fixed: dict[str, Affine] = {}
    rest: list[Constraint] = []
    for c in guard:
        c = c.substitute(mapping).substitute(fixed)
        unknown = next(
            (n for n, k in c.expr.terms if c.equal and n in formals and n not in fixed and abs(k) == 1), None
        )
        if unknown is None:
            rest.append(c)
        else:
            k = dict(c.expr.terms)[unknown]
            fixed[unknown] = (c.expr - Affine(((unknown, k),))) * -k
    return fixed, tuple(c.substitute(fixed) for c in rest)


def substitute_ref(r: Ref, mapping: dict[str, Affine]) -> Ref:
    return Ref(r.family, tuple(i.substitute(mapping) for i in r.indices))


def _apart(
    e: Equation, axes: tuple[Axis, ...], taken: frozenset[str] | set[str], letters: frozenset[str] | set[str]
) -> Equation:
    """The equation with its formal indices renamed away from `taken`, where they would collide; new ones avoid `letters`."""
    mapping: dict[str, Affine] = {}
    used = set(taken) | letters | names(e.lhs) | names(e.rhs) | bound(e.rhs)
    for axis, i in zip(axes, e.lhs.indices, strict=True):
        if i.name is not None and i.name in taken:
            # A layer is solved for and vanishes; a node that stays is summed, so it gets a readable letter.
            new = i.name + "'" if axis.kind == "recursion" else fresh("p", used)
            used.add(new)
            mapping[i.name] = affine(new)
    if not mapping:
        return e
    lhs = substitute(e.lhs, mapping)
    assert isinstance(lhs, Ref)
    return Equation(lhs, substitute(e.rhs, mapping), tuple(c.substitute(mapping) for c in e.guard))


def _fixed_nodes(refs: list[Ref], u: Ref, e: Equation, system: System) -> dict[str, Affine]:
    """Node indices of the left side that every occurrence forces to one value: w_jk enters only z_j."""
    kinds = {i.name: a.kind for i, a in zip(e.lhs.indices, system.family(e.lhs.family).axes, strict=True)}
    out: dict[str, Affine] | None = None
    for r in refs:
        here = {
            ri.name: ui
            for ri, ui in zip(r.indices, u.indices, strict=True)
            if ri.name is not None and kinds.get(ri.name) not in (None, "recursion")
        }
        out = here if out is None else {n: a for n, a in out.items() if here.get(n) == a}
    return out or {}


def crosses(system: System, u: Ref, v: Ref) -> bool:
    """Whether the step from u to v leaves the layer (or time) of u."""

    return recursion_places(system, u) != recursion_places(system, v)


def edge_role(system: System, u: Ref, v: Ref) -> Role:
    """What the factor dv/du is to a reader: the local slope of a layer, or what comes in from below."""
    return "slope" if system.family(u.family).kind == "derived" and not crosses(system, u, v) else "incoming"


def undecided(context: Context, u: Ref, top: Ref) -> Guard | None:
    """The first condition that the chain rule for d(top)/du would have to split on, if any."""
    for use in uses(context.system, u, context.assume, top):
        if use.condition:
            return use.condition
    places = [c for c in same_place(u, top, context) if not implies(context.constraints, c)]
    return tuple(places) if places and satisfiable((*context.constraints, *places)) else None


def same_place(u: Ref, top: Ref, context: Context) -> Guard:
    """Where two quantities of one family lie in the same layer or time; of two families, nothing."""
    if u.family != top.family:
        return ()
    axes = context.system.family(u.family).axes
    return tuple(equals(i, j) for a, i, j in zip(axes, u.indices, top.indices, strict=True) if a.kind == "recursion")


@rule(
    "chain rule",
    statement=r"\frac{\partial C}{\partial u} = \sum_{v \text{ uses } u} \frac{\partial C}{\partial v}\,\frac{\partial v}{\partial u}",
    source="multivariate chain rule along the graph of equations; Rumelhart, Hinton & Williams (1986)",
)
def chain_rule(e: Expr, context: Context) -> Expr | None:
    """One factor pair for each equation that uses u, summed over that equation's own indices.

    An index of v that u itself fixes is not summed: w_jk^(l) enters only z_j^(l). Applies only where the
    assumptions decide which equations use u; otherwise the cases (l = L, l < L) must be split first,
    since a sum over uses that do not exist would be wrong. Where u is of the family of C itself, it is C for equal
    indices: that adds a Kronecker delta.
    """
    if not isinstance(e, Partial) or e.direct or not isinstance(e.bottom, Ref):
        return None
    if e.top == e.bottom and not e.top.indices:
        return None
    system, top, u = context.system, e.top, e.bottom
    found = uses(system, u, context.assume, top)
    if undecided(context, u, top) is not None:
        return None
    terms = itself(u, top, context)
    if not found and not terms:
        return None
    for use in found:
        v = use.equation.lhs
        if v == top:
            terms.append(Partial(top, u, direct=True))
            continue
        term: Expr = Mul((Partial(top, v), Partial(v, u, direct=True)), ("upstream", edge_role(system, u, v)))
        waiting = use.equation.guard
        for name in reversed(use.free):
            # A constraint on two summed indices stands under the inner sum, where both have a meaning.
            axis = system.axes(v)[v.indices.index(affine(name))]
            on_axis = (*context.constraints, *axis.holds(affine(name)))
            inside = tuple(c for c in waiting if name in c.expr.names and not implies(on_axis, c))
            waiting = tuple(c for c in waiting if name not in c.expr.names)
            term = Sum(name, axis, term, inside)
        terms.append(Guarded(term, use.where) if use.where else term)
    return terms[0] if len(terms) == 1 else Add(tuple(terms))


@rule(
    "nothing leads there",
    statement=r"C \text{ does not depend on } u \;\Rightarrow\; \frac{\partial C}{\partial u} = 0",
    source="the network's own equations",
)
def no_path(e: Expr, context: Context) -> Expr | None:
    """Where, in the whole range at hand, no equation that leads on to C uses u."""
    if not isinstance(e, Partial) or e.direct or not isinstance(e.bottom, Ref) or e.top == e.bottom:
        return None
    if undecided(context, e.bottom, e.top) is not None or itself(e.bottom, e.top, context):
        return None
    return None if uses(context.system, e.bottom, context.assume, e.top) else ZERO


def itself(u: Ref, top: Ref, context: Context) -> list[Expr]:
    """What u gives to `top` where it is of the same family: a delta for each pair of node indices."""
    if u.family != top.family or not all(implies(context.constraints, c) for c in same_place(u, top, context)):
        return []
    triples = zip(context.system.axes(u), top.indices, u.indices, strict=True)
    deltas = tuple(Delta(i, j, a) for a, i, j in triples if a.kind != "recursion" and i != j)
    return [ONE if not deltas else deltas[0] if len(deltas) == 1 else Mul(deltas)]


@rule(
    "definition",
    statement=r"v = f(\ldots, u, \ldots) \;\Rightarrow\; \frac{\partial v}{\partial u} = \frac{\partial}{\partial u} f(\ldots, u, \ldots)",
    source="the network's own equations",
)
def definition(e: Expr, context: Context) -> Expr | None:
    """Put the right side of v's equation under the operator, its summed indices renamed away from u's.

    Without the renaming, d/dw_jk of sum_k w_jk a_k would read as if the k of the sum were the k of the weight.
    A generic function of a whole array has no formula to put there, so the rule does not apply to it.
    """
    if not isinstance(e, Partial) or not isinstance(e.bottom, Ref):
        return None
    if not e.direct and chain_rule(e, context) != Partial(e.top, e.bottom, direct=True):
        return None
    equation = context.system.defining(e.top, context.assume)
    if equation is None or opaque(equation.rhs):
        return None
    return D(apart(equation.rhs, names(e.bottom) | names(e.top), context.letters), e.bottom)


@rule(
    "differentiate the definition",
    statement=r"v = f(\ldots) \;\Rightarrow\; \frac{\partial v}{\partial u} = \frac{\partial}{\partial u} f(\ldots)",
    source="the network's own equations; every quantity in f counts with its own derivative by u",
)
def definition_total(e: Expr, context: Context) -> Expr | None:
    """As `definition`, with the quantities of the right side differentiated in turn: for means and totals of costs."""
    if not isinstance(e, Partial) or e.direct or not isinstance(e.bottom, Ref):
        return None
    equation = context.system.defining(e.top, context.assume)
    if equation is None or opaque(equation.rhs):
        return None
    return D(apart(equation.rhs, names(e.bottom) | names(e.top), context.letters), e.bottom, total=True)


def opaque(e: Expr) -> bool:
    """Whether `e` is a generic function of a whole array, about which nothing else is known."""
    return any(isinstance(p, Call) and any(isinstance(a, Vec) for a in p.arguments) for _, p in walk(e))


def apart(e: Expr, taken: frozenset[str], avoid: frozenset[str] = frozenset()) -> Expr:
    """Every summed index of `e` that is in `taken` renamed, to a letter that is not in `avoid` either."""
    if isinstance(e, Binder) and e.index in taken:
        e = with_index(e, fresh("p", taken | avoid | names(e.body) | guard_names(guard_of(e)) | bound(e.body)))
    parts = tuple(apart(p, taken, avoid) for p in e.parts)
    return e.rebuild(parts) if parts != e.parts else e


@rule(
    "substitute",
    statement=r"u = r \;\Rightarrow\; f(u) = f(r)",
    source="an earlier line of the same derivation",
)
def use_known(e: Expr, context: Context) -> Expr | None:
    """Replace a derivative by the result found for it; its free indices are matched, its summed ones kept apart."""
    if not isinstance(e, Partial) or not isinstance(e.bottom, Ref):
        return None
    for subject, result in context.known.items():
        assert isinstance(subject, Partial) and isinstance(subject.bottom, Ref)
        # Its own result, where there is one: that for other letters may rest on what is known of those.
        mapping = match_partial(subject, e, context.system) if subject == e or e not in context.known else None
        if mapping is not None:
            # Rename to fresh letters first, so that a simultaneous exchange (j to k, k to j) cannot capture.
            letters = frozenset().union(*(a.names for a in mapping.values()))
            return substitute(apart(result, letters, context.letters), mapping)
    return None


def match_partial(pattern: Partial, e: Partial, system: System) -> dict[str, Affine] | None:
    """Values of the pattern's free node indices that make it `e`.

    Recursion indices match as they stand: a result for layer l is none for layer l+1.
    """
    if pattern.direct != e.direct or not isinstance(pattern.bottom, Ref) or not isinstance(e.bottom, Ref):
        return None
    mapping: dict[str, Affine] = {}
    for here, there in ((pattern.top, e.top), (pattern.bottom, e.bottom)):
        if here.family != there.family:
            return None
        for axis, p, q in zip(system.family(here.family).axes, here.indices, there.indices, strict=True):
            if axis.kind == "recursion" or p.name is None:
                if p != q:
                    return None
            elif mapping.setdefault(p.name, q) != q:
                return None
    return mapping


def held(system: System, top: Ref, bottom: Ref) -> bool:
    """Whether `bottom` also reaches `top` by another way than through top's own equation.

    Then d(top)/d(bottom) by that equation alone is not the total effect, and has to say what it holds.
    """
    axes = system.family(top.family).axes
    ends = [i for a, i in zip(axes, top.indices, strict=True) if a.kind == "recursion"]

    def past(v: Ref) -> bool:
        here = [i for a, i in zip(system.family(v.family).axes, v.indices, strict=True) if a.kind == "recursion"]
        gaps = [(e - h).value for e, h in zip(ends, here, strict=False)]
        return any(g is not None and g < 0 for g in gaps)

    first = [u.equation.lhs for u in uses(system, bottom, (), top)]
    stack = [v for v in first if (v.family, recursion_places(system, v)) != (top.family, ends) and not past(v)]
    seen: set[tuple[str, tuple[Affine, ...]]] = set()
    while stack and len(seen) < 100:
        v = stack.pop(0)  # nearest first: a recurrence has no end
        key = (v.family, tuple(recursion_places(system, v)))
        if key in seen:
            continue
        seen.add(key)
        if key == (top.family, tuple(ends)):
            return True
        stack += [u.equation.lhs for u in uses(system, v, (), top) if not past(u.equation.lhs)]
    return False


def recursion_places(system: System, r: Ref) -> list[Affine]:
    """The layers and times of a quantity."""
    return [i for a, i in zip(system.family(r.family).axes, r.indices, strict=True) if a.kind == "recursion"]


@rule(
    "name the summand",
    statement=r"C_0 = \sum_j f_j = \sum_j C_{0_j}",
    source="definition of C_{0_j}",
)
def name_summand(e: Expr, context: Context) -> Expr | None:
    """The definition of the cost with a name for each of its summands."""
    if not isinstance(e, Ref):
        return None
    equation = context.system.defining(e, context.assume)
    if equation is None or not isinstance(equation.rhs, Sum):
        return None
    s = equation.rhs
    return Sum(s.index, s.axis, Summand(e, affine(s.index), s.body), s.guard)


@rule(
    "read off the equations",
    statement=r"C_0 = C_0\left(a\left(z\left(w\right)\right)\right)",
    source="the graph of the network's equations",
)
def composition(e: Expr, context: Context) -> Expr | None:
    """What a summand of the cost depends on, and what that depends on, down to a parameter of the same layer."""
    if not isinstance(e, Summand):
        return None
    inner = next(
        (p for _, p in walk(e.body) if isinstance(p, Ref) and context.system.families[p.family].kind == "derived"), None
    )
    return Depends(e, dependence(inner, context)) if inner is not None else None


def dependence(r: Ref, context: Context) -> Expr:
    """a(z(w)): each quantity on the one behind it in the same layer; a parameter as the array that enters."""
    equation = context.system.defining(r, context.assume)
    if equation is None:
        return r
    below = [p for _, p in walk(equation.rhs) if isinstance(p, Ref) and p.family != r.family]
    same = [p for p in below if not crosses(context.system, p, r)]
    derived = [p for p in same if context.system.families[p.family].kind == "derived"]
    if derived:
        first = derived[0]
        sums = {p.index: p.axis for _, p in walk(equation.rhs) if isinstance(p, Sum)}
        last = first.indices[-1].name if first.indices else None
        if last in sums and not isinstance(equation.rhs, Call):
            return Depends(r, Vec(last, sums[last], first))
        return Depends(r, dependence(first, context))
    parameters = [p for p in same if context.system.families[p.family].kind == "parameter"]
    if not parameters:
        return r
    p = parameters[0]
    sums = {q.index: q.axis for _, q in walk(equation.rhs) if isinstance(q, Sum)}
    last = p.indices[-1].name if p.indices else None
    return Depends(r, Vec(last, sums[last], p) if last in sums else p)
