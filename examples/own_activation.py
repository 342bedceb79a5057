"""An activation of your own: write it as a Python function, get its derivation and its gradient.

    python examples/own_activation.py

The function is read, not run: its formula becomes part of the derivation, and its slope is derived from it.
"""

import math

import numpy as np

from symbackprop import dense


def swish(z):
    return z / (1 + math.exp(-z))


def steep(z):
    """A function with a case: its slope is the slope of the case that holds."""
    if z > 0:
        return 2 * z
    return z / 2


def main() -> None:
    net = dense([3, 4, 2], activation=[swish, steep])
    print(net.derive("w_12^1").text())

    # The same formula as numbers: the gradient function against central differences.
    rng = np.random.default_rng(0)
    params = {"w": [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))]}
    x, y = rng.normal(size=3), rng.normal(size=2)
    gradient = net.gradient()
    derived = gradient(params, x, y)["w"][0][1, 2]

    def cost(change: float) -> float:
        moved = {"w": [w.copy() for w in params["w"]]}
        moved["w"][0][1, 2] += change
        return gradient.value_and_grad(moved, x, y)[0]

    step = 1e-6
    measured = (cost(step) - cost(-step)) / (2 * step)
    print(f"dC_0/dw_12^(1): derived {derived:.10f}, by finite differences {measured:.10f}")


if __name__ == "__main__":
    main()
