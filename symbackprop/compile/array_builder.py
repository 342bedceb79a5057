"""A Builder for arrays of any shape: affine views, gathers, loops, and what is known to be zero where.

Labels are names of digits, counters of loops are "i1", "i2", ...; an index on an axis is an affine expression of both.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import combinations

from symbackprop.compile.builder import Builder, Node, Term, Value
from symbackprop.compile.program import (
    LETTERS,
    Constant,
    Fold,
    Gather,
    Instruction,
    Iota,
    Operand,
    Scatter,
    Stack,
    Window,
    Winner,
)
from symbackprop.indices import Affine, Constraint, Guard, affine
from symbackprop.symbols import ONE, ZERO, Compare, Div, Param, Where

ELEMENTWISE = 40
"""What one entry of an elementwise product costs, in multiplications of a matrix product: it is bound by memory."""


class ArrayBuilder(Builder):
    """Values over labelled axes of known sizes, in scopes: what a loop's body computes is not seen outside."""

    def __init__(self) -> None:
        super().__init__()
        self.table: ChainMap[object, str] = ChainMap()  # type: ignore[assignment]
        self.sizes: dict[str, int] = {}
        self.guards: dict[str, tuple[str, Guard]] = {}  # of a mask: its letters, and where it is not zero
        self.zeros: dict[str, Guard] = {}  # of a window: where it may be other than zero, over the letters of its axes
        self.windows: dict[str, tuple[str, tuple[Affine, ...]]] = {}  # what a window looks at, in its own letters
        self.shifted: set[str] = set()  # sums of exponentials of what is at most 0
        self.outer: list[list[Instruction]] = []

    # ---------------------------------------------------------------- sizes and scopes

    def dim(self, n: int) -> str:
        """A dimension that is known by its size alone."""
        self.sizes[str(n)] = n
        return str(n)

    def size(self, label: str) -> int:
        return self.sizes[self.label_dims[label]]

    def volume(self, labels: Sequence[str] | frozenset[str] | set[str]) -> int:
        out = 1
        for c in labels:
            out *= self.size(c)
        return out

    @contextmanager
    def body(self) -> Iterator[list[Instruction]]:
        """A scope for a loop's body."""
        self.outer.append(self.instructions)
        self.instructions, self.table = [], self.table.new_child()
        try:
            yield self.instructions
        finally:
            self.instructions, self.table = self.outer.pop(), self.table.parents

    @contextmanager
    def outside(self) -> Iterator[None]:
        """The scope around the present one, to compute there what does not change in the loop."""
        here, table = self.instructions, self.table
        self.instructions, self.table = self.outer.pop(), table.parents
        try:
            yield
        finally:
            self.outer.append(self.instructions)
            self.instructions, self.table = here, table

    # ---------------------------------------------------------------- instructions

    def _to_letters(self, e: Affine, to: Mapping[str, str]) -> Affine:
        return e.substitute({n: affine(v) for n, v in to.items()})

    def window(self, name: str, index: Sequence[Affine]) -> Value:
        """A value at positions that depend on labels and counters, 0 where they are outside."""
        dims = self.dims[name]
        plain = [e.name if e.name in self.label_dims else None for e in index]
        whole = [c is not None and self.size(c) == self.sizes[d] for c, d in zip(plain, dims, strict=True)]
        if all(whole) and len(set(plain)) == len(plain):
            return Value(name, tuple(c for c in plain if c is not None))
        inner = self.windows.get(name)
        if inner is not None and (joined := self.composed(inner, index, dims)) is not None:
            return self.window(inner[0], joined)
        # In order of the axes, the longer label of an axis first: the same view has the same order wherever it is used.
        terms = [sorted(e.terms, key=lambda t: self.size(t[0]) if t[0] in self.label_dims else 0) for e in index]
        labels = tuple(dict.fromkeys(n for e in terms for n, _ in reversed(e) if n in self.label_dims))
        to = self.letters(labels)
        own = tuple(self._to_letters(e, to) for e in index)
        text = "".join(to.values())
        types = tuple(self.label_dims[c] for c in labels)
        found = self.emit(
            ("window", name, own, types), lambda n: Window(n, name, own, text, types), types, Node("window", ())
        )
        self.windows[found] = name, own
        open_: list[Constraint] = []
        for e, d in zip(own, dims, strict=True):
            low, high = self.reach(e, dict(zip(text, types, strict=True)))
            if low < 0:
                open_.append(Constraint(e))
            if high >= self.sizes[d]:
                open_.append(Constraint(affine(self.sizes[d] - 1) - e))
        self.zeros[found] = tuple(open_)
        return Value(found, labels)

    def composed(
        self, inner: tuple[str, tuple[Affine, ...]], index: Sequence[Affine], dims: Sequence[str]
    ) -> list[Affine] | None:
        """A window on a window as one; None where the inner one would have cut something off."""
        name, own = inner
        for letter, e, d in zip(LETTERS, index, dims, strict=False):
            whole = e.name in self.label_dims and self.size(e.name or "") == self.sizes[d]
            over = [n for n, i in enumerate(own) if letter in i.names]
            plain = [n for n in over if own[n] == affine(letter) and self.sizes[self.dims[name][n]] == self.sizes[d]]
            if not whole and not (len(over) == 1 and plain):
                return None
        to = dict(zip(LETTERS, index, strict=False))
        return [i.substitute(to) for i in own]

    def reach(self, e: Affine, dims: Mapping[str, str]) -> tuple[int, int]:
        """The least and the largest value of an index over the letters of an array; a counter is taken to stay inside."""
        low = high = e.const
        for n, k in e.terms:
            if n in dims:
                last = k * (self.sizes[dims[n]] - 1)
                low, high = low + min(last, 0), high + max(last, 0)
        return low, high

    def fold(self, v: Value, index: Sequence[Affine], labels: tuple[str, ...]) -> Value:
        """Every entry of a value added at its place on the axes `labels`."""
        to = self.letters(self.sort(v.labels))
        operand = Operand(v.name, "".join(to[c] for c in v.labels))
        own = tuple(self._to_letters(e, to) for e in index)
        types = tuple(self.label_dims[c] for c in labels)
        name = self.emit(("fold", operand, own, types), lambda n: Fold(n, operand, own, types), types, Node("fold", ()))
        return Value(name, labels)

    def gather(self, table: Value, positions: Value, label: str) -> Value:
        labels = self.sort(c for c in (*table.labels, *positions.labels) if c != label)
        to = self.letters(labels, (label,))
        a, b = (Operand(v.name, "".join(to[c] for c in v.labels)) for v in (table, positions))
        text = "".join(to[c] for c in labels)
        name = self.emit(
            ("gather", a, b, text),
            lambda n: Gather(n, a, b, to[label], text),
            tuple(self.label_dims[c] for c in labels),
            Node("gather", ()),
        )
        return Value(name, labels)

    def scatter(self, v: Value, positions: Value, label: str, gone: frozenset[str]) -> Value:
        labels = self.sort(c for c in (*v.labels, *positions.labels, label) if c not in gone)
        to = self.letters(labels, self.sort((*v.labels, *positions.labels)))
        a, b = (Operand(x.name, "".join(to[c] for c in x.labels)) for x in (v, positions))
        text, dim = "".join(to[c] for c in labels), self.label_dims[label]
        name = self.emit(
            ("scatter", a, b, text),
            lambda n: Scatter(n, a, b, to[label], text, dim),
            tuple(self.label_dims[c] for c in labels),
            Node("scatter", ()),
        )
        return Value(name, labels)

    def winner(self, v: Value, label: str) -> Value:
        to = self.letters(v.labels)
        operand = Operand(v.name, "".join(to.values()))
        name = self.emit(
            ("winner", operand, to[label]),
            lambda n: Winner(n, operand, to[label]),
            self.dims[v.name],
            Node("winner", ()),
        )
        return Value(name, v.labels)

    def iota(self, label: str) -> Value:
        dim = self.label_dims[label]
        return Value(self.emit(("iota", dim), lambda n: Iota(n, dim), (dim,), Node("iota", ())), (label,))

    def stack(self, pieces: Sequence[tuple[str, tuple[int, ...]]], dims: tuple[str, ...]) -> str:
        """A new array, never shared: a loop may store in it."""
        return self.emit(object(), lambda n: Stack(n, tuple(pieces), dims), dims, Node("stack", ()))

    def mask(self, guard: Guard, value: Fraction, labels: Iterable[str], outside: float = 0.0) -> Value:
        order = self.sort(labels)
        to = self.letters(order)
        own = tuple(c.substitute({k: affine(v) for k, v in to.items()}) for c in guard)
        text, types = "".join(to.values()), tuple(self.label_dims[c] for c in order)
        name = self.emit(
            ("constant", own, value, types, outside),
            lambda n: Constant(n, text, types, value, own, outside),
            types,
            Node("constant", ()),
        )
        if value and not outside:
            self.guards[name] = (text, own)
        return Value(name, order)

    def select(self, guard: Guard, v: Term) -> Term:
        """A value where the constraints on labels hold, 0 elsewhere, whatever it is there."""
        if not guard:
            return v
        mask = self.mask(guard, Fraction(1), [n for c in guard for n in c.expr.names])
        if not isinstance(v, Value):
            return self.mul([v, mask])
        formula = Where(Compare("!=", Param("1"), ZERO), Param("0"), ZERO)
        return self.map("select", formula, [v, mask])

    # ---------------------------------------------------------------- what is known to be zero

    def support(self, v: Value) -> frozenset[Constraint]:
        """Constraints on the labels of a value outside of which it is zero."""
        if v.name in self.zeros or v.name in self.guards:
            letters, guard = self.guards.get(v.name) or (LETTERS, self.zeros[v.name])
            to = {c: affine(n) for c, n in zip(letters, v.labels, strict=False)}
            return frozenset(c.substitute(to) for c in guard)
        n = self.node(v)
        if n is not None and n.head in ("mul", "select"):
            return frozenset().union(*(self.support(a) for a in n.args))
        if n is not None and n.head == "div" and n.args:
            return self.support(n.args[0])
        return frozenset()

    # ---------------------------------------------------------------- products

    def contracted(self, values: Sequence[Value], keep: frozenset[str]) -> Term:
        """The product of values summed over all labels but those to keep, two at a time in the cheapest order found."""
        todo = list(values)
        if not todo:
            return ONE
        while True:
            todo = [self.summed_alone(n, todo, keep) for n in range(len(todo))]
            if len(todo) == 1:
                return todo[0]
            pairs = [(self.pair_cost(todo, a, b, keep), a, b) for a, b in combinations(range(len(todo)), 2)]
            _, a, b = min(pairs)
            joined = self.pair(todo, a, b, keep)
            rest = [v for n, v in enumerate(todo) if n not in (a, b)]
            if not isinstance(joined, Value):
                return self.mul([joined, self.contracted(rest, keep)])
            todo = [joined, *rest]

    def summed_alone(self, n: int, todo: Sequence[Value], keep: frozenset[str]) -> Value:
        """One value summed over what no other value has."""
        others = {c for m, v in enumerate(todo) if m != n for c in v.labels}
        gone = frozenset(todo[n].labels) - others - keep
        return self.reduce("sum", todo[n], gone) if gone else todo[n]

    def remaining(self, todo: Sequence[Value], a: int, b: int, keep: frozenset[str]) -> frozenset[str]:
        others = {c for n, v in enumerate(todo) if n not in (a, b) for c in v.labels}
        return (frozenset(todo[a].labels) | frozenset(todo[b].labels)) & (others | keep)

    def pair_cost(self, todo: Sequence[Value], a: int, b: int, keep: frozenset[str]) -> float:
        every = frozenset(todo[a].labels) | frozenset(todo[b].labels)
        left = self.remaining(todo, a, b, keep)
        if left == every:
            # An elementwise product that makes nothing larger may come first; one that spreads out comes last.
            spread = self.volume(every) > max(self.volume(todo[a].labels), self.volume(todo[b].labels))
            return ELEMENTWISE * self.volume(every) * (20 if spread else 1)
        return self.volume(every) + ELEMENTWISE * self.volume(left)

    def pair(self, todo: Sequence[Value], a: int, b: int, keep: frozenset[str]) -> Term:
        left = self.remaining(todo, a, b, keep)
        every = frozenset(todo[a].labels) | frozenset(todo[b].labels)
        two = [todo[a], todo[b]]
        return self.mul(two) if left == every else self.contract(two, every - left)

    # ---------------------------------------------------------------- forms with a stable equal

    def mul(self, factors: Sequence[Term]) -> Term:
        """As a product, but exp(u) times 1/sum of exp(u) is a softmax."""
        values = [f for f in factors if isinstance(f, Value)]
        for v in values:
            n = self.node(v)
            if n is None or n.head != "div" or len(n.args) != 1 or n.extra != ONE:
                continue
            for other in values:
                if self.call_argument(other, "exp") is not None:
                    stable = self.stable_quotient(other, n.args[0])
                    if stable is not None:
                        rest = list(factors)
                        rest.remove(v)
                        rest.remove(other)
                        return self.mul([stable, *rest]) if rest else stable
        return super().mul(self.small_first(factors))

    def small_first(self, factors: Sequence[Term]) -> list[Term]:
        """The factors with those multiplied already that together are smaller than the product."""
        values = sorted((f for f in factors if isinstance(f, Value)), key=lambda v: self.volume(v.labels))
        numbers: list[Term] = [f for f in factors if not isinstance(f, Value)]
        whole = self.volume({c for v in values for c in v.labels})
        if len(values) > 1 and numbers and 2 * self.volume(values[0].labels) <= whole:
            scaled = super().mul([*numbers, values[0]])
            if isinstance(scaled, Value):
                numbers, values[0] = [], scaled
        while len(values) > 2 and 2 * self.volume({*values[0].labels, *values[1].labels}) <= whole:
            joined = super().mul(values[:2])
            if not isinstance(joined, Value):
                break
            values = sorted([joined, *values[2:]], key=lambda v: self.volume(v.labels))
        return [*numbers, *values]

    def stable_quotient(self, top: Term, bottom: Value) -> Term | None:
        u, n = self.call_argument(top, "exp"), self.node(bottom)
        if u is None or n is None or n.head != "sum" or not isinstance(top, Value):
            return super().stable_quotient(top, bottom)
        found = self.exponents(n, top.labels)
        gone = [i for i, c in enumerate(n.args[0].labels) if c not in str(n.extra)]
        kept = tuple(c for i, c in enumerate(top.labels) if i not in gone)
        if found is not None and found[0] == top and kept == bottom.labels:
            guard = found[1]
            raised, highest, total = self.shifted_sum(u, guard, frozenset(top.labels[i] for i in gone))
        else:
            summed = self.summed_exponent(n, bottom)
            if summed is None or not set(bottom.labels) <= set(u.labels):
                return None
            v, guard_of_sum, over = summed
            guard = ()
            _, highest, total = self.shifted_sum(v, guard_of_sum, over)
            shifted = self.call("exp", [self.add([u, self.neg(highest)])])
            assert isinstance(shifted, Value)
            raised = shifted
        out = self.map("div", Div(Param("0"), Param("1")), [raised, total])
        self._remember(out, u, highest, total)
        self.zeros[out.name] = self.over_letters(guard, out)
        return out

    def summed_exponent(self, n: Node, v: Value) -> tuple[Value, Guard, frozenset[str]] | None:
        """For a value that is a sum of exponentials: what is raised, where it counts, and the labels it is summed over."""
        letters = tuple(n.args[0].labels)
        back = dict(zip(str(n.extra), v.labels, strict=True))
        dims = dict(zip(letters, self.dims[n.args[0].name], strict=True))
        own = tuple(back[c] if c in back else self.label(dims[c]) for c in letters)
        found = self.exponents(n, own)
        u = None if found is None else self.call_argument(found[0], "exp")
        if found is None or u is None or found[0].labels != own:
            return None
        return u, found[1], frozenset(own) - frozenset(v.labels)

    def shifted_sum(self, u: Value, guard: Guard, over: frozenset[str]) -> tuple[Value, Value, Value]:
        """exp(u - max u), that maximum, and the sum: no exponential is above 1, and one is 1."""
        masked = self.masked(u, guard)
        highest = self.reduce("max", masked, over)
        raised = self.call("exp", [self.add([masked, self.neg(highest)])])
        assert isinstance(raised, Value)
        total = self.reduce("sum", raised, over)
        self.shifted.add(total.name)
        return raised, highest, total

    def exponents(self, n: Node, labels: tuple[str, ...]) -> tuple[Value, Guard] | None:
        """For a sum, the exp that is summed, seen with these labels, and where it counts."""
        summed = Value(n.args[0].name, labels)
        if len(n.args[0].labels) != len(labels):
            return None
        inner = self.node(summed)
        if inner is not None and inner.head == "select":
            letters, guard = self.guards[inner.args[1].name]
            to = {c: affine(v) for c, v in zip(letters, inner.args[1].labels, strict=True)}
            return inner.args[0], tuple(c.substitute(to) for c in guard)
        return summed, ()

    def masked(self, u: Value, guard: Guard) -> Value:
        """u, and minus infinity where it does not count."""
        if not guard:
            return u
        floor = self.mask(guard, Fraction(0), [n for c in guard for n in c.expr.names], float("-inf"))
        out = self.add([u, floor])
        assert isinstance(out, Value)
        return out

    def over_letters(self, guard: Guard, v: Value) -> Guard:
        to = {c: affine(n) for c, n in zip(v.labels, LETTERS, strict=False)}
        return tuple(c.substitute(to) for c in guard)

    def stable_log(self, v: Term) -> Term | None:
        """As in the base, and the logarithm of a sum of exponentials."""
        n = self.node(v)
        if n is not None and n.head == "sum" and isinstance(v, Value) and v.name not in self.shifted:
            found = self.summed_exponent(n, v)
            if found is not None:
                _, highest, total = self.shifted_sum(*found)
                return self.add([highest, self.call("log", [total])])
        return super().stable_log(v)
