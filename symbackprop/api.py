"""The public facades: networks, derivations, backward passes.

Thin: each holds frozen records and asks the layers below, which are imported when they are needed.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from symbackprop.errors import GoalError, ModelError
from symbackprop.models import find_model, find_notation, library_model, models, read
from symbackprop.notation import Notation

if TYPE_CHECKING:
    from symbackprop.codecheck import FunctionReport
    from symbackprop.compile import GradientFunction, ModelGradient
    from symbackprop.derivation import Record, Section, Step
    from symbackprop.network import System
    from symbackprop.read.model import Model
    from symbackprop.render.document import Document
    from symbackprop.report import Report
    from symbackprop.symbols import Expr, Family, Partial, Ref
    from symbackprop.verdict import Check


def dense(
    sizes: Sequence[int | str | None] | None = None,
    activation: Any = "generic",
    loss: Any = "sum_squares",
    bias: bool = False,
    *,
    layers: int | None = None,
    width: int | None = None,
    facts: Sequence[str] | None = None,
    notation: str | Notation = "deeplizard",
) -> Network:
    """A fully connected network, as the lessons write it.

    Args:
        sizes: n_0, ..., n_L; a letter or None for a symbolic width. None: L and all widths are symbols.
        activation: `generic` (g^(l), one for each layer), `same` (one generic for all), `identity`, `sigmoid`,
            `tanh`, `relu`, `leaky_relu`, `elu`, `softplus`, `silu`, `gelu`, `gelu_tanh`, `softmax`; a list with one for
            each layer; a SymPy expression in one symbol; or a Python function of one number.
        loss: `sum_squares`, `half_sum_squares`, `mean_squares`, `sum_absolute`, `huber`, `binary_cross_entropy`,
            `softmax_cross_entropy`, `generic`; a SymPy expression in a and y; or a Python function of (a, y).
        bias: Whether z_j^(l) has a term b_j^(l).
        layers, width: L, and one width for all layers, where no sizes are given; width=1 is a chain of single neurons.
        facts: Declared facts of the targets, such as `sum_j y_j = 1`. None: those that belong to the cost.
        notation: `deeplizard`, `3b1b`, `nielsen` or a Notation.

    Raises:
        ModelError: Sizes that are not positive, or lists that do not fit each other.
        UnknownNameError: No activation, cost or notation of that name.
        FunctionError: A Python function or SymPy expression that cannot be understood.

    >>> dense([2, 3, 1], activation="sigmoid", bias=True)
    Network(2-3-1, sigmoid, sum_squares, bias)
    """
    from symbackprop.network import dense_system

    system = dense_system(sizes, _activations(activation), _cost(loss), bias, layers=layers, width=width, facts=facts)
    shape = (
        "-".join("n" if n is None else str(n) for n in system.widths)
        if system.layers.value is not None
        else (f"L layers of {system.widths[0] or 'n_l'}")
    )
    label = ", ".join([shape, _name(activation), _name(loss), *(["bias"] if bias else [])])
    return Network(system, find_notation(notation), label)


def _name(x: Any) -> str:
    if isinstance(x, list | tuple):
        return "/".join(_name(i) for i in x)
    return x if isinstance(x, str) else getattr(x, "__name__", None) or getattr(x, "name", None) or str(x)


def _activations(activation: Any) -> Any:
    """Names stay; functions and SymPy expressions are read."""
    if isinstance(activation, list | tuple):
        read_all = [_activations(a) for a in activation]
        own = [a for a in read_all if not isinstance(a, str) and a is not None]
        if len(own) < 2:
            return read_all
        from symbackprop.own import distinct

        numbered = iter(distinct(own))
        return [a if isinstance(a, str) or a is None else next(numbered) for a in read_all]
    if isinstance(activation, str) or activation is None:
        return activation
    from symbackprop.own import activation as read

    return read(activation)


def _cost(loss: Any) -> Any:
    if isinstance(loss, str) or loss is None:
        return loss
    from symbackprop.own import cost as read

    return read(loss)


def load(model: str | os.PathLike[str], sizes: Any = None, **changes: Any) -> Network:
    """A built-in model by name, or the model in a file.

    Args:
        sizes: Numbers for sizes, last layers and strides by name, {"K": 3, "n_0": 784}; for a fully connected network
            also the list of its widths.
        changes: For a fully connected network, other arguments of `dense`: activation, loss, bias, facts, notation.

    Raises:
        UnknownNameError: No model of that name.
        ModelReadError: A file that is not understood, with line and column.
        ModelError: A file that cannot be read, or changes that the model does not take.

    >>> load("nielsen").notation.name
    'nielsen'
    >>> load("attention")
    Network(attention)
    """
    from symbackprop.network import dense_arguments

    found = find_model(model)
    numbers = dict(sizes) if isinstance(sizes, Mapping) else None
    made = library_model(found.name) if found == models().get(found.name) and not numbers else read(found, numbers)
    notation = find_notation(changes.pop("notation", made.notation))
    if sizes is not None and numbers is None:
        changes["sizes"] = sizes
        changes.setdefault("width", None)
    if not changes:
        return Network(made.system, notation, found.name, made)
    arguments = dense_arguments(made.system)
    if arguments is None:
        raise ModelError(
            f"{found.name} is no fully connected network, so it takes no {', '.join(sorted(set(changes) - {'width'}))}; "
            "give numbers for its sizes by name"
        )
    return dense(**{**arguments, **changes}, notation=notation)


class Network:
    """Equations, and the notation to write them in. Built by `dense` or `load`."""

    def __init__(self, system: System, notation: Notation, label: str = "", read: Model | None = None) -> None:
        self.stated, self.notation, self.label, self._read = system, notation, label, read

    @classmethod
    def from_latex(cls, text: str | bytes, sizes: Mapping[str, int] | None = None, name: str = "") -> Network:
        r"""The network that the text of a model file says.

        Raises:
            ModelReadError: What is not understood or has two readings, with line and column.

        >>> Network.from_latex(r"C = \sum_{j=1}^{J} (a_j - y_j)^2 \\ a_j = \sum_{k=1}^{K} w_{jk} x_k").derive("w_jk").result
        2(aⱼ − yⱼ) · xₖ
        """
        from dataclasses import replace

        from symbackprop.read.model import read_model

        if not isinstance(text, str | bytes):
            raise ModelError(f"the text of a model file is expected, str or bytes, found {type(text).__name__}")
        model = read_model(text, sizes=sizes)
        notation = replace(model.notation, name=name or model.notation.title or "model")
        return cls(model.system, notation, notation.name, model)

    @classmethod
    def from_equations(cls, equations: Sequence[Any], *, name: str = "", **declared: Any) -> Network:
        """The network that equations written with SymPy objects state: see `symbackprop.equations`.

        Args:
            equations: SymPy equations, or pairs of one with the condition under which it holds.
            declared: What equations leave open, as the `%|` lines of a model file: ranges, data, target, sizes, facts ...

        Raises:
            ModelError: An equation that is not understood; the message names it.

        >>> from sympy import Eq, Sum
        >>> from symbackprop.equations import families, indices, sizes
        >>> j, k = indices("j k")
        >>> J, K = sizes("J K")
        >>> C, a, w, x, y = families("C a w x y")
        >>> net = Network.from_equations(
        ...     [Eq(C, Sum((a[j] - y[j]) ** 2, (j, 1, J))), Eq(a[j], Sum(w[j, k] * x[k], (k, 1, K)))]
        ... )
        >>> net.derive("w_jk").result
        2(aⱼ − yⱼ) · xₖ
        """
        from dataclasses import replace

        from symbackprop.equations import read_equations

        model = read_equations(equations, **declared)
        notation = replace(model.notation, name=name or model.notation.title or "model")
        return cls(model.system, notation, notation.name, model)

    def model_text(self, notation: str | Notation | None = None) -> str:
        """The network as a model file, which reads back as an equal network."""
        from symbackprop.render.model import model_text

        return model_text(self.stated, self.notation if notation is None else find_notation(notation))

    @cached_property
    def system(self) -> System:
        """The equations with a cost: a model that states none has the inner product of its outputs with a gradient
        that comes from outside."""
        from symbackprop.network import with_upstream

        return with_upstream(self.stated)

    def __repr__(self) -> str:
        return f"Network({self.label})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and (self.stated, self.notation) == (other.stated, other.notation)

    def __hash__(self) -> int:
        return hash((self.stated, self.notation.name))

    def __getitem__(self, family: str) -> Any:
        """A family as a SymPy object: `net["w"][l, j, k]` prints as w_jk^(l).

        Raises:
            UnknownFamilyError: No such family.
        """
        self.system.family(family)
        return self._sympy_families[family]

    @cached_property
    def _sympy_families(self) -> Mapping[str, Any]:
        from symbackprop.sympy_bridge import family_symbols

        return family_symbols(self.system)

    def symbols(self) -> SymbolTable:
        """The notation table: symbol, meaning, range, role of every family."""
        return SymbolTable(self, None)

    # ------------------------------------------------------------ derivations

    def derive(self, goal: Any = None, given: Sequence[str] = ()) -> Derivation:
        """Derive the gradient that a goal names.

        Args:
            goal: LaTeX, the short form (`w_jk^l`, `w_12^L`, `a_2^{L-1}`, `dC0/dw_jk^L`, `w_j^l` for the weight vector,
                `dC/dw_jk^l` for the mean over samples, `x_k`, `delta_j^l`), or an element of a SymPy family of this network.
                None: the textbook goal, the cost by a general weight.
            given: Families whose values the reader has saved; the result is brought into their terms.

        Raises:
            GoalError: The goal cannot be read, or names what the network lacks.
        """
        return Derivation(self, self.goal(goal), given=self._families(given))

    def _families(self, names: Sequence[str] | str) -> frozenset[str]:
        found = frozenset((names,) if isinstance(names, str) else names)
        for name in found:
            self.system.family(name)
        return found

    def goal(self, goal: Any) -> Partial:
        from symbackprop.symbols import Partial, Ref

        if goal is None:
            return Partial(Ref(self.system.cost, ()), self.system.family(self._first_goal()).pattern)
        if isinstance(goal, str):
            from symbackprop.read.goal import read_goal

            return read_goal(goal, self.system, self.notation)
        from symbackprop.sympy_bridge import goal_ref

        ref = goal_ref(goal, self.system)
        wrong = self.system.out_of_range(ref)
        if wrong is not None:
            raise GoalError(f"{goal}: {wrong}")
        return Partial(Ref(self.system.cost, ()), ref)

    def check(
        self,
        text: str | bytes,
        goal: str | None = None,
        let: Sequence[str] = (),
        name: str = "",
        explain: bool = True,
    ) -> Report:
        r"""A verdict on hand-written maths: each claim proved, refuted with numbers and its slip named, or left open.

        Args:
            text: A formula, a derivation, or a whole document in LaTeX, in Markdown or as a notebook; its bytes or its text.
            goal: What was asked, as for `derive`: `report.answered` says whether a proved line answers it.
            let: Names that the author has for symbols of this network: `["E=C_0", r"\sigma=g"]`.
            name: Of the file, for the report.
            explain: Put the derivation of the right answer beside each refuted claim.

        Raises:
            GoalError: The goal is no derivative of this network.
            ReadError: A renaming in `let` is not understood. Of `text` nothing is ever raised.
            UnknownNameError: A renaming is of what is no symbol of this network.

        >>> report = dense().check(r"\frac{\partial C_0}{\partial a_j^{(L)}} = a_j^{(L)} - y_j")
        >>> report.verdict, report.claims[0].causes[0]
        ('refuted', 'factor')
        """
        from symbackprop.errors import UnknownNameError
        from symbackprop.judge import Setting, check, known_symbol
        from symbackprop.read.handin import read_let

        if not isinstance(text, str | bytes):
            raise ModelError(f"the text of a hand-in is expected, str or bytes, found {type(text).__name__}")
        lets = tuple(read_let(x) for x in let)
        for r in lets:
            if not known_symbol(self.system, self.notation, r.old):
                known = ", ".join(s for s in self.system.families)
                raise UnknownNameError(f"let {r.new} = {r.old}: {r.old} is no symbol of this network; known: {known}")
        return check(
            Setting(self.system, self.notation),
            text,
            goal=self.goal(goal) if goal is not None else None,
            asked=goal or "",
            lets=lets,
            name=name,
            model=self.label,
            explain=self._explained if explain else None,
        )

    def _explained(self, left: Expr) -> tuple[tuple[str, str], ...]:
        """The lines to the right answer for a left side: names of rules and LaTeX."""
        from symbackprop.errors import SymbackpropError
        from symbackprop.symbols import Partial

        if not isinstance(left, Partial):
            return ()
        try:
            record = Derivation(self, left).record
        except SymbackpropError:
            return ()
        lines = []
        for section in record.sections:
            rules = dict.fromkeys(s.rule for s in section.steps if s.level.name == "LECTURE") or {
                section.steps[-1].rule: None
            }
            equation = (ExprView(self, e).latex() for e in (section.subject, section.result))
            lines.append((", ".join(rules), " = ".join(equation)))
        return tuple(lines)

    def _first_goal(self) -> str:
        """The family of the textbook goal: the first parameter that the cost depends on, or else the first datum."""
        from symbackprop.rules.graph import reaches

        outside = set(self.system.upstream.values())
        for kind in ("parameter", "input", "derived"):
            for name, f in self.system.families.items():
                if f.kind == kind and f.over is None and name not in outside:
                    if reaches(self.system, name, self.system.cost):
                        return name
        raise GoalError("the cost of this model depends on nothing that it could be differentiated by")

    # ------------------------------------------------------------ further derivatives

    @cached_property
    def with_gradients(self) -> Network:
        """The model together with its backward pass, as a model: second derivatives are derivatives in it."""
        from symbackprop.further import with_gradients

        return Network(with_gradients(self.stated), self.notation, self.label)

    def jacobian(self, of: Any, by: Any) -> JacobianDerivation:
        """Derive the derivative of any quantity by any other, such as `jacobian("a_i^L", "x_k")`.

        Its `.function()` computes it from arrays.
        """
        from symbackprop.further import distinct
        from symbackprop.symbols import Partial

        above, below = self._quantity(of), self._quantity(by)
        return JacobianDerivation(self, Partial(above, distinct(below, above, self.system)))

    def hessian(self, first: Any = None, second: Any = None) -> JacobianDerivation:
        """Derive a second derivative of the cost: by `first`, then by `second` (None: the same family again).

        Its `.function()` computes it from arrays.
        """
        from symbackprop.further import distinct, gradient_of
        from symbackprop.symbols import Partial

        one = self._quantity(first)
        other = one if second is None else self._quantity(second)
        net = self.with_gradients
        above = gradient_of(one, net.system)
        return JacobianDerivation(net, Partial(above, distinct(other, above, net.system)))

    def hessian_vector(self, wrt: Any = None) -> HessianVector:
        """The Hessian of the cost times a direction in the parameters: derived, and as a function of arrays."""
        return HessianVector(self, self._by(wrt))

    def gauss_newton(self, of: Any, wrt: Any = None) -> GaussNewton:
        """Gauss and Newton's approximation of the Hessian, times a direction: J^T H J v.

        Args:
            of: The output, such as `a_j^L`; J is its Jacobian, H the Hessian of the cost by it.
        """
        return GaussNewton(self, self._quantity(of), self._by(wrt))

    def _quantity(self, goal: Any) -> Ref:
        from symbackprop.symbols import Ref

        below = self.goal(goal).bottom
        if not isinstance(below, Ref):
            raise GoalError("one entry is needed here; name all its indices")
        return below

    def _by(self, wrt: Any) -> tuple[str, ...]:
        """The families to differentiate by: parameters, or the data where there are none."""
        if wrt is not None:
            return tuple(sorted(self._families(wrt)))
        return self.system.parameters or (self._first_goal(),)

    def backward(self) -> BackwardPass:
        """The whole backward pass: its equations, as a loop in pseudocode, and as code."""
        return BackwardPass(self)

    def matrix(self, layout: str = "column") -> MatrixForms:
        """Both passes in matrix form, derived from the index form, each line with its shapes.

        Args:
            layout: `column` (vectors are columns), `row`, or `batch` (samples in rows).
        """
        return MatrixForms(self, layout)

    def update(self, goal: Any = None) -> Derivation:
        """The step of gradient descent w <- w - eta dC/dw, C the cost averaged over the samples."""
        from symbackprop.symbols import Partial, Ref

        partial = self.goal(goal)
        cost = self.system.mean[0] if self.system.mean is not None else self.system.cost
        return Derivation(self, Partial(Ref(cost, ()), partial.bottom), update=True)

    # ------------------------------------------------------------ numbers

    def forward(self, params: Mapping[str, Any] | None = None, x: Any = None, **arrays: Any) -> dict[str, Any]:
        """Every derived quantity by name.

        Of a layered network: {"z": [z_1, ...], "a": [a_0, ...], "output": a_L}. Of any other model, whose arrays are
        given by name (`forward(Q=Q, K=K, V=V)`, or as a dict): one array for each family.
        """
        from symbackprop.compile import forward

        return forward(self.stated, {**(params or {}), **arrays} if arrays or params is None else params, x)

    def gradient(
        self,
        backend: str = "numpy",
        wrt: Any = None,
        of: Any = None,
        given: Sequence[str] = (),
        sizes: Mapping[str, int] | None = None,
    ) -> GradientFunction | ModelGradient:
        """Compile the gradient into a function of arrays.

        Args:
            backend: `numpy`, or `auto` for the fastest there is.
            wrt: Families to differentiate by; None: all parameters.
            of: None: the cost. A quantity, such as `a_j^L`: its vector-Jacobian product.
            given: Derived families whose values the caller has saved and passes; sums that are one of them are not
                computed anew.
            sizes: Integers that no array tells, such as strides.

        Returns:
            For a layered network `f(params, x, y)`, see `GradientFunction`; for any other model `f(**arrays)` with
            arrays by name, and `upstream={"O": dO}` where it has no cost of its own, see `ModelGradient`.
        """
        from symbackprop.compile import compile_gradient
        from symbackprop.derive import adjoints

        if of is not None and of not in (self.system.cost, *(self.system.mean or ())[:1]):
            return self.toward(of).gradient(backend, wrt, None, given, sizes)
        self._validated  # noqa: B018 - a number that does not exist must not count as 0
        saved = self._families(given)
        backward = adjoints(self.system, saved) if saved else self._adjoints
        return compile_gradient(
            self.system,
            backward,
            backend=backend,
            wrt=wrt,
            given=tuple(given),
            describe=self.describe,
            sizes={**self.system.sizes, **(sizes or {})},
        )

    def check_function(
        self,
        backward: Any,
        wrt: Any = None,
        samples: int = 20,
        rtol: float | None = None,
        seed: int = 0,
        **options: Any,
    ) -> FunctionReport:
        """Compare someone's backward pass, as code, with the derived gradient, and name the slip where they differ.

        It runs that code, in this process, with all that the code may do: check only code that you would run anyway.

        Args:
            backward: It is called as `net.gradient()` is: `backward(params, x, y)` for a layered network, else arrays by
                name, with `upstream={"O": dO}` for a model without a cost. It returns the gradients in that structure, or
                the same arrays as a list, a tuple or a pair (cost, gradients).
            wrt: Families that it differentiates by; None: all parameters.
            samples: On how many networks with random numbers it is tried.
            rtol: The relative difference in norm that counts as right; None: what the dtype of the result allows.
            seed: Of the random numbers.
            options: `array` ("torch", "jax" or a function of a NumPy array) for what it takes instead of NumPy arrays;
                `dtype` of the arrays it is given; `sizes` and `values` of a model's sizes and scalars, by name; `upstream`,
                the outputs that have a gradient from outside.

        Raises:
            FunctionError: `backward` is no function, or the network's activation is generic and it does not take one.

        >>> def backward(params, x, y):
        ...     (w,), (b,) = params["w"], params["b"]
        ...     delta = 2 * (x @ w.T + b - y)
        ...     return {"w": [delta.T @ x / len(x)], "b": [delta.sum(axis=0)]}
        >>> report = dense([3, 2], activation="identity", bias=True).check_function(backward)
        >>> report.verdict, report.arrays[1].name, report.arrays[1].message
        ('wrong', "grads['b'][0]", 'summed over the batch, not averaged')
        """
        from symbackprop.codecheck import check_function

        return check_function(self, backward, wrt, samples, rtol, seed, **options)

    def with_functions(self, **functions: Any) -> Network:
        """The model with definitions for its generic functions: names of activations, SymPy expressions or Python
        functions, or a list with one for each layer.

        >>> load("dense").with_functions(g="tanh").gradient(wrt=["W"])
        <gradient of C by W; .source shows its code>
        """
        from symbackprop.network import with_functions

        written = {latex.lstrip("\\"): n for n, latex in self.notation.letters.items()}
        read_all = {written.get(n, n): _activations(f) for n, f in functions.items()}
        return Network(with_functions(self.stated, read_all), self.notation, self.label)

    def toward(self, *quantities: Any) -> Network:
        """The model with the inner product of these quantities and gradients from outside as its cost."""
        from symbackprop.network import with_upstream

        return Network(with_upstream(self.stated, [self._quantity(q) for q in quantities]), self.notation, self.label)

    @cached_property
    def _validated(self) -> bool:
        from symbackprop.check import validate

        if self.stated.mean is None:  # the lessons' networks are built right
            validate(self.system)
        return True

    @cached_property
    def _adjoints(self) -> Any:
        from symbackprop.derive import adjoints

        return adjoints(self.system)

    def describe(self, e: Expr) -> str:
        """An expression on one line of text, in this network's notation."""
        from symbackprop.render.text import Text

        return Text(self.system, self.notation)(e)

    @property
    def is_layered(self) -> bool:
        """Whether its arrays differ in shape from layer to layer, so that they come in lists."""
        return any(a.at is not None for f in self.system.families.values() for a in f.axes)

    def module(self) -> str:
        """The text of a module that computes the gradient with NumPy alone, and checks itself when it is run.

        Raises:
            ModelError: A size that is no number, or a model that cannot be compiled.
        """
        from symbackprop.compile import write_model_module, write_module

        if self.is_layered:
            return write_module(self.system, self._adjoints, text=self.describe)
        title = f"{self.label}: the model and its gradient."
        return write_model_module(self.system, self._adjoints, text=self.describe, title=title)

    def overview(self, *, ascii: bool = False, columns: int = 100) -> str:
        """What was understood of the model: its equations, symbols, sizes and notation, and which line says so."""
        from symbackprop.render import formats
        from symbackprop.render.overview import overview

        found = self._read.provenance if self._read is not None else ()
        return formats.text(overview(self.stated, self.notation, self.label, found), ascii_only=ascii, columns=columns)

    def in_notation(self, notation: str | Notation | Network) -> Network:
        """The same network, written as another model writes what corresponds to it.

        Args:
            notation: A Notation, or a model: a Network, or the name or file of one. Which of its families correspond to
                which of these is found from the equations, else from their roles.

        Raises:
            ModelError: The two models do not correspond.
        """
        if isinstance(notation, Notation):
            return Network(self.stated, notation, self.label, self._read)
        return Network(self.stated, self._written_as(notation), self.label, self._read)

    def translation(self, notation: str | Network) -> SymbolTranslation:
        """The table that translates the symbols of this network into those of another model."""
        from symbackprop.correspond import correspondence

        other = notation if isinstance(notation, Network) else load(notation)
        return SymbolTranslation(self, other, correspondence(self.stated, other.stated))

    def _written_as(self, notation: str | Network) -> Notation:
        if not isinstance(notation, Network) and find_model(notation).name == self.notation.name:
            return self.notation
        other = notation if isinstance(notation, Network) else load(notation)
        if self.stated.mean is not None and other.stated.mean is not None:
            return other.notation  # the lessons' networks have the same families
        from symbackprop.translate import translate

        return translate(self.stated, self.notation, other.stated, other.notation)


