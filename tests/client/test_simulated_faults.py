"""What the client makes of each fault that the simulator knows, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from exotel_async import (
    ApiError,
    BadRequestError,
    Call,
    DndBlockedError,
    ExotelClient,
    ExotelError,
    KycRequiredError,
    NoAnswerError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableAnswerError,
)
from exotel_async.simulator import FAULTS, MAGIC_NUMBERS, Simulator

NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
TRIES = 3  # of a client with two retries


@attrs.frozen
class Expected:
    """What becomes of a connect and of a get while a fault lasts."""

    connect: type[ExotelError]
    get: type[ExotelError]
    rings: bool = True  # whether the phones ring behind the failed connect
    connects: int = 1  # requests that the simulator read for one connect
    gets: int = TRIES
    twice: bool = False  # aiohttp repeats a GET once by itself where a connection broke off


LOST = Expected(OutcomeUnknownError, NoAnswerError)
CUT = attrs.evolve(LOST, twice=True)
SERVER = Expected(OutcomeUnknownError, ServerError)
UNREADABLE = Expected(OutcomeUnknownError, UnreadableAnswerError, gets=1)
EXPECTED: dict[str, Expected] = {
    "connection-refused": Expected(NotSentError, NotSentError, rings=False, connects=0, gets=0),
    "reset-on-connect": Expected(OutcomeUnknownError, NoAnswerError, False, connects=0, gets=0),
    "close-after-read": CUT,
    "reset-after-read": CUT,
    "hang": LOST,
    "half-a-head": CUT,
    "no-http": LOST,
    "hang-in-body": LOST,
    "truncated-200": LOST,
    "redirect": Expected(OutcomeUnknownError, UnreadableAnswerError, rings=False, gets=1),
    "408-empty": Expected(OutcomeUnknownError, ApiError, rings=False),
    "429": Expected(RateLimitedError, RateLimitedError, rings=False, connects=TRIES),
    "429-retry-after": Expected(RateLimitedError, RateLimitedError, rings=False, connects=TRIES),
    "500-json": SERVER,
    "500-html": SERVER,
    "500-empty": SERVER,
    "502-html": attrs.evolve(SERVER, rings=False),
    "503-json": attrs.evolve(SERVER, rings=False),
    "503-retry-after": attrs.evolve(SERVER, rings=False),
    "504-empty": SERVER,
    "cut-off-200": UNREADABLE,
    "empty-200": UNREADABLE,
    "senseless-200": UNREADABLE,
    "no-sid-200": UNREADABLE,
    "exception-200": Expected(OutcomeUnknownError, ServerError),
}
HARMLESS = ("latency", "slow-body", "xml-for-json")
REFUSALS: dict[str, type[ExotelError]] = {
    "+910000000400": BadRequestError,
    "+910000000401": KycRequiredError,
    "+910000000402": PaymentRequiredError,
    "+910000000403": DndBlockedError,
}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(seed=7, speed=1000.0, requests_per_minute=None) as running:
        yield running


@pytest.fixture
async def exotel(sim: Simulator) -> AsyncIterator[ExotelClient]:
    """A client that soon loses patience and waits between tries in the simulator's time."""
    async with ExotelClient(**sim.settings, timeout=10.0, requests_per_minute=None) as opened:
        yield opened


@pytest.fixture
def hasty(exotel: ExotelClient) -> ExotelClient:
    """The same for what hangs."""
    return exotel.with_options(timeout=0.3)


def of_kind(sim: Simulator, method: str) -> list[Any]:
    return [received for received in sim.requests if received.method == method]


HANGING = ("hang", "hang-in-body")


