"""A reader's own activation or cost: what is understood is right, what is not is refused with its reason."""

from __future__ import annotations

import builtins
import functools
import inspect
import math
import pickle
import random
import sys
import time
import types
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

from symbackprop import functions as F
from symbackprop import own
from symbackprop.errors import FunctionError
from symbackprop.indices import Affine, Axis
from symbackprop.own import activation, cost, distinct
from symbackprop.symbols import ONE, Call, Div, Expr, Num, Param, Pow, Ref, Size, Where, expr, walk
from symbackprop.sympy_bridge import to_sympy

Z, A, Y = Param("z"), Param("a"), Param("y")
# On both sides of every kink of the functions below (0, 1, -1, -5/2, 2), and on none.
POINTS = [Fraction(p, 8) for p in (-29, -21, -17, -9, -7, -3, -1, 1, 3, 7, 9, 15, 17, 21)]


def number(e: Expr, z: Fraction) -> mpmath.mpf:
    """The value at a point, by SymPy at 40 digits."""
    at = to_sympy(e).subs(sympy.Symbol("z", real=True), sympy.Rational(z.numerator, z.denominator))
    return mpmath.mpf(str(sympy.N(at, 40)))


def slope_is_right(f: F.Function, points: list[Fraction] = POINTS) -> bool:
    """Whether f's slope is the derivative of its value, by SymPy's diff and by mpmath's central differences."""
    assert f.value is not None
    value = f.value(Z)
    slope = f.slope(Z, value)
    symbol = sympy.Symbol("z", real=True)
    exact = to_sympy(value).diff(symbol)
    fast = sympy.lambdify([symbol], to_sympy(value), "mpmath")
    with mpmath.workdps(40):
        for z in points:
            at = sympy.Rational(z.numerator, z.denominator)
            mine = number(slope, z)
            if abs(mine - mpmath.mpf(str(sympy.N(exact.subs(symbol, at), 40)))) > mpmath.mpf("1e-25"):
                return False
            if abs(mine - mpmath.diff(fast, mpmath.mpf(z.numerator) / z.denominator, h=mpmath.mpf("1e-12"))) > 1e-9:
                return False
    return True


@pytest.mark.parametrize("f", F.ACTIVATIONS, ids=lambda f: f.name)
def test_slope_of_every_built_in_activation_is_the_derivative_of_its_value(f: F.Function) -> None:
    assert slope_is_right(f)


def test_slope_of_huber_is_the_derivative_of_its_value() -> None:
    assert slope_is_right(F.huber_loss)


@pytest.mark.parametrize(
    "wrong",
    [
        F.Function("s", "s", "s", slope=lambda z, a: a * (1 + a), value=F.sigmoid.value),
        F.Function("s", "s", "s", slope=lambda z, a: Num(Fraction(1)), value=F.relu.value),
        F.Function("s", "s", "s", slope=lambda z, a: 1 - a, value=F.tanh.value),
    ],
)
def test_the_check_of_slopes_refuses_a_wrong_slope(wrong: F.Function) -> None:
    assert not slope_is_right(wrong)


# ---------------------------------------------------------------- activations that are understood

CONSTANT = 2.5


def leaky(z: float, alpha: float = 0.01) -> float:
    """A docstring does not count."""
    if z > 0:
        return z
    return alpha * z


def swish(z: float) -> float:
    return z / (1 + np.exp(-z))


def my_gelu(z: float) -> float:
    c = math.sqrt(2 / math.pi)
    return 0.5 * z * (1 + math.tanh(c * (z + 0.044715 * z**3)))


def three(z: float) -> float:
    if z > 1:
        r = 1.0
    elif z < -CONSTANT:
        r = -1.0
    else:
        r = z * z
    return r


def doubled(z: float) -> float:
    return swish(z) * 2 + leaky(z, alpha=0.5)


def polynomial(z: float) -> float:
    total = 0.0
    for i in range(1, 4):
        total += z**i / i
    return total


def squeezed(z: float) -> float:
    return z if (-1 < z < 1 and z != 5) or z > 100 else 0.5 * z


