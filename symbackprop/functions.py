"""Functions by name: elementary functions, activations, layer maps and costs.

A new activation is one value of `Function` in `ACTIVATIONS`, a new cost one value of `Cost` in
`COSTS`: printers, rules, samples, backends and tests read these tables and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from symbackprop.indices import Affine, Axis
from symbackprop.symbols import ONE, ZERO, Call, Compare, Div, Expr, Mul, Num, Param, Pow, Size, Sum, Where, expr

PI = Param("pi")


@dataclass(frozen=True, slots=True)
class Function:
    """A scalar function of one scalar.

    Args:
        name: How it is asked for.
        latex, text: How it is written before its argument.
        slope: Its derivative, given its argument z and its own value a = f(z): textbooks write
            sigma' = a(1 - a). Checked against the derivative of `value` in the tests.
        value: Its definition in terms of other functions; None for an elementary function.
        rule: The name of the rule that differentiates it.
        kink: What is taken as the derivative where there is none.
        source: The definition as its author wrote it (LaTeX), for a reader's own function.
    """

    name: str
    latex: str
    text: str
    slope: Callable[[Expr, Expr], Expr]
    value: Callable[[Expr], Expr] | None = None
    rule: str = ""
    kink: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class LayerMap:
    """An activation whose every output depends on all inputs of its layer."""

    name: str
    latex: str
    text: str
    value: Callable[[Callable[[Affine], Expr], Affine, str, Axis], Expr]


def call(name: str, *arguments: Expr) -> Expr:
    return Call(name, arguments)


def positive(z: Expr) -> Expr:
    return Compare(">", z, ZERO)


HALF = Num(Fraction(1, 2))
_GELU_C = Num(Fraction("0.044715"))


def _gelu_inner(z: Expr) -> Expr:
    return call("sqrt", Div(expr(2), PI)) * (z + _GELU_C * Pow(z, expr(3)))


ELEMENTARY = (
    Function("exp", r"\exp", "exp", lambda z, a: a, rule="derivative of exp"),
    Function("log", r"\ln", "ln", lambda z, a: Div(ONE, z), rule="derivative of ln"),
    Function(
        "sqrt", r"\operatorname{sqrt}", "sqrt", lambda z, a: Div(ONE, 2 * a), rule="derivative of the square root"
    ),
    Function(
        "abs",
        r"\operatorname{abs}",
        "abs",
        lambda z, a: call("sign", z),
        rule="derivative of the absolute value",
        kink="|z| has no derivative at 0; 0 is taken",
    ),
    Function("sign", r"\operatorname{sgn}", "sgn", lambda z, a: ZERO, rule="a sign is constant between its jumps"),
    Function(
        "erf",
        r"\operatorname{erf}",
        "erf",
        lambda z, a: Div(expr(2), call("sqrt", PI)) * call("exp", -Pow(z, expr(2))),
        rule="derivative of erf",
    ),
    Function("sin", r"\sin", "sin", lambda z, a: call("cos", z), rule="derivative of sin"),
    Function("cos", r"\cos", "cos", lambda z, a: -call("sin", z), rule="derivative of cos"),
)

identity = Function("identity", r"\operatorname{id}", "id", value=lambda z: z, slope=lambda z, a: ONE)

sigmoid = Function(
    "sigmoid",
    r"\sigma",
    "σ",
    value=lambda z: Div(ONE, 1 + call("exp", -z)),
    slope=lambda z, a: a * (1 - a),
)

tanh = Function(
    "tanh",
    r"\tanh",
    "tanh",
    value=lambda z: Div(call("exp", z) - call("exp", -z), call("exp", z) + call("exp", -z)),
    slope=lambda z, a: 1 - Pow(a, expr(2)),
)

relu = Function(
    "relu",
    r"\operatorname{ReLU}",
    "ReLU",
    value=lambda z: Where(positive(z), z, ZERO),
    slope=lambda z, a: Where(positive(z), ONE, ZERO),
    kink="ReLU has no derivative at 0; 0 is taken",
)

leaky_relu = Function(
    "leaky_relu",
    r"\operatorname{LReLU}",
    "LReLU",
    value=lambda z: Where(positive(z), z, Num(Fraction(1, 100)) * z),
    slope=lambda z, a: Where(positive(z), ONE, Num(Fraction(1, 100))),
    kink="leaky ReLU has no derivative at 0; 1/100 is taken",
)

elu = Function(
    "elu",
    r"\operatorname{ELU}",
    "ELU",
    value=lambda z: Where(positive(z), z, call("exp", z) - 1),
    slope=lambda z, a: Where(positive(z), ONE, call("exp", z)),
)

softplus = Function(
    "softplus",
    r"\operatorname{softplus}",
    "softplus",
    value=lambda z: call("log", 1 + call("exp", z)),
    slope=lambda z, a: call("sigmoid", z),
)

silu = Function(
    "silu",
    r"\operatorname{SiLU}",
    "SiLU",
    value=lambda z: z * call("sigmoid", z),
    slope=lambda z, a: call("sigmoid", z) + z * call("sigmoid", z) * (1 - call("sigmoid", z)),
)

gelu = Function(
    "gelu",
    r"\operatorname{GELU}",
    "GELU",
    value=lambda z: Div(z, expr(2)) * (1 + call("erf", Div(z, call("sqrt", expr(2))))),
    slope=lambda z, a: (
        HALF * (1 + call("erf", Div(z, call("sqrt", expr(2)))))
        + Div(z, call("sqrt", 2 * PI)) * call("exp", -Div(Pow(z, expr(2)), expr(2)))
    ),
)

gelu_tanh = Function(
    "gelu_tanh",
    r"\operatorname{GELU}_{\tanh}",
    "GELUₜₐₙₕ",
    value=lambda z: Div(z, expr(2)) * (1 + call("tanh", _gelu_inner(z))),
    slope=lambda z, a: (
        HALF * (1 + call("tanh", _gelu_inner(z)))
        + Div(z, expr(2))
        * (1 - Pow(call("tanh", _gelu_inner(z)), expr(2)))
        * call("sqrt", Div(expr(2), PI))
        * (1 + 3 * _GELU_C * Pow(z, expr(2)))
    ),
)

huber_loss = Function(
    "huber",
    r"h",
    "h",
    value=lambda r: Where(
        Compare("<=", call("abs", r), ONE), Div(Pow(r, expr(2)), expr(2)), call("abs", r) - Num(Fraction(1, 2))
    ),
    slope=lambda r, a: Where(Compare("<=", call("abs", r), ONE), r, call("sign", r)),
)

softmax = LayerMap(
    "softmax",
    r"\operatorname{softmax}",
    "softmax",
    value=lambda z, j, p, axis: Div(call("exp", z(j)), Sum(p, axis, call("exp", z(Affine(((p, 1),)))))),
)

ACTIVATIONS = (identity, sigmoid, tanh, relu, leaky_relu, elu, softplus, silu, gelu, gelu_tanh)
LAYER_MAPS = (softmax,)
GENERIC = ("generic", "same")

FUNCTIONS: dict[str, Function] = {f.name: f for f in (*ELEMENTARY, *ACTIVATIONS, huber_loss)}
ACTIVATION_NAMES = (*GENERIC, *(f.name for f in ACTIVATIONS), *(m.name for m in LAYER_MAPS))


CostTerm: TypeAlias = Callable[[Expr, Expr], Expr]


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one sample, by its formula.

    Args:
        name: How it is asked for.
        term: The summand for one output: of the output a_j and the target y_j. None: a generic cost C(a).
        factor: What stands before the sum, given the axis of the outputs.
        output: An activation that the formula is meant for, put on the last layer.
        facts: Facts that hold of its targets unless the caller declares others.
    """

    name: str
    term: CostTerm | None
    factor: Callable[[Axis], Expr] | None = None
    output: str | None = None
    facts: tuple[str, ...] = ()


