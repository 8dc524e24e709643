"""Processes: how they end, what they leave behind, and what a terminal shows."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta

import click
import pytest
from cli_processes import environ_for, process, read_until, run_process
from raw_server import hang, raw_server

from exotel_async import NotSentError
from exotel_async.cli import main, running
from exotel_async.cli.until import Until
from exotel_async.cli.world import Job

FROM, TO, EXOPHONE = "+919812300001", "+919812300002", "08040001234"
CALL = ("call", FROM, TO, "--caller-id", EXOPHONE)
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environ_of_server(url: str) -> dict[str, str]:
    return environ_for(
        EXOTEL_ACCOUNT_SID="a", EXOTEL_API_KEY="b", EXOTEL_API_TOKEN="c",
        EXOTEL_SUBDOMAIN=url.removeprefix("http://"),
    )  # fmt: skip


async def on_terminal(*argv, environ, typed=b"", until=b"", interrupt=False):
    """Run a command on a terminal of its own; returns its status and what it showed."""
    ours, theirs = pty.openpty()
    shown, seen = bytearray(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):  # the other end was closed
            while chunk := os.read(ours, 4096):
                shown.extend(chunk)
                if until in shown:
                    loop.call_soon_threadsafe(seen.set)

    async with process(
        *argv, environ=environ | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as started:  # fmt: skip
        os.close(theirs)
        reading = asyncio.create_task(asyncio.to_thread(read))
        await asyncio.wait_for(seen.wait(), 30)
        os.write(ours, typed)
        if interrupt:
            started.send_signal(signal.SIGINT)
        await asyncio.wait_for(started.wait(), 30)
        await asyncio.wait_for(reading, 30)
        os.close(ours)
        return started.returncode, shown.decode()


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
        assert done.stderr == 'exotel-async needs: pip install "exotel-async[cli]"\n'
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
        """However a job ends, there is a status, and a line at most."""

        async def run():
            raise error

        assert running.run(command_that(run, serves=serves), []) == 0  # no words: help
        assert running.run(command_that(run, serves=serves), ["--"]) == status
        assert len(capsys.readouterr().err.splitlines()) <= 1

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
    async def test_json(self, cli):
        """As JSON, results are objects on standard output, and the steps stand beside."""
        ran = await cli("demo", "--json", "--show-numbers")

        assert ran.status == 0
        assert {one["to"] for one in ran.objects if "price" in one} == {TO}
        assert [line[0] for line in ran.err.splitlines()] == ["$"] * 6


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

    async def test_while_asking(self, sim_today):
        """Ctrl-C at the question dials nobody."""
        status, shown = await on_terminal(
            *CALL, environ=environ_for(sim_today), until=b"[y/N]", interrupt=True
        )

        assert status == 130
        assert "Traceback" not in shown
        assert sim_today.requests == []


class TestTerminal:
    @pytest.mark.parametrize("typed", [b"\n", b"\x04"])
    async def test_no(self, sim_today, typed):
        """Without a clear yes, nobody is dialled."""
        status, shown = await on_terminal(
            *CALL, environ=environ_for(sim_today), until=b"[y/N]", typed=typed
        )

        assert status == 1
        assert "This rings ***0001, then ***0002, from ***1234, and costs money." in shown
        assert "Nothing was dialled" in shown
        assert sim_today.requests == []

    async def test_yes(self, sim_today):
        """A yes dials."""
        status, shown = await on_terminal(
            *CALL, "--no-follow", environ=environ_for(sim_today), until=b"[y/N]", typed=b"y\n"
        )

        (sid,) = sim_today.calls
        assert status == 0
        assert f"Placed {sid}" in shown

    async def test_table(self, sim_today):
        """Records come as a table, in colours."""
        sid = sim_today.add_call(status="busy")

        status, shown = await on_terminal(
            "calls", "list", environ=environ_for(sim_today), until=b"***0002"
        )

        assert status == 0
        assert COLOUR.search(shown)
        lines = COLOUR.sub("", shown).splitlines()
        assert any(sid in line and "busy" in line for line in lines)

    async def test_no_colour(self, sim_today):
        """NO_COLOR is heeded."""
        sim_today.add_call(status="busy")

        _, shown = await on_terminal(
            "calls", "list", environ=environ_for(sim_today, NO_COLOR="1"), until=b"***0002"
        )

        assert "\x1b[31m" not in shown


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

    async def test_plain(self, sim_today):
        """In a pipe there are no colours, and no line is broken, however narrow the window."""
        sid = sim_today.add_call()

        ran = await run_process(
            "calls", "get", sid, environ=environ_for(sim_today, COLUMNS="20", TERM="xterm")
        )

        assert "\x1b" not in ran.out
        assert any("From completed" in line and "To completed" in line
                   for line in ran.out.splitlines())  # fmt: skip
