"""Goals: every spelling that people use, every text answered, and what is printed reads back."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symbackprop import dense, load
from symbackprop.api import Network
from symbackprop.errors import ReadError, ReadIndexError, ReadShapeError, SymbackpropError
from symbackprop.indices import Affine, Axis, affine, at_least, between
from symbackprop.models import find_notation
from symbackprop.read.expression import ReadLine, read_claim
from symbackprop.read.goal import read_goal
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.read.tokens import MAX_LENGTH, tokenize
from symbackprop.render.latex import Latex
from symbackprop.render.text import Ascii, Text
from symbackprop.symbols import Call, Param, Partial, Ref, Size, Sum, Vec, Where, canonical, families, walk

NOTATIONS = {n: find_notation(n) for n in ("deeplizard", "3b1b", "nielsen")}

NET = dense(bias=True)
NIELSEN = load("nielsen")
L, l = affine("L"), affine("l")
C0, C = Ref("C_0", ()), Ref("C", ())


def ref(family: str, *indices: Any) -> Ref:
    return Ref(family, tuple(affine(i) for i in indices))


WJK, W12 = ref("w", "l", "j", "k"), ref("w", L, 1, 2)

SPELLINGS: list[tuple[Ref, list[str]]] = [
    (
        WJK,
        [
            r"w^{(l)}_{jk}",
            r"w_{jk}^{(l)}",
            r"w_{jk}^{l}",
            r"w_{j,k}^{l}",
            r"w_{j k}^{(l)}",
            r"w_{jk}^{[l]}",
            r"w_{jk}^{\left(l\right)}",
            r"w_{jk}^(l)",
            "w_jk^l",
            "w_jk^(l)",
            "w^l_jk",
            "w_jk",
            "w",
            " w_jk^l ",
            "$w_{jk}^{(l)}$",
            "$$w_{jk}^{(l)}$$",
            r"\mathbf{w}_{jk}^{(l)}",
            r"\frac{\partial C_0}{\partial w_{jk}^{(l)}}",
            r"\dfrac{\partial C_{0}}{\partial w_{jk}^{(l)}}",
            r"\tfrac{\partial C_0}{\partial w^{(l)}_{jk}}",
            r"\frac{\partial\,C_0}{\partial\,w_{jk}^{(l)}}",
            r"\frac{\mathrm{d} C_0}{\mathrm{d} w_{jk}^{(l)}}",
            r"\frac{d C_0}{d w_{jk}^{(l)}}",
            r"\partial C_0 / \partial w_{jk}^{(l)}",
            "dC0/dw_jk^l",
            "dC_0/dw_jk^l",
            "dC_0/dw_jk^(l)",
            "d C_0 / d w_jk^l",
            "∂C₀/∂wⱼₖ⁽ˡ⁾",
            "wⱼₖ⁽ˡ⁾",
            "wⱼₖˡ",
        ],
    ),
    (
        W12,
        [
            "w_12^L",
            r"w_{12}^{(L)}",
            "w_{1,2}^L",
            "w_1,2^L",
            "w_{1 2}^{ ( L ) }",
            "dC0/dw_12^L",
            "∂C₀/∂w₁₂⁽ᴸ⁾",
            "w^{(L)}_{12}",
        ],
    ),
    (ref("w", L, 10, 3), ["w_{10,3}^L", r"w_{10,3}^{(L)}"]),
    (ref("w", L, "j", 2), ["w_j2^L", "w_{j2}^L", "w_{j,2}^{(L)}"]),
    (
        ref("a", L - 1, 2),
        [
            "a_2^{L-1}",
            "a_2^(L-1)",
            "a_2^{(L-1)}",
            "a_{2}^{L - 1}",
            "∂C₀/∂a₂⁽ᴸ⁻¹⁾",
            r"\frac{\partial C_0}{\partial a_2^{(L-1)}}",
        ],
    ),
    (ref("z", l, "j"), ["z_j^l", r"\delta_j^{(l)}", "delta_j^l", "δ_j^l", "δⱼˡ", r"\delta^l_j", "z"]),
    (ref("b", l, "j"), ["b_j^l", "b", "∂C₀/∂bⱼ⁽ˡ⁾"]),
    (ref("x", "k"), ["x_k", "dC0/dx_k", "xₖ"]),
    (ref("w", l + 1, "p", "j"), ["w_pj^{l+1}", "w_{pj}^{(l+1)}", "wₚⱼ⁽ˡ⁺¹⁾"]),
    (ref("w", 2, "j", "k"), ["w_jk^2", "w_{jk}^{(2)}"]),
]


@pytest.mark.parametrize(
    ("wanted", "text"), [(r, t) for r, ts in SPELLINGS for t in ts], ids=[t for _, ts in SPELLINGS for t in ts]
)
def test_spellings_of_one_goal_are_one_goal(wanted: Ref, text: str) -> None:
    assert NET.goal(text) == Partial(C0, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("w_12^L", Partial(C0, ref("w", L, 0, 1))),
        (r"\frac{\partial C}{\partial w^L_{jk}}", Partial(C0, ref("w", L, "j", "k"))),
        (r"\frac{\partial C_0}{\partial w^L_{jk}}", Partial(C0, ref("w", L, "j", "k"))),
        (r"\delta^L_j", Partial(C0, ref("z", L, "j"))),
        (r"\frac{\partial \overline{C}}{\partial b^l_j}", Partial(C, ref("b", l, "j"))),
        ("∂C/∂wⱼₖˡ", Partial(C0, WJK)),
    ],
)
def test_letters_and_first_number_are_the_notations(text: str, wanted: Partial) -> None:
    assert NIELSEN.goal(text) == wanted


def test_the_mean_is_a_cost_of_its_own() -> None:
    assert NET.goal("dC/dw_jk^l") == Partial(C, WJK)
    assert NET.goal(r"\frac{\partial C}{\partial w_{jk}^{(l)}}") == Partial(C, WJK)


@pytest.mark.parametrize("text", ["w_j^l", r"\mathbf{w}_j^{(l)}", "wⱼ⁽ˡ⁾", r"\frac{\partial C_0}{\partial w_j^{(l)}}"])
def test_a_weight_without_its_second_index_is_the_vector(text: str) -> None:
    bottom = NET.goal(text).bottom
    assert isinstance(bottom, Vec) and bottom.body == WJK


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("w_jk^l + 1", 8, "after the end"),
        ("w_{jk", 3, "no '}' closes"),
        ("w__jk", 2, "nothing stands after '_'"),
        ("w_jk^l^2", 7, "second superscript"),
        ("w_jk_l", 5, "second subscript"),
        ("w_{jk}^{l m}", 11, "not understood"),
        (r"\frac{C_0}{\partial w}", 7, r"expected \partial or d"),
        (r"\frac{\partial C_0}", 20, "expected '{', found the end"),
        ("w_jk^l @", 8, "'@' has no meaning"),
        ("w_{jk}^{(L+1)}", 10, "out of range"),
        ("w_{jkp}^{(l)}", 4, "found 3"),
        ("q_j", 1, "q is no symbol"),
        ("w_{l k}^{(l)}", 4, "counts layers"),
        ("w_{jk}^{m}", 1, "m is no layer"),
        ("y_j^l", 5, "y has no layer"),
        ("w_{jk}^{1234567}", 9, "too large"),
    ],
)
def test_an_error_has_its_column_and_says_what_was_found(text: str, column: int, message: str) -> None:
    with pytest.raises(SymbackpropError) as e:
        NET.goal(text)
    assert message in str(e.value)
    assert f"column {column}: " in str(e.value)


def test_too_much_text_is_refused_before_it_is_read() -> None:
    with pytest.raises(ReadError, match="too long"):
        NET.goal("w" * (MAX_LENGTH + 1))


@pytest.mark.parametrize(
    "text",
    [
        "{" * 5000,
        "w_" + "{" * 5000,
        "\\mathbf{" * 60 + "w",
        "w_{" + "(" * 3000 + "j",
        "w" * 3000,
        "w_{" + "j," * 9000 + "}",
    ],
)
def test_deep_or_long_nesting_is_answered(text: str) -> None:
    with pytest.raises(SymbackpropError):
        NET.goal(text)


PIECES = st.sampled_from(
    [
        *"wabzxyCdLljk0129_^{}()[]+-=/',. $",
        "\\",
        "\\frac",
        "\\partial",
        "\\delta",
        "\\left(",
        "\\mathbf{",
        "∂",
        "δ",
        "ⱼ",
        "⁽ᴸ⁾",
        "₁",
        "̄",
        "\n",
        "\t",
        "\x00",
        "é",
        "𝐰",
    ]
)
NETS = {
    "deeplizard": NET,
    "3b1b": load("3b1b"),
    "nielsen": NIELSEN,
    "numbers": dense([3, 4, 2]),
    "chain": load("3b1b-chain"),
}


@functools.lru_cache
def spelled(text: str, name: str) -> Partial | None:
    net: Network = NETS[name]
    try:
        out = net.goal(text)
    except SymbackpropError as e:
        assert str(e) and "\n" not in str(e).replace(repr(text), "")
        return None
    return out


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text(max_size=20)), st.sampled_from(sorted(NETS)))
@example("\\", "deeplizard")
@example("²", "deeplizard")
@example("w_²", "deeplizard")
@example("①", "deeplizard")
@example("w_{٣}", "deeplizard")
@example("C", "nielsen")
@example("d", "deeplizard")
@example("d/d", "deeplizard")
@example("w_{}^{}", "deeplizard")
@example("'", "chain")
def test_any_text_is_a_goal_or_an_error_of_ours(text: str, name: str) -> None:
    out = spelled(text, name)
    assert out is None or isinstance(out, Partial)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([t for _, ts in SPELLINGS for t in ts]), st.integers(0, 60), PIECES)
def test_any_slip_of_the_pen_is_a_goal_or_an_error_of_ours(text: str, place: int, piece: str) -> None:
    for spoilt in (text[:place] + piece + text[place:], text[:place] + text[place + 1 :], text[:place]):
        spelled(spoilt, "deeplizard")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
def test_tokens_know_their_columns(text: str) -> None:
    try:
        tokens = tokenize(text)
    except ReadError:
        return
    for t in tokens[:-1]:
        assert text[t.column - 1 :].startswith(("\\" if t.kind == "command" else "") + t.text)
    assert tokens[-1].kind == "end" and tokens[-1].column == len(text) + 1


# ---------------------------------------------------------------- and back

LAYERS: list[Affine] = [l, l + 1, L, L - 1, L - 2, affine(2)]
NODES: list[Affine] = [affine(n) for n in ("j", "k", "p", 0, 1, 2)]

refs = st.one_of(
    st.builds(
        lambda i, j, k: Ref("w", (i, j, k)), st.sampled_from(LAYERS), st.sampled_from(NODES), st.sampled_from(NODES)
    ),
    st.builds(lambda f, i, j: Ref(f, (i, j)), st.sampled_from("azb"), st.sampled_from(LAYERS), st.sampled_from(NODES)),
    st.builds(lambda j: Ref("x", (j,)), st.sampled_from(NODES)),
)


@pytest.mark.parametrize("notation", NOTATIONS.values(), ids=lambda n: n.name)
@pytest.mark.parametrize("printer", [Latex, Text, Ascii], ids=lambda p: p.__name__)
@settings(max_examples=60, deadline=None)
@given(bottom=refs)
def test_a_gradient_reads_back_from_what_is_printed(printer: Any, notation: Any, bottom: Ref) -> None:
    goal = Partial(C0, bottom)
    text = printer(NET.system, notation)(goal)
    assert read_goal(text, NET.system, notation) == goal, text


@pytest.mark.parametrize("notation", NOTATIONS.values(), ids=lambda n: n.name)
@pytest.mark.parametrize("printer", [Latex, Ascii], ids=lambda p: p.__name__)
@pytest.mark.parametrize("bottom", [ref("w", L, 12, 3), ref("w", l, "j", 10), ref("a", l, 12)], ids=str)
def test_numbers_of_two_digits_read_back(printer: Any, notation: Any, bottom: Ref) -> None:
    goal = Partial(C0, bottom)
    assert read_goal(printer(NET.system, notation)(goal), NET.system, notation) == goal


@pytest.mark.parametrize("notation", ["deeplizard", "3b1b"])
@pytest.mark.parametrize("printer", [Latex, Text, Ascii], ids=lambda p: p.__name__)
def test_the_mean_reads_back_from_what_is_printed(printer: Any, notation: str) -> None:
    goal = Partial(C, W12)
    assert read_goal(printer(NET.system, NOTATIONS[notation])(goal), NET.system, NOTATIONS[notation]) == goal


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_goal_of_a_derivation_reads_back(notation: str) -> None:
    """Each left side of a printed derivation can be pasted back as the next goal."""
    net = dense(bias=True, notation=notation)
    for section in net.derive("w_jk^l").record.sections:
        e = section.subject
        if isinstance(e, Partial) and not e.direct:
            assert net.goal(Latex(net.system, net.notation)(e)) == e
            assert net.goal(net.describe(e)) == e


def test_a_planted_slip_does_not_read_back() -> None:
    """What the round trip rests on: a transposed weight is another goal."""
    assert NET.goal("w_21^L") != NET.goal("w_12^L") and NET.goal("w_kj^l") != NET.goal("w_jk^l")


# ---------------------------------------------------------------- lines about a network


def read(text: str, net: Network) -> ReadLine:
    document = parse_document(text)
    return read_claim(document.rows[0], Source(document.text), net.system, net.notation)


def claims_of(name: str) -> Network:
    return load(Path(__file__).parent / f"settings/claims/{name}.tex")


LINE = r"\delta^l_j = \sigma'(z^l_j)"


@pytest.mark.parametrize(
    ("tail", "guard", "apart"),
    [
        ("", (), ()),
        (r"\quad \text{for } l < L", (at_least(L - 1, "l"),), ()),
        (r", \quad l = L-1, \dots, 1", between(1, "l", L - 1), ()),
        (r"\quad \text{for } l = 1, 2, \ldots, L", between(1, "l", L), ()),
        (r", \quad l \in \{1, \ldots, L-1\}", between(1, "l", L - 1), ()),
        (r"\quad (j \ne i)", (), (affine("j") - "i",)),
        (r"\quad \forall j", (), ()),
        (r"\text{ for each } j", (), ()),
        (r"\quad 1 \le j \le n_l", (at_least("j", 0),), ()),  # the end of its axis says nothing
    ],
)
def test_what_stands_behind_a_line_says_where_it_holds(tail: str, guard: Any, apart: Any) -> None:
    found = read(LINE + tail, NIELSEN)
    assert (found.guard, found.apart) == (guard, apart)
    assert found.free["l"].kind == "recursion" and found.free["j"] == Axis("node", "n", l)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (r"\text{ for the output layer}", "may say where the line holds"),
        (r"\quad b = c", "expected where it holds"),
        (r"\quad j = 1, \dots, n_l - 1", "not at the end of its axis"),
        (r"\quad a = y", "expected where it holds"),  # two numbers are never drawn equal: it would hold of nothing
    ],
)
def test_what_may_restrict_a_line_is_never_dropped(tail: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        read(LINE + tail, NIELSEN)


def test_a_remark_restricts_nothing() -> None:
    assert read(LINE + r"\quad \text{(chain rule)}", NIELSEN).remarks == ("(chain rule)",)


def test_a_condition_on_values_is_part_of_both_sides() -> None:
    sides = read(
        r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = 1, \text{ if } z_j^{(l)} > 0", claims_of("relu")
    ).sides
    assert [type(s) for s in sides] == [Where, Where]


@pytest.mark.parametrize("sign", [r"\approx", r"\propto", r"\le", r"\ne", r"\sim"])
def test_only_an_equation_is_a_claim(sign: str) -> None:
    with pytest.raises(ReadError, match="a claim has ="):
        read(LINE.replace("=", sign), NIELSEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"\delta^l = (w^{l+1}) \delta^{l+1}", r"\(n_\{l\+1\} x n_l\) times a column \(n_\{l\+1\} x 1\)"),
        (r"\frac{\partial C}{\partial w^l} = \delta^l \odot a^{l-1}", r"\(n_l x 1\) and a column \(n_\{l-1\} x 1\)"),
        (r"\frac{\partial C}{\partial w^l} = \delta^l", r"\(n_l x n_\{l-1\}\) is said to equal a column \(n_l x 1\)"),
        (r"\delta^l = \delta^{l+1}", "both sides need one shape"),
        (r"\delta^l = \delta^l (w^l)^T", "the column's transpose would fit"),
        (r"\delta^l = (\delta^l)^T", "is said to equal a row"),
    ],
)
def test_arrays_that_do_not_fit_are_said_with_both_shapes(text: str, message: str) -> None:
    with pytest.raises(ReadShapeError, match=message) as e:
        read(text, NIELSEN)
    assert e.value.column > 0


def test_layers_of_one_width_fit_any_product() -> None:
    """With one n for all layers a transposed weight is wrong by its value, and not by its shape."""
    assert read(r"\delta^{(l)} = (w^{(l+1)} \delta^{(l+1)}) \odot g'^{(l)}(z^{(l)})", claims_of("lessons-bias")).sides


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (r"\frac{\partial C}{\partial W^l}", r"\frac{\partial C}{\partial w^l}"),
        (r"\frac{\partial C}{\partial \mathbf{W}^l}", r"\frac{\partial C}{\partial w^l}"),
        (r"\nabla_{w^l} C", r"\frac{\partial C}{\partial w^l}"),
        (r"\nabla_a C", r"\frac{\partial C}{\partial a^L}"),  # that on which the cost depends at once
        (r"\Sigma'(z^l) \delta^l", r"\operatorname{diag}(\sigma'(z^l)) \delta^l"),
        (r"(\sigma)'(z^l)", r"\sigma'(z^l)"),
        (r"\frac{\partial C(a^L)}{\partial z^l}", r"\delta^l"),
    ],
)
def test_other_spellings_of_arrays(text: str, same: str) -> None:
    one, other = (read(f"{x} = 0", NIELSEN).sides[0] for x in (text, same))
    assert canonical(one) == canonical(other)


def test_a_letter_of_the_model_is_never_taken_for_another() -> None:
    """C is the cost and no array of c; L is the last layer and no array of l."""
    net = Network.from_latex(r"C &= \sum_j c_j a_j \\ a_j &= \sum_k w_{jk} x_k")
    assert read(r"\frac{\partial C}{\partial a_j} = c_j", net).sides[1] == ref("c", "j")
    with pytest.raises(ReadError, match="is no symbol"):
        read(r"K = 1", net)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (r"\delta_j = \sum_k w_{jk} \delta_k", ReadIndexError, "w has no entry jk; w_{kj} has them in the other order"),
        (r"\frac{\partial E}{\partial w_{ji}} = t_j", ReadIndexError, "t has no entry j; known: t_{k}"),
        (r"\delta_j = \sum_m z_m", ReadError, "the letters of an index say here which layer it counts"),
        (r"\frac{\partial E}{\partial w_{12}} = 0", ReadError, "expected w_{kj} or w_{ji}"),
    ],
)
def test_letters_that_name_layers(text: str, error: type[ReadError], message: str) -> None:
    with pytest.raises(ReadError) as e:
        read(text, claims_of("bishop"))
    assert type(e.value) is error and message in str(e.value)


def test_a_letter_that_names_a_layer_chooses_the_quantity() -> None:
    found = read(r"\delta_j = h'(a_j) \sum_k w_{kj} \delta_k", claims_of("bishop")).sides
    assert families(found[0]) == {"E", "a_j"} and families(found[1]) == {"E", "a_j", "a_k", "w_kj"}


def test_a_summed_letter_may_be_any_that_fits_one_layer() -> None:
    net = claims_of("bishop")
    one, other = (read(rf"\delta_j = h'(a_j) \sum_{x} w_{{{x}j}} \delta_{x}", net).sides[1] for x in "km")
    assert canonical(one) == canonical(other)


def test_a_label_is_written_or_left_out() -> None:
    net = claims_of("softmax-i")
    lines = [read(rf"\frac{{\partial {x}}}{{\partial f_k}} = 0", net).sides[0] for x in ("L_i", "L")]
    assert lines[0] == lines[1] == Partial(Ref("L", ()), ref("f", "k"))


def test_before_a_sum_over_samples_n_is_their_number() -> None:
    text = r"\frac{\partial C}{\partial w_{12}^{(L)}} = \frac{1}{n} \sum_{i=0}^{n-1} \frac{\partial C_i}{\partial w_{12}^{(L)}}"
    for net in (claims_of("meansamples"), load("deeplizard")):
        (mean,) = {p.axis for _, p in walk(read(text, net).sides[1]) if isinstance(p, Sum)}
        sizes = {p.axis for _, p in walk(read(text, net).sides[1]) if isinstance(p, Size)}
        assert sizes == {mean} and mean.label == "m"
    short = read(text.replace("n-1", "n-2"), net).sides[1]
    assert any(isinstance(p, Sum) and p.guard for _, p in walk(short))


def test_a_line_about_a_function_alone() -> None:
    net = claims_of("sigmoid")
    left, right = read(r"\sigma'(z) = \sigma(z) (1 - \sigma(z))", net).sides
    assert left == Call("sigmoid", (Param("z"),), 1) and families(right) == frozenset()


@pytest.mark.parametrize(
    "text", [r"e^{-a^L_1/2b^L_1}", r"1/2b^L_1", r"a^L_1/b^L_1 w^L_{11}", r"a^L_1/b^L_1 (1 + w^L_{11})"]
)
def test_what_a_slash_divides_by_is_not_guessed(text: str) -> None:
    with pytest.raises(ReadError, match="behind a /"):
        read(f"{text} = 1", NIELSEN)


@pytest.mark.parametrize(
    "text", [r"1/2 \sum_j a^L_j", r"1/2 (a^L_1 - y_1)^2", r"a^L_1/2 + b^L_1", r"a^L_1/2 \cdot b^L_1"]
)
def test_a_slash_before_what_stands_apart(text: str) -> None:
    assert read(f"{text} = 1", NIELSEN).sides


def test_a_value_at_a_point_is_refused() -> None:
    with pytest.raises(ReadError, match="at a point"):
        read(r"\left.\frac{\partial C}{\partial a^L_j}\right|_{a=y} = 0", NIELSEN)


def test_a_shape_error_has_its_place_in_the_file_handed_in() -> None:
    text = "\\[\n\\delta^L = \\nabla_a C \\odot \\sigma'(z^L)\n\\]\n\n\\[\n\\delta^l = w^{l+1} \\delta^{l+1}\n\\]\n"
    claims = NIELSEN.check(text).claims
    assert [c.verdict for c in claims] == ["proved", "refuted"] and claims[1].message.startswith("line 6, column ")
