"""One run: Exotel, one PostgreSQL, and a fleet of which some are killed all the time.

The simulator lives in the test's loop, and its time runs many times faster than ours. When all
is dialled and nobody is killed any more, time leaps, until nothing is left to be learned.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import attrs
from chaos_clock import Board, SharedClock
from fleet_door import Door
from fleet_oracle import End, Evidence, Told
from fleet_plan import ROLES, Plan, Role, Wish, dialers_of, traffic, wishes_to_text
from fleet_processes import LOOK, Fleet
from fleet_zygote import Zygote
from postgres_server import Mode, Server

from exotel_async.journal import Journal, PostgresJournal
from exotel_async.simulator import Delivered, Received, Simulator

_TICK = 0.002  # seconds of real time between two readings of the clock for all others
_PATIENCE = 4.0  # seconds of real time that a receiver may take, many more of the simulator's
_STEP, _LONGEST_STEP, _GROWTH = 2.0, 600.0, 2.0  # seconds of the simulator's time
_MOMENT = 4.0  # seconds of real time

# Faults that strike now and then: name, on what, how likely.
_FAULTS = (
    ("reset-after-read", "connect", 0.02),
    ("500-json", "connect", 0.01),
    ("502-html", "connect", 0.01),
    ("429-retry-after", "connect", 0.02),
    ("reset-on-connect", None, 0.005),
    ("callback-lost", None, 0.02),
    ("callback-late", None, 0.02),
    ("callback-twice", None, 0.03),
    ("callback-out-of-order", "answered", 0.02),
    ("callback-early", "answered", 0.01),
)


_SILENCE = 0.4  # after this part of the time Exotel tells nothing for a while


@attrs.frozen(kw_only=True)
class Size:
    """How large a fleet, for how long, and what happens to it."""

    receivers: int
    workers: int
    dialers: int
    accounts: int
    minutes: int  # of the simulator's time
    dials_a_minute: float  # of each account
    limit: int  # requests a minute of each account
    speed: float  # seconds of the simulator's time in one of ours
    lease: float  # seconds of real time
    commit_timeout: float  # the same; longer than a lease, who waits for the frozen seems frozen
    every: float  # seconds of real time between two kills
    stops: int  # who only stands still, beyond its lease, between killing everybody once and again
    restarts: tuple[tuple[float, Mode], ...] = ()  # after so much of the whole time
    pause: float = 0.03  # seconds of real time that a handler takes at most
    limit_of_drain: float = 90.0  # seconds of real time in which all has to be learned
    mutant: str | None = None

    def count(self, role: Role) -> int:
        """Tell how many of a role there are."""
        return {"receiver": self.receivers, "worker": self.workers, "dialer": self.dialers}[role]


SMALL = Size(
    receivers=2, workers=2, dialers=2, accounts=4, minutes=3, dials_a_minute=5, limit=20,
    speed=24, lease=2.4, commit_timeout=1.6, every=0.7, stops=1, restarts=((0.5, "immediate"),),
)  # fmt: skip
FULL = Size(
    receivers=4, workers=4, dialers=2, accounts=50, minutes=30, dials_a_minute=0.8, limit=8,
    speed=10, lease=9.0, commit_timeout=6.0, every=2.0, stops=2,
    restarts=((0.35, "fast"), (0.7, "immediate")),
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Played:
    """What came of a run."""

    size: Size
    seed: int
    evidence: Evidence
    kills: Counter[str]
    restarts: Counter[str]
    limited: int  # requests that were answered 429, since there were too many
    seconds: float


async def play(size: Size, *, seed: int, server: Server, zygote: Zygote, folder: Path) -> Played:
    """Let a fleet work through its time, in a new folder, and gather what is known of that."""
    began = time.monotonic()
    wishes = _wishes(size, seed)
    _lay_down(folder, wishes)
    dsn = server.create_database()
    try:
        async with _stage(size, seed=seed, dsn=dsn, zygote=zygote, folder=folder) as stage:
            restarts = await stage.run(server)
            evidence = await stage.evidence(wishes)
    finally:
        server.drop_database(dsn)
    return Played(
        size=size, seed=seed, evidence=evidence, kills=stage.fleet.kills, restarts=restarts,
        limited=sum(one.status == 429 and one.fault is None for one in stage.sim.requests),
        seconds=time.monotonic() - began,
    )  # fmt: skip


def _lay_down(folder: Path, wishes: Sequence[Wish]) -> None:
    folder.mkdir(parents=True)
    (folder / "traffic").write_text(wishes_to_text(wishes))
    (folder / "lines").touch()


def _wishes(size: Size, seed: int) -> list[Wish]:
    return traffic(
        accounts=size.accounts, minutes=size.minutes, dials_a_minute=size.dials_a_minute,
        shared=0.5, dialers=size.dialers, seed=seed,
    )  # fmt: skip


@attrs.define(eq=False)
class Stage:
    """The simulator, the time, and the fleet of one run."""

    size: Size
    chance: Random
    sim: Simulator
    board: Board
    journal: Journal
    fleet: Fleet
    folder: Path
    told: list[Told]
    wishes: int = 0
    rounds: int = 0  # in which everybody was killed once
    even_until: float = 0.0

    async def run(self, server: Server) -> Counter[str]:
        """Let time run while processes die; then let it leap to the end of everything."""
        self.fleet.start_all()
        async with _in_background(self._tell_time(), self.fleet.look_after()):
            async with _in_background(self.sim.clock.run(self.size.speed)):
                async with _in_background(self._kill_some(), self._fall_silent()):
                    restarts = await self._restart(server)
                    await self._reach(1.0)
                    await self._until(lambda: self.rounds > 0)
                await self._until(self._is_all_dialled)
            self.even_until = self.sim.clock.monotonic()
            await self._drain()
        await self.fleet.end()
        return restarts

    async def _tell_time(self) -> None:
        while True:
            self.board.elapsed = max(self.board.elapsed, self.sim.clock.monotonic())
            await asyncio.sleep(_TICK)

    async def _reach(self, part: float) -> None:
        while self.sim.clock.monotonic() < part * 60 * self.size.minutes:
            await asyncio.sleep(LOOK)

    async def _kill_some(self) -> None:
        """Kill everybody once, a few of them but stopped; then the same again, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                stopping = []
                for place, stops in self._round():
                    await asyncio.sleep(self.size.every * self.chance.uniform(0.5, 1.5))
                    if stops:
                        seconds = self.size.lease * self.chance.uniform(1.3, 2)
                        stopping.append(group.create_task(self._stop_at_work(place, seconds)))
                    elif place not in self.fleet.standing:
                        self.fleet.kill(place)
                if stopping:
                    await asyncio.wait(stopping)
                self.rounds += 1

    def _round(self) -> list[tuple[int, bool]]:
        roles = [plan.role for plan in self.fleet.plans]
        busy = [place for place, role in enumerate(roles) if role == "worker"]
        others = [place for place, role in enumerate(roles) if role == "dialer"]
        stopped = [self.chance.choice(places) for places in (busy, others)][: self.size.stops]
        acts = [*((place, False) for place in range(len(roles))), *((one, True) for one in stopped)]
        self.chance.shuffle(acts)
        return acts

    async def _stop_at_work(self, place: int, seconds: float) -> None:
        """Have somebody stand still, if it can be in the moment in which that does harm."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                while not self.fleet.is_at_work(place):
                    await asyncio.sleep(LOOK / 4)
        await self.fleet.stop_for(place, seconds)

    async def _fall_silent(self) -> None:
        """Have callbacks lost one after the other: then calls can only be asked or searched for."""
        await self._reach(_SILENCE)
        self.sim.fault("callback-lost", times=4 * self.size.accounts)
        await asyncio.get_running_loop().create_future()

    async def _restart(self, server: Server) -> Counter[str]:
        done: Counter[str] = Counter()
        for part, mode in self.size.restarts:
            await self._reach(part)
            await asyncio.to_thread(server.restart, mode)
            done[mode] += 1
        return done

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(self.size.limit_of_drain):
            while not holds():
                await asyncio.sleep(LOOK)

    def _is_all_dialled(self) -> bool:
        """Tell whether the dialers have said of each key that something came of it."""
        acks = [self.folder / f"acks-{place}" for place in range(self.size.dialers)]
        return sum(len(one.read_text().split()) for one in acks if one.exists()) >= self.wishes

    async def _drain(self) -> None:
        """Let time leap as long as nothing happens, until nothing can happen any more."""
        step, known = _STEP, self._known()
        try:
            async with asyncio.timeout(self.size.limit_of_drain):
                while not await self._is_over():
                    await self.sim.advance(seconds=step)
                    await asyncio.sleep(2 * LOOK)
                    before, known = known, self._known()
                    step = _STEP if before != known else min(_GROWTH * step, _LONGEST_STEP)
        except TimeoutError:
            raise TimeoutError(f"not all is learned: {dict(await self.journal.stats())}") from None

    def _known(self) -> tuple[int, ...]:
        written = (self.folder / "lines").stat().st_size
        return len(self.sim.requests), len(self.sim.callbacks), written

    async def _is_over(self) -> bool:
        if any(call.ongoing for call in self.sim.calls.values()) or self._has_more_to_tell():
            return False
        stats = await self.journal.stats()
        names = ("events_waiting", "updates_waiting", "outcomes_waiting", "events_claimed")
        return not any(stats[name] for name in (*names, "dials_open"))

    def _has_more_to_tell(self) -> bool:
        """Tell whether Exotel will try again to deliver a callback."""
        return self.sim.clock.pending > 0

    async def evidence(self, wishes: Sequence[Wish]) -> Evidence:
        """Gather what is known."""
        accounts = _sids(self.fleet.plans)
        lines = (self.folder / "lines").read_text().splitlines()
        return Evidence(
            wishes=wishes,
            requests=self.sim.requests,
            calls=self.sim.calls,
            told=self.told,
            lines=[json.loads(line) for line in lines],
            ends={wish.key: await self._end(wish, accounts[wish.account]) for wish in wishes},
            dead=[letter.delivery_id for letter in await self.journal.dead_letters()],
            died=self.fleet.died,
            frozen=self.fleet.frozen,
            unasked=self.fleet.unasked,
            limit=self.size.limit,
            jitter=0.5 * self.size.speed,
            until=self.even_until,
        )

    async def _end(self, wish: Wish, account: str) -> End:
        found = await self.journal.find(account, wish.key)
        if found is None:
            return End("", "none", None, None, None, None)
        record, outcome = found
        if outcome is None:
            return End(record.ref, record.state, None, record.call_sid, None, None)
        return End(
            record.ref,
            record.state,
            outcome.state,
            outcome.call_sid,
            outcome.status,
            outcome.source,
        )


def _sids(plans: Sequence[Plan]) -> dict[int, str]:
    known = [item for plan in plans for item in plan.accounts.items()]
    return {int(account): settings["account_sid"] for account, settings in known}


@asynccontextmanager
async def _in_background(*coroutines: Any) -> AsyncIterator[None]:
    """Run what goes on for ever, as long as the block does."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
    finally:
        failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for error in failed:
            if error is not None:
                raise error


