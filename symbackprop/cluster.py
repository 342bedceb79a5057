"""The same work on a Dask cluster: many files to a task, results as they come, none lost when a worker dies.

A task hands its files to a process of its own beside the worker, which is killed when a file takes too long; so no hand-in
can hang or kill a worker of the cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from symbackprop.batch import HandIn, Setting, Worker, in_order, unfinished
from symbackprop.errors import ModelError, SymbackpropError
from symbackprop.report import Report

CHUNK = 25
"""Files in a task: enough that handing it over takes no time, few enough that little is done twice when a worker dies."""

SECONDS = 20.0
"""To wait for a cluster to answer."""

AHEAD = 3
"""Tasks handed over for each thread of the cluster before any is done."""

Files = Sequence[tuple[int, str, bytes, str]]


class ClusterError(SymbackpropError):
    """A cluster that cannot be reached or used."""


# ---------------------------------------------------------------- on the cluster

KEPT = threading.local()
"""The process beside each thread of a worker, kept from task to task."""


def check_files(
    setting: dict[str, Any], files: Files, command: Sequence[str] | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """What a task does: the reports on some files, as data."""
    wanted = Setting.from_record(setting)
    worker: Worker | None = getattr(KEPT, "worker", None)
    if worker is None or worker.setting != wanted:
        if worker is not None:
            worker.close()
        worker = KEPT.worker = Worker(wanted, command)
    return [(n, worker.check(HandIn(name, data, error)).record()) for n, name, data, error in files]


# ---------------------------------------------------------------- from here


def connected(address: str, seconds: float | None = None) -> Any:
    """A client of the cluster at an address.

    Raises:
        ClusterError: Dask is not installed, or there is no cluster, or it does not know symbackprop.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError("--cluster needs Dask; install it with: pip install 'symbackprop[dask]'") from None
    try:
        client = Client(address, timeout=seconds or SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as e:
        raise ClusterError(f"no Dask cluster answers at {address} ({str(e) or type(e).__name__}); expected an address such as tcp://10.0.0.1:8786") from None  # fmt: skip
    try:
        versions = client.run(version)
    except Exception as e:
        client.close()
        raise ClusterError(f"the workers at {address} cannot use symbackprop ({e}); install it there, in the version that is here") from None  # fmt: skip
    from symbackprop import __version__

    others = {v for v in versions.values() if v != __version__}
    if others:
        client.close()
        raise ClusterError(
            f"the workers at {address} have symbackprop {', '.join(sorted(others))}, here is {__version__}"
        )
    return client


def version() -> str:
    """The version of symbackprop, asked of each worker."""
    from symbackprop import __version__

    return __version__


def check_on_cluster(
    hand_ins: Iterable[HandIn],
    setting: Setting,
    address: str,
    *,
    chunk: int = CHUNK,
    command: Sequence[str] | None = None,
) -> Iterator[Report]:
    """The reports on many hand-ins, in their order, computed by the workers of a Dask cluster.

    Args:
        chunk: How many files go into a task.
        command: What starts a process that checks, on the cluster.

    Raises:
        ClusterError: There is no cluster, or it cannot be used.
    """
    client = connected(address)
    try:
        yield from in_order(streamed(client, enumerate(hand_ins), setting, chunk, command))
    finally:
        client.close()


def streamed(
    client: Any, tasks: Iterator[tuple[int, HandIn]], setting: Setting, chunk: int, command: Sequence[str] | None
) -> Iterator[tuple[int, Report]]:
    """The reports with the numbers of their files, in the order in which they are done."""
    from distributed import as_completed

    record = setting.record()
    files: dict[str, Files] = {}
    done = as_completed(loop=client.loop)

    def submit(some: Files) -> None:
        future = client.submit(check_files, record, some, command, pure=False, retries=2)
        files[future.key] = some
        done.add(future)

    def hand_over() -> bool:
        some = [(n, h.name, h.data, h.error) for n, h in taken(tasks, chunk)]
        if some:
            submit(some)
        return bool(some)

    threads = max(1, sum(client.nthreads().values()))
    for _ in range(AHEAD * threads):
        if not hand_over():
            break
    for future in done:
        some = files.pop(future.key)
        if future.status == "finished":
            yield from received(future, some)
            hand_over()
            continue
        problem = fault(future)
        if isinstance(problem, ModelError):
            raise problem
        if future.status == "cancelled" or client.status != "running":
            yield from ((n, unfinished(name, "not checked: the cluster went away")) for n, name, _, _ in some)
        elif len(some) > 1:  # one of them may have ended its worker: each by itself
            for one in some:
                submit([one])
        else:
            n, name, _, _ = some[0]
            yield n, unfinished(name, f"not finished: {problem}")
        hand_over()


def taken(tasks: Iterator[tuple[int, HandIn]], count: int) -> Iterator[tuple[int, HandIn]]:
    """The next few tasks."""
    for _ in range(count):
        task = next(tasks, None)
        if task is None:
            return
        yield task


def received(future: Any, some: Files) -> Iterator[tuple[int, Report]]:
    """The reports of a task; where they were lost on the way, that is what is said of its files."""
    try:
        results = future.result(timeout=120)
    except Exception as e:
        yield from ((n, unfinished(name, f"not finished: {e}")) for n, name, _, _ in some)
        return
    for n, r in results:
        yield n, Report.from_record(r)


def fault(future: Any) -> BaseException:
    """What a task failed with."""
    try:
        error = future.exception(timeout=10)
    except Exception as e:
        error = e
    return error if isinstance(error, BaseException) else RuntimeError("the task was lost")


__all__ = ["ClusterError", "check_on_cluster"]