COSTS = (
    Cost("sum_squares", lambda a, y: Pow(a - y, expr(2))),
    Cost("half_sum_squares", lambda a, y: Pow(a - y, expr(2)), factor=lambda axis: HALF),
    Cost("mean_squares", lambda a, y: Pow(a - y, expr(2)), factor=lambda axis: Div(ONE, Size(axis))),
    Cost("sum_absolute", lambda a, y: call("abs", a - y)),
    Cost("huber", lambda a, y: call("huber", a - y)),
    Cost(
        "binary_cross_entropy",
        lambda a, y: y * call("log", a) + (1 - y) * call("log", 1 - a),
        factor=lambda axis: Num(Fraction(-1)),
    ),
    Cost(
        "softmax_cross_entropy",
        lambda a, y: y * call("log", a),
        factor=lambda axis: Num(Fraction(-1)),
        output="softmax",
        facts=("sum_j y_j = 1",),
    ),
    Cost("generic", None),
)
COST_NAMES = tuple(c.name for c in COSTS)
AMBIGUOUS_COSTS = {
    "mse": "'mse' is ambiguous: write 'sum_squares' for Σ_j (a_j − y_j)², 'half_sum_squares' for half of it, "
    "or 'mean_squares' for (1/n_L) Σ_j (a_j − y_j)²"
}


def product(*factors: Expr) -> Expr:
    return Mul(factors) if len(factors) != 1 else factors[0]
