"""Slips made in right lines, by text alone: nothing here knows how slips are found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

SCRIPT = r"(?:[_^](?:\{[^{}]*\}|\w))*"
QUANTITY = re.compile(r"(?<![A-Za-z\\])(?:\\(?:hat|bar|tilde)\{\w\}|[a-zA-Z])(?:[_^](?:\{[^{}]*\}|\w))+")
LOWER = re.compile(r"_(?:\{([^{}]*)\}|(\w))")
UPPER = re.compile(r"\^\{\(([a-zA-Z](?:[+-]\d)?)\)\}|\^\{([lL](?:[+-]\d)?)\}|\^([lL])")
SLOPE = re.compile(
    rf"(?:\\[a-z]+|[a-z])'{SCRIPT}\\left\((?:(?!\\left).)*?\\right\)(?:\\, )?|(?:\\, )?(?:\\[a-z]+|[a-z])'{SCRIPT}\\left\((?:(?!\\left).)*?\\right\)$"
)
SIGMA = re.compile(r"\\sum_(?:\{[^{}]*\}|\w)(?:\^(?:\{[^{}]*\}|\w))? ")
DIFFERENCE = re.compile(
    r"\\left\(([^()+-]*(?:\{\([^()]*\)\})?[^()+-]*) - ([^()+-]*(?:\{\([^()]*\)\})?[^()+-]*)\\right\)"
)


def factor(right: str, r: random.Random) -> Iterator[str]:
    if right.startswith("-"):
        return
    yield f"2 {right}" if not right[:1].isdigit() else rf"2 \cdot {right}"
    yield rf"\frac{{1}}{{2}}\, {right}"
    if re.search(r"(?<![\w^_{])2(?=\\left)", right):
        yield re.sub(r"(?<![\w^_{])2(?=\\left)", "", right, count=1)
    if right.startswith(r"\frac{1}{N}\, "):
        yield right.removeprefix(r"\frac{1}{N}\, ")


def sign(right: str, r: random.Random) -> Iterator[str]:
    yield right.removeprefix("-") if right.startswith("-") else f"-{right}"
    for m in DIFFERENCE.finditer(right):
        yield right[: m.start()] + rf"\left({m[2]} - {m[1]}\right)" + right[m.end() :]
        yield right[: m.start()] + rf"\left({m[1]} + {m[2]}\right)" + right[m.end() :]


def missing_activation_derivative(right: str, r: random.Random) -> Iterator[str]:
    for m in SLOPE.finditer(right):
        rest = (right[: m.start()] + right[m.end() :]).strip()
        if rest:
            yield rest.removesuffix(r"\,").strip()
        yield right[: m.start()] + m[0].replace("'", "", 1) + right[m.end() :]


def missing_sum(right: str, r: random.Random) -> Iterator[str]:
    for m in SIGMA.finditer(right):
        yield right[: m.start()] + right[m.end() :]


def transposed_weight(right: str, r: random.Random) -> Iterator[str]:
    for m in re.finditer(r"(?<![A-Za-z\\])([wW])(\^[A-Z]|\^\{\(\w\)\})?_\{(\w)(\w)\}", right):
        yield right[: m.start()] + f"{m[1]}{m[2] or ''}_{{{m[4]}{m[3]}}}" + right[m.end() :]


def wrong_index(right: str, r: random.Random) -> Iterator[str]:
    letters = sorted({c for m in LOWER.finditer(right) for c in (m[1] or m[2]) if c.isalpha()})
    for m in QUANTITY.finditer(right):
        low = LOWER.search(m[0])
        if low is None or not (low[1] or low[2]).isalnum():
            continue
        text = low[1] or low[2]
        n = r.randrange(len(text))
        others = [c for c in letters if c not in text]
        if others:
            new = text[:n] + r.choice(others) + text[n + 1 :]
            changed = m[0][: low.start()] + f"_{{{new}}}" + m[0][low.end() :]
            yield right[: m.start()] + changed + right[m.end() :]


def wrong_layer(right: str, r: random.Random) -> Iterator[str]:
    for m in UPPER.finditer(right):
        layer = m[1] or m[2] or m[3]
        stem, by = layer[0], int(layer[1:] or 0)
        for step in (-1, 1):
            new = stem + (f"{by + step:+d}" if by + step else "")
            if stem == "L" and by + step > 0:
                continue
            yield right[: m.start()] + (f"^{{({new})}}" if m[1] else f"^{{{new}}}") + right[m.end() :]


def wrong_variable(right: str, r: random.Random) -> Iterator[str]:
    for m in QUANTITY.finditer(right):
        if m[0][0] in "az":
            yield right[: m.start()] + {"a": "z", "z": "a"}[m[0][0]] + m[0][1:] + right[m.end() :]


def dropped_term(right: str, r: random.Random) -> Iterator[str]:
    parts = right.split(r"\, ")
    if r"\left" in right or "+" in right or len(parts) < 2:
        return
    for n, p in enumerate(parts):
        if QUANTITY.fullmatch(p.strip()):
            yield r"\, ".join(parts[:n] + parts[n + 1 :])


def extra_term(right: str, r: random.Random) -> Iterator[str]:
    for m in SLOPE.finditer(right):
        again = m[0].strip().removesuffix(r"\,").removeprefix(r"\,").strip()
        yield (
            right[: m.end()].rstrip()
            + ("" if right[: m.end()].rstrip().endswith(r"\,") else r"\, ")
            + again
            + (r"\, " + right[m.end() :] if right[m.end() :].strip() else "")
        )


def loss_derivative(right: str, r: random.Random) -> Iterator[str]:
    for m in DIFFERENCE.finditer(right):
        yield right[: m.end()] + "^2" + right[m.end() :]


MADE: dict[str, Callable[[str, random.Random], Iterator[str]]] = {
    f.__name__: f
    for f in (
        factor,
        sign,
        missing_activation_derivative,
        missing_sum,
        transposed_weight,
        wrong_index,
        wrong_layer,
        wrong_variable,
        dropped_term,
        extra_term,
        loss_derivative,
    )
}


def slips(line: str, seed: int = 0) -> Iterator[tuple[str, str]]:
    """A right line `left = right` with a slip in it, and its cause."""
    left, _, right = line.partition(" = ")
    for cause, make in MADE.items():
        for wrong in make(right, random.Random(f"{seed} {cause} {line}")):
            if wrong != right:
                yield cause, f"{left} = {wrong}"
