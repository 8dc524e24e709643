"""How does an event reach its handlers: one after the other, all of them, within a time limit."""

from __future__ import annotations

import asyncio
import logging

from exotel_async.errors import mask_numbers
from exotel_async.models.events import StatusCallback

from .router import AnyHandler, CallbackRouter

_logger = logging.getLogger("exotel_async.events")


async def deliver(event: StatusCallback, router: CallbackRouter, *, within: float) -> bool:
    """Await the handlers of an event; tell whether all did well.

    A handler that fails is logged and does not keep the next from running. After `within`
    seconds for all together the one that runs is cancelled, and none is started any more.
    """
    done_well = True
    try:
        async with asyncio.timeout(within) as limit:
            for handler in router.handlers_for(event):
                done_well &= await _run(handler, event)
                if _is_over(limit):
                    raise TimeoutError  # noqa: TRY301 - the one way out for what is late
    except TimeoutError:  # ours: what a handler raises is caught where it runs
        _logger.exception("handlers of %s took more than %g s", _name(event), within)
        return False
    return done_well


def _is_over(limit: asyncio.Timeout) -> bool:
    """Tell whether the time is over, though no cancellation says so.

    A handler may swallow it, or block the loop so that nobody can be cancelled.
    """
    end = limit.when()
    return limit.expired() or (end is not None and asyncio.get_running_loop().time() >= end)


async def _run(handler: AnyHandler, event: StatusCallback) -> bool:
    try:
        await handler(event)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled us: the handler awaited something that was cancelled elsewhere.
        _logger.exception("handler %s was cancelled from within", _name_of(handler))
        return False
    except Exception:
        _logger.exception("handler %s failed for %s", _name_of(handler), _name(event))
        return False
    return True


def _name(event: StatusCallback) -> str:
    # The Sid is what a caller of ours chose: no line breaks of theirs in our log.
    return f"{type(event).__name__} of call {mask_numbers(ascii(event.call_sid[:64]))}"


def _name_of(handler: AnyHandler) -> str:
    return getattr(handler, "__qualname__", None) or type(handler).__name__
