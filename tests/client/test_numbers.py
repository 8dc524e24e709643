"""Numbers in quantity: what is asked, how often, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
from collections import UserDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from exotel_async import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    ExotelClient,
    InvalidRequestError,
    NumberMetadata,
    NumberResult,
    ServerError,
)
from exotel_async.simulator import Simulator

ONE, TWO, THREE = "+919812300001", "+919812300002", "+919812300003"
Make = Callable[..., ExotelClient]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(seed=7, speed=1000.0, requests_per_minute=None) as running:
        yield running


@pytest.fixture
async def make(sim: Simulator) -> AsyncIterator[Make]:
    """Make an open client; settings not given are harmless ones."""
    opened: list[ExotelClient] = []

    def made(**settings: Any) -> ExotelClient:
        known: dict[str, Any] = {**sim.settings, "requests_per_minute": None, "max_retries": 0}
        client = ExotelClient(**(known | settings))
        client._door.transport.open()
        opened.append(client)
        return client

    yield made
    for client in opened:
        await client.aclose()


@pytest.fixture
async def exotel(make: Make) -> ExotelClient:
    return make()


def asked(sim: Simulator) -> list[str]:
    """List the numbers that were asked for, in order."""
    return [request.path.rpartition("/")[2].removesuffix(".json") for request in sim.requests]


def lookups() -> list[asyncio.Task[Any]]:
    """List the tasks that look numbers up now."""
    return [one for one in asyncio.all_tasks() if "_Round.look_up" in repr(one.get_coro())]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


class TestGetMany:
    async def test_in_order(self, exotel):
        """Each number has a result, in the order given."""
        numbers = [f"+9198123{n:05}" for n in range(50)]

        results = await exotel.numbers.get_many(numbers)

        assert [result.number for result in results] == numbers
        assert [result.metadata.phone_number for result in results] == [
            f"0{number[3:]}" for number in numbers
        ]

    async def test_once(self, sim, exotel):
        """A number that comes again is asked for once, and has its result in each place."""
        results = await exotel.numbers.get_many([ONE, TWO, ONE, ONE] * 20)

        assert sorted(asked(sim)) == [ONE, TWO]
        assert [result.number for result in results] == [ONE, TWO, ONE, ONE] * 20

    async def test_spellings(self, sim, exotel):
        """Another spelling is another question: 080... is a landline, +9180... need not be."""
        mobile, landline = await exotel.numbers.get_many(["+918012345678", "08012345678"])

        assert len(sim.requests) == 2
        assert (mobile.metadata.type, landline.metadata.type) == ("Mobile", "Landline")

    async def test_errors_stay_apart(self, sim, exotel):
        """An error of one number is in its result, what is refused here too."""
        results = await exotel.numbers.get_many([ONE, "hello", "", None, [], TWO])

        assert [type(result.error) for result in results] == [
            type(None),
            BadRequestError,
            *[InvalidRequestError] * 3,
            type(None),
        ]
        assert [result.metadata is None for result in results] == [
            result.error is not None for result in results
        ]
        assert sorted(asked(sim)) == [ONE, TWO, "hello"]

    async def test_passing_failure(self, sim, exotel):
        """One lost answer costs one result."""
        sim.fault("500-empty", on="number")

        results = await exotel.numbers.get_many([ONE, TWO, THREE])

        assert sorted(type(r.error).__name__ for r in results) == [
            "NoneType", "NoneType", "ServerError",
        ]  # fmt: skip

    async def test_wrong_credentials(self, sim, make):
        """What hits all ends the rest at once, with the same error."""
        results = await make(api_token="wrong").numbers.get_many(
            [f"+9198123{n:05}" for n in range(100)], concurrency=1
        )

        assert len(sim.requests) == 1
        assert len(results) == 100
        assert isinstance(results[0].error, AuthenticationError)
        assert {id(result.error) for result in results} == {id(results[0].error)}

    async def test_closed(self, exotel):
        """A closed client says so in each result."""
        await exotel.aclose()

        results = await exotel.numbers.get_many([ONE, TWO])

        assert [type(result.error) for result in results] == [ClientClosedError] * 2

    async def test_concurrency(self, sim, exotel):
        """As many requests as allowed are under way at once, and no more."""
        fault = sim.fault("hang", on="number", times=None)
        numbers = [f"+9198123{n:05}" for n in range(30)]

        task = asyncio.create_task(exotel.numbers.get_many(numbers, concurrency=3))
        await until(lambda: fault.struck >= 3)
        await asyncio.sleep(0.05)  # time for one too many
        struck = fault.struck
        task.cancel()
        await asyncio.wait({task})

        assert struck == 3

    async def test_cancelled(self, sim, exotel):
        """Who is cancelled leaves no task behind."""
        fault = sim.fault("hang", on="number", times=None)

        task = asyncio.create_task(exotel.numbers.get_many([ONE, TWO, THREE]))
        await until(lambda: fault.struck == 3)
        mine = lookups()
        task.cancel()
        await asyncio.wait({task})

        assert task.cancelled()
        assert len(mine) == 3
        assert not lookups()

    async def test_broken_iterable(self, exotel):
        """An error of the iterable's own comes out as it is, and no task is left."""

        def numbers() -> Iterator[str]:
            yield ONE
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await exotel.numbers.get_many(numbers())

        assert not lookups()

    async def test_paced(self, sim, make):
        """The client's pacer is asked for each request."""

        class Counting:
            asked = 0

            async def reserve(self) -> None:
                self.asked += 1

            async def hold(self, seconds: float) -> None:
                raise AssertionError

        pacer = Counting()

        await make(pacer=pacer).numbers.get_many([ONE, TWO, ONE])

        assert pacer.asked == 2

    async def test_none(self, sim, exotel):
        """No numbers, no requests."""
        assert await exotel.numbers.get_many([]) == []
        assert not sim.requests

    @pytest.mark.parametrize("numbers", [ONE, None, 7, b"080"])
    async def test_no_numbers(self, exotel, numbers):
        """One text is not several; the error names the argument."""
        with pytest.raises(InvalidRequestError, match="numbers must be several texts") as caught:
            await exotel.numbers.get_many(numbers)

        assert ONE not in str(caught.value)

    @pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, None])
    async def test_impossible_concurrency(self, exotel, concurrency):
        """At least one must be let through."""
        with pytest.raises(InvalidRequestError, match="concurrency must be a whole number"):
            await exotel.numbers.get_many([ONE], concurrency=concurrency)


