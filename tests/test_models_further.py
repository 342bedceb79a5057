"""Models that are no built-in ones: what indices can do, against autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from symbackprop.api import Network
from symbackprop.compile import compile_gradient
from symbackprop.derive import adjoints
from symbackprop.errors import ModelError
from symbackprop.network import with_upstream
from symbackprop.read.model import read_model

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


@dataclass(frozen=True)
class Case:
    text: str
    arrays: Mapping[str, Any]
    run: Callable[..., Any]


CASES: dict[str, Case] = {}


def case(name: str, text: str, **arrays: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a model: its text, arrays for it, and the decorated function of them."""

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        CASES[name] = Case(text, arrays, run)
        return run

    return enter


@case(
    "dilated convolution",
    r"""
%| i = 0..I-1
%| u = 0..M-1
%| shape x: b u
%| size I = M - 2K + 2
y_{bi} &= \sum_{k=0}^{K-1} w_k x_{b, i + 2k}
""",
    w=normal(3),
    x=normal(2, 11),
)
def dilated(w, x):
    return sum(w[k] * x[:, 2 * k : 2 * k + 7] for k in range(3))


@case(
    "cumulative sum",
    r"""
%| i, j = 1..N
y_i &= \sum_{j=1}^{i} a_j^2
""",
    a=normal(6),
)
def cumulative(a):
    return anp.cumsum(a**2)


@case(
    "bag of words",
    r"""
%| v = 1..V
%| index x: v
%| shape E: v c
%| shape x: n t
y_{nc} &= \frac{1}{T} \sum_{t=1}^{T} E_{x_{nt} c}
""",
    E=normal(7, 3),
    x=RNG.integers(0, 7, (4, 5)),
)
def bag(E, x):
    return anp.mean(E[x], axis=1)


@case(
    "embedded tokens in a batch",
    r"""
%| v = 1..V
%| index x: v
%| shape E: v c
%| shape x: n t
y_{ntj} &= \tanh\left(\sum_{c=1}^{C} W_{jc} E_{x_{nt} c} + b_j\right)
""",
    E=normal(7, 3),
    x=RNG.integers(0, 7, (4, 5)),
    W=normal(2, 3),
    b=normal(2),
)
def embedded(E, x, W, b):
    return anp.tanh(E[x] @ W.T + b)


@case(
    "recurrent language model",
    r"""
%| t = 1..T
%| v = 1..V
%| index x: v
%| index y: v
%| shape E: v c
C &= -\frac{1}{T} \sum_{t=1}^{T} \log p_{t y_t} \\
p_{tv} &= \frac{e^{z_{tv}}}{\sum_{u=1}^{V} e^{z_{tu}}} \\
z_{tv} &= \sum_{j=1}^{J} O_{vj} h_{tj} \\
h_{tj} &= \tanh\left(\sum_{c=1}^{D} U_{jc} E_{x_t c} + \sum_{m=1}^{J} W_{jm} h_{t-1,m}\right)
""",
    E=normal(7, 3),
    x=RNG.integers(0, 7, 5),
    y=RNG.integers(0, 7, 5),
    U=normal(4, 3),
    W=normal(4, 4),
    O=normal(7, 4),
    h_0=normal(4),
)
def language_model(E, x, y, U, W, O, h_0):
    h, total = h_0, 0.0
    for token, label in zip(x, y, strict=True):
        h = anp.tanh(U @ E[token] + W @ h)
        z = O @ h
        total = total - (z[label] - anp.log(anp.sum(anp.exp(z)))) / len(x)
    return total


@case(
    "two recurrences in opposite directions",
    r"""
%| t = 1..T
y_{ti} &= \sum_{j=1}^{J} A_{ij} f_{tj} + \sum_{j=1}^{J} B_{ij} g_{tj} \\
f_{tj} &= \tanh\left(\sum_{m=1}^{J} U_{jm} f_{t-1,m} + x_{tj}\right) \\
g_{tj} &= \tanh\left(\sum_{m=1}^{J} V_{jm} g_{t+1,m} + x_{tj}\right) \\
f_{0j} &= 0 \\
g_{T+1,j} &= 0
""",
    A=normal(2, 3),
    B=normal(2, 3),
    U=normal(3, 3),
    V=normal(3, 3),
    x=normal(5, 3),
)
def both_ways(A, B, U, V, x):
    f, g = [anp.zeros(3)], [anp.zeros(3)]
    for x_t in x:
        f.append(anp.tanh(U @ f[-1] + x_t))
    for x_t in x[::-1]:
        g.append(anp.tanh(V @ g[-1] + x_t))
    return anp.stack(f[1:]) @ A.T + anp.stack(g[:0:-1]) @ B.T


