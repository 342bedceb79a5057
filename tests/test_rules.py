"""Every rule: what it does, that it is true on samples, that a plausible slip is not, and where it stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import pytest
from conftest import assert_equal_on_samples, differs_on_samples

from symbackprop import load
from symbackprop.derive import derive
from symbackprop.functions import ELEMENTARY, FUNCTIONS
from symbackprop.indices import Affine, Axis, Guard, affine, at_least, between, equals
from symbackprop.network import SAMPLES, Equation, SizeRule, System, dense_system, node_axis
from symbackprop.rules import RULES, Context
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Call,
    Compare,
    D,
    Delta,
    Depends,
    Div,
    Expr,
    Family,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Summand,
    Vec,
    Where,
    Winner,
    WrittenOut,
    expr,
    same,
    walk,
)

NET = dense_system(bias=True)  # symbolic L and n_l, a generic g^(l) for each layer
SHARED = dense_system(activation="same")
SIGMOID = dense_system(activation="sigmoid")
NARROW = dense_system([3, 1, 2])  # a hidden layer of one node
SOFTMAX = dense_system(activation="sigmoid", loss="softmax_cross_entropy")
HALF = dense_system(loss="half_sum_squares")
GENERIC = dense_system(loss="generic")
TABLE = dense_system([4, 3, 5], activation=["tanh", "sigmoid"])
NAMED = dense_system([4, 3, 5], activation=["identity", "relu"])

NODES, OTHERS, TIMES = Axis("node", "N"), Axis("node", "M"), Axis("recursion", "t", None, affine(0), affine("T"))
FLAT_FAMILIES = (
    Family("u", ("i",), (NODES,), "input"),
    Family("v", ("j",), (OTHERS,), "input"),
    Family("m", ("i", "j"), (NODES, OTHERS), "input"),
    Family("mu", (), (), "derived"),
    Family("f", ("j",), (Axis("node", "K"),), "derived"),
    Family("d", ("t",), (TIMES,), "input", "", between(0, "t", "T")),
    Family("h", ("t",), (TIMES,), "derived", "", between(0, "t", "T")),
    Family("q", ("t",), (TIMES,), "derived", "", between(0, "t", "T")),
    Family("C", (), (), "cost"),
)
FLAT = System(
    {family.name: family for family in FLAT_FAMILIES},
    (
        Equation(Ref("mu", ()), Mul((Div(ONE, Size(NODES)), Sum("i", NODES, Ref("u", (affine("i"),)))))),
        Equation(Ref("f", (affine("j"),)), Call("exp", (Ref("v", (affine("j"),)),))),  # for fewer nodes than v has
        Equation(Ref("h", (affine("t"),)), Pow(Ref("d", (affine("t"),)), expr(2)), between(0, "t", "T")),
        Equation(
            Ref("q", (affine("t"),)),
            Div(Call("exp", (Ref("d", (affine("t"),)),)), Sum("r", TIMES, Call("exp", (Ref("d", (affine("r"),)),)))),
            between(0, "t", "T"),
        ),
        # h_T is used by nothing.
        Equation(
            Ref("C", ()),
            Sum("t", TIMES, Mul((Ref("h", (affine("t") - 1,)), Ref("d", (affine("t"),)))), between(1, "t", "T")),
        ),
    ),
    "C",
    affine(0),
    (),
    rules={"K": SizeRule(affine("M") - 1)},
    integers=("e", "s"),
)
"""Axes with a size of their own, times, and integers in index expressions."""

w, b, z, a, x, y = (NET.families[n] for n in "wbzaxy")
u, v, m, d, h = (FLAT.families[n] for n in "uvmdh")
C0, C, CI = Ref("C_0", ()), Ref("C", ()), NET.families["C_i"]
L, l = affine("L"), affine("l")
HERE, BELOW, ABOVE, TOP = node_axis(l), node_axis(l - 1), node_axis(l + 1), node_axis(L)
INSIDE = between(1, "l", "L")
HIDDEN = between(1, "l", L - 1)
N = expr


def g(argument: Expr, order: int = 0, at: Affine | None = l) -> Call:
    return Call("g", (argument,), order, at)


def f(name: str, argument: Expr, order: int = 0) -> Call:
    return Call(name, (argument,), order)


def minus(e: Expr) -> Mul:
    return Mul((Num(Fraction(-1)), e))


def roles(*factors: tuple[Expr, str]) -> Mul:
    return Mul(tuple(e for e, _ in factors), tuple(r for _, r in factors))  # type: ignore[arg-type]


aj, ap, aq, zj, zp, yj, yp = a[l, "j"], a[l, "p"], a[l, "q"], z[l, "j"], z[l, "p"], y["j"], y["p"]
oj, op = a[L, "j"], a[L, "p"]
wjk, ak = w[l, "j", "k"], a[l - 1, "k"]
weighted = Sum("k", BELOW, wjk * ak)
squares = Sum("j", TOP, Pow(oj - yj, N(2)))
mean = Mul((Div(ONE, Size(SAMPLES)), Sum("i", SAMPLES, CI["i"])))
soft_j = Div(f("exp", zj), Sum("p", HERE, f("exp", zp)))


@dataclass(frozen=True)
class Case:
    """A rule applied once.

    Args:
        rule: Its name.
        before, after: What it is applied to, and what must come out, up to the names of bound indices.
        slip: A wrong outcome of the kind that a person writes.
    """

    rule: str
    says: str
    before: Expr
    after: Expr
    slip: Expr
    system: System = NET
    assume: Guard = INSIDE
    known: Mapping[Expr, Expr] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.rule}: {self.says}"

    @property
    def context(self) -> Context:
        return Context(self.system, self.assume, self.known, self.taken)


slope_k = Partial(z[l, "j"], wjk, True)
known_slope = {slope_k: ak}
ui, uk, vj, mij = u["i"], u["k"], v["j"], m["i", "j"]
largest = Max("i", NODES, mij)
factors = Prod("i", NODES, 1 + ui)
past, later = (at_least("i", 1),), (at_least("j", 1),)
upstream = Partial(C0, a[l, "j"])
next_sum = Sum("k", ABOVE, w[l + 1, "k", "j"] * Partial(C0, z[l + 1, "k"]))

LABELS = load("multinomial-labels").system
CLASSES = LABELS.families["p"].axes[1]


def is_label(k: str, i: str = "i") -> Where:
    """[y_i = k]."""
    return Where(Compare("==", LABELS.families["y"][i], Position(affine(k))), ONE, ZERO)


def prob(k: str) -> Ref:
    return LABELS.families["p"]["i", k]


CASES = (
    Case("arithmetic", "ones and zeros go", Add((Mul((ONE, wjk)), ZERO)), wjk, wjk + 1),
    Case("arithmetic", "zero times anything is zero", Mul((ZERO, aj)), ZERO, aj),
    Case(
        "arithmetic",
        "numbers are gathered in front",
        Mul((aj, N(2), zj, N(3))),
        Mul((N(6), aj, zj)),
        Mul((N(5), aj, zj)),
    ),
    Case(
        "arithmetic",
        "a nested chain keeps its roles",
        roles((roles((Partial(C0, aj), "upstream"), (g(zj, 1), "slope")), "upstream"), (ak, "incoming")),
        roles((Partial(C0, aj), "upstream"), (g(zj, 1), "slope"), (ak, "incoming")),
        roles((Partial(C0, aj), "upstream"), (ak, "incoming")),
    ),
    Case(
        "arithmetic",
        "numbers of a sum are added",
        Add((aj, N(2), minus(zj), N(-3))),
        Add((aj, minus(zj), N(-1))),
        Add((aj, minus(zj), N(5))),
    ),
    Case("cancel", "a factor above and below goes", Mul((Div(zj, aj), aj)), zj, Mul((zj, aj))),
    Case("cancel", "the minus sign stays", Mul((minus(Div(zj, aj)), aj)), minus(zj), zj),
    Case(
        "cancel",
        "under every term of a sum",
        Mul((Div(zj, aj) + Div(wjk, aj), aj)),
        zj + wjk,
        zj + Div(wjk, aj),
    ),
    Case(
        "multiply out and collect",
        "-y(1-a) + (1-y)a is a - y",
        minus(Mul((yj, 1 - oj))) + Mul((1 - yj, oj)),
        oj - yj,
        yj - oj,
    ),
    Case("reorder", "the positive term comes first", Add((minus(yj), oj)), Add((oj, minus(yj))), Add((oj, yj))),
    Case(
        "common factor", "stands before the bracket", Add((aj * zj, aj * wjk)), Mul((aj, zj + wjk)), Mul((aj, zj, wjk))
    ),
    Case(
        "common factor",
        "a whole term leaves a one",
        Add((aj * zj, aj)),
        Mul((aj, zj + 1)),
        Mul((aj, zj)),
    ),
    Case(
        "minus signs",
        "go into the bracket",
        Mul((Num(Fraction(-1)), yj, oj - zj)),
        Mul((yj, zj - oj)),
        Mul((yj, oj - zj)),
        assume=(equals("l", "L"),),
    ),
    Case("recognise a quantity", "g(z_j) is a_j", g(zj), aj, ak),
    Case("recognise a quantity", "a sigmoid of z_p is a_p", f("sigmoid", zp), ap, zp, SIGMOID),
    Case("recognise a quantity", "the quotient of a softmax is a_j", soft_j, aj, zj, SOFTMAX, (equals("l", "L"),)),
    Case(
        "chain rule",
        "a weight enters its own node only",
        Partial(C0, wjk),
        roles((Partial(C0, zj), "upstream"), (Partial(zj, wjk, True), "incoming")),
        roles((Partial(C0, z[l, "k"]), "upstream"), (Partial(zj, wjk, True), "incoming")),
        assume=(*INSIDE, equals("l", "L")),
    ),
    Case(
        "chain rule",
        "an activation enters every node above",
        Partial(C0, aj),
        Sum(
            "p", ABOVE, roles((Partial(C0, z[l + 1, "p"]), "upstream"), (Partial(z[l + 1, "p"], aj, True), "incoming"))
        ),
        roles((Partial(C0, z[l + 1, "j"]), "upstream"), (Partial(z[l + 1, "j"], aj, True), "incoming")),
        assume=HIDDEN,
    ),
    Case(
        "chain rule",
        "a softmax couples its layer",
        Partial(C0, z[L, "j"]),
        Sum("q", TOP, roles((Partial(C0, a[L, "q"]), "upstream"), (Partial(a[L, "q"], z[L, "j"], True), "slope"))),
        roles((Partial(C0, oj), "upstream"), (Partial(oj, z[L, "j"], True), "slope")),
        SOFTMAX,
        (),
    ),
    Case(
        "definition",
        "the right side stands under the operator, its index renamed",
        slope_k,
        D(Add((Sum("p", BELOW, w[l, "j", "p"] * a[l - 1, "p"]), b[l, "j"])), wjk),
        D(Add((Sum("p", BELOW, w[l, "j", "p"]), b[l, "j"])), wjk),
    ),
    Case(
        "differentiate the definition",
        "the mean over the samples",
        Partial(C, wjk),
        D(mean, wjk, True),
        D(Sum("i", SAMPLES, CI["i"]), wjk, True),
        assume=(*INSIDE, equals("l", "L")),
    ),
    Case("substitute", "an earlier result", slope_k, ak, wjk, known=known_slope),
    Case(
        "substitute",
        "for another node",
        Partial(z[l, "p"], w[l, "p", "q"], True),
        a[l - 1, "q"],
        a[l - 1, "p"],
        known=known_slope,
    ),
    Case(
        "substitute",
        "without capturing its summed index",
        Partial(C0, a[l, "k"]),
        Sum("p", ABOVE, w[l + 1, "p", "k"] * Partial(C0, z[l + 1, "p"])),
        Sum("k", ABOVE, w[l + 1, "k", "k"] * Partial(C0, z[l + 1, "k"])),
        assume=(at_least("l", 1), equals("l", L - 1)),
        known={upstream: next_sum},
        system=dense_system(
            width=4
        ),  # w_kk exists where widths are equal: there the capture is a value, and a wrong one
    ),
    Case(
        "name the summand",
        "each with its value",
        C0,
        Sum("j", TOP, Summand(C0, affine("j"), Pow(oj - yj, N(2)))),
        Sum("j", TOP, Summand(C0, affine("j"), oj - yj)),
    ),
    Case(
        "read off the equations",
        "C_0j(a_j(z_j(w_j))) has the summand's value",
        Summand(C0, affine("j"), Pow(oj - yj, N(2))),
        Depends(
            Summand(C0, affine("j"), Pow(oj - yj, N(2))),
            Depends(oj, Depends(z[L, "j"], Vec("k", node_axis(L - 1), w[L, "j", "k"]))),
        ),
        Depends(oj, Depends(z[L, "j"], Vec("k", node_axis(L - 1), w[L, "j", "k"]))),
    ),
    Case("constant", "another family is held", D(ak, wjk), ZERO, ONE),
    Case("constant", "another layer is another quantity", D(b[l + 1, "j"], b[l, "j"]), ZERO, ONE, assume=HIDDEN),
    Case("Kronecker delta", "one node by another", D(ap, aj), Delta(affine("p"), affine("j"), HERE), ONE),
    Case("Kronecker delta", "a quantity by itself", D(wjk, wjk), ONE, ZERO),
    Case("Kronecker delta", "two numbers that differ", D(a[l, 0], a[l, 1]), ZERO, ONE),
    Case(
        "Kronecker delta",
        "one delta for each index",
        D(w[l, "p", "q"], wjk),
        Mul((Delta(affine("p"), affine("j"), HERE), Delta(affine("q"), affine("k"), BELOW))),
        Delta(affine("p"), affine("j"), HERE),
    ),
    Case(
        "chain rule for a quantity",
        "the cost of a sample by a weight",
        D(CI["i"], wjk, True),
        Partial(CI["i"], wjk),
        ZERO,
        assume=(equals("l", "L"),),
    ),
    Case(
        "sum rule",
        "every term",
        D(zj + aj + zj * zj, zj),
        Add((D(zj, zj), D(aj, zj), D(zj * zj, zj))),
        Add((D(zj, zj), D(aj, zj))),
    ),
    Case(
        "differentiate term by term",
        "the summed index gives way to the weight's",
        D(weighted, wjk),
        Sum("p", BELOW, D(w[l, "j", "p"] * a[l - 1, "p"], wjk)),
        Sum("k", BELOW, D(wjk * ak, wjk)),
    ),
    Case(
        "constant factor", "stands before the operator", D(wjk * ak, ak), Mul((wjk, D(ak, ak))), Mul((ak, D(wjk, ak)))
    ),
    Case("constant factor", "a denominator too", D(Div(zj, aj), zj), Div(D(zj, zj), aj), Div(zj, aj)),
    Case(
        "product rule",
        "one term for each factor",
        D(zp * zj, zj),
        Add((Mul((D(zp, zj), zj)), Mul((zp, D(zj, zj))))),
        Mul((D(zp, zj), D(zj, zj))),
    ),
    Case(
        "quotient rule",
        "with the quotient kept whole",
        D(Div(zp, zj), zj),
        Add((Div(D(zp, zj), zj), minus(Mul((Div(zp, zj), Div(D(zj, zj), zj)))))),
        Add((Div(D(zp, zj), zj), Mul((Div(zp, zj), Div(D(zj, zj), zj))))),
    ),
    Case(
        "quotient rule",
        "a constant above",
        D(Div(aj, zj), zj),
        minus(Mul((Div(aj, zj), Div(D(zj, zj), zj)))),
        Mul((Div(aj, zj), Div(D(zj, zj), zj))),
    ),
    Case(
        "power rule",
        "of a square",
        D(Pow(op - yp, N(2)), oj),
        Mul((N(2), op - yp, D(op - yp, oj))),
        Mul((op - yp, D(op - yp, oj))),
    ),
    Case(
        "power rule",
        "of any whole power",
        D(Pow(zj, N(5)), zj),
        Mul((N(5), Pow(zj, N(4)), D(zj, zj))),
        Mul((N(5), Pow(zj, N(5)), D(zj, zj))),
    ),
    Case(
        "power rule",
        "of a power with a letter for exponent",
        D(Pow(f("exp", zj), Param("c")), zj),
        Mul((Param("c"), Pow(f("exp", zj), Param("c") - 1), D(f("exp", zj), zj))),
        Mul((Param("c"), Pow(f("exp", zj), Param("c")), D(f("exp", zj), zj))),
        SIGMOID,
    ),
    Case(
        "derivative of a composed function",
        "the inner derivative stays",
        D(g(zp * zj), zj),
        Mul((g(zp * zj, 1), D(zp * zj, zj))),
        g(zp * zj, 1),
    ),
    Case(
        "derivative of a composed function",
        "a second prime",
        D(g(zj, 1), zj),
        Mul((g(zj, 2), D(zj, zj))),
        Mul((g(zj, 1), D(zj, zj))),
    ),
    Case(
        "slope of the activation",
        "of the sigmoid",
        f("sigmoid", zj, 1),
        Mul((f("sigmoid", zj), 1 - f("sigmoid", zj))),
        Mul((f("sigmoid", zj), 1 + f("sigmoid", zj))),
        SIGMOID,
    ),
    Case(
        "derivative of an elementary function",
        "of the logarithm",
        f("log", y["j"], 1),
        Div(ONE, y["j"]),
        f("log", y["j"]),
        SIGMOID,
        (),
    ),
    Case(
        "look up the activation",
        "of layer 2",
        Call("g", (z[2, "j"],), 0, affine(2)),
        f("sigmoid", z[2, "j"]),
        f("tanh", z[2, "j"]),
        TABLE,
    ),
    Case(
        "look up the activation",
        "its prime stays",
        Call("g", (z[2, "j"],), 1, affine(2)),
        f("sigmoid", z[2, "j"], 1),
        f("sigmoid", z[2, "j"]),
        TABLE,
    ),
    Case(
        "look up the activation",
        "the identity is no function",
        Call("g", (z[1, "j"],), 0, affine(1)),
        z[1, "j"],
        ONE,
        NAMED,
    ),
    Case(
        "look up the activation",
        "the slope of the identity is 1",
        Call("g", (z[1, "j"],), 1, affine(1)),
        ONE,
        z[1, "j"],
        NAMED,
    ),
    Case(
        "case by case",
        "inside each case",
        D(Where(Compare(">", zj, ZERO), zj, zj / 100), zj),
        Where(Compare(">", zj, ZERO), D(zj, zj), D(zj / 100, zj)),
        Where(Compare(">", zj, ZERO), D(zj / 100, zj), D(zj, zj)),
    ),
    Case(
        "the sum written out",
        "shows the term that matters",
        D(squares, a[L, 1]),
        D(WrittenOut(squares, (affine(0), affine(1), None, affine("#last"))), a[L, 1]),
        D(Sum("j", TOP, oj - yj), a[L, 1]),
    ),
    Case(
        "the sum written out",
        "the whole of a short one",
        Sum("k", node_axis(1), w[2, "j", "k"] * a[1, "k"]),
        WrittenOut(Sum("k", node_axis(1), w[2, "j", "k"] * a[1, "k"]), (affine(0), affine(1), affine(2))),
        w[2, "j", 0] * a[1, 0] + w[2, "j", 1] * a[1, 1],
        TABLE,
    ),
    Case(
        "delta picks one term",
        "the surviving one",
        Sum("p", HERE, Mul((Delta(affine("p"), affine("j"), HERE), w[l, "p", "k"], zp))),
        Mul((wjk, zj)),
        Sum("p", HERE, Mul((w[l, "p", "k"], zp))),
    ),
    Case(
        "delta picks one term", "alone it is 1", Sum("p", HERE, Delta(affine("j"), affine("p"), HERE)), ONE, Size(HERE)
    ),
    Case(
        "delta picks one term",
        "for a number too",
        Sum("k", BELOW, Mul((ak, Delta(affine("k"), affine(2), BELOW)))),
        a[l - 1, 2],
        a[l - 1, 1],
    ),
    Case("equal indices", "the same twice", Delta(affine("j"), affine("j"), HERE), ONE, ZERO),
    Case("equal indices", "two numbers", Delta(affine(0), affine(2), HERE), ZERO, ONE),
    Case(
        "one term",
        "a layer of one node",
        Sum("k", node_axis(1), NARROW.families["a"][1, "k"] * NARROW.families["w"][2, "j", "k"]),
        NARROW.families["a"][1, 0] * NARROW.families["w"][2, "j", 0],
        2 * NARROW.families["a"][1, 0] * NARROW.families["w"][2, "j", 0],
        NARROW,
        (),
    ),
    Case(
        "split the sum",
        "where a delta waits",
        Sum("p", HERE, Add((Mul((zp, Delta(affine("p"), affine("j"), HERE))), ap))),
        Add((Sum("p", HERE, Mul((zp, Delta(affine("p"), affine("j"), HERE)))), Sum("p", HERE, ap))),
        Add((Sum("p", HERE, Mul((zp, Delta(affine("p"), affine("j"), HERE)))), ap)),
    ),
    Case(
        "multiply out",
        "where a bracket hides a delta",
        Sum("p", TOP, Mul((yp, Add((oj, minus(Delta(affine("p"), affine("j"), TOP))))))),
        Sum("p", TOP, Add((yp * oj, Mul((N(-1), yp, Delta(affine("p"), affine("j"), TOP)))))),
        Sum("p", TOP, Add((yp * oj, minus(Delta(affine("p"), affine("j"), TOP))))),
    ),
    Case(
        "pull out of the sum",
        "what the index leaves alone",
        Sum("k", BELOW, Mul((aj, wjk, ak))),
        Mul((aj, weighted)),
        Mul((wjk, aj, Sum("k", BELOW, ak))),
    ),
    Case(
        "pull out of the sum",
        "a common denominator",
        Sum("k", BELOW, Div(ak, aj)),
        Div(Sum("k", BELOW, ak), aj),
        Div(Sum("k", BELOW, ak), zj),
    ),
    Case("declared fact", "the targets sum to one", Sum("p", TOP, yp), ONE, N(2), SOFTMAX, ()),
    Case(
        "collect the components",
        "entry by entry",
        Partial(C0, Vec("k", node_axis(L - 1), w[L, "j", "k"])),
        Vec("k", node_axis(L - 1), Partial(C0, w[L, "j", "k"])),
        Vec("k", node_axis(L - 1), Partial(C0, b[L, "j"])),
        assume=(),
    ),
    Case(
        "scalar factor of an array",
        "stands before it",
        Vec("k", BELOW, Mul((aj, zj, ak))),
        Mul((aj, zj, Vec("k", BELOW, ak))),
        Mul((aj, Vec("k", BELOW, ak))),
    ),
    Case(
        "rename the summed index",
        "that has a free one's letter",
        Mul((aj, Sum("j", TOP, oj - yj))),
        Mul((aj, Sum("p", TOP, op - yp))),
        Mul((aj, Sum("p", TOP, oj - yj))),
        assume=(equals("l", "L"),),
    ),
    Case(
        "rename the summed index",
        "that has a letter of the left side",
        squares,
        Sum("p", TOP, Pow(op - yp, N(2))),
        Sum("p", TOP, Pow(op - yj, N(2))),
        taken=frozenset("j"),
    ),
    Case(
        "rename the summed index",
        "that has the letter of a stride",
        Sum("s", NODES, Mul((u["s"], vj))),
        Sum("p", NODES, Mul((u["p"], vj))),
        Sum("p", NODES, u["p"]),
        FLAT,
        (),
    ),
    Case(
        "square of a root",
        "around another factor",
        Mul((f("sqrt", 1 + ui * ui), vj, f("sqrt", 1 + ui * ui))),
        Mul((1 + ui * ui, vj)),
        Mul((f("sqrt", 1 + ui * ui), vj)),
        FLAT,
        (),
    ),
    Case("nothing leads there", "the last time is used by nothing", Partial(Ref("C", ()), h["T"]), ZERO, ONE, FLAT, ()),
    Case(
        "derivative of a maximum",
        "where it is attained",
        D(largest, m["k", "q"]),
        Sum("i", NODES, Mul((Winner(largest, affine("i")), D(mij, m["k", "q"])))),
        Sum("i", NODES, D(mij, m["k", "q"])),
        FLAT,
        (),
    ),
    Case(
        "derivative of a maximum",
        "the letter gives way to the variable's, the winner keeps its own",
        D(Max("i", NODES, mij, past), m["i", "q"]),
        Sum(
            "p",
            NODES,
            Mul((Winner(Max("i", NODES, mij, past), affine("p")), D(m["p", "j"], m["i", "q"]))),
            (at_least("p", 1),),
        ),
        Sum("p", NODES, Mul((Winner(largest, affine("p")), D(m["p", "j"], m["i", "q"])))),
        FLAT,
        (),
    ),
    Case(
        "product rule for many factors",
        "what stands before and after",
        D(factors, uk),
        Sum(
            "i",
            NODES,
            Mul(
                (
                    D(1 + ui, uk),
                    Prod("m", NODES, 1 + u["m"], (at_least(affine("i") - 1, "m"),)),
                    Prod("m", NODES, 1 + u["m"], (at_least("m", affine("i") + 1),)),
                )
            ),
        ),
        Sum("i", NODES, Mul((D(1 + ui, uk), Prod("m", NODES, 1 + u["m"], (at_least(affine("i") - 1, "m"),))))),
        FLAT,
        (),
    ),
    Case(
        "product rule for many factors",
        "a guard is one on each product",
        D(Prod("i", NODES, 1 + ui, past), uk),
        Sum(
            "i",
            NODES,
            Mul(
                (
                    D(1 + ui, uk),
                    Prod("m", NODES, 1 + u["m"], (at_least("m", 1), at_least(affine("i") - 1, "m"))),
                    Prod("m", NODES, 1 + u["m"], (at_least("m", 1), at_least("m", affine("i") + 1))),
                )
            ),
            past,
        ),
        Sum("i", NODES, Mul((D(1 + ui, uk), factors)), past),
        FLAT,
        (),
    ),
    Case(
        "guarded term",
        "the bracket stays",
        D(Guarded(ui * ui, past), uk),
        Guarded(D(ui * ui, uk), past),
        D(ui * ui, uk),
        FLAT,
        (),
    ),
    Case(
        "condition before the product",
        "on one factor",
        Mul((vj, Guarded(ui, past), uk)),
        Guarded(Mul((vj, ui, uk)), past),
        Mul((vj, ui, uk)),
        FLAT,
        (),
    ),
    Case(
        "condition before the product",
        "above a fraction",
        Div(Guarded(ui, past), vj),
        Guarded(Div(ui, vj), past),
        Div(ui, vj),
        FLAT,
        (),
    ),
    Case(
        "condition before the product",
        "on every term of a sum",
        Add((Guarded(ui, past), Guarded(vj, past))),
        Guarded(Add((ui, vj)), past),
        Add((Guarded(ui, past), vj)),
        FLAT,
        (),
    ),
    Case(
        "condition before the product",
        "one within another",
        Guarded(Guarded(ui * vj, past), later),
        Guarded(ui * vj, (*later, *past)),
        Guarded(ui * vj, later),
        FLAT,
        (),
    ),
    Case(
        "condition under the sum",
        "what speaks of the index narrows it, the rest stands before it",
        Sum("i", NODES, Guarded(ui * vj, (*past, *later))),
        Guarded(Sum("i", NODES, ui * vj, past), later),
        Sum("i", NODES, ui * vj, past),
        FLAT,
        (),
    ),
    Case("condition that holds", "goes", Guarded(ui, past), ui, ZERO, FLAT, past),
    Case("condition that holds", "or makes the term 0", Guarded(ui, past), ZERO, ui, FLAT, (equals("i", 0),)),
    Case(
        "condition that holds",
        "of a sum on its own axis",
        Sum("i", NODES, ui, (at_least("i", 0), *past)),
        Sum("i", NODES, ui, past),
        Sum("i", NODES, ui),
        FLAT,
        (),
    ),
    Case(
        "take into the sum",
        "its letter gives way",
        Mul((ui, Sum("i", NODES, mij, past), vj)),
        Sum("p", NODES, Mul((ui, m["p", "j"], vj)), (at_least("p", 1),)),
        Sum("p", NODES, Mul((ui, m["p", "j"], vj))),
        FLAT,
        (),
    ),
    Case(
        "swap the sums",
        "each with its own range",
        Sum("i", NODES, Sum("j", OTHERS, mij, later), past),
        Sum("j", OTHERS, Sum("i", NODES, mij, past), later),
        Sum("j", OTHERS, Sum("i", NODES, mij), later),
        FLAT,
        (),
    ),
    Case(
        "deviations from the mean",
        "sum to nothing",
        Sum("i", NODES, ui - Ref("mu", ())),
        ZERO,
        ONE,
        FLAT,
        (),
    ),
    Case(
        "deviations from the mean",
        "with what does not move",
        Sum("i", NODES, Mul((vj, ui - Ref("mu", ())))),
        ZERO,
        vj,
        FLAT,
        (),
    ),
    Case(
        "exponential rule",
        "the exponent moves",
        D(Pow(yj, zj), zj),
        Mul((Pow(yj, zj), Mul((D(zj, zj), f("log", yj))))),
        Mul((Pow(yj, zj), D(zj, zj))),
        SIGMOID,
    ),
    Case(
        "the entry that is picked",
        "is the one at the label",
        Div(is_label("k"), Sum("s", CLASSES, Mul((is_label("s"), prob("s"))))),
        Div(is_label("k"), prob("k")),
        Div(is_label("k"), Mul((N(2), prob("k")))),
        LABELS,
        (),
    ),
    Case(
        "one position is picked",
        "each label is some class",
        Sum("s", CLASSES, is_label("s")),
        ONE,
        ZERO,
        LABELS,
        (),
    ),
    Case(
        "cancel",
        "what stands above and below",
        Div(Mul((prob("k"), Size(CLASSES))), Mul((prob("k"), prob("q")))),
        Div(Size(CLASSES), prob("q")),
        Div(Size(CLASSES), prob("k")),
        LABELS,
        (),
    ),
    Case(
        "cancel",
        "two denominators under a sum",
        Mul((Div(prob("k"), prob("q")) + Div(N(2), prob("s")), prob("q"), prob("s"))),
        Mul((prob("k"), prob("s"))) + Mul((N(2), prob("q"))),
        Mul((prob("k"), prob("s"))) + Mul((N(3), prob("q"))),
        LABELS,
        (),
    ),
    Case(
        "Kronecker delta",
        "layers that need not be equal",
        D(b["m", "j"], b["l", "j"]),
        Delta(affine("m"), l, b.axes[0]),
        ONE,
        assume=(*INSIDE, *between(1, "m", "L")),
    ),
    Case(
        "delta picks one term",
        "where a guard lets it stay",
        Sum("p", HERE, Mul((zp, Delta(affine("p"), affine("j"), HERE))), (at_least("p", 1),)),
        Guarded(zj, later),
        zj,
    ),
    Case(
        "delta picks one term",
        "of a window with a stride",
        Sum("k", NODES, Mul((uk, Delta(affine("s") * affine("i") + "k" - "e", affine("j"), OTHERS)))),
        Guarded(
            u[affine("j") + "e" - affine("s") * affine("i")],
            between(0, affine("j") + "e" - affine("s") * affine("i"), affine("N") - 1),
        ),
        Guarded(
            u[affine("j") - affine("s") * affine("i")],
            between(0, affine("j") - affine("s") * affine("i"), affine("N") - 1),
        ),
        FLAT,
        between(0, "i", 2),
    ),
    Case(
        "delta picks one term",
        "of another axis, where it has it",
        Sum("k", NODES, Mul((uk, Delta(affine("k"), affine("j"), OTHERS)))),
        Guarded(u["j"], (at_least(affine("N") - 1, "j"),)),
        ZERO,
        FLAT,
        (at_least("j", 0), at_least(affine("M") - 1, "j")),
    ),
    Case(
        "delta picks one term",
        "of a sum over times",
        Sum("r", TIMES, Mul((d["r"], Delta(affine("r") + 1, affine("t"), TIMES)))),
        Guarded(d[affine("t") - 1], (at_least("t", 1),)),
        d["t"],
        FLAT,
        between(0, "t", "T"),
    ),
    Case(
        "pull out of the sum",
        "a guard counts the terms",
        Sum("k", BELOW, aj * ak, (at_least("k", 1),)),
        Mul((aj, Sum("k", BELOW, ak, (at_least("k", 1),)))),
        Mul((aj, Sum("k", BELOW, ak))),
    ),
)

STOPS: tuple[tuple[str, str, Expr, Context], ...] = (
    ("arithmetic", "nothing to tidy", aj * zj + 2, Context(NET)),
    ("arithmetic", "order is the reader's", Mul((zj, aj, wjk)), Context(NET)),
    ("cancel", "another node is another quantity", Mul((Div(zj, aj), ap)), Context(NET)),
    ("cancel", "another denominator would stay", Mul((Div(zj, aj) + Div(zj, wjk), aj)), Context(NET)),
    ("multiply out and collect", "it would be longer", Mul((zj + aj, zj + aj)), Context(NET)),
    (
        "multiply out and collect",
        "a chain keeps its factors",
        roles((1 - aj + aj, "upstream"), (ak, "incoming")),
        Context(NET),
    ),
    ("reorder", "no term is positive", Add((minus(aj), minus(zj))), Context(NET)),
    ("reorder", "already in order", oj - yj, Context(NET)),
    ("common factor", "no factor is in all terms", aj * zj + aj * wjk + zj, Context(NET)),
    ("common factor", "a number is none", 2 * aj + 2 * zj, Context(NET)),
    ("minus signs", "most terms are positive", Mul((Num(Fraction(-1)), aj + zj - wjk)), Context(NET)),
    ("recognise a quantity", "layer 0 has x, and l may be 0", g(zj), Context(NET)),
    ("recognise a quantity", "the label is another layer's", g(zj, at=l - 1), Context(NET, INSIDE)),
    ("recognise a quantity", "the prime is no value", g(zj, 1), Context(NET, INSIDE)),
    (
        "recognise a quantity",
        "the sum runs over another layer",
        Div(f("exp", zj), Sum("p", BELOW, f("exp", z[l - 1, "p"]))),
        Context(SOFTMAX, (equals("l", "L"),)),
    ),
    ("chain rule", "l may be L or less", Partial(C0, aj), Context(NET, INSIDE)),
    ("chain rule", "a direct effect is the equation's own", Partial(zj, wjk, True), Context(NET, INSIDE)),
    ("chain rule", "nothing uses the cost", Partial(C0, C0), Context(NET)),
    ("definition", "other ways lead there too", Partial(C0, z[L, "j"]), Context(NET)),
    ("definition", "a generic cost has no formula", Partial(C0, oj, True), Context(GENERIC)),
    ("definition", "data has no equation", Partial(x["j"], x["k"], True), Context(NET)),
    ("differentiate the definition", "a direct effect", slope_k, Context(NET, INSIDE)),
    ("differentiate the definition", "a generic cost has no formula", Partial(C0, oj), Context(GENERIC)),
    (
        "substitute",
        "a result for another layer",
        Partial(z[l + 1, "j"], w[l + 1, "j", "k"], True),
        Context(NET, HIDDEN, known_slope),
    ),
    ("substitute", "a direct effect is no total one", Partial(zj, wjk), Context(NET, INSIDE, known_slope)),
    (
        "substitute",
        "the two j must be one",
        Partial(z[l, "p"], w[l, "q", "k"], True),
        Context(NET, INSIDE, known_slope),
    ),
    ("name the summand", "a factor stands before the sum", C0, Context(HALF)),
    ("name the summand", "data has no equation", yj, Context(NET)),
    ("read off the equations", "nothing derived in it", Summand(C0, affine("j"), yj), Context(NET)),
    ("constant", "the same family, perhaps the same node", D(ap, aj), Context(NET)),
    ("constant", "the same family, perhaps the same layer", D(b["m", "j"], b["l", "j"]), Context(NET)),
    ("constant", "a total derivative sees what is behind", D(oj, wjk, True), Context(NET)),
    ("constant", "the mean's summand is the cost", D(CI["i"], wjk, True), Context(NET)),
    ("Kronecker delta", "another family", D(zj, aj), Context(NET)),
    ("chain rule for a quantity", "what is held stays held", D(CI["i"], wjk), Context(NET)),
    ("chain rule for a quantity", "its own family is a delta", D(ap, aj, True), Context(NET)),
    ("sum rule", "a product", D(aj * zj, zj), Context(NET)),
    ("differentiate term by term", "no sum", D(aj, aj), Context(NET)),
    ("constant factor", "every factor moves", D(zj * zp, zj), Context(NET)),
    ("constant factor", "no factor moves", D(wjk * ak, zj), Context(NET)),
    ("product rule", "one factor moves", D(wjk * ak, ak), Context(NET)),
    ("quotient rule", "the denominator is constant", D(Div(zj, aj), zj), Context(NET)),
    ("power rule", "the exponent moves", D(Pow(aj, zj), zj), Context(NET)),
    ("derivative of a composed function", "the argument is constant", D(g(zj), aj), Context(NET)),
    ("slope of the activation", "a generic g' stays", g(zj, 1), Context(NET)),
    ("slope of the activation", "no prime", f("sigmoid", zj), Context(SIGMOID)),
    ("slope of the activation", "elementary functions have a rule of their own", f("exp", zj, 1), Context(SIGMOID)),
    ("derivative of an elementary function", "no prime", f("log", aj), Context(SIGMOID)),
    (
        "derivative of an elementary function",
        "an activation has a rule of its own",
        f("sigmoid", aj, 1),
        Context(SIGMOID),
    ),
    ("look up the activation", "l is no number yet", g(zj), Context(TABLE)),
    ("look up the activation", "no list is given", Call("g", (z[2, "j"],), 0, affine(2)), Context(NET)),
    ("case by case", "no cases", D(zj, zj), Context(NET)),
    ("the sum written out", "no sum", aj, Context(NET)),
    (
        "delta picks one term",
        "j counts layer l, k layer l-1",
        Sum("k", BELOW, Mul((ak, Delta(affine("k"), affine("j"), HERE)))),
        Context(NET),
    ),
    (
        "delta picks one term",
        "the delta is of other indices",
        Sum("k", BELOW, Mul((ak, Delta(affine("p"), affine("j"), HERE)))),
        Context(NET),
    ),
    (
        "delta picks one term",
        "twice the index may miss it",
        Sum("k", NODES, Mul((uk, Delta(affine("k") * 2, affine("j"), NODES)))),
        Context(FLAT),
    ),
    (
        "delta picks one term",
        "the index stands on both sides",
        Sum("k", NODES, Mul((uk, Delta(affine("k") * affine("s") + "k", affine("j"), NODES)))),
        Context(FLAT),
    ),
    (
        "delta picks one term",
        "a term without it keeps the sum",
        Sum("k", NODES, uk + Delta(affine("k"), affine("j"), NODES)),
        Context(FLAT),
    ),
    ("equal indices", "j and k may differ", Delta(affine("j"), affine("k"), HERE), Context(NET)),
    ("one term", "the layer may have more nodes", Sum("p", HERE, zp), Context(NET)),
    ("split the sum", "no delta waits", Sum("p", HERE, zp + ap), Context(NET)),
    (
        "split the sum",
        "the delta is of other indices",
        Sum("p", HERE, zp + Delta(affine("j"), affine("q"), HERE)),
        Context(NET),
    ),
    ("multiply out", "no delta waits", Sum("p", TOP, Mul((yp, oj - op))), Context(NET)),
    ("pull out of the sum", "everything moves", weighted, Context(NET)),
    ("square of a root", "two roots", Mul((f("sqrt", ui), f("sqrt", uk))), Context(FLAT)),
    ("square of a root", "the primes are slopes", Mul((f("sqrt", ui, 1), f("sqrt", ui, 1))), Context(FLAT)),
    ("nothing leads there", "it is used", Partial(C0, oj), Context(NET)),
    ("nothing leads there", "it may be used", Partial(Ref("C", ()), h["t"]), Context(FLAT, between(0, "t", "T"))),
    ("nothing leads there", "a quantity by itself", Partial(C0, C0), Context(NET)),
    ("derivative of a maximum", "a sum", D(Sum("i", NODES, mij), mij), Context(FLAT)),
    ("product rule for many factors", "two factors", D(ui * uk, uk), Context(FLAT)),
    ("guarded term", "no condition", D(ui, uk), Context(FLAT)),
    (
        "condition before the product",
        "of two terms each has its own",
        Add((Guarded(ui, past), Guarded(ui, later))),
        Context(FLAT),
    ),
    ("condition before the product", "below the fraction", Div(ui, Guarded(vj, later)), Context(FLAT)),
    ("condition under the sum", "another factor moves", Sum("i", NODES, Mul((ui, Guarded(mij, past)))), Context(FLAT)),
    (
        "condition under the sum",
        "it says which values a maximum is of",
        Max("i", NODES, Guarded(ui, past)),
        Context(FLAT),
    ),
    ("condition that holds", "it may fail", Guarded(ui, past), Context(FLAT)),
    ("condition that holds", "it cuts the sum", Sum("i", NODES, ui, past), Context(FLAT)),
    ("take into the sum", "no sum", Mul((ui, vj)), Context(FLAT)),
    ("take into the sum", "a maximum is none", Mul((ui, largest)), Context(FLAT)),
    (
        "swap the sums",
        "the inner one ends where the outer one is",
        Sum("i", NODES, Sum("k", NODES, uk, (at_least("i", "k"),))),
        Context(FLAT),
    ),
    ("swap the sums", "layers of the inner one", Sum("k", NODES, ui * uk), Context(FLAT)),
    ("exponential rule", "the exponent is constant", D(Pow(zj, N(3)), zj), Context(NET)),
    ("the entry that is picked", "another label", Div(is_label("k"), prob("q")), Context(LABELS)),
    (
        "the entry that is picked",
        "a label of another sample",
        Div(is_label("k"), Sum("s", CLASSES, Mul((is_label("s", "n"), prob("s"))))),
        Context(LABELS),
    ),
    ("one position is picked", "weighted", Sum("s", CLASSES, Mul((is_label("s"), prob("s")))), Context(LABELS)),
    ("deviations from the mean", "of other quantities", Sum("i", NODES, ui * ui - Ref("mu", ())), Context(FLAT)),
    ("deviations from the mean", "over part of the axis", Sum("i", NODES, ui - Ref("mu", ()), past), Context(FLAT)),
    ("deviations from the mean", "over another axis", Sum("j", OTHERS, vj - Ref("mu", ())), Context(FLAT)),
    (
        "deviations from the mean",
        "weighted by what moves",
        Sum("i", NODES, Mul((ui, ui - Ref("mu", ())))),
        Context(FLAT),
    ),
    ("recognise a quantity", "for more nodes than it has", f("exp", vj), Context(FLAT, (at_least("j", 0),))),
    (
        "recognise a quantity",
        "at no time of the network",
        Div(f("exp", d["t"]), Sum("r", TIMES, f("exp", d["r"]))),
        Context(FLAT),
    ),
    (
        "recognise a quantity",
        "the sum begins a time later",
        Div(f("exp", d["t"]), Sum("r", replace(TIMES, first=affine(1)), f("exp", d["r"]))),
        Context(FLAT, between(0, "t", "T")),
    ),
    ("declared fact", "it is not declared", Sum("p", TOP, yp), Context(NET)),
    ("declared fact", "it speaks of y", Sum("p", TOP, op), Context(SOFTMAX)),
    ("declared fact", "only the whole sum is known", Sum("p", TOP, yp, (at_least("p", 1),)), Context(SOFTMAX)),
    ("collect the components", "one entry is no array", Partial(C0, wjk), Context(NET)),
    ("scalar factor of an array", "two factors move", Vec("k", BELOW, wjk * ak), Context(NET)),
    ("scalar factor of an array", "no factor moves", Vec("k", BELOW, aj * zj), Context(NET)),
    ("rename the summed index", "no letter is used twice", Mul((aj, Sum("p", TOP, op - yp))), Context(NET)),
)


def test_every_rule_has_a_case_and_a_stop() -> None:
    assert {c.rule for c in CASES} == set(RULES)
    assert {rule for rule, *_ in STOPS} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_gives_what_it_says(case: Case) -> None:
    out = RULES[case.rule].apply(case.before, case.context)
    assert out is not None
    assert same(out, case.after), f"{out}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_is_true_on_samples(case: Case) -> None:
    out = RULES[case.rule].apply(case.before, case.context)
    assert out is not None
    assert_equal_on_samples(case.before, out, case.system, case.assume, least=2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_samples_refuse_the_slip(case: Case) -> None:
    assert differs_on_samples(case.before, case.slip, case.system, case.assume)


@pytest.mark.parametrize(("rule", "because", "e", "context"), STOPS, ids=[f"{r}: {b}" for r, b, *_ in STOPS])
def test_rule_stops(rule: str, because: str, e: Expr, context: Context) -> None:
    assert RULES[rule].apply(e, context) is None


def test_what_is_written_out_adds_up_to_the_sum_when_no_term_is_left_out() -> None:
    s = Sum("k", node_axis(1), w[2, "j", "k"] * a[1, "k"])
    out = RULES["the sum written out"].apply(s, Context(TABLE))
    assert isinstance(out, WrittenOut)
    assert None not in out.shown
    assert_equal_on_samples(s, Add(tuple(out.term(i) for i in out.shown if i is not None)), TABLE)


def test_the_written_terms_are_the_first_the_wanted_and_the_last() -> None:
    out = RULES["the sum written out"].apply(D(weighted, w[l, 1, 2]), Context(NET))
    assert isinstance(out, D) and isinstance(out.body, WrittenOut)
    assert [i and str(i) for i in out.body.shown] == ["0", "1", "2", None, "#last"]


@pytest.mark.parametrize("function", ELEMENTARY, ids=lambda f: f.name)
def test_derivative_of_every_elementary_function_is_that_of_the_intervals(function) -> None:  # type: ignore[no-untyped-def]
    positive = y["j"]  # targets are drawn between 0 and 1, where every elementary function has a value
    before = f(function.name, positive, 1)
    out = RULES["derivative of an elementary function"].apply(before, Context(SIGMOID))
    assert out is not None
    assert_equal_on_samples(before, out, SIGMOID)
    assert differs_on_samples(before, out + ak, SIGMOID, INSIDE)


@pytest.mark.parametrize("name", [n for n, fn in FUNCTIONS.items() if fn.value is not None])
def test_slope_of_every_activation_is_the_derivative_of_its_value(name: str) -> None:
    system = dense_system() if name in ("identity", "relu", "leaky_relu", "huber") else SIGMOID
    before = f(name, y["j"] - x["j"], 1)
    out = RULES["slope of the activation"].apply(before, Context(system))
    assert out is not None
    assert_equal_on_samples(before, out, system, seeds=(0, 1, 2))
    assert differs_on_samples(before, out + ak, system, INSIDE)


DERIVATIONS = [
    (NET, Partial(C0, wjk)),
    (SOFTMAX, Partial(C0, z[L, "j"])),
    (dense_system(activation="sigmoid", loss="binary_cross_entropy"), Partial(C0, z[L, "j"])),
    (dense_system(loss="huber"), Partial(C0, oj)),
]


@pytest.mark.parametrize(("system", "goal"), DERIVATIONS, ids=["hidden", "softmax", "sigmoid", "huber"])
def test_every_rule_is_true_wherever_it_fits_in_a_derivation(system: System, goal: Partial) -> None:
    """Not only where the engine applies it: every rule is offered every part of every line."""
    seen: set[tuple[str, Expr]] = set()
    for section, step, context in derive(system, goal).contexts():
        for _, part in walk(step.before):
            for name, rule in RULES.items():
                if (name, part) in seen or isinstance(part, Compare):
                    continue
                seen.add((name, part))
                out = rule.apply(part, context)
                if out is None:
                    continue
                try:
                    assert_equal_on_samples(part, out, system, section.assume, points=1, least=0)
                except AssertionError as e:
                    raise AssertionError(f"{name} on {part}: {e}") from e
