r"""What LaTeX mathematics looks like once it is read, before anyone says what it means.

The tree keeps what the author wrote: the order of factors and terms, explicit signs of multiplication, brackets, the
scripts of every symbol. It knows no network. Three things that only meaning can decide stay open on purpose:

- whether brackets after a symbol are its arguments: `g(z)` is a `Product` of `g` and a `Group`;
- how far an operator reaches: `\frac{\partial}{\partial u} f` and `\nabla_u f` are a `Product`, the operator first;
- what a script says: `w_{jk}^{(l)}` has the scripts `jk` and `(l)`, neither called an index nor a layer.

Every node has a `Place` in the text as given; places do not count when trees are compared.
Records are built by `symbackprop.read.latex`; `show` prints one as a short s-expression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from symbackprop.errors import ReadError


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the text as given; what a macro produced stands where the macro is used.

    Args:
        line, column: 1-based, of its first character.
        start, end: Its offsets: it is `text[start:end]`.
    """

    line: int
    column: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


# ---------------------------------------------------------------- leaves


@dataclass(frozen=True, slots=True)
class Number:
    """A number, digit by digit as written: `12` in `w_{12}` may be two indices."""

    text: str
    place: Place = field(compare=False, repr=False)


Font: TypeAlias = Literal[
    "", "bold", "calligraphic", "blackboard", "roman", "italic", "sans", "typewriter", "fraktur", "operator"
]
"""`operator` marks the named functions (log, softmax, whatever stands in \\operatorname), `roman` other upright names."""

Accent: TypeAlias = Literal["", "hat", "bar", "tilde", "dot", "ddot", "vec", "underline"]


@dataclass(frozen=True, slots=True)
class Symbol:
    r"""A letter, a named symbol or an upright word.

    Args:
        name: `w`; `sigma` for \sigma; `out` for \mathrm{out} or \text{out}; `1` for \mathbb{1}.
            In scripts and alone in brackets also a sign that stands for itself: `*`, `+`, `-`, `:`, `cdot`.
    """

    name: str
    font: Font = ""
    accent: Accent = ""
    place: Place = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Text:
    r"""Words: \text{for each }, with its spaces; `\forall` is the text "\forall"."""

    text: str
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Dots:
    r"""\dots, \cdots, \ldots, \vdots, ...: something the author left out; `name` says which."""

    name: str
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Blank:
    """An empty cell of a matrix."""

    place: Place = field(compare=False, repr=False)


# ---------------------------------------------------------------- scripts


@dataclass(frozen=True, slots=True)
class Script:
    r"""What stands in a subscript or superscript, or in the limits of a sum.

    Args:
        items: What the commas separate: one item for `jk` (a juxtaposed Product), two for `j,k`. `l-1` is a Sum, `(l)`
            a Group, `[l-1]\top` a Product of a Group and the Symbol top, `i=1` a Chain, `x_t c` a Product.
        separators: What stands between the items: `,`, `;`, `\mid`, `|`, or `\\` in a \substack.
    """

    items: tuple[Node, ...]
    separators: tuple[str, ...]
    place: Place = field(compare=False, repr=False)

    @property
    def pieces(self) -> tuple[Node, ...]:
        r"""The juxtaposed parts, items and commas apart: j, k for `jk` and for `j,k`; Group and top for `[l]\top`."""
        return tuple(p for item in self.items for p in pieces(item))


@dataclass(frozen=True, slots=True)
class Scripted:
    r"""A base with scripts, whichever order they were written in; `{w_{jk}}^{(l)}` is the same as `w_{jk}^{(l)}`.

    Args:
        primes: How many, be they `'` or \prime inside the superscript, where `sup` has the rest: g^{\prime(L)}.
    """

    base: Node
    sub: Script | None
    sup: Script | None
    primes: int
    place: Place = field(compare=False, repr=False)


# ---------------------------------------------------------------- brackets


