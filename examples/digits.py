"""Handwritten digits: softmax, cross-entropy, mini-batches and momentum, with the gradient written into place.

    python examples/digits.py

Where first.py stays close to the lessons, this is how one would train in earnest: the output layer is a
softmax with the cross-entropy, whose gradient by z^(L) is just a - y, and the gradient function writes into
arrays that are made once (`out=`).
"""

import argparse
import time
from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits

from symbackprop import dense

Params = dict[str, list[np.ndarray]]


def initial(sizes: list[int], rng: np.random.Generator) -> Params:
    """Weights of size 1/sqrt(n_{l-1}), so that every z starts at about the size of the activations below."""
    pairs = list(pairwise(sizes))
    return {
        "w": [rng.normal(size=(above, below)) / np.sqrt(below) for below, above in pairs],
        "b": [np.zeros(above) for _, above in pairs],
    }


def zeros_like(params: Params) -> Params:
    return {family: [np.zeros_like(a) for a in arrays] for family, arrays in params.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (20)")
    options = parser.parse_args()

    sizes, batch, rate, momentum = [64, 48, 10], 32, 0.1, 0.9
    net = dense(sizes, activation=["relu", "softmax"], loss="softmax_cross_entropy", bias=True)
    print("By the derivation,", net.derive("z_j^2").steps[-1].subject, "=", net.derive("z_j^2").result)

    rng = np.random.default_rng(0)
    x, label = load_digits(return_X_y=True)
    order = rng.permutation(len(x))
    x, label = x[order] / 16, label[order]
    y = np.eye(10)[label]
    cut = len(x) * 3 // 4

    params = initial(sizes, rng)
    grads, velocity = zeros_like(params), zeros_like(params)
    gradient = net.gradient()
    start = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        order = rng.permutation(cut)
        total = 0.0
        for i in range(0, cut, batch):
            rows = order[i : i + batch]
            cost, _ = gradient.value_and_grad(params, x[rows], y[rows], out=grads)
            total += cost * len(rows)
            for family in params:
                for p, v, g in zip(params[family], velocity[family], grads[family], strict=True):
                    v *= momentum
                    v -= rate * g
                    p += v
        if epoch % 5 == 0 or epoch in (1, options.epochs):
            right = np.mean(net.forward(params, x[cut:])["output"].argmax(axis=1) == label[cut:])
            print(f"epoch {epoch:3}   mean cost {total / cut:.4f}   held-out images right {right:.1%}")
    print(f"{cut} images, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
