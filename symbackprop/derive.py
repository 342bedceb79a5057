"""From a goal to the steps that reach it.

The chain rule is applied from the goal until every factor is either local (one equation
differentiated) or the gradient by a quantity that keeps its name; local factors are differentiated
rule by rule; what remains is substituted and simplified. Nothing here knows any particular layer,
activation or cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from symbackprop.derivation import Detail, Record, Section, SectionKind, Step
from symbackprop.errors import GoalError
from symbackprop.indices import Affine, Axis, Constraint, Guard, equals, fresh, implies, satisfiable
from symbackprop.network import System
from symbackprop.rules import RULES, Context
from symbackprop.rules.algebra import count
from symbackprop.rules.calculus import DERIVATIVE_RULES
from symbackprop.rules.graph import crosses, held, node_names, reaches, recursion_places, undecided, uses
from symbackprop.symbols import (
    ZERO,
    Add,
    Assign,
    D,
    Delta,
    Expr,
    Guarded,
    Mul,
    Param,
    Partial,
    Ref,
    Sum,
    Summand,
    Vec,
    at,
    names,
    replace_at,
    scope,
    substitute,
    walk,
    walk_scoped,
)

SIMPLIFY = (
    "one term",
    "arithmetic",
    "delta picks one term",
    "equal indices",
    "condition that holds",
    "condition before the product",
    "condition under the sum",
    "square of a root",
    "the entry that is picked",
    "one position is picked",
    "cancel",
    "declared fact",
    "deviations from the mean",
    "minus signs",
    "multiply out",
    "split the sum",
    "pull out of the sum",
    "multiply out and collect",
    "reorder",
)
STEP_LIMIT = 2000
IN_ONE_PRODUCT = 3
"""So many quantities of a layer are passed in one chain; beyond, each gradient gets a name."""

WRITTEN_OUT = 30
"""The most symbols of a result that is written out where it is used; a longer one keeps its name there."""

RENAME = "rename the summed index"


@dataclass
class Line:
    """A chain of equalities in the making, begun at `start` (something already known to equal the subject)."""

    subject: Expr
    context: Context
    start: Expr | None = None
    steps: list[Step] = field(default_factory=list)
    contexts: dict[Guard, tuple[Context, Context]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.context = replace(self.context, taken=names(self.subject))

    @property
    def current(self) -> Expr:
        return self.steps[-1].after if self.steps else self.start or self.subject

    def apply(self, name: str, path: tuple[int, ...] = (), level: Detail = Detail.FULL) -> bool:
        """Apply a rule to the part at `path`; False where it does not apply."""
        before = self.current
        new = RULES[name].apply(at(before, path), self.inside(scope(before, path)))
        if new is None:
            return False
        self.enter(name, path, new, level)
        return True

    def enter(self, name: str, path: tuple[int, ...], new: Expr, level: Detail) -> None:
        """One step more; letters that would be mistaken for others are renamed at once."""
        before = self.current
        if len(self.steps) >= STEP_LIMIT:
            raise GoalError(f"the derivation takes more than {STEP_LIMIT} steps; ask for a smaller goal")
        self.steps.append(Step(name, before, replace_at(before, path, new), path, level))
        while name != RENAME and self.apply(RENAME):
            pass

    def inside(self, guard: Guard) -> Context:
        """What may be assumed under sums and brackets that say `guard`."""
        if not guard:
            return self.context
        known = self.contexts.get(guard)
        if known is None or known[0] is not self.context:
            known = self.contexts[guard] = (self.context, self.context.assuming(guard))
        return known[1]

    def apply_first(self, rules: Iterable[str], level: Detail = Detail.FULL) -> bool:
        """Apply the first rule that fits, outermost part first."""
        parts = [(path, part, self.inside(guard)) for path, part, guard in walk_scoped(self.current)]
        for name in rules:
            rule = RULES[name]
            for path, part, context in parts[:1] if rule.everywhere else parts:
                new = rule.apply(part, context)
                if new is not None:
                    self.enter(name, path, new, level)
                    return True
        return False

    def simplify(self, rules: Iterable[str] = SIMPLIFY) -> None:
        rules = tuple(rules)
        while self.apply_first(rules):
            pass

    def substitute(self, path: tuple[int, ...]) -> bool:
        """Substitute an earlier result for the part at `path`, and remember for whom."""
        part, place = at(self.current, path), len(self.steps)
        if not self.apply("substitute", path):
            return False
        self.steps[place] = replace(self.steps[place], uses=(part,))
        return True

    def show_last(self, level: Detail = Detail.LECTURE) -> None:
        """The last step gets a line of its own from `level` on."""
        if self.steps:
            self.steps[-1] = replace(self.steps[-1], level=min(level, self.steps[-1].level))

    def section(self, kind: SectionKind, case: Guard = (), level: Detail = Detail.LECTURE) -> Section:
        return Section(
            kind,
            self.subject,
            tuple(self.steps),
            self.context.assume,
            case,
            dict(self.context.known),
            level,
            given=self.context.given,
        )


def in_terms_of_given(line: Line) -> None:
    """Bring out the quantities that the reader has the values of.

    Where a sum contains a gradient that is itself a sum, the two are taken together in the other order; that is kept
    where the inner one is then a given quantity: sum_j dC/dP_ij P_ij = sum_v dC/dO_iv O_iv in attention.
    """
    if not line.context.given:
        return
    while any(_brought_out(line, path) for path, p in walk(line.current) if isinstance(p, Sum)):
        line.simplify(("arithmetic",))


def _brought_out(line: Line, path: tuple[int, ...]) -> bool:
    kept = list(line.steps)
    for inside, p in walk(at(line.current, path)):
        if not isinstance(p, Partial) or not line.substitute((*path, *inside)):
            continue
        line.simplify(("arithmetic",))
        if line.apply("take into the sum", (*path, 0)) and line.apply("swap the sums", path):
            line.apply("pull out of the sum", (*path, 0))
            if line.apply_first(("recognise a quantity",)):
                return True
        line.steps = list(kept)
    return False


def frontier(system: System) -> frozenset[str]:
    """The families whose gradient keeps a name: those that an equation uses across layers.

    Where nothing is layered, or a layer has more quantities than a reader follows in one product, every derived one:
    the number of paths through a layer grows much faster than the number of its quantities.
    """
    derived = frozenset(n for n, f in system.families.items() if f.kind == "derived")
    if len(derived) > IN_ONE_PRODUCT:
        return derived
    carried = {
        u.family
        for e in system.equations
        for _, u in walk(e.rhs)
        if isinstance(u, Ref) and system.family(u.family).kind == "derived" and crosses(system, u, e.lhs)
        if any(a.kind == "recursion" for a in system.families[e.lhs.family].axes)
    }
    return frozenset(carried or derived)


def local(subject: Partial, context: Context) -> Line:
    """Differentiate the one equation behind `subject`, rule by rule."""
    line = Line(subject, context)
    if not line.apply("definition", (), Detail.LECTURE):
        return line
    line.steps[0] = replace(line.steps[0], note=renamed(subject, context, line.current))
    if numbered(subject.bottom, context.system):
        line.simplify(("one term",))
    if len(line.steps) > 1:
        line.show_last()
    for path, part in walk(line.current):
        if isinstance(part, D) and line.apply("the sum written out", path, Detail.LECTURE):
            break
    differentiate(line)
    if any(isinstance(p, D) for _, p in walk(line.current)):
        raise GoalError(f"no rule differentiates the equation of {subject.top.family} by {names_of(subject)}")
    line.simplify(
        (
            "arithmetic",
            "delta picks one term",
            "equal indices",
            "condition that holds",
            "condition before the product",
            "condition under the sum",
            "look up the activation",
            "split the sum",
        )
    )
    line.simplify(("slope of the activation", "arithmetic", "look up the activation"))
    line.simplify(
        (
            "recognise a quantity",
            "square of a root",
            "the entry that is picked",
            "deviations from the mean",
            "arithmetic",
        )
    )
    if any(isinstance(p, Delta) for _, p in walk(line.current)):
        line.simplify(("cancel", "common factor", "arithmetic"))
    else:
        line.simplify(("multiply out and collect", "reorder", "arithmetic"))
        line.simplify(("common factor", "cancel", "arithmetic"))
    line.show_last()
    return line


def names_of(subject: Partial) -> str:
    return subject.bottom.family if isinstance(subject.bottom, Ref) else "an array"


def numbered(u: Expr, system: System) -> bool:
    """Whether no letter stands for the only node of a layer: then a sum over that node is its one term."""
    if not isinstance(u, Ref):
        return False
    return not any(i.name and system.size(a) == 1 for a, i in zip(system.axes(u), u.indices, strict=True))


def differentiate(line: Line) -> None:
    """Apply the rules for d/du until none waits."""
    while True:
        waiting = [path for path, p in walk(line.current) if isinstance(p, D)]
        if not waiting:
            break
        if not any(line.apply(name, path) for path in waiting for name in DERIVATIVE_RULES):
            break
    line.simplify(("derivative of an elementary function", "arithmetic"))


def renamed(subject: Partial, context: Context, shown: Expr) -> str:
    """A note for the reader where the definition's summed index had to give way to one of the goal's.

    Args:
        shown: The definition with the letters that the reader sees.
    """
    new = [p.index for _, p in walk(shown) if isinstance(p, Sum)]
    stated = (e for e in context.system.equations if e.lhs.family == subject.top.family)
    sums = ([p.index for _, p in walk(e.rhs) if isinstance(p, Sum)] for e in stated)
    old = next((s for s in sums if len(s) == len(new)), new)
    changed = dict.fromkeys(f"{{{a}}} renamed {{{b}}}" for a, b in zip(old, new, strict=True) if a != b)
    return "summed index " + ", ".join(changed) if changed else ""


def open_condition(context: Context, u: Ref, top: Ref, named: frozenset[str]) -> Guard | None:
    """The first condition on which the chain from `u` to the next named quantities depends, if any."""
    seen: set[str] = set()
    stack = [(u, context)]
    while stack:
        v, here = stack.pop()
        seen.add(v.family)
        condition = undecided(here, v, top)
        if condition is not None:
            return condition
        for use in uses(here.system, v, here.assume, top):
            w = use.equation.lhs
            if w.family not in named and w.family != top.family and w.family not in seen:
                stack.append((w, here.assuming(use.equation.guard)))
    return None


def decided(cell: Guard, context: Context) -> Guard:
    """The cell without what follows from the rest of it."""
    out = list(cell)
    for c in cell:
        rest = [d for d in out if d != c]
        if implies((*context.constraints, *rest), c):
            out = rest
    return tuple(out)


def cases_of(context: Context, u: Ref, top: Ref, named: frozenset[str] | None = None) -> list[Guard]:
    """The cells of the range of `u` in each of which it is decided which equations use it; [()] for one."""
    done: list[Guard] = []
    open_: list[Guard] = [()]
    while open_:
        cell = open_.pop(0)
        inner = context.assuming(cell)
        condition = undecided(inner, u, top) if named is None else open_condition(inner, u, top, named)
        if condition is None:
            done.append(decided(cell, context))
            continue
        c = next(k for k in condition if not implies((*context.constraints, *cell), k))
        for choice in (c, *c.negations()):
            new = (*cell, choice)
            if satisfiable((*context.constraints, *new)):
                open_.append(new)
    return sorted(done, key=lambda cell: not any(c.equal for c in cell))


def solved(cell: Guard, u: Ref, system: System, within: Guard = ()) -> dict[str, Affine]:
    """The recursion indices of u that the cell, within its range, leaves no choice: l = L, or the one layer of its kind."""
    mine = {
        i.name for a, i in zip(system.family(u.family).axes, u.indices, strict=True) if a.kind == "recursion" and i.name
    } - system.constants
    everything = (*system.standing, *within, *cell)
    out: dict[str, Affine] = {}
    for c in cell:
        for n, k in c.expr.terms:
            if n in mine and abs(k) == 1 and n not in out:
                value = (c.expr - Affine(((n, k),))) * -k
                if not value.names & mine and implies(everything, Constraint(Affine(((n, 1),)) - value, equal=True)):
                    out[n] = value
    return out


class Deriver:
    """One derivation in the making: its sections in reading order and the results found so far."""

    def __init__(self, system: System, named: frozenset[str], keep_names: bool) -> None:
        self.system = system
        self.named = named
        self.keep_names = keep_names
        self.sections: list[Section] = []
        self.results: list[tuple[Expr, Expr, Guard]] = []
        """Each result found: the subject, its value, and the range in which that holds."""
        self.split: tuple[Partial, list[Guard]] | None = None
        self.open: list[Partial] = []
        self.by_layer: set[Partial] = set()
        self.along_nodes: set[str] = set()
        self.induction: tuple[int, int] | None = None

    # ------------------------------------------------------------ one gradient

    def chain(self, subject: Partial, context: Context) -> Line:
        """The chain rule, applied until every factor is local or has a name."""
        line = Line(subject, context)
        if not line.apply("chain rule", (), Detail.LECTURE):
            return line
        while True:
            for path, p in walk(line.current):
                if (
                    isinstance(p, Partial)
                    and not p.direct
                    and isinstance(p.bottom, Ref)
                    and p.bottom.family not in self.named
                    and not self.at_once(p, context.assuming(scope(line.current, path)))
                    and line.apply("chain rule", path)
                ):
                    break
            else:
                break
            line.simplify(("arithmetic",))
        if len(line.steps) > 1:
            # The reader without names for the inner gradients sees the whole chain at once.
            line.steps = [replace(s, level=Detail.FULL) for s in line.steps[:-1]] + line.steps[-1:]
            line.show_last(Detail.BRIEF)
        line.show_last(Detail.BRIEF)
        return line

    def gradient(self, subject: Partial, context: Context, kind: SectionKind, case: Guard = ()) -> Expr:
        """Sections for one gradient in one case; returns its result."""
        self.open.append(subject)
        try:
            return self._gradient(subject, context, kind, case)
        finally:
            self.open.pop()

    def _gradient(self, subject: Partial, context: Context, kind: SectionKind, case: Guard) -> Expr:
        line = self.chain(subject, context)
        if not line.steps and line.apply("nothing leads there", (), Detail.LECTURE):
            self.sections.append(line.section(kind, case))
            self.remember(subject, line.current, context)
            return line.current
        if not line.steps:
            return subject
        if line.current == Partial(subject.top, subject.bottom, direct=True):
            return self.direct(subject, context, kind, case)
        chained = line.current
        level = Detail.BRIEF if kind == "goal" else Detail.LECTURE
        self.sections.append(replace(line.section(kind), case=case, level=level))
        place = len(self.sections) - 1
        locals_: dict[Expr, Expr] = {}
        ahead: dict[Expr, Expr] = {}
        for q, here in factors_of(chained, context):
            if q.direct:
                locals_ |= self.factor(q, here)
            elif self.at_once(q, here):
                result = self.upstream(q, here)
                if result is not None:
                    ahead[q] = result
        recursive = False
        for p, here in factors_of(chained, context):
            if not p.direct and p not in ahead and isinstance(p.bottom, Ref):
                if any(self.is_recursion(s, p) for s in self.open):
                    recursive = True
                    continue
                result = self.upstream(p, here)
                if result is not None:
                    ahead[p] = result
        inline = {p: r for p, r in ahead.items() if self.inlines(p, r, chained)}
        final = self.assemble(subject, chained, context, {**locals_, **inline}, case, kind)
        if recursive:
            self.sections[place] = replace(self.sections[place], recursion=True)
        return final

    def direct(self, subject: Partial, context: Context, kind: SectionKind, case: Guard) -> Expr:
        """A gradient that the cost's own equation gives at once."""
        line = local(replace(subject, direct=False), context)
        if line.steps:
            level = Detail.BRIEF if kind == "goal" else Detail.LECTURE
            line.show_last(level)
            self.sections.append(replace(line.section(kind), case=case, level=level))
            self.remember(subject, line.current, context)
        return line.current

    def remember(self, subject: Expr, result: Expr, context: Context) -> None:
        """Keep a result with the range in which it holds.

        What makes the quantity itself exist is no condition on its nodes: wherever it is written, it exists.
        """
        guard = context.assume
        if isinstance(subject, Partial) and isinstance(subject.bottom, Ref):
            nodes = node_names(subject.bottom, self.system)
            own = [c for c in self.system.range_of(subject.bottom) if c.expr.names & nodes]
            guard = tuple(c for c in guard if c not in own)
        self.results.append((subject, result, guard))

    def known(self, context: Context) -> dict[Expr, Expr]:
        """The results that hold in the whole range at hand: one for l < L says nothing about l = L."""
        constraints = context.constraints
        holds: dict[Constraint, bool] = {}
        for _, _, guard in self.results:
            for c in guard:
                if c not in holds:
                    holds[c] = not c.expr.names or implies(constraints, c)
        return {subject: result for subject, result, guard in self.results if all(holds[c] for c in guard)}

    def factor(self, p: Partial, context: Context) -> dict[Expr, Expr]:
        """The section of one local factor, unless it is known already or cannot be resolved."""
        found = RULES["substitute"].apply(p, context.knowing(self.known(context)))
        if found is not None:
            return {p: found}
        line = local(p, context)
        if not line.steps:
            return {}
        self.sections.append(line.section("factor"))
        self.remember(p, line.current, context)
        return {p: line.current}

    def at_once(self, p: Partial, context: Context) -> bool:
        """Whether the cost's own equation gives this gradient, so that it is as easy as a local factor."""
        assert isinstance(p.bottom, Ref)
        if undecided(context, p.bottom, p.top) is not None:
            return False
        found = uses(self.system, p.bottom, context.assume, p.top)
        return len(found) == 1 and found[0].equation.lhs == p.top

    def is_recursion(self, subject: Partial, p: Partial) -> bool:
        """Whether `p` is the subject again at a shifted symbolic layer: its own recursion takes care of it."""
        u, v = subject.bottom, p.bottom
        assert isinstance(u, Ref) and isinstance(v, Ref)
        if u.family != v.family or subject.top != p.top:
            return False
        axes = self.system.family(u.family).axes
        shifts = [
            (i, j) for a, i, j in zip(axes, u.indices, v.indices, strict=True) if a.kind == "recursion" and i != j
        ]
        free = [i for i, _ in shifts if i.names - self.system.constants]
        return bool(shifts) and len(free) == len(shifts)

    def upstream(self, p: Partial, context: Context) -> Expr | None:
        """Sections for the gradient by a named quantity; None where it has cases or stays as it is."""
        assert isinstance(p.bottom, Ref)
        found = RULES["substitute"].apply(p, context.knowing(self.known(context)))
        if found is not None:
            return found
        general = self.general(p, context)
        assert isinstance(general.bottom, Ref)
        if general in self.open:
            # A recursion along nodes: the line is an equation for it, which written into itself would have no end.
            self.along_nodes |= {
                s.bottom.family for s in self.open[self.open.index(general) :] if isinstance(s.bottom, Ref)
            }
            return None
        if general.bottom != p.bottom:
            # What is known of letters that both have stays known: those of the quantity above.
            both = (names(general) & names(p)) - names(general.bottom) | self.system.constants
            kept = tuple(c for c in context.assume if c.expr.names <= both)
            range_ = dict.fromkeys((*self.system.range_of(general.bottom), *kept))
            context = Context(self.system, tuple(range_), given=context.given)
            if general in self.by_layer:
                return None
            self.by_layer.add(general)
        cells = cases_of(context, general.bottom, general.top, self.named)
        if len(cells) > 1 and any(i.value is not None for i in general.bottom.indices):
            # The recursion reaches every node of the layer above, so it is derived for every node.
            general = Partial(general.top, all_nodes(general.bottom, general.top, self.system))
            assert isinstance(general.bottom, Ref)
            cells = cases_of(context, general.bottom, general.top, self.named)
        if len(cells) == 1:
            result = self.gradient(general, context, "upstream")
            if result == general:
                return None
            self.remember(general, result, context)
            return RULES["substitute"].apply(p, context.knowing(self.known(context)))
        self.by_cases(general, context, cells)
        self.split = self.split or (general, cells)
        return None

    def general(self, p: Partial, context: Context) -> Partial:
        """The gradient for a general node, where `p` is for a summed one: its letters become the family's own."""
        assert isinstance(p.bottom, Ref)
        family = self.system.family(p.bottom.family)
        free = set(names(p))
        mapping: dict[str, Affine] = {}
        for i, letter, axis in zip(p.bottom.indices, family.indices, family.axes, strict=True):
            n = i.name
            if axis.kind == "recursion" or n is None or n == letter or letter in free or n in mapping:
                continue
            mapping[n] = Affine(((letter, 1),))
        out = substitute(p, mapping)
        assert isinstance(out, Partial) and isinstance(out.bottom, Ref)
        shifted = any(
            axis.kind == "recursion" and i.name is None and i.names - self.system.constants
            for axis, i in zip(family.axes, out.bottom.indices, strict=True)
        )
        if shifted or any(self.endless(out, n, axis) for n, axis in enumerate(family.axes)):
            out = replace(out, bottom=all_nodes(family.pattern, out.top, self.system, out.bottom))
        return out

    def endless(self, p: Partial, place: int, axis: Axis) -> bool:
        """Whether the chain would go on layer by layer without end: 1, 2, 3, ... below a last layer that is only a
        letter, or L, L-1, L-2, ... down from it. The recursion over a general layer takes its place."""
        assert isinstance(p.bottom, Ref)
        i = p.bottom.indices[place]
        if axis.kind != "recursion" or axis.last is None or axis.last.value is not None:
            return False
        if i.value is not None:
            return True
        before = [
            s.bottom.indices[place]
            for s in self.open
            if isinstance(s.bottom, Ref) and s.bottom.family == p.bottom.family
        ]
        return i.names <= self.system.constants and any(((q - i).value or 0) > 0 for q in before)

    def by_cases(
        self, subject: Partial, context: Context, cells: list[Guard], kind: SectionKind = "upstream"
    ) -> dict[Guard, tuple[Partial, Expr]]:
        """One group of sections for each cell; the induction over layers where one cell refers to the next layer."""
        assert isinstance(subject.bottom, Ref)
        out: dict[Guard, tuple[Partial, Expr]] = {}
        base = step = None
        for cell in cells:
            mapping = solved(cell, subject.bottom, self.system, context.assume)
            here = substitute(subject, mapping)
            assert isinstance(here, Partial)
            inner = replace(
                context, assume=tuple(c.substitute(mapping) for c in (*context.assume, *cell) if _says(c, mapping))
            )
            cell = case_of(cell, mapping, context)
            earlier = self.known(inner).get(here)
            if earlier is not None and kind == "upstream":
                out[cell] = (here, earlier)
                continue
            start = len(self.sections)
            result = self.gradient(here, inner, kind, cell)
            if len(self.sections) > start:
                if self.sections[start].recursion:
                    step = start
                elif base is None and not refers_on(result, here):
                    base = start
            out[cell] = (here, result)
            self.remember(here, result, inner)
        if base is not None and step is not None:
            self.induction = (base, step)
        return out

    def result_cases(self, subject: Partial, result: Expr, context: Context) -> tuple[tuple[Guard, Expr], ...]:
        """The result with its upstream gradient written out, for each case that this gradient has."""
        if self.keep_names or self.split is None:
            return ()
        if not {n for cell in self.split[1] for c in cell for n in c.expr.names} - self.system.constants <= names(
            subject
        ):
            return ()  # the goal does not speak of the layer on which the cases are split
        out: list[tuple[Guard, Expr]] = []
        assert isinstance(subject.bottom, Ref)
        for cell in self.split[1]:
            mapping = solved(cell, subject.bottom, self.system, context.assume)
            here, start = substitute(subject, mapping), substitute(result, mapping)
            inner = replace(
                context, assume=tuple(c.substitute(mapping) for c in (*context.assume, *cell) if _says(c, mapping))
            )
            case = case_of(cell, mapping, context)
            values = {k: v for k, v in self.known(inner).items() if sum_depth(v) <= 1}
            line = Line(here, inner.knowing(values), start)
            for path, p in walk(start):
                if isinstance(p, Partial) and line.substitute(path):
                    break
            if line.steps:
                line.simplify(("arithmetic",))
                if any(isinstance(p, Delta) for _, p in walk(line.current)) or _has_quotient(line.current):
                    line.simplify()
                line.show_last(Detail.LECTURE)
                self.sections.append(line.section("result", case=case, level=Detail.LECTURE))
                out.append((case, line.current))
        return tuple(out)

    def inlines(self, p: Expr, result: Expr, chained: Expr) -> bool:
        """Whether a result is written out where it is used: not past one level of sums, and no quantity with a name."""
        if self.keep_names and isinstance(p, Partial) and isinstance(p.bottom, Ref) and p.bottom.family in self.named:
            return False
        if isinstance(p, Partial) and isinstance(p.bottom, Ref) and p.bottom.family in self.along_nodes:
            return False
        outer = 1 if any(isinstance(q, Sum) for _, q in walk(chained)) else 0
        if isinstance(chained, Add) and sum_depth(result):
            return False  # beside other paths, a sum of its own keeps its name
        return outer + sum_depth(result) <= 1 and count(result) <= WRITTEN_OUT

    def assemble(
        self,
        subject: Expr,
        chained: Expr,
        context: Context,
        values: Mapping[Expr, Expr],
        case: Guard,
        kind: SectionKind,
    ) -> Expr:
        """Substitute what was found and simplify."""
        line = Line(subject, context.knowing(values), chained)
        while True:
            for path, p in walk(line.current):
                if isinstance(p, Partial) and line.substitute(path):
                    break
            else:
                break
        if not line.steps:
            return chained
        plain = line.current
        line.simplify(("arithmetic",))
        line.show_last()
        if any(isinstance(p, Delta | Guarded) for _, p in walk(plain)) or _has_quotient(plain):
            line.simplify()
            line.simplify(("common factor", "arithmetic"))
            line.show_last()
        line.context = line.context.knowing(self.known(context))
        in_terms_of_given(line)
        line.show_last(Detail.BRIEF if kind == "goal" else Detail.LECTURE)
        section = line.section("result" if kind == "goal" else kind, case=case)
        level = Detail.BRIEF if kind == "goal" else Detail.LECTURE
        self.sections.append(replace(section, subject=subject, level=level, steps=tuple(line.steps)))
        self.remember(subject, line.current, context)
        return line.current


