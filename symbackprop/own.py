"""A reader's own activation or cost: a plain Python function or a SymPy expression, as a Function or Cost.

A Python function is read, never run: `inspect` finds its source, `ast` parses it, and what is not a
scalar formula is refused with its line and what would fit. Names are looked up where the function would
look them up, and only numbers and known functions are taken from there.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

from symbackprop import functions as F
from symbackprop.errors import FunctionError, nearest
from symbackprop.indices import Axis
from symbackprop.symbols import (
    ONE,
    ZERO,
    Call,
    Compare,
    Div,
    Expr,
    Mul,
    Num,
    Param,
    Pow,
    Size,
    Where,
    expr,
    transform,
    walk,
)

NODE_LIMIT = 2000
EXPONENT_LIMIT = 100
BITS_LIMIT = 2000
STEP_LIMIT = 20_000
INLINE_LIMIT = 8
DEPTH_LIMIT = 150

RESERVED = frozenset(
    (*F.FUNCTIONS, *(m.name for m in F.LAYER_MAPS), *F.GENERIC, *F.COST_NAMES, *F.AMBIGUOUS_COSTS, "table", "g", "C")
)


@dataclass(frozen=True)
class Template:
    """An expression with places for its arguments: a Python callable that compares and pickles by its content.

    >>> Template(Param("z") * Param("a"), ("z", "a"))(ONE, ZERO) == ONE * ZERO
    True
    """

    body: Expr
    places: tuple[str, ...]

    def __call__(self, *arguments: Expr) -> Expr:
        given = dict(zip(self.places, arguments, strict=True))
        return transform(self.body, lambda e: given.get(e.name, e) if isinstance(e, Param) else e)


@dataclass(frozen=True)
class SizeTemplate:
    """An expression with a place for the number of positions of an axis, written Param("n")."""

    body: Expr

    def __call__(self, axis: Axis) -> Expr:
        return transform(self.body, lambda e: Size(axis) if e == COUNT else e)


COUNT = Param("n")
Z, A, Y = Param("z"), Param("a"), Param("y")


# ---------------------------------------------------------------- what is public


def activation(f: object) -> F.Function:
    """The activation that a Python function of one number, or a SymPy expression in one symbol, defines.

    Args:
        f: A `def` or a lambda, a SymPy expression or Lambda, a function such as `math.tanh`, or a Function.

    Returns:
        Its slope found by SymPy, its `source` as its author wrote it, its `kink` what holds where cases meet.

    Raises:
        FunctionError: It cannot be read as a formula; the message says what was found, where, and what would fit.

    >>> import math
    >>> h = activation(math.tanh)
    >>> h.name
    'tanh'
    """
    if isinstance(f, F.Function):
        return f
    if (formula := _sympy_formula(f, 1)) is not None:
        body, letters, source = formula
        return _function("h", _replace(body, {letters[0]: Z}), rf"({letters[0]}) = {source}")
    if isinstance(f, types.FunctionType):
        body = _guarded(lambda: _scalar(_read(f, ("z",), (Z,))), f)
        return _function(f.__name__, body, "", f)
    if (known := _known_callable(f)) is not None:
        body = _guarded(lambda: _bridge().stable_forms(_apply_known(known, [Z], _Place(known))), f)
        named = F.FUNCTIONS.get(body.function) if isinstance(body, Call) and body.arguments == (Z,) else None
        return named if named is not None and named.value is not None else _function(known, body)
    raise FunctionError(
        f"found {_kind(f)}, expected a plain Python function of one number, a SymPy expression in one symbol, "
        "or the name of an activation"
    )


def cost(f: object) -> F.Cost:
    """The cost of one sample that a Python function of (a, y), or a SymPy expression in a and y, defines.

    Args:
        f: The term of one output, C_0 = sum over j of f(a_j, y_j); or the whole cost, where it sums over the
            outputs itself: `np.sum((a - y)**2) / 2`, `sum((p - q)**2 for p, q in zip(a, y))`.

    Raises:
        FunctionError: It cannot be read as such a sum; the message says what was found, where, and what would fit.

    >>> import sympy
    >>> a, y = sympy.symbols("a y")
    >>> cost((a - y)**4).term(Param("p"), Param("q")) == Pow(Param("p") - Param("q"), expr(4))
    True
    """
    if isinstance(f, F.Cost):
        return f
    if (formula := _sympy_formula(f, 2)) is not None:
        return _cost("own", formula[0], ONE)
    if not isinstance(f, types.FunctionType):
        raise FunctionError(
            f"found {_kind(f)}, expected a plain Python function of an output and its target, such as "
            "lambda a, y: (a - y)**2, a SymPy expression in a and y, or the name of a cost"
        )
    name = "own" if f.__name__ == "<lambda>" else f.__name__
    if _sums(f):
        total = _guarded(lambda: _read(f, ("a", "y"), (Vector(A), Vector(Y))), f)
        if isinstance(total, Vector):
            raise FunctionError(f"{name} returns one number for each output, expected their sum; write np.sum(...)")
        if not isinstance(total, Total):
            raise FunctionError(f"{name} does not depend on the outputs, expected a sum over them")
        term, outer = _pull_count(total)
        return _cost(name, term, outer)
    return _cost(name, _guarded(lambda: _scalar(_read(f, ("a", "y"), (A, Y))), f), ONE)


def distinct(functions: Sequence[F.Function]) -> tuple[F.Function, ...]:
    """The same functions, different ones that share a name told apart: h, h_2, h_3.

    >>> h = F.Function("h", "h", "h", lambda z, a: ONE)
    >>> [f.name for f in distinct([h, h, F.Function("h", "h", "h", lambda z, a: ZERO)])]
    ['h', 'h', 'h_2']
    """
    out: list[F.Function] = []
    for f in functions:
        seen = [g for g in out if g.name == f.name or re.fullmatch(re.escape(f.name) + r"_\d+", g.name)]
        again = next(
            (g for g in seen if replace(g, name=f.name, latex=f.latex, text=f.text, source=f.source) == f), None
        )
        serial = len({g.name for g in seen}) + 1
        numbered = replace(f, name=f"{f.name}_{serial}", latex=f"{f.latex}_{{{serial}}}", text=f"{f.text}_{serial}")
        out.append(again or (numbered if seen else f))
    return tuple(out)


# ---------------------------------------------------------------- from a formula to an entry


def _bridge() -> Any:
    """SymPy is loaded only where somebody brings a function of his own."""
    from symbackprop import sympy_bridge

    return sympy_bridge


def _function(name: str, body: Expr, source: str = "", f: types.FunctionType | None = None) -> F.Function:
    """The entry for an activation with the formula `body` in Param("z")."""
    name = _free_name("h" if name == "<lambda>" else name)
    latex = _operator(name)
    _check(body)
    if Z not in {p for _, p in walk(body)}:
        raise FunctionError(f"{name} does not depend on its argument, expected a formula in it")
    body = _bridge().stable_forms(body)
    slope = _bridge().slope_of(body, "z")
    _check(slope)
    if body.parts:
        slope = transform(slope, lambda e: A if e == body else e)
    written = _as_written(f, latex) if f is not None else ""
    own = source or f"(z) = {_bridge().sympy.latex(_bridge().to_sympy(body))}"
    return F.Function(
        name,
        latex,
        name,
        Template(slope, ("z", "a")),
        Template(body, ("z",)),
        kink=_kink(body),
        source=written or latex + own,
    )


def _cost(name: str, term: Expr, outer: Expr) -> F.Cost:
    _check(term)
    if A not in {p for _, p in walk(term)}:
        raise FunctionError(f"the cost {name} does not depend on the output a, expected a formula in a and y")
    term = _bridge().stable_forms(term)
    factor = None if outer == ONE else SizeTemplate(outer)
    return F.Cost(_free_name(name), Template(term, ("a", "y")), factor)


def _free_name(name: str) -> str:
    return f"{name}_own" if name in RESERVED else name


def _operator(name: str) -> str:
    r"""A function's name as LaTeX, safe in any of the dialects.

    >>> _operator("my_act"), _operator("σ")
    ('\\operatorname{my\\_act}', '\\operatorname{{\\sigma}}')
    """
    out = ""
    for c in unicodedata.normalize("NFKD", name):
        words = unicodedata.name(c, "").split()
        if c.isascii() and (c.isalnum() or c == "_"):
            out += r"\_" if c == "_" else c
        elif words[:1] == ["GREEK"] and "LETTER" in words and words[-1].isalpha():
            letter = words[-1].lower().replace("lamda", "lambda")
            out += rf"{{\{letter if words[1] == 'SMALL' else letter.capitalize()}}}"
    return rf"\operatorname{{{out or 'h'}}}"


def _as_written(f: types.FunctionType, latex: str) -> str:
    """The definition by latexify; empty where it has nothing good to say."""
    try:
        import latexify

        text = str(latexify.get_latex(f, use_math_symbols=True))
    except Exception:  # whatever goes wrong in there, SymPy's formula takes its place
        return ""
    text = text.replace(r"\mathrm{math}.\pi", r"\pi").replace(r"\mathrm{np}.\pi", r"\pi")
    if re.search(r"\\mathrm\{\w+\}\.|NotSupported|Error", text):
        return ""
    escaped = f.__name__.replace("_", r"\_")
    for head in (rf"\mathrm{{{escaped}}}(", f"{escaped}("):
        at = text.find(head)
        if at >= 0 and (at == 0 or text[at - 1] in " &"):
            return text[:at] + latex + text[at + len(head) - 1 :]
    return text


def _kink(body: Expr) -> str:
    """What is taken as the derivative where two cases meet."""
    out: dict[str, None] = {}
    show = _bridge().to_sympy
    for _, p in walk(body):
        if isinstance(p, Compare):
            border = f"{show(p.left)} = {show(p.right)}"
            if p.op in ("==", "!="):
                out[f"at {border} the slope of the formula for that point alone is taken"] = None
            else:
                kept = p.op if p.op in ("<=", ">=") else {"<": ">=", ">": "<="}[p.op]
                out[f"at {border} the slope of the case {show(p.left)} {kept} {show(p.right)} is taken"] = None
        elif isinstance(p, Call) and p.function in ("abs", "sign"):
            inner = show(p.arguments[0])
            what = f"|{inner}|" if p.function == "abs" else "its sign"
            out[f"at {inner} = 0 the slope of {what} is taken as 0"] = None
        elif isinstance(p, Call) and (kink := F.FUNCTIONS[p.function].kink):
            out[kink] = None
    return "; ".join(out)


def _check(e: Expr) -> None:
    """The budget on size, exponents and numbers."""
    for n, (_, p) in enumerate(walk(e)):
        if n >= NODE_LIMIT:
            raise FunctionError(f"the formula has more than {NODE_LIMIT} parts; write a shorter one")
        if isinstance(p, Num) and max(p.value.numerator.bit_length(), p.value.denominator.bit_length()) > BITS_LIMIT:
            raise FunctionError("the formula holds a number of more than 600 digits; write a smaller one")
        if isinstance(p, Pow) and isinstance(p.exponent, Num) and abs(p.exponent.value) > EXPONENT_LIMIT:
            raise FunctionError(f"found the exponent {p.exponent.value}, expected at most {EXPONENT_LIMIT}")


def _sympy_formula(f: object, count: int) -> tuple[Expr, tuple[str, ...], str] | None:
    """The formula, its letters and its LaTeX, where f is SymPy's; the letters are Params of the formula."""
    if "sympy" not in sys.modules or not any(str(c.__module__).startswith("sympy.") for c in type(f).__mro__):
        return None
    bridge = _bridge()
    sympy = bridge.sympy
    thing: Any = f
    if isinstance(thing, sympy.FunctionClass):
        thing = thing(*sympy.symbols("z") if count > 1 else [sympy.Symbol("z")])
    order: tuple[Any, ...] = ()
    if isinstance(thing, sympy.Lambda):
        order, thing = tuple(thing.signature), thing.expr
    if not isinstance(thing, sympy.Expr):
        raise FunctionError(f"found SymPy's {type(thing).__name__}, expected a scalar expression")
    free = order or tuple(sorted(thing.free_symbols, key=str))
    names = tuple(str(s) for s in free)
    if count == 1 and len(free) != 1:
        raise FunctionError(f"found {thing} in {len(free)} symbols ({', '.join(names)}), expected exactly one")
    if count == 2 and order and len(order) == 2:
        names = ("a", "y")
    if count == 2 and not ({"a"} <= set(names) <= {"a", "y"}):
        raise FunctionError(f"found {thing} in the symbols {', '.join(names) or 'none'}, expected a and y")
    letters = ("z",) if count == 1 else names
    body = bridge.from_sympy(thing, {s: Param(n) for s, n in zip(free, letters, strict=True)})
    if count == 1:
        return body, ("z",), _renamed_latex(sympy, thing, free[0])
    return body, names, ""


