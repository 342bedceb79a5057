"""Named, sourced equalities, read left to right; a derivation is a list of their applications."""

from symbackprop.rules import algebra, calculus, graph, sums
from symbackprop.rules.base import RULES, Context, Rule

__all__ = ["RULES", "Context", "Rule", "algebra", "calculus", "graph", "sums"]
