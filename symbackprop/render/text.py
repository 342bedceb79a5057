"""Expressions on one line of a terminal, in Unicode or plain ASCII."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from symbackprop.render.printer import Printer, short_decimal
from symbackprop.symbols import Role

SUPERSCRIPT = dict(zip("0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW,",
                       "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ˒", strict=True))  # fmt: skip
SUBSCRIPT = dict(zip("0123456789+-−=()aehijklmnoprstuvx,", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ‚", strict=True)) | {
    "′": "′"
}
ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "overline": "\u0304", "dot": "\u0307", "ddot": "\u0308", "check": "\u030c", "breve": "\u0306", "vec": "\u20d7"}  # fmt: skip
ALPHABETS = {"mathbf": "MATHEMATICAL BOLD", "boldsymbol": "MATHEMATICAL BOLD", "mathcal": "MATHEMATICAL SCRIPT"}
SPELLED = {"lambda": "lamda", "varepsilon": "epsilon", "varphi": "phi", "ell": ""}
SIGNS = {"sum": "Σ", "prod": "Π", "max": "max"}
COMPARE = {"<": "<", "<=": "≤", ">": ">", ">=": "≥", "==": "=", "!=": "≠"}


COMMAND = re.compile(r"\\([a-zA-Z]+)\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|([a-zA-Z])?)")


def styled(alphabet: str, letter: str, plain: str) -> str:
    """A letter in bold or script. Some script letters are older than the alphabet, and have names without its first word."""
    for name in (alphabet, alphabet.removeprefix("MATHEMATICAL ")):
        try:
            return unicodedata.lookup(f"{name} {letter}")
        except KeyError:
            continue
    return plain


def greek(name: str) -> str:
    size = "SMALL" if name[0].islower() else "CAPITAL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {SPELLED.get(name, name).upper()}")
    except KeyError:
        return "ℓ" if name == "ell" else name


def plain(latex: str) -> str:
    r"""A letter with its accent and style in Unicode: ŷ for \hat{y}, μ for \mu, 𝐡 for \mathbf{h}."""

    def one(m: re.Match[str]) -> str:
        name, inner = m[1], m[2] if m[2] is not None else m[3] or ""
        if name in ACCENTS:
            inner = plain(inner)
            return unicodedata.normalize("NFC", inner[:1] + ACCENTS[name]) + inner[1:]
        if name in ALPHABETS and len(inner) == 1 and inner.isalpha():
            size = "SMALL" if inner.islower() else "CAPITAL"
            return styled(ALPHABETS[name], f"{size} {inner.upper()}", inner)
        if m[2] is not None:
            return plain(inner)
        return greek(name) + inner

    return COMMAND.sub(one, latex)


def spelled(latex: str) -> str:
    """The same in ASCII, as a goal may be typed: yhat, mu, h."""

    def one(m: re.Match[str]) -> str:
        name, inner = m[1], m[2] if m[2] is not None else m[3] or ""
        if name in ACCENTS:
            return spelled(inner) + ("bar" if name == "overline" else name)
        return spelled(inner) if m[2] is not None else name + (" " + inner if inner else "")

    return COMMAND.sub(one, latex)


@dataclass(frozen=True)
class Text(Printer):
    """The Unicode printer."""

    linear = True

    def number(self, value: Fraction) -> str:
        return (short_decimal(value) or str(value)).replace("-", self.minus())

    def single(self, text: str) -> bool:
        return len([c for c in text if c not in "'′" and not unicodedata.combining(c)]) == 1

    def letter(self, latex: str) -> str:
        head, _, sub = plain(latex).replace("'", "′").partition("_")
        return self.indexed(head, sub.strip("{}"), "") if sub else head

    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0, upper_first: bool | None = None) -> str:
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

    def big(self, sign: str, index: str, under: Sequence[str], over: str, body: str, needed: bool = False) -> str:
        lower = ", ".join(under)
        if all(c in SUBSCRIPT for c in lower) and all(c in SUPERSCRIPT for c in over):
            return f"{SIGNS[sign]}{self.small(lower, SUBSCRIPT, '_')}{self.small(over, SUPERSCRIPT, '^')} {body}"
        if not needed:
            return f"{SIGNS[sign]}{self.small(index, SUBSCRIPT, '_')} {body}"
        lower = ", ".join((under[0] + (f"..{over}" if over else ""), *under[1:]))
        return f"{SIGNS[sign]}_{{{lower}}} {body}"

    def largest_at(self, at: str, index: str, under: Sequence[str], body: str) -> str:
        return self.indicator(f"{at} = argmax{self.small(index, SUBSCRIPT, '_')} {body}")

    def bracketed(self, condition: str) -> str:
        return f"[{condition}]"

    def indicator(self, condition: str) -> str:
        return f"[{condition}]"

    def floor(self, top: str, bottom: str) -> str:
        top = self.bracket(top) if re.search(r"[+-]", top) else top
        return f"⌊{top}/{bottom}⌋"

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

    def alone(self, body: str) -> str:
        return f"({body}, direct)"

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
        return spelled(latex)

    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0, upper_first: bool | None = None) -> str:
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

    def big(self, sign: str, index: str, under: Sequence[str], over: str, body: str, needed: bool = False) -> str:
        lower = ", ".join(under)
        if over:
            return f"{sign}_{{{lower}}}^{{{over}}} {body}"
        return f"{sign}_{lower} {body}" if len(lower) == 1 else f"{sign}_{{{lower}}} {body}"

    def floor(self, top: str, bottom: str) -> str:
        return "floor" + super().floor(top, bottom).replace("⌊", "(").replace("⌋", ")")

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