def _renamed_latex(sympy: Any, thing: Any, symbol: Any) -> str:
    """The author's formula, in the letter z that the definition is headed by."""
    return str(sympy.latex(thing.xreplace({symbol: sympy.Symbol("z")})))


def _replace(e: Expr, mapping: Mapping[str, Expr]) -> Expr:
    return Template(e, tuple(mapping))(*mapping.values())


def _kind(f: object) -> str:
    if isinstance(f, str):
        return f"the text {f[:40]!r}"
    name = getattr(f, "__name__", "")
    kind = type(f).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{name} ({article} {kind})" if isinstance(name, str) and name else f"{article} {kind}"


def _guarded(read: Callable[[], Any], f: object) -> Any:
    try:
        return read()
    except RecursionError:
        raise FunctionError(
            f"{getattr(f, '__name__', 'the function')} is nested too deeply; write it in steps"
        ) from None


# ---------------------------------------------------------------- finding the source

FunctionNode: TypeAlias = ast.FunctionDef | ast.Lambda


@dataclass(frozen=True)
class Found:
    """The syntax tree of one function."""

    node: FunctionNode
    name: str
    text: str


def _find(f: types.FunctionType) -> Found:
    """The definition of f in its file, found by its place there."""
    code = f.__code__
    name = "the lambda" if f.__name__ == "<lambda>" else f.__name__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        what = "a generator" if code.co_flags & inspect.CO_GENERATOR else "asynchronous"
        raise FunctionError(f"{name} is {what}, expected a function that returns a number")
    try:
        lines, _ = inspect.findsource(code)
        text = "".join(lines)
        functions = _parsed(text)
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        raise FunctionError(
            f"the source of {name} is not available (defined in a prompt, or by exec?); save it in a file, "
            "or give a SymPy expression"
        ) from None
    nodes = [n for n in functions if _may_be(n, code)]
    if isinstance(f, types.FunctionType) and len(nodes) > 1:
        nodes = _innermost(nodes, code)
    if not nodes:
        raise FunctionError(f"{name}: the source file has changed since it was loaded; load it again")
    if len({ast.dump(n) for n in nodes}) > 1:
        line = code.co_firstlineno
        raise FunctionError(f"line {line}: several lambdas on one line cannot be told apart; define it with def")
    return Found(nodes[0], name, text)


