"""One run: Exotel, and a service that is killed again and again until one process gets through.

The simulator lives in the test's loop. Time passes as far as the processes have come: hardly
while they dial, in leaps while they wait, and not at all while one of them starts.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
from chaos_clock import Board, Phase
from chaos_oracle import Verdict, evidence, judge
from chaos_plan import HIT, POISONED, Plan, numbers_of
from chaos_zygote import Zygote

from exotel_async.simulator import Simulator, post_callback

Case = TypeVar("Case")
T = TypeVar("T")

_LIMIT = 30.0  # seconds of real time for one run
_PAUSE = 0.005  # seconds of real time between two steps of time
# Seconds of the simulator's time in a step: after something happened, and at most. Who dials is
# hurried less, since a try must begin within five seconds.
_DIALLING, _WAITING = (0.05, 0.25), (1.0, 240.0)
_GROWTH = 3.0
_MOST_PROCESSES = 16


@attrs.frozen(kw_only=True)
class Scene:
    """What goes wrong at Exotel, and how the handlers behave."""

    dials: int = 3
    faults: tuple[dict[str, Any], ...] = ()  # as `Simulator.fault` takes them
    quirks: tuple[str, ...] = ()
    forged: bool = False  # somebody who knows the URLs tells of calls that there are not
    lease: float = 30.0
    patience: float = 1.0

    @property
    def keys(self) -> tuple[str, ...]:
        """The idempotency keys of its dials."""
        return tuple(f"order-{index}" for index in range(self.dials))


@attrs.define(eq=False)
class Process:
    """One process of the service."""

    pid: int
    plan: Plan
    zygote: Zygote = attrs.field(repr=False)

    @property
    def status(self) -> int | None:
        """How it ended; None while it lives."""
        return self.zygote.ended.get(self.pid)

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still."""
        return self.pid in self.zygote.stopped

    @property
    def was_hit(self) -> bool:
        """Whether it came to the point at which it was to end."""
        return self.status == HIT

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.zygote.signal(self.pid, number)

    def kill(self) -> None:
        """Let it end at once."""
        self.signal(signal.SIGKILL)


