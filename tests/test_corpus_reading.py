"""Every claim of the corpus is read in the model file of its own setting, and as what its author meant.

That a reading is the right one is checked with numbers: the sides of a right claim agree on sample networks, those of a
wrong one differ, and arrays that do not fit are found to be such.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from symbackprop import Network, load
from symbackprop.check import draw_samples, positions, possible, usable
from symbackprop.errors import ReadError, ReadIndexError, ReadShapeError
from symbackprop.indices import Axis, Guard, affine
from symbackprop.network import System, with_upstream
from symbackprop.oracle import CannotEvaluate, Oracle, OutOfRange, Sample
from symbackprop.read.expression import ReadLine, read_claim
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.symbols import D, Expr, Partial, Ref, Vec, substitute, transform

HERE = Path(__file__).parent
CLAIMS: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE / "corpus/claims.jsonl").read_text("utf-8").splitlines()
]
MODELS: dict[str, str] = json.loads((HERE / "settings/claims/index.json").read_text("utf-8"))

UNREAD = {"bp132r0", "bp132w1", "bp132w2"}
"""A matrix to a power that is a letter, (W^T)^{T-i}."""


def model_of(claim: dict[str, Any]) -> str:
    return MODELS[hashlib.sha1(json.dumps(claim["network"], sort_keys=True).encode()).hexdigest()]


@cache
def network(name: str) -> Network:
    return load(HERE / f"settings/claims/{name}.tex")


def lines(claim: dict[str, Any], net: Network) -> list[ReadLine]:
    text = claim["claim"] if isinstance(claim["claim"], str) else "\n\n".join(claim["claim"])
    document = parse_document(text)
    return [read_claim(row, Source(document.text), net.system, net.notation) for row in document.rows]


@cache
def system_of(name: str) -> System:
    return with_upstream(network(name).system)


@cache
def oracle_of(name: str, sample: Sample) -> Oracle:
    return usable(system_of(name), sample)


# ---------------------------------------------------------------- numbers


def total(e: Expr) -> Expr:
    """An operator of a claim is the total effect."""
    if not isinstance(e, D):
        return e
    return Partial(e.body, e.variable) if isinstance(e.body, Ref) else D(e.body, e.variable, total=True)


def differs(name: str, left: Expr, right: Expr, free: Mapping[str, Axis], guard: Guard, seed: int) -> bool | None:
    """Whether two sides differ at some point of the sample networks; None where there is no point."""
    axes, sides = dict(free), []
    for e in (left, right):
        e, count = transform(e, total), 0
        while isinstance(e, Vec):
            axes.setdefault(f"_{count}", e.axis)
            e, count = substitute(e.body, {e.index: affine(f"_{count}")}), count + 1
        sides.append(e)
    tried = False
    for sample in draw_samples(system_of(name), sides, seed):
        oracle = oracle_of(name, sample)
        for point in points(axes, guard, sample, oracle.standing | {"n": max((0, *sample.widths))}, seed):
            try:
                a, b = (oracle.evaluate(e, point) for e in sides)
            except (CannotEvaluate, OutOfRange):
                continue
            tried = True
            if not oracle.agree(a, b):
                return True
    return False if tried else None


def points(axes: dict[str, Axis], guard: Guard, sample: Sample, standing: dict[str, int], seed: int) -> Iterator[Any]:
    r = random.Random(seed)
    clocks = [x for x, a in axes.items() if a.kind == "recursion"]
    times = list(product(range(max([sample.layers, *dict(sample.sizes).values()]) + 1), repeat=len(clocks)))
    r.shuffle(times)
    for values in times[:3] * 2:
        point = dict(zip(clocks, values, strict=True))
        try:
            for x, a in axes.items():
                if x not in point:
                    point[x] = r.randrange(positions(a, sample, {**standing, **point}))
        except (IndexError, KeyError):
            continue
        if possible(guard, {**standing, **point}):
            yield point


def wrong_somewhere(name: str, read: list[ReadLine]) -> bool | None:
    """Whether a claim, or a step of one, is refuted by numbers; None where one of its steps has no point."""
    out, before, free = False, None, dict[str, Axis]()
    for line in read:
        continues = len(line.sides) == 1 and before is not None
        free = {**free, **line.free} if continues else dict(line.free)
        for a, b in pairwise((before, *line.sides) if continues else line.sides):
            assert a is not None and b is not None
            found = [differs(name, a, b, free, line.guard, seed) for seed in (0, 7, 14)]
            if any(found):
                out = True
            elif None in found:
                return None
        before = line.sides[-1]
    return out


# ---------------------------------------------------------------- the corpus


def test_every_setting_has_a_model() -> None:
    assert {model_of(c) for c in CLAIMS} == {p.stem for p in (HERE / "settings/claims").glob("*.tex")}


@pytest.mark.parametrize("name", sorted(set(MODELS.values())))
def test_claims_are_read_as_they_are_meant(name: str) -> None:
    net, found = network(name), {}
    for c in CLAIMS:
        if model_of(c) != name or c["id"] in UNREAD:
            continue
        try:
            wrong = wrong_somewhere(name, lines(c, net))
        except ReadShapeError:
            found[c["id"]] = "shape"
        except ReadIndexError:
            found[c["id"]] = "value"
        else:
            found[c["id"]] = {True: "value", False: None, None: "no point"}[wrong]
    expected = {c["id"]: c.get("refuted_by") for c in CLAIMS if c["id"] in found}
    assert found == expected


def test_what_is_not_read_is_said_to_be_so() -> None:
    for c in CLAIMS:
        if c["id"] in UNREAD:
            with pytest.raises(ReadError, match="power of a matrix") as e:
                lines(c, network(model_of(c)))
            assert not isinstance(e.value, ReadShapeError | ReadIndexError)


def test_a_planted_slip_is_found() -> None:
    """The comparison itself refuses what is wrong: one index, one layer, one transpose."""
    net = network("nielsen")
    for wrong in (
        r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_j \delta^l_j",
        r"\delta^l = ((w^{l+1})^T \delta^{l+1}) \odot \sigma'(z^{l+1})",
        r"\frac{\partial C}{\partial w^l_{jk}} = a^{l-1}_k \delta^l_k",
        r"\delta^L_j = -(a^L_j - y_j) \sigma'(z^L_j)",
    ):
        try:
            assert wrong_somewhere("nielsen", lines({"claim": wrong}, net))
        except ReadShapeError:
            assert "z^{l+1}" in wrong
    assert wrong_somewhere("nielsen", lines({"claim": r"\frac{\partial C}{\partial b^l} = \delta^l"}, net)) is False