@lru_cache(maxsize=8)
def _parsed(text: str) -> tuple[FunctionNode, ...]:
    """All functions in a file."""
    return tuple(n for n in ast.walk(ast.parse(text)) if isinstance(n, FunctionNode))


def _may_be(n: FunctionNode, code: types.CodeType) -> bool:
    first = min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", ()))])
    wanted = code.co_varnames[: code.co_argcount]
    same_name = code.co_name == ("<lambda>" if isinstance(n, ast.Lambda) else n.name)
    return same_name and first == code.co_firstlineno and tuple(a.arg for a in _positional(n)) == wanted


def _positional(n: FunctionNode) -> list[ast.arg]:
    return [*n.args.posonlyargs, *n.args.args]


def _innermost(nodes: list[FunctionNode], code: types.CodeType) -> list[FunctionNode]:
    """Those of several lambdas that begin on one line whose text holds the code, the smallest of them."""
    # The first and last instructions are placed at column 0 of the line: they say nothing.
    spots = [(line, column, end, last) for line, end, column, last in code.co_positions() if last]
    if not spots or any(None in s for s in spots):
        return nodes
    low = min((s[0], s[1]) for s in spots)
    high = max((s[2], s[3]) for s in spots)

    def body(n: FunctionNode) -> tuple[tuple[int, int], tuple[int, int]]:
        parts = [n.body] if isinstance(n, ast.Lambda) else n.body
        return (parts[0].lineno, parts[0].col_offset), (parts[-1].end_lineno or 0, parts[-1].end_col_offset or 0)

    holding = [n for n in nodes if body(n)[0] <= low and high <= body(n)[1]]
    # Of nested lambdas the inner one begins later.
    latest = max((body(n)[0] for n in holding), default=None)
    return [n for n in holding if body(n)[0] == latest]


def _unchanged(text: str, code: types.CodeType, name: str) -> None:
    """Refuse a file that was edited after it was loaded: its text, compiled and not run, must give the same code."""
    try:
        fresh = _compiled(text, code.co_filename)
    except (SyntaxError, ValueError):
        return  # a notebook cell with its own syntax: nothing to compare with
    if _essence(code) not in fresh:
        raise FunctionError(f"{name}: the source file has changed since it was loaded; load it again")


@lru_cache(maxsize=8)
def _compiled(text: str, filename: str) -> frozenset[tuple[Any, ...]]:
    def codes(c: types.CodeType) -> Iterator[types.CodeType]:
        yield c
        for k in c.co_consts:
            if isinstance(k, types.CodeType):
                yield from codes(k)

    return frozenset(_essence(c) for c in codes(compile(text, filename, "exec", dont_inherit=True)))


def _essence(c: types.CodeType) -> tuple[Any, ...]:
    plain = tuple(repr(k) for k in c.co_consts if not isinstance(k, types.CodeType))
    return c.co_name, c.co_firstlineno, c.co_code, c.co_names, plain


# ---------------------------------------------------------------- values of the translation


@dataclass(frozen=True)
class Vector:
    """One number for each output, given by a formula in Param("a") and Param("y")."""

    element: Expr


@dataclass(frozen=True)
class Total:
    """outer * sum over all outputs of term; `outer` holds only numbers and the number of outputs."""

    term: Expr
    outer: Expr = ONE


@dataclass(frozen=True)
class Index:
    """The running number of an output."""


@dataclass(frozen=True)
class Many:
    """What a loop runs over: one value for each output."""

    item: Value


@dataclass(frozen=True)
class Tuple:
    items: tuple[Value, ...]


@dataclass(frozen=True)
class Both:
    """A condition made of others: all of them, or any, or the opposite of one."""

    kind: str
    parts: tuple[Value, ...]


@dataclass(frozen=True)
class Module:
    name: str


@dataclass(frozen=True)
class Known:
    """A function that we know by name."""

    name: str


@dataclass(frozen=True)
class Inline:
    function: types.FunctionType


Value: TypeAlias = "Expr | Vector | Total | Index | Many | Tuple | Both | Module | Known | Inline | bool | None"


@dataclass(frozen=True)
class _Place:
    """Where in which function: for messages."""

    name: str
    line: int = 0
    first: int = 0

    def refuse(self, found: str, fits: str) -> NoReturn:
        at = f", line {self.line - self.first + 1}" if self.line else ""
        raise FunctionError(f"{self.name}{at}: found {found}; {fits}")


def _scalar(v: Value) -> Expr:
    match v:
        case Compare():
            return Where(v, ONE, ZERO)
        case Both():
            return _choose(v, ONE, ZERO)
        case bool():
            return ONE if v else ZERO
        case Expr():
            return v
        case None:
            raise FunctionError("the function returns nothing, expected a number")
        case Tuple():
            raise FunctionError("the function returns several values, expected one number")
        case _:
            raise FunctionError(f"the function returns {_called(v)}, expected a number")


def _called(v: Value) -> str:
    match v:
        case Vector() | Many():
            return "a whole array"
        case Total():
            return "a sum over all outputs"
        case Index():
            return "the number of an output"
        case Module(name):
            return f"the module {name}"
        case Known(name):
            return f"the function {name}"
        case Inline(function):
            return f"the function {function.__name__}"
        case Tuple():
            return "several values"
        case None:
            return "None"
        case _:
            return "a number"


def _choose(condition: Value, then: Expr, other: Expr) -> Expr:
    """`then` where the condition holds, `other` elsewhere; `and`, `or` and `not` become nested cases."""
    if isinstance(condition, bool):
        return then if condition else other
    if then == other:
        return then
    if isinstance(condition, Both):
        out = other if condition.kind == "or" else then
        for part in reversed(condition.parts):
            match condition.kind:
                case "and":
                    out = _choose(part, out, other)
                case "or":
                    out = _choose(part, then, out)
                case _:
                    out = _choose(part, other, then)
        return out
    assert isinstance(condition, Compare)
    return Where(condition, then, other)


def _constant(e: Expr) -> bool:
    """Whether it is made of numbers, pi and the number of outputs."""
    return all(not isinstance(p, Param) or p in (F.PI, COUNT) for _, p in walk(e))


def _pull_count(total: Total) -> tuple[Expr, Expr]:
    """The term free of the number of outputs, and what stands before the sum."""
    term, outer = total.term, total.outer
    if COUNT in {p for _, p in walk(term)}:
        top, bottom = (term.top, term.bottom) if isinstance(term, Div) else (term, ONE)
        factors = top.factors if isinstance(top, Mul) else (top,)
        out = [f for f in factors if COUNT in {p for _, p in walk(f)}]
        keep = [f for f in factors if f not in out]
        below = bottom.factors if isinstance(bottom, Mul) else (bottom,)
        low = [f for f in below if COUNT in {p for _, p in walk(f)}]
        rest = [f for f in below if f not in low]
        term = F.product(*keep) if keep else ONE
        term = term if not rest or rest == [ONE] else Div(term, F.product(*rest))
        if not all(_constant(f) for f in (*out, *low)):
            raise FunctionError("the number of outputs stands inside a term; write it as a factor of the sum")
        pulled = F.product(*out) if out else ONE
        pulled = Div(pulled, F.product(*low)) if low else pulled
        outer = pulled if outer == ONE else _times(outer, pulled)
    return term, outer


