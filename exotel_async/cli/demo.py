"""`exotel-async demo`: the main job, start to end, and whether all that is promised happened."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import attrs
import click

from exotel_async.models.calls import Call
from exotel_async.models.clock import Clock
from exotel_async.models.events import CallAnswered, CallTerminated, StatusCallback
from exotel_async.models.numbers import NumberMetadata
from exotel_async.models.vocabulary import Circle, Operator
from exotel_async.simulator import Simulator
from exotel_async.wire.tokens import CallbackTokens

from .asking import ask
from .exit_status import ExitStatus
from .listen import show_arrival
from .options import common, screen_of, world_of
from .receiving import Arrival, Receiver, serving
from .running import PROGRAM, execute
from .screen import Screen, complain
from .simulate import environ_of
from .surviving import survive
from .urls import URL
from .world import Job, World

ENCODINGS = ("application/json", "multipart/form-data")
LONGEST_CALL = 180.0  # seconds, ringing included
_FROM, _TO, _CALLER_ID = "+919812300001", "+919812300002", "08040001234"
_PUBLIC = "$URL"  # stands for the callback URL in what is printed: a token is in it

V = TypeVar("V")


@attrs.frozen(kw_only=True)
class Parties:
    """Who talks with whom."""

    from_: str
    to: str
    caller_id: str


@attrs.frozen(kw_only=True)
class Stage:
    """Whom the demo talks to, and how it waits until a call is told to be over."""

    world: World
    wait_for: Callable[[asyncio.Event], Awaitable[object]]
    simulated: bool


@click.command(short_help="Place calls, be told how they go, read them back.")
@click.option("--live", is_flag=True, help="Talk to Exotel itself; phones will ring.")
@click.option("--public-url", type=URL, help="With --live: where Exotel reaches this program.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="To listen on.")
@click.option("--from", "from_", help="Rings first.")
@click.option("--to", help="Rings second.")
@click.option("--caller-id", help="Your ExoPhone.")
@common
@click.pass_context
def demo(
    context: click.Context,
    /,
    live: bool,
    public_url: str | None,
    port: int,
    from_: str | None,
    to: str | None,
    caller_id: str | None,
    **_: object,
) -> Job:
    """Place calls, be told how they go, read their records back, and survive a crash.

    Each step is printed as the command line that would do it. Without --live all happens at a
    simulator: no account is needed, no phone rings, and five minutes pass in a moment.
    """
    world, screen = world_of(context), screen_of(context)
    if live:
        if not (public_url and port and from_ and to and caller_id):
            raise click.UsageError(
                "--live needs --public-url, --port, --from, --to and --caller-id"
            )
        parties = Parties(from_=from_, to=to, caller_id=caller_id)
        world.client()  # what is missing or senseless is told before you are asked
        _ask(parties, screen)
    else:
        if public_url or from_ or to or caller_id:
            raise click.UsageError("--public-url, --from, --to and --caller-id go with --live")
        parties = Parties(from_=_FROM, to=_TO, caller_id=_CALLER_ID)
    run = partial(execute, context.find_root().command)
    stage = _live(world) if live else simulated()
    return Job(run=partial(perform, parties, stage, run, screen, port=port, public_url=public_url))


def _ask(parties: Parties, screen: Screen) -> None:
    hide = screen.look.hide
    ask(
        screen,
        what=f"This dials {hide(parties.from_)}, then {hide(parties.to)}, from "
        f"{hide(parties.caller_id)}: twice.\nPhones will ring, and it costs money.",
        question="Type 'dial' to go on:",
        yes=("dial",),
        otherwise="",
    )


async def perform(
    parties: Parties,
    stage_of: AbstractAsyncContextManager[Stage],
    run: Callable[..., Awaitable[int]],
    screen: Screen,
    *,
    port: int = 0,
    public_url: str | None = None,
) -> int:
    """Run the demo; FINE if all that it promises happened."""
    arrivals: list[Arrival] = []
    over = asyncio.Event()
    async with stage_of as stage:
        receiver = _receiver(stage.world, screen, arrivals, over)
        async with serving(receiver, host="127.0.0.1", port=port) as open_port:
            show = Demo(
                parties=parties, stage=stage, run=run, screen=screen, receiver=receiver,
                arrivals=arrivals, over=over,
                base=public_url or f"http://127.0.0.1:{open_port}/exotel/",
            )  # fmt: skip
            show.caption(["listen", "--port", str(open_port)])
            status = await show.play()
    for what in show.broken:
        complain(f"Promised, and did not happen: {what}")
    return ExitStatus.FAILED if show.broken and status == ExitStatus.FINE else status


def _receiver(
    world: World, screen: Screen, arrivals: list[Arrival], over: asyncio.Event
) -> Receiver:
    def show(arrival: Arrival) -> None:
        arrivals.append(arrival)
        show_arrival(arrival, screen=screen)
        if isinstance(arrival.event, CallTerminated):
            over.set()

    return Receiver(
        tokens=CallbackTokens([secrets.token_bytes(32)]),
        clock=world.clock,
        show=show,
        refuse=screen.note,
    )


@attrs.define(kw_only=True)
class Demo:
    """Plays the commands one after the other, and notes each promise that did not come true."""

    parties: Parties
    stage: Stage
    run: Callable[..., Awaitable[int]]
    screen: Screen
    receiver: Receiver
    arrivals: list[Arrival]
    over: asyncio.Event
    base: str  # where Exotel finds the receiver
    broken: list[str] = attrs.field(factory=list)

    async def play(self) -> int:
        """Place a call for each encoding of callbacks, then read back what is known."""
        sids = []
        for encoding in ENCODINGS:
            status, sid = await self.place(encoding)
            if sid is None:
                return status
            sids.append(sid)
        await self.look_up_call(sids[-1])
        await self.list_calls(sids)
        await self.look_up_number()
        if self.stage.simulated:
            await survive(self.screen, self.promise)
        return ExitStatus.FINE

    def promise(self, what: str, /, *, kept: bool) -> None:
        """Note what was promised and did not happen."""
        if not kept:
            self.broken.append(what)

    def caption(self, words: Sequence[str]) -> None:
        """Print a step as the command line that does it."""
        hide = self.screen.look.hide
        spelt = " ".join(hide(shlex.quote(word)) for word in (PROGRAM, *words))
        spelt = spelt.replace(f"'{_PUBLIC}'", f'"{_PUBLIC}"')
        if self.screen.as_json:
            self.screen.note(f"$ {spelt}")
        else:
            self.screen.line(f"$ {spelt}", style="bold")

    async def command(
        self, *words: str, hidden: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, list[object]]:
        """Run a command line; return how it ended and the values that it showed."""
        self.caption(words)
        shown: list[object] = []
        world = self.stage.world
        world = attrs.evolve(world, watch=shown.append, clock=patient(world.clock))
        argv = [hidden.get(word, word) for word in words]
        status = await self.run([*argv, *self._common()], world=world)
        return status, shown

    def _common(self) -> Iterator[str]:
        if self.screen.as_json:
            yield "--json"
        if not self.screen.look.masks:
            yield "--show-numbers"

    async def place(self, encoding: str) -> tuple[int, str | None]:
        """Connect two numbers, and follow the call and what is told of it."""
        told = len(self.arrivals)
        self.over.clear()
        status, shown = await self._call(encoding)
        placed = [value for value in shown if isinstance(value, Call)]
        if not placed:
            return status, None
        await self.stage.wait_for(self.over)
        events = [a.event for a in self.arrivals[told:] if a.event is not None]
        self.promise(f"{encoding}: the call was answered", kept=status == ExitStatus.FINE)
        self.check(events, placed[0].sid, encoding)
        return status, placed[0].sid

    async def _call(self, encoding: str) -> tuple[int, list[object]]:
        url = self.receiver.url(self.base, ref=f"demo {encoding}")
        return await self.command(
            "call", self.parties.from_, self.parties.to,
            "--caller-id", self.parties.caller_id,
            "--time-limit", "60",
            "--status-callback", _PUBLIC,
            "--status-callback-event", "terminal",
            "--status-callback-event", "answered",
            "--status-callback-content-type", encoding,
            "--yes",
            hidden={_PUBLIC: url},
        )  # fmt: skip

    def check(self, told: Sequence[StatusCallback], sid: str, encoding: str) -> None:
        """Hold what came against what Exotel's page promises."""
        ends = _only(told, CallTerminated)
        answered = [event.answered_leg for event in _only(told, CallAnswered)]
        ours = {(event.call_sid, event.ref) for event in told}
        self.promise(f"{encoding}: the call's end was told once", kept=len(ends) == 1)
        self.promise(
            f"{encoding}: all was about our call", kept=ours == {(sid, f"demo {encoding}")}
        )
        if self.stage.simulated:
            self.promise(f"{encoding}: From, then To answered", kept=answered == [0, 1])
            both = bool(told) and all(len(event.legs) == 2 for event in told)
            self.promise(f"{encoding}: both legs", kept=both)

    async def look_up_call(self, sid: str) -> None:
        """Read one call with its legs."""
        _, shown = await self.command("calls", "get", sid)
        records = _only(shown, Call)
        kept = any(r.details and len(r.details.legs) == 2 and r.price for r in records)
        if self.stage.simulated:
            self.promise("the record has both legs and a price", kept=kept)

    async def list_calls(self, sids: Sequence[str]) -> None:
        """Read the latest records."""
        _, shown = await self.command("calls", "list", "--created", "24h", "--limit", "5")
        if self.stage.simulated:
            found = {call.sid for call in _only(shown, Call)}
            self.promise("both calls are among the records", kept=found == set(sids))

    async def look_up_number(self) -> None:
        """Look up where a number is at home."""
        _, shown = await self.command("number", self.parties.to)
        if self.stage.simulated:
            kept = any(
                number.circle in list(Circle) and number.operator in list(Operator) and number.dnd
                for number in _only(shown, NumberMetadata)
            )
            self.promise("circle, operator and DND are known", kept=kept)


