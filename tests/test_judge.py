"""What the judge of hand-written maths says of a line: proved over all that it claims, refuted with numbers, or left open.

Beside each line that must be proved stands the slip that must not be. The planted slips go to the prover and to the
samples separately too: neither may rely on the other.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import exp, isclose
from typing import Any

import pytest

from symbackprop import Network, dense, load
from symbackprop.judge import Setting, judge, sampling
from symbackprop.judge.prove import Beyond, Proof, prove
from symbackprop.judge.relation import total
from symbackprop.judge.scope import Equality, equality
from symbackprop.read.expression import read_line
from symbackprop.report import Finding, Report

WIDE = r"""
%| l = 1..L
C_0 &= \sum_{j=0}^{n_L-1} \left(a_j^{(L)} - y_j\right)^2 \\
z_j^{(l)} &= \sum_{k=0}^{n_{l-1}-1} w_{jk}^{(l)} a_k^{(l-1)} \\
a_j^{(l)} &= g^{(l)}\left(z_j^{(l)}\right)
"""

SCALAR = r"""
%| t = 1..T
h_t &= v h_{t-1} + x_t \\
C &= \sum_{t=1}^{T} \left(h_t - y_t\right)^2
"""

DEEP = r"""
%| l = 1..L
a^{(l)} &= w^{(l)} a^{(l-1)} \\
C &= (a^{(L)} - y)^2
"""

VECTORS = r"""
%| l = 1..L
%| shape W: j k
%| shape a, z, b, y: j
C &= \frac{1}{2} \lVert a^{(L)} - y \rVert^2 \\
z^{(l)} &= W^{(l)} a^{(l-1)} + b^{(l)} \\
a^{(l)} &= \sigma(z^{(l)})
"""

MATRICES = r"""
%| shape X: n d
%| shape W: d k
%| shape T, Y: n k
Y &= X W \\
E &= \frac{1}{2} \lVert Y - T \rVert_F^2
"""

HINGE = r"""
%| target y
p_j &= \sum_k U_{jk} x_k \\
q_j &= \max(0, p_j) \\
r_i &= \sum_j V_{ij} q_j \\
C &= \sum_i (r_i - y_i)^2
"""

POWERS = r"""
%| data c
%| target y
s &= \sum_k e^{u_k} x_k \\
C &= (s - y)^2 + c \sum_k u_k^2
"""

UNSURE = r"""
C &= -\sum_{k=1}^{K} y_k \log p_k \\
p_k &= \frac{e^{z_k}}{\sum_{j=1}^{K} e^{z_j}}
"""

TEXTS = {
    "wide": WIDE,
    "scalar": SCALAR,
    "deep": DEEP,
    "vectors": VECTORS,
    "matrices": MATRICES,
    "hinge": HINGE,
    "powers": POWERS,
    "unsure": UNSURE,
}


@lru_cache
def network(name: str) -> Network:
    if name in TEXTS:
        return Network.from_latex(TEXTS[name])
    if name == "relu":
        return dense(activation="relu")
    if name == "4-3-2":
        return dense([4, 3, 2], activation="sigmoid")
    return dense() if name == "lessons" else load(name)


def check(name: str, *lines: str, **options: Any) -> Report:
    """The report on lines that stand for themselves."""
    return network(name).check("\n\n".join(lines), explain=False, **options)


def aligned(name: str, *rows: str, **options: Any) -> Report:
    """The report on the rows of one alignment."""
    return network(name).check(" \\\\\n".join(rows), explain=False, **options)


def only(name: str, line: str, **options: Any) -> Finding:
    (found,) = check(name, line, **options).claims
    return found


def verdicts(report: Report) -> list[str]:
    return [c.verdict for c in report.claims]


# ---------------------------------------------------------------- right and wrong, side by side

PAIRS = {
    "output": (
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j)", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} + y_j)"),
        ("nielsen", r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j)", r"\delta^L_j = (a^L_j - y_j) \sigma(z^L_j)"),
        ("nielsen-general", r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j)", r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(a^L_j)"),
        ("mlp", r"\frac{\partial C}{\partial a_{ij}^{(L)}} = \frac{2}{N} (a_{ij}^{(L)} - y_{ij})", r"\frac{\partial C}{\partial a_{ij}^{(L)}} = 2 (a_{ij}^{(L)} - y_{ij})"),
        ("vectors", r"\delta^{(L)} = (a^{(L)} - y) \odot \sigma'(z^{(L)})", r"\delta^{(L)} = (y - a^{(L)}) \odot \sigma'(z^{(L)})"),
    ),
    "hidden": (
        ("lessons", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l)}"),
        ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_k)"),
        ("wide", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n_{l+1}-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n_{l+1}-1} \frac{\partial C_0}{\partial z_j^{(l)}} w_{jk}^{(l+1)}"),
        ("rnn", r"\frac{\partial C}{\partial h_{tj}} = \sum_{i=1}^{I} (o_{ti} - y_{ti}) V_{ij} + \sum_{m=1}^J \frac{\partial C}{\partial a_{t+1,m}} W_{mj}", r"\frac{\partial C}{\partial h_{tj}} = \sum_{i=1}^{I} (o_{ti} - y_{ti}) V_{ij} + \sum_{m=1}^J \frac{\partial C}{\partial a_{tm}} W_{mj}"),
    ),
    "weights": (
        ("lessons", r"\frac{\partial C_0}{\partial w_{jk}^{(L-2)}} = \frac{\partial C_0}{\partial z_j^{(L-2)}} a_k^{(L-3)}", r"\frac{\partial C_0}{\partial w_{jk}^{(L-2)}} = \frac{\partial C_0}{\partial z_j^{(L-2)}} a_k^{(L-2)}"),
        ("nielsen", r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j", r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_j \delta^l_k"),
        ("rnn", r"\frac{\partial C}{\partial W_{jm}} = \sum_{t=1}^T \frac{\partial C}{\partial a_{tj}} h_{t-1,m}", r"\frac{\partial C}{\partial W_{jm}} = \sum_{t=1}^T \frac{\partial C}{\partial a_{tj}} h_{tm}"),
        ("vectors", r"\frac{\partial C}{\partial W^{(l)}} = \delta^{(l)} (a^{(l-1)})^T", r"\frac{\partial C}{\partial W^{(l)}} = 2 \delta^{(l)} (a^{(l-1)})^T"),
        ("matrices", r"\frac{\partial E}{\partial W} = X^T (Y - T)", r"\frac{\partial E}{\partial W} = X^T (T - Y)"),
    ),
    "named places": (
        ("lessons", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_1) g'^{(L)}(z_1^{(L)}) a_2^{(L-1)}", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_1) g'^{(L)}(z_1^{(L)}) a_1^{(L-1)}"),
        ("nielsen", r"\frac{\partial C}{\partial w^2_{31}} = \delta^2_3 a^1_1", r"\frac{\partial C}{\partial w^2_{31}} = \delta^2_1 a^1_3"),
        ("scalar", r"\frac{\partial C}{\partial h_T} = 2(h_T - y_T)", r"\frac{\partial C}{\partial h_T} = 2(h_T - y_{T-1})"),
    ),
    "transposed": (
        ("lessons", r"z_j^{(l)} = \sum_{k=0}^{n-1} w_{jk}^{(l)} a_k^{(l-1)}", r"z_j^{(l)} = \sum_{k=0}^{n-1} w_{kj}^{(l)} a_k^{(l-1)}"),
        ("wide", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n_{l+1}-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n_{l+1}-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{kj}^{(l+1)}"),
        ("nielsen", r"\delta^l = (w^{l+1})^T \delta^{l+1} \odot \sigma'(z^l)", r"\delta^l = w^{l+1} \delta^{l+1} \odot \sigma'(z^l)"),
        ("attention", r"\frac{\partial O_{iv}}{\partial V_{jv}} = P_{ij}", r"\frac{\partial O_{iv}}{\partial V_{jv}} = P_{ji}"),
    ),
    "indices that differ": (
        ("lessons", r"\frac{\partial z_j^{(l)}}{\partial w_{ik}^{(l)}} = 0, \quad i \ne j", r"\frac{\partial z_j^{(l)}}{\partial w_{ik}^{(l)}} = 0"),
        ("softmax-cross-entropy", r"\frac{\partial p_j}{\partial z_k} = -p_j p_k, \quad j \ne k", r"\frac{\partial p_j}{\partial z_k} = -p_j p_k"),
        ("hinge", r"\frac{\partial q_i}{\partial p_j} = 0, \quad i \ne j", r"\frac{\partial q_i}{\partial p_i} = 0, \quad i \ne j"),
        ("attention", r"\frac{\partial P_{ij}}{\partial S_{ik}} = P_{ij} (\delta_{jk} - P_{ik})", r"\frac{\partial P_{ij}}{\partial S_{ik}} = P_{ij} (1 - P_{ik})"),
    ),
    "conditions on quantities": (
        ("relu", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = 1, \quad z_j^{(l)} > 0", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = 1, \quad z_j^{(l)} < 0"),
        ("relu", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = 0, \quad z_j^{(l)} < 0", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = 0"),
        ("hinge", r"\frac{\partial C}{\partial U_{jk}} = \sum_i 2(r_i - y_i) V_{ij} x_k, \quad p_j > 0", r"\frac{\partial C}{\partial U_{jk}} = \sum_i 2(r_i - y_i) V_{ij} x_k"),
        ("hinge", r"q_j = p_j, \quad p_j > 0", r"q_j = p_j, \quad p_j < 0"),
    ),
    "tests in brackets": (
        ("relu", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = \mathbb{1}[z_j^{(l)} > 0]", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = \mathbb{1}[z_j^{(l)} < 0]"),
        ("hinge", r"\frac{\partial q_j}{\partial p_j} = \mathbb{1}[p_j > 0]", r"\frac{\partial q_j}{\partial p_j} = \mathbb{1}[p_j < 0]"),
        ("hinge", r"\frac{\partial C}{\partial U_{jk}} = \sum_i 2(r_i - y_i) V_{ij} \mathbb{1}[p_j > 0] x_k", r"\frac{\partial C}{\partial U_{jk}} = \sum_i 2(r_i - y_i) V_{ij} \mathbb{1}[r_i > 0] x_k"),
    ),
    "times": (
        ("scalar", r"\frac{\partial C}{\partial h_t} = 2(h_t - y_t) + v \frac{\partial C}{\partial h_{t+1}}", r"\frac{\partial C}{\partial h_t} = 2(h_t - y_t)"),
        ("scalar", r"\frac{\partial C}{\partial v} = \sum_{t=1}^{T} \frac{\partial C}{\partial h_t} h_{t-1}", r"\frac{\partial C}{\partial v} = \sum_{t=1}^{T} \frac{\partial C}{\partial h_t} h_{t}"),
        ("scalar", r"\frac{\partial C}{\partial x_t} = \frac{\partial C}{\partial h_t}", r"\frac{\partial C}{\partial x_t} = \frac{\partial C}{\partial h_{t-1}}"),
        ("scalar", r"\frac{\partial h_t}{\partial x_s} = 0, \quad s > t", r"\frac{\partial h_t}{\partial x_s} = 0, \quad s \ge t"),
        ("scalar", r"\sum_{s=1}^{T} h_{s-1} = \sum_{s=0}^{T-1} h_s", r"\sum_{s=1}^{T} h_{s-1} = \sum_{s=1}^{T-1} h_s"),
        ("scalar", r"\sum_{s=t}^{T} h_s = h_t + \sum_{s=t+1}^{T} h_s", r"\sum_{s=t}^{T} h_s = h_{t+1} + \sum_{s=t+1}^{T} h_s"),
        ("scalar", r"\sum_{s=t}^{T} h_s = \sum_{s=t+1}^{T+1} h_{s-1}", r"\sum_{s=t}^{T} h_s = \sum_{s=t+1}^{T} h_{s-1}"),
        ("rnn", r"\frac{\partial C}{\partial h_{Tj}} = \sum_{i=1}^{I} (o_{Ti} - y_{Ti}) V_{ij}", r"\frac{\partial C}{\partial h_{tj}} = \sum_{i=1}^{I} (o_{ti} - y_{ti}) V_{ij}"),
    ),
    "total and direct": (
        ("scalar", r"\frac{d h_t}{d v} = h_{t-1} + v \frac{d h_{t-1}}{d v}", r"\frac{d h_t}{d v} = h_{t-1}"),
        ("scalar", r"\frac{\partial h_{t+1}}{\partial h_t} = v", r"\frac{\partial h_{t+1}}{\partial h_t} = v h_t"),
        ("scalar", r"\frac{d C}{d v} = \sum_{t=1}^{T} 2(h_t - y_t) \frac{d h_t}{d v}", r"\frac{d C}{d v} = \sum_{t=1}^{T} 2(h_t - y_t) h_{t-1}"),
        ("lessons", r"\frac{\partial z_j^{(l)}}{\partial a_k^{(l-1)}} = w_{jk}^{(l)}", r"\frac{\partial z_j^{(l+1)}}{\partial a_k^{(l-1)}} = w_{jk}^{(l)}"),
    ),
    "operators": (
        ("lessons", r"\frac{d}{d w_{jk}^{(L)}} (a_j^{(L)} - y_j)^2 = 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L-1)}", r"\frac{d}{d w_{jk}^{(L)}} (a_j^{(L)} - y_j)^2 = (a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L-1)}"),
        ("lessons", r"\frac{\partial}{\partial a_j^{(L)}} \sum_{i=0}^{n-1} (a_i^{(L)} - y_i)^2 = 2(a_j^{(L)} - y_j)", r"\frac{\partial}{\partial a_j^{(L)}} \sum_{i=0}^{n-1} (a_i^{(L)} - y_i)^2 = \sum_{i=0}^{n-1} 2(a_i^{(L)} - y_i)"),
        ("scalar", r"\frac{d}{dv} (h_t - y_t)^2 = 2 (h_t - y_t) \frac{d h_t}{dv}", r"\frac{d}{dv} (h_t - y_t)^2 = 2 (h_t - y_t)"),
    ),
    "facts": (
        ("softmax-cross-entropy", r"\frac{\partial C}{\partial z_k} = p_k - y_k", r"\frac{\partial C}{\partial z_k} = y_k - p_k"),
        ("softmax-cross-entropy", r"\sum_k y_k = 1", r"\sum_k y_k = 2"),
        ("unsure", r"\frac{\partial C}{\partial z_k} = p_k \sum_j y_j - y_k", r"\frac{\partial C}{\partial z_k} = p_k - y_k"),
    ),
    "exp and log": (
        ("softmax-cross-entropy", r"\log p_k = z_k - \log \sum_{j=1}^K e^{z_j}", r"\log p_k = z_k - \sum_{j=1}^K z_j"),
        ("softmax-cross-entropy", r"\sum_k p_k = 1", r"\sum_k p_k = K"),
        ("attention", r"\sum_j P_{ij} = 1", r"\sum_i P_{ij} = 1"),
        ("powers", r"\frac{\partial C}{\partial u_k} = 2(s-y) e^{u_k} x_k + 2 c u_k", r"\frac{\partial C}{\partial u_k} = 2(s-y) x_k + 2 c u_k"),
    ),
    "bounds of sums": (
        ("lessons", r"C_0 = \sum_{j=0}^{n-1} (a_j^{(L)} - y_j)^2", r"C_0 = \sum_{j=0}^{n-2} (a_j^{(L)} - y_j)^2"),
        ("lessons", r"C_0 = (a_0^{(L)} - y_0)^2 + \sum_{j=1}^{n-1} (a_j^{(L)} - y_j)^2", r"C_0 = \sum_{j=1}^{n-1} (a_j^{(L)} - y_j)^2"),
        ("lessons", r"\sum_{j=0}^{n-1} 1 = n", r"\sum_{j=0}^{n-1} 1 = n + 1"),
        ("nielsen", r"C = \frac12 (a^L_1 - y_1)^2 + \frac12 \sum_{j=2}^{n_L} (a^L_j - y_j)^2", r"C = \frac12 \sum_{j=2}^{n_L} (a^L_j - y_j)^2"),
        ("nielsen", r"\sum_{j=1}^{n_l} 1 = n_l", r"\sum_{j=1}^{n_l} 1 = n_{l-1}"),
        ("nielsen", r"C = \frac12 \sum_{j=1}^{n_L} (a^L_j - y_j)^2", r"C = \frac12 \sum_{j=1}^{n_{L-1}} (a^L_j - y_j)^2"),
        ("wide", r"C_0 = \sum_{j=0}^{n_L-1} (a_j^{(L)} - y_j)^2", r"C_0 = \sum_{j=0}^{n_1-1} (a_j^{(L)} - y_j)^2"),
        ("wide", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n_{l+1}-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n_l-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}"),
        ("mlp", r"\frac{\partial C}{\partial b_j^{(L)}} = \frac{2}{N} \sum_{i=1}^{N} (a_{ij}^{(L)} - y_{ij}) g'^{(L)}(z_{ij}^{(L)})", r"\frac{\partial C}{\partial b_j^{(L)}} = \frac{2}{N} \sum_{i=1}^{n_L} (a_{ij}^{(L)} - y_{ij}) g'^{(L)}(z_{ij}^{(L)})"),
    ),
    "one layer of many": (
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(l)}} = 2(a_j^{(L)} - y_j), \quad l = L", r"\frac{\partial C_0}{\partial a_j^{(l)}} = 2(a_j^{(l)} - y_j)"),
        ("lessons", r"\frac{\partial z_j^{(l)}}{\partial w_{jk}^{(l)}} = a_k^{(1)}, \quad l = 2", r"\frac{\partial z_j^{(l)}}{\partial w_{jk}^{(l)}} = a_k^{(1)}, \quad l = 3"),
        ("nielsen", r"\delta^l_j = (a^l_j - y_j) \sigma'(z^l_j), \quad l = L", r"\delta^l_j = (a^l_j - y_j) \sigma'(z^l_j), \quad l = L-1"),
    ),
    "induction": (
        ("scalar", r"\frac{\partial h_T}{\partial h_t} = v^{T-t}", r"\frac{\partial h_T}{\partial h_t} = v^{T-t+1}"),
        ("scalar", r"\frac{\partial C}{\partial h_t} = \sum_{s=t}^{T} 2 (h_s - y_s) v^{s-t}", r"\frac{\partial C}{\partial h_t} = \sum_{s=t+1}^{T} 2 (h_s - y_s) v^{s-t}"),
        ("scalar", r"\frac{\partial h_t}{\partial v} = \sum_{s=1}^{t} v^{t-s} h_{s-1}", r"\frac{\partial h_t}{\partial v} = \sum_{s=1}^{t} v^{t-s} h_{s}"),
        ("deep", r"\frac{\partial C}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)}", r"\frac{\partial C}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l}^{L} w^{(m)}"),
        ("deep", r"\frac{\partial a^{(l)}}{\partial a^{(0)}} = \prod_{m=1}^{l} w^{(m)}", r"\frac{\partial a^{(l)}}{\partial a^{(0)}} = \prod_{m=2}^{l} w^{(m)}"),
        ("deep", r"\frac{\partial a^{(L)}}{\partial a^{(l)}} = \prod_{m=l+1}^{L} w^{(m)}", r"\frac{\partial a^{(L)}}{\partial a^{(l)}} = \prod_{m=l+1}^{L-1} w^{(m)}"),
        ("3b1b-chain", r"\frac{\partial C_0}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)} \sigma'(z^{(m)})", r"\frac{\partial C_0}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)} \sigma'(z^{(m-1)})"),
    ),
    "numbers as sizes": (
        ("4-3-2", r"\frac{\partial C_0}{\partial w_{jk}^{(2)}} = 2(a_j^{(2)} - y_j) a_j^{(2)} (1 - a_j^{(2)}) a_k^{(1)}", r"\frac{\partial C_0}{\partial w_{jk}^{(2)}} = 2(a_j^{(2)} - y_j) a_k^{(2)} (1 - a_j^{(2)}) a_k^{(1)}"),
        ("4-3-2", r"\frac{\partial C_0}{\partial z_k^{(1)}} = \sum_{j=0}^{1} \frac{\partial C_0}{\partial z_j^{(2)}} w_{jk}^{(2)} a_k^{(1)}(1-a_k^{(1)})", r"\frac{\partial C_0}{\partial z_k^{(1)}} = \sum_{j=0}^{0} \frac{\partial C_0}{\partial z_j^{(2)}} w_{jk}^{(2)} a_k^{(1)}(1-a_k^{(1)})"),
        ("4-3-2", r"C_0 = (a_0^{(2)} - y_0)^2 + (a_1^{(2)} - y_1)^2", r"C_0 = (a_0^{(2)} - y_0)^2"),
    ),
}  # fmt: skip

RIGHT = [pytest.param(name, right, id=f"{topic}-{n}") for topic, rows in PAIRS.items() for n, (name, right, _) in enumerate(rows)]  # fmt: skip
WRONG = [pytest.param(name, wrong, id=f"{topic}-{n}") for topic, rows in PAIRS.items() for n, (name, _, wrong) in enumerate(rows)]  # fmt: skip


@pytest.mark.parametrize(("name", "line"), RIGHT)
def test_a_right_line_is_proved(name: str, line: str) -> None:
    report = check(name, line)
    (found,) = report.claims
    assert (found.verdict, found.message.startswith("both sides have one normal form")) == ("proved", True), found
    assert report.exit_status == 0
    assert found.counterexample is None and found.causes == () and found.fix is None


@pytest.mark.parametrize(("name", "line"), WRONG)
def test_a_wrong_line_is_refuted_with_numbers_or_in_words(name: str, line: str) -> None:
    report = check(name, line)
    (found,) = report.claims
    assert found.verdict == "refuted", found
    assert (report.exit_status, report.first_wrong_claim) == (1, 1)
    assert found.causes
    if found.counterexample is None:
        assert found.message != "the two sides differ"
    else:
        assert found.counterexample.left != found.counterexample.right


def claim(name: str, line: str) -> Equality | None:
    """A line as the prover and the samples see it; None where no reading gives it a form."""
    net = network(name)
    try:
        left, right = read_line(line, net.system, net.notation)
    except ValueError:
        return None
    return equality(net.system, total(left), total(right))


@pytest.mark.parametrize(("name", "line"), WRONG)
def test_the_prover_alone_proves_no_wrong_line(name: str, line: str) -> None:
    """The samples would catch it; they must not have to."""
    e = claim(name, line)
    if e is None:
        return
    try:
        proof = prove(network(name).system, e, equal=network(name).notation.width == "n")
    except Beyond:
        return
    assert proof is None


def test_without_a_proof_a_line_that_holds_everywhere_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling alone proves nothing, and says how much it has seen."""
    monkeypatch.setattr("symbackprop.judge.relation.prove", lambda *a, **k: None)
    for name, line in (("nielsen", r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j)"), ("scalar", r"\frac{\partial C}{\partial h_T} = 2(h_T - y_T)")):  # fmt: skip
        report = check(name, line)
        found = report.claims[0]
        assert (found.verdict, report.verdict, report.exit_status) == ("undecided", "undecided", 3)
        points = re.fullmatch(r"holds at all (\d+) points of \d sample networks; no proof found", found.message)
        assert points and int(points[1]) == found.samples > 0


@pytest.mark.parametrize(("name", "line"), WRONG)
def test_a_prover_that_proves_all_is_overruled_by_the_samples(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symbackprop.judge.relation.prove", lambda *a, **k: Proof())
    net = network(name)
    e = claim(name, line)
    if e is not None:
        assert judge(Setting(net.system, net.notation), e.left, e.right).verdict == "refuted"


# ---------------------------------------------------------------- what a line claims

SCOPES = (
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j)", "all sizes (one width n in all layers)"),
    ("wide", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j)", "all sizes"),
    ("nielsen", r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j", "all sizes, 1 <= l <= L"),
    ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)", "all sizes, 1 <= l <= L-1"),
    ("lessons", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}", "all sizes (one width n in all layers), 0 <= l <= L-1"),
    ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j), \quad l = L-1, \ldots, 2", "all sizes, 2 <= l <= L-1"),
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j, \quad 2 \le l < L", "all sizes, 2 <= l <= L-1"),
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j, \quad l = L", "all sizes, l = L"),
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j, \quad l = 2", "all sizes, l = 2"),
    ("nielsen", r"\frac{\partial C}{\partial b^{L-2}_j} = \delta^{L-2}_j", "all sizes, L >= 3"),
    ("scalar", r"\frac{\partial C}{\partial h_t} = 2(h_t - y_t) + v \frac{\partial C}{\partial h_{t+1}}", "all sizes, 1 <= t <= T-1"),
    ("scalar", r"\frac{\partial h_T}{\partial h_t} = v^{T-t}", "all sizes, 0 <= t <= T"),
    ("scalar", r"\sum_{s=t}^{T} (h_s - y_s) = \sum_{r=t}^{T} (h_r - y_r)", "all sizes, 1 <= t <= T"),
    ("4-3-2", r"\frac{\partial C_0}{\partial b_j^{(2)}} = \frac{\partial C_0}{\partial z_j^{(2)}}", "sizes 4, 3, 2"),
    ("4-3-2", r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = \frac{\partial C_0}{\partial z_j^{(l)}} a_k^{(l-1)}", "sizes 4, 3, 2, 1 <= l <= 2"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "line", "scope"), [s for s in SCOPES if "b_j^{(2)}" not in s[1]])
def test_a_line_is_claimed_where_all_that_it_names_exists(name: str, line: str, scope: str) -> None:
    found = only(name, line)
    assert (found.verdict, found.scope) == ("proved", scope)


def test_a_smaller_claim_does_not_prove_the_larger() -> None:
    """What holds in the last layer only is refuted for all layers, at a layer that is not the last."""
    for name, line in (
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(l)}} = 2(a_j^{(l)} - y_j)"),
        ("nielsen", r"\delta^l_j = (a^l_j - y_j) \sigma'(z^l_j)"),
    ):
        assert only(name, line + r", \quad l = L").verdict == "proved"
        found = only(name, line)
        assert found.verdict == "refuted" and found.counterexample is not None
        assert found.counterexample.indices["l"] < len(found.counterexample.sizes) - 1