def _times(p: Expr, q: Expr) -> Expr:
    if isinstance(p, Num) and isinstance(q, Num):
        return Num(p.value * q.value)
    if p == ONE or q == ONE:
        return q if p == ONE else p
    if isinstance(q, Div) and q.top == ONE:
        return Div(p, q.bottom)
    if isinstance(p, Div) and p.top == ONE:
        return Div(q, p.bottom)
    return p * q


# ---------------------------------------------------------------- functions that are known


_ALIASES = {
    "absolute": "abs",
    "fabs": "abs",
    "Abs": "abs",
    "fmax": "maximum",
    "fmin": "minimum",
    "max": "maximum",
    "min": "minimum",
    "Max": "maximum",
    "Min": "minimum",
    "pow": "power",
    "ln": "log",
    "expit": "sigmoid",
    "float": "float64",
    "amax": "max_all",
    "amin": "min_all",
}


def _two(e: str) -> Expr:
    return F.call("exp", Z) + (-F.call("exp", -Z) if e == "-" else F.call("exp", -Z))


_UNARY: dict[str, Expr] = {
    "exp": F.call("exp", Z),
    "log": F.call("log", Z),
    "sqrt": F.call("sqrt", Z),
    "abs": F.call("abs", Z),
    "sign": F.call("sign", Z),
    "erf": F.call("erf", Z),
    "sin": F.call("sin", Z),
    "cos": F.call("cos", Z),
    "tanh": F.call("tanh", Z),
    "sigmoid": F.call("sigmoid", Z),
    "tan": Div(F.call("sin", Z), F.call("cos", Z)),
    "sinh": Div(_two("-"), expr(2)),
    "cosh": Div(_two("+"), expr(2)),
    "log1p": F.call("log", 1 + Z),
    "expm1": F.call("exp", Z) - 1,
    "exp2": Pow(expr(2), Z),
    "log2": Div(F.call("log", Z), F.call("log", expr(2))),
    "log10": Div(F.call("log", Z), F.call("log", expr(10))),
    "erfc": 1 - F.call("erf", Z),
    "square": Pow(Z, expr(2)),
    "reciprocal": Div(ONE, Z),
    "negative": -Z,
    "float64": Z,
    "float32": Z,
}
_BINARY = ("power", "maximum", "minimum", "logaddexp", "add", "subtract", "multiply", "divide", "true_divide")
_WHOLE = ("sum", "fsum", "mean", "dot", "len", "range", "zip", "enumerate")
_MODULES = ("math", "numpy", "scipy.special")


def _suggest(name: str) -> str:
    close = nearest(name, KNOWN)
    return (
        close if "did you mean" in close else "; known are exp, log, tanh, maximum, where and others of math and numpy"
    )


KNOWN = (*_UNARY, *_BINARY, "where", "clip", *_WHOLE)


def _known_callable(f: object) -> str | None:
    """The name of a function of math, NumPy, SciPy, SymPy or the builtins, by what it is and not how it is called."""
    name = getattr(f, "__name__", None)
    if not isinstance(name, str):
        return None
    kind = type(f)
    numpy_own = kind.__module__ == "numpy" and kind.__name__ in ("ufunc", "_ArrayFunctionDispatcher")
    sympy_own = kind.__module__ == "sympy.core.function" and str(getattr(f, "__module__", "")).startswith("sympy.")
    builtin = isinstance(f, types.BuiltinFunctionType) and f.__module__ in ("math", "builtins")
    classes = (
        isinstance(f, type) and f.__module__ in ("builtins", "numpy") and name in ("range", "zip", "enumerate", "float")
    )
    scalar = isinstance(f, type) and f.__module__ == "numpy" and name in ("float32", "float64")
    sympy_def = isinstance(f, types.FunctionType) and str(f.__module__).startswith("sympy.") and name == "sqrt"
    if numpy_own or sympy_own or builtin or classes or scalar or sympy_def:
        return _ALIASES.get(name, name)
    return None


def _apply_known(name: str, arguments: list[Expr], place: _Place) -> Expr:
    """A known function of scalars."""
    bridge = _bridge()
    n = len(arguments)
    if name == "log" and n == 2:
        return Div(F.call("log", arguments[0]), F.call("log", arguments[1]))
    if name in _UNARY and n == 1:
        return Template(_UNARY[name], ("z",))(arguments[0])
    if name in ("maximum", "minimum") and n >= 2:
        pick = bridge.maximum if name == "maximum" else bridge.minimum
        out: Expr = arguments[0]
        for a in arguments[1:]:
            out = pick(out, a)
        return out
    if name == "clip" and n == 3:
        middle, low, high = arguments
        return Where(Compare("<=", middle, low), low, Where(Compare(">=", middle, high), high, middle))
    if n == 2:
        p, q = arguments
        match name:
            case "power":
                return _raise(p, q, place)
            case "logaddexp":
                return F.call("softplus", q) if p == ZERO else p + F.call("softplus", q - p)
            case "add":
                return p + q
            case "subtract":
                return p - q
            case "multiply":
                return p * q
            case "divide" | "true_divide":
                return _divide(p, q, place)
    if name in (*_UNARY, *_BINARY, "clip", "where"):
        place.refuse(f"{name} with {n} arguments", f"it takes {1 if name in _UNARY else 2 if name in _BINARY else 3}")
    if name in ("random", "rand", "randn", "normal", "uniform", "gauss", "randint", "choice"):
        place.refuse(f"{name}, which is random", "an activation gives one value for one input")
    place.refuse(f"a call of {name}", f"write it in terms of known functions{_suggest(name)}")


def _raise(p: Expr, q: Expr, place: _Place) -> Expr:
    if isinstance(q, Num):
        if abs(q.value) > EXPONENT_LIMIT:
            place.refuse(f"the exponent {_short(q.value)}", f"expected at most {EXPONENT_LIMIT}")
        if isinstance(p, Num) and q.value.denominator == 1:
            if p.value == 0 and q.value < 0:
                place.refuse("a division by zero", "its value is not defined")
            return Num(p.value ** int(q.value))
        if q.value == Fraction(1, 2):
            return F.call("sqrt", p)
    return Pow(p, q)


def _divide(p: Expr, q: Expr, place: _Place) -> Expr:
    if isinstance(q, Num):
        if q.value == 0:
            place.refuse("a division by zero", "its value is not defined")
        if isinstance(p, Num):
            return Num(p.value / q.value)
    return Div(p, q)


def _short(value: Fraction) -> str:
    return str(value) if value.numerator.bit_length() < 100 else "of more than 30 digits"


# ---------------------------------------------------------------- reading


def _sums(f: types.FunctionType, seen: frozenset[types.CodeType] = frozenset()) -> bool:
    """Whether a cost, or a function it calls, handles all outputs at once: it sums, counts, indexes or loops."""
    found = _find(f)
    seen |= {f.__code__}
    for n in ast.walk(found.node):
        inner = f.__globals__.get(n.id) if isinstance(n, ast.Name) else None
        if not isinstance(inner, types.FunctionType) or inner.__code__ in seen or len(seen) > INLINE_LIMIT:
            inner = None
        if inner is not None and _known_callable(inner) is None and _sums(inner, seen):
            return True
        match n:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)) if name in (
                "sum",
                "fsum",
                "mean",
                "dot",
                "len",
                "zip",
                "enumerate",
                "average",
                "vdot",
                "inner",
                "norm",
            ):
                return True
            case ast.Subscript() | ast.GeneratorExp() | ast.ListComp() | ast.For() | ast.BinOp(op=ast.MatMult()):
                return True
            case ast.Attribute(attr="size" | "shape"):
                return True
    return False


