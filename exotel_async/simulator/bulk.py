"""Says which calls a bulk request wants, and which page of them."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote_plus

import attrs

from .calls import FINISHED, Call
from .checks import Pairs, bad, flag, once, unknown, whole, word
from .clock import IST
from .numbers import is_number, key
from .shelves import Cursor, Shelf

Test = Callable[[Call], bool]


T = TypeVar("T")

DIRECTIONS = ("inbound", "outbound-dial", "outbound-api")
_ORDERS = ("DateCreated:desc", "DateCreated:asc")
_REACH = timedelta(days=31)
_NEVER = datetime.max.replace(tzinfo=UTC)
_MONTHS = 6
_MOST_SIDS = 100
_MOST_NUMBERS = 5
_TIME = "%Y-%m-%d %H:%M:%S"
# Names whose place in the page's URIs the samples show: these first, those last.
_FIRST = ("PageSize", "DateCreated", "SortBy")
_LAST = ("details", "NumbersMetadata")
_KNOWN = (
    *_FIRST,
    "After",
    "Before",
    "Sid",
    "Status",
    "Direction",
    "To",
    "From",
    "PhoneNumber",
    "Duration",
    "Price",
    "RecordingUrlValidity",
    *_LAST,
)


@attrs.frozen(kw_only=True)
class Query:
    """What one bulk request asks for."""

    created: tuple[datetime, datetime]  # both inclusive
    tests: tuple[Test, ...]  # which calls of that time
    page_size: int
    ascending: bool
    after: Cursor | None
    before: Cursor | None
    details: bool
    recording_url_validity: int | None  # minutes
    echo: str  # the query as the page's URIs repeat it, without a cursor


@attrs.frozen(kw_only=True)
class Page:
    """One page of records; a cursor is None where no further page lies."""

    calls: tuple[Call, ...]
    total: int
    before: str | None
    after: str | None


def parse(pairs: Pairs, *, now: datetime) -> Query:
    """Read a bulk request's query, or refuse it."""
    params = once(pairs)
    if "After" in params and "Before" in params:
        raise bad("Parameters After and Before exclude each other")
    order = word("SortBy", params.get("SortBy", _ORDERS[0]), _ORDERS)
    page_size = whole(params, "PageSize", least=1, most=100) or 50
    return Query(
        created=_created(params.get("DateCreated"), now=now),
        tests=tuple(_tests(params)),
        page_size=page_size,
        ascending=order == "DateCreated:asc",
        after=_cursor(params, "After"),
        before=_cursor(params, "Before"),
        details=flag(params, "details"),
        recording_url_validity=whole(params, "RecordingUrlValidity", least=5, most=60),
        echo=_echo({**params, "PageSize": str(page_size), "SortBy": order}),
    )


def doubts(pairs: Pairs) -> list[str]:
    """Say which parameters are not on the page: they filter nothing."""
    return unknown((name for name, _ in pairs), _KNOWN)


def page(shelf: Shelf, calls: Mapping[str, Call], query: Query) -> Page:
    """Pick the page that a query asks for; a shelf has the places of calls found by Sid."""
    places = shelf.places()
    low, high = shelf.between(*query.created)
    if query.tests:
        places = [place for place in places[low:high] if _passes(calls[place[1]], query)]
        low, high = 0, len(places)
    start, stop = _cut(places, low, high, query)
    shown = places[low + start : low + stop]
    if not query.ascending:
        shown = places[high - stop : high - start][::-1]
    return Page(
        calls=tuple(calls[sid] for _, sid in shown),
        total=high - low,
        before=_encoded(shown[0]) if shown and start > 0 else None,
        after=_encoded(shown[-1]) if shown and stop < high - low else None,
    )


def _passes(call: Call, query: Query) -> bool:
    return all(test(call) for test in query.tests)


def _cut(places: Sequence[Cursor], low: int, high: int, query: Query) -> tuple[int, int]:
    """Say from which to before which call the page goes, counted as the query sorts them."""
    if query.before is not None:
        if query.ascending:
            stop = bisect_left(places, query.before, low, high) - low
        else:
            stop = high - bisect_right(places, query.before, low, high)
        return max(0, stop - query.page_size), stop
    start = 0
    if query.after is not None:
        if query.ascending:
            start = bisect_right(places, query.after, low, high) - low
        else:
            start = high - bisect_left(places, query.after, low, high)
    return start, min(high - low, start + query.page_size)


def _encoded(place: Cursor) -> str:
    second, sid = place
    return b64encode(f"{second},{sid}".encode()).decode()


def _cursor(params: Mapping[str, str], name: str) -> Cursor | None:
    text = params.get(name)
    if text is None:
        return None
    try:
        second, _, sid = b64decode(text, validate=True).decode().partition(",")
        return int(second), sid
    except ValueError:
        raise bad(f"Invalid {name} {text!r}: must be taken from a page's URI as it is") from None


def _echo(params: Mapping[str, str]) -> str:
    middle = [name for name in params if name not in (*_FIRST, *_LAST, "After", "Before")]
    names = [name for name in (*_FIRST, *middle, *_LAST) if name in params]
    return "&".join(f"{name}={_quoted(name, params[name])}" for name in names)


