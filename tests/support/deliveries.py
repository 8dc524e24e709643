"""Journals of every kind, with callbacks in them, and how tests wait for what these lead to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from clocks import HandClock

from exotel_async import Clock, decode_callback
from exotel_async.journal import Journal, MemoryJournal, SQLiteJournal
from exotel_async.journal.records import Receipt, Recorded
from exotel_async.wire.tokens import RefKind

STORES = ("memory", "sqlite")
PATIENCE = 20.0  # seconds after which what does not happen has failed


def make_journal(store: str, folder: Path, clock: Clock | None = None) -> Journal:
    """Make a journal; it is not open."""
    if store == "memory":
        return MemoryJournal(clock=clock)
    return SQLiteJournal(folder / "calls.db", clock=clock)


async def tell(
    journal: Journal, call_sid: str, *, ref: str = "order-42", kind: RefKind = "ref", **fields: str
) -> Recorded:
    """Have a callback come in, "completed" unless `fields` say otherwise."""
    fields = {"CallSid": call_sid, "Status": "completed"} | fields
    body = "&".join(f"{name}={text}" for name, text in fields.items()).encode()
    return await journal.record(
        Receipt(
            event=decode_callback(body, ref=ref), kind=kind, ref=ref, content_type="", query="",
            body=body,
        )
    )  # fmt: skip


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is the case."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def let_pass(clock: HandClock, seconds: float) -> None:
    """Move a clock on as soon as somebody waits for that."""
    await until(lambda: clock.sleepers)
    clock.advance(seconds)


async def until_stats(journal: Journal, **wanted: int) -> None:
    """Wait until a journal counts so many of these."""
    async with asyncio.timeout(PATIENCE):
        while not wanted.items() <= (await journal.stats()).items():
            await asyncio.sleep(0.001)


def others() -> set[asyncio.Task[object]]:
    """List the tasks that run beside this one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
