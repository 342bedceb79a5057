"""The built-in models once more, by hand and on another engine: what a gradient has to agree with.

Each entry of `REFERENCES` is a forward pass written from the mathematics with HIPS autograd's NumPy, never from
the model's LaTeX; `gradient` is autograd's. `python tests/reference_models.py` compares all with central differences.

Arrays go by the name of their family (`W`, `gamma`, `x_hat` for \\hat{x}, `W_Q` for W^{Q}, `W_1` for W^{(1)}). A time or
layer that counts from 1 is the leading axis (position t - 1), a list where its members differ in shape; the base case
is an array of its own (`h_0`). Tokens and labels count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import autograd
import autograd.numpy as np
import numpy
from autograd.scipy.special import erf

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """One model, independently.

    Args:
        sizes: Symbol of each size to a number; axes of one array are of equal length only where the model makes them so.
        arrays: Random values for all that no equation defines.
        forward: The cost, or the outputs by name where the model has none.
        wrt: The families to differentiate by.
        functions: What is put for each generic function: a name, a list with one for each layer, or a function.
    """

    sizes: Mapping[str, int]
    arrays: Callable[[numpy.random.Generator], Arrays]
    forward: Callable[[Arrays], Any]
    wrt: tuple[str, ...]
    functions: Mapping[str, Any] = field(default_factory=dict)


REFERENCES: dict[str, Reference] = {}

SIGMOID = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
SOFTPLUS = lambda z: np.log(1 + np.exp(z))  # noqa: E731
NAMED = {"sigmoid": SIGMOID, "tanh": np.tanh, "softplus": SOFTPLUS}


def gradient(name: str, arrays: Arrays, upstream: Mapping[str, Any] | None = None) -> Arrays:
    """The gradient of the cost, or of sum(upstream * output) over the outputs, by each family of `wrt`."""
    wrt = REFERENCES[name].wrt

    def f(chosen: list[Any]) -> Any:
        return scalar(name, {**arrays, **dict(zip(wrt, chosen, strict=True))}, upstream)

    return dict(zip(wrt, autograd.grad(f)([arrays[n] for n in wrt]), strict=True))


def scalar(name: str, arrays: Arrays, upstream: Mapping[str, Any] | None = None) -> Any:
    """What `gradient` differentiates."""
    out = REFERENCES[name].forward(arrays)
    if not isinstance(out, dict):
        return out
    assert upstream, f"{name} has no cost: give an upstream gradient for some of {', '.join(out)}"
    return sum(np.sum(d * out[n]) for n, d in upstream.items())


def upstream(name: str, arrays: Arrays, rng: numpy.random.Generator) -> Arrays | None:
    """Random upstream gradients for all outputs; None where there is a cost."""
    out = REFERENCES[name].forward(arrays)
    return {n: rng.standard_normal(o.shape) for n, o in out.items()} if isinstance(out, dict) else None


def reference(
    name: str, sizes: Mapping[str, int], arrays: Mapping[str, Any], wrt: str, **functions: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a forward pass, which takes its arrays in the order of `arrays`.

    An array is the sizes of its axes ("N D", standard normal), a list of those (one for each layer), a number, or a
    function of a random generator.
    """

    def draw(rng: numpy.random.Generator, what: Any) -> Any:
        if isinstance(what, str):
            return rng.standard_normal([sizes[s] for s in what.split()])
        if isinstance(what, list):
            return [draw(rng, w) for w in what]
        return what(rng) if callable(what) else numpy.float64(what)

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        REFERENCES[name] = Reference(
            sizes,
            lambda rng: {n: draw(rng, what) for n, what in arrays.items()},
            lambda given: f(*(given[n] for n in arrays)),
            tuple(wrt.split()),
            functions,
        )
        return f

    return enter


def softmax(z: Any) -> Any:
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


# Layered networks. Without an equation for layer 0 its activations are the base case a_0.

DEPTH = {"L": 3, "n_0": 5, "n_1": 3, "n_2": 4, "n_3": 6}
WEIGHTS = {"w": ["n_1 n_0", "n_2 n_1", "n_3 n_2"]}
BIASES = {"b": ["n_1", "n_2", "n_3"]}
IN_OUT = {"a_0": "n_0", "y": "n_3"}
PER_LAYER = ["sigmoid", "tanh", "softplus"]


@reference("deeplizard", DEPTH, {**WEIGHTS, **IN_OUT}, "w", g=PER_LAYER)
def deeplizard(w, a, y):
    for w_l, g in zip(w, PER_LAYER, strict=True):
        a = NAMED[g](w_l @ a)
    return np.sum((a - y) ** 2)