def refers_on(result: Expr, subject: Partial) -> bool:
    """Whether a result speaks of the same gradient in another layer: then it is no base of an induction."""
    return any(
        isinstance(p, Partial)
        and isinstance(p.bottom, Ref)
        and isinstance(subject.bottom, Ref)
        and p.bottom.family == subject.bottom.family
        for _, p in walk(result)
    )


def all_nodes(u: Ref, top: Ref, system: System, layer: Ref | None = None) -> Ref:
    """The quantity with its family's letters for its nodes, and for its layers too where `layer` is given.

    A letter of the quantity above is another index: in its place stands that of `layer`, or a new one.
    """
    family = system.family(u.family)
    taken = set(names(top))
    out: list[Affine] = []
    for place, (i, letter, axis) in enumerate(zip(u.indices, family.indices, family.axes, strict=True)):
        if axis.kind == "recursion" and layer is None:
            out.append(i)
            continue
        if letter in taken and layer is not None and axis.kind == "recursion":
            letter = next(iter(sorted(layer.indices[place].names - system.constants)), letter)
        if letter in taken:
            letter = fresh("p", taken | system.constants | set(family.indices))
        taken.add(letter)
        out.append(Affine(((letter, 1),)))
    return Ref(u.family, tuple(out))


def case_of(cell: Guard, mapping: Mapping[str, Affine], context: Context) -> Guard:
    """A cell for a heading: the layers that it fixes, and what it says of the others."""
    if not mapping:
        return cell
    rest = [c.substitute(mapping) for c in cell if _says(c, mapping)]
    known = (*context.system.standing, *(c.substitute(mapping) for c in context.assume))
    return (*(equals(n, a) for n, a in mapping.items()), *(c for c in rest if not implies(known, c)))


