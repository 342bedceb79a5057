"""Every built-in model: reading its file, deriving its gradients, and twelve transformer blocks against one.

    python benchmarks/library.py [NAME ...]

Times are medians of several runs in milliseconds, once everything is imported; each is printed beside its target.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import sympy  # noqa: F401 - its import is no part of any figure

from symbackprop.derive import adjoints, derive
from symbackprop.models import models, read_file
from symbackprop.network import System, with_upstream
from symbackprop.read.model import read_model
from symbackprop.rules import graph
from symbackprop.rules.graph import reaches
from symbackprop.symbols import Partial, Ref

READING, DERIVING = 100, 1000


def cold(run: Callable[[], object], rounds: int = 3) -> float:
    """The median time of a run that finds nothing remembered, in milliseconds."""
    times = []
    for _ in range(rounds):
        for f in vars(graph).values():
            if hasattr(f, "cache_clear"):
                f.cache_clear()
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def goals(system: System) -> list[Partial]:
    """The gradient by every parameter and every datum that is no gradient from outside."""
    outside = set(system.upstream.values())
    return [
        Partial(Ref(system.cost, ()), f.pattern)
        for n, f in system.families.items()
        if f.kind in ("parameter", "input") and f.over is None and n not in outside and reaches(system, n, system.cost)
    ]


def main(names: list[str]) -> None:
    print(f"{'model':<24}{'reading':>9}{'slowest derivation':>20}{'whole backward pass':>21}   (milliseconds)")
    worst_read = worst_derive = 0.0
    for name in names or list(models()):
        text = read_file(models()[name].path)
        reading = cold(lambda text=text: read_model(text))  # type: ignore[misc]
        system = with_upstream(read_model(text).system)
        slowest = max(cold(lambda g=g, s=system: derive(s, g), 1) for g in goals(system))  # type: ignore[misc]
        whole = cold(lambda s=system: adjoints(s))  # type: ignore[misc]
        worst_read, worst_derive = max(worst_read, reading), max(worst_derive, slowest)
        print(f"{name:<24}{reading:>9.1f}{slowest:>20.0f}{whole:>21.0f}")
    print(f"worst: reading {worst_read:.0f} (target {READING}), derivation {worst_derive:.0f} (target {DERIVING})")
    if not names:
        blocks()


def blocks() -> None:
    """Twelve blocks are the recursion over l, derived once: the cost is that of one block."""
    text = read_file(models()["transformer"].path)
    times = {}
    for count in (1, 12):
        system = with_upstream(read_model(text, sizes={"L": count}).system)
        goal = Partial(Ref(system.cost, ()), system.families["Q"].pattern)
        times[count] = cold(lambda s=system, g=goal: derive(s, g))  # type: ignore[misc]
    general = with_upstream(read_model(text).system)
    goal = Partial(Ref(general.cost, ()), general.families["Q"].pattern)
    any_depth = cold(lambda: derive(general, goal))
    print(
        f"transformer: one block {times[1]:.0f}, twelve {times[12]:.0f}, any number {any_depth:.0f}; "
        f"twelve / one {times[12] / times[1]:.2f} (target 2)"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
