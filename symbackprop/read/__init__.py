"""From LaTeX and the shell-safe short form to goals; nothing is evaluated while reading."""

from symbackprop.errors import ReadError, ReadIndexError, ReadShapeError

__all__ = ["ReadError", "ReadIndexError", "ReadShapeError"]
