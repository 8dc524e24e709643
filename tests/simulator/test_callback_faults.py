"""Faults of StatusCallbacks, shown by a bare socket: the bytes that come, when, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import attrs
import pytest
from raw_server import RawServer, answer, raw_server

from exotel_async.simulator import FAULTS, Simulator

from .conftest import Asker

BOTH = {"StatusCallbackEvents[0]": "terminal", "StatusCallbackEvents[1]": "answered"}
ENDED = b'name="EventType"\r\n\r\nterminal\r\n'


@attrs.frozen
class Post:
    """One request as it came over the wire."""

    head: bytes
    body: bytes

    @property
    def content_type(self) -> bytes:
        for line in self.head.split(b"\r\n"):
            if line.lower().startswith(b"content-type:"):
                return line.partition(b":")[2].strip()
        return b""

    @property
    def event(self) -> str:
        """Tell what is told, whatever the encoding and the spelling."""
        text = self.body.lower()
        if b"terminal" in text:
            return "terminal"
        return "answered 1" if text.count(b"in-progress") > 2 else "answered 0"


@pytest.fixture
async def wire() -> AsyncIterator[RawServer]:
    async with raw_server(answer("200 OK")) as server:
        yield server


async def told(sim: Simulator, ask: Asker, wire: RawServer, **options: str) -> list[Post]:
    """Have a call placed, and give what came over the wire until long after its end."""
    options = {"StatusCallback": f"{wire.url}/cb?a=1", "CustomField": "", **BOTH, **options}
    form = {"From": "+919812300001", "To": "+919812300002", "CallerId": "08040001234", **options}
    await ask.post("/Calls/connect.json", form)
    await sim.advance(hours=1)
    return [Post(*request.partition(b"\r\n\r\n")[::2]) for request in wire.requests]


USUAL = ["answered 0", "answered 1", "terminal"]
ORDER: dict[str, tuple[str, list[str]]] = {
    "callback-lost": ("terminal", USUAL[:2]),
    "callback-late": ("answered", ["answered 1", "terminal", "answered 0"]),
    "callback-twice": ("terminal", [*USUAL, "terminal"]),
    "callback-out-of-order": ("answered", ["answered 1", "answered 0", "terminal"]),
    "callback-early": ("terminal", USUAL),
}
BYTES: dict[str, Callable[[Post], bool]] = {
    "callback-as-json": lambda p: (
        p.content_type == b"application/json" and b'"EventType": "terminal"' in p.body
    ),
    "callback-as-multipart": lambda p: (
        p.content_type.startswith(b"multipart/form-data; boundary=") and ENDED in p.body
    ),
    "callback-as-urlencoded": lambda p: (
        p.content_type == b"application/x-www-form-urlencoded"
        and p.body.startswith(b"CallSid=")
        and b"&Legs%5B0%5D%5BStatus%5D=completed&" in p.body
    ),
    "callback-odd-words": lambda p: b'name="Status"\r\n\r\nCOMPLETED\r\n' in p.body,
    "callback-odd-keys": lambda p: b'name="eventtype"' in p.body and b"EventType" not in p.body,
    "callback-odd-blanks": lambda p: (
        b'name="RecordingUrl"\r\n\r\nnull\r\n' in p.body
        and b'name="CustomField"\r\n\r\n\r\n' in p.body
    ),
    "callback-odd-legs": lambda p: b'name="Legs[2][Leg][Status]"' in p.body,
    "callback-odd-times": lambda p: b"2026-11-02T10:00:41+05:30" in p.body,
    "callback-odd-durations": lambda p: b'name="ConversationDuration"\r\n\r\n30.0\r\n' in p.body,
    "callback-odd-lists": lambda p: b"['completed']" in p.body,
}


class TestBytes:
    def test_all_are_shown(self) -> None:
        """No fault of a StatusCallback is left out."""
        assert {*ORDER, *BYTES} == {name for name in FAULTS if name.startswith("callback-")}

    async def test_none(self, sim: Simulator, ask: Asker, wire: RawServer) -> None:
        """Without a fault three come, in order, as multipart, to the URL as it was given."""
        posts = await told(sim, ask, wire)

        assert [post.event for post in posts] == USUAL
        assert {post.head.partition(b"\r\n")[0] for post in posts} == {b"POST /cb?a=1 HTTP/1.1"}
        assert all(post.content_type.startswith(b"multipart/form-data; b") for post in posts)

    @pytest.mark.parametrize("name", ORDER)
    async def test_order(self, sim: Simulator, ask: Asker, wire: RawServer, name: str) -> None:
        """What is lost does not come, what is late comes last, what is repeated comes again."""
        on, order = ORDER[name]
        sim.fault(name, on=on)

        posts = await told(sim, ask, wire)

        assert [post.event for post in posts] == order

    async def test_early(self, sim: Simulator, ask: Asker, wire: RawServer) -> None:
        """What is early has come, and has been answered, before connect has its answer."""
        sim.fault("callback-early", on="answered")
        form = {"From": "+919812300001", "To": "+919812300002", "CallerId": "08040001234"}
        asking = asyncio.create_task(
            ask.post("/Calls/connect.json", {**form, "StatusCallback": wire.url, **BOTH})
        )

        while not wire.requests:
            assert not asking.done()
            await asyncio.sleep(0)

        assert (await asking).status == 200
        assert sim.callbacks[0].status == 200

    @pytest.mark.parametrize("name", BYTES)
    async def test_spelling(self, sim: Simulator, ask: Asker, wire: RawServer, name: str) -> None:
        """An odd spelling, or another encoding, is what goes over the wire."""
        sim.fault(name, on="terminal")

        *others, last = await told(sim, ask, wire)

        assert BYTES[name](last), last
        if name != "callback-as-multipart":
            assert not any(BYTES[name](post) for post in others)

    async def test_no_cookies(self, sim: Simulator, ask: Asker) -> None:
        """Each callback stands for itself: what a receiver sets is not brought back."""
        async with raw_server(answer("200 OK", headers="Set-Cookie: a=1; Path=/\r\n")) as wire:
            url = wire.url.replace("127.0.0.1", "localhost")  # a number has no cookies anyway
            posts = await told(sim, ask, wire, StatusCallback=url)

        assert len(posts) == 3
        assert not any(b"cookie:" in post.head.lower() for post in posts)

    async def test_late_twice(self, sim: Simulator, ask: Asker, wire: RawServer) -> None:
        """What is late and comes twice comes late, and then again."""
        for name in ("callback-twice", "callback-late"):
            sim.fault(name, on="terminal", seconds=60)

        await told(sim, ask, wire)

        first, _, *rest = sim.callbacks
        assert [(one.at - first.at).total_seconds() for one in rest] == [35 + 60, 35 + 120]

    async def test_tries(self, sim: Simulator, ask: Asker) -> None:
        """One and the same body comes three times where it is not taken."""
        async with raw_server(answer("500 Oops")) as wire:
            posts = await told(sim, ask, wire, **{"StatusCallbackEvents[1]": "terminal"})

        assert len(posts) == 3
        assert len({post.body for post in posts}) == 1