def sigma_network(w, b, a):
    for w_l, b_l in zip(w, b, strict=True):
        a = SIGMOID(w_l @ a + b_l)
    return a


@reference("3b1b", DEPTH, {**WEIGHTS, **BIASES, **IN_OUT}, "w b", sigma="sigmoid")
def three_blue(w, b, a_0, y):
    return np.sum((sigma_network(w, b, a_0) - y) ** 2)


@reference("3b1b-chain", {"L": 3}, {"w": "L", "b": "L", "a_0": "", "y": ""}, "w b", sigma="sigmoid")
def chain(w, b, a, y):
    for l in range(3):
        a = SIGMOID(w[l] * a + b[l])
    return (a - y) ** 2


@reference("nielsen", DEPTH, {**WEIGHTS, **BIASES, **IN_OUT}, "w b", sigma="sigmoid")
def nielsen(w, b, a_0, y):
    return np.sum((y - sigma_network(w, b, a_0)) ** 2) / 2


def any_cost(a):
    return np.sum(a**3) + np.prod(a)


@reference("nielsen-general", DEPTH, {**WEIGHTS, **BIASES, "a_0": "n_0"}, "w b", sigma="sigmoid", C=any_cost)
def nielsen_general(w, b, a_0):
    return any_cost(sigma_network(w, b, a_0))


@reference(
    "softmax",
    DEPTH,
    {**WEIGHTS, **BIASES, "a_0": "n_0", "y": lambda rng: rng.dirichlet(numpy.ones(6))},
    "w b",
)
def softmax_network(w, b, a_0, y):
    a = sigma_network(w[:-1], b[:-1], a_0)
    return -y @ np.log(softmax(w[-1] @ a + b[-1]))


@reference("mlp", {**DEPTH, "N": 7}, {**WEIGHTS, **BIASES, "x": "N n_0", "y": "N n_3"}, "w b", g=PER_LAYER)
def mlp(w, b, a, y):
    for w_l, b_l, g in zip(w, b, PER_LAYER, strict=True):
        a = NAMED[g](a @ w_l.T + b_l)
    return np.mean(np.sum((a - y) ** 2, axis=1))


# Regression and classification.


@reference("softmax-cross-entropy", {"K": 5}, {"z": "K", "y": lambda rng: rng.dirichlet(numpy.ones(5))}, "z")
def softmax_cross_entropy(z, y):
    return np.log(np.sum(np.exp(z))) - y @ z  # sum(y) is 1


DATA = {"x": "N D", "w": "D", "b": ""}


@reference("logistic-regression", {"N": 7, "D": 3}, {**DATA, "y": lambda rng: rng.integers(0, 2, 7)}, "w b")
def logistic_regression(x, w, b, y):
    z = x @ w + b
    return np.mean(SOFTPLUS(z) - y * z)


CLASSES = {"x": "N D", "w": "K D", "b": "K"}


@reference(
    "multinomial-regression",
    {"N": 7, "D": 3, "K": 4},
    {**CLASSES, "y": lambda rng: numpy.eye(4)[rng.integers(0, 4, 7)]},
    "w b",
)
def multinomial_regression(x, w, b, y):
    return -np.sum(y * np.log(softmax(x @ w.T + b))) / len(x)


@reference("multinomial-labels", {"N": 7, "D": 3, "K": 4}, {**CLASSES, "y": lambda rng: rng.integers(0, 4, 7)}, "w b")
def multinomial_labels(x, w, b, y):
    return -np.mean(np.log(softmax(x @ w.T + b))[np.arange(len(x)), y])


@reference("ridge", {"N": 7, "D": 3}, {**DATA, "y": "N", "lambda": 0.3}, "w b")
def ridge(x, w, b, y, penalty):
    return np.mean((x @ w + b - y) ** 2) / 2 + penalty / 2 * w @ w


@reference("lasso", {"N": 7, "D": 3}, {**DATA, "y": "N", "lambda": 0.3}, "w b")
def lasso(x, w, b, y, penalty):
    return np.mean((x @ w + b - y) ** 2) / 2 + penalty * np.sum(np.abs(w))


@reference(
    "matrix-factorisation",
    {"I": 5, "J": 4, "K": 3},
    {"r": "I J", "m": lambda rng: rng.integers(0, 2, (5, 4)), "lambda": 0.3, "u": "I K", "v": "J K"},
    "u v",
)
def matrix_factorisation(r, m, penalty, u, v):
    seen = np.nonzero(m)
    residuals = (r - u @ v.T)[seen]
    return residuals @ residuals + penalty * (np.sum(u**2) + np.sum(v**2))


