"""How many calls were there of each kind: one pass over records, and only counts are kept.

What is kept grows with the hours, ExoPhones and seconds of talk that occur, not with the records:
of words and numbers, which anybody may make up, only so many are told apart. Which ones does not
depend on the order in which they come, so that the tallies of parts add up to those of the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import date, datetime, tzinfo
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Generic, TypeVar

import attrs

from exotel_async.models.calls import Call
from exotel_async.models.vocabulary import FINAL_STATUSES, CallStatus

K = TypeVar("K", bound=Hashable)

Hour = tuple[date, int]  # by the wall clock; where clocks go back, an hour takes two

NO_WORD = ""  # a field that was not there
MOST_STATUSES = 12
MOST_EXOPHONES = 500
LONGEST_TALK = 86_400  # seconds; what claims to be longer counts as this

_ENDED, _ANSWERED = "ended", "answered"
_NUMBER_DIGITS = 7  # the fewest that may be a phone number: others have no circle
_KNOWN = frozenset(map(str, CallStatus))


@attrs.frozen(kw_only=True)
class Few(Generic[K]):
    """Counts under words of which at most so many are told apart; `rest` is what all others had.

    Kept are the words that rank first by a hash: a sample that nobody's order or number decides.
    """

    most: int
    known: Mapping[str, Counter[K]]
    rest: Counter[K]

    def plus(self, other: Few[K]) -> Few[K]:
        """Add what was counted elsewhere, with the same `most`."""
        sums = _Few[K](self.most)
        for part in (self, other):
            sums.rest.update(part.rest)
            for word, counts in part.known.items():
                sums.of(word).update(counts)
        return sums.done()


class _Few(Generic[K]):
    """A `Few` that is being counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, Counter[K]] = {}
        self._last: str | None = None  # the next to go; None: not known
        self.rest: Counter[K] = Counter()

    def of(self, word: str) -> Counter[K]:
        """Give the counts of a word, or those of the rest."""
        found = self._known.get(word)
        if found is not None:
            return found
        if self._most == 0:
            return self.rest
        if len(self._known) >= self._most and not self._makes_room(word):
            return self.rest
        self._last = None
        return self._known.setdefault(word, Counter())

    def _makes_room(self, word: str) -> bool:
        if self._last is None:
            self._last = max(self._known, key=_rank)
        if _rank(word) > _rank(self._last):
            return False
        self.rest.update(self._known.pop(self._last))
        return True

    def done(self) -> Few[K]:
        known = MappingProxyType({word: self._known[word] for word in sorted(self._known)})
        return Few(most=self._most, known=known, rest=self.rest)


@lru_cache(maxsize=4096)
def _rank(word: str) -> tuple[bool, bytes]:
    """Order words as if by chance, Exotel's own statuses first."""
    return word not in _KNOWN, sha256(word.encode("utf-8", "surrogatepass")).digest()


@attrs.frozen(kw_only=True)
class Tallies:
    """What was counted; see the module for how much of it there may be."""

    records: int
    undated: int  # of these, without a time
    first: datetime | None  # the time of the oldest record
    last: datetime | None
    statuses: Few[Hour | None]  # by status: calls in each hour, None being those without a time
    exophones: Few[str]  # by ExoPhone: outbound calls that ended, and were answered
    numbers: Few[str]  # by the other party's number: the same
    talk: Counter[int]  # calls by seconds of talk
    without_talk: int  # calls with details, in which nobody talked

    def plus(self, other: Tallies) -> Tallies:
        """Add what was counted in other records."""
        return Tallies(
            records=self.records + other.records,
            undated=self.undated + other.undated,
            first=min((at for at in (self.first, other.first) if at), default=None),
            last=max((at for at in (self.last, other.last) if at), default=None),
            statuses=self.statuses.plus(other.statuses),
            exophones=self.exophones.plus(other.exophones),
            numbers=self.numbers.plus(other.numbers),
            talk=self.talk + other.talk,
            without_talk=self.without_talk + other.without_talk,
        )


class Tallying:
    """Counts records; `most_numbers` is of how many other parties the answers are told apart."""

    def __init__(self, *, zone: tzinfo, most_numbers: int = 0) -> None:
        self._zone = zone
        self._records = self._undated = self._without_talk = 0
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._statuses = _Few[Hour | None](MOST_STATUSES)
        self._exophones = _Few[str](MOST_EXOPHONES)
        self._numbers = _Few[str](most_numbers)
        self._talk: Counter[int] = Counter()

    def add(self, calls: Iterable[Call]) -> None:
        """Count calls."""
        for call in calls:
            self._records += 1
            self._statuses.of(call.status or NO_WORD)[self._hour(call.date_created)] += 1
            self._take_answer(call)
            self._take_talk(call)

    def done(self) -> Tallies:
        """Say what was counted."""
        return Tallies(
            records=self._records,
            undated=self._undated,
            first=self._first,
            last=self._last,
            statuses=self._statuses.done(),
            exophones=self._exophones.done(),
            numbers=self._numbers.done(),
            talk=self._talk,
            without_talk=self._without_talk,
        )

    def _hour(self, created: datetime | None) -> Hour | None:
        if created is None:
            self._undated += 1
            return None
        if self._first is None or created < self._first:
            self._first = created
        if self._last is None or created > self._last:
            self._last = created
        here = created.astimezone(self._zone)
        return here.date(), here.hour

    def _take_answer(self, call: Call) -> None:
        if not is_ended_outbound(call):
            return
        told = (_ENDED, _ANSWERED) if call.status == CallStatus.COMPLETED else (_ENDED,)
        self._exophones.of(call.phone_number or NO_WORD).update(told)
        self._numbers.of(other_party(call)).update(told)

    def _take_talk(self, call: Call) -> None:
        seconds = call.details.conversation_duration if call.details else None
        if seconds is None:
            return
        if seconds > 0:
            self._talk[min(seconds, LONGEST_TALK)] += 1
        else:
            self._without_talk += 1


def tallied(calls: Iterable[Call], *, zone: tzinfo, most_numbers: int = 0) -> Tallies:
    """Count records that are at hand."""
    tallying = Tallying(zone=zone, most_numbers=most_numbers)
    tallying.add(calls)
    return tallying.done()


def is_ended_outbound(call: Call) -> bool:
    """Tell whether a call counts in an answer rate."""
    return call.status in FINAL_STATUSES and (call.direction or "").startswith("outbound")


def other_party(call: Call) -> str:
    """Name whom a call was meant to reach: whom it rang second, or the only one it rang.

    >>> other_party(Call(sid="1", from_="09812300001", to="sip:desk"))
    '09812300001'
    """
    for number in (call.to, call.from_):
        if number and number != call.phone_number and _is_number(number):
            return number
    return NO_WORD


def _is_number(text: str) -> bool:
    return sum(map(str.isdigit, text)) >= _NUMBER_DIGITS and ":" not in text


def rate(counts: Mapping[str, int]) -> tuple[int, int]:
    """Read how many calls were answered, of how many that ended."""
    return counts.get(_ANSWERED, 0), counts.get(_ENDED, 0)


def quantile(counts: Mapping[int, int], share: float) -> int | None:
    """Find the least value that so large a share of all does not exceed.

    >>> quantile({10: 1, 20: 1, 90: 2}, 0.5)
    20
    """
    wanted, seen = share * sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    return None
