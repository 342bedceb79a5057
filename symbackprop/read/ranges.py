r"""What stands behind a line and says where it holds: for l < L; l = L-1, \dots, 1; (j \ne i); \forall j."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from symbackprop.errors import ReadError
from symbackprop.indices import Affine, Constraint, affine, between
from symbackprop.read.names import letter_of
from symbackprop.read.scan import affine_letters, is_affine
from symbackprop.read.scopes import Scopes
from symbackprop.read.syntax import Chain, Dots, Group, Listing, Node, Place, Text
from symbackprop.read.vocabulary import CONNECTIVES
from symbackprop.symbols import Expr

RESTRICTING = frozenset(
    {"for", "if", "when", "whenever", "unless", "except", "provided", "assuming", "only", "iff", "not"}
)
"""Words that may narrow what a line claims: with words that are not understood they are no mere remark."""

NEGATIVE = frozenset({"unless", "except", "not", "else", "otherwise", "without"})

COMPARISONS = ("=", "<", "<=", ">", ">=")


@dataclass
class Said:
    """What is said of a line, in the author's numbers and in scopes.

    Args:
        guard: Conditions on indices.
        apart: Differences that are not 0, of j != i.
        remarks: Words that restrict nothing, such as the name of a rule.
        values: Reads a condition on quantities, z_j > 0 or j != y_i.
        where: Such conditions.
    """

    scopes: Scopes
    is_index: Callable[[str], bool]
    values: Callable[[Chain], list[Expr] | None] = lambda chain: None
    guard: list[Constraint] = field(default_factory=list)
    apart: list[Affine] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    where: list[Expr] = field(default_factory=list)

    def read(self, nodes: Sequence[Node]) -> None:
        parts = list(flattened(nodes))
        while parts:
            part = parts.pop(0)
            match part:
                case Text(text=text):
                    self.words(text, part.place)
                case Chain():
                    dots = next((n for n, p in enumerate(parts[:3]) if isinstance(p, Dots)), None)
                    if dots is not None and len(parts) > dots + 1 and len(part.relations) == 1:
                        self.listed(part, [part.relations[0].right, *parts[: dots + 2]])
                        del parts[: dots + 2]
                    else:
                        self.chain(part)
                case _:
                    self.letter(part)

    def letter(self, node: Node) -> None:
        letter = letter_of(node)
        if letter is None or not self.is_index(letter):
            raise self.strange(node)
        self.scopes.affine(node, {})

    def strange(self, node: Node) -> ReadError:
        text = self.scopes.source.text[node.place.start : node.place.end]
        return self.scopes.fail(
            f"{text!r} behind a formula is not understood; expected where it holds, as in l < L", node.place
        )

    def words(self, text: str, place: Place) -> None:
        words = text.replace("\\", " ").replace(",", " ").replace(".", " ").lower().split()
        if all(w in CONNECTIVES or w in ("forall", "indices", "index") for w in words) and not NEGATIVE & set(words):
            return
        if RESTRICTING & set(words):
            raise self.scopes.fail(
                f"the words {text.strip()!r} may say where the line holds, and are not understood; "
                "expected a condition on its indices, as in l < L",
                place,
            )
        self.remarks.append(text.strip())

    def counts(self, node: Node) -> bool:
        """Whether a side of a condition is made of indices and numbers alone."""
        return is_affine(node) and all(self.is_index(x) for x in affine_letters(node))

    def index(self, node: Node) -> Affine:
        """A side of a condition, all of whose letters are indices, layers or sizes."""
        if any(not self.is_index(x) for x in affine_letters(node)):
            raise self.strange(node)
        before = self.scopes.constants | self.scopes.all.keys()
        found = self.scopes.affine(node, {}, "a condition")
        sizes = {n for n in found.names if n.partition("@")[0] in self.scopes.stems}
        if found.names - before - sizes - self.scopes.all.keys():
            raise self.strange(node)  # z_j is no size
        return found

    def pair(self, left: Affine, right: Affine, place: Place) -> None:
        """Two letters that are compared run over one axis."""
        for a in left.names & self.scopes.all.keys():
            for b in right.names & self.scopes.all.keys():
                self.scopes.join(a, b, place)

    def chain(self, chain: Chain) -> None:
        sides = [chain.first, *(r.right for r in chain.relations)]
        if any(s is None for s in sides):
            raise self.strange(chain)
        for r, left, right in zip(chain.relations, sides, sides[1:], strict=False):
            assert left is not None
            assert right is not None
            if r.sign in ("!=", *COMPARISONS) and not (self.counts(left) and self.counts(right)):
                found = self.values(Chain(left, (r,), chain.place))
                if found is not None:
                    self.where += found
                    continue
            if r.sign in ("!=", *COMPARISONS):
                self.pair(self.index(left), self.index(right), chain.place)
            if r.sign == "!=":
                self.apart.append(self.index(left) - self.index(right))
            elif r.sign == "in":
                self.member(left, right)
            elif r.sign in COMPARISONS:
                self.guard += self.scopes.chain(Chain(left, (r,), chain.place), {})
            else:
                raise self.strange(chain)

    def member(self, left: Node, right: Node) -> None:
        r"""l \in \{1, \dots, L\}."""
        if not isinstance(right, Group) or not isinstance(right.body, Listing):
            raise self.strange(right)
        self.spread(self.index(left), list(right.body.items), right)

    def listed(self, chain: Chain, values: list[Node]) -> None:
        assert chain.first is not None
        if chain.relations[0].sign not in ("=", "in"):
            raise self.strange(chain)
        self.spread(self.index(chain.first), values, chain)

    def spread(self, index: Affine, values: list[Node], whole: Node) -> None:
        """One index over numbers in a row, in either direction: 1, 2, ..., L or L-1, ..., 1."""
        numbers = [self.index(v) for v in values if not isinstance(v, Dots)]
        dotted = any(isinstance(v, Dots) for v in values)
        steps = {b - a for a, b in pairwise(numbers)}
        if not numbers or (not dotted and not steps <= {affine(1)} and not steps <= {affine(-1)}):
            raise self.strange(whole)
        low, high = numbers[0], numbers[-1]
        if (high - low).value is not None:
            falling = (high - low).const < 0
        else:
            falling = high.value is not None
        if falling:
            low, high = high, low
        self.guard += between(low, index, high)


def flattened(nodes: Sequence[Node]) -> list[Node]:
    """The parts of what stands behind a line, brackets taken off."""
    out: list[Node] = []
    for n in nodes:
        if isinstance(n, Group) and n.kind in ("round", "square"):
            out += flattened((n.body,))
        elif isinstance(n, Listing):
            out += flattened(n.items)
        else:
            out.append(n)
    return out
