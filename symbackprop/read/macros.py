r"""Macros defined in the text itself, expanded by plain token substitution.

\newcommand, \renewcommand, \providecommand, \def, \let, \DeclareMathOperator and \DeclarePairedDelimiter; nothing else of
TeX, no recursion, and no more than MAX_TOKENS tokens out of macros, so that a short text cannot grow into a long one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from symbackprop.errors import ReadError
from symbackprop.read.lexer import Source, Token, quoted

MAX_TOKENS = 100_000
MAX_DEPTH = 50

NEWCOMMANDS = frozenset({r"\newcommand", r"\renewcommand", r"\providecommand"})
DEFINITIONS = frozenset({*NEWCOMMANDS, r"\def", r"\gdef", r"\let", r"\DeclareMathOperator", r"\DeclarePairedDelimiter"})


@dataclass(frozen=True)
class Macro:
    """What a command stands for.

    Args:
        arity: How many arguments it takes; the first of them in square brackets where there is a `default`.
        body: With `param` tokens for the arguments.
        problem: Why it cannot be used, empty where it can: what nobody uses need not be understood.
    """

    name: str
    arity: int
    default: tuple[Token, ...] | None
    body: tuple[Token, ...]
    problem: str = ""
    starred: bool = False


@dataclass
class Cursor:
    """A place in a list of tokens that ends in an end token; the list is the cursor's own."""

    tokens: list[Token]
    source: Source
    index: int = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.index]

    def take(self) -> Token:
        t = self.next
        self.index += t.kind != "end"
        return t

    def skip(self, text: str) -> bool:
        found = self.next.text == text and self.next.kind in ("sign", "command")
        self.index += found
        return found

    def group(self, close: str = "}") -> tuple[Token, ...]:
        """What is left of a group whose opening token has just been taken, its end taken too."""
        opener, depth, out = self.tokens[self.index - 1], 0, []
        while not (depth == 0 and self.next.text == close and self.next.kind == "sign"):
            t = self.take()
            if t.kind == "end":
                raise self.source.error(f"no '{close}' closes this {quoted(opener)}", opener)
            if t.kind == "sign":
                depth += {"{": 1, "}": -1}.get(t.text, 0)
            out.append(t)
        self.take()
        return tuple(out)

    def argument(self, what: str, after: Token) -> tuple[Token, ...]:
        """A group in braces, or a single token; of a number its first digit, as in TeX."""
        if self.skip("{"):
            return self.group()
        t = self.next
        if t.kind in ("end", "par", "begin", "finish") or t.text in ("}", "&", r"\\"):
            raise self.source.error(f"{after.text} takes {what}; found {quoted(t)}", after)
        if t.kind == "number" and len(t.text) > 1:
            first, rest = t.text[:1], t.text[1:]
            self.tokens[self.index] = replace(t, text=rest, start=min(t.start + 1, t.end), spaced=False)
            return (replace(t, text=first, end=min(t.start + 1, t.end)),)
        return (self.take(),)


def expand(tokens: Sequence[Token], source: Source) -> list[Token]:
    """The tokens with every macro replaced by what it stands for, definitions gone.

    Raises:
        ReadError: A macro is used that stands for itself, takes what is not there, or grows too large.
    """
    if not any(t.kind == "command" and t.text in DEFINITIONS for t in tokens):
        return list(tokens)
    return Expander(source).document(tokens)


