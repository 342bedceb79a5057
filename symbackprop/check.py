"""Checking a derivation: every rule applied again, both sides of every step evaluated on sample networks."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise, product

from symbackprop.derivation import Record, Section, Step
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Axis, Constraint, Guard, at_least, satisfiable
from symbackprop.network import System
from symbackprop.oracle import CannotEvaluate, Number, Oracle, OutOfRange, Sample, transcendental
from symbackprop.symbols import (
    Assign,
    Call,
    Compare,
    D,
    Delta,
    Expr,
    Param,
    Partial,
    Ref,
    Vec,
    bound,
    names,
    substitute,
    walk,
)
from symbackprop.verdict import Check, StepCheck

MAX_WIDTH, MAX_DEPTH = 40, 64
"""The widest layer and the deepest network that are drawn as samples."""

MANY_EQUATIONS = 12
"""Samples of models with more equations are smaller."""

POINTS = 2
"""Points at which each step is evaluated on each sample; one where the arithmetic is of intervals, which is slow."""


def check_record(record: Record, seed: int = 0) -> Check:
    """Check every step of a derivation.

    Args:
        seed: Draws the samples.

    Returns:
        `proved` only where each step's rule, applied anew, gives the step, and both its sides agree at every
        point of at least two sample networks whose widths differ.
    """
    steps = list(record.contexts())
    samples = draw_samples(record.system, steps_expressions(record), seed)
    samples += short_samples(record, samples)
    if not samples:
        return Check(
            "undecided", (), (), seed, "no arithmetic", reason="the node numbers or the depth are too large to sample"
        )
    oracles = [usable(record.system, s) for s in samples]
    out: list[StepCheck] = []
    for number, (section, step, context) in enumerate(steps):
        again = step.again(context)
        evaluated, left, right, where = 0, "", "", ""
        for oracle in oracles:
            for env in assignments(record.system, oracle.sample, section, step, seed):
                try:
                    a, b = sides(oracle, step, env)
                    equal = oracle.agree(a, b)
                except CannotEvaluate:
                    continue
                except OutOfRange as e:
                    evaluated += 1
                    left, right = "out of range", str(e)
                    where = point(oracle, env)
                    break
                evaluated += 1
                if not equal:
                    left, right = show(a), show(b)
                    where = point(oracle, env)
                    break
            if left:
                break
        out.append(StepCheck(number, step.rule, again, evaluated, left, right, where))
    loose = broken_links(record)
    out += [StepCheck(len(steps) + n, f"link: {what}", False, 0) for n, what in enumerate(loose)]
    if any(s.verdict == "refuted" or not s.again for s in out):
        verdict = "refuted"
    else:
        verdict = "proved" if out and all(s.verdict == "proved" for s in out) else "undecided"
    facts = tuple(f.text for f in record.system.facts) if uses_fact(record) else ()
    return Check(
        verdict,  # type: ignore[arg-type]
        tuple(out),
        tuple(s.describe() for s in samples),
        seed,
        samples[0].arithmetic,
        facts,
    )


def broken_links(record: Record) -> list[str]:
    """What does not hang together: a step that does not start where the one before ended, a result that no step gave."""
    out: list[str] = []
    for n, section in enumerate(record.sections):
        at = f"section {n + 1}"
        if not section.steps:
            out.append(f"{at} has no steps")
            continue
        if not begins(section, record.sections[:n]):
            out.append(f"{at} does not begin with its own left side")
        if any(a.after != b.before for a, b in pairwise(section.steps)):
            out.append(f"{at} has a step that does not continue the one before")
    results = [s.result for s in record.sections]
    if (
        record.sections
        and isinstance(record.goal, Partial)
        and not any(speaks_of(record.goal, s) for s in record.sections)
    ):
        out.append("no section is about the goal")
    if record.sections and record.result != record.goal and record.result not in results:
        scalar = (
            record.goal.bottom.body
            if isinstance(record.goal, Partial) and isinstance(record.goal.bottom, Vec)
            else None
        )
        if not isinstance(record.result, Partial) or record.result.bottom != scalar:
            out.append("the result is that of no section")
    about = [s for s in record.sections if s.subject == record.goal]
    if (
        about
        and not record.cases
        and isinstance(record.goal, Partial)
        and record.result not in [s.result for s in about]
    ):
        if not isinstance(record.sections[-1].subject, Assign):
            out.append("the result is not that of the goal")
    for guard, value in record.cases:
        if not any(s.result == value and s.case == guard for s in record.sections):
            out.append("a case of the result is that of no section")
    if record.induction is not None:
        base, step = record.induction
        inside = 0 <= base < len(record.sections) and 0 <= step < len(record.sections)
        if not inside or record.sections[base].recursion or not record.sections[step].recursion:
            out.append("the induction has no base or no step")
    return out


def speaks_of(goal: Partial, section: Section) -> bool:
    """Whether a section's left side is the goal, or the goal in one of its cases."""
    fixed = dict(solve_for_layer(c) for c in section.case if c.equal)
    bottom = goal.bottom.body if isinstance(goal.bottom, Vec) else goal.bottom
    wanted = (goal, Partial(goal.top, bottom), Partial(goal.top, bottom, True))
    return any(section.subject in (w, substitute(w, fixed)) for w in wanted)


