"""What waits to be written: an operation, for whom, and how whoever waits is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from .together import TOGETHER
from .transaction import Transaction

_logger = logging.getLogger("exotel_async.journal")


@attrs.define(eq=False)
class Order:
    """What is to be done, for whom, and what became of it."""

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    given_at: float  # by `time.monotonic`
    result: Any = None
    error: BaseException | None = None
    unwanted: Callable[[Any], object] | None = None  # takes a result that came too late

    def carry_out(self, tx: Transaction) -> None:
        """Do it."""
        self.result = self.operation(tx, *self.args, **self.kwargs)

    def fail(self, error: BaseException) -> None:
        """Note that it was not done."""
        self.result, self.error = None, error

    def regret(self) -> None:
        """Have taken back what nobody will hear of."""
        if self.unwanted is not None and self.result is not None:
            self.unwanted(self.result)

    def tell(self) -> None:
        """Tell whoever waits; to be called in their loop."""
        if self.future.done():  # whoever waited was cancelled; what is committed stays
            self.regret()
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


def carry_out_together(orders: Sequence[Order], tx: Transaction) -> None:
    """Carry out as one what can be, and first: who waits at the same time waits in no order."""
    for operation, together in TOGETHER.items():
        alike = [order for order in orders if order.operation is operation]
        if not alike:
            continue
        results = together(tx, [(order.args, order.kwargs) for order in alike])
        for order, result in zip(alike, results, strict=True):
            order.result = result
    for order in orders:
        if order.operation not in TOGETHER:
            order.carry_out(tx)


def answer(orders: Sequence[Order]) -> None:
    """Wake each loop once, however many orders of its were carried out."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Order]] = {}
    for order in orders:
        by_loop.setdefault(order.loop, []).append(order)
    for loop, its in by_loop.items():
        in_loop(loop, _tell_all, its)


def _tell_all(orders: Sequence[Order]) -> None:
    for order in orders:
        order.tell()


def in_loop(loop: asyncio.AbstractEventLoop, tell: Callable[..., object], *args: object) -> None:
    """Have something called in a loop, if that still runs; from any thread."""
    try:
        loop.call_soon_threadsafe(tell, *args)
    except RuntimeError:
        _logger.debug("whoever waited for the journal is gone: its loop is closed")
