"""What a check of a function says: one entry for each array, and what was found besides."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Verdict = Literal["right", "wrong"]


@dataclass(frozen=True)
class Worst:
    """The entry of an array that is farthest off."""

    index: tuple[int, ...]
    got: float
    expected: float

    def text(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else "its value"
        return f"at {place} got {self.got:.7g}, expected {self.expected:.7g}"


@dataclass(frozen=True)
class ArrayCheck:
    """One array of the result.

    Args:
        name: Where it stands in the result: grads['w'][0].
        symbol: What it is the gradient by: w^(1).
        verdict: `right`: within the tolerance on every case; `wrong` otherwise.
        error: The largest difference relative to the size of the array, over all cases; None where nothing could
            be compared.
        tolerance: What was allowed, likewise relative.
        shape, expected_shape: Of the case that is shown.
        dtype: Of the result.
        cause: A code as in the verdicts on formulas (`factor`, `sign`, `missing_activation_derivative`, ...), or empty.
        message: What is wrong, in words.
        worst: The entry that is farthest off, in the case that is shown.
        follows: Whether an earlier slip alone makes this array wrong.
    """

    name: str
    symbol: str
    verdict: Verdict
    error: float | None = None
    tolerance: float = 0.0
    shape: tuple[int, ...] | None = None
    expected_shape: tuple[int, ...] = ()
    dtype: str = ""
    cause: str = ""
    message: str = ""
    worst: Worst | None = None
    follows: bool = False


@dataclass(frozen=True)
class Slip:
    """What reproduces the wrong result.

    Args:
        array: The array nearest the output that it makes wrong.
        cause: Its code.
        message: In words: "is what you get without g'(z^(1))".
        follow: The other arrays that are wrong because of it, or likewise.
        likewise: Whether each of them has the same slip of its own.
    """

    array: str
    cause: str
    message: str
    follow: tuple[str, ...] = ()
    likewise: bool = False

    def text(self) -> str:
        if not self.follow:
            return f"{self.array} {self.message}"
        if self.likewise:
            return f"{self.array} {self.message}; likewise {listed(self.follow)}"
        return f"{self.array} {self.message}; {listed(self.follow)} {'follows' if len(self.follow) == 1 else 'follow'} from it"


@dataclass(frozen=True)
class FunctionReport:
    """The outcome of `net.check_function`.

    Args:
        verdict: `right`: every array agrees with the derived gradient on every case, and nothing else was found.
            That is agreement on these cases, not a proof. `wrong` otherwise.
        function, network: Their names.
        arrays: One entry for each array of the result.
        slips: What the result was traced to, nearest the output first.
        problems: What is wrong besides the values: an exception, a wrong structure, inputs changed in place, ...
        notes: What does not make it wrong: how it was called, what these sizes cannot show, ...
        cases: The sizes of all cases, in words.
        shown: The case whose numbers are shown.
        seed: What the numbers were drawn with.
    """

    verdict: Verdict
    function: str
    network: str
    arrays: tuple[ArrayCheck, ...]
    slips: tuple[Slip, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    shown: str = ""
    seed: int = 0

    def __bool__(self) -> bool:
        return self.verdict == "right"

    @property
    def causes(self) -> tuple[str, ...]:
        """The codes of all slips, nearest the output first."""
        return tuple(dict.fromkeys(c for c in (*(s.cause for s in self.slips), *(a.cause for a in self.arrays)) if c))

    def text(self) -> str:
        """The report for a terminal.

        >>> print(FunctionReport("right", "backward", "2-3-1", (), cases=("widths 2, 3, 1",)).text())
        backward is right: it agrees with the derived gradient of 2-3-1 on 1 case (widths 2, 3, 1).
        """
        lines = [self._headline()]
        lines += [f"  {p}" for p in self.problems]
        lines += [f"  {s.text()}" for s in self.slips]
        if self.arrays and (self.verdict == "wrong" or any(a.error is not None for a in self.arrays)):
            width = max(len(a.name) for a in self.arrays)
            lines += ["", *(f"  {a.name:<{width}}  {described(a)}" for a in self.arrays)]
        if self.shown and self.verdict == "wrong":
            lines += ["", f"Shown: {self.shown}, seed {self.seed}."]
        lines += [f"Note: {n}." for n in self.notes]
        return "\n".join(lines)

    def _headline(self) -> str:
        kinds = list(dict.fromkeys(self.cases))
        shown = "; ".join(kinds[:4]) + ("; ..." if len(kinds) > 4 else "")
        count = f"{len(self.cases)} case{'s' if len(self.cases) != 1 else ''}" + (f" ({shown})" if shown else "")
        if self:
            return f"{self.function} is right: it agrees with the derived gradient of {self.network} on {count}."
        return (
            f"{self.function} is wrong: it does not give the gradient of {self.network} ({count.split(' (')[0]} tried)."
        )

    __str__ = text

    def markdown(self) -> str:
        """The report as Markdown: a table of the arrays."""
        lines = [f"**{self._headline()}**", ""]
        found = [*self.problems, *(s.text() for s in self.slips)]
        lines += [*(f"- {escaped(p)}" for p in found), *([""] if found else [])]
        if self.arrays:
            lines += ["| array | gradient by | verdict | error | allowed | remark |", "|---|---|---|---|---|---|"]
            lines += [
                f"| `{a.name}` | {escaped(a.symbol)} | {a.verdict} | {number(a.error)} | {number(a.tolerance)} | {escaped(remark(a))} |"
                for a in self.arrays
            ]
        lines += ["", *(f"{escaped(n)}." for n in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """The report as one JSON object; numbers that are not finite are strings."""
        whole = {"schema": 1, **asdict(self), "causes": list(self.causes)}
        return json.dumps(plain(whole), ensure_ascii=False, indent=2) + "\n"

    def __repr__(self) -> str:
        return f"FunctionReport({self.verdict}, {self.function}, {self.network})"


def plain(x: object) -> object:
    """As JSON has it."""
    if isinstance(x, float):
        return x if abs(x) < float("inf") else str(x)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, list | tuple) else x


def number(x: float | None) -> str:
    return "" if x is None else f"{x:.1e}"


def escaped(text: str) -> str:
    """Text for a line or a cell of Markdown."""
    out = text.replace("\\", "\\\\").replace("\n", " ")
    for c in "|*_<>":
        out = out.replace(c, "\\" + c)
    return out


def remark(a: ArrayCheck) -> str:
    return "; ".join(p for p in (a.message, a.worst.text() if a.worst is not None else "") if p)


def described(a: ArrayCheck) -> str:
    """One array on one line."""
    if a.verdict == "right":
        return f"right   error {number(a.error)}, allowed {number(a.tolerance)}"
    error = f"error {number(a.error)}, allowed {number(a.tolerance)}" if a.error is not None else ""
    return "wrong   " + "; ".join(p for p in (error, remark(a)) if p)


def listed(names: tuple[str, ...]) -> str:
    """The names in a sentence."""
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
