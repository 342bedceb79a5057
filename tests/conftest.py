"""What the tests share: evaluation of both sides of an equality on sample networks, and golden files."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from symbackprop.check import sample_sizes
from symbackprop.indices import Axis, Guard
from symbackprop.network import System
from symbackprop.oracle import CannotEvaluate, Oracle, Sample, transcendental
from symbackprop.symbols import Delta, Expr, Partial, Ref, Vec, bound, names, walk

WIDTHS = ((5, 3, 4, 6), (3, 3, 3, 3), (4, 6, 3, 5, 4))
"""All distinct, so that no transpose passes; all equal, so that no slip hides behind a shape; one layer more."""


def entry(e: Expr) -> Expr:
    """An array replaced by its general entry: arrays are compared entry by entry."""
    if isinstance(e, Partial) and isinstance(e.bottom, Vec) and isinstance(e.bottom.body, Ref):
        return Partial(e.top, e.bottom.body, e.direct)
    if isinstance(e, Vec):
        return e.body
    return e.rebuild(tuple(map(entry, e.parts))) if e.parts else e


def axes_of(e: Expr, system: System) -> dict[str, list[Axis]]:
    """The axes on which every free node or sample index stands."""
    out: dict[str, list[Axis]] = {}
    inside = bound(e)
    for _, p in walk(e):
        refs = [
            r
            for r in (p, getattr(p, "top", None), getattr(p, "bottom", None), getattr(p, "variable", None))
            if isinstance(r, Ref)
        ]
        pairs = [(a, i) for r in refs for a, i in zip(system.axes(r), r.indices, strict=True)]
        if isinstance(p, Delta):
            pairs += [(p.axis, p.left), (p.axis, p.right)]
        for axis, i in pairs:
            if axis.kind != "recursion" and i.name is not None and i.name not in inside:
                out.setdefault(i.name, []).append(axis)
    return out


def widths_for(system: System) -> Iterator[tuple[int, ...]]:
    """Widths of sample networks: those that the system states, else the three above."""
    depth = system.layers.value
    if not system.widths:
        # Nothing is layered; the sizes that the system names are drawn anew for each of these.
        yield from ((1,) * n for n in range(1, 5))
        return
    for widths in WIDTHS:
        if depth is not None:
            widths = tuple((widths * (depth + 1))[: depth + 1])
        stated = system.widths if len(system.widths) == len(widths) else (system.widths[0],) * len(widths)
        yield tuple(w if s is None else s for w, s in zip(widths, stated, strict=True))


def assert_equal_on_samples(
    before: Expr,
    after: Expr,
    system: System,
    assume: Guard = (),
    *,
    points: int = 8,
    seeds: Sequence[int] = (0,),
    least: int = 3,
) -> None:
    """Both sides have the same value at points of sample networks, for free indices that satisfy `assume`.

    Raises:
        AssertionError: They differ somewhere, or fewer than `least` points could be evaluated.
    """
    before, after = entry(before), entry(after)
    left, right = axes_of(before, system), axes_of(after, system)
    axes = {n: [*left.get(n, []), *right.get(n, [])] for n in left.keys() | right.keys()}
    assumed = frozenset(n for c in assume for n in c.expr.names)
    free = (names(before) | names(after) | assumed) - system.constants
    layers = sorted(free - axes.keys())
    arithmetic = "rigorous intervals" if transcendental(system, [before, after]) else "exact rationals"
    evaluated = 0
    for seed, widths in itertools.product(seeds, dict.fromkeys(widths_for(system))):
        sizes = sample_sizes(system, 0, seed + len(widths))
        oracle = Oracle(system, Sample(len(widths) - 1, widths, seed, arithmetic, sizes=sizes))
        envs = []
        highest = max([len(widths) - 1, *oracle.standing.values()])
        for values in itertools.product(range(highest + 1), repeat=len(layers)):
            env = {**oracle.standing, **dict(zip(layers, values, strict=True))}
            if not all(c.holds(env) for c in assume if c.expr.names <= env.keys()):
                continue
            ranges = [range(min(oracle.width(axis, env) for axis in axes[n])) for n in sorted(axes)]
            nodes = [{**env, **dict(zip(sorted(axes), node, strict=True))} for node in itertools.product(*ranges)]
            envs += [v for v in nodes if all(c.holds(v) for c in assume)]
        for env in random.Random(seed).sample(envs, min(points, len(envs))):
            try:
                left, right = oracle.evaluate(before, env), oracle.evaluate(after, env)
                equal = oracle.agree(left, right)
            except CannotEvaluate:
                continue
            evaluated += 1
            assert equal, f"{left} != {right} at {env}, widths {widths}"
    assert evaluated >= least, f"only {evaluated} points could be evaluated"


def differs_on_samples(before: Expr, after: Expr, system: System, assume: Guard = ()) -> bool:
    """Whether the samples tell the two apart: that there were none to try is no answer."""
    try:
        assert_equal_on_samples(before, after, system, assume, points=24)
    except AssertionError as e:
        if "could be evaluated" in str(e):
            raise
        return True
    return False


class Golden:
    """Compares a text with a file beside the tests, or rewrites the file under --update-golden."""

    def __init__(self, update: bool) -> None:
        self.update = update
        self.folder = Path(__file__).parent / "golden"

    def check(self, name: str, text: str) -> None:
        path = self.folder / name
        text = text if text.endswith("\n") else text + "\n"
        if self.update:
            self.folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; look at it after `pytest tests/test_golden.py --update-golden`"
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; if it reads better, run with --update-golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from what is printed now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.config.getoption("--update-golden"))
