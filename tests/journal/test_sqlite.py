"""A journal in a file: what a disk, other processes and their deaths can do to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from books import ACCOUNT, TOPICS, claim, claims, intend, receipt, state_of

from exotel_async import JournalError
from exotel_async.journal import SQLiteJournal, database, delivering, keeping, schema
from exotel_async.journal.locks import FileLock
from exotel_async.journal.records import Answered, Recorded
from exotel_async.models.dials import DialState

SUPPORT = Path(__file__).parent.parent / "support"
LOCKS = {"calls.db-lock", "calls.db-lock-next"}
PATIENCE = 30.0  # seconds after which what does not happen has failed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.db"


@contextlib.contextmanager
def locked(path):
    """Hold SQLite's own write lock, as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def pragma(journal, name):
    """Read a setting as the writer has it."""
    return (await journal._write(lambda tx: tx.rows(f"PRAGMA {name}")))[0][0]


async def until(condition):
    """Wait until something is the case."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)


async def no_thread_is_left():
    """Tell whether all writers have ended."""
    return "exotel-journal" not in {thread.name for thread in threading.enumerate()}


class Child:
    """A process of its own that runs a few lines with a journal, and is told to go on."""

    def __init__(self, code: str, *args: object) -> None:
        lines = f"import sys; sys.path.insert(0, {str(SUPPORT)!r})\n{HEAD}\n{code}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", lines, *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    async def says(self) -> str:
        """Wait for its next line."""
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), PATIENCE)
        assert line, f"it ended with {self.process.wait()}"
        return line.strip()

    async def ends(self) -> None:
        """Wait until it is gone."""
        await asyncio.to_thread(self.process.wait, PATIENCE)

    def tell(self) -> None:
        """Have it go on."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal to it alone."""
        os.kill(self.process.pid, number)


HEAD = """
import asyncio, os, sys
from books import *
from exotel_async.journal import SQLiteJournal

def say(*words):
    print(*words, flush=True)

async def told():
    await asyncio.to_thread(sys.stdin.readline)
"""


class TestFile:
    async def test_pragmas(self, path):
        """Every commit is synced, and what is deleted is gone: a kill would not show it."""
        async with SQLiteJournal(path) as journal:
            settings = {
                name: await pragma(journal, name)
                for name in (
                    "journal_mode", "synchronous", "wal_autocheckpoint", "secure_delete",
                    "auto_vacuum",
                )
            }  # fmt: skip

        assert settings == {
            "journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "secure_delete": 1,
            "auto_vacuum": 2,
        }  # fmt: skip

    async def test_for_the_owner_only(self, path):
        """Numbers stand in it: nobody else may read it, nor what stands beside it."""
        old = os.umask(0)
        try:
            async with SQLiteJournal(path) as journal:
                await journal.record(receipt())
                await journal.stats()
                modes = {
                    file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()
                }
        finally:
            os.umask(old)

        assert {"calls.db", "calls.db-wal", "calls.db-shm", "calls.db-lock"} < set(modes)
        assert set(modes.values()) == {0o600}

    async def test_closed_and_opened(self, path):
        """What was written is there the next time, and nothing lies about between."""
        journal = SQLiteJournal(path)
        for expected in (Recorded.NEW, Recorded.DUPLICATE, Recorded.DUPLICATE):
            async with journal:
                assert await journal.record(receipt()) == expected

        assert {file.name for file in path.parent.iterdir()} - LOCKS == {"calls.db"}

    async def test_other_name(self, path):
        """However the file is called, its locks are the same."""
        link = path.with_name("link.db")
        link.symlink_to(path)
        async with SQLiteJournal(path) as one, SQLiteJournal(link) as other:
            await one.record(receipt())
            assert await other.record(receipt()) == Recorded.DUPLICATE

        assert not path.with_name("link.db-lock").exists()

    async def test_odd_name(self, tmp_path):
        """A file may be called what it likes."""
        async with SQLiteJournal(tmp_path / "a b?c#d%20é.db") as journal:
            await journal.record(receipt())
            assert (await journal.stats())["receipts"] == 1

        assert (tmp_path / "a b?c#d%20é.db").exists()

    async def test_shrinks(self, path):
        """What pruning erased makes the file smaller."""
        async with SQLiteJournal(path) as journal:
            for i in range(600):
                await journal.record(receipt(f"c{i}", Note="x" * 4000))
            pages = await pragma(journal, "page_count")
            await journal._write(
                lambda tx: [tx.change(f"DELETE FROM {table}") for table in ("events", "receipts")]
            )
            await journal.prune()

            assert await pragma(journal, "page_count") < pages / 4

    async def test_wal_is_emptied(self, path, monkeypatch):
        """The log does not grow for ever, though nothing checkpoints by itself."""
        monkeypatch.setattr("exotel_async.journal.writer._LARGEST_WAL", 100_000)
        wal = path.with_name("calls.db-wal")
        async with SQLiteJournal(path) as journal:
            for i in range(200):
                await journal.record(receipt(f"c{i}", Note="x" * 4000))
                assert wal.stat().st_size < 200_000

    async def test_reader_keeps_the_wal(self, path, monkeypatch, caplog):
        """While somebody reads, the log grows, and writes go on."""
        monkeypatch.setattr("exotel_async.journal.writer._LARGEST_WAL", 500_000)
        async with SQLiteJournal(path) as journal:
            await journal.record(receipt())
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT * FROM receipts").fetchall()
                for i in range(100):
                    await journal.record(receipt(f"c{i}", Note="x" * 4000))
                assert reader.execute("SELECT count(*) FROM receipts").fetchone() == (1,)

            assert (await journal.stats())["receipts"] == 101
        assert not [one for one in caplog.records if one.name.startswith("exotel_async")]