@case(
    "outer products and a trace",
    r"""
y_{ij} &= \sum_k A_{ik} B_{kj} + \sum_k A_{kk} B_{ij}
""",
    A=normal(4, 4),
    B=normal(4, 4),
)
def trace(A, B):
    return A @ B + anp.trace(A) * B


@case(
    "quadratic form",
    r"""
C &= \sum_{i=1}^{N} \sum_{j=1}^{N} x_i A_{ij} x_j
""",
    A=normal(4, 4),
    x=normal(4),
)
def quadratic(A, x):
    return x @ A @ x


@case(
    "pairwise distances",
    r"""
C &= \sum_{i=1}^{N} \sum_{j=1}^{N} \exp\left(-\sum_{k=1}^{K} (x_{ik} - x_{jk})^2\right)
""",
    x=normal(4, 3),
)
def distances(x):
    return anp.sum(anp.exp(-anp.sum((x[:, None] - x[None]) ** 2, -1)))


@case(
    "reversed",
    r"""
%| i = 1..N
y_i &= x_{N+1-i}^2
""",
    x=normal(5),
)
def backwards(x):
    return x[::-1] ** 2


@case(
    "differences, 0 beyond the end",
    r"""
%| i = 1..N
%| zero x
y_i &= (x_{i+1} - x_i)^2
""",
    x=normal(5),
)
def differences(x):
    return (anp.concatenate([x[1:], anp.zeros(1)]) - x) ** 2


@case(
    "a recurrence of numbers",
    r"""
%| t = 1..T
C &= \sum_{t=1}^{T} (s_t - x_t)^2 \\
s_t &= a s_{t-1} + (1-a) x_t
""",
    a=np.array(0.3),
    x=normal(6),
    s_0=np.array(0.5),
)
def average(a, x, s_0):
    s, total = s_0, 0.0
    for x_t in x:
        s = a * s + (1 - a) * x_t
        total = total + (s - x_t) ** 2
    return total


@case(
    "a recurrence of second order",
    r"""
%| t = 1..T
C &= \sum_{t=1}^{T} q_t^2 \\
q_t &= a q_{t-1} + b q_{t-2} + x_t
""",
    a=np.array(0.3),
    b=np.array(-0.2),
    x=normal(6),
    q_0=np.array(0.5),
    q_m1=np.array(0.2),
)
def second_order(a, b, x, q_0, q_m1):
    before, q, total = q_m1, q_0, 0.0
    for x_t in x:
        before, q = q, a * q + b * before + x_t
        total = total + q**2
    return total


@case(
    "softmax of columns, shifted by hand",
    r"""
m_j &= \max_{1 \le i \le N} x_{ij} \\
y_{ij} &= \frac{e^{x_{ij} - m_j}}{\sum_{i'=1}^{N} e^{x_{i'j} - m_j}}
""",
    x=normal(5, 3),
)
def columns(x):
    return anp.exp(x) / anp.sum(anp.exp(x), axis=0)


@case(
    "causal attention with a table of relative positions",
    r"""
%| i, j = 1..N
s_{hij} &= \sum_{c} q_{hic} k_{hjc} + r_{h, i-j+N} \qquad (j \le i) \\
p_{hij} &= \frac{\exp(s_{hij})}{\sum_{j' \le i} \exp(s_{hij'})} \qquad (j \le i) \\
o_{hic} &= \sum_{j \le i} p_{hij} v_{hjc}
""",
    q=normal(2, 4, 3),
    k=normal(2, 4, 3),
    v=normal(2, 4, 3),
    r=normal(2, 7),
)
def relative_positions(q, k, v, r):
    out = []
    for i in range(4):
        s = anp.stack([anp.sum(q[:, i] * k[:, j], -1) + r[:, i - j + 3] for j in range(i + 1)], -1)
        p = anp.exp(s) / anp.sum(anp.exp(s), -1, keepdims=True)
        out.append(sum(p[:, j, None] * v[:, j] for j in range(i + 1)))
    return anp.stack(out, 1)


