"""A journal in PostgreSQL: for services on many machines."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from exotel_async.errors import ConfigurationError, JournalError
from exotel_async.journal.journal import Journal
from exotel_async.journal.orders import Order
from exotel_async.journal.settings import check_positive, check_whole
from exotel_async.journal.standing import Standing
from exotel_async.journal.transaction import Transaction
from exotel_async.models.clock import Clock

from .backup import copy_into_sqlite
from .clock import ServerClock
from .engine import Engine, Reading, prepare
from .server import Settings
from .standing import look

P = ParamSpec("P")
T = TypeVar("T")

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
# One @ at most, before any path.
_SOUND = re.compile(r"\s*\w+://(?:[^@/?]*@)?[^@/?]*(?:/[^@?]*)?(?:\?[^@=]*=.*)?$", re.DOTALL)
_GRACE = 1.0  # seconds beyond the time-out, for a server that keeps silent


class PostgresJournal(Journal):
    """Keeps callbacks, dials and outcomes in PostgreSQL, for any number of processes and machines.

    - `dsn`: where it is, as libpq wants it: `"postgresql://user@host/database"` or
      `"host=... dbname=..."`. What it leaves out, such as a password, libpq takes from its
      environment (`PGPASSWORD`, `PGSERVICE`) or from files. PostgreSQL 13 or later.
    - `schema`: the schema of that database in which the tables stand, made where it is missing.
    - `namespace`: a service's own part of the tables.
    - `connections`: how many it uses at most, beside one that shows that it lives and one for
      hints.
    - `lease`: seconds after which others take over the work of a process that shows no sign of
      life.
    - `commit_timeout`: seconds after which an operation fails, where the server is down, say.
    - `most_waiting`: operations that may wait; more fail at once.
    - `migrate`: whether opening makes or upgrades the tables; without it
      `exotel-async journal migrate` has to be run before.
    - `prepared_statements`: whether the server may be spared the planning of what it was asked
      before; not behind a pool that gives each transaction another connection, unless that knows
      of them (PgBouncer 1.21 or later).
    - `clock`: what time it is, for tests; the server's own time unless given.

    All promises are the server's: what it acknowledged it must keep. `synchronous_commit=off` is
    refused. Where replication is asynchronous, a failover may lose what was committed last, keys
    of dials too. It works behind a pool of connections (PgBouncer, in transaction mode).
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "exotel_async",
        namespace: str = "default",
        connections: int = 4,
        lease: float = 30.0,
        commit_timeout: float = 8.0,
        most_waiting: int = 10_000,
        migrate: bool = True,
        prepared_statements: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._server_clock = ServerClock()
        super().__init__(namespace=namespace, clock=clock or self._server_clock)
        check_whole("connections", connections, least=2)
        check_whole("most_waiting", most_waiting, least=1)
        check_positive("lease", lease)
        check_positive("commit_timeout", commit_timeout)
        self._settings = Settings(
            dsn=_checked_dsn(dsn),
            schema=_checked_schema(schema),
            namespace=namespace,
            clock=clock,
            timeout=commit_timeout,
            connections=connections,
            prepared_statements=bool(prepared_statements),
        )
        self._lease = lease
        self._most_waiting = most_waiting
        self._migrate = bool(migrate)
        self._engine: Engine | None = None

    async def _open(self) -> None:
        engine = Engine(
            self._settings,
            lease=self._lease,
            most_waiting=self._most_waiting,
            tell=self._tell_listeners,
            listened_to=lambda: bool(self._listeners),
            time_told=self._server_clock.set,
        )
        try:
            await asyncio.to_thread(engine.begin, migrating=self._migrate)
        except asyncio.CancelledError:
            engine.give_up()  # its thread can't be cancelled, and goes on
            raise
        self._engine = engine

    async def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None and engine.pid == os.getpid():
            await asyncio.to_thread(engine.end)

    def _write(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        return self._order(Order, operation, *args, **kwargs)

    def _read(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        return self._order(Reading, operation, *args, **kwargs)

    def _order(
        self,
        kind: type[Order],
        operation: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[T]:
        engine = self._require_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        order = kind(operation, args, kwargs, loop, future, time.monotonic())
        # A server that keeps silent keeps its thread too; who waits for that must not.
        expiry = loop.call_later(self._settings.timeout + _GRACE, _expire, future)
        future.add_done_callback(lambda _: expiry.cancel())
        engine.submit(order)
        return future

    async def migrate(self) -> int:
        """Make or upgrade the tables, without opening; tell how many steps that took.

        Whoever comes second waits and finds it done.
        """
        return await asyncio.to_thread(prepare, self._settings, migrating=True)

    async def standing(self) -> Standing:
        """Tell how the store stands, without opening it: nothing in it is changed."""
        return await asyncio.to_thread(look, self._settings)

    async def backup(self, path: str | Path) -> None:
        """Copy the tables, as they are now, into a new SQLite file that `SQLiteJournal` opens.

        For looking at them elsewhere; what belongs to other namespaces is copied too. Backups of
        the database itself are PostgreSQL's business (`pg_dump`, base backups).
        """
        self._require_open()
        await asyncio.to_thread(copy_into_sqlite, self._settings, Path(path))

    def _require_open(self) -> Engine:
        if self._engine is None:
            raise JournalError("the journal is not open: use `async with journal:` or its lifespan")
        if self._engine.pid != os.getpid():
            raise JournalError("the journal was opened before this process was forked off")
        return self._engine


def _expire(future: asyncio.Future[T]) -> None:
    if not future.done():
        future.set_exception(
            JournalError("PostgreSQL did not answer in time; what was asked may still be done")
        )


def _checked_dsn(dsn: object) -> str:
    if not isinstance(dsn, str) or not dsn.strip() or "\0" in dsn:
        raise ConfigurationError("dsn must be a text: postgresql://user@host/database, say")
    if "://" in dsn and not _SOUND.match(dsn):
        # libpq would take the rest of the password for a host, and name it in its errors.
        raise ConfigurationError("dsn: a password's @ is written %40, its / %2F and its ? %3F")
    return dsn


def _checked_schema(schema: object) -> str:
    if not isinstance(schema, str) or not _NAME.fullmatch(schema):
        raise ConfigurationError(
            "schema must be a name of lower case letters, digits and underscores, "
            f"but is {schema!r}"
        )
    return schema
