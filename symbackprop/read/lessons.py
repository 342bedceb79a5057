r"""Whether the equations of a file are those of the lessons' network, which `dense_system` builds.

A layered network whose families are called w, b, z, a and y, and whose cost of one sample is one of the table, is that very
network: it has the mean over samples, meanings and x as the name of the inputs. What may differ is how the cost and
the activation function are called, and that belongs to the notation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from symbackprop import functions as F
from symbackprop.network import Equation, System, dense_system
from symbackprop.symbols import Call, Expr, Ref, Sum, same, transform, walk


def lessons_network(system: System, sizes: Sequence[int | None] | None = None) -> tuple[System, dict[str, str]] | None:
    """The value that `dense_system` gives for these equations and the author's names of its families and functions; or None."""
    if not {"w", "z", "a"} <= system.families.keys() or not system.cost:
        return None
    if system.families.keys() - {"w", "b", "z", "a", "a_0", "x", "y", system.cost}:
        return None
    names: dict[str, str] = {}
    activations = [e for e in system.equations if e.lhs.family == "a" and isinstance(e.rhs, Call)]
    found: list[str] = []
    for e in activations:
        assert isinstance(e.rhs, Call)
        if system.function(e.rhs.function) is not None:
            found.append(e.rhs.function)
        else:
            found.append("same" if e.rhs.at is None else "generic")
            names["g"] = e.rhs.function
    if len(found) != 1:
        return None
    (cost_equation,) = [e for e in system.equations if e.lhs.family == system.cost]
    calls = {
        p.function for _, p in walk(cost_equation.rhs) if isinstance(p, Call) and system.function(p.function) is None
    }
    nodes = any(a.kind == "node" for f in system.families.values() for a in f.axes)
    renamed = _renamed(system, names, calls)
    for cost in F.COSTS:
        facts: list[str] | None = None if system.facts else []
        bias = "b" in system.families
        try:
            general = dense_system(None, found[0], cost.name, bias, facts=facts, width=None if nodes else 1)
            candidate = general if sizes is None else dense_system(sizes, found[0], cost.name, bias, facts=facts)
        except ValueError:
            continue
        if not _equal(renamed, general if nodes else _without_nodes(general)):
            continue
        names["C_0"] = system.cost
        return candidate, names
    return None


def _without_nodes(dense: System) -> System:
    """A network of one node in each layer, written without node indices."""

    def one(e: Expr) -> Expr:
        if isinstance(e, Ref):
            axes = dense.family(e.family).axes
            return Ref(e.family, tuple(i for i, a in zip(e.indices, axes, strict=True) if a.kind != "node"))
        return e.body if isinstance(e, Sum) and e.axis.kind == "node" else e

    kept = {
        n: replace(
            f,
            indices=tuple(i for i, a in zip(f.indices, f.axes, strict=True) if a.kind != "node"),
            axes=tuple(a for a in f.axes if a.kind != "node"),
        )
        for n, f in dense.families.items()
    }
    equations = []
    for e in dense.equations:
        lhs = one(e.lhs)
        assert isinstance(lhs, Ref)
        equations.append(Equation(lhs, transform(e.rhs, one), e.guard))
    return replace(dense, families=kept, equations=tuple(equations), spec="")


def _renamed(system: System, names: Mapping[str, str], costs: set[str]) -> System:
    functions = {v: k for k, v in names.items()} | dict.fromkeys(costs, "C")
    families = {system.cost: "C_0", "a_0": "x"}

    def one(e: Expr) -> Expr:
        if isinstance(e, Call) and e.function in functions:
            return replace(e, function=functions[e.function])
        if isinstance(e, Ref) and e.family in families:
            return Ref(families[e.family], e.indices)
        return e

    equations = tuple(
        Equation(Ref(families.get(e.lhs.family, e.lhs.family), e.lhs.indices), transform(e.rhs, one), e.guard)
        for e in system.equations
    )
    own = {
        families.get(n, n): replace(
            f,
            name=families.get(n, n),
            axes=tuple(replace(a, label="l") if a.kind == "recursion" else a for a in f.axes),
        )
        for n, f in system.families.items()
    }
    return replace(system, families=own, equations=equations, cost="C_0", spec="")


def _equal(a: System, dense: System) -> bool:
    """Whether the families and equations of a model are those of a dense network, meanings and the mean apart."""
    wanted = {n: f for n, f in dense.families.items() if n not in (dense.mean or ())}
    used = {r.family for e in dense.equations for _, r in walk(e.rhs) if isinstance(r, Ref)}
    for n, f in wanted.items():
        mine = a.families.get(n)
        if mine is None:
            if n in used or f.kind != "target":
                return False
            continue
        if (mine.indices, mine.axes, mine.kind, mine.guard) != (f.indices, f.axes, f.kind, f.guard):
            return False
    if a.families.keys() - wanted.keys():
        return False
    theirs = [e for e in dense.equations if not dense.mean or e.lhs.family != dense.mean[0]]
    if len(theirs) != len(a.equations):
        return False
    for e in a.equations:
        if not any(e.lhs == t.lhs and e.guard == t.guard and same(e.rhs, t.rhs) for t in theirs):
            return False
    facts = [(f.lhs, f.rhs) for f in a.facts]
    return len(facts) == len(dense.facts) and all(
        any(same(x, g.lhs) and y == g.rhs for x, y in facts) for g in dense.facts
    )