@dataclass(frozen=True, slots=True)
class Group:
    r"""Brackets around something.

    Args:
        open, close: `(`, `[`, `\{`, `|`, `\|` (norms), `\langle`, `\lfloor`, `\lceil`, `{` and their partners; `.` is the
            invisible one of \left. and \right. A brace pair `{` `}` prints nothing: it is kept only around a sum, a
            relation or a big operator that has something beside it, where `{a+b}c` prints as a+bc.
        body: An expression, a Chain, or a Listing where separators stand inside.
    """

    open: str
    close: str
    body: Node
    place: Place = field(compare=False, repr=False)

    @property
    def kind(self) -> str:
        """round, square, curly, bar, norm, angle, floor, ceil, brace or open (an invisible side)."""
        return BRACKETS.get(self.open, "open")


BRACKETS = {
    "(": "round",
    "[": "square",
    r"\{": "curly",
    "|": "bar",
    r"\|": "norm",
    r"\langle": "angle",
    r"\lfloor": "floor",
    r"\lceil": "ceil",
    "{": "brace",
}


@dataclass(frozen=True, slots=True)
class Listing:
    r"""Things in a row inside brackets: `W,b;x,y` has four items and the separators `,` `;` `,`.

    Args:
        separators: `,`, `;`, `:`, `|`, `\mid`, or `\quad` for a gap; one fewer than items.
    """

    items: tuple[Node, ...]
    separators: tuple[str, ...]
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Evaluated:
    r"""An evaluation bar: \left. X \right|_{a=y}, X\big|_{a=y}."""

    body: Node
    at: Script
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Brace:
    r"""\underbrace{X}_{note}, \overbrace{X}^{note}, \underset{note}{X}, \overset{note}{X}: X, with something said of it."""

    kind: Literal["underbrace", "overbrace", "underset", "overset"]
    body: Node
    note: Script | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Accented:
    r"""An accent over more than one symbol: \overline{a+b}. Over one symbol it is part of the Symbol."""

    accent: Accent
    body: Node
    place: Place = field(compare=False, repr=False)


# ---------------------------------------------------------------- arithmetic


@dataclass(frozen=True, slots=True)
class Product:
    r"""Factors in the order written, at least two.

    Args:
        operators: What stands between neighbours: "" (juxtaposition), `\cdot`, `\times`, `*`, `/`, or, in a product
            that has no other operators, `\odot`, `\circ`, `\otimes`, `\ast`, `\star`. Those bind weaker than the others:
            `W \delta \odot g'(z)` is a Product of two products. `/` is read from left to right, after it is decided
            what is an argument: `1/n \sum x` is (1/n)(...), `1/f(x)` depends on f.
    """

    factors: tuple[Node, ...]
    operators: tuple[str, ...]
    place: Place = field(compare=False, repr=False)

    @property
    def juxtaposed(self) -> bool:
        return not any(self.operators)


@dataclass(frozen=True, slots=True)
class Term:
    r"""A term of a sum with the sign before it: `+`, `-`, `\pm`, `\mp`; the first has `+` where nothing is written."""

    sign: str
    body: Node


@dataclass(frozen=True, slots=True)
class Sum:
    """Signed terms in the order written: two or more, or one after a written `+`."""

    terms: tuple[Term, ...]
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """A minus sign before a single term."""

    body: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Fraction:
    r"""\frac, \dfrac, \tfrac; and `\partial C/\partial w`, the only `/` that is no Product.

    Args:
        style: How it is written.
    """

    over: Node
    under: Node
    style: Literal["frac", "slash"]
    place: Place = field(compare=False, repr=False)

    @property
    def derivative(self) -> bool:
        """Differentials stand above and below."""
        return bool(differentials(self.over)) and bool(differentials(self.under))

    @property
    def operator(self) -> bool:
        r"""A derivative of nothing yet, such as \frac{\partial}{\partial u}: it acts on factors to its right."""
        return self.derivative and isinstance(self.over, Differential) and self.over.of is None


