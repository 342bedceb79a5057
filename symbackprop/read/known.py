r"""What the symbols of a network that is known are: the lexicon for goals and for formulas about a model.

A model file tells what its letters are by how it uses them (`scan`); here the network and its notation tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from symbackprop.errors import ReadError, nearest
from symbackprop.network import System
from symbackprop.notation import Notation, Written
from symbackprop.read.latex import parse_expression
from symbackprop.read.names import known_function, spelled
from symbackprop.read.scan import TRANSPOSES, Reading, Sighting, index_parts, own_letters, superscripts, unit_of
from symbackprop.read.syntax import Node, Number, Scripted, Symbol
from symbackprop.read.vocabulary import GREEK
from symbackprop.symbols import ZERO, Binder, Call, Compare, Position, Ref, Where, walk

ACCENTS = ("hat", "tilde", "bar", "dot", "ddot", "check", "breve", "vec")


@dataclass(frozen=True)
class Look:
    """How a family is written, as its symbol is read.

    Args:
        key: Its letter, spelled.
        lower, upper: The places of its indices, as `Written` has them, axes of a single node left out.
    """

    name: str
    key: str
    sub_unit: str
    sup_unit: str
    lower: tuple[int, ...]
    upper: tuple[int, ...]


def default_latex(name: str) -> str:
    """A name as LaTeX where nobody said how it is written."""
    if name in GREEK or name == "ell":
        return "\\" + name
    stem, _, accent = name.rpartition("_")
    if stem and accent in ACCENTS:
        return rf"\{accent}{{{default_latex(stem)}}}"
    return name


def split_letter(latex: str) -> tuple[str, str]:
    """The spelled letter of LaTeX such as E_{total}, and what stands below it."""
    node = node_of(latex)
    primes, sub = 0, ""
    if isinstance(node, Scripted):
        primes = node.primes
        sub = "".join(unit_of(p) or "" for p in node.sub.pieces) if node.sub else ""
        node = node.base
    if not isinstance(node, Symbol):
        return latex, ""
    return spelled(node) + "_prime" * primes, sub


@lru_cache(maxsize=2048)
def node_of(latex: str) -> Node | None:
    head, sign, sub = latex.partition("_")
    if sign and len(sub) > 1 and sub[0] not in "{\\":
        latex = f"{head}_{{{sub}}}"
    try:
        return parse_expression(latex)
    except ReadError:
        return None


def unit_name(unit: str) -> str:
    """What stands above besides indices, as it is read: (1) is 1."""
    node = node_of(f"x^{{{unit}}}")
    if isinstance(node, Scripted) and node.sup is not None:
        return ",".join(unit_of(n) or "" for n, _ in superscripts(node.sup))
    return unit


@dataclass
class Lexicon:
    """The symbols of one network in one notation; stands in for `scan.Letters`.

    Args:
        looks: By spelled letter, those with more in their names first.
        functions: By spelled letter, the functions that the equations apply.
        gradients: Letters that stand for the gradient by a family.
        aliases: Letters that the model leaves free, for the array of a family or back: W for the array of w_{jk}.
    """

    system: System
    notation: Notation
    looks: dict[str, list[Look]] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    gradients: dict[str, str] = field(default_factory=dict)
    layered: dict[str, bool] = field(default_factory=dict)
    arity: dict[str, int] = field(default_factory=dict)
    arrays: frozenset[str] = frozenset()
    aliases: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.system.families:
            look = self.look(name)
            self.looks.setdefault(look.key, []).append(look)
            self.arity[name] = len(look.lower)
        for found in self.looks.values():
            found.sort(key=lambda x: (not x.sup_unit, not x.sub_unit, -len(x.lower)))
        calls = {p for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Call)}
        for c in calls:
            self.layered[c.function] = self.layered.get(c.function, False) or c.at is not None
            for key in self.function_keys(c.function):
                self.functions.setdefault(key, c.function)
        for named, letter in self.notation.gradients.items():
            if (family := self.family_called(named)) is not None:
                self.gradients[split_letter(letter)[0]] = family
        if "delta" not in self.looks and "delta" not in self.gradients and (z := self.preactivation()) is not None:
            self.gradients["delta"] = z
        self.aliases = self.other_case()

    def family_called(self, name: str) -> str | None:
        """A family by its name, or one of those that a letter alone stands for: net for net_h and net_o."""
        if name in self.system.families:
            return name
        return next((x.name for x in self.looks.get(name, ())), None)

    def preactivation(self) -> str | None:
        """The quantity that functions are applied to and delta is the gradient by: z, or the only one of its letter."""
        inner = {
            e.rhs.arguments[0].family
            for e in self.system.equations
            if isinstance(e.rhs, Call) and e.lhs.family != self.system.cost and isinstance(e.rhs.arguments[0], Ref)
        }
        if "z" in self.system.families and (not inner or "z" in inner):
            return "z"
        keys = {self.look(name).key for name in inner}
        if len(keys) == 1:
            return min(inner)
        return "z" if "z" in self.system.families else None

    def by_letters(self, key: str) -> list[Look]:
        """The quantities of one letter that only the letters of their indices tell apart."""
        found = self.looks.get(key, [])
        alike = [
            x for x in found if (x.sub_unit, x.sup_unit, x.upper, len(x.lower)) == ("", "", (), len(found[0].lower))
        ]
        return alike if len(alike) > 1 and len(alike) == len(found) and found[0].lower else []

    @cached_property
    def layers_named(self) -> frozenset[str]:
        """The letters that name layers; none where no two quantities are told apart by letters."""
        if not any(self.by_letters(key) for key in self.looks):
            return frozenset()
        return frozenset(x for f in self.system.families.values() for x in f.indices)

    def letters_of(self, look: Look) -> tuple[str, ...]:
        f = self.system.family(look.name)
        return tuple(f.indices[n] for n in look.lower)

    @cached_property
    def left_out(self) -> dict[str, Compare]:
        r"""Letters that the model binds for all but a label, \sum_{j \ne y_i}: a free j is any but that one, too."""
        binders = [p for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Binder)]
        out: dict[str, Compare] = {}
        for b in binders:
            match b.body:
                case Where(Compare("!=", Ref(), Position(at)) as condition, _, other) if other == ZERO:
                    if at.name == b.index:
                        out[b.index] = condition
        elsewhere = {x for f in self.system.families.values() if f.kind == "derived" for x in f.indices}
        elsewhere |= {b.index for b in binders if not isinstance(b.body, Where) or b.body.condition != out.get(b.index)}
        return {x: c for x, c in out.items() if x not in elsewhere}

    def stands_for(self, letter: str, found: Sequence[Sighting]) -> str | None:
        """The layer that a letter counts where letters name layers, as no other fits: the m of sum_m w_{mj} delta_m."""
        fits = [k for k in sorted(self.layers_named) if all(self.fits(s, letter, k) for s in found)]
        return fits[0] if len(fits) == 1 else None

    def fits(self, s: Sighting, letter: str, other: str) -> bool:
        """Whether a symbol is a quantity of the network with one of its letters in the place of another."""
        written = own_letters(index_parts(s.sub)) if s.sub is not None else None
        if written is None or letter not in written:
            return True
        key = self.look(self.gradients[s.key]).key if s.key in self.gradients else self.aliases.get(s.key, s.key)
        meant = tuple(other if x == letter else x for x in written)
        return any(
            len(own) == len(meant)
            and all(a == b or b not in self.layers_named for a, b in zip(own, meant, strict=True))
            for own in map(self.letters_of, self.looks.get(key, ()))
        )

    def misnamed(self, s: Sighting, lower: list[Node]) -> tuple[str, bool] | None:
        """What is wrong with index letters where these name layers, and whether all of them do; None where nothing is."""
        known = self.layers_named
        looks = [x for x in self.looks.get(s.key, ()) if x.lower]
        written = own_letters(lower)
        if not known or not looks or (written is None and not self.by_letters(s.key)):
            return None
        if written is not None and any(self.letters_of(x) == written for x in looks):
            return None
        entries = [f"{s.key}_{{{''.join(self.letters_of(x))}}}" for x in looks]
        if written is None or not set(written) <= known:
            return f"the letters of an index say here which layer it counts; expected {' or '.join(entries)}", False
        near = next((x for x in looks if sorted(self.letters_of(x)) == sorted(written)), None)
        letters = self.letters_of(near) if near else ()
        hint = (
            f"; {s.key}_{{{''.join(letters)}}} has them in the other order"
            if near
            else f"; known: {', '.join(entries)}"
        )
        return f"{s.key} has no entry {''.join(written)}{hint}", True

    def other_case(self) -> dict[str, str]:
        """Capitals for small letters and back, where the model means nothing else by them."""
        binders = {p.index for e in self.system.equations for _, p in walk(e.rhs) if isinstance(p, Binder)}
        letters = binders.union(*(f.indices for f in self.system.families.values()))
        stems = {a.label for f in self.system.families.values() for a in f.axes}
        taken = {*self.looks, *self.functions, *self.gradients, *letters, *stems, *self.system.constants}
        arrays = (k for k, found in self.looks.items() if any(x.lower for x in found))
        return {other: k for k in arrays if (other := swapped(k)) not in taken}

    # ------------------------------------------------------------ families

    def written(self, name: str) -> Written | None:
        look = self.notation.written.get(name)
        if look is None:
            output = next((o for o, bar in self.system.upstream.items() if bar == name), None)
            look = self.notation.written.get(output) if output is not None else None
        return look

    def latex(self, name: str) -> str:
        """As `render.scripts.Scripts.family_latex` prints it."""
        if name in self.notation.written:
            return self.notation.written[name].letter
        for output, bar in self.system.upstream.items():
            if bar == name:
                return rf"\bar{{{self.latex(output)}}}"
        if self.system.mean is None and name in ("C", "C_0", "C_i"):
            return self.notation.names.get(name, name)
        return self.notation.letters.get(name) or self.notation.names.get(name) or default_latex(name)

    def look(self, name: str) -> Look:
        family = self.system.family(name)
        written = self.written(name)
        if self.system.mean is not None and name == self.system.mean[1]:
            # The cost of sample i: its letter may be that of the cost of one sample, C_0.
            return Look(name, split_letter(self.latex(name).partition("_")[0])[0], "", "", (0,), ())
        key, sub = split_letter(self.latex(name))
        if name in self.system.upstream.values() and not key.endswith("_bar"):
            key = name
        recursion = tuple(n for n, a in enumerate(family.axes) if a.kind == "recursion")
        upper = written.upper if written else recursion
        lower = written.lower if written else tuple(n for n in range(len(family.axes)) if n not in recursion)
        lower = tuple(n for n in lower if self.system.size(family.axes[n]) != 1)
        unit = unit_name(written.unit) if written and written.unit else ""
        return Look(name, key, sub, unit, lower, upper)

    def chosen(self, s: Sighting) -> tuple[Look, list[Node], list[tuple[Node, str]]] | None:
        """The family that a symbol with its scripts is, with its indices below and what is left above."""
        above = superscripts(s.sup)
        below = index_parts(s.sub) if s.sub else []
        best: tuple[Look, list[Node], list[tuple[Node, str]]] | None = None
        for look in self.looks.get(s.key, ()):
            rest, lower = list(above), list(below)
            if look.sup_unit:
                names = look.sup_unit.split(",")
                at = [n for n, (node, _) in enumerate(rest) if unit_of(node) in names]
                if len(at) != len(names):
                    continue
                rest = [x for n, x in enumerate(rest) if n not in at]
            if look.sub_unit:
                taken = without_unit(lower, look.sub_unit)
                if taken is None and look.sub_unit not in self.notation.labels:
                    continue
                lower = lower if taken is None else taken
            if len(expanded(lower, len(look.lower))) > len(look.lower):
                best = best or (look, lower, rest)
                continue
            full = len(expanded(lower, len(look.lower))) == len(look.lower)
            if full and self.layers_named and own_letters(lower) != self.letters_of(look):
                best = best or (look, lower, rest)
                continue
            if best is None or len(best[1]) > len(best[0].lower) or full:
                best = (look, lower, rest)
                # h_{0j} is h at time 0, and h_0 alone its base case.
                if full and not (look.sub_unit.isdigit() and lower and isinstance(below[0], Number)):
                    break
        return best

    def reading(self, s: Sighting) -> Reading:
        found = self.chosen(s)
        if found is None:
            return Reading(
                s.key, lower=tuple(index_parts(s.sub)) if s.sub else (), powers=tuple(n for n, _ in superscripts(s.sup))
            )
        look, lower, rest = found
        upper = [n for n, _ in rest[: len(look.upper)]]
        powers = [n for n, _ in rest[len(look.upper) :]]
        if (
            upper
            and not look.lower
            and not lower
            and isinstance(upper[0], Symbol)
            and upper[0].name in ("top", "intercal")
        ):
            upper, powers = [], [n for n, _ in rest]
        transposed = any(isinstance(p, Symbol) and p.name in TRANSPOSES and p.name != "T" for p in powers)
        kept = [p for p in powers if not (isinstance(p, Symbol) and p.name in TRANSPOSES and p.name != "T")]
        return Reading(look.name, "", "", tuple(upper), tuple(lower), tuple(kept), transposed)

    # ------------------------------------------------------------ functions

    def function_keys(self, name: str) -> list[str]:
        """How a function of the equations is spelled."""
        f = self.system.function(name)
        written = self.notation.names.get(name) or self.notation.letters.get(name)
        out = [split_letter(written)[0]] if written else []
        if f is not None:
            out.append(split_letter(f.latex)[0])
        elif written is None:
            out.append(split_letter(default_latex(name))[0])
        return [k.strip("\\") for k in out if k]

    def function(self, s: Sighting, base: Symbol) -> str | None:
        """The function that a symbol before brackets is."""
        if s.key in self.functions:
            return self.functions[s.key]
        if self.is_diagonal(s):
            return self.functions[swapped(s.key)]
        if len(base.name) > 1 and base.name not in GREEK and (known := known_function(base.name)):
            return known
        cost = self.looks.get(s.key)
        generic = next((f for f in self.layered if self.system.function(f) is None and f not in self.functions), None)
        if cost and any(x.name == self.system.cost for x in cost):
            for e in self.system.equations:
                if e.lhs.family == self.system.cost and isinstance(e.rhs, Call):
                    return e.rhs.function
        return generic if generic == s.key else None

    def is_diagonal(self, s: Sighting) -> bool:
        r"""Whether a capital is the diagonal matrix of a function's slopes: \Sigma'(z) for sigma'(z_j)."""
        capital = s.key[:1].isupper() and s.key not in self.looks and s.key not in self.functions
        return capital and bool(s.primes) and swapped(s.key) in self.functions