def _read(
    f: types.FunctionType, places: tuple[str, ...], arguments: tuple[Value, ...], calls: tuple[types.CodeType, ...] = ()
) -> Value:
    """The value of f at the given arguments, its own parameters with a default filled in."""
    found = _find(f)
    given = _arguments(f, found, places, arguments)
    return _Reader(f, found, calls=(*calls, f.__code__)).run(given)


def _arguments(
    f: types.FunctionType, found: Found, places: tuple[str, ...], values: tuple[Value, ...]
) -> dict[str, Value]:
    node, place = found.node, _Place(found.name)
    wanted = f"expected {len(places)}: {', '.join(places)}"
    if node.args.vararg or node.args.kwarg:
        place.refuse("a variable number of arguments", wanted)
    letters = [a.arg for a in _positional(node)]
    defaults = f.__defaults__ or ()
    required = len(letters) - len(defaults)
    keywords = [a.arg for a in node.args.kwonlyargs]
    missing = [k for k in keywords if k not in (f.__kwdefaults__ or {})]
    if required != len(places) or missing:
        place.refuse(f"{required + len(missing)} arguments", f"{wanted}; others need a number as default")
    out: dict[str, Value] = dict(zip(letters, values, strict=False))
    filled = dict(zip(letters[required:], defaults, strict=True))
    for name, value in (filled | dict(f.__kwdefaults__ or {})).items():
        if name not in out:
            number = _number(value)
            if number is None:
                place.refuse(f"the default {name}={_kind(value)}", "expected a number as default")
            out[name] = number
    return out


def _number(value: object) -> Expr | bool | None:
    """A number of the caller's as an expression; None where it is none."""
    if isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int | Fraction):
        return Num(Fraction(value))
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return expr(float(value))
    return None


