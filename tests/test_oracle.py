"""The judge: its derivatives against hand computation, its samples against known traps, its refusal of planted errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from symbackprop.check import check_record, draw_samples, steps_expressions
from symbackprop.derivation import Record
from symbackprop.derive import derive
from symbackprop.indices import affine
from symbackprop.network import System, dense_system
from symbackprop.oracle import PRIME, CannotEvaluate, Dual, Intervals, Mod, Oracle, OutOfRange, Sample
from symbackprop.symbols import (
    Call,
    Delta,
    Expr,
    Mul,
    Num,
    Param,
    Partial,
    Ref,
    Sum,
    replace_at,
    substitute,
    walk,
)

L, l = affine("L"), affine("l")
NET = dense_system(bias=True)
EXACT = Sample(3, (5, 3, 4, 6), 7, "exact rationals")
C0 = Ref("C_0", ())


# ---------------------------------------------------------------- derivatives by hand


class ByHand:
    """The same network computed by loops that share nothing with the oracle but its data."""

    def __init__(self, oracle: Oracle) -> None:
        self.widths = oracle.sample.widths
        self.depth = len(self.widths) - 1
        layers = range(1, self.depth + 1)
        n = self.widths
        look = oracle.look
        self.w = {i: [[look("w", (i, j, k)) for k in range(n[i - 1])] for j in range(n[i])] for i in layers}
        self.b = {i: [look("b", (i, j)) for j in range(n[i])] for i in layers}
        self.x = [look("x", (k,)) for k in range(n[0])]
        self.y = [look("y", (j,)) for j in range(n[-1])]
        for i in layers:
            oracle.polynomial("g", i, Fraction(0))
        self.g = {i: list(oracle.polynomials[("g", i)]) for i in layers}

    def cost(self) -> Fraction:
        self.a, self.z = {0: self.x}, {}
        for i in range(1, self.depth + 1):
            self.z[i] = [
                sum((u * v for u, v in zip(row, self.a[i - 1], strict=True)), c)
                for row, c in zip(self.w[i], self.b[i], strict=True)
            ]
            self.a[i] = [sum(c * v**n for n, c in enumerate(self.g[i])) for v in self.z[i]]
        return sum((p - q) ** 2 for p, q in zip(self.a[self.depth], self.y, strict=True))

    def slope(self, i: int, v: Fraction) -> Fraction:
        _, c1, c2, c3 = self.g[i]
        return c1 + 2 * c2 * v + 3 * c3 * v * v

    def delta(self, i: int) -> list[Fraction]:
        """dC/dz of layer i, by the recursion of the textbooks."""
        if i == self.depth:
            return [2 * (p - q) * self.slope(i, v) for p, q, v in zip(self.a[i], self.y, self.z[i], strict=True)]
        above = self.delta(i + 1)
        return [
            sum(self.w[i + 1][p][j] * d for p, d in enumerate(above)) * self.slope(i, v)
            for j, v in enumerate(self.z[i])
        ]


def test_forward_pass_is_that_of_the_loops() -> None:
    oracle = Oracle(NET, EXACT)
    hand = ByHand(oracle)
    assert oracle.look("C_0", ()) == hand.cost()
    assert [oracle.look("z", (2, j)) for j in range(4)] == hand.z[2]


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_gradients_are_those_of_the_textbook_loops(layer: int) -> None:
    oracle = Oracle(NET, EXACT)
    hand = ByHand(oracle)
    hand.cost()
    for j, d in enumerate(hand.delta(layer)):
        assert oracle.partial("C_0", (), "z", (layer, j)) == d
        assert oracle.partial("C_0", (), "b", (layer, j)) == d
        for k, incoming in enumerate(hand.a[layer - 1]):
            assert oracle.partial("C_0", (), "w", (layer, j, k)) == d * incoming


@pytest.mark.parametrize(("family", "place"), [("w", (1, 2, 4)), ("w", (3, 5, 0)), ("b", (2, 3)), ("x", (1,))])
def test_gradients_are_the_limit_of_finite_differences(family: str, place: tuple[int, ...]) -> None:
    oracle = Oracle(NET, EXACT)
    hand = ByHand(oracle)
    step = Fraction(1, 10**30)

    def cost(by: Fraction) -> Fraction:
        array: Any = getattr(hand, family)
        for i in place[:-1]:
            array = array[i]
        array[place[-1]] += by
        out = hand.cost()
        array[place[-1]] -= by
        return out

    quotient = (cost(step) - cost(-step)) / (2 * step)
    exact = oracle.partial("C_0", (), family, place)
    assert abs(quotient - exact) < Fraction(1, 10**20) * (1 + abs(exact))


def test_a_direct_derivative_holds_what_is_downstream_and_a_total_one_does_not() -> None:
    oracle = Oracle(NET, EXACT)
    hand = ByHand(oracle)
    hand.cost()
    z, a = Ref("z", (affine(3), affine(1))), Ref("a", (affine(1), affine(2)))
    assert oracle.evaluate(Partial(z, a, direct=True), {}) == 0
    total = sum(hand.w[3][1][p] * hand.slope(2, hand.z[2][p]) * hand.w[2][p][2] for p in range(4))
    assert oracle.evaluate(Partial(z, a), {}) == total != 0


def test_the_mean_over_samples_is_the_mean_of_the_samples_own_gradients() -> None:
    oracle = Oracle(NET, replace(EXACT, samples=4))
    parts = [oracle.in_sample(i, lambda: oracle.partial("C_0", (), "w", (1, 0, 2))) for i in range(4)]
    assert oracle.partial("C", (), "w", (1, 0, 2)) == sum(parts) / 4
    assert len(set(parts)) == 4  # the samples have data of their own


@pytest.mark.parametrize("place", [(4, 0), (0, 0), (-1, 0)])
def test_a_quantity_out_of_range_is_not_made_up(place: tuple[int, int]) -> None:
    with pytest.raises(OutOfRange):
        Oracle(NET, EXACT).look("z", place)


# ---------------------------------------------------------------- arithmetic

fractions = st.fractions(min_value=-50, max_value=50, max_denominator=50)


@given(fractions, fractions, fractions, fractions)
def test_dual_numbers_obey_the_product_rule(v: Fraction, d: Fraction, u: Fraction, e: Fraction) -> None:
    product = Dual(v, d) * Dual(u, e)
    assert (product.v, product.d) == (v * u, v * e + d * u)
    total = Dual(v, d) + Dual(u, e)
    assert (total.v, total.d) == (v + u, d + e)
    assert ((3 * Dual(v, d)).d, (Dual(v, d) + 3).d, (-Dual(v, d)).d) == (3 * d, d, -d)


@given(fractions, fractions)
def test_dual_inverse_is_the_derivative_of_one_over_x(v: Fraction, d: Fraction) -> None:
    oracle = Oracle(NET, EXACT)
    if v == 0:
        with pytest.raises(CannotEvaluate):
            oracle.inverse(Dual(v, d))
        return
    out = oracle.inverse(Dual(v, d))
    assert (out.v, out.d) == (1 / v, -d / v**2)


@given(fractions, fractions)
def test_integers_modulo_a_prime_follow_the_fractions(x: Fraction, y: Fraction) -> None:
    assert Mod.of(x) + Mod.of(y) == Mod.of(x + y)
    assert Mod.of(x) * Mod.of(y) == Mod.of(x * y)
    assert -Mod.of(x) == Mod.of(-x)
    assert x * Mod.of(y) == Mod.of(x * y)
    if y:
        assert Mod.of(x) / Mod.of(y) == Mod.of(x / y)
    if x != y:
        assert Mod.of(x) != Mod.of(y)


def test_division_by_zero_modulo_the_prime_is_no_value() -> None:
    with pytest.raises(CannotEvaluate):
        Mod(1) / Mod(PRIME)


@settings(max_examples=40, deadline=None)
@given(st.fractions(min_value=-20, max_value=20, max_denominator=97))
def test_intervals_hold_the_value_and_are_narrow(x: Fraction) -> None:
    intervals = Intervals()
    with mp.workdps(60):
        exact = mp.mpf(x.numerator) / x.denominator
        for name in ("erf", "exp", "sin", "cos", *(("log", "sqrt") if x > 0 else ())):
            out = getattr(intervals, name)(intervals.of(x))
            truth = getattr(mp, name)(exact)
            low, high = (mp.mpf(end.mid().str(60, radius=False)) for end in (out.lower(), out.upper()))
            assert low - mp.mpf(10) ** -38 <= truth <= high + mp.mpf(10) ** -38, name
            assert float(out.rad()) <= 1e-15 * max(1, abs(float(truth))), name


def test_narrow_intervals_that_miss_each_other_differ() -> None:
    oracle = Oracle(dense_system(activation="sigmoid"), replace(EXACT, arithmetic="rigorous intervals"))
    third = oracle.number(Fraction(1, 3))
    assert oracle.agree(third * 3, oracle.number(1))
    assert not oracle.agree(third, oracle.number(Fraction(1, 3) + Fraction(1, 10**20)))


def test_wide_intervals_prove_nothing() -> None:
    oracle = Oracle(dense_system(activation="sigmoid"), replace(EXACT, arithmetic="rigorous intervals"))
    assert oracle.intervals is not None
    wide = oracle.intervals.ball("0.5 +/- 0.5")
    with pytest.raises(CannotEvaluate):
        oracle.agree(wide, wide)


def test_a_kink_is_no_point_to_evaluate_at() -> None:
    oracle = Oracle(dense_system(activation="relu"), EXACT)
    with pytest.raises(CannotEvaluate):
        oracle.function("relu", None, Fraction(0))
    assert (oracle.function("relu", None, Fraction(2)), oracle.function("relu", None, Fraction(-2))) == (2, 0)


# ---------------------------------------------------------------- samples


@lru_cache
def record(system: System, family: str, *place: int | str | Any) -> Record:
    bottom = system.families[family][tuple(place)] if place else system.families[family].pattern
    return derive(system, Partial(C0, bottom))


@pytest.mark.parametrize("place", [("l", "j", "k"), (L, 1, 2), (L - 1, 2, 2), (L - 3, 7, 0)], ids=str)
def test_samples_avoid_the_known_traps(place: tuple[Any, ...]) -> None:
    """Width one hides 64 of 228 wrong claims, L < 3 two, equal widths alone let a transpose of sizes pass."""
    samples = draw_samples(NET, steps_expressions(record(NET, "w", *place)), 0)
    largest = max([i for i in place if isinstance(i, int)], default=0)
    assert all(s.layers >= 3 for s in samples)
    assert len({s.layers for s in samples}) > 1
    assert all(w > max(2, largest) for s in samples for w in s.widths)
    assert any(len(set(s.widths)) == 1 for s in samples)
    assert any(len(set(s.widths)) == len(s.widths) for s in samples)


def test_a_generic_function_is_a_cubic_of_its_own_in_each_layer() -> None:
    """With one function for all layers a wrong label of g' would pass; with a linear one a missing g'."""
    oracle = Oracle(NET, EXACT)
    values = {i: [oracle.function("g", i, Fraction(x)) for x in range(5)] for i in (1, 2, 3)}
    for v in values.values():
        third = v[3] - 3 * v[2] + 3 * v[1] - v[0]
        assert third != 0 and v[4] - 4 * v[3] + 6 * v[2] - 4 * v[1] + v[0] == 0
    assert len({tuple(v) for v in values.values()}) == 3


def test_one_generic_function_for_all_layers_is_one() -> None:
    oracle = Oracle(dense_system(activation="same"), EXACT)
    z = Ref("z", (affine(1), affine(0)))
    value = oracle.evaluate(z, {})
    assert oracle.evaluate(Call("g", (z,)), {}) == oracle.function("g", None, value)


def test_no_datum_is_zero_and_data_do_not_depend_on_the_order_of_asking() -> None:
    names = [("w", (i, j, k)) for i in (1, 2, 3) for j in range(3) for k in range(3)] + [("x", (k,)) for k in range(5)]
    first, second = Oracle(NET, EXACT), Oracle(NET, EXACT)
    forwards = [first.look(*n) for n in names]
    backwards = [second.look(*n) for n in reversed(names)][::-1]
    assert forwards == backwards and 0 not in forwards


@pytest.mark.parametrize("seed", range(4))
def test_declared_facts_hold_in_every_sample(seed: int) -> None:
    system = dense_system(activation="sigmoid", loss="softmax_cross_entropy")
    for sample in draw_samples(system, [C0], seed):
        oracle = Oracle(system, sample)
        (fact,) = system.facts
        assert oracle.agree(oracle.evaluate(fact.lhs, {}), oracle.evaluate(fact.rhs, {}))


def test_without_the_fact_the_targets_do_not_happen_to_sum_to_one() -> None:
    system = dense_system(activation="sigmoid", loss="softmax_cross_entropy", facts=())
    fact = dense_system(activation="sigmoid", loss="softmax_cross_entropy").facts[0]
    oracle = Oracle(system, draw_samples(system, [C0], 0)[0])
    assert not oracle.agree(oracle.evaluate(fact.lhs, {}), oracle.evaluate(fact.rhs, {}))


# ---------------------------------------------------------------- planted errors

Slip = Callable[[Expr, System, random.Random], Expr | None]


def other_letter(i: Any) -> Any:
    return i + 1 if i.value is not None else None


def dropped_slope(e: Expr, system: System, r: random.Random) -> Expr | None:
    """g'(z) left out of a product."""
    if isinstance(e, Mul) and len(e.factors) > 1:
        kept = [n for n, f in enumerate(e.factors) if not (isinstance(f, Call) and f.order == 1)]
        if 0 < len(kept) < len(e.factors):
            return Mul(tuple(e.factors[n] for n in kept), tuple(e.roles[n] for n in kept) if e.roles else ())
    return None


