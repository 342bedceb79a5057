"""NumPy code as LaTeX: read back by a reader of its own, each picture is the expression that Python parsed."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import subprocess
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from symbackprop.errors import FunctionError
from symbackprop.render import code
from symbackprop.render.code import code_latex, code_rows

Tree = Any  # ("@", left, right), ("name", "W"), ...


def one(source: str, **options: Any) -> str:
    """The right side of a source of one row."""
    (row,) = code_rows(source, **options)
    return row.right


# ---------------------------------------------------------------- the pictures


@pytest.mark.parametrize(
    ("source", "latex"),
    [
        ("(W.T @ d) * s", r"\left(W^{\top}\, d\right) \odot s"),
        ("W.T @ d * s", r"\left(W^{\top}\, d\right) \odot s"),
        ("W.T @ (d * s)", r"W^{\top}\, \left(d \odot s\right)"),
        ("W.T @ d @ s", r"W^{\top}\, d\, s"),
        ("W.T @ (d @ s)", r"W^{\top}\, \left(d\, s\right)"),
        ("d * W @ s", r"\left(d \odot W\right)\, s"),
        ("np.outer(delta, a_prev)", r"\delta\, a_{\mathrm{prev}}^{\top}"),
        ("np.outer(a + b, W.T)", r"\left(a + b\right)\, \left(W^{\top}\right)^{\top}"),
        ("np.dot(W.T, d)", r"W^{\top}\, d"),
        ("W.T.dot(d)", r"W^{\top}\, d"),
        ("np.matmul(np.transpose(W), d) * s", r"\left(W^{\top}\, d\right) \odot s"),
        ("dW2 @ db1", r"\mathrm{d}W_2\, \mathrm{d}b_1"),
        ("2 * (a - y)", r"2 \left(a - y\right)"),
        ("x * 2", r"x \cdot 2"),
        ("2 * 3 * x", r"2 \cdot 3 \cdot x"),
        ("-2 * x", r"-2 x"),
        ("-(2 * x)", r"-\left(2 x\right)"),
        ("-a @ b", r"-a\, b"),
        ("-(a @ b)", r"-\left(a\, b\right)"),
        ("a - -b", r"a - \left(-b\right)"),
        ("a - (b - c)", r"a - \left(b - c\right)"),
        ("(a - y) / (a * (1 - a))", r"\left(a - y\right) \oslash \left(a \odot \left(1 - a\right)\right)"),
        ("1 / (1 + np.exp(-z))", r"\frac{1}{1 + \exp\left(-z\right)}"),
        ("a / b / c", r"\left(a \oslash b\right) \oslash c"),
        ("x**2", r"x^{\odot 2}"),
        ("np.square(x.T)", r"\left(x^{\top}\right)^{\odot 2}"),
        ("(x**2).T", r"\left(x^{\odot 2}\right)^{\top}"),
        ("2**3**x", r"2^{\odot 3^{\odot x}}"),
        ("np.exp(x)**2", r"\left(\exp\left(x\right)\right)^{\odot 2}"),
        ("np.tanh(z) + np.sqrt(v) + np.abs(x)", r"\tanh\left(z\right) + \sqrt{v} + \left\lvert x \right\rvert"),
        ("np.maximum(0, z)", r"\max\left(0,\, z\right)"),
        ("(z > 0) * d", r"\left[z > 0\right] \odot d"),
        ("np.where(z > 0, d, 0.01 * d)", r"\begin{cases} d & \text{where } z > 0 \\ 0.01 d & \text{elsewhere} \end{cases}"),
        ("x if n >= 1 else y", r"\begin{cases} x & \text{if } n \ge 1 \\ y & \text{otherwise} \end{cases}"),
        ("d.sum(axis=0)", r"\sum_{\text{axis } 0} d"),
        ("np.sum(d, axis=-1, keepdims=True)", r"\sum_{\text{axis } -1,\ \text{kept}} d"),
        ("np.sum(a * b)", r"\sum_{\text{all}} \left(a \odot b\right)"),
        ("np.sum(a) + b", r"\sum_{\text{all}} a + b"),
        ("np.sum(a + b)", r"\sum_{\text{all}} \left(a + b\right)"),
        ("np.sum(a) * b", r"\left(\sum_{\text{all}} a\right) \cdot b"),
        ("np.mean(x, 1)", r"\operatorname{mean}_{\text{axis } 1}\left(x\right)"),
        ("x.max(axis=(0, 1))", r"\max_{\text{axes } 0,\, 1}\left(x\right)"),
        ("dZ @ A.T / x.shape[0]", r"\frac{\mathrm{d}Z\, A^{\top}}{x.\mathit{shape}_{[0]}}"),
        ("x[:, None] * y", r"x_{[:,\, \mathrm{None}]} \odot y"),
        ("a[l-1] + W2[i, 1:n]", r"a_{[l - 1]} + W_{2[i,\, 1:n]}"),
        ("W[l].T + W.T[l]", r"W_{[l]}^{\top} + \left(W^{\top}\right)_{[l]}"),
        ("x[z > 0]", r"x_{[z > 0]}"),
        ('params["W1"] @ x', r"\mathit{params}_{[\text{``W1''}]}\, x"),
        ("np.zeros((n, m)) + np.eye(n + 1) + np.ones_like(W)", r"\mathbf{0}_{n \times m} + \mathbf{I}_{\left(n + 1\right)} + \mathbf{1}_{\text{like } W}"),
        ('np.einsum("ij,jk->ik", W2, A)', r"\left(\sum_{j} \left(W_2\right)_{ij}\, A_{jk}\right)_{ik}"),
        ('np.einsum("i,i", a, b)', r"\sum_{i} a_{i}\, b_{i}"),
        ('np.einsum("i,j->ij", a, b)', r"\left(a_{i}\, b_{j}\right)_{ij}"),
        ("f(x) + sigma_prime(z, axis=1)", r"\operatorname{f}\left(x\right) + \operatorname{sigma\_prime}\left(z,\, \text{axis} = 1\right)"),
        ("np.clip(x, 0, 1)", r"\operatorname{np.clip}\left(x,\, 0,\, 1\right)"),
        ("self.W2.T @ self.relu(z)", r"\mathit{self}.W_2^{\top}\, \mathit{self}.\operatorname{relu}\left(z\right)"),
        ("g[l](z)", r"\operatorname{g}_{[l]}\left(z\right)"),
        ("self.sum(x)", r"\mathit{self}.\operatorname{sum}\left(x\right)"),
        ("1e-8 + x", r"10^{-8} + x"),
        ("δ @ σ(y_hat)", r"\delta\, \operatorname{{\sigma}}\left(\hat{y}\right)"),
    ],
)  # fmt: skip
def test_picture(source: str, latex: str) -> None:
    assert one(source) == latex


def test_the_three_that_latexify_shows_alike_differ() -> None:
    assert len({one(s) for s in ("(W.T @ d) * s", "W.T @ (d * s)", "W.T @ d @ s")}) == 3


def test_a_listing_is_aligned_at_its_relations() -> None:
    source = """
        dZ2 = A2 - Y
        dW2 = np.dot(dZ2, A1.T) / m
        db2 = dZ2.sum(axis=1, keepdims=True) / m
        W2 -= eta * dW2
        return dW2, db2
    """
    assert code_latex(source, scalars=["m", "eta"]) == "\n".join(
        [
            r"\begin{aligned}",
            r"\mathrm{d}Z_2 &= A_2 - Y \\",
            r"\mathrm{d}W_2 &= \frac{\mathrm{d}Z_2\, A_1^{\top}}{m} \\",
            r"\mathrm{d}b_2 &= \frac{\sum_{\text{axis } 1,\ \text{kept}} \mathrm{d}Z_2}{m} \\",
            r"W_2 &\leftarrow W_2 - \eta \cdot \mathrm{d}W_2 \\",
            r"\text{return} &\  \left(\mathrm{d}W_2,\, \mathrm{d}b_2\right)",
            r"\end{aligned}",
        ]
    )


def backward(W: Any, a: Any, z: Any, y: Any, L: int, eta: float) -> Any:
    """A person's backward pass."""
    dW = f(W)
    delta = 2 * (a[L] - y)
    for l in range(L, 0, -1):
        if l < L:
            delta = (W[l + 1].T @ delta) * f(z[l])
        dW[l] = np.outer(delta, a[l - 1])
        W[l] -= eta * dW[l]
    return dW


