"""What a check of hand-written maths says: one finding for each claim, and the verdict on the whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["proved", "refuted", "definition", "undecided", "not_understood"]

VERDICTS: tuple[Verdict, ...] = ("proved", "refuted", "definition", "undecided", "not_understood")

CAUSES = (
    "factor",
    "sign",
    "missing_activation_derivative",
    "missing_sum",
    "wrong_index",
    "transposed_weight",
    "wrong_layer",
    "wrong_variable",
    "dropped_term",
    "extra_term",
    "loss_derivative",
    "free_index_mismatch",
    "shape_mismatch",
    "index_out_of_range",
    "other",
)
"""What a slip can be, as reports name it."""


@dataclass(frozen=True)
class Mark:
    """A part of a line, for underlining: characters `start` to `end` of its LaTeX; a place between two where they agree."""

    start: int
    end: int


def spans(marks: Sequence[Mark]) -> list[list[int]]:
    """Marks as data."""
    return [[m.start, m.end] for m in marks]


def marks_of(data: Sequence[Sequence[int]]) -> tuple[Mark, ...]:
    """The marks that `spans` gave."""
    return tuple(Mark(start, end) for start, end in data)


@dataclass(frozen=True)
class Fix:
    """A repair of a line in its author's own notation.

    Args:
        cause: One of CAUSES.
        latex: The repaired line.
        what: The repair in words: "g'(z_j^{(L)}) is missing", "w_{kj} in place of w_{jk}".
        wrong: The places of the slip in the line as written.
        right: What stands there in the repaired line; empty where something was taken away.
    """

    cause: str
    latex: str
    what: str = ""
    wrong: tuple[Mark, ...] = ()
    right: tuple[Mark, ...] = ()

    def record(self) -> dict[str, Any]:
        """The repair as data."""
        return {
            "cause": self.cause,
            "latex": self.latex,
            "what": self.what,
            "wrong": spans(self.wrong),
            "right": spans(self.right),
        }

    @classmethod
    def from_record(cls, r: Mapping[str, Any]) -> Fix:
        """The repair that `record` gave."""
        return cls(r["cause"], r["latex"], r["what"], marks_of(r["wrong"]), marks_of(r["right"]))


@dataclass(frozen=True)
class Counterexample:
    """A network on which the two sides of a claim differ, with all that is needed to compute them again.

    Args:
        sizes: Widths n_0, ..., n_L of a layered network; else the sizes that the model names, in the order of `size_names`.
        indices: The free indices of the claim, as numbered on paper.
        inputs: Every datum that the values depend on, as (nested lists of) exact fractions in text; functions as formulas.
        left, right: The values of both sides: fractions, or decimals with all digits certain.
    """

    sizes: tuple[int, ...]
    indices: Mapping[str, int]
    inputs: Mapping[str, Any]
    left: str
    right: str
    size_names: tuple[str, ...] = ()

    def point(self) -> str:
        """Sizes and indices in words.

        >>> Counterexample((5, 3, 4, 6), {"j": 2}, {}, "7/6", "-5/2").point()
        'j = 2, widths (5, 3, 4, 6)'
        """
        at = [f"{n} = {v}" for n, v in self.indices.items()]
        if self.size_names:
            at += [f"{n} = {v}" for n, v in zip(self.size_names, self.sizes, strict=True)]
        elif self.sizes:
            at.append(f"widths ({', '.join(map(str, self.sizes))})")
        return ", ".join(at)

    def record(self) -> dict[str, Any]:
        """The network as data."""
        return {
            "sizes": list(self.sizes),
            "indices": dict(self.indices),
            "inputs": dict(self.inputs),
            "left": self.left,
            "right": self.right,
            "size_names": list(self.size_names),
        }

    @classmethod
    def from_record(cls, r: Mapping[str, Any]) -> Counterexample:
        """The network that `record` gave."""
        return cls(tuple(r["sizes"]), r["indices"], r["inputs"], r["left"], r["right"], tuple(r["size_names"]))


@dataclass(frozen=True)
class Finding:
    """One claim and what is said of it.

    Args:
        claim: Its number among the claims of the hand-in, from 1.
        line, column: Where it begins in the file, from 1.
        latex: The line as its author wrote it.
        verdict: For a continued line, of its relation to the line before.
        chain: For a continued line, the verdict on its relation to the first left side; else that of the line itself.
        carried: Whether it only carries an earlier slip on.
        scope: Over what it is proved or claimed: "all sizes, 1 <= l < L".
        facts: What is declared and was assumed.
        convention: The convention in which a refuted claim would hold.
        fixes: Repairs that make it true, the likeliest first.
        counterexample: Where both sides differ.
        message: One or a few plain sentences.
        where: Where it stands, if not at a line of a file: "cell 3, line 2".
        samples: At how many points both sides were compared.
        proof: How it was proved, in steps of a line each (LaTeX between $ signs): the cases of an induction, for one.
        right: The derivation of the right answer as steps (name of the rule, LaTeX), to be unfolded on request.
        answers: Whether it answers the goal, where one is given.
        named: The cause where no repair is known.
    """

    claim: int
    line: int
    column: int
    latex: str
    verdict: Verdict
    chain: Verdict
    carried: bool = False
    scope: str = ""
    facts: tuple[str, ...] = ()
    convention: str | None = None
    fixes: tuple[Fix, ...] = ()
    counterexample: Counterexample | None = None
    message: str = ""
    where: str = ""
    samples: int = 0
    proof: tuple[str, ...] = ()
    right: tuple[tuple[str, str], ...] = ()
    answers: bool = False
    named: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def causes(self) -> tuple[str, ...]:
        """What the slip is, likeliest first; empty where nothing is refuted."""
        return tuple(dict.fromkeys((*(f.cause for f in self.fixes), *self.named)))

    @property
    def fix(self) -> str | None:
        """The repaired line."""
        return self.fixes[0].latex if self.fixes else None

    @property
    def place(self) -> str:
        """Where it stands, in words.

        >>> Finding(1, 14, 5, "a = b", "proved", "proved").place
        'line 14'
        """
        return self.where or (f"line {self.line}" if self.line else "")

    def record(self) -> dict[str, Any]:
        """The claim as data: the keys of the contract first, then further ones."""
        return {
            "claim": self.claim,
            "line": self.line,
            "column": self.column,
            "latex": self.latex,
            "verdict": self.verdict,
            "chain": self.chain,
            "carried": self.carried,
            "scope": self.scope,
            "facts": list(self.facts),
            "convention": self.convention,
            "causes": list(self.causes),
            "fix": self.fix,
            "counterexample": None if self.counterexample is None else self.counterexample.record(),
            "message": self.message,
            "where": self.where,
            "samples": self.samples,
            "proof": list(self.proof),
            "fixes": [f.record() for f in self.fixes],
            "marks": spans(self.marks),
            "right": [list(step) for step in self.right],
            "answers": self.answers,
            "named": list(self.named),
        }

    @classmethod
    def from_record(cls, r: Mapping[str, Any]) -> Finding:
        """The claim that `record` gave."""
        c = r["counterexample"]
        return cls(
            r["claim"],
            r["line"],
            r["column"],
            r["latex"],
            verdict_named(r["verdict"]),
            verdict_named(r["chain"]),
            carried=bool(r["carried"]),
            scope=r["scope"],
            facts=tuple(r["facts"]),
            convention=r["convention"],
            fixes=tuple(Fix.from_record(f) for f in r["fixes"]),
            counterexample=None if c is None else Counterexample.from_record(c),
            message=r["message"],
            where=r["where"],
            samples=r["samples"],
            proof=tuple(r["proof"]),
            right=tuple((rule, latex) for rule, latex in r["right"]),
            answers=bool(r["answers"]),
            named=tuple(r["named"]),
            marks=marks_of(r["marks"]),
        )


@dataclass(frozen=True)
class Report:
    r"""The check of one hand-in.

    Args:
        file: Its name; empty for a text.
        claims: One finding for each claim, in reading order.
        answered: Whether the goal was answered; None where none was given.
        taken: Which symbols were taken for which: ("E", "C_0").
        notes: What was passed over, in words.
        goal: The goal as it was given.
        model: The model that it was checked against, in words.
        seconds: How long it took.
        error: Why the file could not be opened; then nothing in it was checked.
        macros: Those that the hand-in defines, with what they stand for: (r"\loss", r"\mathcal{L}_{#1}").

    >>> report = Report("hw.tex", (Finding(1, 3, 1, "C_0 = C_0", "proved", "proved"),))
    >>> print(report.text(), end="")
    ✓ 1  line 3  proved
        C₀ = C₀
        C_0 = C_0
    <BLANKLINE>
    hw.tex: proved. 1 claim: 1 proved
    """

    file: str
    claims: tuple[Finding, ...]
    answered: bool | None = None
    taken: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    goal: str = ""
    model: str = ""
    seconds: float = 0.0
    error: str = ""
    macros: tuple[tuple[str, str], ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of the whole: refuted > not_understood > undecided > proved; nothing claimed is undecided."""
        found = {v for c in self.claims for v in (c.verdict, c.chain)}
        order: tuple[Verdict, ...] = ("refuted", "not_understood", "undecided")
        return next((v for v in order if v in found), "proved" if "proved" in found else "undecided")

    @property
    def first_wrong(self) -> Finding | None:
        """The first refuted claim; where each line follows from the one before, the first that does not follow from the first left side."""
        own = next((c for c in self.claims if c.verdict == "refuted"), None)
        return own or next((c for c in self.claims if c.chain == "refuted"), None)

    @property
    def first_wrong_claim(self) -> int | None:
        """The number of the first refuted claim."""
        return self.first_wrong.claim if self.first_wrong is not None else None

    @property
    def exit_status(self) -> int:
        """0 all proved and the goal answered; 1 something refuted; 2 the file cannot be opened; 3 anything else."""
        if self.error:
            return 2
        if self.verdict == "refuted":
            return 1
        return 0 if self.verdict == "proved" and self.answered in (True, None) else 3

    def __bool__(self) -> bool:
        return self.exit_status == 0

    def counts(self) -> dict[Verdict, int]:
        """How many claims have each verdict."""
        return {v: sum(c.verdict == v for c in self.claims) for v in VERDICTS}

    # ------------------------------------------------------------ as data

    def record(self) -> dict[str, Any]:
        """The report as data: the keys of the contract first, then further ones."""
        return {
            "schema": 1,
            "file": self.file,
            "verdict": self.verdict,
            "answered": self.answered,
            "first_wrong_claim": self.first_wrong_claim,
            "claims": [c.record() for c in self.claims],
            "taken": [list(t) for t in self.taken],
            "notes": list(self.notes),
            "goal": self.goal or None,
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "error": self.error or None,
            "macros": [list(m) for m in self.macros],
        }

    @classmethod
    def from_record(cls, r: Mapping[str, Any]) -> Report:
        """The report that `record` gave: a saved check is shown without checking anew.

        >>> Report.from_record(Report("hw.tex", ()).record()) == Report("hw.tex", ())
        True
        """
        return cls(
            r["file"],
            tuple(Finding.from_record(c) for c in r["claims"]),
            r["answered"],
            tuple((a, b) for a, b in r["taken"]),
            tuple(r["notes"]),
            r["goal"] or "",
            r["model"],
            r["seconds"],
            r["error"] or "",
            tuple((name, body) for name, body in r["macros"]),
        )

    # ------------------------------------------------------------ to be read

    def text(self, *, ascii: bool = False, columns: int = 100, colour: bool = False) -> str:
        """Lines for a terminal."""
        from symbackprop.render.findings_text import text

        return text(self, ascii_only=ascii, columns=columns, colour=colour)

    def markdown(self) -> str:
        """Markdown with formulas between dollars."""
        from symbackprop.render.findings_markdown import markdown

        return markdown(self)

    def html(self) -> str:
        """One page with everything in it; it opens without a network."""
        from symbackprop.render.findings_html import page

        return page([self])

    def json(self) -> str:
        """`record` as JSON."""
        from symbackprop.render.findings import to_json

        return to_json(self.record(), indent=2) + "\n"

    def render(self, form: str) -> str:
        """By the name of a format: text, md, html or json.

        Raises:
            UnknownNameError: A report has no such format.
        """
        from symbackprop.errors import UnknownNameError, nearest

        if form not in FORMS:
            raise UnknownNameError(f"a check has no format {form!r}{nearest(form, FORMS)}")
        return str(getattr(self, FORMS[form])())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file; its ending (.html, .md, .json, .txt) says in which format.

        Raises:
            OutputError: The file cannot be written.
            UnknownNameError: An ending that names no format of a report.
        """
        from symbackprop.output import format_of_file, write_file

        write_file(path, self.render(format_of_file(path).name))

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        from symbackprop.render.findings_markdown import notebook

        return notebook(self)

    def _repr_markdown_(self) -> str:
        return self.markdown()


FORMS = {"text": "text", "md": "markdown", "html": "html", "json": "json"}
"""The formats of a report, and the method that makes each."""


def verdict_named(name: str) -> Verdict:
    """A verdict by name.

    Raises:
        ValueError: There is none of that name.
    """
    for v in VERDICTS:
        if v == name:
            return v
    raise ValueError(f"no verdict is called {name!r}; known: {', '.join(VERDICTS)}")


__all__ = ["CAUSES", "VERDICTS", "Counterexample", "Finding", "Fix", "Mark", "Report", "Verdict"]
