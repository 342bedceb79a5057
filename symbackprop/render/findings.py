"""What every rendering of a check shares: its words, the sentences about a claim, characters made harmless, marks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symbackprop.report import Counterexample, Finding, Report

VERDICT_WORDS = {
    "proved": "proved",
    "refuted": "refuted",
    "definition": "definition",
    "undecided": "undecided",
    "not_understood": "not understood",
}

SIGNS = {"proved": "✓", "refuted": "✗", "definition": ":=", "undecided": "?", "not_understood": "!"}

CAUSE_WORDS = {
    "factor": "a wrong factor",
    "sign": "a wrong sign",
    "missing_activation_derivative": "the derivative of the activation is missing",
    "missing_sum": "a sum is missing",
    "wrong_index": "a wrong index",
    "transposed_weight": "a weight with its indices exchanged",
    "wrong_layer": "a wrong layer",
    "wrong_variable": "a wrong variable",
    "dropped_term": "a term is missing",
    "extra_term": "a term too many",
    "loss_derivative": "a wrong derivative of the cost",
    "free_index_mismatch": "the two sides have different free indices",
    "shape_mismatch": "the two sides have different shapes",
    "index_out_of_range": "an index out of its range",
    "other": "a slip of another kind",
}


# ---------------------------------------------------------------- words


def cause_words(cause: str) -> str:
    """A cause as a person says it."""
    return CAUSE_WORDS.get(cause, cause.replace("_", " "))


def headline(f: Finding) -> str:
    """A verdict with what belongs to it in one phrase."""
    words = VERDICT_WORDS[f.verdict]
    if f.chain != f.verdict:
        words += " from the line before"
    if f.verdict == "proved" and f.scope:
        words += f" for {f.scope}"
    if f.carried:
        words += ", but carries an earlier slip on" if f.verdict == "proved" else ", carrying an earlier slip on"
    elif f.chain != f.verdict:
        words += f", {VERDICT_WORDS[f.chain]} against the first left side"
    if f.verdict == "refuted" and f.causes and f.causes[0] != "other":
        words += f": {cause_words(f.causes[0])}"
    return words


DIFFER = "the two sides differ"
"""The message of a claim of which the numbers say as much."""


def sentences(f: Finding) -> list[str]:
    """What is said of a claim, one sentence each, and none of it twice."""
    out: list[str] = []
    said = f.message
    shown = f.counterexample is not None and f.message == DIFFER
    if f.message and not shown:
        out.append(f.message)
    if f.fixes and f.fixes[0].what and f.fixes[0].what not in said:
        out.append(f.fixes[0].what)
    c = f.counterexample
    if c is not None and not (c.left in said and c.right in said and c.point() in said):
        out.append(numbers(c))
    if f.convention and f.convention not in said:
        leads = "It" if f.convention.startswith("holds ") else "It holds in another convention:"
        out.append(f"{leads} {f.convention}")
    if f.samples and f.verdict == "undecided" and str(f.samples) not in said:
        out.append(f"It holds at all {f.samples} samples that were tried, which proves nothing.")
    if f.facts:
        out.append(f"Assumed: {'; '.join(f.facts)}")
    return [stopped(s) for s in out]


def stopped(sentence: str) -> str:
    """A sentence that begins large, where it begins with a word, and ends with a stop."""
    first, _, rest = sentence.partition(" ")
    article = first == "a" and rest.split(" ", 1)[0].isalpha() and len(rest.split(" ", 1)[0]) > 1
    if article or (first.isalpha() and first.isascii() and len(first) > 1 and first.islower()):
        sentence = sentence[0].upper() + sentence[1:]
    return sentence if sentence.endswith((".", "!", "?", ":")) else sentence + "."


def numbers(c: Counterexample) -> str:
    """Where both sides differ, and their values; fractions too long to be read, as decimals that tell them apart."""
    point = c.point()
    left, right = c.left, c.right
    if max(len(left), len(right)) > LONGEST_NUMBER:
        digits = next((n for n in range(6, 17) if about(left, n) != about(right, n)), 0)
        left, right = (about(v, digits) if digits else v for v in (left, right))
    return f"{f'at {point}: ' if point else ''}left {left}, right {right}"


LONGEST_NUMBER = 22
"""Characters of a value that a person reads; a longer one shows as a decimal."""


def about(value: str, digits: int) -> str:
    """A fraction as a decimal; what is none, or out of range, as it is.

    >>> about("12345678901234567890123/98765432109876543", 6)
    'about 125000'
    """
    if len(value) <= LONGEST_NUMBER or len(value) > 8000 or not re.fullmatch(r"-?[0-9]+(/[0-9]+)?", value):
        return value
    from fractions import Fraction

    try:
        return f"about {float(Fraction(value)):.{digits}g}"
    except (OverflowError, ZeroDivisionError, ValueError):
        return value


def tally(report: Report) -> str:
    """How many claims have each verdict: 5 claims: 3 proved, 1 refuted, 1 undecided."""
    total = len(report.claims)
    if not total:
        return "nothing claimed"
    each = ", ".join(f"{n} {VERDICT_WORDS[v]}" for v, n in report.counts().items() if n)
    return f"{total} claim{'s' if total != 1 else ''}: {each}"


def outcome(report: Report, dollars: bool = False) -> list[str]:
    """The sentences on the whole: verdict and counts, the first wrong claim, whether the goal is answered.

    Args:
        dollars: With formulas between dollars, for what sets them.
    """
    if report.error:
        return [f"not checked: {report.error}"]
    out = [VERDICT_WORDS[report.verdict], tally(report)]
    wrong = report.first_wrong
    if wrong is not None:
        where = f", {wrong.place}" if wrong.place else ""
        out.append(f"First wrong: claim {wrong.claim}{where}")
    if report.answered is not None:
        goal = f" ({dollared(report.goal) if dollars else report.goal})" if report.goal else ""
        out.append(f"The goal{goal} is {'answered' if report.answered else 'not answered'}")
    return out


def taken(report: Report, dollars: bool = False) -> str:
    """Which symbols were taken for which."""
    write = dollared if dollars else str
    return ", ".join(f"{write(a)} for {write(b)}" for a, b in report.taken)


def dollared(latex: str) -> str:
    """LaTeX between dollars, where it can be set; the short form that is typed stays as it is."""
    short = re.search(r"(?<![\\A-Za-z{])[A-Za-z]{2,}[_^]|[_^][A-Za-z0-9]{2,}", latex)
    return f"${latex}$" if settable(latex) and not short else latex


def pieces(sentence: str) -> list[tuple[bool, str]]:
    r"""A sentence in parts, each with whether it is a formula: what stands between dollars, else each word that is LaTeX.

    >>> pieces("w_{kj} in place of w_{jk}.")
    [(True, 'w_{kj}'), (False, ' in place of '), (True, 'w_{jk}'), (False, '.')]
    """
    parts = sentence.split("$")
    if len(parts) > 1 and len(parts) % 2:
        return [(n % 2 == 1, p) for n, p in enumerate(parts) if p]
    if re.search(r"(?<![\\A-Za-z{])[A-Za-z]{2,}[_^]", sentence):
        return [(False, sentence)]  # the short form that is typed, not LaTeX
    out: list[tuple[bool, str]] = []
    for word in re.split(r"(\s+)", sentence):
        core = word.rstrip(".,;:")
        for is_formula, part in ((looks_set(core), core), (False, word[len(core) :])):
            if part and not is_formula and out and not out[-1][0]:
                out[-1] = (False, out[-1][1] + part)
            elif part:
                out.append((is_formula, part))
    return out


def looks_set(word: str) -> bool:
    """Whether a word of a sentence is LaTeX: scripts or commands, whole groups, and no words of several letters."""
    if len(word) > 400 or not re.search(r"[A-Za-z)}'][_^]|\\[a-zA-Z]+\{", word) or not settable(word):
        return False
    bare = re.sub(r"\\[a-zA-Z]+", " ", word)
    while bare != (bare := re.sub(r"[_^]\{[^{}]*\}", " ", bare)):
        pass
    pairs = all(word.count(a) == word.count(b) for a, b in ("()", "[]"))
    return pairs and not re.search(r"[A-Za-z]{2,}", bare)


LONGEST_SET = 3000
"""Characters of a formula that is set; a longer one shows as its source, so that no hand-in can hold up a page."""


def settable(latex: str) -> bool:
    """Whether a formula can be set: whole groups, not too deep or long, no markup, and nothing that shows nothing."""
    if len(latex) > LONGEST_SET or not latex.strip() or re.search(r"[$`\0]|</|<[a-zA-Z!]", latex):
        return False
    depth = deepest = 0
    for text, _, _ in spans(latex):
        depth += (text in OPENING and text != r"\left") - (text in CLOSING and text != r"\right")
        deepest = max(deepest, depth)
        if depth < 0:
            return False
    return depth == 0 and deepest <= 40 and printable(latex) == re.sub(r"[\t\n\r]", " ", latex)


def alone(latex: str) -> str:
    r"""A row as it can be set by itself: without labels and row ends; what is aligned, in an alignment of its own.

    >>> alone("&= 2 a_j \\label{eq:one} \\\\")
    '\\begin{aligned}&= 2 a_j\\end{aligned}'
    """
    latex = re.sub(r"\\(?:label\{[^{}]*\}|nonumber|notag|tag\*?\{[^{}]*\})", "", latex).strip()
    latex = re.sub(r"(\\\\\s*)+$", "", latex).rstrip()
    if re.search(r"(?<!\\)&|\\\\", latex):
        return rf"\begin{{aligned}}{latex}\end{{aligned}}"
    return latex


# ---------------------------------------------------------------- characters


HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that show nothing, or change how others are shown: controls, directions, surrogates."""


