"""Defects that a review found, each held down by a test: links between steps, single nodes, tables, places of errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_derive import ONE, changed, one_width

from symbackprop import dense, load
from symbackprop.check import check_record
from symbackprop.derive import derive
from symbackprop.errors import SymbackpropError
from symbackprop.indices import affine, at_least
from symbackprop.network import dense_system, node_axis
from symbackprop.symbols import Family, Partial, Ref, Sum, names, substitute

NET = dense(bias=True)


def test_check_refuses_steps_of_another_quantity():
    r, other = NET.derive("w_12^L").record, NET.derive("b_1^L").record.sections[-1]
    bad = replace(r.sections[-1], steps=other.steps, known=other.known, assume=other.assume)
    assert check_record(replace(r, sections=(*r.sections[:-1], bad))).verdict == "refuted"


def test_check_refuses_a_chain_with_a_link_missing():
    r = NET.derive("w_12^L").record
    cut = tuple(replace(s, steps=(s.steps[0], *s.steps[2:])) for s in r.sections)
    assert check_record(replace(r, sections=cut)).verdict == "refuted"


def test_check_refuses_a_result_that_no_step_gave():
    r = NET.derive("w_12^L").record
    assert check_record(replace(r, result=NET.derive("b_1^L").record.result)).verdict == "refuted"


def test_check_refuses_cases_that_no_step_gave():
    r = NET.derive("w_jk^l").record
    assert check_record(replace(r, cases=((r.cases[0][0], r.cases[1][1]), *r.cases[1:]))).verdict == "refuted"


def test_an_empty_record_is_not_proved():
    assert check_record(replace(NET.derive("w_12^L").record, sections=())).verdict != "proved"


def test_samples_have_all_distinct_widths():
    assert any(
        len(set(s[s.index("widths") :].replace(",", "").split()[1:])) == 4
        for s in NET.derive("w_12^L").check().samples
        if "widths" in s
    )


@pytest.mark.parametrize("sizes", [[2, 1], [2, 3, 1], [1, 3, 2], [5, 3, 1]], ids=str)
@pytest.mark.parametrize("goal", ["w_jk^l", "x_k", "w_00^1", "a_j^l"])
def test_layers_of_one_node(sizes, goal):
    d = dense(sizes, bias=True).derive(goal)
    assert d.check().verdict == "proved", d.check().line()
    assert r"\sum_{j=0}^{0}" not in d.latex() and r"\sum_{p=0}^{0}" not in d.latex()


@pytest.mark.parametrize("goal", ["da_j^L/da_k^{L-1}", "dz_j^L/dw_jk^l", "da_j^L/dw_jk^{L-1}"])
def test_a_goal_that_is_not_about_the_cost_is_right_or_refused(goal):
    try:
        d = dense().derive(goal)
    except SymbackpropError:
        return
    assert d.check().verdict == "proved"


def test_the_cases_of_a_mean_are_means():
    d = dense().derive("dC/dw_jk^l")
    assert not any("Cᵢ" not in v.text() for v in d.cases.values())


def test_binary_cross_entropy_simplifies_beside_another_activation():
    d = dense([3, 4, 2], activation=["relu", "sigmoid"], loss="binary_cross_entropy").derive("z_j^L")
    assert d.result.latex() == r"a_j^{(2)} - y_j"


def test_one_weight_shared_by_all_layers():
    for layers in (None, 3):
        net = one_width(dense_system(layers=layers))
        a = net.families["a"]
        w = Family("w", ("j", "k"), (ONE, ONE), "parameter", "shared")
        shared = Sum("k", ONE, w["j", "k"] * a[affine("l") - 1, "k"])
        tied = changed(net, "z", lambda e, rhs=shared: [replace(e, rhs=rhs)], w=w)
        r = derive(tied, Partial(Ref("C_0", ()), w["j", "k"]))
        assert check_record(r).verdict == "proved"
        assert isinstance(r.result, Sum) and r.result.axis.kind == "recursion"


def test_the_guard_of_a_sum_is_substituted_too():
    w = dense_system().families["w"]
    l = affine("l")
    s = Sum("q", node_axis(l - 1), w[l, "k", "q"], (at_least("q", "m"),))
    assert substitute(s, {"m": affine("j")}).guard == (at_least("q", "j"),)
    assert names(s) == {"l", "k", "m"}
    out = substitute(s, {"k": affine("q")})
    assert out.guard == (at_least(out.index, "m"),)


def test_two_digit_indices_read_back_from_unicode():
    goal = Partial(Ref("C_0", ()), Ref("w", (affine("L"), affine(12), affine(3))))
    assert NET.goal(NET.describe(goal)) == goal


def test_nielsens_mean_reads_back_from_unicode():
    n = load("nielsen")
    goal = n.goal(r"\frac{\partial \overline{C}}{\partial b^l_j}")
    assert n.goal(n.describe(goal)) == goal


def test_columns_count_the_text_as_given():
    with pytest.raises(SymbackpropError, match="column 8"):
        NET.goal("∂C₀/∂wⱼ@")


def test_a_lost_backslash_is_named():
    with pytest.raises(SymbackpropError, match="backslash"):
        NET.goal("frac{partial C_0}{partial w_jk^l}")


@pytest.mark.parametrize("goal,detail", [("dC/dw_12^L", "brief")])
def test_the_boxed_line_answers_the_goal(goal, detail):
    tex = load("deeplizard").derive(goal).latex(detail)
    assert next(x for x in tex.splitlines() if "boxed" in x).lstrip().startswith(r"\frac{\partial C}{")


def test_every_row_of_a_lecture_has_its_reason():
    assert r"&& \tag" not in load("3b1b-chain").derive("w^L").latex()


def test_a_square_of_an_activation_has_brackets():
    assert r"}^2" not in dense([3, 3, 2], activation="tanh").derive("w_12^1").latex("brief").replace(r"\right)^2", "")


# ---------------------------------------------------------------- numbers


def small() -> tuple[object, dict[str, list[np.ndarray]], np.ndarray, np.ndarray]:
    r = np.random.default_rng(0)
    net = dense([3, 4, 2], activation="sigmoid", bias=True)
    params = {
        "w": [r.standard_normal((4, 3)), r.standard_normal((2, 4))],
        "b": [r.standard_normal(4), r.standard_normal(2)],
    }
    return net, params, r.standard_normal(3), r.standard_normal(2)


def test_numbers_in_a_derivation_are_those_of_the_network() -> None:
    net, params, x, y = small()
    at = net.derive("w_12^1").at(params, x, y)
    assert at.value == pytest.approx(net.gradient()(params, x, y)["w"][0][1, 2], rel=1e-12)


def test_a_row_about_no_quantity_of_the_network_gets_no_numbers() -> None:
    """The definition of sigma speaks of any z; a number for it would be invented."""
    net, params, x, y = small()
    rows = [line for line in net.derive("w_12^L").at(params, x, y).text().splitlines() if "σ(z) =" in line]
    assert len(rows) == 1 and rows[0].split("the function")[0].strip() == "σ(z) = 1 / (1 + exp(−z))"


@pytest.mark.parametrize("where", [{"l": 0}, {"l": 5}, {"j": 99}, {"j": -1}, {"j": 1.5}, {"q": 1}], ids=str)
def test_positions_outside_the_network_are_refused(where: dict[str, int]) -> None:
    net, params, x, y = small()
    with pytest.raises(SymbackpropError):
        net.derive("w_jk^l").at(params, x, y, **where)


# ---------------------------------------------------------------- goals, facts, citations


def test_check_refuses_a_derivation_of_another_goal() -> None:
    record = NET.derive("w_jk^l").record
    assert check_record(replace(record, goal=NET.goal("w_12^L"))).verdict == "refuted"


def test_one_letter_for_nodes_of_two_layers_is_proved() -> None:
    assert dense().derive("w_jj^l").check().verdict == "proved"


def test_a_sympy_goal_outside_its_axis_is_refused() -> None:
    net = dense([3, 4, 2])
    with pytest.raises(SymbackpropError, match="node 77 of w is outside its axis, expected 0 to 3"):
        net.derive(net["w"][1, 77, 2])


@pytest.mark.parametrize("facts", [["sum_j y_j = 1", "sum_j y_j = 2"], "sum_j y_j = 1/0", "sum_j z_j = 1"], ids=str)
def test_facts_that_cannot_be_are_refused(facts: object) -> None:
    with pytest.raises(SymbackpropError):
        dense(loss="softmax_cross_entropy", facts=facts)


def test_a_definition_cites_the_equation_of_its_own_layer() -> None:
    net = dense([3, 4, 2], activation=["tanh", "softmax"], loss="softmax_cross_entropy")
    rows = [line for line in net.derive("w_11^1").text().splitlines() if "definition of a" in line]
    assert rows[0].endswith("(3)") and rows[1].endswith("(4)")


def test_a_cost_by_cases_keeps_no_delta() -> None:
    def pinball(a, y):
        return 0.9 * (a - y) if a > y else 0.1 * (y - a)

    d = dense(loss=pinball).derive("a_1^L")
    assert "δ" not in d.result.text() and d.check().verdict == "proved"


def test_a_saturated_single_output_stays_finite() -> None:
    net = dense([2, 3, 1], activation="sigmoid", loss="binary_cross_entropy")
    params = {"w": [np.full((3, 2), 1000.0), np.full((1, 3), 1000.0)]}
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        cost, grads = net.gradient().value_and_grad(params, np.array([1.0, 2.0]), np.array([0.0]))
    assert np.isfinite(cost) and all(np.isfinite(g).all() for g in grads["w"])


@pytest.mark.parametrize("form", ["latex", "markdown"])
def test_the_loop_of_the_backward_pass_needs_no_package(form: str) -> None:
    assert "algorithmic" not in getattr(dense().backward(), form)()


def test_the_scalar_function_of_a_network_with_cases() -> None:
    r = np.random.default_rng(0)
    params = {"w": [r.standard_normal((4, 3)), r.standard_normal((2, 4))]}
    x, y = r.standard_normal(3), r.standard_normal(2)
    net = dense([3, 4, 2], activation="leaky_relu")
    value = net.derive("w_12^1").lambdify()(params, x, y)
    assert value == pytest.approx(net.gradient()(params, x, y)["w"][0][1, 2], rel=1e-12)


@pytest.mark.parametrize("goal", ["dC/dw_12^1", "w_1^1"])
def test_the_scalar_function_of_an_array_or_a_mean_is_refused(goal: str) -> None:
    with pytest.raises(SymbackpropError, match="one entry"):
        dense([3, 4, 2], activation="tanh").derive(goal).lambdify()
