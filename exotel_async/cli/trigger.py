"""`exotel-async trigger`: send a callback as if Exotel had sent it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

import attrs
import click
import yarl

from exotel_async.simulator import payloads, post_callback

from .exit_status import ExitStatus
from .options import PAIR, common, once_each, screen_of
from .saved import Saved, from_line
from .screen import Screen
from .urls import URL, exact
from .world import Job

Encoding = Literal["multipart", "json", "urlencoded"]
_ENCODINGS: tuple[Encoding, ...] = ("multipart", "json", "urlencoded")
_KINDS = ("terminal", "answered", "default")


@attrs.frozen(kw_only=True)
class Letter:
    """One callback to be sent."""

    name: str
    url: yarl.URL = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    content_type: str


@attrs.frozen(kw_only=True)
class Triggered:
    """What a callback that we sent was answered with."""

    sent: str
    content_type: str
    status: int | None  # None: no answer came


@click.command(short_help="Post a sample callback, or saved ones.")
@click.argument("kind", type=click.Choice(_KINDS), required=False)
@click.option("--to-url", type=URL, required=True, help="Where to send it.")
@click.option("--encoding", type=click.Choice(_ENCODINGS), help="multipart if not said.")
@click.option("--leg", type=click.IntRange(0, 1), help="With answered: 0 for From, 1 for To.")
@click.option(
    "--set", "fields", type=PAIR, multiple=True, help="A field, like 'Legs[0][Status]=busy'."
)
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send what `listen --save` saved, in order, byte for byte.",
)
@common
@click.pass_context
def trigger(
    context: click.Context,
    /,
    kind: str | None,
    to_url: str,
    encoding: Encoding | None,
    leg: int | None,
    fields: tuple[tuple[str, str], ...],
    from_file: Path | None,
    **_: object,
) -> Job:
    """Send a sample callback, or saved ones, to a receiver; 0 if all were answered 200."""
    if (kind is None) == (from_file is None):
        raise click.UsageError(f"Say what to send: one of {', '.join(_KINDS)}, or --from-file")
    if from_file is not None:
        if encoding or fields or leg is not None:
            raise click.UsageError("--from-file sends what is there: no --encoding, --leg or --set")
        letters = _letters_of(from_file, to_url)
    else:
        letters = [_sample(kind or "", to_url, encoding or "multipart", leg, fields)]
    return Job(run=partial(_send_all, letters, screen_of(context)))


def _sample(
    kind: str,
    url: str,
    encoding: Encoding,
    leg: int | None,
    fields: Sequence[tuple[str, str]],
) -> Letter:
    if leg is not None and kind != "answered":
        raise click.UsageError("--leg goes with answered only")
    own = once_each(fields, option="--set")
    try:
        if kind == "answered":
            which = cast("Literal[0, 1]", leg or 0)
            payload = payloads.answered(own, leg=which, encoding=encoding)
        else:
            make = payloads.terminal if kind == "terminal" else payloads.default
            payload = make(own, encoding=encoding)
    except ValueError as error:
        raise click.UsageError(f"--set: {error}") from error
    return Letter(name=kind, url=exact(url), body=payload.body, content_type=payload.content_type)


def _letters_of(path: Path, url: str) -> list[Letter]:
    """Read a file whole before anything is sent."""
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    return [_letter_of(line, n, url) for n, line in enumerate(lines, start=1) if line.strip()]


def _letter_of(line: str, n: int, url: str) -> Letter:
    try:
        saved: Saved = from_line(line)
    except ValueError as error:
        raise click.UsageError(f"--from-file: line {n} is {error}") from error
    return Letter(
        name=f"line {n}",
        url=exact(url, saved.query),
        body=saved.body,
        content_type=saved.content_type,
    )


async def _send_all(letters: Sequence[Letter], screen: Screen) -> ExitStatus:
    """Send one after the other; the next only when there is an answer, or surely none."""
    well = True
    for letter in letters:
        status = await post_callback(letter.url, letter.body, letter.content_type)
        well = well and status == 200
        told = Triggered(sent=letter.name, content_type=letter.content_type, status=status)
        answer = "no answer" if status is None else f"answered {status}"
        style = "green" if status == 200 else "red"
        kind = letter.content_type.partition(";")[0]
        screen.show(told, f"{letter.name}  {kind}  {answer}", style=style)
    return ExitStatus.FINE if well else ExitStatus.FAILED
