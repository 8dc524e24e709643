"""A journal in PostgreSQL: whose time counts, and how all processes share one pace."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import closing

import psycopg
from books import ACCOUNT, claim, intend, state_of
from chaos_clock import Board
from postgres_child import PATIENCE, TOGETHER, Child, Gate, ask, waits_for_rows

from exotel_async.journal import PostgresJournal

CLOCK = """
import time as real
class Jumping:
    ahead = 0.0
jumped, true = Jumping(), real.time
real.time = lambda: true() + jumped.ahead
import datetime as module
class Datetime(module.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + module.timedelta(seconds=jumped.ahead)
import exotel_async.models.clock as clocks
clocks.datetime = Datetime

async def main():
    jumped.ahead = 3600.0
    async with PostgresJournal(sys.argv[1], lease=1.0) as journal:
        say(round(clocks.SystemClock().now().timestamp() - true(), -3))
        say(abs(journal.clock.now().timestamp() - true()) < 5)
        await intend(journal)
        not_after = await journal.sending("d1", patience=5.0)
        say(-5 < not_after - true() < 10)
        await journal.record(receipt())
        taken = await claim(journal)
        say(await journal.fail(taken, error="odd", wait=0.0, done=()))
        say(await journal.reserve("acme", most=1))
        await told()
        jumped.ahead = -3600.0
        say(abs(journal.clock.now().timestamp() - true()) < 5)
        say(await journal.reserve("acme", most=1) > 50)
        say((await intend(journal, "d2", key="k2")).fresh)
        await told()
"""


class TestClocks:
    async def test_an_hour_apart(self, postgres_dsn):
        """A machine whose clock is wrong, or jumps, lives by the server's like all others."""
        async with PostgresJournal(postgres_dsn, lease=1.0) as journal:
            with Child(CLOCK, postgres_dsn) as child:
                assert await child.says() == ["4000.0"]  # an hour: it is wrong indeed
                assert [await child.says() for _ in range(3)] == [["True"]] * 3
                assert await child.says() == ["0.0"]
                record = await state_of(journal)
                now = journal.clock.now().timestamp()
                wait = await journal.reserve(ACCOUNT, most=1)
                again = await claim(journal)  # a retry of the other is due by our clock too
                child.tell()
                assert [await child.says() for _ in range(3)] == [["True"]] * 3
                owners = ask(postgres_dsn, "SELECT count(*) FROM exotel_async.owners")

        assert abs(record.sent_at - now) < PATIENCE
        assert 30.0 < wait <= 61.0
        assert again.attempts == 2
        assert owners == [(2,)]  # and nobody was taken for dead

    async def test_near_the_server(self, postgres_dsn):
        """What time it is the server says, to within the way there."""
        async with PostgresJournal(postgres_dsn) as journal:
            before = journal.clock.now().timestamp()
            ((there,),) = ask(postgres_dsn, "SELECT extract(epoch FROM clock_timestamp())::float8")
            after = journal.clock.now().timestamp()

        assert before - 1.0 < there < after + 1.0

    async def test_server_of_another_time(self, postgres_dsn, monkeypatch):
        """The wall clock of this machine plays no part."""
        monkeypatch.setattr("exotel_async.models.clock.datetime", None)  # nobody may ask for it
        async with PostgresJournal(postgres_dsn) as journal:
            await intend(journal)
            not_after = await journal.sending("d1", patience=5.0)

            assert 0 < not_after - journal.clock.now().timestamp() <= 6.0


PACED = (
    TOGETHER
    + """
from datetime import UTC, datetime
from pathlib import Path
from chaos_clock import Board, SharedClock

async def main(number):
    clock = SharedClock(Board(Path(sys.argv[2])), start=datetime(2026, 11, 2, tzinfo=UTC))
    async with PostgresJournal(dsn, clock=clock, lease=60) as journal:
        pacer = journal.pacer("acme", requests_per_minute=60)
        await enter()
        await leave(journal, pacer, times=5)
        await clock.sleep(20.0 - clock.monotonic())
        await leave(journal, pacer, times=15)

async def leave(journal, pacer, *, times):
    for _ in range(times):
        await pacer.reserve()
        ((ring,),) = await journal._read(lambda tx: tx.rows("SELECT ring FROM pacing"))
        say(ring.replace(" ", ""))
"""
)

SHORT = (
    TOGETHER
    + """
import exotel_async.journal.pacing as pacing
pacing.WINDOW = 0.5

async def main(number):
    async with PostgresJournal(dsn, lease=60) as journal:
        pacer = journal.pacer("acme", requests_per_minute=10)
        await enter()
        for _ in range(7):
            await pacer.reserve()
            ring = await journal._read(lambda tx: tx.rows("SELECT ring FROM pacing"))
            say(ring[0][0].replace(" ", ""))
"""
)


class TestPacing:
    async def test_windows(self, postgres_dsn, tmp_path):
        """Six processes on one account leave as often as they may in 61 s, and no more often."""
        path = tmp_path / "board"
        board = Board(path)
        async with PostgresJournal(postgres_dsn):
            pass
        with Gate(postgres_dsn) as gate, Child(PACED, postgres_dsn, path, count=6) as processes:
            await gate.open(processes, count=6)
            said = [await processes.says() for _ in range(30)]
            rest = asyncio.ensure_future(processes.rest())
            while not rest.done():
                board.elapsed += 0.5
                await asyncio.sleep(0.01)
            said += rest.result()
        board.close()

        left = Counter()
        for (ring,) in said:
            left |= Counter(json.loads(ring))
        departures = sorted(left.elements())
        assert len(departures) == 120
        assert departures[29] == departures[0]
        assert min(b - a for a, b in zip(departures, departures[60:], strict=False)) >= 61.0

    async def test_servers_clock(self, postgres_dsn):
        """By the server's own time no window has more departures than it may."""
        async with PostgresJournal(postgres_dsn):
            pass
        with Gate(postgres_dsn) as gate, Child(SHORT, postgres_dsn, count=6) as processes:
            await gate.open(processes, count=6)
            said = await processes.rest()

        departures = sorted({at for (ring,) in said for at in json.loads(ring)})
        assert len(departures) >= 42
        gaps = [b - a for a, b in zip(departures, departures[10:], strict=False)]
        assert min(gaps) >= 0.5

    async def test_hold(self, postgres_dsn):
        """Where one is told to wait, all wait."""
        async with PostgresJournal(postgres_dsn) as one, PostgresJournal(postgres_dsn) as other:
            await one.hold(ACCOUNT, seconds=30.0)
            waits = [await journal.reserve(ACCOUNT, most=60) for journal in (one, other)]

        assert all(25.0 < wait <= 30.0 for wait in waits)

    async def test_waited_for_the_row(self, postgres_dsn):
        """A departure is as late as the row that was waited for, or a window would have two."""
        async with PostgresJournal(postgres_dsn, lease=60) as journal:
            await journal.reserve(ACCOUNT, most=2)
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("SELECT 1 FROM exotel_async.pacing FOR UPDATE")
                second = asyncio.ensure_future(journal.reserve(ACCOUNT, most=2))
                await waits_for_rows(postgres_dsn, 1)
                ((until,),) = holder.execute(
                    "SELECT extract(epoch FROM clock_timestamp())::float8"
                ).fetchall()
                holder.rollback()
            await second
            ((ring,),) = ask(postgres_dsn, "SELECT ring FROM exotel_async.pacing")

        assert json.loads(ring)[1] >= until
