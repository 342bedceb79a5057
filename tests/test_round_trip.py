"""A model prints as a file that reads back as itself: the same network in the same notation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from systems import BUILDERS

from symbackprop import functions as F
from symbackprop.models import find_notation, library_model, models
from symbackprop.network import Equation, System, dense_system
from symbackprop.read.model import read_model
from symbackprop.render.model import model_text

LESSONS = ("deeplizard", "3b1b", "nielsen")


@pytest.mark.parametrize("name", sorted(models()))
def test_the_library(name: str) -> None:
    text = models()[name].path.read_text(encoding="utf-8")
    read = read_model(text)
    printed = model_text(read.system, read.notation)
    again = read_model(printed)
    assert again.system == read.system
    assert again.notation == read.notation
    assert model_text(again.system, again.notation) == printed


@pytest.mark.parametrize("name", sorted(models()))
def test_no_declaration_is_printed_that_the_author_left_out(name: str) -> None:
    text = models()[name].path.read_text(encoding="utf-8")
    read = read_model(text)
    mine = {line.split()[1] for line in text.splitlines() if line.startswith("%|")}
    printed = {line.split()[1] for line in model_text(read.system, read.notation).splitlines() if line.startswith("%|")}
    assert printed <= mine


SHAPES: list[dict[str, Any]] = [
    {},
    {"width": 3},
    {"width": 1},
    {"layers": 3},
    {"sizes": [784, 30, 10]},
    {"sizes": [2, None, 3]},
    {"sizes": [1, 1, 1]},
    {"sizes": [4, 1, 3]},
]
CASES: list[dict[str, Any]] = [
    *({**shape, "bias": bias} for shape in SHAPES for bias in (False, True)),
    *({"loss": c.name, "activation": "sigmoid"} for c in F.COSTS),
    *({"loss": c.name, "activation": "relu", "sizes": [3, 4, 2, 2], "bias": True} for c in F.COSTS),
    *({"activation": a} for a in F.ACTIVATION_NAMES),
    *({"activation": a, "sizes": [3, 2, 4], "bias": True} for a in F.ACTIVATION_NAMES),
    {"sizes": [3, 4, 2], "activation": ["relu", "sigmoid"]},
    {"sizes": [3, 4, 4, 4, 2], "activation": ["relu", "relu", "tanh", "identity"]},
    {"sizes": [3, 4, 4, 2], "activation": ["relu", "tanh", "softmax"], "loss": "softmax_cross_entropy"},
    {"loss": "sum_squares", "facts": ["sum_j y_j = 1"]},
    {"loss": "softmax_cross_entropy", "facts": []},
]


@pytest.mark.parametrize("notation", LESSONS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: ",".join(f"{k}={v}" for k, v in c.items()) or "plain")
def test_fully_connected_networks(case: dict[str, Any], notation: str) -> None:
    system = dense_system(**case)
    assert read_model(model_text(system, find_notation(notation))).system == system


def test_a_network_of_numbers_is_one_of_letters_with_its_sizes_declared() -> None:
    system = dense_system([784, 30, 10], "sigmoid")
    lines = model_text(system, find_notation("3b1b")).splitlines()
    assert "%| l = 1..L" in lines
    assert "%| size L = 2, n_0 = 784, n_1 = 30, n_2 = 10" in lines
    assert r"C_0 &= \sum_{j=0}^{n_L-1} \left(a_j^{(L)} - y_j\right)^2 \\" in lines


SIZES = {"rnn": {"T": 4, "J": 3}, "conv1d": {"K": 3, "s": 2, "p": 1}, "attention": {"d": 8}, "mlp": {"L": 3}}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_are_numbers(name: str) -> None:
    text = models()[name].path.read_text(encoding="utf-8")
    read = read_model(text, sizes=SIZES[name])
    printed = model_text(read.system, read.notation)
    assert read.system.sizes == SIZES[name]
    again = read_model(printed)
    assert (again.system, again.notation) == (read.system, read.notation)
    assert sum(line.startswith("%| size") and "s + 1" not in line for line in printed.splitlines()) == 1


def test_a_sum_to_a_number() -> None:
    read = read_model(r"C &= \sum_{j=1}^{3} \left(\sum_{k=1}^{4} w_{jk} x_k - y_j\right)^2")
    printed = model_text(read.system, read.notation)
    assert not any(line.startswith("%|") for line in printed.splitlines())
    assert read_model(printed).system == read.system


# A padding written out as a bracket, and letters in bold with indices, read back as something else that means the same.
WRITTEN_OTHERWISE = {"conv1d", "conv1d-from-1", "heads"}


@pytest.mark.parametrize("name", sorted(BUILDERS.keys() - WRITTEN_OTHERWISE))
def test_models_written_down_by_hand(name: str) -> None:
    system, notation = BUILDERS[name]()
    read = read_model(model_text(system, notation))
    assert {e.lhs for e in system.equations} <= {e.lhs for e in read.system.equations}
    printed = model_text(read.system, read.notation)
    again = read_model(printed)
    assert (again.system, again.notation) == (read.system, read.notation)


def test_base_cases_are_left_to_the_reader() -> None:
    read = library_model("lstm")
    printed = model_text(read.system, read.notation)
    assert "h_0" not in printed and "c_0" not in printed
    assert {"h_0", "c_0"} <= read_model(printed).system.families.keys()


def test_a_base_case_that_says_something_is_printed() -> None:
    read = library_model("mlp")
    assert r"a_{ij}^{(0)} &= x_{ij}" in model_text(read.system, read.notation)


def test_what_padding_says_is_not_said_again() -> None:
    read = library_model("conv1d")
    assert r"\sum_{k=0}^{K-1} w_{ock} x_{bc,si+k-p}" in model_text(read.system, read.notation)


def doubled(system: System) -> System:
    """The first equation changed: what the printed file must not read back as."""
    first, *rest = system.equations
    return replace(system, equations=(Equation(first.lhs, first.rhs * 2, first.guard), *rest), spec="")


@pytest.mark.parametrize("name", ["attention", "rnn", "conv2d", "lstm", "transformer"])
def test_another_model_prints_another_file(name: str) -> None:
    read = library_model(name)
    changed = doubled(read.system)
    assert read_model(model_text(changed, read.notation)).system != read.system
