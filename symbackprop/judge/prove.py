"""Proofs of claims: both sides brought to one normal form, derivatives reduced along the graph of equations.

Nothing here is shared with the rules that derive. A derivative by a quantity is the sum, over the equations that use
it and over their indices, of the derivative by what they define times the slope of the equation; deltas and brackets do
the rest. Derivatives by quantities furthest from the cost go first, so that both sides end at one frontier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from symbackprop.indices import Affine, Constraint, Guard, affine, at_least, implies, satisfiable
from symbackprop.judge.atoms import Atom, Poly, add, atoms, moved_ref, scaled, single
from symbackprop.judge.calculus import Calculus
from symbackprop.judge.ring import MAX_STEPS, Beyond, Purse
from symbackprop.judge.scope import Equality, sizes_of
from symbackprop.network import AsWritten, System
from symbackprop.rules.graph import not_later, reaches
from symbackprop.symbols import Call, D, Expr, Partial, Ref, families, names, substitute, walk

ROUNDS = 40
"""How often derivatives are reduced, or definitions put in, in one proof."""

NUMBERED = "numbered"
"""In the place of the letters of a layer that has a number."""

STEPS_ALONE = 1500
"""Steps of an attempt with one definition."""

MAX_CASES = 5


Spot: TypeAlias = tuple[str, str, int]
"""A family, the letters of its layer or time, and the number added to them."""


Height: TypeAlias = tuple[int, int]
"""The number added to a layer or time, and the rank of a family within it."""


@dataclass(frozen=True)
class Induction:
    """Over a letter, from where it begins, by steps of -1 (from the last layer down) or 1."""

    letter: str
    base: Affine
    step: int


@dataclass(frozen=True)
class Proof:
    """How two sides were found equal.

    Args:
        facts: What was declared and used.
        cases: The cells of the range that were looked at one by one.
        generic: Whether points on a boundary between two cases were left out.
        induction: Where it goes by induction: over what, from where, and in which direction.
        lemmas: Whether earlier lines were used.
        one_by_one: Whether every layer of a network with stated depth was proved by itself.
    """

    facts: tuple[str, ...] = ()
    cases: tuple[Guard, ...] = ()
    generic: bool = False
    induction: Induction | None = None
    lemmas: bool = False
    one_by_one: bool = False


@dataclass(frozen=True)
class Lemma:
    """What a derivative is, and where: a line that was proved, or one that is assumed."""

    left: Partial
    right: Expr
    guard: Guard = ()


@dataclass(frozen=True)
class Way:
    """How an attempt goes about it: see `ring.Ring`."""

    generic: bool = False
    written: bool = False
    unroll: bool = False


PLAIN = Way()


def prove(system: System, e: Equality, *, equal: bool = False, lemmas: Sequence[Lemma] = ()) -> Proof | None:
    """A proof that both sides are equal over the whole claimed range; None where none was found.

    Args:
        lemmas: Lines that are proved already.

    Raises:
        Beyond: The claim is outside what a normal form reaches, or too large; nothing is said of its truth.
    """
    purse = Purse()
    reason: Beyond | None = None
    for attempt in attempts(system, e, equal, purse, lemmas):
        try:
            proof = attempt()
        except (Beyond, RecursionError) as x:
            reason = reason or (x if isinstance(x, Beyond) else Beyond("nested too deeply to prove"))
            continue
        if proof is not None:
            return proof
    if reason is not None:
        raise reason
    return None


def attempts(
    system: System, e: Equality, equal: bool, purse: Purse, lemmas: Sequence[Lemma]
) -> Iterator[Callable[[], Proof | None]]:
    """The ways to a proof, the commonest first."""
    yield lambda: _prove(system, e, equal, PLAIN, purse)
    yield lambda: forward(system, e, equal, purse)
    yield lambda: by_induction(system, e, equal, purse)
    if lemmas:
        yield lambda: Proof(lemmas=True) if follows(system, e, lemmas, equal=equal, purse=purse) else None
    yield lambda: _prove(system, e, equal, Way(written=True), purse)
    if small(system) or any(c.equal and not c.expr.names - sizes_of(system) for c in e.guard):
        yield lambda: _prove(system, e, equal, Way(unroll=True), purse)


def forward(system: System, e: Equality, equal: bool, purse: Purse) -> Proof | None:
    """With the equation of what the left side differentiates, whose quantities count with their own derivatives."""
    if not isinstance(e.left, Partial) or not isinstance(e.left.bottom, Ref) or e.left.direct:
        return None
    task = Task(system, e, (), equal, purse=purse)
    return Proof() if task.run_forward(e.left.top, e.left.bottom) else None


def small(system: System) -> bool:
    """Whether the model states sizes as numbers, so that a line may write a sum out."""
    return any(w not in (None, 1) for w in system.widths) or bool(system.sizes)


def _prove(
    system: System,
    e: Equality,
    equal: bool,
    way: Way,
    purse: Purse,
) -> Proof | None:
    if not satisfiable((*system.standing, *e.guard)):
        return None
    open_: list[Guard] = [()]
    done: list[Guard] = []
    facts: set[str] = set()
    while open_:
        cell = open_.pop()
        task = Task(system, e, cell, equal, way, purse)
        result = task.run()
        facts |= task.algebra.facts_used
        if result is True:
            done.append(cell)
            continue
        if not isinstance(result, Constraint) or len(done) + len(open_) >= MAX_CASES:
            return None if way.generic else _retry(system, e, equal, task, way, purse)
        for c in (result, *result.negations()):
            if satisfiable((*system.standing, *e.guard, *cell, c)):
                open_.append((*cell, c))
    return Proof(tuple(sorted(facts)), tuple(done) if len(done) > 1 else (), way.generic)


def _retry(system: System, e: Equality, equal: bool, task: Task, way: Way, purse: Purse) -> Proof | None:
    """Once more without the points that lie on a kink, where the first attempt met any."""
    if not any(a.kind == "test" for a in atoms(task.rest)) or not differentiates(e):
        return None
    return _prove(system, e, equal, replace(way, generic=True), purse)


def by_induction(system: System, e: Equality, equal: bool, purse: Purse) -> Proof | None:
    """A proof by induction over a free layer or time of what the left side differentiates by, or of what it differentiates."""
    left = e.left
    if not isinstance(left, Partial) or not isinstance(left.bottom, Ref) or left.direct:
        return None
    for quantity, step in ((left.bottom, -1), (left.top, 1)):
        letter = next((n for n in recursion_letters(system, quantity) if n not in e.axes), None)
        if letter is None or letter in names(left.top if step < 0 else left.bottom):
            continue
        for base in limits(e.guard, letter, step):
            found = Induction(letter, base, step)
            try:
                if proved_by(system, e, found, equal, purse):
                    return Proof(induction=found)
            except (Beyond, RecursionError):
                continue
    return None


def proved_by(system: System, e: Equality, i: Induction, equal: bool, purse: Purse) -> bool:
    """Whether the base holds, and each step given the one before."""
    at = {i.letter: i.base}
    first = replace(
        e, left=substitute(e.left, at), right=substitute(e.right, at), guard=tuple(c.substitute(at) for c in e.guard)
    )
    if Task(system, first, (), equal, purse=purse).aligning(i).run() is not True:
        return False
    before = {i.letter: affine(i.letter) - i.step}
    inside = at_least(i.base, affine(i.letter) + 1) if i.step < 0 else at_least(i.letter, i.base + 1)
    left, right = substitute(e.left, before), substitute(e.right, before)
    assert isinstance(left, Partial)
    task = Task(system, e, (inside,), equal, purse=purse).aligning(i)
    task.lemmas = tuple(Lemma(p, right) for p in (left, *task.same_as(left)))
    task.frontier = (
        task.height(e.left.bottom)[0] if isinstance(e.left, Partial) and isinstance(e.left.bottom, Ref) else ""
    )
    return task.run() is True


def recursion_letters(system: System, r: Ref) -> list[str]:
    return [n for i in recursion(system, r) for n in sorted(i.names) if n not in system.constants]


def limits(guard: Guard, letter: str, step: int) -> list[Affine]:
    """The ends of a letter's range, in the direction against the step."""
    out: list[Affine] = []
    for c in guard:
        k = dict(c.expr.terms).get(letter, 0)
        if not c.equal and k == step:
            out.append((c.expr - Affine(((letter, k),))) * -k)
    strongest = [b for b in out if all(((b - o).value or 0) * step >= 0 for o in out if (b - o).value is not None)]
    return list(dict.fromkeys(strongest))


