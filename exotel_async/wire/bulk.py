"""How is Exotel asked for call records, one or many, and how is a page of them read.

Exotel: Voice v1, "Bulk Call Details" and "Call Details".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import TypedDict
from urllib.parse import parse_qs

import attrs

from exotel_async.errors import InvalidRequestError
from exotel_async.models.calls import Call, CallPage, Range
from exotel_async.models.vocabulary import CallStatus, Direction

from . import checks
from .connecting import read_call
from .converter import Converter, Tree
from .fields import MissingSidError
from .request import Pair, Request
from .values import read_seconds, word_reader

MOST_SIDS = 100
MOST_NUMBERS = 5
MOST_DAYS = 30
_MONTHS_KEPT = 6
_PARAMETERS = (
    "Sid", "DateCreated", "To", "From", "Status", "Duration", "Price", "Direction",
    "PhoneNumber", "PageSize", "SortBy", "Before", "After", "details",
)  # fmt: skip


class BulkFilters(TypedDict, total=False):
    """Which calls, and how they come. Several filters must all hold; several values: any."""

    sids: str | Iterable[str]
    created_after: datetime | None  # aware, inclusive, whole seconds
    created_before: datetime | None
    to: str | Iterable[str]
    from_: str | Iterable[str]
    phone_numbers: str | Iterable[str]  # ExoPhones
    statuses: str | Iterable[str]
    directions: str | Iterable[str]
    duration: int | Range | None  # seconds, ringing included
    price: int | float | Decimal | Range | None  # in the currency of the account
    details: bool  # with legs and talk time
    ascending: bool  # oldest first
    page_size: int  # 1 to 100
    extra: Mapping[str, str] | None  # parameters newer than this release


@attrs.frozen(kw_only=True)
class BulkQuery:
    """A checked question for call records; it may need several requests."""

    sids: tuple[str, ...] = ()
    created: tuple[datetime, datetime] | None = None  # both inclusive
    to: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    phone_numbers: tuple[str, ...] = ()
    others: tuple[Pair, ...] = ()
    ascending: bool = False
    page_size: int = 100


def bulk_query(
    *,
    now: datetime,
    sids: str | Iterable[str] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    to: str | Iterable[str] = (),
    from_: str | Iterable[str] = (),
    phone_numbers: str | Iterable[str] = (),
    statuses: str | Iterable[str] = (),
    directions: str | Iterable[str] = (),
    duration: int | Range | None = None,
    price: float | Decimal | Range | None = None,
    details: bool = False,
    ascending: bool = False,
    page_size: int = 100,
    extra: Mapping[str, str] | None = None,
) -> BulkQuery:
    """Check the filters and fill in what Exotel wants said."""
    others = (
        ("Status", _words("statuses", statuses, CallStatus)),
        ("Direction", _words("directions", directions, Direction)),
        ("Duration", _range("duration", duration, unit="s")),
        ("Price", _range("price", price)),
        ("details", "true" if checks.flag("details", details) else ""),
    )
    return BulkQuery(
        sids=_values("sids", sids),
        created=_created(created_after, created_before, now=now),
        to=_values("to", to),
        from_=_values("from_", from_),
        phone_numbers=_values("phone_numbers", phone_numbers),
        others=tuple(pair for pair in others if pair[1])
        + checks.extra_parameters(extra, named=_PARAMETERS),
        ascending=checks.flag("ascending", ascending),
        page_size=checks.whole("page_size", page_size, least=1, most=100),
    )


def split(query: BulkQuery) -> Iterator[BulkQuery]:
    """Cut a question into ranges of time that requests may carry, in the order asked for.

    Two neighbours share a second: what was created in the middle of it is in one of them.
    """
    windows = list(_windows(query.created))
    for window in windows if query.ascending else reversed(windows):
        yield attrs.evolve(query, created=window)


def parts_of(query: BulkQuery) -> tuple[BulkQuery, ...]:
    """Cut a question with too many values into several, whose answers are to be merged."""
    return tuple(
        attrs.evolve(query, sids=sids, to=to, from_=from_, phone_numbers=own)
        for sids in _chunks(query.sids, MOST_SIDS)
        for to in _chunks(query.to, MOST_NUMBERS)
        for from_ in _chunks(query.from_, MOST_NUMBERS)
        for own in _chunks(query.phone_numbers, MOST_NUMBERS)
    )


def refuse_splitting(query: BulkQuery, *, zone: tzinfo | None = None) -> BulkQuery:
    """Take only what one request can carry; the error names dates in `zone`, or else in UTC."""
    for name, values, most in (
        ("sids", query.sids, MOST_SIDS),
        ("to", query.to, MOST_NUMBERS),
        ("from_", query.from_, MOST_NUMBERS),
        ("phone_numbers", query.phone_numbers, MOST_NUMBERS),
    ):
        if len(values) > most:
            raise InvalidRequestError(
                f"{name} may hold at most {most} values for one page, but holds {len(values)}; "
                "list() splits them"
            )
    if query.created is not None and len(list(_windows(query.created))) > 1:
        start, end = query.created
        # Reckoned in UTC: where clocks change, thirty days of theirs may be an hour too long.
        reach = timedelta(days=MOST_DAYS)
        first, last, latest, earliest = (
            moment.astimezone(zone or UTC).isoformat()
            for moment in (start, end, start + reach, end - reach)
        )
        raise InvalidRequestError(
            f"created_after ({first}) and created_before ({last}) may lie at most {MOST_DAYS} days "
            f"apart for one page: give created_before {latest} at the latest, or created_after "
            f"{earliest} at the earliest; list() splits longer ranges"
        )
    return query


def zone_given(filters: BulkFilters) -> tzinfo | None:
    """Tell in which zone the user thinks; None where no time was given."""
    given = filters.get("created_after") or filters.get("created_before")
    return None if given is None else given.tzinfo


def bulk_calls(
    query: BulkQuery, *, zone: tzinfo, after: str | None = None, before: str | None = None
) -> Request[CallPage]:
    """Ask for one page of records."""
    if after is not None and before is not None:
        raise InvalidRequestError("after and before must not both be given: a page has one cursor")
    pairs = (
        ("Sid", ",".join(query.sids)),
        ("DateCreated", _spell_created(query.created, zone)),
        ("To", ",".join(query.to)),
        ("From", ",".join(query.from_)),
        ("PhoneNumber", ",".join(query.phone_numbers)),
        *query.others,
        ("SortBy", "DateCreated:asc" if query.ascending else ""),
        ("PageSize", str(query.page_size)),
        ("After", "" if after is None else checks.text("after", after)),
        ("Before", "" if before is None else checks.text("before", before)),
    )
    sent = tuple(pair for pair in pairs if pair[1])
    return Request(method="GET", path=("Calls",), query=sent, decode=read_page)


def call_details(
    sid: str, *, details: bool = False, recording_url_validity: int | None = None
) -> Request[Call]:
    """Ask for one call's record."""
    query = []
    if checks.flag("details", details):
        query.append(("details", "true"))
    if recording_url_validity is not None:
        minutes = checks.whole("recording_url_validity", recording_url_validity, least=5, most=60)
        query.append(("RecordingUrlValidity", str(minutes)))
    return Request(
        method="GET", path=("Calls", checks.text("sid", sid)), query=tuple(query), decode=read_call
    )


