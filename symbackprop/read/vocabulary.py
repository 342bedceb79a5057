r"""The LaTeX that is understood: which command plays which part in a formula. Tables only.

`ROLES` says it for every command and sign; a command without a role is unknown, and named with its nearest neighbour.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from symbackprop.read.syntax import Accent, Font

Role: TypeAlias = Literal[
    "symbol",  # stands for itself
    "relation",
    "sign",  # + and -
    "product",  # an explicit sign of multiplication or division
    "elementwise",  # one that binds weaker than juxtaposition
    "open",
    "close",
    "bar",  # opens or closes, depending on what precedes it
    "separator",
    "big",  # a sum and its like
    "function",
    "operatorname",
    "font",
    "accent",
    "fraction",
    "root",
    "dots",
    "words",  # \forall and its like
    "partial",
    "nabla",
    "brace",
    "stack",
    "arg",
    "begin",
    "end",
    "row",
    "gap",
    "script",
    "substack",
    "left",
    "right",
    "middle",
    "left brace",
    "right brace",
    "number",
    "text",
    "begin",
    "finish",
    "end",
    "none",  # nothing that is understood
]


def words(text: str) -> tuple[str, ...]:
    """The words of a text: a table without a quote around every entry."""
    return tuple(text.split())


GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varepsilon vartheta varpi varrho varsigma "
    "varphi varkappa digamma"
)

SYMBOLS = (*GREEK, *words("ell infty top bot intercal dagger emptyset varnothing hbar imath jmath Re Im wp complement"))

RELATIONS: dict[str, str] = {
    "=": "=",
    ":=": ":=",
    "=:": "=:",
    "<": "<",
    ">": ">",
    r"\coloneqq": ":=",
    r"\coloneq": ":=",
    r"\triangleq": ":=",
    r"\eqdef": ":=",
    r"\equiv": "equiv",
    r"\doteq": "doteq",
    r"\ne": "!=",
    r"\neq": "!=",
    r"\le": "<=",
    r"\leq": "<=",
    r"\leqslant": "<=",
    r"\ge": ">=",
    r"\geq": ">=",
    r"\geqslant": ">=",
    r"\lt": "<",
    r"\gt": ">",
    r"\ll": "<<",
    r"\gg": ">>",
    r"\approx": "approx",
    r"\simeq": "simeq",
    r"\cong": "cong",
    r"\sim": "sim",
    r"\propto": "propto",
    r"\leftarrow": "<-",
    r"\gets": "<-",
    r"\longleftarrow": "<-",
    r"\to": "->",
    r"\rightarrow": "->",
    r"\longrightarrow": "->",
    r"\mapsto": "|->",
    r"\longmapsto": "|->",
    r"\in": "in",
    r"\ni": "ni",
    r"\notin": "notin",
    r"\subset": "subset",
    r"\subseteq": "subseteq",
    r"\Rightarrow": "=>",
    r"\implies": "=>",
    r"\Longrightarrow": "=>",
    r"\Leftarrow": "impliedby",
    r"\impliedby": "impliedby",
    r"\iff": "<=>",
    r"\Leftrightarrow": "<=>",
    r"\Longleftrightarrow": "<=>",
}

NEGATED = {"=": "!=", r"\in": "notin", r"\equiv": "notequiv", "<": ">=", ">": "<="}
r"""What \not makes of a relation."""

SIGNS = {"+": "+", "-": "-", r"\pm": r"\pm", r"\mp": r"\mp"}

PRODUCTS = {r"\cdot": r"\cdot", r"\times": r"\times", "*": "*", "/": "/", r"\div": "/"}

ELEMENTWISE = {op: op for op in words(r"\odot \circ \otimes \ast \star \oplus \ominus \bullet \oslash")}

OPENING = {
    "(": "(",
    "[": "[",
    r"\{": r"\{",
    r"\lbrace": r"\{",
    r"\lbrack": "[",
    r"\lparen": "(",
    r"\langle": r"\langle",
    r"\lfloor": r"\lfloor",
    r"\lceil": r"\lceil",
    r"\lvert": "|",
    r"\lVert": r"\|",
}

CLOSING = {
    ")": ")",
    "]": "]",
    r"\}": r"\}",
    r"\rbrace": r"\}",
    r"\rbrack": "]",
    r"\rparen": ")",
    r"\rangle": r"\rangle",
    r"\rfloor": r"\rfloor",
    r"\rceil": r"\rceil",
    r"\rvert": "|",
    r"\rVert": r"\|",
}

BARS = {"|": "|", "||": r"\|", r"\vert": "|", r"\|": r"\|", r"\Vert": r"\|"}

PARTNER = {
    "(": ")",
    "[": "]",
    r"\{": r"\}",
    r"\langle": r"\rangle",
    r"\lfloor": r"\rfloor",
    r"\lceil": r"\rceil",
    "|": "|",
    r"\|": r"\|",
    "{": "}",
    "<": ">",
}

SEPARATORS = {",": ",", ";": ";", ":": ":", r"\colon": ":", r"\mid": r"\mid"}

BIG = {r"\sum": "sum", r"\prod": "prod", r"\max": "max", r"\min": "min", r"\argmax": "argmax", r"\argmin": "argmin"}

FUNCTIONS = words(
    "exp log ln lg sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan det dim ker Pr gcd deg "
    "lim sup inf limsup liminf"
)

WORD_FUNCTIONS = frozenset(
    words(
        "exp log ln lg sin cos tan sinh cosh tanh arctan max min argmax argmin sqrt softmax logsoftmax sigmoid logistic "
        "relu leakyrelu lrelu elu selu gelu silu swish softplus softsign hardtanh sign sgn erf tr trace diag var cov "
        "mean rank vec det abs norm sech erfc lse logsumexp onehot"
    )
)
r"""Upright words that are functions even where they are not in \operatorname; compared in lower case, hyphens apart."""

FONTS: dict[str, Font] = {
    r"\mathbf": "bold",
    r"\boldsymbol": "bold",
    r"\bm": "bold",
    r"\pmb": "bold",
    r"\bold": "bold",
    r"\mathbfit": "bold",
    r"\symbf": "bold",
    r"\textbf": "bold",
    r"\mathcal": "calligraphic",
    r"\mathscr": "calligraphic",
    r"\mathfrak": "fraktur",
    r"\mathbb": "blackboard",
    r"\mathds": "blackboard",
    r"\mathbbm": "blackboard",
    r"\mathrm": "roman",
    r"\mathup": "roman",
    r"\mathit": "italic",
    r"\textit": "italic",
    r"\mathnormal": "",
    r"\mathsf": "sans",
    r"\textsf": "sans",
    r"\mathtt": "typewriter",
    r"\texttt": "typewriter",
}

SWITCHES = {r"\bf": r"\mathbf", r"\rm": r"\mathrm", r"\it": r"\mathit", r"\cal": r"\mathcal", r"\sf": r"\mathsf", r"\tt": r"\mathtt"}  # fmt: skip
"""Old commands that set the font of the braces they begin: {\\bf w}."""

WORD_FONTS = frozenset({"roman", "italic", "sans", "typewriter"})
"""Fonts in which several letters are one name: \\mathrm{out}; in the others each letter is a symbol: \\mathbf{Wx}."""

ACCENTS: dict[str, Accent] = {
    r"\hat": "hat",
    r"\widehat": "hat",
    r"\bar": "bar",
    r"\overline": "bar",
    r"\tilde": "tilde",
    r"\widetilde": "tilde",
    r"\dot": "dot",
    r"\ddot": "ddot",
    r"\vec": "vec",
    r"\overrightarrow": "vec",
    r"\underline": "underline",
}

FRACTIONS = (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac")

DOTS = words(r"\dots \cdots \ldots \vdots \ddots \dotsc \dotsb \dotsm \dotsi \dotso \hdots ..")

TEXTS = frozenset(words(r"\text \mbox \hbox \textrm \textnormal \textup \intertext \shortintertext"))
"""Commands whose argument is words; read by the lexer, as it may hold anything."""

WORDS = words(r"\forall \exists \therefore \because \qed \blacksquare \square \Box")

CONNECTIVES = frozenset(
    words(
        "if for else otherwise and or where when with iff all let is since so then const constant as by because hence thus "
        "from in on of to the a an each every some any not unless while such that given def assume suppose using here"
    )
)
r"""Single words in \text{...} that are words; any other single word there is a name: \text{net}_j."""

PLACEHOLDERS = frozenset(words(r"! * + - : \cdot \ast \star \circ \bullet \times"))
"""Signs that may stand for themselves alone in a script or in brackets: W^+, x_*, f(\\cdot)."""

GAPS = (r"\quad", r"\qquad", "&")
"""Wide space and column ends: between two complete expressions they separate, elsewhere they say nothing."""

SPACING = frozenset(
    {
        *(r"\ ", "\\\n"),
        *words(
            r"\, \; \: \! \> \/ ~ \thinspace \medspace \thickspace \negthinspace \enspace \hfill \displaystyle \textstyle "
            r"\scriptstyle \scriptscriptstyle \limits \nolimits \nonumber \notag \allowbreak \nobreak \mathstrut \strut "
            r"\noindent \centering \smallskip \medskip \bigskip \par \boldmath \allowdisplaybreaks \relax \protect \small "
            r"\footnotesize \normalsize \qedhere"
        ),
    }
)
"""Commands that change the look only."""

INVISIBLE = frozenset(words(r"\phantom \hphantom \vphantom \hspace \vspace \mspace \color \label \tag"))
"""Commands that print nothing of the formula and take one argument, which goes with them; \\label and \\tag are kept."""

TRANSPARENT = frozenset(
    words(r"\textcolor \boxed \ensuremath \mathopen \mathclose \mathord \mathbin \mathrel \mathop \mathinner")
)
"""Commands whose last argument is read as if it stood there without braces, for that is how it is printed."""

SIZES = {"\\" + size + side: side for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")}
"""Sizes of delimiters, and the side they say the delimiter is on."""

MATRICES = frozenset(words("matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array"))

CASES = frozenset({"cases", "dcases", "rcases", "drcases", "numcases"})

ALIGNMENTS = frozenset(words("aligned alignedat split gathered multlined"))
"""Environments that hold rows inside another mathematical environment."""

DISPLAYS = frozenset(words("equation align gather multline flalign alignat eqnarray displaymath math IEEEeqnarray"))
"""Environments that begin mathematics."""

ONE_ROW = frozenset({"multline", "multlined"})
r"""Environments in which \\ breaks a formula rather than ending it."""

VERBATIM = ("verbatim", "lstlisting", "minted", "comment")


def roles() -> dict[str, Role]:
    """The role of every command, its backslash included, and of every sign."""
    out: dict[str, Role] = {}
    tables: tuple[tuple[Role, object], ...] = (
        ("symbol", ["\\" + name for name in SYMBOLS]),
        ("relation", [*RELATIONS, r"\not"]),
        ("sign", SIGNS),
        ("product", PRODUCTS),
        ("elementwise", ELEMENTWISE),
        ("open", OPENING),
        ("close", CLOSING),
        ("bar", BARS),
        ("separator", SEPARATORS),
        ("big", BIG),
        ("function", ["\\" + name for name in FUNCTIONS]),
        ("operatorname", [r"\operatorname", r"\operatornamewithlimits"]),
        ("font", FONTS),
        ("accent", ACCENTS),
        ("fraction", FRACTIONS),
        ("root", [r"\sqrt"]),
        ("dots", DOTS),
        ("words", WORDS),
        ("partial", [r"\partial"]),
        ("nabla", [r"\nabla"]),
        ("brace", [r"\underbrace", r"\overbrace"]),
        ("stack", [r"\underset", r"\overset", r"\stackrel"]),
        ("arg", [r"\arg"]),
        ("row", [r"\\"]),
        ("gap", GAPS),
        ("script", ["_", "^", "'", r"\prime"]),
        ("substack", [r"\substack"]),
        ("left", [r"\left"]),
        ("right", [r"\right"]),
        ("middle", [r"\middle"]),
        ("left brace", ["{"]),
        ("right brace", ["}"]),
    )
    for role, names in tables:
        out.update(dict.fromkeys(names, role))  # type: ignore[call-overload]
    return out


ROLES = roles()

KNOWN = frozenset({*ROLES, *SPACING, *INVISIBLE, *TRANSPARENT, *SIZES, *TEXTS})
"""Every command that is understood, for the nearest one to an unknown."""

# ---------------------------------------------------------------- Unicode

SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₊₋₌₍₎", "0123456789aehijklmnoprstuvx+-=()", strict=True))
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿˡᴸᵗᵀ", "0123456789+-=()inlLtT", strict=True))

UNICODE: dict[str, str] = {
    **dict(zip("αβγδεζηθικλμνξπρστυφχψω", words(r"\alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \pi \rho \sigma \tau \upsilon \varphi \chi \psi \omega"), strict=True)),
    **dict(zip("ΓΔΘΛΞΠΣΥΦΨΩ", words(r"\Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega"), strict=True)),
    **dict(zip("ϕϵϑϱµℓ∞⊤⊥†∅", words(r"\phi \epsilon \vartheta \varrho \mu \ell \infty \top \bot \dagger \emptyset"), strict=True)),
    **dict(zip("∂∇∑∏√⊙∘⊗·⋅×∗⋆÷−–±∓⊕", words(r"\partial \nabla \sum \prod \sqrt \odot \circ \otimes \cdot \cdot \times \ast \star \div - - \pm \mp \oplus"), strict=True)),
    **dict(zip("≔≡≠≤≥⩽⩾≈≃≅∼∝←→↦⟶⟵∈∉∋⊂⊆⇒⇐⇔≪≫≜", words(r"\coloneqq \equiv \neq \leq \geq \leq \geq \approx \simeq \cong \sim \propto \leftarrow \to \mapsto \to \gets \in \notin \ni \subset \subseteq \Rightarrow \Leftarrow \iff \ll \gg \triangleq"), strict=True)),
    **dict(zip("…⋯⋮⋱∀∃∣‖⟨⟩⌊⌋⌈⌉′’‘＝", words(r"\dots \cdots \vdots \ddots \forall \exists \mid \| \langle \rangle \lfloor \rfloor \lceil \rceil ' ' ' ="), strict=True)),
    "″": "''",
    "‴": "'''",
    "𝟙": r"\mathbb{1}",
    "𝟏": r"\mathbf{1}",
    "ℒ": r"\mathcal{L}",
    "ℝ": r"\mathbb{R}",
    "ℕ": r"\mathbb{N}",
    "ℤ": r"\mathbb{Z}",
    "𝔼": r"\mathbb{E}",
    "‚": ",",
    "\u00a0": "~",
    **dict.fromkeys("\u2009\u200a\u202f\u2002\u2003\u2004\u2005\u2006\u2007\u2008", "~"),
    **dict.fromkeys("\u200b\u2060\u2061\u2062\ufeff", ""),
    "½": r"\frac12",
}  # fmt: skip
"""Characters that are read as the LaTeX they look like."""

COMBINING = {"\u0302": r"\hat", "\u0304": r"\bar", "\u0305": r"\bar", "\u0303": r"\tilde", "\u0307": r"\dot", "\u0308": r"\ddot", "\u20d7": r"\vec"}  # fmt: skip
"""Marks over the letter before them."""