def begins(section: Section, before: tuple[Section, ...]) -> bool:
    """Whether a section starts from its subject, or from what an earlier section found for it."""
    start = section.steps[0].before
    if start == section.subject:
        return True
    fixed = dict(solve_for_layer(c) for c in section.case if c.equal)
    for s in before:
        for mapping in ({}, fixed):
            if s.steps and substitute(s.subject, mapping) == section.subject and substitute(s.result, mapping) == start:
                return True
    return False


def solve_for_layer(c: Constraint) -> tuple[str, Affine]:
    """The layer that an equation fixes, with its value: l = L."""
    for n, k in c.expr.terms:
        value = (c.expr - Affine(((n, k),))) * -k
        if abs(k) == 1 and n.islower():
            return n, value
    return "", Affine(())


def point(oracle: Oracle, env: dict[str, int]) -> str:
    """A sample and the values of the free indices, in words."""
    return f"{oracle.sample.describe()}, {', '.join(f'{n} = {v}' for n, v in env.items())}"


def validate(system: System) -> None:
    """Run the equations once on a small sample.

    Raises:
        ModelError: An equation reads a quantity that does not exist: a node off its axis, a time before the first.
    """
    for sample in draw_samples(system, [e.rhs for e in system.equations], 0)[:1]:
        usable(system, sample)


def usable(system: System, sample: Sample) -> Oracle:
    """The sample's oracle, drawn again where its cost has no value (the logarithm of a negative output)."""
    if not system.cost:
        return Oracle(system, sample)
    for attempt in range(60):
        oracle = Oracle(system, replace(sample, seed=sample.seed + 1000 * attempt))
        try:
            oracle.look(system.cost, ())
        except CannotEvaluate:
            continue
        except OutOfRange as e:
            raise ModelError(
                f"an equation reads a quantity that does not exist ({e}, in a network of {oracle.sample.describe()}); "
                "a range of its index that stays inside, a condition, or '%| zero' for what is 0 outside would fit"
            ) from None
        return oracle
    return oracle


def uses_fact(record: Record) -> bool:
    return any(s.rule == "declared fact" for s in record.steps)


def sides(oracle: Oracle, step: Step, env: dict[str, int]) -> tuple[Number, Number]:
    """Both sides of a step at one point; an array stands for its entry at the index that `env` gives it."""
    return oracle.evaluate(entry(step.before), env), oracle.evaluate(entry(step.after), env)


def entry(e: Expr) -> Expr:
    """An array replaced by its general entry."""
    if isinstance(e, Partial) and isinstance(e.bottom, Vec) and isinstance(e.bottom.body, Ref):
        return Partial(e.top, e.bottom.body, e.direct)
    if isinstance(e, Vec):
        return e.body
    parts = tuple(entry(p) for p in e.parts)
    return e.rebuild(parts) if parts != e.parts else e


def show(x: Number) -> str:
    """A value as a reader can recompute it: a fraction where it is short, else 17 digits."""
    if hasattr(x, "mid"):
        return f"{float(x.mid()):.17g}"
    text = str(x)
    return text if len(text) <= 40 or not hasattr(x, "numerator") else f"{float(x):.17g}"


