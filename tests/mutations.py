"""Slips made at random: in expressions, in lines of LaTeX, and in whole hand-ins. Nothing here knows how slips are found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import product

from symbackprop.api import Network
from symbackprop.check import draw_samples, positions, possible, usable
from symbackprop.errors import ReadError
from symbackprop.indices import Affine, Axis, Constraint, Guard, affine
from symbackprop.judge.relation import total
from symbackprop.judge.sampling import Difference, samples_of
from symbackprop.judge.scope import Equality, ShapeMismatch, equality
from symbackprop.network import AsWritten, System
from symbackprop.oracle import CannotEvaluate, Oracle, OutOfRange, Sample
from symbackprop.read.expression import read_claim
from symbackprop.read.latex import parse_document
from symbackprop.read.lexer import Source
from symbackprop.read.syntax import Unread
from symbackprop.symbols import (
    Add,
    Binder,
    Call,
    Compare,
    D,
    Delta,
    Div,
    Expr,
    Guarded,
    Max,
    Mul,
    Num,
    Partial,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    Winner,
    names,
    replace_at,
    substitute,
    walk,
)

OPERATORS = ("<", "<=", ">", ">=", "==", "!=")


@dataclass(frozen=True)
class Relation:
    """Two expressions of a system that are equal, or said to be, for indices within a guard."""

    model: str
    system: System
    left: Expr
    right: Expr
    guard: Guard = ()


def relations(model: str, net: Network) -> Iterator[Relation]:
    """What the backward pass of a model says: each result, and both sides of each step."""
    record = net.backward().record
    for section in record.sections:
        for step in section.steps:
            yield Relation(model, record.system, step.before, step.after, section.assume)
        if section.steps:
            yield Relation(model, record.system, section.subject, section.result, section.assume)


# ---------------------------------------------------------------- is it wrong?


def claim(r: Relation) -> Equality | None:
    """The relation as the judge sees it; None where the two sides are arrays of different shapes."""
    try:
        return equality(r.system, total(r.left), total(r.right), r.guard)
    except ShapeMismatch:
        return None


def difference(system: System, e: Equality, seeds: range, points: int = 8, equal: bool = False) -> Difference | None:
    """A point of the sample networks at which the two sides differ."""
    for seed in seeds:
        found = samples_of(system, equal, seed).compare(e, points).difference
        if found is not None:
            return found
    return None


# ---------------------------------------------------------------- expressions


def mutant(r: Relation, draw: random.Random) -> Relation:
    """The relation with one or two changes at random places of one side or of its guard."""
    for _ in range(draw.choice((1, 1, 1, 2))):
        where = draw.random()
        if where < 0.06:
            r = replace(r, guard=changed_guard(r.guard, draw))
        elif where < 0.12:
            r = settled(r, draw)
        elif where < 0.2:
            r = replace(r, left=changed(r.left, r, draw))
        else:
            r = replace(r, right=changed(r.right, r, draw))
    return r


def settled(r: Relation, draw: random.Random) -> Relation:
    """One free layer or time of one side with a value of its own: l = 1, l = L."""
    free = sorted(names(r.right) - r.system.constants)
    if not free:
        return r
    value = draw.choice([affine(0), affine(1), affine(2), *map(affine, sorted(r.system.constants))])
    return replace(r, right=substitute(r.right, {draw.choice(free): value}))


def changed(e: Expr, r: Relation, draw: random.Random) -> Expr:
    """An expression with one part replaced."""
    parts = list(walk(e))
    for _ in range(20):
        path, part = draw.choice(parts)
        options = list(changes(part, e, r.system))
        if options:
            new = draw.choice(options)
            try:
                return replace_at(e, path, new() if callable(new) else new)
            except (AssertionError, ValueError):
                continue
    return e


def changes(p: Expr, whole: Expr, system: System) -> Iterator[Expr | Callable[[], Expr]]:
    """What may stand in the place of a part."""
    letters = sorted(n for n in names(whole) | {b.index for _, b in walk(whole) if isinstance(b, Binder)})
    match p:
        case Num(value):
            yield from (Num(value + 1), Num(-value), Num(value * 2))
            if value:
                yield Num(1 / value)
        case Ref():
            yield from indexed(p, letters, system)
            yield from (p * p, Num(Fraction(0)), Pow(Pow(p, Num(Fraction(2))), Num(Fraction(1, 2))))
            yield from (Call("abs", (p,)), Where(Compare(">", p, Num(Fraction(0))), p, Num(Fraction(0))))
        case Add(terms):
            for n, t in enumerate(terms):
                rest = (*terms[:n], *terms[n + 1 :])
                yield from (Add(rest) if len(rest) > 1 else rest[0], Add((*rest, -t)), Add((*terms, t)))
        case Mul(factors):
            for n, f in enumerate(factors):
                rest = (*factors[:n], *factors[n + 1 :])
                yield from (Mul(rest) if len(rest) > 1 else rest[0], Mul((*factors, f)), Mul((*rest, 1 / f)))
            yield -p
        case Div(top, bottom):
            yield from (Div(bottom, top), top, Div(top, bottom * bottom), Mul((top, bottom)))
        case Pow(base, exponent):
            yield from (base, Pow(base, exponent + 1), Pow(base, -exponent), Pow(exponent, base), Call("sqrt", (p,)))
        case Call(name, arguments, order, at):
            yield from (replace(p, order=order + 1), replace(p, order=max(0, order - 1)), arguments[0])
            yield from (replace(p, at=x) for x in moved(at, letters, system) if at is not None)
            yield from (replace(p, function=f) for f in ("exp", "log", "tanh", "sqrt", "abs") if f != name)
        case Sum() | Max() | Prod():
            yield from ranged(p, system)
            if isinstance(p, Sum):
                yield from (Max(p.index, p.axis, p.body, p.guard), Prod(p.index, p.axis, p.body, p.guard))
            else:
                yield Sum(p.index, p.axis, p.body, p.guard)
        case Guarded(body, guard):
            yield body
            yield from (Guarded(body, g) for g in guards(guard))
            yield from (Guarded(body, c.negations()) for c in guard)
        case Delta(left, right, _):
            yield Num(Fraction(1))
            yield from (replace(p, left=x) for x in moved(left, letters, system))
            yield from (replace(p, right=x) for x in moved(right, letters, system))
        case Where(condition, then, other):
            yield from (Where(condition, other, then), then, other, Where(condition, then, then * 2))
        case Compare(op, left, right):
            yield from (Compare(o, left, right) for o in OPERATORS if o != op)
            yield from (Compare(op, right, left), Compare(op, left, right + 1), Compare(op, left, right * 2))
        case Winner(of, at):
            yield from (Winner(of, x) for x in moved(at, letters, system))
            yield Num(Fraction(1))
        case Position(at):
            yield from (Position(x) for x in moved(at, letters, system))
        case Size(axis):
            yield from (Size(a) for a in axes_like(axis, system))
        case Partial(top, bottom, direct):
            yield Partial(top, bottom, not direct)
            yield from (replace(p, top=x) for x in indexed(top, letters, system) if isinstance(x, Ref))
            if isinstance(bottom, Ref):
                yield from (replace(p, bottom=x) for x in indexed(bottom, letters, system) if isinstance(x, Ref))
        case D(body, variable, every):
            yield D(body, variable, not every)
            yield from (replace(p, variable=x) for x in indexed(variable, letters, system) if isinstance(x, Ref))


def indexed(r: Ref, letters: list[str], system: System) -> Iterator[Ref]:
    """A quantity with other indices, or another with the same axes."""
    for n, i in enumerate(r.indices):
        for x in moved(i, letters, system):
            yield Ref(r.family, (*r.indices[:n], x, *r.indices[n + 1 :]))
        for m in range(n):
            swapped = list(r.indices)
            swapped[n], swapped[m] = swapped[m], swapped[n]
            yield Ref(r.family, tuple(swapped))
    axes = system.family(r.family).axes
    for name, f in system.families.items():
        if name != r.family and [a.kind for a in f.axes] == [a.kind for a in axes]:
            yield Ref(name, r.indices)


def moved(i: Affine | None, letters: list[str], system: System) -> Iterator[Affine]:
    """Another index in the place of one."""
    if i is None:
        return
    yield from (i + 1, i - 1, affine(0), affine(1), affine(2))
    yield from (affine(n) for n in (*letters, *sorted(system.constants)) if affine(n) != i)


def axes_like(axis: Axis, system: System) -> list[Axis]:
    """Other axes of the same kind; a width of the next layer."""
    out = {a: None for f in system.families.values() for a in f.axes if a.kind == axis.kind and a != axis}
    if axis.at is not None:
        out |= {replace(axis, at=axis.at + k): None for k in (-1, 1)}
    return [a for a in out if a.at is None or axis.at is not None]


def ranged(p: Sum | Max | Prod, system: System) -> Iterator[Expr]:
    """A sum with another range, without its sign, or over another axis."""
    yield from (replace(p, guard=g) for g in guards(p.guard))
    yield p.body
    yield from (replace(p, axis=a) for a in axes_like(p.axis, system))
    i = affine(p.index)
    if p.axis.kind == "recursion":
        yield replace(p, body=substitute(p.body, {p.index: i + 1}))
        yield replace(p, body=substitute(p.body, {p.index: i - 1}))
        yield replace(p, guard=(*p.guard, Constraint(i - p.axis.first - 1)))
        if p.axis.last is not None:
            yield replace(p, guard=(*p.guard, Constraint(p.axis.last - i - 1)))
    others = sorted(names(p.body) - {p.index} - system.constants)
    for n in others:
        yield replace(p, guard=(*p.guard, Constraint(i - affine(n), True)))
        yield replace(p, guard=(*p.guard, Constraint(i - affine(n) - 1)))


def guards(guard: Guard) -> Iterator[Guard]:
    """A guard without one of its constraints, or with one of them weaker, stronger, exact, turned around."""
    for n, c in enumerate(guard):
        rest = (*guard[:n], *guard[n + 1 :])
        yield rest
        yield from ((*rest, Constraint(c.expr + k, c.equal)) for k in (-1, 1))
        yield (*rest, Constraint(c.expr, not c.equal))
        yield (*rest, Constraint(-c.expr, c.equal))


def changed_guard(guard: Guard, draw: random.Random) -> Guard:
    options = list(guards(guard))
    return draw.choice(options) if options else guard


# ---------------------------------------------------------------- lines of LaTeX

SUBSCRIPT = re.compile(r"_\{([^{}]*)\}|_([A-Za-z0-9])")
LAYER = re.compile(
    r"(?<=\^\{\()[lL](?:[+-]\d)?(?=\)\})|(?<=\^)[lL](?![a-z])|(?<=\^\{)[lL](?:[+-]\d)?(?=\})|(?<=\^\{\[)[lL]"
)
SIGMA = re.compile(r"\\sum_(?:\{[^{}]*\}|\w)(?:\^(?:\{[^{}]*\}|\w))? ?")
HEAD = re.compile(r"(?<![A-Za-z\\{])([a-zA-Z])(?=[_^(']|\\left\()")
PLAIN = re.compile(r"[a-zA-Z]")

Edit = Callable[[str, random.Random], Iterator[str]]


def put(text: str, m: re.Match[str], new: str) -> str:
    return text[: m.start()] + new + text[m.end() :]


def subscripts(text: str, draw: random.Random) -> Iterator[str]:
    """Index letters exchanged, replaced by others of the line, shifted by one."""
    found = list(SUBSCRIPT.finditer(text))
    letters = sorted({c for m in found for c in PLAIN.findall(m[1] or m[2])})
    for m in found:
        inner = m[1] or m[2]
        if "=" in inner or "\\" in inner:
            continue
        for x in PLAIN.finditer(inner):
            for new in letters:
                if new != x[0]:
                    yield put(text, m, f"_{{{put(inner, x, new)}}}")
            yield put(text, m, f"_{{{put(inner, x, x[0] + ('+1' if draw.random() < 0.5 else '-1'))}}}")
        if len(inner) == 2 and inner.isalpha() and inner[0] != inner[1]:
            yield put(text, m, f"_{{{inner[::-1]}}}")


def layers(text: str, draw: random.Random) -> Iterator[str]:
    for m in LAYER.finditer(text):
        options = ("l", "l-1", "l+1", "L", "L-1")
        yield from (
            put(text, m, new if len(new) == 1 or text[m.start() - 1] != "^" else f"{{{new}}}") for new in options
        )


def signs(text: str, draw: random.Random) -> Iterator[str]:
    yield text[1:] if text.startswith("-") else f"-{text}"
    for m in re.finditer(r" ([+-]) ", text):
        yield put(text, m, " - " if m[1] == "+" else " + ")


def numbers(text: str, draw: random.Random) -> Iterator[str]:
    yield from (rf"2 \cdot {text}", rf"\frac{{1}}{{2}} {text}") if not text.startswith("-") else ()
    for m in re.finditer(r"(?<![\w^_{.])\d(?![\d.])", text):
        yield put(text, m, str(int(m[0]) + 1))
        yield put(text, m, "")
    for m in re.finditer(r"\^2|\^\{2\}", text):
        yield put(text, m, "")
        yield put(text, m, "^3")


def functions(text: str, draw: random.Random) -> Iterator[str]:
    for m in re.finditer(r"'|\\prime", text):
        yield put(text, m, "")
    for m in re.finditer(r"\\(log|exp|tanh)(?![a-z])", text):
        yield put(text, m, rf"\{'exp' if m[1] == 'log' else 'log'}")
    for m in re.finditer(r"\^\\top|\^T(?![A-Za-z])|\\odot", text):
        yield put(text, m, "")


def heads(text: str, draw: random.Random) -> Iterator[str]:
    """One letter of a quantity for another."""
    found = list(HEAD.finditer(text))
    letters = sorted({m[1] for m in found})
    for m in found:
        options = [c for c in (*letters, {"a": "z", "z": "a"}.get(m[1], "")) if c and c != m[1]]
        if options:
            yield put(text, m, draw.choice(options))


def sums(text: str, draw: random.Random) -> Iterator[str]:
    for m in SIGMA.finditer(text):
        yield put(text, m, "")
        bounds = re.search(r"=(\d)\}\^(?:\{(\w)\}|(\w))", m[0])
        if bounds:
            yield put(text, m, m[0].replace(f"={bounds[1]}", f"={int(bounds[1]) + 1}", 1))
            last = bounds[2] or bounds[3]
            yield put(text, m, m[0][: m[0].rindex("^")] + f"^{{{last}-1}} ")


def factors(text: str, draw: random.Random) -> Iterator[str]:
    parts = text.split(r"\, ")
    if len(parts) > 1 and text.count("{") == sum(p.count("{") for p in parts):
        for n, p in enumerate(parts):
            if p.count("{") == p.count("}") and p.count(r"\left") == p.count(r"\right"):
                yield r"\, ".join(parts[:n] + parts[n + 1 :])
                yield r"\, ".join([*parts, p])


EDITS: tuple[Edit, ...] = (subscripts, layers, signs, numbers, functions, heads, sums, factors)


def line_slips(line: str, draw: random.Random, each: int = 3) -> list[str]:
    """Slips in the right side of `left = right`, at most so many of each kind; few of them leave the line true."""
    left, right = halves(line)
    right, aside_sign, aside = right.partition(r"\qquad")
    out: dict[str, None] = {}
    for edit in EDITS:
        made = [x for x in dict.fromkeys(edit(right.strip(), draw)) if x.strip() not in ("", right.strip())]
        for x in draw.sample(made, min(each, len(made))):
            out[f"{left.strip()} = {x.strip()} {aside_sign}{aside}".rstrip()] = None
    return list(out)


def halves(line: str) -> tuple[str, str]:
    """Both sides of a line, at the last equals sign that stands in no braces; slips go into the right one."""
    depth, at = 0, -1
    for n, c in enumerate(line):
        depth += (c == "{") - (c == "}")
        if c == "=" and depth == 0 and r"\qquad" not in line[:n]:
            at = n
    return (line[:at], line[at + 1 :]) if at >= 0 else (line, "")


def right_lines(net: Network, goals: int = 3) -> list[str]:
    """Lines that the derivations of a model print."""
    out: dict[str, None] = {}
    families = [n for n, f in net.system.families.items() if f.kind == "parameter" and f.over is None][:goals]
    for goal in families or [None]:
        for step in net.derive(goal).steps:
            line = step.latex()
            left, _, right = line.partition(" = ")
            if right and left != right and r"\cdots" not in line:
                out[line] = None
    return list(out)


# ---------------------------------------------------------------- numbers, by a way of their own


def wrong(net: Network, line: str, seeds: Iterable[int] = (101, 202)) -> bool | None:
    """Whether the two sides of a line differ on sample networks that the judge does not draw; None where nothing is said."""
    try:
        document = parse_document(line)
        if len(document.rows) != 1 or isinstance(document.rows[0], Unread):
            return None
        read = read_claim(document.rows[0], Source(document.text), net.system, net.notation)
    except ReadError:
        return None
    if len(read.sides) != 2 or read.apart:
        return None
    sides, axes = [], dict(read.free)
    for e in read.sides:
        e, count = total(e), 0
        while isinstance(e, Vec):
            axes.setdefault(f"_{count}", e.axis)
            e, count = substitute(e.body, {e.index: affine(f"_{count}")}), count + 1
        sides.append(e)
    tried = False
    for seed in seeds:
        for oracle in oracles(net.system, tuple(sides), seed):
            for point in points(axes, read.guard, oracle, random.Random(seed)):
                try:
                    a, b = (oracle.evaluate(e, point) for e in sides)
                    tried = True
                    if not oracle.agree(a, b):
                        return True
                except (CannotEvaluate, OutOfRange, KeyError):
                    continue
    return False if tried else None


def oracles(system: System, sides: tuple[Expr, ...], seed: int) -> Iterator[Oracle]:
    """Networks with other data than the judge's; those of one system are kept."""
    for sample in draw_samples(system, list(sides), seed):
        yield kept_oracle(AsWritten(system), sample)