class Rendered(ABC):
    """What can be shown: as text, LaTeX, Markdown, HTML or JSON."""

    network: Network

    @abstractmethod
    def _document(self, detail: str, notation: Notation, check: bool) -> Document: ...

    def _default_detail(self) -> str:
        return "lecture"

    def _made(self, detail: str, notation: str | Notation | None, check: bool = True) -> Document:
        return self._document(detail, self._chosen(notation), check)

    def _chosen(self, notation: str | Notation | None) -> Notation:
        """The notation asked for: one, or that of a model, in terms of this network."""
        if notation is None:
            return self.network.notation
        return notation if isinstance(notation, Notation) else self.network._written_as(notation)

    def text(
        self,
        detail: str = "lecture",
        notation: str | Notation | None = None,
        *,
        ascii: bool = False,
        columns: int = 100,
    ) -> str:
        """Lines for a terminal."""
        from symbackprop.render import formats

        return formats.text(self._made(detail, notation), ascii_only=ascii, columns=columns)

    def latex(self, detail: str = "lecture", notation: str | Notation | None = None, standalone: bool = False) -> str:
        """LaTeX for amsmath: a fragment, or a document that stands alone."""
        from symbackprop.render import formats

        return formats.latex(self._made(detail, notation), standalone)

    def markdown(self, detail: str = "lecture", notation: str | Notation | None = None) -> str:
        """Markdown with $$ displays."""
        from symbackprop.render import formats

        return formats.markdown(self._made(detail, notation))

    def html(self, detail: str = "lecture", notation: str | Notation | None = None) -> str:
        """One page with everything in it; it opens without a network."""
        from symbackprop.render.html import html

        documents = {name: self._made(name, notation) for name in ("brief", "lecture", "full")}
        return html(documents, detail)

    def save(
        self, path: str | os.PathLike[str], detail: str = "lecture", notation: str | Notation | None = None
    ) -> None:
        """Write to a file; its ending (.html, .tex, .md, .json, .txt) says in which format.

        Raises:
            OutputError: The file cannot be written.
            UnknownNameError: An ending that names no format.
        """
        from symbackprop.output import format_of_file, write_file

        form = format_of_file(path)
        write_file(path, self.render(form.name, detail, notation, standalone=True))

    def render(
        self, form: str, detail: str = "lecture", notation: str | Notation | None = None, *, standalone: bool = False
    ) -> str:
        """By the name of a format: text, tex, md, html or json; `standalone` makes a LaTeX document."""
        from symbackprop.output import find_format

        method = find_format(form).method
        if method == "latex":
            return self.latex(detail, notation, standalone)
        return str(getattr(self, method)(detail, notation))

    @abstractmethod
    def json(self, detail: str = "lecture", notation: str | Notation | None = None) -> str: ...

    def _repr_latex_(self) -> str:
        from symbackprop.render import formats

        document = self._made(self._default_detail(), None)
        return formats.notebook(document)

    def outcome(self, notation: Notation) -> str:
        """`proved`, `refuted` or `undecided`; what makes no claim is proved."""
        return "proved"

    def __str__(self) -> str:
        return self.text()


