"""Names that an author gives in a hand-in: e_j := a_j - y_j. They are read as what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from symbackprop.errors import ReadError
from symbackprop.network import System
from symbackprop.notation import Notation, Written
from symbackprop.read.expression import LAST, read_claim
from symbackprop.read.handin import Renaming
from symbackprop.read.known import Lexicon
from symbackprop.read.latex import parse_expression
from symbackprop.read.lexer import Source
from symbackprop.read.names import latex_letter, letter_of, spelled
from symbackprop.read.syntax import Group, Node, Row, Script, Scripted, Symbol
from symbackprop.render.scripts import latex_name
from symbackprop.symbols import D, Expr, Family, Partial, Ref, Vec, names, substitute, transform


class ByOwnName(ReadError):
    """A derivative by a quantity that the author has named: what is held is not said."""


@dataclass(frozen=True)
class Named:
    """One name: its letter, the letters of its indices, and what it stands for."""

    name: str
    indices: tuple[str, ...]
    value: Expr


@dataclass(frozen=True)
class OwnNames:
    """A network as a hand-in speaks of it, its own names among the symbols.

    Args:
        system, notation: For reading only; what is read is expanded to the network's own quantities.
    """

    system: System
    notation: Notation
    named: tuple[Named, ...] = ()

    def defining(self, row: Row, source: Source) -> OwnNames | None:
        """With the name that a row gives; None where its left side is a symbol of the network already.

        Raises:
            ReadError: What the name is to stand for is not understood.
        """
        if row.left is None or len(row.relations) != 1:
            return None
        base = row.left.base if isinstance(row.left, Scripted) else row.left
        if not isinstance(base, Symbol):
            return None
        name = spelled(base)
        lexicon = Lexicon(self.system, self.notation)
        indices = {x for f in self.system.families.values() for x in f.indices}
        sizes = self.system.constants | {a.label for f in self.system.families.values() for a in f.axes} | {LAST}
        if name in {*lexicon.looks, *lexicon.functions, *lexicon.gradients, *indices, *sizes}:
            return None
        lower, upper, bracket = scripts(row.left)
        if lower is None or upper is None:
            raise source.error("expected letters as the indices of a new name", row.left.place)
        line = read_claim(replace(row, left=None, conditions=()), source, self.system, self.notation)
        (value,) = line.sides
        letters = (*upper, *lower)
        loose = (names(value) | line.free.keys()) - {*letters} - self.system.constants
        if loose or isinstance(value, Vec) or len(set(letters)) != len(letters) or not set(letters) <= line.free.keys():
            raise source.error(
                f"{source.text[row.left.place.start : row.left.place.end]} and what it stands for have different indices",
                row.left.place,
            )
        family = Family(name, letters, tuple(line.free[x] for x in letters), "derived", "a name of the author's own")
        written = Written(
            latex_letter(base), tuple(range(len(upper), len(letters))), tuple(range(len(upper))), brackets=bracket
        )
        system = replace(
            self.system,
            families={**self.system.families, name: family},
            spec=f"{self.system.spec} {name} {letters}" if self.system.spec else "",
        )
        notation = replace(self.notation, written={**self.notation.written, name: written})
        return OwnNames(system, notation, (*self.named, Named(name, letters, self.expanded(value))))

    def expanded(self, e: Expr) -> Expr:
        """An expression with every own name replaced by what it stands for.

        Raises:
            ByOwnName: Something is differentiated by one.
        """
        if not self.named:
            return e
        values = {n.name: n for n in self.named}

        def value(r: Ref) -> Expr:
            n = values[r.family]
            return substitute(n.value, dict(zip(n.indices, r.indices, strict=True)))

        def replaced(x: Expr) -> Expr:
            match x:
                case Ref(family) if family in values:
                    return value(x)
                case Partial(top, bottom):
                    below = bottom.body if isinstance(bottom, Vec) else bottom
                    if isinstance(below, Ref) and below.family in values:
                        raise ByOwnName(
                            f"a derivative by {below.family}, a name of your own; give it by a quantity of the model"
                        )
                    if top.family in values and isinstance(bottom, Ref):
                        return D(value(top), bottom, total=True)
            return x

        return transform(e, replaced)


def respelled(system: System, notation: Notation, renamings: Sequence[Renaming]) -> Notation:
    """The notation of an author who calls symbols by other names, as far as these are letters of their own."""
    lexicon = Lexicon(system, notation)
    written, letters = dict(notation.written), dict(notation.letters)
    functions = {f: latex_of_function(f, notation) for f in dict.fromkeys(lexicon.functions.values())}
    for r in renamings:
        old = plain(r.old)
        family = next((n for n in system.families if plain(lexicon.latex(n)) == old), None)
        function = next((f for f, latex in functions.items() if plain(latex) == old), None)
        if family is not None and family in written:
            written[family] = replace(written[family], letter=r.new)
        elif family is not None:
            letters[family] = r.new
        elif function is not None:
            letters[function] = r.new
    return replace(notation, written=written, letters=letters)


def known_symbol(system: System, notation: Notation, text: str) -> bool:
    """Whether a text is a symbol of the network: a quantity, a function, the letter of a gradient, an index or a size."""
    lexicon = Lexicon(system, notation)
    node = parse_expression(text)
    base = node.base if isinstance(node, Scripted) else node
    if not isinstance(base, Symbol):
        return False
    name = spelled(base)
    indices = {x for f in system.families.values() for x in f.indices}
    known = {*lexicon.looks, *lexicon.functions, *lexicon.gradients, *lexicon.aliases, *system.constants, *indices}
    return name in known or any(plain(lexicon.latex(n)) == plain(text) for n in system.families)


def latex_of_function(name: str, notation: Notation) -> str:
    return notation.letters.get(name) or latex_name(name)


def plain(latex: str) -> str:
    """LaTeX of a symbol without braces and gaps, to compare it by."""
    return "".join(x for x in latex if x not in "{} ")


def scripts(node: Node) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, str]:
    """The letters below and above a symbol, and the brackets above; None where they are no letters."""
    if not isinstance(node, Scripted):
        return (), (), "()"
    bracket = ""
    upper: tuple[Node, ...] = ()
    for p in node.sup.pieces if node.sup is not None else ():
        if isinstance(p, Group):
            bracket = "[]" if p.kind == "square" else "()"
            upper += (p.body,)
        else:
            upper += (p,)
    if node.primes:
        return None, None, bracket
    return of_letters(node.sub), letters(upper), bracket


def of_letters(s: Script | None) -> tuple[str, ...] | None:
    return letters(s.pieces) if s is not None else ()


def letters(nodes: tuple[Node, ...]) -> tuple[str, ...] | None:
    found = [letter_of(n) for n in nodes]
    return tuple(x for x in found if x is not None) if None not in found else None


__all__ = ["ByOwnName", "Named", "OwnNames", "known_symbol", "respelled"]
