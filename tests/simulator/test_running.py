"""Time that runs by itself, and time that several event loops share."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import pytest

from exotel_async.simulator import Simulator, VirtualClock
from exotel_async.simulator.clock import IST

START = datetime(2026, 11, 2, 10, 0, tzinfo=IST)
BOTH = {"StatusCallbackEvents[0]": "terminal", "StatusCallbackEvents[1]": "answered"}


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


class TestSpeed:
    async def test_call(self, asker, receiver):
        """A call lives its whole life without anybody advancing time, in the right order."""
        async with Simulator(speed=500.0) as sim:
            sid = await asker(sim).sid(StatusCallback=receiver.url, **BOTH)
            await until(lambda: sim.calls[sid].settled)
            await until(lambda: len(receiver.got) == 3)

        call = sim.calls[sid]
        assert call.status == "completed"
        assert [leg.on_call_duration for leg in call.legs] == [35, 30]
        assert [told.status for told in sim.callbacks] == [200] * 3

    async def test_durations_are_exact(self, asker):
        """However fast it runs, things happen at the instant when they are due."""
        async with Simulator(speed=100_000.0) as sim:
            sid = await asker(sim).sid()
            await until(lambda: sim.calls[sid].settled)

        assert (sim.calls[sid].duration, sim.calls[sid].conversation_duration) == (41, 30)

    async def test_passes(self):
        """Both readings move on, and never back."""
        async with Simulator(speed=1000.0) as sim:
            readings = []
            for _ in range(200):
                readings.append((sim.clock.now(), sim.clock.monotonic()))
                await asyncio.sleep(0)
            await sim.clock.sleep(30)

            assert sim.clock.monotonic() - readings[-1][1] >= 30
        assert readings == sorted(readings)
        assert readings[-1][1] > 0

    async def test_stops(self):
        """Time ends with the simulator."""
        async with Simulator(speed=1000.0) as sim:
            await sim.clock.sleep(1)

        stopped = sim.clock.now()
        await asyncio.sleep(0.01)
        assert sim.clock.now() == stopped
        assert not sim.clock.running

    async def test_advance(self):
        """It can be advanced all the same, by a leap."""
        async with Simulator(speed=1.0) as sim:
            sleeper = asyncio.create_task(sim.clock.sleep(3000))
            await asyncio.sleep(0)
            await sim.advance(hours=1)
            await sleeper

            assert 3600 <= sim.clock.monotonic() < 3700

    async def test_never_back(self):
        """Neither does a leap begin in the past."""
        async with Simulator(speed=1000.0) as sim:
            await sim.clock.sleep(100)
            before = sim.clock.monotonic()
            readings: list[float] = []

            async def look() -> None:
                readings.append(sim.clock.monotonic())

            sim.clock.call_later(1, look)
            leap = asyncio.create_task(sim.advance(seconds=10))
            await asyncio.sleep(0)
            readings.append(sim.clock.monotonic())
            await leap
            readings.append(sim.clock.monotonic())

        assert [before, *readings] == sorted([before, *readings])

    async def test_closed_during_a_leap(self):
        """Time that ended stays at its end, whoever was advancing it."""
        async with Simulator(speed=1000.0) as sim:

            async def linger() -> None:
                await asyncio.sleep(0.05)

            sim.clock.call_later(1, linger)
            leap = asyncio.create_task(sim.advance(seconds=60))
            await asyncio.sleep(0.01)
        await leap

        stopped = sim.clock.now()
        await asyncio.sleep(0.01)
        assert sim.clock.now() == stopped

    async def test_sooner(self):
        """Who comes later and sleeps less wakes first."""
        async with Simulator(speed=100.0) as sim:
            long = asyncio.create_task(sim.clock.sleep(36_000))
            await asyncio.sleep(0.01)
            await sim.clock.sleep(1)

            assert not long.done()
            long.cancel()

    async def test_hanging_receiver(self, asker, receiver, hanging_url):
        """A receiver that never answers holds up nobody else."""
        async with Simulator(speed=1000.0) as sim:
            ask = asker(sim)
            await ask.connect(StatusCallback=hanging_url)
            await ask.connect(StatusCallback=receiver.url)
            await until(lambda: receiver.got)

        first, last = sim.callbacks
        assert (first.status, last.status) == (200, None)
        assert last.problem == "the simulator was closed meanwhile"

    async def test_advance_is_whole(self, asker, receiver):
        """Advanced while it runs, time does all that is due in order, and then runs on."""
        async with Simulator(speed=1.0) as sim:
            await asker(sim).connect(StatusCallback=receiver.url, **BOTH)
            woken: list[float] = []

            async def tick() -> None:
                for _ in range(3):
                    await sim.clock.sleep(600)
                    woken.append(round(sim.clock.monotonic(), -1))

            ticking = asyncio.create_task(tick())
            await asyncio.sleep(0)
            await sim.advance(hours=1)

            assert [told.status for told in sim.callbacks] == [200] * 3
            since = [told.at - sim.callbacks[0].at for told in sim.callbacks]
            assert [passed.total_seconds() for passed in since] == [0, 5, 35]
            assert woken == [600, 1200, 1800]
            before = sim.clock.monotonic()
            await asyncio.sleep(0.01)
            assert sim.clock.monotonic() > before
            await ticking

    async def test_failing_action(self, caplog):
        """What fails is told, and time runs on."""
        async with Simulator(speed=1000.0) as sim:

            async def fail() -> None:
                raise LookupError("on purpose")

            sim.clock.call_later(1, fail)
            await sim.clock.sleep(2)

        assert "on purpose" in caplog.text

    async def test_failing_watch(self, asker, receiver, caplog):
        """So is a watch that fails; nothing else does."""

        def watch(entry: object) -> None:
            raise LookupError("on purpose")

        async with Simulator(watch=watch) as sim:
            receiver.statuses = [500]
            said = await asker(sim).connect(StatusCallback=receiver.url)
            await sim.advance(minutes=10)

        assert said.status == 200
        assert [told.status for told in sim.callbacks] == [500, 200]
        assert caplog.text.count("the simulator's watch failed") == 3


@pytest.fixture
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """Another event loop, in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