FORMS = (
    ("lessons", r"\frac{\partial C_0}{\partial a_k^{(L)}} = \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(L+1)}} w_{jk}^{(L+1)}", "index_out_of_range", "L+1"),
    ("lessons", r"z_j^{(0)} = \sum_{k=0}^{n-1} w_{jk}^{(0)} a_k^{(0)}", "index_out_of_range", "layer 0 of z is out of range, expected 1 to L"),
    ("lessons", r"a_{-1}^{(L)} = g^{(L)}(z_{-1}^{(L)})", "index_out_of_range", "a"),
    ("nielsen", r"a^L_0 = \sigma(z^L_0)", "index_out_of_range", "a"),
    ("scalar", r"h_{T+1} = v h_T", "index_out_of_range", "T+1"),
    ("scalar", r"\sum_{s=1}^{T} h_{s+1} = \sum_{s=2}^{T+1} h_s", "index_out_of_range", "h"),
    ("4-3-2", r"\frac{\partial C_0}{\partial w_{jk}^{(3)}} = 0", "index_out_of_range", "layer 3 of w is out of range, expected 1 to 2"),
    ("4-3-2", r"\frac{\partial C_0}{\partial w_{52}^{(2)}} = 0", "index_out_of_range", "w"),
    ("nielsen", r"\delta^l = w^{l+1} \delta^{l+1}", "shape_mismatch", "a matrix (n_{l+1} x n_l) times a column (n_{l+1} x 1)"),
    ("nielsen", r"\delta^l = \delta^{l+1}", "shape_mismatch", "a column (n_l x 1) is said to equal a column (n_{l+1} x 1)"),
    ("vectors", r"\frac{\partial C}{\partial b^{(l)}} = \delta^{(l-1)}", "shape_mismatch", "a column (n_l x 1) is said to equal a column (n_{l-1} x 1)"),
    ("vectors", r"\frac{\partial C}{\partial W^{(l)}} = a^{(l-1)} (\delta^{(l)})^T", "shape_mismatch", "a matrix (n_l x n_{l-1}) is said to equal a matrix (n_{l-1} x n_l)"),
    ("vectors", r"C = a^{(L)}", "shape_mismatch", "a number is said to equal a column (n_L x 1)"),
    ("nielsen", r"\delta^l_j = \delta^l", "shape_mismatch", "the left side is a scalar, the right side an array"),
    ("wide", r"\sum_{k} w_{jk}^{(l)} a_k^{(l)} = \sum_{i} w_{ji}^{(l)} a_i^{(l)}", "wrong_index", "k runs over n_{l-1} nodes and stands where n_l are counted"),
    ("nielsen", r"\sum_k a^l_k b^{l+1}_k = \sum_k b^{l+1}_k a^l_k", "wrong_index", "k runs over n_l nodes and stands where n_{l+1} are counted"),
    ("attention", r"\sum_j P_{jj} = \sum_j P_{jj}", "wrong_index", "j runs over n_i nodes and stands where n_j are counted"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "line", "cause", "words"), FORMS)
