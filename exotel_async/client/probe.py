"""Can Exotel be asked, and what does its answer say besides: one harmless request, seen whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import attrs

from exotel_async.errors import ClientClosedError, ExotelError
from exotel_async.wire.answer import Answer
from exotel_async.wire.bulk import bulk_calls, bulk_query

from .client import ExotelClient
from .transport import Envelope, Transport


@attrs.frozen(kw_only=True)
class Probe:
    """What came of asking once."""

    status: int | None  # HTTP; None: no answer came
    date: datetime | None  # what Exotel's clock showed, to the second; None: it did not say
    at: datetime  # what ours showed when the answer was there
    seconds: float
    error: ExotelError | None  # None: all is well

    @property
    def ahead(self) -> timedelta | None:
        """Tell how far our clock is ahead of Exotel's; None where nobody can tell."""
        return None if self.date is None else self.at - self.date


class _Witness(Transport):
    """Lets everything pass, and remembers the answer."""

    def __init__(self, inner: Transport) -> None:
        super().__init__()
        self.answer: Answer | None = None
        self.require_open = inner.require_open  # type: ignore[method-assign]  # a mere witness
        self._exchange = inner.exchange

    async def exchange(self, envelope: Envelope) -> Answer:
        self.answer = await self._exchange(envelope)
        return self.answer


async def probe(client: ExotelClient) -> Probe:
    """Ask for one call record, once, and tell all that is to be learnt from it.

    Raises nothing but ClientClosedError: what went wrong is part of the result.
    """
    door = client._door  # noqa: SLF001 - of the same room
    witness = _Witness(door.transport)
    once = attrs.evolve(
        door, transport=witness, settings=attrs.evolve(door.settings, max_retries=0)
    )
    request = bulk_calls(bulk_query(now=door.clock.now(), page_size=1), zone=door.settings.zone)
    began, error = door.clock.monotonic(), None
    try:
        await once.send(request)
    except ClientClosedError:
        raise
    except ExotelError as failure:
        error = failure
    answer = witness.answer
    return Probe(
        status=answer.status if answer else None,
        date=date_of(answer.headers.get("Date", "")) if answer else None,
        at=door.clock.now(),
        seconds=door.clock.monotonic() - began,
        error=error,
    )


def date_of(header: str) -> datetime | None:
    """Read a `Date` header; None where it makes no sense.

    >>> date_of("Mon, 02 Nov 2026 06:30:00 GMT").isoformat()
    '2026-11-02T06:30:00+00:00'
    """
    try:
        moment = parsedate_to_datetime(header)
    except (OverflowError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