class TestManyProcesses:
    async def test_nothing_is_lost(self, path):
        """Three processes write at once, and all of it is there."""
        code = """
async def main():
    async with SQLiteJournal(sys.argv[1]) as journal:
        say("open")
        await told()
        for i in range(100):
            await asyncio.gather(
                journal.record(receipt(f"{sys.argv[2]}-{i}")), journal.record(receipt(f"all-{i}"))
            )
asyncio.run(main())
"""
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Child(code, path, i)) for i in range(3)]
            for child in children:
                await child.says()
            for child in children:
                child.tell()
            for child in children:
                assert await asyncio.to_thread(child.process.wait, PATIENCE) == 0

        async with SQLiteJournal(path) as journal:
            assert (await journal.stats())["receipts"] == 400
            assert (await journal.stats())["events_waiting"] == 400
            assert await journal._write(lambda tx: tx.rows("PRAGMA integrity_check")) == [("ok",)]

    async def test_others_commits_wake(self, path):
        """Who waits for a change is told of what another process wrote."""
        async with SQLiteJournal(path) as one, SQLiteJournal(path) as other:
            version = one.version
            waiting = asyncio.create_task(one.changed(since=version, within=None))
            while not one._listeners:
                await asyncio.sleep(0)
            await other.record(receipt())

            assert await asyncio.wait_for(waiting, PATIENCE)

    async def test_one_key_one_dial(self, path):
        """Of three processes that use a key at once, one dials."""
        code = """
async def main():
    async with SQLiteJournal(sys.argv[1]) as journal:
        say("open")
        await told()
        told_us = [await intend(journal, f"{sys.argv[2]}-{i}", key=f"k{i}") for i in range(50)]
        say(*(int(one.fresh) for one in told_us))
asyncio.run(main())
"""
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Child(code, path, i)) for i in range(3)]
            for child in children:
                await child.says()
            for child in children:
                child.tell()
            told = [list(map(int, (await child.says()).split())) for child in children]

        assert [sum(one) for one in zip(*told, strict=True)] == [1] * 50


DIES = """
async def main():
    async with SQLiteJournal(sys.argv[1], lease=float(sys.argv[2])) as journal:
        await intend(journal, "d1", key="k1")
        await intend(journal, "d2", key="k2")
        await journal.sending("d2", patience=5.0)
        await journal.record(receipt())
        taken = await claim(journal)
        say("holds")
        await told()
        say(await journal.finish(taken), await journal.sending("d1", patience=5.0))
        again = await intend(journal, "d3", key="k3")
        say(again.fresh, await journal.sending("d3", patience=5.0) is not None)
        await told()
asyncio.run(main())
"""


async def is_recovered(journal):
    states = [(await state_of(journal, ref)).state for ref in ("d1", "d2")]
    return states == ["not_sent", "unknown"]


