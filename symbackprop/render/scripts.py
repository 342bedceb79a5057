"""How indices, ranges, sizes and families are written: the part of a printer that deals with scripts.

Inside, positions on an axis of nodes count from 0. Here they become the numbers and letters of a notation: with i and k
counted from 1, the entry at s i + k of an axis counted from 1 is written s i + k - s.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Self

from symbackprop.indices import Affine, Axis, Constraint, Guard, affine, implies
from symbackprop.network import SizeRule, System
from symbackprop.notation import Notation, Written
from symbackprop.read.paper import beginning, beginnings
from symbackprop.symbols import (
    Assign,
    Binder,
    D,
    Delta,
    Expr,
    Guarded,
    Max,
    Partial,
    Prod,
    Ref,
    Sum,
    Vec,
    walk,
)

GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell")
)  # fmt: skip
ACCENTS = frozenset(("hat", "tilde", "bar", "dot", "ddot", "check", "breve", "vec"))


def latex_name(name: str) -> str:
    r"""A name as LaTeX, where nobody said how it is written: alpha is \alpha, x_hat \hat{x}, score \mathrm{score}."""
    if name in GREEK:
        return "\\" + name
    stem, _, accent = name.rpartition("_")
    if stem and accent in ACCENTS:
        return accented(accent, latex_name(stem))
    if len(name) > 1 and name.isalpha():
        return rf"\mathrm{{{name}}}"
    if m := re.fullmatch(r"([a-zA-Z])(\d+)", name):
        return f"{m[1]}_{m[2]}"
    return name


def accented(accent: str, letter: str) -> str:
    single = len(letter) == 1 or (letter[0] == "\\" and letter[1:] in GREEK)
    if accent == "bar" and not single:
        accent = "overline"
    return rf"\{accent}{{{letter}}}"


def juxtaposed(texts: Sequence[str]) -> str:
    """Texts side by side, a space where a command would swallow the letter behind it."""
    out = ""
    for t in texts:
        out += " " + t if re.search(r"\\[a-zA-Z]+$", out) and t[:1].isalpha() else t
    return out


def axes_in(e: Expr, system: System) -> dict[str, Axis]:
    """The axis of each index letter of an expression that stands alone somewhere, or is bound."""
    out: dict[str, Axis] = {}
    for _, p in walk(e):
        refs: list[Ref] = []
        match p:
            case Ref():
                refs = [p]
            case Partial(top, bottom):
                refs = [r for r in (top, bottom) if isinstance(r, Ref)]
            case D(_, variable):
                refs = [variable]
            case Assign(target):
                refs = [target]
            case Delta(left, right, axis):
                out |= {i.name: axis for i in (left, right) if i.name is not None}
        for r in refs:
            if len(r.indices) == len(system.family(r.family).axes):
                for i, axis in zip(r.indices, system.axes(r), strict=True):
                    if i.name is not None:
                        out.setdefault(i.name, axis)
    for _, p in walk(e):
        if isinstance(p, Binder):
            out.setdefault(p.index, p.axis)
    return out


@lru_cache(maxsize=64)
def usual_axes(system: System) -> Mapping[str, Axis]:
    """The axis of each letter in the equations of a model; the left sides go first."""
    out: dict[str, Axis] = {}
    for e in system.equations:
        for i, axis in zip(e.lhs.indices, system.axes(e.lhs), strict=True):
            if i.name is not None:
                out.setdefault(i.name, axis)
    for f in system.families.values():
        for n, axis in zip(f.indices, f.axes, strict=True):
            out.setdefault(n, axis)
    for e in system.equations:
        for n, axis in axes_in(e.rhs, system).items():
            out.setdefault(n, axis)
    return MappingProxyType({n: a for n, a in out.items() if n not in system.constants})


@lru_cache(maxsize=64)
def where_it_begins(system: System) -> Mapping[str, tuple[Ref, Ref]]:
    """The data with which a recurrence begins, written as what it is: h_0 is h at time 0."""
    return MappingProxyType(
        {n: (data, start) for n, (data, start) in beginnings(system).items() if len(start.indices) > 1}
    )


@dataclass(frozen=True)
class Scripts(ABC):
    """Indices, ranges and families in a notation.

    Args:
        axes: The axis of a letter where it differs from the one that the model's equations give it.
        data: What is written in the place of an index: the x_t of W_{x_t c}.
    """

    system: System
    notation: Notation
    roles: bool = False
    """Whether factors along a chain rule are marked with their role."""
    axes: Mapping[str, Axis] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    memo: dict[Any, bool] = field(default_factory=dict, compare=False, repr=False)

    @abstractmethod
    def letter(self, latex: str) -> str: ...
    @abstractmethod
    def indexed(self, letter: str, sub: str, sup: str, primes: int = 0, upper_first: bool | None = None) -> str: ...
    @abstractmethod
    def derivative(self, top: str, bottom: str) -> str: ...
    @abstractmethod
    def compare(self, op: str) -> str: ...
    @abstractmethod
    def minus(self) -> str: ...
    @abstractmethod
    def single(self, text: str) -> bool:
        """Whether a text is one sign, so that another may follow it without a comma."""

    @abstractmethod
    def floor(self, top: str, bottom: str) -> str: ...

    # ------------------------------------------------------------ letters and their axes

    @property
    def counts_from_zero(self) -> bool:
        return not self.notation.first and not any(self.notation.firsts.values())

    def knowing(self, e: Expr) -> Self:
        """The printer that knows on which axes the letters of `e` run."""
        if self.counts_from_zero:
            return self
        found = axes_in(e, self.system)
        usual = usual_axes(self.system)
        new = {n: a for n, a in found.items() if usual.get(n) != a}
        return replace(self, axes={**new, **self.axes}) if new else self

    def within(self, e: Sum | Max | Prod | Vec) -> Self:
        """The printer for what stands behind a sum sign."""
        if e.index in self.data:
            return replace(self, data={n: t for n, t in self.data.items() if n != e.index}).within(e)
        if self.counts_from_zero or self.first_of_letter(e.index) == self.first(e.axis):
            return self
        return replace(self, axes={**self.axes, e.index: e.axis})

    def first(self, axis: Axis | None) -> int:
        """The number printed for position 0 of an axis; layers and times are printed as they are."""
        if axis is None:
            return self.notation.first
        return 0 if axis.kind == "recursion" else self.notation.first_of(axis.label)

    def usual(self, name: str) -> Axis | None:
        return usual_axes(self.system).get(name)

    def first_of_letter(self, name: str) -> int | None:
        axis = self.axes.get(name) or self.usual(name)
        if axis is not None:
            return self.first(axis)
        return 0 if name in self.system.constants else None

    def counted(self, e: Affine, first: int, unknown: int | None = None) -> Affine:
        """A position, counted from 0, in the numbers of the notation: those of its letters, the first one being `first`.

        Args:
            unknown: The first number of a letter of which no axis is known; None: `first`.
        """
        if self.counts_from_zero:
            return e
        if e.name is not None and e.name not in self.system.constants and self.first_of_letter(e.name) in (None, first):
            return e
        default = first if unknown is None else unknown
        firsts = {n: default if (f := self.first_of_letter(n)) is None else f for n in e.names}
        return e.substitute({n: affine(n) - f for n, f in firsts.items() if f}) + first

    def glyph(self, name: str) -> str:
        """The letter of an index, a size or another name."""
        stem = name.rstrip("'")
        latex = self.notation.names.get(name)
        if latex is None:
            latex = self.notation.names.get(stem, latex_name(stem)) + name[len(stem) :]
        return self.letter(latex)

    # ------------------------------------------------------------ index expressions

    def affine(self, a: Affine) -> str:
        """An index expression as it stands, indices before constants and a positive term first: si+k-p, l-1."""
        constants = self.system.constants

        def rank(t: tuple[str, int]) -> tuple[bool, bool, bool, str]:
            factors = t[0].split("*")
            return (all(f in constants for f in factors), t[1] < 0, len(factors) == 1, t[0])

        terms = sorted(a.terms, key=rank)
        start = next((n for n, t in enumerate(terms) if t[1] > 0), 0)
        terms.insert(0, terms.pop(start)) if terms else None
        out = ""
        for name, c in terms:
            factors = sorted(name.split("*"), key=lambda f: (f not in constants, f))
            term = juxtaposed([str(abs(c)) if abs(c) != 1 else "", *map(self.glyph, factors)])
            out += ("-" if c < 0 else "+" if out else "") + term
        if a.const or not out:
            out += f"{a.const:+d}" if out else str(a.const)
        return out

    def position(self, i: Affine, axis: Axis | None = None) -> str:
        """A position on an axis, in the notation's counting."""
        if i.name is not None and i.name in self.data:
            return self.data[i.name]
        return self.affine(self.counted(i, self.first(axis)))

    def positions(self, indices: Sequence[tuple[Affine, Axis | None]], commas: bool = False) -> str:
        """Indices side by side, with commas where they would run together: jk, 1,12, bc,si+k."""
        texts = [self.position(i, a) for i, a in indices]
        alone = [self.single(t) or i.name in self.data for t, (i, _) in zip(texts, indices, strict=True)]
        every = commas or any(i.value is not None and not one for (i, _), one in zip(indices, alone, strict=True))
        out = texts[0] if texts else ""
        for n in range(1, len(texts)):
            if every or not (alone[n - 1] and alone[n]):
                out += "," + texts[n]
            elif self.data and {i.name for i, _ in indices[n - 1 : n + 1]} & self.data.keys():
                out += " " + texts[n]
            else:
                out = juxtaposed([out, texts[n]])
        return out

    # ------------------------------------------------------------ families

    def ref(self, r: Ref, letter: str | None = None) -> str:
        """A quantity with its indices; an index on an axis of one node is left out, as lessons do."""
        if r.family == (self.system.mean or ("", ""))[1]:
            return self.sample_cost(r)
        begins = where_it_begins(self.system).get(r.family)
        if begins is not None and letter is None and len(begins[0].indices) == len(r.indices):
            r = beginning(r, {r.family: begins})
        if r.family in self.system.gradients:
            cost, owner = self.system.gradients[r.family]
            return self.derivative(self.ref(Ref(cost, ())), self.ref(Ref(owner, r.indices)))
        family = self.system.family(r.family)
        whole = len(r.indices) == len(family.axes)
        axes = self.system.axes(r) if whole else family.axes[: len(r.indices)]
        look = self.look(r.family)
        upper = look.upper if look else tuple(n for n, a in enumerate(axes) if a.kind == "recursion")
        lower = look.lower if look else tuple(n for n in range(len(axes)) if n not in upper)

        def chosen(places: tuple[int, ...]) -> list[tuple[Affine, Axis | None]]:
            kept = (n for n in places if n < len(axes))
            return [
                (r.indices[n], axes[n])
                for n in kept
                if axes[n].kind == "recursion" or not whole or self.system.size(axes[n]) != 1
            ]

        sub = self.positions(chosen(lower), look.commas if look else False)
        above = self.positions(chosen(upper), commas=True)
        brackets = look.brackets if look else "()" if self.notation.brackets else ""
        sup = f"{brackets[0]}{above}{brackets[1]}" if above and len(brackets) == 2 else above
        if look and look.unit:
            sup = self.letter(look.unit) + ("," + sup if sup else "")
        name = letter if letter is not None else self.family_letter(r.family)
        return self.indexed(name, sub, sup, 0, look.upper_first if look else None)

    def look(self, family: str) -> Written | None:
        """How a family is written where the notation says so; a gradient from outside as the output that it belongs to."""
        look = self.notation.written.get(family)
        if look is None:
            output = next((o for o, bar in self.system.upstream.items() if bar == family), None)
            look = self.notation.written.get(output) if output is not None else None
        return look

    def family_letter(self, name: str) -> str:
        return self.letter(self.family_latex(name))

    def family_latex(self, name: str) -> str:
        if name in self.notation.written:
            return self.notation.written[name].letter
        for output, bar in self.system.upstream.items():
            if bar == name:
                return accented("bar", self.family_latex(output))
        if self.system.mean is None and name in ("C", "C_0", "C_i"):
            # The letters that the lessons' notations have for their three costs are for those alone.
            return self.notation.names.get(name, name)
        letters = self.notation.letters
        return letters.get(name) or self.notation.names.get(name) or latex_name(name)

    def sample_cost(self, r: Ref) -> str:
        letter = self.notation.letters.get(r.family, r.family).split("_")[0]
        (i,) = r.indices
        name = self.notation.sample if i.name == "i" else str(i)
        return self.indexed(self.letter(letter), self.letter(name), "")

    def layer(self, layers: list[Affine]) -> str:
        inner = ",".join(self.affine(i) for i in layers)
        return f"({inner})" if inner and self.notation.brackets else inner

    # ------------------------------------------------------------ sizes and limits

    def size(self, axis: Axis) -> str:
        """The number of positions of an axis."""
        if axis.kind == "sample":
            return self.letter(self.notation.samples)
        if axis.kind == "recursion":
            return self.affine((axis.last if axis.last is not None else affine("L")) - axis.first + 1)
        known = self.system.size(axis)
        if known is not None:
            return str(known)
        if axis.at is None:
            return self.glyph(axis.label)
        if self.notation.width == "n" and not any(w is not None for w in self.system.widths):
            return self.glyph(axis.label)
        return self.indexed(self.glyph(axis.label), self.affine(axis.at), "")

    def bounded(self, axis: Axis) -> bool:
        """Whether a sum over an axis is written with its limits."""
        return self.notation.width != "none" and axis.label not in self.notation.unbounded

    def limits(self, axis: Axis) -> tuple[str, str]:
        """The lowest and the highest position; two empty texts where the notation leaves them out."""
        if axis.kind == "recursion":
            return self.affine(axis.first), self.affine(axis.last if axis.last is not None else affine("L"))
        known = self.system.size(axis)
        if not self.bounded(axis) and known is None:
            return "", ""
        first = self.first(axis)
        if known is not None:
            return str(first), str(known - 1 + first)
        high = self.size(axis)
        return str(first), high if first == 1 else f"{high}-1" if first == 0 else f"{high}{first - 1:+d}"

    def ends(self, e: Sum | Max | Prod) -> tuple[Affine | None, Affine | None, Guard]:
        """The lowest and highest position that the guard of a sum allows where it says so, and what else it says."""
        bound = affine(e.index)
        rest: list[Constraint] = []
        lower: Affine | None = None
        upper: Affine | None = None
        for c in e.guard:
            k = dict(c.expr.terms).get(e.index)
            other = bound - c.expr if k == 1 else c.expr + bound
            if c.equal or k not in (1, -1) or e.index in other.names:
                rest.append(c)
            elif k == 1 and lower is None and (e.axis.kind == "recursion" or self.on_axis(other)):
                lower = other
            elif k == -1 and upper is None and (e.axis.kind == "recursion" or self.on_axis(other, e.axis)):
                upper = other
            else:
                rest.append(c)
        return lower, upper, tuple(rest)

    def extent(self, e: Sum | Max | Prod) -> tuple[str, str, Guard, bool]:
        """The limits of a sum, what its guard says beyond them, and whether the guard has moved a limit."""
        low, high = self.limits(e.axis)
        lower, upper, rest = self.ends(e)
        first, moved = self.first(e.axis), lower is not None or upper is not None
        if not low and moved:
            return "", "", e.guard, False
        if lower is not None:
            low = self.affine(self.within(e).counted(lower, first))
        if upper is not None:
            high = self.affine(self.within(e).counted(upper, first))
        return low, high, rest, moved

    def on_axis(self, i: Affine, below: Axis | None = None) -> bool:
        """Whether a position is at least 0, or with `below` at most the last of that axis."""
        if below is None:
            negative = any(k < 0 for _, k in i.terms)
            return not negative and (i.const >= 0)
        (name,) = i.names if len(i.names) == 1 else ("",)
        axis = self.axes.get(name) or self.usual(name)
        return axis is not None and axis.kind == below.kind and axis.label == below.label and (i - name).const <= 0 and not (i - name).terms  # fmt: skip

    # ------------------------------------------------------------ conditions

    def constraints(self, guard: Guard) -> str:
        """A guard as a person writes it: l = L; 1 <= l < L; 0 <= m - s i + p < K, j <= i."""
        return ", ".join(self.conditions(guard))

    def conditions(self, guard: Guard) -> list[str]:
        constants = self.system.constants
        solved: set[str] = set()
        for c in guard:
            letters = c.expr.names - constants
            if c.equal and len(letters) == 1:
                solved |= letters
        kept = [
            c
            for c in dict.fromkeys(guard)
            if (c.equal or not solved or not c.expr.names - constants <= solved) and c.expr.terms
        ]
        exprs = [replace(c, expr=self.counted(c.expr, 0, unknown=0)) for c in kept]
        # A lower and an upper end of the same expression read as one range.
        out: list[str] = []
        while exprs:
            a = exprs.pop(0)
            partner = next((b for b in exprs if self.is_range(a, b)), None)
            if partner is None:
                out.append(self.constraint(a))
            else:
                exprs.remove(partner)
                out.append(self.chain(a.expr, partner.expr))
        return out

    def is_range(self, a: Constraint, b: Constraint) -> bool:
        if a.equal or b.equal or a.expr.names <= self.system.constants:
            return False
        return (a.expr + b.expr).names <= self.system.constants

    def chain(self, a: Affine, b: Affine) -> str:
        """a >= 0 and b >= 0, whose sum is free of letters, as low <= x <= high."""
        constants = self.system.constants
        between = a + b
        size = (between + 1).name
        compound = len([t for t in a.terms if not set(t[0].split("*")) <= constants]) > 1 or any("*" in n for n, _ in a.terms)  # fmt: skip
        if compound and size is not None and (size in a.names) != (size in b.names):
            # An index expression that stays on an axis of that size.
            inside = b if size in a.names else a
            first = self.notation.first_of(size)
            return self.ranged(first, inside + first, affine(size) + first - 1)
        letters = Affine(tuple(t for t in a.terms if not set(t[0].split("*")) <= constants))
        if letters.terms[0][1] < 0 and len(letters.terms) == 1:
            return self.chain(b, a)
        rest = a - letters
        return self.ranged(-rest, letters, between - rest)

    def ranged(self, low: Affine | int, x: Affine, high: Affine) -> str:
        if high.const < 0 and high.terms:
            above = f"{self.compare('<')} {self.affine(high + 1)}"
        else:
            above = f"{self.compare('<=')} {self.affine(high)}"
        return f"{self.affine(affine(low))} {self.compare('<=')} {self.affine(x)} {above}"

    def constraint(self, c: Constraint) -> str:
        """A condition as a person writes it: l = L, l < L, j <= i."""
        positive = [(n, k) for n, k in c.expr.terms if k > 0]
        negative = [(n, -k) for n, k in c.expr.terms if k < 0]
        left, right = Affine(tuple(positive)), Affine(tuple(negative))
        const = c.expr.const
        if c.equal:
            a, b = (right, left + const) if negative else (left, affine(-const))
            if a.names <= self.system.constants and b.names - self.system.constants:
                a, b = b, a
            return f"{self.affine(a)} = {self.affine(b)}"
        if not negative:
            return f"{self.affine(left)} {self.compare('>=')} {self.affine(affine(-const))}"
        if right.names <= self.system.constants and not left.names <= self.system.constants:
            return f"{self.affine(left)} {self.compare('>=')} {self.affine(right - const)}"
        if const < 0:
            return f"{self.affine(right)} {self.compare('<')} {self.affine(left + (const + 1))}"
        return f"{self.affine(right)} {self.compare('<=')} {self.affine(left + const)}"

    def is_padded(self, e: Guarded) -> bool:
        """Whether a bracket says no more than that an index is on its axis, of a family that is 0 elsewhere."""
        if not isinstance(e.body, Ref) or e.body.family not in self.notation.zero:
            return False
        on = [c for axis, i in zip(self.system.axes(e.body), e.body.indices, strict=True) for c in axis.holds(i)]
        return all(implies(on, c) for c in e.guard)

    def size_rule(self, name: str, rule: SizeRule) -> str:
        """A size that follows from others, as an equation."""
        top = self.affine(rule.top)
        quotient = top if rule.bottom == affine(1) else self.floor(top, self.affine(rule.bottom))
        plus = f" + {rule.plus}" if rule.plus > 0 else f" {self.minus()} {-rule.plus}" if rule.plus else ""
        return f"{self.glyph(name)} = {quotient}{plus}"
