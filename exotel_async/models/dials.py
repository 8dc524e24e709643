"""What became of a dial: how it was placed, and how the call ended."""

from __future__ import annotations

from enum import StrEnum

import attrs

from exotel_async.errors import ExotelError

from .calls import Leg
from .masks import masked, masked_url


class DialState(StrEnum):
    """How far a dial came."""

    INTENDED = "intended"  # written down; perhaps just being sent
    PLACED = "placed"
    REFUSED = "refused"  # Exotel said no: `error` says why
    NOT_SENT = "not_sent"  # provably never left: no phone rang
    UNKNOWN = "unknown"  # the answer was lost: a phone may be ringing


class OutcomeState(StrEnum):
    """How a dial ended."""

    ENDED = "ended"  # there was a call and it is over; `status` says how
    REFUSED = "refused"
    NOT_PLACED = "not_placed"  # proven: no phone rang
    UNRESOLVED = "unresolved"  # nobody can tell: the time in which it could be learned is over


class OutcomeSource(StrEnum):
    """Where an outcome was learned."""

    CALLBACK = "callback"
    POLL = "poll"
    MATCH = "match"
    ANSWER = "answer"  # what connect itself brought, or that nothing was sent


@attrs.frozen(kw_only=True)
class Dial:
    """One dial of ours, as the journal has it."""

    ref: str  # what its callback URL vouches for
    idempotency_key: str = attrs.field(repr=masked)
    state: str  # a `DialState`
    call_sid: str | None = None
    error: ExotelError | None = attrs.field(default=None, eq=False)
    attempt: int = 1  # above 1 where `retry_if` allowed another


@attrs.frozen(kw_only=True)
class CallOutcome:
    """How a dial ended, and how we know."""

    dial: Dial
    state: str  # an `OutcomeState`
    call_sid: str | None = None
    status: str | None = None  # a `CallStatus`, or a newer word; only where the state is "ended"
    conversation_duration: int | None = None  # seconds in which both parties were on the call
    legs: tuple[Leg, ...] = ()
    recording_url: str | None = attrs.field(default=None, repr=masked_url)
    source: str = OutcomeSource.ANSWER  # an `OutcomeSource`
    confirmed: bool = False  # Exotel itself was asked, or answered connect with this very sid
    revision: int = 1  # 2 and more: it was corrected, or more became known