class TestDeath:
    async def test_next_one_recovers(self, path):
        """Whoever opens the file after a kill finds out at once who died."""
        with Child(DIES, path, 1000) as child:
            await child.says()
            child.signal(signal.SIGKILL)
            await child.ends()

        async with SQLiteJournal(path) as journal:
            assert await is_recovered(journal)
            assert (await claim(journal, *TOPICS)).attempts == 2
            assert len(list(path.parent.glob("*owner*"))) == 1

    async def test_neighbour_recovers(self, path):
        """A process that lives finds out at its next heartbeat, long before the lease is over."""
        async with SQLiteJournal(path, lease=0.6) as journal:
            with Child(DIES, path, 1000) as child:
                await child.says()
                assert not await is_recovered(journal)
                child.signal(signal.SIGKILL)
                await child.ends()

                await until(lambda: is_recovered(journal))

            assert (await claim(journal, *TOPICS)).attempts == 2

    async def test_frozen_beyond_the_lease(self, path):
        """Who stands still too long has lost what it held: late marks are refused; it goes on."""
        async with SQLiteJournal(path, lease=0.6) as journal:
            with Child(DIES, path, 0.6) as child:
                await child.says()
                child.signal(signal.SIGSTOP)
                await until(lambda: is_recovered(journal))
                again = await claim(journal, *TOPICS)

                child.signal(signal.SIGCONT)
                child.tell()
                assert await child.says() == "False None"
                assert await child.says() == "True True"

                assert await journal.finish(again)
                child.signal(signal.SIGKILL)
                await child.ends()
                await until(lambda: self.unknown(journal, "d3"))

    async def unknown(self, journal, ref):
        return (await state_of(journal, ref)).state == "unknown"

    async def test_blocked_loop_loses_nothing(self, path, monkeypatch):
        """Hearts beat in a thread: a handler that blocks the loop loses no lease."""
        async with (
            SQLiteJournal(path, lease=0.6) as blocked,
            SQLiteJournal(path, lease=0.6) as other,
        ):
            await blocked.record(receipt())
            taken = await claim(blocked)
            looks = other._writer._watch

            done = threading.Event()
            threading.Thread(target=lambda: (wait_for_beats(looks, 12), done.set())).start()
            done.wait(PATIENCE)  # the loop stands still

            assert await claims(other) == ()
            assert await blocked.finish(taken)

    async def test_thought_dead_by_mistake(self, path):
        """Whose name was taken goes on under another, and loses nothing of what it does then."""
        async with SQLiteJournal(path) as journal:
            name = journal._writer.owner
            await journal._write(lambda tx: tx.change("DELETE FROM owners"))

            await intend(journal)
            assert await journal.sending("d1", patience=5.0) is not None
            assert journal._writer.owner != name

        async with SQLiteJournal(path) as journal:
            assert (await state_of(journal)).state == "unknown"

    async def test_closing_gives_back(self, path):
        """Who closes in an orderly way leaves what it held to others at once."""
        async with SQLiteJournal(path) as other:
            async with SQLiteJournal(path) as journal:
                await journal.record(receipt())
                await claim(journal)
                await intend(journal)
            assert len(await claims(other, *TOPICS)) == 1
            assert (await state_of(other)).state == "not_sent"

    async def test_fork(self, path):
        """A journal that was opened before a fork is refused in the child, and not harmed."""
        code = """
from exotel_async import JournalError
async def main():
    async with SQLiteJournal(sys.argv[1]) as journal:
        await journal.record(receipt())
        child = os.fork()
        if child == 0:
            try:
                journal._write(lambda tx: None)
            except JournalError as error:
                os._exit(7 if "forked" in str(error) else 8)
            os._exit(9)
        _, status = os.waitpid(child, 0)
        say(os.waitstatus_to_exitcode(status), await journal.record(receipt()))
asyncio.run(main())
"""
        with Child(code, path) as child:
            assert await child.says() == "7 duplicate"

    async def test_child_that_outlives_it(self, path):
        """A forked child holds no lock of its parent's for ever."""
        code = """
import signal, time
async def main():
    async with SQLiteJournal(sys.argv[1]) as journal:
        lock = journal._writer._lock
        assert lock.take(until=time.monotonic() + 30)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            signal.pause()
        lock.give_back()
        try:
            say(await journal.record(receipt()))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
asyncio.run(main())
"""
        with Child(code, path) as child:
            assert await child.says() == "new"
            await child.ends()


def wait_for_beats(watch, count):
    """Wait until the heartbeats of another have been seen to change so often."""
    beats = set()
    deadline = time.monotonic() + PATIENCE
    while len(beats) < count and time.monotonic() < deadline:
        beats.update(seen for seen in watch._seen.values())
        time.sleep(0.01)


