r"""A first look at a model file: which letters are indices, which scripts are part of a name.

Nothing is decided from one place alone: `W^{(i)}` is a matrix with a name where i counts nothing in its equation,
`x^{(i)}` a sample where a sum runs over i, and `a^{(1)}` a layer where `a^{(l-1)}` stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from symbackprop.read.declare import Declarations
from symbackprop.read.lexer import Source
from symbackprop.read.names import letter_of, spelled
from symbackprop.read.syntax import (
    Application,
    BigOperator,
    Chain,
    Group,
    Indicator,
    Listing,
    Negative,
    Node,
    Number,
    Place,
    Product,
    Script,
    Scripted,
    Sum,
    Symbol,
    Text,
    children,
    items,
    pieces,
)

MAX_SYMBOLS = 5_000
"""Symbols in a model; the largest of the library has 150."""

ROUND = ("round", "square", "angle")
TRANSPOSES = ("T", "top", "intercal", "dagger")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A symbol with its scripts where it stands.

    Args:
        key: Its spelled name, scripts apart.
        letters: The index letters that are bound around it, or free on the left of its equation.
        applied: A bracket follows at once.
        left: It is the left side of an equation.
    """

    key: str
    bold: bool
    sub: Script | None
    sup: Script | None
    letters: frozenset[str]
    applied: bool
    left: bool
    place: Place
    primes: int = 0
    raised: bool = False
    """A bracket with a power follows, which may be its argument or a factor: f(a - b)^2, \\lambda (a - b)^2."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the scripts of a symbol are.

    Args:
        unit: What belongs to its name: `Q` of W^{Q}, `total` of E_{total}, with where it stands.
        upper, lower: The index expressions above and below, in the order written.
        powers: What is left above: exponents, in order.
    """

    name: str
    sub_unit: str = ""
    sup_unit: str = ""
    upper: tuple[Node, ...] = ()
    lower: tuple[Node, ...] = ()
    powers: tuple[Node, ...] = ()
    transposed: bool = False
    brackets: str = ""


def sightings(node: Node, bound: frozenset[str], left: bool = False, applied: bool = False) -> Iterator[Sighting]:
    """Every symbol of a formula that is no index letter."""
    match node:
        case Symbol(font="operator") | Symbol(name="1") | Scripted(base=Symbol(name="1")):
            pass
        case Symbol():
            yield Sighting(spelled(node), node.font == "bold", None, None, bound, applied, left, node.place)
        case Scripted(base=Symbol() as base) if base.font != "operator":
            key = spelled(base) if applied else primed(base, node.primes)
            bold = base.font == "bold"
            yield Sighting(key, bold, node.sub, node.sup, bound, applied, left, node.place, node.primes)
            for item in node.sub.pieces if node.sub else ():
                if isinstance(item, Scripted) and item.sub is not None:
                    yield from sightings(item, bound)
            if node.sup is not None and base.name == "e" and node.sub is None:
                for item in node.sup.items:
                    yield from sightings(item, bound)
        case Scripted(base=Symbol()):
            pass
        case Scripted(base=base):
            yield from sightings(base, bound)
            for script in (node.sub, node.sup):
                for item in script.items if script and not isinstance(base, Application) else ():
                    yield from sightings(item, bound)
        case Product(factors=factors, operators=operators):
            for n, f in enumerate(factors):
                follows = n + 1 < len(factors) and not operators[n] and isinstance(factors[n + 1], Group)
                follows = follows and factors[n + 1].kind in ("round", "square")  # type: ignore[union-attr]
                after = factors[n + 1] if n + 1 < len(factors) and not operators[n] else None
                power = after is not None and raised_brackets(after) is not None
                applied_here = follows or (power and after is not None and argues(f, after))
                for s in sightings(f, bound, applied=applied_here):
                    own = power and isinstance(f, Symbol | Scripted) and s.place == f.place
                    yield replace(s, raised=True) if own and not s.applied else s
        case BigOperator(sub=sub, body=body):
            inner = bound | frozenset(bound_letters(sub, body, bound))
            for item in sub.items if sub else ():
                yield from datum_sightings(item, bound)
            yield from sightings(body, inner)
        case Application(argument=argument):
            yield from sightings(argument, bound)
        case Indicator(condition=condition):
            yield from sightings(condition, bound)
        case _:
            for child in children(node):
                yield from sightings(child, bound)


