r"""What symbols are called: \hat x is x_hat, W^{Q} is W_Q, \sigma is sigma; and which named functions are known."""

from __future__ import annotations

import re

from symbackprop import functions as F
from symbackprop.read.syntax import Node, Scripted, Symbol
from symbackprop.read.vocabulary import GREEK

FONT_NAMES = {"calligraphic": "cal", "blackboard": "bb", "fraktur": "frak"}
ACCENTS = {"underline": "under", "ddot": "ddot"}

KNOWN: dict[str, str] = {
    **{f.name.replace("_", ""): f.name for f in F.FUNCTIONS.values()},
    "ln": "log",
    "sgn": "sign",
    "logistic": "sigmoid",
    "lrelu": "leaky_relu",
    "leakyrelu": "leaky_relu",
    "swish": "silu",
    "softmax": "softmax",
    "id": "identity",
    "huber": "huber",
}
"""Names of functions, in small letters and without gaps, and the entry that each stands for."""


def known_function(word: str) -> str | None:
    """The entry for a function by its name: ReLU, relu and \\operatorname{ReLU} are one."""
    return KNOWN.get(word.lower().replace("_", "").replace("-", "").replace(" ", ""))


def spelled(s: Symbol) -> str:
    r"""The name of a letter: \hat x is x_hat, \mathbf W is W, \mathcal L is L_cal."""
    name = s.name.replace("-", "_")
    if s.font in FONT_NAMES:
        name += "_" + FONT_NAMES[s.font]
    if s.accent:
        name += "_" + s.accent
    return name


def latex_letter(s: Symbol) -> str:
    """A letter as LaTeX, without scripts; bold is dropped, since its entries are meant."""
    name = "\\" + s.name if s.name in GREEK or s.name == "ell" else s.name
    if s.font == "calligraphic":
        name = rf"\mathcal{{{name}}}"
    elif s.font == "blackboard":
        name = rf"\mathbb{{{name}}}"
    elif s.font == "fraktur":
        name = rf"\mathfrak{{{name}}}"
    elif len(s.name) > 1 and not name.startswith("\\"):
        name = rf"\mathrm{{{name}}}"
    return rf"\{s.accent}{{{name}}}" if s.accent else name


def letter_of(node: Node) -> str | None:
    """The index letter that a node is, primes included; None where it is none."""
    if isinstance(node, Symbol) and (len(node.name) == 1 or node.name in GREEK or node.name == "ell"):
        return spelled(node)
    if isinstance(node, Scripted) and node.sub is None and node.sup is None and node.primes:
        stem = letter_of(node.base)
        return stem + "'" * node.primes if stem is not None else None
    return None


GREEKS = "|".join(sorted(GREEK, key=len, reverse=True))
NAME = re.compile(
    r"\s*(?:\\(?P<accent>hat|bar|tilde|dot|ddot|vec)\s*\{?\s*)?"
    r"(?:\\(?P<font>mathbf|boldsymbol|bm|mathrm|mathit|mathcal|text|operatorname)\s*\{?\s*)?"
    r"(?P<name>\\[A-Za-z]+|[A-Za-z]+)\s*\}?\s*\}?"
    r"(?P<scripts>(?:\s*[_^]\s*(?:\{[^{}]*(?:\{[^{}]*\})?[^{}]*\}|\([^()]*\)|\w))*)\s*"
)
SCRIPT = re.compile(r"[_^]\s*(?:\{(?P<braced>.*?)\}(?=\s*[_^]|\s*\Z)|\((?P<round>[^()]*)\)|(?P<one>\w))")


def plain_name(text: str) -> str | None:
    r"""The name of a family written alone, as in a declaration.

    >>> plain_name(r"\hat{x}"), plain_name("W^{Q}"), plain_name("W^{(1)}"), plain_name(r"\lambda"), plain_name("C_0")
    ('x_hat', 'W_Q', 'W_1', 'lambda', 'C_0')
    """
    m = NAME.fullmatch(text)
    if m is None:
        return None
    name = m["name"].lstrip("\\")
    if m["font"] == "mathcal":
        name += "_cal"
    if m["accent"]:
        name += "_" + m["accent"]
    for s in SCRIPT.finditer(m["scripts"] or ""):
        inner = s["braced"] or s["round"] or s["one"] or ""
        inner = re.sub(r"\\(?:mathrm|text|operatorname)\s*|[{}()\[\]\\\s]", "", inner)
        name += "_" + inner
    return name
