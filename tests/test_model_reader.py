"""Model files: what is inferred, what is refused and where, and formulas about any model read back."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symbackprop
from symbackprop import load
from symbackprop.check import check_record
from symbackprop.derive import derive
from symbackprop.errors import ModelError, ModelReadError, ReadError, SymbackpropError
from symbackprop.indices import Axis, affine, at_least, between, equals
from symbackprop.network import SizeRule, System, dense_system, with_upstream
from symbackprop.read.expression import read_expression, read_line
from symbackprop.read.goal import read_goal
from symbackprop.read.model import Model, read_model
from symbackprop.read.paper import on_paper
from symbackprop.render.latex import Latex
from symbackprop.symbols import (
    ONE,
    ZERO,
    Assign,
    Call,
    Compare,
    D,
    Delta,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    Winner,
    expr,
    same,
)

LIBRARY = {p.stem: p for p in sorted((Path(symbackprop.__file__).parent / "library").glob("*.tex"))}
SETTINGS = {p.stem: p for p in sorted((Path(__file__).parent / "settings").glob("*.tex"))}


@functools.cache
def model(name: str) -> Model:
    return read_model(({**SETTINGS, **LIBRARY})[name].read_bytes())


def ref(family: str, *indices: object) -> Ref:
    return Ref(family, tuple(affine(i) for i in indices))  # type: ignore[arg-type]


def node(label: str) -> Axis:
    return Axis("node", label)


def equation(system: System, family: str) -> Expr:
    return next(e.rhs for e in system.equations if e.lhs.family == family)


# ---------------------------------------------------------------- the lessons' networks


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deeplizard", {}),
        ("3b1b", {"bias": True, "activation": "same"}),
        ("3b1b-chain", {"bias": True, "activation": "same", "width": 1}),
        ("nielsen", {"bias": True, "activation": "same", "loss": "half_sum_squares"}),
        ("nielsen-general", {"bias": True, "activation": "same", "loss": "generic"}),
        ("softmax", {"bias": True, "activation": "sigmoid", "loss": "softmax_cross_entropy"}),
    ],
)
def test_the_lessons_files_are_the_networks_that_dense_builds(name: str, arguments: dict[str, object]) -> None:
    assert model(name).system.digest == dense_system(**arguments).digest  # type: ignore[arg-type]


def test_another_formula_is_another_network() -> None:
    text = LIBRARY["deeplizard"].read_text().replace("w_{jk}", "w_{kj}")
    assert read_model(text).system != dense_system()


# ---------------------------------------------------------------- what is inferred


def test_attention_has_the_axes_that_its_sums_give_it() -> None:
    s = model("attention").system
    axes = {n: f.axes for n, f in s.families.items()}
    i, j, v, d = node("n_i"), node("n_j"), node("n_v"), node("d")
    assert axes == {"S": (i, j), "P": (i, j), "O": (i, v), "Q": (i, d), "K": (j, d), "V": (j, v)}
    assert [n for n, f in s.families.items() if f.kind == "parameter"] == ["Q", "K", "V"]
    assert s.cost == "" and s.outputs == ("O",)
    product = ref("Q", "i", "c") * ref("K", "j", "c")
    assert equation(s, "S") == Mul((Div(ONE, Call("sqrt", (Size(d),))), Sum("c", d, product)))


def test_a_sum_up_to_another_index_is_a_guard() -> None:
    s = model("causal-attention").system
    assert equation(s, "O") == Sum("j", node("N"), ref("P", "i", "j") * ref("V", "j", "v"), (at_least("i", "j"),))
    assert s.families["P"].guard == (at_least("i", "j"),)


def test_a_window_with_stride_and_padding_is_a_computed_index_kept_inside() -> None:
    s = model("conv1d").system
    at = affine("s") * affine("i") + "k" - "p"
    inside = (at_least(at, 0), at_least(affine("M") - 1, at))
    x = Ref("x", (affine("b"), affine("c"), at))
    assert equation(s, "y") == (
        Sum("c", node("C"), Sum("k", node("K"), ref("w", "o", "c", "k") * x, inside)) + ref("beta", "o")
    )
    assert s.integers == ("s", "p")
    assert s.rules == {"I": SizeRule(affine("M") + affine("p") * 2 - "K", affine("s"), 1)}


@pytest.mark.parametrize(("written", "shift"), [("i + k", 1), ("i + k - 1", 0), ("i + k - 2", -1)])
def test_positions_count_from_zero_inside(written: str, shift: int) -> None:
    s = read_model(rf"%| i = 1..I" "\n" rf"y_i &= \sum_{{k=1}}^{{K}} w_k x_{{{written}}}").system
    assert equation(s, "y") == Sum("k", node("K"), ref("w", "k") * ref("x", affine("i") + "k" + shift))


def test_a_time_is_the_index_that_occurs_shifted_and_begins_with_a_base_case() -> None:
    s = model("rnn").system
    time = Axis("recursion", "T", None, affine(0), affine("T"))
    assert s.families["h"].axes == (time, node("J"))
    assert s.families["h"].guard == between(0, "t", "T") and s.families["x"].guard == between(1, "t", "T")
    assert s.families["h_0"].kind == "input" and s.families["h_0"].axes == (node("J"),)
    base = s.equations[-1]
    assert (base.lhs, base.rhs, base.guard) == (ref("h", "t", "j"), ref("h_0", "j"), (equals("t", 0),))
    assert s.families["W"].axes == (node("J"), node("J"))


def test_widths_that_nothing_ties_differ_from_layer_to_layer() -> None:
    f = model("mlp").system.families
    at = lambda layer: Axis("node", "n", affine(layer))  # noqa: E731
    assert f["w"].axes[1:] == (at("l"), at(affine("l") - 1))
    assert f["a"].axes[1:] == (node("N"), at("l")) and f["y"].axes == (node("N"), at("L"))


def test_a_batch_that_every_layer_shares_does_not_depend_on_the_layer() -> None:
    assert model("transformer").system.families["x"].axes[1:] == (node("n_b"), node("N"), node("D"))


def test_a_label_picks_a_row() -> None:
    s = model("embedding").system
    chosen = Where(Compare("==", ref("x", "t"), Position(affine("v"))), ONE, ZERO)
    assert equation(s, "y") == Sum("v", node("V"), Mul((chosen, ref("E", "v", "c"))))
    assert s.families["x"].over == node("V")


def test_a_name_above_is_a_unit_an_index_above_is_none() -> None:
    s = model("multi-head-attention").system
    assert {"W_Q", "W_K", "W_V", "W_O"} <= s.families.keys()
    assert model("multi-head-attention").notation.written["W_Q"].unit == "Q"
    assert model("samples-above").system.families["x"].axes == (node("m"), node("n"))
    assert {"W_i", "i"} <= model("lstm").system.families.keys()


def test_bold_letters_are_columns_and_matrices() -> None:
    s = model("d2l-mlp").system
    assert equation(s, "z") == Sum("k", node("n_k"), ref("W_1", "j", "k") * ref("x", "k"))
    assert isinstance(equation(s, "L"), Call) and isinstance(equation(s, "L").parts[0], Vec)
    rows = model("row-vectors").system
    product = equation(rows, "Z")
    assert isinstance(product, Sum) and same(
        product, Sum("q", product.axis, ref("A", affine("l") - 1, "j", "q") * ref("W", "l", "q", "k"))
    )


def test_layers_may_be_named_by_the_one_they_leave() -> None:
    s = model("ufldl").system
    z = next(e for e in s.equations if e.lhs.family == "z")
    assert z.guard == between(2, "l", "L")
    assert s.families["W"].guard == between(1, "l", affine("L") - 1)
    assert s.families["W"].axes[1:] == (Axis("node", "n", affine("l") + 1), Axis("node", "n", affine("l")))


def test_functions_are_known_by_name_or_by_their_formula() -> None:
    assert equation(model("sigmoid-layers").system, "a") == Call("sigmoid", (ref("z", "l", "j"),))
    assert equation(model("relu-layers").system, "a") == Call("relu", (ref("z", "l", "j"),))
    assert isinstance(equation(model("leaky-cases").system, "a"), Where)
    assert equation(model("dense").system, "a") == Call("g", (ref("z", "i", "j"),))


def test_numbers_for_sizes() -> None:
    text = LIBRARY["deeplizard"].read_bytes()
    read = read_model(text, sizes={"L": 2, "n_0": 5, "n_1": 4, "n_2": 3}).system
    assert read == dense_system([5, 4, 3])
    assert read_model(LIBRARY["rnn"].read_bytes(), sizes={"T": 4}).system.sizes == {"T": 4}
    layered = read_model(LIBRARY["mlp"].read_bytes(), sizes={"L": 2, "n_0": 5, "n_1": 4, "n_2": 3}).system
    assert layered.widths == (5, 4, 3) and layered.layers == affine(2)


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("attention", {"Z": 3}, "Z is no size of this model; known: d, n_i, n_j, n_v"),
        ("attention", {"d": 0}, "the size d is 0; expected a whole number, at least 1"),
        ("attention", {"d": 2.5}, "the size d is 2.5; expected a whole number"),
        ("attention", {"d": True}, "the size d is True; expected a whole number"),
        ("attention", {"d": "3"}, "the size d is '3'; expected a whole number"),
        ("attention", {3: 3}, "3 is no name of a size"),
        ("attention", [3], "sizes are given by name"),
        ("mlp", {"L": 2, "n_3": 3}, "known: L, N, n_0, n_1, n_2"),
        ("deeplizard", {"k": 3}, "k is no size of this model"),
    ],
)
def test_numbers_for_no_size_are_refused(name: str, sizes: object, message: str) -> None:
    with pytest.raises(ModelError) as e:
        read_model(LIBRARY[name].read_bytes(), sizes=sizes)  # type: ignore[arg-type]
    assert message in str(e.value)


def test_padding_may_be_zero() -> None:
    assert read_model(LIBRARY["conv1d"].read_bytes(), sizes={"p": 0, "s": 1}).system.sizes == {"p": 0, "s": 1}


@pytest.mark.parametrize("given", [None, 3])
def test_what_is_no_model_is_refused(given: object) -> None:
    with pytest.raises(ModelError):
        symbackprop.load(given)  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        symbackprop.Network.from_latex(given)  # type: ignore[arg-type]


def test_a_vector_of_ones_and_a_number_beside_a_vector() -> None:
    one_minus = (ONE - ref("z", "j")) * ref("u", "j")
    for one in (r"\mathbf{1}", "1", r"\mathbb{1}"):
        assert equation(read_model(rf"\mathbf h &= ({one}-\mathbf z) \odot \mathbf u").system, "h") == one_minus
    total = read_model(r"C &= \mathbf{1}^\top \mathbf u").system
    assert equation(total, "C") == Sum("j", node("n_j"), ref("u", "j"))


def test_a_power_behind_an_argument_is_that_of_the_value() -> None:
    square = Pow(Call("f", (ref("x", "j"),)), expr(2))
    assert equation(read_model(r"z_j &= f(x_j)^2").system, "z") == square
    product = equation(read_model(r"z_j &= \lambda (x_j - y_j)^2").system, "z")
    assert isinstance(product, Mul) and product.factors[0] == ref("lambda")


def test_a_declared_range_is_the_axis_of_a_sum_over_a_part_of_it() -> None:
    s = read_model("%| i, j = 1..N\n" + r"s_i &= \sum_{j=1}^{i} x_j").system
    assert equation(s, "s") == Sum("j", node("N"), ref("x", "j"), (at_least("i", "j"),))
    part = read_model("%| i = 1..N\n" + r"C &= \sum_{i=2}^{N} x_i x_{i-1}").system
    assert equation(part, "C") == Sum("i", node("N"), ref("x", "i") * ref("x", affine("i") - 1), (at_least("i", 1),))


@pytest.mark.parametrize("left", [r"J(\theta)", "J(w)", r"J(\mathbf{w}, b)", "J(W^{(1)}; x, y)", "J"])
def test_a_cost_may_name_what_it_depends_on(left: str) -> None:
    s = read_model(left + r" &= \sum_{i=1}^{N} (w x_i + \theta - y_i)^2").system
    assert s == read_model(r"J &= \sum_{i=1}^{N} (w x_i + \theta - y_i)^2").system and s.cost == "J"


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ("C_{in}", "C_in"),
        (r"C_{\mathrm{in}}", "C_in"),
        ("d_{model}", "d_model"),
        (r"d_{\text{model}}", "d_model"),
        ("N_{h}", "N_h"),
    ],
)
def test_a_size_with_a_word_below(size: str, name: str) -> None:
    s = read_model(rf"C &= \sum_{{j=1}}^{{M}} \sum_{{i=1}}^{{{size}}} w_{{ji}} x_i / \sqrt{{{size}}}").system
    assert s.families["w"].axes == (node("M"), node(name)) and s.cost == "C"
    assert s.families["x"].axes == (node(name),)
    assert read_model(f"%| i = 1..{size}\nz_i &= w_i x_i").system.families["w"].axes == (node(name),)


def test_a_matrix_before_brackets_is_a_factor() -> None:
    s = read_model(r"C &= (\mathbf x - \mathbf m)^\top \mathbf P (\mathbf x - \mathbf m)").system
    assert len(s.families["P"].axes) == 2 and s.families["P"].kind == "parameter"


def test_sums_over_pairs() -> None:
    w, n = ref("w", "i", "j"), node("N")
    double = equation(read_model(r"C &= \sum_{i,j=1}^{N} w_{ij}").system, "C")
    assert double == Sum("i", n, Sum("j", n, w))
    below = Sum("i", n, Sum("j", n, w, (at_least(affine("j") - 1, "i"),)))
    for limits in (r"\sum_{i<j}", r"\sum_{1 \le i < j \le N}"):
        assert equation(read_model("%| i, j = 1..N\n" + rf"C &= {limits} w_{{ij}}").system, "C") == below
    unequal = equation(read_model("%| i, j = 1..N\n" + r"C &= \sum_{i \ne j} w_{ij}").system, "C")
    assert isinstance(unequal, Sum) and isinstance(unequal.body, Sum) and isinstance(unequal.body.body, Where)
    blocks = equation(read_model(r"C &= \sum_{i=1,j=1}^{N,M} w_{ij}").system, "C")
    assert blocks == Sum("i", n, Sum("j", node("M"), w))


def test_what_was_understood_names_its_line() -> None:
    entries = {e.name: e for e in model("rnn").provenance}
    assert (entries["C"].role, entries["C"].line) == ("cost", 4)
    assert entries["W"].role == "parameter" and "no equation" in entries["W"].why
    assert "no equation of the file" in entries["h_0"].why
    assert "declared on line" in {e.name: e for e in model("ridge").provenance}["lambda"].why


@pytest.mark.parametrize("name", sorted({**SETTINGS, **LIBRARY}))
def test_one_parameter_of_every_model_has_a_proved_gradient(name: str) -> None:
    s = with_upstream(model(name).system)
    if name == "transformer":
        pytest.skip("minutes; its block is checked")
    family = min((f for f in s.families.values() if f.kind == "parameter"), key=lambda f: f.name, default=None)
    family = family or next(f for f in s.families.values() if f.kind == "input" and f.name not in s.upstream.values())
    record = derive(s, Partial(Ref(s.cost, ()), family.pattern))
    assert check_record(record).verdict in ("proved", "undecided")


# ---------------------------------------------------------------- what is refused, and where

REFUSED = [
    (r"z_j &= w_{jk} x_k", 1, 12, "the index k is neither summed here nor on the left"),
    (r"z_j &= x_{jk} + x_j", 1, 12, "the index k is neither summed"),
    ("a_j &= b_j \\\\\nb_j &= a_j", 1, 1, "a rests on itself: a -> b -> a"),
    (
        "z_i &= \\sum_{k=1}^{K} W_{ik} x_k \\\\\ny_i &= \\sum_{k=1}^{M} V_{ik} x_k",
        2,
        14,
        "axes of unequal size: M here, K on line 1",
    ),
    ("z_i &= \\sum_{k=1}^{K} W_{ik} x_k \\\\\ny_i &= \\sum_{k=0}^{K-1} V_{ik} x_k", 2, 14, "counted from 0 here"),
    (r"z &= \sum x_i", 1, 6, "this sum names no index"),
    ("z_j &= x_j \\\\\nz_j &= 2 x_j", 2, 1, "z is defined twice, first on line 1"),
    ("z_j &= 2 x_j \\\\\n&= 3 x_j", 2, 4, "several right sides for z"),
    (r"z_j &= \sum_{k=1}^{K} w_{jk} x_k + k", 1, 36, "k is an index elsewhere"),
    (r"C &= \sum_{j=1}^{n} \sum_{n=1}^{3} x_{jn}", 1, 27, "n is a size or a last layer, and here an index"),
    ("C &= \\sum_{j=1}^{n} x_j \\\\\nn &= 3 y", 2, 1, "n is the end of a sum elsewhere, and a quantity here"),
    (r"\mathbf z &= \mathbf x \mathbf W", 1, 24, "a column times a matrix has no shape"),
    (r"\mathbf z &= \mathbf W \mathbf x + \mathbf W", 1, 36, "a sum of a column and a matrix"),
    (r"\mathbf z &= \mathbf x^\top", 1, 14, "the left side is a column, the right side a row"),
    (r"\mathbf z &= \mathbf x \mathbf y", 1, 24, "a column times a column has no shape"),
    ("%| frobnicate x\nz &= x", 1, 4, "this declaration is not understood"),
    ("%| l = 1..\nz^l &= z^{l-1}", 1, 1, "a number or letter is missing"),
    ("%| i = 1..N\n%| i = 1..M\nz_i &= x_i", 2, 1, "the range of i is declared twice"),
    ("%| size I = (M - K)/0\nz &= x", 1, 1, "divides by zero"),
    ("%| data q\nz_j &= x_j", 1, 1, "q stands in no equation"),
    ("%| fact \\sum_j q_j = 1\nC &= \\sum_{j=1}^n y_j", 1, 1, "q stands in no equation"),
    ("%| width\nz &= x", 1, 1, "nothing follows 'width'"),
    (r"z_j &= \frac{\partial C}{\partial x_j}", 1, 8, "read without derivatives"),
    ("%| t = 1..T\nh_t &= w h_{t+1}", 2, 1, "h is used at T+1, and defined up to T"),
    ("h_t &= w h_{t-1}", 1, 3, "the range of t is not known; declare it"),
    (r"y_{tc} &= E_{x_t c}", 1, 14, "declare on which axis its values are places"),
    ("a &= x \\\\\nb &= 2 x", 2, 1, "several numbers that nothing uses: a, b"),
    ("%| l = 1..L\na^l_j &= (\\sum_k w^l_{jk} a^{l-1}_k) + a^2_j", 2, 42, "a^2 may be layer 2 or a power"),
    (r"z_j^2 &= x_j", 1, 1, "a power or a transpose on the left"),
    (r"z_{jj} &= x_j", 1, 5, "the index j stands twice on the left"),
    (r"C &= \sum_{j=1}^{n} x_j + \cdots", 1, 27, "what the dots leave out is not known"),
    (r"z_j &= x_j, \quad \text{where it is fine}", 1, 19, "are not understood behind an equation"),
    (r"z_j + 1 &= x_j", 1, 1, "expected one quantity with its indices"),
    (r"z_j < x_j", 1, 5, "a model is made of equations"),
    (r"C &= \arg\max_j x_j", 1, 6, "argmax is no number"),
    (r"z_j &= f(x_j, w_j)", 1, 8, "applied to 2 quantities"),
    ("f(u) &= u^2 \\\\\nf(u) &= u \\\\\nz &= f(x)", 2, 1, "the function f is defined twice"),
    ("", 1, 1, "no equation in this file"),
    (
        r"y_n &= \sum_{j=1}^{M} w_j \phi_j(x_n)",
        1,
        27,
        r"write \phi_j x_n for a product, or declare '%| parameter \phi'",
    ),
    (r"y_n &= \sum_{j=1}^{M} \log f_j(x_n)", 1, 28, "may be a factor or a function"),
    (r"y_j &= \phi_j (x_j - c_j)", 1, 8, "may be a factor or a function"),
    (r"C &= \sum_{i=1}^{N} \frac{d f_i}{d x_i}", 1, 21, "read without derivatives"),
    (r"C &= \sum_{i=1}^{N} \tanh^{-1}(x_i)", 1, 21, "may be the inverse function or one over its value"),
    (r"C &= \sum_{i=1}^{N} \sin^{-1} x_i", 1, 21, "may be the inverse function"),
    (r"C &= \sum_{i=1}^{N} f^{-1}(x_i)", 1, 21, "may be the inverse function"),
    (r"\mathbf z &= \mathbf 1_n + \mathbf u", 1, 14, "a vector of ones with something below"),
    (r"\mathbf 1 &= \mathbf u", 1, 1, "1 on the left of an equation"),
    (r"C &= \sum_q 1", 1, 11, "a sum over q without a range that anything fixes"),
    (r"C &= \sum_q y", 1, 11, "q stands on no quantity"),
    (r"C &= \sum_{i=2}^{N} x_i x_{i-1}", 1, 12, "'%| i = 1..N' would fit, and '%| shape x: i' where x is that long"),
    (r"J(i) &= \sum_{i=1}^{N} x_i", 1, 3, "an index stands below, as in J_i"),
    (r"J(2) &= \sum_{i=1}^{N} x_i", 1, 2, "a function is defined for one letter"),
    ("z_j &= x_j \\\\\nJ(z) &= \\sum_{j=1}^M z_j \\\\\nC &= J(z)", 2, 22, "leave the brackets behind J out"),
    (r"y_n &= \sum_{j=1}^{M} \phi_j(x_n)^2", 1, 23, "may be a factor or a function"),
    (r"C &= \sum_{i<j<k} w_{ijk}", 1, 12, "a sum sign of its own for each index"),
    (r"C &= \sum_{i,j}^{N} w_{ij}", 1, 18, "an upper limit needs a lower one"),
    ("h_j &= x_j \\\\\nC &= \\sum_{j=1}^J hh_j", 2, 19, "h stands without its index in"),
    ("%| l = 1..L$\nz &= x", 1, 12, "'$' in 'L$' is not understood"),
    ("%| data x, +\nz &= x", 1, 12, "'+' is no symbol"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_what_has_no_one_meaning_is_refused_at_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ModelReadError) as e:
        read_model(text)
    assert message in str(e.value)
    assert (e.value.line, e.value.column) == (line, column)
    if text:
        assert e.value.excerpt.splitlines()[-1] == " " * (column - 1) + "^"


def test_bytes_that_are_no_text_are_refused_at_their_column() -> None:
    with pytest.raises(ModelReadError) as e:
        read_model(b"z_j = x_j\nab\xff")
    assert (e.value.line, e.value.column) == (2, 3)


PIECES = (
    "_",
    "^",
    "{",
    "}",
    "(",
    ")",
    r"\sum_{j=1}^{n}",
    "j",
    "l-1",
    r"\frac",
    r"\mathbf{W}",
    "&=",
    "\\\\\n",
    "0",
    "T",
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted({**SETTINGS, **LIBRARY})), st.integers(0, 2**32))
def test_a_damaged_file_is_a_model_or_an_error_with_a_place(name: str, seed: int) -> None:
    text, r = ({**SETTINGS, **LIBRARY})[name].read_text(), random.Random(seed)
    for _ in range(r.randint(1, 3)):
        at = r.randrange(len(text))
        text = text[:at] + r.choice((*PIECES, "")) + text[at + r.randint(0, 4) :]
    try:
        read_model(text)
    except ModelReadError as e:
        assert e.line


# ---------------------------------------------------------------- goals of any model


@pytest.mark.parametrize(
    ("name", "text", "family", "indices"),
    [
        ("conv1d", "w_{ock}", "w", "ock"),
        ("conv1d", "w_ock", "w", "ock"),
        ("conv1d", "w", "w", "ock"),
        ("conv1d", r"\beta_o", "beta", "o"),
        ("conv1d", "dC/dx_bcu", "x", "bcu"),
        ("multi-head-attention", r"\partial C/\partial W^{Q}_{hcd}", "W_Q", "hcd"),
        ("multi-head-attention", "W_Q", "W_Q", "hcd"),
        ("multi-head-attention", "W_Q_hcd", "W_Q", "hcd"),
        ("multi-head-attention", "Q_bhic", "Q", "bhic"),
        ("rnn", "h_{tj}", "h", "tj"),
        ("rnn", "h_0", "h_0", "j"),
        ("rnn", r"\frac{\partial C}{\partial U_{jk}}", "U", "jk"),
        ("elman-above", "h_{nj}^{(t)}", "h", "tnj"),
        ("transformer", r"\tilde{W}_{df}^{(l)}", "W_tilde", "ldf"),
        ("transformer", "W_tilde", "W_tilde", "ldf"),
        ("vae", r"W^{(\mu)}_{jk}", "W_mu", "jk"),
        ("vae", "b_mu_j", "b_mu", "j"),
        ("attention", "Q_ic", "Q", "ic"),
        ("mazur", "w_5", "w_5", ""),
    ],
)
def test_a_goal_in_a_models_own_notation(name: str, text: str, family: str, indices: str) -> None:
    m = model(name)
    s = with_upstream(m.system)
    assert read_goal(text, s, m.notation) == Partial(Ref(s.cost, ()), ref(family, *indices))


def test_goals_with_numbers_shifts_and_missing_indices() -> None:
    m, t = model("attention"), model("transformer")
    s, u = with_upstream(m.system), with_upstream(t.system)
    assert read_goal("Q_{12}", s, m.notation).bottom == ref("Q", 0, 1)
    assert read_goal("x_{bid}^{(l-1)}", u, t.notation).bottom == ref("x", affine("l") - 1, "b", "i", "d")
    assert read_goal("K_j", s, m.notation).bottom == Vec("c", node("d"), ref("K", "j", "c"))
    assert read_goal(r"\frac{\partial O_{iv}}{\partial Q_{kc}}", s, m.notation) == Partial(
        ref("O", "i", "v"), ref("Q", "k", "c")
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("attention", "z_j", "z_j is no symbol of this network"),
        ("attention", "C", "is the cost itself"),
        ("attention", "Q_{icv}", "has 3 indices below; Q has 2"),
        ("rnn", "h_{T+1,j}", "out of range, expected 0 to T"),
        ("attention", "frac Q", "a command without its backslash"),
        ("attention", "Q_{ic} + 1", "found a formula"),
        ("attention", "{" * 500, "column"),
    ],
)
def test_a_goal_that_means_nothing_says_so(name: str, text: str, message: str) -> None:
    m = model(name)
    with pytest.raises(SymbackpropError) as e:
        read_goal(text, with_upstream(m.system), m.notation)
    assert message in str(e.value)


# ---------------------------------------------------------------- formulas about a model

SHORT = [
    "attention", "causal-attention", "conv1d", "deeplizard", "embedding", "lasso", "max-pooling", "mlp",
    "multinomial-labels", "nielsen", "rnn", "softmax", "mazur", "elman-above", "ufldl", "row-vectors",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted({**SETTINGS, **LIBRARY}))
def test_the_equations_of_every_model_read_back(name: str) -> None:
    m = model(name)
    s = with_upstream(m.system)
    if any(s.size(a) == 1 for f in s.families.values() for a in f.axes):
        pytest.skip("the index of a single node is not printed")
    write = Latex(s, m.notation)
    if name in ("d2l-mlp", "d2l-bptt"):
        pytest.skip("a generic cost is printed with the letter of the cost, units below with indices in one row")
    for e in s.equations:
        for side in (e.lhs, e.rhs):
            text = write(side)
            assert on_paper(read_expression(text, s, m.notation), s, m.notation) == on_paper(side, s, m.notation), text


def unprintable(text: str) -> bool:
    """Primes of functions that are written without a name, and a bar without anything held: not yet LaTeX."""
    return any(x in text for x in (r"\sqrt'", " '\\left", r"\right|_{}", "{'\\left"))


@pytest.mark.parametrize("name", SHORT)
def test_the_lines_of_a_derivation_read_back(name: str) -> None:
    m = model(name)
    s = with_upstream(m.system)
    write = Latex(s, m.notation)
    family = next(f for f in s.families.values() if f.kind == "parameter" or f.name == "x")
    lines = [
        x
        for section in derive(s, Partial(Ref(s.cost, ()), family.pattern)).sections
        for step in section.steps
        for x in (step.before, step.after)
    ]
    for x in dict.fromkeys(lines):
        text = write(x)
        if unprintable(text):
            continue
        assert on_paper(read_expression(text, s, m.notation), s, m.notation) == on_paper(x, s, m.notation), text


def test_the_heads_that_only_derivations_have() -> None:
    m = model("mlp")
    s = m.system

    def read(text: str) -> Expr:
        return read_expression(text, s, m.notation)

    z, n = ref("z", "l", "i", "j"), Axis("node", "n", affine("l"))
    assert read(r"\frac{\partial C}{\partial z_{ij}^{(l)}}") == Partial(Ref("C", ()), z)
    assert read(r"\delta_{ij}^{(l)}") == Partial(Ref("C", ()), z)
    assert read(r"\delta_{jp} z_{ij}^{(l)}") == Delta(affine("j"), affine("p"), n) * z
    assert read(r"g'(z_{ij}^{(l)})") == read(r"g'^{(l)}(z_{ij}^{(l)})") == Call("g", (z,), 1, affine("l"))
    assert read(r"\frac{\partial}{\partial z_{ij}^{(l)}} z_{ij}^{(l)}") == D(z, z)
    assert read(r"w_{jk}^{(l)} \leftarrow w_{jk}^{(l)} - \eta") == Assign(
        ref("w", "l", "j", "k"), ref("w", "l", "j", "k") - Param("eta")
    )
    assert read(r"\left[1 \le l < L\right] z_{ij}^{(l)}") == Guarded(z, between(1, "l", affine("L") - 1))
    assert read(r"\underbrace{z_{ij}^{(l)}}_{\text{input}}") == z
    assert read_line(r"z_{ij}^{(l)} = 2 \cdot 3 = x_{ij}", s, m.notation)[2] == ref("x", "i", "j")
    assert same(read(r"\sum_{p=1}^{n_l} (z_{ip}^{(l)})^2"), Sum("q", n, Pow(ref("z", "l", "i", "q"), expr(2))))


def test_a_sum_written_out_with_dots_is_the_sum() -> None:
    m = model("deeplizard")

    def read(text: str) -> Expr:
        return read_expression(text, m.system, m.notation)

    below = Axis("node", "n", affine("l") - 1)
    product = Sum("k", below, ref("w", "l", "j", "k") * ref("a", affine("l") - 1, "k"))
    for middle in ("", r" + w_{j1}^{(l)} a_1^{(l-1)}", r" + \cdots + w_{jk}^{(l)} a_k^{(l-1)}"):
        text = rf"w_{{j0}}^{{(l)}} a_0^{{(l-1)}}{middle} + \cdots + w_{{j,n-1}}^{{(l)}} a_{{n-1}}^{{(l-1)}}"
        assert same(read(text), product), text
    causal = model("causal-attention")
    whole = read_expression(r"P_{i1} V_{1v} + \cdots + P_{ii} V_{iv}", causal.system, causal.notation)
    assert same(whole, equation(causal.system, "O"))


def test_a_place_of_the_largest_reads_back() -> None:
    m = model("max-pooling")
    s = with_upstream(m.system)
    x = Ref("x", (affine("b"), affine("c"), affine("s") * affine("i") + "k", affine("s") * affine("j") + "p"))
    largest = Winner(Max("p", node("r"), x), affine("m"))
    text = Latex(s, m.notation)(Sum("k", node("r"), Sum("m", node("r"), Mul((Num(expr(2).value), largest)))))  # type: ignore[attr-defined]
    assert "arg" in text
    read = read_expression(text, s, m.notation)
    assert same(read, Sum("k", node("r"), Sum("m", node("r"), Mul((expr(2), largest)))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"q_j", "is no symbol of this network"),
        (r"w_{jkp}^{(l)}", "has 3 indices below; w has 2"),
        (r"x_{11} + \cdots + w_{12}^{(1)}", "what the dots leave out"),
        (r"\frac{\partial^2 C}{\partial z_{ij}^{(l)}}", "higher order"),
        (r"C = ", "column"),
    ],
)
def test_a_formula_that_means_nothing_says_so(text: str, message: str) -> None:
    m = model("mlp")
    with pytest.raises(ReadError) as e:
        read_line(text, m.system, m.notation)
    assert message in str(e.value)


def test_a_sum_that_begins_before_its_axis_is_refused() -> None:
    with pytest.raises(ModelReadError, match="begins at 0 here, but its axis at 1"):
        read_model(r"C = \sum_{i=1}^{N} x_i w_i + \sum_{i=0}^{N} x_i")


def test_a_recursion_that_begins_on_two_sides_is_refused() -> None:
    text = "%| i = 1..I\n%| j = 1..J\n" + r"h_{ij} = \tanh(u h_{i-1,j} + v h_{i,j-1} + x_{ij})"
    with pytest.raises(ModelReadError, match="two of its indices"):
        read_model(text)


def test_a_condition_on_a_quantity_is_refused() -> None:
    with pytest.raises(ModelReadError, match="which is no index"):
        read_model(r"C = \sum_{i=1}^{N} r_i \\ r_i = w_i x_i \text{ where } w_i > 0")


@pytest.mark.parametrize("sign", ["*", "+", "-"])
def test_a_sign_above_a_letter_is_no_name(sign: str) -> None:
    with pytest.raises(ModelReadError):
        read_model(rf"z_j = \sum_{{k=1}}^{{K}} w^{sign}_{{jk}} x_k")


# ---------------------------------------------------------------- letters that name layers, labels, words

BISHOP = r"E_n &= \frac12 \sum_k (y_k - t_k)^2 \\ y_k &= a_k \\ a_k &= \sum_j w_{kj} z_j \\ z_j &= h(a_j) \\ a_j &= \sum_i w_{ji} z_i"


def test_letters_may_name_layers() -> None:
    """Two equations of one symbol for different letters, without conditions, define two quantities."""
    m = read_model("%| target t\n" + BISHOP)
    kinds = {n: f.kind for n, f in m.system.families.items()}
    assert kinds == {
        "E": "cost", "y": "derived", "t": "target", "a_k": "derived", "w_kj": "parameter", "z_j": "derived",
        "a_j": "derived", "w_ji": "parameter", "z_i": "input",
    }  # fmt: skip
    assert m.system.families["w_kj"].axes[1] == m.system.families["z_j"].axes[0] == m.system.families["w_ji"].axes[0]
    assert Latex(m.system, m.notation)(m.system.equations[4].rhs) == r"\sum_i w_{ji}\, z_i"


def test_two_equations_with_conditions_are_of_one_quantity() -> None:
    m = read_model("%| t = 1..T\n" + r"h_t = \tanh(u h_{t-1}) \quad (t > 1) \\ h_1 = v")
    assert "h" in m.system.families and not any(n.startswith("h_t") for n in m.system.families)


def test_one_equation_twice_is_still_refused() -> None:
    with pytest.raises(ModelReadError, match="defined twice"):
        read_model(r"C = \sum_j z_j \\ z_j = \sum_k w_{jk} x_k \\ z_j = \sum_k v_{jk} x_k")


def test_a_label_below_a_cost_is_no_index() -> None:
    m = read_model("%| index y_i: k\n" + r"L_i = -\log p_{y_i} \\ p_k = \frac{e^{f_k}}{\sum_j e^{f_j}}")
    assert m.system.cost == "L" and not m.system.family("y").axes and m.system.family("y").over is not None
    assert m.notation.labels == {"i"} and Latex(m.system, m.notation)(Ref("L", ())) == "L_i"


@pytest.mark.parametrize(
    "text",
    [
        r"C &= \frac1N \sum_{i=1}^N L_i \\ L_i &= (w x_i - y_i)^2",  # a sum binds it
        r"L_i &= (z_i - y_i)^2 \\ z_i &= w x_i",  # another quantity is computed for it
        r"o_i &= m_i x_i",  # no cost
    ],
)
def test_an_index_below_a_cost_stays_one(text: str) -> None:
    assert read_model(text).notation.labels == frozenset()


@pytest.mark.parametrize("below", ["total", r"\mathrm{total}", r"\text{total}", "tot"])
def test_a_word_below_is_a_name(below: str) -> None:
    m = read_model(rf"E_{{{below}}} = \sum_j (x_j - y_j)^2")
    assert m.system.cost == f"E_{'tot' if below == 'tot' else 'total'}"


def test_units_with_numbers_below_an_upright_word() -> None:
    m = read_model(r"\mathrm{out}_{o1} = \tanh(\mathrm{net}_{o1}) \\ \mathrm{net}_{o1} = w_1 \mathrm{out}_{h1}")
    assert {"out_o1", "net_o1", "out_h1"} <= m.system.families.keys()


@pytest.mark.parametrize(("text", "indices"), [("w_{jk}", 2), ("w_{ijkl}", 4), ("w_{jj}", 1), (r"w_{11}", 0)])
def test_letters_below_are_indices_unless_they_are_a_word(text: str, indices: int) -> None:
    bound = "".join(rf"\sum_{x} " for x in dict.fromkeys(x for x in text[3:-1] if x.isalpha()))
    m = read_model(rf"C = {bound} {text}^2")
    (family,) = (f for f in m.system.families.values() if f.kind == "parameter")
    assert len(set(family.indices)) >= indices


def test_a_place_that_nothing_is_taken_at_is_refused() -> None:
    with pytest.raises(ModelReadError, match="what v counts is not known"):
        read_model("%| v = 1..V\n%| index x: v\n" + r"y_c = \sum_{j=1}^{n} x_j c_j")


def test_a_slash_with_two_readings_is_refused() -> None:
    with pytest.raises(ModelReadError, match="behind a /"):
        read_model(r"C = 1/2N \sum_{i=1}^N x_i w_i")


def test_a_file_called_as_a_built_in_model_is_read_itself(tmp_path: Path) -> None:
    (tmp_path / "softmax.tex").write_text(r"C = \sum_j (w_j - y_j)^2")
    assert load(tmp_path / "softmax.tex").system.cost == "C"