def f(x: Any) -> Any:
    return x


def test_a_function_is_found_in_its_file_and_loops_are_indented() -> None:
    rows = code_rows(backward)
    assert [r.line - rows[0].line for r in rows] == list(range(8))
    assert [r.latex(aligned=False) for r in rows] == [
        r"& \mathrm{d}W = \operatorname{f}\left(W\right)",
        r"& \delta \leftarrow 2 \left(a_{[L]} - y\right)",
        r"& \text{for } l = L \text{ down to } 1\text{:}",
        r"& \quad \text{if } l < L\text{:}",
        r"& \quad \quad \delta \leftarrow \left(W_{[l + 1]}^{\top}\, \delta\right) \odot \operatorname{f}\left(z_{[l]}\right)",
        r"& \quad \mathrm{d}W_{[l]} \leftarrow \delta\, a_{[l - 1]}^{\top}",
        r"& \quad W_{[l]} \leftarrow W_{[l]} - \eta \cdot \mathrm{d}W_{[l]}",
        r"& \text{return} \  \mathrm{d}W",
    ]
    assert r"\quad \delta" in code_latex(backward)


def test_what_a_name_stands_for_is_looked_up_where_the_function_would() -> None:
    xp, exp, W = np, np.exp, np.ones(2)
    assert one(lambda x: exp(x) + xp.tanh(x) + W.sum()) == (  # type: ignore[arg-type]
        r"\exp\left(x\right) + \tanh\left(x\right) + \sum_{\text{all}} W"
    )
    assert one("import torch as np\nx = np.sum(x)") == r"\mathit{np}.\operatorname{sum}\left(x\right)"
    assert one("from numpy import exp as e\ny = e(x)") == r"\exp\left(x\right)"
    assert one("def h(np, x):\n    return np.exp(x)") == r"\mathit{np}.\operatorname{exp}\left(x\right)"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("range(n)", r"0 \text{ to } n - 1"),
        ("range(1, L + 1)", r"1 \text{ to } L"),
        ("range(1, L - 1)", r"1 \text{ to } L - 2"),
        ("range(3)", r"0 \text{ to } 2"),
        ("range(L - 1, -1, -1)", r"L - 1 \text{ down to } 0"),
        ("reversed(range(1, L))", r"L - 1 \text{ down to } 1"),
    ],
)
def test_a_range_names_its_first_and_last_value(header: str, words: str) -> None:
    assert code_rows(f"for l in {header}:\n    x = l")[0].right == rf"\text{{for }} l = {words}\text{{:}}"