def shown(c: str, ascii_only: bool = False) -> str:
    """A character as it may be shown: one that a terminal or page would act on, as its escape."""
    if c in "\t\n\r":
        return " "
    if (c.isascii() and c.isprintable()) or (not ascii_only and unicodedata.category(c) not in HIDDEN):
        return c
    return c.encode("unicode_escape", "surrogatepass").decode("ascii")


def printable(text: str, ascii_only: bool = False) -> str:
    r"""A text in which no character can steer a terminal or turn the direction of a line.

    >>> printable("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    if not ascii_only and text.isprintable():
        return text
    return "".join(shown(c, ascii_only) for c in text)


def placed(text: str, marks: Sequence[Any], ascii_only: bool = False) -> tuple[str, list[tuple[int, int]]]:
    """A text made printable, and where its marks are then."""
    parts = [shown(c, ascii_only) for c in text]
    at = [0]
    for p in parts:
        at.append(at[-1] + len(p))
    last = len(text)
    return "".join(parts), [
        (at[min(max(m.start, 0), last)], at[min(max(m.end, m.start, 0), last)]) for m in marks if m.start <= last
    ]


UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""Characters that JSON allows and a terminal acts on."""


def to_json(data: Any, indent: int | None = None) -> str:
    """Data as JSON that is safe to print; without `indent` on one line."""
    import json

    text = json.dumps(data, ensure_ascii=False, indent=indent)
    return UNSAFE_IN_JSON.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


