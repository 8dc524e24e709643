"""Recordings are fetched whole or not at all, and nobody else learns our credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from io import FileIO
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exotel_async import (
    Call,
    CallOutcome,
    CallTerminated,
    ClientClosedError,
    Dial,
    ExotelClient,
    InvalidRequestError,
    NoAnswerError,
    NotSentError,
    RecordingError,
    ServerError,
    UnreadableAnswerError,
)
from exotel_async.client import saving
from exotel_async.client.transport import Incoming
from exotel_async.simulator import Simulator
from exotel_async.simulator.recordings import silence

SOUND = bytes(range(250)) * 1200  # more than what is written at once
KEYS = {"account_sid": "acme1", "api_key": "kkkkkkkk", "api_token": "tttttttt"}
VERSION = {"ETag": '"v1"'}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Reads:
    """How much the client has read of bodies."""

    def __init__(self) -> None:
        self.total = 0
        self._more = asyncio.Event()

    def add(self, size: int) -> None:
        self.total += size
        self._more.set()
        self._more = asyncio.Event()

    async def reach(self, total: int) -> None:
        async with asyncio.timeout(30):
            while self.total < total:
                await self._more.wait()


READS = web.AppKey("READS", Reads)


@attrs.define
class Host:
    """A server that answers as told, one answer after the other, the last for ever."""

    answers: list[Answer] = attrs.field(factory=list)
    heads: list[dict[str, str]] = attrs.field(factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.heads.append(dict(request.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    @property
    def place(self) -> str:
        return self.url.partition("//")[2].partition("/")[0]

    @property
    def ranges(self) -> list[str | None]:
        return [head.get("Range") for head in self.heads]


async def cut(request: web.Request, *, after: int) -> None:
    """Cut the connection when the client has read so much: what it has not is lost to it."""
    assert request.transport is not None
    await request.app[READS].reach(after)
    request.transport.close()


def says(
    body: bytes = SOUND,
    *,
    status: int = 200,
    kind: str = "audio/mpeg",
    missing: int = 0,
    pauses: float = 0.0,
    **headers: str,
) -> Answer:
    """Answer so; `missing` bytes are promised and never come."""

    async def answer(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = web.StreamResponse(status=status, headers={"Content-Type": kind, **named})
        response.content_length = len(body) + missing
        begun = request.app[READS].total
        await response.prepare(request)
        for at in range(0, len(body), 30_000):
            await response.write(body[at : at + 30_000])
            await asyncio.sleep(pauses)
        if missing:
            await cut(request, after=begun + len(body))
        return response

    return answer


def rest_from(start: int, *, sound: bytes = SOUND, missing: int = 0, **headers: str) -> Answer:
    """Answer with a part, as a good server would."""
    span = f"bytes {start}-{len(sound) - 1}/{len(sound)}"
    body = sound[start : len(sound) - missing]
    return says(body, status=206, missing=missing, **{"Content-Range": span, **headers})


async def broken(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def moved(url: str, status: int = 302) -> Answer:
    return says(b"", status=status, kind="text/html", Location=url)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    made = Reads()
    read = Incoming.read

    async def counted(self: Incoming) -> bytes:
        chunk = await read(self)
        made.add(len(chunk))
        return chunk

    monkeypatch.setattr(Incoming, "read", counted)
    return made


async def serving(reads: Reads) -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app[READS] = reads
    app.router.add_route("*", "/{any:.*}", host.answer)
    async with TestServer(app) as server:
        host.url = str(server.make_url("/recordings/a.mp3"))
        yield host


@pytest.fixture
async def host(reads: Reads) -> AsyncIterator[Host]:
    """The client's own origin."""
    async for made in serving(reads):
        yield made


@pytest.fixture
async def other(reads: Reads) -> AsyncIterator[Host]:
    """Another host."""
    async for made in serving(reads):
        yield made


@pytest.fixture
async def exotel(make_client, host: Host, other: Host) -> AsyncIterator[ExotelClient]:
    async with make_client(
        base_url=f"http://{host.place}", recording_hosts=[other.place], requests_per_minute=1
    ) as opened:
        yield opened


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(seed=7, speed=1000.0, requests_per_minute=None) as running:
        yield running