@dataclass(frozen=True, slots=True)
class Differential:
    r"""\partial C_0, dL, \mathrm{d}x, \partial^2 C; a Product of them in \partial w \partial v.

    Args:
        mark: `partial` (\partial), `roman` (\mathrm{d}), or `d`: the letter d right before another letter, or beginning
            both parts of a fraction. Only meaning can tell whether that is a product: `as_product` undoes it.
        order: The superscript of the mark, as in \partial^2 C.
        by: The subscript of the mark, as in \partial_w C.
        of: What is differentiated: one factor; in a part of a \frac all of it, up to the next differential. None where
            nothing follows, as in \frac{\partial}{\partial u}.
    """

    mark: Literal["partial", "d", "roman"]
    order: Script | None
    by: Script | None
    of: Node | None
    place: Place = field(compare=False, repr=False)

    def as_product(self) -> Node:
        """The reading in which the letter d is a symbol like any other."""
        if self.mark != "d":
            raise ValueError(f"{show(self)} is a differential in every reading")
        p = self.place
        d: Node = Symbol("d", place=Place(p.line, p.column, p.start, p.start + 1))
        if self.order is not None:
            d = Scripted(d, None, self.order, 0, d.place)
        if self.of is None:
            return d
        rest = self.of if isinstance(self.of, Product) else None
        factors = rest.factors if rest else (self.of,)
        return Product((d, *factors), ("", *(rest.operators if rest else ())), p)


@dataclass(frozen=True, slots=True)
class Nabla:
    r"""\nabla_{W}: an operator that acts on factors to its right.

    Args:
        by: Its subscript.
        order: Its superscript.
    """

    by: Script | None
    order: Script | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Root:
    r"""\sqrt{body}, \sqrt[order]{body}."""

    body: Node
    order: Node | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BigOperator:
    r"""\sum, \prod, and \max, \min, \arg\max, \arg\min with limits.

    Args:
        name: `sum`, `prod`, `max`, `min`, `argmax`, `argmin`.
        sub, sup: The limits.
        body: The product that follows, to the next + or -, relation, separator or closing bracket, \odot included.
    """

    name: str
    sub: Script | None
    sup: Script | None
    body: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Application:
    r"""A named function and its argument: \log \hat y, \exp(S_{ij}), \tanh'(z), \max(0, z), \operatorname{ReLU}(z).

    Args:
        function: A Symbol of font `operator`, or one Scripted.
        argument: A Group, or the next factor where no bracket follows. `\log \sigma(z)` has the Product of \sigma and
            (z): whether the bracket belongs to the argument depends on whether \sigma is a function.
    """

    function: Node
    argument: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Indicator:
    r"""\mathbb{1}(y_i = k), \mathbb 1[...], \mathbf 1_{\{...\}}; the condition is a Chain or a Listing of them."""

    condition: Node
    place: Place = field(compare=False, repr=False)


