"""How is a range of time cut into windows that are read side by side; decided by what they hold.

Time is counted in seconds along the order asked for, from wherever reading begins: `first` comes
before `last` whether the newest or the oldest come first. Neighbours share a second, and nobody
knows beforehand how many records it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil, inf

import attrs

from exotel_async.models.calls import Call
from exotel_async.wire.bulk import MOST_DAYS

LONGEST = MOST_DAYS * 86_400  # seconds that one request may ask for
MOST_PAGES = 6  # that a window should hold: more is more to be kept until its turn comes
_NOT_WORTH_IT = 2  # pages that are read in one go
_TRUST = 16  # how far what lies nearby may differ from the average
_TOLERANCE = 1.5  # a window that holds more than so many times its goal is cut


@attrs.frozen
class Axis:
    """Turns moments into seconds along the order asked for, and back."""

    origin: datetime
    ascending: bool

    def place(self, moment: datetime) -> int:
        """Tell where a moment lies.

        >>> from datetime import UTC
        >>> Axis(datetime(2026, 11, 2, tzinfo=UTC), False).place(datetime(2026, 11, 1, tzinfo=UTC))
        86400
        """
        seconds = (moment - self.origin) // timedelta(seconds=1)
        return seconds if self.ascending else -seconds

    def range(self, first: int, last: int) -> tuple[datetime, datetime]:
        """Tell from when to when, oldest first."""
        start, end = sorted((self._moment(first), self._moment(last)))
        return start, end

    def _moment(self, place: int) -> datetime:
        return self.origin + timedelta(seconds=place if self.ascending else -place)


@attrs.define(eq=False)
class Window:
    """A stretch of time: how far it was read, and how many records are thought to be in it."""

    first: int
    last: int
    expected: float | None = None  # records; None: nobody knows
    goal: float = 0.0  # records that it should hold
    read: int = 0  # records
    at: int = 0  # place of the last record that was read
    before: int = 0  # the same, a page earlier
    lately: float = 0.0  # records a second in the last page
    counted: bool = False  # `expected` is what Exotel says
    guessed: bool = False  # `expected` is no share of anything that Exotel said
    rest: Window | None = None  # what was cut off before it was counted

    def __attrs_post_init__(self) -> None:
        self.at, self.before = self.first, self.first - 1

    @property
    def pace(self) -> float:
        """Records a second, as far as it was read."""
        return self.read / (self.at - self.first + 1)

    @property
    def density(self) -> float | None:
        """Records a second, as far as anybody knows."""
        if self.counted and self.expected is not None:
            return self.expected / (self.last - self.first + 1)
        return self.pace if self.read else None

    @property
    def is_sparse(self) -> bool:
        """Whether it holds far less than it should."""
        return self.counted and self.expected is not None and self.expected < self.goal / 2

    @property
    def unread(self) -> float | None:
        """Tell how many records are thought to come yet."""
        if self.counted and self.expected is not None:
            return max(0.0, self.expected - self.read)
        if self.read:
            return max(self.pace, self.lately) * (self.last - self.at)
        return self.expected


def goal_of(*, begun: int, waiting: float, page_size: int, concurrency: int) -> int:
    """Tell how many records the next window should hold.

    Few at first and in the end: windows that begin together should not end together, or all that
    they hold would have to be kept; and nobody should read alone when the others are through.

    >>> goal_of(begun=3, waiting=1e6, page_size=100, concurrency=8)
    400
    """
    share = ceil(waiting / page_size / concurrency)
    return page_size * max(1, min(begun + 1, MOST_PAGES, share))


def cut_unread(window: Window, goal: float, *, nearby: Window | None = None) -> Window | None:
    """Cut a window that nobody reads yet down to its goal; give the rest of it.

    `nearby`: one just before it, which tells more than the average of what is left.
    """
    window.goal = goal
    length = window.last - window.first
    wanted = float(length)
    if window.expected is not None and window.expected > _TOLERANCE * goal:
        wanted = length * goal / window.expected
        if nearby is not None:
            guess = goal / nearby.density if nearby.density else inf
            wanted = min(max(guess, wanted / _TRUST), wanted * _TRUST)
            if nearby.is_sparse:  # expect what one may: they grow until they hold something
                wanted = max(wanted, 2.0 * (nearby.last - nearby.first))
    border = window.first + max(1, int(min(wanted, LONGEST)))
    if border >= window.last:
        return None
    rest = Window(border, window.last, guessed=window.guessed)
    if window.expected is not None:
        share = min(window.expected, goal)
        rest.expected, window.expected = window.expected - share, share
    rest.rest, window.rest, window.last = window.rest, rest, border
    return rest


def count(window: Window, total: int) -> None:
    """Take down what a window really holds; what was expected of it lies in the rest of it.

    If it was a guess, the rest was guessed just as badly.
    """
    rest = window.rest
    while rest is not None and (rest.counted or rest.read):
        rest = rest.rest
    if rest is not None and rest.expected is not None and window.expected:
        if rest.guessed:
            rest.expected *= total / window.expected
        else:
            rest.expected = max(0.0, rest.expected + window.expected - total)
    window.expected, window.counted, window.rest = float(total), True, None


def cut_in_progress(window: Window, *, page_size: int) -> Window | None:
    """Cut off what lies beyond the goal of a window that turns out to hold too much."""
    unread, left = window.unread, window.goal - window.read
    spare = max((_TOLERANCE - 1) * window.goal, _NOT_WORTH_IT * page_size)
    if unread is None or unread <= max(left, 0.0) + spare:
        return None
    if left < page_size / 2 and max(window.first, window.before) < window.at - 1:
        border = window.at - 1  # the last second may go on: all of it is left to the next one
    else:
        average = unread / max(1, window.last - window.at)
        ahead = max(left, page_size / 2) / max(average, window.pace, window.lately)
        border = window.at + max(1, int(ahead))
    if border >= window.last:
        return None
    share = min(1.0, (window.last - border) / max(1, window.last - window.at))
    rest = Window(border, window.last, expected=unread * share, guessed=not window.counted)
    window.last, window.counted = border, False
    return rest


def read_on(window: Window, calls: Sequence[Call], axis: Axis) -> None:
    """Note how far a window is read."""
    window.read += len(calls)
    window.before = window.at if window.read > len(calls) else window.before
    places = (axis.place(call.date_created) for call in reversed(calls) if call.date_created)
    window.at = max(window.at, next(places, window.at))
    window.lately = len(calls) / (window.at - max(window.first, window.before) + 1)


def within(window: Window, calls: Sequence[Call], axis: Axis) -> tuple[Call, ...]:
    """Leave out what lies beyond a window: whoever reads the next one finds it."""
    return tuple(
        call
        for call in calls
        if call.date_created is None or axis.place(call.date_created) <= window.last
    )
