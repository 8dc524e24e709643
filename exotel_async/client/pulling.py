"""How are many windows of one question read side by side, and come out in one order.

There is no task but for each request that is under way. Whatever happens (a page comes, a page is
taken, the user goes on) decides anew which window is asked next: the first that has room. Pages
of later windows wait, and no more of them than may be kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

import attrs

from exotel_async.models.calls import CallPage
from exotel_async.wire.bulk import BulkQuery, split

from .walking import Walk, walk_of
from .windows import (
    Axis,
    Window,
    count,
    cut_in_progress,
    cut_unread,
    goal_of,
    read_on,
    within,
)

_KEPT = 6  # pages for each request that may be under way
_KEPT_OF_FIRST = 2  # pages that wait although their turn has come
_LOOKED_BACK = timedelta(days=31)  # by Exotel, where it is told no times
_LATEST = timedelta(days=1)  # for clocks that differ


@attrs.define(eq=False)
class _Reading:
    """A window that is being read, or waits for that."""

    window: Window
    query: BulkQuery | None = None  # what is asked for; None: what the window says by then
    walk: Walk | None = None
    pages: deque[CallPage] = attrs.field(factory=deque)
    error: BaseException | None = None
    is_under_way: bool = False
    is_waiting: bool = False  # for the pacer
    is_over: bool = False
    is_counted: bool = False

    @property
    def is_idle(self) -> bool:
        return not (self.is_under_way or self.is_over or self.error)

    @property
    def to_come(self) -> float:
        """Tell how many records will come of it, those that wait included."""
        waiting = sum(len(page.calls) for page in self.pages)
        return waiting + (0.0 if self.is_over else self.window.unread or 0.0)


PacedFetch = Callable[[BulkQuery, str | None, Callable[[], None]], Awaitable[CallPage]]


class Pull:
    """Reads all pages of a question; one reader takes them."""

    def __init__(
        self,
        query: BulkQuery,
        *,
        fetch: PacedFetch,
        concurrency: int,
        asked_at: datetime,
    ) -> None:
        self.total: int | None = None
        self._query = query
        self._fetch = fetch
        self._concurrency = concurrency
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_at = asked_at
        self._axis = _axis_of(query)
        self._readings = list(_readings_of(query, self._axis))
        self._totals: list[int | None] = []  # of what was not cut yet
        self._parts = len(self._readings)
        self._begun = 0
        self._kept = 0  # pages that wait to be taken
        self._waiting = 0  # requests that wait for the pacer
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._has_begun = False
        self._is_eager = False  # whoever looks at one page only causes no more than one request
        self._left: int | None = None

    async def next_page(self, left: int | None) -> CallPage | None:
        """Take the next page, of which so many records are wanted; None after the last one."""
        self._loop = asyncio.get_running_loop()
        self._left, self._is_eager = left, self._has_begun
        while (page := self._take()) is None and self._readings:
            self._news.clear()
            self._ask()
            try:
                await self._news.wait()
            except asyncio.CancelledError:
                self.stop()
                raise
        self._has_begun = True
        return page

    def stop(self) -> None:
        """Ask for no more; who takes a page goes on where it stood."""
        self._is_eager = False
        for task in self._tasks:
            task.cancel()

    def abandon(self) -> None:
        """Stop, from any thread and at any moment: nobody takes pages any more."""
        if self._tasks and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it the tasks
                self._loop.call_soon_threadsafe(self.stop)

    async def stopped(self) -> None:
        """Stop, and wait until nothing is under way."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # What is taken.

    def _take(self) -> CallPage | None:
        while self._readings:
            first = self._readings[0]
            if first.pages:
                page = first.pages.popleft()
                self._kept -= 1
                self._ask_ahead()
                return page
            if first.error is not None:
                error, first.error = first.error, None
                raise error
            if not first.is_over:
                return None
            self._readings.pop(0)
        return None

    # What is asked.

    def _ask_ahead(self) -> None:
        if self._is_eager and self._readings:
            self._ask()

    def _ask(self) -> None:
        while (reading := self._choose()) is not None:
            reading.is_under_way = reading.is_waiting = True
            self._waiting += 1
            task = asyncio.get_running_loop().create_task(self._read(reading))
            self._tasks.add(task)
            task.add_done_callback(partial(self._came, reading))

    def _choose(self) -> _Reading | None:
        """Find who may ask next: whoever comes first, if what it brings may be kept.

        One at a time waits for the pacer. More would not be quicker, but be in others' way.
        """
        under_way = len(self._tasks)
        if under_way >= self._concurrency or self._waiting:
            return None
        first = self._readings[0]
        if first.is_idle and len(first.pages) < _KEPT_OF_FIRST:
            return self._begin(first)
        if not self._is_eager or self._kept + under_way >= _KEPT * self._concurrency:
            return None
        idle = list(self._idle_ones())
        unknown = (one for one in idle if one.window.expected is None and one.walk is None)
        chosen = next(chain(unknown, idle), None)  # who knows how much there is plans well
        return None if chosen is None else self._begin(chosen)

    def _idle_ones(self) -> Iterator[_Reading]:
        """Go through those that may ask, as far as they are wanted."""
        ahead = 0.0
        for reading in self._readings:
            if self._left is not None and ahead >= self._left:
                return
            if reading.is_idle and reading is not self._readings[0]:
                yield reading
            ahead += reading.to_come

    def _begin(self, reading: _Reading) -> _Reading:
        if reading.walk is None:
            waiting = sum(one.window.expected or 0.0 for one in self._readings if one.walk is None)
            goal = goal_of(
                begun=self._begun,
                waiting=waiting,
                page_size=self._query.page_size,
                concurrency=self._concurrency,
            )
            rest = cut_unread(reading.window, goal, nearby=self._known_before(reading))
            self._insert(rest, after=reading)
            self._begun += 1
            query = reading.query or self._query_of(reading)
            reading.walk = walk_of(query, fetch=partial(self._fetch_for, reading))
        return reading

    def _known_before(self, reading: _Reading) -> Window | None:
        before = self._readings[: self._readings.index(reading)]
        windows = (one.window for one in reversed(before))
        return next((window for window in windows if window.density is not None), None)

    def _query_of(self, reading: _Reading) -> BulkQuery:
        assert self._axis is not None  # noqa: S101 - only what was cut has no query
        created = self._axis.range(reading.window.first, reading.window.last)
        return attrs.evolve(self._query, created=created)

    def _insert(self, rest: Window | None, *, after: _Reading) -> None:
        if rest is not None:
            after.query = None
            self._readings.insert(self._readings.index(after) + 1, _Reading(rest))

    # What comes.

    async def _fetch_for(self, reading: _Reading, query: BulkQuery, after: str | None) -> CallPage:
        return await self._fetch(query, after, partial(self._leaves, reading))

    def _leaves(self, reading: _Reading) -> None:
        """Note that a request leaves: the next one may wait for the pacer."""
        if reading.is_waiting:
            reading.is_waiting = False
            self._waiting -= 1
            self._ask_ahead()

    async def _read(self, reading: _Reading) -> None:
        assert reading.walk is not None  # noqa: S101 - it has begun
        self._note(reading, reading.walk, await reading.walk.next_page())

    def _came(self, reading: _Reading, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        reading.is_under_way = False
        if task.cancelled():
            self._is_eager = False  # the loop may be ending: it must not find ever new tasks
        else:
            reading.error = task.exception()  # raised when its turn comes
        self._news.set()
        self._leaves(reading)
        self._ask_ahead()

    def _note(self, reading: _Reading, walk: Walk, page: CallPage | None) -> None:
        reading.is_over = walk.is_over
        if page is None:
            return
        calls = page.calls
        window = reading.window
        if not reading.is_counted:
            reading.is_counted = True
            self._note_total(reading, walk.total, page)
        if self._axis is not None:
            read_on(window, calls, self._axis)
            if not reading.is_over:
                self._insert(
                    cut_in_progress(window, page_size=self._query.page_size), after=reading
                )
            reading.is_over = reading.is_over or window.at > window.last
            calls = within(window, calls, self._axis)
        if calls or page.skipped:
            if reading.query is None or self._parts > 1:  # it is none of Exotel's own pages
                page = attrs.evolve(page, calls=calls, total=None, after=None, before=None)
            reading.pages.append(page)
            self._kept += 1

    def _note_total(self, reading: _Reading, total: int | None, page: CallPage) -> None:
        if reading.query is not None:
            self._totals.append(total)
            known = [one for one in self._totals if one is not None]
            self.total = sum(known) if len(known) == self._parts else None
        if self._axis is None:
            self._lay_out(reading.window, page)
        if total is not None and self._axis is not None:
            count(reading.window, total)

    def _lay_out(self, window: Window, page: CallPage) -> None:
        """Where no times were asked for, begin where the records do."""
        moment = next((call.date_created for call in page.calls if call.date_created), None)
        if moment is not None:
            self._axis = Axis(moment.replace(microsecond=0), self._query.ascending)
            end = self._asked_at + (_LATEST if self._query.ascending else -_LOOKED_BACK)
            window.last = max(window.first, self._axis.place(end))


def _axis_of(query: BulkQuery) -> Axis | None:
    if query.created is None:
        return None
    return Axis(query.created[0 if query.ascending else 1], query.ascending)


def _readings_of(query: BulkQuery, axis: Axis | None) -> Iterator[_Reading]:
    for part in split(query):
        if axis is None or part.created is None:
            yield _Reading(Window(0, 0), part)
        else:
            first, last = sorted(axis.place(moment) for moment in part.created)
            yield _Reading(Window(first, last), part)
