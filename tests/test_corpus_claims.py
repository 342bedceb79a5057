"""Every claim of the corpus, judged in the model file of its own setting.

Two limits are hard: no wrong claim is proved, no right one refuted. The rates below them are those that the package
promises; `benchmarks/claims.py` prints them with the rest of the figures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from symbackprop import Network, load
from symbackprop.judge import judge, relation
from symbackprop.report import Report

HERE = Path(__file__).parent
CLAIMS: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE / "corpus/claims.jsonl").read_text("utf-8").splitlines()
]
BY_ID = {c["id"]: c for c in CLAIMS}
RIGHT = [c["id"] for c in CLAIMS if c["truth"] == "right"]
WRONG = [c["id"] for c in CLAIMS if c["truth"] == "wrong"]
MODELS: dict[str, str] = json.loads((HERE / "settings/claims/index.json").read_text("utf-8"))


@cache
def network(name: str) -> Network:
    return load(HERE / f"settings/claims/{name}.tex")


def model_of(claim: dict[str, Any]) -> str:
    """The model file of the network that a claim speaks of."""
    return MODELS[hashlib.sha1(json.dumps(claim["network"], sort_keys=True).encode()).hexdigest()]


@cache
def report(name: str) -> Report:
    """What is said of one claim of the corpus."""
    c = BY_ID[name]
    text = c["claim"] if isinstance(c["claim"], str) else "\n\n".join(c["claim"])
    return network(model_of(c)).check(text, explain=False)


def share(names: list[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, names)) / len(names)


@pytest.mark.parametrize("name", WRONG)
def test_no_wrong_claim_is_proved(name: str) -> None:
    assert report(name).verdict != "proved"


@pytest.mark.parametrize("name", RIGHT)
def test_no_right_claim_is_refuted(name: str) -> None:
    found = report(name)
    assert found.verdict != "refuted", [c.message for c in found.claims]


def test_right_claims_are_proved() -> None:
    assert share(RIGHT, lambda n: report(n).verdict == "proved") >= 0.95


def test_wrong_claims_are_refuted() -> None:
    assert share(WRONG, lambda n: report(n).verdict == "refuted") >= 0.98


def test_the_first_wrong_claim_is_found() -> None:
    """Of several lines the one that the slip is in, not one that only carries it on."""
    assert share(WRONG, lambda n: report(n).first_wrong_claim == BY_ID[n].get("first_wrong_line", 1)) >= 0.97


def test_what_is_open_says_why() -> None:
    for name in RIGHT + WRONG:
        for c in report(name).claims:
            if c.verdict in ("undecided", "not_understood"):
                assert c.message, name


def test_what_is_refuted_shows_numbers_or_says_what_does_not_fit() -> None:
    for name in WRONG:
        for c in report(name).claims:
            if c.verdict == "refuted":
                assert c.counterexample is not None or c.message, name
                assert c.counterexample is None or c.counterexample.left != c.counterexample.right, name


def test_a_judge_that_proves_everything_breaks_the_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above look at verdicts: a planted one is seen."""
    monkeypatch.setattr(
        "symbackprop.judge.claims.judge", lambda *a, **k: relation.Judged("proved", equality=judge(*a, **k).equality)
    )
    line = r"\frac{\partial C_0}{\partial a_j^{(L)}} = a_j^{(L)} - y_j"
    assert network("lessons").check(line).verdict == "proved"
