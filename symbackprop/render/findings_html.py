"""A check as one HTML file: each claim with its verdict, its slip marked, the numbers that refute it, what would repair it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, Any

from symbackprop.render.findings import (
    LONGEST_NUMBER,
    SIGNS,
    VERDICT_WORDS,
    alone,
    headline,
    marked,
    merged,
    outcome,
    pieces,
    placed,
    printable,
    sentences,
    settable,
    stopped,
    taken,
    tally,
    to_json,
)
from symbackprop.render.html import NO_SCRIPTS, math
from symbackprop.render.html import page as file
from symbackprop.render.lines import broken, set_width

if TYPE_CHECKING:
    from symbackprop.report import Counterexample, Finding, Fix, Report

ROOM = 470.0
"""Points that a formula has on the page, in its own type."""

MOST_MARKS = 8

LONGEST_BROKEN = 1000
"""Characters of a formula that is broken over lines; a longer one scrolls."""


def page(reports: Sequence[Report]) -> str:
    """One file that shows a check, or several with a table of them first."""
    one = len(reports) == 1
    folder, _, name = (reports[0].file if one else "").rpartition("/")
    title = (name or "Check") if one else f"Check of {len(reports)} files"
    model = reports[0].model if reports else ""
    about = [f"Checked against {words(model)}"] if model else []
    about += [f"in {words(folder)}"] if folder else []
    head = [
        "<header>",
        f"<h1>{words(title)}</h1>",
        f'<p class="notation">{" · ".join(about)}</p>' if about else "",
        "</header>",
        NO_SCRIPTS,
        '<section class="detail" id="check" aria-label="Check">',
    ]
    if one:
        body = list(shown(reports[0], "c"))
    else:
        body = [table(reports), *(folded(r, n) for n, r in enumerate(reports, 1))]
    return file(printable(title), [*head, *body, "</section>"], style="check.css")


def words(text: str) -> str:
    """Plain text in HTML, with what would act on the page made visible."""
    return escape(printable(text))


def sentence(text: str) -> str:
    """A sentence with its formulas."""
    return "".join(math(p) if is_formula and settable(p) else words(p) for is_formula, p in pieces(text))


# ---------------------------------------------------------------- several files


def table(reports: Sequence[Report]) -> str:
    """All files with their verdicts, each leading to its own part of the page."""
    rows = []
    for n, r in enumerate(reports, 1):
        wrong = r.first_wrong
        first = f"claim {wrong.claim}{f', {wrong.place}' if wrong.place else ''}" if wrong is not None else ""
        answered = {True: "yes", False: "no", None: ""}[r.answered]
        cells = (len(r.claims), r.counts()["proved"], r.counts()["refuted"])
        rows.append(
            f'<tr class="{r.verdict}"><td><a href="#f{n}">{words(r.file)}</a></td>'
            f'<td class="word"><span class="sign" aria-hidden="true">{SIGNS[r.verdict]}</span> {VERDICT_WORDS[r.verdict]}</td>'
            + "".join(f'<td class="n">{c}</td>' for c in cells)
            + f"<td>{words(first)}</td><td>{answered}</td></tr>"
        )
    header = "".join(
        f'<th scope="col"{" class=n" if h in ("claims", "proved", "refuted") else ""}>{h}</th>'
        for h in ("file", "verdict", "claims", "proved", "refuted", "first wrong", "answered")
    )
    return f'<div class="table"><table class="files"><thead><tr>{header}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def folded(r: Report, n: int) -> str:
    """The check of one file of several, to be unfolded."""
    return (
        f'<details class="file {r.verdict}" id="f{n}"><summary><span class="sign" aria-hidden="true">{SIGNS[r.verdict]}</span>'
        f'<span class="name">{words(r.file)}</span> <span class="at">{words(tally(r))}</span></summary>'
        + "\n".join(shown(r, f"f{n}-c"))
        + "</details>"
    )


# ---------------------------------------------------------------- one file


def shown(r: Report, prefix: str) -> Iterator[str]:
    """The summary, then claim after claim."""
    yield summary(r, prefix)
    if r.taken or r.notes:
        said = ([f"Taken: {taken(r, dollars=True)}"] if r.taken else []) + list(r.notes)
        yield '<ul class="notes">' + "".join(f"<li>{sentence(stopped(s))}</li>" for s in said) + "</ul>"
    yield f'<div data-macros="{escape(to_json(macros(r)))}">' if r.macros else "<div>"
    for f in r.claims:
        yield claim(f, prefix)
    yield "</div>"
    if r.claims:
        yield KEY


MACROS, LONGEST_MACRO = 100, 300
"""How many macros of a hand-in a page takes, and how many characters of what one stands for."""


def macros(r: Report) -> dict[str, str]:
    """The macros of a hand-in that its formulas may use on the page."""
    usable = ((n, b) for n, b in r.macros if re.fullmatch(r"\\[A-Za-z]+", n) and n != r"\htmlClass")
    return dict([(n, b) for n, b in usable if len(b) <= LONGEST_MACRO and settable(b)][:MACROS])


KEY = (
    '<p class="key">Proved: for all values in the range that is stated. Refuted: by the numbers that are shown, which anyone can '
    "compute again, or by the form of the line. Undecided: neither was found.</p>"
)


def summary(r: Report, prefix: str) -> str:
    """The verdict on the whole, the counts, and one square for each claim that leads to it."""
    said = [sentence(stopped(s)) for s in outcome(r, dollars=True)[0 if r.error else 1 :]]
    wrong = r.first_wrong
    if wrong is not None:
        link = f'<a href="#{prefix}{wrong.claim}">claim {wrong.claim}</a>'
        said = [re.sub(rf"(?<=First wrong: )claim {wrong.claim}\b", lambda _: link, s, count=1) for s in said]
    squares = "".join(
        f'<a class="{f.verdict}{" carried" if f.carried else ""}" href="#{prefix}{f.claim}" '
        f'title="{words(f"claim {f.claim}: {VERDICT_WORDS[f.verdict]}")}">{f.claim}</a>'
        for f in r.claims
    )
    strip = f'<nav class="strip" aria-label="Claims">{squares}</nav>' if len(r.claims) > 1 else ""
    name = "not checked" if r.error else VERDICT_WORDS[r.verdict]
    return (
        f'<div class="whole {r.verdict}"><span class="sign" aria-hidden="true">{SIGNS[r.verdict]}</span>'
        f'<div><p class="verdict">{name[0].upper()}{name[1:]}</p><p>{" ".join(said)}</p></div></div>{strip}'
    )


def claim(f: Finding, prefix: str) -> str:
    """One claim: its verdict, the line as written, what is said of it, and what can be unfolded."""
    anchor = f"{prefix}{f.claim}"
    place = f'<span class="at">{words(f.place)}</span>' if f.place else ""
    wrong = f.fixes[0].wrong if f.fixes and f.fixes[0].wrong else f.marks
    parts = [
        f'<article class="claim {f.verdict}{" carried" if f.carried else ""}" id="{anchor}">',
        f'<h3><span class="sign" aria-hidden="true">{SIGNS[f.verdict]}</span>'
        f'<a class="number" href="#{anchor}" aria-label="Claim {f.claim}">{f.claim}</a>'
        f'<span class="verdict">{sentence(headline(f))}</span>{place}</h3>',
        formula(f.latex, wrong, "slip"),
    ]
    if f.fixes:
        label = "repaired" if f.verdict == "refuted" else "perhaps meant"
        parts.append(f'<div class="fix"><span class="tag">{label}</span>{formula(f.fixes[0].latex, f.fixes[0].right, "mend")}</div>')  # fmt: skip
    c = f.counterexample
    said = [s for s in sentences(f) if c is None or not s.startswith(("At ", "Left ")) or "left " not in s.lower()]
    if said:
        parts.append(f'<p class="said">{" ".join(map(understood(f), said))}</p>')
    if c is not None:
        parts.append(counterexample(c))
    parts += folds(f)
    return "\n".join([*parts, "</article>"])


def understood(f: Finding) -> Any:
    """How the sentences on a claim are shown: what was not understood is named as it was typed."""
    return words if f.verdict == "not_understood" else sentence


def folds(f: Finding) -> Iterator[str]:
    """What is unfolded on request: how it was proved, other repairs, the derivation of what is right."""
    if f.proof:
        steps = "".join(f"<li>{sentence(s)}</li>" for s in f.proof)
        yield f'<details class="more"><summary>How it was proved</summary><ol class="proof">{steps}</ol></details>'
    if len(f.fixes) > 1:
        other = "".join(map(repair, f.fixes[1:]))
        yield f'<details class="more"><summary>Other repairs that make it true</summary>{other}</details>'
    if f.right:
        rows = "".join(step(rule, latex) for rule, latex in f.right)
        yield f'<details class="more"><summary>The derivation of the right answer</summary><div class="rows">{rows}</div></details>'


def repair(fix: Fix) -> str:
    what = f'<p class="said">{sentence(stopped(fix.what))}</p>' if fix.what else ""
    return what + formula(fix.latex, fix.right, "mend")


def step(rule: str, latex: str) -> str:
    """One step of a derivation: the formula, and the rule beside it."""
    inner = formula(latex, (), "mend")
    return f'<div class="step">{inner}<div class="why">{sentence(rule)}</div></div>'


# ---------------------------------------------------------------- formulas


def formula(latex: str, marks: Sequence[Any], name: str) -> str:
    """A formula on lines of its own, its marks shown; one that cannot be set, as its source with the same marks."""
    if not settable(alone(latex)):
        return f'<div class="formula"><code class="source">{source(latex, marks, name)}</code></div>'
    plain = alone(latex)
    shown_with = alone(marked(latex, marks[:MOST_MARKS], name)) if marks else plain
    lines = [shown_with]
    if len(plain) <= LONGEST_BROKEN and set_width(plain) > ROOM and r"\begin" not in plain:
        lines = broken(shown_with, ROOM, ROOM - 20)
    first, *rest = lines
    out = math(plain, display=True, marked=first) + "".join(
        math("", display=True, marked=rf"\quad {line}") for line in rest
    )
    return f'<div class="formula">{out}</div>'


def source(latex: str, marks: Sequence[Any], name: str) -> str:
    """The source of a formula as text, its marks in the colour of the others."""
    text, places = placed(latex, marks)
    out, at = "", 0
    for start, end in merged([p for p in places if p[0] < p[1]]):
        out += escape(text[at:start]) + f'<span class="{name}">{escape(text[start:end])}</span>'
        at = end
    return out + escape(text[at:])


# ---------------------------------------------------------------- numbers


def counterexample(c: Counterexample) -> str:
    """Where both sides differ, both values, and every number that they depend on, to be unfolded."""
    point = c.point()
    at = f'<span class="where">At {sentence(point)}</span>' if point else ""
    values = "".join(
        f'<span class="value"><span class="tag">{side}</span>{number(value)}</span>{between}'
        for side, value, between in (
            ("left side", c.left, '<span class="differs">≠</span>'),
            ("right side", c.right, ""),
        )
    )
    inputs = ""
    if c.inputs or max(len(c.left), len(c.right)) > LONGEST_NUMBER:
        rows = "".join(f"<tr><th scope='row'>{name(k)}</th><td>{datum(v)}</td></tr>" for k, v in c.inputs.items())
        rows += "".join(
            f"<tr><th scope='row'>{side}</th><td><code class='source'>{words(v)}</code></td></tr>"
            for side, v in (("left side", c.left), ("right side", c.right))
            if len(v) > LONGEST_NUMBER
        )
        inputs = f'<details class="more"><summary>The numbers behind it</summary><div class="table"><table class="inputs">{rows}</table></div></details>'
    return f'<div class="against">{at}<span class="values-of">{values}</span></div>{inputs}'


RATIONAL = re.compile(r"([-+−]?)(\d+)(?:/(\d+))?\Z", re.ASCII)


def number(value: str) -> str:
    """A value, set as a fraction with its decimal beside it."""
    m = RATIONAL.match(value) if len(value) < 4000 else None
    if m is None:
        text = value if len(value) <= LONGEST_NUMBER else value[: LONGEST_NUMBER - 1] + "…"
        return f'<span class="digits">{words(text)}</span>'
    minus, top, bottom = "-" if m[1] in ("-", "−") else "", m[2], m[3]
    near, exact = (
        decimal(Fraction(int(minus + top), int(bottom or "1"))) if bottom is None or int(bottom) else ("", False)
    )
    if len(value) > LONGEST_NUMBER:
        return (
            math(rf"\approx {near}") if near else f'<span class="digits">{words(value[: LONGEST_NUMBER - 1])}…</span>'
        )
    if bottom is None:
        return math(minus + top)
    beside = f'<span class="near">{"=" if exact else "≈"} {math(near)}</span>' if near else ""
    return math(rf"{minus}\tfrac{{{top}}}{{{bottom}}}") + beside


def decimal(value: Fraction) -> tuple[str, bool]:
    """About how much a fraction is, as LaTeX, and whether it is that; empty where it is out of what a person reads."""
    try:
        text = f"{float(value):.5g}"
    except OverflowError:
        return "", False
    mantissa, e, exponent = text.partition("e")
    return mantissa + (rf" \cdot 10^{{{int(exponent)}}}" if e else ""), Fraction(text) == value


def name(key: str) -> str:
    """The name of a datum, set where it is LaTeX."""
    short = re.fullmatch(r"[A-Za-z]'?", key) is not None
    return math(key) if (short or re.search(r"[_^\\]", key)) and len(key) < 200 and settable(key) else words(key)


def datum(value: Any) -> str:
    """A number, a row, a table, a list of tables, or a formula."""
    if not isinstance(value, list | tuple):
        text = str(value)
        if RATIONAL.match(text):
            return f'<span class="digits">{words(text.replace("-", "−"))}</span>'
        return (
            math(text)
            if settable(text) and re.search(r"[A-Za-z\\]", text)
            else f'<code class="source">{words(text)}</code>'
        )
    if not any(isinstance(row, list | tuple) for row in value):
        value = [value]
    if any(isinstance(cell, list | tuple) for row in value if isinstance(row, list | tuple) for cell in row):
        return "".join(f'<div class="slice">{datum(row)}</div>' for row in value)
    rows = [row if isinstance(row, list | tuple) else [row] for row in value]
    body = "".join("<tr>" + "".join(f"<td>{datum(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="matrix">{body}</table>'


__all__ = ["page"]