def test_a_line_that_no_reading_makes_well_formed_is_refuted_in_its_own_words(
    name: str, line: str, cause: str, words: str
) -> None:
    found = only(name, line)
    assert found.verdict == "refuted"
    assert cause in found.causes or found.fixes, "a repair may say more than that the form is wrong"
    assert words in found.message


def test_where_all_widths_are_one_an_index_may_count_two_layers() -> None:
    """The lessons write a plain n: there the same line is well-formed, and its slips are found all the same."""
    right = r"\sum_{k=0}^{n-1} w_{jk}^{(l)} a_k^{(l)} = \sum_{i=0}^{n-1} w_{ji}^{(l)} a_i^{(l)}"
    assert only("lessons", right).verdict == "proved"
    wrong = r"\sum_{k=0}^{n-1} w_{jk}^{(l)} a_k^{(l)} = \sum_{i=0}^{n-1} w_{ij}^{(l)} a_i^{(l)}"
    assert only("lessons", wrong).verdict == "refuted"


def test_free_indices_that_differ_are_named() -> None:
    for name, line in (
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_i^{(L)} - y_i)"),
        ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_k"),
        ("softmax-cross-entropy", r"\frac{\partial C}{\partial z_k} = p_j - y_j"),
    ):
        found = only(name, line)
        assert found.verdict == "refuted" and found.causes[0] == "free_index_mismatch"
        assert found.counterexample is not None
        assert len(set(found.counterexample.indices.values())) == len(found.counterexample.indices)


