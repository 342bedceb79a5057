"""The same on a Dask cluster: in order, none lost, with a worker killed on the way."""

from __future__ import annotations

import builtins
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from fake_checker import COMMAND

from symbackprop.batch import HandIn, Setting
from symbackprop.cluster import ClusterError, check_on_cluster
from symbackprop.report import Report


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("distributed", "dask"):
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ClusterError, match=r"pip install 'symbackprop\[dask\]'"):
        list(check_on_cluster([], Setting(), "tcp://127.0.0.1:1"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as made:
        yield made


def check(cluster: Any, texts: list[str], setting: Setting | None = None, chunk: int = 5) -> Iterator[Report]:
    hand_ins = (HandIn(f"{n}.tex", t.encode()) for n, t in enumerate(texts))
    return check_on_cluster(hand_ins, setting or Setting(), cluster.scheduler_address, chunk=chunk, command=COMMAND)


def test_no_cluster_at_an_address_is_an_error() -> None:
    pytest.importorskip("distributed")
    from symbackprop.cluster import connected

    with pytest.raises(ClusterError, match=r"no Dask cluster answers at tcp://127\.0\.0\.1:1"):
        connected("tcp://127.0.0.1:1", 1.0)


def test_reports_come_in_order_and_a_bad_file_harms_no_other(cluster: Any) -> None:
    texts = ["right", "homework", "die", "hang", "right", "fill", "deep", *["right"] * 20]
    found = list(check(cluster, texts, Setting(timeout=1.0, memory=1 << 30)))
    assert [r.file for r in found] == [f"{n}.tex" for n in range(len(texts))]
    assert [r.verdict for r in found[:7]] == ["proved", "refuted", *["undecided"] * 2, "proved", *["undecided"] * 2]
    assert found[3].notes == ("too large: stopped after 1 s",)
    assert all(r.verdict == "proved" for r in found[7:])


def test_none_is_lost_when_a_worker_is_killed(cluster: Any) -> None:
    from distributed import Client

    texts = ["slow" if n % 7 == 0 else "right" for n in range(200)]
    with Client(cluster, set_as_default=False) as client:
        pids = sorted(client.run(os.getpid).values())
    reports = check(cluster, texts)
    found = [next(reports)]
    os.kill(pids[0], signal.SIGKILL)
    found += reports
    assert [r.file for r in found] == [f"{n}.tex" for n in range(len(texts))]
    assert {r.verdict for r in found} == {"proved"}
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        assert sorted(client.run(os.getpid).values()) != pids  # it was killed, and another has come