@reference("infonce", {"N": 5, "D": 3}, {"u": "N D", "v": "N D", "tau": 0.7}, "u v")
def infonce(u, v, tau):
    cost = 0
    for i in range(len(u)):
        scores = [u[i] @ v[j] / np.sqrt(u[i] @ u[i] * (v[j] @ v[j])) / tau for j in range(len(v))]
        cost += np.log(sum(np.exp(s) for s in scores)) - scores[i]
    return cost / len(u)


# Layers and blocks.


@reference("dense", {"N": 5, "J": 4, "K": 3}, {"W": "J K", "b": "J", "x": "N K"}, "W b x", g="tanh")
def dense(w, b, x):
    return {"a": np.tanh(x @ w.T + b)}


@reference(
    "residual-block",
    {"N": 5, "J": 4, "K": 3},
    {"W_1": "J K", "b_1": "J", "W_2": "K J", "b_2": "K", "x": "N K"},
    "W_1 b_1 W_2 b_2 x",
)
def residual_block(w_1, b_1, w_2, b_2, x):
    h = np.maximum(x @ w_1.T + b_1, 0)
    return {"y": np.maximum(x + h @ w_2.T + b_2, 0)}


@reference("tied-autoencoder", {"N": 5, "J": 4, "K": 3}, {"W": "J K", "b": "J", "d": "K", "x": "N K"}, "W b d x")
def tied_autoencoder(w, b, d, x):
    decoded = np.tanh(x @ w.T + b) @ w + d
    return np.mean(np.sum((decoded - x) ** 2, axis=1)) / 2


@reference(
    "vae",
    {"N": 5, "J": 2, "K": 4},
    {
        "W_mu": "J K",
        "b_mu": "J",
        "W_s": "J K",
        "b_s": "J",
        "W_x": "K J",
        "b_x": "K",
        "x": lambda rng: rng.random((5, 4)),
        "epsilon": "N J",
    },
    "W_mu b_mu W_s b_s W_x b_x",
)
def vae(w_mu, b_mu, w_s, b_s, w_x, b_x, x, epsilon):
    mean, log_variance = x @ w_mu.T + b_mu, x @ w_s.T + b_s
    logits = (mean + np.exp(log_variance / 2) * epsilon) @ w_x.T + b_x
    reconstruction = np.sum(SOFTPLUS(logits) - x * logits)
    divergence = np.sum(mean**2 + np.exp(log_variance) - log_variance - 1) / 2
    return (reconstruction + divergence) / len(x)


@reference(
    "dropout", {"n_i": 5, "n_j": 3}, {"m": lambda rng: rng.integers(0, 2, (5, 3)), "q": 0.4, "x": "n_i n_j"}, "x"
)
def dropout(m, q, x):
    return {"y": np.where(m == 1, x / (1 - q), 0)}


@reference("embedding", {"V": 5, "n_t": 7, "n_c": 3}, {"E": "V n_c", "x": lambda rng: rng.integers(0, 5, 7)}, "E")
def embedding(table, x):
    return {"y": table[x]}


@reference(
    "batch-normalisation",
    {"N": 5, "n_j": 3},
    {"x": "N n_j", "gamma": "n_j", "beta": "n_j", "epsilon": 1e-3},
    "x gamma beta",
)
def batch_normalisation(x, gamma, beta, epsilon):
    return {"y": gamma * (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + epsilon) + beta}


def normalise(x, gamma, beta, epsilon):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return gamma * centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + epsilon) + beta


@reference(
    "layer-normalisation",
    {"n_b": 2, "n_i": 5, "D": 4},
    {"x": "n_b n_i D", "gamma": "D", "beta": "D", "epsilon": 1e-3},
    "x gamma beta",
)
def layer_normalisation(x, gamma, beta, epsilon):
    return {"y": normalise(x, gamma, beta, epsilon)}


@reference("rms-normalisation", {"n_i": 5, "D": 4}, {"x": "n_i D", "gamma": "D", "epsilon": 1e-3}, "x gamma")
def rms_normalisation(x, gamma, epsilon):
    return {"y": x * gamma / np.sqrt(np.mean(x**2, axis=1) + epsilon)[:, None]}


# Convolution and pooling. Sizes where the window does not fit a whole number of times.


