"""The formulas of the lessons come out, in their order, proved; and those of networks that no lesson shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest

from symbackprop import dense, load
from symbackprop.api import Derivation, Network
from symbackprop.check import check_record
from symbackprop.derivation import Record
from symbackprop.derive import adjoints, derive
from symbackprop.errors import GoalError
from symbackprop.indices import Axis, affine
from symbackprop.network import Equation, System, dense_system
from symbackprop.notation import DEEPLIZARD
from symbackprop.render.text import Text
from symbackprop.symbols import Call, Expr, Family, Partial, Pow, Ref, Size, Sum, Vec, expr, transform

L, l = affine("L"), affine("l")
C0 = Ref("C_0", ())


@lru_cache
def proved(model: str, goal: str | None, *changes: tuple[str, Any]) -> Derivation:
    """A derivation of a built-in model (or of `dense`), which must be proved before anything else is asked of it."""
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in changes}
    net = dense(**given) if model == "dense" else load(model, **given)
    d = net.derive(goal)
    check = d.check()
    assert check.verdict == "proved", check.line()
    return d


def plain(latex: str) -> str:
    """LaTeX without what only spaces it."""
    return re.sub(r"\s+", " ", re.sub(r"\\(left|right)(?![a-z])", "", latex).replace(r"\,", " ")).strip()


def lines(d: Derivation) -> list[str]:
    """Every line of the derivation as subject = value, each once, in order."""
    out: list[str] = []
    for s in d.steps:
        text = f"{plain(s.subject.latex())} = {plain(s.after.latex())}"
        if text not in out:
            out.append(text)
    return out


def assert_in_order(d: Derivation, wanted: list[str]) -> None:
    found = lines(d)
    place = -1
    for w in map(plain, wanted):
        assert w in found, f"{w}\nis none of\n" + "\n".join(found)
        assert found.index(w) > place, f"{w} comes too early"
        place = found.index(w)


def result(d: Derivation) -> str:
    return plain(d.result.latex())


# ---------------------------------------------------------------- deeplizard


def test_part_3_definitions_and_the_composition_of_the_cost() -> None:
    d = proved("deeplizard", "w_12^L")
    tex = plain(d.latex())
    for formula in (
        r"C_0 &= \sum_{j=0}^{n-1} (a_j^{(L)} - y_j)^2",
        r"z_j^{(l)} &= \sum_{k=0}^{n-1} w_{jk}^{(l)} a_k^{(l-1)}",
        r"a_j^{(l)} &= g^{(l)}(z_j^{(l)})",
        r"C_0 &= \sum_{j=0}^{n-1} C_{0_j}",
        r"\sum_{j=0}^{n-1} C_{0_j}(a_j^{(L)}(z_j^{(L)}(w_j^{(L)})))",
    ):
        assert plain(formula) in tex
    assert r"C_{0_j}" in d.composition()


def test_part_4_a_weight_of_the_output_layer() -> None:
    sum_out = r"(a_0^{(L)} - y_0)^2 + (a_1^{(L)} - y_1)^2 + \cdots + (a_{n-1}^{(L)} - y_{n-1})^2"
    terms = r"w_{10}^{(L)} a_0^{(L-1)} + w_{11}^{(L)} a_1^{(L-1)} + w_{12}^{(L)} a_2^{(L-1)} + \cdots + w_{1,n-1}^{(L)} a_{n-1}^{(L-1)}"
    target = r"\frac{\partial C_0}{\partial w_{12}^{(L)}}"
    cost, slope, incoming = (
        r"\frac{\partial C_0}{\partial a_1^{(L)}}",
        r"\frac{\partial a_1^{(L)}}{\partial z_1^{(L)}}",
        r"\frac{\partial z_1^{(L)}}{\partial w_{12}^{(L)}}",
    )
    assert_in_order(
        proved("deeplizard", "w_12^L"),
        [
            f"{target} = {cost} {slope} {incoming}",
            rf"{cost} = \frac{{\partial}}{{\partial a_1^{{(L)}}}} \sum_{{j=0}}^{{n-1}} (a_j^{{(L)}} - y_j)^2",
            rf"{cost} = \frac{{\partial}}{{\partial a_1^{{(L)}}}} ({sum_out})",
            rf"{cost} = 2(a_1^{{(L)}} - y_1)",
            rf"{slope} = g'^{{(L)}}(z_1^{{(L)}})",
            rf"{incoming} = \frac{{\partial}}{{\partial w_{{12}}^{{(L)}}}} \sum_{{k=0}}^{{n-1}} w_{{1k}}^{{(L)}} a_k^{{(L-1)}}",
            rf"{incoming} = \frac{{\partial}}{{\partial w_{{12}}^{{(L)}}}} ({terms})",
            rf"{incoming} = a_2^{{(L-1)}}",
            rf"{target} = 2(a_1^{{(L)}} - y_1) g'^{{(L)}}(z_1^{{(L)}}) a_2^{{(L-1)}}",
        ],
    )


def test_part_4_the_mean_over_the_samples() -> None:
    d = proved("deeplizard", "dC/dw_12^L")
    mean = r"\frac{1}{n} \sum_{i=0}^{n-1} \frac{\partial C_i}{\partial w_{12}^{(L)}}"
    assert result(d) == plain(mean)
    assert_in_order(
        d,
        [
            rf"\frac{{\partial C}}{{\partial w_{{12}}^{{(L)}}}} = {mean}",
            r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_1) g'^{(L)}(z_1^{(L)}) a_2^{(L-1)}",
        ],
    )


def test_part_5_a_weight_of_the_layer_before() -> None:
    d = proved("deeplizard", "w_22^{L-1}")
    target = r"\frac{\partial C_0}{\partial w_{22}^{(L-1)}}"
    cost = r"\frac{\partial C_0}{\partial a_2^{(L-1)}}"
    through = r"\frac{\partial z_j^{(L)}}{\partial a_2^{(L-1)}}"
    inner = r"\sum_{j=0}^{n-1} 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) w_{j2}^{(L)}"
    terms = r"w_{j0}^{(L)} a_0^{(L-1)} + w_{j1}^{(L)} a_1^{(L-1)} + w_{j2}^{(L)} a_2^{(L-1)} + \cdots + w_{j,n-1}^{(L)} a_{n-1}^{(L-1)}"
    assert_in_order(
        d,
        [
            rf"{target} = {cost} \frac{{\partial a_2^{{(L-1)}}}}{{\partial z_2^{{(L-1)}}}} \frac{{\partial z_2^{{(L-1)}}}}{{\partial w_{{22}}^{{(L-1)}}}}",
            r"\frac{\partial a_2^{(L-1)}}{\partial z_2^{(L-1)}} = g'^{(L-1)}(z_2^{(L-1)})",
            r"\frac{\partial z_2^{(L-1)}}{\partial w_{22}^{(L-1)}} = a_2^{(L-2)}",
            rf"{cost} = \sum_{{j=0}}^{{n-1}} \frac{{\partial C_0}}{{\partial a_j^{{(L)}}}} \frac{{\partial a_j^{{(L)}}}}{{\partial z_j^{{(L)}}}} {through}",
            rf"{through} = \frac{{\partial}}{{\partial a_2^{{(L-1)}}}} \sum_{{k=0}}^{{n-1}} w_{{jk}}^{{(L)}} a_k^{{(L-1)}}",
            rf"{through} = \frac{{\partial}}{{\partial a_2^{{(L-1)}}}} ({terms})",
            rf"{through} = w_{{j2}}^{{(L)}}",
            rf"{cost} = {inner}",
            rf"{target} = ({inner}) g'^{{(L-1)}}(z_2^{{(L-1)}}) a_2^{{(L-2)}}",
        ],
    )


def test_a_general_layer_is_closed_by_induction() -> None:
    d = proved("deeplizard", None)
    assert result(d) == plain(r"\frac{\partial C_0}{\partial a_j^{(l)}} g'^{(l)}(z_j^{(l)}) a_k^{(l-1)}")
    assert_in_order(
        d,
        [
            r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j)",
            r"\frac{\partial C_0}{\partial a_j^{(l)}} = \sum_{p=0}^{n-1} \frac{\partial C_0}{\partial a_p^{(l+1)}} g'^{(l+1)}(z_p^{(l+1)}) w_{pj}^{(l+1)}",
        ],
    )
    assert d.record.induction is not None
    base, step = (d.record.sections[i] for i in d.record.induction)
    assert base.case[0].equal and step.recursion and not step.case[0].equal
    assert list(d.cases) == ["l = L", "l < L"]
    assert r"\paragraph{Induction over the layers}" in d.latex()


@pytest.mark.parametrize("goal", ["w_jk^L", "w_12^L", "w_jk^{L-1}", "w_22^{L-1}", "a_2^{L-1}", "a_j^L"])
def test_no_induction_where_the_layer_is_counted_from_the_last(goal: str) -> None:
    assert proved("deeplizard", goal).record.induction is None


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        ("w_jk^L", r"2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L-1)}"),
        ("z_j^L", r"2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)})"),
        ("a_j^L", r"2(a_j^{(L)} - y_j)"),
        ("a_k^{L-1}", r"\sum_{j=0}^{n-1} 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) w_{jk}^{(L)}"),
        ("w_j^L", r"2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a^{(L-1)}"),
        ("z_j^l", r"\frac{\partial C_0}{\partial a_j^{(l)}} g'^{(l)}(z_j^{(l)})"),
        (
            "w_jk^{L-2}",
            r"(\sum_{p=0}^{n-1} \frac{\partial C_0}{\partial a_p^{(L-1)}} g'^{(L-1)}(z_p^{(L-1)}) w_{pj}^{(L-1)}) g'^{(L-2)}(z_j^{(L-2)}) a_k^{(L-3)}",
        ),
    ],
)
def test_result_of_a_goal(goal: str, wanted: str) -> None:
    assert result(proved("deeplizard", goal)) == plain(wanted)


def test_the_gradient_by_a_bias_is_that_by_its_preactivation() -> None:
    assert result(proved("dense", "b_j^L", ("bias", True))) == result(proved("deeplizard", "z_j^L"))
    assert result(proved("dense", "b_j^l", ("bias", True))) == result(proved("deeplizard", "z_j^l"))


def test_update_is_the_step_of_gradient_descent() -> None:
    d = load("deeplizard").update("w_12^L")
    assert d.check().verdict == "proved"
    assert result(d) == plain(
        r"w_{12}^{(L)} \leftarrow w_{12}^{(L)} - \eta \frac{1}{n} \sum_{i=0}^{n-1} \frac{\partial C_i}{\partial w_{12}^{(L)}}"
    )


@pytest.mark.parametrize("goal", ["a_j^L", "w_j^l"])
def test_gradient_descent_changes_single_parameters_only(goal: str) -> None:
    with pytest.raises(GoalError):
        dense().update(goal)


# ---------------------------------------------------------------- 3Blue1Brown

CHAIN = [
    r"\frac{\partial C_0}{\partial w^{(L)}} = \frac{\partial z^{(L)}}{\partial w^{(L)}} \frac{\partial a^{(L)}}{\partial z^{(L)}} \frac{\partial C_0}{\partial a^{(L)}}",
    r"\frac{\partial C_0}{\partial a^{(L)}} = 2(a^{(L)} - y)",
    r"\frac{\partial a^{(L)}}{\partial z^{(L)}} = \sigma'(z^{(L)})",
    r"\frac{\partial z^{(L)}}{\partial w^{(L)}} = a^{(L-1)}",
    r"\frac{\partial C_0}{\partial w^{(L)}} = a^{(L-1)} \sigma'(z^{(L)}) 2(a^{(L)} - y)",
]


def test_chain_of_single_neurons() -> None:
    d = proved("3b1b-chain", "w^L")
    assert_in_order(d, CHAIN)
    tex = plain(d.latex())
    for formula in (
        r"C_0 &= (a^{(L)} - y)^2",
        r"z^{(l)} &= w^{(l)} a^{(l-1)} + b^{(l)}",
        r"a^{(l)} &= \sigma(z^{(l)})",
    ):
        assert plain(formula) in tex
    assert r"\sum" not in tex


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        ("b^L", r"\sigma'(z^{(L)}) 2(a^{(L)} - y)"),
        ("a^{L-1}", r"w^{(L)} \sigma'(z^{(L)}) 2(a^{(L)} - y)"),
        ("w^{L-1}", r"a^{(L-2)} \sigma'(z^{(L-1)}) w^{(L)} \sigma'(z^{(L)}) 2(a^{(L)} - y)"),
        ("dC/dw^L", r"\frac{1}{n} \sum_{i=0}^{n-1} \frac{\partial C_i}{\partial w^{(L)}}"),
    ],
)
def test_chain_of_single_neurons_by_the_others(goal: str, wanted: str) -> None:
    assert result(proved("3b1b-chain", goal)) == plain(wanted)


def test_chapter_4_with_indices() -> None:
    assert result(proved("3b1b", "w_jk^L")) == plain(r"a_k^{(L-1)} \sigma'(z_j^{(L)}) 2(a_j^{(L)} - y_j)")
    d = proved("3b1b", "a_k^{L-1}")
    found = lines(d)
    assert any(
        re.fullmatch(
            r"\\frac\{\\partial C_0\}\{\\partial a_k\^\{\(L-1\)\}\} = \\sum_\{j=0\}\^\{[^}]*(?:\}[^}]*)?\} "
            r"\\frac\{\\partial z_j\^\{\(L\)\}\}\{\\partial a_k\^\{\(L-1\)\}\} \\frac\{\\partial a_j\^\{\(L\)\}\}\{\\partial z_j\^\{\(L\)\}\} "
            r"\\frac\{\\partial C_0\}\{\\partial a_j\^\{\(L\)\}\}",
            line,
        )
        for line in found
    ), "\n".join(found)


# ---------------------------------------------------------------- Nielsen


def test_nielsen_bp1_to_bp4() -> None:
    d = proved("nielsen-general", "w_jk^l")
    assert_in_order(
        d,
        [
            r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j)",
            r"\delta^l_j = (\sum_p w^{l+1}_{pj} \delta^{l+1}_p) \sigma'(z^l_j)",
            r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j",
        ],
    )
    assert result(proved("nielsen-general", "b_j^l")) == r"\delta^l_j"
    assert d.record.induction is not None


def test_nielsen_with_the_quadratic_cost() -> None:
    d = proved("nielsen", "delta_j^l")
    assert list(map(plain, (v.latex() for v in d.cases.values()))) == [
        plain(r"(a^L_j - y_j) \sigma'(z^L_j)"),
        plain(r"(\sum_p w^{l+1}_{pj} \delta^{l+1}_p) \sigma'(z^l_j)"),
    ]
    assert result(proved("nielsen", "w_12^L")) == plain(r"a^{L-1}_2 \delta^L_1")
    assert result(proved("nielsen", "delta_j^L")) == plain(r"(a^L_j - y_j) \sigma'(z^L_j)")


@pytest.mark.parametrize("model", ["deeplizard", "3b1b", "nielsen", "nielsen-general"])
def test_whole_backward_pass_is_proved(model: str) -> None:
    b = load(model).backward()
    assert b.check().verdict == "proved"
    assert len(b.equations) >= 2


# ---------------------------------------------------------------- costs and activations


def test_softmax_cross_entropy_uses_its_fact_and_says_so() -> None:
    d = proved("softmax", "z_j^L")
    assert result(d) == r"a_j^{(L)} - y_j"
    assert [s.rule for s in d.steps].count("declared fact") == 1
    assert "declared fact" in d.latex()
    assert d.check().facts


def test_softmax_cross_entropy_without_the_fact_ends_in_what_is_true_without_it() -> None:
    d = proved("dense", "z_j^L", ("loss", "softmax_cross_entropy"), ("activation", "sigmoid"), ("facts", ()))
    assert result(d) in (
        plain(r"a_j^{(L)} \sum_{r=0}^{n-1} y_r - y_j"),
        plain(r"(a_j^{(L)} \sum_{r=0}^{n-1} y_r) - y_j"),
    )
    assert "declared fact" not in [s.rule for s in d.steps]
    assert not d.check().facts


def test_jacobian_of_softmax_comes_out_of_the_engine() -> None:
    d = proved("softmax", "z_j^L")
    assert plain(r"\frac{\partial a_r^{(L)}}{\partial z_j^{(L)}} = a_r^{(L)} (\delta_{rj} - a_j^{(L)})") in lines(d)


def test_binary_cross_entropy_after_a_sigmoid() -> None:
    d = proved("dense", "z_j^L", ("loss", "binary_cross_entropy"), ("activation", "sigmoid"))
    assert result(d) == r"a_j^{(L)} - y_j"
    by_output = proved("dense", "a_j^L", ("loss", "binary_cross_entropy"), ("activation", "sigmoid"))
    assert result(by_output) == plain(r"\frac{1 - y_j}{1 - a_j^{(L)}} - \frac{y_j}{a_j^{(L)}}")


def test_a_generic_cost_keeps_its_gradient_as_a_name() -> None:
    d = proved("dense", "w_jk^L", ("loss", "generic"))
    assert result(d) == plain(r"\frac{\partial C}{\partial a_j^{(L)}} g'^{(L)}(z_j^{(L)}) a_k^{(L-1)}").replace(
        r"\partial C}", r"\partial C_0}"
    )


@pytest.mark.parametrize("loss", ["half_sum_squares", "mean_squares", "sum_absolute", "huber"])
def test_every_cost_is_proved(loss: str) -> None:
    proved("dense", "z_j^L", ("loss", loss))


@pytest.mark.parametrize(
    "activation",
    ["identity", "same", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh", "softmax"],
)
def test_every_activation_is_proved(activation: str) -> None:
    proved("dense", "z_j^L", ("activation", activation))


def test_a_different_activation_in_each_layer() -> None:
    d = proved("dense", "w_jk^1", ("sizes", (3, 4, 2)), ("activation", ("tanh", "sigmoid")))
    # Each layer has the slope of its own activation, in terms of that layer's output.
    assert "(1 - (a_j^{(1)})^2)" in result(d) and "a_p^{(2)} (1 - a_p^{(2)})" in result(d)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "sizes",
    [
        (("sizes", (3, 4, 2)),),
        (("sizes", ("n", 3, "m")),),
        (("sizes", (None, None)),),
        (("layers", 1),),
        (("layers", 2),),
        (("layers", 3),),
        (("width", 4),),
        (("layers", 2), ("width", 3)),
        (("layers", 3), ("width", 1)),
        (),
    ],
    ids=str,
)
@pytest.mark.parametrize("goal", ["w_jk^l", "a_j^{L-1}"])
def test_depth_and_widths_may_each_be_letters_or_numbers(sizes: tuple[Any, ...], goal: str) -> None:
    proved("dense", goal, ("bias", True), *sizes)


def test_sums_of_a_concrete_size_are_written_out_whole() -> None:
    tex = plain(proved("dense", "w_12^2", ("sizes", (3, 3, 2))).latex())
    assert plain(r"w_{10}^{(2)} a_0^{(1)} + w_{11}^{(2)} a_1^{(1)} + w_{12}^{(2)} a_2^{(1)}") in tex
    assert r"\cdots" not in tex


@pytest.mark.parametrize("goal", ["x_k", "w_00^1", "a_j^0"])
def test_the_first_layer_of_a_concrete_network(goal: str) -> None:
    assert "x" not in proved("dense", goal, ("sizes", (3, 4, 2))).cases


@pytest.mark.parametrize("goal", ["x_k", "w_12^1", "w_jk^2"])
def test_a_layer_counted_from_the_first_in_a_network_of_any_depth(goal: str) -> None:
    assert proved("deeplizard", goal).record.induction is not None


@pytest.mark.parametrize("model", ["deeplizard", "3b1b"])
def test_no_equation_of_the_backward_pass_uses_a_layer_above_the_last(model: str) -> None:
    """The gradient by w^(L) has no layer L+1 to refer to."""
    weights = [
        (a, b) for a, b in load(model).backward().equations if a.latex().startswith(r"\frac{\partial C_0}{\partial w")
    ]
    assert weights and not any("l+1" in b.latex() for _, b in weights)


@pytest.mark.parametrize(
    ("model", "changes"),
    [("nielsen-general", ("activation", "sigmoid")), ("dense", ("loss", "softmax_cross_entropy"))],
)
def test_generic_functions_beside_transcendental_ones(model: str, changes: tuple[str, Any]) -> None:
    proved(model, "w_jk^l", changes)


def test_latex_of_the_backward_pass_grows_linearly_with_distinct_layers() -> None:
    """32 layers with 32 functions: each layer's lines once."""

    def length(depth: int) -> int:
        names = ["tanh", "sigmoid", "softplus", "silu"]
        net = dense([2 + i % 3 for i in range(depth + 1)], activation=[names[i % 4] for i in range(depth)])
        return sum(len(net.derive(f"z_j^{i}").result.latex()) for i in range(depth, depth - 3, -1)) + len(
            str(adjoints(net.system))
        )

    one, two, four = length(8), length(16), length(32)
    assert 0.6 <= two / one <= 2.6 and 0.6 <= four / two <= 2.6


