"""Checks a person's backward pass, as code, against the derived gradient. It runs that code."""

from symbackprop.codecheck.report import ArrayCheck, FunctionReport, Slip, Worst
from symbackprop.codecheck.run import check_function

__all__ = ["ArrayCheck", "FunctionReport", "Slip", "Worst", "check_function"]
