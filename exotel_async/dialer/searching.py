"""How is a window of Exotel's list read: page by page, and then what our books say of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol, Unpack

from exotel_async.journal import Journal
from exotel_async.journal.records import DialRecord
from exotel_async.models.calls import CallPage
from exotel_async.wire.bulk import BulkFilters

from .matching import View
from .steps import Failed
from .watching import Watch
from .windows import MOST_PAGES, PAGE, Gap, Reading, Whole, Window, skew_for, take_in, widened

_MOST_APART = 900.0  # seconds between two clocks, beyond which no time of a record says anything
_NEAR = 3600.0  # seconds within which a call is sought that the list must show


class Ask(Protocol):
    """Asks for one page, out of the purse."""

    async def __call__(self, **filters: Unpack[BulkFilters]) -> CallPage | Failed:
        """Read it, or tell why not."""
        ...


_logger = logging.getLogger("exotel_async.dialer")


class Searcher:
    """Reads windows; remembers nothing but how far the clocks are apart."""

    def __init__(self, ask: Ask, *, journal: Journal, account: str, watch: Watch) -> None:
        self._ask = ask
        self._journal = journal
        self._account = account
        self._watch = watch

    @property
    def skew(self) -> float:
        """By how many seconds a call may seem too early or late."""
        return skew_for(self._watch.apart)

    async def read(self, window: Window) -> View | Failed | None:
        """Read a window and its neighbourhood; None where that tells nothing, however often."""
        skew = self.skew
        if skew > _MOST_APART:
            _logger.warning("our clock and Exotel's are too far apart to search for calls")
            return None
        witnesses = await self._witnesses(window)
        window = widened(window, witnesses, skew=skew)
        began = self._journal.clock.now().timestamp()
        read = await self._pages(window)
        if not isinstance(read, Whole):
            return read
        if self.skew > skew:  # only now it is known how wide the window has to be
            return Failed()
        return await self._found(window, read, began=began, skew=skew, witnesses=witnesses)

    async def _witnesses(self, window: Window) -> tuple[DialRecord, ...]:
        middle = (window.first + window.last) / 2
        return await self._journal.witnesses(self._account, near=middle, within=_NEAR)

    async def _pages(self, window: Window) -> Whole | Failed | None:
        reading: Reading | Whole | Gap = Reading(window=window, since=window.first)
        while isinstance(reading, Reading):
            if reading.pages >= MOST_PAGES:
                _logger.warning("too many calls at once to search for one among them")
                return None
            page = await self._ask(
                created_after=_moment(reading.since), created_before=_moment(window.last),
                details=True, ascending=True, page_size=PAGE,
            )  # fmt: skip
            if isinstance(page, Failed):
                return page
            reading = take_in(reading, page)
        if isinstance(reading, Gap):
            _logger.info("Exotel's list can't be relied on now: %s", reading.why)
            return Failed()
        return reading

    async def _found(
        self, window: Window, read: Whole, *, began: float, skew: float,
        witnesses: Sequence[DialRecord],
    ) -> View:  # fmt: skip
        """Ask the books last: whoever has a record in the list is in them by now."""
        neighbours = await self._journal.neighbours(
            self._account, first=window.first - skew, last=window.last + skew,
            sids={call.sid for call in read.calls},
        )  # fmt: skip
        return View(
            window=window, calls=read.calls, began=began, skew=skew, neighbours=neighbours,
            witnesses=tuple(witnesses),
        )  # fmt: skip


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
