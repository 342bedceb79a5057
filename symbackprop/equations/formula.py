"""The formulas of one equation, from SymPy to expressions whose indices stand in scopes, not yet on axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from symbackprop.equations.given import Sym, indices_of, is_quantity, is_width, label_of
from symbackprop.equations.letters import NAME, Maximum, written
from symbackprop.errors import FunctionError, ReadError
from symbackprop.indices import Affine, Axis, Constraint, affine, at_least, equals
from symbackprop.read.arrays import OPEN
from symbackprop.read.draft import Drafter, Signature
from symbackprop.read.names import known_function
from symbackprop.read.scopes import Env, Scope, Scopes
from symbackprop.read.syntax import Place
from symbackprop.symbols import ONE, ZERO, Call, Compare, Expr, Max, Mul, Position, Prod, Ref, Size, Sum, Vec, Where
from symbackprop.sympy_bridge import Applied, FamilyBase, inward, stable_forms


def index_expression(e: Sym, env: Env, scopes: Scopes, place: Place, what: str = "an index") -> Affine:
    """Letters and whole numbers, their sums and products, in the author's numbers; each letter is its scope."""

    def go(x: Sym) -> Affine:
        return index_expression(x, env, scopes, place, what)

    if e.is_Integer:
        return affine(int(e))
    if e.is_Symbol:
        name = str(e)
        if name in env or name in scopes.constants:
            return affine(env.get(name, name))
        raise scopes.fail(
            f"the index {name} is neither summed here nor on the left of this equation; "
            f"a sum over {name}, or {name} on the left, would fit",
            place,
        )
    if e.is_Add:
        return sum(map(go, e.args), affine(0))
    if e.is_Mul:
        first, *rest = map(go, e.args)
        for r in rest:
            first = first * r
        return first
    if is_width(e):
        stem, at = label_of(e), index_expression(e.indices[0], env, scopes, place, "a layer")
        scopes.widths[f"{stem}@{at}"] = stem, at
        return affine(f"{stem}@{at}")
    raise scopes.fail(f"{e} is not understood as {what}; expected letters and whole numbers, as in l - 1", place)


