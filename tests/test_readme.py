"""The README tells the truth: its snippets run, word for word."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import CodeType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from samples import sample

from exotel_async import ExotelClient, OutcomeUnknownError, SentRequest
from exotel_async.cli.app import app
from exotel_async.cli.demo import driven
from exotel_async.cli.exit_status import ExitStatus
from exotel_async.cli.running import execute
from exotel_async.cli.simulate import environ_of
from exotel_async.cli.world import World
from exotel_async.simulator import MAGIC_NUMBERS, Simulator

from .test_examples import EXOPHONE, FROM, SECRET, TO, environ_for

SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function", "-W", "error")
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")


def snippet(heading: str) -> str:
    """Take the first Python snippet below a heading."""
    section = README.partition(f"# {heading}\n")[2]
    return section.partition("```python\n")[2].partition("```")[0]


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    compiled: CodeType = compile(code, "README.md", "exec")
    exec(compiled, names)
    return names


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A carrier whose clock shows today."""
    async with Simulator(start=datetime.now().astimezone()) as running:
        yield running


def _commands() -> list[str]:
    """Take all commands out of the section on the command line, but for those of journals."""
    section = README.partition("## On the command line")[2].partition("\n## ")[0]
    found = re.findall(r"^(?:\| `)?exotel-async (.*?)(?:` \|.*)?$", section, re.MULTILINE)
    return [command for command in found if "--journal" not in command]


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


async def _fine(_: web.Request) -> web.Response:
    return web.Response()


async def _ended(argv: list[str], world: World) -> int:
    """Run a command to its end; those that serve are stopped as soon as they do."""
    more = {"call": ["--yes"], "simulate": ["--port", "0"], "listen": ["--port", "0"]}
    running = asyncio.create_task(execute(app, argv + more.get(argv[0], []), world=world))
    if argv[0] in {"simulate", "listen"}:
        await asyncio.sleep(0.3)
        assert not running.done()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return 0
    return await running