def test_an_equation_only_where_a_name_keeps_its_value() -> None:
    def relations(text: str) -> list[str]:
        return [r.relation for r in code_rows(text)]

    assert relations("z = W @ a\nb = s(z)") == ["=", "="]
    assert relations("z = W @ a\na = s(z)") == ["=", r"\leftarrow"]  # as equations, a would be a fixed point
    assert relations("x = 1\nx = 2") == [r"\leftarrow", r"\leftarrow"]
    assert relations("x = x + 1") == [r"\leftarrow"]
    assert relations("def h(x):\n    x = 2") == [r"\leftarrow"]
    assert relations("x[0] = 1") == [r"\leftarrow"]
    assert relations("a, b = f(x)") == ["="]


def test_a_scalar_is_known_or_the_product_is_entry_by_entry() -> None:
    assert one("n * x") == r"n \odot x"
    assert one("n * x", scalars=["n"]) == r"n \cdot x"
    assert one("def h(n: float, x):\n    return n * x") == r"n \cdot x"
    assert code_rows("m = x.shape[0]\ny = x / m")[1].right == r"\frac{x}{m}"
    assert code_rows("m = x.shape[0]\nm = x\ny = x / m")[2].right == r"x \oslash m"
    assert code_rows("s = 0\ns = s + 1\ny = s ** 2")[2].right == "s^{2}"
    assert code_rows("s = 0\ns = s + x\ny = s ** 2")[2].right == r"s^{\odot 2}"


