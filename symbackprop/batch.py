"""Many hand-ins at once: processes that can be killed, each with the model loaded once; results in order, none lost.

A pool of `concurrent.futures` is given up as a whole when one of its processes is killed, and the processes of
`multiprocessing` start no processes of their own, which a worker of a cluster must. So a worker is an ordinary
subprocess here, with one thread of ours that hands it a file, waits, and kills it when its time is over.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from symbackprop.errors import ModelError, OutputError, SymbackpropError
from symbackprop.report import Report

if TYPE_CHECKING:
    import subprocess

    from symbackprop.api import Network

ENDINGS = (".tex", ".md", ".ipynb", ".txt")
"""Of the files that are taken from a folder."""

MAX_BYTES = 64_000_000
"""Of a file that is read at all; what is a hand-in is far smaller."""

TIMEOUT = 60.0
"""Seconds for a file."""

MEMORY = 4 << 30
"""Bytes of address space for a process that checks."""

RENEWED = 500
"""Files after which a process is replaced, so that what it remembers cannot pile up."""


# ---------------------------------------------------------------- what to check


@dataclass(frozen=True)
class Setting:
    """What files are checked against, as data that another process or machine can take.

    Args:
        model: The name of a built-in model; else that of the file that `text` comes from.
        text: A model file.
        changes: Further arguments of `load`.
        goal, let: As `Network.check` takes them.
        timeout: Seconds for each file.
        memory: Bytes of address space for each process; 0 for no limit.
    """

    model: str = "deeplizard"
    text: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    goal: str | None = None
    let: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    memory: int = MEMORY

    def record(self) -> dict[str, Any]:
        return {**vars(self), "changes": dict(self.changes), "let": list(self.let)}

    @classmethod
    def from_record(cls, r: Mapping[str, Any]) -> Setting:
        return cls(**{**r, "let": tuple(r["let"])})

    def network(self) -> Network:
        """The network of the model.

        Raises:
            SymbackpropError: The model is not understood, or takes no such changes.
        """
        from symbackprop.api import load

        if self.text is None:
            return load(self.model, **self.changes)
        import tempfile

        with tempfile.TemporaryDirectory(prefix="symbackprop-") as folder:
            name = os.path.splitext(os.path.basename(self.model))[0] or "model"
            path = os.path.join(folder, f"{name}.tex")
            with open(path, "w", encoding="utf-8") as f:
                f.write(self.text)
            return load(path, **self.changes)


@dataclass(frozen=True)
class HandIn:
    """A file to check: its name and its bytes, or why it cannot be read."""

    name: str
    data: bytes = b""
    error: str = ""


def hand_in(path: str) -> HandIn:
    """Read a file; `-` is standard input."""
    name = "standard input" if path == "-" else shown_name(path)
    try:
        if path == "-":
            return HandIn(name, sys.stdin.buffer.read(MAX_BYTES + 1))
        with open(path, "rb") as f:
            return HandIn(name, f.read(MAX_BYTES + 1))
    except (OSError, ValueError) as e:
        return HandIn(name, error=f"cannot read {name}: {getattr(e, 'strerror', None) or e}")


def shown_name(path: str) -> str:
    """A path as text: bytes of it that are no UTF-8 as their escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace") if path.isascii() is False else path


def find_files(paths: Sequence[str]) -> Iterator[str]:
    """The files themselves, and those in folders that look like hand-ins, in the order of their names.

    Hidden ones are left out, and so are links that lead out of their folder: a hand-in must not choose what is read.

    Raises:
        OutputError: A folder holds none.
    """
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            yield path
            continue
        found = [f for f in walk(path) if f.lower().endswith(ENDINGS)]
        if not found:
            raise OutputError(f"{shown_name(path)}: no {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]} file in this folder")
        yield from found


def walk(folder: str) -> Iterator[str]:
    home = os.path.realpath(folder)
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            path = os.path.join(at, name)
            if os.path.isfile(path) and os.path.realpath(path).startswith(os.path.join(home, "")):
                yield path


# ---------------------------------------------------------------- one check


