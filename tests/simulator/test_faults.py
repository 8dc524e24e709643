"""Faults of connections and answers, shown by a bare socket: the bytes, or their absence."""

from __future__ import annotations

import asyncio
import json
import math
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.simulator import FAULTS, Simulator
from exotel_async.simulator.catalogue import REQUESTS
from exotel_async.simulator.faults import FaultBook

from .conftest import TWO_NUMBERS, Asker

SHORT = 0.15  # seconds after which a connection that is meant to hang counts as hanging
LONG = 10.0  # seconds for what is meant to come
HANGING = ("hang", "hang-in-body", "slow-body")


@attrs.frozen
class Heard:
    """What a bare socket saw of one exchange."""

    data: bytes
    end: str  # "kept", "closed", "reset", "hangs" or "refused"

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def promised(self) -> int:
        """How many bytes the head says the body has."""
        for line in self.head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return int(line.partition(b":")[2])
        raise AssertionError("no Content-Length")


def request_bytes(sim: Simulator, method: str = "POST", path: str = "/Calls/connect.json") -> bytes:
    settings = sim.settings
    pair = f"{settings['api_key']}:{settings['api_token']}"
    body = urlencode(TWO_NUMBERS).encode() if method == "POST" else b""
    head = (
        f"{method} /v1/Accounts/{settings['account_sid']}{path} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def hear(sim: Simulator, sent: bytes | None = None, *, patience: float = LONG) -> Heard:
    """Send bytes over a fresh connection, and listen until nothing more comes."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(sim))
    except ConnectionRefusedError:
        return Heard(b"", "refused")
    except ConnectionResetError:  # refused in the very moment when it was being let in
        return Heard(b"", "reset")
    data = b""
    try:
        writer.write(request_bytes(sim) if sent is None else sent)
        while True:
            async with asyncio.timeout(SHORT / 3 if is_whole(data) else patience):
                chunk = await reader.read(65536)
            if not chunk:
                return Heard(data, "closed")
            data += chunk
    except TimeoutError:
        return Heard(data, "kept" if is_whole(data) else "hangs")
    except ConnectionError:
        return Heard(data, "reset")
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def is_whole(data: bytes) -> bool:
    if b"\r\n\r\n" not in data or b"Content-Length" not in data:
        return False
    heard = Heard(data, "")
    return len(heard.body) >= heard.promised


def port_of(sim: Simulator) -> int:
    return int(sim.base_url.rpartition(":")[2])


def says(status: int, body: bytes | None = None, *, kind: bytes = b"") -> Callable[[Heard], bool]:
    def check(heard: Heard) -> bool:
        return (
            heard.status == status
            and heard.end == "kept"
            and (body is None or heard.body == body)
            and kind in heard.head
        )

    return check


def exception(status: int) -> Callable[[Heard], bool]:
    def check(heard: Heard) -> bool:
        told = json.loads(heard.body)["RestException"]
        return heard.status == status == told["Status"] and heard.end == "kept"

    return check


def half(end: str) -> Callable[[Heard], bool]:
    def check(heard: Heard) -> bool:
        return (
            heard.status == 200
            and heard.end == end
            and heard.body.startswith(b'{"Call": {"Sid": "')
            and 0 < len(heard.body) < heard.promised
        )

    return check


def with_header(status: int, header: bytes) -> Callable[[Heard], bool]:
    return lambda heard: heard.status == status and header in heard.head


def wordless(end: str) -> Callable[[Heard], bool]:
    return lambda heard: heard == Heard(b"", end)


# By fault: what a bare socket sees, and whether the call that was asked for is placed.
SEEN: dict[str, tuple[Callable[[Heard], bool], bool]] = {
    "connection-refused": (wordless("refused"), False),
    "reset-on-connect": (wordless("reset"), False),
    "close-after-read": (wordless("closed"), True),
    "reset-after-read": (wordless("reset"), True),
    "hang": (wordless("hangs"), True),
    "half-a-head": (lambda h: h == Heard(b"HTTP/1.1 200 OK\r\nContent-Le", "closed"), True),
    "no-http": (lambda h: h == Heard(b"OK\r\n\r\n", "closed"), True),
    "latency": (says(200), True),
    "slow-body": (half("hangs"), True),  # its second half comes after a second
    "hang-in-body": (half("hangs"), True),
    "redirect": (with_header(302, b"Location: /elsewhere"), False),
    "408-empty": (says(408, b""), False),
    "429": (lambda h: exception(429)(h) and b"Retry-After" not in h.head, False),
    "429-retry-after": (with_header(429, b"Retry-After: 1\r\n"), False),
    "500-json": (exception(500), True),
    "500-html": (says(500, kind=b"text/html"), True),
    "500-empty": (says(500, b""), True),
    "502-html": (says(502, kind=b"text/html"), False),
    "503-json": (exception(503), False),
    "503-retry-after": (with_header(503, b"Retry-After: 1\r\n"), False),
    "504-empty": (says(504, b""), True),
    "truncated-200": (half("closed"), True),
    "cut-off-200": (lambda h: says(200)(h) and not h.body.endswith(b"}"), True),
    "empty-200": (says(200, b""), True),
    "senseless-200": (says(200, b"OK"), True),
    "no-sid-200": (says(200, b'{"Call": {}}'), True),
    "exception-200": (
        lambda h: h.status == 200 and json.loads(h.body)["RestException"]["Status"] == 500,
        True,
    ),
    "xml-for-json": (
        lambda h: says(200, kind=b"application/xml")(h) and h.body.startswith(b"<?xml"),
        True,
    ),
}


class TestBytes:
    def test_all_are_shown(self):
        """No fault of a connection or an answer is left out; recordings have tests of their own."""
        assert set(SEEN) == {
            name for name in FAULTS if not name.startswith(("callback-", "recording-"))
        }

    async def test_none(self, sim):
        """Without a fault the answer comes whole, and the connection is kept."""
        heard = await hear(sim)

        assert (heard.status, heard.end, len(sim.calls)) == (200, "kept", 1)

    @pytest.mark.parametrize("name", SEEN)
    async def test_fault(self, sim, name):
        """The bytes are those of the fault, the request was read or was not, and it passes."""
        looks_right, placed = SEEN[name]
        sim.fault(name)

        heard = await hear(sim, patience=SHORT if name in HANGING else LONG)

        assert looks_right(heard), heard
        assert len(sim.calls) == placed
        unread = name in ("connection-refused", "reset-on-connect")
        assert [received.fault for received in sim.requests] == ([] if unread else [name])
        if name != "connection-refused":
            assert says(200)(await hear(sim))

    async def test_slow_body_comes(self, sim):
        """What is slow arrives whole in the end."""
        sim.fault("slow-body", seconds=0.02)

        assert (await hear(sim)).end == "kept"

    async def test_latency_overlaps(self, sim, ask):
        """Answers that are late are late side by side: the last was asked before the first came."""
        fault = sim.fault("latency", on="bulk", times=None, seconds=0.3)
        come = []

        async def one() -> None:
            assert (await ask.get("/Calls.json")).status == 200
            come.append(fault.struck)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(one())

        assert come == [5] * 5

    async def test_latency_of_a_fault(self, sim, ask):
        """A bad answer is late as well, and goes by the name of what is wrong with it."""
        late = sim.fault("latency", seconds=0.01)
        sim.fault("429")

        said = await ask.get("/Calls.json")

        assert (said.status, late.struck, sim.requests[0].fault) == (429, 1, "429")

    async def test_refused_while_requests_run(self, sim):
        """Kept-alive connections do not get round a refusal."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(sim))
        writer.write(request_bytes(sim, "GET", "/Calls.json"))
        await reader.readuntil(b"\r\n\r\n")
        sim.fault("connection-refused")

        while await asyncio.wait_for(reader.read(65536), 5):
            pass  # ends when the server closes

        assert (await hear(sim)).end == "refused"
        writer.close()
        await writer.wait_closed()

    async def test_refused_for_a_while(self, sim):
        """A refusal of so many seconds ends by itself, in the simulator's time."""
        sim.fault("connection-refused", seconds=60)

        await sim.advance(seconds=59)
        before = await hear(sim)
        await sim.advance(seconds=1)
        after = await hear(sim)

        assert (before.end, after.end) == ("refused", "kept")
        assert not sim.faults

    async def test_refused_until_cleared(self, sim):
        """Who takes all faults away is let in at once, at the same port, however quickly."""
        for turns in range(6):
            sim.fault("connection-refused")
            assert (await hear(sim)).end == "refused"
            sim.clear_faults()
            for _ in range(turns):
                await asyncio.sleep(0)
            sim.fault("connection-refused")
            sim.clear_faults()
            assert (await hear(sim)).end == "kept"

    async def test_refused_from_the_beginning(self):
        """A simulator can be shut when it starts, and still be when it starts again."""
        sim = Simulator()
        sim.fault("connection-refused")
        async with sim:
            first = await hear(sim)
        async with sim:
            again = await hear(sim)

        assert first.end == again.end == "refused"

    async def test_refused_under_load(self, sim):
        """Whoever comes while doors open and close is served, refused or cut off; nobody hangs."""
        ends: dict[str, int] = {}
        sent = b"GET /_simulator/now HTTP/1.1\r\nHost: x\r\n\r\n"

        async def knock() -> None:
            for _ in range(40):
                heard = await hear(sim, sent)
                ends[heard.end] = ends.get(heard.end, 0) + 1

        async def toggle() -> None:
            for _ in range(100):
                sim.fault("connection-refused")
                await asyncio.sleep(0.001)
                sim.clear_faults()
                await asyncio.sleep(0.003)

        async with asyncio.TaskGroup() as group:
            group.create_task(toggle())
            for _ in range(6):
                group.create_task(knock())

        assert sum(ends.values()) == 240
        assert "hangs" not in ends
        assert ends["refused"] > 0

    async def test_loop_without_readers(self, monkeypatch):
        """On a loop that can't watch sockets doors open and close as well."""

        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        async with Simulator() as sim:
            ends = [(await hear(sim)).end]
            sim.fault("connection-refused")
            ends.append((await hear(sim)).end)
            sim.clear_faults()
            ends.append((await hear(sim)).end)

        assert ends == ["kept", "refused", "kept"]

    async def test_steering_is_let_in(self, sim):
        """A reset strikes Exotel's connections, not those that steer the simulator."""
        sim.fault("reset-on-connect")

        steering = await hear(sim, b"GET /_simulator/now HTTP/1.1\r\nHost: x\r\n\r\n")
        asking = await hear(sim)

        assert (steering.end, asking.end) == ("kept", "reset")

    @pytest.mark.parametrize("name", ["slow-body", "hang-in-body", "truncated-200", "hang"])
    async def test_head(self, sim, name):
        """A HEAD gets no body, whatever happens to it."""
        sid = sim.add_call(recorded=True)
        path = sim.calls[sid].recording_url.removeprefix(sim.base_url)
        sim.fault(name)
        sent = request_bytes(sim, "HEAD", "/x").replace(b"/v1/Accounts/simulated1/x", path.encode())

        heard = await hear(sim, sent, patience=SHORT)

        assert heard.body == b""
        assert (heard.end == "hangs") is (name == "hang" or heard.promised > 0)

    async def test_no_http(self, sim, caplog):
        """What is no HTTP is refused in one line of the log, which shows nothing of it."""
        heard = await hear(sim, b"GET /v1/+919812300001 HTTP/1.1 x\r\n\r\n")

        assert heard.status == 400
        [record] = caplog.records
        assert "9812300001" not in caplog.text
        assert record.exc_info is None

    async def test_client_that_leaves(self, sim):
        """What hangs on purpose is over when its client has left."""
        sim.fault("hang")

        await hear(sim, patience=SHORT)
        async with asyncio.timeout(LONG):
            while sim._listener._busy:
                await asyncio.sleep(0.01)

        assert len(sim.requests) == 1

    async def test_end_while_something_hangs(self, asker):
        """A simulator ends in spite of requests that hang on purpose."""
        async with Simulator() as sim:
            sim.fault("hang")
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(sim))
            writer.write(request_bytes(sim))
            async with asyncio.timeout(LONG):
                while not sim.requests:
                    await asyncio.sleep(0)

        writer.close()
        with suppress(ConnectionError):  # the end of what hangs is a reset
            await writer.wait_closed()
        assert len(sim.calls) == 1


