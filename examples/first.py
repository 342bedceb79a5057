"""From a network to its derivation, its LaTeX, its web page and its gradient: the whole way in one run.

Run it from anywhere:

    python examples/first.py

It prints the derivation of dC_0/dw_jk^(1) for a network of 64, 30 and 10 neurons, checks every step, writes
out/derivation.html and out/derivation.tex beside where you are, and trains the network on the 1797 images
of handwritten digits that scikit-learn brings along. Nothing is downloaded.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from symbackprop import dense


def images(seed: int) -> tuple[np.ndarray, ...]:
    """The digits as rows of 64 numbers from 0 to 1, the labels as rows of ten zeros and ones; a quarter held out."""
    x, label = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order] / 16, np.eye(10)[label[order]]
    cut = len(x) * 3 // 4
    return x[:cut], y[:cut], x[cut:], y[cut:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (20)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the files go (out)")
    options = parser.parse_args()

    # 1. The network: its equations, nothing else.
    net = dense([64, 30, 10], activation="sigmoid", loss="sum_squares", bias=True)

    # 2. The derivation of the gradient by a weight of the hidden layer, and its check.
    derivation = net.derive("w_jk^1")
    print(derivation.text())
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("derivation.html", "derivation.tex"):
        derivation.save(options.out / name)
        print(f"wrote {options.out / name}")

    # 3. The gradient function that comes out of the same derivation, put to work.
    gradient = net.gradient()
    x, y, x_test, y_test = images(seed=0)
    rng = np.random.default_rng(1)
    params = {
        "w": [rng.normal(size=(30, 64)) / 8, rng.normal(size=(10, 30)) / np.sqrt(30)],
        "b": [np.zeros(30), np.zeros(10)],
    }
    print(f"\nTraining {net} on {len(x)} images, {len(x_test)} held out")
    start = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        costs = []
        for rows in np.array_split(rng.permutation(len(x)), len(x) // 16):
            cost, grads = gradient.value_and_grad(params, x[rows], y[rows])
            costs.append(cost)
            for family in params:
                for array, slope in zip(params[family], grads[family], strict=True):
                    array -= 1.0 * slope
        if epoch % 5 == 0 or epoch in (1, options.epochs):
            guess = net.forward(params, x_test)["output"].argmax(axis=1)
            right = np.mean(guess == y_test.argmax(axis=1))
            print(f"epoch {epoch:3}   mean cost {np.mean(costs):.4f}   held-out images right {right:.1%}")
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
