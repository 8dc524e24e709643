"""The one address that Exotel knows: receivers behind it take turns, and whoever is dead fails."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Door:
    """Passes each request on to the next receiver; what that leaves unanswered stays so."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port: int = 0
        self._turns = itertools.cycle(ports)
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _message(reader)
                writer.write(await _pass_on(request, port=next(self._turns)))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):  # one of both is gone
            pass
        finally:
            writer.close()


async def _pass_on(request: bytes, *, port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await _message(reader)
    finally:
        writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read a request or an answer, to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")