def steps_expressions(record: Record) -> list[Expr]:
    return [e for s in record.steps for e in (s.before, s.after)]


def largest_node(expressions: Iterable[Expr], system: System) -> int:
    """The largest node number written anywhere; numbers of layers do not count."""
    out = 0
    for e in expressions:
        for _, p in walk(e):
            refs: list[Expr] = [p.top, p.bottom] if isinstance(p, Partial) else [p]
            for r in refs:
                if isinstance(r, Ref):
                    pairs = zip(system.family(r.family).axes, r.indices, strict=False)
                    out = max([out, *(i.value for a, i in pairs if a.kind != "recursion" and i.value is not None)])
                if isinstance(r, Delta) and r.axis.kind != "recursion":
                    out = max([out, *(i.value for i in (r.left, r.right) if i.value is not None)])
    return out


def depth_needed(expressions: Iterable[Expr]) -> int:
    """How many layers below L are written: 2 for w^(L-2)."""
    out = 0
    for e in expressions:
        for _, p in walk(e):
            refs: list[Expr] = [p.top, p.bottom] if isinstance(p, Partial) else [p]
            for r in refs:
                if isinstance(r, Ref):
                    out = max([out, *(-i.const for i in r.indices if i.names and i.const < 0)])
    return out


def draw_samples(system: System, expressions: list[Expr], seed: int) -> list[Sample]:
    """Sample networks on which a slip shows: several depths of at least 3 where depth is free, widths all
    equal and all distinct, none below 1 + the largest node number in play."""
    node = _first_axis(system)
    layered = node is None or node.at is None or system.size(node) != 1
    least = largest_node(expressions, system) + 1 if layered else 1
    if least > MAX_WIDTH or (system.layers.value or 0) > MAX_DEPTH or depth_needed(expressions) > MAX_DEPTH:
        return []
    fixed = system.layers.value
    ball = transcendental(system, expressions)
    depths = [fixed] if fixed is not None else sorted({3, 4, depth_needed(expressions) + 1} - {1, 2})
    out: list[Sample] = []
    for n, depth in enumerate(depths):
        narrowest = max(3, least)
        equal, distinct = sample_widths(system, depth, narrowest, n)
        arithmetic = (
            "rigorous intervals"
            if ball
            else "exact rationals"
            if depth <= 5 or ordered(system)
            else "integers modulo a prime"
        )
        if not any(a.at is not None for a in all_axes(system)):
            equal = distinct = ()
        for widths in (equal, distinct) if n == 0 and equal != distinct and depth <= 12 else (distinct,):
            out.append(Sample(depth, widths, seed, arithmetic, sizes=sample_sizes(system, least, seed + len(out))))
    if len(out) == 1:
        wider = tuple(w + 1 if w > 1 else 1 for w in out[0].widths)
        sizes = sample_sizes(system, least, seed + 1)
        out.append(Sample(out[0].layers, wider, seed + 1, out[0].arithmetic, sizes=sizes))
    for extra in range(2, 6):
        # A stride of 1 hides it, one past the window leaves gaps; a padding of 0 hides it.
        drawn = [{dict(s.sizes).get(n, 0) for s in out} for n in system.integers]
        if all(len(values) > 1 and max(values) > 1 for values in drawn):
            break
        out.append(replace(out[-1], seed=seed + extra, sizes=sample_sizes(system, least, seed + extra)))
    return out


def short_samples(record: Record, samples: list[Sample]) -> list[Sample]:
    """Samples with few layers or times, where a case speaks of these alone: t = 1 = T."""
    lasts = {n for a in all_axes(record.system) if a.last is not None for n in a.last.names}
    standing = (*record.system.standing, *(at_least(n, 3) for n in lasts))
    layered = bool(record.system.layers.names)
    if not samples:
        return []
    if all(satisfiable((*standing, *s.assume)) for s in record.sections):
        named = lasts - record.system.layers.names
        short = tuple((n, 1 if n in named else v) for n, v in samples[0].sizes)
        return [replace(samples[0], sizes=short)] if named and not layered else []
    return [
        replace(
            s,
            layers=length if layered else s.layers,
            widths=s.widths[: length + 1] if layered else s.widths,
            sizes=tuple((n, length if n in lasts else v) for n, v in s.sizes),
        )
        for s in samples[:2]
        for length in (1, 2)
    ]


