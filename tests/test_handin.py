"""What is read in a hand-in: every claim once, at its place in the file; nothing skipped unsaid; any bytes at all."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symbackprop.errors import ReadError
from symbackprop.read.handin import Claim, HandIn, read_handin, read_let, renamed
from symbackprop.read.syntax import Row, Unread, show

CORPUS = [json.loads(line) for line in (Path(__file__).parent / "corpus/claims.jsonl").read_text("utf-8").splitlines()]

ARTICLE = r"""
\documentclass[11pt,a4paper]{article}
\usepackage{amsmath,amsthm}
\usepackage[margin=2cm]{geometry} % the widths x_{1} = x_{2} do not matter
\newtheorem{theorem}{Theorem}
\newcommand{\pd}[2]{\frac{\partial #1}{\partial #2}}
\newcommand*{\loss}{C_0}
\def\act#1#2{a_{#1}^{(#2)}}
\DeclareMathOperator{\softmax}{softmax}
\title{Backpropagation, step by step}
\begin{document}
\maketitle
\section{Set-up}
The last layer is $L$, with nodes $j = 0, \dots, n-1$; it costs 5\$.
\begin{equation}\label{eq:loss}
  \loss = \sum_{j=0}^{n-1} (\act{j}{L} - y_j)^2.
\end{equation}
\begin{theorem}[Output layer]
For every $j$ we have $\pd{\loss}{\act{j}{L}} = 2(\act{j}{L} - y_j)$, and
\begin{align*}
  \pd{\loss}{z_j^{(L)}}
    &= \pd{\loss}{\act{j}{L}} \pd{\act{j}{L}}{z_j^{(L)}} \\[2pt]
    &= 2(\act{j}{L} - y_j)\, g'(z_j^{(L)}) \tag{$\ast$} \qquad \text{for all } j,
\end{align*}
\end{theorem}
\begin{proof}
% $q = 1$ is not here
\begin{verbatim}
$r = 2$
\end{verbatim}
By the chain rule and \verb|$s = 3$|. \qedhere
\end{proof}
Hence
\[
  = 2(\act{j}{L} - y_j)\, \sigma'(z_j^{(L)}),
\]
where $\sigma := g$.
\end{document}
$t = 4$
"""

NOTES = """\
# Lecture 3: the backward pass

A coffee costs $3 or $4. The error is $\\delta_j = 2(a_j - y_j)$, 100% of it.

```python
loss = "$x = 1$"
```

* in code: `$y = 2$`, and with backticks $`z_j = \\sum_k w_{jk} a_k`$
* and in a list:

  $$
  \\begin{aligned}
  \\frac{\\partial C}{\\partial w_{jk}} &= \\delta_j a_k \\\\
  &= 2(a_j - y_j) a_k
  \\end{aligned}
  $$

> A quotation: $$
> a_j = g(z_j)
> $$

~~~
$$u = 3$$
~~~

```math
\\newcommand{\\err}{\\delta}
\\err_j = 0
```

<!-- $v = 4$ -->
Then \\\\( b_j = \\err_j \\\\).
"""

LIST = r"""Homework 4, Ada L.

1) C_0 = \sum_j (a_j - y_j)^2
2) \frac{\partial C_0}{\partial a_j} = 2(a_j - y_j)   for all j

So we get the error term by the chain rule
   = 2 a_j - 2 y_j

3. z_j = \sum_k w_{jk} a_k \\ a_j = g(z_j)
let E = C_0
Answer: \frac{\partial E}{\partial z_j} = 2(a_j - y_j) g'(z_j
4) b_j = 1
"""

NIELSEN = r"""The backpropagation equations are
\begin{eqnarray}
  \delta^L_j & = & \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j), \nonumber\\
  \delta^l & = & ((w^{l+1})^T \delta^{l+1}) \odot \sigma'(z^l), \label{eq:bp2} \\
  \frac{\partial C}{\partial w^l_{jk}} & = & a^{l-1}_k \delta^l_j.
