r"""Where the mathematics of a LaTeX or Markdown text is, without reading it: one pass, in time linear in the text.

Prose is passed over; in it only definitions of macros count, commands that would read files or change what TeX reads, and
mathematics whose marks were forgotten.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

from symbackprop.read.macros import DEFINITIONS
from symbackprop.read.rows import MATHEMATICS
from symbackprop.read.vocabulary import ALIGNMENTS, DISPLAYS, MATRICES, ROLES, TEXTS, VERBATIM, words

MAX_FOUND = 10_000
"""Formulas and definitions in a hand-in."""

MAX_VAIN = 2 * 1024 * 1024
r"""Characters looked through for dollars that are not there; after them a dollar in a \text closes like any other, so that
the time stays linear in the text."""

MAX_VERB = 1_000

NEAR = 200
"""Characters on each side of an equals sign that tell whether it is mathematics."""

PICTURES = frozenset({"tikzpicture", "tikzcd", "pgfpicture", "asy"})
"""Environments in which formulas are labels."""

FORBIDDEN = {
    **dict.fromkeys(
        words(
            r"\input \include \import \subimport \subfile \InputIfFileExists \openin \read \verbatiminput \lstinputlisting"
        ),
        "no file is read; put what it holds into the text itself",
    ),
    **dict.fromkeys(words(r"\write \openout \immediate \special"), "nothing is written"),
    **dict.fromkeys(
        words(
            r"\csname \catcode \expandafter \directlua \newread \newwrite \loop \uppercase \lowercase \noexpand \edef "
            r"\xdef \futurelet \afterassignment \lccode \mathcode \everymath"
        ),
        r"it changes what TeX reads; macros by \newcommand or \def are understood",
    ),
}
"""Commands that are never followed, and why."""


@dataclass(frozen=True)
class Found:
    r"""A stretch of a text.

    Args:
        what: `formula`; `definition` of a macro, outside of mathematics; `fault`, which hides mathematics.
        start, end: Of a formula what stands between its marks.
        environment: `align`, `equation`, `$`, `$$`, `\[`, `\(`.
        before: The words between the formula before and this one.
        message: Of a fault.
    """

    what: Literal["formula", "definition", "fault"]
    start: int
    end: int
    environment: str = ""
    before: str = ""
    message: str = ""


BEGIN = r"\\begin[ \t]*\{[ \t]*(?P<begin>[A-Za-z]+)\*?[ \t]*\}"
END = r"\\end[ \t]*\{[ \t]*(?P<end>[A-Za-z]+)\*?[ \t]*\}"
MARKS = r"\${5,}|(?P<math>\$\$?|\\[(\[])"
REST = r"(?P<command>\\(?:[A-Za-z]+|.))|(?P<equals>:?=+)"
LATEX = re.compile(
    rf"(?P<comment>%[^\n]*)|\\verb\*?(?P<verb>[^A-Za-z\s*])|{BEGIN}|{END}|{MARKS}|{REST}", re.MULTILINE | re.DOTALL
)
MARKDOWN = re.compile(
    r"^[ \t>]*(?:[-*+][ \t]+|\d{1,9}[.)][ \t]+)?(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})(?P<info>[^\n]*)"
    rf"|(?P<code>`+)|(?P<html><!--|<(?:pre|code|script|style|svg)\b)|(?P<double>\\\\[(\[])|{BEGIN}|{END}|{MARKS}|{REST}",
    re.MULTILINE | re.DOTALL,
)

BLANK = re.compile(r"\n[ \t\r>]*\n")
DOLLARS = re.compile(r"(?P<text>\\[A-Za-z]+)|\\.|%[^\n]*|(?P<close>\$)|(?P<tick>`)", re.DOTALL)
BRACKETS = {
    r"\(": re.compile(r"\\\\|(?P<close>\\\))|(?P<stop>\\\()|\\.|%[^\n]*", re.DOTALL),
    r"\[": re.compile(r"\\\\|(?P<close>\\\])|(?P<stop>\\\[)|\\.|%[^\n]*", re.DOTALL),
    r"\\(": re.compile(r"(?P<close>\\\\\))|(?P<stop>\\\\\()|\\.", re.DOTALL),
    r"\\[": re.compile(r"(?P<close>\\\\\])|(?P<stop>\\\\\[)|\\.", re.DOTALL),
}
NESTING = re.compile(rf"{BEGIN}|{END}|\\.|%[^\n]*", re.DOTALL)
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
DEFINED = re.compile(r"\*?\s*(?:\{\s*\\(?:[A-Za-z]+|.)\s*\}|\\(?:[A-Za-z]+|.))")
OPTION = re.compile(r"\s*\[[^\]\n]{0,200}\]")
SPACE = re.compile(r"\s*")
PARAMETERS = re.compile(r"[^{}\n]{0,200}(?=\{)")
MEANING = re.compile(r"\s*=?\s*(?:\\[A-Za-z]+|\\.|\S)")
MARKED = re.compile(r"\$[^$]*\$|\\\([^$]*?\\\)|\[[^\[\]]*\]")
COLUMNS = ("_{", "^", "&=")
COMMENT = re.compile(r"(?<!\\)%[^\n]*")
MATHEMATICAL = re.compile(r"[\\^_=]")
WRAPPED = re.compile(r"\s*" + BEGIN)


@dataclass
class Finder:
    """A pass over a text, and what it has found so far.

    Args:
        markdown: Backticks, fences and HTML hide text; % begins no comment.
        out: In reading order.
        notes: What was passed over that a reader should know of.
    """

    text: str
    markdown: bool
    out: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    last: int = 0
    quiet: int = -1
    plain: int = -1
    blank: tuple[int, int] = (0, -1)
    vain: int = 0
    absent: set[str] = field(default_factory=set)
    runs: dict[int, list[int]] | None = None
    braces: dict[int, int] | None = None

    def run(self) -> Finder:
        """Everything there is to find, or as much of it as is read."""
        pattern, at = MARKDOWN if self.markdown else LATEX, 0
        while len(self.out) < MAX_FOUND and (m := pattern.search(self.text, at)):
            at = max(self.step(m), m.start() + 1)
        if len(self.out) >= MAX_FOUND:
            self.fault(at, f"too large: more than {MAX_FOUND} formulas; the rest is not read")
        return self

    def step(self, m: re.Match[str]) -> int:
        """Deal with what begins here, and say where to go on."""
        kind = m.lastgroup or ""
        match "fence" if kind == "info" else kind:
            case "command":
                return self.command(m)
            case "math" | "double":
                return self.mathematics(m)
            case "begin":
                return self.begin(m)
            case "end":
                return len(self.text) if m["end"] == "document" else m.end()
            case "verb":
                return self.after(m["verb"], m.end(), m.end() + MAX_VERB) or m.end()
            case "equals":
                self.forgotten(m)
            case "fence":
                return self.fence(m)
            case "code":
                return self.code(m)
            case "html":
                close = "-->" if m[0] == "<!--" else f"</{m[0][1:]}"
                return self.after(close, m.end()) or m.end()
        return m.end()

    # ------------------------------------------------------------ mathematics

    def mathematics(self, m: re.Match[str]) -> int:
        mark = m[0]
        if self.markdown and mark == "$" and self.text.startswith("`", m.end()):
            close = self.text.find("$", m.end() + 1, self.paragraph(m.end())) - 1
            quoted = close > m.end() and self.text[close] == "`"
            return self.formula(m.start(), m.end() + 1, close, "$", 2) if quoted else m.end()
        if mark.startswith("$"):
            return self.dollars(m)
        end = len(self.text) if mark.endswith("[") else self.paragraph(m.end())
        for n in BRACKETS[mark].finditer(self.text, m.end(), end):
            if n.lastgroup == "close":
                return self.formula(m.start(), m.end(), n.start(), mark[-2:], len(mark))
            if n.lastgroup == "stop":
                break
        return self.unclosed(m.start(), m.end(), mark)

    def dollars(self, m: re.Match[str]) -> int:
        """A formula between dollars, which goes no further than its paragraph; a price is none."""
        size, end = len(m[0]), self.paragraph(m.end())
        close = self.closing_dollar(m.end(), end, m[0])
        if close < 0:
            rest = self.text[m.end() : end]
            if self.markdown and (size == 1 or not MATHEMATICAL.search(rest)):
                self.vain += len(rest)
                return m.end()
            self.fault(m.start(), f"nothing closes this '{m[0]}'")
            return end
        inner = self.text[m.end() : close]
        if self.markdown and size == 1 and not MATHEMATICAL.search(inner):
            loose = inner[:1].isspace() or inner[-1:].isspace() or self.text[close + 1 : close + 2].isdigit()
            if loose:
                return close
        return self.formula(m.start(), m.end(), close, m[0], size)

    def closing_dollar(self, at: int, end: int, mark: str) -> int:
        r"""The offset of the dollars that close; those inside of a \text do not."""
        while m := DOLLARS.search(self.text, at, end):
            at = m.end()
            if m["close"]:
                if self.text.startswith(mark, m.start()):
                    return m.start()
            elif m["tick"] and self.markdown:
                return -1
            elif m["text"] in TEXTS and self.text.startswith("{", at) and self.vain < MAX_VAIN:
                close = self.matching().get(at, -1)
                at = close if 0 < close <= end else at
        return -1

    def begin(self, m: re.Match[str]) -> int:
        name = m["begin"]
        if name in VERBATIM or name in PICTURES:
            return self.after(f"\\end{{{name}", m.end()) or self.fault(m.start(), f"no \\end{{{name}}} closes this")
        if name not in DISPLAYS and name not in ALIGNMENTS:
            return m.end()
        for n in NESTING.finditer(self.text, m.end()):
            inner, ended = n["begin"], n["end"]
            if ended == name:
                return self.formula(m.start(), m.end(), n.start(), name, n.end() - n.start())
            if ended in DISPLAYS and ended != name:
                self.fault(m.start(), f"'{m[0]}' is closed by '{n[0]}'")
                return n.end()
            if inner == name or (inner in DISPLAYS and inner not in MATRICES):
                break
        return self.unclosed(m.start(), m.end(), m[0])

    def formula(self, start: int, inner: int, close: int, environment: str, size: int) -> int:
        """Keep a formula: from where its mark starts, what is inside, and how long the closing mark is."""
        before = self.text[max(self.last, start - 200) : start]
        self.last = close + size
        first, end = inner, close
        if environment in ("$$", r"\[", "$", r"\("):
            first, end, environment = self.unwrapped(inner, close, environment)
        if not self.text[first:end].isspace() and first < end:
            self.out.append(Found("formula", first, end, environment, before))
        return close + size

    def unwrapped(self, start: int, end: int, environment: str) -> tuple[int, int, str]:
        r"""A formula without the display that it consists of, as in $$\begin{align} ... \end{align}$$."""
        m = WRAPPED.match(self.text, start, end)
        if m is None or m["begin"] not in DISPLAYS:
            return start, end, environment
        close = self.text.find(f"\\end{{{m['begin']}", m.end(), end)
        brace = self.text.find("}", close, end)
        if close < 0 or brace < 0 or self.text[brace + 1 : end].strip(" \t\r\n.,;"):
            return start, end, environment
        return m.end(), close, m["begin"]

    def unclosed(self, start: int, inner: int, mark: str) -> int:
        self.fault(start, f"nothing closes this '{mark}'")
        self.quiet = self.paragraph(inner)
        return inner

    def fault(self, at: int, message: str) -> int:
        """Note what hides mathematics; go on after its first character."""
        self.out.append(Found("fault", at, min(at + 1, len(self.text)), message=message))
        return at + 1

    # ------------------------------------------------------------ prose

    def command(self, m: re.Match[str]) -> int:
        name = m[0]
        if name in DEFINITIONS:
            end = self.definition(name, m.end())
            if end < 0:
                self.fault(m.start(), f"this {name} is not understood; expected a command and a body in braces")
                return m.end()
            self.out.append(Found("definition", m.start(), end))
            return end
        if name in FORBIDDEN:
            self.fault(m.start(), f"{name} is not followed: {FORBIDDEN[name]}")
            self.quiet = max(self.quiet, self.line(m.end()))
            return m.end()
        if name == r"\iffalse":
            return self.after(r"\fi", m.end()) or m.end()
        if ROLES.get(name) in MATHEMATICS:
            self.forgotten(m)
        return m.end()

    def forgotten(self, m: re.Match[str]) -> None:
        """Mathematics without its marks: a command that no prose has, or an equals sign on a line with scripts."""
        if m.start() <= self.quiet:
            return
        if m["equals"]:
            if m.start() <= self.plain:
                return
            if not self.like_a_formula(m.start()):
                end = self.text.find("\n", m.end(), m.end() + NEAR // 2)
                self.plain = end if end >= 0 else m.end() + NEAR // 2
                return
        self.quiet = self.line(m.end())
        self.fault(m.start(), r"this is mathematics outside of mathematics; put it between \[ and \] or dollars")

    def like_a_formula(self, at: int) -> bool:
        """An equals sign stands on a line with scripts or columns, options and formulas in their marks apart."""
        begin = max(self.text.rfind("\n", max(0, at - NEAR), at) + 1, at - NEAR)
        end = self.text.find("\n", at, at + NEAR)
        near = self.text[begin : end if end >= 0 else at + NEAR]
        if not any(sign in near for sign in COLUMNS):
            return False
        near = MARKED.sub("", near if self.markdown else COMMENT.sub("", near))
        return "=" in near and any(sign in near for sign in COLUMNS)

    def definition(self, name: str, at: int) -> int:
        """Where a definition of a macro ends; below 0 where it is none."""
        m = DEFINED.match(self.text, at)
        if m is None:
            return -1
        at = m.end()
        if name == r"\let":
            meaning = MEANING.match(self.text, at)
            return meaning.end() if meaning else -1
        if name in (r"\def", r"\gdef"):
            parameters = PARAMETERS.match(self.text, at)
            return self.matching().get(parameters.end(), -1) if parameters else -1
        while option := OPTION.match(self.text, at):
            at = option.end()
        for _ in range(2 if name == r"\DeclarePairedDelimiter" else 1):
            at = self.argument(at)
            if at < 0:
                break
        return at

    def argument(self, at: int) -> int:
        """Where an argument ends: braces, or one command."""
        space = SPACE.match(self.text, at)
        at = space.end() if space else at
        if self.text.startswith("{", at):
            return self.matching().get(at, -1)
        m = MEANING.match(self.text, at)
        return m.end() if m else -1

    # ------------------------------------------------------------ Markdown

    def fence(self, m: re.Match[str]) -> int:
        """Pass over a block of code, or read it where it says that it is mathematics."""
        marks = m["fence"]
        closing = re.compile(rf"^[ \t>]*{marks[0]}{{{len(marks)},}}[ \t\r]*$", re.MULTILINE)
        close = closing.search(self.text, m.end())
        if close is None:
            line = self.text.count("\n", 0, m.start("fence")) + 1
            self.notes.append(f"nothing closes the block of code on line {line}; it goes to the end")
            return len(self.text)
        if m["info"].strip().lower() == "math":
            return self.formula(m.start("fence"), m.end(), close.start(), "$$", close.end() - close.start())
        return close.end()

    def code(self, m: re.Match[str]) -> int:
        """Pass over code between backticks, which has as many of them at its end."""
        if self.runs is None:
            self.runs = {}
            for n in re.finditer("`+", self.text):
                self.runs.setdefault(len(n[0]), []).append(n.start())
        starts = self.runs.get(len(m[0]), [])
        at = bisect_left(starts, m.end())
        found = at < len(starts) and starts[at] < self.paragraph(m.end())
        return starts[at] + len(m[0]) if found else m.end()

    # ------------------------------------------------------------ ends

    def paragraph(self, at: int) -> int:
        """Where the paragraph of an offset ends; found once for each paragraph."""
        start, end = self.blank
        if not start <= at <= end:
            m = BLANK.search(self.text, at)
            end = m.start() if m else len(self.text)
            self.blank = at, end
        return end

    def line(self, at: int) -> int:
        end = self.text.find("\n", at)
        return end if end >= 0 else len(self.text)

    def after(self, what: str, at: int, end: int | None = None) -> int:
        """The offset after the next occurrence, 0 where there is none; what is not there is looked for once."""
        if what in self.absent:
            return 0
        found = self.text.find(what, at, end)
        if found < 0 and end is None:
            self.absent.add(what)
        return found + len(what) if found >= 0 else 0

    def matching(self) -> dict[int, int]:
        """For each opening brace the offset after the one that closes it."""
        if self.braces is None:
            self.braces, open_ = {}, list[int]()
            for m in BRACE.finditer(self.text):
                if m[0] == "{":
                    open_.append(m.start())
                elif m[0] == "}" and open_:
                    self.braces[open_.pop()] = m.end()
        return self.braces