def sample_sizes(system: System, least: int, seed: int) -> tuple[tuple[str, int], ...]:
    """Small numbers for the named sizes, times and strides, as different from each other as they may be.

    Sizes that follow from others are computed, and drawn again while they come out below 1.
    """
    free = sorted(system.constants - system.layers.names - system.rules.keys())
    wide = {n for r in system.rules.values() for n, k in r.top.terms if k > 0} - set(system.integers)
    lasts = {n for a in all_axes(system) if a.last is not None for n in a.last.names}
    most = 4 if len(system.equations) <= MANY_EQUATIONS else 3
    for attempt in range(200):
        r = random.Random(repr(("sizes", seed, attempt)))
        sizes: dict[str, int] = {}
        for n in free:
            low, high = (0, 2) if n in system.integers else (4, 6) if n in wide else (3, 4) if n in lasts else (2, most)
            low = low if n in system.integers else max(low, least)
            sizes[n] = r.randint(low, max(high, low))
        if any(
            n in q.bottom.names and sizes[n] == 0 for q in system.rules.values() for n in q.bottom.names & sizes.keys()
        ):
            continue
        distinct = {sizes[n] for n in free if n not in system.integers}
        if len(distinct) < min(3, len(free)) and attempt < 100:
            continue
        for n, q in system.rules.items():
            sizes[n] = q.evaluate(sizes)
        if all(sizes[n] >= 1 for n in system.rules):
            return tuple(sorted(sizes.items()))
    return ()


def all_axes(system: System) -> list[Axis]:
    return [a for f in system.families.values() for a in f.axes]


