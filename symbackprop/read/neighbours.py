r"""What only neighbours tell: differentials that make a derivative, \mathbb 1 and a condition that make an indicator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symbackprop.read.syntax import (
    Chain,
    Differential,
    Fraction,
    Group,
    Indicator,
    Listing,
    Node,
    Number,
    Place,
    Product,
    Scripted,
    Symbol,
    pieces,
)


def spanning(first: Node, last: Node) -> Place:
    """From the beginning of one node to the end of another."""
    return replace(first.place, end=max(first.place.end, last.place.end))


def times(one: Node, other: Node) -> Node:
    """A juxtaposed product, flat."""
    return Product((*pieces(one), other), ("",) * len(pieces(one)), spanning(one, other))


def product_of(factors: Sequence[Node]) -> Node:
    if len(factors) == 1:
        return factors[0]
    return Product(tuple(factors), ("",) * (len(factors) - 1), spanning(factors[0], factors[-1]))


def is_one(node: Node) -> bool:
    r"""\mathbb{1}, \mathbf{1} or \mathbb{I}: an indicator where a condition follows, else a vector of ones or a matrix."""
    return isinstance(node, Symbol) and (node.name, node.font) in (("1", "blackboard"), ("1", "bold"), ("I", "blackboard"))  # fmt: skip


def condition(node: Node) -> Node | None:
    """What an indicator may depend on: relations, or the dot that stands for them."""
    match node:
        case Chain() | Symbol(name="cdot"):
            return node
        case Listing(items=items) if all(isinstance(i, Chain) for i in items):
            return node
        case Group(body=body):
            return condition(body)
    return None


def indicated(one: Node, brackets: Node) -> Node | None:
    r"""The indicator that \mathbb 1 and a condition in brackets make, with what scripts the brackets carry."""
    group = brackets.base if isinstance(brackets, Scripted) else brackets
    if not isinstance(group, Group) or (inner := condition(group.body)) is None:
        return None
    braces = isinstance(one, Number) and one.text == "1" and group.kind == "curly"  # 1\{i = j\}
    if not is_one(one) and not braces:
        return None
    whole = spanning(one, brackets)
    found = Indicator(inner, spanning(one, group))
    return replace(brackets, base=found, place=whole) if isinstance(brackets, Scripted) else found


def differential(node: Node) -> Differential | None:
    """A differential, or the letter d, maybe with its order, that is one between two others."""
    match node:
        case Differential():
            return node
        case Symbol(name="d", font="", accent="", place=place):
            return Differential("d", None, None, None, place)
        case Scripted(base=Symbol(name="d", font="", accent=""), sub=None, sup=order, primes=0, place=place):
            return Differential("d", order, None, None, place)
    return None


def gathered(node: Node) -> list[Differential]:
    r"""The differentials that a part of a fraction consists of: all that follows one belongs to it."""
    out: list[Differential] = []
    for part in pieces(node):
        found = differential(part)
        if found is not None:
            out.append(found)
        elif not out:
            return []
        else:
            whole = spanning(out[-1], part)
            out[-1] = replace(out[-1], of=part if out[-1].of is None else times(out[-1].of, part), place=whole)
    return out


def quotient(over: Node, under: Node, place: Place) -> Fraction:
    r"""A \frac, its parts gathered into differentials if that makes a derivative of it."""
    above, below = gathered(over), gathered(under)
    if len(above) == 1 and below and all(d.of is not None for d in below):
        return Fraction(above[0], product_of(below), "frac", place)
    return Fraction(over, under, "frac", place)


def with_quotients(factors: list[Node], operators: list[str]) -> tuple[list[Node], list[str]]:
    r"""The factors of a product, in which `\partial C/\partial w` is one."""
    if "/" not in operators:
        return factors, operators
    left, signs = [factors[0]], list[str]()
    n = 0
    while n < len(operators):
        over, under = differential(left[-1]), factors[n + 1]
        if operators[n] == "/" and over is not None and isinstance(under, Differential):
            below: list[Node] = [under]
            while operators[n + 1 : n + 2] == [""] and operators[n + 2 : n + 3] != ["/"] and isinstance(factors[n + 2], Differential):  # fmt: skip
                n += 1
                below.append(factors[n + 1])
            left[-1] = Fraction(over, product_of(below), "slash", spanning(over, below[-1]))
        else:
            left.append(under)
            signs.append(operators[n])
        n += 1
    return left, signs
