"""A simulator in a thread: as the one without, for any loop and for none."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from exotel_async import ExotelClient
from exotel_async.simulator import Received, Simulator
from exotel_async.simulator.threaded import ThreadedSimulator

NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}


@pytest.fixture
def sim() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(seed=7, requests_per_minute=None) as running:
        yield running


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "exotel-simulator"]


def status(url: str) -> int:
    """Ask with nothing but the standard library."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class TestLife:
    def test_serves_without_a_loop(self, sim: ThreadedSimulator) -> None:
        """A program without any event loop is answered."""
        assert status(f"{sim.base_url}/v1/Accounts/simulated1/Calls.json") == 401
        assert [received.status for received in sim.requests] == [401]

    def test_ends(self) -> None:
        """At the end the thread is gone, nobody listens, and the journals are still there."""
        with ThreadedSimulator() as sim:
            address = ("127.0.0.1", int(sim.base_url.rpartition(":")[2]))
            status(sim.base_url)
            assert threads()

        assert not threads()
        assert len(sim.requests) == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

    def test_again(self) -> None:
        """One that has ended can be started again."""
        sim = ThreadedSimulator()
        for _ in range(2):
            with sim:
                assert status(sim.base_url) == 401

    def test_twice(self, sim: ThreadedSimulator) -> None:
        """One that is running can't be started, and runs on."""
        with pytest.raises(RuntimeError, match="running already"):
            sim.__enter__()

        assert status(sim.base_url) == 401

    def test_taken_port(self, sim: ThreadedSimulator) -> None:
        """What keeps it from starting is told to the caller, and no thread stays."""
        port = int(sim.base_url.rpartition(":")[2])

        with pytest.raises(OSError, match="in use"):
            ThreadedSimulator(port=port).__enter__()

        assert len(threads()) == 1

    def test_impossible_argument(self) -> None:
        """Arguments are judged as the simulator judges them."""
        with pytest.raises(ValueError, match="keep must be"):
            ThreadedSimulator(keep=0)

    def test_failure_of_a_test(self) -> None:
        """It ends when the program fails, and lets the error through."""
        with pytest.raises(LookupError), ThreadedSimulator():
            raise LookupError("on purpose")

        assert not threads()

    def test_hanging_request(self) -> None:
        """A request that hangs does not keep it from ending."""
        with ThreadedSimulator() as sim, ThreadPoolExecutor(1) as pool:
            sim.fault("hang", on="bulk")
            url = f"{sim.base_url}/v1/Accounts/simulated1/Calls.json"
            pool.submit(urllib.request.urlopen, url, timeout=30)
            while not sim.requests:
                threading.Event().wait(0.001)
            sim.__exit__(None, None, None)
            sim.__enter__()

        assert not threads()

    def test_thread_that_is_told_to_exit(self) -> None:
        """What would end the thread from within reaches the caller at the end."""

        def leave(_: object) -> None:
            raise SystemExit("on purpose")

        sim = ThreadedSimulator(watch=leave).__enter__()
        with pytest.raises(OSError):  # nobody answers any more
            urllib.request.urlopen(sim.base_url, timeout=0.2)
        sim.script(to="+919812300002", ending="busy")  # it still does what it is told
        with pytest.raises(SystemExit, match="on purpose"):
            sim.__exit__(None, None, None)

        gc.collect()
        assert not threads()

    def test_no_loop_to_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no loop can be made the caller is told, and nothing is left."""

        def fail() -> None:
            raise OSError("too many open files")

        monkeypatch.setattr(asyncio, "SelectorEventLoop", fail)
        with pytest.raises(OSError, match="too many"), ThreadedSimulator():
            pass

        assert threads() == []

    async def test_async_with(self) -> None:
        """Whoever writes `async with`, as for the other simulator, has the same."""
        async with ThreadedSimulator() as sim, ExotelClient(**sim.settings) as exotel:
            call = await exotel.calls.connect(**NUMBERS)
            assert threads()

        assert list(sim.calls) == [call.sid]
        assert not threads()

    def test_not_running(self) -> None:
        """Before it runs there is no time to pass, but calls can be laid down."""
        sim = ThreadedSimulator()
        sim.script(to="+919812300002", ending="busy")

        with pytest.raises(RuntimeError, match="not running"):
            sim.advance_blocking(minutes=1)


class TestSteering:
    def test_all_of_it(self) -> None:
        """Nothing that changes a simulator is left to run in another thread."""
        own = set(vars(ThreadedSimulator))
        changing = {
            name
            for name, value in vars(Simulator).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }

        assert changing - own == set()

    def test_documented(self) -> None:
        """What runs elsewhere is signed and documented as before."""
        for name in ("script", "fault", "add_call"):
            here, there = getattr(ThreadedSimulator, name), getattr(Simulator, name)
            assert inspect.signature(here) == inspect.signature(there)
            assert here.__doc__ == there.__doc__

    def test_runs_in_its_thread(self, sim: ThreadedSimulator) -> None:
        """It happens in the simulator's thread, and has happened on return."""
        seen: list[str] = []

        class Spy(str):
            __slots__ = ()

            def __hash__(self) -> int:
                seen.append(threading.current_thread().name)
                return 0

        sim.add_account(sid=Spy("acme1"))

        assert set(seen) == {"exotel-simulator"}

    def test_sockets(self, sim: ThreadedSimulator) -> None:
        """A fault that closes the listening socket has closed it, and clearing opens it."""
        url = sim.base_url
        for _ in range(5):
            sim.fault("connection-refused")
            with pytest.raises(urllib.error.URLError, match="refused"):
                status(url)
            sim.clear_faults()
            assert status(url) == 401

    def test_errors(self, sim: ThreadedSimulator) -> None:
        """What is wrong with an argument is raised where it was given."""
        with pytest.raises(ValueError, match="name must be one of"):
            sim.fault("toothache")
        with pytest.raises(TypeError, match="number"):
            sim.whitelist()  # type: ignore[call-arg]

    def test_values(self, sim: ThreadedSimulator) -> None:
        """What is made comes back."""
        sid = sim.add_call(status="busy")
        settings = sim.add_account(kyc=False)

        assert sim.calls[sid].status == "busy"
        assert settings["account_sid"] != sim.settings["account_sid"]
        assert sim.fault("hang").name == "hang"
        assert [fault.name for fault in sim.faults] == ["hang"]

    def test_calls_while_they_come(self, sim: ThreadedSimulator) -> None:
        """Calls can be looked through while others are put in."""
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(lambda: [sim.add_call() for _ in range(200)])
            while not adding.done():
                assert all(call.settled for call in sim.calls.values())

        assert len(sim.calls) == 200

    def test_from_within(self) -> None:
        """Who watches in the simulator's own thread may steer it."""
        steered: list[str] = []

        def watch(_: Received) -> None:
            steered.append(sim.add_call())

        with ThreadedSimulator(watch=watch) as sim:
            status(sim.base_url)

        assert list(sim.calls) == steered != []


