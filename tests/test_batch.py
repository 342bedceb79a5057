"""Many hand-ins: in order, none lost, whatever one of them does to the process that checks it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_checker import COMMAND

from symbackprop import batch
from symbackprop.batch import HandIn, Setting, check_many, find_files, hand_in, worst
from symbackprop.errors import ModelError, OutputError
from symbackprop.report import Report

RIGHT = HandIn("right.tex", b"right")


def run(*texts: str, jobs: int = 2, timeout: float = 30.0, memory: int = batch.MEMORY) -> list[Report]:
    hand_ins = [HandIn(f"{n}.tex", t.encode()) for n, t in enumerate(texts)]
    found = list(check_many(hand_ins, Setting(timeout=timeout, memory=memory), jobs, COMMAND))
    assert [r.file for r in found] == [h.name for h in hand_ins]
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_reports_come_in_order_and_are_those_of_the_judge() -> None:
    from findings import ALL_RIGHT, HOMEWORK, HOSTILE

    found = run("slow", "homework", "right", "hostile", "slow", "homework")
    assert [r.verdict for r in found] == ["proved", "refuted", "proved", "refuted", "proved", "refuted"]
    assert found[1].claims == HOMEWORK.claims == found[5].claims
    assert found[2].claims == ALL_RIGHT.claims
    assert found[3].claims == HOSTILE.claims


def test_the_model_is_loaded_once_for_each_process() -> None:
    assert len({r.notes for r in run(*["right"] * 12)}) <= 2


def test_a_process_that_is_killed_loses_nothing() -> None:
    found = run("right", "die", "right", "homework", "die", "right")
    assert [r.verdict for r in found] == ["proved", "undecided", "proved", "refuted", "undecided", "proved"]
    assert "SIGKILL" in found[1].notes[0]
    assert found[1].exit_status == 3


def test_a_file_whose_process_was_killed_by_someone_else_is_checked_again(tmp_path: Path) -> None:
    assert run(f"die-once {tmp_path / 'dead'}", "right")[0].verdict == "proved"


def test_a_hang_is_ended_and_the_others_go_on() -> None:
    found = run("right", "hang", "right", "right", timeout=0.5)
    assert [r.verdict for r in found] == ["proved", "undecided", "proved", "proved"]
    assert found[1].notes == ("too large: stopped after 0.5 s",)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no limit on memory here")
def test_a_file_that_takes_too_much_memory_is_undecided() -> None:
    found = run("fill", "right", memory=1 << 30)
    assert [r.verdict for r in found] == ["undecided", "proved"]
    assert "not enough memory" in found[0].notes[0]


def test_every_failure_of_a_check_is_a_report() -> None:
    deep, fail = run("deep", "fail")
    assert "too deep" in deep.notes[0] and deep.verdict == "undecided"
    assert "ZeroDivisionError: planted" in fail.notes[0] and fail.verdict == "undecided"


def test_what_a_check_prints_or_reads_meets_no_answer() -> None:
    assert [r.verdict for r in run("print", "homework", jobs=1)] == ["proved", "refuted"]


def test_no_process_is_left_over() -> None:
    pids = [int(r.notes[0].split()[1]) for r in run("right", "right", "right")]
    assert not any(map(alive, pids))


def test_an_interrupted_run_leaves_no_process_and_what_was_done() -> None:
    reports = check_many(iter([RIGHT, HandIn("h", b"hang"), RIGHT]), Setting(), 1, COMMAND)
    pid = int(next(reports).notes[0].split()[1])
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        next(reports)
    assert not alive(pid)


def test_a_process_whose_parent_is_killed_ends_too(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from symbackprop.batch import HandIn, Setting, Worker\n"
        f"worker = Worker(Setting(), {COMMAND!r})\n"
        "print(worker.check(HandIn('a', b'right')).notes[0].split()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None and parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(200):
        if not alive(pid):
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"process {pid} outlived its parent")


def test_a_process_is_renewed_after_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "RENEWED", 2)
    notes = [r.notes[0] for r in run(*["right"] * 6, jobs=1)]
    assert len(set(notes)) == 3 and notes[0] == notes[1]


def test_a_setting_that_cannot_be_opened_is_an_error_not_a_verdict() -> None:
    with pytest.raises(ModelError, match="planted: a bad model"):
        list(check_many([RIGHT], Setting(model="bad"), 1, COMMAND))


def test_a_process_that_cannot_start_is_an_error() -> None:
    with pytest.raises(ModelError, match="cannot be started"):
        list(check_many([RIGHT], Setting(), 1, (sys.executable, "-c", "raise SystemExit(7)")))


def test_hand_ins_are_taken_as_they_are_needed() -> None:
    given = []

    def hand_ins() -> Iterator[HandIn]:
        for n in range(1000):
            given.append(n)
            yield HandIn(f"{n}", b"right")

    reports = check_many(hand_ins(), Setting(), 2, COMMAND)
    next(reports)
    reports.close()  # type: ignore[attr-defined]
    assert len(given) < 1000


def test_no_module_of_the_folder_with_the_hand_ins_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "symbackprop", "signal", "tempfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    worker = batch.Worker(Setting())
    worker.start()
    worker.close()


# ---------------------------------------------------------------- files


def test_files_of_a_folder_come_sorted_and_only_hand_ins(tmp_path: Path) -> None:
    for name in ("b.tex", "a.md", "sub/c.IPYNB", "sub/deep/d.txt", "e.py", ".hidden.tex", ".git/x.tex", "f.tex~"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = [os.path.relpath(f, tmp_path) for f in find_files([str(tmp_path)])]
    assert found == ["a.md", "b.tex", "sub/c.IPYNB", "sub/deep/d.txt"]


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.tex").write_text("x")
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "in.tex").write_text("x")
    (folder / "out.tex").symlink_to(tmp_path / "secret.tex")
    (folder / "same.tex").symlink_to(folder / "in.tex")
    (folder / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [os.path.basename(f) for f in find_files([str(folder)])] == ["in.tex", "same.tex"]


def test_a_folder_without_hand_ins_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no \.tex, \.md, \.ipynb or \.txt file"):
        list(find_files([str(tmp_path)]))


def test_a_file_that_cannot_be_read_has_a_report_in_its_place(tmp_path: Path) -> None:
    found = list(check_many([RIGHT, hand_in(str(tmp_path / "none.tex")), RIGHT], Setting(), 1, COMMAND))
    assert [r.exit_status for r in found] == [0, 2, 0]
    assert "No such file" in found[1].error


def test_a_name_that_is_no_text_is_shown_with_its_bytes(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\xfe.tex")
    Path(path).write_bytes(b"right")
    given = hand_in(path)
    assert given.name.endswith("\\xff\\xfe.tex") and given.data == b"right"
    assert next(check_many([given], Setting(), 1, COMMAND)).file == given.name


def test_the_status_of_several_is_the_first_of_1_2_3_0() -> None:
    assert [worst(s) for s in ([0, 1, 2, 3], [0, 3, 2], [0, 3], [0, 0])] == [1, 2, 3, 0]