def test_latex_of_a_deep_derivation_grows_linearly() -> None:
    lengths = []
    for depth in (8, 16, 32):
        d = dense(layers=depth, activation=["tanh", "sigmoid"] * (depth // 2)).derive("w_jk^1")
        from symbackprop.derivation import Detail
        from symbackprop.render import formats
        from symbackprop.render.document import build

        lengths.append(len(formats.latex(build(d.record, DEEPLIZARD, Detail.LECTURE), False)))
    assert 1.5 < lengths[1] / lengths[0] < 2.4 and 1.5 < lengths[2] / lengths[1] < 2.4


def test_a_derivation_of_any_depth_takes_as_many_steps_as_kinds_of_layer() -> None:
    steps = [len(dense(layers=n).derive("w_jk^l").steps) for n in (3, 30, 300)]
    assert steps[0] == steps[1] == steps[2]


# ---------------------------------------------------------------- networks that no lesson shows

ONE = Axis("node", "n", affine(0))  # one width for all layers


def one_width(system: System) -> System:
    """The same network with every layer on one axis, as residual and tied networks need."""

    def go(p: Expr) -> Expr:
        if isinstance(p, Sum | Vec) and p.axis.kind == "node":
            return replace(p, axis=ONE)
        return Size(ONE) if isinstance(p, Size) and p.axis.kind == "node" else p

    families = {
        n: replace(f, axes=tuple(ONE if x.kind == "node" else x for x in f.axes)) for n, f in system.families.items()
    }
    equations = tuple(replace(e, rhs=transform(e.rhs, go)) for e in system.equations)
    return System(families, equations, system.cost, system.layers, system.widths, mean=system.mean)


def changed(system: System, family: str, f: Callable[[Equation], list[Equation]], **families: Family) -> System:
    equations = tuple(new for e in system.equations for new in (f(e) if e.lhs.family == family else [e]))
    return System({**system.families, **families}, equations, "C_0", system.layers, system.widths, mean=system.mean)


def derived(system: System, goal: Ref) -> tuple[Record, str]:
    record = derive(system, Partial(C0, goal))
    check = check_record(record)
    assert check.verdict == "proved", check.line()
    return record, Text(system, DEEPLIZARD)(record.result)


def values(record: Record) -> list[str]:
    t = Text(record.system, DEEPLIZARD)
    return [f"{t(s.subject)} = {t(s.result)}" for s in record.sections]


def residual(layers: int | None) -> System:
    net = one_width(dense_system(layers=layers))
    a = net.families["a"]
    return changed(net, "a", lambda e: [replace(e, rhs=e.rhs + a[l - 1, "j"]) if isinstance(e.rhs, Call) else e])


@pytest.mark.parametrize("layers", [None, 2, 3])
def test_residual_connection_has_both_paths(layers: int | None) -> None:
    record, _ = derived(
        residual(layers), dense_system().families["a"][affine("L") - 1 if layers is None else layers - 1, "j"]
    )
    top = "ᴸ" if layers is None else "⁰¹²³"[layers]
    assert any(
        v.endswith(f"Σₚ₌₀ⁿ⁻¹ 2(aₚ⁽{top}⁾ − yₚ) · g′⁽{top}⁾(zₚ⁽{top}⁾) · wₚⱼ⁽{top}⁾ + 2(aⱼ⁽{top}⁾ − yⱼ)")
        for v in values(record)
    ), values(record)


def test_residual_connection_of_a_general_layer_has_both_paths() -> None:
    record, _ = derived(residual(None), dense_system().families["w"]["l", "j", "k"])
    assert "∂C₀/∂aⱼ⁽ˡ⁾ = Σₚ₌₀ⁿ⁻¹ ∂C₀/∂aₚ⁽ˡ⁺¹⁾ · g′⁽ˡ⁺¹⁾(zₚ⁽ˡ⁺¹⁾) · wₚⱼ⁽ˡ⁺¹⁾ + ∂C₀/∂aⱼ⁽ˡ⁺¹⁾" in values(record)
    assert record.induction is not None


SHARED = Family("w", ("j", "k"), (ONE, ONE), "parameter", "weight shared by two layers")


def tied(transposed: bool) -> System:
    net = one_width(dense_system(layers=2))
    z, a = net.families["z"], net.families["a"]
    second = SHARED["k", "j"] if transposed else SHARED["j", "k"]
    return changed(
        net,
        "z",
        lambda e: [
            Equation(z[1, "j"], Sum("k", ONE, SHARED["j", "k"] * a[0, "k"])),
            Equation(z[2, "j"], Sum("k", ONE, second * a[1, "k"])),
        ],
        w=SHARED,
    )


@pytest.mark.parametrize("goal", [SHARED["j", "k"], SHARED[1, 2], SHARED[1, 1]], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_tied_weights_have_a_term_for_each_equation(goal: Ref, transposed: bool) -> None:
    record, shown = derived(tied(transposed), goal)
    assert len(getattr(record.result, "terms", ())) == 2, shown
    assert "⁽⁰⁾" in shown and "a" in shown


def test_tied_weights_of_an_autoencoder() -> None:
    _, shown = derived(tied(True), SHARED["j", "k"])
    assert shown.endswith("· aₖ⁽⁰⁾ + 2(aₖ⁽²⁾ − yₖ) · g′⁽²⁾(zₖ⁽²⁾) · aⱼ⁽¹⁾")


@pytest.mark.parametrize("layers", [None, 2, 3])
def test_one_weight_for_all_layers_has_a_term_for_each(layers: int | None) -> None:
    net = one_width(dense_system(layers=layers))
    a = net.families["a"]
    system = changed(net, "z", lambda e: [replace(e, rhs=Sum("k", ONE, SHARED["j", "k"] * a[l - 1, "k"]))], w=SHARED)
    record, shown = derived(system, SHARED["j", "k"])
    assert isinstance(record.result, Sum) and record.result.axis.kind == "recursion", shown


def diamond() -> System:
    families = {
        n: Family(n, ("j",), (ONE,), kind)  # type: ignore[arg-type]
        for n, kind in (
            ("w", "parameter"),
            ("u", "derived"),
            ("p", "derived"),
            ("q", "derived"),
            ("x", "input"),
            ("y", "target"),
        )
    }
    families["C_0"] = Family("C_0", (), (), "cost")
    u, p, q, w, x, y = (families[n] for n in "upqwxy")
    return System(
        families,
        (
            Equation(C0, Sum("j", ONE, Pow(p["j"] * q["j"] - y["j"], expr(2)))),
            Equation(p["j"], Call("f", (u["j"],))),
            Equation(q["j"], Call("h", (u["j"],))),
            Equation(u["j"], w["j"] * x["j"]),
        ),
        "C_0",
        affine(3),
        (3, 3, 3, 3),
    )


@pytest.mark.parametrize(("goal", "factor"), [("w", "xⱼ"), ("x", "wⱼ")])
def test_diamond_has_both_paths(goal: str, factor: str) -> None:
    _record, shown = derived(diamond(), diamond().families[goal]["j"])
    both = "2(pⱼ · qⱼ − yⱼ) · qⱼ · f′(uⱼ) + 2(pⱼ · qⱼ − yⱼ) · pⱼ · h′(uⱼ)"
    assert shown == f"({both}) · {factor}"


def test_a_dropped_path_is_refused() -> None:
    """What the tests above rest on: without one of the two terms the check says no."""
    record, _ = derived(diamond(), diamond().families["u"]["j"])
    last = record.sections[-1]
    step = last.steps[-1]
    assert hasattr(step.after, "terms")
    steps = (*last.steps[:-1], replace(step, after=step.after.terms[0]))
    bad = check_record(replace(record, sections=(*record.sections[:-1], replace(last, steps=steps))))
    assert bad.verdict == "refuted" and any(s.left for s in bad.steps)


def test_a_cost_that_does_not_depend_on_a_quantity_has_nothing_to_derive() -> None:
    with pytest.raises(GoalError, match="nothing to derive"):
        derive(dense_system(), Partial(Ref("z", (L, affine("j"))), dense_system().families["y"]["j"]))


def test_a_network_is_not_changed_by_what_is_derived_from_it() -> None:
    net: Network = dense([3, 4, 2])
    before = net.system.digest
    net.derive("w_jk^l").check()
    assert net.system.digest == before == dense([3, 4, 2]).system.digest
