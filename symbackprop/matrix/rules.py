"""The named equalities between entries of arrays that lead from an index expression to its matrix form.

Each is read left to right, like the rules of `symbackprop.rules`; they have a table of their own, since they speak of a
frame (which axes are sides, how vectors lie) and of entries of arrays. They are tried in the order in which they stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from symbackprop.indices import Affine, Axis, Guard, affine
from symbackprop.matrix.base import (
    MATRIX_RULES,
    Nest,
    Place,
    Plan,
    axis_of,
    entry,
    factors_of,
    joining_rule,
    lying,
    matrix_rule,
    natural,
    nest,
    product,
    replaced,
    unwrapped,
    without_scalars,
    wrapped,
)
from symbackprop.matrix.frame import Frame
from symbackprop.matrix.heads import Entry, InSample, constant, indices_of, ready
from symbackprop.matrix.tree import (
    COLUMN,
    ROW,
    AddM,
    Apply,
    Array,
    Choose,
    Diag,
    DiagonalOf,
    DivM,
    Identity,
    Matrix,
    NormSquared,
    Number,
    Ones,
    PowM,
    Series,
    Whole,
    fraction,
    hadamard,
    matmul,
    matrix_names,
    scalar_and_rest,
    scaled,
    transposes,
)
from symbackprop.network import SAMPLES
from symbackprop.symbols import (
    ONE,
    Add,
    Call,
    Compare,
    Delta,
    Div,
    Expr,
    Mul,
    Num,
    Partial,
    Pow,
    Ref,
    Sum,
    Vec,
    Where,
    guard_names,
)

DEFINITION = "definition of the operations on matrices, entry by entry"
LINEAR_ALGEBRA = "Horn and Johnson, Matrix Analysis (2013), sections 0.2 and 7.5"

# ---------------------------------------------------------------- leaves


@matrix_rule(
    "entry of an array",
    statement=r"w_{jk} = (W)_{jk},\quad \frac{\partial C}{\partial w_{jk}} = \left(\frac{\partial C}{\partial W}\right)_{jk}",
    source="definition: the array of a family, and of the gradient by it, which has the same shape",
)
def entry_of_an_array(e: Expr, frame: Frame) -> Expr | None:
    """A quantity with up to two indices that are sides, in the order in which its family has them.

    With a batch, a quantity of one sample has the sample as an index besides, and room for one other.
    """
    if isinstance(e, InSample):
        return array_entry(e.quantity, frame, e.sample)
    return array_entry(e, frame) if isinstance(e, Ref | Partial) else None


def sides_of(ref: Ref, frame: Frame) -> list[tuple[int, Axis, Affine]]:
    """The indices of a quantity that count rows or columns, with their places and axes."""
    axes = frame.system.axes(ref)
    return [(n, a, i) for n, (a, i) in enumerate(zip(axes, ref.indices, strict=True)) if frame.is_side(a)]


def array_entry(e: Ref | Partial, frame: Frame, sample: str = "") -> Entry | None:
    ref = e.bottom if isinstance(e, Partial) else e
    if not isinstance(ref, Ref) or (isinstance(e, Partial) and e.top.indices):
        return None
    sides = sides_of(ref, frame)
    letters = [i.name for _, _, i in sides]
    if len(sides) + bool(sample) > 2 or None in letters or set(letters) & frame.system.constants:
        return None
    if sample:
        return sampled_entry(e, ref, sides, frame, sample)
    marks = [ROW, COLUMN] if len(sides) == 2 or frame.layout.vectors == "column" else [COLUMN]
    quantity = marked(e, ref, {n: m for (n, _, _), m in zip(sides, marks, strict=False)})
    by_mark = {m: (a, str(i)) for (_, a, i), m in zip(sides, marks, strict=False)}
    rows, row = by_mark.get(ROW, (None, ""))
    columns, column = by_mark.get(COLUMN, (None, ""))
    return Entry(Array(quantity, rows, columns), row, column)


def sampled_entry(
    e: Ref | Partial, ref: Ref, sides: list[tuple[int, Axis, Affine]], frame: Frame, sample: str
) -> Entry:
    """An entry of the array that a quantity of every sample forms."""
    in_rows = frame.layout.samples == "rows"
    quantity = marked(e, ref, {n: COLUMN if in_rows else ROW for n, _, _ in sides})
    axis, index = (sides[0][1], str(sides[0][2])) if sides else (None, "")
    if in_rows:
        return Entry(Array(quantity, SAMPLES, axis, "rows"), sample, index)
    return Entry(Array(quantity, axis, SAMPLES, "columns"), index, sample)


def marked(e: Ref | Partial, ref: Ref, marks: dict[int, str]) -> Ref | Partial:
    """A quantity with the letters for row and column in the place of its indices."""
    new = Ref(ref.family, tuple(affine(marks[n]) if n in marks else i for n, i in enumerate(ref.indices)))
    return replace(e, bottom=new) if isinstance(e, Partial) else new


@matrix_rule("entry of the identity", statement=r"\delta_{ij} = (I)_{ij}", source="definition of the identity matrix")
def entry_of_the_identity(e: Expr, frame: Frame) -> Expr | None:
    if not isinstance(e, Delta) or not frame.is_side(e.axis):
        return None
    i, j = e.left.name, e.right.name
    if i is None or j is None or i == j or {i, j} & frame.system.constants:
        return None
    return Entry(Identity(e.axis), *frame.place(frozenset((i, j)), (i, j)))


@matrix_rule(
    "entry of the diagonal", statement=r"a_{ii} = (\operatorname{diag} A)_i", source="definition of the diagonal"
)
def entry_of_the_diagonal(e: Expr, frame: Frame) -> Expr | None:
    if not isinstance(e, Entry) or not e.row or e.row != e.column:
        return None
    row, column = frame.place(frozenset((e.row,)), (e.row, ""))
    return Entry(DiagonalOf(e.matrix, as_row=not row), row, column)


# ---------------------------------------------------------------- scalars


@matrix_rule("one row of factors", statement=r"f\,(g\,h) = f\,g\,h", source="products are associative")
def one_row_of_factors(e: Expr, frame: Frame) -> Expr | None:
    if not isinstance(e, Mul) or not any(isinstance(f, Mul) for f in e.factors):
        return None
    return Mul(tuple(g for f in e.factors for g in factors_of(f)))


@matrix_rule("number before the sum", statement=r"\sum_i c\, f_i = c \sum_i f_i", source="sums are linear")
def number_before_the_sum(e: Expr, frame: Frame) -> Expr | None:
    """Numbers and sizes; so that a sum of sums stands where a norm can be seen."""
    if not isinstance(e, Sum) or not isinstance(e.body, Mul):
        return None
    front = [f for f in e.body.factors if constant(f)]
    rest = [f for f in e.body.factors if not constant(f)]
    return Mul((*front, Sum(e.index, e.axis, product(rest), e.guard))) if front and rest else None


@matrix_rule(
    "function of an array", statement=r"C(a_1, \ldots, a_n) = C(a)", source="definition: a function of all entries"
)
def function_of_an_array(e: Expr, frame: Frame) -> Expr | None:
    """Only of a vector that is there by itself: in a batch it is a function of each sample's row."""
    if not isinstance(e, Call) or e.order or len(e.arguments) != 1 or not isinstance(e.arguments[0], Vec):
        return None
    inner = e.arguments[0].body
    if not isinstance(inner, Entry) or not isinstance(inner.matrix, Array) or inner.matrix.sampled:
        return None
    return Entry(Whole(e.function, inner.matrix), "", "") if inner.indices == {e.arguments[0].index} else None


