"""A person's backward pass against the derived gradient: which networks, what is compared, what is noticed besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from symbackprop.codecheck.calling import (
    Called,
    Manner,
    Unusable,
    adapter,
    arguments,
    as_numpy,
    collect,
    flat,
    invoke,
    is_array,
    sizes_of,
    takes,
)
from symbackprop.codecheck.cases import Case, Leaf, generic_functions, kinds_of, made_definite, make, widths_for
from symbackprop.codecheck.evaluate import CannotEvaluate, Definition, Pass, changed
from symbackprop.codecheck.report import ArrayCheck, FunctionReport, Slip, Worst, listed
from symbackprop.compile import compile_gradient, is_layered
from symbackprop.compile.lower import positions
from symbackprop.derive import adjoints
from symbackprop.errors import FunctionError, ModelError, UnknownFamilyError, nearest
from symbackprop.network import System
from symbackprop.symbols import Call, Expr, Vec, walk

Array: TypeAlias = Any
Arrays: TypeAlias = dict[Leaf, Array]

POWER = 4 / 7
"""The relative tolerance is eps to this power: 1.2e-9 for float64, 1.1e-4 for float32."""
SAFETY = 64.0
"""Rounding of another order of operations than ours is taken to be at most so many times ours."""
DIFFER = "two calls with the same arrays give different"
REDRAWS = 6
MOST_SAMPLES = 10_000


@dataclass(frozen=True)
class Plan:
    """What is checked.

    Args:
        system: With a cost, or with gradients from outside.
        layered: Whether it is called as a layered network is.
        wrt: Families that it is differentiated by.
        sizes, values: What the caller fixes.
        outputs: The outputs that have a gradient from outside; empty for all.
        label: The network's name.
        describe: Writes an expression on one line.
    """

    system: System
    wrt: tuple[str, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    label: str = ""
    describe: Callable[[Expr], str] = str

    @cached_property
    def layered(self) -> bool:
        return is_layered(self.system)

    @cached_property
    def kinds(self) -> list[str]:
        return kinds_of(self.system)

    @cached_property
    def gradient(self) -> Any:
        depth = len(widths_for(self.system, self.kinds[0])) - 1 if self.layered else 1
        definite, _ = made_definite(self.system, depth)
        whole = {n: v for n, v in self.sizes.items() if n in definite.constants}
        whole |= {n: 1 for n in definite.integers if n not in whole and n not in definite.sizes}
        return compile_gradient(definite, adjoints(definite), wrt=self.wrt, sizes={**definite.sizes, **whole})

    def reference(self, case: Case, dtype: Any = np.float64) -> Arrays:
        """The derived gradient, by leaf, computed by the generated NumPy function in this dtype."""

        def cast(a: Any) -> Any:
            return np.array(a, dtype, order="C") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a

        with np.errstate(all="ignore"):
            if self.layered:
                params = {
                    n: [cast(a) for a in v] if isinstance(v, list) else cast(v)
                    for n, v in case.arrays["params"].items()
                }
                data = {n: cast(a) for n, a in case.arrays.items() if n != "params"}
                grads = self.gradient(params, *data.values())
            else:
                whole = {n: cast(a) for n, a in case.arrays.items()}
                up = {n: cast(a) for n, a in case.upstream.items()}
                grads = self.gradient(whole, upstream=up) if up else self.gradient(whole)
        out: Arrays = {}
        for f in self.wrt:
            g = grads[f]
            if isinstance(g, list):
                places = positions(case.system, case.system.families[f])
                out |= {Leaf(f, n, at): np.asarray(a, float) for n, (at, a) in enumerate(zip(places, g, strict=True))}
            else:
                out[Leaf(f)] = np.asarray(g, float)
        return out

    def case(self, number: int, seed: int, kind: str | None = None) -> tuple[Case, Arrays]:
        """A case with its reference; drawn again where the gradient has no finite value."""
        kind = kind or self.kinds[number % len(self.kinds)]
        for again in range(REDRAWS):
            case = make(self, kind, number, seed + 1000003 * again, positive=again >= REDRAWS // 2)
            expected = self.reference(case)
            if all(np.isfinite(a).all() for a in expected.values()):
                return case, expected
        raise ModelError(f"no finite gradient of {self.label} was found on {REDRAWS} random cases ({case.words})")


@dataclass(frozen=True, eq=False)
class Outcome:
    """One case, what was returned for it, and how far off that is.

    Args:
        got: By leaf, as float64; empty where the function raised or the structure was wrong.
        problem: The exception, or what is wrong with the structure.
        allowed: The largest difference that counts as right, by leaf.
    """

    case: Case
    expected: Arrays
    called: Called
    got: Arrays
    problem: str
    allowed: Mapping[Leaf, float]
    dtypes: Mapping[Leaf, str]

    def off(self, leaf: Leaf) -> float | None:
        """The difference in norm; None where it cannot be taken, infinite where it is no number."""
        a, e = self.got.get(leaf), self.expected[leaf]
        if a is None or a.shape != e.shape:
            return None
        with np.errstate(all="ignore"):
            d = float(np.linalg.norm(np.ravel(a - e)))
        return d if np.isfinite(d) else float("inf")

    def right(self, leaf: Leaf) -> bool:
        d = self.off(leaf)
        return d is not None and d <= self.allowed[leaf]

    def wrong(self, leaf: Leaf) -> bool:
        """Whether it was returned and is not right; of a case without a result nothing is said of its arrays."""
        return leaf in self.got and not self.right(leaf)

    @property
    def shaped(self) -> bool:
        return bool(self.got) and all(self.got[leaf].shape == e.shape for leaf, e in self.expected.items())


class Checker:
    """Calls a function on cases of a plan."""

    def __init__(self, plan: Plan, function: Callable[..., Any], rtol: float | None, dtype: Any, to: Any) -> None:
        self.plan, self.function, self.rtol, self.dtype, self.to = plan, function, rtol, dtype, to
        self.manner = Manner(takes=takes(function))
        self.generic = tuple(f"{n}{s}" for n in generic_functions(plan.system) for s in ("", "_prime"))

    def call(self, case: Case, manner: Manner | None = None) -> Called:
        chosen = manner or self.manner
        given = arguments(case, chosen, self.plan.layered, self.dtype, self.to)
        return invoke(self.function, given, self.plan.layered, self.generic)

    def outcome(self, case: Case, expected: Arrays, manner: Manner | None = None) -> Outcome:
        chosen = manner or self.manner
        if chosen.single:
            case = one_sample(case)
            expected = self.plan.reference(case)
        with np.errstate(all="ignore"):
            called = self.call(case, chosen)
            got, problem, dtypes = self.gradients(called, expected)
        return Outcome(case, expected, called, got, problem, self.allowed(case, expected, dtypes), dtypes)

    def gradients(self, called: Called, expected: Arrays) -> tuple[Arrays, str, dict[Leaf, str]]:
        if called.error:
            return {}, called.error, {}
        try:
            found = collect(called.result, tuple(expected), {leaf: e.ndim for leaf, e in expected.items()})
        except Unusable as e:
            return {}, str(e), {}
        except Exception as e:  # an object of someone's own, whose methods may do anything
            return {}, f"its result cannot be read ({type(e).__name__})", {}
        dtypes = {leaf: str(a.dtype) for leaf, a in found.items()}
        # A copy: the function may write into the same buffer at its next call.
        return {leaf: np.array(a, complex if a.dtype.kind == "c" else float) for leaf, a in found.items()}, "", dtypes

    def allowed(self, case: Case, expected: Arrays, dtypes: Mapping[Leaf, str]) -> dict[Leaf, float]:
        """The largest difference that rounding explains: eps^(4/7) of the array's norm, or, where terms cancel, a
        multiple of what rounding does to our own function, measured between float32 and float64."""
        single = self.plan.reference(case, np.float32)
        largest = max((float(np.linalg.norm(e)) for e in expected.values()), default=0.0)
        out = {}
        for leaf, e in expected.items():
            eps = max(epsilon(dtypes.get(leaf, "float64")), epsilon(str(np.dtype(self.dtype))))
            rounding = float(np.linalg.norm(np.ravel(single[leaf] - e)))
            rounding = rounding if np.isfinite(rounding) else 0.0
            relative = eps**POWER if self.rtol is None else self.rtol
            floor = SAFETY * eps * (rounding / float(np.finfo(np.float32).eps) + largest * 1e-3)
            out[leaf] = max(relative * float(np.linalg.norm(e)), floor)
        return out

    def probe(self, case: Case, expected: Arrays) -> tuple[Manner, str]:
        """How the function is called, and a note on it."""
        first = self.outcome(case, expected)
        if self.plan.layered:
            if first.shaped or sum(
                first.got[x].shape == e.shape for x, e in expected.items() if x in first.got
            ) * 2 > len(expected):
                return self.manner, ""
            manner = replace(self.manner, single=True)
            if self.outcome(case, expected, manner).shaped:
                why = first.problem or "its result does not have the shapes of the parameters"
                return manner, f"it was given one sample at a time, x of shape (n_0,); with a batch: {why}"
            return self.manner, ""
        in_use = [o for o in case.upstream if np.any(case.upstream[o])]
        if first.got or len(in_use) != 1:
            return self.manner, ""
        manner = replace(self.manner, bare=True)
        if self.outcome(case, expected, manner).got:
            return manner, f"the gradient from outside was given as an array, not as {{{in_use[0]!r}: array}}"
        return self.manner, ""


def article(name: str) -> str:
    """A name of a type with its article: an int, a dict."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def epsilon(dtype: str) -> float:
    known = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "complex64": 2.0**-23}
    return known.get(dtype, 2.0**-52)


