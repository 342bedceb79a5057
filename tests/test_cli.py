"""The command line: what goes where, what bad input gets, and what nothing is imported for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symbackprop
from symbackprop import dense, load
from symbackprop.cli import main
from symbackprop.errors import SymbackpropError

ROOT = Path(symbackprop.__file__).parents[1]


def run(*arguments: str, python: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, *python, "-m", "symbackprop", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
        timeout=60,
        check=False,
    )


# ---------------------------------------------------------------- bad input

BAD = [
    (["derive", "--sizes", "784,0,10"], "784,0,10|0", "at least 1"),
    (["derive", "--sizes", "3,-1,2"], "-1|size|''", ""),
    (["derive", "--sizes", "3,2.5,2"], "2.5", "whole numbers"),
    (["derive", "--sizes", "3"], "1 entries", "at least 2"),
    (["derive", "--sizes", ""], "''", "784,30,10"),
    (["derive", "--sizes", "3,,2"], "''", "784,30,10"),
    (["derive", "--activation", "sigmiod"], "'sigmiod'", "'sigmoid'"),
    (["derive", "--activation", "tanh,sigmoid"], "2 activations", "sizes"),
    (["derive", "--loss", "sum_sqares"], "'sum_sqares'", "'sum_squares'"),
    (["derive", "--loss", "mse"], "'mse' is ambiguous", "'mean_squares'"),
    (["derive", "--model", "nielson"], "'nielson'", "'nielsen'"),
    (["derive", "--notation", "3blue1brown"], "'3blue1brown'", "3b1b"),
    (["derive", "--detail", "lectur"], "'lectur'", "'lecture'"),
    (["derive", "--format", "latx"], "'latx'", "tex"),
    (["derive", "q_jk^l"], "q is no symbol", "known: w"),
    (["derive", "b_j^l"], "b is no symbol", "--bias"),
    (["derive", "w_jk^{L+1}"], "layer L+1", "1 to L"),
    (["derive", "w_jk^0"], "layer 0", "1 to L"),
    (["derive", "w_jk^4", "--sizes", "3,4,2"], "layer 4", "1 to 2"),
    (["derive", "w_42^2", "--sizes", "3,4,2"], "node 4", "0 to 1"),
    (["derive", "w_13^2", "--model", "nielsen", "--sizes", "2,2,2"], "node 3", "1 to 2"),
    (["derive", "w_01^2", "--model", "nielsen"], "node 0", "1 to n"),
    (["derive", "w_jkp^l"], "3", "2 node indices"),
    (["derive", "C_0"], "the cost itself", "w_jk^l"),
    (["derive", ""], "empty", "w_jk^l"),
    (["derive", "w_{jk"], "'}'", ""),
    (["derive", "w_jk^l", "w_12^L"], "2 pieces", "single quotes"),
    (["derive", r"\frac{\partial", "C_0}{\\partial", "w_{jk}^{(l)}}"], "3 pieces", "single quotes"),
    (["derive", "w_jk^l", "--symbols"], "takes no goal", "'w_jk^l'"),
    (["derive", "w_jk^l", "--backward"], "takes no goal", "'w_jk^l'"),
    (["derive", "a_j^L", "--update"], "a is no parameter", "w"),
    (["derive", "-o", "there/is/none.html"], "there/is/none.html", "no folder"),
    (["derive", "-o", "x.docx"], "x.docx", "'.docx'"),
    (["derive", "-o", "."], ".", ""),
    (["derive", "--symbols", "--backward"], "not allowed with", ""),
    (["derive", "--no-such-option"], "unrecognized", "--no-such-option"),
    (["derivee"], "derivee", "derive"),
    (["gradient"], "needs sizes", "--sizes 784,30,10"),
    (["gradient", "--sizes", "3,2", "--backend", "numpi"], "'numpi'", "'numpy'"),
    (["model", "nielson"], "'nielson'", "'nielsen'"),
    (["model"], "required", ""),
    (["derive", "--model", "there.tex"], "there.tex", "symbackprop models"),
]


@pytest.mark.parametrize(("arguments", "found", "fits"), BAD, ids=[" ".join(a) for a, *_ in BAD])
def test_bad_input_gets_one_line_and_status_2(
    arguments: list[str],
    found: str,
    fits: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n") and err.count("\n") == 1 and err.startswith("symbackprop: "), err
    assert any(part in err for part in found.split("|")), err
    assert fits in err, err
    assert not list(tmp_path.iterdir()), "something was written"


@pytest.mark.parametrize("character", ["\f", "\b", "\a", "\t"])
def test_a_control_character_is_a_missing_raw_string(character: str) -> None:
    with pytest.raises(SymbackpropError, match="raw string"):
        dense().derive(f"{character}rac{{\\partial C_0}}{{\\partial w_{{jk}}^{{(l)}}}}")


@pytest.mark.parametrize("arguments", [["derive", "q"], ["derive", "w_jk^l", "w_12^L"], ["model", "none"]], ids=str)
def test_no_traceback_in_a_process_of_its_own(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == b"" and b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda: dense([3, 0, 2]), "size n_1 is 0"),
        (lambda: dense([3, True, 2]), "True"),
        (lambda: dense([3, 2.0]), "2.0"),
        (lambda: dense("784,30"), "'784,30'"),
        (lambda: dense([3]), "at least 2"),
        (lambda: dense(layers=0), "at least 1"),
        (lambda: dense(width=-1), "at least 1"),
        (lambda: dense([3, 2], layers=3), "layers=3"),
        (lambda: dense([3, 2], width=3), "either sizes or width"),
        (lambda: dense([3, 4, 2], activation=["tanh", "relu", "tanh"]), "3 activations"),
        (lambda: dense(activation="tangh"), "'tanh'"),
        (lambda: dense(loss="MSE"), "ambiguous"),
        (lambda: dense(bias="yes"), "expected True or False"),
        (lambda: dense(notation="bishop"), "no notation"),
        (lambda: dense(facts=["sum_j y_k = 1"]), "not understood"),
        (lambda: dense(facts=["sum_j q_j = 1"]), "q is no datum"),
        (lambda: dense([2, 3], activation="relu", loss="softmax_cross_entropy").derive("z_j^5"), "out of range"),
        (lambda: dense([2, 3], activation=["relu"], loss="softmax_cross_entropy", bias=1), "expected True or False"),
        (lambda: load("lecun"), "no model"),
        (lambda: dense().derive(7), "goal|int"),
        (lambda: dense().derive("w_jk^l").latex(detail="all"), "no detail"),
        (lambda: dense().derive("w_jk^l").save("x.pdf"), "'.pdf'"),
        (lambda: dense().derive("w_jk^l").save("/no/such/folder/x.tex"), "no folder"),
        (lambda: dense().gradient(backend="cuda"), "no backend"),
    ],
)
def test_bad_arguments_are_refused_on_one_line(build, found: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SymbackpropError) as e:
        build()
    assert "\n" not in str(e.value)
    assert any(f in str(e.value) for f in found.split("|")), str(e.value)


def arrays(dtype: object = float) -> tuple[dict[str, list[np.ndarray]], np.ndarray, np.ndarray]:
    r = np.random.default_rng(0)
    return (
        {"w": [r.normal(size=(4, 3)).astype(dtype), r.normal(size=(2, 4)).astype(dtype)]},
        r.normal(size=3).astype(dtype),
        r.normal(size=2).astype(dtype),
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda p, x, y: (p, x[:2], y), "x"),
        (lambda p, x, y: (p, x, y[:1]), "y"),
        (lambda p, x, y: ({"w": [p["w"][0].T, p["w"][1]]}, x, y), "transpose"),
        (lambda p, x, y: ({"w": p["w"][:1]}, x, y), "w"),
        (lambda p, x, y: ({}, x, y), "w"),
        (lambda p, x, y: (p, np.zeros((0, 3)), np.zeros((0, 2))), "empty|0"),
        (lambda p, x, y: (p, x.astype(int), y), "int"),
        (lambda p, x, y: (p, np.array(["a", "b", "c"]), y), "dtype|x"),
    ],
    ids=["x", "y", "transpose", "one weight", "no weights", "empty batch", "integers", "strings"],
)
def test_arrays_that_do_not_fit_are_refused(spoil, found: str) -> None:  # type: ignore[no-untyped-def]
    f = dense([3, 4, 2], activation="tanh").gradient()
    with pytest.raises(SymbackpropError) as e:
        f(*spoil(*arrays()))
    assert any(part in str(e.value) for part in found.split("|")), str(e.value)


# ---------------------------------------------------------------- streams and files


def test_results_go_to_standard_output_and_nothing_to_standard_error() -> None:
    done = run("derive", "w_12^L", "--detail", "brief")
    assert done.returncode == 0 and done.stderr == b""
    assert "∂C₀/∂w₁₂⁽ᴸ⁾" in done.stdout.decode()


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("d.tex", r"\documentclass"),
        ("d.html", "<!DOCTYPE html>"),
        ("d.md", "#"),
        ("d.json", "{"),
        ("d.txt", "Derivation"),
    ],
)
def test_the_ending_of_the_output_implies_its_format(
    name: str, begins: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    arguments = ["-s"] if name == "d.tex" else []
    assert main(["derive", "w_12^L", "--detail", "brief", *arguments, "-o", str(path)]) == 0
    assert path.read_text(encoding="utf-8").lower().startswith(begins.lower())
    out, err = capsys.readouterr()
    assert out == "" and err == f"wrote {path}\n"
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("target", ["-", None])
def test_a_dash_is_standard_output(target: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", "w_12^L", "--format", "tex", "--detail", "brief", *(["-o", target] if target else [])]) == 0
    out, err = capsys.readouterr()
    assert r"\boxed{2\left(a_1^{(L)} - y_1\right)" in out and err == ""


def test_a_file_is_replaced_whole_or_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.tex"
    path.write_text("before")
    assert main(["derive", "w_99^L", "--sizes", "3,2", "-o", str(path)]) == 2
    assert path.read_text() == "before"
    assert main(["derive", "w_12^L", "-o", str(path)]) == 0
    assert "before" not in path.read_text()
    umask = os.umask(0)
    os.umask(umask)
    assert os.stat(path).st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert main(["derive", "w_12^L", "-o", str(tmp_path / "d.tex")]) == 2


def test_output_to_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", "w_12^L", "--detail", "brief", "-o", os.devnull]) == 0
    assert Path(os.devnull).exists() and not Path(os.devnull).is_file()


def test_ascii_where_the_terminal_cannot_show_unicode() -> None:
    done = run("derive", "w_12^L", "--detail", "brief", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    text = done.stdout.decode("ascii")
    assert "dC_0/dw_12^(L) = " in text and "2(a_1^(L) - y_1) * g'^(L)(z_1^(L)) * a_2^(L-1)" in text


@pytest.mark.parametrize(
    "command", [["derive", "--ascii"], ["derive", "--ascii", "--symbols"], ["model", "nielsen", "--ascii"]], ids=str
)
def test_ascii_is_ascii(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    assert capsys.readouterr().out.isascii()


def test_a_closed_pipe_is_no_error() -> None:
    reader = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.buffer.read(1)"], stdin=subprocess.PIPE)
    writer = subprocess.run(
        [sys.executable, "-m", "symbackprop", "derive", "--detail", "full", "--format", "html"],
        stdout=reader.stdin,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert reader.stdin is not None
    reader.stdin.close()
    reader.wait()
    assert writer.stderr == b"" and writer.returncode == 0


def test_without_arguments_three_examples_that_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    examples = [
        line.split("  ")[1].split() for line in capsys.readouterr().out.splitlines() if line.startswith("  symbackprop")
    ]
    assert len(examples) == 3
    for words in examples:
        assert main(words[1:]) == 0, words
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grad.py", "w12.html"]


def test_every_model_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"deeplizard", "3b1b", "nielsen"} <= set(names)
    for name in names:
        assert main(["model", name]) == 0
        assert "Equations" in capsys.readouterr().out


@pytest.mark.parametrize("detail", ["brief", "lecture", "full"])
@pytest.mark.parametrize("form", ["text", "tex", "md", "json"])
def test_every_format_in_every_detail(detail: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", "w_12^L", "--detail", detail, "--format", form]) == 0
    assert "Checked" in (out := capsys.readouterr().out) or "proved" in out


def test_status_is_1_where_a_check_refutes_and_3_where_it_is_left_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from symbackprop.api import Derivation

    for verdict, status in (("refuted", 1), ("undecided", 3), ("proved", 0)):
        monkeypatch.setattr(Derivation, "outcome", lambda self, notation, v=verdict: v)
        assert main(["derive", "w_12^L", "--detail", "brief"]) == status
    capsys.readouterr()


# ---------------------------------------------------------------- imports

HEAVY = ("sympy", "numpy", "mpmath", "latexify", "importlib.metadata")


def imported(code: str, *names: str) -> list[str]:
    """Which of the modules are loaded after `code`, in a process of its own."""
    report = f"\nimport sys; sys.stderr.write(','.join(m for m in {names!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    return [m for m in done.stderr.split(",") if m]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["derive", "--help"], ["models"], []], ids=str)
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported(f"from symbackprop.cli import main; assert main({arguments!r}) == 0", *HEAVY) == []


def test_building_a_network_imports_no_sympy() -> None:
    code = "from symbackprop import dense, load\ndense([784, 30, 10], activation='sigmoid', bias=True); dense(); load('nielsen')"
    assert imported(code, "sympy", "mpmath", "latexify") == []


def test_a_rational_derivation_imports_no_sympy() -> None:
    assert (
        imported("from symbackprop import dense\nassert dense().derive('w_12^L').check()", "sympy", "numpy", "latexify")
        == []
    )


def test_the_help_names_every_option_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", "--help"]) == 0
    text = capsys.readouterr().out
    for option in (
        "--symbols",
        "--backward",
        "--update",
        "--notation",
        "--detail",
        "--format",
        "-s",
        "-o",
        "--model",
        "--sizes",
        "--activation",
        "--loss",
        "--bias",
        "--no-bias",
    ):
        assert option in text
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"symbackprop {symbackprop.__version__}\n"