# ---------------------------------------------------------------- sums


@joining_rule(
    "entry of a product",
    statement=r"\sum_k A_{ik} B_{kj} = (AB)_{ij}",
    source=LINEAR_ALGEBRA,
)
def entry_of_a_product(e: Expr, frame: Frame) -> Plan | None:
    """A summed index that exactly two arrays share, which have no other index in common.

    A third array with the index, or a shared second one, must first be joined entry by entry.
    """
    n = nest(e)
    if n is None:
        return None
    for k in n.sides(frame):
        places = n.holding(k)
        if len(places) != 2:
            continue
        a, b = (entry(n.factors[p]) for p in places)
        if a.indices & b.indices == {k}:
            return product_plan(n, k, places, a, b, frame)
    return None


def product_plan(n: Nest, k: str, places: list[int], a: Entry, b: Entry, frame: Frame) -> Plan:
    """The two arrays in the order in which the result lies as it should; where that is open, with fewest transposes."""

    def ends(order: tuple[int, ...]) -> Place:
        first, second = (entry(n.factors[p]).indices - {k} for p in order)
        return "".join(first), "".join(second)

    def turned(order: tuple[int, ...]) -> int:
        (p, q), (x, y) = ends(order), (entry(n.factors[p]) for p in order)
        return transposes(lying(x, (p, k))) + transposes(lying(y, (k, q)))

    orders = sorted((tuple(places), tuple(places[::-1])), key=turned)
    wanted = frame.place((a.indices | b.indices) - {k}, ends(orders[0]))
    left, right = next(o for o in orders if ends(o) == wanted)

    def join() -> Expr:
        scalars, (x, y) = without_scalars([entry(n.factors[left]), entry(n.factors[right])])
        new = Entry(matmul(x.matrix, y.matrix), *wanted)
        return n.around(product((*scalars, *replaced(n.factors, places, [new]))), but=k)

    wants = {left: (wanted[0], k), right: (k, wanted[1])}
    return Plan(n.factors, wants, lambda fs: n.around(product(fs)), join)