# ---------------------------------------------------------------- facts


def test_a_declared_fact_is_listed_where_it_was_used_and_only_there() -> None:
    fact = r"\sum_k y_k = 1"
    with_it = only("softmax-cross-entropy", r"\frac{\partial C}{\partial z_k} = p_k - y_k")
    assert (with_it.verdict, with_it.facts) == ("proved", (fact,))
    assert fact in with_it.message
    for line in (r"\sum_k p_k = 1", r"\frac{\partial p_j}{\partial z_k} = p_j(\delta_{jk} - p_k)"):
        assert only("softmax-cross-entropy", line).facts == ()
    without = only("unsure", r"\frac{\partial C}{\partial z_k} = p_k - y_k")
    assert (without.verdict, without.facts) == ("refuted", ())
    assert only("unsure", r"\frac{\partial C}{\partial z_k} = p_k \sum_j y_j - y_k").facts == ()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("relu", r"\frac{\partial a_j^{(l)}}{\partial z_j^{(l)}} = \mathbb{1}[z_j^{(l)} %s 0]"),
        ("hinge", r"\frac{\partial q_j}{\partial p_j} = \mathbb{1}[p_j %s 0]"),
        ("hinge", r"\frac{\partial C}{\partial U_{jk}} = \sum_i 2(r_i - y_i) V_{ij} \mathbb{1}[p_j %s 0] x_k"),
    ],
)
def test_at_a_kink_a_slope_is_a_convention_and_the_verdict_says_what_it_assumes(name: str, line: str) -> None:
    """relu'(0) is taken as 0: with > the line holds as it stands, with >= but for the kink itself, with < not at all."""
    kink = "no quantity lies exactly on a kink"
    assert [(f.verdict, f.facts) for f in (only(name, line % sign) for sign in (">", r"\ge", "<", r"\le"))] == [
        ("proved", ()),
        ("proved", (kink,)),
        ("refuted", ()),
        ("refuted", ()),
    ]


