"""Every built-in model: its derivations hold, its file is short of declarations, and the engine knows none of them."""

from __future__ import annotations

import re

import pytest

import symbackprop
from symbackprop import load
from symbackprop.check import check_record
from symbackprop.models import LIBRARY, models
from symbackprop.network import with_upstream
from symbackprop.read.model import read_model

LOOK = ("title", "source", "order", "gradient", "sample")
"""Declarations that say nothing of the mathematics."""

LARGE = ("transformer", "transformer-block", "lstm", "multi-head-attention")
"""Models of which one derivation is checked here; the others' whole backward pass."""


@pytest.mark.parametrize("name", [n for n in models() if n not in LARGE])
def test_the_whole_backward_pass_is_proved(name: str) -> None:
    check = load(name).backward().check()
    assert check.verdict == "proved", [s for s in check.steps if s.verdict != "proved" or not s.again][:2]


@pytest.mark.parametrize(("name", "goal"), [(n, g) for n, g in zip(LARGE, ("gamma", "W_Q", "U_f", "W_K"), strict=True)])
def test_one_derivation_of_a_large_model_is_proved(name: str, goal: str) -> None:
    assert load(name).derive(goal).check().verdict == "proved"


def test_a_slip_in_a_derivation_of_a_model_is_refused() -> None:
    from dataclasses import replace

    from symbackprop.symbols import Num, expr

    record = load("causal-attention").derive("S_ij").record
    section = record.sections[-1]
    wrong = replace(section.steps[-1], after=section.steps[-1].after * Num(expr(2).value))  # type: ignore[attr-defined]
    broken = replace(record, sections=(*record.sections[:-1], replace(section, steps=(*section.steps[:-1], wrong))))
    assert check_record(broken).verdict == "refuted"


def test_most_models_need_three_declarations_or_fewer() -> None:
    said = {
        n: [
            line
            for line in m.path.read_text(encoding="utf-8").splitlines()
            if line.startswith("%|") and line[2:].split()[0] not in LOOK
        ]
        for n, m in models().items()
    }
    few = [n for n, lines in said.items() if len(lines) <= 3]
    assert len(few) >= 0.8 * len(said), {n: len(lines) for n, lines in said.items() if len(lines) > 3}


def test_no_module_knows_a_model_by_name() -> None:
    """A model is a file: nothing in the package asks which one it has."""
    package = LIBRARY.parent
    special = {
        n for n in models() if n not in ("deeplizard", "3b1b", "nielsen", "softmax", "dense", "attention", "dropout")
    }
    found = [
        (path.name, name)
        for path in package.rglob("*.py")
        for name in special
        if re.search(rf"""["']{re.escape(name)}["']""", path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_twelve_blocks_are_one_block_derived_once() -> None:
    """The steps of a derivation do not grow with the number of blocks."""
    text = (LIBRARY / "transformer.tex").read_bytes()
    from symbackprop.derive import derive
    from symbackprop.symbols import Partial, Ref

    counts = set()
    for blocks in (12, 24):
        system = with_upstream(read_model(text, sizes={"L": blocks}).system)
        record = derive(system, Partial(Ref(system.cost, ()), system.families["Q"].pattern))
        counts.add(len(record.steps))
    assert len(counts) == 1


def test_the_package_ships_the_files() -> None:
    assert LIBRARY.is_dir() and len(list(LIBRARY.glob("*.tex"))) == len(models()) >= 30
    assert symbackprop.__version__
