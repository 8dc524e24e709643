"""The main job, start to end: place calls, be told how they go, read their records back.

python examples/demo.py            against the simulator: no account, nothing is dialled
python examples/demo.py --live …   against Exotel: says what it would dial, and asks first
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Literal

import attrs
from aiohttp import web

from exotel_async import (
    CallAnswered,
    CallbackTokens,
    CallTerminated,
    Circle,
    ExotelClient,
    ExotelError,
    Leg,
    Operator,
    StatusCallback,
)
from exotel_async.simulator import Simulator
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

Encoding = Literal["application/json", "multipart/form-data"]
ENCODINGS: tuple[Encoding, ...] = ("application/json", "multipart/form-data")
LONGEST_LIVE_CALL = 180  # seconds, ringing included


@attrs.frozen(kw_only=True)
class Carrier:
    """Whom the demo talks to, and how it waits until a call is over."""

    exotel: ExotelClient
    now: Callable[[], datetime]
    wait_for: Callable[[asyncio.Event], Awaitable[object]]
    simulated: bool


@attrs.define(kw_only=True)
class Demo:
    """Shows what the package does, and notes each promise that did not come true."""

    carrier: Carrier
    callbacks: StatusCallbacks
    url: str  # where Exotel finds the callbacks
    options: argparse.Namespace
    broken: list[str] = attrs.field(factory=list)

    async def run(self) -> None:
        """Place a call for each encoding of callbacks, then read back what is known."""
        sids = [await self.place_call(encoding) for encoding in ENCODINGS]
        await self.show_record(sids[-1])
        await self.show_latest_records()
        await self.show_number()

    def promise(self, what: str, *, kept: bool) -> None:
        """Note what was promised and did not happen."""
        if not kept:
            self.broken.append(what)

    async def place_call(self, encoding: Encoding) -> str:
        """Connect two numbers and print what Exotel tells of it until it is over."""
        told, over = self.listen(ref=f"demo {encoding}")
        print(f"\nConnecting {self.options.from_} with {self.options.to}, told as {encoding}")
        call = await self.carrier.exotel.calls.connect(
            from_=self.options.from_,
            to=self.options.to,
            caller_id=self.options.caller_id,
            time_limit=60,
            status_callback=self.callbacks.url(self.url, ref=f"demo {encoding}"),
            status_callback_events=("terminal", "answered"),
            status_callback_content_type=encoding,
        )
        print(f"  placed: {call.sid}, {call.status} (being dialled)")
        await self.carrier.wait_for(over)
        self.check(told, call.sid, encoding)
        return call.sid

    def listen(self, *, ref: str) -> tuple[list[StatusCallback], asyncio.Event]:
        """Collect and print the events of one call; the other one's have another ref."""
        told: list[StatusCallback] = []
        over = asyncio.Event()

        @self.callbacks.on(StatusCallback)
        async def show(event: StatusCallback) -> None:
            if event.ref == ref:
                told.append(event)
                print(f"  {type(event).__name__:<14}  {event.status}: {spell(event.legs)}")
                if isinstance(event, CallTerminated):
                    over.set()

        return told, over

    def check(self, told: list[StatusCallback], sid: str, encoding: Encoding) -> None:
        """Hold what came against what Exotel's page promises."""
        terminated = [event for event in told if isinstance(event, CallTerminated)]
        answered = [event.answered_leg for event in told if isinstance(event, CallAnswered)]
        self.promise(f"{encoding}: the call's end was told once", kept=len(terminated) == 1)
        self.promise(
            f"{encoding}: all was about our call", kept={e.call_sid for e in told} == {sid}
        )
        if self.carrier.simulated:
            self.promise(f"{encoding}: From, then To answered", kept=answered == [0, 1])
            self.promise(f"{encoding}: both legs", kept=all(len(e.legs) == 2 for e in told))

    async def show_record(self, sid: str) -> None:
        """Read one call with its legs."""
        call = await self.carrier.exotel.calls.get(sid, details=True)
        legs = call.details.legs if call.details else ()
        print(f"\nRecord of {call.sid}\n  {call.status}, {call.duration} s in all: {spell(legs)}")
        print(f"  price {call.price}, begun {call.start_time}, ended {call.end_time}")
        if self.carrier.simulated:
            self.promise(
                "the record has both legs and a price", kept=len(legs) == 2 and bool(call.price)
            )

    async def show_latest_records(self) -> None:
        """Read a page of records."""
        since = self.carrier.now() - timedelta(days=1)
        page = await self.carrier.exotel.calls.page(created_after=since, page_size=5)
        print(f"\nThe latest of {page.total} records since {since:%Y-%m-%d %H:%M}")
        for call in page.calls:
            print(f"  {call.date_created}  {call.sid}  {call.status}, {call.duration} s")
        if self.carrier.simulated:
            self.promise("both calls are among the records", kept=len(page.calls) == 2)

    async def show_number(self) -> None:
        """Look up where a number is at home."""
        number = await self.carrier.exotel.numbers.get(self.options.to)
        print(f"\nThe number {self.options.to} is at home in {number.circle}: {number.circle_name}")
        print(f"  operator {number.operator}: {number.operator_name}; DND: {number.dnd}")
        if self.carrier.simulated:
            known = number.circle in list(Circle) and number.operator in list(Operator)
            self.promise("circle, operator and DND are known", kept=known and bool(number.dnd))