# ---------------------------------------------------------------- names


def test_names_that_would_look_alike_are_spelt() -> None:
    assert one("W2 + W_2") == r"\mathit{W2} + \mathit{W\_2}"
    assert one("lam + lambda_") == r"\mathit{lam} + \mathit{lambda\_}"
    assert one("x.W2 + x.W_2") == r"x.\mathit{W2} + x.\mathit{W\_2}"
    assert one("np.pi * pi") == r"\mathit{np.pi} \cdot \mathit{pi}"


def test_names_are_overridden() -> None:
    names = {"dW2": r"\frac{\partial C}{\partial w}", "delta": r"\delta^{(l)}", "self.W": "w", "s": r"\sigma'"}
    assert one("dW2 + delta.T + self.W.T + s(x)", names=names) == (
        r"\frac{\partial C}{\partial w} + \left(\delta^{(l)}\right)^{\top} + w^{\top} + \sigma'\left(x\right)"
    )
    assert one("W.T + W2", names={"W": "W_{2}"}) == r"W_2^{\top} + \mathit{W2}"


@pytest.mark.parametrize("latex", ["", "a + b", "a b & c", r"x \\ y", "{", "x^", "a_b_c", r"a \odot b", "x\ny", 3])
def test_an_override_that_is_no_symbol_is_refused(latex: Any) -> None:
    with pytest.raises(FunctionError, match="expected the LaTeX of one symbol"):
        code_latex("x = W", names={"W": latex})


def test_two_names_with_one_symbol_are_refused() -> None:
    with pytest.raises(FunctionError, match="names gives W1 and W2 the same LaTeX"):
        code_latex("x = W1 @ W2", names={"W1": "W", "W2": "W"})


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = {1, 2}", r"^line 1, column 5: found \{1, 2\}, expected a formula"),
        ("x = 1\ny = δ + x // 2", r"^line 2, column 9: found x // 2, expected one of the operators"),
        ("    x = 1\n    y = x & 2", r"^line 2, column 9: found x & 2"),
        ("x = [0] * n", r"column 5: found the list or tuple \[0\] in arithmetic.*np.array"),
        ("xs = [a, b]\ny = xs * 2", r"line 2, column 5: found the list or tuple xs"),
        ("x = y.shape + (1,)", "found the list or tuple y.shape"),
        ("2 @ x", r"column 1: found the scalar 2 in a matrix product.*use \*"),
        ("(a > 0) + (b > 0)", "found a sum of truth values"),
        ("(a > 0) @ (b > 0)", "found a product of truth values"),
        ("while True: pass", r"found a while loop.*write for l in range"),
        ("for i in range(0, n, 2):\n    x = 1", "found the step 2, expected .* 1 or -1"),
        ("for a, b in zip(x, y):\n    z = a", "found a loop over several names, or with else"),
        ("for a in x:\n    z = a", r"found x, expected range"),
        ("x = 1\nprint(x)", "found an expression whose value is dropped.*assign it"),
        ("x = [i for i in y]", "found a list comprehension.*for loop"),
        ("x = a and b", "found and, or outside a condition"),
        ("x = a if b is None else c", "found b is None, expected one of <"),
        ("x = np.sum(y, dtype=float)", "found sum with dtype=, expected sum without it, or with axis and keepdims"),
        ("x = np.multiply(a, b, out=c)", "found multiply with out="),
        ("x = y.transpose(1, 0)", "found transpose with 2 arguments, expected 0"),
        ("x = layer.sum(y)", "expected np.sum"),
        ("x = np.einsum(s, a)", "expected letters such as"),
        ("x = np.einsum('ij,jk->ik', a)", "2 groups of letters for 1 arrays"),
        ("x = np.einsum('ij->k', a)", "the result k"),
        ("x = f(*y)", r"found \* or \*\* in a call"),
        ("x = np", "found the module np as a value"),
        ("x = 'text'", "found 'text'"),
        ("x = 1j", "found 1j"),
        ("é = 1", "found the letter é"),
        ("x = (lambda y: y)", "found a lambda"),
        ("x = f(y)(z)", r"found f\(y\)\(z\), expected a function called by its name"),
        ("@jit\ndef f(x):\n    return x", "found a decorator"),
        ("def f(x):\n    return x\ny = 1", "found more than one function"),
        ("x = (", r"^line 1, column 5: found '\(' was never closed, expected Python"),
        ("", "found no statement"),
        ("x = " + "-" * 200 + "y", "too large to read"),
        ("x = " + "(" * 300 + "y" + ")" * 300, "expected Python|too many"),
        ("x = 0x" + "f" * 9999, "more than 30 digits"),
    ],
)
def test_what_is_refused(source: str, message: str) -> None:
    with pytest.raises(FunctionError, match=message):
        code_latex(source)