def transposed_weight(e: Expr, system: System, r: random.Random) -> Expr | None:
    if isinstance(e, Ref) and e.family == "w" and e.indices[1] != e.indices[2]:
        return Ref("w", (e.indices[0], e.indices[2], e.indices[1]))
    return None


def wrong_layer(e: Expr, system: System, r: random.Random) -> Expr | None:
    if isinstance(e, Ref) and e.family in ("a", "z", "b", "w"):
        return Ref(e.family, (e.indices[0] - 1, *e.indices[1:]))
    if isinstance(e, Call) and e.at is not None:
        return replace(e, at=e.at - 1)
    return None


def sign(e: Expr, system: System, r: random.Random) -> Expr | None:
    return Mul((Num(Fraction(-1)), e)) if isinstance(e, Ref | Partial | Call) else None


def factor_two(e: Expr, system: System, r: random.Random) -> Expr | None:
    if isinstance(e, Num) and e.value == 2:
        return Num(Fraction(1))
    return Mul((Num(Fraction(2)), e)) if isinstance(e, Sum | Ref) else None


def wrong_index(e: Expr, system: System, r: random.Random) -> Expr | None:
    """Another letter of the line, or the number beside it."""
    if isinstance(e, Ref) and e.family in ("a", "z", "y", "w") and e.indices:
        last = e.indices[-1]
        if last.value is not None:
            return Ref(e.family, (*e.indices[:-1], last + (-1 if last.value else 1)))
        return Ref(e.family, (*e.indices[:-1], affine("j" if last.name != "j" else "k")))
    return None


