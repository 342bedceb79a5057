"""Every error that symbackprop raises on purpose: what was found, what was expected, what would fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SymbackpropError(Exception):
    """Base of all errors meant for the reader: one line, no traceback on the command line."""


class ModelError(SymbackpropError, ValueError):
    """A network cannot be built from what was given."""


class GoalError(SymbackpropError, ValueError):
    """A goal names something that the network lacks, or cannot be read."""


class ReadError(GoalError):
    """Text that is not understood, with its place.

    Args:
        message: What was found, expected and would fit.
        text: The text that was read; of a text of several lines, the line with the place.
        column: 1-based column of the place in `text`.
        line: 1-based number of the line; 0 where the text has one line only.
    """

    def __init__(self, message: str, text: str = "", column: int = 0, line: int = 0) -> None:
        place = f"line {line}, column {column}: " if line else f"column {column}: " if column else ""
        super().__init__(place + message)
        self.what, self.text, self.column, self.line = message, text, column, line

    @property
    def excerpt(self) -> str:
        """The text around the place, and below it a caret under the place; empty where either is unknown.

        >>> print(ReadError("a second subscript", "w_j_k", 4).excerpt)
        w_j_k
           ^
        """
        if not (self.text and self.column):
            return ""
        start = max(0, self.column - 1 - 60)
        shown = self.text[start : start + 100].replace("\t", " ")
        return f"{shown}\n{' ' * (self.column - 1 - start)}^"


class ReadShapeError(ReadError):
    """Arrays whose shapes do not fit in a sum, a product or an equation, with the place and both shapes."""


class ReadIndexError(ReadError):
    """Indices that no quantity of that letter has, with the place and the quantity that comes nearest."""


class ModelReadError(ReadError, ModelError):
    """A model file that is not understood, or has two readings, with its place."""


class UnknownFamilyError(GoalError):
    """A family of symbols that occurs in no equation of the network."""


class UnknownNameError(SymbackpropError, ValueError):
    """A name of an activation, cost, notation, model, backend or detail that does not exist."""


class ShapeError(SymbackpropError, ValueError):
    """An array disagrees with the axes of its family."""


class DTypeError(SymbackpropError, TypeError):
    """An array is not of a floating-point dtype, or dtypes are mixed."""


class FunctionError(SymbackpropError, ValueError):
    """A function written in Python or SymPy that cannot be understood; the message says why."""


class OutputError(SymbackpropError, OSError):
    """A file that cannot be written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint naming the nearest known name, or all of them.

    >>> nearest("sigmiod", ["sigmoid", "tanh"])
    "; did you mean 'sigmoid'?"
    >>> nearest("q", ["sigmoid", "tanh"])
    '; known: sigmoid, tanh'
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
