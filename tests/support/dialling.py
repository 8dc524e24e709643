"""A whole set-up on this machine: simulator, client, receiver, journal and dialer, one clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
from aiohttp import web
from receivers import SECRET, serving

from exotel_async import CallbackTokens, CallOutcome, Dial, ExotelClient, JournalError
from exotel_async.dialer import Dialer
from exotel_async.journal import Journal, MemoryJournal, SQLiteJournal
from exotel_async.simulator import Simulator
from exotel_async.webhooks import StatusCallbacks

T = TypeVar("T")

NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
KEY = "order-42"
_PATIENCE = 60.0  # seconds of real time for what takes far less


@attrs.define(eq=False)
class World:
    """Everything that runs, and what was told."""

    sim: Simulator
    exotel: ExotelClient
    journal: Journal
    dialer: Dialer
    callbacks: StatusCallbacks
    public_url: str
    told: list[CallOutcome] = attrs.field(factory=list)

    async def connect(self, key: str = KEY, *, step: float = 0.5, **changes: Any) -> Dial:
        """Dial, and let time pass while that takes some."""
        connecting = self.dialer.connect(**NUMBERS | changes, idempotency_key=key)
        return await self.passing(connecting, step=step)

    async def outcome(self, dial: Dial, *, hours: float = 48.0) -> CallOutcome:
        """Let time pass until it is known how a dial ended."""
        awaited = self.dialer.outcome(dial, timeout=hours * 3600)
        return await self.passing(awaited, step=30.0)

    async def passing(self, awaited: Awaitable[T], *, step: float = 0.5) -> T:
        """Let time pass in steps until something is done."""
        task = asyncio.ensure_future(awaited)
        await self.quiet()
        while not task.done():
            await self.sim.advance(seconds=step)
            await self.quiet()
        return await task

    async def pass_time(self, *, step: float = 30.0, **amount: float) -> None:
        """Let an amount of time pass in steps, each to its end: threads take real time."""
        left = amount.get("seconds", 0) + 60 * amount.get("minutes", 0)
        left += 3600 * amount.get("hours", 0)
        while left > 0:
            await self.sim.advance(seconds=min(step, left))
            await self.quiet()
            left -= step

    async def until(self, holds: Callable[[], object]) -> None:
        """Let time pass, and threads do their work, until something holds."""
        async with asyncio.timeout(_PATIENCE):
            while not holds():
                await self.pass_time(seconds=1, step=1)

    async def quiet(self) -> None:
        """Wait until what was ordered from the journal is done, and what follows from it."""
        if isinstance(self.journal, SQLiteJournal):
            for _ in range(3):
                await self.journal.put_off("nobody", until=None, asked=False)
                await self.journal.look("nobody")
        await self.sim.clock.settle()

    @property
    def posts(self) -> list[int | None]:
        """Tell what each connect was answered with."""
        return [one.status for one in self.sim.requests if one.method == "POST"]

    @property
    def dangerous(self) -> list[int | None]:
        """The connects that may have rung a phone: all that were not answered 429."""
        return [status for status in self.posts if status != 429]

    @property
    def gets(self) -> int:
        """Tell how often Exotel was asked."""
        return sum(one.method == "GET" for one in self.sim.requests)


@asynccontextmanager
async def world(
    make_journal: Callable[[Simulator], Journal] = lambda sim: MemoryJournal(clock=sim.clock),
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - the client's
    requests_per_minute: int | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """Run everything; `options` are the dialer's."""
    tokens = CallbackTokens([SECRET])
    async with AsyncExitStack() as life:
        sim = await life.enter_async_context(Simulator(seed=7, requests_per_minute=None))
        journal = make_journal(sim)
        exotel = ExotelClient(
            **sim.settings, timeout=timeout, requests_per_minute=requests_per_minute
        )
        callbacks = StatusCallbacks(tokens=tokens, journal=journal, deliver=False)
        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.extend([journal.lifespan, exotel.lifespan, callbacks.lifespan])
        port = await life.enter_async_context(serving(app))
        url = f"http://127.0.0.1:{port}/exotel/"
        dialer = Dialer(exotel, journal=journal, tokens=tokens, public_url=url, **options)
        made = World(sim, exotel, journal, dialer, callbacks, url)

        @dialer.on_outcome
        async def known(outcome: CallOutcome) -> None:
            made.told.append(outcome)

        await life.enter_async_context(dialer)
        yield made


def another(made: World, **options: Any) -> Dialer:
    """Make one more dialer, as another process has it."""
    tokens = options.pop("tokens", CallbackTokens([SECRET]))
    return Dialer(
        made.exotel, journal=options.pop("journal", made.journal), tokens=tokens,
        public_url=made.public_url, **options,
    )  # fmt: skip


def on_disk(folder: Path) -> Callable[[Simulator], Journal]:
    """Have the journal in a file."""
    return lambda sim: SQLiteJournal(folder / "calls.db", clock=sim.clock)


class FailingJournal(MemoryJournal):
    """Fails or hangs in operations that a test names, before they are carried out or after."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.before: set[str] = set()
        self.after: set[str] = set()
        self.hanging: set[str] = set()
        self.failed = 0

    async def _write(self, operation, *args, **kwargs):
        name = operation.__name__
        if name in self.hanging:
            self.failed += 1
            await asyncio.get_running_loop().create_future()
        if name in self.before:
            self.failed += 1
            raise JournalError("the disk is gone")
        result = await super()._write(operation, *args, **kwargs)
        if name in self.after:
            self.failed += 1
            raise JournalError("the disk is gone, or not")
        return result
