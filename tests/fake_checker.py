"""A process that checks as the real one does, with a judge that does what a hand-in says: hang, die, fill the memory."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from findings import ALL_RIGHT, HOMEWORK, HOSTILE, NOTHING

from symbackprop.batch import Setting, serve
from symbackprop.errors import ModelError
from symbackprop.report import Report

COMMAND = (sys.executable, __file__)

REPORTS = {"right": ALL_RIGHT, "homework": HOMEWORK, "hostile": HOSTILE, "nothing": NOTHING}


class Obedient:
    """In the place of a network: its check does what the text says."""

    def check(self, data: bytes, goal: str | None = None, let: Sequence[str] = (), name: str = "") -> Report:
        word, _, rest = data.decode("utf-8", "replace").strip().partition(" ")
        if word == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            while True:
                time.sleep(0.01)
        if word == "die" or (word == "die-once" and not os.path.exists(rest)):
            if rest:
                Path(rest).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "fill":
            filled = bytearray(8 << 30)
            raise AssertionError(len(filled))
        if word == "deep":
            return self.check(data)
        if word == "fail":
            raise ZeroDivisionError("planted")
        if word == "print":
            print("noise" * 10_000)
            os.write(1, b"more noise")
            os.read(0, 10)
        if word == "slow":
            time.sleep(0.3)
        return replace(REPORTS.get(word, ALL_RIGHT), file=name, notes=(f"process {os.getpid()}",))


def opened(setting: Setting) -> Any:
    if setting.model == "bad":
        raise ModelError("planted: a bad model")
    return Obedient()


if __name__ == "__main__":
    serve(opened=opened)
