"""The Program: what the verifier refuses, and that the reference interpreter and the emitted code agree."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from symbackprop.compile.lower import lower, lower_forward
from symbackprop.compile.numpy_backend import emit
from symbackprop.compile.program import (
    Constant,
    Contract,
    Input,
    Map,
    Operand,
    Output,
    Program,
    ProgramError,
    Reduce,
    View,
    fuse,
    interpret,
    sizes_of,
    verify,
)
from symbackprop.derive import adjoints
from symbackprop.indices import equals
from symbackprop.network import dense_system
from symbackprop.symbols import Add, Call, Compare, Mul, Param, Partial, Pow, Where, expr

X = Input("x", ("m", "n_0"), ("x", ()), "input")
W = Input("w", ("n_1", "n_0"), ("w", (1,)))


def program(*instructions, outputs=(), sizes=None):
    return Program((X, W, *instructions), tuple(Output(("q", ()), o, "value") for o in outputs), sizes or {})


Z = Contract("z", (Operand("x", "ac"), Operand("w", "bc")), "ab")


def test_a_good_program_has_its_axes():
    assert verify(program(Z, outputs=["z"]))["z"] == ("m", "n_1")


BROKEN = {
    "used before it is defined": (replace(Z, operands=(Operand("q", "ac"), Operand("w", "bc"))),),
    "defined twice": (Z, Z),
    "wrong number of axes": (replace(Z, operands=(Operand("x", "a"), Operand("w", "bc"))),),
    "one label over two dimensions": (Contract("z", (Operand("x", "ab"), Operand("w", "bc")), "ac"),),
    "an axis from nowhere": (replace(Z, labels="ad"),),
    "a label twice on one operand": (Contract("z", (Operand("x", "aa"),), "a"),),
    "a map that drops an axis": (Map("z", Param("0"), (Operand("x", "ab"),), "a"),),
    "an operand that is not there": (Map("z", Param("1"), (Operand("x", "ab"),), "ab"),),
    "no scalar operation": (Map("z", Call("softmax", (Param("0"),)), (Operand("x", "ab"),), "ab"),),
    "a view that loses an axis": (View("z", Operand("x", "ab"), (None, None), "a"),),
    "a constant without axes": (Constant("z", "a", ()),),
}


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_broken_program_is_refused(case):
    with pytest.raises(ProgramError):
        verify(program(*BROKEN[case]))


def test_an_output_that_is_never_computed_is_refused():
    with pytest.raises(ProgramError, match="never computed"):
        verify(program(Z, outputs=["a"]))


def test_dimensions_of_one_known_size_are_one():
    square = Contract("z", (Operand("x", "ab"), Operand("w", "bc")), "ac")
    verify(program(square, outputs=["z"], sizes={"n_0": 3, "n_1": 3}))


ZOO = program(
    Z,
    Map(
        "e",
        Where(Compare(">", Param("0"), expr(0)), Param("0"), Call("exp", (Param("0"),))),
        (Operand("z", "ab"),),
        "ab",
    ),
    Map("s", Pow(Param("0"), expr(2)), (Operand("e", "ab"),), "ab"),
    Reduce("total", "sum", Operand("s", "ab"), ""),
    Reduce("highest", "max", Operand("z", "ab"), "a"),
    Reduce("rows", "sum", Operand("e", "ab"), "a"),
    Map(
        "mixed",
        Add((Param("0"), Mul((expr(-2), Param("1"))), expr(Fraction(1, 3)))),
        (Operand("e", "ab"), Operand("rows", "a")),
        "ab",
    ),
    Map("share", Mul((Param("0"), Param("1"), Param("#n_1"))), (Operand("e", "ab"), Operand("highest", "a")), "ab"),
    Constant("mask", "ab", ("n_1", "n_0"), Fraction(1), (equals("a", "b"),)),
    Map("wm", Mul((Param("0"), Param("1"))), (Operand("w", "ab"), Operand("mask", "ab")), "ab"),
    View("first", Operand("w", "ab"), (None, 0), "a"),
    View("turned", Operand("w", "ab"), (None, None), "ba"),
    Map("grid", Mul((Param("0"), Param("1"))), (Operand("highest", "a"), Operand("first", "b")), "ab"),
    Contract("three", (Operand("x", "ac"), Operand("turned", "cb"), Operand("z", "ad")), "bd"),
    Map("soft", Call("softplus", (Call("erf", (Param("0"),)),)), (Operand("z", "ab"),), "ab"),
    Map("sig", Call("sigmoid", (Param("0"),)), (Operand("total", ""),), ""),
    outputs=["mixed", "share", "wm", "first", "turned", "grid", "three", "soft", "total", "sig", "x", "mask", "rows"],
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", [lambda p: p, fuse], ids=["plain", "fused"])
def test_emitted_code_agrees_with_the_interpreter(dtype, form):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((5, 3)).astype(dtype), "w": rng.standard_normal((4, 3)).astype(dtype)}
    reference = interpret(ZOO, arrays)
    code = emit(form(ZOO))
    sizes = sizes_of(ZOO, arrays)
    given = (*arrays.values(), *(np.full([sizes[d] for d in dims], np.nan, dtype) for _, dims in code.outputs))
    code.run(*given, *code.arrays_seen_as(*given), *code.own(sizes, np.dtype(dtype)))
    for o, got in zip(ZOO.outputs, given[2:], strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(
            got, reference[o.value], rtol=1e-12 if dtype == "float64" else 1e-4, atol=1e-5 * (dtype == "float32")
        )


@pytest.mark.parametrize("activation", ["sigmoid", "leaky_relu", "gelu", "softmax"])
def test_lowered_networks_agree_with_the_interpreter(activation):
    system = dense_system([4, 5, 3], activation=activation, bias=True)
    p = lower(system, adjoints(system), ["w", "b", "x", "a"], batched=True, value=True)
    assert verify(fuse(p)) and verify(lower_forward(system, batched=True))
    rng = np.random.default_rng(0)
    sizes = {**p.sizes, "m": 6}
    arrays = {i.name: rng.standard_normal([sizes[d] for d in i.dims]) for i in p.inputs}
    reference, fused = interpret(p, arrays), interpret(fuse(p), arrays)
    code = emit(p)
    given = (*arrays.values(), *(np.empty([sizes[d] for d in dims]) for _, dims in code.outputs))
    cost = code.run(*given, *code.arrays_seen_as(*given), *code.own(sizes, np.dtype(float)))
    results = [o for o in p.outputs if o.role == "gradient"]
    by_key = {o.key: o for o in results}
    for (key, _), got in zip(code.outputs, given[len(arrays) :], strict=True):
        o = by_key[key]
        np.testing.assert_allclose(got, reference[o.value], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(fused[o.value], reference[o.value], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(cost, reference[p.outputs[0].value], rtol=1e-12)


def test_shared_factors_are_computed_once_and_dead_values_vanish():
    system = dense_system([4, 5, 3], activation="sigmoid", bias=True)
    p = lower(system, adjoints(system), ["w", "b"], batched=True)
    assert sum(isinstance(i, Map) and isinstance(i.formula, Call) for i in p.instructions) == 2  # one sigmoid a layer
    assert not any(isinstance(o, Partial) for o in p.meaning)
    assert not any(o.key[0] == "x" for o in p.outputs)
    last = lower(system, adjoints(system), ["z"], batched=True)
    assert not any(i.name == "da0" for i in last.instructions)
