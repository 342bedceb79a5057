r"""Which indices run over one axis, how long it is, where its numbers begin, and whether it counts layers or times.

Every index position of a family and every letter in its scope is a member of a class; members are joined by standing
together, never by having the same letter in two equations. What the sums and declarations say of one member holds for
its class, and a contradiction is an error where the second of two claims stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from symbackprop.errors import ReadError
from symbackprop.indices import Affine, Axis, affine
from symbackprop.read.declare import Declarations
from symbackprop.read.draft import Signature
from symbackprop.read.lexer import Source
from symbackprop.read.scopes import Scope, Scopes
from symbackprop.read.syntax import Place
from symbackprop.symbols import Binder, Expr, Ref, walk

Member = str
"""A scope such as `j#3`, a declared letter `letter:i`, or a position `w:1`."""


@dataclass(frozen=True)
class Drafted:
    """An equation whose indices are not on axes yet."""

    lhs: Ref
    rhs: Expr
    number: int
    place: Place

    @property
    def refs(self) -> Iterator[Ref]:
        yield self.lhs
        for _, p in walk(self.rhs):
            if isinstance(p, Ref):
                yield p


@dataclass
class Claim:
    """What one place says of the size of an axis."""

    text: str
    place: Place


@dataclass
class Class:
    """Indices on one axis.

    Args:
        label: The letter of its size; for layers and times that of the last one.
        number: Its size, where it is a number.
        widths: Its size is a letter with a layer below.
        layered: Its size depends on the layer; `offsets` say of which, for a position relative to its family's layer.
    """

    root: Member
    members: list[Member]
    recursion: bool = False
    label: str = ""
    number: int | None = None
    widths: str = ""
    claim: Claim | None = None
    first: int | None = None
    first_claim: Claim | None = None
    weak: set[int] = field(default_factory=set)
    low: Affine | None = None
    high: Affine | None = None
    letter: str = ""
    layered: bool = False
    bounded: bool = False
    offsets: dict[Member, Affine] = field(default_factory=dict)
    clock: Member = ""
    """The class of the layers on which a layered width depends."""


def position(family: str, place: int) -> Member:
    return f"{family}:{place}"


@dataclass
class Axes:
    """The axes of a file.

    Args:
        order: For each family its positions in the order of the network: layers and times first.
    """

    source: Source
    declared: Declarations
    scopes: Scopes
    signatures: dict[str, Signature]
    drafts: list[Drafted]
    places: dict[tuple[int, Ref], Place]
    parent: dict[Member, Member] = field(default_factory=dict)
    classes: dict[Member, Class] = field(default_factory=dict)
    default_first: int = 1
    recursive: set[Member] = field(default_factory=set)
    spans: dict[Member, tuple[Affine, Affine]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.join_all()
        self.find_recursion()
        self.gather()
        self.measure()
        self.check_ranges()
        self.find_layers()
        self.name()

    def fail(self, message: str, place: Place) -> ReadError:
        return self.source.error(message, place)

    # ------------------------------------------------------------ union

    def find(self, m: Member) -> Member:
        self.parent.setdefault(m, m)
        while self.parent[m] != m:
            self.parent[m] = self.parent[self.parent[m]]
            m = self.parent[m]
        return m

    def union(self, a: Member, b: Member) -> None:
        ra, rb = self.find(a), self.find(b)
        if ra != rb:
            self.parent[rb] = ra
            if rb in self.recursive:
                self.recursive.add(ra)

    def of(self, m: Member) -> Class:
        return self.classes[self.find(m)]

    def uses(self) -> Iterator[tuple[Drafted, Ref, int, Affine]]:
        for d in self.drafts:
            for r in d.refs:
                for n, e in enumerate(r.indices):
                    yield d, r, n, e

    def place(self, d: Drafted, r: Ref) -> Place:
        return self.places.get((d.number, r), d.place)

    def join_all(self) -> None:
        for _, r, n, e in self.uses():
            member = position(r.family, n)
            self.find(member)
            if e.name in self.scopes.all:
                assert e.name is not None
                self.union(member, e.name)
        for a, b, _ in self.scopes.joined:
            self.union(a, b)
        labels = {letter for letter, _ in self.declared.labels.values()}
        for s in self.scopes.all.values():
            self.find(s.id)
            ranged = s.letter in self.declared.ranges
            if (ranged and self.within(s)) or (not ranged and s.letter in labels):
                self.union(s.id, f"letter:{s.letter}")
        for name, (letters, _) in self.declared.shapes.items():
            signature = self.signatures.get(name)
            for n, letter in enumerate(letters):
                if signature is not None and n < signature.lower:
                    kind = "letter" if letter in self.declared.ranges else "shape"
                    self.union(position(name, signature.upper + n), f"{kind}:{letter}")

    def within(self, s: Scope) -> bool:
        """Whether the limits of a letter are part of the range that is declared for it."""
        r, low, high = self.declared.ranges[s.letter], s.low, s.high
        if s.free or (low is None and high is None):
            return True
        ends = (low.names if low else frozenset()) | (high.names if high else frozenset())
        if ends & self.scopes.all.keys():
            return True
        if (low, high) == (r.low, r.high):
            return False  # The whole range: its size says all, and widths may differ from layer to layer.
        before = 0 if low is None else (low - r.low).value
        after = 0 if high is None else (r.high - high).value
        return before is not None and after is not None and before >= 0 and after >= 0

    def check_ranges(self) -> None:
        """Every letter that a sum binds runs over the axis of a quantity, or over numbers that something says."""
        binders = (p for d in self.drafts for _, p in walk(d.rhs) if isinstance(p, Binder))
        for s in [self.scopes.all[p.index] for p in binders if p.index in self.scopes.all]:
            c = self.of(s.id)
            bare = all(m in self.scopes.all for m in c.members)
            if bare and c.claim is None and not c.recursion and not s.free:
                raise self.fail(
                    f"a sum over {s.letter} without a range that anything fixes: {s.letter} stands on no quantity; limits "
                    f"such as {s.letter}=1 to N, or the declaration '%| {s.letter} = 1..N', would fit",
                    s.place,
                )

    # ------------------------------------------------------------ layers and times

    def find_recursion(self) -> None:
        """An axis counts layers or times where a family that depends on itself is used at another place on it."""
        components = strong_components(self.drafts)
        soft: list[tuple[Member, Member]] = []
        for d, r, n, e in self.uses():
            name = shifted_name(e, self.scopes)
            if name is None:
                continue
            member = position(r.family, n)
            soft.append((name, member))
            if r is not d.lhs and components.get(r.family) == components.get(d.lhs.family) is not None:
                self.union(name, member)
                self.recursive.add(self.find(name))
        for _, at in self.scopes.widths.values():
            for layer in at.names & self.scopes.all.keys():
                self.recursive.add(self.find(layer))
        changed = True
        while changed:
            changed = False
            for name, member in soft:
                roots = {self.find(name), self.find(member)}
                if len(roots) == 2 and roots & self.recursive:
                    self.union(name, member)
                    self.recursive.add(self.find(name))
                    changed = True
        self.recursive = {self.find(m) for m in self.recursive}

    # ------------------------------------------------------------ sizes and first numbers

    def gather(self) -> None:
        for m in self.parent:
            root = self.find(m)
            if root not in self.classes:
                self.classes[root] = Class(root, [], root in self.recursive)
            self.classes[root].members.append(m)

    def measure(self) -> None:
        for letter, r in self.declared.ranges.items():
            if f"letter:{letter}" in self.parent:
                self.ranged(self.of(f"letter:{letter}"), r.low, r.high, r.place)
        for s in self.scopes.all.values():
            c = self.of(s.id)
            if s.letter in self.declared.ranges and not c.recursion and self.within(s):
                continue  # A part of the axis, which the declaration measures.
            if s.low is not None and s.high is not None:
                self.ranged(c, s.low, s.high, s.place)
            elif s.low is not None and s.low.value is not None:
                c.weak.add(s.low.value)
        strong = [c.first for c in self.classes.values() if c.first is not None and not c.recursion]
        if strong and len(set(strong)) == 1:
            self.default_first = strong[0]
        for c in self.classes.values():
            if c.recursion:
                self.ends(c)
                c.first = 0
            elif c.first is None:
                c.first = min(c.weak) if c.weak and min(c.weak) in (0, 1) else self.default_first
        self.within_axes()

    def within_axes(self) -> None:
        """No sum may begin before the first position of its axis: a term that does not exist would be left out."""
        for s in self.scopes.all.values():
            c = self.of(s.id)
            if c.recursion or not c.bounded or c.first is None or s.low is None or s.low.value is None:
                continue
            if s.low.value < c.first:
                where = f" on line {c.first_claim.place.line}" if c.first_claim is not None else ""
                raise self.fail(
                    f"{s.letter} begins at {s.low} here, but its axis at {c.first}{where}; one first number would fit",
                    s.place,
                )

    def ranged(self, c: Class, low: Affine, high: Affine, place: Place) -> None:
        """A range is an axis as a whole where it has a single letter or number of places."""
        if c.recursion:
            if (low.names | high.names) & self.scopes.all.keys():
                return
            if c.high is None or c.claim is None:
                c.low, c.high, c.claim = low, high, Claim(f"{low}..{high}", place)
                return
            later = (high - c.high).value
            if later is None:
                raise self.fail(
                    f"one index on axes of unequal length: {low}..{high} here, {c.claim.text} on line {c.claim.place.line}",
                    place,
                )
            if later > 0:
                c.high = high
            return
        count = high - low + 1
        full = low.value is not None and (count.name is not None or count.value is not None)
        if not full or count.names & self.scopes.all.keys():
            if low.value is not None:
                c.weak.add(low.value)
            return
        if c.first is not None and c.first != low.value:
            assert c.first_claim is not None
            raise self.fail(
                f"an index counted from {low} here, and one on the same axis from {c.first} on line {c.first_claim.place.line}",
                place,
            )
        c.first, c.first_claim, c.bounded = low.value, Claim(str(low), place), True
        if count.name is not None and "@" in count.name:
            stem, _ = self.scopes.widths[count.name]
            self.claim(c, stem, None, stem, place)
            if c.claim is not None and c.claim.text == stem:
                c.claim.text = count.name.replace("@", "_")
        else:
            self.claim(c, count.name or "", count.value, "", place)

    def claim(self, c: Class, label: str, number: int | None, widths: str, place: Place) -> None:
        text = label if label else str(number)
        if number is not None and number < 1:
            raise self.fail(f"an axis of {number} places", place)
        if c.claim is not None and (c.label, c.number, c.widths) != (label, number, widths):
            raise self.fail(
                f"one index on axes of unequal size: {text} here, {c.claim.text} on line {c.claim.place.line}; "
                "two letters, or one size, would fit",
                place,
            )
        c.label, c.number, c.widths = label, number, widths
        if c.claim is None:
            c.claim = Claim(text, place)

    def ends(self, c: Class) -> None:
        """First and last of layers or times; the last is a letter used in its place where nothing is declared."""
        if c.low is not None and c.high is not None:
            return
        lasts = {
            e.name
            for _, r, n, e in self.uses()
            if self.find(position(r.family, n)) == c.root and e.name is not None and e.name not in self.scopes.all
        }
        scope = next((self.scopes.all[m] for m in c.members if m in self.scopes.all), None)
        if len(lasts) != 1:
            letter = scope.letter if scope is not None else "t"
            place = scope.place if scope is not None else self.drafts[0].place
            raise self.fail(f"the range of {letter} is not known; declare it, as in '%| {letter} = 1..T'", place)
        (last,) = lasts
        assert last is not None
        c.low, c.high = affine(1), affine(last)
        if scope is not None:
            c.claim = Claim(last, scope.place)

    # ------------------------------------------------------------ widths that depend on the layer

    def find_layers(self) -> None:
        width = self.declared.width
        for c in self.classes.values():
            if c.recursion:
                continue
            asked = bool(c.widths) or (bool(width) and c.label == width)
            if not asked and (c.claim is not None):
                continue
            clocks = dict.fromkeys(
                self.find(position(f, n))
                for f, _ in filter(None, map(self.split, c.members))
                for n in range(self.arity(f))
                if self.of(position(f, n)).recursion
            )
            for clock in clocks:
                offsets = self.offsets(c, clock)
                if offsets is not None:
                    c.layered, c.offsets, c.clock = True, offsets, clock
                    c.label = c.widths or width or "n"
                    break
            if c.widths and not clocks and c.claim is not None:
                # Sizes told apart by a number below, in a model without layers.
                c.label, c.widths = c.claim.text, ""
            elif not c.layered and c.widths and c.claim is not None:
                raise self.fail(
                    f"the widths {c.widths}_l of this index do not fit together: a family without layers ties them",
                    c.claim.place,
                )

    def split(self, m: Member) -> tuple[str, int] | None:
        family, sign, n = m.rpartition(":")
        return (family, int(n)) if sign and family in self.signatures and n.isdigit() else None

    def arity(self, family: str) -> int:
        s = self.signatures.get(family)
        return s.upper + s.lower if s is not None else 0

    def layer(self, r: Ref, clock: Member) -> Affine | None:
        """The layer of a quantity as written."""
        for n, e in enumerate(r.indices):
            if self.find(position(r.family, n)) == clock:
                return e
        return None

    def offsets(self, c: Class, clock: Member) -> dict[Member, Affine] | None:
        """The layer whose nodes each member of a class counts; None where two claims disagree.

        For a position of a family with layers it is relative to the family's own layer.
        """
        found: dict[Member, Affine] = {}
        for s in self.scopes.all.values():
            if s.high is not None and s.low is not None and self.find(s.id) == c.root:
                name = (s.high - s.low + 1).name
                if name in self.scopes.widths:
                    assert name is not None
                    found[s.id] = self.scopes.widths[name][1]
        links: list[tuple[Member, Member, Affine | None]] = []
        for _, r, n, e in self.uses():
            if self.find(position(r.family, n)) == c.root and e.name in self.scopes.all:
                assert e.name is not None
                links.append((e.name, position(r.family, n), self.layer(r, clock)))
        joined = [
            (a, b)
            for a, b, _ in self.scopes.joined
            if self.find(a) == c.root and a in self.scopes.all and b in self.scopes.all
        ]
        seeds = [
            position(d.lhs.family, n)
            for d in self.drafts
            for n in range(len(d.lhs.indices))
            if self.find(position(d.lhs.family, n)) == c.root and self.layer(d.lhs, clock) is not None
        ]
        if not found:
            if not seeds:
                return None
            found[seeds[0]] = affine(0)
        allowed = self.scopes.constants
        while True:
            before = len(found)
            for scope, member, layer in links:
                if layer is None:
                    values = [(scope, found.get(member)), (member, found.get(scope))]
                else:
                    a, b = found.get(member), found.get(scope)
                    values = [(scope, None if a is None else a + layer), (member, None if b is None else b - layer)]
                for target, value in values:
                    if value is None:
                        continue
                    if ":" in target and (
                        value.names & self.scopes.all.keys() or (layer is not None and value.value is None)
                    ):
                        return None
                    if found.setdefault(target, value) != value:
                        return None
            for a_, b_ in joined:
                for p, q in ((a_, b_), (b_, a_)):
                    if p in found and found.setdefault(q, found[p]) != found[p]:
                        return None
            if len(found) == before:
                break
        return found if all(v.names <= allowed | self.scopes.all.keys() for v in found.values()) else None

    # ------------------------------------------------------------ names

    def name(self) -> None:
        taken: set[str] = {c.label for c in self.classes.values() if c.label}
        for c in self.classes.values():
            c.letter = self.letter(c)
        for c in self.classes.values():
            if c.recursion:
                _, high = self.ends_used(c)
                c.label = high.name or next(iter(sorted(high.names)), f"n_{c.letter}")
            elif not c.label:
                letters = dict.fromkeys((c.letter, *(s.letter for s in self.scopes_of(c))))
                options = [f"n_{x.rstrip(chr(39))}" for x in letters] + [f"n_{c.letter}{k}" for k in range(2, 100)]
                c.label = next(o for o in options if o not in taken)
                taken.add(c.label)

    def scopes_of(self, c: Class) -> list[Scope]:
        return [self.scopes.all[m] for m in c.members if m in self.scopes.all]

    def letter(self, c: Class) -> str:
        """The letter that stands for the axis: a declared one, one free on a left side, or the first there is."""
        declared = [m.removeprefix("letter:") for m in c.members if m.startswith("letter:")]
        scopes = sorted(self.scopes_of(c), key=lambda s: (not s.free, s.place.start))
        return next(iter((*declared, *(s.letter for s in scopes))), "i")

    def axis(self, m: Member, layer: Affine | None = None) -> Axis:
        """The axis of a member; of a position on a width that depends on the layer, given the family's layer."""
        c = self.of(m)
        if c.recursion:
            low, high = self.ends_used(c)
            return Axis("recursion", c.letter if self.is_clock(c) else c.label, None, low, high)
        if not c.layered:
            return Axis("node", c.label)
        at = c.offsets.get(m, affine(0))
        family = self.split(m)
        if family is not None and layer is not None:
            at = at + layer
        return Axis("node", c.label, at)

    def ends_used(self, c: Class) -> tuple[Affine, Affine]:
        """The first and the last place in play on an axis of layers or times: 0 and L, where l - 1 and L are used."""
        if c.root in self.spans:
            return self.spans[c.root]
        assert c.low is not None and c.high is not None
        low, high = c.low, c.high
        for _, r, n, e in self.uses():
            if self.find(position(r.family, n)) != c.root:
                continue
            name = next((x for x in e.names if x in self.scopes.all), None)
            start, stop = e, e
            if name is not None:
                s = self.scopes.all[name]
                start = e.substitute({name: c.low if s.low is None else s.low})
                stop = e.substitute({name: c.high if s.high is None else s.high})
            low = start if ((start - low).value or 0) < 0 else low
            high = stop if ((stop - high).value or 0) > 0 else high
        self.spans[c.root] = (low, high)
        return low, high

    def is_clock(self, c: Class) -> bool:
        return any(x.layered and x.clock == c.root for x in self.classes.values())

    def recursive_position(self, family: str, n: int) -> bool:
        return self.of(position(family, n)).recursion

    def order(self, family: str) -> list[int]:
        """Positions as written, layers and times first."""
        return sorted(range(self.arity(family)), key=lambda n: not self.recursive_position(family, n))


def shifted_name(e: Affine, scopes: Scopes) -> str | None:
    """The scope of an index expression such as t - 1."""
    if e.const == 0 or len(e.terms) != 1 or e.terms[0][1] != 1:
        return None
    name = e.terms[0][0]
    return name if name in scopes.all else None


def strong_components(drafts: list[Drafted]) -> dict[str, int]:
    """For each family with an equation the number of its component: families that depend on each other share one."""
    graph: dict[str, set[str]] = {}
    for d in drafts:
        graph.setdefault(d.lhs.family, set()).update(r.family for r in d.refs if r is not d.lhs)
    reach: dict[str, set[str]] = {}
    for f in graph:
        seen, stack = set(), [f]
        while stack:
            for g in graph.get(stack.pop(), ()):
                if g not in seen:
                    seen.add(g)
                    stack.append(g)
        reach[f] = seen
    out: dict[str, int] = {}
    for n, f in enumerate(graph):
        if f in out:
            continue
        out[f] = n
        for g in reach[f]:
            if g in graph and f in reach[g]:
                out[g] = n
    return out