@matrix_rule(
    "squared norm",
    statement=r"\sum_j u_j^2 = \lVert u \rVert^2,\quad \sum_{ij} A_{ij}^2 = \lVert A \rVert_F^2",
    source="definition of the Euclidean and of the Frobenius norm",
)
def squared_norm(e: Expr, frame: Frame) -> Expr | None:
    """A square summed over all its indices, which occur nowhere else under the sums."""
    sums: list[tuple[str, Axis, Guard]] = []
    body = e
    while isinstance(body, Sum):
        sums.append((body.index, body.axis, body.guard))
        body = body.body
    factors = factors_of(body)
    for n, f in enumerate(factors):
        if not isinstance(f, Pow) or f.exponent != Num(ONE.value * 2) or not isinstance(f.base, Entry):
            continue
        mine = f.base.indices
        others = factors[:n] + factors[n + 1 :]
        bound = {i for i, axis, guard in sums if frame.is_side(axis) and not guard}
        if not mine or not mine <= bound or not all(ready(o) and not mine & indices_of(o) for o in others):
            continue
        outer = Nest(tuple(s for s in sums if s[0] not in mine), ())
        scalars, (plain,) = without_scalars([f.base])
        squares = [Pow(s, f.exponent) for s in scalars if s != Num(-ONE.value)]
        return outer.around(product((*squares, *others, Entry(NormSquared(plain.matrix), "", ""))))
    return None


@joining_rule(
    "sum over one index",
    statement=r"\sum_k A_{ik} = (A\mathbf{1})_i,\quad \sum_i A_{ik} = (\mathbf{1}^\top A)_k",
    source="the product with a vector of ones",
)
def sum_over_one_index(e: Expr, frame: Frame) -> Plan | None:
    """A summed index that one array alone has; of several, first one for which nothing is to be turned."""
    n = nest(e)
    if n is None:
        return None
    held = [(k, n.holding(k)) for k in n.sides(frame)]
    plans = [sum_plan(n, k, places[0], frame) for k, places in held if len(places) == 1]
    return min(plans, key=lambda p: p.askew is not None, default=None)


def sum_plan(n: Nest, k: str, place: int, frame: Frame) -> Plan:
    x = entry(n.factors[place])
    i = "".join(x.indices - {k})
    axis = axis_of(k, [x])
    row, column = frame.place(x.indices - {k}, ("", ""))
    rows_summed = bool(column) or (not row and frame.layout.vectors == "column")
    want = (k, i) if rows_summed else (i, k)

    def join() -> Expr:
        scalars, (plain,) = without_scalars([x])
        ones = Ones(None, axis) if rows_summed else Ones(axis, None)
        m = matmul(ones, plain.matrix) if rows_summed else matmul(plain.matrix, ones)
        new = replaced(n.factors, [place], [Entry(m, row, column)])
        return n.around(product((*scalars, *new)), but=k)

    return Plan(n.factors, {place: want}, lambda fs: n.around(product(fs)), join)