def many_ways(z: float) -> float:
    up, down = np.sinh(z), np.cosh(z)
    return float(up / down) + math.erf(z) + np.sign(z) * np.square(z) - math.fabs(z) + math.log1p(z * z) + math.e


UNDERSTOOD: list[tuple[Callable[[float], Any], str]] = [
    (leaky, "leaky"),
    (swish, "swish"),
    (my_gelu, "my_gelu"),
    (three, "three"),
    (doubled, "doubled"),
    (polynomial, "polynomial"),
    (squeezed, "squeezed"),
    (many_ways, "many_ways"),
    (lambda z: max(0, z), "h"),
    (lambda z: np.maximum(z, 0.1 * z), "h"),
    (lambda z: min(z, 2), "h"),
    (lambda z: z * (z > 0), "h"),
    (lambda z: np.where(z > 0, z, np.expm1(z)), "h"),
    (lambda z: np.clip(z, -1, 1), "h"),
    (lambda z: z * math.tanh(math.log(1 + math.exp(z))), "h"),
    (lambda z: np.logaddexp(0, z), "h"),
    (lambda z: z / (1 + abs(z)), "h"),
    (lambda z: np.power(z, 3) - math.sin(z) * math.cos(z), "h"),
    (lambda z: math.sqrt(z**2 + 1) / (2 + math.cos(z)), "h"),
    (lambda z: 2**z, "h"),
    (lambda z: abs(z) ** 3, "h"),
]


@pytest.mark.parametrize("f, name", UNDERSTOOD, ids=[f"{n}{i}" for i, (_, n) in enumerate(UNDERSTOOD)])
def test_a_python_function_keeps_its_values_and_gets_its_derivative(f: Callable[[float], Any], name: str) -> None:
    h = activation(f)
    assert (
        h.name == name
        and h.value is not None
        and h.source
        and h.latex == rf"\operatorname{{{name.replace('_', chr(92) + '_')}}}"
    )
    assert slope_is_right(h)
    for z in POINTS:
        assert float(number(h.value(Z), z)) == pytest.approx(float(f(float(z))), rel=1e-12, abs=1e-12)


X = sympy.Symbol("x")


@pytest.mark.parametrize(
    "f",
    [
        X * sympy.exp(-(X**2)),
        sympy.Piecewise((X, X > 0), (0, True)),
        sympy.Piecewise((0, X < 0), (X, X >= 0)),
        sympy.Piecewise((X, sympy.Or(X < -1, X > 1)), (X**3, True)),
        sympy.Piecewise((X, sympy.And(X > -1, sympy.Not(X >= 1))), (X**2 / 3, True)),
        sympy.Max(0, X),
        sympy.Min(X, 1, 2 * X),
        sympy.Lambda(X, X**2 / (1 + sympy.Abs(X))),
        sympy.cosh(X) - sympy.sinh(X / 2) + sympy.erf(X) + sympy.sign(X) * X,
        1 / (1 + sympy.exp(-3 * X)),
        sympy.sqrt(X**2 + sympy.pi) + sympy.Float("0.25") * X,
        sympy.log(1 + X**2) ** 2 / sympy.E,
    ],
    ids=str,
)
def test_a_sympy_expression_keeps_its_values_and_gets_its_derivative(f: Any) -> None:
    h = activation(f)
    assert slope_is_right(h)
    body = f.expr if isinstance(f, sympy.Lambda) else f
    for z in POINTS:
        at = sympy.N(body.subs(X, sympy.Rational(z.numerator, z.denominator)))
        assert h.value is not None and float(number(h.value(Z), z)) == pytest.approx(float(at), rel=1e-12)


def test_a_function_of_the_tables_comes_back_as_it_is() -> None:
    assert activation(F.relu) is F.relu
    assert activation(math.tanh) is F.tanh and activation(np.tanh) is F.tanh
    assert activation(sympy.tanh).slope(Z, A) == 1 - Pow(A, expr(2))


def test_the_slope_is_written_with_the_output_where_it_recurs() -> None:
    assert activation(lambda z: 1 / (1 + math.exp(-z))).slope(Z, A) in (A * (1 - A), (1 - A) * A)
    assert activation(lambda z: math.exp(z)).slope(Z, A) == A


