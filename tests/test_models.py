"""Gradient functions of any model: against HIPS autograd, and how they refuse what does not fit."""

from __future__ import annotations

import threading
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from reference_models import REFERENCES, gradient, scalar, upstream
from systems import BUILDERS, family, node, ref, system, total

import symbackprop
from symbackprop.compile import compile_gradient, forward, is_layered, tiles
from symbackprop.compile.array_code import emit_arrays
from symbackprop.compile.arrays import lower_model
from symbackprop.compile.extents import solve
from symbackprop.compile.program import interpret, verify
from symbackprop.compile.starts import bases
from symbackprop.derive import adjoints
from symbackprop.errors import DTypeError, ModelError, ShapeError, UnknownFamilyError
from symbackprop.indices import Axis, affine, at_least, between
from symbackprop.network import Equation, with_upstream
from symbackprop.read.model import read_model
from symbackprop.symbols import Add, Call, Div, Family, Max, Prod, Ref, expr

LIBRARY = Path(symbackprop.__file__).parent / "library"


@lru_cache
def model(name):
    """A built-in model with a cost: its own, or the inner product of the reference's outputs with upstream gradients."""
    plain = read_model((LIBRARY / f"{name}.tex").read_text()).system
    if plain.cost:
        return plain
    outputs = REFERENCES[name].forward(REFERENCES[name].arrays(np.random.default_rng(0)))
    return with_upstream(plain, [plain.families[n].pattern for n in outputs])


LAYERED = {"3b1b", "3b1b-chain", "deeplizard", "mlp", "nielsen", "nielsen-general", "softmax"}
MODELS = [n for n, r in REFERENCES.items() if n not in LAYERED and not r.functions]


@lru_cache
def backward(name):
    return adjoints(model(name))


def sizes(name):
    return {n: v for n, v in REFERENCES[name].sizes.items() if n in model(name).constants}


def compiled(name, **options):
    options = {"wrt": REFERENCES[name].wrt, "sizes": sizes(name), **options}
    return compile_gradient(model(name), backward(name), **options)


def problem(name, seed=0):
    """Arrays, upstream gradients and the expected gradient."""
    rng = np.random.default_rng(seed)
    arrays = REFERENCES[name].arrays(rng)
    up = upstream(name, arrays, rng)
    expected = gradient(name, arrays, up)
    return {n: a for n, a in arrays.items() if n not in model(name).constants}, up, expected


def close(got, expected, tolerance=1e-10):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


