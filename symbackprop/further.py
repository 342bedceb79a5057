"""Derivatives beyond the gradient: the backward pass as a model of its own, to which the engine is applied again.

The backward pass is a list of indexed equations like any other. Added to the model's own equations, under names for
the gradients, it makes a larger model; a Hessian is a derivative in that model, a Hessian-vector product the gradient
of the inner product of its gradients with a direction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from symbackprop.derive import Adjoint, adjoints
from symbackprop.errors import GoalError
from symbackprop.indices import Affine, Constraint, affine, fresh, implies
from symbackprop.network import Equation, System, with_upstream
from symbackprop.rules.base import letters_of
from symbackprop.rules.graph import apart
from symbackprop.symbols import Add, Expr, Family, Mul, Partial, Ref, Sum, names, substitute, transform

GRADIENT, DIRECTION = "_grad", "_dir"
"""Endings of the names of a gradient's family and of a direction's."""


def with_gradients(system: System) -> System:
    """The model together with its backward pass: a family `w_grad` of dC/dw for every w that C depends on.

    The cost is the same; the new families are derived quantities, and `gradients` says whose gradients they are.
    """
    closed = with_upstream(system)
    found = adjoints(closed)
    owners = dict.fromkeys(_owner(a) for a in found)
    families = dict(closed.families)
    for name in owners:
        f = closed.families[name]
        families[name + GRADIENT] = replace(
            f, name=name + GRADIENT, kind="derived", meaning=f"gradient of {closed.cost} by {name}"
        )
    equations = [_equation(a, closed) for a in found]
    return replace(
        closed,
        families=families,
        equations=(*closed.equations, *equations),
        gradients={**closed.gradients, **{n + GRADIENT: (closed.cost, n) for n in owners}},
        spec="",
    )


def _owner(a: Adjoint) -> str:
    assert isinstance(a.subject.bottom, Ref)
    return a.subject.bottom.family


def _equation(a: Adjoint, system: System) -> Equation:
    """One equation of the backward pass, for the family's own letters; a layer that its case fixes stays in the guard."""
    bottom = a.subject.bottom
    assert isinstance(bottom, Ref)
    family = system.families[bottom.family]
    back = {
        i.name: affine(letter)
        for i, letter in zip(bottom.indices, family.indices, strict=True)
        if i.name is not None and i.name not in system.constants
    }
    value = substitute(a.value, back)
    for i, letter, axis in zip(bottom.indices, family.indices, family.axes, strict=True):
        if axis.kind == "recursion" and i.name not in back:
            value = counted_from(value, i, affine(letter), system)
    guard = tuple(c for c in a.guard if not _on_axes(c, family, system))
    return Equation(Ref(family.name + GRADIENT, family.pattern.indices), _named(value, system.cost), guard)


def counted_from(e: Expr, fixed: Affine, letter: Affine, system: System) -> Expr:
    """The same with layers and times counted from `letter`, which the case at hand fixes: h_{T-1} is h_{t-1} at t = T.

    So one case of a recurrence reads like another, whatever its place.
    """

    def moved(r: Ref) -> Ref:
        axes = system.families[r.family].axes
        near = [
            letter + gap if a.kind == "recursion" and (gap := i - fixed).value is not None else i
            for a, i in zip(axes, r.indices, strict=True)
        ]
        return Ref(r.family, tuple(near))

    def move(p: Expr) -> Expr:
        if isinstance(p, Ref):
            return moved(p)
        if isinstance(p, Partial) and isinstance(p.bottom, Ref):
            return replace(p, bottom=moved(p.bottom))
        return p

    return transform(apart(e, letter.names), move)


def _on_axes(c: Constraint, family: Family, system: System) -> bool:
    """Whether a constraint says no more than that the nodes are on their axes."""
    holds = [g for axis, i in zip(family.axes, family.indices, strict=True) for g in axis.holds(affine(i))]
    return implies((*system.standing, *holds), c)


