"""`exotel-async calls export`: write the records of calls into a file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click

from exotel_async.client import CallList, ExotelClient
from exotel_async.client.saving import in_thread
from exotel_async.errors import ExotelError, RecordingError
from exotel_async.models.calls import Call, CallPage
from exotel_async.models.clock import Clock
from exotel_async.models.vocabulary import Direction

from .calls import STATUS, created_of
from .exit_status import ExitStatus
from .export_columns import ALL, Spelling, choose
from .export_files import FORMATS, Part, Target, require_pyarrow
from .options import common, given, pace_option, screen_of, world_of, zone_option
from .rows import printable
from .screen import Screen
from .wording import told
from .world import Job

_SAVED_EVERY = 1.0  # seconds
_AT_ONCE = 4  # recordings
_MOST_NAMED = 10  # recordings that failed
_FILE_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)
_SAME = frozenset({
    "begin", "end", "caller", "callee", "phone_numbers", "statuses", "directions", "details",
    "masks", "raw",
})  # fmt: skip


@click.command("export", short_help="Write records into a file: CSV, JSON Lines or Parquet.")
@click.option("--from", "begin", metavar="TIME", help="From this day or moment on: 2026-11-01.")
@click.option("--to", "end", metavar="TIME", help="Up to the end of this day or moment.")
@click.option(
    "--out",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file; its ending says in which format: .csv, .jsonl or .parquet.",
)
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Whatever the ending says.")
@click.option("--columns", metavar="NAMES", help=f"Some of: {', '.join(ALL)}.")
@click.option("--caller", multiple=True, help="Who rang first; may be repeated.")
@click.option("--callee", multiple=True, help="Who rang second; may be repeated.")
@click.option("--phone-number", "phone_numbers", multiple=True, help="By way of this ExoPhone.")
@click.option("--status", "statuses", type=STATUS, multiple=True, help="May be repeated.")
@click.option(
    "--direction", "directions", multiple=True, help=f"{', '.join(Direction)}; may be repeated."
)
@click.option("--details", is_flag=True, help="With legs and talk time.")
@click.option("--ascending", is_flag=True, help="Oldest first.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Requests at once; never more a minute than the account allows.",
)
@click.option("--resume", is_flag=True, help="Go on with an export that did not end, or begin.")
@click.option("--force", is_flag=True, help="Replace the file, or begin an unfinished one anew.")
@click.option("--mask-numbers", "masks", is_flag=True, help="Mask phone numbers in the file.")
@click.option("--raw", is_flag=True, help="Leave CSV cells that begin like formulas as they are.")
@click.option(
    "--recordings",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save recordings, too: SID.mp3 in this folder.",
)
@pace_option
@zone_option
@common
@click.pass_context
def export(
    context: click.Context,
    /,
    begin: str | None,
    end: str | None,
    path: Path,
    format_: str | None,
    columns: str | None,
    concurrency: int,
    masks: bool,
    raw: bool,
    resume: bool,
    force: bool,
    folder: Path | None,
    requests_per_minute: int,
    zone: tzinfo,
    **words: Any,
) -> Job:
    """Write the records of calls into a file that appears when it is whole.

    Until then it is FILE.part, and --resume goes on with that after whatever ended it; the other
    options must be the same. Phone numbers stand in it in clear, and only its owner may read it.
    In CSV, a text that a spreadsheet would run as a formula (it begins with = + - @, a tab or a
    carriage return, and is no number) gets a ' before it.
    """
    screen, world = screen_of(context, zone=zone), world_of(context)
    filters = _filters(words)
    created = _created(begin, end, world.clock.now(), zone)
    spelling = Spelling(zone=zone, masks=masks, defuses=not raw)
    target = _target(path, format_, columns, spelling, details=words["details"], force=force)
    part, position = _part(target, _spelt(context, target), resume=resume)
    exotel = world.client(zone=zone, requests_per_minute=requests_per_minute)
    try:
        calls = exotel.calls.list(concurrency=concurrency, position=position, **(filters | created))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except BaseException:
        part.close()
        raise
    run = _Export(
        target=target, part=part, calls=calls, exotel=exotel, screen=screen, clock=world.clock,
        recordings=None if folder is None else _Recordings(exotel, folder),
    )  # fmt: skip
    return Job(run=run)


def _filters(words: dict[str, Any]) -> dict[str, Any]:
    names = {"caller": "from_", "callee": "to"}
    own = ("as_json", "show_numbers")
    return given({names.get(name, name): v for name, v in words.items() if name not in own})


def _spelt(context: click.Context, target: Target) -> dict[str, Any]:
    """Spell the options that must be the same when an export goes on."""
    given_ones = {
        option.opts[0].removeprefix("--"): _plain(context.params[option.name])
        for option in context.command.params
        if option.name in _SAME
    }
    columns = ",".join(column.name for column in target.columns)
    zone = str(target.spelling.zone)
    return given_ones | {"format": target.format, "columns": columns, "time-zone": zone}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _created(
    begin: str | None, end: str | None, now: datetime, zone: tzinfo
) -> dict[str, datetime | None]:
    if begin is None and end is None:
        return {}
    return created_of(f"{begin or ''}..{end or ''}", now, zone, hint="--from / --to")


def _target(
    path: Path,
    format_: str | None,
    columns: str | None,
    spelling: Spelling,
    *,
    details: bool,
    force: bool,
) -> Target:
    chosen = format_ or path.suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        raise click.BadParameter(
            f"{path.name!r} must end in .csv, .jsonl or .parquet, or --format must say what it is",
            param_hint="--out",
        )
    try:
        if chosen == "parquet":
            require_pyarrow()
        known = choose(columns, details=details)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--columns / --out") from error
    return Target(path=path, format=chosen, columns=known, spelling=spelling, force=force)


def _part(target: Target, words: dict[str, Any], *, resume: bool) -> tuple[Part, str | None]:
    try:
        if resume:
            return Part.resume(target, words=words)
        return Part.begin(target, words=words), None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--out") from error


@attrs.frozen(kw_only=True)
class _Export:
    """An export that may begin."""

    target: Target
    part: Part
    calls: CallList
    exotel: ExotelClient
    screen: Screen
    clock: Clock
    recordings: _Recordings | None

    async def __call__(self) -> ExitStatus:
        try:
            async with self.exotel, self.calls:
                skipped = await self._write()
        except BaseException:
            self._say_how_to_go_on()
            raise
        finally:
            self.part.close()
        try:
            await asyncio.to_thread(self.part.finish)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        return self._tell(skipped)

    async def _write(self) -> int:
        """Write all pages, and note now and then up to where they are written."""
        self.part.save(self.calls.position)
        before, skipped, saved_at = self.part.rows, 0, self.clock.monotonic()
        with self.screen.meter("Records") as meter:
            pages = self.calls.pages()
            while (page := await self._next(pages)) is not None:
                skipped += page.skipped
                await self._take(page)
                meter(self.part.rows, self._total(before))
                if self.clock.monotonic() - saved_at >= _SAVED_EVERY:
                    await in_thread(partial(self.part.save, self.calls.position))
                    saved_at = self.clock.monotonic()
        return skipped

    async def _next(self, pages: AsyncIterator[CallPage]) -> CallPage | None:
        """Wait for a page; whatever ends that, what is written is noted."""
        try:
            return await anext(pages, None)
        except (ExotelError, asyncio.CancelledError):
            self.part.save(self.calls.position)
            raise

    async def _take(self, page: CallPage) -> None:
        if self.recordings is not None:
            await self.recordings.save(page.calls)
        cell = self.target.spelling.cell
        rows = [[cell(column.read(call)) for column in self.target.columns] for call in page.calls]
        self.part.append(rows)

    def _total(self, before: int) -> int | None:
        """Tell how many rows there will be; the list counts from its own position on."""
        return None if self.calls.total is None else before + self.calls.total

    def _say_how_to_go_on(self) -> None:
        self.screen.note(
            f"{self.part.rows} records are in {self.target.part.name}; the same command with "
            "--resume goes on."
        )

    def _tell(self, skipped: int) -> ExitStatus:
        failed = () if self.recordings is None else tuple(self.recordings.failed)
        done = Exported(
            file=str(self.target.path), records=self.part.rows, skipped=skipped,
            recordings=0 if self.recordings is None else self.recordings.saved,
            recordings_failed=len(failed),
        )  # fmt: skip
        self.screen.show(done, f"{done.records} records in {done.file}.")
        if skipped:
            self.screen.note(f"Skipped without a Sid: {skipped}.", style="yellow")
        for text in failed[:_MOST_NAMED]:
            self.screen.note(text, style="yellow")
        if failed:
            self.screen.note(f"{len(failed)} recordings could not be saved.", style="yellow")
        return ExitStatus.FAILED if failed else ExitStatus.FINE


@attrs.frozen(kw_only=True)
class Exported:
    """What was exported."""

    file: str
    records: int
    skipped: int  # entries without a Sid
    recordings: int
    recordings_failed: int


class _Recordings:
    """Saves recordings beside the records; what is there already stays."""

    def __init__(self, exotel: ExotelClient, folder: Path) -> None:
        self.saved = 0
        self.failed: list[str] = []
        self._exotel = exotel
        self._folder = folder
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def save(self, calls: Sequence[Call]) -> None:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                if call.recording_url:
                    group.create_task(self._save(call))

    async def _save(self, call: Call) -> None:
        if not _FILE_NAME.fullmatch(call.sid):
            self.failed.append(f"{printable(call.sid)!r}: no Sid that a file can be named after")
            return
        path = self._folder / f"{call.sid}.mp3"
        if path.exists():
            return
        async with self._room:
            try:
                await self._exotel.recordings.download(call, path)
            except (RecordingError, ExotelError, OSError) as error:
                self.failed.append(f"{call.sid}: {told(error)}")
            else:
                self.saved += 1
