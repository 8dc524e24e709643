"""A real application that receives StatusCallbacks, and bare sockets to talk to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from exotel_async import CallbackTokens, StatusCallback
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

SECRET = "a secret of sixteen bytes and more"
BODY = b"CallSid=a1&Status=completed&From=%2B919876543210"
FORM = "application/x-www-form-urlencoded"


@attrs.define
class Receiver:
    """A running server, and the events that its handler saw."""

    callbacks: StatusCallbacks
    events: list[StatusCallback]
    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def path(self, ref: str = "order-42", *, prefix: str = "/exotel") -> str:
        """Spell the path of a callback URL that is ours."""
        return self.callbacks.url(self.base + prefix, ref=ref).removeprefix(self.base)

    async def talk(self, *chunks: bytes, close: bool = False, after: bytes = b"") -> bytes:
        """Send bytes as they are; return the answer.

        `after`: what has to come back before the second chunk is sent.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            if after and chunk is chunks[0]:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(after)
        if close:
            writer.transport.abort()
            return b""
        try:
            return await _read_answer(reader)
        finally:
            writer.close()
            await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


def request(path: str, *headers: str, method: str = "POST", body: bytes = b"") -> bytes:
    """Spell a request's bytes."""
    head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *headers))
    return f"{head}\r\n\r\n".encode() + body


def collecting(**options) -> tuple[StatusCallbacks, list[StatusCallback]]:
    """Make callbacks whose one handler collects all events."""
    events: list[StatusCallback] = []
    callbacks = StatusCallbacks(**{"tokens": CallbackTokens([SECRET]), **options})

    @callbacks.on(StatusCallback)
    async def collect(event: StatusCallback) -> None:
        events.append(event)

    return callbacks, events


@asynccontextmanager
async def serving(app: web.Application, **options) -> AsyncIterator[int]:
    """Run an application on a free port of loopback."""
    options = {"access_log_class": MaskingAccessLogger, "shutdown_timeout": 1, **options}
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def receiving(
    mount: Callable[[web.Application, StatusCallbacks], object] | None = None, **options
) -> AsyncIterator[Receiver]:
    """Run an application with callbacks mounted under /exotel/, or as `mount` says."""
    callbacks, events = collecting(**options)
    app = web.Application()
    if mount is None:
        app.add_subapp("/exotel/", callbacks.app)
    else:
        mount(app, callbacks)
    app.cleanup_ctx.append(callbacks.lifespan)
    async with serving(app) as port:
        yield Receiver(callbacks, events, port)
