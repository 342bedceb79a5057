"""Any model in the look of its own notation: heads, families, counting, ranges; documents; model files."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from conftest import Golden
from systems import BUILDERS, Model, conv1d, embedding, family, heads, node, ref, rnn, system, total, written
from test_html import Page, refused

from symbackprop import dense
from symbackprop.derivation import Detail
from symbackprop.derive import derive
from symbackprop.errors import GoalError
from symbackprop.indices import Affine, affine, at_least, between, equals
from symbackprop.models import find_notation
from symbackprop.network import Equation, dense_system, with_upstream
from symbackprop.notation import DEEPLIZARD, Notation, Written
from symbackprop.numbers import numeric_instance
from symbackprop.render import formats
from symbackprop.render.document import build
from symbackprop.render.html import html
from symbackprop.render.latex import Latex
from symbackprop.render.model import model_text
from symbackprop.render.overview import overview
from symbackprop.render.text import Ascii, Text
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Partial,
    Position,
    Prod,
    Ref,
    Size,
    Sum,
    Where,
    Winner,
    WrittenOut,
    expr,
)

NIELSEN = find_notation("nielsen")

N, K = node("N"), node("K")
FROM_0, FROM_1 = Notation("from 0", "", width="n_l"), Notation("from 1", "", first=1, width="n_l")


def plain_system() -> Model:
    """Families over N and K that no equation ties together."""
    labels = replace(family("y", "i", (N,), "target"), over=K)
    families = [
        labels,
        family("f", "i k", (N, K), "input"),
        family("x", "i", (N,), "input"),
        family("u", "i", (N,), "derived"),
    ]
    return system(families, [Equation(ref("u", "i"), ref("x", "i"))], integers=("p", "s")), FROM_0


def latex(e: Expr, notation: Notation = FROM_0) -> str:
    return Latex(plain_system()[0], notation)(e)


def text(e: Expr, notation: Notation = FROM_0) -> str:
    return Text(plain_system()[0], notation)(e)


# ---------------------------------------------------------------- equations of whole models


@pytest.mark.parametrize("name", BUILDERS)
def test_equations(name: str, golden: Golden) -> None:
    s, notation = BUILDERS[name]()
    lines = []
    for kind in (Latex, Text, Ascii):
        p = kind(s, notation)
        for e in s.equations:
            condition = f"   ({p.constraints(e.guard)})" if e.guard else ""
            lines.append(f"{p(e.lhs)} = {p(e.rhs)}{condition}")
        lines.append("")
    golden.check(f"equations.{name}.txt", "\n".join(lines).rstrip())


@pytest.mark.parametrize("name", BUILDERS)
def test_model_files(name: str, golden: Golden) -> None:
    golden.check(f"model.{name}.tex", model_text(*BUILDERS[name]()))


def test_the_model_file_of_a_model_with_an_upstream_gradient_is_the_model_s_own() -> None:
    s, notation = BUILDERS["attention"]()
    assert model_text(with_upstream(s), notation) == model_text(s, notation)


def test_the_model_files_of_the_lessons() -> None:
    nielsen = dense_system(bias=True, activation="same", loss="half_sum_squares")
    assert model_text(nielsen, replace(NIELSEN, title="")).splitlines() == [
        "%| source M. Nielsen, Neural Networks and Deep Learning (2015), chapter 2",
        "%| l = 1..L",
        r"%| gradient z: \delta",
        "%| order incoming upstream slope",
        "%| sample x",
        r"C &= \frac{1}{2} \sum_j \left(a^L_j - y_j\right)^2 \\",
        r"z^l_j &= \sum_k w^l_{jk} a^{l-1}_k + b^l_j \\",
        r"a^l_j &= \sigma\left(z^l_j\right)",
    ]
    softmax = model_text(dense_system(activation="sigmoid", loss="softmax_cross_entropy"), DEEPLIZARD)
    assert r"%| fact \sum_j y_j = 1" in softmax
    assert r"a_j^{(l)} &= \sigma\left(z_j^{(l)}\right) \qquad (1 \le l < L) \\" in softmax
    assert r"a_j^{(L)} &= \frac{" in softmax
    assert softmax.endswith("\\sigma(u) &= \\frac{1}{1 + e^{-u}}\n")


def test_numbers_for_sizes_are_declared_and_letters_stand_in_the_equations() -> None:
    s, notation = BUILDERS["attention"]()
    sized = model_text(replace(s, sizes={"d": 64}, spec=""), notation)
    assert "%| size d = 64\n" in sized
    assert r"\sum_{c=1}^{d}" in sized
    assert r"\sum_{c=1}^{64}" in Latex(replace(s, sizes={"d": 64}, spec=""), notation)(s.equations[0].rhs)


# ---------------------------------------------------------------- heads


def test_a_maximum_shows_its_range_below() -> None:
    m = Max("k", K, ref("f", "i", "k"))
    assert latex(m) == r"\max_{0 \le k < K} f_{ik}"
    assert latex(m, FROM_1) == r"\max_{1 \le k \le K} f_{ik}"
    assert latex(m, replace(FROM_1, width="none")) == r"\max_k f_{ik}"
    assert latex(Max("j", N, ref("x", "j"), (at_least("i", "j"),)), FROM_1) == r"\max_{1 \le j \le i} x_j"
    assert text(m) == "maxₖ fᵢₖ"


def test_a_maximum_is_bracketed_where_something_follows() -> None:
    m = Max("k", K, ref("f", "i", "k"))
    assert latex(Mul((m, ref("x", "i"))), replace(FROM_1, width="none")) == r"\left(\max_k f_{ik}\right)\, x_i"
    assert latex(ref("x", "i") - m, replace(FROM_1, width="none")) == r"x_i - \max_k f_{ik}"


def test_a_product_over_an_index() -> None:
    assert latex(Prod("i", N, 1 + ref("x", "i")), FROM_1) == r"\prod_{i=1}^{N} \left(1 + x_i\right)"
    assert text(Prod("i", N, 1 + ref("x", "i")), FROM_1) == "Πᵢ₌₁ᴺ (1 + xᵢ)"


def test_a_winner_has_an_index_of_its_own() -> None:
    w = Winner(Max("k", K, ref("f", "i", "k")), affine("k"))
    assert latex(w) == r"\mathbf{1}\!\left[k = \operatorname*{arg\,max}_{k'} f_{ik'}\right]"
    assert text(w) == "[k = argmaxₖ′ fᵢₖ′]"
    assert latex(Winner(Max("p", K, ref("f", "i", "p")), affine(2)), FROM_1) == (
        r"\mathbf{1}\!\left[3 = \operatorname*{arg\,max}_p f_{ip}\right]"
    )


def test_a_condition_before_a_factor() -> None:
    at = affine("m") - affine("s") * affine("i") + affine("p")
    inside = Guarded(ref("x", "i"), between(0, at, affine("K") - 1))
    assert latex(inside) == r"\left[0 \le m-si+p < K\right]\, x_i"
    assert text(inside) == "[0 ≤ m-si+p < K] · xᵢ"
    assert latex(Guarded(ONE, (at_least("i", "j"),))) == r"\mathbf{1}\!\left[j \le i\right]"
    assert latex(Guarded(ref("x", "i"), ())) == "x_i"


def test_a_chain_counts_as_the_axis_of_its_size_does() -> None:
    p = Latex(plain_system()[0], FROM_1)
    at = affine("i") + affine("k") - affine("p")
    assert p.constraints(between(0, at, affine("K") - 1)) == r"1 \le i+k-p-1 \le K"
    assert p.constraints(tuple(reversed(between(0, at, affine("K") - 1)))) == r"1 \le i+k-p-1 \le K"
    assert p.constraints(between(0, "i", affine("N") - 1)) == r"1 \le i \le N"


def test_conditions_that_do_not_belong_together_stand_apart() -> None:
    p = Latex(plain_system()[0], FROM_0)
    assert p.conditions((at_least("i", "j"), at_least("k", affine("j") + 1))) == [r"j \le i", "j < k"]
    assert p.conditions((equals("i", "N"), at_least("i", 1), at_least("i", "j"))) == ["i = N", r"j \le i"]


def test_a_guard_on_a_sum_moves_its_limits_where_it_is_a_bound() -> None:
    x = ref("x", "j")
    assert latex(Sum("j", N, x, (at_least("i", "j"),)), FROM_1) == r"\sum_{j=1}^{i} x_j"
    assert latex(Sum("j", N, x, (at_least("i", "j"),)), FROM_0) == r"\sum_{j=0}^{i} x_j"
    assert latex(Sum("j", N, x, (at_least("j", affine("i") + 1),)), FROM_1) == r"\sum_{j=i+1}^{N} x_j"
    assert latex(Sum("j", N, x, between(1, "j", affine("i") - 1)), FROM_1) == r"\sum_{j=2}^{i-1} x_j"
    assert text(Sum("c", N, ref("x", "c"), (at_least("i", "c"),)), FROM_1) == "Σ_{c=1..i} x_c"


def test_a_guard_that_is_no_bound_stands_below() -> None:
    x = ref("x", "j")
    at = affine("m") - affine("s") * affine("j") + affine("p")
    s = Sum("j", N, x, between(0, at, affine("K") - 1))
    assert latex(s) == r"\sum_{\substack{j=0 \\ 0 \le m-sj+p < K}}^{N-1} x_j"
    assert text(s) == "Σ_{j=0..N-1, 0 ≤ m-sj+p < K} xⱼ"
    # A bound that may lie beyond the axis is no limit.
    assert latex(Sum("j", N, x, (at_least(affine("i") + 2, "j"),))) == r"\sum_{\substack{j=0 \\ j \le i+2}}^{N-1} x_j"
    assert latex(Sum("j", N, x, (at_least("i", "j"),)), replace(FROM_1, width="none")) == r"\sum_{j \le i} x_j"


def test_places_are_compared_in_the_notation_s_counting() -> None:
    chosen = Where(Compare("==", ref("y", "i"), Position(affine("k"))), ONE, ZERO)
    assert latex(chosen, FROM_1) == r"\mathbf{1}\!\left[y_i = k\right]"
    third = Where(Compare("==", ref("y", "i"), Position(affine(2))), ONE, ZERO)
    assert latex(third, FROM_1) == r"\mathbf{1}\!\left[y_i = 3\right]"
    assert text(third, FROM_0) == "[yᵢ = 2]"
    assert latex(Where(Compare("!=", Position(affine("i")), Position(affine("j"))), ONE, ZERO)) == (
        r"\mathbf{1}\!\left[i \ne j\right]"
    )


def test_a_place_as_a_number_counts_from_0() -> None:
    assert latex(Position(affine("k")), FROM_0) == "k"
    assert latex(Position(affine("i")) * ref("x", "i"), FROM_1) == r"\left(i-1\right)\, x_i"
    assert latex(Add((Position(affine("i")), ONE)), FROM_1) == "i"
    assert latex(Add((Position(affine("i")), ONE)), FROM_0) == "i+1"


def test_a_gather_is_written_as_one() -> None:
    chosen = Where(Compare("==", ref("y", "i"), Position(affine("k"))), ONE, ZERO)
    picked = Sum("k", K, Mul((chosen, Call("log", (ref("f", "i", "k"),)))))
    assert latex(picked, FROM_1) == r"\ln\left(f_{i y_i}\right)"
    assert Ascii(plain_system()[0], FROM_1)(picked) == "ln(f_{i y_i})"
    assert latex(Sum("i", N, picked), FROM_1) == r"\sum_{i=1}^{N} \ln\left(f_{i y_i}\right)"


@pytest.mark.parametrize(
    "rest",
    [
        Guarded(ref("f", "i", "k"), (at_least("k", 1),)),
        Position(affine("k")) * ref("f", "i", "k"),
        ref("f", "i", affine("k") - 1),
        ref("x", "i"),
    ],
)
def test_what_is_no_gather_keeps_its_sum(rest: Expr) -> None:
    chosen = Where(Compare("==", ref("y", "i"), Position(affine("k"))), ONE, ZERO)
    assert latex(Sum("k", K, Mul((chosen, rest))), FROM_1).startswith(r"\sum_{k=1}^{K} \mathbf{1}")


def test_the_sign_stands_before_a_fraction() -> None:
    assert latex(Div(Num(Fraction(-1)), ref("x", "i"))) == r"-\frac{1}{x_i}"
    assert latex(ref("x", "j") + Div(-2 * ref("x", "j"), ref("x", "i"))) == r"x_j - \frac{2 x_j}{x_i}"
    assert latex(ref("x", "j") * Div(-ref("x", "j"), ref("x", "i"))) == r"x_j\, \left(-\frac{x_j}{x_i}\right)"


def test_a_sum_sign_at_the_end_of_a_term_reaches_to_the_next_plus() -> None:
    s = Mul((expr(2), Sum("i", N, ref("x", "i")))) + ref("x", "j")
    assert latex(s, replace(FROM_1, width="none")) == r"2\sum_i x_i + x_j"


def test_sizes() -> None:
    assert latex(Call("sqrt", (Size(node("n_b")),))) == r"\sqrt{n_b}"
    assert latex(Size(rnn()[0].family("x").axes[0])) == "T+1"


def test_a_sum_written_out_ends_where_its_guard_does() -> None:
    s = Sum("j", N, ref("x", "j"), (at_least("i", "j"),))
    shown = (affine(0), None, affine("#last"))
    assert latex(WrittenOut(s, shown), FROM_1) == r"x_1 + \cdots + x_i"
    later = Sum("j", N, ref("x", "j"), (at_least("j", "i"),))
    assert latex(WrittenOut(later, (affine(0), affine(1), None, affine("#last"))), FROM_1) == r"x_i + \cdots + x_N"


# ---------------------------------------------------------------- counting


def test_index_expressions_are_shifted_by_the_first_numbers() -> None:
    s, _ = conv1d()
    at = affine("s") * affine("i") + affine("k") - affine("p")
    x = ref("x", "b", "c", at)
    assert Latex(s, FROM_0)(x) == "x_{bc,si+k-p}"
    assert Latex(s, FROM_1)(x) == "x_{bc,si+k-p-s}"
    assert Latex(s, replace(FROM_0, firsts={"K": 1}))(x) == "x_{bc,si+k-p-1}"
    assert Latex(s, replace(FROM_0, firsts={"M": 1}))(x) == "x_{bc,si+k-p+1}"


def test_a_letter_counts_as_the_sum_that_binds_it_does() -> None:
    s, _ = conv1d()
    other = total(node("n_o"), "k", ref("x", "b", "c", affine("k") + 1))  # k counts n_o here, not K
    notation = replace(FROM_0, firsts={"n_o": 1, "K": 5})
    assert Latex(s, notation)(other) == r"\sum_{k=1}^{n_o} x_{bck}"


def test_numbers_are_shifted_and_separated_where_they_would_run_together() -> None:
    f = lambda *i: ref("f", *i)  # noqa: E731
    assert [latex(f(0, 1), n) for n in (FROM_0, FROM_1)] == ["f_{01}", "f_{12}"]
    assert latex(f(0, 11), FROM_1) == "f_{1,12}"
    assert Latex(conv1d()[0], FROM_1)(ref("x", 0, 1, 11)) == "x_{1,2,12}"
    assert Latex(conv1d()[0], FROM_1)(ref("x", "b", "c", 11)) == "x_{b,c,12}"
    assert latex(Delta(affine("k"), affine(2), K), FROM_1) == r"\delta_{k3}"


def test_the_places_of_layers_and_times_are_not_shifted() -> None:
    s, notation = rnn()
    assert Latex(s, notation)(ref("h", affine("t") - 1, 0)) == "h_{t-1,1}"
    assert Latex(s, notation)(ref("h", 0, "j")) == "h_{0j}"


def test_affine_expressions_have_indices_first_and_a_positive_term_in_front() -> None:
    p = Latex(plain_system()[0], FROM_0)
    s, i, k = affine("s"), affine("i"), affine("k")
    assert p.affine(s * i + k - affine("p")) == "si+k-p"
    assert p.affine(affine("p") - i) == "p-i"
    assert p.affine(affine("N") + affine("p") * 2 - affine("K")) == "N+2p-K"
    assert p.affine(affine("alpha") * s + k - 1) == r"s\alpha+k-1"
    assert p.affine(affine("alpha") * affine("beta")) == r"\alpha\beta"
    assert p.affine(Affine((), -1)) == "-1"


# ---------------------------------------------------------------- families


def test_families_are_written_as_the_notation_says() -> None:
    s, notation = heads()
    p = Latex(s, notation)
    assert p(ref("W_Q", "h", "alpha", "d")) == r"W^Q_{h\alpha d}"
    assert p(ref("x", "l", "i", "d")) == r"\mathbf{x}_{id}^{[l]}"
    many = replace(notation, written=written(x=Written("x", (0, 1, 2), commas=True), W_Q=Written("W", (1, 2), (0,), "", "Q")))  # fmt: skip
    assert Latex(s, many)(ref("x", "l", "i", "d")) == "x_{l,i,d}"
    assert Latex(s, many)(ref("W_Q", "h", "alpha", "d")) == r"W_{\alpha d}^{Q,h}"
    assert Text(s, notation)(ref("h_tilde", "l", "h", "i", "alpha")) == "h̃_hiα⁽ˡ⁾"


def test_names_that_nobody_explained_have_a_look_all_the_same() -> None:
    axes = {"alpha": r"\alpha_i", "x_hat": r"\hat{x}_i", "score": r"\mathrm{score}_i", "O_bar": r"\bar{O}_i"}
    for name, look in axes.items():
        s = system([family(name, "i", (N,), "input")], [])
        assert Latex(s, FROM_1)(ref(name, "i")) == look
    s = system([family("x_hat", "i", (N,), "input")], [])
    assert Text(s, FROM_1)(ref("x_hat", "i")) == "x̂ᵢ"
    assert Ascii(s, FROM_1)(ref("x_hat", "i")) == "xhat_i"


def test_letters_of_indices_and_functions_come_from_the_notation() -> None:
    s, notation = plain_system()
    p = Latex(s, replace(notation, names={"i": r"\iota", "N": "N_1", "log": r"\log"}))
    assert p(Sum("i", N, Call("log", (ref("x", "i"),)))) == r"\sum_{\iota=0}^{N_1-1} \log\left(x_{\iota}\right)"


def test_the_gradient_from_outside_is_the_output_with_a_bar() -> None:
    s, notation = heads()
    s = with_upstream(s)
    assert Latex(s, notation)(ref("y_bar", "i", "d")) == r"\bar{y}_{id}"
    hidden = replace(s, upstream={"h_tilde": "y_bar"}, spec="")
    notation = replace(notation, written={**notation.written, "y_bar": Written(r"\overline{y}", (1, 0))})
    assert Latex(hidden, notation)(ref("y_bar", "i", "d")) == r"\overline{y}_{di}"


def test_an_exponential_with_a_sum_in_it_stays_on_the_line() -> None:
    z = ref("x", "i") - Max("k", N, ref("x", "k"))
    assert latex(Call("exp", (z,)), replace(FROM_1, width="none")) == r"\exp\left(x_i - \max_k x_k\right)"
    assert latex(Call("exp", (ref("x", "i"),))) == "e^{x_i}"


# ---------------------------------------------------------------- documents


@pytest.mark.parametrize("name", BUILDERS)
def test_overviews(name: str, golden: Golden) -> None:
    s, notation = BUILDERS[name]()
    golden.check(f"overview.{name}.txt", formats.text(overview(s, notation, name)))


def test_what_is_assumed_is_said() -> None:
    s, notation = conv1d()
    shown = formats.text(overview(s, replace(notation, zero=frozenset({"x"}), firsts={"K": 1}), "conv1d"))
    assert "I     i        I = ⌊(M+2p-K)/s⌋ + 1" in shown
    assert "p              any whole number" in shown
    assert "x_bcu is 0 where an index is outside its range." in shown
    assert "k = 1..K" in shown and "c = 0..C − 1" in shown
    assert "w_ock · x_{bc,si+k-p-1}" in shown  # no bracket where x is 0 outside its range anyway
    assert "The values of xₜ are positions: 1..V." in formats.text(overview(*embedding(), "e"))


def pages(name: str, bottom: str) -> dict[str, str]:
    """Every format of one derivation in full."""
    s, notation = BUILDERS[name]()
    s = with_upstream(s)
    record = derive(s, Partial(Ref(s.cost, ()), s.family(bottom).pattern))
    documents = {d.name.lower(): build(record, notation, d) for d in Detail}
    full = documents["full"]
    return {
        "text": formats.text(full),
        "ascii": formats.text(full, ascii_only=True),
        "latex": formats.latex(full, standalone=True),
        "markdown": formats.markdown(full),
        "notebook": formats.notebook(full),
        "json": formats.to_json(record, full),
        "html": html(documents),
    }


@pytest.mark.parametrize(
    ("name", "bottom"),
    [("attention", "Q"), ("causal-attention", "V"), ("conv1d", "x"), ("rnn", "W"), ("embedding", "E"), ("max-pooling", "x"), ("heads", "W_Q")],
)  # fmt: skip
def test_every_format_of_a_derivation(name: str, bottom: str) -> None:
    made = pages(name, bottom)
    assert made["ascii"].isascii()
    assert not any("Ref(" in t or "None" in t or "#" in t for n, t in made.items() if n in ("text", "ascii", "latex"))
    assert made["latex"].count("{") == made["latex"].count("}")
    assert '<figure class="network"' not in made["html"]
    assert refused(sorted(set(Page(made["html"]).formulas))) == []


def test_the_first_lines_say_what_the_cost_stands_for() -> None:
    lines = pages("attention", "V")["text"]
    assert "Σᵢ Σᵥ Ōᵢᵥ · Oᵢᵥ" in lines
    assert "C stands for any cost that is computed from the output" in lines
    assert "∂C/∂Oᵢᵥ = Ōᵢᵥ" in lines
    assert lines.index("stands for any cost") < lines.index("The chain rule")


def test_the_induction_over_times_speaks_of_steps() -> None:
    shown = pages("rnn", "W")["text"]
    assert "Induction, backwards from the last step" in shown
    assert "layer" not in shown


def test_every_equation_is_taken_by_katex() -> None:
    formulas = []
    for make in BUILDERS.values():
        s, notation = make()
        p = Latex(s, notation)
        formulas += [f"{p(e.lhs)} = {p(e.rhs)} \\qquad ({p.constraints(e.guard)})" for e in s.equations]
        formulas += [p.size_rule(n, r) for n, r in s.rules.items()]
    formulas.append(latex(Winner(Max("k", K, ref("f", "i", "k"), (at_least("i", "k"),)), affine("k"))))
    formulas.append(latex(Sum("j", N, ref("x", "j"), between(0, affine("m") - affine("s") * affine("j"), "K"))))
    formulas.append(latex(Where(Compare("==", ref("y", "i"), Position(affine("k"))), ONE, ref("x", "i"))))
    assert refused(formulas) == []


def test_numbers_are_for_layered_networks() -> None:
    s, notation = rnn()
    goal = Partial(Ref("C", ()), s.family("W").pattern)
    with pytest.raises(GoalError, match="layered networks"):
        numeric_instance(s, notation, goal, {}, [1.0], [1.0], {})


def test_the_lessons_are_written_as_before_in_any_counting() -> None:
    shown = dense().in_notation("nielsen").derive("w_12^L").latex("lecture")
    assert r"\delta^L_1" in shown


def test_every_script_and_bold_letter_has_a_sign_on_a_terminal() -> None:
    import string

    from symbackprop.render.text import plain

    for c in string.ascii_letters:
        assert len(plain(rf"\mathcal{{{c}}}")) == len(plain(rf"\mathbf{{{c}}}")) == 1


def test_a_negative_number_is_taken_away() -> None:
    from symbackprop.api import Network

    result = Network.from_latex(r"C = \sum_{i=1}^{N} (w_i - 1)^2").derive("w_i").result
    assert (result.text(), result.latex()) == ("2(wᵢ − 1)", r"2\left(w_i - 1\right)")
