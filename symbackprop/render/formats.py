"""A document as LaTeX, Markdown, terminal text or JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from symbackprop.derivation import Record
from symbackprop.indices import Guard
from symbackprop.render import lines as lines_
from symbackprop.render.document import (
    Algorithm,
    Block,
    Closing,
    Code,
    Display,
    Document,
    Follows,
    Heading,
    Pieces,
    Prose,
    Range,
    Row,
    Rows,
    Table,
)
from symbackprop.render.latex import Latex
from symbackprop.render.printer import Printer
from symbackprop.render.text import Ascii, Text
from symbackprop.symbols import Assign, Call, Expr, Mul, Num, Partial, Ref, Size, Sum, Vec

ROLE_COLOURS = {"upstream": "B5441F", "slope": "2E7D32", "incoming": "1F5FA8"}
"""Colour of each role: dark enough for print, apart for the colour-blind."""

PREAMBLE = (
    "\\documentclass{article}\n\\usepackage{amsmath}\n\\usepackage{xcolor}\n"
    + "".join(f"\\definecolor{{{r}}}{{HTML}}{{{c}}}\n" for r, c in ROLE_COLOURS.items())
    + "\\setlength{\\textwidth}{16.5cm}\n\\setlength{\\oddsidemargin}{-0.3cm}\n\\setlength{\\evensidemargin}{-0.3cm}\n"
    "\\setlength{\\textheight}{23cm}\n\\setlength{\\topmargin}{-1cm}\n"
    "\\setlength{\\parindent}{0pt}\n\\setlength{\\parskip}{6pt}\n\\allowdisplaybreaks\n"
)

LINE = 56
"""Letters of a formula, as the terminal shows it, that leave room for a rule beside it on a page."""

ESCAPES = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "−": "$-$", "<": "$<$", ">": "$>$", "≤": r"$\le$", "×": r"$\times$", "≥": r"$\ge$", "Σ": r"$\Sigma$", "⋯": r"$\cdots$", "√": r"$\sqrt{}$", "′": r"$'$"}  # fmt: skip


def escape(text: str) -> str:
    """Plain text inside LaTeX."""
    return "".join(ESCAPES.get(c, c) for c in text)


def constraints(guard: Guard, p: Printer) -> str:
    """A guard as a person writes it: l = L; 1 <= l < L."""
    return p.constraints(guard)


def inline(pieces: Pieces, p: Printer, math: Callable[[str], str], plain: Callable[[str], str]) -> str:
    out = ""
    for piece in pieces:
        if isinstance(piece, str):
            out += plain(piece)
        elif isinstance(piece, Range):
            out += ", ".join(map(math, p.conditions(piece.guard)))
        elif isinstance(piece, Follows):
            out += math(p.size_rule(piece.name, piece.rule))
        else:
            out += math(p(piece))
    return out


def numbers(row: Row, p: Printer) -> str:
    """The row's numbers: = 2(0.63 - 1) * 0.23 = -0.17."""
    if row.values is None:
        return ""
    written, value = row.values
    return (f" = {p(written)}" if written is not None else "") + f" = {p(value)}"


def row_body(row: Row, p: Printer, equals: str = "=") -> tuple[str, str]:
    left = p(row.left) if row.left is not None else ""
    right = p(row.right)
    return left, right if isinstance(row.right, Assign) else f"{equals} {right}"


# ---------------------------------------------------------------- LaTeX


def latex(d: Document, standalone: bool = False) -> str:
    """A fragment for amsmath, or a document that stands alone (article, amsmath, xcolor)."""
    p = Latex(d.system, d.notation, roles=standalone)
    parts: list[str] = []
    for b in d.blocks:
        parts.append(latex_block(b, p, standalone))
    body = "\n\n".join(x for x in parts if x)
    if not standalone:
        return body
    title = inline(d.title, p, lambda m: f"${m}$", escape)
    return f"{PREAMBLE}\\begin{{document}}\n\\section*{{{title}}}\n\n{body}\n\\end{{document}}\n"


def latex_block(b: Block, p: Printer, standalone: bool) -> str:
    match b:
        case Heading(pieces):
            text = inline(pieces, p, lambda m: f"${m}$", escape)
            return f"\\subsection*{{{text}}}" if standalone else f"\\paragraph{{{text}}}"
        case Rows(rows):
            return latex_rows(rows, p)
        case Prose(pieces):
            return inline(pieces, p, lambda m: f"${m}$", escape)
        case Closing(text):
            return f"\\textit{{{escape(text)}}}"
        case Table(header, rows):
            head = " & ".join(header) + r" \\ \hline"
            cells = [" & ".join(inline(c, p, lambda m: f"${m}$", escape) for c in r) + r" \\" for r in rows]
            # Words wrap; symbols and sizes do not.
            words = {"meaning": "p{4.2cm}", "role": "p{2cm}", "given by": "p{2.6cm}"}
            if p.system.mean is None:
                words["range"] = "p{3.6cm}"  # one range for each index
            columns = "".join(words.get(h, "l") for h in header)
            body = "\n".join([head, *cells])
            return f"{{\\footnotesize\n\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n{body}\n\\end{{tabular}}}}"
        case Code(text):
            return f"\\begin{{verbatim}}\n{text}\n\\end{{verbatim}}"
        case Display(source) | Algorithm(source):
            return f"\\[ {source} \\]" if source else ""
    raise TypeError(type(b).__name__)


