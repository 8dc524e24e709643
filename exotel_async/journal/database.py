"""One SQLite connection: how it is opened, and a transaction on it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from exotel_async.errors import JournalError, mask_secrets

from . import schema
from .transaction import Row, Transaction

T = TypeVar("T")

_OURS = {"meta", "owners", "dials", "receipts", "events"}  # tables by which a journal is known
_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",  # checkpoints are ours: see `sqlite`
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
)
_PAGES = 256  # given back in one transaction
_STATEMENTS = 256  # kept prepared; `together` alone has ninety-six
_PATIENCE = 0.25  # seconds in which SQLite itself asks for a lock; the lock file does the waiting
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def connect(path: Path | None) -> sqlite3.Connection:
    """Open a file that is there, or memory; transactions are begun and ended by us alone."""
    # By its name alone SQLite would make a new file where somebody has deleted ours.
    name = ":memory:" if path is None else f"{path.as_uri()}?mode=rw"
    connection = sqlite3.connect(
        name, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, uri=True,
        cached_statements=_STATEMENTS,
    )  # fmt: skip
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def watch(path: Path) -> sqlite3.Connection:
    """Open a file that is there for a look: nothing is written, and it is not checkpointed."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro", timeout=_PATIENCE, isolation_level=None, uri=True
    )


def _set_up(connection: sqlite3.Connection) -> None:
    # Only in a file that is new: to say them again takes a lock, which others may hold.
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def begin(connection: sqlite3.Connection, *, until: float) -> None:
    """Begin to write, waiting until then (by `time.monotonic`) for other programs to end it."""
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() >= until:
                raise


class SQLiteTransaction:
    """What an operation sees of a connection."""

    __slots__ = ("_execute", "namespace", "now", "owner")

    for_update: str = ""  # one writes at a time

    def __init__(
        self, connection: sqlite3.Connection, *, namespace: str, owner: str, now: float
    ) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self.namespace: str = namespace
        self.owner: str = owner
        self.now: float = now

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Run a statement; return its rows."""
        return self._execute(sql, parameters).fetchall()

    def mine_alone(self, names: Sequence[str], *, most: int) -> Sequence[str]:
        """Keep some of these; nobody else writes at the same time."""
        return names[:most]

    def moment(self) -> float:
        """Tell what time it is by now: nothing was waited for since `now`."""
        return self.now

    def change(self, sql: str, *parameters: Any) -> int:
        """Run a statement; return how many rows it touched."""
        return self._execute(sql, parameters).rowcount


@contextmanager
def told_as_ours(doing: str) -> Iterator[None]:
    """Raise what SQLite raises as a JournalError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise failure(doing, error) from error


def failure(doing: str, error: BaseException) -> JournalError:
    """Say what went wrong; SQLite's own words name no values."""
    return JournalError(mask_secrets(f"the journal could not {doing}: {error}"))


def migrate(connection: sqlite3.Connection) -> int:
    """Bring a store to the newest schema, one step after the other; tell how many were taken."""
    taken = 0
    known = known_schema(connection)
    for number, step in enumerate(schema.STEPS, start=1):
        if number > known:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if known_schema(connection) < number:  # not migrated by another meanwhile
                    _take_step(connection, step, number=number)
                    taken += 1
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    return taken


def _take_step(connection: sqlite3.Connection, step: str, *, number: int) -> None:
    for statement in schema.statements(step):
        connection.execute(statement)
    connection.execute("UPDATE meta SET schema = ?, min_reader = ?", (number, schema.MIN_READER))


def known_schema(connection: sqlite3.Connection) -> int:
    """Read which schema a store has, 0 where it is empty."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    if not tables >= _OURS:
        raise JournalError("the file is a SQLite database of something else, not a journal")
    known, min_reader = connection.execute("SELECT schema, min_reader FROM meta").fetchone()
    if min_reader > len(schema.STEPS):
        raise JournalError(
            f"the journal has schema {known}, which needs a newer release of exotel_async "
            f"(this one knows {len(schema.STEPS)})"
        )
    return int(known)


def give_back_pages(tx: Transaction) -> int:
    """Make the file smaller by some pages that nothing is in; tell how many there were."""
    ((free,),) = tx.rows("PRAGMA freelist_count")
    pages = min(int(free), _PAGES)
    for _ in range(pages):  # one by one: a driver that expects no rows takes one step only
        tx.rows("PRAGMA incremental_vacuum(1)")
    return pages


def copy_into(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a database into a new file that its owner alone can read."""
    with created(path):
        _copy(connection, path)


def _copy(connection: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(path)) as target:
        connection.backup(target)


@contextmanager
def created(path: Path) -> Iterator[None]:
    """Make a new file that its owner alone can read, unless filling it fails."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)  # half a copy is none
        raise
