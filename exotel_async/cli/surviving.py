"""The demo's second act: a receiver is killed, an answer and a callback are lost.

And still every call's outcome is known, and nobody was called twice.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import attrs

from exotel_async.client import ExotelClient
from exotel_async.dialer import Dialer
from exotel_async.journal import Journal, SQLiteJournal
from exotel_async.models.dials import CallOutcome, Dial
from exotel_async.simulator import Simulator
from exotel_async.wire.tokens import CallbackTokens

from .screen import Screen

_FROM, _CALLER_ID = "+919812300001", "08040001234"
_PATIENCE = 30.0  # real seconds for what is a matter of moments
_LONG_HOLD = 60.0  # seconds a handler takes that will not live to see its end


class Promise(Protocol):
    """Notes whether what was promised happened."""

    def __call__(self, what: str, /, *, kept: bool) -> None:
        """Note it."""


@attrs.frozen(kw_only=True)
class _Order:
    """A call to be placed, and how it must turn out to have ended."""

    key: str
    to: str
    ends: str
    answer_lost: bool = False


_ORDERS = (
    _Order(key="order-1", to="+919812300002", ends="completed"),
    _Order(key="order-2", to="+919812300003", ends="completed", answer_lost=True),
    _Order(key="order-3", to="+910000000486", ends="busy"),
    _Order(key="order-4", to="+910000000480", ends="no-answer"),
)


async def survive(screen: Screen, promise: Promise) -> None:
    """Play it, and note each promise that did not come true."""
    with TemporaryDirectory(prefix="exotel-demo-") as folder:
        path = Path(folder, "calls.db")
        secret, port = secrets.token_urlsafe(32), _free_port()
        async with Simulator(start=datetime.now(UTC)) as simulator:
            exotel = ExotelClient(**simulator.settings)
            journal = SQLiteJournal(path, clock=simulator.clock)
            dialer = Dialer(
                exotel,
                journal=journal,
                tokens=CallbackTokens([secret]),
                public_url=f"http://127.0.0.1:{port}/exotel/",
            )
            dialer.on_outcome(_hear)
            shows = _Act(simulator, journal, dialer, screen, promise)
            environ = {
                "DEMO_JOURNAL": str(path),
                "DEMO_PORT": str(port),
                "EXOTEL_CALLBACK_SECRET": secret,
            }
            async with journal, exotel, dialer:
                await shows.play(environ)


async def _hear(_: CallOutcome) -> None:
    """Want to know: what nobody wants stays in the journal."""


@attrs.frozen
class _Act:
    simulator: Simulator
    journal: Journal
    dialer: Dialer
    screen: Screen
    promise: Promise

    async def play(self, environ: dict[str, str]) -> None:
        """Dial, kill the receiver in the middle, start another, and see what is known."""
        self.say("What gets lost, and is known all the same:")
        async with _receiver(environ, hold=_LONG_HOLD) as first:
            dials = [await self.dial(order) for order in _ORDERS]
            self.simulator.fault("callback-lost", on="terminal")
            self.say("Of one call Exotel will never tell that it ended.")
            await self.simulator.advance(seconds=8)  # From has answered
            held = await self.acknowledged()
            await first.kill()
            self.say(f"The receiver is killed. {held} callbacks were acknowledged, none handled.")
        await self.simulator.advance(seconds=5)  # nobody listens
        self.say("Another receiver starts.")
        async with _receiver(environ, hold=0.0) as second:
            await self.simulator.advance(minutes=20)  # Exotel repeats itself after 5 and 15
            outcomes = [await self.dialer.outcome(dial, timeout=600) for dial in dials]
            await self.until_told()
            lines = await second.stop()
        self.show(lines)
        self.check(dials, outcomes, lines, held=held)

    async def dial(self, order: _Order) -> Dial:
        """Place one call, twice with the same key."""
        if order.answer_lost:
            self.simulator.fault("reset-after-read", on="connect")
        dial = await self._connect(order)
        again = await self._connect(order)
        self.promise(f"{order.key}: same key, same dial", kept=again.ref == dial.ref)
        lost = ", connect's answer was lost" if order.answer_lost else ""
        self.say(f"{order.key}: {dial.state}{lost}")
        return dial

    async def _connect(self, order: _Order) -> Dial:
        return await self.dialer.connect(
            from_=_FROM, to=order.to, caller_id=_CALLER_ID, idempotency_key=order.key
        )

    async def acknowledged(self) -> int:
        """Tell how many callbacks are in the journal."""
        return (await self.journal.stats())["receipts"]

    async def until_told(self) -> None:
        """Wait until nothing waits for a handler any more."""
        async with asyncio.timeout(_PATIENCE):
            while await self._somebody_waits():  # noqa: ASYNC110 - another process serves them
                await asyncio.sleep(0.01)

    async def _somebody_waits(self) -> bool:
        stats = await self.journal.stats()
        return bool(stats["events_waiting"] or stats["outcomes_waiting"])

    def show(self, lines: Sequence[str]) -> None:
        """Show what reached the handlers of the second receiver, and what it logged."""
        for line in lines:
            words = line.split()
            if words[:1] == ["told"]:
                self.say(f"  its handler was told: {words[2]}, call {words[3]}")
            else:
                self.say(f"  its log says: {line}")

    def check(
        self,
        dials: Sequence[Dial],
        outcomes: Sequence[CallOutcome],
        lines: Sequence[str],
        *,
        held: int,
    ) -> None:
        """Show the outcomes, and hold them against what really happened."""
        for order, outcome in zip(_ORDERS, outcomes, strict=True):
            sure = "confirmed" if outcome.confirmed else "not confirmed"
            line = f"{order.key}: {outcome.state}, {outcome.status} ({outcome.source}, {sure})"
            self.screen.show(outcome, line)
            right = (outcome.state, outcome.status) == ("ended", order.ends)
            self.promise(f"{order.key}: its outcome is right", kept=right)
        placed = [request for request in self.simulator.requests if request.method == "POST"]
        once = len(placed) == len(_ORDERS) == len({dial.ref for dial in dials})
        self.promise("each was dialled once", kept=once)
        handled = [line for line in lines if line.startswith("told")]
        self.promise("what was acknowledged before the kill was handled", kept=len(handled) >= held)

    def say(self, text: str) -> None:
        if self.screen.as_json:
            self.screen.note(text)
        else:
            self.screen.line(text)


@attrs.frozen(eq=False)
class _Receiver:
    """A receiver in a process of its own, and what it printed before it was ready."""

    process: asyncio.subprocess.Process
    lines: AsyncIterator[bytes]
    banner: tuple[str, ...]

    async def kill(self) -> None:
        """End it at once: it is not asked."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> list[str]:
        """Have it end; return all that it printed."""
        self.process.terminate()
        said = [line.decode().strip() async for line in self.lines]
        await self.process.wait()  # asyncio warns of whoever is killed just after its end
        return [*self.banner, *said]


@asynccontextmanager
async def _receiver(environ: dict[str, str], *, hold: float) -> AsyncIterator[_Receiver]:
    """Run a receiver, ready when this yields; it never outlives us."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exotel_async.cli.receiver_process",
        env={**os.environ, **environ, "DEMO_HOLD": str(hold)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        async with asyncio.timeout(_PATIENCE):
            *banner, _ = (await process.stdout.readuntil(b"ready\n")).decode().splitlines()
        yield _Receiver(process, aiter(process.stdout), tuple(banner))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