@dataclass
class Formula:
    """One equation."""

    d: Drafter
    place: Place

    def fail(self, message: str) -> ReadError:
        return self.d.fail(message, self.place)

    def value(self, e: Sym, env: Env) -> Expr:
        try:
            return stable_forms(inward(e, lambda part: self.part(part, env)))
        except FunctionError as error:
            raise self.fail(str(error)) from None

    def affine(self, e: Sym, env: Env, what: str = "an index") -> Affine:
        return index_expression(e, env, self.d.scopes, self.place, what)

    def part(self, e: Sym, env: Env) -> Expr | None:
        """What is no arithmetic: quantities, letters, sums, functions, conditions."""
        match e:
            case sympy.Sum() | sympy.Product() | Maximum():
                return self.binder(e, env)
            case sympy.Indexed() if is_width(e):
                name = self.affine(e, env).name
                assert name is not None
                stem, layer = self.d.scopes.widths[name]
                return Size(Axis("node", stem, layer))
            case sympy.Indexed():
                return self.quantity(e, env)
            case sympy.IndexedBase():
                return self.quantity(e, env)
            case sympy.Symbol():
                return self.symbol(e, env)
            case Applied():
                return self.call(e.name, e.order, e.args[2], e.arguments, env)
            case AppliedUndef():
                return self.call(e.func.__name__, 0, (), e.args, env)
            case sympy.KroneckerDelta():
                return Where(self.comparison(sympy.Eq, e.args[0], e.args[1], env), ONE, ZERO)
            case Relational():
                return self.comparison(e.func, e.lhs, e.rhs, env)
            case sympy.Max() if len(e.args) == 2 and sympy.S.Zero in e.args:
                return Call("relu", (self.value(next(a for a in e.args if a != 0), env),))
            case sympy.Derivative() | sympy.Subs() | sympy.Integral():
                raise self.fail("a derivative or an integral; the equations of a model are stated without")
        return None

    # ------------------------------------------------------------ quantities

    def ref(self, e: Sym, env: Env) -> Ref:
        """A quantity all of whose indices are index expressions."""
        return self.signed(label_of(e), e, tuple(self.affine(i, env) for i in indices_of(e)))

    def quantity(self, e: Sym, env: Env) -> Expr:
        """A quantity; with a label in the place of an index, the sum over the axis that picks its entry."""
        found: list[Affine] = []
        picked: list[tuple[str, Expr]] = []
        labels = self.d.declared.labels
        for i in indices_of(e):
            if not isinstance(i, sympy.Indexed | sympy.IndexedBase) or is_width(i):
                found.append(self.affine(i, env))
                continue
            name = label_of(i)
            if name not in labels:
                raise self.fail(
                    f"{i} in the place of an index; say on which axis its values are places: places={{{name}: k}}"
                )
            letter, where = labels[name]
            scope = self.d.scopes.new(self.d.free_letter(letter, env), self.place)
            self.d.scopes.join(scope.id, f"letter:{letter}", where)
            picked.append((scope.id, self.value(i, env)))
            found.append(affine(scope.id))
        out: Expr = self.signed(label_of(e), e, tuple(found))
        for index, label in reversed(picked):
            out = Sum(index, OPEN, Mul((Where(Compare("==", label, Position(affine("@" + index))), ONE, ZERO), out)))
        return out

    def signed(self, name: str, e: Sym, found: tuple[Affine, ...]) -> Ref:
        """The quantity, noted with how it is written."""
        if not NAME.fullmatch(name):
            raise self.fail(f"{name!r} is no name of a family; expected letters and digits such as x_hat or W_1")
        known = self.d.signatures.get(name)
        if known is None:
            above = e.base.recursion if isinstance(e, sympy.Indexed) and isinstance(e.base, FamilyBase) else 0
            letter, unit = written(name, bool(found))
            self.d.signatures[name] = Signature(
                name, letter, above, len(found) - above, unit, "()", False, False, self.place
            )
        elif known.upper + known.lower != len(found):
            raise self.fail(
                f"{e} has {len(found)} {'index' if len(found) == 1 else 'indices'}, in equation {known.place.line} "
                f"{name} has {known.upper + known.lower}"
            )
        ref = Ref(name, found)
        self.d.places.setdefault((self.d.scopes.equation, ref), self.place)
        return ref

    def symbol(self, e: Sym, env: Env) -> Expr:
        name = str(e)
        if name in env:
            if name in self.d.equated | self.d.declared.kinds.keys():
                raise self.fail(f"{name} is an index here and a quantity elsewhere; give one of them another letter")
            return Position(affine(env[name]))
        if name in self.d.declared.integers:
            return Position(affine(name))
        if name == self.d.declared.width:
            raise self.fail(
                f"{name} stands for the width of every layer; write widths({name!r}), and {name}[l] for that of layer l"
            )
        if name in self.d.sizes:
            return Size(Axis("node", name))
        if e.is_integer or name in self.d.index_letters:
            raise self.fail(
                f"{name} is no size, and no index that is summed here or on the left; "
                f"a sum over {name}, or a family {name}, would fit"
            )
        return self.signed(name, e, ())

    # ------------------------------------------------------------ sums, functions, conditions

    def binder(self, e: Sym, env: Env) -> Expr:
        head = Sum if isinstance(e, sympy.Sum) else Prod if isinstance(e, sympy.Product) else Max
        env, bound = dict(env), list[Scope]()
        for letter, *ends in reversed(e.limits):
            low, high = (self.affine(end, env, "a limit") for end in ends) if len(ends) == 2 else (None, None)
            scope = self.d.scopes.introduce(str(letter), self.place, env, bound)
            scope.low, scope.high = low, high
        self.d.taken |= {s.letter for s in bound}
        out = self.value(e.function, env)
        for s in reversed(bound):
            out = head(s.id, OPEN, out)
        return out

    def call(self, name: str, order: int, layers: Sequence[Sym], arguments: Sequence[Sym], env: Env) -> Expr:
        """A function of the tables by its name, or one that nobody defines."""
        if len(arguments) != 1:
            raise self.fail(f"{name} is applied to {len(arguments)} things; expected one")
        (argument,) = arguments
        known = known_function(name) if len(name) > 1 else None
        if known == "softmax":
            raise self.fail("softmax takes a vector; write exp(z[j])/Sum(exp(z[p]), (p, 1, K))")
        if isinstance(argument, sympy.Lambda):
            if known is not None or len(argument.variables) != 1:
                raise self.fail(
                    f"{name} of {argument}; an array of one index is an argument of a function nobody defines"
                )
            inner, bound = dict(env), list[Scope]()
            scope = self.d.scopes.introduce(str(argument.variables[0]), self.place, inner, bound)
            value: Expr = Vec(scope.id, OPEN, self.value(argument.expr, inner))
        else:
            value = self.value(argument, env)
        if known is not None:
            return Call(known, (value,), order)
        if len(layers) > 1:
            raise self.fail(f"{name} has {len(layers)} layers; expected one, as in {name}[l](z)")
        self.d.generic.setdefault(name, written(name, False)[0])
        return Call(name, (value,), order, self.affine(layers[0], env, "a layer") if layers else None)

    def comparison(self, head: Sym, left: Sym, right: Sym, env: Env) -> Compare:
        """Two sides of a condition; beside a label, an index stands for its place on the axis of the label."""
        labels = self.d.declared.labels

        def index(s: Sym) -> bool:
            return bool(s.free_symbols) and {str(x) for x in s.free_symbols} <= env.keys()

        over = next(
            (label_of(s) for s in (left, right) if not index(s) and is_quantity(s) and label_of(s) in labels), None
        )

        def side(s: Sym) -> Expr:
            if not index(s):
                return self.value(s, env)
            at = self.affine(s, env, "a side of a condition")
            if over is None:
                return Position(at)
            if at.name in self.d.scopes.all:
                assert at.name is not None
                letter, where = labels[over]
                self.d.scopes.join(at.name, f"letter:{letter}", where)
                return Position(affine("@" + at.name))
            return Position(at - f"first:{over}")

        return Compare(_SIGNS[head], side(left), side(right))

    def conditions(self, c: Sym, env: Env) -> Iterator[Constraint]:
        """What a condition behind an equation says of its indices."""
        if isinstance(c, sympy.And):
            for part in c.args:
                yield from self.conditions(part, env)
            return
        if c == sympy.true:
            return
        if not isinstance(c, Relational) or isinstance(c, sympy.Ne):
            raise self.fail(f"the condition {c} is not understood; expected such as j <= i or Eq(l, L)")
        left, right = (self.affine(s, env, "a side of a condition") for s in (c.lhs, c.rhs))
        match c:
            case sympy.Eq():
                yield equals(left, right)
            case sympy.Ge():
                yield at_least(left, right)
            case sympy.Gt():
                yield at_least(left - 1, right)
            case sympy.Le():
                yield at_least(right, left)
            case _:
                yield at_least(right - 1, left)


_SIGNS: dict[Sym, Any] = {
    sympy.Eq: "==", sympy.Ne: "!=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">=",
}  # fmt: skip