class TestClock:
    @pytest.mark.parametrize("shift", [-3600.0, 3600.0])
    async def test_set_by_an_hour(self, path, clock, shift):
        """No lease is lost, and nothing is late, when the time of day is set."""
        async with (
            SQLiteJournal(path, clock=clock, lease=0.6) as journal,
            SQLiteJournal(path, clock=clock, lease=0.6) as other,
        ):
            await intend(journal)
            await journal.record(receipt())
            taken = await claim(journal)
            clock.elapsed += shift
            await asyncio.to_thread(wait_for_beats, other._writer._watch, 8)

            assert await other.due(ACCOUNT, most=9) == ()
            assert await journal.finish(taken)
            assert await journal.sending("d1", patience=5.0) is not None
            assert await journal.record(receipt("c2")) == Recorded.NEW
            assert len(await claims(other)) == 1


class TestLocked:
    async def test_by_another_program(self, path):
        """While another program holds the file, writes fail in their time; then they work again."""
        async with SQLiteJournal(path, commit_timeout=0.5) as journal:
            with locked(path):
                started = time.monotonic()
                told = await asyncio.gather(
                    *(journal.record(receipt(f"c{i}")) for i in range(3)), return_exceptions=True
                )
                assert time.monotonic() - started < 10.0
                assert [type(one) for one in told] == [JournalError] * 3
                assert (await journal.stats())["receipts"] == 0

            assert await journal.record(receipt("c0")) == Recorded.NEW

    async def test_for_longer_than_anybody_waits(self, path):
        """However long the file is locked, what is asked for fails within ten seconds of that."""
        code = """
import sqlite3
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
say("locked")
sys.stdin.readline()
other.execute("ROLLBACK")
say("free")
"""
        async with SQLiteJournal(path) as journal:
            with Child(code, path) as child:
                await child.says()
                waits = await asyncio.gather(
                    *(self.try_after(journal, wait) for wait in (0, 0.5, 1))
                )
                assert max(waits) < 10.0
                child.tell()
                await child.says()

            assert await journal.record(receipt()) == Recorded.NEW

    async def try_after(self, journal, wait):
        await asyncio.sleep(wait)
        started = time.monotonic()
        with pytest.raises(JournalError, match="locked"):
            await journal.record(receipt(f"c{wait}"))
        return time.monotonic() - started

    async def test_by_a_frozen_process(self, path):
        """A process that was stopped while it wrote holds up the others, who fail in their time."""
        async with SQLiteJournal(path, commit_timeout=0.3) as journal:
            lock = journal._writer._lock.__class__(path.with_name("calls.db-lock"))
            assert lock.take(until=time.monotonic() + PATIENCE)
            with pytest.raises(JournalError, match="locked"):
                await journal.record(receipt())
            lock.give_back()

            assert await journal.record(receipt()) == Recorded.NEW

    async def test_while_opening(self, path):
        """What can't be opened is said, nothing is left behind, and it can be tried again."""
        async with SQLiteJournal(path):
            pass
        journal = SQLiteJournal(path, commit_timeout=0.3)
        with locked(path), pytest.raises(JournalError, match="locked"):
            await journal.__aenter__()
        await until(no_thread_is_left)

        async with journal:
            assert await journal.record(receipt()) == Recorded.NEW


