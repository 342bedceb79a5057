"""Hand-ins broken at random, checked against the model of their line: no exception, no hang, nothing proved that numbers deny.

    python benchmarks/fuzz_claims.py [N] [--jobs N] [--seed N]

Prints how many there were, the verdicts, the time and the slowest; exits 1 if an exception, an inner error, a check of
more than LIMIT seconds or a false proof is among them.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from mutations import difference, hand_in, right_lines  # noqa: E402
from test_corpus_claims import CLAIMS, model_of  # noqa: E402

from symbackprop import Network, load  # noqa: E402
from symbackprop.judge import claims, relation  # noqa: E402
from symbackprop.judge.scope import Equality  # noqa: E402
from symbackprop.models import models  # noqa: E402
from symbackprop.read.handin import read_handin  # noqa: E402

LIMIT = 2.0
"""Seconds for one hand-in."""

CHUNK = 500

OTHER_SEEDS = range(31, 33)
"""Of the data on which a proved line is looked at again; the judge draws with 0."""


@dataclass
class Tally:
    verdicts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slow: list[tuple[float, str, bytes]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.verdicts += other.verdicts
        self.faults += other.faults
        self.slow = sorted((*self.slow, *other.slow), reverse=True)[:5]


@cache
def settings() -> tuple[tuple[str, Network, tuple[str, ...]], ...]:
    """Networks, each with right lines of its own: those of the corpus, and a few of every built-in model."""
    out: list[tuple[str, Network, tuple[str, ...]]] = []
    by_model: dict[str, list[str]] = {}
    for c in CLAIMS:
        by_model.setdefault(model_of(c), []).extend(c["claim"] if isinstance(c["claim"], list) else [c["claim"]])
    for name, lines in by_model.items():
        out.append((name, load(TESTS / f"settings/claims/{name}.tex"), tuple(lines)))
    for name in models():
        lines = sorted(right_lines(load(name), 1), key=len)[:12]
        if lines:
            out.append((name, load(name), tuple(lines)))
    return tuple(out)


@contextmanager
def proofs() -> Iterator[list[tuple[relation.Setting, Equality]]]:
    """Every equality that is found proved meanwhile."""
    found: list[tuple[relation.Setting, Equality]] = []
    before = claims.judge

    def noted(setting: relation.Setting, *given: Any) -> relation.Judged:
        judged = before(setting, *given)
        if judged.verdict == "proved" and judged.equality is not None:
            found.append((setting, judged.equality))
        return judged

    claims.judge = noted  # type: ignore[assignment]
    try:
        yield found
    finally:
        claims.judge = before


def faults_of(net: Network, data: bytes) -> tuple[str, list[str], float]:
    """The verdict on a hand-in, all that is wrong with it, and the seconds it took."""
    with proofs() as found:
        start = time.process_time()
        report = net.check(data, explain=False)
        seconds = time.process_time() - start
    out: list[str] = []
    if any("error inside symbackprop" in c.message for c in report.claims):
        out.append(raised(net, data))
    if seconds > LIMIT:
        out.append(f"{seconds:.1f} s")
    for setting, e in found:
        for seed in OTHER_SEEDS:
            if (d := difference(setting.system, e, range(seed, seed + 1), 6, setting.equal)) is not None:
                out.append(f"proved, but {d.left} and {d.right} at {d.env}")
                break
    if not report.text() or not report.json():
        out.append("the report cannot be written")
    return report.verdict, out, seconds


def raised(net: Network, data: bytes) -> str:
    """The exception behind a claim that was not judged, and where it comes from."""
    checker = claims.Checker(relation.Setting(net.system, net.notation))
    for c in read_handin(data).claims:
        try:
            checker.finding(c)
        except Exception as x:
            last = traceback.extract_tb(x.__traceback__)[-1]
            return f"{type(x).__name__} in {Path(last.filename).name}:{last.name}: {x} ({c.latex[:200]})"
    return "an inner error that does not come again"


def part(job: tuple[int, int, int]) -> Tally:
    """One part of the run, from its own seed."""
    seed, number, count = job
    draw = random.Random(f"{seed} {number}")
    tally, known = Tally(), settings()
    for _ in range(count):
        name, net, lines = draw.choice(known)
        data = hand_in(list(lines), draw)
        try:
            verdict, faults, seconds = faults_of(net, data)
        except Exception as x:
            last = traceback.extract_tb(x.__traceback__)[-1]
            verdict, seconds = "exception", 0.0
            faults = [f"{type(x).__name__} in {Path(last.filename).name}:{last.name}: {x}"]
        tally.verdicts[verdict] += 1
        tally.faults += [f"{name}: {f}\n    {data!r}" for f in faults]
        tally.slow = sorted((*tally.slow, (seconds, name, data)), reverse=True)[:5]
    return tally


def fuzz(count: int, jobs: int, seed: int = 0, told: bool = False) -> Tally:
    """The whole run, over processes."""
    parts = [(seed, n, min(CHUNK, count - n * CHUNK)) for n in range((count + CHUNK - 1) // CHUNK)]
    total = Tally()
    with ProcessPoolExecutor(jobs) as pool:
        for n, t in enumerate(pool.map(part, parts)):
            total.add(t)
            for f in t.faults if told else ():
                print(f, flush=True)
            if told and n % 20 == 19:
                print(f"{(n + 1) * CHUNK} done", file=sys.stderr, flush=True)
    return total


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("count", nargs="?", type=int, default=100_000, metavar="N")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    start = time.perf_counter()
    total = fuzz(given.count, given.jobs, given.seed, told=True)
    seconds = time.perf_counter() - start
    verdicts = ", ".join(f"{n} {v}" for v, n in total.verdicts.most_common())
    print(
        f"{given.count} hand-ins in {seconds:.0f} s on {given.jobs} processes: {verdicts}; {len(total.faults)} faults"
    )
    for s, name, data in total.slow:
        print(f"    {s:.2f} s  {name}  {data[:160]!r}")
    return 1 if total.faults else 0


if __name__ == "__main__":
    sys.exit(main())