class TestFault:
    async def test_times(self, sim, ask):
        """A fault strikes as often as it was told to."""
        fault = sim.fault("500-empty", times=2)

        statuses = [(await ask.get("/Calls.json")).status for _ in range(3)]

        assert statuses == [500, 500, 200]
        assert fault.struck == 2

    async def test_always(self, sim, ask):
        """Or until it is taken away."""
        sim.fault("500-empty", times=None)

        statuses = [(await ask.get("/Calls.json")).status for _ in range(3)]
        sim.clear_faults()

        assert [*statuses, (await ask.get("/Calls.json")).status] == [500, 500, 500, 200]

    @pytest.mark.parametrize(
        ("on", "method", "path"),
        [
            ("connect", "POST", "/Calls/connect.json"),
            ("bulk", "GET", "/Calls.json"),
            ("details", "GET", "/Calls/{sid}.json"),
            ("number", "GET", "/Numbers/+919812300001.json"),
        ],
    )
    async def test_on(self, sim, ask, on, method, path):
        """A fault strikes what it was meant for, and nothing else."""
        sid = sim.add_call()
        for other in set(REQUESTS) - {on}:
            sim.fault("500-empty", on=other)

        data = TWO_NUMBERS if method == "POST" else None
        asked = ask.account + path.format(sid=sid)
        before = await ask.send(method, asked, data=data)
        sim.fault("504-empty", on=on)
        after = await ask.send(method, asked, data=data)

        assert (before.status, after.status) == (200, 504)

    async def test_on_recording(self, sim, ask):
        """Recordings can fail, too."""
        sid = sim.add_call(recorded=True)
        sim.fault("500-empty", on="recording")
        url, headers = sim.calls[sid].recording_url, {"Authorization": ask.authorization}
        statuses = []
        for _ in range(2):
            async with ask.session.get(url, headers=headers) as answer:
                statuses.append(answer.status)

        assert statuses == [500, 200]

    async def test_probability(self, asker):
        """A fault of one in two strikes about half of the requests, the same for each seed."""

        async def run(seed: int) -> list[int]:
            async with Simulator(seed=seed, requests_per_minute=None) as sim:
                ask = asker(sim)
                sim.fault("500-empty", times=None, probability=0.5)
                return [(await ask.get("/Calls.json")).status for _ in range(60)]

        first = await run(1)

        assert 15 <= first.count(500) <= 45
        assert first == await run(1)
        assert first != await run(2)

    async def test_sids_do_not_depend_on_faults(self, asker):
        """Chance of faults and chance of Sids are two: a fault more changes no Sid."""
        sids = []
        for probability in (0.1, 0.9):
            async with Simulator(seed=3) as sim:
                sim.fault("empty-200", times=None, probability=probability)
                await asker(sim).connect()
                sids.append(list(sim.calls))

        assert sids[0] == sids[1]

    async def test_carried_out(self, sim, ask):
        """Whether the phones ring behind a failure can be chosen."""
        sim.fault("502-html", carried_out=True)
        sim.fault("500-json", carried_out=False)

        statuses = [(await ask.connect()).status, (await ask.connect()).status]

        assert statuses == [502, 500]
        assert len(sim.calls) == 1

    async def test_refusals_stay(self, sim, ask):
        """What would have been refused is spoiled as well: a 403 that never arrives whole."""
        sim.fault("cut-off-200")

        said = await ask.connect(To="+910000000403")

        assert said.status == 403
        with pytest.raises(json.JSONDecodeError):
            _ = said.json

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"name": "explode"}, "name must be one of connection-refused, "),
            ({"name": "hang", "on": "answered"}, "on must be one of connect, details, "),
            ({"name": "reset-on-connect", "on": "connect"}, "on must be None for "),
            ({"name": "callback-lost", "on": "bulk"}, "on must be one of answered, terminal or"),
            ({"name": "hang", "times": 0}, "times must be 1 or more"),
            ({"name": "hang", "probability": 0.0}, "probability must be above 0"),
            ({"name": "hang", "probability": 1.5}, "probability must be above 0"),
            ({"name": "hang", "times": True}, "times must be 1 or more"),
            ({"name": "hang", "times": 1.5}, "times must be 1 or more"),
            ({"name": "hang", "probability": math.nan}, "probability must be above 0"),
            ({"name": "hang", "seconds": 5}, "hang has no duration"),
            ({"name": "slow-body", "seconds": -1}, "must be a number that is not below 0"),
            ({"name": "callback-late", "seconds": math.inf}, "must be a number that is not"),
            ({"name": "connection-refused", "times": 2}, "neither times nor probability"),
            ({"name": "connection-refused", "seconds": math.inf}, "must be a number that is not"),
            ({"name": "callback-lost", "carried_out": True}, "callback-lost is none"),
            ({"name": "hang", "carried_out": 1}, "carried_out must be True, False or None"),
            ({"name": "callback-out-of-order", "on": "terminal"}, "on must be one of answered"),
        ],
    )
    def test_senseless(self, arguments: dict[str, Any], message: str):
        """What can't be is refused, with what is allowed."""
        with pytest.raises(ValueError, match=message):
            Simulator().fault(**arguments)

    def test_shown(self):
        """A fault says what it is."""
        fault = Simulator().fault("hang", on="connect", probability=0.5)

        assert "'hang'" in repr(fault)
        assert (fault.name, fault.on, fault.times) == ("hang", "connect", 1)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["hang", "500-json"]),
                st.sampled_from([None, *REQUESTS]),
                st.integers(1, 3) | st.none(),
            ),
            max_size=6,
        ),
        st.lists(st.sampled_from(REQUESTS), max_size=30),
    )
    def test_book(self, laid, asked):
        """Each fault strikes what it may, in order, never more often than it was told."""
        book = FaultBook(None)  # nothing is left to chance
        made = [
            book.add(name, on=on, times=times, probability=1.0, seconds=None, carried_out=None)
            for name, on, times in laid
        ]

        struck = [(on, book.strike("answer", on)) for on in asked]

        for on, fault in struck:
            assert fault is None or fault.on in (None, on)
        for fault, (_, _, times) in zip(made, laid, strict=True):
            assert fault.struck == sum(one is fault for _, one in struck)
            assert times is None or fault.struck <= times