@pytest.mark.parametrize("thing", [3, len, np.exp, None, type])
def test_only_functions_and_text_are_taken(thing: object) -> None:
    with pytest.raises(FunctionError, match="expected a function written in Python, or its source text"):
        code_latex(thing)


def test_a_function_without_source_is_refused() -> None:
    scope: dict[str, Any] = {}
    exec("def g(x):\n    return x", scope)
    with pytest.raises(FunctionError, match="source of g is not available"):
        code_latex(scope["g"])


def test_nothing_is_run_or_imported() -> None:
    source = "import nosuchmodule\nx = nosuchmodule.f(1 / 0)"
    assert one(source) == r"\mathit{nosuchmodule}.\operatorname{f}\left(\frac{1}{0}\right)"


# ---------------------------------------------------------------- reading back

NAMES = {"A": ("A", ""), "x": ("x", ""), "W2": ("W", "2"), "a_prev": ("a", r"\mathrm{prev}"), "delta": (r"\delta", ""), "dW2": (r"\mathrm{d}W", "2"), "loss": (r"\mathit{loss}", "")}  # fmt: skip
BACK = {v: k for k, v in NAMES.items()}
RELATION = {"<": "Lt", r"\le": "LtE", ">": "Gt", r"\ge": "GtE", "=": "Eq", r"\ne": "NotEq"}
TOKEN = re.compile(
    r"\\left\\lvert|\\right\\rvert|\\left.|\\right.|\\(?:text|operatorname|mathit|mathrm)\{[^{}]*\}(?:[A-Z](?=_))?"
    r"|\\(?:begin|end)\{cases\}|\\\\|\\[A-Za-z]+|\\[, ]|\d+(?:\.\d+)?|[A-Za-z]|[-+_^{}\[\]:,.&<>=]"
)


class Misread(Exception):
    """LaTeX that the reader cannot take in one way only."""


