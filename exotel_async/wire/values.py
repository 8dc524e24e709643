"""What does one value of Exotel's mean: text or JSON scalar in, Python value out.

Every reader takes the value (and the type that cattrs passes, unused), returns None where Exotel
says "no value" in one of its ways, and raises ValueError where it can't be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import StrEnum
from math import isfinite

IST = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian wall clock, the zone of Exotel's naive time stamps."""

NO_VALUE = frozenset({"", "null", "NULL", "Null", "N/A", "n/a"})

_SECONDS = re.compile(r"\s*(\d{1,12})(?:\.(\d{1,20}))?\s*", re.ASCII)
_PRICE = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_RFC_822 = re.compile(r"[A-Za-z]{3}, \d{1,2} [A-Za-z]{3} \d{4} \d\d:\d\d:\d\d", re.ASCII)
_LOST_PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:?\d\d$)", re.ASCII)
_MOST_DIGITS = 12  # more are no duration and no price
_TOO_MANY_SECONDS = 10**_MOST_DIGITS
_WHOLE_STAMP = len("2017-03-03 10:48:33")
_FIRST_REAL_YEAR = 1971  # what is older is one of Exotel's placeholders

Reader = Callable[[object, object], object]


class InexactError(ValueError):
    """A value was read, but not all of it; its text must be kept beside it."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value


def read_text(value: object, _: object = None) -> str | None:
    """Read a text; numbers become their text.

    >>> read_text("N/A"), read_text("0XXXXX30240"), read_text(80)
    (None, '0XXXXX30240', '80')
    """
    if type(value) is str:
        return None if value in NO_VALUE else value
    if value is None:
        return None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and isfinite(value):  # a JSON reader of the user's makes some
        return str(value)
    raise ValueError("not a text")


def read_custom_field(value: object, _: object = None) -> str | None:
    """Read the user's own text: even "null" may be meant.

    >>> read_custom_field("null"), read_custom_field("")
    ('null', None)
    """
    return value if isinstance(value, str) and value else read_text(value)


def read_seconds(value: object, _: object = None) -> int | None:
    """Read whole seconds.

    >>> read_seconds("17"), read_seconds("29.0"), read_seconds("")
    (17, 29, None)
    """
    if type(value) is str and value.isdecimal() and len(value) <= _MOST_DIGITS:
        return int(value)
    if type(value) is int and 0 <= value < _TOO_MANY_SECONDS:
        return value
    text = read_text(value)
    if text is None:
        return None
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise ValueError("not a number of seconds")
    seconds = int(match[1])
    if (match[2] or "").strip("0"):
        raise InexactError(seconds)
    return seconds


def read_price(value: object, _: object = None) -> Decimal | None:
    """Read an amount of money, digit for digit.

    >>> read_price("1.500"), read_price("N/A")
    (Decimal('1.500'), None)
    """
    text = read_text(value)
    if text is None:
        return None
    if not (text.replace(".", "", 1).isdecimal() and len(text) <= _MOST_DIGITS):
        text = text.strip()
        if _PRICE.fullmatch(text) is None:
            raise ValueError("not an amount")
    return Decimal(text)


def time_reader(zone: tzinfo) -> Callable[[object, object], datetime | None]:
    """Make a reader of time stamps that takes naive ones as the wall clock of `zone`."""
    combine, from_iso = datetime.combine, datetime.fromisoformat

    def read_time(value: object, _: object = None) -> datetime | None:
        try:
            stamp = from_iso(value)  # type: ignore[arg-type]  # a TypeError is caught below
        except (TypeError, ValueError):
            return _read_odd_time(value, zone)
        if stamp.tzinfo is None and stamp.year >= _FIRST_REAL_YEAR and len(value) == _WHOLE_STAMP:  # type: ignore[arg-type]  # it was a text
            return combine(stamp.date(), stamp.time(), zone)  # quicker than replace(tzinfo=)
        return _read_odd_time(value, zone)

    return read_time


def _read_odd_time(value: object, zone: tzinfo) -> datetime | None:
    text = read_text(value)
    if text is None or text.startswith("0000-00-00"):
        return None
    stamp = _parse_time(_LOST_PLUS.sub("+", text.strip()))
    if stamp.year < _FIRST_REAL_YEAR:
        return None
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=zone)


def _parse_time(text: str) -> datetime:
    if _RFC_822.match(text):
        from email.utils import parsedate_to_datetime  # hardly ever needed

        try:
            return parsedate_to_datetime(text)
        except OverflowError as error:  # an offset of twenty digits
            raise ValueError("not a time stamp") from error
    if len(text) < _WHOLE_STAMP:
        raise ValueError("not a whole time stamp")
    return datetime.fromisoformat(text)


def word_reader(vocabulary: type[StrEnum]) -> Callable[[object, object], str | None]:
    """Make a reader that knows a vocabulary's words in any spelling and lets others pass."""
    known: dict[object, str] = {str(word): str(word) for word in vocabulary}
    folded = {fold(word): str(word) for word in vocabulary}

    def read_word(value: object, _: object = None) -> str | None:
        try:
            return known[value]
        except (KeyError, TypeError):
            text = read_text(value)
        if text is None or fold(text) in {"", "na"}:
            return None
        return folded.get(fold(text), text)

    return read_word


def fold(word: str) -> str:
    """Reduce a word to what all its spellings share.

    >>> fold("No_Answer"), fold("cancelled")
    ('no-answer', 'canceled')
    """
    return re.sub(r"[\s_-]+", "-", word.strip().casefold()).replace("cancelled", "canceled")
