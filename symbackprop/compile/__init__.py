"""From a network and its backward pass to code: Program, lowering and the NumPy backend."""

from symbackprop.compile.gradient import GradientFunction, compile_gradient, forward
from symbackprop.compile.lower import instantiate, lower

__all__ = ["GradientFunction", "compile_gradient", "forward", "instantiate", "lower"]
