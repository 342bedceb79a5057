r"""An index, a layer, a transpose or a quantity that stands where another was meant."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from symbackprop.judge.edits import Candidate, Swap
from symbackprop.judge.side import (
    Side,
    Template,
    common,
    instead,
    is_transposed,
    names_transpose,
    overlaps,
    replaced_unit,
    script_nodes,
    script_text,
    spliced,
    within,
)
from symbackprop.judge.survey import Piece, Quantity, shifted
from symbackprop.read.syntax import (
    Chain,
    Node,
    Product,
    Scripted,
)
from symbackprop.symbols import Ref


class Places(Side):
    """Corrections of what stands where."""

    def indices(self) -> Iterator[Candidate]:
        """One index for another, in one quantity, in all that a bracket or a derivative holds, or everywhere."""
        for q in self.quantities:
            for piece in q.lower:
                stray = self.is_stray(q, piece)
                for letter in self.letters_at(q, piece):
                    if self.left and letter.isalpha() and letter in [p.text for p in q.lower]:
                        continue  # nobody means the derivative by w_jj alone
                    cost = 0.7 if stray else 1.2 + 0.2 * (letter not in q.bound and letter not in self.given)
                    cost += self.strain(q, {piece: letter})
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
                stray = self.is_stray(q, piece)
                for letter in self.letters_at(q, piece):
                    swaps = tuple(self.change(q, dict.fromkeys(ps, letter)) for q, ps in at)
                    cost = (0.7 if stray else 1.3) + wide
                    yield Candidate(swaps, self.index_cause(stray), cost, f"index {letter} in place of {text}")

    def is_stray(self, q: Quantity, piece: Piece) -> bool:
        """Whether an index of a right side stands free there and not on the left."""
        return not self.left and bool(piece.letters & set(self.strays)) and not piece.letters & set(q.bound)

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
            if other.name == self.system.cost != q.family and self.system.families[q.family].kind == "cost":
                text = self.printer(Ref(other.name, ()))  # the cost of one sample, C_0, for that of sample j
                yield Candidate((Swap(q.node, text),), "wrong_index", 1.2, instead(text, q.text))
            if other.name == q.family or q.gradient or len(other.lower) != len(mine.lower):
                continue
            if other.sup_unit != mine.sup_unit and other.sub_unit == mine.sub_unit and mine.sup_unit:
                unit = replaced_unit(q.text, "^", mine.sup_unit, other.sup_unit)
                cause, cost = "wrong_layer", 1.1
            elif other.sub_unit != mine.sub_unit and other.sup_unit == mine.sup_unit and mine.sub_unit:
                unit = replaced_unit(q.text, "_", mine.sub_unit, other.sub_unit)
                near = abs(len(common(other.sub_unit, mine.sub_unit)) - max(len(other.sub_unit), len(mine.sub_unit)))
                cause, cost = "wrong_index", 1.2 + 0.1 * near
            else:
                continue
            if unit is not None:
                yield Candidate((Swap(q.node, unit),), cause, cost, instead(unit, q.text))

    def transposes(self) -> Iterator[Candidate]:
        """The two indices of a weight, or a transpose of an array."""
        for q in self.quantities:
            if len(q.lower) >= 2:
                for a, b in combinations(q.lower, 2):
                    if a.text != b.text and a.kind == b.kind:
                        put = {a: b.text, b: a.text}
                        swap = self.change(q, put)
                        cost = 0.9 if self.system.families[q.family].kind == "parameter" else 1.3
                        cost += self.strain(q, put)
                        yield Candidate((swap,), "transposed_weight", cost, instead(swap.text, q.text))
        texts = list(dict.fromkeys(p.text for q in self.quantities for p in q.lower if p.kind != "recursion"))
        for x, y in combinations(texts, 2):
            swaps = []
            for q in self.quantities:
                turned = {p: (y if p.text == x else x) for p in q.lower if p.text in (x, y)}
                if turned:
                    swaps.append(self.change(q, turned))
            if len(swaps) > 1 and not self.left:
                yield Candidate(tuple(swaps), "transposed_weight", 1.5, f"{x} and {y} are exchanged")
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

    def layer_changes(self) -> Iterator[Candidate]:
        """A neighbouring layer, for one quantity, or for a function with its argument."""
        for q in self.quantities:
            for piece in q.upper:
                for layer, cost in self.other_layers(piece.text):
                    swap = self.change(q, {piece: layer})
                    cost += self.strain(q, {piece: layer})
                    yield Candidate((swap,), "wrong_layer", cost, instead(swap.text, q.text))
        for f in self.survey.functions:
            for n in script_nodes(f.function):
                text = self.survey.text(n)
                if text in self.layers or self.is_layered(f.function):
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

    def is_layered(self, function: Node) -> bool:
        """Whether a function has its layer above it."""
        lexicon = self.reader.drafter.lexicon
        return lexicon.layered.get(lexicon.functions.get(self.sighting(function).key, ""), False)

    def moved(self, box: Node, text: str, layer: str) -> tuple[Swap, ...]:
        """Everything in a part of the row that is of one layer moved to another."""
        out = []
        for q in self.quantities:
            put = {p: layer for p in q.upper if p.text == text}
            if put and within(q.node, box):
                out.append(self.change(q, put))
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

    def variables(self, near: bool) -> Iterator[Candidate]:
        """One quantity in the place of another.

        Args:
            near: Those with the same indices; else those with others.
        """
        for q in self.quantities:
            if near and not self.left:
                yield from self.elsewhere(q)
            for t in self.all_templates:
                if t.name == q.family and (t.kind == "gradient") == q.gradient:
                    continue
                if q.role and (t.kind in ("gradient", "cost") or self.system.families[t.name].kind == "cost"):
                    continue
                if q.role == "above" and t.kind != "derived":
                    continue
                yield from self.alike(q, t) if near else self.unlike(q, t)
            if not near and not q.role and not self.left and not q.gradient:
                yield from self.gradient_for(q)

    def same_shape(self, q: Quantity, t: Template) -> bool:
        return len(t.lower) == len(q.lower) or (q.open > 0 and not q.lower and not t.lower)

    def alike(self, q: Quantity, t: Template) -> Iterator[Candidate]:
        """A quantity with the same indices in place of one."""
        if not self.same_shape(q, t):
            return
        lower, upper = [p.text for p in q.lower], [p.text for p in q.upper]
        paired = any({t.name, q.family} == {a, z} for a, z, _ in self.activations)
        if self.left and not paired:
            return
        uppers = [upper] if len(t.upper) == len(upper) else [[x] for x in self.layers] if t.upper else [[]]
        for above in uppers:
            cost = self.variable_cost(q) + (0.0 if paired else 0.5)
            yield self.variable(q, t, self.with_powers(q, t.at(lower, above)), cost)

    def unlike(self, q: Quantity, t: Template) -> Iterator[Candidate]:
        """A quantity of another layer, or with other indices, in place of one."""
        lower, upper = [p.text for p in q.lower], [p.text for p in q.upper]
        above = [[m] for by in (0, 1, -1) if (m := shifted(upper[0], by)) is not None] if len(upper) == 1 else []
        if self.same_shape(q, t):
            if self.left and len(t.upper) == len(upper):
                yield self.variable(q, t, self.with_powers(q, t.at(lower, upper)), 2.1)
            for layer in above[1:] if len(t.upper) == 1 else ():
                yield self.variable(q, t, self.with_powers(q, t.at(lower, layer)), 2.0)
            return
        if self.left or q.open or q.role or len(t.lower) > 2:
            return
        choices = list(dict.fromkeys((*lower, *self.letters_here(q))))[:4]
        for below in permutations(choices, len(t.lower)):
            for layer in (above or [[x] for x in self.layers]) if t.upper else [[]]:
                odd = 0.3 * self.stands_oddly(t, below, layer)
                yield self.variable(q, t, self.with_powers(q, t.at(below, layer)), 2.1 + odd)

    def variable_cost(self, q: Quantity) -> float:
        """Where a slope stands beside a derivative, it is the slope that is too many."""
        if q.role != "below":
            return 1.1
        return 1.2 if any(f.primes for f in self.survey.functions) else 0.95

    def elsewhere(self, q: Quantity) -> Iterator[Candidate]:
        """The same quantity at another node of another layer."""
        if len(q.lower) != 1 or len(q.upper) != 1:
            return
        for lower, upper in self.places_in_play:
            if len(lower) == len(upper) == 1 and lower[0] != q.lower[0].text and upper[0] != q.upper[0].text:
                put = {q.lower[0]: lower[0], q.upper[0]: upper[0]}
                text = q.written(put)
                yield Candidate(
                    (Swap(q.node, text),), "wrong_variable", 1.4 + self.strain(q, put), instead(text, q.text)
                )

    def gradient_for(self, q: Quantity) -> Iterator[Candidate]:
        """A quantity that stands for the gradient by it."""
        if not self.system.cost or self.gradient_letters:
            return
        text = rf"\frac{{\partial {self.printer(Ref(self.system.cost, ()))}}}{{\partial {q.text}}}"
        yield Candidate((Swap(q.node, text),), "wrong_variable", 2.3, instead(text, q.text))

    def with_powers(self, q: Quantity, text: str) -> str:
        """The powers and transposes of one quantity put on another."""
        sup = q.node.sup if isinstance(q.node, Scripted) else None
        turned = [p for p in (sup.pieces if sup is not None else ()) if names_transpose(p) and p not in q.powers]
        for p in (*q.powers, *turned):
            sign = self.survey.text(p)
            text = rf"{text}^{{{sign}}}" if "^" not in text else rf"\left({text}\right)^{{{sign}}}"
        return text

    def variable(self, q: Quantity, t: Template, text: str, cost: float) -> Candidate:
        cause = "wrong_variable"
        if q.role == "below" and any({t.name, q.family} == {a, z} for a, z, _ in self.activations):
            cause = "missing_activation_derivative"
        return Candidate((Swap(q.node, text),), cause, cost, instead(text, q.text))
