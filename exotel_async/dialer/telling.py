"""Who is told how dials ended: handlers of outcomes, at the delivery worker's desk."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from exotel_async.errors import ConfigurationError
from exotel_async.events.worker import Handlers
from exotel_async.journal import Journal
from exotel_async.journal.records import Claim
from exotel_async.journal.texts import outcome_topic
from exotel_async.models.dials import CallOutcome

OutcomeHandler = Callable[[CallOutcome], Awaitable[None]]


class OutcomeDesk:
    """Reads the outcome that a claim stands for, and knows who wants to hear of it."""

    def __init__(self, journal: Journal, *, account: str) -> None:
        self._journal = journal
        self._topic = outcome_topic(account)
        self._handlers: list[tuple[str, OutcomeHandler]] = []

    def add(self, handler: OutcomeHandler) -> None:
        """Take in one more handler; twins are told apart by the order in which they come."""
        if not _is_async(handler):
            raise ConfigurationError(f"a handler must be an async function, not {handler!r}")
        name = _name_of(handler)
        twins = sum(known.partition("#")[0] == name for known, _ in self._handlers)
        self._handlers.append((f"{name}#{twins + 1}" if twins else name, handler))

    def topics(self) -> Collection[str]:
        """List what is claimed: nothing without a handler."""
        return (self._topic,) if self._handlers else ()

    async def handlers_for(self, claim: Claim) -> Handlers:
        """Bind the outcome as it is now to each handler; nobody hears of one that was pruned."""
        found = None if claim.ref is None else await self._journal.look(claim.ref)
        if found is None or found[1] is None:
            return ()
        outcome = found[1]
        return tuple((name, partial(handler, outcome)) for name, handler in self._handlers)


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - the method itself is looked at
    )


def _name_of(handler: object) -> str:
    while isinstance(handler, partial):
        handler = handler.func
    named = handler if hasattr(handler, "__qualname__") else type(handler)
    return f"{named.__module__}:{named.__qualname__}"
