"""One model in the notation of another: what corresponds is written as the other author writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from symbackprop.correspond import Correspondence, correspondence
from symbackprop.errors import ModelError
from symbackprop.network import System
from symbackprop.notation import Notation, Written
from symbackprop.render.document import worded
from symbackprop.render.latex import Latex
from symbackprop.render.printer import Printer
from symbackprop.render.scripts import latex_name
from symbackprop.symbols import Expr


def in_terms_of(other: Notation, found: Correspondence, own: Notation) -> Notation:
    """The notation of another model for the families of this one.

    What does not correspond stays as its own author writes it.

    Args:
        other: The notation of `found.b`.
        own: The notation of `found.a`.

    Raises:
        ModelError: What stays and what changes would look the same.
    """
    if found.a.mean is not None and found.b.mean is not None:
        # The lessons' networks: their families have one name in every notation.
        return replace(other, title=own.title, source=own.source)
    a, b = found.a, found.b
    theirs, mine = Latex(b, other), Latex(a, own)
    written = {
        n: moved(look_of(found.families[n], b, other, theirs), found.places[n])
        if n in found.families
        else look_of(n, a, own, mine)
        for n in a.families
        if n not in (a.mean or ())
    }
    told_apart(written, a, found)
    labels = {f.axes[n].label for f in a.families.values() for n in range(len(f.axes))}
    sizes = {x: found.sizes.get(x, x) for x in labels}
    firsts = {x: other.first_of(y) if x in found.sizes else own.first_of(x) for x, y in sizes.items()}
    unbounded = {x for x, y in sizes.items() if (y in other.unbounded if x in found.sizes else x in own.unbounded)}
    return replace(
        other,
        title=own.title,
        source=own.source,
        written=written,
        letters={x: function_latex(y, other) for x, y in found.functions.items()},
        names=names(other, found, own),
        gradients=gradients(other, found, own),
        firsts={x: n for x, n in firsts.items() if n != other.first},
        unbounded=frozenset(unbounded),
        zero=own.zero,
    )


def translate(a: System, own: Notation, b: System, other: Notation) -> Notation:
    """The notation in which a model looks as the author of another would write it.

    Raises:
        ModelError: The models have too little in common.
    """
    return in_terms_of(other, correspondence(a, b), own)


def look_of(family: str, system: System, notation: Notation, printer: Latex) -> Written:
    """How a family is written, where its notation says so by rules alone as well: layers above, nodes below."""
    look = notation.written.get(family)
    if look is not None:
        return look
    axes = system.families[family].axes
    upper = tuple(n for n, axis in enumerate(axes) if axis.kind == "recursion")
    lower = tuple(n for n in range(len(axes)) if n not in upper)
    brackets = "()" if notation.brackets else ""
    return Written(printer.family_latex(family), lower, upper, brackets, upper_first=notation.layer_first)


def moved(look: Written, places: tuple[int, ...]) -> Written:
    """A look for a family whose indices stand in another order: its index n is the other's index places[n]."""
    own = {there: here for here, there in enumerate(places)}
    return replace(look, lower=tuple(own[n] for n in look.lower), upper=tuple(own[n] for n in look.upper))


def told_apart(written: Mapping[str, Written], a: System, found: Correspondence) -> None:
    """No two families look the same: W for two of them would make another formula of every one that has both.

    Raises:
        ModelError: Two do.
    """
    seen: dict[tuple[str, str, int, int], str] = {}
    for name, look in written.items():
        key = (look.letter, look.unit, len(look.lower), len(look.upper))
        if key in seen and {name, seen[key]} & found.families.keys():
            raise ModelError(
                f"in this notation {name} and {seen[key]} would both be written {look.letter}; "
                "a notation of a model with the same equations would fit"
            )
        seen.setdefault(key, name)


def gradients(other: Notation, found: Correspondence, own: Notation) -> dict[str, str]:
    """The families whose gradient has a letter of its own."""
    back = {y: x for x, y in found.families.items()}
    kept = {n: letter for n, letter in own.gradients.items() if n not in found.families}
    return kept | {back[n]: letter for n, letter in other.gradients.items() if n in back}


def function_latex(name: str, notation: Notation) -> str:
    return notation.names.get(name) or notation.letters.get(name) or latex_name(name)


