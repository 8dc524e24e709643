"""How is one request that may bring a StatusCallback verified and read: the token, then the body.

Exotel: Voice v1, "StatusCallback".
"""

from __future__ import annotations

import asyncio
from datetime import datetime, tzinfo

import attrs
from aiohttp import web

from exotel_async.errors import MalformedCallbackError
from exotel_async.models.events import StatusCallback
from exotel_async.wire.callback import decode_callback
from exotel_async.wire.tokens import CallbackTokens, RefKind

_METHODS = ("GET", "HEAD", "POST")
_BODY_TIMEOUT = 5.0  # seconds; with the 10 of the handlers as long as Exotel waits


@attrs.frozen(kw_only=True)
class Letter:
    """What a request brought, not decoded yet."""

    body: bytes = attrs.field(repr=False)
    content_type: str
    query: str = attrs.field(repr=False)  # as it came
    ref: str | None  # out of a verified URL
    kind: RefKind | None = None  # whose ref it is

    def event(self, *, zone: tzinfo) -> StatusCallback:
        """Decode it; raises MalformedCallbackError."""
        return decode_callback(
            self.body,
            content_type=self.content_type,
            query=self.query,
            time_zone=zone,
            ref=self.ref,
        )


def greeting(request: web.Request) -> web.Response | None:
    """Answer what is no callback: None for a POST; raises HTTPMethodNotAllowed."""
    if request.method not in _METHODS:
        raise web.HTTPMethodNotAllowed(request.method, _METHODS)
    return None if request.method == "POST" else web.Response(text="OK")


async def read_letter(
    request: web.Request, *, tokens: CallbackTokens | None, now: datetime, max_body: int
) -> Letter:
    """Check the token before anything of the body is read, then read it.

    Raises UnverifiedCallbackError, MalformedCallbackError, HTTPRequestEntityTooLarge.
    """
    vouched = None
    if tokens is not None:
        segment = request.path.rstrip("/").rpartition("/")[2]
        vouched = tokens.read(segment, now=now)
    if vouched is not None and not vouched.ref:
        vouched = None  # it names nothing
    return Letter(
        body=await _read_body(request, most=max_body),
        content_type=request.headers.get("Content-Type", ""),
        query=request.rel_url.raw_query_string,
        ref=vouched.ref if vouched else None,
        kind=vouched.kind if vouched else None,
    )


async def _read_body(request: web.Request, *, most: int) -> bytes:
    """Read the body, never more than allowed: a sub-app's client_max_size is not heeded."""
    if (request.content_length or 0) > most:
        raise _too_large(request, most)
    body = bytearray()
    try:
        # aiohttp itself would wait for ever, even behind a chunk that it could not read.
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most:
                    raise _too_large(request, most)
    except (web.RequestPayloadError, OSError) as error:  # a TimeoutError is an OSError
        raise MalformedCallbackError("its body did not arrive whole") from error
    return bytes(body)


def _too_large(request: web.Request, most: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(
        max_size=most, actual_size=request.content_length or most + 1
    )