class Reader:
    """A reader of the notation as code.py documents it, who knows nothing of how it is written."""

    def __init__(self, text: str) -> None:
        text = text.replace(r",\, ", ",")
        self.tokens: list[str] = TOKEN.findall(text)
        if "".join(self.tokens).replace(" ", "") != text.replace(" ", ""):
            raise Misread(f"stray letters in {text}")
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        if expected and self.next not in expected:
            raise Misread(f"{self.next!r} at {self.at} of {self.tokens}, expected {expected}")
        self.at += 1
        return self.tokens[self.at - 1]

    def skip(self, token: str) -> bool:
        if self.next == token:
            self.at += 1
            return True
        return False

    def whole(self) -> Tree:
        tree = self.open()
        if self.next:
            raise Misread(f"{self.next!r} is left over of {self.tokens}")
        return tree

    def open(self) -> Tree:
        if not self.skip(r"\begin{cases}"):
            return self.sum()
        then = self.open()
        self.take("&")
        word = self.take(r"\text{where }", r"\text{if }")
        condition = self.condition()
        self.take("\\\\")
        other = self.open()
        self.take("&")
        self.take(r"\text{elsewhere}" if "where" in word else r"\text{otherwise}")
        self.take(r"\end{cases}")
        return ("where" if "where" in word else "if", condition, then, other)

    def condition(self) -> Tree:
        parts, signs = [self.open()], []
        while self.next in RELATION:
            signs.append(RELATION[self.take()])
            parts.append(self.sum())
        return ("cmp", tuple(signs), *parts) if signs else parts[0]

    def sum(self) -> Tree:
        tree = self.term()
        while self.next in ("+", "-"):
            sign = self.take()
            if self.next in ("+", "-"):
                raise Misread("two signs")
            tree = (sign, tree, self.term())
        return tree

    def term(self) -> Tree:
        sign = self.take() if self.next in ("+", "-") else ""
        if self.skip(r"\sum"):
            tree: Tree = ("sum", *self.axes(), self.factor())
            return ("sign" + sign, tree) if sign else tree
        tree = self.factor()
        number = tree[0] == "num"
        tree = ("sign" + sign, tree) if sign else tree
        before = ""
        while self.next and self.next not in ("+", "-", ",", ":", "]", "}", "&", "\\\\", *RELATION) and not self.next.startswith((r"\right", r"\end")):  # fmt: skip
            op = self.take() if self.next in (r"\odot", r"\cdot", r"\oslash", r"\,") else ""
            if not op and not number:
                raise Misread("side by side without a sign")
            kind = {r"\,": "@", r"\oslash": "/"}.get(op, "*")
            if before not in ("", kind) or before == "/":
                raise Misread("two products without brackets")
            tree, before, number = (kind, tree, self.factor()), kind, False
        return tree

    def axes(self) -> tuple[Tree, Tree]:
        self.take("_")
        self.take("{")
        axis: Tree = None
        if self.take(r"\text{all}", r"\text{axis }") == r"\text{axis }":
            axis = self.sum()
        kept = self.skip(",")
        if kept:
            self.take("\\ ")
            self.take(r"\text{kept}")
        self.take("}")
        return axis, kept

    def factor(self) -> Tree:
        """A base, its subscript, its superscript: at most one of each."""
        token = self.take()
        closed = False  # a call or fraction: no script belongs to it
        tree: Tree
        head = ""
        if re.fullmatch(r"\d+(\.\d+)?", token):
            tree = ("num", token)
        elif token == r"\left(":
            tree = self.open()
            self.take(r"\right)")
        elif token == r"\left[":
            tree = self.condition()
            if tree[0] != "cmp":
                raise Misread("square brackets around what is no comparison")
            self.take(r"\right]")
        elif token == r"\left\lvert":
            tree = ("call", "abs", self.open())
            self.take(r"\right\rvert")
        elif token in (r"\frac", r"\sqrt"):
            parts = [self.group() for _ in range(2 if token == r"\frac" else 1)]
            tree, closed = (("/", *parts) if token == r"\frac" else ("call", "sqrt", *parts)), True
        elif token in (r"\exp", r"\max") or token.startswith(r"\operatorname"):
            name = {r"\exp": "exp", r"\max": "maximum"}.get(token, token[14:-1].replace(r"\_", "_"))
            axes = self.axes() if self.next == "_" else ()
            self.take(r"\left(")
            arguments = [self.open()]
            while self.skip(","):
                arguments.append(self.open())
            self.take(r"\right)")
            name = "max" if name == "maximum" and axes else name
            tree, closed = (name, *axes, arguments[0]) if axes else ("call", name, *arguments), True
        else:
            head, tree = token, ()
        if not closed and self.skip("_"):
            sub = ""
            if self.next == "{":
                self.take()
                while self.next not in ("[", "}"):
                    sub += self.take()
                indices = []
                while self.skip("["):
                    indices.append(self.index())
                self.take("}")
            else:
                sub, indices = self.take(), []
            tree = self.name(head, sub) if head else tree
            for i in indices:
                tree = ("index", tree, i)
        elif head:
            tree = self.name(head, "")
        if not closed and self.skip("^"):
            self.take("{")
            if self.skip(r"\top"):
                tree = ("T", tree)
            else:
                self.skip(r"\odot")
                tree = ("**", tree, self.open())
            self.take("}")
        if self.next in ("_", "^"):
            raise Misread("two scripts")
        return tree

    def name(self, head: str, sub: str) -> Tree:
        if (head, sub) not in BACK:
            raise Misread(f"no name is written {head}_{sub}")
        return ("name", BACK[head, sub])

    def group(self) -> Tree:
        self.take("{")
        tree = self.open()
        self.take("}")
        return tree

    def index(self) -> Tree:
        parts: list[Tree] = []
        while True:
            if self.skip(r"\mathrm{None}"):
                parts.append("new")
            elif self.next == ":":
                self.take()
                parts.append((":", None, None if self.next in (",", "]") else self.sum()))
            else:
                low = self.condition()
                parts.append((":", low, None if self.next in (",", "]") else self.sum()) if self.skip(":") else low)
            if not self.skip(","):
                self.take("]")
                return tuple(parts)