def sample_widths(system: System, depth: int, narrowest: int, serial: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths all equal, and widths that differ wherever the network's may.

    A layer of one node stays one; layers of equal stated widths stay equal, so that what rests on that holds.
    """
    stated = [system.size(Axis("node", "n", Affine((), i))) for i in range(depth + 1)]
    if system.layers.value is None:
        stated = [system.widths[0]] * (depth + 1)
    equal = tuple(1 if s == 1 else narrowest for s in stated)
    cycle = (2, 0, 1, 3) if serial == 0 else (1, 3, 0, 2)
    classes = {v: i for i, v in enumerate(dict.fromkeys(s for s in stated if s not in (None, 1)))}
    distinct = tuple(
        1 if s == 1 else narrowest + cycle[(i if s is None else classes[s]) % 4] for i, s in enumerate(stated)
    )
    return equal, distinct


def ordered(system: System) -> bool:
    """Whether the equations compare numbers, which integers modulo a prime cannot be."""
    stack = [e.rhs for e in system.equations]
    for f in {p.function for e in stack for _, p in walk(e) if isinstance(p, Call)}:
        for name in (f, *system.tables.get(f, {}).values()):
            own = system.function(name)
            if own is not None and own.value is not None:
                stack.append(own.value(Param("z")))
    return any(
        isinstance(p, Compare) or (isinstance(p, Call) and p.function in ("abs", "sign"))
        for e in stack
        for _, p in walk(e)
    )


def _first_axis(system: System) -> Axis | None:
    return next((a for f in system.families.values() for a in f.axes if a.kind == "node"), None)


def assignments(system: System, sample: Sample, section: Section, step: Step, seed: int) -> Iterator[dict[str, int]]:
    """Points for one step: values of its free layers within the section's range, and of its free nodes.

    Where several letters count nodes of one axis they are equal at one of the points: there, Kronecker deltas are 1.
    A letter goes over the whole axis on which the left side has it, whatever the terms need: a term that exists for
    a part of it only must say so. On axes with an end of their own the first and the last node are among the points.
    """
    free: set[str] = set()
    axes: dict[str, list[Axis]] = {}
    own = node_axes(entry(section.subject), system)
    for e in (section.subject, step.before, step.after):
        free |= names(entry(e))
        for name, found in node_axes(entry(e), system).items():
            axes.setdefault(name, []).extend(found)
    free -= system.constants
    recursion = sorted(n for n in free if n not in axes)
    standing = {**dict.fromkeys(system.layers.names, sample.layers), **dict(sample.sizes)}
    along = [a for a in all_axes(system) if a.kind == "recursion"]
    lowest = min([0, *(a.first.evaluate(standing) for a in along)])
    highest = max(
        [sample.layers, *standing.values(), *(a.last.evaluate(standing) for a in along if a.last is not None)]
    )
    choices = []
    guard: Guard = section.assume
    for values in product(range(lowest, highest + 1), repeat=len(recursion)):
        env = {**standing, **dict(zip(recursion, values, strict=True))}
        if possible(guard, env):
            choices.append(env)
    layered = any(a.at is not None for a in all_axes(system))
    # Where a derivative costs a whole forward pass, the steps of a section share their points, and so its value.
    r = random.Random(repr((seed, sample, step.rule, str(step.path)) if layered else (seed, sample, section.subject)))
    r.shuffle(choices)
    count = 1 if sample.arithmetic == "rigorous intervals" or sample.layers > 12 else POINTS
    diagonal = any(isinstance(p, Delta) for e in (step.before, step.after) for _, p in walk(e)) or len(
        {a for found in axes.values() for a in found}
    ) < len(axes)
    ends = any(x.kind == "node" and x.at is None for found in axes.values() for x in found)
    plan: list[tuple[dict[str, int], str]] = [(env, "any") for env in (choices * count)[:count]]
    plan += [(env, "equal") for env in choices[:diagonal]]
    both = ("first", "last") if sample.arithmetic != "rigorous intervals" else (("first", "last")[sample.seed % 2],)
    plan += [(env, end) for env in choices[:ends] for end in both]
    for env, where in plan:
        for _ in range(50 if where in ("any", "equal") else 1):
            point = {n: env[n] for n in recursion}
            common = r.random()
            for n, found in sorted(axes.items(), key=lambda t: t[0]):
                wide = (*own.get(n, found), *(x for x in found if x.at is not None))
                size = min(positions(x, sample, env) for x in wide)
                point[n] = {"any": r.randrange(size), "equal": int(common * size), "first": 0, "last": size - 1}[where]
            if possible(guard, {**env, **point}):
                yield point
                break


def possible(guard: Guard, env: dict[str, int]) -> bool:
    """Whether the numbers fit a guard, for some values of those of its letters that have none."""
    values = {n: Affine((), v) for n, v in env.items()}
    rest: list[Constraint] = []
    for c in guard:
        if not c.expr.names <= env.keys():
            rest.append(c.substitute(values))
        elif not c.holds(env):
            return False
    return not rest or satisfiable(rest)


def positions(axis: Axis, sample: Sample, env: dict[str, int]) -> int:
    """How many positions an axis of nodes or samples has in a sample."""
    if axis.kind == "sample":
        return sample.samples
    return dict(sample.sizes)[axis.label] if axis.at is None else sample.widths[axis.at.evaluate(env)]


def node_axes(e: Expr, system: System) -> dict[str, list[Axis]]:
    """The axes on which every free node index stands: one letter may count nodes of several layers."""
    out: dict[str, list[Axis]] = {}
    inner = bound(e)

    def outside(axis: Axis) -> bool:
        return axis.at is None or not axis.at.names & inner

    for _, p in walk(e):
        refs: list[Expr] = [p.top, p.bottom] if isinstance(p, Partial) else [p]
        if isinstance(p, D):
            refs.append(p.variable)
        if isinstance(p, Assign):
            refs.append(p.target)
        for r in refs:
            if isinstance(r, Ref):
                for axis, i in zip(system.axes(r), r.indices, strict=True):
                    if axis.kind != "recursion" and i.name is not None and i.name not in inner and outside(axis):
                        out.setdefault(i.name, []).append(axis)
            if isinstance(r, Delta) and r.axis.kind != "recursion":
                for i in (r.left, r.right):
                    if i.name is not None and i.name not in inner and outside(r.axis):
                        out.setdefault(i.name, []).append(r.axis)
    return out
