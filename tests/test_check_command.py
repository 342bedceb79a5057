"""The command `check`: what it prints, where, in which form, and its exit status."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fake_checker
import pytest
from findings import HOMEWORK

from symbackprop import batch
from symbackprop.api import Network
from symbackprop.cli import main
from symbackprop.errors import GoalError
from symbackprop.report import Report


@pytest.fixture(autouse=True)
def obedient(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A judge that does what a hand-in says, here and in the processes that check."""
    calls: list[dict[str, Any]] = []

    def check(
        self: Network, text: bytes, goal: str | None = None, let: Sequence[str] = (), name: str = "", **_: Any
    ) -> Report:
        calls.append({"net": repr(self), "text": text, "goal": goal, "let": let, "name": name})
        if goal == "nonsense":
            raise GoalError("no goal is called nonsense")
        return fake_checker.Obedient().check(text if isinstance(text, bytes) else text.encode(), goal, let, name)

    monkeypatch.setattr(Network, "check", check)
    monkeypatch.setattr(batch, "COMMAND", fake_checker.COMMAND)
    return calls


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    folder.mkdir()
    for name, text in (
        ("a.tex", "right"),
        ("b.tex", "homework"),
        ("c.md", "nothing"),
        ("d.txt", "die"),
        ("e.tex", "slow"),
    ):
        (folder / name).write_text(text)
    return folder


def written(tmp_path: Path, text: str | bytes, name: str = "x.tex") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


# ---------------------------------------------------------------- exit status


@pytest.mark.parametrize(("text", "status"), [("right", 0), ("homework", 1), ("nothing", 3), ("hostile", 1)])
def test_the_exit_status_is_that_of_the_report(text: str, status: int, tmp_path: Path) -> None:
    assert main(["check", written(tmp_path, text)]) == status


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"\x00" * 10, "שלום\u202e".encode(), b"fail", b"deep"])
def test_any_bytes_get_a_verdict(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path, data)]) in (0, 3)
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: FILE"),
        (["no.tex"], "cannot read no.tex: No such file"),
        (["{x}", "--model", "nosuch"], "no model is called 'nosuch'"),
        (["{x}", "--goal", "nonsense"], "no goal is called nonsense"),
        (["{x}", "--format", "tex"], "a check has no format 'tex'"),
        (["{x}", "--format", "pdf"], "no format is called 'pdf'"),
        (["{x}", "--json", "--format", "md"], "either --json or --format md"),
        (["{x}", "-o", "r.tex"], "a check has no format 'tex'"),
        (["{x}", "--timeout", "soon"], "--timeout soon: expected seconds"),
        (["{x}", "--timeout", "-1"], "expected seconds"),
        (["{x}", "--jobs", "0"], "--jobs 0: expected a number"),
        (["-", "-"], "standard input can be read only once"),
        (["-", "--model", "-"], "standard input can be read only once"),
        (["{empty}"], "no .tex, .md, .ipynb or .txt file in this folder"),
        (["{x}", "-o", "/nowhere/r.html"], "there is no folder /nowhere"),
        (["{x}", "{x}", "--cluster", "tcp://127.0.0.1:1"], "Dask"),
    ],
)  # fmt: skip
def test_bad_usage_is_2_on_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("symbackprop.cluster.SECONDS", 0.5)
    (tmp_path / "empty").mkdir()
    names = {"x": written(tmp_path, "right"), "empty": str(tmp_path / "empty")}
    assert main(["check", *(a.format(**names) for a in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and "Traceback" not in err


def test_a_wrong_goal_is_told_before_any_file_is_checked(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(course), "--goal", "nonsense"]) == 2
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- one file


def test_options_reach_the_judge(tmp_path: Path, obedient: list[dict[str, Any]]) -> None:
    path = written(tmp_path, "right")
    assert main(["check", path, "--sizes", "2-3-1", "--activation", "sigmoid", "--goal", "w_jk^l", "--let", "E=C_0", "--let", r"\sigma=g"]) == 0  # fmt: skip
    last = obedient[-1]
    assert last["net"] == "Network(2-3-1, sigmoid, sum_squares)"
    assert (last["goal"], last["let"], last["text"], last["name"]) == ("w_jk^l", ("E=C_0", r"\sigma=g"), b"right", path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"homework")))
    assert main(["check", "-"]) == 1
    assert "standard input: refuted." in capsys.readouterr().out