def _says(c: Constraint, mapping: Mapping[str, Affine]) -> bool:
    """Whether a constraint still says something after the substitution."""
    d = c.substitute(mapping)
    return bool(d.expr.terms) or not (d.expr.const == 0 or (not d.equal and d.expr.const > 0))


def _has_quotient(e: Expr) -> bool:
    from symbackprop.symbols import Div, Num

    return any(isinstance(p, Div) and not isinstance(p.bottom, Num) for _, p in walk(e))


def sum_depth(e: Expr) -> int:
    """How deeply sums are nested."""
    inner = max((sum_depth(p) for p in e.parts), default=0)
    return inner + 1 if isinstance(e, Sum) else inner


def factors_of(e: Expr, context: Context) -> list[tuple[Partial, Context]]:
    """The derivatives in a chain in the order in which a reader meets them, each once, with what is assumed there."""
    out: dict[Partial, list[Guard]] = {}
    for path, p in walk(e):
        if isinstance(p, Partial):
            out.setdefault(p, []).append(scope(e, path))
    return [(p, _about(p, context, scopes)) for p, scopes in out.items()]


def _about(p: Partial, context: Context, scopes: list[Guard]) -> Context:
    """What is known of the letters of a factor wherever it stands: a sum in its derivation may use any other letter."""
    mine = names(p) | context.system.constants
    common = (c for c in scopes[0] if all(c in s for s in scopes[1:]))
    known = dict.fromkeys(c for c in (*context.assume, *common) if c.expr.names <= mine)
    return replace(context, assume=tuple(known))