# ---------------------------------------------------------------- lines that go on

CHAIN = {
    "lessons": (
        r"\frac{\partial C_0}{\partial z_j^{(L)}} &= \frac{\partial C_0}{\partial a_j^{(L)}} \frac{\partial a_j^{(L)}}{\partial z_j^{(L)}}",
        r"&= (a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)})",
        r"&= g'^{(L)}(z_j^{(L)}) a_j^{(L)} - y_j g'^{(L)}(z_j^{(L)})",
        r"&= 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)})",
    ),
    "nielsen": (
        r"\delta^L_j &= \frac{\partial C}{\partial a^L_j} \frac{\partial a^L_j}{\partial z^L_j}",
        r"&= 2(a^L_j - y_j) \sigma'(z^L_j)",
        r"&= (2a^L_j - 2y_j) \sigma'(z^L_j)",
        r"&= (a^L_j - y_j) \sigma'(z^L_j)",
    ),
}


@pytest.mark.parametrize("name", CHAIN)
def test_a_continued_line_is_compared_with_the_line_before_and_with_the_first_left_side(name: str) -> None:
    report = aligned(name, *CHAIN[name])
    assert [(c.verdict, c.chain, c.carried) for c in report.claims] == [
        ("proved", "proved", False),
        ("refuted", "refuted", False),  # the slip
        ("proved", "refuted", True),  # a right step from a wrong line
        ("refuted", "proved", False),  # right again, but it does not follow
    ]
    assert (report.verdict, report.first_wrong_claim, report.exit_status) == ("refuted", 2, 1)
    assert "does not follow from the line before" in report.claims[3].message
    assert [c.line for c in report.claims] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", CHAIN)
