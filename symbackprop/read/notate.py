"""The notation of a model file: how its author writes each family."""

from __future__ import annotations

from dataclasses import replace

from symbackprop.functions import FUNCTIONS
from symbackprop.network import System
from symbackprop.notation import Notation, Written
from symbackprop.read.axes import Axes
from symbackprop.read.declare import Declarations
from symbackprop.read.draft import Drafter, Signature
from symbackprop.read.settle import Settler
from symbackprop.symbols import Role

USUAL: tuple[Role, ...] = ("upstream", "slope", "incoming")


def model_notation(
    declared: Declarations, d: Drafter, axes: Axes, settler: Settler, system: System, lessons: dict[str, str] | None
) -> Notation:
    """How the file is written.

    Args:
        lessons: Where the network is that of the lessons, what its cost and its activation function are called here.
    """
    layered = [c for c in axes.classes.values() if c.layered]
    upper = [s for s in d.signatures.values() if s.upper and s.name in settler.letters]
    recursive = [s for s in upper if any(axes.recursive_position(s.name, n) for n in range(s.upper))]
    bare = any(s.brackets == "" for s in recursive)
    first_above = [s.upper_first for s in recursive if s.lower]
    width = "n_l"
    if declared.width:
        width = "n"
    elif layered and not any(c.bounded for c in layered):
        width = "none"
    firsts = {c.label: c.first for c in axes.classes.values() if not c.recursion and c.first is not None}
    first = layered[0].first if layered and layered[0].first is not None else axes.default_first
    if lessons is not None and not layered:
        first = 0  # a chain of single nodes: nothing that is counted is written
    sums_without = {
        axes.of(s.id).label
        for s in d.scopes.all.values()
        if not s.free and s.low is None and s.high is None and not axes.of(s.id).bounded and not axes.of(s.id).recursion
    }
    names = {n: x for n, x in d.names.items() if not usual_name(n, x)}
    names |= {n: x for n, x in d.generic.items() if x != n}
    notation = Notation(
        name=declared.title or "model",
        source=declared.source,
        brackets=not bare,
        layer_first=bool(first_above) and all(first_above),
        first=first,
        order=declared.order or USUAL,
        gradients=declared.gradients,
        width=width,
        sample=declared.sample or "i",
        title=declared.title,
        names=names,
        firsts={n: f for n, f in firsts.items() if f != first},
        unbounded=frozenset(sums_without) if not layered or width != "none" else frozenset(),
        zero=frozenset(declared.zero),
        labels=frozenset(d.letters.labels.values()),
    )
    if lessons is not None:
        return in_lessons(notation, d, lessons)
    written = {n: look(s, axes) for n, s in d.signatures.items() if n in settler.letters}
    for name, of in settler.bases.items():
        written[name] = base_look(name, of, d.signatures[of], axes, settler)
    return replace(notation, written=written)


def usual_name(function: str, latex: str) -> bool:
    """Whether a function of the tables is written as the tables write it; exp says more: that it is no power of e."""
    own = FUNCTIONS.get(function)
    return own is not None and own.latex == latex and function != "exp"


def look(s: Signature, axes: Axes) -> Written:
    order = axes.order(s.name)
    place = {raw: n for n, raw in enumerate(order)}
    return Written(
        s.letter,
        lower=tuple(place[s.upper + n] for n in range(s.lower)),
        upper=tuple(place[n] for n in range(s.upper)),
        brackets=s.brackets if s.upper else "()",
        unit=s.sup_unit,
        commas=s.commas,
        upper_first=s.upper_first,
    )


def base_look(name: str, of: str, s: Signature, axes: Axes, settler: Settler) -> Written:
    """The base case h_0 is written as h with its time in its place."""
    at = name.removeprefix(of + "_")
    order = axes.order(of)
    moment = settler.moments[name]
    kept = [raw for raw in order if raw != moment]
    place = {raw: n for n, raw in enumerate(kept)}
    above = tuple(place[n] for n in range(s.upper) if n in place)
    below = tuple(place[s.upper + n] for n in range(s.lower) if s.upper + n in place)
    if moment < s.upper:
        around = s.brackets or ""
        unit = f"{around[:1]}{at}{around[1:]}"
        return Written(
            s.letter, below, above, s.brackets, ",".join(filter(None, (s.sup_unit, unit))), s.commas, s.upper_first
        )
    return Written(
        f"{s.letter}_{at}" if "_" not in s.letter else s.letter,
        below,
        above,
        s.brackets,
        s.sup_unit,
        s.commas,
        s.upper_first,
    )


def in_lessons(notation: Notation, d: Drafter, names: dict[str, str]) -> Notation:
    """The letters of the lessons' network as this author writes them."""
    letters: dict[str, str] = {}
    if "g" in names and names["g"] != "g":
        letters["g"] = d.generic[names["g"]]
    cost = d.signatures[names["C_0"]].letter
    if cost != "C_0":
        letters |= {"C_0": cost, "C": rf"\overline{{{cost}}}", "C_i": f"{cost.partition('_')[0]}_{notation.sample}"}
    kept = {n: x for n, x in notation.names.items() if n not in d.generic}
    return replace(notation, letters=letters, names=kept, firsts={}, unbounded=frozenset())
