"""A server made of a bare socket: it reads a request whole, then does just what a test says."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs

Act = Callable[[asyncio.StreamWriter], Awaitable[None]]


@attrs.define
class RawServer:
    """What the server saw; `requests` holds each request's head and body."""

    port: int = 0
    requests: list[bytes] = attrs.field(factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(status: str, body: bytes = b"", *, headers: str = "", length: int | None = None) -> Act:
    """Write an answer; `length` claims another length than the body has."""

    async def act(writer: asyncio.StreamWriter) -> None:
        claimed = len(body) if length is None else length
        head = f"HTTP/1.1 {status}\r\nContent-Length: {claimed}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        if length is not None:
            writer.close()

    return act


async def close(writer: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""
    writer.close()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection with a RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def hang(writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side gives up."""
    await asyncio.Event().wait()


async def half_a_head(writer: asyncio.StreamWriter) -> None:
    """Begin an answer, and close."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    writer.close()


async def hang_in_body(writer: asyncio.StreamWriter) -> None:
    """Send the head of a 200, and hang."""
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Call"')
    await asyncio.Event().wait()


@asynccontextmanager
async def raw_server(*acts: Act) -> AsyncIterator[RawServer]:
    """Serve: the first request meets the first act, and so on; the last act is for all others."""
    seen = RawServer()
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while not writer.is_closing():
                seen.requests.append(await _read_request(reader))
                await acts[min(len(seen.requests), len(acts)) - 1](writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)
