"""A sum as the loop that a programmer would write."""

from __future__ import annotations

from dataclasses import dataclass

from symbackprop.indices import Affine, Axis
from symbackprop.network import Equation, System
from symbackprop.notation import DEEPLIZARD
from symbackprop.render.text import Ascii
from symbackprop.symbols import Expr, Ref, Sum, walk


@dataclass(frozen=True)
class Subscripts(Ascii):
    """Quantities as Python subscripts: a[l-1][k]."""

    def ref(self, r: Ref, letter: str | None = None) -> str:
        return r.family + "".join(f"[{i}]" for i in r.indices)

    def power(self, base: str, exponent: str) -> str:
        return f"{base}**{exponent}"

    def times(self, factors: list[tuple[str, bool]]) -> str:
        return " * ".join(text for text, _ in factors)

    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0, upper_first: bool | None = None) -> str:
        return letter + (f"[{sub}]" if sub else "") + (f"[{sup.strip('()')}]" if sup else "")

    def affine(self, a: Affine) -> str:
        return str(a).replace("+", " + ").replace("-", " - ").strip() if not a.terms else str(a)

    def count(self, axis: Axis) -> str:
        known = self.system.size(axis)
        return str(known) if known is not None else f"n[{axis.at}]" if axis.at is not None else axis.label


def loop(e: Equation, system: System) -> str:
    """Python-like code for one equation whose right side is, or contains, one sum.

    >>> from symbackprop.network import dense_system
    >>> s = dense_system()
    >>> print(loop(s.equations[0], s))
    C_0 = 0
    for j in range(n[L]):
        C_0 += (a[L][j] - y[j])**2
    """
    printer = Subscripts(system, DEEPLIZARD)
    target = printer.ref(e.lhs)
    path, inner = next((path, p) for path, p in walk(e.rhs) if isinstance(p, Sum))
    lines: list[str] = []
    name = target if path == () else "total"
    lines.append(f"{name} = 0")
    indent = ""
    body: Expr = inner
    while isinstance(body, Sum):
        lines.append(f"{indent}for {body.index} in range({printer.count(body.axis)}):")
        indent += "    "
        body = body.body
    lines.append(f"{indent}{name} += {printer.write(body, 2)}")
    if path != ():
        from symbackprop.symbols import Param, replace_at

        lines.append(f"{target} = {printer(replace_at(e.rhs, path, Param('total')))}")
    return "\n".join(lines) + ("\n" if path != () else "")