class TestNumbersThatFail:
    @pytest.mark.parametrize(
        ("number", "status", "placed"),
        [
            ("+910000000400", 400, False),
            ("+910000000401", 403, False),
            ("+910000000402", 402, False),
            ("+910000000403", 403, False),
            ("+910000000429", 429, False),
            ("+910000000500", 500, True),
            ("+910000000503", 503, False),
        ],
    )
    @pytest.mark.parametrize("end", ["From", "To"])
    async def test_answered(self, sim, ask: Asker, number, status, placed, end):
        """A number decides how connect is answered, and whether the phones ring."""
        said = await ask.connect(**{end: number})

        assert said.status == said.json["RestException"]["Status"] == status
        assert len(sim.calls) == placed
        assert [received.status for received in sim.requests] == [status]

    async def test_hangs(self, sim):
        """One number leaves the caller without any answer, and the phones ring."""
        body = TWO_NUMBERS | {"To": "+910000000504"}
        sent = request_bytes(sim).partition(b"\r\n\r\n")[0]
        encoded = urlencode(body).encode()
        old = f"Content-Length: {len(urlencode(TWO_NUMBERS))}".encode()
        sent = sent.replace(old, f"Content-Length: {len(encoded)}".encode())

        heard = await hear(sim, sent + b"\r\n\r\n" + encoded, patience=SHORT)

        assert heard == Heard(b"", "hangs")
        assert len(sim.calls) == 1
