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
from contextlib import suppress
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
    "written out": (
        ("nielsen", r"\delta^{L-1}_j = \sum_k w^L_{kj} (a^L_k - y_k) \sigma'(z^L_k) \sigma'(z^{L-1}_j)", r"\delta^{L-1}_j = \sum_k w^L_{kj} (a^L_k - y_k) \sigma'(z^{L-1}_j)"),
        ("nielsen", r"\delta^{L-2}_j = \sum_k \sum_m w^{L-1}_{kj} w^{L}_{mk} \delta^L_m \sigma'(z^{L-1}_k) \sigma'(z^{L-2}_j)", r"\delta^{L-2}_j = \sum_k \sum_m w^{L-1}_{kj} w^{L}_{km} \delta^L_m \sigma'(z^{L-1}_k) \sigma'(z^{L-2}_j)"),
        ("nielsen", r"\frac{\partial z^{l+2}_k}{\partial z^l_j} = \sum_i w^{l+2}_{ki} \sigma'(z^{l+1}_i) w^{l+1}_{ij} \sigma'(z^l_j)", r"\frac{\partial z^{l+2}_k}{\partial z^l_j} = \sum_i w^{l+2}_{ki} w^{l+1}_{ij} \sigma'(z^l_j)"),
        ("nielsen", r"\frac{\partial C}{\partial w^1_{jk}} = \delta^1_j x_k", r"\frac{\partial C}{\partial w^1_{jk}} = \delta^1_j a^1_k"),
        ("nielsen", r"\frac{\partial C}{\partial x_k} = \sum_j w^1_{jk} \delta^1_j", r"\frac{\partial C}{\partial x_k} = \sum_j w^1_{kj} \delta^1_j"),
        ("rnn", r"\frac{\partial h_{t+1,j}}{\partial h_{tm}} = (1 - h_{t+1,j}^2) W_{jm}", r"\frac{\partial h_{t+1,j}}{\partial h_{tm}} = (1 - h_{tj}^2) W_{jm}"),
        ("lessons", r"a_j^{(L)} = g^{(L)}\left(\sum_{k=0}^{n-1} w_{jk}^{(L)} g^{(L-1)}(z_k^{(L-1)})\right)", r"a_j^{(L)} = g^{(L)}\left(\sum_{k=0}^{n-1} w_{jk}^{(L)} g^{(L)}(z_k^{(L-1)})\right)"),
    ),
    "deltas": (
        ("nielsen", r"\frac{\partial a^l_j}{\partial a^l_k} = \delta_{jk}", r"\frac{\partial a^l_j}{\partial a^l_k} = 1"),
        ("nielsen", r"\frac{\partial b^l_j}{\partial b^m_k} = \delta_{jk} \delta_{lm}", r"\frac{\partial b^l_j}{\partial b^m_k} = \delta_{jk}"),
        ("nielsen", r"\frac{\partial z^l_j}{\partial b^m_j} = 0, \quad m > l", r"\frac{\partial z^l_j}{\partial b^m_j} = 0, \quad m \ne l"),
        ("nielsen", r"\frac{\partial z^l_j}{\partial b^l_k} = 0, \quad j < k", r"\frac{\partial z^l_j}{\partial b^l_k} = 0, \quad j \le k"),
        ("softmax-cross-entropy", r"\frac{\partial p_j}{\partial z_k} = p_j(\delta_{jk} - p_k)", r"\frac{\partial p_j}{\partial z_k} = p_j(1 - p_k)"),
    ),
    "sums and powers": (
        ("lessons", r"(\sum_{j=0}^{n-1} y_j)^2 = \sum_{i=0}^{n-1} \sum_{j=0}^{n-1} y_i y_j", r"(\sum_{j=0}^{n-1} y_j)^2 = \sum_{j=0}^{n-1} y_j^2"),
        ("lessons", r"\sqrt{y_j}^2 = y_j", r"\sqrt{y_j}^2 = y_j^2"),
        ("lessons", r"\log (e^{y_j}) = y_j", r"\log (e^{y_j}) = e^{y_j}"),
        ("lessons", r"|y_j|^2 = y_j^2", r"|y_j| = y_j"),
    ),
    "upstream and downstream": (
        ("lessons", r"\frac{\partial C_0}{\partial y_j} = -2(a_j^{(L)} - y_j)", r"\frac{\partial C_0}{\partial y_j} = 0"),
        ("lessons", r"\frac{\partial a_j^{(l)}}{\partial a_k^{(l+1)}} = 0", r"\frac{\partial a_j^{(l)}}{\partial a_k^{(l-1)}} = 0"),
        ("nielsen", r"\frac{\partial b^l_j}{\partial a^l_k} = 0", r"\frac{\partial z^l_j}{\partial a^{l-1}_k} = 0"),
        ("mlp", r"\frac{\partial a_{ij}^{(l)}}{\partial a_{hj}^{(l-1)}} = 0, \quad h \ne i", r"\frac{\partial a_{ij}^{(l)}}{\partial a_{hj}^{(l-1)}} = 0"),
    ),
    "samples": (
        ("mlp", r"\frac{\partial C}{\partial w_{jk}^{(l)}} = \sum_i \frac{\partial C}{\partial z_{ij}^{(l)}} a_{ik}^{(l-1)}", r"\frac{\partial C}{\partial w_{jk}^{(l)}} = \frac{1}{N} \sum_i \frac{\partial C}{\partial z_{ij}^{(l)}} a_{ik}^{(l-1)}"),
        ("mlp", r"\frac{\partial C}{\partial b_j^{(l)}} = \sum_i \frac{\partial C}{\partial z_{ij}^{(l)}}", r"\frac{\partial C}{\partial b_j^{(l)}} = \frac{\partial C}{\partial z_{ij}^{(l)}}"),
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

OPEN = {("bounds of sums", 1), ("bounds of sums", 3)}
"""Right, and left undecided: a sum of symbolic length of which the first term is written out."""


def cases(side: int) -> list[Any]:
    """The right lines (side 1) or the wrong ones (side 2)."""
    waits = pytest.mark.xfail(strict=True, reason="no proof is found yet")
    return [
        pytest.param(row[0], row[side], id=f"{topic}-{n}", marks=[waits] if side == 1 and (topic, n) in OPEN else [])
        for topic, rows in PAIRS.items()
        for n, row in enumerate(rows)
    ]


RIGHT, WRONG = cases(1), cases(2)


@pytest.mark.parametrize("line", [PAIRS[topic][n][:2] for topic, n in sorted(OPEN)], ids=range(len(OPEN)))
def test_a_right_line_without_a_proof_is_undecided(line: tuple[str, str]) -> None:
    assert only(*line).verdict in ("undecided", "proved")


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
def test_with_samples_that_see_nothing_no_wrong_line_is_proved(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples would catch it; they must not have to."""
    monkeypatch.setattr(sampling.Samples, "compare", lambda *a, **k: sampling.Comparison(1))
    assert only(name, line).verdict != "proved"


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
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j, \quad l = 2", "all sizes, l = 2, L >= 2"),
    ("nielsen", r"\frac{\partial C}{\partial b^{L-2}_j} = \delta^{L-2}_j", "all sizes, L >= 3"),
    ("scalar", r"\frac{\partial C}{\partial h_t} = 2(h_t - y_t) + v \frac{\partial C}{\partial h_{t+1}}", "all sizes, 1 <= t <= T-1"),
    ("scalar", r"\frac{\partial h_T}{\partial h_t} = v^{T-t}", "all sizes, 0 <= t <= T"),
    ("scalar", r"\sum_{s=t}^{T} (h_s - y_s) = \sum_{r=t}^{T} (h_r - y_r)", "all sizes, 1 <= t"),
    ("4-3-2", r"\frac{\partial C_0}{\partial a_j^{(2)}} = 2 (a_j^{(2)} - y_j)", "sizes 4, 3, 2"),
    ("4-3-2", r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = \frac{\partial C_0}{\partial z_j^{(l)}} a_k^{(l-1)}", "sizes 4, 3, 2, 1 <= l <= 2"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "line", "scope"), SCOPES)
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
        nodes = [v for n, v in found.counterexample.indices.items() if n != "l"]
        assert len(nodes) == 2 and len(set(nodes)) == 2


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
    first, _, carrying, right = CHAIN[name]
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


def test_what_a_line_is_said_for_holds_for_those_that_go_on_from_it() -> None:
    first = r"\delta^l_j &= \frac{\partial C}{\partial a^l_j} \sigma'(z^l_j)"
    last = r"&= (a^l_j - y_j) \sigma'(z^l_j)"
    assert verdicts(aligned("nielsen", first + r", \quad l = L", last)) == ["proved", "proved"]
    assert verdicts(aligned("nielsen", first, last + r", \quad l = L")) == ["proved", "proved"]
    assert verdicts(aligned("nielsen", first, last)) == ["proved", "refuted"]
    assert verdicts(aligned("nielsen", first + r", \quad l = 1", last)) == ["proved", "refuted"]
    first = r"\frac{\partial z_j^{(l)}}{\partial w_{ik}^{(l)}} &= \delta_{ij} a_k^{(l-1)}"
    assert verdicts(aligned("lessons", first, r"&= 0, \quad i \ne j")) == ["proved", "proved"]
    assert verdicts(aligned("lessons", first, "&= 0")) == ["proved", "refuted"]


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


TRAPS = (
    ("scalar", r"\frac{\partial C}{\partial h_t} = 2(h_t - y_t), \quad t = T", r"2\frac{\partial C}{\partial h_t} = 4(h_t - y_t)"),
    ("scalar", r"\frac{\partial C}{\partial h_T} = 2(h_T - y_T)", r"2\frac{\partial C}{\partial h_t} = 4(h_t - y_t)"),
    ("scalar", r"\frac{\partial h_t}{\partial x_s} = 0, \quad s > t", r"2\frac{\partial h_t}{\partial x_s} = 0"),
    ("scalar", r"\frac{\partial h_{t+1}}{\partial x_t} = v", r"\frac{\partial C}{\partial x_t} = v \frac{\partial C}{\partial h_{t+1}}"),
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(l)}} = 2(a_j^{(l)} - y_j), \quad l = L", r"\frac{\partial C_0}{\partial z_j^{(l)}} = 2(a_j^{(l)} - y_j) g'^{(l)}(z_j^{(l)})"),
    ("lessons", r"\frac{\partial z_j^{(l+1)}}{\partial a_k^{(l)}} = w_{jk}^{(l+1)}", r"\frac{\partial C_0}{\partial a_k^{(l)}} = \frac{\partial C_0}{\partial z_j^{(l+1)}} w_{jk}^{(l+1)}"),
    ("nielsen", r"\frac{\partial z^{l+1}_k}{\partial a^l_j} = w^{l+1}_{kj}", r"\frac{\partial C}{\partial a^l_j} = \delta^{l+1}_k w^{l+1}_{kj}"),
    ("nielsen", r"\frac{\partial C}{\partial w^2_{31}} = \delta^2_3 a^1_1", r"2\frac{\partial C}{\partial w^2_{jk}} = 2\delta^2_3 a^1_1"),
    ("nielsen", r"\frac{\partial C}{\partial w^l_{jj}} = a^{l-1}_j \delta^l_j", r"2\frac{\partial C}{\partial w^l_{jk}} = 2a^{l-1}_k \delta^l_k"),
    ("nielsen", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j, \quad j = 1", r"2\frac{\partial C}{\partial b^l_j} = 2\delta^l_1"),
    ("softmax-cross-entropy", r"\frac{\partial p_j}{\partial z_k} = -p_j p_k, \quad j \ne k", r"\frac{\partial C}{\partial z_k} = \sum_j y_j p_k"),
    ("softmax-cross-entropy", r"\frac{\partial p_k}{\partial z_k} = p_k (1 - p_k)", r"\frac{\partial C}{\partial z_k} = \frac{\partial C}{\partial p_k} p_k (1 - p_k)"),
    ("hinge", r"\frac{\partial q_j}{\partial p_j} = 1, \quad p_j > 0", r"\frac{\partial C}{\partial p_j} = \sum_i 2(r_i - y_i) V_{ij}"),
    ("attention", r"\frac{\partial P_{ij}}{\partial S_{ij}} = P_{ij} (1 - P_{ij})", r"2\frac{\partial O_{iv}}{\partial S_{ij}} = 2\frac{\partial O_{iv}}{\partial P_{ij}} P_{ij} (1 - P_{ij})"),
    ("deep", r"\frac{\partial C}{\partial a^{(l)}} = 2(a^{(L)} - y), \quad l = L", r"2\frac{\partial C}{\partial a^{(l)}} = 4(a^{(L)} - y)"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "lemma", "line"), TRAPS, ids=range(len(TRAPS)))
def test_with_samples_that_see_nothing_no_lemma_proves_more_than_it_says(
    name: str, lemma: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One layer, one entry, one diagonal or one path of many: what a proof takes from a line above must be that line."""
    assert verdicts(check(name, lemma, line)) == ["proved", "refuted"]
    monkeypatch.setattr(sampling.Samples, "compare", lambda *a, **k: sampling.Comparison(1))
    assert verdicts(check(name, lemma, line)) == ["proved", "undecided"]


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
    with suppress(Beyond):
        assert prove(network(name).system, e) is None


# ---------------------------------------------------------------- the goal

GOAL = r"\frac{\partial C_0}{\partial w_{jk}^{(L)}}"
ANSWER = r"2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_k^{(L-1)}"
RULE = (
    r"\frac{\partial C_0}{\partial a_j^{(L)}} \frac{\partial a_j^{(L)}}{\partial z_j^{(L)}}"
    r" \frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}}"
)

ANSWERED = (
    ("lessons", "w_jk^L", f"{GOAL} = {ANSWER}"),
    ("lessons", "w_jk^L", f"C_0 = C_0\n\n{GOAL} = {ANSWER}"),
    ("lessons", "w_jk^L", f"{GOAL} &= {RULE} \\\\\n&= {ANSWER}"),
    ("lessons", "w_jk^L", f"{GOAL} &= {ANSWER} \\\\\n&= {RULE}"),
    ("lessons", "w_jk^L", f"{GOAL} = {RULE} = {ANSWER}"),
    ("lessons", "w_jk^L", GOAL.replace("jk", "pq") + r" = 2(a_p^{(L)} - y_p) g'^{(L)}(z_p^{(L)}) a_q^{(L-1)}"),
    ("lessons", "w_jk^L", r"e_j := 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)})" + f"\n\n{GOAL} = e_j a_k^{{(L-1)}}"),
    ("lessons", "w_12^L", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_1) g'^{(L)}(z_1^{(L)}) a_2^{(L-1)}"),
    ("nielsen", "w_jk^l", r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j"),
    ("nielsen", "w_jk^l", r"\frac{\partial C}{\partial w^l} = \delta^l (a^{l-1})^T"),
    ("nielsen", "dC/db_j^l", r"\frac{\partial C}{\partial b^l_j} = \delta^l_j"),
    ("nielsen", "dC/dz_j^L", r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j)"),
    ("nielsen", "dC/dz_j^L", r"\delta^L = (a^L - y) \odot \sigma'(z^L)"),
    ("nielsen", "dC/dz_j^l", r"\delta^l_j = \sum_k w^{l+1}_{kj} \delta^{l+1}_k \sigma'(z^l_j)"),
    ("softmax-cross-entropy", "z_k", r"\frac{\partial C}{\partial z_i} = p_i - y_i"),
    ("scalar", "h_t", SUMS[0]),
)  # fmt: skip

UNANSWERED = (
    ("lessons", "w_jk^L", "C_0 = C_0"),
    ("lessons", "w_jk^L", f"{GOAL} = {GOAL}"),
    ("lessons", "w_jk^L", f"{GOAL} = {RULE}"),
    ("lessons", "w_jk^L", f"{ANSWER} = {GOAL}"),
    ("lessons", "w_jk^L", f"{GOAL} - {ANSWER} = 0"),
    ("lessons", "w_jk^L", f"{GOAL} = {ANSWER} + 0 \\cdot {GOAL}"),
    ("lessons", "w_jk^L", f"{GOAL} = {ANSWER} = {RULE}"),
    ("lessons", "w_jk^L", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_1) g'^{(L)}(z_1^{(L)}) a_2^{(L-1)}"),
    ("lessons", "w_jk^L", r"\frac{\partial C_0}{\partial w_{jj}^{(L)}} = 2(a_j^{(L)} - y_j) g'^{(L)}(z_j^{(L)}) a_j^{(L-1)}"),
    ("lessons", "w_jk^L", f"{GOAL} = {ANSWER}, \\quad j = 1"),
    ("lessons", "w_jk^L", f"{GOAL} = {ANSWER}, \\quad j \\ne k"),
    ("lessons", "w_jk^L", f"{GOAL} = {ANSWER}, \\quad z_j^{{(L)}} > 0"),
    ("lessons", "w_jk^L", f"D_{{jk}} := {GOAL}\n\n{GOAL} = D_{{jk}}"),
    ("lessons", "w_jk^L", f"D_{{jk}} := {GOAL}\n\n{GOAL} = 1 \\cdot D_{{jk}}"),
    ("lessons", "w_jk^L", r"D_j := \frac{\partial C_0}{\partial z_j^{(L)}}" + f"\n\n{GOAL} = D_j a_k^{{(L-1)}}"),
    ("lessons", "w_jk^l", f"{GOAL} = {ANSWER}"),
    ("lessons", "w_jk^l", GOAL.replace("(L)", "(l)") + r" = \frac{\partial C_0}{\partial z_j^{(l)}} a_k^{(l-1)}"),
    ("lessons", "w_jk^l", GOAL.replace("(L)", "(l)") + f" = {ANSWER}, \\quad l = L"),
    ("lessons", "w_12^L", f"{GOAL} = {ANSWER}"),
    ("nielsen", "dC/dz_j^l", r"\delta^l_j = \frac{\partial C}{\partial z^l_j}"),
    ("nielsen", "dC/dz_j^l", r"\frac{\partial C}{\partial z^l_j} = \delta^l_j"),
    ("nielsen", "dC/dz_j^l", r"\delta^l_j = 1 \cdot \delta^l_j"),
    ("nielsen", "dC/dz_j^l", r"\delta^l_j = 2 \delta^l_j - \delta^l_j"),
    ("nielsen", "dC/dz_j^l", r"\delta^l_j = \frac{\partial C}{\partial b^l_j}"),
    ("nielsen", "dC/dz_j^l", r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j)"),
    ("nielsen", "dC/dz_j^l", r"\delta^L = (a^L - y) \odot \sigma'(z^L)"),
    ("scalar", "h_t", r"\frac{\partial C}{\partial h_t} = 2 (h_t - y_t) + v \frac{\partial C}{\partial h_{t+1}}"),
    ("scalar", "h_t", r"\frac{\partial C}{\partial h_T} = 2 (h_T - y_T)"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "goal", "text"), ANSWERED)
def test_a_goal_is_answered_by_a_proved_line_that_has_it_on_its_left(name: str, goal: str, text: str) -> None:
    report = network(name).check(text, goal=goal, explain=False)
    assert (report.verdict, report.answered, report.exit_status) == ("proved", True, 0)
    assert sum(c.answers for c in report.claims) == 1
    assert network(name).check(text, explain=False).answered is None


@pytest.mark.parametrize(("name", "goal", "text"), UNANSWERED)
def test_what_is_true_but_no_answer_leaves_the_goal_open(name: str, goal: str, text: str) -> None:
    """A restatement, a chain rule not worked out, one entry or one layer of many."""
    report = network(name).check(text, goal=goal, explain=False)
    assert (report.verdict, report.answered, report.exit_status) == ("proved", False, 3)


@pytest.mark.parametrize(
    ("name", "goal", "text", "verdict"),
    [
        ("lessons", "w_jk^L", "", "undecided"),
        ("lessons", "w_jk^L", f"{GOAL} = -{ANSWER}", "refuted"),
        ("lessons", "w_jk^L", f"{GOAL} &= -{ANSWER} \\\\\n&= {ANSWER}", "refuted"),
        ("lessons", "w_jk^L", f"{GOAL} &= -{ANSWER} \\\\\n&= -{ANSWER}", "refuted"),
        ("lessons", "w_jk^L", f"{GOAL} &= \\foo \\\\\n&= {ANSWER} \\\\\n&= {ANSWER}", "not_understood"),
        ("lessons", "w_jk^L", f"{GOAL} = e_j a_k^{{(L-1)}}", "not_understood"),
        ("nielsen", "w_jk^l", r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_k", "refuted"),
    ],
)
def test_what_is_not_proved_answers_nothing(name: str, goal: str, text: str, verdict: str) -> None:
    report = network(name).check(text, goal=goal, explain=False)
    assert (report.verdict, report.answered) == (verdict, False)


def test_an_answer_counts_beside_lines_that_are_wrong_or_not_understood() -> None:
    report = check("lessons", r"\foo = 1", f"{GOAL} = {ANSWER}", goal="w_jk^L")
    assert (report.verdict, report.answered, report.exit_status) == ("not_understood", True, 3)
    report = check("lessons", f"{GOAL} = -{ANSWER}", f"{GOAL} = {ANSWER}", goal="w_jk^L")
    assert (report.verdict, report.answered, report.exit_status) == ("refuted", True, 1)


# ---------------------------------------------------------------- names of the author's own


def test_a_marked_definition_is_read_as_what_it_stands_for() -> None:
    report = check(
        "lessons",
        r"e_j := a_j^{(L)} - y_j",
        r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2 e_j",
        r"\frac{\partial C_0}{\partial a_j^{(L)}} = e_j",
        r"C_0 = \sum_{i=0}^{n-1} e_i^2",
        r"\frac{\partial e_j}{\partial a_j^{(L)}} = 1",
        r"\frac{\partial e_j}{\partial a_k^{(L)}} = 1",
        r"e_j = y_j - a_j^{(L)}",
    )
    assert verdicts(report) == ["definition", "proved", "refuted", "proved", "proved", "refuted", "refuted"]
    assert report.first_wrong_claim == 3


def test_an_own_name_may_have_a_layer() -> None:
    report = check(
        "nielsen",
        r"s^l_j := \sum_k w^l_{jk} a^{l-1}_k",
        r"z^l_j = s^l_j + b^l_j",
        r"z^l_j = s^{l-1}_j + b^l_j",
        r"\frac{\partial C}{\partial w^l_{jk}} = \delta^l_j \frac{\partial s^l_j}{\partial w^l_{jk}}",
        r"\frac{\partial s^l_j}{\partial w^l_{jk}} = a^l_k",
        r"s^l_k = \sum_j w^l_{kj} a^{l-1}_j",
        r"s^l_k = \sum_j w^l_{jk} a^{l-1}_j",
    )
    assert verdicts(report) == ["definition", "proved", "refuted", "proved", "refuted", "proved", "refuted"]


@pytest.mark.parametrize(
    "text",
    [
        r"$q_j := a^L_j - y_j$ gives $\delta^L_j = q_j \sigma'(z^L_j)$ and $\delta^L_j = 2 q_j \sigma'(z^L_j)$.",
        r"$q_j \equiv a^L_j - y_j$, so $\delta^L_j = q_j \sigma'(z^L_j)$ and $\delta^L_j = 2 q_j \sigma'(z^L_j)$.",
        r"Let $q_j = a^L_j - y_j$. Then $\delta^L_j = q_j \sigma'(z^L_j)$ and $\delta^L_j = 2 q_j \sigma'(z^L_j)$.",
    ],
)
def test_every_way_of_marking_a_definition_is_understood(text: str) -> None:
    assert verdicts(network("nielsen").check(text, explain=False)) == ["definition", "proved", "refuted"]


def test_where_comes_after_what_it_explains() -> None:
    text = r"$\delta^L_j = q_j \sigma'(z^L_j)$ and $\delta^L_j = 2 q_j \sigma'(z^L_j)$, where $q_j = a^L_j - y_j$."
    assert verdicts(network("nielsen").check(text, explain=False)) == ["proved", "refuted", "definition"]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("lessons", r"z_j^{(l)} := \sum_{k=0}^{n-1} w_{jk}^{(l)} a_k^{(l-1)}", r"z_j^{(l)} := \sum_{k=0}^{n-1} w_{kj}^{(l)} a_k^{(l-1)}"),
        ("nielsen", r"\delta^l_j \equiv \frac{\partial C}{\partial z^l_j}", r"\delta^l_j \equiv \frac{\partial C}{\partial a^l_j}"),
        ("nielsen", r"C := \frac{1}{2} \sum_j (a^L_j - y_j)^2", r"C := \sum_j (a^L_j - y_j)^2"),
        ("scalar", r"h_t := v h_{t-1} + x_t", r"h_t := v h_{t-1}"),
    ],
)  # fmt: skip
def test_a_family_of_the_model_is_never_defined_anew(name: str, right: str, wrong: str) -> None:
    assert only(name, right).verdict == "proved"
    assert only(name, wrong).verdict == "refuted"


def test_an_unmarked_new_name_is_not_understood() -> None:
    report = check("lessons", r"e_j = a_j^{(L)} - y_j", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2 e_j")
    assert verdicts(report) == ["not_understood", "not_understood"]
    assert "e_j is no symbol of this network" in report.claims[0].message


def test_by_an_own_name_nothing_is_differentiated() -> None:
    """What would be held is not said."""
    report = check("lessons", r"e_j := a_j^{(L)} - y_j", r"\frac{\partial C_0}{\partial e_j} = 2 e_j")
    assert verdicts(report) == ["definition", "not_understood"]
    assert "a name of your own" in report.claims[1].message
    assert report.exit_status == 3


def test_definitions_alone_claim_nothing() -> None:
    report = check("nielsen", r"q_j := a^L_j - y_j")
    assert (verdicts(report), report.verdict, report.exit_status) == (["definition"], "undecided", 3)


@pytest.mark.parametrize(
    ("name", "let", "right", "wrong"),
    [
        ("lessons", ["E=C_0"], r"\frac{\partial E}{\partial a_j^{(L)}} = 2 (a_j^{(L)} - y_j)", r"\frac{\partial E}{\partial a_j^{(L)}} = 2 (a_j^{(L)} + y_j)"),
        ("lessons", ["E=C_0", r"\sigma=g"], r"\frac{\partial E}{\partial z_j^{(L)}} = 2 (a_j^{(L)} - y_j) \sigma'^{(L)}(z_j^{(L)})", r"\frac{\partial E}{\partial z_j^{(L)}} = 2 (a_j^{(L)} - y_j) \sigma^{(L)}(z_j^{(L)})"),
        ("nielsen", ["o=a", r"f=\sigma"], r"\delta^L_j = (o^L_j - y_j) f'(z^L_j)", r"\delta^L_j = (o^L_j - y_j) f(z^L_j)"),
    ],
)  # fmt: skip
def test_a_renamed_symbol_is_read_as_the_models(name: str, let: list[str], right: str, wrong: str) -> None:
    report = check(name, right, wrong, let=let)
    assert verdicts(report) == ["proved", "refuted"]
    assert [f"{new}={old}" for new, old in report.taken] == let
    assert check(name, right).verdict == "not_understood"


# ---------------------------------------------------------------- numbers that anyone can recompute


@dataclass(frozen=True)
class Dual:
    """A number and its slope: all that a reader needs to differentiate a small network by hand."""

    value: Fraction
    slope: Fraction = Fraction(0)

    def __add__(self, o: Dual) -> Dual:
        return Dual(self.value + o.value, self.slope + o.slope)

    def __sub__(self, o: Dual) -> Dual:
        return Dual(self.value - o.value, self.slope - o.slope)

    def __mul__(self, o: Dual) -> Dual:
        return Dual(self.value * o.value, self.slope * o.value + self.value * o.slope)


def polynomial(formula: str, z: Dual) -> Dual:
    """A printed function, -1 + 2z + (1/2)z^2, at z."""
    out = Dual(Fraction(0))
    for sign, number, power, degree in re.findall(r"([+-]?)\(?([\d/]*)\)?(z?)\^?(\d*)", formula.replace(" ", "")):
        if number or power:
            term = Dual(Fraction(number or 1) * (-1 if sign == "-" else 1))
            for _ in range(int(degree or 1) if power else 0):
                term = term * z
            out = out + term
    return out


def test_a_printed_function_is_evaluated_as_it_reads() -> None:
    z = Dual(Fraction(3), Fraction(1))
    assert polynomial("-1 + 2z + (1/2)z^2", z) == Dual(Fraction(19, 2), Fraction(5))
    assert polynomial("2z - z^2 + z^3", z) == Dual(Fraction(24), Fraction(23))
    assert polynomial("1/2", z) == Dual(Fraction(1, 2))


@dataclass(frozen=True)
class ByHand:
    """A dense network from the inputs that a counterexample prints; an entry that nothing used is 0."""

    depth: int
    inputs: dict[str, Any]
    half: bool

    def number(self, name: str, *at: int) -> Fraction:
        x = self.inputs.get(name)
        for i in at:
            x = x[i] if x is not None else None
        return Fraction(x) if x is not None else Fraction(0)

    def run(self, widths: tuple[int, ...], by: tuple[str, int, int, int]) -> tuple[Dual, list[list[Dual]]]:
        """The cost and its slope when w_jk^(l) or a_j^(l) is moved and all upstream is held; the activations."""
        family, layer, j, k = by
        a = [[Dual(self.number("x", i)) for i in range(widths[0])]]
        for n in range(1, self.depth + 1):
            g = self.inputs.get("g(z)") or self.inputs[f"g^{{({n})}}(z)"]
            row = []
            for p in range(widths[n]):
                z = Dual(self.number(f"b^{{({n})}}", p))
                for q in range(widths[n - 1]):
                    moved = Fraction(int((family, layer, j, k) == ("w", n, p, q)))
                    z = z + Dual(self.number(f"w^{{({n})}}", p, q), moved) * a[-1][q]
                value = polynomial(g, z)
                row.append(value + Dual(Fraction(0), Fraction(int((family, layer, j) == ("a", n, p)))))
            a.append(row)
        cost = Dual(Fraction(0))
        for p in range(widths[-1]):
            e = a[-1][p] - Dual(self.number("y", p))
            cost = cost + (Dual(Fraction(1, 2)) * e * e if self.half else e * e)
        return cost, a


@pytest.mark.parametrize(
    ("name", "line", "first"),
    [
        ("lessons", r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = \frac{\partial C_0}{\partial a_j^{(l)}} a_k^{(l-1)}", 0),
        ("wide", r"\frac{\partial C_0}{\partial w_{jk}^{(l)}} = \frac{\partial C_0}{\partial a_j^{(l)}} a_k^{(l-1)}", 0),
        ("nielsen", r"\frac{\partial C}{\partial w^l_{jk}} = \frac{\partial C}{\partial a^l_j} a^{l-1}_k", 1),
    ],
)  # fmt: skip
def test_a_counterexample_of_a_dense_network_recomputes(name: str, line: str, first: int) -> None:
    shown = only(name, line).counterexample
    assert shown is not None and shown.size_names == ()
    layer, j, k = shown.indices["l"], shown.indices["j"] - first, shown.indices["k"] - first
    assert 1 <= layer < len(shown.sizes) and 0 <= j < shown.sizes[layer] and 0 <= k < shown.sizes[layer - 1]
    net = ByHand(len(shown.sizes) - 1, dict(shown.inputs), name == "nielsen")
    cost, a = net.run(shown.sizes, ("w", layer, j, k))
    assert cost.slope == Fraction(shown.left)
    cost, a = net.run(shown.sizes, ("a", layer, j, -1))
    assert cost.slope * a[layer - 1][k].value == Fraction(shown.right)
    other = ByHand(net.depth, {**net.inputs, "y": [str(Fraction(v or 0) + 1) for v in net.inputs["y"]]}, net.half)
    assert other.run(shown.sizes, ("a", layer, j, -1))[0].slope != cost.slope, "any numbers would do"


def test_a_counterexample_of_a_recursion_recomputes() -> None:
    shown = only("scalar", r"\frac{\partial C}{\partial h_t} = 2 (h_t - y_t)").counterexample
    assert shown is not None and shown.size_names == ("T",)
    (last,), t = shown.sizes, shown.indices["t"]
    assert 1 <= t <= last
    v, h, h_t, slope, left = Fraction(shown.inputs["v"]), Fraction(shown.inputs["h_0"]), Fraction(0), Fraction(0), Fraction(0)  # fmt: skip
    for s in range(1, last + 1):
        h, slope = v * h + Fraction(shown.inputs.get(f"x^{{({s})}}", 0)), v * slope
        if s == t:
            h_t, slope = h, Fraction(1)
        left += 2 * (h - Fraction(shown.inputs.get(f"y^{{({s})}}", 0))) * slope
    assert left == Fraction(shown.left)
    assert 2 * (h_t - Fraction(shown.inputs[f"y^{{({t})}}"])) == Fraction(shown.right)


def test_a_counterexample_with_exponentials_recomputes() -> None:
    shown = only("powers", r"\frac{\partial C}{\partial u_k} = 2(s-y) x_k + 2 c u_k").counterexample
    assert shown is not None and len(shown.inputs["u"]) == shown.sizes[0]
    u, x = ([float(Fraction(v)) for v in shown.inputs[name]] for name in ("u", "x"))
    y, c = (float(Fraction(shown.inputs[name])) for name in ("y", "c"))
    k = shown.indices["k"] - 1
    s = sum(exp(p) * q for p, q in zip(u, x, strict=True))
    assert isclose(2 * (s - y) * exp(u[k]) * x[k] + 2 * c * u[k], float(Fraction(shown.left)), rel_tol=1e-12)
    assert isclose(2 * (s - y) * x[k] + 2 * c * u[k], float(Fraction(shown.right)), rel_tol=1e-12)


def test_a_counterexample_with_softmax_recomputes_and_keeps_the_declared_fact() -> None:
    shown = only("softmax-cross-entropy", r"\frac{\partial C}{\partial z_k} = y_k - p_k").counterexample
    assert shown is not None and shown.size_names == ("K",)
    y, z = ([float(Fraction(v)) for v in shown.inputs[name]] for name in ("y", "z"))
    assert isclose(sum(y), 1, rel_tol=1e-12) and len(z) == shown.sizes[0]
    k = shown.indices["k"] - 1
    p = exp(z[k]) / sum(map(exp, z))
    assert isclose(p - y[k], float(Fraction(shown.left)), rel_tol=1e-9)
    assert isclose(y[k] - p, float(Fraction(shown.right)), rel_tol=1e-9)


SHORT = (
    ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = a_j^{(L)} - y_j"),
    ("lessons", r"\frac{\partial C_0}{\partial z_j^{(L)}} = 2 (a_j^{(L)} - y_j)"),
    ("lessons", r"\frac{\partial z_j^{(l)}}{\partial w_{ik}^{(l)}} = 0"),
    ("nielsen", r"\delta^L_j = 2 (a^L_j - y_j) \sigma'(z^L_j)"),
    ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{jk} \delta^{l+1}_k \sigma'(z^l_j)"),
    ("scalar", r"\frac{\partial C}{\partial h_t} = 2 (h_t - y_t)"),
    ("deep", r"\frac{\partial C}{\partial a^{(l)}} = 2(a^{(L)} - y) \prod_{m=l}^{L} w^{(m)}"),
    ("hinge", r"\frac{\partial C}{\partial V_{ij}} = (r_i - y_i) q_j"),
)


@pytest.mark.parametrize(("name", "line"), SHORT)
def test_where_arithmetic_is_exact_the_numbers_are_short(name: str, line: str) -> None:
    shown = only(name, line).counterexample
    assert shown is not None
    assert max(len(shown.left), len(shown.right)) <= 8, (shown.left, shown.right)
    assert re.fullmatch(r"-?\d+(/\d+)?", shown.left) and re.fullmatch(r"-?\d+(/\d+)?", shown.right)


def test_w_12_is_refuted_in_networks_that_have_it() -> None:
    shown = only("lessons", r"\frac{\partial C_0}{\partial w_{12}^{(L)}} = 2(a_1^{(L)} - y_1) a_2^{(L-1)}").counterexample  # fmt: skip
    assert shown is not None and min(shown.sizes[-2:]) > 2


def test_stated_sizes_are_those_of_the_counterexample() -> None:
    for line in (
        r"\frac{\partial C_0}{\partial a_j^{(2)}} = a_j^{(2)} - y_j",
        r"C_0 = (a_0^{(2)} - y_0)^2",
    ):
        found = only("4-3-2", line)
        assert found.scope == "sizes 4, 3, 2"
        assert found.counterexample is not None and found.counterexample.sizes == (4, 3, 2)


# ---------------------------------------------------------------- the whole report

PROVED = r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j)"
REFUTED = r"\delta^L_j = (a^L_j - y_j) \sigma(z^L_j)"
NOT_READ = r"\delta^L_j = \foo"
OPEN = r"\delta^L_j = (a^L_j - y_j) \sigma'(z^L_j) + b^L_j - b^L_j"


@pytest.mark.parametrize(
    ("lines", "verdict", "status"),
    [
        ((PROVED,), "proved", 0),
        ((PROVED, REFUTED), "refuted", 1),
        ((NOT_READ, REFUTED, OPEN, PROVED), "refuted", 1),
        ((NOT_READ, OPEN, PROVED), "not_understood", 3),
        ((OPEN, PROVED), "undecided", 3),
        ((PROVED, NOT_READ), "not_understood", 3),
        (("q_j := a^L_j", PROVED), "proved", 0),
        (("q_j := a^L_j", REFUTED), "refuted", 1),
        ((), "undecided", 3),
        (("no mathematics here",), "undecided", 3),
    ],
)
def test_refuted_over_not_understood_over_undecided_over_proved(
    lines: tuple[str, ...], verdict: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is left without a proof here, whatever the prover can do."""
    left_open = claim("nielsen", OPEN)

    def without(system: Any, e: Equality, **options: Any) -> Proof | None:
        return None if left_open is not None and e.right == left_open.right else prove(system, e, **options)

    monkeypatch.setattr("symbackprop.judge.relation.prove", without)
    report = check("nielsen", *lines)
    assert (report.verdict, report.exit_status) == (verdict, status)


@pytest.mark.parametrize(
    ("name", "text", "line", "column", "words"),
    [
        ("lessons", r"\frac{\partial C_0}{\partial a_j^{(L)}} = \foo", 1, 43, r"unknown command \foo"),
        ("nielsen", "\n\n" + r"\delta^L_j = q_j", 3, 14, "q_j is no symbol of this network"),
        ("lessons", "$C_0 = $", 1, 6, "nothing stands between '=' and the end"),
    ],
)
def test_what_is_not_understood_says_where(name: str, text: str, line: int, column: int, words: str) -> None:
    (found,) = network(name).check(text, explain=False).claims
    assert (found.verdict, found.line) == ("not_understood", line)
    assert f"line {line}, column {column}: " in found.message and words in found.message


ORDERED = (
    ("nielsen", r"\delta^l_j = \sum_k w^{l+1}_{jk} \delta^{l+1}_k \sigma'(z^l_j)"),
    ("nielsen", PROVED),
    ("nielsen", r"\frac{\partial C}{\partial w^l_{jk}} = a^l_k \delta^l_j"),
    ("nielsen", r"\frac{\partial C}{\partial w^2_{31}} = \delta^2_1 a^1_3"),
    ("scalar", r"\frac{\partial C}{\partial h_t} = 2 (h_t - y_t)"),
    ("deep", r"\frac{\partial a^{(L)}}{\partial a^{(l)}} = \prod_{m=l+1}^{L-1} w^{(m)}"),
)


def test_a_report_depends_on_neither_time_nor_on_what_was_checked_before() -> None:
    def all_of(order: list[int]) -> dict[int, tuple[Finding, ...]]:
        sampling._samples.cache_clear()
        return {n: check(*ORDERED[n]).claims for n in order}

    forward = list(range(len(ORDERED)))
    first = all_of(forward)
    assert first == all_of(forward[::-1])
    assert first == {n: check(*ORDERED[n]).claims for n in forward}


def test_a_report_is_the_same_in_every_process() -> None:
    """The order of sets and dictionaries must not show."""
    program = (
        "import json, sys\nfrom symbackprop import load\n"
        "print([[c.record() for c in load(name).check(text, explain=False).claims]"
        " for name, text in json.loads(sys.argv[1])])"
    )
    lines = json.dumps([line for line in ORDERED if line[0] == "nielsen"])
    said = {
        subprocess.run(
            [sys.executable, "-c", program, lines],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1 and "refuted" in said.pop()
