"""An account at its limit: as many calls as it may place, each told three times."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path

import attrs
import pytest
from aiohttp import web
from campaign import TIMES
from receivers import serving

from exotel_async import ExotelClient
from exotel_async.simulator import Simulator

MINUTES = 3 * TIMES  # an hour in a campaign
PER_MINUTE = 200
KEEP = 300


@attrs.define
class Counter:
    """A receiver that only counts."""

    told: int = 0

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        self.told += 1
        return web.Response()


def resident() -> str:
    """Say how much memory this process has, where that can be known."""
    try:
        with Path("/proc/self/statm").open() as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return "unknown"
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 1e6:.1f} MB"


@pytest.mark.load
async def test_an_hour_at_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """Every call is placed, told and settled; what is kept in memory stays the same."""
    counter, calls = Counter(), MINUTES * PER_MINUTE
    app = web.Application()
    app.router.add_post("/", counter.take)
    objects: list[int] = []
    began = time.monotonic()
    async with (
        serving(app) as port,
        Simulator(keep=KEEP) as sim,
        ExotelClient(**sim.settings, requests_per_minute=PER_MINUTE) as exotel,
    ):

        async def dial() -> None:
            for _ in range(calls):
                await exotel.calls.connect(
                    from_="+919812300001",
                    to="+919812300002",
                    caller_id="08040001234",
                    status_callback=f"http://127.0.0.1:{port}/",
                    status_callback_events=("terminal", "answered"),
                )

        dialing = asyncio.create_task(dial())
        while counter.told < 3 * calls:
            assert sim.clock.monotonic() < 60 * (MINUTES + 10), "not all was told"
            await sim.advance(minutes=1)
            gc.collect()
            objects.append(len(gc.get_objects()))
            if TIMES > 1:
                with capsys.disabled():
                    passed = time.monotonic() - began
                    line = f"{sim.clock.now():%H:%M} {counter.told} {passed:.0f} s {resident()}"
                    print(line)  # noqa: T201 - a campaign shows how far it is
        await dialing
        await sim.advance(minutes=5)

        assert len(sim.calls) == len(sim.requests) == len(sim.callbacks) == KEEP
        assert {told.status for told in sim.callbacks} == {200}
        assert {received.status for received in sim.requests} == {200}
    assert counter.told == 3 * calls
    # From the third minute on as many calls settle as begin.
    assert max(objects[2:]) <= 1.1 * objects[2]
