"""Where does a reader of call records stand, as a small text that goes on from there."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import attrs

from exotel_async.errors import InvalidRequestError
from exotel_async.models.calls import Call
from exotel_async.wire.bulk import BulkQuery

_LOOKED_BACK = timedelta(days=31)  # by Exotel, where it is told no times
_LATEST = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_DIGEST = 6  # bytes: a second that holds a thousand calls confuses two once in 10^8 times


@attrs.frozen
class Position:
    """Up to where records were given out: a second, and those of it that were."""

    question: str  # a digest of the filters
    created: tuple[datetime, datetime]  # both inclusive
    moment: datetime | None = None
    digests: frozenset[str] = frozenset()


class Place:
    """Follows one reader."""

    def __init__(self, start: Position | None = None) -> None:
        self._moment = None if start is None else start.moment
        self._earlier = frozenset[str]() if start is None else start.digests
        self._sids: list[str] = []
        self.given: int = 0  # records

    def note(self, call: Call) -> None:
        """Note a record that was given out."""
        self.given += 1
        if call.date_created is None:
            return
        if call.date_created != self._moment:
            self._moment = call.date_created
            self._earlier = frozenset()
            self._sids.clear()
        self._sids.append(call.sid)

    def to_text(self, query: BulkQuery, *, asked_at: datetime) -> str:
        """Write it down."""
        start, end = _created(query, asked_at)
        digests = sorted({*self._earlier, *map(digest_of, self._sids)})
        fields = {
            "q": _question(query),
            "c": [int(start.timestamp()), int(end.timestamp())],
            "m": None if self._moment is None else int(self._moment.timestamp()),
            "s": "".join(digests),
        }
        return urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode()

    def told(self) -> str:
        """Say how far it came."""
        if self._moment is None:
            return "No record was complete before this."
        return (
            f"{self.given} records were complete before this, up to {self._moment.isoformat()}: "
            "`position` goes on after them."
        )


def digest_of(sid: str) -> str:
    """Shorten a sid: a position is to be small."""
    return urlsafe_b64encode(blake2b(sid.encode(), digest_size=_DIGEST).digest()).decode()


def read_position(text: object, query: BulkQuery) -> Position:
    """Read what `Place.to_text` wrote; refuse what belongs to another question."""
    try:
        position = _read(json.loads(urlsafe_b64decode(str(text).encode())))
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        raise InvalidRequestError(
            "position must be a text out of CallList.position, as it was"
        ) from None
    if position.question != _question(query):
        raise InvalidRequestError(
            "position belongs to other filters: give list() those that it was taken with"
        )
    return position


def go_on(query: BulkQuery, position: Position) -> BulkQuery:
    """Ask for what comes from a position on; its own second is asked for again, to its end."""
    start, end = position.created
    moment = position.moment
    if moment is not None:
        start, end = (moment, end) if query.ascending else (start, min(end, moment + _SECOND))
    return attrs.evolve(query, created=(start, end))


def was_given(position: Position, call: Call, *, ascending: bool) -> bool:
    """Tell whether a record was given out before."""
    moment, created = position.moment, call.date_created
    if moment is None or created is None:
        return False
    if created == moment:
        return digest_of(call.sid) in position.digests
    return created < moment if ascending else created > moment


def _read(fields: Any) -> Position:
    start, end = map(_moment, fields["c"])
    moment, digests = fields["m"], fields["s"]
    size = len(digest_of(""))
    if not isinstance(fields["q"], str) or not isinstance(digests, str) or start > end:
        raise ValueError("it is no position")
    return Position(
        question=fields["q"],
        created=(start, end),
        moment=None if moment is None else _moment(moment),
        digests=frozenset(digests[at : at + size] for at in range(0, len(digests), size)),
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _created(query: BulkQuery, asked_at: datetime) -> tuple[datetime, datetime]:
    if query.created is not None:
        return query.created
    return asked_at - _LOOKED_BACK, asked_at + _LATEST


def _question(query: BulkQuery) -> str:
    told = attrs.evolve(query, created=None, page_size=1)
    return blake2b(repr(attrs.astuple(told)).encode(), digest_size=8).hexdigest()