@matrix_rule(
    "sum of arrays over an index",
    statement=r"\sum_t (A_t)_{ij} = \left(\sum_t A_t\right)_{ij}",
    source=DEFINITION,
)
def sum_of_arrays(e: Expr, frame: Frame) -> Expr | None:
    """A sum over layers, times, or a held axis; an array that does not depend on it is left to stand before it."""
    if not isinstance(e, Sum) or not isinstance(e.body, Entry) or frame.is_side(e.axis):
        return None
    if guard_names(e.guard) & e.body.indices:
        return None
    scalars, m = scalar_and_rest(e.body.matrix)
    front = [unwrapped(s) for s in scalars if e.index not in matrix_names(s)]
    inner = scaled([s for s in scalars if e.index in matrix_names(s)], m)
    return product((*front, Entry(Series(e.index, e.axis, inner, e.guard), e.body.row, e.body.column)))


# ---------------------------------------------------------------- products entry by entry


def ready_product(e: Expr) -> tuple[Expr, ...] | None:
    return e.factors if isinstance(e, Mul) and all(map(ready, e.factors)) else None


@joining_rule("Hadamard product", statement=r"A_{ij} B_{ij} = (A \odot B)_{ij}", source=LINEAR_ALGEBRA)
def hadamard_product(e: Expr, frame: Frame) -> Plan | None:
    """Two arrays with the same indices."""
    factors = ready_product(e) or ()
    for n, f in enumerate(factors):
        for m, g in enumerate(factors[:n]):
            if indices_of(f) and indices_of(f) == indices_of(g):
                return hadamard_plan(factors, m, n, frame)
    return None


def hadamard_plan(factors: tuple[Expr, ...], m: int, n: int, frame: Frame) -> Plan:
    a, b = entry(factors[m]), entry(factors[n])
    ways = [a.place, a.place[::-1]]
    cheapest = natural([(w, transposes(lying(a, w)) + transposes(lying(b, w))) for w in ways])
    place = frame.place(a.indices, cheapest)

    def join() -> Expr:
        scalars, (x, y) = without_scalars([a, b])
        new = Entry(hadamard(x.matrix, y.matrix), *place)
        return product((*scalars, *replaced(factors, [m, n], [new])))

    return Plan(factors, {m: place, n: place}, product, join)


@joining_rule(
    "scaled rows or columns",
    statement=r"u_i A_{ij} = (\operatorname{diag}(u)\, A)_{ij},\quad A_{ij} v_j = (A \operatorname{diag}(v))_{ij}",
    source="the product with a diagonal matrix",
)
def scaled_rows_or_columns(e: Expr, frame: Frame) -> Plan | None:
    """A vector with one of the two indices of a matrix."""
    factors = ready_product(e) or ()
    for n, f in enumerate(factors):
        for m, g in enumerate(factors):
            if len(indices_of(f)) == 1 and len(indices_of(g)) == 2 and indices_of(f) < indices_of(g):
                return diagonal_plan(factors, n, m, frame)
    return None


def diagonal_plan(factors: tuple[Expr, ...], vector: int, matrix: int, frame: Frame) -> Plan:
    v, a = entry(factors[vector]), entry(factors[matrix])
    (i,) = v.indices
    place = frame.place(a.indices, a.place)
    upright = (i, "") if frame.layout.vectors == "column" else ("", i)

    def join() -> Expr:
        scalars, (x, y) = without_scalars([v, a])
        d = Diag(x.matrix)
        m = matmul(d, y.matrix) if place[0] == i else matmul(y.matrix, d)
        return product((*scalars, *replaced(factors, [vector, matrix], [Entry(m, *place)])))

    return Plan(factors, {vector: upright, matrix: place}, product, join)