def check_one(net: Network, setting: Setting, given: HandIn) -> Report:
    """The report on one hand-in: there is one for all bytes, whatever goes wrong.

    Raises:
        GoalError: The goal or a `let` of the setting is wrong, which no hand-in can be blamed for.
    """
    if given.error:
        return Report(given.name, (), error=given.error)
    if len(given.data) > MAX_BYTES:
        return unfinished(given.name, f"too large: more than {MAX_BYTES // 1_000_000} MB")
    start = time.perf_counter()
    try:
        report = net.check(given.data, goal=setting.goal, let=setting.let, name=given.name)
    except (MemoryError, RecursionError) as e:
        return unfinished(
            given.name, "too large: " + ("not enough memory" if isinstance(e, MemoryError) else "too deep")
        )
    except SymbackpropError:
        raise
    except Exception as e:
        if os.environ.get("SYMBACKPROP_DEBUG"):
            raise
        return unfinished(given.name, f"a defect of ours ({type(e).__name__}: {e}); SYMBACKPROP_DEBUG=1 shows where")
    return replace(report, file=report.file or given.name, seconds=time.perf_counter() - start)


def unfinished(name: str, why: str) -> Report:
    """The report where no verdict was reached: undecided, with the reason."""
    return Report(name, (), notes=(why,))


def worst(statuses: Iterable[int]) -> int:
    """The exit status of several: 1 where something is refuted, else 2 where a file cannot be read, else 3, else 0.

    >>> worst([0, 3, 2, 1]), worst([0, 3, 2]), worst([0, 0])
    (1, 2, 0)
    """
    found = set(statuses)
    return next((s for s in (1, 2, 3) if s in found), 0)


# ---------------------------------------------------------------- the process that checks


def serve(
    check: Callable[[Any, Setting, HandIn], Report] = check_one, opened: Callable[[Setting], Any] | None = None
) -> None:
    """Answer what comes on standard input until it ends: what a worker process runs.

    Args:
        check: What makes a report of a hand-in.
        opened: What makes of the setting what `check` takes first: its network.
    """
    # Nothing that a check prints or reads may meet the two pipes.
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for n in (0, 1, 2):
        os.dup2(nowhere, n)
    setting = Setting.from_record(decoded(taken(questions) or b""))
    limit(setting.memory)
    try:
        net = (opened or Setting.network)(setting)
    except SymbackpropError as e:
        send(answers, encoded({"fault": str(e)}))
        return
    send(answers, encoded({"ready": True}))
    while (name := taken(questions)) is not None:
        data = taken(questions)
        if data is None:
            return
        alarm(2 * setting.timeout + 5)  # where nobody is left to end us
        try:
            report = check(net, setting, HandIn(name.decode("utf-8", "replace"), data))
        except SymbackpropError as e:
            report = unfinished(name.decode("utf-8", "replace"), str(e))
        alarm(0)
        send(answers, encoded(report.record()))


def limit(memory: int) -> None:
    """Bound what this process may take, where the system can; an interrupt from the keyboard is the parent's to handle."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def alarm(seconds: float) -> None:
    """End this process after so many seconds, whatever it is doing then; 0 for never."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(8, "big") + message)
    pipe.flush()


