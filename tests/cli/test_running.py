"""Processes: how they end, what they leave behind, and what a terminal shows."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import attrs
import click
import pytest
from cli_processes import environ_for, on_terminal, process, read_until, run_process
from raw_server import hang, raw_server

from exotel_async import NotSentError
from exotel_async.cli import main, running
from exotel_async.cli.app import app
from exotel_async.cli.simulate import environ_of
from exotel_async.cli.until import Until
from exotel_async.cli.world import Job, World

FROM, TO, EXOPHONE = "+919812300001", "+919812300002", "08040001234"
CALL = ("call", FROM, TO, "--caller-id", EXOPHONE)
LIVE = ("demo", "--live", "--public-url", "https://example.com/exotel/", "--port", "18080",
        "--from", FROM, "--to", TO, "--caller-id", EXOPHONE)  # fmt: skip
FULL = Path("/dev/full")
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environ_of_server(url: str) -> dict[str, str]:
    return environ_for(
        EXOTEL_ACCOUNT_SID="a", EXOTEL_API_KEY="b", EXOTEL_API_TOKEN="c",
        EXOTEL_SUBDOMAIN=url.removeprefix("http://"),
    )  # fmt: skip


class TestMain:
    @pytest.mark.parametrize("lacking", ["click", "rich"])
    def test_without_the_extra(self, lacking):
        """Without its libraries, one line says what to install."""
        program = (
            "import sys\n"
            f"sys.modules[{lacking!r}] = None\n"
            "from exotel_async.cli import main\n"
            "sys.exit(main(['--help']))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )

        assert done.returncode == 1
        assert (
            done.stderr
            == "exotel-async: the command line needs its extra, [cli]: pip install click rich\n"
        )
        assert done.stdout == ""

    def test_importing_is_cheap(self):
        """The package of the command line can be imported without its libraries."""
        program = (
            "import sys, exotel_async.cli; print('click' in sys.modules, 'rich' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )

        assert done.stdout == "False False\n"

    def test_in_process(self, capsys):
        """`main` takes words and returns the status."""
        assert main(["--version"]) == 0
        assert main(["nonsense"]) == 2
        assert "No such command" in capsys.readouterr().err

    async def test_module(self):
        """`python -m exotel_async` is the command."""
        ran = await run_process("--help", environ=environ_for())

        assert ran.status == 0
        assert ran.out.startswith("Usage: exotel-async ")


def command_that(run, *, serves=False) -> click.Command:
    """Make a command whose job is to do something."""
    return click.Command("it", callback=lambda: Job(run=run, serves=serves))


class TestRun:
    @pytest.mark.parametrize(
        ("error", "serves", "status"),
        [
            (KeyboardInterrupt(), False, 130),
            (asyncio.CancelledError(), False, 130),
            (asyncio.CancelledError(), True, 0),
            (BrokenPipeError(), True, 141),
            (OSError("no such host"), False, 1),
            (NotSentError("no connection"), False, 4),
        ],
    )
    def test_ends(self, error, serves, status, capsys):
        """However a job ends, there is a status; a line if it failed, and none otherwise."""

        async def run():
            raise error

        assert running.run(command_that(run, serves=serves), ["--"]) == status
        said = f"exotel-async: {error}\n" if status in (1, 4) else ""
        assert capsys.readouterr().err == said

    def test_no_words(self, capsys):
        """Without words there is help."""
        assert running.run(click.Command("it", help="What it is for."), []) == 0
        assert "What it is for." in capsys.readouterr().out

    def test_a_bug_is_not_hidden(self):
        """What nobody foresaw keeps its traceback."""

        async def run():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            running.run(command_that(run), ["--"])

    async def test_until(self):
        """What serves ends when nobody reads what it shows, and not before."""
        until = Until()

        def show(value):
            if value == "broken":
                raise BrokenPipeError

        guarded = until.guard(show)
        waiting = asyncio.create_task(until.stopped())
        guarded("fine")
        await asyncio.sleep(0)
        assert not waiting.done()
        guarded("broken")
        guarded("broken")

        with pytest.raises(BrokenPipeError):
            await waiting


class TestDemo:
    @pytest.mark.parametrize("option", ["--public-url", "--from", "--to", "--caller-id"])
    async def test_only_live(self, cli, option):
        """What only Exotel itself could use is refused without --live, not ignored."""
        ran = await cli("demo", option, "https://example.com/")

        assert ran.status == 2
        assert "go with --live" in ran.err

    async def test_nobody_to_ask(self, cli, world, sim):
        """Live without a terminal nothing is dialled, whatever comes through a pipe."""
        ran = await cli(*LIVE, world=world)

        assert ran.status == 2
        assert "nobody is there to ask" in ran.err
        assert sim.requests == []

    async def test_masked(self, cli):
        """Its steps show numbers to those only who asked for them."""
        masked, whole = await cli("demo"), await cli("demo", "--show-numbers")

        assert "98123" not in masked.out + masked.err
        assert f"$ exotel-async call {FROM} {TO} --caller-id {EXOPHONE}" in whole.out

    async def test_json(self, cli):
        """As JSON, results are objects on standard output, and the steps stand beside."""
        ran = await cli("demo", "--json", "--show-numbers")

        assert ran.status == 0
        assert {one["to"] for one in ran.objects if "price" in one} == {TO}
        assert [one["state"] for one in ran.objects if "confirmed" in one] == ["ended"] * 4
        assert len([line for line in ran.err.splitlines() if line.startswith("$ ")]) == 6


class TestInterrupt:
    async def test_while_waiting(self):
        """Ctrl-C ends a command that waits for Exotel, with 130 and without a traceback."""
        async with (
            raw_server(hang) as server,
            process("number", TO, environ=environ_of_server(server.url)) as started,
        ):
            async with asyncio.timeout(30):
                while not server.requests:
                    await asyncio.sleep(0.01)
            started.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(started.communicate(), 30)

        assert started.returncode == 130
        assert (out, err) == (b"", b"")

    async def test_while_following(self, sim_today):
        """Ctrl-C stops following, and says that the call goes on."""
        environ = environ_for(sim_today)
        async with process(*CALL, "--yes", environ=environ) as started:
            await read_until(started.stdout, b"(being dialled)\n")
            started.send_signal(signal.SIGINT)
            _, err = await asyncio.wait_for(started.communicate(), 30)

        assert started.returncode == 130
        assert b"the call itself goes on" in err
        assert b"Traceback" not in err

    def test_while_asking(self, monkeypatch, capsys):
        """Ctrl-C at the question dials nobody."""

        class Interrupted(StringIO):
            def isatty(self) -> bool:
                return True

            def readline(self, *_: object) -> str:
                raise KeyboardInterrupt

        monkeypatch.setattr("sys.stdin", Interrupted())
        monkeypatch.setattr("exotel_async.cli.asking.can_ask", lambda: True)
        world = World(environ=environ_of_server("127.0.0.1:9"))

        assert running.run(app, CALL, world=world) == 130
        assert capsys.readouterr().err.rstrip().endswith("\nGo on? [y/N]")

    async def test_sigterm_while_dialling(self):
        """SIGTERM as well ends a dial with the warning that a phone may ring."""
        async with (
            raw_server(hang) as server,
            process(*CALL, "--yes", environ=environ_of_server(server.url)) as started,
        ):
            async with asyncio.timeout(30):
                while not server.requests:
                    await asyncio.sleep(0.01)
            started.send_signal(signal.SIGTERM)
            _, err = await asyncio.wait_for(started.communicate(), 30)

        assert started.returncode == 143
        assert b"a phone may be ringing" in err
        assert b"Traceback" not in err

    def test_amid_imports(self):
        """Ctrl-C while modules are imported is never swallowed."""
        program = (
            "import os, signal, sys\n"
            "class Swallows:\n"
            "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); sum(range(10))\n"
            "class Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'exotel_async.cli.app': Swallows()\n"
            "sys.meta_path.insert(0, Finder())\n"
            "from exotel_async.cli import main\n"
            "sys.exit(main(['--version']))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )

        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


class TestTerminal:
    @pytest.fixture
    def world(self, sim_today):
        return World(environ=environ_of(sim_today))

    @pytest.mark.parametrize("typed", [b"\n", b"\x04", b"no\n"])
    async def test_no(self, sim_today, world, typed):
        """Without a clear yes, nobody is dialled."""
        status, shown = await on_terminal(*CALL, world=world, until=b"[y/N]", typed=typed)

        assert status == 1
        assert "This rings ***0001, then ***0002, from ***1234, and costs money." in shown
        assert "Nothing was dialled" in shown
        assert sim_today.requests == []

    async def test_yes(self, sim_today, world):
        """A yes dials."""
        status, shown = await on_terminal(
            *CALL, "--no-follow", world=world, until=b"[y/N]", typed=b"y\n"
        )

        (sid,) = sim_today.calls
        assert status == 0
        assert f"Placed {sid}" in shown

    async def test_show_numbers(self, world):
        """The question shows whole numbers to who asked for them."""
        _, shown = await on_terminal(
            *CALL, "--show-numbers", world=world, until=b"[y/N]", typed=b"\n"
        )

        assert f"This rings {FROM}, then {TO}, from {EXOPHONE}" in shown

    async def test_table(self, sim_today, world):
        """Records come as a table, in colours."""
        sid = sim_today.add_call(status="busy")

        status, shown = await on_terminal("calls", "list", world=world, columns=130)

        assert status == 0
        assert COLOUR.search(shown)
        lines = COLOUR.sub("", shown).splitlines()
        assert any(sid in line and "busy" in line and "***0002" in line for line in lines)

    @pytest.mark.parametrize("columns", [80, 40])
    async def test_narrow(self, sim_today, world, columns):
        """Where a table does not fit, records come one after the other, nothing cut in two."""
        sids = [sim_today.add_call(status="busy") for _ in range(2)]

        _, shown = await on_terminal("calls", "list", world=world, columns=columns)

        lines = [line.strip() for line in COLOUR.sub("", shown).splitlines()]
        assert all(len(line) <= columns for line in lines)
        for sid in sids:
            assert any(re.fullmatch(rf"sid:? +{sid}", line) for line in lines)
        assert (
            sum(bool(re.fullmatch("created:? +[0-9-]{10} [0-9:]{8}", line)) for line in lines) == 2
        )

    async def test_no_colour(self, sim_today, world, monkeypatch):
        """NO_COLOR is heeded."""
        sim_today.add_call(status="busy")
        monkeypatch.setenv("NO_COLOR", "1")

        _, shown = await on_terminal("calls", "list", world=world)

        assert "busy" in shown
        assert "\x1b[31m" not in shown

    @pytest.mark.parametrize("typed", [b"no\n", b"\n", b"\x04", b"y\n"])
    async def test_demo_asks(self, sim_today, world, typed):
        """The demo as well says whom it would dial, and without a clear word dials nobody."""
        status, shown = await on_terminal(*LIVE, world=world, until=b"go on: ", typed=typed)

        assert status == 1
        assert "This dials ***0001, then ***0002, from ***1234: twice." in shown
        assert sim_today.requests == []

    async def test_demo_dials(self, sim_today, world):
        """Told to, it goes to whom the environment names; its steps are masked."""
        wrong = attrs.evolve(world, environ={**world.environ, "EXOTEL_API_TOKEN": "wrong"})

        status, shown = await on_terminal(*LIVE, world=wrong, until=b"go on: ", typed=b"dial\n")

        assert status == 1
        assert "401" in shown
        assert "call ***0001 ***0002 --caller-id ***1234" in COLOUR.sub("", shown)
        assert [request.status for request in sim_today.requests] == [401]


class TestSound:
    """Standard streams that are closed, or full."""

    @pytest.mark.parametrize(
        ("argv", "streams", "status", "lines"),
        [
            (CALL, "<&-", 2, 2),
            (("calls", "list"), ">&-", 4, 1),
            (("calls", "list"), "<&- >&- 2>&-", 4, 0),
        ],
    )
    def test_closed(self, argv, streams, status, lines):
        """A closed stream is as one that leads nowhere."""
        command = ["sh", "-c", f'"$0" -m exotel_async "$@" {streams}', sys.executable, *argv]
        done = subprocess.run(
            command,
            env=environ_of_server("127.0.0.1:9"),
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert done.returncode == status
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == lines

    @pytest.mark.skipif(not FULL.exists(), reason="only Linux has it")
    async def test_full(self, sim_today):
        """A call that was placed is told as such, though the disk is full."""
        with FULL.open("w") as full:  # noqa: ASYNC230
            ran = await run_process(*CALL, "--yes", environ=environ_for(sim_today), stdout=full)

        (sid,) = sim_today.calls
        assert ran.status == 3
        assert f"Placed {sid}: do not repeat it." in ran.err
        assert "Traceback" not in ran.err

    @pytest.mark.skipif(not FULL.exists(), reason="only Linux has it")
    def test_full_otherwise(self, monkeypatch, capsys):
        """What changes nothing fails in a line."""
        with FULL.open("w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            status = running.run(app, ["simulate", "--faults"])

        assert status == 1
        assert len(capsys.readouterr().err.splitlines()) == 1

    @pytest.mark.parametrize("option", ["--json", "--no-follow"])
    async def test_nobody_reads(self, cli, world, sim, option):
        """Nor is the Sid lost when whoever read it has gone."""

        def gone(_: object) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        ran = await cli(*CALL, "--yes", option, world=attrs.evolve(world, watch=gone))

        (sid,) = sim.calls
        assert ran.status == 3
        assert f"Placed {sid}: do not repeat it." in ran.err


class TestClosedPipe:
    async def test_no_traceback(self, sim_today):
        """Whoever stops reading, as `head` does, causes no traceback."""
        for n in range(300):
            sim_today.add_call(date_created=sim_today.clock.now() - timedelta(hours=1, seconds=n))
        reading, writing = os.pipe()
        argv = ("calls", "list", "--limit", "0", "--json")
        async with process(*argv, environ=environ_for(sim_today), stdout=writing) as started:
            os.close(writing)
            await asyncio.to_thread(os.read, reading, 10)
            os.close(reading)
            _, err = await asyncio.wait_for(started.communicate(), 30)

        assert started.returncode == 141
        assert err == b""

    async def test_plain(self, cli, sim, monkeypatch):
        """In a pipe there are no colours, and no line is broken, however narrow the window."""
        sid = sim.add_call()
        monkeypatch.setenv("COLUMNS", "20")
        monkeypatch.setenv("TERM", "xterm")

        ran = await cli("calls", "get", sid)

        assert "\x1b" not in ran.out
        assert any("From completed" in line and "To completed" in line
                   for line in ran.out.splitlines())  # fmt: skip