class TestDisk:
    async def write_much(self, journal):
        for i in range(100):
            await journal.record(receipt(f"f{i}", Note="x" * 3000))

    async def limit(self, journal, pages):
        await journal._write(lambda tx: tx.rows(f"PRAGMA max_page_count = {pages}"))

    async def test_full(self, path):
        """A full disk refuses what does not fit, writes half of nothing, and may be emptied."""
        async with SQLiteJournal(path) as journal:
            await journal.record(receipt("c0"))
            await self.limit(journal, await pragma(journal, "page_count") + 4)

            with pytest.raises(JournalError, match="full"):
                await self.write_much(journal)

            counted = await journal.stats()
            assert counted["receipts"] == counted["events_waiting"]
            await self.limit(journal, 1_000_000)
            assert await journal.record(receipt("c1", Note="x" * 3000)) == Recorded.NEW
            assert await journal._write(lambda tx: tx.rows("PRAGMA integrity_check")) == [("ok",)]

    async def test_full_in_a_batch(self, path):
        """What was said to be written of a batch that did not fit is written."""
        async with SQLiteJournal(path) as journal:
            await self.limit(journal, await pragma(journal, "page_count") + 8)
            told = await asyncio.gather(
                *(journal.record(receipt(f"c{i}", Note="x" * 3000)) for i in range(50)),
                return_exceptions=True,
            )

            assert JournalError in map(type, told)
            written = await journal.stats()
            assert written["receipts"] == told.count(Recorded.NEW)
            assert written["events_waiting"] == told.count(Recorded.NEW)

    async def test_deleted(self, path):
        """Writes to a deleted file would succeed, and be gone: they fail."""
        async with SQLiteJournal(path) as journal:
            await journal.record(receipt())
            path.unlink()

            with pytest.raises(JournalError, match="gone"):
                await journal.record(receipt("c2"))
            with pytest.raises(JournalError, match="gone"):
                await journal.stats()
            with pytest.raises(JournalError, match="gone"):
                await journal.backup(path.with_name("copy.db"))
        assert not path.exists()

    async def test_replaced(self, path):
        """A file that was put in its place is not written to."""
        async with SQLiteJournal(path) as journal:
            await journal.record(receipt())
            await journal.backup(path.with_name("copy.db"))
            path.with_name("copy.db").rename(path)

            with pytest.raises(JournalError, match="replaced"):
                await journal.record(receipt("c2"))
            with pytest.raises(JournalError, match="replaced"):
                await journal.stats()

    async def test_moved_back(self, path):
        """When the file is back, all is well."""
        async with SQLiteJournal(path) as journal:
            path.rename(path.with_name("away.db"))
            with pytest.raises(JournalError):
                await journal.record(receipt())
            path.with_name("away.db").rename(path)

            assert await journal.record(receipt()) == Recorded.NEW

    @pytest.mark.parametrize("what", ["file", "folder"])
    async def test_read_only(self, tmp_path, what):
        """Where nothing may be written, opening says so."""
        folder = tmp_path / "ours"
        folder.mkdir()
        async with SQLiteJournal(folder / "calls.db"):
            pass
        (folder / "calls.db-lock").unlink()
        (folder / "calls.db").chmod(0o444 if what == "file" else 0o666)
        folder.chmod(0o777 if what == "file" else 0o555)
        reach(folder)
        code = """
from exotel_async import JournalError
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
async def main():
    try:
        async with SQLiteJournal(sys.argv[1]):
            say("opened")
    except JournalError as error:
        say(error)
asyncio.run(main())
"""
        with Child(code, folder / "calls.db") as child:
            assert "could not open calls.db" in await child.says()

    async def test_not_a_database(self, path):
        """Something else than a database is left as it is."""
        path.write_text("my shopping list, which is longer than a page header" * 100)
        before = path.read_bytes()

        with pytest.raises(JournalError, match=r"not a database"):
            await SQLiteJournal(path).__aenter__()

        assert path.read_bytes() == before

    async def test_somebody_elses_database(self, path):
        """A database of something else gets no tables of ours."""
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE shopping (item)")

        with pytest.raises(JournalError, match="something else"):
            await SQLiteJournal(path).__aenter__()

    async def test_no_such_folder(self, tmp_path):
        """A folder that is missing is named by its error, and not made."""
        with pytest.raises(JournalError, match=r"could not open calls\.db"):
            await SQLiteJournal(tmp_path / "gone" / "calls.db").__aenter__()

        assert list(tmp_path.iterdir()) == []

    async def test_corrupt(self, path):
        """Operations that meet the damage of a file fail; others don't, and no thread ends."""
        async with SQLiteJournal(path) as journal:
            for i in range(300):
                await journal.record(receipt(f"c{i}", Note="x" * 2000))
        size = path.stat().st_size
        with path.open("r+b") as file:
            for place in range(4096 * 60, size - 4096, 4096):
                file.seek(place)
                file.write(b"\xff" * 4096)

        async with SQLiteJournal(path) as journal:
            with pytest.raises(JournalError):
                await journal._write(lambda tx: tx.rows("SELECT body FROM receipts"))
            with pytest.raises(JournalError):
                await journal._read(lambda tx: tx.rows("SELECT body FROM receipts"))
            assert await journal._write(lambda tx: tx.rows("SELECT 1")) == [(1,)]

    async def test_copies_at_each_acknowledgement(self, path, tmp_path):
        """What was acknowledged is in database and log at that moment, whatever comes after."""
        copies = []
        async with SQLiteJournal(path) as journal:
            for i in range(20):
                await journal.record(receipt(f"c{i}"))
                copies.append(tmp_path / f"copy{i}" / "calls.db")
                copies[-1].parent.mkdir()
                for name in ("calls.db", "calls.db-wal"):
                    shutil.copy(path.with_name(name), copies[-1].with_name(name))

        for count, copy in enumerate(copies, start=1):
            with closing(sqlite3.connect(copy)) as opened:
                assert opened.execute("SELECT count(*) FROM receipts").fetchone() == (count,)
                assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def reach(folder):
    """Let anybody pass through the folders above, as far as pytest made them."""
    for above in folder.parents:
        if "pytest" not in str(above):
            break
        above.chmod(0o755)


