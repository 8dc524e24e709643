"""`exotel-async journal`: make a journal's tables, see how it stands, erase what is old."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import pairwise

import attrs
import click

from exotel_async.journal.standing import Standing

from .exit_status import ExitStatus
from .journals import MIGRATE, Store, journal_options, others, store_of, tell_of_others
from .options import CONTEXT, Reading, common, screen_of
from .ranges import age
from .screen import Screen
from .world import Job

_AGE = Reading("age", age)
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@attrs.frozen(kw_only=True)
class Migrated:
    """What `migrate` came to."""

    engine: str
    from_schema: int  # 0 where there were no tables
    to_schema: int


@attrs.frozen(kw_only=True)
class Pruned:
    """How much was erased."""

    erased: Mapping[str, int]


@click.group(
    context_settings=CONTEXT, no_args_is_help=False, short_help="Look after a service's journal."
)
@common
def journal(**_: object) -> None:
    """Look after the journal of a service: a SQLite file, or tables in PostgreSQL."""


@journal.command(short_help="Make its tables, or upgrade them.")
@journal_options
@common
@click.pass_context
def migrate(
    context: click.Context,
    /,
    journal: str | None,
    schema: str | None,
    namespace: str,
    **_: object,
) -> Job:
    """Make the tables, or bring them to the schema that this release needs.

    It may be run at any time, by several at once, and while services work. A SQLite file that is
    not there is made.
    """
    store = store_of(context, journal=journal, schema=schema, namespace=namespace)
    return Job(run=partial(_migrate, store, screen_of(context)))


async def _migrate(store: Store, screen: Screen) -> ExitStatus:
    async with store.reached(making=True):
        steps = await store.journal.migrate()
        found = await store.journal.standing()
    done = Migrated(engine=found.engine, from_schema=found.schema - steps, to_schema=found.schema)
    screen.show(done, _told(done))
    return ExitStatus.FINE


def _told(done: Migrated) -> str:
    if done.from_schema == done.to_schema:
        return f"Nothing to do: {done.engine}, schema {done.to_schema} already."
    how = f"upgraded from schema {done.from_schema}" if done.from_schema else "made"
    return f"The tables are {how}: {done.engine}, schema {done.to_schema}."


@journal.command(short_help="See how it stands.")
@journal_options
@common
@click.pass_context
def status(
    context: click.Context,
    /,
    journal: str | None,
    schema: str | None,
    namespace: str,
    **_: object,
) -> Job:
    """Show what a namespace holds, what waits and for how long, and who is at work.

    It only looks: nothing is changed, and nobody's work is taken over. Events for which no service
    has a handler wait, too, until they are pruned. Owners are processes (each
    journal that is open) which have, or had, work in hand; in PostgreSQL one that died is struck
    off by those who live, after their lease. The exit status is 1 where the store can't be
    reached or needs `journal migrate`.
    """
    store = store_of(context, journal=journal, schema=schema, namespace=namespace)
    return Job(run=partial(_status, store, screen_of(context)))


async def _status(store: Store, screen: Screen) -> ExitStatus:
    if store.path is not None and not store.path.exists():
        raise click.ClickException(f"There is no file {str(store.path)!r}. {MIGRATE} makes it.")
    async with store.reached():
        found = await store.journal.standing()
    screen.show(found, f"Journal in {found.engine}", style="bold")
    if not screen.as_json:
        screen.fields(_fields(found))
    if not found.usable:
        raise click.ClickException(
            f"The journal has schema {found.schema}, but this release needs {found.needed}. "
            f"{MIGRATE}"
        )
    if found.namespaces and found.namespace not in found.namespaces:
        screen.note(screen.look.hide(others(found.namespace, found.namespaces)), style="yellow")
    return ExitStatus.FINE


def _fields(found: Standing) -> Iterator[tuple[str, str]]:
    yield "schema", f"{found.schema} (this release knows {found.needed})"
    yield "namespace", found.namespace
    for name, count in found.counts.items():
        oldest = f", the oldest for {long(found.waiting[name])}" if name in found.waiting else ""
        yield _NAMES.get(name, name.replace("_", " ")), f"{count}{oldest}"
    if found.usable:
        yield "owners", str(found.owners)


_NAMES = {"events_dead": "dead letters"}


def long(seconds: float) -> str:
    """Write how long something takes, by its two largest units.

    >>> long(93784.5)
    '1 d 2 h'
    """
    left = int(seconds)
    for (unit, size), (smaller, part) in pairwise(_UNITS):
        if left >= size:
            rest = left % size // part
            return f"{left // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{left} s"


@journal.command(short_help="Erase what is old.")
@click.option(
    "--older-than",
    type=_AGE,
    default="30d",
    show_default=True,
    help="Numbers, bodies and events: 36h, 30d, 4w.",
)
@click.option(
    "--keys-older-than",
    type=_AGE,
    default="400d",
    show_default=True,
    help="Idempotency keys: one that is forgotten dials again.",
)
@journal_options
@common
@click.pass_context
def prune(
    context: click.Context,
    /,
    older_than: timedelta,
    keys_older_than: timedelta,
    journal: str | None,
    schema: str | None,
    namespace: str,
    **_: object,
) -> Job:
    """Erase what is old from one namespace; it asks nothing.

    Dials that are under way are never touched; events that old go, delivered or not. It goes on
    in slices, between which services do their work; Ctrl-C ends it after a slice, and the next
    run goes on from there.
    """
    if older_than > keys_older_than:
        raise click.UsageError(
            "--keys-older-than must not be shorter than --older-than: a key that is forgotten "
            "dials again"
        )
    store = store_of(context, journal=journal, schema=schema, namespace=namespace)
    ages = {"older_than": older_than, "keys_older_than": keys_older_than}
    return Job(run=partial(_prune, store, screen_of(context), ages))


async def _prune(store: Store, screen: Screen, ages: Mapping[str, timedelta]) -> ExitStatus:
    erased: dict[str, int] = {}
    try:
        async with store.opened() as opened:
            with screen.progress("Erasing:") as progress:

                def count(name: str, found: int) -> None:
                    erased[name] = erased.get(name, 0) + found
                    progress(sum(erased.values()))

                total = await opened.prune(**ages, progress=count)
            if not any(total.values()):
                await tell_of_others(opened, screen)
    except asyncio.CancelledError:
        screen.note(f"Stopped. {_erased(erased)} The next run goes on from there.")
        raise
    screen.show(Pruned(erased=total), _erased(total))
    return ExitStatus.FINE


def _erased(found: Mapping[str, int]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in found.items() if count)
    return f"Erased: {counts or 'nothing'}."
