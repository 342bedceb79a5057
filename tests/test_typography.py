"""What a reader sees: ranges, letters, long lines, rows that a brief rendering needs, pages without switches."""

from __future__ import annotations

import re

import pytest

from symbackprop import Network, load
from symbackprop.errors import ModelError
from symbackprop.models import models
from symbackprop.render.formats import width
from symbackprop.render.lines import broken, places, set_width
from symbackprop.symbols import Partial, bound, walk

SCORES = r"""
A_{qk} &= \frac{1}{\sqrt{D}} \sum_{r=1}^{D} X_{qr} Y_{kr} \\
B_{qk} &= \frac{\exp(A_{qk})}{\sum_{k'=1}^{N} \exp(A_{qk'})} \\
Z_{qm} &= \sum_{k=1}^{N} B_{qk} V_{km}
"""


# ---------------------------------------------------------------- letters and indices


@pytest.mark.parametrize("name, goal", [("rnn", "h_0"), ("lstm", "h_0"), ("gru", "W_r")])
def test_where_a_recurrence_begins_is_written_with_its_time(name: str, goal: str) -> None:
    net = load(name)
    assert "h_{0_" not in net.derive(goal).latex() and "h_0_" not in net.overview()
    assert not re.search(r"∂h₀\S*/∂h₀", net.derive(goal).text())  # no row says that h_0 is itself


def test_the_gradient_by_a_beginning_is_boxed() -> None:
    assert r"h_{0j}} &= \boxed{\sum_{p=1}^{J}" in load("rnn").derive("h_0").latex("brief")
    assert r"h_{0nj}} &= \boxed{" in load("lstm").derive("h_0").latex("brief")


def test_an_index_with_a_subscript_is_set_off_by_a_comma() -> None:
    net = load("attention")
    sums = {str(s.written_out.latex()) for s in net.derive("Q").sums()}
    assert any(r"P_{i,n_j}" in s for s in sums)


def test_bound_letters_are_letters() -> None:
    for name in ("transformer", "transformer-block", "multi-head-attention"):
        for _, value in load(name).backward().equations:
            assert not any(re.search(r"\d", letter) for letter in bound(value.expression))


def test_a_note_names_the_letter_that_its_line_shows() -> None:
    for name in ("lasso", "attention", "rnn", "multi-head-attention", "conv2d", "mlp"):
        for section in load(name).derive().record.sections:
            for n, step in enumerate(section.steps):
                later = [t.after for t in section.steps[n:] if t is step or t.rule == "rename the summed index"]
                for new in re.findall(r"renamed \{([^}]*)\}", step.note):
                    assert any(new in bound(e) for e in later)


# ---------------------------------------------------------------- ranges under a sign


def test_a_condition_under_a_sum_leaves_its_range() -> None:
    d = load("conv1d").derive("w")
    assert r"\sum_{\substack{i=0 \\ 0 \le si+k-p < M}}^{I-1}" in d.latex("brief")
    assert "Σ_{i=0..I-1, 0 ≤ si+k-p < M}" in d.text("brief")


def test_a_definition_is_printed_as_its_author_padded_it() -> None:
    text = load("conv1d").derive("w").text("brief")
    assert "y_boi = Σ_c Σₖ₌₀ᴷ⁻¹ w_ock" in text and "x_bcu is 0 where an index is outside its range." in text


# ---------------------------------------------------------------- rows of a brief rendering


@pytest.mark.parametrize("name", ["attention", "lstm", "gru", "transformer", "transformer-block", "vae", "mlp"])
def test_brief_closes_over_the_gradients_that_it_names(name: str) -> None:
    d = load(name).derive()
    rows = [r for b in d._document("brief", d.network.notation, False).blocks for r in getattr(b, "rows", ())]
    rows = [r for r in rows if r.why != ("chain rule",)]
    found = {r.left.bottom.family for r in rows if isinstance(r.left, Partial)}
    needed = {p.bottom.family for r in rows if r.left for _, p in walk(r.right) if isinstance(p, Partial) and not p.direct and not p.top.indices}  # fmt: skip
    assert needed <= found


def test_only_lines_with_results_are_cited() -> None:
    text = load("lasso").derive("w").text("brief")
    assert "substitute (3)" not in text and "each factor differentiated; cancel" in text


# ---------------------------------------------------------------- long lines


@pytest.mark.parametrize("name", sorted(models()))
@pytest.mark.parametrize("detail", ["brief", "lecture"])
def test_no_line_is_longer_than_the_terminal(name: str, detail: str) -> None:
    assert max(map(width, load(name).derive().text(detail).splitlines())) <= 100


def test_the_reasons_wrap() -> None:
    text = load("attention").derive("S_ij", given=["P", "O"]).text()
    assert max(map(width, text.splitlines())) <= 100
    assert max(map(width, load("gru").derive().text(columns=80).splitlines())) <= 80


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer", "infonce", "tied-autoencoder"])
def test_latex_is_broken_where_brackets_are_balanced(name: str) -> None:
    for line in load(name).derive().latex().split(r"\\"):
        assert line.count(r"\left") == line.count(r"\right") or r"\leftarrow" in line


