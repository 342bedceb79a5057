"""Matrix forms: what they read, that each step follows and is true, where they stop, and that a wrong one is refused."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from functools import cache
from importlib.resources import files

import pytest

from symbackprop.derive import derive
from symbackprop.errors import GoalError, UnknownNameError
from symbackprop.indices import Affine, Axis, affine
from symbackprop.matrix import MatrixForm, NoMatrixForm, Row, matrix_forms, record_forms, shape_notes, to_matrix
from symbackprop.matrix.check import broken_steps, check, compare, environments, sample_networks
from symbackprop.matrix.evaluate import ArrayOracle, WrongShape, _multiply
from symbackprop.matrix.frame import LAYOUTS, Frame, find_layout, held_axes
from symbackprop.matrix.heads import Entry, InSample
from symbackprop.matrix.rules import MATRIX_RULES
from symbackprop.matrix.tree import (
    COLUMN,
    ROW,
    AddM,
    Apply,
    Array,
    Diag,
    Hadamard,
    MatMul,
    Matrix,
    Number,
    Ones,
    ScalarMul,
    Transpose,
    hadamard,
    matmul,
    scaled,
    transposes,
    walk_matrix,
)
from symbackprop.models import library_model
from symbackprop.network import Equation, System, dense_system, with_upstream
from symbackprop.oracle import CannotEvaluate, Sample
from symbackprop.render.matrix import capital, latex, text
from symbackprop.symbols import ONE, Div, Family, Mul, Num, Partial, Ref, Size, Sum, expr, names, walk

LIBRARY = (
    "nielsen",
    "nielsen-general",
    "softmax",
    "mlp",
    "logistic-regression",
    "multinomial-regression",
    "ridge",
    "matrix-factorisation",
    "tied-autoencoder",
    "attention",
    "layer-normalisation",
    "batch-normalisation",
    "rnn",
    "residual-block",
    "infonce",
    "vae",
)
"""Models every equation of which has a matrix form."""


@cache
def rows(model: str, layout: str = "column") -> tuple[Row, ...]:
    found = library_model(model)
    return tuple(matrix_forms(found.system, found.notation, layout))


def forms(model: str, layout: str = "column") -> list[MatrixForm]:
    return [r.form for r in rows(model, layout) if isinstance(r.form, MatrixForm)]


def lines(model: str, layout: str = "column") -> list[str]:
    found = library_model(model)
    printer = text(with_upstream(found.system), found.notation)
    return [printer(r.form) for r in rows(model, layout)]


def form(model: str, start: str, layout: str = "column") -> MatrixForm:
    """The form whose line begins with a left side."""
    return next(
        f for f, line in zip(rows(model, layout), lines(model, layout), strict=True) if line.startswith(start)
    ).form  # type: ignore[return-value]


# ---------------------------------------------------------------- what they read


@pytest.mark.parametrize(
    ("model", "layout", "expected"),
    [
        (
            "nielsen",
            "column",
            [
                "zˡ = Wˡ aˡ⁻¹ + bˡ",
                "aˡ = σ(zˡ)",
                "δᴸ = (aᴸ − y) ⊙ σ′(zᴸ)",
                "δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ)",
                "∂C/∂Wˡ = δˡ (aˡ⁻¹)ᵀ",
                "∂C/∂bˡ = δˡ",
            ],
        ),
        ("nielsen", "row", ["zˡ = aˡ⁻¹ (Wˡ)ᵀ + bˡ", "δˡ = δˡ⁺¹ Wˡ⁺¹ ⊙ σ′(zˡ)", "∂C/∂Wˡ = (δˡ)ᵀ aˡ⁻¹"]),
        (
            "nielsen",
            "batch",
            ["Zˡ = Aˡ⁻¹ (Wˡ)ᵀ + 𝟏 (bˡ)ᵀ", "Δˡ = Δˡ⁺¹ Wˡ⁺¹ ⊙ σ′(Zˡ)"],
        ),
        ("nielsen", "batch-columns", ["Zˡ = Wˡ Aˡ⁻¹ + bˡ 𝟏ᵀ", "Δˡ = (Wˡ⁺¹)ᵀ Δˡ⁺¹ ⊙ σ′(Zˡ)"]),
        ("nielsen-general", "column", ["C = C(aᴸ)", "δᴸ = ∂C/∂aᴸ ⊙ σ′(zᴸ)"]),
        ("softmax", "column", ["∂C₀/∂z⁽ᴸ⁾ = a⁽ᴸ⁾ − y"]),
        ("softmax", "batch", ["∂C/∂W⁽ˡ⁾ = (1/m) · (∂C₀/∂Z⁽ˡ⁾)ᵀ A⁽ˡ⁻¹⁾", "∂C/∂b⁽ˡ⁾ = (1/m) · (∂C₀/∂Z⁽ˡ⁾)ᵀ 𝟏"]),
        ("mlp", "column", ["C = (1/N) · ‖A⁽ᴸ⁾ − Y‖_F^2", "∂C/∂W⁽ˡ⁾ = (∂C/∂Z⁽ˡ⁾)ᵀ A⁽ˡ⁻¹⁾"]),
        ("logistic-regression", "column", ["z = X w + b · 𝟏", "∂C/∂w = Xᵀ ∂C/∂z", "∂C/∂b = 𝟏ᵀ ∂C/∂z"]),
        ("multinomial-regression", "column", ["P = exp(Z) ⊘ (exp(Z) 𝟏 𝟏ᵀ)", "∂C/∂W = (∂C/∂Z)ᵀ X"]),
        (
            "attention",
            "column",
            [
                "S = (1/√(d)) · Q Kᵀ",
                "O = P V",
                "∂C/∂V = Pᵀ ∂C/∂O",
                "∂C/∂P = ∂C/∂O Vᵀ",
                "∂C/∂S = P ⊙ (∂C/∂P − (∂C/∂P ⊙ P) 𝟏 𝟏ᵀ)",
                "∂C/∂Q = (1/√(d)) · ∂C/∂S K",
                "∂C/∂K = (1/√(d)) · (∂C/∂S)ᵀ Q",
            ],
        ),
        ("rnn", "column", ["∂C/∂W = Σₜ₌₁ᵀ ∂C/∂aₜ hₜ₋₁ᵀ", "∂C/∂b = Σₜ₌₁ᵀ ∂C/∂aₜ"]),
        ("matrix-factorisation", "column", ["R̂ = U Vᵀ", "∂C/∂U = 2λ · U + ∂C/∂R̂ V"]),
        (
            "tied-autoencoder",
            "column",
            ["H = tanh(X Wᵀ + 𝟏 bᵀ)", "∂C/∂W = (∂C/∂H ⊙ (𝟏 − H^⊙2))ᵀ X + Hᵀ ∂C/∂X̂"],
        ),
        ("layer-normalisation", "column", ["Y_b = X̂_b diag(γ) + 𝟏 βᵀ", "∂C/∂γ = Σ_b (∂C/∂Y_b ⊙ X̂_b)ᵀ 𝟏"]),
        ("residual-block", "column", ["∂C/∂Z = ∂C/∂H ⊙ [Z > 0]"]),
    ],
)
def test_lines(model: str, layout: str, expected: list[str]) -> None:
    found = lines(model, layout)
    assert [line for line in expected if line not in found] == [], "\n".join(found)


@pytest.mark.parametrize("model", LIBRARY)
def test_every_equation_has_a_form(model: str) -> None:
    assert [r.form.reason for r in rows(model) if isinstance(r.form, NoMatrixForm)] == []


def test_an_array_for_every_value_of_a_held_index() -> None:
    found = library_model("multi-head-attention")
    assert held_axes(found.system) == {"n_b", "H"}
    q = form("multi-head-attention", "Q_bh")
    assert q.held == ("b", "h")
    assert text(found.system, found.notation).condition(q) == "for every b, h"


def test_the_range_of_an_equation_says_nothing_twice() -> None:
    printer = text(library_model("mlp").system, library_model("mlp").notation)
    assert printer.condition(form("mlp", "∂C/∂Z⁽ˡ⁾")) == "1 ≤ l < L"
    assert printer.condition(form("mlp", "A⁽⁰⁾")) == ""


def test_fewest_transposes() -> None:
    # One sign over the product entry by entry, not one over each of its factors.
    assert transposes(form("layer-normalisation", "∂C/∂γ").right) == 1


def test_a_derivation_in_matrix_form() -> None:
    system = dense_system(bias=True)
    cost, w = Ref("C_0", ()), system.families["w"].pattern
    found = record_forms(derive(system, Partial(cost, w), named=frozenset({"z"})))
    printer = text(system, replace(library_model("nielsen").notation, letters={}))
    assert [printer(r.form) for r in found][-1] == "∂C₀/∂Wˡ = δˡ (aˡ⁻¹)ᵀ"
    assert all(check(r.form, system).verdict == "proved" for r in found if isinstance(r.form, MatrixForm))


# ---------------------------------------------------------------- that they are true


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dense_forms_are_proved(layout: str) -> None:
    system = dense_system(bias=True)
    for r in matrix_forms(system, None, layout):
        assert isinstance(r.form, MatrixForm)
        found = check(r.form, system)
        assert found.verdict == "proved", (r.form.subject, found.message)


@pytest.mark.parametrize("model", LIBRARY)
def test_forms_are_proved(model: str) -> None:
    system = with_upstream(library_model(model).system)
    for f in forms(model):
        found = check(f, system)
        assert found.verdict == "proved", (f.subject, found.message)


@pytest.mark.parametrize("model", ["attention", "mlp", "ridge", "tied-autoencoder", "rnn"])
def test_rows_for_vectors_are_proved(model: str) -> None:
    system = with_upstream(library_model(model).system)
    assert {check(f, system).verdict for f in forms(model, "row")} == {"proved"}


@pytest.mark.parametrize("model", ["attention", "layer-normalisation", "rnn", "residual-block", "tied-autoencoder"])
def test_each_step_is_true(model: str) -> None:
    """Both sides of every step at one point; entries of arrays by their definition."""
    system = with_upstream(library_model(model).system)
    for f in forms(model):
        oracle, env = sampled(f, system)
        for s in f.steps:
            try:
                left, right = oracle.evaluate(s.before, env), oracle.evaluate(s.after, env)
            except CannotEvaluate:
                continue
            assert oracle.agree(left, right), s.rule


def sampled(f: MatrixForm, system: System) -> tuple[ArrayOracle, dict[str, int]]:
    """A sample network and a point of a form, drawn at random."""
    sample = sample_networks(f, system, 1)[-1]
    oracle = ArrayOracle(system, sample)
    env = dict(next(iter(environments(f, oracle))))
    r = random.Random(0)
    for letter, side in zip((f.frame.row, f.frame.column), f.left.shape, strict=True):
        if side is not None:
            env[letter] = r.randrange(oracle.width(side, env))
    return oracle, env


def test_every_rule_is_used_by_some_model() -> None:
    used = {
        s.rule for model in LIBRARY for layout in ("column", "batch") for f in forms(model, layout) for s in f.steps
    }
    # Results come with their common factors taken out already; both rules have tests of their own.
    assert set(MATRIX_RULES) - used <= {"sum of a sum", "common factor"}


def test_a_sum_of_sums_with_three_indices_is_taken_apart() -> None:
    system = attention()
    q, k, v = (system.families[n] for n in "QKV")
    axes = (k.axes[0], q.axes[1])
    body = Mul((system.families["S"]["i", "j"], k["j", "c"] + Ref("Q", (affine("i"), affine("c")))))
    f = to_matrix(Partial(Ref("C", ()), q["i", "c"]), Sum("j", axes[0], body), system)
    assert isinstance(f, MatrixForm)
    assert "sum of a sum" in [s.rule for s in f.steps]
    assert broken_steps(f) == ""
    assert v is not None


def test_a_common_factor_is_taken_out_of_a_sum_that_is_no_array() -> None:
    system = attention()
    k, q, p, s = (system.families[n] for n in "KQPS")
    both = Mul((p["i", "j"], k["j", "c"])) + Mul((s["i", "j"], k["j", "c"]))
    f = to_matrix(Partial(Ref("C", ()), q["i", "c"]), Sum("j", k.axes[0], both), system)
    assert isinstance(f, MatrixForm)
    assert "common factor" in [step.rule for step in f.steps]
    assert broken_steps(f) == ""


# ---------------------------------------------------------------- where they stop


def test_windows_have_no_matrix_form() -> None:
    reasons = [r.form.reason for r in rows("conv1d") if isinstance(r.form, NoMatrixForm)]
    assert len(reasons) == 3
    assert all("a window that slides along its axis" in r for r in reasons)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("causal-attention", "the sum over j runs over a part of its axis only, where j <= i"),
        ("causal-attention", "it holds for a part of the entries only, where j <= i"),
        ("embedding", "it picks entries by their place on an axis"),
        ("multinomial-labels", "it picks entries by their place on an axis"),
    ],
)
def test_reasons(model: str, reason: str) -> None:
    assert reason in [r.form.reason for r in rows(model) if isinstance(r.form, NoMatrixForm)]


def test_three_free_indices_have_no_matrix_form() -> None:
    system = attention()
    s, k = system.families["S"]["i", "j"], system.families["K"]["j", "c"]
    f = to_matrix(s, Mul((s, k)), system)
    assert isinstance(f, NoMatrixForm)
    assert f.reason == "it has 3 free indices (c, i, j), and a matrix has two"


def test_an_index_that_links_three_arrays() -> None:
    system = attention()
    axis = system.families["S"].axes[1]
    s, k, v = system.families["S"]["i", "j"], system.families["K"]["j", "c"], system.families["V"]["j", "v"]
    f = to_matrix(system.families["Q"]["i", "c"], Sum("j", axis, Mul((s, k, v))), system)
    assert isinstance(f, NoMatrixForm)
    assert f.reason.startswith("index j links 3 arrays")


def test_single_entries_have_no_matrix_form() -> None:
    system = dense_system()
    f = to_matrix(system.families["a"][affine("L"), 1], system.families["z"][affine("L"), 1], system)
    assert isinstance(f, NoMatrixForm)
    assert "single entries of a by their number" in f.reason


def test_a_derivative_of_one_array_by_another_has_no_matrix_form() -> None:
    system = dense_system()
    a, z = system.families["a"]["l", "j"], system.families["z"]["l", "k"]
    f = to_matrix(Partial(a, z), ONE, system)
    assert isinstance(f, NoMatrixForm)
    assert "has the indices of both" in f.reason


def test_a_generic_cost_has_no_batch_form() -> None:
    found = [r.form for r in matrix_forms(dense_system(loss="generic"), None, "batch")]
    assert [f.reason for f in found if isinstance(f, NoMatrixForm)] == [
        "a generic function of the outputs of one sample is no operation on the array of all samples"
    ]


def test_layouts_by_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'column'"):
        find_layout("colum")
    with pytest.raises(GoalError, match="count their samples themselves"):
        matrix_forms(library_model("mlp").system, None, "batch-columns")
    assert [r.form for r in matrix_forms(library_model("mlp").system, None, "batch")] == [
        r.form for r in matrix_forms(library_model("mlp").system)
    ]


# ---------------------------------------------------------------- a wrong one is refused


@cache
def attention() -> System:
    return with_upstream(library_model("attention").system)


def planted(f: MatrixForm, right: Matrix) -> MatrixForm:
    return replace(f, right=right, steps=())


def test_a_missing_transpose_is_refused_on_a_square_matrix() -> None:
    """P and its transpose have the same shape where N counts both sides; the numbers tell them apart."""
    system = square()
    f = one(system, "∂C/∂V")
    p, d = f.right.factors  # type: ignore[attr-defined]
    assert isinstance(p, Transpose)
    assert check(f, system).verdict == "proved"
    wrong = compare(planted(f, MatMul((p.of, d))), system)
    assert wrong.verdict == "refuted"
    assert "the array has" in wrong.message


def square() -> System:
    """Attention of a sequence to itself: one axis N for both sides of P."""
    n, e = Axis("node", "N"), Axis("node", "e")
    v = Family("V", ("j", "v"), (n, e), "parameter")
    p = Family("P", ("i", "j"), (n, n), "parameter")
    o = Family("O", ("i", "v"), (n, e), "derived")
    product = Sum("j", n, Mul((p["i", "j"], v["j", "v"])))
    return with_upstream(
        System({f.name: f for f in (p, v, o)}, (Equation(o["i", "v"], product),), "", Affine((), 0), ())
    )


def one(system: System, start: str) -> MatrixForm:
    printer = text(system, library_model("attention").notation)
    return next(r.form for r in matrix_forms(system) if printer(r.form).startswith(start))  # type: ignore[return-value]


def test_a_missing_transpose_does_not_fit_where_sizes_differ() -> None:
    f = form("nielsen", "δˡ")
    (product, slope) = f.right.factors  # type: ignore[attr-defined]
    (w, delta) = product.factors
    assert isinstance(w, Transpose)
    with pytest.raises(ValueError, match="a product of"):
        MatMul((w.of, delta))
    # The same slip with sides that are labelled wrongly: the shapes of the numbers do not fit.
    mislabelled = Array(w.of.quantity, w.shape[0], w.shape[1])  # type: ignore[attr-defined]
    wrong = compare(planted(f, Hadamard((MatMul((mislabelled, delta)), slope))), library_model("nielsen").system)
    assert wrong.verdict == "refuted"


def test_a_swapped_order_is_refused() -> None:
    system = square()
    f = one(system, "O")
    p, v = f.right.factors  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="a product of"):
        MatMul((v, p))
    wrong = compare(planted(f, MatMul((p, p, v))), system)
    assert wrong.verdict == "refuted"


@pytest.mark.parametrize("change", ["sign", "slope", "layer", "factor"])
def test_slips_are_refused(change: str) -> None:
    system = library_model("nielsen").system
    f = form("nielsen", "δˡ")
    product, slope = f.right.factors  # type: ignore[attr-defined]
    assert isinstance(slope, Apply)
    wrong: dict[str, Matrix] = {
        "sign": scaled([Number(Num(Fraction(-1)))], f.right),
        "slope": Hadamard((product, replace(slope, order=0))),
        "layer": product,
        "factor": scaled([Number(expr(2))], f.right),
    }
    assert compare(planted(f, wrong[change]), system).verdict == "refuted"


def test_a_wrong_step_is_refused() -> None:
    system = library_model("nielsen").system
    f = form("nielsen", "δˡ")
    assert check(f, system).verdict == "proved"
    first = f.steps[0]
    assert check(replace(f, steps=f.steps[1:]), system).message == "the first step does not begin with the index form"
    assert "does not continue" in check(replace(f, steps=(first, *f.steps[2:])), system).message
    renamed = replace(first, rule="Hadamard product")
    assert "does not follow" in check(replace(f, steps=(renamed, *f.steps[1:])), system).message
    assert check(replace(f, steps=f.steps[:-1]), system).message == "the steps do not end with the matrix form"
    other = form("nielsen", "∂C/∂bˡ")
    assert "left side" in check(replace(f, left=other.left), system).message


def test_a_wrong_value_of_the_left_side_is_refused() -> None:
    """The matrix form agrees with its index form, and both are wrong of the quantity on the left."""
    system = dense_system()
    z, a = system.families["z"]["l", "j"], system.families["a"]["l", "j"]
    f = to_matrix(z, a, system, guard=system.families["z"].guard)
    assert isinstance(f, MatrixForm)
    found = check(f, system)
    assert found.verdict == "refuted"
    assert "the left side" in found.message


# ---------------------------------------------------------------- the tree and its numbers

N, M = Axis("node", "N"), Axis("node", "M")


def leaf(family: str, rows: Axis | None, columns: Axis | None) -> Array:
    marks = [m for m, s in ((ROW, rows), (COLUMN, columns)) if s is not None]
    return Array(Ref(family, tuple(map(affine, marks))), rows, columns)


def test_what_does_not_fit_cannot_be_built() -> None:
    a, u = leaf("a", N, M), leaf("u", N, None)
    for build in (
        lambda: MatMul((a, u)),
        lambda: Hadamard((a, u)),
        lambda: AddM((a, u)),
        lambda: ScalarMul(u, a),
        lambda: Diag(a),
        lambda: Array(Ref("a", (affine(ROW), affine(COLUMN))), N, None),
        lambda: Entry(u, "i", "j"),
    ):
        with pytest.raises(ValueError):
            build()


def test_the_transpose_moves_down_to_the_arrays() -> None:
    a, u = leaf("a", N, M), leaf("u", N, None)
    assert matmul(a.flipped(), u).flipped() == MatMul((Transpose(u), a))
    assert a.flipped().flipped() == a
    assert Ones(N, None).flipped() == Ones(None, N)
    both = hadamard(a, leaf("b", N, M))
    assert both.flipped() == Transpose(both)
    assert both.flipped().flipped() == both


def test_scalars_are_joined_to_one_fraction() -> None:
    two, mean = Number(expr(2)), Number(Div(ONE, Size(N)))
    assert scaled([two, mean], leaf("u", N, None)) == ScalarMul(Number(Div(expr(2), Size(N))), leaf("u", N, None))
    assert scaled([two, Number(Num(Fraction(1, 2)))], leaf("u", N, None)) == leaf("u", N, None)


def test_products_of_wrong_shapes_are_seen_in_the_numbers() -> None:
    assert _multiply([[1, 2]], [[3], [4]]) == [[11]]
    with pytest.raises(WrongShape, match="1 x 2 times 1 x 2"):
        _multiply([[1, 2]], [[3, 4]])


def test_arrays_in_numbers() -> None:
    system = square()
    oracle = ArrayOracle(system, Sample(0, (), 0, "exact rationals", sizes=(("N", 2), ("e", 3))))
    p = [[oracle.look("P", (i, j)) for j in range(2)] for i in range(2)]
    v = [[oracle.look("V", (j, k)) for k in range(3)] for j in range(2)]
    f = one(system, "O")
    assert oracle.array(f.right, {}) == [[p[i][0] * v[0][k] + p[i][1] * v[1][k] for k in range(3)] for i in range(2)]
    product = f.right.factors[0]  # type: ignore[attr-defined]
    assert oracle.array(Transpose(product), {}) == [list(r) for r in zip(*p, strict=True)]
    assert oracle.evaluate(Entry(product, "i", "j"), {"i": 1, "j": 0}) == p[1][0]


def test_quantities_in_a_sample_of_a_batch() -> None:
    system = dense_system([2, 3])
    oracle = ArrayOracle(system, Sample(1, (2, 3), 0, "exact rationals", samples=2))
    x = InSample(system.families["x"]["j"], "i")
    assert oracle.evaluate(x, {"i": 0, "j": 1}) != oracle.evaluate(x, {"i": 1, "j": 1})


# ---------------------------------------------------------------- rules, where they stop


def test_a_product_waits_for_a_third_array_with_the_index() -> None:
    frame = Frame(attention(), find_layout("column"), "i", "c")
    a, b, u = leaf("a", N, M), leaf("b", N, M), leaf("u", M, None)
    three = Sum("k", M, Mul((Entry(a, "i", "k"), Entry(b, "j", "k"), Entry(u, "k", ""))))
    assert MATRIX_RULES["entry of a product"].apply(three, frame) is None
    assert MATRIX_RULES["scaled rows or columns"].apply(three.body, frame) is not None


def test_a_product_of_arrays_that_share_both_indices_is_none() -> None:
    frame = Frame(attention(), find_layout("column"), "i", "")
    both = Sum("k", M, Mul((Entry(leaf("a", N, M), "i", "k"), Entry(leaf("b", N, M), "i", "k"))))
    assert MATRIX_RULES["entry of a product"].apply(both, frame) is None


def test_an_entry_that_lies_askew_is_turned_first() -> None:
    frame = Frame(attention(), find_layout("column"), "k", "")
    turned = Sum("i", N, Mul((Entry(leaf("a", N, M), "i", "k"), Entry(leaf("u", N, None), "i", ""))))
    assert MATRIX_RULES["entry of a product"].apply(turned, frame) is None
    step = MATRIX_RULES["entry of the transpose"].apply(turned, frame)
    assert step is not None
    done = MATRIX_RULES["entry of a product"].apply(step, frame)
    assert done == Entry(MatMul((Transpose(leaf("a", N, M)), leaf("u", N, None))), "k", "")


def test_every_rule_says_what_and_why() -> None:
    for r in MATRIX_RULES.values():
        assert r.statement and r.source, r.name


# ---------------------------------------------------------------- shapes and letters


def test_shapes_explain_every_transpose() -> None:
    found = library_model("nielsen")
    printer = latex(found.system, found.notation)
    f = form("nielsen", "δˡ")
    assert printer.shaped(f) == (
        r"\underset{n_l \times 1}{\delta^l} = \underset{n_l \times n_{l+1}}{(W^{l+1})^\top}\; "
        r"\underset{n_{l+1} \times 1}{\delta^{l+1}} \odot \underset{n_l \times 1}{\sigma'\left(z^l\right)}"
    )
    assert ("W^{l+1}", r"n_{l+1} \times n_l", "transposed since the sum runs over its first index") in printer.notes(f)
    outer = printer.notes(form("nielsen", "∂C/∂Wˡ"))
    assert outer[-1] == ("a^{l-1}", r"n_{l-1} \times 1", "a row, since its index counts the columns of the result")
    for g in forms("nielsen"):
        noted = {n.array for n in shape_notes(g) if n.transposed}
        assert noted == {p.of for p in walk_matrix(g.right) if isinstance(p, Transpose)}
        assert all(n.why for n in shape_notes(g) if n.transposed)


def test_shapes_on_a_line_of_text() -> None:
    found = library_model("nielsen")
    assert text(found.system, found.notation).shaped(form("nielsen", "δˡ")) == "(nₗ×1) = (nₗ×nₗ₊₁) (nₗ₊₁×1) ⊙ (nₗ×1)"
    plain = text(found.system, found.notation, ascii_only=True)
    assert plain(form("nielsen", "δˡ")) == "delta^l = (W^{l+1})^T delta^{l+1} (.) sigma'(z^l)"
    assert plain(form("nielsen", "δˡ")).isascii()


def test_letters_of_matrices() -> None:
    assert capital("a_0") == "A_0"
    assert capital("Q") == "Q"
    assert capital(r"\tilde{h}") == r"\tilde{H}"
    assert capital(r"\mathrm{score}") == r"\mathrm{score}"
    # The state c of an LSTM, one for each sample and unit, where C is the cost.
    assert any(line.startswith("𝐂ₜ = ") for line in lines("lstm"))


def test_no_form_is_printed_in_index_notation() -> None:
    found = library_model("conv1d")
    system = with_upstream(found.system)
    for printer in (latex(system, found.notation), text(system, found.notation)):
        assert all(" = " in printer(r.form) for r in rows("conv1d"))


SET = """
const katex = require(process.argv[1]);
const bad = [];
for (const f of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  try { katex.renderToString(f, { throwOnError: true, strict: "error", displayMode: true }); }
  catch (e) { bad.push([f, String(e)]); }
}
console.log(JSON.stringify(bad));
"""


def test_katex_sets_every_line() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH to run KaTeX in")
    out: set[str] = set()
    for model in (*LIBRARY, "lstm", "multi-head-attention", "conv1d"):
        found = library_model(model)
        printer = latex(with_upstream(found.system), found.notation)
        for r in rows(model):
            out |= {printer(r.form), printer.condition(r.form)}
            if isinstance(r.form, MatrixForm):
                out |= {printer.shaped(r.form), *(x for n in printer.notes(r.form) for x in n[:2])}
    katex = str(files("symbackprop.render").joinpath("web", "katex.min.js"))
    done = subprocess.run(
        [node, "-e", SET, katex], input=json.dumps(sorted(out)), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_no_letter_of_the_frame_is_left() -> None:
    """The marks of rows and columns belong to arrays alone."""
    for f in forms("attention"):
        for s in f.steps:
            for _, p in walk(s.after):
                assert not names(p) & {ROW, COLUMN}