def _named(e: Expr, cost: str) -> Expr:
    """Gradients of the cost replaced by their names."""

    def name(p: Expr) -> Expr:
        if isinstance(p, Partial) and p.top.family == cost and isinstance(p.bottom, Ref):
            return Ref(p.bottom.family + GRADIENT, p.bottom.indices)
        return p

    return transform(e, name)


def gradient_of(u: Ref, system: System) -> Ref:
    """The quantity that is dC/du in a model with its gradients.

    Raises:
        GoalError: C does not depend on u.
    """
    name = u.family + GRADIENT
    if name not in system.families:
        raise GoalError(f"{system.cost} does not depend on {u.family}, so there is no second derivative by it")
    return Ref(name, u.indices)


def distinct(u: Ref, other: Ref, system: System) -> Ref:
    """`u` with letters that `other` does not have."""
    taken = set(names(other)) | names(u) | letters_of(system)
    mapping = {}
    for letter in sorted((names(u) & names(other)) - system.constants):
        new = fresh("p", taken)
        taken.add(new)
        mapping[letter] = affine(new)
    return Ref(u.family, tuple(i.substitute(mapping) for i in u.indices))


def along(system: System, families: Iterable[str]) -> System:
    """The model whose cost is the inner product of gradients with a direction: its gradient is the Hessian's product.

    Args:
        system: A model with its gradients.
        families: Those by which the direction goes; each gets an input family `w_dir`.
    """
    terms: list[Expr] = []
    added: dict[str, Family] = {}
    for name in families:
        f = system.families[name]
        if name + GRADIENT not in system.families:
            raise GoalError(f"{system.cost} does not depend on {name}, so there is no second derivative by it")
        # Of the kind of its family, so that it is given where that is.
        added[name + DIRECTION] = replace(f, name=name + DIRECTION, meaning=f"direction in {name}")
        term: Expr = Mul((Ref(name + GRADIENT, f.pattern.indices), Ref(name + DIRECTION, f.pattern.indices)))
        for n, (letter, axis) in reversed(list(enumerate(zip(f.indices, f.axes, strict=True)))):
            # A constraint on several indices stands under the innermost of their sums.
            inside = (c for c in f.guard if letter in c.expr.names and not c.expr.names & set(f.indices[n + 1 :]))
            term = Sum(letter, axis, term, tuple(inside))
        terms.append(term)
    return _with_cost(system, terms[0] if len(terms) == 1 else Add(tuple(terms)), added)


def along_output(system: System, output: Ref) -> System:
    """The model whose cost is the inner product of dC/d(output) with a direction in the output.

    Its gradient by the output is the Hessian of C by the output, times the direction: the middle factor of
    Gauss and Newton's approximation.

    Args:
        system: A model with its gradients.
        output: Such as a_j^(L); every index that is a letter is summed.
    """
    f = system.families[output.family]
    axes = system.axes(output)
    free = [(i.name, a) for i, a in zip(output.indices, axes, strict=True) if i.name not in (None, *system.constants)]
    name = f.name + DIRECTION
    letters, kept = tuple(n for n, _ in free if n), tuple(a for _, a in free)
    direction = Family(name, letters, kept, "input", f"direction in {f.name}")
    term: Expr = Mul((Ref(f.name + GRADIENT, output.indices), direction.pattern))
    for letter, axis in reversed(free):
        assert letter is not None
        term = Sum(letter, axis, term)
    return _with_cost(system, term, {name: direction})


def _with_cost(system: System, value: Expr, added: dict[str, Family]) -> System:
    """The model with another cost; the old one is a quantity like any other."""
    cost = next(n for n in ("D", "S", "slope") if n not in system.families)
    kept = {n: replace(f, kind="derived") if f.kind == "cost" else f for n, f in system.families.items()}
    if system.mean is not None:
        kept = {n: f for n, f in kept.items() if n not in system.mean}
    own = Family(cost, (), (), "cost", "inner product of the gradient with a direction")
    equations = tuple(e for e in system.equations if e.lhs.family in kept)
    return replace(
        system,
        families={**added, **kept, cost: own},  # parameters before data, as a layered network takes them
        equations=(Equation(Ref(cost, ()), value), *equations),
        cost=cost,
        mean=None,
        spec="",
    )
