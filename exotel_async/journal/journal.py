"""What does a journal do: every operation that all stores share, whatever is underneath."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from exotel_async.errors import ConfigurationError
from exotel_async.models.clock import Clock, SystemClock
from exotel_async.models.dials import CallOutcome
from exotel_async.wire.tokens import LONGEST_LIFE

from . import delivering, dialling, keeping, pacing, receiving, searching
from .pacer import JournalPacer
from .records import (
    Answered,
    Claim,
    DeadLetter,
    DialRecord,
    DueDial,
    Intended,
    Neighbours,
    NewDial,
    Receipt,
    Recorded,
)
from .transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")

Found = tuple[DialRecord, CallOutcome | None]

KEPT = timedelta(days=30)
KEYS_KEPT = timedelta(days=400)


class Journal(ABC):
    """What must survive a crash: callbacks, dials, and how they ended.

    Use it with `async with`, or append its `lifespan` to an aiohttp application's `cleanup_ctx`,
    before those of what uses it. Services that share a store have a `namespace` each. Every
    method raises JournalError where the store can't be written or read.
    """

    def __init__(self, *, namespace: str = "default", clock: Clock | None = None) -> None:
        self.namespace: str = _checked(namespace)
        self.clock: Clock = SystemClock() if clock is None else clock
        self._users = 0
        self._doors: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._version = 0

    # What a store has to bring.

    @abstractmethod
    async def _open(self) -> None:
        """Make the store usable; recover what owners who are gone left behind."""

    @abstractmethod
    async def _close(self) -> None:
        """Finish what is under way and let go."""

    @abstractmethod
    def _write(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an operation, committed when this returns."""

    @abstractmethod
    def _read(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an operation that changes nothing."""

    @abstractmethod
    async def backup(self, path: str | Path) -> None:
        """Copy the store, as it is now, into a new file."""

    # Life.

    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Live as long as an aiohttp application: `app.cleanup_ctx.append(journal.lifespan)`."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        async with self._door():
            if self._users == 0:
                await self._open()
            self._users += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._door():
            self._users -= 1
            if self._users == 0:
                await self._close()

    def _door(self) -> asyncio.Lock:
        """Let one at a time open or close. A lock serves one loop, a journal maybe several."""
        loop = asyncio.get_running_loop()
        if self._doors is None or self._doors[0] is not loop:
            self._doors = loop, asyncio.Lock()
        return self._doors[1]

    # Callbacks come in.

    def record(self, receipt: Receipt) -> Awaitable[Recorded]:
        """Write a callback down; tell what it turned out to be."""
        return self._write(receiving.record, receipt)

    # Events go to their handlers.

    def claim(
        self, topics: Collection[str], *, most: int, tries: int
    ) -> Awaitable[tuple[Claim, ...]]:
        """Take what is due, one event of each call; each claim counts as a try."""
        return self._write(delivering.claim, topics, most=most, tries=tries)

    def progress(self, claim: Claim, *, done: Collection[str]) -> Awaitable[bool]:
        """Note the handlers that have seen an event; False where the claim was lost."""
        return self._write(delivering.progress, claim, done=done)

    def finish(self, claim: Claim, *, done: Collection[str] = ()) -> Awaitable[bool]:
        """Note that an event is delivered; False where the claim was lost."""
        return self._write(delivering.finish, claim, done=done)

    def fail(
        self, claim: Claim, *, error: str, wait: float | None, done: Collection[str]
    ) -> Awaitable[bool]:
        """Note that it failed; again in `wait` seconds, or a dead letter for None."""
        return self._write(delivering.fail, claim, error=error, wait=wait, done=done)

    def release(self, claim: Claim, *, done: Collection[str]) -> Awaitable[bool]:
        """Give an event back, its try not counted."""
        return self._write(delivering.release, claim, done=done)

    def stuck(self, claim: Claim, *, error: str, done: Collection[str]) -> Awaitable[bool]:
        """Note that a handler never ends; it stays claimed, and nothing else waits for it."""
        return self._write(delivering.stuck, claim, error=error, done=done)

    def next_event(self, topics: Collection[str]) -> Awaitable[float | None]:
        """Tell when the next event is due, in seconds since the epoch."""
        return self._read(delivering.next_due, topics)

    def dead_letters(self, *, most: int = 100) -> Awaitable[tuple[DeadLetter, ...]]:
        """List deliveries that were given up, oldest first."""
        return self._read(delivering.dead_letters, most=most)

    def replay(self, ids: Collection[int] | None = None) -> Awaitable[int]:
        """Deliver dead letters again, these or all; tell how many."""
        return self._write(delivering.replay, ids)

    # Dials.

    def intend(
        self, new: NewDial, *, retry_if: Collection[str], fits: Callable[[str], bool | None]
    ) -> Awaitable[Intended]:
        """Write down that a dial is about to be made; raises KeyReusedError."""
        return self._write(dialling.intend, new, retry_if=retry_if, fits=fits)

    def sending(self, ref: str, *, patience: float) -> Awaitable[float | None]:
        """Write down that a try begins; return until when it may, None if it must not."""
        return self._write(dialling.sending, ref, patience=patience)

    def unsent(self, ref: str) -> Awaitable[bool]:
        """Write down that the try rang no phone for certain, and another may follow."""
        return self._write(dialling.unsent, ref)

    def answered(self, ref: str, answer: Answered) -> Awaitable[DialRecord | None]:
        """Write down what a dial came to."""
        return self._write(dialling.answered, ref, answer)

    def due(self, account: str, *, most: int) -> Awaitable[tuple[DueDial, ...]]:
        """Take dials that want to be looked at; nobody else gets them for a while."""
        return self._write(dialling.due, account, most=most)

    def next_due(self, account: str) -> Awaitable[float | None]:
        """Tell when the next dial wants to be looked at, in seconds since the epoch."""
        return self._read(dialling.next_due, account)

    def put_off(self, ref: str, *, until: float | None, asked: bool) -> Awaitable[None]:
        """Write down when to look again, None for never."""
        return self._write(dialling.put_off, ref, until=until, asked=asked)

    def reject(self, ref: str, *, call_sid: str) -> Awaitable[None]:
        """Write down that the sid which a callback named is no call of this dial."""
        return self._write(dialling.reject, ref, call_sid=call_sid)

    def conclude(self, outcome: CallOutcome) -> Awaitable[CallOutcome | None]:
        """Write down how a dial ended; None where what is written already stays."""
        return self._write(dialling.ended, outcome)

    def witnesses(
        self, account: str, *, near: float, within: float
    ) -> Awaitable[tuple[DialRecord, ...]]:
        """Read dials sent about then whose calls are over and of which Exotel named the sid."""
        return self._read(searching.witnesses, account, near=near, within=within)

    def neighbours(
        self, account: str, *, first: float, last: float, sids: Collection[str]
    ) -> Awaitable[Neighbours]:
        """Read whose calls these may be, and whose they are, whatever service's."""
        return self._read(searching.neighbours, account, first=first, last=last, sids=sids)

    def match(self, ref: str, *, call_sid: str) -> Awaitable[DialRecord | None]:
        """Write down that a call is an unknown dial's; None where that is no longer so."""
        return self._write(searching.match, ref, call_sid=call_sid)

    def find(self, account: str, key: str) -> Awaitable[Found | None]:
        """Find a dial, and its outcome if known, by its key."""
        return self._read(dialling.find, account, key)

    def look(self, ref: str) -> Awaitable[Found | None]:
        """Read a dial, and its outcome if known, by its ref."""
        return self._read(dialling.look, ref)

    # Pacing.

    def pacer(self, account: str, *, requests_per_minute: int = 200) -> JournalPacer:
        """Make a pacer that all processes on this store share: `ExotelClient(pacer=...)`."""
        return JournalPacer(self, account=account, requests_per_minute=requests_per_minute)

    def reserve(self, account: str, *, most: int) -> Awaitable[float]:
        """Count a request and return 0, or return for how many seconds there is no place."""
        return self._write(pacing.reserve, account, most=most)

    def hold(self, account: str, *, seconds: float) -> Awaitable[None]:
        """Let no request leave for so long."""
        return self._write(pacing.hold, account, seconds=seconds)

    # Keeping.

    async def prune(
        self,
        *,
        older_than: timedelta = KEPT,
        keys_older_than: timedelta = KEYS_KEPT,
        progress: Callable[[str, int], None] | None = None,
    ) -> dict[str, int]:
        """Erase what is old: events, bodies and numbers; tell how many of each.

        Open dials are never touched. An idempotency key is remembered far longer, since a key
        that is forgotten dials again. That a callback came is remembered as long as its URL is
        good, or it could be delivered anew. All is done in slices, each a transaction; `progress`
        is told after each what was erased, and how many. Whoever is cancelled leaves the rest for
        the next time.
        """
        for name, age in (("older_than", older_than), ("keys_older_than", keys_older_than)):
            if not isinstance(age, timedelta):
                raise ConfigurationError(f"{name} must be a timedelta, but is {age!r}")
        if older_than > keys_older_than or older_than < timedelta():
            raise ConfigurationError("older_than must be at least 0 and at most keys_older_than")
        now = self.clock.now()
        before = (now - older_than).timestamp()
        longest = (now - max(older_than, LONGEST_LIFE)).timestamp()
        keys = (now - keys_older_than).timestamp()
        total: dict[str, int] = {}
        for name, operation, limit in (
            ("events", keeping.prune_events, before),
            ("bodies", keeping.erase_receipts, before),
            ("receipts", keeping.prune_receipts, longest),
            ("dials", keeping.prune_dials, before),
            ("keys", keeping.prune_keys, keys),
        ):
            total[name] = 0
            while found := await self._write(operation, before=limit):
                total[name] += found
                if progress is not None:
                    progress(name, found)
        return total

    def stats(self) -> Awaitable[Mapping[str, int]]:
        """Count what is there."""
        return self._read(keeping.stats)

    def namespaces(self) -> Awaitable[tuple[str, ...]]:
        """List the namespaces that hold anything, this one or others."""
        return self._read(keeping.namespaces)

    # Being told of changes.

    @property
    def version(self) -> int:
        """A number that grows with every commit we know of, others' included."""
        return self._version

    async def changed(self, *, since: int, within: float | None) -> bool:
        """Wait until something was committed after `since`, at most so many seconds if any."""
        event = asyncio.Event()
        listener = (asyncio.get_running_loop(), event)
        self._listeners.add(listener)  # before looking: a thread may tell at any moment
        waits: list[asyncio.Future[object]] = []
        try:
            if self._version == since:
                waits.append(asyncio.ensure_future(event.wait()))
                if within is not None:
                    waits.append(asyncio.ensure_future(self.clock.sleep(within)))
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._listeners.discard(listener)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return self._version != since

    def _tell_listeners(self) -> None:
        """Wake whoever waits for a change; callable from any thread."""
        self._version += 1
        for loop, event in tuple(self._listeners):
            with suppress(RuntimeError):  # a loop that is closed
                loop.call_soon_threadsafe(event.set)


def _checked(namespace: object) -> str:
    if not isinstance(namespace, str) or not namespace.strip():
        raise ConfigurationError("namespace must be a text that is not blank")
    return namespace
