"""A model of one's own, as equations between SymPy objects: from two layers to attention.

Run it from anywhere:

    python examples/own_model.py

It states a network of two layers, derives a gradient and checks it, compares the gradient function with a difference of
costs, and shows that the same equations in LaTeX give an equal network. Then attention, which has no cost of its own: its
gradients are given that of its output, which arrives from outside.
"""

import numpy as np
from sympy import Eq, Sum, exp, sqrt, tanh

from symbackprop import Network
from symbackprop.equations import families, indices, sizes

i, j, k, m, p, c, v = indices("i j k m p c v")


def two_layers():
    # 1. The letters, then one equation for each quantity. What has none is data (x, y) or a parameter (the rest).
    J, K, M = sizes("J K M")
    C, a, h, W, U, x, y, b = families("C a h W U x y b")
    net = Network.from_equations(
        [
            Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, J)) / 2),
            Eq(a[j], Sum(W[j, m] * h[m], (m, 1, M))),
            Eq(h[m], tanh(Sum(U[m, k] * x[k], (k, 1, K)) + b[m])),
        ],
        name="two layers",
    )
    print("Two layers, as a model file:\n")
    print(net.model_text())

    # 2. The derivation of a gradient, by a symbol of the model itself, every step checked.
    print(net.derive(U[m, k]).text())

    # 3. The gradient function that comes out of it, against a difference of two costs.
    rng = np.random.default_rng(0)
    arrays = {"W": rng.normal(size=(2, 4)), "U": rng.normal(size=(4, 3)), "b": rng.normal(size=4)}
    data = {"x": rng.normal(size=3), "y": rng.normal(size=2)}
    gradient = net.gradient()
    _, slopes = gradient.value_and_grad(**arrays, **data)
    step = np.zeros((4, 3))
    step[1, 2] = 1e-6
    up, down = (gradient.value_and_grad(**{**arrays, "U": arrays["U"] + s}, **data)[0] for s in (step, -step))
    print(f"dC/dU_23: derived {slopes['U'][1, 2]:.8f}, by differences {(up - down) / 2e-6:.8f}")

    # 4. LaTeX is another way of writing the same network.
    paper = Network.from_latex(r"""
        C = \frac{1}{2} \sum_{j=1}^{J} (y_j - a_j)^2 \\
        a_j = \sum_{m=1}^{M} W_{jm} h_m \\
        h_m = \tanh\left(b_m + \sum_{k=1}^{K} U_{mk} x_k\right)
    """)
    print(f"Equal to the same equations in LaTeX: {paper.system == net.system}\n")


def attention():
    N, d = sizes("N d")
    Q, K, V, S, P, O = families("Q K V S P O")
    net = Network.from_equations(
        [
            Eq(S[i, j], Sum(Q[i, c] * K[j, c], (c, 1, d)) / sqrt(d)),
            Eq(P[i, j], exp(S[i, j]) / Sum(exp(S[i, p]), (p, 1, N))),
            Eq(O[i, v], Sum(P[i, j] * V[j, v], (j, 1, N))),
        ],
        name="attention",
    )
    print("Attention, and its gradient by the queries:\n")
    print(net.derive(Q[i, c]).text())

    # Every gradient as arrays, given that of the output: here that of the sum of all its entries.
    rng = np.random.default_rng(0)
    arrays = {"Q": rng.normal(size=(5, 3)), "K": rng.normal(size=(5, 3)), "V": rng.normal(size=(5, 2))}
    slopes = net.gradient()(**arrays, upstream={"O": np.ones((5, 2))})
    print("Gradients of shape:", ", ".join(f"d{name} {slope.shape}" for name, slope in slopes.items()))


def main():
    two_layers()
    attention()


if __name__ == "__main__":
    main()
