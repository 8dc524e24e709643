"""`exotel-async call`: place a call, and follow it to its end."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import click

from exotel_async.client import ExotelClient
from exotel_async.errors import ExotelError
from exotel_async.models.calls import Call
from exotel_async.wire import connecting
from exotel_async.wire.connecting import FlowOptions

from .asking import ask
from .exit_status import ExitStatus, explained
from .options import common, extra_option, given, once_each, screen_of, world_of
from .rows import is_over, stand_of, style_of, was_answered
from .screen import Screen, complain
from .world import Job, World

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 2.0, 10.0, 1.3  # seconds between two looks at a call
_MOST_FAILURES = 5  # looks in a row
_LONGEST_TALK = 4 * 3600  # seconds, where no time limit was given: Exotel's own
_SETTLING = 15 * 60  # seconds more until a record is said to be settled
_CONTENT_TYPES = {"json": "application/json", "multipart": "multipart/form-data"}


@attrs.frozen(kw_only=True)
class Order:
    """The call that is wanted."""

    from_: str
    to: str | None
    flow: dict[str, str]  # its id or its url
    caller_id: str
    options: dict[str, Any] = attrs.field(repr=False)

    def check(self) -> list[str]:
        """Refuse what could not be sent; return what is doubtful."""
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            if self.to is not None:
                connecting.connect(
                    from_=self.from_, to=self.to, caller_id=self.caller_id, **self.options
                )
            else:
                connecting.connect_to_flow(
                    from_=self.from_, caller_id=self.caller_id, url=self._url(), **self.options
                )
        return [str(doubt.message) for doubt in doubts]

    def _url(self) -> str:
        if "url" in self.flow:
            return self.flow["url"]
        return connecting.flow_url(
            self.flow["flow_id"], account_sid="any", flow_base_url="http://any"
        )

    async def place(self, exotel: ExotelClient) -> Call:
        """Have Exotel place it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `check` has told them
            if self.to is not None:
                return await exotel.calls.connect(
                    from_=self.from_, to=self.to, caller_id=self.caller_id, **self.options
                )
            return await exotel.calls.connect_to_flow(
                from_=self.from_,
                caller_id=self.caller_id,
                flow_id=self.flow.get("flow_id"),
                url=self.flow.get("url"),
                **self.options,
            )


