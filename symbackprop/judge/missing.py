r"""Slopes, factors and terms that a side lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice, permutations, product

from symbackprop.judge.edits import Candidate, Swap, tree
from symbackprop.judge.side import (
    Side,
    Template,
    instead,
    script_nodes,
    script_nodes_of_argument,
    spliced,
    within,
)
from symbackprop.judge.survey import Piece, Quantity, axis_of, shifted
from symbackprop.read.syntax import (
    Group,
    Negative,
    Node,
    Number,
    Product,
    Scripted,
    Sum,
    Symbol,
    Term,
)
from symbackprop.symbols import Call, Param

MOST_FILLINGS = 24
"""Ways in which the indices of one quantity are filled in."""


class Missing(Side):
    """Corrections of what was left out."""

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
                yield Candidate((Swap(f.function, new),), "extra_term", 1.2, f"{new} in place of {text}")
            if name == "max" and isinstance(f.argument, Group):
                m = re.fullmatch(r"(?s)(\\left)?\(\s*0\s*,(.*?)(\\right)?\)", inner)
                if m is not None:
                    new = rf"\mathbb{{1}}({m[2].strip()} > 0)"
                    yield Candidate(
                        (Swap(whole, new),), "missing_activation_derivative", 0.9, instead(new, self.survey.text(whole))
                    )
        for spot in self.survey.spots:
            if isinstance(spot.node, Number):
                continue
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
        for a, z, call in self.activations:
            ta, tz = self.templates(a), self.templates(z)
            if ta is None or tz is None:
                continue
            for rank, (lower, upper) in enumerate(self.places_of(ta)):
                near = 0.0 if rank < 3 else 0.1
                far = near + 0.35 * self.stands_oddly(ta, lower, upper)
                one, other = ta.at(lower, upper), tz.at(lower, upper)
                array = self.arrays and not lower and bool(self.system.families[a].axes)
                array = array and bool(self.reader.drafter.lexicon.look(a).lower)
                if call is not None:
                    name = self.slope_name(call, upper)
                    if name is not None:
                        put(rf"{name}({other})", far, array)
                    elif not array and (slope := self.slope_template(a, call)) is not None:
                        put(slope.at(lower, upper), far)
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

    def places_of(self, t: Template) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The indices that a quantity may have in this row."""
        if len(t.lower) < 2:
            return [p for p in self.places_in_play if len(p[0]) == len(t.lower) and len(p[1]) == len(t.upper)]
        return list(self.fillings(t, sorted({x for _, x, _ in self.votes}), self.all_layers))

    def fillings(
        self, t: Template, letters: Iterable[str], layers: Iterable[str]
    ) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Indices for a quantity, every letter on an axis on which it stands elsewhere, or nowhere else."""
        family = self.system.families[t.name]
        if len(t.upper) > 1 or any(x not in family.indices for x in (*t.lower, *t.upper)):
            return
        letters = list(letters)
        for above in [(x,) for x in layers] if t.upper else [()]:
            at = {family.indices.index(x): y for x, y in zip(t.upper, above, strict=True)}
            options = []
            for x in t.lower:
                n = family.indices.index(x)
                if family.axes[n].kind == "recursion":
                    options.append(self.times)
                else:
                    axis = axis_of(family, n, at)
                    options.append([y for y in letters if self.may_stand(y, axis)])
            for below in islice(product(*options), MOST_FILLINGS):
                if len(set(below)) == len(below):
                    yield below, above

    def may_stand(self, letter: str, axis: str) -> bool:
        found = [a for _, x, a in self.votes if x == letter]
        return not found or axis in found

    @cached_property
    def times(self) -> list[str]:
        """The times of the row and their neighbours."""
        here = list(dict.fromkeys(p.text for p in self.row_letters if p.kind == "recursion"))
        near = [m for x in here for by in (-1, 1) if (m := shifted(x, by)) is not None]
        return list(dict.fromkeys((*here, *near)))[:4]

    def slope_name(self, call: Call, upper: tuple[str, ...]) -> str | None:
        """The slope of a function as this row writes it, at a layer; None where the row does not have the function."""
        lexicon = self.reader.drafter.lexicon
        for f in self.survey.functions:
            s = self.sighting(f.function)
            if lexicon.functions.get(s.key) != call.function or not isinstance(f.function, Symbol | Scripted):
                continue
            text, at = self.survey.text(f.function), list(script_nodes(f.function))
            if at and upper:
                text = spliced(text, at[-1], f.function, upper[0])
            if f.primes:
                return text
            base = f.function.base if isinstance(f.function, Scripted) else f.function
            end = base.place.end - f.function.place.start
            return f"{text[:end]}'{text[end:]}"
        if not self.arrays:
            return None
        return (
            self.printer(replace(call, arguments=(Param("Q"),), order=1, at=None))
            .partition("Q")[0]
            .removesuffix(r"\left(")
        )

    def slope_template(self, a: str, call: Call) -> Template | None:
        """The slope of a function as the model writes it."""
        e = next(e for e in self.system.equations if e.lhs.family == a and e.rhs == call)
        look = self.reader.drafter.lexicon.look(a)
        letters = [i.name or "" for i in e.lhs.indices]
        lower, upper = tuple(letters[n] for n in look.lower), tuple(letters[n] for n in look.upper)
        return Template(self.printer(replace(call, order=1)), lower, upper, a).surveyed(self.reader)

    @cached_property
    def lacking(self) -> frozenset[str]:
        """The letters that stand free on the other side and nowhere here."""
        return (self.given & self.index_letters) - {x for q in self.quantities for p in q.lower for x in p.letters}

    def missing_factors(self, carrying: frozenset[str] = frozenset()) -> Iterator[Candidate]:
        """A quantity that a product lacks, with the letters in scope.

        Args:
            carrying: Only those that have these letters.
        """
        numbers = [p.text for p in self.row_letters if p.text.isdigit()]
        for spot in self.survey.spots:
            letters = dict.fromkeys((*spot.bound, *sorted(self.given & self.index_letters), *numbers))
            inside = [p.text for q in self.quantities if within(q.node, spot.node) for p in q.upper]
            near = [m for x in inside for by in (0, 1, -1) if (m := shifted(x, by)) is not None] or self.layers
            layers = list(dict.fromkeys(near))[:5]
            for t in self.all_templates:
                if (t.kind == "cost" and len(self.system.equations) > 1) or (t.kind == "gradient" and self.arrays):
                    continue
                cost = (1.5 if t.kind == "parameter" else 1.7) + 0.15 * spot.depth - 0.6 * bool(carrying)
                for below, above in self.fillings(t, letters, layers):
                    if not carrying <= set(below):
                        continue
                    odd = 0.3 * self.stands_oddly(t, below, above)
                    for snippet in self.with_transpose(t, t.at(below, above)):
                        yield from self.inserted(spot, snippet, "dropped_term", cost + odd, f"{snippet} is missing")

    def with_transpose(self, t: Template, snippet: str) -> Iterator[str]:
        """A quantity, and an array also turned around."""
        yield snippet
        node = tree(snippet) if self.arrays else None
        turned = self.toggled(node, snippet) if node is not None and self.system.families[t.name].axes else None
        if turned is not None:
            yield turned

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
            for number in dict.fromkeys(re.findall(r"_\{?[a-z]*(\d)", body)):
                for by in (1, -1):
                    other = int(number) + by
                    if other >= 0:
                        yield re.sub(rf"(_\{{?[a-z]*){number}", rf"\g<1>{other}", body)
        layers = self.all_layers[:4]
        letters = [
            *sorted(self.given & self.index_letters),
            *dict.fromkeys(p.text for p in self.row_letters if p.text.isdigit()),
        ][:3]
        for weight in self.parameter_texts(letters, layers):
            yield weight
            for s in self.scalars:
                yield f"{s} {weight}"
                yield f"2 {s} {weight}"
        if self.arrays:
            yield from self.paths()

    def parameter_texts(self, letters: list[str], layers: list[str]) -> Iterator[str]:
        """Weights and biases with letters and layers of the row."""
        for t in self.all_templates:
            if t.kind == "parameter" and len(t.lower) <= 2 and len(t.upper) <= 1:
                for below in permutations(letters, len(t.lower)) if t.lower else [()]:
                    for above in [(x,) for x in layers] if t.upper else [()]:
                        yield t.at(below, above)

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
                    below = v.at([t] if v.lower and t is not None else (), [t] if v.upper and t is not None else ())
                    weight = w.text if "^" not in w.text else f"{{{w.text}}}"
                    yield rf"{weight}^{sign} \frac{{\partial {cost}}}{{\partial {below}}}"
