"""The axes of a network that is known, for the letters of a formula about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from symbackprop.errors import ReadError, ReadIndexError
from symbackprop.indices import Affine, Axis, affine
from symbackprop.network import SAMPLES, System
from symbackprop.notation import Notation
from symbackprop.read.arrays import OPEN
from symbackprop.read.declare import Declarations
from symbackprop.read.lexer import Source
from symbackprop.read.scopes import Scopes
from symbackprop.read.settle import Settler
from symbackprop.read.syntax import (
    Place,
)
from symbackprop.symbols import (
    Assign,
    Binder,
    D,
    Delta,
    Expr,
    Guarded,
    Max,
    Partial,
    Position,
    Ref,
    Size,
    Winner,
    walk,
)


@dataclass
class KnownClass:
    """What is known of an index: as `axes.Class` for what a settler asks."""

    recursion: bool
    first: int
    label: str
    axis: Axis
    number: int | None = None
    low: Affine | None = None
    high: Affine | None = None
    layered: bool = False


@dataclass
class KnownAxes:
    """The axes of a network's families, and of the letters that index them."""

    system: System
    notation: Notation
    scopes: Scopes
    declared: Declarations
    drafts: list[Expr]
    source: Source
    found: dict[str, Axis] = field(default_factory=dict)
    classes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for e in self.drafts:
            for r in all_refs(e):
                for i, axis in zip(r.indices, self.system.axes(r), strict=True):
                    if i.name in self.scopes.all:
                        assert i.name is not None
                        self.found.setdefault(i.name, axis)
        for e in self.drafts:
            for r in all_refs(e):
                for i, axis in zip(r.indices, self.system.axes(r), strict=True):
                    # A time that stands only shifted, as in s_{i-1}, counts times as well.
                    if axis.kind == "recursion" and len(i.terms) == 1 and i.terms[0][0] in self.scopes.all:
                        self.found.setdefault(i.terms[0][0], axis)
        for s in self.scopes.all.values():
            if s.id not in self.found and s.low is not None and s.high is not None:
                name = (s.high - s.low + 1).name
                if name in self.scopes.widths:
                    assert name is not None
                    stem, at = self.scopes.widths[name]
                    self.found[s.id] = Axis("node", stem, at)
                elif name in self.scopes.all and self.scopes.all[name].letter in self.scopes.clocks:
                    # A sum up to a time runs over times.
                    self.found[s.id] = self.found.get(name) or self.guess(name)
                elif name is not None and name not in self.scopes.all:
                    stems = {a.label for f in self.system.families.values() for a in f.axes if a.at is not None}
                    layer = affine(0) if name in stems and self.notation.width == "n" else None
                    self.found[s.id] = Axis("node", name, layer)
        for _ in range(2):
            for a, b, _place in self.scopes.joined:
                for p, q in ((a, b), (b, a)):
                    if p in self.found and q in self.scopes.all:
                        self.found.setdefault(q, self.found[p])
        recursion = {a.last for f in self.system.families.values() for a in f.axes if a.kind == "recursion"}
        for n, last in enumerate(recursion):
            label = str(last)
            self.classes[f"end:{n}"] = KnownClass(True, 0, label, Axis("recursion", label))
        for label in {a.label for f in self.system.families.values() for a in f.axes if a.kind == "node"}:
            self.classes[f"size:{label}"] = KnownClass(False, 0, label, Axis("node", label))

    def fail(self, message: str, place: Place) -> ReadError:
        return self.source.error(message, place)

    def order(self, family: str) -> range:
        return range(len(self.system.family(family).axes))

    def recursive_position(self, family: str, n: int) -> bool:
        return self.system.family(family).axes[n].kind == "recursion"

    def axis(self, member: str, layer: Affine | None = None) -> Axis:
        family, sign, n = member.rpartition(":")
        if sign and family in self.system.families:
            return self.system.family(family).axes[int(n)]
        if sign and family == "letter":
            name = next((f for f, (x, _) in self.declared.labels.items() if x == n), "")
            over = self.system.family(name).over
            assert over is not None
            return over
        return self.found.get(member) or self.guess(member)

    def knows(self, member: str) -> bool:
        """Whether the axis of a letter is known, or can be told from its name."""
        try:
            self.axis(member)
        except ReadError:
            return False
        return True

    def guess(self, member: str) -> Axis:
        """The axis of a letter that stands nowhere alone: that of the same letter in the equations."""
        s = self.scopes.all[member]
        for a, b, _ in self.scopes.joined:
            other = b if a == member else a if b == member else ""
            if other in self.scopes.all and self.scopes.all[other].free and not s.free:
                return self.guess(other)
        letter = s.letter.rstrip("'")
        layered = {
            a
            for f in self.system.families.values()
            for x, a in zip(f.indices, f.axes, strict=True)
            if x == letter and a.at is not None
        }
        if (layered and not s.free and self.notation.width != "n") or (layered and len(set(self.system.widths)) > 1):
            raise self.fail(f"what {s.letter} counts is not known; expected it as an index of a quantity", s.place)
        for f in self.system.families.values():
            for x, axis in zip(f.indices, f.axes, strict=True):
                if x == letter:
                    return axis
        for e in self.system.equations:
            for _, p in walk(e.rhs):
                if isinstance(p, Binder) and p.index == letter:
                    return p.axis
        largest = {p.axis for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Max)}
        if len(largest) == 1 and not s.free:
            return largest.pop()
        raise self.fail(f"what {s.letter} counts is not known; expected it as an index of a quantity", s.place)

    def of(self, member: str) -> KnownClass:
        axis = self.axis(member)
        recursion = axis.kind == "recursion"
        first = 0 if recursion or axis.kind == "sample" else self.notation.first_of(axis.label)
        label = self.notation.samples if axis.kind == "sample" else axis.label
        size = self.system.size(axis)
        return KnownClass(recursion, first, label, axis, size, axis.first, axis.last, axis.at is not None)