@dataclass
class _Reader:
    """One function in the course of being read."""

    function: types.FunctionType
    found: Found
    calls: tuple[types.CodeType, ...]
    steps: int = 0
    depth: int = 0
    sizes: dict[int, tuple[Expr, int]] = field(default_factory=dict)

    # ------------------------------------------------------------ statements

    def run(self, given: dict[str, Value]) -> Value:
        """The value that the function returns, its text checked to be the one that was loaded."""
        result = self.result(given)
        _unchanged(self.found.text, self.function.__code__, self.found.name)
        return result

    def result(self, given: dict[str, Value]) -> Value:
        node = self.found.node
        if isinstance(node, ast.Lambda):
            return self.value(node.body, given)
        body = node.body
        if ast.get_docstring(node, clean=False) is not None:
            body = body[1:]
        done, result = self.block(body, given)
        if not done:
            self.place(node).refuse("a way through it without return", "return a number in every case")
        return result

    def place(self, n: ast.AST) -> _Place:
        return _Place(self.found.name, getattr(n, "lineno", 0), self.found.node.lineno)

    def block(self, statements: Sequence[ast.stmt], env: dict[str, Value]) -> tuple[bool, Value]:
        """Whether the statements return, and what; `env` is updated."""
        for i, s in enumerate(statements):
            self.tick(s)
            match s:
                case ast.Return(value=v):
                    return True, None if v is None else self.value(v, env)
                case ast.Assign(targets=targets, value=v):
                    value = self.value(v, env)
                    for t in targets:
                        self.bind(t, value, env)
                case ast.AnnAssign(target=t, value=v):
                    if v is not None:
                        self.bind(t, self.value(v, env), env)
                case ast.AugAssign(target=ast.Name(id=name) as t, op=op, value=v):
                    old = self.lookup(name, env, t)
                    env[name] = self.binary(op, old, self.value(v, env), s)
                case ast.AugAssign(target=t):
                    self.bind(t, None, env)
                case ast.If(test=test, body=body, orelse=orelse):
                    condition = self.condition(test, env)
                    if isinstance(condition, bool):
                        done, result = self.block(body if condition else orelse, env)
                        if done:
                            return True, result
                    elif _returns(s):
                        return self.branch(s, condition, statements[i + 1 :], env)
                    else:
                        self.merge(s, condition, env)
                case ast.For():
                    self.loop(s, env)
                case ast.Pass():
                    pass
                case ast.Expr(value=ast.Constant(value=str())):
                    pass
                case _:
                    self.refuse_statement(s)
        return False, None

    def branch(
        self, s: ast.If, condition: Value, rest: Sequence[ast.stmt], env: dict[str, Value]
    ) -> tuple[bool, Value]:
        """Both ways to the end of the function, where one of them returns early."""
        yes_done, yes = self.block([*s.body, *rest], dict(env))
        no_done, no = self.block([*s.orelse, *rest], dict(env))
        if not (yes_done and no_done):
            self.place(s).refuse("a way through this if without return", "return a number in every case")
        return True, self.sized(self.cases(condition, yes, no, s), s)

    def merge(self, s: ast.If, condition: Value, env: dict[str, Value]) -> None:
        """Both ways through an if that only assigns; a name that one of them leaves unset is unset."""
        yes, no = dict(env), dict(env)
        self.block(s.body, yes)
        self.block(s.orelse, no)
        env.clear()
        for name in yes.keys() & no.keys():
            same = yes[name] is no[name] or yes[name] == no[name]
            env[name] = yes[name] if same else self.sized(self.cases(condition, yes[name], no[name], s), s)

    def cases(self, condition: Value, yes: Value, no: Value, s: ast.AST) -> Value:
        if isinstance(yes, Total) or isinstance(no, Total):
            self.place(s).refuse("a sum over all outputs in one case", "put the condition into the term")
        return self.lift([yes, no], lambda p: _choose(condition, p[0], p[1]), s)

    def loop(self, s: ast.For, env: dict[str, Value]) -> None:
        """A loop over the outputs that adds up, or over a range of numbers."""
        if s.orelse:
            self.place(s).refuse("a for with else", "write the sum without it")
        if any(isinstance(n, ast.Return | ast.Break | ast.Continue) for n in ast.walk(s)):
            self.place(s).refuse("a loop left early", "write the sum without return, break or continue in it")
        over = self.value(s.iter, env)
        if isinstance(over, Tuple):
            for item in over.items:
                self.bind(s.target, item, env)
                self.block(s.body, env)
            return
        if not isinstance(over, Many | Vector):
            self.place(s).refuse(f"a for over {_called(over)}", "write for j in range(len(a)), or use np.sum")
        inner = dict(env)
        self.bind(s.target, over.item if isinstance(over, Many) else over.element, inner)
        for t in s.body:
            self.tick(t)
            match t:
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Add() | ast.Sub(), value=v) if name in env:
                    total = self.total(self.value(v, inner), t)
                    env[name] = self.binary(t.op, env[name], total, t)
                case ast.Assign(targets=[ast.Name(id=name)], value=v) if name not in env:
                    inner[name] = self.value(v, inner)
                case _:
                    self.place(t).refuse("a step that depends on the one before", "only add up terms: total += ...")

    def bind(self, target: ast.expr, value: Value, env: dict[str, Value]) -> None:
        match target:
            case ast.Name(id=name):
                env[name] = value
            case ast.Tuple(elts=names) | ast.List(elts=names):
                if not isinstance(value, Tuple) or len(value.items) != len(names):
                    self.place(target).refuse(
                        f"{len(names)} names for {_called(value)}", "give one value for each name"
                    )
                for n, v in zip(names, value.items, strict=True):
                    self.bind(n, v, env)
            case ast.Attribute():
                self.place(target).refuse("an assignment to an attribute, a side effect", "assign to a local name")
            case ast.Subscript():
                self.place(target).refuse(
                    "an assignment to an entry, a side effect", "build the formula in one expression"
                )
            case _:
                self.place(target).refuse(f"an assignment to {type(target).__name__}", "assign to a local name")

    def refuse_statement(self, s: ast.stmt) -> NoReturn:
        reasons: dict[type, tuple[str, str]] = {
            ast.While: ("a while loop, an unbound loop", "write the formula it converges to"),
            ast.Global: ("global, a side effect", "pass the number as an argument with a default"),
            ast.Nonlocal: ("nonlocal, a side effect", "pass the number as an argument with a default"),
            ast.Try: ("try", "write the cases with if"),
            ast.With: ("with", "return a formula alone"),
            ast.Raise: ("raise", "give a value for every number"),
            ast.Assert: ("assert", "return a formula alone"),
            ast.Delete: ("del, a side effect", "return a formula alone"),
            ast.Import: ("an import inside the function", "import at the top of the file"),
            ast.ImportFrom: ("an import inside the function", "import at the top of the file"),
            ast.FunctionDef: ("a function inside the function", "define it at the top of the file"),
            ast.ClassDef: ("a class inside the function", "return a formula alone"),
            ast.Match: ("match", "write the cases with if"),
        }
        if isinstance(s, ast.Expr):
            call = s.value.func if isinstance(s.value, ast.Call) else None
            if isinstance(call, ast.Name | ast.Attribute):
                name = call.id if isinstance(call, ast.Name) else call.attr
                self.place(s).refuse(f"{name}(...), called for its side effect", "return a formula alone")
            if isinstance(s.value, ast.Yield | ast.YieldFrom | ast.Await):
                self.place(s).refuse(type(s.value).__name__.lower(), "return a number")
            self.place(s).refuse("an expression whose value is not used", "return it, or leave it out")
        found, fits = reasons.get(type(s), (type(s).__name__, "write it with if, assignments and return"))
        self.place(s).refuse(found, fits)

    # ------------------------------------------------------------ expressions

    def tick(self, n: ast.AST) -> None:
        self.steps += 1
        if self.steps > STEP_LIMIT:
            self.place(n).refuse(f"more than {STEP_LIMIT} steps", "write a shorter formula")

    def sized(self, v: Value, n: ast.AST) -> Value:
        """The value, unless it has grown beyond the budget; each part is counted once, however often it is shared."""
        e = v.element if isinstance(v, Vector) else v.term if isinstance(v, Total) else v
        if isinstance(e, Expr):
            if self.size(e) > NODE_LIMIT:
                self.place(n).refuse(f"a formula of more than {NODE_LIMIT} parts", "write a shorter one")
            if (
                isinstance(e, Num)
                and max(e.value.numerator.bit_length(), e.value.denominator.bit_length()) > BITS_LIMIT
            ):
                self.place(n).refuse("a number of more than 600 digits", "write a smaller one")
        return v

    def size(self, e: Expr) -> int:
        known = self.sizes.get(id(e))
        if known is None:
            known = self.sizes[id(e)] = (e, 1 + sum(self.size(p) for p in e.parts))
        return known[1]

    def value(self, n: ast.expr, env: dict[str, Value]) -> Value:
        self.tick(n)
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            self.place(n).refuse(f"more than {DEPTH_LIMIT} nested brackets", "write it in steps with local names")
        try:
            return self.sized(self.evaluated(n, env), n)
        finally:
            self.depth -= 1

    def evaluated(self, n: ast.expr, env: dict[str, Value]) -> Value:
        match n:
            case ast.Constant(value=v):
                number = _number(v)
                if number is None:
                    self.place(n).refuse(f"{v!r:.40}", "expected a finite number")
                return number
            case ast.Name(id=name):
                return self.lookup(name, env, n)
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(op, self.value(left, env), self.value(right, env), n)
            case ast.UnaryOp(op=ast.USub(), operand=v):
                return self.negative(self.value(v, env), n)
            case ast.UnaryOp(op=ast.UAdd(), operand=v):
                return self.value(v, env)
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                return self.condition(n, env)
            case ast.Compare():
                return self.comparison(n, env)
            case ast.IfExp(test=test, body=yes, orelse=no):
                condition = self.condition(test, env)
                if isinstance(condition, bool):
                    return self.value(yes if condition else no, env)
                return self.cases(condition, self.value(yes, env), self.value(no, env), n)
            case ast.Call():
                return self.call(n, env)
            case ast.Attribute():
                return self.attribute(n, env)
            case ast.Subscript(value=v, slice=at):
                array, index = self.value(v, env), self.value(at, env)
                if isinstance(array, Vector) and isinstance(index, Index):
                    return array.element
                if isinstance(array, Vector):
                    self.place(n).refuse("one particular entry", "sum over all outputs: for j in range(len(a))")
                self.place(n).refuse(f"an entry of {_called(array)}", "expected a formula of numbers")
            case ast.GeneratorExp() | ast.ListComp():
                return self.comprehension(n, env)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return Tuple(tuple(self.value(i, env) for i in items))
            case ast.NamedExpr(target=t, value=v):
                env[t.id] = self.value(v, env)
                return env[t.id]
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                self.place(n).refuse(type(n).__name__.lower(), "return a number")
            case _:
                self.place(n).refuse(f"{type(n).__name__}", "expected arithmetic, comparisons and known functions")

    def comprehension(self, n: ast.GeneratorExp | ast.ListComp, env: dict[str, Value]) -> Value:
        if len(n.generators) != 1:
            self.place(n).refuse("two loops in one sum", "sum over the outputs once")
        g = n.generators[0]
        over = self.value(g.iter, env)
        if isinstance(over, Tuple):
            self.place(n).refuse("a sum over a fixed range", "write range(len(a)): the network says how many outputs")
        if not isinstance(over, Many | Vector):
            self.place(n).refuse(f"a sum over {_called(over)}", "write for j in range(len(a)), or zip(a, y)")
        inner = dict(env)
        self.bind(g.target, over.item if isinstance(over, Many) else over.element, inner)
        item = self.value(n.elt, inner)
        for test in reversed(g.ifs):
            item = self.cases(self.condition(test, inner), item, ZERO, n)
        if isinstance(item, Expr | bool | Both):
            return Vector(_scalar(item))
        self.place(n).refuse(f"a sum of {_called(item)}", "expected one number for each output")

    def condition(self, n: ast.expr, env: dict[str, Value]) -> Value:
        """A condition: a Compare, a Both, or what is already decided."""
        match n:
            case ast.BoolOp(op=op, values=values):
                kind = "and" if isinstance(op, ast.And) else "or"
                return _combine(kind, [self.condition(v, env) for v in values])
            case ast.UnaryOp(op=ast.Not(), operand=v):
                return _combine("not", [self.condition(v, env)])
        value = self.value(n, env)
        if isinstance(value, Compare | Both | bool):
            return value
        fits = "use np.where" if isinstance(value, Vector) else "write a comparison such as z > 0"
        self.place(n).refuse(f"{_called(value)} as a condition", fits)

    def comparison(self, n: ast.Compare, env: dict[str, Value]) -> Value:
        symbols: dict[type, str] = {
            ast.Lt: "<",
            ast.LtE: "<=",
            ast.Gt: ">",
            ast.GtE: ">=",
            ast.Eq: "==",
            ast.NotEq: "!=",
        }
        sides = [self.value(v, env) for v in (n.left, *n.comparators)]
        if any(isinstance(v, Total) for v in sides):
            self.place(n).refuse("a comparison of a sum over all outputs", "a cost is one sum of terms")
        parts: list[Value] = []
        for op, left, right in zip(n.ops, sides, sides[1:], strict=False):
            symbol = symbols.get(type(op))
            if symbol is None:
                self.place(n).refuse(f"the comparison {type(op).__name__}", "expected one of < <= > >= == !=")
            parts.append(self.lift([left, right], lambda p, s=symbol: _compare(s, p[0], p[1]), n))  # type: ignore[misc]
        if len(parts) == 1:
            return parts[0]
        vector = any(isinstance(p, Vector) for p in parts)
        inner = _combine("and", [p.element if isinstance(p, Vector) else p for p in parts])
        return Vector(_scalar(inner)) if vector else inner

    def binary(self, op: ast.operator, left: Value, right: Value, n: ast.AST) -> Value:
        place = self.place(n)
        match op:
            case ast.MatMult():
                return self.total(self.lift([left, right], lambda p: p[0] * p[1], n), n)
            case ast.Add() | ast.Sub():
                if isinstance(left, Total) or isinstance(right, Total):
                    return self.add_totals(left, right if isinstance(op, ast.Add) else self.negative(right, n), n)
                return self.lift([left, right], lambda p: _plus(p[0], p[1], isinstance(op, ast.Sub)), n)
            case ast.Mult():
                if isinstance(left, Total) or isinstance(right, Total):
                    return self.scale(left, right, n)
                return self.lift([left, right], lambda p: _multiply(p[0], p[1]), n)
            case ast.Div():
                if isinstance(left, Total):
                    return self.scale(left, self.lift([right], lambda p: _divide(ONE, p[0], place), n), n)
                return self.lift([left, right], lambda p: _divide(p[0], p[1], place), n)
            case ast.Pow():
                return self.lift([left, right], lambda p: _raise(p[0], p[1], place), n)
        names = {
            "Mod": "%",
            "FloorDiv": "//",
            "BitXor": "^",
            "BitAnd": "&",
            "BitOr": "|",
            "LShift": "<<",
            "RShift": ">>",
        }
        symbol = names.get(type(op).__name__, type(op).__name__)
        fits = "a power is **" if symbol == "^" else "write `and`, `or`" if symbol in "&|" else "it has no derivative"
        place.refuse(f"the operator {symbol}", fits)

    def negative(self, v: Value, n: ast.AST) -> Value:
        if isinstance(v, Total):
            return Total(v.term, Num(Fraction(-1)) if v.outer == ONE else -v.outer)
        return self.lift([v], lambda p: -p[0], n)

    def scale(self, left: Value, right: Value, n: ast.AST) -> Value:
        total, other = (left, right) if isinstance(left, Total) else (right, left)
        if not isinstance(total, Total) or not isinstance(other, Expr) or not _constant(other):
            self.place(n).refuse("a product of sums", "a cost is one sum over the outputs, times a number")
        return Total(total.term, _times(other, total.outer) if total is right else _times(total.outer, other))

    def add_totals(self, left: Value, right: Value, n: ast.AST) -> Value:
        if left == ZERO:
            return right
        if right in (ZERO, Num(Fraction(0))):
            return left
        if not (isinstance(left, Total) and isinstance(right, Total)):
            self.place(n).refuse("a number beside the sum", "a cost is one sum over the outputs, times a number")
        if left.outer == right.outer:
            return Total(left.term + right.term, left.outer)
        return Total(_multiply(left.outer, left.term) + _multiply(right.outer, right.term))

    def lift(self, values: Sequence[Value], f: Callable[[list[Expr]], Value], n: ast.AST) -> Value:
        """A function of scalars, entry by entry where a value is an array."""
        vector = False
        scalars: list[Expr] = []
        for v in values:
            if isinstance(v, Vector):
                vector = True
                scalars.append(_scalar(v.element))
            elif isinstance(v, Expr | bool | Both):
                scalars.append(_scalar(v))
            else:
                self.place(n).refuse(f"arithmetic with {_called(v)}", "expected numbers")
        out = f(scalars)
        if not vector:
            return out
        if isinstance(out, bool | Both):
            out = _scalar(out)
        assert isinstance(out, Expr)
        return Vector(out)

    def total(self, v: Value, n: ast.AST) -> Total:
        """The sum of an array over the outputs."""
        if isinstance(v, Vector):
            return Total(_scalar(v.element))
        if isinstance(v, Expr) and not _constant(v):
            return Total(v)
        self.place(n).refuse(f"the sum of {_called(v)}", "expected one number for each output")

    # ------------------------------------------------------------ names and calls

    def lookup(self, name: str, env: dict[str, Value], n: ast.AST) -> Value:
        """A name as Python would find it: local, enclosing, global, builtin."""
        if name in env:
            return env[name]
        code = self.function.__code__
        if name in code.co_varnames or name in code.co_cellvars:
            self.place(n).refuse(f"{name}, which is not set in every case", "give it a value before")
        cells = dict(zip(code.co_freevars, self.function.__closure__ or (), strict=True))
        if name in cells:
            try:
                held = cells[name].cell_contents
            except ValueError:
                self.place(n).refuse(f"{name}, which has no value yet", "give it a value before")
            return self.outside(name, held, n)
        if name in self.function.__globals__:
            return self.outside(name, self.function.__globals__[name], n)
        builtins = self.function.__globals__.get("__builtins__", {})
        table = builtins if isinstance(builtins, dict) else vars(builtins)
        if name in table:
            return self.outside(name, table[name], n)
        if name in env or name in _UNARY:
            self.place(n).refuse(f"{name}, which has no value", f"import it: from math import {name}")
        self.place(n).refuse(f"the name {name}, which has no value", f"define it{_suggest(name)}")

    def outside(self, name: str, value: object, n: ast.AST) -> Value:
        """What a name outside the function stands for: a number, a known module or a function."""
        number = _number(value)
        if number is not None:
            return number
        if isinstance(value, types.ModuleType):
            if value.__name__ in _MODULES or value.__name__ in ("sympy", "scipy"):
                return Module(value.__name__)
            if value.__name__ in ("random", "numpy.random", "secrets", "time"):
                self.place(n).refuse(f"the module {value.__name__}", "an activation gives one value for one input")
            self.place(n).refuse(f"the module {value.__name__}", f"use one of {', '.join(_MODULES)}")
        known = _known_callable(value)
        if known is not None:
            return Known(known)
        if isinstance(value, types.FunctionType):
            return Inline(value)
        if isinstance(value, float):
            self.place(n).refuse(f"{name} = {value}", "expected a finite number")
        self.place(n).refuse(f"{name}, {_kind(value)}", "expected a number or a plain Python function")

    def attribute(self, n: ast.Attribute, env: dict[str, Value]) -> Value:
        owner = self.value(n.value, env)
        if isinstance(owner, Module):
            if n.attr in ("pi", "e"):
                return F.PI if n.attr == "pi" else F.call("exp", ONE)
            module = sys.modules.get(owner.name)
            if n.attr == "random":
                self.place(n).refuse("random numbers", "an activation gives one value for one input")
            found = getattr(module, n.attr, None)
            if found is None:
                self.place(n).refuse(f"{owner.name}.{n.attr}, which does not exist", f"use another{_suggest(n.attr)}")
            if isinstance(found, types.ModuleType):
                return Module(found.__name__)
            return self.outside(f"{owner.name}.{n.attr}", found, n)
        if isinstance(owner, Vector) and n.attr == "size":
            return COUNT
        if isinstance(owner, Vector | Expr) and n.attr in ("sum", "mean", "dot"):
            return Tuple((owner, Known(n.attr)))  # a bound method
        self.place(n).refuse(f"the attribute .{n.attr} of {_called(owner)}", "use functions of math or numpy")

    def call(self, n: ast.Call, env: dict[str, Value]) -> Value:
        f = self.value(n.func, env)
        before: list[Value] = []
        if isinstance(f, Tuple) and len(f.items) == 2:
            before, f = [f.items[0]], f.items[1]
        if any(isinstance(a, ast.Starred) for a in n.args):
            self.place(n).refuse("a call with *", "write out its arguments")
        if isinstance(f, Inline):
            return self.inline(f.function, n, env)
        if not isinstance(f, Known):
            self.place(n).refuse(f"a call of {_called(f)}", "call functions of math or numpy")
        if n.keywords:
            self.place(n).refuse(f"{f.name} with {n.keywords[0].arg or '**'}=...", "leave it out")
        arguments = [*before, *(self.value(a, env) for a in n.args)]
        return self.whole(f.name, arguments, n)

    def whole(self, name: str, arguments: list[Value], n: ast.Call) -> Value:
        """A known function; those of whole arrays first."""
        place = self.place(n)
        first = arguments[0] if arguments else None
        match name:
            case "sum" | "fsum" if len(arguments) == 1:
                return self.total(first, n)
            case "mean" if len(arguments) == 1:
                return Total(self.total(first, n).term, Div(ONE, COUNT))
            case "dot" if len(arguments) == 2:
                return self.binary(ast.MatMult(), arguments[0], arguments[1], n)
            case "len" if isinstance(first, Vector):
                return COUNT
            case "range":
                return self.numbers(arguments, n)
            case "zip" if arguments and all(isinstance(a, Vector | Many) for a in arguments):
                items = [
                    a.element if isinstance(a, Vector) else a.item for a in arguments if isinstance(a, Vector | Many)
                ]
                return Many(Tuple(tuple(items)))
            case "enumerate" if isinstance(first, Vector | Many):
                return Many(Tuple((Index(), first.element if isinstance(first, Vector) else first.item)))
            case "where" if len(arguments) == 3:
                condition, yes, no = arguments
                vector = isinstance(condition, Vector)
                inner = condition.element if isinstance(condition, Vector) else condition
                if isinstance(inner, Where) and (inner.then, inner.other) == (ONE, ZERO):
                    inner = inner.condition
                if not isinstance(inner, Compare | Both | bool):
                    place.refuse("where without a condition", "write where(z > 0, ..., ...)")
                out = self.cases(inner, yes, no, n)
                return Vector(out) if vector and isinstance(out, Expr) else out
            case "maximum" | "minimum" if len(arguments) == 1 and isinstance(first, Tuple):
                return self.whole(name, list(first.items), n)
            case "maximum" | "minimum" | "max_all" | "min_all" if len(arguments) == 1:
                place.refuse("the largest or smallest of all outputs", "a cost is one sum over the outputs")
            case "len" | "zip" | "enumerate" | "sum" | "fsum" | "mean" | "dot":
                place.refuse(f"{name} of {_called(first)}", "it takes the arrays a and y")
        return self.lift(arguments, lambda p: _apply_known(name, p, place), n)

    def numbers(self, arguments: list[Value], n: ast.Call) -> Value:
        """range: over all outputs, or over numbers that are known."""
        if arguments in ([COUNT], [ZERO, COUNT]):
            return Many(Index())
        limits = [a.value for a in arguments if isinstance(a, Num) and a.value.denominator == 1]
        if len(limits) != len(arguments) or not 1 <= len(limits) <= 3 or (len(limits) == 3 and limits[2] == 0):
            self.place(n).refuse("a range that is not known", "write range(len(a)), or whole numbers")
        span = range(*(int(x) for x in limits))
        if len(span) > 100:
            self.place(n).refuse(f"a loop of {len(span)} rounds", "expected at most 100")
        return Tuple(tuple(Num(Fraction(i)) for i in span))

    def inline(self, f: types.FunctionType, n: ast.Call, env: dict[str, Value]) -> Value:
        """Another function of the reader's, read in its place."""
        place = self.place(n)
        if f.__code__ in self.calls:
            place.refuse(f"{f.__name__}, which calls itself", "write it without recursion")
        if len(self.calls) > INLINE_LIMIT:
            place.refuse(f"more than {INLINE_LIMIT} functions inside each other", "write a shorter formula")
        if str(getattr(f, "__module__", "")).split(".")[0] in ("numpy", "scipy", "torch", "jax", "sympy", "random"):
            place.refuse(f"a call of {f.__module__}.{f.__name__}", f"use math or numpy{_suggest(f.__name__)}")
        found = _find(f)
        letters = [a.arg for a in _positional(found.node)]
        keywords = {k.arg: self.value(k.value, env) for k in n.keywords if k.arg is not None}
        if len(keywords) != len(n.keywords) or found.node.args.vararg or found.node.args.kwarg:
            place.refuse(f"a call of {f.__name__} with ** or *", "write out its arguments")
        values = [self.value(a, env) for a in n.args]
        given = dict(zip(letters, values, strict=False)) | keywords
        defaults = dict(zip(reversed(letters), reversed(f.__defaults__ or ()), strict=False)) | dict(
            f.__kwdefaults__ or {}
        )
        for name, value in defaults.items():
            if name not in given:
                number = _number(value)
                if number is None:
                    place.refuse(f"{f.__name__} with the default {name}={_kind(value)}", "expected a number as default")
                given[name] = number
        every = {*letters, *(a.arg for a in found.node.args.kwonlyargs)}
        doubled = set(letters[: len(values)]) & keywords.keys()
        if len(values) > len(letters) or given.keys() != every or doubled:
            place.refuse(f"{f.__name__} with {len(values) + len(keywords)} arguments", f"it takes {len(letters)}")
        reader = _Reader(f, found, (*self.calls, f.__code__), self.steps, self.depth, self.sizes)
        result = reader.run(given)
        self.steps = reader.steps
        return result