def _quoted(name: str, value: str) -> str:
    return quote_plus(value, safe=":" if name == "SortBy" else "")


def _tests(params: Mapping[str, str]) -> Iterable[Test]:
    if "Sid" in params:
        yield _among(_several(params, "Sid", most=_MOST_SIDS), lambda call: call.sid)
    if "Status" in params:
        yield _among(_words(params, "Status", FINISHED), lambda call: call.status)
    if "Direction" in params:
        yield _among(_words(params, "Direction", DIRECTIONS), lambda call: call.direction)
    yield from _number_tests(params)
    if "Duration" in params:
        yield _range(params, "Duration", _seconds, lambda call: call.duration)
    if "Price" in params:
        yield _range(params, "Price", _amount, lambda call: call.price)


def _number_tests(params: Mapping[str, str]) -> Iterable[Test]:
    readers: dict[str, Callable[[Call], str]] = {
        "To": lambda call: key(call.to),
        "From": lambda call: key(call.from_),
        "PhoneNumber": lambda call: key(call.phone_number),
    }
    for name, read in readers.items():
        if name in params:
            numbers = _several(params, name, most=_MOST_NUMBERS)
            for number in numbers:
                if not is_number(number.strip()):
                    raise bad(f"Invalid {name} {number!r}: must be a phone number")
            yield _among({key(number.strip()) for number in numbers}, read)


def _among(wanted: Collection[str], read: Callable[[Call], str]) -> Test:
    chosen = frozenset(wanted)
    return lambda call: read(call) in chosen


def _several(params: Mapping[str, str], name: str, *, most: int) -> list[str]:
    values = params[name].split(",")
    if len(values) > most:
        raise bad(f"Too many values for {name}: {len(values)}, maximum allowed is {most}")
    if not all(value.strip() for value in values):
        raise bad(f"Invalid {name} {params[name]!r}: a value is empty")
    return values


def _words(params: Mapping[str, str], name: str, allowed: Collection[str]) -> list[str]:
    return [word(name, value, allowed) for value in params[name].split(",")]


def _range(
    params: Mapping[str, str],
    name: str,
    convert: Callable[[str], Decimal | None],
    read: Callable[[Call], int | Decimal | None],
) -> Test:
    terms = _terms(name, params[name], ("eq", "gte", "lte"), convert)

    def test(call: Call) -> bool:
        value = read(call)
        return value is not None and all(_holds(value, *term) for term in terms)

    return test


def _holds(value: int | Decimal, operator: str, limit: Decimal) -> bool:
    if operator == "gte":
        return value >= limit
    return value <= limit if operator == "lte" else value == limit


def _terms(
    name: str, text: str, operators: Collection[str], convert: Callable[[str], T | None]
) -> list[tuple[str, T]]:
    """Read `gte:10s;lte:45s`; where eq is allowed it may be left out."""
    terms: list[tuple[str, T]] = []
    for part in text.split(";"):
        operator, colon, rest = part.partition(":")
        if not colon and "eq" in operators:
            operator, rest = "eq", part
        value = convert(rest) if operator in operators else None
        if value is None or operator in dict(terms):
            raise bad(f"Invalid {name} {text!r}: {_wanted(name, operators)}")
        terms.append((operator, value))
    return terms


def _wanted(name: str, operators: Collection[str]) -> str:
    example = {"DateCreated": "2019-01-01 00:00:00", "Duration": "10s"}.get(name, "0.10")
    return f"write gte:{example};lte:..., operators are {', '.join(operators)}"


def _seconds(text: str) -> Decimal | None:
    return Decimal(text.removesuffix("s")) if re.fullmatch(r"[0-9]{1,9}s?", text) else None


def _amount(text: str) -> Decimal | None:
    return Decimal(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def _time(text: str) -> datetime | None:
    try:
        found = datetime.strptime(text, _TIME).replace(tzinfo=IST)
    except ValueError:
        return None
    return found if found.strftime(_TIME) == text else None  # strptime takes single digits, too


def _created(text: str | None, *, now: datetime) -> tuple[datetime, datetime]:
    if text is None:
        return now - _REACH, _NEVER
    limits = dict(_terms("DateCreated", text, ("gte", "lte"), _time))
    if "gte" in limits and limits["gte"] > limits.get("lte", limits["gte"]):
        raise bad(f"Invalid DateCreated {text!r}: it ends before it starts")
    last = limits.get("lte", max(now, limits.get("gte", now)))
    # What was left out goes as far as it may.
    first = limits.get("gte", max(last - _REACH, min(last, _months_before(now))))
    if last - first > _REACH:
        raise bad(f"Invalid DateCreated {text!r}: maximum date range is 1 month")
    if first < _months_before(now):
        raise bad(f"Invalid DateCreated {text!r}: records are kept for {_MONTHS} months only")
    return first, last


def _months_before(now: datetime) -> datetime:
    years, month = divmod(now.year * 12 + now.month - 1 - _MONTHS, 12)
    day = min(now.day, monthrange(years, month + 1)[1])
    return now.replace(year=years, month=month + 1, day=day)