def one_sample(case: Case) -> Case:
    arrays = {n: a if n == "params" else a[:1] for n, a in case.arrays.items()}
    return replace(case, arrays=arrays, batch=1, words=case.words.split(", batch")[0] + ", one sample")


# ---------------------------------------------------------------- the check of a function


def check_function(
    network: Any,
    backward: Callable[..., Any],
    wrt: Any = None,
    samples: int = 20,
    rtol: float | None = None,
    seed: int = 0,
    *,
    array: Any = None,
    dtype: Any = "float64",
    sizes: Mapping[str, int] | None = None,
    values: Mapping[str, float] | None = None,
    upstream: Sequence[str] = (),
) -> FunctionReport:
    """See `Network.check_function`."""
    if not callable(backward):
        raise FunctionError(
            f"backward is {article(type(backward).__name__)}, expected a function of arrays: backward(params, x, y)"
        )
    if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= MOST_SAMPLES:
        raise FunctionError(f"samples is {samples!r}, expected a whole number from 1 to {MOST_SAMPLES}")
    if rtol is not None and not (isinstance(rtol, int | float) and 0 < rtol < 1):
        raise FunctionError(f"rtol is {rtol!r}, expected a number between 0 and 1")
    dtype = floating(dtype)
    plan = planned(
        network, wrt, sizes or {}, values or {}, tuple([upstream] if isinstance(upstream, str) else upstream)
    )
    refuse_unknown_functions(plan, backward)
    checker = Checker(plan, backward, rtol, dtype, adapter(array))
    first, expected = plan.case(0, seed)
    checker.manner, how = checker.probe(first, expected)
    outcomes = []
    for number in range(samples):
        case, expected = plan.case(number, seed)
        outcomes.append(checker.outcome(case, expected))
    problems = [*calls_problems(checker, outcomes)]
    notes = [how] if how else []
    notes += [
        *cross_checked(plan, outcomes),
        *blind_spots(plan, outcomes[0].case),
        *shared_memory(checker, outcomes[0]),
    ]
    return assembled(plan, checker, outcomes, problems, notes, seed)