def set_width(row: Row, plain: Text) -> int:
    """About how wide a row is when set: fractions stand upright, so half of each takes no room."""
    shown = "".join(row_body(row, plain)) + numbers(row, plain)
    return width(shown) - 9 * shown.count("/∂") + (14 if row.condition else 0)


def latex_rows(rows: tuple[Row, ...], p: Printer) -> str:
    lines = []
    # One wide formula would push the column of rules off the page, so they go under their formulas.
    plain = Text(p.system, p.notation)
    margin = max(lines_.set_width(row_body(row, p)[0]) for row in rows)
    under = any(set_width(row, plain) > LINE for row in rows) or margin + beside(rows, p) > lines_.PAGE
    for row in rows:
        left, right = row_body(row, p, "")
        condition = rf" \qquad ({constraints(row.condition, p)})" if row.condition else ""
        why = inline(row.why, p, lambda m: f"${m}$", escape)
        relation = "" if isinstance(row.right, Assign) else "= "
        right = right.strip()
        values = numbers(row, p)
        tag = rf" \tag{{{row.number}}}" if row.number is not None else r" \notag"
        if under:
            lines += [f"{left} &{relation}{line}" for line in broken_rows(row, right, values + condition, margin, tag)]
            room = lines_.PAGE - margin
            lines += [rf"&\quad \text{{{part}}} \notag" for part in lines_.text_lines(why, room)]
        else:
            right = rf"\boxed{{{right}}}" if row.boxed else right
            note = rf" && \text{{{why}}}" if why else " &&"
            lines.append(f"{left} &{relation}{right}{values}{condition}{note}{tag}")
    return "\\begin{align}\n  " + " \\\\\n  ".join(lines) + "\n\\end{align}"


def beside(rows: tuple[Row, ...], p: Printer) -> float:
    """The room that right sides and rules take beside each other."""
    right = [
        row_body(row, p)[1] + numbers(row, p) + rf"\qquad({constraints(row.condition, p)})" * bool(row.condition)
        for row in rows
    ]
    why = [inline(row.why, p, lambda m: f"${m}$", escape) for row in rows]
    rule = max(map(lines_.word_width, why))
    return max(map(lines_.set_width, right)) + (rule + 12 if rule else 0)


def broken_rows(row: Row, right: str, after: str, margin: float, tag: str) -> Iterator[str]:
    """The right side of a row over as many lines as it needs; a box is around all of them."""
    room = lines_.PAGE - 10 - margin - (10 if row.boxed else 0)
    parts = lines_.broken(right, room, room - 10)
    if lines_.set_width(parts[-1] + after) > room and after:
        parts.append("")  # what stands behind it gets a line
    if row.boxed and len(parts) > 1:
        inner = r" \\ &\quad ".join(x for x in parts if x)
        yield rf"\boxed{{\begin{{aligned}} &{inner} \end{{aligned}}}}{after}{tag}"
        return
    if row.boxed:
        parts = [rf"\boxed{{{parts[0]}}}"]
    yield r" \notag \\{NEXT}".replace("{NEXT}", "\n  &\\quad ").join(parts) + after + tag


# ---------------------------------------------------------------- Markdown


def markdown(d: Document) -> str:
    """Markdown with $$ displays, as GitHub, JupyterLab and most sites read it."""
    p = Latex(d.system, d.notation)
    math = lambda m: f"${m}$"  # noqa: E731
    parts = [f"# {inline(d.title, p, math, str)}"]
    for b in d.blocks:
        match b:
            case Heading(pieces):
                parts.append(f"## {inline(pieces, p, math, str)}")
            case Rows(rows):
                parts.append(
                    "$$\n" + latex_rows(rows, p).replace("{align}", "{aligned}").replace(r"\notag", "") + "\n$$"
                )
                parts[-1] = _tags_to_text(parts[-1])
            case Prose(pieces):
                parts.append(inline(pieces, p, math, str))
            case Closing(text):
                parts.append(f"*{text}*")
            case Table(header, rows):
                lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
                lines += [
                    "| " + " | ".join(inline(c, p, math, str).replace("|", r"\|") for c in r) + " |" for r in rows
                ]
                parts.append("\n".join(lines))
            case Code(text, language):
                parts.append(f"```{language}\n{text}\n```")
            case Display(source) | Algorithm(source) if source:
                parts.append(f"$$\n{source}\n$$")
    return "\n\n".join(parts) + "\n"


