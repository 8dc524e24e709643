"""What is to be done about a dial whose end is not known: plain functions of what is.

Sources, best first: a callback through the dial's own URL; the record of a known sid; for an
unknown dial Exotel's whole list of its time. How often Exotel is asked: 3, 6, 12, 25 and 50
minutes after placing, every hour up to the horizon, then every six hours for a day.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Literal

import attrs

from exotel_async.journal.records import SENDING, DialRecord, DueDial
from exotel_async.journal.rules import first_search
from exotel_async.models.calls import Call
from exotel_async.models.dials import CallOutcome, DialState, OutcomeSource, OutcomeState
from exotel_async.models.events import StatusCallback
from exotel_async.models.vocabulary import FINAL_STATUSES

Confirm = Literal["new", "always", "never"]

_HOUR = 3600.0
_FIRST_POLLS = (180.0, 360.0, 720.0, 1500.0, 3000.0)  # seconds after placing
_LATE_POLL = 6 * _HOUR
_LAST = 24 * _HOUR  # seconds after the horizon; then nobody can tell
_FIRST_RETRY = 30.0  # seconds after Exotel could not be asked; doubled each time
_DIGITS = 10  # of a number that is compared: what all its spellings share


@attrs.frozen
class Ask:
    """Read the call's record at Exotel; singly where it must be known for certain."""

    sid: str
    singly: bool


@attrs.frozen
class Seek:
    """Search Exotel's list for the call of a dial whose sid nobody knows."""


@attrs.frozen
class Conclude:
    """Write down how it ended."""

    outcome: CallOutcome


@attrs.frozen
class PutOff:
    """Look again then, in seconds since the epoch; None: never."""

    until: float | None


@attrs.frozen
class Reject:
    """Take back a sid that only a callback named: it is no call of this dial."""

    sid: str


@attrs.frozen
class Missing:
    """Exotel says that there is no such call."""


@attrs.frozen
class Failed:
    """Exotel could not be asked; `wait`: seconds for which it wants to be left alone."""

    wait: float = 0.0


@attrs.frozen
class Searched:
    """The list was read from that moment on, but not this dial's call found; or proven missing."""

    began: float
    denied: bool = False


Found = Call | Missing | Failed
Verdict = Conclude | PutOff | Reject


def next_step(due: DueDial, *, now: float, confirm: Confirm) -> Ask | Seek | Verdict:
    """Tell what to do about a dial, before anybody is asked."""
    record = due.record
    if _is_over(due):
        return _enrich(due)
    if record.state in (DialState.INTENDED, SENDING):
        return PutOff(_horizon(record) if _horizon(record) > now else now + _HOUR)
    if record.state in (DialState.REFUSED, DialState.NOT_SENT):
        return PutOff(None)
    if record.call_sid is None:
        return _step_of_unknown(record, now=now)
    if due.ending is not None and _needs_no_question(record, confirm):
        return _ended_by_callback(record, due.ending, confirmed=_is_vouched(record))
    return Ask(record.call_sid, singly=due.ending is not None)


def after_asking(due: DueDial, found: Found, *, now: float) -> Verdict:
    """Tell what to do about a dial, by what Exotel said of its sid."""
    record = due.record
    if isinstance(found, Call):
        return _after_record(due, found, now=now)
    if isinstance(found, Missing) and not _is_vouched(record) and now >= _horizon(record):
        return Reject(record.call_sid or "")
    again = next_poll(record, now=now)
    if again is None:
        if due.ending is not None:
            return _ended_by_callback(record, due.ending, confirmed=_is_vouched(record))
        return _unresolved(record)
    return _after_failure(record, found, now=now) if isinstance(found, Failed) else PutOff(again)


def after_searching(due: DueDial, found: Searched | Failed, *, now: float) -> Verdict:
    """Tell what to do about an unknown dial whose call was not found."""
    record = due.record
    if isinstance(found, Failed):
        return _after_failure(record, found, now=now)
    if found.denied:
        return _not_placed(record)
    if found.began >= _horizon(record):
        return _unresolved(record)
    return PutOff(next_poll(record, now=found.began))


def after_match(record: DialRecord, call: Call) -> Conclude | None:
    """Tell how a dial ended whose call was found, if that is over."""
    if call.status not in FINAL_STATUSES:
        return None
    return _ended_by_record(record, call, source=OutcomeSource.MATCH)


def next_poll(record: DialRecord, *, now: float) -> float | None:
    """Tell when Exotel is to be asked next, None where it was asked for the last time."""
    sent_at = record.not_after if record.state == DialState.UNKNOWN else record.sent_at
    times = polls(placed_at=sent_at or record.intended_at, horizon=_horizon(record))
    place = bisect_right(times, now)
    return times[place] if place < len(times) else None


