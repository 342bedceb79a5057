"""Generated gradients of general models against handwritten NumPy and PyTorch, on one thread, interleaved.

    python benchmarks/models.py [NAME ...] [--repeat 15]

Each is a value with its gradient for an upstream gradient of the output. Times are process time, the best of the
repeats; memory is the peak of one call, buffers included (tracemalloc, which NumPy reports to). Ours is timed as it
is called first in a program, with fresh results, and as `bind` gives it.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402 - the number of threads is read when NumPy is imported
import time  # noqa: E402
import tracemalloc  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from handwritten import GATES, HANDWRITTEN, Handwritten  # noqa: E402

import symbackprop  # noqa: E402
from symbackprop.compile import ModelGradient, compile_gradient  # noqa: E402
from symbackprop.derive import adjoints  # noqa: E402
from symbackprop.network import with_upstream  # noqa: E402
from symbackprop.read.model import read_model  # noqa: E402

TOLERANCE = {"float64": 1e-11, "float32": 2e-3}


def generated(entry: Handwritten) -> tuple[ModelGradient, float]:
    """Our gradient function, and the seconds that reading and deriving took."""
    start = time.perf_counter()
    built_in = Path(symbackprop.__file__).parent / "library" / f"{entry.model}.tex"
    text = built_in.read_text() if "\\" not in entry.model else entry.model
    system = read_model(text).system
    system = with_upstream(system, [system.families[entry.output].pattern])
    whole = {n: v for n, v in entry.numbers.items() if isinstance(v, int)}
    function = compile_gradient(system, adjoints(system), wrt=entry.wrt, sizes=whole)
    assert isinstance(function, ModelGradient)
    return function, time.perf_counter() - start


def torch_function(name: str, arrays: dict[str, Any], upstream: Any, numbers: Any) -> Callable[[], Any] | None:
    """The same in PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    F = torch.nn.functional
    t = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    d = torch.tensor(upstream)

    def forward() -> Any:
        if name.startswith("conv2d"):
            return F.conv2d(t["x"], t["w"], t["beta"], numbers["s"], numbers["p"])
        if name.startswith("attention"):
            return torch.softmax(t["Q"] @ t["K"].transpose(-1, -2) * t["Q"].shape[-1] ** -0.5, -1) @ t["V"]
        if name == "layer-normalisation":
            return F.layer_norm(t["x"], t["x"].shape[-1:], t["gamma"], t["beta"], numbers["epsilon"])
        order = "ifgo"  # as PyTorch's own LSTM has its gates
        assert set(order) == set(GATES)
        W, U, b = (torch.cat([t[f"{n}_{g}"] for g in order]) for n in "WUb")
        h = (t["h_0"][None], t["c_0"][None])
        return torch.lstm(t["x"], h, [W, U, b, torch.zeros_like(b)], True, 1, 0.0, False, False, False)[0]

    def run() -> Any:
        y = forward()
        return y, torch.autograd.grad(y, list(t.values()), d)

    return run


def best(functions: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """The least process time of each, in milliseconds, one after the other in each round."""
    times: dict[str, list[float]] = {n: [] for n in functions}
    for _ in range(repeat):
        for n, f in functions.items():
            start = time.process_time()
            f()
            times[n].append(time.process_time() - start)
    return {n: min(t) * 1e3 for n, t in times.items()}


def peak(f: Callable[[], Any]) -> int:
    """The most memory that a call holds at once, beyond what was there."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    f()
    found = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return found


def compare(name: str, dtype: str, repeat: int) -> str:
    """One row: times, ratios to the handwritten function, and memory."""
    entry = HANDWRITTEN[name]
    ours, derived = generated(entry)
    rng = np.random.default_rng(0)
    arrays, upstream = entry.make(rng, dtype), entry.make_upstream(rng, dtype)
    scalars = {n: v for n, v in entry.numbers.items() if not isinstance(v, int)}
    given = {**arrays, **scalars}
    memory = peak(lambda: ours.value_and_grad(given, upstream=upstream))
    ours = generated(entry)[0]
    start = time.perf_counter()
    _, grads = ours.value_and_grad(given, upstream=upstream)
    generating = time.perf_counter() - start
    _, expected = entry.value_and_grad(arrays, upstream)
    for n in entry.wrt:
        error = np.abs(grads[n] - expected[n]).max() / np.abs(expected[n]).max()
        assert error < TOLERANCE[dtype], f"{name}: the gradient by {n} differs by {error:.1e}"
    functions: dict[str, Callable[[], Any]] = {
        "handwritten": lambda: entry.value_and_grad(arrays, upstream),
        "ours": lambda: ours.value_and_grad(given, upstream=upstream),
        "bound": ours.bind(given, upstream=upstream, value=True),
    }
    torch = torch_function(name, arrays, upstream[entry.output], entry.numbers)
    if torch is not None:
        functions["torch"] = torch
    found = best(functions, repeat)
    by_hand = found["handwritten"]
    less = memory / peak(functions["handwritten"])
    columns = [
        f"{by_hand:11.2f}",
        *(f"{found[n] / by_hand:7.2f}" if n in found else " " * 7 for n in ("ours", "bound", "torch")),
    ]
    return f"{name:<20} {dtype} {' '.join(columns)} {less:7.2f} {derived:7.2f} {generating:7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HANDWRITTEN))
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    print(
        f"{'':<20} {'':<7} {'handwritten':>11} {'ours':>7} {'bound':>7} {'torch':>7} {'memory':>7} {'derive':>7} {'compile':>7}"
    )
    print(f"{'':<20} {'':<7} {'ms':>11} {'ratio':>7} {'ratio':>7} {'ratio':>7} {'ratio':>7} {'s':>7} {'s':>7}")
    for name in options.names or HANDWRITTEN:
        for dtype in ("float64", "float32"):
            print(compare(name, dtype, options.repeat), flush=True)


if __name__ == "__main__":
    main()
