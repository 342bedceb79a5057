"""From a network and its backward pass to code: Program, lowering, the NumPy backend and text for people."""

from symbackprop.compile.gradient import GradientFunction, compile_gradient, find_backend, forward, widths_of
from symbackprop.compile.lower import instantiate, instantiate_adjoints, lower
from symbackprop.compile.module import pseudocode, pseudocode_latex, write_module

__all__ = [
    "GradientFunction",
    "compile_gradient",
    "find_backend",
    "forward",
    "instantiate",
    "instantiate_adjoints",
    "lower",
    "pseudocode",
    "pseudocode_latex",
    "widths_of",
    "write_module",
]
