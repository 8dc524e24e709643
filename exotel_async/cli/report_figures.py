"""What does a report say: the figures of its charts, worked out of tallies, as JSON has them too.

Words and numbers that came from elsewhere are masked here, made printable, and cut to a length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

import attrs

from exotel_async.models.numbers import NumberMetadata

from .rows import Look, printable
from .tallying import NO_WORD, Few, Tallies, quantile, rate

HOURS = range(24)
SERIES = ("completed", "no-answer", "busy", "failed", "canceled")  # all others are one
OTHER = "other"
MOST_DAYS = 31  # that are drawn as days; more become days of the week
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DEFINITION = (
    "Answer rate: calls with the status completed, of all outbound calls that ended (completed, "
    "no-answer, busy, failed or canceled). Inbound calls do not count: Exotel calls them "
    "completed even if nobody answered."
)

_EDGES = (1, 10, 30, 60, 120, 300, 600, 1200, 3600)  # seconds
_LONGEST_WORD = 40
_FEW_DAYS = 2


@attrs.frozen(kw_only=True)
class StatusCount:
    """How many calls have a status; `series` is under which of the few colours it goes."""

    status: str
    series: str
    calls: int
    by_hour: tuple[int, ...]  # 24 hours of the day; calls without a time are in none


@attrs.frozen(kw_only=True)
class Row:
    """One row of the map of hours: a day, or a day of the week in a long range."""

    day: str
    by_hour: tuple[int, ...]


@attrs.frozen(kw_only=True)
class Rate:
    """How many outbound calls were answered, of those that ended."""

    name: str
    answered: int
    ended: int

    @property
    def share(self) -> float:
        """The answer rate, 0 to 1."""
        return self.answered / self.ended if self.ended else 0.0


@attrs.frozen(kw_only=True)
class Bucket:
    """Calls with so many seconds of talk; `below` is None in the last one."""

    at_least: int
    below: int | None
    calls: int


@attrs.frozen(kw_only=True)
class Talk:
    """How long was talked, in calls where anybody did."""

    calls: int
    without_talk: int
    median: int  # seconds
    ninetieth: int  # seconds; nine of ten calls are no longer
    buckets: tuple[Bucket, ...]


@attrs.frozen(kw_only=True)
class Circles:
    """Answer rates by the other party's circle."""

    rates: tuple[Rate, ...]
    looked_up: int  # numbers
    failed: int  # of these, Exotel did not say
    calls_left_out: int  # outbound calls that ended, to numbers that were not looked up


@attrs.frozen(kw_only=True)
class Report:
    """All that is charted."""

    created_after: datetime | None  # what was asked for
    created_before: datetime | None
    first: datetime | None  # what was found
    last: datetime | None
    time_zone: str
    records: int
    undated: int
    skipped: int  # entries without a Sid
    statuses: tuple[StatusCount, ...]
    days: tuple[Row, ...]  # none where the range is of two days or less
    answered: Rate
    exophones: tuple[Rate, ...]
    circles: Circles | None
    talk: Talk | None  # None: no record told

    @property
    def by_hour(self) -> tuple[int, ...]:
        """Calls in each hour of the day."""
        return _summed(status.by_hour for status in self.statuses)

    @property
    def series(self) -> tuple[StatusCount, ...]:
        """The statuses as they are drawn: what is not Exotel's own word is one series."""
        drawn = []
        for name in (*SERIES, OTHER):
            same = [status for status in self.statuses if status.series == name]
            if same:
                hours = _summed(status.by_hour for status in same)
                calls = sum(status.calls for status in same)
                drawn.append(StatusCount(status=name, series=name, calls=calls, by_hour=hours))
        return tuple(drawn)


