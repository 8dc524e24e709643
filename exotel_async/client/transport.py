"""How does a request travel: the only module that holds an aiohttp session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache

import aiohttp
import attrs
from yarl import URL

from exotel_async.errors import (
    ClientClosedError,
    ConfigurationError,
    NoAnswerError,
    NotSentError,
    mask_secrets,
)
from exotel_async.wire.answer import Answer

_LARGEST_BODY = 2**25  # bytes; a page of records has a few hundred thousand
_LONGEST_CONNECT = 10.0  # seconds, of the time-out of one try
# What aiohttp raises before a byte of the request can have left, and nothing else.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@attrs.frozen(kw_only=True, eq=False)
class Envelope:
    """A request as it goes over the wire."""

    method: str
    url: str
    headers: dict[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    fresh: bool = False  # on a connection of its own
    timeout: float = 30.0  # seconds, connecting to last byte


class Transport:
    """Keeps the sessions; opened and closed as often as its users enter and leave it.

    A POST on a kept-alive connection fails where the server is just closing it, and nobody can
    tell whether it was read. So what must not be repeated goes on a fresh connection; only with
    a session of the user's own it goes as that one's connector decides.
    """

    def __init__(self, session: aiohttp.ClientSession | None = None) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigurationError("session must be an aiohttp.ClientSession or None")
        self._brought = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sessions: _Sessions | None = None
        self._users = 0
        self._put_out = 0  # users whose sessions were closed before they left

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._sessions is not None and not self._sessions.kept.closed

    def open(self) -> None:
        """Enter; the first one opens the sessions."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._users and not self._loop.is_closed():
                raise ConfigurationError("the client is open in another event loop")
            # Whoever is left from a loop that ended never leaves.
            self._loop, self._sessions, self._users, self._put_out = loop, None, 0, 0
        if self._sessions is None:
            self._sessions = _open_sessions(self._brought)
        self._users += 1

    async def leave(self) -> None:
        """Leave; the last one closes what was opened."""
        if self._put_out:
            self._put_out -= 1
            return
        self._users = max(0, self._users - 1)
        if self._users == 0:
            await self._close_sessions()

    async def close(self) -> None:
        """Close what was opened here, whoever still uses it; twice is harmless."""
        self._put_out += self._users
        self._users = 0
        await self._close_sessions()

    async def _close_sessions(self) -> None:
        # Forgotten before the first await: who enters meanwhile opens sessions of its own.
        sessions, self._sessions = self._sessions, None
        if sessions is not None and self._brought is None:
            try:
                await sessions.kept.close()
            finally:
                await sessions.fresh.close()

    def require_open(self) -> _Sessions:
        """Return the sessions; raise ClientClosedError where there are none."""
        if self._sessions is None or self._sessions.kept.closed:
            raise ClientClosedError(
                "the client is not open: use `async with client:`, or its lifespan in an "
                "aiohttp application"
            )
        if self._loop is not asyncio.get_running_loop():
            raise ClientClosedError("the client is open in another event loop than this one")
        return self._sessions

    async def exchange(self, envelope: Envelope) -> Answer:
        """Make one try: the answer, whole or broken off, or NotSentError, or NoAnswerError."""
        sessions = self.require_open()
        try:
            return await _exchange(sessions.fresh if envelope.fresh else sessions.kept, envelope)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = _failure(error, envelope.timeout)
        raise failure  # out here, so that aiohttp's own error is not its context

    @asynccontextmanager
    async def stream(self, envelope: Envelope) -> AsyncIterator[Incoming]:
        """Make one try at what is large: its head, and its body as it comes.

        The envelope's time-out is the longest silence, not the end of it all. Raises, as the
        body does, NotSentError or NoAnswerError.
        """
        response = await _begun(self.require_open().kept, envelope)
        try:
            yield Incoming(response, envelope.timeout)
        finally:
            response.close()  # nothing of what was not read is waited for


class Incoming:
    """An answer whose body is still on its way."""

    def __init__(self, response: aiohttp.ClientResponse, timeout: float) -> None:
        self._response = response
        self._timeout = timeout
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """Give what has come of the body, empty at its end; NoAnswerError where it breaks off."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = _failure(error, self._timeout)
        raise failure


@attrs.frozen(eq=False)
class _Sessions:
    """What is open: one session that keeps connections, and one that does not."""

    kept: aiohttp.ClientSession
    fresh: aiohttp.ClientSession


def _open_sessions(brought: aiohttp.ClientSession | None) -> _Sessions:
    if brought is None:
        return _Sessions(_new_session(), _new_session(force_close=True))
    if brought.auth is not None:
        raise ConfigurationError(
            "session must not have auth of its own: Exotel's credentials go in the same header"
        )
    return _Sessions(brought, brought)


async def _exchange(session: aiohttp.ClientSession, envelope: Envelope) -> Answer:
    async with await _request(session, envelope, whole=True) as response:
        body, problem = await _read(response)
        return Answer(status=response.status, headers=response.headers, body=body, problem=problem)


async def _request(
    session: aiohttp.ClientSession, envelope: Envelope, *, whole: bool
) -> aiohttp.ClientResponse:
    return await session.request(
        envelope.method,
        URL(envelope.url, encoded=True),
        data=envelope.body,
        headers=envelope.headers,
        allow_redirects=False,  # a redirect would take the credentials, or the dial, elsewhere
        raise_for_status=False,
        timeout=_limits(envelope.timeout, whole=whole),
    )


@lru_cache(maxsize=64)
def _limits(timeout: float, *, whole: bool) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=timeout if whole else None,
        connect=min(_LONGEST_CONNECT, timeout / 2),
        sock_read=None if whole else timeout,
    )


async def _begun(session: aiohttp.ClientSession, envelope: Envelope) -> aiohttp.ClientResponse:
    try:
        return await _request(session, envelope, whole=False)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = _failure(error, envelope.timeout)
    raise failure


def _failure(error: BaseException, timeout: float) -> NotSentError | NoAnswerError:
    """Name what aiohttp raised."""
    failure: NotSentError | NoAnswerError
    if isinstance(error, _UNSENT):
        failure = NotSentError(f"no connection to Exotel: {_reason(error)}")
        failure.__cause__ = _harmless(error)
    elif isinstance(error, TimeoutError):
        failure = NoAnswerError(f"no answer within {timeout:g} s")
        failure.__cause__ = error
    else:
        failure = NoAnswerError(f"the connection broke: {_reason(error)}")
        failure.__cause__ = _harmless(error)
    return failure


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, BaseException | None]:
    """Read the body; a status that came must not be forgotten because the body did not."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _LARGEST_BODY:
                return b"", ValueError(f"more than {_LARGEST_BODY} bytes")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return bytes(body), _harmless(error)
    return bytes(body), None


def _harmless(error: BaseException) -> BaseException:
    """Replace what carries the request: its credentials, and the whole of its URL."""
    tells_all = isinstance(error, aiohttp.ClientResponseError)
    if tells_all or mask_secrets(repr(error) + str(error)) != repr(error) + str(error):
        return aiohttp.ClientError(_reason(error))
    return error


def _new_session(*, force_close: bool = False) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # No limit: the pacer is one, and a second one would count as slow connecting.
        connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _reason(error: BaseException) -> str:
    """Say what went wrong; a ClientResponseError's own text holds the URL."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return mask_secrets(f"{type(error).__name__}: {text}" if text else type(error).__name__)
