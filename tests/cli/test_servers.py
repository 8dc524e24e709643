"""The commands that serve, and the one that sends: real processes, and what they are sent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType

import aiohttp
import pytest
from cli_processes import environ_for, process, read_until
from raw_server import answer, close, raw_server
from yarl import URL

from exotel_async import IST, CallbackTokens, ExotelClient, UnreadableAnswerError
from exotel_async.cli.app import app
from exotel_async.cli.receiving import MOST_BODY, Receiver, serving
from exotel_async.cli.rows import Look
from exotel_async.cli.running import execute
from exotel_async.cli.saved import Saved, add_line, from_line
from exotel_async.cli.screen import Screen, hiding
from exotel_async.cli.simulate import show_event
from exotel_async.cli.world import World
from exotel_async.models.clock import SystemClock
from exotel_async.simulator import FAULTS, MAGIC_NUMBERS, Delivered, Received, payloads

SECRET = "a secret of sixteen bytes and more"
SID = "5f0c1d2e3b4a59687786a5b4c3d2e1f0"


@asynccontextmanager
async def listening(*argv, environ=MappingProxyType({})):
    """Run `listen` in-process; yields the URL for Exotel and all that it tells."""
    told = asyncio.Queue()
    world = World(environ=environ, watch=told.put_nowait)
    running = asyncio.create_task(execute(app, ["listen", "--port", "0", *argv], world=world))
    try:
        yield (await asyncio.wait_for(told.get(), 30)).callback_url, told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def stop(started, how=signal.SIGINT):
    """End a server as its user does; returns its status and what was left to read."""
    started.send_signal(how)
    out, err = await asyncio.wait_for(started.communicate(), 30)
    return started.returncode, out.decode(), err.decode()


async def post(url, payload=None, **options):
    payload = payload or payloads.terminal()
    headers = {"Content-Type": payload.content_type}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=payload.body, headers=headers, **options) as response,
    ):
        return response.status


class TestListen:
    @pytest.mark.parametrize("encoding", ["multipart", "json", "urlencoded"])
    async def test_json(self, encoding, capsys):
        """A callback in any encoding is an object on a line, its numbers masked, its Sid whole."""
        async with listening("--json") as (url, told):
            assert await post(url, payloads.terminal(encoding=encoding)) == 200
            await told.get()

        first, line = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert first["callback_url"] == url
        assert line["kind"] == "CallTerminated"
        assert line["event"]["call_sid"] == SID
        assert line["event"]["from"] == "***0001"

    async def test_human(self):
        """For humans it is a line; SIGTERM is a normal end; the token is in one line only."""
        environ = environ_for(EXOTEL_CALLBACK_SECRET=SECRET)
        public = "https://example.com/exotel/"
        async with process(
            "listen", "--port", "0", "--public-url", public, environ=environ
        ) as started:
            here = (await read_until(started.stdout, b"\n")).decode().split()[-1]
            url = (await read_until(started.stdout, b"\n")).decode().split()[-1]
            token = url.removeprefix(public)
            await post(here + token)
            await post(here + "nonsense")
            ended, out, err = await stop(started, signal.SIGTERM)

        assert CallbackTokens([SECRET]).verify(token) == ""
        assert ended == 0
        assert "CallTerminated  completed: From completed (35 s), To completed (30 s)" in out
        assert "Refused (404)" in err
        assert token not in out + err
        assert "Traceback" not in err

    async def test_save(self, tmp_path):
        """What came is saved byte for byte with what it was answered, malformed bodies as well."""
        path = tmp_path / "told.jsonl"
        good = payloads.terminal(encoding="urlencoded")
        async with listening("--save", str(path)) as (url, _):
            assert await post(url + "?a=b%20c", good) == 200
            assert await post(url, payloads.Payload(body=b"\xff\x00", content_type="x/y")) == 400

        one, other = (from_line(line) for line in path.read_text().splitlines())
        assert (one.body, one.content_type, one.query) == (good.body, good.content_type, "a=b%20c")
        assert (other.body, other.status) == (b"\xff\x00", 400)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("act", "answered"), [(answer("200 OK"), 200), (answer("503 No"), 503), (close, 502)]
    )
    async def test_forward(self, act, answered):
        """What the other receiver says, Exotel is told; 502 if it says nothing."""
        payload = payloads.answered()
        async with raw_server(act) as other, listening("--forward-to", other.url) as (url, told):
            status = await post(url, payload)
            arrival = await told.get()

        assert status == arrival.status == answered
        assert other.requests[0].endswith(payload.body)
        assert payload.content_type.encode() in other.requests[0]

    async def test_forward_query(self):
        """A query goes on as it came, behind that of the other receiver."""
        async with raw_server(answer("200 OK")) as other:
            async with listening("--forward-to", other.url + "/x?c=%zz") as (url, told):
                await post(URL(url + "?a=%zz&b=%2b+%20", encoded=True))
                await told.get()

        assert other.requests[0].startswith(b"POST /x?c=%zz&a=%zz&b=%2b+%20 HTTP/1.1\r\n")

    async def test_closed_pipe(self):
        """Once nobody reads what it prints, it ends, without a traceback."""
        reading, writing = os.pipe()
        async with process(
            "listen", "--port", "0", "--json", environ=environ_for(), stdout=writing
        ) as started:
            os.close(writing)
            first = await asyncio.to_thread(os.read, reading, 10_000)
            os.close(reading)
            await post(json.loads(first)["callback_url"])
            _, err = await asyncio.wait_for(started.communicate(), 30)

        assert started.returncode == 141
        assert b"Traceback" not in err

    async def test_port_taken(self, cli):
        """A port that is taken is told in a line."""
        async with raw_server(close) as taken:
            ran = await cli("listen", "--port", str(taken.port))

        assert ran.status == 1
        assert len(ran.err.splitlines()) == 1

    async def test_short_secret(self, cli):
        """A secret that is too short is refused, and not shown."""
        ran = await cli("listen", world=World(environ={"EXOTEL_CALLBACK_SECRET": "not16bytes"}))

        assert ran.status == 2
        assert "16 bytes" in ran.err
        assert "not16bytes" not in ran.out + ran.err
        assert ran.out == ""


class TestReceiver:
    """The part of `listen` that answers, without a process around it."""

    @asynccontextmanager
    async def receiver(self, **options):
        shown, refused = [], []
        made = Receiver(
            tokens=CallbackTokens([SECRET]), clock=SystemClock(),
            show=shown.append, refuse=refused.append, **options,
        )  # fmt: skip
        async with serving(made, host="127.0.0.1", port=0) as port:
            yield made.url(f"http://127.0.0.1:{port}/deep/", ref="order-42"), shown, refused

    async def test_ref(self):
        """The ref of the URL reaches the event."""
        async with self.receiver() as (url, shown, _):
            await post(url)

        assert shown[0].event.ref == "order-42"

    async def test_too_large(self):
        """A body beyond all bounds is refused, and nothing of it is kept."""
        kept = []
        payload = payloads.Payload(body=b"x" * (MOST_BODY + 1), content_type="text/plain")
        async with self.receiver(keep=kept.append) as (url, shown, refused):
            assert await post(url, payload) == 413

        assert (kept, shown) == ([], [])
        assert len(refused) == 1

    @pytest.mark.parametrize(
        ("line", "headers", "body"),
        [
            ("HTTP/1.1 x", "", b""),
            ("HTTP/1.1", "Transfer-Encoding: chunked\r\n", b"zz\r\n"),
            ("HTTP/1.1", "Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 0\r\n", b""),
            ("HTTP/1.1", "Content-Encoding: gzip\r\nContent-Length: 9\r\n", b"not gzip!"),
            ("HTTP/1.1", "Content-Length: x\r\n", b""),
        ],
    )
    async def test_malformed(self, line, headers, body, caplog, capfd):
        """What is no HTTP is told in a line, which shows nothing of it: a token may be in it."""
        async with self.receiver() as (url, shown, refused):
            parts = URL(url)
            reader, writer = await asyncio.open_connection(parts.host, parts.port)
            head = f"POST {parts.path} {line}\r\nHost: a\r\n{headers}Connection: close\r\n\r\n"
            writer.write(head.encode() + body)
            answered = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            await writer.wait_closed()

        assert answered.startswith(b"HTTP/1.")
        assert b" 400 " in answered
        assert all(arrival.event is None for arrival in shown)  # an older aiohttp passes some on
        assert 1 <= len(refused) + len(shown) <= 2
        told = "".join((*refused, *(str(one.error) for one in shown), *capfd.readouterr()))
        assert parts.name not in told
        assert "Traceback" not in told
        assert caplog.records == []

    async def test_disk_full(self):
        """What could not be saved is not said to be taken: Exotel is to try again."""

        def full(_: Saved) -> None:
            raise OSError("No space left on device")

        async with self.receiver(keep=full) as (url, shown, refused):
            assert await post(url) == 500

        assert shown[0].status == 500
        assert "No space left" in refused[0]

    @pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("PUT", 405)])
    async def test_other_methods(self, method, status):
        """GET and HEAD are health checks."""
        async with (
            self.receiver() as (url, shown, _),
            aiohttp.ClientSession() as session,
            session.request(method, url) as response,
        ):
            assert response.status == status

        assert shown == []


class TestTrigger:
    @pytest.mark.parametrize("encoding", ["multipart", "json", "urlencoded"])
    async def test_sample(self, cli, encoding):
        """A sample arrives with the fields that were set."""
        async with TestReceiver().receiver() as (url, shown, _):
            ran = await cli(
                "trigger", "terminal", "--to-url", url, "--encoding", encoding,
                "--set", "Status=busy", "--set", "Legs[1][Status]=busy", "--set", "CustomField=a=b",
            )  # fmt: skip

        assert (ran.status, ran.err) == (0, "")
        event = shown[0].event
        assert (event.status, event.legs[1].status, event.custom_field) == ("busy", "busy", "a=b")

    async def test_kinds(self, cli):
        """Every kind of callback can be sent."""
        async with TestReceiver().receiver() as (url, shown, _):
            for kind in (("answered", "--leg", "1"), ("answered",), ("default",)):
                assert (await cli("trigger", *kind, "--to-url", url)).status == 0

        assert [getattr(a.event, "answered_leg", None) for a in shown] == [1, 0, None]

    async def test_not_taken(self, cli):
        """Any answer but 200 fails, and is shown."""
        async with TestReceiver().receiver() as (url, _, _):
            ran = await cli("trigger", "default", "--to-url", url + "x", "--json")

        assert ran.status == 1
        assert ran.objects[0]["status"] == 404

    async def test_no_answer(self, cli):
        """Nobody at home is told as well."""
        ran = await cli("trigger", "default", "--to-url", "http://127.0.0.1:9/")

        assert ran.status == 1
        assert "no answer" in ran.out

    async def test_replay(self, cli, tmp_path):
        """What was saved is sent again, in order and byte for byte."""
        path, kept = tmp_path / "told.jsonl", []
        at = datetime(2026, 11, 1, tzinfo=UTC)
        bodies = [payloads.answered().body, b"\xff\r\n\x00", payloads.terminal().body]
        types = [payloads.answered().content_type, "x/y", payloads.terminal().content_type]
        query = "a=%zz&b=%2b+%20"
        with path.open("w") as file:
            for body, kind in zip(bodies, types, strict=True):
                add_line(file, Saved(at=at, content_type=kind, query=query, body=body))
        async with TestReceiver().receiver(keep=kept.append) as (url, _, _):
            ran = await cli("trigger", "--from-file", str(path), "--to-url", url)

        assert ran.status == 1  # the one in the middle is no callback
        assert [one.body for one in kept] == bodies
        assert [one.content_type for one in kept] == types
        assert {one.query for one in kept} == {query}

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            ((), "Say what to send"),
            (("terminal", "--from-file", __file__), "Say what to send"),
            (("terminal", "--leg", "1"), "answered only"),
            (("terminal", "--set", "Status"), "NAME=VALUE"),
            (("terminal", "--set", "Legs[9][Status]=a"), "has no place"),
            (("--from-file", __file__), "line 1 is not a line"),
            (("--from-file", __file__, "--leg", "0"), "no --encoding"),
            (("terminal", "--to-url", "nowhere"), "absolute http"),
        ],
    )
    async def test_wrong_usage(self, cli, argv, says):
        """What is wrong is told before anything is sent."""
        ran = await cli("trigger", "--to-url", "http://127.0.0.1:9/", *argv)

        assert ran.status == 2
        assert says in ran.err


class TestSimulate:
    async def test_numbers(self, cli):
        """The table of numbers can be read without a server, by humans and programs."""
        table = await cli("simulate", "--numbers")
        objects = (await cli("simulate", "--numbers", "--json")).objects

        assert table.status == 0
        assert [one["number"] for one in objects] == [one.number for one in MAGIC_NUMBERS]
        assert all(one.number in table.out for one in MAGIC_NUMBERS)

    async def test_faults(self, cli):
        """So can the faults."""
        assert [one["fault"] for one in (await cli("simulate", "--faults", "--json")).objects] == [
            *FAULTS
        ]

    @pytest.mark.parametrize(
        ("option", "value", "says"),
        [
            ("--fault", "nonsense", "is no fault"),
            *(("--fault", f"hang:{chance}", f"'{chance}' is no probability")
              for chance in ("2", "0", "x", "", "nan")),
            ("--fault", "hang@answered", "on must be one of connect, "),
            ("--fault", "hang:0x", "times must be 1 or more"),
            ("--fault", "connection-refused:0.5", "neither times nor probability"),
            ("--exophone", "mine", "exophones must be a phone number"),
            *(("--speed", speed, f"'{speed}' is no speed")
              for speed in ("nan", "inf", "0", "-1", "x", "")),
        ],
    )  # fmt: skip
    async def test_wrong_usage(self, cli, option, value, says):
        """A fault there is not, and a number that is none, are refused in words."""
        ran = await cli("simulate", option, value)

        assert ran.status == 2
        assert says in ran.err

    async def test_serves(self):
        """It prints what to export, then what it is asked, until it is stopped."""
        async with process("simulate", "--port", "0", environ=environ_for()) as started:
            lines = [(await read_until(started.stdout, b"\n")).decode() for _ in range(4)]
            environ = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)
            async with ExotelClient.from_environ(environ=environ) as exotel:
                await exotel.numbers.get("+919812300002")
            ended, out, err = await stop(started)

        assert (ended, err) == (0, "")
        assert "GET /v1/Accounts/…/Numbers/***0002" in out
        assert "200" in out

    @pytest.mark.parametrize("options", [(), ("--json",), ("--json", "--show-numbers")])
    async def test_log(self, options, capsys):
        """Calls and their callbacks are logged, with neither number nor token unless asked for."""
        told = asyncio.Queue()
        world = World(environ={}, watch=told.put_nowait)
        argv = ["simulate", "--port", "0", "--speed", "600", *options]
        running = asyncio.create_task(execute(app, argv, world=world))
        exotel = ExotelClient.from_environ(environ=await asyncio.wait_for(told.get(), 30))
        async with TestReceiver().receiver() as (url, shown, _), exotel:
            await exotel.calls.connect(
                from_="+919812300001", to="+919812300002", caller_id="08040001234",
                status_callback=url, status_callback_events=("terminal",),
            )  # fmt: skip
            events = [await asyncio.wait_for(told.get(), 30) for _ in range(2)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        out = capsys.readouterr().out
        token = url.rpartition("/")[2]
        assert [event.status for event in events] == [200, 200]
        assert len(shown) == 1
        assert out.count(events[1].fields[0][1]) >= 1  # the call's Sid, whole
        assert ("9812300001" in out, token in out) == (("--show-numbers" in options),) * 2

    @pytest.mark.parametrize("as_json", [True, False])
    @pytest.mark.parametrize("shows", [True, False])
    def test_urls(self, capsys, as_json, shows):
        """Of callback URLs neither user, query nor token is shown unless asked for."""
        url = "http://me:pw@127.0.0.1:9/deep/0123456789abcdefghij?key=s3cret"
        look = Look(zone=IST, hide=hiding(show_numbers=shows))
        at = datetime(2026, 11, 1, tzinfo=UTC)
        screen = Screen(look=look, as_json=as_json)
        params = (("StatusCallback", url),)
        show_event(
            Received(method="POST", path="/", params=params, at=at, status=200), screen=screen
        )
        show_event(
            Delivered(url=url, content_type="a/b", fields=params, at=at, status=200), screen=screen
        )

        out = capsys.readouterr().out
        assert "127.0.0.1:9/deep/" in out
        for secret in ("me:pw", "0123456789abcdefghij", "s3cret"):
            assert (secret in out) is shows

    async def test_json_with_faults(self, capsys):
        """As JSON, each request is an object; a fault strikes by what it was told."""
        told = asyncio.Queue()
        world = World(environ={}, watch=told.put_nowait)
        argv = (
            "--port",
            "0",
            "--json",
            "--fault",
            "hang@connect",
            "--fault",
            "senseless-200@number:1x",
            "--exophone",
            "08040001234",
        )
        running = asyncio.create_task(execute(app, ["simulate", *argv], world=world))
        environ = await asyncio.wait_for(told.get(), 30)
        async with ExotelClient.from_environ(environ=environ) as exotel:
            with pytest.raises(UnreadableAnswerError):
                await exotel.with_options(max_retries=0).numbers.get("+919812300002")
        await asyncio.wait_for(told.get(), 30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        first, line = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert first["export"] == environ
        assert line["request"]["fault"] == "senseless-200"
