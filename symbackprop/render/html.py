"""A derivation as one HTML file: KaTeX, its fonts, style and script inlined, no request to anywhere.

The LaTeX of each formula is text in the page, so that it can be read without JavaScript; the page's
script sets it on load. Everything that comes from text is escaped, KaTeX may do nothing but mark roles,
and the page's own security policy runs no script but the two whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from importlib.resources import files
from itertools import product

from symbackprop.derivation import Detail
from symbackprop.errors import UnknownNameError, nearest
from symbackprop.indices import Affine, at_least, equals, satisfiable
from symbackprop.network import System
from symbackprop.render.document import (
    Algorithm,
    Block,
    Closing,
    Code,
    Display,
    Document,
    Heading,
    Pieces,
    Prose,
    Row,
    Rows,
    Table,
)
from symbackprop.render.formats import ROLE_COLOURS, constraints, inline
from symbackprop.render.formats import numbers as written_numbers
from symbackprop.render.latex import Latex, WebLatex
from symbackprop.render.lines import broken, set_width
from symbackprop.render.overview import symbol_table
from symbackprop.render.text import Text
from symbackprop.symbols import Assign, Expr, Mul, Partial, Ref, Sum, Vec, families, walk

DETAILS = tuple(d.name.lower() for d in Detail)

DARK_COLOURS = {"upstream": "FF9D78", "slope": "86D08B", "incoming": "86B8FF"}
"""Colour of each role on the dark page."""

ROLE_WORDS = {"upstream": "gradient from above", "slope": "slope at the node", "incoming": "what comes in below"}

BACKGROUNDS = {"light": "FFFEFB", "dark": "15171B"}


# ---------------------------------------------------------------- the page


def html(documents: Mapping[str, Document], detail: str = "lecture", *, language: str = "en") -> str:
    """One file that shows the derivation in the detail asked for, with a switch to the others.

    Args:
        documents: By detail: one, two or all of brief, lecture, full.
        detail: Which of them shows first. Another may be asked for in the address: page.html#full.
        language: Of the words on the page, as an HTML language tag.

    Returns:
        The page: UTF-8 text without a reference to any other file.

    Raises:
        UnknownNameError: `documents` has no such detail, or a key that is none.
    """
    for name in (detail, *documents):
        if name not in DETAILS or detail not in documents:
            raise UnknownNameError(f"no document of detail {name!r} to show{nearest(str(name), documents or DETAILS)}")
    asked = documents[detail]
    if all(d.blocks == asked.blocks for d in documents.values()):
        documents = {detail: asked}  # nothing to switch between
    diagram = Diagram.of(asked)
    plain = inline(asked.title, Text(asked.system, asked.notation), str, str)
    sections = [_section(n, documents[n], diagram, n == detail) for n in DETAILS if n in documents]
    return page(
        plain,
        (
            "<header>",
            f"<h1>{_pieces(asked.title, WebLatex(asked.system, asked.notation), display=True)}</h1>",
            f'<p class="notation">In the notation of {escape(asked.notation.source)}</p>'
            if asked.notation.source
            else "",
            "</header>",
            NO_SCRIPTS,
            diagram.figure() if diagram else "",
            _bar(tuple(n for n in DETAILS if n in documents), detail, tuple(documents.values())),
            _notation(tuple(documents.values())),
            *sections,
        ),
        language=language,
    )


NO_SCRIPTS = "<noscript><p>The formulas stand here as LaTeX, because this browser runs no scripts.</p></noscript>"


def page(title: str, main: Iterable[str], *, language: str = "en", style: str = "") -> str:
    """The file around what it shows: style, scripts and the policy that admits no other.

    Args:
        title: Of the window, as plain text.
        main: What the page shows, as HTML in which all text is escaped.
        style: The name of a style sheet beside that of all pages.
    """
    styles = _style() + (f"\n{_asset(style)}" if style else "")
    head, *rest = _scripts()
    policy = "; ".join(
        (
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            "font-src data:",
            "img-src data:",
            "script-src " + " ".join(f"'sha256-{_digest(s)}'" for s in (head, *rest)),
        )
    )
    return "\n".join(
        (
            "<!DOCTYPE html>",
            f'<html lang="{escape(language)}">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="generator" content="symbackprop">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{styles}</style>",
            f"<script>{head}</script>",
            "</head>",
            "<body>",
            "<main>",
            *main,
            "</main>",
            *(f"<script>{s}</script>" for s in rest),
            "</body>",
            "</html>\n",
        )
    )


def _bar(names: tuple[str, ...], shown: str, documents: tuple[Document, ...]) -> str:
    """The switch between details, and what the colours of the factors mean."""
    roles = {
        r for d in documents for row in _rows(d) for _, p in walk(row.right) if isinstance(p, Mul) for r in p.roles
    }
    legend = "".join(f'<li class="{r}">{ROLE_WORDS[r]}</li>' for r in ROLE_COLOURS if r in roles)
    radios = "".join(
        f'<input type="radio" name="detail" id="show-{n}" value="{n}"{" checked" if n == shown else ""}>'
        f'<label for="show-{n}">{n}</label>'
        for n in names
    )
    switch = f'<fieldset class="switch"><legend>Detail</legend>{radios}</fieldset>' if len(names) > 1 else ""
    key = f'<ul class="legend" aria-label="What the colours mean">{legend}</ul>' if legend else ""
    return f'<div class="bar">{key}{switch}</div>' if key or switch else ""


def _notation(documents: tuple[Document, ...]) -> str:
    """The notation table of what the documents use, folded away."""
    used: set[str] = set()
    for d in documents:
        for row in _rows(d):
            used |= families(row.right) | (families(row.left) if row.left is not None else frozenset())
    d = documents[0]
    if not used or all(any(isinstance(b, Table) for b in d.blocks) for d in documents):
        return ""
    table = _table(symbol_table(d.system, frozenset(used), d.notation), WebLatex(d.system, d.notation))
    return f'<details class="symbols"><summary>Notation</summary>{table}</details>'


def _rows(d: Document) -> Iterable[Row]:
    return (r for b in d.blocks if isinstance(b, Rows) for r in b.rows)


def _section(name: str, d: Document, diagram: Diagram | None, shown: bool) -> str:
    """The blocks of one document. Ids begin with its detail, so that those of two never meet."""
    p = WebLatex(d.system, d.notation, roles=True)
    numbers = frozenset(r.number for r in _rows(d) if r.number is not None)
    parts: list[str] = []
    headings = 0
    for b in d.blocks:
        headings += isinstance(b, Heading)
        parts.append(_block(b, p, name, numbers, headings, diagram))
    hidden = "" if shown else " hidden"
    return (
        f'<section class="detail" id="{name}" aria-label="{name} derivation"{hidden}>\n'
        + "\n".join(parts)
        + "\n</section>"
    )


def _block(b: Block, p: Latex, name: str, numbers: frozenset[int], headings: int, diagram: Diagram | None) -> str:
    match b:
        case Heading(pieces):
            anchor = f"{name}-h{headings}"
            link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this heading">#</a>'
            return f'<h2 id="{anchor}">{_pieces(pieces, p, display=True)}{link}</h2>'
        case Rows(rows):
            return '<div class="rows">\n' + "\n".join(_row(r, p, name, numbers, diagram) for r in rows) + "\n</div>"
        case Prose(pieces):
            return f"<p>{_pieces(pieces, p, name, numbers)}</p>"
        case Closing(text, good):
            mark, verdict = ("✓", "good") if good else ("✗", "bad")
            return f'<p class="closing {verdict}" role="note"><span class="mark" aria-hidden="true">{mark}</span>{escape(text)}</p>'
        case Table():
            return _table(b, p)
        case Code(text, language):
            return f'<pre class="code"><code class="language-{escape(language)}">{_code(text)}</code></pre>'
        case Display("", _):
            return ""  # a line for terminals: here the formula says it itself
        case Display(source, pieces):
            label = inline(pieces, Text(p.system, p.notation), str, str)
            return f'<div class="display" role="img" aria-label="{escape(label)}">{math(source, display=True)}</div>'
        case Algorithm(source, code):
            return f'<div class="display" role="img" aria-label="{escape(code)}">{math(source, display=True)}</div>'
    raise TypeError(type(b).__name__)


def _row(row: Row, p: Latex, name: str, numbers: frozenset[int], diagram: Diagram | None) -> str:
    """One line: left side, relation and right side, reason, number."""
    left: Expr | None = row.left
    sign, body = "=", row.right
    if isinstance(row.right, Assign):
        left, sign, body = row.right.target, p.arrow(), row.right.value
    whole, marked = f"{sign} {replace(p, roles=False)(body)}", f"{sign} {p(body)}"
    first, *rest = _lines(marked, p(left) if left is not None else "")
    right = math(whole, display=True, marked=first)
    right += "".join(math("", display=True, marked=rf"\quad {line}") for line in rest)
    values = math(written_numbers(row, p), display=True, classes="values") if row.values else ""
    condition = f' <span class="cond">({math(constraints(row.condition, p))})</span>' if row.condition else ""
    anchor = f' id="{name}-{row.number}"' if row.number is not None else ""
    marks = "".join(
        f' data-{role}="{escape(" ".join(sorted(t)))}"'
        for role, t in (diagram.touched(row.right) if diagram else {}).items()
    )
    number = f'<a class="number" href="#{name}-{row.number}" aria-label="Equation {row.number}">({row.number})</a>' if row.number is not None else ""  # fmt: skip
    return (
        f'<div class="row{" boxed" if row.boxed else ""}{"" if left is not None else " more"}"{anchor}{marks}>'
        f'<div class="left">{math(p(left), display=True) if left is not None else ""}</div>'
        f'<div class="right"><span class="eq">{right}{values}</span>{condition}</div>'
        f'<div class="why">{_pieces(row.why, p, name, numbers)}</div>'
        f"{number}</div>"
    )


def _lines(latex: str, left: str) -> list[str]:
    """The lines of a right side: more than one where it would have to shrink too much to fit."""
    room = COLUMN - max(50.0, set_width(left))
    return broken(latex, room, room - 10) if set_width(latex) > 1.15 * room else [latex]


COLUMN = 430.0
"""Points, in the type of the formulas, of a row with its left side and without its number."""


def _table(t: Table, p: Latex) -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in t.header)
    body = "".join("<tr>" + "".join(f"<td>{_pieces(c, p)}</td>" for c in r) + "</tr>\n" for r in t.rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _code(text: str) -> str:
    """Code with its comments set apart."""
    lines = []
    for line in text.split("\n"):
        code, sign, comment = line.partition("#")
        lines.append(escape(code) + (f'<span class="comment">{escape(sign + comment)}</span>' if sign else ""))
    return "\n".join(lines)


def math(latex: str, *, display: bool = False, classes: str = "", marked: str = "") -> str:
    """A formula as its LaTeX; `marked` is what the script sets in its place, with the roles of the factors."""
    kind = " ".join(c for c in ("m", "d" if display else "", classes) if c)
    roles = f' data-tex="{escape(marked)}"' if marked and marked != latex else ""
    return f'<span class="{kind}"{roles}>{escape(latex)}</span>'


def _pieces(
    pieces: Pieces, p: Latex, name: str = "", numbers: frozenset[int] = frozenset(), *, display: bool = False
) -> str:
    """Text and formulas; a row's number in brackets links to the row."""

    def link(match: re.Match[str]) -> str:
        n = int(match[1])
        return f'<a class="ref" href="#{name}-{n}">({n})</a>' if n in numbers else match[0]

    out = ""
    for piece in pieces:
        if isinstance(piece, str):
            out += re.sub(r"\((\d{1,6})\)", link, escape(piece))
        else:
            out += inline((piece,), p, lambda m: math(m, display=display), str)
    return out


