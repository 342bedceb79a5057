"""Models written in Python: equations between SymPy objects, read as a model file is.

The letters are made by `indices`, `sizes`, `widths`, `families` and `functions`, the equations are SymPy's `Eq`; what an
index runs over, what is a parameter and what counts layers is inferred by the same code that reads model files, so that
both ways give equal networks. SymPy sorts and merges what it is given; that makes no other network (`normal`).
"""

from symbackprop.equations.letters import Maximum, families, functions, indices, sizes, widths
from symbackprop.equations.model import read_equations

__all__ = ["Maximum", "families", "functions", "indices", "read_equations", "sizes", "widths"]
