"""`exotel-async listen`: receive StatusCallbacks and show them as they come."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from datetime import tzinfo
from functools import partial
from pathlib import Path

import attrs
import click

from exotel_async.client.settings import is_loopback
from exotel_async.simulator import post_callback
from exotel_async.webhooks.reading import Letter
from exotel_async.wire.tokens import LONGEST_LIFE, CallbackTokens

from .exit_status import ExitStatus
from .options import common, screen_of, world_of, zone_option
from .receiving import Arrival, Receiver, serving
from .rows import event_line, style_of
from .saved import add_line, open_for_saving
from .screen import Screen
from .until import Until
from .urls import URL, exact
from .world import Job, World

SECRET = "EXOTEL_CALLBACK_SECRET"  # noqa: S105 - the name of a variable
_FORWARD_TIMEOUT = 13.0  # seconds: Exotel waits 15 for all


@attrs.frozen(kw_only=True)
class Plan:
    """What `listen` was told to do."""

    host: str
    port: int
    public_url: str | None
    forward_to: str | None = attrs.field(repr=False)
    save: Path | None
    zone: tzinfo


@attrs.frozen(kw_only=True)
class Listening:
    """Where `listen` is to be found, said once."""

    listening: str
    callback_url: str


@click.command(short_help="Receive StatusCallbacks and show them.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--public-url", type=URL, help="Where Exotel reaches this program.")
@click.option("--forward-to", type=URL, help="Post each callback there too; answer as it does.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add each callback to this file, for `trigger --from-file`.",
)
@zone_option
@common
@click.pass_context
def listen(
    context: click.Context,
    /,
    host: str,
    port: int,
    public_url: str | None,
    forward_to: str | None,
    save: Path | None,
    zone: tzinfo,
    **_: object,
) -> Job:
    """Receive StatusCallbacks and show them as they come, until Ctrl-C.

    The URL to give Exotel is printed at the start. It holds a token, whose secret is that of
    EXOTEL_CALLBACK_SECRET (sixteen bytes or more; of several with commas between the first), or a
    fresh one.
    """
    plan = Plan(
        host=host, port=port, public_url=public_url, forward_to=forward_to, save=save, zone=zone
    )
    world, screen = world_of(context), screen_of(context, zone=zone)
    tokens = tokens_of(world)
    return Job(run=partial(_listen, plan, tokens, world, screen), serves=True)


def tokens_of(world: World) -> CallbackTokens:
    """Make tokens of the secret in the environment, or of a fresh one."""
    if world.environ.get(SECRET):
        return CallbackTokens.from_environ(environ=world.environ)
    return CallbackTokens([secrets.token_urlsafe(32)])


async def _listen(plan: Plan, tokens: CallbackTokens, world: World, screen: Screen) -> ExitStatus:
    until = Until()
    with ExitStack() as open_files:
        receiver = receiver_of(plan, tokens, world, screen, open_files)
        receiver = attrs.evolve(
            receiver, show=until.guard(receiver.show), refuse=until.guard(receiver.refuse)
        )
        async with serving(receiver, host=plan.host, port=plan.port) as port:
            _announce(plan, port, receiver, screen, fresh=not world.environ.get(SECRET))
            await until.stopped()
    return ExitStatus.FINE


def receiver_of(
    plan: Plan, tokens: CallbackTokens, world: World, screen: Screen, open_files: ExitStack
) -> Receiver:
    """Put a receiver together that does what was asked for."""
    options = {}
    if plan.save is not None:
        options["keep"] = partial(add_line, open_files.enter_context(open_for_saving(plan.save)))
    return Receiver(
        tokens=tokens,
        clock=world.clock,
        show=partial(show_arrival, screen=screen),
        refuse=partial(screen.note, style="yellow"),
        forward=partial(_forward, plan.forward_to) if plan.forward_to else None,
        zone=plan.zone,
        **options,
    )


async def _forward(url: str, letter: Letter) -> int | None:
    return await post_callback(
        exact(url, letter.query), letter.body, letter.content_type, timeout=_FORWARD_TIMEOUT
    )


def show_arrival(arrival: Arrival, *, screen: Screen) -> None:
    """Show a callback in a line, and what it was answered if that was not 200."""
    hide = screen.look.hide
    told = event_line(arrival.event, hide=hide) if arrival.event else None
    what = told or f"no callback: {arrival.error}"
    answer = "" if arrival.status == 200 else f"  (answered {arrival.status})"
    style = style_of(arrival.event.status) if arrival.event else "red"
    line = f"{screen.look.time(arrival.at)}  {what}{answer}"
    screen.show(arrival, line, style=style)


def _announce(plan: Plan, port: int, receiver: Receiver, screen: Screen, *, fresh: bool) -> None:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    here = f"http://{host}:{port}/"
    url = receiver.url(plan.public_url or here)
    screen.show(
        Listening(listening=here, callback_url=url),
        f"Listening on {here}",
    )
    if not screen.as_json:
        screen.line(f"Give Exotel this URL, good for {LONGEST_LIFE.days} days: {url}")
    if fresh:
        screen.note(f"The secret in it is a fresh one; set {SECRET} for a URL that stays good.")
    if plan.public_url is None and is_loopback(plan.host):
        screen.note("Exotel can't reach this machine by it: open a tunnel, and say --public-url.")
