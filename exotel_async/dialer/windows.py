"""Which part of Exotel's list is read in search of calls: windows, and how their pages join.

Windows are whole seconds since the epoch, both ends inclusive, as Exotel's own filter has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor
from typing import TypeVar

import attrs

from exotel_async.journal.records import DialRecord
from exotel_async.models.calls import Call, CallPage

from .horizon import SKEW, timeout_of

T = TypeVar("T")

PAGE = 100  # records; Exotel's most
MOST_PAGES = 20  # of one window
LATE = 300.0  # seconds after which no call is created any more for a request that is over
_TOGETHER = 1800  # seconds of windows that are read at once
_WIDEST = 3600  # seconds, with a call that is known
_CLOSE = 30.0  # seconds by which clocks may be apart before it counts
_MINUTE = 60


@attrs.frozen(order=True)
class Window:
    """A part of Exotel's list, by DateCreated."""

    first: int
    last: int

    def holds(self, second: int) -> bool:
        """Tell whether a second lies in it."""
        return self.first <= second <= self.last

    def covers(self, other: Window) -> bool:
        """Tell whether all of another lies in it."""
        return self.first <= other.first and other.last <= self.last

    def joined(self, other: Window) -> Window:
        """Stretch it over another."""
        return Window(min(self.first, other.first), max(self.last, other.last))

    @property
    def length(self) -> int:
        """How many seconds lie between its ends."""
        return self.last - self.first


def skew_for(apart: float | None) -> float:
    """Tell by how many seconds a call may seem too early or late, where clocks are so far apart.

    Whole minutes, so that it stays the same from one answer to the next.

    >>> skew_for(None), skew_for(2.5), skew_for(100)
    (60.0, 60.0, 180.0)
    """
    if apart is None or apart <= _CLOSE:
        return SKEW
    return float(ceil((apart + _CLOSE) / _MINUTE) * _MINUTE)


def window_of(record: DialRecord, *, skew: float) -> Window | None:
    """Tell when a dial's call would have been created; None where nothing was sent."""
    if record.sent_at is None or record.not_after is None:
        return None
    end = record.not_after + timeout_of(record.longest, record.arguments) + LATE
    return Window(floor(record.sent_at - skew), floor(end + skew - SKEW))


def created(call: Call) -> int | None:
    """Tell the second in which a call was created; None where its record does not say."""
    return None if call.date_created is None else floor(call.date_created.timestamp())


def clusters(
    windows: Iterable[tuple[T, Window]], *, widest: int = _TOGETHER
) -> list[tuple[Window, list[T]]]:
    """Put those together whose windows are read at once."""
    found: list[tuple[Window, list[T]]] = []
    for one, window in sorted(windows, key=lambda pair: pair[1]):
        if found and found[-1][0].joined(window).length <= widest:
            found[-1] = found[-1][0].joined(window), [*found[-1][1], one]
        else:
            found.append((window, [one]))
    return found


def widened(window: Window, known: Sequence[DialRecord], *, skew: float) -> Window:
    """Stretch a window over the first of some dials whose window is near enough."""
    for record in known:
        other = window_of(record, skew=skew)
        if other is not None and window.joined(other).length <= max(_WIDEST, window.length):
            return window.joined(other)
    return window


@attrs.frozen(kw_only=True)
class Reading:
    """A window that is being read, oldest first; what comes next is asked by time.

    A page's own cursor may count rows, and lose one where rows before it go. Asked by time, with
    the last second once more, no row that stays can be missed.
    """

    window: Window
    since: int  # the second from which on the next page is asked
    calls: Mapping[str, Call] = attrs.field(factory=dict)
    pages: int = 0


@attrs.frozen
class Whole:
    """A window that was read to its end without a gap."""

    calls: tuple[Call, ...]


@attrs.frozen
class Gap:
    """Pages that don't join: something was missed, or may have been."""

    why: str


def take_in(reading: Reading, page: CallPage) -> Reading | Whole | Gap:
    """Join one more page to what was read."""
    fresh = {call.sid: call for call in page.calls}
    more = _has_more(page, brings_news=not fresh.keys() <= reading.calls.keys())
    flaw = _flaw(reading, page, more=more)
    if flaw is not None:
        return Gap(flaw)
    calls = {**reading.calls, **fresh}
    if not more:
        return Whole(tuple(calls.values()))
    since = max(_seconds(page), default=reading.since)
    if since <= reading.since and reading.pages:
        return Gap("more records in one second than on a page")
    return attrs.evolve(reading, since=since, calls=calls, pages=reading.pages + 1)


def _has_more(page: CallPage, *, brings_news: bool) -> bool:
    if page.total is not None and page.total > len(page.calls):
        return True
    return (page.after is not None and brings_news) or (
        page.total is None and len(page.calls) >= PAGE
    )


def _flaw(reading: Reading, page: CallPage, *, more: bool) -> str | None:
    """Say why a page can't be trusted to hold all that was asked for."""
    seconds = _seconds(page)
    asked = Window(reading.since, reading.window.last)
    sids = {call.sid for call in page.calls}
    if page.skipped:
        return "records without a Sid"
    if len(sids) < len(page.calls):
        return "a record twice"
    if page.total is not None and page.total < len(page.calls):
        return "more records than there are in all"
    if not all(asked.holds(second) for second in seconds):
        return "records that were not asked for"
    if more and seconds != sorted(seconds):
        return "records in no order"
    if not _overlap(reading) <= sids:
        return "records that are gone"
    return None


def _overlap(reading: Reading) -> set[str]:
    """List what the next page has to show once more."""
    calls = reading.calls.values() if reading.pages else ()
    return {call.sid for call in calls if created(call) == reading.since}


def _seconds(page: CallPage) -> list[int]:
    return [second for call in page.calls if (second := created(call)) is not None]
