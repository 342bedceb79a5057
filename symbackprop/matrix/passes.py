"""The matrix forms of a whole model, and of a derivation: which equations, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from symbackprop.derivation import Record
from symbackprop.derive import adjoints, backward_equations, decided, derive_all, solved
from symbackprop.errors import GoalError
from symbackprop.indices import Guard, fresh
from symbackprop.matrix.convert import Form, to_matrix
from symbackprop.matrix.frame import Layout, find_layout
from symbackprop.matrix.heads import InSample
from symbackprop.network import SAMPLES, System, with_upstream
from symbackprop.notation import Notation
from symbackprop.rules import Context
from symbackprop.symbols import Expr, Partial, Ref, Sum, bound, names, substitute, transform, walk, with_index

Equation: TypeAlias = tuple[Ref | Partial, Expr, Guard]


@dataclass(frozen=True)
class Row:
    """One equation of the forward or the backward pass, in matrix form or with the reason why it has none."""

    kind: Literal["forward", "backward"]
    form: Form


def matrix_forms(system: System, notation: Notation | None = None, layout: str | Layout = "column") -> list[Row]:
    """The equations of both passes of a model in matrix form, forward in their own order, backward in that of computing.

    Args:
        notation: Where it has letters for gradients (delta for z), the backward pass is written in these alone.
        layout: `column`, `row`, `batch` (samples in rows) or `batch-columns`. A model whose own equations count the
            samples is a batch as it stands: `batch` is then the same as `column`.

    Raises:
        GoalError: Samples in columns are asked of a model whose own equations count them.
        UnknownNameError: There is no layout of that name.
    """
    system = with_upstream(system)
    chosen = layout_for(system, layout)
    named = frozenset(notation.named if notation is not None else ()) & system.families.keys()
    rows = [Row("forward", _form(e, system, chosen)) for e in forward_pass(system)]
    return rows + [Row("backward", _form(e, system, chosen)) for e in backward_pass(system, named)]


def record_forms(record: Record, layout: str | Layout = "column") -> list[Row]:
    """The gradients of one derivation in matrix form, in the order in which it finds them."""
    chosen = layout_for(record.system, layout)
    return [Row("backward", _form(e, record.system, chosen)) for e in gradients(record)]


def layout_for(system: System, layout: str | Layout) -> Layout:
    """The layout as it applies to a model: only a model of one sample can be written for a batch of them."""
    chosen = find_layout(layout)
    if system.mean is None and chosen.samples == "columns":
        raise GoalError(
            "this model's equations count their samples themselves; ask for the layout column, row or batch"
        )
    return chosen if system.mean is not None or not chosen.samples else find_layout("column")


def forward_pass(system: System) -> Iterator[Equation]:
    """The defining equations, without the mean over samples, and without a cost that stands for the outputs."""
    mean = system.mean[0] if system.mean is not None else None
    for e in system.equations:
        artificial = bool(system.upstream) and e.lhs.family == system.cost
        if e.lhs.family != mean and not artificial:
            fixed = solved(e.guard, system.families[e.lhs.family].pattern, system)
            lhs = substitute(e.lhs, fixed)
            assert isinstance(lhs, Ref)
            yield narrowed((lhs, substitute(e.rhs, fixed), e.guard), system)


def backward_pass(system: System, named: frozenset[str]) -> list[Equation]:
    """The equations of the gradients: those of the named families and the parameters, or of every quantity."""
    if not named:
        found: list[Equation] = [(a.subject, a.value, a.guard) for a in adjoints(system)]
        return [narrowed(e, system) for e in in_order(found, system)]
    found = list(gradients(derive_all(system, named)))
    used = {f for _, value, _ in found for f in gradients_in(value)}
    kept = used | named | set(system.parameters)
    return [e for e in found if family_of(e[0]) in kept]


def gradients(record: Record) -> Iterator[Equation]:
    """The gradients that a derivation finds, each with the range in which it holds."""
    for subject, value, case in backward_equations(record):
        if isinstance(subject, Partial):
            inside = record.system.guard_of(subject.bottom) if isinstance(subject.bottom, Ref) else ()
            yield narrowed((subject, value, (*inside, *case)), record.system)


def narrowed(e: Equation, system: System) -> Equation:
    """An equation with what its range says of the letters on its left side, and nothing twice."""
    subject, value, guard = e
    mine = names(subject) - system.constants
    said = tuple(c for c in guard if c.expr.names & mine and c.expr.names <= mine | system.constants)
    return subject, value, decided(said, Context(system))


def gradients_in(e: Expr) -> list[str]:
    """The families by which the gradients in an expression are taken."""
    bottoms = (p.bottom for _, p in walk(e) if isinstance(p, Partial))
    return [b.family for b in bottoms if isinstance(b, Ref)]


def in_order(found: list[Equation], system: System) -> list[Equation]:
    """In the order of computing: each gradient after those that it uses, the ones by parameters and inputs last.

    Where gradients use each other from layer to layer, the one that a base case gives comes first.
    """
    rows: dict[str, list[Equation]] = {}
    for e in found:
        rows.setdefault(family_of(e[0]), []).append(e)
    based = [f for f, es in rows.items() if any(not gradients_in(value) for _, value, _ in es)]
    derived = [f for f in rows if system.families[f].kind == "derived"]
    out: list[str] = []

    def visit(family: str, above: tuple[str, ...]) -> None:
        if family in above or family in out or family not in rows:
            return
        for _, value, _ in rows[family]:
            for needed in gradients_in(value):
                visit(needed, (*above, family))
        out.append(family)

    for family in (*based, *derived, *rows):
        visit(family, ())
    return [e for family in out for e in rows[family]]


def family_of(subject: Ref | Partial) -> str:
    quantity = subject.bottom if isinstance(subject, Partial) else subject
    assert isinstance(quantity, Ref)
    return quantity.family


# ---------------------------------------------------------------- a batch of samples


def _form(e: Equation, system: System, layout: Layout) -> Form:
    subject, value, guard = e
    if not layout.samples:
        return to_matrix(subject, value, system, layout, guard)
    lifted, of_samples = lift(subject, value, system)
    return to_matrix(lifted, of_samples, system, layout, guard)


def lift(subject: Ref | Partial, value: Expr, system: System) -> tuple[Ref | Partial | InSample, Expr]:
    """An equation of one sample as one of a batch.

    What belongs to a sample gets the sample as an index. The cost, and its gradient by a parameter, become the mean over
    the samples, by the equation that defines the mean cost.
    """
    assert system.mean is not None
    i = fresh("i", names(value) | bound(value) | names(subject) | system.constants)
    of_sample = transform(value, lambda p: in_sample(p, i, system))
    quantity = subject.bottom if isinstance(subject, Partial) else subject
    assert isinstance(quantity, Ref)
    if system.families[quantity.family].kind == "parameter" and isinstance(subject, Partial):
        return Partial(Ref(system.mean[0], ()), quantity), mean_of(of_sample, i, system)
    if quantity.family == system.cost:
        return Ref(system.mean[0], ()), mean_of(of_sample, i, system)
    return InSample(subject, i), of_sample


def in_sample(p: Expr, i: str, system: System) -> Expr:
    quantity = p.bottom if isinstance(p, Partial) else p
    if not isinstance(p, Ref | Partial) or not isinstance(quantity, Ref):
        return p
    return p if isinstance(p, Ref) and system.families[p.family].kind == "parameter" else InSample(p, i)


def mean_of(value: Expr, i: str, system: System) -> Expr:
    """The mean over samples of a quantity of sample `i`, as the model's own equation has it."""
    assert system.mean is not None
    whole, each = system.mean
    definition = next(e.rhs for e in system.equations if e.lhs.family == whole)

    def filled(p: Expr) -> Expr:
        if isinstance(p, Sum) and p.axis == SAMPLES and p.index != i:
            p = with_index(p, i)
        if isinstance(p, Sum) and p.axis == SAMPLES:
            return p.rebuild((transform(p.body, lambda q: value if isinstance(q, Ref) and q.family == each else q),))
        return p

    return transform(definition, filled)