class TestAdvance:
    async def test_time_passes(self, sim: ThreadedSimulator) -> None:
        """A call has lived when advance returns."""
        async with ExotelClient(**sim.settings) as exotel:
            call = await exotel.calls.connect(**NUMBERS)
            await sim.advance(minutes=5)

            assert (await exotel.calls.get(call.sid)).status == "completed"

    async def test_loop_runs_on(self, sim: ThreadedSimulator) -> None:
        """Sleepers in the loop that awaits it wake at their instants, and may ask."""
        instants: list[float] = []

        async def poll() -> None:
            for _ in range(5):
                await sim.clock.sleep(60)
                await exotel.numbers.get("+919812300001")
                instants.append(sim.clock.monotonic())

        async with ExotelClient(**sim.settings) as exotel:
            polling = asyncio.create_task(poll())
            await sim.advance(minutes=5)
            await polling

        assert instants == [60.0, 120.0, 180.0, 240.0, 300.0]

    async def test_just_started(self, sim: ThreadedSimulator) -> None:
        """Who was started right before gets to its sleep, in a loop that never slept before."""
        for _ in range(20):
            sleeper = asyncio.create_task(sim.clock.sleep(1.0))
            await sim.advance(seconds=1)
            await asyncio.wait_for(sleeper, 5)

    def test_several_loops(self, sim: ThreadedSimulator) -> None:
        """Sleepers in several loops wake in their order."""
        woken: list[int] = []
        ready, over = threading.Barrier(4), threading.Event()

        async def sleep(place: int) -> None:
            sleeping = asyncio.create_task(sim.clock.sleep(10.0 - place))
            await asyncio.sleep(0)
            ready.wait()
            await sleeping
            woken.append(place)
            await asyncio.to_thread(over.wait)

        others = [threading.Thread(target=asyncio.run, args=(sleep(n),)) for n in range(3)]
        for other in others:
            other.start()
        ready.wait()
        sim.advance_blocking(seconds=10)
        over.set()
        for other in others:
            other.join()

        assert woken == [2, 1, 0]

    async def test_cancelled(self, sim: ThreadedSimulator) -> None:
        """One that was cancelled is over: time can be advanced again at once."""
        let_go: list[bool] = []

        async def wait() -> None:
            while not let_go:
                await asyncio.sleep(0.001)

        for _ in range(10):
            sim.clock.call_later(1, wait)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sim.advance(seconds=2), 0.01)

        let_go.append(True)
        await sim.advance(seconds=2)

    async def test_fails(self, sim: ThreadedSimulator) -> None:
        """What fails in time is raised to whom time passes for."""

        async def fail() -> None:
            raise LookupError("on purpose")

        sim.clock.call_later(1, fail)
        with pytest.raises(LookupError, match="on purpose"):
            await sim.advance(seconds=2)

    async def test_two_drivers(self, sim: ThreadedSimulator) -> None:
        """Two at once are refused, as without a thread."""
        sim.clock.call_later(1, lambda: asyncio.sleep(0.05))
        first = asyncio.create_task(sim.advance(seconds=5))
        for _ in range(3):
            await asyncio.sleep(0)

        with pytest.raises(RuntimeError, match="already"):
            await sim.advance(seconds=1)
        await first

    async def test_ended_meanwhile(self) -> None:
        """Who still waits when the simulator ends is told so."""
        waiting, stuck = threading.Event(), asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await stuck.wait()

        sim = ThreadedSimulator()
        async with sim:
            sim.clock.call_later(1, wait)
            advancing = asyncio.create_task(sim.advance(seconds=2))
            await asyncio.to_thread(waiting.wait)

        with pytest.raises(RuntimeError, match="has ended"):
            await advancing

    def test_from_within(self) -> None:
        """In the simulator's own loop it passes there."""
        with ThreadedSimulator() as sim:

            async def nest() -> None:
                with pytest.raises(RuntimeError, match="already"):
                    await sim.advance(seconds=1)

            sim.clock.call_later(1, nest)
            sim.advance_blocking(seconds=1)


