"""`exotel-async deadletters`: look at deliveries that were given up, and have them made again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial

import attrs
import click

from exotel_async.journal import DeadLetter

from .exit_status import ExitStatus
from .journals import Store, journal_options, store_of, tell_of_others
from .options import CONTEXT, common, screen_of, zone_option
from .rows import Look
from .screen import Screen
from .world import Job

COLUMNS = ("id", "received", "topic", "call sid", "ref", "attempts", "error")


@attrs.frozen(kw_only=True)
class GivenUp:
    """A dead letter as it is shown."""

    id: int
    received_at: datetime
    topic: str  # what handlers had registered for
    call_sid: str | None
    ref: str | None
    delivery_id: str
    attempts: int
    error: str


@attrs.frozen(kw_only=True)
class Replayed:
    """How many dead letters will be delivered again."""

    replayed: int


@click.group(
    context_settings=CONTEXT, no_args_is_help=False, short_help="Deliveries that were given up."
)
@common
def deadletters(**_: object) -> None:
    """Look at deliveries that were given up after their last try, and have them made again."""


@deadletters.command("list", short_help="List them, oldest first.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="At most so many.",
)
@journal_options
@zone_option
@common
@click.pass_context
def list_(
    context: click.Context,
    /,
    limit: int,
    journal: str | None,
    schema: str | None,
    namespace: str,
    zone: tzinfo,
    **_: object,
) -> Job:
    """List deliveries that were given up, with the last error of their handlers."""
    screen = screen_of(context, zone=zone)
    store = store_of(context, journal=journal, schema=schema, namespace=namespace)
    return Job(run=partial(_list, store, screen, limit=limit))


async def _list(store: Store, screen: Screen, *, limit: int) -> ExitStatus:
    async with store.opened() as journal:
        found = await journal.dead_letters(most=limit + 1)
        if not found:
            await tell_of_others(journal, screen)
    letters = [_shown(letter) for letter in found[:limit]]
    for letter in letters:
        screen.watch(letter)
        if screen.as_json:
            screen.json(letter)
    if letters and not screen.as_json:
        rows = [_cells(letter, screen.look) for letter in letters]
        screen.table(COLUMNS, rows, wraps=("error", "ref"))
    if len(found) > limit:
        screen.note(f"Stopped at {limit}, there are more: --limit shows them.")
    return ExitStatus.FINE


def _shown(letter: DeadLetter) -> GivenUp:
    return GivenUp(
        id=letter.id,
        received_at=datetime.fromtimestamp(letter.received_at, UTC),
        topic=letter.topic,
        call_sid=letter.call_sid,
        ref=letter.ref,
        delivery_id=letter.delivery_id,
        attempts=letter.attempts,
        error=letter.error,
    )


def _cells(letter: GivenUp, look: Look) -> tuple[str, ...]:
    return (
        str(letter.id),
        look.moment(letter.received_at),
        letter.topic,
        letter.call_sid or "",
        look.hide(letter.ref or ""),
        str(letter.attempts),
        look.hide(letter.error),
    )


@deadletters.command(short_help="Have them delivered again.")
@click.argument("ids", metavar="[ID…]", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "every", is_flag=True, help="All there are.")
@journal_options
@common
@click.pass_context
def replay(
    context: click.Context,
    /,
    ids: tuple[int, ...],
    every: bool,
    journal: str | None,
    schema: str | None,
    namespace: str,
    **_: object,
) -> Job:
    """Have deliveries made again, with all their tries before them.

    The service that has the journal open makes them; handlers that were done with one are not
    called again for it.
    """
    if bool(ids) == every:
        raise click.UsageError("Say which: the ids that `deadletters list` shows, or --all")
    store = store_of(context, journal=journal, schema=schema, namespace=namespace)
    wanted = None if every else sorted(set(ids))
    return Job(run=partial(_replay, store, screen_of(context), wanted))


async def _replay(store: Store, screen: Screen, wanted: Sequence[int] | None) -> ExitStatus:
    async with store.opened() as journal:
        count = await journal.replay(wanted)
        if not count:
            await tell_of_others(journal, screen)
    screen.show(Replayed(replayed=count), f"To be delivered again: {count}.")
    missing = 0 if wanted is None else len(wanted) - count
    if missing:
        screen.note(f"Not found among the dead letters: {missing} of {len(wanted or ())}.")
    return ExitStatus.FAILED if missing else ExitStatus.FINE
