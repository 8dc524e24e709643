"""What runs while a journal in PostgreSQL is open: connections, a crew of threads, a heart."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeVar
from uuid import uuid4

import psycopg

from exotel_async.errors import JournalError
from exotel_async.journal.delivering import claim, release
from exotel_async.journal.orders import Order, carry_out_together
from exotel_async.journal.owners import beat
from exotel_async.journal.records import Claim
from exotel_async.journal.transaction import Transaction

from . import heart
from .crew import Crew, expired
from .heart import Heart
from .hints import Hints
from .migrating import migrate, refuse_old_servers
from .server import LostNameError, Place, Server, Settings, Work, with_patience
from .transaction import PostgresTransaction, failure

T = TypeVar("T")

_BRIEF = 2.0  # seconds that taking leave may take

_logger = logging.getLogger("exotel_async.journal")


class Reading(Order):
    """An order that changes nothing."""


class Engine:
    """Everything that an open journal needs; made, begun and ended outside of event loops."""

    def __init__(
        self,
        settings: Settings,
        *,
        lease: float,
        most_waiting: int,
        tell: Callable[[], None],
        listened_to: Callable[[], bool],
        time_told: Callable[[float], None],
    ) -> None:
        self.pid: int = os.getpid()
        self.owner: str = uuid4().hex
        self._settings = settings
        self._tell = tell
        self._time_told = time_told
        self._naming = threading.Lock()
        self._unwanted: deque[Claim] = deque()
        with reaching():
            self._server = Server(settings)
        self._heart_slot = settings.connections  # beyond those of the crew
        self._crew = Crew(self._carry_out, threads=settings.connections, most_waiting=most_waiting)
        self.heart: Heart = Heart(lease=lease, beat=self._beat, bury=self._bury, tell=tell)
        self._hints = Hints(
            settings.dsn,
            channel=f"exotel_async.{settings.schema}",
            name=self.owner,
            tell=tell,
            listened_to=listened_to,
        )
        self._closing = ExitStack()
        self._ending = threading.Lock()
        self._begun = threading.Event()
        self._given_up = False

    def begin(self, *, migrating: bool) -> None:
        """Connect, see that the tables are there, and begin to live; raises JournalError."""
        prepare(self._settings, migrating=migrating)
        try:
            self._server.open()
            self._closing.callback(self._server.close)
            self._register(self.owner, former=None)
            self._closing.callback(self._leave)
            self.heart.look_around()
            for thread in (self.heart, self._hints, self._crew):
                thread.start()
                self._closing.callback(thread.end)
        except BaseException:
            self._closing.close()
            raise
        self._begun.set()
        if self._given_up:
            self.end()

    def give_up(self) -> None:
        """End by itself, at once or as soon as it has begun: nobody waits for it any more."""
        self._given_up = True
        if self._begun.is_set():
            threading.Thread(target=self.end, name="exotel-journal-end").start()

    def end(self) -> None:
        """Carry out what waits, say good-bye, and let go of all connections."""
        with self._ending:
            self._closing.close()

    def submit(self, order: Order) -> None:
        """Take an order; whoever waits is told when it is committed."""
        if order.operation is claim:
            order.unwanted = self._unwanted.extend
        self._crew.submit(order)

    # In the threads.

    def _carry_out(self, orders: Sequence[Order], slot: int) -> None:
        waited_for = [order for order in orders if not self._is_late(order)]
        if waited_for:
            self._carry_out_in_time(waited_for, slot)

    def _is_late(self, order: Order) -> bool:
        """Fail what waited for so long that nobody wants it any more, such as a claim."""
        late = expired(order, timeout=self._settings.timeout)
        if late:
            order.fail(JournalError("the journal had no time for it: too much waits, for too long"))
        return late

    def _carry_out_in_time(self, orders: Sequence[Order], slot: int) -> None:
        until = orders[0].given_at + self._settings.timeout
        try:
            if isinstance(orders[0], Reading):
                self._server.read(orders[0].carry_out, owner=self.owner, until=until)
            else:
                self._write_down(orders, slot, until=until)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            for order in orders:
                order.regret()  # it may be committed nevertheless
                order.fail(_ours(error))

    def _write_down(self, orders: Sequence[Order], slot: int, *, until: float) -> None:
        changed = False
        if len(orders) == 1:
            changed = self._write(_noting(orders[0].carry_out), slot, until=until)
        else:
            try:
                work = partial(carry_out_together, orders)
                changed = self._write(_noting(work), slot, until=until)
            except Exception:  # noqa: BLE001 - whose fault it is shows when they are alone
                work = partial(_carry_out_apart, orders)
                changed = self._write(_noting(work), slot, until=until)
        if changed:
            self._tell()
            self._hints.announce()

    def _write(self, work: Work[T], slot: int, *, until: float) -> T:
        while True:
            owner = self.owner
            try:
                return self._server.write(work, Place(owner, slot), until=until)
            except LostNameError:
                self._take_new_name(owner)

    def _take_new_name(self, former: str) -> None:
        """Go on under another name, once, whichever thread finds first that ours is void."""
        with self._naming:
            if self.owner == former:
                _logger.warning("others took over our work: this process stood still too long")
                name = uuid4().hex
                self._register(name, former=former)
                self.owner = name  # only now: nobody may find it void before it is known

    def _register(self, name: str, *, former: str | None) -> None:
        work = partial(heart.register, slots=self._heart_slot + 1, former=former)
        self._server.write(work, Place(name, None), until=self._in_time())

    def _beat(self) -> dict[str, int]:
        def work(tx: PostgresTransaction) -> dict[str, int]:
            if self._settings.clock is None:
                self._time_told(tx.now)
            return beat(tx)

        beats = self._write(work, self._heart_slot, until=self._in_time())
        self._give_back_unwanted()
        return beats

    def _give_back_unwanted(self) -> None:
        """Release claims of which nobody was told, or their calls would be ours for ever."""
        unwanted = tuple(self._unwanted)
        if not unwanted:
            return

        def work(tx: PostgresTransaction) -> None:
            for one in unwanted:
                release(tx, one, done=one.done)

        self._write(work, self._heart_slot, until=self._in_time())
        for _ in unwanted:
            self._unwanted.popleft()
        self._tell()

    def _bury(self, owner: str, beat: int) -> bool:
        work = partial(heart.bury, owner=owner, beat=beat)
        return self._write(work, self._heart_slot, until=self._in_time())

    def _leave(self) -> None:
        try:
            place = Place(self.owner, self._heart_slot)
            self._server.write(heart.leave, place, until=time.monotonic() + _BRIEF)
        except (JournalError, LostNameError) as error:
            _logger.warning("%s", failure("say good-bye", error))

    def _in_time(self) -> float:
        return time.monotonic() + self._settings.timeout


def _noting(work: Callable[[Transaction], object]) -> Work[bool]:
    """Have work tell whether it changed anything."""

    def noted(tx: PostgresTransaction) -> bool:
        work(tx)
        return tx.changed

    return noted


def _carry_out_apart(orders: Sequence[Order], tx: PostgresTransaction) -> None:
    for order in orders:
        order.error = tx.alone(partial(order.carry_out, tx))


def _ours(error: Exception) -> Exception:
    return failure("write", error) if isinstance(error, psycopg.Error) else error


def prepare(settings: Settings, *, migrating: bool) -> int:
    """See that the server is there with the right tables; tell how many steps that took."""
    with (
        reaching(),
        psycopg.connect(
            with_patience(settings.dsn, settings.timeout), autocommit=True, prepare_threshold=None
        ) as connection,
    ):
        refuse_old_servers(connection)
        return migrate(connection, settings.schema, allowed=migrating)


@contextmanager
def reaching() -> Iterator[None]:
    """Raise what psycopg raises where it connects as a JournalError."""
    try:
        yield
    except psycopg.ProgrammingError as error:
        raise _no_dsn(error) from None
    except psycopg.Error as error:
        raise failure("be opened", error) from error


def _no_dsn(error: psycopg.Error) -> JournalError:
    """Tell what is wrong; libpq quotes what it can't read of a DSN, and that may be a password."""
    if error.sqlstate is not None:
        return failure("be opened", error)
    return JournalError("dsn can't be read: it must be as libpq wants it, postgresql://host/name")
