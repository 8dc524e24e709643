"""Command lines as the processes that users start."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from exotel_async.cli.simulate import environ_of
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
