"""Reports made by hand, for the tests of how reports are shown: every verdict, every kind of remark, hostile text."""

from __future__ import annotations

from symbackprop.report import Counterexample, Finding, Fix, Mark, Report


def mark(latex: str, part: str) -> Mark:
    """The place of a part of a line."""
    at = latex.index(part)
    return Mark(at, at + len(part))


COST = r"C_0 = \sum_{j=0}^{n-1} \left( a_j^{(L)} - y_j \right)^2"
CHAIN = r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = \frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}} \frac{\partial a_j^{(L)}}{\partial z_j^{(L)}} \frac{\partial C_0}{\partial a_j^{(L)}}"
NO_SLOPE = r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = 2 \left( a_j^{(L)} - y_j \right) a_k^{(L-1)}"
WITH_SLOPE = r"\frac{\partial C_0}{\partial w_{jk}^{(L)}} = 2 \left( a_j^{(L)} - y_j \right) g^{\prime(L)}\left( z_j^{(L)} \right) a_k^{(L-1)}"
CARRIED = r"= 2\, a_k^{(L-1)} \left( a_j^{(L)} - y_j \right)"
TRANSPOSED = r"\delta_j^{(l)} = \sum_{k=0}^{n-1} w_{jk}^{(l+1)} \delta_k^{(l+1)} g^{\prime(l)}\left( z_j^{(l)} \right)"
RIGHT_WAY = r"\delta_j^{(l)} = \sum_{k=0}^{n-1} w_{kj}^{(l+1)} \delta_k^{(l+1)} g^{\prime(l)}\left( z_j^{(l)} \right)"

NETWORK = Counterexample(
    (5, 3, 4, 6),
    {"j": 2, "k": 0},
    {
        "x": ["1/2", "-3", "2/7", "5", "-1/3"],
        "y": ["1", "0", "-4/5", "3", "2", "1/9"],
        "w^{(1)}": [["1", "-2", "3/4", "0", "1/2"], ["2", "1/5", "-1", "1", "3"], ["0", "-1/2", "4", "2/3", "-1"]],
        "w^{(2)}": [["1", "2", "-3"], ["1/2", "0", "1"], ["-1", "5/6", "2"], ["3", "-2", "1/4"]],
        "g^{(1)}": r"u^3 - \tfrac{1}{2} u",
        "g^{(2)}": r"2 u^2 + u - \tfrac{1}{3}",
        "eta": "1/10",
    },
    "7/6",
    "-5/2",
)

RIGHT = (
    ("chain rule", CHAIN),
    ("derivative of the cost", r"\frac{\partial C_0}{\partial a_j^{(L)}} = 2 \left( a_j^{(L)} - y_j \right)"),
    ("derivative of the activation", r"\frac{\partial a_j^{(L)}}{\partial z_j^{(L)}} = g^{\prime(L)}\left( z_j^{(L)} \right)"),
    ("put together", WITH_SLOPE),
)  # fmt: skip

