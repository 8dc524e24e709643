"""`exotel-async number`: look up where numbers are at home."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from exotel_async.client import ExotelClient
from exotel_async.errors import BadRequestError, ExotelError, NotFoundError
from exotel_async.models.numbers import NumberMetadata

from .exit_status import ExitStatus, status_of
from .options import common, screen_of, world_of
from .rows import NUMBER_COLUMNS, number_cells
from .screen import Screen, complain
from .wording import told
from .world import Job


@click.command(short_help="Look up where numbers are at home.")
@click.argument("numbers", metavar="NUMBER…", nargs=-1, required=True)
@common
@click.pass_context
def number(context: click.Context, /, numbers: tuple[str, ...], **_: object) -> Job:
    """Look up circle, operator and do-not-disturb of numbers like +919812300002."""
    exotel = world_of(context).client()
    return Job(run=partial(_look_up, numbers, exotel, screen_of(context)))


async def _look_up(numbers: Sequence[str], exotel: ExotelClient, screen: Screen) -> ExitStatus:
    """Look up one after the other; a number that Exotel does not know keeps none from the next."""
    rows: list[tuple[str, ...]] = []
    failures: list[tuple[str, ExotelError]] = []
    async with exotel:
        for asked in numbers:
            try:
                _take(await exotel.numbers.get(asked), asked, rows, screen)
            except ExotelError as error:
                failures.append((asked, error))
                if not isinstance(error, BadRequestError | NotFoundError):
                    break  # the others would fare no better
    if screen.gathers and rows:
        screen.table(NUMBER_COLUMNS, rows, wraps=("circle", "operator"))
    for asked, failure in failures:
        complain(f"{screen.look.hide(asked)}: {told(failure)}")
    return status_of(failures[-1][1]) if failures else ExitStatus.FINE


def _take(found: NumberMetadata, asked: str, rows: list[tuple[str, ...]], screen: Screen) -> None:
    screen.watch(found)
    if screen.as_json:
        screen.json(found)
        return
    rows.append(number_cells(found, asked, screen.look))
    if screen.gathers:
        return
    if len(rows) == 1:
        screen.cells([column.upper() for column in NUMBER_COLUMNS])
    screen.cells(rows[-1])
