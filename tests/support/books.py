"""What goes into a journal, spelt in one line, and the stores that all of it is tried on."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs
from clocks import FakeClock

from exotel_async import CallOutcome, Dial, OutcomeState, decode_callback
from exotel_async.journal import Journal, MemoryJournal, PostgresJournal, SQLiteJournal
from exotel_async.journal.dialling import recover
from exotel_async.journal.postgres import heart
from exotel_async.journal.records import Claim, DialRecord, NewDial, Receipt

T = TypeVar("T")

ACCOUNT = "acme"
TOPICS = ("callback.answered", "callback.terminal", "callback.other")
UPDATES = ("update.answered", "update.terminal", "update.other")
OUTCOMES = (f"outcome.{ACCOUNT}",)
EVERYTHING = (*TOPICS, *UPDATES, *OUTCOMES)
TRIES = 3


def receipt(call_sid: str = "c1", /, *, dial: str | None = None, ref: str | None = None, **fields):
    """Spell a callback: the end of a call, unless the fields say otherwise."""
    fields = {"CallSid": call_sid, "EventType": "terminal", "Status": "completed"} | fields
    body = "&".join(f"{name}={text}" for name, text in fields.items() if text is not None).encode()
    kind = "dial" if dial is not None else "ref" if ref is not None else None
    ref = dial if dial is not None else ref
    event = decode_callback(body, ref=ref)
    return Receipt(event=event, kind=kind, ref=ref, content_type="", query="", body=body)


def answered(call_sid: str = "c1", /, *, leg: int = 0, **more):
    """Spell a callback that says that a leg was answered."""
    legs = {f"Legs[{i}][Status]": "in-progress" for i in range(leg + 1)}
    return receipt(call_sid, **{"EventType": "answered", "Status": "in-progress"} | legs | more)


def new_dial(ref: str = "d1", *, key: str = "order-1", **changes) -> NewDial:
    """Spell a dial that is about to be made."""
    values = {"account": ACCOUNT, "seal": "seal", "arguments": {"to": "+91"}, "longest": 3600.0}
    return NewDial(**values | {"ref": ref, "key": key} | changes)


def same(_seal: str) -> bool:
    """Find that the arguments are those of the first time."""
    return True


def outcome(dial: Dial | DialRecord, state: str = OutcomeState.ENDED, **changes) -> CallOutcome:
    """Spell how a dial ended."""
    dial = dial.dial() if isinstance(dial, DialRecord) else dial
    values = {"status": "completed", "call_sid": dial.call_sid, "source": "callback"}
    ended = state == OutcomeState.ENDED
    return CallOutcome(
        dial=dial, state=state, **(values if ended else {"source": "poll"}) | changes
    )


async def intend(
    journal: Journal, ref: str = "d1", *, key: str = "order-1", retry_if=(), **changes
):
    """Write down that a dial is about to be made."""
    dial = new_dial(ref, key=key, **changes)
    return await journal.intend(dial, retry_if=retry_if, fits=same)


async def state_of(journal: Journal, ref: str = "d1") -> DialRecord:
    """Read a dial."""
    found = await journal.look(ref)
    assert found is not None
    return found[0]


async def outcome_of(journal: Journal, ref: str = "d1") -> CallOutcome | None:
    """Read how a dial ended."""
    found = await journal.look(ref)
    assert found is not None
    return found[1]


async def claims(journal: Journal, *topics: str, most: int = 100, tries: int = TRIES):
    """Claim what is due."""
    return await journal.claim(topics or EVERYTHING, most=most, tries=tries)


async def claim(journal: Journal, *topics: str, tries: int = TRIES) -> Claim:
    """Claim the one event that is due."""
    (only,) = await claims(journal, *topics, tries=tries)
    return only


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what awaits nothing, as all that a journal in memory does, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


@contextmanager
def closing_all(journals: Sequence[MemoryJournal]) -> Iterator[None]:
    """Close the books, whatever goes wrong."""
    try:
        yield
    finally:
        at_once(journals[0]._close())


@attrs.define(eq=False)
class Store:
    """One place where journals keep their books, however many of them."""

    folder: Path
    clock: FakeClock
    dsn: str  # of a database, for those that need one
    stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    copies: ClassVar[str] = "exotel_async.journal.database._copy"  # what fills a backup

    async def open(self, **options: Any) -> Journal:
        """Open one more journal on these books."""
        raise NotImplementedError

    async def bury(self, journal: Journal) -> None:
        """Have others think that this journal is dead."""
        raise NotImplementedError


@attrs.define(eq=False)
class MemoryStore(Store):
    """All journals after the first share its books."""

    first: MemoryJournal | None = None

    async def open(self, **options: Any) -> Journal:
        journal = MemoryJournal(clock=self.clock, **options)
        if self.first is None:
            self.first = await self.stack.enter_async_context(journal)
        else:
            journal._connection, journal._turn = self.first._connection, self.first._turn
        return journal

    async def bury(self, journal: Journal) -> None:
        assert self.first is not None
        await self.first._write(recover, journal._owner)


@attrs.define(eq=False)
class SQLiteStore(Store):
    """All journals use one file."""

    async def open(self, **options: Any) -> Journal:
        journal = SQLiteJournal(self.folder / "calls.db", clock=self.clock, **options)
        return await self.stack.enter_async_context(journal)

    async def bury(self, journal: Journal) -> None:
        async with SQLiteJournal(self.folder / "calls.db", clock=self.clock) as other:
            await other._write(recover, journal._writer.owner)


@attrs.define(eq=False)
class PostgresStore(Store):
    """All journals use one database."""

    copies: ClassVar[str] = "exotel_async.journal.postgres.backup._copy"

    async def open(self, **options: Any) -> Journal:
        journal = PostgresJournal(self.dsn, clock=self.clock, **options)
        return await self.stack.enter_async_context(journal)

    async def bury(self, journal: Journal) -> None:
        async with PostgresJournal(self.dsn, clock=self.clock) as other:
            await other._write(heart.bury, journal._engine.owner, beat=2**62)


STORES: dict[str, type[Store]] = {
    "memory": MemoryStore,
    "sqlite": SQLiteStore,
    "postgres": PostgresStore,
}