def test_a_chain_without_a_slip_is_proved_line_by_line(name: str) -> None:
    report = aligned(name, CHAIN[name][0], CHAIN[name][3])
    assert [(c.verdict, c.chain, c.carried) for c in report.claims] == [("proved", "proved", False)] * 2
    assert (report.verdict, report.first_wrong_claim) == ("proved", None)


@pytest.mark.parametrize("name", CHAIN)
def test_after_a_line_that_is_not_understood_the_next_is_open_and_those_below_are_judged(name: str) -> None:
    first, slip, carrying, right = CHAIN[name]
    report = aligned(name, first, r"&= \foo{3}", right, carrying, right)
    assert verdicts(report) == ["proved", "not_understood", "undecided", "refuted", "refuted"]
    assert report.claims[2].message == "goes on from a line that is not understood"
    assert report.claims[2].chain == "undecided"
    report = aligned(name, first, r"&= \foo{3}", right, right)
    assert verdicts(report) == ["proved", "not_understood", "undecided", "proved"]
    assert (report.verdict, report.exit_status, report.first_wrong_claim) == ("not_understood", 3, None)
    assert "line 2, column 4" in report.claims[1].message


@pytest.mark.parametrize(
    ("name", "line", "left", "right"),
    [
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2(a_j^{(L)} - y_j) = 2(y_j - a_j^{(L)}) = 2y_j - 2a_j^{(L)}", 1, -1),
        ("nielsen", r"\delta^l_j = \frac{\partial C}{\partial z^l_j} = -\frac{\partial C}{\partial b^l_j} = -\delta^l_j", 1, -1),
        ("softmax-cross-entropy", r"\sum_k y_k = 1 = \sum_k p_k + 1 = 2", 1, 2),
    ],
)  # fmt: skip
def test_a_wrong_step_within_one_row_is_where_the_numbers_are_from(name: str, line: str, left: int, right: int) -> None:
    found = only(name, line)
    assert found.verdict == found.chain == "refuted" and found.counterexample is not None
    a, b = Fraction(found.counterexample.left), Fraction(found.counterexample.right)
    assert a * right == b * left


