"""The generated NumPy gradient against the same backpropagation written by hand, idiomatically.

    python benchmarks/gradient_numpy.py            the table
    python benchmarks/gradient_numpy.py --quick    fewer rounds

Both run in one process on one BLAS thread, in interleaved rounds; a ratio is the median over rounds of
ours / handwritten in that round, so below 1 is faster. Time is that of the process, which other work on the
machine disturbs less; with one thread it is the time one waits on an idle machine. Targets: 1.03 everywhere, 0.7 on the two tiny nets
and at batch 1. The sizes, the cost (sum of squares) and the activation (sigmoid) are those of the
project's comparison with other tools.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402 - the number of threads is read when NumPy is imported
import itertools  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from symbackprop.compile import compile_gradient  # noqa: E402
from symbackprop.derive import adjoints  # noqa: E402
from symbackprop.network import dense_system  # noqa: E402

NETS = ((2, 3, 2), (4, 8, 3), (784, 30, 10), (784, 128, 64, 10), (784, 512, 512, 10))
BATCHES = (1, 32, 1024)
DTYPES = ("float64", "float32")
TINY = 2


def handwritten(params: list[tuple[Any, Any]], x: Any, y: Any) -> list[tuple[Any, Any]]:
    """The gradient as one writes it in NumPy, sigma' from the stored activation."""
    a = [x]
    for w, b in params:
        z = a[-1] @ w.T + b
        a.append(1 / (1 + np.exp(-z)))
    d = 2 / x.shape[0] * (a[-1] - y) * (a[-1] * (1 - a[-1]))
    grads: list[Any] = [None] * len(params)
    for n in range(len(params) - 1, -1, -1):
        grads[n] = (d.T @ a[n], d.sum(0))
        if n:
            d = (d @ params[n][0]) * (a[n] * (1 - a[n]))
    return grads


def data(sizes: tuple[int, ...], batch: int, dtype: str) -> tuple[dict[str, list[Any]], Any, Any]:
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(sizes))
    params = {
        "w": [(rng.standard_normal((o, i)) / i**0.5).astype(dtype) for i, o in pairs],
        "b": [(rng.standard_normal(o) * 0.1).astype(dtype) for _, o in pairs],
    }
    x = rng.standard_normal((batch, sizes[0])).astype(dtype)
    y = np.eye(sizes[-1], dtype=dtype)[rng.integers(0, sizes[-1], batch)]
    return params, x, y


def lasts(call: Callable[[], Any], count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def compare(calls: list[Callable[[], Any]], rounds: int, seconds: float) -> list[tuple[float, float]]:
    """(least time, median ratio to the first) of each, in interleaved rounds."""
    counts = []
    for c in calls:
        c()
        counts.append(max(1, int(seconds / max(lasts(c, 3), 1e-7))))
    times: list[list[float]] = [[] for _ in calls]
    for r in range(rounds):
        for n in (range(len(calls)), reversed(range(len(calls))))[r % 2]:
            times[n].append(lasts(calls[n], counts[n]))
    return [(min(t), statistics.median(a / b for a, b in zip(t, times[0], strict=True))) for t in times]


def deep(layers: int) -> float:
    """Seconds from 1000 layers to the first gradient, the arrays being there."""
    params, x, y = data((8,) * (layers + 1), 4, "float64")
    start = time.process_time()
    system = dense_system([8] * (layers + 1), activation="sigmoid", bias=True)
    compile_gradient(system, adjoints(system))(params, x, y)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    print(f"NumPy {np.__version__}, one thread; ours / handwritten, median of paired rounds; * misses its target")
    print(f"{'net':<16} {'batch':>5} {'dtype':<8} {'handwritten':>12} {'bound':>7} {'out=':>7} {'target':>7}")
    for sizes in NETS:
        for dtype in DTYPES:
            system = dense_system(list(sizes), activation="sigmoid", bias=True)
            f = compile_gradient(system, adjoints(system))
            for batch in BATCHES:
                params, x, y = data(sizes, batch, dtype)
                pairs = list(zip(params["w"], params["b"], strict=True))
                grads = f(params, x, y)
                for (w, b), mine_w, mine_b in zip(handwritten(pairs, x, y), grads["w"], grads["b"], strict=True):
                    for theirs, mine in ((w, mine_w), (b, mine_b)):
                        error = np.linalg.norm(theirs - mine) / np.linalg.norm(theirs)
                        assert error < (1e-12 if dtype == "float64" else 1e-4), error
                bound = f.bind(params, x, y)
                large = sizes[0] > 100 and batch > 1
                rounds, seconds = (8, 0.01) if quick else (20 if large else 30, 0.03)

                def by_hand(p: Any = pairs, x: Any = x, y: Any = y) -> Any:
                    return handwritten(p, x, y)

                def into(p: Any = params, x: Any = x, y: Any = y, out: Any = grads, f: Any = f) -> Any:
                    return f(p, x, y, out=out)

                result = compare([by_hand, bound, into], rounds, seconds)
                target = 0.7 if batch == 1 or NETS.index(sizes) < TINY else 1.03
                cells = "".join(f" {r:6.2f}{'*' if r > target else ' '}" for _, r in result[1:])
                name = "-".join(map(str, sizes))
                print(
                    f"{name:<16} {batch:>5} {dtype:<8} {result[0][0] * 1e6:>9.1f} µs{cells} {target:>7.2f}", flush=True
                )
    seconds = min(deep(1000) for _ in range(1 if quick else 3))
    print(f"1000 layers, equations to first gradient: {seconds:.2f} s{' *' if seconds > 2 else ''} (target 2 s)")


if __name__ == "__main__":
    main()