\end{eqnarray}
"""

MIXED = r"""\documentclass[twocolumn]{article}
\begin{document}
\[ \left\{ \begin{aligned} z_j &= \sum_k w_{jk} x_k \\ a_j &= g(z_j) \end{aligned} \right. \]
and $$ a = \begin{cases} z & \text{if } z > 0 \\ 0 & \text{otherwise} \end{cases} $$ so
\begin{multline}
  C = \frac12 (a - y)^2 \\
    + \lambda w^2
\end{multline}
\begin{gather} x = y \\ y = x \end{gather}
\begin{equation}\begin{split}
  \frac{\partial C}{\partial w} \\ &= (a - y) x
  \\ &= \delta x
\end{split}\end{equation}
\end{document}
"""


def notebook() -> str:
    cells = [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": ["# Übung\n", "Let $E = C_0$:\n", "$$\\delta = 2(a - y)$$"],
        },
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": ["x = '$u = 1$'"]},
        {"cell_type": "markdown", "metadata": {}, "source": "$\\newcommand{\\q}{w}$\n\n$$\\q = \\foo$$ and $\\q = 1$"},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def brief(handin: HandIn) -> list[tuple[int, int, str]]:
    return [(c.line, c.column, c.latex) for c in handin.claims]


def rows(handin: HandIn) -> list[str]:
    return ["?" if isinstance(c.row, Unread) else show(c.row) for c in handin.claims]


def assert_places(text: str, handin: HandIn) -> None:
    """Each claim begins at its line and column of the file, and its trees point into what the author wrote."""
    lines = text.replace("\r\n", "\n").split("\n")
    for c in handin.claims:
        assert lines[c.line - 1][c.column - 1 :].startswith(c.latex[:3])
        if isinstance(c.row, Row) and c.row.relations:
            place = c.row.relations[0].place
            assert c.source.text[place.start : place.end]
            assert lines[place.line - 1][place.column - 1 :][:1] == c.source.text[place.start]


# ---------------------------------------------------------------- six hand-ins


def test_an_article() -> None:
    handin = read_handin(ARTICLE.encode(), "hw.tex")
    assert handin.kind == "latex"
    assert brief(handin) == [
        (16, 3, r"\loss = \sum_{j=0}^{n-1} (\act{j}{L} - y_j)^2"),
        (19, 24, r"\pd{\loss}{\act{j}{L}} = 2(\act{j}{L} - y_j)"),
        (21, 3, r"\pd{\loss}{z_j^{(L)}} = \pd{\loss}{\act{j}{L}} \pd{\act{j}{L}}{z_j^{(L)}}"),
        (23, 6, r"= 2(\act{j}{L} - y_j)\, g'(z_j^{(L)}) \tag{$\ast$} \qquad \text{for all } j"),
        (35, 3, r"= 2(\act{j}{L} - y_j)\, \sigma'(z_j^{(L)})"),
        (37, 8, r"\sigma := g"),
    ]
    assert [c.group for c in handin.claims] == [1, 2, 3, 3, 3, 4]
    assert [c.continued for c in handin.claims] == [False, False, False, True, True, False]
    assert [c.definition for c in handin.claims] == [False] * 5 + [True]
    assert [(r.new, r.old, r.line) for r in handin.lets] == [(r"\sigma", "g", 37)]
    assert (
        rows(handin)[1]
        == "(= (/ (partial C_[0]) (partial a_[j]^[(round L)])) (* 2 (round (+ a_[j]^[(round L)] -y_[j]))))"
    )
    assert handin.notes == ("2 formulas without an equals sign", "1 range of an index")
    assert_places(ARTICLE, handin)


def test_lecture_notes() -> None:
    handin = read_handin(NOTES)
    assert handin.kind == "markdown"
    assert brief(handin) == [
        (3, 40, r"\delta_j = 2(a_j - y_j)"),
        (9, 44, r"z_j = \sum_k w_{jk} a_k"),
        (14, 3, r"\frac{\partial C}{\partial w_{jk}} = \delta_j a_k"),
        (15, 4, r"= 2(a_j - y_j) a_k"),
        (20, 3, r"a_j = g(z_j)"),
        (29, 1, r"\err_j = 0"),
        (33, 10, r"b_j = \err_j"),
    ]
    assert [c.continued for c in handin.claims] == [False, False, False, True, False, False, False]
    assert rows(handin)[-1] == "(= b_[j] delta_[j])"
    assert_places(NOTES, handin)


def test_a_notebook() -> None:
    text = notebook()
    handin = read_handin(text, "hw.ipynb")
    assert [(c.where, c.latex) for c in handin.claims] == [
        ("cell 1, line 2", "E = C_0"),
        ("cell 1, line 3", r"\delta = 2(a - y)"),
        ("cell 3, line 3", r"\q = \foo"),
        ("cell 3, line 3", r"\q = 1"),
    ]
    assert rows(handin) == ["(= E C_[0])", "(= delta (* 2 (round (+ a -y))))", "?", "(= w 1)"]
    lines = text.split("\n")
    for c, written in zip(handin.claims, ["E = C_0", r"\\delta", r"\\q = \\foo", r"\\q = 1"], strict=True):
        assert lines[c.line - 1][c.column - 1 :].startswith(written)
    assert handin.notes == ("1 cell that is no text passed over",)
    assert brief(handin) == brief(read_handin(text))  # known by its content as well


def test_a_plain_list() -> None:
    handin = read_handin(LIST)
    assert handin.kind == "formula"
    assert brief(handin) == [
        (3, 4, r"C_0 = \sum_j (a_j - y_j)^2"),
        (4, 4, r"\frac{\partial C_0}{\partial a_j} = 2(a_j - y_j) for all j"),
        (7, 4, r"= 2 a_j - 2 y_j"),
        (9, 4, r"z_j = \sum_k w_{jk} a_k"),
        (9, 31, r"a_j = g(z_j)"),
        (10, 1, "let E = C_0"),
        (11, 9, r"\frac{\partial E}{\partial z_j} = 2(a_j - y_j) g'(z_j"),
        (12, 4, "b_j = 1"),
    ]
    assert [c.number for c in handin.claims if isinstance(c.row, Unread)] == [7]
    assert [c.group for c in handin.claims] == [1, 2, 2, 3, 4, 5, 6, 7]
    assert [c.number for c in handin.claims if c.definition] == [6]
    assert [str(r) for r in handin.lets] == ["E for C_{0}"]
    assert handin.notes == ("2 lines of prose",)
    assert_places(LIST, handin)


def test_a_display_with_three_columns() -> None:
    handin = read_handin(NIELSEN)
    assert brief(handin) == [
        (3, 3, r"\delta^L_j = \frac{\partial C}{\partial a^L_j} \sigma'(z^L_j)"),
        (4, 3, r"\delta^l = ((w^{l+1})^T \delta^{l+1}) \odot \sigma'(z^l)"),
        (5, 3, r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_j"),
    ]
    assert [c.group for c in handin.claims] == [1, 2, 3]
    assert_places(NIELSEN, handin)


def test_a_mixture_of_environments() -> None:
    handin = read_handin(MIXED)
    assert brief(handin) == [
        (3, 28, r"z_j = \sum_k w_{jk} x_k"),
        (3, 56, r"a_j = g(z_j)"),
        (4, 8, r"a = \begin{cases} z & \text{if } z > 0 \\ 0 & \text{otherwise} \end{cases}"),
        (6, 3, r"C = \frac12 (a - y)^2 + \lambda w^2"),
        (9, 16, "x = y"),
        (9, 25, "y = x"),
        (11, 3, r"\frac{\partial C}{\partial w} = (a - y) x"),
        (12, 7, r"= \delta x"),
    ]
    assert not [c for c in handin.claims if isinstance(c.row, Unread)]
    assert [c.group for c in handin.claims] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert_places(MIXED, handin)


@pytest.mark.parametrize("text", [ARTICLE, NOTES, LIST, NIELSEN, MIXED])
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_do_not_matter(text: str, end: str) -> None:
    assert brief(read_handin(text.replace("\n", end).encode())) == brief(read_handin(text))


# ---------------------------------------------------------------- the corpus


@pytest.mark.parametrize("wrap", ["{}", "\\[{}\\]", "\\begin{{align}}{}\\end{{align}}", "# Notes\n$${}$$\n"])
def test_every_line_of_the_corpus_is_one_claim(wrap: str) -> None:
    for entry in CORPUS:
        lines = entry["claim"] if isinstance(entry["claim"], list) else [entry["claim"]]
        if any(r"\begin{align" in line for line in lines):
            continue  # a display of its own
        handin = read_handin(wrap.format(" \\\\\n".join(lines)))
        assert len(handin.claims) == len(lines), entry["id"]
        assert all(isinstance(c.row, Row) for c in handin.claims), entry["id"]
        assert not any(c.definition for c in handin.claims), entry["id"]


# ---------------------------------------------------------------- what is a claim, what continues


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("here $a = b$ and $a \\approx b$ and $x$", ["a = b"]),
        ("$l = 1, \\dots, L$ but $l = 1$", ["l = 1"]),
        ("$\\sum_{k=0}^{n} x_k$", []),
        ("$a \\overset{!}{=} b$", [r"a \overset{!}{=} b"]),
        ("$x \\text{ if $y = 1$} = 2$", [r"x \text{ if $y = 1$} = 2"]),
        ("$$\n\\begin{align*} a &= b \\\\ c &= d \\end{align*}\n$$", ["a = b", "c = d"]),
        ("\\(a = b\\) \\[c = d\\]", ["a = b", "c = d"]),
        ("\\[ \\begin{bmatrix} a & b \\\\ c & d \\end{bmatrix} = M \\]", [r"\begin{bmatrix} a & b \\ c & d \end{bmatrix} = M"]),
        ("- a = b\n- c = d", ["a = b", "c = d"]),
        ("- a = b", ["- a = b"]),
        ("a = b\r\nc = d\r\n", ["a = b", "c = d"]),
        ("a = b\rc = d\r", ["a = b", "c = d"]),
        ("", []),
        ("Nothing to see here", []),
    ],
)  # fmt: skip
def test_claims(text: str, claims: list[str]) -> None:
    assert [c.latex for c in read_handin(text).claims] == claims


def test_a_chain_goes_on_in_the_next_display_but_not_from_what_is_no_equation() -> None:
    first, second = read_handin(r"\[a = b\] and then \[= c\]").claims
    assert second.continued and first.group == second.group == 1
    (*_, last) = read_handin(r"\[x = 1\] \[a \approx b\] \[= c\]").claims
    assert isinstance(last.row, Unread)
    assert "goes on from one that is no equation" in last.row.error.what
    (only,) = read_handin("= c").claims
    assert only.continued and only.group == 1


def test_macros_go_from_one_formula_to_the_next_and_stand_where_they_are_used() -> None:
    text = "# T\n" + "words " * 50 + "$\\newcommand{\\f}[2][x]{#1_{#2}}$\n\nThen $\\f{j} = \\f[y]{k}$."
    (claim,) = read_handin(text).claims
    assert isinstance(claim.row, Row) and show(claim.row) == "(= x_[j] y_[k])"
    assert (claim.line, claim.column, claim.latex) == (4, 7, r"\f{j} = \f[y]{k}")
    assert claim.row.left is not None and claim.row.left.place.column == 7


def test_one_bad_line_spoils_no_other() -> None:
    handin = read_handin("\\begin{align} a &= b \\\\ c &= {d \\\\ e &= f \\end{align} $g = h$")
    assert [(c.latex, isinstance(c.row, Unread)) for c in handin.claims] == [
        ("a = b", False),
        ("c = {d", True),
        ("e = f", False),
        ("g = h", False),
    ]


@pytest.mark.parametrize("name", ["input", "include", "csname", "catcode", "write", "openin", "directlua"])
@pytest.mark.parametrize("text", ["Words \\{} {{/etc/passwd}}.\n\nThen $a = b$.", "$a = b$ and $x = \\{} {{y}}$"])
def test_no_file_is_read_and_nothing_is_written(name: str, text: str) -> None:
    handin = read_handin(text.format(name), "a.tex")
    (bad,) = [c for c in handin.claims if isinstance(c.row, Unread)]
    assert isinstance(bad.row, Unread)
    assert f"\\{name} is not followed" in bad.row.error.what
    assert bad.row.error.line == 1
    assert "a = b" in [c.latex for c in handin.claims]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (r"\def\a{\a} $\a = 1$", "stands for itself"),
        (r"\newcommand{\a}{\b\b}\newcommand{\b}{\a} $\a = 1$", "stands for itself"),
        (r"$a = b", "nothing closes this '$'"),
        (r"\begin{align} a &= b \end{equation}", "is closed by"),
        (r"\[ a = b", r"nothing closes this '\['"),
        (r"$x$ So \frac{a}{b} = 3", "mathematics outside of mathematics"),
        ("a = b\x07", "raw string"),
        ("x = " + "a" * 70_000, "too large"),
    ],
)
def test_what_is_not_understood_says_why(text: str, what: str) -> None:
    errors = [c.row.error for c in read_handin(text).claims if isinstance(c.row, Unread)]
    assert any(what in e.what for e in errors), errors


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "lets"),
    [
        ("Let $\\sigma = g$ and $E = C_0$.", ["\\sigma for g", "E for C_{0}"]),
        ("where $E := C_0$", ["E for C_{0}"]),
        ("$E \\equiv C_0$", ["E for C_{0}"]),
        ("$C_0 =: E$", ["E for C_{0}"]),
        ("$E \\stackrel{\\text{def}}{=} C_0$", ["E for C_{0}"]),
        ("\\[ \\text{let } E = C_0 \\]", ["E for C_{0}"]),
        ("\\[ a_j = b_j, \\quad \\text{where } E = C_0 \\]", ["E for C_{0}"]),
        ("Write $E$ for $C_0$, denote $b$ by $\\beta$.", ["E for C_{0}", "\\beta for b"]),
        ("We define $e^l_j = \\delta^l_j$", ["e for \\delta"]),
        ("Let $\\phi(z) = g(z)$", ["\\phi for g"]),
        ("$E = C_0$ outright", []),
        ("The outlet $E = C_0$", []),
        ("Let $E = C_0$. Then $F = D$", ["E for C_{0}"]),
        ("where $E = 2 C_0$ and $j = k$ in $w_{jk} = 1$", []),
    ],
)
def test_marked_definitions(text: str, lets: list[str]) -> None:
    assert [str(r) for r in read_handin(text).lets] == lets


@pytest.mark.parametrize(
    ("let", "before", "after"),
    [
        ("E=C_0", r"\frac{\partial E}{\partial w} = E^2", r"\frac{\partial C_0}{\partial w} = C_0^2"),
        ("E=C_0", r"dE/dw = \frac E n", r"dC_0/dw = \frac{C_0}{n}"),
        ("E=C_0", r"E_n = \mathrm{E} \hat E", r"E_n = \mathrm{E} \hat E"),
        (r"\sigma=g", r"a^{(l)} = \sigma^{(l)}(z) \sigma'(z)", r"a^{(l)} = g^{(l)}(z) g'(z)"),
        (r"\hat{y} = a", r"\delta = \hat y_j - y_j", r"\delta = a_j - y_j"),
        ("a=b", "a = b", "b = b"),
    ],
)
def test_renamed(let: str, before: str, after: str) -> None:
    (claim,) = read_handin(before, lets=[read_let(let)]).claims
    (expected,) = read_handin(after).claims
    assert claim.row == expected.row
    assert claim.latex == before
    assert isinstance(claim.row, Row)
    assert claim.row.place.start == 0


def test_what_gives_a_name_keeps_it() -> None:
    handin = read_handin("Let $E = C_0$.\n\\[ E = E^2 \\]")
    assert rows(renamed(handin, handin.lets)) == ["(= E C_[0])", "(= C_[0] C_[0]^[2])"]


@pytest.mark.parametrize(
    "text", ["E", "E=2C", "=C", "E=C=D", "E=C_j", "E_n=C_0", "E=E", "\\text{", "x" * 2000, "E=\x00", ""]
)
def test_no_renaming(text: str) -> None:
    with pytest.raises(ReadError):
        read_let(text)


# ---------------------------------------------------------------- any bytes


def assert_total(data: bytes | str, name: str = "") -> tuple[Claim, ...]:
    handin = read_handin(data, name)
    for n, c in enumerate(handin.claims, 1):
        assert c.number == n
        assert c.line >= 1 and c.column >= 1
        assert c.latex.isprintable() or "\xa0" in c.latex or not c.latex.isascii()
        c.latex.encode("utf-8")
    return handin.claims


@pytest.mark.parametrize(
    "unit",
    ["$", "{", "\\begin{align}", "\\\\", "\\(", "`", "\0", "\n", "$a=b$", "$\\text{", "\\text{$}", "=", "<!--", "\\verb|", "\u202e"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["", "x.md", "x.tex"])
def test_a_large_hand_in_ends_in_time(unit: str, name: str) -> None:
    assert_total("# T\n$a=b$\n\n" * bool(name) + unit * (200_000 // len(unit)), name)


def test_budgets() -> None:
    (claim,) = read_handin(b"a" * (1024 * 1024 + 1)).claims
    assert isinstance(claim.row, Unread) and "too large" in claim.row.error.what
    claims = read_handin("$a=b$ " * 3000).claims
    assert len(claims) == 2001
    assert isinstance(claims[-1].row, Unread) and "2000 claims" in claims[-1].row.error.what


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\xfd", b"a = \xe9", b"\xff\xfea", b'{"cells": [[[', b'{"cells": 1, "nbformat": 4}']
)
def test_what_is_no_text_is_one_claim_that_is_not_understood(data: bytes) -> None:
    (claim,) = assert_total(data)
    assert isinstance(claim.row, Unread)


def test_utf_16_is_read_where_it_says_so() -> None:
    (claim,) = read_handin("C = δ".encode("utf-16")).claims
    assert claim.latex == "C = δ"


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200)), st.sampled_from(["", "a.md", "a.tex", "a.ipynb"]))
@example("\ud800 = 1", "")
@example("$a\u200b = b$ \u202e$c = d$", "a.md")
@settings(max_examples=150, deadline=None)
def test_any_bytes(data: bytes | str, name: str) -> None:
    assert_total(data, name)


PIECES = ["$", "$$", "\\[", "\\]", "\\\\", "&", "{", "}", "\\text{let }", "\n", "\n\n", "`", "```\n", "=", "\\begin{align}",
          "\\end{align}", "\\def\\q#1{#1}", "\\q", "%", "> ", "for all j", "1) "]  # fmt: skip


@given(st.integers(0, 10**9))
@settings(max_examples=150, deadline=None)
def test_mutated_lines(seed: int) -> None:
    rng = random.Random(seed)
    claim = rng.choice(CORPUS)["claim"]
    text = claim if isinstance(claim, str) else "\\\\".join(claim)
    text = text[: rng.randrange(len(text) + 1)] if rng.random() < 0.5 else text
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(PIECES) + text[at + rng.choice([0, 0, 1, 4]) :]
    assert_total(text, rng.choice(["", "a.md", "a.tex"]))