def floating(dtype: Any) -> Any:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.dtype("float32"), np.dtype("float64")):
        raise FunctionError(f"dtype is {dtype!r}, expected float32 or float64")
    return found


def planned(
    network: Any, wrt: Any, sizes: Mapping[str, int], values: Mapping[str, Any], outputs: tuple[str, ...]
) -> Plan:
    system: System = network.system
    families = system.parameters if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    if not families:
        data = [
            n
            for n, f in system.families.items()
            if f.kind == "input" and f.over is None and n not in system.upstream.values()
        ]
        families = tuple(data)
    for what, given, known in (
        ("values", values, [n for n, f in system.families.items() if f.kind not in ("derived", "cost") and not f.axes]),
        ("sizes", sizes, sorted(system.constants)),
        ("upstream", outputs, list(system.upstream)),
    ):
        odd = next((n for n in given if n not in known), None)
        if odd is not None:
            raise UnknownFamilyError(
                f"{what}: {odd!r} is none of this model{nearest(odd, known)}"
                if known
                else f"{what}: this model has none"
            )
    return Plan(system, families, dict(sizes), dict(values), outputs, network.label, network.describe)


def refuse_unknown_functions(plan: Plan, backward: Callable[..., Any]) -> None:
    """A generic function has no values: someone's code can be checked only if it takes the one that is drawn."""
    generic = generic_functions(plan.system)
    whole = [p for e in plan.system.equations for _, p in walk(e.rhs) if isinstance(p, Call) and p.function in generic]
    cost = next((p.function for p in whole if any(isinstance(a, Vec) for a in p.arguments)), None)
    if cost is not None:
        raise FunctionError(
            f"the cost {cost} of this network is generic, so no code is its backward pass: give it one, such as loss='sum_squares'"
        )
    names = takes(backward)
    wanted = [m for n in generic for m in (n, f"{n}_prime")]
    if generic and names is not None and not set(wanted) <= names:
        g = next(iter(generic))
        kind = (
            f"lists {g}[l - 1] and {g}_prime[l - 1], one function for each layer"
            if generic[g]
            else f"functions {g} and {g}_prime"
        )
        raise FunctionError(
            f"{g} is generic in this network, so no code is its backward pass: give the network its activation, such as "
            f"dense(..., activation='sigmoid'), or let backward take {' and '.join(wanted)} by keyword ({kind})"
        )


