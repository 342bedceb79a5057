r"""One side of a row with what surrounds it: how its quantities are written, where letters stand, what a factor may be put into."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from symbackprop.indices import Axis
from symbackprop.judge.edits import Candidate, Swap, tree
from symbackprop.judge.edits import product as product_of
from symbackprop.judge.survey import Applied, Piece, Quantity, Spot, Survey, axes_of, shifted, with_indices
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.read.expression import Reader
from symbackprop.read.lexer import Source
from symbackprop.read.syntax import (
    BigOperator,
    Fraction,
    Group,
    Node,
    Product,
    Script,
    Scripted,
    Sum,
    Symbol,
    Term,
    children,
)
from symbackprop.render.latex import Latex
from symbackprop.symbols import Call, Position, Ref, Size, walk

TRANSPOSE = ("T", "top", "intercal")
FLIPPED = {"<": ">", ">": "<", r"\lt": r"\gt", r"\gt": r"\lt", r"\le": r"\ge", r"\ge": r"\le", r"\leq": r"\geq", r"\geq": r"\leq"}  # fmt: skip
MAX_PLACES = 40
"""Quantities of a side that are varied."""


@dataclass(frozen=True)
class Template:
    """How a quantity or a slope is written, with letters in place of its indices.

    Args:
        lower, upper: The letters that stand for its indices.
    """

    text: str
    lower: tuple[str, ...]
    upper: tuple[str, ...]
    name: str
    kind: str = ""
    spans: tuple[tuple[int, int, str, int], ...] = ()

    def surveyed(self, reader: Reader) -> Template:
        """With the places of its letters, each with what is added to it there."""
        node = tree(self.text)
        if node is None:
            return self
        survey = Survey(Source(self.text), reader.drafter).side(node)
        put = (*self.lower, *self.upper)
        spans: dict[tuple[int, int], tuple[str, int]] = {}
        for q in survey.quantities:
            for p in (*q.lower, *q.upper):
                if p.text in put:
                    spans[p.start, p.end] = (p.text, 0)
                elif len(p.letters) == 1 and (x := min(p.letters)) in put:
                    by = p.text.replace(" ", "").removeprefix(x)
                    if re.fullmatch(r"[+-]\d+", by):
                        spans[p.start, p.end] = (x, int(by))
        for f in survey.functions:
            for n in script_nodes(f.function):
                letter = self.text[n.place.start : n.place.end]
                if letter in put:
                    spans[n.place.start, n.place.end] = (letter, 0)
        return replace(self, spans=tuple((a, b, x, by) for (a, b), (x, by) in sorted(spans.items())))

    def at(self, lower: Iterable[str], upper: Iterable[str]) -> str:
        """Its text with indices."""
        put = dict(zip((*self.lower, *self.upper), (*lower, *upper), strict=False))
        spans = []
        for a, b, x, by in self.spans:
            new = shifted(put[x], by) if by and x in put else put.get(x)
            if new is not None:
                spans.append((a, b, new))
        return with_indices(self.text, spans)


def script_nodes(node: Node) -> Iterator[Node]:
    """The parts above a symbol, without brackets."""
    if isinstance(node, Scripted) and node.sup is not None:
        for p in node.sup.pieces:
            yield p.body if isinstance(p, Group) else p


@dataclass
class Side:
    """One side of a row, and what is known of the row around it.

    Args:
        text: The row.
        node: The side.
        given: The letters that stand free on the other side.
        left: Whether it is the left side of the row.
        axes: The axes of the free letters, where they are known.
        terms: Terms that the row may lack, in LaTeX: those of the line before.
    """

    text: str
    node: Node
    reader: Reader
    system: System
    notation: Notation
    given: frozenset[str]
    row_letters: tuple[Piece, ...]
    layers: tuple[str, ...]
    left: bool = False
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    extra: float = 0.0
    proportional: bool | None = None
    votes: tuple[tuple[int, str, str], ...] = ()
    """Where each letter of the row stands, and on which axis."""

    def __post_init__(self) -> None:
        self.survey = Survey(self.reader.source, self.reader.drafter).side(self.node)
        self.printer = Latex(self.system, self.notation)

    @cached_property
    def quantities(self) -> list[Quantity]:
        return self.survey.quantities[:MAX_PLACES]

    @cached_property
    def arrays(self) -> bool:
        """Whether the side is written with arrays."""
        return any(q.open for q in self.quantities)

    @cached_property
    def strays(self) -> tuple[str, ...]:
        """The letters that stand free here and not on the other side."""
        found = [
            x
            for q in self.quantities
            for p in q.lower
            for x in sorted(p.letters)
            if x not in q.bound and x not in self.given and x not in self.system.constants and x in self.index_letters
        ]
        return tuple(dict.fromkeys(found))

    @cached_property
    def index_letters(self) -> frozenset[str]:
        return frozenset(x for p in self.row_letters for x in p.letters) - self.system.constants

    def letters_at(self, q: Quantity, piece: Piece) -> list[str]:
        """What an index of a quantity may have been meant to be."""
        found = [p.text for p in self.row_letters if p.kind == piece.kind]
        bound = [x for x in q.bound if piece.kind in self.kinds.get(x, (piece.kind,))]
        out = [x for x in (*bound, *found) if x != piece.text]
        free = self.given | set(q.bound) | self.system.constants
        if self.left:
            free |= self.index_letters
        return [x for x in dict.fromkeys(out) if letters_of(x) <= free]

    @cached_property
    def kinds(self) -> dict[str, frozenset[str]]:
        """On which kinds of axes each letter stands."""
        out: dict[str, frozenset[str]] = {}
        for p in self.row_letters:
            for x in p.letters:
                out[x] = out.get(x, frozenset()) | {p.kind}
        return out

    def templates(self, family: str) -> Template | None:
        """How a family is written, as this author writes it."""
        if family not in self.patterns:
            f = self.system.families.get(family)
            look = self.reader.drafter.lexicon.look(family)
            if f is None:
                return None
            lower = tuple(f.indices[n] for n in look.lower)
            upper = tuple(f.indices[n] for n in look.upper)
            text = self.printer(f.pattern)
            if self.arrays:
                lower = tuple(f.indices[n] for n in look.lower if f.axes[n].kind == "recursion")
                text = self.array_text(family, lower, upper)
            self.patterns[family] = Template(text, lower, upper, family, f.kind).surveyed(self.reader)
        return self.patterns[family]

    def array_text(self, family: str, lower: tuple[str, ...], upper: tuple[str, ...]) -> str:
        """A whole array, as this row or else the model writes it."""
        found = next((q for q in self.quantities if q.family == family and q.open and not q.gradient), None)
        if found is not None:
            lows = [p for p in found.lower if p.kind == "recursion"]
            return found.written(dict(zip((*lows, *found.upper), (*lower, *upper), strict=False)))
        head, _sign, unit = self.reader.drafter.lexicon.latex(family).partition("_")
        if re.search(r"\\mathbf|\\boldsymbol|\\bm\b", self.text) and not head.startswith("\\") and len(head) == 1:
            head = rf"\mathbf{{{head}}}"
        written = self.notation.written.get(family)
        below = unit.strip("{}") + ",".join(lower)
        above = "".join(
            f"({x})" if (written.brackets if written is not None else self.notation.brackets) else x for x in upper
        )
        above += written.unit if written is not None else ""
        return head + (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")

    @cached_property
    def patterns(self) -> dict[str, Template]:
        return {}

    @cached_property
    def gradient_letters(self) -> list[Template]:
        """Letters that stand for gradients: \\delta_j^{(l)}."""
        out = []
        for family, letter in self.notation.gradients.items():
            if family in self.system.families and (t := self.templates(family)) is not None:
                f = self.reader.drafter.lexicon
                text = t.text.replace(f.latex(family), letter, 1)
                out.append(replace(t, text=text, kind="gradient").surveyed(self.reader))
        return out

    @cached_property
    def all_templates(self) -> list[Template]:
        known = [t for name in self.system.families if (t := self.templates(name)) is not None]
        return [*self.gradient_letters, *known]

    @cached_property
    def activations(self) -> list[tuple[str, str, Call | None]]:
        """Quantities that are a function of one other at the same place: a and z, and the function where it has a name."""
        out = []
        for e in self.system.equations:
            refs = {p for _, p in walk(e.rhs) if isinstance(p, Ref)}
            if len(refs) != 1 or isinstance(e.rhs, Ref):
                continue
            (z,) = refs
            if self.system.families[z.family].kind != "derived" or e.lhs.family == self.system.cost:
                continue
            if len(z.indices) == len(e.lhs.indices) or not z.indices:
                call = next((p for _, p in walk(e.rhs) if isinstance(p, Call)), None)
                out.append((e.lhs.family, z.family, call if e.rhs == call else None))
        return list(dict.fromkeys(out))

    def conflicts(
        self, family: str, lower: dict[int, str], upper: dict[int, str], at: tuple[int, int] = (-1, -1)
    ) -> int:
        """How many letters of a quantity would stand on another axis than elsewhere in the row.

        Args:
            at: Where the quantity stands; what stands there now does not count.
        """
        count = 0
        for letter, axis in axes_of(self.system.families[family], lower, upper):
            elsewhere = [a for n, x, a in self.votes if x == letter and not at[0] <= n < at[1]]
            count += bool(elsewhere) and axis not in elsewhere
        return count

    def strain(self, q: Quantity, changes: dict[Piece, str]) -> float:
        """How much better or worse the letters of a quantity agree with the row once its indices are changed."""
        at = (q.start, q.node.place.end)
        lower, upper = {p.place: p.text for p in q.lower}, {p.place: p.text for p in q.upper}
        before = self.conflicts(q.family, lower, upper, at)
        for p, new in changes.items():
            (lower if p in q.lower else upper)[p.place] = new
        after = self.conflicts(q.family, lower, upper, at)
        return 0.25 * (after - before) if after >= before else 0.3 * (after - before)

    def change(self, q: Quantity, changes: dict[Piece, str]) -> Swap:
        return Swap(q.node, q.written(changes))

    def stands_oddly(self, t: Template, lower: Iterable[str], upper: Iterable[str]) -> int:
        """How many of the letters would stand on another axis than elsewhere in the row."""
        look = self.reader.drafter.lexicon.look(t.name)
        below, above = dict(zip(look.lower, lower, strict=False)), dict(zip(look.upper, upper, strict=False))
        return self.conflicts(t.name, below, above)

    def sighting(self, node: Node):  # type: ignore[no-untyped-def]
        return self.reader.drafter.sighting(node, {}, applied=True)  # type: ignore[arg-type]

    @cached_property
    def all_layers(self) -> list[str]:
        near = [m for x in self.layers for by in (0, -1, 1) if (m := shifted(x, by)) is not None]
        return list(dict.fromkeys(near))

    @cached_property
    def standing(self) -> list[tuple[str, str]]:
        """The letters of the row, each with the axes on which it stands."""
        return list(dict.fromkeys((x, a) for _, x, a in self.votes))

    @cached_property
    def places_in_play(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Index tuples, below and above, of quantities with one axis: those that occur first."""
        seen: dict[tuple[tuple[str, ...], tuple[str, ...]], None] = {}
        for q in self.quantities:
            if len(q.lower) <= 1:
                seen[tuple(p.text for p in q.lower), tuple(p.text for p in q.upper)] = None
        for q in self.quantities:
            for p in q.lower:
                for u in q.upper or (None,):
                    for by in (0, -1, 1) if u is not None else (0,):
                        above = shifted(u.text, by) if u is not None else None
                        seen[(p.text,), (above,) if above is not None else ()] = None
            if not q.lower:
                for u in q.upper:
                    for by in (-1, 1):
                        above = shifted(u.text, by)
                        if above is not None:
                            seen[(), (above,)] = None
        for letter in sorted(self.given & self.index_letters):
            for layer in self.layers or (None,):
                seen[(letter,), (layer,) if layer is not None else ()] = None
        return list(seen)

    def letters_here(self, q: Quantity) -> list[str]:
        numbers = [p.text for p in self.row_letters if p.text.isdigit()]
        return [*q.bound, *sorted(self.given & self.index_letters), *dict.fromkeys(numbers)]

    @cached_property
    def transpose_sign(self) -> str:
        """How this row writes a transpose."""
        m = re.search(r"\^\s*\{?\s*(\\top|\\intercal|T\b)", self.text)
        return m[1] if m is not None else "T"

    def is_array(self, node: Node) -> bool:
        return any(q.open and within(q.node, node) for q in self.quantities) and not isinstance(node, BigOperator)

    def toggled(self, node: Node, text: str) -> str | None:
        """An array with its transpose taken off or put on."""
        sign = self.transpose_sign
        if is_transposed(node):
            assert isinstance(node, Scripted) and node.sup is not None
            rest = [p for p in node.sup.pieces if not names_transpose(p)]
            if not rest:
                base = node.base
                if isinstance(base, Group) and isinstance(base.body, Symbol | Scripted | Fraction):
                    return self.survey.text(base.body)
                sub = f"_{{{script_text(self.survey, node.sub)}}}" if node.sub is not None else ""
                return self.survey.text(base) + sub
            last = next(p for p in node.sup.pieces if names_transpose(p))
            a, b = last.place.start - node.place.start, last.place.end - node.place.start
            return text[:a].rstrip() + text[b:]
        if isinstance(node, Scripted) and node.sup is None and not node.primes:
            return f"{text}^{sign}"
        if isinstance(node, Symbol | Group):
            return f"{text}^{sign}"
        return rf"\left({text}\right)^{sign}"

    @cached_property
    def sizes(self) -> list[str]:
        """Sizes by which a sum may be divided."""
        out: list[str] = []
        for op, _ in self.survey.operators:
            if op.sup is not None:
                high = script_text(self.survey, op.sup).replace(" ", "")
                out.append(high.removesuffix("-1"))
        for e in self.system.equations:
            for _, p in walk(e.rhs):
                if isinstance(p, Size) or (
                    isinstance(p, Position) and p.at.names and p.at.names <= self.system.constants
                ):
                    out.append(self.printer(p))
        if self.system.mean is not None:
            out.append(self.notation.samples)
        return list(dict.fromkeys(x for x in out if x and not x.isdigit()))[:2]

    @cached_property
    def derivatives(self) -> list[Fraction]:
        return [n for n in self.survey.containers if isinstance(n, Fraction)]

    def inserted(
        self, spot: Spot, snippet: str, cause: str, cost: float, what: str, elementwise: bool = False
    ) -> Iterator[Candidate]:
        """A factor put into a product; between arrays, at every place."""
        node, text = spot.node, self.survey.text(spot.node)
        if not self.arrays and not self.belongs(spot, snippet):
            return
        new = tree(snippet)
        if new is None:
            return
        if elementwise:
            yield from self.elementwise(spot, snippet, new, cause, cost, what)
            return
        if isinstance(node, Sum):
            made = product_of((Group("(", ")", node, node.place), new), ("",), node)
            yield Candidate((Swap(node, rf"\left({text}\right) {snippet}", made),), cause, cost, what)
            return
        factors = node.factors if isinstance(node, Product) else (node,)
        operators = node.operators if isinstance(node, Product) else ()
        if any(op in (r"\odot", r"\circ") for op in operators):
            return
        units = spot.units(self.survey)
        gaps = [start for start, _ in units] + [units[-1][1]]
        if not self.arrays:
            last = factors[-1]
            gaps = [gaps[-2]] if isinstance(last, BigOperator) else [gaps[-1]]
        for gap in gaps:
            if gap == len(factors) and isinstance(factors[-1], BigOperator):
                continue
            parts = (*factors[:gap], new, *factors[gap:])
            ops = (*operators[:gap], "", *operators[gap:])[: len(parts) - 1]
            if gap == len(factors):
                out = rf"{text} \, {snippet}"
            else:
                at = factors[gap].place.start - node.place.start
                out = rf"{text[:at]}{snippet} \, {text[at:]}" if at else rf"{snippet} \, {text}"
            if gap and gap < len(factors) and operators[gap - 1] in (r"\cdot", r"\times"):
                ops = (*operators[: gap - 1], operators[gap - 1], "", *operators[gap:])
            yield Candidate((Swap(node, out, product_of(parts, ops, node)),), cause, cost, what)

    def belongs(self, spot: Spot, snippet: str) -> bool:
        """Whether the letters of a factor are in scope in a product, and no further in than they need to be."""
        own = letters_of(snippet) & (self.index_letters | set(self.bound_anywhere))
        if own - self.given - set(spot.bound) - set(self.strays):
            return False
        return not spot.bound or spot.depth > 0 or spot.bound[-1] in own or spot.bound in self.outermost

    @cached_property
    def bound_anywhere(self) -> tuple[str, ...]:
        return tuple(x for s in self.survey.spots for x in s.bound)

    @cached_property
    def outermost(self) -> frozenset[tuple[str, ...]]:
        """The scopes in which no product has a sum as a factor: where there is no place further out."""
        if any(not s.bound for s in self.survey.spots if s.depth == 0 and not isinstance(s.node, BigOperator)):
            return frozenset()
        shortest = min((s.bound for s in self.survey.spots if not isinstance(s.node, BigOperator)), key=len, default=())
        return frozenset({shortest})

    def elementwise(
        self, spot: Spot, snippet: str, new: Node, cause: str, cost: float, what: str
    ) -> Iterator[Candidate]:
        node, text = spot.node, self.survey.text(spot.node)
        sign = r"\circ" if r"\circ" in self.text and r"\odot" not in self.text else r"\odot"
        if isinstance(node, Sum):
            made = product_of((Group("(", ")", node, node.place), new), (sign,), node)
            yield Candidate((Swap(node, rf"\left({text}\right) {sign} {snippet}", made),), cause, cost, what)
        elif not isinstance(node, BigOperator):
            operators = node.operators if isinstance(node, Product) else ()
            if any(op == sign for op in operators):
                assert isinstance(node, Product)
                parts = (*node.factors, new)
                made = product_of(parts, (*operators, sign), node)
            else:
                made = product_of((node, new), (sign,), node)
            yield Candidate((Swap(node, f"{text} {sign} {snippet}", made),), cause, cost, what)
        if isinstance(node, Product):
            for start, stop in spot.units(self.survey):
                if stop - start > 1:
                    continue
                f = node.factors[start]
                if self.is_array(f) and not is_transposed(f):
                    own = self.survey.text(f)
                    made = Group("(", ")", product_of((f, new), (sign,), f), f.place)
                    yield Candidate((Swap(f, rf"\left({own} {sign} {snippet}\right)", made),), cause, cost + 0.05, what)