@case(
    "a decoder that looks at all of an encoder",
    r"""
%| t = 1..T
%| s = 1..S
y_{tj} &= d_{tj} \\
d_{tj} &= \tanh\left(\sum_{m=1}^{J} W_{jm} d_{t-1,m} + \sum_{s=1}^{S} p_{ts} e_{sj}\right) \\
p_{ts} &= \frac{\exp(q_{ts})}{\sum_{s'=1}^{S} \exp(q_{ts'})} \\
q_{ts} &= \sum_{m=1}^{J} d_{t-1,m} e_{sm} \\
e_{sj} &= \tanh\left(\sum_{m=1}^{J} U_{jm} e_{s-1,m} + x_{sj}\right)
""",
    W=normal(3, 3),
    U=normal(3, 3),
    x=normal(4, 3),
    d_0=normal(3),
    e_0=normal(3),
)
def decoder(W, U, x, d_0, e_0, steps=5):
    e, d, out = [e_0], d_0, []
    for x_s in x:
        e.append(anp.tanh(U @ e[-1] + x_s))
    e = anp.stack(e[1:])
    for _ in range(steps):
        q = e @ d
        p = anp.exp(q) / anp.sum(anp.exp(q))
        d = anp.tanh(W @ d + p @ e)
        out.append(d)
    return anp.stack(out)


@pytest.mark.parametrize("name", CASES)
def test_gradient_agrees_with_autograd(name):
    text, arrays, run = CASES[name].text, CASES[name].arrays, CASES[name].run
    system = with_upstream(read_model(text).system)
    wrt = [n for n, a in arrays.items() if a.dtype.kind == "f"]
    f = compile_gradient(system, adjoints(system), wrt=wrt)
    value = run(**arrays)
    up = {n: normal(*np.shape(value)) for n in system.upstream}
    got, grads = f.value_and_grad(arrays, upstream=up)
    np.testing.assert_allclose(got if not up else next(iter(got.values())), value, rtol=1e-10, atol=1e-12)
    weight = next(iter(up.values()), 1.0)
    for n in wrt:
        expected = autograd.grad(lambda a, n=n: anp.sum(weight * run(**{**arrays, n: a})))(arrays[n])
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(grads[n], expected, rtol=1e-10, atol=1e-11 * scale, err_msg=n)


def test_a_shared_value_exists_wherever_its_family_does() -> None:
    """tanh(z_t) is computed once, and also at t = 1, where another equation gives z."""
    net = Network.from_latex(
        "%| t = 1..T\n"
        r"z_1 = w \\ z_t = v z_{t-1} x_t \qquad (2 \le t \le T) \\ C = \sum_{t=1}^{T} (\tanh(z_t) y_t + \tanh(z_t)^2)"
    )
    rng = np.random.default_rng(0)
    arrays = {"w": 0.3, "v": 0.7, "x": rng.normal(size=3), "y": rng.normal(size=4)}

    def cost(w: float, v: float) -> float:
        z, total = w, 0.0
        for t in range(4):
            z = z if t == 0 else v * z * arrays["x"][t - 1]
            total += np.tanh(z) * arrays["y"][t] + np.tanh(z) ** 2
        return float(total)

    value, grads = net.gradient(wrt=["w", "v"]).value_and_grad(arrays)
    step = 1e-6
    assert value == pytest.approx(cost(0.3, 0.7), rel=1e-12)
    assert grads["w"] == pytest.approx((cost(0.3 + step, 0.7) - cost(0.3 - step, 0.7)) / (2 * step), rel=1e-6)
    assert grads["v"] == pytest.approx((cost(0.3, 0.7 + step) - cost(0.3, 0.7 - step)) / (2 * step), rel=1e-6)


def test_the_gradient_by_a_target() -> None:
    net = Network.from_latex(r"C = \sum_{i=1}^{N} (x_i w - y_i)^2")
    x, y = np.array([2.0, 3.0]), np.array([1.0, 1.0])
    assert net.gradient(wrt="y")(x=x, y=y, w=1.5)["y"] == pytest.approx(-2 * (1.5 * x - y))


def test_what_does_not_exist_is_refused_and_not_0() -> None:
    net = Network.from_latex(r"C = \sum_{i=1}^{N} x_i w_i + w_0")
    with pytest.raises(ModelError, match="does not exist"):
        net.gradient(wrt="w")


def test_a_maximum_over_everything() -> None:
    net = Network.from_latex(r"C = (m - 1)^2 \\ m = \max_{1 \le i \le N} w_i")
    assert net.gradient()(w=np.array([2.0, 3.0]))["w"] == pytest.approx([0.0, 4.0])