class TestLoops:
    async def test_sleep_elsewhere(self, elsewhere):
        """Who sleeps in another loop wakes there, before time moves on."""
        clock = VirtualClock(START)
        woken: list[tuple[float, object]] = []

        async def sleep() -> None:
            for _ in range(3):
                await clock.sleep(10)
                woken.append((clock.monotonic(), asyncio.get_running_loop()))

        sleeping = asyncio.run_coroutine_threadsafe(sleep(), elsewhere)
        await until(lambda: clock.pending)
        await clock.advance(30)
        await asyncio.wrap_future(sleeping)

        assert woken == [(10.0, elsewhere), (20.0, elsewhere), (30.0, elsewhere)]

    async def test_requests_from_elsewhere(self, sim, elsewhere):
        """A client in another loop is served at each virtual instant."""
        from exotel_async import ExotelClient

        sim.add_call(sid="a")

        async def poll() -> None:
            async with ExotelClient(**sim.settings) as exotel:
                for _ in range(5):
                    await sim.clock.sleep(60)
                    await exotel.calls.get("a")

        polling = asyncio.run_coroutine_threadsafe(poll(), elsewhere)
        await until(lambda: sim.clock.pending)
        await sim.advance(minutes=5)
        await asyncio.wrap_future(polling)

        minutes = [(received.at - START).total_seconds() / 60 for received in sim.requests]
        assert minutes == [1, 2, 3, 4, 5]

    async def test_loop_that_went_away(self):
        """A loop that was closed while somebody slept in it holds up nobody."""
        clock = VirtualClock(START)
        loop = asyncio.new_event_loop()

        def begin() -> None:
            task = loop.create_task(clock.sleep(5))
            loop.call_later(0.01, loop.stop)
            loop.run_forever()
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            loop.close()

        await asyncio.to_thread(begin)
        await clock.advance(10)

        assert clock.pending == 0

    async def test_loop_that_stays_blocked(self, elsewhere, monkeypatch):
        """Who did not take his turns is not waited for again until he does."""
        waited: list[object] = []
        usual = asyncio.wait

        async def wait(*arguments, **options):
            if options.get("timeout") == 0.01:
                waited.append(arguments)
            return await usual(*arguments, **options)

        monkeypatch.setattr("exotel_async.simulator.clock._PATIENCE", 0.02)
        monkeypatch.setattr("exotel_async.simulator.clock._SLICE", 0.01)
        monkeypatch.setattr(asyncio, "wait", wait)
        clock = VirtualClock(START)
        free = threading.Event()
        sleeping = asyncio.run_coroutine_threadsafe(clock.sleep(500), elsewhere)
        await until(lambda: clock.pending)
        elsewhere.call_soon_threadsafe(free.wait, 10)
        for _ in range(20):
            await clock.advance(1)
        free.set()
        await clock.advance(500)
        await asyncio.wrap_future(sleeping)

        assert 2 <= len(waited) < 30  # rather than twice in each round of each advance

    async def test_loops_that_come_and_go(self):
        """Loops may end at any moment while time is advanced elsewhere."""
        clock = VirtualClock(START)
        stop = threading.Event()

        def live() -> None:
            while not stop.is_set():
                with suppress(asyncio.TimeoutError):
                    asyncio.run(asyncio.wait_for(clock.sleep(1), 0.003))

        threads = [threading.Thread(target=live) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(60):
            await clock.advance(0.3)
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        gc.collect()
        await clock.advance(10)

        assert clock.pending == 0

    async def test_take_part(self, elsewhere):
        """A loop that never slept can take part: what runs there is done before time moves on."""
        clock = VirtualClock(START)
        done: list[float] = []

        async def take_part() -> None:
            clock.take_part()

        async def work() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            done.append(clock.monotonic())

        async def begin() -> None:
            asyncio.run_coroutine_threadsafe(work(), elsewhere)
            await clock.settle()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(take_part(), elsewhere))
        clock.call_later(5, begin)
        await clock.advance(10)

        assert done == [5.0]

    async def test_loop_that_is_blocked(self, elsewhere, monkeypatch):
        """Nor does one that is blocked for long."""
        monkeypatch.setattr("exotel_async.simulator.clock._PATIENCE", 0.02)
        clock = VirtualClock(START)
        free = threading.Event()
        sleeping = asyncio.run_coroutine_threadsafe(clock.sleep(5), elsewhere)
        await until(lambda: clock.pending)
        elsewhere.call_soon_threadsafe(free.wait, 10)

        await clock.advance(10)
        free.set()
        await asyncio.wrap_future(sleeping)

        assert clock.monotonic() == 10


