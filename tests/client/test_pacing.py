"""At most N requests in any minute, whoever waits, and whoever stops waiting."""

from __future__ import annotations

import asyncio

import pytest
from clocks import NOON, FakeClock
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import ConfigurationError, SlidingWindowPacer
from exotel_async.client.pacing import WINDOW, earliest
from exotel_async.simulator import VirtualClock


class TestEarliest:
    """From when on the next request may leave."""

    @given(
        asked=st.lists(st.floats(0, 300), max_size=60).map(sorted),
        most=st.integers(1, 7),
        blocked_until=st.floats(0, 200),
    )
    def test_never_more_in_a_minute(
        self, asked: list[float], most: int, blocked_until: float
    ) -> None:
        """No window of sixty seconds holds more than allowed, and nobody leaves while blocked."""
        left: list[float] = []
        for moment in asked:
            left.append(max(moment, earliest(left, most=most, blocked_until=blocked_until)))

        assert all(later - sooner > 60 for sooner, later in zip(left, left[most:], strict=False))
        assert all(moment >= blocked_until for moment in left)

    def test_burst_at_once(self) -> None:
        """As many as allowed may leave in one moment."""
        assert earliest([5.0, 5.0], most=3, blocked_until=0.0) == 0.0

    def test_waits_for_the_oldest(self) -> None:
        """The next one waits until the first of the last N is a minute old."""
        assert earliest([5.0, 6.0, 7.0], most=2, blocked_until=0.0) == 6.0 + WINDOW


class TestSlidingWindowPacer:
    """The gate itself, in virtual time."""

    async def test_burst_then_wait(self, clock: FakeClock) -> None:
        """A burst goes at once, the next waits for the window."""
        pacer = SlidingWindowPacer(3, clock=clock)

        for _ in range(4):
            await pacer.reserve()

        assert clock.slept == [WINDOW]

    async def test_first_come_first_served(self) -> None:
        """Turns are handed out in the order of asking."""
        clock = VirtualClock(NOON)
        pacer = SlidingWindowPacer(1, clock=clock)
        order: list[int] = []

        async def ask(n: int) -> None:
            await pacer.reserve()
            order.append(n)

        async with asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(ask(n))
            await clock.advance(5 * WINDOW)

        assert order == [0, 1, 2, 3, 4]

    async def test_cancelled_takes_no_place(self) -> None:
        """Who is cancelled while waiting leaves the place to the next."""
        clock = VirtualClock(NOON)
        pacer = SlidingWindowPacer(1, clock=clock)
        await pacer.reserve()
        given_up = asyncio.create_task(pacer.reserve())
        patient = asyncio.create_task(pacer.reserve())
        await asyncio.sleep(0)

        given_up.cancel()
        await clock.advance(WINDOW)

        assert patient.done()
        assert given_up.cancelled()

    async def test_hold_stops_everybody(self, clock: FakeClock) -> None:
        """After a 429 nobody leaves before the time is over."""
        pacer = SlidingWindowPacer(10, clock=clock)

        await pacer.hold(7.5)
        await pacer.reserve()

        assert clock.elapsed == 7.5

    async def test_hold_reaches_who_waits_already(self) -> None:
        """A hold also counts for the one whose turn it nearly was."""
        clock = VirtualClock(NOON)
        pacer = SlidingWindowPacer(1, clock=clock)
        await pacer.reserve()
        waiting = asyncio.create_task(pacer.reserve())
        await clock.advance(WINDOW - 1)

        await pacer.hold(10)
        await clock.advance(5)

        assert not waiting.done()
        await clock.advance(5)
        assert waiting.done()

    async def test_shorter_hold_shortens_nothing(self, clock: FakeClock) -> None:
        """A hold that lasts longer already stays."""
        pacer = SlidingWindowPacer(10, clock=clock)

        await pacer.hold(9.0)
        await pacer.hold(1.0)
        await pacer.reserve()

        assert clock.elapsed == 9.0

    @pytest.mark.parametrize("rate", [0, -1, 1.5, True, "200"])
    def test_impossible_rates(self, rate: object) -> None:
        """A rate that is no whole number above zero is refused by name."""
        with pytest.raises(ConfigurationError, match="requests_per_minute"):
            SlidingWindowPacer(rate)  # type: ignore[arg-type]