def missing_sum(e: Expr, system: System, r: random.Random) -> Expr | None:
    return substitute(e.body, {e.index: affine(0)}) if isinstance(e, Sum) else None


def missing_prime(e: Expr, system: System, r: random.Random) -> Expr | None:
    return replace(e, order=0) if isinstance(e, Call) and e.order == 1 else None


SLIPS: tuple[Slip, ...] = (
    dropped_slope,
    transposed_weight,
    wrong_layer,
    sign,
    factor_two,
    wrong_index,
    missing_sum,
    missing_prime,
)

HIDDEN = ("deeplizard, hidden", NET, ("w", "l", "j", "k"))
PLANTED: tuple[tuple[str, System, tuple[Any, ...]], ...] = (
    HIDDEN,
    ("deeplizard, concrete", NET, ("w", L - 1, 2, 2)),
    ("one g for all", dense_system(activation="same", bias=True), ("b", "l", "j")),
    ("three sizes", dense_system([4, 3, 5]), ("w", 1, "j", "k")),
    ("sigmoid", dense_system(activation="sigmoid"), ("w", L, "j", "k")),
)


def plant(good: Record, slip: Slip, r: random.Random) -> tuple[Record, int, int] | None:
    """The record with the slip in the right side of one step, and which step of which section that is."""
    places = []
    for s, section in enumerate(good.sections):
        for t, step in enumerate(section.steps):
            for path, part in walk(step.after):
                new = slip(part, good.system, r)
                if new is not None and new != part:
                    places.append((s, t, path, new))
    if not places:
        return None
    s, t, path, new = r.choice(places)
    return replanted(good, s, t, replace_at(good.sections[s].steps[t].after, path, new)), s, t


