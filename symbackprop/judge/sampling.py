"""Both sides of a claim on sample networks, exactly: the judge's way to refute.

Samples are kept for each network, so that further claims about it share the values that its oracles have computed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from itertools import product

from symbackprop.check import depth_needed, draw_samples, largest_node, ordered, positions, possible, usable
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Axis
from symbackprop.judge.scope import Equality, sizes_of, width_letters
from symbackprop.network import AsWritten, System
from symbackprop.oracle import CannotEvaluate, Number, Oracle, OutOfRange, Sample, transcendental
from symbackprop.symbols import Delta, Expr, Max, Prod, Sum, names, walk

POINTS = 5
"""Points at each sample: most with distinct indices, one with equal ones, one at the ends of the ranges."""

MAX_SHOWN = 4_000
"""Bits of a number that is written out."""

MAX_STATED = 40
"""The largest size of a hand-in's own that samples take."""

MANY = 60
"""Points where both sides are mostly 0."""

LENGTHS = (6, 12, 24)
"""Layers and times of networks for lines that need many."""

SEEDS = 3
"""How often the data of the first network are drawn anew: two data that are equal by chance hide a wrong index."""


@dataclass(frozen=True)
class Difference:
    """A point at which the two sides differ."""

    oracle: Oracle
    env: dict[str, int]
    left: Number
    right: Number


@dataclass(frozen=True)
class Comparison:
    """Both sides on the samples.

    Args:
        points: At how many points both sides had a value and agreed.
        difference: The first point at which they differ.
        outside: The first quantity that does not exist, in words.
        networks: The samples, in words.
        zero: Whether both sides were 0 at every point.
    """

    points: int
    difference: Difference | None = None
    outside: str = ""
    networks: tuple[str, ...] = ()
    zero: bool = False


@dataclass
class Samples:
    """The sample networks of one system.

    Args:
        equal: Only networks of one width, as the lessons' plain n means.
    """

    system: System
    equal: bool = False
    seed: int = 0
    kept: dict[tuple[int, int, bool, tuple[tuple[str, int], ...]], tuple[Oracle, ...]] = field(default_factory=dict)

    def oracles(self, e: Equality) -> tuple[Oracle, ...]:
        # A sum to a number speaks of networks that are as wide, as w_12 does.
        sides: list[Expr] = [e.left, e.right, *ends(e.left), *ends(e.right)]
        fixed = stated(e, self.system)
        key = (largest_node(sides, self.system), depth_needed(sides), transcendental(self.system, sides), fixed)
        if key not in self.kept:
            drawn = draw_samples(self.system, sides, self.seed)
            if self.equal:
                drawn = list(dict.fromkeys(map(evened, drawn)))
            drawn = list(dict.fromkeys(as_stated(self.system, s, dict(fixed)) for s in drawn))
            drawn += [replace(drawn[0], seed=drawn[0].seed + 7 * n) for n in range(1, SEEDS) if drawn]
            try:
                self.kept[key] = tuple(usable(self.system, s) for s in drawn)
            except ModelError:
                self.kept[key] = ()
        return self.kept[key]

    def compare(self, e: Equality, points: int = POINTS, networks: int | None = None) -> Comparison:
        """Both sides at a few points of every sample, until they differ."""
        found = self.compared(self.oracles(e)[:networks], e, points)
        if not found.points and found.difference is None and not found.outside and networks is None:
            # Where no logarithm or root has a value, other data may have one; what needs T >= 20, a longer network.
            found = self.compared(self.further(e), e, points)
            for length in LENGTHS if not found.points and found.difference is None else ():
                found = self.compared(self.longer(e, length), e, 2)
                if found.points or found.difference is not None:
                    break
        if found.points and found.zero and networks is None:
            # Both sides were 0 everywhere, as beside the place of a maximum: further places.
            more = self.compared(self.oracles(e)[:2], e, MANY)
            found = more if more.difference is not None else replace(found, points=found.points + more.points)
        return found

    def further(self, e: Equality) -> tuple[Oracle, ...]:
        """The first network with other data."""
        first = self.oracles(e)[:1]
        return tuple(
            usable(self.system, replace(o.sample, seed=o.sample.seed + 31 * n)) for o in first for n in (1, 2, 3, 4)
        )

    def longer(self, e: Equality, length: int) -> tuple[Oracle, ...]:
        """A narrow network with so many layers, or times, where these are not stated."""
        lasts = {n for f in self.system.families.values() for a in f.axes if a.last is not None for n in a.last.names}
        if not lasts - {n for n, _ in stated(e, self.system)}:
            return ()
        out = []
        for o in self.oracles(e)[:1]:
            s = o.sample
            sizes = tuple((n, length if n in lasts else v) for n, v in s.sizes)
            if self.system.layers.names and s.widths:
                narrow = min(max(s.widths), 2)
                s = replace(s, layers=length, widths=(narrow,) * (length + 1))
            fast = s.arithmetic == "exact rationals" and not o.ordered and not ordered(self.system)
            arithmetic = "integers modulo a prime" if fast else s.arithmetic
            try:
                out.append(usable(self.system, replace(s, sizes=sizes, arithmetic=arithmetic)))
            except CannotEvaluate:
                continue
        return tuple(out)

    def compared(self, oracles: tuple[Oracle, ...], e: Equality, points: int) -> Comparison:
        agreed, outside, zero = 0, "", True
        for oracle in oracles:
            for env in places(self.system, oracle.sample, e, points):
                try:
                    a, b = oracle.evaluate(e.left, env), oracle.evaluate(e.right, env)
                    same = oracle.agree(a, b)
                except CannotEvaluate:
                    continue
                except OutOfRange as x:
                    outside = outside or str(x)
                    continue
                if not same:
                    return Comparison(agreed, Difference(oracle, env, a, b), outside)
                agreed += 1
                zero = zero and is_zero(a)
        return Comparison(agreed, None, outside, tuple(o.sample.describe() for o in oracles), zero)