class TestReadme:
    """Each snippet, as a reader would run it."""

    async def test_place_a_call(self, sim: Simulator) -> None:
        """The first program places a call, in at most twelve lines of code."""
        code = snippet("Place a call")
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=environ_for(sim), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await program.communicate()

        (sid,) = sim.calls
        assert out.decode() == f"{sid} in-progress\n"
        assert len([line for line in code.splitlines() if line]) <= 12

    async def test_be_told(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The receiver prints what a callback says, in at most ten lines of code."""
        ran: list[web.Application] = []
        monkeypatch.setattr(web, "run_app", ran.append)
        code = snippet("Be told")
        names = run(code)
        (app,) = ran
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            url = names["callbacks"].url(str(server.make_url("/exotel/")), ref="order-42")
            async with session.post(url, data=sample("statuscallback_terminal.json")) as answer:
                assert answer.status == 200

        assert capsys.readouterr().out == "order-42 no-answer 32\n"
        assert len([line for line in code.splitlines() if line]) <= 10

    async def test_dial_at_most_once(
        self,
        sim: Simulator,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The service dials, and tells how the call ended."""
        ran: list[web.Application] = []
        monkeypatch.setattr(web, "run_app", ran.append)
        monkeypatch.chdir(tmp_path)
        for name, value in environ_for(sim, EXOTEL_CALLBACK_SECRET=SECRET).items():
            monkeypatch.setenv(name, value)
        names = run(snippet("Dial at most once, and learn how it ended"))
        (app,) = ran
        async with TestServer(app):
            dial = await names["dialer"].connect(
                from_=FROM, to=TO, caller_id=EXOPHONE, idempotency_key="order-42"
            )
            await sim.advance(minutes=2)
            again = await names["dialer"].connect(
                from_=FROM, to=TO, caller_id=EXOPHONE, idempotency_key="order-42"
            )

        assert (dial.state, again.ref) == ("placed", dial.ref)
        assert len(sim.calls) == 1
        assert (tmp_path / "calls.db").exists()
        assert SECRET not in capsys.readouterr().out

    async def test_long_lists(self, sim: Simulator) -> None:
        """The program reads all, and tells how to go on."""
        for n in range(250):
            sim.add_call(sid=f"s{n:03}", date_created=sim.clock.now() - timedelta(minutes=n + 1))
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", snippet("Long lists")),
            env=environ_for(sim),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await program.communicate()

        *calls, end = out.decode().splitlines()
        assert calls == [f"s{n:03} completed" for n in range(250)]
        assert end.startswith("250 calls; later go on with position='ey")

    async def test_recordings(self, sim: Simulator, tmp_path: Path) -> None:
        """The program saves a call's recording."""
        sid = sim.add_call(recorded=True)
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", snippet("Recordings"), sid),
            env=environ_for(sim),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await program.communicate()

        assert out.decode() == f"{sid}.mp3 32976 audio/mpeg\n"
        assert (tmp_path / f"{sid}.mp3").stat().st_size == 32976

    async def test_numbers_in_quantity(self, sim: Simulator) -> None:
        """The program prints a line for each number, in order."""
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", snippet("Numbers in quantity"), FROM, "hello", TO),
            env=environ_for(sim),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await program.communicate()

        lines = out.decode().splitlines()
        assert [line.split()[0] for line in lines] == [FROM, "hello", TO]
        assert "400" in lines[1]

    async def test_look_for_a_lost_call(self, sim: Simulator) -> None:
        """What was lost can be looked for."""
        candidates = run(snippet("When something goes wrong"))["candidates"]
        sid = sim.add_call(date_created=sim.clock.now())
        sent = SentRequest("POST", "/", {}, sim.clock.now())

        async with ExotelClient(**sim.settings) as exotel:
            found = await candidates(exotel, OutcomeUnknownError("lost", sent))

        assert [call.sid for call in found] == [sid]

    def test_test_your_own_code(self, tmp_path: Path) -> None:
        """The test of a service passes, in a project that has nothing but pytest-asyncio."""
        (tmp_path / "test_service.py").write_text(snippet("Test your own code"), encoding="utf8")
        options = ("-p", "exotel_async.testing", "-o", "asyncio_mode=auto", *SCOPE)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *options, "--rootdir", ".", "test_service.py"],
            cwd=tmp_path, env=environ_for(None), capture_output=True, text=True, timeout=120,
        )  # fmt: skip

        assert "1 passed" in done.stdout, done.stdout + done.stderr

    async def test_without_pytest(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The simulator serves a program as well."""
        await run(snippet("Without pytest, and without Python"))["main"]()

        assert capsys.readouterr().out == "completed\n"

    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
    async def test_curl(self) -> None:
        """The curl command lays down a fault."""
        command = re.search(r"\$ (curl .*\\\n.*)", README)
        assert command is not None
        async with Simulator() as sim:
            typed = command[1].replace("http://127.0.0.1:8900", sim.base_url)
            program = await asyncio.create_subprocess_shell(
                f"{typed} --silent", stdout=asyncio.subprocess.PIPE
            )
            await program.communicate()

            assert [(fault.name, fault.on) for fault in sim.faults] == [("hang", "connect")]

    async def test_many_machines(self, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A journal in PostgreSQL is opened by what the environment says."""
        monkeypatch.setenv("EXOTEL_JOURNAL", postgres_dsn)

        async with run(snippet("Many machines"))["journal"] as journal:
            found = await journal.stats()

        assert found["keys"] == 0

    def test_every_snippet_is_run(self) -> None:
        """No snippet is left out."""
        assert README.count("```python") == 10

    @pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
    def test_links(self, link: str) -> None:
        """What the README links to is there."""
        assert (ROOT / link).exists()

    def test_numbers_that_behave(self) -> None:
        """The table of numbers is the simulator's."""
        section = README.partition("### Numbers that behave")[2].partition("###")[0]
        rows = re.findall(r"\| `(\+91\d+)` \| (.*) \|", section)

        assert rows == [(magic.number, magic.does) for magic in MAGIC_NUMBERS]

    def test_exit_statuses(self) -> None:
        """The table of exit statuses is the command line's."""
        section = README.partition("## On the command line")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE)

        assert rows == [(str(status.value), status.meaning) for status in ExitStatus]

    async def test_commands_for_journals(self, tmp_path: Path) -> None:
        """The commands for a journal run as they stand, in this order."""
        section = README.partition("## On the command line")[2].partition("\n## ")[0]
        commands = re.findall(r"^\| `exotel-async (.* --journal .*?)` \|", section, re.MULTILINE)
        for command in commands:
            program = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "exotel_async", *command.split(), cwd=tmp_path,
                env=environ_for(None), stdout=subprocess.DEVNULL,
            )  # fmt: skip

            assert await program.wait() == 0

        assert len(commands) == 4

    async def test_commands_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Every other command runs as it stands, with what its capitals and dots stand for."""
        monkeypatch.chdir(tmp_path)
        met = web.Application()
        met.router.add_post("/", _fine)
        async with Simulator() as sim, TestServer(met) as receiver:
            environ = environ_of(sim) | {"EXOTEL_CALLBACK_SECRET": SECRET}
            world = World(environ=environ, clock=driven(sim))
            sid = sim.add_call(phone_number=EXOPHONE, recorded=True, status="completed")
            meant = {
                "FROM": FROM, "TO": TO, "N": EXOPHONE, "SID": sid, "+91...": TO,
                "http://...": str(receiver.make_url("/")), "https://...": "https://shop.example/",
            }  # fmt: skip
            commands = _commands()
            for command in commands:
                argv = [meant.get(word, word) for word in shlex.split(command)]
                status = await _ended(argv, world)
                told = capsys.readouterr()

                assert status == 0, f"{command}: {told.out}{told.err}"

        assert _files(tmp_path) == [
            "all.csv", "calls.csv", "calls.html", "calls.jsonl", "calls.parquet", "month.csv",
            "month.html",
        ]  # fmt: skip
        assert _files(tmp_path / "sounds") == [f"{sid}.mp3"]
        assert {command.split()[0] for command in commands} | {"journal", "deadletters"} == set(
            app.commands
        )

    def test_commands(self) -> None:
        """The table of commands is the command line's."""
        named = set(re.findall(r"\| `exotel-async (\w+)", README))

        assert named == set(app.commands)