def test_the_layered_models_are_those_called_with_x_and_y():
    assert len(MODELS) >= 20
    assert not any(is_layered(model(n)) for n in MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_and_value_agree_with_autograd(name):
    arrays, up, expected = problem(name)
    value, grads = compiled(name).value_and_grad(arrays, upstream=up)
    assert list(grads) == list(REFERENCES[name].wrt)
    for n, g in grads.items():
        close(g, expected[n])
    full = REFERENCES[name].arrays(np.random.default_rng(0))
    if up is None:
        close(value, scalar(name, full))
    else:
        for n, v in REFERENCES[name].forward(full).items():
            close(value[n], v)


@pytest.mark.parametrize("name", MODELS)
def test_the_reference_interpreter_agrees_with_the_emitted_code(name):
    arrays, up, expected = problem(name, seed=1)
    s = model(name)
    named = {**arrays, **{s.upstream[n]: a for n, a in (up or {}).items()}}
    named = {n: np.asarray(a) for n, a in named.items()}
    shapes = {n: a.shape for n, a in named.items() if n in s.families}
    program = lower_model(s, backward(name), solve(s, shapes, sizes(name)), REFERENCES[name].wrt)
    verify(program)
    given = {}
    for i in program.inputs:
        a = named[i.key[0]].reshape([program.sizes[d] for d in i.dims])
        given[i.name] = a if i.integer else a.astype(float)
    values = interpret(program, given)
    for o in program.outputs:
        close(values[o.value].reshape(expected[o.key[0]].shape), expected[o.key[0]])


@pytest.mark.parametrize(
    "name", ["conv2d", "attention", "layer-normalisation", "multi-head-attention", "transformer-block"]
)
def test_part_by_part_agrees(name, monkeypatch):
    """With a cache so small that every batch is cut."""
    monkeypatch.setattr(tiles, "CACHE", 64)
    arrays, up, expected = problem(name)
    f = compiled(name)
    value, grads = f.value_and_grad(arrays, upstream=up)
    assert "def tile(" in f.source or name == "attention"  # it has no batch
    for n, g in grads.items():
        close(g, expected[n])
    for n, v in REFERENCES[name].forward(REFERENCES[name].arrays(np.random.default_rng(0))).items():
        close(value[n], v)


@pytest.mark.parametrize("name", ["attention", "lstm", "embedding", "conv2d", "transformer"])
def test_single_precision(name):
    arrays, up, expected = problem(name)
    single = {n: a.astype("f4") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for n, a in arrays.items()}
    grads = compiled(name)(single, upstream={n: a.astype("f4") for n, a in up.items()})
    for n, g in grads.items():
        assert g.dtype == np.float32
        close(g, expected[n], 1e-3)


@pytest.mark.parametrize("name", ["attention", "rnn", "conv1d"])
def test_results_go_where_they_are_asked(name):
    arrays, up, expected = problem(name)
    f = compiled(name)
    out = {n: np.full_like(g, np.nan) for n, g in expected.items()}
    assert f(arrays, upstream=up, out=out)[f.wrt[0]] is out[f.wrt[0]]
    for n in out:
        close(out[n], expected[n])
    bound = f.bind(arrays, upstream=up, out=out, value=True)
    arrays[f.wrt[0]] *= 2
    _, grads = bound()
    for n, g in gradient(name, {**REFERENCES[name].arrays(np.random.default_rng(0)), **arrays}, up).items():
        close(grads[n], g)


def test_arrays_of_any_layout():
    arrays, up, expected = problem("attention")
    turned = {n: np.asfortranarray(a) for n, a in arrays.items()}
    close(compiled("attention")(**turned, upstream=up)["K"], expected["K"])


def test_new_shapes_at_each_call():
    f = compiled("attention", sizes=None)
    for seed, (n, m, d, v) in enumerate([(4, 6, 3, 5), (7, 2, 1, 3), (1, 1, 1, 1), (4, 6, 3, 5)]):
        rng = np.random.default_rng(seed)
        arrays = {"Q": rng.standard_normal((n, d)), "K": rng.standard_normal((m, d)), "V": rng.standard_normal((m, v))}
        up = {"O": rng.standard_normal((n, v))}
        for name, g in gradient("attention", arrays, up).items():
            close(f(arrays, upstream=up)[name], g)


def test_several_threads():
    f = compiled("lstm")
    problems = [problem("lstm", seed) for seed in range(4)]
    wrong = []

    def work(arrays, up, expected):
        for _ in range(5):
            grads = f(arrays, upstream=up)
            wrong.extend(n for n, g in grads.items() if not np.allclose(g, expected[n]))

    threads = [threading.Thread(target=work, args=p) for p in problems]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_by_a_hidden_quantity_and_by_data():
    arrays, up, _ = problem("attention")
    grads = compiled("attention", wrt=["P", "S"])(arrays, upstream=up)
    close(grads["P"], up["O"] @ arrays["V"].T)
    close(grads["S"].sum(1), np.zeros(len(arrays["Q"])), 1e-12)
    arrays, _, _ = problem("rnn")
    assert compiled("rnn", wrt="x")(arrays)["x"].shape == arrays["x"].shape


def test_given_values_are_not_computed_again():
    arrays, up, expected = problem("attention")
    P = forward(model("attention"), arrays)["P"]
    f = compiled("attention", given=["P"])
    close(f(arrays, P=P, upstream=up)["Q"], expected["Q"])
    assert "exp(" not in f.source
    f2 = compiled("attention", given="P", wrt=["V"])
    close(f2(P=P, upstream=up)["V"], expected["V"])  # nothing else is asked for


def test_an_output_without_a_gradient_from_outside_has_none():
    arrays, up, _ = problem("lstm")
    f = compiled("lstm")
    zero = {"h": up["h"], "c": np.zeros_like(up["c"])}
    for n, g in f(arrays, upstream=zero).items():
        close(f(arrays, upstream={"h": up["h"]})[n], g)


def test_forward_gives_every_derived_quantity():
    arrays, _, _ = problem("lstm")
    found = forward(model("lstm"), arrays)
    expected = REFERENCES["lstm"].forward(REFERENCES["lstm"].arrays(np.random.default_rng(0)))
    close(found["h"], expected["h"])
    assert {"i", "f", "o", "g", "c", "h"} <= set(found)


# ---------------------------------------------------------------- numbers at the edge


def test_softmax_and_masks_are_stable():
    arrays, up, _ = problem("causal-attention")
    large = {n: a * 1000 for n, a in arrays.items()}
    with np.errstate(all="raise", under="ignore"):
        value, grads = compiled("causal-attention").value_and_grad(large, upstream=up)
    assert all(np.isfinite(g).all() for g in (*grads.values(), *value.values()))


def test_contrastive_cost_is_stable():
    arrays, _, _ = problem("infonce")
    arrays["tau"] = 1e-4
    with np.errstate(all="raise", under="ignore"):
        value, grads = compiled("infonce").value_and_grad(arrays)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads.values())