@pytest.fixture
async def simulated(sim: Simulator) -> AsyncIterator[ExotelClient]:
    other_name = sim.base_url.replace("http://127.0.0.1", "localhost")
    async with ExotelClient(**sim.settings, recording_hosts=[other_name]) as opened:
        yield opened


def statuses(sim: Simulator) -> list[int | None]:
    return [got.status for got in sim.requests if got.path.startswith("/recordings/")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.part"))


class TestDownload:
    @pytest.mark.parametrize(
        "subject",
        [
            lambda url: url,
            lambda url: Call(sid="a", recording_url=url),
            lambda url: CallTerminated(call_sid="a", recording_url=url),
            lambda url: CallOutcome(
                dial=Dial(ref="r", idempotency_key="k", state="placed"),
                state="ended",
                recording_url=url,
            ),
        ],
    )
    async def test_saved(self, host, exotel, tmp_path, subject):
        """The recording of whatever names one is saved under its name, and nothing beside it."""
        host.answers = [says()]

        saved = await exotel.recordings.download(subject(host.url), tmp_path / "a.mp3")

        assert (tmp_path / "a.mp3").read_bytes() == SOUND
        assert (saved.path, saved.size) == (tmp_path / "a.mp3", len(SOUND))
        assert (saved.content_type, saved.resumed_at) == ("audio/mpeg", 0)
        assert names(tmp_path) == ["a.mp3"]
        assert host.heads[0]["Authorization"].startswith("Basic ")

    async def test_simulated(self, sim, simulated, tmp_path):
        """A call's recording, as the simulator plays it, its pre-signed URL included."""
        sid = sim.add_call(recorded=True, talked=60, duration=70)
        call = await simulated.calls.get(sid, recording_url_validity=5)

        saved = await simulated.recordings.download(call, str(tmp_path / "a.mp3"))

        assert saved.size == (tmp_path / "a.mp3").stat().st_size > 50_000

    async def test_pre_signed_first(self, host, exotel, tmp_path):
        """A pre-signed URL is preferred, and gets no credentials even on our own host."""
        host.answers = [says()]
        call = Call(sid="a", recording_url="https://x/", pre_signed_recording_url=host.url)

        await exotel.recordings.download(call, tmp_path / "a.mp3")

        assert "Authorization" not in host.heads[0]

    @pytest.mark.parametrize("status", [401, 403])
    async def test_pre_signed_expired(self, host, exotel, tmp_path, status):
        """Where it has expired, the other URL may do."""
        host.answers = [says(status=status), says()]
        call = Call(sid="a", recording_url=host.url, pre_signed_recording_url=host.url)

        await exotel.recordings.download(call, tmp_path / "a.mp3")

        assert ["Authorization" in head for head in host.heads] == [False, True]

    async def test_there_already(self, host, exotel, tmp_path):
        """A file that is there stays as it is, and nothing is asked."""
        (tmp_path / "a.mp3").write_bytes(b"old")

        with pytest.raises(InvalidRequestError, match="path must not be there yet"):
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (tmp_path / "a.mp3").read_bytes() == b"old"
        assert host.heads == []

    async def test_overwrite(self, host, exotel, tmp_path):
        """Unless it is to be replaced."""
        host.answers = [says()]
        (tmp_path / "a.mp3").write_bytes(b"old")

        await exotel.recordings.download(host.url, tmp_path / "a.mp3", overwrite=True)

        assert (tmp_path / "a.mp3").read_bytes() == SOUND

    @pytest.mark.parametrize("linking", [True, False])
    async def test_there_meanwhile(self, host, exotel, tmp_path, monkeypatch, linking):
        """A file that appears meanwhile stays as well, on file systems without links too."""

        async def appear(request: web.Request) -> web.StreamResponse:
            (tmp_path / "a.mp3").write_bytes(b"other")
            return await says()(request)

        def refuse(*_: object) -> None:
            raise PermissionError

        host.answers = [appear]
        if not linking:
            monkeypatch.setattr(saving.os, "link", refuse)

        with pytest.raises(InvalidRequestError, match="path must not be there yet"):
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (tmp_path / "a.mp3").read_bytes() == b"other"

    async def test_without_links(self, host, exotel, tmp_path, monkeypatch):
        """A file system without links will do."""

        def refuse(*_: object) -> None:
            raise PermissionError

        host.answers = [says()]
        monkeypatch.setattr(saving.os, "link", refuse)

        await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert names(tmp_path) == ["a.mp3"]

    @pytest.mark.parametrize(
        ("arguments", "says_"),
        [
            ({"path": "nowhere/a.mp3"}, "path must be in a directory"),
            ({"path": "."}, "path must name a file"),
            ({"wait": -1}, "wait must be a number of seconds from 0"),
            ({"wait": float("nan")}, "wait must be"),
            ({"wait": True}, "wait must be"),
            ({"max_size": 0}, "max_size must be a whole number"),
            ({"overwrite": 1}, "overwrite must be True or False"),
            ({"call_or_url": None}, "call_or_url must be"),
            ({"call_or_url": "https://evil.com/"}, "is on evil.com"),
        ],
    )
    async def test_refused_here(self, host, exotel, tmp_path, arguments, says_):
        """What can't be is refused before anything is asked or written."""
        known: dict[str, Any] = {"call_or_url": host.url, "path": "a.mp3"} | arguments
        path = tmp_path / known.pop("path")

        with pytest.raises(InvalidRequestError, match=says_):
            await exotel.recordings.download(known.pop("call_or_url"), path, **known)

        assert (host.heads, names(tmp_path)) == ([], [])

    async def test_not_paced(self, host, exotel, clock, tmp_path):
        """Recordings wait for no pacer: they are no requests to the API."""
        host.answers = [says()]

        for name in "abc":
            await exotel.recordings.download(host.url, tmp_path / name)

        assert clock.slept == []

    async def test_slow(self, make_client, host, tmp_path):
        """A body may take longer than the time-out, as long as it comes on."""
        host.answers = [says(pauses=0.1)]  # ten times
        async with make_client(base_url=f"http://{host.place}", timeout=0.6) as exotel:
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert host.ranges == [None]

    async def test_too_large_as_said(self, host, exotel, tmp_path):
        """What says that it is too large is not even begun."""
        host.answers = [says()]

        with pytest.raises(RecordingError, match="300000 bytes or more") as caught:
            await exotel.recordings.download(host.url, tmp_path / "a.mp3", max_size=10)

        assert caught.value.reason == "too_large"
        assert names(tmp_path) == []

    async def test_too_large_unsaid(self, host, exotel, tmp_path):
        """What does not say so is given up where it is."""

        async def chunked(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            for _ in range(10):
                await response.write(SOUND)
            return response

        host.answers = [chunked]

        with pytest.raises(RecordingError) as caught:
            await exotel.recordings.download(host.url, tmp_path / "a.mp3", max_size=2_900_000)

        assert caught.value.reason == "too_large"
        assert names(tmp_path) == []

    async def test_cancelled(self, host, exotel, reads, tmp_path):
        """Who is cancelled leaves the partial file with all that came, and no more."""

        async def stop(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers=VERSION)
            response.content_length = len(SOUND)
            await response.prepare(request)
            await response.write(SOUND[:290_000])
            await asyncio.sleep(60)
            return response

        host.answers = [stop]
        loading = asyncio.create_task(exotel.recordings.download(host.url, tmp_path / "a.mp3"))
        await reads.reach(290_000)
        loading.cancel()

        with pytest.raises(asyncio.CancelledError):
            await loading
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [SOUND[:290_000]]
        assert list(tmp_path.iterdir()) == parts(tmp_path)

    async def test_renamed_meanwhile(self, host, exotel, tmp_path, monkeypatch):
        """A partial file that another has just given its name is not written to any more."""
        part = saving.part_path(tmp_path / "a.mp3", url=host.url, version='"v1"')

        def lock(_: object) -> None:
            part.rename(tmp_path / "another.mp3")
            part.touch()

        host.answers = [says(**VERSION)]
        monkeypatch.setattr(saving, "_lock", lock)

        await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (tmp_path / "a.mp3").read_bytes() == SOUND
        assert (tmp_path / "another.mp3").read_bytes() == b""

    async def test_on_disk_first(self, host, exotel, tmp_path, monkeypatch):
        """It is on the disk before it has its name, and so is the name in the end."""
        done: list[str] = []
        for name in ("fsync", "link"):
            act = getattr(saving.os, name)
            monkeypatch.setattr(
                saving.os, name, lambda *a, act=act, name=name: (done.append(name), act(*a))
            )
        host.answers = [says()]

        await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert done == ["fsync", "link", "fsync"]

    async def test_full_disk(self, host, exotel, tmp_path, monkeypatch):
        """A full disk is told of, and what fitted can be gone on with."""

        class Small(FileIO):
            def write(self, data: Any) -> int:
                room = 100_000 - self.tell()
                if not room:
                    raise OSError(28, "No space left on device")
                return super().write(data[: min(room, 30_000)])

        host.answers = [says(**VERSION)]
        with monkeypatch.context() as patch:
            patch.setattr(saving, "FileIO", Small)
            with pytest.raises(OSError, match="No space left"):
                await exotel.recordings.download(host.url, tmp_path / "a.mp3")
        assert [path.read_bytes() for path in parts(tmp_path)] == [SOUND[:100_000]]
        host.answers = [says(**VERSION), rest_from(100_000, **VERSION)]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (saved.path.read_bytes(), saved.resumed_at) == (SOUND, 100_000)

    async def test_closed_client(self, make_client, host, tmp_path):
        """A client that is not open says so."""
        exotel = make_client(base_url=f"http://{host.place}")

        with pytest.raises(ClientClosedError):
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

    async def test_two_at_once(self, host, exotel, tmp_path):
        """Two that save the same do not write into each other's file."""
        host.answers = [says(pauses=0.01, **VERSION)]
        path = tmp_path / "a.mp3"

        both = await asyncio.gather(
            *(exotel.recordings.download(host.url, path, overwrite=True) for _ in range(2))
        )

        assert [one.size for one in both] == [len(SOUND)] * 2
        assert path.read_bytes() == SOUND
        assert names(tmp_path) == ["a.mp3"]


class TestGoingOn:
    @pytest.mark.parametrize("fault", ["truncated-200", "hang-in-body", "reset-after-read"])
    async def test_simulated(self, sim, simulated, tmp_path, fault):
        """What broke off goes on where it stood."""
        sid = sim.add_call(recorded=True, talked=7200, duration=7200)
        call = await simulated.calls.get(sid)
        await simulated.recordings.download(call, tmp_path / "whole.mp3")
        sim.fault(fault, on="recording")

        hasty = simulated.with_options(timeout=0.3)
        await hasty.recordings.download(call, tmp_path / "a.mp3")

        assert (tmp_path / "a.mp3").read_bytes() == (tmp_path / "whole.mp3").read_bytes()
        in_body = fault != "reset-after-read"
        assert statuses(sim)[1:] == ([200, 206] if in_body else [None, 200])

    async def test_range(self, host, exotel, tmp_path):
        """It asks for the rest of the very version it has a part of."""
        half = len(SOUND) // 2
        host.answers = [says(SOUND[:half], missing=half, **VERSION), rest_from(half, **VERSION)]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (tmp_path / "a.mp3").read_bytes() == SOUND
        assert host.ranges == [None, f"bytes={half}-"]
        assert host.heads[1]["If-Range"] == '"v1"'
        assert saved.resumed_at == 0

    async def test_gives_up(self, host, exotel, clock, tmp_path):
        """After `max_retries` further tries it gives up, and what came stays."""
        host.answers = [
            says(SOUND[:1000], missing=299_000, **VERSION),
            *(broken, broken),  # aiohttp repeats a GET once by itself
            says(status=503),
            says(),
        ]

        with pytest.raises(ServerError) as caught:
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert caught.value.attempts == 3
        assert len(clock.slept) == 2
        assert [path.read_bytes() for path in parts(tmp_path)] == [SOUND[:1000]]
        assert not (tmp_path / "a.mp3").exists()

    async def test_another_time(self, sim, simulated, tmp_path):
        """The next download goes on with what is there."""
        sid = sim.add_call(recorded=True, talked=7200, duration=7200)
        call = await simulated.calls.get(sid)
        sim.fault("truncated-200", on="recording")
        with pytest.raises(NoAnswerError, match="broke"):
            await simulated.with_options(max_retries=0).recordings.download(call, tmp_path / "a")

        saved = await simulated.recordings.download(call, tmp_path / "a")

        assert saved.resumed_at > 100_000
        assert statuses(sim) == [200, 200, 206]
        assert len((tmp_path / "a").read_bytes()) == saved.size > saved.resumed_at
        assert parts(tmp_path) == []

    async def test_another_version(self, host, exotel, tmp_path):
        """What is there of another version is not mixed with this one."""
        once = exotel.with_options(max_retries=0)
        host.answers = [says(b"x" * 1000, missing=1000, ETag='"v0"')]
        with pytest.raises(NoAnswerError):
            await once.recordings.download(host.url, tmp_path / "a.mp3")
        host.answers = [says(**VERSION)]

        saved = await once.recordings.download(host.url, tmp_path / "a.mp3")

        assert (saved.path.read_bytes(), saved.resumed_at) == (SOUND, 0)

    async def test_no_version(self, host, exotel, tmp_path):
        """Nor is what nobody can tell the version of."""
        once = exotel.with_options(max_retries=0)
        host.answers = [says(b"x" * 1000, missing=1000)]
        with pytest.raises(NoAnswerError):
            await once.recordings.download(host.url, tmp_path / "a.mp3")
        host.answers = [says(), rest_from(1000)]

        saved = await once.recordings.download(host.url, tmp_path / "a.mp3")

        assert (saved.path.read_bytes(), saved.resumed_at) == (SOUND, 0)
        assert parts(tmp_path) == []

    async def test_all_there(self, host, exotel, tmp_path):
        """Who has it all but for the name asks for no more."""
        part = saving.part_path(tmp_path / "a.mp3", url=host.url, version='"v1"')
        part.write_bytes(SOUND)
        host.answers = [says(**VERSION)]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (saved.size, saved.resumed_at) == (len(SOUND), len(SOUND))
        assert host.ranges == [None]

    @pytest.mark.parametrize(
        "odd",
        [
            says(**VERSION),
            says(ETag='"v2"'),
            rest_from(9, **VERSION),
            rest_from(1000, ETag='"v2"'),
            rest_from(1000, sound=SOUND + b"x", **VERSION),
            says(b"", status=416, **{"Content-Range": f"bytes */{len(SOUND)}"}),
        ],
    )
    async def test_anew(self, host, exotel, tmp_path, odd):
        """What does not go on where we stand is not put together: it all comes anew."""
        host.answers = [says(SOUND[:1000], missing=299_000, **VERSION), odd, says(**VERSION)]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (saved.path.read_bytes(), saved.size) == (SOUND, len(SOUND))

    async def test_anew_after_much(self, host, exotel, tmp_path):
        """What is on the disk already goes, too."""
        host.answers = [
            says(b"x" * 290_000, missing=100_000, **VERSION),
            says(SOUND[:1000], ETag='"v2"'),
        ]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert saved.path.read_bytes() == SOUND[:1000]

    async def test_anew_in_vain(self, host, exotel, tmp_path):
        """What came of another version than the first does not stay under that one's name."""
        host.answers = [
            says(SOUND[:1000], missing=299_000, **VERSION),
            says(b"x" * 1000, missing=1000, ETag='"v2"'),
        ]

        with pytest.raises(NoAnswerError):
            await exotel.with_options(max_retries=1).recordings.download(host.url, tmp_path / "a")

        assert names(tmp_path) == []

    async def test_going_on_is_no_retry(self, host, exotel, tmp_path):
        """To go on with what is there from another time counts for no further try."""
        part = saving.part_path(tmp_path / "a.mp3", url=host.url, version='"v1"')
        part.write_bytes(SOUND[:1000])
        host.answers = [
            says(**VERSION),
            rest_from(1000, missing=1000, **VERSION),
            rest_from(299_000, **VERSION),
        ]

        once = exotel.with_options(max_retries=1)
        saved = await once.recordings.download(host.url, tmp_path / "a.mp3")

        assert (saved.path.read_bytes(), saved.resumed_at) == (SOUND, 1000)

    async def test_random_faults(self, sim, simulated, tmp_path):
        """Whatever strikes by chance, what is saved is the whole, and nothing is left beside it."""
        sid = sim.add_call(recorded=True, talked=1800, duration=1800)
        call = await simulated.calls.get(sid)
        whole = silence(1800)
        for fault in ("truncated-200", "reset-after-read", "half-a-head", "503-json", "408-empty"):
            sim.fault(fault, on="recording", times=None, probability=0.15)

        stubborn = simulated.with_options(max_retries=50)
        for turn in range(20):
            await stubborn.recordings.download(call, tmp_path / str(turn))

        assert {path.read_bytes() == whole for path in tmp_path.iterdir()} == {True}
        assert len(names(tmp_path)) == 20
        assert {200, 206, 503, 408, None} <= set(statuses(sim))

    async def test_416_at_the_end(self, host, exotel, tmp_path):
        """A body without a length that breaks off at its very end was whole."""

        async def unsaid(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers=VERSION)
            response.enable_chunked_encoding()
            await response.prepare(request)
            await response.write(SOUND)
            await cut(request, after=len(SOUND))
            return response

        nothing = says(b"", status=416, **{"Content-Range": f"bytes */{len(SOUND)}"})
        host.answers = [unsaid, nothing]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert saved.path.read_bytes() == SOUND
        assert host.ranges == [None, f"bytes={len(SOUND)}-"]

    async def test_a_part_of_the_rest(self, host, exotel, tmp_path):
        """A server may give the rest in several parts."""
        span = {"Content-Range": f"bytes 1000-1999/{len(SOUND)}"}
        host.answers = [
            says(SOUND[:1000], missing=299_000, **VERSION),
            says(SOUND[1000:2000], status=206, **VERSION, **span),
            rest_from(2000, **VERSION),
        ]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert saved.path.read_bytes() == SOUND

    async def test_nobody_there(self, make_client, host, tmp_path, unused_tcp_port):
        """Where nobody listens, nothing was sent."""
        place = f"127.0.0.1:{unused_tcp_port}"
        async with make_client(base_url=f"http://{place}") as exotel:
            with pytest.raises(NotSentError):
                await exotel.recordings.download(f"http://{place}/a", tmp_path / "a")


class TestErrors:
    @pytest.mark.parametrize(
        ("fault", "reason", "says_"),
        [
            ("recording-private", "private", "have Exotel allow this machine"),
            ("recording-gone", "gone", "gone"),
        ],
    )
    async def test_simulated(self, sim, simulated, tmp_path, fault, reason, says_):
        """Each refusal says what to do."""
        sid = sim.add_call(recorded=True)
        sim.fault(fault, on="recording")

        with pytest.raises(RecordingError, match=says_) as caught:
            await simulated.recordings.download(sim.calls[sid].recording_url, tmp_path / "a")

        assert caught.value.reason == reason
        assert names(tmp_path) == []

    async def test_wrong_credentials(self, sim, tmp_path):
        """Wrong credentials are told from recordings that are not there."""
        sid = sim.add_call(recorded=True)
        settings = sim.settings | {"api_token": "s3cret"}
        async with ExotelClient(**settings) as exotel:
            with pytest.raises(RecordingError, match="refuses our credentials") as caught:
                await exotel.recordings.download(sim.calls[sid].recording_url, tmp_path / "a")

        assert (caught.value.reason, caught.value.status) == ("private", 401)
        assert "s3cret" not in repr(caught.value)

    async def test_expired(self, sim, simulated, tmp_path, caplog):
        """An expired URL asks for a fresh one, and its signature is never shown."""
        caplog.set_level("DEBUG", logger="exotel_async")
        sid = sim.add_call(recorded=True)
        call = await simulated.calls.get(sid, recording_url_validity=5)
        await sim.advance(minutes=6)
        url = call.pre_signed_recording_url
        assert url is not None

        with pytest.raises(RecordingError, match="recording_url_validity") as caught:
            await simulated.recordings.download(url, tmp_path / "a")

        assert caught.value.reason == "expired"
        signature = url.partition("Signature=")[2]
        assert signature not in f"{caught.value!r}{caught.value.__cause__!r}{caplog.text}"
        assert "GET recording at 127.0.0.1" in caplog.text

    @pytest.mark.parametrize(
        "answer",
        [
            says(b"<html>", kind="text/html"),
            says(b"{}", kind="application/json"),
            says(Content_Encoding="gzip"),
            says(b""),
        ],
    )
    async def test_no_recording(self, host, exotel, tmp_path, answer):
        """A page with status 200 is not saved as a sound."""
        host.answers = [answer]

        with pytest.raises(UnreadableAnswerError):
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert names(tmp_path) == []


class TestRedirects:
    async def test_without_credentials(self, host, other, exotel, tmp_path):
        """Another host that a redirect leads to never learns our credentials."""
        host.answers, other.answers = [moved(f"{other.url}?X-Amz-Signature=x")], [says()]

        await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert "Authorization" in host.heads[0]
        assert [head for head in other.heads if "Authorization" in head] == []
        assert len(other.heads) == 1

    async def test_back_without_credentials(self, host, other, exotel, tmp_path):
        """Nor does our own host again, once a redirect was in between."""
        host.answers, other.answers = [moved(other.url), says()], [moved(host.url)]

        await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert ["Authorization" in head for head in host.heads] == [True, False]

    async def test_simulated(self, sim, simulated, tmp_path):
        """The simulator's other name gives the recording by its signature alone."""
        sid = sim.add_call(recorded=True)
        sim.fault("recording-moved")

        await simulated.recordings.download(sim.calls[sid].recording_url, tmp_path / "a.mp3")

        assert statuses(sim) == [302, 200]

    async def test_goes_on_by_redirect(self, host, other, exotel, tmp_path):
        """What broke off behind a redirect goes on by way of it again."""
        host.answers = [moved(f"{other.url}?Signature=1"), moved(f"{other.url}?Signature=2")]
        other.answers = [
            says(SOUND[:1000], missing=299_000, **VERSION),
            rest_from(1000, **VERSION),
        ]

        saved = await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert saved.path.read_bytes() == SOUND
        assert [head for head in other.heads if "Authorization" in head] == []
        assert other.ranges == [None, "bytes=1000-"]

    async def test_not_allowed(self, host, other, make_client, tmp_path):
        """A host that is not allowed is not asked."""
        host.answers, other.answers = [moved(f"{other.url}?Signature=s3cret")], [says()]
        async with make_client(base_url=f"http://{host.place}") as exotel:
            with pytest.raises(RecordingError, match="redirects to where nothing") as caught:
                await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert (caught.value.reason, caught.value.status) == ("redirected", 302)
        assert "s3cret" not in f"{caught.value!r}{caught.value.__cause__!r}"
        assert other.heads == []

    async def test_endless(self, host, exotel, tmp_path):
        """A circle is left after a few rounds."""
        host.answers = [moved(host.url)]

        with pytest.raises(RecordingError, match="more than 5 redirects"):
            await exotel.recordings.download(host.url, tmp_path / "a.mp3")

        assert len(host.heads) == 6


class TestWaiting:
    @pytest.fixture
    async def placed(self, sim: Simulator, simulated: ExotelClient) -> Call:
        """A call that is over and has not settled."""
        call = await simulated.calls.connect(
            from_="+919812300001", to="+919812300002", caller_id="08040001234", record=True
        )
        await sim.advance(seconds=60)
        return call

    async def test_not_ready(self, sim, simulated, placed, tmp_path):
        """Who does not wait is told what may help."""
        with pytest.raises(RecordingError, match="wait=900") as caught:
            await simulated.recordings.download(placed, tmp_path / "a.mp3")

        assert caught.value.reason == "not_ready"
        assert [got.method for got in sim.requests] == ["POST"]

    async def test_asks_again(self, sim, simulated, placed, tmp_path):
        """Who waits gets what comes, of a call without a URL."""
        assert placed.recording_url is None

        await simulated.recordings.download(placed, tmp_path / "a.mp3", wait=900)

        assert (tmp_path / "a.mp3").stat().st_size > 10_000

    async def test_404(self, sim, simulated, placed, tmp_path):
        """And of a URL that is not there yet."""
        url = sim.calls[placed.sid].recording_url

        await simulated.recordings.download(url, tmp_path / "a.mp3", wait=900)

        assert statuses(sim)[0] == 404
        assert statuses(sim)[-1] == 200

    async def test_backoff(self, host, exotel, clock, tmp_path):
        """It asks less and less often, and once more when the time is over."""
        host.answers = [says(status=404)]

        with pytest.raises(RecordingError) as caught:
            await exotel.recordings.download(host.url, tmp_path / "a.mp3", wait=200)

        assert caught.value.reason == "not_ready"
        assert clock.slept == [5, 10, 20, 40, 60, 60, 5]
        assert len(host.heads) == 8

    async def test_in_vain(self, sim, simulated, tmp_path):
        """A call that ended long ago without a recording is not waited for."""
        call = await simulated.calls.get(sim.add_call(recorded=False))
        before = sim.clock.monotonic()

        with pytest.raises(RecordingError) as caught:
            await simulated.recordings.download(call, tmp_path / "a.mp3", wait=80_000)

        assert caught.value.reason == "not_recorded"
        assert sim.clock.monotonic() - before < 40_000

    async def test_no_call(self, host, exotel, clock, tmp_path):
        """Where nothing was dialled there is nothing to wait for."""
        dial = Dial(ref="r", idempotency_key="k", state="refused")

        with pytest.raises(RecordingError, match="there was no call") as caught:
            await exotel.recordings.download(
                CallOutcome(dial=dial, state="refused"), tmp_path / "a.mp3", wait=200
            )

        assert (caught.value.reason, clock.slept) == ("not_recorded", [])

    async def test_never_longer_for_refusals(self, host, exotel, clock, tmp_path):
        """What is private does not become public by waiting."""
        host.answers = [says(status=403)]

        with pytest.raises(RecordingError):
            await exotel.recordings.download(host.url, tmp_path / "a.mp3", wait=200)

        assert clock.slept == []


class TestStream:
    async def test_chunks(self, host, exotel):
        """The bytes come as they come, with what is known of them."""
        host.answers = [says()]

        async with exotel.recordings.stream(host.url) as recording:
            chunks = [chunk async for chunk in recording]

        assert b"".join(chunks) == SOUND
        assert (recording.size, recording.content_type) == (len(SOUND), "audio/mpeg")
        assert len(chunks) > 1

    @pytest.mark.parametrize("odd", [rest_from(1000, **VERSION), says(**VERSION)])
    async def test_goes_on(self, host, exotel, odd):
        """After a lost connection each byte comes once, also where the server begins anew."""
        host.answers = [says(SOUND[:1000], missing=299_000, **VERSION), odd]

        async with exotel.recordings.stream(host.url) as recording:
            chunks = [chunk async for chunk in recording]

        assert b"".join(chunks) == SOUND

    @pytest.mark.parametrize("odd", [says(ETag='"v2"'), says()])
    async def test_changed(self, host, exotel, odd):
        """What is not the same any more is no continuation."""
        host.answers = [says(SOUND[:1000], missing=299_000, **VERSION), odd]

        async with exotel.recordings.stream(host.url) as recording:
            with pytest.raises(RecordingError) as caught:
                _ = [chunk async for chunk in recording]

        assert caught.value.reason == "changed"

    async def test_left_early(self, host, exotel):
        """Who leaves early leaves no connection behind, and nobody reads the rest."""
        left = asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(bytes(100_000))
            finally:
                left.set()

        host.answers = [endless]

        async with exotel.recordings.stream(host.url) as recording:
            async for _ in recording:
                break

        await asyncio.wait_for(left.wait(), 10)

    async def test_waits(self, host, exotel, clock):
        """It waits as a download does."""
        host.answers = [says(status=404), says()]

        async with exotel.recordings.stream(host.url, wait=60) as recording:
            assert recording.size == len(SOUND)

        assert clock.slept == [5]
