r"""The corrections that a teacher would try: every likely slip undone, at every place where it makes sense.

Each has a cost, about the logarithm of how rare the slip is: an index or a factor of 2 costs 1, an unlikely one 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, permutations, product

from symbackprop.indices import Axis
from symbackprop.judge.edits import Candidate, Swap, product as product_of, tree
from symbackprop.judge.survey import Applied, Piece, Quantity, Spot, Survey, shifted
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.read.expression import Reader
from symbackprop.read.lexer import Source
from symbackprop.read.names import letter_of
from symbackprop.read.syntax import (
    BigOperator,
    Chain,
    Fraction,
    Group,
    Indicator,
    Negative,
    Node,
    Number,
    Product,
    Script,
    Scripted,
    Sum,
    Symbol,
    Term,
    children,
)
from symbackprop.render.latex import Latex
from symbackprop.symbols import Call, Expr, Num, Param, Partial, Ref, walk
from symbackprop.symbols import Sum as Sigma

TRANSPOSE = ("T", "top", "intercal")
FLIPPED = {"<": ">", ">": "<", r"\lt": r"\gt", r"\gt": r"\lt", r"\le": r"\ge", r"\ge": r"\le", r"\leq": r"\geq", r"\geq": r"\leq"}  # fmt: skip
MAX_PLACES = 40
"""Quantities in a row whose indices are varied."""


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

    def at(self, reader: Reader, lower: Iterable[str], upper: Iterable[str]) -> str:
        """Its text with indices."""
        put = dict(zip((*self.lower, *self.upper), (*lower, *upper), strict=False))
        node = tree(self.text)
        if node is None:
            return self.text
        survey = Survey(Source(self.text), reader.drafter)
        survey.side(node)
        spans: dict[tuple[int, int], str] = {}
        for q in survey.quantities:
            for p in (*q.lower, *q.upper):
                if p.text in put:
                    spans[p.start, p.end] = put[p.text]
                elif len(p.letters) == 1 and (x := min(p.letters)) in put:
                    by = p.text.replace(" ", "").removeprefix(x)
                    moved = shifted(put[x], int(by)) if re.fullmatch(r"[+-]\d+", by) else None
                    if moved is not None:
                        spans[p.start, p.end] = moved
        for f in survey.functions:
            for n in script_nodes(f.function):
                letter = self.text[n.place.start : n.place.end]
                if letter in put:
                    spans[n.place.start, n.place.end] = put[letter]
        out, at = [], 0
        for (a, b), new in sorted(spans.items()):
            bare = self.text[:a].rstrip()[-1:] in ("_", "^")
            out += [self.text[at:a], f"{{{new}}}" if bare and len(new) > 1 else new]
            at = b
        return "".join((*out, self.text[at:]))


def script_nodes(node: Node) -> Iterator[Node]:
    """The parts above a symbol, without brackets."""
    if isinstance(node, Scripted) and node.sup is not None:
        for p in node.sup.pieces:
            yield p.body if isinstance(p, Group) else p


@dataclass
class Corrections:
    """The corrections to one side of a row.

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

    def __post_init__(self) -> None:
        self.survey = Survey(self.reader.source, self.reader.drafter).side(self.node)
        self.printer = Latex(self.system, self.notation)

    # ------------------------------------------------------------ what is there

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
                array = next((q for q in self.quantities if q.family == family and q.open and not q.gradient), None)
                if array is not None:
                    names = {p: x for p, x in zip(array.upper, upper, strict=False)}
                    text = array.written({p: x for p, x in names.items()})
                    lower = lower[: len(array.lower)]
                else:
                    text = re.sub(r"_(?:\{[^{}]*\}|\w)", "", text, count=1) if lower and not look.sub_unit else text
                    lower = ()
            self.patterns[family] = Template(text, lower, upper, family, f.kind)
        return self.patterns[family]

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
                out.append(replace(t, text=text, kind="gradient"))
        return out

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

    # ------------------------------------------------------------ all of them

    def all(self) -> list[Candidate]:
        """Every correction, the likeliest first."""
        found: dict[tuple[tuple[int, int, str], ...], Candidate] = {}
        for c in self.each():
            if any(s.text == self.survey.text(s.old) for s in c.swaps):
                continue
            key = tuple(sorted((s.old.place.start, s.old.place.end, s.text) for s in c.swaps))
            c = replace(c, cost=c.cost + self.extra)
            if key not in found or found[key].cost > c.cost:
                found[key] = c
        return sorted(found.values(), key=lambda c: c.cost)

    def each(self) -> Iterator[Candidate]:
        yield from self.indices()
        yield from self.transposes()
        yield from self.layer_changes()
        yield from self.variables()
        if self.left:
            return
        yield from self.signs()
        yield from self.factors()
        yield from self.slopes()
        yield from self.summations()
        yield from self.exponents()
        yield from self.bounds()
        yield from self.too_many()
        yield from self.missing_factors()
        yield from self.missing_terms()
        yield from self.orders()

    # ------------------------------------------------------------ indices

    def change(self, q: Quantity, changes: dict[Piece, str]) -> Swap:
        return Swap(q.node, q.written(changes))

    def indices(self) -> Iterator[Candidate]:
        """One index for another, in one quantity, in all that a bracket or a derivative holds, or everywhere."""
        for q in self.quantities:
            for piece in q.lower:
                stray = bool(piece.letters & set(self.strays)) and not (piece.letters & set(q.bound))
                for letter in self.letters_at(q, piece):
                    cost = 0.7 if stray else 1.3 + 0.2 * (letter not in q.bound and letter not in self.given)
                    swap = self.change(q, {piece: letter})
                    yield Candidate((swap,), self.index_cause(stray), cost, instead(swap.text, q.text))
                if piece.kind == "recursion":
                    for by in (1, -1, 2, -2):
                        moved = shifted(piece.text, by)
                        if moved is not None:
                            swap = self.change(q, {piece: moved})
                            yield Candidate((swap,), "wrong_index", 1.2 + 0.1 * abs(by), instead(swap.text, q.text))
                yield from self.reversed(q, piece)
            yield from self.sibling_names(q)
        for box in (*self.survey.containers, self.node):
            inside = [q for q in self.quantities if within(q.node, box)]
            if len(inside) < 2 and box is self.node:
                continue
            wide = 0.5 if box is self.node else 0.15
            for text in dict.fromkeys(p.text for q in inside for p in q.lower):
                at = [(q, [p for p in q.lower if p.text == text]) for q in inside]
                at = [(q, ps) for q, ps in at if ps]
                if len(at) < 2:
                    continue
                q, (piece, *_) = at[0]
                stray = bool(piece.letters & set(self.strays)) and not (piece.letters & set(q.bound))
                for letter in self.letters_at(q, piece):
                    swaps = tuple(self.change(q, dict.fromkeys(ps, letter)) for q, ps in at)
                    cost = (0.7 if stray else 1.3) + wide
                    yield Candidate(swaps, self.index_cause(stray), cost, f"index {letter} in place of {text}")

    def index_cause(self, stray: bool) -> str:
        return "free_index_mismatch" if stray else "wrong_index"

    def reversed(self, q: Quantity, piece: Piece) -> Iterator[Candidate]:
        """A sum that runs in the other direction: T + t - i for i."""
        for op, _ in self.survey.operators:
            item = op.sub.items[0] if op.sub is not None and op.sub.items else None
            if not isinstance(item, Chain) or item.first is None or op.sup is None or not within(q.node, op.body):
                continue
            if len(item.relations) == 1 and self.survey.text(item.first) == piece.text:
                low, high = self.survey.text(item.relations[0].right), script_text(self.survey, op.sup)
                other = f"{high}-{piece.text}" if low == "0" else f"{high}+{low}-{piece.text}"
                swap = self.change(q, {piece: other})
                yield Candidate((swap,), "wrong_index", 1.8, instead(swap.text, q.text))

    def sibling_names(self, q: Quantity) -> Iterator[Candidate]:
        """Another quantity of the same letter: w_6 for w_5, W^{(2)} for W^{(1)}."""
        lexicon = self.reader.drafter.lexicon
        mine = lexicon.look(q.family)
        for other in lexicon.looks.get(mine.key, ()):
            if other.name == q.family or q.gradient or len(other.lower) != len(mine.lower):
                continue
            if other.sup_unit != mine.sup_unit and other.sub_unit == mine.sub_unit and mine.sup_unit:
                text = replaced_unit(q.text, "^", mine.sup_unit, other.sup_unit)
                cause, cost = "wrong_layer", 1.1
            elif other.sub_unit != mine.sub_unit and other.sup_unit == mine.sup_unit and mine.sub_unit:
                text = replaced_unit(q.text, "_", mine.sub_unit, other.sub_unit)
                near = abs(len(common(other.sub_unit, mine.sub_unit)) - max(len(other.sub_unit), len(mine.sub_unit)))
                cause, cost = "wrong_index", 1.2 + 0.1 * near
            else:
                continue
            if text is not None:
                yield Candidate((Swap(q.node, text),), cause, cost, instead(text, q.text))

    # ------------------------------------------------------------ transposes

    def transposes(self) -> Iterator[Candidate]:
        """The two indices of a weight, or a transpose of an array."""
        for q in self.quantities:
            if len(q.lower) >= 2:
                for a, b in combinations(q.lower, 2):
                    if a.text != b.text and a.kind == b.kind:
                        swap = self.change(q, {a: b.text, b: a.text})
                        weight = self.system.families[q.family].kind == "parameter"
                        yield Candidate(
                            (swap,), "transposed_weight", 0.9 if weight else 1.3, instead(swap.text, q.text)
                        )
        texts = list(dict.fromkeys(p.text for q in self.quantities for p in q.lower if p.kind != "recursion"))
        for a, b in combinations(texts, 2):
            swaps = []
            for q in self.quantities:
                put = {p: (b if p.text == a else a) for p in q.lower if p.text in (a, b)}
                if put:
                    swaps.append(self.change(q, put))
            if len(swaps) > 1 and not self.left:
                cause = "transposed_weight" if len(swaps) > 1 else "wrong_index"
                yield Candidate(tuple(swaps), cause, 1.5, f"{a} and {b} are exchanged")
        if self.arrays:
            yield from self.array_transposes()

    def array_transposes(self) -> Iterator[Candidate]:
        toggles: list[tuple[Node, Swap, bool]] = []
        for node, text in self.array_units():
            new = self.toggled(node, text)
            if new is not None:
                toggles.append((node, Swap(node, new), is_transposed(node)))
        for node, swap, had in toggles:
            text = self.survey.text(node)
            what = f"the transpose of {text} is one too many" if had else f"the transpose of {text} is missing"
            yield Candidate((swap,), "transposed_weight", 0.9, what)
        for (a, one, had), (b, two, has) in combinations(toggles, 2):
            if had != has and not overlaps(a, b):
                yield Candidate((one, two), "transposed_weight", 1.2, "the transpose stands at the other factor")

    def array_units(self) -> Iterator[tuple[Node, str]]:
        """Arrays as they stand in a product, with their transposes."""
        for spot in self.survey.spots:
            factors = spot.node.factors if isinstance(spot.node, Product) else (spot.node,)
            units = spot.units(self.survey)
            for start, stop in units:
                if stop - start == 1 and self.is_array(factors[start]):
                    yield factors[start], self.survey.text(factors[start])

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
    def transpose_sign(self) -> str:
        """How this row writes a transpose."""
        m = re.search(r"\^\s*\{?\s*(\\top|\\intercal|T\b)", self.text)
        return m[1] if m is not None else "T"

    # ------------------------------------------------------------ layers

    def layer_changes(self) -> Iterator[Candidate]:
        """A neighbouring layer, for one quantity, or for a function with its argument."""
        for q in self.quantities:
            for piece in q.upper:
                for layer, cost in self.other_layers(piece.text):
                    swap = self.change(q, {piece: layer})
                    yield Candidate((swap,), "wrong_layer", cost, instead(swap.text, q.text))
        for f in self.survey.functions:
            for n in script_nodes(f.function):
                text = self.survey.text(n)
                if text in self.layers:
                    for layer, cost in self.other_layers(text):
                        own = Swap(f.function, spliced(self.survey.text(f.function), n, f.function, layer))
                        what = f"the layer of {self.survey.text(f.function)} is {layer}"
                        yield Candidate((own,), "wrong_layer", cost, what)
                        inner = self.moved(f.argument, text, layer)
                        if inner:
                            yield Candidate((own, *inner), "wrong_layer", cost, what)
        for box in self.survey.containers:
            for text in dict.fromkeys(p.text for q in self.quantities if within(q.node, box) for p in q.upper):
                for layer, cost in self.other_layers(text):
                    swaps = self.moved(box, text, layer)
                    if len(swaps) > 1:
                        yield Candidate(swaps, "wrong_layer", cost + 0.2, f"layer {layer} in place of {text}")
        for by in (1, -1):
            swaps = tuple(
                self.change(q, put)
                for q in self.quantities
                if (put := {p: m for p in q.upper if (m := shifted(p.text, by)) is not None})
            )
            if len(swaps) > 1:
                yield Candidate(swaps, "wrong_layer", 1.6, f"every layer moved by {by:+d}")

    def moved(self, box: Node, text: str, layer: str) -> tuple[Swap, ...]:
        """Everything in a part of the row that is of one layer moved to another."""
        out = []
        for q in self.quantities:
            put = {p: layer for p in q.upper if p.text == text}
            if put and within(q.node, box):
                out.append(self.change(q, put))
        if box is not self.node and not isinstance(box, Group):
            return tuple(out)
        return tuple(out)

    def other_layers(self, text: str) -> list[tuple[str, float]]:
        out: dict[str, float] = {}
        for by, cost in ((-1, 1.0), (1, 1.0), (-2, 1.7), (2, 1.7)):
            moved = shifted(text, by)
            if moved is not None:
                out[moved] = cost + (0.2 if moved not in self.layers else 0.0)
        for layer in self.layers:
            out.setdefault(layer, 1.7)
        out.pop(text, None)
        return list(out.items())

    # ------------------------------------------------------------ one quantity for another

    def variables(self) -> Iterator[Candidate]:
        pairs = {frozenset((a, z)) for a, z, _ in self.activations}
        for q in self.quantities:
            lower, upper = [p.text for p in q.lower], [p.text for p in q.upper]
            whole_array = q.open and not q.lower
            for t in self.all_templates:
                if t.name == q.family and (t.kind == "gradient") == q.gradient:
                    continue
                if q.role and (t.kind in ("gradient", "cost") or self.system.families[t.name].kind == "cost"):
                    continue
                near = 0.0 if frozenset((t.name, q.family)) in pairs else 0.5
                uppers = [upper] if len(t.upper) == len(upper) else [[x] for x in self.layers] if t.upper else [[]]
                if len(t.lower) == len(lower) or (whole_array and not t.lower):
                    for above in uppers:
                        text = self.with_powers(q, t.at(self.reader, lower, above))
                        yield self.variable(q, t, text, (0.95 if q.role == "below" else 1.1) + near)
                        if near and len(t.upper) == len(upper) == 1:
                            for by in (1, -1):
                                if (layer := shifted(upper[0], by)) is not None:
                                    text = self.with_powers(q, t.at(self.reader, lower, [layer]))
                                    yield self.variable(q, t, text, 2.0)
                elif not self.left and not q.open and not q.role and len(t.lower) <= 2:
                    choices = [x for x in dict.fromkeys((*lower, *self.letters_here(q)))][:4]
                    for below in permutations(choices, len(t.lower)):
                        for above in self.near_layers(uppers, upper):
                            yield self.variable(
                                q, t, self.with_powers(q, t.at(self.reader, below, above)), 2.1 + 0.1 * len(lower)
                            )
            if not q.role and not self.left and not q.gradient:
                yield from self.gradient_for(q, lower, upper)

    def gradient_for(self, q: Quantity, lower: list[str], upper: list[str]) -> Iterator[Candidate]:
        """A quantity that stands for the gradient by it."""
        if not self.system.cost or self.gradient_letters:
            return
        text = rf"\frac{{\partial {self.printer(Ref(self.system.cost, ()))}}}{{\partial {q.text}}}"
        yield Candidate((Swap(q.node, text),), "wrong_variable", 2.3, instead(text, q.text))

    def near_layers(self, uppers: list[list[str]], upper: list[str]) -> list[list[str]]:
        if not upper:
            return uppers
        out = [list(upper)] if uppers and len(uppers[0]) == len(upper) else []
        for by in (1, -1):
            moved = shifted(upper[0], by)
            if moved is not None and uppers and len(uppers[0]) == 1:
                out.append([moved])
        return out or uppers

    def with_powers(self, q: Quantity, text: str) -> str:
        """The powers and transposes of one quantity put on another."""
        for p in q.powers:
            sign = self.survey.text(p)
            text = rf"{text}^{{{sign}}}" if "^" not in text else rf"\left({text}\right)^{{{sign}}}"
        return text

    def variable(self, q: Quantity, t: Template, text: str, cost: float) -> Candidate:
        cause = "wrong_variable"
        if q.role == "below" and any({t.name, q.family} == {a, z} for a, z, _ in self.activations):
            cause = "missing_activation_derivative"
        return Candidate((Swap(q.node, text),), cause, cost, instead(text, q.text))

    def letters_here(self, q: Quantity) -> list[str]:
        numbers = [p.text for p in self.row_letters if p.text.isdigit()]
        return [*q.bound, *sorted(self.given & self.index_letters), *dict.fromkeys(numbers)]

    @cached_property
    def all_templates(self) -> list[Template]:
        known = [t for name in self.system.families if (t := self.templates(name)) is not None]
        return [*self.gradient_letters, *known]

    # ------------------------------------------------------------ signs and factors

    def signs(self) -> Iterator[Candidate]:
        text = self.survey.text(self.node)
        what = "the sign of the right side"
        if isinstance(self.node, Negative):
            body = self.node.body
            yield Candidate((Swap(self.node, self.survey.text(body), body),), "sign", 0.9, what)
        elif not isinstance(self.node, Sum):
            new = Negative(self.node, self.node.place)
            yield Candidate((Swap(self.node, f"-{text}", new),), "sign", 0.9, what)
        else:
            group = Group(r"\left(", r"\right)", self.node, self.node.place)
            new = Negative(replace(group, open="(", close=")"), self.node.place)
            yield Candidate((Swap(self.node, rf"-\left({text}\right)", new),), "sign", 1.3, what)
        for s in self.survey.sums:
            yield from self.signs_of(s)
        for c in self.survey.conditions:
            if isinstance(c.condition, Chain) and len(c.condition.relations) == 1:
                yield from self.relation_of(c, c.condition)

    def signs_of(self, s: Sum) -> Iterator[Candidate]:
        """The sign of one term, the order of a difference."""
        texts = [self.survey.text(t.body) for t in s.terms]
        for n, t in enumerate(s.terms):
            if t.sign in ("+", "-"):
                terms = tuple(
                    replace(x, sign="-" if x.sign == "+" else "+") if m == n else x for m, x in enumerate(s.terms)
                )
                new = replace(s, terms=terms)
                yield Candidate((Swap(s, sum_text(terms, texts), new),), "sign", 1.0, f"the sign of {texts[n]}")
        if len(s.terms) == 2 and [t.sign for t in s.terms] == ["+", "-"]:
            terms = (Term("+", s.terms[1].body), Term("-", s.terms[0].body))
            new = replace(s, terms=terms)
            yield Candidate(
                (Swap(s, f"{texts[1]} - {texts[0]}", new),),
                "sign",
                0.9,
                f"{texts[1]} - {texts[0]} in place of {texts[0]} - {texts[1]}",
            )
        if len(s.terms) > 1:
            terms = tuple(replace(t, sign="-" if t.sign == "+" else "+") for t in s.terms)
            new = replace(s, terms=terms)
            yield Candidate((Swap(s, sum_text(terms, texts), new),), "sign", 1.2, "the sign of every term")

    def relation_of(self, c: Indicator, chain: Chain) -> Iterator[Candidate]:
        (relation,) = chain.relations
        sign = self.survey.source.text[relation.place.start : relation.place.end]
        whole = self.survey.text(c)
        start = (chain.first.place.end if chain.first is not None else chain.place.start) - c.place.start
        end = relation.right.place.start - c.place.start
        middle = whole[start:end]
        for old, new in FLIPPED.items():
            if re.search(rf"{re.escape(old)}(?![a-zA-Z])", middle):
                text = whole[:start] + middle.replace(old, new) + whole[end:]
                yield Candidate((Swap(c, text),), "sign", 1.1, f"{new} in place of {old}")
        if relation.sign == "!=":
            text = whole[:start] + " = " + whole[end:]
            yield Candidate((Swap(c, text),), "other", 1.2, f"= in place of {middle.strip()}")
        elif relation.sign == "=":
            text = whole[:start] + r" \ne " + whole[end:]
            yield Candidate((Swap(c, text),), "other", 1.3, r"\ne in place of =")
        del sign

    def factors(self) -> Iterator[Candidate]:
        """A number or a size too many, too few, or another."""
        for spot in self.survey.spots:
            node, text = spot.node, self.survey.text(spot.node)
            factors = node.factors if isinstance(node, Product) else (node,)
            cost = 0.9 if spot.whole else 1.1 if spot.depth == 0 else 1.4
            has_number = False
            for start, stop in spot.units(self.survey):
                f = factors[start]
                if stop - start > 1 or not self.is_constant(f):
                    continue
                has_number = True
                if isinstance(node, Product):
                    yield self.without(spot, start, stop, "factor", cost, f"a factor of {self.survey.text(f)} too many")
                    for other in ("2", r"\frac{1}{2}"):
                        yield Candidate((Swap(f, other),), "factor", cost + 0.4, instead(other, self.survey.text(f)))
            if isinstance(node, Number):
                continue
            number = self.survey.text(factors[0])[:1].isdigit()
            for new, more in ((2, 0.0), (0.5, 0.2)):
                lead = "2" if new == 2 else r"\frac{1}{2}"
                glue = r" \cdot " if number else " " if text[:1].isalpha() or new == 0.5 else ""
                yield Candidate(
                    (Swap(node, f"{lead}{glue}{text}", multiplied(lead, node)),),
                    "factor",
                    cost + more,
                    f"a factor of {lead} is missing",
                )
            for size in self.sizes:
                lead = rf"\frac{{1}}{{{size}}}"
                for one, more in ((lead, 0.4), (size, 0.8)):
                    yield Candidate(
                        (Swap(node, f"{one} {text}", multiplied(one, node)),),
                        "factor",
                        cost + more,
                        f"a factor of {one} is missing",
                    )
            del has_number
        for fraction in self.survey.fractions:
            if self.is_constant(fraction.under):
                over = self.survey.text(fraction.over)
                inner = over if not isinstance(fraction.over, Sum) else rf"\left({over}\right)"
                what = f"the denominator {self.survey.text(fraction.under)} is too many"
                yield Candidate((Swap(fraction, inner),), "factor", 1.1, what)
        for number in self.survey.numbers:
            for other in ("0", "1", "2"):
                if other != number.text:
                    yield Candidate((Swap(number, other),), "other", 1.9, instead(other, number.text))

    def is_constant(self, node: Node) -> bool:
        """Whether a factor is a number or a size: it has no quantity in it."""
        if any(within(q.node, node) for q in self.survey.quantities):
            return False
        leaves = list(leaves_of(node))
        return bool(leaves) and all(
            isinstance(x, Number) or (isinstance(x, Symbol) and x.name in self.size_names) for x in leaves
        )

    @cached_property
    def size_names(self) -> frozenset[str]:
        return self.system.constants | {self.notation.samples, "n"}

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
                if type(p).__name__ == "Size":
                    out.append(self.printer(p))
        if self.system.mean is not None:
            out.append(self.notation.samples)
        return list(dict.fromkeys(x for x in out if x and not x.isdigit()))[:2]

    # ------------------------------------------------------------ slopes

    def slopes(self) -> Iterator[Candidate]:
        """A slope in place of a function, and slopes that are missing."""
        lexicon = self.reader.drafter.lexicon
        for f in self.survey.functions:
            text = self.survey.text(f.function)
            base = f.function.base if isinstance(f.function, Scripted) else f.function
            whole, inner = f.whole, self.survey.text(f.argument)
            name = base.name if isinstance(base, Symbol) else ""
            known = name in lexicon.functions or name in ("tanh", "sigma")
            if f.primes == 0 and known and f.whole is not f.function:
                end = base.place.end - f.function.place.start
                new = f"{text[:end]}'{text[end:]}"
                yield Candidate(
                    (Swap(f.function, new),), "missing_activation_derivative", 0.8, f"{new} in place of {text}"
                )
            if f.primes and known:
                new = re.sub(r"'|\\prime\s*", "", text, count=1).replace("^{}", "")
                yield Candidate((Swap(f.function, new),), "extra_term", 1.3, f"{new} in place of {text}")
            if name == "max" and isinstance(f.argument, Group):
                m = re.fullmatch(r"(?s)(\\left)?\(\s*0\s*,(.*?)(\\right)?\)", inner)
                if m is not None:
                    new = rf"\mathbb{{1}}({m[2].strip()} > 0)"
                    yield Candidate(
                        (Swap(whole, new),), "missing_activation_derivative", 0.9, instead(new, self.survey.text(whole))
                    )
        for spot in self.survey.spots:
            at = 0.9 + 0.15 * spot.depth
            for rank, (snippet, cause, cost, elementwise) in enumerate(self.slope_texts):
                if rank > 60:
                    break
                yield from self.inserted(spot, snippet, cause, at + cost, f"{snippet} is missing", elementwise)

    @cached_property
    def slope_texts(self) -> list[tuple[str, str, float, bool]]:
        """Slopes of the activations in play: text, cause, cost, and whether it is an array of slopes."""
        cause = "missing_activation_derivative"
        out: dict[str, tuple[str, str, float, bool]] = {}

        def put(text: str, cost: float, elementwise: bool = False, why: str = cause) -> None:
            if text not in out or out[text][2] > cost:
                out[text] = (text, why, cost, elementwise)

        for f in self.survey.functions:
            text = self.survey.text(f.whole)
            if (
                f.primes
                and isinstance(f.whole, Product)
                and self.survey.drafter.lexicon.is_diagonal(self.sighting(f.function))
            ):
                for layer in self.all_layers:
                    for n in script_nodes_of_argument(f):
                        put(spliced(text, n, f.whole, layer), 0.1)
        derivatives = r"\partial" in self.survey.text(self.node)
        for rank, (lower, upper) in enumerate(self.places_in_play):
            far = 0.0 if rank < 3 else 0.25
            for a, z, call in self.activations:
                ta, tz = self.templates(a), self.templates(z)
                if ta is None or tz is None or len(ta.upper) != len(upper) or len(ta.lower) != len(lower):
                    continue
                own = self.own_letters(a)
                if own is not None and lower and lower[0] not in own:
                    far += 0.2
                one, other = ta.at(self.reader, lower, upper), tz.at(self.reader, lower, upper)
                array = self.arrays and not lower and bool(self.system.families[a].axes)
                array = array and bool(self.reader.drafter.lexicon.look(a).lower)
                if call is not None:
                    name = self.slope_name(call, ta, upper)
                    if name is not None:
                        put(rf"{name}({other})", far, array)
                if derivatives and not array:
                    put(rf"\frac{{\partial {one}}}{{\partial {other}}}", far + 0.05)
                if call is None or self.system.function(call.function) is not None:
                    plain = not array
                    if plain:
                        put(rf"{one}(1-{one})", far + 0.1)
                        put(rf"(1-{one})", far + 0.15)
                        put(rf"(1-{one}^2)" if "^" not in one else rf"(1-({one})^2)", far + 0.15)
                        put(rf"\mathbb{{1}}({other} > 0)", far + 0.3)
        return sorted(out.values(), key=lambda x: x[2])

    def own_letters(self, family: str) -> frozenset[str] | None:
        """The letters that stand below a family wherever models tell hidden from output units by letter."""
        return None

    def sighting(self, node: Node):  # type: ignore[no-untyped-def]
        return self.reader.drafter.sighting(node, {}, applied=True)  # type: ignore[arg-type]

    @cached_property
    def all_layers(self) -> list[str]:
        near = [m for x in self.layers for by in (0, -1, 1) if (m := shifted(x, by)) is not None]
        return list(dict.fromkeys(near))

    def slope_name(self, call: Call, t: Template, upper: tuple[str, ...]) -> str | None:
        """The slope of a function as this row or the model writes it, at a layer."""
        for f in self.survey.functions:
            lexicon = self.reader.drafter.lexicon
            s = self.sighting(f.function)
            if lexicon.functions.get(s.key) == call.function and isinstance(f.function, Symbol | Scripted):
                text = self.survey.text(f.function)
                at = list(script_nodes(f.function))
                if at and upper:
                    text = spliced(text, at[-1], f.function, upper[0])
                if f.primes:
                    return text
                base = f.function.base if isinstance(f.function, Scripted) else f.function
                end = base.place.end - f.function.place.start
                return f"{text[:end]}'{text[end:]}"
        formal = self.system.families[t.name].indices
        slope = self.printer(replace(call, primes=1, arguments=(Param("Q"),)))
        text = slope.partition(r"\left(")[0].partition("(")[0]
        letters = [x for x in t.upper if x in formal]
        if call.at is not None and upper and letters:
            for shown in (str(call.at), *letters):
                if f"({shown})" in text or f"{{{shown}}}" in text or f"^{shown}" in text:
                    text = re.sub(rf"(?<![A-Za-z\\]){re.escape(shown)}(?![A-Za-z])", upper[0], text)
                    break
        return text or None

    def inserted(
        self, spot: Spot, snippet: str, cause: str, cost: float, what: str, elementwise: bool = False
    ) -> Iterator[Candidate]:
        """A factor put into a product; between arrays, at every place."""
        node, text = spot.node, self.survey.text(spot.node)
        new = tree(snippet)
        if new is None:
            return
        if elementwise:
            yield from self.elementwise(spot, snippet, new, cause, cost, what)
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

    def elementwise(
        self, spot: Spot, snippet: str, new: Node, cause: str, cost: float, what: str
    ) -> Iterator[Candidate]:
        node, text = spot.node, self.survey.text(spot.node)
        sign = r"\circ" if r"\circ" in self.text and r"\odot" not in self.text else r"\odot"
        if not isinstance(node, BigOperator):
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

    # ------------------------------------------------------------ sums

    def summations(self) -> Iterator[Candidate]:
        """A sum over a letter that is free here alone, or over an index that was kept fixed; a sum too many."""
        for letter in self.strays:
            for head in self.heads(letter):
                for spot in self.survey.spots:
                    mine = [q for q in self.quantities if within(q.node, spot.node) and letter in piece_letters(q)]
                    if not mine:
                        continue
                    everything = all(within(q.node, spot.node) for q in self.quantities if letter in piece_letters(q))
                    cost = 0.4 + 0.15 * spot.depth + (0.0 if everything else 0.6)
                    yield self.summed(spot.node, head, letter, (), "missing_sum", cost)
                if len(self.survey.sums) and isinstance(self.node, Sum):
                    text = self.survey.text(self.node)
                    yield Candidate(
                        (Swap(self.node, rf"{head} \left({text}\right)"),),
                        "missing_sum",
                        0.7,
                        f"the sum over {letter} is missing",
                    )
        for op, bound in self.survey.operators:
            yield from self.without_sum(op, bound)
        if not self.strays:
            yield from self.fixed_indices()

    def summed(self, node: Node, head: str, letter: str, inner: tuple[Swap, ...], cause: str, cost: float) -> Candidate:
        what = f"the sum over {letter} is missing"
        if inner:
            offset = node.place.start
            text = self.survey.text(node)
            for s in sorted(inner, key=lambda s: -s.old.place.start):
                a, b = s.old.place.start - offset, s.old.place.end - offset
                text = text[:a] + s.text + text[b:]
            return Candidate((Swap(node, f"{head} {text}"),), cause, cost, what)
        shell = tree(f"{head} Q")
        new = replace(shell, body=node) if isinstance(shell, BigOperator) else None
        return Candidate((Swap(node, f"{head} {self.survey.text(node)}", new),), cause, cost, what)

    def heads(self, letter: str) -> list[str]:
        """How a sum over a letter is written: as in the model, with its exceptions too."""
        found: list[str] = []
        for axis in self.axes.get(letter, ()):
            found.append(self.head(Sigma(letter, axis, Num(7))))  # type: ignore[arg-type]
        shell = self.system.constants
        for e in self.system.equations:
            for _, p in walk(e.rhs):
                if isinstance(p, Sigma):
                    same = p.axis in self.axes.get(letter, ())
                    if same or (
                        p.axis.at is None and p.axis.kind == "node" and letter in (p.index, p.index.rstrip("'"))
                    ):
                        found.append(self.head(p).replace(p.index, letter) if p.index != letter else self.head(p))
                    if p.guard and p.index == letter:
                        found.append(self.head(p))
        for f in self.system.families.values():
            for x, axis in zip(f.indices, f.axes, strict=True):
                if axis.kind == "recursion" and x == letter:
                    found.append(rf"\sum_{{{letter}={axis.first}}}^{{{axis.last}}}")
        del shell
        found.append(rf"\sum_{letter}" if len(letter) == 1 else rf"\sum_{{{letter}}}")
        return [h for h in dict.fromkeys(found) if h and tree(f"{h} Q") is not None][:3]

    def head(self, s: Sigma) -> str:
        try:
            text = self.printer(Sigma(s.index, s.axis, Param("Q"), s.guard))
        except (KeyError, ValueError, IndexError, AttributeError):
            return ""
        return text.rpartition("Q")[0].strip().removesuffix(r"\left(").strip() if "Q" in text else ""

    def fixed_indices(self) -> Iterator[Candidate]:
        """An index that is repeated and fixed, where a sum over another letter was meant."""
        for spot in self.survey.spots:
            mine = [q for q in self.quantities if within(q.node, spot.node)]
            for text in dict.fromkeys(p.text for q in mine for p in q.lower):
                at = [(q, p) for q in mine for p in q.lower if p.text == text]
                if not 2 <= len(at) <= 10 and not (len(at) == 1 and text not in self.given):
                    continue
                if any(text in q.bound for q, _ in at):
                    continue
                letter = self.fresh(text)
                head = rf"\sum_{letter}"
                subsets = [[x for x in at if x is not kept] for kept in at] + [[x] for x in at] + [at]
                pairs = [[x for x in at if x[0] is not q] for q in dict.fromkeys(q for q, _ in at)]
                seen: set[tuple[int, ...]] = set()
                for chosen in (*subsets, *pairs):
                    key = tuple(p.start for _, p in chosen)
                    if not chosen or key in seen:
                        continue
                    seen.add(key)
                    by: dict[int, tuple[Quantity, dict[Piece, str]]] = {}
                    for q, p in chosen:
                        by.setdefault(id(q), (q, {}))[1][p] = letter
                    swaps = tuple(self.change(q, put) for q, put in by.values())
                    narrow = self.narrowest(spot, [q.node for q, _ in by.values()])
                    yield self.summed(spot.node, head, letter, swaps, "missing_sum", 1.4 + 0.15 * spot.depth)
                    del narrow
                if len(at) >= 1 and isinstance(spot.node, Product):
                    for start, stop in spot.units(self.survey):
                        unit = spot.node.factors[start]
                        inside = [(q, p) for q, p in at if within(q.node, unit)]
                        if inside and stop - start == 1 and len(inside) < len(at):
                            put = {id(q): (q, {p: letter}) for q, p in inside}
                            swaps = tuple(self.change(q, c) for q, c in put.values())
                            if start == len(spot.node.factors) - 1:
                                yield self.summed(unit, head, letter, swaps, "missing_sum", 1.5 + 0.15 * spot.depth)

    def narrowest(self, spot: Spot, nodes: list[Node]) -> Node:
        return spot.node

    def fresh(self, text: str) -> str:
        """A letter that the row does not use."""
        used = {x for p in self.row_letters for x in p.letters} | self.given | self.system.constants
        used |= {letter for q in self.quantities for letter in q.bound}
        own = [
            x for f in self.system.families.values() for x, a in zip(f.indices, f.axes, strict=True) if a.kind == "node"
        ]
        return next(
            (
                x
                for x in (*own, *"jkipqrsmuv")
                if len(x) == 1 and x not in used and x not in self.reader.drafter.lexicon.looks
            ),
            "r",
        )

    def without_sum(self, op: BigOperator, bound: tuple[str, ...]) -> Iterator[Candidate]:
        """A sum too many, its index that of the left side."""
        if op.name != "sum" or op.sub is None:
            return
        letter = next(
            (
                x
                for x in (
                    letter_of(i.first) if isinstance(i, Chain) and i.first is not None else letter_of(i)
                    for i in op.sub.items
                )
                if x
            ),
            None,
        )
        body = self.survey.text(op.body)
        if letter is None:
            return
        inside = [q for q in self.quantities if within(q.node, op.body)]
        what = f"the sum over {letter} is too many"
        for other in (
            None,
            *sorted(self.given & self.index_letters),
            *dict.fromkeys(p.text for p in self.row_letters if p.text.isdigit()),
        ):
            text = body
            if other is not None:
                swaps = [
                    self.change(q, put) for q in inside if (put := {p: other for p in q.lower if p.text == letter})
                ]
                for s in sorted(swaps, key=lambda s: -s.old.place.start):
                    a, b = s.old.place.start - op.body.place.start, s.old.place.end - op.body.place.start
                    text = text[:a] + s.text + text[b:]
            new = op.body if other is None else None
            yield Candidate((Swap(op, text, new),), "extra_term", 1.4 + 0.3 * (other is None), what)

    def bounds(self) -> Iterator[Candidate]:
        """A sum that ends or begins one too early or too late."""
        for op, _ in self.survey.operators:
            if op.sup is not None and len(op.sup.items) == 1:
                node = op.sup.items[0]
                text = self.survey.text(node)
                for by in (1, -1, 2):
                    moved = shifted(text, by)
                    if moved is not None:
                        cause = "dropped_term" if by > 0 else "extra_term"
                        yield Candidate((Swap(node, moved),), cause, 1.1 + 0.1 * abs(by), f"the sum ends at {moved}")
                for size in sorted(self.system.constants & set(self.sizes)):
                    if text != size:
                        yield Candidate((Swap(node, size),), "dropped_term", 1.6, f"the sum ends at {size}")
            item = op.sub.items[0] if op.sub is not None and op.sub.items else None
            if isinstance(item, Chain) and len(item.relations) == 1 and item.relations[0].sign == "=":
                node = item.relations[0].right
                for by in (-1, 1):
                    moved = shifted(self.survey.text(node), by)
                    if moved is not None:
                        cause = "dropped_term" if by < 0 else "extra_term"
                        yield Candidate((Swap(node, moved),), cause, 1.3, f"the sum begins at {moved}")

    # ------------------------------------------------------------ powers

    def exponents(self) -> Iterator[Candidate]:
        """A power too many or too few."""
        for p in self.survey.powers:
            if p.sup is None or p.sub is not None or p.primes or any(names_transpose(x) for x in p.sup.pieces):
                continue
            power = script_text(self.survey, p.sup)
            base = self.survey.text(p.base)
            difference = isinstance(p.base, Group) and isinstance(p.base.body, Sum)
            cause = "loss_derivative" if difference or isinstance(p.base, Group) and p.base.kind == "norm" else "other"
            if power.strip() == "2":
                yield Candidate((Swap(p, base, p.base),), cause, 1.0, f"the square of {base} is too many")
            elif (node := p.sup.items[0]) is not None and len(p.sup.items) == 1:
                for by in (1, -1):
                    new = moved_sum(self.survey.text(node), by)
                    if new is not None:
                        yield Candidate((Swap(node, new),), "other", 1.5, f"the power {new} in place of {power}")
        for q in self.quantities:
            two = [p for p in q.powers if isinstance(p, Number)]
            if two and isinstance(q.node, Scripted):
                text = self.survey.text(q.node)
                a, b = two[0].place.start - q.start, two[0].place.end - q.start
                bare = (
                    re.sub(r"\^\s*\{?\s*$", "", text[:a]) + re.sub(r"^\s*\}", "", text[b:])
                    if text[:a].rstrip()[-1:] in "^{"
                    else None
                )
                if bare is not None:
                    yield Candidate((Swap(q.node, bare),), "other", 1.2, f"the square of {bare} is too many")
        for s in self.survey.sums:
            for t in s.terms:
                q = next((q for q in self.quantities if q.node is t.body), None)
                if q is not None and not q.powers:
                    text = rf"{q.text}^2" if "^" not in q.text else rf"\left({q.text}\right)^2"
                    slope = any(q.family == a for a, _, _ in self.activations) and any(
                        isinstance(x.body, Number) for x in s.terms
                    )
                    cause = "missing_activation_derivative" if slope else "other"
                    yield Candidate((Swap(q.node, text),), cause, 1.3, f"the square of {q.text} is missing")
        for g in self.survey.containers:
            if isinstance(g, Group) and isinstance(g.body, Sum) and not any(p.base is g for p in self.survey.powers):
                text = self.survey.text(g)
                yield Candidate((Swap(g, f"{text}^2"),), "other", 1.5, f"the square of {text} is missing")

    # ------------------------------------------------------------ too many, too few

    def without(self, spot: Spot, start: int, stop: int, cause: str, cost: float, what: str) -> Candidate:
        """A product without some of its factors."""
        node = spot.node
        assert isinstance(node, Product)
        factors = (*node.factors[:start], *node.factors[stop:])
        operators = (*node.operators[:start], *node.operators[stop:])[: len(factors) - 1]
        if start:
            operators = (*node.operators[: start - 1], *node.operators[stop - 1 :])
        text, at = self.survey.text(node), node.place.start
        if stop < len(node.factors):
            new = text[: node.factors[start].place.start - at] + text[node.factors[stop].place.start - at :]
        else:
            new = text[: node.factors[start - 1].place.end - at]
        return Candidate((Swap(node, new, product_of(factors, operators, node)),), cause, cost, what)

    def too_many(self) -> Iterator[Candidate]:
        """A factor or a term too many."""
        for spot in self.survey.spots:
            if isinstance(spot.node, Product):
                slopes = {id(f.function) for f in self.survey.functions if f.primes}
                for start, stop in spot.units(self.survey):
                    if len(spot.units(self.survey)) < 2:
                        continue
                    f = spot.node.factors[start]
                    part = self.survey.source.text[f.place.start : spot.node.factors[stop - 1].place.end]
                    cost = 1.0 if id(f) in slopes else 1.3
                    yield self.without(spot, start, stop, "extra_term", cost + 0.1 * spot.depth, f"{part} is too many")
                    if stop < len(spot.node.factors):
                        units = spot.units(self.survey)
                        k = units.index((start, stop))
                        if k + 1 < len(units) and len(units) > 2:
                            a, b = units[k], units[k + 1]
                            end = spot.node.factors[b[1] - 1].place.end
                            part = self.survey.source.text[f.place.start : end]
                            yield self.without(spot, a[0], b[1], "extra_term", 1.7, f"{part} is too many")
        for s in self.survey.sums:
            texts = [self.survey.text(t.body) for t in s.terms]
            for n, text in enumerate(texts):
                terms = (*s.terms[:n], *s.terms[n + 1 :])
                left = (*texts[:n], *texts[n + 1 :])
                if len(terms) == 1 and terms[0].sign == "+":
                    swap = Swap(s, left[0], terms[0].body)
                elif terms:
                    swap = Swap(s, sum_text(terms, left), replace(s, terms=terms))
                else:
                    continue
                yield Candidate((swap,), "extra_term", 1.6, f"{text} is too many")
        for f in self.survey.fractions:
            yield Candidate(
                (Swap(f, self.survey.text(f.over)),), "extra_term", 1.8, f"{self.survey.text(f.under)} is too many"
            )

    def missing_factors(self) -> Iterator[Candidate]:
        """A quantity that a product lacks, with the letters in scope."""
        for spot in self.survey.spots:
            inside = [q for q in self.quantities if within(q.node, spot.node)]
            here = dict.fromkeys(
                (*spot.bound, *sorted(self.given & self.index_letters), *(p.text for p in self.row_letters))
            )
            letters = [x for x in here if letters_of(x) <= self.given | set(spot.bound)][:5]
            near = dict.fromkeys(p.text for q in inside for p in q.upper)
            layers = [m for x in near for by in (0, 1, -1) if (m := shifted(x, by)) is not None] or list(self.layers)
            layers = list(dict.fromkeys(layers))[:5]
            for t in self.all_templates:
                if t.kind == "cost" or (t.kind == "gradient" and self.arrays):
                    continue
                kind = 1.5 if t.kind == "parameter" else 1.7
                for below in permutations(letters, len(t.lower)) if t.lower else ((),):
                    for above in ((x,) for x in layers) if t.upper else ((),):
                        if len(t.upper) > 1:
                            continue
                        snippet = t.at(self.reader, below, above)
                        yield from self.inserted(
                            spot, snippet, "dropped_term", kind + 0.15 * spot.depth, f"{snippet} is missing"
                        )
                        if self.arrays and t.kind == "parameter" and not t.lower:
                            turned = self.toggled(tree(snippet) or spot.node, snippet) if tree(snippet) else None
                            if turned is not None:
                                yield from self.inserted(
                                    spot, turned, "dropped_term", kind + 0.15 * spot.depth, f"{turned} is missing"
                                )

    def missing_terms(self) -> Iterator[Candidate]:
        """A term that a sum lacks: one of the line before, a copy of one that is there, a bias, a penalty, a path."""
        text = self.survey.text(self.node)
        for term in dict.fromkeys(self.possible_terms()):
            for sign, more in (("+", 0.0), ("-", 0.2)):
                node = tree(term)
                if node is None:
                    continue
                terms = self.node.terms if isinstance(self.node, Sum) else (Term("+", self.node),)
                if isinstance(self.node, Negative):
                    terms = (Term("-", self.node.body),)
                made = Sum((*terms, Term(sign, node)), self.node.place)
                yield Candidate(
                    (Swap(self.node, f"{text} {sign} {term}", made),),
                    "dropped_term",
                    1.8 + more,
                    f"{sign} {term} is missing",
                )

    def possible_terms(self) -> Iterator[str]:
        yield from self.terms
        own = self.node.terms if isinstance(self.node, Sum) else (Term("+", self.node),)
        lexicon = self.reader.drafter.lexicon
        for t in own[:4]:
            body = self.survey.text(t.body)
            inside = [q for q in self.quantities if within(q.node, t.body)]
            for text in dict.fromkeys(p.text for q in inside for p in q.lower if p.text.isdigit()):
                for by in (1, -1):
                    new = shifted(text, by)
                    if new is not None:
                        yield self.spliced_all(
                            t.body, body, [(q, {p: new for p in q.lower if p.text == text}) for q in inside]
                        )
            units = {lexicon.look(q.family).sub_unit for q in inside} - {""}
            for unit in sorted(units):
                siblings = {
                    x.sub_unit
                    for q in inside
                    for x in lexicon.looks.get(q.key, ())
                    if lexicon.look(q.family).sub_unit == unit
                }
                for other in sorted(siblings - {unit, ""}):
                    yield (
                        body.replace(f"_{{{unit}}}", f"_{{{other}}}")
                        if f"_{{{unit}}}" in body
                        else body.replace(f"_{unit}", f"_{other}")
                    )
        layers = self.all_layers[:4]
        letters = [
            x
            for x in (
                *sorted(self.given & self.index_letters),
                *dict.fromkeys(p.text for p in self.row_letters if p.text.isdigit()),
            )
        ][:3]
        biases = [t for t in self.all_templates if t.kind == "parameter" and len(t.lower) <= 2]
        for t in biases:
            for below in permutations(letters, len(t.lower)) if t.lower else ((),):
                for above in ((x,) for x in layers) if t.upper else ((),):
                    if len(t.upper) <= 1:
                        weight = t.at(self.reader, below, above)
                        yield weight
                        for s in self.scalars:
                            yield f"{s} {weight}"
                            yield f"2 {s} {weight}"
        if self.arrays:
            yield from self.paths()

    def spliced_all(self, node: Node, body: str, changes: list[tuple[Quantity, dict[Piece, str]]]) -> str:
        for q, put in sorted(changes, key=lambda c: -c[0].start):
            if put:
                a, b = q.start - node.place.start, q.node.place.end - node.place.start
                body = body[:a] + q.written(put) + body[b:]
        return body

    @cached_property
    def scalars(self) -> list[str]:
        """Data without an index: the strength of a penalty."""
        return [
            self.printer(f.pattern)
            for f in self.system.families.values()
            if not f.axes and f.kind in ("input", "parameter")
        ][:3]

    def paths(self) -> Iterator[str]:
        r"""Terms of the form W^\top \frac{\partial L}{\partial v}: what comes back along another path."""
        cost = next((self.survey.text(d.over)[len(r"\partial") :].strip() for d in self.derivatives), "")
        if not cost:
            return
        sign = self.transpose_sign
        matrices = [
            t
            for t in self.all_templates
            if t.kind == "parameter" and len(self.reader.drafter.lexicon.look(t.name).lower) == 2
        ]
        times = dict.fromkeys(p.text for q in self.quantities for p in (*q.lower, *q.upper) if p.kind == "recursion")
        times.update(dict.fromkeys(m for x in list(times) for by in (0, -1, 1) if (m := shifted(x, by)) is not None))
        for w in matrices:
            if w.upper:
                continue
            for v in self.all_templates:
                family = self.system.families[v.name]
                if v.kind != "derived" or not family.axes:
                    continue
                recursion = sum(a.kind == "recursion" for a in family.axes)
                for t in list(times)[:4] if recursion == 1 else [None]:
                    below = self.array_text(v, t)
                    if below is not None:
                        weight = w.text if "^" not in w.text else f"{{{w.text}}}"
                        yield rf"{weight}^{sign} \frac{{\partial {cost}}}{{\partial {below}}}"

    def array_text(self, t: Template, at: str | None) -> str | None:
        found = next((q for q in self.quantities if q.family == t.name and not q.gradient), None)
        if found is not None:
            put = {p: at for p in (*found.lower, *found.upper) if p.kind == "recursion" and at is not None}
            return found.written(put)
        if at is None:
            return t.text
        look = self.reader.drafter.lexicon.look(t.name)
        family = self.system.families[t.name]
        below = any(family.axes[n].kind == "recursion" for n in look.lower)
        letter = self.reader.drafter.lexicon.latex(t.name)
        return f"{letter}_{{{at}}}" if below else f"{letter}^{{({at})}}"

    @cached_property
    def derivatives(self) -> list[Fraction]:
        return [n for n in self.survey.containers if isinstance(n, Fraction)]

    # ------------------------------------------------------------ order

    def orders(self) -> Iterator[Candidate]:
        """Factors of a product of arrays in another order; an outer product for an elementwise one."""
        if not self.arrays:
            return
        for spot in self.survey.spots:
            node = spot.node
            if not isinstance(node, Product):
                continue
            units = spot.units(self.survey)
            text, at = self.survey.text(node), node.place.start
            for k in range(len(units) - 1):
                (a, b), (c, d) = units[k], units[k + 1]
                one = text[node.factors[a].place.start - at : node.factors[b - 1].place.end - at]
                two = text[node.factors[c].place.start - at : node.factors[d - 1].place.end - at]
                lead, tail = text[: node.factors[a].place.start - at], text[node.factors[d - 1].place.end - at :]
                if node.operators[b - 1] in ("", r"\cdot"):
                    yield Candidate(
                        (Swap(node, f"{lead}{two} {one}{tail}"),), "other", 1.15, f"{two} stands before {one}"
                    )
                    first, second = node.factors[a], node.factors[c]
                    if d - c == 1 and b - a == 1 and is_transposed(second) and not is_transposed(first):
                        inner = self.toggled(second, two)
                        turned = self.toggled(first, one)
                        if inner is not None and turned is not None:
                            yield Candidate(
                                (Swap(node, f"{lead}{inner} {turned}{tail}"),),
                                "transposed_weight",
                                1.05,
                                "the outer product is the other way round",
                            )
                elif node.operators[b - 1] in (r"\odot", r"\circ") and b - a == 1 and d - c == 1:
                    for x, y, z in ((one, node.factors[c], two), (two, node.factors[a], one)):
                        turned = self.toggled(y, z)
                        if turned is not None:
                            yield Candidate(
                                (Swap(node, f"{lead}{x} {turned}{tail}"),),
                                "other",
                                1.2,
                                "an outer product in place of the elementwise one",
                            )


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


__all__ = ["Corrections", "Expr", "Partial", "product"]
