"""The LaTeX that a reviewer reads: one file for each derivation, notation and detail."""

from __future__ import annotations

from functools import lru_cache

import pytest
from conftest import Golden

from symbackprop import dense, load
from symbackprop.api import Derivation

CASES = {
    "part-4": lambda: load("deeplizard").derive("w_12^L"),
    "part-5": lambda: load("deeplizard").derive("w_22^{L-1}"),
    "hidden": lambda: load("deeplizard").derive(),
    "weight-vector": lambda: load("deeplizard").derive("w_j^L"),
    "mean": lambda: load("deeplizard").derive("dC/dw_12^L"),
    "update": lambda: load("deeplizard").update("w_12^L"),
    "chain": lambda: load("3b1b-chain").derive("w^L"),
    "chapter-4": lambda: load("3b1b").derive("a_k^{L-1}"),
    "bp": lambda: load("nielsen-general").derive("w_jk^l"),
    "error": lambda: load("nielsen").derive("delta_j^l"),
    "softmax": lambda: load("softmax").derive("z_j^L"),
    "sizes": lambda: dense([3, 3, 2], activation="tanh").derive("w_12^1"),
}

WANTED = [
    *((case, None, detail) for case in CASES for detail in ("brief", "lecture")),
    ("part-4", "3b1b", "lecture"),
    ("part-4", "nielsen", "lecture"),
    ("hidden", "nielsen", "brief"),
    ("part-4", None, "full"),
]


@lru_cache
def derivation(case: str) -> Derivation:
    return CASES[case]()


@pytest.mark.parametrize(("case", "notation", "detail"), WANTED, ids=[".".join(filter(None, w)) for w in WANTED])
def test_latex(case: str, notation: str | None, detail: str, golden: Golden) -> None:
    name = ".".join(filter(None, (case, notation, detail)))
    golden.check(f"{name}.tex", derivation(case).latex(detail, notation))


def test_the_same_derivation_in_another_notation_is_another_text() -> None:
    texts = {derivation("part-4").latex("lecture", n) for n in ("deeplizard", "3b1b", "nielsen")}
    assert len(texts) == 3


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_closes_with_its_check(case: str) -> None:
    assert r"\textit{Checked: " in derivation(case).latex("brief")


@pytest.mark.parametrize("case", CASES)
def test_rows_are_numbered_once_and_refer_backwards(case: str) -> None:
    import re

    tex = derivation(case).latex("lecture")
    tags = [int(n) for n in re.findall(r"\\tag\{(\d+)\}", tex)]
    assert tags == list(range(1, len(tags) + 1))
    for line in tex.splitlines():
        if own := re.search(r"\\tag\{(\d+)\}", line):
            why = line.split("&&")[-1].replace(own[0], "")
            assert all(int(n) < int(own[1]) for n in re.findall(r"\((\d+)\)", why)), line


@pytest.mark.parametrize("case", CASES)
def test_braces_environments_and_brackets_are_balanced(case: str) -> None:
    import re

    for detail in ("brief", "lecture", "full"):
        tex = derivation(case).latex(detail)
        assert tex.count("{") == tex.count("}")
        assert len(re.findall(r"\\left(?![a-z])", tex)) == len(re.findall(r"\\right(?![a-z])", tex))
        assert tex.count(r"\begin{") == tex.count(r"\end{")
        assert "None" not in tex and "#" not in tex and "Ref(" not in tex


def test_a_changed_text_is_refused(golden: Golden) -> None:
    if golden.update:
        pytest.skip("the files are being written")
    with pytest.raises(AssertionError):
        golden.check("part-4.brief.tex", derivation("part-4").latex("brief").replace("2", "3"))