def factor_record(system: System, goal: Partial, context: Context, named: frozenset[str]) -> Record | None:
    """The derivation of one factor of a chain: the derivative of a quantity by one in its own equation.

    None where the quantity also depends on the other by a longer way, or only so.
    """
    bottom = goal.bottom
    if not isinstance(bottom, Ref):
        raise GoalError("the derivative of one quantity by an array is not derived; name one entry")
    inner = Context(system, (*system.range_of(goal.top), *context.assume))
    direct = [u for u in uses(system, bottom, inner.assume, goal.top) if not u.condition]
    equation = system.defining(goal.top, inner.assume)
    places = frozenset(recursion_places(system, goal.top))
    own = any(
        u.equation.lhs.family == goal.top.family and places == frozenset(recursion_places(system, u.equation.lhs))
        for u in direct
    )
    if equation is None or not own or bottom.family == goal.top.family or held(system, goal.top, bottom):
        return None
    line = local(goal, inner)
    if not line.steps:
        line = local(replace(goal, direct=True), inner)
    if not line.steps or any(isinstance(p, D) for _, p in walk(line.current)):
        return None
    line.show_last(Detail.BRIEF)
    return Record(system, line.subject, (line.section("result", level=Detail.BRIEF),), line.current, named)


def derive(
    system: System,
    goal: Partial,
    *,
    named: frozenset[str] = frozenset(),
    assume: Guard = (),
    given: frozenset[str] = frozenset(),
) -> Record:
    """Derive one gradient.

    Args:
        goal: d(top)/d(bottom), its indices free, or numbers.
        named: Families whose gradient keeps a name of its own throughout (delta for z).
        given: Families that the reader has the values of; the result is brought into their terms.

    Raises:
        GoalError: The cost does not depend on the quantity.
    """
    bottom = goal.bottom.body if isinstance(goal.bottom, Vec) else goal.bottom
    assert isinstance(bottom, Ref)
    if not reaches(system, bottom.family, goal.top.family):
        raise GoalError(f"{goal.top.family} does not depend on {bottom.family}, so there is nothing to derive")
    context = Context(system, (*system.range_of(bottom), *assume), given=given)
    if goal.top.family != system.cost and not (system.mean and goal.top.family == system.mean[0]):
        found = factor_record(system, goal, context, named)
        if found is not None:
            return found
        if isinstance(goal.bottom, Vec):
            raise GoalError("the derivative of one quantity by an array is not derived; name one entry")
        context = Context(system, (*system.range_of(goal.top), *context.assume))
    deriver = Deriver(system, named or frontier(system), bool(named))
    scalar = Partial(goal.top, bottom)
    lead: list[Section] = []
    if system.mean and goal.top.family == system.mean[0]:
        mean = mean_section(system, scalar, context)
        lead.append(mean)
        scalar = Partial(Ref(system.cost, ()), bottom)
    composed = composition_section(system, bottom, context)
    if composed is not None:
        lead.append(composed)
    cells = cases_of(context, bottom, scalar.top, deriver.named)
    cases: tuple[tuple[Guard, Expr], ...] = ()
    if len(cells) > 1:
        done = deriver.by_cases(scalar, context, cells, "goal")
        # A generic cost says nothing of its own gradient: there the case is its name, and no case at all.
        cases = tuple((cell, r) for cell, (here, r) in done.items() if r != here)
        result: Expr = scalar
    else:
        result = deriver.gradient(scalar, context, "goal")
        cases = deriver.result_cases(scalar, result, context)
    sections = lead + deriver.sections
    induction = deriver.induction
    if lead and induction:
        induction = (induction[0] + len(lead), induction[1] + len(lead))
    if lead and goal.top.family != system.cost:
        # The sections after the first are about one sample's cost; their cases are not those of the mean.
        result, cases = lead[0].result, ()
    if isinstance(goal.bottom, Vec):
        extra = array_section(goal, result, context)
        sections.append(extra)
        result = extra.result
    return Record(system, goal, tuple(sections), result, named, cases, induction)


