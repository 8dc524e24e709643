"""The one thread that writes: what waits is committed together, and nobody waits for company.

It is also the thread whose heartbeats say that this process lives: a handler that blocks the event
loop loses no lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from exotel_async.errors import JournalError
from exotel_async.models.clock import Clock

from . import owners
from .database import SQLiteTransaction, begin, connect, failure, migrate, told_as_ours
from .locks import FileLock, is_free
from .orders import Order, answer, carry_out_together, in_loop
from .together import NAMELESS
from .transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")

_MOST_TOGETHER = 1_000  # orders in one commit
# A slow disk must never be without work. With a quick one it's the threads' hand-overs that cost.
_SLOW = 0.003  # seconds of a COMMIT
_ENOUGH = 8  # orders that a slow disk gets before all tasks had their turn
_LARGEST_WAL = 16 * 2**20  # bytes; then its pages go into the database itself
_BEATS = 6  # heartbeats in a lease
_LOOK_AROUND = 0.05  # seconds between two looks at what other processes committed
_BRIEF = 0.5  # seconds that what we do for ourselves waits for the file
_IDLE = 0.5  # seconds, where nobody waits for that

_logger = logging.getLogger("exotel_async.journal")


class Writer:
    """Takes orders from event loops and carries them out in its thread, batch after batch."""

    def __init__(
        self,
        path: Path,
        *,
        namespace: str,
        clock: Clock,
        lease: float,
        commit_timeout: float,
        most_waiting: int,
        tell: Callable[[], None],
        listened_to: Callable[[], bool],
    ) -> None:
        self.pid: int = os.getpid()
        self.owner: str = uuid4().hex
        self.steps: int = 0  # that it took to bring the tables to the newest schema
        self._path = path
        self._namespace = namespace
        self._clock = clock
        self._beat_every = lease / _BEATS
        self._commit_timeout = commit_timeout
        self._most_waiting = most_waiting
        self._tell = tell
        self._listened_to = listened_to
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._last_took = 0.0
        self._given: dict[asyncio.AbstractEventLoop, list[Order]] = {}
        self._ending = False
        self._gate = threading.Lock()  # several loops may order, and one of them end
        self._lock = FileLock(_beside(path, "lock"))
        self._own_lock: FileLock | None = None  # held as long as this process lives
        self._closing = ExitStack()
        self._large = _LARGEST_WAL
        self._watch = owners.Watch(lease=lease)
        self._next_beat = 0.0
        self._seen = 0
        self._inode: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._run, name="exotel-journal", daemon=True)

    # For the event loop.

    async def begin(self) -> None:
        """Open the file, bring it to the newest schema, and recover what others left behind."""
        loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[None] = loop.create_future()
        self._thread.start()
        await asyncio.shield(self._begun)

    async def end(self) -> None:
        """Carry out what waits, then let go of the file."""
        self.give_up()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def give_up(self) -> None:
        """Take no more orders, and end after the last."""
        with self._gate:
            self._ending = True
            for loop in tuple(self._given):
                self._put(loop)
        self._orders.put(None)

    def submit(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Order an operation; the future is done when it is committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._gate:
            given = self._given.get(loop, [])
            if self._ending:
                future.set_exception(JournalError("the journal is closed"))
            elif self._orders.qsize() + len(given) >= self._most_waiting:
                future.set_exception(JournalError("too many writes wait for the journal already"))
            else:
                given.append(Order(operation, args, kwargs, loop, future, time.monotonic()))
                if len(given) == 1:
                    self._given[loop] = given
                    loop.call_soon(self._hand_over, loop)
                elif len(given) == _ENOUGH and self._last_took > _SLOW:
                    self._put(loop)
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass on, at once, what all tasks ordered that had their turn: one commit, one wake-up."""
        with self._gate:
            self._put(loop)

    def _put(self, loop: asyncio.AbstractEventLoop) -> None:
        for order in self._given.pop(loop, ()):
            self._orders.put(order)

    # In the thread.

    def _run(self) -> None:
        loop, begun = self._begun.get_loop(), self._begun
        try:
            with told_as_ours(f"open {self._path.name}"):
                self._open()
        except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            self._close()
            in_loop(loop, _settle, begun, error)
            return
        in_loop(loop, _settle, begun, None)
        try:
            self._work()
        finally:
            self._let_go()

    def _open(self) -> None:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        deadline = time.monotonic() + self._commit_timeout
        if not self._lock.take(until=deadline):
            raise JournalError("the journal is locked by another process")
        try:
            self._connection = connect(self._path)
            self._closing.callback(self._connection.close)
            self.steps = migrate(self._connection)
        finally:
            self._lock.give_back()
        found = self._path.stat()
        self._inode = (found.st_dev, found.st_ino)
        self._beat(patience=self._commit_timeout)

    def _work(self) -> None:
        while True:
            orders = self._take()
            if orders:
                self._carry_out(orders)
            elif self._ending and self._orders.empty():
                return
            self._tend()

    def _take(self) -> list[Order]:
        """Wait for an order; take along all that wait with it."""
        orders: list[Order] = []
        wait = _LOOK_AROUND if self._listened_to() else _IDLE
        try:
            first = self._orders.get(timeout=min(wait, self._beat_every))
            while True:
                if first is not None:
                    orders.append(first)
                if len(orders) >= _MOST_TOGETHER:
                    break
                first = self._orders.get_nowait()
        except Empty:
            pass
        return orders

    def _carry_out(self, orders: list[Order]) -> None:
        before = self._connection.total_changes
        try:
            self._commit(orders, until=orders[0].given_at + self._commit_timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            ours = error if isinstance(error, JournalError) else failure("write", error)
            for order in orders:
                order.fail(ours)
        if self._connection.total_changes != before:  # or who looks in vain would wake himself
            self._tell()
        answer(orders)

    def _commit(self, orders: list[Order], *, until: float) -> None:
        """Carry out a batch in one transaction; what fails of it fails alone."""
        if not self._lock.take(until=max(until, time.monotonic())):
            raise JournalError("the journal is locked by another process")
        try:
            self.require_file()
            try:
                self._carry_out_all(orders, self._begin(orders, until=until))
                self._make_last()
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._checkpoint_if_large()
        finally:
            self._lock.give_back()

    def _make_last(self) -> None:
        begun = time.monotonic()
        self._connection.execute("COMMIT")
        self._last_took = time.monotonic() - begun

    def _begin(self, orders: list[Order], *, until: float) -> Transaction:
        """Begin a transaction, under a name by which others know that we live.

        Nothing may be held in the name of somebody whose work others have taken over already:
        nobody would ever take that over. What holds nothing needs no name.
        """
        begin(self._connection, until=until)
        nameless = all(order.operation in NAMELESS for order in orders)
        if not nameless and not owners.is_known(self._transaction()):
            self._take_new_name()
        return self._transaction()

    def _take_new_name(self) -> None:
        former, self.owner = self.owner, uuid4().hex
        if self._own_lock is not None:
            _logger.warning("others took over our work: this process stood still too long")
            self._own_lock.remove()
        self._own_lock = FileLock(self._lock_of(self.owner))
        self._own_lock.try_take()
        owners.register(self._transaction(), former=former)

    def _carry_out_all(self, orders: list[Order], tx: Transaction) -> None:
        """Do it the quick way, and only where something is odd each by itself."""
        try:
            carry_out_together(orders, tx)
        except Exception:  # noqa: BLE001 - whose fault it is shows when they are alone
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            tx = self._begin(orders, until=0.0)
            for order in orders:
                self._carry_out_one(order, tx)

    def _carry_out_one(self, one: Order, tx: Transaction) -> None:
        execute = self._connection.execute
        execute("SAVEPOINT one")
        try:
            one.carry_out(tx)
        except Exception as error:
            if not self._connection.in_transaction:  # a full disk undoes all of it
                raise
            execute("ROLLBACK TO one")
            one.error = failure("write", error) if isinstance(error, sqlite3.Error) else error
        execute("RELEASE one")

    def _tend(self) -> None:
        """Do what is due between two batches; what fails is done the next time."""
        try:
            if time.monotonic() >= self._next_beat:
                self._beat()
            if self._listened_to():
                self._look_for_commits()
        except Exception as error:  # noqa: BLE001 - or this thread would end
            _logger.warning("%s", failure("show that it lives", error))

    def _look_for_commits(self) -> None:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._seen:
            self._seen = version
            self._tell()

    def _beat(self, *, patience: float = _BRIEF) -> None:
        """Show that we live, and take over from those who don't."""
        self._next_beat = time.monotonic() + self._beat_every
        beats = self._alone(owners.beat, patience=patience)
        gone = {owner: beats[owner] for owner in beats if is_free(self._lock_of(owner))}
        gone |= dict(self._watch.stale(beats, now=time.monotonic()))
        for owner, beat in gone.items():
            if self._alone(partial(owners.bury, owner=owner, beat=beat)):
                _logger.warning("took over the work of a process that is gone or stands still")
                self._lock_of(owner).unlink(missing_ok=True)
                self._tell()

    def _alone(self, operation: Callable[[Transaction], T], *, patience: float = _BRIEF) -> T:
        """Carry out an operation of our own; orders must not wait long for that."""
        now = time.monotonic()
        order = Order(operation, (), {}, None, None, now)  # type: ignore[arg-type]  # nobody waits for it
        self._commit([order], until=now + patience)
        if order.error is not None:
            raise order.error
        result: T = order.result
        return result

    def _transaction(self) -> SQLiteTransaction:
        return SQLiteTransaction(
            self._connection,
            namespace=self._namespace,
            owner=self.owner,
            now=self._clock.now().timestamp(),
        )

    def require_file(self) -> None:
        """See that the file is still there: SQLite goes on writing to one that was deleted."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise failure("write: its file is gone", error) from error
        if (found.st_dev, found.st_ino) != self._inode:
            raise JournalError("the journal's file was replaced by another; open it anew")

    def _checkpoint_if_large(self) -> None:
        try:
            size = _beside(self._path, "wal").stat().st_size
            if size > self._large:
                sql = "PRAGMA wal_checkpoint(TRUNCATE)"
                (busy, *_) = self._connection.execute(sql).fetchone()
                # While somebody reads, a backup perhaps, it can't be emptied.
                self._large = size + _LARGEST_WAL if busy else _LARGEST_WAL
        except (OSError, sqlite3.Error) as error:  # committed it is all the same
            _logger.warning("%s", failure("checkpoint", error))

    def _let_go(self) -> None:
        """Leave nothing behind: our name, our locks, the connection."""
        try:
            self._alone(owners.leave)
            if self._own_lock is not None:
                self._own_lock.remove()
        except Exception as error:  # noqa: BLE001 - the connection has to be closed
            _logger.warning("%s", failure("say good-bye", error))
        self._close()

    def _close(self) -> None:
        """Close what is open. The last connection of all checkpoints: under the lock, as ever."""
        if self._own_lock is not None:
            self._own_lock.give_back()
        with suppress(OSError):
            self._lock.take(until=time.monotonic() + _BRIEF)
        self._closing.close()
        self._lock.give_back()

    def _lock_of(self, owner: str) -> Path:
        return lock_of(self._path, owner)


def lock_of(path: Path, owner: str) -> Path:
    """Name the file that an owner holds locked as long as it lives."""
    return _beside(path, f"owner-{owner}")


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}-{what}")


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
