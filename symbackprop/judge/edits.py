r"""Changes to a row of LaTeX as its author wrote it: parts of its tree replaced, everything else left alone.

A candidate is read from its tree first, which is quick; its text is made only for those that turn out to be true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from symbackprop.errors import ReadError
from symbackprop.read.latex import parse_expression
from symbackprop.read.syntax import Node, Product, Row
from symbackprop.report import Mark

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)


@dataclass(frozen=True)
class Swap:
    """A node, the text that takes its place, and the tree of that text.

    Args:
        new: None where the text is to be read by itself.
    """

    old: Node
    text: str
    new: Node | None = None

    def node(self) -> Node | None:
        """The tree of the new text; None where it is not understood."""
        return self.new if self.new is not None else tree(self.text)


@dataclass(frozen=True)
class Candidate:
    """A change that may repair a row.

    Args:
        swaps: None of them inside another.
        cause: One of CAUSES.
        cost: How unlikely the slip is that it would repair.
        what: The repair in words.
    """

    swaps: tuple[Swap, ...]
    cause: str
    cost: float
    what: str

    def disjoint(self, other: Candidate) -> bool:
        """Whether both can be made at once."""
        return all(
            a.old.place.end <= b.old.place.start or b.old.place.end <= a.old.place.start
            for a in self.swaps
            for b in other.swaps
        )

    def with_other(self, other: Candidate, cost: float) -> Candidate:
        """Both changes at once, under the cause of this one."""
        what = self.what if other.what == self.what else f"{self.what}, and {other.what}"
        return Candidate(self.swaps + other.swaps, self.cause, cost, what)


@lru_cache(maxsize=8192)
def tree(text: str) -> Node | None:
    """An expression by itself; None where it is not understood."""
    try:
        return parse_expression(text)
    except (ReadError, RecursionError):
        return None


def text_with(text: str, swaps: Iterable[Swap]) -> str:
    """A row with parts of it replaced."""
    out, at = [], 0
    for s in sorted(swaps, key=lambda s: s.old.place.start):
        out += [text[at : s.old.place.start], s.text]
        at = s.old.place.end
    return "".join((*out, text[at:]))


def marks(text: str, swaps: Iterable[Swap]) -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    """The places in a row that differ once parts of it are replaced, and what stands there then."""
    wrong, right, shift = [], [], 0
    for s in sorted(swaps, key=lambda s: s.old.place.start):
        start, end = s.old.place.start, s.old.place.end
        for (a, b), (c, d) in differing(text[start:end], s.text):
            wrong.append(Mark(start + a, start + b))
            if d > c:
                right.append(Mark(start + shift + c, start + shift + d))
        shift += len(s.text) - (end - start)
    return tuple(wrong), tuple(right)


def differing(old: str, new: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The part of two texts between what they have in common at both ends; commands are not cut."""
    a, b = TOKEN.findall(old), TOKEN.findall(new)
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    m = 0
    while m < min(len(a), len(b)) - n and a[-1 - m] == b[-1 - m]:
        m += 1
    start = len("".join(a[:n]))
    first, last = "".join(a[n : len(a) - m]), "".join(b[n : len(b) - m])
    return [(trimmed(first, start), trimmed(last, start))]


def trimmed(part: str, start: int) -> tuple[int, int]:
    """Where a part stands without the spaces around it."""
    bare = part.strip()
    lead = len(part) - len(part.lstrip()) if bare else 0
    return start + lead, start + lead + len(bare)


# ---------------------------------------------------------------- trees


def row_with(row: Row, swaps: Sequence[Swap]) -> Row | None:
    """A row with parts of its tree replaced; None where a new part is not understood."""
    new: dict[int, Node] = {}
    for s in swaps:
        node = s.node()
        if node is None:
            return None
        new[id(s.old)] = node
    left = rebuilt(row.left, new, swaps) if row.left is not None else None
    relations = tuple(replace(r, right=rebuilt(r.right, new, swaps)) for r in row.relations)
    return replace(row, left=left, relations=relations)


def rebuilt(node: Any, new: Mapping[int, Node], swaps: Sequence[Swap]) -> Any:
    """A tree with nodes of it replaced; branches without any are shared."""
    if id(node) in new:
        return new[id(node)]
    if isinstance(node, tuple):
        parts = tuple(rebuilt(x, new, swaps) for x in node)
        return node if all(a is b for a, b in zip(parts, node, strict=True)) else parts
    if not is_dataclass(node) or isinstance(node, type):
        return node
    place = getattr(node, "place", None)
    if place is not None and not any(place.start <= s.old.place.start and s.old.place.end <= place.end for s in swaps):
        return node
    changed = {}
    for f in fields(node):
        if f.name == "place":
            continue
        before = getattr(node, f.name)
        after = rebuilt(before, new, swaps)
        if after is not before:
            changed[f.name] = after
    return replace(node, **changed) if changed else node


def product(factors: Sequence[Node], operators: Sequence[str], like: Node) -> Node:
    """Factors at the place of another node."""
    return factors[0] if len(factors) == 1 else Product(tuple(factors), tuple(operators), like.place)
