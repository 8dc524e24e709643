"""Says how a request is read from HTTP, and how a reply, good or bad, becomes bytes."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web
from aiohttp.http import HttpProcessingError

from .carrier import Asked
from .catalogue import Reply
from .checks import Pairs, RefusedError, bad

_RESET = struct.pack("ii", 1, 0)  # linger for no time at all: close() sends a RST


async def read(request: web.Request) -> Asked:
    """Read a request whole."""
    form, problem = await _form(request)
    return Asked(
        method=request.method,
        raw_path=request.rel_url.raw_path,
        query=tuple(request.query.items()),
        form=form,
        authorization=request.headers.get("Authorization", ""),
        range=request.headers.get("Range", ""),
        if_range=request.headers.get("If-Range", ""),
        problem=problem,
    )


async def _form(request: web.Request) -> tuple[Pairs, RefusedError | None]:
    """Read a form; where that can't be done, say why as Exotel would."""
    try:
        form = await request.post()
    except web.HTTPRequestEntityTooLarge:
        return (), RefusedError(413, "The request is too large", mistake=True)
    except (HttpProcessingError, web.RequestPayloadError, LookupError, RuntimeError, ValueError):
        return (), bad("The form in the body of the request could not be read")
    pairs = tuple((name, value) for name, value in form.items() if isinstance(value, str))
    if len(pairs) < len(form):
        return pairs, bad("Parameters are text: a file was sent")
    return pairs, None


async def write(
    request: web.Request, reply: Reply, *, closing: asyncio.Event
) -> web.StreamResponse:
    """Send a reply, byte by byte where that is the fault; `closing` ends what hangs."""
    if reply.delay:
        await _wait(closing, reply.delay)
    plain = request.method == "HEAD" or (reply.ending == "keep" and not reply.pause)
    if plain and reply.status is not None:
        return web.Response(
            status=reply.status,
            body=reply.body,
            headers={"Content-Type": _content_type(reply), **reply.headers},
        )
    if reply.status is None:
        return await _end_without_head(request, reply, closing=closing)
    return await _write_slowly(request, reply, closing=closing)


async def _end_without_head(
    request: web.Request, reply: Reply, *, closing: asyncio.Event
) -> web.StreamResponse:
    if request.transport is not None and reply.body:
        request.transport.write(reply.body)
    await _end(request, reply, closing=closing)
    return web.Response()  # nobody reads it: the connection is gone


async def _write_slowly(
    request: web.Request, reply: Reply, *, closing: asyncio.Event
) -> web.StreamResponse:
    response = web.StreamResponse(
        status=reply.status or 200, headers={"Content-Type": _content_type(reply), **reply.headers}
    )
    response.content_length = len(reply.body) + reply.missing
    await response.prepare(request)
    half = len(reply.body) // 2 if reply.pause else len(reply.body)
    await response.write(reply.body[:half])
    if reply.pause:
        await _wait(closing, reply.pause)
        await response.write(reply.body[half:])
    if reply.missing:
        await _end(request, reply, closing=closing)
    return response


async def _end(request: web.Request, reply: Reply, *, closing: asyncio.Event) -> None:
    transport = request.transport
    if reply.ending == "hang":
        await closing.wait()
    if transport is None:
        return
    if reply.ending == "close":
        transport.close()
    else:
        reset(transport)


async def _wait(closing: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        pass


def reset(transport: asyncio.BaseTransport) -> None:
    """Cut a connection with a RST."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    else:
        transport.close()


def _content_type(reply: Reply) -> str:
    is_text = not reply.content_type.startswith("audio/")
    return f"{reply.content_type}; charset=utf-8" if is_text else reply.content_type