def test_logistic_forms_get_names_that_cannot_overflow() -> None:
    h = activation(lambda z: z * math.log(1 + math.exp(z)) + 1 / (1 + math.exp(-z)))
    assert h.value is not None
    called = {p.function for e in (h.value(Z), h.slope(Z, A)) for _, p in walk(e) if isinstance(p, Call)}
    assert called == {"softplus", "sigmoid"}


def test_at_a_kink_the_slope_is_that_of_relu_whatever_the_order_of_max() -> None:
    for f in (lambda z: max(0, z), lambda z: max(z, 0), lambda z: np.maximum(0.0, z)):
        h = activation(f)
        assert number(h.slope(Z, Z), Fraction(0)) == 0
        assert h.kink == "at z = 0 the slope of the case z <= 0 is taken"
    assert "|z|" in activation(lambda z: abs(z) + z).kink
    assert "that point alone" in activation(lambda z: 1 if z == 0 else math.sin(z) / z).kink
    assert activation(swish).kink == ""


def test_a_kink_leaves_no_distribution_in_the_slope() -> None:
    heads = {type(p) for _, p in walk(activation(lambda z: max(0, z) ** 2 + abs(z)).slope(Z, A))}
    assert Where in heads


def test_a_name_of_a_built_in_function_is_not_taken() -> None:
    def relu(z: float) -> float:
        return 2 * max(0, z)

    def g(z: float) -> float:
        return z**2

    assert activation(relu).name == "relu_own" and activation(relu).latex == r"\operatorname{relu\_own}"
    assert activation(g).name == "g_own"


def test_two_lambdas_in_one_line_are_told_apart() -> None:
    pair = [lambda z: z**2, lambda z: z**3]
    assert [number(activation(f).value(Z), Fraction(2)) for f in pair] == [4, 8]  # type: ignore[misc]


def test_a_lambda_in_the_middle_of_a_call_is_found() -> None:
    h = {
        "sizes": [2, 3],
        "activation": lambda z: (
            z  # a comment in the middle
            + 1
        ),
    }["activation"]
    assert activation(h).value(Z) == Z + 1  # type: ignore[misc]


def test_closure_numbers_of_any_kind_are_constants() -> None:
    k, m = np.float32(0.5), np.int64(3)

    def f(z: float) -> float:
        return k * z**m

    assert activation(f).value(Z) == Num(Fraction(1, 2)) * Pow(Z, expr(3))  # type: ignore[misc]


def test_conversion_is_repeatable_and_survives_pickling() -> None:
    h = activation(three)
    assert h == activation(three) and pickle.loads(pickle.dumps(h)) == h


def test_the_source_is_as_the_author_wrote_it_or_else_by_sympy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert activation(swish).source.replace(" ", "").startswith(r"\operatorname{swish}(z)=\frac{z}{1+\exp")
    assert "mathrm{np}" not in activation(lambda z: np.where(z > 0, z, 0)).source
    monkeypatch.setitem(sys.modules, "latexify", None)
    assert activation(swish).source == r"\operatorname{swish}(z) = \frac{z}{1 + e^{- z}}"


def test_names_are_safe_in_latex() -> None:
    def σ_x(z: float) -> float:
        return z**2

    assert activation(σ_x).latex == r"\operatorname{{\sigma}\_x}"


def test_the_function_is_never_called() -> None:
    def trap(z: float) -> float:
        return z + (0 if z > 0 else [][1])  # raises where it runs

    with pytest.raises(FunctionError, match="entry of"):
        activation(trap)


def test_no_text_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("evaluated")

    monkeypatch.setattr(sympy, "sympify", forbidden)
    monkeypatch.setattr(sympy, "parse_expr", forbidden)
    text = inspect.getsource(own)
    assert "eval(" not in text.replace("_eval(", "") and "exec(" not in text.replace("by exec", "")
    assert activation(three).name == "three"


def test_different_functions_of_one_name_are_told_apart() -> None:
    f, g = activation(lambda z: z**2), activation(lambda z: z**3)
    assert [h.name for h in distinct([f, g, f])] == ["h", "h_2", "h"]