@reference(
    "conv1d",
    {"n_b": 2, "C": 4, "n_o": 7, "M": 10, "K": 3, "I": 5, "s": 2, "p": 1},
    {"x": "n_b C M", "w": "n_o C K", "beta": "n_o"},
    "x w beta",
)
def conv1d(x, w, beta):
    s, p, kernel = 2, 1, w.shape[2]
    x = np.pad(x, ((0, 0), (0, 0), (p, p)), "constant")
    starts = range(0, x.shape[2] - kernel + 1, s)
    columns = [np.tensordot(x[:, :, i : i + kernel], w, ([1, 2], [1, 2])) + beta for i in starts]
    return {"y": np.stack(columns, axis=2)}


@reference(
    "conv2d",
    {"n_b": 8, "C": 4, "n_o": 7, "M": 10, "N": 11, "K": 3, "R": 2, "I": 5, "J": 6, "s": 2, "p": 1},
    {"x": "n_b C M N", "w": "n_o C K R", "beta": "n_o"},
    "x w beta",
)
def conv2d(x, w, beta, s=2, p=1):
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), "constant")
    rows = [
        np.stack([np.tensordot(window, w, ([1, 2, 3], [1, 2, 3])) for window in row], axis=-1)
        for row in patches(x, *w.shape[2:], s)
    ]
    return {"y": np.stack(rows, axis=-2) + beta[:, None, None]}


def patches(x, height, width, s):
    """Windows of the last two axes, by row and column of the output."""
    tops, lefts = range(0, x.shape[2] - height + 1, s), range(0, x.shape[3] - width + 1, s)
    return [[x[:, :, i : i + height, j : j + width] for j in lefts] for i in tops]


POOLING = {"n_b": 2, "n_c": 6, "M": 9, "N": 12, "I": 4, "J": 5, "r": 3, "s": 2}


@reference("average-pooling", POOLING, {"x": "n_b n_c M N"}, "x")
def average_pooling(x):
    return {"y": pool(x, np.mean)}


@reference("max-pooling", POOLING, {"x": "n_b n_c M N"}, "x")
def max_pooling(x):
    return {"y": pool(x, np.max)}


def pool(x, f, r=3, s=2):
    rows = [np.stack([f(window, axis=(2, 3)) for window in row], axis=-1) for row in patches(x, r, r, s)]
    return np.stack(rows, axis=-2)


# Recurrence.


@reference(
    "rnn",
    {"T": 4, "I": 2, "J": 5, "K": 3},
    {"U": "J K", "W": "J J", "b": "J", "V": "I J", "d": "I", "h_0": "J", "x": "T K", "y": "T I"},
    "U W b V d h_0",
)
def rnn(u, w, b, v, d, h, x, y):
    cost = 0
    for x_t, y_t in zip(x, y, strict=True):
        h = np.tanh(u @ x_t + w @ h + b)
        cost = cost + np.sum((v @ h + d - y_t) ** 2) / 2
    return cost


GATED = {"T": 4, "N": 5, "K": 3, "M": 2}


def gates(letters: str) -> dict[str, str]:
    """W, U and b of each gate."""
    shapes = {"W": "M K", "U": "M M", "b": "M"}
    return {f"{family}_{gate}": shape for gate in letters for family, shape in shapes.items()}


@reference(
    "lstm",
    GATED,
    {**gates("ifog"), "x": "T N K", "h_0": "N M", "c_0": "N M"},
    " ".join((*gates("ifog"), "x h_0 c_0")),
)
def lstm(*arrays):
    *weights, x, h, c = arrays
    hs, cs = [], []
    for x_t in x:
        i, f, o, g = (x_t @ w.T + h @ u.T + b for w, u, b in zip(*[iter(weights)] * 3, strict=True))
        c = SIGMOID(f) * c + SIGMOID(i) * np.tanh(g)
        h = SIGMOID(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return {"h": np.stack(hs), "c": np.stack(cs)}


@reference("gru", GATED, {**gates("rzh"), "x": "T N K", "h_0": "N M"}, " ".join((*gates("rzh"), "x h_0")))
def gru(w_r, u_r, b_r, w_z, u_z, b_z, w_h, u_h, b_h, x, h):
    hs = []
    for x_t in x:
        r = SIGMOID(x_t @ w_r.T + h @ u_r.T + b_r)
        z = SIGMOID(x_t @ w_z.T + h @ u_z.T + b_z)
        h = z * h + (1 - z) * np.tanh(x_t @ w_h.T + (r * h) @ u_h.T + b_h)
        hs.append(h)
    return {"h": np.stack(hs)}


# Attention.


def attend(q, k, v, causal=False):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tri(len(scores[0])) == 1, scores, -np.inf)
    return softmax(scores) @ v


@reference(
    "attention",
    {"d": 3, "n_i": 4, "n_j": 5, "n_v": 2},
    {"Q": "n_i d", "K": "n_j d", "V": "n_j n_v"},
    "Q K V",
)
def attention(q, k, v):
    return {"O": attend(q, k, v)}


