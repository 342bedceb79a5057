"""check_function names the slip of a backward pass in code, accepts right ones, and notices what code does besides."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symbackprop
from symbackprop import dense, load
from symbackprop.codecheck import check_function
from symbackprop.codecheck.run import planned, step_differs
from symbackprop.errors import FunctionError, UnknownFamilyError, UnknownNameError
from symbackprop.testing import assert_backward

PACKAGE = Path(symbackprop.__file__).parent


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (sigma, lambda z: sigma(z) * (1 - sigma(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, z / 100), lambda z: np.where(z > 0, 1.0, 0.01)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(z)), lambda z: np.where(z > 0, 1.0, np.exp(z))),
    "softplus": (lambda z: np.log1p(np.exp(z)), sigma),
    "silu": (lambda z: z * sigma(z), lambda z: sigma(z) * (1 + z * (1 - sigma(z)))),
}

Pass = Callable[[dict[str, Any], Any, Any], Any]


def loss_of(slip: str, a: Any, z: Any, y: Any) -> Any:
    """The derivative of the cost by the output."""
    return {
        "half": a - y,
        "sign": 2 * (y - a),
        "n_L": 2 * (a - y) / a.shape[1],
        "sum_absolute": np.sign(a - y),
        "bce": (a - y) / (a * (1 - a)),
        "z for a": 2 * (z - y),
        "without y": 2 * a,
    }.get(slip, 2 * (a - y))


def backward(slip: str = "", activation: str = "sigmoid") -> Pass:
    """A handwritten pass for sum_squares with a bias, with one planted slip; each is one changed place."""
    g, slope = ACTIVATIONS[activation]

    def mlp(params: dict[str, Any], x: Any, y: Any) -> Any:
        w, b = list(params["w"]), list(params["b"])
        z, a = [x], [x]
        for l in range(len(w)):
            z.append(a[-1] @ w[l].T + (0 if slip == "forward without b" else b[l]))
            a.append(g(z[-1]))
        m, L = len(x), len(w)

        def gp(l: int) -> Any:
            if slip == f"no slope {l - L}" or (slip == "no hidden slope" and l < L) or slip == "no slope":
                return 1.0
            if slip == "g for slope" and l < L:
                return g(z[l])
            if slip == "slope at a" and l < L:
                return slope(a[l])
            if slip == "z(1-z)" and l < L:
                return z[l] * (1 - z[l])
            if slip == "1+a" and l < L:
                return a[l] * (1 + a[l])
            if slip == "slope squared" and l == L:
                return slope(z[l]) ** 2
            return slope(z[l])

        with np.errstate(all="ignore"):
            loss = loss_of(slip, a[L], z[L], y)
        delta = loss * gp(L)
        dw, db = [0.0] * L, [0.0] * L
        for l in range(L, 0, -1):
            incoming = a[l - 1]
            if slip == "own a" and l > 1:
                incoming = a[l]
            if slip == "z incoming" and l > 1:
                incoming = z[l - 1]
            rows = delta.T @ incoming
            dw[l - 1], db[l - 1] = rows / m, delta.sum(0) / m
            if slip == "sum":
                dw[l - 1], db[l - 1] = rows, delta.sum(0)
            if slip == "sum of w":
                dw[l - 1] = rows
            if slip == "bias sum" and l == 1:
                db[l - 1] = delta.sum(0)
            if slip == "bias rows":
                db[l - 1] = delta / m
            if slip == "keepdims":
                db[l - 1] = delta.mean(0, keepdims=True)
            if slip == "outer":
                dw[l - 1] = rows.T / m
            if slip == "first sample":
                dw[l - 1], db[l - 1] = np.outer(delta[0], a[l - 1][0]), delta[0]
            if slip == "last sample / m":
                dw[l - 1], db[l - 1] = np.outer(delta[-1], a[l - 1][-1]) / m, delta[-1] / m
            if slip == "twice / m":
                dw[l - 1], db[l - 1] = rows / m**2, delta.sum(0) / m**2
            if slip == "factor at 1" and l == 1:
                dw[l - 1] = dw[l - 1] * 2
            if slip == "sign of b":
                db[l - 1] = -db[l - 1]
            if l > 1:
                weight = w[l - 1]
                if slip == "transposed":
                    weight = weight.T
                if slip == "transposed once" and l == 2:
                    weight = weight.T
                if slip == "wrong weight" and l == L:
                    weight = w[l - 2]
                if slip == "updated":
                    params["w"][l - 1] -= 0.3 * dw[l - 1]
                    weight = params["w"][l - 1]
                if slip == "updated copy":
                    weight = weight - 0.3 * dw[l - 1]
                delta = (delta @ weight) * gp(l - 1)
        return {"w": dw, "b": db}

    return mlp


SLIPS = {
    "no slope 0": ("missing_activation_derivative", "without g'(z^(3))"),
    "no slope -1": ("missing_activation_derivative", "without g'(z^(2))"),
    "no slope -2": ("missing_activation_derivative", "without g'(z^(1))"),
    "no hidden slope": (
        "missing_activation_derivative",
        "without g'(z^(2)) (the derivative of sigmoid), and likewise in the layer below",
    ),
    "no slope": (
        "missing_activation_derivative",
        "without g'(z^(3)) (the derivative of sigmoid), and likewise in the layers below",
    ),
    "g for slope": ("missing_activation_derivative", "with g(z^(2)) instead of g'(z^(2))"),
    "slope at a": ("wrong_variable", "with g'(a^(2)) instead of g'(z^(2))"),
    "z(1-z)": ("wrong_variable", "with z^(2) (1 - z^(2)) instead of a^(2) (1 - a^(2)) as g'(z^(2))"),
    "1+a": ("missing_activation_derivative", "with a^(2) (1 + a^(2)) instead of a^(2) (1 - a^(2))"),
    "slope squared": ("extra_term", "with g'(z^(3)) (the derivative of sigmoid) once too often"),
    "half": ("factor", "without a factor 2"),
    "sign": ("sign", "opposite sign"),
    "n_L": ("factor", "divided by n_L"),
    "sum_absolute": ("loss_derivative", "with the derivative of sum_absolute"),
    "z for a": ("wrong_variable", "with z^(3) instead of a^(3)"),
    "without y": ("dropped_term", "without the term -y"),
    "own a": ("wrong_layer", "with a^(3) instead of a^(2)"),
    "z incoming": ("wrong_variable", "with z^(2) instead of a^(2)"),
    "sum": ("factor", "summed over the batch, not averaged"),
    "sum of w": ("factor", "summed over the batch, not averaged"),
    "bias sum": ("factor", "summed over the batch, not averaged"),
    "bias rows": ("missing_sum", "the bias gradient was not summed over the samples"),
    "keepdims": ("shape_mismatch", "axis of size 1"),
    "outer": ("shape_mismatch", "transpose"),
    "first sample": ("missing_sum", "the first sample alone"),
    "last sample / m": ("missing_sum", "the last sample alone"),
    "twice / m": ("factor", "divided by the number of samples once too often"),
    "factor at 1": ("factor", "with a factor of 2 too many"),
    "sign of b": ("sign", "opposite sign"),
    "transposed": ("transposed_weight", "with w^(3) not transposed, and likewise in the layer below"),
    "transposed once": ("transposed_weight", "with w^(2) not transposed"),
    "wrong weight": ("wrong_layer", "with w^(2) instead of w^(3)"),
    "updated": ("other", "with w^(3) as it is after its update"),
    "updated copy": ("other", "with w^(3) as it is after its update"),
    "forward without b": ("dropped_term", "computes z^(3) without the term b^(3), and likewise in the layers below"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_planted_slip_is_named(slip: str) -> None:
    cause, words = SLIPS[slip]
    report = check_function(dense(activation="sigmoid", bias=True), backward(slip), samples=4)
    assert not report
    assert report.causes[:1] == (cause,), report.text()
    assert words in report.text()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_pass_is_right(activation: str, dtype: str) -> None:
    report = check_function(dense(activation=activation, bias=True), backward("", activation), samples=4, dtype=dtype)
    assert report, report.text()


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a != "identity"])
def test_a_missing_slope_shows_with_every_activation(activation: str) -> None:
    report = check_function(dense(activation=activation, bias=True), backward("no hidden slope", activation), samples=4)
    assert report.causes == ("missing_activation_derivative",), report.text()
    assert report.slips[0].array == "grads['w'][1]"


def test_another_loss_is_named() -> None:
    report = check_function(dense(activation="tanh", bias=True), backward("bce", "tanh"), samples=4)
    assert report.causes == ("loss_derivative",) and "binary_cross_entropy" in report.text()


def test_two_slips_are_both_named() -> None:
    def both(params: Any, x: Any, y: Any) -> Any:
        grads = backward("no slope -2")(params, x, y)
        return {"w": grads["w"], "b": [-b for b in grads["b"]]}

    report = check_function(dense(activation="sigmoid", bias=True), both, samples=4)
    assert {s.cause for s in report.slips} == {"sign", "missing_activation_derivative"}, report.text()


def test_what_follows_is_told_from_where_it_went_wrong() -> None:
    report = check_function(dense(activation="sigmoid", bias=True), backward("no slope -1"), samples=4)
    (slip,) = report.slips
    assert (slip.array, slip.follow) == ("grads['w'][1]", ("grads['b'][1]", "grads['w'][0]", "grads['b'][0]"))
    assert [a.follows for a in report.arrays] == [True, False, False, True, True, False]
    assert [a.verdict for a in report.arrays] == ["wrong", "wrong", "right", "wrong", "wrong", "right"]
    worst = report.arrays[1].worst
    assert worst is not None and worst.got != worst.expected


# ---------------------------------------------------------------- softmax with cross-entropy


def softmax_pass(slip: str = "") -> Pass:
    def classify(params: dict[str, Any], x: Any, y: Any) -> Any:
        (w_1, w_2, w_3), (b_1, b_2, b_3) = params["w"], params["b"]
        h_1 = np.tanh(x @ w_1.T + b_1)
        h_2 = np.tanh(h_1 @ w_2.T + b_2)
        p = softmax(h_2 @ w_3.T + b_3)
        delta = {
            "": p - y,
            "sign": y - p,
            "no softmax": -y / p,
            "diagonal": -y / p * p * (1 - p),
            "extra slope": (p - y) * p * (1 - p),
            "squares": 2 * (p - y),
        }[slip]
        hidden = (delta @ w_3) * (1 - h_2**2)
        first = (hidden @ w_2) * (1 - h_1**2)
        m = len(x)
        pairs = ((first, x), (hidden, h_1), (delta, h_2))
        return [d.T @ a / m for d, a in pairs], [d.mean(0) for d, _ in pairs]

    return classify


SOFTMAX = {
    "sign": ("sign", "opposite sign"),
    "no softmax": ("missing_activation_derivative", "the derivative of a^(3) by z^(3) missing"),
    "extra slope": ("extra_term", "a^(3) (1 - a^(3)) too many"),
    "diagonal": ("missing_sum", "softmax"),
    "squares": ("factor", "a factor of 2 too many"),
}


def classifier() -> Any:
    return dense([5, 4, 6, 3], ["tanh", "tanh", "softmax"], "softmax_cross_entropy", bias=True)


@pytest.mark.parametrize("slip", SOFTMAX)
def test_a_slip_at_softmax_is_named(slip: str) -> None:
    cause, words = SOFTMAX[slip]
    report = check_function(classifier(), softmax_pass(slip), samples=4)
    assert report.causes[:1] == (cause,), report.text()
    assert words in report.text()


def test_a_right_pass_with_softmax_is_right() -> None:
    assert check_function(classifier(), softmax_pass())


# ---------------------------------------------------------------- models with arrays by name


def attention(slip: str = "") -> Callable[..., Any]:
    def attend(Q: Any, K: Any, V: Any, upstream: Any) -> Any:
        dO = upstream["O"]
        scale = 1 / np.sqrt(Q.shape[1])
        P = softmax(Q @ K.T * scale)
        dP = dO @ V.T
        dS = P * (dP - (dP * P).sum(-1, keepdims=True))
        if slip == "no row sum":
            dS = P * dP
        if slip == "diagonal":
            dS = P * (1 - P) * dP
        if slip == "sign of the row sum":
            dS = P * (dP + (dP * P).sum(-1, keepdims=True))
        if slip == "no P":
            dS = dP - (dP * P).sum(-1, keepdims=True)
        if slip == "no scale":
            scale = 1.0
        if slip == "scale squared":
            scale = 1 / Q.shape[1]
        dQ, dK, dV = dS @ K * scale, dS.T @ Q * scale, P.T @ dO
        if slip == "S for its transpose":
            dK = dS @ Q * scale
        if slip == "P not transposed":
            dV = P @ dO
        if slip == "Q for K":
            dQ = dS @ Q * scale
        return {"Q": dQ, "K": dK, "V": dV}

    return attend


ATTENTION = {
    "no row sum": ("dropped_term", "without the term"),
    "diagonal": ("missing_sum", "without the sum over"),
    "sign of the row sum": ("sign", "with the wrong sign before"),
    "no P": ("factor", "without the factor P"),
    "no scale": ("factor", "without the factor 1/√d"),
    "scale squared": ("factor", "divided by √d"),
    "S for its transpose": ("wrong_index", "dC/dS transposed"),
    "P not transposed": ("wrong_index", "P transposed"),
    "Q for K": ("wrong_variable", "with Q instead of K"),
}


@pytest.mark.parametrize("slip", ATTENTION)
def test_a_slip_in_attention_is_named(slip: str) -> None:
    cause, words = ATTENTION[slip]
    report = check_function(load("attention"), attention(slip), samples=4)
    assert report.causes[:1] == (cause,), report.text()
    assert words in report.text(), report.text()


def layer_normalisation(slip: str = "") -> Callable[..., Any]:
    def normalise(x: Any, gamma: Any, beta: Any, epsilon: float, upstream: Any) -> Any:
        dy = upstream["y"]
        mu = x.mean(-1, keepdims=True)
        s = np.sqrt(x.var(-1, keepdims=True) + epsilon)
        n = (x - mu) / s
        dn = dy * (1 if slip == "no gamma" else gamma)
        through_mu = dn.mean(-1, keepdims=True)
        through_s = n * (dn * n).mean(-1, keepdims=True)
        if slip == "mean held":
            through_mu = 0
        if slip == "deviation held":
            through_s = 0
        dx = (dn - through_mu - through_s) / (1 if slip == "no sigma" else s)
        dgamma, dbeta = (dy * n).sum((0, 1)), dy.sum((0, 1))
        if slip == "x for x hat":
            dgamma = (dy * x).sum((0, 1))
        if slip == "beta rows":
            dbeta = dy.sum(0)
        if slip == "beta mean":
            dbeta = dy.mean((0, 1))
        return {"x": dx, "gamma": dgamma, "beta": dbeta}

    return normalise


NORMALISATION = {
    "no gamma": ("factor", "without the factor gamma"),
    "mean held": ("dropped_term", "without the term dC/dmu"),
    "deviation held": ("dropped_term", "without the term (dC/dsigma"),
    "x for x hat": ("wrong_variable", "with x instead of"),
    "beta rows": ("missing_sum", "was not summed"),
    "beta mean": ("factor", "divided by"),
}


@pytest.mark.parametrize("slip", NORMALISATION)
def test_a_slip_in_layer_normalisation_is_named(slip: str) -> None:
    cause, words = NORMALISATION[slip]
    wrt = ["x", "gamma", "beta"]
    report = check_function(load("layer-normalisation"), layer_normalisation(slip), wrt=wrt, samples=4)
    assert report.causes[:1] == (cause,), report.text()
    assert words in report.text(), report.text()


def recurrent(slip: str = "") -> Callable[..., Any]:
    def rnn(U: Any, W: Any, b: Any, V: Any, d: Any, x: Any, y: Any, h_0: Any) -> Any:
        h = [h_0]
        for x_t in x:
            h.append(np.tanh(U @ x_t + W @ h[-1] + b))
        dU, dW, db, dV, dd = (np.zeros_like(a) for a in (U, W, b, V, d))
        dh = np.zeros_like(h_0)
        for t in range(len(x), 0, -1):
            do = V @ h[t] + d - y[t - 1]
            dV += np.outer(do, h[t])
            dd += do
            dh = dh + V.T @ do
            if slip == "overwritten":
                dh = V.T @ do
            da = dh * (1 if slip == "no slope" else 1 - h[t] ** 2)
            dU += np.outer(da, x[t - 1])
            dW += np.outer(da, h[t] if slip == "own h" else h[t - 1])
            if slip == "last step":
                db = da if t == len(x) else db
            else:
                db += da
            dh = (W if slip == "transposed" else W.T) @ da
        return {"U": dU, "W": dW, "b": db, "V": dV, "d": dd}

    return rnn


RECURRENT = {
    "overwritten": ("dropped_term", "without the term"),
    "no slope": ("missing_activation_derivative", "tanh'(a^(t))"),
    "own h": ("wrong_layer", "with h^(t) instead of h^(t-1)"),
    "last step": ("missing_sum", "with the last term of the sum over t alone"),
    "transposed": ("transposed_weight", "with W not transposed"),
}


@pytest.mark.parametrize("slip", RECURRENT)
def test_a_slip_in_a_recurrence_is_named(slip: str) -> None:
    cause, words = RECURRENT[slip]
    report = check_function(load("rnn"), recurrent(slip), samples=4)
    assert report.causes[:1] == (cause,), report.text()
    assert words in report.text(), report.text()


def lstm(slip: str = "") -> Callable[..., Any]:
    def cell(x: Any, h_0: Any, c_0: Any, upstream: Any, **p: Any) -> Any:
        h, c, gates = [h_0], [c_0], []
        for x_t in x:
            z = {k: x_t @ p[f"W_{k}"].T + h[-1] @ p[f"U_{k}"].T + p[f"b_{k}"] for k in "ifog"}
            g = {k: np.tanh(v) if k == "g" else sigma(v) for k, v in z.items()}
            c.append(g["f"] * c[-1] + g["i"] * g["g"])
            h.append(g["o"] * np.tanh(c[-1]))
            gates.append(g)
        grads = {n: np.zeros_like(a) for n, a in p.items()}
        dh, dc = np.zeros_like(h_0), np.zeros_like(c_0)
        for t in range(len(x), 0, -1):
            g = gates[t - 1]
            dh = dh + upstream["h"][t - 1]
            dc = dc + upstream["c"][t - 1] if "c" in upstream else dc
            dc = dc + dh * g["o"] * (1 if slip == "no tanh'" else 1 - np.tanh(c[t]) ** 2)
            d = {"i": dc * g["g"], "f": dc * c[t - 1], "o": dh * np.tanh(c[t]), "g": dc * g["i"]}
            if slip == "own c":
                d["f"] = dc * c[t]
            if slip == "c for tanh c":
                d["o"] = dh * c[t]
            dz = {k: v * ((1 - g[k] ** 2) if k == "g" else g[k] * (1 - g[k])) for k, v in d.items()}
            if slip == "no gate slope":
                dz["f"] = d["f"]
            dh = sum(dz[k] @ p[f"U_{k}"] for k in "ifog")
            for k in "ifog":
                grads[f"W_{k}"] += dz[k].T @ x[t - 1]
                grads[f"U_{k}"] += dz[k].T @ h[t - 1]
                grads[f"b_{k}"] += dz[k].sum(0)
            dc = dc * (1 if slip == "no forget" else g["f"])
        return grads

    return cell


LSTM = {
    "no tanh'": ("missing_activation_derivative", "without tanh'(c^(t))"),
    "own c": ("wrong_layer", "with c^(t) instead of c^(t-1)"),
    "c for tanh c": ("other", "without the activation: c^(t) instead of tanh(c^(t))"),
    "no gate slope": ("missing_activation_derivative", "without sigmoid'"),
    "no forget": ("factor", "without the factor f^(t+1)"),
}


@pytest.mark.parametrize("slip", LSTM)
def test_a_slip_in_an_lstm_is_named(slip: str) -> None:
    cause, words = LSTM[slip]
    report = check_function(load("lstm"), lstm(slip), samples=2)
    assert report.causes[:1] == (cause,), report.text()
    assert words in report.text(), report.text()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_passes_of_models_are_right(dtype: str) -> None:
    wrt = ["x", "gamma", "beta"]
    for name, function, more in (
        ("attention", attention(), {}),
        ("layer-normalisation", layer_normalisation(), {"wrt": wrt}),
        ("rnn", recurrent(), {}),
        ("lstm", lstm(), {}),
    ):
        report = check_function(load(name), function, samples=4, dtype=dtype, **more)
        assert report, report.text()


# ---------------------------------------------------------------- structure, kind of array, what else code does


def net() -> Any:
    return dense(activation="sigmoid", bias=True)


def structures() -> dict[str, Callable[[Any], Any]]:
    return {
        "lists": lambda g: (g["w"], g["b"]),
        "layer by layer": lambda g: list(zip(g["w"], g["b"], strict=True)),
        "flat": lambda g: [*g["w"], *g["b"]],
        "flat by layer": lambda g: [a for pair in zip(g["w"], g["b"], strict=True) for a in pair],
        "with the cost": lambda g: (1.25, g),
        "d names": lambda g: {"dW": g["w"], "db": g["b"]},
        "numbered": lambda g: {f"d{f}{n + 1}": a for f in "wb" for n, a in enumerate(g[f])},
        "lists of numbers": lambda g: {f: [np.asarray(a) for a in v] for f, v in g.items()},
    }


@pytest.mark.parametrize("name", structures())
def test_the_same_arrays_in_another_structure_are_found(name: str) -> None:
    arranged = structures()[name]
    assert check_function(net(), lambda p, x, y: arranged(backward()(p, x, y)), samples=4)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "it returned None, expected a dict {'w': 3 arrays in a list, 'b': 3 arrays in a list}"),
        ({"w": [1.0]}, "grads['w'] has 1 entries, expected 3"),
        ({}, "an empty dict, in which grads['w'][0] is missing"),
        ("abc", "it returned a str"),
        (np.zeros(3), "one ndarray of shape (3,)"),
    ],
    ids=str,
)
def test_a_wrong_structure_is_described(returned: Any, words: str) -> None:
    report = check_function(net(), lambda p, x, y: returned, samples=2)
    assert not report and words in report.text()


def test_an_exception_is_told_with_the_sizes_and_without_a_traceback() -> None:
    def fails(params: Any, x: Any, y: Any) -> Any:
        raise KeyError("weights")

    text = check_function(net(), fails, samples=3).text()
    assert "raised KeyError: 'weights' on every case" in text and "x (3, 4)" in text
    assert "Traceback" not in text


def test_a_change_in_place_is_named_and_used_to_explain() -> None:
    report = check_function(net(), backward("updated"), samples=2)
    assert "it changed params['w'][1] and params['w'][2] in place" in report.text()


def test_a_right_gradient_that_changes_its_inputs_is_not_right() -> None:
    def scales(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        x *= 2
        return grads

    report = check_function(net(), scales, samples=2)
    assert not report and all(a.verdict == "right" for a in report.arrays)
    assert "it changed x in place" in report.problems[0]


def test_calls_that_differ_are_noticed() -> None:
    rng = np.random.default_rng(0)

    def noisy(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        return {"w": [w + 1e-3 * rng.normal(size=w.shape) for w in grads["w"]], "b": grads["b"]}

    assert (
        "two calls with the same arrays give different grads['w'][0]" in check_function(net(), noisy, samples=2).text()
    )


def test_shared_memory_is_a_note() -> None:
    kept: dict[Any, Any] = {}

    def buffered(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        out = kept.setdefault(x.shape, grads)
        for f in "wb":
            for to, a in zip(out[f], grads[f], strict=True):
                to[...] = a
        return out

    report = check_function(net(), buffered, samples=4)
    assert report and any("the same buffer at each call" in n for n in report.notes)

    linear = dense([3, 2], activation="identity", bias=True)
    aliased = check_function(linear, lambda p, x, y: {"w": p["w"], "b": p["b"]}, samples=2)
    assert any("shares its memory with the input params['w'][0]" in n for n in aliased.notes)


def test_numbers_that_are_not_finite_are_named_with_their_place() -> None:
    def hole(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        grads["w"][1][0, 2] = np.nan
        return grads

    report = check_function(net(), hole, samples=2)
    assert "1 of 16 entries are not finite, the first is nan at [0, 2]" in report.arrays[1].message


def test_one_sample_at_a_time_is_found_out() -> None:
    def single(params: Any, x: Any, y: Any) -> Any:
        (w_1, w_2, w_3), (b_1, b_2, b_3) = params["w"], params["b"]
        a_1 = sigma(w_1.dot(x) + b_1)
        a_2 = sigma(w_2.dot(a_1) + b_2)
        a_3 = sigma(w_3.dot(a_2) + b_3)
        d_3 = 2 * (a_3 - y) * a_3 * (1 - a_3)
        d_2 = w_3.T.dot(d_3) * a_2 * (1 - a_2)
        d_1 = w_2.T.dot(d_2) * a_1 * (1 - a_1)
        return {"w": [np.outer(d_1, x), np.outer(d_2, a_1), np.outer(d_3, a_2)], "b": [d_1, d_2, d_3]}

    report = check_function(net(), single, samples=4)
    assert report, report.text()
    assert "it was given one sample at a time" in report.notes[0]


def test_a_generic_activation_is_handed_to_code_that_takes_it() -> None:
    def generic(params: Any, x: Any, y: Any, *, g: Any, g_prime: Any, slip: bool = False) -> Any:
        z, a = [], [x]
        for w, f in zip(params["w"], g, strict=True):
            z.append(a[-1] @ w.T)
            a.append(f(z[-1]))
        delta, dw = 2 * (a[-1] - y), []
        for l in range(len(z), 0, -1):
            delta = delta * g_prime[l - 1 if not slip or l == 1 else l - 2](z[l - 1])
            dw.append(delta.T @ a[l - 1] / len(x))
            delta = delta @ params["w"][l - 1]
        return {"w": dw[::-1]}

    assert check_function(dense(), generic, samples=4)
    report = check_function(dense(), lambda p, x, y, *, g, g_prime: generic(p, x, y, g=g, g_prime=g_prime, slip=True))
    assert not report
    with pytest.raises(FunctionError, match=r"the cost C of this network is generic"):
        check_function(load("nielsen-general"), backward())
    with pytest.raises(FunctionError, match=r"g is generic .* take g and g_prime by keyword"):
        check_function(dense(), backward())


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(FunctionError, match="backward is a dict, expected a function of arrays"):
        check_function(net(), {})  # type: ignore[arg-type]
    with pytest.raises(FunctionError, match="samples is 0"):
        check_function(net(), backward(), samples=0)
    with pytest.raises(FunctionError, match="rtol is 2"):
        check_function(net(), backward(), rtol=2)
    with pytest.raises(FunctionError, match="dtype is 'int8'"):
        check_function(net(), backward(), dtype="int8")
    with pytest.raises(UnknownNameError, match="array='cupy'"):
        check_function(net(), backward(), array="cupy")
    with pytest.raises(UnknownFamilyError, match="did you mean 'd'"):
        check_function(load("attention"), attention(), sizes={"dd": 3})


def test_own_sizes_that_fail_are_explained_on_equal_widths() -> None:
    report = check_function(dense([3, 5, 4, 2], activation="sigmoid", bias=True), backward("transposed"), samples=4)
    text = report.text()
    assert "raised ValueError" in text and "with w^(3) not transposed" in text and "equal widths" in text


def test_what_the_sizes_hide_is_said() -> None:
    small = check_function(dense([1, 1, 1], activation="sigmoid", bias=True), backward(), samples=2)
    assert small and any("nor w from its transpose" in n for n in small.notes)
    square = check_function(dense([3, 3, 3, 3], activation="sigmoid", bias=True), backward(), samples=2)
    assert any("cannot tell the shape of w" in n for n in square.notes)


def test_a_small_error_is_wrong_in_float64_and_rtol_says_otherwise() -> None:
    def rounded(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        return {f: [a * (1 + 1e-7) for a in v] for f, v in grads.items()}

    report = check_function(net(), rounded, samples=2)
    assert not report and "single precision only" in report.text()
    assert check_function(net(), rounded, samples=2, rtol=1e-6)


def test_a_result_in_float32_is_judged_as_float32() -> None:
    def single(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        return {f: [a.astype(np.float32) for a in v] for f, v in grads.items()}

    assert check_function(net(), single, samples=2)


def test_the_report_in_other_forms() -> None:
    report = check_function(net(), backward("no slope 0"), samples=2)
    whole = json.loads(report.json())
    assert whole["verdict"] == "wrong" and whole["causes"] == ["missing_activation_derivative"]
    assert whole["arrays"][0]["name"] == "grads['w'][0]"
    assert "| `grads['w'][2]` | w^(3) | wrong |" in report.markdown()
    assert str(report) == report.text() and not bool(report)


def test_the_same_seed_gives_the_same_report() -> None:
    one, two, three = (check_function(net(), backward("half"), samples=3, seed=s).text() for s in (1, 1, 2))
    assert one == two != three


# ---------------------------------------------------------------- PyTorch, the helper, safety


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_pytorch_pass_is_right_and_its_slip_is_named(dtype: str) -> None:
    torch = pytest.importorskip("torch")

    def autograd(params: Any, x: Any, y: Any, slip: bool = False) -> Any:
        w, b = ([a.requires_grad_() for a in params[f]] for f in "wb")
        a = x
        for w_l, b_l in zip(w, b, strict=True):
            a = torch.sigmoid(a @ w_l.T + b_l)
        cost = ((a - y) ** 2).sum() if slip else ((a - y) ** 2).sum(1).mean()
        cost.backward()
        return {"w": [t.grad for t in w], "b": [t.grad for t in b]}

    report = check_function(net(), autograd, samples=4, array="torch", dtype=dtype)
    assert report and report.arrays[0].dtype == dtype, report.text()
    wrong = check_function(net(), lambda p, x, y: autograd(p, x, y, True), samples=4, array="torch", dtype=dtype)
    assert "summed over the batch, not averaged" in wrong.text()


def test_the_helper_raises_with_the_report() -> None:
    assert assert_backward(net(), backward(), samples=2).verdict == "right"
    with pytest.raises(AssertionError, match=r"grads\['w'\]\[1\] is what you get without g'\(z\^\(2\)\)"):
        assert_backward(net(), backward("no slope -1"), samples=2)


def test_the_method_of_a_network_is_the_same_check() -> None:
    assert net().check_function(backward(), samples=2).verdict == "right"
    assert net().check_function(backward("sum"), wrt="w", samples=2).arrays[0].symbol == "w^(1)"


def imported(tree: ast.Module) -> set[str]:
    found = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    return found | {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}


def test_no_command_reaches_the_code_that_runs_code() -> None:
    reaching = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] == "codecheck" or not any(
            word in text for word in ("codecheck", "check_function", "testing")
        ):
            continue
        tree = ast.parse(text)
        calls = {getattr(n.func, "attr", getattr(n.func, "id", "")) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        if "check_function" in calls or any("codecheck" in n or n == "symbackprop.testing" for n in imported(tree)):
            reaching.add(str(inside))
    assert reaching == {"api.py", "testing.py"}


def test_a_check_on_the_command_line_does_not_import_it(tmp_path: Path) -> None:
    (tmp_path / "hand-in.tex").write_text(r"$\frac{\partial C_0}{\partial z_j^{(L)}} = 1$", encoding="utf-8")
    program = (
        "import sys\nfrom symbackprop.cli import main\n"
        "try: main(['check', 'hand-in.tex'])\nexcept SystemExit: pass\n"
        "sys.exit(any('codecheck' in m for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_evaluator_refuses_a_planted_error_of_the_derivation() -> None:
    """The complex step that vouches for our own gradient says no to a wrong one."""
    plan = planned(net(), None, {}, {}, ())
    case, expected = plan.case(0, 0)
    assert step_differs(plan, case, expected) == ""
    wrong = {leaf: a * (1 + 1e-6) if leaf.family == "b" else a for leaf, a in expected.items()}
    assert step_differs(plan, case, wrong) == "b"


def test_what_no_single_slip_explains_is_not_named() -> None:
    def odd(params: Any, x: Any, y: Any) -> Any:
        grads = backward()(params, x, y)
        return {"w": [w + 0.01 * np.cos(np.arange(w.size)).reshape(w.shape) for w in grads["w"]], "b": grads["b"]}

    report = check_function(net(), odd, samples=2)
    assert not report and not report.slips
    assert "no single slip that was tried reproduces it" in report.text()


def test_a_kernel_that_runs_backwards_is_named() -> None:
    derived = load("conv2d").gradient(sizes={"s": 1, "p": 1})

    def flipped(x: Any, w: Any, beta: Any, upstream: Any) -> Any:
        grads = derived(x=x, w=w, beta=beta, upstream=upstream)
        return {"w": grads["w"][:, :, ::-1, ::-1], "beta": grads["beta"] / len(x)}

    report = check_function(load("conv2d"), flipped, sizes={"s": 1, "p": 1}, samples=4)
    assert "grads['w'] has its entries in the wrong place: it runs backwards along the axes 2, 3" in report.text()
    assert "grads['beta'] is what you get divided by n_b" in report.text()


def test_a_scalar_can_be_fixed_for_code_that_has_it_as_a_constant() -> None:
    def constant(x: Any, gamma: Any, beta: Any, upstream: Any) -> Any:
        return layer_normalisation()(x, gamma, beta, 1e-3, upstream)

    model, wrt = load("layer-normalisation"), ["x", "gamma"]
    assert check_function(model, constant, wrt=wrt, samples=2, values={"epsilon": 1e-3})
    assert not check_function(model, constant, wrt=wrt, samples=2, values={"epsilon": 1e-5})


def test_any_kind_of_array_is_read() -> None:
    class Wrapped:
        def __init__(self, a: Any) -> None:
            self.a = a

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array(self.a)

    def wrapped(params: Any, x: Any, y: Any) -> Any:
        plain = {f: [a.a for a in v] for f, v in params.items()}
        return {f: [Wrapped(a) for a in v] for f, v in backward()(plain, x.a, y.a).items()}

    assert check_function(net(), wrapped, samples=3, array=Wrapped)


def test_deep_networks_are_diagnosed_too() -> None:
    report = check_function(dense([3] * 18, activation="tanh", bias=True), backward("no slope 0", "tanh"), samples=2)
    assert report.slips[0].array == "grads['w'][16]" and "without g'(z^(17))" in report.text()


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(PACKAGE.parent / "examples" / "check_my_backward.py"), run_name="__main__")
    assert "without g'(z^(1)) (the derivative of tanh)" in capsys.readouterr().out
