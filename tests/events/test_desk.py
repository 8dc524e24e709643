"""Which handlers want what a journal holds, and by what names they are known."""

from __future__ import annotations

import functools
from datetime import UTC

import attrs
import pytest
from deliveries import tell

from exotel_async import (
    IST,
    CallAnswered,
    CallTerminated,
    JournalError,
    StatusCallback,
    UnknownCallback,
)
from exotel_async.events import CallbackRouter
from exotel_async.events.desk import CallbackDesk, named
from exotel_async.journal import MemoryJournal

ALL = {f"callback.{word}" for word in ("answered", "terminal", "other")}


async def one(event: StatusCallback) -> None:
    """Do nothing."""


async def other(event: StatusCallback) -> None:
    """Do nothing either."""


class Handler:
    def __init__(self) -> None:
        self.events = []

    async def __call__(self, event: StatusCallback) -> None:
        self.events.append(event)

    async def method(self, event: StatusCallback) -> None:
        self.events.append(event)


@pytest.fixture
def router():
    return CallbackRouter()


@pytest.fixture
def desk(router):
    return CallbackDesk(router, zone=IST)


@pytest.fixture
async def claims():
    """Claim what is written down."""
    async with MemoryJournal() as journal:

        async def write(*args, **fields):
            await tell(journal, *args, **fields)
            topics = {*ALL, *(topic.replace("callback", "update") for topic in ALL)}
            [claim] = await journal.claim(topics, most=9, tries=9)
            await journal.finish(claim)
            return claim

        yield write


class TestTopics:
    def test_nobody(self, desk):
        """Without handlers nothing is wanted."""
        assert list(desk.topics()) == []

    @pytest.mark.parametrize(
        ("kinds", "topics"),
        [
            ([CallAnswered], {"callback.answered"}),
            ([CallTerminated], {"callback.terminal"}),
            ([UnknownCallback], {"callback.other"}),
            ([CallAnswered, CallTerminated], {"callback.answered", "callback.terminal"}),
            ([StatusCallback], ALL),
        ],
    )
    def test_kinds(self, router, desk, kinds, topics):
        """Each kind of event is a topic."""
        router.on(*kinds)(one)

        assert set(desk.topics()) == topics

    def test_updates(self, router, desk):
        """Updates are topics of their own, for those that ask for them."""
        router.on(CallAnswered)(one)
        router.on(CallTerminated, updates=True)(one)

        assert set(desk.topics()) == {"callback.answered", "callback.terminal", "update.terminal"}

    def test_registered_later(self, router, desk):
        """What is registered later, on a router that was taken in, counts too."""
        inner = CallbackRouter()
        router.include(inner)
        inner.on(CallAnswered)(one)

        assert set(desk.topics()) == {"callback.answered"}


class TestHandlersFor:
    async def test_event(self, router, desk, claims):
        """Handlers get the event as it was decoded, with its ref and its delivery_id."""
        handler = Handler()
        router.on(CallTerminated)(handler)
        claim = await claims("c1", ref="order-7", DateUpdated="2026-11-02 12:00:00")

        for _, call in await desk.handlers_for(claim):
            await call()

        [event] = handler.events
        assert (type(event), event.call_sid, event.ref) == (CallTerminated, "c1", "order-7")
        assert event.delivery_id == claim.delivery_id
        assert event.date_updated.utcoffset() == IST.utcoffset(None)

    async def test_zone(self, router, claims):
        """Times without a zone mean what the desk was told."""
        handler = Handler()
        router.on(StatusCallback)(handler)
        claim = await claims("c1", DateUpdated="2026-11-02 12:00:00")

        for _, call in await CallbackDesk(router, zone=UTC).handlers_for(claim):
            await call()

        assert handler.events[0].date_updated.tzinfo is UTC

    async def test_in_order(self, router, desk, claims):
        """Those that want it come in order of registration."""
        router.on(CallTerminated)(other)
        router.on(CallAnswered)(one)
        router.on(StatusCallback)(one)

        handlers = await desk.handlers_for(await claims("c1"))

        assert [name.rpartition(":")[2] for name, _ in handlers] == ["other", "one#2"]

    async def test_updates(self, router, desk, claims):
        """An update goes only to those that asked for updates."""
        router.on(CallTerminated)(one)
        router.on(CallTerminated, updates=True)(other)
        first = await claims("c1")
        update = await claims("c1", RecordingUrl="https://example.com/r.mp3")

        told = [[name for name, _ in await desk.handlers_for(c)] for c in (first, update)]

        assert told == [[f"{__name__}:one", f"{__name__}:other"], [f"{__name__}:other"]]

    async def test_erased(self, desk, claims):
        """What was erased meanwhile can't be delivered, and that is said."""
        claim = attrs.evolve(await claims("c1"), pairs=())

        with pytest.raises(JournalError, match="erased"):
            await desk.handlers_for(claim)


class TestNamed:
    def test_functions(self, router):
        """Functions are known by module and name, twins by a number in order."""
        for handler in (one, other, one, one):
            router.on(CallTerminated)(handler)

        names = [name for name, _ in named(router.registrations())]

        assert names == [f"{__name__}:{end}" for end in ("one", "other", "one#2", "one#3")]

    def test_others(self, router):
        """Methods, objects and partials are known by what they are made of."""
        handler = Handler()
        partial = functools.partial(functools.partial(one))
        for each in (handler.method, handler, partial):
            router.on(CallTerminated)(each)

        names = [name for name, _ in named(router.registrations())]

        assert names == [f"{__name__}:{end}" for end in ("Handler.method", "Handler", "one")]
