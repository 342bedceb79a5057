"""Verdicts on hand-written maths: what a line claims, whether it holds, where it slips."""

from symbackprop.judge.claims import check
from symbackprop.judge.own_names import known_symbol
from symbackprop.judge.relation import Setting, judge

__all__ = ["Setting", "check", "judge", "known_symbol"]
