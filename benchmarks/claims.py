"""The figures of checking hand-written maths, each beside its target, in one table.

    python benchmarks/claims.py [--mutants N] [--slips N] [--fuzz N] [--jobs N] [--rounds N] [--quick]

The corpus of claims in its own settings; relations of the built-in models altered at random, shown to the prover without
the samples; slips made in right lines and found wrong by an oracle of its own; hand-ins broken at random; the time of a
claim with the model loaded, and of `symbackprop check` from a cold start. Exits 1 where a hard limit is broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

from fuzz_claims import fuzz, settings  # noqa: E402
from mutations import claim, difference, line_slips, mutant, relations, wrong  # noqa: E402
from test_corpus_claims import BY_ID, CLAIMS, RIGHT, WRONG, model_of, network  # noqa: E402
from test_safety import HOSTILE  # noqa: E402

from symbackprop import load  # noqa: E402
from symbackprop.judge.prove import Beyond, prove  # noqa: E402
from symbackprop.models import models  # noqa: E402
from symbackprop.report import Report  # noqa: E402

ALIKE = (
    {"missing_sum", "free_index_mismatch"},
    {"transposed_weight", "wrong_index"},
    {"wrong_variable", "missing_activation_derivative"},
    {"sign", "loss_derivative"},
)
"""Causes that count as one."""

TEN_LINES = r"""\begin{align}
\frac{\partial C_0}{\partial w_{jk}^{(L)}} &= \frac{\partial C_0}{\partial z_j^{(L)}} \frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}} \\
&= \frac{\partial C_0}{\partial a_j^{(L)}} \frac{\partial a_j^{(L)}}{\partial z_j^{(L)}} \frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}} \\
&= 2(a_j^{(L)} - y_j) \frac{\partial a_j^{(L)}}{\partial z_j^{(L)}} \frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}} \\
&= 2(a_j^{(L)} - y_j)\, g'^{(L)}(z_j^{(L)}) \frac{\partial z_j^{(L)}}{\partial w_{jk}^{(L)}} \\
&= 2(a_j^{(L)} - y_j)\, g'^{(L)}(z_j^{(L)})\, a_k^{(L-1)} \\
\frac{\partial C_0}{\partial a_k^{(L-1)}} &= \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(L)}} \frac{\partial z_j^{(L)}}{\partial a_k^{(L-1)}} \\
&= \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(L)}}\, w_{jk}^{(L)} \\
&= \sum_{j=0}^{n-1} 2(a_j^{(L)} - y_j)\, g'^{(L)}(z_j^{(L)})\, w_{jk}^{(L)} \\
\frac{\partial C_0}{\partial z_k^{(L-1)}} &= g'^{(L-1)}(z_k^{(L-1)}) \sum_{j=0}^{n-1} \frac{\partial C_0}{\partial z_j^{(L)}}\, w_{jk}^{(L)} \\
\frac{\partial C_0}{\partial w_{kp}^{(L-1)}} &= \frac{\partial C_0}{\partial z_k^{(L-1)}}\, a_p^{(L-2)}
\end{align}
"""


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, what is promised, and whether that is kept."""

    name: str
    value: str
    target: str = ""
    kept: bool | None = None
    hard: bool = False

    def line(self) -> str:
        mark = "" if self.kept is None else "yes" if self.kept else "BROKEN" if self.hard else "no"
        return f"{self.name:<48} {self.value:>26}   {self.target:<16} {mark}"


def rate(name: str, good: int, of: int, least: float) -> Row:
    return Row(name, f"{good} of {of}, {good / of:.1%}", f">= {least:.0%}", good >= least * of)


def limit(name: str, bad: int, of: int) -> Row:
    return Row(name, f"{bad} of {of}", "0", bad == 0, True)


# ---------------------------------------------------------------- the corpus


def alike(a: str, b: str) -> bool:
    return a == b or any({a, b} <= s for s in ALIKE)


