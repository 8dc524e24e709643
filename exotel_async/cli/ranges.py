"""What does a range mean that a user typed: of time, or of numbers.

Days are those of a time zone; both ends of a range belong to it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

from exotel_async.models.calls import Range

TIMES = (
    "today, yesterday, 2026-11-01, 2026-11-01..2026-11-07, 2026-11-01.. (until now), "
    "2026-11-01T10:00 (that minute), 2026-11-01T10:00..2026-11-01T12:30, 7d or 24h (the last …)"
)

Span = tuple[datetime, datetime]

_AGO = re.compile(r"(\d{1,6})([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_OLDEST = timedelta(days=36_500)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME_DIGITS = re.compile(r"[\d:]*", re.ASCII)
_SECOND = timedelta(seconds=1)


def created_range(
    text: str, *, now: datetime, zone: tzinfo
) -> tuple[datetime | None, datetime | None]:
    """Read a range of time; None where it is open towards the past.

    Raises ValueError, which says what can be written.
    """
    try:
        return _range_of_time(text.strip(), now.astimezone(zone).replace(microsecond=0))
    except (OverflowError, ValueError) as error:
        reason = f" ({error})" if isinstance(error, _OrderError) else ""
        raise ValueError(f"{text!r} is no range of time{reason}; write {TIMES}") from error


class _OrderError(ValueError):
    """The end lies before the beginning, or that in the future."""


def _range_of_time(text: str, now: datetime) -> tuple[datetime | None, datetime]:
    first, dots, last = (part.strip() for part in text.partition(".."))
    if not first and not last:
        raise ValueError("no end")
    start = _span(first, now)[0] if first else None
    if last:
        end = _span(last, now)[1]
    else:
        end = now if dots or _AGO.fullmatch(first) else _span(first, now)[1]
    # By way of UTC: where clocks go back, the later of two moments may have the earlier time.
    if start is not None and start.astimezone(UTC) > now.astimezone(UTC):
        raise _OrderError("it lies in the future")
    if start is not None and start.astimezone(UTC) > end.astimezone(UTC):
        raise _OrderError("it ends before it begins")
    return start, end


def _span(word: str, now: datetime) -> Span:
    """Read one end of a range: a day is as long as it is, 10:00 a minute, 10:00:00 a second."""
    if word in ("today", "yesterday"):
        return _day(now.date() - timedelta(days=word == "yesterday"), now.tzinfo)
    if ago := _AGO.fullmatch(word):
        moment = _in_zone(now.astimezone(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])}), now)
    elif _DAY.fullmatch(word):
        return _day(date.fromisoformat(word), now.tzinfo)
    elif "T" in word:
        moment = datetime.fromisoformat(word).replace(microsecond=0)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        last = moment.astimezone(UTC) + _length_of(word) - _SECOND  # raises beyond the calendar
        return moment, _in_zone(last, moment)
    else:
        raise ValueError("neither day nor moment")
    return moment, moment


def _length_of(word: str) -> timedelta:
    """Tell how long a moment is by how exactly it is written."""
    digits = len(_TIME_DIGITS.match(word.partition("T")[2])[0].replace(":", ""))  # type: ignore[index]  # it always matches
    return {2: timedelta(hours=1), 4: timedelta(minutes=1)}.get(digits, _SECOND)


def _day(day: date, zone: tzinfo | None) -> Span:
    """Span a day up to the last second before the next, be it of 23 or of 25 hours."""
    start, following = (datetime.combine(d, time(), zone) for d in (day, day + timedelta(days=1)))
    # By way of UTC, which refuses what no calendar holds and knows no hour that is left out.
    first, last = start.astimezone(UTC), following.astimezone(UTC) - _SECOND
    return _in_zone(first, start), _in_zone(last, start)


def _in_zone(moment: datetime, other: datetime) -> datetime:
    return moment.astimezone(other.tzinfo)


def amount_range(text: str, *, whole: bool = False) -> int | Decimal | Range:
    """Read a number, or a range of numbers with one end or two.

    >>> amount_range("10..45", whole=True)
    Range(at_least=10, at_most=45)
    """
    first, dots, last = (part.strip() for part in text.partition(".."))
    try:
        if not dots:
            return _amount(text.strip(), whole=whole)
        low, high = (_amount(end, whole=whole) if end else None for end in (first, last))
    except (InvalidOperation, ValueError) as error:
        kind = "whole number" if whole else "number"
        raise ValueError(
            f"{text!r} is no {kind} or range of them; write 30, 10..45, 10.. or ..45"
        ) from error
    if low is None and high is None:
        raise ValueError(f"{text!r} has no end; write 30, 10..45, 10.. or ..45")
    if low is not None and high is not None and low > high:
        raise ValueError(f"{text!r} ends before it begins; write 30, 10..45, 10.. or ..45")
    return Range(at_least=low, at_most=high)


def _amount(text: str, *, whole: bool) -> int | Decimal:
    amount = int(text) if whole else Decimal(text)
    if isinstance(amount, Decimal) and not amount.is_finite():
        raise ValueError("it is no amount")
    if amount < 0:
        raise ValueError("it is below 0")
    return amount


def age(text: str) -> timedelta:
    """Read how old something is: hours, days or weeks. Minutes could be meant as months.

    >>> age("30d")
    datetime.timedelta(days=30)
    """
    found = _AGE.fullmatch(text.strip())
    amount = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < amount <= _OLDEST:
        raise ValueError(f"{text!r} is no age; write 36h, 30d or 52w, and 100 years at most")
    return amount
