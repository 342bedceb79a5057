"""Which slip: the derived backward pass is varied until the wrong result comes out, nearest the output first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from symbackprop.codecheck.cases import Case, Leaf
from symbackprop.codecheck.evaluate import (
    CannotEvaluate,
    Change,
    Definition,
    Item,
    Pass,
    Setting,
    changed,
    family_of,
    gradient_key,
    uses,
)
from symbackprop.codecheck.report import Slip
from symbackprop.codecheck.vary import FORWARD, NEW, Variation, Varier, definitions_of, opaque
from symbackprop.compile.extents import span
from symbackprop.compile.starts import bases
from symbackprop.indices import Affine, affine

if TYPE_CHECKING:
    from symbackprop.codecheck.run import Checker, Outcome, Plan

Array: TypeAlias = Any
MOST_SLIPS = 4
MOST_WORK = 60_000
"""No more equations are evaluated for one report, over all variations."""
MOST_ENTRIES = 2_000_000
"""Networks with larger arrays are compared, and not diagnosed."""
FIT = 30.0
"""A variation reproduces a result when it is within so many tolerances of it."""


@dataclass
class Found:
    """What the search found: slips, a cause and a message by array, and notes."""

    slips: tuple[Slip, ...] = ()
    remarks: dict[Leaf, tuple[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Factor:
    """A factor that explains a ratio on every case: 2, the number of samples, n_L.

    Args:
        name: As it is written.
        value: What it is on each case.
    """

    name: str
    value: tuple[float, ...]


@dataclass(frozen=True)
class Adopted:
    """A slip that was found: changes of the pass, and what it is called.

    Args:
        changes: Of the definitions.
        reduce: How samples are put together, by family: `mean`, `first`, `last`, ...
    """

    cause: str
    words: Callable[[], str]
    changes: tuple[Change, ...] = ()
    reduce: tuple[tuple[str, str], ...] = ()
    factor: Factor | None = None
    rank: int = 0


REDUCTIONS = {
    "first": ("with the first sample alone, divided by the number of samples", lambda a: a[0] / len(a)),
    "last": ("with the last sample alone, divided by the number of samples", lambda a: a[-1] / len(a)),
    "only first": ("with the first sample alone", lambda a: a[0]),
    "only last": ("with the last sample alone", lambda a: a[-1]),
}


class Bench:
    """One case on which variations are tried."""

    def __init__(self, plan: Plan, outcome: Outcome, definitions: Sequence[Definition], hidden: Any) -> None:
        self.plan, self.outcome, self.definitions = plan, outcome, definitions
        case = outcome.case
        self.case = case
        self.setting: Setting = replace(case.setting, system=hidden)
        self.after = dict(updated(case, outcome))
        self.setting = changed(self.setting, self.after or self.stepped(1.0))
        self.passes: list[Pass] = [Pass(self.setting, definitions)]
        self.reduce: dict[str, str] = {}
        self.got = dict(outcome.got)

    def stepped(self, rate: float) -> dict[tuple[str, tuple[int, ...]], Array]:
        """The parameters after a step along the gradient that was returned."""
        out = {}
        for leaf, g in self.outcome.got.items():
            w = self.case.setting.data.get((leaf.family, leaf.at))
            if w is not None and np.shape(w) == g.shape:
                out[leaf.family + NEW, leaf.at] = w - rate * g
        return out

    def learn(self, rate: float) -> None:
        """Take this to be the learning rate of an update that the function makes on a copy."""
        self.setting = changed(self.setting, self.stepped(rate))
        for p in self.passes:
            p.data.update(self.stepped(rate))
            p.memo = {k: v for k, v in p.memo.items() if not k[0].endswith(NEW)}

    @property
    def base(self) -> Pass:
        return self.passes[-1]

    def value(self, leaf: Leaf, chosen: Pass | None = None, reduce: Mapping[str, str] | None = None) -> Array:
        """What the pass gives for one array of the result."""
        p = chosen or self.base
        family = self.plan.system.families.get(leaf.family)
        how = {**self.reduce, **(reduce or {})}.get(leaf.family, "mean")
        if self.plan.layered:
            a = np.asarray(p.leaf(gradient_key(leaf.family), leaf.at))
            if family is not None and family.kind != "parameter":
                return a / len(a)
            return a.mean(0) if how == "mean" else REDUCTIONS[how][1](a)  # type: ignore[no-untyped-call]
        if family is None:
            base = next(b for b in bases(self.setting.system, self.setting.numbers) if b.name == leaf.family)
            parts = [p.leaf(gradient_key(base.family), (n,)) for n in base.numbers]
            return parts[0] if len(parts) == 1 else np.stack(parts)
        spans = [span(family, n, self.setting.numbers) for n, a in enumerate(family.axes) if a.kind == "recursion"]
        if not spans:
            return np.asarray(p.leaf(gradient_key(leaf.family), ()))
        if len(spans) > 1:
            raise CannotEvaluate("more than one axis of times")
        return np.stack([p.leaf(gradient_key(leaf.family), (n,)) for n in spans[0]])

    def distance(self, leaf: Leaf, value: Array, factor: float = 1.0) -> bool:
        """Whether a value is what was returned."""
        got = self.got.get(leaf)
        if got is None or np.shape(got) != np.shape(value):
            return False
        with np.errstate(all="ignore"):
            d = float(np.linalg.norm(np.ravel(got - factor * value)))
        size = max(float(np.linalg.norm(got)), float(np.linalg.norm(self.outcome.expected[leaf])))
        return bool(d <= self.allowed(leaf, size))

    def allowed(self, leaf: Leaf, size: float) -> float:
        own = float(np.linalg.norm(self.outcome.expected[leaf]))
        return (
            FIT * self.outcome.allowed[leaf] * (size / own if own else 1.0) if own else FIT * self.outcome.allowed[leaf]
        )

    def ratio(self, leaf: Leaf, value: Array) -> float | None:
        """The factor between a value and what was returned, where that is one number."""
        got = self.got.get(leaf)
        if got is None or np.shape(got) != np.shape(value):
            return None
        with np.errstate(all="ignore"):
            square = float(np.sum(np.abs(value) ** 2))
            if not square or not np.isfinite(square):
                return None
            r = float(np.real(np.sum(got * value))) / square
        return r if np.isfinite(r) and abs(r) > 1e-6 and self.distance(leaf, value, r) else None

    def factors(self) -> dict[str, float]:
        """Numbers that people forget or add."""
        out = {"2": 2.0, "1/2": 0.5, "-1": -1.0, "-2": -2.0, "-1/2": -0.5}
        named: dict[str, float] = {}
        if self.case.batch is not None:
            named["m"] = self.case.batch
        if self.plan.layered and len(self.case.system.widths) > 1:
            named["n_L"] = int(self.case.system.widths[-1] or 1)
            named["n_0"] = int(self.case.system.widths[0] or 1)
        else:
            named |= {n: v for n, v in self.case.numbers.items() if v}
        for n, v in named.items():
            out |= {
                n: v,
                f"1/{n}": 1 / v,
                f"-{n}": -v,
                f"2{n}": 2 * v,
                f"{n}/2": v / 2,
                f"2/{n}": 2 / v,
                f"1/(2{n})": 0.5 / v,
            }
            out |= {f"√{n}": v**0.5, f"1/√{n}": v**-0.5}
        return {**out, "4": 4.0, "1/4": 0.25, "3": 3.0, "1/3": 1 / 3}


def updated(case: Case, outcome: Outcome) -> Iterator[tuple[tuple[str, tuple[int, ...]], Array]]:
    """The parameters as they were after the call, where the function changed them."""
    for (family, at), _ in case.setting.data.items():
        names = [n for n in outcome.called.changed if n.startswith(f"params[{family!r}]") or n == family]
        places = [k for k in case.setting.data if k[0] == family]
        name = f"params[{family!r}][{places.index((family, at))}]"
        chosen = name if name in names else f"params[{family!r}]" if f"params[{family!r}]" in names else family
        if chosen in names:
            yield (family + NEW, at), np.asarray(outcome.called.after[chosen], float)


# ---------------------------------------------------------------- the search


def diagnose(plan: Plan, checker: Checker, outcomes: Sequence[Outcome]) -> Found:
    """What reproduces the wrong arrays."""
    found = Found()
    usable = usable_outcomes(outcomes)
    note = ""
    if not usable:
        usable, note = on_equal_widths(plan, checker, outcomes)
    if not usable:
        return found
    if any(a.size > MOST_ENTRIES for o in usable for a in o.expected.values()):
        found.notes = ("the arrays are too large to look for the slip; a smaller network shows it",)
        return found
    for leaf in usable[0].expected:
        words = plain_words(usable[0], leaf)
        if words:
            found.remarks[leaf] = ("other", words)
    try:
        hidden = [opaque(o.case.system) for o in usable]
        definitions = definitions_of(hidden[0])
        benches = [Bench(plan, o, definitions, h) for o, h in zip(usable, hidden, strict=True)]
        for b in benches:
            reshape(b, found)
        search = Search(plan, benches, definitions, found)
        found.slips = shape_slips({x: r for x, r in found.remarks.items() if r[0] != "other"})
        search.run()
    except CannotEvaluate as e:
        found.notes = (*found.notes, f"the slip was not looked for: {e}")
    except RecursionError:
        found.notes = (*found.notes, "the slip was not looked for: the model is too deep")
    if note:
        found.notes = (*found.notes, note)
    return found


def plain_words(outcome: Outcome, leaf: Leaf) -> str:
    """What is wrong with an array that is no slip of mathematics: numbers that are not finite, lost digits."""
    from symbackprop.codecheck.run import not_finite, precision

    got = outcome.got[leaf]
    if got.shape != outcome.expected[leaf].shape or not outcome.wrong(leaf):
        return ""
    return not_finite(got) or precision(outcome, leaf)


def usable_outcomes(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """At most four cases that have a result and something wrong: that which tells most, then others that differ from it."""
    kept = [o for o in outcomes if o.got and any(o.wrong(x) for x in o.expected)]
    if not kept:
        return []
    kept.sort(key=lambda o: (not o.shaped, o.case.kind == "distinct", o.case.batch != 3))
    first, rest = kept[0], [o for o in kept[1:] if o.shaped == kept[0].shaped]
    others = [o for o in rest if o.case.kind != first.case.kind][:1]
    others += [o for o in rest if o not in others and o.case.batch != first.case.batch][:2]
    return [first, *others, *[o for o in rest if o not in others][: max(0, 2 - len(others))]]


def on_equal_widths(plan: Plan, checker: Checker, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], str]:
    """Cases with other widths, where a network's own ones let the function fail before it returns anything."""
    widths = plan.system.widths
    if not plan.layered or not outcomes[0].called.error or len(set(widths)) < 2 or plan.system.layers.value is None:
        return [], ""
    from symbackprop.codecheck.run import Checker as Another

    equal = replace(plan, system=replace(plan.system, widths=(4,) * len(widths), spec=""))
    other = Another(equal, checker.function, checker.rtol, checker.dtype, checker.to)
    other.manner = checker.manner
    found = [other.outcome(*equal.case(n, 0)) for n in range(3)]
    kept = usable_outcomes(found)
    return (
        kept,
        "where the function fails on the network's own sizes, it was tried on a network of equal widths (4)"
        if kept
        else "",
    )


