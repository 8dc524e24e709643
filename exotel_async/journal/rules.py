"""How does a dial live: what its record becomes by an answer, a callback, or its owner's death.

Plain functions; the operations around them compare and set inside a transaction.
"""

from __future__ import annotations

import attrs

from exotel_async.models.dials import CallOutcome, DialState, OutcomeSource, OutcomeState
from exotel_async.models.events import CallTerminated, StatusCallback

from .records import AT_ONCE, SENDING, Answered, DialRecord

FIRST_CHECK = 180.0  # seconds after placing

_OPEN = frozenset({DialState.INTENDED, SENDING, DialState.UNKNOWN})
_CLOSED = frozenset({DialState.REFUSED, DialState.NOT_SENT})
ABSENCES = frozenset({OutcomeState.NOT_PLACED, OutcomeState.UNRESOLVED})


def after_answer(record: DialRecord, answered: Answered, *, now: float) -> DialRecord:
    """Take in what a try told. A callback that came first outweighs a refusal."""
    if answered.state == DialState.PLACED:
        return attrs.evolve(
            record,
            state=DialState.PLACED,
            call_sid=answered.call_sid,
            sid_source="answer",
            error=None,
            next_check=_earlier(record.next_check, now + FIRST_CHECK),
        )
    if record.state not in _OPEN:
        return record
    settle_by = record.settle_by or now + record.longest
    open_still = answered.state == DialState.UNKNOWN
    first = first_search(record)
    return attrs.evolve(
        record,
        state=answered.state,
        error=answered.error,
        settle_by=settle_by,
        next_check=(settle_by if first is None else first) if open_still else None,
    )


def after_match(record: DialRecord, call_sid: str, *, now: float) -> DialRecord | None:
    """Take in that a call was found which is this dial's and no other's; None where it has one.

    A callback that names another call later contradicts this, and is kept but not applied: an
    end that was told may be enriched but never exchanged for another, and whoever learned the
    dial's URL could exchange it. One that comes before it outweighs any match.
    """
    if record.state != DialState.UNKNOWN or record.call_sid is not None:
        return None
    return attrs.evolve(
        record,
        state=DialState.PLACED,
        call_sid=call_sid,
        sid_source="match",
        error=None,
        next_check=now,
    )


def first_search(record: DialRecord) -> float | None:
    """Tell when a call of an unknown dial is first searched for; None where nothing was sent."""
    if record.sent_at is None or record.not_after is None:
        return None
    soon = record.not_after + FIRST_CHECK
    return soon if record.settle_by is None else min(soon, record.settle_by)


def after_callback(record: DialRecord, event: StatusCallback, *, now: float) -> DialRecord | None:
    """Take in that a callback came for a dial; None where it contradicts what is known."""
    if record.state == DialState.REFUSED:
        return None
    if record.call_sid is not None and record.call_sid != event.call_sid:
        return None
    over = isinstance(event, CallTerminated)
    known = record.call_sid is not None
    return attrs.evolve(
        record,
        state=DialState.PLACED,
        call_sid=event.call_sid,
        sid_source=record.sid_source if known else "callback",
        error=None,
        next_check=AT_ONCE if over else _earlier(record.next_check, now + FIRST_CHECK),
        settle_by=record.settle_by or now + record.longest,
    )


def after_death(record: DialRecord) -> DialRecord:
    """Take in that whoever held a dial is gone: what was being sent may have arrived."""
    if record.state == SENDING:
        return attrs.evolve(record, state=DialState.UNKNOWN, next_check=first_search(record))
    return attrs.evolve(record, state=DialState.NOT_SENT, next_check=None)


def after_rejection(record: DialRecord) -> DialRecord:
    """Take in that a sid which only a callback named is no call of this dial."""
    sent = record.sent_at is not None
    return attrs.evolve(
        record,
        state=DialState.UNKNOWN if sent else DialState.NOT_SENT,
        call_sid=None,
        sid_source=None,
        next_check=first_search(record) if sent else None,
        checks=0,
    )


def concluded(record: DialRecord) -> CallOutcome | None:
    """Tell the outcome that a dial's own state already is."""
    if record.state not in _CLOSED:
        return None
    refused = record.state == DialState.REFUSED
    return CallOutcome(
        dial=record.dial(),
        state=OutcomeState.REFUSED if refused else OutcomeState.NOT_PLACED,
        confirmed=True,
    )


def corrects(old: CallOutcome, new: CallOutcome, *, corrected: bool) -> bool:
    """Tell whether evidence overturns an absence; that may happen once.

    Evidence is a call that was found. Where nobody could tell, so is connect's own answer, late.
    """
    if corrected or old.state not in ABSENCES:
        return False
    late = old.state == OutcomeState.UNRESOLVED and new.source == OutcomeSource.ANSWER
    return new.state == OutcomeState.ENDED or (late and new.state != old.state)


def enriched(old: CallOutcome, new: CallOutcome) -> CallOutcome:
    """Fill in what was not known yet of a call that ended; nothing that was said is changed."""
    if old.state != OutcomeState.ENDED or new.state != OutcomeState.ENDED:
        return old
    if old.call_sid != new.call_sid:
        return old
    fuller = attrs.evolve(
        old,
        status=old.status or new.status,
        conversation_duration=(
            new.conversation_duration
            if old.conversation_duration is None
            else old.conversation_duration
        ),
        legs=old.legs or new.legs,
        recording_url=old.recording_url or new.recording_url,
        confirmed=old.confirmed or new.confirmed,
    )
    return old if fuller == old else attrs.evolve(fuller, revision=old.revision + 1)


def _earlier(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