class TestWaiting:
    async def test_too_many(self, path):
        """What waits is bounded: more is refused at once."""
        async with SQLiteJournal(path, most_waiting=5) as journal:
            told = await asyncio.gather(
                *(journal.record(receipt(f"c{i}")) for i in range(9)), return_exceptions=True
            )

            assert told.count(Recorded.NEW) == 5
            assert [str(one) for one in told if one != Recorded.NEW] == [
                "too many writes wait for the journal already"
            ] * 4
            assert await journal.record(receipt("c8")) == Recorded.NEW

    async def test_cancelled(self, path):
        """Who stops waiting for a commit does not undo it."""
        async with SQLiteJournal(path) as journal:
            with locked(path):
                waiting = asyncio.ensure_future(journal.record(receipt()))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting

            assert await journal.record(receipt()) == Recorded.DUPLICATE

    async def test_one_fails_alone(self, path):
        """What fails of a batch fails alone."""
        async with SQLiteJournal(path) as journal:
            told = await asyncio.gather(
                journal.record(receipt("c1")),
                journal._write(lambda tx: 1 / 0),
                journal._write(lambda tx: tx.rows("SELECT nonsense")),
                journal.record(receipt("c2")),
                journal.record(receipt("c2")),
                return_exceptions=True,
            )

            assert [told[0], *told[3:]] == [Recorded.NEW, Recorded.NEW, Recorded.DUPLICATE]
            assert [type(one) for one in told[1:3]] == [ZeroDivisionError, JournalError]
            assert (await journal.stats())["receipts"] == 2

    async def test_half_an_operation(self, path):
        """What an operation did before it failed is undone."""

        def half(tx):
            tx.change("DELETE FROM receipts")
            raise ValueError

        async with SQLiteJournal(path) as journal:
            await journal.record(receipt())
            with pytest.raises(ValueError):
                await journal._write(half)

            assert (await journal.stats())["receipts"] == 1

    async def test_closing_writes_what_waits(self, path):
        """What was ordered before closing is written."""
        async with SQLiteJournal(path) as journal:
            waiting = [asyncio.ensure_future(journal.record(receipt(f"c{i}"))) for i in range(50)]
            await asyncio.sleep(0)

        assert await asyncio.gather(*waiting) == [Recorded.NEW] * 50

    async def test_clock_that_fails(self, path, clock, monkeypatch):
        """Whatever goes wrong in the thread, somebody hears of it, and the thread goes on."""
        async with SQLiteJournal(path, clock=clock) as journal:
            monkeypatch.setattr(clock, "elapsed", 1e300)
            with pytest.raises(JournalError, match="could not write"):
                await journal.record(receipt())
            monkeypatch.undo()

            assert await journal.record(receipt()) == Recorded.NEW


class TestLoops:
    def test_one_after_the_other(self, path):
        """A journal may be opened on one loop after another."""
        journal = SQLiteJournal(path)

        async def use(expected):
            async with journal:
                assert await journal.record(receipt()) == expected

        for expected in (Recorded.NEW, Recorded.DUPLICATE):
            asyncio.run(use(expected))

    async def test_several_at_once(self, path):
        """Loops in several threads may share an open journal."""
        async with SQLiteJournal(path) as journal:

            async def use(name):
                return [await journal.record(receipt(f"{name}-{i}")) for i in range(50)]

            told = await asyncio.gather(
                *(asyncio.to_thread(asyncio.run, use(name)) for name in "abc")
            )

            assert [one for its in told for one in its] == [Recorded.NEW] * 150

    async def test_opened_by_two_tasks(self, path):
        """Tasks that open at once open once, and the last one closes."""
        journal = SQLiteJournal(path)

        async def use(name):
            async with journal:
                return await journal.record(receipt(name))

        assert await asyncio.gather(use("a"), use("b")) == [Recorded.NEW] * 2
        await until(no_thread_is_left)

    async def test_two_in_one_process(self, path):
        """Two journals on one file in one process are two owners."""
        async with SQLiteJournal(path) as one, SQLiteJournal(path) as other:
            await one.record(receipt())
            taken = await claim(one)

            assert await other.record(receipt()) == Recorded.DUPLICATE
            assert not await other.finish(taken)
            assert await one.finish(taken)

    async def test_cancelled_while_opening(self, path):
        """Who stops waiting for it to open leaves no thread behind."""
        opening = asyncio.create_task(SQLiteJournal(path).__aenter__())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        await until(no_thread_is_left)

    async def test_loop_that_is_gone(self, path):
        """A loop that ends before its commit bothers nobody."""
        async with SQLiteJournal(path) as journal:

            async def order():
                journal.record(receipt())
                await asyncio.sleep(0)

            with locked(path):
                await asyncio.to_thread(asyncio.run, order())

            assert await journal.record(receipt()) == Recorded.DUPLICATE