def composition_section(system: System, bottom: Ref, context: Context) -> Section | None:
    """How the cost depends on a parameter of the last layer: C_0j(a_j(z_j(w_j)))."""
    layers = [
        i for a, i in zip(system.family(bottom.family).axes, bottom.indices, strict=True) if a.kind == "recursion"
    ]
    if system.family(bottom.family).kind != "parameter" or layers != [system.layers]:
        return None
    line = composition_line(context)
    return line.section("definition") if line is not None else None


def composition_line(context: Context) -> Line | None:
    """The cost as a composition C_0j(a_j(z_j(w_j))), read off the equations; None where it is no sum."""
    system = context.system
    line = Line(Ref(system.cost, ()), context)
    if not line.apply("name the summand", (), Detail.LECTURE):
        return None
    if isinstance(line.current, Sum) and system.size(line.current.axis) == 1:
        return None
    for path, p in walk(line.current):
        if isinstance(p, Summand) and line.apply("read off the equations", path, Detail.LECTURE):
            return line
    return None


def with_update(record: Record) -> Record:
    """The derivation, closed by the step of gradient descent that uses it."""
    goal = record.goal
    assert isinstance(goal, Partial)
    context = Context(record.system, record.sections[-1].assume)
    if isinstance(goal.bottom, Vec):
        raise GoalError("a step of gradient descent is written for one parameter; name it with all its indices")
    assert isinstance(goal.bottom, Ref)
    if record.system.family(goal.bottom.family).kind != "parameter":
        raise GoalError(
            f"{goal.bottom.family} is no parameter: gradient descent changes {', '.join(record.system.parameters)}"
        )
    section = update_section(record.system, goal.bottom, goal, record.result, context)
    return replace(record, sections=(*record.sections, section), result=section.result)


