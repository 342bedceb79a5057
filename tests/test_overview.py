"""What `symbackprop model` shows of a model file: what was understood, and from which line."""

from __future__ import annotations

import unicodedata

import pytest
from conftest import Golden

from symbackprop.models import find_notation, library_model, models
from symbackprop.network import dense_system
from symbackprop.render import formats
from symbackprop.render.overview import overview

SHOWN = ("attention", "causal-attention", "conv1d", "lstm", "multinomial-labels", "nielsen", "softmax", "transformer")


def shown(name: str, columns: int = 100, ascii_only: bool = False) -> str:
    read = library_model(name)
    document = overview(read.system, read.notation, name, read.provenance)
    return formats.text(document, columns=columns, ascii_only=ascii_only)


@pytest.mark.parametrize("name", SHOWN)
def test_what_was_understood(name: str, golden: Golden) -> None:
    golden.check(f"overview.{name}.read.txt", shown(name))


@pytest.mark.parametrize("name", sorted(models()))
def test_it_fits_a_terminal(name: str) -> None:
    """Only a formula that has no place to break is longer than the terminal is wide."""
    for line in shown(name).splitlines():
        width = sum(not unicodedata.combining(c) for c in line)
        assert width <= 100 or " = " in line


@pytest.mark.parametrize("name", sorted(models()))
def test_every_family_has_the_line_it_comes_from(name: str) -> None:
    """The line in the table is one on which the family's letter stands."""
    read = library_model(name)
    lines = models()[name].path.read_text(encoding="utf-8").splitlines()
    for entry in read.provenance:
        letter = entry.latex.partition("_")[0].removeprefix("\\").removesuffix("}").rpartition("{")[2]
        assert letter.removeprefix("\\") in lines[entry.line - 1], entry


def test_ascii() -> None:
    assert shown("nielsen", ascii_only=True).isascii()


def test_sizes_that_are_numbers() -> None:
    system = dense_system([784, 30, 10], ["relu", "sigmoid"], bias=True)
    text = formats.text(overview(system, find_notation("deeplizard"), "two layers"))
    assert "784, 30, 10 in layers 0 to 2" in text
    assert "layer 1: relu; layer 2: sigmoid" in text
    assert "j = 0..783" in text


def test_what_is_declared_is_told_from_what_is_inferred() -> None:
    rows = {line.split()[0]: line for line in shown("layer-normalisation").splitlines() if line.endswith("ed")}
    assert rows["ε"].split()[-3:] == ["line", "5", "declared"]
    assert rows["γⱼ"].endswith("inferred")