def reshape(bench: Bench, found: Found) -> None:
    """A result of the wrong shape: what makes it fit."""
    for leaf, expected in bench.outcome.expected.items():
        got = bench.got[leaf]
        if got.shape == expected.shape:
            turned = rearranged(bench, leaf)
            if turned is not None:
                bench.got[leaf] = turned[0]
                found.remarks.setdefault(leaf, (turned[1], turned[2]))
            continue
        for new, words, cause in reshaped(got, expected, bench.case.batch):
            if new.shape != expected.shape:
                continue
            right = float(np.linalg.norm(new - expected)) <= FIT * bench.outcome.allowed[leaf]
            if right:
                found.remarks.setdefault(leaf, (cause, words))
            if right or words.startswith("with an axis"):
                bench.got[leaf] = new
                break


def rearranged(bench: Bench, leaf: Leaf) -> tuple[Array, str, str] | None:
    """The result with its axes in another order, or run through backwards, where only that makes it right."""
    got, expected = bench.outcome.got[leaf], bench.outcome.expected[leaf]
    if not 1 <= got.ndim <= 4 or bench.distance(leaf, expected):
        return None

    def fits(new: Array) -> bool:
        return new.shape == got.shape and bool(
            np.linalg.norm(np.ravel(new - expected)) <= FIT * bench.outcome.allowed[leaf]
        )

    for order in permutations(range(got.ndim)):
        if fits(got.transpose(order)):
            words = "it is the transpose" if got.ndim == 2 else f"its axes are in another order: {order} fits"
            return got.transpose(order), "shape_mismatch", words
    for count in range(1, got.ndim + 1):
        for axes in combinations(range(got.ndim), count):
            if fits(np.flip(got, axes)):
                along = f"axis {axes[0]}" if count == 1 else f"the axes {', '.join(map(str, axes))}"
                return np.flip(got, axes), "wrong_index", f"it runs backwards along {along}"
    return None