def derive_all(system: System, named: frozenset[str] = frozenset()) -> Record:
    """One derivation of the gradients by every parameter, with what they share derived once."""
    cost = Ref(system.cost, ())
    deriver = Deriver(system, named or frontier(system), bool(named))
    result: Expr = cost
    for name in sorted(deriver.named) + [p for p in system.parameters if reaches(system, p, system.cost)]:
        pattern = system.families[name].pattern
        context = Context(system, system.range_of(pattern))
        subject = Partial(cost, pattern)
        if any(subject == s for s, _, _ in deriver.results):
            continue
        cells = cases_of(context, pattern, cost, deriver.named)
        if len(cells) > 1:
            deriver.by_cases(subject, context, cells)
        else:
            result = deriver.gradient(subject, context, "goal")
    return Record(system, cost, tuple(deriver.sections), result, named, (), deriver.induction)


def backward_equations(record: Record) -> list[tuple[Expr, Expr, Guard]]:
    """The equations of the pass in the order of computing: the last gradient of each subject and case."""
    out: dict[tuple[Expr, Guard], tuple[Expr, Expr, Guard]] = {}
    for s in record.sections:
        if s.kind in ("goal", "upstream", "result") and isinstance(s.subject, Partial) and s.steps:
            case = tuple(c for c in s.case if not c.equal)
            out.pop((s.subject, case), None)
            out[(s.subject, case)] = (s.subject, s.result, case)
    return list(out.values())


