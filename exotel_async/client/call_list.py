"""How are call records read in bulk: page after page as they are asked for, in one order.

Whoever stops reading leaves nothing behind, and whoever was cancelled or met an error may go on
where it stood.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import attrs

from exotel_async.errors import ExotelError
from exotel_async.models.calls import Call, CallPage
from exotel_async.wire.bulk import BulkQuery, split

from .positions import Place, Position, was_given
from .pulling import PacedFetch, Pull
from .walking import Walk, walk_of


@attrs.frozen(kw_only=True)
class Order:
    """What is to be read, and how."""

    query: BulkQuery
    fetch: PacedFetch
    asked_at: datetime
    concurrency: int = 1
    limit: int | None = None
    start: Position | None = None


class CallList:
    """Call records, fetched while they are read.

    `async for call in calls` reads the records, `async for page in calls.pages()` the pages; each
    loop begins anew. To stop early, just stop; `async with` and `aclose` end every loop over it.
    Exotel: Voice v1, "Bulk Call Details".
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._closed = False
        self._place = Place(order.start)
        self._sources: weakref.WeakSet[_Source] = weakref.WeakSet()
        self._total: int | None = None

    def __aiter__(self) -> AsyncIterator[Call]:
        return _Calls(self)

    def pages(self) -> AsyncIterator[CallPage]:
        """Read the pages, as Exotel cuts them.

        Where several requests had to be merged, or go on side by side (`concurrency`), a page has
        no cursors and no total.
        """
        return _Pages(self)

    @property
    def position(self) -> str:
        """A small text that goes on after the last record that was given out, wherever.

        `list(position=that)`, with the same filters, gives what comes after it: in another
        process, or another day. It holds no number and no name. Of a page all records count as
        given out.
        """
        return self._place.to_text(self._order.query, asked_at=self._order.asked_at)

    @property
    def total(self) -> int | None:
        """How many records there are, from its position on; None: Exotel has not said yet."""
        return self._total

    def is_closed(self) -> bool:
        """Tell whether `aclose` was called."""
        return self._closed

    async def aclose(self) -> None:
        """End every loop over this list at its next step."""
        self._closed = True
        for source in list(self._sources):
            await source.stopped()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _begin(self) -> tuple[_Source, Place]:
        """Begin a loop: what brings its pages, and the place at which it stands."""
        order = self._order
        source: _Source = _Sequence(order) if order.concurrency == 1 else _pull(order)
        self._sources.add(source)
        self._place = Place(order.start)
        return source, self._place


class _Source(Protocol):
    total: int | None

    async def next_page(self, left: int | None) -> CallPage | None: ...

    def stop(self) -> None: ...

    def abandon(self) -> None: ...

    async def stopped(self) -> None: ...


def _pull(order: Order) -> Pull:
    return Pull(
        order.query,
        fetch=order.fetch,
        concurrency=order.concurrency,
        asked_at=order.asked_at,
    )


class _Calls(AsyncIterator[Call]):
    def __init__(self, calls: CallList) -> None:
        self._pages = _Pages(calls, notes=False)
        self._ready: deque[Call] = deque()

    async def __anext__(self) -> Call:
        while not self._ready:
            self._ready.extend((await anext(self._pages)).calls)
        call = self._ready.popleft()
        self._pages.place.note(call)
        return call


class _Pages(AsyncIterator[CallPage]):
    """Gives the pages; drops what came before."""

    def __init__(self, calls: CallList, *, notes: bool = True) -> None:
        self._calls = calls
        self._order = calls._order  # noqa: SLF001 - its own
        self._source, self.place = calls._begin()  # noqa: SLF001
        weakref.finalize(self, self._source.abandon).atexit = False
        self._notes = notes
        self._left = self._order.limit
        self._sieve = _Sieve(self._order)

    async def __anext__(self) -> CallPage:
        ended = self._calls.is_closed() or self._left == 0
        page = None if ended else await self._next_page()
        if page is None:
            self._source.stop()
            raise StopAsyncIteration
        calls = self._sieve.new_ones(page.calls)[: self._left]
        if self._left is not None:
            self._left -= len(calls)
        if self._notes:
            for call in calls:
                self.place.note(call)
        return attrs.evolve(page, calls=calls)

    async def _next_page(self) -> CallPage | None:
        try:
            return await self._source.next_page(self._left)
        except ExotelError as error:
            error.add_note(self.place.told())
            raise
        finally:
            self._calls._total = self._source.total  # noqa: SLF001


class _Sieve:
    """Lets every call through once. Records come in order of time, so twins stand together."""

    def __init__(self, order: Order) -> None:
        self._start = order.start
        self._ascending = order.query.ascending
        self._moment: datetime | None = None
        self._sids: set[str] = set()

    def new_ones(self, calls: Sequence[Call]) -> tuple[Call, ...]:
        return tuple(call for call in calls if self._is_new(call))

    def _is_new(self, call: Call) -> bool:
        if call.date_created != self._moment:
            self._moment = call.date_created
            self._sids.clear()
        known = call.sid in self._sids or self._was_given(call)
        self._sids.add(call.sid)
        return not known

    def _was_given(self, call: Call) -> bool:
        start = self._start
        return start is not None and was_given(start, call, ascending=self._ascending)


class _Sequence:
    """Goes through the ranges of time one after the other; no task is involved."""

    def __init__(self, order: Order) -> None:
        self.total: int | None = None
        self._ranges = deque(split(order.query))
        self._is_one = len(self._ranges) == 1
        self._order = order
        self._walk: Walk | None = None

    async def next_page(self, left: int | None) -> CallPage | None:
        del left
        while True:
            if self._walk is None:
                if not self._ranges:
                    return None
                self._walk = walk_of(self._ranges.popleft(), fetch=self._fetch)
            page = await self._walk.next_page()
            if self._is_one:
                self.total = self._walk.total
            if page is not None:
                return page
            self._walk = None

    async def _fetch(self, query: BulkQuery, after: str | None) -> CallPage:
        return await self._order.fetch(query, after, _nothing)

    def stop(self) -> None:
        """Do nothing: nothing is under way."""

    def abandon(self) -> None:
        """Do nothing: nothing is under way."""

    async def stopped(self) -> None:
        """Do nothing: nothing is under way."""


def _nothing() -> None:
    """Care for nothing."""