HOMEWORK = Report(
    "hw.tex",
    (
        Finding(1, 3, 5, COST, "proved", "proved", scope="all sizes"),
        Finding(2, 7, 5, CHAIN, "proved", "proved", scope="all sizes"),
        Finding(
            3, 9, 1, NO_SLOPE, "refuted", "refuted",
            fixes=(
                Fix("missing_activation_derivative", WITH_SLOPE, "g^{\\prime(L)}(z_j^{(L)}) is missing",
                    (Mark(NO_SLOPE.index("a_k^"), NO_SLOPE.index("a_k^")),), (mark(WITH_SLOPE, r"g^{\prime(L)}\left( z_j^{(L)} \right)"),)),
                Fix("wrong_variable", NO_SLOPE.replace("w_{jk}", "z_{j}"), "z_j^{(L)} in place of w_{jk}^{(L)}"),
            ),
            counterexample=NETWORK, right=RIGHT,
        ),
        Finding(4, 10, 1, CARRIED, "proved", "refuted", carried=True, scope="all sizes"),
        Finding(
            5, 14, 1, TRANSPOSED, "refuted", "refuted",
            fixes=(Fix("transposed_weight", RIGHT_WAY, "w_{kj} in place of w_{jk}",
                       (mark(TRANSPOSED, "_{jk}"),), (mark(RIGHT_WAY, "_{kj}"),)),),
            counterexample=Counterexample((3, 3, 3, 3), {"l": 1, "j": 2}, {}, "12345678901234567890123/98765432109876543", "-2.50000000001"),
            convention="weights that leave a layer: w_{jk} leads from node j to node k",
        ),
        Finding(
            6, 18, 3, r"\delta_j^{(l)} = \frac{\partial C_0}{\partial z_j^{(l)}}", "proved", "proved",
            scope="all sizes, 1 <= l < L", facts=("sum_j y_j = 1",),
            proof=("Induction from $l = L$ down to $1$.", "Base $l = L$: both sides are $2(a_j^{(L)} - y_j)\\, g'(z_j^{(L)})$.",
                   "Step: if it holds for $l+1$, it holds for $l$."),
        ),
        Finding(7, 21, 1, r"\mathcal{L} := \frac{1}{m} \sum_{i=1}^{m} C_i", "definition", "definition"),
        Finding(8, 23, 1, r"\tanh(z_j^{(L)}) \le 1", "undecided", "undecided", samples=240, message="an inequality between functions is not decided"),
        Finding(9, 25, 9, r"C_0 = a_j^{(L)} \bowtie y_j", "not_understood", "not_understood",
                message=r"column 21: \bowtie is not known", marks=(mark(r"C_0 = a_j^{(L)} \bowtie y_j", r"\bowtie"),)),
    ),
    answered=False,
    goal=r"\partial C_0/\partial w_{jk}^{(L)}",
    taken=(("E", "C_0"), ("\\sigma", "g")),
    notes=("2 formulas without an equals sign were passed over",),
    model="deeplizard",
    seconds=0.31,
)  # fmt: skip

ALL_RIGHT = Report(
    "right.tex",
    (Finding(1, 1, 1, COST, "proved", "proved", scope="all sizes"), Finding(2, 2, 1, WITH_SLOPE, "proved", "proved", answers=True)),
    answered=True,
    goal="w_jk^L",
)  # fmt: skip

NOTHING = Report("prose.md", (), notes=("no formula with an equals sign was found",))

EVIL = "a </script><script>alert(1)</script> $x$ `code` \x1b[31mred\x1b[0m \u202eright to left\u202c \x07 &amp; <img src=x onerror=alert(1)> \\href{javascript:alert(1)}{x} \\htmlClass{mark}{y} \ud800 שלום 漢字 \u2028 \x9b31m _*[]"

HOSTILE = Report(
    "=cmd|' /C calc'!A0 </title><script>.tex",
    (
        Finding(1, 1, 1, EVIL, "refuted", "refuted", message=EVIL, scope=EVIL, convention=EVIL, facts=(EVIL,),
                fixes=(Fix("other", EVIL, EVIL, (Mark(2, 11),), (Mark(0, 10_000), Mark(-3, 4))),),
                counterexample=Counterexample((1, 2), {EVIL: 1}, {EVIL: [[EVIL]]}, EVIL, EVIL, (EVIL, "n")),
                proof=(EVIL,), right=((EVIL, EVIL),), where=EVIL),
        Finding(2, 2, 1, r"a = \frac{1}{", "not_understood", "not_understood", marks=(Mark(4, 13),)),
        Finding(3, 3, 1, "x" * 20_000 + " = y", "not_understood", "not_understood", message="too long", marks=(Mark(19_990, 20_001),)),
        Finding(4, 4, 1, "", "not_understood", "not_understood"),
        Finding(5, 5, 1, r"a = b % c" + "\n" + r"\\ & d", "undecided", "undecided", marks=(Mark(4, 5), Mark(8, 14))),
    ),
    taken=((EVIL, EVIL),),
    notes=(EVIL,),
    goal=EVIL,
    answered=False,
    model=EVIL,
)  # fmt: skip

LONG = Report(
    "long.tex",
    tuple(
        Finding(n, 3 * n, 1, [COST, CHAIN, WITH_SLOPE, TRANSPOSED][n % 4], "refuted" if n % 4 == 3 else "proved", "proved",
                fixes=HOMEWORK.claims[4].fixes if n % 4 == 3 else (), counterexample=NETWORK if n % 4 == 3 else None,
                where=f"cell {n}, line 2")
        for n in range(1, 41)
    ),
)  # fmt: skip

REPORTS = {"homework": HOMEWORK, "right": ALL_RIGHT, "nothing": NOTHING, "hostile": HOSTILE, "long": LONG}
