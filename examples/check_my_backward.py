"""A backward pass of one's own, checked: a right one, and the same with a slip that is named.

Run it from anywhere:

    python examples/check_my_backward.py
"""

import numpy as np

from symbackprop import dense


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def backward(params, x, y, slip=False):
    """Two hidden layers of tanh, softmax with cross-entropy; a batch of samples in the rows of x and y."""
    (w_1, w_2, w_3), (b_1, b_2, b_3) = params["w"], params["b"]
    h_1 = np.tanh(x @ w_1.T + b_1)
    h_2 = np.tanh(h_1 @ w_2.T + b_2)
    p = softmax(h_2 @ w_3.T + b_3)
    delta_3 = p - y
    delta_2 = (delta_3 @ w_3) * (1 - h_2**2)
    delta_1 = delta_2 @ w_2
    if not slip:
        delta_1 *= 1 - h_1**2
    m = len(x)
    return {
        "w": [delta_1.T @ x / m, delta_2.T @ h_1 / m, delta_3.T @ h_2 / m],
        "b": [delta_1.mean(axis=0), delta_2.mean(axis=0), delta_3.mean(axis=0)],
    }


def main():
    net = dense([5, 4, 6, 3], ["tanh", "tanh", "softmax"], "softmax_cross_entropy", bias=True)

    # 1. The right one: it agrees on 20 sets of random arrays.
    print(net.check_function(backward), "\n")

    # 2. The same without the derivative of the first tanh.
    report = net.check_function(lambda params, x, y: backward(params, x, y, slip=True))
    print(report)
    assert report.causes == ("missing_activation_derivative",)


if __name__ == "__main__":
    main()
