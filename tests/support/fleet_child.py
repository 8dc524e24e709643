"""One process of a fleet: receives, delivers or dials, and writes down what it saw and when.

It is run by `fleet_zygote`, which ends it when it ends itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import fleet_mutants
from aiohttp import web
from chaos_clock import Board, SharedClock
from fleet_plan import CALLER_ID, IN_VAIN, LIMITS, SECRET, Plan, Wish, wishes_from_text

from exotel_async import (
    CallAnswered,
    CallbackTokens,
    CallOutcome,
    CallTerminated,
    DialState,
    ExotelClient,
    JournalError,
    decode_callback,
)
from exotel_async.dialer import Dialer, sending
from exotel_async.journal import PostgresJournal
from exotel_async.journal.records import Claim
from exotel_async.models.clock import Clock, SystemClock
from exotel_async.webhooks import StatusCallbacks
from exotel_async.wire.converter import converter_for
from exotel_async.wire.values import IST

_PR_SET_PDEATHSIG = 1
_TIMEOUT = 3.0  # seconds of real time that Exotel has to answer
_POLLS_A_MINUTE = 30
_BREATH = 1.0  # seconds of real time before a journal that failed is tried again
_SLOW_ONES, _SLOWER = 0.2, 10.0  # a part of all handlers takes so many times as long
_BURIED = "others took over our work"


def warm_up() -> None:
    """Do once, before all processes are forked off, what each would take its time for."""
    decode_callback(b'{"CallSid": "a1", "Legs": [{}]}', content_type="application/json")
    converter_for(IST).call({"Sid": "a1"})


def main(text: str) -> int:
    """Run a plan until it is killed, or asked to end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    plan = Plan.from_text(text)
    _redirect(Path(plan.folder, f"output-{plan.name}"))
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level="INFO")
    sending.PATIENCE *= plan.speed  # or a request would have to leave within a moment of ours
    fleet_mutants.install(plan.mutant)
    return asyncio.run(ROLES[plan.role](plan).run())


def _redirect(path: Path) -> None:
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


class Book:
    """Lines of what a process saw, each in one piece whoever else writes."""

    def __init__(self, plan: Plan) -> None:
        self._process = plan.number
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(Path(plan.folder, "lines"), how)

    def say(self, what: str, **line: object) -> None:
        """Write a line; the time is the same clock's for all processes."""
        told = {"what": what, "process": self._process, "at": time.monotonic(), **line}
        os.write(self._file, json.dumps(told).encode() + b"\n")


class Buried(logging.Handler):
    """Notes that others took this process for dead, though it lives."""

    def __init__(self, book: Book) -> None:
        super().__init__(logging.WARNING)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        if _BURIED in record.getMessage():
            self._book.say("buried")


class NotingJournal(PostgresJournal):
    """Notes each delivery that it has claimed, and that it has marked as done."""

    book: Book

    async def claim(self, topics: Collection[str], *, most: int, tries: int) -> tuple[Claim, ...]:
        claims = await super().claim(topics, most=most, tries=tries)
        for one in claims:
            self.book.say("claim", delivery=one.delivery_id, attempts=one.attempts)
        return claims

    async def finish(self, claim: Claim, *, done: Collection[str] = ()) -> bool:
        ours = await super().finish(claim, done=done)
        if ours:
            self.book.say("mark", delivery=claim.delivery_id)
        return ours


class Process:
    """What all roles have in common."""

    connections = 4

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._book = Book(plan)
        self._chance = Random(plan.number)
        self._stop = asyncio.Event()
        self._clock: Clock = SystemClock()
        clock: Clock | None = None
        if plan.start is not None:
            start = datetime.fromisoformat(plan.start)
            clock = self._clock = SharedClock(Board(Path(plan.folder, "board")), start=start)
        self._journal = NotingJournal(
            plan.dsn,
            clock=clock,
            lease=plan.lease,
            commit_timeout=plan.commit_timeout,
            connections=self.connections,
        )
        self._journal.book = self._book
        self._tokens = CallbackTokens([SECRET])
        logging.getLogger("exotel_async.journal").addHandler(Buried(self._book))

    async def run(self) -> int:
        """Work until a SIGTERM comes; the result is the exit status."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
        async with AsyncExitStack() as life:
            try:
                await life.enter_async_context(self._journal)
                await self._begin(life)
            except JournalError:
                return IN_VAIN
            await self._stop.wait()
        return 0

    async def _begin(self, life: AsyncExitStack) -> None:
        raise NotImplementedError

    async def _handle(self, **line: object) -> None:
        """Do what a user's handler would do: begin, take a while, end."""
        slow = self._chance.random() < _SLOW_ONES
        seconds = self._chance.uniform(0, self._plan.pause) * (_SLOWER if slow else 1)
        self._book.say("start", seconds=seconds, **line)
        await asyncio.sleep(seconds)
        self._book.say("end", **line)

    def _callbacks(self, *, deliver: bool) -> StatusCallbacks:
        return StatusCallbacks(
            tokens=self._tokens, journal=self._journal, deliver=deliver, clock=self._clock
        )