# ---------------------------------------------------------------- marks


TOKEN = re.compile(r"\\[a-zA-Z]+\*?|\\.|.", re.DOTALL)
ONE, TWO = frozenset({r"\sqrt", r"\hat", r"\tilde", r"\bar", r"\vec", r"\dot", r"\overline", r"\mathbf", r"\mathrm", r"\mathcal", r"\boldsymbol", r"\operatorname", r"\text", r"\mathbb"}), frozenset({r"\frac", r"\tfrac", r"\dfrac", r"\binom"})  # fmt: skip
OPENING = frozenset({"{", r"\left", r"\begin"})
CLOSING = frozenset({"}", r"\right", r"\end"})
BARE = frozenset({"&", r"\\", "%", "$", "#"})
"""What may stand in no group."""


def marked(latex: str, marks: Sequence[Any], name: str) -> str:
    r"""LaTeX with its marked parts in \htmlClass, which must group what is whole.

    A mark that cuts a group, or begins with a script, is widened to what is whole around it; where nothing is, it is left
    out. A mark without extent becomes a caret at its place.

    >>> from symbackprop.report import Mark
    >>> marked("w_{jk} a_k", [Mark(0, 6)], "slip")
    '{\\htmlClass{slip}{w_{jk}}} a_k'
    """
    tokens = spans(latex)
    places = [p for m in marks if (p := whole(tokens, m.start, m.end)) is not None]
    for start, end in reversed(merged(places)):
        inside = latex[start:end]
        if len(inside) > 1 and inside[0] in "_^":  # a whole script: what stands in it
            braced = inside[1] == "{"
            start, end = start + 1 + braced, end - braced
            inside = latex[start:end]
        if start == end:
            latex = f"{latex[:start]}{{\\htmlClass{{{name}}}{{{{}}_{{\\wedge}}}}}}{latex[end:]}"
        else:
            latex = f"{latex[:start]}{kind(inside)}{{\\htmlClass{{{name}}}{{{inside}}}}}{latex[end:]}"
    return latex


def kind(inside: str) -> str:
    """The command that keeps the spacing of a sign that stands in a group by itself."""
    sign = inside.strip()
    if sign in ("=", r"\le", r"\ge", r"\equiv", r"\approx"):
        return r"\mathrel"
    return r"\mathbin" if sign in ("+", "-", r"\cdot", r"\times", r"\odot", r"\pm") else ""


def spans(latex: str) -> list[tuple[str, int, int]]:
    """The tokens of LaTeX with their places."""
    return [(m[0], m.start(), m.end()) for m in TOKEN.finditer(latex)]


