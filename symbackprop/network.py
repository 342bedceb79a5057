"""A network is a list of indexed equations over families with typed axes.

`System` is that list, with no glyphs in it: how a family is written belongs to the notation. The
builder `dense_system` writes down the equations of the lessons' network; nothing else in the
package knows what a dense layer is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType

from symbackprop import functions as F
from symbackprop.errors import ModelError, UnknownFamilyError, UnknownNameError, nearest
from symbackprop.indices import Affine, Axis, Guard, affine, at_least, between, equals, implies, satisfiable
from symbackprop.normal import meaning, settings
from symbackprop.symbols import (
    Add,
    Binder,
    Call,
    Div,
    Expr,
    Family,
    Mul,
    Num,
    Param,
    Ref,
    Size,
    Sum,
    Vec,
    expr,
    families,
    names,
    substitute,
    transform,
    walk,
)


@dataclass(frozen=True, slots=True)
class Equation:
    """One defining equation: `family[formal indices] = rhs`, where `guard` holds of the indices."""

    lhs: Ref
    rhs: Expr
    guard: Guard = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """Something declared of the data, assumed by rules that say so: lhs = rhs."""

    lhs: Expr
    rhs: Expr
    text: str = ""


@dataclass(frozen=True, slots=True)
class SizeRule:
    """A size that follows from others: floor(top / bottom) + plus, as the output of a strided window has it."""

    top: Affine
    bottom: Affine = field(default_factory=lambda: affine(1))
    plus: int = 0

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        return self.top.evaluate(sizes) // self.bottom.evaluate(sizes) + self.plus

    @property
    def names(self) -> frozenset[str]:
        return self.top.names | self.bottom.names


@dataclass(frozen=True, eq=False)
class System:
    """Equations, their families, and what is known of their sizes.

    Args:
        families: By name.
        equations: In the order in which a lesson states them.
        cost: The scalar that is differentiated; empty where the model has none (see `with_upstream`).
        layers: The last layer: a number, or the name L; 0 where nothing is layered.
        widths: For each layer a number or None (symbolic); a single value for all layers where L is symbolic.
        functions: The reader's own functions and generic ones; a table by layer where layers differ.
        facts: What is assumed of the data.
        mean: Name of the cost averaged over samples, and of the family that its summand is called.
        sizes: Numbers for sizes, last times and other integers that index expressions name.
        rules: Sizes that follow from others.
        integers: Names in index expressions that are no index and no size, such as a stride; they may be 0.
        upstream: Families that stand for the gradient that comes from outside, by the output they belong to.
        gradients: Families that stand for the gradient of a cost by another family: the names of both.
    """

    families: Mapping[str, Family]
    equations: tuple[Equation, ...]
    cost: str
    layers: Affine
    widths: tuple[int | None, ...]
    functions: Mapping[str, F.Function] = field(default_factory=dict)
    tables: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    mean: tuple[str, str] | None = None
    spec: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    rules: Mapping[str, SizeRule] = field(default_factory=dict)
    integers: tuple[str, ...] = ()
    upstream: Mapping[str, str] = field(default_factory=dict)
    gradients: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    constants: frozenset[str] = field(init=False, default=frozenset())
    """Every name that stands for one number throughout: sizes, last layers and times, strides."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "constants", self._constants())
        for f in self.families.values():
            clash = sorted(set(f.indices) & self.constants)
            if clash:
                raise ModelError(
                    f"{clash[0]} is an index of {f.name} and also a size or an integer; give one another letter"
                )
        for e in self.equations:
            clash = sorted({p.index for _, p in walk(e.rhs) if isinstance(p, Binder)} & self.constants)
            if clash:
                raise ModelError(
                    f"equation for {e.lhs.family}: {clash[0]} is a summed index and also a size or an integer; give one another letter"
                )
            if e.lhs.family not in self.families:
                raise ModelError(f"equation for {e.lhs.family}, which is no family of this network")
            loose = names(e.rhs) - names(e.lhs) - self.constants
            odd = {n for c in e.guard for n in c.expr.names} - names(e.lhs) - self.constants
            if odd:
                raise ModelError(
                    f"equation for {e.lhs.family}: a condition on {', '.join(sorted({n.split('@')[0] for n in odd}))}, which is no index on its left"
                )
            if loose:
                raise ModelError(
                    f"equation for {e.lhs.family}: index {', '.join(sorted(loose))} on the right is neither summed nor on the left"
                )
        object.__setattr__(self, "families", MappingProxyType(dict(self.families)))
        if self.cost and self.cost not in self.families:
            raise ModelError(f"the cost {self.cost} is no family of this network{nearest(self.cost, self.families)}")
        about = [f.lhs.body.family for f in self.facts if isinstance(f.lhs, Sum) and isinstance(f.lhs.body, Ref)]
        twice = next((n for n in about if about.count(n) > 1), None)
        if twice is not None:
            raise ModelError(f"two facts are declared of {twice}; give one")

    def __eq__(self, other: object) -> bool:
        """Whether both are the same network, however their formulas are written."""
        return self is other or (isinstance(other, System) and self.meant == other.meant)

    def __hash__(self) -> int:
        return hash(self.meant)

    @cached_property
    def meant(self) -> str:
        """The network as a text that does not depend on how its formulas are written, in which order, with which letters."""
        return self.spec or repr(meaning(self))

    @cached_property
    def written(self) -> str:
        """The network as a text that differs where a formula, its order or a letter does."""
        parts = (tuple(self.families.values()), self.equations, self.facts, sorted(self.rules.items()), settings(self))
        return self.spec or repr(parts)

    def _constants(self) -> frozenset[str]:
        out = set(self.layers.names) | set(self.integers)
        for r in self.rules.values():
            out |= r.names
        axes = [a for f in self.families.values() for a in f.axes]
        axes += [p.axis for e in self.equations for _, p in walk(e.rhs) if isinstance(p, Binder | Size)]
        for a in axes:
            if a.kind == "node" and a.at is None:
                out.add(a.label)
            if a.kind == "recursion":
                out |= a.first.names | (a.last.names if a.last is not None else frozenset())
        return frozenset(out)

    @property
    def digest(self) -> str:
        """A key of the whole model: equal for equal models."""
        return hashlib.sha256(self.meant.encode()).hexdigest()

    def family(self, name: str) -> Family:
        try:
            return self.families[name]
        except KeyError:
            raise UnknownFamilyError(f"{name} is no symbol of this network{nearest(name, self.families)}") from None

    def function(self, name: str) -> F.Function | None:
        """The definition of a function by name; None for a generic one."""
        return self.functions.get(name) or F.FUNCTIONS.get(name)

    def axes(self, ref: Ref) -> tuple[Axis, ...]:
        family = self.family(ref.family)
        return tuple(family.axis(i, ref.indices) for i in range(len(family.axes)))

    def size(self, axis: Axis) -> int | None:
        """The number of positions of an axis, or None while it is symbolic."""
        if axis.kind != "node":
            return None
        if axis.at is None:
            return self.sizes.get(axis.label)
        if len(self.widths) == 1 and self.layers.value is None:
            return self.widths[0]
        layer = axis.at.value
        if layer is None:
            distinct = set(self.widths)
            return distinct.pop() if len(distinct) == 1 else None
        return self.widths[layer] if 0 <= layer < len(self.widths) else None

    def guard_of(self, ref: Ref) -> Guard:
        """What its family declares of the indices of a quantity."""
        family = self.family(ref.family)
        return tuple(c.substitute(dict(zip(family.indices, ref.indices, strict=True))) for c in family.guard)

    def range_of(self, ref: Ref) -> Guard:
        """The constraints under which a quantity exists: its family's, and its nodes on their axes."""
        on_axes = (
            a.holds(i) for a, i in zip(self.family(ref.family).axes, ref.indices, strict=True) if a.kind == "node"
        )
        return (*self.guard_of(ref), *(c for g in on_axes for c in g))

    def out_of_range(self, ref: Ref, first: int = 0) -> str | None:
        """What is wrong with a quantity's layer or nodes, in words with nodes counted from `first`; None where nothing is."""
        family = self.family(ref.family)
        guard = self.range_of(ref)
        if not satisfiable((*self.standing, *guard)):
            layers = [str(i) for a, i in zip(family.axes, ref.indices, strict=True) if a.kind == "recursion"]
            lows = [affine(n) - c.expr for c in family.guard for n, k in c.expr.terms if k == 1 and n in family.indices]
            low = str(lows[0]) if lows else "0"
            last = next((a.last for a in family.axes if a.last is not None), self.layers)
            return f"layer {', '.join(layers)} of {ref.family} is out of range, expected {low} to {last}"
        for axis, i in zip(self.axes(ref), ref.indices, strict=True):
            if axis.kind == "recursion" or i.value is None:
                continue
            size = self.size(axis)
            if i.value < 0 or (size is not None and i.value >= size):
                end = f"{size - 1 + first}" if size is not None else ("n" if first else "n-1")
                return f"node {i.value + first} of {ref.family} is outside its axis, expected {first} to {end}"
        return None

    @cached_property
    def standing(self) -> Guard:
        """What always holds: there is at least one layer, and every axis has at least one position."""
        least = {n: 0 if n in self.integers else 1 for n in self.constants}
        return tuple(at_least(n, least[n]) for n in sorted(least))

    def defining(self, ref: Ref, assume: Guard = ()) -> Equation | None:
        """The equation that defines `ref` under the assumptions, its formal indices replaced by those of `ref`.

        None where the quantity is data, or where the assumptions do not decide between equations.
        """
        for e in self.equations:
            if e.lhs.family != ref.family:
                continue
            mapping = {f.name: a for f, a in zip(e.lhs.indices, ref.indices, strict=True) if f.name is not None}
            fixed = tuple(equals(f, a) for f, a in zip(e.lhs.indices, ref.indices, strict=True) if f.name is None)
            guard = (*(c.substitute(mapping) for c in e.guard), *fixed)
            if all(implies((*self.standing, *assume), c) for c in guard):
                return Equation(ref, substitute(e.rhs, mapping), guard)
        return None

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(n for n, f in self.families.items() if f.kind == "parameter")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The derived families that no other equation uses; where every one is used again, those carried over time."""
        derived = [n for n, f in self.families.items() if f.kind in ("derived", "cost")]
        used = {n for e in self.equations for n in families(e.rhs) - {e.lhs.family}}
        return tuple(n for n in derived if n not in used) or tuple(n for n in derived if n in self._carried())

    def _carried(self) -> frozenset[str]:
        """The families that an equation takes from another layer or time than its own."""

        def places(r: Ref) -> tuple[Affine, ...]:
            axes = self.families[r.family].axes
            return tuple(i for a, i in zip(axes, r.indices, strict=True) if a.kind == "recursion")

        return frozenset(
            p.family
            for e in self.equations
            for _, p in walk(e.rhs)
            if isinstance(p, Ref) and places(p) and places(e.lhs) and places(p) != places(e.lhs)
        )

    @property
    def numeric(self) -> bool:
        """Whether depth and every width are numbers."""
        return self.layers.value is not None and None not in self.widths


@dataclass(frozen=True, eq=False)
class AsWritten:
    """A network as a key for what shows how it is written: equal only where every formula is written alike."""

    system: System

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AsWritten):
            return NotImplemented
        return self.system is other.system or self.system.written == other.system.written

    def __hash__(self) -> int:
        return hash(self.system.written)


def with_upstream(system: System, of: Sequence[Ref] = ()) -> System:
    """The model with a cost: the inner product of quantities with gradients that come from outside.

    Then dC/dO is that gradient, and every derivative of C is a vector-Jacobian product of the model. Of a recurrence
    the sum runs over what equations compute: h_1, ..., h_T, not the first entry h_0, which is an array of data.

    Args:
        of: The quantities, such as a_j^(L); every index that is a letter is summed. None: the outputs of a model
            that has no cost; a model that has one is returned as it is.

    Raises:
        ModelError: There is neither a cost nor an output.
    """
    if system.cost and not of:
        return system
    chosen = tuple(of) or tuple(system.families[n].pattern for n in system.outputs)
    if not chosen:
        raise ModelError(
            "no equation gives a quantity that the others do not use, so there is nothing to differentiate"
        )
    kept = {n: replace(f, kind="derived") if f.kind == "cost" else f for n, f in system.families.items()}
    if system.mean is not None:
        kept = {n: f for n, f in kept.items() if n not in system.mean}
    families_, terms, upstream = dict(kept), [], {}
    for quantity in chosen:
        f = system.families[quantity.family]
        bar = f"{f.name}_bar"
        free = [
            (letter, axis)
            for letter, axis in zip((i.name for i in quantity.indices), system.axes(quantity), strict=True)
            if letter is not None and letter not in system.constants
        ]
        letters, axes = tuple(n for n, _ in free), tuple(a for _, a in free)
        own = computed_where(quantity, system)
        wider = (c for c in system.guard_of(quantity) if c in own or not implies((*system.standing, *own), c))
        guard = tuple(c for c in dict.fromkeys((*own, *wider)) if c.expr.names & set(letters))
        families_[bar] = Family(bar, letters, axes, "input", f"gradient that arrives at {f.name} from outside", guard)
        upstream[f.name] = bar
        term: Expr = Mul((families_[bar].pattern, quantity))
        for n, (letter, axis) in reversed(list(enumerate(free))):
            # A constraint on several indices stands under the innermost of their sums.
            deeper = {m for m, _ in free[n + 1 :]}
            inside = tuple(c for c in guard if letter in c.expr.names and not c.expr.names & deeper)
            inside = tuple(c for c in inside if not implies((*system.standing, *axis.holds(affine(letter))), c))
            term = Sum(letter, axis, term, inside)
        terms.append(term)
    cost = next(n for n in ("C", "J", "E", "cost") if n not in families_ and n not in system.constants)
    families_[cost] = Family(cost, (), (), "cost", "inner product of the outputs with the gradients from outside")
    total = Equation(Ref(cost, ()), terms[0] if len(terms) == 1 else Add(tuple(terms)))
    mean = system.mean[0] if system.mean is not None else ""
    equations = tuple(e for e in system.equations if e.lhs.family != mean)
    return replace(
        system,
        families=families_,
        equations=(total, *equations),
        cost=cost,
        mean=None,
        upstream=upstream,
        spec="",
    )


def is_copy(e: Equation, system: System) -> bool:
    """Whether an equation only says that first entries are an array of data: h_j^(0) = x_j."""
    fixed = any(
        axis.kind == "recursion" and (i.value is not None or any(c.equal and c.expr.names == i.names for c in e.guard))
        for axis, i in zip(system.axes(e.lhs), e.lhs.indices, strict=True)
    )
    return fixed and isinstance(e.rhs, Ref) and system.families[e.rhs.family].kind not in ("derived", "cost")


def computed_where(quantity: Ref, system: System) -> Guard:
    """For which indices an equation computes a quantity that runs over layers or times: what all those equations say."""
    family = system.families[quantity.family]
    own = [e for e in system.equations if e.lhs.family == family.name and not is_copy(e, system)]
    if not own or all(a.kind != "recursion" for a in family.axes):
        return ()
    guards = []
    for e in own:
        to = {
            i.name: j
            for i, j in zip(e.lhs.indices, quantity.indices, strict=True)
            if i.name is not None and i.name not in system.constants
        }
        guards.append(tuple(c.substitute(to) for c in e.guard))
    return tuple(c for c in guards[0] if all(c in g for g in guards))


def with_functions(system: System, chosen: Mapping[str, str | F.Function | Sequence[str | F.Function]]) -> System:
    """The model with a definition for each of its generic functions, or one for each layer.

    Raises:
        UnknownNameError: The model has no generic function of that name, or no activation is called so.
    """
    generic = {
        p.function
        for e in system.equations
        for _, p in walk(e.rhs)
        if isinstance(p, Call) and system.function(p.function) is None
    }
    own, tables, renamed = dict(system.functions), dict(system.tables), {}

    def known(f: str | F.Function) -> str:
        if isinstance(f, str):
            if f not in F.FUNCTIONS and f not in own:
                raise UnknownNameError(f"no activation is called {f!r}{nearest(f, F.ACTIVATION_NAMES)}")
            return f
        own[f.name] = f
        return f.name

    for name, f in chosen.items():
        if name not in generic:
            raise UnknownNameError(f"the model has no generic function {name!r}{nearest(name, generic)}")
        if isinstance(f, str | F.Function):
            renamed[name] = known(f)
        else:
            tables[name] = {n + 1: known(g) for n, g in enumerate(f)}

    def put(e: Expr) -> Expr:
        return Call(renamed[e.function], e.arguments, e.order) if isinstance(e, Call) and e.function in renamed else e

    equations = tuple(replace(e, rhs=transform(e.rhs, put)) for e in system.equations)
    return replace(system, equations=equations, functions=own, tables=tables, spec="")


Activation = str | F.Function


def layer_axis(layers: Affine) -> Axis:
    return Axis("recursion", "l", None, affine(0), layers)


def node_axis(layer: Affine | str | int) -> Axis:
    return Axis("node", "n", affine(layer))


SAMPLES = Axis("sample", "m")


def check_sizes(
    sizes: Sequence[int | str | None] | None, layers: int | None, width: int | None
) -> tuple[Affine, tuple[int | None, ...]]:
    """The last layer and the widths from what the caller gave, or a ModelError that says what would fit."""

    def number(n: object, what: str) -> int:
        if isinstance(n, bool) or not isinstance(n, int):
            raise ModelError(f"{what} is {n!r}, expected a positive whole number, or a letter for a symbolic one")
        if n < 1:
            raise ModelError(f"{what} is {n}, expected at least 1")
        return n

    if sizes is None:
        last = affine("L") if layers is None else affine(number(layers, "the number of layers"))
        w = None if width is None else number(width, "the width")
        return last, (w,) * (1 if last.value is None else last.value + 1)
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise ModelError(f"sizes is {sizes!r}, expected a list such as [784, 30, 10]")
    if len(sizes) < 2:
        raise ModelError(f"sizes has {len(sizes)} entries, expected at least 2: the inputs and one layer")
    if layers is not None and layers != len(sizes) - 1:
        raise ModelError(f"sizes has {len(sizes) - 1} layers after the inputs, but layers={layers}")
    if width is not None:
        raise ModelError("give either sizes or width, not both")
    return affine(len(sizes) - 1), tuple(
        None if n is None or _letter(n) else number(n, f"size n_{i}") for i, n in enumerate(sizes)
    )


def _letter(n: object) -> bool:
    return isinstance(n, str) and len(n) == 1 and n.isalpha()


def check_activations(activation: object, last: Affine, output: str | None) -> list[Activation]:
    """One activation for each run of layers: a list of one where all are the same."""
    given: list[object] = list(activation) if isinstance(activation, list | tuple) else [activation]
    if len(given) != 1 and last.value is None:
        raise ModelError(f"{len(given)} activations for a symbolic number of layers; give one, or the sizes")
    if len(given) not in (1, last.value):
        raise ModelError(f"{len(given)} activations for {last} layers; give one, or one for each layer")
    out: list[Activation] = []
    for a in given:
        if isinstance(a, F.Function) or (isinstance(a, str) and a in F.ACTIVATION_NAMES):
            out.append(a)
        else:
            raise UnknownNameError(f"no activation is called {a!r}{nearest(str(a), F.ACTIVATION_NAMES)}")
    if output is not None:
        if len(out) == 1:
            out = [*out, output]  # hidden layers, last layer
        elif out[-1] not in (output, "identity"):
            raise ModelError(f"this cost is for a last layer of {output}, found {out[-1]!r}; write {output!r} there")
        else:
            out[-1] = output
    return out


def find_cost(loss: object) -> F.Cost:
    if isinstance(loss, F.Cost):
        return loss
    if isinstance(loss, str) and loss.lower() in F.AMBIGUOUS_COSTS:
        raise UnknownNameError(F.AMBIGUOUS_COSTS[loss.lower()])
    for c in F.COSTS:
        if c.name == loss:
            return c
    raise UnknownNameError(f"no cost is called {loss!r}{nearest(str(loss), F.COST_NAMES)}")


FACT = re.compile(r"\s*sum_([a-z])\s+([a-zA-Z]\w*?)_([a-z])\s*=\s*(-?\d+(?:/\d+)?)\s*")


def read_fact(text: str, system_families: Mapping[str, Family]) -> Fact:
    """A fact of the form `sum_j y_j = 1`."""
    m = FACT.fullmatch(text)
    if m is None or m[1] != m[3]:
        raise ModelError(f"fact {text!r} is not understood, expected a sum such as 'sum_j y_j = 1'")
    if m[4].endswith("/0"):
        raise ModelError(f"fact {text!r} divides by zero")
    family = system_families.get(m[2])
    if family is None or len(family.axes) != 1 or family.kind not in ("target", "input"):
        known = [n for n, f in system_families.items() if f.kind in ("target", "input")]
        raise ModelError(f"fact {text!r}: {m[2]} is no datum with one index; facts are declared of {', '.join(known)}")
    return Fact(Sum(m[1], family.axes[0], family[m[1]]), Num(Fraction(m[4])), " ".join(text.split()))


def dense_system(
    sizes: Sequence[int | str | None] | None = None,
    activation: object = "generic",
    loss: object = "sum_squares",
    bias: bool = False,
    *,
    layers: int | None = None,
    width: int | None = None,
    facts: Sequence[str] | None = None,
) -> System:
    """The equations of a fully connected network, as the lessons state them.

    Args:
        sizes: n_0, ..., n_L; a letter or None for a symbolic width. None: L is symbolic, or `layers`.
        activation: A name, a Function, or a list with one for each layer.
        loss: The name of a cost, or a Cost.
        bias: Whether z_j^(l) has a term b_j^(l).
        layers: L where no sizes are given.
        width: One width for all layers where no sizes are given; 1 gives a chain of single neurons.
        facts: Declared facts of the targets. None: those that belong to the cost.

    Raises:
        ModelError: Sizes that are not positive, or lists that do not fit.
        UnknownNameError: No activation or cost of that name.
    """
    last, widths = check_sizes(sizes, layers, width)
    cost = find_cost(loss)
    acts = check_activations(activation, last, cost.output)
    if not isinstance(bias, bool):
        raise ModelError(f"bias is {bias!r}, expected True or False")

    layer = layer_axis(last)
    here, below, top = node_axis("l"), node_axis(affine("l") - 1), node_axis(last)
    weighted = between(1, "l", last)
    w = Family(
        "w",
        ("l", "j", "k"),
        (layer, here, below),
        "parameter",
        "weight from node {k} of layer {l-1} to node {j} of layer {l}",
        weighted,
    )
    b = Family("b", ("l", "j"), (layer, here), "parameter", "bias of node {j} in layer {l}", weighted)
    z = Family("z", ("l", "j"), (layer, here), "derived", "input of node {j} in layer {l} (preactivation)", weighted)
    a = Family(
        "a", ("l", "j"), (layer, here), "derived", "output of node {j} in layer {l} (activation)", between(0, "l", last)
    )
    x = Family("x", ("j",), (node_axis(0),), "input", "value of input node {j}")
    y = Family("y", ("j",), (top,), "target", "target of output node {j}")
    c0 = Family("C_0", (), (), "cost", "cost of one sample")
    ci = Family("C_i", ("i",), (SAMPLES,), "cost", "cost of sample {i}")
    c = Family("C", (), (), "cost", "cost averaged over the samples")
    families = {f.name: f for f in (w, b, z, a, x, y, c0, ci, c) if bias or f is not b}

    i = affine("i")
    out, target = a[last, "j"], y["j"]
    if cost.term is None:
        formula: Expr = Call("C", (Vec("j", top, out),))
    else:
        formula = Sum("j", top, cost.term(out, target))
        if cost.factor is not None:
            formula = Mul((cost.factor(top), formula))
    equations = [Equation(c0[()] if c0.indices else Ref("C_0", ()), formula)]

    weighted_sum = Sum("k", below, w["l", "j", "k"] * a[affine("l") - 1, "k"])
    equations.append(Equation(z["l", "j"], weighted_sum + b["l", "j"] if bias else weighted_sum, weighted))

    own: dict[str, F.Function] = {f.name: f for f in acts if isinstance(f, F.Function)}
    runs, tables = _runs(acts, last, cost.output is not None)
    for guard, name in runs:
        lm = next((m for m in F.LAYER_MAPS if m.name == name), None)
        if lm is not None:
            rhs = lm.value(lambda q: z["l", q], affine("j"), "p", here)
        elif name in ("generic", "table"):
            rhs = Call("g", (z["l", "j"],), 0, affine("l"))
        elif name == "same":
            rhs = Call("g", (z["l", "j"],))
        elif name == "identity":
            rhs = z["l", "j"]
        else:
            rhs = Call(name, (z["l", "j"],))
        equations.append(Equation(a["l", "j"], rhs, guard))
    equations.append(Equation(a["l", "j"], x["j"], (equals("l", 0),)))
    equations.append(Equation(Ref("C", ()), Mul((Div(expr(1), Size(SAMPLES)), Sum("i", SAMPLES, ci[i])))))
    declared = cost.facts if facts is None else (facts,) if isinstance(facts, str) else tuple(facts)
    spec = repr(
        (
            str(last),
            widths,
            [f if isinstance(f, str) else (f.name, f.value(Param("z")) if f.value else None) for f in acts],
            (cost.name, formula),
            bias,
            declared,
        )
    )
    return System(
        families,
        tuple(equations),
        "C_0",
        last,
        widths,
        own,
        tables,
        tuple(read_fact(t, families) for t in declared),
        ("C", "C_i"),
        spec,
    )


def dense_arguments(system: System) -> dict[str, object] | None:
    """The arguments of `dense_system` that give just this network, if it is a fully connected one."""
    if not {"w", "z", "a", "x", "y"} <= system.families.keys() or system.layers.value == 0:
        return None
    used = {p.function for e in system.equations if e.lhs.family == "a" for _, p in walk(e.rhs) if isinstance(p, Call)}
    shape: dict[str, object] = {"layers": system.layers.value}
    if system.layers.value is None:
        shape["width"] = system.widths[0]
    else:
        shape = {"sizes": list(system.widths)}
    for cost in F.COSTS:
        for activation in (
            *GENERIC_NAMES,
            *sorted(used & {f.name for f in F.ACTIVATIONS}),
            *(m.name for m in F.LAYER_MAPS),
        ):
            arguments: dict[str, object] = {
                "activation": activation,
                "loss": cost.name,
                "bias": "b" in system.families,
                **{k: v for k, v in shape.items() if v is not None},
            }
            try:
                if dense_system(**arguments) == system:  # type: ignore[arg-type]
                    return arguments
            except ModelError:
                continue
    return None


GENERIC_NAMES = (*F.GENERIC, "identity")


def _runs(
    acts: list[Activation], last: Affine, split_last: bool
) -> tuple[list[tuple[Guard, str]], dict[str, dict[int, str]]]:
    """One equation for each run of layers that share a formula.

    Elementwise activations that differ by layer share a_j = g^(l)(z_j) with a table of what g^(l) is;
    a layer map such as softmax is an equation of its own.
    """
    maps = {m.name for m in F.LAYER_MAPS}
    names_ = [f if isinstance(f, str) else f.name for f in acts]
    if last.value is None:
        if split_last and names_[0] != names_[-1]:
            hidden = between(1, "l", last - 1)
            return [(hidden, names_[0]), ((equals("l", last),), names_[1])], {}
        return [(between(1, "l", last), names_[0])], {}
    if split_last and len(names_) == 2 and last.value != 2:
        names_ = [names_[0]] * (last.value - 1) + [names_[1]]
    elif len(names_) == 1:
        names_ = names_ * last.value
    names_ = names_[-last.value :]
    pointwise = {n for n in names_ if n not in maps}
    tables: dict[str, dict[int, str]] = {}
    if len(pointwise) > 1:
        tables["g"] = {i + 1: n for i, n in enumerate(names_) if n not in maps}
        names_ = [n if n in maps else "table" for n in names_]
    out: list[tuple[Guard, str]] = []
    start = 0
    for i in range(1, len(names_) + 1):
        if i == len(names_) or names_[i] != names_[start]:
            guard = (equals("l", i),) if start == i - 1 else between(start + 1, "l", i)
            out.append((guard, names_[start]))
            start = i
    return out, tables
