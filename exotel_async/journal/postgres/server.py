"""How is something written to PostgreSQL once, whatever becomes of the connection meanwhile.

Each transaction begins by counting up a number in a row of its own, its slot. Whoever takes over
the work of a process that seems dead removes its slots: what that one does from then on is void.
And where a connection is lost while it commits, the slot tells afterwards whether it did.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import attrs
import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from exotel_async.errors import JournalError
from exotel_async.journal.transaction import Row
from exotel_async.models.clock import Clock

from .transaction import PostgresTransaction, failure, is_passing

T = TypeVar("T")
Work = Callable[[PostgresTransaction], T]
_Waiting = Generator[Any, Any, T]  # as psycopg waits for a socket

_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds before something is tried again
_CONNECTING = 0.25  # seconds in which a pool gives up a connection; the next who asks tries anew
_ASKING = 0.8  # seconds after which who waits for a connection asks anew
_SILENCE = 0.5  # seconds beyond its time, after which a server that keeps silent is given up
_OFF = "off"
_NOW = "extract(epoch FROM clock_timestamp())::float8"
_LATEST = "ISOLATION LEVEL READ COMMITTED"  # whatever the database's own is
_STEADY = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
_IDLE = psycopg.pq.TransactionStatus.IDLE


class LostNameError(Exception):
    """Others took over our work: nothing may be done in our name any more."""


class _AgainError(Exception):
    """Nothing was committed, and another try may do better."""


@attrs.frozen
class Place:
    """Where a transaction counts itself: the row of one thread of one opened journal."""

    owner: str
    slot: int | None  # None: nowhere, since it may be carried out twice


@attrs.frozen(kw_only=True)
class Settings:
    """What all transactions of a journal have in common."""

    dsn: str = attrs.field(repr=False)
    schema: str
    namespace: str
    clock: Clock | None  # None: the server's own
    timeout: float  # seconds for all tries together
    connections: int
    prepared_statements: bool


class PatientConnection(Connection[Row]):
    """A connection that is closed when its server keeps silent for too long.

    A network may swallow whatever is sent and acknowledge it nevertheless.
    """

    until: float = math.inf  # by `time.monotonic`

    def wait(self, gen: _Waiting[T], *args: Any, **kwargs: Any) -> T:
        """Wait for the server, as long as it may take."""
        return super().wait(self._patiently(gen), *args, **kwargs)

    def _patiently(self, gen: _Waiting[T]) -> _Waiting[T]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() >= self.until:
                    self.close()
                    raise psycopg.OperationalError("the server keeps silent")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


class Server:
    """Carries out transactions; to be called from threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: ConnectionPool[PatientConnection] = ConnectionPool(
            with_patience(settings.dsn, settings.timeout),
            connection_class=PatientConnection,
            min_size=1,
            max_size=settings.connections + 1,  # who must show that he lives, waits for nobody
            kwargs={
                "autocommit": True,
                "prepare_threshold": 5 if settings.prepared_statements else None,
            },
            timeout=settings.timeout,
            reconnect_timeout=_CONNECTING,
            name="exotel-journal",
            open=False,
        )

    def open(self) -> None:
        """Begin to connect."""
        self._pool.open()

    def close(self) -> None:
        """Let go of all connections."""
        self._pool.close()

    def write(self, work: Work[T], place: Place, *, until: float) -> T:
        """Do something in a transaction that is committed when this returns.

        It is done anew where the server was gone or others stood in the way, until that moment (by
        `time.monotonic`). Raises JournalError, LostNameError, or what `work` itself raises.
        """
        return self._repeatedly(lambda: self._write(work, place, until=until), until=until)

    def read(self, work: Work[T], *, owner: str, until: float) -> T:
        """Do something that changes nothing, on the state of one moment."""
        return self._repeatedly(lambda: self._read(work, owner, until=until), until=until)

    def _repeatedly(self, attempt: Callable[[], T], *, until: float) -> T:
        pause = _PAUSE
        while True:
            try:
                return attempt()
            except _AgainError as error:
                cause = error.__cause__ or error
                if time.monotonic() + pause >= until:
                    raise failure("be reached in time", cause) from cause
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    # One try.

    def _write(self, work: Work[T], place: Place, *, until: float) -> T:
        connection = self._connection(until)
        try:
            try:
                token, now = self._begin(connection, place, until=until)
                result = work(self._transaction(connection, place.owner, now=now))
            except psycopg.Error as error:
                raise _told(error, connection) from error
            lost = _commit(connection)
        finally:
            self._let_go(connection)  # before others are asked for: they may all be lost
        if lost is not None and not self._is_committed(place, token, until=until):
            raise _AgainError from lost
        return result

    def _begin(
        self, connection: PatientConnection, place: Place, *, until: float
    ) -> tuple[int, float]:
        told = f"{_NOW}, current_setting('synchronous_commit')"
        count = (
            f"SELECT 0, {told}"
            if place.slot is None
            else f"UPDATE slots SET token = token + 1 WHERE {_at(place)} RETURNING token, {told}"
        )
        row = _last_row(connection, f"{self._beginning(until)} {count}")
        if row is None:
            raise LostNameError
        token, now, synchronous = row
        if synchronous == _OFF:
            raise JournalError(
                "the journal needs a server that keeps what it has acknowledged, but here "
                "synchronous_commit is off: set it to on for this role or database"
            )
        return token, now

    def _read(self, work: Work[T], owner: str, *, until: float) -> T:
        connection = self._connection(until)
        try:
            sql = f"{self._beginning(until, _STEADY)} SELECT {_NOW}"
            (now,) = _last_row(connection, sql) or (0.0,)
            return work(self._transaction(connection, owner, now=now))
        except psycopg.Error as error:
            raise _told(error, connection) from error
        finally:
            self._let_go(connection)

    def _is_committed(self, place: Place, token: int, *, until: float) -> bool:
        """Tell whether a transaction was committed of which the server's answer was lost.

        Its slot is locked as long as it goes on. Raises JournalError where that can't be told.
        """
        if place.slot is None:
            return False

        def look() -> Row | None:
            connection = self._connection(until)
            try:
                return _last_row(
                    connection,
                    f"{self._beginning(until)} SELECT token FROM slots WHERE {_at(place)}"
                    " FOR UPDATE",
                )
            except psycopg.Error as error:
                raise _told(error, connection) from error
            finally:
                self._let_go(connection)

        try:
            row = self._repeatedly(look, until=until)
        except JournalError as error:
            raise _in_doubt() from error
        if row is None:
            raise _in_doubt()
        return bool(row[0] >= token)

    def _connection(self, until: float) -> PatientConnection:
        connection = self._lent(until)
        connection.until = until + _SILENCE
        return connection

    def _lent(self, until: float) -> PatientConnection:
        """Wait for a connection; a pool that gave up its server tries again for who asks anew."""
        while True:
            left = until - time.monotonic()
            try:
                return self._pool.getconn(timeout=max(0.001, min(left, _ASKING)))
            except PoolTimeout as error:
                if left <= _ASKING:
                    raise JournalError(
                        "the journal could not be reached in time: PostgreSQL is down, or has no "
                        "connection to spare"
                    ) from error

    def _let_go(self, connection: PatientConnection) -> None:
        """Give a connection back, whatever its transaction had come to undone."""
        connection.until = time.monotonic() + _SILENCE
        try:
            if not connection.closed and connection.info.transaction_status != _IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()  # its transaction ends with it
        self._pool.putconn(connection)

    def _beginning(self, until: float, how: str = _LATEST) -> str:
        limit = max(1, int((until - time.monotonic()) * 1000))
        # What we do between two statements takes no time, unless we stand still.
        idle = max(1, int(self._settings.timeout * 1000 / 4))
        return (
            f'BEGIN {how}; SET LOCAL search_path TO "{self._settings.schema}";'
            f" SET LOCAL statement_timeout = {limit};"
            f" SET LOCAL idle_in_transaction_session_timeout = {idle};"
        )

    def _transaction(
        self, connection: PatientConnection, owner: str, *, now: float
    ) -> PostgresTransaction:
        clock = self._settings.clock
        return PostgresTransaction(
            connection,
            namespace=self._settings.namespace,
            owner=owner,
            now=now if clock is None else clock.now().timestamp(),
            clock=clock,
        )


