"""Slips made in derived lines of every built-in model, and how often their cause is named and the line repaired.

    python benchmarks/slips.py [EACH] [SEED]

EACH slips of each cause, drawn at random from all that can be made; near-synonyms of a cause count as the same. Slips that
happen to leave a line true are passed over. Times are of the processor, in milliseconds.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from slips_made import slips

from symbackprop import Network, load
from symbackprop.errors import SymbackpropError
from symbackprop.judge.sampling import Samples, samples_of
from symbackprop.judge.scope import ShapeMismatch, equality
from symbackprop.judge.slips import guess, repairs
from symbackprop.models import models
from symbackprop.read.expression import read_line
from symbackprop.render.latex import Latex
from symbackprop.symbols import Partial, Ref

LONGEST = 400
SAME = (
    {"missing_sum", "free_index_mismatch"},
    {"transposed_weight", "wrong_index"},
    {"free_index_mismatch", "wrong_index"},  # which of both it is depends on the letters beside it
    {"wrong_variable", "missing_activation_derivative"},
    {"sign", "loss_derivative"},
)


def alike(a: str, b: str) -> bool:
    """Whether two causes count as the same."""
    return a == b or {a, b} in SAME


def lines(net: Network) -> Iterator[str]:
    """The lines of the derivations of every gradient of a model."""
    system, show = net.system, Latex(net.system, net.notation)
    seen: set[str] = set()
    for f in system.families.values():
        if f.kind in ("cost", "target") or not system.cost:
            continue
        try:
            sections = net.derive(show(Partial(Ref(system.cost, ()), f.pattern))).record.sections
        except SymbackpropError:
            continue
        for s in sections:
            text = f"{show(s.subject)} = {show(s.result)}"
            if text not in seen and len(text) < LONGEST:
                seen.add(text)
                yield text


def verdict(text: str, net: Network, samples: Samples) -> str:
    """wrong, right, or unread."""
    try:
        left, right = read_line(text, net.system, net.notation)
        found = samples.compare(equality(net.system, left, right))
    except ShapeMismatch:
        return "wrong"
    except (SymbackpropError, ValueError):
        return "unread"
    return "wrong" if found.difference is not None else "right" if found.points else "unread"


def main(each: int = 20, seed: int = 0) -> None:
    made: dict[str, list[tuple[str, str]]] = {}
    nets = {name: load(name) for name in sorted(models())}
    samples = {n: samples_of(net.system, net.notation.width == "n") for n, net in nets.items()}
    for name, net in nets.items():
        for line in lines(net):
            if verdict(line, net, samples[name]) == "right":
                for cause, wrong in slips(line, seed):
                    made.setdefault(cause, []).append((name, wrong))
    count, first, three, repaired, times = Counter[str](), Counter[str](), Counter[str](), Counter[str](), []
    for cause, found in made.items():
        for name, wrong in random.Random(f"{seed} {cause}").sample(found, len(found)):
            if count[cause] == each:
                break
            net = nets[name]
            if verdict(wrong, net, samples[name]) != "wrong":
                continue
            start = time.process_time()
            fixes = repairs(wrong, 0, net.system, net.notation, samples=samples[name])
            times.append(1000 * (time.process_time() - start))
            causes = list(dict.fromkeys((*(f.cause for f in fixes), *guess(wrong, 0, net.system, net.notation))))
            count[cause] += 1
            first[cause] += alike(causes[0], cause)
            three[cause] += any(alike(c, cause) for c in causes[:3])
            repaired[cause] += bool(fixes)
    print(f"{'cause':<32}{'slips':>6}{'first':>8}{'of three':>10}{'repaired':>10}")
    rows = [(c, count[c], first[c], three[c], repaired[c]) for c in count]
    rows.append(("all", *(sum(c.values()) for c in (count, first, three, repaired))))
    for c, n, a, b, d in rows:
        print(f"{c:<32}{n:>6}{a / n:>8.1%}{b / n:>10.1%}{d / n:>10.1%}")
    times.sort()
    print(f"median {times[len(times) // 2]:.0f} ms, worst {times[-1]:.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