def test_a_formula_is_broken_at_its_signs() -> None:
    latex = r"a\, b + \left(c + d\right) - \frac{x + y}{z}"
    assert [latex[n] for n, depth, kind in places(latex) if kind == 1 and depth == 0] == ["+", "-"]
    parts = broken(latex, 30, 60)
    assert parts == [r"a\, b", r"{}+ \left(c + d\right)", r"{}- \frac{x + y}{z}"]
    assert all(set_width(p) <= 60 for p in parts)


def test_a_bracket_that_is_broken_is_closed_on_each_line() -> None:
    assert broken(r"\left(aaaa + bbbb\right)", 40, 60) == [r"\left(aaaa\right.", r"\left.{}+ bbbb\right)"]


# ---------------------------------------------------------------- another author's notation


def test_goals_are_read_in_the_notation_that_is_printed() -> None:
    other = Network.from_latex(SCORES)
    net = load("attention").in_notation(other)
    for goal in ("A_qk", "A", r"\frac{\partial C}{\partial A_{qk}}"):
        d = net.derive(goal)
        assert str(d).startswith("Derivation of ∂C/∂A_qk")
        assert re.fullmatch(r"B_qk · \(∂C/∂B_qk − Σ(\S)₌₁ᴺ ∂C/∂B_q(\S) · B_q\S\)", str(d.result))
    assert str(net.derive("X_qr").result) == "Σₖ₌₁ᴺ ∂C/∂A_qk · (Yₖᵣ/√(D))"
    assert str(net.derive("A_12").result).startswith("B₁₂ · ")


def test_a_letter_that_two_models_share_means_what_is_printed() -> None:
    one = Network.from_latex(
        r"A_{ij} &= \sum_{k=1}^{K} B_{ik} W_{kj} \\ C &= \sum_{i=1}^{I} \sum_{j=1}^{J} (A_{ij} - y_{ij})^2"
    )
    other = Network.from_latex(
        r"B_{rs} &= \sum_{t=1}^{T} A_{rt} V_{ts} \\ E &= \sum_{r=1}^{R} \sum_{s=1}^{S} (B_{rs} - y_{rs})^2"
    )
    net = one.in_notation(other)
    for goal in ("A_rt", "A"):
        assert str(net.derive(goal).result) == "Σₛ 2(Bᵣₛ − yᵣₛ) · Vₜₛ"


# ---------------------------------------------------------------- what model files may say

SOFTMAX = (
    r"z_{ik} &= \sum_{j=1}^{J} w_{kj} x_{ij} \\ p_{ik} &= %s \\ C &= -\sum_{i=1}^{N} \sum_{k=1}^{K} y_{ik} \log p_{ik}"
)


@pytest.mark.parametrize(
    "softmax",
    [r"\operatorname{softmax}(z_i)_k", r"\operatorname{softmax}_k(z_{ik})", r"\operatorname{softmax}(z)_{ik}"],
)
def test_softmax_over_an_axis(softmax: str) -> None:
    system = Network.from_latex(SOFTMAX % softmax).system
    written = r"\frac{e^{z_{ik}}}{\sum_{q=1}^{K} e^{z_{iq}}}"
    assert {e.lhs.family for e in system.equations} == {"z", "p", "C"}
    if softmax.endswith("ik})") or softmax.endswith("_k"):
        assert str(Network.from_latex(SOFTMAX % softmax).derive().result) == str(
            Network.from_latex(SOFTMAX % written).derive().result
        )


def test_softmax_of_a_number_is_refused_with_advice_that_fits() -> None:
    with pytest.raises(ModelError, match=re.escape("softmax_k(z_{ik}), or leave that index out: softmax(z_i)_k")):
        Network.from_latex(SOFTMAX % r"\operatorname{softmax}(z_{ik})")
    with pytest.raises(ModelError, match=re.escape("z has no index in this file")):
        Network.from_latex(r"p_k &= \operatorname{softmax}(z)_k \\ C &= \sum_{k=1}^{K} p_k^2")


@pytest.mark.parametrize("unit", [r"\text{%s}", r"\mathrm{%s}"])
def test_units_in_words(unit: str) -> None:
    up, down = unit % "in", unit % "out"
    net = Network.from_latex(
        rf"h_k &= \tanh\left(\sum_{{j=1}}^{{J}} W^{{{up}}}_{{kj}} x_j\right) \\ p_i &= \sum_{{k=1}}^{{K}} W^{{{down}}}_{{ik}} h_k"
        r" \\ C &= \sum_{i=1}^{I} (p_i - y_i)^2"
    )
    assert net.system.parameters == ("W_in", "W_out")
    assert str(net.derive("W_out").result) == "2(pᵢ − yᵢ) · hₖ"


# ---------------------------------------------------------------- overviews and pages


def test_what_an_overview_says_of_where_things_come_from() -> None:
    from sympy import Eq, Sum

    from symbackprop.equations import families, indices, sizes

    nielsen = load("nielsen").overview()
    assert "cost of sample x" in nielsen and re.search(r"xⱼ +value of input node j \(added: the +j", nielsen)
    assert re.search(r"\ns +any whole number from 1\np +any whole number\n", load("conv1d").overview())
    j, J, (C, a, y) = indices("j"), sizes("J"), families("C a y")
    text = Network.from_equations([Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, J)))]).overview()
    assert "equation 1" in text and "line" not in text


def test_a_page_without_details_has_no_switch() -> None:
    assert 'name="detail"' not in load("attention").matrix().html()
    assert 'name="detail"' in load("attention").derive().html()
