"""Hand-ins judged: every claim read, compared, proved or refuted, and its slip named."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from symbackprop.errors import ReadError, ReadIndexError, ReadShapeError
from symbackprop.indices import Affine, Constraint, Guard, affine, equals, implies
from symbackprop.judge.conventions import convention
from symbackprop.judge.own_names import ByOwnName, OwnNames, respelled
from symbackprop.judge.prove import Lemma, follows, recursion
from symbackprop.judge.relation import Judged, Setting, counterexample, judge, scope_of, total
from symbackprop.judge.sampling import MAX_STATED, samples_of
from symbackprop.judge.scope import ShapeMismatch, conditions, equality, opened, sizes_of, width_letters
from symbackprop.judge.slips import guess, repairs
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.read.expression import ReadLine, read_claim, read_line
from symbackprop.read.handin import Claim, HandIn, Renaming, read_handin, renamed
from symbackprop.read.known import Lexicon
from symbackprop.read.latex import parse_expression
from symbackprop.read.lexer import Source, lex
from symbackprop.read.names import spelled
from symbackprop.read.syntax import Fraction, Node, Row, Scripted, Symbol, Unread, children
from symbackprop.render.latex import Latex
from symbackprop.report import Finding, Fix, Report, Verdict
from symbackprop.symbols import (
    ZERO,
    Div,
    Expr,
    Num,
    Param,
    Partial,
    Position,
    Pow,
    Ref,
    Size,
    Vec,
    Where,
    families,
    substitute,
    walk,
)

AGAIN = 1_000
"""Added to the seed for samples on which a repair is tried once more."""

MAX_LEMMAS = 20
"""Proved lines that later proofs may use."""

ORDER: tuple[Verdict, ...] = ("refuted", "not_understood", "undecided", "proved")


@dataclass
class Group:
    """A first line and those that go on from it.

    Args:
        first: The first left side.
        last: The last side of the line before, None where that is not understood.
        sound: Whether every line so far is proved.
    """

    first: Expr | None
    last: Expr | None
    row: Row | None
    sound: bool = True
    guard: Guard = ()


@dataclass
class Checker:
    """Judges the claims of one hand-in in order."""

    setting: Setting
    goal: Partial | None = None
    groups: dict[int, Group] = field(default_factory=dict)
    wrong: list[Lemma] = field(default_factory=list)
    right: list[Lemma] = field(default_factory=list)
    explain: Callable[[Expr], tuple[tuple[str, str], ...]] | None = None

    taken: tuple[Renaming, ...] = ()

    def __post_init__(self) -> None:
        s = self.setting
        self.defined: dict[int, str] = {}
        self.sizes: tuple[tuple[int, str, int], ...] = ()
        self.conditioned: dict[int, int] = {}
        self.once: Guard = ()
        self.unsettled = False
        self.names = OwnNames(s.system, s.notation)
        self.spelling = respelled(s.system, s.notation, self.taken) if self.taken else s.notation

    def findings(self, handin: HandIn) -> Iterator[Finding]:
        # Names first: "where q_j = ..." stands behind what uses it.
        for c in handin.claims:
            if c.definition and not isinstance(c.row, Unread) and self.renames(c) is None:
                self.define(c, c.row)
        self.take_sizes(handin)
        for c in handin.claims:
            try:
                yield self.finding(c)
            except (RecursionError, MemoryError):
                yield self.open(c, "undecided", "too large to judge")
            except Exception as x:  # every hand-in gets a verdict; the tests look for this message
                yield self.open(c, "undecided", f"not judged: an error inside symbackprop ({type(x).__name__})")

    def open(self, c: Claim, verdict: Verdict, message: str, named: tuple[str, ...] = ()) -> Finding:
        group = self.groups.setdefault(c.group, Group(None, None, None))
        group.last, group.sound = None, False
        return Finding(
            c.number, c.line, c.column, c.latex, verdict, verdict, message=message, where=where(c), named=named
        )

    def finding(self, c: Claim) -> Finding:
        if isinstance(c.row, Unread):
            return self.open(c, "not_understood", str(c.row.error))
        try:
            if c.definition and (r := self.renames(c)) is not None:
                return self.open(c, "definition", f"taken: {r.new} for {as_typed(r.old)}")
            if c.number in self.defined:
                return self.open(c, "definition", self.defined[c.number])
            line = read_claim(c.row, c.source, self.names.system, self.names.notation)
            written = line.sides
            line = replace(line, sides=tuple(map(self.names.expanded, written)))
        except ReadShapeError as x:
            return self.ill_formed(c, str(x), "shape_mismatch")
        except ReadIndexError as x:
            return self.ill_formed(c, str(x), "wrong_index")
        except ByOwnName as x:
            return self.open(c, "not_understood", f"line {c.line}, column {c.column}: {x}")
        except ReadError as x:
            return self.open(c, "not_understood", str(x))
        if len(written) == 2 and setting_of(self.setting.system, written):
            return self.given(c, *written)
        if len(written) == 2 and (value := index_given(self.setting, *written)) is not None:
            self.once = (value,)
            return self.open(c, "definition", "said of the index: what follows is judged there")
        return self.compared(c, c.row, line, written)

    def take_sizes(self, handin: HandIn) -> None:
        """Sizes that a hand-in gives as numbers, "for n = 3" behind a line too; which derivations hold conditions."""
        for c in handin.claims:
            row = c.row
            if not isinstance(row, Unread) and row.conditions:
                self.conditioned[c.group] = c.number
            if isinstance(row, Unread) or row.left is None or len(row.relations) != 1:
                continue
            try:
                sides = read_claim(row, c.source, self.setting.system, self.setting.notation).sides
            except (ReadError, RecursionError):
                # n_0 = 2, n_1 = 2: sizes, though not understood.
                base = row.left.base if isinstance(row.left, Scripted) else row.left
                if isinstance(base, Symbol) and spelled(base) in width_letters(self.setting.system):
                    self.unsettled = True
                continue
            if len(sides) == 2 and setting_of(self.setting.system, sides):
                self.unsettled = self.unsettled or bool(row.conditions)
                name, value = size_given(self.setting, *sides)
                if name is None:
                    self.unsettled = self.unsettled or isinstance(sides[0], Size | Position)
                else:
                    self.sizes = (*self.sizes, (c.number, name, value))

    def sizes_at(self, number: int) -> Guard:
        """The sizes that hold for a claim: the last said before it, or right behind it."""
        found = {name: value for n, name, value in self.sizes if n <= number + 1}
        return tuple(equals(name, value) for name, value in found.items())

    def given(self, c: Claim, left: Expr, right: Expr) -> Finding:
        """A line that gives a size, a depth or a constant a number: the hand-in is about networks of that size."""
        if size_given(self.setting, left, right)[0] is not None:
            return self.open(c, "definition", "a size given: lines are judged for networks of that size")
        return self.open(c, "definition", "a constant given; lines are judged for all values")

    def define(self, c: Claim, row: Row) -> None:
        """Take a name that a row gives, or say why it is not taken."""
        try:
            names = self.names.defining(row, c.source)
        except ReadError as x:
            self.defined[c.number] = f"a name of your own; where it is used is not judged ({x})"
            return
        except Exception:  # the claim itself is judged, and says what is wrong
            return
        if names is not None:
            self.names = names
            self.defined[c.number] = "a name of your own, read as what it stands for"

    def renames(self, c: Claim) -> Renaming | None:
        """The renaming that a row says, where it was taken."""
        return next((r for r in self.taken if r.line == c.line and r.said == c.latex), None)

    def ill_formed(self, c: Claim, message: str, cause: str) -> Finding:
        """A line that no reading makes well-formed is refuted in the words of its fault."""
        f = self.open(c, "refuted", message, (cause,))
        fixes = self.repairs(c, 0, None)
        named = tuple(x for x in self.guessed(c, 0, None) if x != "other") or (cause,)
        return replace(f, fixes=fixes, named=named, convention=self.convention(c, 0, None))

    def compared(self, c: Claim, row: Row, line: ReadLine, line_sides: tuple[Expr, ...]) -> Finding:
        group = self.groups.get(c.group)
        sides = line.sides
        before: Expr | None = None
        if c.continued and row.left is None:
            if group is None or group.last is None:
                self.groups[c.group] = Group(group.first if group else None, sides[-1], row, False)
                return Finding(
                    c.number, c.line, c.column, c.latex, "undecided", "undecided", where=where(c),
                    message="goes on from a line that is not understood",
                )  # fmt: skip
            before = group.last
            sides = (before, *(under(before, side) for side in sides))
        if len(sides) < 2:
            return self.open(c, "not_understood", "nothing is said to be equal")
        guard = (*(group.guard if before is not None and group is not None else ()), *line.guard)
        guard = tuple(dict.fromkeys((*guard, *self.sizes_at(c.number), *self.once)))
        if before is None:
            self.once = ()
        results = [judge(self.setting, a, b, guard, line.apart, self.right) for a, b in pairwise(sides)]
        elsewhere = self.conditioned.get(c.group, 0) > c.number
        if self.unsettled or elsewhere:
            results = [self.unsure(r) for r in results]
        verdict = worst(r.verdict for r in results)
        bad = next((n for n, r in enumerate(results) if r.verdict == verdict), 0)
        chosen = results[bad]
        chain: Verdict = verdict
        if before is None or group is None:
            group = self.groups[c.group] = Group(sides[0], sides[-1], row, verdict == "proved", guard)
        else:
            if group.first is None:
                chain = "undecided"
            elif group.sound and verdict == "proved":
                chain = "proved"
            else:
                chain = judge(self.setting, group.first, sides[-1], guard, line.apart, self.right).verdict
            group.last, group.sound, group.guard = sides[-1], group.sound and verdict == "proved", guard
        carried = before is not None and verdict == "proved" and chain == "refuted"
        if verdict == "refuted" and before is None:
            carried = self.carries(sides, chosen)
        out = Finding(
            c.number,
            c.line,
            c.column,
            c.latex,
            verdict,
            chain,
            carried=carried,
            scope=scope_of(self.setting, chosen.equality),
            facts=tuple(dict.fromkeys(f for r in results for f in r.facts)),
            message=said(chosen),
            where=where(c),
            samples=sum(r.points for r in results),
            proof=tuple(x for r in results for x in explained(self.setting, r)),
        )
        if c.definition and verdict == "refuted":
            out = replace(
                out,
                message=f"{out.message}; its left side is a quantity of the model, so this is a claim and no definition",
            )
        if verdict == "refuted":
            out = self.refuted(c, out, chosen, bad, before)
            a, b = sides[bad : bad + 2]
            if isinstance(a, Partial) and before is None:
                self.wrong.append(Lemma(a, b))
        if verdict == "proved" and chain == "proved" and not line.apart and len(self.right) < MAX_LEMMAS:
            e = lemma_of(self.setting, group.first, sides[-1], guard)
            if e is not None:
                self.right.append(e)
        if self.goal is not None and verdict == "proved" and chain == "proved":
            narrow = narrowed(self.setting, self.goal, group, line)
            own = any(n.name in families(x) for n in self.names.named if holds_derivative(n.value) for x in line_sides)
            if not narrow and not own and answers(self.setting, self.goal, group, row, sides[-1]):
                out = replace(out, answers=True)
        return out

    def unsure(self, j: Judged) -> Judged:
        """A refutation by numbers where the hand-in has given sizes that are not those of the samples."""
        if j.difference is None:
            return j
        words = "it differs on samples, but a size or a condition was said beside it that was not taken"
        return Judged("undecided", words, (), j.equality, points=j.points)

    def carries(self, sides: Sequence[Expr], judged: Judged) -> bool:
        """Whether a refuted line follows from the slips of earlier lines by correct steps."""
        e = judged.equality
        if e is None or not self.wrong or len(sides) != 2:
            return False
        return follows(self.setting.system, e, self.wrong, equal=self.setting.equal, loose=True)

    def refuted(self, c: Claim, out: Finding, judged: Judged, relation: int, before: Expr | None) -> Finding:
        example = counterexample(self.setting, judged)
        if out.chain == "proved":
            words = "right for the first left side, but it does not follow from the line before, where the slip is"
            return replace(out, counterexample=example, message=words)
        fixes = self.repairs(c, relation, before)
        named = (*judged.named, *self.guessed(c, relation, before))
        if fixes or judged.named:
            named = tuple(x for x in named if x != "other")
        return replace(
            out,
            counterexample=example,
            fixes=fixes,
            named=named,
            convention=None if "index_out_of_range" in judged.named else self.convention(c, relation, before),
            right=self.explain(self.asked(c, judged)) if self.explain and judged.equality is not None else (),
        )

    def asked(self, c: Claim, judged: Judged) -> Expr:
        """What a line is about: the first left side of its derivation."""
        first = self.groups[c.group].first if c.group in self.groups else None
        if first is not None and not isinstance(first, Vec):
            return first
        assert judged.equality is not None
        return judged.equality.left

    # ------------------------------------------------------------ slips

    def repairs(self, c: Claim, relation: int, before: Expr | None) -> tuple[Fix, ...]:
        """Repairs in the author's own symbols where these are letters for letters, else in the model's."""
        s = self.setting
        samples = samples_of(s.system, s.equal, s.seed)
        ways = [(c.latex, self.spelling), (text_of(c), s.notation)]
        for text, notation in ways if ways[0] != ways[1] else ways[:1]:
            found = repairs(text, relation, s.system, notation, samples=samples, before=before)
            sound = tuple(f for f in found if self.sound(f, relation, notation, before))
            if sound:
                return sound
        return ()

    def sound(self, fix: Fix, relation: int, notation: Notation, before: Expr | None) -> bool:
        """Whether a repair also holds on networks that were not looked at when it was found."""
        s = self.setting
        try:
            sides = read_line(fix.latex, s.system, notation)
            a, b = ((before, *sides) if before is not None else sides)[relation : relation + 2]
            e = equality(s.system, total(a), total(b))
        except (ReadError, ShapeMismatch, ValueError):
            return False
        return samples_of(s.system, s.equal, s.seed + AGAIN).compare(e, networks=2).difference is None

    def guessed(self, c: Claim, relation: int, before: Expr | None) -> tuple[str, ...]:
        return guess(text_of(c), relation, self.setting.system, self.setting.notation, before=before)

    def convention(self, c: Claim, relation: int, before: Expr | None) -> str | None:
        s = self.setting
        return convention(
            text_of(c), relation, s.system, s.notation, samples=samples_of(s.system, s.equal, s.seed), before=before
        )


def text_of(c: Claim) -> str:
    """A row as text that reads alone: as written, or from its tokens where macros or other names of symbols stand in it."""
    if c.raw is None:
        return c.latex
    try:
        tokens = [t.text for t in lex(Source(c.latex))[0] if t.kind != "end"]
        written = [t.text for t in c.raw.tokens if t.kind != "end"]
    except ReadError:
        return c.latex
    return c.latex if tokens == written else spelled_out(written)


def spelled_out(tokens: Sequence[str]) -> str:
    """Tokens as LaTeX, with a space only where a command would run into a letter."""
    out = ""
    for t in tokens:
        gap = out[-1:].isalpha() and t[:1].isalpha() and out[out.rfind("\\") + 1 :].isalpha() and "\\" in out
        out += (" " if gap else "") + t
    return out


def under(before: Expr, side: Expr) -> Expr:
    """A side of a continued line under the condition that the line before stands under."""
    match before, side:
        case Where(condition, _, other), Where(again) if again == condition and other == ZERO:
            return side
        case Where(condition, _, other), _ if other == ZERO:
            return Where(condition, side, ZERO)
    return side


def lemma_of(setting: Setting, left: Expr | None, right: Expr, guard: Guard) -> Lemma | None:
    """A proved line as a lemma for those below; None where its left side is no derivative of one quantity by another."""
    if not isinstance(left, Partial) or not isinstance(left.bottom, Ref):
        return None
    e = equality(setting.system, left, right, guard)
    return Lemma(left, e.right, e.guard) if e.left == left else None


def size_given(setting: Setting, left: Expr, right: Expr) -> tuple[str | None, int]:
    """The letter of a size or a depth, and the number that a line gives it."""
    name = left.at.name if isinstance(left, Position) else None
    if isinstance(left, Size) and (left.axis.at is None or setting.equal):
        name = left.axis.label
    known = sizes_of(setting.system)
    if name in known and isinstance(right, Num) and right.value.denominator == 1 and 0 < right.value <= MAX_STATED:
        return name, int(right.value)
    return None, 0


def index_given(setting: Setting, left: Expr, right: Expr) -> Constraint | None:
    """What a line says of an index alone: l = L."""
    sides = [index_of(x) for x in (left, right)]
    if sides[0] is None or sides[1] is None or sides[0].name is None or sides[0].name in setting.system.constants:
        return None
    return equals(sides[0], sides[1])


def index_of(e: Expr) -> Affine | None:
    if isinstance(e, Position):
        return e.at
    return Affine((), int(e.value)) if isinstance(e, Num) and e.value.denominator == 1 else None


def setting_of(system: System, sides: Sequence[Expr]) -> bool:
    """Whether a line gives a size, a depth or a constant a number: n = 4, a setting rather than a claim."""
    left, right = sides
    named = isinstance(left, Size | Param) or (isinstance(left, Position) and left.at.name in sizes_of(system))
    return named and isinstance(right, Num | Div | Pow) and all(not isinstance(p, Ref) for _, p in walk(right))


def worst(verdicts: Iterator[Verdict]) -> Verdict:
    found = set(verdicts)
    return next((v for v in ORDER if v in found), "undecided")


def where(c: Claim) -> str:
    return c.where if c.where.startswith("cell") else ""


def explained(setting: Setting, j: Judged) -> Iterator[str]:
    """How a claim was proved, where it is more than bringing both sides to one form."""
    if j.proof is None or j.equality is None:
        return
    latex = Latex(setting.system, setting.notation)
    if (i := j.proof.induction) is not None:
        a, b = j.equality.left, j.equality.right
        base, before = {i.letter: i.base}, {i.letter: affine(i.letter) - i.step}
        direction = f"from ${i.letter} = {i.base}$ {'down' if i.step < 0 else 'up'}"
        yield f"By induction over ${i.letter}$, {direction}."
        yield f"Base, ${i.letter} = {i.base}$: ${latex(substitute(a, base))} = {latex(substitute(b, base))}$; both sides have one normal form."
        yield (
            f"Step: assume ${latex(substitute(a, before))} = {latex(substitute(b, before))}$. "
            f"The chain rule leads from ${i.letter}$ to ${affine(i.letter) - i.step}$, and with this both sides have one normal form."
        )
    for cell in j.proof.cases:
        yield f"Case ${latex.constraints(cell)}$: both sides have one normal form."


def said(j: Judged) -> str:
    """What is said of a verdict."""
    if j.verdict == "proved":
        return "both sides have one normal form" + (f"; assuming {' and '.join(j.facts)}" if j.facts else "")
    if j.reason:
        return j.reason
    return "the two sides differ"


# ---------------------------------------------------------------- the goal


def answers(setting: Setting, goal: Partial, group: Group, row: Row, right: Expr) -> bool:
    """Whether a proved line says what was asked: the goal on its left; on its right no derivative and no restatement.

    A letter for a gradient, such as delta, is no answer where it is the goal itself, nor for a layer that has a number.
    """
    left = group.first
    if (
        left is None
        or not instance(setting, goal, left)
        or derivative(row.relations[-1].right if row.relations else None)
    ):
        return False
    scalar = scalar_bottom(goal)
    inside = [p for _, p in walk(right) if isinstance(p, Partial) and not p.direct]
    if not inside or scalar is None:
        return True
    general = any(i.names - setting.system.constants for i in recursion(setting.system, scalar))
    return general and all(isinstance(p.bottom, Ref) and not same_place(setting, p.bottom, left) for p in inside)


def same_place(setting: Setting, u: Ref, left: Expr) -> bool:
    """Whether a gradient on the right is the very one on the left: of one family in one layer."""
    scalar = scalar_bottom(left)
    system = setting.system
    return scalar is not None and u.family == scalar.family and recursion(system, u) == recursion(system, scalar)


def scalar_bottom(e: Expr) -> Ref | None:
    """What a derivative, or an array of derivatives, is by."""
    e = opened(e)
    while isinstance(e, Vec):
        e = opened(e.body)
    bottom = e.bottom if isinstance(e, Partial) else None
    while isinstance(bottom, Vec):
        bottom = bottom.body
    return bottom if isinstance(bottom, Ref) else None


def instance(setting: Setting, goal: Partial, left: Expr) -> bool:
    """Whether a left side is the goal, up to the letters of its indices: no number, no two letters made one."""
    wanted, found = scalar_bottom(goal), scalar_bottom(left)
    b = opened(left)
    while isinstance(b, Vec):
        b = opened(b.body)
    if wanted is None or found is None or not isinstance(b, Partial):
        return False
    if wanted.family != found.family or goal.top.family != b.top.family:
        return False
    letters: dict[str, str] = {}
    for i, j in zip(wanted.indices, found.indices, strict=True):
        if i.name is None or i.name in setting.system.constants:
            if i != j:
                return False
        elif j.name is None or j.name in setting.system.constants or letters.setdefault(i.name, j.name) != j.name:
            return False
    return len(set(letters.values())) == len(letters)


def narrowed(setting: Setting, goal: Partial, group: Group, line: ReadLine) -> bool:
    """Whether a line is said of less than was asked: j other than k, l = L, ranges of its own."""
    if line.apart:
        return True
    left = group.first
    scalar = scalar_bottom(left) if left is not None else None
    if scalar is None:
        return False
    exists = tuple(c for c, _ in conditions(setting.system, Partial(goal.top, scalar)))
    known = (*setting.system.standing, *exists)
    return not all(implies(known, c) for c in (*group.guard, *line.guard))


def holds_derivative(e: Expr) -> bool:
    return any(isinstance(p, Partial) for _, p in walk(e))


def derivative(node: Node | None) -> bool:
    """Whether a derivative is written in a formula."""
    if node is None:
        return False
    return (isinstance(node, Fraction) and bool(node.derivative)) or any(derivative(n) for n in children(node))


# ---------------------------------------------------------------- the whole


def check(
    setting: Setting,
    data: bytes | str,
    *,
    goal: Partial | None = None,
    asked: str = "",
    lets: Sequence[Renaming] = (),
    name: str = "",
    model: str = "",
    explain: Callable[[Expr], tuple[tuple[str, str], ...]] | None = None,
) -> Report:
    """Judge every claim of a hand-in.

    Args:
        data: The bytes of a file, or its text.
        goal: What was asked; `asked` is how it was written.
        lets: Names that the author has for symbols of the model.
        explain: Gives the steps that lead to the right answer for a left side.
    """
    started = time.perf_counter()
    handin = read_handin(data, name, tuple(lets))
    own = tuple(r for r in handin.lets if new_symbol(setting, r))
    if own:
        handin = renamed(handin, own)
    checker = Checker(setting, goal, explain=explain, taken=(*lets, *own))
    findings = tuple(checker.findings(handin))
    answered = any(f.answers for f in findings) if goal is not None else None
    taken = tuple((r.new, as_typed(r.old)) for r in (*lets, *own))
    return Report(name, findings, answered, taken, handin.notes, asked, model, time.perf_counter() - started)


def as_typed(latex: str) -> str:
    """A symbol without the braces that one letter or digit needs none of: C_0 for C_{0}."""
    return re.sub(r"([_^])\{(\w)\}", r"\1\2", latex)


def new_symbol(setting: Setting, r: Renaming) -> bool:
    """Whether what a hand-in calls by another name has a name that the model does not use."""
    try:
        node = parse_expression(r.new)
    except ReadError:
        return False
    base = node.base if isinstance(node, Scripted) else node
    lexicon = Lexicon(setting.system, setting.notation)
    return isinstance(base, Symbol) and spelled(base) not in {*lexicon.looks, *lexicon.functions, *lexicon.gradients}


__all__ = ["Checker", "check"]
