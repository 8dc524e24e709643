"""What the receiver makes of each fault of a StatusCallback that the simulator knows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import attrs
import pytest
from aiohttp import web
from receivers import serving

from exotel_async import (
    CallAnswered,
    CallbackTokens,
    CallTerminated,
    ExotelClient,
    OutcomeUnknownError,
    StatusCallback,
)
from exotel_async.simulator import FAULTS, Simulator
from exotel_async.webhooks import StatusCallbacks

NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
ENCODINGS = ("multipart/form-data", "application/json")
USUAL = ["answered 0", "answered 1", "terminal completed"]


@attrs.define
class Office:
    """A simulator, a client, and a receiver whose handler notes what it is told."""

    sim: Simulator
    exotel: ExotelClient
    callbacks: StatusCallbacks
    base: str
    events: list[StatusCallback] = attrs.field(factory=list)
    placed: list[str] = attrs.field(factory=list)  # "placed" among what was told, in order

    async def dial(self, content_type: str = "multipart/form-data", **options) -> str:
        call = await self.exotel.calls.connect(
            **NUMBERS | options,
            record=True,
            custom_field="order 42",
            status_callback=self.callbacks.url(self.base, ref="order-42"),
            status_callback_events=("terminal", "answered"),
            status_callback_content_type=content_type,
        )
        self.placed.append(f"placed after {len(self.events)}")
        return call.sid

    @property
    def told(self) -> list[str]:
        return [spelled(event) for event in self.events]


def spelled(event: StatusCallback) -> str:
    if isinstance(event, CallAnswered):
        return f"answered {event.answered_leg}"
    assert isinstance(event, CallTerminated)
    return f"terminal {event.status}"


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with Simulator(seed=7) as sim, ExotelClient(**sim.settings) as exotel:
        callbacks = StatusCallbacks(tokens=CallbackTokens(["a secret of sixteen bytes"]))
        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        async with serving(app) as port:
            made = Office(sim, exotel, callbacks, f"http://127.0.0.1:{port}/exotel/")

            @callbacks.on(StatusCallback)
            async def note(event: StatusCallback) -> None:
                made.events.append(event)

            yield made


TOLD: dict[str, list[str]] = {
    "callback-lost": ["answered 0", "answered 1"],
    "callback-late": USUAL,
    "callback-twice": [*USUAL, USUAL[-1]],
    "callback-out-of-order": ["answered 1", "answered 0", "terminal completed"],
    "callback-early": USUAL,
}
SAME = tuple(
    name for name in FAULTS if name.startswith(("callback-as-", "callback-odd-"))
)  # the event is the same as without them


class TestFaults:
    def test_all_are_shown(self):
        """No fault of a StatusCallback is left out."""
        faults = {name for name in FAULTS if name.startswith("callback-")}

        assert faults == {*TOLD, *SAME}

    @pytest.mark.parametrize("content_type", ENCODINGS)
    @pytest.mark.parametrize("name", TOLD)
    async def test_told(self, office, name, content_type):
        """What a handler is told when a StatusCallback is lost, late, repeated or in disorder."""
        on = {"callback-out-of-order": "answered", "callback-early": None}.get(name, "terminal")
        office.sim.fault(name, on=on)

        await office.dial(content_type)
        await office.sim.advance(hours=1)

        assert office.told == TOLD[name]
        assert office.placed == [f"placed after {int(name == 'callback-early')}"]

    @pytest.mark.parametrize("content_type", ENCODINGS)
    @pytest.mark.parametrize("name", SAME)
    async def test_same(self, office, name, content_type):
        """However oddly it is spelled, and in whatever encoding, the event says the same."""
        await office.dial(content_type)
        await office.sim.advance(hours=1)
        office.sim.fault(name, times=None)
        again = await office.dial(content_type)
        await office.sim.advance(hours=1)

        usual, odd = office.events[:3], office.events[3:]
        assert office.told == USUAL * 2
        assert {event.call_sid for event in odd} == {again}
        for one, other in zip(usual, odd, strict=True):
            assert comparable(one) == comparable(other)
        assert [told.fault for told in office.sim.callbacks] == [None] * 3 + [name] * 3

    async def test_late(self, office):
        """Late is as late as it was told to be."""
        office.sim.fault("callback-late", on="terminal", seconds=3600)
        await office.dial()

        await office.sim.advance(hours=2)

        first, _, last = office.sim.callbacks
        assert last.at - first.at == timedelta(seconds=3600 + 35)

    async def test_all_at_once(self, office):
        """Faults of a StatusCallback strike together: late, twice, odd and urlencoded."""
        for name in ("callback-late", "callback-twice", "callback-odd-legs"):
            office.sim.fault(name, on="terminal")
        office.sim.fault("callback-as-urlencoded", on="terminal")

        await office.dial()
        await office.sim.advance(hours=1)

        assert office.told == [*USUAL, USUAL[-1]]
        assert office.events[2] == office.events[3]
        assert office.sim.callbacks[-1].content_type == "application/x-www-form-urlencoded"

    async def test_early_terminal(self, office):
        """A call can be over before connect says that it was placed."""
        office.sim.fault("callback-early", on="terminal")

        await office.dial(to="+910000000486")
        await office.sim.advance(hours=1)

        assert office.told == ["answered 0", "terminal busy"]
        assert office.placed == ["placed after 2"]
        first, second = office.events[-1].legs
        assert (first.on_call_duration, second.status) == (5, "busy")

    async def test_early_and_lost(self, office):
        """The handler knows how the call goes although connect's answer was lost."""
        office.sim.fault("callback-early")
        office.sim.fault("reset-after-read", on="connect")

        with pytest.raises(OutcomeUnknownError):
            await office.dial()
        told_first = list(office.told)
        await office.sim.advance(hours=1)

        assert told_first == ["answered 0"]
        assert office.told == USUAL


