"""A course of hand-ins through the local processes, and through a local Dask cluster: how many a second, and whether any is lost.

    python benchmarks/check_many.py [N] [--jobs N] [--timeout SECONDS] [--claims FILE] [--only pool|cluster]

A hand-in is a handful of claims of the corpus, some of them altered, in a LaTeX document; every hundredth is bytes at random.
Half way through the run on the cluster one of its workers is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from symbackprop.batch import HandIn, Setting, check_many, cores
from symbackprop.report import Report

CLAIMS = Path(__file__).parents[1] / "tests" / "corpus" / "claims.jsonl"

ALTERED = (("jk", "kj"), ("2", ""), ("+", "-"), ("(L)", "(L-1)"), ("a_", "z_"), ("\\sum", "\\prod"), ("=", "= -"))
"""What a slip does to a line."""


def claims(path: Path) -> list[str]:
    """The lines of the corpus in the notation of the lessons."""
    out: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["notation"] == "deeplizard":
            out += [entry["claim"]] if isinstance(entry["claim"], str) else []
    return out


def hand_ins(count: int, lines: list[str], seed: int = 0) -> Iterator[HandIn]:
    """Documents of two to six claims, each altered with a chance of one in three."""
    draw = random.Random(seed)
    for n in range(count):
        if n % 100 == 99:
            yield HandIn(f"{n}.tex", draw.randbytes(2000))
            continue
        chosen = [altered(x, draw) if draw.random() < 1 / 3 else x for x in draw.choices(lines, k=draw.randint(2, 6))]
        text = "\n".join(f"So\n\\[ {x} \\]" for x in chosen)
        yield HandIn(f"{n}.tex", text.encode())


def altered(line: str, draw: random.Random) -> str:
    old, new = draw.choice([a for a in ALTERED if a[0] in line] or [("", "")])
    at = draw.choice([n for n in range(len(line)) if line.startswith(old, n)] or [0])
    return line[:at] + new + line[at + len(old) :]


def told(name: str, reports: Iterator[Report], count: int, half: object = None) -> None:
    """Run, and print the figures of the run."""
    start = time.perf_counter()
    found = []
    for r in reports:
        found.append((r.file, r.verdict, r.notes[0][:60] if r.notes and not r.claims else ""))
        if half is not None and len(found) == count // 2:
            half()  # type: ignore[operator]
    seconds = time.perf_counter() - start
    lost = {f"{n}.tex" for n in range(count)} - {f for f, _, _ in found}
    in_order = [f for f, _, _ in found] == [f"{n}.tex" for n in range(count)]
    verdicts = ", ".join(f"{n} {v}" for v, n in Counter(v for _, v, _ in found).most_common())
    why = Counter(w for _, _, w in found if w)
    print(
        f"{name}: {count} hand-ins in {seconds:.1f} s, {count / seconds:.1f} a second, lost {len(lost)}, in order: {in_order}"
    )
    print(f"    {verdicts}")
    for words, n in why.most_common(5):
        print(f"    {n} x {words}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("count", nargs="?", type=int, default=10_000, metavar="N")
    options.add_argument("--jobs", type=int, default=cores())
    options.add_argument("--timeout", type=float, default=60.0)
    options.add_argument("--claims", type=Path, default=CLAIMS)
    options.add_argument("--only", choices=("pool", "cluster"))
    given = options.parse_args()
    lines, setting = claims(given.claims), Setting(timeout=given.timeout)
    if given.only != "cluster":
        reports = check_many(hand_ins(given.count, lines), setting, given.jobs)
        told(f"{given.jobs} processes", reports, given.count)
    if given.only != "pool":
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            sys.exit("the cluster is left out: pip install 'symbackprop[dask]'")
        from symbackprop.cluster import check_on_cluster

        with LocalCluster(
            n_workers=given.jobs, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster, Client(cluster) as client:  # fmt: skip
            pids = sorted(client.run(os.getpid).values())
            reports = check_on_cluster(hand_ins(given.count, lines), setting, cluster.scheduler_address)
            told(
                f"cluster of {given.jobs} workers, one of them killed half way",
                reports,
                given.count,
                lambda: os.kill(pids[0], signal.SIGKILL),
            )


if __name__ == "__main__":
    main()