def reshaped(got: Array, expected: Array, batch: int | None) -> Iterator[tuple[Array, str, str]]:
    """The same numbers in other shapes, with what that means."""
    if got.ndim > 1:
        yield got.T, "it is the transpose", "shape_mismatch"
    if got.size == expected.size:
        yield got.reshape(expected.shape), "with an axis of size 1 too many or too few", "shape_mismatch"
    if got.ndim == expected.ndim + 1 and got.shape[0]:
        bias = "the bias gradient" if expected.ndim == 1 else "it"
        samples = "samples" if batch is not None and got.shape[0] == batch else "first axis"
        yield got.mean(0), f"{bias} was not summed over the {samples}: its mean over that axis fits", "missing_sum"
        yield got.sum(0), f"{bias} was not summed over the {samples}: its sum over that axis fits", "missing_sum"
        for n in range(1, got.ndim):
            yield got.sum(n), f"it was not summed over axis {n}: its sum over that axis fits", "missing_sum"


def shape_slips(remarks: Mapping[Leaf, tuple[str, str]]) -> tuple[Slip, ...]:
    """One slip for each thing that is wrong with shapes."""
    out = []
    for cause, words in dict.fromkeys(remarks.values()):
        names = [leaf.name for leaf, r in remarks.items() if r == (cause, words)]
        form = (
            f"has its entries in the wrong place: {words}"
            if cause == "wrong_index"
            else f"has the wrong shape: {words}"
        )
        out.append(Slip(names[0], cause, form, tuple(names[1:]), likewise=True))
    return tuple(out)


