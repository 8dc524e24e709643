"""Says what time it is in the simulator, and what happens next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from threading import Lock
from weakref import WeakKeyDictionary, WeakSet

IST = timezone(timedelta(hours=5, minutes=30), "IST")

Action = Callable[[], Awaitable[None]]

_logger = logging.getLogger("exotel_async.simulator")

# Turns of the event loop that a woken coroutine gets before time moves on: enough for
# one HTTP exchange on loopback, which needs about a dozen. Where several loops have a
# part in it, each gets its turns in rounds, so that they can talk to each other.
_ROUNDS, _TURNS = 6, 10
_MOST_ROUNDS = 1000  # of turns in which something goes on all the time
_PATIENCE = 1.0  # seconds of real time that another loop has for its turns
_STUCK_AFTER = 5.0  # seconds of real time
_SLICE = 0.05  # seconds after which it is seen whether that loop still runs


async def _turn() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class VirtualClock:
    """Time that stands still until somebody calls `advance`, or that runs at its own `speed`.

    A `sleep` may be awaited in any event loop; it waits for as long as time does not pass.
    Instants are kept in whole microseconds, so that ten times a tenth of a second is a second.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be aware: give it a time zone")
        self._start = start.astimezone(IST)
        self._elapsed = 0
        self._order = itertools.count()
        self._due: list[tuple[int, int]] = []
        self._actions: dict[int, Action] = {}
        self._guard = Lock()
        self._advancing = False
        self._acting: asyncio.Task[None] | None = None  # what an advance that was cancelled began
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()  # in which somebody slept
        # Loops that were too busy for their turns, until they have taken them.
        self._busy: WeakKeyDictionary[asyncio.AbstractEventLoop, Future[None]] = WeakKeyDictionary()
        self._stirs = 0
        # Is told of who sleeps for long in real time although no time passes.
        self.when_stuck: Callable[[str], object] = _logger.warning
        self._listeners: set[Callable[[], None]] = set()
        self._run: _Run | None = None

    @property
    def pending(self) -> int:
        """How many things still wait for their time."""
        return len(self._actions)

    @property
    def running(self) -> bool:
        """Whether time passes by itself now: it does not while somebody advances it."""
        return self._run is not None

    def now(self) -> datetime:
        """Tell the date and time, aware, in Indian time."""
        return self.at(self.monotonic())

    def at(self, instant: float) -> datetime:
        """Tell the date and time of a monotonic reading."""
        return self._start + timedelta(microseconds=_microseconds(instant))

    def monotonic(self) -> float:
        """Tell the seconds since the clock was made."""
        return self._reading() / 1_000_000

    def _reading(self) -> int:
        # While things happen it is the instant at which they were due, be they late or not.
        if self._run is None or self._advancing:
            return self._elapsed
        return max(self._elapsed, self._run.reading())

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` of virtual time have passed; may be cancelled."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not woken.done():
                woken.set_result(None)

        async def wake() -> None:
            with suppress(RuntimeError):  # its loop was closed meanwhile
                loop.call_soon_threadsafe(finish)
            await self.settle()

        self.take_part()
        ticket = self.call_later(seconds, wake)
        self._tell_listeners()
        alarm = loop.call_later(_STUCK_AFTER, self._see_whether_stuck, seconds, self._elapsed)
        try:
            await woken
        finally:
            alarm.cancel()
            self.cancel(ticket)

    def _see_whether_stuck(self, seconds: float, elapsed: int) -> None:
        if self._run is None and not self._advancing and self._elapsed == elapsed:
            self.when_stuck(
                f"somebody waits {seconds:g} s of the simulator's time, which stands still: "
                "a client before its next try, say. Let it pass (await sim.advance(...)), or have "
                "it pass by itself (speed=1000)."
            )

    def call_later(self, seconds: float, action: Action) -> int:
        """Have `action` awaited when `seconds` have passed; the ticket can cancel it."""
        return self.call_at(self.monotonic() + seconds, action)

    def call_at(self, instant: float, action: Action) -> int:
        """Have `action` awaited when the monotonic reading is `instant`, or next if it was."""
        due = max(self._elapsed + 1, _microseconds(instant))
        with self._guard:
            ticket = next(self._order)
            self._actions[ticket] = action
            heapq.heappush(self._due, (due, ticket))
        if self._run is not None:
            self._run.hurry()
        return ticket

    def cancel(self, ticket: int) -> None:
        """Forget what `call_later` gave this ticket for; harmless when it has happened."""
        with self._guard:
            if self._actions.pop(ticket, None) is None:
                return
            if len(self._due) > 2 * len(self._actions) + 64:  # clear out what was cancelled
                self._due = [entry for entry in self._due if entry[1] in self._actions]
                heapq.heapify(self._due)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: what falls due happens in order, each before the next.

        Time has one driver: RuntimeError when another advance is still under way. Cancelled,
        it ends the waiting; what had begun to happen goes on.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: seconds={seconds}")
        if self._advancing:
            raise RuntimeError("the clock is being advanced already; await that first")
        target = self._within_reach(self.monotonic() + seconds)
        self._elapsed = self._reading()
        run, self._run = self._run, None  # meanwhile it is this that time runs by
        try:
            await self._run_until(target)
        finally:
            if run is not None and not run.over:
                self._run = run
                run.shift(to=self._elapsed)

    def _within_reach(self, instant: float) -> int:
        try:
            self.at(instant)
        except (OverflowError, ValueError) as error:
            raise ValueError("time does not reach so far") from error
        return _microseconds(instant)

    async def run(self, speed: float) -> None:
        """Let time pass by itself, `speed` times faster than outside, until cancelled."""
        run = self._run = _Run(self._elapsed, speed)
        try:
            while True:
                if self._run is run:
                    await self._run_until(run.reading())
                await run.rest(until=self._next_due() if self._run is run else None)
        finally:
            run.over = True
            self._elapsed, self._run = self._reading(), None

    async def settle(self) -> None:
        """Let everything that can run without time passing run, in all loops that take part."""
        if self._run is not None:
            return  # who runs by a running clock has as much time as it gives
        here = asyncio.get_running_loop()
        with self._guard:
            others = [loop for loop in self._loops if loop is not here and loop.is_running()]
        quiet = 0
        for _ in range(_MOST_ROUNDS):
            before = self._stirs
            await _turn()
            for loop in others:
                await self._turn_in(loop)
            quiet = quiet + 1 if self._stirs == before else 0
            if quiet == _ROUNDS:
                return

    def stir(self) -> None:
        """Note that something goes on: who lets things settle waits until nothing does."""
        self._stirs += 1

    async def _turn_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give another thread's loop its turns; one that does not take them is not waited for."""
        if loop in self._busy:
            if not self._busy[loop].done():
                return
            del self._busy[loop]
        taken = _take_turns(loop)
        waited = 0.0
        while not taken.done() and loop.is_running():
            if waited >= _PATIENCE:
                self._busy[loop] = taken
                return
            await asyncio.wait({asyncio.wrap_future(taken)}, timeout=_SLICE)
            waited += _SLICE

    def take_part(self) -> None:
        """Give the loop that runs here its turns before time moves on, as if it slept."""
        with self._guard:
            self._loops.add(asyncio.get_running_loop())

    def listen(self, told: Callable[[], None]) -> Callable[[], None]:
        """Have `told` called whenever somebody begins to sleep; returns what ends that."""
        self._listeners.add(told)
        return lambda: self._listeners.discard(told)

    def _tell_listeners(self) -> None:
        for told in list(self._listeners):
            told()

    def _next_due(self) -> int | None:
        with self._guard:
            self._drop_cancelled()
            return self._due[0][0] if self._due else None

    def _drop_cancelled(self) -> None:
        while self._due and self._due[0][1] not in self._actions:
            heapq.heappop(self._due)

    async def _run_until(self, target: int) -> None:
        self._advancing = True
        try:
            if self._acting is not None:
                await self._acted(self._acting)
            await self.settle()  # who was just started gets to its sleep
            while (taken := self._take(until=target)) is not None:
                due, action = taken
                self._elapsed = max(self._elapsed, due)
                await self._act(action)
            self._elapsed = max(self._elapsed, target)
        finally:
            self._advancing = False

    async def _act(self, action: Action) -> None:
        if self._run is not None:  # a failure must not stop time
            try:
                await action()
            except Exception:
                _logger.exception("something that was due in the simulator failed")
            return
        self._acting = asyncio.create_task(_awaited(action))
        await self._acted(self._acting)

    async def _acted(self, acting: asyncio.Task[None]) -> None:
        """Wait for what happens; who stops waiting does not end it, and the next one waits."""
        await asyncio.wait({acting})
        self._acting = None
        acting.result()

    def _take(self, *, until: int) -> tuple[int, Action] | None:
        with self._guard:
            self._drop_cancelled()
            if not self._due or self._due[0][0] > until:
                return None
            due, ticket = heapq.heappop(self._due)
            return due, self._actions.pop(ticket)


class _Run:
    """Time that passes by itself, as a multiple of the time outside."""

    def __init__(self, elapsed: int, speed: float) -> None:
        self._speed = speed
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self.over = False
        self.shift(to=elapsed)

    def shift(self, *, to: int) -> None:
        """Go on from another reading."""
        self._began, self._base = time.monotonic(), to
        self.hurry()

    def reading(self) -> int:
        """Tell the microseconds that have passed."""
        return self._base + _microseconds((time.monotonic() - self._began) * self._speed)

    def hurry(self) -> None:
        """End the rest: something may be due earlier than was thought."""
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._news.set)

    async def rest(self, *, until: int | None) -> None:
        """Wait until something is due, or there is news."""
        wait = None
        if until is not None:
            wait = max(0.0, (until - self.reading()) / 1_000_000 / self._speed)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._news.wait()
        self._news.clear()


def _take_turns(loop: asyncio.AbstractEventLoop) -> Future[None]:
    """Let a loop of another thread take its turns; no coroutine, which it might leave behind."""
    taken: Future[None] = Future()

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            taken.set_result(None)

    with suppress(RuntimeError):  # it was closed
        loop.call_soon_threadsafe(turn, _TURNS)
    return taken


async def _awaited(action: Action) -> None:
    await action()


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