class TestBackup:
    async def test_while_writing(self, path):
        """A backup that is taken while writes go on is whole, and as of one moment."""
        async with SQLiteJournal(path) as journal:
            for i in range(100):
                await journal.record(receipt(f"a{i}"))
            writing = asyncio.gather(*(journal.record(receipt(f"b{i}")) for i in range(500)))
            await journal.backup(path.with_name("copy.db"))
            await writing

        with closing(sqlite3.connect(path.with_name("copy.db"))) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (receipts,) = copy.execute("SELECT count(*) FROM receipts").fetchone()
            (events,) = copy.execute("SELECT count(*) FROM events").fetchone()
        assert 100 <= receipts == events

    async def test_restored_while_the_original_lives(self, path, tmp_path):
        """Dials under way in a copy belong to nobody who is there: after a lease they are over."""
        async with SQLiteJournal(path) as journal:
            await intend(journal)
            await journal.backup(tmp_path / "copy.db")

        async with SQLiteJournal(tmp_path / "copy.db", lease=0.3) as copy:

            async def over():
                return (await state_of(copy)).state == "not_sent"

            await until(over)


class TestSchema:
    SECOND = "ALTER TABLE dials ADD COLUMN note TEXT; CREATE TABLE notes (text TEXT);"
    THIRD = "INSERT INTO notes VALUES ('third'); -- a comment; with a semicolon\n"

    async def schema_of(self, path):
        with closing(sqlite3.connect(path)) as file:
            return file.execute("SELECT schema, min_reader FROM meta").fetchone()

    async def test_forward(self, path, monkeypatch):
        """An older file is brought forward, step by step, and loses nothing."""
        async with SQLiteJournal(path) as journal:
            await journal.record(receipt())
        assert await self.schema_of(path) == (1, 1)

        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, self.SECOND, self.THIRD))
        monkeypatch.setattr(schema, "MIN_READER", 2)
        async with SQLiteJournal(path) as journal:
            assert await journal.record(receipt()) == Recorded.DUPLICATE
            assert await journal._read(lambda tx: tx.rows("SELECT * FROM notes")) == [("third",)]

        assert await self.schema_of(path) == (3, 2)

    async def test_five_at_once(self, path, monkeypatch):
        """Of five that open at once, one migrates."""
        async with SQLiteJournal(path):
            pass
        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, self.SECOND, self.THIRD))

        async def count():
            async with SQLiteJournal(path) as journal:
                return (await journal._read(lambda tx: tx.rows("SELECT count(*) FROM notes")))[0][0]

        assert await asyncio.gather(*(count() for _ in range(5))) == [1] * 5

    async def test_step_that_fails(self, path, monkeypatch):
        """A step that fails half-way leaves the file as it was."""
        async with SQLiteJournal(path) as journal:
            await journal.record(receipt())
        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, self.SECOND + "SELECT nonsense;"))

        with pytest.raises(JournalError, match="nonsense"):
            await SQLiteJournal(path).__aenter__()

        monkeypatch.undo()
        async with SQLiteJournal(path) as journal:
            assert await journal.record(receipt()) == Recorded.DUPLICATE
        assert await self.schema_of(path) == (1, 1)

    async def test_newer_that_we_can_use(self, path):
        """A newer schema that says we can use it is used, and not taken back."""
        async with SQLiteJournal(path):
            pass
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE meta SET schema = 9, min_reader = 1")

        async with SQLiteJournal(path) as journal:
            assert await journal.record(receipt()) == Recorded.NEW
        assert await self.schema_of(path) == (9, 1)

    async def test_newer_that_we_cannot_use(self, path):
        """A newer schema that we can't use is refused, with what to do."""
        async with SQLiteJournal(path):
            pass
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE meta SET schema = 9, min_reader = 8")

        with pytest.raises(JournalError, match="newer release"):
            await SQLiteJournal(path).__aenter__()