def evened(s: Sample) -> Sample:
    """The sample with one width for all layers that are wider than one node."""
    if not s.widths:
        return s
    wide = max(s.widths)
    return replace(s, widths=tuple(1 if w == 1 else wide for w in s.widths))


def as_stated(system: System, s: Sample, fixed: Mapping[str, int]) -> Sample:
    """The sample with the sizes that the model, or the hand-in, states as numbers."""
    layers, widths = s.layers, s.widths
    depth = next((fixed[n] for n in system.layers.names if n in fixed), None)
    if depth is not None and widths:
        layers, widths = depth, (widths * (depth + 1))[: depth + 1]
    letters = width_letters(system)
    width = next((v for n, v in fixed.items() if n in letters), None)
    if width is not None:
        widths = (width,) * len(widths)
    widths = tuple(
        system.size(Axis("node", n, Affine((), i))) or w for i, w in enumerate(widths) for n in sorted(letters)[:1]
    )
    if len({*system.widths}) == 1 and system.layers.value is None:
        widths = tuple(system.widths[0] or w for w in widths)
    sizes = tuple((n, fixed.get(n, system.sizes.get(n, v))) for n, v in s.sizes)
    return replace(s, layers=layers, widths=widths, sizes=sizes)


def stated(e: Equality, system: System) -> tuple[tuple[str, int], ...]:
    """Sizes and depths that a hand-in gives as numbers."""
    known = sizes_of(system)
    out = {}
    for c in e.guard:
        if c.equal and len(c.expr.terms) == 1 and abs(c.expr.terms[0][1]) == 1 and c.expr.terms[0][0] in known:
            name, k = c.expr.terms[0]
            out[name] = -c.expr.const * k
    return tuple(sorted((n, v) for n, v in out.items() if 0 < v <= MAX_STATED))


def ends(e: Expr) -> list[Delta]:
    """The numbers at which sums over nodes end, as nodes."""
    out: list[Delta] = []
    for _, p in walk(e):
        if isinstance(p, Sum | Max | Prod) and p.axis.kind == "node":
            for c in p.guard:
                if not c.equal and dict(c.expr.terms) == {p.index: -1}:
                    out.append(Delta(Affine((), c.expr.const), Affine((), c.expr.const), p.axis))
    return out


def places(system: System, sample: Sample, e: Equality, count: int) -> Iterator[dict[str, int]]:
    """Values of the free indices within the claimed range, no place twice."""
    free = e.free(system)
    nodes = {n: e.axes[n] for n in sorted(free) if n in e.axes}
    recursion = sorted(free - nodes.keys())
    standing = {**dict.fromkeys(system.layers.names, sample.layers), **dict(sample.sizes)}
    widths = sorted((names(e.left) | names(e.right)) & width_letters(system))
    if widths and len(set(sample.widths)) != 1:
        return
    one = dict.fromkeys(widths, sample.widths[0]) if widths else {}
    standing |= one
    highest = max([sample.layers, *standing.values()])
    times = [
        dict(zip(recursion, values, strict=True))
        for values in product(range(highest + 1), repeat=len(recursion))
        if possible(e.guard, {**standing, **dict(zip(recursion, values, strict=True))})
    ]
    r = random.Random(repr((sample.seed, sample.layers, sorted(nodes), recursion)))
    r.shuffle(times)
    seen: set[tuple[int, ...]] = set()
    for n in range(count):
        for _ in range(20):
            if not times:
                return
            at = times[n % len(times)]
            env = {**standing, **at}
            point = {**one, **at}
            common = r.random()
            for name, axes in nodes.items():
                try:
                    size = min(positions(a, sample, env) for a in axes)
                except (IndexError, KeyError):
                    size = 0
                if size < 1:
                    break
                others = [point[m] for m in nodes if m in point]
                left = [i for i in range(size) if i not in others] or list(range(size))
                point[name] = int(common * size) if n == 2 else (0 if n == 3 else r.choice(left))
            else:
                key = tuple(point.values())
                if key in seen or not possible(e.guard, {**env, **point}) or not distinct(e, {**env, **point}):
                    continue
                seen.add(key)
                yield point
                break


def distinct(e: Equality, env: dict[str, int]) -> bool:
    """Whether indices that are said to differ do."""
    return all(a.evaluate(env) for a in e.apart if a.names <= env.keys())


def is_zero(x: Number) -> bool:
    """Whether a value is 0, or a ball around it."""
    return bool(x.contains(0)) if hasattr(x, "contains") else bool(x == 0)


@lru_cache(maxsize=16)
def _samples(system: AsWritten, equal: bool, seed: int) -> Samples:
    return Samples(system.system, equal, seed)


def samples_of(system: System, equal: bool = False, seed: int = 0) -> Samples:
    """The kept samples of a network."""
    return _samples(AsWritten(system), equal, seed)


def shown(x: Number) -> str:
    """A value that a reader can compute again: a fraction, or 15 certain digits."""
    if hasattr(x, "mid"):
        return f"{float(x.mid()):.15g}"
    if isinstance(x, Fraction) and max(x.numerator.bit_length(), x.denominator.bit_length()) > MAX_SHOWN:
        tens = int((x.numerator.bit_length() - x.denominator.bit_length()) * 0.30103)
        return f"about {'-' if x < 0 else ''}10^{tens}"
    return str(x)


__all__ = ["Affine", "Comparison", "Difference", "Samples", "samples_of", "shown"]