class TestIterMany:
    async def test_endless(self, sim, exotel):
        """An iterable without end is read only a little ahead of what is given out."""
        taken = 0

        def numbers() -> Iterator[str]:
            nonlocal taken
            while True:
                taken += 1
                yield f"+91{9812300000 + taken}"

        got = []
        async with aclosing(exotel.numbers.iter_many(numbers(), concurrency=2)) as results:
            async for result in results:
                got.append(result.number)
                if len(got) == 20:
                    break

        assert got == [f"+91{9812300001 + n}" for n in range(20)]
        assert taken <= 20 + 4 * 2 + 1
        assert not lookups()

    async def test_refused_at_once(self, exotel):
        """A wrong argument is refused before anything is awaited."""
        with pytest.raises(InvalidRequestError, match="numbers must be several texts"):
            exotel.numbers.iter_many(ONE)


class TestNumberResult:
    def test_masked(self):
        """Its text shows no number."""
        assert ONE not in repr(NumberResult(number=ONE))


class Failing(UserDict[str, NumberMetadata]):
    """A cache that can't be relied on at all."""

    def get(self, key: str, default: Any = None) -> Any:
        raise KeyError(key)

    def __setitem__(self, key: str, item: NumberMetadata) -> None:
        raise OSError(key)


class TestNumberCache:
    async def test_shared(self, sim, make):
        """get, get_many and views share it; its keys are the numbers as given."""
        cache: dict[str, NumberMetadata] = {}
        exotel = make(number_cache=cache)

        found = await exotel.numbers.get(ONE)
        many = await exotel.numbers.get_many([ONE, TWO])
        again = await exotel.with_options(timeout=5.0).numbers.get(TWO)

        assert sorted(asked(sim)) == [ONE, TWO]
        assert cache == {ONE: found, TWO: again}
        assert [result.metadata for result in many] == [found, again]

    async def test_none(self, sim, exotel):
        """None is there unless it is given."""
        await exotel.numbers.get(ONE)
        await exotel.numbers.get(ONE)

        assert asked(sim) == [ONE, ONE]

    async def test_errors_are_not_kept(self, sim, make):
        """What failed is asked again."""
        cache: dict[str, NumberMetadata] = {}
        exotel = make(number_cache=cache)
        sim.fault("500-empty", on="number")

        with pytest.raises(ServerError):
            await exotel.numbers.get(ONE)

        assert cache == {}
        assert await exotel.numbers.get(ONE) == cache[ONE]

    async def test_failing(self, sim, make, caplog):
        """A cache that fails never breaks a lookup; the log says so without the number."""
        exotel = make(number_cache=Failing())
        caplog.set_level(logging.WARNING, "exotel_async.client")

        found = await exotel.numbers.get(ONE)

        assert found.phone_number == "09812300001"
        assert [record.getMessage() for record in caplog.records] == [
            "number_cache could not be read: KeyError",
            "number_cache could not be written: OSError",
        ]

    async def test_strange_value(self, sim, make):
        """What is no metadata is not taken for it."""
        cache: Any = {ONE: "what?"}

        found = await make(number_cache=cache).numbers.get(ONE)

        assert cache == {ONE: found}

    @pytest.mark.parametrize("cache", [[], "cache", 600, object()])
    def test_impossible(self, sim, make, cache):
        """What is no mapping is refused, by name."""
        with pytest.raises(ConfigurationError, match="number_cache must be a mutable mapping"):
            make(number_cache=cache)

    async def test_closed(self, make):
        """A closed client says so, whatever it remembers."""
        exotel = make(number_cache={ONE: NumberMetadata()})
        await exotel.aclose()

        with pytest.raises(ClientClosedError):
            await exotel.numbers.get(ONE)