class Run:
    """The simulator, the time, and the processes of one run."""

    def __init__(
        self, sim: Simulator, board: Board, *, zygote: Zygote, folder: Path, port: int, scene: Scene
    ) -> None:
        self.sim = sim
        self.board = board
        self.scene = scene
        self.folder = folder
        self.processes: list[Process] = []
        self._zygote = zygote
        self._port = port
        self._started_at = sim.clock.now().isoformat()
        self._deadline = time.monotonic() + _LIMIT
        self._step = 0.0
        self._forged = False
        self._known: tuple[int, ...] = ()

    def start(self, *, seat: int = 0, keys: Sequence[str] | None = None, **changes: Any) -> Process:
        """Start a process of the service, which dials all keys, those of before too."""
        if len(self.processes) >= _MOST_PROCESSES:
            raise TimeoutError("process after process is started, and none gets through")
        settings = {k: v for k, v in self.sim.settings.items() if k != "clock"}
        fields: dict[str, Any] = {
            "folder": str(self.folder),
            "number": len(self.processes),
            "seat": seat,
            "port": self._port,
            "start": self._started_at,
            "settings": settings,
            "keys": tuple(self.scene.keys if keys is None else keys),
            "lease": self.scene.lease,
            "quirks": self.scene.quirks,
        }
        plan = Plan(**{**fields, **changes})
        self.board.set_phase(seat, Phase.STARTING)
        self.board.may_end = False  # the last one may have been told so when it was killed
        process = Process(self._zygote.fork(plan.to_text()), plan, self._zygote)
        self.processes.append(process)
        return process

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until something is so."""
        while True:
            self._zygote.listen()
            if condition():
                return
            if time.monotonic() > self._deadline:
                raise TimeoutError(f"this run does not come to its end: {self._story()}")
            if step := self._next_step():
                await self._advance(step)
            if self.scene.forged:
                await self._forge()
            await asyncio.sleep(_PAUSE)

    async def until_over(self, process: Process) -> int:
        """Let time pass until a process has ended; return how."""
        await self.until(lambda: process.status is not None)
        status = process.status
        assert status is not None
        return status

    async def pass_time(self, seconds: float) -> None:
        """Let so much of the simulator's time pass, and a moment of ours."""
        await self._advance(seconds)
        await asyncio.sleep(_PAUSE)

    async def _advance(self, seconds: float) -> None:
        clock = self.sim.clock
        target = clock._elapsed + round(seconds * 1_000_000)
        due = clock._next_due()
        if due is None or due > target:
            clock._elapsed = target  # nothing happens: there is nobody to be waited for
        else:
            await self.sim.advance(seconds=seconds)
        self.board.elapsed = clock.monotonic()

    async def to_the_end(
        self, *, killed: bool, then: Mapping[str, Any] | None = None, **changes: Any
    ) -> Verdict:
        """Start process after process until one gets through, and judge what came of it all.

        `then`: what is otherwise with all but the first.
        """
        while True:
            process = self.start(**changes)
            status = await self.until_over(process)
            if status == 0:
                return self.verdict(process, killed=killed)
            if status not in (HIT, POISONED):
                raise AssertionError(f"a process ended with {status}: {self.output(process)}")
            killed = True
            changes |= then or {}

    def verdict(self, process: Process, *, killed: bool, frozen: bool = False) -> Verdict:
        """Judge a run whose last process this was.

        `frozen`: two may have worked on the same, one of them not knowing that it is late.
        """
        report = self.folder / f"report-{process.plan.number}"
        found = evidence(
            self.sim, self.folder, keys=self.scene.keys, report=report, killed=killed, frozen=frozen
        )
        return judge(found)

    def output(self, process: Process) -> str:
        """Read what a process said before it ended."""
        return (self.folder / f"output-{process.plan.number}").read_text()[-4000:]

    def report(self, process: Process) -> Any:
        """Read what a process reported when it ended by itself."""
        return json.loads((self.folder / f"report-{process.plan.number}").read_text())

    def says(self, process: Process, text: str) -> bool:
        """Tell whether a process has logged something."""
        path = self.folder / f"output-{process.plan.number}"
        return path.exists() and text in path.read_text()

    def limit(self, seconds: float) -> None:
        """Give the run so many seconds of real time from now on."""
        self._deadline = time.monotonic() + seconds

    def is_settled(self) -> bool:
        """Tell whether the processes that live have nothing left to do."""
        phases = self._living()
        return bool(phases) and all(phase == Phase.SETTLED for phase in phases)

    def end(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            process.kill()

    async def _forge(self) -> None:
        """Tell of a call that there is not, to the URL of the first one that there is."""
        call = next(iter(self.sim.calls.values()), None)
        if call is None or self._forged or call.order is None or call.order.callback is None:
            return
        body = json.dumps({"CallSid": "forged", "Status": "completed", "EventType": "terminal"})
        url = call.order.callback.url
        self._forged = await post_callback(url, body.encode(), "application/json") == 200

    def _living(self) -> list[Phase]:
        return [
            self.board.phase(process.plan.seat)
            for process in self.processes
            if process.status is None and not process.is_stopped
        ]

    def _next_step(self) -> float:
        """Tell how far time moves on: leaps grow as long as nothing happens."""
        phases = self._living()
        known = (
            len(self.sim.requests),
            len(self.sim.callbacks),
            self._size("lines"),
            sum(call.ongoing for call in self.sim.calls.values()),
        )
        happened, self._known = known != self._known, known
        settled = self.is_settled()
        if not phases or Phase.STARTING in phases:
            return 0.0
        if settled and not known[3] and not self._has_more_to_tell():
            self.board.may_end = not any(
                process.is_stopped and process.status is None for process in self.processes
            )
            return 0.0
        shortest, longest = _DIALLING if Phase.DIALLING in phases else _WAITING
        self._step = max(shortest, 0.0 if happened else min(_GROWTH * self._step, longest))
        return self._step

    def _size(self, name: str) -> int:
        path = self.folder / name
        return path.stat().st_size if path.exists() else 0

    def _has_more_to_tell(self) -> bool:
        """Tell whether Exotel will try again to deliver a callback."""
        tries: dict[object, int] = {}
        for one in self.sim.callbacks:
            letter = (one.url, one.fields)
            lost = one.fault is not None and "callback-lost" in one.fault
            tries[letter] = 99 if lost or one.status == 200 else tries.get(letter, 0) + 1
        return any(count < 3 for count in tries.values())

    def _story(self) -> str:
        phases = [
            (process.plan.number, process.status, self.board.phase(process.plan.seat).name)
            for process in self.processes
        ]
        last = self.output(self.processes[-1]) if self.processes else ""
        return f"{phases}, {self.sim.clock.monotonic():.0f} s\n{last}"


async def several(
    cases: Iterable[Case], play: Callable[[Case], Awaitable[T]], *, most: int = 6
) -> dict[Case, T | BaseException]:
    """Play cases, a few at once since each waits a lot; give what each brought, or its error."""
    places = asyncio.Semaphore(most)

    async def play_one(case: Case) -> T:
        async with places:
            return await play(case)

    asked = list(cases)
    found = await asyncio.gather(*map(play_one, asked), return_exceptions=True)
    return dict(zip(asked, found, strict=True))


@asynccontextmanager
async def running(zygote: Zygote, folder: Path, scene: Scene, *, seed: int) -> AsyncIterator[Run]:
    """Make all that a run needs; nothing of it is left when this ends."""
    board = _board_in(folder)
    with socket.socket() as reserved:
        # Bound and never listened on: the port stays ours while nobody serves it.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with Simulator(seed=seed, requests_per_minute=None, patience=scene.patience) as sim:
            _lay_down(sim, scene)
            run = Run(sim, board, zygote=zygote, folder=folder, port=port, scene=scene)
            try:
                yield run
            finally:
                run.end()
    board.close()


def _board_in(folder: Path) -> Board:
    folder.mkdir(parents=True)  # runs have nothing in common
    return Board(folder / "board")


def _lay_down(sim: Simulator, scene: Scene) -> None:
    for index, key in enumerate(scene.keys):
        from_, to = numbers_of(key)
        sim.script(from_=from_, rings=0.5, talks=5)
        sim.script(to=to, rings=0.5, talks=1, ending="busy" if index % 3 == 2 else "answered")
    for fault in scene.faults:
        sim.fault(**fault)