def parsed(source: str) -> Tree:
    """The same tree from Python's own parser."""
    return tree_of(ast.parse(source, mode="eval").body)


OPERATORS = {"Add": "+", "Sub": "-", "Mult": "*", "MatMult": "@", "Div": "/", "Pow": "**"}


def tree_of(n: ast.expr) -> Tree:
    match n:
        case ast.Name(id=name):
            return ("name", name)
        case ast.Constant(value=value):
            return ("num", str(value))
        case ast.BinOp(left=p, op=op, right=q):
            return (OPERATORS[type(op).__name__], tree_of(p), tree_of(q))
        case ast.UnaryOp(op=op, operand=p):
            return ("sign-" if isinstance(op, ast.USub) else "sign+", tree_of(p))
        case ast.Compare(left=p, ops=ops, comparators=rest):
            return ("cmp", tuple(type(o).__name__ for o in ops), tree_of(p), *map(tree_of, rest))
        case ast.IfExp(test=c, body=p, orelse=q):
            return ("if", tree_of(c), tree_of(p), tree_of(q))
        case ast.Attribute(value=p, attr="T"):
            return ("T", tree_of(p))
        case ast.Subscript(value=p, slice=i):
            return ("index", tree_of(p), tuple(map(index_of, i.elts if isinstance(i, ast.Tuple) else [i])))
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=name), args=args, keywords=keywords):
            given = {k.arg: k.value for k in keywords}
            parts = [tree_of(a) for a in args]
            if name in ("sum", "mean", "max"):
                return (name, tree_of(given["axis"]) if "axis" in given else None, "keepdims" in given, *parts)
            if name == "where":
                return ("where", *parts)
            if name == "outer":  # by definition: a column times a row
                return ("@", parts[0], ("T", parts[1]))
            if name in ("dot", "multiply"):
                return ("@" if name == "dot" else "*", *parts)
            return ("call", name, *parts)
        case ast.Call(func=ast.Name(id=name), args=args):
            return ("call", name, *map(tree_of, args))
    raise AssertionError(ast.dump(n))


def index_of(n: ast.expr) -> Tree:
    if isinstance(n, ast.Slice):
        return (":", *(tree_of(e) if e is not None else None for e in (n.lower, n.upper)))
    return "new" if isinstance(n, ast.Constant) and n.value is None else tree_of(n)


TEMPLATES = (
    *(f"{{}} {op} {{}}" for op in ("+", "-", "*", "@", "/", "**", "*", "@")),
    "-{}", "+{}", "{}.T", "{} > {}", "{} <= {}", "{}[{}]", "{}[:, None]", "{}[{}:, {}]", "{}[{}:{}]",
    "np.exp({})", "np.maximum({}, {})", "np.sqrt({})", "np.abs({})", "f_1({}, {})", "np.sum({})",
    "np.sum({}, axis=0)", "np.sum({}, axis={}, keepdims=True)", "np.mean({})", "np.max({}, axis=1)",
    "np.where({}, {}, {})", "{} if {} else {}", "np.outer({}, {})", "np.dot({}, {})", "np.multiply({}, {})",
)  # fmt: skip