# ---------------------------------------------------------------- activations that are refused


def while_loop(z: float) -> float:
    while z > 1:
        z = z / 2
    return z


def prints(z: float) -> float:
    print(z)
    return z


LOG: list[float] = []
LENGTH = "3"


class Box:
    value = 0.0


BOX = Box()


def appends(z: float) -> float:
    LOG.append(z)
    return z


def sets_attribute(z: float) -> float:
    BOX.value = z
    return z


def sets_entry(z: float) -> float:
    LOG[0] = z
    return z


def global_(z: float) -> float:
    global CONSTANT
    CONSTANT = z
    return z


def generator(z: float) -> Any:
    yield z


async def asynchronous(z: float) -> float:
    return z


def tries(z: float) -> float:
    try:
        return 1 / z
    except ZeroDivisionError:
        return 0.0


def withs(z: float) -> float:
    with open("x") as _:
        return z


def recursive(z: float) -> float:
    return z if z < 1 else recursive(z / 2)


def unknown_range(z: float) -> float:
    total = 0.0
    for i in range(LENGTH):  # type: ignore[call-overload]
        total += z**i
    return total


def some_path_returns_nothing(z: float) -> Any:
    if z > 0:
        return z


def unset(z: float) -> float:
    if z > 0:
        r = z
    return r


def huge(z: float) -> float:
    for _ in range(30):
        z = z * z + z
    return z


def unused(z: float) -> float:
    z + 1
    return z


def local_function(z: float) -> float:
    def inner(t: float) -> float:
        return t

    return inner(z)


def no_value(z: float) -> None:
    return None


def truth(z: float) -> float:
    return 1 if z else 0


def asserts(z: float) -> float:
    assert z > 0
    return z


def raises(z: float) -> float:
    raise ValueError


def deletes(z: float) -> float:
    del z
    return 1.0


def imports(z: float) -> float:
    import math

    return math.exp(z)


def matches(z: float) -> float:
    match z:
        case _:
            return z


def has_class(z: float) -> float:
    class Inner:
        pass

    return z


def leaves_early(z: float) -> float:
    for i in range(3):
        if i > 1:
            break
    return z


def for_else(z: float) -> float:
    for _ in range(3):
        z = z + 1
    else:
        z = 0
    return z


def long_loop(z: float) -> float:
    for _ in range(10**9):
        z = z + 1
    return z


def ping(z: float) -> float:
    return pong(z) + 1


def pong(z: float) -> float:
    return ping(z) * 2


def f0(z: float) -> float:
    return z


def f1(z: float) -> float:
    return f0(f0(f0(f0(f0(f0(z))))))


def needs_two(z: float, w: float) -> float:
    return z * w


def make_nonlocal() -> Callable[[float], float]:
    count = 0

    def counting(z: float) -> float:
        nonlocal count
        count = 1
        return z

    return counting


