r"""Functions in a formula: known by name, defined by the file, or generic; applied to numbers or entry by entry."""

from __future__ import annotations

from dataclasses import dataclass, replace

from symbackprop import functions as F
from symbackprop.errors import nearest
from symbackprop.indices import Affine, affine
from symbackprop.read.arrays import OPEN, Array, mapped, multiply, renamed
from symbackprop.read.names import known_function, latex_letter, spelled
from symbackprop.read.quantities import Definition, Quantities
from symbackprop.read.scan import FUNCTION_LETTERS, is_quantity, raised_brackets
from symbackprop.read.scopes import Env
from symbackprop.read.syntax import (
    Application,
    Group,
    Listing,
    Negative,
    Node,
    Place,
    Product,
    Script,
    Scripted,
    Symbol,
)
from symbackprop.symbols import (
    ZERO,
    Call,
    Compare,
    Expr,
    Param,
    Ref,
    Vec,
    Where,
    substitute,
    transform,
    walk,
)

KNOWN_BUT_UNREAD = (
    "det",
    "tr",
    "rank",
    "arg",
    "lim",
    "sup",
    "inf",
    "Pr",
    "gcd",
    "deg",
    "dim",
    "ker",
    "hom",
    "cot",
    "sec",
    "csc",
    "sinh",
    "cosh",
    "coth",
    "arcsin",
    "arccos",
    "arctan",
    "tan",
    "lg",
)