def _returns(s: ast.If) -> bool:
    return any(isinstance(n, ast.Return) for n in ast.walk(s))


def _combine(kind: str, parts: list[Value]) -> Value:
    """`and`, `or` or `not` of conditions, what is decided left out."""
    if kind == "not":
        return not parts[0] if isinstance(parts[0], bool) else Both("not", (parts[0],))
    decisive = kind == "or"
    if any(p is decisive for p in parts):
        return decisive
    open_ = [p for p in parts if not isinstance(p, bool)]
    if not open_:
        return not decisive
    return open_[0] if len(open_) == 1 else Both(kind, tuple(open_))


def _compare(op: Any, left: Expr, right: Expr) -> Value:
    if isinstance(left, Num) and not isinstance(right, Num):
        flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
        return Compare(flipped.get(op, op), right, left)
    if isinstance(left, Num) and isinstance(right, Num):
        p, q = left.value, right.value
        decided = {"<": p < q, "<=": p <= q, ">": p > q, ">=": p >= q, "==": p == q, "!=": p != q}
        return decided[op]
    return Compare(op, left, right)


def _plus(p: Expr, q: Expr, minus: bool) -> Expr:
    if isinstance(p, Num) and isinstance(q, Num):
        return Num(p.value - q.value if minus else p.value + q.value)
    return p - q if minus else p + q


def _multiply(p: Expr, q: Expr) -> Expr:
    return Num(p.value * q.value) if isinstance(p, Num) and isinstance(q, Num) else p * q