def _at(place: Place) -> str:
    return f"owner = '{place.owner}' AND slot = {place.slot}"


def with_patience(dsn: str, seconds: float) -> str:
    """Have a server that falls silent given up after a while, unless the DSN says when."""
    whole = max(2, int(seconds))
    ours: dict[str, Any] = {
        "connect_timeout": whole,
        "keepalives_idle": whole,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * whole,
    }
    return make_conninfo("", **{**ours, **conninfo_to_dict(dsn)})


def _commit(connection: Connection[Any]) -> psycopg.Error | None:
    """Commit; return why it can't be told whether that was done, if it can't."""
    try:
        connection.execute("COMMIT")
    except psycopg.Error as error:
        stood_still = isinstance(error, psycopg.errors.IdleInTransactionSessionTimeout)
        if stood_still or not connection.closed:  # the server has said that it was undone
            raise _told(error, connection) from error
        return error
    return None


def _last_row(connection: Connection[Row], sql: str) -> Row | None:
    """Send several statements at once; return the first row of the last."""
    cursor = connection.execute(sql.encode())
    while cursor.nextset():
        pass
    return cursor.fetchone()


def _told(error: psycopg.Error, connection: Connection[Any]) -> Exception:
    return _AgainError() if is_passing(error, connection) else failure("write", error)


def _in_doubt() -> JournalError:
    return JournalError(
        "the connection was lost while the journal was being written, and it can't be told "
        "whether it was"
    )
