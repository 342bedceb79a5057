"""The door to SymPy: what goes out is equal, what comes in means the same, and names stay ours."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

from symbackprop import functions as F
from symbackprop import sympy_bridge as bridge
from symbackprop.errors import FunctionError, GoalError, ModelError, ShapeError, UnknownFamilyError
from symbackprop.indices import Axis, affine, at_least
from symbackprop.network import System, dense_system
from symbackprop.symbols import (
    Assign,
    Call,
    Compare,
    D,
    Delta,
    Div,
    Expr,
    Mul,
    Num,
    Param,
    Partial,
    Pow,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    WrittenOut,
    expr,
)
from symbackprop.sympy_bridge import (
    Applied,
    FamilyBase,
    family_symbols,
    from_sympy,
    goal_ref,
    lambdify_result,
    slope_of,
    stable_forms,
    to_sympy,
)

l, j, k = sympy.symbols("l j k", integer=True)
Z = Param("z")
X = sympy.Symbol("x")
NET = dense_system()


def ref(family: str, *indices: int | str) -> Ref:
    return Ref(family, tuple(affine(i) for i in indices))


# ---------------------------------------------------------------- first-class symbols


def test_a_family_prints_its_layer_above_and_its_nodes_below() -> None:
    s = family_symbols(dense_system(bias=True))
    assert sympy.latex(s["w"][l, j, k]) == "w_{jk}^{(l)}"
    assert sympy.latex(s["w"][l - 1, 2, 12]) == "w_{2, 12}^{(l - 1)}"
    assert sympy.latex(s["b"][l, j]) == "b_{j}^{(l)}" and sympy.latex(s["y"][j]) == "y_{j}"
    assert sympy.latex(s["C_0"]) == "C_{0}" and sympy.latex(s["C_i"][sympy.Symbol("i")]) == "C_{i}"
    assert str(s["w"][l, j, k]) == "w[l, j, k]"


def test_a_power_of_a_family_has_no_second_superscript() -> None:
    w = family_symbols(NET)["w"]
    assert sympy.latex(w[l, j, k] ** 2) == r"\left(w_{jk}^{(l)}\right)^{2}"
    assert sympy.latex(2 * w[l, j, k]) == "2 w_{jk}^{(l)}"


def test_a_family_compares_hashes_and_pickles_by_content() -> None:
    w = family_symbols(NET)["w"]
    again = pickle.loads(pickle.dumps(w[l, j, k] ** 2))
    assert again == w[l, j, k] ** 2 and hash(again) == hash(w[l, j, k] ** 2)
    assert sympy.latex(again) == sympy.latex(w[l, j, k] ** 2)
    assert w == FamilyBase("w", 1) and w != FamilyBase("w", 0) and w != FamilyBase("v", 1)
    assert w[l, j, k].func(*w[l, j, k].args) == w[l, j, k] and w.func(*w.args) == w


def test_a_family_substitutes_differentiates_and_lambdifies_as_indexed() -> None:
    w = family_symbols(NET)["w"]
    assert w[l, j, k].subs({l: 2, j: 0}) == w[2, 0, k]
    assert (w[l, j, k] ** 2).diff(w[l, j, k]) == 2 * w[l, j, k]
    assert w[l, j, k].diff(w[l, j, 1]) == sympy.KroneckerDelta(1, k)
    assert sympy.lambdify([w[1, 0, 1]], w[1, 0, 1] ** 2)(3) == 9
    assert sympy.lambdify([w], w[1, 0, 1] ** 2)(np.arange(8).reshape(2, 2, 2)) == 25


def test_a_generic_function_differentiates_to_a_prime_and_not_to_subs() -> None:
    g = Applied("g", 0, (l,), X**2)
    assert g.diff(X) == 2 * X * Applied("g", 1, (l,), X**2)
    assert sympy.latex(g.diff(X, 2)).count("'") >= 2 and not g.diff(X, 2).has(sympy.Subs)
    assert g.subs(l, 3) == Applied("g", 0, (3,), X**2)
    assert pickle.loads(pickle.dumps(g)) == g


# ---------------------------------------------------------------- outwards


def test_every_equation_of_the_lessons_goes_out() -> None:
    s = family_symbols(NET)
    n = FamilyBase(sympy.Symbol("n", integer=True, positive=True), 0)
    out = {str(e.lhs.family): to_sympy(e.rhs, NET) for e in NET.equations[:3]}
    L = sympy.Symbol("L", integer=True)
    assert out["C_0"] == sympy.Sum((s["a"][L, j] - s["y"][j]) ** 2, (j, 0, n[L] - 1))
    assert out["z"] == sympy.Sum(s["w"][l, j, k] * s["a"][l - 1, k], (k, 0, n[l - 1] - 1))
    assert out["a"] == Applied("g", 0, (l,), s["z"][l, j])
    assert sympy.latex(out["a"]) == r"g^{(l)}\left(z_{j}^{(l)}\right)"


def test_numeric_sizes_become_numbers() -> None:
    net = dense_system([4, 3, 2])
    z = net.defining(ref("z", 1, 0))
    assert z is not None and to_sympy(z.rhs, net).doit().count(sympy.Indexed) == 8
    assert to_sympy(Size(Axis("node", "n", affine(1))), net) == 3
    assert str(to_sympy(Size(Axis("node", "n", affine("l"))))) == "n[l]"
    assert str(to_sympy(Size(Axis("recursion", "l", None, affine(0), affine("L"))))) == "L + 1"


def test_a_sum_inside_a_sum_of_the_same_letter_is_renamed() -> None:
    axis = Axis("node", "n", affine(1))
    inner = Sum("k", axis, ref("v", "k"))
    out = to_sympy(Sum("k", axis, ref("u", "k") * inner))
    letters = {limit[0] for s in out.atoms(sympy.Sum) for limit in s.limits}
    assert len(letters) == 2
    free = to_sympy(ref("u", "k") * inner)
    assert sympy.Symbol("k", integer=True) not in {limit[0] for s in free.atoms(sympy.Sum) for limit in s.limits}


def test_a_guarded_sum_keeps_its_guard() -> None:
    axis = Axis("node", "n", affine(1))
    out = to_sympy(Sum("k", axis, ref("u", "k"), (at_least("k", 2),)), dense_system([2, 4]))
    u = FamilyBase("u", 0)
    assert sympy.simplify(out.doit() - u[2] - u[3]) == 0


def test_a_partial_is_a_symbol_and_not_zero() -> None:
    p = to_sympy(Partial(ref("z", "l", "j"), ref("w", "l", "j", "k")), NET)
    assert p != 0 and isinstance(p, sympy.Indexed)
    assert sympy.latex(p) == r"\frac{\partial z_{j}^{(l)}}{\partial w_{jk}^{(l)}}"
    assert p != to_sympy(Partial(ref("z", "l", "j"), ref("w", "l", "j", "k"), direct=True), NET)
    assert pickle.loads(pickle.dumps(p)) == p
    assert str(to_sympy(Partial(ref("C"), ref("b")))) == "dC/db"


def test_the_other_heads_go_out() -> None:
    axis = Axis("node", "n", affine(1))
    z = sympy.Symbol("z", real=True)
    assert to_sympy(Num(Fraction(2, 3)) * F.PI) == sympy.Rational(2, 3) * sympy.pi
    assert to_sympy(Delta(affine("j"), affine("k"), axis)) == sympy.KroneckerDelta(j, k)
    assert to_sympy(Where(Compare("<=", Z, expr(1)), Z, expr(2))) == sympy.Piecewise((z, z <= 1), (2, True))
    assert to_sympy(Vec("j", axis, ref("y", "j")))(3) == FamilyBase("y", 0)[3]
    total = Sum("j", axis, ref("y", "j"))
    assert to_sympy(WrittenOut(total, (affine(0), None))) == to_sympy(total)
    pair = to_sympy(Assign(ref("w", "l", "j", "k"), Param("eta") * Z))
    assert pair == sympy.Tuple(FamilyBase("w", 1)[l, j, k], sympy.Symbol("eta", real=True) * z)
    by_array = to_sympy(Partial(ref("C_0"), Vec("k", axis, ref("w", "l", "j", "k"))))
    assert isinstance(by_array, sympy.Lambda)


def test_a_waiting_derivative_is_refused() -> None:
    with pytest.raises(ModelError, match="still to be taken"):
        to_sympy(D(Z, ref("w", 1, 0, 0)))


def test_named_functions_go_out_by_their_formula_and_slopes_by_theirs() -> None:
    z = sympy.Symbol("z", real=True)
    sigma = 1 / (1 + sympy.exp(-z))
    assert to_sympy(Call("sigmoid", (Z,))) == sigma
    assert sympy.simplify(to_sympy(Call("sigmoid", (Z,), 1)) - sigma.diff(z)) == 0
    assert sympy.simplify(to_sympy(Call("sigmoid", (Z,), 2)) - sigma.diff(z, 2)) == 0
    assert to_sympy(Call("relu", (Z,), 1)).subs(z, 0) == 0
    assert not to_sympy(Call("relu", (Z,), 2)).has(sympy.DiracDelta)
    assert to_sympy(Call("tanh", (Z,))) == sympy.tanh(z)
    assert str(to_sympy(Call("g", (Z,), 1, affine("l")))) == "g'^(l)(z)"
    table = dense_system([2, 3, 2], activation=["relu", "tanh"])
    assert to_sympy(Call("g", (Z,), 0, affine(2)), table) == sympy.tanh(z)


# ---------------------------------------------------------------- inwards


@pytest.mark.parametrize(
    "e",
    [
        (2 * X - 3) / (4 * X**2 + 1) - X / 5,
        sympy.exp(-X) * sympy.sin(X) ** 3 / sympy.cos(X),
        sympy.sqrt(X**2 + 2) / X ** sympy.Rational(3, 2),
        sympy.log(X) ** 2 + sympy.tanh(X) - sympy.erf(X / 3) + sympy.pi - sympy.E,
        sympy.sinh(X) - 2 * sympy.cosh(X) + sympy.tan(X),
        sympy.Abs(X - 2) * sympy.sign(X - 2),
        sympy.Max(X, 1, X**2) - sympy.Min(X, 2),
        sympy.Piecewise((X, X > 2), (1 / X, X > 1), (-X, True)),
        1 / (1 + sympy.exp(-X)) + sympy.log(1 + sympy.exp(2 * X)),
        -X,
        sympy.Integer(-7) / 3,
    ],
    ids=str,
)
def test_a_scalar_expression_comes_in_with_its_value(e: Any) -> None:
    back = to_sympy(from_sympy(e, {X: Z}))
    z = sympy.Symbol("z", real=True)
    for p in (sympy.Rational(1, 3), sympy.Rational(3, 2), sympy.Rational(5, 2), sympy.Integer(2)):
        assert abs(sympy.N(e.subs(X, p) - back.subs(z, p), 30)) < 1e-25


def test_quotients_come_in_as_on_paper() -> None:
    y = sympy.Symbol("y")
    symbols = {X: Param("x"), y: Param("y")}
    assert from_sympy(X / y, symbols) == Div(Param("x"), Param("y"))
    assert from_sympy(-X / 2, symbols) == -1 * Div(Param("x"), expr(2))
    assert from_sympy(1 - X**2, symbols) == 1 - Pow(Param("x"), expr(2))


def test_logistic_forms_are_named() -> None:
    assert from_sympy(sympy.exp(X) / (1 + sympy.exp(X)), {X: Z}) == Call("sigmoid", (Z,))
    assert from_sympy(sympy.log(1 + sympy.exp(X)), {X: Z}) == Call("softplus", (Z,))
    assert stable_forms(F.tanh.value(Z)) == Call("tanh", (Z,))  # type: ignore[misc]
    other = Div(expr(1), 2 + F.call("exp", Z))
    assert stable_forms(other) == other


@pytest.mark.parametrize(
    "e, message",
    [
        (sympy.Symbol("u") * X, "the symbol u"),
        (sympy.Heaviside(X), "Heaviside"),
        (sympy.I + X, "real finite"),
        (sympy.zoo * X, "real finite"),
        (sympy.gamma(X), "gamma"),
        (sympy.Derivative(sympy.Function("f")(X), X), "Derivative"),
        (sympy.Piecewise((X, X > 0)), "leaves some arguments out"),
        (sympy.Add(*[X**n for n in range(900)]), "more than 2000 parts"),
    ],
)
def test_what_has_no_scalar_meaning_is_refused(e: Any, message: str) -> None:
    with pytest.raises(FunctionError, match=message):
        from_sympy(e, {X: Z})


def test_a_goal_is_read_from_any_indexed() -> None:
    w = sympy.IndexedBase("w")
    plain = sympy.symbols("l j")
    assert goal_ref(w[plain[0] - 1, plain[1], 2], NET) == Ref("w", (affine("l") - 1, affine("j"), affine(2)))
    assert goal_ref(family_symbols(NET)["w"][2 * l + 1, j, k], NET).indices[0] == affine("l") * 2 + 1
    assert goal_ref(sympy.Symbol("C_0"), NET) == Ref("C_0", ())


@pytest.mark.parametrize(
    "goal, error, message",
    [
        (sympy.IndexedBase("w")[l, j], GoalError, "with 2 indices, expected w\\[l, j, k\\]"),
        (sympy.IndexedBase("v")[l, j], UnknownFamilyError, "v is no symbol"),
        (sympy.IndexedBase("y")[j * k], GoalError, "the index j\\*k"),
        (sympy.IndexedBase("y")[j / 2], GoalError, "whole number or a letter"),
        (sympy.IndexedBase("y")[sympy.Symbol("a b")], GoalError, "the index a b"),
        (X**2, GoalError, "expected an Indexed"),
        ("w_jk", GoalError, "expected an Indexed"),
    ],
)
def test_a_goal_that_names_nothing_is_refused(goal: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        goal_ref(goal, NET)


# ---------------------------------------------------------------- slopes


@pytest.mark.parametrize(
    "body, slope",
    [
        (Pow(Z, expr(3)), 3 * Pow(Z, expr(2))),
        (F.call("abs", Z), F.call("sign", Z)),
        (F.call("sign", Z), Num(Fraction(0))),
        (F.call("relu", Z), F.relu.slope(Z, Z)),
    ],
)
def test_a_slope_is_what_calculus_says(body: Expr, slope: Expr) -> None:
    assert slope_of(body, "z") == slope


def test_a_slope_keeps_the_condition_that_the_author_wrote() -> None:
    condition = Compare("<=", F.call("abs", Z), expr(1))
    assert slope_of(Where(condition, Pow(Z, expr(2)), Z), "z") == Where(condition, 2 * Z, expr(1))


# ---------------------------------------------------------------- a formula as a function

SMALL = dense_system([2, 3, 2], activation=["softplus", "gelu"], bias=True)


def sample(net: System, seed: int = 0) -> tuple[dict[str, list[Any]], Any, Any]:
    rng = np.random.default_rng(seed)
    n = [w or 1 for w in net.widths]
    w = [rng.normal(size=(n[i + 1], n[i])) for i in range(len(n) - 1)]
    return {"w": w, "b": [rng.normal(size=m) for m in n[1:]]}, rng.normal(size=n[0]), rng.normal(size=n[-1])


def forward(params: dict[str, list[Any]], x: Any, y: Any) -> float:
    """The cost of `SMALL`, by hand."""
    erf = np.vectorize(bridge.erf)
    a = np.logaddexp(0, params["w"][0] @ x + params["b"][0])
    z = params["w"][1] @ a + params["b"][1]
    return float(np.sum((z / 2 * (1 + erf(z / np.sqrt(2))) - y) ** 2))


@pytest.mark.parametrize("modules", bridge.MODULES)
def test_the_cost_written_out_is_the_forward_pass(modules: str) -> None:
    params, x, y = sample(SMALL)
    c = lambdify_result(Ref("C_0", ()), SMALL, modules=modules)
    assert float(c(params, x, y)) == pytest.approx(forward(params, x, y), rel=1e-12)


def by_hand(p: Partial) -> Expr | None:
    """dC_0/dw_12^(2) of SMALL."""
    if p.bottom != ref("w", 2, 1, 2):
        return None
    a, z = ref("a", 2, 1), ref("z", 2, 1)
    return Mul((2 * (a - ref("y", 1)), Call("gelu", (z,), 1), ref("a", 1, 2)))


def test_a_derivative_is_resolved_and_agrees_with_differences() -> None:
    params, x, y = sample(SMALL)
    f = lambdify_result(Partial(Ref("C_0", ()), ref("w", 2, 1, 2)), SMALL, resolve=by_hand)
    up, down = sample(SMALL)[0], sample(SMALL)[0]
    up["w"][1][1, 2] += 1e-6
    down["w"][1][1, 2] -= 1e-6
    assert f(params, x, y) == pytest.approx((forward(up, x, y) - forward(down, x, y)) / 2e-6, rel=1e-7)
    # And with SymPy's own derivative of the whole formula.
    whole = lambdify_result(Ref("C_0", ()), SMALL)
    w = family_symbols(SMALL)["w"]
    derivative = whole.expression.diff(w[2, 1, 2])
    values = {a: sympy.Float(float(v), 30) for a, v in zip(whole.arguments, numbers(whole, params, x, y), strict=True)}
    assert f(params, x, y) == pytest.approx(float(derivative.xreplace(values)), rel=1e-9)


def numbers(f: Any, params: dict[str, list[Any]], x: Any, y: Any) -> list[float]:
    data: dict[str, Callable[[Any], float]] = {
        "w": lambda i: params["w"][i[0] - 1][i[1], i[2]],
        "b": lambda i: params["b"][i[0] - 1][i[1]],
        "x": lambda i: x[i[0]],
        "y": lambda i: y[i[0]],
    }
    return [data[r.family](tuple(a.const for a in r.indices)) for r in f.refs]


def test_results_by_a_letter_hold_for_any_node_but_not_for_any_layer() -> None:
    subject = Partial(Ref("C_0", ()), ref("b", 2, "j"))
    known: dict[Expr, Expr] = {subject: ref("a", 2, "j") - ref("y", "j")}
    f = lambdify_result(Partial(Ref("C_0", ()), ref("b", 2, 1)), dense_system([1, 2, 2], "tanh", bias=True), known)
    assert "y[1]" in str(f.expression) and "y[0]" not in str(f.expression)
    any_layer: dict[Expr, Expr] = {Partial(Ref("C_0", ()), ref("b", "l", "j")): ref("y", "j")}
    with pytest.raises(ModelError, match="nothing says what dC_0/db"):
        lambdify_result(Partial(Ref("C_0", ()), ref("b", 2, 1)), SMALL, any_layer)


def test_large_inputs_stay_finite() -> None:
    net = dense_system([1, 1], "softplus")
    f = lambdify_result(ref("a", 1, 0), net)
    assert f({"w": [[[1.0]]]}, [1000.0]) == 1000.0 and f({"w": [[[1.0]]]}, [-1000.0]) == 0.0
    assert lambdify_result(ref("a", 1, 0), dense_system([1, 1], "sigmoid"))({"w": [[[1.0]]]}, [-1000.0]) == 0.0


def test_only_our_own_names_reach_lambdify() -> None:
    f = lambdify_result(Ref("C_0", ()), SMALL)
    assert set(inspect.signature(f.function).parameters) == {f"v{n}" for n in range(len(f.arguments))}
    assert all(isinstance(a, sympy.Indexed) for a in f.arguments)
    assert not f.expression.has(sympy.Function("softplus", real=True))


@pytest.mark.parametrize(
    "e, net, message",
    [
        (Ref("C_0", ()), dense_system(), "numeric sizes, found symbolic"),
        (Ref("C_0", ()), dense_system([2, None, 1]), "numeric sizes, found symbolic"),
        (ref("z", "l", 0), SMALL, "the free index l"),
        (Ref("C_0", ()), dense_system([100, 50, 10], "tanh"), "more than 2000 operations; use net.gradient"),
        (Ref("C_0", ()), dense_system([1] * 400, "tanh"), r"use net.gradient\(\)"),
        (Ref("C_0", ()), dense_system([2, 1]), "the function g is generic"),
        (Ref("C_0", ()), dense_system([2, 1], "tanh", "generic"), "the function C is generic"),
        (Ref("C", ()), SMALL, "ask for one sample"),
        (Partial(Ref("C_0", ()), ref("b", 1, 0)), SMALL, "nothing says what"),
        (Param("eta") * Ref("C_0", ()), SMALL, "the formula holds eta"),
        (Vec("j", Axis("node", "n", affine(1)), ref("z", 1, "j")), SMALL, "found an array"),
    ],
)
def test_what_cannot_be_written_out_is_refused(e: Expr, net: System, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        lambdify_result(e, net)


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ModelError, match="did you mean 'numpy'"):
        lambdify_result(Ref("C_0", ()), SMALL, modules="nunpy")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, x, y: ({"w": p["w"]}, x, y), "params has no entry 'b'"),
        (lambda p, x, y: ({"w": p["w"][:1], "b": p["b"]}, x, y), r"params\['w'\] has 1 entries"),
        (lambda p, x, y: ({"w": [p["w"][0].T, p["w"][1]], "b": p["b"]}, x, y), "its transpose fits"),
        (lambda p, x, y: (p, np.stack([x, x]), y), r"x has shape \(2, 2\), expected \(2,\) for one sample"),
        (lambda p, x, y: (p, x, None), "y is missing"),
        (lambda p, x, y: (None, x, y), "params has no entry"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: Callable[..., Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        lambdify_result(Ref("C_0", ()), SMALL)(*change(*sample(SMALL)))


def test_the_bridge_parses_no_text() -> None:
    text = inspect.getsource(bridge)
    assert not any(f in text.replace("_eval_derivative(", "") for f in ("sympify(", "parse_expr", "eval(", "exec("))
