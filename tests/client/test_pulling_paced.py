"""A long list as fast as the account allows, and out of the way of others."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from exotel_async import ExotelClient
from exotel_async.simulator import Simulator

RECORDS = 9_000
PAGE_SIZE = 10  # 900 requests at least: four and a half minutes of what is allowed


@pytest.fixture
async def sim():
    async with Simulator() as simulator:
        now = simulator.clock.now()
        for n in range(RECORDS):
            simulator.add_call(sid=f"s{n:05}", date_created=now - timedelta(minutes=n + 1))
        yield simulator


@pytest.fixture
async def exotel(sim):
    async with ExotelClient(**sim.settings) as client:
        yield client


async def read_all(exotel, sim, read: list[str]) -> None:
    since = sim.clock.now() - timedelta(days=7)
    async for call in exotel.calls.list(created_after=since, page_size=PAGE_SIZE):
        read.append(call.sid)


async def pass_time(sim, *tasks: asyncio.Task) -> None:
    """Let time pass in small steps until tasks are done: a server that answers at once."""
    while not all(task.done() for task in tasks):
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        await sim.advance(seconds=0.5)


class TestPaced:
    async def test_as_fast_as_allowed(self, sim, exotel):
        """It uses at least 95 % of what is allowed, and is never answered 429."""
        read: list[str] = []
        begun = sim.clock.monotonic()

        await pass_time(sim, asyncio.create_task(read_all(exotel, sim, read)))

        assert read == [f"s{n:05}" for n in range(RECORDS)]
        assert Counter(request.status for request in sim.requests).keys() == {200}
        left = [(request.at - sim.requests[0].at).total_seconds() for request in sim.requests]
        assert len(left) >= 900
        for start in range(0, int(left[-1]) - 122, 10):  # any two minutes, but for the last
            used = sum(start <= at < start + 122 for at in left)
            assert used >= 0.95 * 200 * 122 / 60
        assert len(read) / PAGE_SIZE / len(left) >= 0.9  # hardly more than one cursor would ask
        assert sim.clock.monotonic() - begun < 5.2 * 60

    async def test_others_get_through(self, sim, exotel):
        """Whoever else asks meanwhile goes at once, or waits for one place: not for the list."""
        read: list[str] = []
        reading = asyncio.create_task(read_all(exotel, sim, read))
        await pass_time(sim, asyncio.create_task(sim.clock.sleep(130)))
        waited: list[float] = []

        for _ in range(6):
            asked_at = sim.clock.monotonic()
            asking = asyncio.create_task(
                exotel.calls.connect(from_="+919812300001", to="+919812300002",
                                     caller_id="08040000000")
            )  # fmt: skip
            await pass_time(sim, asking)
            waited.append(sim.clock.monotonic() - asked_at)
        unread = RECORDS - len(read)
        reading.cancel()
        await asyncio.wait({reading})

        assert unread > RECORDS / 10  # it was far from done
        assert waited[:4] == pytest.approx([0.0] * 4, abs=0.5)
        assert max(waited) < 62