def test_lines_of_their_own_do_not_go_on_from_each_other() -> None:
    report = check("nielsen", r"\delta^l_j = \frac{\partial C}{\partial z^l_j}", r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j)")  # fmt: skip
    assert verdicts(report) == ["proved", "proved"]


CARRIED = {
    "lessons": (
        r"\frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}} = a_k^{(L)}",
        r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L)}",
        r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = (a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L)}",
    ),
    "nielsen": (
        r"\frac{\partial C}{\partial a^L_j} = 2(a^L_j - y_j)",
        r"\delta^L_j = 2(a^L_j - y_j) \sigma'(z^L_j)",
        r"\delta^L_j = 2(a^L_j - y_j) \sigma(z^L_j)",
    ),
    "rnn": (
        r"\frac{\partial C}{\partial h_{tj}} = \sum_{i=1}^{I} \frac{\partial C}{\partial o_{ti}} V_{ij}",
        r"\frac{\partial C}{\partial a_{tj}} = \sum_{i=1}^{I} \frac{\partial C}{\partial o_{ti}} V_{ij} (1 - h_{tj}^2)",
        r"\frac{\partial C}{\partial a_{tj}} = \sum_{i=1}^{I} \frac{\partial C}{\partial o_{ti}} V_{ij} (1 - h_{tj})",
    ),
}