def one_step_results(system: System) -> Callable[[Partial], Expr | None]:
    """A function that gives any gradient of the cost in terms of the gradients one equation downstream."""
    named = frozenset(f.name for f in system.families.values() if f.kind == "derived")

    def resolve(p: Partial) -> Expr | None:
        if not isinstance(p.bottom, Ref) or p.top.family != system.cost:
            return None
        value = one_step(p, Context(system, system.range_of(p.bottom)), named)
        return value if value != p else None

    return resolve


def mean_section(system: System, goal: Partial, context: Context) -> Section:
    """dC/du as the mean of the samples' dC_i/du."""
    line = Line(goal, context)
    line.apply("differentiate the definition", (), Detail.LECTURE)
    differentiate(line)
    line.simplify(("arithmetic",))
    line.show_last(Detail.BRIEF)
    return line.section("goal", level=Detail.BRIEF)


def array_section(goal: Partial, entry: Expr, context: Context) -> Section:
    """The gradient by an array from the gradient by its entries."""
    assert isinstance(goal.bottom, Vec)
    assert isinstance(goal.bottom.body, Ref)
    known: dict[Expr, Expr] = {Partial(goal.top, goal.bottom.body): entry}
    line = Line(goal, context.knowing(known))
    line.apply("collect the components", (), Detail.LECTURE)
    line.apply("substitute", (0,))
    line.steps[-1] = replace(line.steps[-1], uses=(Partial(goal.top, goal.bottom.body),))
    line.simplify(("scalar factor of an array", "arithmetic"))
    line.show_last(Detail.BRIEF)
    return line.section("result", level=Detail.BRIEF)


def update_section(system: System, parameter: Ref, gradient: Partial, result: Expr, context: Context) -> Section:
    """One step of gradient descent on one parameter."""
    line = Line(Assign(parameter, parameter - Mul((Param("eta"), gradient))), context.knowing({gradient: result}))
    for path, p in walk(line.current):
        if p == gradient:
            line.apply("substitute", path, Detail.BRIEF)
            line.steps[-1] = replace(line.steps[-1], uses=(gradient,))
            break
    return line.section("update", level=Detail.BRIEF)


# ---------------------------------------------------------------- the whole backward pass


@dataclass(frozen=True)
class Adjoint:
    """One equation of the backward pass: dC/dv for every v of a family in the range `guard`.

    Args:
        subject: dC/dv, v with its family's own letters, or with the layer that the case fixes (L).
        value: Its value in terms of quantities of the forward pass and of other adjoints.
        guard: Where it holds: the range of v, and the case.
    """

    subject: Partial
    value: Expr
    guard: Guard


def adjoints(system: System, given: frozenset[str] = frozenset()) -> tuple[Adjoint, ...]:
    """The backward pass as a list of equations, one for each family and each case of its layer.

    Every quantity of the forward pass keeps its gradient under a name, so that a shared factor is computed
    once. A gradient that the cost gives directly and that one equation alone uses is written into it.

    Args:
        given: Families that the caller has the values of: sums that are one of them are not computed anew.
    """
    cost = Ref(system.cost, ())
    wanted = [f for f in system.families.values() if f.kind != "cost"]
    outside = set(system.upstream.values())
    wanted = [f for f in wanted if f.over is None and f.name not in outside and reaches(system, f.name, system.cost)]
    named = frozenset(f.name for f in wanted if f.kind == "derived")
    found: list[Adjoint] = []
    for f in wanted:
        context = Context(system, system.range_of(f.pattern))
        for cell in cases_of(context, f.pattern, cost):
            mapping = solved(cell, f.pattern, system, f.guard)
            subject = substitute(Partial(cost, f.pattern), mapping)
            assert isinstance(subject, Partial)
            guard = tuple(c.substitute(mapping) for c in (*context.assume, *cell) if _says(c, mapping))
            value = one_step(subject, replace(context, assume=guard), named)
            if value == subject:
                continue  # a generic cost: nothing is known of its gradient but the name
            found.append(Adjoint(subject, value, (*f.guard, *cell)))
    return tuple(written_in([using(a, found, system, given) for a in found] if given else found, system))


