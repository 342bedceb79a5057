"""An activation of your own: write it as a Python function, get its derivation and its gradient.

    python examples/own_activation.py

The function is read, not run: its formula becomes part of the derivation, and its slope is derived from it.
"""

import math

import numpy as np

from symbackprop import dense


def swish(z):
    return z / (1 + math.exp(-z))


def main() -> None:
    # The derivation, for any depth and any widths.
    print(dense(activation=swish).derive("w_12^L").text())

    # The same formula as numbers: the gradient function of one network, against finite differences.
    rng = np.random.default_rng(0)
    params = {"w": [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))]}
    x, y = rng.normal(size=3), rng.normal(size=2)
    gradient = dense([3, 4, 2], activation=swish).gradient()
    derived = gradient(params, x, y)["w"][1][1, 2]

    def cost(change: float) -> float:
        moved = {"w": [w.copy() for w in params["w"]]}
        moved["w"][1][1, 2] += change
        return gradient.value_and_grad(moved, x, y)[0]

    step = 1e-6
    measured = (cost(step) - cost(-step)) / (2 * step)
    print(f"dC_0/dw_12^(L) in a network of 3-4-2 nodes: derived {derived:.10f}, by finite differences {measured:.10f}")


if __name__ == "__main__":
    main()
