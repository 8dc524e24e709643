"""Says what time it is in the simulator, and what happens next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30), "IST")

Action = Callable[[], Awaitable[None]]

# Turns of the event loop that a woken coroutine gets before time moves on: enough for
# one HTTP exchange on loopback, which needs about a dozen.
_TURNS = 60


async def settle() -> None:
    """Let everything that can run without time passing run."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class VirtualClock:
    """Time that stands still until somebody calls `advance`.

    A `sleep` waits for as long as nobody does. Instants are kept in whole
    microseconds, so that ten times a tenth of a second is a second.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be aware: give it a time zone")
        self._start = start.astimezone(IST)
        self._elapsed = 0
        self._order = itertools.count()
        self._due: list[tuple[int, int]] = []
        self._actions: dict[int, Action] = {}
        self._advancing = False

    @property
    def pending(self) -> int:
        """How many things still wait for their time."""
        return len(self._actions)

    def now(self) -> datetime:
        """Tell the date and time, aware, in Indian time."""
        return self._start + timedelta(microseconds=self._elapsed)

    def monotonic(self) -> float:
        """Tell the seconds since the clock was made."""
        return self._elapsed / 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` of virtual time have passed; may be cancelled."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def wake() -> None:
            if not woken.done():
                woken.set_result(None)
            await settle()

        ticket = self.call_later(seconds, wake)
        try:
            await woken
        finally:
            self.cancel(ticket)

    def call_later(self, seconds: float, action: Action) -> int:
        """Have `action` awaited when `seconds` have passed; the ticket can cancel it."""
        ticket = next(self._order)
        self._actions[ticket] = action
        heapq.heappush(self._due, (self._elapsed + max(1, _microseconds(seconds)), ticket))
        return ticket

    def cancel(self, ticket: int) -> None:
        """Forget what `call_later` gave this ticket for; harmless when it has happened."""
        if self._actions.pop(ticket, None) is not None:
            self._due = [entry for entry in self._due if entry[1] != ticket]
            heapq.heapify(self._due)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: what falls due happens in order, each before the next.

        Time has one driver: RuntimeError when another advance is still under way.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: seconds={seconds}")
        if self._advancing:
            raise RuntimeError("the clock is being advanced already; await that first")
        self._advancing = True
        try:
            await self._run_until(self._elapsed + _microseconds(seconds))
        finally:
            self._advancing = False

    async def _run_until(self, target: int) -> None:
        await settle()  # who was just started gets to its sleep
        while self._due and self._due[0][0] <= target:
            due, ticket = heapq.heappop(self._due)
            action = self._actions.pop(ticket)
            self._elapsed = due
            await action()
        self._elapsed = target


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