def names(other: Notation, found: Correspondence, own: Notation) -> dict[str, str]:
    """How index letters and sizes are written: a renaming of all letters, so that no two become one.

    A derivation takes fresh letters as it goes. Where j is written s, s is therefore written j, or by the next letter
    along: what is different stays different.
    """
    wanted: dict[str, str] = {}
    unclear: set[str] = set()
    functions = found.functions.keys() | found.functions.values()
    # A letter with a prime is written as its stem is.
    stems = {x.rstrip("'"): y.rstrip("'") for x, y in found.letters.items()}
    for x, y in (*found.sizes.items(), *stems.items()):
        if wanted.setdefault(x, y) != y or {x, y} & functions:
            unclear.add(x)
    wanted = {x: y for x, y in wanted.items() if x not in unclear}
    taken: set[str] = set()
    kept: dict[str, str] = {}
    for x, y in wanted.items():
        if y not in taken:
            kept[x] = y
            taken.add(y)
    reserve(kept, found, other)
    closed = permutation(kept)
    out = {n: latex for n, latex in own.names.items() if n not in found.functions}
    for x, y in closed.items():
        latex = other.names.get(y, latex_name(y)) if x in kept else own.names.get(y, latex_name(y))
        if x != y or latex != latex_name(x):
            out[x] = latex
    return out


FRESH = "prstuvm"
"""The letters that a derivation takes for summed indices as it goes: those of `symbackprop.indices.fresh`."""

INDICES = "prstuvmknlhijabcdefgqwyz"


def reserve(kept: dict[str, str], found: Correspondence, other: Notation) -> None:
    """Letters for the summed indices that a derivation adds, where the other author has those for something else.

    In the order in which they are taken, so that the first is p where p is free: not the letter that happens to be left.
    """
    if not any(x in kept.values() and x not in kept for x in FRESH):
        return
    mine = {i for f in found.a.families.values() for i in f.indices} | found.a.constants
    taken = set(kept.values()) | mine | found.b.families.keys() | found.b.constants
    taken |= {other.names.get(y, y) for y in found.functions.values()}
    for x in FRESH:
        if x not in kept and x not in mine:
            y = next((c for c in INDICES if c not in taken), None)
            if y is None:
                return
            kept[x] = y
            taken.add(y)


def permutation(pairs: Mapping[str, str]) -> dict[str, str]:
    """Pairs of names, completed so that every name that is taken goes somewhere: the end of each chain to its start.

    >>> permutation({"j": "s", "k": "j"})
    {'j': 's', 'k': 'j', 's': 'k'}
    """
    out = dict(pairs)
    back = {y: x for x, y in pairs.items()}
    for end in pairs.values():
        if end not in pairs:
            start = back[end]
            while start in back:
                start = back[start]
            out[end] = start
    return out


@dataclass(frozen=True)
class Line:
    """One symbol in two notations.

    Args:
        here, there: As this model's author and as the other writes it.
        meaning: What it is, in words, as far as one of the models says so.
    """

    here: str
    there: str
    meaning: str


def table(
    found: Correspondence, own: Notation, other: Notation, printer: type[Latex] | type[Printer] = Latex
) -> tuple[Line, ...]:
    """What is called what, for each family of this model that corresponds, its generic functions and its sizes."""
    here, there = printer(found.a, own), printer(found.b, other)
    out: list[Line] = []
    for x, y in found.families.items():
        f, g = found.a.families[x], found.b.families[y]
        meaning = f.meaning or g.meaning
        pieces = worded(meaning)
        printed = here if f.meaning else there
        words = "".join(printed(p) if isinstance(p, Expr) else str(p) for p in pieces)
        out.append(Line(here(f.pattern), there(g.pattern), words or KINDS[f.kind]))
    for x, y in found.functions.items():
        out.append(Line(here.letter(function_latex(x, own)), there.letter(function_latex(y, other)), "function"))
    for x, y in found.sizes.items():
        out.append(Line(here.glyph(x), there.glyph(y), "size"))
    return tuple(out)


KINDS = {
    "parameter": "parameter",
    "input": "data",
    "target": "target",
    "derived": "computed",
    "cost": "cost",
}