@dataclass
class Expander:
    """Macros as defined so far, and what expanding them has produced."""

    source: Source
    macros: dict[str, Macro] = field(default_factory=dict)
    bodies: dict[str, tuple[Token, ...]] = field(default_factory=dict)
    produced: int = 0

    def document(self, tokens: Sequence[Token]) -> list[Token]:
        out: list[Token] = []
        cursor = Cursor(list(tokens), self.source)
        while cursor.next.kind != "end":
            if cursor.next.kind == "command" and cursor.next.text in DEFINITIONS:
                macro = definition(cursor)
                self.macros[macro.name] = macro
                self.bodies.clear()
            else:
                self.step(cursor, out, ())
        return [*out, cursor.next]

    def step(self, cursor: Cursor, out: list[Token], active: tuple[str, ...]) -> None:
        """Move one token, or what a macro stands for."""
        t = cursor.take()
        macro = self.macros.get(t.text) if t.kind == "command" else None
        if macro is None:
            out.append(t)
            return
        if macro.name in active:
            raise self.source.error(f"the macro {t.text} stands for itself ({' -> '.join((*active, t.text))})", t)
        if macro.problem:
            raise self.source.error(f"the macro {t.text} is not understood: {macro.problem}", t)
        if len(active) > MAX_DEPTH:
            raise self.source.error(f"macros within macros, more than {MAX_DEPTH} deep", t)
        arguments = [self.expanded(a, (*active, "")) for a in self.arguments(macro, cursor, t)]
        use = cursor.tokens[cursor.index - 1].end
        for b in self.body(macro, t, active):
            if b.kind == "param" and b.text != "#":
                out.extend(arguments[int(b.text[1:]) - 1])
                self.count(len(arguments[int(b.text[1:]) - 1]), t)
            else:
                out.append(replace(b, start=t.start, end=max(use, t.end)))
                self.count(1, t)

    def count(self, more: int, token: Token) -> None:
        self.produced += more
        if self.produced > MAX_TOKENS:
            raise self.source.error(
                f"the macro {token.text} is too large: more than {MAX_TOKENS} symbols in all", token
            )

    def expanded(self, tokens: Iterable[Token], active: tuple[str, ...]) -> tuple[Token, ...]:
        out: list[Token] = []
        cursor = Cursor([*tokens, END], self.source)
        while cursor.next.kind != "end":
            self.step(cursor, out, active)
        return tuple(out)

    def body(self, macro: Macro, use: Token, active: tuple[str, ...]) -> tuple[Token, ...]:
        """The body with the macros in it expanded; errors in it are placed where the macro is used."""
        if macro.name not in self.bodies:
            try:
                self.bodies[macro.name] = self.expanded(macro.body, (*active, macro.name))
            except ReadError as e:
                raise self.source.error(e.what, use) from None
        return self.bodies[macro.name]

    def arguments(self, macro: Macro, cursor: Cursor, use: Token) -> list[tuple[Token, ...]]:
        out: list[tuple[Token, ...]] = []
        if macro.starred:
            cursor.skip("*")
        if macro.default is not None:
            default = tuple(replace(t, start=use.start, end=use.end) for t in macro.default)
            out.append(cursor.group("]") if cursor.skip("[") else default)
        what = f"{macro.arity} argument{'s' * (macro.arity > 1)}"
        while len(out) < macro.arity:
            out.append(cursor.argument(what, use))
        return out


END = Token("end", "", 0, 0)


# ---------------------------------------------------------------- definitions


def definition(cursor: Cursor) -> Macro:
    r"""The macro that a \newcommand or its like defines, all of it taken."""
    command = cursor.take()
    starred = cursor.skip("*")
    name = defined_name(cursor, command)
    if command.text == r"\let":
        cursor.skip("=")
        return checked(Macro(name, 0, None, (cursor.take(),)))
    if command.text in (r"\def", r"\gdef"):
        return plain_definition(cursor, name)
    if command.text == r"\DeclareMathOperator":
        star = (replace(command, kind="sign", text="*"),) if starred else ()
        opened = (replace(command, text=r"\operatorname"), *star, replace(command, kind="sign", text="{"))
        body = (*opened, *cursor.argument("a name", command), replace(command, kind="sign", text="}"))
        return checked(Macro(name, 0, None, body))
    if command.text == r"\DeclarePairedDelimiter":
        left, right = (cursor.argument("two delimiters", command) for _ in range(2))
        body = (*left, Token("param", "#1", command.start, command.end), *right)
        return checked(Macro(name, 1, None, body, starred=True))
    arity, default = 0, None
    if cursor.skip("["):
        count = "".join(t.text for t in cursor.group("]"))
        if not (count.isascii() and count.isdigit() and int(count) <= 9):
            raise cursor.source.error(f"a macro takes up to 9 arguments, found [{count}]", command)
        arity = int(count)
    if arity and cursor.skip("["):
        default = cursor.group("]")
    return checked(Macro(name, arity, default, cursor.argument("a body in braces", command)))


def defined_name(cursor: Cursor, command: Token) -> str:
    group = cursor.argument("the name of a macro", command)
    if len(group) != 1 or group[0].kind != "command":
        found = "".join(t.text for t in group[:10])
        raise cursor.source.error(f"{command.text} defines a command such as \\loss, found '{found}'", command)
    return group[0].text


def plain_definition(cursor: Cursor, name: str) -> Macro:
    r"""The rest of a \def; one whose arguments end at other signs than braces is kept as not understood."""
    arity, problem = 0, ""
    while cursor.next.text != "{":
        t = cursor.take()
        if t.kind == "end":
            raise cursor.source.error(rf"\def {name} has no body in braces", cursor.next)
        if t.kind == "param" and t.text == f"#{arity + 1}":
            arity += 1
        else:
            problem = rf"its \def has {quoted(t)} between its arguments"
    cursor.take()
    return checked(Macro(name, arity, None, cursor.group(), problem))


def checked(macro: Macro) -> Macro:
    """The macro, or why its body cannot be used."""
    for t in macro.body:
        if t.kind == "param" and (t.text == "#" or int(t.text[1:]) > macro.arity):
            return replace(macro, problem=f"{t.text} is none of its {macro.arity} arguments")
        if t.kind == "text" and "#" in t.text:
            return replace(macro, problem=r"an argument within \text")
        if t.kind == "command" and t.text in DEFINITIONS:
            return replace(macro, problem=f"it defines another by {t.text}")
    return macro
