"""When may the next request leave: at most so many in any minute."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from exotel_async.errors import ConfigurationError
from exotel_async.models.clock import Clock, SystemClock

_LEFT_TO_OTHERS = 50  # one place in so many is not used by what can wait
WINDOW = 61.0  # seconds: a minute, and one for requests that overtake each other on their way


class Pacer(Protocol):
    """A gate for requests. Share one between clients of one account, or bring your own."""

    async def reserve(self) -> None:
        """Wait until one more request may leave, and count it."""
        ...

    async def hold(self, seconds: float) -> None:
        """Let nobody leave for so long: Exotel asked us to slow down."""
        ...


def earliest(departures: Sequence[float], *, most: int, blocked_until: float) -> float:
    """Tell from when on the next request may leave, given when the last ones left.

    >>> earliest([0.0, 10.0], most=2, blocked_until=5.0)
    61.0
    """
    if len(departures) < most:
        return blocked_until
    return max(blocked_until, departures[-most] + WINDOW)


class SlidingWindowPacer:
    """At most `requests_per_minute` requests leave in any 60 seconds, first come first served.

    A burst of that many goes at once. Who is cancelled while waiting takes no place. A second is
    kept free for requests that reach Exotel later than others; where connecting takes longer than
    that, Exotel may count one more.
    """

    def __init__(self, requests_per_minute: int, *, clock: Clock | None = None) -> None:
        if isinstance(requests_per_minute, bool) or not isinstance(requests_per_minute, int):
            raise ConfigurationError("requests_per_minute must be a whole number or None")
        if requests_per_minute < 1:
            raise ConfigurationError(
                f"requests_per_minute must be at least 1, but is {requests_per_minute}"
            )
        self._most = requests_per_minute
        self._clock = clock or SystemClock()
        self._departures: deque[float] = deque(maxlen=requests_per_minute)
        self._blocked_until = float("-inf")
        self._queue: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def requests_per_minute(self) -> int:
        """How many requests may leave in any minute."""
        return self._most

    async def reserve(self) -> None:
        """Wait until one more request may leave, and count it."""
        async with self._turns():
            while (wait := self._opens_at() - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait)
            self._departures.append(self._clock.monotonic())

    async def hold(self, seconds: float) -> None:
        """Let nobody leave for so long; a hold that lasts longer already stays."""
        self._blocked_until = max(self._blocked_until, self._clock.monotonic() + seconds)

    def _turns(self) -> asyncio.Lock:
        """Hand out turns in the order of asking. A lock serves one loop, a pacer maybe several."""
        loop = asyncio.get_running_loop()
        if self._queue is None or self._queue[0] is not loop:
            self._queue = loop, asyncio.Lock()
        return self._queue[1]

    def _opens_at(self) -> float:
        return earliest(self._departures, most=self._most, blocked_until=self._blocked_until)


class NoPacer:
    """Lets everybody leave at once; Exotel's own limit still answers 429."""

    async def reserve(self) -> None:
        """Leave at once."""

    async def hold(self, seconds: float) -> None:
        """Hold nobody."""


class PatientPacer:
    """Paces what can wait, such as the pages of a long list, behind the client's own pacer.

    It stands in that one's queue but once, and leaves a fiftieth of the places to others: a
    connect that comes while thousands of pages are read goes at once, or waits for one place.
    """

    def __init__(self, pacer: Pacer, *, clock: Clock) -> None:
        self._pacer = pacer
        most: object = getattr(pacer, "requests_per_minute", None)
        self._own: Pacer = NoPacer()
        if isinstance(most, int) and most >= _LEFT_TO_OTHERS:
            self._own = SlidingWindowPacer(most - most // _LEFT_TO_OTHERS, clock=clock)
        self._queue: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    async def reserve(self) -> None:
        """Wait until one more request may leave, and count it."""
        loop = asyncio.get_running_loop()
        if self._queue is None or self._queue[0] is not loop:
            self._queue = loop, asyncio.Lock()
        async with self._queue[1]:
            await self._own.reserve()
            await self._pacer.reserve()

    async def hold(self, seconds: float) -> None:
        """Let nobody leave for so long."""
        await self._pacer.hold(seconds)


class Announcing:
    """Tells when a request leaves."""

    def __init__(self, pacer: Pacer, leaves: Callable[[], None]) -> None:
        self._pacer = pacer
        self._leaves = leaves

    async def reserve(self) -> None:
        """Wait until one more request may leave, count it, and tell."""
        await self._pacer.reserve()
        self._leaves()

    async def hold(self, seconds: float) -> None:
        """Let nobody leave for so long."""
        await self._pacer.hold(seconds)
