"""The slip of a refuted line: named, placed, and undone so that the line is true; or not named at all."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from itertools import islice

import pytest
from slips_made import MADE, slips

from symbackprop import Network, dense, load
from symbackprop.errors import ReadIndexError
from symbackprop.judge.conventions import convention
from symbackprop.judge.edits import Candidate, Swap, differing, marks, text_with, tree
from symbackprop.judge.sampling import Samples, samples_of
from symbackprop.judge.scope import ShapeMismatch, equality
from symbackprop.judge.slips import Repairer, guess, repairs
from symbackprop.read.expression import read_line
from symbackprop.report import CAUSES, Fix

VECTORS = r"""
%| l = 1..L
%| shape W: j k
%| shape a, z, b, y: j
C &= \frac{1}{2} \lVert a^{(L)} - y \rVert^2 \\
z^{(l)} &= W^{(l)} a^{(l-1)} + b^{(l)} \\
a^{(l)} &= \sigma(z^{(l)})
"""

PENALTY = r"""
%| data \lambda
%| target y
\mathbf{z} &= \mathbf{W}^{(1)} \mathbf{x} \\
\mathbf{h} &= \phi(\mathbf{z}) \\
\mathbf{o} &= \mathbf{W}^{(2)} \mathbf{h} \\
L &= \ell(\mathbf{o}, \mathbf{y}) \\
s &= \frac{\lambda}{2} \left( \lVert \mathbf{W}^{(1)} \rVert_F^2 + \lVert \mathbf{W}^{(2)} \rVert_F^2 \right) \\
J &= L + s
"""

RECURRENT = r"""
%| t = 1..T
\mathbf{h}_t &= \mathbf{W}_{hx} \mathbf{x}_t + \mathbf{W}_{hh} \mathbf{h}_{t-1} \\
\mathbf{o}_t &= \mathbf{W}_{qh} \mathbf{h}_t \\
L &= \frac{1}{T} \sum_{t=1}^{T} \ell(\mathbf{o}_t, \mathbf{y}_t)
"""

OTHER_LETTERS = r"""
%| l = 1..L
\mathcal{L} &= \frac{1}{2} \sum_i (t_i - h^{[L]}_i)^2 \\
u^{[l]}_i &= \sum_m \theta^{[l]}_{im} h^{[l-1]}_m + c^{[l]}_i \\
h^{[l]}_i &= \tanh(u^{[l]}_i)
"""

MATRICES = r"""
%| shape X: n d
%| shape W: d k
%| shape T, Y: n k
Y &= X W \\
E &= \frac{1}{2} \lVert Y - T \rVert_F^2
"""

TWO_LAYERS = r"""
%| target y
p_j &= \sum_k U_{jk} x_k \\
q_j &= \frac{1}{1 + e^{-p_j}} \\
r_i &= \sum_j V_{ij} q_j \\
C &= \sum_i (r_i - y_i)^2 + \mu \sum_i \sum_j V_{ij}^2
"""

TEXTS = {
    "vectors": VECTORS,
    "penalty": PENALTY,
    "recurrent": RECURRENT,
    "letters": OTHER_LETTERS,
    "matrices": MATRICES,
    "two": TWO_LAYERS,
}


@lru_cache
def network(name: str) -> tuple[Network, Samples]:
    net = Network.from_latex(TEXTS[name]) if name in TEXTS else dense() if name == "lessons" else load(name)
    return net, samples_of(net.system, net.notation.width == "n")


def fixes(name: str, text: str, relation: int = 0, **options: int) -> tuple[Fix, ...]:
    net, samples = network(name)
    return repairs(text, relation, net.system, net.notation, samples=samples, **options)


def is_true(name: str, text: str) -> bool:
    net, samples = network(name)
    try:
        left, right = read_line(text, net.system, net.notation)
        found = samples.compare(equality(net.system, left, right))
    except (ShapeMismatch, ReadIndexError):  # of a sum that ends at the width of another layer, for one
        return False
    return found.difference is None and found.points > 0


CASES = (
    # factor
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = (a_j^{(L)} - y_j)", "factor", "2(a_j"),
    ("nielsen", r"\frac{\partial C}{\partial a^L_j} = 2(a^L_j - y_j)", "factor", "= (a^L_j"),
    ("penalty", r"\frac{\partial s}{\partial \mathbf{W}^{(1)}} = \frac{\lambda}{2} \mathbf{W}^{(1)}", "factor", r"= \lambda \mathbf{W}"),
    ("vae", r"\frac{\partial C}{\partial b^{(x)}_k} = \sum_{i=1}^{N} (\hat{x}_{ik} - x_{ik})", "factor", r"\frac{1}{N}"),
    # sign
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(y_j - a_j^{(L)})", "sign", "a_j^{(L)} - y_j"),
    ("nielsen", r"\delta^L_j = -(a^L_j - y_j) \sigma'(z^L_j)", "sign", r"= (a^L_j - y_j) \sigma"),
    ("penalty", r"\frac{\partial J}{\partial \mathbf{W}^{(1)}} = \frac{\partial J}{\partial \mathbf{z}} \mathbf{x}^\top - \lambda \mathbf{W}^{(1)}", "sign", r"+ \lambda"),
    # missing_activation_derivative
    ("lessons", r"\frac{\partial C_0}{\partial z_j^{(L)}} = 2(a_j^{(L)} - y_j)", "missing_activation_derivative", r"z_j^{(L)}\right)"),
    ("nielsen", r"\delta^L_j = (a^L_j - y_j) \sigma(z^L_j)", "missing_activation_derivative", r"\sigma'(z^L_j)"),
    ("vectors", r"\delta^{(L)} = a^{(L)} - y", "missing_activation_derivative", r"\odot"),
    ("nielsen", r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \frac{\partial C}{\partial a^l_j}", "missing_activation_derivative", ""),
    # missing_sum
    ("nielsen", r"\delta^l_j = w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)", "missing_sum", r"\sum_k"),
    ("lessons", r"\frac{\partial C_0}{\partial a_2^{(L-1)}} = 2(a_2^{(L)} - y_2) g'^{(L)}(z_2^{(L)}) w_{22}^{(L)}", "missing_sum", r"\sum_"),
    ("recurrent", r"\frac{\partial L}{\partial \mathbf{W}_{qh}} = \frac{\partial L}{\partial \mathbf{o}_t} \mathbf{h}_t^\top", "missing_sum", r"\sum_{t=1}^{T}"),
    # wrong_index, free_index_mismatch
    ("lessons", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_2) g'^{(L)}(z_1^{(L)}) a_2^{(L-1)}", "wrong_index", "y_1"),
    ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_k)", "wrong_index", r"\sigma'(z^l_j)"),
    ("recurrent", r"\frac{\partial L}{\partial \mathbf{W}_{qh}} = \sum_{t=1}^T \frac{\partial L}{\partial \mathbf{o}_t} \mathbf{h}_{t-1}^\top", "wrong_index", r"\mathbf{h}_{t}"),
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_k)", "free_index_mismatch", "y_j"),
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_k", "free_index_mismatch", r"= \delta^l_j"),
    # transposed_weight
    ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{jk} \delta^{l+1}_k \sigma'(z^l_j)", "transposed_weight", "w^{l+1}_{kj}"),
    ("lessons", r"\frac{\partial C_0}{\partial w_{kj}^{(L)}} = 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L-1)}", "transposed_weight", "w_{jk}"),
    ("vectors", r"\delta^{(l)} = (W^{(l+1)} \delta^{(l+1)}) \odot \sigma'(z^{(l)})", "transposed_weight", "^T"),
    ("vectors", r"\frac{\partial C}{\partial W^{(l)}} = a^{(l-1)} (\delta^{(l)})^T", "transposed_weight", ""),
    # wrong_layer
    ("nielsen", r"\frac{\partial C}{\partial w^l_{jk}} = a^l_k \delta^l_j", "wrong_layer", "a^{l-1}_k"),
    ("lessons", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial a_j^{(l+1)}} g'^{(l)}(z_j^{(l)}) w_{jk}^{(l+1)}", "wrong_layer", "g'^{(l+1)}(z_j^{(l+1)})"),
    ("penalty", r"\frac{\partial s}{\partial \mathbf{W}^{(1)}} = \lambda \mathbf{W}^{(2)}", "wrong_layer", r"\lambda \mathbf{W}^{(1)}"),
    # wrong_variable
    ("lessons", r"\frac{\partial z_j^{(l)}}{\partial w_{jk}^{(l)}} = z_k^{(l-1)}", "wrong_variable", "= a_k"),
    ("nielsen", r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(a^L_j)", "wrong_variable", r"\sigma'(z^L_j)"),
    ("recurrent", r"\frac{\partial L}{\partial \mathbf{W}_{qh}} = \sum_{t=1}^T \frac{\partial L}{\partial \mathbf{o}_t} \mathbf{x}_t^\top", "wrong_variable", r"\mathbf{h}"),
    # dropped_term
    ("3b1b-chain", r"\frac{\partial C_0}{\partial a^{(L-1)}} = \sigma'(z^{(L)}) 2(a^{(L)} - y)", "dropped_term", "w^{(L)}"),
    ("recurrent", r"\frac{\partial L}{\partial \mathbf{h}_t} = \mathbf{W}_{hh}^\top \frac{\partial L}{\partial \mathbf{h}_{t+1}}", "dropped_term", r"+ \mathbf{W}_{qh}^\top"),
    ("penalty", r"\frac{\partial J}{\partial \mathbf{W}^{(1)}} = \frac{\partial J}{\partial \mathbf{z}} \mathbf{x}^\top", "dropped_term", r"+ \lambda \mathbf{W}^{(1)}"),
    # extra_term
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j \sigma'(z^l_j)", "extra_term", r"= \delta^l_j"),
    ("lessons", r"\frac{\partial C_0}{\partial a_1^{(L)}} = \sum_{j=0}^{n-1} 2(a_j^{(L)} - y_j)", "extra_term", "2(a_1^{(L)} - y_1)"),
    # loss_derivative
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j)^2", "loss_derivative", "- y_j)"),
    ("nielsen", r"\delta^L_j = (a^L_j - y_j)^2 \sigma'(z^L_j)", "loss_derivative", r"- y_j) \sigma"),
    # other
    ("lessons", r"C_0 = \sum_{j=0}^{n-1} (a_j^{(L)} - y_j)", "other", "^2"),
    ("vectors", r"\frac{\partial C}{\partial W^{(l)}} = \delta^{(l)} \odot a^{(l-1)}", "other", ""),
)  # fmt: skip

OTHERS = (
    ("letters", r"\frac{\partial \mathcal{L}}{\partial u^{[L]}_i} = h^{[L]}_i - t_i", "missing_activation_derivative", r"\left(h^{[L]}_i - t_i\right)"),
    ("letters", r"\frac{\partial \mathcal{L}}{\partial u^{[L]}_i} = (h^{[L]}_i - t_i)(1 - h^{[L]}_i)", "missing_activation_derivative", r"^2"),
    ("letters", r"\frac{\partial \mathcal{L}}{\partial u^{[L]}_i} = (t_i - h^{[L]}_i)(1 - (h^{[L]}_i)^2)", "sign", r"h^{[L]}_i - t_i"),
    ("letters", r"\frac{\partial \mathcal{L}}{\partial \theta^{[l]}_{im}} = \frac{\partial \mathcal{L}}{\partial u^{[l]}_i} h^{[l]}_m", "wrong_layer", r"h^{[l-1]}_m"),
    ("letters", r"\frac{\partial \mathcal{L}}{\partial h^{[l]}_m} = \sum_i \theta^{[l+1]}_{mi} \frac{\partial \mathcal{L}}{\partial u^{[l+1]}_i}", "transposed_weight", r"\theta^{[l+1]}_{im}"),
    ("letters", r"u^{[l]}_i = \sum_m \theta^{[l]}_{im} h^{[l-1]}_m", "dropped_term", r"+ c^{[l]}_i"),
    ("letters", r"\frac{\partial \mathcal{L}}{\partial \theta^{[l]}_{im}} = \frac{\partial \mathcal{L}}{\partial u^{[l]}_i}", "dropped_term", r"h^{[l-1]}_m"),
    ("matrices", r"\frac{\partial E}{\partial W} = X (Y - T)", "transposed_weight", r"X^T"),
    ("matrices", r"\frac{\partial E}{\partial W} = (Y - T) X^T", "other", r"X^T (Y - T)"),
    ("matrices", r"\frac{\partial E}{\partial W} = 2 X^T (Y - T)", "factor", r"= X^T"),
    ("two", r"\frac{\partial C}{\partial V_{ij}} = 2(r_i - y_i) q_j", "dropped_term", r"+ 2 \mu V_{ij}"),
    ("two", r"\frac{\partial C}{\partial V_{ij}} = 2(r_i - y_i) q_j + \mu V_{ij}", "factor", r"2\mu V_{ij}"),
    ("two", r"\frac{\partial C}{\partial U_{jk}} = \sum_i 2(r_i - y_i) V_{ij} q_j x_k", "missing_activation_derivative", r"(1-q_j)"),
    ("two", r"\frac{\partial C}{\partial U_{jk}} = 2(r_i - y_i) V_{ij} q_j (1 - q_j) x_k", "missing_sum", r"\sum_i"),
    ("two", r"\frac{\partial C}{\partial r_i} = (r_i - y_i)^2", "loss_derivative", r"2(r_i - y_i)"),
    ("two", r"\frac{\partial C}{\partial V_{ij}} = 2(r_i - y_i) p_j + 2 \mu V_{ij}", "wrong_variable", r"q_j"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "cause", "part"),
    (*CASES, *OTHERS),
    ids=[f"{c[2]}-{c[0]}-{n}" for n, c in enumerate((*CASES, *OTHERS))],
)
def test_the_slip_is_named_and_undone(name: str, text: str, cause: str, part: str) -> None:
    found = fixes(name, text)
    assert found, "no repair"
    assert found[0].cause == cause
    assert part in found[0].latex
    assert found[0].what
    for f in found:
        assert f.cause in CAUSES
        assert is_true(name, f.latex)
    assert len({f.cause for f in found}) == len(found) <= 3


def test_every_cause_that_a_repair_has_is_tried_here() -> None:
    never = {"shape_mismatch", "index_out_of_range"}  # named from the reading alone
    assert {c[2] for c in CASES} | never == set(CAUSES)


@pytest.mark.parametrize("cause", MADE)
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mlp", r"\frac{\partial C}{\partial z_{ij}^{(l)}} = \left(\sum_{r=1}^{n_{l+1}} \frac{\partial C}{\partial a_{ir}^{(l+1)}}\, g'^{(l+1)}\left(z_{ir}^{(l+1)}\right)\, w_{rj}^{(l+1)}\right)\, g'^{(l)}\left(z_{ij}^{(l)}\right)"),
        ("3b1b", r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = a_k^{(L-1)}\, \sigma'\left(z_j^{(L)}\right)\, 2\left(a_j^{(L)} - y_j\right)"),
        ("dense", r"\frac{\partial C}{\partial W_{jk}} = \sum_{i=1}^{N} \bar{a}_{ij}\, g'\left(z_{ij}\right)\, x_{ik}"),
    ],
)  # fmt: skip
def test_slips_made_in_right_lines_are_undone(cause: str, name: str, line: str) -> None:
    assert is_true(name, line)
    made = [wrong for c, wrong in slips(line) if c == cause]
    for wrong in random.Random(cause).sample(made, min(2, len(made))):
        if not is_true(name, wrong):
            found = fixes(name, wrong)
            assert found, wrong
            assert all(is_true(name, f.latex) for f in found)


# ---------------------------------------------------------------- where it must say no


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # Two slips of different kinds: no single correction makes it true.
        ("nielsen", r"\delta^l_j = 3 \sum_k w^{l+1}_{jk} a^{l+1}_k \sigma(z^l_k)"),
        ("lessons", r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = z_j^{(l)} + a_k^{(l)} + y_j"),
        ("recurrent", r"\frac{\partial L}{\partial \mathbf{h}_t} = \mathbf{x}_t"),
    ],
)
def test_what_no_correction_repairs_has_no_repair(name: str, text: str) -> None:
    assert fixes(name, text) == ()


def test_a_near_miss_is_no_repair() -> None:
    """Right at j = k alone, or only where the sum has one term."""
    text = r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_j \delta^l_j"
    net, samples = network("nielsen")
    r = Repairer(text, 0, net.system, net.notation, samples)
    assert not r.holds(text)
    assert not r.holds(r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_k")
    assert r.holds(r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j")


def test_a_line_that_says_nothing_is_no_repair() -> None:
    """dC/di = dC/dc is not mended into dC/di = dC/di, nor 0 = 0."""
    for f in fixes("lstm", r"\frac{\partial C}{\partial i_{tnj}} = \frac{\partial C}{\partial c_{tnj}}"):
        left, right = f.latex.split(" = ")
        assert left != right


def test_no_index_that_one_side_leaves_open_stays_open() -> None:
    found = fixes("nielsen", r"\delta^l_j = w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)")
    assert found
    assert all(r"\sum" in f.latex for f in found)


# ---------------------------------------------------------------- marks, order, chains


def test_the_place_is_marked_in_both_lines() -> None:
    text = r"\delta^l_j = \sum_k w^{l+1}_{jk} \delta^{l+1}_k \sigma'(z^l_j)"
    (fix, *_) = fixes("nielsen", text)
    assert [text[m.start : m.end] for m in fix.wrong] == ["jk"]
    assert [fix.latex[m.start : m.end] for m in fix.right] == ["kj"]


def test_what_is_missing_is_marked_as_a_place_and_what_is_too_many_leaves_no_mark() -> None:
    missing = r"\delta^L_j = (a^L_j - y_j)"
    (fix, *_) = fixes("nielsen", missing)
    assert [m.start == m.end for m in fix.wrong] == [True]
    assert fix.latex[fix.right[0].start : fix.right[0].end].startswith((r"\sigma'", r"\,"))
    (fix, *_) = fixes("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j \sigma'(z^l_j)")
    assert fix.right == ()


def test_marks_do_not_cut_a_command() -> None:
    assert differing(r"\sigma z", r"\sigma' z") == [((6, 6), (6, 7))]
    assert differing(r"\alpha", r"\alphabet") == [((0, 6), (0, 9))]
    node = tree("a + b")
    assert node is not None
    assert marks("a + b", [Swap(node, "a - b")])[0][0].start == 2


def test_the_rest_of_the_line_stays_as_its_author_wrote_it() -> None:
    text = r"\frac{\partial C_0}{\partial w_{jk}^{(L)}}  =  2 \bigl( a_j^{(L)}-y_j \bigr)\; g^{\prime(L)}\!\left(z_k^{(L)}\right) \, a_k^{(L-1)}"
    (fix, *_) = fixes("lessons", text)
    assert fix.latex == text.replace("z_k", "z_j")


def test_only_the_refuted_equality_of_a_chain_is_changed() -> None:
    text = r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j) = (y_j - a^L_j) \sigma'(z^L_j)"
    (fix, *_) = fixes("nielsen", text, relation=1)
    assert fix.cause == "sign"
    assert fix.latex.startswith(r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j) = ")


def test_a_continued_line_is_repaired_on_its_own_side() -> None:
    net, samples = network("nielsen")
    (before,) = read_line(r"\frac{\partial C}{\partial a^L_j} \sigma'(z^L_j)", net.system, net.notation)
    text = r"&= (a^L_j - y_j) \sigma(z^L_j)"
    (fix, *_) = repairs(text, 0, net.system, net.notation, samples=samples, before=before)
    assert fix.cause == "missing_activation_derivative"
    assert fix.latex == r"&= (a^L_j - y_j) \sigma'(z^L_j)"


def test_a_term_of_the_line_before_may_have_been_dropped() -> None:
    net, samples = network("penalty")
    line = r"\frac{\partial J}{\partial \mathbf{W}^{(1)}} = \frac{\partial J}{\partial \mathbf{z}} \mathbf{x}^\top + \lambda \mathbf{W}^{(1)} = \left(\frac{\partial J}{\partial \mathbf{h}} \odot \phi'(\mathbf{z})\right) \mathbf{x}^\top"
    (fix, *_) = repairs(line, 1, net.system, net.notation, samples=samples)
    assert fix.cause == "dropped_term"
    assert fix.latex.endswith(r"+ \lambda \mathbf{W}^{(1)}")


def test_a_slip_made_twice_is_undone_twice() -> None:
    text = r"\frac{\partial C}{\partial w^{L-1}_{kp}} = \sum_j (a^L_j - y_j)\sigma'(z^L_j) w^L_{jp} \sigma'(z^{L-1}_p) a^{L-2}_p"
    (fix, *_) = fixes("nielsen", text)
    assert fix.cause == "wrong_index"
    assert len(fix.wrong) == 2


def test_the_same_line_has_the_same_repairs() -> None:
    text = r"\delta^l_j = \sum_k w^{l+1}_{jk} \delta^{l+1}_k \sigma'(z^l_j)"
    net, _ = network("nielsen")
    fresh = Samples(net.system, False, 0)
    assert repairs(text, 0, net.system, net.notation, samples=fresh) == fixes("nielsen", text)


def test_the_text_of_a_candidate_is_the_line_with_it_in_place() -> None:
    node, other = tree("a_j b_k"), tree("x")
    assert node is not None
    assert other is not None
    first, second = node.factors  # type: ignore[union-attr]
    assert text_with("a_j b_k", [Swap(second, "b_j"), Swap(first, "a_k")]) == "a_k b_j"
    assert Candidate((Swap(first, "x"),), "other", 1, "").disjoint(Candidate((Swap(second, "x"),), "other", 1, ""))
    assert not Candidate((Swap(node, "x"),), "other", 1, "").disjoint(Candidate((Swap(first, "x"),), "other", 1, ""))


# ---------------------------------------------------------------- budgets and hostile rows


def test_no_more_is_tried_than_the_budget_allows() -> None:
    net, samples = network("lessons")
    text = r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = z_j^{(l)} + a_k^{(l)} + y_j"
    r = Repairer(text, 0, net.system, net.notation, samples, None, 7)
    assert r.fixes(3) == ()
    assert r.tried <= 3 * 7  # the likely ones, the others, two at a time
    assert fixes("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = (a_j^{(L)} - y_j)", budget=0) == ()


def test_a_long_line_has_few_corrections_tried() -> None:
    many = " + ".join(rf"a_j^{{(L)}} w_{{jk}}^{{({n})}}" for n in range(60))
    net, samples = network("lessons")
    r = Repairer(rf"C_0 = {many}", 0, net.system, net.notation, samples, None, 20)
    assert r.fixes(1) == ()
    assert r.tried <= 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "a",
        "a = ",
        "= b",
        r"\frac{",
        r"a_j = \def\x{y} \x",
        r"C_0 = \undefined{3}",
        r"C_0 = " + "(" * 90 + "a" + ")" * 90,
        "C_0 = " + "a_j " * 2000,
        "C_0 \\\\ = 3",
        "C_0 = 9^{9^{9}}",
        r"C_0 = \sum_{j=0}^{999999999} y_j",
        r"\text{so } C_0 = 1, \quad a = b",
        "C_0 = \x00\x01",
        r"C_0 = {} = {}",
    ],
)
def test_a_row_that_is_no_claim_has_no_repair_and_no_traceback(text: str) -> None:
    net, samples = network("lessons")
    for relation in (0, 1, 5):
        found = repairs(text, relation, net.system, net.notation, samples=samples, budget=30)
        assert all(is_true("lessons", f.latex) for f in found)
        assert set(guess(text, relation, net.system, net.notation)) <= set(CAUSES)
        convention(text, relation, net.system, net.notation, samples=samples)


def test_broken_lines_have_true_repairs_or_none() -> None:
    r, token = random.Random(7), re.compile(r"\\[A-Za-z]+|.", re.DOTALL)
    for _ in range(60):
        name, text, _, _ = r.choice(CASES)
        tokens = token.findall(text)
        for _ in range(r.randint(1, 3)):
            at = r.randrange(len(tokens))
            tokens[at : at + r.randint(0, 1)] = r.choice(([], [r.choice(tokens)], ["{"], ["^"], ["="]))
        broken = "".join(tokens)
        net, samples = network(name)
        for f in fixes(name, broken, budget=5):
            assert is_true(name, f.latex)
        assert set(guess(broken, 0, net.system, net.notation)) <= set(CAUSES)
        convention(broken, 0, net.system, net.notation, samples=samples)


def test_what_the_structure_alone_tells() -> None:
    net, _ = network("nielsen")
    assert "missing_sum" in guess(r"\delta^l_j = w^{l+1}_{kj}", 0, net.system, net.notation)
    assert (
        guess(r"\frac{\partial C}{\partial w^l_{jk}} = \delta^l_j", 0, net.system, net.notation)[0]
        == "free_index_mismatch"
    )
    assert guess(r"\delta^l_j = y_j", 0, net.system, net.notation) == ("other",)
    net, _ = network("vectors")
    found = guess(r"\frac{\partial C}{\partial W^{(l)}} = \delta^{(l)} a^{(l-1)}", 0, net.system, net.notation)
    assert found[0] == "shape_mismatch"


# ---------------------------------------------------------------- conventions

CONVENTIONS = (
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = a_j^{(L)} - y_j", "one half in the cost"),
    ("nielsen", r"\delta^L_j = 2 (a^L_j - y_j) \sigma'(z^L_j)", "without the one half"),
    ("nielsen", r"\delta^L_j = (y_j - a^L_j) \sigma'(z^L_j)", "the error has the opposite sign"),
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(y_j - a_j^{(L)})", "minus sign outside"),
    ("lessons", r"\frac{\partial z_j^{(L)}}{\partial a_k^{(L-1)}} = w_{kj}^{(L)}", "the node that it leaves"),
    ("3b1b", r"\frac{\partial z_j^{(l+1)}}{\partial a_k^{(l)}} = w_{jk}^{(l)}", "the layer that it leaves"),
    ("vectors", r"\frac{\partial C}{\partial W^{(l)}} = a^{(l-1)} (\delta^{(l)})^T", "numerator layout"),
    ("recurrent", r"\frac{\partial L}{\partial \mathbf{o}_t} = 0", ""),
)  # fmt: skip


@pytest.mark.parametrize(("name", "text", "words"), CONVENTIONS, ids=[c[2] or "none" for c in CONVENTIONS])
def test_the_convention_in_which_a_line_holds(name: str, text: str, words: str) -> None:
    net, samples = network(name)
    found = convention(text, 0, net.system, net.notation, samples=samples)
    assert (words in found) if found is not None else not words


def test_a_derivative_with_the_rest_held_fixed_is_told() -> None:
    net = Network.from_latex("u &= w x \\\\\nC &= u^2 + w u")
    samples = samples_of(net.system)
    found = convention(r"\frac{\partial C}{\partial w} = u", 0, net.system, net.notation, samples=samples)
    assert found is not None
    assert "direct effect" in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_k)"),
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 3 (a_j^{(L)} - y_j)"),
        ("lessons", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = \frac{\partial C_0}{\partial a_1^{(L)}} \frac{\partial a_1^{(L)}}{\partial z_1^{(L)}} \frac{\partial z_1^{(L)}}{\partial w_{21}^{(L)}}"),
        ("nielsen", r"\delta^L_j = (a^L_j - y_j) \sigma(z^L_j)"),
    ],
)  # fmt: skip
def test_no_convention_excuses_a_slip(name: str, text: str) -> None:
    net, samples = network(name)
    assert convention(text, 0, net.system, net.notation, samples=samples) is None


def test_the_generator_makes_slips_of_every_cause() -> None:
    line = r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = \sum_{p=0}^{n-1} a_k^{(L-1)}\, w_{pj}^{(L)}\, \sigma'\left(z_j^{(L)}\right)\, 2\left(a_j^{(L)} - y_j\right)"
    made = {c for c, _ in slips(line)}
    assert made >= set(MADE) - {"dropped_term"}
    assert list(islice(slips(line), 5)) == list(islice(slips(line), 5))
