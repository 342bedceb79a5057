r"""Signs, factors, sums and powers that are too many, too few or others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

from symbackprop.judge.edits import Candidate, Swap, tree
from symbackprop.judge.edits import product as product_of
from symbackprop.judge.side import (
    FLIPPED,
    Side,
    instead,
    is_transposed,
    leaves_of,
    moved_sum,
    multiplied,
    names_transpose,
    piece_letters,
    script_text,
    sum_text,
    within,
)
from symbackprop.judge.survey import Piece, Quantity, Spot, shifted
from symbackprop.read.names import letter_of
from symbackprop.read.syntax import (
    BigOperator,
    Chain,
    Group,
    Indicator,
    Negative,
    Node,
    Number,
    Product,
    Scripted,
    Sum,
    Symbol,
    Term,
)
from symbackprop.symbols import ZERO, Compare, Num, Param, Position, Ref, Where, walk
from symbackprop.symbols import Sum as Sigma


class Terms(Side):
    """Corrections of signs, factors, sums, powers and order."""

    def signs(self) -> Iterator[Candidate]:
        text = self.survey.text(self.node)
        what = "the sign of the right side"
        if self.proportional is False:
            pass
        elif isinstance(self.node, Negative):
            body = self.node.body
            cost = 0.9 - 0.4 * bool(self.proportional)
            yield Candidate((Swap(self.node, self.survey.text(body), body),), "sign", cost, what)
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
                0.85 - 0.3 * bool(self.proportional),
                f"{texts[1]} - {texts[0]} in place of {texts[0]} - {texts[1]}",
            )
        if len(s.terms) > 1:
            terms = tuple(replace(t, sign="-" if t.sign == "+" else "+") for t in s.terms)
            new = replace(s, terms=terms)
            yield Candidate((Swap(s, sum_text(terms, texts), new),), "sign", 1.2, "the sign of every term")

    def relation_of(self, c: Indicator, chain: Chain) -> Iterator[Candidate]:
        (relation,) = chain.relations
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

    def factors(self) -> Iterator[Candidate]:
        """A number or a size too many, too few, or another."""
        for spot in self.survey.spots:
            node, text = spot.node, self.survey.text(spot.node)
            old = node
            if isinstance(node, Sum):
                node, text = Group("(", ")", node, node.place), rf"\left({text}\right)"
            factors = node.factors if isinstance(node, Product) else (node,)
            if self.proportional is False and (spot.whole or (spot.depth == 0 and not self.survey.sums)):
                continue
            cost = 0.9 if spot.whole else 1.1 if spot.depth == 0 else 1.4
            cost -= 0.3 * bool(self.proportional)
            for start, stop in spot.units(self.survey):
                f = factors[start]
                if stop - start > 1 or not self.is_constant(f):
                    continue
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
                    (Swap(old, f"{lead}{glue}{text}", multiplied(lead, node)),),
                    "factor",
                    cost + more,
                    f"a factor of {lead} is missing",
                )
            for size in self.sizes:
                lead = rf"\frac{{1}}{{{size}}}"
                for one, more in ((lead, 0.4), (size, 0.8)):
                    yield Candidate(
                        (Swap(old, f"{one} {text}", multiplied(one, node)),),
                        "factor",
                        cost + more,
                        f"a factor of {one} is missing",
                    )
        for fraction in self.survey.fractions:
            if self.is_constant(fraction.under) and self.survey.text(fraction.over).strip() != "1":
                over = self.survey.text(fraction.over)
                inner = over if not isinstance(fraction.over, Sum) else rf"\left({over}\right)"
                what = f"the denominator {self.survey.text(fraction.under)} is too many"
                yield Candidate((Swap(fraction, inner),), "factor", 0.85 - 0.3 * bool(self.proportional), what)

    def numbers(self) -> Iterator[Candidate]:
        """Another small number."""
        for number in self.survey.numbers:
            for other in ("0", "1", "2"):
                if other != number.text:
                    yield Candidate((Swap(number, other),), "other", 1.6, instead(other, number.text))

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

    def summations(self) -> Iterator[Candidate]:
        """A sum over a letter that is free here alone, or over an index that was kept fixed; a sum too many."""
        for letter in self.strays:
            for head in self.heads(letter):
                for spot in self.products:
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
        axes = self.axes.get(letter, ())
        found = [self.head(Sigma(letter, axis, Num(Fraction(7)))) for axis in axes]
        for p in (p for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Sigma)):
            if p.axis in axes or letter == p.index.rstrip("'"):
                found.append(self.head(p).replace(p.index, letter))
                found += self.exception(p, letter)
        for f in self.system.families.values():
            for x, axis in zip(f.indices, f.axes, strict=True):
                if axis.kind == "recursion" and x == letter:
                    found.append(rf"\sum_{{{letter}={axis.first}}}^{{{axis.last}}}")
        found.append(rf"\sum_{letter}" if len(letter) == 1 else rf"\sum_{{{letter}}}")
        plain = dict.fromkeys(h.replace(f"_{{{letter}}}", f"_{letter}") if len(letter) == 1 else h for h in found)
        return [h for h in plain if h and tree(f"{h} Q") is not None][:4]

    def exception(self, s: Sigma, letter: str) -> list[str]:
        r"""A sum of the model that leaves one term out: \sum_{j \ne y_i}."""
        match s.body:
            case Where(Compare("!=", Ref() as datum, Position(at)), _, other) if other == ZERO and at.name == s.index:
                return [rf"\sum_{{{letter} \ne {self.printer(datum)}}}"]
        return []

    def head(self, s: Sigma) -> str:
        try:
            text = self.printer(Sigma(s.index, s.axis, Param("Q"), s.guard))
        except (KeyError, ValueError, IndexError, AttributeError):
            return ""
        return text.rpartition("Q")[0].strip().removesuffix(r"\left(").strip() if "Q" in text else ""

    def fixed_indices(self) -> Iterator[Candidate]:
        """An index that is repeated and fixed, where a sum over another letter was meant."""
        for spot in self.products:
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
                    yield self.summed(spot.node, head, letter, swaps, "missing_sum", 1.25 + 0.1 * spot.depth)
                if len(at) >= 1 and isinstance(spot.node, Product):
                    for start, stop in spot.units(self.survey):
                        unit = spot.node.factors[start]
                        inside = [(q, p) for q, p in at if within(q.node, unit)]
                        if inside and stop - start == 1 and len(inside) < len(at):
                            put = {id(q): (q, {p: letter}) for q, p in inside}
                            swaps = tuple(self.change(q, c) for q, c in put.values())
                            if start == len(spot.node.factors) - 1:
                                yield self.summed(unit, head, letter, swaps, "missing_sum", 1.2 + 0.1 * spot.depth)

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
        letter = summed_letter(op)
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

    @cached_property
    def products(self) -> list[Spot]:
        """The products of the side, sums apart."""
        return [s for s in self.survey.spots if not isinstance(s.node, Sum)]

    def ends(self, op: BigOperator, text: str) -> list[str]:
        """Where a sum over the letter of this one ends, as the row writes ends."""
        letter = summed_letter(op)
        labels = [a for _, x, a in self.votes if x == letter]
        less = "-1" if text.replace(" ", "").endswith("-1") else ""
        ends = [subscripted(label) + less for label in dict.fromkeys(labels) if " " not in label]
        return [e for e in ends if e != text]

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
                for end in self.ends(op, text):
                    yield Candidate((Swap(node, end),), "wrong_index", 1.3, f"the sum ends at {end}, not at {text}")
            item = op.sub.items[0] if op.sub is not None and op.sub.items else None
            if isinstance(item, Chain) and len(item.relations) == 1 and item.relations[0].sign == "=":
                node = item.relations[0].right
                for by in (-1, 1):
                    moved = shifted(self.survey.text(node), by)
                    if moved is not None:
                        cause = "dropped_term" if by < 0 else "extra_term"
                        yield Candidate((Swap(node, moved),), cause, 1.3, f"the sum begins at {moved}")

    def exponents(self) -> Iterator[Candidate]:
        """A power too many or too few."""
        for p in self.survey.powers:
            if p.sup is None or p.sub is not None or p.primes or any(names_transpose(x) for x in p.sup.pieces):
                continue
            power = script_text(self.survey, p.sup)
            base = self.survey.text(p.base)
            difference = isinstance(p.base, Group) and isinstance(p.base.body, Sum)
            cause = (
                "loss_derivative" if difference or (isinstance(p.base, Group) and p.base.kind == "norm") else "other"
            )
            if power.strip() == "2":
                yield Candidate((Swap(p, base, p.base),), cause, 1.0, f"the square of {base} is too many")
                what = f"2{base} in place of {self.survey.text(p)}"
                yield Candidate((Swap(p, f"2{base}", multiplied("2", p.base)),), cause, 1.1, what)
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
                term = next((q for q in self.quantities if q.node is t.body), None)
                if term is not None and not term.powers:
                    text = rf"{term.text}^2" if "^" not in term.text else rf"\left({term.text}\right)^2"
                    slope = any(term.family == a for a, _, _ in self.activations) and any(
                        isinstance(x.body, Number) for x in s.terms
                    )
                    cause = "missing_activation_derivative" if slope else "other"
                    yield Candidate((Swap(term.node, text),), cause, 1.3, f"the square of {term.text} is missing")
        for g in self.survey.containers:
            if isinstance(g, Group) and isinstance(g.body, Sum) and not any(p.base is g for p in self.survey.powers):
                text = self.survey.text(g)
                yield Candidate((Swap(g, f"{text}^2"),), "other", 1.5, f"the square of {text} is missing")

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


def summed_letter(op: BigOperator) -> str | None:
    """The letter of a sum."""
    for item in op.sub.items if op.sub is not None else ():
        node = item.first if isinstance(item, Chain) else item
        letter = letter_of(node) if node is not None else None
        if letter is not None:
            return letter
    return None


def subscripted(label: str) -> str:
    """A size as LaTeX.

    >>> subscripted("N"), subscripted("n_j"), subscripted("n_out")
    ('N', 'n_j', 'n_{out}')
    """
    head, sign, sub = label.partition("_")
    return f"{head}_{{{sub}}}" if len(sub) > 1 else head + sign + sub
