"""What does a report look like as a page: one file, that loads nothing and runs nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256

import attrs

from .markup import Markup, tag, together
from .report_figures import (
    DEFINITION,
    HOURS,
    MOST_DAYS,
    Rate,
    Report,
    bucket_text,
    circles_note,
    percent,
    seconds_text,
)
from .report_style import STYLE
from .report_svg import (
    columns_by_hour,
    map_of_hours,
    rate_bar,
    scale_of_map,
    swatch,
    talk_times,
)

HOW_CIRCLES = (
    "Answer rates by circle are not in here: they cost one request for each number. "
    "--circles 500 looks up at most 500."
)
HOW_TALK = "Talk times are not in here: no record told one. They come with --details."

_MOST_BARS = 15  # all others are in the table


@attrs.frozen(kw_only=True)
class Origin:
    """Where a report comes from."""

    made: datetime
    version: str
    filters: tuple[str, ...] = ()  # in words
    masked: bool = True


def page_of(report: Report, origin: Origin) -> str:
    """Write a report as a page."""
    title = _title(report)
    body = _charts(report) if report.records else [tag("p", "No calls.", class_="note")]
    main = tag("main", _header(title, report, origin), *body, _footer(origin))
    html = tag("html", _head(title), tag("body", main), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"


def _head(title: str) -> Markup:
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<meta name="robots" content="noindex">'),
        tag("title", title),
        Markup(f"<style>{STYLE}</style>"),
    )


def _title(report: Report) -> str:
    start, end = report.created_after or report.first, report.created_before or report.last
    if start is None or end is None:
        return "Calls"
    if start.date() == end.date():
        return f"Calls on {_day(end)}"
    same = (start.year, start.month) == (end.year, end.month)
    begin = f"{start.day}" if same else _day(start).removesuffix(f" {end.year}")
    return f"Calls from {begin} to {_day(end)}"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%B} {at.year}"


def _header(title: str, report: Report, origin: Origin) -> Markup:
    parts = [f"Times in {report.time_zone}", *origin.filters]
    if report.skipped:
        parts.append(f"{report.skipped:,} entries without a Sid left out")
    return tag(
        "header",
        tag("p", "Call report", class_="eyebrow"),
        tag("h1", title),
        tag("p", " · ".join(parts)),
    )


def _footer(origin: Origin) -> Markup:
    said = f"Made on {origin.made:%Y-%m-%d at %H:%M} by exotel-async {origin.version}."
    hidden = " Phone numbers are masked." if origin.masked else ""
    return tag("footer", tag("p", said + hidden))


def _charts(report: Report) -> Iterator[Markup]:
    yield _headlines(report)
    if any(report.by_hour):
        yield _hours(report)
    if report.days:
        yield _days(report)
    if report.answered.ended:
        yield tag("div", *_answers(report), class_="pair")
    yield _talk(report)


def _headlines(report: Report) -> Markup:
    found = [_headline("Calls", f"{report.records:,}", _undated(report))]
    if report.answered.ended:
        share, ended = percent(report.answered.share), report.answered.ended
        found.append(_headline("Answer rate", share, f"of {ended:,} outbound calls", "good"))
    if report.talk is not None:
        longer = f"one in ten over {seconds_text(report.talk.ninetieth)}"
        found.append(_headline("Median talk time", seconds_text(report.talk.median), longer))
    most = max(report.by_hour)
    if most:
        hour = report.by_hour.index(most)
        found.append(_headline("Busiest hour", f"{hour:02}:00", f"{most:,} calls"))
    return tag("dl", *found, class_="headlines")


def _undated(report: Report) -> str:
    return f"{report.undated:,} without a time" if report.undated else "that are over"


def _headline(name: str, figure: str, aside: str, style: str = "") -> Markup:
    return tag(
        "div",
        tag("dt", name),
        tag("dd", figure, class_=f"figure {style}".strip()),
        tag("dd", aside, class_="aside"),
    )


def _figure(title: str, note: str, *inside: str) -> Markup:
    caption = [tag("h2", title)]
    if note:
        caption.append(tag("p", note, class_="note"))
    return tag("figure", tag("figcaption", *caption), *inside)


def _hours(report: Report) -> Markup:
    return _figure(
        "Calls by hour of the day",
        "By when they began, all days together." if report.days else "By when they began.",
        tag("ul", *_legend(report), class_="legend"),
        columns_by_hour(report),
        _table(
            ["Hour", *(one.status for one in report.statuses), "all"],
            (
                [
                    f"{hour:02}:00",
                    *(f"{one.by_hour[hour]:,}" for one in report.statuses),
                    f"{all_:,}",
                ]
                for hour, all_ in zip(HOURS, report.by_hour, strict=True)
            ),
        ),
    )


def _legend(report: Report) -> Iterator[Markup]:
    for one in report.series:
        figures = tag("span", f"{one.calls:,} · {percent(one.calls / report.records)}")
        yield tag("li", swatch(one.series), f"{one.status} ", figures)


def _days(report: Report) -> Markup:
    most = max(calls for row in report.days for calls in row.by_hour)
    name = "day" if len(report.days) > 7 or report.days[0].day[-1].isdigit() else "weekday"
    note = f"More than {MOST_DAYS} days: summed by day of the week." if name == "weekday" else ""
    return _figure(
        f"Calls by {name} and hour",
        note,
        map_of_hours(report.days),
        tag("p", "none", scale_of_map(), f"{most:,} calls an hour", class_="scale"),
        _table(
            [name.capitalize(), *(f"{hour:02}" for hour in HOURS)],
            ([row.day, *(f"{calls:,}" for calls in row.by_hour)] for row in report.days),
        ),
    )


def _answers(report: Report) -> Iterator[Markup]:
    overall = report.answered
    note = f"The mark is the rate of all: {percent(overall.share)}."
    missing = f" {HOW_CIRCLES}" if report.circles is None else ""
    yield tag(
        "div",
        _rates("Answer rate by ExoPhone", note, "ExoPhone", report.exophones, overall),
        tag("p", DEFINITION + missing, class_="note definition"),
    )
    if report.circles is not None:
        note = f"{circles_note(report.circles)}. {note}"
        yield _rates("Answer rate by circle", note, "Circle", report.circles.rates, overall)


def _rates(title: str, note: str, name: str, rates: Sequence[Rate], overall: Rate) -> Markup:
    shown = (
        tag(
            "li",
            tag("div", tag("span", rate.name), _share(rate)),
            rate_bar(rate, overall),
        )
        for rate in rates[:_MOST_BARS]
    )
    more = len(rates) - _MOST_BARS
    return _figure(
        title,
        note,
        tag("ul", *shown, class_="rates"),
        *([tag("p", f"… and {more:,} more in the table.", class_="note")] if more > 0 else []),
        _table(
            [name, "answered", "ended", "rate"],
            (
                [rate.name, f"{rate.answered:,}", f"{rate.ended:,}", percent(rate.share)]
                for rate in rates
            ),
        ),
    )


def _share(rate: Rate) -> Markup:
    return tag("span", tag("b", percent(rate.share)), f" of {rate.ended:,}")


def _talk(report: Report) -> Markup:
    talk = report.talk
    if talk is None:
        return tag("p", HOW_TALK, class_="note")
    silent = f" {talk.without_talk:,} calls without talk are left out." if talk.without_talk else ""
    return _figure(
        "Talk time",
        f"{talk.calls:,} calls by how long both were on the line; the columns span unequal times."
        + silent,
        talk_times(talk),
        _table(
            ["Talk time", "calls", "share"],
            (
                [bucket_text(one), f"{one.calls:,}", percent(one.calls / talk.calls)]
                for one in talk.buckets
            ),
        ),
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    body = together(
        *(
            tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
            for row in rows
        )
    )
    table = tag("table", tag("thead", head), tag("tbody", body))
    scrolled = tag("div", table, class_="scroll", tabindex=0, role="group", aria_label="Figures")
    return tag("details", tag("summary", "Figures"), scrolled)
