"""Times of deriving and of starting, each beside its peer in the same run.

    python benchmarks/derivation.py

Commands are started afresh and in turn with their peer; a ratio is the median of the paired rounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

ROUNDS = 9


def start(arguments: list[str]) -> float:
    """Seconds that one fresh process takes."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def against(ours: list[str], peer: list[str]) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the paired ratios."""
    start(ours), start(peer)  # bytecode and disk caches filled
    pairs = [(start(ours), start(peer)) for _ in range(ROUNDS)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def median(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def thirty_two() -> None:
    from symbackprop import dense

    kinds = ["sigmoid", "tanh", "relu", "softplus", "silu", "elu", "gelu", "leaky_relu"]
    net = dense([3 + i % 5 for i in range(33)], activation=[kinds[i % 8] for i in range(32)], bias=True)
    net.derive("w_12^1").steps  # noqa: B018


def thousand() -> None:
    import numpy as np

    from symbackprop import dense

    net = dense([8] * 1001, activation="tanh", bias=True)
    r = np.random.default_rng(0)
    params = {"w": [r.standard_normal((8, 8)) / 3 for _ in range(1000)], "b": [np.zeros(8) for _ in range(1000)]}
    net.gradient()(params, r.standard_normal(8), r.standard_normal(8))


def main() -> None:
    rows: list[tuple[str, str, str, bool]] = []
    import sympy  # noqa: F401

    from symbackprop import dense

    def lecture() -> None:
        dense().derive().record.steps  # noqa: B018

    first = median(lecture, 1)
    typical = median(lecture)
    rows.append(
        (
            "derivation, symbolic L and sizes, lecture",
            f"{typical * 1e3:.1f} ms (first {first * 1e3:.0f}, its modules loaded)",
            "50 ms",
            typical < 0.050,
        )
    )

    def shown() -> None:
        from symbackprop.notation import DEEPLIZARD
        from symbackprop.render import formats

        formats.latex(dense().derive()._document("lecture", DEEPLIZARD, False))

    t = median(shown)
    rows.append(("the same, printed as LaTeX", f"{t * 1e3:.1f} ms", "50 ms", t < 0.050))
    t = median(thirty_two, 3)
    rows.append(("32 distinct layers", f"{t:.3f} s", "1 s", t < 1))
    t = median(thousand, 3)
    rows.append(("1000 layers to a gradient", f"{t:.3f} s", "2 s", t < 2))
    ours, peer, ratio = against(["-m", "symbackprop", "derive"], ["-c", "import sympy"])
    rows.append(
        (
            "symbackprop derive, check included / import sympy",
            f"{ours:.3f} s / {peer:.3f} s = {ratio:.2f}",
            "1.6",
            ratio <= 1.6,
        )
    )
    ours, peer, ratio = against(["-m", "symbackprop", "--help"], ["-c", "pass"])
    rows.append(
        (
            "symbackprop --help / python -c pass",
            f"{ours * 1e3:.0f} ms / {peer * 1e3:.0f} ms = {ratio:.2f}",
            "2",
            ratio <= 2,
        )
    )
    print(f"{'figure':<52}{'measured':<40}{'at most':<10}")
    for name, measured, target, met in rows:
        print(f"{name:<52}{measured:<40}{target:<10}{'' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