class TestFaults:
    def test_all_are_shown(self) -> None:
        """No fault of a connection or an answer is left out; recordings have tests of their own."""
        faults = {name for name in FAULTS if not name.startswith(("callback-", "recording-"))}

        assert faults == {*EXPECTED, *HARMLESS}

    @pytest.mark.parametrize("name", EXPECTED)
    async def test_connect(
        self, sim: Simulator, exotel: ExotelClient, hasty: ExotelClient, name: str
    ) -> None:
        """A connect under a fault that lasts: at most one dial, and the error that says so."""
        expected = EXPECTED[name]
        sim.fault(name, times=None)

        with pytest.raises(ExotelError) as caught:
            await (hasty if name in HANGING else exotel).calls.connect(**NUMBERS)

        assert type(caught.value) is expected.connect
        assert len(of_kind(sim, "POST")) == expected.connects
        assert len(sim.calls) == expected.rings

    @pytest.mark.parametrize("name", EXPECTED)
    async def test_get(
        self, sim: Simulator, exotel: ExotelClient, hasty: ExotelClient, name: str
    ) -> None:
        """A get under a fault that lasts is tried again where that may help, then told."""
        expected, sid = EXPECTED[name], sim.add_call()
        sim.fault(name, times=None)

        with pytest.raises(ExotelError) as caught:
            await (hasty if name in HANGING else exotel).calls.get(sid)

        assert type(caught.value) is expected.get
        gets = len(of_kind(sim, "GET"))
        assert gets == expected.gets or (expected.twice and gets == 2 * expected.gets)
        assert caught.value.attempts == (1 if expected.gets == 1 else TRIES)

    @pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name].gets != 1])
    async def test_passing(
        self, sim: Simulator, exotel: ExotelClient, hasty: ExotelClient, name: str
    ) -> None:
        """A get under a fault that passes gets its answer."""
        sid = sim.add_call(status="busy")
        fault = sim.fault(name, times=1, seconds=0.5 if name == "connection-refused" else None)

        call = await (hasty if name in HANGING else exotel).calls.get(sid)

        assert (call.sid, call.status) == (sid, "busy")
        assert fault.struck == (name != "connection-refused")

    @pytest.mark.parametrize("name", HARMLESS)
    async def test_harmless(self, sim: Simulator, exotel: ExotelClient, name: str) -> None:
        """Some faults are borne without a word."""
        sim.fault(name, times=None, seconds=None if name == "xml-for-json" else 0.01)

        placed = await exotel.calls.connect(**NUMBERS)
        read = await exotel.calls.get(placed.sid, details=True)

        assert isinstance(read, Call)
        assert list(sim.calls) == [placed.sid] == [read.sid]

    async def test_slow_beyond_patience(self, sim: Simulator, hasty: ExotelClient) -> None:
        """A body that is slower than the time-out is a lost answer."""
        sim.fault("slow-body", seconds=5.0)

        with pytest.raises(OutcomeUnknownError):
            await hasty.calls.connect(**NUMBERS)

        assert len(sim.calls) == 1

    async def test_random_faults(self, sim: Simulator, exotel: ExotelClient) -> None:
        """Whatever strikes by chance: one connect, at most one call, and no false "not sent"."""
        for name in EXPECTED:
            if name not in ("connection-refused", "hang", "hang-in-body"):
                sim.fault(name, times=None, probability=0.06)
        known: set[str] = set()
        unknown = refused = 0
        for _ in range(150):
            before = len(sim.calls)
            try:
                known.add((await exotel.calls.connect(**NUMBERS)).sid)
            except OutcomeUnknownError:
                unknown += 1
            except (ApiError, NotSentError):
                assert len(sim.calls) == before
                refused += 1
            assert len(sim.calls) <= before + 1

        assert known <= set(sim.calls)
        assert len(sim.calls) <= len(known) + unknown
        assert min(len(known), unknown) > 10
        assert len(known) + unknown + refused == 150


class TestNumbers:
    @pytest.mark.parametrize("number", REFUSALS)
    async def test_refused(self, sim: Simulator, exotel: ExotelClient, number: str) -> None:
        """A number that is refused has an error of its own, and no phone rings."""
        with pytest.raises(REFUSALS[number]):
            await exotel.calls.connect(**NUMBERS | {"to": number})

        assert not sim.calls

    async def test_account_without_kyc(self, sim: Simulator) -> None:
        """An account that has not shown who it is can't dial anybody."""
        settings = sim.add_account(kyc=False)
        async with ExotelClient(**settings) as exotel:
            with pytest.raises(KycRequiredError):
                await exotel.calls.connect(**NUMBERS)

    async def test_429(self, sim: Simulator, exotel: ExotelClient) -> None:
        """A number for which there is never room is tried as often as allowed."""
        with pytest.raises(RateLimitedError) as caught:
            await exotel.calls.connect(**NUMBERS | {"to": "+910000000429"})

        assert (caught.value.retry_after, caught.value.attempts) == (1.0, TRIES)

    @pytest.mark.parametrize(("number", "rings"), [("500", 1), ("503", 0), ("504", 1)])
    async def test_unknown(
        self, sim: Simulator, hasty: ExotelClient, number: str, rings: int
    ) -> None:
        """Three numbers leave open what happened; two of them ring."""
        with pytest.raises(OutcomeUnknownError):
            await hasty.calls.connect(**NUMBERS | {"to": f"+910000000{number}"})

        assert len(sim.calls) == rings

    async def test_all(self, sim: Simulator, exotel: ExotelClient, hasty: ExotelClient) -> None:
        """What a number does is what it says: it answers, it rings on, or it is refused."""
        outcomes: dict[str, str] = {}
        for magic in MAGIC_NUMBERS:
            try:
                asking = hasty if magic.fault == "hang" else exotel
                call = await asking.calls.connect(**NUMBERS | {"to": magic.number})
            except PermissionDeniedError:
                outcomes[magic.number] = "refused"
            except ExotelError as error:
                outcomes[magic.number] = type(error).__name__
            else:
                await sim.advance(minutes=5)
                outcomes[magic.number] = str((await exotel.calls.get(call.sid)).status)

        assert {number[-3:]: outcome for number, outcome in outcomes.items()} == {
            "200": "completed",
            "180": "completed",
            "183": "in-progress",
            "404": "failed",
            "408": "no-answer",
            "480": "no-answer",
            "486": "busy",
            "487": "completed",
            "603": "completed",
            "400": "BadRequestError",
            "401": "refused",
            "402": "PaymentRequiredError",
            "403": "refused",
            "429": "RateLimitedError",
            "500": "OutcomeUnknownError",
            "503": "OutcomeUnknownError",
            "504": "OutcomeUnknownError",
        }