def corpus() -> list[Row]:
    reports: dict[str, Report] = {}
    seconds: dict[str, float] = {}
    for c in CLAIMS:
        network(model_of(c))
    for c in CLAIMS:
        text = c["claim"] if isinstance(c["claim"], str) else "\n\n".join(c["claim"])
        start = time.perf_counter()
        reports[c["id"]] = network(model_of(c)).check(text, explain=False)
        seconds[c["id"]] = (time.perf_counter() - start) / max(1, len(reports[c["id"]].claims))
    verdicts = Counter((BY_ID[n]["truth"], r.verdict) for n, r in reports.items())
    first = sum(reports[n].first_wrong_claim == BY_ID[n].get("first_wrong_line", 1) for n in WRONG)
    guesses = {n: reports[n].first_wrong.causes if reports[n].first_wrong is not None else () for n in WRONG}
    once = sum(any(alike(g, BY_ID[n]["cause"]) for g in guesses[n][:1]) for n in WRONG)
    thrice = sum(any(alike(g, BY_ID[n]["cause"]) for g in guesses[n][:3]) for n in WRONG)
    slowest = max(seconds, key=lambda n: seconds[n])
    median, worst = statistics.median(seconds.values()), seconds[slowest]
    return [
        limit("wrong claims proved", verdicts["wrong", "proved"], len(WRONG)),
        limit("right claims refuted", verdicts["right", "refuted"], len(RIGHT)),
        rate("right claims proved", verdicts["right", "proved"], len(RIGHT), 0.95),
        rate("wrong claims refuted", verdicts["wrong", "refuted"], len(WRONG), 0.98),
        rate("first wrong claim", first, len(WRONG), 0.97),
        rate("cause, first guess", once, len(WRONG), 0.85),
        rate("cause, among the first three", thrice, len(WRONG), 0.97),
        Row("time for one claim, median", f"{1000 * median:.0f} ms", "< 50 ms", median < 0.05),
        Row("time for one claim, worst", f"{worst:.2f} s ({slowest})", "< 2 s", worst < 2),
    ]


# ---------------------------------------------------------------- the prover alone


def altered(job: tuple[str, int, int]) -> tuple[int, int, int, list[str]]:
    """Altered relations of one model: how many, how many differ, proofs, and false proofs."""
    name, count, seed = job
    draw = random.Random(f"{seed} {name}")
    known = list(dict.fromkeys(relations(name, load(name))))
    different = proofs = 0
    false: list[str] = []
    for _ in range(count):
        r = mutant(draw.choice(known), draw)
        e = claim(r)
        if e is None:
            continue
        differs = difference(r.system, e, range(1)) is not None
        different += differs
        try:
            proved = prove(r.system, e) is not None
        except (Beyond, RecursionError):
            continue
        proofs += proved
        if proved and (differs or difference(r.system, e, range(1, 4), 12) is not None):
            false.append(f"{name}: {r.left} = {r.right}, {r.guard}")
    return count, different, proofs, false


def prover(count: int, jobs: int, seed: int) -> list[Row]:
    names = list(models())
    each = -(-count // len(names))
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(altered, [(n, each, seed) for n in names]))
    false = [x for *_, bad in found for x in bad]
    for x in false:
        print(f"false proof: {x}", file=sys.stderr)
    made, different, proofs = (sum(f[n] for f in found) for n in range(3))
    words = f"{len(false)} of {different}"
    return [
        Row("altered relations that differ, proved by the prover alone", words, "0", not false, True),
        Row("    altered in all; proved and equal", f"{made}; {proofs - len(false)}"),
    ]


# ---------------------------------------------------------------- slips


def slipped(job: tuple[int, int, int]) -> tuple[Counter[str], list[str]]:
    """Slips of one setting that are really wrong, by verdict."""
    number, count, seed = job
    name, net, lines = settings()[number]
    draw = random.Random(f"{seed} {name}")
    out: Counter[str] = Counter()
    missed: list[str] = []
    right = [x for x in lines if wrong(net, x) is False and net.check(x, explain=False).verdict == "proved"]
    for _ in range(6):
        for line in draw.sample(right, len(right)):
            for slip in line_slips(line, draw, 1):
                if sum(out.values()) >= count:
                    return out, missed
                if wrong(net, slip):
                    verdict = net.check(slip, explain=False).verdict
                    out[verdict] += 1
                    if verdict != "refuted":
                        missed.append(f"{verdict}: {name}: {slip}")
    return out, missed


