"""What equations in Python are made of: letters, and the heads that SymPy lacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy
from sympy.concrete.expr_with_limits import ExprWithLimits

from symbackprop.errors import ModelError
from symbackprop.read.vocabulary import GREEK
from symbackprop.sympy_bridge import Applied, FamilyBase

Sym: TypeAlias = Any  # SymPy has no type stubs: one name for everything that is SymPy's


def indices(names: str) -> Any:
    """Index letters: one, or a tuple of as many as there are names."""
    return _each(names, lambda n: sympy.Symbol(n, integer=True))


def sizes(names: str) -> Any:
    """Sizes, last layers and times, strides: whole numbers above 0."""
    return _each(names, lambda n: sympy.Symbol(n, integer=True, positive=True))


def widths(names: str) -> Any:
    """Sizes that depend on the layer: `n[l - 1]` is n_{l-1}."""
    return _each(names, lambda n: FamilyBase(sympy.Symbol(n, integer=True, positive=True)))


def families(names: str, above: int = 0) -> Any:
    """Families of quantities: `w[l, j, k]` is w_jk^(l), and `C` alone a quantity without an index.

    Args:
        above: How many of the first indices SymPy prints above, in brackets. The network's own notation puts layers
            there without being told.

    >>> i, j = indices("i j")
    >>> x, w = families("x w")
    >>> w[j] * x[i, j]
    w[j]*x[i, j]
    """
    return _each(names, lambda n: FamilyBase(n, above))


def functions(names: str) -> Any:
    """Functions by name: `sigmoid(z)` and others of the tables, `g(z)` for one that nobody defines, `g[l](z)` for one in each layer."""
    return _each(names, NamedFunction)


def _each(names: str, make: Callable[[str], Any]) -> Any:
    if not isinstance(names, str):
        raise ModelError(f"found {names!r}, expected names in one text such as 'i j k'")
    given = names.replace(",", " ").split()
    for n in given:
        if not NAME.fullmatch(n):
            raise ModelError(f"{n!r} is no name; expected letters and digits such as i, x_hat or W_1")
    made = tuple(map(make, given))
    if not made:
        raise ModelError("no name is given; expected names in one text such as 'i j k'")
    return made[0] if len(made) == 1 else made


NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*'*")


@dataclass(frozen=True)
class NamedFunction:
    """A function of one number; `layer` is its place in a family of functions.

    >>> NamedFunction("g")[2](families("z"))
    g^(2)(z)
    """

    name: str
    layer: tuple[Any, ...] = ()

    def __getitem__(self, layer: Any) -> NamedFunction:
        return NamedFunction(self.name, (layer,))

    def __call__(self, *arguments: Any) -> Any:
        return Applied(self.name, 0, self.layer, *sympy.Tuple(*arguments))


class Maximum(ExprWithLimits):  # type: ignore[misc]
    """The largest value over indices, which SymPy has no head for: `Maximum(x[i + k], (k, 0, r - 1))`.

    >>> k, r = indices("k"), sizes("r")
    >>> sympy.latex(Maximum(families("x")[k], (k, 1, r)))
    '\\\\max_{1 \\\\leq k \\\\leq r} x_{k}'
    """

    def _latex(self, printer: Sym) -> str:
        show = printer._print
        signs = (rf"\max_{{{show(a)} \leq {show(i)} \leq {show(b)}}}" for i, a, b in reversed(self.limits))
        return " ".join((*signs, show(self.function)))


def written(name: str, indexed: bool) -> tuple[str, str]:
    r"""How a name is written in LaTeX, and what stands above it besides indices.

    >>> written("x_hat", True), written("W_1", True), written("W_Q", True), written("lambda", False), written("C_0", False)
    (('\\hat{x}', ''), ('W', '(1)'), ('W', 'Q'), ('\\lambda', ''), ('C_0', ''))
    """
    plain = name.rstrip("'")
    stem, *rest = plain.split("_")
    letter = f"\\{stem}" if stem in GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
    if rest and rest[0] in ACCENTS:
        letter = rf"\{rest.pop(0)}{{{letter}}}"
    letter += name[len(plain) :]
    unit = "_".join(rest)
    if not unit:
        return letter, ""
    spelled = f"\\{unit}" if unit in GREEK else unit if len(unit) == 1 or unit.isdigit() else rf"\mathrm{{{unit}}}"
    if indexed:
        return letter, spelled if unit[:1].isupper() or (len(unit) > 1 and not unit.isdigit()) else f"({spelled})"
    return f"{letter}_{spelled}" if len(spelled) == 1 else f"{letter}_{{{spelled}}}", ""


ACCENTS = ("hat", "bar", "tilde", "dot", "ddot", "vec")