@dataclass(frozen=True, eq=False)
class Same:
    """One network in one notation, the very values."""

    system: System
    notation: Notation

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.system is other.system and self.notation is other.notation

    def __hash__(self) -> int:
        return hash((id(self.system), id(self.notation)))


def lexicon_of(system: System, notation: Notation) -> Lexicon:
    """The lexicon of a network; the lines of a text share one."""
    return _lexicon(Same(system, notation))


@lru_cache(maxsize=16)
def _lexicon(key: Same) -> Lexicon:
    return Lexicon(key.system, key.notation)


def swapped(key: str) -> str:
    """A letter in the other case, accents kept: W for w, Theta for theta."""
    return key[:1].swapcase() + key[1:]


def expanded(lower: list[Node], count: int) -> list[Node]:
    """Indices below, a number of several digits taken apart where that many indices are wanted."""
    if len(lower) >= count:
        return lower
    out: list[Node] = []
    for p in lower:
        out += [p] * (len(p.text) if isinstance(p, Number) and p.text.isdigit() else 1)
    return out


def without_unit(lower: list[Node], unit: str) -> list[Node] | None:
    """What stands below without the part that belongs to the name; None where it is not there."""
    taken = ""
    for n, p in enumerate(lower):
        word = unit_of(p)
        if word is None and isinstance(p, Scripted) and p.sub is not None and taken + (unit_of(p.base) or "") == unit:
            return [*index_parts(p.sub), *lower[n + 1 :]]  # C_{0_j}, W_{hx_{jk}}
        if word is None:
            return None
        taken += word
        if taken == unit:
            return lower[n + 1 :]
        if not unit.startswith(taken):
            return None
    return None


def undefined(s: Sighting, lexicon: Lexicon, text: str) -> str:
    """What to say of a symbol that is none of the network's."""
    known = [*lexicon.system.families, *dict.fromkeys(lexicon.functions.values())]
    return f"{text} is no symbol of this network{nearest(s.key, known)}"
