r"""From the tokens of one row to its tree, by recursive descent; see `syntax` for what is and is not decided here.

A number, a letter, a fraction, brackets, a sum sign with its body, a function with its argument: those are atoms. What
binds them is in `arithmetic`. Every nesting passes through `atom`, which counts how deep it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from symbackprop.read.lexer import Token, quoted
from symbackprop.read.neighbours import quotient
from symbackprop.read.reader import Context
from symbackprop.read.rows import NAME, STARTS, role
from symbackprop.read.syntax import (
    Accented,
    Application,
    BigOperator,
    Brace,
    Case,
    Cases,
    Chain,
    Differential,
    Dots,
    Evaluated,
    Font,
    Group,
    Listing,
    Matrix,
    Nabla,
    Negative,
    Node,
    Number,
    Product,
    Root,
    Script,
    Scripted,
    Sum,
    Symbol,
    Term,
    Text,
)
from symbackprop.read.tables import Tables, flat
from symbackprop.read.vocabulary import (
    ACCENTS,
    BARS,
    BIG,
    CLOSING,
    FONTS,
    OPENING,
    PARTNER,
    WORD_FONTS,
    WORD_FUNCTIONS,
    Role,
)

LEFT = {**OPENING, **BARS, "<": r"\langle", ".": "."}
RIGHT = {**CLOSING, **BARS, ">": r"\rangle", ".": "."}
r"""What may stand after \left and after \right."""


class Parser(Tables):
    """A recursive-descent parser over the tokens of one row; `row` reads it."""

    def atom(self) -> Node:
        """A factor without its scripts."""
        with self.deeper():
            t = self.next
            r = role(t)
            if r == "symbol":
                return self.symbol()
            if r == "number":
                return Number(self.take().text, self.place(t))
            if r in ATOMS and (r != "stack" or self.stacked() != "relation"):
                return ATOMS[r](self, self.take())
            if r == "text" and self.names_a_unit():
                return self.symbol()
            if r == "text" and self.context.nested:
                return Text(self.take().text, self.place(t))
            if self.at_angle():
                return self.angle(self.take())
            raise self.missing()

    def names_a_unit(self) -> bool:
        r"""Whether words stand alone in a script: the in of W^{\text{in}} is a name there, and no connective."""
        before = "".join(t.text for t in self.tokens[max(0, self.index - 3) : self.index])
        after = self.tokens[self.index + 1].text if self.index + 1 < len(self.tokens) else ""
        alone = before.endswith(("^{", "_{", "^{(", "_{(")) and after in ("}", ")")
        return alone and NAME.match(self.next.text) is not None

    def symbol(self) -> Node:
        t = self.take()
        if t.kind == "text":
            return self.word(t.text.replace("\\_", "_"), "roman", t)
        if t.text == "d" and t.kind == "letter" and self.is_differential(t):
            return Differential("d", None, None, self.factor(), self.place(t))
        return Symbol(t.text.lstrip("\\"), place=self.place(t))

    def is_differential(self, d: Token) -> bool:
        """The letter d stands right before a letter, and not in the middle of a word."""
        before = self.tokens[self.index - 2] if self.index > 1 else None
        in_word = before is not None and before.kind == "letter" and not d.spaced
        begins = self.role in ("symbol", "font", "accent") and not self.next.spaced
        return begins and not in_word and not self.context.script

    def argument(self, what: str, command: Token) -> Node:
        """An argument in braces, or the one symbol that stands for it."""
        t = self.next
        if t.text == "{":
            self.take()
            if self.next.text == "}":
                raise self.fail(f"the braces after {command.text} are empty; expected {what}", t)
            with self.within(Context(nested=True, script=self.context.script)):
                node = self.sum()
            self.close_brace(t)
            return node
        if t.kind == "number":
            digit = self.digit()
            return Number(digit.text, self.place(digit))
        if self.role == "none":
            raise self.unexpected(what)
        if self.role not in STARTS or self.role in ("open", "bar", "left"):
            raise self.fail(f"{command.text} takes {what} in braces; found {quoted(t)}", command)
        return self.atom()

    def fraction(self, command: Token) -> Node:
        over = self.argument("a numerator", command)
        under = self.argument("a denominator", command)
        return quotient(over, under, self.place(command))

    def root(self, command: Token) -> Node:
        order: Node | None = None
        if self.next.text == "[":
            opener = self.take()
            with self.within(Context(nested=True, script=True)):
                order = self.sum()
            if self.take().text != "]":
                raise self.fail("no ']' closes this '['", opener)
        return Root(self.argument("what is under the root", command), order, self.place(command))

    def dots(self, t: Token) -> Node:
        return Dots(t.text.lstrip("\\"), self.place(t))

    # ------------------------------------------------------------ brackets

    def brackets(self, opener: Token) -> Node:
        """A group that has just been opened, up to its partner."""
        kind = OPENING[opener.text]
        bar = {r"\lvert": r"\rvert", r"\lVert": r"\rVert"}.get(opener.text, "")
        if self.next.text in CLOSING:
            raise self.fail("nothing stands in these brackets", opener)
        inner = Context(bar, not bar, True, self.context.script)
        with self.within(inner):
            body = self.listing()
        closed = CLOSING.get(self.next.text, "")
        if not closed or not self.partners(kind, closed, body):
            raise self.unclosed(opener, PARTNER[kind])
        self.take()
        return Group(kind, closed, body, self.place(opener))

    def partners(self, opened: str, closed: str, body: Node) -> bool:
        """A bracket and its partner, or the ends of an interval that is open on one side."""
        interval = isinstance(body, Listing) and body.separators == (",",) and {opened, closed} <= set("()[]")
        return PARTNER[opened] == closed or (interval and opened in "([" and closed in ")]")

    def bars(self, opener: Token) -> Node:
        """What stands between two bars that look the same."""
        kind = BARS[opener.text]
        with self.within(Context(kind, False, True, self.context.script)):
            body = self.listing()
        if self.next.text == "||" and kind == "|":
            self.split("|")
        if self.role != "bar" or BARS[self.next.text] != kind:
            raise self.unclosed(opener, kind)
        self.take()
        return Group(kind, kind, body, self.place(opener))

    def left(self, command: Token) -> Node:
        r"""\left ... \right, either of which may be invisible."""
        opened = self.delimiter(command)
        with self.within(Context("", True, True, self.context.script)):
            body = self.listing()
        if self.role != "right":
            raise self.unclosed(command, r"\right")
        closed = self.delimiter(self.take())
        if opened == "." and closed in ("|", r"\|") and self.next.text == "_":
            at, _ = self.script()
            return Evaluated(body, at or self.empty_script(), self.place(command))
        if opened == r"\{" and closed == "." and isinstance(body, Matrix):
            return Cases(tuple(Case(r[0], flat(r[1:])) for r in body.rows), self.place(command))
        if "." not in (opened, closed) and not self.partners(opened, closed, body):
            raise self.fail(rf"\left{opened} is closed by \right{closed}; expected \right{PARTNER[opened]}", command)
        return Group(opened, closed, body, self.place(command))

    def delimiter(self, command: Token) -> str:
        r"""The bracket after \left or \right, in its plain form."""
        t = self.take()
        table = RIGHT if command.text == r"\right" else LEFT
        if t.text not in table:
            raise self.fail(f"{command.text} takes a bracket or a full stop, found {quoted(t)}", command)
        return table[t.text]

    def brace(self, opener: Token) -> Node:
        """What braces hold. They print nothing, so a sum in them stays marked; what stands next to it may be misread."""
        if self.next.text == "}":
            raise self.fail("nothing stands in these braces", opener)
        with self.within(Context(nested=True, script=self.context.script)):
            node = self.chain()
        self.close_brace(opener)
        if isinstance(node, Symbol) and node.font == "operator":
            return self.applied(node, opener) if node.name not in BIG.values() else self.big_named(node.name, opener)
        if isinstance(node, Sum | Negative | Chain | BigOperator):
            return Group("{", "}", node, self.place(opener))
        return node

    def angle(self, opener: Token) -> Node:
        body = self.sum()
        if self.take().text != ">":
            raise self.fail("no '>' closes this '<'", opener)
        return Group(r"\langle", r"\rangle", body, self.place(opener))

    # ------------------------------------------------------------ fonts and accents

    def word(self, name: str, font: Font, start: Token) -> Node:
        """An upright word: a function where it is known as one, else a symbol."""
        plain = name.lower().replace("-", "")
        if plain in ("max", "min", "argmax", "argmin"):
            return self.big_named(plain, start)
        if plain in WORD_FUNCTIONS:
            return self.applied(Symbol(name, "operator", place=self.place(start)), start)
        return Symbol(name, font, place=self.place(start))

    def font(self, command: Token) -> Node:
        font = FONTS[command.text]
        word = self.braced_word()
        if word is None:
            return self.styled(self.argument("a symbol", command), font, command)
        if font in WORD_FONTS:
            if word == "d" and font == "roman" and not self.context.script:
                return self.differential_of("roman", command)
            return self.word(word, font, command)
        return Symbol(word, font, place=self.place(command))

    def braced_word(self) -> str | None:
        """Letters and digits alone in braces, or one of them without; nothing is taken if it is anything else."""
        t = self.next
        if t.kind == "letter":
            return self.take().text
        if t.kind == "number":
            return self.digit().text
        if t.text != "{":
            return None
        n = 1
        while self.after(n).kind in ("letter", "number") or (n > 1 and self.after(n).text in ("-", ".", r"\_")):
            n += 1
        word = "".join(x.text.lstrip("\\") for x in self.tokens[self.index + 1 : self.index + n])
        font = FONTS.get(self.after(-1).text)
        if self.after(n).text != "}" or not word or (len(word) > 1 and font is not None and font not in WORD_FONTS):
            return None
        self.index += n + 1
        return word

    def styled(self, node: Node, font: Font, command: Token) -> Node:
        """The symbols of a node in another font, those in scripts left alone."""
        match node:
            case Symbol(font=""):
                return replace(node, font=font)
            case Symbol() | Number():
                return node
            case Scripted(base=base):
                return replace(node, base=self.styled(base, font, command))
            case Product(factors=factors):
                return replace(node, factors=tuple(self.styled(f, font, command) for f in factors))
            case Group(body=body) | Accented(body=body) | Negative(body=body):
                return replace(node, body=self.styled(body, font, command))
            case Sum(terms=terms):
                return replace(node, terms=tuple(Term(t.sign, self.styled(t.body, font, command)) for t in terms))
        raise self.fail(f"{command.text} takes symbols", command)

    def accent(self, command: Token) -> Node:
        accent = ACCENTS[command.text]
        node = self.argument("a symbol", command)
        base = node.base if isinstance(node, Scripted) else node
        if not isinstance(base, Symbol) or base.accent:
            return Accented(accent, node, self.place(command))
        marked = replace(base, accent=accent, place=self.place(command))
        return replace(node, base=marked, place=marked.place) if isinstance(node, Scripted) else marked

    # ------------------------------------------------------------ operators

    def big(self, command: Token) -> Node:
        return self.big_named(BIG[command.text], command)

    def arg(self, command: Token) -> Node:
        if self.next.text not in (r"\max", r"\min"):
            raise self.fail(r"expected \max or \min after \arg", command)
        return self.big_named("arg" + BIG[self.take().text], command)

    def big_named(self, name: str, start: Token, under: Script | None = None) -> Node:
        """A sum and its like with its body; a maximum without limits is a function."""
        sub, sup, primes = self.scripts()
        sub = under or sub
        if primes:
            raise self.fail(f"a prime on {start.text}", start)
        if name not in ("sum", "prod") and (sub is None or not (self.role == "sign" or self.starts_factor())):
            function: Node = Symbol(name, "operator", place=self.place(start))
            if sub or sup:
                return Scripted(function, sub, sup, 0, self.place(start))
            return self.applied(function, start)
        if self.role == "end" or self.role in ("relation", "close", "right", "right brace"):
            raise self.fail(f"nothing stands after {start.text} to apply it to", start)
        body = self.negated_body() if self.next.text == "-" else self.elementwise()
        return BigOperator(name, sub, sup, body, self.place(start))

    def negated_body(self) -> Node:
        t = self.take()
        return Negative(self.elementwise(), self.place(t))

    def function(self, command: Token) -> Node:
        return self.applied(Symbol(command.text[1:], "operator", place=self.place(command)), command)

    def operatorname(self, command: Token) -> Node:
        if self.next.text == "*":
            self.take()
        word = self.braced_word()
        if word is None:
            raise self.fail(f"{command.text} takes a name in braces", command)
        if word.lower() in BIG.values():
            return self.big_named(word.lower(), command)
        return self.applied(Symbol(word, "operator", place=self.place(command)), command)

    def applied(self, function: Node, start: Token) -> Node:
        """A function with its scripts and its argument: a bracket, or the next factor; alone where neither follows."""
        function = self.scripted(function, start)
        if self.opens_bracket():
            return Application(function, self.atom(), self.place(start))
        if not self.starts_factor():
            if self.role in ("sign", "product") and not self.context.script:
                raise self.fail(f"{start.text} has no argument; put it in brackets", start)
            return function
        argument = self.factor()
        if isinstance(argument, Number) and self.starts_factor():
            raise self.fail(f"where the argument of {start.text} ends is not clear; put it in brackets", start)
        if isinstance(argument, Symbol | Scripted) and self.opens_bracket():
            first = self.tokens[self.index - 1]
            argument = Product((argument, self.factor()), ("",), self.place(first))
            argument = replace(argument, place=self.source.place(argument.factors[0].place.start, argument.place.end))
        return Application(function, argument, self.place(start))

    def opens_bracket(self) -> bool:
        return self.role == "open" or (self.role == "left" and self.after().text != ".")

    def partial(self, command: Token) -> Node:
        return self.differential_of("partial", command)

    def differential_of(self, mark: str, start: Token) -> Node:
        by, order, primes = self.scripts()
        if primes:
            raise self.fail(f"a prime on {start.text}", start)
        of = self.factor() if self.starts_factor() else None
        return Differential("partial" if mark == "partial" else "roman", order, by, of, self.place(start))

    def nabla(self, command: Token) -> Node:
        by, order, primes = self.scripts()
        if primes:
            raise self.fail(r"a prime on \nabla", command)
        return Nabla(by, order, self.place(command))

    # ------------------------------------------------------------ notes

    def underbrace(self, command: Token) -> Node:
        kind = "underbrace" if command.text == r"\underbrace" else "overbrace"
        opener = self.next
        if opener.text != "{":
            raise self.fail(f"{command.text} takes a formula in braces", command)
        self.take()
        with self.within(Context(nested=True)):
            body = self.chain()
        self.close_brace(opener)
        note = self.script()[0] if self.next.text == ("_" if kind == "underbrace" else "^") else None
        return Brace("underbrace" if kind == "underbrace" else "overbrace", body, note, self.place(command))

    def stack(self, command: Token) -> Node:
        note = self.note(command)
        if command.text == r"\underset" and self.next.text == "{" and role(self.after()) in ("big", "arg"):
            opener = self.take()
            sign = self.take()
            name = BIG[sign.text] if role(sign) == "big" else "arg" + BIG.get(self.take().text, "")
            self.close_brace(opener)
            return self.big_named(name, command, note)
        if command.text == r"\underset" and self.role == "big":
            return self.big_named(BIG[self.take().text], command, note)
        body = self.argument("a formula", command)
        return Brace("underset" if command.text == r"\underset" else "overset", body, note, self.place(command))


ATOMS: dict[Role, Callable[[Parser, Token], Node]] = {
    "open": Parser.brackets,
    "bar": Parser.bars,
    "left": Parser.left,
    "left brace": Parser.brace,
    "font": Parser.font,
    "accent": Parser.accent,
    "fraction": Parser.fraction,
    "root": Parser.root,
    "dots": Parser.dots,
    "big": Parser.big,
    "arg": Parser.arg,
    "function": Parser.function,
    "operatorname": Parser.operatorname,
    "partial": Parser.partial,
    "nabla": Parser.nabla,
    "brace": Parser.underbrace,
    "stack": Parser.stack,
    "begin": Parser.environment,
}