def test_json_of_one_file_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "homework")
    assert main(["check", path, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert list(data)[:6] == ["schema", "file", "verdict", "answered", "first_wrong_claim", "claims"]
    assert data["file"] == path and len(data["claims"]) == len(HOMEWORK.claims)


@pytest.mark.parametrize(("name", "begin"), [("r.html", "<!DOCTYPE"), ("r.md", "# "), ("r.json", "{"), ("r.txt", "✓")])
def test_the_ending_of_the_output_gives_the_form(name: str, begin: str, tmp_path: Path) -> None:
    assert main(["check", written(tmp_path, "homework"), "-o", str(tmp_path / name)]) == 1
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begin)


def test_plain_output_has_no_colours_and_ascii_no_other_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "homework")
    main(["check", path])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main(["check", path])
    assert "\x1b[1;31m" in capsys.readouterr().out
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as m:
            m.setenv(name, value)
            m.setattr(sys.stdout, "isatty", lambda: True)
            main(["check", path])
            assert "\x1b" not in capsys.readouterr().out
    main(["check", path, "--ascii"])
    assert capsys.readouterr().out.replace("\x1b[", "").isascii()


def test_one_file_that_takes_too_long_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path, "hang"), "--timeout", "0.3"]) == 3
    assert "too large: stopped after 0.3 s" in capsys.readouterr().out


# ---------------------------------------------------------------- several files


def test_a_folder_gives_a_table_in_order(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(course), "--jobs", "2"]) == 1
    out, err = capsys.readouterr()
    rows = out.splitlines()
    assert [r.split()[0] for r in rows[1:6]] == ["a.tex", "b.tex", "c.md", "d.txt", "e.tex"]
    assert f"5 files in {course}: 2 proved, 1 refuted, 2 undecided" in " ".join(out.split())
    assert "ended by SIGKILL" in out
    assert err == ""  # no progress where no terminal is


def test_json_of_several_is_one_object_on_each_line(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(course), "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verdict"] for line in lines] == ["proved", "refuted", "undecided", "undecided", "proved"]
    assert all(line["schema"] == 1 for line in lines)


def test_csv_beside_the_table(course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(course), "--csv", str(tmp_path / "t.csv")]) == 1
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text(encoding="utf-8"))))
    assert [r["verdict"] for r in rows] == ["proved", "refuted", "undecided", "undecided", "proved"]
    assert rows[1]["first_wrong_claim"] == "3" and rows[1]["first_wrong_place"] == "line 9"
    assert "5 files" in capsys.readouterr().out


@pytest.mark.parametrize(("form", "part"), [("html", 'id="f5"'), ("md", "| file | verdict |")])
def test_one_page_for_several(form: str, part: str, course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(course), "--format", form]) == 1
    assert part in capsys.readouterr().out


def test_an_unreadable_file_is_told_and_the_others_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, gone = written(tmp_path, "right"), str(tmp_path / "gone.tex")
    assert main(["check", good, gone, good, "--json"]) == 2
    out, err = capsys.readouterr()
    assert [json.loads(line)["error"] is None for line in out.splitlines()] == [True, False, True]
    assert "gone.tex: No such file" in err
    assert main(["check", gone, written(tmp_path, "homework", "y.tex")]) == 1


def test_a_model_from_a_file_is_what_several_are_checked_against(tmp_path: Path) -> None:
    model = written(tmp_path, "C = \\sum_{j=1}^{J} (a_j - y_j)^2 \\\\ a_j = \\sum_{k=1}^{K} w_{jk} x_k", "m.tex")
    x = written(tmp_path, "right")
    assert main(["check", x, x, "--model", model, "--size", "K=3"]) == 0


def test_an_interrupt_leaves_what_is_done(tmp_path: Path) -> None:
    """In a process of its own, as the shell would send it."""
    for n in range(3):
        written(tmp_path, "right", f"{n}.tex")
    written(tmp_path, "hang", "3.tex")
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "import fake_checker\n"
        "from symbackprop import batch, cli\n"
        "from symbackprop.api import Network\n"
        "Network.check = lambda self, *a, **k: None\n"
        "batch.COMMAND = fake_checker.COMMAND\n"
        "raise SystemExit(cli.main(['check', *sys.argv[2:]]))\n"
    )
    table = tmp_path / "t.csv"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path), "--json", "--jobs", "1", "--csv", str(table)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(2)
    rest, err = process.communicate(timeout=30)
    assert [json.loads(line)["verdict"] for line in lines] == ["proved"] * 3 and rest == ""
    assert process.returncode == 130 and "3 of 4 files are checked" in err and "Traceback" not in err
    assert len(table.read_text().splitlines()) == 4


# ---------------------------------------------------------------- a cold start


def test_one_file_is_checked_without_what_only_many_need() -> None:
    script = (
        "import sys, io\n"
        "from symbackprop.api import Network\n"
        "from symbackprop.report import Report\n"
        "Network.check = lambda self, *a, **k: Report('', ())\n"
        "sys.stdin = io.TextIOWrapper(io.BytesIO(b'x'))\n"
        "from symbackprop.cli import main\n"
        "main(['check', '-'])\n"
        "print(sorted({'sympy', 'numpy', 'json', 'multiprocessing', 'subprocess', 'distributed', 'csv'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
