"""Checking a matrix form: its steps applied again, and both sides in numbers, entry by entry, on sample networks."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice, pairwise, product

from symbackprop.check import draw_samples, show
from symbackprop.indices import Axis
from symbackprop.matrix import tree
from symbackprop.matrix.convert import MatrixForm
from symbackprop.matrix.evaluate import ArrayOracle, WrongShape
from symbackprop.matrix.heads import Entry, bare
from symbackprop.matrix.tree import entry_of, matrix_names
from symbackprop.network import System
from symbackprop.oracle import CannotEvaluate, Env, Number, OutOfRange, Sample
from symbackprop.symbols import Expr
from symbackprop.verdict import Outcome

POINTS = 3
"""Layers, times and held indices at which a form is evaluated on each sample, all entries at each; one of intervals."""

ATTEMPTS = 30


@dataclass(frozen=True)
class MatrixCheck:
    """The verdict on a matrix form.

    Args:
        verdict: `proved` only where every step follows and all entries agree on every sample; `refuted` with a reason.
        entries: How many entries were compared.
        samples: The sample networks, in words.
        message: What is wrong.
    """

    verdict: Outcome
    entries: int
    samples: tuple[str, ...]
    message: str = ""


def check(form: MatrixForm, system: System, seed: int = 0) -> MatrixCheck:
    """Whether a matrix form follows from its index form, and agrees with it in numbers."""
    broken = broken_steps(form)
    compared = compare(form, system, seed)
    if compared.verdict == "refuted" or not broken:
        return compared
    return replace(compared, verdict="refuted", message=broken)


def broken_steps(form: MatrixForm) -> str:
    """The first step that does not follow; empty where all do."""
    steps = form.steps
    end = steps[-1].after if steps else form.value
    if entry_of(form.left, form.frame.row, form.frame.column) != bare(form.subject):
        return "the left side is not the array of the quantity in index notation"
    if steps and steps[0].before != form.value:
        return "the first step does not begin with the index form"
    for n, (a, b) in enumerate(pairwise(steps)):
        if a.after != b.before:
            return f"step {n + 2} does not continue the one before"
    for n, s in enumerate(steps):
        if not s.again(form.frame):
            return f"step {n + 1}, {s.rule}, does not follow"
    if end != reached(form):
        return "the steps do not end with the matrix form"
    return ""


def reached(form: MatrixForm) -> Expr:
    """What the steps must end with: the entry of the right side, or a number."""
    if isinstance(form.right, tree.Number):
        return form.right.value
    return Entry(form.right, form.frame.row, form.frame.column)


def compare(form: MatrixForm, system: System, seed: int = 0) -> MatrixCheck:
    """Both sides in numbers, entry by entry: the array, the index form, and the quantity itself."""
    total, described = 0, list[str]()
    for sample in sample_networks(form, system, seed):
        count, wrong = on_sample(form, system, sample)
        total += count
        described.append(sample.describe())
        if wrong:
            return MatrixCheck("refuted", total, tuple(described), f"{sample.describe()}: {wrong}")
        if not count:
            return MatrixCheck("undecided", total, tuple(described), "no sample has values")
    return MatrixCheck("proved" if described else "undecided", total, tuple(described))


def sample_networks(form: MatrixForm, system: System, seed: int) -> list[Sample]:
    """Sample networks with sizes that all differ wherever they may, so that no transpose fits by chance."""
    drawn = draw_samples(system, [bare(form.subject), bare(form.value)], seed)
    out: list[Sample] = []
    for n, s in enumerate(drawn[-2:]):
        r = random.Random(repr(("matrix sizes", seed, n)))
        free = [name for name, _ in s.sizes if name not in system.integers]
        numbers = dict(s.sizes)
        if not system.rules:
            numbers |= dict(zip(free, r.sample(range(2, 2 + len(free)), len(free)), strict=True))
        out.append(replace(s, sizes=tuple(sorted(numbers.items())), samples=2, seed=seed + n))
    return out


def on_sample(form: MatrixForm, system: System, sample: Sample) -> tuple[int, str]:
    """How many entries were compared on one sample, and the first that differs."""
    for attempt in range(ATTEMPTS):
        oracle = ArrayOracle(system, replace(sample, seed=sample.seed + 1000 * attempt))
        count = 0
        try:
            for env in environments(form, oracle):
                n, wrong = at_point(form, oracle, env)
                count += n
                if wrong:
                    return count, wrong
        except CannotEvaluate:
            continue
        return count, ""
    return 0, ""


def environments(form: MatrixForm, oracle: ArrayOracle) -> Iterable[Env]:
    """Values of the layers, times and held indices of the left side for which the equation holds."""
    left, ref = form.left, form.left.ref
    axes: dict[str, Axis] = {}
    for axis, i in zip(form.frame.system.axes(ref), ref.indices, strict=True):
        free = (i.names - form.frame.system.constants) & matrix_names(left)
        axes |= dict.fromkeys(free, axis)
    letters = sorted(axes)
    highest = max([oracle.sample.layers, *oracle.standing.values()], default=0)
    ranges = [
        range(highest + 1) if axes[n].kind == "recursion" else range(oracle.width(axes[n], oracle.standing))
        for n in letters
    ]
    envs = ({**oracle.standing, **dict(zip(letters, values, strict=True))} for values in product(*ranges))
    guard = (*form.guard, *form.frame.system.guard_of(ref))
    inside = [e for e in envs if all(c.holds(e) for c in guard if c.expr.names <= e.keys())]
    random.Random(repr((oracle.sample.seed, letters))).shuffle(inside)
    return islice(inside, 1 if oracle.intervals is not None else POINTS)


def at_point(form: MatrixForm, oracle: ArrayOracle, env: Env) -> tuple[int, str]:
    """The entries compared for one layer, time and held index, and the first that differs."""
    try:
        found = oracle.array(form.right, env)
    except WrongShape as wrong:
        return 1, f"shapes do not fit: {wrong}"
    except OutOfRange as wrong:
        return 1, f"an array is read outside its axes: {wrong}"
    rows, columns = (1 if s is None else oracle.width(s, env) for s in form.left.shape)
    if (len(found), len(found[0])) != (rows, columns):
        return 1, f"the left side is {rows} x {columns}, the right side {len(found)} x {len(found[0])}"
    letters = form.frame.row, form.frame.column
    for count, place in enumerate(product(range(rows), range(columns))):
        here = {**env, **{letter: i for letter, i in zip(letters, place, strict=True) if letter}}
        wrong_entry = differs(found[place[0]][place[1]], form, oracle, here)
        if wrong_entry:
            return count, f"row {place[0]}, column {place[1]}: {wrong_entry}"
    return rows * columns, ""


def differs(entry: Number, form: MatrixForm, oracle: ArrayOracle, env: Env) -> str:
    """How an entry of the array differs from the index form, or from the quantity itself; empty where it does not."""
    for what, e in (("the index form", form.value), ("the left side", form.subject)):
        expected = oracle.evaluate(e, env)
        if not oracle.agree(entry, expected):
            return f"the array has {show(entry)}, {what} {show(expected)}"
    return ""