@dataclass
class Functions(Quantities):
    """Brackets behind a symbol that are its arguments, and named functions."""

    def is_function(self, node: Node) -> bool:
        """Whether brackets behind a symbol are its arguments."""
        if not isinstance(node, Symbol) and not (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
            return False
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        key = spelled(base)
        if isinstance(node, Scripted) and node.sub is not None:
            return False
        if key in self.definitions or key == self.defining:
            return True
        if key in self.declared.kinds or key in self.equated or key in self.sizes or key in self.scopes.constants:
            return False
        if len(base.name) > 1 and base.font in ("roman", "sans", "typewriter", "italic") and known_function(base.name):
            return True
        return key in self.letters.functions

    def applied(self, node: Node, brackets: Group, env: Env) -> Array:
        """A function by its letter, applied to brackets."""
        assert isinstance(node, Symbol | Scripted)
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        s = self.sighting(node, env, applied=True)
        at: Affine | None = None
        powers: tuple[Node, ...] = ()
        if s.sup is not None:
            reading = self.letters.reading(s)
            powers = reading.powers
            if len(reading.upper) == 1:
                at = self.scopes.affine(reading.upper[0], env, "a layer")
            elif reading.upper or reading.sup_unit:
                raise self.fail(f"what stands above {base.name} is not understood; expected a layer", s.place)
        arguments = self.arguments(brackets, env)
        name = s.key
        if name not in self.definitions and len(base.name) > 1 and (known := known_function(base.name)):
            self.names.setdefault(known, latex_letter(base))
            value = self.known(known, arguments, s.primes, node.place)
            return self.function_powers(value, powers, env, node, node.place)
        value = self.call(base, name, arguments, s.primes, at, env, node.place)
        return self.function_powers(value, powers, env, node, node.place)

    def function_powers(self, v: Array, powers: tuple[Node, ...], env: Env, function: Node, place: Place) -> Array:
        r"""A power of a function's value, written behind its name; \tanh^{-1} may be the inverse function."""
        if any(isinstance(p, Negative) for p in powers):
            raise self.fail(
                f"{self.text(function)} may be the inverse function or one over its value; write \\frac{{1}}{{...}} "
                "for the latter; inverse functions are not read",
                place,
            )
        return self.with_powers(v, powers, env, place)

    def as_factor(self, node: Node, brackets: Node, env: Env) -> None:
        r"""Refuse what may be a function with indices, \phi_j(x_n), where brackets behind it would be a factor.

        A quantity of the file is a factor; so is any other symbol before a sum, save a letter that mostly names functions.
        """
        brackets = raised_brackets(brackets) or brackets
        if self.scopes.lenient or not isinstance(node, Scripted) or not isinstance(node.base, Symbol):
            return
        if not isinstance(brackets, Group) or brackets.kind not in ("round", "square") or node.base.font == "operator":
            return
        reading = self.letters.reading(self.sighting(node, env))
        if not reading.lower and not reading.upper:
            return
        if reading.name in self.equated | self.declared.kinds.keys() | self.declared.shapes.keys():
            return
        if is_quantity(brackets.body) or node.base.name in FUNCTION_LETTERS or isinstance(brackets.body, Listing):
            name, inside = self.text(node), self.text(brackets.body)
            product = f"{name} {inside if is_quantity(brackets.body) else self.text(brackets)}"
            fits = f"write {product} for a product" if is_quantity(brackets.body) else "for a product declare"
            raise self.fail(
                f"{name} before {self.text(brackets)} may be a factor or a function, and no equation defines it; {fits}"
                f"{', or declare' if is_quantity(brackets.body) else ''} '%| parameter {latex_letter(node.base)}'; "
                f"for a function give its values an equation, as in {name} = ..., or write one without indices",
                node.place,
            )

    def arguments(self, node: Node, env: Env) -> list[tuple[Array, Place]]:
        inner = node.body if isinstance(node, Group) and node.kind in ("round", "square", "curly", "brace") else node
        parts = inner.items if isinstance(inner, Listing) else (inner,)
        return [(self.value(p, env), p.place) for p in parts]

    def call(
        self,
        base: Symbol,
        name: str,
        arguments: list[tuple[Array, Place]],
        order: int,
        at: Affine | None,
        env: Env,
        place: Place,
    ) -> Array:
        """A function that the file defines, or a generic one."""
        defined = self.definitions.get(name)
        if defined is None and len(arguments) > 1:
            arguments = [(a, p) for a, p in arguments if not self.is_target(a)]
        if len(arguments) != 1:
            raise self.fail(
                f"{base.name} is applied to {len(arguments)} quantities that are computed; a function nobody defines takes one, "
                "besides targets",
                place,
            )
        ((argument, where),) = arguments
        if defined is not None:
            return mapped(argument, lambda e: self.defined(defined, name, e, order, at, place))
        self.generic.setdefault(name, latex_letter(base))
        if argument.open and self.whole:
            if len(argument.open) != 1:
                raise self.fail(f"a generic function of {argument.shape} is not read; of a column it is", where)
            (index,) = argument.open
            return Array(Call(name, (Vec(index, OPEN, argument.expr),), order, at))
        return mapped(argument, lambda e: Call(name, (e,), order, at))

    def is_target(self, a: Array) -> bool:
        """Whether an argument is a target: a function that nobody defines depends on it anyway."""
        targets = {n for n, (kind, _) in self.declared.kinds.items() if kind == "target"} | {"y", "Y"}
        refs = walk_refs(a.expr)
        return bool(refs) and all(r.family in targets and r.family not in self.equated for r in refs)

    def defined(self, d: Definition, name: str, e: Expr, order: int, at: Affine | None, place: Place) -> Expr:
        if d.entry:
            return Call(d.entry, (e,), order)
        if order:
            raise self.fail(f"the derivative of {name}, which has no entry of its own; write it out", place)
        return transform(d.body, lambda p: e if p == Param(d.argument) else p)

    def application(self, node: Application, env: Env) -> Array:
        """A named function: \\exp(S), \\log \\hat y, \\max(0, z), \\operatorname{softmax}(z)."""
        f = node.function
        base = f if isinstance(f, Symbol) else f.base if isinstance(f, Scripted) else None
        if not isinstance(base, Symbol):
            raise self.fail(f"{self.text(f)!r} is no function", node.place)
        primes, powers = 0, tuple[Node, ...]()
        if isinstance(f, Scripted):
            primes, powers = f.primes, f.sup.pieces if f.sup else ()
            if f.sub is not None and not primes and known_function(base.name) == "softmax":
                over = self.softmax_over(f.sub, node.argument, env)
                return self.function_powers(over, powers, env, f, node.place)
            if f.sub is not None:
                raise self.fail(f"{base.name} with a subscript is not read", f.sub.place)
        argument = node.argument
        if isinstance(argument, Product) and len(argument.factors) == 2 and not self.is_function(argument.factors[0]):
            # \log p (1 - y): the bracket is a factor of its own.
            self.as_factor(argument.factors[0], argument.factors[1], env)
            first = self.application(replace(node, argument=argument.factors[0]), env)
            return multiply(first, self.value(argument.factors[1], env), self.scopes, node.place)
        word = base.name
        if word in ("max", "min"):
            out = self.extreme(word, argument, env, node.place)
        else:
            key = spelled(base)
            known = None if key in self.definitions else known_function(word)
            arguments = self.arguments(argument, env)
            if known is not None:
                if known not in ("exp", "sqrt", "abs") or word == "exp":
                    self.names.setdefault(known, spelling(base))
                out = self.known(known, arguments, primes, node.place)
            elif key in self.definitions or word not in ("log", "exp"):
                if key not in self.definitions and word in KNOWN_BUT_UNREAD:
                    raise self.fail(f"the function {word} is not known{nearest(word, F.FUNCTIONS)}", node.place)
                out = self.call(base, key, arguments, primes, None, env, node.place)
                self.generic[key] = spelling(base)
            else:
                raise self.fail(f"the function {word} is not known", node.place)
        return self.function_powers(out, powers, env, f, node.place)

    def known(self, name: str, arguments: list[tuple[Array, Place]], order: int, place: Place) -> Array:
        if len(arguments) != 1:
            raise self.fail(f"{name} takes one argument, found {len(arguments)}", place)
        ((argument, _),) = arguments
        if name == "softmax":
            if not argument.open:
                raise self.fail(f"softmax takes a vector; {self.softmax_advice(argument.expr)}", place)
            *_, index = argument.open
            return self.softmax(argument, index, place)
        return mapped(argument, lambda e: Call(name, (e,), order))

    def softmax(self, argument: Array, index: str, place: Place) -> Array:
        """The softmax of what an array or a formula says, over one index of it."""
        scope = self.scopes.all[index]
        other = self.scopes.new(self.free_letter(scope.letter, {}), place)
        self.scopes.join(index, other.id, place)
        body = F.softmax.value(lambda q: substitute(argument.expr, {index: q}), affine(index), other.id, OPEN)
        return replace(argument, expr=body)

    def softmax_over(self, sub: Script, argument: Node, env: Env) -> Array:
        r"""\operatorname{softmax}_k(z_{ik}): over k, the index below."""
        arguments = self.arguments(argument, env)
        letters = [self.scopes.affine(p, env).name for p in sub.pieces]
        if len(arguments) != 1 or len(letters) != 1 or letters[0] not in self.scopes.all:
            raise self.fail("softmax over one index is read: softmax_k(z_k)", sub.place)
        assert letters[0] is not None
        return self.softmax(arguments[0][0], letters[0], sub.place)

    def softmax_advice(self, e: Expr) -> str:
        """How the softmax of a number is written, whose author means a vector."""
        found = next((p for p in walk_refs(e) if p.indices), None)
        if found is None:
            what = f"{walk_refs(e)[0].family} has no index in this file; " if walk_refs(e) else ""
            return f"{what}say over which one it goes, as in softmax_k(z_k)"
        letters = [self.scopes.all[i.name].letter if i.name in self.scopes.all else str(i) for i in found.indices]
        return (
            f"say over which index it goes: softmax_{letters[-1]}({found.family}_{{{''.join(letters)}}}), or leave that "
            f"index out: softmax({found.family}{'_' + ''.join(letters[:-1]) if letters[1:] else ''})_{letters[-1]}"
        )

    def extreme(self, word: str, argument: Node, env: Env, place: Place) -> Array:
        arguments = self.arguments(argument, env)
        if len(arguments) != 2:
            raise self.fail(
                f"{word} of {len(arguments)} things; expected two, or an index below as in \\{word}_k", place
            )
        (a, _), (b, where) = arguments
        zero = [x.expr == ZERO for x, _ in arguments]
        if word == "max" and any(zero) and not all(zero):
            return mapped(b if zero[0] else a, lambda e: Call("relu", (e,)))
        if a.open or b.open:
            one, other = (a, b) if a.open else (b, a)
            second = renamed(other, one.open, self.scopes, where) if other.open else other.expr
            op = ">" if word == "max" else "<"
            return mapped(one, lambda e: Where(Compare(op, e, second), e, second))  # type: ignore[arg-type]
        return Array(Where(Compare(">" if word == "max" else "<", a.expr, b.expr), a.expr, b.expr))


def walk_refs(e: Expr) -> list[Ref]:
    return [p for _, p in walk(e) if isinstance(p, Ref)]


def spelling(base: Symbol) -> str:
    """How a named function is written."""
    if base.name in ("exp", "log", "ln", "tanh", "sin", "cos", "max", "min"):
        return "\\" + base.name
    return rf"\operatorname{{{base.name}}}"
