"""The composition C_0(a(z(w))) of a goal, as LaTeX."""

from __future__ import annotations

from symbackprop.derivation import Record
from symbackprop.notation import Notation
from symbackprop.render.latex import Latex
from symbackprop.rules import RULES, Context
from symbackprop.symbols import Ref, Sum, at, replace_at, walk


def composition_latex(record: Record, notation: Notation) -> str:
    """How the cost depends on the parameters of the last layer, read off the graph of equations."""
    context = Context(record.system)
    cost = Ref(record.system.cost, ())
    named = RULES["name the summand"].apply(cost, context)
    if not isinstance(named, Sum):
        return ""
    for path, _ in walk(named):
        new = RULES["read off the equations"].apply(at(named, path), context)
        if new is not None:
            p = Latex(record.system, notation)
            return f"{p(cost)} = {p(replace_at(named, path, new))}"
    return ""