def differentiates(e: Equality) -> bool:
    """Whether a derivative stands in a line: only there is a kink a matter of convention."""
    parts = [p for side in (e.left, e.right) for _, p in walk(side)]
    return any(isinstance(p, Partial | D) or (isinstance(p, Call) and p.order > 0) for p in parts)


def follows(
    system: System,
    e: Equality,
    lemmas: Sequence[Lemma],
    *,
    equal: bool = False,
    loose: bool = False,
    purse: Purse | None = None,
) -> bool:
    """Whether a line holds once derivatives are what other lines say of them.

    Args:
        loose: For lines that are wrong: a derivative of one entry counts as that of all. It proves nothing.
    """
    try:
        for lifted in (False, True):
            task = Task(system, e, (), equal, purse=purse)
            task.lemmas, task.loose = tuple(lemmas), loose
            if lifted and isinstance(e.left, Partial) and isinstance(e.left.bottom, Ref):
                task.frontier = task.height(e.left.bottom)[0]
            if task.run() is True:
                return True
        return False
    except (Beyond, RecursionError):
        return False


class Task:
    """One attempt to bring the difference of both sides to 0, in one cell of the range."""

    def __init__(
        self,
        system: System,
        e: Equality,
        cell: Guard,
        equal: bool,
        way: Way = PLAIN,
        purse: Purse | None = None,
    ) -> None:
        self.system, self.claim = system, e
        self.algebra = Calculus(
            system,
            (*e.guard, *cell),
            equal=equal,
            generic=way.generic,
            written=way.written,
            unroll=way.unroll,
            purse=purse,
        )
        free = {n: axes for n, axes in e.axes.items() if n not in system.constants}
        for name, axes in free.items():
            self.algebra.axes[name] = tuple(map(self.algebra.axis, axes))
            self.algebra.ranges[name] = tuple(c for a in axes for c in a.holds(affine(name)))
        self.ranks = ranks(AsWritten(system))
        self.rest: Poly = {}
        self.lemmas: tuple[Lemma, ...] = ()
        self.loose = False
        """Whether a line about one entry is taken for the whole derivative, as one who carries a slip on does."""
        self.goal: object = None
        self.along: Induction | None = None
        self.frontier = ""

    def aligning(self, i: Induction) -> Task:
        """With sums and products that begin at a letter brought to one beginning before they are compared."""
        self.along = i
        return self

    def zero(self, p: Poly) -> bool:
        a = self.algebra
        if a.is_zero(p):
            return True
        if self.along is None:
            return False
        return a.is_zero(a.aligned(p, self.along.letter, -self.along.step))

    def same_as(self, left: Partial) -> list[Partial]:
        """The derivatives that a derivative is equal to, one after another along the chain rule: dC/dz for dC/db."""
        out: list[Partial] = []
        p = self.algebra.of(left)
        for _ in range(4):
            ((m, c),) = p.items() if len(p) == 1 else ((frozenset(), Fraction(0)),)
            x = next(iter(m))[0] if len(m) == 1 and c == 1 else None
            if x is None or x.kind != "partial":
                break
            top, bottom, direct = x.data
            out.append(Partial(top, bottom, direct))
            p = self.reduced(x)
        return out[1:]

    def run(self) -> bool | Constraint | None:
        """True: equal. A constraint: it depends on it. None: not found equal."""
        a = self.algebra
        p = add(a.of(self.claim.left), scaled(a.of(self.claim.right), -1))
        ceiling = self.ceiling(p)
        left = self.claim.left
        self.goal = (left.top, left.bottom) if isinstance(left, Partial) else None
        if self.frontier:
            ceiling[self.frontier] = (ceiling.get(self.frontier, (0, 0))[0] + 2, -1)
        for _ in range(ROUNDS):
            self.rest = p
            if self.zero(p):
                return True
            found = self.deepest(p, ceiling)
            if not found:
                break
            p = a.rewritten(p, lambda x, s=found: self.reduced(x) if self.mark(x) in s else None)  # type: ignore[misc]
        self.rest = p
        split = self.open_condition(p)
        if split is not None:
            return split
        return self.with_definitions(p) or self.with_ends(p)

    def run_forward(self, top: Ref, u: Ref) -> bool:
        """The first step from above: the definition of `top` differentiated as a whole."""
        a = self.algebra
        equation = self.system.defining(top, self.known(top))
        if equation is None or self.may_be_one(top, u):
            return False
        above = a.derivative(a.of(equation.rhs), u, total=True)
        p = self.rest = add(above, scaled(a.of(self.claim.right), -1))
        if a.is_zero(p):
            return True
        # What is left of derivatives by the quantity itself, such as dh/dh, is 0 or 1.
        p = a.rewritten(p, lambda x: self.at_itself(x))
        return a.is_zero(p) or bool(self.with_definitions(p))

    def may_be_one(self, top: Ref, u: Ref) -> bool:
        """Whether two quantities can be the same one, somewhere in the cell: then dh/dh = 1 must not be lost."""
        if top.family != u.family:
            return False
        equal = tuple(Constraint(i - j, True) for i, j in zip(top.indices, u.indices, strict=True))
        return satisfiable((*self.known(top), *self.known(u), *equal))

    def at_itself(self, x: Atom) -> Poly | None:
        """A derivative of data or parameters, which nothing leads to but themselves."""
        if x.kind != "partial" or self.system.family(x.data[0].family).kind in ("derived", "cost"):
            return None
        return self.chain(x.data[0], x.data[1])

    def with_ends(self, p: Poly) -> bool | None:
        """First or last terms of sums taken out, where they begin or end at a free layer or time."""
        a = self.algebra
        for letter in sorted(self.claim.free(self.system) - self.claim.axes.keys()):
            for sign in (1, -1):
                if a.is_zero(a.aligned(p, letter, sign)):
                    return True
        return None

    def with_definitions(self, p: Poly) -> bool | None:
        """Definitions put in: of one family alone, then of one after another from the cost down."""
        a = self.algebra
        for spot in sorted(self.spots(p), reverse=True):
            spent = a.steps
            try:
                a.limit = spent + STEPS_ALONE
                if self.zero(a.rewritten(p, lambda x, s=spot: self.defined(x, s))):  # type: ignore[misc]
                    return True
            except Beyond:
                pass
            finally:
                a.steps, a.limit = spent, MAX_STEPS
        tried: set[Spot] = set()
        for _ in range(ROUNDS):
            spots = self.spots(p) - tried
            if not spots:
                return None
            spot = max(spots, key=lambda s: (s[2], self.ranks[s[0]], s))
            tried.add(spot)
            new = a.rewritten(p, lambda x, s=spot: self.defined(x, s))  # type: ignore[misc]
            if new != p and self.zero(new):
                return True
            p = self.rest = new
        return None

    # ------------------------------------------------------------ derivatives

    def reduced(self, x: Atom) -> Poly:
        """A derivative, one equation nearer to what is differentiated."""
        top, u, direct = x.data
        if not direct and (top, u) != self.goal and (found := self.said(top, u)) is not None:
            return self.algebra.of(found[1])
        upward = self.along is not None and self.along.step > 0 and not direct
        if upward and (top, u) == self.goal and not self.may_be_one(top, u):
            equation = self.system.defining(top, self.known(top))
            if equation is not None:
                return self.algebra.derivative(self.algebra.of(equation.rhs), u, total=True)
        return self.local(top, u) if direct else self.chain(top, u)

    def said(self, top: Ref, u: Ref) -> tuple[Ref, Expr] | None:
        """What a lemma says of a derivative of the family of `top` by u: of which quantity, and what."""
        for lemma in self.lemmas:
            bottom = lemma.left.bottom
            if (
                lemma.left.direct
                or lemma.left.top.family != top.family
                or not isinstance(bottom, Ref)
                or bottom.family != u.family
            ):
                continue
            mapping: dict[str, Affine] = {}
            for i, j in zip(bottom.indices, u.indices, strict=True):
                if i.name is None or i.name in self.system.constants:
                    if i != j:
                        break
                elif mapping.setdefault(i.name, j) != j:
                    break
            else:
                known = (*self.known(u), *(c for r in (top,) for c in self.known(r)))
                if not all(implies(known, c.substitute(mapping)) for c in lemma.guard):
                    continue
                if not top.indices or moved_ref(lemma.left.top, mapping) == top:
                    return moved_ref(lemma.left.top, mapping), substitute(lemma.right, mapping)
        return None

    def local(self, top: Ref, u: Ref) -> Poly:
        """The derivative of the one equation that defines `top`, everything else held."""
        equation = self.system.defining(top, self.known(top))
        if equation is None:
            raise Beyond(f"which equation defines {top.family} here is open")
        return self.algebra.derivative(self.algebra.of(equation.rhs), u, total=False)

    def known(self, r: Ref) -> Guard:
        """What holds of the indices of a quantity where it stands."""
        a = self.algebra
        return (*a.assume, *(c for n in sorted(names(r)) for c in (*a.ranges.get(n, ()), *a.inside.get(n, ()))))

    def chain(self, top: Ref, u: Ref) -> Poly:
        a, system = self.algebra, self.system
        if system.mean is not None and top.family == system.mean[0]:
            equation = system.defining(top, a.assume)
            if equation is None:
                raise Beyond(f"no equation defines {top.family}")
            return a.derivative(a.of(equation.rhs), u, total=True)
        out: Poly = {}
        if top.family == u.family:
            out = a.guarded(Constraint(i - j, True) for i, j in zip(top.indices, u.indices, strict=True))
        for e in system.equations:
            v = e.lhs.family
            if u.family not in families(e.rhs) or not (v == top.family or reaches(system, v, top.family)):
                continue
            if self.loose and v != top.family and (found := self.said(Ref(v, ()), u)) is not None:
                above = single(Atom("partial", (top, found[0], False)))
                out = add(out, a.times(above, a.of(found[1])))
                continue
            formals = [i.name for i in e.lhs.indices if i.name is not None and i.name not in system.constants]
            mapping: dict[str, Affine] = {}
            axes = {}
            for axis, i in zip(system.family(v).axes, e.lhs.indices, strict=True):
                if i.name in formals and i.name not in mapping:
                    assert i.name is not None
                    axis = axis.substitute(mapping)
                    mapping[i.name] = affine(a.new(axis))
                    axes[i.name] = axis
            lhs = moved_ref(e.lhs, mapping)
            guard = (*(c.substitute(mapping) for c in e.guard), *system.guard_of(lhs), *not_later(system, lhs, top))
            slope = a.derivative(a.of(substitute(e.rhs, mapping)), u, total=False)
            if not slope:
                continue
            above = a.guarded(()) if lhs == top else single(Atom("partial", (top, lhs, False)))
            term = a.times(above, slope, a.guarded(guard))
            for name in reversed(formals):
                bound = mapping[name].name
                assert bound is not None
                term = a.sum_over(bound, axes[name], (), term)
            out = add(out, term)
        return out

    def deepest(self, p: Poly, ceiling: dict[str, Height]) -> set[tuple[object, ...]]:
        """The derivatives by the quantities furthest from the cost, by their marks."""
        found = {x for x in atoms(p) if x.kind == "partial"}
        direct = {self.mark(x) for x in found if x.data[2]}
        if direct:
            return direct
        # Of what is not held back at the frontier of a symbolic layer, the lowest place and rank of each base.
        groups: dict[str, list[tuple[tuple[int, int], Atom]]] = {}
        for x in found:
            base, place = self.height(x.data[1])
            beyond = base in ceiling and (place, self.ranks[x.data[1].family]) >= ceiling[base]
            endless = reaches(self.system, x.data[1].family, x.data[1].family)
            if beyond and endless and self.place(x.data[0])[0] != base:
                continue
            groups.setdefault(base, []).append(((place, self.ranks[x.data[1].family]), x))
        out: set[Atom] = set()
        for members in groups.values():
            least = min(k for k, _ in members)
            out |= {x for k, x in members if k == least}
        shared = {x for x in out if self.ranks[x.data[1].family] < 0}
        return {self.mark(x) for x in shared or out}

    def mark(self, x: Atom) -> tuple[object, ...]:
        """What a derivative is by, whatever the names of its summed indices."""
        if x.kind != "partial":
            return ()
        top, bottom, direct = x.data
        return top.family, bottom.family, *self.height(bottom), direct

    def place(self, u: Ref) -> tuple[str, int]:
        """The layer or time of a quantity: its letters, and the number added."""
        for axis, i in zip(self.system.family(u.family).axes, u.indices, strict=True):
            if axis.kind == "recursion":
                base = "+".join(f"{k}{n}" for n, k in i.terms if not n.startswith(("~", "#")))
                if any(n.startswith(("~", "#")) for n, _ in i.terms):
                    base = "bound"
                return base or NUMBERED, i.const
        return "", 0

    def height(self, u: Ref) -> tuple[str, int]:
        """As `place`; under a sum over times, where indices are counted from the earliest, all are at one height."""
        base, place = self.place(u)
        return base, 0 if base == "bound" else place

    def ceiling(self, p: Poly) -> dict[str, Height]:
        """For each free layer the highest place and rank of what the claim differentiates by: the frontier, beyond
        which nothing is reduced. A layer with a name, L, is within sight of the cost."""
        out: dict[str, Height] = {}
        for x in atoms(p):
            if x.kind == "partial":
                base, place = self.height(x.data[1])
                here = (place, self.ranks[x.data[1].family])
                out[base] = max(out.get(base, here), here)
        ends = {f"1{n}" for n in self.system.constants}
        stated = any(c.equal and c.expr.names == self.system.layers.names for c in self.claim.guard)
        if stated or not self.system.layers.names:
            ends.add(NUMBERED)  # with a number of layers, the cost is within sight of each
        return {b: n for b, n in out.items() if b and b not in ends}

    def open_condition(self, p: Poly) -> Constraint | None:
        """A condition on the free layers and times that is neither known to hold nor known to fail."""
        for x in sorted((x for x in atoms(p) if x.kind == "cond"), key=lambda x: x.key):
            c: Constraint = x.data
            letters = c.expr.names - self.system.constants
            if (
                letters
                and not any(n.startswith(("~", "#")) for n in c.expr.names)
                and not letters & self.claim.axes.keys()
            ):
                return c
        return None

    # ------------------------------------------------------------ definitions

    def spots(self, p: Poly) -> set[Spot]:
        """Where quantities stand that have a definition."""
        here = {(x.data.family, *self.place(x.data)) for x in atoms(p) if x.kind == "ref"}
        return {s for s in here if self.system.family(s[0]).kind in ("derived", "cost")}

    def defined(self, x: Atom, spot: Spot) -> Poly | None:
        if x.kind != "ref" or (x.data.family, *self.place(x.data)) != spot:
            return None
        equation = self.system.defining(x.data, self.known(x.data))
        return self.algebra.of(equation.rhs) if equation is not None else None