# ---------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True)
class Case:
    """One row of \\begin{cases}: its value, and the words and relations that say when; none at all is allowed."""

    value: Node
    condition: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Cases:
    r"""\begin{cases}, or an array after a \left\{ that \right. closes."""

    rows: tuple[Case, ...]
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix environment; `kind` is its name, such as bmatrix; rows may differ in length."""

    kind: str
    rows: tuple[tuple[Node, ...], ...]
    place: Place = field(compare=False, repr=False)


# ---------------------------------------------------------------- relations


@dataclass(frozen=True, slots=True)
class Relation:
    r"""A sign of relation and what stands to its right.

    Args:
        sign: `=`, `:=`, `=:`, `equiv`, `!=`, `<`, `>`, `<=`, `>=`, `<-`, `->`, `approx`, `propto`, `sim`, `in`, `notin`,
            `subset`, `=>`, `<=>`, `:`, ... the same for all commands that mean the same (\le, \leq).
        note: What is stacked on it, as in \overset{!}{=} or \stackrel{\text{def}}{=}.
    """

    sign: str
    right: Node
    place: Place = field(compare=False, repr=False)
    note: Script | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    r"""Relations inside something: y_i = k, 0 \le x < 1; `first` is None in \mathbb{R}_{\ge 0}."""

    first: Node | None
    relations: tuple[Relation, ...]
    place: Place = field(compare=False, repr=False)


Node: TypeAlias = (
    Number
    | Symbol
    | Text
    | Dots
    | Blank
    | Scripted
    | Group
    | Listing
    | Evaluated
    | Brace
    | Accented
    | Product
    | Sum
    | Negative
    | Fraction
    | Differential
    | Nabla
    | Root
    | BigOperator
    | Application
    | Indicator
    | Cases
    | Matrix
    | Chain
)


# ---------------------------------------------------------------- documents


@dataclass(frozen=True, slots=True)
class Row:
    r"""One row of mathematics: an equation, a continued line, or a lone expression.

    Args:
        intro: Words before it: \text{where }.
        left: None in a continued line, `&= ...`, and in a row of words alone.
        relations: None at all for a lone expression.
        conditions: What follows it after a comma, a gap or words, in order: Text, Chain, or any other node.
            `a = b, \quad c = d` has the Chain c = d here.
        label, tag: Of \label and \tag; empty where there is none.
        environment: `align`, `equation`, `$`, `$$`, `\[`, ... its star dropped, or `bare`.
    """

    intro: tuple[Text, ...]
    left: Node | None
    relations: tuple[Relation, ...]
    conditions: tuple[Node, ...]
    label: str
    tag: str
    environment: str
    place: Place = field(compare=False, repr=False)

    @property
    def continued(self) -> bool:
        """Its left side is that of the row before."""
        return self.left is None and bool(self.relations)


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that is not understood, why, and where."""

    error: ReadError
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A line that begins with `%|`: what stands after that, ends stripped."""

    text: str
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A text read.

    Args:
        text: As given, decoded.
        declarations: In file order.
        entries: The rows in file order; Unread among them only if asked for.
    """

    text: str
    declarations: tuple[Declaration, ...]
    entries: tuple[Row | Unread, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that were understood."""
        return tuple(e for e in self.entries if isinstance(e, Row))

    def source(self, place: Place) -> str:
        """The text at a place, as the author wrote it."""
        return self.text[place.start : place.end]


# ---------------------------------------------------------------- helpers


def pieces(node: Node) -> tuple[Node, ...]:
    """The factors of a juxtaposed product, anything else as it is."""
    return node.factors if isinstance(node, Product) and node.juxtaposed else (node,)


def differentials(node: Node) -> tuple[Differential, ...]:
    r"""The differentials that a part of a fraction consists of: two in \partial w \partial v, none in 2\partial w."""
    parts = pieces(node)
    out = tuple(p for p in parts if isinstance(p, Differential))
    return out if len(out) == len(parts) else ()


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below a node, in the order written as far as the tree keeps it."""
    match node:
        case Number() | Symbol() | Text() | Dots() | Blank():
            return ()
        case Scripted(base=base, sub=sub, sup=sup):
            return (base, *items(sub), *items(sup))
        case Group(body=body) | Accented(body=body) | Negative(body=body) | Indicator(condition=body):
            return (body,)
        case Listing(items=inner) | Product(factors=inner):
            return inner
        case Evaluated(body=body, at=script):
            return (body, *items(script))
        case Brace(body=body, note=note):
            return (body, *items(note))
        case Sum(terms=terms):
            return tuple(t.body for t in terms)
        case Fraction(over=over, under=under):
            return (over, under)
        case Differential(order=order, by=by, of=of):
            return (*items(order), *items(by), *((of,) if of is not None else ()))
        case Nabla(by=by, order=order):
            return (*items(by), *items(order))
        case Root(body=body, order=degree):
            return (body,) if degree is None else (degree, body)
        case BigOperator(sub=sub, sup=sup, body=body):
            return (*items(sub), *items(sup), body)
        case Application(function=function, argument=argument):
            return (function, argument)
        case Cases(rows=rows):
            return tuple(n for row in rows for n in (row.value, *row.condition))
        case Matrix(rows=table):
            return tuple(n for cells in table for n in cells)
        case Chain(first=first, relations=relations):
            return (*(() if first is None else (first,)), *(r.right for r in relations))


def items(script: Script | None) -> tuple[Node, ...]:
    """The items of a script, none where there is no script."""
    return () if script is None else script.items


# ---------------------------------------------------------------- printing


def show(node: Node | Script | Row | None) -> str:
    r"""A node as a short s-expression, for tests and for the curious.

    >>> p = Place(1, 1, 0, 1)
    >>> j, k, l, w = (Symbol(name, place=p) for name in "jklw")
    >>> layer = Script((Group("(", ")", l, p),), (), p)
    >>> show(Scripted(w, Script((Product((j, k), ("",), p),), (), p), layer, 0, p))
    'w_[j k]^[(round l)]'
    """
    match node:
        case None:
            return "_"
        case Row():
            return shown_row(node)
        case Script(items=inner, separators=separators):
            return interleaved(tuple(" ".join(map(show, pieces(i))) for i in inner), separators)
        case Number(text=text):
            return text
        case Symbol():
            return ":".join(filter(None, (node.accent, node.font, node.name)))
        case Text(text=text):
            return f'"{text}"'
        case Dots():
            return "..."
        case Blank():
            return "blank"
        case Scripted(base=base, sub=sub, sup=sup, primes=primes):
            return show(base) + "'" * primes + scripts(sub, sup)
        case Group(body=body):
            return f"({node.kind} {show(body)})"
        case Listing(items=inner, separators=separators):
            return f"(list {interleaved(tuple(map(show, inner)), separators)})"
        case Evaluated(body=body, at=at):
            return f"(at {show(body)} {show(at)})"
        case Brace(kind=kind, body=body, note=note):
            return f"({kind} {show(body)} {show(note)})"
        case Accented(accent=accent, body=body):
            return f"({accent} {show(body)})"
        case Product(factors=factors, operators=operators):
            return f"(* {interleaved(tuple(map(show, factors)), operators)})"
        case Sum(terms=terms):
            first, *rest = terms
            lead = show(first.body) if first.sign == "+" and rest else first.sign + show(first.body)
            return f"(+ {' '.join([lead, *(('' if t.sign == '+' else t.sign) + show(t.body) for t in rest)])})"
        case Negative(body=body):
            return f"(- {show(body)})"
        case Fraction(over=over, under=under, style=style):
            return f"({'/' if style == 'frac' else 'slash'} {show(over)} {show(under)})"
        case Differential(mark=mark, order=order, by=by, of=of):
            return f"({mark}{scripts(by, order)}{'' if of is None else ' ' + show(of)})"
        case Nabla(by=by, order=order):
            return f"(nabla{scripts(by, order)})"
        case Root(body=body, order=degree):
            return f"(sqrt {show(body)})" if degree is None else f"(sqrt[{show(degree)}] {show(body)})"
        case BigOperator(name=name, sub=sub, sup=sup, body=body):
            return f"({name}{scripts(sub, sup)} {show(body)})"
        case Application(function=function, argument=argument):
            return f"({show(function)} {show(argument)})"
        case Indicator(condition=condition):
            return f"(indicator {show(condition)})"
        case Cases(rows=rows):
            return f"(cases {bracketed(tuple((r.value, *r.condition) for r in rows))})"
        case Matrix(kind=kind, rows=table):
            return f"({kind} {bracketed(table)})"
        case Chain(first=first, relations=relations):
            return shown_chain(first, relations)


def scripts(sub: Script | None, sup: Script | None) -> str:
    return ("" if sub is None else f"_[{show(sub)}]") + ("" if sup is None else f"^[{show(sup)}]")


def interleaved(parts: tuple[str, ...], between: tuple[str, ...]) -> str:
    """Parts with what stands between them; nothing stands between juxtaposed factors."""
    return " ".join(filter(None, (s for pair in zip(parts, (*between, ""), strict=True) for s in pair)))


def bracketed(table: tuple[tuple[Node, ...], ...]) -> str:
    return " ".join("[" + " ".join(map(show, row)) + "]" for row in table)


def shown_chain(first: Node | None, relations: tuple[Relation, ...]) -> str:
    if not relations:
        return show(first)
    if len(relations) == 1 and relations[0].note is None:
        return f"({relations[0].sign} {show(first)} {show(relations[0].right)})"
    links = (f"{r.sign}{'' if r.note is None else f'[{show(r.note)}]'} {show(r.right)}" for r in relations)
    return f"(chain {show(first)} {' '.join(links)})"


def shown_row(row: Row) -> str:
    chain = shown_chain(row.left, row.relations)
    return " | ".join(filter(None, (" ".join(map(show, row.intro)), chain, " ".join(map(show, row.conditions)))))