def _tags_to_text(display: str) -> str:
    """Inside `aligned`, where no tag may stand, the number goes into a column of its own."""
    import re

    return re.sub(r" \\tag\{(\d+)\}", r" && (\1)", display)


def notebook(d: Document) -> str:
    """One display for a notebook: all rows in one aligned block, as MathJax and KaTeX in notebooks read it."""
    p = Latex(d.system, d.notation)
    lines = []
    for b in d.blocks:
        if isinstance(b, Rows):
            for row in b.rows:
                left, right = row_body(row, p, "=")
                condition = rf"\quad ({constraints(row.condition, p)})" if row.condition else ""
                why = inline(row.why, p, lambda m: f"${m}$", escape)
                number = rf"({row.number})" if row.number is not None else ""
                lines.append(rf"{left} &{right}{numbers(row, p)}{condition} && {number}\ \text{{{why}}}")
        elif isinstance(b, Closing):
            lines += [rf"&\text{{{escape(part)}}}" for part in wrapped(b.text, 90)]
    return "$$\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}$$"


# ---------------------------------------------------------------- terminal


def width(text: str) -> int:
    """Columns that a text takes on a terminal; combining marks take none."""
    return sum(0 if unicodedata.combining(c) else 1 for c in text)


def text(d: Document, *, ascii_only: bool = False, columns: int = 100) -> str:
    """Lines for a terminal: the mathematics on the left, its number and rule on the right."""
    p: Text = Ascii(d.system, d.notation) if ascii_only else Text(d.system, d.notation)
    plain: Callable[[str], str] = to_ascii if ascii_only else str
    lines = [inline(d.title, p, str, plain)]
    lines.append(("=" if ascii_only else "═") * width(lines[0]))
    for b in d.blocks:
        lines += text_block(b, p, plain, columns, ascii_only)
    return "\n".join(lines).rstrip() + "\n"


def text_block(b: Block, p: Text, plain: Callable[[str], str], columns: int, ascii_only: bool) -> Iterator[str]:
    match b:
        case Heading(pieces):
            yield ""
            yield inline(pieces, p, str, plain)
        case Rows(rows):
            yield from text_rows(rows, p, plain, columns)
        case Prose(pieces):
            yield ""
            yield from wrapped(inline(pieces, p, str, plain), columns)
        case Closing(t, good):
            yield ""
            mark = ("[ok] " if good else "[!!] ") if ascii_only else ("✓ " if good else "✗ ")
            yield from wrapped(mark + plain(t), columns)
        case Table(header, rows):
            cells = [list(header), *([inline(c, p, str, plain) for c in r] for r in rows)]
            yield from text_table(cells, columns)
        case Code(t):
            yield ""
            yield from ("    " + line for line in t.splitlines())
        case Display(_, pieces):
            yield "  " + inline(pieces, p, str, plain)
        case Algorithm(_, t):
            yield ""
            yield from ("    " + plain(line) for line in t.splitlines())


def text_table(cells: list[list[str]], columns: int) -> Iterator[str]:
    """Cells under each other; where a line would be too long, the widest column is wrapped."""
    widths = [max(width(r[i]) for r in cells) for i in range(len(cells[0]))]
    widest = widths.index(max(widths))
    room = widths[widest] - max(0, sum(widths) + 2 * (len(widths) - 1) - columns)
    widths[widest] = max(room, 20) if room < widths[widest] else widths[widest]
    for r in cells:
        wrapped_cells = [
            list(wrapped(c, w)) if n == widest else [c] for n, (c, w) in enumerate(zip(r, widths, strict=True))
        ]
        for n in range(max(map(len, wrapped_cells))):
            shown = [c[n] if n < len(c) else "" for c in wrapped_cells]
            yield "  ".join(c + " " * (w - width(c)) for c, w in zip(shown, widths, strict=True)).rstrip()