class Receiver(Process):
    """Takes callbacks in."""

    async def _begin(self, life: AsyncExitStack) -> None:
        callbacks = self._callbacks(deliver=False)
        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.append(callbacks.lifespan)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        life.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", self._plan.port, reuse_port=True).start()


class Worker(Process):
    """Delivers callbacks to a handler."""

    async def _begin(self, life: AsyncExitStack) -> None:
        callbacks = self._callbacks(deliver=True)

        @callbacks.on(CallTerminated, CallAnswered, updates=True)
        async def told(event: CallTerminated | CallAnswered) -> None:
            over = isinstance(event, CallTerminated)
            await self._handle(
                delivery=event.delivery_id,
                sid=event.call_sid,
                event="terminal" if over else f"answered {event.answered_leg}",
            )

        await life.enter_async_context(callbacks)


class DialerProcess(Process):
    """Dials for its accounts what it was told to, and what of that it can't remember to have.

    It is told as a queue tells: again until it says that it has dialled.
    """

    connections = 8

    async def _begin(self, life: AsyncExitStack) -> None:
        self._dialers = {
            int(account): await self._dialer(settings, life)
            for account, settings in self._plan.accounts.items()
        }
        dialling = asyncio.create_task(self._dial_all(self._wishes()))
        life.callback(dialling.cancel)

    def _wishes(self) -> list[Wish]:
        acks = Path(self._plan.folder, f"acks-{self._plan.place}")
        known = set(acks.read_text().split()) if acks.exists() else set()
        self._acks = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        wishes = wishes_from_text(Path(self._plan.folder, "traffic").read_text())
        return [one for one in wishes if self._plan.place in one.dialers and one.key not in known]

    async def _dialer(self, settings: dict[str, Any], life: AsyncExitStack) -> Dialer:
        pacer = self._journal.pacer(settings["account_sid"], requests_per_minute=self._plan.limit)
        exotel = ExotelClient(**settings, clock=self._clock, timeout=_TIMEOUT, pacer=pacer)
        dialer = Dialer(
            await life.enter_async_context(exotel),
            journal=self._journal,
            tokens=self._tokens,
            public_url=self._plan.public_url,
            poll_budget=_POLLS_A_MINUTE,
        )

        @dialer.on_outcome
        async def told(outcome: CallOutcome) -> None:
            dial = outcome.dial
            await self._handle(
                delivery=f'["outcome", "{dial.ref}"] #{outcome.revision}',
                key=dial.idempotency_key, ref=dial.ref, state=outcome.state, sid=outcome.call_sid,
            )  # fmt: skip

        return await life.enter_async_context(dialer)

    async def _dial_all(self, wishes: list[Wish]) -> None:
        async with asyncio.TaskGroup() as group:
            for wish in wishes:
                await self._clock.sleep(wish.at - self._clock.monotonic())
                group.create_task(self._dial(wish))

    async def _dial(self, wish: Wish) -> None:
        """Dial until something came of it; then say so."""
        state = str(DialState.INTENDED)
        while state in (DialState.INTENDED, DialState.NOT_SENT):
            try:
                dial = await self._dialers[wish.account].connect(
                    from_=wish.from_, to=wish.to, caller_id=CALLER_ID, **LIMITS,
                    idempotency_key=wish.key, retry_if={"not_sent"},
                )  # fmt: skip
                state = dial.state
            except JournalError as error:
                self._book.say("failed", key=wish.key, why=str(error))
                await asyncio.sleep(_BREATH)
        os.write(self._acks, f"{wish.key}\n".encode())


ROLES: dict[str, Callable[[Plan], Process]] = {
    "receiver": Receiver,
    "worker": Worker,
    "dialer": DialerProcess,
}