@click.command(epilog=explained(), short_help="Place a call, and follow it to its end.")
@click.argument("from_", metavar="FROM")
@click.argument("to", required=False)
@click.option("--flow", "flow_id", metavar="ID", help="Connect FROM with this flow instead of TO.")
@click.option("--flow-url", help="The same, the flow named by its whole URL.")
@click.option("--caller-id", required=True, help="Your ExoPhone, which the called see.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option("--follow/--no-follow", default=True, help="Follow the call to its end (default).")
@click.option("--time-limit", type=int, help="Seconds until the call is cut.")
@click.option("--time-out", type=int, help="Seconds to let each phone ring.")
@click.option("--call-type", help="'trans' for transactional calls.")
@click.option("--record/--no-record", default=None, help="Whether Exotel records the call.")
@click.option("--recording-channels", type=click.Choice(["single", "dual"]))
@click.option("--recording-format", type=click.Choice(["mp3", "mp3-hq"]))
@click.option("--wait-url", help="URL of a wav file, played to FROM while TO's phone rings.")
@click.option("--start-playback-to", type=click.Choice(["Callee", "Both"]))
@click.option("--start-playback-value", help="URL of a wav file, played before they talk.")
@click.option("--custom-field", help="Any text of yours; comes back with the last callback.")
@click.option("--status-callback", help="URL to which Exotel posts what happens.")
@click.option(
    "--status-callback-event",
    "status_callback_events",
    multiple=True,
    help="'terminal' or 'answered'; may be repeated.",
)
@click.option(
    "--status-callback-content-type",
    type=click.Choice([*_CONTENT_TYPES, *_CONTENT_TYPES.values()]),
    help="How the callbacks are written.",
)
@extra_option
@common
@click.pass_context
def call(context: click.Context, /, **words: Any) -> Job:
    """Place a call: FROM's phone rings first, then TO's, or a flow answers.

    It asks before it dials. It then shows how the call goes until it is over; the exit status
    tells whether it was answered.
    """
    screen, world = screen_of(context), world_of(context)
    yes, follow = words["yes"], words["follow"]
    order = _order(**words)
    for doubt in order.check():
        screen.note(f"Note: {doubt}", style="yellow")
    exotel = world.client()
    if not yes:
        _ask(order, screen)
    return Job(run=partial(_call, order, exotel, world, screen, follow=follow))


def _order(
    *,
    from_: str,
    to: str | None,
    flow_id: str | None,
    flow_url: str | None,
    caller_id: str,
    extra: tuple[tuple[str, str], ...],
    status_callback_content_type: str | None,
    **rest: object,
) -> Order:
    """Put the words together; say what does not go together."""
    if sum(value is not None for value in (to, flow_id, flow_url)) != 1:
        raise click.UsageError("Give one of TO, --flow and --flow-url: with whom is FROM to talk?")
    kind = status_callback_content_type
    options = given(
        {
            **{name: value for name, value in rest.items() if name in _CONNECT_OPTIONS},
            "status_callback_content_type": _CONTENT_TYPES.get(kind or "", kind),
            "extra": once_each(extra, option="--extra") or None,
        }
    )
    if to is None:
        _refuse_for_flow(options)
    flow = given({"flow_id": flow_id, "url": flow_url})
    return Order(from_=from_, to=to, flow=flow, caller_id=caller_id, options=options)


_CONNECT_OPTIONS = connecting.ConnectOptions.__optional_keys__


def _refuse_for_flow(options: dict[str, Any]) -> None:
    wrong = sorted(options.keys() - FlowOptions.__optional_keys__)
    if wrong:
        names = ", ".join("--" + name.replace("_", "-").removesuffix("s") for name in wrong)
        raise click.UsageError(f"A call to a flow takes no {names}")


def _ask(order: Order, screen: Screen) -> None:
    """Ask before phones ring; whoever can't be asked must have said yes before."""
    hide = screen.look.hide
    then = f"then {hide(order.to)}" if order.to is not None else "then a flow answers"
    ask(
        screen,
        what=f"This rings {hide(order.from_)}, {then}, from {hide(order.caller_id)}, "
        "and costs money.",
        question="Go on? [y/N]",
        yes=("y", "yes"),
        otherwise=": say --yes",
    )


async def _call(
    order: Order, exotel: ExotelClient, world: World, screen: Screen, *, follow: bool
) -> ExitStatus:
    async with exotel:
        call = await _place(order, exotel, screen)
        try:
            screen.show(call, f"Placed {call.sid}: {call.status} (being dialled)")
            if not follow:
                return ExitStatus.FINE
            longest = order.options.get("time_limit", _LONGEST_TALK) + _SETTLING
            return await _follow(call, exotel, world, screen, longest=longest)
        except asyncio.CancelledError:
            screen.note(
                f"Stopped following; the call itself goes on: exotel-async calls get {call.sid}"
            )
            raise
        except (OSError, ValueError) as error:  # a full disk, a closed pipe
            return _lost(call, str(error) or type(error).__name__)


async def _place(order: Order, exotel: ExotelClient, screen: Screen) -> Call:
    try:
        return await order.place(exotel)
    except asyncio.CancelledError:
        screen.note(
            "Interrupted while Exotel was being asked: a phone may be ringing. "
            "Look first, before you repeat it: exotel-async calls list --created 1h"
        )
        raise


async def _follow(
    placed: Call, exotel: ExotelClient, world: World, screen: Screen, *, longest: float
) -> ExitStatus:
    """Look at a call until it is over, and show what changed."""
    call, shown, failures = placed, "", 0
    waits, end = pauses(), world.clock.monotonic() + longest
    while not is_over(call):
        if world.clock.monotonic() > end:
            return _lost(placed, f"It is not told to be over after {math.ceil(longest / 60)} min")
        await world.clock.sleep(next(waits))
        try:
            call, failures = await exotel.calls.get(placed.sid, details=True), 0
        except ExotelError as error:
            failures += 1
            if failures == _MOST_FAILURES:
                return _lost(placed, str(error))
            continue
        if (stand := screen.look.hide(stand_of(call))) != shown:
            shown = stand
            when = screen.look.time(world.clock.now())
            screen.show(call, f"{when}  {stand}", style=style_of(call.status))
    return ExitStatus.FINE if was_answered(call) else ExitStatus.NOT_ANSWERED


def pauses() -> Iterator[float]:
    """Wait a little longer each time, up to a bound."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def _lost(placed: Call, why: str) -> ExitStatus:
    """Say that a call was placed of which no more can be told or shown."""
    with suppress(OSError):
        complain(
            f"Placed {placed.sid}: do not repeat it.",
            why,
            f"How it goes is not known: exotel-async calls get {placed.sid}",
        )
    return ExitStatus.UNKNOWN
