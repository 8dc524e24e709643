"""What does a report look like on a terminal: as wide as that is, and clear without colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from textwrap import wrap

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from .report_figures import (
    DEFINITION,
    HOURS,
    Circles,
    Rate,
    Report,
    StatusCount,
    Talk,
    bucket_text,
    circles_note,
    percent,
    seconds_text,
)

_COLOURS = {
    "completed": "blue",
    "no-answer": "yellow",
    "busy": "red",
    "failed": "magenta",
    "canceled": "bright_black",
    "other": "cyan",
}
_BLOCKS = dict(zip(_COLOURS, "█▓▒░▪▫", strict=True))
_LETTERS = dict(zip(_COLOURS, "#=+-.o", strict=True))
_EIGHTHS = " ▏▎▍▌▋▊▉"
_SHADES = "·░▒▓█"
_ASCII_SHADES = ".-+*#"
_LEAST_BAR = 8  # cells
_MOST_BAR = 100
_MOST_ROWS = 20  # of answer rates; all are in the JSON and on the page


@attrs.frozen
class _Canvas:
    """How wide it is, and what it can show."""

    width: int
    ascii_only: bool

    def bar(self, room: int, share: float) -> str:
        """Draw a bar of one colour, to an eighth of a cell."""
        if self.ascii_only:
            return "#" * round(room * share)
        full, part = divmod(round(room * share * 8), 8)
        return "█" * full + _EIGHTHS[part].strip()

    def room(self, *others: int) -> int:
        """Tell how wide a bar may be beside other columns."""
        return max(_LEAST_BAR, min(_MOST_BAR, self.width - sum(others) - 2 * len(others)))


def draw(report: Report, console: Console) -> None:
    """Print all charts."""
    canvas = _Canvas(console.width, console.options.ascii_only)
    for line in lines_of(report, canvas.width, ascii_only=canvas.ascii_only):
        console.print(line, soft_wrap=True)


def lines_of(report: Report, width: int, *, ascii_only: bool = False) -> Iterator[Text]:
    """Write all charts, line by line."""
    canvas = _Canvas(width, ascii_only)
    if not report.records:
        yield Text("No calls.")
        return
    yield from _by_hour(report, canvas)
    if report.days:
        yield Text()
        yield from _heading(canvas, "Calls by day and hour")
        yield from _map(report, canvas)
    yield from _answers(report, canvas)
    yield from _talk(report.talk, canvas)


def _heading(canvas: _Canvas, text: str, note: str = "") -> Iterator[Text]:
    """Write a heading with its note: beside it, or below it where it is too long."""
    if len(text) + len(note) + 2 <= canvas.width:
        yield Text(text, style="bold") + Text(f"  {note}" if note else "", style="dim")
        return
    yield Text(text, style="bold")
    yield from _wrapped(note, canvas)


def _by_hour(report: Report, canvas: _Canvas) -> Iterator[Text]:
    note = f"{report.records:,} calls, times in {report.time_zone}"
    yield from _heading(canvas, "Calls by hour", note)
    yield from _legend(report.series, canvas, report.records)
    totals = report.by_hour
    most, digits = max(totals), len(f"{max(totals):,}")
    room = canvas.room(2, digits)
    for hour in HOURS:
        bar = Text()
        counts = [status.by_hour[hour] for status in report.series]
        for status, cells in zip(report.series, _split(counts, room, most), strict=True):
            bar.append(_glyphs(canvas)[status.series] * cells, style=_COLOURS[status.series])
        count = f"  {totals[hour]:,}" if totals[hour] else ""
        yield Text(f"{hour:02}  ", style="dim") + bar + Text(count)
    if report.undated:
        yield Text(f"Without a time: {report.undated:,}", style="dim")


def _glyphs(canvas: _Canvas) -> dict[str, str]:
    return _LETTERS if canvas.ascii_only else _BLOCKS


def _legend(series: Sequence[StatusCount], canvas: _Canvas, records: int) -> Iterator[Text]:
    line = Text()
    for one in series:
        part = Text(_glyphs(canvas)[one.series] * 2, style=_COLOURS[one.series])
        part.append(f" {one.status} {one.calls:,} ({percent(one.calls / records)})   ")
        if line and len(line) + len(part) > canvas.width:
            yield line
            line = Text()
        line.append_text(part)
    yield line


def _wrapped(text: str, canvas: _Canvas) -> Iterator[Text]:
    yield from (Text(line, style="dim") for line in wrap(text, width=canvas.width))


def _split(counts: Iterable[int], room: int, most: int) -> list[int]:
    """Divide a bar's cells; rounding where they end keeps the sum right."""
    ends = [round(room * end / most) if most else 0 for end in accumulate(counts)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _map(report: Report, canvas: _Canvas) -> Iterator[Text]:
    label = max(len(row.day) for row in report.days)
    cell = max(1, min(3, (canvas.width - label - 2) // 24))
    most = max(calls for row in report.days for calls in row.by_hour)
    shades = _ASCII_SHADES if canvas.ascii_only else _SHADES
    marks = "".join(f"{hour:02}".ljust(3 * cell) for hour in HOURS[::3]) if cell > 0 else ""
    yield Text(" " * (label + 2) + marks.rstrip(), style="dim")
    for row in report.days:
        shown = "".join(shades[_shade(calls, most)] * cell for calls in row.by_hour)
        yield Text(f"{row.day:<{label}}  ", style="dim") + Text(shown, style="blue")
    scale = f"{shades[0]} none   {shades[1]} fewest to {shades[-1]} most: {most:,} calls an hour"
    yield from _wrapped(scale, canvas)


def _shade(calls: int, most: int) -> int:
    """Choose a shade: the first is kept for nothing at all."""
    return -(-calls * (len(_SHADES) - 1) // most) if calls else 0


def _answers(report: Report, canvas: _Canvas) -> Iterator[Text]:
    total = report.answered
    if total.ended:
        note = f"{percent(total.share)} of {total.ended:,}"
        yield Text()
        yield from _heading(canvas, "Answer rate by ExoPhone", note)
        yield from _rates(report.exophones, canvas)
        yield from _answers_by_circle(report.circles, canvas)
        yield Text()
        yield from _wrapped(DEFINITION, canvas)


def _answers_by_circle(circles: Circles | None, canvas: _Canvas) -> Iterator[Text]:
    if circles is not None and circles.rates:
        yield Text()
        yield from _heading(canvas, "Answer rate by circle", circles_note(circles))
        yield from _rates(circles.rates, canvas)


def _rates(rates: Sequence[Rate], canvas: _Canvas) -> Iterator[Text]:
    shown = rates[:_MOST_ROWS]
    names = min(max(cell_len(rate.name) for rate in shown), canvas.width // 3)
    facts = [f"{percent(rate.share):>5} of {rate.ended:,}" for rate in shown]
    room = canvas.room(names, max(map(len, facts)))
    for rate, fact in zip(shown, facts, strict=True):
        bar = canvas.bar(room, rate.share)
        yield (
            Text(f"{set_cell_size(rate.name, names)}  ")
            + Text(f"{bar:<{room}}", style="blue")
            + Text(fact)
        )
    if len(rates) > len(shown):
        yield Text(f"... and {len(rates) - len(shown):,} more", style="dim")


def _talk(talk: Talk | None, canvas: _Canvas) -> Iterator[Text]:
    if talk is None:
        return
    note = f"median {seconds_text(talk.median)}, nine of ten up to {seconds_text(talk.ninetieth)}"
    yield Text()
    yield from _heading(canvas, "Talk time", note)
    names = [bucket_text(bucket) for bucket in talk.buckets]
    label, most = max(map(len, names)), max(bucket.calls for bucket in talk.buckets)
    room = canvas.room(label, len(f"{most:,}"))
    for name, bucket in zip(names, talk.buckets, strict=True):
        bar = canvas.bar(room, bucket.calls / most)
        count = f"  {bucket.calls:,}" if bucket.calls else ""
        yield Text(f"{name:>{label}}  ") + Text(bar, style="blue") + Text(count)
    if talk.without_talk:
        yield from _wrapped(f"Without talk, and not charted: {talk.without_talk:,} calls", canvas)
