r"""Goals: \frac{\partial C_0}{\partial w_{jk}^{(l)}}, or short and shell-safe dC0/dw_jk^l, w_12^L, w.

Grammar, in which a script may come in any order and `...` is a group in braces, brackets or neither:

    goal    =  \frac{\partial QUANTITY}{\partial QUANTITY}
            |  \partial QUANTITY / \partial QUANTITY  |  dQUANTITY / dQUANTITY
            |  QUANTITY                                  (the cost differentiated by it)
    QUANTITY = letter, `_` nodes, `^` layer
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from symbackprop.errors import GoalError, ReadError, UnknownFamilyError, nearest
from symbackprop.indices import Affine, affine
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.read.tokens import Token, plain_scripts, tokenize
from symbackprop.symbols import Partial, Ref, Vec

MAX_DEPTH = 40

STANDING = {"delta": "z"}
"""Letters that stand for the gradient by a family in every notation, unless the network takes them itself."""

OPTIONAL = {"b": "it has no bias: build it with bias=True (--bias)"}
"""Families that a network may be built without, and how it is built with them."""

CLOSING = {"{": "}", "(": ")", "[": "]"}


@dataclass(frozen=True)
class Quantity:
    """A letter with its scripts, as read; the meaning of the scripts is the network's.

    Args:
        letter: `w`, `C`, `delta`.
        sub, sup: The tokens of the scripts, their outer brackets gone; None where there is none.
        column: Where it begins.
    """

    letter: str
    sub: tuple[Token, ...] | None
    sup: tuple[Token, ...] | None
    column: int
    primes: int = 0


@dataclass
class Reader:
    """A recursive-descent reader over the tokens of one formula."""

    text: str
    tokens: list[Token] = field(default_factory=list)
    place: int = 0

    def __post_init__(self) -> None:
        self.tokens = tokenize(self.text)

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        t = self.next
        self.place += 1
        return t

    def fail(self, message: str, token: Token | None = None) -> ReadError:
        return ReadError(message, self.text, (token or self.next).column)

    def expect(self, text: str) -> Token:
        if self.next.text != text:
            found = repr(self.next.text) if self.next.kind != "end" else "the end"
            raise self.fail(f"expected {text!r}, found {found}")
        return self.take()

    # ------------------------------------------------------------ grammar

    def goal(self) -> tuple[Quantity | None, Quantity]:
        """The quantity above (None: the cost) and the quantity below."""
        if self.next.text in ("frac", "dfrac", "tfrac"):
            self.take()
            top = self.braced_derivative()
            bottom = self.braced_derivative()
            out = (top, bottom)
        elif self.is_d() and "/" in {t.text for t in self.tokens}:
            top = self.derivative()
            self.expect("/")
            out = (top, self.derivative())
        else:
            out = (None, self.quantity())  # type: ignore[assignment]
        if self.next.kind != "end":
            raise self.fail(f"{self.next.text!r} after the end of the goal; a goal is one derivative or one symbol")
        return out

    def is_d(self) -> bool:
        return self.next.text in ("d", "partial") or (self.next.kind == "command" and self.next.text == "mathrm")

    def braced_derivative(self) -> Quantity:
        self.expect("{")
        q = self.derivative()
        self.expect("}")
        return q

    def derivative(self) -> Quantity:
        if self.next.text == "mathrm":
            self.take()
            self.expect("{")
            self.expect("d")
            self.expect("}")
            return self.quantity()
        if self.next.text not in ("partial", "d"):
            found = repr(self.next.text) if self.next.kind != "end" else "the end"
            raise self.fail(rf"expected \partial or d, found {found}")
        self.take()
        return self.quantity()

    def quantity(self) -> Quantity:
        start = self.next
        letter = self.letter()
        sub: tuple[Token, ...] | None = None
        sup: tuple[Token, ...] | None = None
        primes = 0
        while self.next.text in ("_", "^", "'") or (self.next.kind == "number" and sub is None and letter == "C"):
            if self.next.text == "'":
                self.take()
                primes += 1
                continue
            if self.next.kind == "number":
                sub = (self.take(),)
                continue
            sign = self.take()
            group = self.script(sign)
            if sign.text == "_":
                if sub is not None:
                    raise self.fail("a second subscript; one set of node indices is expected", sign)
                sub = group
            else:
                if sup is not None:
                    raise self.fail("a second superscript; one layer is expected", sign)
                sup = group
        return Quantity(letter, sub, sup, start.column, primes)

    def letter(self) -> str:
        t = self.take()
        if t.kind == "command" and t.text in ("mathbf", "boldsymbol", "mathrm", "overline", "bar"):
            self.expect("{")
            inner = self.letter()
            self.expect("}")
            return inner + ("bar" if t.text in ("overline", "bar") else "")
        if t.kind == "command":
            return t.text
        if t.kind == "letter":
            name = t.text
            # A word such as delta, written without its backslash.
            while self.next.kind == "letter" and self.next.column == self.tokens[self.place - 1].column + 1:
                name += self.take().text
            return name
        found = repr(t.text) if t.kind != "end" else "the end"
        raise self.fail(f"expected a symbol such as w_jk^l, found {found}", t)

    def script(self, sign: Token, depth: int = 0) -> tuple[Token, ...]:
        """The tokens of a script, brackets around the whole of it gone."""
        if depth > MAX_DEPTH:
            raise self.fail("brackets nested too deeply")
        t = self.next
        if t.text in CLOSING:
            self.take()
            inner: list[Token] = []
            level = 1
            while True:
                if self.next.kind == "end":
                    raise self.fail(f"no {CLOSING[t.text]!r} closes the {t.text!r} opened here", t)
                u = self.take()
                level += (u.text == t.text) - (u.text == CLOSING[t.text])
                if level > MAX_DEPTH:
                    raise self.fail("brackets nested too deeply", u)
                if level == 0:
                    break
                inner.append(u)
            return strip_brackets(tuple(inner))
        run: list[Token] = []
        while self.next.kind in ("letter", "number") or (self.next.text in (",", "+", "-") and run):
            if run and self.next.column != run[-1].column + len(run[-1].text):
                break
            run.append(self.take())
        if not run:
            raise self.fail(f"nothing stands after {sign.text!r}; expected indices or a layer", sign)
        return tuple(run)


def strip_brackets(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    while len(tokens) > 2 and tokens[0].text in CLOSING and tokens[-1].text == CLOSING[tokens[0].text]:
        tokens = tokens[1:-1]
    return tokens


# ---------------------------------------------------------------- meaning


def read_goal(text: str, system: System, notation: Notation) -> Partial:
    """The goal that a text names, in the notation's letters and with its first node number.

    Raises:
        ReadError: It cannot be read; the message has the column.
        GoalError: It names something that the network lacks, a layer out of range or a node outside its axis.
    """
    if not isinstance(text, str):
        raise GoalError(
            f"a goal is LaTeX, a short form such as 'w_jk^l', or a SymPy Indexed; found {type(text).__name__}"
        )
    if not text.strip():
        raise ReadError("the goal is empty; expected a symbol such as 'w_jk^l'", text, 1)
    text = re.sub(r"^\$+|\$+$", "", text.strip(" "))
    if system.mean is None:
        from symbackprop.read.quantity import general_goal

        return general_goal(text, system, notation)
    plain, origin = plain_scripts(text)
    if re.match(r"\s*(frac|dfrac|partial|nabla)", plain):
        raise ReadError(
            "a command without its backslash; put the goal in single quotes so that the shell leaves it alone", text, 1
        )
    try:
        return meant(plain, system, notation)
    except ReadError as e:
        column = origin[min(e.column, len(origin)) - 1] + 1 if e.column else 0
        raise ReadError(e.what, text, column) from None


def meant(text: str, system: System, notation: Notation) -> Partial:
    """The goal in plain LaTeX or the short form."""
    top, bottom = Reader(text).goal()
    meaning = Meaning(text, system, notation)
    above = Ref(system.cost, ()) if top is None else meaning.top(top)
    below = meaning.bottom(bottom)
    if isinstance(below, Partial):  # delta stands for dC/dz
        raise ReadError("delta is itself a derivative; write the goal as 'delta_j^l'", text, bottom.column)
    return Partial(above, below)


@dataclass(frozen=True)
class Meaning:
    """Which quantity of a network a symbol is."""

    text: str
    system: System
    notation: Notation

    def fail(self, message: str, column: int) -> ReadError:
        return ReadError(message, self.text, column)

    def top(self, q: Quantity) -> Ref:
        name = self.cost_name(q)
        if name is not None:
            return Ref(name, ())
        family = self.family_name(q)
        ref = self.ref(q, family)
        if isinstance(ref, Vec):
            raise self.fail(f"{q.letter} needs all its indices above the line", q.column)
        return ref

    def cost_name(self, q: Quantity) -> str | None:
        written = q.letter + ("_" + "".join(t.text for t in q.sub) if q.sub else "")
        if q.sup is not None or q.primes:
            return None
        for name, f in self.system.families.items():
            if f.kind == "cost" and not f.axes and plain_letter(self.notation.letters.get(name, name)) == written:
                return name
        for name, f in self.system.families.items():
            if f.kind == "cost" and not f.axes and name == written:
                return name
        return None

    def family_name(self, q: Quantity) -> str:
        letters = {
            plain_letter(self.notation.letters.get(n, n)): n
            for n, f in self.system.families.items()
            if f.kind != "cost"
        }
        for family, letter in self.notation.gradients.items():
            letters.setdefault(plain_letter(letter), family)
        for letter, family in STANDING.items():
            letters.setdefault(letter, family)
        if q.letter in letters and letters[q.letter] in self.system.families and not q.primes:
            return letters[q.letter]
        if self.cost_name(q) is not None:
            raise self.fail(
                f"{q.letter} is the cost itself; name what it is differentiated by, such as w_jk^l", q.column
            )
        known = [n for n, f in self.system.families.items() if f.kind != "cost"]
        hint = nearest(q.letter, known)
        if q.letter in OPTIONAL:
            hint = f"; {OPTIONAL[q.letter]}"
        raise UnknownFamilyError(
            f"column {q.column}: {q.letter}{chr(39) * q.primes} is no symbol of this network{hint}"
        )

    def bottom(self, q: Quantity) -> Ref | Vec:
        return self.ref(q, self.family_name(q))

    def ref(self, q: Quantity, name: str) -> Ref | Vec:
        family = self.system.family(name)
        layered = [a for a in family.axes if a.kind == "recursion"]
        nodes = len(family.axes) - len(layered)
        layer = self.layer(q, family.name, bool(layered))
        indices: list[Affine] = [layer] if layer is not None else []
        written = self.nodes(q, name, nodes)
        pattern = family.indices[len(layered) :]
        if q.sub is None:
            axes = [family.axis(len(layered) + i, (*indices, *map(affine, pattern))) for i in range(nodes)]
            written = [affine(0) if self.system.size(a) == 1 else affine(p) for a, p in zip(axes, pattern, strict=True)]
        missing = nodes - len(written)
        if missing == 1 and nodes > 1:
            letter = pattern[-1] if pattern[-1] not in {n for w in written for n in w.names} else "p"
            ref = Ref(name, (*indices, *written, affine(letter)))
            axis = family.axis(len(ref.indices) - 1, ref.indices)
            self.in_range(ref, q)
            if self.system.size(axis) == 1:
                return Ref(name, (*indices, *written, affine(0)))
            return Vec(letter, axis, ref)
        if missing:
            raise self.fail(
                f"{q.letter} has {nodes} node {'index' if nodes == 1 else 'indices'} ({', '.join(pattern)}), found {len(written)}",
                q.column,
            )
        ref = Ref(name, (*indices, *written))
        self.in_range(ref, q)
        return ref

    def layer(self, q: Quantity, name: str, wanted: bool) -> Affine | None:
        if q.sup is None:
            if not wanted:
                return None
            return affine("l")
        if not wanted:
            raise self.fail(f"{name} has no layer, found ^{''.join(t.text for t in q.sup)}", q.sup[0].column)
        out = self.affine(q.sup, "a layer such as L-1")
        if out.name == "L" and self.system.layers.value is not None:
            return self.system.layers
        if "L" in out.names and self.system.layers.value is not None:
            return out.substitute({"L": self.system.layers})
        return out

    def affine(self, tokens: tuple[Token, ...], what: str) -> Affine:
        out, sign, seen = affine(0), 1, False
        for t in tokens:
            if t.text in "+-" and t.kind == "sign":
                sign, seen = (1 if t.text == "+" else -1), False
            elif t.kind in ("letter", "number") and not seen:
                if t.kind == "number" and len(t.text) > 6:
                    raise self.fail(f"{t.text[:9]}... is too large for {what}", t.column)
                out = out + affine(int(t.text) if t.kind == "number" else t.text) * sign
                seen = True
            else:
                raise self.fail(f"{t.text!r} in {what} is not understood", t.column)
        if not seen:
            raise self.fail(f"expected {what}", tokens[-1].column if tokens else 1)
        return out

    def nodes(self, q: Quantity, name: str, count: int) -> list[Affine]:
        if q.sub is None:
            return []
        groups: list[list[Token]] = [[]]
        for t in q.sub:
            if t.text == ",":
                groups.append([])
            else:
                groups[-1].append(t)
        if len(groups) == 1:
            single = groups[0]
            if count > 1:
                # Without commas each letter and each digit is an index: w_12, w_jk, w_j2.
                groups = [[Token(t.kind, c, t.column + n)] for t in single for n, c in enumerate(t.text)]
        out = []
        for g in groups:
            if not g:
                raise self.fail("an index is missing beside the comma", q.column)
            value = self.affine(tuple(g), "a node index")
            if value.value is not None:
                value = value - self.notation.first
            elif value.names & (self.system.layers.names | {"l"}):
                raise self.fail(f"{value} counts layers; a node index is a letter such as j or k", g[0].column)
            out.append(value)
        if len(out) > count:
            raise self.fail(
                f"{q.letter} has {count} node {'index' if count == 1 else 'indices'}, found {len(out)}"
                + ("; separate numbers above 9 by a comma, as in w_{10,3}" if count > 1 else ""),
                q.sub[0].column,
            )
        return out

    def in_range(self, ref: Ref, q: Quantity) -> None:
        """Layers within the family's range, node numbers on their axis."""
        wrong = self.system.out_of_range(ref, self.notation.first)
        if wrong is not None:
            place = q.sup if wrong.startswith("layer") else q.sub
            raise self.fail(wrong, place[0].column if place else q.column)
        for axis, i in zip(self.system.family(ref.family).axes, ref.indices, strict=True):
            if axis.kind == "recursion":
                strange = i.names - self.system.layers.names - {"l"}
                if strange:
                    raise self.fail(
                        f"{', '.join(sorted(strange))} is no layer; a layer is a number, l, or counted from {self.system.layers}",
                        q.column,
                    )


def plain_letter(latex: str) -> str:
    r"""A letter as the reader sees it: \overline{C} is Cbar, \delta is delta."""
    m = re.fullmatch(r"\\overline\{(\w)\}", latex)
    return m[1] + "bar" if m else latex.lstrip("\\")