def read_page(converter: Converter, tree: Tree) -> CallPage:
    """Read a page; an entry without a Sid is left out and counted."""
    entries = _entries(tree)
    calls = _read_entries(converter, entries)
    metadata = tree.get("Metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return CallPage(
        calls=tuple(calls),
        total=_count(metadata.get("Total")),
        page_size=_count(metadata.get("PageSize")),
        after=_cursor(metadata.get("NextPageUri"), "After"),
        before=_cursor(metadata.get("PrevPageUri"), "Before"),
        skipped=len(entries) - len(calls),
    )


def _entries(tree: Tree) -> list[object]:
    """Find the records: JSON lists them in Calls, XML has one Call after the other."""
    if not {"Metadata", "Calls", "Call"} & tree.keys():
        raise ValueError("it holds no Calls")
    found = tree.get("Calls") or tree.get("Call") or []
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise ValueError("its Calls are no list")  # noqa: TRY004 - readers raise ValueError
    return found


def _read_entries(converter: Converter, entries: list[object]) -> list[Call]:
    calls = []
    for entry in entries:
        if isinstance(entry, dict):
            try:
                calls.append(converter.call(entry))
            except MissingSidError:
                continue
    return calls


def _count(value: object) -> int | None:
    try:
        return read_seconds(value)
    except ValueError:
        return None


