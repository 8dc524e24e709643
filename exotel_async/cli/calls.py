"""`exotel-async calls`: read the records of calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

import attrs
import click

from exotel_async.client import CallList, ExotelClient
from exotel_async.models.calls import Call
from exotel_async.models.vocabulary import FINAL_STATUSES, CallStatus, Direction

from .exit_status import ExitStatus
from .options import (
    CONTEXT,
    F,
    Reading,
    common,
    extra_option,
    given,
    once_each,
    screen_of,
    world_of,
    zone_option,
)
from .ranges import TIMES, amount_range, created_range
from .rows import CALL_COLUMNS, DETAIL_COLUMNS, call_cells, call_fields
from .screen import Screen
from .world import Job

_SECONDS = Reading("seconds", partial(amount_range, whole=True))
_PRICE = Reading("amount", amount_range)
_FINAL = ", ".join(status for status in CallStatus if status in FINAL_STATUSES)


def _final(text: str) -> str:
    """Read a status in which a call can be listed, in any spelling."""
    word = text.strip().lower().replace("_", "-")
    if word not in FINAL_STATUSES:
        raise ValueError(f"{text!r} is none of {_FINAL}: only calls that are over are listed")
    return word


STATUS = Reading("status", _final)


@click.group(
    context_settings=CONTEXT, no_args_is_help=False, short_help="Read the records of calls."
)
@common
def calls(**_: object) -> None:
    """Read the records of calls."""


_FILTERS = (
    click.option("--created", metavar="RANGE", help=f"When: {TIMES}."),
    click.option("--sid", "sids", multiple=True, help="This call; may be repeated."),
    click.option("--from", "from_", multiple=True, help="Who rang first; may be repeated."),
    click.option("--to", multiple=True, help="Who rang second; may be repeated."),
    click.option("--phone-number", "phone_numbers", multiple=True, help="By way of this ExoPhone."),
    click.option(
        "--status",
        "statuses",
        type=STATUS,
        multiple=True,
        help=f"{_FINAL}; may be repeated.",
    ),
    click.option(
        "--direction", "directions", multiple=True, help=f"{', '.join(Direction)}; may be repeated."
    ),
    click.option(
        "--duration", type=_SECONDS, help="Seconds, ringing included: 30, 10..45, 10.., ..45"
    ),
    click.option("--price", type=_PRICE, help="In the account's currency: 1.50, 1..3, 1.., ..3"),
)


def filters(function: F) -> F:
    """Add the options that say which calls."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@calls.command("list", short_help="List records, newest first.")
@filters
@click.option("--details", is_flag=True, help="With legs and talk time.")
@click.option("--ascending", is_flag=True, help="Oldest first.")
@click.option("--page-size", type=click.IntRange(1, 100), help="Records in one request.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="At most so many records; 0 for all.",
)
@extra_option
@zone_option
@common
@click.pass_context
def list_(
    context: click.Context, /, created: str | None, limit: int, zone: tzinfo, **words: Any
) -> Job:
    """List records, newest first; calls that are not over yet are not among them.

    On a terminal they come as a table, elsewhere as lines with tabs, written as they arrive.
    """
    screen, world = screen_of(context, zone=zone), world_of(context)
    wanted_ones = filters_of(words) | created_of(created, world.clock.now(), zone)
    exotel = world.client(zone=zone)
    wanted = exotel.calls.list(limit=limit or None, **wanted_ones)
    run = partial(_list, wanted, exotel, screen, details=words["details"], limit=limit)
    return Job(run=run)


def filters_of(words: dict[str, Any]) -> dict[str, Any]:
    """Read the filters of `calls.list` from options that were given."""
    own = ("as_json", "show_numbers", "extra")
    extra = once_each(words["extra"], option="--extra")
    known = {name: value for name, value in words.items() if name not in own}
    return given({**known, "extra": extra or None})


def created_of(
    text: str | None, now: datetime, zone: tzinfo, *, hint: str = "--created"
) -> dict[str, datetime | None]:
    """Read --created, or what stands for it, as filters of `calls.list`."""
    if text is None:
        return {}
    try:
        after, before = created_range(text, now=now, zone=zone)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=hint) from error
    return {"created_after": after, "created_before": before}


async def _list(
    wanted: CallList, exotel: ExotelClient, screen: Screen, *, details: bool, limit: int
) -> ExitStatus:
    columns = CALL_COLUMNS + (DETAIL_COLUMNS if details else ())
    async with exotel:
        tally = await _read(wanted, columns, screen)
    if tally.kept:
        screen.table(columns, tally.kept)
    if limit and tally.shown == limit:
        screen.note(f"Stopped at {limit} records, there may be more: --limit 0 shows all.")
    if tally.skipped:
        screen.note(f"Skipped without a Sid: {tally.skipped}.", style="yellow")
    return ExitStatus.FINE


@attrs.define
class _Tally:
    """What was read."""

    kept: list[tuple[str, ...]] = attrs.field(factory=list)  # rows of the table
    shown: int = 0
    skipped: int = 0  # entries without a Sid


async def _read(wanted: CallList, columns: Sequence[str], screen: Screen) -> _Tally:
    """Read all; what no table is made of is written at once and forgotten."""
    tally = _Tally()
    with screen.progress("Reading records:") as progress:
        async for page in wanted.pages():
            tally.skipped += page.skipped
            for call in page.calls:
                _take(call, columns, tally, screen)
                progress(tally.shown)
    return tally


def _take(call: Call, columns: Sequence[str], tally: _Tally, screen: Screen) -> None:
    screen.watch(call)
    tally.shown += 1
    if screen.as_json:
        screen.json(call)
        return
    cells = call_cells(call, screen.look, details=len(columns) > len(CALL_COLUMNS))
    if screen.gathers:
        tally.kept.append(cells)
        return
    if tally.shown == 1:
        screen.cells([column.upper() for column in columns])
    screen.cells(cells)


@calls.command(short_help="Show one call's record.")
@click.argument("sid")
@click.option("--details/--no-details", default=True, help="With legs and talk time (default).")
@click.option(
    "--recording-url-validity",
    type=click.IntRange(5, 60),
    help="Minutes that a signed URL of the recording shall be good for.",
)
@zone_option
@common
@click.pass_context
def get(
    context: click.Context,
    /,
    sid: str,
    details: bool,
    recording_url_validity: int | None,
    zone: tzinfo,
    **_: object,
) -> Job:
    """Show one call's record."""
    screen, exotel = screen_of(context, zone=zone), world_of(context).client(zone=zone)
    ask = partial(
        exotel.calls.get, sid, details=details, recording_url_validity=recording_url_validity
    )

    async def run() -> ExitStatus:
        async with exotel:
            call = await ask()
        show_record(call, screen)
        return ExitStatus.FINE

    return Job(run=run)


def show_record(call: Call, screen: Screen) -> None:
    """Show all that is known of a call."""
    screen.show(call, f"Record of {call.sid}", style="bold")
    if not screen.as_json:
        screen.fields(call_fields(call, screen.look))
