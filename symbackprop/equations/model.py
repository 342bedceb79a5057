"""From equations in Python to a network and a notation, by the stages that model files go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy

from symbackprop.equations.formula import Formula, index_expression
from symbackprop.equations.given import (
    Given,
    Named,
    indices_of,
    label_of,
    letters_of,
    limits_of,
    name_of,
    names_of,
    page,
)
from symbackprop.equations.order import Order
from symbackprop.errors import ModelError, ReadError
from symbackprop.indices import Affine, Guard
from symbackprop.network import SizeRule
from symbackprop.read.axes import Axes, Drafted, position
from symbackprop.read.declare import Declarations, Range
from symbackprop.read.draft import Drafter
from symbackprop.read.model import Model, Statement
from symbackprop.read.scan import Letters
from symbackprop.read.scopes import Env, Scope, Scopes
from symbackprop.read.syntax import Place
from symbackprop.symbols import Expr, Ref


def read_equations(
    equations: Iterable[Any],
    *,
    ranges: Mapping[Named, tuple[Any, Any]] | None = None,
    sizes: Mapping[Named, Any] | None = None,
    data: Any = (),
    target: Any = (),
    parameters: Any = (),
    places: Mapping[Named, Named] | None = None,
    shapes: Mapping[Named, Sequence[Named]] | None = None,
    integers: Any = (),
    zero: Any = (),
    width: Named = None,
    facts: Iterable[Any] = (),
    cost: Named = None,
    meanings: Mapping[Named, str] | None = None,
    title: str = "",
    source: str = "",
) -> Model:
    """The network and the notation of a model that is stated with SymPy objects.

    Without declarations, x is data, y the target, what has no equation a parameter, and the number that nothing else
    uses the cost.

    Args:
        equations: An `Eq` for each quantity, its left side the quantity; with a condition on its indices, the pair
            `(Eq(...), j <= i)`.
        ranges: First and last number of indices that no sum bounds, and of layers and times: `{l: (1, L)}`.
        sizes: Numbers, or sizes by others: `{d: 64, I: (M - r) / s + 1}`.
        data, target, parameters: A family or several, where they are not what is inferred.
        places: Data whose values are places on the axis of an index: `{y: k}` for class labels.
        shapes: The letters of a family's indices, where no equation uses them alone: `{x: (b, c, u)}`.
        integers: Strides and paddings: letters in index expressions that are no index and may be 0.
        zero: Data that are 0 outside their range.
        width: The letter that stands for the widths of all layers.
        facts: What is assumed of data: `Eq(Sum(y[k], (k, 1, K)), 1)`.
        cost: The number to differentiate, where several could be meant.
        meanings: A phrase for a family in the table of symbols.
        title, source: Of the model.

    Raises:
        ModelError: What is not understood or has two readings, with the equation.

    >>> from sympy import Eq, Sum
    >>> from symbackprop.equations import families, indices, sizes
    >>> (j, k), (J, K) = indices("j k"), sizes("J K")
    >>> C, a, w, x, y = families("C a w x y")
    >>> found = read_equations([
    ...     Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, J))),
    ...     Eq(a[j], Sum(w[j, k] * x[k], (k, 1, K))),
    ... ])
    >>> found.system.cost, found.system.parameters
    ('C', ('w',))
    """
    given = Given(
        equations, ranges or {}, sizes or {}, data, target, parameters, places or {}, shapes or {}, integers, zero,
        width, facts, cost, meanings or {}, title, source,
    )  # fmt: skip
    try:
        model = Stated(given).model({})
    except ReadError as e:
        raise e if isinstance(e, ModelError) else ModelError(str(e)) from None
    return replace(model, provenance=tuple(replace(e, unit="equation") for e in model.provenance))


class Stated(Statement):
    """The equations and declarations of one model on their way to a network."""

    def __init__(self, given: Given) -> None:
        self.guards: dict[int, Guard] = {}
        self.free: dict[int, list[Scope]] = {}
        written = page(given)
        self.source, self.rows, self.stated_facts = written.source, written.rows, written.facts
        self.declared = Declarations(title=given.title, source=given.source)
        self.declare(given, written.where)

    # ------------------------------------------------------------ declarations

    def declare(self, given: Given, where: Mapping[tuple[str, str], Place]) -> None:
        declared = self.declared
        declared.integers = tuple(names_of(given.integers))
        declared.width = "" if given.width is None else name_of(given.width)
        for n, (low, high) in given.ranges.items():
            at = where["ranges", name_of(n)]
            declared.ranges[name_of(n)] = Range(self.whole(low, at), self.whole(high, at), at)
        for word, kind, n in given.roles():
            if n in declared.kinds:
                raise self.fail(f"{n} is declared twice, as two things", where[word, n])
            declared.kinds[n] = kind, where[word, n]
        declared.zero = {n: where["zero", n] for n in names_of(given.zero)}
        declared.labels = {name_of(n): (name_of(k), where["places", name_of(n)]) for n, k in given.places.items()}
        declared.shapes = {
            name_of(n): (tuple(names_of(v)), where["shapes", name_of(n)]) for n, v in given.shapes.items()
        }
        declared.meanings = {name_of(n): (m, self.rows[0].place) for n, m in given.meanings.items()}
        if given.cost is not None:
            declared.cost = name_of(given.cost), where["cost", name_of(given.cost)]
        for n, value in given.sizes.items():
            self.size(name_of(n), value, where["sizes", name_of(n)])

    def whole(self, value: Any, place: Place) -> Affine:
        """An expression of sizes and numbers."""
        (e,) = sympy.Tuple(value)
        return index_expression(e, {}, Scopes(self.source, {str(s) for s in e.free_symbols}), place, "a size")

    def size(self, name: str, value: Any, place: Place) -> None:
        """A number, or floor(top / bottom) + plus in terms of other sizes."""
        (e,) = sympy.Tuple(value)
        if e.is_Integer:
            if e < (0 if name in self.declared.integers else 1):
                raise self.fail(f"found {e}, expected a whole number above 0", place)
            self.declared.numbers[name] = int(e)
            return
        plus = 0
        while True:
            whole = [t for t in sympy.Add.make_args(e) if t.is_Integer]
            plus += sum(map(int, whole))
            e = e - sympy.Add(*whole)
            if not isinstance(e, sympy.floor):
                break
            e = e.args[0]
        top, bottom = sympy.fraction(sympy.together(e))
        rule = SizeRule(self.whole(top, place), self.whole(bottom, place), plus)
        if name in rule.names:
            raise self.fail(f"the size {name} is declared by itself", place)
        self.declared.rules[name] = rule

    # ------------------------------------------------------------ letters

    def drafter(self) -> Drafter:
        declared = self.declared
        bound, ends, widths = set(declared.ranges), set[str](), set[str]()
        for row in self.rows:
            left = frozenset().union(*map(letters_of, indices_of(row.left)))
            bound |= left
            for limit in limits_of(row.right, left):
                bound.add(limit.letter)
                ends |= limit.ends
                widths |= limit.widths
        ends |= {n for r in declared.ranges.values() for n in r.low.names | r.high.names}
        ends |= declared.rules.keys() | {n for q in declared.rules.values() for n in q.names}
        sizes = frozenset(ends - declared.ranges.keys() - set(declared.integers))
        constants = sizes | set(declared.integers)
        equated = frozenset(label_of(r.left) for r in self.rows)
        if both := equated & sizes:
            name = min(both)
            row = next(r for r in self.rows if label_of(r.left) == name)
            raise self.fail(
                f"{name} is the end of a sum elsewhere, and a quantity here; give one another letter", row.place
            )
        scopes = Scopes(self.source, set(constants))
        letters = Letters(declared, self.source, [], frozenset(constants))
        stems = frozenset(widths | ({declared.width} if declared.width else set()))
        # The L of a left side a[L, j] is a size, not an index.
        return Drafter(self.source, declared, letters, scopes, equated, frozenset(bound - constants), sizes, stems)

    def define_functions(self, d: Drafter) -> None:
        """Functions of Python are applied before SymPy sees them; there is nothing to define."""

    # ------------------------------------------------------------ formulas

    def draft(self, d: Drafter) -> list[Drafted]:
        out: list[Drafted] = []
        for n, row in enumerate(self.rows):
            d.scopes.equation = n
            d.taken = set()
            env: Env = {}
            for i in indices_of(row.left):
                for letter in sorted(letters_of(i) - d.scopes.constants):
                    if letter in env:
                        raise self.fail(f"the index {letter} stands twice on the left", row.place)
                    env[letter] = d.scopes.new(letter, row.place, free=True).id
            formula = Formula(d, row.place)
            self.free[n] = [d.scopes.all[x] for x in env.values()]
            self.guards[n] = tuple(c for given in row.conditions for c in formula.conditions(given, env))
            lhs = formula.ref(row.left, env)
            rhs = Order(lhs, self.parameter(d))(formula.value(row.right, env))
            out.append(Drafted(lhs, rhs, n, row.place))
        return out

    def facts(self, d: Drafter) -> list[tuple[Drafted, Expr, str, Place]]:
        out: list[tuple[Drafted, Expr, str, Place]] = []
        for row in self.stated_facts:
            n = -1 - len(out)
            d.scopes.equation, d.taken = n, set()
            if not isinstance(row.left, sympy.Sum) or not row.right.is_Rational:
                raise self.fail("expected a fact such as Eq(Sum(y[k], (k, 1, K)), 1)", row.place)
            loose = {str(s) for s in row.left.free_symbols if s.is_Symbol} & d.index_letters
            env = {letter: d.scopes.new(letter, row.place, free=True).id for letter in sorted(loose)}
            formula = Formula(d, row.place)
            value = formula.value(row.left, env)
            text = f"{row.left} = {row.right}"
            out.append(
                (Drafted(Ref(f"fact:{n}", ()), value, n, row.place), formula.value(row.right, {}), text, row.place)
            )
        return out

    # ------------------------------------------------------------ how it is written

    def parameter(self, d: Drafter) -> Callable[[str], bool]:
        """Whether a family will be a parameter, as far as its name tells."""
        data = {n for n, (kind, _) in self.declared.kinds.items() if kind != "parameter"}
        known = d.equated | data | self.declared.labels.keys() | {"x", "y"}
        return lambda name: name not in known

    def axes(self, d: Drafter, drafts: list[Drafted], facts: list[Drafted]) -> Axes:
        """The axes; an index counts layers, and is written above, where a parameter has it, and times where none has."""
        found = super().axes(d, drafts, facts)
        kinds = self.kinds(d, drafts)
        layers = {
            found.find(position(name, n))
            for name in d.signatures
            if kinds[name] == "parameter"
            for n in range(found.arity(name))
            if found.recursive_position(name, n)
        }
        for name, s in d.signatures.items():
            total = s.upper + s.lower
            while s.upper < total and found.find(position(name, s.upper)) in layers:
                s.upper, s.lower = s.upper + 1, s.lower - 1
        return found