class Recorded(Rendered):
    """What rests on a record of steps: one for each choice of gradients that a notation has letters for."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._records: dict[frozenset[str], Record] = {}
        self._checks: dict[frozenset[str], Check] = {}

    @abstractmethod
    def _derive(self, named: frozenset[str]) -> Record:
        """The record in which the gradients by the families `named` keep their names."""

    def _named(self, notation: Notation) -> frozenset[str]:
        return frozenset(n for n in notation.named if n in self.network.system.families)

    def _record(self, notation: Notation) -> Record:
        named = self._named(notation)
        if named not in self._records:
            try:
                self._records[named] = self._derive(named)
            except RecursionError:
                raise GoalError(
                    "this network has too many layers to unroll one by one; "
                    "derive the general layer instead, in a network with symbolic L"
                ) from None
        return self._records[named]

    @property
    def record(self) -> Record:
        return self._record(self.network.notation)

    def check(self, seed: int = 0) -> Check:
        """Apply every rule again and evaluate both sides of every step on sample networks."""
        from symbackprop.check import check_record

        return check_record(self.record, seed)

    def _checked(self, notation: Notation) -> Check:
        from symbackprop.check import check_record

        named = self._named(notation)
        if named not in self._checks:
            self._checks[named] = check_record(self._record(notation))
        return self._checks[named]

    def outcome(self, notation: Notation) -> str:
        return self._checked(notation).verdict

    def json(self, detail: str = "lecture", notation: str | Notation | None = None) -> str:
        """Everything as data: each step with its rule, and each factor with its role, family and indices."""
        from symbackprop.render import formats

        chosen = self._chosen(notation)
        return formats.to_json(self._record(chosen), self._document(detail, chosen, False), self._checked(chosen))


class Derivation(Recorded):
    """The derivation of one gradient: steps, result, check, and its renderings.

    Attributes:
        steps: Every step, each with its rule, both sides, and LaTeX of its own.
        result: The answer as an expression of this package; `to_sympy()` gives it as SymPy.
    """

    def __init__(
        self, network: Network, goal: Partial, update: bool = False, given: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(network)
        self.goal, self._update, self._given = goal, update, given
        self._record(network.notation)

    def _derive(self, named: frozenset[str]) -> Record:
        from symbackprop.derive import derive, with_update

        record = derive(self.network.system, self.goal, named=named, given=self._given)
        return with_update(record) if self._update else record

    @property
    def steps(self) -> tuple[StepView, ...]:
        return tuple(
            StepView(self.network, section, step) for section in self.record.sections for step in section.steps
        )

    @property
    def result(self) -> ExprView:
        return ExprView(self.network, self.record.result)

    @property
    def cases(self) -> dict[str, ExprView]:
        """The answer by case, where the layer is general: {"l = L": ..., "l < L": ...}."""
        from symbackprop.render.formats import constraints
        from symbackprop.render.text import Ascii

        printer = Ascii(self.network.system, self.network.notation)
        return {constraints(g, printer): ExprView(self.network, e) for g, e in self.record.cases}

    def to_sympy(self) -> Any:
        """The result as an ordinary, evaluated SymPy expression."""
        return self.result.to_sympy()

    def symbols(self) -> SymbolTable:
        """The notation table of the symbols in this derivation."""
        from symbackprop.symbols import families

        used = frozenset().union(*(families(s.after) | families(s.before) for s in self.record.steps))
        return SymbolTable(self.network, used)

    def sums(self) -> list[SumView]:
        """Each sum of the definitions: as a sum, written out, and as a loop."""
        from symbackprop.render.document import used_equations
        from symbackprop.symbols import Sum, walk

        return [
            SumView(self.network, e, p)
            for e in used_equations(self.record)
            for _, p in walk(e.rhs)
            if isinstance(p, Sum) and p.axis.kind == "node"
        ]

    def composition(self) -> str:
        """Which quantity depends on which, as LaTeX: C_0(a(z(w)))."""
        from symbackprop.derive import composition_line
        from symbackprop.rules import Context

        line = composition_line(Context(self.network.system))
        if line is None:
            return ""
        cost, composed = ExprView(self.network, line.subject), ExprView(self.network, line.current)
        return f"{cost.latex()} = {composed.latex()}"

    def lambdify(self, modules: str = "numpy") -> Any:
        """The scalar formula of one entry of a small network as a function of (params, x, y), by SymPy's lambdify.

        Raises:
            ModelError: Sizes or indices that are symbols, or a formula that is too large.
        """
        from symbackprop.derive import one_step_results
        from symbackprop.symbols import Ref
        from symbackprop.sympy_bridge import lambdify_result

        if self._update or not isinstance(self.goal.bottom, Ref) or self.goal.top.family != self.network.system.cost:
            raise GoalError(
                f"lambdify makes a function of one entry of the gradient of {self.network.system.cost}, "
                "such as w_12^1; for arrays and means use net.gradient()"
            )
        resolve = one_step_results(self.network.system)
        return lambdify_result(self.goal, self.network.system, modules=modules, resolve=resolve)

    def at(self, params: Mapping[str, Any], x: Any, y: Any, **indices: int) -> DerivationAt:
        """The derivation with the numbers of one network: symbols, numbers, value for every line.

        Args:
            params, x, y: Arrays of one sample, as for the gradient function.
            indices: Values of the goal's free letters, in the notation's own counting (`j=1, k=2`, and `l=2`).
                A letter that is not given takes its first value; the layer l the last.
        """
        return DerivationAt(self, params, x, y, indices)

    def _document(self, detail: str, notation: Notation, check: bool) -> Document:
        from symbackprop.derivation import Detail
        from symbackprop.render.document import build

        level = Detail.named(detail)
        return build(self._record(notation), notation, level, self._checked(notation) if check else None)

    def __repr__(self) -> str:
        return f"Derivation({self.network.describe(self.goal)})"


class JacobianDerivation(Derivation):
    """The derivation of the derivative of one quantity by another, also as a function of arrays."""

    def function(self, sizes: Mapping[str, int] | None = None) -> JacobianFunction:
        """Compile it; see `JacobianFunction`.

        Args:
            sizes: Integers that no array tells, such as strides.
        """
        from symbackprop.symbols import Ref

        assert isinstance(self.goal.bottom, Ref)
        return JacobianFunction(self.network, self.goal.top, self.goal.bottom, sizes)


class JacobianFunction:
    """A Jacobian or Hessian as an array: `f(params, x, y)` or `f(Q=Q, ...)`, the arrays of the gradient function.

    The result has the axes of the quantity above, then those of the one below, each without the indices that are
    fixed: `jacobian("a_i^L", "x_k")` is (n_L, n_0). Of a quantity that runs over time, h_1 comes first. It is
    computed row by row, one derived gradient for each entry above, or column by column where those are fewer.

    Of a batch for a layered network, a Hessian by parameters is that of the mean over the samples, as the gradient is;
    anything else has the axis of the samples in front.
    """

    def __init__(self, network: Network, above: Ref, below: Ref, sizes: Mapping[str, int] | None = None) -> None:
        from symbackprop.compile import is_layered

        self.network, self.above, self.below = network, above, below
        self.sizes = {**network.system.sizes, **(sizes or {})}
        self.layered = is_layered(network.system)
        families = network.system.families
        owner = network.system.gradients.get(above.family, ("", ""))[1]
        self.symmetric = owner if owner in families else ""
        self.mean = bool(owner) and all(families[n].kind == "parameter" for n in (owner, below.family))

    @cached_property
    def _rows(self) -> Any:
        return self._by_rows(self.above, self.below)

    def _by_rows(self, above: Ref, below: Ref, *, turned: bool = False) -> Any:
        """One gradient for each entry above."""
        from symbackprop.compile.products import Block, NamedGradient, Rows, needed
        from symbackprop.derive import adjoints
        from symbackprop.network import with_upstream

        system = needed(with_upstream(self.network.stated, [above]), (below.family,))
        bar = system.upstream[above.family]
        gradient = NamedGradient(system, adjoints(system), (below.family,), self.sizes, layered=self.layered)
        return Rows(gradient, Block(system.families[bar].pattern, system), Block(below, system), bar, turned)

    @cached_property
    def _columns(self) -> Any:
        """One product with the Jacobian for each entry below; of a Hessian its rows, since it is symmetric."""
        from symbackprop.compile.products import Block, Columns, NamedGradient, needed
        from symbackprop.derive import adjoints
        from symbackprop.further import DIRECTION, along, gradient_of, with_gradients
        from symbackprop.network import with_upstream
        from symbackprop.symbols import Ref

        if self.symmetric:
            turned = gradient_of(self.below, self.network.system)
            return self._by_rows(turned, Ref(self.symmetric, self.above.indices), turned=True)
        alone = with_upstream(self.network.stated, [self.above])
        bar = alone.upstream[self.above.family]
        system = needed(along(with_gradients(alone), [self.below.family]), (bar,))
        gradient = NamedGradient(system, adjoints(system), (bar,), self.sizes, layered=False)
        above = Block(alone.families[bar].pattern, alone)
        return Columns(gradient, above, Block(self.below, alone), bar, self.below.family + DIRECTION)

    def _plan(self, numbers: Mapping[str, int]) -> Any:
        """By rows or by columns, whichever are fewer."""
        from symbackprop.compile.products import Block
        from symbackprop.network import with_upstream

        alone = with_upstream(self.network.stated, [self.above])
        bar = alone.families[alone.upstream[self.above.family]].pattern
        above, below = Block(bar, alone).count(numbers), Block(self.below, alone).count(numbers)
        if below >= above:
            return self._rows
        kind = self.network.system.families[self.below.family].kind
        possible = self.symmetric or (not self.layered and kind in ("parameter", "input"))
        return self._columns if possible and self._depends else self._rows

    @cached_property
    def _depends(self) -> bool:
        from symbackprop.rules.graph import reaches

        system, top = self.network.system, self.above.family
        return reaches(system, self.below.family, system.cost if self.symmetric else top)

    def __call__(
        self,
        params: Mapping[str, Any] | None = None,
        *data: Any,
        upstream: Mapping[str, Any] | None = None,
        **arrays: Any,
    ) -> Any:
        from symbackprop.compile import products

        system = self.network.system
        named = products.by_name(system, self.layered, params, data, {**arrays, **_from_outside(system, upstream)})
        numbers = products.numbers_of(system, named, self.sizes, self.layered)
        plan = self._plan(numbers)
        samples = products.samples_of(system, named, self.layered)
        if samples is None or self.mean or self.network.system.families[plan.below.ref.family].kind != "parameter":
            return plan(named, numbers, samples, self.mean)
        return products.stacked(
            plan(products.one_sample(system, named, n), numbers, None, False) for n in range(samples)
        )

    @property
    def source(self) -> str:
        """The code of the gradient of one entry."""
        return str(self._rows.gradient.source)

    def __repr__(self) -> str:
        return f"<array of {self.network.describe(self.above)} by {self.network.describe(self.below)}>"


def _from_outside(system: System, upstream: Mapping[str, Any] | None) -> dict[str, Any]:
    """Gradients from outside under the names of their families."""
    for name in upstream or {}:
        if name not in system.upstream:
            known = ", ".join(system.upstream) or "none, since the model has a cost"
            raise GoalError(f"upstream[{name!r}]: {name} is no output of this model; outputs: {known}")
    return {system.upstream[name]: a for name, a in (upstream or {}).items()}


class DerivationAt(Derivation):
    """A derivation with numbers in."""

    def __init__(
        self, derivation: Derivation, params: Mapping[str, Any], x: Any, y: Any, indices: Mapping[str, int]
    ) -> None:
        from symbackprop.numbers import numeric_instance

        self._numbers = numeric_instance(
            derivation.network.system, derivation.network.notation, derivation.goal, params, x, y, indices
        )
        super().__init__(derivation.network, self._numbers.goal, derivation._update)

    @property
    def value(self) -> float:
        """The value of the result."""
        return self._numbers.value(self.record.result)

    def _document(self, detail: str, notation: Notation, check: bool) -> Document:
        return self._numbers.fill(super()._document(detail, notation, check))

    def _record(self, notation: Notation) -> Record:
        record = super()._record(notation)
        self._numbers.learn(record)
        return record


class ExprView:
    """An expression of a network, for display and conversion."""

    def __init__(self, network: Network, expression: Expr) -> None:
        self.network, self.expression = network, expression

    def latex(self, notation: str | Notation | None = None) -> str:
        from symbackprop.render.latex import Latex

        chosen = notation if isinstance(notation, Notation) else None
        if notation is not None and chosen is None:
            chosen = self.network._written_as(notation)  # type: ignore[arg-type]
        return Latex(self.network.system, chosen or self.network.notation)(self.expression)

    def text(self) -> str:
        return self.network.describe(self.expression)

    def to_sympy(self) -> Any:
        from symbackprop.sympy_bridge import to_sympy

        return to_sympy(self.expression, self.network.system)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def __eq__(self, other: object) -> bool:
        from symbackprop.symbols import same

        return isinstance(other, ExprView) and same(self.expression, other.expression)

    def __hash__(self) -> int:
        from symbackprop.symbols import canonical

        return hash(canonical(self.expression))


class StepView:
    """One step: subject = ... = `before` = `after`, by `rule`."""

    def __init__(self, network: Network, section: Section, step: Step) -> None:
        self.network, self.section, self.step = network, section, step

    @property
    def rule(self) -> str:
        return self.step.rule

    @property
    def detail(self) -> str:
        """The smallest detail at which it has a line of its own."""
        return self.step.level.name.lower()

    @property
    def subject(self) -> ExprView:
        return ExprView(self.network, self.section.subject)

    @property
    def before(self) -> ExprView:
        return ExprView(self.network, self.step.before)

    @property
    def after(self) -> ExprView:
        return ExprView(self.network, self.step.after)

    def latex(self, notation: str | Notation | None = None) -> str:
        return f"{self.before.latex(notation)} = {self.after.latex(notation)}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.latex()} \qquad \text{{{self.rule}}}$"

    def __repr__(self) -> str:
        return f"{self.before.text()} = {self.after.text()}  [{self.rule}]"


class SumView:
    """A sum, written out, and as the loop that a programmer would write."""

    def __init__(self, network: Network, equation: Any, sigma: Any) -> None:
        self.network, self.equation, self.sigma = network, equation, sigma

    @property
    def written_out(self) -> ExprView:
        from symbackprop.rules.sums import points
        from symbackprop.symbols import WrittenOut

        return ExprView(self.network, WrittenOut(self.sigma, points(self.network.system, self.sigma, ())))

    @property
    def loop(self) -> str:
        from symbackprop.render.loops import loop

        return loop(self.equation, self.network.system)

    def latex(self, notation: str | Notation | None = None) -> str:
        return f"{ExprView(self.network, self.sigma).latex(notation)} = {self.written_out.latex(notation)}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __repr__(self) -> str:
        return f"{self.network.describe(self.sigma)} = {self.written_out.text()}"


class SymbolTable(Rendered):
    """The notation table; iterating gives one dictionary for each symbol."""

    def __init__(self, network: Network, only: frozenset[str] | None) -> None:
        self.network, self._only = network, only

    def _document(self, detail: str, notation: Notation, check: bool) -> Document:
        from symbackprop.render.document import Document
        from symbackprop.render.overview import symbol_table

        table = symbol_table(self.network.system, self._only, notation)
        return Document(("Symbols",), (table,), self.network.system, notation)

    def __iter__(self) -> Iterator[dict[str, str]]:
        from symbackprop.render.formats import inline
        from symbackprop.render.text import Text

        printer = Text(self.network.system, self.network.notation)
        table: Any = self._made("lecture", None).blocks[0]
        for row in table.rows:
            yield dict(zip(table.header, (inline(c, printer, str, str) for c in row), strict=True))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def json(self, detail: str = "lecture", notation: str | Notation | None = None) -> str:
        import json

        return json.dumps({"schema": 1, "symbols": list(self)}, ensure_ascii=False, indent=2) + "\n"

    def __repr__(self) -> str:
        return self.text()


class SymbolTranslation:
    """Which symbol of one model is which of another; iterating gives one dictionary for each."""

    def __init__(self, network: Network, other: Network, found: Any) -> None:
        self.network, self.other, self.found = network, other, found

    def lines(self, printer: Any = None) -> Any:
        from symbackprop.render.text import Text
        from symbackprop.translate import table

        return table(self.found, self.network.notation, self.other.notation, printer or Text)

    def __iter__(self) -> Iterator[dict[str, str]]:
        for line in self.lines():
            yield {"here": line.here, "there": line.there, "meaning": line.meaning}

    def latex(self) -> str:
        """A LaTeX table of two columns of symbols and what they mean."""
        from symbackprop.render.latex import Latex

        rows = [f"${r.here}$ & ${r.there}$ & {r.meaning}" for r in self.lines(Latex)]
        body = " \\\\\n".join(rows)
        return f"\\begin{{tabular}}{{lll}}\n{body}\n\\end{{tabular}}"

    def __str__(self) -> str:
        rows = [(r["here"], r["there"], r["meaning"]) for r in self]
        wide = [max(len(r[n]) for r in rows) for n in range(2)] if rows else [0, 0]
        return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c}".rstrip() for a, b, c in rows)

    __repr__ = __str__


class MatrixForms(Rendered):
    """Both passes in matrix form. Iterating gives the forms; what has none says why."""

    def __init__(self, network: Network, layout: str) -> None:
        from symbackprop.matrix import matrix_forms

        self.network, self.layout = network, layout
        self.rows = matrix_forms(network.system, network.notation, layout)

    def __iter__(self) -> Iterator[Any]:
        return (row.form for row in self.rows)

    @cached_property
    def checks(self) -> tuple[Any, ...]:
        """For each line with a matrix form: its steps applied again, its entries compared with the index form."""
        from symbackprop.matrix import MatrixForm
        from symbackprop.matrix.check import check

        return tuple(check(form, self.network.system) for form in self if isinstance(form, MatrixForm))

    def outcome(self, notation: Notation) -> str:
        verdicts = {c.verdict for c in self.checks}
        return "refuted" if "refuted" in verdicts else "proved" if verdicts <= {"proved"} else "undecided"

    def _document(self, detail: str, notation: Notation, check: bool) -> Document:
        from symbackprop.matrix import matrix_forms
        from symbackprop.render.matrix_page import matrix_document

        rows = self.rows
        if notation is not self.network.notation:
            rows = matrix_forms(self.network.system, notation, self.layout)
        return matrix_document(rows, self.network.system, notation, self.layout, self.checks if check else ())

    def json(self, detail: str = "lecture", notation: str | Notation | None = None) -> str:
        import json

        from symbackprop.matrix import MatrixForm
        from symbackprop.render.matrix import latex

        p = latex(self.network.system, self._chosen(notation))
        lines = [
            {
                "pass": row.kind,
                "latex": p(row.form),
                "condition": p.condition(row.form),
                **(
                    {"steps": [s.rule for s in row.form.steps], "shapes": [list(n) for n in p.notes(row.form)]}
                    if isinstance(row.form, MatrixForm)
                    else {"reason": row.form.reason}
                ),
            }
            for row in self.rows
        ]
        return json.dumps({"schema": 1, "layout": self.layout, "lines": lines}, ensure_ascii=False, indent=2) + "\n"

    def __repr__(self) -> str:
        return f"MatrixForms({self.network.label}, {self.layout})"


def directed(notation: Notation, families: Sequence[str]) -> Notation:
    """The notation with a dotted letter for the direction in each family."""
    from dataclasses import replace

    from symbackprop.further import DIRECTION

    letters, written = dict(notation.letters), dict(notation.written)
    for name in families:
        look = notation.written.get(name)
        if look is not None:
            written[name + DIRECTION] = replace(look, letter=rf"\dot{{{look.letter}}}")
        else:
            letters[name + DIRECTION] = rf"\dot{{{notation.letters.get(name, name)}}}"
    return replace(notation, letters=letters, written=written)


class HessianVector:
    """The Hessian of a cost times a direction: the gradient of the inner product of the gradient with it.

    Attributes:
        network: The model whose cost that inner product is; `network.derive(goal)` derives any entry.
    """

    def __init__(self, network: Network, wrt: tuple[str, ...]) -> None:
        from symbackprop.further import along

        self.wrt = wrt
        self.network = Network(
            along(network.with_gradients.stated, wrt), directed(network.notation, wrt), network.label
        )

    def derive(self, goal: Any = None) -> Derivation:
        """The derivation of one entry of the product."""
        return self.network.derive(self.wrt[0] if goal is None else goal)

    def function(self, **options: Any) -> HessianVectorFunction:
        """Compile it; see `HessianVectorFunction`."""
        return HessianVectorFunction(self.network.gradient(wrt=list(self.wrt), **options), self.wrt)


class HessianVectorFunction:
    """`f(arrays..., direction={"w": v})` gives {"w": H v}; the arrays are those of the gradient function."""

    def __init__(self, gradient: Any, wrt: tuple[str, ...]) -> None:
        self.gradient, self.wrt = gradient, wrt

    def __call__(
        self, params: Mapping[str, Any] | None = None, *data: Any, direction: Mapping[str, Any], **more: Any
    ) -> Any:
        from symbackprop.further import DIRECTION

        _check_direction(direction, self.wrt)
        directions = {w + DIRECTION: direction[w] for w in self.wrt}
        return self.gradient({**(params or {}), **directions}, *data, **more)

    @property
    def source(self) -> str:
        return str(self.gradient.source)


class GaussNewton:
    """J^T H J v: the Jacobian of an output, the Hessian of the cost by it, and the Jacobian's transpose.

    Attributes:
        jacobian_vector: The model whose gradient by the gradient from outside is J v.
        curvature: The model whose gradient by the output is H u.
        transposed: The model whose gradient by the parameters is J^T u.
    """

    def __init__(self, network: Network, output: Ref, wrt: tuple[str, ...]) -> None:
        from symbackprop.further import along, along_output, with_gradients
        from symbackprop.network import with_upstream

        self.network, self.output, self.wrt = network, output, wrt
        alone = with_upstream(network.stated, [output])
        self.transposed = Network(alone, network.notation, network.label)
        self.jacobian_vector = Network(along(with_gradients(alone), wrt), network.notation, network.label)
        self.curvature = Network(along_output(network.with_gradients.stated, output), network.notation, network.label)

    def derivations(self) -> tuple[Derivation, Derivation, Derivation]:
        """Of J v, of H u, and of J^T u, in the order in which they are applied."""
        from symbackprop.symbols import Partial, Ref

        bar = self.transposed.system.upstream[self.output.family]
        goals = (
            (self.jacobian_vector, self.jacobian_vector.system.families[bar].pattern),
            (self.curvature, self.output),
            (self.transposed, self.transposed.system.families[self.wrt[0]].pattern),
        )
        one, two, three = (Derivation(n, Partial(Ref(n.system.cost, ()), below)) for n, below in goals)
        return one, two, three

    def function(self, sizes: Mapping[str, int] | None = None) -> GaussNewtonFunction:
        """Compile the three into one function; see `GaussNewtonFunction`."""
        return GaussNewtonFunction(self, sizes)


class GaussNewtonFunction:
    """`f(arrays..., direction={"w": v})` gives {"w": J^T H J v}; the arrays are those of the gradient function.

    Three derived gradients one after another: u = J v, then H u, then J^T of that. Of a batch for a layered network it
    is the mean over the samples.
    """

    def __init__(self, parts: GaussNewton, sizes: Mapping[str, int] | None = None) -> None:
        from symbackprop.compile import is_layered

        self.parts = parts
        self.layered = is_layered(parts.network.system)
        self.sizes = {**parts.network.system.sizes, **(sizes or {})}
        self.bar = parts.transposed.system.upstream[parts.output.family]
        self.jacobian_vector = self._gradient(parts.jacobian_vector, (self.bar,))
        self.curvature = self._gradient(parts.curvature, (parts.output.family,))
        self.transposed = self._gradient(parts.transposed, parts.wrt)

    def _gradient(self, network: Network, wrt: tuple[str, ...]) -> Any:
        from symbackprop.compile.products import NamedGradient, needed
        from symbackprop.derive import adjoints

        system = needed(network.system, wrt)
        return NamedGradient(system, adjoints(system), wrt, self.sizes, layered=self.layered)

    def __call__(
        self,
        params: Mapping[str, Any] | None = None,
        *data: Any,
        direction: Mapping[str, Any],
        **more: Any,
    ) -> dict[str, Any]:
        from symbackprop.compile import products
        from symbackprop.further import DIRECTION

        _check_direction(direction, self.parts.wrt)
        system, out = self.parts.network.system, self.parts.output
        named = products.by_name(system, self.layered, params, data, more)
        numbers = products.numbers_of(system, named, self.sizes, self.layered)
        samples = products.samples_of(system, named, self.layered)
        # Gradients are those of the mean; those by data have to be taken times the number of samples.
        times, lead = (1, 0) if samples is None else (samples, 1)
        zeros = products.zeros(products.Block(self._outside.pattern, self.transposed.system), numbers, named, samples)
        directions = {w + DIRECTION: direction[w] for w in self.parts.wrt}
        u = self.jacobian_vector({**named, **directions, self.bar: zeros})[self.bar] * times
        curved = self.curvature({**named, out.family + DIRECTION: u})[out.family]
        h_u = products.Block(out, system).of(curved, numbers, lead) * times
        found: dict[str, Any] = self.transposed({**named, self.bar: products.contiguous(h_u)})
        return found

    @property
    def _outside(self) -> Family:
        family: Family = self.transposed.system.families[self.bar]
        return family

    @property
    def source(self) -> str:
        return "\n".join(str(f.source) for f in (self.jacobian_vector, self.curvature, self.transposed))


def _check_direction(direction: Mapping[str, Any], wrt: tuple[str, ...]) -> None:
    missing = [w for w in wrt if w not in direction]
    if missing:
        raise GoalError(f"direction lacks {', '.join(missing)}; give an array of the shape of each of {', '.join(wrt)}")


class BackwardPass(Recorded):
    """The whole backward pass: its equations, derived and checked, the loop, and the code."""

    def _derive(self, named: frozenset[str]) -> Record:
        from symbackprop.derive import derive_all

        return derive_all(self.network.system, named)

    @property
    def equations(self) -> list[tuple[ExprView, ExprView]]:
        """Each gradient with its value, in the order in which they are computed."""
        from symbackprop.derive import backward_equations

        return [
            (ExprView(self.network, a), ExprView(self.network, b))
            for a, b, _ in backward_equations(self._record(self.network.notation))
        ]

    def pseudocode(self) -> str:
        """LaTeX of the pass as an algorithm."""
        from symbackprop.compile import pseudocode_latex

        return pseudocode_latex(self.network.system, self.network._adjoints)

    def loop(self) -> str:
        """The pass as a loop over the layers, in Python."""
        from symbackprop.compile import pseudocode

        return pseudocode(self.network.system, self.network._adjoints)

    def code(self) -> str:
        """The pass as a NumPy module; sizes must be numbers."""
        return self.network.module()

    def _document(self, detail: str, notation: Notation, check: bool) -> Document:
        from symbackprop.compile import pseudocode, pseudocode_latex
        from symbackprop.derivation import Detail
        from symbackprop.render.document import build_backward

        loop = pseudocode(self.network.system, self.network._adjoints)
        latex = pseudocode_latex(self.network.system, self.network._adjoints, notebook=True)
        checked = self._checked(notation) if check else None
        return build_backward(self._record(notation), notation, Detail.named(detail), checked, loop, latex)

    def __repr__(self) -> str:
        return f"BackwardPass({self.network.label})"


__all__ = ["Derivation", "Network", "dense", "load"]