@joining_rule("outer product", statement=r"u_i v_j = (u v^\top)_{ij}", source=LINEAR_ALGEBRA)
def outer_product(e: Expr, frame: Frame) -> Plan | None:
    """Two vectors with different indices, nothing else with an index beside them."""
    factors = ready_product(e) or ()
    places = [n for n, f in enumerate(factors) if indices_of(f)]
    if len(places) != 2 or any(len(indices_of(factors[n])) != 1 for n in places):
        return None
    a, b = (entry(factors[n]) for n in places)
    if a.indices == b.indices:
        return None
    (i,), (j,) = a.indices, b.indices
    row, column = frame.place(a.indices | b.indices, (i, j))
    if row != i:
        places, a, b = places[::-1], b, a

    def join() -> Expr:
        scalars, (x, y) = without_scalars([a, b])
        new = Entry(matmul(x.matrix, y.matrix), row, column)
        return product((*scalars, *replaced(factors, places, [new])))

    return Plan(factors, {places[0]: (row, ""), places[1]: ("", column)}, product, join)


@matrix_rule("scalar factor", statement=r"c\, A_{ij} = (cA)_{ij}", source=DEFINITION)
def scalar_factor(e: Expr, frame: Frame) -> Expr | None:
    """One array and scalars; of scalars alone, the last one that holds a quantity."""
    factors = ready_product(e)
    if factors is None or constant(e) or sum(bool(indices_of(f)) for f in factors) > 1:
        return None
    main = next((n for n, f in enumerate(factors) if indices_of(f)), None)
    if main is None:
        main = max(n for n, f in enumerate(factors) if isinstance(f, Entry))
    a = entry(factors[main])
    scalars = [wrapped(f) for n, f in enumerate(factors) if n != main]
    return Entry(scaled(scalars, a.matrix), a.row, a.column)


# ---------------------------------------------------------------- what works entry by entry


@matrix_rule(
    "scalar of a quotient", statement=r"\frac{A_{ij}}{c} = \frac{1}{c} A_{ij}", source="arithmetic of real numbers"
)
def scalar_of_a_quotient(e: Expr, frame: Frame) -> Expr | None:
    """Scalars before the numerator and the denominator, and a denominator that is a scalar, go to the front."""
    if not isinstance(e, Div) or constant(e) or not (ready(e.top) and ready(e.bottom)):
        return None
    if constant(e.bottom):
        return Mul((fraction([Div(ONE, e.bottom)]), e.top))
    if constant(e.top) and e.top != ONE:
        return Mul((e.top, Div(ONE, e.bottom)))
    over, above = scalar_and_rest(e.top.matrix) if isinstance(e.top, Entry) else ([], None)
    under, below = scalar_and_rest(entry(e.bottom).matrix)
    numbers = [unwrapped(s) for s in over], [unwrapped(s) for s in under if isinstance(s, Number)]
    if not numbers[0] and not numbers[1]:
        if isinstance(e.top, Entry) and e.top.indices and not entry(e.bottom).indices:
            return Mul((Div(ONE, e.bottom), e.top))
        return None
    front = [*numbers[0], *([fraction([Div(ONE, product(numbers[1]))])] if numbers[1] else [])]
    left = [s for s in under if not isinstance(s, Number)]
    top = Entry(above, entry(e.top).row, entry(e.top).column) if above is not None else e.top
    return Mul((*front, Div(top, Entry(scaled(left, below), entry(e.bottom).row, entry(e.bottom).column))))


@matrix_rule(
    "function of every entry", statement=r"g(A_{ij}) = (g(A))_{ij}", source="definition: applied entry by entry"
)
def function_of_every_entry(e: Expr, frame: Frame) -> Expr | None:
    if not isinstance(e, Call) or len(e.arguments) != 1 or not isinstance(e.arguments[0], Entry):
        return None
    a = e.arguments[0]
    return Entry(Apply(e.function, a.matrix, e.order, e.at), a.row, a.column)


@matrix_rule(
    "power of every entry", statement=r"(A_{ij})^n = (A^{\odot n})_{ij}", source="definition: applied entry by entry"
)
def power_of_every_entry(e: Expr, frame: Frame) -> Expr | None:
    if not isinstance(e, Pow) or not isinstance(e.base, Entry) or not constant(e.exponent):
        return None
    return Entry(PowM(e.base.matrix, e.exponent), e.base.row, e.base.column)