def alone(record: Record, s: int) -> Record:
    """One section of a record, for a check of that section only."""
    return replace(record, sections=(record.sections[s],))


def replanted(good: Record, s: int, t: int, after: Expr) -> Record:
    section = good.sections[s]
    steps = (*section.steps[:t], replace(section.steps[t], after=after), *section.steps[t + 1 :])
    return replace(good, sections=(*good.sections[:s], replace(section, steps=steps), *good.sections[s + 1 :]))


@pytest.mark.parametrize("slip", SLIPS, ids=lambda s: s.__name__)
@pytest.mark.parametrize(("label", "system", "goal"), PLANTED, ids=[p[0] for p in PLANTED])
def test_check_refuses_a_planted_error(label: str, system: System, goal: tuple[Any, ...], slip: Slip) -> None:
    good = record(system, *goal)
    planted = plant(good, slip, random.Random(f"{label} {slip.__name__}"))
    if planted is None:
        assert slip in (dropped_slope, missing_prime, missing_sum), "this derivation has nothing for the slip to act on"
        return
    bad, s, t = planted
    check = check_record(bad if label == "three sizes" else alone(bad, s))
    assert check.verdict == "refuted" and not check
    assert check.line().startswith("Check failed")
    refused = [c.number for c in check.steps if not c.again]
    assert refused and (len(check.steps) != len(bad.sections[s].steps) or t in refused)