@asynccontextmanager
async def _stage(
    size: Size, *, seed: int, dsn: str, zygote: Zygote, folder: Path
) -> AsyncIterator[Stage]:
    told: list[Told] = []
    async with AsyncExitStack() as life:
        board = Board(folder / "board")
        life.callback(board.close)
        ports = life.enter_context(reserved(size.receivers))
        door = await life.enter_async_context(Door(ports))
        sim = Simulator(
            seed=seed, requests_per_minute=size.limit, patience=_PATIENCE,
            watch=lambda entry: _note(entry, sim, told),
        )  # fmt: skip
        await life.enter_async_context(sim)
        clock = SharedClock(board, start=sim.clock.now())
        journal = PostgresJournal(dsn, clock=clock, lease=size.lease)
        await life.enter_async_context(journal)
        fleet = Fleet(zygote, _plans(size, sim, dsn=dsn, folder=folder, ports=ports, door=door))
        life.callback(fleet.kill_all)
        for name, on, probability in _FAULTS:
            sim.fault(name, on=on, times=None, probability=probability)
        wishes = sum(len(wish.dialers) for wish in _wishes(size, seed))
        yield Stage(size, Random(f"fleet {seed}"), sim, board, journal, fleet, folder, told, wishes)


@contextmanager
def reserved(count: int) -> Iterator[list[int]]:
    """Bind ports and never listen on them: they stay ours while nobody serves them."""
    bound = [socket.socket() for _ in range(count)]
    try:
        for one in bound:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in bound]
    finally:
        for one in bound:
            one.close()