def test_tokens_that_repeat_or_are_absent():
    rng = np.random.default_rng(0)
    E, x = rng.standard_normal((7, 3)), np.array([2, 2, 5, 2, 0, 5])
    dy = rng.standard_normal((6, 3))
    expected = np.zeros_like(E)
    np.add.at(expected, x, dy)
    close(compiled("embedding", sizes=None)(E=E, x=x, upstream={"y": dy})["E"], expected)


def test_ties_of_a_maximum_go_to_the_first():
    x = np.zeros((1, 1, 4, 4))
    f = compiled("max-pooling", sizes={"r": 2, "s": 2}, wrt="x")
    expected = np.zeros_like(x)
    expected[:, :, ::2, ::2] = 1
    close(f(x=x, upstream={"y": np.ones((1, 1, 2, 2))})["x"], expected)


# ---------------------------------------------------------------- forms that the library has not


def check_small(s, arrays, up, run, wrt, **options):
    """A model written down here against autograd."""
    s = with_upstream(s)
    f = compile_gradient(s, adjoints(s), wrt=wrt, **options)
    grads = f(arrays, upstream=up)
    for n in wrt:
        expected = autograd.grad(lambda a, n=n: anp.sum(next(iter(up.values())) * run(**{**arrays, n: a})))(arrays[n])
        close(grads[n], expected)


def test_a_maximum_under_a_condition():
    n = node("N")
    largest = Max("j", n, ref("x", "j"), (at_least("i", "j"),))
    s = system([family("x", "i", (n,)), family("y", "i", (n,), "derived")], [Equation(ref("y", "i"), largest)])
    x, up = np.array([0.5, -1.0, 2.0, 1.0, 3.0]), np.arange(1.0, 6.0)
    f = compile_gradient(with_upstream(s), adjoints(with_upstream(s)))
    close(f(x=x, upstream={"y": up})["x"], np.array([3.0, 0.0, 7.0, 0.0, 5.0]))


def test_a_product_over_an_index():
    n, m = node("N"), node("M")
    whole = Prod("j", m, ref("x", "i", "j"))
    s = system([family("x", "i j", (n, m)), family("y", "i", (n,), "derived")], [Equation(ref("y", "i"), whole)])
    rng = np.random.default_rng(0)
    check_small(
        s, {"x": rng.standard_normal((3, 4))}, {"y": rng.standard_normal(3)}, lambda x: anp.prod(x, axis=1), ["x"]
    )


def deep():
    """A recurrent network of several layers: x^(l) at time t from itself a step before, and from the layer below."""
    time, layer = (
        Axis("recursion", "t", None, affine(0), affine("T")),
        Axis("recursion", "l", None, affine(0), affine("L")),
    )
    j = node("J")
    inner = (*between(1, "t", "T"), *between(1, "l", "L"))
    h = Family("h", ("t", "l", "j"), (time, layer, j), "derived", "", (*between(0, "t", "T"), *between(0, "l", "L")))
    w = Family("w", ("l", "j", "k"), (layer, j, j), "parameter", "", between(1, "l", "L"))
    u = Family("u", ("l", "j", "k"), (layer, j, j), "parameter", "", between(1, "l", "L"))
    x = Family("x", ("t", "j"), (time, j), "input", "", between(0, "t", "T"))
    start = Family("s", ("l", "j"), (layer, j), "input", "", between(1, "l", "L"))
    y = family("y", "j", (j,), "derived")
    z = total(j, "k", w["l", "j", "k"] * h["t", affine("l") - 1, "k"]) + total(
        j, "m", u["l", "j", "m"] * h[affine("t") - 1, "l", "m"]
    )
    equations = [
        Equation(h["t", "l", "j"], Call("tanh", (z,)), inner),
        Equation(h["t", 0, "j"], x["t", "j"], between(0, "t", "T")),
        Equation(h[0, "l", "j"], start["l", "j"], between(1, "l", "L")),
        Equation(ref("y", "j"), h["T", "L", "j"]),
    ]
    return system([h, w, u, x, start, y], equations)


def test_two_recursion_axes_are_nested_loops():
    rng = np.random.default_rng(0)
    T, L, J = 3, 2, 4
    arrays = {
        "w": rng.standard_normal((L, J, J)),
        "u": rng.standard_normal((L, J, J)),
        "x": rng.standard_normal((T + 1, J)),
        "s": rng.standard_normal((L, J)),
    }

    def run(w, u, x, s):
        h = [s[l] for l in range(L)]
        for t in range(1, T + 1):
            below = x[t]
            for l in range(L):
                h[l] = below = anp.tanh(w[l] @ below + u[l] @ h[l])
        return h[-1]

    check_small(deep(), arrays, {"y": rng.standard_normal(J)}, run, ["w", "u", "x", "s"])