def taken(pipe: IO[bytes]) -> bytes | None:
    """The next message; None where the other side has ended."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "big")
    message = pipe.read(size)
    return message if len(message) == size else None


def encoded(data: Any) -> bytes:
    import json

    return json.dumps(data).encode("ascii")


def decoded(message: bytes) -> Any:
    import json

    return json.JSONDecoder().decode(message.decode("ascii"))


# ---------------------------------------------------------------- the processes, from outside

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# -P and the path behind all others: no file of the folder that we are called in, where hand-ins lie, is imported.
COMMAND = (sys.executable, "-P", "-c", f"import sys; sys.path.append({HERE!r}); from symbackprop.batch import serve; serve()")  # fmt: skip


class WorkerDied(Exception):
    """A process that checks has ended without an answer; the message says how."""


class OutOfTime(Exception):
    """A process that checks was ended because a file took too long."""


class Worker:
    """One process that checks, seen from outside. It starts when it is first asked, and again after each end."""

    def __init__(self, setting: Setting, command: Sequence[str] | None = None) -> None:
        self.setting, self.command = setting, tuple(command or COMMAND)
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = 0
        self.stopped = False

    def check(self, given: HandIn) -> Report:
        """The report on a hand-in. A process that dies over it is replaced, and it is tried once more.

        Raises:
            ModelError: No process can be started with this setting.
        """
        if given.error:
            return Report(given.name, (), error=given.error)
        if len(given.data) > MAX_BYTES:
            return unfinished(given.name, f"too large: more than {MAX_BYTES // 1_000_000} MB")
        start = time.perf_counter()
        died = ""
        for _ in range(2):
            try:
                return self.ask(given)
            except OutOfTime:
                why = f"too large: stopped after {self.setting.timeout:g} s"
                return replace(unfinished(given.name, why), seconds=time.perf_counter() - start)
            except WorkerDied as e:
                died = str(e)
                if self.stopped:
                    break
        return replace(unfinished(given.name, f"not finished: {died}"), seconds=time.perf_counter() - start)

    def ask(self, given: HandIn) -> Report:
        if self.asked >= RENEWED:
            self.close()
        if self.process is None:
            self.start()
        name = given.name.encode("utf-8", "backslashreplace")
        answer = self.exchange((name, given.data), self.setting.timeout)
        self.asked += 1
        return Report.from_record(answer)

    def start(self) -> None:
        import subprocess

        self.asked = 0
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            answer = self.exchange((encoded(self.setting.record()),), max(60.0, self.setting.timeout))
        except (WorkerDied, OutOfTime) as e:
            raise ModelError(f"a process that checks cannot be started: {e or 'no answer'}") from None
        if "fault" in answer:
            self.close()
            raise ModelError(str(answer["fault"]))

    def exchange(self, messages: Sequence[bytes], seconds: float) -> Any:
        """Send messages and wait for the answer, no longer than so many seconds."""
        import threading

        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        answer = None
        try:
            for m in messages:
                send(process.stdin, m)
            answer = taken(process.stdout)
        except (OSError, ValueError):  # it has ended, or was ended by us
            pass
        finally:
            timer.cancel()
        if answer is not None:
            return decoded(answer)
        self.close()
        if late.is_set():
            raise OutOfTime
        raise WorkerDied(how_it_ended(process.returncode))

    def stop(self) -> None:
        """End the process from another thread, for good."""
        self.stopped = True
        process = self.process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    pass
            process.wait()


def how_it_ended(code: int | None) -> str:
    """How a process has ended, in words."""
    import signal

    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = " (out of memory?)" if name in ("SIGKILL", "SIGABRT", "SIGSEGV") else ""
        return f"ended by {name}{memory}"
    return f"its process has ended with status {code}"


def cores() -> int:
    """How many processes can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def check_many(
    hand_ins: Iterable[HandIn], setting: Setting, jobs: int | None = None, command: Sequence[str] | None = None
) -> Iterator[Report]:
    """The reports on many hand-ins, in their order, each as soon as it and those before it are done.

    Args:
        hand_ins: They are taken one by one, so that not all of them are in memory.
        jobs: How many processes; None for one on each core.
        command: What starts a process that checks.

    Raises:
        ModelError: No process can be started with this setting.
    """
    return in_order(checked(enumerate(hand_ins), setting, jobs or cores(), command))


def checked(
    tasks: Iterator[tuple[int, HandIn]], setting: Setting, jobs: int, command: Sequence[str] | None = None
) -> Iterator[tuple[int, Report]]:
    """The reports with the numbers of their tasks, in the order in which they are done."""
    import queue
    import threading

    lock, stopped = threading.Lock(), threading.Event()
    done: queue.Queue[tuple[int, Report] | BaseException | None] = queue.Queue()
    workers = [Worker(setting, command) for _ in range(jobs)]

    def next_task() -> tuple[int, HandIn] | None:
        with lock:
            return None if stopped.is_set() else next(tasks, None)

    def drive(worker: Worker) -> None:
        try:
            while (task := next_task()) is not None:
                report = worker.check(task[1])
                if not stopped.is_set():
                    done.put((task[0], report))
        except BaseException as e:  # what a thread cannot handle is raised where its results are taken
            done.put(e)
        finally:
            worker.close()
            done.put(None)

    threads = [threading.Thread(target=drive, args=(w,), daemon=True) for w in workers]
    for t in threads:
        t.start()
    running = len(threads)
    try:
        while running:
            item = done.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        stopped.set()
        for w in workers:
            w.stop()
        for t in threads:
            t.join(5.0)


def in_order(numbered: Iterator[tuple[int, Report]]) -> Iterator[Report]:
    """Reports in the order of their numbers, each as soon as it can be given."""
    waiting: dict[int, Report] = {}
    following = 0
    for number, report in numbered:
        waiting[number] = report
        while following in waiting:
            yield waiting.pop(following)
            following += 1


__all__ = ["HandIn", "Setting", "check_many", "check_one", "find_files", "hand_in", "worst"]