class TestAdvanceBlocking:
    def test_time_passes(self, sim: ThreadedSimulator) -> None:
        """Time passes for a program without a loop."""
        sim.advance_blocking(minutes=1, seconds=1.5, hours=1)

        assert sim.clock.monotonic() == 3661.5

    async def test_in_a_loop(self, sim: ThreadedSimulator) -> None:
        """Where it would stop a running loop it says what to do."""
        with pytest.raises(RuntimeError, match=r"await sim\.advance"):
            sim.advance_blocking(minutes=1)

    async def test_beside_a_loop(self, sim: ThreadedSimulator) -> None:
        """In a worker's thread it may be used while a loop runs elsewhere."""
        sleeper = asyncio.create_task(sim.clock.sleep(30))
        await asyncio.sleep(0)

        await asyncio.to_thread(sim.advance_blocking, minutes=1)

        assert sleeper.done()

    async def test_cancelled_without_a_word(
        self, sim: ThreadedSimulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Who stops waiting leaves nothing behind for asyncio to complain of."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_slow_advance(sim), 0.05)
        gc.collect()
        await asyncio.sleep(0)

        assert "never retrieved" not in caplog.text

    def test_outside_asyncio(self, sim: ThreadedSimulator) -> None:
        """Another kind of loop is told what it lacks."""
        with pytest.raises(RuntimeError, match="where asyncio runs"):
            sim.advance(minutes=1).send(None)


async def _slow_advance(sim: ThreadedSimulator) -> None:
    async def linger() -> None:
        await asyncio.sleep(0.2)

    sim.clock.call_later(1, linger)
    await sim.advance(minutes=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
class TestFork:
    def test_child(self, sim: ThreadedSimulator) -> None:
        """A forked process can't steer it, leaves it alone, and does not keep its door open."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:  # it ends by _exit, whatever happens
            told = b"nothing"
            try:
                with pytest.raises(RuntimeError, match="forked from"):
                    sim.fault("hang")
                sim.__exit__(None, None, None)
                told = b"refused"
            finally:
                os.write(writing, told)
                os.read(reading, 0)
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b"refused"
        os.waitpid(child, 0)
        assert sim.base_url

    def test_door(self, sim: ThreadedSimulator) -> None:
        """While a forked process lives, refused is still refused."""
        port = int(sim.base_url.rpartition(":")[2])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
        os.close(reading)
        sim.fault("connection-refused")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        os.close(writing)
        os.waitpid(child, 0)


class TestSpeed:
    async def test_runs_by_itself(self) -> None:
        """With a speed, who sleeps in another loop wakes without any advance."""
        with ThreadedSimulator(speed=1000) as sim:
            await asyncio.wait_for(sim.clock.sleep(5), 10)

            assert sim.clock.monotonic() >= 5


def test_same_seed() -> None:
    """The same seed and the same requests make the same journals, thread or not."""

    async def journal(make: Callable[..., Simulator]) -> list[tuple[object, ...]]:
        async with make(seed=3) as sim, ExotelClient(**sim.settings) as exotel:
            for _ in range(3):
                await exotel.calls.connect(**NUMBERS)
            await sim.advance(minutes=5)
            return [(call.sid, call.status, call.end_time) for call in sim.calls.values()]

    assert asyncio.run(journal(Simulator)) == asyncio.run(journal(ThreadedSimulator))
