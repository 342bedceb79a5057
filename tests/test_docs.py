"""The documentation is true: its examples run and print what it says they print, and rules.md is up to date."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from symbackprop.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```latex ([\w-]+\.tex)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "\x1e"


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """The fenced blocks of a page: language, text, line."""
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]


def expected(page: Path) -> list[tuple[str, str | None, int]]:
    """Each Python block with the text block that follows it, if one does."""
    found = blocks(page)
    out = []
    for n, (language, text, line) in enumerate(found):
        if language == "python":
            following = found[n + 1] if n + 1 < len(found) and found[n + 1][0] == "text" else None
            out.append((text, following[1] if following else None, line))
    return out


def write_files(page: Path, folder: Path) -> None:
    """The files that a page shows: their names stand behind the language of their fence."""
    for name, text in FILE.findall(page.read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")


def fits(pattern: str, text: str) -> bool:
    """Whether the text is as the page says, where `...` stands for anything."""
    parts = (re.escape(p) for p in pattern.strip().split("..."))
    return re.fullmatch(r".*?".join(parts), text.strip(), re.DOTALL) is not None


def ran(page: Path, folder: Path) -> list[str]:
    """What each Python block of a page prints; one process for each page, so that what a page defines stays there."""
    write_files(page, folder)
    script = folder / "page.py"
    script.write_text("".join(f"{text}\nprint(end={MARK!r})\n" for text, _, _ in expected(page)), encoding="utf-8")
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr}"
    return done.stdout.split(MARK)[:-1]


@pytest.mark.parametrize("page", [p for p in PAGES if expected(p)], ids=lambda p: p.name)
def test_python_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    for (_, text, line), printed in zip(expected(page), ran(page, tmp_path), strict=True):
        if text is not None:
            assert fits(text, printed), f"{page.name}, line {line}, prints\n{printed}\nand not\n{text}"


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Each `$ symbackprop ...` of the console blocks with what is shown below it."""
    for language, text, _ in blocks(page):
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


COMMANDS = [pytest.param(p, c, o, id=f"{p.name}: {c}") for p in PAGES for c, o in commands(p)]


@pytest.mark.parametrize(("page", "command", "output"), COMMANDS)
def test_commands_print_what_the_page_says(
    page: Path, command: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a page shows an error, the command has to end with one; another exit status is said behind the command."""
    write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command, comments=True)
    assert program == "symbackprop"
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        status = main(arguments)
    shown.seek(0)
    printed = shown.read()
    said = re.search(r"# exit status (\d)$", command)
    wanted = int(said[1]) if said else 2 if output.startswith("symbackprop: ") else 0
    assert status == wanted, printed
    assert fits(output or "...", printed), f"{command} prints\n{printed}\nand not\n{output}"


@pytest.mark.parametrize("notation", ["deeplizard", "3b1b", "nielsen"])
@pytest.mark.parametrize("goal", ["w_12^L", "w_jk^l", "a_j^L", "a_k^{L-1}", "w_22^{L-1}"])
def test_the_table_of_notations_is_what_the_package_prints(goal: str, notation: str) -> None:
    from symbackprop import dense

    column = ["deeplizard", "3b1b", "nielsen"].index(notation) + 1
    page = (ROOT / "docs" / "notation.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{goal}` | $")]
    cell = row.strip("| ").split(" | ")[column]
    assert cell == f"$`{dense().in_notation(notation).derive(goal).result.latex()}`$"


def test_the_page_of_rules_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_rules.py", "--check"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_pages_of_the_gallery_are_up_to_date() -> None:
    """A few quick ones of each kind; `python docs/make_gallery.py --check` looks at all."""
    names = ["deeplizard", "attention", "rnn", "conv1d", "embedding", "mlp", "max-pooling"]
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_gallery.py", "--check", *names],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_every_built_in_model_has_a_page_and_a_place_in_the_readme() -> None:
    from symbackprop.models import models

    pages = {p.stem for p in GALLERY} - {"README"}
    listed = re.findall(r"\[`?([\w-]+)`?\]\(docs/gallery/", (ROOT / "README.md").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| \[([\w-]+)\]", (ROOT / "docs/gallery/README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert pages == models().keys() == set(rows)
    assert sorted(listed) == sorted(models())


def test_the_page_on_hand_ins_has_every_key_cause_and_verdict() -> None:
    from symbackprop import dense
    from symbackprop.report import CAUSES, VERDICTS

    report = dense().check(r"\frac{\partial C_0}{\partial a_j^{(L)}} = a_j^{(L)} - y_j").record()
    (claim,) = report["claims"]
    keys = [*report, *claim, *claim["counterexample"], *claim["fixes"][0]]
    page = (ROOT / "docs" / "check-your-maths.md").read_text(encoding="utf-8")
    assert [w for w in (*keys, *CAUSES, *VERDICTS) if f"`{w}`" not in page] == []


def anchors(page: Path) -> set[str]:
    """The places that GitHub gives the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}


def test_every_link_leads_somewhere() -> None:
    for page in [*PAGES, *GALLERY]:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)\s]+)?\)", page.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor[1:] in anchors(there), f"{page.name} links to {target}{anchor}"


def test_the_judge_of_examples_says_no() -> None:
    assert fits("a ... c", "a b c")
    assert not fits("a ... c", "a b d")
    assert not fits("proved", "refuted")
