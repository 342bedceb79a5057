"""The engine on models of every kind: what it derives is proved by the check, and agrees with the judge beside it.

The comparison does not rest on the check: every line of every section is evaluated at points that are drawn here, on
sizes that are chosen here, one of everything and short times among them, and the backward pass has to cover the whole
range of every quantity just once.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import pytest
from systems import BUILDERS, family, node, ref, system, total

from symbackprop.check import check_record
from symbackprop.derivation import Record
from symbackprop.derive import adjoints, derive
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Axis, Guard, affine, at_least, between, equals, satisfiable
from symbackprop.network import Equation, SizeRule, System, with_upstream
from symbackprop.oracle import CannotEvaluate, Env, Oracle, OutOfRange, Sample, transcendental
from symbackprop.symbols import (
    ONE,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Family,
    Guarded,
    Max,
    Mul,
    Num,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Where,
    expr,
    names,
    replace_at,
    walk,
)

Sizes = dict[str, int]
RUN, EVER = between(1, "t", "T"), between(0, "t", "T")
TIME = Axis("recursion", "t", None, affine(0), affine("T"))
LAYERS = Axis("recursion", "l", None, affine(0), affine("L"))
N, M, K, I = map(node, "NMKI")
t, l = affine("t"), affine("l")
C = Ref("C", ())


def inp(name: str, letters: str, axes: Iterable[Axis], guard: Guard = ()) -> Family:
    return family(name, letters, axes, "input", guard)


def der(name: str, letters: str, axes: Iterable[Axis], guard: Guard = ()) -> Family:
    return family(name, letters, axes, "derived", guard)


COST = family("C", "", (), "cost")


def square(e: Expr) -> Expr:
    return Pow(e, expr(2))


# ---------------------------------------------------------------- the judge beside the check


def oracle(model: System, sizes: Sizes) -> Oracle:
    """A sample of the model with these sizes, drawn again while its cost has no value."""
    arithmetic = "rigorous intervals" if transcendental(model) else "exact rationals"
    for seed in range(300):
        judge = Oracle(model, Sample(0, (), seed, arithmetic, sizes=tuple(sorted(sizes.items()))))
        try:
            judge.look(model.cost, ())
        except CannotEvaluate:
            continue
        return judge
    raise AssertionError("no sample has a cost")


def places(judge: Oracle, quantities: Iterable[Ref]) -> dict[str, list[int]]:
    """The values of every letter of some quantities."""
    out: dict[str, list[int]] = {}
    for r in quantities:
        for axis, i in zip(judge.system.axes(r), r.indices, strict=True):
            if i.name is not None and i.name not in judge.system.constants:
                found = list(judge.places(axis, judge.standing))
                out[i.name] = [x for x in out.get(i.name, found) if x in found]
        for n in sorted(names(r) - judge.system.constants - out.keys()):
            out[n] = list(range(max(judge.standing.values()) + 1))  # only in t + 1: the guard says where
    return out


def points(judge: Oracle, quantities: Sequence[Ref], assume: Guard, most: int) -> list[Env]:
    """Where the quantities exist and the assumptions hold; letters that only the assumptions have may have any value."""
    free = places(judge, quantities)
    guard = (*assume, *(c for r in quantities for c in judge.system.guard_of(r)))
    out: list[Env] = []
    for values in itertools.product(*(free[n] for n in sorted(free))):
        env = {**judge.standing, **dict(zip(sorted(free), values, strict=True))}
        if all(c.holds(env) for c in guard if c.expr.names <= env.keys()):
            numbers = {n: Affine((), v) for n, v in env.items()}
            if satisfiable(c.substitute(numbers) for c in guard if not c.expr.names <= env.keys()):
                out.append(env)
    return out if len(out) <= most else random.Random(most).sample(out, most)


def agrees(judge: Oracle, left: Expr, right: Expr, env: Env) -> bool | None:
    """Whether two expressions have one value; None where there is no value to compare."""
    try:
        return judge.agree(judge.evaluate(left, env), judge.evaluate(right, env))
    except CannotEvaluate:
        return None
    except OutOfRange:
        return False


def assert_derived(record: Record, judges: Sequence[Oracle], most: int = 8) -> None:
    """Every section, and the result in each of its cases, at points of the samples."""
    goal, compared = record.goal, 0
    assert isinstance(goal, Partial) and isinstance(goal.bottom, Ref)
    for judge in judges:
        for s in record.sections:
            if not isinstance(s.subject, Partial) or not isinstance(s.subject.bottom, Ref):
                continue
            for env in points(judge, (s.subject.top, s.subject.bottom), s.assume, most):
                equal = agrees(judge, s.subject, s.result, env)
                assert equal is not False, (s.subject, s.result, env)
                compared += equal is True
        for env in points(judge, (goal.top, goal.bottom), (), 2 * most):
            fits = [value for guard, value in record.cases if all(c.holds(env) for c in guard)]
            assert len(fits) <= 1 and (fits or record.result != goal), f"{len(fits)} cases at {env}"
            equal = agrees(judge, goal, fits[0] if fits else record.result, env)
            assert equal is not False, (goal, fits, env)
            compared += equal is True
    assert compared >= len(judges)


def assert_backward(model: System, judges: Sequence[Oracle], most: int = 8) -> None:
    """The backward pass gives every gradient once, wherever its quantity exists, and rightly."""
    found = adjoints(model)
    owners = {a.subject.bottom.family for a in found if isinstance(a.subject.bottom, Ref)}
    for judge, owner in itertools.product(judges, sorted(owners)):
        pattern = model.families[owner].pattern
        mine = [a for a in found if isinstance(a.subject.bottom, Ref) and a.subject.bottom.family == owner]
        for env in points(judge, (pattern,), (), most):
            fits = [a for a in mine if all(c.holds(env) for c in a.guard)]
            assert len(fits) == 1, f"{len(fits)} equations for {owner} at {env}"
            goal = Partial(Ref(model.cost, ()), pattern)
            assert agrees(judge, goal, fits[0].value, env) is not False, (owner, fits[0].value, env)


# ---------------------------------------------------------------- models


def rnn() -> System:
    h, x, y = node("H"), node("X"), node("Y")
    families = [
        inp("x", "t k", (TIME, x), RUN),
        family("W", "j k", (h, x)),
        family("U", "j m", (h, h)),
        family("b", "j", (h,)),
        family("V", "q j", (y, h)),
        family("y", "t q", (TIME, y), "target", RUN),
        inp("h_0", "j", (h,)),
        der("z", "t j", (TIME, h), RUN),
        der("h", "t j", (TIME, h), EVER),
        der("o", "t q", (TIME, y), RUN),
        COST,
    ]
    equations = [
        Equation(
            ref("z", "t", "j"),
            total(x, "k", ref("W", "j", "k") * ref("x", "t", "k"))
            + total(h, "m", ref("U", "j", "m") * ref("h", t - 1, "m"))
            + ref("b", "j"),
            RUN,
        ),
        Equation(ref("h", "t", "j"), Pow(ref("z", "t", "j"), expr(3)), RUN),
        Equation(ref("h", "t", "j"), ref("h_0", "j"), (equals("t", 0),)),
        Equation(ref("o", "t", "q"), total(h, "j", ref("V", "q", "j") * ref("h", "t", "j")), RUN),
        Equation(C, total(TIME, "t", total(y, "q", square(ref("o", "t", "q") - ref("y", "t", "q"))), RUN)),
    ]
    return system(families, equations, "C")


def deep_rnn() -> System:
    """Layers and times: each quantity is used by the layer above and by the time after."""
    h, above = node("H"), between(1, "l", "L")
    families = [
        inp("x", "t k", (TIME, h), RUN),
        family("W", "l j k", (LAYERS, h, h), "parameter", above),
        family("U", "l j m", (LAYERS, h, h), "parameter", above),
        inp("h_0", "l j", (LAYERS, h), above),
        der("h", "l t j", (LAYERS, TIME, h), (*between(0, "l", "L"), *EVER, at_least(l + t, 1))),
        family("y", "t j", (TIME, h), "target", RUN),
        COST,
    ]
    equations = [
        Equation(
            ref("h", "l", "t", "j"),
            square(
                total(h, "k", ref("W", "l", "j", "k") * ref("h", l - 1, "t", "k"))
                + total(h, "m", ref("U", "l", "j", "m") * ref("h", "l", t - 1, "m"))
            ),
            (*above, *RUN),
        ),
        Equation(ref("h", "l", "t", "j"), ref("x", "t", "j"), (equals("l", 0), *RUN)),
        Equation(ref("h", "l", "t", "j"), ref("h_0", "l", "j"), (equals("t", 0), *above)),
        Equation(C, total(TIME, "t", total(h, "j", square(ref("h", "L", "t", "j") - ref("y", "t", "j"))), RUN)),
    ]
    return system(families, equations, "C")


def lstm() -> System:
    h, x = node("H"), node("X")
    families = [
        inp("x", "t k", (TIME, x), RUN),
        family("y", "t j", (TIME, h), "target", RUN),
        inp("h_0", "j", (h,)),
        inp("c_0", "j", (h,)),
        der("h", "t j", (TIME, h), EVER),
        der("c", "t j", (TIME, h), EVER),
        COST,
    ]
    equations = []
    for gate, function in (("i", "sigmoid"), ("f", "sigmoid"), ("o", "sigmoid"), ("g", "tanh")):
        w, u, b = f"W_{gate}", f"U_{gate}", f"b_{gate}"
        families += [
            family(w, "j k", (h, x)),
            family(u, "j m", (h, h)),
            family(b, "j", (h,)),
            der(gate, "t j", (TIME, h), RUN),
        ]
        inside = (
            total(x, "k", ref(w, "j", "k") * ref("x", "t", "k"))
            + total(h, "m", ref(u, "j", "m") * ref("h", t - 1, "m"))
            + ref(b, "j")
        )
        equations.append(Equation(ref(gate, "t", "j"), Call(function, (inside,)), RUN))
    equations += [
        Equation(
            ref("c", "t", "j"),
            ref("f", "t", "j") * ref("c", t - 1, "j") + ref("i", "t", "j") * ref("g", "t", "j"),
            RUN,
        ),
        Equation(ref("c", "t", "j"), ref("c_0", "j"), (equals("t", 0),)),
        Equation(ref("h", "t", "j"), ref("h_0", "j"), (equals("t", 0),)),
        Equation(ref("h", "t", "j"), ref("o", "t", "j") * Call("tanh", (ref("c", "t", "j"),)), RUN),
        Equation(C, total(TIME, "t", total(h, "j", square(ref("h", "t", "j") - ref("y", "t", "j"))), RUN)),
    ]
    return system(families, equations, "C")


def conv2d() -> System:
    c, k, r, i, j, m, n = map(node, ("C", "K", "R", "I", "J", "M", "N"))
    down = affine("s") * affine("i") + affine("k") - affine("p")
    right = affine("s") * affine("j") + affine("r") - affine("p")
    families = [family("w", "c k r", (c, k, r)), inp("x", "c u v", (c, m, n)), der("y", "i j", (i, j))]
    inside = (*between(0, down, affine("M") - 1), *between(0, right, affine("N") - 1))
    padded = Guarded(ref("x", "c", down, right), inside)
    body = total(c, "c", total(k, "k", total(r, "r", ref("w", "c", "k", "r") * padded)))
    rules = {
        size: SizeRule(affine(whole) + affine("p") * 2 - affine(window), affine("s"), 1)
        for size, whole, window in (("I", "M", "K"), ("J", "N", "R"))
    }
    return system(families, [Equation(ref("y", "i", "j"), body)], rules=rules, integers=("p", "s"))


def max_pooling_2d() -> System:
    b, r, i, j, m, n = map(node, ("B", "r", "I", "J", "M", "N"))
    down, right = affine("s") * affine("i") + affine("k"), affine("s") * affine("j") + affine("m")
    families = [inp("x", "b u v", (b, m, n)), der("y", "b i j", (b, i, j))]
    largest = Max("k", r, Max("m", r, ref("x", "b", down, right)))
    rules = {a: SizeRule(affine(b_) - affine("r"), affine("s"), 1) for a, b_ in (("I", "M"), ("J", "N"))}
    return system(families, [Equation(ref("y", "b", "i", "j"), largest)], rules=rules, integers=("s",))


def average_pooling() -> System:
    """Windows that do not overlap: the stride is the size of the window."""
    r, i, m = map(node, ("r", "I", "M"))
    at = affine("r") * affine("i") + affine("k")
    mean = Div(total(r, "k", ref("x", at)), Size(r))
    rule = SizeRule(affine("M") - affine("r"), affine("r"), 1)
    return system([inp("x", "u", (m,)), der("y", "i", (i,))], [Equation(ref("y", "i"), mean)], rules={"I": rule})


def batch_norm() -> System:
    b, d = node("B"), node("D")
    mean, off = Div(ONE, Size(b)), ref("x", "i", "j") - ref("mu", "j")
    families = [
        inp("x", "i j", (b, d)),
        family("gamma", "j", (d,)),
        family("beta", "j", (d,)),
        inp("epsilon", "", ()),
        der("mu", "j", (d,)),
        der("v", "j", (d,)),
        der("x_hat", "i j", (b, d)),
        der("y", "i j", (b, d)),
    ]
    equations = [
        Equation(ref("mu", "j"), Mul((mean, total(b, "i", ref("x", "i", "j"))))),
        Equation(ref("v", "j"), Mul((mean, total(b, "i", square(off))))),
        Equation(ref("x_hat", "i", "j"), Div(off, Call("sqrt", (ref("v", "j") + Ref("epsilon", ()),)))),
        Equation(ref("y", "i", "j"), ref("gamma", "j") * ref("x_hat", "i", "j") + ref("beta", "j")),
    ]
    return system(families, equations)


# ---------------------------------------------------------------- models that are made to mislead


def shadowed() -> System:
    """y_i = v_i sum_i x_i^2: the summed letter is that of the left side, and every y_i uses every x_i."""
    body = ref("v", "i") * total(N, "i", square(ref("x", "i")))
    return system([inp("x", "i", (N,)), inp("v", "i", (N,)), der("y", "i", (N,))], [Equation(ref("y", "i"), body)])


def cut_short() -> System:
    """y_i = x_i^2 for fewer i than x has: the gradient by the last x is 0."""
    families = [inp("x", "u", (M,)), inp("w", "i", (I,)), der("y", "i", (I,))]
    equation = Equation(ref("y", "i"), square(ref("x", "i")) * ref("w", "i"))
    return system(families, [equation], rules={"I": SizeRule(affine("M") - 1)})


def one_formula_for_two() -> System:
    """a = tanh(x) has fewer nodes than b = tanh(x) x: in db/dx no tanh(x_i) may be called a_i."""
    families = [inp("x", "i", (M,)), der("a", "i", (I,)), der("b", "i", (M,))]
    bent = Call("tanh", (ref("x", "i"),))
    equations = [Equation(ref("a", "i"), bent), Equation(ref("b", "i"), bent * ref("x", "i"))]
    return system(families, equations, rules={"I": SizeRule(affine("M") - 1)})


def over_time(v: Expr, h: Expr | None = None) -> System:
    """h_t = x_t^2, then v_t, then a cost: for uses of one quantity at several times in one equation."""
    families = [inp("x", "t", (TIME,), RUN), der("h", "t", (TIME,), RUN), der("v", "t", (TIME,), RUN), COST]
    equations = [
        Equation(ref("h", "t"), h or square(ref("x", "t")), RUN),
        Equation(ref("v", "t"), v, RUN),
        Equation(C, total(TIME, "t", square(ref("v", "t")) * ref("x", "t"), RUN)),
    ]
    return system(families, equations, "C")


def itself_and_all_before() -> System:
    """v_t = 2 h_t + sum_{r <= t} h_r x_r: v_t uses h_t by two ways that must not be counted twice each."""
    before = total(TIME, "r", ref("h", "r") * ref("x", "r"), (*between(1, "r", "T"), at_least("t", "r")))
    return over_time(ref("h", "t") * 2 + before)


def itself_and_the_first() -> System:
    return over_time(ref("h", "t") * ref("h", 1) + ref("h", "t"))


def all_and_the_last() -> System:
    """C = sum_t h_t^2 x_t + h_T x_1: two occurrences in one equation that meet at t = T."""
    families = [inp("x", "t", (TIME,), RUN), der("h", "t", (TIME,), RUN), COST]
    body = total(TIME, "t", square(ref("h", "t")) * ref("x", "t"), RUN) + ref("h", "T") * ref("x", 1)
    return system(families, [Equation(ref("h", "t"), square(ref("x", "t")), RUN), Equation(C, body)], "C")


def pairs_of_times() -> System:
    """S_tr = h_t h_r: pairs of times, each of the same family."""
    guard = (*RUN, *between(1, "r", "T"), at_least("t", "r"))
    inner = (*between(1, "r", "T"), at_least("t", "r"))
    families = [
        inp("x", "t", (TIME,), RUN),
        family("w", "", ()),
        der("h", "t", (TIME,), EVER),
        der("S", "t r", (TIME, TIME), guard),
        COST,
    ]
    w = Ref("w", ())
    equations = [
        Equation(ref("h", "t"), w * ref("h", t - 1) * ref("x", "t"), RUN),
        Equation(ref("h", "t"), w, (equals("t", 0),)),
        Equation(ref("S", "t", "r"), ref("h", "t") * ref("h", "r") * ref("x", "r"), guard),
        Equation(C, total(TIME, "t", total(TIME, "r", square(ref("S", "t", "r")), inner), RUN)),
    ]
    return system(families, equations, "C")


def all_earlier_times() -> System:
    """h_t = x_t sum_{r < t} h_r^2."""
    before = total(TIME, "r", square(ref("h", "r")), (*between(0, "r", "T"), at_least(t - 1, "r")))
    families = [inp("x", "t", (TIME,), RUN), family("w", "", ()), der("h", "t", (TIME,), EVER), COST]
    equations = [
        Equation(ref("h", "t"), ref("x", "t") * before, RUN),
        Equation(ref("h", "t"), Ref("w", ()), (equals("t", 0),)),
        Equation(C, ref("h", "T")),
    ]
    return system(families, equations, "C")


def two_times_back() -> System:
    time = replace(TIME, first=affine(-1))
    families = [
        inp("x", "t", (time,), RUN),
        family("w", "", ()),
        der("h", "t", (time,), between(-1, "t", "T")),
        COST,
    ]
    h, w = [ref("h", t - n) for n in range(3)], Ref("w", ())
    equations = [
        Equation(ref("h", "t"), ref("x", "t") * h[1] * h[2] + w * h[2], RUN),
        Equation(ref("h", "t"), 2 * ref("x", 1), (equals("t", 0),)),
        Equation(ref("h", "t"), 3 * ref("x", 1), (equals("t", -1),)),
        Equation(C, total(time, "t", square(h[0] - ref("x", "t")), RUN)),
    ]
    return system(families, equations, "C")


def both_directions() -> System:
    ahead, w, v = replace(TIME, first=affine(1), last=affine("T") + 1), Ref("w", ()), Ref("v", ())
    families = [
        inp("x", "t", (TIME,), RUN),
        family("w", "", ()),
        family("v", "", ()),
        der("f", "t", (TIME,), EVER),
        der("g", "t", (ahead,), between(1, "t", affine("T") + 1)),
        der("o", "t", (TIME,), RUN),
        COST,
    ]
    equations = [
        Equation(ref("f", "t"), w * square(ref("f", t - 1)) + ref("x", "t"), RUN),
        Equation(ref("f", "t"), w, (equals("t", 0),)),
        Equation(ref("g", "t"), v * square(ref("g", t + 1)) + ref("x", "t"), RUN),
        Equation(ref("g", "t"), v, (equals("t", affine("T") + 1),)),
        Equation(ref("o", "t"), ref("f", "t") * ref("g", "t"), RUN),
        Equation(C, total(TIME, "t", square(ref("o", "t") - ref("x", "t")), RUN)),
    ]
    return system(families, equations, "C")


def wavefront() -> System:
    """h_lt from the layer below at two times and its own layer: eight cells of layer and time."""
    above, whole = between(1, "l", "L"), (*between(0, "l", "L"), *EVER)
    families = [
        inp("x", "l t", (LAYERS, TIME), whole),
        der("h", "l t", (LAYERS, TIME), whole),
        family("w", "l", (LAYERS,), "parameter", above),
        COST,
    ]
    body = ref("w", "l") * ref("h", l - 1, t - 1) * ref("h", "l", t - 1) + ref("h", l - 1, "t")
    equations = [
        Equation(ref("h", "l", "t"), body, (*above, *RUN)),
        Equation(ref("h", "l", "t"), ref("x", "l", "t"), (equals("l", 0), *EVER)),
        Equation(ref("h", "l", "t"), ref("x", "l", "t"), (equals("t", 0), *above)),
        Equation(C, total(TIME, "t", square(ref("h", "L", "t")), RUN)),
    ]
    return system(families, equations, "C")


def softmax_of_times() -> System:
    """Two sums of one summand, from time 0 and from time 1: q is not to be taken for p."""
    late = replace(TIME, first=affine(1))
    families = [
        inp("x", "t", (TIME,), EVER),
        der("p", "t", (TIME,), EVER),
        der("q", "t", (TIME,), RUN),
        COST,
    ]
    equations = [
        Equation(
            ref(name, "t"),
            Div(Call("exp", (ref("x", "t"),)), total(axis, "r", Call("exp", (ref("x", "r"),)))),
            guard,
        )
        for name, axis, guard in (("p", TIME, EVER), ("q", late, RUN))
    ]
    first = total(TIME, "t", ref("p", "t") * ref("x", "t"))
    equations.append(Equation(C, first + total(late, "t", square(ref("q", "t")) * ref("x", "t"))))
    return system(families, equations, "C")


def diagonals() -> System:
    body = ref("s", "i", "i") * total(N, "j", ref("s", "i", "j") * ref("s", "j", "i") * ref("x", "j", "j"))
    families = [inp("s", "i j", (N, N)), inp("x", "i k", (N, N)), der("y", "i", (N,))]
    return system(families, [Equation(ref("y", "i"), body)])


def trace() -> System:
    families = [inp("s", "i j", (N, N)), der("q", "i j", (N, N)), der("y", "", ())]
    equations = [
        Equation(ref("q", "i", "j"), total(N, "k", ref("s", "i", "k") * ref("s", "k", "j"))),
        Equation(Ref("y", ()), total(N, "i", ref("q", "i", "i") * ref("s", "i", "i"))),
    ]
    return system(families, equations)


def pairs() -> System:
    """y_ij = x_i x_j, then z_i from y_ij and y_ji."""
    families = [inp("x", "i", (N,)), der("y", "i j", (N, N)), der("z", "i", (N,))]
    equations = [
        Equation(ref("y", "i", "j"), ref("x", "i") * ref("x", "j")),
        Equation(ref("z", "i"), total(N, "j", ref("y", "i", "j") * ref("y", "j", "i") * ref("x", "j"))),
    ]
    return system(families, equations)


def strictly_before() -> System:
    """j < i: no pair where there is one node, none for i = 0."""
    guard = (at_least(affine("i") - 1, "j"),)
    families = [inp("x", "i", (N,)), der("y", "i", (N,)), der("q", "i j", (N, N), guard)]
    equations = [
        Equation(ref("q", "i", "j"), ref("x", "i") * square(ref("x", "j")), guard),
        Equation(ref("y", "i"), ref("x", "i") * total(N, "j", ref("q", "i", "j"), guard)),
    ]
    return system(families, equations)


def triangle() -> System:
    """An output for pairs j <= i only: the gradient from outside exists there only."""
    guard = (at_least("i", "j"),)
    families = [inp("x", "i", (N,)), der("q", "i j", (N, N), guard)]
    return system(families, [Equation(ref("q", "i", "j"), ref("x", "i") * square(ref("x", "j")), guard)])


def band() -> System:
    apart = affine("i") - affine("j")
    guard = between(0, apart, affine("W") - 1)
    families = [inp("x", "i", (N,)), inp("b", "o", (node("W"),)), der("q", "i j", (N, N), guard), der("y", "i", (N,))]
    equations = [
        Equation(ref("q", "i", "j"), ref("x", "i") * ref("x", "j") * ref("b", apart), guard),
        Equation(ref("y", "i"), total(N, "j", square(ref("q", "i", "j")), guard)),
    ]
    return system(families, equations)


def letters_of_others() -> System:
    """In du/dx the sum over p <= r keeps its condition, though the sum around it is over such p as well."""
    guard = (at_least("r", "p"),)
    families = [
        inp("x", "j", (N,)),
        inp("c", "p r", (N, N), guard),
        der("u", "r", (N,)),
        der("P", "p r", (N, N), guard),
        der("O", "", ()),
    ]
    equations = [
        Equation(ref("u", "r"), ref("x", "r") * total(N, "p", ref("x", "p"), guard)),
        Equation(ref("P", "p", "r"), ref("u", "r") * ref("u", "p") * ref("c", "p", "r"), guard),
        Equation(Ref("O", ()), total(N, "r", total(N, "p", ref("P", "p", "r"), guard))),
    ]
    return system(families, equations)


def letters_of_integers() -> System:
    """Integers p, r, s in index expressions, where renamed sums would take just these letters."""
    at = affine("j") - "p" + "r"
    families = [
        inp("x", "j", (M,)),
        family("w", "j k", (K, M)),
        der("y", "j", (K,)),
        der("o", "j", (K,)),
        der("q", "", ()),
    ]
    moved = Guarded(ref("o", at), between(0, at, affine("K") - 1))
    equations = [
        Equation(ref("y", "j"), total(M, "k", ref("w", "j", "k") * ref("x", "k"))),
        Equation(ref("o", "j"), total(K, "k", ref("y", "k") * ref("y", "j") * ref("y", "k"))),
        Equation(Ref("q", ()), total(K, "j", total(K, "k", moved * ref("o", "k")))),
    ]
    return system(families, equations, integers=("p", "r", "s"))


def one_factor_two_scopes() -> System:
    guard = (at_least("i", "j"),)
    families = [
        inp("u", "j", (N,)),
        der("s", "i", (N,)),
        der("P", "i j", (N, N), guard),
        der("Q", "i", (N,)),
        der("O", "", ()),
    ]
    equations = [
        Equation(ref("s", "i"), total(N, "j", square(ref("u", "j")), guard)),
        Equation(ref("P", "i", "j"), ref("s", "i") * ref("s", "j"), guard),
        Equation(ref("Q", "i"), square(ref("s", "i"))),
        Equation(Ref("O", ()), total(N, "i", ref("Q", "i") * total(N, "j", ref("P", "i", "j"), guard))),
    ]
    return system(families, equations)


def window(stride: int | str) -> System:
    """Windows of R nodes at a stride: with R below the stride some nodes are in none."""
    r, at = node("R"), affine(stride) * affine("i") + affine("k")
    families = [inp("x", "u", (M,)), family("w", "k", (r,)), der("y", "i", (I,))]
    rules = {"I": SizeRule(affine("M") - "R", affine(stride), 1)}
    body = total(r, "k", ref("w", "k") * square(ref("x", at)))
    integers = (stride,) if isinstance(stride, str) else ()
    return system(families, [Equation(ref("y", "i"), body)], rules=rules, integers=integers)


def every_second() -> System:
    rule = SizeRule(affine("M"), affine(2), 0)
    equation = Equation(ref("y", "i"), square(ref("x", affine("i") * 2 + 1)))
    return system([inp("x", "u", (M,)), der("y", "i", (I,))], [equation], rules={"I": rule})


def transposed_convolution() -> System:
    at = affine("u") - affine("k")
    body = total(K, "k", ref("w", "k") * ref("x", at), between(0, at, affine("N") - 1))
    families = [inp("x", "i", (N,)), family("w", "k", (K,)), der("y", "u", (M,))]
    return system(families, [Equation(ref("y", "u"), body)], rules={"M": SizeRule(affine("N") + "K" - 1)})


def maximum_of_maxima() -> System:
    inner = Max("j", M, ref("x", "i", "j") * ref("w", "i", "j", "k"), (at_least("j", "i"),))
    families = [inp("x", "i j", (N, M)), inp("w", "i j k", (N, M, K)), der("y", "k", (K,))]
    body = Max("i", N, inner + square(ref("x", "i", "i")))
    rule = SizeRule(affine("N") + 1)
    return system(families, [Equation(ref("y", "k"), body)], rules={"M": rule})


def maximum_with_padding() -> System:
    at = affine("i") + affine("k") - 1
    body = Max("k", K, Guarded(ref("x", at), between(0, at, affine("N") - 1)))
    return system([inp("x", "u", (N,)), der("y", "i", (N,))], [Equation(ref("y", "i"), body)])


def maximum_of_sums() -> System:
    body = square(Max("i", N, total(M, "j", ref("x", "i", "j") * ref("x", 0, "j"))))
    return system([inp("x", "i j", (N, M)), der("y", "", ())], [Equation(Ref("y", ()), body)])


def products() -> System:
    body = Prod("i", N, ref("x", "i") * ref("w", "i", "j") + ref("x", 0), (at_least("i", "j"),))
    families = [inp("x", "i", (N,)), inp("w", "i j", (N, M)), der("y", "j", (M,))]
    return system(families, [Equation(ref("y", "j"), body)])


def products_of_those_before() -> System:
    """Transmittance: y_j = sum_{k <= j} x_k prod_{i < k} (1 - x_i)."""
    clear = Prod("i", N, 1 - ref("x", "i"), (at_least(affine("k") - 1, "i"),))
    body = total(N, "k", ref("x", "k") * clear, (at_least("j", "k"),))
    return system([inp("x", "i", (N,)), der("y", "j", (N,))], [Equation(ref("y", "j"), body)])


def cases_by_place() -> System:
    below = Compare("<=", Position(affine("j")), Position(affine("i")))
    body = Where(below, ref("x", "i") * ref("x", "j"), ref("x", "j") * 3)
    return system([inp("x", "i", (N,)), der("y", "i j", (N, N))], [Equation(ref("y", "i", "j"), body)])


def cases_by_value() -> System:
    body = Where(
        Compare(">", ref("x", "i"), ref("x", "j") * 2), square(ref("x", "i")) * ref("x", "j"), ref("x", "j") * 3
    )
    return system([inp("x", "i", (N,)), der("y", "i j", (N, N))], [Equation(ref("y", "i", "j"), body)])


def first_node_apart() -> System:
    families = [inp("x", "i", (N,)), der("y", "i", (N,)), der("z", "", ())]
    equations = [
        Equation(ref("y", "i"), square(ref("x", 0)) * ref("x", "i"), (equals("i", 0),)),
        Equation(ref("y", "i"), ref("x", "i") * ref("x", affine("i") - 1), (at_least("i", 1),)),
        Equation(Ref("z", ()), total(N, "i", square(ref("y", "i")))),
    ]
    return system(families, equations)


def along_nodes() -> System:
    """y_i = x_i y_{i-1}: a recursion along nodes, which no axis announces."""
    families = [inp("x", "i", (N,)), der("y", "i", (N,)), der("z", "", ())]
    equations = [
        Equation(ref("y", "i"), square(ref("x", 0)), (equals("i", 0),)),
        Equation(ref("y", "i"), ref("x", "i") * ref("y", affine("i") - 1), (at_least("i", 1),)),
        Equation(Ref("z", ()), total(N, "i", square(ref("y", "i")))),
    ]
    return system(families, equations)


def two_outputs() -> System:
    families = [inp("x", "i", (N,)), family("w", "i j", (N, M)), der("y", "j", (M,)), der("z", "i", (N,))]
    equations = [
        Equation(ref("y", "j"), total(N, "i", ref("w", "i", "j") * ref("x", "i"))),
        Equation(ref("z", "i"), square(ref("x", "i")) * total(M, "j", ref("w", "i", "j"))),
    ]
    return system(families, equations)


def output_in_time() -> System:
    model = rnn()
    kept = [f for f in model.families.values() if f.name not in ("C", "y")]
    return system(kept, [e for e in model.equations if e.lhs != C])


def softmax_of_softmax() -> System:
    families = [inp("x", "i", (N,)), der("p", "i", (N,)), der("q", "i", (N,))]

    def softmax(value: Callable[[str], Expr], other: str) -> Expr:
        return Div(Call("exp", (value("i"),)), total(N, other, Call("exp", (value(other),))))

    equations = [
        Equation(ref("p", "i"), softmax(lambda i: ref("x", i), "j")),
        Equation(ref("q", "i"), softmax(lambda i: ref("p", i) * ref("x", i), "k")),
    ]
    return system(families, equations)


MODELS: dict[str, tuple[Callable[[], System], tuple[Sizes, ...]]] = {
    "attention": (
        lambda: BUILDERS["attention"]()[0],
        ({"n_i": 2, "n_j": 3, "d": 2, "n_v": 4}, {"n_i": 3, "n_j": 1, "d": 1, "n_v": 1}),
    ),
    "causal attention": (
        lambda: BUILDERS["causal-attention"]()[0],
        ({"N": 3, "d": 2, "n_v": 2}, {"N": 1, "d": 1, "n_v": 2}),
    ),
    "conv1d": (
        lambda: BUILDERS["conv1d"]()[0],
        (
            {"n_b": 1, "n_o": 2, "C": 2, "K": 2, "M": 6, "p": 1, "s": 3, "I": 3},
            {"n_b": 2, "n_o": 1, "C": 1, "K": 3, "M": 5, "p": 2, "s": 1, "I": 7},
        ),
    ),
    "embedding": (lambda: BUILDERS["embedding"]()[0], ({"n_t": 4, "V": 3, "n_c": 2},)),
    "layer norm": (lambda: BUILDERS["layer-normalisation"]()[0], ({"n_b": 2, "n_i": 2, "D": 3},)),
    "max pooling": (
        lambda: BUILDERS["max-pooling"]()[0],
        ({"n_b": 1, "n_c": 2, "r": 2, "M": 5, "s": 2, "I": 2}, {"n_b": 1, "n_c": 1, "r": 2, "M": 6, "s": 3, "I": 2}),
    ),
    "labels": (lambda: BUILDERS["multinomial-labels"]()[0], ({"N": 3, "K": 3, "D": 2},)),
    "heads": (lambda: BUILDERS["heads"]()[0], ({"L": 3, "N": 2, "H": 2, "D": 2}, {"L": 1, "N": 2, "H": 2, "D": 3})),
    "product": (lambda: BUILDERS["product"]()[0], ({"N": 4}, {"N": 1})),
    "rnn, the start not given": (
        lambda: BUILDERS["rnn"]()[0],
        ({"T": 2, "I": 2, "J": 2, "K": 2}, {"T": 1, "I": 1, "J": 2, "K": 1}),
    ),
    "rnn": (rnn, ({"T": 3, "H": 2, "X": 2, "Y": 1}, {"T": 1, "H": 2, "X": 2, "Y": 1})),
    "deep rnn": (
        deep_rnn,
        ({"L": 2, "T": 3, "H": 2}, {"L": 1, "T": 1, "H": 2}, {"L": 3, "T": 1, "H": 1}, {"L": 1, "T": 3, "H": 1}),
    ),
    "conv2d": (
        conv2d,
        (
            {"C": 2, "K": 2, "R": 1, "M": 4, "N": 3, "p": 1, "s": 2, "I": 3, "J": 3},
            {"C": 1, "K": 2, "R": 3, "M": 7, "N": 6, "p": 0, "s": 4, "I": 2, "J": 1},
        ),
    ),
    "max pooling, 2d": (
        max_pooling_2d,
        (
            {"B": 1, "r": 2, "M": 4, "N": 5, "s": 2, "I": 2, "J": 2},
            {"B": 1, "r": 2, "M": 5, "N": 4, "s": 3, "I": 2, "J": 1},
        ),
    ),
    "average pooling": (average_pooling, ({"r": 2, "M": 5, "I": 2},)),
    "batch norm": (batch_norm, ({"B": 3, "D": 2},)),
    "shadowed": (shadowed, ({"N": 3},)),
    "cut short": (cut_short, ({"M": 4, "I": 3}, {"M": 2, "I": 1})),
    "one formula for two": (one_formula_for_two, ({"M": 3, "I": 2},)),
    "itself and all before": (itself_and_all_before, ({"T": 3}, {"T": 1})),
    "itself and the first": (itself_and_the_first, ({"T": 3}, {"T": 2}, {"T": 1})),
    "all and the last": (all_and_the_last, ({"T": 3}, {"T": 1})),
    "pairs of times": (pairs_of_times, ({"T": 3}, {"T": 1})),
    "all earlier times": (all_earlier_times, ({"T": 3}, {"T": 1})),
    "two times back": (two_times_back, ({"T": 4}, {"T": 2}, {"T": 1})),
    "both directions": (both_directions, ({"T": 3}, {"T": 1})),
    "wavefront": (wavefront, ({"L": 2, "T": 2}, {"L": 1, "T": 1}, {"L": 3, "T": 1}, {"L": 1, "T": 3})),
    "softmax of times": (softmax_of_times, ({"T": 2},)),
    "diagonals": (diagonals, ({"N": 3}, {"N": 1})),
    "trace": (trace, ({"N": 3},)),
    "pairs": (pairs, ({"N": 3},)),
    "strictly before": (strictly_before, ({"N": 4}, {"N": 1})),
    "triangle": (triangle, ({"N": 3},)),
    "band": (band, ({"N": 4, "W": 2}, {"N": 2, "W": 3})),
    "letters of others": (letters_of_others, ({"N": 4},)),
    "letters of integers": (letters_of_integers, ({"M": 2, "K": 3, "p": 1, "r": 0, "s": 1},)),
    "one factor, two scopes": (one_factor_two_scopes, ({"N": 3},)),
    "windows": (lambda: window("s"), ({"M": 7, "R": 2, "s": 3, "I": 2}, {"M": 5, "R": 1, "s": 2, "I": 3})),
    "windows, every second": (lambda: window(2), ({"M": 7, "R": 1, "I": 4}, {"M": 7, "R": 3, "I": 3})),
    "every second": (every_second, ({"M": 5, "I": 2},)),
    "transposed convolution": (transposed_convolution, ({"N": 3, "K": 2, "M": 4},)),
    "maximum of maxima": (maximum_of_maxima, ({"N": 2, "M": 3, "K": 2},)),
    "maximum with padding": (maximum_with_padding, ({"N": 4, "K": 3},)),
    "maximum of sums": (maximum_of_sums, ({"N": 3, "M": 2},)),
    "products": (products, ({"N": 4, "M": 3}, {"N": 1, "M": 1})),
    "products of those before": (products_of_those_before, ({"N": 4},)),
    "cases by place": (cases_by_place, ({"N": 3},)),
    "cases by value": (cases_by_value, ({"N": 3},)),
    "first node apart": (first_node_apart, ({"N": 4}, {"N": 1})),
    "along nodes": (along_nodes, ({"N": 4}, {"N": 1})),
    "two outputs": (two_outputs, ({"N": 3, "M": 2},)),
    "output in time": (output_in_time, ({"T": 2, "H": 2, "X": 1, "Y": 1}, {"T": 1, "H": 1, "X": 1, "Y": 1})),
    "softmax of softmax": (softmax_of_softmax, ({"N": 3},)),
}


@cache
def model(name: str) -> System:
    return with_upstream(MODELS[name][0]())


@cache
def judges(name: str) -> tuple[Oracle, ...]:
    return tuple(oracle(model(name), sizes) for sizes in MODELS[name][1])


SOME = {
    "rnn": ("U", "x", "h_0"),
    "rnn, the start not given": ("W",),
    "deep rnn": ("U", "x"),
    "output in time": ("U",),
    "heads": ("W_Q", "x"),
}
"""By what the larger models are differentiated, where one quantity stands for others like it."""


def goals(name: str) -> Iterator[Partial]:
    """The cost by every parameter and datum that is no number of a place."""
    s = model(name)
    for f in s.families.values():
        given = f.kind in ("parameter", "input") and f.over is None and f.name not in s.upstream.values()
        if given and (name not in SOME or f.name in SOME[name]):
            yield Partial(Ref(s.cost, ()), f.pattern)


@pytest.mark.parametrize("name", MODELS)
def test_every_gradient_is_proved_and_right(name: str) -> None:
    for goal in goals(name):
        record = derive(model(name), goal)
        check = check_record(record)
        assert check.verdict == "proved", (goal, check.line(), [s for s in check.steps if s.verdict != "proved"][:2])
        assert_derived(record, judges(name))


@pytest.mark.parametrize("name", MODELS)
def test_the_backward_pass_is_whole_and_right(name: str) -> None:
    assert_backward(model(name), judges(name))


def test_an_lstm_by_a_gate_and_by_its_first_state() -> None:
    s = lstm()
    samples = [oracle(s, sizes) for sizes in ({"T": 2, "H": 2, "X": 1}, {"T": 1, "H": 1, "X": 1})]
    for goal in (Partial(C, s.families["U_f"].pattern), Partial(C, s.families["c_0"].pattern)):
        record = derive(s, goal)
        assert check_record(record).verdict == "proved"
        assert_derived(record, samples, most=4)
    assert_backward(s, samples, most=4)


# ---------------------------------------------------------------- derivatives of one quantity by another

JACOBIANS: dict[str, tuple[tuple[Ref, Ref], ...]] = {
    "attention": (
        (ref("O", "m", "v"), ref("Q", "i", "c")),
        (ref("O", "m", "v"), ref("V", "j", "u")),
        (ref("P", "m", "n"), ref("S", "i", "j")),
    ),
    "causal attention": (
        (ref("O", "m", "v"), ref("K", "j", "c")),
        (ref("P", "m", "n"), ref("S", "i", "j")),
    ),
    "conv1d": (
        (ref("y", "m", "n", "i"), ref("x", "b", "c", "u")),
        (ref("y", "m", "n", "i"), ref("w", "o", "c", "k")),
        (ref("y", "m", "n", "i"), ref("beta", "o")),
    ),
    "layer norm": ((ref("y", "m", "n", "i"), ref("x", "b", "c", "u")),),
    "max pooling": ((ref("y", "m", "n", "i"), ref("x", "b", "c", "u")),),
    "rnn": (
        (ref("h", "T", "i"), ref("U", "j", "p")),
        (ref("h", "t", "i"), ref("U", "j", "p")),
        (ref("o", "t", "q"), ref("h", "r", "p")),
        (ref("h", "t", "i"), ref("h", "r", "p")),
        (ref("h", "t", "i"), ref("x", "r", "p")),
        (ref("o", "t", "q"), ref("h_0", "i")),
    ),
    "both directions": (
        (ref("o", "t"), ref("x", "r")),
        (ref("o", "t"), ref("f", "r")),
        (ref("o", "t"), ref("g", "r")),
    ),
    "wavefront": ((ref("h", "L", "T"), ref("x", "l", "t")), (ref("h", "l", "t"), ref("h", "m", "r"))),
    "two times back": ((ref("h", "T"), ref("h", "t")), (ref("h", "r"), ref("x", "t"))),
    "cut short": ((ref("y", "i"), ref("x", "u")),),
    "pairs": ((ref("z", "i"), ref("x", "k")), (ref("z", "i"), ref("y", "i", "i"))),
    "strictly before": ((ref("y", "i"), ref("x", "k")),),
    "products of those before": ((ref("y", "j"), ref("x", "i")),),
}


@pytest.mark.parametrize("name", JACOBIANS)
def test_every_jacobian_is_proved_and_right(name: str) -> None:
    for top, bottom in JACOBIANS[name]:
        record = derive(model(name), Partial(top, bottom))
        check = check_record(record)
        assert check.verdict == "proved", (top, bottom, check.line())
        assert_derived(replace(record, goal=Partial(top, bottom)), judges(name))


# ---------------------------------------------------------------- what the results look like


def result(name: str, bottom: str, top: Ref | None = None) -> Expr:
    s = model(name)
    return derive(s, Partial(top or Ref(s.cost, ()), s.families[bottom].pattern)).result


def test_the_gradient_of_a_convolution_asks_whether_the_window_covers_the_place() -> None:
    """dC/dx_bcu = sum_o sum_i [0 <= u + p - si < K] dC/dy_boi w_ock at k = u + p - si."""
    out = result("conv1d", "x")
    k = affine("u") + "p" - affine("s") * affine("i")
    assert any(isinstance(p, Ref) and p == ref("w", "o", "c", k) for _, p in walk(out))
    guards = [set(p.guard) for _, p in walk(out) if isinstance(p, Sum | Guarded) and p.guard]
    assert guards == [set(between(0, k, affine("K") - 1))]
    assert sum(isinstance(p, Sum) for _, p in walk(out)) == 2 and not any(isinstance(p, Delta) for _, p in walk(out))


def test_the_gradient_by_a_filter_asks_whether_the_place_is_padding() -> None:
    out = result("conv1d", "w")
    at = affine("s") * affine("i") + "k" - "p"
    guards = [set(p.guard) for _, p in walk(out) if isinstance(p, Sum | Guarded) and p.guard]
    assert guards == [set(between(0, at, affine("M") - 1))]


def test_a_place_past_the_end_has_no_gradient() -> None:
    out = result("cut short", "x")
    assert isinstance(out, Guarded) and out.guard == (at_least(affine("I") - 1, "u"),)


def test_a_time_that_nothing_uses_has_gradient_zero() -> None:
    record = derive(model("wavefront"), Partial(C, ref("x", "l", "t")))
    cells = {tuple(sorted(map(str, (c.expr for c in guard)))): value for guard, value in record.cases}
    assert len(cells) == 3 and sum(value == Num(0) for value in cells.values()) == 1  # type: ignore[arg-type]


def test_no_step_of_a_sum_over_times_is_lost_in_a_recursion() -> None:
    """The sections of h give dC/dh once for each of its cells of layer and time."""
    record = derive(model("wavefront"), Partial(C, ref("x", "l", "t")))
    last = {s.subject: s for s in record.sections if isinstance(s.subject, Partial) and s.subject.bottom.family == "h"}  # type: ignore[union-attr]
    assert len(last) >= 7


# ---------------------------------------------------------------- planted errors

Slip = Callable[[Expr], Expr | None]


def without_guard(e: Expr) -> Expr | None:
    if isinstance(e, Guarded):
        return e.body
    return replace(e, guard=()) if isinstance(e, Sum | Max | Prod) and e.guard else None


def stricter_guard(e: Expr) -> Expr | None:
    """j < i for j <= i."""
    if isinstance(e, Sum | Guarded) and e.guard:
        first, *rest = e.guard
        return replace(e, guard=(replace(first, expr=first.expr - 1), *rest))
    return None


def next_place(e: Expr) -> Expr | None:
    return Ref(e.family, (*e.indices[:-1], e.indices[-1] + 1)) if isinstance(e, Ref) and e.indices else None


def without_delta(e: Expr) -> Expr | None:
    return ONE if isinstance(e, Delta) else None


def wrong_sign(e: Expr) -> Expr | None:
    return -e if isinstance(e, Partial | Call) else None


def without_padding(e: Expr) -> Expr | None:
    if isinstance(e, Ref) and any("p" in i.names for i in e.indices):
        return Ref(e.family, tuple(i.substitute({"p": Affine(())}) for i in e.indices))
    return None


def first_place_only(e: Expr) -> Expr | None:
    """A sum that is forgotten: its first term stands for it."""
    from symbackprop.symbols import substitute

    return substitute(e.body, {e.index: e.axis.first}) if isinstance(e, Sum) else None


def not_in_the_product(e: Expr) -> Expr | None:
    """The factors after the k-th left out."""
    if isinstance(e, Mul) and sum(isinstance(f, Prod) for f in e.factors) == 2:
        return Mul(e.factors[:-1])
    return None


PLANTED: tuple[tuple[str, str, Slip], ...] = (
    ("conv1d", "x", without_guard),
    ("conv1d", "x", without_padding),
    ("conv1d", "x", next_place),
    ("conv1d", "x", stricter_guard),
    ("conv1d", "w", without_guard),
    ("conv1d", "w", without_padding),
    ("conv1d", "w", first_place_only),
    ("causal attention", "V", stricter_guard),
    ("causal attention", "V", without_guard),
    ("causal attention", "K", wrong_sign),
    ("attention", "Q", without_delta),
    ("attention", "Q", wrong_sign),
    ("attention", "Q", first_place_only),
    ("cut short", "x", without_guard),
    ("max pooling", "x", next_place),
    ("strictly before", "x", stricter_guard),
    ("strictly before", "x", without_guard),
    ("rnn", "U", wrong_sign),
    ("rnn", "U", first_place_only),
    ("rnn", "x", next_place),
    ("products of those before", "x", without_guard),
    ("product", "x", not_in_the_product),
    ("embedding", "E", first_place_only),
    ("transposed convolution", "x", stricter_guard),
    ("windows", "x", without_guard),
)


def planted(record: Record, slip: Slip) -> list[tuple[Record, int]]:
    """The record with the slip at every place of the right sides where it fits, and the number of the step."""
    out = []
    number = 0
    for n, section in enumerate(record.sections):
        for k, step in enumerate(section.steps):
            for path, part in walk(step.after):
                new = slip(part)
                if new is None or new == part:
                    continue
                bad = replace(step, after=replace_at(step.after, path, new))
                steps = (*section.steps[:k], bad, *section.steps[k + 1 :])
                sections = (*record.sections[:n], replace(section, steps=steps), *record.sections[n + 1 :])
                out.append((replace(record, sections=sections), number))
            number += 1
    return out


def only(record: Record, number: int) -> Record:
    """The record with the section of one step alone, and that step alone in it, so that a check of it is quick."""
    for section in record.sections:
        if number < len(section.steps):
            return replace(record, sections=(replace(section, steps=(section.steps[number],)),))
        number -= len(section.steps)
    raise AssertionError


@pytest.mark.parametrize(("name", "bottom", "slip"), PLANTED, ids=[f"{n}, {b}: {s.__name__}" for n, b, s in PLANTED])
def test_a_planted_error_is_refuted_by_its_rule_and_by_its_values(name: str, bottom: str, slip: Slip) -> None:
    s = model(name)
    good = derive(s, Partial(Ref(s.cost, ()), s.families[bottom].pattern))
    found = planted(good, slip)
    assert found, "the derivation has nothing for the slip to act on"
    by_value = 0
    for bad, number in random.Random(0).sample(found, min(6, len(found))):
        step = check_record(only(bad, number)).steps[0]
        assert not step.again, (number, step.rule)
        by_value += step.verdict == "refuted"
    assert by_value, "no value shows the slip"
    bad, number = found[-1]
    assert check_record(bad).verdict == "refuted"


def test_a_result_whose_only_fault_is_at_the_end_of_an_axis_is_refuted_by_its_values() -> None:
    """y_i = x_i^2 w_i for fewer i than x has: without the bracket the line is right but for the last x."""
    good = derive(model("cut short"), Partial(C, ref("x", "u")))
    for bad, number in planted(good, without_guard):
        assert check_record(only(bad, number)).steps[0].verdict == "refuted"


def test_a_letter_is_an_index_or_a_number() -> None:
    """A letter used both ways would be taken for one of the two; the model is refused."""
    y, x = der("y", "s", (N,)), inp("x", "i", (N,))
    with pytest.raises(ModelError, match="s is an index of y and also a size or an integer"):
        system([x, y], [Equation(ref("y", "s"), ref("x", "s"))], integers=("s",))
    body = total(N, "p", ref("x", "p"))
    with pytest.raises(ModelError, match="p is a summed index and also a size or an integer"):
        system([x, der("y", "", ())], [Equation(Ref("y", ()), body)], integers=("p",))