@pytest.mark.parametrize("name", CARRIED)
def test_a_slip_that_later_lines_only_carry_on_is_theirs_no_more(name: str) -> None:
    """A second slip on top of it is one."""
    report = check(name, *CARRIED[name])
    assert [(c.verdict, c.carried) for c in report.claims] == [
        ("refuted", False),
        ("refuted", True),
        ("refuted", False),
    ]
    assert report.first_wrong_claim == 1
    alone = check(name, CARRIED[name][1])
    assert (alone.claims[0].carried, alone.first_wrong_claim) == (False, 1)


# ---------------------------------------------------------------- proofs over layers and times

SUMS = (
    r"\frac{\partial C}{\partial h_t} = \sum_{s=t}^{T} 2 (h_s - y_s) v^{s-t}",
    r"\frac{\partial C}{\partial v} = \sum_{t=1}^{T} \sum_{s=t}^{T} 2 (h_s - y_s) v^{s-t} h_{t-1}",
    r"\frac{\partial C}{\partial v} = \sum_{t=1}^{T} \sum_{s=t}^{T} 2 (h_s - y_s) v^{s-t} h_{t}",
)

PRODUCTS = (
    r"\frac{\partial C_0}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)} \sigma'(z^{(m)})",
    r"\frac{\partial C_0}{\partial z^{(l)}} = \sigma'(z^{(l)}) \cdot 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)} \sigma'(z^{(m)})",
    r"\frac{\partial C_0}{\partial z^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)} \sigma'(z^{(m)})",
)


@pytest.mark.parametrize(("name", "lines"), [("scalar", SUMS), ("3b1b-chain", PRODUCTS)])
def test_a_proved_line_may_be_used_below_it(name: str, lines: tuple[str, str, str]) -> None:
    assert verdicts(check(name, *lines)) == ["proved", "proved", "refuted"]
    assert verdicts(check(name, lines[1])) != ["refuted"]


@pytest.mark.parametrize(
    ("name", "wrong", "next_"),
    [
        ("scalar", SUMS[0].replace("v^{s-t}", "v^{s-t+1}"), SUMS[1].replace("v^{s-t}", "v^{s-t+1}")),
        ("3b1b-chain", PRODUCTS[0].replace("w^{(m)}", "w^{(l)}"), PRODUCTS[1].replace("w^{(m)}", "w^{(l)}")),
    ],
)
def test_a_refuted_line_proves_nothing_below_it(name: str, wrong: str, next_: str) -> None:
    report = check(name, wrong, next_)
    assert verdicts(report) == ["refuted", "refuted"]
    assert report.claims[1].carried


INDUCTIONS = (
    ("scalar", r"\frac{\partial h_T}{\partial h_t} = v^{T-t}", "t", "T", "down"),
    ("scalar", SUMS[0], "t", "T", "down"),
    ("scalar", r"\frac{\partial h_t}{\partial v} = \sum_{s=1}^{t} v^{t-s} h_{s-1}", "t", "0", "up"),
    ("deep", r"\frac{\partial C}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)}", "l", "L", "down"),
    ("deep", r"\frac{\partial a^{(l)}}{\partial a^{(0)}} = \prod_{m=1}^{l} w^{(m)}", "l", "0", "up"),
    ("3b1b-chain", PRODUCTS[0], "l", "L", "down"),
)


@pytest.mark.parametrize(("name", "line", "letter", "base", "direction"), INDUCTIONS)
def test_an_induction_is_printed_with_its_base_and_its_step(
    name: str, line: str, letter: str, base: str, direction: str
) -> None:
    found = only(name, line)
    assert found.verdict == "proved"
    said, first, step = found.proof
    assert said == f"By induction over ${letter}$, from ${letter} = {base}$ {direction}."
    assert first.startswith(f"Base, ${letter} = {base}$: ")
    assert step.startswith("Step: assume ")
    assert f"{letter}{'+' if direction == 'down' else '-'}1" in step


def test_what_one_step_of_the_chain_rule_proves_needs_no_induction() -> None:
    for name, line in (
        ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)"),
        ("scalar", r"\frac{\partial C}{\partial h_t} = 2(h_t - y_t) + v \frac{\partial C}{\partial h_{t+1}}"),
    ):
        assert only(name, line).proof == ()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("scalar", r"\frac{\partial h_T}{\partial h_t} = v^{T-1}"),
        ("scalar", r"\frac{\partial h_T}{\partial h_t} = 0, \quad t < T"),
        ("scalar", r"\frac{\partial C}{\partial h_t} = \sum_{s=t}^{T} 2 (h_s - y_s)"),
        ("scalar", r"\frac{\partial C}{\partial h_t} = \sum_{s=t}^{T-1} 2 (h_s - y_s) v^{s-t}"),
        ("deep", r"\frac{\partial C}{\partial a^{(l)}} = 0"),
        ("deep", r"\frac{\partial C}{\partial a^{(l)}} = (a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)}"),
        ("deep", r"\frac{\partial a^{(l)}}{\partial a^{(0)}} = \prod_{m=1}^{l-1} w^{(m)}"),
        ("3b1b-chain", r"\frac{\partial C_0}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l+1}^{L} w^{(m)} \sigma(z^{(m)})"),
    ],
)  # fmt: skip
def test_a_false_closed_form_passes_neither_base_nor_step(name: str, line: str) -> None:
    assert only(name, line).verdict == "refuted"
    e = claim(name, line.partition(",")[0])
    assert e is not None
    try:
        assert prove(network(name).system, e) is None
    except Beyond:
        pass
