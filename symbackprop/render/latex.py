"""Expressions as LaTeX, in the dialect that KaTeX, MathJax and amsmath all accept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from symbackprop.render.printer import Printer, short_decimal
from symbackprop.symbols import Role

COMPARE = {"<": "<", "<=": r"\le", ">": ">", ">=": r"\ge", "==": "=", "!=": r"\ne"}


def stacked(lines: Sequence[str]) -> str:
    """What stands under an operator, one condition on each line."""
    if len(lines) > 1:
        return r"_{\substack{" + r" \\ ".join(lines) + "}}"
    return f"_{lines[0]}" if len(lines[0]) == 1 else f"_{{{lines[0]}}}"


@dataclass(frozen=True)
class Latex(Printer):
    """The LaTeX printer."""

    def number(self, value: Fraction) -> str:
        if value.denominator == 1:
            return str(value.numerator)
        decimal = short_decimal(value)
        if decimal:
            return decimal
        sign = "-" if value < 0 else ""
        return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"

    def single(self, text: str) -> bool:
        return re.fullmatch(r"(?:\\[a-zA-Z]+|[^\\])'*", text) is not None

    def letter(self, latex: str) -> str:
        head, _, sub = latex.partition("_")
        return latex if not sub or len(sub) == 1 or latex[0] == "\\" or sub[0] == "{" else f"{head}_{{{sub}}}"

    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0, upper_first: bool | None = None) -> str:
        if "_" in letter and sub and not primes:
            head, _, under = letter.partition("_")
            return f"{head}_{{{under.strip('{}')}_{sub}}}"
        low = f"_{{{sub}}}" if len(sub) > 1 else f"_{sub}" if sub else ""
        high = f"^{{{sup}}}" if len(sup) > 1 else f"^{sup}" if sup else ""
        prime = "'" * primes
        first = self.notation.layer_first if upper_first is None else upper_first
        return letter + (prime + high + low if first or primes else low + high)

    def fraction(self, top: str, bottom: str) -> str:
        return rf"\frac{{{top}}}{{{bottom}}}"

    def derivative(self, top: str, bottom: str) -> str:
        return rf"\frac{{\partial {top}}}{{\partial {bottom}}}"

    def operator(self, bottom: str, body: str) -> str:
        return rf"\frac{{\partial}}{{\partial {bottom}}}\, {body}"

    def bracket(self, inner: str) -> str:
        return rf"\left({inner}\right)"

    def times(self, factors: list[tuple[str, bool]]) -> str:
        out = ""
        for n, (text, _) in enumerate(factors):
            if n == 0:
                out = text
                continue
            if factors[n - 1][1]:
                # A number stands close before what it multiplies, with a dot where another number would follow.
                out += rf" \cdot {text}" if text[0].isdigit() else f" {text}" if text[0].isalpha() else text
            else:
                out += rf" \cdot {text}" if text.isdigit() else rf"\, {text}"
        return out

    def dotted(self, factors: list[str]) -> str:
        return r" \cdot ".join(factors)

    def minus(self) -> str:
        return "-"

    def big(self, sign: str, index: str, under: Sequence[str], over: str, body: str, needed: bool = False) -> str:
        high = f"^{{{over}}}" if over else ""
        return rf"\{sign}{stacked(under)}{high} {body}"

    def largest_at(self, at: str, index: str, under: Sequence[str], body: str) -> str:
        return self.indicator(rf"{at} = \operatorname*{{arg\,max}}{stacked(under)} {body}")

    def bracketed(self, condition: str) -> str:
        return rf"\left[{condition}\right]"

    def indicator(self, condition: str) -> str:
        return rf"\mathbf{{1}}\!\left[{condition}\right]"

    def floor(self, top: str, bottom: str) -> str:
        return rf"\left\lfloor \frac{{{top}}}{{{bottom}}} \right\rfloor"

    def power(self, base: str, exponent: str) -> str:
        base = rf"\left({base}\right)" if "^" in base and not base.startswith((r"\left", r"\mathopen")) else base
        return f"{base}^{exponent}" if len(exponent) == 1 else f"{base}^{{{exponent}}}"

    def apply(self, name: str, argument: str) -> str:
        return rf"{name}\left({argument}\right)"

    def where(self, condition: str, then: str, other: str) -> str:
        return rf"\begin{{cases}} {then} & \text{{if }} {condition} \\ {other} & \text{{otherwise}} \end{{cases}}"

    def compare(self, op: str) -> str:
        return COMPARE[op]

    def dots(self) -> str:
        return r"\cdots"

    def array(self, index: str, low: str, high: str, body: str) -> str:
        return rf"\left({body}\right)_{{{index}={low},\ldots,{high}}}" if low else rf"\left({body}\right)_{{{index}}}"

    def alone(self, body: str) -> str:
        return rf"\left.{body}\right|_{{\text{{direct}}}}"

    def holding(self, body: str, held: str) -> str:
        return rf"\left.{body}\right|_{{{held}}}"

    def mark(self, body: str, role: Role) -> str:
        return rf"\textcolor{{{role}}}{{{body}}}"

    def arrow(self) -> str:
        return r"\leftarrow"

    def absolute(self, body: str) -> str:
        return rf"\left\lvert {body} \right\rvert"

    def root(self, body: str) -> str:
        return rf"\sqrt{{{body}}}"

    def function_name(self, latex: str, text: str) -> str:
        return latex


@dataclass(frozen=True)
class WebLatex(Latex):
    """LaTeX for the HTML page: roles are classes, so that the page's style sheet colours them."""

    def bracket(self, inner: str) -> str:
        return rf"\mathopen{{}}\left({inner}\right)\mathclose{{}}"

    def apply(self, name: str, argument: str) -> str:
        return name + self.bracket(argument)

    def mark(self, body: str, role: Role) -> str:
        return rf"\htmlClass{{{role}}}{{{body}}}"
