"""One equality of two expressions about a network: proved, refuted, or left open."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from typing import Any

from symbackprop.check import depth_needed, largest_node, possible
from symbackprop.indices import Affine, Constraint, Guard, affine, at_least, implies, satisfiable
from symbackprop.judge.prove import Beyond, Lemma, Proof, prove
from symbackprop.judge.sampling import Comparison, Difference, places, samples_of, shown
from symbackprop.judge.scope import Equality, ShapeMismatch, equality, misplaced, quantities, sizes_of
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.oracle import CannotEvaluate, Oracle, OutOfRange, Sample, plus, times
from symbackprop.report import Counterexample, Verdict
from symbackprop.symbols import D, Expr, Max, Partial, Prod, Ref, Sum, substitute, transform, walk

READABLE = 6
"""Characters of a value that a reader compares at a glance; a counterexample with such is not improved further."""

MAX_PLAIN = 8
"""Counterexamples with small numbers that are looked at."""

MAX_LAYERS = 16
"""Layers, or pairs of them, for which a line is proved one by one."""

MAX_ENTRIES = 400
"""Numbers of one array that a counterexample lists."""


@dataclass(frozen=True)
class Judged:
    """What is said of one equality.

    Args:
        named: The cause, where the fault is one of form: shapes, indices, ranges.
        reason: Why it is refuted in words, or why nothing was decided.
        equality: The scalar claim that was judged; None where there is none.
        points: At how many points both sides agreed.
    """

    verdict: Verdict
    reason: str = ""
    named: tuple[str, ...] = ()
    equality: Equality | None = None
    difference: Difference | None = None
    points: int = 0
    proof: Proof | None = None
    networks: tuple[str, ...] = ()
    facts: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Setting:
    """The network that claims are about, and how its lines are meant.

    Args:
        seed: Draws the samples.
    """

    system: System
    notation: Notation
    seed: int = 0

    @property
    def equal(self) -> bool:
        """Whether a line speaks of networks of one width: the lessons write a plain n."""
        return self.notation.width == "n" and all(w in (None, 1) for w in self.system.widths)


def judge(
    setting: Setting,
    left: Expr,
    right: Expr,
    guard: Guard = (),
    apart: tuple[Affine, ...] = (),
    lemmas: Sequence[Lemma] = (),
) -> Judged:
    """Whether two expressions are equal for all sizes, data and indices for which every quantity in them exists."""
    system = setting.system
    try:
        e = equality(system, total(left), total(right), guard, apart)
    except ShapeMismatch as x:
        return Judged("refuted", str(x), ("shape_mismatch",))
    cells = apart_cells(e)
    if not satisfiable((*system.standing, *e.guard)) or not cells:
        vacuous = "no network has what this line speaks of: its layers or times exclude each other"
        return Judged("refuted", nowhere(setting, e) or vacuous, ("index_out_of_range",), e)
    if (words := beyond_axis(setting, e)) is not None:
        return Judged("refuted", words, ("index_out_of_range",), e)
    samples = samples_of(system, setting.equal, setting.seed)
    found = samples.compare(e)
    if found.difference is None and found.outside and not setting.equal:
        # An index that counts two axes has values only where these are of one size.
        more = samples_of(system, True, setting.seed).compare(e)
        if more.difference is not None:
            found = more
    if found.difference is not None:
        return Judged("refuted", "", named_from(e), e, found.difference, found.points)
    if found.outside:
        words = misplaced(system, e.left) or misplaced(system, e.right)
        if words is not None:
            return Judged("refuted", words, ("wrong_index",), e, points=found.points)
        if not found.points:
            return Judged("refuted", nowhere(setting, e) or found.outside, ("index_out_of_range",), e)
        return Judged(
            "refuted",
            nowhere(setting, e) or f"it uses what does not exist: {found.outside}",
            ("index_out_of_range",),
            e,
        )
    return proved(setting, e, cells, found, lemmas)


def proved(setting: Setting, e: Equality, cells: list[Guard], found: Comparison, lemmas: Sequence[Lemma]) -> Judged:
    reason = ""
    proofs: list[Proof] = []
    for cell in cells:
        try:
            proof = prove(setting.system, replace(e, guard=(*e.guard, *cell)), equal=setting.equal, lemmas=lemmas)
        except Beyond as x:
            proof, reason = None, str(x)
        except RecursionError:
            proof, reason = None, "nested too deeply to prove"
        if proof is None:
            break
        if not found.points and proof.induction is not None:
            # An induction that no network has been tried on: the range begins beyond all samples.
            proof = None
            break
        proofs.append(proof)
    else:
        facts = tuple(dict.fromkeys(f for p in proofs for f in p.facts))
        if any(p.generic for p in proofs):
            facts += ("no quantity lies exactly on a kink",)
        return Judged("proved", "", (), e, None, found.points, proofs[0], found.networks, facts)
    one_by_one = proved_one_by_one(setting, e, cells)
    if one_by_one:
        return Judged("proved", "", (), e, None, found.points, Proof(one_by_one=True), found.networks)
    if not found.points:
        why = reason or "no sample network could be evaluated"
        return Judged("undecided", why, (), e, networks=found.networks)
    words = f"holds at all {found.points} points of {len(found.networks)} sample networks; no proof found"
    return Judged(
        "undecided", words + (f" ({reason})" if reason else ""), (), e, None, found.points, None, found.networks
    )


def proved_one_by_one(setting: Setting, e: Equality, cells: list[Guard]) -> bool:
    """Where the model states its depth or times as numbers: a proof for each layer of the claimed range."""
    system = setting.system
    letters = sorted(e.free(system) - e.axes.keys())
    last = system.layers.value or max(system.sizes.values(), default=0)
    if not letters or not last or (last + 1) ** len(letters) > MAX_LAYERS or cells != [()]:
        return False
    values = [dict(zip(letters, v, strict=True)) for v in product(range(last + 1), repeat=len(letters))]
    held = [v for v in values if possible(e.guard, {**system.sizes, **v})]
    try:
        return bool(held) and all(_proved_at(setting, e, v) for v in held)
    except (Beyond, RecursionError):
        return False


def _proved_at(setting: Setting, e: Equality, values: Mapping[str, int]) -> bool:
    at = {n: Affine((), v) for n, v in values.items()}
    left, right = substitute(e.left, at), substitute(e.right, at)
    here = equality(setting.system, left, right, tuple(c.substitute(at) for c in e.guard))
    return prove(setting.system, here, equal=setting.equal) is not None


def total(e: Expr) -> Expr:
    """An operator d/du in a line is the total derivative, and of one quantity the derivative of that quantity."""

    def meant(x: Expr) -> Expr:
        if isinstance(x, D) and not x.total:
            return Partial(x.body, x.variable) if isinstance(x.body, Ref) else replace(x, total=True)
        return x

    return transform(e, meant)


def apart_cells(e: Equality) -> list[Guard]:
    """The cells in which indices that are said to differ do: j < i and j > i."""
    out: list[Guard] = [()]
    for a in e.apart:
        out = [(*g, c) for g, c in product(out, Constraint(a, True).negations())]
    return [g for g in out if satisfiable((*e.guard, *g))]


def beyond_axis(setting: Setting, e: Equality) -> str | None:
    """A sum over nodes that begins before the first or ends behind the last of them, in words."""
    system, notation = setting.system, setting.notation
    for side in (e.left, e.right):
        for _, p in walk(side):
            if not isinstance(p, Sum | Max | Prod) or p.axis.kind != "node":
                continue
            size = system.size(p.axis)
            whole = p.axis.at is None or setting.equal
            last = affine(size) - 1 if size is not None else affine(p.axis.label) - 1 if whole else None
            first = notation.first_of(p.axis.label)
            for g in p.guard:
                k = dict(g.expr.terms).get(p.index, 0)
                end = (g.expr - Affine(((p.index, k),))) * -k
                known = (*system.standing, *e.guard)
                if not g.equal and k == 1 and implies(known, at_least(-1, end)):
                    return f"a sum begins at {end + first}, and nodes are counted from {first}"
                if not g.equal and k == -1 and last is not None and implies(known, at_least(end, last + 1)):
                    return f"a sum ends at {end + first}, and the last node is {last + first}"
    return None


def nowhere(setting: Setting, e: Equality) -> str:
    """Which quantity of a line no network has, in words; empty where none is found."""
    system, notation = setting.system, setting.notation
    for side in (e.left, e.right):
        for _, p in walk(side):
            for r in quantities(p):
                nodes = [a.label for a in system.family(r.family).axes if a.kind == "node"]
                words = system.out_of_range(r, notation.first_of(nodes[0]) if nodes else 0)
                if words is not None:
                    return words
    return ""


def named_from(e: Equality) -> tuple[str, ...]:
    """A cause that the free indices alone tell."""
    extra = (e.free_left ^ e.free_right) & e.axes.keys()
    return ("free_index_mismatch",) if extra and not e.entries else ()


# ---------------------------------------------------------------- counterexamples


def counterexample(setting: Setting, judged: Judged) -> Counterexample | None:
    """A point at which both sides differ, with every number that they depend on; small numbers where there are such."""
    d, e = judged.difference, judged.equality
    if d is None or e is None:
        return None
    system, notation = setting.system, setting.notation
    best = Difference(Oracle(system, d.oracle.sample), d.env, d.left, d.right)
    for small in itertools.islice(plain_differences(system, e, d), MAX_PLAIN):
        if digits(small) < digits(best):
            best = small
        if digits(best) <= READABLE:
            break
    fresh = best.oracle if isinstance(best.oracle, Plain) else Recording(system, best.oracle.sample)
    try:
        fresh.evaluate(e.left, best.env)
        fresh.evaluate(e.right, best.env)
    except (CannotEvaluate, OutOfRange):
        return None
    free = e.free(system)
    indices = {
        n: v + (notation.first_of(e.axes[n][0].label) if n in e.axes else 0)
        for n, v in sorted(best.env.items())
        if n in free
    }
    sizes, size_names = sizes_shown(system, fresh)
    return Counterexample(sizes, indices, inputs(system, fresh), shown(best.left), shown(best.right), size_names)


class Recording(Oracle):
    """Remembers the fractions behind the data that it draws."""

    def __init__(self, system: System, sample: Sample) -> None:
        self.fractions: dict[Any, Fraction] = {}
        self.last = Fraction(0)
        super().__init__(system, sample)

    def number(self, x: Fraction | int) -> Any:
        self.last = Fraction(x)
        return super().number(x)

    def datum(self, family: str, indices: tuple[int, ...]) -> Any:
        value = super().datum(family, indices)
        if hasattr(value, "mid") and value.contains(super().number(self.last)):
            self.fractions[self.key(family, indices)] = self.last
        return value


class Plain(Oracle):
    """A sample with small whole numbers and generic functions of degree two, for a reader to compute again."""

    def rational(self, r: random.Random) -> Fraction:
        return Fraction(r.choice((-2, -1, 1, 2, 3)))

    def polynomial(self, name: str, layer: int | None, z: Any) -> Any:
        key = (name, layer)
        if key not in self.polynomials:
            r = self.draw("plain", name, layer)
            self.polynomials[key] = [
                self.number(r.choice((-1, 0, 1, 2))),
                self.number(r.choice((1, 2, -1))),
                self.number(1),
            ]
        c0, c1, c2 = self.polynomials[key]
        return plus(c0, times(z, plus(c1, times(z, c2))))


def plain_differences(system: System, e: Equality, d: Difference) -> Iterator[Difference]:
    """Differences on small networks of small numbers, where the arithmetic is exact."""
    sample = d.oracle.sample
    if sample.arithmetic == "rigorous intervals" or d.oracle.ordered:
        return
    narrow = max(2, largest_node((e.left, e.right), system) + 1)
    shapes: list[tuple[int, tuple[int, ...]]] = [(sample.layers, sample.widths)]
    if system.layers.names:
        least = max(1, depth_needed((e.left, e.right)) + 1)
        equal = [(n, (narrow,) * (n + 1)) for n in range(least, sample.layers + 1)]
        ones = {w for w in system.widths if w == 1}
        shapes = shapes if ones else [*equal, *shapes]
        if ones:
            shapes = [(n, (1,) * (n + 1)) for n in range(least, sample.layers + 1)]
    for layers, widths in shapes:
        for seed in range(4):
            oracle = Plain(
                system, replace(sample, layers=layers, widths=widths, seed=seed, arithmetic="exact rationals")
            )
            for env in places(system, oracle.sample, e, 3):
                try:
                    a, b = oracle.evaluate(e.left, env), oracle.evaluate(e.right, env)
                except (CannotEvaluate, OutOfRange):
                    continue
                if a != b:
                    yield Difference(Plain(system, oracle.sample), env, a, b)


def digits(d: Difference) -> int:
    """How long both values are in writing."""
    return max(len(shown(d.left)), len(shown(d.right)))


def sizes_shown(system: System, oracle: Oracle) -> tuple[tuple[int, ...], tuple[str, ...]]:
    sample = oracle.sample
    if sample.widths and any(a.at is not None for f in system.families.values() for a in f.axes):
        return sample.widths, ()
    return tuple(v for _, v in sample.sizes), tuple(n for n, _ in sample.sizes)


def inputs(system: System, oracle: Oracle) -> dict[str, Any]:
    """Every datum that was used, in nested lists, and the functions that were drawn."""
    out: dict[str, Any] = {}
    arrays: dict[str, dict[tuple[int, ...], str]] = {}
    several = len({k[0] for k in oracle.values}) > 1
    for (sample, family, indices), value in sorted(oracle.values.items(), key=lambda t: t[0]):
        f = system.family(family)
        if oracle.equation(family, indices) is not None:
            continue
        layers = [i for i, a in zip(indices, f.axes, strict=True) if a.kind == "recursion"]
        rest = tuple(i for i, a in zip(indices, f.axes, strict=True) if a.kind != "recursion")
        name = f"{family}^{{({','.join(map(str, layers))})}}" if layers else family
        if several and f.kind != "parameter":
            name += f" of sample {sample}"
        exact = getattr(oracle, "fractions", {}).get((sample, family, indices))
        arrays.setdefault(name, {})[rest] = shown(value) if exact is None else str(exact)
    for name, entries in arrays.items():
        out[name] = nested(entries)
    for (name, layer), c in sorted(oracle.polynomials.items(), key=repr):
        label = f"{name}^{{({layer})}}(z)" if layer is not None else f"{name}(z)"
        out[label] = polynomial([shown(k) for k in c])
    for name, value in sorted(oracle.params.items()):
        if name != "pi":
            out[name] = shown(value)
    return out


def polynomial(c: list[str]) -> str:
    """A polynomial in z with these coefficients.

    >>> polynomial(["0", "2", "-1", "1"])
    '2z - z^2 + z^3'
    """
    out = ""
    for n, k in enumerate(c):
        if k == "0":
            continue
        size = k.removeprefix("-")
        power = "" if n == 0 else "z" if n == 1 else f"z^{n}"
        number = "" if size == "1" and n else f"({size})" if "/" in size and n else size
        sign = "-" if k.startswith("-") else "+"
        out += f" {sign} {number}{power}" if out else f"{'-' * (sign == '-')}{number}{power}"
    return out or "0"


def nested(entries: Mapping[tuple[int, ...], str]) -> Any:
    """Entries as nested lists; null for those that nothing used."""
    if () in entries:
        return entries[()]
    sizes = [1 + max(k[n] for k in entries) for n in range(len(next(iter(entries))))]
    count = 1
    for s in sizes:
        count *= s
    if count > MAX_ENTRIES:
        return {",".join(map(str, k)): v for k, v in list(entries.items())[:MAX_ENTRIES]}

    def build(prefix: tuple[int, ...]) -> Any:
        if len(prefix) == len(sizes):
            return entries.get(prefix)
        return [build((*prefix, i)) for i in range(sizes[len(prefix)])]

    return build(())


# ---------------------------------------------------------------- words


def scope_of(setting: Setting, e: Equality | None) -> str:
    """Over what a line is claimed."""
    system = setting.system
    numbers = [n for n in system.widths if n is not None]
    if system.numeric and system.layers.names == frozenset() and len(numbers) > 1:
        base = f"sizes {', '.join(map(str, numbers))}"
    elif system.sizes and all(n in system.sizes for n in system.constants):
        base = "sizes " + ", ".join(f"{n} = {v}" for n, v in sorted(system.sizes.items()))
    else:
        base = "all sizes"
        if setting.equal:
            base += " (one width n in all layers)"
    return base + "".join(f", {w}" for w in ranges(system, e)) if e is not None else base


def ranges(system: System, e: Equality) -> Iterator[str]:
    """The range of each free layer or time, from the strongest of its bounds."""
    yield from (f"{n} = {a}" for n, a in sorted(e.values.items()))
    for n in sorted(e.free(system) - e.axes.keys()):
        low: list[Affine] = []
        high: list[Affine] = []
        for c in e.guard:
            k = dict(c.expr.terms).get(n, 0)
            rest = c.expr - Affine(((n, k),)) if k else c.expr
            if c.equal and abs(k) == 1:
                yield f"{n} = {rest * -k}"
                low, high = [], []
                break
            if k == 1:
                low.append(-rest)
            elif k == -1:
                high.append(rest)
        bottom = strongest(low, 1)
        top = strongest(high, -1)
        if bottom is not None or top is not None:
            yield " <= ".join(
                x for x in (str(bottom) if bottom is not None else "", n, str(top) if top is not None else "") if x
            )
    for c in e.guard:
        if c.equal and len(c.expr.terms) == 1 and c.expr.names <= sizes_of(system):
            ((n, k),) = c.expr.terms
            yield f"{n} = {-c.expr.const * k}"
    least: dict[str, int] = {}
    for c in e.guard:
        if c.expr.names and c.expr.names <= system.constants and not c.equal and c.expr.const < -1:
            what = str(c.expr - c.expr.const)
            least[what] = max(least.get(what, 0), -c.expr.const)
    yield from (f"{what} >= {n}" for what, n in least.items())


def strongest(bounds: list[Affine], sign: int) -> Affine | None:
    """Of bounds that differ by numbers the one that matters."""
    out: Affine | None = None
    for b in bounds:
        if out is None:
            out = b
            continue
        d = (b - out).value
        if d is None:
            out = b if b.names and not out.names else out
        elif d * sign > 0:
            out = b
    return out


__all__ = ["Judged", "Setting", "counterexample", "judge", "scope_of", "total"]
