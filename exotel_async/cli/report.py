"""`exotel-async calls report`: how calls went, as charts on a terminal or as a page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click

import exotel_async
from exotel_async.client import CallList, ExotelClient
from exotel_async.models.calls import Range
from exotel_async.models.clock import Clock

from .calls import created_of, filters, filters_of
from .charts import draw
from .exit_status import ExitStatus
from .options import common, extra_option, pace_option, screen_of, world_of, zone_option
from .report_figures import Circles, Report, circles_of, report_of
from .report_page import HOW_CIRCLES, HOW_TALK, Origin, page_of
from .rows import Look
from .screen import Screen
from .tallying import Few, Tallies, Tallying
from .whole_file import check_writable, write_whole
from .wording import told
from .world import Job

_NO_FILTERS = frozenset({"created_after", "created_before", "details", "extra"})


@click.command(short_help="Chart hours, answer rates and talk times.")
@filters
@click.option("--details/--no-details", default=True, help="With talk time (default).")
@click.option(
    "--circles",
    "most_numbers",
    type=click.IntRange(min=1),
    metavar="MOST",
    help="With answer rates by circle: look up at most so many numbers, one request each.",
)
@click.option(
    "--html",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page to this file, instead of charts to the terminal.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@extra_option
@pace_option
@zone_option
@common
@click.pass_context
def report(
    context: click.Context,
    /,
    created: str | None,
    most_numbers: int | None,
    path: Path | None,
    force: bool,
    requests_per_minute: int,
    zone: tzinfo,
    **words: Any,
) -> Job:
    """Chart calls by hour and status, answer rates by ExoPhone and circle, and talk times.

    Days and hours are those of --time-zone. The page is one file that loads nothing. Records are
    counted as they arrive and not kept.
    """
    if force and path is None:
        raise click.UsageError("--force goes with --html")
    _check(path, force=force)
    screen, world = screen_of(context, zone=zone), world_of(context)
    wanted = filters_of(words) | created_of(created, world.clock.now(), zone)
    exotel = world.client(zone=zone, requests_per_minute=requests_per_minute)
    order = _Order(
        wanted=exotel.calls.list(**wanted),
        filters=wanted,
        most_numbers=most_numbers or 0,
        path=path,
        force=force,
    )
    return Job(run=partial(_report, order, exotel, screen, world.clock))


@attrs.frozen(kw_only=True)
class _Order:
    """What is to be reported, and where."""

    wanted: CallList
    filters: Mapping[str, Any]
    most_numbers: int
    path: Path | None
    force: bool

    @property
    def created(self) -> tuple[datetime | None, datetime | None]:
        return self.filters.get("created_after"), self.filters.get("created_before")


def _check(path: Path | None, *, force: bool) -> None:
    try:
        if path is not None:
            check_writable(path, force=force)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--html") from error


async def _report(order: _Order, exotel: ExotelClient, screen: Screen, clock: Clock) -> ExitStatus:
    async with exotel:
        tallies, skipped = await _tally(order, screen)
        circles = await _circles(tallies.numbers, order.most_numbers, exotel, screen)
    found = report_of(tallies, screen.look, created=order.created, skipped=skipped, circles=circles)
    _show(found, order, screen)
    if order.path is not None:
        _write(found, order, order.path, screen, made=clock.now().astimezone(screen.look.zone))
    if skipped:
        screen.note(f"Skipped without a Sid: {skipped}.", style="yellow")
    return ExitStatus.FINE


async def _tally(order: _Order, screen: Screen) -> tuple[Tallies, int]:
    tallying = Tallying(zone=screen.look.zone, most_numbers=order.most_numbers)
    done = skipped = 0
    with screen.progress("Reading records:") as progress:
        async for page in order.wanted.pages():
            tallying.add(page.calls)
            skipped += page.skipped
            done += len(page.calls)
            progress(done)
    return tallying.done(), skipped


async def _circles(
    numbers: Few[str], most: int, exotel: ExotelClient, screen: Screen
) -> Circles | None:
    """Look up the circles of numbers, if that was asked for; say before what it costs."""
    if not most:
        return None
    asked = [number for number in numbers.known if number]
    cut = " (there are more: these were picked as if by chance)" if numbers.rest else ""
    screen.note(f"Looking up the circles of {len(asked):,} numbers, one request each{cut}.")
    results = await exotel.numbers.get_many(asked)
    failures = [result.error for result in results if result.error is not None]
    if failures:
        screen.note(
            f"Not looked up: {len(failures):,}, the first because: {told(failures[0])}",
            style="yellow",
        )
    found = {result.number: result.metadata for result in results}
    return circles_of(numbers, found, screen.look)


def _show(found: Report, order: _Order, screen: Screen) -> None:
    """Show figures as JSON, or as charts where there is no page."""
    screen.watch(found)
    if screen.as_json:
        screen.json(found)
    elif order.path is None:
        draw(found, screen.out)
        for hint in _hints(found):
            screen.note(hint, style="dim")


def _hints(found: Report) -> list[str]:
    """Say how to get the charts that are not there."""
    hints = []
    if found.answered.ended and found.circles is None:
        hints.append(HOW_CIRCLES)
    if found.records and found.talk is None:
        hints.append(HOW_TALK)
    return hints


def _write(found: Report, order: _Order, path: Path, screen: Screen, *, made: datetime) -> None:
    origin = Origin(
        made=made,
        version=exotel_async.__version__,
        filters=spelt_filters(order.filters, screen.look),
        masked=screen.look.masks,
    )
    try:
        write_whole(path, page_of(found, origin), force=order.force)
    except ValueError as error:
        raise click.ClickException(f"--html: {error}") from error
    screen.note(f"Report of {found.records:,} calls written to {path}.")


def spelt_filters(filters: Mapping[str, Any], look: Look) -> tuple[str, ...]:
    """Say in words which calls were asked for."""
    return tuple(
        look.hide(f"{name.rstrip('_').replace('_', ' ')}: {_spelt(value)}")
        for name, value in filters.items()
        if name not in _NO_FILTERS
    )


def _spelt(value: object) -> str:
    if isinstance(value, Range):
        low, high = ("" if end is None else str(end) for end in (value.at_least, value.at_most))
        return f"{low}..{high}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)
