"""Gradients by hand, in NumPy, as a careful expert writes them: the opponents of the generated code.

Each entry of `HANDWRITTEN` has random arrays at the size of the benchmark (or any other), and the value with its
gradient for an upstream gradient of the output. Families are called as in the model's LaTeX, shapes follow its
indices. All are in matrix products, with buffers reused and work split so that it stays in the cache; the variants
that lost (one product over all samples, all heads at once, no blocks) are not kept.

    python benchmarks/handwritten.py        compares all with autograd at small sizes, then times them
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = "1"

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Arrays = dict[str, Any]

BLOCK, ROWS = 4, 128
"""How many samples of a convolution, and rows of a normalisation, are worked on at a time."""

GATES = "ifog"


@dataclass(frozen=True)
class Handwritten:
    """One opponent.

    Args:
        model: A built-in model, or LaTeX text.
        output: The family that the upstream gradient is for.
        wrt: The families that it gives gradients by.
        sizes: Those of the benchmark, by symbol.
        small: Those of the check against autograd.
        shapes: Axes of each array, by symbol of their size.
        output_shape: Likewise of the output.
        function: Arrays by name, `upstream` and `numbers`, to the output and the gradients by name.
        numbers: Stride, padding, epsilon.
    """

    model: str
    output: str
    wrt: tuple[str, ...]
    sizes: Mapping[str, int]
    small: Mapping[str, int]
    shapes: Mapping[str, str]
    output_shape: str
    function: Callable[..., tuple[Any, Arrays]]
    numbers: Mapping[str, Any]

    def make(self, rng: np.random.Generator, dtype: Any = np.float64, sizes: Mapping[str, int] | None = None) -> Arrays:
        """Random arrays, at the sizes of the benchmark unless others are given."""
        return {n: self._draw(rng, shape, dtype, sizes) for n, shape in self.shapes.items()}

    def make_upstream(
        self, rng: np.random.Generator, dtype: Any = np.float64, sizes: Mapping[str, int] | None = None
    ) -> Arrays:
        """A random upstream gradient of the output, by its name."""
        return {self.output: self._draw(rng, self.output_shape, dtype, sizes)}

    def _draw(self, rng: np.random.Generator, shape: str, dtype: Any, sizes: Mapping[str, int] | None) -> Any:
        lengths = [(self.sizes if sizes is None else sizes)[s] for s in shape.split()]
        return (rng.standard_normal(lengths) / 2).astype(dtype)

    def value_and_grad(self, arrays: Arrays, upstream: Arrays) -> tuple[Any, Arrays]:
        """The output, and the gradient of sum(upstream * output) by each family of `wrt`."""
        return self.function(**arrays, upstream=upstream[self.output], **self.numbers)


def conv2d(x: Any, w: Any, beta: Any, upstream: Any, s: int, p: int) -> tuple[Any, Arrays]:
    """im2col, then one matrix product for each sample; a few samples at a time."""
    batch, channels, height, width = x.shape
    outputs, _, K, R = w.shape
    I, J = upstream.shape[2:]
    matrix = w.reshape(outputs, -1)
    padded = np.zeros((batch, channels, height + 2 * p, width + 2 * p), x.dtype)
    padded[:, :, p : p + height, p : p + width] = x
    d_padded = np.zeros_like(padded)
    windows = sliding_window_view(padded, (K, R), axis=(2, 3))[:, :, ::s, ::s].transpose(0, 1, 4, 5, 2, 3)
    y = np.empty((batch, outputs, I * J), x.dtype)
    d_y = upstream.reshape(y.shape)
    d_matrix = np.zeros_like(matrix)
    for n in range(0, batch, BLOCK):
        some = slice(n, n + BLOCK)
        columns = windows[some].reshape(-1, channels * K * R, I * J)
        np.matmul(matrix, columns, out=y[some])
        d_matrix += (d_y[some] @ columns.swapaxes(1, 2)).sum(0)
        np.matmul(matrix.T, d_y[some], out=columns)
        d_windows = columns.reshape(-1, channels, K, R, I, J)
        for k in range(K):
            for r in range(R):
                d_padded[some, :, k : k + s * I : s, r : r + s * J : s] += d_windows[:, :, k, r]
    y += beta[:, None]
    grads = {
        "x": d_padded[:, :, p : p + height, p : p + width],
        "w": d_matrix.reshape(w.shape),
        "beta": d_y.sum((0, 2)),
    }
    return y.reshape(upstream.shape), grads


def attention(Q: Any, K: Any, V: Any, upstream: Any) -> tuple[Any, Arrays]:
    """Head by head, so that the square matrices stay in the cache; the softmax is divided after the product with V."""
    positions, width = Q.shape[-2:]
    scale = Q.dtype.type(width**-0.5)
    scaled = Q * scale
    O, dV = np.empty_like(upstream), np.empty_like(V)
    dQ, dK = np.empty_like(Q), np.empty_like(K)
    E = np.empty((positions, K.shape[-2]), Q.dtype)
    dS = np.empty_like(E)
    ones = np.ones(len(E[0]), Q.dtype)
    for n in np.ndindex(Q.shape[:-2]):
        q, k, v, o = scaled[n], K[n], V[n], O[n]
        np.matmul(q, k.T, out=E)
        E -= E.max(axis=1, keepdims=True)
        np.exp(E, out=E)
        inverse = 1 / (E @ ones)[:, None]
        np.matmul(E, v, out=o)
        o *= inverse
        do = upstream[n] * inverse
        np.matmul(E.T, do, out=dV[n])
        np.matmul(do, v.T, out=dS)
        dS -= (do * o).sum(axis=1, keepdims=True)
        dS *= E
        np.matmul(dS, k, out=dQ[n])
        np.matmul(dS.T, q, out=dK[n])
    dQ *= scale
    return O, {"Q": dQ, "K": dK, "V": dV}


def layer_normalisation(x: Any, gamma: Any, beta: Any, upstream: Any, epsilon: float) -> tuple[Any, Arrays]:
    """Means and sums as products with a vector; some rows at a time."""
    D = x.shape[-1]
    x, dy = x.reshape(-1, D), upstream.reshape(-1, D)
    y, dx = np.empty_like(x), np.empty_like(x)
    d_gamma, d_beta = np.zeros_like(gamma), np.zeros_like(beta)
    mean, gamma_mean = np.full(D, 1 / D, x.dtype), gamma / D
    x_hat, buffer = np.empty((2, ROWS, D), x.dtype)
    for n in range(0, len(x), ROWS):
        rows = slice(n, n + ROWS)
        size = len(x[rows])
        u, t, ones = x_hat[:size], buffer[:size], np.ones(size, x.dtype)
        np.subtract(x[rows], (x[rows] @ mean)[:, None], out=u)
        np.multiply(u, u, out=t)
        inverse = 1 / np.sqrt(t @ mean + x.dtype.type(epsilon))[:, None]
        u *= inverse
        np.multiply(u, gamma, out=y[rows])
        y[rows] += beta
        np.multiply(dy[rows], u, out=t)
        d_gamma += ones @ t
        d_beta += ones @ dy[rows]
        along = (t @ gamma_mean)[:, None]
        d = dx[rows]
        np.multiply(dy[rows], gamma, out=d)
        d -= (dy[rows] @ gamma_mean)[:, None]
        d -= np.multiply(u, along, out=t)
        d *= inverse
    return y.reshape(upstream.shape), {"x": dx.reshape(upstream.shape), "gamma": d_gamma, "beta": d_beta}


def lstm(x: Any, h_0: Any, c_0: Any, upstream: Any, **weights: Any) -> tuple[Any, Arrays]:
    """The four gates in one product, that with the input for all times at once; likewise on the way back."""
    W, U, b = (np.concatenate([weights[f"{n}_{gate}"] for gate in GATES]) for n in "WUb")
    T, N, width = x.shape
    M = h_0.shape[1]
    gates = x.reshape(T * N, width) @ W.T
    gates += b
    gates = gates.reshape(T, N, 4 * M)
    h, c = (np.empty((T + 1, N, M), x.dtype) for _ in range(2))
    tanh_c = np.empty((T, N, M), x.dtype)
    h[0], c[0] = h_0, c_0
    U_T = np.ascontiguousarray(U.T)
    for t in range(T):
        gates[t] += h[t] @ U_T
        sigmas = gates[t, :, : 3 * M]
        np.negative(sigmas, out=sigmas)
        np.exp(sigmas, out=sigmas)
        sigmas += 1
        np.reciprocal(sigmas, out=sigmas)
        np.tanh(gates[t, :, 3 * M :], out=gates[t, :, 3 * M :])
        i, f, o, g = (gates[t, :, n * M : (n + 1) * M] for n in range(4))
        np.multiply(f, c[t], out=c[t + 1])
        c[t + 1] += i * g
        np.tanh(c[t + 1], out=tanh_c[t])
        np.multiply(o, tanh_c[t], out=h[t + 1])

    slopes = np.empty_like(gates)  # of the gates by their inputs, all times at once
    np.subtract(1, gates[:, :, : 3 * M], out=slopes[:, :, : 3 * M])
    slopes[:, :, : 3 * M] *= gates[:, :, : 3 * M]
    np.multiply(gates[:, :, 3 * M :], gates[:, :, 3 * M :], out=slopes[:, :, 3 * M :])
    np.subtract(1, slopes[:, :, 3 * M :], out=slopes[:, :, 3 * M :])
    d_gates = slopes
    dh, dc = np.zeros_like(h_0), np.zeros_like(c_0)
    for t in reversed(range(T)):
        i, f, o, g = (gates[t, :, n * M : (n + 1) * M] for n in range(4))
        di, df, do, dg = (d_gates[t, :, n * M : (n + 1) * M] for n in range(4))
        dh += upstream[t]
        do *= dh
        do *= tanh_c[t]
        dh *= o
        dc += dh
        dh *= tanh_c[t]
        dh *= tanh_c[t]
        dc -= dh
        di *= dc
        di *= g
        df *= dc
        df *= c[t]
        dg *= dc
        dg *= i
        dc *= f
        np.matmul(d_gates[t], U, out=dh)
    flat = d_gates.reshape(T * N, 4 * M)
    grads = {"x": (flat @ W).reshape(x.shape), "h_0": dh, "c_0": dc}
    fused = {"W": flat.T @ x.reshape(T * N, width), "U": flat.T @ h[:-1].reshape(T * N, M), "b": flat.sum(0)}
    for family, d in fused.items():
        grads |= {f"{family}_{gate}": d[n * M : (n + 1) * M] for n, gate in enumerate(GATES)}
    return h[1:], grads


ATTENTION = r"""
S_{bhij} &= \frac{1}{\sqrt{d}} \sum_{c=1}^{d} Q_{bhic} K_{bhjc} \\
P_{bhij} &= \frac{\exp(S_{bhij})}{\sum_{j'} \exp(S_{bhij'})} \\
O_{bhiv} &= \sum_j P_{bhij} V_{bhjv}
"""

CONV = {"n_b": 32, "C": 3, "n_o": 16, "M": 32, "N": 32, "K": 3, "R": 3, "I": 32, "J": 32}
CONV_SMALL = {"n_b": 9, "C": 4, "n_o": 7, "M": 10, "N": 11, "K": 3, "R": 3, "I": 10, "J": 11}
HEADS = {"n_b": 8, "n_h": 8, "n_i": 256, "n_j": 256}
HEADS_SMALL = {"n_b": 2, "n_h": 3, "n_i": 7, "n_j": 5, "d": 4, "n_v": 6}


def _conv2d(outputs: int) -> Handwritten:
    shapes = {"x": "n_b C M N", "w": "n_o C K R", "beta": "n_o"}
    sizes = {**CONV, "n_o": outputs}
    wrt = ("x", "w", "beta")
    return Handwritten("conv2d", "y", wrt, sizes, CONV_SMALL, shapes, "n_b n_o I J", conv2d, {"s": 1, "p": 1})


def _attention(width: int) -> Handwritten:
    shapes = {"Q": "n_b n_h n_i d", "K": "n_b n_h n_j d", "V": "n_b n_h n_j n_v"}
    sizes = {**HEADS, "d": width, "n_v": width}
    return Handwritten(ATTENTION, "O", ("Q", "K", "V"), sizes, HEADS_SMALL, shapes, "n_b n_h n_i n_v", attention, {})


def _layer_normalisation() -> Handwritten:
    return Handwritten(
        "layer-normalisation",
        "y",
        ("x", "gamma", "beta"),
        {"n_b": 8, "n_i": 256, "D": 512},
        {"n_b": 3, "n_i": 50, "D": 4},
        {"x": "n_b n_i D", "gamma": "D", "beta": "D"},
        "n_b n_i D",
        layer_normalisation,
        {"epsilon": 1e-5},
    )


def _lstm() -> Handwritten:
    weights = {f"{n}_{gate}": shape for gate in GATES for n, shape in {"W": "M K", "U": "M M", "b": "M"}.items()}
    shapes = {"x": "T N K", "h_0": "N M", "c_0": "N M", **weights}
    sizes, small = {"T": 64, "N": 32, "K": 64, "M": 128}, {"T": 4, "N": 5, "K": 3, "M": 2}
    return Handwritten("lstm", "h", tuple(shapes), sizes, small, shapes, "T N M", lstm, {})


HANDWRITTEN: dict[str, Handwritten] = {
    "conv2d-16": _conv2d(16),
    "conv2d-32": _conv2d(32),
    "attention-16": _attention(16),
    "attention-64": _attention(64),
    "layer-normalisation": _layer_normalisation(),
    "lstm": _lstm(),
}


def check() -> None:
    """Each gradient against autograd at small sizes.

    Raises:
        AssertionError: One differs.
    """
    import autograd
    import autograd.numpy as anp

    def sigma(z: Any) -> Any:
        return 1 / (1 + anp.exp(-z))

    def conv2d_forward(x: Any, w: Any, beta: Any, s: int, p: int) -> Any:
        x = anp.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), "constant")
        K, R = w.shape[2:]
        tops, lefts = range(0, x.shape[2] - K + 1, s), range(0, x.shape[3] - R + 1, s)
        rows = [
            anp.stack([anp.tensordot(x[:, :, i : i + K, j : j + R], w, ([1, 2, 3], [1, 2, 3])) for j in lefts], -1)
            for i in tops
        ]
        return anp.stack(rows, -2) + beta[:, None, None]

    def attention_forward(Q: Any, K: Any, V: Any) -> Any:
        e = anp.exp(Q @ anp.swapaxes(K, -1, -2) / Q.shape[-1] ** 0.5)
        return e / anp.sum(e, -1, keepdims=True) @ V

    def layer_normalisation_forward(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        return gamma * (x - anp.mean(x, -1, keepdims=True)) / anp.sqrt(anp.var(x, -1, keepdims=True) + epsilon) + beta

    def lstm_forward(x: Any, h_0: Any, c_0: Any, **weights: Any) -> Any:
        h, c, hs = h_0, c_0, []
        for x_t in x:
            z = {g: x_t @ weights[f"W_{g}"].T + h @ weights[f"U_{g}"].T + weights[f"b_{g}"] for g in GATES}
            c = sigma(z["f"]) * c + sigma(z["i"]) * anp.tanh(z["g"])
            h = sigma(z["o"]) * anp.tanh(c)
            hs.append(h)
        return anp.stack(hs)

    forwards = {conv2d: conv2d_forward, attention: attention_forward, lstm: lstm_forward}
    forwards[layer_normalisation] = layer_normalisation_forward
    cases = [(n, e, e.small, e.numbers) for n, e in HANDWRITTEN.items()]
    strided = {**CONV_SMALL, "R": 2, "I": 5, "J": 6}  # neither stride nor window fits a whole number of times
    cases.append(("conv2d, stride 2", HANDWRITTEN["conv2d-16"], strided, {"s": 2, "p": 1}))
    for name, entry, sizes, numbers in cases:
        rng = np.random.default_rng(0)
        arrays, upstream = entry.make(rng, sizes=sizes), entry.make_upstream(rng, sizes=sizes)[entry.output]
        forward = forwards[entry.function]
        value, grads = entry.function(**arrays, upstream=upstream, **numbers)
        expected = autograd.grad(lambda a, f=forward, d=upstream, n=numbers: anp.sum(d * f(**a, **n)))(arrays)
        np.testing.assert_allclose(value, forward(**arrays, **numbers), rtol=1e-10, atol=1e-12, err_msg=name)
        assert set(grads) == set(entry.wrt)
        for n, grad in grads.items():
            np.testing.assert_allclose(grad, expected[n], rtol=1e-10, atol=1e-12, err_msg=f"{name}: {n}")


def main() -> None:
    check()
    print("all agree with autograd; milliseconds of process time on one thread, best of 15:")
    for name, entry in HANDWRITTEN.items():
        for dtype in ("float32", "float64"):
            rng = np.random.default_rng(0)
            arrays, upstream = entry.make(rng, dtype), entry.make_upstream(rng, dtype)
            times = []
            for _ in range(15):
                start = time.process_time()
                entry.value_and_grad(arrays, upstream)
                times.append(time.process_time() - start)
            print(f"{name:<20} {dtype} {min(times) * 1e3:8.2f}")


if __name__ == "__main__":
    main()
