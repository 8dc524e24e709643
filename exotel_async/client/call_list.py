"""How are call records read in bulk: page after page as they are asked for, in one order.

No generator and no task is involved: whoever stops reading leaves nothing behind, and whoever was
cancelled or met an error may go on where it stood.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import attrs

from exotel_async.errors import UnreadableAnswerError
from exotel_async.models.calls import Call, CallPage
from exotel_async.wire.bulk import BulkQuery, split

FetchPage = Callable[[BulkQuery, str | None], Awaitable[CallPage]]


class CallList:
    """Call records, fetched while they are read.

    `async for call in calls` reads the records, `async for page in calls.pages()` the pages; each
    loop begins anew. To stop early, just stop; `async with` and `aclose` end every loop over it.
    Exotel: Voice v1, "Bulk Call Details".
    """

    def __init__(self, query: BulkQuery, *, fetch: FetchPage, limit: int | None = None) -> None:
        self._query = query
        self._fetch = fetch
        self._limit = limit
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Call]:
        return _Calls(self.pages())

    def pages(self) -> AsyncIterator[CallPage]:
        """Read the pages, as Exotel cuts them.

        Where several requests had to be merged, a page has no cursors and no total.
        """
        return _Pages(self._query, fetch=self._fetch, limit=self._limit, closed=self.is_closed)

    def is_closed(self) -> bool:
        """Tell whether `aclose` was called."""
        return self._closed

    async def aclose(self) -> None:
        """End every loop over this list at its next step."""
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Calls(AsyncIterator[Call]):
    def __init__(self, pages: AsyncIterator[CallPage]) -> None:
        self._pages = pages
        self._ready: deque[Call] = deque()

    async def __anext__(self) -> Call:
        while not self._ready:
            self._ready.extend((await anext(self._pages)).calls)
        return self._ready.popleft()


class _Source(Protocol):
    async def next_page(self) -> CallPage | None: ...


class _Pages(AsyncIterator[CallPage]):
    """Goes through the windows of time one after the other; drops what came before."""

    def __init__(
        self,
        query: BulkQuery,
        *,
        fetch: FetchPage,
        limit: int | None,
        closed: Callable[[], bool],
    ) -> None:
        self._windows = split(query)
        self._source: _Source | None = None
        self._fetch = fetch
        self._left = limit
        self._closed = closed
        self._sieve = _Sieve()

    async def __anext__(self) -> CallPage:
        page = None if self._closed() or self._left == 0 else await self._next_page()
        if page is None:
            raise StopAsyncIteration
        calls = self._sieve.new_ones(page.calls)[: self._left]
        if self._left is not None:
            self._left -= len(calls)
        return attrs.evolve(page, calls=calls)

    async def _next_page(self) -> CallPage | None:
        while True:
            if self._source is None:
                parts = next(self._windows, None)
                if parts is None:
                    return None
                self._source = self._source_of(parts)
            page = await self._source.next_page()
            if page is not None:
                return page
            self._source = None

    def _source_of(self, parts: Sequence[BulkQuery]) -> _Source:
        walks = [_Walk(part, fetch=self._fetch) for part in parts]
        return walks[0] if len(walks) == 1 else _Merge(walks)


class _Sieve:
    """Lets every call through once. Records come in order of time, so twins stand together."""

    def __init__(self) -> None:
        self._moment: datetime | None = None
        self._sids: set[str] = set()

    def new_ones(self, calls: Sequence[Call]) -> tuple[Call, ...]:
        return tuple(call for call in calls if self._is_new(call))

    def _is_new(self, call: Call) -> bool:
        if call.date_created != self._moment:
            self._moment = call.date_created
            self._sids.clear()
        known = call.sid in self._sids
        self._sids.add(call.sid)
        return not known


class _Walk:
    """Follows the cursors of one question."""

    def __init__(self, query: BulkQuery, *, fetch: FetchPage) -> None:
        self.query = query
        self._fetch = fetch
        self._after: str | None = None
        self._cursors: set[str] = set()
        self._done = False

    async def next_page(self) -> CallPage | None:
        if self._done:
            return None
        page = await self._fetch(self.query, self._after)
        if page.after in self._cursors:
            raise UnreadableAnswerError("Exotel's pages go in a circle: a cursor came again", 200)
        # A cursor is only good "when at least one record is present in that page".
        self._done = page.after is None or not (page.calls or page.skipped)
        if page.after is not None:
            self._after = page.after
            self._cursors.add(page.after)
        return page


class _Merge:
    """Reads several questions about the same time side by side, into pages of one order."""

    def __init__(self, walks: Sequence[_Walk]) -> None:
        self._lanes = [_Lane(walk) for walk in walks]
        self._page_size = walks[0].query.page_size
        self._batch: list[Call] = []  # kept here, so that a cancelled step loses nothing

    async def next_page(self) -> CallPage | None:
        while len(self._batch) < self._page_size:
            for lane in self._lanes:
                await lane.fill()
            waiting = [lane for lane in self._lanes if lane.ready]
            if not waiting:
                break
            self._batch.append(min(waiting, key=_Lane.rank).take())
        calls, self._batch = tuple(self._batch), []
        skipped = sum(lane.take_skipped() for lane in self._lanes)
        return CallPage(calls=calls, skipped=skipped) if calls or skipped else None


class _Lane:
    def __init__(self, walk: _Walk) -> None:
        self.ready: deque[Call] = deque()
        self._walk = walk
        self._skipped = 0
        self._rank = float("-inf")  # of the last call that had a time
        self._sign = 1 if walk.query.ascending else -1

    async def fill(self) -> None:
        while not self.ready and (page := await self._walk.next_page()) is not None:
            self.ready.extend(page.calls)
            self._skipped += page.skipped

    def rank(self) -> float:
        created = self.ready[0].date_created
        return self._rank if created is None else self._sign * created.timestamp()

    def take(self) -> Call:
        self._rank = self.rank()
        return self.ready.popleft()

    def take_skipped(self) -> int:
        skipped, self._skipped = self._skipped, 0
        return skipped
