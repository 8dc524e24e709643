"""A journal in one file: SQLite, written by one thread and read by another."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from exotel_async.errors import ConfigurationError, JournalError
from exotel_async.models.clock import Clock

from .database import (
    SQLiteTransaction,
    connect,
    copy_into,
    give_back_pages,
    known_schema,
    told_as_ours,
    watch,
)
from .journal import KEPT, KEYS_KEPT, Journal
from .locks import is_free
from .settings import check_positive, check_whole
from .standing import Standing, stand_of
from .transaction import Transaction
from .writer import Writer, lock_of

P = ParamSpec("P")
T = TypeVar("T")

_MENDED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))  # and what follows each in its line

_logger = logging.getLogger("exotel_async.journal")


class SQLiteJournal(Journal):
    """Keeps callbacks and dials in a SQLite file, on a disk of this machine (no network share).

    - `path`: the file; it is made where it is missing, readable for its owner only. Beside it stand
      SQLite's own `-wal` and `-shm` and files with `-lock` and `-owner-` in their names. Copy it
      with `backup`, never with a file copy. Several processes may use one file.
    - `namespace`: keeps services apart that share the file.
    - `lease`: seconds without a heartbeat after which others take over a process's work. One that
      ended is known at once.
    - `commit_timeout`: seconds that a write may wait for the file before it is a JournalError.
    - `most_waiting`: writes that may wait at once; more are refused with a JournalError.
    - `clock`: where time comes from; for tests.

    Every write is committed with `synchronous=FULL` before it counts as done; those that come in
    meanwhile share the next commit.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        namespace: str = "default",
        lease: float = 30.0,
        commit_timeout: float = 8.0,
        most_waiting: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(namespace=namespace, clock=clock)
        limits = {
            "lease": lease,
            "commit_timeout": commit_timeout,
            "most_waiting": most_waiting,
        }
        for name, value in limits.items():
            check_positive(name, value)
        check_whole("most_waiting", most_waiting, least=1)
        self.path: Path = _checked_path(path)
        self._file = self.path.absolute()
        self._lease = lease
        self._commit_timeout = commit_timeout
        self._most_waiting = most_waiting
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._reading: ThreadPoolExecutor | None = None

    async def _open(self) -> None:
        # However it is called: the locks beside it must be the same for all.
        self._file = self.path.resolve()
        _warn_of_old_builds()
        writer = Writer(
            self._file,
            namespace=self.namespace,
            clock=self.clock,
            lease=self._lease,
            commit_timeout=self._commit_timeout,
            most_waiting=self._most_waiting,
            tell=self._tell_listeners,
            listened_to=lambda: bool(self._listeners),
        )
        try:
            await writer.begin()
        except BaseException:
            writer.give_up()
            raise
        self._writer = writer
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="exotel-journal-reader")

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        reading, self._reading = self._reading, None
        try:
            if reading is not None:
                await asyncio.get_running_loop().run_in_executor(reading, self._close_reader)
                reading.shutdown(wait=False)
        finally:
            if writer is not None:
                await writer.end()

    def _write(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        return self._require_open().submit(operation, *args, **kwargs)

    async def _read(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        writer = self._require_open()

        def run() -> T:
            with told_as_ours("read"):
                writer.require_file()
                connection = self._open_reader()
                now = self.clock.now().timestamp()
                tx = SQLiteTransaction(
                    connection, namespace=self.namespace, owner=writer.owner, now=now
                )
                connection.execute("BEGIN")
                try:
                    return operation(tx, *args, **kwargs)
                finally:
                    connection.execute("ROLLBACK")

        return await asyncio.get_running_loop().run_in_executor(self._reading, run)

    async def migrate(self) -> int:
        """Make the file, or upgrade its tables; tell how many steps that took.

        Opening does it, too.
        """
        async with self:
            return self._require_open().steps

    async def standing(self) -> Standing:
        """Tell how the store stands, without opening it: nothing in it is changed."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> Standing:
        path = self.path.resolve()
        with told_as_ours(f"read {path.name}"), closing(watch(path)) as connection:
            connection.execute("BEGIN")
            now = self.clock.now().timestamp()
            tx = SQLiteTransaction(connection, namespace=self.namespace, owner="", now=now)
            return stand_of(
                tx,
                engine=f"SQLite {sqlite3.sqlite_version}",
                schema=known_schema(connection),
                lives=lambda owner: not is_free(lock_of(path, owner)),
            )

    async def prune(
        self,
        *,
        older_than: timedelta = KEPT,
        keys_older_than: timedelta = KEYS_KEPT,
        progress: Callable[[str, int], None] | None = None,
    ) -> dict[str, int]:
        """Erase what is old, as every journal does; the file shrinks by what became free."""
        erased = await super().prune(
            older_than=older_than, keys_older_than=keys_older_than, progress=progress
        )
        while await self._write(give_back_pages):
            pass
        return erased

    async def backup(self, path: str | Path) -> None:
        """Copy the journal, as it is now, into a new file; writes go on meanwhile."""
        writer = self._require_open()

        def run() -> None:
            with told_as_ours("back up"):
                writer.require_file()
                copy_into(self._open_reader(), Path(path))

        await asyncio.get_running_loop().run_in_executor(self._reading, run)

    def _open_reader(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = connect(self._file)
            self._reader.execute("PRAGMA query_only = ON")
        return self._reader

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _require_open(self) -> Writer:
        if self._writer is None:
            raise JournalError("the journal is not open: use `async with journal:` or its lifespan")
        if self._writer.pid != os.getpid():
            raise JournalError("the journal was opened before this process was forked off")
        return self._writer


def _checked_path(path: object) -> Path:
    if not isinstance(path, str | Path) or "\0" in str(path):
        raise ConfigurationError(f"path must be a text or a Path, but is {path!r}")
    if str(path) in ("", ":memory:"):
        raise ConfigurationError("path must be that of a file; for memory take MemoryJournal")
    return Path(path)


def _warn_of_old_builds() -> None:
    version = sqlite3.sqlite_version_info
    if version >= _MENDED[0] or any(
        version[:2] == mended[:2] and version >= mended for mended in _MENDED
    ):
        return
    _logger.info(
        "SQLite %s can lose writes when two connections write and checkpoint at once; ours never "
        "do, but no other program should write to the journal",
        sqlite3.sqlite_version,
    )
