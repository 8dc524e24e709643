"""How are callbacks received that are only to be shown: read, forward, keep, show, answer.

Exotel: Voice v1, "StatusCallback".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, tzinfo

import attrs
from aiohttp import web

from exotel_async.errors import CallbackError, MalformedCallbackError, UnverifiedCallbackError
from exotel_async.models.clock import Clock
from exotel_async.models.events import StatusCallback
from exotel_async.webhooks.reading import Letter, greeting, read_letter
from exotel_async.wire.callback_url import callback_url
from exotel_async.wire.tokens import CallbackTokens
from exotel_async.wire.values import IST

from .saved import Saved

MOST_BODY = 65_536  # bytes

Forward = Callable[[Letter], Awaitable[int | None]]  # the answer's status


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
        return callback_url(base, self.tokens, ref=ref, now=self.clock.now())

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        if (answer := greeting(request)) is not None:
            return answer
        try:
            letter = await read_letter(
                request, tokens=self.tokens, now=self.clock.now(), max_body=MOST_BODY
            )
        except UnverifiedCallbackError as error:
            return self._refused(request, error, web.Response(status=404, text="Not found"))
        except MalformedCallbackError as error:
            answer = web.Response(status=400, text="Not a StatusCallback")
            return self._refused(request, error, answer)
        except web.HTTPRequestEntityTooLarge:
            self.refuse(f"Refused (413) a callback from {request.remote}: it is too large")
            raise
        return await self._take(letter)

    def _refused(
        self, request: web.Request, error: CallbackError, answer: web.Response
    ) -> web.Response:
        self.refuse(f"Refused ({answer.status}) a callback from {request.remote}: {error}")
        return answer

    async def _take(self, letter: Letter) -> web.Response:
        event, error = None, None
        try:
            event = letter.event(zone=self.zone)
            status = await self._decide(letter)
        except MalformedCallbackError as malformed:
            status, error = 400, str(malformed)
        at = self.clock.now()
        try:
            self.keep(_saved(letter, at=at, status=status))
        except OSError as failure:  # Exotel is to try again later
            self.refuse(f"Could not save the callback: {failure}")
            status = 500
        kind = type(event).__name__ if event else None
        self.show(Arrival(at=at, status=status, kind=kind, event=event, error=error))
        return web.Response(status=status, text="OK" if status == 200 else "Not taken")

    async def _decide(self, letter: Letter) -> int:
        """Answer what the other receiver answers; 502 where it gives no answer."""
        if self.forward is None:
            return 200
        return await self.forward(letter) or 502


def _saved(letter: Letter, *, at: datetime, status: int) -> Saved:
    return Saved(
        at=at,
        content_type=letter.content_type,
        query=letter.query,
        status=status,
        body=letter.body,
    )


class _Complaints(logging.Handler):
    """Tells of what aiohttp could not read, by the error's kind: its text may hold the token."""

    def __init__(self, refuse: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._refuse = refuse

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        if kind is BrokenPipeError:  # nobody reads what we show: that is told elsewhere
            return
        what = kind.__name__ if kind else "it says no more"
        self._refuse(f"A request could not be served: {what}")


def _logger_for(receiver: Receiver) -> logging.Logger:
    """Make a logger for aiohttp that belongs to no tree: nobody else hears of it."""
    logger = logging.Logger("exotel_async.cli", logging.WARNING)  # noqa: LOG001
    logger.addHandler(_Complaints(receiver.refuse))
    return logger


@asynccontextmanager
async def serving(receiver: Receiver, *, host: str, port: int) -> AsyncIterator[int]:
    """Run a server for a receiver; yields its port."""
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", receiver.handle)
    # No access log: the token stands in the path.
    runner = web.AppRunner(app, access_log=None, logger=_logger_for(receiver), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