class Search:
    """Greedy: the wrong array nearest the output first; of what reproduces it, what explains most."""

    def __init__(self, plan: Plan, benches: Sequence[Bench], definitions: Sequence[Definition], found: Found) -> None:
        self.plan, self.benches, self.definitions, self.found = plan, benches, definitions, found
        self.varier = Varier(benches[0].setting.system, benches[0].setting, definitions, plan.layered)
        self.cut = False
        self.leaves = self.ordered(list(benches[0].outcome.expected))
        self.adopted: list[tuple[Leaf, Adopted]] = []
        self.varied: dict[int, list[Variation]] = {}
        self.base_kept: set[tuple[int, tuple[int, ...]]] = set()

    def ordered(self, leaves: list[Leaf]) -> list[Leaf]:
        """Nearest the output first: by how many other gradients an array's gradient is computed from."""
        bench = self.benches[0]
        for leaf in leaves:
            bench.value(leaf)
        self.visited = dict(bench.base.memo)
        count = {leaf: len(self.upstream_of(leaf)) for leaf in leaves}
        return sorted(leaves, key=lambda x: count[x])

    def upstream_of(self, leaf: Leaf) -> set[Item]:
        """The gradients that an array's gradient is computed from, itself included."""
        base, system = self.benches[0].passes[0], self.benches[0].setting.system
        own = leaf.family if leaf.family in system.families else None
        starts = [k for k in base.memo if k[0] == gradient_key(own or "") and (not leaf.at or k[1] == leaf.at)]
        if own is None:
            found = next(b for b in bases(system, self.benches[0].setting.numbers) if b.name == leaf.family)
            starts = [(gradient_key(found.family), (n,)) for n in found.numbers]
        return set().union(*(base.upstream(*k) for k in starts))

    def wrong(self, bench: Bench) -> list[Leaf]:
        out = []
        for leaf in self.leaves:
            if bench.got[leaf].shape != bench.outcome.expected[leaf].shape or leaf in self.found.remarks:
                continue
            if not bench.distance(leaf, bench.value(leaf)):
                out.append(leaf)
        return out

    def run(self) -> None:
        given_up: set[Leaf] = set()
        while len(self.adopted) < MOST_SLIPS:
            target = next((x for x in self.wrong(self.benches[0]) if x not in given_up), None)
            if target is None:
                break
            best = self.best(target)
            if best is None:
                given_up.add(target)
                if len(given_up) > 2:
                    break
                continue
            self.adopt(target, best)
        self.report(given_up)

    # ------------------------------------------------------------ candidates

    def best(self, target: Leaf) -> Adopted | None:
        bench = self.benches[0]
        touched = self.upstream_of(target)
        keys = {k for k, _ in touched}
        scored: list[tuple[tuple[int, int, int, int], Adopted]] = []
        plain = self.scaled(target, keys)
        scored += [((*self.count(a), a.rank, 0), a) for a in plain if self.holds(a, target)]
        for adopted in self.reductions(target):
            if self.fits(bench, adopted, target) and self.holds(adopted, target):
                scored.append(((*self.count(adopted), adopted.rank, 0), adopted))
        forward = set().union(*(uses(d.value) for d in self.definitions if d.key in keys))
        wider = dependents_of(forward, self.definitions)
        numbers = [n for n, d in enumerate(self.definitions) if d.key in keys or d.key in wider]
        candidates = [
            *self.together(numbers),
            *(a for n in numbers for v in self.variations(n) for a in self.places(v)),
        ]
        candidates.sort(key=lambda a: a.rank)
        for adopted in candidates:
            best = min(scored, key=lambda s: s[0])[0] if scored else None
            if best is not None and (
                adopted.rank >= FORWARD or (-best[0] == len(self.leaves) and adopted.rank > best[2])
            ):
                break  # what is left is less likely, and cannot explain more
            if bench.base.work[0] > MOST_WORK:
                self.cut = True
                break
            matched = self.matched(bench, adopted, target)
            if matched is not None and self.holds(matched, target):
                rank = matched.rank + (3 if matched.factor else 0)
                scored.append(((*self.count(matched), rank, len(matched.changes)), matched))
        return min(scored, key=lambda s: s[0])[1] if scored else None

    def variations(self, number: int) -> list[Variation]:
        if number not in self.varied:
            self.varied[number] = list(self.varier.of(number))
        return self.varied[number]

    def letters(self, d: Definition) -> list[Affine]:
        """What stands for the layer or the time on the left of an equation."""
        family = self.benches[0].setting.system.families[family_of(d.key)]
        return [i for i, a in zip(d.indices, family.axes, strict=True) if a.kind == "recursion"]

    def here(self, d: Definition) -> list[tuple[int, ...]]:
        """The layers or times at which an equation was used."""
        base = self.benches[0].passes[0]
        return sorted({at for k, at in self.visited if k == d.key and base.matches(d, at) is not None})

    def together(self, numbers: Sequence[int]) -> Iterator[Adopted]:
        """The same variation in all cases of one gradient: in layer L and in those below, at time T and before."""
        by_key: dict[str, list[int]] = {}
        for n in numbers:
            by_key.setdefault(self.definitions[n].key, []).append(n)
        for same in (ns for ns in by_key.values() if len(ns) > 1):
            alike: dict[tuple[str, int, str], list[Variation]] = {}
            for n in same:
                for v in self.variations(n):
                    alike.setdefault((v.cause, v.rank, self.general(v)), []).append(v)
            for group in alike.values():
                chosen = list({v.number: v for v in reversed(group)}.values())
                if len(chosen) > 1:
                    yield Adopted(
                        group[0].cause,
                        self.words(chosen),
                        tuple(Change(v.number, v.value) for v in chosen),
                        rank=group[0].rank,
                    )

    def general(self, v: Variation) -> str:
        """What a variation says, with the family's own letter for the layer."""
        d = self.definitions[v.number]
        family = self.benches[0].setting.system.families[family_of(d.key)]
        own = [n for n, a in zip(family.indices, family.axes, strict=True) if a.kind == "recursion"]
        text = v.say({})
        for letter, i in zip(own, self.letters(d), strict=True):
            if str(i) != letter:
                text = text.replace(f"^({i})", f"^({letter})")
                for step in (1, -1):
                    text = text.replace(f"^({i + step})", f"^({affine(letter) + step})")
        return text

    def words(self, group: Sequence[Variation]) -> Callable[[], str]:
        """In words, for the layer nearest the output; the other layers after it."""

        def made() -> str:
            used = sorted(((at, v) for v in group for at in self.here(self.definitions[v.number])), key=lambda u: u[0])
            used = [u for u in used if (u[1].number, u[0]) not in self.base_kept] or used
            if not self.plan.layered or not used:
                return max((self.general(v) for v in group), key=len)
            at, v = used[-1]
            letters = self.letters(self.definitions[v.number])
            text = v.say({i.name: affine(n) for i, n in zip(letters, at, strict=True) if i.name is not None})
            below = len(used) - 1
            return f"{text}, and likewise in the layer{'s' if below > 1 else ''} below" if below else text

        return made

    def places(self, v: Variation) -> Iterator[Adopted]:
        """The variation in all layers, then in each alone."""
        d = self.definitions[v.number]
        here = self.here(d)
        if not here:
            return
        yield Adopted(v.cause, self.words([v]), (Change(v.number, v.value),), rank=v.rank)
        if self.plan.layered and len(here) > 1:
            letters = self.letters(d)
            for at in here:
                names = {i.name: affine(n) for i, n in zip(letters, at, strict=True) if i.name is not None}
                yield Adopted(v.cause, partial(v.say, names), (Change(v.number, v.value, at),), rank=v.rank)

    def reductions(self, target: Leaf) -> Iterator[Adopted]:
        if self.plan.layered and (self.benches[0].case.batch or 1) > 1:
            for rank, (how, (words, _)) in enumerate(REDUCTIONS.items()):
                everywhere = tuple((f, how) for f in self.plan.wrt)
                yield Adopted("missing_sum", partial(str, words), (), everywhere, rank=8 + rank)
                yield Adopted("missing_sum", partial(str, words), (), ((target.family, how),), rank=9 + rank)

    def scaled(self, target: Leaf, keys: set[str]) -> list[Adopted]:
        """Factors: where the result is a multiple of what the pass gives."""
        ratios = [b.ratio(target, b.value(target)) for b in self.benches]
        factor = self.named(ratios)
        if factor is None:
            return []
        out = []
        for number, d in enumerate(self.definitions):
            if d.key in keys and d.key.startswith("∂"):
                for at in [None, *sorted({a for k, a in self.visited if k == d.key})]:
                    whole = Change(number, None, at, factor.value[0])
                    adopted = Adopted(*self.factor_words(factor), (whole,), factor=factor, rank=5 + (at is not None))
                    if self.benches[0].base.matches(d, at) is not None if at is not None else True:
                        out.append(adopted)
        return out

    def named(self, ratios: Sequence[float | None]) -> Factor | None:
        """The name of a factor that is the ratio on every case; a bare number where it is the same throughout."""
        known = [(b, r) for b, r in zip(self.benches, ratios, strict=True) if r is not None]
        if not known or ratios[0] is None:
            return None
        tables = [b.factors() for b in self.benches]
        for name in tables[0]:
            value = [t.get(name, 0.0) for t in tables]
            if all(r is None or abs(r - v) <= 1e-4 * abs(v) for r, v in zip(ratios, value, strict=True)):
                if abs(value[0] - 1) > 1e-9 or any(abs(v - 1) > 1e-9 for v in value):
                    return Factor(name, tuple(value))
        first = known[0][1]
        if all(abs(r - first) <= 1e-4 * abs(first) for _, r in known) and abs(first - 1) > 1e-4:
            return Factor(f"{first:.6g}", (first,) * len(self.benches))
        return None

    def factor_words(self, factor: Factor) -> tuple[str, Callable[[], str]]:
        name = factor.name
        words = {
            "m": "summed over the batch, not averaged",
            "1/m": "divided by the number of samples once too often",
            "-1": "with the opposite sign",
            "1/2": "without a factor 2",
            "2": "with a factor of 2 too many",
        }.get(name)
        if words is None and name.startswith("√"):
            words = f"without the factor 1/{name}"
        elif words is None and name.startswith("1/"):
            words = f"divided by {name[2:]}"
        return ("sign" if name == "-1" else "factor"), partial(str, words or f"with a factor of {name}")

    # ------------------------------------------------------------ trying one

    def apply(self, bench: Bench, adopted: Adopted, index: int) -> Pass:
        changes = adopted.changes
        if adopted.factor is not None:
            changes = tuple(c if c.scale == 1.0 else replace(c, scale=adopted.factor.value[index]) for c in changes)
        if not changes:
            return bench.base
        return Pass(bench.setting, self.definitions, (*bench.base.changes, *changes), bench.base)

    def matched(self, bench: Bench, adopted: Adopted, target: Leaf) -> Adopted | None:
        """The variation where it reproduces the array, perhaps up to a factor that has a name."""
        try:
            with np.errstate(all="ignore"):
                p = self.apply(bench, adopted, 0)
                value = bench.value(target, p, dict(adopted.reduce))
        except (CannotEvaluate, KeyError, ValueError, IndexError):
            return None
        if bench.distance(target, value):
            return adopted
        if any(k.endswith(NEW) for c in adopted.changes if c.value is not None for k in uses(c.value)):
            return self.updated(adopted, target, value)
        if bench.ratio(target, value) is None:
            return None
        ratios: list[float | None] = []
        for n, b in enumerate(self.benches):
            try:
                ratios.append(b.ratio(target, b.value(target, self.apply(b, adopted, n), dict(adopted.reduce))))
            except (CannotEvaluate, KeyError, ValueError, IndexError):
                ratios.append(None)
        factor = self.named(ratios)
        if factor is None or (factor.name[0].isdigit() and "." in factor.name):
            return None
        number = next((n for n, d in enumerate(self.definitions) if d.key == gradient_key(target.family)), None)
        if not adopted.changes or number is None:
            return None
        scale = Change(adopted.changes[0].number, None, adopted.changes[0].at, factor.value[0])
        _, more = self.factor_words(factor)
        own = adopted.words
        return replace(
            adopted, changes=(*adopted.changes, scale), factor=factor, words=lambda: f"{own()}, and {more()}"
        )

    def updated(self, adopted: Adopted, target: Leaf, value: Array) -> Adopted | None:
        """With weights after a step of a size that the result tells; the result is linear in it."""
        bench = self.benches[0]
        if bench.after or bench.got[target].shape != value.shape:
            return None
        before = bench.value(target)
        step = value - before
        square = float(np.sum(step**2))
        rate = float(np.sum((bench.got[target] - before) * step)) / square if square else 0.0
        if not 0 < rate < 1e6 or not bench.distance(target, before + rate * step):
            return None
        for b in self.benches:
            b.learn(rate)
        return adopted

    def fits(self, bench: Bench, adopted: Adopted, leaf: Leaf) -> bool:
        index = list(self.benches).index(bench)
        try:
            with np.errstate(all="ignore"):
                value = bench.value(leaf, self.apply(bench, adopted, index), dict(adopted.reduce))
        except (CannotEvaluate, KeyError, ValueError, IndexError):
            return False
        return bench.distance(leaf, value)

    def holds(self, adopted: Adopted, target: Leaf) -> bool:
        """Whether it reproduces the array on the other cases too, as far as it can be evaluated there."""
        for n, bench in enumerate(self.benches):
            try:
                with np.errstate(all="ignore"):
                    value = bench.value(target, self.apply(bench, adopted, n), dict(adopted.reduce))
            except (CannotEvaluate, KeyError, ValueError, IndexError):
                continue
            if not bench.distance(target, value):
                return False
        return True

    def count(self, adopted: Adopted) -> tuple[int, int]:
        """Less the number of arrays that it explains, and how many it makes wrong that were right."""
        bench = self.benches[0]
        now = {leaf: self.fits(bench, adopted, leaf) for leaf in self.leaves}
        before = set(self.wrong(bench))
        return -sum(now.values()), sum(not fits and leaf not in before for leaf, fits in now.items())

    def adopt(self, target: Leaf, adopted: Adopted) -> None:
        before = list(self.wrong(self.benches[0]))
        for n, bench in enumerate(self.benches):
            bench.passes.append(self.apply(bench, adopted, n))
            bench.reduce.update(dict(adopted.reduce))
        still = set(self.wrong(self.benches[0]))
        self.base_kept = self.benches[0].base.kept
        fixed = tuple(x for x in before if x not in still and x != target)
        self.found.slips = (
            *self.found.slips,
            Slip(target.name, adopted.cause, f"is what you get {adopted.words()}", tuple(x.name for x in fixed)),
        )
        self.adopted.append((target, adopted))
        self.found.remarks.setdefault(target, (adopted.cause, adopted.words()))
        for leaf in fixed:
            self.found.remarks.setdefault(leaf, (adopted.cause, f"follows from {target.name}"))

    # ------------------------------------------------------------ the report

    def report(self, given_up: set[Leaf]) -> None:
        if self.cut:
            self.found.notes = (
                *self.found.notes,
                "the search for the slip ended early, at its limit of work; a smaller model shows more",
            )
        for leaf in self.wrong(self.benches[0]):
            more = (
                "no single slip that was tried reproduces it"
                if leaf in given_up
                else "wrong as a consequence, or for a reason of its own"
            )
            self.found.remarks.setdefault(leaf, ("other", more))


def dependents_of(keys: set[str], definitions: Sequence[Definition]) -> frozenset[str]:
    """Everything that the keys are computed from, themselves included."""
    out = set(keys)
    while True:
        more = {k for d in definitions if d.key in out for k in uses(d.value)} - out
        if not more:
            return frozenset(out)
        out |= more


__all__ = ["Found", "diagnose"]
