"""What whole arrays are computed by: operations, layouts, memory, parts of a batch, loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symbackprop.compile.array_code import emit_arrays, emit_whole
from symbackprop.compile.extents import solve
from symbackprop.compile.kernels import folded, scattered, taken_together, windows, winners
from symbackprop.compile.layouts import Seen, ways_to_multiply
from symbackprop.compile.memory import place
from symbackprop.compile.numpy_backend import Arg, Register, Step
from symbackprop.compile.order import Case, apart, components
from symbackprop.compile.program import (
    Constant,
    Contract,
    Fold,
    Gather,
    Input,
    Iota,
    Map,
    Operand,
    Output,
    Program,
    ProgramError,
    Reduce,
    Scan,
    Scatter,
    Stack,
    Stored,
    Window,
    Winner,
    interpret,
    verify,
)
from symbackprop.compile.tiles import Tile, choose
from symbackprop.errors import ModelError, ShapeError
from symbackprop.indices import Axis, affine
from symbackprop.network import SizeRule, System
from symbackprop.symbols import ZERO, Add, Family, Mul, Num, Param, expr

SIZES = {"N": 4, "M": 7, "K": 3, "V": 5, "2": 2, "T": 6}
X = Input("x", ("N", "M"), ("x", ()))
W = Input("w", ("K", "M"), ("w", ()))
Y = Input("y", ("N",), ("y", ()), integer=True)
A, B, C = affine("a"), affine("b"), affine("c")


def program(*instructions, outputs=()):
    return Program((X, W, Y, *instructions), tuple(Output((o, ()), o, "value") for o in outputs), SIZES)


def arrays():
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((4, 7)), "w": rng.standard_normal((3, 7)), "y": np.array([3, 0, 3, 1])}


PADDED = Window("p", "x", (A, B * 2 + C - 1), "abc", ("N", "K", "K"))
ADD = Add((Param("0"), Param("1")))
LOOP = Scan(
    "s",
    "i1",
    1,
    5,
    1,
    (
        Window("before", "h", (affine("i1") - 1, A), "a", ("M",)),
        Map("now", ADD, (Operand("before", "a"), Operand("row", "a")), "a"),
    ),
    (Stored("h", "h0", "now", 0, affine("i1")),),
)
ROW = Window("row", "w", (affine(1), A), "a", ("M",))

BODIES = {
    "a window with padding and stride": (PADDED,),
    "a window turned around": (Window("p", "x", (A, affine(6) - B), "ba", ("M", "N")),),
    "a diagonal": (Window("p", "x", (A, A), "a", ("N",)),),
    "a shifted window": (Window("p", "x", (A + 1, B), "ab", ("N", "M")),),
    "a fold": (PADDED, Fold("p2", Operand("p", "abc"), (A, B * 2 + C - 1), ("N", "M"))),
    "a fold that drops entries": (Fold("p2", Operand("x", "ab"), (A + B - 3,), ("N",)),),
    "a gather": (Gather("p", Operand("w", "ba"), Operand("g", "c"), "b", "ca"),),
    "a gather along a shared axis": (Gather("p", Operand("x", "ab"), Operand("y", "a"), "b", "a"),),
    "a scatter": (Scatter("p", Operand("x", "ab"), Operand("y", "a"), "v", "vb", "V"),),
    "a scatter of numbers": (
        Reduce("r", "sum", Operand("x", "ab"), "a"),
        Scatter("p", Operand("r", "a"), Operand("y", "a"), "v", "v", "V"),
    ),
    "a scatter that keeps an axis": (Scatter("p", Operand("x", "ab"), Operand("y", "a"), "v", "avb", "V"),),
    "a winner": (Winner("p", Operand("x", "ab"), "b"),),
    "a product of entries": (Reduce("p", "prod", Operand("x", "ab"), "a"),),
    "positions": (Iota("q", "M"), Map("p", Mul((Param("0"), Param("1"))), (Operand("x", "ab"), Operand("q", "b")), "ab")),
    "a loop": (ROW, Stack("h0", (), ("T", "M")), LOOP),
    "a loop that stores a constant": (
        Stack("h0", (), ("T", "M")),
        replace(LOOP, first=0, last=5, body=(Constant("now", "a", ("M",)),)),
    ),
    "a loop backwards": (ROW, Stack("h0", (), ("T", "M")), replace(LOOP, first=4, last=0, step=-1, body=(
        Window("before", "h", (affine("i1") + 1, A), "a", ("M",)), LOOP.body[1]))),
    "a loop on top of a piece": (ROW, Window("first", "w", (A, B), "ab", ("2", "M")), Stack("h0", (("first", (0, 0)),), ("T", "M")), LOOP),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
def test_the_emitted_code_does_what_the_reference_does(what):
    given = arrays()
    if what == "a gather":
        given |= {"g": np.array([2, 2, 0, 1])}
    body = BODIES[what]
    last = next(
        n for n in ("p2", "p", "h") if any(n in (i.name, *(s.name for s in getattr(i, "stored", ()))) for i in body)
    )
    own = program(*body, outputs=[last])
    if "g" in given:
        own = replace(own, instructions=(Input("g", ("N",), ("g", ()), integer=True), *own.instructions))
    verify(own)
    expected = interpret(own, given)[last]
    code = emit_arrays(own)
    out = [np.full(shape, np.nan) for _, _, shape in code.outputs]
    code.run(*code.arguments([given[i.name] for i in code.inputs], out, code.own(np.dtype(float))))
    np.testing.assert_allclose(out[0], expected, rtol=1e-13, atol=1e-13)


def test_the_reference_by_hand():
    given = arrays()
    x, y = given["x"], given["y"]
    padded = np.pad(x, ((0, 0), (1, 0)))
    values = interpret(
        program(*BODIES["a fold"], Scatter("q", Operand("x", "ab"), Operand("y", "a"), "v", "vb", "V")), given
    )
    np.testing.assert_array_equal(values["p"][:, 1], padded[:, 2:5])
    np.testing.assert_array_equal(values["p2"][:, 1], 2 * x[:, 1])  # looked at from two windows
    np.testing.assert_array_equal(values["q"][3], x[0] + x[2])
    assert y[0] == y[2] == 3
    h = interpret(program(*BODIES["a loop"]), given)["h"]
    np.testing.assert_allclose(h[5], 5 * given["w"][1])


BROKEN = {
    "a window at what is no label": (Window("p", "x", (A, affine("q")), "a", ("N",)),),
    "a window of another number of axes": (Window("p", "x", (A,), "a", ("N",)),),
    "a fold that forgets a label": (Fold("p", Operand("x", "ab"), (A,), ("N",)),),
    "a gather along nothing": (Gather("p", Operand("x", "ab"), Operand("y", "a"), "c", "ab"),),
    "a scatter along a label that is there": (Scatter("p", Operand("x", "ab"), Operand("y", "a"), "b", "b", "V"),),
    "a winner along nothing": (Winner("p", Operand("x", "ab"), "c"),),
    "a stack of unknown pieces": (Stack("h0", (("q", (0, 0)),), ("T", "M")),),
    "a loop over nothing": (ROW, Stack("h0", (), ("T", "M")), replace(LOOP, first=6)),
    "a loop that counts with a label": (ROW, Stack("h0", (), ("T", "M")), replace(LOOP, counter="a")),
    "a loop that stores what does not fit": (ROW, Stack("h0", (), ("T", "N")), LOOP),
    "a body's value outside": (ROW, Stack("h0", (), ("T", "M")), LOOP, Reduce("p", "sum", Operand("now", "a"), "")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_verifier_refuses(what):
    with pytest.raises(ProgramError):
        verify(program(*BROKEN[what]))


# ---------------------------------------------------------------- kernels


def test_kernels():
    rng = np.random.default_rng(1)
    a = rng.standard_normal((3, 4, 5))
    seen = windows(a, 7, (2, 3), (5, 1))
    np.testing.assert_array_equal(seen, a.reshape(-1)[[[7, 8, 9], [12, 13, 14]]])
    out = np.empty((4, 5))
    taken_together(np.maximum, a, 1, out)
    np.testing.assert_array_equal(out, a.max(0))
    for wide in (a, rng.standard_normal((40, 6)), np.zeros((3, 2))):
        best = np.empty_like(wide)
        winners(wide, 0, best)
        assert (best.sum(0) == 1).all() and (best.argmax(0) == wide.argmax(0)).all()
    to = np.empty(5)
    folded(np.ones((2, 3)), [((slice(0, 3),), (0,)), ((slice(2, 5),), (1,))], to)
    np.testing.assert_array_equal(to, [1, 1, 2, 1, 1])


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("columns", [1, 3])
def test_scattered(monkeypatch, fast, columns):
    monkeypatch.setattr("symbackprop.compile.kernels._FAST_ADD_AT", fast)
    rng = np.random.default_rng(2)
    rows, positions = rng.standard_normal((10, columns)), rng.integers(0, 4, 10)
    out, expected = np.full((4, columns), np.nan), np.zeros((4, columns))
    np.add.at(expected, positions, rows)
    scattered(rows, positions, np.zeros(1, int), 10, out)
    np.testing.assert_allclose(out, expected)
    scattered(rows[:0], positions[:0], np.zeros(1, int), 0, out)
    assert not out.any()


# ---------------------------------------------------------------- layouts


def best(first, second, result, /, fixed=False, **sizes):
    strides = []
    for labels in (first, second):
        step, own = 1, []
        for c in reversed(labels):
            own.append(step)
            step *= sizes[c]
        strides.append(tuple(reversed(own)))
    return min(
        ways_to_multiply(Seen(first, strides[0]), Seen(second, strides[1]), result, sizes, fixed),
        key=lambda w: w.cost,
        default=None,
    )


def test_axes_are_joined_to_one_large_product():
    found = best("tnk", "jk", "tnj", t=64, n=32, k=64, j=128)
    assert (found.batch, found.rows, found.inner, found.columns) == ("", "tn", "k", "j")


def test_shared_axes_are_a_batch():
    found = best("bhic", "bhjc", "bhij", b=8, h=8, i=256, j=256, c=64)
    assert (found.batch, found.rows, found.columns) == ("bh", "i", "j")


def test_a_result_in_a_fixed_order_is_a_broadcast_batch_rather_than_a_copy():
    found = best("ok", "bks", "bos", fixed=True, o=16, b=32, k=27, s=1024)
    assert (found.batch, found.rows, found.columns) == ("b", "o", "s")


def test_what_is_no_product_of_matrices_has_no_layout():
    assert best("ab", "ab", "a", a=3, b=4) is None
    assert best("a", "b", "ab", a=3, b=4) is None


# ---------------------------------------------------------------- memory


def registers(*dims):
    return [Register((d,)) for d in dims]


def placed(steps):
    blocks, _ = place(steps, lambda r: tuple(int(d) for d in r.dims))
    return {b.name: (b.start, b.start + b.length) for b in blocks}


def test_buffers_that_are_never_alive_together_share_memory():
    a, b, c = registers("100", "100", "100")
    x = Arg(Register(("100",), fixed="x", written=False))
    steps = [Step("f", a, (x,)), Step("f", b, (Arg(a),)), Step("f", c, (Arg(b),))]
    found = placed(steps)
    assert found["u1"] == found["u3"] != found["u2"]


def test_a_step_may_work_in_place():
    a, b = registers("100", "100")
    found = placed([Step("f", a, ()), Step("f", b, (Arg(a),), (0,)), Step("g", None, (Arg(b),))])
    assert found["u1"] == found["u2"]


def test_what_a_loop_uses_lives_to_its_end():
    a, b, c = registers("100", "100", "100")
    steps = [
        Step("f", a, ()),
        Step("for i1 in range(3):", None, ()),
        Step("f", b, (Arg(a),), (0,)),
        Step("f", c, (Arg(b),), (0,)),
        Step("end", None, ()),
    ]
    found = placed(steps)
    assert found["u2"] == found["u3"] != found["u1"]


# ---------------------------------------------------------------- parts of a batch

BATCH = Contract("z", (Operand("x", "ab"), Operand("w", "cb")), "ac")
LARGE = {"N": 512, "M": 64, "K": 512}


def batch(*instructions, outputs):
    return Program((X, W, *instructions), tuple(Output((o, ()), o, "value") for o in outputs), LARGE)


def test_a_batch_is_cut_where_it_is_carried_or_summed():
    total = Reduce("s", "sum", Operand("z", "ac"), "c")
    twice = Map("t", Mul((Num(expr(2).value), Param("0"))), (Operand("s", "c"),), "c")
    own = batch(BATCH, total, twice, outputs=["z", "t"])
    assert [t.dim for t in choose(own, 10**7)] == ["N"]
    assert choose(own, 1000) == ()
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((512, 64)), "w": rng.standard_normal((512, 64))}
    code = emit_whole(own, (Tile("N", 512, 128),), None)
    out = [np.empty(shape) for _, _, shape in code.outputs]
    code.run(*code.arguments([given[i.name] for i in code.inputs], out, code.own(np.dtype(float))))
    z = given["x"] @ given["w"].T
    np.testing.assert_allclose(out[0], z)
    np.testing.assert_allclose(out[1], 2 * z.sum(0))


@pytest.mark.parametrize(
    "instructions",
    [
        (Reduce("s", "max", Operand("z", "ac"), "c"),),
        (
            Reduce("s0", "sum", Operand("z", "ac"), "c"),
            Map("s", Mul((Param("0"), Param("0"))), (Operand("s0", "c"),), "c"),
        ),
        (
            Reduce("s0", "sum", Operand("z", "ac"), "c"),
            Map("s", Add((Param("0"), Num(expr(1).value))), (Operand("s0", "c"),), "c"),
        ),
        (Reduce("s0", "sum", Operand("z", "ac"), "c"), Contract("s", (Operand("z", "ac"), Operand("s0", "c")), "a")),
        (Window("s", "z", (A + 1, B), "ab", ("N", "K")),),
    ],
    ids=["a maximum", "a square of a sum", "a sum and a number", "a sum used again", "a shift"],
)
def test_a_batch_is_not_cut_where_parts_would_not_add_up(instructions):
    assert "N" not in [t.dim for t in choose(batch(BATCH, *instructions, outputs=["z", "s"]), 10**8)]


# ---------------------------------------------------------------- order and sizes


def test_components_come_after_what_they_need():
    needs = {("a", False): ["b"], ("b", False): ["c", "d"], ("c", False): ["b"], ("d", False): []}
    found = components([("a", False)], lambda i: [(n, False) for n in needs[i]])
    assert [sorted(n for n, _ in g) for g in found] == [["d"], ["b", "c"], ["a"]]


def test_boxes_that_overlap_are_cut():
    cases = [Case(ZERO, ("t", "j"), (range(0, 5), None), ()), Case(ZERO, ("t", "j"), (range(0, 1), None), ())]
    assert [c.box[0] for c in apart(cases, [0])] == [range(0, 1), range(1, 5), range(0, 1)]
    disjoint = [replace(cases[0], box=(range(1, 5), None)), cases[1]]
    assert apart(disjoint, [0]) == disjoint


def sized(**rules):
    node = {n: Axis("node", n) for n in "NMK"}
    families = {
        "x": Family("x", ("i", "j"), (node["N"], node["M"]), "input"),
        "w": Family("w", ("k",), (node["K"],), "parameter"),
    }
    return System(families, (), "", affine(0), (), rules=rules)


def test_sizes_come_from_arrays_and_rules():
    s = sized(K=SizeRule(affine("M") - affine("r"), affine("s"), 1))
    assert solve(s, {"x": (2, 9)}, {"r": 3, "s": 2})["K"] == 4
    with pytest.raises(ShapeError, match=r"size K is 5 .* but the model makes it 4"):
        solve(s, {"x": (2, 9), "w": (5,)}, {"r": 3, "s": 2})
    with pytest.raises(ModelError, match="divided by s = 0"):
        solve(s, {"x": (2, 9)}, {"r": 3, "s": 0})
