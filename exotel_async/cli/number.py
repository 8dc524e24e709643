"""`exotel-async number`: look up where numbers are at home."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from exotel_async.client import ExotelClient

from .exit_status import ExitStatus
from .options import common, screen_of, world_of
from .rows import NUMBER_COLUMNS, number_cells
from .screen import Screen
from .world import Job


@click.command()
@click.argument("numbers", metavar="NUMBER…", nargs=-1, required=True)
@common
@click.pass_context
def number(context: click.Context, /, numbers: tuple[str, ...], **_: object) -> Job:
    """Look up circle, operator and do-not-disturb of numbers like +919812300002."""
    exotel = world_of(context).client()
    return Job(run=partial(_look_up, numbers, exotel, screen_of(context)))


async def _look_up(numbers: Sequence[str], exotel: ExotelClient, screen: Screen) -> ExitStatus:
    rows = []
    async with exotel:
        for asked in numbers:
            found = await exotel.numbers.get(asked)
            screen.watch(found)
            if screen.as_json:
                screen.json(found)
            rows.append(number_cells(found, asked, screen.look))
    if not screen.as_json:
        screen.table(NUMBER_COLUMNS, rows)
    return ExitStatus.FINE