class TestRoute:
    async def test_public_url(self, sim, ask, receiver):
        """What a service gives out as its public URL can lead to this machine."""
        end = sim.route("https://shop.example/exotel/", receiver.url.removesuffix("told"))
        await ask.connect(StatusCallback="https://shop.example/exotel/told")
        await sim.advance(minutes=5)
        end()
        await ask.connect(StatusCallback="https://shop.example/exotel/told")
        await sim.advance(minutes=5)

        assert [told.url for told in sim.callbacks] == ["https://shop.example/exotel/told"] * 2
        assert [told.status for told in sim.callbacks] == [200, None]
        assert [told.problem is None for told in sim.callbacks] == [True, False]
        assert "is not this machine" in sim.callbacks[1].problem

    async def test_longest(self, sim, ask, receiver):
        """The longest prefix that fits counts, in whatever order they came."""
        sim.route("https://shop.example/", "http://127.0.0.1:1/")
        sim.route("https://shop.example/exotel/", receiver.url.removesuffix("told"))
        sim.route("https://shop.example/exotel/tol", "http://127.0.0.1:1/")
        sim.route("https://shop.example/exotel/t", "http://127.0.0.1:1/")  # no beginning of a name
        await ask.connect(StatusCallback="https://shop.example/exotel/told")
        await sim.advance(minutes=5)

        assert [told.status for told in sim.callbacks] == [200]

    async def test_newest(self, sim, ask, receiver):
        """Of two routes for one prefix the newer counts, and each ends only itself."""
        prefix, here = "https://shop.example/", receiver.url.removesuffix("told")
        end_first = sim.route(prefix, here)
        end_second = sim.route(prefix, "http://127.0.0.1:1/")
        end_second()
        await ask.connect(StatusCallback=f"{prefix}told")
        await sim.advance(minutes=1)
        sim.route(prefix, here)
        end_first()
        await ask.connect(StatusCallback=f"{prefix}told")
        await sim.advance(minutes=1)

        assert [told.status for told in sim.callbacks] == [200, 200]

    @pytest.mark.parametrize(("prefix", "to"), [("shop", "http://x/"), ("http://x/", "http://[b/")])
    def test_senseless(self, prefix, to):
        """Both are URLs."""
        with pytest.raises(ValueError, match="must be an http or https URL"):
            Simulator().route(prefix, to)
