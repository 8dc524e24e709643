"""How far are our clock and Exotel's apart: the `Date` of every answer, seen in passing."""

from __future__ import annotations

from datetime import datetime

from exotel_async.client.probe import date_of
from exotel_async.client.transport import Envelope, Transport
from exotel_async.models.clock import Clock
from exotel_async.wire.answer import Answer


class Watch:
    """Remembers what the last answer's `Date` said, held against one clock."""

    def __init__(self, clock: Clock) -> None:
        self.apart: float | None = None  # seconds; None: nobody has told yet
        self._clock = clock

    def over(self, inner: Transport) -> Transport:
        """Wrap a transport, whose answers then are seen."""
        return _Watched(inner, self)

    async def exchange(self, inner: Transport, envelope: Envelope) -> Answer:
        """Pass a request on and see its answer."""
        before = self._clock.now()
        answer = await inner.exchange(envelope)
        date = date_of(answer.headers.get("Date", ""))
        if date is not None:
            self.apart = apart(date, since=before, until=self._clock.now())
        return answer


class _Watched(Transport):
    def __init__(self, inner: Transport, watch: Watch) -> None:
        super().__init__()
        self._inner = inner
        self._watch = watch
        self.require_open = inner.require_open  # type: ignore[method-assign]  # a mere onlooker

    async def exchange(self, envelope: Envelope) -> Answer:
        return await self._watch.exchange(self._inner, envelope)


def apart(date: datetime, *, since: datetime, until: datetime) -> float:
    """Tell how many seconds a clock may be off that showed `date` between two moments of ours.

    >>> from datetime import UTC, datetime
    >>> noon = datetime(2026, 11, 2, 12, tzinfo=UTC)
    >>> apart(noon, since=noon.replace(minute=2), until=noon.replace(minute=3))
    180.0
    """
    return max(abs((until - date).total_seconds()), abs((since - date).total_seconds()))
