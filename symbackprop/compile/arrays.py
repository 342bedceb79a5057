"""From the equations of any model to a Program over whole arrays.

A family is one array over all its axes. What needs the step before (a recurrence) becomes a loop over that
axis (`order`), and what does not change in the loop is computed before it, for all its turns at once. The sum
of a product is brought to one normal form first (`Product`): values whose axes carry one label each, the
equations between labels that strides, shifts, deltas and gathers amount to, and the conditions that are left.
An equation is then solved for the label whose disappearance leaves the least work: by looking at a value through a
window, or by adding the result up where it belongs (`fold`), as convolutions and their gradients do.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from symbackprop.compile.array_builder import ArrayBuilder
from symbackprop.compile.builder import Term, Value, guarded_exp
from symbackprop.compile.equations import Product, Solver
from symbackprop.compile.extents import size_name, span
from symbackprop.compile.kernels import ARRAY_FUNCTIONS
from symbackprop.compile.lower import PRIMITIVES, RESERVED, AdjointLike
from symbackprop.compile.order import Case, Item, apart, components, make_case, same_turn, sweep, uses
from symbackprop.compile.passes import pruned, renamed
from symbackprop.compile.program import (
    Input,
    Output,
    Program,
    Scan,
    Stored,
)
from symbackprop.compile.sharing import Definition, factored, factors, is_number, shared
from symbackprop.compile.starts import Base, bases, first_entries
from symbackprop.errors import ModelError
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine
from symbackprop.network import System
from symbackprop.symbols import (
    ONE,
    ZERO,
    Add,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Family,
    Guarded,
    Max,
    Mul,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Where,
    Winner,
    WrittenOut,
    walk,
)

OURS = frozenset([*ARRAY_FUNCTIONS, "take", "range", "own", "given", "tile", "arrays_seen_as", "buffers_seen_as"])
NUMBERED = re.compile(r"([tuci]|out|folds|grid|offsets)\d+|(part|ones|mask|places)_.*|.*_at\d+")
"""Names that generated code has for other things than families."""

Env: TypeAlias = "Mapping[str, Affine]"  # an index in terms of labels, counters and numbers


@dataclass
class Loop:
    """A loop that is being filled.

    Args:
        counter: Its name in indices.
        numbers: What it counts.
        label: The label of its axis for what is computed for all turns at once, before the loop.
        members: The items that it computes.
        axis: Which axis of each member it runs over.
        stacks: The array in which each member's results lie.
        fixed: The axes of each member that this loop and those around it fix.
        active: The members that have an equation for these numbers.
    """

    counter: str
    numbers: range
    label: str
    members: frozenset[Item]
    axis: Mapping[Item, int]
    stacks: Mapping[Item, str]
    fixed: Mapping[Item, frozenset[int]]
    active: frozenset[Item]

    @property
    def low(self) -> int:
        return min(self.numbers)


class ArrayLowerer:
    """Lowers quantities of one system on demand, at known sizes.

    Args:
        numbers: Of every name that an index speaks of: sizes, last times, strides.
        given: Derived families that the caller has the values of.
        absent: Data that is 0 throughout: gradients from outside that the caller does not give.
    """

    def __init__(
        self,
        system: System,
        adjoints: Sequence[AdjointLike],
        numbers: Mapping[str, int],
        given: Iterable[str] = (),
        absent: Iterable[str] = (),
    ) -> None:
        self.system, self.numbers, self.given = system, numbers, frozenset(given)
        self.known: dict[str, Affine] = {n: affine(v) for n, v in numbers.items()}
        self.build = ArrayBuilder()
        self.solver = Solver(self.build, self._ends)
        self.build.sizes.update(numbers)
        self.done: dict[Item, Term] = {(n, False): ZERO for n in absent}
        self.rows: dict[Item, Term] = {}
        self.loops: list[Loop] = []
        self.names: dict[str, str] = {}
        self.meaning: dict[str, tuple[tuple[str, tuple[int, ...]], bool]] = {}
        self.notes: dict[str, tuple[Expr, Expr]] = {}
        self.cases: dict[Item, list[Case]] = {}
        self.starts = {b.family: b for b in bases(system, numbers) if b.family not in self.given}
        self.bases: dict[str, str] = {}
        self.serial = 0
        equations = [Definition(e.lhs.family, False, e.lhs, e.rhs, e.guard, (e.lhs, e.rhs)) for e in system.equations]
        for a in adjoints:
            v = a.subject.bottom
            if isinstance(v, Ref) and a.subject.top.family == system.cost:
                equations.append(Definition(v.family, True, v, a.value, a.guard, (a.subject, a.value)))
        # Only loops keep equal values apart; elsewhere they are found when they are built.
        looped = any(a.kind == "recursion" for f in system.families.values() for a in f.axes)
        self.families = dict(system.families)
        if looped:
            equations, self.families = shared(equations, self.families)
        for d in equations:
            rhs = d.rhs if looped else factored(d.rhs)
            self._declare_case(replace(d, rhs=rhs))
        self.group: dict[Item, list[Item]] = {}

    def _declare_case(self, d: Definition) -> None:
        family = self.family(d.family)
        if any(a.at is not None for a in family.axes):
            raise ModelError(f"{family.name} differs in shape from layer to layer, so it is no single array")
        case = make_case(family, d.lhs, d.rhs, d.guard, self.numbers)
        if case is not None:
            self.cases.setdefault((d.family, d.gradient), []).append(replace(case, shown=d.shown))

    def family(self, name: str) -> Family:
        return self.families[name] if name in self.families else self.system.family(name)

    # ---------------------------------------------------------------- axes

    def span(self, family: Family, position: int) -> range:
        return span(family, position, self.numbers)

    def node_size(self, axis: Axis) -> int:
        size = size_name(axis)
        if not size.names <= self.numbers.keys():
            raise ModelError(f"the size {axis.label} is not known; give it as sizes={{{axis.label!r}: ...}}")
        return size.evaluate(self.numbers)

    def dimension(self, family: Family, position: int) -> str:
        axis = family.axes[position]
        if axis.kind == "recursion":
            return self.build.dim(len(self.span(family, position)))
        n = self.node_size(axis)
        return self.build.dim(n) if axis.label.isdigit() else axis.label

    def base(self, family: Family, position: int) -> int:
        """The number of the first entry of an axis."""
        return self.span(family, position).start if family.axes[position].kind == "recursion" else 0

    # ---------------------------------------------------------------- inputs and names

    def name(self, item: Item) -> str:
        """A name in generated code: letters of the family, never text from outside."""
        family, gradient = item
        base = family if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", family) else "v"
        base = ("d_" if gradient else "") + base
        taken = set(self.names.values())
        while base in taken or base in OURS or base in RESERVED or keyword.iskeyword(base) or NUMBERED.fullmatch(base):
            base = f"v_{base}_" if NUMBERED.fullmatch(base) else f"{base}_"
        return base

    def is_data(self, item: Item) -> bool:
        """Whether the caller gives it."""
        name, gradient = item
        kind = self.family(name).kind
        return not gradient and (name in self.given or (kind not in ("derived", "cost") and item not in self.cases))

    def declare(self, name: str) -> None:
        """An array that the caller gives."""
        family = self.family(name)
        dims = tuple(self.dimension(family, n) for n in range(len(family.axes)))
        kind: Literal["parameter", "input", "target", "given"] = "given"
        if family.kind == "parameter" or family.kind == "input" or family.kind == "target":
            kind = family.kind
        value = self.build.fresh()
        self.build.dims[value] = dims
        self.build.instructions.append(Input(value, dims, (name, ()), kind, family.over is not None))
        self.done[name, False] = Value(value, tuple(f"${n}" for n in range(len(dims))))
        self._call_it(value, (name, False))

    def first(self, name: str) -> str:
        """The array that stands before the first equation of a recurrence."""
        if name not in self.bases:
            family, base = self.family(name), self.starts[name]
            dims = tuple(
                self.build.dim(len(base.numbers)) if n == base.axis else self.dimension(family, n)
                for n in range(len(family.axes))
            )
            value = self.build.fresh()
            self.build.dims[value] = dims
            self.build.instructions.append(Input(value, dims, (base.name, ()), "input"))
            self.bases[name] = value
            self.names[value] = self.name((base.name, False))
        return self.bases[name]

    def _call_it(self, value: str, item: Item, case: Case | None = None) -> None:
        """Give a value the name of what it is, and the equation that it comes from."""
        if value not in self.names:
            self.names[value] = self.name(item)
            self.meaning[self.names[value]] = ((item[0], ()), item[1])
            if case is not None and case.shown is not None:
                self.notes[self.names[value]] = case.shown

    # ---------------------------------------------------------------- quantities

    def need(self, item: Item) -> Term:
        """The value of a quantity, or of the gradient by it, over all its axes; what it depends on first."""
        found = self.done.get(item)
        if found is not None:
            return found
        if self.loops:
            with self._outside_all():
                return self.need(item)
        if self.is_data(item):
            self.declare(item[0])
            return self.done[item]
        group = self._group(item)
        if len(group) == 1 and not self._needs_itself(item):
            self.done[item] = self.define(item, {})
        else:
            self.run_loop(group, {m: frozenset() for m in group})
        return self.done[item]

    @contextmanager
    def _outside_all(self) -> Iterator[None]:
        loops, self.loops = self.loops, []
        depth = len(self.build.outer)
        with self._outside(depth):
            yield
        self.loops = loops

    @contextmanager
    def _outside(self, depth: int) -> Iterator[None]:
        if depth == 0:
            yield
        else:
            with self.build.outside(), self._outside(depth - 1):
                yield

    def _group(self, item: Item) -> list[Item]:
        if item not in self.group:
            for g in components([item], self._needs):
                for m in g:
                    self.group.setdefault(m, g)
        return self.group[item]

    def _needs(self, item: Item) -> list[Item]:
        if item in self.done or self.is_data(item):
            return []
        cases = self.cases.get(item, ())
        for c in cases:
            only_gradients(c.rhs, self.system.cost)
        return [u.item for c in cases for u in uses(c.rhs) if u.item not in self.done]

    def _needs_itself(self, item: Item) -> bool:
        return any(u.item == item for c in self.cases.get(item, ()) for u in uses(c.rhs))

    def define(self, item: Item, fixed: Mapping[int, Loop]) -> Term:
        """A quantity over all axes that no loop fixes, its labels $0, $1, ... in order of its axes."""
        family = self.family(item[0])
        cases = self._cases_now(item, fixed)
        if not cases:
            if item[1]:
                return ZERO  # the cost does not depend on it
            raise ModelError(f"{item[0]} has no value: no equation defines it, and it is not given")
        free = [n for n in range(len(family.axes)) if n not in fixed]
        whole = {n: self.span(family, n) for n in free if family.axes[n].kind == "recursion"}
        boxes = {tuple((n, c.box[n]) for n in whole) for c in cases}
        if boxes == {tuple((n, r) for n, r in whole.items())}:
            term = self._over(item, cases, fixed, free)
        else:
            term = self._stacked(item, cases, fixed, free, whole)
        if isinstance(term, Value):
            self._call_it(term.name, item, cases[0])
        return term

    def _cases_now(self, item: Item, fixed: Mapping[int, Loop]) -> list[Case]:
        return [
            c
            for c in self.cases.get(item, ())
            if all((r := c.box[n]) is not None and loop.low in r for n, loop in fixed.items())
        ]

    def _over(self, item: Item, cases: Sequence[Case], fixed: Mapping[int, Loop], free: Sequence[int]) -> Term:
        """Cases that hold over the same box, side by side where their conditions tell them apart."""
        family = self.family(item[0])
        labels: dict[int, str] = {}
        for n in free:
            r = cases[0].box[n]
            labels[n] = self.build.label(self.dimension(family, n) if r is None else self.build.dim(len(r)))
        terms: list[Term] = []
        for c in cases:
            env = dict(self.known)
            for n, letter in enumerate(c.letters):
                r = c.box[n]
                if n in fixed:
                    env[letter] = affine(fixed[n].counter)
                else:
                    env[letter] = affine(labels[n]) + (r.start if r is not None else 0)
            value = self.lower(c.rhs, env)
            # A condition that all share only says where the quantity exists: its uses carry it too.
            own = tuple(g.substitute(env) for g in c.guard if len(cases) > 1)
            terms.append(self._where(own, value))
        term = terms[0] if len(terms) == 1 else self.build.add(terms)
        back = {c: f"${n}" for n, c in labels.items()}
        return Value(term.name, tuple(back[c] for c in term.labels)) if isinstance(term, Value) else term

    def _where(self, guard: Guard, value: Term) -> Term:
        left = self.solver.open(guard)
        if left is None:
            return ZERO
        if isinstance(value, Value):
            left = left - self.build.support(value)
        return self.build.select(tuple(sorted(left, key=str)), value)

    def _ends(self, n: str) -> tuple[int, int]:
        for loop in self.loops:
            if loop.counter == n:
                return min(loop.numbers), max(loop.numbers)
        return 0, self.build.size(n) - 1

    def _stacked(
        self,
        item: Item,
        cases: Sequence[Case],
        fixed: Mapping[int, Loop],
        free: Sequence[int],
        whole: Mapping[int, range],
    ) -> Term:
        """Cases that hold over boxes that lie side by side."""
        family = self.family(item[0])
        groups: dict[tuple[range | None, ...], list[Case]] = {}
        for c in apart(cases, list(whole)):
            groups.setdefault(tuple(c.box[n] for n in free), []).append(c)
        pieces: list[tuple[str, tuple[int, ...]]] = []
        for box, some in groups.items():
            term = self._over(item, some, fixed, free)
            if term == ZERO:
                continue
            dims = [
                self.dimension(family, n) if r is None else self.build.dim(len(r))
                for n, r in zip(free, box, strict=True)
            ]
            place = tuple(0 if r is None else r.start - whole[n].start for n, r in zip(free, box, strict=True))
            pieces.append((self._full(term, [f"${n}" for n in free], dims).name, place))
        if not item[1] and not fixed and item[0] in self.starts:
            pieces.append((self.first(item[0]), (0,) * len(free)))
        stack = self.build.stack(pieces, tuple(self.dimension(family, n) for n in free))
        return Value(stack, tuple(f"${n}" for n in free))

    def _full(self, term: Term, labels: Sequence[str], dims: Sequence[str]) -> Value:
        """A value with all of these labels, in this order."""
        to = {c: self.build.label(d) for c, d in zip(labels, dims, strict=True)}
        want = tuple(to.values())
        v: Term = Value(term.name, tuple(to[c] for c in term.labels)) if isinstance(term, Value) else term
        if not isinstance(v, Value) or set(v.labels) != set(want):
            one = v.value if isinstance(v, Num) else Fraction(1)
            ones = self.build.mask((), one, want)
            v = ones if isinstance(v, Num) else self.build.mul([ones, v])
        assert isinstance(v, Value)
        return v if v.labels == want else self.build.view(v.name, v.labels, want)

    # ---------------------------------------------------------------- loops

    def run_loop(self, members: Sequence[Item], fixed: Mapping[Item, frozenset[int]]) -> None:
        """Compute items that need each other from one step to the next."""
        families, b = self.families, self.build
        plan = sweep(members, families, self.cases, fixed, [loop.axis for loop in self.loops], self.numbers)
        for m in members:  # what they need of others is computed outside
            for item in self._needs(m):
                if item not in members and item not in self.rows and item not in self.done:
                    self.need(item)
        now = {m: fixed[m] | {plan.axis[m]} for m in members}
        stacks: dict[Item, str] = {}
        for m in members:
            free = [n for n in range(len(families[m[0]].axes)) if n not in fixed[m]]
            has_first = not m[1] and not fixed[m] and m[0] in self.starts
            first = [(self.first(m[0]), (0,) * len(free))] if has_first else []
            stacks[m] = b.stack(first, tuple(self.dimension(families[m[0]], n) for n in free))
        for numbers in plan.segments:
            stacks = self._turn(members, plan.axis, plan.step, numbers, stacks, fixed, now)
        store = self.rows if self.loops else self.done
        for m in members:
            free = [n for n in range(len(families[m[0]].axes)) if n not in fixed[m]]
            store[m] = Value(stacks[m], tuple(f"${n}" for n in free))

    def _turn(
        self,
        members: Sequence[Item],
        axis: Mapping[Item, int],
        step: int,
        numbers: range,
        stacks: Mapping[Item, str],
        fixed: Mapping[Item, frozenset[int]],
        now: Mapping[Item, frozenset[int]],
    ) -> dict[Item, str]:
        """The loop over one segment; the stacks as it leaves them."""
        b, families = self.build, self.families
        self.serial += 1
        active = [m for m in members if any(numbers.start in (c.box[axis[m]] or ()) for c in self.cases[m])]
        after = {**stacks, **{m: b.fresh() for m in active}}
        for m in active:
            b.dims[after[m]] = b.dims[stacks[m]]
        label = b.label(b.dim(len(numbers)))
        loop = Loop(f"i{self.serial}", numbers, label, frozenset(members), axis, after, now, frozenset(active))
        stored: list[Stored] = []
        with b.body() as body:
            self.loops.append(loop)
            inner = components(active, lambda m: self._same_turn(m, loop))
            for group in inner:
                if len(group) > 1 or group[0] in self._same_turn(group[0], loop):
                    self.run_loop(group, now)
                else:
                    around = {lp.axis[group[0]]: lp for lp in self.loops if group[0] in lp.members}
                    self.rows[group[0]] = self.define(group[0], around)
            for m in active:
                family = families[m[0]]
                free = [n for n in range(len(family.axes)) if n not in now[m]]
                dims = [self.dimension(family, n) for n in free]
                value = self._full(self.rows[m], [f"${n}" for n in free], dims)
                place = sum(n not in fixed[m] for n in range(axis[m]))
                stored.append(
                    Stored(after[m], stacks[m], value.name, place, affine(loop.counter) - self.base(family, axis[m]))
                )
            self.loops.pop()
            instructions = tuple(body)
        first, last = (numbers.start, numbers.stop - 1) if step > 0 else (numbers.stop - 1, numbers.start)
        b.instructions.append(Scan(b.fresh(), loop.counter, first, last, step, instructions, tuple(stored)))
        for m in members:
            self.rows.pop(m, None)
        for m in active:
            self._call_it(after[m], m)
        return after

    def _same_turn(self, m: Item, loop: Loop) -> list[Item]:
        """The members that a member needs of the same turn of a loop."""
        out = []
        for c in self.cases.get(m, ()):
            r = c.box[loop.axis[m]]
            if r is None or loop.low not in r:
                continue
            for u in uses(c.rhs):
                if u.item in loop.active and same_turn(c, m, u, [around.axis for around in self.loops]):
                    out.append(u.item)
        return out

    def depends(self, e: Expr) -> bool:
        """Whether an expression needs what the innermost loop computes."""
        return any(u.item in self.loops[-1].members for u in uses(e))

    def hoisted(self, e: Expr, env: Env) -> Term:
        """An expression that does not depend on the loop around, computed before it for all turns."""
        loop = self.loops.pop()
        every = {n: i.substitute({loop.counter: affine(loop.label) + loop.low}) for n, i in env.items()}
        with self.build.outside():
            v = self.lower(e, every)
        self.loops.append(loop)
        if not isinstance(v, Value) or loop.label not in v.labels:
            return v
        at = affine(loop.counter) - loop.low
        return self.build.window(v.name, [at if c == loop.label else affine(c) for c in v.labels])

    # ---------------------------------------------------------------- expressions

    def lower(self, e: Expr, env: Env) -> Term:
        """The value of an expression, its free indices being affine in labels and counters."""
        if self.loops and worth_hoisting(e) and not self.depends(e):
            return self.hoisted(e, env)
        b = self.build
        match e:
            case Num():
                return e
            case Param("pi"):
                return e
            case Param(name):
                raise ModelError(f"{name} has no value, so no code can be generated for it")
            case Size(axis):
                return Num(Fraction(self.node_size(axis)))
            case Position(i):
                return self.solver.position(i.substitute(env))
            case Add(terms):
                return b.add([self.lower(t, env) for t in self.parted(terms, Add)])
            case Mul() if not has_index_equation(e) and not any(isinstance(f, Sum) for f in factors(e)):
                return b.mul([t for f in self.parted(tuple(factors(e)), Mul) for t in self.quotient(f, env)])
            case Div(top, _) if not has_index_equation(top):
                return b.mul(self.quotient(e, env))
            case Pow(base, exponent):
                return b.pow(self.lower(base, env), self.lower(exponent, env))
            case Where(Compare(op, left, right) as c, then, other) if not is_pick(e):
                return b.where(
                    op,
                    self.lower(left, env),
                    self.lower(right, env),
                    self.lower(guarded_exp(then, c, holds=True), env),
                    self.lower(guarded_exp(other, c, holds=False), env),
                )
            case Max() | Prod():
                return self.extreme(e, env)
            case Call():
                return self.call(e, env)
        return self.product([e], env)

    def quotient(self, e: Expr, env: Env) -> list[Term]:
        """The factors of an expression: a small denominator becomes a factor, for products of small things come first."""
        hoisted = bool(self.loops) and worth_hoisting(e) and not self.depends(e)
        if not isinstance(e, Div) or has_index_equation(e.top) or hoisted:
            return [self.lower(e, env)]
        b, below = self.build, self.lower(e.bottom, env)
        above = self.lower(e.top, env)
        if not isinstance(below, Value) or not isinstance(above, Value):
            return [b.div(above, below)]
        smaller = 2 * b.volume(below.labels) <= b.volume(above.labels)
        if not smaller or b.stable_quotient(above, below) is not None:
            return [b.div(above, below)]
        parts = [e.top] if isinstance(e.top, Add) else list(factors(e.top))
        return [*(t for f in parts for t in self.quotient(f, env)), b.div(ONE, below)]

    def parted(self, parts: tuple[Expr, ...], head: type[Add] | type[Mul]) -> list[Expr]:
        """In a loop, the parts that do not depend on it as one."""
        if not self.loops:
            return list(parts)
        apart = [p for p in parts if not self.depends(p)]
        if len(apart) < 2 or not any(worth_hoisting(p) for p in apart):
            return list(parts)
        return [head(tuple(apart)), *(p for p in parts if p not in apart)]

    def bound(self, e: Sum | Max | Prod, env: Env) -> tuple[str, Env, list[Constraint]]:
        """A label for a bound index, and what its guard says of labels."""
        axis = e.axis
        if axis.kind == "recursion":
            low, high = axis.first.substitute(self.known).value, None
            if axis.last is not None:
                high = axis.last.substitute(self.known).value
            if low is None or high is None:
                raise ModelError(f"the sum over {e.index} has no numbers for its ends")
            known = {n: i for n, i in env.items() if i.value is not None and n != e.index}
            own = [c.substitute(known) for c in e.guard]
            own = [c for c in own if c.expr.names == {e.index}]
            kept = [n for n in range(low, high + 1) if all(c.holds({e.index: n}) for c in own)]
            low, count = (kept[0], kept[-1] - kept[0] + 1) if kept else (low, 0)
            label = self.build.label(self.build.dim(count))
            inner = {**env, e.index: affine(label) + low}
        else:
            n = self.node_size(axis)
            label = self.build.label(self.build.dim(n) if axis.label.isdigit() else axis.label)
            inner = {**env, e.index: affine(label)}
        return label, inner, [c.substitute(inner) for c in e.guard]

    def extreme(self, e: Max | Prod, env: Env) -> Term:
        """A maximum or a product over an index."""
        label, inner, guard = self.bound(e, env)
        body = self.lower(e.body, inner)
        outside = float("-inf") if isinstance(e, Max) else 1.0
        body = self._guarded(body, guard, label, outside)
        kind = "max" if isinstance(e, Max) else "prod"
        if not isinstance(body, Value) or label not in body.labels:
            return body if kind == "max" else self.build.pow(body, Num(Fraction(self.build.size(label))))
        return self.build.reduce(kind, body, frozenset({label}))

    def _guarded(self, body: Term, guard: Iterable[Constraint], label: str, outside: float) -> Term:
        left = self.solver.open(guard)
        if left is None:
            raise ModelError("a maximum or a product over nothing")
        if not left:
            return body
        names = [n for c in left for n in c.expr.names]
        own = tuple(sorted(left, key=str))
        if outside != 1.0 and isinstance(body, Value):
            return self.build.masked(body, own)
        keep = self.build.mask(own, Fraction(1), names)
        other = self.build.mask(own, Fraction(0), names, 1.0)
        return self.build.add([self.build.mul([body, keep]), other])

    def winner(self, p: Product, of: Max, at: Affine, env: Env) -> None:
        """1 where `at` is the first place at which a maximum is attained."""
        label, inner, guard = self.bound(of, env)
        body = self._guarded(self.lower(of.body, inner), guard, label, float("-inf"))
        if not isinstance(body, Value) or label not in body.labels:
            p.equations.append(at)
            return
        p.values.append(self.build.winner(body, label))
        p.summed.add(label)
        p.equations.append(affine(label) - at)

    def call(self, e: Call, env: Env) -> Term:
        name = e.function
        own = name in self.system.functions
        if e.order == 0 and name in PRIMITIVES and not own:
            return self.build.call(name, [self.lower(a, env) for a in e.arguments])
        f = self.system.function(name)
        if f is None:
            raise ModelError(f"{name} is generic, so it has no values; give its definition")
        (z,) = e.arguments
        if e.order == 1:
            return self.lower(f.slope(z, Call(name, (z,))), env)
        if e.order == 0 and f.value is not None:
            return self.lower(f.value(z), env)
        raise ModelError(f"no code can be generated for {name} with {e.order} primes")

    # ---------------------------------------------------------------- products

    def product(self, fs: Sequence[Expr], env: Env) -> Term:
        """The sum of a product over labels."""
        return self.collected(Product(), [(f, env) for f in fs])

    def collected(self, p: Product, todo: list[tuple[Expr, Env]]) -> Term:
        """The product with factors that are still to be looked at, each with the meaning of its indices."""
        while todo:
            f, env = todo.pop(0)
            match f:
                case Mul():
                    todo = [*((g, env) for g in factors(f)), *todo]
                case Div(top, bottom) if has_index_equation(top):
                    todo = [(top, env), (Div(ONE, bottom), env), *todo]
                case WrittenOut(s):
                    todo.insert(0, (s, env))
                case Guarded(body, conditions):
                    p.conditions += [c.substitute(env) for c in conditions]
                    todo.insert(0, (body, env))
                case Div(top, bottom) if p.summed and self.divides(p, top, bottom, env):
                    pass
                case Sum() if has_index_equation_inside(f) or (not p.values and all(is_number(g) for g, _ in todo)):
                    label, inner, guard = self.bound(f, env)
                    p.summed.add(label)
                    p.conditions += guard
                    todo.insert(0, (f.body, inner))
                case Add(terms) if p.summed and has_index_equation(f):
                    return self.build.add([self.collected(p.copy(), [(t, env), *todo]) for t in terms])
                case Delta(left, right):
                    p.equations.append((left - right).substitute(env))
                case Where(Compare("==", left, right)) if is_pick(f):
                    self.pick(p, left, right, env)
                case Ref(family, indices):
                    self.occurrence(p, (family, False), indices, env)
                case Partial(top, Ref(family, indices), False) if top.family == self.system.cost:
                    self.occurrence(p, (family, True), indices, env)
                case Winner(of, at):
                    self.winner(p, of, at.substitute(env), env)
                case _:
                    self.solver.factor(p, self.lower(f, env))
        return self.solver.solved(p)

    def divides(self, p: Product, top: Expr, bottom: Expr, env: Env) -> bool:
        """Whether a quotient was put into the product as two factors: its denominator does not change in the sum."""
        if is_number(bottom):
            return False
        below = self.lower(bottom, env)
        if not isinstance(below, Value) or set(below.labels) & p.summed:
            return False
        above = self.lower(top, env)
        if self.build.stable_quotient(above, below) is not None:
            return False
        self.solver.factor(p, above)
        self.solver.factor(p, self.build.div(ONE, below))
        return True

    def occurrence(self, p: Product, item: Item, indices: Sequence[Affine], env: Env) -> None:
        """A quantity at its indices: a label for each axis, and an equation where the index is not just that label."""
        if item == (self.system.cost, True):
            return  # the derivative of the cost by itself is 1
        stored, at = self.located(item, [i.substitute(env) for i in indices])
        if not isinstance(stored, Value):
            p.numbers.append(stored)
            return
        own: list[Affine] = []
        for c, dim in zip(stored.labels, self.build.dims[stored.name], strict=True):
            i = at[int(c[1:])]
            low, high = self.solver.reach(i)
            if high < 0 or low >= self.build.sizes[dim]:
                p.numbers.append(ZERO)
                return
            if i.names & self.build.label_dims.keys():
                plain = i.name is not None and self.build.size(i.name) == self.build.sizes[dim] and i not in own
                if not plain:
                    q = self.build.label(dim)
                    p.summed.add(q)
                    p.equations.append(affine(q) - i)
                    i = affine(q)
            own.append(i)
        p.values.append(self.build.window(stored.name, own))

    def located(self, item: Item, at: Sequence[Affine]) -> tuple[Term, dict[int, Affine]]:
        """Where a quantity is kept, and the position on each of its axes: this turn's, an earlier turn's, or a whole array."""
        family = self.family(item[0])
        place = {n: i - self.base(family, n) for n, i in enumerate(at)}
        if not any(item in loop.members for loop in self.loops):
            return self.need(item), place
        for loop in self.loops:
            if item not in loop.members:
                break
            n = loop.axis[item]
            now = at[n] == affine(loop.counter) or (len(loop.numbers) == 1 and at[n].value == loop.low)
            if not now or item not in loop.active:
                free = [m for m in range(len(family.axes)) if m in place]
                return Value(loop.stacks[item], tuple(f"${m}" for m in free)), place
            del place[n]
        if item not in self.rows:
            raise ModelError(f"{item[0]} depends on itself")
        return self.rows[item], place

    def pick(self, p: Product, left: Expr, right: Expr, env: Env) -> None:
        """[x = place of an index]."""
        data, at = (left, right) if isinstance(right, Position) else (right, left)
        assert isinstance(at, Position)
        index = at.at.substitute(env)
        x = self.lower(data, env)
        if not isinstance(x, Value) or not index.names & self.build.label_dims.keys():
            self.solver.factor(p, self.build.where("==", x, self.solver.position(index), ONE, ZERO))
            return
        if index.name is None:
            q = self.build.label(self.build.dim(self.solver.reach(index)[1] + 1))
            p.summed.add(q)
            p.equations.append(affine(q) - index)
            index = affine(q)
        p.picks.append((x, index))

    # ---------------------------------------------------------------- the end

    def output(self, item: Item) -> str:
        """The name of a value with all the axes of its quantity, in order, 0 where the quantity does not exist.

        The first entries of a recurrence, an array of their own, are left out.
        """
        term = self.need(item)
        family = self.family(item[0])
        dims = [self.dimension(family, n) for n in range(len(family.axes))]
        labels = [f"${n}" for n in range(len(dims))]
        v = self._full(term, labels, dims)
        guard = [c for c in family.guard if len(c.expr.names & set(family.indices)) > 1]
        if guard:
            env = {
                letter: affine(c) + self.base(family, n)
                for n, (letter, c) in enumerate(zip(family.indices, v.labels, strict=True))
            }
            chosen = self._where(tuple(c.substitute({**self.known, **env}) for c in guard), v)
            v = chosen if isinstance(chosen, Value) else self._full(chosen, labels, dims)
        first = first_entries(self.system, family, self.numbers)
        if first is not None:
            axis, given = first
            own = [affine(c) for c in v.labels]
            rows = len(self.span(family, axis)) - len(given)
            own[axis] = affine(self.build.label(self.build.dim(rows))) + len(given)
            return self.build.window(v.name, own).name
        return v.name

    def first_entries(self, base: Base) -> str:
        """The gradient by the first entries of a recurrence."""
        family = self.family(base.family)
        every = [self.dimension(family, n) for n in range(len(family.axes))]
        whole = self._full(self.need((base.family, True)), [f"${n}" for n in range(len(every))], every).name
        labels = [
            self.build.label(self.build.dim(len(base.numbers)) if n == base.axis else self.dimension(family, n))
            for n in range(len(family.axes))
        ]
        return self.build.window(whole, [affine(c) for c in labels]).name

    def program(self, outputs: Sequence[Output]) -> Program:
        """What was built, as far as the outputs need it, under its readable names."""
        live = {o.value for o in outputs}
        kept = pruned(self.build.instructions, live)
        own = tuple(replace(o, value=self.names.get(o.value, o.value)) for o in outputs)
        return Program(
            tuple(renamed(i, self.names) for i in kept), own, dict(self.build.sizes), self.meaning, self.notes
        )


# ---------------------------------------------------------------- looking at expressions


def only_gradients(e: Expr, cost: str) -> None:
    """Refuse derivatives other than gradients of the cost: taken for one of those, they would give a wrong number.

    Raises:
        ModelError: Which was left without a formula.
    """
    for _, p in walk(e):
        if isinstance(p, Partial) and isinstance(p.bottom, Ref) and (p.direct or p.top.family != cost):
            below = f"{p.bottom.family}[{', '.join(map(str, p.bottom.indices))}]"
            above = f"{p.top.family}[{', '.join(map(str, p.top.indices))}]"
            raise ModelError(f"the derivative of {above} by {below} was left without a formula, so it has no code")


def is_pick(e: Expr) -> bool:
    """Whether it is [x = place of an index], as a choice by integer data is written."""
    match e:
        case Where(Compare("==", left, right), then, other):
            return isinstance(left, Position) != isinstance(right, Position) and then == ONE and other == ZERO
    return False


def has_index_equation(e: Expr) -> bool:
    """Whether a factor of some term says that two indices are equal, so that a sum over one collapses."""
    match e:
        case Delta():
            return True
        case Guarded(body, guard):
            return any(c.equal for c in guard) or has_index_equation(body)
        case Add() | Mul():
            return any(map(has_index_equation, e.parts))
        case Div(top, _):
            return has_index_equation(top)
    return is_pick(e)


def has_index_equation_inside(s: Sum) -> bool:
    """Whether a sum is over what an equation between indices, or a shifted index, may single out."""
    if any(c.equal for c in s.guard) or has_index_equation(s.body):
        return True
    return isinstance(s.body, Sum) and has_index_equation_inside(s.body)


def worth_hoisting(e: Expr) -> bool:
    """Whether it pays to compute an expression for all turns of a loop at once: where it contains a sum."""
    return isinstance(e, Sum | Max | Prod) or any(map(worth_hoisting, e.parts))


# ---------------------------------------------------------------- entry points


def lower_model(
    system: System,
    adjoints: Sequence[AdjointLike],
    numbers: Mapping[str, int],
    wrt: Sequence[str],
    *,
    values: Sequence[str] = (),
    given: Sequence[str] = (),
    absent: Iterable[str] = (),
) -> Program:
    """The gradient of the cost by the families `wrt`, and the values of others, as a Program.

    Args:
        adjoints: The backward pass of the system.
        numbers: Of every name that an index speaks of.
        values: Families whose own values are wanted too.
        given: Derived families whose values the caller has.
        absent: Data that is 0 throughout.

    Raises:
        ModelError: A function without a definition, or an equation in a form that cannot be lowered.
    """
    low = ArrayLowerer(system, adjoints, numbers, given, absent)
    starts = {b.name: b for b in low.starts.values()}
    outputs = [
        Output((name, ()), low.output((name, False)), "cost" if name == system.cost else "value") for name in values
    ]
    for name in wrt:
        value = low.first_entries(starts[name]) if name in starts else low.output((name, True))
        outputs.append(Output((name, ()), value, "gradient"))
    return low.program(outputs)
