"""Virtual time: it stands still, it goes in order, it leaves nothing behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from exotel_async.simulator import Simulator, VirtualClock
from exotel_async.simulator.clock import IST

START = datetime(2026, 11, 2, 10, 0, tzinfo=IST)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


class TestVirtualClock:
    async def test_stands_still(self, clock):
        """Time does not pass by itself."""
        before = clock.now(), clock.monotonic()

        await asyncio.sleep(0)

        assert (clock.now(), clock.monotonic()) == before == (START, 0.0)

    async def test_advance(self, clock):
        """Both readings move by what passed."""
        await clock.advance(90.5)

        assert clock.monotonic() == 90.5
        assert clock.now() - START == timedelta(seconds=90.5)

    async def test_parts_add_up(self, clock):
        """Ten times a tenth of a second is a second."""
        sleeper = asyncio.create_task(clock.sleep(1))

        for _ in range(10):
            await clock.advance(0.1)

        assert sleeper.done()

    async def test_order_of_waking(self, clock):
        """Sleepers wake by their time, and those of one instant by who came first."""
        woken = []

        async def sleep(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("late", 3), ("early", 1), ("middle", 2), ("second", 2)):
                group.create_task(sleep(name, seconds))
            await clock.advance(5)

        assert woken == [("early", 1.0), ("middle", 2.0), ("second", 2.0), ("late", 3.0)]

    async def test_sleep_within_sleep(self, clock):
        """Who sleeps again within one advance wakes again within it."""
        instants = []

        async def tick() -> None:
            for _ in range(3):
                await clock.sleep(10)
                instants.append(clock.monotonic())

        ticking = asyncio.create_task(tick())
        await clock.advance(30)
        await ticking

        assert instants == [10.0, 20.0, 30.0]

    async def test_not_yet(self, clock):
        """A sleeper is left alone until its time has come."""
        sleeper = asyncio.create_task(clock.sleep(10))

        await clock.advance(9.999)

        assert not sleeper.done()
        await clock.advance(0.001)
        assert sleeper.done()

    async def test_cancelled_sleep(self, clock):
        """A cancelled sleep leaves nothing behind, and the others in their place."""
        cancelled = asyncio.create_task(clock.sleep(5))
        other = asyncio.create_task(clock.sleep(6))
        await asyncio.sleep(0)

        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

        assert clock.pending == 1
        await clock.advance(6)
        assert other.done()
        assert clock.pending == 0

    async def test_cancelled_while_waking(self, clock):
        """A sleeper that another one cancels at the same instant does not disturb time."""
        tasks: list[asyncio.Task[None]] = []

        async def cancel_the_other() -> None:
            await clock.sleep(1)
            tasks[1].cancel()

        tasks += [asyncio.create_task(cancel_the_other()), asyncio.create_task(clock.sleep(1))]
        await clock.advance(1)

        assert tasks[1].cancelled()
        assert clock.pending == 0

    async def test_cancelled_but_not_gone(self, clock):
        """Nor does one that was cancelled and had no turn to leave yet."""

        async def cancel() -> None:
            sleeper.cancel()

        clock.call_later(2, cancel)
        sleeper = asyncio.create_task(clock.sleep(2))
        await clock.advance(2)

        assert sleeper.cancelled()
        assert clock.pending == 0

    async def test_no_sleep(self, clock):
        """Sleeping for nothing only lets others run."""
        await clock.sleep(0)
        await clock.sleep(-1)

        assert clock.pending == 0

    async def test_backwards(self, clock):
        """Time does not run backwards."""
        with pytest.raises(ValueError, match="backwards"):
            await clock.advance(-1)

    async def test_one_driver(self, clock):
        """Two advances at once would tear time apart."""
        first = asyncio.create_task(clock.advance(1))
        await asyncio.sleep(0)

        with pytest.raises(RuntimeError, match="already"):
            await clock.advance(1)
        await first

    async def test_failing_action(self, clock):
        """What fails in time fails the advance, and time can go on."""

        async def fail() -> None:
            raise LookupError("on purpose")

        clock.call_later(1, fail)
        with pytest.raises(LookupError):
            await clock.advance(5)

        await clock.advance(5)
        assert clock.monotonic() == 6.0

    async def test_failure_behind_a_cancelled_advance(self, clock):
        """What fails after somebody stopped waiting is told to the next who waits."""

        async def fail() -> None:
            await asyncio.sleep(0.02)
            raise LookupError("on purpose")

        clock.call_later(1, fail)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(clock.advance(5), 0.005)
        with pytest.raises(LookupError):
            await clock.advance(5)

        await clock.advance(5)

    def test_naive_start(self):
        """A start without a zone means nothing."""
        with pytest.raises(ValueError, match="aware"):
            VirtualClock(datetime(2026, 11, 2, 10, 0))

    def test_foreign_start(self):
        """A start in another zone is the same instant, shown in Indian time."""
        clock = VirtualClock(datetime(2026, 11, 2, 4, 30, tzinfo=UTC))

        assert clock.now() == START
        assert clock.now().utcoffset() == timedelta(hours=5, minutes=30)


class TestSleepWithRequests:
    async def test_requests_between_sleeps(self, sim: Simulator, ask):
        """A coroutine that sleeps and asks in turn is served at each virtual instant."""

        async def poll() -> None:
            for _ in range(5):
                await sim.clock.sleep(60)
                await ask.get("/Calls.json")

        polling = asyncio.create_task(poll())
        await sim.advance(minutes=5)
        await polling

        minutes = [(received.at - START).total_seconds() / 60 for received in sim.requests]
        assert minutes == [1, 2, 3, 4, 5]
