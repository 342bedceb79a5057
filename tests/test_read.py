"""Goals: every spelling that people use, every text answered, and what is printed reads back."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symbackprop import dense, load
from symbackprop.api import Network
from symbackprop.errors import ReadError, SymbackpropError
from symbackprop.indices import Affine, affine
from symbackprop.models import find_notation
from symbackprop.read.goal import read_goal
from symbackprop.read.tokens import MAX_LENGTH, tokenize
from symbackprop.render.latex import Latex
from symbackprop.render.text import Ascii, Text
from symbackprop.symbols import Partial, Ref, Vec

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