def _cursor(uri: object, name: str) -> str | None:
    """Take the cursor out of a page's URI, and nothing else: its host is not ours to trust."""
    if not isinstance(uri, str):
        return None
    query = uri.replace("&amp;", "&").partition("?")[2]
    found = parse_qs(query).get(name)
    return found[0].replace(" ", "+") if found else None  # a + of base64 that was not encoded


def _values(name: str, value: str | Iterable[str]) -> tuple[str, ...]:
    values = checks.texts(name, value)
    for one in values:
        if "," in one or ";" in one:
            checks.refuse(name, one, "without ',' and ';', which join values in Exotel's filters")
    return values


def _words(name: str, value: str | Iterable[str], vocabulary: type[CallStatus | Direction]) -> str:
    read = word_reader(vocabulary)
    return ",".join(dict.fromkeys(read(one, None) or one for one in _values(name, value)))


def _range(name: str, value: float | Decimal | Range | None, *, unit: str = "") -> str:
    if value is None:
        return ""
    if not isinstance(value, Range):
        return f"eq:{_amount(name, value, unit)}"
    low, high = value.at_least, value.at_most
    if low is None and high is None:
        checks.refuse(name, value, "a number or a Range with at least one bound")
    bounds = [("gte", low, f"{name}.at_least"), ("lte", high, f"{name}.at_most")]
    spelt = [f"{op}:{_amount(where, n, unit)}" for op, n, where in bounds if n is not None]
    if low is not None and high is not None and low > high:
        checks.refuse(name, value, "a Range whose at_least is not above its at_most")
    return ";".join(spelt)


def _amount(name: str, value: object, unit: str) -> str:
    if unit:
        return f"{checks.whole(name, value, least=0)}{unit}"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        checks.refuse(name, value, "a number")
    amount = Decimal(str(value))
    if not amount.is_finite() or amount < 0:
        checks.refuse(name, value, "a finite number of at least 0")
    return f"{amount:f}"


def _created(
    after: datetime | None, before: datetime | None, *, now: datetime
) -> tuple[datetime, datetime] | None:
    """Complete a range: Exotel is said to answer half a range with the whole account."""
    if after is None and before is None:
        return None
    oldest = _months_before(now, _MONTHS_KEPT)
    latest = now + timedelta(days=1)  # later ones cannot exist; a day for clocks that differ
    end = now if before is None else min(_kept("created_before", before, oldest=oldest), latest)
    if after is None:
        start = max(oldest, end - timedelta(days=MOST_DAYS))
    else:
        start = _kept("created_after", after, oldest=oldest)
    if start > latest or _utc(start) > _utc(end):
        told = f"now ({now.isoformat()} by the client's clock)"
        bound = told if before is None else f"created_before ({before.isoformat()}) or tomorrow"
        raise InvalidRequestError(f"created_after ({start.isoformat()}) must not lie after {bound}")
    return _utc(start), _utc(end)


def _kept(name: str, moment: object, *, oldest: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        checks.refuse(name, moment, "a datetime with a time zone")
    if moment < oldest:
        raise InvalidRequestError(
            f"{name} is {moment.isoformat()}, but Exotel keeps six months of records: the "
            f"earliest that works is {oldest.astimezone(moment.tzinfo).isoformat()}"
        )
    return moment


def _utc(moment: datetime) -> datetime:
    """Cut off parts of a second. In UTC days are of one length: windows leave out no hour."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _months_before(now: datetime, months: int) -> datetime:
    """Go back to the start of the day that many months ago; the 1st where the day is missing."""
    years, month = divmod(now.month - 1 - months, 12)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return start.replace(year=now.year + years, month=month + 1)
    except ValueError:  # 31 August less six months
        return start.replace(year=now.year + years, month=month + 2, day=1)


def _windows(
    created: tuple[datetime, datetime] | None,
) -> Iterator[tuple[datetime, datetime] | None]:
    if created is None:
        yield None
        return
    start, end = created
    while end - start > (most := timedelta(days=MOST_DAYS)):
        yield start, start + most
        start += most
    yield start, end


def _chunks(values: tuple[str, ...], most: int) -> list[tuple[str, ...]]:
    return [values[i : i + most] for i in range(0, len(values), most)] or [()]


def _spell_created(created: tuple[datetime, datetime] | None, zone: tzinfo) -> str:
    if created is None:
        return ""
    start, end = (moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") for moment in created)
    return f"gte:{start};lte:{end}"
