"""How is one range of time read: along Exotel's cursors, several questions merged into one."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from exotel_async.errors import UnreadableAnswerError
from exotel_async.models.calls import Call, CallPage
from exotel_async.wire.bulk import BulkQuery, parts_of

FetchPage = Callable[[BulkQuery, str | None], Awaitable[CallPage]]


class Walk(Protocol):
    """Reads one range; after an error, or a step that was cancelled, it may go on."""

    @property
    def total(self) -> int | None:
        """How many records there are, as the first page says; None: that is not known."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether all that there is has been fetched."""
        ...

    async def next_page(self) -> CallPage | None:
        """Fetch the next page; None where there is no more."""
        ...


def walk_of(query: BulkQuery, *, fetch: FetchPage) -> Walk:
    """Read what one question asks for, whatever it is too long for."""
    walks = [_Cursor(part, fetch=fetch) for part in parts_of(query)]
    return walks[0] if len(walks) == 1 else _Merge(walks)


class _Cursor:
    """Follows the cursors of one question."""

    def __init__(self, query: BulkQuery, *, fetch: FetchPage) -> None:
        self.query = query
        self.total: int | None = None
        self.is_over = False
        self._fetch = fetch
        self._after: str | None = None
        self._cursors: set[str] = set()

    async def next_page(self) -> CallPage | None:
        if self.is_over:
            return None
        page = await self._fetch(self.query, self._after)
        if page.after in self._cursors:
            raise UnreadableAnswerError("Exotel's pages go in a circle: a cursor came again", 200)
        # A cursor is only good "when at least one record is present in that page".
        self.is_over = page.after is None or not (page.calls or page.skipped)
        if self._after is None:
            self.total = page.total
        if page.after is not None:
            self._after = page.after
            self._cursors.add(page.after)
        return page


class _Merge:
    """Reads several questions about the same time side by side, into pages of one order."""

    def __init__(self, walks: Sequence[_Cursor]) -> None:
        self._walks = walks
        self._lanes = [_Lane(walk) for walk in walks]
        self._page_size = walks[0].query.page_size
        self._batch: list[Call] = []  # kept here, so that a cancelled step loses nothing

    @property
    def total(self) -> int | None:
        totals = [walk.total for walk in self._walks if walk.total is not None]
        return sum(totals) if len(totals) == len(self._walks) else None

    @property
    def is_over(self) -> bool:
        return not self._batch and all(lane.is_empty for lane in self._lanes)

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
    def __init__(self, walk: _Cursor) -> None:
        self.ready: deque[Call] = deque()
        self._walk = walk
        self._skipped = 0
        self._rank = float("-inf")  # of the last call that had a time
        self._sign = 1 if walk.query.ascending else -1

    @property
    def is_empty(self) -> bool:
        return self._walk.is_over and not self.ready

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
