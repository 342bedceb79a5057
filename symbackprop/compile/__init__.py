"""From a network and its backward pass to code: Program, lowering, the NumPy backend and text for people."""

from symbackprop.compile.gradient import GradientFunction, compile_gradient, find_backend, forward, widths_of
from symbackprop.compile.lower import instantiate, instantiate_adjoints, lower
from symbackprop.compile.model import ModelForward, ModelGradient, is_layered
from symbackprop.compile.model_module import write_model_module
from symbackprop.compile.module import pseudocode, pseudocode_latex, write_module

__all__ = [
    "GradientFunction",
    "ModelForward",
    "ModelGradient",
    "compile_gradient",
    "find_backend",
    "forward",
    "instantiate",
    "instantiate_adjoints",
    "is_layered",
    "lower",
    "pseudocode",
    "pseudocode_latex",
    "widths_of",
    "write_model_module",
    "write_module",
]