@reference("causal-attention", {"d": 3, "N": 5, "n_v": 2}, {"Q": "N d", "K": "N d", "V": "N n_v"}, "Q K V")
def causal_attention(q, k, v):
    rows = [attend(q[i : i + 1], k[: i + 1], v[: i + 1]) for i in range(len(q))]
    return {"O": np.concatenate(rows)}


HEADS = {"n_b": 8, "N": 5, "D": 6, "H": 2, "C": 4}


@reference(
    "multi-head-attention",
    HEADS,
    {"W_Q": "H C D", "W_K": "H C D", "W_V": "H C D", "W_O": "D H C", "x": "n_b N D"},
    "W_Q W_K W_V W_O x",
)
def multi_head_attention(w_q, w_k, w_v, w_o, x):
    return {"y": heads(w_q, w_k, w_v, w_o, x)}


def heads(w_q, w_k, w_v, w_o, x):
    """Causal attention, head by head."""
    y = 0
    for h in range(len(w_q)):
        q, k, v = (x @ w[h].T for w in (w_q, w_k, w_v))
        y = y + attend(q, k, v, causal=True) @ w_o[:, h].T
    return y


def block(x, epsilon, gamma, beta, w_q, w_k, w_v, w_o, gamma_2, beta_2, w_1, b_1, w_2, b_2):
    x = x + heads(w_q, w_k, w_v, w_o, normalise(x, gamma, beta, epsilon))
    z = normalise(x, gamma_2, beta_2, epsilon) @ w_1.T + b_1
    return x + z / 2 * (1 + erf(z / np.sqrt(2))) @ w_2.T + b_2


BLOCK = {
    "gamma": "D",
    "beta": "D",
    "W_Q": "H C D",
    "W_K": "H C D",
    "W_V": "H C D",
    "W_O": "D H C",
    "gamma_tilde": "D",
    "beta_tilde": "D",
    "W_1": "F D",
    "theta_1": "F",
    "W_2": "D F",
    "theta_2": "D",
}
LETTERS = {
    "W_Q": "Q",
    "W_K": "K",
    "W_V": "V",
    "W_O": "O",
    "W_1": "W",
    "theta_1": "theta",
    "W_2": "W_tilde",
    "theta_2": "theta_tilde",
}
LAYERS = {LETTERS.get(n, n): f"L {shape}" for n, shape in BLOCK.items()}


@reference(
    "transformer-block",
    {**HEADS, "F": 7},
    {"x": "n_b N D", "epsilon": 1e-3, **BLOCK},
    " ".join(("x", *BLOCK)),
)
def transformer_block(*arrays):
    return {"y": block(*arrays)}


@reference(
    "transformer",
    {**HEADS, "F": 7, "L": 3},
    {"x_0": "n_b N D", "epsilon": 1e-3, **LAYERS},
    " ".join(("x_0", *LAYERS)),
)
def transformer(x, epsilon, *layers):
    for l in range(len(layers[0])):
        x = block(x, epsilon, *(family[l] for family in layers))
    return {"y": x}


def disagreement(name: str, seed: int = 0, step: float = 1e-6) -> float:
    """The largest difference of the gradient to central differences along random directions, relative to the gradient."""
    rng = numpy.random.default_rng(seed)
    arrays = REFERENCES[name].arrays(rng)
    above = upstream(name, arrays, rng)
    grads = gradient(name, arrays, above)
    worst = 0.0
    for n, grad in grads.items():
        members = range(len(grad)) if isinstance(grad, list) else [None]
        for m in members:
            g, at = (grad, arrays[n]) if m is None else (grad[m], arrays[n][m])

            def moved(by: Any, n: str = n, m: int | None = m, at: Any = at) -> Any:
                new = at + by if m is None else [*arrays[n][:m], at + by, *arrays[n][m + 1 :]]
                return scalar(name, {**arrays, n: new}, above)

            assert numpy.shape(g) == numpy.shape(at), (name, n)
            for _ in range(5):
                way = rng.standard_normal(numpy.shape(at))
                numeric = (moved(step * way) - moved(-step * way)) / (2 * step)
                size = numpy.linalg.norm(g) * numpy.linalg.norm(way)
                worst = max(worst, abs(numeric - numpy.sum(g * way)) / max(size, 1e-3))
    return worst


if __name__ == "__main__":
    for name in REFERENCES:
        error = max(disagreement(name, seed) for seed in range(3))
        print(f"{name:<24} {error:.1e}{'' if error < 1e-7 else '  differs'}")
