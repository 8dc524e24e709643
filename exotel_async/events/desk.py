"""What are callbacks that a journal holds, and which handlers of a router want them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from datetime import tzinfo
from functools import partial
from typing import Any

import attrs

from exotel_async.errors import JournalError
from exotel_async.journal.receiving import topic
from exotel_async.journal.records import Claim
from exotel_async.models.events import (
    CallAnswered,
    CallTerminated,
    StatusCallback,
    UnknownCallback,
)
from exotel_async.wire.callback import event_of
from exotel_async.wire.converter import converter_for

from .router import CallbackRouter, Registration
from .worker import Handlers

_KINDS = (CallAnswered, CallTerminated, UnknownCallback)


class CallbackDesk:
    """Reads callbacks out of claims, for the handlers of a router."""

    def __init__(self, router: CallbackRouter, *, zone: tzinfo) -> None:
        self._router = router
        self._zone = zone

    def topics(self) -> Collection[str]:
        """List what somebody registered for."""
        return sorted({one for entry in self._router.registrations() for one in _topics(entry)})

    async def handlers_for(self, claim: Claim) -> Handlers:
        """Bind the event to each handler that wants it, in order of registration."""
        event = self._read(claim)
        return [
            (name, partial(entry.handler, event))
            for name, entry in named(self._router.registrations())
            if claim.topic in _topics(entry)
        ]

    def _read(self, claim: Claim) -> StatusCallback:
        if not claim.pairs:
            raise JournalError("what the callback said was erased before it was delivered")
        event = event_of(claim.pairs, converter=converter_for(self._zone), ref=claim.ref)
        return attrs.evolve(event, delivery_id=claim.delivery_id)


def _topics(entry: Registration) -> set[str]:
    told = (False, True) if entry.updates else (False,)
    return {
        topic(kind, update=update)
        for kind in _KINDS
        if issubclass(kind, entry.kinds)
        for update in told
    }


def named(entries: Iterable[Registration]) -> Iterator[tuple[str, Registration]]:
    """Name handlers so that they are known again after a restart; twins are numbered."""
    twins: dict[str, int] = {}
    for entry in entries:
        name = _name_of(entry.handler)
        twins[name] = twins.get(name, 0) + 1
        yield (name if twins[name] == 1 else f"{name}#{twins[name]}"), entry


def _name_of(handler: Callable[..., Awaitable[Any]]) -> str:
    while isinstance(handler, partial):
        handler = handler.func
    where = handler if hasattr(handler, "__qualname__") else type(handler)
    return f"{where.__module__}:{where.__qualname__}"