FUNCTION_LETTERS = ("f", "g", "phi", "varphi", "psi", "Phi", "Psi")
"""Letters that before brackets name functions more often than factors."""


def is_quantity(node: Node) -> bool:
    """One symbol, with what scripts it has."""
    return isinstance(node, Symbol) or (isinstance(node, Scripted) and isinstance(node.base, Symbol))


def raised_brackets(node: Node) -> Group | None:
    """The brackets that a power stands behind: the (x) of (x)^2."""
    group = node.base if isinstance(node, Scripted) and node.sub is None and not node.primes else None
    return group if isinstance(group, Group) and group.kind in ("round", "square") else None


def argues(f: Node, after: Node) -> bool:
    """Whether brackets with a power are an argument: f(x)^2 is, \\lambda (a - b)^2 is a product."""
    group = raised_brackets(after)
    base = f.base if isinstance(f, Scripted) else f
    if group is None or not isinstance(base, Symbol):
        return False
    return is_quantity(group.body) or base.name in (*FUNCTION_LETTERS, "sigma")


def word_below(node: Node) -> str | None:
    r"""The word that stands below a size: the in of C_{in} and C_{\mathrm{in}}; None for a single letter."""
    if isinstance(node, Symbol) and node.name.isalpha() and letter_of(node) is None:
        return node.name
    if isinstance(node, Text):
        return node.text.strip() if node.text.strip().isalpha() else None
    letters = [letter_of(p) or "" for p in pieces(node)]
    return "".join(letters) if len(letters) > 1 and all(len(x) == 1 for x in letters) else None


def size_words(node: Node) -> Iterator[str]:
    """Names of sizes with a word below that end sums: C_in for C_{in}."""
    if isinstance(node, BigOperator):
        for item in (*items(node.sub), *items(node.sup)):
            yield from named_by_words(item)
    for child in children(node):
        yield from size_words(child)


def named_by_words(node: Node) -> Iterator[str]:
    if isinstance(node, Scripted) and node.sub is not None and len(node.sub.items) == 1:
        word, stem = word_below(node.sub.items[0]), letter_of(node.base)
        if word is not None and stem is not None:
            yield f"{stem}_{word}"
    for child in children(node):
        yield from named_by_words(child)


def primed(base: Symbol, primes: int) -> str:
    """The name of a symbol with primes that is no function: x' is x_prime."""
    return spelled(base) + "_prime" * primes


def datum_sightings(node: Node, bound: frozenset[str]) -> Iterator[Sighting]:
    r"""Quantities in the limits of a sum: the y_i of \sum_{j \ne y_i}."""
    if isinstance(node, Scripted) and node.sub is not None:
        yield from sightings(node, bound)
    elif isinstance(node, Chain):
        for child in children(node):
            yield from datum_sightings(child, bound)


