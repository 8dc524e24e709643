"""What do the charts of a report look like as SVG: as wide as there is room, with text that stays.

Places across are percentages, so that a phone gets narrower columns and not smaller letters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

import attrs

from .markup import Markup, tag
from .report_figures import (
    HOURS,
    Bucket,
    Rate,
    Report,
    Row,
    Talk,
    bucket_text,
    percent,
    seconds_text,
)

_PLOT = 200  # pixels high
_TOP = 20  # pixels above it, for the label of the highest column
_FOOT = 24  # pixels below it, for the axis
_CELL = 22  # pixels high, in the map of hours
_MARKS = 44  # pixels above the talk times, for median and 90th percentile
_LETTER = 7  # pixels wide, at most


def columns_by_hour(report: Report) -> Markup:
    """Draw columns of calls by hour, stacked by status."""
    ticks = ticks_up_to(max(report.by_hour))
    top = ticks[-1]
    height = _TOP + _PLOT + _FOOT
    plot = _chart(
        "hours",
        "Calls by hour of the day and status",
        _said_of_hours(report),
        *(_grid(_y(tick, top), "grid") for tick in ticks[1:]),
        *_stacks(report, top),
        _grid(_y(0, top), "base"),
        *_peak(report.by_hour, top),
        *(_across(_center(hour), height - 6, f"{hour:02}") for hour in HOURS[::3]),
        height=height,
    )
    labels = [_at_end(_y(tick, top) + 4, f"{tick:,}") for tick in ticks]
    return _beside(labels, len(f"{top:,}"), plot, height=height)


def _said_of_hours(report: Report) -> str:
    most = max(report.by_hour)
    parts = ", ".join(f"{one.calls:,} {one.status}" for one in report.series)
    return f"{parts}. Busiest hour: {report.by_hour.index(most):02}:00 with {most:,} calls."


def ticks_up_to(most: int) -> list[int]:
    """Choose round numbers for an axis, the last of which is not below the most.

    >>> ticks_up_to(34), ticks_up_to(1)
    ([0, 10, 20, 30, 40], [0, 1])
    """
    least = max(most, 1) / 4
    power = 10 ** math.floor(math.log10(max(least, 1)))
    steps = (10, 20, 50, 100) if power == 1 else (10, 20, 25, 50, 100)  # tenths
    step = next(power * n // 10 for n in steps if power * n >= 10 * least)
    return list(range(0, -(-max(most, 1) // step) * step + 1, step))


def _y(calls: int, top: int) -> float:
    return round(_TOP + _PLOT * (1 - calls / top), 2)


def _center(hour: int) -> float:
    return (hour + 0.5) / 24 * 100


def _stacks(report: Report, top: int) -> Iterator[Markup]:
    for hour in HOURS:
        ends = accumulate(one.by_hour[hour] for one in report.series)
        for one, end in zip(report.series, ends, strict=True):
            calls = one.by_hour[hour]
            if calls:
                said = f"{hour:02}:00 to {hour + 1:02}:00: {calls:,} {one.status}"
                yield _rect(
                    (hour + 0.12) / 24 * 100,
                    _y(end, top),
                    0.76 / 24 * 100,
                    _PLOT * calls / top,
                    said,
                    class_=f"seam s-{one.series}",
                )


def _peak(by_hour: Sequence[int], top: int) -> Iterator[Markup]:
    most = max(by_hour)
    if most:
        hour = by_hour.index(most)
        yield _across(_center(hour), _y(most, top) - 6, f"{most:,}", class_="direct halo")


def map_of_hours(rows: Sequence[Row]) -> Markup:
    """Draw days by hours, the more calls the darker."""
    most = max(calls for row in rows for calls in row.by_hour) or 1
    height = len(rows) * _CELL + _FOOT
    plot = _chart(
        "map",
        "Calls by day and hour",
        _said_of_map(rows, most),
        *(_map_cell(row, i, hour, most) for i, row in enumerate(rows) for hour in HOURS),
        *(_across(_center(hour), height - 6, f"{hour:02}") for hour in HOURS[::3]),
        height=height,
    )
    labels = [_at_end((i + 0.5) * _CELL + 4, row.day) for i, row in enumerate(rows)]
    return _beside(labels, max(len(row.day) for row in rows), plot, height=height)


def _said_of_map(rows: Sequence[Row], most: int) -> str:
    row = next(row for row in rows if max(row.by_hour) == max(map(max, (r.by_hour for r in rows))))
    return (
        f"The busiest hour is {row.by_hour.index(max(row.by_hour)):02}:00 on {row.day}: {most:,}."
    )


def _map_cell(row: Row, place: int, hour: int, most: int) -> Markup:
    calls = row.by_hour[hour]
    said = f"{row.day}, {hour:02}:00: {calls:,}"
    box = (hour / 24 * 100, place * _CELL, 100 / 24, _CELL, said)
    if not calls:
        return _rect(*box, class_="cell none")
    return _rect(*box, class_="cell", fill_opacity=_opacity(calls / most))


def _opacity(share: float) -> float:
    return round(0.12 + 0.88 * share, 3)


def scale_of_map() -> Markup:
    """Draw what the colours of the map mean."""
    none = _rect(0, 0, 100 / 6, 12, None, class_="cell none")
    cells = (
        _rect((i + 1) * 100 / 6, 0, 100 / 6, 12, None, class_="cell", fill_opacity=_opacity(i / 4))
        for i in range(5)
    )
    return tag("svg", none, *cells, height=12, aria_hidden="true")


def swatch(series: str) -> Markup:
    """Draw the colour of a status."""
    box = tag("rect", width="100%", height="100%", rx=2, class_=f"s-{series}")
    return tag("svg", box, aria_hidden="true")


def rate_bar(rate: Rate, overall: Rate) -> Markup:
    """Draw an answer rate, with a mark where that of all calls is."""
    mark = f"{overall.share * 100:.2f}%"
    return tag(
        "svg",
        tag("title", f"{rate.name}: {percent(rate.share)}"),
        tag("rect", class_="track", y=3, width="100%", height=8, rx=4),
        tag("rect", class_="bar", y=3, width=f"{rate.share * 100:.2f}%", height=8, rx=4),
        tag("line", class_="mark", x1=mark, x2=mark, y1=0, y2=14),
        role="img",
        height=14,
    )


def talk_times(talk: Talk) -> Markup:
    """Draw columns of calls by talk time, with median and 90th percentile."""
    most, bottom = max(bucket.calls for bucket in talk.buckets), _MARKS + _PLOT
    width = 100 / len(talk.buckets)
    columns = [
        _Column(bucket, i * width, width, (_PLOT - _TOP) * bucket.calls / most)
        for i, bucket in enumerate(talk.buckets)
    ]
    return _chart(
        "talk",
        "Calls by talk time",
        f"Median {seconds_text(talk.median)}; nine of ten last at most "
        f"{seconds_text(talk.ninetieth)}.",
        *(column.drawn() for column in columns if column.bucket.calls),
        _grid(bottom, "base"),
        *_marks(talk),
        *(column.counted() for column in columns if column.bucket.calls),
        *(_edge(column.bucket, column.x) for column in columns),
        height=bottom + _FOOT,
    )


@attrs.frozen
class _Column:
    """A bucket of talk times, and where it stands."""

    bucket: Bucket
    x: float
    width: float
    high: float

    @property
    def _y(self) -> float:
        return _MARKS + _PLOT - self.high

    def drawn(self) -> Markup:
        said = f"{bucket_text(self.bucket)}: {self.bucket.calls:,}"
        x, width = self.x + self.width * 0.04, self.width * 0.92
        return _rect(x, self._y, width, self.high, said, class_="bar")

    def counted(self) -> Markup:
        text = f"{self.bucket.calls:,}"
        return _across(self.x + self.width / 2, self._y - 6, text, class_="count halo")


def _edge(bucket: Bucket, x: float) -> Markup:
    text = "0" if bucket.at_least <= 1 else seconds_text(bucket.at_least).replace("min", "m")
    anchor = "start" if x == 0 else "middle"
    return _across(x, _MARKS + _PLOT + 18, text, anchor=anchor)


def _marks(talk: Talk) -> Iterator[Markup]:
    """Mark the percentiles; the left one stands higher, so that no label meets a line."""
    median, ninetieth = (place_of(at, talk.buckets) for at in (talk.median, talk.ninetieth))
    yield from _mark(ninetieth, f"90 % \u2264 {seconds_text(talk.ninetieth)}", 30, "mark-dashed")
    yield from _mark(median, f"Median {seconds_text(talk.median)}", 12, "mark")


def _mark(x: float, text: str, y: int, style: str) -> Iterator[Markup]:
    across = f"{x:.2f}%"
    yield tag("line", class_=style, x1=across, x2=across, y1=y - 10, y2=_MARKS + _PLOT)
    anchor, beside = ("start", 6) if x < 60 else ("end", -6)
    yield _across(x, y, text, anchor=anchor, class_="direct halo", dx=beside)


def place_of(seconds: int, buckets: Sequence[Bucket]) -> float:
    """Tell how far to the right a talk time stands, in percent: evenly between two edges."""
    for i, bucket in enumerate(buckets):
        if bucket.below is None or seconds < bucket.below:
            end = bucket.below or max(2 * bucket.at_least, seconds + 1)
            inside = (seconds - bucket.at_least) / (end - bucket.at_least)
            return (i + max(0.0, inside)) * 100 / len(buckets)
    return 100.0


def _chart(name: str, title: str, said: str, *marks: str, height: float) -> Markup:
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", said, id=f"{name}-desc"),
        *marks,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        height=height,
    )


def _beside(labels: Sequence[Markup], letters: int, plot: Markup, *, height: float) -> Markup:
    """Set labels of rows beside a chart: as wide as they are, while it takes what is left."""
    width = letters * _LETTER + 10
    shown = tag("svg", *labels, class_="labels", width=width, height=height, aria_hidden="true")
    return tag("div", shown, plot, class_="plot")


def _rect(
    x: float, y: float, width: float, height: float, said: str | None, **attributes: object
) -> Markup:
    inner = () if said is None else (tag("title", said),)
    return tag(
        "rect", *inner, x=f"{x:.3f}%", y=f"{y:.2f}", width=f"{width:.3f}%", height=f"{height:.2f}",
        **attributes,
    )  # fmt: skip


def _grid(y: float, style: str) -> Markup:
    return tag("line", class_=style, x1=0, x2="100%", y1=y, y2=y)


def _across(
    x: float, y: float, text: str, *, anchor: str = "middle", **attributes: object
) -> Markup:
    return tag("text", text, x=f"{x:.3f}%", y=f"{y:.2f}", text_anchor=anchor, **attributes)


def _at_end(y: float, text: str) -> Markup:
    return tag("text", text, x="100%", dx=-8, y=f"{y:.2f}", text_anchor="end")