# ---------------------------------------------------------------- style and script


@cache
def _asset(name: str) -> str:
    return files("symbackprop.render").joinpath("web", name).read_text(encoding="utf-8")


@cache
def _style() -> str:
    """KaTeX's style sheet with the fonts that come with it as data, then the page's own."""

    def face(match: re.Match[str]) -> str:
        font = re.search(r"url\((fonts/[\w-]+\.woff2)\)", match[0])
        path = files("symbackprop.render").joinpath("web", *font[1].split("/")) if font else None
        if path is None or not path.is_file():
            return ""
        data = base64.b64encode(path.read_bytes()).decode()
        return re.sub(r"src:[^}]*", f'src:url(data:font/woff2;base64,{data}) format("woff2")', match[0])

    katex = re.sub(r"@font-face\{[^}]*\}", face, _asset("katex.min.css"))
    colours = [
        (scope, "".join(f"--{r}:#{c};" for r, c in roles.items()) + f"--paper:#{BACKGROUNDS[theme]};")
        for scope, roles, theme in ((":root{%s}", ROLE_COLOURS, "light"), ("@media screen and (prefers-color-scheme:dark){:root{%s}}", DARK_COLOURS, "dark"))
    ]  # fmt: skip
    return "\n".join((katex, *(scope % c for scope, c in colours), _asset("page.css")))


