"""How does a request travel: the only module that holds an aiohttp session."""

from __future__ import annotations

import aiohttp
import attrs
from yarl import URL

from exotel_async.errors import (
    ClientClosedError,
    NoAnswerError,
    NotSentError,
)
from exotel_async.wire.answer import Answer

_LONGEST_CONNECT = 10.0  # seconds, of the time-out of one try
# What aiohttp raises before a byte of the request can have left, and nothing else.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@attrs.frozen(kw_only=True)
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
        self._own = session is None
        self._session = session
        self._fresh = session
        self._users = 0

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._users > 0

    def open(self) -> None:
        """Enter; the first one opens the sessions."""
        if self._own and self._users == 0:
            self._session = _new_session()
            self._fresh = _new_session(force_close=True)
        self._users += 1

    async def leave(self) -> None:
        """Leave; the last one closes what was opened."""
        if self._users == 1:
            await self.close()
        self._users = max(0, self._users - 1)

    async def close(self) -> None:
        """Close what was opened here, whoever still uses it; twice is harmless."""
        self._users = 0
        if self._own:
            sessions, self._session, self._fresh = (self._session, self._fresh), None, None
            for session in sessions:
                if session is not None:
                    await session.close()

    async def exchange(self, envelope: Envelope) -> Answer:
        """Make one try: the answer, whole or broken off, or NotSentError, or NoAnswerError."""
        try:
            return await _exchange(self._session_for(envelope), envelope)
        except _UNSENT as error:
            raise NotSentError(f"no connection to Exotel: {_reason(error)}") from error
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {envelope.timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswerError(f"the connection broke: {_reason(error)}") from error

    def require_open(self) -> None:
        """Raise ClientClosedError unless requests can be sent."""
        if self._users == 0 or self._session is None or self._session.closed:
            raise ClientClosedError(
                "the client is not open: use `async with client:`, or its lifespan in an "
                "aiohttp application"
            )

    def _session_for(self, envelope: Envelope) -> aiohttp.ClientSession:
        self.require_open()
        session = self._fresh if envelope.fresh else self._session
        assert session is not None  # noqa: S101 - both are there while it is open
        return session


async def _exchange(session: aiohttp.ClientSession, envelope: Envelope) -> Answer:
    async with session.request(
        envelope.method,
        URL(envelope.url, encoded=True),
        data=envelope.body,
        headers=envelope.headers,
        allow_redirects=False,  # a redirect would take the credentials, or the dial, elsewhere
        raise_for_status=False,
        timeout=aiohttp.ClientTimeout(
            total=envelope.timeout, connect=min(_LONGEST_CONNECT, envelope.timeout / 2)
        ),
    ) as response:
        body, problem = await _read(response)
        return Answer(status=response.status, headers=response.headers, body=body, problem=problem)


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, BaseException | None]:
    """Read the body; a status that came must not be forgotten because the body did not."""
    try:
        return await response.read(), None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return b"", error


def _new_session(*, force_close: bool = False) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=force_close),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
