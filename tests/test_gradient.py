"""The generated gradient against NumPy by hand, against a derivative in complex arithmetic, and at its edges."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from scipy.special import erf, log_softmax

from symbackprop import functions as F
from symbackprop.compile import compile_gradient, forward, instantiate
from symbackprop.compile.kernels import erf as our_erf
from symbackprop.compile.module import pseudocode, pseudocode_latex, write_module
from symbackprop.derive import Adjoint, adjoints
from symbackprop.errors import DTypeError, ModelError, ShapeError, UnknownFamilyError, UnknownNameError
from symbackprop.indices import Axis, affine, between, equals
from symbackprop.network import Equation, System, dense_system, layer_axis
from symbackprop.symbols import ONE, Call, Div, Expr, Family, Partial, Pow, Ref, Size, Sum, expr, walk

ACTIVATIONS = [n for n in F.ACTIVATION_NAMES if n not in F.GENERIC]
COSTS = [n for n in F.COST_NAMES if n != "generic"]
OUTPUT = {"binary_cross_entropy": "sigmoid", "softmax_cross_entropy": "softmax"}


# ---------------------------------------------------------------- an independent evaluation, real or complex


def activation(name, z):
    up = z.real > 0
    match name:
        case "identity":
            return z
        case "sigmoid":
            return 1 / (1 + np.exp(-z))
        case "tanh":
            return np.tanh(z)
        case "relu":
            return np.where(up, z, 0)
        case "leaky_relu":
            return np.where(up, z, z / 100)
        case "elu":
            return np.where(up, z, np.exp(z) - 1)
        case "softplus":
            return np.log(1 + np.exp(z))
        case "silu":
            return z / (1 + np.exp(-z))
        case "gelu":
            return z / 2 * (1 + erf(z / np.sqrt(2)))
        case "gelu_tanh":
            return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        case "softmax":
            e = np.exp(z)
            return e / e.sum(-1, keepdims=True)
    raise AssertionError(name)


def cost(name, a, y):
    d = a - y
    size = np.where(d.real > 0, d, -d)
    match name:
        case "sum_squares":
            c = d**2
        case "half_sum_squares":
            c = d**2 / 2
        case "mean_squares":
            c = d**2 / a.shape[-1]
        case "sum_absolute":
            c = size
        case "huber":
            c = np.where(size.real <= 1, d**2 / 2, size - 0.5)
        case "binary_cross_entropy":
            c = -(y * np.log(a) + (1 - y) * np.log(1 - a))
        case "softmax_cross_entropy":
            c = -y * np.log(a)
        case _:
            raise AssertionError(name)
    return c.sum(-1).mean()


def network_cost(params, x, y, acts, loss):
    a = x
    for n, name in enumerate(acts):
        z = a @ params["w"][n].T
        a = activation(name, z + params["b"][n] if "b" in params else z)
    return cost(loss, a, y)


def complex_step(function, arrays):
    """The gradient of a real function of a list of arrays, exact to rounding: f(u + ih) = f(u) + ih f'(u)."""
    out = []
    for n, array in enumerate(arrays):
        g = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            moved = [a.astype(complex) for a in arrays]
            moved[n][place] += 1e-30j
            g[place] = function(moved).imag / 1e-30
        out.append(g)
    return out


def error(got, expected):
    """The largest norm-wise relative error of the arrays."""
    return max(
        float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-300)) for a, b in zip(got, expected, strict=True)
    )


def data(sizes, m, seed=0, bias=True):
    rng = np.random.default_rng(seed)
    params = {"w": [rng.standard_normal((o, i)) for i, o in itertools.pairwise(sizes)]}
    if bias:
        params["b"] = [rng.standard_normal(o) for o in sizes[1:]]
    lead = () if m is None else (m,)
    x, y = rng.standard_normal((*lead, sizes[0])), rng.random((*lead, sizes[-1]))
    return params, x, y / y.sum(-1, keepdims=True)


def flat(grads):
    return [a for k in grads for a in (grads[k] if isinstance(grads[k], list) else [grads[k]])]


