"""Every example runs, in a short setting, and does what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: str, folder: Path) -> str:
    """The output of an example, run as a newcomer would, in another folder."""
    paths = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def held_out(output: str) -> float:
    """The last share of held-out images that were right, in percent."""
    return float(re.findall(r"held-out images right ([\d.]+)%", output)[-1])


def test_first_derives_writes_and_trains(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    output = run("first.py", "--epochs", "12", folder=tmp_path)
    assert "✓ Checked" in output
    assert held_out(output) >= 95
    page = (tmp_path / "out" / "derivation.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "katex" in page
    assert "\\begin{document}" in (tmp_path / "out" / "derivation.tex").read_text(encoding="utf-8")


def test_digits_are_learnt(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    output = run("digits.py", "--epochs", "6", folder=tmp_path)
    assert "∂C₀/∂zⱼ⁽²⁾ = aⱼ⁽²⁾ − yⱼ" in output
    assert held_out(output) >= 95


def test_an_activation_of_ones_own(tmp_path: Path) -> None:
    output = run("own_activation.py", folder=tmp_path)
    assert output.count("✓ Checked") == 1
    derived, measured = (float(x) for x in re.findall(r"(?:derived|differences) (-?[\d.]+)", output))
    assert derived == pytest.approx(measured, abs=1e-8)


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    output = run("own_model.py", folder=tmp_path)
    assert output.count("✓ Checked") == 2
    derived, measured = (float(x) for x in re.findall(r"(?:derived|differences) (-?[\d.]+)", output))
    assert derived == pytest.approx(measured, abs=1e-7)
    assert "Equal to the same equations in LaTeX: True" in output


def test_homework_is_checked_and_its_repair_is_proved(tmp_path: Path) -> None:
    output = run("check_homework.py", folder=tmp_path)
    assert "line 5: missing_activation_derivative" in output
    assert "line 8: transposed_weight" in output
    assert output.endswith("repaired: proved, answered: True\n")
    page = (tmp_path / "out" / "homework.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "katex" in page


def test_the_homework_of_the_readme_is_that_of_the_examples() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert f"```latex homework.tex\n{(EXAMPLES / 'homework.tex').read_text(encoding='utf-8')}```" in readme


def test_the_notebook_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    paths = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", paths)
    notebook = nbformat.read(EXAMPLES / "backprop.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    shown = [o["data"] for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "data" in o]
    formulas = [d["text/latex"] for d in shown if "text/latex" in d]
    assert any(r"\frac{\partial C_0}{\partial w_{12}^{(L)}}" in f for f in formulas)
