"""Starts processes quickly: one that has imported everything forks off each of them.

It forks before it has a loop or a thread, takes its orders from standard input, and tells on
standard output whom it started and how each ended. When its input ends, so do they all.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

_HERE = Path(__file__).resolve()


class Zygote:
    """The handle by which a test has processes started."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}  # how, as `waitstatus_to_exitcode` tells: -9 is SIGKILL
        self.stopped: set[int] = set()
        self._started: list[int] = []
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdout is not None
        self._wait_for_line()  # it is ready
        os.set_blocking(self._process.stdout.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def fork(self, plan: str) -> int:
        """Start a process; give its id."""
        assert self._process.stdin is not None
        self._process.stdin.write(plan.encode() + b"\n")
        while not self._started:
            self._listen(timeout=30)
        return self._started.pop()

    def listen(self) -> None:
        """Learn who ended meanwhile."""
        self._listen(timeout=0)

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process that was started here and has not ended."""
        self.listen()
        if pid not in self.ended:
            self.stopped.discard(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _listen(self, *, timeout: float) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not ready:
            if timeout:
                raise TimeoutError("the zygote says nothing")
            return
        chunk = os.read(self._process.stdout.fileno(), 65536)
        if not chunk:
            raise RuntimeError("the zygote has ended")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._hear(**json.loads(line))

    def _hear(self, *, word: str, pid: int, status: int) -> None:
        if word == "started":
            self._started.append(pid)
        elif word == "stopped":
            self.stopped.add(pid)
        else:
            self.ended[pid] = status

    def _wait_for_line(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"\n":
            raise RuntimeError("the zygote did not start")


def main() -> None:
    """Fork until the input ends."""
    sys.path.insert(0, str(_HERE.parent))
    import gc

    import chaos_child

    wakes, wake = os.pipe()
    for end in (wakes, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    chaos_child.warm_up()
    gc.freeze()
    os.write(1, b"\n")
    children: set[int] = set()
    rest = b""
    while True:
        ready, _, _ = select.select([0, wakes], [], [])
        if wakes in ready:
            with suppress(BlockingIOError):
                os.read(wakes, 4096)
            _reap(children)
        if 0 in ready:
            chunk = os.read(0, 65536)
            if not chunk:
                break
            *plans, rest = (rest + chunk).split(b"\n")
            for plan in plans:
                pid = os.fork()
                if pid == 0:
                    _become(chaos_child.main, plan.decode())
                children.add(pid)
                _say("started", pid)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _become(child, plan: str) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = child(plan)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _reap(children: set[int]) -> None:
    for pid in tuple(children):
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if not found:
            continue
        if os.WIFSTOPPED(status):
            _say("stopped", pid)
        else:
            children.discard(pid)
            _say("ended", pid, os.waitstatus_to_exitcode(status))


def _say(word: str, pid: int, status: int = 0) -> None:
    os.write(1, json.dumps({"word": word, "pid": pid, "status": status}).encode() + b"\n")


if __name__ == "__main__":
    main()
