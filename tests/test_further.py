"""Second derivatives: the backward pass as a model, against the judge's own backward pass and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from systems import family, node, ref, system, total
from test_engine import assert_backward, assert_derived, model, oracle, strictly_before, triangle

from symbackprop.check import check_record
from symbackprop.derive import derive
from symbackprop.errors import GoalError
from symbackprop.further import along, along_output, gradient_of, with_gradients
from symbackprop.indices import affine
from symbackprop.network import Equation, System, with_upstream
from symbackprop.oracle import Oracle
from symbackprop.symbols import Call, Partial, Pow, Ref, expr

D, C = Ref("D", ()), Ref("C", ())


def cubic() -> System:
    """Two layers and a cubic: C = sum_i (sum_j v_j (sum_k w_jk x_ik)^3 - y_i)^2."""
    n, h, d = node("N"), node("H"), node("K")
    families = [
        family("x", "i k", (n, d), "input"),
        family("y", "i", (n,), "target"),
        family("w", "j k", (h, d)),
        family("v", "j", (h,)),
        family("z", "i j", (n, h), "derived"),
        family("o", "i", (n,), "derived"),
        family("C", "", (), "cost"),
    ]
    equations = [
        Equation(ref("z", "i", "j"), total(d, "k", ref("w", "j", "k") * ref("x", "i", "k"))),
        Equation(ref("o", "i"), total(h, "j", ref("v", "j") * Pow(ref("z", "i", "j"), expr(3)))),
        Equation(C, total(n, "i", Pow(ref("o", "i") - ref("y", "i"), expr(2)))),
    ]
    return system(families, equations, "C")


def logistic() -> System:
    n, d = node("N"), node("K")
    families = [
        family("x", "i k", (n, d), "input"),
        family("y", "i", (n,), "target"),
        family("w", "k", (d,)),
        family("p", "i", (n,), "derived"),
        family("C", "", (), "cost"),
    ]
    p = ref("p", "i")
    loss = ref("y", "i") * Call("log", (p,)) + (1 - ref("y", "i")) * Call("log", (1 - p,))
    equations = [
        Equation(p, Call("sigmoid", (total(d, "k", ref("w", "k") * ref("x", "i", "k")),))),
        Equation(C, -total(n, "i", loss)),
    ]
    return system(families, equations, "C")


SIZES = {"N": 3, "H": 2, "K": 2}


def test_the_new_families_have_the_gradients_as_values() -> None:
    s = with_gradients(cubic())
    judge = oracle(s, SIZES)
    for name, place in (("w", (1, 0)), ("v", (1,)), ("x", (2, 1)), ("z", (0, 1)), ("o", (2,))):
        assert judge.look(f"{name}_grad", place) == judge.partial("C", (), name, place)


@pytest.mark.parametrize("name", ["rnn", "itself and all before", "wavefront", "strictly before", "cut short"])
def test_gradients_exist_wherever_their_quantities_do(name: str) -> None:
    """Times and nodes that nothing uses have gradient 0, not none."""
    s = with_gradients(model(name))
    sizes = {"rnn": {"T": 2, "H": 2, "X": 1, "Y": 1}, "wavefront": {"L": 2, "T": 2}, "cut short": {"M": 3, "I": 2}}
    judge = oracle(s, sizes.get(name, {"T": 2, "N": 3}))
    for gradient, (cost, owner) in s.gradients.items():
        f = s.families[owner]
        ranges = [list(judge.places(a, judge.standing)) for a in f.axes]
        places = [()]
        for r in ranges:
            places = [(*p, i) for p in places for i in r]
        for place in places:
            env = {**judge.standing, **dict(zip(f.indices, place, strict=True))}
            if all(c.holds(env) for c in f.guard):
                assert judge.agree(judge.look(gradient, place), judge.partial(cost, (), owner, place))


@pytest.mark.parametrize(
    ("first", "second"), [("w", "w"), ("w", "v"), ("v", "v"), ("v", "w"), ("w", "x")], ids=" by ".join
)
def test_hessians_are_proved_and_those_of_finite_differences(first: str, second: str) -> None:
    s = with_gradients(cubic())
    top = gradient_of(s.families[first].pattern, s)
    bottom = Ref(second, tuple(affine(letter) for letter in ("p", "q")[: len(s.families[second].axes)]))
    record = derive(s, Partial(top, bottom))
    assert check_record(record).verdict == "proved"
    judge = oracle(s, SIZES)
    assert_derived(record, (judge,))
    above, below = (1, 0)[: len(top.indices)], (0, 1)[: len(bottom.indices)]
    env = dict(zip((i.name or "" for i in (*top.indices, *bottom.indices)), (*above, *below), strict=True))
    exact = judge.evaluate(record.result if isinstance(record.result, Partial) else Partial(top, bottom), env)
    step = Fraction(1, 10**25)

    def moved(by: Fraction) -> Fraction:
        other = oracle(s, SIZES)
        fresh = Oracle(s, other.sample)
        fresh.values[fresh.key(second, below)] = other.look(second, below) + by
        fresh.inputs[fresh.key(second, below)] = set()
        return Fraction(fresh.look(f"{first}_grad", above))

    quotient = (moved(step) - moved(-step)) / (2 * step)
    assert abs(quotient - exact) < Fraction(1, 10**15) * (1 + abs(exact))


def test_the_hessian_of_logistic_regression_is_proved() -> None:
    s = with_gradients(logistic())
    record = derive(s, Partial(ref("w_grad", "k"), ref("w", "q")))
    assert check_record(record).verdict == "proved"
    assert_derived(record, (oracle(s, {"N": 3, "K": 2}),))


def test_a_product_with_the_hessian_is_the_sum_of_its_entries_with_the_direction() -> None:
    s = along(with_gradients(cubic()), ["w", "v"])
    judge = oracle(s, SIZES)
    for goal in (Partial(D, ref("w", "j", "k")), Partial(D, ref("v", "j"))):
        record = derive(s, goal)
        assert check_record(record).verdict == "proved"
        assert_derived(record, (judge,))
    assert_backward(s, (judge,), most=4)
    for place in ((0, 1), (1, 1)):
        expected = sum(
            judge.partial("w_grad", (j, k), "w", place) * judge.look("w_dir", (j, k))
            for j in range(2)
            for k in range(2)
        ) + sum(judge.partial("v_grad", (j,), "w", place) * judge.look("v_dir", (j,)) for j in range(2))
        assert judge.partial("D", (), "w", place) == expected


def test_a_direction_in_an_output() -> None:
    s = along_output(with_gradients(cubic()), ref("o", "i"))
    judge = oracle(s, SIZES)
    record = derive(s, Partial(D, ref("o", "q")))
    assert check_record(record).verdict == "proved"
    assert_derived(record, (judge,))
    assert judge.partial("D", (), "o", (1,)) == 2 * judge.look("o_dir", (1,))


def test_a_product_with_the_hessian_of_a_model_in_time() -> None:
    s = along(with_gradients(model("all earlier times")), ["x"])
    judges = [oracle(s, {"T": 3}), oracle(s, {"T": 1})]
    record = derive(s, Partial(D, ref("x", "t")))
    assert check_record(record).verdict == "proved"
    assert_derived(record, judges)
    assert_backward(s, judges, most=6)


@pytest.mark.parametrize("build", [triangle, strictly_before])
def test_pairs_of_a_triangle_are_summed_over_the_triangle(build: Callable[[], System]) -> None:
    """A condition on two letters stands under the inner of the two sums, where both have a meaning."""
    s = with_upstream(build())
    moved = along(with_gradients(s), [n for n in ("x",) if n in s.families])
    assert_backward(moved, (oracle(moved, {"N": 3}),), most=6)


def test_what_the_cost_does_not_depend_on_has_no_second_derivative() -> None:
    s = with_gradients(cubic())
    with pytest.raises(GoalError, match=f"does not depend on {s.cost}"):
        along(s, [s.cost])
    with pytest.raises(GoalError, match=f"does not depend on {s.cost}"):
        gradient_of(s.families[s.cost].pattern, s)