# ---------------------------------------------------------------- what is noticed besides


def calls_problems(checker: Checker, outcomes: Sequence[Outcome]) -> list[str]:
    """Exceptions, wrong structures, inputs changed in place, results that differ from call to call."""
    out: list[str] = []
    failed = [o for o in outcomes if o.problem]
    if failed:
        o = failed[0]
        verb = "raised" if o.called.error else ""
        share = "on every case" if len(failed) == len(outcomes) else f"on {len(failed)} of {len(outcomes)} cases"
        text = f"{verb} {o.problem}".strip()
        out.append(f"{text} {share}; it was given {sizes_of(o.called.given)}")
    touched = next((o for o in outcomes if o.called.changed), None)
    if touched is not None:
        out.append(
            f"it changed {listed(touched.called.changed)} in place; a gradient function leaves its inputs as they are"
        )
    for o in outcomes[: len(checker.plan.kinds)]:
        differs = repeated(checker, o)
        if differs:
            out.append(differs)
            break
    return out


def repeated(checker: Checker, o: Outcome) -> str:
    """Whether a second call with the same arrays gives something else."""
    if not o.got:
        return ""
    with np.errstate(all="ignore"):
        again, problem, _ = checker.gradients(checker.call(o.case), o.expected)
    if problem:
        return f"it works at its first call, and fails at the second with the same arrays: {problem}"
    for leaf, a in again.items():
        b = o.got[leaf]
        if a.shape != b.shape or float(np.linalg.norm(np.ravel(np.nan_to_num(a - b)))) > o.allowed[leaf]:
            return f"{DIFFER} {leaf.name}"
    return ""


def shared_memory(checker: Checker, o: Outcome) -> list[str]:
    """Results that are views of the inputs, or the same buffer at each call."""
    if not o.got:
        return []

    def buffers(called: Called) -> list[tuple[str, Array]]:
        found = [(n, as_numpy(a)) for n, a in flat(called.result, "result") if is_array(a) and np.ndim(as_numpy(a))]
        return [(n, a) for n, a in found if a.dtype.kind == "f"]

    out = []
    one = checker.call(o.case)
    inputs = [(n, as_numpy(a)) for n, a in flat(one.given) if is_array(a)]
    alias = next(((n, m) for n, a in buffers(one) for m, b in inputs if np.shares_memory(a, b)), None)
    if alias is not None:
        out.append(f"{alias[0]} shares its memory with the input {alias[1]}: a change of one changes the other")
    two = checker.call(o.case)
    if not two.error and any(np.shares_memory(a, b) for _, a in buffers(one) for _, b in buffers(two)):
        out.append("it returns the same buffer at each call: a result is overwritten by the next call")
    return out


