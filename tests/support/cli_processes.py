"""Command lines as users start them: as processes, or on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import attrs
import pytest

from exotel_async.cli.app import app
from exotel_async.cli.running import run
from exotel_async.cli.simulate import environ_of
from exotel_async.cli.world import World
from exotel_async.simulator import Simulator

PIPE = asyncio.subprocess.PIPE


@attrs.frozen
class Ran:
    """How a command ended and what it printed."""

    status: int | None
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """Read standard output as one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environ_for(sim: Simulator | None = None, **more: str) -> dict[str, str]:
    """Spell the environment of a process."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    found = environ_of(sim) if sim is not None else {}
    return kept | found | {"PYTHONWARNINGS": "error", "PYTHONUTF8": "1"} | more


@asynccontextmanager
async def process(
    *argv: str, environ: Mapping[str, str], **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start `python -m exotel_async …`; it is over when this ends, whatever happened."""
    pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, **options}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exotel_async", *argv, env=dict(environ), **pipes
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
        started._transport.close()  # its pipes, too: nothing else closes them


async def end_of(started: asyncio.subprocess.Process, typed: bytes | None = None) -> Ran:
    """Wait for a process's end."""
    out, err = await asyncio.wait_for(started.communicate(typed), 30)
    return Ran(started.returncode, (out or b"").decode(), (err or b"").decode())


async def run_process(
    *argv: str, environ: Mapping[str, str], typed: bytes | None = None, **options: Any
) -> Ran:
    """Run `python -m exotel_async …` to its end."""
    async with process(*argv, environ=environ, **options) as started:
        return await end_of(started, typed)


async def read_until(stream: asyncio.StreamReader, text: bytes) -> bytes:
    """Read until a text has come."""
    return await asyncio.wait_for(stream.readuntil(text), 30)


async def on_terminal(
    *argv: str, world: World, typed: bytes = b"", until: bytes = b"", columns: int = 120
) -> tuple[int, str]:
    """Run a command line on a terminal of its own; returns its status and what it showed."""
    ours, theirs = pytest.importorskip("pty").openpty()
    shown, seen = bytearray(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):  # the other end was closed
            while chunk := os.read(ours, 4096):
                shown.extend(chunk)
                if until in shown:
                    loop.call_soon_threadsafe(seen.set)

    reading = asyncio.create_task(asyncio.to_thread(read))
    try:
        with _standard_streams_at(theirs, columns):
            running = asyncio.create_task(asyncio.to_thread(run, app, argv, world=world))
            await asyncio.wait({running, asyncio.ensure_future(seen.wait())}, timeout=30,
                               return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
            os.write(ours, typed)
            status = await asyncio.wait_for(running, 30)
    finally:
        seen.set()
        await asyncio.wait_for(reading, 30)
        os.close(ours)
    return status, shown.decode()


def _standard_streams_at(terminal: int, columns: int) -> ExitStack:
    """Put a terminal in the place of the standard streams; it is closed in the end."""
    with ExitStack() as undone:
        undone.callback(os.close, terminal)
        patch = undone.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns))
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            stream = os.fdopen(terminal, mode, encoding="utf-8", closefd=False)
            undone.callback(stream.close)
            patch.setattr(sys, name, stream)
        return undone.pop_all()
