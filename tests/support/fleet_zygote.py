"""Forks off the processes of a fleet, as `chaos_zygote` does those of its runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where it is run as a script

import chaos_zygote


class Zygote(chaos_zygote.Zygote):
    """The handle by which a test has processes of a fleet started."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}
        self.stopped: set[int] = set()
        self._started: list[int] = []
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._wait_for_line()
        os.set_blocking(self._process.stdout.fileno(), False)


if __name__ == "__main__":
    import fleet_child

    sys.modules["chaos_child"] = fleet_child  # whom it forks off
    chaos_zygote.main()
