"""What was understood of a model file, family by family, and from which line."""

from __future__ import annotations

from dataclasses import dataclass

from symbackprop.network import System
from symbackprop.read.axes import Axes, position
from symbackprop.read.declare import Declarations
from symbackprop.read.draft import Drafter
from symbackprop.read.settle import Settler


@dataclass(frozen=True)
class Entry:
    """One family.

    Args:
        axes: For each index its letter, what it counts and over which range.
        line: Where it first stands.
        why: Whether its role was declared or inferred, and from what.
        unit: What is counted: lines of a file, or equations.
    """

    name: str
    latex: str
    role: str
    axes: tuple[str, ...]
    line: int
    why: str
    unit: str = "line"

    @property
    def place(self) -> str:
        return f"{self.unit} {self.line}"


def entries(declared: Declarations, d: Drafter, axes: Axes, settler: Settler, system: System) -> tuple[Entry, ...]:
    out = []
    defined = {s.equation.lhs.family: s.place.line for s in reversed(settler.settled) if s.number >= 0}
    for name, f in system.families.items():
        told = []
        base = settler.bases.get(name)
        for letter, axis in zip(f.indices, f.axes, strict=True):
            if axis.kind == "recursion":
                told.append(f"{letter} = {axis.first}..{axis.last}, layers or times")
                continue
            size = f"{axis.label}_({axis.at})" if axis.at is not None else axis.label
            told.append(f"{letter}: {size} places")
        if base is not None:
            line, why = (
                d.signatures[base].place.line,
                f"inferred: where {base} begins, no equation of the file gives it",
            )
        else:
            signature = d.signatures[name]
            line = defined.get(name, signature.place.line)
            why = reason(name, declared, f.kind, name in defined)
            claims = [
                c.claim for n in range(signature.upper + signature.lower) if (c := axes.of(position(name, n))).claim
            ]
            if claims:
                why += "; sizes from " + ", ".join(dict.fromkeys(f"line {c.place.line}" for c in claims if c))
        letter = d.signatures[name].letter if name in d.signatures else name
        out.append(Entry(name, letter, f.kind, tuple(told), line, why))
    return tuple(out)


def reason(name: str, declared: Declarations, kind: str, has_equation: bool) -> str:
    if name in declared.kinds:
        return f"declared on line {declared.kinds[name][1].line}"
    if name in declared.labels:
        return f"declared on line {declared.labels[name][1].line}: its values are places"
    if kind == "cost":
        return "inferred: the number that nothing else uses"
    if has_equation:
        return "inferred: it has an equation"
    if kind in ("input", "target"):
        return f"inferred: {name} without an equation is data"
    return "inferred: no equation defines it"
