"""Expressions on one line of a terminal, in Unicode or plain ASCII."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from symbackprop.render.printer import Printer, short_decimal
from symbackprop.symbols import Role

SUPERSCRIPT = dict(zip("0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW,",
                       "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ˒", strict=True))  # fmt: skip
SUBSCRIPT = dict(zip("0123456789+-−=()aehijklmnoprstuvx,", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ‚", strict=True))
LETTERS = {r"\sigma": "σ", r"\delta": "δ", r"\eta": "η", r"\pi": "π", r"\overline{C}": "C̄", r"\phi": "φ"}
ASCII = {r"\sigma": "sigma", r"\delta": "delta", r"\eta": "eta", r"\pi": "pi", r"\overline{C}": "Cbar", r"\phi": "phi"}
COMPARE = {"<": "<", "<=": "≤", ">": ">", ">=": "≥", "==": "=", "!=": "≠"}


@dataclass(frozen=True)
class Text(Printer):
    """The Unicode printer."""

    linear = True

    def number(self, value: Fraction) -> str:
        return (short_decimal(value) or str(value)).replace("-", self.minus())

    def letter(self, latex: str) -> str:
        if latex in LETTERS:
            return LETTERS[latex]
        head, _, sub = latex.partition("_")
        return self.indexed(head, sub, "") if sub else latex

    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0) -> str:
        return letter + "′" * primes + self.small(sub, SUBSCRIPT, "_") + self.small(sup, SUPERSCRIPT, "^")

    def small(self, text: str, table: dict[str, str], sign: str) -> str:
        if not text:
            return ""
        if all(c in table for c in text):
            return "".join(table[c] for c in text)
        return sign + (text if len(text) == 1 or re.fullmatch(r"\w+|\([^()]*\)", text) else "{" + text + "}")

    def fraction(self, top: str, bottom: str) -> str:
        return f"{top} / {bottom}" if " " in top + bottom else f"{top}/{bottom}"

    def derivative(self, top: str, bottom: str) -> str:
        return f"∂{top}/∂{bottom}"

    def operator(self, bottom: str, body: str) -> str:
        return f"∂/∂{bottom} {body}"

    def bracket(self, inner: str) -> str:
        return f"({inner})"

    def times(self, factors: list[tuple[str, bool]]) -> str:
        out = factors[0][0]
        for n in range(1, len(factors)):
            close = factors[n - 1][1] and not factors[n][0][0].isdigit()
            out += factors[n][0] if close else f" · {factors[n][0]}"
        return out

    def dotted(self, factors: list[str]) -> str:
        return " · ".join(factors)

    def minus(self) -> str:
        return "−"

    def sigma(self, index: str, low: str, high: str, body: str) -> str:
        lower = f"{index}={low}" if low else index
        if not all(c in SUBSCRIPT for c in lower) or not all(c in SUPERSCRIPT for c in high):
            return f"Σ{self.small(index, SUBSCRIPT, '_')} {body}"
        return f"Σ{self.small(lower, SUBSCRIPT, '_')}{self.small(high, SUPERSCRIPT, '^')} {body}"

    def power(self, base: str, exponent: str) -> str:
        if "^" in base or base[-1:] in SUPERSCRIPT.values():
            base = base if base.startswith("(") and base.endswith(")") else self.bracket(base)  # (a⁽²⁾)², not a⁽²⁾²
        return base + self.small(exponent, SUPERSCRIPT, "^")

    def apply(self, name: str, argument: str) -> str:
        return f"{name}({argument})"

    def where(self, condition: str, then: str, other: str) -> str:
        return f"{{{then} if {condition}, else {other}}}"

    def compare(self, op: str) -> str:
        return COMPARE[op]

    def dots(self) -> str:
        return "⋯"

    def array(self, index: str, low: str, high: str, body: str) -> str:
        return f"({body}){self.small(index, SUBSCRIPT, '_')}"

    def holding(self, body: str, held: str) -> str:
        return f"({body} at fixed {held})"

    def mark(self, body: str, role: Role) -> str:
        return body

    def arrow(self) -> str:
        return "←"

    def absolute(self, body: str) -> str:
        return f"|{body}|"

    def root(self, body: str) -> str:
        return f"√({body})"

    def function_name(self, latex: str, text: str) -> str:
        return text


@dataclass(frozen=True)
class Ascii(Text):
    """The same in ASCII, for terminals and pipes that cannot show Unicode; it reads back as a goal does."""

    def letter(self, latex: str) -> str:
        return ASCII.get(latex, latex)

    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0) -> str:
        return letter + "'" * primes + self.small(sub, {}, "_") + self.small(sup, {}, "^")

    def small(self, text: str, table: dict[str, str], sign: str) -> str:
        return super().small(text, {}, sign)

    def derivative(self, top: str, bottom: str) -> str:
        return f"d{top}/d{bottom}"

    def operator(self, bottom: str, body: str) -> str:
        return f"d/d{bottom} {body}"

    def times(self, factors: list[tuple[str, bool]]) -> str:
        return super().times(factors).replace(" · ", " * ")

    def dotted(self, factors: list[str]) -> str:
        return " * ".join(factors)

    def minus(self) -> str:
        return "-"

    def sigma(self, index: str, low: str, high: str, body: str) -> str:
        return f"sum_{{{index}={low}}}^{{{high}}} {body}" if low else f"sum_{index} {body}"

    def compare(self, op: str) -> str:
        return op

    def dots(self) -> str:
        return "..."

    def arrow(self) -> str:
        return "<-"

    def root(self, body: str) -> str:
        return f"sqrt({body})"

    def function_name(self, latex: str, text: str) -> str:
        plain = {"σ": "sigma", "√": "sqrt", "GELUₜₐₙₕ": "GELU_tanh"}
        return plain.get(text, text)