@st.composite
def sources(draw: st.DrawFn, depth: int = 4) -> str:
    """Python text; pieces are put together with and without brackets, so that Python's grammar groups them."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from((*NAMES, *NAMES, "2", "0.5")))
    template = draw(st.sampled_from(TEMPLATES))
    pieces = [draw(sources(depth - 1)) for _ in range(template.count("{}"))]
    return template.format(*(f"({p})" if draw(st.booleans()) else p for p in pieces))


def picture(source: str) -> str | None:
    """The picture; None where Python does not take the text, or code_latex says why not."""
    try:
        ast.parse(source, mode="eval")
    except SyntaxError:
        return None
    try:
        return one(source)
    except FunctionError as e:
        assert re.search("scalar .* (matrix|outer) product|truth values", str(e)), (source, str(e))
        return None


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources())
def test_read_back_a_picture_is_what_python_parsed(source: str) -> None:
    latex = picture(source)
    assume(latex is not None)
    assert Reader(latex or "").whole() == parsed(source)


SHORT = ("A", "2", "-A", "A @ x", "A * x", "A / x", "A + x", "A - x", "A ** x", "A.T", "A[x]", "2 * x", "A > x", "np.sum(A)", "np.exp(A)", "1 / x", "f_1(A)", "np.where(A, x, 2)")  # fmt: skip
JOINS = ("{} @ {}", "{} * {}", "{} + {}", "{} - {}", "{} / {}", "{} ** {}", "-{}", "{}.T", "{}[{}]", "np.sum({})", "{} > {}", "f_1({}, {})", "x if {} else {}")  # fmt: skip


def test_different_expressions_have_different_pictures() -> None:
    pictures: dict[str, set[Tree]] = {}
    for join in JOINS:
        for parts in itertools.product(SHORT, repeat=join.count("{}")):
            source = join.format(*(f"({p})" for p in parts))
            latex = picture(source)
            if latex is not None:
                pictures.setdefault(latex, set()).add(parsed(source))
    assert len(pictures) > 2000
    assert [p for p, trees in pictures.items() if len(trees) > 1] == []


def test_the_reader_says_no() -> None:
    trees = [parsed(s) for s in ("(W2.T @ delta) * x", "W2.T @ (delta * x)", "W2.T @ delta @ x")]
    assert len(set(trees)) == 3
    for wrong in (
        r"W_2^{\top} \delta x",
        r"W_2^{\top}\, \delta \odot x",
        r"W_3",
        r"x^{2}^{\top}",
        r"x + -x",
        r"\left[x\right]",
    ):
        with pytest.raises(Misread):
            Reader(wrong).whole()
    assert Reader(r"x^{\odot 2}").whole() != parsed("x.T ** 2")


def test_without_brackets_the_reader_sees_another_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code.Tex, "at_least", lambda self, level: self.text)
    wrong = 0
    for source in ("A @ (x * A)", "A - (x + A)", "np.sum(A + x)", "(A + x) @ A", "A * (x @ A)"):
        try:
            wrong += Reader(one(source)).whole() != parsed(source)
        except Misread:
            wrong += 1
    assert wrong == 5


# ---------------------------------------------------------------- KaTeX

SET = """
const katex = require(process.argv[1]);
const formulas = JSON.parse(require("fs").readFileSync(0, "utf8"));
const bad = formulas.flatMap(f => {
  try { katex.renderToString(f, {displayMode: true, throwOnError: true, strict: "error"}); return []; }
  catch (e) { return [[f, e.message]]; }
});
console.log(JSON.stringify(bad));
"""


def refused(formulas: list[str]) -> list[list[str]]:
    """The formulas that the vendored KaTeX does not take."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH to run KaTeX in")
    katex = str(files("symbackprop.render").joinpath("web", "katex.min.js"))
    done = subprocess.run(
        [node, "-e", SET, katex], input=json.dumps(formulas), capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_katex_sets_every_listing() -> None:
    marks = next(m for m in test_picture.pytestmark if m.name == "parametrize")  # type: ignore[attr-defined]
    formulas = [code_latex(source) for source, _ in marks.args[1]]
    formulas += [code_latex(backward), code_latex("W2 + W_2 + x_"), code_latex("x[...] = 1\nif not a > 0 and b < 1:\n    y = 2\nelse:\n    y = True")]  # fmt: skip
    formulas += [code_latex(f"{n} = _") for n in code.WORDS if n != "lambda"]
    assert len(formulas) > 90
    assert refused(formulas) == []
    assert len(refused([r"\nosuch"])) == 1