def using(a: Adjoint, found: list[Adjoint], system: System, given: frozenset[str]) -> Adjoint:
    """The same equation in terms of what the caller has the values of."""
    known: dict[Expr, Expr] = {b.subject: b.value for b in found if b is not a}
    assert isinstance(a.subject.bottom, Ref)
    # That a name stands for a sum holds where its quantity exists, so the range of the nodes is needed too.
    assume = tuple(dict.fromkeys((*system.range_of(a.subject.bottom), *a.guard)))
    line = Line(a.subject, Context(system, assume, known, given=given), a.value)
    in_terms_of_given(line)
    return replace(a, value=line.current)


def one_step(subject: Partial, context: Context, named: frozenset[str]) -> Expr:
    """dC/dv in terms of the gradients one equation downstream."""
    deriver = Deriver(context.system, named, True)
    line = deriver.chain(subject, context)
    if not line.steps:
        line.apply("nothing leads there")
        return line.current
    chained = line.current
    if chained == replace(subject, direct=True):
        return deriver.direct(subject, context, "upstream", ())
    parts = chained.terms if isinstance(chained, Add) else (chained,)
    if len(parts) == 1 or not differ(parts):
        return local_factors(deriver, subject, chained, context)
    apart = [local_factors(Deriver(context.system, named, True), subject, part, context) for part in parts]
    kept = tuple(t for t in apart if t != ZERO)
    return (kept[0] if len(kept) == 1 else Add(kept)) if kept else ZERO


def local_factors(deriver: Deriver, subject: Partial, chained: Expr, context: Context) -> Expr:
    """A chain with its local factors worked out."""
    values: dict[Expr, Expr] = {}
    for p, here in factors_of(chained, context):
        if p.direct:
            values |= deriver.factor(p, here)
    return deriver.assemble(subject, chained, context, values, (), "upstream")


def differ(parts: Sequence[Expr]) -> bool:
    """Whether a local factor stands in several terms under different conditions.

    Then it may be another equation's in each, t < T in one sum and t = T in the next, and no one value fits all.
    """
    seen: dict[Partial, set[Guard]] = {}
    for part in parts:
        for path, p in walk(part):
            if isinstance(p, Partial) and p.direct:
                seen.setdefault(p, set()).add(scope(part, path))
    return any(len(scopes) > 1 for scopes in seen.values())


def written_in(found: list[Adjoint], system: System) -> list[Adjoint]:
    """Gradients that the cost gives directly, written into the one equation that uses them, and simplified."""
    for base in [a for a in found if not any(isinstance(p, Partial) for _, p in walk(a.value))]:
        bottom = base.subject.bottom
        assert isinstance(bottom, Ref)
        users = [a for a in found if any(may_be(p, bottom, (*base.guard, *a.guard), system) for _, p in walk(a.value))]
        same_layer = [a for a in users if isinstance(a.subject.bottom, Ref) and not crosses_layers(system, a)]
        if len(users) != 1 or not same_layer:
            continue
        user = users[0]
        cells = [
            (*user.guard, *extra)
            for extra in split_on(base, user, system)
            if satisfiable((*system.standing, *user.guard, *extra))
        ]
        position = found.index(user)
        new: list[Adjoint] = []
        for cell in cells:
            assert isinstance(user.subject.bottom, Ref)
            mapping = solved(cell, user.subject.bottom, system)
            subject, value = substitute(user.subject, mapping), substitute(user.value, mapping)
            assert isinstance(subject, Partial)
            assume = tuple(c.substitute(mapping) for c in cell if _says(c, mapping))
            context = Context(system, assume, {base.subject: base.value})
            line = Line(subject, context, value)
            while any(isinstance(p, Partial) and line.apply("substitute", path) for path, p in walk(line.current)):
                pass
            if line.steps:
                line.simplify()
            new.append(Adjoint(subject, line.current, cell))
        found = [*found[:position], *new, *found[position + 1 :]]
    return found


def may_be(p: Expr, u: Ref, assume: Guard, system: System) -> bool:
    """Whether `p` may be the gradient by `u` for some node: same family, and a layer that can be the same."""
    if not isinstance(p, Partial) or p.direct or not isinstance(p.bottom, Ref) or p.bottom.family != u.family:
        return False
    axes = system.family(u.family).axes
    same = [
        Constraint(i - j, equal=True)
        for a, i, j in zip(axes, p.bottom.indices, u.indices, strict=True)
        if a.kind == "recursion"
    ]
    return satisfiable((*system.standing, *assume, *same))


def crosses_layers(system: System, a: Adjoint) -> bool:
    u = a.subject.bottom
    assert isinstance(u, Ref)
    return any(
        isinstance(p, Partial) and isinstance(p.bottom, Ref) and crosses(system, u, p.bottom) for _, p in walk(a.value)
    )


def split_on(base: Adjoint, user: Adjoint, system: System) -> list[Guard]:
    """Cells of the user's range: where the base case holds, and where it does not."""
    assert isinstance(base.subject.bottom, Ref) and isinstance(user.subject.bottom, Ref)
    axes = system.family(base.subject.bottom.family).axes
    layer = [i for a, i in zip(axes, base.subject.bottom.indices, strict=True) if a.kind == "recursion"]
    axes = system.family(user.subject.bottom.family).axes
    mine = [i for a, i in zip(axes, user.subject.bottom.indices, strict=True) if a.kind == "recursion"]
    if layer == mine:
        return [()]
    conditions = [Constraint(i - j, equal=True) for i, j in zip(layer, mine, strict=True)]
    return [tuple(conditions), *((n,) for c in conditions for n in c.negations())]