def bound_letters(sub: Script | None, body: Node | None = None, outer: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The letters that the limits of a sum introduce, in order; `outer` are bound around it."""
    out: list[str] = []
    for item in sub.items if sub else ():
        for part in pieces(item) if not isinstance(item, Chain) else (item,):
            letter = letter_of(part) if not isinstance(part, Chain) else chain_letter(part, out)
            if letter is not None and letter not in out:
                out.append(letter)
            if isinstance(part, Chain) and letter is not None:
                second = second_letter(part, body, {*out, *outer})
                out += [] if second is None else [second]
    return tuple(out)


def second_letter(chain: Chain, body: Node | None, known: AbstractSet[str]) -> str | None:
    """The other letter that a pair of indices introduces: the j of i < j or of 1 <= i < j <= N, an index in the sum."""
    sides = [chain.first, *(r.right for r in chain.relations)]
    if len(sides) not in (2, 4) or body is None or chain.relations[0].sign == "=":
        return None
    node = sides[1] if len(sides) == 2 else sides[2]
    letter = letter_of(node) if node is not None else None
    return letter if letter is not None and letter not in known and letter in index_letters_of(body) else None


def index_letters_of(node: Node) -> Iterator[str]:
    """Every letter that stands below a symbol in a formula, alone or in an index expression."""
    if isinstance(node, Scripted) and node.sub is not None:
        for p in node.sub.pieces:
            yield from affine_letters(p)
    for child in children(node):
        yield from index_letters_of(child)


def chain_letter(chain: Chain, known: Sequence[str] = ()) -> str | None:
    """The letter that a range such as i=1, j <= i or 0 <= k < r is about; None for a condition on known ones."""
    sides = [chain.first, *(r.right for r in chain.relations)]
    candidates = sides[:1] if len(sides) == 2 else sides[1:2]
    letter = letter_of(candidates[0]) if candidates[0] is not None else None
    return None if letter in known else letter


def affine_letters(node: Node) -> frozenset[str]:
    """The letters of an index expression."""
    letter = letter_of(node)
    if letter is not None:
        return frozenset({letter})
    if isinstance(node, Sum | Negative | Product | Group):
        return frozenset().union(*map(affine_letters, children(node)))
    return frozenset()


def is_affine(node: Node) -> bool:
    """Whether a node is made of letters, whole numbers, plus, minus and products."""
    if isinstance(node, Sum | Negative):
        return all(map(is_affine, children(node)))
    if isinstance(node, Product):
        return all(op in ("", r"\cdot", "*") for op in node.operators) and all(map(is_affine, node.factors))
    if isinstance(node, Group):
        return node.kind in ROUND and is_affine(node.body)
    return (isinstance(node, Number) and node.text.isdigit()) or letter_of(node) is not None


def shifted(node: Node) -> str | None:
    """The letter of l - 1 or t + 1: a letter plus or minus a number."""
    if isinstance(node, Group):
        return shifted(node.body) if node.kind in ROUND else None
    if isinstance(node, Sum) and len(node.terms) == 2:
        letter = letter_of(node.terms[0].body)
        if letter is not None and isinstance(node.terms[1].body, Number):
            return letter
    return None


def superscripts(sup: Script | None) -> list[tuple[Node, str]]:
    """What stands above, part by part: its content and the brackets around it."""
    out: list[tuple[Node, str]] = []
    for item in sup.items if sup else ():
        for p in pieces(item):
            if isinstance(p, Group) and p.kind in ROUND:
                inside = p.body.items if isinstance(p.body, Listing) else (p.body,)
                out += [(i, p.open) for i in inside]
            else:
                out.append((p, ""))
    return out


@dataclass
class Letters:
    """What a file as a whole says of its letters.

    Args:
        above: Letters that are indices wherever they stand above a symbol.
        layered: Symbols that carry an index above.
        numbered: Symbols whose subscripts are numbers only: names such as C_0.
        arity: For each name, how many indices stand below it.
        double: Symbols that name two quantities, C and C_i, each with an equation; and the indices of the second.
        arrays: Symbols in bold.
        functions: Symbols that are only ever applied to brackets.
        layers_named: Letters name layers: a_k and a_j are two quantities where k and j count nodes of different layers.
        by_letters: Symbols of several quantities that their index letters tell apart, with those letters.
        labels: Letters set below symbols that count nothing.
    """

    declared: Declarations
    source: Source
    all: list[Sighting]
    constants: frozenset[str]
    layers_named: bool = False
    above: frozenset[str] = frozenset()
    layered: set[str] = field(default_factory=set)
    numbered: set[str] = field(default_factory=set)
    arity: dict[str, int] = field(default_factory=dict)
    double: dict[str, str] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    by_letters: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.all) > MAX_SYMBOLS:
            raise self.source.error(f"too large: more than {MAX_SYMBOLS} symbols", self.all[MAX_SYMBOLS].place)
        left_above = {affine_letter(n) for s in self.all if s.left for n, _ in superscripts(s.sup)}
        shifts = {shifted(n) for s in self.all for n, _ in superscripts(s.sup)}
        self.above = frozenset(self.declared.ranges) | frozenset(n for n in left_above & shifts if n is not None)
        self.spread()
        for s in self.all:
            if s.bold:
                self.arrays.add(s.key)
        keys = {s.key for s in self.all}
        for key in keys:
            mine = [s for s in self.all if s.key == key and s.sub is not None]
            if mine and all(isinstance(p, Number) for s in mine for p in s.sub.pieces):  # type: ignore[union-attr]
                self.numbered.add(key)
        for key in keys - self.arrays - self.declared.shapes.keys():
            mine = [s for s in self.all if s.key == key and s.left and not s.applied]
            with_indices = [self.reading(s) for s in mine if s.sub is not None]
            if any(s.sub is None for s in mine) and (subs := [r for r in with_indices if r.lower and not r.sub_unit]):
                self.double[key] = "".join(sorted(set().union(*map(affine_letters, subs[0].lower))))
        if self.layers_named:
            self.name_by_letters(keys - self.arrays - self.declared.shapes.keys())
        for s in self.all:
            r = self.reading(s)
            if r.lower and not s.bold:
                if not all(isinstance(n, Number) for n in r.lower):
                    self.arity[r.name] = max(self.arity.get(r.name, 0), len(r.lower))
        for name, (axes, _) in self.declared.shapes.items():
            # Recursion letters in a shape stand above or below as they are written.
            self.arity[name] = len(axes)
        for key in keys:
            mine = [s for s in self.all if s.key == key]
            if key not in self.declared.kinds and all(
                (s.applied or s.left or s.raised) and s.sub is None for s in mine
            ):
                if key in self.declared.shapes or any(s.bold and key[:1].isupper() for s in mine):
                    continue  # A matrix before brackets is a factor.
                if any(s.applied for s in mine) and not any(s.left and not s.applied for s in mine):
                    self.functions.add(key)

    def name_by_letters(self, keys: AbstractSet[str]) -> None:
        """Find the symbols whose index letters are part of the name."""
        for key in keys:
            found = {own_letters(self.reading(s).lower) for s in self.all if s.key == key}
            whole = {x for x in found if x is not None}
            if None not in found and len(whole) > 1 and len({len(x) for x in whole}) == 1:
                self.by_letters[key] = whole

    def siblings(self, name: str) -> set[str]:
        """The quantities that only index letters tell apart from one."""
        key, _, letters = name.rpartition("_")
        found = {f"{key}_{''.join(x)}" for x in self.by_letters.get(key, ())}
        return found - {name} if f"{key}_{letters}" in found else set()

    def spread(self) -> None:
        """Symbols with an index above, until nothing changes: what a sum binds once is an index everywhere on them."""
        while True:
            before = len(self.layered)
            for s in self.all:
                for n, brackets in superscripts(s.sup):
                    letters = affine_letters(n) if is_affine(n) else frozenset()
                    if (
                        letters & self.above
                        or (brackets and letters & s.letters)
                        or (s.left and s.key in self.layered and brackets)
                    ):
                        self.layered.add(s.key)
            if len(self.layered) == before:
                return

    def reading(self, s: Sighting) -> Reading:
        """What its scripts mean."""
        sub_unit, lower = self.below(s)
        upper: list[Node] = []
        powers: list[Node] = []
        units: list[str] = []
        transposed, around = False, ""
        array = s.bold or s.key in self.declared.shapes
        for n, brackets in superscripts(s.sup):
            letters = affine_letters(n) if is_affine(n) else frozenset()
            if (
                isinstance(n, Symbol)
                and not brackets
                and n.name in TRANSPOSES
                and (n.name != "T" or self.is_transpose(s, array))
            ):
                transposed = True
            elif is_affine(n) and (
                letters & (self.above | s.letters if brackets else self.above)
                or (s.key in self.layered and (brackets or (letters <= self.constants and letters)))
            ):
                upper.append(n)
                around = {"(": "()", "[": "[]", r"\langle": "<>"}.get(brackets, around)
            elif isinstance(n, Symbol) and not n.name[:1].isalnum():
                raise self.source.error(
                    f"{s.key}^{n.name}: a sign is no name and no power; a letter such as {s.key}^A would fit", n.place
                )
            elif (unit := unit_of(n)) is not None and (brackets or is_unit(n, s.letters)):
                units.append(unit)
                around = {"(": "()", "[": "[]"}.get(brackets, around)
            elif isinstance(n, Number) and not brackets and s.left and s.key in self.layered:
                upper.append(n)
            elif isinstance(n, Number) and not brackets and s.key in self.layered and self.unbracketed(s.key):
                raise self.source.error(
                    f"{s.key}^{n.text} may be layer {n.text} or a power; write the layer in brackets, "
                    f"or the power as ({s.key}^l)^{n.text}",
                    n.place,
                )
            else:
                powers.append(n)
        second = self.double.get(s.key, "") if lower else ""
        if s.key in self.by_letters:
            second = "".join(own_letters(lower) or ())
        name = "_".join([s.key, *filter(None, (sub_unit, second, "_".join(units)))])
        return Reading(name, sub_unit, ",".join(units), tuple(upper), lower, tuple(powers), transposed, around)

    def is_transpose(self, s: Sighting, array: bool) -> bool:
        """T above an array, where it does not count layers or times."""
        return array or s.key in self.arrays or "T" not in self.constants | self.above

    def unbracketed(self, key: str) -> bool:
        """Whether the layer of a symbol stands without brackets somewhere."""
        return any(
            not brackets and affine_letters(n) & (self.above | self.constants)
            for s in self.all
            if s.key == key
            for n, brackets in superscripts(s.sup)
        )

    def below(self, s: Sighting) -> tuple[str, tuple[Node, ...]]:
        """What stands below: part of the name, and indices."""
        if s.sub is None:
            return "", ()
        parts = index_parts(s.sub)
        if s.key in self.numbered and s.key not in self.declared.shapes:
            return "".join(p.text for p in parts if isinstance(p, Number)), ()
        names: list[str] = []
        lower: list[Node] = []
        for p in parts:
            if isinstance(p, Symbol) and letter_of(p) is None:
                names.append(p.name)
            elif (
                s.bold
                and not (affine_letters(p) & (s.letters | self.declared.ranges.keys()))
                and not isinstance(p, Scripted)
            ):
                names.append(unit_of(p) or "")
            else:
                lower.append(p)
        return "".join(names), tuple(lower)


def own_letters(lower: Sequence[Node]) -> tuple[str, ...] | None:
    """The letters of indices that are letters alone, without their primes: k' counts what k counts."""
    letters = [letter_of(p) for p in lower]
    return tuple(x.rstrip("'") for x in letters if x) if letters and None not in letters else None


def index_parts(sub: Script) -> list[Node]:
    """The parts of a subscript: `jk` and `j,k` are two, `si + k` is one."""
    return [p for item in sub.items for p in pieces(item)]


def affine_letter(node: Node) -> str | None:
    return letter_of(node.body if isinstance(node, Group) else node)


def unit_of(node: Node) -> str | None:
    """What a script is called where it is part of a name."""
    if isinstance(node, Symbol):
        return spelled(node)
    if isinstance(node, Number):
        return node.text
    if isinstance(node, Product) and node.juxtaposed:
        parts = [unit_of(p) for p in node.factors]
        return None if None in parts else "".join(p for p in parts if p)
    return None


def is_unit(node: Node, letters: frozenset[str]) -> bool:
    """Whether something above without brackets names a unit: a single capital or a word, and no index."""
    return (
        isinstance(node, Symbol)
        and spelled(node) not in letters
        and (node.name[:1].isupper() or (len(node.name) > 1 and letter_of(node) is None))
    )


def size_letters(node: Node, bound: frozenset[str]) -> Iterator[str]:
    """The letters that end sums: K of a sum from 1 to K, and n for n_{l-1}."""
    if isinstance(node, BigOperator):
        own = frozenset(bound_letters(node.sub, node.body, bound))
        ends: list[Node] = list(node.sup.items) if node.sup else []
        for item in node.sub.items if node.sub else ():
            if isinstance(item, Chain):
                ends += [c for c in children(item) if letter_of(c) not in own]
        for end in ends:
            yield from affine_letters(end) - bound - own
            yield from stems(end)
        yield from size_letters(node.body, bound | own)
        return
    for child in children(node):
        yield from size_letters(child, bound)


def stems(node: Node) -> Iterator[str]:
    """The letters of sizes with a subscript, marked by an underscore behind them."""
    if isinstance(node, Scripted) and node.sub is not None and (stem := letter_of(node.base)) is not None:
        yield stem + "_"
    elif isinstance(node, Sum | Negative | Product | Group):
        for child in children(node):
            yield from stems(child)
