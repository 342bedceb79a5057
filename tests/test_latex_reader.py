"""The surface reader of LaTeX: the forty lines of real backpropagation, every construct once, errors, any bytes at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symbackprop.errors import ReadError
from symbackprop.read.latex import parse_document, parse_expression, parse_line
from symbackprop.read.reader import MAX_DEPTH
from symbackprop.read.syntax import (
    Chain,
    Differential,
    Document,
    Fraction,
    Node,
    Number,
    Product,
    Row,
    Symbol,
    Unread,
    children,
    differentials,
    show,
)

FORTY: list[tuple[str, ...]] = [
    (
        r"\frac{\partial C_0}{\partial w_{jk}^{(L)}}",
        r"(/ (partial C_[0]) (partial w_[j k]^[(round L)]))",
    ),
    (
        r"\frac{\partial C_{0}}{\partial a_{j}^{(L)}} = 2\left(a_{j}^{(L)}-y_{j}\right)",
        r"(= (/ (partial C_[0]) (partial a_[j]^[(round L)])) (* 2 (round (+ a_[j]^[(round L)] -y_[j]))))",
    ),
    (
        r"C_{0}=\sum_{j=0}^{n-1}\left( a_{j}^{(L)}-y_{j}\right)^{2}",
        r"(= C_[0] (sum_[(= j 0)]^[(+ n -1)] (round (+ a_[j]^[(round L)] -y_[j]))^[2]))",
    ),
    (
        r"z_{j}^{(l)}=\sum_{k=0}^{n-1}w_{jk}^{(l)}a_{k}^{(l-1)}",
        r"(= z_[j]^[(round l)] (sum_[(= k 0)]^[(+ n -1)] (* w_[j k]^[(round l)] a_[k]^[(round (+ l -1))])))",
    ),
    (
        r"a_{j}^{(l)}=g^{(l)}\left( z_{j}^{(l)}\right)",
        r"(= a_[j]^[(round l)] (* g^[(round l)] (round z_[j]^[(round l)])))",
    ),
    (
        r"g^{\prime(L)}\left(z_j^{(L)}\right)",
        r"(* g'^[(round L)] (round z_[j]^[(round L)]))",
    ),
    (
        r"g'^{(L)}\left(z_j^{(L)}\right)",
        r"(* g'^[(round L)] (round z_[j]^[(round L)]))",
    ),
    (
        r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = \left(\frac{\partial C_0}{\partial a_{1}^{(L)}}\right)\left(\frac{\partial a_{1}^{(L)}}{\partial z_{1}^{(L)}}\right)\left(\frac{\partial z_{1}^{(L)}}{\partial w_{12}^{(L)}}\right)",
        r"(= (/ (partial C_[0]) (partial w_[12]^[(round L)])) (* (round (/ (partial C_[0]) (partial a_[1]^[(round L)]))) (round (/ (partial a_[1]^[(round L)]) (partial z_[1]^[(round L)]))) (round (/ (partial z_[1]^[(round L)]) (partial w_[12]^[(round L)])))))",
    ),
    (
        r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = 2\left(a_j^{(L)}-y_j\right)\left(g^{\prime(L)}\left(z_j^{(L)}\right)\right)\left(a_k^{(L-1)}\right)",
        r"(= (/ (partial C_[0]) (partial w_[j k]^[(round L)])) (* 2 (round (+ a_[j]^[(round L)] -y_[j])) (round (* g'^[(round L)] (round z_[j]^[(round L)]))) (round a_[k]^[(round (+ L -1))])))",
    ),
    (
        r"\frac{\partial C_{0}}{\partial a_{2}^{(L-1)}}=\sum_{j=0}^{n-1}\left(2\left(a_{j}^{(L)}-y_{j}\right)\right)\left(g^{\prime(L)}\left(z_{j}^{(L)}\right)\right)\left(w_{j2}^{(L)}\right)",
        r"(= (/ (partial C_[0]) (partial a_[2]^[(round (+ L -1))])) (sum_[(= j 0)]^[(+ n -1)] (* (round (* 2 (round (+ a_[j]^[(round L)] -y_[j])))) (round (* g'^[(round L)] (round z_[j]^[(round L)]))) (round w_[j 2]^[(round L)]))))",
    ),
    (
        r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j)",
        r"(= delta_[j]^[L] (* (/ (partial C) (partial a_[j]^[L])) sigma' (round z_[j]^[L])))",
    ),
    (
        r"\delta^l = ((w^{l+1})^T \delta^{l+1}) \odot \sigma'(z^l)",
        r"(= delta^[l] (* (round (* (round w^[(+ l 1)])^[T] delta^[(+ l 1)])) \odot (* sigma' (round z^[l]))))",
    ),
    (
        r"\frac{\partial C}{\partial b^l_j} = \delta^l_j",
        r"(= (/ (partial C) (partial b_[j]^[l])) delta_[j]^[l])",
    ),
    (
        r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j",
        r"(= (/ (partial C) (partial w_[j k]^[l])) (* a_[k]^[(+ l -1)] delta_[j]^[l]))",
    ),
    (
        r"\delta^{l}_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)",
        r"(= delta_[j]^[l] (sum_[k] (* w_[k j]^[(+ l 1)] delta_[k]^[(+ l 1)] sigma' (round z_[j]^[l]))))",
    ),
    (
        r"\delta^L = \nabla_a C \odot \sigma'(z^L)",
        r"(= delta^[L] (* (* (nabla_[a]) C) \odot (* sigma' (round z^[L]))))",
    ),
    (
        r"w^{(l)}_{jk}",
        r"w_[j k]^[(round l)]",
    ),
    (
        r"w_{j,k}^{l}",
        r"w_[j , k]^[l]",
    ),
    (
        r"w_{12}^{(L)}",
        r"w_[12]^[(round L)]",
    ),
    (
        r"\sigma'(z) = \sigma(z)(1-\sigma(z))",
        r"(= (* sigma' (round z)) (* sigma (round z) (round (+ 1 -(* sigma (round z))))))",
    ),
    (
        r"\frac{\partial E}{\partial w_{ij}} = \delta_j o_i",
        r"(= (/ (partial E) (partial w_[i j])) (* delta_[j] o_[i]))",
    ),
    (
        r"\frac{\partial L}{\partial \mathbf{W}^{(2)}} = \frac{\partial L}{\partial \mathbf{o}} \mathbf{h}^\top",
        r"(= (/ (partial L) (partial bold:W^[(round 2)])) (* (/ (partial L) (partial bold:o)) bold:h^[top]))",
    ),
    (
        r"\frac{\partial J}{\partial \mathbf{z}} = \frac{\partial J}{\partial \mathbf{h}} \odot \phi'\left(\mathbf{z}\right)",
        r"(= (/ (partial J) (partial bold:z)) (* (/ (partial J) (partial bold:h)) \odot (* phi' (round bold:z))))",
    ),
    (
        r"\mathbf{z}= \mathbf{W}^{(1)} \mathbf{x}",
        r"(= bold:z (* bold:W^[(round 1)] bold:x))",
    ),
    (
        r"\frac{dL}{dx} = \frac{dL}{dy} \cdot \frac{dy}{dx}",
        r"(= (/ (d L) (d x)) (* (/ (d L) (d y)) \cdot (/ (d y) (d x))))",
    ),
    (
        r"\frac{\partial C_0}{\partial w^{(L)}} = \frac{\partial z^{(L)}}{\partial w^{(L)}} \frac{\partial a^{(L)}}{\partial z^{(L)}} \frac{\partial C_0}{\partial a^{(L)}}",
        r"(= (/ (partial C_[0]) (partial w^[(round L)])) (* (/ (partial z^[(round L)]) (partial w^[(round L)])) (/ (partial a^[(round L)]) (partial z^[(round L)])) (/ (partial C_[0]) (partial a^[(round L)]))))",
    ),
    (
        r"\frac{\partial C}{\partial w_{jk}^{(L)}} = \frac{1}{n}\sum_{i=0}^{n-1}\frac{\partial C_i}{\partial w_{jk}^{(L)}}",
        r"(= (/ (partial C) (partial w_[j k]^[(round L)])) (* (/ 1 n) (sum_[(= i 0)]^[(+ n -1)] (/ (partial C_[i]) (partial w_[j k]^[(round L)])))))",
    ),
    (
        r"\begin{aligned} \frac{\partial C_0}{\partial w_{jk}^{(L)}} &= 2(a_j^{(L)}-y_j)\, g'(z_j^{(L)})\, a_k^{(L-1)} \\ &= \delta_j^{(L)} a_k^{(L-1)} \end{aligned}",
        r"(= (/ (partial C_[0]) (partial w_[j k]^[(round L)])) (* 2 (round (+ a_[j]^[(round L)] -y_[j])) g' (round z_[j]^[(round L)]) a_[k]^[(round (+ L -1))]))",
        r"(= _ (* delta_[j]^[(round L)] a_[k]^[(round (+ L -1))]))",
    ),
    (
        r"\begin{align*} \delta_j^{(L)} &= \frac{\partial C_0}{\partial z_j^{(L)}} \\ &= 2 (a_j^{(L)} - y_j) \times \sigma'\!\left(z_j^{(L)}\right) \end{align*}",
        r"(= delta_[j]^[(round L)] (/ (partial C_[0]) (partial z_[j]^[(round L)])))",
        r"(= _ (* 2 (round (+ a_[j]^[(round L)] -y_[j])) \times sigma' (round z_[j]^[(round L)])))",
    ),
    (
        r"\frac{\partial L_i}{\partial f_k} = p_k - \mathbb{1}(y_i = k)",
        r"(= (/ (partial L_[i]) (partial f_[k])) (+ p_[k] -(indicator (= y_[i] k))))",
    ),
    (
        r"p_k = \frac{e^{f_k}}{\sum_j e^{f_j}}",
        r"(= p_[k] (/ e^[f_[k]] (sum_[j] e^[f_[j]])))",
    ),
    (
        r"L = -\sum_i y_i \log \hat{y}_i",
        r"(= L (- (sum_[i] (* y_[i] (operator:log hat:y_[i])))))",
    ),
    (
        r"\frac{\partial L}{\partial z_i} = \hat{y}_i - y_i \quad \text{for each } i",
        r'(= (/ (partial L) (partial z_[i])) (+ hat:y_[i] -y_[i])) | "for each " i',
    ),
    (
        r"\frac{\partial \mathcal{L}}{\partial \boldsymbol{W}^{[l]}} = \frac{1}{m} dZ^{[l]} A^{[l-1]\top}",
        r"(= (/ (partial calligraphic:L) (partial bold:W^[(square l)])) (* (/ 1 m) (d Z^[(square l)]) A^[(square (+ l -1)) top]))",
    ),
    (
        r"a_j^{(l)} = \operatorname{ReLU}(z_j^{(l)}) = \max(0, z_j^{(l)})",
        r"(chain a_[j]^[(round l)] = (operator:ReLU (round z_[j]^[(round l)])) = (operator:max (round (list 0 , z_[j]^[(round l)]))))",
    ),
    (
        r"\nabla_{W^{(l)}} J(W,b;x,y) = \delta^{(l+1)} (a^{(l)})^T",
        r"(= (* (nabla_[W^[(round l)]]) J (round (list W , b ; x , y))) (* delta^[(round (+ l 1))] (round a^[(round l)])^[T]))",
    ),
    (
        r"\left.\frac{\partial C_0}{\partial a_j^{(L)}}\right|_{a=y} = 0",
        r"(= (at (/ (partial C_[0]) (partial a_[j]^[(round L)])) (= a y)) 0)",
    ),
    (
        r"E = \frac{1}{2}\lVert a^{(L)} - y \rVert^2",
        r"(= E (* (/ 1 2) (norm (+ a^[(round L)] -y))^[2]))",
    ),
    (
        r"\dfrac{\partial E_n}{\partial w_{ji}} = \delta_j z_i",
        r"(= (/ (partial E_[n]) (partial w_[j i])) (* delta_[j] z_[i]))",
    ),
    (
        r"\delta_j = h'(a_j)\sum_k w_{kj}\delta_k",
        r"(= delta_[j] (* h' (round a_[j]) (sum_[k] (* w_[k j] delta_[k]))))",
    ),
]
"""Lines as published, each with what its rows are read as; no other reader had more than four of them right."""


def shown(text: str) -> list[str]:
    return [show(row) for row in parse_document(text).rows]


def nodes(row: Row) -> Iterator[Node]:
    """Every node of a row, from above."""
    above = [n for n in (row.left, *(r.right for r in row.relations), *row.conditions) if n is not None]
    while above:
        node = above.pop()
        yield node
        above += children(node)


@pytest.mark.parametrize("line", FORTY, ids=[line[0][:50] for line in FORTY])
def test_forty_lines(line: tuple[str, ...]) -> None:
    text, *rows = line
    assert shown(text) == rows


# ---------------------------------------------------------------- one construct each

CONSTRUCTS = [
    # scripts in every order and shape
    (r"w^{(l)}_{jk}", "w_[j k]^[(round l)]"),
    (r"{w_{jk}}^{(l)}", "w_[j k]^[(round l)]"),
    (r"{\mathbf{W}^{(2)}}^\top", "bold:W^[(round 2)]^[top]"),
    (r"a^{(l)}_{j} {}^{\top}", "a_[j]^[(round l)]^[top]"),
    (r"{a}^{[l-1]\top}", "a^[(square (+ l -1)) top]"),
    (r"W_{x_t c}", "W_[x_[t] c]"),
    (r"x_{s i+p,\, s j+q}", "x_[(+ (* s i) p) , (+ (* s j) q)]"),
    (r"x^{<t-1>}", "x^[(angle (+ t -1))]"),
    (r"X_{:,j} + W^+ + x^*", "(+ X_[: , j] W^[+] x^[*])"),
    (r"g^{\prime\prime(l)} + g'^{(l)} + f^{(l)\prime} + y_{j'}", "(+ g''^[(round l)] g'^[(round l)] f'^[(round l)] y_[j'])"),
    (r"\mathbb{R}_{\ge 0}", "blackboard:R_[(>= _ 0)]"),
    (r"E_{\text{total}} + w_{h1}", "(+ E_[roman:total] w_[h 1])"),
    # fonts and accents
    (r"\hat{\mathbf{y}}_i + \overline{C} + \tilde x", "(+ hat:bold:y_[i] bar:C tilde:x)"),
    (r"\hat{y_i} + \overline{a+b}", "(+ hat:y_[i] (bar (+ a b)))"),
    (r"\mathbf{W_{hh} x} + {\bf w}_{\rm out}", "(+ (* bold:W_[h h] bold:x) bold:w_[roman:out])"),
    (r"\mathrm{out}_{o1}(1-\mathrm{out}_{o1})", "(* roman:out_[o 1] (round (+ 1 -roman:out_[o 1])))"),
    # sums, signs, products
    (r"-a + b - c", "(+ -a b -c)"),
    (r"-2x", "(- (* 2 x))"),
    (r"a \cdot -b", r"(* a \cdot (- b))"),
    (r"a / b c", "(* a / b c)"),
    (r"W \delta \odot g'(z) \otimes x", r"(* (* W delta) \odot (* g' (round z)) \otimes x)"),
    (r"{a+b}c + {a+b}", "(+ (* (brace (+ a b)) c) (brace (+ a b)))"),
    (r"\frac12 \frac1T x^\frac12", "(* (/ 1 2) (/ 1 T) x^[(/ 1 2)])"),
    (r"\sqrt[3]{x} + \sqrt2", "(+ (sqrt[3] x) (sqrt 2))"),
    # big operators
    (r"\sum_{j=1}^n a_j b_j + c", "(+ (sum_[(= j 1)]^[n] (* a_[j] b_[j])) c)"),
    (r"\sum_{\substack{i=1 \\ i \ne j}}^n x_i", r"(sum_[(= i 1) \\ (!= i j)]^[n] x_[i])"),
    (r"\sum\limits_{j \neq y_i} -x_j", "(sum_[(!= j y_[i])] (- x_[j]))"),
    (r"a \sum_k w_k \delta_k \odot z", r"(* a (sum_[k] (* (* w_[k] delta_[k]) \odot z)))"),
    (r"\max_j z_j + \max(0, z) + \max\{a, b\}", "(+ (max_[j] z_[j]) (operator:max (round (list 0 , z))) (operator:max (curly (list a , b))))"),
    (r"\arg\max_k p_k", "(argmax_[k] p_[k])"),
    (r"\underset{k}{\arg\max}\, p_k + \operatorname*{arg\,min}_x f", "(+ (argmax_[k] p_[k]) (argmin_[x] f))"),
    # functions
    (r"\log \hat y_i + \exp(S_{ij}) + \tanh z", "(+ (operator:log hat:y_[i]) (operator:exp (round S_[i j])) (operator:tanh z))"),
    (r"\tanh'(z) + \log_2 x + \exp(x)^2", "(+ (operator:tanh' (round z)) (operator:log_[2] x) (operator:exp (round x))^[2])"),
    (r"\log \sigma(z)", "(operator:log (* sigma (round z)))"),
    (r"\text{softmax}(z)_i + \mathrm{softmax}(z)", "(+ (operator:softmax (round z))_[i] (operator:softmax (round z)))"),
    (r"\tanh \circ g", r"(* operator:tanh \circ g)"),
    # derivatives
    (r"\partial C/\partial w^l_{jk}", "(slash (partial C) (partial w_[j k]^[l]))"),
    (r"a \partial C/\partial w \cdot b", r"(* a (slash (partial C) (partial w)) \cdot b)"),
    (r"dL/dy + d/dx f", "(+ (slash (d L) (d y)) (* (slash (d) (d x)) f))"),
    (r"\frac{\partial}{\partial u} f", "(* (/ (partial) (partial u)) f)"),
    (r"\frac{\partial^2 C}{\partial w \partial v}", "(/ (partial^[2] C) (* (partial w) (partial v)))"),
    (r"\partial^2 C/\partial w \partial v", "(slash (partial^[2] C) (* (partial w) (partial v)))"),
    (r"\frac{\partial J(W,b)}{\partial W}", "(/ (partial (* J (round (list W , b)))) (partial W))"),
    (r"\frac{d^2 f}{d x^2} + \frac{\mathrm{d} f}{\mathrm{d}x}", "(+ (/ (d^[2] f) (d x^[2])) (/ (roman f) (roman x)))"),
    (r"\frac{d_k}{d_v} + \frac{d}{2}", "(+ (/ d_[k] d_[v]) (/ d 2))"),
    (r"h i d d e n + hidden", "(+ (* h i d d e n) (* h i d d e n))"),
    (r"\nabla_{W} J(W,b;x,y)", "(* (nabla_[W]) J (round (list W , b ; x , y)))"),
    # brackets
    (r"\| x \|^2 + ||a-y|| + |x||y| + \big|x\big|", "(+ (norm x)^[2] (norm (+ a -y)) (* (bar x) (bar y)) (bar x))"),
    (r"\left\lVert W \right\rVert_F^2 + \bigl\lvert x \bigr\rvert", "(+ (norm W)_[F]^[2] (bar x))"),
    (r"\langle x, y \rangle + \left< x \right> + \lfloor x \rfloor", "(+ (angle (list x , y)) (angle x) (floor x))"),
    (r"\frac{\partial C}{\partial a}\Big|_{a=y} + f|_{x=0}", "(+ (at (/ (partial C) (partial a)) (= a y)) (at f (= x 0)))"),
    (r"p(y|x) + p(y \mid x; \theta)", r"(+ (* p (round (list y | x))) (* p (round (list y \mid x ; theta))))"),
    (r"f(\cdot) + f(\cdot, y)", "(+ (* f (round cdot)) (* f (round (list cdot , y))))"),
    # indicators, and what looks like one
    (r"\mathbb{1}(y_i = k) + \mathbf 1_{\{y_i = k\}} + \mathbb 1[\cdot]", "(+ (indicator (= y_[i] k)) (indicator (= y_[i] k)) (indicator cdot))"),
    (r"\mathbf{1}_n^\top x + \mathbf 1 (a - y)^T", "(+ (* bold:1_[n]^[top] x) (* bold:1 (round (+ a -y))^[T]))"),
    # tables
    (r"\begin{cases} x & \text{if } x > 0 \\ 0, & \text{otherwise}\end{cases}", '(cases [x "if " (> x 0)] [0 "otherwise"])'),
    (r"\left\{\begin{array}{ll} x & \text{if } x > 0 \\ 0 & \text{otherwise}\end{array}\right.", '(cases [x "if " (> x 0)] [0 "otherwise"])'),
    (r"\begin{bmatrix} 1 & \\ \vdots & x \end{bmatrix}^\top", "(bmatrix [1 blank] [... x])^[top]"),
    # what prints something else or nothing
    (r"\underbrace{a_j - y_j}_{\delta_j} + \boxed{b}", "(+ (underbrace (+ a_[j] -y_[j]) delta_[j]) b)"),
    (r"\textcolor{red}{w_j}^{(l)}\, \color{blue} x \phantom{y}\!", "(* w_[j]^[(round l)] x)"),
    (r"\Bigl( a + b \Bigr)^2 \big/ 2", "(* (round (+ a b))^[2] / 2)"),
    # characters
    ("ŷⱼ σ′(z⁽ᴸ⁾) − ∑ᵢ ∂C/∂wᵢ · W⁽ˡ⁾ᵀ", r"(+ (* hat:y_[j] sigma' (round z^[(round L)])) -(sum_[i] (* (slash (partial C) (partial w_[i])) \cdot W^[(round l) T])))"),
    ("δ ⊙ C̄ × √x", r"(* delta \odot (* bar:C \times (sqrt x)))"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tree"), CONSTRUCTS, ids=[text[:40] for text, _ in CONSTRUCTS])
def test_constructs(text: str, tree: str) -> None:
    assert show(parse_expression(text)) == tree


ROWS = [
    ("a = b \\\\ &= c", ["(= a b)", "(= _ c)"]),
    ("a := b \\leftarrow c \\propto d \\neq e", ["(chain a := b <- c propto d != e)"]),
    (r"x \overset{\text{def}}{=} y \stackrel{!}{=} z", ['(chain x =["def"] y =[!] z)']),
    (r"x \not= y \in [0, 1)", ["(chain x != y in (square (list 0 , 1)))"]),
    ("a &= b & c &= d \\\\ e &= f & g &= h", ["(= a b) | (= c d)", "(= e f) | (= g h)"]),
    (r"a = b, \qquad c = d", ["(= a b) | (= c d)"]),
    (r"p_i = q_i, \quad i = 1, \dots, n.", ["(= p_[i] q_[i]) | (= i 1) ... n"]),
    (r"\text{where } \delta = y - a", ['"where " | (= delta (+ y -a))']),
    (r"\sum_j y_j = 1 \quad \forall i", [r'(= (sum_[j] y_[j]) 1) | "\forall" i']),
    # a row that goes on: after an operator, before one, within brackets
    ("C &= a \\\\ &\\quad + b \\\\ &= c \\times \\\\ & d \\\\ &= (e \\\\ & f)", ["(= C (+ a b))", r"(= _ (* c \times d))", "(= _ (round (* e f)))"]),
    ("a = b \\\\ -c = d", ["(= a b)", "(= (- c) d)"]),
    (r"\begin{multline} a = b \\ + c \\ d \end{multline}", ["(= a (+ b (* c d)))"]),
    # bare text: a line says all it has to say, or goes on
    ("a = b\nc = d\n= e\n\nf = g", ["(= a b)", "(= c d)", "(= _ e)", "(= f g)"]),
    ("\\frac{a}{b}\n = c\n + d\n e", ["(= (/ a b) (+ c (* d e)))"]),
    ("a =\nb % a comment\n% another\nc = d", ["(= a b)", "(= c d)"]),
    ("x\ny", ["x", "y"]),
    # environments
    (r"\begin{equation}\label{eq:a} \begin{aligned} a &= b + c \\ &= d \nonumber \\ & + e \end{aligned}, \end{equation}", ["(= a (+ b c))", "(= _ (+ d e))"]),
    (r"\left\{ \begin{aligned} a &= b \\ c &= d \end{aligned} \right.", ["(= a b)", "(= c d)"]),
    (r"\begin{alignat*}{2} a &= b \\[2pt] c &= d \intertext{so that} e &= f \end{alignat*}", ["(= a b)", "(= c d)", "(= e f)"]),
    ("Prose, \\cite{a_b}, $w$ and \\(v\\), $a$$b$ $$c = d$$ \\[ e = f \\]", ["w", "v", "a", "b", "(= c d)", "(= e f)"]),
    ("\\documentclass{article}\\begin{document}\\section{On $x$}\nNo 5% of \\verb|$| \\begin{verbatim} $ \\end{verbatim} $y$\\end{document}", ["x"]),
    ("\\begin{document}\nNo formula.\n\\end{document}", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rows"), ROWS, ids=[text[:40] for text, _ in ROWS])
def test_rows(text: str, rows: list[str]) -> None:
    assert shown(text) == rows


def test_a_model_file() -> None:
    text = (
        "%| l = 1..L\n% a comment\n  %|width n  \n"
        "C_0 &= \\sum_{j=0}^{n-1} \\left(a_j^{(L)} - y_j\\right)^2 \\\\\n"
        "a_j^{(l)} &= g^{(l)}\\left(z_j^{(l)}\\right) \\tag{2} \\label{eq:a_j}\n"
    )
    document = parse_document(text.encode())
    assert [(d.text, d.place.line, d.place.column) for d in document.declarations] == [
        ("l = 1..L", 1, 1),
        ("width n", 3, 3),
    ]
    assert [(r.place.line, r.place.column, r.environment) for r in document.rows] == [(4, 1, "bare"), (5, 1, "bare")]
    assert (document.rows[1].label, document.rows[1].tag) == ("eq:a_j", "2")
    (relation,) = document.rows[1].relations
    assert document.source(relation.right.place) == r"g^{(l)}\left(z_j^{(l)}\right)"


def test_the_letter_d_can_be_undone() -> None:
    d = parse_expression("dZ")
    assert isinstance(d, Differential) and show(d) == "(d Z)"
    assert show(d.as_product()) == "(* d Z)"
    fraction = parse_expression(r"\frac{d^2 f(x)}{dk}")
    assert isinstance(fraction, Fraction) and fraction.derivative and not fraction.operator
    assert [show(x.as_product()) for x in (*differentials(fraction.over), *differentials(fraction.under))] == ["(* d^[2] f (round x))", "(* d k)"]  # fmt: skip
    with pytest.raises(ValueError, match="every reading"):
        differentials(fraction_of(r"\frac{\partial C}{\partial w}").over)[0].as_product()


def fraction_of(text: str) -> Fraction:
    node = parse_expression(text)
    assert isinstance(node, Fraction)
    return node


def test_an_operator_waits_for_what_it_acts_on() -> None:
    assert fraction_of(r"\frac{\partial}{\partial u}").operator
    assert not fraction_of(r"\frac{\partial C}{\partial u}").operator
    assert not fraction_of(r"\frac{a}{\partial u}").derivative


def test_digits_of_an_index_stay_together() -> None:
    assert parse_expression("w_{12}").sub.items == (Number("12", parse_expression("1").place),)  # type: ignore[union-attr]


def test_trees_are_compared_without_their_places() -> None:
    assert parse_line("a + b = c") == parse_line(" a+b   =c")
    assert parse_line("a + b = c") != parse_line("b + a = c")


@pytest.mark.parametrize(
    "text", [line[0] for line in FORTY] + [text for text, _ in CONSTRUCTS] + [text for text, _ in ROWS]
)
def test_every_node_stands_within_the_one_above(text: str) -> None:
    document = parse_document(text)
    for row in document.rows:
        for node in nodes(row):
            assert 0 <= node.place.start <= node.place.end <= len(text)
            assert text[: node.place.start].count("\n") == node.place.line - 1
            for child in children(node):
                assert node.place.start <= child.place.start and child.place.end <= node.place.end
            if isinstance(node, Symbol) and not node.accent and not node.font and text.isascii():
                assert node.name in document.source(node.place)


# ---------------------------------------------------------------- macros


def test_macros_of_the_text() -> None:
    text = (
        "\\newcommand{\\pd}[2]{\\frac{\\partial #1}{\\partial #2}}\\DeclareMathOperator{\\relu}{ReLU}\n"
        "\\def\\W#1{\\mathbf{W}^{(#1)}}\\newcommand\\loss{\\mathcal L}\\let\\eps=\\epsilon\n"
        "\\newcommand{\\opt}[2][k]{x_{#1 #2}}\\DeclarePairedDelimiter{\\norm}{\\lVert}{\\rVert}\n"
        "\\[ \\pd{\\loss}{\\W{l}} = \\relu(\\eps) \\opt{j} \\opt[i]{j} \\norm*{\\pd{\\pd C a}z} \\]"
    )
    assert shown(text) == [
        "(= (/ (partial calligraphic:L) (partial bold:W^[(round l)])) "
        "(* (operator:ReLU (round epsilon)) x_[k j] x_[i j] (norm (/ (partial (/ (partial C) (partial a))) (partial z)))))"
    ]


def test_a_macro_stands_where_it_is_used() -> None:
    text = "\\newcommand{\\x}{a + b_j} c = \\x d"
    row = parse_line(text)
    places = {parse_document(text).source(n.place) for n in nodes(row) if isinstance(n, Symbol)}
    assert places == {"c", "\\x", "d"}


def test_a_macro_may_be_defined_again() -> None:
    assert shown("\\def\\x{a} \\[ \\x \\] \\renewcommand{\\x}{b} \\[ \\x \\]") == ["a", "b"]


# ---------------------------------------------------------------- errors

ERRORS = [
    # text, line, column, what the message has
    (r"a = \frac{\partial C}{\partial w", 1, 22, "nothing closes this '{'"),
    ("a = b\n\nc &= (d + e", 3, 6, r"no '\)' closes this '\('"),
    ("a = (b + c]", 1, 5, r"this '\(' is closed by '\]' on line 1, column 11; expected '\)'"),
    ("a = b + c)", 1, 10, r"'\)' closes nothing that is open"),
    ("a = b } c", 1, 7, "'}' closes nothing"),
    (r"x = \left( a + b", 1, 5, r"no '\\right' closes"),
    (r"x = \left( a \right]", 1, 5, r"expected \\right\)"),
    ("|a + b", 1, 1, r"no '\|' closes"),
    ("w_j_k", 1, 4, "a second subscript"),
    ("w^a{}^b + w^a^b", 1, 14, "a second superscript"),
    (r"\fracc{a}{b}", 1, 1, r"unknown command \\fracc; did you mean \\frac\?"),
    (r"a = \loss", 1, 5, r"unknown command \\loss$"),
    (r"\frac{}{b}", 1, 6, "empty; expected a numerator"),
    (r"\frac{a}{}", 1, 9, "empty; expected a denominator"),
    (r"\frac{a}", 1, 1, "takes a denominator"),
    ("a + = b", 1, 3, r"nothing stands between '\+' and '='"),
    (r"a \cdot", 1, 3, r"nothing stands between '\\cdot' and the end"),
    ("a - - b", 1, 5, "two signs in a row"),
    (r"a = \sum_j", 1, 5, r"nothing stands after \\sum"),
    ("f(a,,b)", 1, 5, "an item is missing"),
    ("f()", 1, 2, "nothing stands in these brackets"),
    ("x_{}", 1, 3, "the subscript is empty"),
    ("^2", 1, 1, r"nothing stands before '\^'"),
    ("x^10", 1, 3, r"LaTeX takes only '1' as the superscript; write \^\{10\}"),
    ("x^(l)", 1, 3, "LaTeX takes only"),
    ("2 3", 1, 3, r"two numbers side by side; write \\cdot"),
    ("2 + 1e-3", 1, 5, "no number in LaTeX"),
    (r"\log 2 x", 1, 1, r"where the argument of \\log ends is not clear"),
    (r"\exp - z", 1, 1, r"\\exp has no argument"),
    ("a = b € c", 1, 7, "'€' has no meaning here"),
    (r"\begin{align} a = b", 1, 1, r"nothing closes this '\\begin\{align\}'"),
    ("\\begin{align} a = b\n\\end{equation}", 1, 1, r"is closed by '\\end\{equation\}' on line 2, column 1"),
    (r"a = \begin{matrx} x \end{matrx}", 1, 5, "unknown environment matrx; did you mean matrix"),
    (r"a = \begin{cases} x & y", 1, 5, r"nothing closes this '\\begin\{cases\}'"),
    ("a = $b", 1, 5, r"nothing closes this '\$'"),
    (r"a = \text{for", 1, 10, "no '}' closes this '{'"),
    (r"We have \delta = 3 and $x$", 1, 9, "mathematics outside of mathematics"),
    ("a_{j} = 3\n$x$", 1, 7, "mathematics outside of mathematics"),
    ("a = b %| l = 1", 1, 7, "stands at the beginning of its line"),
    (r"\newcommand{\x}{\y} \newcommand{\y}{\x} a = \x", 1, 45, r"\\x stands for itself \(\\x -> \\y -> \\x\)"),
    (r"\newcommand{\pd}[2]{a} \pd{x}", 1, 24, r"\\pd takes 2 arguments; found the end"),
    (r"\newcommand{\x}[1]{#2} \x{a}", 1, 24, "#2 is none of its 1 arguments"),
    (r"\def\x(#1){a} \x(b)", 1, 15, r"its \\def has '\)' between"),
    ("a = \frac{b}{c}", 1, 5, r"control character \(\\f\)"),
    ("a = b\0", 1, 6, "control character"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message"), ERRORS, ids=[text[:30] for text, *_ in ERRORS])
def test_errors_say_what_and_where(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ReadError, match=message) as e:
        parse_document(text)
    assert (e.value.line, e.value.column) == (line, column)
    shown_line, caret = e.value.excerpt.split("\n")
    assert text.split("\n")[line - 1].startswith(shown_line.rstrip())
    assert caret == " " * (column - 1) + "^"


def test_an_expression_is_no_equation() -> None:
    with pytest.raises(ReadError, match="expected an expression, found '= b'"):
        parse_expression("a = b")
    with pytest.raises(ReadError, match="a second row"):
        parse_line("a = b \\\\ c = d")
    with pytest.raises(ReadError, match="nothing to read"):
        parse_line("  % only a comment")


def test_what_is_not_understood_leaves_the_rest_alone() -> None:
    document = parse_document("a = b \\\\ c = \\foo \\\\ d = e", strict=False)
    good, bad, last = document.entries
    assert isinstance(bad, Unread) and bad.error.column == 14
    assert document.source(bad.place).startswith("c = ")
    assert document.rows == (good, last)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ReadError, match="not text in UTF-8: byte 0xff at offset 6"):
        parse_document(b"a = b\n\xff")
    started = time.perf_counter()
    for huge in (b"x" * 10_000_000, "x" * 10_000_000):
        with pytest.raises(ReadError, match="too large"):
            parse_document(huge)
    assert time.perf_counter() - started < 0.1


def test_macros_do_not_explode() -> None:
    names = "abcdefghij"
    text = "\\newcommand{\\a}{x}" + "".join(
        f"\\newcommand{{\\{n}}}{{{(chr(92) + m) * 20}}}" for m, n in itertools.pairwise(names)
    )
    with pytest.raises(ReadError, match=r"the macro \\\w is too large"):
        parse_document(text + "\\j")


# ---------------------------------------------------------------- depth, size, speed

NESTED = [
    ("{", "x", "}"),
    ("(", "x", ")"),
    (r"\left(", "x", r"\right)"),
    (r"\frac{", "x", "}{y}"),
    ("x^{", "x", "}"),
    (r"\sqrt{", "x", "}"),
    (r"\hat ", "x", ""),
    (r"\sum_j ", "x", ""),
    (r"\log ", "x", ""),
    (r"\partial ", "x", ""),
    (r"\max_", "x", " y"),
    (r"\mathbf{", "x", "}"),
    (r"\overset{", "x", "}{x}"),
    (r"\underbrace{", "x", "}_{x}"),
    (r"\begin{cases}", "x", r"\end{cases}"),
    (r"\mathbb 1(x=", "x", ")"),
]


@pytest.mark.parametrize("case", NESTED, ids=str)
def test_nesting_has_a_limit_of_ours(case: tuple[str, str, str]) -> None:
    before, inside, after = case
    for deep in (MAX_DEPTH + 1, 10_000):
        with pytest.raises(ReadError, match=r"nested too deeply|row of more than"):
            parse_document(before * deep + inside + after * deep)

    fine = MAX_DEPTH // 2 - 1

    def on_a_deep_stack(more: int) -> Document:
        return on_a_deep_stack(more - 1) if more else parse_document(before * fine + inside + after * fine)

    for row in on_a_deep_stack(300).rows:
        assert show(row)


def test_nesting_is_bounded_on_a_thread() -> None:
    found: list[BaseException] = []

    def read() -> None:
        try:
            parse_document("(" * 5000)
        except BaseException as e:  # whatever it is, it is looked at below
            found.append(e)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert [type(e) for e in found] == [ReadError]


def test_a_model_file_is_read_in_no_time() -> None:
    text = "".join(
        f"%| fact {n}\n" + "\\\\\n".join(line[0] for line in FORTY[n : n + 4]) + "\n\n"
        for n in (1, 8, 12, 20, 24, 29, 33, 35)
    )
    assert text.count("\n") >= 40
    parse_document(text)
    best = min(timed(text) for _ in range(5))
    assert best < 0.1, f"{best * 1e3:.0f} ms"  # 10 ms on an idle machine


def timed(text: str) -> float:
    started = time.perf_counter()
    parse_document(text)
    return time.perf_counter() - started


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "x_i ",
        "|",
        "<",
        "\\",
        "$",
        "(",
        "{",
        "\\begin{align}",
        "\\text{",
        "a=b\n",
        "1",
        "&",
        "'",
        "ₖ",
        "\\x",
        "% \n",
        "x^{<",
        "\\overset{a}",
        "{}",
        "\\frac",
        "\\not",
        "[",
        "\\left",
        "1.",
        "\\\\[",
    ],
)
def test_work_grows_with_length_alone(piece: str) -> None:
    """No piece of text makes the reader go back over the rest again and again: a hundred thousand characters in a second."""
    started = time.perf_counter()
    with contextlib.suppress(ReadError):
        parse_document(piece * (100_000 // len(piece)), strict=False)
    assert time.perf_counter() - started < 8


# ---------------------------------------------------------------- anything at all

SOUP = r"""a w z d L j k l 1 2 12 0.5 + - * / = < > ( ) [ ] { } | || _ ^ ' , ; : . & \\ ~ # % $ ! _j ^T ^{(l)} _{jk} _{ ^{
    \frac \frac{ }{ \partial \sum \sum_j \prod \max \max_ \arg \log \exp \sqrt \sqrt[ \mathbf \mathbf{ \mathrm{d} \hat
    \overline{ \left( \right) \left. \right| \left\{ \right. \bigl| \bigr| \big \{ \} \lVert \rVert \langle \rangle \odot
    \cdot \circ \times \le \not \in \leftarrow \overset{!}{=} \stackrel \underset{j}{\max} \underbrace{ \boxed{
    \textcolor{red}{ \phantom{ \quad \, \dots \nabla \nabla_ \delta \top \prime \mathbb{1} \mathbb1( \text{if} \text{a\ b}
    \text{ \operatorname{relu} \operatorname \begin{cases} \end{cases} \begin{bmatrix} \end{bmatrix} \begin{aligned}
    \end{aligned} \begin{array}{ll} \end{array} \begin \end \substack{ \tag{1} \label{ \newcommand{\x} \newcommand{\x}[1]{#1}
    \def\x#1 \x \x{ \let\x \DeclareMathOperator{\y}{ \y \bf \[ \] \( \) $$ %| \forall \middle| \mid \displaystyle ∂ ⊙ ₖ ᵀ ŷ 𝟙 é"""
PIECES = st.sampled_from([*SOUP.split(), "\n", "\n\n", " ", "\\ "])


def read_anything(text: str | bytes) -> None:
    """Reads, or raises the one error; both ways agree, and a tree can be walked and shown."""
    try:
        document = parse_document(text, strict=False)
    except ReadError as e:
        assert str(e)
        with pytest.raises(ReadError):
            parse_document(text)
        return
    for row in document.rows:
        assert show(row)
        for node in nodes(row):
            assert document.source(node.place) is not None
    if len(document.rows) == len(document.entries):
        assert parse_document(text) == document
    else:
        with pytest.raises(ReadError):
            parse_document(text)


@settings(max_examples=400, deadline=2000)
@given(st.lists(PIECES, max_size=25), st.sampled_from(["", " "]))
@example(["\\left", "("], "")
@example(["\\mathbb1(", "x", "="], "")
def test_any_soup_of_tokens_is_read_or_refused(pieces: list[str], between: str) -> None:
    read_anything(between.join(pieces))


@settings(max_examples=300, deadline=2000)
@given(
    st.sampled_from([line[0] for line in FORTY] + [text for text, _ in ROWS]),
    st.integers(0, 120),
    st.integers(0, 3),
    PIECES,
)
def test_any_slip_of_the_pen_is_read_or_refused(text: str, place: int, cut: int, piece: str) -> None:
    for spoilt in (text[:place] + piece + text[place + cut :], text[:place] + text[place + cut :], text[:place]):
        read_anything(spoilt)


@settings(max_examples=200, deadline=2000)
@given(st.one_of(st.binary(max_size=40), st.text(max_size=40)))
def test_any_bytes_are_read_or_refused(text: str | bytes) -> None:
    read_anything(text)


# ---------------------------------------------------------------- the corpus, where it is at hand

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "claims.jsonl"


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of claims is not part of the repository")
def test_every_claim_of_the_corpus_is_read() -> None:
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        claim = record["claim"]
        text = claim if isinstance(claim, str) else " \\\\\n".join(claim)
        rows = parse_document(text).rows
        assert all(row.relations for row in rows)
        assert isinstance(claim, str) or len(rows) >= len(claim)
        for row in rows:
            for node in nodes(row):
                assert not isinstance(node, Product | Chain) or len(children(node)) > 1
        for name in ("loss", "preactivation", "delta"):
            parse_document(record["network"].get(name, ""))
