r"""Relations, sums, products, scripts and listings: everything of a formula but its atoms.

chain       =  sum (RELATION sum)*
sum         =  [SIGN] elementwise (SIGN elementwise)*
elementwise =  product (\odot product)*
product     =  factor ([\cdot] factor)*
factor      =  atom scripts
listing     =  item (SEPARATOR item)*
"""

from __future__ import annotations

from dataclasses import replace

from symbackprop.read.lexer import Token, quoted
from symbackprop.read.neighbours import condition, indicated, is_one, with_quotients
from symbackprop.read.reader import Context, TokenReader
from symbackprop.read.rows import STARTS, role
from symbackprop.read.syntax import (
    Chain,
    Evaluated,
    Group,
    Indicator,
    Listing,
    Negative,
    Node,
    Number,
    Product,
    Relation,
    Script,
    Scripted,
    Sum,
    Symbol,
    Term,
)
from symbackprop.read.vocabulary import (
    BARS,
    ELEMENTWISE,
    NEGATED,
    PLACEHOLDERS,
    PRODUCTS,
    RELATIONS,
    SEPARATORS,
    SIGNS,
    Role,
)


class Arithmetic(TokenReader):
    """Reads what binds weaker than an atom; `atom` is left to the parser."""

    def atom(self) -> Node:
        """A factor without its scripts."""
        raise NotImplementedError

    # ------------------------------------------------------------ relations

    def chain(self, headless: bool = False) -> Node:
        """An expression, or relations between expressions; `headless` ones may begin with the sign."""
        start = self.next
        first = None if headless and self.at_relation() else self.sum()
        relations = self.relations()
        if relations:
            return Chain(first, relations, self.place(start))
        assert first is not None
        return first

    def relations(self) -> tuple[Relation, ...]:
        out: list[Relation] = []
        while self.at_relation():
            start = self.next
            note = self.note(self.take()) if self.role == "stack" else None
            sign = self.relation()
            out.append(Relation(sign, self.sum(), self.place(start), note))
        return tuple(out)

    def relation(self) -> str:
        """A sign of relation; one that carries a note may stand in braces."""
        t = self.take()
        if t.text == "{":
            sign = self.relation()
            self.close_brace(t)
            return sign
        if t.text == r"\not":
            t = self.take()
            if t.text not in NEGATED:
                raise self.fail(r"expected a relation after \not", t)
            return NEGATED[t.text]
        return RELATIONS[t.text]

    def at_relation(self) -> bool:
        if self.role == "stack":
            return self.stacked() == "relation"
        return self.role == "relation" and not self.at_angle()

    def stacked(self) -> Role:
        r"""The role of what carries the note in \overset{note}{...}."""
        depth, n = 0, 1
        while True:
            t = self.after(n)
            depth += (t.text == "{") - (t.text == "}")
            n += 1
            if depth == 0 or t.kind == "end":
                break
        inner = self.after(n)
        return role(self.after(n + 1)) if inner.text == "{" else role(inner)

    def note(self, command: Token) -> Script:
        """The first argument of \\overset and its like."""
        opener = self.take()
        inner = Context(bracket=True, nested=True, script=True)
        if opener.text != "{":
            self.index -= 1
            with self.within(inner), self.deeper():
                return Script((self.item_atom(),), (), self.place(opener))
        with self.within(inner), self.deeper():
            script, _ = self.script_body(f"note of {command.text}", opener)
        self.close_brace(opener)
        return script or self.empty_script()

    def at_angle(self) -> bool:
        """A `<` at the beginning of a script with its `>`: a^{<t>}."""
        if self.next.text != "<" or not self.context.script or self.after(-1).text not in ("{", ","):
            return False
        depth = 0
        for t in self.tokens[self.index : self.index + 40]:
            depth += (t.text == "{") - (t.text == "}")
            if depth < 0:
                return False
            if t.text == ">":
                return True
        return False

    # ------------------------------------------------------------ arithmetic

    def sum(self) -> Node:
        start = self.next
        terms: list[Term] = []
        signed = self.role == "sign"
        while True:
            sign = SIGNS[self.take().text] if self.role == "sign" else "+"
            terms.append(Term(sign, self.elementwise()))
            if self.role != "sign":
                break
        only = terms[0]
        if len(terms) > 1 or (signed and only.sign != "-"):
            return Sum(tuple(terms), self.place(start))
        if only.sign == "-":
            return Negative(only.body, self.place(start))
        alone = isinstance(only.body, Group) and only.body.kind == "brace" and not isinstance(only.body.body, Chain)
        return only.body.body if alone else only.body  # type: ignore[union-attr]

    def elementwise(self) -> Node:
        start = self.next
        factors, operators = [self.product()], list[str]()
        while self.role == "elementwise":
            operators.append(ELEMENTWISE[self.take().text])
            factors.append(self.product())
        return Product(tuple(factors), tuple(operators), self.place(start)) if operators else factors[0]

    def product(self) -> Node:
        start = self.next
        factors, operators = [self.factor()], list[str]()
        while True:
            while self.next.text == "{" and self.after().text == "}" and self.after(2).text not in ("_", "^"):
                self.index += 2
            if self.role == "product":
                operators.append(PRODUCTS[self.take().text])
                factors.append(self.negative() if self.next.text == "-" else self.factor())
            elif self.starts_factor():
                t = self.next
                factor = self.factor()
                if isinstance(factor, Number) and isinstance(factors[-1], Number) and not self.context.script:
                    raise self.fail(r"two numbers side by side; write \cdot between factors", t)
                if (indicator := indicated(factors[-1], factor)) is not None:
                    factors[-1] = indicator
                else:
                    operators.append("")
                    factors.append(factor)
            else:
                break
        factors, operators = with_quotients(factors, operators)
        return Product(tuple(factors), tuple(operators), self.place(start)) if operators else factors[0]

    def negative(self) -> Node:
        """A minus sign right after a sign of multiplication, or after a sum sign."""
        t = self.take()
        return Negative(self.factor(), self.place(t))

    def starts_factor(self) -> bool:
        r = self.role
        if r == "bar":
            return self.starts_bar()
        if r == "stack":
            return self.stacked() != "relation"
        return r in STARTS or (r == "text" and self.context.nested)

    def starts_bar(self) -> bool:
        """A bar after a factor opens something: nothing that it could close is open, and it does not separate."""
        context, kind = self.context, BARS[self.next.text]
        if self.next.text == "||" and context.bar == "|":
            self.split("|")
            return False
        return context.bar != kind and not (context.bracket and not context.bar)

    # ------------------------------------------------------------ scripts

    def factor(self) -> Node:
        start = self.next
        node = self.scripted(self.atom(), start)
        while self.next.text == "{" and self.after().text == "}" and self.after(2).text in ("_", "^"):
            self.index += 2
            node = self.scripted(node, start)
        if self.at_evaluation():
            self.take()
            at, _ = self.script()
            node = Evaluated(node, at or self.empty_script(), self.place(start))
        return node

    def at_evaluation(self) -> bool:
        """A bar with a subscript that closes nothing: the values at which something is taken."""
        if self.after().text != "_":
            return False
        t, bar = self.next, self.context.bar
        return (self.role == "bar" and bar != BARS[t.text]) or (t.text == r"\rvert" and bar != t.text)

    def scripted(self, base: Node, start: Token) -> Node:
        """The base with the scripts that follow it; one in braces that lacks them takes them itself."""
        sub, sup, primes = self.scripts()
        if sub is None and sup is None and not primes:
            return base
        place = self.place(start)
        if sub is not None and is_one(base) and len(sub.items) == 1 and (inner := condition(sub.items[0])) is not None:
            found = Indicator(inner, place)
            return Scripted(found, None, sup, primes, place) if sup or primes else found
        if isinstance(base, Scripted) and not (sub and base.sub) and not (sup and base.sup) and not (sub and primes):
            return Scripted(base.base, sub or base.sub, sup or base.sup, base.primes + primes, place)
        return Scripted(base, sub, sup, primes, place)

    def scripts(self) -> tuple[Script | None, Script | None, int]:
        """Subscript, superscript and primes in any order.

        Raises:
            ReadError: There are two of a kind.
        """
        sub: Script | None = None
        sup: Script | None = None
        primes = 0
        while self.role == "script":
            t = self.next
            if t.text in ("'", r"\prime"):
                self.take()
                primes += 1
                continue
            script, more = self.script()
            primes += more
            if t.text == "_":
                if sub is not None:
                    raise self.fail("a second subscript; put both in one, or the first with its symbol in braces", t)
                sub = script
            elif sup is not None and script is not None:
                raise self.fail("a second superscript; put both in one, or the first with its symbol in braces", t)
            else:
                sup = script or sup
        return sub, sup, primes

    def script(self) -> tuple[Script | None, int]:
        r"""What `_` or `^` carries, and how many primes are in it; None where there are primes only."""
        sign = self.take()
        what = "subscript" if sign.text == "_" else "superscript"
        t = self.next
        inner = Context(bracket=True, nested=True, script=True)
        if t.text == "{":
            self.take()
            with self.within(inner), self.deeper():
                script, primes = self.script_body(what, t)
            self.close_brace(t)
        elif t.text in ("'", r"\prime"):
            self.take()
            script, primes = None, 1
        elif t.kind == "number" and len(t.text) > 1:
            raise self.fail(f"LaTeX takes only '{t.text[0]}' as the {what}; write {sign.text}{{{t.text}}}", t)
        elif self.role in ("open", "left"):
            raise self.fail(f"LaTeX takes only {quoted(t)} as the {what}; write {sign.text}{{{t.text}...}}", t)
        elif self.role in STARTS or t.text in PLACEHOLDERS or self.role == "text":
            with self.within(inner), self.deeper():
                script, primes = Script((self.item_atom(),), (), self.place(t)), 0
        else:
            raise self.fail(f"nothing stands in the {what}; expected something in braces", sign)
        if primes and sign.text == "_":
            raise self.fail("a prime in a subscript with nothing to carry it", t)
        return script, primes

    def script_body(self, what: str, opener: Token) -> tuple[Script | None, int]:
        start = self.next
        primes = self.primes()
        if self.next.text == "}":
            if not primes:
                raise self.fail(f"the {what} is empty", opener)
            return None, primes
        items, separators = self.items()
        *others, last = items
        if what == "superscript":
            last, more = without_primes(last)
            primes += more
        return Script((*others, last), separators, self.place(start)), primes

    def primes(self) -> int:
        count = 0
        while self.next.text in ("'", r"\prime"):
            self.take()
            count += 1
        return count

    def empty_script(self) -> Script:
        return Script((), (), self.place(self.next))

    def item_atom(self) -> Node:
        """A script without braces: one sign, letter, digit or command."""
        return self.placeholder() if self.next.text in PLACEHOLDERS else self.atom()

    def placeholder(self) -> Node:
        t = self.take()
        return Symbol(t.text.lstrip("\\"), place=self.place(t))

    # ------------------------------------------------------------ listings

    def listing(self) -> Node:
        start = self.next
        items, separators = self.items()
        return Listing(items, separators, self.place(start)) if separators else items[0]

    def items(self) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        """What the separators divide, and the separators."""
        if self.role == "substack":
            return self.substack()
        items, separators = [self.item()], list[str]()
        while True:
            if self.role in ("separator", "gap", "middle"):
                separators.append(self.separator())
            elif self.role == "bar" and self.context.bracket and not self.context.bar:
                separators.append(BARS[self.take().text])
            else:
                return tuple(items), tuple(separators)
            items.append(self.item())

    def separator(self) -> str:
        t = self.take()
        if t.text == r"\middle":
            t = self.take()
            return BARS.get(t.text, t.text)
        return SEPARATORS.get(t.text, t.text)

    def item(self) -> Node:
        """A chain, or a sign that stands for itself: f(\\cdot), w_{:,j}, W^{+}."""
        if self.next.text in PLACEHOLDERS and (
            self.context.script or role(self.after()) in ("close", "right", "separator")
        ):
            if self.next.text == ":" or role(self.after()) not in STARTS:
                return self.placeholder()
        if self.role in ("close", "right", "right brace", "separator", "end"):
            raise self.fail(f"an item is missing between {quoted(self.after(-1))} and {quoted(self.next)}")
        return self.chain(headless=self.context.script)

    def substack(self) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        command = self.take()
        opener = self.take()
        if opener.text != "{":
            raise self.fail(r"\substack takes rows in braces", command)
        items, separators = [self.chain(headless=True)], list[str]()
        while self.role in ("row", "separator"):
            separators.append(self.take().text)
            items.append(self.chain(headless=True))
        self.close_brace(opener)
        return tuple(items), tuple(separators)

    def close_brace(self, opener: Token) -> None:
        if self.next.text != "}":
            raise self.unexpected(f"'}}' for the '{{' of {self.source.place(opener.start, opener.end)}")
        self.take()


def without_primes(node: Node) -> tuple[Node, int]:
    r"""The end of a superscript without the primes after its bracket, which belong to the base: f^{(l)\prime}."""
    if isinstance(node, Scripted) and isinstance(node.base, Group) and node.sub is None and node.sup is None:
        return node.base, node.primes
    if isinstance(node, Product) and node.juxtaposed:
        *others, last = node.factors
        last, primes = without_primes(last)
        return replace(node, factors=(*others, last)), primes
    return node, 0