def cross_checked(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    """Our own gradient against a complex step through the equations of the forward pass, once for each kind of sizes.

    Raises:
        ModelError: They disagree; then nothing can be said of anyone's code.
    """
    for kind in plan.kinds:
        o = next((o for o in outcomes if o.case.kind == kind), None)
        if o is None:
            continue
        try:
            wrong = step_differs(plan, o.case, o.expected)
        except (CannotEvaluate, KeyError, ValueError, RecursionError) as e:
            return [f"the derived gradient was not checked by a complex step ({e})"]
        if wrong:
            raise ModelError(
                f"the derived gradient by {wrong} disagrees with a complex step through the model; please report this"
            )
    return []


def step_differs(plan: Plan, case: Case, expected: Arrays) -> str:
    """The first family whose gradient is not the slope of the cost along a random direction; empty for none."""
    system, h = case.system, 1e-30
    forward = [
        Definition(e.lhs.family, e.lhs.indices, e.rhs, e.guard)
        for e in system.equations
        if not _is_mean(system, e.lhs.family)
    ]
    rng = np.random.default_rng(1)
    setting = case.setting
    for family in dict.fromkeys(leaf.family for leaf in expected):
        keys = [k for k in setting.data if k[0] == family]
        if not keys or (plan.layered and system.families[family].kind != "parameter"):
            continue
        directions = {k: rng.normal(size=np.shape(setting.data[k])) for k in keys}
        moved = changed(setting, {k: setting.data[k] + 1j * h * d for k, d in directions.items()})
        with np.errstate(all="ignore"):
            slope = float(np.mean(np.imag(Pass(moved, forward).leaf(system.cost, ())))) / h
        grads = [e for leaf, e in expected.items() if leaf.family == family]
        ordered = [directions[k] for k in keys]
        if len(grads) != len(ordered):  # one array, cut along its times
            ordered = [np.stack(ordered).reshape(grads[0].shape)]
        terms = [float(np.sum(g * d)) for g, d in zip(grads, ordered, strict=True)]
        size = sum(float(np.linalg.norm(g) * np.linalg.norm(d)) for g, d in zip(grads, ordered, strict=True))
        if abs(sum(terms) - slope) > 1e-9 * size + 1e-12:
            return family
    return ""


def _is_mean(system: System, family: str) -> bool:
    return system.mean is not None and family in system.mean


def blind_spots(plan: Plan, case: Case) -> list[str]:
    """What the sizes of a model hide."""
    if (
        not plan.layered
        or plan.kinds != ["own"]
        or not any(a.at is not None for f in plan.system.families.values() for a in f.axes)
    ):
        return []
    widths = [int(w or 0) for w in case.system.widths]
    out = []
    if 1 in widths:
        out.append("a layer of one node cannot tell a sum from its only term, nor w from its transpose")
    if len(set(widths)) == 1 and widths[0] > 1:
        out.append("the sizes given cannot tell the shape of w from that of its transpose, since all widths are equal")
    if len(widths) < 4:
        layers = len(widths) - 1
        out.append(
            f"with {layers} layer{'s' if layers > 1 else ''} a slip on the way from one hidden layer to another cannot show"
        )
    return out


# ---------------------------------------------------------------- the report


def assembled(
    plan: Plan, checker: Checker, outcomes: Sequence[Outcome], problems: list[str], notes: list[str], seed: int
) -> FunctionReport:
    from symbackprop.codecheck.diagnose import diagnose

    leaves = list(outcomes[0].expected)
    compared = any(o.got for o in outcomes)
    wrong = [x for x in leaves if not compared or any(o.wrong(x) for o in outcomes)]
    slips: tuple[Slip, ...] = ()
    remarks: dict[Leaf, tuple[str, str]] = {}
    if (wrong or problems) and not any(p.startswith(DIFFER) for p in problems):
        found = diagnose(plan, checker, outcomes)
        slips, remarks = found.slips, found.remarks
        notes = [*notes, *found.notes]
    shown = most_telling(outcomes, wrong)
    following = {n for s in slips for n in s.follow}
    arrays = tuple(array_check(x, outcomes, shown, remarks.get(x, ("", "")), x.name in following) for x in leaves)
    verdict = "wrong" if wrong or problems else "right"
    return FunctionReport(
        verdict,  # type: ignore[arg-type]
        getattr(checker.function, "__name__", type(checker.function).__name__),
        plan.label,
        arrays,
        slips,
        tuple(problems),
        tuple(notes),
        tuple(o.case.words for o in outcomes),
        shown.case.words if wrong else "",
        seed,
    )


def most_telling(outcomes: Sequence[Outcome], wrong: Sequence[Leaf]) -> Outcome:
    """The case that is shown: with a result, and with as many wrong arrays as any."""
    return max(outcomes, key=lambda o: (bool(o.got), sum(o.wrong(x) for x in wrong)))


def array_check(
    leaf: Leaf, outcomes: Sequence[Outcome], shown: Outcome, remark: tuple[str, str], follows: bool
) -> ArrayCheck:
    bad = [o for o in outcomes if o.wrong(leaf)] or ([] if any(o.got for o in outcomes) else [shown])
    here = shown if shown in bad else next((o for o in bad if o.got), bad[0]) if bad else shown
    errors = [_relative(d, o.expected[leaf]) for o in outcomes if (d := o.off(leaf)) is not None]
    expected = here.expected[leaf]
    got = here.got.get(leaf)
    cause, message = remark
    worst = None
    if bad and got is not None and got.shape == expected.shape:
        worst = farthest(got, expected)
        message = message or not_finite(got) or precision(here, leaf)
    elif bad and got is not None:
        cause, message = (
            cause or "shape_mismatch",
            joined(shape_message(got, expected), message),
        )
    elif bad:
        message = message or (here.problem and "not compared")
    symbol = leaf.family + (f"^({', '.join(map(str, leaf.at))})" if leaf.at else "")
    return ArrayCheck(
        leaf.name,
        symbol,
        "wrong" if bad else "right",
        max(errors) if errors else None,
        _relative(here.allowed[leaf], expected),
        None if got is None else got.shape,
        expected.shape,
        here.dtypes.get(leaf, ""),
        cause,
        message,
        worst,
        follows,
    )


def _relative(d: float, expected: Array) -> float:
    size = float(np.linalg.norm(expected))
    return d / size if size else d


def farthest(got: Array, expected: Array) -> Worst:
    with np.errstate(all="ignore"):
        off = np.abs(got - expected)
    off = np.where(np.isfinite(off), off, np.inf)
    index = np.unravel_index(int(np.argmax(off)), off.shape)
    return Worst(tuple(int(i) for i in index), float(np.real(got[index])), float(expected[index]))


def not_finite(got: Array) -> str:
    bad = ~np.isfinite(got)
    if not bad.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    count = int(bad.sum())
    return f"{count} of {got.size} entries are not finite, the first is {got[index]} at {list(index)}"


def precision(o: Outcome, leaf: Leaf) -> str:
    """Whether the difference is that of single precision."""
    d, size = o.off(leaf), float(np.linalg.norm(o.expected[leaf]))
    if d is not None and size and d / size < epsilon("float32") ** POWER / 20 and o.dtypes.get(leaf) == "float64":
        return "agrees to single precision only: part of it is computed in float32, or a constant is rounded"
    return ""


def shape_message(got: Array, expected: Array) -> str:
    hint = "; its transpose fits" if got.ndim > 1 and got.T.shape == expected.shape else ""
    return f"shape {got.shape}, expected {expected.shape}{hint}"


def joined(shape: str, more: str) -> str:
    """Both messages, the second unless it only says again what the first does."""
    return shape if not more or ("transpose" in more and "transpose" in shape) else f"{shape}; {more}"
