r"""What a file as a whole says of its subscripts, before any of them is read: words, and letters that are labels only.

`E_{total}` has the name total below, not five indices. The n of `E_n = \frac12 \sum_k (y_k - t_k)^2`, which nothing sums
and no other quantity is computed for, says that one sample is meant, which is fixed throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

from symbackprop.read.names import letter_of, spelled
from symbackprop.read.neighbours import product_of
from symbackprop.read.scan import affine_letters
from symbackprop.read.syntax import Node, Number, Place, Script, Scripted, Symbol, children, pieces

T = TypeVar("T")

WORDS = frozenset(("total", "tot", "out", "net", "hid", "hidden", "data", "loss", "reg", "train", "test", "val", "true", "pred"))  # fmt: skip
"""Words that stand below symbols; any other is set upright, as in E_{\\mathrm{mean}}."""

COSTS = frozenset(("C", "E", "J", "L", "Q", "L_cal", "E_cal", "J_cal", "C_cal", "ell"))
"""Letters that a cost is called by."""


def rewritten(x: T, f: Callable[[Scripted], Node]) -> T:
    """A tree with `f` applied to every symbol with scripts, innermost first."""
    if isinstance(x, tuple):
        return tuple(rewritten(y, f) for y in x)  # type: ignore[return-value]
    if isinstance(x, Place) or not is_dataclass(x):
        return x
    changes = {}
    for field in fields(x):
        old = getattr(x, field.name)
        new = rewritten(old, f)
        if new is not old and new != old:
            changes[field.name] = new
    if changes:
        x = replace(x, **changes)  # type: ignore[type-var]
    return f(x) if isinstance(x, Scripted) else x  # type: ignore[return-value]


def relettered(x: T, old: str, new: str, inside: bool = False) -> T:
    """A tree with a primed letter for another one in its scripts."""
    if isinstance(x, tuple):
        return tuple(relettered(y, old, new, inside) for y in x)  # type: ignore[return-value]
    if isinstance(x, Symbol) and inside and letter_of(x) == old:
        return Scripted(replace(x, name=new), None, None, 1, x.place)  # type: ignore[return-value]
    if isinstance(x, Place) or not is_dataclass(x):
        return x
    changes = {}
    for field in fields(x):
        before = getattr(x, field.name)
        after = relettered(before, old, new, inside or isinstance(x, Script))
        if after != before:
            changes[field.name] = after
    return replace(x, **changes) if changes else x  # type: ignore[type-var]


# ---------------------------------------------------------------- words


def with_words(node: Scripted) -> Scripted:
    """A symbol with a word below as one name."""
    if node.sub is None or len(node.sub.items) != 1 or not isinstance(node.base, Symbol):
        return node
    parts = node.sub.pieces
    if len(parts) < 2 or not all(isinstance(p, Symbol | Number) for p in parts):
        return node
    letters = [p.text if isinstance(p, Number) else spelled(p) for p in parts]  # type: ignore[arg-type]
    if not is_word(node.base, letters):
        return node
    place = replace(parts[0].place, end=parts[-1].place.end)
    word = Symbol("".join(letters), "roman", place=place)
    return replace(node, sub=replace(node.sub, items=(word,)))


def is_word(base: Symbol, letters: Sequence[str]) -> bool:
    """Whether what stands below is a word: one that is known, four letters or more with one twice, the o1 of out_{o1}."""
    if any(len(x) != 1 and not x.isdigit() for x in letters):
        return False
    word = "".join(letters)
    if word.isalpha():
        return word in WORDS or (len(word) > 3 and len(set(word)) < len(word))
    upright = len(base.name) > 1 and base.font in ("roman", "sans", "italic", "typewriter")
    return upright and word[:1].isalpha() and word[1:].isdigit()


# ---------------------------------------------------------------- labels


def label_letters(
    lefts: Sequence[Symbol | Scripted], rights: Sequence[Node], bound: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """The costs with a letter below that is a label, each with that letter.

    It is the only index of a cost that nothing uses; nothing binds it, and no other left side has it.
    """
    used = [key_of(s) for r in rights for s in scripted(r)]
    for n, left in enumerate(lefts):
        if not isinstance(left, Scripted) or left.sub is None or left.sup is not None or left.primes:
            continue
        parts = left.sub.pieces
        letter = letter_of(parts[0]) if len(parts) == 1 else None
        if letter is None or letter in bound or key_of(left) not in COSTS or key_of(left) in used:
            continue
        others = [x for m, x in enumerate(lefts) if m != n and isinstance(x, Scripted)]
        if not any(letter in letters_of(x) for x in others):
            yield key_of(left), letter


def key_of(node: Node) -> str:
    base = node.base if isinstance(node, Scripted) else node
    return spelled(base) if isinstance(base, Symbol) else ""


def scripted(node: Node) -> Iterator[Node]:
    """Every symbol of a tree, with its scripts."""
    if isinstance(node, Symbol) or (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
        yield node
    for child in children(node):
        yield from scripted(child)


def letters_of(node: Scripted) -> frozenset[str]:
    """The letters of the scripts of a symbol."""
    items = [p for s in (node.sub, node.sup) if s is not None for p in s.pieces]
    return frozenset().union(*map(affine_letters, items))


def without_label(node: Scripted, letter: str, carriers: set[str]) -> Node:
    """A symbol without a label below; `carriers` takes its name."""
    if node.sub is None or not isinstance(node.base, Symbol):
        return node
    kept = [tuple(p for p in pieces(i) if letter_of(p) != letter) for i in node.sub.items]
    if sum(map(len, kept)) == len(node.sub.pieces):
        return node
    carriers.add(key_of(node))
    items = tuple(product_of(k) for k in kept if k)
    if items:
        return replace(node, sub=Script(items, (",",) * (len(items) - 1), node.sub.place))
    if node.sup is None and not node.primes:
        return node.base
    return replace(node, sub=None)