def polls(*, placed_at: float, horizon: float) -> list[float]:
    """List the moments at which Exotel is asked.

    >>> [int(at / 60) for at in polls(placed_at=0, horizon=3 * 3600)[:9]]
    [3, 6, 12, 25, 50, 110, 170, 180, 540]
    """
    early = [placed_at + seconds for seconds in _FIRST_POLLS]
    hours = max(0, int((horizon - early[-1]) / _HOUR))
    early += [early[-1] + _HOUR * (i + 1) for i in range(hours)]
    late = [horizon + _LATE_POLL * i for i in range(int(_LAST / _LATE_POLL) + 1)]
    return [*(at for at in early if at < horizon), *late]


def numbers_fit(arguments: Mapping[str, object], call: Call) -> bool:
    """Tell whether a call's numbers could be those of a dial.

    Only their last ten digits are compared, and only where there are so many; the ExoPhone may
    stand on either side of a record, and a call to a flow has one number only.
    """
    exophone = _keys([arguments.get("caller_id")])
    ours = _keys([arguments.get("from_"), arguments.get("to")]) - exophone
    theirs = _keys([call.from_, call.to]) - exophone
    return not ours or not theirs or ours <= theirs or theirs <= ours


def _keys(numbers: Iterable[object]) -> set[str]:
    digits = ("".join(filter(str.isdecimal, str(number))) for number in numbers if number)
    return {found[-_DIGITS:] for found in digits if len(found) >= _DIGITS}


def _step_of_unknown(record: DialRecord, *, now: float) -> Seek | Verdict:
    first = first_search(record)
    if first is not None:
        return PutOff(first) if now < first else Seek()
    return PutOff(_horizon(record)) if now < _horizon(record) else _unresolved(record)


def _after_failure(record: DialRecord, failed: Failed, *, now: float) -> Verdict:
    again = next_poll(record, now=now)
    if again is None:
        return _unresolved(record)
    backoff = _FIRST_RETRY * 2.0 ** min(record.checks, 10)
    return PutOff(now + max(failed.wait, min(again - now, backoff)))


def _is_over(due: DueDial) -> bool:
    return due.outcome is not None and due.outcome.state == OutcomeState.ENDED


def _enrich(due: DueDial) -> Verdict:
    """Add what a callback tells that came when the end was known already."""
    known, ending = due.outcome, due.ending
    if known is None or ending is None or ending.call_sid != known.call_sid:
        return PutOff(None)
    return _ended_by_callback(due.record, ending, confirmed=known.confirmed)


def _after_record(due: DueDial, call: Call, *, now: float) -> Verdict:
    record = due.record
    if not _is_vouched(record) and not numbers_fit(record.arguments, call):
        return Reject(call.sid)
    if due.ending is not None:
        return _ended_by_callback(record, due.ending, confirmed=True, call=call)
    if call.status in FINAL_STATUSES:
        return _ended_by_record(record, call, source=OutcomeSource.POLL)
    again = next_poll(record, now=now)
    return _unresolved(record) if again is None else PutOff(again)


def _needs_no_question(record: DialRecord, confirm: Confirm) -> bool:
    return confirm == "never" or (confirm == "new" and _is_vouched(record))


def _is_vouched(record: DialRecord) -> bool:
    """Tell whether Exotel itself named the sid, and not only who knows the dial's URL."""
    return record.sid_source in ("answer", "match")


def _horizon(record: DialRecord) -> float:
    return record.settle_by or record.intended_at + record.longest


def _ended_by_callback(
    record: DialRecord, ending: StatusCallback, *, confirmed: bool, call: Call | None = None
) -> Conclude:
    """Tell an end as a callback does; what its four fields lack is in the record."""
    details = None if call is None else call.details
    talked = ending.conversation_duration
    return Conclude(
        CallOutcome(
            dial=record.dial(),
            state=OutcomeState.ENDED,
            call_sid=ending.call_sid,
            status=ending.status,
            conversation_duration=(
                details.conversation_duration if talked is None and details else talked
            ),
            legs=ending.legs or (details.legs if details else ()),
            recording_url=ending.recording_url or (call.recording_url if call else None),
            source=OutcomeSource.CALLBACK,
            confirmed=confirmed,
        )
    )


def _ended_by_record(record: DialRecord, call: Call, *, source: OutcomeSource) -> Conclude:
    details = call.details
    return Conclude(
        CallOutcome(
            dial=record.dial(),
            state=OutcomeState.ENDED,
            call_sid=call.sid,
            status=call.status,
            conversation_duration=details.conversation_duration if details else None,
            legs=details.legs if details else (),
            recording_url=call.recording_url,
            source=source,
            confirmed=True,
        )
    )


def _not_placed(record: DialRecord) -> Conclude:
    return Conclude(
        CallOutcome(
            dial=record.dial(),
            state=OutcomeState.NOT_PLACED,
            source=OutcomeSource.MATCH,
            confirmed=True,
        )
    )


def _unresolved(record: DialRecord) -> Conclude:
    return Conclude(
        CallOutcome(
            dial=record.dial(),
            state=OutcomeState.UNRESOLVED,
            call_sid=record.call_sid,
            source=OutcomeSource.ANSWER if record.call_sid is None else OutcomeSource.POLL,
        )
    )