class TestTogether:
    async def test_one_request(self, sim, exotel):
        """Who asks for the same number at the same time gets the same answer."""
        sim.fault("latency", on="number", seconds=0.05)

        found = await asyncio.gather(*(exotel.numbers.get(ONE) for _ in range(5)))

        assert asked(sim) == [ONE]
        assert all(one is found[0] for one in found)

    async def test_one_error(self, sim, exotel):
        """So does an error come to all, once."""
        sim.fault("500-empty", on="number")

        found = await asyncio.gather(
            *(exotel.numbers.get(ONE) for _ in range(3)), return_exceptions=True
        )

        assert asked(sim) == [ONE]
        assert [type(one) for one in found] == [ServerError] * 3

    async def test_first_is_cancelled(self, sim, exotel):
        """Where who asked gives up, another of those who wait asks."""
        fault = sim.fault("hang", on="number")
        first = asyncio.create_task(exotel.numbers.get(ONE))
        await until(lambda: fault.struck == 1)
        rest = [asyncio.create_task(exotel.numbers.get(ONE)) for _ in range(3)]
        await asyncio.sleep(0)

        first.cancel()
        found = await asyncio.gather(*rest)

        assert first.cancelled()
        assert asked(sim) == [ONE, ONE]
        assert {one.phone_number for one in found} == {"09812300001"}

    async def test_another_is_cancelled(self, sim, exotel):
        """Where one of those who wait gives up, the others get their answer."""
        fault = sim.fault("latency", on="number", seconds=0.1)
        first = asyncio.create_task(exotel.numbers.get(ONE))
        second = asyncio.create_task(exotel.numbers.get(ONE))
        await until(lambda: fault.struck == 1)

        second.cancel()
        found = await first

        assert second.cancelled()
        assert (found.phone_number, asked(sim)) == ("09812300001", [ONE])

    async def test_impatient_view(self, sim, exotel):
        """A view with less patience fails alone."""
        sim.fault("latency", on="number", times=None, seconds=0.5)
        patient = asyncio.create_task(exotel.numbers.get(ONE))
        hasty = exotel.with_options(timeout=0.05)

        found = await asyncio.gather(hasty.numbers.get(ONE), patient, return_exceptions=True)

        assert isinstance(found[0], TimeoutError)
        assert found[1].phone_number == "09812300001"
