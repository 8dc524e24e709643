"""What goes along with a request that may ring a phone: told before a try, after harmless ones."""

from __future__ import annotations

import pytest

from exotel_async import (
    ClientClosedError,
    ExotelClient,
    ExotelError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
)
from exotel_async.client.client import door_of
from exotel_async.simulator import Simulator
from exotel_async.wire import connecting

CONNECT = connecting.connect(from_="+919812300001", to="+919812300002", caller_id="08040001234")


class Escort:
    """Notes what it is told; `forbids` and `late`: what it raises, and how often."""

    def __init__(self, sim: Simulator, *, forbids: Exception | None = None, late: int = 0) -> None:
        self.told: list[str] = []
        self._sim = sim
        self._forbids = forbids
        self._late = late

    async def before_try(self) -> None:
        self.told.append(f"before {len(self._sim.requests)}")
        if self._forbids is not None:
            raise self._forbids

    def leave(self) -> None:
        self.told.append("leave")
        if self._late:
            self._late -= 1
            raise NotSentError("too late")

    async def after_harmless_try(self) -> None:
        self.told.append(f"after {len(self._sim.requests)}")


@pytest.fixture
async def sim():
    async with Simulator(requests_per_minute=None, speed=1000) as running:
        yield running


@pytest.fixture
async def exotel(sim):
    async with ExotelClient(**sim.settings, requests_per_minute=None) as opened:
        yield opened


class TestEscort:
    async def test_good(self, sim, exotel):
        """It is told before the one try, and lets it go."""
        escort = Escort(sim)
        call = await door_of(exotel).send(CONNECT, escort=escort)

        assert call.sid in sim.calls
        assert escort.told == ["before 0", "leave"]

    async def test_slow_down(self, sim, exotel):
        """After each 429 it is told that nothing rang, also after the last."""
        sim.fault("429", times=None)
        escort = Escort(sim)
        with pytest.raises(RateLimitedError):
            await door_of(exotel).send(CONNECT, escort=escort)

        assert escort.told == [
            "before 0", "leave", "after 1", "before 1", "leave", "after 2", "before 2", "leave",
            "after 3",
        ]  # fmt: skip

    async def test_not_sent(self, sim, exotel):
        """After a connection that did not come about as well."""
        sim.fault("connection-refused")
        escort = Escort(sim)
        with pytest.raises(NotSentError):
            await door_of(exotel).send(CONNECT, escort=escort)

        assert escort.told == ["before 0", "leave", "after 0"] * 3

    @pytest.mark.parametrize("fault", ["500-json", "reset-after-read", "empty-200", "408-empty"])
    async def test_unknown(self, sim, exotel, fault):
        """What may have rung a phone is not called harmless."""
        sim.fault(fault)
        escort = Escort(sim)
        with pytest.raises(OutcomeUnknownError):
            await door_of(exotel).send(CONNECT, escort=escort)

        assert escort.told == ["before 0", "leave"]

    async def test_late(self, sim, exotel):
        """It may hold back a try that comes too late; another follows."""
        escort = Escort(sim, late=1)
        await door_of(exotel).send(CONNECT, escort=escort)

        assert escort.told == ["before 0", "leave", "after 0", "before 0", "leave"]
        assert len(sim.requests) == 1

    @pytest.mark.parametrize("error", [NotSentError("no"), RuntimeError("bug")])
    async def test_forbids(self, sim, exotel, error):
        """What it raises beforehand ends it all: no request, no further try."""
        escort = Escort(sim, forbids=error)
        with pytest.raises(type(error)) as caught:
            await door_of(exotel).send(CONNECT, escort=escort)

        assert caught.value is error
        assert escort.told == ["before 0"]
        assert len(sim.requests) == 0

    async def test_closed_meanwhile(self, sim, exotel):
        """Where the client is closed before the try, it is not let go."""

        class Closing(Escort):
            async def before_try(self) -> None:
                await super().before_try()
                await exotel.aclose()

        escort = Closing(sim)
        with pytest.raises(ClientClosedError):
            await door_of(exotel).send(CONNECT, escort=escort)

        assert escort.told == ["before 0"]

    async def test_closed_by_a_hook(self, sim, exotel, monkeypatch):
        """A closed client of somebody else's, met on the way, proves nothing about our dial."""

        async def exchange(envelope):
            raise ClientClosedError("another client")

        monkeypatch.setattr(door_of(exotel).transport, "exchange", exchange)
        with pytest.raises(ExotelError) as caught:
            await door_of(exotel).send(CONNECT, escort=Escort(sim))

        assert type(caught.value) is OutcomeUnknownError