def comparable(event: StatusCallback) -> dict[str, object]:
    """Say what an event says, with times as they stand to its beginning; not how it was spelled."""
    told = attrs.asdict(event)
    begun = event.date_created
    times = ("date_created", "date_updated", "start_time", "end_time")
    since = {name: told[name] - begun if told[name] and begun else None for name in times}
    recorded = {"recording_url": bool(event.recording_url)}
    return told | since | recorded | {"call_sid": "", "pairs": ()}


class TestOrder:
    @pytest.mark.parametrize(
        ("others", "told"),
        [
            ([("callback-lost", "terminal")], ["answered 1", "answered 0"]),
            (
                [("callback-twice", "answered")],
                ["answered 1", "answered 0", "answered 0", "terminal completed"],
            ),
            ([("callback-odd-keys", "terminal")], ["answered 1", "answered 0", USUAL[-1]]),
        ],
    )
    async def test_with_others(self, office, others, told):
        """What is held back is never lost, and its other faults strike all the same."""
        office.sim.fault("callback-out-of-order")
        for name, on in others:
            office.sim.fault(name, on=on)

        await office.dial()
        await office.sim.advance(hours=1)

        assert office.told == told

    async def test_next_is_late(self, office):
        """It comes after the next one, however late that is."""
        office.sim.fault("callback-out-of-order")
        await office.dial()
        await office.sim.advance(seconds=8)
        office.sim.fault("callback-late", on="answered", seconds=600)

        await office.sim.advance(hours=1)

        assert office.told == ["terminal completed", "answered 1", "answered 0"]

    async def test_nothing_comes_after(self, office):
        """Where nothing else comes it is sent when the call ends."""
        office.sim.fault("callback-out-of-order", times=None)
        await office.exotel.calls.connect(
            **NUMBERS,
            status_callback=office.callbacks.url(office.base),
            status_callback_events=("answered",),
        )

        await office.sim.advance(hours=1)

        assert office.told == ["answered 0", "answered 1"]
        assert [told.at.second for told in office.sim.callbacks] == [41, 41]

    async def test_oddities_in_any_order(self, office):
        """Oddities strike together, in whatever order they were laid down."""
        names = [name for name in SAME if "-odd-" in name]
        for order in (names, names[::-1]):
            for name in order:
                office.sim.fault(name, on="terminal")
            await office.dial("application/json")
            await office.sim.advance(hours=1)

        first, second = office.events[2], office.events[5]
        assert comparable(first) == comparable(second)
        assert spelled(first) == "terminal completed"
        assert first.conversation_duration == 30
        assert next(iter(first.raw)).islower()

    async def test_early_and_gone(self, office):
        """What overtakes the answer arrives although the client has left before it."""
        office.sim.fault("callback-early", on="terminal")

        gone = asyncio.Event()

        @office.callbacks.on(StatusCallback)
        async def linger(event: StatusCallback) -> None:
            await gone.wait()

        with pytest.raises(OutcomeUnknownError):
            async with ExotelClient(**office.sim.settings, timeout=1.0) as hasty:
                await hasty.calls.connect(
                    **NUMBERS,
                    status_callback=office.callbacks.url(office.base),
                    status_callback_events=("terminal", "answered"),
                )
        gone.set()
        async with asyncio.timeout(20):
            while len(office.sim.callbacks) < 3:
                await asyncio.sleep(0.01)

        assert office.told == USUAL
        assert [told.fault for told in office.sim.callbacks] == ["callback-early"] * 3