@lru_cache(maxsize=64)
def ranks(written: AsWritten) -> dict[str, int]:
    """How many equations of its own layer lead to each family; negative for what is shared by all layers."""
    system = written.system
    above: dict[str, set[str]] = {f: set() for f in system.families}
    for e in system.equations:
        here = recursion(system, e.lhs)
        for _, p in walk(e.rhs):
            if (
                isinstance(p, Ref)
                and p.family != e.lhs.family
                and not (here and recursion(system, p) and recursion(system, p) != here)
            ):
                above[e.lhs.family].add(p.family)
    out: dict[str, int] = {}

    def rank(f: str, path: tuple[str, ...]) -> int:
        if f in out:
            return out[f]
        if f in path:
            return 0
        found = 1 + max((rank(g, (*path, f)) for g in sorted(above[f])), default=-1)
        out[f] = found
        return found

    for f in sorted(system.families):
        rank(f, ())
    layered = any(a.kind == "recursion" for f in system.families.values() for a in f.axes)
    for name, family in system.families.items():
        if layered and family.kind in ("parameter", "input") and not any(a.kind == "recursion" for a in family.axes):
            out[name] = -1
    return out


def recursion(system: System, r: Ref) -> tuple[Affine, ...]:
    axes = system.family(r.family).axes
    return tuple(i for a, i in zip(axes, r.indices, strict=True) if a.kind == "recursion")


__all__ = ["Beyond", "Proof", "prove"]
