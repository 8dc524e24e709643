"""Every example runs as it stands, against the simulator, as a user would start it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import attrs
import pytest
from clocks import FakeClock
from raw_server import answer, raw_server
from samples import form_sample, multipart, sample

from exotel_async import IST, CallbackTokens
from exotel_async.cli import demo
from exotel_async.cli.app import app
from exotel_async.cli.rows import Look
from exotel_async.cli.running import execute
from exotel_async.cli.screen import Screen
from exotel_async.cli.world import World
from exotel_async.journal import PostgresJournal
from exotel_async.simulator import Simulator

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRET = "0123456789abcdef0123456789abcdef"
FROM, TO, EXOPHONE = "+919812300001", "+919812300002", "08040001234"
LOOK = Look(zone=IST, hide=str)


@attrs.frozen
class Ran:
    """How a program ended and what it printed."""

    status: int | None
    out: str
    err: str


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A carrier whose clock shows today, as the examples' does."""
    async with Simulator(start=datetime.now(IST)) as running:
        yield running


def environ_for(sim: Simulator | None, **more: str) -> dict[str, str]:
    """Return the environment in which an example talks to the simulator."""
    plain = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    if sim is not None:
        plain |= {
            "EXOTEL_ACCOUNT_SID": sim.settings["account_sid"],
            "EXOTEL_API_KEY": sim.settings["api_key"],
            "EXOTEL_API_TOKEN": sim.settings["api_token"],
            "EXOTEL_SUBDOMAIN": sim.base_url.removeprefix("http://"),
        }
    return plain | {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error", "COLUMNS": "100"} | more


async def start(name: str, *arguments: str, environ: dict[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / name), *arguments, env=environ,
        stdin=asyncio.subprocess.PIPE, stdout=pipe, stderr=pipe,
    )  # fmt: skip


async def run(
    name: str, *arguments: str, environ: dict[str, str], typed: bytes | None = None
) -> Ran:
    program = await start(name, *arguments, environ=environ)
    out, err = await asyncio.wait_for(program.communicate(typed), 60)
    return Ran(program.returncode, out.decode(), err.decode())


@asynccontextmanager
async def serving(name: str, *, environ: dict[str, str]) -> AsyncIterator[tuple[str, list[str]]]:
    """Run a receiver; yields its URL, and after it ended what it printed."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    program = await start(name, environ=environ | {"PORT": str(port)})
    printed: list[str] = []
    try:
        await _until_open(port, program)
        yield f"http://127.0.0.1:{port}", printed
    finally:
        if program.returncode is None:
            program.terminate()  # wsgiref swallows a Ctrl-C that meets a request
        out, err = await asyncio.wait_for(program.communicate(), 30)
        printed.extend((out.decode(), err.decode()))


async def _until_open(port: int, program: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        while program.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return


class TestDemo:
    """The main job."""

    async def test_shows_everything(self) -> None:
        """It needs no account, keeps its promises and prints what it says."""
        ran = await run("demo.py", environ=environ_for(None))

        assert ran == Ran(0, ran.out, "")
        assert ran.out.count("CallAnswered") == 4
        assert ran.out.count("CallTerminated  completed: From completed") == 2
        for shown in ("application/json", "multipart/form-data", "Record of", "\tNo\n", "MTNL"):
            assert shown in ran.out

    async def test_survives(self) -> None:
        """A receiver is killed, an answer and a callback are lost, and each outcome is right."""
        ran = await run("demo.py", environ=environ_for(None))

        assert "order-2: unknown, connect's answer was lost\n" in ran.out
        assert "The receiver is killed. 4 callbacks were acknowledged, none handled.\n" in ran.out
        for ended in ("order-1: ended, completed (callback, confirmed)\n",
                      "order-2: ended, completed (callback, confirmed)\n",
                      "order-3: ended, busy (poll, confirmed)\n",
                      "order-4: ended, no-answer (callback, confirmed)\n"):  # fmt: skip
            assert ended in ran.out

    async def test_shows_commands(self) -> None:
        """Each step is printed as the command line that does it, without the token."""
        ran = await run("demo.py", environ=environ_for(None))

        steps = [line.split() for line in ran.out.splitlines() if line.startswith("$ ")]
        assert [step[2] for step in steps] == ["listen", "call", "call", "calls", "calls", "number"]
        assert ran.out.count('--status-callback "$URL"') == 2

    async def test_a_broken_promise_fails(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A carrier that does not do what is promised makes it fail, and say so."""
        body = b'{"Call": {"Sid": "a"}, "Calls": [], "Numbers": {}}'
        parties = demo.Parties(from_=FROM, to=TO, caller_id=EXOPHONE)
        async with raw_server(answer("200 OK", body)) as server:
            environ = {
                "EXOTEL_ACCOUNT_SID": "a",
                "EXOTEL_API_KEY": "b",
                "EXOTEL_API_TOKEN": "c",
                "EXOTEL_SUBDOMAIN": server.url.removeprefix("http://"),
            }

            @asynccontextmanager
            async def deaf() -> AsyncIterator[demo.Stage]:
                yield demo.Stage(
                    world=World(environ=environ, clock=FakeClock()),
                    wait_for=lambda over: asyncio.sleep(0),
                    simulated=True,
                )

            status = await demo.perform(parties, deaf(), partial(execute, app), Screen(look=LOOK))

        assert status == 1
        assert capsys.readouterr().err.count("Promised, and did not happen") >= 6

    async def test_live_needs_to_be_reached(self) -> None:
        """Live, it asks for what it needs before anything else."""
        ran = await run("demo.py", "--live", environ=environ_for(None))

        assert ran.status == 2
        assert "--public-url" in ran.err

    async def test_live_names_missing_variables(self) -> None:
        """Live without credentials, it names the variables."""
        ran = await run("demo.py", *LIVE, environ=environ_for(None))

        assert ran.status == 2
        assert "EXOTEL_API_TOKEN" in ran.err

    async def test_live_asks_first(self, sim: Simulator) -> None:
        """Live, where nobody can be asked, it dials nobody, whatever comes through a pipe."""
        ran = await run("demo.py", *LIVE, environ=environ_for(sim), typed=b"dial\n")

        assert ran.status == 2
        assert "nobody is there to ask" in ran.err
        assert sim.requests == []


LIVE = ("--live", "--public-url", "https://example.com/exotel/", "--port", "18080",
        "--from", FROM, "--to", TO, "--caller-id", EXOPHONE)  # fmt: skip


class TestDurable:
    """The whole set-up in one file."""

    async def test_runs_as_it_stands(self) -> None:
        """It dials once, though connect's answer is lost, and tells how the call ended."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = str(bound.getsockname()[1])

        ran = await run("durable.py", environ=environ_for(None, PORT=port))

        assert ran == Ran(0, ran.out, "")
        assert sorted(ran.out.splitlines()) == [
            "dial: unknown",
            "dial: unknown",
            "outcome: ended completed confirmed: True",
            "told: completed completed completed",
        ]


class TestDurableOnPostgres:
    """Receiver and worker, processes of their own that share a database."""

    async def test_run_as_they_stand(self, sim: Simulator, postgres_dsn: str) -> None:
        """One is told, the other dials, delivers, and knows how the call ended."""
        environ = environ_for(
            sim, EXOTEL_JOURNAL=postgres_dsn, EXOTEL_CALLBACK_SECRET=SECRET, EXOPHONE=EXOPHONE
        )
        account = environ["EXOTEL_ACCOUNT_SID"]
        assert await migrated(environ) == 0
        receiver, worker = "durable_postgres_receiver.py", "durable_postgres_worker.py"
        async with serving(receiver, environ=environ) as (public, received):
            environ["PUBLIC_URL"] = f"{public}/exotel/"
            async with serving(worker, environ=environ) as (private, told):
                assert await statuses(f"{public}/ready", f"{private}/ready") == [200, 200]
                first, again = [await dial(f"{private}/orders/order-42/dial") for _ in range(2)]
                await sim.advance(minutes=5)
                assert await state_of("order-42", account, postgres_dsn) == "ended"

        assert (first["state"], first) == ("placed", again)
        assert len(sim.calls) == 1
        said = (line for line in told[0].splitlines() if line.startswith(("told", "outcome")))
        assert sorted(said) == [
            "outcome: order-42 ended completed",
            "told: CallAnswered in-progress",
            "told: CallAnswered in-progress",
            "told: CallTerminated completed",
        ]
        assert received[1] == told[1] == ""

    async def test_before_migrating(self, postgres_dsn: str) -> None:
        """Without tables a receiver does not start, and says what to run."""
        environ = environ_for(None, EXOTEL_JOURNAL=postgres_dsn, EXOTEL_CALLBACK_SECRET=SECRET)

        ran = await run("durable_postgres_receiver.py", environ=environ | {"PORT": "0"})

        assert ran.status == 1
        assert "exotel-async journal migrate" in ran.err


async def migrated(environ: dict[str, str]) -> int | None:
    """Make the tables as a deployment does."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exotel_async", "journal", "migrate", env=environ,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await asyncio.wait_for(program.wait(), 60)


async def statuses(*urls: str) -> list[int]:
    """Ask each URL for its status."""
    async with aiohttp.ClientSession() as session:
        return [(await session.get(url)).status for url in urls]


async def dial(url: str) -> dict[str, str]:
    """Have the worker dial."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data={"from": FROM, "to": TO}) as response,
    ):
        dialled: dict[str, str] = await response.json()
        return dialled


async def state_of(key: str, account: str, dsn: str) -> str:
    """Wait until it is known how a dial ended, and whoever wants to know was told."""
    async with PostgresJournal(dsn) as journal, asyncio.timeout(30):
        while (found := await journal.find(account, key)) is None or found[1] is None:
            await asyncio.sleep(0.02)
        while (stats := await journal.stats())["events_waiting"] or stats["outcomes_waiting"]:
            await asyncio.sleep(0.02)
        return found[1].state


class TestAsking:
    """Programs that ask once."""

    async def test_connect_two_numbers(self, sim: Simulator) -> None:
        """It places one call and prints its sid."""
        ran = await run("connect_two_numbers.py", FROM, TO, EXOPHONE, environ=environ_for(sim))

        (sid,) = sim.calls
        assert ran == Ran(0, f"{sid}: in-progress\n", "")

    async def test_connect_refused(self, sim: Simulator) -> None:
        """A number on the do-not-disturb register is told in one line, masked."""
        ran = await run(
            "connect_two_numbers.py", FROM, "+910000000403", EXOPHONE, environ=environ_for(sim)
        )

        assert ran.status == 1
        assert "Refused, no phone rings." in ran.err
        assert "0000403" not in ran.err

    async def test_connect_to_flow(self, sim: Simulator) -> None:
        """It plays a flow to a number."""
        ran = await run("connect_to_flow.py", FROM, EXOPHONE, "926", environ=environ_for(sim))

        assert ran.out.endswith(": in-progress\n")
        assert dict(sim.requests[0].params)["Url"].endswith("/exoml/start_voice/926")

    async def test_failed_yesterday(self, sim: Simulator) -> None:
        """It lists yesterday's failures, and neither today's nor successes."""
        noon = datetime.now(IST).replace(hour=12, minute=0, second=0, microsecond=0)
        yesterday = noon - timedelta(days=1)
        wanted = sim.add_call(status="busy", date_created=yesterday)
        sim.add_call(status="completed", date_created=yesterday)
        sim.add_call(status="busy", date_created=yesterday - timedelta(days=1))

        ran = await run("failed_yesterday.py", environ=environ_for(sim))

        assert ran.status == 0, ran.err
        assert [line.split()[2] for line in ran.out.splitlines()] == [wanted]

    async def test_look_up_numbers(self, sim: Simulator) -> None:
        """It prints a line for each number."""
        ran = await run("look_up_numbers.py", FROM, TO, environ=environ_for(sim))

        assert [line.split(":")[0] for line in ran.out.splitlines()] == [FROM, TO]

    async def test_look_up_many(self, sim: Simulator) -> None:
        """It prints a line for each number it reads, and asks for each but once."""
        typed = f"{FROM}\n\nhello\n{TO}\n{FROM}\n".encode()

        ran = await run("look_up_many.py", environ=environ_for(sim), typed=typed)

        assert [line.split(":")[0] for line in ran.out.splitlines()] == [FROM, "hello", TO, FROM]
        assert len(sim.requests) == 3


class TestReceiving:
    """Programs that are told."""

    async def test_receive_callbacks(self, sim: Simulator) -> None:
        """It places a call and prints what Exotel tells of it."""
        environ = environ_for(sim, CALLBACK_SECRET=SECRET, EXOPHONE=EXOPHONE)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
        environ["PUBLIC_URL"] = f"http://127.0.0.1:{port}/exotel/"
        program = await start("receive_callbacks.py", environ=environ | {"PORT": str(port)})
        await _until_open(port, program)
        async with aiohttp.ClientSession() as session:
            form = {"from": FROM, "to": TO}
            url = f"http://127.0.0.1:{port}/orders/order-42/dial"
            async with session.post(url, data=form) as response:
                assert response.status == 200
        await sim.advance(minutes=5)
        program.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(program.communicate(), 30)

        told = [line for line in out.decode().splitlines() if line.startswith("order-42")]
        assert [line.split()[1] for line in told] == ["CallAnswered"] * 2 + ["CallTerminated"]
        assert program.returncode == 0, err.decode()
        assert SECRET not in out.decode() + err.decode()

    async def test_metrics(self, tmp_path: Path) -> None:
        """A callback is counted, in Prometheus' format, without token, secret or number."""
        token = CallbackTokens([SECRET]).mint("order-42")
        environ = environ_for(None, EXOTEL_CALLBACK_SECRET=SECRET, JOURNAL=str(tmp_path / "c.db"))

        async with serving("metrics.py", environ=environ) as (url, _), aiohttp.ClientSession() as s:
            body = sample("statuscallback_terminal.json")
            async with s.post(f"{url}/exotel/{token}", data=body) as answer:
                assert answer.status == 200
            async with s.get(f"{url}/metrics") as answer:
                shown = await answer.text()

        assert "exotel_callbacks_received_total 1\n" in shown
        assert "exotel_journal_receipts 1\n" in shown
        assert SECRET not in shown
        assert token not in shown

    async def test_other_framework(self) -> None:
        """A WSGI application receives both encodings, and refuses what has no token."""
        token = CallbackTokens([SECRET]).mint("order-42")
        form, form_type = multipart(form_sample("statuscallback_terminal.form.txt"))
        bodies = [
            (f"/{token}", sample("statuscallback_terminal.json"), "application/json", 200),
            (f"/{token}", form, form_type, 200),
            ("/forged", form, form_type, 404),
            (f"/{token}", b"nonsense", "text/plain", 404),
        ]
        environ = environ_for(None, CALLBACK_SECRET=SECRET, PYTHONUNBUFFERED="1")
        async with (
            serving("other_framework.py", environ=environ) as (url, printed),
            aiohttp.ClientSession() as session,
        ):
            for path, body, content_type, status in bodies:
                headers = {"Content-Type": content_type}
                async with session.post(url + path, data=body, headers=headers) as response:
                    assert response.status == status

        assert printed[0].count("order-42 CallTerminated no-answer") == 2
        assert printed[0].count("refused") == 2


def test_all_are_tested() -> None:
    """No example is left out, and each but the demo fits on one screen."""
    tested = Path(__file__).read_text(encoding="utf8")

    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in tested
        if path.name != "demo.py":
            most = 60 if path.name.startswith("durable") else 40
            assert len(path.read_text(encoding="utf8").splitlines()) <= most
