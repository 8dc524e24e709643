"""Who carries orders out: a few threads, each with a connection's worth of work at a time.

Callbacks that wait together are committed together, and nobody waits for company. All else is a
transaction by itself: it may have to wait for rows that another process keeps, and nothing else
should wait with it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from exotel_async.errors import JournalError
from exotel_async.journal.orders import Order, answer
from exotel_async.journal.receiving import record
from exotel_async.journal.together import MARKS

_MOST_TOGETHER = 512  # orders in one commit
_BATCHES = 2  # that are on their way at once: one is carried out while another is committed

CarryOut = Callable[[Sequence[Order], int], None]


class Crew:
    """Threads that take orders from event loops."""

    def __init__(self, carry_out: CarryOut, *, threads: int, most_waiting: int) -> None:
        self._carry_out = carry_out
        self._most_waiting = most_waiting
        self._turn = threading.Condition()
        # Not callbacks and marks in one transaction: two such could wait for each other.
        self._callbacks: deque[Order] = deque()
        self._marks: deque[Order] = deque()
        self._singly: deque[Order] = deque()
        self._batches = 0
        self._most_batches = min(_BATCHES, max(1, threads - 1))
        self._given: dict[asyncio.AbstractEventLoop, list[Order]] = {}
        self._ending = False
        self._threads = [
            threading.Thread(
                target=self._work, args=(slot,), name=f"exotel-journal-{slot}", daemon=True
            )
            for slot in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Carry out what waits, then work no more."""
        with self._turn:
            self._ending = True
            for loop in tuple(self._given):
                self._queue(loop)
            self._turn.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(self, order: Order) -> None:
        """Take an order; it goes out with all that its loop gives in the same turn."""
        with self._turn:
            given = self._given.get(order.loop, [])
            waiting = sum(len(queue) for queue in self._queues) + len(given)
            if self._ending:
                order.future.set_exception(JournalError("the journal is closed"))
            elif waiting >= self._most_waiting:
                order.future.set_exception(
                    JournalError("too many operations wait for the journal already")
                )
            else:
                given.append(order)
                if len(given) == 1:
                    self._given[order.loop] = given
                    order.loop.call_soon(self._hand_over, order.loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._turn:
            self._queue(loop)

    def _queue(self, loop: asyncio.AbstractEventLoop) -> None:
        given = self._given.pop(loop, [])
        for order in given:
            self._queue_of(order).append(order)
        self._turn.notify(len(given))

    # In the threads.

    def _work(self, slot: int) -> None:
        while orders := self._take():
            self._carry_out(orders, slot)
            answer(orders)
            if self._queue_of(orders[0]) is not self._singly:
                self._end_batch()

    def _take(self) -> list[Order]:
        """Wait for something to do; nothing at the end."""
        with self._turn:
            while not (orders := self._next()) and not (self._ending and self._is_empty()):
                self._turn.wait()
            return orders

    def _next(self) -> list[Order]:
        waiting = [queue for queue in (self._callbacks, self._marks) if queue]
        if waiting and self._batches < self._most_batches:
            self._batches += 1
            longest = min(waiting, key=lambda queue: queue[0].given_at)
            return [longest.popleft() for _ in range(min(len(longest), _MOST_TOGETHER))]
        return [self._singly.popleft()] if self._singly else []

    def _end_batch(self) -> None:
        with self._turn:
            self._batches -= 1
            if self._callbacks or self._marks or self._ending:
                self._turn.notify_all()

    def _is_empty(self) -> bool:
        return not (any(self._queues) or self._given)

    @property
    def _queues(self) -> tuple[deque[Order], ...]:
        return self._callbacks, self._marks, self._singly

    def _queue_of(self, order: Order) -> deque[Order]:
        if order.operation is record:
            return self._callbacks
        return self._marks if order.operation in MARKS else self._singly


def expired(order: Order, *, timeout: float) -> bool:
    """Tell whether an order waited for so long that whoever gave it waits no more."""
    return time.monotonic() - order.given_at >= timeout
