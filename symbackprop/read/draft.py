r"""From a syntax tree to an expression whose indices stand in scopes, not yet on axes.

What a symbol is, is decided here: a quantity with its indices, a function before its brackets, a size, a constant, the
place of an index. Index expressions stay in the author's own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from symbackprop import functions as F
from symbackprop.errors import ReadError, nearest
from symbackprop.indices import Affine, Axis, affine
from symbackprop.read.arrays import OPEN, Array, add, elementwise, mapped, multiply, renamed, squares, transposed
from symbackprop.read.declare import Declarations
from symbackprop.read.lexer import Source
from symbackprop.read.names import known_function, latex_letter, letter_of, spelled
from symbackprop.read.scan import Letters, Reading, Sighting, is_affine, primed
from symbackprop.read.scopes import Env, Scope, Scopes
from symbackprop.read.syntax import (
    Accented,
    Application,
    BigOperator,
    Brace,
    Cases,
    Chain,
    Differential,
    Dots,
    Evaluated,
    Group,
    Indicator,
    Listing,
    Matrix,
    Nabla,
    Negative,
    Node,
    Number,
    Place,
    Product,
    Relation,
    Root,
    Script,
    Scripted,
    Symbol,
    Text,
)
from symbackprop.read.syntax import (
    Fraction as Quotient,
)
from symbackprop.read.syntax import (
    Sum as Terms,
)
from symbackprop.read.vocabulary import GREEK
from symbackprop.symbols import (
    ONE,
    ZERO,
    Call,
    Compare,
    Div,
    Expr,
    Max,
    Mul,
    Num,
    Param,
    Position,
    Pow,
    Prod,
    Ref,
    Size,
    Sum,
    Vec,
    Where,
    substitute,
    transform,
    walk,
)

OPERATORS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
MAX_EXPONENT = 100


@dataclass
class Signature:
    """How a family is written, from where it first stands.

    Args:
        upper, lower: How many indices stand above and below.
        opened: How many of those below were left out at the first place, as in matrix notation.
    """

    name: str
    letter: str
    upper: int
    lower: int
    sup_unit: str
    brackets: str
    commas: bool
    upper_first: bool
    place: Place
    ordered: bool = False
    """It has been seen with indices above and below, so that their order is known."""


@dataclass(frozen=True)
class Definition:
    """A function that the file defines: its argument and its formula."""

    argument: str
    body: Expr
    entry: str = ""
    """The entry of the tables that it equals."""


@dataclass
class Drafter:
    """Formulas to expressions.

    Args:
        equated: Families that stand on a left side.
        sizes: Letters that end sums: they are numbers when they stand alone.
        stems: Letters of sizes that carry a layer below.
        whole: In an equation of a scalar, a function that nobody defines takes a vector as a whole.
    """

    source: Source
    declared: Declarations
    letters: Letters
    scopes: Scopes
    equated: frozenset[str] = frozenset()
    index_letters: frozenset[str] = frozenset()
    sizes: frozenset[str] = frozenset()
    stems: frozenset[str] = frozenset()
    definitions: dict[str, Definition] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    places: dict[tuple[int, Ref], Place] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    generic: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    defining: str = ""
    parameter: str = ""
    taken: set[str] = field(default_factory=set)

    def fail(self, message: str, place: Place) -> ReadError:
        return self.source.error(message, place)

    def text(self, node: Node) -> str:
        return self.source.text[node.place.start : node.place.end]

    def scalar(self, node: Node, env: Env, what: str) -> Expr:
        a = self.value(node, env)
        if a.open:
            raise self.fail(f"{self.text(node)!r} is {a.shape}; {what} is a number", node.place)
        return a.expr

    # ------------------------------------------------------------ structure

    def value(self, node: Node, env: Env) -> Array:
        match node:
            case Number(text=text):
                return Array(Num(Fraction(text)))
            case Symbol() | Scripted(base=Symbol()):
                return self.symbol(node, env)
            case Scripted():
                return self.raised(node, env)
            case Group():
                return self.group(node, env)
            case Terms():
                return self.terms(node, env)
            case Negative(body=body):
                return mapped(self.value(body, env), lambda e: -e)
            case Product():
                return self.product(node, env)
            case Quotient():
                return self.quotient(node, env)
            case Root(body=body, order=order):
                inner = self.value(body, env)
                if order is None:
                    return mapped(inner, lambda e: F.call("sqrt", e))
                degree = self.scalar(order, env, "the degree of a root")
                return mapped(
                    inner, lambda e: Pow(e, Div(ONE, degree) if not isinstance(degree, Num) else Num(1 / degree.value))
                )
            case BigOperator():
                return self.big(node, env)
            case Application():
                return self.application(node, env)
            case Indicator(condition=condition):
                return Array(self.indicator(condition, env))
            case Cases():
                return self.cases(node, env)
            case Brace(body=body):
                return self.value(body, env)
            case Chain():
                raise self.fail("a relation inside of a formula is not understood", node.place)
            case Differential(mark="d"):
                return self.value(node.as_product(), env)
            case Differential() | Nabla():
                raise self.fail("a derivative; the equations of a model are read without derivatives", node.place)
            case Dots():
                raise self.fail(r"what the dots leave out is not known; write the sum with \sum", node.place)
            case Text(text=text):
                raise self.fail(f"the words {text.strip()!r} inside of a formula are not understood", node.place)
            case Matrix():
                raise self.fail("a matrix written out is not read; write its entries with indices", node.place)
            case Accented():
                raise self.fail(f"{self.text(node)!r}: a line over a whole formula is not understood", node.place)
            case Evaluated():
                raise self.fail("a formula at a point is not read", node.place)
            case Listing():
                raise self.fail("several things in brackets, where one is expected", node.place)
        raise self.fail(f"{self.text(node)!r} is not understood here", node.place)

    def terms(self, node: Terms, env: Env) -> Array:
        out: Array | None = None
        for t in node.terms:
            if t.sign not in "+-":
                raise self.fail(f"{t.sign} leaves two readings; write + or -", node.place)
            v = self.value(t.body, env)
            if t.sign == "-":
                v = mapped(v, lambda e: -e)
            out = v if out is None else add(out, v, self.scopes, t.body.place)
        assert out is not None
        return out

    def group(self, node: Group, env: Env) -> Array:
        match node.kind:
            case "bar":
                return mapped(self.value(node.body, env), lambda e: F.call("abs", e))
            case "norm":
                return Array(F.call("sqrt", squares(self.value(node.body, env))))
            case "square" if isinstance(node.body, Chain):
                return Array(self.indicator(node.body, env))
            case "round" | "square" | "curly" | "brace" | "angle" if not isinstance(node.body, Chain | Listing):
                return self.value(node.body, env)
        raise self.fail(f"{self.text(node)!r}: these brackets are not understood here", node.place)

    def product(self, node: Product, env: Env) -> Array:
        factors, operators = list(node.factors), list(node.operators)
        if operators and operators[0] in (r"\odot", r"\circ", r"\ast", r"\star"):
            out = self.value(factors[0], env)
            for f in factors[1:]:
                out = elementwise(out, self.value(f, env), self.scopes, node.place)
            return out
        product: Array | None = None
        divided = False
        n = 0
        while n < len(factors):
            f = factors[n]
            follows = factors[n + 1] if n + 1 < len(factors) and not operators[n] else None
            op = operators[n - 1] if n else ""
            if isinstance(follows, Group) and follows.kind in ("round", "square") and self.is_function(f):
                v = self.applied(f, follows, env)
                n += 1
            else:
                v = self.value(f, env)
            if product is None:
                product = v
            elif op == "/":
                product = self.divided(product, v, f.place)
                divided = True
            elif op in ("", r"\cdot", r"\times", "*"):
                if divided and op == "" and isinstance(f, Number):
                    raise self.fail("what the / divides by is not clear; put it in brackets", f.place)
                product = multiply(product, v, self.scopes, f.place)
            else:
                raise self.fail(f"the product sign {op} is not understood here", node.place)
            n += 1
        assert product is not None
        return product

    def divided(self, top: Array, bottom: Array, place: Place) -> Array:
        if bottom.open:
            raise self.fail(f"a division by {bottom.shape}; what is divided by is a number", place)
        if isinstance(top.expr, Num) and isinstance(bottom.expr, Num):
            if not bottom.expr.value:
                raise self.fail("a division by zero", place)
            return Array(Num(top.expr.value / bottom.expr.value))
        return mapped(top, lambda e: Div(e, bottom.expr))

    def quotient(self, node: Quotient, env: Env) -> Array:
        if node.derivative and not self.as_letters(node):
            raise self.fail("a derivative; the equations of a model are read without derivatives", node.place)
        over, under = self.value(node.over, env), self.value(node.under, env)
        return self.divided(over, under, node.under.place)

    def as_letters(self, node: Quotient) -> bool:
        return all(isinstance(d, Differential) and d.mark == "d" for d in (node.over, node.under))

    def raised(self, node: Scripted, env: Env) -> Array:
        """Brackets, or a function's value, with something above or below."""
        base = node.base
        if node.primes:
            raise self.fail("a prime behind brackets is not understood", node.place)
        if isinstance(base, Group) and base.kind == "norm":
            return Array(self.norm(base, node, env))
        if isinstance(base, Product | Application) and node.sub is not None:
            return self.entry(base, node, env)
        if node.sub is not None:
            return self.entry(base, node, env)
        v = self.value(base, env)
        assert node.sup is not None
        return self.with_powers(v, node.sup.pieces, env, node.place)

    def entry(self, base: Node, node: Scripted, env: Env) -> Array:
        """Brackets with indices below: softmax(z)_j, (Wx)_j."""
        v = self.value(base, env)
        assert node.sub is not None
        parts = node.sub.pieces
        if len(parts) != len(v.open):
            raise self.fail(
                f"{self.text(base)!r} is {v.shape}, found {len(parts)} {'index' if len(parts) == 1 else 'indices'} below it",
                node.sub.place,
            )
        mapping: dict[str, Affine] = {}
        for old, p in zip(v.open, parts, strict=True):
            at = self.scopes.affine(p, env)
            if at.name in self.scopes.all:
                assert at.name is not None
                self.scopes.join(at.name, old, p.place)
            mapping[old] = at
        out = Array(substitute(v.expr, mapping))
        return self.with_powers(out, node.sup.pieces, env, node.place) if node.sup else out

    def norm(self, base: Group, node: Scripted, env: Env) -> Expr:
        inner = self.value(base.body, env)
        which = "".join(self.text(p) for p in node.sub.pieces) if node.sub else "2"
        power = [p.text if isinstance(p, Number) else "" for p in node.sup.pieces] if node.sup else []
        if which in ("2", "F", "{2}", "{F}"):
            if power == ["2"]:
                return squares(inner)
            root: Expr = F.call("sqrt", squares(inner))
        elif which == "1":
            root = F.call("abs", inner.expr)
            for index in reversed(inner.open):
                root = Sum(index, OPEN, root)
        else:
            raise self.fail(f"the norm with {which!r} below is not known; expected 1, 2 or F", node.place)
        return self.with_powers(Array(root), node.sup.pieces, env, node.place).expr if node.sup else root

    def with_powers(self, v: Array, powers: tuple[Node, ...], env: Env, place: Place) -> Array:
        for p in powers:
            if isinstance(p, Symbol) and p.name in ("T", "top", "intercal") and (v.open or p.name != "T"):
                v = transposed(v, self.scopes, place)
                continue
            exponent = self.scalar(p, env, "an exponent")
            if isinstance(exponent, Num) and abs(exponent.value) > MAX_EXPONENT:
                raise self.fail(f"an exponent above {MAX_EXPONENT}", p.place)
            if v.open:
                raise self.fail(f"a power of {v.shape} is not read; write it with indices", place)
            v = mapped(v, lambda e, x=exponent: Pow(e, x))  # type: ignore[misc]
        return v

    # ------------------------------------------------------------ symbols

    def sighting(self, node: Symbol | Scripted, env: Env, applied: bool = False) -> Sighting:
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        letters = frozenset(env)
        if isinstance(node, Symbol):
            return Sighting(spelled(base), base.font == "bold", None, None, letters, applied, False, node.place)
        key = spelled(base) if applied else primed(base, node.primes)
        return Sighting(key, base.font == "bold", node.sub, node.sup, letters, applied, False, node.place, node.primes)

    def symbol(self, node: Symbol | Scripted, env: Env) -> Array:
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        if base.font == "operator":
            raise self.fail(f"the function {base.name} stands without an argument", node.place)
        s = self.sighting(node, env)
        if (
            s.key == "e"
            and s.sub is None
            and s.sup is not None
            and not s.primes
            and "e" not in self.equated | self.declared.kinds.keys()
        ):
            exponent = self.e_exponent(s.sup, env)
            return mapped(exponent, lambda e: F.call("exp", e))
        reading = self.letters.reading(s)
        if not reading.lower and not reading.upper and not reading.sub_unit and not reading.sup_unit:
            named = self.bare(s, node, env)
            if named is not None:
                return self.with_powers(Array(named), reading.powers, env, node.place)
        if s.sub is not None and s.key in self.stems and s.key not in self.equated:
            at = self.scopes.affine(replace(node, sup=None) if isinstance(node, Scripted) else node, env, "a size")
            assert at.name is not None
            stem, layer = self.scopes.widths[at.name]
            return self.with_powers(Array(Size(Axis("node", stem, layer))), reading.powers, env, node.place)
        v = self.family(base, s, reading, env)
        if reading.transposed:
            v = transposed(v, self.scopes, node.place)
        return self.with_powers(v, reading.powers, env, node.place)

    def e_exponent(self, sup: Script, env: Env) -> Array:
        if len(sup.items) != 1:
            raise self.fail("this exponent is not understood", sup.place)
        return self.value(sup.items[0], env)

    def bare(self, s: Sighting, node: Node, env: Env) -> Expr | None:
        """A symbol without scripts that is no family: a letter's place, a size, a constant, a function's argument."""
        if s.key == self.parameter:
            return Param(s.key)
        known = self.equated | self.declared.kinds.keys() | self.declared.labels.keys()
        if s.key in env:
            if s.key in known:
                raise self.fail(
                    f"{s.key} is an index here and a quantity elsewhere; give one of them another letter", s.place
                )
            return Position(affine(env[s.key]))
        if s.key in known or s.bold:
            return None
        if s.key in self.declared.integers:
            return Position(affine(s.key))
        if s.key in self.sizes:
            if s.key == self.declared.width:
                raise self.fail(
                    f"{s.key} stands for the width of every layer; write {s.key}_l for that of layer l", s.place
                )
            return Size(Axis("node", s.key))
        if s.key == "pi":
            return F.PI
        if s.key in self.index_letters and s.key not in self.letters.arity:
            raise self.fail(
                f"{s.key} is an index elsewhere, and nothing binds it here; give one of them another letter", s.place
            )
        if s.key in ("infty", "emptyset", "varnothing"):
            raise self.fail(f"{self.text(node)!r} is not understood here", s.place)
        return None

    def family(self, base: Symbol, s: Sighting, reading: Reading, env: Env) -> Array:
        """A quantity, with an open index for each that is left out."""
        lower = list(reading.lower)
        wanted = self.wanted(base, s, reading)
        if len(lower) < wanted:
            lower = [d for p in lower for d in digits(p)]
        if len(lower) > wanted and wanted and reading.name in self.letters.arity:
            raise self.fail(
                f"{self.text_of(s)} has {len(lower)} indices below, elsewhere {reading.name} has {wanted}", s.place
            )
        indices: list[Affine] = []
        gathered: list[tuple[str, Expr]] = []
        for p in (*reading.upper, *lower):
            datum = self.datum(p, env)
            if datum is not None:
                name, value = datum
                letter, place = self.declared.labels[name]
                scope = self.scopes.new(self.free_letter(letter, env), p.place)
                self.scopes.join(scope.id, f"letter:{letter}", place)
                gathered.append((scope.id, value))
                indices.append(affine(scope.id))
            else:
                indices.append(self.scopes.affine(p, env))
        opened: list[str] = []
        shape = self.declared.shapes.get(reading.name)
        for n in range(len(lower), wanted):
            letter = shape[0][n] if shape and n < len(shape[0]) else "jkiprsuv"[min(n - len(lower), 7)]
            scope = self.scopes.new(self.free_letter(letter, env), s.place, free=False)
            opened.append(scope.id)
            indices.append(affine(scope.id))
        ref = Ref(reading.name, tuple(indices))
        self.sign(base, s, reading, len(reading.upper), len(lower) + len(opened))
        self.places.setdefault((self.scopes.equation, ref), s.place)
        out: Expr = ref
        for scope_id, value in reversed(gathered):
            chosen = Where(Compare("==", value, Position(affine("@" + scope_id))), ONE, ZERO)
            out = Sum(scope_id, OPEN, Mul((chosen, out)))
        return Array(out, tuple(opened))

    def free_letter(self, letter: str, env: Env) -> str:
        while letter in env or letter in self.taken or letter in self.scopes.constants:
            letter += "'"
        self.taken.add(letter)
        return letter

    def text_of(self, s: Sighting) -> str:
        return self.source.text[s.place.start : s.place.end]

    def wanted(self, base: Symbol, s: Sighting, reading: Reading) -> int:
        """How many indices a family has below."""
        if reading.name in self.letters.arity:
            return self.letters.arity[reading.name]
        if reading.name in self.signatures and s.bold:
            return self.signatures[reading.name].lower
        if s.bold:
            return len(reading.lower) + (2 if base.name[:1].isupper() else 1)
        return len(reading.lower)

    def sign(self, base: Symbol, s: Sighting, reading: Reading, upper: int, lower: int) -> None:
        known = self.signatures.get(reading.name)
        if known is None:
            letter = latex_letter(base) + "'" * (s.primes if not s.applied else 0)
            if reading.sub_unit:
                unit = words(reading.sub_unit)
                letter += f"_{unit}" if len(unit) == 1 else f"_{{{unit}}}"
            first = bool(s.sub and s.sup and s.sup.place.start < s.sub.place.start)
            unit = reading.sup_unit
            if unit and reading.brackets == "()" and not reading.upper:
                unit = f"({latex_unit(unit)})"
            elif unit:
                unit = latex_unit(unit)
            commas = bool(s.sub and "," in s.sub.separators and all(letter_of(p) for p in s.sub.pieces))
            brackets = reading.brackets if reading.upper else "()"
            self.signatures[reading.name] = Signature(
                reading.name, letter, upper, lower, unit, brackets, commas, first, s.place, bool(s.sub and s.sup)
            )
        elif (known.upper, known.lower) != (upper, lower):
            raise self.fail(
                f"{self.text_of(s)} has {upper} {'index' if upper == 1 else 'indices'} above and {lower} below, on "
                f"line {known.place.line} {reading.name} has {known.upper} above and {known.lower} below",
                s.place,
            )
        elif s.sub is not None and s.sup is not None and not known.ordered:
            known.ordered, known.upper_first = True, s.sup.place.start < s.sub.place.start

    def datum(self, node: Node, env: Env) -> tuple[str, Expr] | None:
        """A label in the place of an index: the x_t of W_{x_t c}."""
        if is_affine(node) and letter_of(node) is None:
            return None
        if isinstance(node, Symbol) or (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
            if letter_of(node) in env:
                return None
            s = self.sighting(node, env)
            reading = self.letters.reading(s)
            if reading.name in self.declared.labels:
                return reading.name, self.scalar(node, env, "a place on an axis")
            if isinstance(node, Scripted) and node.sub is not None and s.key not in self.stems:
                raise self.fail(
                    f"{self.text(node)!r} in the place of an index; declare on which axis its values are places, "
                    f"as in '%| index {reading.name}: k'",
                    node.place,
                )
        return None

    # ------------------------------------------------------------ functions

    def is_function(self, node: Node) -> bool:
        """Whether brackets behind a symbol are its arguments."""
        if not isinstance(node, Symbol) and not (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
            return False
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        key = spelled(base)
        if isinstance(node, Scripted) and node.sub is not None:
            return False
        if key in self.definitions or key == self.defining:
            return True
        if key in self.declared.kinds or key in self.equated or key in self.sizes or key in self.scopes.constants:
            return False
        if len(base.name) > 1 and base.font in ("roman", "sans", "typewriter", "italic") and known_function(base.name):
            return True
        return key in self.letters.functions

    def applied(self, node: Node, brackets: Group, env: Env) -> Array:
        """A function by its letter, applied to brackets."""
        assert isinstance(node, Symbol | Scripted)
        base = node if isinstance(node, Symbol) else node.base
        assert isinstance(base, Symbol)
        s = self.sighting(node, env, applied=True)
        at: Affine | None = None
        powers: tuple[Node, ...] = ()
        if s.sup is not None:
            reading = self.letters.reading(s)
            powers = reading.powers
            if len(reading.upper) == 1:
                at = self.scopes.affine(reading.upper[0], env, "a layer")
            elif reading.upper or reading.sup_unit:
                raise self.fail(f"what stands above {base.name} is not understood; expected a layer", s.place)
        arguments = self.arguments(brackets, env)
        name = s.key
        if name not in self.definitions and len(base.name) > 1 and (known := known_function(base.name)):
            self.names.setdefault(known, latex_letter(base))
            return self.with_powers(self.known(known, arguments, s.primes, node.place), powers, env, node.place)
        return self.with_powers(
            self.call(base, name, arguments, s.primes, at, env, node.place), powers, env, node.place
        )

    def arguments(self, node: Node, env: Env) -> list[tuple[Array, Place]]:
        inner = node.body if isinstance(node, Group) and node.kind in ("round", "square", "curly", "brace") else node
        parts = inner.items if isinstance(inner, Listing) else (inner,)
        return [(self.value(p, env), p.place) for p in parts]

    def call(
        self,
        base: Symbol,
        name: str,
        arguments: list[tuple[Array, Place]],
        order: int,
        at: Affine | None,
        env: Env,
        place: Place,
    ) -> Array:
        """A function that the file defines, or a generic one."""
        defined = self.definitions.get(name)
        if defined is None and len(arguments) > 1:
            arguments = [(a, p) for a, p in arguments if not self.is_data(a)]
        if len(arguments) != 1:
            raise self.fail(
                f"{base.name} is applied to {len(arguments)} quantities that are computed; a function nobody defines takes one, "
                "besides data",
                place,
            )
        ((argument, where),) = arguments
        if defined is not None:
            return mapped(argument, lambda e: self.defined(defined, name, e, order, at, place))
        self.generic.setdefault(name, latex_letter(base))
        if argument.open and self.whole:
            if len(argument.open) != 1:
                raise self.fail(f"a generic function of {argument.shape} is not read; of a column it is", where)
            (index,) = argument.open
            return Array(Call(name, (Vec(index, OPEN, argument.expr),), order, at))
        return mapped(argument, lambda e: Call(name, (e,), order, at))

    def is_data(self, a: Array) -> bool:
        refs = walk_refs(a.expr)
        return bool(refs) and all(
            r.family not in self.equated
            and (self.declared.kinds.get(r.family, ("", None))[0] in ("input", "target") or r.family in ("x", "y", "t"))
            for r in refs
        )

    def defined(self, d: Definition, name: str, e: Expr, order: int, at: Affine | None, place: Place) -> Expr:
        if d.entry:
            return Call(d.entry, (e,), order)
        if order:
            raise self.fail(f"the derivative of {name}, which has no entry of its own; write it out", place)
        return transform(d.body, lambda p: e if p == Param(d.argument) else p)

    def application(self, node: Application, env: Env) -> Array:
        """A named function: \\exp(S), \\log \\hat y, \\max(0, z), \\operatorname{softmax}(z)."""
        f = node.function
        base = f if isinstance(f, Symbol) else f.base if isinstance(f, Scripted) else None
        if not isinstance(base, Symbol):
            raise self.fail(f"{self.text(f)!r} is no function", node.place)
        primes, powers = 0, tuple[Node, ...]()
        if isinstance(f, Scripted):
            if f.sub is not None:
                raise self.fail(f"{base.name} with a subscript is not read", f.sub.place)
            primes, powers = f.primes, f.sup.pieces if f.sup else ()
        argument = node.argument
        if isinstance(argument, Product) and len(argument.factors) == 2 and not self.is_function(argument.factors[0]):
            # \log p (1 - y): the bracket is a factor of its own.
            first = self.application(replace(node, argument=argument.factors[0]), env)
            return multiply(first, self.value(argument.factors[1], env), self.scopes, node.place)
        word = base.name
        if word in ("max", "min"):
            out = self.extreme(word, argument, env, node.place)
        else:
            key = spelled(base)
            known = None if key in self.definitions else known_function(word)
            arguments = self.arguments(argument, env)
            if known is not None:
                if known not in ("exp", "sqrt", "abs") or word == "exp":
                    self.names.setdefault(known, spelling(base))
                out = self.known(known, arguments, primes, node.place)
            elif key in self.definitions or word not in ("log", "exp"):
                if key not in self.definitions and word in KNOWN_BUT_UNREAD:
                    raise self.fail(f"the function {word} is not known{nearest(word, F.FUNCTIONS)}", node.place)
                out = self.call(base, key, arguments, primes, None, env, node.place)
                self.generic[key] = spelling(base)
            else:
                raise self.fail(f"the function {word} is not known", node.place)
        return self.with_powers(out, powers, env, node.place)

    def known(self, name: str, arguments: list[tuple[Array, Place]], order: int, place: Place) -> Array:
        if len(arguments) != 1:
            raise self.fail(f"{name} takes one argument, found {len(arguments)}", place)
        ((argument, _),) = arguments
        if name == "softmax":
            if not argument.open:
                raise self.fail(
                    "softmax takes a vector; leave out the index of its argument, as in softmax(z)_j", place
                )
            *_, index = argument.open
            scope = self.scopes.all[index]
            other = self.scopes.new(self.free_letter(scope.letter, {}), place)
            self.scopes.join(index, other.id, place)
            body = F.softmax.value(lambda q: substitute(argument.expr, {index: q}), affine(index), other.id, OPEN)
            return replace(argument, expr=body)
        return mapped(argument, lambda e: Call(name, (e,), order))

    def extreme(self, word: str, argument: Node, env: Env, place: Place) -> Array:
        arguments = self.arguments(argument, env)
        if len(arguments) != 2:
            raise self.fail(
                f"{word} of {len(arguments)} things; expected two, or an index below as in \\{word}_k", place
            )
        (a, _), (b, where) = arguments
        zero = [x.expr == ZERO for x, _ in arguments]
        if word == "max" and any(zero) and not all(zero):
            return mapped(b if zero[0] else a, lambda e: Call("relu", (e,)))
        if a.open or b.open:
            one, other = (a, b) if a.open else (b, a)
            second = renamed(other, one.open, self.scopes, where) if other.open else other.expr
            op = ">" if word == "max" else "<"
            return mapped(one, lambda e: Where(Compare(op, e, second), e, second))  # type: ignore[arg-type]
        return Array(Where(Compare(">" if word == "max" else "<", a.expr, b.expr), a.expr, b.expr))

    # ------------------------------------------------------------ sums and cases

    def big(self, node: BigOperator, env: Env) -> Array:
        if node.name in ("argmax", "argmin"):
            raise self.fail(f"{node.name} is no number that could be differentiated", node.place)
        inner, bound = self.scopes.limits(node.sub, node.sup, env, node.name, node.place)
        self.taken |= {s.letter for s in bound}
        body = self.value(node.body, inner)
        if body.open and node.name != "sum":
            raise self.fail(f"{node.name} of {body.shape}; expected a number", node.place)
        e = body.expr
        if node.name == "min":
            e = -e
        for s in reversed(bound):
            for other in s.unequal:
                if node.name != "sum":
                    raise self.fail("a condition with \\ne is read below a sum only", node.place)
                e = Where(self.compare("!=", s, other, inner, node.place), e, ZERO)
            guard = tuple(s.guard)
            e = {"sum": Sum, "prod": Prod, "max": Max, "min": Max}[node.name](s.id, OPEN, e, guard)
        return replace(body, expr=-e if node.name == "min" else e)

    def compare(self, op: str, s: Scope, other: Node, env: Env, place: Place) -> Expr:
        datum = self.datum(other, env)
        if datum is not None:
            letter, where = self.declared.labels[datum[0]]
            self.scopes.join(s.id, f"letter:{letter}", where)
            return Compare("!=", datum[1], Position(affine("@" + s.id)))
        return Compare("!=", Position(affine(s.id)), Position(self.scopes.affine(other, env)))

    def indicator(self, condition: Node, env: Env) -> Expr:
        parts = condition.items if isinstance(condition, Listing) else (condition,)
        out: Expr = ONE
        for p in reversed(parts):
            if not isinstance(p, Chain):
                raise self.fail(f"{self.text(p)!r} is no condition", p.place)
            for c in reversed(self.conditions(p, env)):
                out = Where(c, out, ZERO)
        return out

    def conditions(self, chain: Chain, env: Env) -> list[Expr]:
        """The comparisons of a chain: z > 0, y_i = k, 0 < z <= 1."""
        sides = [chain.first, *(r.right for r in chain.relations)]
        out: list[Expr] = []
        for a, b, r in zip(sides, sides[1:], chain.relations, strict=False):
            if a is None or b is None or r.sign not in OPERATORS:
                raise self.fail(f"{self.text(chain)!r} is not understood as a condition", chain.place)
            out.append(self.comparison(a, b, r, env))
        return out

    def comparison(self, a: Node, b: Node, r: Relation, env: Env) -> Expr:
        labels = [self.label(n, env) for n in (a, b)]
        over = next((x for x in labels if x is not None), None)

        def side(node: Node, label: str | None) -> Expr:
            if label is not None:
                return self.scalar(node, env, "a side of a condition")
            index = is_affine(node) and self.is_index(node, env)
            if index and over is not None:
                at = self.scopes.affine(node, env)
                if at.name in self.scopes.all:
                    assert at.name is not None
                    letter, where = self.declared.labels[over]
                    self.scopes.join(at.name, f"letter:{letter}", where)
                    return Position(affine("@" + at.name))
                return Position(at - f"first:{over}")
            if index:
                return Position(self.scopes.affine(node, env))
            return self.scalar(node, env, "a side of a condition")

        left, right = side(a, labels[0]), side(b, labels[1])
        if isinstance(left, Num) and isinstance(right, Position):
            left = Position(affine(int(left.value)))
        if isinstance(right, Num) and isinstance(left, Position):
            right = Position(affine(int(right.value)))
        return Compare(OPERATORS[r.sign], left, right)  # type: ignore[arg-type]

    def is_index(self, node: Node, env: Env) -> bool:
        if isinstance(node, Number):
            return False
        letter = letter_of(node)
        if letter is not None:
            return letter in env
        return any(self.is_index(c, env) for c in pieces_of(node))

    def label(self, node: Node, env: Env) -> str | None:
        if isinstance(node, Symbol) or (isinstance(node, Scripted) and isinstance(node.base, Symbol)):
            if letter_of(node) in env:
                return None
            name = self.letters.reading(self.sighting(node, env)).name
            return name if name in self.declared.labels else None
        return None

    def cases(self, node: Cases, env: Env) -> Array:
        rows: list[tuple[Expr, list[Expr]]] = []
        for row in node.rows:
            conditions: list[Expr] = []
            for c in row.condition:
                if isinstance(c, Chain):
                    conditions += self.conditions(c, env)
                elif not isinstance(c, Text):
                    raise self.fail(f"{self.text(c)!r} is not understood as a condition", c.place)
            rows.append((self.scalar(row.value, env, "a case"), conditions))
        *first, (last, rest) = rows
        if not first or any(not c for _, c in first):
            raise self.fail("every case but the last says when it holds", node.place)
        if rest and not (
            len(first) == 1 and len(rest) == 1 and len(first[0][1]) == 1 and opposite(first[0][1][0], rest[0])
        ):
            raise self.fail("the last case holds where no other does; write 'otherwise' there", node.place)
        out = last
        for value, conditions in reversed(first):
            chosen = value
            for test in reversed(conditions):
                chosen = Where(test, chosen, out)
            out = chosen
        return Array(out)


KNOWN_BUT_UNREAD = (
    "det",
    "tr",
    "rank",
    "arg",
    "lim",
    "sup",
    "inf",
    "Pr",
    "gcd",
    "deg",
    "dim",
    "ker",
    "hom",
    "cot",
    "sec",
    "csc",
    "sinh",
    "cosh",
    "coth",
    "arcsin",
    "arccos",
    "arctan",
    "tan",
    "lg",
)


def pieces_of(node: Node) -> tuple[Node, ...]:
    match node:
        case Terms(terms=terms):
            return tuple(t.body for t in terms)
        case Product(factors=factors):
            return factors
        case Negative(body=body) | Group(body=body):
            return (body,)
    return ()


def digits(node: Node) -> list[Node]:
    """The digits of a number one by one, each an index of its own."""
    if isinstance(node, Number) and node.text.isdigit():
        p = node.place
        return [
            Number(c, replace(p, column=p.column + n, start=p.start + n, end=p.start + n + 1))
            for n, c in enumerate(node.text)
        ]
    return [node]


def opposite(a: Expr, b: Expr) -> bool:
    """Whether one condition holds exactly where the other does not."""
    opposites = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
    mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
    if not isinstance(a, Compare) or not isinstance(b, Compare):
        return False
    if (a.left, a.right) == (b.right, b.left):
        b = Compare(mirrored[b.op], b.right, b.left)  # type: ignore[arg-type]
    # At the boundary both cases may claim the point; the first one has it.
    return (a.left, a.right) == (b.left, b.right) and b.op in (
        opposites[a.op],
        opposites[a.op].rstrip("="),
        opposites[a.op] + "=",
    )


def walk_refs(e: Expr) -> list[Ref]:
    return [p for _, p in walk(e) if isinstance(p, Ref)]


def words(unit: str) -> str:
    return unit if not unit.isalpha() or len(unit) == 1 else rf"\mathrm{{{unit}}}"


def latex_unit(unit: str) -> str:
    parts = ["\\" + u if u in GREEK else words(u) for u in unit.split(",")]
    return ",".join(parts)


def spelling(base: Symbol) -> str:
    """How a named function is written."""
    if base.name in ("exp", "log", "ln", "tanh", "sin", "cos", "max", "min"):
        return "\\" + base.name
    return rf"\operatorname{{{base.name}}}"