# ---------------------------------------------------------------- helpers


def instead(new: str, old: str) -> str:
    return f"{new} in place of {old}"


def within(node: Node, box: Node) -> bool:
    """Whether a node stands inside another, or is it."""
    return box.place.start <= node.place.start and node.place.end <= box.place.end


def overlaps(a: Node, b: Node) -> bool:
    return a.place.start < b.place.end and b.place.start < a.place.end


def letters_of(text: str) -> frozenset[str]:
    """The letters of an index, commands included."""
    return frozenset(m.lstrip("\\") for m in re.findall(r"\\[A-Za-z]+|[A-Za-z]'*", text))


def piece_letters(q: Quantity) -> frozenset[str]:
    return frozenset(x for p in (*q.lower, *q.upper) for x in p.letters)


def leaves_of(node: Node) -> Iterator[Node]:
    below = children(node)
    if not below:
        yield node
    for c in below:
        yield from leaves_of(c)


def script_text(survey: Survey, script: Script | None) -> str:
    if script is None or not script.items:
        return ""
    return survey.source.text[script.items[0].place.start : script.items[-1].place.end]


def names_transpose(node: Node) -> bool:
    return isinstance(node, Symbol) and node.name in TRANSPOSE


def is_transposed(node: Node) -> bool:
    return isinstance(node, Scripted) and node.sup is not None and any(map(names_transpose, node.sup.pieces))