REFUSED: list[tuple[object, str]] = [
    (raises, "found raise"),
    (deletes, "del, a side effect"),
    (imports, "import at the top of the file"),
    (matches, "found match"),
    (has_class, "a class inside the function"),
    (leaves_early, "a loop left early"),
    (for_else, "a for with else"),
    (long_loop, "a loop of 1000000000 rounds"),
    (ping, "ping, which calls itself"),
    (lambda z: needs_two(z), "needs_two with 1 arguments; it takes 2"),  # type: ignore[call-arg]
    (lambda z: needs_two(z, 2, w=3), "needs_two with 3 arguments"),  # type: ignore[misc]
    (lambda z: needs_two(*(z, z)), r"a call with \*"),
    (lambda z: needs_two(**{"z": z, "w": 1}), r"\*\* or \*"),
    (make_nonlocal(), "nonlocal, a side effect"),
    (while_loop, r"line 2: found a while loop, an unbound loop"),
    (prints, r"line 2: found print\(\.\.\.\), called for its side effect"),
    (appends, r"append\(\.\.\.\), called for its side effect"),
    (sets_attribute, "assignment to an attribute, a side effect"),
    (sets_entry, "assignment to an entry, a side effect"),
    (global_, "global, a side effect"),
    (generator, "is a generator"),
    (asynchronous, "is asynchronous"),
    (tries, "found try; write the cases with if"),
    (withs, "found with"),
    (recursive, "calls itself"),
    (unknown_range, "line 3: found LENGTH"),
    (some_path_returns_nothing, "without return"),
    (unset, "r, which is not set in every case"),
    (huge, "more than 2000 parts"),
    (unused, "whose value is not used"),
    (local_function, "function inside the function"),
    (no_value, "found None"),
    (truth, "found a number as a condition; write a comparison"),
    (asserts, "found assert"),
    (lambda z: math.gamma(z), "a call of gamma"),
    (lambda z: np.arctan(z), "did you mean 'tan'"),
    (lambda z: z + random.random(), "one value for one input"),
    (lambda z: z + np.random.rand(), "random numbers"),
    (lambda z: undefined_thing(z), "the name undefined_thing, which has no value"),  # type: ignore[name-defined] # noqa: F821
    (lambda z: tanh(z), "from math import tanh"),  # type: ignore[name-defined] # noqa: F821
    (lambda z, w: z * w, "found 2 arguments; expected 1"),
    (lambda: 1.0, "found 0 arguments"),
    (lambda *z: z, "variable number of arguments"),
    (lambda z, k="x": z, "default k=the text 'x'"),
    (lambda z, *, k: z * k, "found 2 arguments"),
    (lambda z: 3.0, "does not depend on its argument"),
    (lambda z: z**1000, "exponent 1000"),
    (lambda z: z / 0, "division by zero"),
    (lambda z: z % 2, "operator %"),
    (lambda z: z ^ 2, r"a power is \*\*"),
    (lambda z: z + "a", "found 'a'"),
    (lambda z: z + 1j, "found 1j"),
    (lambda z: z + math.inf, "finite number"),
    (lambda z: (z, z), "several values"),
    (lambda z: np.sum(z), "sum over all outputs"),
    (lambda z: z.real, "the attribute .real"),
    (lambda z: z[0], "an entry of a number"),
    (lambda z: f"{z}", "JoinedStr"),
    (lambda z: np.maximum(z, 0, where=True), "maximum with where="),
    (lambda z: LOG, "LOG, a list"),
    (lambda z: z in LOG, "LOG, a list"),
    (lambda z: z is CONSTANT, "comparison Is"),
    (functools.partial(leaky, alpha=0.2), "found a partial"),
    ("relu", "found the text 'relu'"),
    (3.0, "found a float"),
    (None, "found a NoneType"),
    (Box().__init__, "found __init__"),
    (np.arctan, "a call of arctan"),
    (sympy.Symbol("p") * sympy.Symbol("q"), "in 2 symbols"),
    (sympy.Integer(3), "in 0 symbols"),
    (sympy.Heaviside(X), "leaves the value at 0 open"),
    (sympy.I * X, "real finite numbers"),
    (sympy.oo * X, "real finite numbers"),
    (sympy.gamma(X), "found gamma"),
    (sympy.Piecewise((X, X > 0)), "leaves some arguments out"),
    (sympy.Function("f")(X), "found f"),
    (sympy.Matrix([X]), "expected a scalar expression"),
    (X**1000, "exponent 1000"),
]