WIDENINGS = 60
"""Tokens by which a mark is widened; one that needs more is left out."""


def whole(tokens: Sequence[tuple[str, int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The least stretch of whole tokens around a mark that may stand in a group by itself, if any."""
    first = next((n for n, t in enumerate(tokens) if t[2] > start), len(tokens))
    if start >= end:
        while first < len(tokens) and tokens[first][0] in (
            "_",
            "^",
            "'",
        ):  # behind the scripts of what it stands behind
            first = first + 1 if tokens[first][0] == "'" else atom_end(tokens, first + 1)
        place = tokens[first][1] if first < len(tokens) else (tokens[-1][2] if tokens else 0)
        return (place, place) if tokens and free_standing(tokens, first) else None
    last = next((n for n in range(len(tokens) - 1, -1, -1) if tokens[n][1] < end), -1) + 1
    while first < last and tokens[first][0].isspace():
        first += 1
    while first < last and tokens[last - 1][0].isspace():
        last -= 1
    if first >= last:
        return None
    for _ in range(WIDENINGS):
        wider = widened(tokens, first, last)
        if wider is None:
            return None
        if wider == (first, last):
            return tokens[first][1], tokens[last - 1][2]
        first, last = wider
    return None


def free_standing(tokens: Sequence[tuple[str, int, int]], at: int) -> bool:
    """Whether something may be put in before a token: not where an argument or script is awaited."""
    before = tokens[at - 1][0] if at else ""
    if at < len(tokens) and tokens[at][0] == "{" and before == "}" and fraction_open(tokens, at):
        return False
    return before not in ("_", "^", *OPENING - {"{"}, *CLOSING - {"}"}) and before not in ONE | TWO


def widened(tokens: Sequence[tuple[str, int, int]], first: int, last: int) -> tuple[int, int] | None:
    """A stretch made wider by what it lacks to be whole; the same where it lacks nothing."""
    depth = low = 0
    for text, _, _ in tokens[first:last]:
        if text in BARE and depth == 0:
            return None
        depth += (text in OPENING) - (text in CLOSING)
        low = min(low, depth)
    if low < 0:  # it closes what was opened before it
        return (first - 1, last) if first else None
    if depth > 0:
        return (first, last + 1) if last < len(tokens) else None
    if tokens[first][0] in ("_", "^") and first + 1 < last and atom_end(tokens, first + 1) == last:
        return first, last
    awaited = first > 0 and tokens[first - 1][0] in {"_", "^"} | ONE | TWO
    if first and (tokens[first][0] in ("_", "^", "'") or (awaited and atom_end(tokens, first) != last)):
        return first - 1, last
    if tokens[last - 1][0] in ("_", "^", r"\left", r"\right", r"\begin", r"\end") or tokens[last - 1][0] in ONE | TWO:
        return (first, last + 1) if last < len(tokens) else None
    if first and tokens[first - 1][0] in (r"\left", r"\right", r"\begin", r"\end"):
        return first - 1, last
    if last < len(tokens) and tokens[last][0] in ("_", "^") and scripted(tokens, first, last):
        return first, last + 1
    if last < len(tokens) and tokens[last][0] == "{" and tokens[last - 1][0] == "}" and fraction_open(tokens, last):
        return first, last + 1
    return first, last


def atom_end(tokens: Sequence[tuple[str, int, int]], at: int) -> int:
    """The end of the group or token that begins at `at`."""
    depth = 0
    for n in range(at, len(tokens)):
        depth += (tokens[n][0] == "{") - (tokens[n][0] == "}")
        if depth <= 0:
            return n + 1
    return len(tokens)


def scripted(tokens: Sequence[tuple[str, int, int]], first: int, last: int) -> bool:
    """Whether a stretch ends in a script: another that follows stands over or under it."""
    at = last - 1
    depth = 0
    while at > first:
        depth += (tokens[at][0] == "}") - (tokens[at][0] == "{")
        if depth == 0:
            return tokens[at - 1][0] in ("_", "^")
        at -= 1
    return False


def fraction_open(tokens: Sequence[tuple[str, int, int]], at: int) -> bool:
    """Whether the group that ends before `at` is the numerator of a fraction."""
    depth = 0
    for n in range(at - 1, -1, -1):
        text = tokens[n][0]
        depth += (text == "}") - (text == "{")
        if depth == 0:
            return n > 0 and tokens[n - 1][0] in TWO
    return False


def merged(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches in order, those that overlap as one."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        elif not out or (start, end) != out[-1]:
            out.append((start, end))
    return out
