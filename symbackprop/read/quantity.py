r"""Goals of any model: LaTeX in its author's notation, or short and shell-safe.

\frac{\partial C}{\partial W^{Q}_{hcd}}, h_j^{(t)}, w_{ock}           as the model writes them
W_Q, Q, Q_ic, W_Q_hcd, dC/dh_tj, x_hat                                by the names of arrays, indices behind
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from symbackprop.errors import GoalError, ReadError, UnknownFamilyError, nearest
from symbackprop.indices import Affine, affine
from symbackprop.network import System
from symbackprop.notation import Notation
from symbackprop.read.expression import reader
from symbackprop.read.known import Lexicon, default_latex
from symbackprop.symbols import Expr, Partial, Ref, Vec, substitute

MAX_LENGTH = 64 * 1024
COMMANDS = re.compile(r"\s*(frac|dfrac|tfrac|partial|nabla)\b")
SHORT = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_]*?)(?P<scripts>(?:[_^](?:\{[^{}]*\}|\([^()]*\)|[A-Za-z0-9',]+(?:[+-]\d+)?))*)\Z"
)
SCRIPT = re.compile(r"([_^])(?:\{([^{}]*)\}|\(([^()]*)\)|([A-Za-z0-9',]+(?:[+-]\d+)?))")
DERIVATIVE = re.compile(r"\s*d\s*(?P<top>[A-Za-z]\w*)\s*/\s*d\s*(?P<bottom>\S.*?)\s*\Z")


def general_goal(text: str, system: System, notation: Notation) -> Partial:
    """The goal that a text names in a model of any kind.

    Raises:
        ReadError: It cannot be read; the message has the column.
        GoalError: It names something that the network lacks, or a place outside of an axis.
    """
    if len(text) > MAX_LENGTH:
        raise ReadError(f"too long: {len(text)} characters, at most {MAX_LENGTH} are read")
    if COMMANDS.match(text):
        raise ReadError(
            "a command without its backslash; put the goal in single quotes so that the shell leaves it alone", text, 1
        )
    asked = any_cost(text, system)
    goal = short_goal(asked, system, notation) or latex_goal(asked, system, notation)
    goal = in_own_letters(goal, text, notation)
    check(goal, text, system, notation)
    return goal


COST = re.compile(r"(?P<before>^\s*d\s*|\\partial\s*)(?P<letter>[CJEL])(?=\s*(?:/|\}))")


def any_cost(text: str, system: System) -> str:
    """The goal with the letter of the cost for another usual one, where the cost is any that the outputs go into."""
    if not system.upstream or len(system.cost) != 1:
        return text
    found = COST.search(text)
    if found is None or found["letter"] in system.families:
        return text
    return text[: found.start("letter")] + system.cost + text[found.end("letter") :]


def in_own_letters(goal: Partial, text: str, notation: Notation) -> Partial:
    """The goal with the model's letters for those in its scripts, where a notation writes k where the model says j."""
    latex = {default_latex(n): n for n in notation.names}
    back = {latex[x]: affine(n) for n, x in notation.names.items() if x in latex and latex[x] != n}
    scripts = re.split(r"[_^]", text, maxsplit=1)[1:]
    back = {n: a for n, a in back.items() if scripts and n in scripts[0]}
    if not back:
        return goal
    out = substitute(goal, back)
    assert isinstance(out, Partial)
    bottom = out.bottom
    while isinstance(bottom, Vec):
        bottom = bottom.body
    return out if isinstance(bottom, Ref) else goal


# ---------------------------------------------------------------- short forms


def short_goal(text: str, system: System, notation: Notation) -> Partial | None:
    """A goal by the names of arrays; None where the text is none."""
    top = Ref(system.cost, ())
    m = DERIVATIVE.fullmatch(text)
    if m is not None and m["top"] in system.families:
        above = system.family(m["top"])
        if above.axes and m["top"] != system.cost:
            return None
        top, text = Ref(above.name, ()), m["bottom"]
    bottom = Short(text.strip(), system, notation).quantity()
    return None if bottom is None else Partial(top, bottom)


