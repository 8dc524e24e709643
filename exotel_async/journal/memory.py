"""A journal that forgets everything when its process ends: for tests."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from exotel_async.errors import JournalError
from exotel_async.models.clock import Clock

from . import owners
from .database import SQLiteTransaction, connect, copy_into, migrate, told_as_ours
from .journal import Journal
from .transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")


class MemoryJournal(Journal):
    """Keeps what a `SQLiteJournal` keeps, by the same rules, in memory: for tests, and no crash.

    What it holds is lost when it is closed.
    """

    def __init__(self, *, namespace: str = "default", clock: Clock | None = None) -> None:
        super().__init__(namespace=namespace, clock=clock)
        self._connection: sqlite3.Connection | None = None
        self._owner = uuid4().hex
        self._turn = threading.Lock()  # of several loops in several threads

    async def _open(self) -> None:
        self._connection = connect(None)
        migrate(self._connection)
        await self._write(owners.register)

    async def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _write(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        connection = self._require_open()
        with self._turn, told_as_ours("write"):
            before = connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = operation(self._transaction(connection), *args, **kwargs)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        if connection.total_changes != before:
            self._tell_listeners()
        return result

    async def _read(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._turn, told_as_ours("read"):
            return operation(self._transaction(self._require_open()), *args, **kwargs)

    async def backup(self, path: str | Path) -> None:
        """Copy what is there into a new SQLite file."""
        connection = self._require_open()
        with told_as_ours("back up"):
            copy_into(connection, Path(path))

    def _transaction(self, connection: sqlite3.Connection) -> SQLiteTransaction:
        return SQLiteTransaction(
            connection,
            namespace=self.namespace,
            owner=self._owner,
            now=self.clock.now().timestamp(),
        )

    def _require_open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError("the journal is not open: use `async with journal:` or its lifespan")
        return self._connection
