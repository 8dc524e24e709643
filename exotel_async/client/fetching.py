"""How is one recording brought here, over redirects, lost connections and all."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import attrs

from exotel_async.errors import (
    ApiError,
    ExotelError,
    InvalidRequestError,
    NoAnswerError,
    NotSentError,
    RecordingError,
    UnreadableAnswerError,
)
from exotel_async.wire import pieces
from exotel_async.wire.answer import Answer
from exotel_async.wire.pieces import Held, StartAnewError
from exotel_async.wire.recordings import Way, redirected

from .door import AGENT, Door
from .policy import pause
from .transport import Envelope, Incoming

_MOST_REDIRECTS = 5

_logger = logging.getLogger("exotel_async.client")


class Fetching:
    """One recording on its way here: `begin`, then `pieces`, and always `close`.

    Each try goes the whole way again, since where a redirect led may have been for once only.
    """

    def __init__(self, door: Door, way: Way, *, max_size: int | None, is_late: bool) -> None:
        self.way = way
        self.held: Held = Held()
        self._door = door
        self._max_size = max_size
        self._is_late = is_late
        self._tries = 0
        self._incoming: Incoming | None = None  # None: there is no more to come
        self._life = AsyncExitStack()

    async def begin(self) -> Held:
        """Ask until there is an answer; tell what it says of the recording."""
        while True:
            self._tries += 1
            try:
                await self._open()
            except (NotSentError, NoAnswerError, ApiError) as error:
                await self._wait_after(error)
            else:
                return self.held

    async def go_on_from(self, size: int) -> None:
        """Have so many bytes already, from another time."""
        self.held = attrs.evolve(self.held, size=size)
        await self.close()
        if not self.held.is_whole:
            self._tries -= 1  # the last one did not fail
            await self.begin()

    async def pieces(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """Give what comes, each with its place; a place that was passed already: all anew."""
        while self._incoming is not None:
            try:
                while chunk := await self._incoming.read():
                    at = self.held.size
                    self.held = attrs.evolve(self.held, size=at + len(chunk))
                    self._check_size(self.held.size)
                    yield at, chunk
                self._require_whole()
                await self.close()
            except NoAnswerError as error:
                await self._wait_after(error)
                await self.begin()

    async def close(self) -> None:
        """Let go of the connection."""
        self._incoming = None
        await self._life.aclose()

    async def _open(self) -> None:
        """Make one try, to the head of an answer that brings what is missing."""
        way = self.way
        for _ in range(_MOST_REDIRECTS + 1):
            incoming = await self._ask(way)
            if incoming.status not in pieces.REDIRECTS:
                return self._read_head(way, incoming)
            way = self._follow(way, incoming)
        raise RecordingError(f"{way.host}: more than {_MOST_REDIRECTS} redirects", "redirected")

    async def _ask(self, way: Way) -> Incoming:
        await self.close()
        settings = self._door.settings
        headers = {"User-Agent": AGENT, **pieces.asking_for(self.held)}
        if way.authorized:
            headers["Authorization"] = settings.authorization
        envelope = Envelope(method="GET", url=way.url, headers=headers, timeout=settings.timeout)
        incoming = await self._life.enter_async_context(self._door.transport.stream(envelope))
        _logger.debug("GET recording at %s: %d", way.host, incoming.status)
        return incoming

    def _follow(self, way: Way, incoming: Incoming) -> Way:
        location = incoming.headers.get("Location")
        try:
            return redirected(way, location, self._door.settings.trusted)
        except InvalidRequestError as error:
            raise RecordingError(
                f"{way.host} redirects to where nothing is fetched from: {error.message}",
                "redirected",
                incoming.status,
            ) from error

    def _read_head(self, way: Way, incoming: Incoming) -> None:
        if incoming.status == 416 and self.held.size:
            return self._read_416(incoming)
        if incoming.status >= 400:
            # Its body stays unread: a store's may hold what it was signed with.
            answer = Answer(status=incoming.status, headers=incoming.headers)
            raise pieces.refused(answer, way, now=self._door.clock.now(), is_late=self._is_late)
        try:
            self.held = pieces.begun(self.held, incoming.status, incoming.headers)
        except StartAnewError:
            raise self._anew() from None
        self._check_size(self.held.total or 0)
        self._incoming = incoming
        return None

    def _read_416(self, incoming: Incoming) -> None:
        if not pieces.is_whole_after_416(self.held, incoming.headers):
            raise self._anew()
        self.held = attrs.evolve(self.held, total=self.held.size)

    def _anew(self) -> NoAnswerError:
        """Forget what came: the next try asks for the whole."""
        self.held = Held()
        return NoAnswerError("what came does not go on where the last try stopped")

    def _check_size(self, size: int) -> None:
        if self._max_size is not None and size > self._max_size:
            raise pieces.too_large(size, self._max_size)

    def _require_whole(self) -> None:
        size, total = self.held.size, self.held.total
        if size == 0:
            raise UnreadableAnswerError("the recording came empty", 200)
        if total is not None and size < total:
            raise NoAnswerError(f"the recording broke off after {size} of {total} bytes")
        self.held = attrs.evolve(self.held, total=size)

    async def _wait_after(self, error: ExotelError) -> None:
        """Wait before the next try; raise the error where there must be none."""
        await self.close()
        settings = self._door.settings
        seconds = pause(
            error,
            repeatable=True,
            attempt=self._tries,
            max_retries=settings.max_retries,
            chance=self._door.chance,
        )
        if seconds is None:
            error.attempts = self._tries
            raise error
        _logger.info("try %d failed, next in %.1f s: %s", self._tries, seconds, error)
        await self._door.clock.sleep(seconds)