@dataclass
class Short:
    """A quantity by its name, indices behind an underscore: W_Q_hcd, h_tj, x_hat."""

    text: str
    system: System
    notation: Notation

    def quantity(self) -> Ref | Vec | None:
        names = self.system.families.keys() - self.other_letters()
        if self.text in names:
            f = self.system.family(self.text)
            if f.kind == "cost" and not f.axes:
                raise GoalError(f"{self.text} is the cost itself; name what it is differentiated by")
            return f.pattern
        for name in sorted(names, key=lambda n: (-len(n), n)):
            rest = self.text.removeprefix(name)
            if rest != self.text and re.fullmatch(rf"(?:{SCRIPT.pattern})+", rest):
                found = self.indexed(name, rest)
                if found is not None:
                    return found
        return None

    def other_letters(self) -> set[str]:
        """Names of families that are the letters of other ones in this notation: a reader means those."""
        lexicon = Lexicon(self.system, self.notation)
        return {
            n for n, looks in lexicon.looks.items() if n in self.system.families and all(x.name != n for x in looks)
        }

    def indexed(self, name: str, scripts: str) -> Ref | None:
        f = self.system.family(name)
        look = Lexicon(self.system, self.notation).look(name)
        lower: list[Affine] | None = None
        upper: list[Affine] | None = None
        for sign, *groups in SCRIPT.findall(scripts):
            inside = next((g for g in groups if g), "")
            wanted = len(look.lower) if sign == "_" else len(look.upper)
            indices = self.indices(inside, wanted)
            if indices is None or (sign == "_" and lower is not None) or (sign == "^" and upper is not None):
                return None
            if sign == "_":
                lower = indices
            else:
                upper = indices
        if lower is not None and upper is None and len(lower) == len(f.axes) and len(lower) > len(look.lower):
            places = tuple(range(len(f.axes)))  # all indices below, in the order of the array
            upper = []
        else:
            places = look.lower
        if lower is None or len(lower) != len(places):
            return None
        out = [affine(x) for x in f.indices]
        for place, i in zip(places, lower, strict=True):
            out[place] = i
        for place, i in zip(look.upper, upper or (), strict=False):
            out[place] = i
        return Ref(name, self.counted(f.name, out))

    def counted(self, name: str, indices: list[Affine]) -> tuple[Affine, ...]:
        """Numbers, which count as the notation does, as positions from 0."""
        axes = self.system.family(name).axes
        return tuple(
            i - self.notation.first_of(a.label) if i.value is not None and a.kind == "node" else i
            for i, a in zip(indices, axes, strict=True)
        )

    def indices(self, text: str, wanted: int) -> list[Affine] | None:
        groups = text.strip("()").split(",")
        if len(groups) == 1 and wanted != 1:
            parts = re.findall(r"[A-Za-z]'*(?:[+-]\d+)?|\d", groups[0])
            if "".join(parts) != groups[0].replace(" ", ""):
                return None
            groups = parts
        out = []
        for g in groups:
            m = re.fullmatch(r"\s*(?:([A-Za-z]'*)\s*([+-]\s*\d{1,6})?|(\d{1,6}))\s*", g)
            if m is None:
                return None
            out.append(affine(int(m[3])) if m[3] else affine(m[1]) + int((m[2] or "0").replace(" ", "")))
        return out


# ---------------------------------------------------------------- LaTeX


def latex_goal(text: str, system: System, notation: Notation) -> Partial:
    """A goal as the model's author would write it."""
    plain, origin = braced(text)
    try:
        r, row = reader(plain, system, notation)
        if row.left is None or row.relations:
            raise ReadError("a goal is one derivative or one symbol, found an equation", text, 1)
        (found,) = r.line(row)
    except ReadError as e:
        if "is no symbol of this network" in e.what:
            known = [n for n, f in system.families.items() if f.kind != "cost" and n not in system.upstream.values()]
            name = e.what.partition(" is no symbol")[0]
            raise UnknownFamilyError(
                f"column {place(e.column, origin)}: {name} is no symbol of this network{nearest(name, known)}"
            ) from None
        raise ReadError(e.what, text, place(e.column, origin)) from None
    found = by_system(whole(found, system), system)
    match found:
        case Partial():
            return found
        case Ref(family) if family == system.cost:
            raise GoalError(f"{text} is the cost itself; name what it is differentiated by")
        case Ref() | Vec(_, _, Ref()):
            return Partial(Ref(system.cost, ()), found)
    raise ReadError("a goal is one derivative or one symbol, found a formula", text, 1)


BARE = re.compile(r"(?<=[_^])[A-Za-z0-9][A-Za-z0-9',]*(?:[+-]\d+)?(?![A-Za-z])")


def braced(text: str) -> tuple[str, list[int]]:
    """The text with braces around scripts of several letters, w_jk^l-1, and where each of its characters stood."""
    out: list[str] = []
    origin: list[int] = []
    end = 0
    for m in BARE.finditer(text):
        piece = m[0].rstrip(",")
        if len(piece) < 2:
            continue
        for part, start in ((text[end : m.start()], end), ("{", m.start()), (piece, m.start()), ("}", m.start())):
            out.append(part)
            origin += [start + n if len(part) > 1 else start for n in range(len(part))]
        end = m.start() + len(piece)
    out.append(text[end:])
    origin += range(end, len(text) + 1)
    return "".join(out), origin


def place(column: int, origin: list[int]) -> int:
    return origin[min(column, len(origin)) - 1] + 1 if column else 0


def whole(e: Expr, system: System) -> Expr:
    """A quantity without any of its indices is its general one."""
    bottom = e.bottom if isinstance(e, Partial) else e
    body, letters = bottom, []
    while isinstance(body, Vec):
        letters.append(body.index)
        body = body.body
    if not isinstance(body, Ref) or not letters:
        return e
    nodes = sum(a.kind == "node" for a in system.family(body.family).axes)
    if len(letters) == nodes:
        return replace(e, bottom=body) if isinstance(e, Partial) else body
    return e


def by_system(e: Expr, system: System) -> Expr:
    """A family that stands for the gradient of a cost is that gradient."""
    if isinstance(e, Ref) and e.family in system.gradients:
        cost, owner = system.gradients[e.family]
        return Partial(Ref(cost, ()), replace(e, family=owner))
    return e


def check(goal: Partial, text: str, system: System, notation: Notation) -> None:
    """Layers and times within their range, nodes on their axis, letters that the model knows."""
    body = goal.bottom
    while isinstance(body, Vec):
        body = body.body
    if not isinstance(body, Ref):
        raise ReadError("a goal is by one quantity", text, 1)
    for r in (goal.top, body):
        f = system.family(r.family)
        for axis, i in zip(f.axes, r.indices, strict=True):
            wrong = system.out_of_range(r, notation.first_of(axis.label) if axis.kind == "node" else 0)
            if wrong is not None:
                raise ReadError(wrong, text, 1)
            clash = i.names & (system.constants - (axis.last.names if axis.last is not None else frozenset()))
            if axis.kind == "node" and clash:
                raise ReadError(
                    f"{', '.join(sorted(clash))} is a size or a last layer; an index is a letter such as {f.indices[0]}",
                    text,
                    1,
                )
