r"""NumPy code as LaTeX: what Python computes, not what it resembles.

The source is parsed, never run. A printer of scalar formulas shows `(W.T @ d) * s`, `W.T @ (d * s)` and
`W.T @ d @ s` alike; here each operation has a sign of its own, brackets stand where Python groups
otherwise than a reader would, and what has no honest picture is refused with its place.

    A @ B, np.dot, np.matmul    A\, B               matrix product: names side by side, apart from a number's place
    x * y, 2 * x, n * x         x \odot y, 2 x, n \cdot x     entry by entry; plain where one side is known a scalar
    x / y, x / n                x \oslash y, a fraction       the same rule
    x ** 2, n ** 2              x^{\odot 2}, n^{2}            the same rule: W^2 would be the matrix W W
    x.T, np.outer(a, b)         x^{\top}, a\, b^{\top}        vectors are columns
    np.sum(x, axis=0)           \sum_{\text{axis } 0} x       counted from 0 as in the code; `all` where there is no axis
    W2, a_prev, dW2             W_2, a_{\mathrm{prev}}, \mathrm{d}W_2
    x[l - 1], x[:, None]        x_{[l - 1]}, x_{[:,\, \mathrm{None}]}    brackets: Python's index, not a part of the name
    z > 0                       \left[z > 0\right]            1 where it holds, 0 elsewhere (Iverson)
    np.where, if ... else       cases with where/elsewhere, with if/otherwise
    x = ..., x += ...           = where the name has one value in the listing, \leftarrow where it changes

A sum sign takes the one symbol or bracket behind it. Two names that would look alike (`W2`, `W_2`) are both
printed letter by letter. A scalar is known by its number, its annotation (`eta: float`), as the variable of a
range, as a length or a total, or because `scalars` names it.

Three things the pictures do not tell: arrays have at most two axes (beyond, np.dot and @ differ); `.T` does
nothing to an array of one axis, so that `a @ b.T` is np.outer(a, b) only for columns; `x -= y` changes the array
that other names may hold, where `x = x - y` makes a new one.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NoReturn

from symbackprop.errors import FunctionError

DEPTH_LIMIT = 80
NODE_LIMIT = 20_000

# fmt: off
GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
         "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta",
         "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", GREEK, strict=True))
WORDS = {w: rf"\{w}" for w in GREEK} | {"lam": r"\lambda", "eps": r"\varepsilon", "epsilon": r"\varepsilon"}
COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: r"\le", ast.Gt: ">", ast.GtE: r"\ge", ast.Eq: "=", ast.NotEq: r"\ne"}

MODULES = ("numpy", "math", "jax.numpy", "autograd.numpy", "cupy")
BUILTINS = {"np": "np.", "numpy": "np.", "math": "np.", "abs": "np.abs"}
CONSTANTS = {"np.pi": r"\pi", "np.e": r"\mathrm{e}", "np.inf": r"\infty"}
CALLS = {"exp": r"\exp", "log": r"\log", "tanh": r"\tanh", "sinh": r"\sinh", "cosh": r"\cosh", "sin": r"\sin",
         "cos": r"\cos", "sign": r"\operatorname{sign}", "maximum": r"\max", "minimum": r"\min"}
BINARY: dict[str, type[ast.operator]] = {
    "dot": ast.MatMult, "matmul": ast.MatMult, "multiply": ast.Mult, "add": ast.Add, "subtract": ast.Sub,
    "divide": ast.Div, "true_divide": ast.Div, "power": ast.Pow}
REDUCTIONS = {"sum": r"\sum", "prod": r"\prod", "mean": r"\operatorname{mean}", "max": r"\max", "min": r"\min",
              "amax": r"\max", "amin": r"\min"}
FILLED = {"zeros": "0", "ones": "1", "eye": "I", "identity": "I", "zeros_like": "0", "ones_like": "1"}
OTHERS = ("sqrt", "abs", "absolute", "fabs", "square", "negative", "transpose", "outer", "where", "einsum")
KNOWN = frozenset((*CALLS, *BINARY, *REDUCTIONS, *FILLED, *OTHERS))
METHODS = frozenset(("dot", "transpose", "sum", "prod", "mean", "max", "min"))
ELEMENTWISE = KNOWN - {*REDUCTIONS, *FILLED, "dot", "matmul", "outer", "einsum", "transpose"}
TAKES = {"where": 3} | dict.fromkeys((*BINARY, "maximum", "minimum", "outer"), 2)

FITS: dict[type[ast.AST], tuple[str, str]] = {
    ast.While: ("a while loop", "write for l in range(...)"),
    ast.For: ("a loop over several names, or with else", "write for l in range(...)"),
    ast.Expr: ("an expression whose value is dropped", "assign it to a name"),
    ast.ListComp: ("a list comprehension", "write a for loop over range(...)"),
    ast.GeneratorExp: ("a generator", "write np.sum(...) of an array"),
    ast.FunctionDef: ("a function inside", "give it to code_latex by itself"),
    ast.Lambda: ("a lambda inside a formula", "name it with def and call it"),
    ast.Starred: ("a starred expression", "write its parts out"),
    ast.BoolOp: ("and, or outside a condition", "write np.where or ... if ... else ..."),
    ast.NamedExpr: ("an assignment inside an expression", "assign it on a line of its own"),
    ast.Dict: ("a dict", "return a tuple of the arrays"),
}
# fmt: on


class Level(IntEnum):
    """How strongly a piece of LaTeX holds together, as a reader sees it."""

    OPEN = 0  # cases: a brace without its partner
    OR = 1
    AND = 2
    NOT = 3
    COMPARE = 4
    SUM = 5
    BIG = 6  # a sum sign before its operand
    PRODUCT = 7
    SIGNED = 8
    FRACTION = 9
    SCRIPTED = 10  # a call, a root, what has its superscript: stands in a product, takes no further script
    ATOM = 11  # a symbol, a number, what has brackets: takes a superscript


@dataclass(frozen=True)
class Tex:
    """LaTeX and its level; an ATOM is `head` with the subscript `sub`."""

    text: str
    level: Level
    head: str = ""
    sub: str = ""

    def at_least(self, level: Level) -> str:
        """The text, in brackets if it holds less than `level`.

        >>> Tex("a + b", Level.SUM).at_least(Level.PRODUCT)
        '\\\\left(a + b\\\\right)'
        """
        return self.text if self.level >= level else bracket(self.text)

    def atom(self) -> Tex:
        return self if self.level is Level.ATOM else symbol(bracket(self.text))


def bracket(text: str) -> str:
    return rf"\left({text}\right)"


def symbol(head: str, sub: str = "") -> Tex:
    """An atom."""
    low = f"_{sub}" if len(sub) == 1 else f"_{{{sub}}}" if sub else ""
    return Tex(head + low, Level.ATOM, head, sub)


@dataclass(frozen=True)
class CodeRow:
    r"""One statement: `left relation right`; `left` and `relation` may be empty.

    Args:
        line: Its line in the source: of the file, for a function object.
        depth: How many loops and branches it stands in.
    """

    line: int
    depth: int
    left: str
    relation: str
    right: str

    def latex(self, aligned: bool = True) -> str:
        r"""The row; aligned at its relation, or at its beginning with its depth as indentation.

        >>> CodeRow(1, 0, "x", "=", "y").latex(), CodeRow(2, 1, "x", "=", "y").latex(aligned=False)
        ('x &= y', '& \\quad x = y')
        """
        relation = self.relation or (r"\ " if self.left else "")
        if aligned:
            return f"{self.left} &{relation} {self.right}".strip()
        parts = (*[r"\quad"] * self.depth, self.left, relation, self.right)
        return "& " + " ".join(p for p in parts if p)


# ---------------------------------------------------------------- what is public


def code_latex(
    source_or_function: object, *, names: Mapping[str, str] | None = None, scalars: Iterable[str] = ()
) -> str:
    r"""NumPy code as an `aligned` block of LaTeX, one row for each statement.

    Args:
        source_or_function: A Python function, or source text: a function, statements, or one expression.
        names: The LaTeX of a name, such as {"dW2": r"\frac{\partial C}{\partial w^{(2)}}"}; dotted names too: "self.W".
        scalars: Names that hold one number, so that a product with them is plain.

    Raises:
        FunctionError: What has no honest picture; the message names line, column, what was found and what would fit.

    >>> print(code_latex("delta = (W2.T @ delta2) * s"))
    \begin{aligned}
    \delta &= \left(W_2^{\top}\, \delta_2\right) \odot s
    \end{aligned}
    >>> code_latex("x = {1, 2}")
    Traceback (most recent call last):
    ...
    symbackprop.errors.FunctionError: line 1, column 5: found {1, 2}, expected a formula of numbers, names, operators and calls
    """
    rows = code_rows(source_or_function, names=names, scalars=scalars)
    aligned = not any(r.depth for r in rows)
    body = " \\\\\n".join(r.latex(aligned) for r in rows)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def code_rows(
    source_or_function: object, *, names: Mapping[str, str] | None = None, scalars: Iterable[str] = ()
) -> tuple[CodeRow, ...]:
    r"""The rows of `code_latex`, for a reader who sets them himself.

    Raises:
        FunctionError: As `code_latex` does.

    >>> code_rows("W -= eta * dW", scalars=["eta"])
    (CodeRow(line=1, depth=0, left='W', relation='\\leftarrow', right='W - \\eta \\cdot \\mathrm{d}W'),)
    """
    listing = _listing(source_or_function)
    given = dict(names or {})
    for name, latex in given.items():
        _check_latex(name, latex)
    writer = _Writer(listing, given, frozenset([scalars] if isinstance(scalars, str) else scalars))
    rows = tuple(writer.rows(listing.body, 0))
    if not rows:
        raise FunctionError(f"{listing.label}found no statement, expected assignments or a return")
    return rows


# ---------------------------------------------------------------- finding and parsing the source


@dataclass(frozen=True)
class _Listing:
    """Statements, with what the places and names in them mean."""

    body: tuple[ast.stmt, ...]
    parameters: tuple[ast.arg, ...]
    text: str
    label: str  # before a place in a message
    known: Mapping[str, str]  # what names stand for outside: np -> np., exp -> np.exp, a module, "" for a value
    expression: bool = False  # whether one expression alone is a listing
    margin: int = 0

    def refuse(self, node: ast.AST, found: str, fits: str) -> NoReturn:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        before = self.text.split("\n")[line - 1 : line]
        if before:  # ast counts bytes
            column = len(before[0].encode()[:column].decode(errors="replace"))
        raise FunctionError(
            f"{self.label}line {line}, column {column + self.margin + 1}: found {found}, expected {fits}"
        )


def _listing(thing: object) -> _Listing:
    thing = getattr(thing, "__func__", thing)
    if isinstance(thing, str):
        return _from_text(thing)
    if isinstance(thing, types.FunctionType):
        return _from_function(thing)
    kind = type(thing).__name__
    raise FunctionError(f"found a value of type {kind}, expected a function written in Python, or its source text")


def _from_text(text: str) -> _Listing:
    plain = textwrap.dedent(text)
    lines = [(raw, cut) for raw, cut in zip(text.splitlines(), plain.splitlines(), strict=False) if cut.strip()]
    margin = len(lines[0][0]) - len(lines[0][1]) if lines else 0
    try:
        body: list[ast.stmt] = ast.parse(plain).body
    except SyntaxError as e:
        raise FunctionError(
            f"line {e.lineno or 1}, column {(e.offset or 1) + margin}: found {e.msg}, expected Python"
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise FunctionError("found text that Python cannot parse, expected Python") from None
    known = BUILTINS | _imports(body)
    statements = [s for s in body if not isinstance(s, ast.Import | ast.ImportFrom)]
    found = _Listing(tuple(statements), (), plain, "", known, True, margin)
    functions = [s for s in statements if isinstance(s, ast.FunctionDef)]
    if not functions:
        return found
    f = functions[0]
    others = [s for s in statements if s is not f and not _docstring(s)]
    if others:
        found.refuse(others[0], "more than one function", "one function, or statements alone")
    if f.decorator_list:
        found.refuse(f.decorator_list[0], "a decorator, which may change what is computed", "a plain function")
    return replace(found, body=tuple(f.body), parameters=_arguments(f.args), label=f"{f.name}, ", expression=False)


def _imports(body: Iterable[ast.stmt]) -> dict[str, str]:
    """What the names that are imported stand for."""
    out: dict[str, str] = {}
    for s in body:
        if isinstance(s, ast.Import):
            for a in s.names:
                module = a.name if a.asname else a.name.split(".")[0]
                out[a.asname or module] = "np." if module in MODULES else "module"
        elif isinstance(s, ast.ImportFrom):
            for a in s.names:
                out[a.asname or a.name] = f"np.{a.name}" if s.module in MODULES and not s.level else "module"
    return out


def _from_function(f: types.FunctionType) -> _Listing:
    """The listing of a function, which is found in its file by its place there."""
    code = f.__code__
    label = "the lambda" if f.__name__ == "<lambda>" else f.__name__
    try:
        text = "".join(inspect.findsource(code)[0])
        tree = ast.parse(text)
        fresh = list(_codes(compile(text, code.co_filename, "exec", dont_inherit=True)))
    except (OSError, TypeError, SyntaxError, ValueError, IndexError, RecursionError):
        raise FunctionError(
            f"the source of {label} is not available (defined in a prompt, or by exec?); give its text"
        ) from None
    # The code itself says whether the file is still the one that was loaded; it is compiled, not run.
    if _essence(code) not in fresh:
        raise FunctionError(f"{label}: the source file has changed since it was loaded; load it again")
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda) and _first(n) == _place(code)]
    if len(nodes) != 1:
        raise FunctionError(f"line {code.co_firstlineno}: found {len(nodes)} functions that {label} may be; use def")
    node = nodes[0]
    known = BUILTINS | _outside(f)
    if isinstance(node, ast.FunctionDef):
        return _Listing(tuple(node.body), _arguments(node.args), text, f"{label}, ", known)
    body = ast.copy_location(ast.Expr(node.body), node.body)
    return _Listing((body,), _arguments(node.args), text, f"{label}, ", known, True)


def _codes(c: types.CodeType) -> Iterator[tuple[object, ...]]:
    yield _essence(c)
    for k in c.co_consts:
        if isinstance(k, types.CodeType):
            yield from _codes(k)


def _essence(c: types.CodeType) -> tuple[object, ...]:
    plain = tuple(repr(k) for k in c.co_consts if not isinstance(k, types.CodeType))
    return c.co_name, c.co_firstlineno, c.co_code, c.co_names, c.co_varnames, plain


def _place(c: types.CodeType) -> tuple[str, int]:
    return c.co_name, c.co_firstlineno


def _first(n: ast.FunctionDef | ast.Lambda) -> tuple[str, int]:
    if isinstance(n, ast.Lambda):
        return "<lambda>", n.lineno
    return n.name, min([n.lineno, *(d.lineno for d in n.decorator_list)])


def _outside(f: types.FunctionType) -> dict[str, str]:
    """What the names of a function stand for, looked up where it would look."""
    cells = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    scope = {n: f.__globals__[n] for n in f.__code__.co_names if n in f.__globals__}
    scope |= {n: _content(c) for n, c in cells}
    modules = [m for m in (sys.modules.get("numpy"), math) if m is not None]
    out = {}
    for name, value in scope.items():
        called = getattr(value, "__name__", None)
        if isinstance(value, types.ModuleType):
            out[name] = "np." if called in MODULES else "module"
        else:
            same = isinstance(called, str) and any(getattr(m, called, f) is value for m in modules)
            out[name] = f"np.{called}" if same else ""
    return out


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not yet bound
        return None


def _arguments(a: ast.arguments) -> tuple[ast.arg, ...]:
    rest = [x for x in (a.vararg, a.kwarg) if x is not None]
    return (*a.posonlyargs, *a.args, *a.kwonlyargs, *rest)


def _docstring(s: ast.stmt) -> bool:
    return isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) and isinstance(s.value.value, str)


# ---------------------------------------------------------------- names


def name_symbol(name: str) -> Tex | None:
    r"""A Python name as a mathematician writes it; None where it has only its letters.

    >>> [name_symbol(n).text for n in ("W", "W2", "dW2", "delta", "a_prev", "dz_l", "y_hat", "loss")]
    ['W', 'W_2', '\\mathrm{d}W_2', '\\delta', 'a_{\\mathrm{prev}}', '\\mathrm{d}z_l', '\\hat{y}', '\\mathit{loss}']
    """
    first, *parts = _ascii(name).removesuffix("_").split("_")
    greek = "|".join(sorted(WORDS, key=len, reverse=True))
    m = re.fullmatch(rf"(?:(d)(?=[A-Z]|[a-z]\d*$|(?:{greek})\d*$))?([A-Za-z]+)(\d*)", first)
    if m is None or not all(re.fullmatch("[A-Za-z0-9]+", p) for p in parts):
        return None
    prefix, core, digits = m.groups()
    head = WORDS.get(core) or (core if len(core) == 1 else rf"\mathit{{{core}}}")
    if parts[:1] == ["hat"] and not digits:
        head, parts = rf"\hat{{{head}}}", parts[1:]
    low = [WORDS.get(p) or (p if len(p) == 1 or p.isdigit() else rf"\mathrm{{{p}}}") for p in parts]
    return symbol((r"\mathrm{d}" if prefix else "") + head, ",".join([digits, *low] if digits else low))


def _ascii(name: str) -> str:
    return "".join(LETTERS.get(c, c) for c in name)


def _letters(name: str) -> str:
    """A name letter by letter, safe inside a font command."""
    return "".join(rf"{{\{LETTERS[c]}}}" if c in LETTERS else r"\_" if c == "_" else c for c in name)


def _check_latex(name: str, latex: object) -> None:
    """Refuse what is not one symbol: it would fall apart where it stands in a product, or break the block."""
    flat = latex if isinstance(latex, str) else ""
    for _ in range(9):
        flat = re.sub(r"\{[^{}]*\}", "@", flat)  # what is inside braces holds together
    breaks = re.search(r"[&%$#~\n]|\\\\|\\(begin|end|left|right)\b", str(latex))
    loose = re.search(r"[-+=<>/|,;*{}]|\\$|\\(odot|cdot|oslash|times|otimes|pm|sum|prod)\b|^[_^']|[_^]$", flat)
    if not flat.strip() or breaks or loose or flat.count("_") > 1 or flat.count("^") > 1:
        raise FunctionError(
            f"names[{name!r}] is {latex!r}, expected the LaTeX of one symbol, such as '\\delta^{{(l)}}'"
        )


def _given(latex: str) -> Tex:
    """LaTeX from `names`: an atom where it is one letter with at most a subscript."""
    head = r"(?:\\mathrm\{d\})?(?:[A-Za-z]|\\[A-Za-z]+|\\(?:math\w+|boldsymbol|hat|bar|tilde|vec)\{[^{}]*\})"
    m = re.fullmatch(rf"({head})(?:_(\w|\{{[^{{}}]*\}}))?", latex)
    if m is None:
        return Tex(latex, Level.SCRIPTED)
    sub = m[2] or ""
    return symbol(m[1], sub[1:-1] if sub.startswith("{") else sub)


# ---------------------------------------------------------------- the writer


class _Writer:
    """Statements and expressions of one listing as LaTeX."""

    def __init__(self, listing: _Listing, names: Mapping[str, str], scalars: frozenset[str]) -> None:
        self.listing, self.given, self.refuse = listing, names, listing.refuse
        self.bound: dict[str, list[ast.expr | str]] = {s: ["scalar"] for s in scalars}
        self.changing: set[str] = set()
        parameters = {a.arg for a in listing.parameters}
        for a in listing.parameters:
            number = a.arg in scalars or _says_number(a.annotation)
            self.bound.setdefault(a.arg, []).append("scalar" if number else "unknown")
        self._measure()
        self._scan(listing.body, parameters, False)
        self.known = {n: k for n, k in {**listing.known, **_imports(listing.body)}.items() if n not in self.bound}
        self.kinds: dict[str, str] = dict.fromkeys(self.bound, "")
        self._settle()
        self.symbols = self._symbols()

    def _measure(self) -> None:
        """The budget: what nests deeper is neither readable nor safe to walk."""
        stack: list[tuple[ast.AST, int]] = [(s, 0) for s in self.listing.body]
        count = 0
        while stack:
            node, depth = stack.pop()
            count += 1
            if depth > DEPTH_LIMIT or count > NODE_LIMIT:
                self.refuse(node, "an expression too large to read", "a shorter one; name its parts")
            stack += [(c, depth + 1) for c in ast.iter_child_nodes(node)]

    def _scan(self, body: Sequence[ast.stmt], seen: set[str], loop: bool) -> None:
        """What each name is bound to, and which names do not keep one value through the listing.

        `z = W @ a; a = s(z)` is not two equations: the second a is another value than the first.
        """

        def bind(target: ast.expr, value: ast.expr | str) -> None:
            if isinstance(target, ast.Tuple | ast.List):
                paired = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
                for n, t in enumerate(target.elts):
                    bind(t, value.elts[n] if paired and isinstance(value, ast.Tuple) else "unknown")
            elif isinstance(target, ast.Name):
                self.bound.setdefault(target.id, []).append(value)
                if loop or target.id in seen:
                    self.changing.add(target.id)
                seen.add(target.id)

        def read(*nodes: ast.AST | None) -> None:
            found = (n for node in nodes if node is not None for n in ast.walk(node))
            seen.update(n.id for n in found if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))

        for s in body:
            match s:
                case ast.Assign(targets=targets, value=value):
                    read(value)
                    for t in targets:
                        bind(t, value)
                        read(t)
                case ast.AugAssign(target=ast.Name() as target):
                    new = _updated(s)
                    read(new)
                    bind(target, new)
                case ast.AnnAssign(target=target, annotation=annotation, value=given):
                    read(given)
                    bind(target, "scalar" if _says_number(annotation) else given or "unknown")
                case ast.For(target=target, iter=it, body=inner):
                    read(it)
                    bind(target, "scalar")
                    self._scan(inner, seen, True)
                case ast.If(test=test, body=inner, orelse=other):
                    read(test)
                    self._scan(inner, seen, loop)
                    self._scan(other, seen, loop)
                case _:
                    read(s)

    def _settle(self) -> None:
        """The kind of each name, from nothing known until nothing changes; what does not settle is unknown."""
        changed: set[str] = set()
        for _ in range(20):
            changed = set()
            for name, values in self.bound.items():
                kind = _agree([v if isinstance(v, str) else self.kind(v) for v in values])
                if kind != self.kinds[name]:
                    self.kinds[name] = kind
                    changed.add(name)
            if not changed:
                return
        self.kinds |= dict.fromkeys(changed, "unknown")

    def _symbols(self) -> dict[str, Tex]:
        """The LaTeX of every name, no two alike; `f()` is the name f where it is called, `.x` an attribute."""
        nodes = [n for s in self.listing.body for n in ast.walk(s)]
        called = {id(_callee(n.func)) for n in nodes if isinstance(n, ast.Call)}
        wanted: dict[str, Tex] = {}
        for n in nodes:
            match n:
                case ast.Name(id=name) if id(n) in called:
                    wanted[f"{name}()"] = self._symbol(name, n, True)
                case ast.Name(id=name) if self.known.get(name) != "np.":
                    wanted[name] = self._symbol(name, n, False)
                case ast.Attribute(attr=attr):
                    if (dotted := _dotted(n)) in self.given:
                        wanted[dotted] = _given(self.given[dotted])
                    elif (path := self.path(n)) in CONSTANTS:
                        wanted[path] = symbol(CONSTANTS[path])
                    else:
                        wanted[f".{attr}"] = name_symbol(attr) or self._spelt(attr, n, r"\mathit")
        alike: dict[tuple[bool, str], list[str]] = {}
        for key, tex in wanted.items():  # an attribute always stands after its point
            alike.setdefault((key.startswith("."), re.sub(r"\{(\w)\}|\s", r"\1", tex.text)), []).append(key)
        for group in alike.values():
            own = {k.removesuffix("()") for k in group} & self.given.keys()
            if len(own) > 1:
                raise FunctionError(f"names gives {' and '.join(sorted(own))} the same LaTeX, expected different ones")
            for key in group if len(group) > 1 else ():
                if (name := key.removesuffix("()")) not in own:
                    font = r"\operatorname" if key.endswith("()") else r"\mathit"
                    wanted[key] = symbol(f"{font}{{{_letters(name.lstrip('.'))}}}")
        return wanted

    def _symbol(self, name: str, n: ast.AST, call: bool) -> Tex:
        if name in self.given:
            return _given(self.given[name])
        return self._spelt(name, n, r"\operatorname") if call else name_symbol(name) or self._spelt(name, n, r"\mathit")

    def _spelt(self, name: str, n: ast.AST, font: str) -> Tex:
        strange = next((c for c in name if not c.isascii() and c not in LETTERS), None)
        if strange is not None:
            self.refuse(n, f"the letter {strange} in {name}", f"letters a-z or Greek; or names={{{name!r}: ...}}")
        return symbol(f"{font}{{{_letters(name)}}}")

    # ------------------------------------------------------------ what is known of a value

    def path(self, n: ast.expr) -> str:
        """np.exp for what stands for NumPy's exp, whatever its module is called here; "" for all else."""
        match n:
            case ast.Name(id=name):
                known = self.known.get(name, "")
                return known if known.startswith("np.") and known != "np." else ""
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if self.known.get(name) == "np.":
                return f"np.{attr}"
        return ""

    def known_call(self, n: ast.Call) -> tuple[str, list[ast.expr]] | None:
        """A known function and its arguments; those of an array's own method begin with the array."""
        name = self.path(n.func).removeprefix("np.")
        if name in KNOWN:
            return name, n.args
        if isinstance(n.func, ast.Attribute) and n.func.attr in METHODS:
            base = n.func.value
            root = _dotted(base).partition(".")[0]
            other = self.known.get(root) in ("np.", "module") or _dotted(base) in ("self", "cls")
            if not other and _dotted(n.func) not in self.given:
                return n.func.attr, [base, *n.args]
        return None

    def kind(self, n: ast.expr) -> str:
        """scalar, mask (an array of truth values), sequence (list or tuple) or unknown; "" before it is settled."""
        match n:
            case ast.Constant(value=bool() | int() | float()):
                return "scalar"
            case ast.Name() | ast.Attribute() if self.path(n) in CONSTANTS:
                return "scalar"
            case ast.Name(id=name):
                return self.kinds.get(name, "unknown")
            case ast.List() | ast.Tuple() | ast.Attribute(attr="shape"):
                return "sequence"
            case ast.Attribute(attr="size" | "ndim"):
                return "scalar"
            case ast.Subscript(value=ast.Attribute(attr="shape"), slice=index) if _integer(index) is not None:
                return "scalar"
            case ast.UnaryOp(operand=inner):
                return self.kind(inner)
            case ast.BinOp(op=op, left=p, right=q) if not isinstance(op, ast.MatMult):
                return self.all_scalar([p, q])
            case ast.Compare(left=p, comparators=rest):
                return "scalar" if self.all_scalar([p, *rest]) == "scalar" else "mask"
            case ast.IfExp(body=p, orelse=q):
                return _agree([self.kind(p), self.kind(q)])
            case ast.Call(func=ast.Name(id="len" | "float" | "int" as name)) if self.builtin(name):
                return "scalar"
            case ast.Call() if (found := self.known_call(n)) is not None:
                name, arguments = found
                if name in REDUCTIONS and len(arguments) == 1 and not n.keywords:
                    return "scalar"
                return self.all_scalar(arguments) if name in ELEMENTWISE else "unknown"
        return "unknown"

    def builtin(self, name: str) -> bool:
        return name not in self.bound and name not in self.known

    def all_scalar(self, parts: Sequence[ast.expr]) -> str:
        return "scalar" if {self.kind(p) for p in parts} <= {"scalar", ""} else "unknown"

    def scalar(self, n: ast.expr) -> bool:
        return self.kind(n) == "scalar"

    # ------------------------------------------------------------ statements

    def rows(self, body: Sequence[ast.stmt], depth: int) -> Iterator[CodeRow]:
        for s in body:
            if not (_docstring(s) or isinstance(s, ast.Pass | ast.Import | ast.ImportFrom)):
                yield from self.statement(s, depth)

    def statement(self, s: ast.stmt, depth: int) -> Iterator[CodeRow]:
        match s:
            case ast.Assign(targets=targets, value=value):
                left = " = ".join(self.target(t) for t in targets)
                yield CodeRow(s.lineno, depth, left, self.relation(targets), self(value))
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    yield CodeRow(s.lineno, depth, self.target(target), self.relation([target]), self(value))
            case ast.AugAssign(target=target):
                yield CodeRow(s.lineno, depth, self.target(target), r"\leftarrow", self(_updated(s)))
            case ast.Return(value=value):
                right = r"\mathrm{None}" if value is None else self(value)
                yield CodeRow(s.lineno, depth, r"\text{return}", "", right)
            case ast.Expr(value=value) if self.listing.expression and self.listing.body == (s,):
                yield CodeRow(s.lineno, depth, "", "", self(value))
            case ast.For(target=ast.Name() as target, iter=it, body=body, orelse=[]):
                head = rf"\text{{for }} {self(target)} = {self.span(it)}\text{{:}}"
                yield CodeRow(s.lineno, depth, "", "", head)
                yield from self.rows(body, depth + 1)
            case ast.If():
                yield from self.branch(s, "if", depth)
            case _:
                self.unknown(s, "an assignment, a return, a for loop over a range, or an if")

    def branch(self, s: ast.If, word: str, depth: int) -> Iterator[CodeRow]:
        yield CodeRow(s.lineno, depth, "", "", rf"\text{{{word} }} {self.condition(s.test).text}\text{{:}}")
        yield from self.rows(s.body, depth + 1)
        if len(s.orelse) == 1 and isinstance(s.orelse[0], ast.If):
            yield from self.branch(s.orelse[0], "else if", depth)
        elif s.orelse:
            yield CodeRow(s.orelse[0].lineno, depth, "", "", r"\text{else:}")
            yield from self.rows(s.orelse, depth + 1)

    def target(self, t: ast.expr) -> str:
        match t:
            case ast.Name() | ast.Subscript() | ast.Attribute():
                return self(t)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if parts:
                return self.group([self.target(p) for p in parts])
        self.unknown(t, "a name, an element or a tuple of them")

    def relation(self, targets: Sequence[ast.expr]) -> str:
        """An equation only where every name keeps its value: an element or an attribute is changed in place."""
        parts = [p for t in targets for p in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
        stays = all(isinstance(p, ast.Name) and p.id not in self.changing for p in parts)
        return "=" if stays else r"\leftarrow"

    def span(self, it: ast.expr) -> str:
        """The first and last value of a range: `1 to L`, `L down to 1`."""
        fits = "range(...) with a step of 1 or -1, or reversed(range(...))"
        backward = False
        if isinstance(it, ast.Call) and self.plain_call(it, "reversed") and len(it.args) == 1:
            it, backward = it.args[0], True
        if not (isinstance(it, ast.Call) and self.plain_call(it, "range") and 1 <= len(it.args) <= 3):
            self.refuse(it, _clip(it), fits)
        start = it.args[0] if len(it.args) > 1 else ast.copy_location(ast.Constant(0), it)
        step = _integer(it.args[2]) if len(it.args) == 3 else 1
        if step is None or abs(step) != 1:
            self.refuse(it, f"the step {_clip(it.args[2])}", fits)
        first, last = start, _shift(it.args[min(len(it.args), 2) - 1], -step)
        if backward:
            first, last, step = last, first, -step
        word = r"\text{ to }" if step == 1 else r"\text{ down to }"
        return f"{self(first)} {word} {self(last)}"

    def plain_call(self, n: ast.Call, name: str) -> bool:
        return isinstance(n.func, ast.Name) and n.func.id == name and self.builtin(name) and not n.keywords

    def unknown(self, n: ast.AST, fits: str) -> NoReturn:
        found, advice = FITS.get(type(n), (_clip(n), ""))
        self.refuse(n, found, fits + (f"; {advice}" if advice else ""))

    # ------------------------------------------------------------ expressions

    def __call__(self, n: ast.expr) -> str:
        return self.expr(n).text

    def expr(self, n: ast.expr) -> Tex:
        match n:
            case ast.Constant(value=None | bool() as value):
                return symbol(rf"\mathrm{{{value}}}")
            case ast.Constant(value=int() | float() as value):
                if abs(value) >= 10**30 and isinstance(value, int):
                    self.refuse(n, "a number of more than 30 digits", "a shorter one, such as 1e30")
                return _number(value)
            case ast.Name(id=name):
                if self.known.get(name) == "np.":
                    self.refuse(n, f"the module {name} as a value", "a name of an array or number")
                return self.symbols[name]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                return self.signed("-" if isinstance(op, ast.USub) else "+", operand)
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(left, op, right, n)
            case ast.Compare():
                return symbol(rf"\left[{self.condition(n).text}\right]")
            case ast.IfExp(test=test, body=then, orelse=other):
                return self.cases(then, rf"\text{{if }} {self.condition(test).text}", other, "otherwise")
            case ast.Attribute():
                return self.attribute(n)
            case ast.Subscript(value=value, slice=index):
                base = self.expr(value).atom()
                return symbol(base.head, f"{base.sub}[{self.index(index)}]")
            case ast.Tuple(elts=parts):
                return symbol(self.group([self(p) for p in parts]))
            case ast.List(elts=parts):
                return symbol(rf"\left[{self.commas(parts)}\right]")
            case ast.Call():
                return self.call(n)
        self.unknown(n, "a formula of numbers, names, operators and calls")

    def signed(self, sign: str, operand: ast.expr) -> Tex:
        """As in Python, a sign holds a product less strongly than its first factor: -a @ b begins with -a."""
        self.no_sequence(operand)
        inner = self.expr(operand)
        if _signed(inner.text) or (inner.level < Level.FRACTION and inner.level is not Level.BIG):
            return Tex(sign + bracket(inner.text), Level.SIGNED)
        return Tex(sign + inner.text, min(Level.SIGNED, inner.level))

    def commas(self, parts: Sequence[ast.expr]) -> str:
        return r",\, ".join(self(p) for p in parts)

    def group(self, parts: Sequence[str]) -> str:
        return bracket(r",\, ".join(parts) + ("," if len(parts) == 1 else ""))

    def cases(self, then: ast.expr, condition: str, other: ast.expr, otherwise: str) -> Tex:
        rest = rf"\text{{{otherwise}}}"
        return Tex(rf"\begin{{cases}} {self(then)} & {condition} \\ {self(other)} & {rest} \end{{cases}}", Level.OPEN)

    def condition(self, n: ast.expr) -> Tex:
        """A comparison or its combination without the brackets that make it a number."""
        match n:
            case ast.Compare(left=left, ops=ops, comparators=rest):
                out = self.expr(left).at_least(Level.SUM)
                for op, part in zip(ops, rest, strict=True):
                    if type(op) not in COMPARE:
                        self.refuse(n, _clip(n), "one of < <= > >= == !=")
                    out += f" {COMPARE[type(op)]} {self.expr(part).at_least(Level.SUM)}"
                return Tex(out, Level.COMPARE)
            case ast.BoolOp(op=op, values=values):
                level, sign = (Level.AND, r"\land") if isinstance(op, ast.And) else (Level.OR, r"\lor")
                return Tex(f" {sign} ".join(self.condition(v).at_least(Level(level + 1)) for v in values), level)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Tex(rf"\lnot {self.condition(operand).at_least(Level.SCRIPTED)}", Level.NOT)
        return self.expr(n)

    def no_sequence(self, *parts: ast.expr) -> None:
        """[0] * n repeats a list, (a,) + (b,) joins tuples: neither is arithmetic."""
        for p in parts:
            if self.kind(p) == "sequence":
                self.refuse(
                    p, f"the list or tuple {_clip(p)} in arithmetic", "an array or a number; wrap it in np.array"
                )

    def binary(self, left: ast.expr, op: ast.operator, right: ast.expr, n: ast.expr) -> Tex:
        self.no_sequence(left, right)
        match op:
            case ast.Add() | ast.Sub():
                if self.kind(left) == self.kind(right) == "mask":
                    self.refuse(n, "a sum of truth values, which NumPy takes as their `or`", "numbers; use np.where")
                first, second = self.expr(left).at_least(Level.SUM), self.expr(right)
                after = bracket(second.text) if _signed(second.text) else second.at_least(Level.BIG)
                return Tex(f"{first} {'+' if isinstance(op, ast.Add) else '-'} {after}", Level.SUM)
            case ast.MatMult():
                if self.kind(left) == self.kind(right) == "mask":
                    self.refuse(
                        n, "a product of truth values, which NumPy adds up as their `or`", "numbers; use np.where"
                    )
                for p in (left, right):
                    if self.scalar(p):
                        self.refuse(p, f"the scalar {_clip(p)} in a matrix product", "an array; use * to scale")
                return Tex(rf"{self.chain(left, ast.MatMult)}\, {self.factor(right)}", Level.PRODUCT)
            case ast.Mult():
                before, factor = self.chain(left, ast.Mult), self.factor(right)
                close = re.fullmatch(r"-?[\d.]+", before) and not re.match(r"\d|\\frac", factor)
                plain = self.scalar(left) or self.scalar(right)
                return Tex(before + (" " if close else r" \cdot " if plain else r" \odot ") + factor, Level.PRODUCT)
            case ast.Div():
                if self.scalar(left) or self.scalar(right):
                    return Tex(rf"\frac{{{self(left)}}}{{{self(right)}}}", Level.FRACTION)
                return Tex(rf"{self.chain(left, None)} \oslash {self.factor(right)}", Level.PRODUCT)
            case ast.Pow():
                mark = "" if self.scalar(left) and self.scalar(right) else r"\odot "
                return Tex(f"{self.expr(left).atom().text}^{{{mark}{self(right)}}}", Level.SCRIPTED)
        self.refuse(n, _clip(n), "one of the operators + - * / @ **")

    def chain(self, n: ast.expr, op: type[ast.operator] | None) -> str:
        """The left side of a product: a product of the same kind goes on, another is bracketed."""
        tex = self.expr(n)
        operation = self.operation(n)
        same = op is not None and operation is not None and isinstance(operation, op)
        return tex.text if same else tex.at_least(Level.SIGNED)

    def factor(self, n: ast.expr) -> str:
        return self.expr(n).at_least(Level.FRACTION)

    def operation(self, n: ast.expr) -> ast.operator | None:
        """The operator that an operator or its function (np.dot, np.multiply) applies."""
        if isinstance(n, ast.BinOp):
            return n.op
        found = self.known_call(n) if isinstance(n, ast.Call) else None
        if found is None:
            return None
        return ast.MatMult() if found[0] == "outer" else BINARY[found[0]]() if found[0] in BINARY else None

    def transposed(self, n: ast.expr) -> Tex:
        return Tex(rf"{self.expr(n).atom().text}^{{\top}}", Level.SCRIPTED)

    def attribute(self, n: ast.Attribute) -> Tex:
        if (dotted := _dotted(n)) in self.given:
            return self.symbols[dotted]
        if (path := self.path(n)) in CONSTANTS:
            return self.symbols[path]
        if path == "np.newaxis":
            return symbol(r"\mathrm{None}")
        if self.in_module(n):
            return symbol(rf"\operatorname{{{_letters(dotted)}}}")
        if n.attr == "T":
            return self.transposed(n.value)
        if isinstance(n.value, ast.Constant):
            self.refuse(n, _clip(n), "an attribute of a name")
        name = self.symbols[f".{n.attr}"]
        return symbol(f"{self.expr(n.value).at_least(Level.SCRIPTED)}.{name.head}", name.sub)

    def index(self, n: ast.expr) -> str:
        match n:
            case ast.Tuple(elts=parts) if parts:
                return r",\, ".join(self.index(p) for p in parts) + ("," if len(parts) == 1 else "")
            case ast.Slice(lower=low, upper=high, step=step):
                ends = (low, high) if step is None else (low, high, step)
                return ":".join("" if e is None else self.expr(e).at_least(Level.SUM) for e in ends)
            case ast.Constant(value=str() as key) if re.fullmatch(r"\w+", key, re.ASCII):
                return rf"\text{{``{_letters(key)}''}}"
            case ast.Constant(value=v) if v is ...:
                return r"\ldots"
            case ast.Compare():
                return self.condition(n).text
        return self(n)

    # ------------------------------------------------------------ calls

    def call(self, n: ast.Call) -> Tex:
        for a in (*n.args, *n.keywords):
            if isinstance(a, ast.Starred) or (isinstance(a, ast.keyword) and a.arg is None):
                self.refuse(a, "* or ** in a call", "its arguments written out")
        found = self.known_call(n)
        if found is not None:
            return self.known_function(*found, n)
        head = self.callee(n)
        words = [rf"\text{{{_letters(k.arg or '')}}} = {self(k.value)}" for k in n.keywords]
        return Tex(head + bracket(r",\, ".join([*map(self, n.args), *words])), Level.SCRIPTED)

    def in_module(self, n: ast.expr) -> bool:
        """np.linalg.norm: a dotted name that begins with a module of NumPy's kind."""
        return self.known.get(_dotted(n).partition(".")[0]) == "np."

    def callee(self, n: ast.Call) -> str:
        match n.func:
            case ast.Name(id=name):
                return self.symbols[f"{name}()"].text
            case ast.Attribute(value=value, attr=attr) as f:
                if (dotted := _dotted(f)) in self.given:
                    return self.symbols[dotted].text
                if self.in_module(f):
                    return rf"\operatorname{{{_letters(dotted)}}}"
                method = self._spelt(attr, f, r"\operatorname")
                return f"{self.expr(value).at_least(Level.SCRIPTED)}.{method.text}"
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                base = self.symbols[f"{name}()"].atom()
                return symbol(base.head, f"{base.sub}[{self.index(index)}]").text
        self.refuse(n, _clip(n), "a function called by its name")

    def known_function(self, name: str, arguments: list[ast.expr], n: ast.Call) -> Tex:
        keywords = {k.arg or "": k.value for k in n.keywords}
        count, own = len(arguments), len(arguments) - len(n.args)  # own: the array of a method

        def takes(low: int, high: int, *also: str) -> None:
            if not low <= count <= high:
                wanted = f"{low - own}" + (f" to {high - own}" if high > low else "")
                self.refuse(n, f"{name} with {count - own} arguments", wanted)
            if extra := next((k for k in keywords if k not in also), None):
                others = f", or with {' and '.join(also)} only" if also else ""
                self.refuse(n, f"{name} with {extra}=", f"{name} without it{others}")

        if name in REDUCTIONS:
            takes(1, 2, "axis", "keepdims")
            return self.reduction(name, arguments, keywords, n)
        if name in FILLED:
            takes(1, 2 if name == "eye" else 1)
            return self.filled(name, arguments)
        if name == "einsum":
            takes(2, 52)
            return self.einsum(arguments, n)
        takes(TAKES.get(name, 1), TAKES.get(name, 1))
        if name in CALLS:
            return Tex(CALLS[name] + bracket(self.commas(arguments)), Level.SCRIPTED)
        x = arguments[0]
        if name in BINARY:
            return self.binary(x, BINARY[name](), arguments[1], n)
        match name:
            case "outer":
                column = ast.copy_location(ast.Attribute(arguments[1], "T", ast.Load()), arguments[1])
                for p in arguments:
                    if self.scalar(p):
                        self.refuse(p, f"the scalar {_clip(p)} in an outer product", "an array; use * to scale")
                return self.binary(x, ast.MatMult(), column, n)
            case "transpose":
                return self.transposed(x)
            case "square":
                return self.binary(x, ast.Pow(), ast.copy_location(ast.Constant(2), n), n)
            case "negative":
                return self.expr(ast.copy_location(ast.UnaryOp(ast.USub(), x), n))
            case "sqrt":
                return Tex(rf"\sqrt{{{self(x)}}}", Level.SCRIPTED)
            case "where":
                condition = rf"\text{{where }} {self.condition(x).text}"
                return self.cases(arguments[1], condition, arguments[2], "elsewhere")
        return symbol(rf"\left\lvert {self(x)} \right\rvert")

    def filled(self, name: str, arguments: list[ast.expr]) -> Tex:
        if name.endswith("_like"):
            size = rf"\text{{like }} {self(arguments[0])}"
        else:
            first = arguments[0]
            many = name in ("zeros", "ones") and isinstance(first, ast.Tuple | ast.List) and first.elts
            size = r" \times ".join(self.expr(p).at_least(Level.FRACTION) for p in (many or arguments))
        return Tex(rf"\mathbf{{{FILLED[name]}}}_{{{size}}}", Level.SCRIPTED)

    def reduction(self, name: str, arguments: list[ast.expr], keywords: Mapping[str, ast.expr], n: ast.Call) -> Tex:
        """The sign with the axes below it; what it takes is one atom or bracketed, so that its end is seen."""
        if len(arguments) == 2 and "axis" in keywords:
            self.refuse(n, "two axes", "one")
        axis = arguments[1] if len(arguments) == 2 else keywords.get("axis")
        parts = axis.elts if isinstance(axis, ast.Tuple) else [axis]
        if len(n.args) == 1 < len(arguments) and not all(_integer(p) is not None for p in parts):
            # layer.sum(x) may be somebody's own method; an axis is a number there.
            self.refuse(n, _clip(n), f"np.{name}(...), or axis= in words")
        kept = keywords.get("keepdims")
        if kept is not None and not (isinstance(kept, ast.Constant) and isinstance(kept.value, bool)):
            self.refuse(kept, f"keepdims={_clip(kept)}", "True or False")
        below = r"\text{all}"
        if isinstance(axis, ast.Tuple):
            below = rf"\text{{axes }} {self.commas(axis.elts)}"
        elif axis is not None and not (isinstance(axis, ast.Constant) and axis.value is None):
            below = rf"\text{{axis }} {self.expr(axis).at_least(Level.SUM)}"
        if isinstance(kept, ast.Constant) and kept.value:
            below += r",\ \text{kept}"
        sign = REDUCTIONS[name]
        if name in ("sum", "prod"):
            return Tex(rf"{sign}_{{{below}}} {self.expr(arguments[0]).at_least(Level.SCRIPTED)}", Level.BIG)
        return Tex(f"{sign}_{{{below}}}{bracket(self(arguments[0]))}", Level.SCRIPTED)

    def einsum(self, arguments: list[ast.expr], n: ast.Call) -> Tex:
        """Entries with their letters; the result is the array of them, with its letters behind a bracket."""
        spec, *operands = arguments
        text = spec.value if isinstance(spec, ast.Constant) and isinstance(spec.value, str) else ""
        text = text.replace(" ", "")
        m = re.fullmatch(r"([A-Za-z]+(?:,[A-Za-z]+)*)(?:->([A-Za-z]*))?", text)
        if m is None:
            self.refuse(spec, _clip(spec), "letters such as 'ij,jk->ik'")
        inputs = m[1].split(",")
        used = m[1].replace(",", "")
        out = m[2] if m[2] is not None else "".join(sorted(c for c in set(used) if used.count(c) == 1))
        if len(inputs) != len(operands):
            self.refuse(spec, f"{len(inputs)} groups of letters for {len(operands)} arrays", "one for each")
        if len(set(out)) < len(out) or not set(out) <= set(used):
            self.refuse(spec, f"the result {out}", f"different letters of {used}")
        if all(self.kind(p) == "mask" for p in operands):
            self.refuse(n, "a sum of truth values, which NumPy takes as their `or`", "numbers; use np.where")
        entries = []
        for letters, operand in zip(inputs, operands, strict=True):
            base = self.expr(operand)
            head = base.head if base.level is Level.ATOM and not base.sub else bracket(base.text)
            entries.append(f"{head}_{{{letters}}}")
        summed = "".join(dict.fromkeys(c for c in used if c not in out))
        body = (rf"\sum_{{{','.join(summed)}}} " if summed else "") + r"\, ".join(entries)
        return Tex(f"{bracket(body)}_{{{out}}}", Level.SCRIPTED) if out else Tex(body, Level.BIG)


# ---------------------------------------------------------------- small things


def _agree(kinds: Sequence[str]) -> str:
    """The kind of a name bound to all of these: a list anywhere spoils arithmetic, scalars must be so throughout."""
    found = set(kinds) - {""}
    if "sequence" in found:
        return "sequence"
    return found.pop() if len(found) == 1 else "unknown" if found else ""


def _updated(s: ast.AugAssign) -> ast.expr:
    """`x op value` for `x op= value`."""
    return ast.copy_location(ast.BinOp(_loaded(s.target), s.op, s.value), s)


def _loaded(t: ast.Name | ast.Attribute | ast.Subscript) -> ast.expr:
    match t:
        case ast.Name(id=name):
            new: ast.expr = ast.Name(name, ast.Load())
        case ast.Attribute(value=value, attr=attr):
            new = ast.Attribute(value, attr, ast.Load())
        case ast.Subscript(value=value, slice=index):
            new = ast.Subscript(value, index, ast.Load())
    return ast.copy_location(new, t)


def _says_number(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id in ("float", "int")


def _signed(text: str) -> bool:
    return text.startswith(("-", "+"))


def _number(value: int | float) -> Tex:
    r"""A number as Python shows it, powers of ten written out.

    >>> [_number(x).text for x in (3, 0.5, 1e-8, 2.5e-8, float("inf"))]
    ['3', '0.5', '10^{-8}', '2.5 \\cdot 10^{-8}', '\\infty']
    """
    mantissa, _, exponent = repr(value).partition("e")
    if mantissa == "inf":
        return symbol(r"\infty")
    if not exponent:
        return symbol(mantissa)
    power = f"10^{{{int(exponent)}}}"
    return Tex(power, Level.SCRIPTED) if mantissa == "1" else Tex(rf"{mantissa} \cdot {power}", Level.PRODUCT)


def _integer(n: ast.expr | None) -> int | None:
    match n:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as inner):
            positive = _integer(inner)
            return None if positive is None else -positive
    return None


def _shift(n: ast.expr, by: int) -> ast.expr:
    """n + by, with numbers put together: the last value of range(1, L + 1) is L."""
    if (whole := _integer(n)) is not None:
        return ast.copy_location(_whole(whole + by), n)
    if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add | ast.Sub) and (end := _integer(n.right)) is not None:
        return _shift(n.left, by + (end if isinstance(n.op, ast.Add) else -end))
    if by == 0:
        return n
    sign = ast.Add() if by > 0 else ast.Sub()
    return ast.copy_location(ast.BinOp(n, sign, ast.copy_location(ast.Constant(abs(by)), n)), n)


def _whole(value: int) -> ast.expr:
    return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))


def _dotted(n: ast.AST) -> str:
    """self.W for an attribute of a name; "" for all else."""
    match n:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr) if inner := _dotted(value):
            return f"{inner}.{attr}"
    return ""


def _callee(f: ast.expr) -> ast.expr:
    """The node that names what is called: f in f(x) and in f[l](x)."""
    return f.value if isinstance(f, ast.Subscript) else f


def _clip(n: ast.AST) -> str:
    """The code, shortened."""
    text = " ".join(ast.unparse(ast.fix_missing_locations(n)).split())
    return text if len(text) <= 50 else text[:47] + "..."
