"""A process of its own that runs a few lines with journals in PostgreSQL, and is told to go on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import psycopg

PATIENCE = 30.0  # seconds after which what does not happen has failed
SUPPORT = Path(__file__).parent
HEAD = f"""
import asyncio, os, signal, sys, time
sys.path.insert(0, {str(SUPPORT)!r})
signal.alarm(60)  # whatever becomes of those who started us
from books import *
from exotel_async import JournalError
from exotel_async.journal import PostgresJournal
from exotel_async.journal.records import Answered
from exotel_async.models.dials import DialState

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def told():
    return (await asyncio.to_thread(sys.stdin.readline)).strip()
"""


class Child:
    """One process, or several that the first one forks off before it does anything.

    `code` has a coroutine `main`; of several each is called with its number, and they share the
    output. What they say comes as words.
    """

    def __init__(self, code: str, *args: object, count: int = 0) -> None:
        run = _MANY if count else "asyncio.run(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{HEAD}\n{code}\n{run}", *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "COUNT": str(count)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.signal_all(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    async def says(self) -> list[str]:
        """Wait for the next line."""
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), PATIENCE)
        assert line, "they ended without a word"
        return line.split()

    async def rest(self) -> list[list[str]]:
        """Wait until all have ended; list all that they said till then."""
        said = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.read), 2 * PATIENCE)
        return [line.split() for line in said.splitlines()]

    def tell(self, word: str = "") -> None:
        """Have the one process go on."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal to the first process alone."""
        os.kill(self.process.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the first process and all that it forked off: a session of their own."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


TOGETHER = """
import psycopg

dsn = sys.argv[1]

async def enter(*words):
    say("there", *words)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(1)")
"""

_MANY = """
pids = []
for number in range(int(os.environ["COUNT"])):
    if (pid := os.fork()) == 0:
        signal.alarm(60)
        asyncio.run(main(number))
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
"""


def ask(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """Ask a database something, beside all journals."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        return connection.execute(sql).fetchall()


class Gate:
    """Has processes begin at the same moment: they wait for a lock that this one holds."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def __enter__(self) -> Self:
        self._connection.execute("SELECT pg_advisory_lock(1)")
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    async def open(self, child: Child, *, count: int) -> None:
        """Wait until all say that they are there, then let them in."""
        for _ in range(count):
            await child.says()
        self._connection.execute("SELECT pg_advisory_unlock(1)")


async def waits_for_rows(dsn: str, amount: int) -> None:
    """Wait until so many transactions wait for each other."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(PATIENCE):
        while ask(dsn, sql)[0][0] < amount:
            await asyncio.sleep(0.01)