def union(e: Expr) -> tuple[tuple[Expr, ...], frozenset[str]] | None:
    """The parts that are taken entry by entry and all their indices, at most two; None where one is not ready."""
    match e:
        case Add(terms):
            parts = terms
        case Div(top, bottom):
            parts = (top, bottom)
        case Where(Compare(_, left, right), then, other):
            parts = (left, right, then, other)
        case _:
            return None
    if constant(e) or not all(map(ready, parts)):
        return None
    together = frozenset().union(*map(indices_of, parts))
    return (parts, together) if len(together) <= 2 else None


def level(p: Expr, together: frozenset[str], e: Expr) -> bool:
    """Whether a part needs no repeating: it has all the indices, or is a number to compare with or to choose."""
    return indices_of(p) == together or (isinstance(e, Where) and constant(p))


def rebuilt(e: Expr, parts: tuple[Expr, ...]) -> Expr:
    if isinstance(e, Where):
        assert isinstance(e.condition, Compare)
        return Where(Compare(e.condition.op, parts[0], parts[1]), parts[2], parts[3])
    return e.rebuild(parts)


def common_place(parts: tuple[Expr, ...], together: frozenset[str], frame: Frame) -> Place:
    """How the parts lie together: as the left side, else so that fewest arrays are transposed."""
    if len(together) != 2:
        return frame.place(together, ("", ""))
    i, j = sorted(together)
    whole = [p for p in parts if isinstance(p, Entry) and len(p.indices) == 2]
    ways = [whole[0].place, whole[0].place[::-1]] if whole else [(i, j), (j, i)]
    return frame.place(together, natural([(w, sum(transposes(lying(p, w)) for p in whole)) for w in ways]))


@joining_rule(
    "repeated along an index",
    statement=r"b_j = (\mathbf{1} b^\top)_{ij},\quad c = (c\,\mathbf{1})_i",
    source="the product with a vector of ones",
)
def repeated_along_an_index(e: Expr, frame: Frame) -> Plan | None:
    """A term of a sum, or a part of a quotient or a choice, that lacks an index of the others."""
    found = union(e)
    if found is None or not found[1]:
        return None
    parts, together = found
    place = common_place(parts, together, frame)
    n = next((n for n, p in enumerate(parts) if not level(p, together, e)), None)
    if n is None:
        return None
    row, column = place
    x = parts[n]
    mine = indices_of(x)
    want = {n: (row if row in mine else "", column if column in mine else "")} if mine else {}

    def join() -> Expr:
        rows = axis_of(row, parts) if row else None
        columns = axis_of(column, parts) if column else None
        if not mine:
            new = scaled([wrapped(x)], Ones(rows, columns)) if x != ONE else Ones(rows, columns)
        else:
            scalars, m = scalar_and_rest(entry(x).matrix)
            new = scaled(scalars, matmul(m, Ones(None, columns)) if row in mine else matmul(Ones(rows, None), m))
        return rebuilt(e, (*parts[:n], Entry(new, *place), *parts[n + 1 :]))

    return Plan(parts, want, lambda ps: rebuilt(e, ps), join)


def elementwise_plan(e: Expr, frame: Frame, join: Callable[[list[Matrix]], Matrix]) -> Plan | None:
    """All parts with the same indices, lying alike."""
    found = union(e)
    if found is None or not all(level(p, found[1], e) for p in found[0]):
        return None
    parts, together = found
    place = common_place(parts, together, frame)
    wants = {n: place for n, p in enumerate(parts) if isinstance(p, Entry)}
    return Plan(parts, wants, lambda ps: rebuilt(e, ps), lambda: Entry(join([wrapped(p) for p in parts]), *place))


@joining_rule("sum of arrays", statement=r"A_{ij} + B_{ij} = (A + B)_{ij}", source=DEFINITION)
def sum_of_entries(e: Expr, frame: Frame) -> Plan | None:
    return elementwise_plan(e, frame, lambda ms: AddM(tuple(ms))) if isinstance(e, Add) else None


@joining_rule(
    "quotient of every entry",
    statement=r"\frac{A_{ij}}{B_{ij}} = (A \oslash B)_{ij}",
    source="definition: applied entry by entry",
)
def quotient_of_entries(e: Expr, frame: Frame) -> Plan | None:
    return elementwise_plan(e, frame, lambda ms: DivM(*ms)) if isinstance(e, Div) else None


