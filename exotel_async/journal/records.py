"""What goes into a journal and comes out of it: frozen values, no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import attrs

from exotel_async.errors import ExotelError
from exotel_async.models.dials import CallOutcome, Dial, DialState
from exotel_async.models.events import StatusCallback
from exotel_async.models.masks import masked
from exotel_async.wire.pairs import Pairs
from exotel_async.wire.tokens import RefKind

OUTCOME = "outcome"  # how a dial ended: the identity of that event
AT_ONCE = 0.0  # a time that has come whatever the clock says, even one that was set back


@attrs.frozen(kw_only=True)
class Receipt:
    """A callback as it came, verified and decoded."""

    event: StatusCallback
    kind: RefKind | None  # None: no token, or one that names nothing
    ref: str | None = attrs.field(repr=masked)
    content_type: str
    query: str = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


class Recorded(StrEnum):
    """What a callback turned out to be."""

    NEW = "new"
    UPDATE = "update"  # of one that is known: more, or other, about the same
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"  # names another call than the dial's: kept, not applied
    TOO_MANY = "too_many"  # for one ref: not kept


REJECTED = "rejected"  # the mark of callbacks that name a call which Exotel says is not the dial's


@attrs.frozen(kw_only=True)
class Claim:
    """One delivery that is ours until we say how it went, or are thought dead."""

    fence: int  # what proves it
    event_id: int
    topic: str
    delivery_id: str = attrs.field(repr=masked)  # what happened, and which telling of it
    revision: int
    ref: str | None = attrs.field(repr=masked)
    attempts: int  # this one included
    done: frozenset[str]  # handlers that have seen it
    pairs: Pairs = attrs.field(repr=False)  # of a callback; () for an outcome
    waited: float  # seconds since it was due


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A delivery that was given up after its last try."""

    id: int
    topic: str
    delivery_id: str = attrs.field(repr=masked)
    ref: str | None = attrs.field(repr=masked)
    call_sid: str | None
    attempts: int
    error: str
    received_at: float  # seconds since the epoch


@attrs.frozen(kw_only=True)
class NewDial:
    """A dial that is about to be written down."""

    ref: str
    account: str = attrs.field(repr=False)
    key: str = attrs.field(repr=masked)
    seal: str = attrs.field(repr=False)  # of the caller's own arguments
    arguments: Mapping[str, object] = attrs.field(repr=False)  # the caller's own
    longest: float  # seconds from `not_after` until its outcome must be known


@attrs.frozen(kw_only=True)
class DialRecord:
    """A dial as the journal has it; times in seconds since the epoch."""

    ref: str
    account: str = attrs.field(repr=False)
    key: str = attrs.field(repr=masked)
    attempt: int
    state: str  # a `DialState`, or "sending"
    owner: str
    arguments: Mapping[str, object] = attrs.field(repr=False)
    longest: float
    intended_at: float
    sent_at: float | None = None
    not_after: float | None = None  # no try began later
    settle_by: float | None = None  # the horizon
    next_check: float | None = None  # None: nothing is left to find out
    checks: int = 0  # how often Exotel was asked
    call_sid: str | None = None
    sid_source: str | None = None  # "answer", "callback", or "match"
    error: ExotelError | None = attrs.field(default=None, eq=False)

    def dial(self) -> Dial:
        """Tell what a user is shown of it."""
        state = DialState.INTENDED if self.state == SENDING else self.state
        return Dial(
            ref=self.ref,
            idempotency_key=self.key,
            state=state,
            call_sid=self.call_sid,
            error=self.error,
            attempt=self.attempt,
        )


SENDING = "sending"  # a state that is never shown: a try is under way


@attrs.frozen(kw_only=True)
class Neighbour:
    """A dial of the account, whichever service's, that may have to do with a call we found."""

    record: DialRecord
    ours: bool  # of this namespace
    sure: bool  # its sid is Exotel's own word: connect's answer, a match, or a record that was read
    heard: bool  # a callback came through its URL, true or not


@attrs.frozen(kw_only=True)
class Neighbours:
    """What all services of an account know about calls that were found in a window."""

    rivals: tuple[Neighbour, ...]  # whose call may be any of them
    owners: tuple[Neighbour, ...]  # whose call has a sid that was asked for
    pruned: frozenset[str]  # sids, of those, that dials had which are erased


@attrs.frozen(kw_only=True)
class Intended:
    """What became of an intention: `fresh` where this very call may dial."""

    record: DialRecord
    fresh: bool
    outcome: CallOutcome | None = None


@attrs.frozen(kw_only=True)
class Answered:
    """What a try, or the lack of one, told: state, sid and error."""

    state: DialState
    call_sid: str | None = None
    error: ExotelError | None = None


@attrs.frozen(kw_only=True)
class DueDial:
    """A dial that wants to be looked at, and what callbacks told of its end."""

    record: DialRecord
    ending: StatusCallback | None = None
    outcome: CallOutcome | None = None
