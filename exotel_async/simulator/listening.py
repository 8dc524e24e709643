"""Says who is let in: the listening socket, which can also refuse or cut off who comes."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Self

from aiohttp import web
from aiohttp.http import HttpProcessingError

from .control import PREFIX
from .faults import FaultBook
from .wiring import reset

HOST = "127.0.0.1"
_BACKLOG = 1024
_REST = 1.0  # seconds of real time, when no connection can be accepted

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger = logging.getLogger("exotel_async.simulator")


class Listener:
    """A web server on loopback; closed for a while, new connections are refused.

    It listens by itself, since a server of asyncio's can't be opened and closed at once.
    """

    def __init__(
        self, handler: Handler, faults: FaultBook, stir: Callable[[], None], *, port: int
    ) -> None:
        self.port: int = port
        self._stir = stir  # is told of all that goes on
        self._handler = handler
        self._faults = faults
        self._busy: set[object] = set()  # connections with a request under way
        self._accepting: asyncio.Future[None] | None = None
        self._arriving: set[asyncio.Task[object]] = set()
        self.at_the_door: set[asyncio.Transport] = set()  # connections not let in yet
        self._life = AsyncExitStack()
        self._web: web.Server | None = None
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self._serve)
        # A handler that hangs on purpose ends when its client leaves. What aiohttp says of
        # requests that are none would show them, with numbers and all.
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_Masked(_logger),
            shutdown_timeout=1.0,
            handler_cancellation=True,
        )
        async with AsyncExitStack() as life:
            await runner.setup()
            life.push_async_callback(runner.cleanup)
            life.push_async_callback(self._close)
            self._web = runner.server
            self.admit()
            self._life = life.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._life.aclose()

    async def _close(self) -> None:
        self.refuse()
        await asyncio.gather(*self._arriving, return_exceptions=True)
        for transport in list(self.at_the_door):
            transport.abort()

    def admit(self) -> None:
        """Listen; whoever connects from now on is let in. Harmless when it is so."""
        if self._socket is None:
            self._socket = _listening_socket(self.port)
            self.port = int(self._socket.getsockname()[1])
            self._begin_to_accept(self._socket)

    def refuse(self) -> None:
        """Stop listening; end the connections that idle now, the others after their answer."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        with suppress(OSError):  # or a process forked from this one keeps it listening
            listening.shutdown(socket.SHUT_RDWR)
        if self._accepting is None:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        else:
            self._accepting.cancel()  # which closes it
        for connection in list(self._web.connections) if self._web else ():
            if connection in self._busy:
                connection.close()
            else:
                connection.force_close()

    def _begin_to_accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(listening, self._accept, listening)
        except NotImplementedError:  # the usual loop of Windows
            self._accepting = asyncio.ensure_future(self._accept_all(listening))
            self._accepting.add_done_callback(lambda _: listening.close())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # it was gone before it was let in
                continue
            except OSError as error:  # too many open files, say: not to be tried without end
                self._rest(listening, error)
                return
            connection.setblocking(False)
            self._welcome(connection)

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        _logger.warning("connections can't be accepted for a second: %s", error)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(_REST, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if self._socket is listening:
            self._begin_to_accept(listening)

    async def _accept_all(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            except ConnectionError:
                continue
            except OSError as error:
                _logger.warning("connections can't be accepted for a second: %s", error)
                await asyncio.sleep(_REST)
            else:
                self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        self._stir()
        loop = asyncio.get_running_loop()
        let_in = loop.connect_accepted_socket(lambda: _Doorman(self), connection)
        arriving = loop.create_task(let_in)
        self._arriving.add(arriving)
        arriving.add_done_callback(self._arriving.discard)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self._stir()
        self._busy.add(request.protocol)
        try:
            return await self._handler(request)
        finally:
            self._busy.discard(request.protocol)
            self._stir()

    def protocol(self) -> asyncio.Protocol:
        """Make what serves one connection."""
        assert self._web is not None  # noqa: S101 - nobody is let in before
        return self._web()

    def may_cut_off(self) -> bool:
        """Tell whether a new connection may be reset."""
        return self._faults.may_strike("connection")

    def is_cut_off(self) -> bool:
        """Draw whether a new connection is reset."""
        return self._faults.strike("connection") is not None


class _Doorman(asyncio.Protocol):
    """Decides about a connection before anything of it is heeded."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a socket
        self._transport = transport
        self._listener.at_the_door.add(transport)
        if not self._listener.may_cut_off():
            self._let_in(transport)

    def connection_lost(self, _: Exception | None) -> None:
        assert self._transport is not None  # noqa: S101 - it was made
        self._listener.at_the_door.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """See only whether this is Exotel's own; who steers the simulator is let in always."""
        transport = self._transport
        assert transport is not None  # noqa: S101 - it was made
        if f" {PREFIX}".encode() not in data.partition(b"\r\n")[0] and self._listener.is_cut_off():
            reset(transport)
            return
        self._let_in(transport).data_received(data)

    def _let_in(self, transport: asyncio.Transport) -> asyncio.Protocol:
        inside = self._listener.protocol()
        self._listener.at_the_door.discard(transport)
        transport.set_protocol(inside)
        inside.connection_made(transport)
        return inside


class _Masked(logging.LoggerAdapter[logging.Logger]):
    """Says of requests that are none only that they came."""

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """Log a message; of what came over the wire nothing is shown."""
        if isinstance(kwargs.get("exc_info"), HttpProcessingError):
            self.logger.warning("refused what was no HTTP request")
        else:
            super().log(level, msg, *args, **kwargs)  # type: ignore[arg-type]


def _listening_socket(port: int) -> socket.socket:
    """Make a socket that takes connections from now on, whoever serves them later."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:  # a port beyond all ports is an OverflowError
        made.close()
        raise
    return made