# ---------------------------------------------------------------- what does not fit

REFUSALS = {
    "an array is missing": (lambda a: a.pop("K"), ShapeError, r"K is missing: give an array of shape \(\w+, d\)"),
    "another size": (
        lambda a: a.update(K=np.ones((6, 9))),
        ShapeError,
        r"K has shape \(6, 9\), expected \(\w+, d\) = \(6, 3\); d as Q has it",
    ),
    "turned around": (lambda a: a.update(K=a["K"].T), ShapeError, r"its transpose fits"),
    "too few axes": (lambda a: a.update(V=np.ones(3)), ShapeError, r"V has shape \(3,\), expected"),
    "another dtype": (lambda a: a.update(V=a["V"].astype("f4")), DTypeError, "V has dtype float32, but Q has float64"),
    "integers": (lambda a: a.update(V=a["V"].astype(int)), DTypeError, r"V has dtype int64.*astype\(float\)"),
    "an empty axis": (lambda a: a.update(Q=np.ones((0, 3))), ShapeError, r"Q has shape \(0, 3\): an axis is empty"),
    "a list": (lambda a: a.update(V=[[1.0]]), DTypeError, "V is a list, expected a NumPy array"),
    "a name that is not there": (lambda a: a.update(W=a["V"]), UnknownFamilyError, "'W' is no array of this model"),
    "a derived quantity": (lambda a: a.update(P=a["V"]), UnknownFamilyError, "'P' is computed by the model"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_say_what_would_fit(what):
    change, error, message = REFUSALS[what]
    rng = np.random.default_rng(0)
    arrays = {"Q": rng.standard_normal((4, 3)), "K": rng.standard_normal((6, 3)), "V": rng.standard_normal((6, 5))}
    change(arrays)
    with pytest.raises(error, match=message):
        compiled("attention", sizes=None)(arrays, upstream={"O": np.ones((4, 5))})


def test_refusals_of_upstream_sizes_and_positions():
    arrays, up, _ = problem("attention")
    f = compiled("attention")
    with pytest.raises(ShapeError, match=r"gradient from outside is missing: give upstream=\{'O': ...\}"):
        f(arrays)
    with pytest.raises(UnknownFamilyError, match=r"upstream\['P'\]: P is no output of this model; outputs: O"):
        f(arrays, upstream={"P": up["O"]})
    with pytest.raises(ModelError, match=r"no array tells p, s; give them as sizes="):
        a, u, _ = problem("conv1d")
        compiled("conv1d", sizes=None)(a, upstream=u)
    with pytest.raises(ShapeError, match=r"x has values from 0 to 9, expected positions 0 to 6 on the axis"):
        compiled("embedding", sizes=None)(E=np.ones((7, 2)), x=np.array([0, 9]), upstream={"y": np.ones((2, 2))})
    with pytest.raises(DTypeError, match=r"x has dtype float64, expected an array of integers"):
        compiled("embedding", sizes=None)(E=np.ones((7, 2)), x=np.array([0.0]), upstream={"y": np.ones((1, 2))})


def test_refusals_of_results():
    arrays, up, expected = problem("attention")
    f = compiled("attention")
    for out, message in [
        ({}, "out lacks the array 'Q'"),
        ({n: g[:1].copy() for n, g in expected.items()}, r"out\['Q'\] has shape"),
        ({**expected, "Q": np.zeros(expected["Q"].shape[::-1]).T}, "has gaps"),
        ({n: arrays[n] for n in expected}, "overlaps another array"),
    ]:
        with pytest.raises(ShapeError, match=message):
            f(arrays, upstream=up, out=out)


def test_what_cannot_be_differentiated_is_refused():
    with pytest.raises(UnknownFamilyError, match="wrt: 'W' is no family"):
        compiled("attention", wrt="W")
    with pytest.raises(ModelError, match="its values are positions"):
        compiled("embedding", wrt="x")
    with pytest.raises(UnknownFamilyError, match="given='Q'"):
        compiled("attention", given="Q")
    n = node("N")
    generic = system(
        [family("x", "i", (n,)), family("y", "i", (n,), "derived")],
        [Equation(ref("y", "i"), Call("g", (ref("x", "i"),)))],
    )
    f = compile_gradient(with_upstream(generic), adjoints(with_upstream(generic)))
    with pytest.raises(ModelError, match="g is generic"):
        f(x=np.ones(3), upstream={"y": np.ones(3)})


# ---------------------------------------------------------------- the code


def test_the_source_is_made_of_our_own_names():
    arrays, up, _ = problem("attention")
    f = compiled("attention")
    assert f.source.startswith("# The code is generated at the first call")
    f(arrays, upstream=up)
    assert "matmul(" in f.source or "dot(" in f.source
    n = node("N")
    odd = system(
        [family("lambda", "i", (n,)), family(r"\x;import os", "i", (n,)), family("y", "", (), "derived")],
        [Equation(Ref("y", ()), total(n, "i", ref("lambda", "i") * ref(r"\x;import os", "i")))],
    )
    f = compile_gradient(with_upstream(odd), adjoints(with_upstream(odd)))
    a, b = np.arange(3.0), np.ones(3)
    close(f({"lambda": a, r"\x;import os": b}, upstream={"y": np.array(2.0)})["lambda"], 2 * b)
    assert "import" not in f.source


def test_names_in_the_code_do_not_meet():
    """Families called as views, buffers, results and functions are in generated code."""
    n = node("N")
    names = ["x", "x_1", "x_2", "out0", "t1", "u1", "c1", "i1", "run", "tile", "dot", "part_x", "ones_3", "x_at1"]
    families = [family(x, "i j", (n, n)) for x in names]
    products = [total(n, "k", ref(a, "i", "k") * ref(b, "j", "k")) for a, b in pairwise(names)]
    body = Call("tanh", (Add(tuple(products)),))
    s = with_upstream(system([*families, family("y", "i j", (n, n), "derived")], [Equation(ref("y", "i", "j"), body)]))
    rng = np.random.default_rng(0)
    arrays = {x: rng.standard_normal((3, 3)) for x in names}
    up = rng.standard_normal((3, 3))
    z = sum(arrays[a] @ arrays[b].T for a, b in pairwise(names))
    dz = up * (1 - np.tanh(z) ** 2)
    grads = compile_gradient(s, adjoints(s))(arrays, upstream={"y": up})
    close(grads["x"], dz @ arrays["x_1"])
    close(grads["x_at1"], dz.T @ arrays["ones_3"])


def test_a_contraction_makes_no_large_array_in_between():
    """sum_k a_ik b_kj c_jl, all at once N^4 entries: two matrix products instead."""
    n = node("N")
    families = [*(family(x, "i j", (n, n)) for x in "abc"), family("y", "i l", (n, n), "derived")]
    body = total(n, "k", total(n, "j", ref("a", "i", "k") * ref("b", "k", "j") * ref("c", "j", "l")))
    s = with_upstream(system(families, [Equation(ref("y", "i", "l"), body)]))
    f = compile_gradient(s, adjoints(s))
    rng = np.random.default_rng(0)
    a, b, c, up = (rng.standard_normal((30, 30)) for _ in range(4))
    close(f(a=a, b=b, c=c, upstream={"y": up})["b"], a.T @ up @ c.T)
    numbers = dict.fromkeys(s.constants, 30)
    code = emit_arrays(lower_model(s, adjoints(s), numbers, ["a", "b", "c"]))
    assert code.length[0] <= 10 * 30 * 30


def test_products_with_the_input_leave_the_loop():
    arrays, up, _ = problem("lstm")
    f = compiled("lstm")
    f(arrays, upstream=up)
    loops = [line for line in f.source.splitlines() if line.startswith("        ") and "dot(" in line]
    assert loops and all("U_" in line for line in loops)


def test_first_entries_without_an_equation_are_an_array_of_their_own():
    s = with_upstream(BUILDERS["rnn"]()[0])
    found = bases(s, {"T": 4, "I": 2, "J": 3, "K": 2})
    assert [(b.name, b.family) for b in found] == [("h_0", "h")]
    arrays, _, expected = problem("rnn")
    f = compile_gradient(s, adjoints(s), wrt=REFERENCES["rnn"].wrt)
    for n, g in f(arrays).items():
        close(g, expected[n])


def test_a_small_denominator_is_inverted_once():
    n, m = node("N"), node("M")
    s = system(
        [family("x", "i j", (n, m)), family("y", "i j", (n, m), "derived"), family("r", "i", (n,))],
        [Equation(ref("y", "i", "j"), Div(ref("x", "i", "j") * expr(3), ref("r", "i")))],
    )
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((3, 4)), "r": rng.standard_normal(3)}
    check_small(s, arrays, {"y": rng.standard_normal((3, 4))}, lambda x, r: 3 * x / r[:, None], ["x", "r"])
