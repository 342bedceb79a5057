"""A check as Markdown, and as what a notebook shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from symbackprop.render.findings import (
    SIGNS,
    alone,
    headline,
    outcome,
    pieces,
    printable,
    sentences,
    settable,
    stopped,
    taken,
)

if TYPE_CHECKING:
    from symbackprop.report import Finding, Report

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$!])")


def markdown(report: Report) -> str:
    """A check in Markdown: formulas between dollars, the summary first."""
    title, *rest = outcome(report, dollars=True)
    parts = [f"# {words(report.file or 'Check')}: {title}"]
    parts += [". ".join(map(with_formulas, rest)) + "."] if rest else []
    parts += [f"Taken: {with_formulas(taken(report, dollars=True))}."] if report.taken else []
    parts += [f"- {with_formulas(n)}" for n in report.notes]
    for f in report.claims:
        parts += claim(f)
    return "\n\n".join(parts) + "\n"


def claim(f: Finding) -> Iterator[str]:
    """The paragraphs on one claim."""
    place = f" ({words(f.place)})" if f.place else ""
    yield f"## {SIGNS[f.verdict]} Claim {f.claim}{place}: {words(headline(f))}"
    yield display(f.latex)
    said = [with_formulas(s) for s in sentences(f)]
    if said:
        yield " ".join(said)
    if f.fixes:
        yield "Repaired:" if f.verdict == "refuted" else "Perhaps meant:"
        yield display(f.fixes[0].latex)
        others = [with_formulas(o.what) for o in f.fixes[1:3] if o.what]
        if others:
            yield "Or: " + "; ".join(others) + "."
    if f.counterexample is not None and f.counterexample.inputs:
        rows = "\n".join(f"| {with_formulas(k)} | {datum(v)} |" for k, v in f.counterexample.inputs.items())
        yield f"| input | value |\n|---|---|\n{rows}"
    if f.proof:
        yield "\n".join(f"{n}. {with_formulas(s)}" for n, s in enumerate(f.proof, 1))
    if f.right:
        yield "The derivation of the right answer:"
        yield "\n".join(f"{n}. {words(rule)}: {inline(latex)}" for n, (rule, latex) in enumerate(f.right, 1))


def datum(value: Any) -> str:
    """A number, or (nested) rows of them, as text."""
    if isinstance(value, list | tuple):
        return words("(") + ", ".join(map(datum, value)) + words(")")
    return with_formulas(str(value))


def words(text: str) -> str:
    """Plain text in Markdown: nothing in it is markup."""
    return SPECIAL.sub(r"\\\1", printable(text))


def with_formulas(sentence: str) -> str:
    """A sentence with its formulas between dollars."""
    return "".join(inline(p) if is_formula else words(p) for is_formula, p in pieces(sentence))


def display(latex: str) -> str:
    """A formula on a line of its own; as code where it would end the formula or the page."""
    return f"$$\n{on_one_line(latex)}\n$$" if plain(latex) else code(latex)


def inline(latex: str) -> str:
    return f"${on_one_line(latex)}$" if plain(latex) else words(latex)


def on_one_line(latex: str) -> str:
    return " ".join(alone(latex).split())


def plain(latex: str) -> bool:
    """Whether a formula can stand between dollars; a comment would hide the rest of its line."""
    return settable(latex) and not re.search(r"(?<!\\)%", latex)


def code(latex: str) -> str:
    """A formula as code, in a fence longer than any in it."""
    shown = printable(latex)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}\n{shown}\n{fence}"


# ---------------------------------------------------------------- notebooks

INKS = {"proved": "#2e7d32", "refuted": "#c62828", "definition": "#1f6f8b", "undecided": "#9a6700", "not_understood": "#7b3fa0"}  # fmt: skip


def notebook(report: Report) -> str:
    """A check as HTML for a notebook, which sets what stands between dollars."""
    rows = "".join(f'<div style="margin:.7em 0">{notebook_claim(f)}</div>' for f in report.claims)
    closing = escape(printable(stopped(". ".join(outcome(report)))))
    return f'<div>{rows}<div style="border-top:1px solid #9994;padding-top:.5em"><b>{closing}</b></div></div>'


def notebook_claim(f: Finding) -> str:
    place = f" <span style='opacity:.65'>{escape(printable(f.place))}</span>" if f.place else ""
    head = f'<b style="color:{INKS[f.verdict]}">{SIGNS[f.verdict]} {f.claim}&ensp;{escape(printable(headline(f)))}</b>{place}'
    said = "".join(f"<div>{escape(printable(s))}</div>" for s in sentences(f))
    fix = f"<div>{math(f.fixes[0].latex)}</div>" if f.fixes else ""
    return f"{head}<div>{math(f.latex)}</div>{said}{fix}"


def math(latex: str) -> str:
    if not plain(latex):
        return f"<code>{escape(printable(latex))}</code>"
    return f"$\\displaystyle {escape(on_one_line(latex))}$"


__all__ = ["markdown", "notebook"]