def _only(values: Sequence[object], kind: type[V]) -> list[V]:
    return [value for value in values if isinstance(value, kind)]


@attrs.frozen
class _OtherSleep:
    """A clock whose sleep is another."""

    clock: Clock
    let_pass: Callable[[float], Awaitable[None]]

    def now(self) -> datetime:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.let_pass(seconds)


def patient(clock: Clock) -> Clock:
    """Make a clock on which nobody sleeps any more when the longest call would be over."""
    end = clock.monotonic() + LONGEST_CALL

    async def sleep(seconds: float) -> None:
        if clock.monotonic() + seconds > end:
            raise TimeoutError(f"the call did not end within {LONGEST_CALL:g} s")
        await clock.sleep(seconds)

    return _OtherSleep(clock, sleep)


def driven(simulator: Simulator) -> Clock:
    """Make a clock of a simulator's that whoever sleeps moves on."""

    async def sleep(seconds: float) -> None:
        await simulator.advance(seconds=seconds)

    return _OtherSleep(simulator.clock, sleep)


@asynccontextmanager
async def simulated() -> AsyncIterator[Stage]:
    """Talk to a simulator, whose time passes as fast as it can."""
    async with Simulator() as simulator:

        async def wait_for(_: asyncio.Event) -> None:
            await simulator.advance(minutes=5)

        world = World(environ=environ_of(simulator), clock=driven(simulator))
        yield Stage(world=world, wait_for=wait_for, simulated=True)


@asynccontextmanager
async def _live(world: World) -> AsyncIterator[Stage]:
    """Talk to Exotel, with the credentials of the environment."""

    async def wait_for(over: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(LONGEST_CALL):
                await over.wait()
        except TimeoutError as error:
            raise TimeoutError(f"no CallTerminated within {LONGEST_CALL:g} s") from error

    yield Stage(world=world, wait_for=wait_for, simulated=False)