@pytest.mark.parametrize("f, message", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_formula_is_refused_with_its_reason(f: object, message: str) -> None:
    with pytest.raises(FunctionError, match=message) as error:
        activation(f)
    assert "\n" not in str(error.value)


def test_a_function_made_without_a_file_is_refused() -> None:
    code = compile("def f(z):\n    return z\n", "<nowhere>", "exec").co_consts[0]
    with pytest.raises(FunctionError, match="source of f is not available"):
        activation(types.FunctionType(code, {}))


def test_a_file_changed_since_it_was_loaded_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "changing_module.py").write_text("def f(z):\n    return z * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    import changing_module  # type: ignore[import-not-found]

    assert activation(changing_module.f).value(Z) == Z * 2  # type: ignore[misc]
    (tmp_path / "changing_module.py").write_text("def f(z):\n    return z * 33\n# longer\n")
    with pytest.raises(FunctionError, match="has changed since it was loaded"):
        activation(changing_module.f)


def test_functions_of_functions_are_read_in_place() -> None:
    h = activation(f1)
    assert h.value is not None and h.value(Z + 1) == Z + 1


def test_a_long_chain_of_functions_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = "".join(f"def f{n}(z):\n    return f{n + 1}(z)\n" for n in range(20)) + "def f20(z):\n    return z\n"
    (tmp_path / "chain_module.py").write_text(chain)
    monkeypatch.syspath_prepend(tmp_path)
    import chain_module  # type: ignore[import-not-found]

    with pytest.raises(FunctionError, match="more than 8 functions inside each other"):
        activation(chain_module.f0)


def test_nested_powers_do_not_take_long() -> None:
    started = time.perf_counter()
    activation(lambda z: (((z**6 + 1) ** 6 + 1) ** 6 + 1) ** 6)
    assert time.perf_counter() - started < 5


def test_a_network_takes_both() -> None:
    from symbackprop.network import dense_system

    net = dense_system([2, 3, 1], activation=[activation(swish), activation(leaky)], loss=cost(by_index))
    equation = net.defining(Ref("C_0", ()))
    assert equation is not None and "n" not in str(to_sympy(equation.rhs, net).free_symbols)


def test_deep_nesting_is_refused_and_not_a_recursion_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "-(" * 180 + "z" + ")" * 180
    (tmp_path / "deep_module.py").write_text(f"def f(z):\n    return {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    import deep_module  # type: ignore[import-not-found]

    with pytest.raises(FunctionError, match="nested"):
        activation(deep_module.f)


def test_a_shadowed_module_is_not_trusted() -> None:
    math = Box()

    def f(z: float) -> float:
        return math.exp(z)  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(FunctionError, match="math, a Box"):
        activation(f)


# ---------------------------------------------------------------- costs


def by_term(a: Any, y: Any) -> Any:
    return (a - y) ** 2


def by_sum(a: Any, y: Any) -> Any:
    return np.sum((a - y) ** 2) / 2


def by_index(a: Any, y: Any) -> Any:
    return sum((a[j] - y[j]) ** 2 for j in range(len(a))) / len(a)


def by_zip(a: Any, y: Any) -> Any:
    return -sum(q * math.log(p) + (1 - q) * math.log(1 - p) for p, q in zip(a, y))  # noqa: B905


def by_loop(a: Any, y: Any) -> Any:
    d = a - y
    total = 0
    for j in range(len(a)):
        e = d[j]
        total += e**2 / len(a)
    return 0.5 * total


def by_enumerate(a: Any, y: Any) -> Any:
    return 2 * sum(abs(p - y[j]) for j, p in enumerate(a) if p > 0.25)


def squares(d: Any) -> Any:
    return np.sum(d**2)


COST_CASES: list[Callable[[Any, Any], Any]] = [
    by_sum,
    by_index,
    by_zip,
    by_loop,
    by_enumerate,
    lambda a, y: np.mean(np.abs(a - y)),
    lambda a, y: ((a - y) ** 2).mean() / 2,
    lambda a, y: np.dot(a - y, a - y) / 2,
    lambda a, y: (a - y) @ (a - y) + 0.1 * np.sum(a**2),
    lambda a, y: np.sum(np.where(np.abs(a - y) < 0.5, (a - y) ** 2 / 2, np.abs(a - y) - 0.5)),
    lambda a, y: squares(a - y) / 3,
    lambda a, y: sum([3 * p**2 for p in a]),
    lambda a, y: np.sum((a > y) * (a - y) ** 2) / a.size,
]
TOP = Axis("node", "n", Affine((("L", 1),)))


def value_of(c: F.Cost, a: list[float], y: list[float]) -> float:
    """The cost at numbers, by SymPy."""
    assert c.term is not None
    term = to_sympy(c.term(A, Y))
    sa, sy = sympy.symbols("a y", real=True)
    total = sum(float(term.subs({sa: p, sy: q})) for p, q in zip(a, y, strict=True))
    factor = to_sympy(c.factor(TOP)).subs(to_sympy(Size(TOP)), len(a)) if c.factor else 1
    return float(factor) * total


@pytest.mark.parametrize("f", COST_CASES, ids=range(len(COST_CASES)))
def test_a_cost_that_sums_itself_keeps_its_value(f: Callable[[Any, Any], Any]) -> None:
    a, y = [0.7, 0.2, 0.9], [0.5, 0.8, 0.1]
    assert value_of(cost(f), a, y) == pytest.approx(float(f(np.array(a), np.array(y))), rel=1e-12)


def test_a_cost_by_term_is_summed_without_a_factor() -> None:
    c = cost(by_term)
    assert c.name == "by_term" and c.factor is None and c.term is not None
    assert c.term(Ref("p", ()), Ref("q", ())) == Pow(Ref("p", ()) - Ref("q", ()), expr(2))


def test_a_mean_has_the_size_of_the_axis_in_its_factor() -> None:
    c = cost(by_index)
    assert c.factor is not None and c.factor(TOP) == Div(ONE, Size(TOP))


def test_a_sympy_cost_is_taken_by_the_names_a_and_y() -> None:
    a, y = sympy.symbols("a y")
    assert value_of(cost((a - y) ** 4), [3.0], [1.0]) == 16
    assert value_of(cost(sympy.Lambda((X, y), X * y)), [3.0], [2.0]) == 6
    assert cost(F.COSTS[0]) is F.COSTS[0]


def test_a_cost_does_not_take_the_name_of_a_built_in_one() -> None:
    def sum_squares(a: float, y: float) -> float:
        return (a - y) ** 2

    assert cost(sum_squares).name == "sum_squares_own"


COST_REFUSED: list[tuple[object, str]] = [
    (lambda a, y: a[0] - y[0], "one particular entry"),
    (lambda a, y: [p - q for p, q in zip(a, y)], "write np.sum"),  # noqa: B905
    (lambda a, y: np.sum(a) * np.sum(y), "a product of sums"),
    (lambda a, y: np.sum((a - y) ** 2) ** 2, "sum over all outputs"),
    (lambda a, y: np.sqrt(np.sum((a - y) ** 2)), "sum over all outputs"),
    (lambda a, y: 1 + np.sum(a - y), "a number beside the sum"),
    (lambda a, y: sum(j * a[j] for j in range(len(a))), "the number of an output"),
    (lambda a, y: sum(a[j] for j in range(10)), "a sum over a fixed range"),
    (lambda a, y: np.max(a - y), "largest or smallest"),
    (lambda a, y: np.sum(a - y, axis=0), "sum with axis="),
    (lambda a, y: np.linalg.norm(a - y), "norm"),
    (lambda a, y: sum(np.exp(a) / len(y) ** a), "inside a term"),
    (lambda a, y: y**2, "does not depend on the output"),
    (lambda a: a**2, "found 1 arguments; expected 2"),
    (lambda a, y, w: a * w, "found 3 arguments"),
    (lambda a, y: sum(p * q for p in a for q in y), "two loops in one sum"),
    (lambda a, y: np.sum(a - y) if np.sum(a) > 1 else 0, "comparison of a sum"),
    (sympy.Symbol("q") ** 2, "expected a and y"),
    ("mse", "found the text 'mse'"),
    (builtins.sum, "found sum"),
]


@pytest.mark.parametrize("f, message", COST_REFUSED, ids=range(len(COST_REFUSED)))
def test_what_is_no_cost_is_refused_with_its_reason(f: object, message: str) -> None:
    with pytest.raises(FunctionError, match=message) as error:
        cost(f)
    assert "\n" not in str(error.value)


def test_a_loop_that_carries_a_value_is_refused() -> None:
    def carried(a: Any, y: Any) -> Any:
        last = 0
        total = 0
        for j in range(len(a)):
            total += (a[j] - last) ** 2
            last = a[j]
        return total

    with pytest.raises(FunctionError, match="depends on the one before"):
        cost(carried)
