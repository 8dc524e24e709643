"""What does a callback cost PostgreSQL and us, and how long does a claim take in a full store.

Prints what the README's sizing rests on. CPU times, bytes of log and of tables hardly depend on
what else the machine does; claims are timed one after the other, and the median is shown.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import attrs
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import books
from postgres_server import Server

from exotel_async.journal import PostgresJournal
from exotel_async.journal.records import Receipt

CALLS = 3_000
BODY = Random(7).randbytes(1_200).hex().encode()  # as heavy as multipart, and hard to compress
ROWS = 1_000_000
CLAIMS = 60

FILL = (
    """INSERT INTO receipts
    (ns, kind, ref, call_sid, digest, received_at, content_type, query, body)
    SELECT 'default', 'ref', 'r' || i, 'c' || i, decode(md5(i::text), 'hex'),
    extract(epoch FROM now()) - 1000, '', '',
    convert_to('CallSid=c' || i || '&EventType=terminal&Status=completed', 'UTF8')
    FROM generate_series(1, %(rows)s) AS i""",
    """INSERT INTO events (ns, lane, identity, topic, kind, ref, call_sid, receipt, revision,
    delivered, state, attempts, done, run_at, made_at)
    SELECT 'default', '["ref", "r' || i || '", "c' || i || '"]', 'terminal', 'callback.terminal',
    'ref', 'r' || i, 'c' || i, i, 1, 0, 'waiting', 0, '', 0.0, extract(epoch FROM now()) - 1000
    FROM generate_series(1, %(rows)s) AS i""",
    "ANALYZE",
)


@attrs.frozen
class Cost:
    """What something cost so far."""

    callbacks: int
    ours: float  # seconds of CPU
    servers: float
    log: int  # bytes
    tables: int

    def since(self, start: Cost) -> str:
        """Tell what one callback cost since then."""
        number = self.callbacks - start.callbacks
        return (
            f"{1e6 * (self.ours - start.ours) / number:8.0f}"
            f"{1e6 * (self.servers - start.servers) / number:14.0f}"
            f"{(self.log - start.log) / number:12.0f}{(self.tables - start.tables) / number:14.0f}"
        )


def cost(server: Server, connection: psycopg.Connection[Any], callbacks: int) -> Cost:
    used = resource.getrusage(resource.RUSAGE_SELF)
    connection.execute("CHECKPOINT")
    ((log, tables),) = connection.execute(
        "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn, sum(pg_total_relation_size(oid))"
        " FROM pg_class WHERE relnamespace = 'exotel_async'::regnamespace AND relkind = 'r'"
    ).fetchall()
    return Cost(
        callbacks, used.ru_utime + used.ru_stime, cpu_of(server), int(log), int(tables or 0)
    )


def cpu_of(server: Server) -> float:
    """Add up the CPU time of a server's processes, in seconds; those that ended included."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in _stats(server))
    return ticks / 100


def _stats(server: Server) -> Iterator[list[str]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if path.parent.name == str(server.pid):
            yield fields
        elif fields[1] == str(server.pid):
            yield [*fields[:13], "0", "0"]


def callbacks_of(call: int) -> list[Receipt]:
    """Make what comes of a call of two parties: answered, answered again, over."""
    named = {"ref": f"order-{call}"}
    told = [
        books.answered(f"c{call}", leg=0, **named),
        books.answered(f"c{call}", leg=1, **named),
        books.receipt(f"c{call}", **named),
    ]
    return [attrs.evolve(one, body=one.body + b"&Padding=" + BODY) for one in told]


async def record_all(
    journal: PostgresJournal, receipts: Sequence[Receipt], *, at_once: int
) -> None:
    coming = iter(receipts)

    async def one() -> None:
        for receipt in coming:
            await journal.record(receipt)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def deliver_all(journal: PostgresJournal) -> int:
    delivered = 0
    while claims := await journal.claim(books.TOPICS, most=64, tries=8):
        await asyncio.gather(*(journal.finish(claim) for claim in claims))
        delivered += len(claims)
    return delivered


async def costs(server: Server, *, prepared: bool) -> None:
    dsn = server.create_database()
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        async with PostgresJournal(dsn, prepared_statements=prepared) as journal:
            name = "prepared" if prepared else "plain"
            done = 0
            for at_once in (32, 256):
                calls = range(done, done + CALLS)
                receipts = [one for call in calls for one in callbacks_of(call)]
                start, begun = cost(server, connection, 0), time.perf_counter()
                await record_all(journal, receipts, at_once=at_once)
                rate = len(receipts) / (time.perf_counter() - begun)
                told = cost(server, connection, len(receipts)).since(start)
                print(f"{name}, received, {at_once:3} at once   {rate:8.0f}{told}", flush=True)
                done += CALLS
            connection.execute("ANALYZE")  # as autovacuum does within a minute
            start, begun = cost(server, connection, 0), time.perf_counter()
            delivered = await deliver_all(journal)
            rate = delivered / (time.perf_counter() - begun)
            told = cost(server, connection, delivered).since(start)
            print(f"{name}, delivered, 64 at once  {rate:8.0f}{told}", flush=True)


async def claims(server: Server, *, prepared: bool) -> None:
    dsn = server.create_database()
    async with PostgresJournal(dsn, prepared_statements=prepared) as journal:
        with closing(psycopg.connect(dsn, autocommit=True)) as connection:
            connection.execute("SET search_path TO exotel_async")
            for sql in FILL:
                connection.execute(sql, {"rows": ROWS} if "%" in sql else None)
            connection.execute("CHECKPOINT")
        for most in (1, 16, 32):
            took = [await _claim(journal, most) for _ in range(CLAIMS)]
            print(
                f"{'prepared' if prepared else 'plain'}, {ROWS:,} wait, claim of {most:2}: median"
                f" {1e3 * statistics.median(took):.2f} ms, worst {1e3 * max(took):.2f} ms",
                flush=True,
            )


async def _claim(journal: PostgresJournal, most: int) -> float:
    begun = time.perf_counter()
    taken = await journal.claim(books.TOPICS, most=most, tries=8)
    took = time.perf_counter() - begun
    assert len(taken) == most
    await asyncio.gather(*(journal.finish(claim) for claim in taken))
    return took


async def main() -> None:
    with Server.start_new(durable=True) as server:
        print("per callback                  a second  our CPU/us  server's/us  log/bytes  tables")
        for prepared in (False, True):
            await costs(server, prepared=prepared)
        for prepared in (False, True):
            await claims(server, prepared=prepared)


if __name__ == "__main__":
    asyncio.run(main())