def reference(params, x, y, acts, loss):
    keys, counts = list(params), [len(v) for v in params.values()]

    def whole(arrays):
        it = iter(arrays)
        return network_cost(
            {k: [next(it) for _ in range(n)] for k, n in zip(keys, counts, strict=True)}, x, y, acts, loss
        )

    return complex_step(whole, flat(params))


def gradient_of(sizes, bias=True, **more):
    system = dense_system(sizes, bias=bias, **more)
    return compile_gradient(system, adjoints(system))


# ---------------------------------------------------------------- that it is right


@pytest.mark.parametrize("loss", COSTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_with_every_cost(name, loss):
    sizes, acts = [3, 4, 3, 2], [name, name, OUTPUT.get(loss, name)]
    f = gradient_of(sizes, activation=acts, loss=loss)
    for m in (None, 1, 7):
        params, x, y = data(sizes, m, seed=len(name) + len(loss))
        expected = reference(params, x, y, acts, loss)
        value, grads = f.value_and_grad(params, x, y)
        assert error(flat(grads), expected) < 1e-12
        assert error(flat(f(params, x, y)), expected) < 1e-12
        assert abs(value - network_cost(params, x, y, acts, loss)) < 1e-12 * max(1, abs(value))
        assert [a.shape for a in flat(grads)] == [a.shape for a in flat(params)]


@pytest.mark.parametrize("sizes", [[1, 1], [2, 3, 2], [5, 1, 4], [4, 3, 5, 2, 6]], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_sizes_and_batches(sizes, bias):
    f = gradient_of(sizes, bias, activation="tanh")
    for m in (None, 1, 2, 33):
        params, x, y = data(sizes, m, bias=bias)
        expected = reference(params, x, y, ["tanh"] * (len(sizes) - 1), "sum_squares")
        assert error(flat(f(params, x, y)), expected) < 1e-12


def by_hand(params, x, y):
    """Backpropagation as it is written by hand: sigmoid, sum of squares."""
    a = [x]
    for w, b in zip(params["w"], params["b"], strict=True):
        a.append(1 / (1 + np.exp(-(a[-1] @ w.T + b))))
    d = 2 / len(x) * (a[-1] - y) * a[-1] * (1 - a[-1])
    grads = {"w": [], "b": []}
    for n in range(len(params["w"]) - 1, -1, -1):
        grads["w"].insert(0, d.T @ a[n])
        grads["b"].insert(0, d.sum(0))
        d = (d @ params["w"][n]) * a[n] * (1 - a[n])
    return grads


@pytest.mark.parametrize("sizes", [[20, 30, 10, 5], [500, 450, 2]], ids=str)
def test_against_numpy_by_hand(sizes):
    f = gradient_of(sizes, activation="sigmoid")
    for m in (1, 16):
        params, x, y = data(sizes, m)
        params["w"][0] /= 10
        assert error(flat(f(params, x, y)), flat(by_hand(params, x, y))) < 1e-12


def test_the_comparison_itself_refuses_a_planted_error():
    params, x, y = data([3, 4, 2], 5)
    expected = reference(params, x, y, ["sigmoid"] * 2, "sum_squares")
    good = flat(by_hand(params, x, y))
    assert error(good, expected) < 1e-12
    for wrong in (
        [good[0] * (1 + 1e-9), *good[1:]],
        [*good[:-1], -good[-1]],
        [g * 5 for g in good],  # the sum over samples in place of the mean
    ):
        assert error(wrong, expected) > 1e-10


def test_float32_is_kept():
    for name, loss in itertools.product(ACTIVATIONS, COSTS):
        acts = [name, OUTPUT.get(loss, name)]
        f = gradient_of([3, 4, 2], activation=acts, loss=loss)
        for m in (None, 1, 6):
            params, x, y = data([3, 4, 2], m)
            small = {k: [a.astype("f4") for a in v] for k, v in params.items()}
            value, grads = f.value_and_grad(small, x.astype("f4"), y.astype("f4"))
            assert {a.dtype for a in flat(grads)} == {np.dtype("f4")} and value.dtype == "f4"
            assert error(flat(grads), flat(f(params, x, y))) < 2e-4


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("loss", COSTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_finite_and_silent_far_out(name, loss, dtype):
    acts = ["identity", OUTPUT.get(loss, name)]
    f = gradient_of([2, 2, 2], activation=[name, acts[1]], loss=loss)
    far = np.array([[1000.0, -1000.0], [-1000.0, 1000.0], [1000.0, 1000.0], [0.0, -1000.0]], dtype)
    params = {"w": [np.eye(2, dtype=dtype), np.eye(2, dtype=dtype) * 1000], "b": [np.zeros(2, dtype)] * 2}
    if name in ("identity", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh"):
        params["w"][1] /= 1000  # |z| = 1000 in both layers
    y = np.array([[1, 0], [0, 1], [0.5, 0.5], [1, 0]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for x_, y_ in ((far, y), (far[0], y[0])):
            value, grads = f.value_and_grad(params, x_, y_)
            assert np.isfinite(value) and all(np.isfinite(a).all() for a in flat(grads))


def test_cross_entropies_far_out_are_right():
    z = np.array([[1000.0, -1000.0, 0.0]])
    params, y = {"w": [np.eye(3)]}, np.array([[0.25, 0.5, 0.25]])
    value, _ = gradient_of([3, 3], False, activation="softmax", loss="softmax_cross_entropy").value_and_grad(
        params, z, y
    )
    assert value == pytest.approx(-(y * log_softmax(z)).sum(), rel=1e-14)
    value, _ = gradient_of([3, 3], False, activation="sigmoid", loss="binary_cross_entropy").value_and_grad(
        params, z, y
    )
    assert value == pytest.approx(0.75 * 1000 + 0.5 * 1000 + np.log(2), rel=1e-14)


def test_erf():
    x = np.concatenate([np.linspace(-8, 8, 20001), [0.0, 1e-300, -1e-9, 1000, -np.inf, np.inf]])
    assert np.abs(our_erf(x) - erf(x)).max() < 1e-15
    assert our_erf(x.astype("f4")).dtype == np.float32
    assert np.isnan(our_erf(np.array([np.nan]))).all()


# ---------------------------------------------------------------- other systems than dense ones

NODES = Axis("node", "n")
C0 = Family("C_0", (), (), "cost")


def vector(name, kind):
    return Family(name, ("j",), (NODES,), kind)


def matrix(name):
    return Family(name, ("j", "k"), (NODES, NODES), "parameter")


def squares(output, y):
    return Equation(Ref("C_0", ()), Sum("j", NODES, Pow(output["j"] - y["j"], expr(2))))


def residual(layers=3):
    """a^(l) = sigmoid(w^(l) a^(l-1)) + a^(l-1)."""
    last, layer = affine(layers), layer_axis(affine(layers))
    inner = between(1, "l", last)
    w = Family("w", ("l", "j", "k"), (layer, NODES, NODES), "parameter", "", inner)
    z = Family("z", ("l", "j"), (layer, NODES), "derived", "", inner)
    a = Family("a", ("l", "j"), (layer, NODES), "derived", "", between(0, "l", last))
    x, y = vector("x", "input"), vector("y", "target")
    below = affine("l") - 1
    output = Equation(Ref("C_0", ()), Sum("j", NODES, Pow(a[last, "j"] - y["j"], expr(2))))
    equations = (
        output,
        Equation(z["l", "j"], Sum("k", NODES, w["l", "j", "k"] * a[below, "k"]), inner),
        Equation(a["l", "j"], Call("sigmoid", (z["l", "j"],)) + a[below, "j"], inner),
        Equation(a["l", "j"], x["j"], (equals("l", 0),)),
    )
    return System({f.name: f for f in (w, z, a, x, y, C0)}, equations, "C_0", last, (None,) * (layers + 1))


def tied():
    """One weight matrix used twice: h = tanh(w x), o = tanh(w h)."""
    w, x, y = matrix("w"), vector("x", "input"), vector("y", "target")
    s, h, t, o = (vector(n, "derived") for n in "shto")
    equations = (
        squares(o, y),
        Equation(s["j"], Sum("k", NODES, w["j", "k"] * x["k"])),
        Equation(h["j"], Call("tanh", (s["j"],))),
        Equation(t["j"], Sum("k", NODES, w["j", "k"] * h["k"])),
        Equation(o["j"], Call("tanh", (t["j"],))),
    )
    return System({f.name: f for f in (w, s, h, t, o, x, y, C0)}, equations, "C_0", affine(0), (None,))


def diamond():
    """Two paths from s to h, one node used by all, and the number of nodes as a factor."""
    u, v, x, y = matrix("u"), matrix("v"), vector("x", "input"), vector("y", "target")
    s, p, q, h = (vector(n, "derived") for n in "spqh")
    equations = (
        Equation(Ref("C_0", ()), Sum("j", NODES, Pow(h["j"] - y["j"], expr(2)) * Div(ONE, Size(NODES)))),
        Equation(s["j"], Sum("k", NODES, u["j", "k"] * x["k"])),
        Equation(p["j"], Call("tanh", (s["j"],))),
        Equation(q["j"], Sum("k", NODES, v["j", "k"] * s["k"])),
        Equation(h["j"], p["j"] * q["j"] + p[0]),
    )
    return System({f.name: f for f in (u, v, s, p, q, h, x, y, C0)}, equations, "C_0", affine(0), (None,))


def run_residual(arrays, x, y):
    a = x
    for w in arrays:
        a = 1 / (1 + np.exp(-(a @ w.T))) + a
    return cost("sum_squares", a, y)


def run_tied(arrays, x, y):
    return cost("sum_squares", np.tanh(np.tanh(x @ arrays[0].T) @ arrays[0].T), y)


def run_diamond(arrays, x, y):
    s = x @ arrays[0].T
    p, q = np.tanh(s), s @ arrays[1].T
    return cost("mean_squares", p * q + p[..., :1], y)


@pytest.mark.parametrize(
    ("system", "run", "shape"),
    [
        (residual(), run_residual, {"w": 3}),
        (tied(), run_tied, {"w": 0}),
        (diamond(), run_diamond, {"u": 0, "v": 0}),
    ],
    ids=["residual", "tied", "diamond"],
)
@pytest.mark.parametrize("m", [None, 1, 6])
def test_systems_that_are_not_dense(system, run, shape, m):
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal((4, 4)) for n in shape.values() for _ in range(n or 1)]
    it = iter(arrays)
    params = {k: [next(it) for _ in range(n)] if n else next(it) for k, n in shape.items()}
    x, y = (rng.standard_normal((4,) if m is None else (m, 4)) for _ in range(2))
    f = compile_gradient(system, adjoints(system))
    value, grads = f.value_and_grad(params, x, y)
    assert error(flat(grads), complex_step(lambda moved: run(moved, x, y), arrays)) < 1e-12
    assert value == pytest.approx(run(arrays, x, y), rel=1e-13)
    by_x = compile_gradient(system, adjoints(system), wrt="x")(params, x, y)["x"]
    assert by_x.shape == x.shape
    expected = complex_step(lambda moved: run(arrays, moved[0], y), [x])
    assert error([by_x], expected) < 1e-12


def test_tied_over_layers_by_a_sum_over_layers():
    """The gradient as a Sum over layers, its backward pass stated by hand."""
    last, layer = affine(3), layer_axis(affine(3))
    inner = between(1, "l", last)
    w, x, y = matrix("w"), vector("x", "input"), vector("y", "target")
    z = Family("z", ("l", "j"), (layer, NODES), "derived", "", inner)
    a = Family("a", ("l", "j"), (layer, NODES), "derived", "", between(0, "l", last))
    below, above = affine("l") - 1, affine("l") + 1
    cost_ = Ref("C_0", ())
    equations = (
        Equation(cost_, Sum("j", NODES, Pow(a[last, "j"] - y["j"], expr(2)))),
        Equation(z["l", "j"], Sum("k", NODES, w["j", "k"] * a[below, "k"]), inner),
        Equation(a["l", "j"], Call("tanh", (z["l", "j"],)), inner),
        Equation(a["l", "j"], x["j"], (equals("l", 0),)),
    )
    system = System({f.name: f for f in (w, z, a, x, y, C0)}, equations, "C_0", last, (None,) * 4)
    slope: Expr = 1 - Pow(a["l", "j"], expr(2))
    backward = (
        Adjoint(Partial(cost_, w["j", "k"]), Sum("l", layer, Partial(cost_, z["l", "j"]) * a[below, "k"], inner), ()),
        Adjoint(Partial(cost_, z["l", "j"]), Partial(cost_, a["l", "j"]) * slope, inner),
        Adjoint(Partial(cost_, a[last, "j"]), 2 * (a[last, "j"] - y["j"]), (equals("l", last),)),
        Adjoint(
            Partial(cost_, a["l", "j"]),
            Sum("p", NODES, Partial(cost_, z[above, "p"]) * w["p", "j"]),
            between(0, "l", last - 1),
        ),
    )
    rng = np.random.default_rng(0)
    weights, xs, ys = rng.standard_normal((3, 3)), rng.standard_normal((5, 3)), rng.standard_normal((5, 3))

    def run(moved):
        h = xs
        for _ in range(3):
            h = np.tanh(h @ moved[0].T)
        return cost("sum_squares", h, ys)

    got = compile_gradient(system, backward)({"w": weights}, xs, ys)["w"]
    assert error([got], complex_step(run, [weights])) < 1e-12


# ---------------------------------------------------------------- what it can be asked for


def test_other_families_than_parameters():
    params, x, y = data([3, 4, 2], 5)
    system = dense_system([3, 4, 2], activation="sigmoid", bias=True)
    f = compile_gradient(system, adjoints(system), wrt=["x", "z", "a", "b"])
    grads = f(params, x, y)
    expected = complex_step(lambda moved: network_cost(params, moved[0], y, ["sigmoid"] * 2, "sum_squares"), [x])
    assert error([grads["x"]], expected) < 1e-12
    assert [a.shape for a in grads["a"]] == [(5, 3), (5, 4), (5, 2)]
    assert [a.shape for a in grads["z"]] == [(5, 4), (5, 2)]
    np.testing.assert_allclose(grads["z"][1].sum(0), grads["b"][1], rtol=1e-12)
    np.testing.assert_array_equal(grads["a"][0], grads["x"])
    one = f(params, x[:1], y[:1])
    assert one["x"].shape == (1, 3) and one["z"][0].shape == (1, 4) and one["b"][0].shape == (4,)
    assert f(params, x[0], y[0])["x"].shape == (3,)


def test_given_quantities_are_not_computed_again():
    params, x, y = data([3, 4, 2], 5)
    system = dense_system([3, 4, 2], activation="sigmoid", bias=True)
    values = forward(system, params, x)
    f = compile_gradient(system, adjoints(system), given=["a"])
    assert "exp" not in f.source
    assert error(flat(f(params, x, y, given=values)), flat(by_hand(params, x, y))) < 1e-12


def test_forward():
    params, x, _ = data([3, 4, 2], 5)
    values = forward(dense_system([3, 4, 2], activation=["relu", "tanh"], bias=True), params, x)
    a1 = np.maximum(x @ params["w"][0].T + params["b"][0], 0)
    np.testing.assert_allclose(values["a"][1], a1)
    np.testing.assert_allclose(values["output"], np.tanh(a1 @ params["w"][1].T + params["b"][1]))
    assert len(values["z"]) == 2 and len(values["a"]) == 3
    assert forward(dense_system([3, 4, 2], activation="relu", bias=True), params, x[0])["output"].shape == (2,)


def test_symbolic_depth_and_widths_are_read_off_the_arrays():
    system = dense_system(activation="tanh", bias=True)
    f = compile_gradient(system, adjoints(system))
    for sizes in ([3, 4, 2], [2, 5, 5, 3], [3, 6, 2]):
        params, x, y = data(sizes, 4)
        expected = reference(params, x, y, ["tanh"] * (len(sizes) - 1), "sum_squares")
        assert error(flat(f(params, x, y)), expected) < 1e-12
    assert instantiate(system, (3, 4, 2)).numeric
    assert "dot" in f.source


def test_out_and_bind():
    params, x, y = data([3, 4, 2], 5)
    f = gradient_of([3, 4, 2], activation="sigmoid")
    expected = flat(by_hand(params, x, y))
    out = {k: [np.full_like(a, np.nan) for a in v] for k, v in params.items()}
    for _ in range(2):
        assert f(params, x, y, out=out) is out
    assert error(flat(out), expected) < 1e-14
    turned = {k: [np.full(a.T.shape, np.nan).T for a in v] for k, v in params.items()}
    assert error(flat(f(params, x, y, out=turned)), expected) < 1e-14
    bound, other = f.bind(params, x, y), f.bind(params, x, y, out=turned, value=True)
    grads = bound()
    assert bound() is grads and error(flat(grads), expected) < 1e-14
    x += 1
    params["w"][0][...] *= 2
    assert error(flat(bound()), flat(by_hand(params, x, y))) < 1e-14
    assert other()[1] is turned and error(flat(turned), flat(grads)) < 1e-14
    kept = [a.copy() for a in flat(grads)]
    f(params, x * 2, y)
    assert error(flat(grads), kept) == 0  # no other call writes there


def test_any_layout_of_the_inputs():
    params, x, y = data([3, 4, 2], 6)
    f = gradient_of([3, 4, 2], activation="sigmoid")
    expected = flat(f(params, x, y))
    turned = {k: [np.asfortranarray(a) for a in v] for k, v in params.items()}
    assert error(flat(f(turned, np.asfortranarray(x), np.repeat(y, 2, 0)[::2])), expected) < 1e-14


def test_threads():
    f = gradient_of([6, 8, 3], activation="tanh")
    sets = [data([6, 8, 3], m, seed=n) for n, m in enumerate((1, 4, 4, 9))]
    expected = [flat(f(*s)) for s in sets]
    wrong = []

    def work(n):
        for _ in range(150):
            if error(flat(f(*sets[n])), expected[n]) > 1e-13:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_nan_goes_through():
    params, x, y = data([3, 4, 2], 5)
    x[0, 0] = np.nan
    for name in ("sigmoid", "relu", "softmax"):
        grads = gradient_of([3, 4, 2], activation=name)(params, x, y)
        assert all(np.isnan(a).any() for a in flat(grads))


def test_a_thousand_layers():
    start = time.process_time()
    system = dense_system([8] * 1001, activation="tanh", bias=True)
    params = {"w": [np.eye(8)] * 1000, "b": [np.zeros(8)] * 1000}
    grads = compile_gradient(system, adjoints(system))(params, np.ones((2, 8)) / 100, np.zeros((2, 8)))
    assert len(grads["w"]) == 1000 and np.isfinite(grads["w"][0]).all()
    assert time.process_time() - start < 120  # a figure belongs to the benchmarks; this only stops a hang


# ---------------------------------------------------------------- bad input

GOOD = data([3, 4, 2], 5)


def changed(**more):
    params, x, y = GOOD
    params = {k: list(v) for k, v in params.items()}
    for key, value in more.items():
        if key in params:
            params[key] = value
    return params, more.get("x", x), more.get("y", y)


W1, W2 = GOOD[0]["w"]
BAD = {
    'params["w"][1] (w^(2)) has shape (4, 2), expected (n_2, n_1) = (2, 4); its transpose fits': (
        ShapeError,
        changed(w=[W1, W2.T]),
    ),
    'params["w"][0] (w^(1)) has shape (4, 5), expected (n_1, n_0) = (4, 3)': (
        ShapeError,
        changed(w=[np.ones((4, 5)), W2]),
    ),
    'params["b"][0] (b^(1)) has shape (2,), expected (n_1,) = (4,)': (ShapeError, changed(b=[np.ones(2), np.ones(2)])),
    "params['w'] has 1 arrays, expected 2, one for each layer": (ShapeError, changed(w=[W1])),
    "params['w'] is one array of shape (4, 3), expected a list of 2 arrays, one for each layer": (
        ShapeError,
        changed(w=W1),
    ),
    "params has no 'b', expected the keys 'w', 'b'": (ShapeError, ({"w": [W1, W2]}, *GOOD[1:])),
    "params has 'c', which is no parameter; expected the keys 'w', 'b'": (
        ShapeError,
        ({**GOOD[0], "c": []}, *GOOD[1:]),
    ),
    "params is a list, expected a dict with the keys 'w', 'b'": (ShapeError, ([W1], *GOOD[1:])),
    "x has shape (0, 3): the batch is empty, expected at least one sample": (ShapeError, changed(x=np.ones((0, 3)))),
    "x has shape (5, 4), expected (m, n_0) = (m, 3)": (ShapeError, changed(x=np.ones((5, 4)))),
    "x has shape (), expected (3,) for one sample or (m, 3) for m samples": (ShapeError, changed(x=np.array(1.0))),
    "y has shape (4, 2), expected (m, n_2) = (5, 2)": (ShapeError, changed(y=np.ones((4, 2)))),
    "y has shape (2,), expected (m, n_2) = (5, 2)": (ShapeError, changed(y=np.ones(2))),
    "y is missing": (ShapeError, changed(y=None)),
    "x has dtype int64, expected float32 or float64; convert it with .astype(float)": (
        DTypeError,
        changed(x=np.ones((5, 3), int)),
    ),
    "x has dtype complex128, expected float32 or float64": (DTypeError, changed(x=np.ones((5, 3), complex))),
    "x has dtype object, expected float32 or float64": (DTypeError, changed(x=np.ones((5, 3), object))),
    'x has dtype float32, but params["w"][0] (w^(1)) has float64': (DTypeError, changed(x=np.ones((5, 3), "f4"))),
    "x is a list, expected a NumPy array of float32 or float64": (DTypeError, changed(x=[[1.0, 2.0, 3.0]])),
}


@pytest.mark.parametrize("message", BAD, ids=str)
def test_bad_arguments_say_what_was_found(message):
    kind, arguments = BAD[message]
    f = gradient_of([3, 4, 2], activation="sigmoid")
    for warm in (False, True):
        if warm:
            f(*GOOD)
        with pytest.raises(kind) as caught:
            f(*arguments)
        assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_bad_out():
    params, x, y = data([3, 4, 2], 5)
    f = gradient_of([3, 4, 2], activation="sigmoid")

    def out(**more):
        good = {k: [np.empty_like(a) for a in v] for k, v in params.items()}
        for place, a in more.items():
            good[place[0]][int(place[1])] = a
        return good

    frozen = np.empty((4, 3))
    frozen.flags.writeable = False
    memory = np.empty(40)
    cases = [
        (ShapeError, 'out["w"][0] has shape (3, 4)', out(w0=np.empty((3, 4)))),
        (DTypeError, 'out["w"][0] has dtype float32', out(w0=np.empty((4, 3), "f4"))),
        (DTypeError, 'out["w"][0] is a list', out(w0=[1.0])),
        (ShapeError, 'out["w"][0] is read-only', out(w0=frozen)),
        (ShapeError, 'out["w"][0] overlaps', out(w0=params["w"][0])),
        (ShapeError, 'out["w"][1] overlaps', out(w0=memory[:12].reshape(4, 3), w1=memory[8:16].reshape(2, 4))),
        (ShapeError, "out lacks", {"w": []}),
        (ShapeError, "out lacks", 3),
    ]
    f(params, x, y, out=out())
    for kind, message, bad in cases:
        with pytest.raises(kind) as caught:
            f(params, x, y, out=bad)
        assert str(caught.value).startswith(message)


def test_what_cannot_be_compiled():
    system = dense_system([3, 4, 2])
    with pytest.raises(ModelError, match=r'g is generic.*activation="sigmoid"'):
        compile_gradient(system, adjoints(system))
    system = dense_system([3, 4, 2], activation="tanh", loss="generic")
    with pytest.raises(ModelError, match=r'C is generic.*loss="sum_squares"'):
        compile_gradient(system, adjoints(system)).value_and_grad(*data([3, 4, 2], 5, bias=False))
    system = dense_system([3, 4, 2], activation="tanh")
    with pytest.raises(UnknownFamilyError, match="wrt: 'v'"):
        compile_gradient(system, adjoints(system), wrt="v")
    with pytest.raises(UnknownNameError, match="did you mean 'numpy'"):
        compile_gradient(system, adjoints(system), backend="nunpy")
    with pytest.raises(ModelError, match="of='a'"):
        compile_gradient(system, adjoints(system), of="a")
    with pytest.raises(ModelError, match="a target"):
        compile_gradient(system, adjoints(system), wrt="y")


# ---------------------------------------------------------------- text for people


def plain(e):
    """A stand-in for the printer of the package."""
    return type(e).__name__ + str(sum(1 for _ in walk(e)))


@pytest.mark.parametrize(
    "more",
    [
        {"activation": "sigmoid"},
        {"activation": ["relu", "tanh", "softmax"], "loss": "softmax_cross_entropy"},
        {"activation": ["gelu", "softmax", "softplus"], "loss": "huber"},
        {"activation": ["elu", "silu", "sigmoid"], "loss": "binary_cross_entropy"},
    ],
    ids=lambda m: str(m["activation"]),
)
def test_the_module_stands_alone_and_checks_itself(tmp_path, more):
    system = dense_system([4, 3, 5, 2], bias=True, **more)
    path = tmp_path / "net.py"
    text = write_module(system, adjoints(system), plain)
    assert "symbackprop" not in text and "out=" not in text.replace("out=None", "")
    path.write_text(text)
    done = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.startswith("largest relative error"), done
    space = {"__name__": "net"}
    exec(compile(text, "net", "exec"), space)
    params, x, y = data([4, 3, 5, 2], 6)
    value, grads = compile_gradient(system, adjoints(system)).value_and_grad(params, x, y)
    theirs, their_grads = space["value_and_grad"](params, x, y)
    assert theirs == pytest.approx(value) and error(flat(their_grads), flat(grads)) < 1e-12
    np.testing.assert_allclose(space["forward"](params, x)["a"][-1], forward(system, params, x)["output"])


def test_the_module_refuses_a_planted_error(tmp_path):
    system = dense_system([4, 3, 2], bias=True, activation="sigmoid")
    text = write_module(system, adjoints(system), plain)
    wrong = text.replace("da1 = dz2 @ w2", "da1 = dz2 @ (w2 * 1.001)")
    assert wrong != text
    (tmp_path / "net.py").write_text(wrong)
    done = subprocess.run([sys.executable, str(tmp_path / "net.py")], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1


def test_pseudocode_runs_as_it_stands():
    """The loop over layers of a general network, run on numbers, gives the gradient."""
    system = dense_system(bias=True)
    source = pseudocode(system, adjoints(system))
    assert "for l in range(L, 0, -1):" in source and "if l == L:" in source
    sizes = [3, 4, 5, 2]
    params, x, y = data(sizes, None)
    rows = [None, *range(3)]
    space = {
        "L": 3,
        "n": sizes,
        "g": np.tanh,
        "g_prime": lambda z: 1 - np.tanh(z) ** 2,
        "sum": lambda terms: np.sum(list(terms)),
    }
    for name in ("z", "a", "dz", "da", "db"):
        space[name] = [np.zeros(k) for k in sizes]
    space["dw"] = [None, *(np.zeros_like(w) for w in params["w"])]
    exec(compile(source, "pseudocode", "exec"), space)
    w, b = ([None if r is None else params[k][r] for r in rows] for k in "wb")
    dw, db = space["backward"](w, b, x, y)
    expected = reference(params, x, y, ["tanh"] * 3, "sum_squares")
    assert error([*dw[1:], *db[1:]], expected) < 1e-12


def test_pseudocode_in_latex():
    system = dense_system(bias=True)
    for notebook in (False, True):
        latex = pseudocode_latex(system, adjoints(system), notebook=notebook)
        assert r"l = L, L - 1, \dots, 1" in latex and r"\sum_{p = 0}" in latex and "range" not in latex