def text_rows(rows: tuple[Row, ...], p: Text, plain: Callable[[str], str], columns: int) -> Iterator[str]:
    bodies = [row_body(r, p) for r in rows]
    indent = max([min(width(left), 24) for left, _ in bodies if left], default=0)
    for row, (left, right) in zip(rows, bodies, strict=True):
        body = left + " " * (indent - width(left)) + (" " if left or indent else "") + right
        body += numbers(row, p)
        if row.condition:
            body += f"   ({constraints(row.condition, p)})"
        why = inline(row.why, p, str, plain)
        number = f"({row.number})" if row.number is not None else ""
        note = f"{number} {why}".strip()
        hang = 2 + (indent + 3 if left or indent else 2)
        *lines, line = broken("  " + body, columns, min(hang, columns // 3))
        yield from lines
        gap = columns - width(line) - width(note)
        if gap >= 2:
            yield line + " " * gap + note if note else line
        else:
            yield line
            parts = list(wrapped(note, min(columns - 4, 72) if width(note) > columns - 4 else columns - 4))
            start = max(4, columns - max(map(width, parts)))
            yield from (" " * start + part for part in parts)


def broken(line: str, columns: int, hang: int) -> Iterator[str]:
    """A long formula over several lines, each but the first beginning with a sign, behind an indent.

    It is broken at the plus and minus signs that stand in the fewest brackets, before factors where there is no such
    sign, and before a condition.
    """
    while width(line) > columns:
        best: tuple[int, int, int] | None = None
        depth = at = 0
        start = len(line) - len(line.lstrip()) + 1
        for n, c in enumerate(line):
            if at > columns:
                break
            if c in "([{⌊":
                depth += 1
            elif c in ")]}⌋":
                depth -= 1
            if c == " " and n > start and at > hang + 8:
                following = line[n + 1 : n + 3]
                kind = 0 if line.startswith("   (", n) else 1 if following in ("+ ", "− ", "- ") else 2 if following in ("· ", "* ") else 3 if following[:1] == "Σ" else None  # fmt: skip
                if kind is not None:
                    # Few brackets, then signs before factors, then as far to the right as it goes.
                    rank = (-2 * depth - (kind or 1), n, at)
                    best = rank if best is None or rank[:1] >= best[:1] else best
            at += 0 if unicodedata.combining(c) else 1
        if best is None:
            break
        yield line[: best[1]].rstrip()
        line = " " * hang + line[best[1] :].lstrip()
    yield line


def wrapped(t: str, columns: int) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(t, columns, break_long_words=False) or [""]


def to_ascii(t: str) -> str:
    table = {"−": "-", "·": "*", "′": "'", "Σ": "sum", "⋯": "...", "≤": "<=", "≥": ">=", "∂": "d", "←": "<-"}
    return "".join(table.get(c, c if ord(c) < 128 else "?") for c in t)


# ---------------------------------------------------------------- JSON


def to_json(record: Record, document: Document, check: Any = None) -> str:
    """Everything as data: each row with its LaTeX, and each factor with its role, family and indices."""
    p = Latex(record.system, document.notation)
    sections = []
    for s in record.sections:
        steps = [
            {
                "rule": t.rule,
                "detail": t.level.name.lower(),
                "latex": p(t.after),
                "factors": factors(t.after, p),
                **({"note": t.note} if t.note else {}),
            }
            for t in s.steps
        ]
        sections.append(
            {
                "kind": s.kind,
                "subject": p(s.subject),
                "case": constraints(s.case, p) if s.case else None,
                "detail": s.level.name.lower(),
                "steps": steps,
                "result": p(s.result),
            }
        )
    out = {
        "schema": 1,
        "goal": p(record.goal),
        "notation": document.notation.name,
        "result": p(record.result),
        "factors": factors(record.result, p),
        "cases": [{"case": constraints(g, p), "result": p(e)} for g, e in record.cases],
        "sections": sections,
        "symbols": [
            {
                "symbol": p(f.pattern),
                "family": f.name,
                "meaning": f.meaning.replace("{", "").replace("}", ""),
                "role": f.kind,
            }
            for f in record.system.families.values()
        ],
        "check": None
        if check is None
        else {
            "verdict": check.verdict,
            "steps": len(check.steps),
            "points": check.points,
            "samples": list(check.samples),
            "arithmetic": check.arithmetic,
            "seed": check.seed,
        },
    }
    return json.dumps(out, ensure_ascii=False, indent=2) + "\n"


def factors(e: Expr, p: Printer) -> list[dict[str, Any]]:
    """The factors of a product, each with what it is."""
    body: Expr = e
    while isinstance(body, Sum | Vec):
        body = body.body
    pairs = (
        zip(body.factors, body.roles or (None,) * len(body.factors), strict=True)
        if isinstance(body, Mul)
        else [(body, None)]
    )
    return [{"latex": p(f), "role": role, **leading(f)} for f, role in pairs]


def leading(f: Expr) -> dict[str, Any]:
    """The family and indices of the quantity that a factor is, or is about."""
    match f:
        case Ref(family, indices):
            return {"family": family, "indices": [str(i) for i in indices]}
        case Partial(top, bottom) if isinstance(bottom, Ref):
            return {"family": bottom.family, "indices": [str(i) for i in bottom.indices], "of": top.family}
        case Call(function, arguments, order) if isinstance(arguments[0], Ref):
            return {"function": function, "order": order, **leading(arguments[0])}
        case Num(v):
            return {"number": str(v)}
        case Size() | _:
            return {}
