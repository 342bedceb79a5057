"""Models written down by hand, each a System with the Notation of its author; the same as in symbackprop/library."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from symbackprop.indices import Affine, Axis, Guard, affine, at_least, between
from symbackprop.network import Equation, SizeRule, System
from symbackprop.notation import Notation, Written
from symbackprop.symbols import (
    ONE,
    ZERO,
    Call,
    Compare,
    Div,
    Expr,
    Family,
    Guarded,
    Kind,
    Max,
    Mul,
    Param,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Where,
    expr,
)

Model = tuple[System, Notation]


def node(label: str) -> Axis:
    return Axis("node", label)


def family(name: str, letters: str, axes: Iterable[Axis], kind: Kind = "parameter", guard: Guard = ()) -> Family:
    return Family(name, tuple(letters.split()), tuple(axes), kind, "", guard)


def ref(name: str, *indices: str | int | Affine) -> Ref:
    return Ref(name, tuple(map(affine, indices)))


def total(axis: Axis, index: str, body: Expr, guard: Guard = ()) -> Sum:
    return Sum(index, axis, body, guard)


def system(families: Iterable[Family], equations: Iterable[Equation], cost: str = "", **more: object) -> System:
    return System({f.name: f for f in families}, tuple(equations), cost, Affine((), 0), (), **more)  # type: ignore[arg-type]


def written(**families: str | Written) -> dict[str, Written]:
    """`x="x: 0 1 2"` puts the first three indices below; a Written stands for itself."""
    out = {}
    for name, how in families.items():
        if isinstance(how, str):
            letter, _, places = how.partition(":")
            how = Written(letter, tuple(map(int, places.split())))
        out[name] = how
    return out


def author(name: str, first: int = 1, **more: object) -> Notation:
    return Notation(name, "", first=first, width="n_l", **more)  # type: ignore[arg-type]


def attention() -> Model:
    i, j, d, v = node("n_i"), node("n_j"), node("d"), node("n_v")
    families = [
        family("Q", "i c", (i, d)),
        family("K", "j c", (j, d)),
        family("V", "j v", (j, v)),
        family("S", "i j", (i, j), "derived"),
        family("P", "i j", (i, j), "derived"),
        family("O", "i v", (i, v), "derived"),
    ]
    scores = Mul((Div(ONE, Call("sqrt", (Size(d),))), total(d, "c", ref("Q", "i", "c") * ref("K", "j", "c"))))
    weights = Div(Call("exp", (ref("S", "i", "j"),)), total(j, "j'", Call("exp", (ref("S", "i", "j'"),))))
    equations = [
        Equation(ref("S", "i", "j"), scores),
        Equation(ref("P", "i", "j"), weights),
        Equation(ref("O", "i", "v"), total(j, "j", ref("P", "i", "j") * ref("V", "j", "v"))),
    ]
    look = author("attention", unbounded=frozenset({"n_j"}), names={"exp": r"\exp"})
    return system(families, equations), look


def causal_attention() -> Model:
    n, d, v = node("N"), node("d"), node("n_v")
    seen = (at_least("i", "j"),)
    families = [
        family("Q", "i c", (n, d)),
        family("K", "j c", (n, d)),
        family("V", "j v", (n, v)),
        family("S", "i j", (n, n), "derived", seen),
        family("P", "i j", (n, n), "derived", seen),
        family("O", "i v", (n, v), "derived"),
    ]
    before = (at_least("i", "j'"),)
    equations = [
        Equation(
            ref("S", "i", "j"),
            Mul((Div(ONE, Call("sqrt", (Size(d),))), total(d, "c", ref("Q", "i", "c") * ref("K", "j", "c")))),
            seen,
        ),
        Equation(
            ref("P", "i", "j"),
            Div(Call("exp", (ref("S", "i", "j"),)), total(n, "j'", Call("exp", (ref("S", "i", "j'"),)), before)),
            seen,
        ),
        Equation(ref("O", "i", "v"), total(n, "j", ref("P", "i", "j") * ref("V", "j", "v"), seen)),
    ]
    return system(families, equations), author("causal-attention", names={"exp": r"\exp"})


def conv1d(first: int = 0) -> Model:
    b, o, c, k, i, u = map(node, ("n_b", "n_o", "C", "K", "I", "M"))
    at = affine("s") * affine("i") + affine("k") - affine("p")
    families = [
        family("w", "o c k", (o, c, k)),
        family("x", "b c u", (b, c, u), "input"),
        family("beta", "o", (o,)),
        family("y", "b o i", (b, o, i), "derived"),
    ]
    padded = Guarded(ref("x", "b", "c", at), between(0, at, affine("M") - 1))
    body = total(c, "c", total(k, "k", ref("w", "o", "c", "k") * padded)) + ref("beta", "o")
    rule = SizeRule(affine("M") + affine("p") * 2 - affine("K"), affine("s"), 1)
    return system(families, [Equation(ref("y", "b", "o", "i"), body)], rules={"I": rule}, integers=("p", "s")), author(
        "conv1d", first, written=written(y="y:0 1 2")
    )


def embedding() -> Model:
    t, v, c = node("n_t"), node("V"), node("n_c")
    tokens = Family("x", ("t",), (t,), "input", over=v)
    families = [tokens, family("E", "v c", (v, c)), family("y", "t c", (t, c), "derived")]
    chosen = Where(Compare("==", ref("x", "t"), Position(affine("v"))), ONE, ZERO)
    body = total(v, "v", Mul((chosen, ref("E", "v", "c"))))
    return system(families, [Equation(ref("y", "t", "c"), body)]), author("embedding")


def rnn() -> Model:
    time = Axis("recursion", "t", None, affine(0), affine("T"))
    i, j, k = node("I"), node("J"), node("K")
    run, ever = between(1, "t", "T"), between(0, "t", "T")
    families = [
        family("V", "i j", (i, j)),
        family("d", "i", (i,)),
        family("U", "j k", (j, k)),
        family("W", "j m", (j, j)),
        family("b", "j", (j,)),
        family("x", "t k", (time, k), "input", run),
        family("y", "t i", (time, i), "target", run),
        family("o", "t i", (time, i), "derived", run),
        family("h", "t j", (time, j), "derived", ever),
        family("a", "t j", (time, j), "derived", run),
        family("C", "", (), "cost"),
    ]
    miss = Pow(ref("o", "t", "i") - ref("y", "t", "i"), expr(2))
    equations = [
        Equation(Ref("C", ()), Mul((Div(ONE, expr(2)), total(time, "t", total(i, "i", miss), run)))),
        Equation(ref("o", "t", "i"), total(j, "j", ref("V", "i", "j") * ref("h", "t", "j")) + ref("d", "i"), run),
        Equation(ref("h", "t", "j"), Call("tanh", (ref("a", "t", "j"),)), run),
        Equation(
            ref("a", "t", "j"),
            total(k, "k", ref("U", "j", "k") * ref("x", "t", "k"))
            + total(j, "m", ref("W", "j", "m") * ref("h", affine("t") - 1, "m"))
            + ref("b", "j"),
            run,
        ),
    ]
    look = written(x="x:0 1", y="y:0 1", o="o:0 1", h="h:0 1", a="a:0 1")
    return system(families, equations, "C"), author("rnn", written=look)


def layer_norm() -> Model:
    b, i, d = node("n_b"), node("n_i"), node("D")
    families = [
        family("x", "b i j", (b, i, d), "input"),
        family("gamma", "j", (d,)),
        family("beta", "j", (d,)),
        family("epsilon", "", (), "input"),
        family("mu", "b i", (b, i), "derived"),
        family("sigma", "b i", (b, i), "derived"),
        family("x_hat", "b i j", (b, i, d), "derived"),
        family("y", "b i j", (b, i, d), "derived"),
    ]
    mean = Div(ONE, Size(d))
    off = ref("x", "b", "i", "j") - ref("mu", "b", "i")
    spread = Mul((mean, total(d, "j", Pow(off, expr(2))))) + Ref("epsilon", ())
    equations = [
        Equation(ref("mu", "b", "i"), Mul((mean, total(d, "j", ref("x", "b", "i", "j"))))),
        Equation(ref("sigma", "b", "i"), Call("sqrt", (spread,))),
        Equation(ref("x_hat", "b", "i", "j"), Div(off, ref("sigma", "b", "i"))),
        Equation(ref("y", "b", "i", "j"), ref("gamma", "j") * ref("x_hat", "b", "i", "j") + ref("beta", "j")),
    ]
    return system(families, equations), author("layer-normalisation")


def max_pooling() -> Model:
    b, c, i, r, u = map(node, ("n_b", "n_c", "I", "r", "M"))
    at = affine("s") * affine("i") + affine("k")
    families = [family("x", "b c u", (b, c, u), "input"), family("y", "b c i", (b, c, i), "derived")]
    equation = Equation(ref("y", "b", "c", "i"), Max("k", r, ref("x", "b", "c", at)))
    rule = SizeRule(affine("M") - affine("r"), affine("s"), 1)
    return system(families, [equation], rules={"I": rule}, integers=("s",)), author("max-pooling", 0)


def labels() -> Model:
    n, k, d = node("N"), node("K"), node("D")
    families = [
        family("x", "i j", (n, d), "input"),
        Family("y", ("i",), (n,), "target", over=k),
        family("w", "k j", (k, d)),
        family("b", "k", (k,)),
        family("z", "i k", (n, k), "derived"),
        family("p", "i k", (n, k), "derived"),
        family("C", "", (), "cost"),
    ]
    chosen = Where(Compare("==", ref("y", "i"), Position(affine("k"))), ONE, ZERO)
    picked = total(k, "k", Mul((chosen, Call("log", (ref("p", "i", "k"),)))))
    equations = [
        Equation(Ref("C", ()), Mul((-ONE, Div(ONE, Size(n)), total(n, "i", picked)))),
        Equation(
            ref("p", "i", "k"),
            Div(Call("exp", (ref("z", "i", "k"),)), total(k, "k'", Call("exp", (ref("z", "i", "k'"),)))),
        ),
        Equation(ref("z", "i", "k"), total(d, "j", ref("w", "k", "j") * ref("x", "i", "j")) + ref("b", "k")),
    ]
    return system(families, equations, "C"), author("multinomial-labels", names={"log": r"\log"})


def heads() -> Model:
    """Named units, accents and Greek letters: W^{Q}, \\tilde{h}, an index alpha, layers between brackets."""
    layer = Axis("recursion", "l", None, affine(0), affine("L"))
    n, h, d = node("N"), node("H"), node("D")
    families = [
        family("W_Q", "h alpha d", (h, d, d)),
        family("x", "l i d", (layer, n, d), "derived", between(0, "l", "L")),
        family("h_tilde", "l h i alpha", (layer, h, n, d), "derived", between(1, "l", "L")),
        family("lambda", "", (), "input"),
        family("y", "i d", (n, d), "derived"),
    ]
    product = total(d, "d", ref("W_Q", "h", "alpha", "d") * ref("x", affine("l") - 1, "i", "d"))
    equations = [
        Equation(ref("h_tilde", "l", "h", "i", "alpha"), Ref("lambda", ()) * product, between(1, "l", "L")),
        Equation(
            ref("x", "l", "i", "d"),
            ref("x", affine("l") - 1, "i", "d") + total(h, "h", ref("h_tilde", "l", "h", "i", "d")),
            between(1, "l", "L"),
        ),
        Equation(ref("y", "i", "d"), ref("x", "L", "i", "d")),
    ]
    look = written(
        W_Q=Written("W", (0, 1, 2), unit="Q", upper_first=True),
        x=Written(r"\mathbf{x}", (1, 2), (0,), "[]"),
        h_tilde=Written(r"\tilde{h}", (1, 2, 3), (0,), "()"),
    )
    return system(families, equations), author("heads", written=look)


def swish() -> Model:
    """A generic function, a parameter of one and a product over an index."""
    n = node("N")
    families = [family("x", "i", (n,), "input"), family("P", "", (), "derived"), family("tau", "", ())]
    body = Prod("i", n, 1 + Call("g", (Div(ref("x", "i"), Ref("tau", ())),)) * Param("c"))
    return system(families, [Equation(Ref("P", ()), body)]), author("swish")


BUILDERS: dict[str, Callable[[], Model]] = {
    "attention": attention,
    "causal-attention": causal_attention,
    "conv1d": conv1d,
    "conv1d-from-1": lambda: conv1d(1),
    "embedding": embedding,
    "rnn": rnn,
    "layer-normalisation": layer_norm,
    "max-pooling": max_pooling,
    "multinomial-labels": labels,
    "heads": heads,
    "product": swish,
}