def all_refs(e: Expr) -> list[Ref]:
    """Every quantity of an expression, derivatives included, in the order written."""
    out: list[Ref] = []
    for _, p in walk(e):
        match p:
            case Ref():
                out.append(p)
            case Partial(top, bottom):
                out += [top, *([bottom] if isinstance(bottom, Ref) else [])]
            case D(_, variable):
                out.append(variable)
            case Assign(target):
                out.append(target)
    return out


@dataclass
class KnownSettler(Settler):
    """Expressions with derivatives onto the axes of a network."""

    system: System = None  # type: ignore[assignment]
    counts: Mapping[str, Axis] = field(default_factory=dict)
    """Letters that are the length of an axis in one line."""
    depth: Mapping[str, Affine] = field(default_factory=dict)
    """The letter of the last layer, where the network has a number of layers."""
    outside: Mapping[str, Affine] = field(default_factory=dict)
    """What stands for the letters around the sum in hand."""

    def binder(self, e: Binder, letters: Any, taken: frozenset[str], d: Any) -> Expr:
        """A sum; in its limits the number of samples has the name of their axis."""
        scope = self.axes.scopes.all[e.index]
        axis = self.axes.axis(scope.id)
        names = {n: affine(a.label) for n, a in self.counts.items() if a == axis}
        whole = scope.high is not None and self.ends_axis(scope, scope.high, self.first(scope.id))
        if axis == SAMPLES and not whole:
            names[self.axes.notation.samples] = affine(SAMPLES.label)  # type: ignore[attr-defined]
        scope.low, scope.high = (x and x.substitute(names) for x in (scope.low, scope.high))
        self.outside = {**letters, **self.depth}
        first = affine(self.first(scope.id))
        low = scope.low.value if scope.low is not None else None
        if axis.kind == "node" and low is not None and low < first.const:
            self.unshifted(e, scope, first)
        return super().binder(e, letters, taken, d)

    def unshifted(self, e: Binder, scope: Any, first: Affine) -> None:
        """Refuse to guess at a sum that begins before the first node with its index shifted inside."""
        used = (i for r in all_refs(e.body) for i in r.indices)
        if any(e.index in i.names and i.name != e.index for i in used):
            raise self.axes.fail(
                f"the sum over {scope.letter} begins at {scope.low}, nodes are counted from {first}, and {scope.letter} "
                "stands shifted in it; a sum over the nodes themselves would fit",
                scope.place,
            )

    def covers(self, scope: Any, low: Affine, high: Affine) -> bool:
        """Whether limits are those of the axis; a width of another layer is none of its ends."""
        count = high - low + 1
        if low.value is None or not self.is_width(count):
            return super().covers(scope, low, high)
        self.same_width(scope, count)
        return True

    def ends_axis(self, scope: Any, high: Affine, first: int) -> bool:
        axis = self.axes.axis(scope.id)
        if axis.kind == "node" and axis.at is not None and self.axes.notation.width == "n":  # type: ignore[attr-defined]
            return high == affine(axis.label) + (first - 1)
        count = high + (1 - first)
        if self.is_width(count):
            self.same_width(scope, count)
            return True
        if any("@" in n for n in high.names):
            raise self.axes.source.error(
                f"the sum over {scope.letter} ends before the last node of a layer; with widths of their own, layers are summed whole",
                scope.place,
            )
        return super().ends_axis(scope, high, first)

    def one_width(self, label: str) -> bool:
        """Whether a letter is the one width of all layers."""
        layered = {a.label for f in self.system.families.values() for a in f.axes if a.at is not None}
        return label in layered and self.axes.notation.width == "n"  # type: ignore[attr-defined]

    def is_width(self, count: Affine) -> bool:
        return count.name is not None and count.name in self.axes.scopes.widths

    def same_width(self, scope: Any, count: Affine) -> None:
        """Refuse a sum over one layer that ends at the width of another."""
        assert count.name is not None
        stem, at = self.axes.scopes.widths[count.name]
        axis = self.axes.axis(scope.id)
        if axis.kind == "recursion":
            return
        here = axis.at.substitute(self.outside) if axis.at is not None else None
        if axis.label == stem and here == at.substitute(self.outside):
            return
        other = Axis("node", stem, at.substitute(self.outside))
        size = self.system.size(axis if axis.at is None else replace(axis, at=here))
        if size is not None and size == self.system.size(other):
            return
        counts = "samples" if axis.kind == "sample" else f"{axis.label}_{{{here}}}" if here else axis.label
        words = f"{scope.letter} counts {counts} here, and its sum ends at {stem}_{{{other.at}}}"
        raise self.axes.source.raised(ReadIndexError, re.sub(r"#\d+", "", words), scope.place)

    def expression(self, e: Expr, letters: Any, taken: frozenset[str], d: Any) -> Expr:
        def go(x: Expr) -> Expr:
            return self.expression(x, letters, taken, d)

        def one(r: Ref) -> Ref:
            out = go(r)
            assert isinstance(out, Ref)
            return out

        match e:
            case Partial(top, bottom, direct):
                return Partial(one(top), go(bottom), direct)
            case D(body, variable, total):
                return D(go(body), one(variable), total)
            case Assign(target, value):
                return Assign(one(target), go(value))
            case Delta(left, right):
                member = next((i.name for i in (left, right) if i.name in self.axes.scopes.all), None)
                axis = self.axes.axis(member) if member is not None else OPEN
                first = 0 if axis.kind == "recursion" or member is None else self.first(member)
                axis = axis.substitute(letters)
                return Delta(left.substitute(letters) - first, right.substitute(letters) - first, axis)
            case Guarded(body, guard):
                return Guarded(go(body), tuple(c.substitute(letters) for c in guard))
            case Winner(of, at):
                first = self.first(of.index)
                largest = go(of)
                assert isinstance(largest, Max)
                return Winner(largest, at.substitute(letters) - first)
            case Size(axis) if axis.at is None and axis.kind == "node":
                ends = {a.last.name for f in self.system.families.values() for a in f.axes if a.last is not None}
                if axis.label in ends:
                    return Position(affine(axis.label))
                if self.one_width(axis.label):
                    return Size(Axis("node", axis.label, affine(0)))
        return super().expression(e, letters, taken, d)