@pytest.mark.parametrize(("label", "system", "goal"), PLANTED[:4], ids=[p[0] for p in PLANTED[:4]])
def test_values_alone_refuse_an_error_in_a_result(label: str, system: System, goal: tuple[Any, ...]) -> None:
    """The rules are not what catches it: both sides are evaluated, and a counterexample is shown."""
    good = record(system, *goal)
    s = max(n for n, section in enumerate(good.sections) if section.kind == "result")
    t = len(good.sections[s].steps) - 1
    after = good.sections[s].steps[t].after
    tried = set()
    for slip in SLIPS:
        for path, part in walk(after):
            new = slip(part, system, random.Random(0))
            if new is None or new == part or replace_at(after, path, new) == after:
                continue
            step = check_record(alone(replanted(good, s, t, replace_at(after, path, new)), s)).steps[t]
            if step.evaluated == 0:
                continue  # the slip leaves the range of the network: there is no value to compare
            assert step.verdict == "refuted", (slip.__name__, path)
            assert step.left != step.right and step.where.startswith("L = ")
            tried.add(slip.__name__)
            break
    assert len(tried) >= 5, tried


def test_check_refuses_a_true_line_that_its_rule_does_not_give() -> None:
    """Equal values are not enough: the step must be what its rule says."""
    good = record(NET, "w", L, 1, 2)
    s = len(good.sections) - 1
    step = good.sections[s].steps[-1]
    check = check_record(replanted(good, s, len(good.sections[s].steps) - 1, Mul((Num(Fraction(1)), step.after))))
    assert check.verdict == "refuted"
    bad = [c for c in check.steps if not c.again and c.rule == step.rule]
    assert len(bad) == 1 and not bad[0].left
    assert "the rule gives another result" in check.line()


def test_check_refuses_a_rule_by_a_wrong_name() -> None:
    good = record(NET, "w", L, 1, 2)
    section = good.sections[-1]
    steps = (replace(section.steps[0], rule="sum rule"), *section.steps[1:])
    assert (
        check_record(replace(good, sections=(*good.sections[:-1], replace(section, steps=steps)))).verdict == "refuted"
    )


@pytest.mark.parametrize("seed", range(3))
def test_check_is_repeatable_and_says_what_it_rests_on(seed: int) -> None:
    good = record(NET, "w", L, 1, 2)
    first, second = check_record(good, seed), check_record(good, seed)
    assert first == second and first.verdict == "proved" and first.seed == seed
    assert len(first.samples) >= 2 and first.arithmetic == "exact rationals"
    assert all(s.evaluated >= 2 for s in first.steps)
    assert f"seed {seed}" in first.line()


def test_a_fact_that_a_derivation_uses_is_listed_and_one_that_it_does_not_is_not() -> None:
    system = dense_system(activation="sigmoid", loss="softmax_cross_entropy")
    assert check_record(record(system, "z", L, "j")).facts
    assert not check_record(record(system, "a", L, "j")).facts


def test_the_letter_pi_is_pi() -> None:
    oracle = Oracle(dense_system(activation="sigmoid"), replace(EXACT, arithmetic="rigorous intervals"))
    value = oracle.evaluate(Param("pi"), {})
    assert value.contains(value.pi()) and float(value.mid()) == 3.141592653589793


def test_kronecker_delta_is_one_on_the_diagonal_only() -> None:
    oracle = Oracle(NET, EXACT)
    axis = NET.families["y"].axes[0]
    d = Delta(affine("j"), affine("k"), axis)
    assert [oracle.evaluate(d, {"j": j, "k": 1}) for j in range(3)] == [0, 1, 0]