class TestTime:
    async def test_somebody_else_sleeps(self, office):
        """A handler that works in real time keeps its deadline, whoever sleeps meanwhile."""
        asleep: list[asyncio.Task[None]] = []

        @office.callbacks.on(StatusCallback)
        async def remind(event: StatusCallback) -> None:
            asleep.append(asyncio.create_task(office.sim.clock.sleep(3600)))
            await asyncio.sleep(0.5)

        await office.dial()
        await office.sim.advance(minutes=5)

        assert [told.status for told in office.sim.callbacks] == [200] * 3
        for task in asleep:
            task.cancel()

    async def test_cancelled_advance(self, office):
        """Who stops waiting for time loses nothing of what it brings."""

        @office.callbacks.on(StatusCallback)
        async def linger(event: StatusCallback) -> None:
            await asyncio.sleep(0.03)

        office.sim.fault("callback-twice", times=None)
        await office.dial()
        for _ in range(300):
            with suppress(TimeoutError):
                await asyncio.wait_for(office.sim.advance(seconds=1), 0.02)
        await office.sim.advance(minutes=5)

        assert sorted(office.told) == sorted(USUAL * 2)
        assert [told.status for told in office.sim.callbacks] == [200] * 6

    async def test_patience(self):
        """A receiver that hangs costs no more real time than it was given."""
        async with Simulator(patience=0.05) as sim, ExotelClient(**sim.settings) as exotel:

            async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read()
                writer.close()

            server = await asyncio.start_server(hang, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            await exotel.calls.connect(**NUMBERS, status_callback=url)
            await sim.advance(hours=1)
            server.close()

        assert [told.status for told in sim.callbacks] == [None] * 3
        assert {told.problem for told in sim.callbacks} == {"no answer within 15 s"}

    async def test_handler_that_sleeps(self, office):
        """A handler may sleep by the simulator's clock: time goes on, and waits for it in turn."""
        slept: list[float] = []

        @office.callbacks.on(CallTerminated)
        async def sleep(event: CallTerminated) -> None:
            await office.sim.clock.sleep(5)
            slept.append(office.sim.clock.monotonic())

        await office.dial()
        await office.sim.advance(minutes=3)

        assert slept == [46.0]
        assert [told.status for told in office.sim.callbacks] == [200] * 3

    async def test_handler_that_oversleeps(self, office):
        """Exotel gives up after 15 seconds, and tries again 5 and 15 minutes later."""
        office.sim._courier._patience = 0.4  # as by Simulator(patience=0.4)
        began: list[float] = []

        @office.callbacks.on(CallTerminated)
        async def sleep(event: CallTerminated) -> None:
            began.append(office.sim.clock.monotonic())
            await office.sim.clock.sleep(20)

        await office.dial()
        await office.sim.advance(hours=1)

        terminal = [
            told for told in office.sim.callbacks if "terminal" in dict(told.fields).values()
        ]
        assert [told.status for told in terminal] == [None] * 3
        assert began == [41.0, 41.0 + 300, 41.0 + 900]

    async def test_handler_that_fails_once(self, office):
        """A failing handler is told again five minutes later."""
        tries: list[float] = []

        @office.callbacks.on(CallTerminated)
        async def fail(event: CallTerminated) -> None:
            tries.append(office.sim.clock.monotonic())
            if len(tries) == 1:
                raise LookupError("on purpose")

        await office.dial()
        await office.sim.advance(hours=1)

        assert tries == [41.0, 341.0]

    async def test_never_ending_call(self, office):
        """Of a call that never ends nothing terminal is told; a TimeLimit ends it."""
        office.sim.script(to="+919812300002", talks=math.inf)

        await office.dial()
        await office.sim.advance(hours=24)
        told_first = list(office.told)
        await office.dial(time_limit=600)
        await office.sim.advance(hours=1)

        assert told_first == USUAL[:2]
        assert office.told[2:] == USUAL
        assert office.events[-1].conversation_duration == 600

    async def test_many_at_once(self, office):
        """Hundreds of calls at a time are all told, each to its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(150):
                group.create_task(office.dial())
            await asyncio.sleep(0)
        await office.sim.advance(minutes=5)

        assert len(office.events) == 450
        assert sum(isinstance(event, CallTerminated) for event in office.events) == 150
