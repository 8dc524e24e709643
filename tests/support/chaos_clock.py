"""What time it is in a run of several processes: one of them says, the others read and wait.

A few numbers in a file that all map into their memory. The clock of the simulator moves on in
the test's process; the service under test lives by what is written here.
"""

from __future__ import annotations

import asyncio
import mmap
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path

SEATS = 8  # processes of one run that can say how far they are
_LOOK = 0.003  # seconds of real time between two looks at a clock that others move


class Phase(IntEnum):
    """How far a service is."""

    STARTING = 0
    DIALLING = 1
    WAITING = 2  # for outcomes, and for handlers
    SETTLED = 3  # all it knows of is done


class Board:
    """The numbers that the processes of one run share."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * (SEATS + 2)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._numbers = memoryview(self._map).cast("d")

    @property
    def elapsed(self) -> float:
        """Seconds of the simulator's time."""
        return self._numbers[0]

    @elapsed.setter
    def elapsed(self, seconds: float) -> None:
        self._numbers[0] = seconds

    @property
    def may_end(self) -> bool:
        """Whether services that are settled shall end."""
        return bool(self._numbers[1])

    @may_end.setter
    def may_end(self, truth: bool) -> None:
        self._numbers[1] = float(truth)

    def phase(self, seat: int) -> Phase:
        """Read how far a service is."""
        return Phase(int(self._numbers[2 + seat]))

    def set_phase(self, seat: int, phase: Phase) -> None:
        """Say how far a service is."""
        self._numbers[2 + seat] = phase

    def close(self) -> None:
        """Let go of it."""
        self._numbers.release()
        self._map.close()


class SharedClock:
    """A `Clock` whose time is that on the board."""

    def __init__(self, board: Board, *, start: datetime) -> None:
        self._board = board
        self._start = start
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._looking = False

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._board.elapsed)

    def monotonic(self) -> float:
        return self._board.elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._sleepers.append((self.monotonic() + seconds, woken))
        if not self._looking:
            self._looking = True
            loop.call_later(_LOOK, self._look, loop)
        await woken

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self.monotonic()
        waiting = []
        for due, woken in self._sleepers:
            if woken.done():
                continue
            if due <= now:
                woken.set_result(None)
            else:
                waiting.append((due, woken))
        self._sleepers = waiting
        self._looking = bool(waiting)
        if waiting:
            loop.call_later(_LOOK, self._look, loop)