@lru_cache(maxsize=512)
def kept_oracle(system: AsWritten, sample: Sample) -> Oracle:
    return usable(system.system, sample)


def points(axes: dict[str, Axis], guard: Guard, oracle: Oracle, draw: random.Random) -> Iterator[dict[str, int]]:
    """Places of the free indices, the times and layers among them in every order."""
    sample = oracle.sample
    standing = {**oracle.standing, "n": max((0, *sample.widths))}
    clocks = [x for x, a in axes.items() if a.kind == "recursion"]
    times = list(product(range(max([sample.layers, *dict(sample.sizes).values()]) + 1), repeat=len(clocks)))
    draw.shuffle(times)
    for values in (times[:4] * 2)[:6]:
        point = {**standing, **dict(zip(clocks, values, strict=True))}
        try:
            for x, a in axes.items():
                if x not in clocks:
                    point[x] = draw.randrange(positions(a, sample, point))
        except (IndexError, KeyError, ValueError):
            continue
        if possible(guard, point):
            yield point


# ---------------------------------------------------------------- broken text

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[A-Za-z]+|\d+|\s+|.", re.DOTALL)

PIECES = (
    "{", "}", "_", "^", "&", r"\\", "=", r"\left(", r"\right)", r"\frac", r"\sum_k", r"\partial", "'", "$", r"\[", r"\]", "%", "~",
    r"\begin{cases}", r"\end{cases}", r"\max", r"\mathbb{1}[", "]", "|", "999999999", "^{-1}", r"\sqrt", r"\log", r"\cdots", "\x00", "é",
    r"\def\x{\x\x}", r"\newcommand{\a}[1]{#1#1}", "j", "L", "l+1", "(", ")", ",", "0", "w_{jk}^{(l)}", r"\delta_{jk}", r"\quad", "2",
)  # fmt: skip

