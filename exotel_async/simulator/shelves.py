"""Says in which order an account's finished calls stand, and which lie in a range of time.

A page out of hundreds of thousands of records is found without looking at the others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from datetime import datetime

from .calls import Call

Cursor = tuple[int, str]  # epoch second of DateCreated, Sid

_FEW = 64  # so many are put in their places one by one; more are cheaper sorted all at once


class Shelf:
    """The places of an account's finished calls, oldest first."""

    def __init__(self) -> None:
        self._placed: list[Cursor] = []
        self._coming: list[Cursor] = []

    def put(self, call: Call) -> None:
        """Take in a call that has ended, once."""
        self._coming.append(position(call))

    def remove(self, call: Call) -> None:
        """Let a call go; harmless if it is not here."""
        places, place = self.places(), position(call)
        found = bisect_left(places, place)
        if places[found : found + 1] == [place]:
            del self._placed[found]

    def places(self) -> Sequence[Cursor]:
        """Give all places in order; they are not to be changed."""
        if len(self._coming) > _FEW:
            self._placed += self._coming
            self._placed.sort()
        else:
            for place in self._coming:
                insort(self._placed, place)
        self._coming.clear()
        return self._placed

    def between(self, first: datetime, last: datetime) -> tuple[int, int]:
        """Say from which place to before which the calls of a time stand, both limits inside."""
        places = self.places()
        start = bisect_left(places, -(-first.timestamp() // 1), key=_second)  # rounded up
        return start, max(start, bisect_right(places, last.timestamp(), key=_second))


def position(call: Call) -> Cursor:
    """Say where a call stands among others."""
    return int(call.date_created.timestamp()), call.sid


def _second(place: Cursor) -> int:
    return place[0]