def report_of(
    tallies: Tallies,
    look: Look,
    *,
    created: tuple[datetime | None, datetime | None] = (None, None),
    skipped: int = 0,
    circles: Circles | None = None,
) -> Report:
    """Work out what is charted."""
    first, last = (at and at.astimezone(look.zone) for at in (tallies.first, tallies.last))
    return Report(
        created_after=created[0],
        created_before=created[1],
        first=first,
        last=last,
        time_zone=_zone_name(look, last or created[1]),
        records=tallies.records,
        undated=tallies.undated,
        skipped=skipped,
        statuses=_statuses(tallies, look),
        days=_days(tallies),
        answered=_overall(tallies.exophones),
        exophones=_by_exophone(tallies.exophones, look),
        circles=circles,
        talk=_talk(tallies),
    )


def word(text: str, look: Look) -> str:
    """Make a word from elsewhere fit to be shown."""
    shown = printable(look.hide(text))  # masked before it is cut: half a number is not known
    return shown if len(shown) <= _LONGEST_WORD else shown[: _LONGEST_WORD - 1] + "…"


def seconds_text(seconds: int) -> str:
    """Write a length of time.

    >>> seconds_text(3725), seconds_text(90), seconds_text(60)
    ('1 h 2 min', '1 min 30 s', '1 min')
    """
    if seconds < 60:
        return f"{seconds} s"
    large, small, units = (
        (*divmod(seconds // 60, 60), ("h", "min"))
        if seconds >= 3600
        else (*divmod(seconds, 60), ("min", "s"))
    )
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")


def bucket_text(bucket: Bucket) -> str:
    """Write which talk times a bucket takes.

    >>> bucket_text(Bucket(at_least=60, below=120, calls=0))
    '1 min to 2 min'
    """
    if bucket.below is None:
        return f"{seconds_text(bucket.at_least)} or more"
    if bucket.at_least <= 1:
        return f"under {seconds_text(bucket.below)}"
    return f"{seconds_text(bucket.at_least)} to {seconds_text(bucket.below)}"


def percent(share: float) -> str:
    """Write a share; what is neither nothing nor all never looks like it.

    >>> percent(0.624), percent(0.9999), percent(0.001), percent(0)
    ('62 %', '99 %', '1 %', '0 %')
    """
    whole = round(share * 100)
    if 0 < share < 1:
        whole = min(99, max(1, whole))
    return f"{whole} %"


def circles_of(
    numbers: Few[str], found: Mapping[str, NumberMetadata | None], look: Look
) -> Circles:
    """Sum answers up by circle; None for a number that Exotel told nothing of."""
    sums: dict[str, Counter[str]] = {}
    for number, counts in numbers.known.items():
        if number in found:
            sums.setdefault(_circle(found[number]), Counter()).update(counts)
    unknown = numbers.rest + numbers.known.get(NO_WORD, Counter())
    return Circles(
        rates=_rates((word(name, look), counts) for name, counts in sums.items()),
        looked_up=len(found),
        failed=sum(metadata is None for metadata in found.values()),
        calls_left_out=rate(unknown)[1],
    )


def circles_note(circles: Circles) -> str:
    """Say what the answer rates by circle rest on."""
    parts = [f"{circles.looked_up:,} numbers looked up"]
    if circles.failed:
        parts.append(f"{circles.failed:,} not known")
    if circles.calls_left_out:
        parts.append(f"{circles.calls_left_out:,} calls to others left out")
    return ", ".join(parts)


def _circle(metadata: NumberMetadata | None) -> str:
    """Name a circle in short: Exotel's names go into detail."""
    name = (metadata.circle_name or metadata.circle) if metadata else None
    short = (name or "").partition(" (")[0].removesuffix(" Telecom Circle")
    return short or "not known"


def _zone_name(look: Look, at: datetime | None) -> str:
    offset = (at or datetime.now(look.zone)).astimezone(look.zone).strftime("%z")
    name = str(look.zone)
    return name if "/" in name else f"UTC{offset[:3]}:{offset[3:]}"


def _statuses(tallies: Tallies, look: Look) -> tuple[StatusCount, ...]:
    counted = [
        _status(word(name, look) or "no status", name, hours)
        for name, hours in tallies.statuses.known.items()
    ]
    if tallies.statuses.rest:
        counted.append(_status("further words", OTHER, tallies.statuses.rest))
    return tuple(sorted(counted, key=lambda one: (_place(one.series), -one.calls, one.status)))


def _status(shown: str, name: str, hours: Counter[tuple[date, int] | None]) -> StatusCount:
    by_hour = Counter[int]()
    for hour, calls in hours.items():
        if hour is not None:
            by_hour[hour[1]] += calls
    return StatusCount(
        status=shown,
        series=name if name in SERIES else OTHER,
        calls=hours.total(),
        by_hour=tuple(by_hour[hour] for hour in HOURS),
    )


def _place(series: str) -> int:
    return SERIES.index(series) if series in SERIES else len(SERIES)


def _days(tallies: Tallies) -> tuple[Row, ...]:
    cells = Counter[tuple[date, int]]()
    for hours in (*tallies.statuses.known.values(), tallies.statuses.rest):
        cells.update({hour: calls for hour, calls in hours.items() if hour is not None})
    if not cells:
        return ()
    first, last = (edge(day for day, _ in cells) for edge in (min, max))
    length = (last - first).days + 1
    if length <= _FEW_DAYS:
        return ()
    if length > MOST_DAYS:
        return _weekdays(cells)
    days = [first + timedelta(days=i) for i in range(length)]
    return tuple(
        Row(day=f"{WEEKDAYS[day.weekday()]} {day.day:>2}", by_hour=_hours(cells, day))
        for day in days
    )


def _weekdays(cells: Mapping[tuple[date, int], int]) -> tuple[Row, ...]:
    sums = Counter[tuple[int, int]]()
    for (day, hour), calls in cells.items():
        sums[day.weekday(), hour] += calls
    return tuple(
        Row(day=name, by_hour=tuple(sums[i, hour] for hour in HOURS))
        for i, name in enumerate(WEEKDAYS)
    )


def _hours(cells: Mapping[tuple[date, int], int], day: date) -> tuple[int, ...]:
    return tuple(cells.get((day, hour), 0) for hour in HOURS)


def _overall(exophones: Few[str]) -> Rate:
    counted = sum(exophones.known.values(), Counter(exophones.rest))
    answered, ended = rate(counted)
    return Rate(name="all", answered=answered, ended=ended)


def _by_exophone(exophones: Few[str], look: Look) -> tuple[Rate, ...]:
    named = [(word(name, look) or "none", counts) for name, counts in exophones.known.items()]
    if exophones.rest:
        named.append(("further ones", exophones.rest))
    return _rates(named)


def _rates(counted: Iterable[tuple[str, Mapping[str, int]]]) -> tuple[Rate, ...]:
    """Busiest first."""
    found = [(name, *rate(counts)) for name, counts in counted]
    rates = [Rate(name=name, answered=answered, ended=ended) for name, answered, ended in found]
    return tuple(sorted(rates, key=lambda one: (-one.ended, one.name)))


def _talk(tallies: Tallies) -> Talk | None:
    median, ninetieth = (quantile(tallies.talk, share) for share in (0.5, 0.9))
    if median is None or ninetieth is None:
        return None
    return Talk(
        calls=tallies.talk.total(),
        without_talk=tallies.without_talk,
        median=median,
        ninetieth=ninetieth,
        buckets=_buckets(tallies.talk),
    )


def _buckets(talk: Mapping[int, int]) -> tuple[Bucket, ...]:
    bounds: Sequence[tuple[int, int | None]] = [*pairwise(_EDGES), (_EDGES[-1], None)]
    return tuple(
        Bucket(
            at_least=low,
            below=high,
            calls=sum(
                calls for s, calls in talk.items() if s >= low and (high is None or s < high)
            ),
        )
        for low, high in bounds
    )


def _summed(columns: Iterable[Sequence[int]]) -> tuple[int, ...]:
    known = list(columns)
    return tuple(sum(column[hour] for column in known) for hour in HOURS)