WRAPPINGS = (
    "{}",
    "\\[ {} \\]",
    "\\begin{{align}}\n{}\n\\end{{align}}",
    "# Notes\n\nSo $${}$$ and\n",
    "\\documentclass{{article}}\\begin{{document}}Then ${}$.\\end{{document}}",
    '{{"cells": [{{"cell_type": "markdown", "source": ["$${}$$"]}}], "nbformat": 4}}',
)


def garbled(line: str, other: str, draw: random.Random) -> str:
    """A line cut, with pieces lost, doubled, exchanged, put in, or grown together with another."""
    tokens = TOKEN.findall(line)
    for _ in range(draw.choice((0, 1, 1, 1, 1, 2, 4))):
        if not tokens:
            break
        n = draw.randrange(len(tokens))
        match draw.randrange(7):
            case 0:
                del tokens[n]
            case 1:
                tokens.insert(n, draw.choice(PIECES))
            case 2:
                tokens[n] = draw.choice(PIECES)
            case 3:
                tokens.insert(n, tokens[draw.randrange(len(tokens))])
            case 4:
                del tokens[n:]
            case 5:
                m = draw.randrange(len(tokens))
                tokens[n], tokens[m] = tokens[m], tokens[n]
            case 6:
                tokens[n:] = TOKEN.findall(other)[n:]
    return "".join(tokens)


def hand_in(lines: list[str], draw: random.Random) -> bytes:
    """A document of a few broken lines; now and then with broken bytes, or with nothing but bytes."""
    if draw.random() < 0.02:
        return draw.randbytes(draw.randrange(400))
    chosen = [garbled(draw.choice(lines), draw.choice(lines), draw) for _ in range(draw.choice((1, 1, 1, 1, 2)))]
    data = draw.choice(WRAPPINGS).format(" \\\\\n".join(chosen)).encode("utf-8", "surrogatepass")
    for _ in range(draw.choice((0, 0, 0, 0, 0, 0, 0, 1, 4)) if data else 0):
        n = draw.randrange(len(data))
        data = data[:n] + bytes([draw.randrange(256)]) + data[n + draw.randrange(2) :]
    return data