def spliced(text: str, part: Node, whole: Node, new: str) -> str:
    """The text of a node with a part of it replaced."""
    a, b = part.place.start - whole.place.start, part.place.end - whole.place.start
    bare = text[:a].rstrip()[-1:] in ("_", "^")
    return text[:a] + (f"{{{new}}}" if bare and len(new) > 1 else new) + text[b:]


def script_nodes_of_argument(f: Applied) -> Iterator[Node]:
    inner = f.argument.body if isinstance(f.argument, Group) else f.argument
    yield from script_nodes(inner)


def sum_text(terms: Iterable[Term], texts: Iterable[str]) -> str:
    out = ""
    for t, text in zip(terms, texts, strict=True):
        out += ("" if t.sign == "+" and not out else f" {t.sign} " if out else t.sign) + text
    return out


def moved_sum(text: str, by: int) -> str | None:
    """An exponent one higher or lower: T-i for T-i+1."""
    m = re.fullmatch(r"(.*?)([+-]\s*\d+)?\s*", text, re.DOTALL)
    if m is None or not m[1].strip():
        return None
    if m[1].strip().isdigit():
        return str(int(m[1]) + by)
    number = int((m[2] or "0").replace(" ", "")) + by
    return m[1].strip() + (f"{number:+d}" if number else "")


def multiplied(lead: str, node: Node) -> Node | None:
    first = tree(lead)
    if first is None:
        return None
    rest = node.factors if isinstance(node, Product) and node.juxtaposed else (node,)
    return Product((first, *rest), ("",) * len(rest), node.place)


def replaced_unit(text: str, sign: str, old: str, new: str) -> str | None:
    """A quantity whose name has another number or letter in its scripts."""
    start = text.find(sign)
    if start < 0:
        return None
    at = text.find(old, start)
    return None if at < 0 else text[:at] + new + text[at + len(old) :]


def common(a: str, b: str) -> str:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return a[:n]
