"""Models written in Python: equal to the model files of the same models, derived like them, refused in their own words."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from sympy import Abs, Derivative, Eq, Lambda, Max, Ne, Piecewise, Product, Sum, Symbol, exp, log, sqrt, tanh
from sympy import KroneckerDelta as Delta

from symbackprop.api import Network, dense, load
from symbackprop.equations import Maximum, families, functions, indices, read_equations, sizes, widths
from symbackprop.errors import ModelError
from symbackprop.normal import normal
from symbackprop.read.model import Model, read_model
from symbackprop.symbols import Div, Param, Pow, expr

b, c, d, i, j, k, l, m, o, p, t, u, v = indices("b c d i j k l m o p t u v")
D, H, I, J, K, L, M, N, T, V = sizes("D H I J K L M N T V")


def attention() -> Model:
    Q, K, V, S, P, O = families("Q K V S P O")
    width, N = sizes("d n_j")  # the file bounds no sum over j: its reader calls that size n_j
    return read_equations([
        Eq(S[i, j], Sum(Q[i, c] * K[j, c], (c, 1, width)) / sqrt(width)),
        Eq(P[i, j], exp(S[i, j]) / Sum(exp(S[i, p]), (p, 1, N))),
        Eq(O[i, v], Sum(P[i, j] * V[j, v], (j, 1, N))),
    ])  # fmt: skip


def causal_attention() -> Model:
    Q, K, V, S, P, O = families("Q K V S P O")
    width = sizes("d")
    return read_equations(
        [
            (Eq(S[i, j], Sum(Q[i, c] * K[j, c], (c, 1, width)) / sqrt(width)), j <= i),
            (Eq(P[i, j], exp(S[i, j]) / Sum(exp(S[i, p]), (p, 1, i))), j <= i),
            Eq(O[i, v], Sum(P[i, j] * V[j, v], (j, 1, i))),
        ],
        ranges={i: (1, N), j: (1, N)},
    )


def rnn() -> Model:
    C, o, y, V, h, bias, a, U, x, W, shift = families("C o y V h d a U x W b")
    return read_equations(
        [
            Eq(C, Sum((o[t, i] - y[t, i]) ** 2, (i, 1, I), (t, 1, T)) / 2),
            Eq(o[t, i], Sum(V[i, j] * h[t, j], (j, 1, J)) + bias[i]),
            Eq(h[t, j], tanh(a[t, j])),
            Eq(a[t, j], Sum(U[j, k] * x[t, k], (k, 1, K)) + Sum(W[j, m] * h[t - 1, m], (m, 1, J)) + shift[j]),
        ],
        ranges={t: (1, T)},
    )


def layer_normalisation() -> Model:
    mu, sigma, hat, x, y, gamma, beta, epsilon = families("mu sigma x_hat x y gamma beta epsilon")
    return read_equations(
        [
            Eq(mu[b, i], Sum(x[b, i, j], (j, 1, D)) / D),
            Eq(sigma[b, i], sqrt(Sum((x[b, i, j] - mu[b, i]) ** 2, (j, 1, D)) / D + epsilon)),
            Eq(hat[b, i, j], (x[b, i, j] - mu[b, i]) / sigma[b, i]),
            Eq(y[b, i, j], gamma[j] * hat[b, i, j] + beta[j]),
        ],
        data=epsilon,
    )


def conv1d() -> Model:
    x, w, y, beta = families("x w y beta")
    s, q, size, channels = sizes("s p I C")
    return read_equations(
        [Eq(y[b, o, i], Sum(w[o, c, k] * x[b, c, s * i + k - q], (k, 0, K - 1), (c, 0, channels - 1)) + beta[o])],
        ranges={i: (0, size - 1), u: (0, M - 1)},
        shapes={x: (b, c, u)},
        sizes={size: (M + 2 * q - K) / s + 1},
        integers=(s, q),
        zero=x,
    )


def max_pooling() -> Model:
    x, y = families("x y")
    s, r, high, wide = sizes("s r I J")
    return read_equations(
        [Eq(y[b, c, i, j], Maximum(x[b, c, s * i + k, s * j + m], (m, 0, r - 1), (k, 0, r - 1)))],
        ranges={i: (0, high - 1), j: (0, wide - 1), u: (0, M - 1), v: (0, N - 1)},
        shapes={x: (b, c, u, v)},
        sizes={high: (M - r) / s + 1, wide: (N - r) / s + 1},
        integers=s,
    )


def logistic_regression() -> Model:
    C, y, prob, z, w, x, bias = families("C y p z w x b")
    return read_equations([
        Eq(C, -Sum(y[i] * log(prob[i]) + (1 - y[i]) * log(1 - prob[i]), (i, 1, N)) / N),
        Eq(prob[i], 1 / (1 + exp(-z[i]))),
        Eq(z[i], Sum(w[j] * x[i, j], (j, 1, D)) + bias),
    ])  # fmt: skip


def matrix_factorisation() -> Model:
    C, mask, r, hat, lam, left, right = families("C m r r_hat lambda u v")
    penalty = Sum(left[i, k] ** 2, (k, 1, K), (i, 1, I)) + Sum(right[j, k] ** 2, (k, 1, K), (j, 1, J))
    return read_equations(
        [
            Eq(C, Sum(mask[i, j] * (r[i, j] - hat[i, j]) ** 2, (j, 1, J), (i, 1, I)) + lam * penalty),
            Eq(hat[i, j], Sum(left[i, k] * right[j, k], (k, 1, K))),
        ],
        data=(r, mask, lam),
    )


def embedding() -> Model:
    y, E, x = families("y E x")
    return read_equations([Eq(y[t, c], E[x[t], c])], ranges={v: (1, V)}, places={x: v})


def multinomial_labels() -> Model:
    C, prob, y, z, w, x, bias = families("C p y z w x b")
    return read_equations(
        [
            Eq(C, -Sum(log(prob[i, y[i]]), (i, 1, N)) / N),
            Eq(prob[i, k], exp(z[i, k]) / Sum(exp(z[i, m]), (m, 1, K))),
            Eq(z[i, k], Sum(w[k, j] * x[i, j], (j, 1, D)) + bias[k]),
        ],
        places={y: k},
    )


def deeplizard() -> Model:
    C, a, y, z, w = families("C_0 a y z w")
    g, n = functions("g"), sizes("n")
    return read_equations(
        [
            Eq(C, Sum((a[L, j] - y[j]) ** 2, (j, 0, n - 1))),
            Eq(z[l, j], Sum(w[l, j, k] * a[l - 1, k], (k, 0, n - 1))),
            Eq(a[l, j], g[l](z[l, j])),
        ],
        ranges={l: (1, L)},
        width=n,
    )


def mlp() -> Model:
    C, a, y, z, w, bias, x = families("C a y z w b x")
    g, n = functions("g"), widths("n")
    return read_equations(
        [
            Eq(C, Sum((a[L, i, j] - y[i, j]) ** 2, (j, 1, n[L]), (i, 1, N)) / N),
            Eq(z[l, i, j], Sum(w[l, j, k] * a[l - 1, i, k], (k, 1, n[l - 1])) + bias[l, j]),
            Eq(a[l, i, j], g[l](z[l, i, j])),
            Eq(a[0, i, j], x[i, j]),
        ],
        ranges={l: (1, L)},
    )


def nielsen_general() -> Model:
    C, a, z, w, bias = families("C a z w b")
    cost, sigma, n = functions("C"), functions("phi"), widths("n")
    return read_equations(
        [
            Eq(C, cost(Lambda(j, a[L, j]))),
            Eq(z[l, j], Sum(w[l, j, k] * a[l - 1, k], (k, 1, n[l - 1])) + bias[l, j]),
            Eq(a[l, j], sigma(z[l, j])),
        ],
        ranges={l: (1, L)},
    )


def softmax() -> Model:
    C, a, y, z, w, bias = families("C_0 a y z w b")
    sigmoid, n = functions("sigmoid"), sizes("n")
    return read_equations(
        [
            Eq(C, -Sum(y[j] * log(a[L, j]), (j, 0, n - 1))),
            Eq(z[l, j], Sum(w[l, j, k] * a[l - 1, k], (k, 0, n - 1)) + bias[l, j]),
            (Eq(a[l, j], sigmoid(z[l, j])), (l >= 1) & (l < L)),
            Eq(a[L, j], exp(z[L, j]) / Sum(exp(z[L, p]), (p, 0, n - 1))),
        ],
        ranges={l: (1, L)},
        width=n,
        facts=[Eq(Sum(y[j], (j, 0, n - 1)), 1)],
    )


def residual_block() -> Model:
    z, W1, x, b1, h, out, W2, b2, y = families("z W_1 x b_1 h u W_2 b_2 y")
    return read_equations(
        [
            Eq(z[i, j], Sum(W1[j, k] * x[i, k], (k, 1, K)) + b1[j]),
            Eq(h[i, j], Max(0, z[i, j])),
            Eq(out[i, k], x[i, k] + Sum(W2[k, j] * h[i, j], (j, 1, J)) + b2[k]),
            Eq(y[i, k], Max(0, out[i, k])),
        ],
        ranges={i: (1, N)},
    )


def multinomial_regression() -> Model:
    C, y, prob, z, w, x, bias = families("C y p z w x b")
    return read_equations(
        [
            Eq(C, -Sum(y[i, k] * log(prob[i, k]), (k, 1, K), (i, 1, N)) / N),
            Eq(prob[i, k], exp(z[i, k]) / Sum(exp(z[i, m]), (m, 1, K))),
            Eq(z[i, k], Sum(w[k, j] * x[i, j], (j, 1, D)) + bias[k]),
        ],
        facts=[Eq(Sum(y[i, k], (k, 1, K)), 1)],
    )


def lasso() -> Model:
    C, y, hat, lam, w, x, bias = families("C y y_hat lambda w x b")
    return read_equations(
        [
            Eq(C, Sum((hat[i] - y[i]) ** 2, (i, 1, N)) / (2 * N) + lam * Sum(Abs(w[j]), (j, 1, D))),
            Eq(hat[i], Sum(w[j] * x[i, j], (j, 1, D)) + bias),
        ],
        data=lam,
    )


MODELS: tuple[Callable[[], Model], ...] = (
    attention, causal_attention, rnn, layer_normalisation, conv1d, max_pooling, logistic_regression,
    matrix_factorisation, embedding, multinomial_labels, deeplizard, mlp, nielsen_general, softmax, residual_block,
    multinomial_regression, lasso,
)  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda f: f.__name__)
def test_a_model_in_python_is_the_model_of_its_file(model: Callable[[], Model]) -> None:
    made, read = model().system, load(model.__name__.replace("_", "-")).stated
    assert made == read and hash(made) == hash(read) and made.digest == read.digest


# ---------------------------------------------------------------- the same network, written in another way


def two_layers(order: int = 1, **names: Any) -> Any:
    """A small network with some of its letters and the order of its equations as asked for."""
    n, q = names.get("n", j), names.get("q", k)
    C, a, w, x, y = families("C a w x y")
    stated = [Eq(C, Sum((a[n] - y[n]) ** 2, (n, 1, J)) / 2), Eq(a[n], tanh(Sum(w[n, q] * x[q], (q, 1, K))))]
    return read_equations(stated[::order]).system


def test_letters_and_the_order_of_equations_make_no_other_network() -> None:
    assert two_layers() == two_layers(-1) == two_layers(n=m, q=v)


def test_plain_symbols_are_letters_by_where_they_stand() -> None:
    C, a, w, x, y = families("C a w x y")
    n, q, last, first = (Symbol(s) for s in "jkJK")
    made = read_equations([
        Eq(C, Sum((a[n] - y[n]) ** 2, (n, 1, last)) / 2),
        Eq(a[n], tanh(Sum(w[n, q] * x[q], (q, 1, first)))),
    ])  # fmt: skip
    assert made.system == two_layers()


@pytest.mark.parametrize(
    "formula",
    [
        r"\frac{1}{2} \sum_{i=1}^{N} \left(y_i - \hat{y}_i\right)^2",
        r"\sum_{i=1}^{N} \left(y_i - \hat{y}_i\right)^2 / 2",
        r"\sum_{p=1}^{N} \frac{(\hat{y}_p - y_p) (\hat{y}_p - y_p)}{2}",
        r"2 \sum_{i=1}^{N} \left(\frac{\hat{y}_i}{2} - \frac{y_i}{2}\right)^2",
    ],
)
def test_one_cost_in_four_ways(formula: str) -> None:
    rest = r"\\ \hat{y}_i &= w x_i"
    wanted = read_model(rf"C &= \frac12 \sum_{{i=1}}^{{N}} \left(\hat{{y}}_i - y_i\right)^2 {rest}").system
    assert read_model(f"C &= {formula} {rest}").system == wanted


@pytest.mark.parametrize(
    "formula",
    [
        r"\frac{1}{2} \sum_{i=1}^{N} \left(y_i + \hat{y}_i\right)^2",
        r"\frac{1}{2} \sum_{i=1}^{M} \left(y_i - \hat{y}_i\right)^2",
        r"\left(\frac{1}{2} \sum_{i=1}^{N} \left(y_i - \hat{y}_i\right)\right)^2",
        r"\frac{1}{2} \sum_{i=1}^{N} \left|y_i - \hat{y}_i\right|^3",
    ],
)
def test_another_cost_is_another_network(formula: str) -> None:
    rest = r"\\ \hat{y}_i &= w x_i"
    wanted = read_model(rf"C &= \frac12 \sum_{{i=1}}^{{N}} \left(\hat{{y}}_i - y_i\right)^2 {rest}").system
    assert read_model(f"C &= {formula} {rest}").system != wanted


def test_a_transposed_weight_is_another_network() -> None:
    C, a, w, x, y = families("C a w x y")
    cost = Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, K)))
    square = Eq(a[j], Sum(w[j, k] * x[k], (k, 1, K)))
    transposed = Eq(a[j], Sum(w[k, j] * x[k], (k, 1, K)))
    assert read_equations([cost, square]).system != read_equations([cost, transposed]).system


A, B, Z = Param("a"), Param("b"), Param("z")
TWO, HALF = expr(2), expr(Fraction(1, 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (2 * (A - B), 2 * A - 2 * B),
        (Div(A, B), A * Pow(B, expr(-1))),
        (Div(A, Pow(B, HALF)), A * Pow(B, expr(Fraction(-1, 2)))),
        (A * A, Pow(A, TWO)),
        (Pow(A * B, TWO), Pow(B, TWO) * Pow(A, TWO)),
        (Pow(A - B, TWO), Pow(B - A, TWO)),
        (Pow(Pow(A, TWO), HALF), Pow(Pow(-A, TWO), HALF)),
        (Pow(4 * A, HALF), 2 * Pow(A, HALF)),
        (Div(expr(1), Pow(TWO, HALF)), Div(Pow(TWO, HALF), TWO)),
        (A - A + B, B),
    ],
)
def test_what_sympy_does_on_contact_is_no_change(one: Any, other: Any) -> None:
    assert normal(one) == normal(other)
    assert normal(normal(one)) == normal(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A - B, B - A),
        (Pow(A - B, expr(3)), Pow(B - A, expr(3))),
        (Pow(Pow(A, TWO), HALF), A),
        (Pow(A, Z), Pow(Z, A)),
        (2 * A + B, A + 2 * B),
    ],
)
def test_what_is_not_equal_stays_apart(one: Any, other: Any) -> None:
    assert normal(one) != normal(other)


def test_each_network_is_derived_as_its_author_wrote_it() -> None:
    """Equal networks share no cached formula."""
    file = Network.from_latex(r"C = \frac{1}{2} \sum_{r=1}^{J} (a_r - y_r)^2 \\ a_r = \tanh(\sum_{s=1}^{K} w_{rs} x_s)")
    made = Network(two_layers(), file.notation)
    assert file.stated == made.stated
    assert "ᵣₛ" in file.derive("w_rs").text() and "ᵣ" not in made.derive("w_jk").text()
    assert "ᵣₛ" in file.derive("w_rs").text()


# ---------------------------------------------------------------- what a network is made of


@pytest.mark.parametrize("model", [attention, rnn, logistic_regression, max_pooling, mlp], ids=lambda f: f.__name__)
def test_a_derivation_is_proved(model: Callable[[], Model]) -> None:
    made = model()
    assert Network(made.system, made.notation).derive().check().verdict == "proved"


def test_layers_stand_above_and_times_below() -> None:
    made, timed = mlp(), rnn()
    text = Network(made.system, made.notation).model_text()
    assert r"z_{ij}^{(l)} &= \sum_{k=1}^{n_{l-1}} w_{jk}^{(l)} a_{ik}^{(l-1)} + b_j^{(l)}" in text
    assert r"\sum_{m=1}^{J} W_{jm} h_{t-1,m}" in Network(timed.system, timed.notation).model_text()


@pytest.mark.parametrize("model", MODELS[1:], ids=lambda f: f.__name__)
def test_the_model_text_reads_back(model: Callable[[], Model]) -> None:
    made = model()
    assert Network.from_latex(Network(made.system, made.notation).model_text()).stated == made.system


def test_the_lessons_network_is_dense() -> None:
    assert deeplizard().system == dense().stated


def test_numbers_for_sizes() -> None:
    C, a, w, x, y = families("C a w x y")
    stated = [Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, J))), Eq(a[j], Sum(w[j, k] * x[k], (k, 1, K)))]
    assert read_equations(stated, sizes={J: 2, K: 3}).system.sizes == {"J": 2, "K": 3}
    numbers = [Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, 2))), Eq(a[j], Sum(w[j, k] * x[k], (k, 1, 3)))]
    assert sorted(read_equations(numbers).system.sizes.values()) == [2, 3]


@pytest.mark.parametrize(
    ("right", "latex"),
    [
        (lambda x: Sum(Delta(i, j) * x[i, j], (j, 1, N)), r"\sum_{j=1}^{N} \mathbb{1}[i = j] x_{ij}"),
        (lambda x: Sum(Piecewise((x[i, j], j < i), (0, True)), (j, 1, N)),
         r"\sum_{j=1}^{N} \begin{cases} x_{ij} & j < i \\ 0 & \text{otherwise} \end{cases}"),
        (lambda x: Sum(Piecewise((x[i, j], Ne(i, j)), (0, True)), (j, 1, N)), r"\sum_{j \ne i} x_{ij}"),
        (lambda x: Product(1 + x[i, j], (j, 1, N)), r"\prod_{j=1}^{N} (1 + x_{ij})"),
        (lambda x: Sum(Piecewise((x[i, j], x[i, j] > 0), (x[i, j] / 10, True)), (j, 1, N)),
         r"\sum_{j=1}^{N} \begin{cases} x_{ij} & x_{ij} > 0 \\ \frac{x_{ij}}{10} & \text{otherwise} \end{cases}"),
        (lambda x: functions("gelu")(Sum(x[i, j], (j, 1, N))), r"\operatorname{GELU}(\sum_{j=1}^{N} x_{ij})"),
        (lambda x: functions("f")(Sum(x[i, j], (j, 1, N))), r"f(\sum_{j=1}^{N} x_{ij})"),
        (lambda x: -Maximum(-x[i, j], (j, 1, N)), r"\min_{1 \le j \le N} x_{ij}"),
        (lambda x: Sum(sqrt(x[i, j] ** 2), (j, 1, N)), r"\sum_{j=1}^{N} |x_{ij}|"),
    ],
)  # fmt: skip
def test_heads(right: Callable[[Any], Any], latex: str) -> None:
    x, s = families("x s")
    made = read_equations([Eq(s[i], right(x))], ranges={i: (1, N), j: (1, N)})
    read = read_model(f"%| i, j = 1..N\n s_i = {latex}")
    assert made.system == read.system


def test_a_label_beside_an_index() -> None:
    """The index is compared as a place on the axis of the labels."""
    C, y, z = families("C y z")
    hot = Sum(Delta(y[i], k) * z[i, k], (k, 1, K), (i, 1, N))
    made = read_equations([Eq(C, -hot / N)], places={y: k}, ranges={i: (1, N)})
    read = read_model(
        "%| index y: k\n%| i = 1..N\n" r"C = -\frac1N \sum_{i=1}^{N} \sum_{k=1}^{K} \mathbb{1}[y_i = k] z_{ik}"
    )
    assert made.system == read.system


# ---------------------------------------------------------------- what is refused

x, w, y, z, C, a = families("x w y z C a")
n = widths("n")


@pytest.mark.parametrize(
    ("equations", "options", "message"),
    [
        ([], {}, "no equation is given"),
        ("z = w", {}, "equations is str, expected a list of Eq"),
        (["z = w x"], {}, "equation 1: found str, expected Eq"),
        ([z[j] + x[j]], {}, "expected Eq(left side, right side)"),
        ([Eq(z[j], z[j])], {}, "equation 1 is True"),
        ([Eq(2 * z[j], x[j])], {}, "found 2*z[j] on the left, expected a quantity"),
        ([Eq(z[j], w[j, k] * x[k])], {}, "equation 1, z[j] = w[j, k]*x[k]: the index k is neither summed here"),
        ([Eq(z[j], k * x[j])], {}, "k is no size, and no index"),
        ([Eq(z[j, j], x[j])], {}, "the index j stands twice on the left"),
        ([Eq(z[j], x[j]), Eq(a[j], x[j, 1])], {}, "x[j, 1] has 2 indices, in equation 1 x has 1"),
        ([Eq(z[j], x[j ** 2])], {}, "j**2 is not understood as an index"),
        ([Eq(z[j], w[x[j]])], {}, "places={x: k}"),
        ([Eq(z[j], x[j]), Eq(z[k], x[k])], {}, "equation 2, z[k] = x[k]: z is defined twice, first in equation 1"),
        ([Eq(z[j], a[j]), Eq(a[j], z[j])], {}, "rests on itself: z -> a -> z"),
        ([Eq(z[j], Sum(w[j, k] * x[k], (k, 1, K))), Eq(a[j], Sum(w[j, k] * x[k], (k, 1, J)))], {},
         "one index on axes of unequal size: J here, K in equation 1"),
        ([Eq(a[t, j], a[t - 1, j] + x[j])], {}, "the range of t is not known; declare it, as in ranges={t: (1, T)}"),
        ([Eq(C, Sum(x[j], (j, 1, J))), Eq(a, Sum(x[j], (j, 1, J)))], {}, "say which is the cost, as in cost=C"),
        ([Eq(z[j], x[j])], {"data": w}, "data: w: w stands in no equation of this model"),
        ([Eq(z[j], x[j])], {"data": z}, "data: z: z has an equation"),
        ([Eq(z[j], x[j])], {"data": x, "target": x}, "target: x: x is declared twice"),
        ([Eq(z[j], x[j])], {"data": 3}, "found 3 (int), expected a family"),
        ([Eq(z[j], x[j])], {"ranges": {j: N}}, "ranges of j is N, expected its first and last number"),
        ([Eq(z[j], x[j])], {"ranges": {j: (1, N**2)}}, "ranges of j: 1..N**2: N**2 is not understood as a size"),
        ([Eq(z[j], Sum(x[k], (k, 1, K)))], {"sizes": {K: 0}}, "sizes: K = 0: found 0, expected a whole number above 0"),
        ([Eq(z[j], Sum(x[k], (k, 1, K)))], {"sizes": {K: K + J}}, "the size K is declared by itself"),
        ([Eq(z[j], Derivative(x[j], x[j]))], {}, "equation"),
        ([Eq(z[j], Derivative(functions("f")(x[j]), x[j], evaluate=False))], {}, "a derivative or an integral"),
        ([Eq(z[j], functions("softmax")(x[j]))], {}, "softmax takes a vector; write exp(z[j])/Sum"),
        ([Eq(z[j], functions("f")(x[j], w[j]))], {}, "f is applied to 2 things; expected one"),
        ([Eq(z[j], functions("f")[l, t](x[j]))], {}, "equation 1"),
        ([(Eq(z[j], x[j]), Ne(j, 1))], {}, "the condition Ne(j, 1) is not understood; expected such as j <= i"),
        ([Eq(z[j], x[j])], {"facts": [Eq(y[j], 1)]}, "expected a fact such as Eq(Sum"),
        ([Eq(K, Sum(x[k], (k, 1, K)))], {}, "K"),
        ([Eq(z[j], Sum(x[j] ** p, (p, 1, 3)) + sum(x[j] ** q for q in range(2, 1200)))], {}, "more than 2000 parts"),
    ],
)  # fmt: skip
def test_what_is_not_understood_says_so(equations: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as e:
        read_equations(equations, **options)
    assert message in str(e.value)
    assert "line " not in str(e.value) and "%|" not in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("names", ["", "1x", "w__a", r"\lambda"])
def test_a_name_is_letters_and_digits(names: str) -> None:
    with pytest.raises(ModelError, match="name"):
        families(names)


def test_names_come_one_by_one_or_together() -> None:
    assert str(indices("i")) == "i" and len(sizes("N, d K")) == 3
