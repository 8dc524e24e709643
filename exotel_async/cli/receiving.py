"""How are callbacks received that are only to be shown: verify, read, forward, keep, show, answer.

Exotel: Voice v1, "StatusCallback".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, tzinfo
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from exotel_async.errors import MalformedCallbackError, UnverifiedCallbackError
from exotel_async.models.clock import Clock
from exotel_async.models.events import StatusCallback
from exotel_async.wire.callback import decode_callback
from exotel_async.wire.tokens import CallbackTokens
from exotel_async.wire.values import IST

from .saved import Saved

MOST_BODY = 65_536  # bytes
_BODY_TIMEOUT = 5.0  # seconds
_METHODS = ("GET", "HEAD", "POST")

Forward = Callable[[bytes, str], Awaitable[int | None]]  # body, content type: the answer's status


@attrs.frozen(kw_only=True)
class Arrival:
    """A callback that came to a URL of ours."""

    at: datetime
    status: int  # what Exotel was answered
    kind: str | None  # of the event
    event: StatusCallback | None  # None: the body was no callback
    error: str | None = None


@attrs.frozen(kw_only=True, eq=False)
class Receiver:
    """Takes callbacks and tells of them; `keep` is told before Exotel has its answer."""

    tokens: CallbackTokens
    clock: Clock
    show: Callable[[Arrival], None]
    refuse: Callable[[str], None]  # is told of what came to no URL of ours
    keep: Callable[[Saved], None] = attrs.field(default=lambda _: None)
    forward: Forward | None = None
    zone: tzinfo = IST

    def url(self, base: str, *, ref: str = "") -> str:
        """Spell the URL for Exotel below a public one."""
        parts = urlsplit(base)
        token = self.tokens.mint(ref, now=self.clock.now())
        return parts._replace(path=f"{parts.path.rstrip('/')}/{token}").geturl()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        if request.method not in _METHODS:
            raise web.HTTPMethodNotAllowed(request.method, _METHODS)
        if request.method != "POST":
            return web.Response(text="OK")
        try:
            segment = request.path.rstrip("/").rpartition("/")[2]
            ref = self.tokens.verify(segment, now=self.clock.now()) or None
        except UnverifiedCallbackError as error:
            self.refuse(f"Refused (404) a callback from {request.remote}: {error}")
            return web.Response(status=404, text="Not found")
        try:
            body = await _read_body(request)
        except MalformedCallbackError as error:
            self.refuse(f"Refused (400) a callback from {request.remote}: {error}")
            return web.Response(status=400, text="Not a StatusCallback")
        return await self._take(request, body, ref)

    async def _take(self, request: web.Request, body: bytes, ref: str | None) -> web.Response:
        content_type = request.headers.get("Content-Type", "")
        query = request.rel_url.raw_query_string
        event, error = None, None
        try:
            event = decode_callback(
                body, content_type=content_type, query=query, time_zone=self.zone, ref=ref
            )
            status = await self._decide(body, content_type)
        except MalformedCallbackError as malformed:
            status, error = 400, str(malformed)
        at = self.clock.now()
        saved = Saved(at=at, content_type=content_type, query=query, status=status, body=body)
        try:
            self.keep(saved)
        except OSError as failure:  # Exotel is to try again later
            self.refuse(f"Could not save the callback: {failure}")
            status = 500
        kind = type(event).__name__ if event else None
        self.show(Arrival(at=at, status=status, kind=kind, event=event, error=error))
        return web.Response(status=status, text="OK" if status == 200 else "Not taken")

    async def _decide(self, body: bytes, content_type: str) -> int:
        """Answer what the other receiver answers; 502 where it gives no answer."""
        if self.forward is None:
            return 200
        return await self.forward(body, content_type) or 502


async def _read_body(request: web.Request) -> bytes:
    """Read the body, never more than allowed, and not for ever."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MOST_BODY:
                    raise MalformedCallbackError(f"its body has more than {MOST_BODY} bytes")
    except (web.RequestPayloadError, OSError) as error:  # a TimeoutError is an OSError
        raise MalformedCallbackError("its body did not arrive whole") from error
    return bytes(body)


@asynccontextmanager
async def serving(receiver: Receiver, *, host: str, port: int) -> AsyncIterator[int]:
    """Run a server for a receiver; yields its port."""
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", receiver.handle)
    # No access log: the token stands in the path.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
