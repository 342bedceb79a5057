"""What the engine derives, the judge proves: two ways to a gradient that share no rule.

Every section of every built-in model's derivation goes to the judge as a claim of its own.
"""

from __future__ import annotations

from functools import cache

import pytest

from symbackprop import load
from symbackprop.derivation import Section
from symbackprop.judge import Setting, judge
from symbackprop.judge.prove import Beyond, prove
from symbackprop.judge.relation import Judged
from symbackprop.judge.scope import equality
from symbackprop.models import models
from symbackprop.symbols import Mul, Num, Partial

TOO_LONG = ("transformer", "transformer-block")
"""Models of so many equations that their proofs would take most of the time."""

MODELS = tuple(name for name in models() if name not in TOO_LONG)


@cache
def sections(name: str) -> tuple[Section, ...]:
    return load(name).derive().record.sections


@cache
def judged(name: str) -> tuple[Judged, ...]:
    net = load(name)
    setting = Setting(net.system, net.notation)
    return tuple(judge(setting, s.subject, s.result, s.assume) for s in sections(name))


@pytest.mark.parametrize("name", MODELS)
def test_nothing_that_is_derived_is_refuted(name: str) -> None:
    assert judged(name)
    for s, j in zip(sections(name), judged(name), strict=True):
        assert j.verdict in ("proved", "undecided"), (s.subject, j.reason)
        assert j.verdict == "proved" or j.reason


def test_nearly_all_that_is_derived_is_proved() -> None:
    found = [j.verdict for name in MODELS for j in judged(name)]
    assert len(found) > 250
    assert found.count("proved") / len(found) >= 0.97


@pytest.mark.parametrize("name", MODELS)
def test_twice_what_is_derived_is_not_proved(name: str) -> None:
    """The judge above looks: the last gradient of each model, doubled, is refuted, and the prover alone does not prove it."""
    net = load(name)
    s = next(s for s in reversed(sections(name)) if isinstance(s.subject, Partial) and s.result != Num(0))
    twice = Mul((Num(2), s.result))
    assert judge(Setting(net.system, net.notation), s.subject, twice, s.assume).verdict == "refuted"
    try:
        e = equality(net.system, s.subject, twice, s.assume)
        proof = prove(net.system, e, equal=net.notation.width == "n")
    except Beyond:
        return
    assert proof is None