@cache
def _scripts() -> tuple[str, ...]:
    return 'document.documentElement.className="js"', _asset("katex.min.js"), _asset("page.js")


@cache
def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# ---------------------------------------------------------------- the diagram

STEP, MARGIN, RADIUS, HEIGHT, MIDDLE = 124, 50, 14, 236, 102
HEIGHTS = {1: (102,), 2: (72, 132), 3: (46, 102, 158), 4: (30, 78, 126, 174), 5: (34, 80, 126, 190)}
"""Of the nodes of a column: one to four, or the first three and the last."""


@dataclass(frozen=True)
class Column:
    """One layer of the picture: how many nodes are drawn, and which of them have a name."""

    layer: Affine
    drawn: int
    whole: bool
    named: Mapping[Affine, int]


@dataclass(frozen=True)
class Diagram:
    """The layers between a quantity and the cost, with every path from one to the other lit.

    Read off the axes alone: a family with one node axis lives on the nodes of a layer, one with two on
    the edges between two layers. A part of the picture is named by tokens: `n1` the nodes of column 1,
    `n1-0` one of them, `e1` the edges that leave column 1, `e1-0-`, `e1--2`, `e1-0-2` some of those.
    """

    document: Document
    columns: tuple[Column, ...]
    gaps: frozenset[int]
    goal: frozenset[str]
    lit: frozenset[str]
    subject: Expr

    @classmethod
    def of(cls, d: Document) -> Diagram | None:
        """None where the network has no layers, or the goal is not a derivative of a scalar by what lives on them."""
        if not isinstance(d.goal, Partial) or d.goal.top.indices or not _layered(d.system) or d.system.upstream:
            return None
        bottom = d.goal.bottom
        ref = bottom.body if isinstance(bottom, Vec) else bottom
        places = _places(d.system, ref) if isinstance(ref, Ref) else None
        if not places or not isinstance(ref, Ref):
            return None
        last, high = d.system.layers, places[0][0]
        low = places[-1][0] if len(places) > 1 else high if high.value == 0 else high - 1
        if (high - low).value != 1 and high != low:
            return None
        left = (last - high).value
        if left is not None and left < 0:
            return None
        layers = [low, high] if low != high else [high]
        gaps: set[int] = set() if low.value == 0 else {-1}
        if left is not None and left <= 3:
            layers += [high + n for n in range(1, left + 1)]
        else:
            gaps.add(len(layers))
            layers += [high + 1, last]
        bound = bottom.index if isinstance(bottom, Vec) else None
        columns = tuple(_column(d.system, ref, at, places, bound) for at in layers)
        blank = cls(d, columns, frozenset(gaps), frozenset(), frozenset(), bottom)
        goal = blank.tokens(ref)
        if goal is None:
            return None
        return cls(d, columns, frozenset(gaps), frozenset(goal), frozenset(goal | blank.forward(ref)), bottom)

    def position(self, layer: Affine) -> int | None:
        return next((n for n, c in enumerate(self.columns) if c.layer == layer), None)

    def tokens(self, ref: Ref) -> set[str] | None:
        """Where a quantity lives; None where that layer is not drawn; nowhere if it lives on no layer."""
        places = _places(self.document.system, ref)
        if places is None:
            return set()
        found = [(self.position(layer), node) for layer, node in places]
        if any(n is None for n, _ in found):
            return None
        (n, node), *tail = [(n, node) for n, node in found if n is not None]
        slot = self.columns[n].named.get(node, "")
        if not tail:
            return {f"n{n}-{slot}" if slot != "" else f"n{n}"}
        m, other = tail[0]
        return self.edges(m, self.columns[m].named.get(other, ""), slot)

    def edges(self, n: int, start: int | str, end: int | str) -> set[str]:
        return {f"e{n}-{start}-{end}" if start != "" or end != "" else f"e{n}"}

    def forward(self, ref: Ref) -> set[str]:
        """Everything that a quantity reaches on the way to the cost."""
        places = _places(self.document.system, ref)
        n = self.position(places[0][0]) if places else None
        if n is None or not places:
            return set()
        slot = self.columns[n].named.get(places[0][1], "")
        out = {f"n{n}-{slot}" if slot != "" else f"n{n}"}
        for m in range(n, len(self.columns)):
            if m > n or slot == "" or self.coupled(m):
                out |= {f"n{m}", f"e{m}"}
            else:
                out.add(f"e{m}-{slot}-")
        return out | {"cost"}

    def coupled(self, n: int) -> bool:
        """Whether a node of this layer reaches the others beside it, as under softmax."""
        system, layer = self.document.system, self.columns[n].layer
        for e in system.equations:
            here = e.lhs.indices[0] if e.lhs.indices else None
            if here is None or here.name is None or system.family(e.lhs.family).axes[0].kind != "recursion":
                continue
            case = [c.substitute({here.name: layer}) for c in e.guard]
            case += [equals(layer, system.layers) if n == len(self.columns) - 1 else at_least(system.layers, layer + 1)]
            beside = any(isinstance(p, Sum) and p.axis.kind == "node" and p.axis.at == here for _, p in walk(e.rhs))
            if beside and satisfiable(case):
                return True
        return False

    def touched(self, right: Expr) -> dict[str, set[str]]:
        """For each role in a line, the parts of the picture that its factors are about; nothing if one is not drawn."""
        out: dict[str, set[str]] = {}
        for _, p in walk(right):
            if isinstance(p, Mul) and p.roles:
                for factor, role in zip(p.factors, p.roles, strict=True):
                    found = self.about(factor)
                    if found is None:
                        return {}
                    out.setdefault(role, set()).update(found)
        return {r: t for r, t in out.items() if t}

    def about(self, factor: Expr) -> set[str] | None:
        out: set[str] = set()
        for _, p in walk(factor):
            if isinstance(p, Ref):
                found = self.tokens(p)
            elif isinstance(p, Partial) and isinstance(p.bottom, Ref):
                found = self.between(p.top, p.bottom)
            else:
                continue
            if found is None:
                return None
            out |= found
        return out

    def between(self, top: Ref, bottom: Ref) -> set[str] | None:
        """The parts from one quantity up to another: to the cost, along an edge, or within a node."""
        own = self.tokens(bottom)
        ends = _places(self.document.system, top)
        starts = _places(self.document.system, bottom)
        if own is None or not starts:
            return own
        if ends is None:
            return own | self.forward(bottom)
        n, m = self.position(starts[0][0]), self.position(ends[0][0])
        if n is None or m is None:
            return None
        if m == n + 1 and len(starts) == len(ends) == 1:
            return self.edges(n, self.columns[n].named.get(starts[0][1], ""), self.columns[m].named.get(ends[0][1], ""))
        return own

    def figure(self) -> str:
        """The picture, its labels set as formulas over it."""
        p = WebLatex(self.document.system, self.document.notation)
        goal = self.document.goal
        assert isinstance(goal, Partial)
        xs = [MARGIN + (46 if -1 in self.gaps else 0)]
        for n in range(len(self.columns)):
            xs.append(xs[-1] + STEP + (36 if n in self.gaps else 0))
        width = xs[-1] + MARGIN
        ys = [*(HEIGHTS[c.drawn if c.whole else 5] for c in self.columns), (MIDDLE,)]
        shapes: list[tuple[int, str]] = []

        def draw(kind: str, names: Iterable[str], inner: str, above: int = 0) -> None:
            given = frozenset(names)
            state = 2 if self.goal & given else 1 if self.lit & given else 0
            classes = " ".join((kind, *(("", "lit", "goal")[state : state + 1] if state else ()), *sorted(given)))
            shapes.append((above + state, f'<g class="{classes}">{inner}</g>'))

        def dots(x: float, y: float, dx: float, dy: float) -> str:
            return "".join(f'<circle cx="{x + n * dx:g}" cy="{y + n * dy:g}" r="2"/>' for n in (-1, 0, 1))

        labels: list[tuple[float, float, str, str]] = [(xs[-1], MIDDLE, p(goal.top), "of cost")]
        for n, c in enumerate(self.columns):
            for s, y in enumerate(ys[n]):
                draw("node", {f"n{n}", f"n{n}-{s}"}, f'<circle cx="{xs[n]}" cy="{y}" r="{RADIUS}"/>', 3)
            if not c.whole:
                draw("dots", {f"n{n}"}, dots(xs[n], (ys[n][-1] + ys[n][-2]) / 2, 0, 6))
            labels += [(xs[n], ys[n][s], p.position(i), "of") for i, s in c.named.items()]
            labels.append((xs[n], HEIGHT - 14, p.affine(c.layer), "under"))
            if n in self.gaps:
                every = {f"e{n}", *(f"e{n}-{s}-" for s in range(c.drawn))}
                draw("dots", every, dots((xs[n] + xs[n + 1]) / 2, MIDDLE, 11, 0))
                continue
            for (s, y), (t, z) in product(enumerate(ys[n]), enumerate(ys[n + 1])):
                line = f'<line x1="{xs[n]}" y1="{y}" x2="{xs[n + 1]}" y2="{z}"/>'
                draw("edge", {f"e{n}", f"e{n}-{s}-", f"e{n}--{t}", f"e{n}-{s}-{t}"}, line)
        if -1 in self.gaps:
            draw("dots", (), dots(xs[0] - 60, MIDDLE, 11, 0))
        draw("node cost", {"cost"}, f'<rect x="{xs[-1] - 21}" y="{MIDDLE - 19}" width="42" height="38" rx="8"/>', 3)
        labels.append((*self._label(xs, ys), p(self.subject), "subject"))
        set_over = "".join(
            f'<span class="label {kind}" style="left:{100 * x / width:.2f}%;top:{100 * y / HEIGHT:.2f}%">{math(text)}</span>'
            for x, y, text, kind in labels
        )
        drawn = "".join(shape for _, shape in sorted(shapes, key=lambda pair: pair[0]))
        subject, top = (Text(self.document.system, self.document.notation)(e) for e in (self.subject, goal.top))
        return (
            f'<figure class="network" role="img" aria-label="{escape(f"The paths from {subject} to {top}")}">'
            f'<div style="max-width:{width * 0.058:.1f}rem;--width:{width}"><svg viewBox="0 0 {width} {HEIGHT}" aria-hidden="true">{drawn}</svg>{set_over}</div>'
            f"<figcaption>Every path by which {math(p(self.subject))} reaches {math(p(goal.top))}</figcaption></figure>"
        )

    def _label(self, xs: list[int], ys: list[tuple[int, ...]]) -> tuple[float, float]:
        """Where the name of the quantity stands: on its edge, or above its node."""
        n, s, t = re.fullmatch(r"[en](\d+)-?(\d*)-?(\d*)", min(self.goal)).groups(default="")  # type: ignore[union-attr]
        column = int(n)
        if min(self.goal)[0] == "n":
            return xs[column] - RADIUS - 22, ys[column][int(s or 0)]
        y, z = ys[column][int(s or 0)], ys[column + 1][int(t or 0)]
        return (xs[column] + xs[column + 1]) / 2, (y + z) / 2


