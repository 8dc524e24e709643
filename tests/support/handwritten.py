"""What a careful user would write by hand: one record decoded by one function, field by field.

It does every conversion that Exotel's records need, as quickly as plain Python can, and none of
what else ours does: no keeping of what it does not know, no second reading where a field is odd.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any

from exotel_async.models.calls import Call, CallDetails, Leg
from exotel_async.models.vocabulary import AnsweredBy, CallStatus, Direction, LegStatus

NOTHING = frozenset({None, "", "null", "NULL", "Null", "N/A", "n/a"})

_from_iso, _combine = datetime.fromisoformat, datetime.combine


def words(vocabulary: type[StrEnum]) -> Mapping[Any, str | None]:
    """Spell a vocabulary's words, and what says that there is none."""
    return {**{str(word): str(word) for word in vocabulary}, **dict.fromkeys(NOTHING)}


CALL_STATUS, LEG_STATUS = words(CallStatus), words(LegStatus)
DIRECTION, ANSWERED_BY = words(Direction), words(AnsweredBy)


def odd_word(text: str, known: Mapping[Any, str | None]) -> str | None:
    """Read a word that is not spelt as usual, or newer than all that we know."""
    folded = text.strip().lower().replace("_", "-").replace(" ", "-")
    return known.get(folded.replace("cancelled", "canceled"), text)


def seconds(value: Any) -> int | None:
    """Read a duration, mostly whole."""
    if value in NOTHING:
        return None
    try:
        return int(value)
    except ValueError:
        return int(float(value))


def moment(value: Any, zone: tzinfo) -> datetime | None:
    """Read a time stamp; naive ones are the wall clock of a zone, very old ones stand for none."""
    if value in NOTHING or value.startswith("0000"):
        return None
    stamp = _from_iso(value)
    if stamp.year < 1971:
        return None
    return _combine(stamp.date(), stamp.time(), zone) if stamp.tzinfo is None else stamp


def leg(entry: Any, status: Any) -> Leg:
    """Put a leg together from the two places it stands in."""
    return Leg(
        status=LEG_STATUS[status] if status in LEG_STATUS else odd_word(status, LEG_STATUS),
        on_call_duration=seconds(entry["Leg"]["OnCallDuration"]),
    )


def details_of(raw: dict[str, Any]) -> CallDetails:
    """Decode what `details=true` adds."""
    first, second = raw["Legs"]
    return CallDetails(
        conversation_duration=seconds(raw["ConversationDuration"]),
        legs=(leg(first, raw["Leg1Status"]), leg(second, raw["Leg2Status"])),
    )


def call_of(raw: dict[str, Any], zone: tzinfo) -> Call:
    """Decode a record of a call, details included."""
    get = raw.get
    status, direction, answered_by = get("Status"), get("Direction"), get("AnsweredBy")
    price, details = get("Price"), get("Details")
    return Call(
        sid=raw["Sid"],
        parent_call_sid=None if (text := get("ParentCallSid")) in NOTHING else text,
        date_created=moment(get("DateCreated"), zone),
        date_updated=moment(get("DateUpdated"), zone),
        account_sid=None if (text := get("AccountSid")) in NOTHING else text,
        to=None if (text := get("To")) in NOTHING else text,
        from_=None if (text := get("From")) in NOTHING else text,
        phone_number=None if (text := get("PhoneNumber")) in NOTHING else text,
        phone_number_sid=None if (text := get("PhoneNumberSid")) in NOTHING else text,
        status=CALL_STATUS[status] if status in CALL_STATUS else odd_word(status, CALL_STATUS),
        start_time=moment(get("StartTime"), zone),
        end_time=moment(get("EndTime"), zone),
        duration=seconds(get("Duration")),
        price=None if price in NOTHING else Decimal(price),
        direction=DIRECTION[direction]
        if direction in DIRECTION
        else odd_word(direction, DIRECTION),
        answered_by=ANSWERED_BY[answered_by]
        if answered_by in ANSWERED_BY
        else odd_word(answered_by, ANSWERED_BY),
        forwarded_from=None if (text := get("ForwardedFrom")) in NOTHING else text,
        caller_name=None if (text := get("CallerName")) in NOTHING else text,
        uri=None if (text := get("Uri")) in NOTHING else text,
        custom_field=get("CustomField") or None,
        recording_url=None if (text := get("RecordingUrl")) in NOTHING else text,
        pre_signed_recording_url=None
        if (text := get("PreSignedRecordingUrl")) in NOTHING
        else text,
        details=details_of(details) if details else None,
    )
