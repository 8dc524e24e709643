"""The service under test: receives, dials, and writes down what its handlers were told.

It is run by `chaos_zygote` in a process of its own, which is killed in the middle of everything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import chaos_mutants
import chaos_points
from aiohttp import web
from chaos_clock import Board, Phase, SharedClock
from chaos_plan import CALLER_ID, POISONED, SECRET, Plan, numbers_of

from exotel_async import (
    CallAnswered,
    CallbackTokens,
    CallOutcome,
    CallTerminated,
    ExotelClient,
    decode_callback,
)
from exotel_async.dialer import Dialer
from exotel_async.events.worker import DeliveryWorker
from exotel_async.journal import SQLiteJournal
from exotel_async.webhooks import StatusCallbacks, durable
from exotel_async.wire.converter import converter_for
from exotel_async.wire.values import IST

_LOOK = 0.004  # seconds of real time between two looks at whether all is done
_GRACE = 0.1  # seconds that handlers get in the end, instead of ten
_ACCOUNT = "simulated1"


def warm_up() -> None:
    """Do once, before all processes are forked off, what each would take its time for."""
    decode_callback(b'{"CallSid": "a1", "Legs": [{}]}', content_type="application/json")
    converter_for(IST).call({"Sid": "a1"})


def main(text: str) -> int:
    """Run a plan; the result is the exit status."""
    plan = Plan.from_text(text)
    _redirect(Path(plan.folder, f"output-{plan.number}"))
    logging.basicConfig(
        format="%(relativeCreated)d %(name)s %(levelname)s %(message)s", level="INFO"
    )
    chaos_mutants.install(plan.mutant)
    DeliveryWorker.close.__kwdefaults__["grace"] = durable._GRACE = _GRACE
    points = chaos_points.Points(plan)
    chaos_points.install(points, folder=Path(plan.folder))
    asyncio.run(Service(plan, points).run())
    return 0


def _redirect(path: Path) -> None:
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


class Service:
    """One process of a run.

    Its handlers have quirks: "fails" raises at the first telling of each end, "slow" takes a
    while of real time, "blocks" holds up the event loop longer than the lease, "hangs" waits for
    long at the first key's end, "poison" ends the process there.
    """

    def __init__(self, plan: Plan, points: chaos_points.Points) -> None:
        self._plan = plan
        self._points = points
        self._lines = chaos_points.appending(Path(plan.folder, "lines"))
        self._board = Board(Path(plan.folder, "board"))
        self._clock = SharedClock(self._board, start=datetime.fromisoformat(plan.start))
        self._failed: set[str | None] = set()
        self._stop = asyncio.Event()
        self._journal = SQLiteJournal(
            Path(plan.folder, "calls.db"), clock=self._clock, lease=plan.lease
        )
        tokens = CallbackTokens([SECRET])
        self._exotel = ExotelClient(
            **plan.settings,
            clock=self._clock,
            timeout=5.0,
            pacer=self._journal.pacer(_ACCOUNT),
        )
        self._callbacks = StatusCallbacks(
            tokens=tokens, journal=self._journal, deliver=plan.handles, clock=self._clock
        )
        self._dialer = Dialer(
            self._exotel,
            journal=self._journal,
            tokens=tokens,
            public_url=f"http://127.0.0.1:{plan.port}/exotel/",
        )
        if plan.handles:
            self._register()

    def _register(self) -> None:
        @self._callbacks.on(CallTerminated, CallAnswered)
        async def first(event: CallTerminated | CallAnswered) -> None:
            await self._handle("first", event)

        @self._callbacks.on(CallTerminated)
        async def second(event: CallTerminated) -> None:
            await self._handle("second", event)

        @self._callbacks.on(CallTerminated, CallAnswered, updates=True)
        async def updated(event: CallTerminated | CallAnswered) -> None:
            await self._handle("updated", event)

        @self._dialer.on_outcome
        async def outcome(outcome: CallOutcome) -> None:
            await self._handle_outcome(outcome)

    async def _handle(self, handler: str, event: CallTerminated | CallAnswered) -> None:
        over = isinstance(event, CallTerminated)
        quirks = self._plan.quirks
        if "slow" in quirks:
            await asyncio.sleep(0.05)
        if "blocks" in quirks and over and handler == "first":
            time.sleep(1.5 * self._plan.lease)  # noqa: ASYNC251 - that is the point
        first_key = over and event.from_ == numbers_of("order-0")[0]
        if "hangs" in quirks and first_key:
            os.write(1, b"hanging\n")
            await asyncio.sleep(30)
        if "poison" in quirks and first_key:
            os._exit(POISONED)
        if (
            "fails" in quirks
            and over
            and handler == "second"
            and event.call_sid not in self._failed
        ):
            self._failed.add(event.call_sid)
            raise RuntimeError("this handler fails at first")
        self._say(
            handler=handler,
            delivery=event.delivery_id,
            sid=event.call_sid,
            what="terminal" if over else f"answered {event.answered_leg}",
            status=event.status,
        )

    async def _handle_outcome(self, outcome: CallOutcome) -> None:
        self._say(
            handler="outcome",
            delivery=f"{outcome.dial.ref} {outcome.revision}",
            key=outcome.dial.idempotency_key,
            ref=outcome.dial.ref,
            state=outcome.state,
            sid=outcome.call_sid,
            status=outcome.status,
        )

    def _say(self, **line: object) -> None:
        """Write a line, in one piece whoever else writes; what a user's handler would do."""
        self._points.hit("the handler", "before")
        line |= {"process": self._plan.number, "at": time.monotonic()}
        os.write(self._lines, json.dumps(line).encode() + b"\n")
        self._points.hit("the handler", "after")

    async def run(self) -> None:
        """Serve until the test says that all is done, or a SIGTERM comes."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
        app = web.Application()
        app.add_subapp("/exotel/", self._callbacks.app)
        app.cleanup_ctx.extend(
            [
                self._journal.lifespan,
                self._exotel.lifespan,
                self._callbacks.lifespan,
                self._dialer.lifespan,
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        async with AsyncExitStack() as life:
            await runner.setup()
            life.push_async_callback(runner.cleanup)
            if self._plan.receives:
                port = self._plan.port
                await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
            working = asyncio.create_task(self._work())
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            done = working.done()
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait({working, stopping})
            if done:
                working.result()

    async def _work(self) -> None:
        """Dial, wait for all outcomes, and until nothing waits for its handlers."""
        phase, seat = self._board.set_phase, self._plan.seat
        phase(seat, Phase.DIALLING)
        async with asyncio.TaskGroup() as group:
            for key in self._plan.keys:
                group.create_task(self._dial(key))
        phase(seat, Phase.WAITING)
        for key in self._plan.keys:
            await self._dialer.outcome(await self._found(key), timeout=1e9)
        while not self._board.may_end:
            done = await self._is_done()
            phase(seat, Phase.SETTLED if done else Phase.WAITING)
            await asyncio.sleep(_LOOK)
        await self._report()

    async def _dial(self, key: str) -> None:
        from_, to = numbers_of(key)
        await self._dialer.connect(
            from_=from_,
            to=to,
            caller_id=CALLER_ID,
            time_limit=60,
            time_out=10,
            idempotency_key=key,
            # Whatever is called safe to repeat is repeated: a lie in that would ring twice.
            retry_if={"not_sent", "not_placed"},
        )

    async def _found(self, key: str) -> str:
        found = await self._journal.find(_ACCOUNT, key)
        assert found is not None
        return found[0].ref

    async def _is_done(self) -> bool:
        stats = await self._journal.stats()
        waits = stats["events_waiting"] or stats["updates_waiting"] or stats["outcomes_waiting"]
        return not (waits or stats["events_claimed"] or stats["dials_open"])

    async def _report(self) -> None:
        dials = {}
        for key in self._plan.keys:
            found = await self._journal.find(_ACCOUNT, key)
            assert found is not None
            record, outcome = found
            assert outcome is not None
            dials[key] = {
                "dial": record.state,
                "state": outcome.state,
                "sid": outcome.call_sid,
                "status": outcome.status,
                "source": outcome.source,
                "confirmed": outcome.confirmed,
            }
        dead = await self._journal.dead_letters()
        report = {
            "dials": dials,
            "dead": [[letter.call_sid, letter.topic] for letter in dead],
            "callbacks": dict(self._callbacks.stats()),
            "dialer": dict(self._dialer.stats()),
        }
        _write(Path(self._plan.folder, f"report-{self._plan.number}"), report)


def _write(path: Path, report: object) -> None:
    path.write_text(json.dumps(report))