def spell(legs: tuple[Leg, ...]) -> str:
    """Say how the legs of a call stand."""
    return ", ".join(
        f"{name} {leg.status or 'not tried'} ({leg.on_call_duration or 0} s)"
        for name, leg in zip(("From", "To"), legs, strict=False)
    )


@asynccontextmanager
async def serving(callbacks: StatusCallbacks, options: argparse.Namespace) -> AsyncIterator[str]:
    """Run a web application with the callbacks mounted; yields where Exotel finds them."""
    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.append(callbacks.lifespan)
    runner = web.AppRunner(app, access_log_class=MaskingAccessLogger)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        yield options.public_url or f"http://127.0.0.1:{runner.addresses[0][1]}/exotel/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def simulated() -> AsyncIterator[Carrier]:
    """Talk to a simulator, whose time passes when it is told to."""
    async with Simulator() as sim, ExotelClient(**sim.settings) as exotel:
        print(f"Exotel is simulated, at {sim.base_url}")

        async def wait_for(_: asyncio.Event) -> None:
            await sim.advance(minutes=5)

        yield Carrier(exotel=exotel, now=sim.clock.now, wait_for=wait_for, simulated=True)


@asynccontextmanager
async def live() -> AsyncIterator[Carrier]:
    """Talk to Exotel, with the credentials of the environment."""

    async def wait_for(over: asyncio.Event) -> None:
        async with asyncio.timeout(LONGEST_LIVE_CALL):
            await over.wait()

    def now() -> datetime:
        return datetime.now().astimezone()

    async with ExotelClient.from_environ() as exotel:
        yield Carrier(exotel=exotel, now=now, wait_for=wait_for, simulated=False)


def read_options() -> argparse.Namespace:
    """Read the command line; ask before anything is dialled for real."""
    style = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--live", action="store_true", help="talk to Exotel; phones will ring")
    parser.add_argument("--public-url", help="with --live: where Exotel reaches this program")
    parser.add_argument("--port", type=int, default=0, help="to listen on, on this machine")
    parser.add_argument("--from", dest="from_", help="rings first")
    parser.add_argument("--to", help="rings second")
    parser.add_argument("--caller-id", help="your ExoPhone")
    options = parser.parse_args()
    if not options.live:
        parser.set_defaults(from_="+919812300001", to="+919812300002", caller_id="08040001234")
        return parser.parse_args()
    needed = (options.public_url, options.port, options.from_, options.to, options.caller_id)
    if not all(needed):
        parser.error("--live needs --public-url, --port, --from, --to and --caller-id")
    # What is missing or senseless is told before you are asked.
    ExotelClient.from_environ()
    StatusCallbacks(tokens=CallbackTokens([secrets.token_bytes(32)])).url(options.public_url)
    print(f"This dials {options.from_}, then {options.to}, from {options.caller_id}: twice.")
    if input("Phones will ring, and it costs money. Type 'dial' to go on: ") != "dial":
        parser.exit(1, "Nothing was dialled.\n")
    return options


async def main(options: argparse.Namespace) -> int:
    """Run the demo; 0 if all that it promises happened."""
    callbacks = StatusCallbacks(tokens=CallbackTokens([secrets.token_bytes(32)]))
    carrier_of = live if options.live else simulated
    async with carrier_of() as carrier, serving(callbacks, options) as url:
        demo = Demo(carrier=carrier, callbacks=callbacks, url=url, options=options)
        await demo.run()
    for what in demo.broken:
        print(f"Promised, and did not happen: {what}", file=sys.stderr)
    return 1 if demo.broken else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(read_options())))
    except ExotelError as error:
        sys.exit(f"The demo failed: {error}")
    except TimeoutError:
        sys.exit(f"The demo failed: no CallTerminated within {LONGEST_LIVE_CALL} s")
    except (OSError, OverflowError) as error:  # a port that is taken, or none
        sys.exit(f"The demo failed: {error}")
    except (KeyboardInterrupt, EOFError):
        sys.exit("Stopped.")