def slips(count: int, jobs: int, seed: int) -> list[Row]:
    known = settings()
    each = -(-count // len(known))
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(slipped, [(n, each, seed) for n in range(len(known))]))
    total = sum((c for c, _ in found), Counter[str]())
    for _, missed in found:
        for x in missed:
            print(f"slip not refuted: {x}", file=sys.stderr)
    made = sum(total.values())
    return [
        Row("slips made in right lines, refuted", f"{total['refuted']} of {made}", "all, >= 300", total["refuted"] == made >= 300),
        limit("    of these proved", total["proved"], made),
    ]  # fmt: skip


def broken(count: int, jobs: int, seed: int) -> list[Row]:
    start = time.perf_counter()
    total = fuzz(count, jobs, seed)
    seconds = time.perf_counter() - start
    for x in total.faults:
        print(f"fuzz: {x}", file=sys.stderr)
    false = sum("proved, but" in x for x in total.faults)
    slow = f", slowest {total.slow[0][0]:.1f} s" if total.slow else ""
    return [
        Row("broken hand-ins with a fault", f"{len(total.faults)} of {count}", "0 of 100000", not total.faults),
        limit("    proved that numbers deny", false, count),
        Row("    time", f"{seconds:.0f} s{slow}"),
    ]


def hostile() -> list[Row]:
    """The hand-ins of `tests/test_safety.py`, each within its limit or given up."""
    net, worst, slowest = load("deeplizard"), 0.0, ""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    for name, text in HOSTILE.items():
        start = time.process_time()
        signal.alarm(20)
        try:
            str(net.check(text, explain=False).html())
        except TimeoutError:
            pass
        finally:
            signal.alarm(0)
        if (seconds := time.process_time() - start) > worst:
            worst, slowest = seconds, name
    signal.signal(signal.SIGALRM, before)
    return [Row("hostile hand-ins, the slowest", f"{worst:.2f} s ({slowest})", "< 2 s", worst < 2)]


# ---------------------------------------------------------------- a cold start


def cold(rounds: int) -> list[Row]:
    """`symbackprop check` of ten lines against the import of SymPy, in turns."""
    check = [sys.executable, "-m", "symbackprop", "check", "-"]
    theirs = [sys.executable, "-c", "import sympy"]
    times: dict[str, list[float]] = {"check": [], "sympy": []}
    for n in range(rounds + 1):
        for name, command, text in (("check", check, TEN_LINES), ("sympy", theirs, "")):
            start = time.perf_counter()
            done = subprocess.run(command, input=text, capture_output=True, text=True)
            if n:
                times[name].append(time.perf_counter() - start)
            if done.returncode:
                sys.exit(f"{' '.join(command)}: {done.stdout[:300]}{done.stderr[-300:]}")
    a, b = (statistics.median(times[k]) for k in ("check", "sympy"))
    words = f"{a:.2f} s / {b:.2f} s = {a / b:.2f}"
    return [Row("check of ten lines, cold / import sympy", words, "< 3", a < 3 * b)]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mutants", type=int, default=5000, metavar="N", help="altered relations (default: 5000)")
    options.add_argument("--slips", type=int, default=2000, metavar="N", help="slips in right lines (default: 2000)")
    options.add_argument("--fuzz", type=int, default=2000, metavar="N", help="broken hand-ins (default: 2000)")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--rounds", type=int, default=7, help="cold starts of each command")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--quick", action="store_true", help="the corpus and the cold start alone")
    given = options.parse_args()
    rows = corpus() + cold(given.rounds)
    if not given.quick:
        rows += hostile()
        rows += slips(given.slips, given.jobs, given.seed) if given.slips else []
        rows += prover(given.mutants, given.jobs, given.seed) if given.mutants else []
        rows += broken(given.fuzz, given.jobs, given.seed) if given.fuzz else []
    print(f"{'figure':<48} {'measured':>26}   {'target':<16} kept    ({os.cpu_count()} cores)")
    for r in rows:
        print(r.line())
    return 1 if any(r.hard and r.kept is False for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