class TestVersions:
    @pytest.mark.parametrize(
        ("version", "warned"),
        [
            ((3, 40, 1), True),
            ((3, 44, 6), False),
            ((3, 44, 5), True),
            ((3, 50, 7), False),
            ((3, 50, 6), True),
            ((3, 51, 2), True),
            ((3, 51, 3), False),
            ((3, 60, 0), False),
        ],
    )
    async def test_old_builds(self, path, monkeypatch, caplog, version, warned):
        """Builds that can lose writes are named, once they are used."""
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        caplog.set_level(logging.INFO)

        async with SQLiteJournal(path):
            pass

        assert ("can lose writes" in caplog.text) == warned


class TestTexts:
    async def test_numbers_in_errors(self, path, monkeypatch):
        """An error of SQLite's shows no number."""

        def fail(tx):
            raise sqlite3.OperationalError("near +919876543210")

        async with SQLiteJournal(path) as journal:
            with pytest.raises(JournalError) as caught:
                await journal._write(fail)

        assert "9876543210" not in f"{caught.value}{caught.value.message}"

    def test_begin_gives_up(self, path):
        """Who waits for another program's lock waits as long as told."""
        sqlite3.connect(path).close()
        with closing(database.connect(path)) as connection, locked(path):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                database.begin(connection, until=0.0)

    async def test_answer_with_an_error(self, path):
        """An error of any kind is read back as one of ours."""
        async with SQLiteJournal(path) as journal:
            await intend(journal)
            await journal.answered("d1", Answered(state=DialState.UNKNOWN, error=JournalError("x")))

            error = (await state_of(journal)).error
        assert (type(error), error.message) == (JournalError, "x")


def plans_of(operation, *args, **kwargs):
    """List how SQLite looks for the rows of an operation's queries."""
    queries = []
    with closing(database.connect(None)) as connection:
        database.migrate(connection)
        tx = database.SQLiteTransaction(connection, namespace="n", owner="o", now=1.0)
        connection.set_trace_callback(queries.append)
        operation(tx, *args, **kwargs)
        connection.set_trace_callback(None)
        return [
            row[3] for query in queries for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")
        ]


class TestPlans:
    @pytest.mark.parametrize(
        ("operation", "args"),
        [(delivering.claim, {"most": 9, "tries": 3}), (delivering.next_due, {})],
    )
    def test_claiming(self, operation, args):
        """Who looks for work looks at what waits and what is held, not at all that is kept."""
        plans = plans_of(operation, TOPICS, **args)

        assert any("events_due" in plan for plan in plans)
        # The parts that a claim puts together hold no more than it may take.
        scans = [plan for plan in plans if re.match("SCAN (?!part|far|CONSTANT)", plan)]
        assert not scans
        assert not [plan for plan in plans if "events_by_age" in plan]

    @pytest.mark.parametrize(
        ("operation", "index"),
        [
            (keeping.prune_events, "events_by_age"),
            (keeping.erase_receipts, "receipts_whole"),
            (keeping.prune_receipts, "receipts_erased"),
            (keeping.prune_dials, "dials_by_age"),
            (keeping.prune_keys, "keys_alone"),
        ],
    )
    def test_pruning(self, operation, index):
        """Each slice begins with what is to go: what stays is not read over and over."""
        plans = plans_of(operation, before=1.0)

        assert any(f"INDEX {index} (ns=? AND" in plan for plan in plans)


class TestTurns:
    def test_one_that_never_rests(self, path):
        """Who wants the lock again at once leaves those who wait for it their turns."""
        over, got = threading.Event(), []

        def hammer():
            lock = FileLock(path)
            while not over.is_set() and lock.take(until=time.monotonic() + PATIENCE):
                got.append(True)
                time.sleep(0.02)  # longer than anybody looks away
                lock.give_back()

        busy = threading.Thread(target=hammer)
        busy.start()
        other, waited = FileLock(path), []
        try:
            for _ in range(20):
                time.sleep(0.005)  # in which the busy one has it again
                before = len(got)
                assert other.take(until=time.monotonic() + PATIENCE)
                waited.append(len(got) - before)
                other.give_back()
        finally:
            over.set()
            busy.join()

        assert sum(waited) <= 2 * len(waited)

    def test_one_that_stands_still(self, path):
        """Who was stopped while waiting for the lock keeps nobody else from it."""
        stopped = FileLock(path.with_name(f"{path.name}-next"))
        assert stopped.try_take()

        assert FileLock(path).take(until=time.monotonic())
        stopped.give_back()