def _layered(system: System) -> bool:
    """Whether every family has at most one axis of layers and every node belongs to a layer, one fed by the one before."""
    if not (system.layers.names or system.layers.value):
        return False
    for f in system.families.values():
        layers = sum(a.kind == "recursion" for a in f.axes)
        if layers > 1 or (
            layers and (f.axes[0].kind != "recursion" or any(a.kind != "node" or a.at is None for a in f.axes[1:]))
        ):
            return False
    for e in system.equations:
        if e.lhs.indices and system.family(e.lhs.family).axes[0].kind == "recursion":
            for _, p in walk(e.rhs):
                if isinstance(p, Ref) and len(p.indices) == 2 and p.indices[0] == e.lhs.indices[0] - 1:
                    return True
    return False


def _places(system: System, ref: Ref) -> tuple[tuple[Affine, Affine], ...] | None:
    """The layer and node of each node index, the layer nearest to the cost first; None where there is no layer."""
    axes = system.axes(ref) if len(ref.indices) == len(system.family(ref.family).axes) else ()
    if not axes or axes[0].kind != "recursion" or not 2 <= len(axes) <= 3:
        return None
    return tuple((a.at, i) for a, i in zip(axes[1:], ref.indices[1:], strict=True) if a.at is not None)


def _column(
    system: System, ref: Ref, layer: Affine, places: tuple[tuple[Affine, Affine], ...], bound: str | None
) -> Column:
    width = next(
        (n for a in system.axes(ref)[1:] if a.at is not None for n in (system.size(replace(a, at=layer)),)), None
    )
    whole = width is not None and width <= 4
    drawn = width if whole and width is not None else 4
    named: dict[Affine, int] = {}
    for rank, (at, node) in enumerate(places):
        if at != layer or (bound is not None and node.name == bound):
            continue
        number = node.value
        slot = number if number is not None and number < (drawn if whole else 3) else min(1 + rank, drawn - 1)
        named[node] = slot
    return Column(layer, drawn, whole, named)
