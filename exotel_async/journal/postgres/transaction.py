"""What does an operation see of a PostgreSQL connection, and how may its transaction fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import psycopg
from psycopg import Connection, errors

from exotel_async.errors import JournalError, mask_secrets
from exotel_async.journal.transaction import Row
from exotel_async.models.clock import Clock

# What a second try may cure: the server stopped or started, somebody else's transaction stood in
# the way, or a row came into being between two statements.
_PASSING = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.UniqueViolation,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,  # what was the primary is a standby now
    errors.TooManyConnections,
)
_NAMES = 0x65786F74  # the class of these names among all advisory locks of a database
_NO_TEXT = str.maketrans({"\0": "\ufffd"})


class PostgresTransaction:
    """What an operation sees of a connection."""

    __slots__ = ("_clock", "_cursor", "changed", "namespace", "now", "owner")

    for_update: str = " FOR UPDATE"

    def __init__(
        self,
        connection: Connection[Row],
        *,
        namespace: str,
        owner: str,
        now: float,
        clock: Clock | None,
    ) -> None:
        self._cursor = connection.cursor()
        self._clock = clock
        self.changed: bool = False  # whether any row was touched
        self.namespace: str = namespace
        self.owner: str = owner
        self.now: float = now

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Run a statement; return its rows."""
        self._execute(sql, parameters)
        found = self._cursor.fetchall()
        if found and not (self._cursor.statusmessage or "").startswith("SELECT"):
            self.changed = True
        return found

    def change(self, sql: str, *parameters: Any) -> int:
        """Run a statement; return how many rows it touched."""
        self._execute(sql, parameters)
        self.changed = self.changed or self._cursor.rowcount > 0
        return self._cursor.rowcount

    def mine_alone(self, names: Sequence[str], *, most: int) -> Sequence[str]:
        """Keep some of these, the first that nobody else keeps, until this is committed.

        The server knows them by a number of 32 bits: one may count as kept because of another.
        """
        if not names:
            return []
        numbers = [crc32(f"{self.namespace} {name}".encode()) - 2**31 for name in names]
        rows = self.rows(
            "SELECT place FROM unnest(?::int[]) WITH ORDINALITY AS asked (name, place)"
            f" WHERE pg_try_advisory_xact_lock({_NAMES}, name) LIMIT ?",
            numbers, most,
        )  # fmt: skip
        return [names[place - 1] for (place,) in rows]

    def moment(self) -> float:
        """Tell what time it is by now: `now` is from before whatever was waited for."""
        if self._clock is not None:
            return self._clock.now().timestamp()
        ((seconds,),) = self.rows("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(seconds)

    def alone(self, work: Callable[[], None]) -> Exception | None:
        """Do something that may fail by itself; tell why it did, with nothing of it done."""
        self._execute("SAVEPOINT alone", ())
        failed = None
        try:
            work()
        except Exception as error:
            if is_passing(error, self._cursor.connection):
                raise
            self._execute("ROLLBACK TO alone", ())
            failed = failure("write", error) if isinstance(error, psycopg.Error) else error
        self._execute("RELEASE alone", ())
        return failed

    def _execute(self, sql: str, parameters: tuple[Any, ...]) -> None:
        statement = translated(sql)
        try:
            self._cursor.execute(statement, parameters)
        except (psycopg.DataError, UnicodeEncodeError):
            spelt = tuple(_storable(value) for value in parameters)
            if spelt == parameters:
                raise
            self._cursor.execute(statement, spelt)


@lru_cache(maxsize=1024)
def translated(sql: str) -> bytes:
    """Write a statement's places as psycopg does.

    >>> translated("SELECT 1 WHERE topic LIKE 'a%' AND ns = ?")
    b"SELECT 1 WHERE topic LIKE 'a%%' AND ns = %s"
    """
    return sql.replace("%", "%%").replace("?", "%s").encode()


def _storable(value: object) -> object:
    """Replace what no text in PostgreSQL can hold; it is refused before anything is sent."""
    if not isinstance(value, str):
        return value
    return value.translate(_NO_TEXT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_passing(error: BaseException, connection: Connection[Any]) -> bool:
    """Tell whether a transaction that failed so may be carried out anew."""
    return isinstance(error, _PASSING) or (isinstance(error, psycopg.Error) and connection.closed)


def failure(doing: str, error: BaseException) -> JournalError:
    """Say what went wrong, in the server's first line; its others may hold values."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    return JournalError(mask_secrets(f"the journal could not {doing}: {said}"))