@joining_rule(
    "choice for every entry",
    statement=r"[A_{ij} > 0] = (\mathbf{1}[A > 0])_{ij}",
    source="definition: applied entry by entry",
)
def choice_for_every_entry(e: Expr, frame: Frame) -> Plan | None:
    if not isinstance(e, Where) or not isinstance(e.condition, Compare):
        return None
    op = e.condition.op
    return elementwise_plan(e, frame, lambda ms: Choose(op, *ms))


# ---------------------------------------------------------------- sums with too many indices


def terms_apart(e: Expr) -> tuple[tuple[Expr, ...], ...] | None:
    """The factors of each term of a sum whose terms have more than two indices together, so that it is no array."""
    if not isinstance(e, Add):
        return None
    terms = tuple(factors_of(t) for t in e.terms)
    if not all(ready(f) for fs in terms for f in fs):
        return None
    together = frozenset().union(*(indices_of(f) for fs in terms for f in fs))
    return terms if len(together) > 2 else None


@matrix_rule("common factor", statement=r"f g + f h = f\,(g + h)", source="arithmetic of real numbers")
def common_factor(e: Expr, frame: Frame) -> Expr | None:
    """Only in a sum that is no array as it stands."""
    terms = terms_apart(e)
    for f in terms[0] if terms is not None else ():
        assert terms is not None
        if isinstance(f, Entry) and f.indices and all(f in fs for fs in terms):
            rest = []
            for fs in terms:
                left = list(fs)
                left.remove(f)
                rest.append(product(left) if left else ONE)
            return Mul((f, Add(tuple(rest))))
    return None


@matrix_rule("sum of a sum", statement=r"\sum_k (f_k + g_k) = \sum_k f_k + \sum_k g_k", source="sums are linear")
def sum_of_a_sum(e: Expr, frame: Frame) -> Expr | None:
    """Only where the sum under it is no array as it stands; factors before it are multiplied in."""
    if not isinstance(e, Sum):
        return None
    factors = factors_of(e.body)
    n = next((n for n, f in enumerate(factors) if terms_apart(f) is not None), None)
    if n is None:
        return None
    inner = factors[n]
    assert isinstance(inner, Add)
    products = (product((*factors[:n], *factors_of(t), *factors[n + 1 :])) for t in inner.terms)
    return Add(tuple(Sum(e.index, e.axis, p, e.guard) for p in products))


# ---------------------------------------------------------------- transposes


@matrix_rule(
    "entry of the transpose",
    statement=r"A_{kj} = (A^\top)_{jk},\quad (AB)^\top = B^\top A^\top",
    source=LINEAR_ALGEBRA,
)
def entry_of_the_transpose(e: Expr, frame: Frame) -> Expr | None:
    """The first entry that a rule which joins entries finds lying the wrong way; or one that lies across the left side."""
    if isinstance(e, Entry):
        return e.flipped() if e.place == (frame.column, frame.row) != (frame.row, frame.column) else None
    for rule in MATRIX_RULES.values():
        plan = rule.plan(e, frame) if rule.plan is not None else None
        if plan is not None:
            n = plan.askew
            if n is None:
                return None
            return plan.rebuild((*plan.parts[:n], entry(plan.parts[n]).flipped(), *plan.parts[n + 1 :]))
    return None


@matrix_rule(
    "repeated over the left side",
    statement=r"c = (c\,\mathbf{1})_i",
    source="the product with a vector of ones",
    last=True,
)
def repeated_over_the_left_side(e: Expr, frame: Frame) -> Expr | None:
    """A right side that lacks an index of the left one: it is the same along that index."""
    mine = indices_of(e)
    if not ready(e) or not mine < frozenset((frame.row, frame.column)) - {""}:
        return None
    if not mine:
        return Entry(scaled([wrapped(e)], Ones(frame.rows, frame.columns)), frame.row, frame.column)
    by_row = frame.row in mine
    m = lying(entry(e), (frame.row, "") if by_row else ("", frame.column))
    scalars, m = scalar_and_rest(m)
    ones = Ones(None, frame.columns) if by_row else Ones(frame.rows, None)
    return Entry(scaled(scalars, matmul(m, ones) if by_row else matmul(ones, m)), frame.row, frame.column)


TRANSPOSE, REPEATED = "entry of the transpose", "repeated over the left side"
