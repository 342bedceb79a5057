"""Hessian products, Jacobians, Hessians and Gauss-Newton products as functions, against HIPS autograd."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from reference_models import REFERENCES, scalar, upstream

from symbackprop import dense, load
from symbackprop.compile.arrays import only_gradients
from symbackprop.errors import ModelError
from symbackprop.models import models
from symbackprop.symbols import Partial, Ref

SECOND = [
    "rnn",
    "gru",
    "lstm",
    "attention",
    "causal-attention",
    "layer-normalisation",
    "infonce",
    "conv1d",
    "logistic-regression",
    "transformer-block",
]


def near(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


def problem(name: str) -> tuple[Any, dict[str, Any], dict[str, Any] | None, dict[str, int]]:
    rng = np.random.default_rng(0)
    net, r = load(name), REFERENCES[name]
    if r.functions:
        net = net.with_functions(**r.functions)
    arrays = r.arrays(rng)
    return net, arrays, upstream(name, arrays, rng), {n: k for n, k in r.sizes.items() if n in net.system.integers}


@pytest.mark.parametrize("name", SECOND)
def test_products_with_the_hessian_are_those_of_autograd(name: str) -> None:
    net, arrays, up, sizes = problem(name)
    wrt = [n for n in REFERENCES[name].wrt if n in net.system.families]
    rng = np.random.default_rng(1)
    direction = {n: rng.standard_normal(np.shape(arrays[n])) for n in wrt}
    outside = {net.system.upstream[n]: a for n, a in (up or {}).items()}
    got = net.hessian_vector(wrt).function(sizes=sizes)({**arrays, **outside}, direction=direction)

    def slope(chosen: list[Any]) -> Any:
        def cost(c: list[Any]) -> Any:
            return scalar(name, {**arrays, **dict(zip(wrt, c, strict=True))}, up)

        return sum(anp.sum(g * direction[n]) for n, g in zip(wrt, autograd.grad(cost)(chosen), strict=True))

    for n, want in zip(wrt, autograd.grad(slope)([arrays[n] for n in wrt]), strict=True):
        near(got[n], want)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_series_have_their_own_cases(steps: int) -> None:
    """A name that the compiler gives to a product of the loop must have a value at every time, not at the last alone."""
    net, arrays, up, _ = problem("lstm")
    arrays = {**arrays, "x": arrays["x"][:steps]}
    up = {n: a[:steps] for n, a in (up or {}).items()}
    v = np.random.default_rng(1).standard_normal(arrays["c_0"].shape)
    outside = {net.system.upstream[n]: a for n, a in up.items()}
    got = net.hessian_vector(["c_0"]).function()({**arrays, **outside}, direction={"c_0": v})

    def slope(c: Any) -> Any:
        return anp.sum(autograd.grad(lambda q: scalar("lstm", {**arrays, "c_0": q}, up))(c) * v)

    near(got["c_0"], autograd.grad(slope)(arrays["c_0"]))


def test_a_derivative_that_is_no_gradient_of_the_cost_is_refused() -> None:
    only_gradients(Partial(Ref("C", ()), Ref("w", ())), "C")
    for other in (Partial(Ref("h", ()), Ref("w", ())), Partial(Ref("C", ()), Ref("w", ()), direct=True)):
        with pytest.raises(ModelError, match="left without a formula"):
            only_gradients(other, "C")


JACOBIANS = [
    ("attention", "O_iv", "Q_kc", "O", "Q"),
    ("attention", "O_iv", "V_jv", "O", "V"),
    ("gru", "h_tnj", "x_tnk", "h", "x"),
    ("gru", "h_tnj", "W_jk^r", "h", "W_r"),
    ("conv1d", "y_boi", "w_ock", "y", "w"),
    ("dense", "a_ij", "b_j", "a", "b"),
    ("layer-normalisation", "y_bij", "gamma_j", "y", "gamma"),
]


@pytest.mark.parametrize(("name", "of", "by", "above", "below"), JACOBIANS)
def test_jacobians_are_those_of_autograd(name: str, of: str, by: str, above: str, below: str) -> None:
    """By rows and by columns, whichever are fewer."""
    net, arrays, _, sizes = problem(name)
    got = net.jacobian(of, by).function(sizes=sizes)(**arrays)
    want = autograd.jacobian(lambda a: REFERENCES[name].forward({**arrays, below: a})[above])(arrays[below])
    assert got.shape == want.shape
    near(got, want)


# ---------------------------------------------------------------- layered networks

RNG = np.random.default_rng(0)
PARAMS = {
    "w": [RNG.standard_normal((4, 3)), RNG.standard_normal((2, 4))],
    "b": [RNG.standard_normal(4), RNG.standard_normal(2)],
}
X, Y = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 2))


def output(params: Mapping[str, Any], x: Any) -> Any:
    for w, b in zip(params["w"], params["b"], strict=True):
        x = anp.tanh(w @ x + b)
    return x


def cost(params: Mapping[str, Any], x: Any, y: Any) -> Any:
    return anp.sum((output(params, x) - y) ** 2)


@pytest.fixture(scope="module")
def net() -> Any:
    return dense([3, 4, 2], activation="tanh", bias=True)


def test_the_gradient_by_the_input(net: Any) -> None:
    got = net.gradient(wrt="x")(PARAMS, X, Y)["x"]
    near(got, [autograd.grad(lambda x, y=y: cost(PARAMS, x, y))(x) / len(X) for x, y in zip(X, Y, strict=True)])


def test_jacobians_of_a_layered_network_have_the_samples_in_front(net: Any) -> None:
    by_input = net.jacobian("a_i^L", "x_k").function()
    want = np.stack([autograd.jacobian(lambda x: output(PARAMS, x))(x) for x in X])
    near(by_input(PARAMS, X[0]), want[0])
    near(by_input(PARAMS, X), want)
    by_weight = net.jacobian("a_i^L", "w_jk^1").function()

    def at(x: Any) -> Any:
        return autograd.jacobian(lambda w: output({**PARAMS, "w": [w, PARAMS["w"][1]]}, x))(PARAMS["w"][0])

    near(by_weight(PARAMS, X), np.stack([at(x) for x in X]))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0)])
def test_hessians_of_a_batch_are_means(net: Any, first: int, second: int) -> None:
    f = net.hessian(f"w_jk^{first + 1}", f"w_jk^{second + 1}").function()

    def put(n: int, w: Any, weights: list[Any]) -> list[Any]:
        return [w if m == n else v for m, v in enumerate(weights)]

    def exact(x: Any, y: Any) -> Any:
        def slope(v: Any) -> Any:
            def value(u: Any) -> Any:
                return cost({**PARAMS, "w": put(first, u, put(second, v, PARAMS["w"]))}, x, y)

            return autograd.grad(value)(v if first == second else PARAMS["w"][first])

        return autograd.jacobian(slope)(PARAMS["w"][second])

    want = [exact(x, y) for x, y in zip(X, Y, strict=True)]
    near(f(PARAMS, X[0], Y[0]), want[0])
    near(f(PARAMS, X, Y), np.mean(want, axis=0))


def test_products_of_gauss_and_newton(net: Any) -> None:
    f = net.gauss_newton("a_j^L").function()
    rng = np.random.default_rng(1)
    v = {n: [rng.standard_normal(a.shape) for a in list_] for n, list_ in PARAMS.items()}

    def exact(x: Any) -> dict[str, list[Any]]:
        step = 1e-5
        above, below = (
            output({n: [a + s * step * d for a, d in zip(PARAMS[n], v[n], strict=True)] for n in v}, x) for s in (1, -1)
        )
        u = (above - below) / step  # H is twice the identity
        by = autograd.grad(lambda w, b: anp.sum(output({"w": w, "b": b}, x) * u), (0, 1))(PARAMS["w"], PARAMS["b"])
        return dict(zip("wb", by, strict=True))

    one, batch = f(PARAMS, X[0], Y[0], direction=v), f(PARAMS, X, Y, direction=v)
    wants = [exact(x) for x in X]
    for n in "wb":
        for layer in range(2):
            np.testing.assert_allclose(one[n][layer], wants[0][n][layer], rtol=1e-6, atol=1e-8)
            mean = np.mean([w[n][layer] for w in wants], axis=0)
            np.testing.assert_allclose(batch[n][layer], mean, rtol=1e-6, atol=1e-8)


def test_gauss_newton_of_a_model_with_arrays_by_name() -> None:
    net, arrays, _, _ = problem("ridge")
    v = {"w": np.array([1.0, -2.0, 0.5]), "b": np.array(0.7)}
    u = arrays["x"] @ v["w"] + v["b"]
    got = net.gauss_newton(net.stated.families["y_hat"].name + "_i").function()({**arrays}, direction=v)
    near(got["w"], arrays["x"].T @ u / len(u))
    near(got["b"], u.mean())


# ---------------------------------------------------------------- the rest of the surface


def test_forward_takes_arrays_by_name_alone() -> None:
    net, arrays, _, _ = problem("attention")
    near(net.forward(**arrays)["O"], REFERENCES["attention"].forward(arrays)["O"])


@pytest.mark.parametrize("name", ["attention", "causal-attention"])
def test_saved_outputs_are_used_and_not_computed_anew(name: str) -> None:
    net, arrays, up, _ = problem(name)
    saved = net.forward(**arrays)
    f = net.gradient(wrt=["Q", "K", "V"], given=("P", "O"))
    got = f(**arrays, P=saved["P"], O=saved["O"], upstream=up)
    want = net.gradient(wrt=["Q", "K", "V"])(**arrays, upstream=up)
    for n in want:
        near(got[n], want[n])
    assert "vecdot(O_bar, O" in f.source
    assert "exp(" not in f.source and "vecdot(u1, P" not in f.source


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_gradients_from_outside_arrive_where_equations_compute(name: str) -> None:
    """The page and the function agree: h_1, ..., h_T, not the array h_0 that is given."""
    net, arrays, up, _ = problem(name)
    assert "Σₜ₌₁ᵀ" in net.describe(net.system.equations[0].rhs) and "Σₜ₌₀ᵀ" not in net.describe(
        net.system.equations[0].rhs
    )
    assert up is not None and len(up["h"]) == len(arrays["x"])


def test_a_gradient_from_outside_is_not_differentiated_by() -> None:
    with pytest.raises(ModelError, match="gradient from outside"):
        load("attention").gradient(wrt="O_bar")


@pytest.mark.parametrize("name", sorted(set(REFERENCES) & set(models())))
def test_pseudocode_compiles(name: str) -> None:
    text = load(name).backward().loop()
    if text:
        compile(text, name, "exec")


@pytest.mark.parametrize("name", sorted(models()))
def test_the_whole_pass_of_every_model_can_be_shown(name: str) -> None:
    whole = load(name).backward()
    assert whole.text() and whole.latex() and whole.html()


MODULES = "ridge attention conv1d max-pooling rnn lstm embedding dropout transformer multinomial-regression"


@pytest.mark.parametrize("name", MODULES.split())
def test_modules_check_themselves(name: str, tmp_path: Any) -> None:
    r = REFERENCES[name]
    text = load(name, sizes=dict(r.sizes)).module()
    path = tmp_path / "grad.py"
    path.write_text(text)
    done = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "symbackprop" not in text


def test_a_module_needs_all_sizes() -> None:
    with pytest.raises(ModelError, match=r"n_i, n_j, n_v missing: give --size n_i=\.\.\. --size n_j"):
        load("attention", sizes={"d": 3}).module()
