r"""Whether the equations of a file are those of the lessons' network, which `dense_system` builds.

A layered network whose families are called w, b, z, a and y, and whose cost of one sample is one of the table, is that very
network: it has the mean over samples, meanings and x as the name of the inputs. What may differ is how the cost and
the activation function are called, and that belongs to the notation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby, product

from symbackprop import functions as F
from symbackprop.indices import Guard, affine, between, equals
from symbackprop.network import Equation, System, dense_system
from symbackprop.normal import normal, sorted_guard
from symbackprop.symbols import Call, Expr, Num, Ref, Sum, substitute, transform, walk


def lessons_network(
    system: System, sizes: Sequence[int | None] | None = None, width: int | None = None
) -> tuple[System, dict[str, str]] | None:
    """The value that `dense_system` gives for these equations and the author's names of its families and functions; or None.

    Args:
        sizes: n_0, ..., n_L where L is a number.
        width: The number of nodes in every layer, where it is one and L is a symbol.
    """
    if not {"w", "z", "a"} <= system.families.keys() or not system.cost:
        return None
    if system.families.keys() - {"w", "b", "z", "a", "a_0", "x", "y", system.cost}:
        return None
    if [a.kind for a in system.family("z").axes][:1] != ["recursion"]:
        return None
    found = _activations(system)
    if found is None:
        return None
    activations, names = found
    (cost_equation,) = [e for e in system.equations if e.lhs.family == system.cost]
    calls = {
        p.function for _, p in walk(cost_equation.rhs) if isinstance(p, Call) and system.function(p.function) is None
    }
    nodes = any(a.kind == "node" for f in system.families.values() for a in f.axes)
    renamed = _renamed(system, names, calls)
    last = depth(system)
    facts = [
        f"sum_j {f.lhs.body.family}_j = {f.rhs.value}"
        for f in system.facts
        if isinstance(f.lhs, Sum) and isinstance(f.lhs.body, Ref) and isinstance(f.rhs, Num)
    ]
    bias = "b" in system.families
    for cost, activation in product(F.COSTS, activations):

        def dense(
            n: Sequence[int | None] | None, w: int | None, act: object = activation, loss: str = cost.name
        ) -> System:
            return dense_system(n, act, loss, bias, facts=facts, width=w)

        try:
            general = dense(None if last is None else [None if nodes else 1] * (last + 1), None if nodes or last else 1)
            wanted = general if nodes else _without_nodes(general)
            if not _equal(renamed, replace(wanted, equations=_untabled(wanted), spec="")):
                continue
            if not nodes:
                return general if sizes is None else dense([1] * len(sizes), None), {**names, "C_0": system.cost}
            chosen = dense(sizes, None) if sizes is not None else dense(None, width) if width else general
        except ValueError:
            continue
        return chosen, {**names, "C_0": system.cost}
    return None


def depth(system: System) -> int | None:
    """The number of layers; None where it is a symbol."""
    last = system.family("z").axes[0].last
    return last.value if last is not None else None


def _activations(system: System) -> tuple[list[object], dict[str, str]] | None:
    """What the activation functions of the layers may be called, likeliest first, and the author's name of a generic one."""
    equations = [e for e in system.equations if e.lhs.family == "a"]
    called: list[tuple[Equation, str]] = []
    names: dict[str, str] = {}
    for e in equations:
        if isinstance(e.rhs, Call):
            own = system.function(e.rhs.function)
            called.append((e, e.rhs.function if own is not None else "same" if e.rhs.at is None else "generic"))
            if own is None:
                names["g"] = e.rhs.function
        elif isinstance(e.rhs, Ref) and e.rhs.family == "z":
            called.append((e, "identity"))
        elif not isinstance(e.rhs, Ref):
            called.append((e, "softmax"))
    last = depth(system)
    if last is None or len(called) == 1:
        elementwise = [n for _, n in called if n != "softmax"] or [n for _, n in called]
        return ([elementwise[0]], names) if len(elementwise) == 1 else None
    layers = [next((n for e, n in called if all(c.holds({"l": k}) for c in e.guard)), "") for k in range(1, last + 1)]
    # One name stands for all layers, or for all but the last where the cost says what that is.
    return ([layers[0], layers] if len({*layers[:-1]}) == 1 else [layers]), names


def one_function_each(e: Equation, system: System) -> list[Equation]:
    """The equations of layers that share g^(l), where a table says what g^(l) is: one for each run of one function."""
    table = system.tables.get(e.rhs.function) if isinstance(e.rhs, Call) else None
    if not table:
        return [e]
    assert isinstance(e.rhs, Call)
    out: list[Equation] = []
    for name, run in groupby(sorted(table.items()), key=lambda entry: entry[1]):
        layers = [layer for layer, _ in run]
        guard: Guard = between(layers[0], "l", layers[-1]) if len(layers) > 1 else (equals("l", layers[0]),)
        rhs: Expr = Call(name, e.rhs.arguments)
        if name == "identity":
            rhs = e.rhs.arguments[0]
        elif name in ("generic", "same"):
            rhs = replace(e.rhs, at=affine("l") if name == "generic" else None)
        out.append(Equation(e.lhs, rhs, guard))
    return out


def _untabled(dense: System) -> tuple[Equation, ...]:
    """The equations, those of layers with functions of their own one by one."""
    return tuple(r for e in dense.equations for r in one_function_each(e, dense))


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


def _at_its_layer(e: Equation) -> Expr:
    """The right side of an equation; that of a single layer with the layer in the place of its letter."""
    fixed = {c.expr.terms[0][0]: affine(-c.expr.const) for c in e.guard if c.equal and len(c.expr.terms) == 1}
    return substitute(e.rhs, fixed)


def _alike(e: Equation, t: Equation) -> bool:
    """Whether two equations say the same, however they are written."""
    same_place = e.lhs == t.lhs and sorted_guard(e.guard) == sorted_guard(t.guard)
    return same_place and normal(_at_its_layer(e)) == normal(_at_its_layer(t))


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
        if not any(_alike(e, t) for t in theirs):
            return False
    facts = [(f.lhs, f.rhs) for f in a.facts]
    return len(facts) == len(dense.facts) and all(
        any(normal(x) == normal(g.lhs) and y == g.rhs for x, y in facts) for g in dense.facts
    )
