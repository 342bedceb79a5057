"""One model in the notation of another: what corresponds is found by structure, and printed as the other author writes it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from symbackprop.api import Network
from symbackprop.correspond import Correspondence, correspondence, isomorphism, product_of
from symbackprop.errors import ModelError
from symbackprop.models import library_model, models
from symbackprop.read.model import Model, read_model
from symbackprop.render.model import model_text
from symbackprop.render.text import Text
from symbackprop.symbols import Num, Ref, expr
from symbackprop.translate import in_terms_of, permutation, table, translate

TWO_LAYERS = r"""
h_{ij} &= \phi(u_{ij}) \\
u_{ij} &= \sum_{k=1}^{d} x_{ik} W^{(1)}_{kj} + b^{(1)}_j \\
o_{iq} &= \sum_{j=1}^{h'} h_{ij} W^{(2)}_{jq} + b^{(2)}_q \\
L &= \frac{1}{2n} \sum_{i=1}^{n} \sum_{q=1}^{r} \left(o_{iq} - y_{iq}\right)^2
"""

VERSE = r"""
%| target t
J &= \frac{1}{N} \sum_{m=1}^{N} \frac{1}{2} \sum_{c=1}^{C} \left(t_{mc} - p_{mc}\right)^2 \\
p_{mc} &= d_c + \sum_{b=1}^{B} V_{cb} s_{mb} \\
s_{mb} &= f(a_{mb}) \\
a_{mb} &= e_b + \sum_{a=1}^{A} U_{ba} x_{ma}
"""

SCORES = r"""
%| data q, k, v
e_{ts} &= \frac{1}{\sqrt{D}} \sum_{r=1}^{D} k_{sr} q_{tr} \\
\alpha_{ts} &= \frac{\exp(e_{ts})}{\sum_{s'=1}^{S} \exp(e_{ts'})} \\
c_{tu} &= \sum_{s=1}^{S} \alpha_{ts} v_{su}
"""

ELMAN = r"""
%| s = 1..S
%| target r
E &= \frac{1}{2} \sum_{s=1}^{S} \sum_{q=1}^{Q} \left(r_{qs} - v_{qs}\right)^2 \\
v_{qs} &= c_q + \sum_{p=1}^{P} C_{qp} u_{ps} \\
u_{ps} &= \tanh(n_{ps}) \\
n_{ps} &= \sum_{p'=1}^{P} A_{pp'} u_{p',s-1} + \sum_{m=1}^{M} B_{pm} x_{ms} + a_p
"""


def pair(a: Model, b: Model) -> tuple[Correspondence, str]:
    """The correspondence of two models, and the first one in the notation of the second."""
    found = correspondence(a.system, b.system)
    return found, model_text(a.system, in_terms_of(b.notation, found, a.notation))


def equations(text: str) -> list[str]:
    return [line.removesuffix(" \\\\") for line in text.splitlines() if not line.startswith("%|")]


# ---------------------------------------------------------------- what corresponds


@pytest.mark.parametrize("name", sorted(models()))
def test_every_model_corresponds_to_itself(name: str) -> None:
    system = library_model(name).system
    found = isomorphism(system, system)
    assert found is not None and found.complete
    assert all(x == y for x, y in found.families.items())


def test_two_layers_of_two_authors() -> None:
    found, text = pair(read_model(TWO_LAYERS), read_model(VERSE))
    families = {"h": "s", "u": "a", "x": "x", "W_1": "U", "b_1": "e", "o": "p", "W_2": "V", "b_2": "d", "L": "J", "y": "t"}  # fmt: skip
    assert found.families == families
    assert found.places["W_1"] == (1, 0)  # one author multiplies by W from the right, the other from the left
    assert found.functions == {"phi": "f"}
    assert found.sizes == {"n": "N", "h'": "B", "d": "A", "r": "C"}
    assert equations(text) == [
        r"s_{mb} &= f(a_{mb})",
        r"a_{mb} &= \sum_{a=1}^{A} x_{ma} U_{ba} + e_b",
        r"p_{mc} &= \sum_{b=1}^{B} s_{mb} V_{cb} + d_c",
        r"J &= \frac{1}{2 N} \sum_{m=1}^{N} \sum_{c=1}^{C} \left(p_{mc} - t_{mc}\right)^2",
    ]


def test_attention_with_small_letters() -> None:
    a, b = library_model("attention"), read_model(SCORES)
    found, text = pair(a, b)
    assert found.families == {"S": "e", "Q": "q", "K": "k", "P": "alpha", "O": "c", "V": "v"}
    assert equations(text) == [
        r"e_{ts} &= \frac{1}{\sqrt{D}} \sum_{r=1}^{D} q_{tr} k_{sr}",
        r"\alpha_{ts} &= \frac{\exp(e_{ts})}{\sum_{s'=1}^{S} \exp(e_{ts'})}",
        r"c_{tu} &= \sum_{s=1}^{S} \alpha_{ts} v_{su}",
    ]


def test_a_recurrence_with_the_time_behind() -> None:
    found, text = pair(library_model("rnn"), read_model(ELMAN))
    assert found.families["h"] == "u" and found.families["h_0"] == "u_0"
    assert found.places["h"] == (0, 1)
    # The second unit is p' there; here it keeps a letter of its own, which a prime of p might take later on.
    assert r"n_{ps} &= \sum_{m=1}^{M} B_{pm} x_{ms} + \sum_{k=1}^{P} A_{pk} u_{k,s-1} + a_p" in text


def test_nielsen_in_the_look_of_3b1b() -> None:
    """Their costs differ by a factor, so that not all of the equations correspond: their families do."""
    a, b = library_model("nielsen"), library_model("3b1b")
    assert isomorphism(a.system, b.system) is None
    found, text = pair(a, b)
    assert not found.complete and found.families["w"] == "w"
    assert equations(text)[0] == r"C_0 &= \frac{1}{2} \sum_{j=0}^{n_L-1} \left(a_j^{(L)} - y_j\right)^2"
    network = Network(a.system, in_terms_of(b.notation, found, a.notation))
    assert r"a_k^{(l-1)}" in network.derive("w_jk^l").latex()


@pytest.mark.parametrize("one, other", [("attention", "lstm"), ("conv1d", "nielsen"), ("lasso", "vae")])
def test_models_with_nothing_in_common_are_refused(one: str, other: str) -> None:
    with pytest.raises(ModelError, match="these models do not correspond"):
        correspondence(library_model(one).system, library_model(other).system)


WRONG = {
    "another factor": (r"\frac{1}{N} \sum_{m=1}^{N} \frac{1}{2}", r"\frac{1}{N} \sum_{m=1}^{N} \frac{1}{3}"),
    "no bias": (r"d_c + ", ""),
    "another sign": (r"d_c + ", "d_c - "),
    "no square": (r"\right)^2", r"\right)^4"),
    "another function": (r"f(a_{mb})", r"\tanh(a_{mb})"),
}


@pytest.mark.parametrize("slip", WRONG)
def test_another_model_is_no_renaming(slip: str) -> None:
    before, after = WRONG[slip]
    assert before in VERSE
    other = read_model(VERSE.replace(before, after))
    assert isomorphism(read_model(TWO_LAYERS).system, other.system) is None


def test_a_transposed_matrix_is_no_renaming_where_it_stands_twice() -> None:
    """W may have its indices in another order, but in one order throughout."""
    one = read_model(r"y_i &= \sum_{j=1}^{N} W_{ij} z_j \\ z_i &= \sum_{j=1}^{N} W_{ij} x_j")
    other = read_model(r"y_i &= \sum_{j=1}^{N} W_{ij} z_j \\ z_i &= \sum_{j=1}^{N} W_{ji} x_j")
    assert isomorphism(one.system, one.system) is not None
    assert isomorphism(one.system, other.system) is None


# ---------------------------------------------------------------- how it is printed


def test_a_derivation_in_another_author_s_letters() -> None:
    """The derivation takes fresh letters as it goes: what is different stays different."""
    a, b = read_model(TWO_LAYERS), read_model(VERSE)
    network = Network(a.system, translate(a.system, a.notation, b.system, b.notation), "two layers")
    text = network.derive("W_1").latex()
    assert r"\frac{\partial J}{\partial U_{ba}} &= \boxed{\sum_{m=1}^{N}" in text
    assert "W" not in text and r"\phi" not in text


def test_two_families_never_look_the_same() -> None:
    """What does not correspond keeps its letter; where the other author has that letter for something else, it is refused."""
    a = read_model(
        r"z_j &= \sum_{k=1}^{K} w_{jk} x_k \\ a_j &= \sigma(z_j) \\ C &= \sum_{j=1}^{J} v_j \left(a_j - y_j\right)^2"
    )
    b = read_model(
        r"z_j &= \sum_{k=1}^{K} u_{jk} x_k \\ v_j &= \sigma(z_j) \\ C &= \sum_{j=1}^{J} \left(v_j - y_j\right)^2"
    )
    with pytest.raises(ModelError, match="would both be written v"):
        pair(a, b)


@pytest.mark.parametrize(
    "pairs, whole",
    [
        ({}, {}),
        ({"j": "s"}, {"j": "s", "s": "j"}),
        ({"j": "s", "s": "t"}, {"j": "s", "s": "t", "t": "j"}),
        ({"i": "j", "j": "i"}, {"i": "j", "j": "i"}),
    ],
)
def test_letters_are_exchanged(pairs: Mapping[str, str], whole: Mapping[str, str]) -> None:
    assert permutation(pairs) == whole


def test_the_table_of_what_is_called_what() -> None:
    a, b = library_model("attention"), read_model(SCORES)
    rows = table(correspondence(a.system, b.system), a.notation, b.notation, Text)
    shown = {r.here: (r.there, r.meaning) for r in rows}
    assert shown["Pᵢⱼ"] == ("αₜₛ", "computed") and shown["nⱼ"] == ("S", "size")


def test_a_formula_as_one_product() -> None:
    x, y = Ref("x", ()), Ref("y", ())
    p = product_of(x / (expr(2) * y) * Num(expr(3).value))  # type: ignore[attr-defined]
    assert (p.number.numerator, p.number.denominator, p.above, p.below) == (3, 2, (x,), (y,))
