"""Says who is let in: the listening socket, which can also refuse or cut off who comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

from .faults import FaultBook
from .wiring import reset

HOST = "127.0.0.1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Listener:
    """A web server on loopback; closed for a while, new connections are refused."""

    def __init__(self, handler: Handler, faults: FaultBook, *, port: int) -> None:
        self.port = port
        self._handler = handler
        self._faults = faults
        self._busy: set[object] = set()  # connections with a request under way
        self._life = AsyncExitStack()
        self._web: web.Server | None = None
        self._socket: socket.socket | None = None
        self._opening: asyncio.Task[asyncio.Server] | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self._serve)
        # A handler that hangs on purpose ends when its client leaves.
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True
        )
        async with AsyncExitStack() as life:
            await runner.setup()
            life.push_async_callback(runner.cleanup)
            life.callback(self.refuse)
            self._web = runner.server
            self.admit()
            await self._opened()
            self._life = life.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._life.aclose()

    def admit(self) -> None:
        """Listen; whoever connects from now on is let in. Harmless when it is so."""
        if self._socket is not None:
            return
        self._socket = _listening_socket(self.port)
        self.port = self._socket.getsockname()[1]
        loop = asyncio.get_running_loop()
        serve = loop.create_server(lambda: _Doorman(self), sock=self._socket)
        self._opening = loop.create_task(serve)

    def refuse(self) -> None:
        """Stop listening; end the connections that idle now, the others after their answer."""
        listening, self._socket = self._socket, None
        opening, self._opening = self._opening, None
        if listening is None or opening is None:
            return
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            opening.result().close()
        else:
            opening.cancel()
        listening.close()
        for connection in list(self._web.connections) if self._web else ():
            if connection in self._busy:
                connection.close()
            else:
                connection.force_close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self._busy.add(request.protocol)
        try:
            return await self._handler(request)
        finally:
            self._busy.discard(request.protocol)

    async def _opened(self) -> None:
        if self._opening is not None:
            await self._opening

    def protocol(self) -> asyncio.Protocol:
        """Make what serves one connection."""
        assert self._web is not None  # noqa: S101 - nobody is let in before
        return self._web()

    def is_cut_off(self) -> bool:
        """Draw whether a new connection is reset."""
        return self._faults.strike("connection") is not None


class _Doorman(asyncio.Protocol):
    """Decides about a connection before a byte of it is read."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._listener.is_cut_off():
            reset(transport)
            return
        inside = self._listener.protocol()
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a socket
        transport.set_protocol(inside)
        inside.connection_made(transport)


def _listening_socket(port: int) -> socket.socket:
    """Make a socket that takes connections from now on, whoever serves them later."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen(128)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