def _plans(
    size: Size, sim: Simulator, *, dsn: str, folder: Path, ports: Sequence[int], door: Door
) -> list[Plan]:
    settings = [sim.settings, *_more_accounts(sim, size)]
    accounts = [{k: v for k, v in one.items() if k != "clock"} for one in settings]
    return [
        Plan(
            role=role, number=0, place=place, folder=str(folder), dsn=dsn,
            public_url=f"http://127.0.0.1:{door.port}/exotel/",
            port=ports[place] if role == "receiver" else 0,
            speed=size.speed, start=sim.clock.now().isoformat(),
            accounts=_known_to(place, accounts, size) if role == "dialer" else {},
            limit=size.limit,
            lease=size.lease, commit_timeout=size.commit_timeout, pause=size.pause,
            mutant=size.mutant,
        )
        for role in ROLES
        for place in range(size.count(role))
    ]  # fmt: skip


def _known_to(
    dialer: int, accounts: Sequence[dict[str, Any]], size: Size
) -> dict[str, dict[str, Any]]:
    return {
        str(account): settings
        for account, settings in enumerate(accounts)
        if dialer in dialers_of(account, dialers=size.dialers)
    }


def _more_accounts(sim: Simulator, size: Size) -> list[Any]:
    return [sim.add_account(requests_per_minute=size.limit) for _ in range(size.accounts - 1)]


def _note(entry: Received | Delivered, sim: Simulator, told: list[Told]) -> None:
    """Note what was told of a call, and when Exotel had its answer."""
    if isinstance(entry, Received):
        return
    fields = dict(entry.fields)
    event = fields.get("EventType", "")
    if event == "answered":
        legs = [leg for leg in (0, 1) if fields.get(f"Legs[{leg}][Status]") == "in-progress"]
        event = f"answered {legs[-1] if legs else None}"
    now = sim.clock.now()
    ended = sim.clock.monotonic()
    began = ended - (now - entry.at).total_seconds()
    told.append(Told(fields["CallSid"], event, began, ended, entry.status))
